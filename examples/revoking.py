"""Single tokens that are revoked before they expire, with a token store.

If the store is unavailable, requests with a token get a 503 response, so that no revoked token is
accepted. To revoke both tokens of a login together, see refresh_and_fresh.py.

Run it with ``hypercorn examples/revoking:app``. Environment variables configure it:

- ``JWT_SECRET_KEY``: a secret of at least 32 random bytes. It is required.
- ``REDIS_URL``: the Redis server that stores the revocations. It requires the package redis.
- ``DATABASE_URL``: the database that stores them, such as ``sqlite+aiosqlite:///revoked.db`` or
  ``postgresql+asyncpg://user:password@host/database``. It requires the packages
  sqlalchemy[asyncio], and aiosqlite or asyncpg.

Without a URL, revocations are stored in memory, for a service with a single process.

If Redis loses data, revoked tokens are accepted again. Configure it with ``appendonly yes``, which
keeps data over a restart, and ``maxmemory-policy noeviction``, which drops nothing if memory is
short. A database keeps the rows of expired tokens until
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


def redis_store(url: str) -> RedisTokenStore:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    client = Redis.from_url(
        url,
        # In seconds. If Redis hangs, a request waits for two timeouts at most.
        socket_connect_timeout=1,
        socket_timeout=1,
        # Retry once, without a pause: a restart of Redis closes the open connections.
        retry=Retry(NoBackoff(), 1),
    )
    app.after_serving(client.aclose)
    return RedisTokenStore(client)


def sql_store(url: str) -> SQLTokenStore:
    from sqlalchemy.ext.asyncio import create_async_engine

    # In seconds: for a connection, or with SQLite for a lock.
    timeouts = {"timeout": 5}
    if url.startswith("postgresql+asyncpg:"):
        # A hanging server may still accept connections, so each command has a timeout, too.
        timeouts["command_timeout"] = 5
    # pool_pre_ping replaces connections that a restart of the database has closed.
    engine = create_async_engine(url, pool_pre_ping=True, connect_args=timeouts)
    store = SQLTokenStore(engine)

    @app.while_serving
    async def create_tables() -> AsyncGenerator[None, None]:
        # In production, create the tables with a migration tool, from ``store.metadata``.
        await store.create_tables()
        yield
        await engine.dispose()

    return store


app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"

token_store: TokenStore = MemoryTokenStore()
if "REDIS_URL" in os.environ:
    token_store = redis_store(os.environ["REDIS_URL"])
elif "DATABASE_URL" in os.environ:
    token_store = sql_store(os.environ["DATABASE_URL"])
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
    """Revoke the token of the request. Clients call this once with each of their two tokens."""
    await revoke_token()
    return {"msg": "Token revoked"}
