"""The application of sessions.py: sessions in a token store, or a callback of the user's own."""

from __future__ import annotations

import logging
import os
from typing import Any

from quart import Quart, Response, request
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from quart_jwt_extended import (
    JWTManager,
    RedisTokenStore,
    SessionTokens,
    SQLTokenStore,
    create_access_token,
    create_session,
    get_jwt_identity,
    get_raw_jwt,
    get_session_id,
    jwt_required,
    revoke_session,
    revoke_sessions,
    revoke_token,
    rotate_session,
)

# Connections of each worker to PostgreSQL, which takes 100 in all.
POOL = 20


def create_app() -> Quart:
    """SESSIONS_STORE is "redis", "postgresql" or "callback", SESSIONS_URL where that is."""
    app = Quart("sessions")
    app.config["JWT_SECRET_KEY"] = os.environ["SESSIONS_SECRET"]
    # Longer than any run.
    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = 24 * 3600
    app.config["JWT_REVOCATION_MAX_STALENESS"] = float(os.environ["SESSIONS_STALENESS"])
    # A client whose answer was lost when the store went away can ask again once it is back.
    app.config["JWT_REFRESH_GRACE"] = float(os.environ["SESSIONS_GRACE"])
    kind = os.environ["SESSIONS_STORE"]
    if kind == "postgresql":
        JWTManager(app, token_store=_sql_store(app))
    elif kind == "redis":
        JWTManager(app, token_store=RedisTokenStore(_redis(app)))
    else:
        _add_callback(JWTManager(app), _redis(app))
    # That the store is away, or a token used twice, is no news; all else is.
    logging.getLogger("quart_jwt_extended").addFilter(_is_news)
    _add_views(app, with_sessions=kind != "callback")
    worker = str(os.getpid())

    @app.after_request
    async def name_worker(response: Response) -> Response:
        response.headers["Worker"] = worker
        return response

    return app


def _redis(app: Quart) -> Redis:
    # See README.md on what redis-py must be told.
    client = Redis.from_url(
        os.environ["SESSIONS_URL"],
        max_connections=4096,
        retry=Retry(NoBackoff(), 1),
        socket_connect_timeout=5,
        socket_timeout=5,
    )
    app.after_serving(client.aclose)
    return client


def _sql_store(app: Quart) -> SQLTokenStore:
    from sqlalchemy.ext.asyncio import create_async_engine

    url = os.environ["SESSIONS_URL"].replace("://", "+asyncpg://")
    engine = create_async_engine(
        url, pool_size=POOL, max_overflow=0, connect_args={"timeout": 5, "command_timeout": 5}
    )
    app.after_serving(engine.dispose)
    return SQLTokenStore(engine)


def _add_callback(manager: JWTManager, client: Redis) -> None:
    """What one writes by hand: ask Redis about each token."""

    @manager.token_in_blocklist_loader
    async def is_revoked(header: dict[str, Any], claims: dict[str, Any]) -> bool:
        return bool(await client.exists(f"revoked:{claims['jti']}"))


def _is_news(record: logging.LogRecord) -> bool:
    expected = (
        "Token store unavailable",
        "Polling the token store failed",
        "Rejected: token_reused",
    )
    return not record.getMessage().startswith(expected)


def _as_dict(tokens: SessionTokens) -> dict[str, Any]:
    return tokens._asdict()


def _add_views(app: Quart, with_sessions: bool) -> None:
    @app.get("/worker")
    async def worker() -> dict[str, Any]:
        return {}

    @app.get("/me")
    @jwt_required
    async def me() -> dict[str, Any]:
        return {"identity": get_jwt_identity(), "session_id": get_session_id()}

    @app.post("/login/<user>")
    async def login(user: str) -> dict[str, Any]:
        if with_sessions:
            return _as_dict(
                await create_session(user, metadata={"agent": request.user_agent.string})
            )
        return {"access_token": create_access_token(user), "refresh_token": "", "session_id": ""}

    @app.post("/refresh")
    @jwt_required(refresh=True)
    async def refresh() -> dict[str, Any]:
        return _as_dict(await rotate_session())

    @app.post("/logout")
    @jwt_required
    async def logout() -> dict[str, Any]:
        return {"revoked": await revoke_session()}

    @app.post("/logout/everywhere")
    @jwt_required
    async def logout_everywhere() -> dict[str, Any]:
        return {"revoked": await revoke_sessions(get_jwt_identity())}

    @app.post("/logout/token")
    @jwt_required
    async def logout_token() -> dict[str, Any]:
        await revoke_token()
        return {"revoked": get_raw_jwt()["jti"]}
