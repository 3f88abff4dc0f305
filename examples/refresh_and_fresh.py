"""Sessions: refresh tokens that are replaced at each use, and tokens fresh for a while.

Who refreshes gets a new refresh token too, and the old one is dead. If it comes back
all the same, somebody has stolen one of the two: the session ends for both. What is
dangerous asks for a fresh token, which takes the password: by a login, or again later
by a confirmation.

The sessions are in memory, for a service of one process. accounts.py has them in a
database or in Redis.

Run it with ``hypercorn examples/refresh_and_fresh:app``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from datetime import timedelta

from quart import Quart, request
from quart.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

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
jwt = JWTManager(app, token_store=MemoryTokenStore())

FRESH_FOR = timedelta(minutes=5)

passwords = {"alice": generate_password_hash("wonderland")}
# Checked for unknown names, so that no answer tells by its time which names exist.
NO_PASSWORD = generate_password_hash(secrets.token_hex())


async def check_password(name: str, password: str) -> bool:
    """In a thread: the hash is slow on purpose, and other requests need not wait."""
    if not password.isprintable():
        # JSON may hold half characters, which no hash takes. They do not print.
        return False
    known = passwords.get(name, NO_PASSWORD)
    matches = await asyncio.to_thread(check_password_hash, known, password)
    return matches and name in passwords


def answer(tokens: SessionTokens) -> dict[str, str]:
    return {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}


@app.post("/login")
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
                return answer(await create_session(name, fresh=FRESH_FOR))
    return {"msg": "Wrong username or password"}, 401


@app.post("/refresh")
@jwt_required(refresh=True)
async def refresh() -> ResponseReturnValue:
    """Without the password, so the new access token is not fresh."""
    return answer(await rotate_session())


@app.post("/confirm")
@jwt_required(refresh=True)
async def confirm() -> ResponseReturnValue:
    """A fresh access token for a user who gives the password again."""
    match await request.get_json(silent=True):
        case {"password": str(password)}:
            if await check_password(get_jwt_identity(), password):
                return answer(await rotate_session(fresh=FRESH_FOR))
    return {"msg": "Wrong password"}, 401


@app.put("/password")
@jwt_required(fresh=True)
async def change_password() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"password": str(password)} if len(password) >= 8 and password.isprintable():
            hashed = await asyncio.to_thread(generate_password_hash, password)
            passwords[get_jwt_identity()] = hashed
            # Whoever knew the old one is out; this session goes on.
            await revoke_sessions(get_jwt_identity(), keep=get_session_id())
            return {"msg": "Password changed"}
    return {"msg": "A password has at least 8 characters, all printable"}, 400


@app.post("/logout")
@jwt_required
async def logout() -> ResponseReturnValue:
    """All tokens of this session end; those of other devices stay."""
    await revoke_session()
    return {"msg": "Logged out"}


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": get_jwt_identity()}
