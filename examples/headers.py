"""Tokens in the Authorization header.

Run it with ``hypercorn examples/headers:app``. The environment variable ``JWT_SECRET_KEY`` must
contain a secret of at least 32 random bytes. Then, in another shell::

    LOGIN='{"username": "alice", "password": "wonderland"}'
    TOKEN=$(curl -s --json "$LOGIN" 127.0.0.1:8000/login | cut -d '"' -f 4)
    curl -H "Authorization: Bearer $TOKEN" 127.0.0.1:8000/me
"""

from __future__ import annotations

import os

from quart import Quart, request
from quart.typing import ResponseReturnValue

from passwords import check_password
from quart_jwt_extended import JWTManager, create_access_token, get_jwt_identity, jwt_required

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"
jwt = JWTManager(app)


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


@app.get("/")
@jwt_required(optional=True)
async def greeting() -> ResponseReturnValue:
    return f"Hello, {get_jwt_identity() or 'stranger'}!"
