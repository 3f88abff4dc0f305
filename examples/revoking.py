"""Tokens that end before they expire: each of them revoked by itself, in a store.

Where the store is is one line: in memory, for a service of one process; in the Redis that
REDIS_URL names; in the database that DATABASE_URL names, such as
``sqlite+aiosqlite:///revoked.db`` or ``postgresql+asyncpg://user:password@host/database``.
While it is down, requests with a token are answered 503, so that no revoked one gets in.
To end all tokens of a login at once, see refresh_and_fresh.py.

Run it with ``hypercorn examples/revoking:app``; the environment variable JWT_SECRET_KEY
holds a secret of 32 random bytes or more. It needs the package redis for Redis, and
sqlalchemy[asyncio] and aiosqlite or asyncpg for a database.

A Redis that loses entries lets their tokens in again: it must keep them over a restart
(``appendonly yes``) and not drop them when memory is short
(``maxmemory-policy noeviction``). A database keeps those of tokens that have expired until
``quart --app examples/revoking:app jwt purge`` deletes them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

from quart import Quart, request
from quart.typing import ResponseReturnValue

from passwords import check_password
from quart_jwt_extended import (
    JWTManager,
    MemoryTokenStore,
    RedisTokenStore,
    SQLTokenStore,
    TokenStore,
    create_access_token,
    create_refresh_token,
    get_jwt_identity,
    jwt_required,
    revoke_token,
)


def store_in_redis(url: str) -> RedisTokenStore:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    client = Redis.from_url(
        url,
        # Seconds: a Redis that hangs holds up a request for two of these at most.
        socket_connect_timeout=1,
        socket_timeout=1,
        # Once more, at once: a restart of Redis has cut the open connections.
        retry=Retry(NoBackoff(), 1),
    )
    app.after_serving(client.aclose)
    return RedisTokenStore(client)


def store_in_database(url: str) -> SQLTokenStore:
    from sqlalchemy.ext.asyncio import create_async_engine

    # Seconds that a connection, or with SQLite a lock, is waited for.
    limits = {"timeout": 5}
    if url.startswith("postgresql+asyncpg:"):
        # A server that hangs has let us connect: each answer has its limit, too.
        limits["command_timeout"] = 5
    # Connections that a restart of the database has cut are replaced before use.
    engine = create_async_engine(url, pool_pre_ping=True, connect_args=limits)
    store = SQLTokenStore(engine)

    @app.while_serving
    async def tables() -> AsyncGenerator[None, None]:
        # Fine to begin with; a tool such as Alembic makes them of ``store.metadata``.
        await store.create_tables()
        yield
        await engine.dispose()

    return store


app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]

token_store: TokenStore = MemoryTokenStore()
if "REDIS_URL" in os.environ:
    token_store = store_in_redis(os.environ["REDIS_URL"])
elif "DATABASE_URL" in os.environ:
    token_store = store_in_database(os.environ["DATABASE_URL"])
jwt = JWTManager(app, token_store=token_store)


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
@jwt_required(refresh=True)
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
    await revoke_token()
    return {"msg": "Token revoked"}
