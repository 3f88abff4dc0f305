"""Servers for the tests of token stores, one of each for the whole run, and the stores on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from support.services import PostgresServer, RedisCluster, RedisServer, started

pytest.register_assert_rewrite("support.token_store_suite")

from support.token_store_kits import KITS, MemoryKit, open_kit  # noqa: E402
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
    async with open_kit(request.param, request, tmp_path) as found:
        yield found
