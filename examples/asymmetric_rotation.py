"""Asymmetric keys that are replaced in time, and published for other services.

A new key is published at once, and signs when verifiers have had the time to fetch it;
the old key verifies until its last token has expired. The service is not restarted.
If a key has leaked, run rotate-keys, then delete the file of that key: a second later
its tokens are refused. Without a key left, the service would keep the leaked one.

Make the first key, and later ones, by cron for example, with
``quart --app examples/asymmetric_rotation:app rotate-keys``. Then run the service with
``hypercorn examples/asymmetric_rotation:app``. The keys are in the folder keys, or in
KEYS_DIRECTORY; all processes of the service must see it, and nobody else.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm
from quart import Quart, request
from quart.typing import ResponseReturnValue

from passwords import check_password
from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    get_jwt_identity,
    jwt_required,
)

KEYS = Path(os.environ.get("KEYS_DIRECTORY", "keys")).absolute()

LIFETIME = timedelta(minutes=15)
# How long a new key is published before it signs: verifiers keep old lists for a while.
ANNOUNCEMENT = timedelta(minutes=5)
# How long a key is kept beyond need: clocks differ.
MARGIN = timedelta(minutes=1)

app = Quart(__name__)
app.config["JWT_ALGORITHM"] = "ES256"
app.config["JWT_ACCESS_TOKEN_EXPIRES"] = LIFETIME
app.config["JWT_IDENTITY_CLAIM"] = "sub"
jwt = JWTManager(app)


class Key(NamedTuple):
    """A pair of keys; its ``kid``, and its file, is named by the time it was made."""

    kid: str
    private: EllipticCurvePrivateKey
    public: EllipticCurvePublicKey

    @property
    def age(self) -> timedelta:
        return timedelta(seconds=time.time() - int(self.kid) / 1e9)

    @property
    def jwk(self) -> dict[str, Any]:
        """What others need to verify with it (RFC 7517)."""
        numbers = ECAlgorithm.to_jwk(self.public, as_dict=True)
        return {**numbers, "kid": self.kid, "use": "sig", "alg": "ES256"}


def write_key() -> None:
    """Make a key."""
    kid = str(time.time_ns())
    private = generate_private_key(SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    KEYS.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = KEYS / f"{kid}.new"
    file.touch(mode=0o600)
    file.write_bytes(pem)
    # Only now does the service see it, and it sees all of it.
    file.rename(KEYS / f"{kid}.pem")


def read_keys() -> list[Key]:
    """All keys, the oldest first."""
    keys = []
    for file in sorted(KEYS.glob("*.pem"), key=lambda file: int(file.stem)):
        private = load_pem_private_key(file.read_bytes(), password=None)
        if not isinstance(private, EllipticCurvePrivateKey):
            raise ValueError(f"{file} holds no key of an elliptic curve")
        keys.append(Key(file.stem, private, private.public_key()))
    if not keys:
        raise FileNotFoundError(f"No key in {KEYS}: make one with rotate-keys")
    return keys


@app.cli.command("rotate-keys")
def rotate_keys() -> None:
    """Make a key, and remove those that no living token needs."""
    write_key()
    for key, successor in pairwise(read_keys()):
        # It signed until its successor did, and its last token lived on from then.
        if successor.age > ANNOUNCEMENT + LIFETIME + MARGIN:
            (KEYS / f"{key.kid}.pem").unlink(missing_ok=True)


class KeyRing:
    """The keys that the service knows."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.signing_kid = ""

    def use(self, keys: list[Key]) -> None:
        self.keys = {key.kid: key for key in keys}
        # The newest one that verifiers know. The first key of all has to sign at once.
        announced = [key for key in keys if key.age >= ANNOUNCEMENT]
        self.signing_kid = (announced[-1] if announced else keys[0]).kid

    async def follow(self) -> None:
        """Look for new keys every second."""
        while True:
            await asyncio.sleep(1)
            try:
                self.use(await asyncio.to_thread(read_keys))
            except Exception as error:
                # Whatever is in the folder: better the known keys than none.
                app.logger.error("Keys cannot be read: %s", error)


ring = KeyRing()


@app.while_serving
async def follow_rotations() -> AsyncGenerator[None, None]:
    ring.use(read_keys())
    following = asyncio.create_task(ring.follow())
    yield
    following.cancel()


@jwt.additional_headers_loader
def header_of_new_token(identity: str) -> dict[str, str]:
    return {"kid": ring.signing_kid}


@jwt.encode_key_loader
def key_of_new_token(identity: str) -> EllipticCurvePrivateKey:
    return ring.keys[ring.signing_kid].private


@jwt.decode_key_loader
def key_of_token(
    claims: dict[str, Any],
    header: dict[str, Any],
) -> EllipticCurvePublicKey | None:
    """The key that the token names; None, for an unknown one, refuses the token."""
    key = ring.keys.get(header.get("kid", ""))
    return key.public if key else None


@app.get("/.well-known/jwks.json")
async def published_keys() -> ResponseReturnValue:
    answer = {"keys": [key.jwk for key in ring.keys.values()]}
    # Shorter than ANNOUNCEMENT, so that a key is known before it signs.
    return answer, {"Cache-Control": "public, max-age=60"}


@app.post("/login")
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
                return {"access_token": create_access_token(name)}
    return {"msg": "Wrong username or password"}, 401


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": get_jwt_identity()}
