"""The application under load: tokens in every location, revocations in Redis."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from quart import Quart
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from quart_jwt_extended import (
    JWTManager,
    get_jwt_claims,
    get_jwt_identity,
    get_raw_jwt,
    jwt_optional,
    jwt_refresh_token_required,
    jwt_required,
)


def create_app() -> Quart:
    """LOAD_SECRET and LOAD_REDIS, from the environment, are the key and where Redis is."""
    app = Quart("load")
    app.config["JWT_SECRET_KEY"] = os.environ["LOAD_SECRET"]
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "cookies", "query_string", "json"]
    app.config["JWT_BLACKLIST_ENABLED"] = True
    manager = JWTManager(app)

    # By default the pool raises when more than 100 connections are wanted at a time, and a client
    # tries for seconds before it gives up. Here, each request may have one, and tries again once
    # and at once: connections that broke in the pool while Redis was away are still handed out.
    store = Redis.from_url(
        os.environ["LOAD_REDIS"],
        max_connections=4096,
        retry=Retry(NoBackoff(), 1),
        socket_connect_timeout=5,
        socket_timeout=5,
    )
    app.after_serving(store.aclose)

    @manager.token_in_blacklist_loader
    async def is_revoked(claims: dict[str, Any]) -> bool:
        return bool(await store.exists(f"revoked:{claims['jti']}"))

    @app.errorhandler(RedisError)
    async def unavailable(error: RedisError) -> tuple[dict[str, str], int]:
        """Tells an error of the callback from any other, which would be a bare 500."""
        return {"msg": "Revocations cannot be looked up"}, 503

    async def who() -> dict[str, Any]:
        # Others get their turn here: if anything of theirs could slip in, it would.
        await asyncio.sleep(0)
        token = get_raw_jwt()
        return {
            "identity": get_jwt_identity(),
            "user_claims": get_jwt_claims(),
            "jti": token.get("jti"),
            "type": token.get("type"),
        }

    @app.route("/me", methods=["GET", "POST"])
    @jwt_required
    async def me() -> dict[str, Any]:
        return await who()

    @app.route("/optional", methods=["GET", "POST"])
    @jwt_optional
    async def optional() -> dict[str, Any]:
        return await who()

    @app.route("/refresh", methods=["GET", "POST"])
    @jwt_refresh_token_required
    async def refresh() -> dict[str, Any]:
        return await who()

    async def revoke() -> dict[str, Any]:
        token = get_raw_jwt()
        left = max(1, int(token["exp"] - time.time()))
        await store.set(f"revoked:{token['jti']}", "1", ex=left)
        return {"revoked": token["jti"]}

    @app.route("/logout", methods=["GET", "POST"])
    @jwt_required
    async def logout() -> dict[str, Any]:
        return await revoke()

    @app.route("/logout/refresh", methods=["GET", "POST"])
    @jwt_refresh_token_required
    async def logout_refresh() -> dict[str, Any]:
        return await revoke()

    return app
