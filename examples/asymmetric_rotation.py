"""Asymmetric keys that are replaced in time, and published for other services.

A new key is published at once, and signs 20 minutes later, when verifiers have fetched it; the
old key verifies until its last token has expired. The service is not restarted. If a key has
leaked, ``rotate-keys --leaked`` makes a new one that signs at once, and drops all others.

Make the first key, and later ones, by cron for example, with
``quart --app examples/asymmetric_rotation:app rotate-keys``. Then run the service with
``hypercorn examples/asymmetric_rotation:app``. ``quart --app ... jwt keys list`` shows the keys.
They are in keys/keys.json, or in KEYS_FILE, which all processes of the service must see, and
nobody else.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm
from quart import Quart, request
from quart.typing import ResponseReturnValue

from passwords import check_password
from quart_jwt_extended import JWTManager, create_access_token, get_jwt_identity, jwt_required

KEYS = Path(os.environ.get("KEYS_FILE", "keys/keys.json")).absolute()

# In seconds. Verifiers keep a list for 600, and a new key is published for twice as long.
LIFETIME, ANNOUNCEMENT = 900, 1200
# How long a key is kept beyond need: clocks differ.
MARGIN = 60

app = Quart(__name__)
app.config["JWT_ACCESS_TOKEN_EXPIRES"] = app.config["JWT_REFRESH_TOKEN_EXPIRES"] = LIFETIME
app.config["JWT_IDENTITY_CLAIM"] = "sub"
# Without a key the service does not start.
app.config["JWT_KEYS"] = json.loads(KEYS.read_text()) if KEYS.exists() else {}
jwt = JWTManager(app)
jwt.serve_jwks(app)


@app.cli.command("rotate-keys")
@click.option("--leaked", is_flag=True, help="Drop all other keys at once.")
def rotate_keys(leaked: bool) -> None:
    """Make a key that signs soon, and end the one before it."""
    now = int(time.time())
    ring = {} if leaked or not KEYS.exists() else json.loads(KEYS.read_text())
    ring = {kid: key for kid, key in ring.items() if key.get("verify_until", now) >= now}
    # The first key of all has to sign at once.
    sign_from = now + ANNOUNCEMENT if ring else now
    for key in ring.values():
        key.setdefault("verify_until", sign_from + LIFETIME + MARGIN)
    private = ECAlgorithm.to_jwk(generate_private_key(SECP256R1()), as_dict=True)
    ring[os.urandom(8).hex()] = {"key": private, "sign_from": sign_from}
    # The service sees all of it, or what was there before.
    KEYS.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = KEYS.with_suffix(".new")
    file.touch(mode=0o600)
    file.write_text(json.dumps(ring))
    file.replace(KEYS)


async def follow_rotations() -> None:
    """Look for new keys every second."""
    while True:
        await asyncio.sleep(1)
        try:
            app.config["JWT_KEYS"] = json.loads(await asyncio.to_thread(KEYS.read_text))
        except (OSError, ValueError) as error:
            # Better the known keys than none.
            app.logger.error("Keys cannot be read: %s", error)


@app.while_serving
async def rotations() -> AsyncGenerator[None, None]:
    following = asyncio.create_task(follow_rotations())
    yield
    following.cancel()


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
