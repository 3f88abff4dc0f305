"""Revoked tokens, remembered in Redis, which forgets each one when it has expired.

While Redis is away, requests with a token are answered 503, so that no revoked one gets
in. But a Redis that loses entries lets their tokens in again: it must keep them over a
restart (``appendonly yes``) and not drop them when memory is short
(``maxmemory-policy noeviction``).

Run it with ``hypercorn examples/revoking_in_redis:app``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more, and REDIS_URL says where Redis
is, if not at redis://127.0.0.1:6379/0. It needs the package redis.
"""

from __future__ import annotations

import os
from typing import Any

from quart import Quart, request
from quart.typing import ResponseReturnValue
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

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

store = Redis.from_url(
    os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    # Seconds: a Redis that hangs holds up a request for two of these at most.
    socket_connect_timeout=1,
    socket_timeout=1,
    # Once more, at once: a restart of Redis has cut the open connections.
    retry=Retry(NoBackoff(), 1),
)

# Seconds that an entry outlives its token, since clocks differ. A JWT_DECODE_LEEWAY
# would have to be added.
MARGIN = 60


async def revoke(claims: dict[str, Any]) -> None:
    """Refuse the token that has these claims from now on."""
    expiry = claims["exp"] + MARGIN if "exp" in claims else None
    await store.set(f"revoked:{claims['jti']}", "", exat=expiry)


@jwt.token_in_blacklist_loader
async def is_revoked(claims: dict[str, Any]) -> bool:
    return bool(await store.exists(f"revoked:{claims['jti']}"))


@app.errorhandler(RedisError)
async def redis_is_away(error: RedisError) -> ResponseReturnValue:
    """Answer where nobody knows whether a token is revoked; no view runs then."""
    app.logger.error("Redis does not answer: %s", error)
    answer = {"msg": "Tokens cannot be checked now, try again later"}
    return answer, 503, {"Retry-After": "5"}


@app.after_serving
async def close() -> None:
    await store.aclose()


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
    await revoke(get_raw_jwt())
    return {"msg": "Token revoked"}
