"""Sessions: refresh token rotation, and fresh tokens for sensitive actions.

Each refresh replaces the refresh token. If an old one is used again, two parties have it, so its
session is revoked. Changing the password requires a fresh token, which the client gets at login or
by confirming the password.

Sessions are stored in memory, for a service with a single process. accounts.py stores them in a
database or in Redis.

Run it with ``hypercorn examples/refresh_and_fresh:app``. The environment variable
``JWT_SECRET_KEY`` must contain a secret of at least 32 random bytes.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

from quart import Quart, request
from quart.typing import ResponseReturnValue
from werkzeug.security import generate_password_hash

from passwords import PASSWORD_HASHES, check_password
from quart_jwt_extended import (
    JWTManager,
    MemoryTokenStore,
    SessionTokens,
    create_session,
    get_jwt_identity,
    get_session_id,
    jwt_required,
    revoke_session,
    revoke_sessions,
    rotate_session,
)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"
jwt = JWTManager(app, token_store=MemoryTokenStore())

FRESH_FOR = timedelta(minutes=5)


def as_json(tokens: SessionTokens) -> dict[str, str]:
    return {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}


@app.post("/login")
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
                return as_json(await create_session(name, fresh=FRESH_FOR))
    return {"msg": "Wrong username or password"}, 401


@app.post("/refresh")
@jwt_required(refresh=True)
async def refresh() -> ResponseReturnValue:
    """Rotate the refresh token. The new access token is not fresh."""
    return as_json(await rotate_session())


@app.post("/confirm")
@jwt_required(refresh=True)
async def confirm() -> ResponseReturnValue:
    """Create a fresh access token for a user who confirms the password."""
    match await request.get_json(silent=True):
        case {"password": str(password)}:
            if await check_password(get_jwt_identity(), password):
                return as_json(await rotate_session(fresh=FRESH_FOR))
    return {"msg": "Wrong password"}, 401


@app.put("/password")
@jwt_required(fresh=True)
async def change_password() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"password": str(password)} if len(password) >= 8 and password.isprintable():
            password_hash = await asyncio.to_thread(generate_password_hash, password)
            PASSWORD_HASHES[get_jwt_identity()] = password_hash
            # Log out all other devices: somebody else may have known the old password.
            await revoke_sessions(get_jwt_identity(), keep=get_session_id())
            return {"msg": "Password changed"}
    return {"msg": "The password must have at least 8 printable characters"}, 400


@app.post("/logout")
@jwt_required
async def logout() -> ResponseReturnValue:
    """Revoke the tokens of this session. Other devices stay logged in."""
    await revoke_session()
    return {"msg": "Logged out"}


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": get_jwt_identity()}
