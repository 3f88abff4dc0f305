"""The three token stores of the module, each with what their suite needs."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from sqlalchemy import event, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from quart_jwt_extended import MemoryTokenStore, RedisTokenStore, SQLTokenStore
from support.services import PostgresServer, RedisCluster, RedisServer
from support.token_store_suite import Kit

TIMES = ("created_at", "rotated_at", "expires_at", "ends_at", "kept_until", "revoked_at")


class MemoryKit(Kit):
    def __init__(self, kind: type[Any] = MemoryTokenStore) -> None:
        self.store = kind()

    async def age(self, seconds: float) -> None:
        back = round(seconds * 1000)
        for record in self.store._sessions.values():
            for name in TIMES:
                if record.get(name) is not None:
                    record[name] -= back
        for key, times in self.store._revocations.items():
            self.store._revocations[key] = tuple(None if t is None else t - back for t in times)

    async def dump(self) -> Any:
        return repr((self.store._sessions, self.store._revocations))

    async def set_generation(self, session_id: str, generation: int) -> None:
        self.store._sessions[session_id]["generation"] = generation


class Failure(Exception):
    """The worker has died."""


class Failing:
    """A client of Redis or an engine of SQLAlchemy that fails from some step on."""

    def __init__(self, inner: Any, left: list[float] | None = None) -> None:
        self._inner = inner
        # In a list, because what comes of this one shares it.
        self.left = [math.inf] if left is None else left

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "execution_options":
            return lambda **options: Failing(found(**options), self.left)
        if name not in ("evalsha", "eval", "set", "connect"):
            return found

        def counted(*arguments: Any, **options: Any) -> Any:
            if self.left[0] <= 0:
                raise Failure
            self.left[0] -= 1
            return found(*arguments, **options)

        return counted

    @contextmanager
    def after(self, steps: int) -> Iterator[None]:
        self.left[0] = steps
        yield
        self.left[0] = math.inf


class RedisKit(Kit):
    """By a client of its own, which does not decode; the store has another."""

    def __init__(self, store: Any, client: Any, failing: Failing) -> None:
        self.store = store
        self.client = client
        self.failing_after = failing.after  # type: ignore[method-assign]

    async def keys(self) -> list[bytes]:
        found: list[bytes] = [key async for key in self.client.scan_iter("*")]
        return sorted(found)

    async def age(self, seconds: float) -> None:
        back = round(seconds * 1000)
        for key in await self.keys():
            end = await self.client.execute_command("PEXPIRETIME", key)
            kind = await self.client.type(key)
            if kind == b"hash":
                for field, text in (await self.client.hgetall(key)).items():
                    record = json.loads(text)
                    for name in TIMES:
                        if name in record:
                            record[name] = str(int(record[name]) - back)
                    await self.client.hset(key, field, json.dumps(record))
            elif kind == b"zset":
                for member, score in await self.client.zrange(key, 0, -1, withscores=True):
                    start, _, last = member.rpartition(b":")
                    moved = str(int(last) - back).encode() if last else b""
                    await self.client.zrem(key, member)
                    await self.client.zadd(key, {start + b":" + moved: score - back})
            if end > 0:
                await self.client.execute_command("PEXPIREAT", key, end - back)

    async def dump(self) -> Any:
        content = []
        for key in await self.keys():
            end = await self.client.execute_command("PEXPIRETIME", key)
            content.append((key, await self.client.dump(key), end))
        return content

    async def set_generation(self, session_id: str, generation: int) -> None:
        key = f"jwt:s:{session_id[:8]}"
        record = json.loads(await self.client.hget(key, session_id))
        await self.client.hset(
            key, session_id, json.dumps(record | {"generation": str(generation)})
        )


class SQLKit(Kit):
    purges = True

    def __init__(self, store: Any, engine: AsyncEngine, failing: Failing) -> None:
        self.store = store
        self.failing_after = failing.after  # type: ignore[method-assign]
        self.engine = engine
        self.tables = list(store.metadata.sorted_tables)

    async def age(self, seconds: float) -> None:
        back = round(seconds * 1000)
        async with self.engine.begin() as connection:
            for table in self.tables:
                names = [name for name in TIMES if name in table.c]
                await connection.execute(
                    update(table).values({name: table.c[name] - back for name in names})
                )

    async def dump(self) -> Any:
        async with self.engine.connect() as connection:
            return [
                sorted(map(repr, await connection.execute(table.select()))) for table in self.tables
            ]

    async def set_generation(self, session_id: str, generation: int) -> None:
        (table,) = (table for table in self.tables if "generation" in table.c)
        async with self.engine.begin() as connection:
            await connection.execute(
                update(table).where(table.c.id == session_id).values(generation=generation)
            )


def redis_client(server: RedisServer | RedisCluster, **options: Any) -> Any:
    kind = redis.asyncio.RedisCluster if isinstance(server, RedisCluster) else redis.asyncio.Redis
    return kind.from_url(server.url, **options)


@asynccontextmanager
async def redis_kit(
    server: RedisServer | RedisCluster, *, wrap: Any = lambda client: client, **options: Any
) -> AsyncIterator[RedisKit]:
    """An empty Redis; ``wrap`` makes of the store's client what the store gets."""
    async with redis_client(server) as ours, redis_client(server, **options) as theirs:
        if isinstance(server, RedisCluster):
            await ours.flushall(target_nodes="primaries")
        else:
            await ours.flushall()
        failing = Failing(theirs)
        yield RedisKit(RedisTokenStore(wrap(failing)), ours, failing)


