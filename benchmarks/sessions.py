"""Group G: what a token store and trusted issuers cost, and how fast each store rotates.

The worker times the requests (:func:`add_sessions`); the rotations are timed by

    sessions.py CPU

which prints one JSON object. BENCHMARK_STORES is what stores.py has printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import jwt
from apps import access_token, make_app, make_keys, manager_of
from case import LIBRARY, Batch, Cases, clock
from environments import OURS
from quart import Quart
from requesting import Request, exchange, open_route, requests

import quart_jwt_extended as qje

# Longer than any run: between two batches the worker waits without its loop, and polls nothing.
STALENESS = 24 * 3600

ISSUERS = 100
KEYS_URL = "https://keys.example"

# Rotations: short slices in turns.
ROUNDS = 10
SLICE = 0.2
CLIENTS = (1, 16)


def stores() -> dict[str, str]:
    """Where Redis and PostgreSQL are."""
    found: dict[str, str] = json.loads(os.environ.get("BENCHMARK_STORES", "{}"))
    return found


def _redis() -> Any:
    from redis.asyncio import Redis

    return Redis.from_url(stores()["redis"])


# --- Requests -----------------------------------------------------------------


async def add_sessions(cases: Cases) -> None:
    """The same request and the same token, by what is asked about its revocation.

    The clock is that of the wall, as what waits for Redis does.
    """
    if LIBRARY != OURS:
        return
    none = make_app()
    near = make_app(token_store=qje.MemoryTokenStore(), JWT_REVOCATION_MAX_STALENESS=STALENESS)
    await near.startup()
    apps = {"no store": none, "store, staleness N": near}
    if "redis" in stores():
        apps["store, staleness 0, Redis"] = make_app(token_store=qje.RedisTokenStore(_redis()))
        apps["own callback, Redis"] = _asking_redis()
    for shape, app in apps.items():
        token = await _session_token(app, shape)
        sent = Request(headers=[(b"authorization", b"Bearer " + token.encode())])
        for subject, path in ((open_route(LIBRARY), "/open"), (LIBRARY, "/protected")):
            batch = requests(app, sent, path, time.perf_counter_ns)
            await cases.add("G", shape, subject, batch)
    for shape, app in apps.items():
        if "Redis" not in shape:
            batch = _verifications(app, await _session_token(app, shape))
            await cases.add("G", "verify_token", f"{LIBRARY}, {shape}", batch)
    await _add_issuers(cases)


async def _add_issuers(cases: Cases) -> None:
    """The token of a trusted issuer beside one of the app itself, both by the same key."""
    (keys,) = (keys for keys in make_keys() if keys.algorithm == "RS256")
    app = make_app(**keys.options())
    manager = manager_of(app)

    @manager.jwks_fetch_loader
    async def fetch(url: str) -> dict[str, Any]:
        member = jwt.get_algorithm_by_name("RS256").to_jwk(keys.public, as_dict=True)
        return {"keys": [{**member, "kid": "key-1"}]}

    for number in range(ISSUERS):
        issuer = manager.trust_issuer(
            f"https://{number}.example", audience="api", algorithms=["RS256"], jwks_uri=KEYS_URL
        )
    await issuer.reload()
    own = await access_token(app)
    claims = jwt.decode(own, options={"verify_signature": False})
    claims |= {"iss": issuer.name, "aud": "api", "sub": claims.pop("identity")}
    foreign = jwt.encode(claims, keys.private, "RS256", {"kid": "key-1"})
    for subject, token in (("own token", own), (f"one of {ISSUERS} trusted issuers", foreign)):
        batch = _verifications(app, token)
        await cases.add("G", "verify_token, RS256", f"{LIBRARY}, {subject}", batch)


def _asking_redis() -> Quart:
    """What one writes by hand."""
    app, client = make_app(), _redis()

    @manager_of(app).token_in_blocklist_loader
    async def is_revoked(header: dict[str, Any], claims: dict[str, Any]) -> bool:
        return bool(await client.exists(f"revoked:{claims['jti']}"))

    return app


async def _session_token(app: Quart, shape: str) -> str:
    """An access token of a session of the app; without a store, one of the same size."""
    if not shape.startswith("store"):
        return await access_token(app, additional_claims={"sid": "x" * 30})
    async with app.app_context():
        return (await qje.create_session("alice")).access_token


def _verifications(app: Quart, token: str) -> Batch:
    async def batch(calls: int) -> int:
        verify_token = qje.verify_token
        async with app.app_context():
            start = clock()
            for _ in range(calls):
                await verify_token(token)
            return clock() - start

    return batch


# --- Rotations ----------------------------------------------------------------


class Rotating:
    """An application with one store, and sessions that rotate by requests of their own."""

    def __init__(self, store: Any) -> None:
        self.app = make_app(token_store=store)
        self.sessions: list[str] = []
        self.latest: dict[str, str] = {}
        self.rates: dict[int, list[float]] = {count: [] for count in CLIENTS}

        @self.app.post("/rotate")
        @qje.jwt_required(refresh=True)
        async def rotate() -> str:
            tokens = await qje.rotate_session()
            self.latest[tokens.session_id] = tokens.refresh_token
            return "ok"

    async def log_in(self) -> None:
        async with self.app.app_context():
            for number in range(max(CLIENTS)):
                tokens = await qje.create_session(f"user {number}")
                self.sessions.append(tokens.session_id)
                self.latest[tokens.session_id] = tokens.refresh_token

    async def slice(self, count: int) -> None:
        """So many sessions rotate at once, for a while."""
        start = time.perf_counter()
        end = start + SLICE
        done = await asyncio.gather(*(self._rotate(each, end) for each in self.sessions[:count]))
        self.rates[count].append(sum(done) / (time.perf_counter() - start))

    async def _rotate(self, session_id: str, end: float) -> int:
        done = 0
        while time.perf_counter() < end:
            authorization = b"Bearer " + self.latest[session_id].encode()
            sent = Request("POST", [(b"authorization", authorization)])
            status = await exchange(self.app, sent, "/rotate")
            if status != 200:
                raise AssertionError(f"answered {status}")
            done += 1
        return done


@asynccontextmanager
async def sql_store(url: str) -> AsyncIterator[qje.SQLTokenStore]:
    """A store on a database, with its tables."""
    from sqlalchemy.ext.asyncio import create_async_engine

    # As many as there are clients: more would be opened and closed all the time.
    engine = create_async_engine(url, pool_size=max(CLIENTS))
    store = qje.SQLTokenStore(engine)
    await store.create_tables()
    yield store
    await engine.dispose()


async def measure_rotations() -> list[dict[str, Any]]:
    """The rows of each store."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found: dict[str, Any] = {"memory": qje.MemoryTokenStore()}
        if "redis" in stores():
            found["Redis"] = qje.RedisTokenStore(_redis())
        if "postgresql" in stores():
            url = stores()["postgresql"].replace("://", "+asyncpg://")
            found["PostgreSQL"] = await stack.enter_async_context(sql_store(url))
        file = f"sqlite+aiosqlite:///{directory / 'sessions.db'}"
        found["SQLite"] = await stack.enter_async_context(sql_store(file))
        measured = {name: Rotating(store) for name, store in found.items()}
        for each in measured.values():
            await each.log_in()
        chance = random.Random(0)
        for _ in range(ROUNDS):
            for each in chance.sample(list(measured.values()), len(measured)):
                for count in CLIENTS:
                    await each.slice(count)
        return [row for name, each in measured.items() for row in _rows(name, each)]


def _rows(name: str, each: Rotating) -> list[dict[str, Any]]:
    return [
        {"store": name, "clients": count, "rotations_per_second": median(rates)}
        for count, rates in each.rates.items()
    ]


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    print(json.dumps(asyncio.run(measure_rotations())))
