"""Tokens in the Authorization header: the plainest way.

Run it with ``hypercorn examples/headers:app``; the environment variable JWT_SECRET_KEY
holds a secret of 32 random bytes or more. Then, in another shell::

    LOGIN='{"username": "alice", "password": "wonderland"}'
    TOKEN=$(curl -s --json "$LOGIN" 127.0.0.1:8000/login | cut -d '"' -f 4)
    curl -H "Authorization: Bearer $TOKEN" 127.0.0.1:8000/me
"""

from __future__ import annotations

import asyncio
import os
import secrets

from quart import Quart, request
from quart.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    get_jwt_identity,
    jwt_optional,
    jwt_required,
)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
jwt = JWTManager(app)

PASSWORDS = {"alice": generate_password_hash("wonderland")}
# Checked for unknown names, so that no answer tells by its time which names exist.
NO_PASSWORD = generate_password_hash(secrets.token_hex())


async def check_password(name: str, password: str) -> bool:
    """In a thread: the hash is slow on purpose, and other requests need not wait."""
    known = PASSWORDS.get(name, NO_PASSWORD)
    matches = await asyncio.to_thread(check_password_hash, known, password)
    return matches and name in PASSWORDS


@app.post("/login")
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            # JSON may hold half characters, which no hash takes. They do not print.
            if password.isprintable() and await check_password(name, password):
                return {"access_token": create_access_token(name)}
    return {"msg": "Wrong username or password"}, 401


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": get_jwt_identity()}


@app.get("/")
@jwt_optional
async def greeting() -> ResponseReturnValue:
    return f"Hello, {get_jwt_identity() or 'stranger'}!"