@asynccontextmanager
async def sql_kit(url: str, begun: Any = None, **options: Any) -> AsyncIterator[SQLKit]:
    """Empty tables; ``begun`` is called with each new connection."""
    engine = create_async_engine(url, **options)
    if begun is not None:
        event.listen(engine.sync_engine, "connect", begun)
    try:
        failing = Failing(engine)
        store = SQLTokenStore(failing)
        await store.create_tables()
        async with engine.begin() as connection:
            for table in store.metadata.sorted_tables:
                await connection.execute(table.delete())
        yield SQLKit(store, engine, failing)
    finally:
        await engine.dispose()


@asynccontextmanager
async def sqlite_kit(folder: Path) -> AsyncIterator[SQLKit]:
    url = f"sqlite+aiosqlite:///{folder / 'sessions.db'}"
    # SQLite has no queue: on a busy machine, one of many writers waits longer than its 5 seconds.
    async with sql_kit(url, begun=unsynced, connect_args={"timeout": 60}) as kit:
        yield kit


def unsynced(connection: Any, record: object) -> None:
    """Nobody pulls the plug while tests run."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.execute("PRAGMA journal_mode = MEMORY")


def postgres_kit(server: PostgresServer, driver: str, isolation: str = "read committed") -> Any:
    setting = {"default_transaction_isolation": isolation, "synchronous_commit": "off"}
    arguments: dict[str, Any] = {"server_settings": setting}
    if driver == "psycopg":
        escaped = {name: value.replace(" ", "\\ ") for name, value in setting.items()}
        arguments = {"options": " ".join(f"-c {name}={value}" for name, value in escaped.items())}
    url = server.url.replace("postgresql:", f"postgresql+{driver}:")
    return sql_kit(url, connect_args=arguments, pool_size=10)


# By name: the fixture of the server that it needs, and the store on it.
KITS: dict[str, tuple[str, Any]] = {
    "redis": ("redis_server", redis_kit),
    "redis-decoded": ("redis_server", lambda s: redis_kit(s, decode_responses=True)),
    "redis-resp3": ("redis_server", lambda s: redis_kit(s, protocol=3)),
    "redis-cluster": ("redis_cluster", redis_kit),
    "redis-cluster-decoded": ("redis_cluster", lambda s: redis_kit(s, decode_responses=True)),
    "asyncpg": ("postgres_server", lambda s: postgres_kit(s, "asyncpg")),
    "asyncpg-serializable": (
        "postgres_server",
        lambda s: postgres_kit(s, "asyncpg", "serializable"),
    ),
    "psycopg": ("postgres_server", lambda s: postgres_kit(s, "psycopg")),
    "psycopg-serializable": (
        "postgres_server",
        lambda s: postgres_kit(s, "psycopg", "serializable"),
    ),
}


def open_kit(name: str, request: pytest.FixtureRequest, folder: Path) -> Any:
    """The kit of SQLite or of one of KITS, as an asynchronous context manager."""
    if name == "sqlite":
        return sqlite_kit(folder)
    server, new_kit = KITS[name]
    return new_kit(request.getfixturevalue(server))
