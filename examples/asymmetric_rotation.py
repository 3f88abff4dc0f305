"""Rotation of asymmetric keys, with a JWK Set for other services.

A new key is published immediately and signs 20 minutes later, when verifiers have fetched it. The
old key verifies tokens until the last token that it signed has expired. The service does not have
to be restarted. If a key has leaked, ``rotate-keys --leaked`` creates a new one that signs
immediately, and removes all others.

Create the first key, and later ones, for example with cron, with
``quart --app examples/asymmetric_rotation:app rotate-keys``. Then run the service with
``hypercorn examples/asymmetric_rotation:app``. ``quart --app ... jwt keys list`` lists the keys.
They are stored in keys/keys.json, or in the file that the environment variable ``KEYS_FILE`` names.
All processes of the service must be able to read this file, and nobody else.
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

KEYS_FILE = Path(os.environ.get("KEYS_FILE", "keys/keys.json")).absolute()

# All of these are in seconds.
TOKEN_LIFETIME = 900
# Verifiers cache the JWK Set for 600 seconds. A new key is published for twice as long.
ANNOUNCEMENT = 1200
# A key verifies a little longer than necessary, because clocks differ.
MARGIN = 60

app = Quart(__name__)
app.config["JWT_ACCESS_TOKEN_EXPIRES"] = TOKEN_LIFETIME
app.config["JWT_REFRESH_TOKEN_EXPIRES"] = TOKEN_LIFETIME
app.config["JWT_IDENTITY_CLAIM"] = "sub"
# Without a key, the service does not start.
app.config["JWT_KEYS"] = json.loads(KEYS_FILE.read_text()) if KEYS_FILE.exists() else {}
jwt = JWTManager(app)
jwt.serve_jwks(app)


@app.cli.command("rotate-keys")
@click.option("--leaked", is_flag=True, help="Remove all other keys immediately.")
def rotate_keys(leaked: bool) -> None:
    """Create a key that signs soon, and set the end of the previous one."""
    now = int(time.time())
    keys = {} if leaked or not KEYS_FILE.exists() else json.loads(KEYS_FILE.read_text())
    keys = {kid: key for kid, key in keys.items() if key.get("verify_until", now) >= now}
    # Without another key, the new one has to sign immediately.
    sign_from = now + ANNOUNCEMENT if keys else now
    for key in keys.values():
        key.setdefault("verify_until", sign_from + TOKEN_LIFETIME + MARGIN)
    private_key = ECAlgorithm.to_jwk(generate_private_key(SECP256R1()), as_dict=True)
    keys[os.urandom(8).hex()] = {"key": private_key, "sign_from": sign_from}
    # Replace the file in one step, so that the service never reads an incomplete one.
    KEYS_FILE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = KEYS_FILE.with_suffix(".new")
    file.touch(mode=0o600)
    file.write_text(json.dumps(keys))
    file.replace(KEYS_FILE)


async def reload_keys() -> None:
    while True:
        await asyncio.sleep(1)
        try:
            app.config["JWT_KEYS"] = json.loads(await asyncio.to_thread(KEYS_FILE.read_text))
        except (OSError, ValueError) as error:
            # The service continues with the keys that it has.
            app.logger.error("Cannot read the keys: %s", error)


@app.while_serving
async def reloading() -> AsyncGenerator[None, None]:
    task = asyncio.create_task(reload_keys())
    yield
    task.cancel()


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
