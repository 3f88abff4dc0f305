"""Revoked tokens, remembered in memory: for a service of one process.

A restart forgets what was revoked. The stores of revoking_in_database.py and
revoking_in_redis.py do not, and serve several processes.

Run it with ``hypercorn examples/revoking_in_memory:app``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any

from quart import Quart, request
from quart.typing import ResponseReturnValue

from passwords import check_password
from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt_identity,
    get_raw_jwt,
    jwt_refresh_token_required,
    jwt_required,
)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_BLACKLIST_ENABLED"] = True
jwt = JWTManager(app)

# The ``jti`` of every revoked token, and when that token expires.
revoked: dict[str, float] = {}


def revoke(claims: dict[str, Any]) -> None:
    """Refuse the token that has these claims from now on."""
    now = time.time()
    # Expired tokens are refused anyway. A JWT_DECODE_LEEWAY would have to be added.
    for jti in [jti for jti, expiry in revoked.items() if expiry <= now]:
        del revoked[jti]
    revoked[claims["jti"]] = claims.get("exp", math.inf)


@jwt.token_in_blacklist_loader
def is_revoked(claims: dict[str, Any]) -> bool:
    return claims["jti"] in revoked


@app.post("/login")
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
                return {
                    "access_token": create_access_token(name),
                    "refresh_token": create_refresh_token(name),
                }
    return {"msg": "Wrong username or password"}, 401


@app.post("/refresh")
@jwt_refresh_token_required
async def refresh() -> ResponseReturnValue:
    return {"access_token": create_access_token(get_jwt_identity())}


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": get_jwt_identity()}


@app.post("/logout")
@jwt_required(verify_type=False)
async def logout() -> ResponseReturnValue:
    """Revoke the token that is sent; a client calls this with each of its two."""
    revoke(get_raw_jwt())
    return {"msg": "Token revoked"}
