"""Servers for the tests of token stores, one of each for the whole run, and the stores on them."""

from __future__ import annotations

# SHIM until the stores are in the module
import importlib.util
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

import quart_jwt_extended

if not hasattr(quart_jwt_extended, "MemoryTokenStore"):
    spec = importlib.util.spec_from_file_location("spec_stores", "/work/spec/stores.py")
    shim = importlib.util.module_from_spec(spec)
    sys.modules["spec_stores"] = shim
    spec.loader.exec_module(shim)
    for name in ("Session", "MemoryTokenStore", "RedisTokenStore", "SQLTokenStore"):
        setattr(quart_jwt_extended, name, getattr(shim, name))
# END OF SHIM

from support.services import PostgresServer, RedisCluster, RedisServer, started  # noqa: E402

pytest.register_assert_rewrite("support.token_store_suite")

from support.token_store_kits import KITS, MemoryKit, sqlite_kit  # noqa: E402
from support.token_store_suite import Kit  # noqa: E402


def unsynced(server: RedisServer) -> None:
    """Nobody pulls the plug while tests run."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("appendfsync", "no")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with started(RedisServer) as server:
        unsynced(server)
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    with started(RedisCluster) as server:
        for node in server.nodes:
            unsynced(node)
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with started(PostgresServer) as server:
        yield server


@pytest.fixture(
    params=["memory", "sqlite", *(pytest.param(name, marks=pytest.mark.slow) for name in KITS)]
)
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kit]:
    """Each of the stores, empty."""
    if request.param == "memory":
        yield MemoryKit()
        return
    if request.param == "sqlite":
        context = sqlite_kit(tmp_path)
    else:
        server, new_kit = KITS[request.param]
        context = new_kit(request.getfixturevalue(server))
    async with context as found:
        yield found
