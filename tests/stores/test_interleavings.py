"""All orders in which two and three workers can use one session, enumerated, not sampled.

A worker runs one of the PROGRAMS. What goes to the store is a step: a call for the store in memory,
a command of Redis, a statement of SQL. Before each step the worker waits until a schedule lets it
go on, or lets it crash there. Each test runs every schedule that its programs have: it takes the
first choice at each point, and then comes back for the others, from the last to the first.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from quart_jwt_extended import MemoryTokenStore, SQLTokenStore
from support.token_store_kits import MemoryKit, RedisKit, SQLKit, open_kit
from support.token_store_suite import new_id

GRACE = 10
OPTIONS = {"lifetime": 1000, "grace": GRACE, "linger": 50}

# The session is of this generation, and its rotation is longer ago than the grace.
CURRENT, STALE = 1, 0

WORKER: ContextVar[Worker | None] = ContextVar("worker", default=None)


class Crashed(Exception):
    """The process of the worker has ended before this step; its client sees no answer."""


async def gate() -> None:
    """Wait for the schedule, in a worker; what prepares and judges goes through."""
    worker = WORKER.get()
    if worker is not None:
        await worker.wait()


class Worker:
    """One party, its steps, and what came of its calls."""

    def __init__(self, run: Run, program: str) -> None:
        self.run = run
        self.program = program
        self.token = CURRENT
        # How many steps there were before the first one of the call that it makes.
        self.begun: int | None = None
        self.parked = asyncio.Event()
        self._next: asyncio.Future[bool] | None = None
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        WORKER.set(self)
        try:
            await PROGRAMS[self.program](self)
        except Crashed:
            pass
        finally:
            self.parked.set()

    async def wait(self) -> None:
        self._next = asyncio.get_running_loop().create_future()
        self.parked.set()
        if await self._next:
            raise Crashed
        if self.begun is None:
            self.begun = self.run.steps - 1

    async def go(self, crash: bool) -> None:
        """Let it make its next step, until it waits for another or has ended."""
        assert self._next is not None
        self.parked.clear()
        self._next.set_result(crash)
        await self.parked.wait()

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """One call of the store, noted with the number of steps before and after it."""
        self.begun = None
        if "lifetime" in options:
            # Of two ends in one millisecond, neither would be the later one.
            options["lifetime"] += next(self.run.seconds)
        answer = await getattr(self.run.kit.store, name)(*arguments, **options)
        begun = self.run.steps if self.begun is None else self.begun
        self.run.history.append((begun, self.run.steps, name, options.get("keep"), answer))
        return answer

    async def rotate(self, generation: int) -> Any:
        try:
            answer = await self.call("rotate_session", self.run.id, generation, **OPTIONS)
        except Crashed:
            # The client got no answer, and tries again with the token that it has.
            answer = await self.call("rotate_session", self.run.id, generation, **OPTIONS)
        if answer[1] is not None and answer[0] != "reused":
            self.token = answer[1].generation
        return answer


async def lost(worker: Worker) -> None:
    await worker.rotate(CURRENT)
    worker.token = CURRENT
    await worker.rotate(CURRENT)


async def twice(worker: Worker) -> None:
    if (await worker.rotate(CURRENT))[0] in ("rotated", "retried"):
        await worker.rotate(worker.token)


async def time(worker: Worker) -> None:
    await gate()
    await worker.run.grace_passes()


PROGRAMS: dict[str, Callable[[Worker], Awaitable[Any]]] = {
    "rotate": lambda w: w.rotate(CURRENT),
    # The answer is lost, and the client comes again.
    "lost": lost,
    "twice": twice,
    "stale": lambda w: w.rotate(STALE),
    "extend": lambda w: w.call("extend_session", w.run.id, lifetime=2000, linger=50),
    "check": lambda w: w.call("check", w.run.id, "jti"),
    "revoke": lambda w: w.call("revoke_session", w.run.id),
    "revoke all": lambda w: w.call("revoke_sessions", w.run.identity),
    "revoke others": lambda w: w.call("revoke_sessions", w.run.identity, keep=w.run.id),
    # The grace is over.
    "time": time,
}
HONEST = {"rotate", "lost", "extend", "check", "revoke others"}
PARTIES = {"rotate", "lost", "twice"}


class Run:
    """One schedule."""

    def __init__(self, kit: Any, number: int) -> None:
        self.kit = kit
        self.identity = f"user {number}"
        self.id = new_id(self.identity, number)
        self.steps = 0
        self.crashed = False
        self.seconds = itertools.count(1)
        self.history: list[tuple[int, int, str, Any, Any]] = []

    async def grace_passes(self) -> None:
        """For this session alone: there are thousands of others by now."""
        await older(self.kit, self.id, GRACE * 1000 + 100)

    async def prepare(self) -> None:
        if isinstance(self.kit, MemoryKit):
            # It looks at all there are.
            self.kit.store._sessions.clear()
            self.kit.store._revocations.clear()
        options = {"lifetime": 1000, "max_age": None, "linger": 50, "metadata": {}}
        session = await self.kit.store.create_session(self.id, self.identity, **options)
        self.begun = session.created_at.timestamp()
        await self.kit.store.rotate_session(self.id, STALE, **OPTIONS)
        await self.grace_passes()

    async def play(self, programs: tuple[str, ...], crashes: int, prefix: list[int]) -> list[int]:
        """Follow the choices of the prefix, then always the first one.

        :return: how many choices there were at each point.
        """
        self.workers = [Worker(self, program) for program in programs]
        for worker in self.workers:
            await worker.parked.wait()
        widths = []
        while waiting := [worker for worker in self.workers if not worker.task.done()]:
            choices = [(worker, False) for worker in waiting]
            if crashes:
                choices += [(worker, True) for worker in waiting]
            chosen = prefix[len(widths)] if len(widths) < len(prefix) else 0
            widths.append(len(choices))
            worker, crash = choices[chosen]
            if crash:
                crashes -= 1
                self.crashed = True
            self.steps += 1
            await worker.go(crash)
        for worker in self.workers:
            worker.task.result()
        return widths

    async def judge(self, programs: tuple[str, ...]) -> None:
        answers = [(name, answer) for _, _, name, _, answer in self.history]
        rotations = [answer for name, answer in answers if name == "rotate_session"]

        # At most one live generation: each is made once, and who comes again gets the newest.
        made = [session.generation for outcome, session in rotations if outcome == "rotated"]
        assert sorted(made) == list(range(CURRENT + 1, CURRENT + 1 + len(made)))
        retried = {session.generation for outcome, session in rotations if outcome == "retried"}
        # A crash may have kept the answer of the rotation.
        assert retried <= set(made) or self.crashed

        # Reuse is told once, and so is each revocation.
        reused = [session for outcome, session in rotations if outcome == "reused"]
        revoked = [a for name, a in answers if name == "revoke_session" and a is not None]
        revoked += [s for name, found in answers if name == "revoke_sessions" for s in found]
        assert len(reused) + len(revoked) <= 1

        # No token works after its revocation returned.
        ends = [
            end
            for _, end, name, keep, answer in self.history
            if name == "revoke_session"
            or (name == "revoke_sessions" and keep is None)
            or (name == "rotate_session" and answer[0] in ("reused", "ended"))
        ]
        for begun, _, _, _, answer in self.history:
            if ends and begun >= min(ends):
                assert answer in (("ended", None), None, "session_ended", [])

        # It may be announced and not yet be done, but never be done and not announced.
        live = await self.kit.store.check(self.id, None) == "live"
        found = (await self.kit.store.revoked_since(self.begun))[1]
        announced = any(each[:2] == ("session", self.id) for each in found)
        assert announced or live
        assert not (live and ends)
        # Only a cluster needs two steps.
        if not self.crashed or not hasattr(getattr(self.kit, "client", None), "keyslot"):
            assert announced is not live

        # An honest client that comes again within the grace is never logged out.
        if set(programs) <= HONEST:
            assert live
            assert {outcome for outcome, _ in rotations} <= {"rotated", "retried"}
            assert not announced

        # Two parties with tokens of one session are both out once both came again after the grace.
        if set(programs) <= PARTIES:
            for worker in self.workers:
                await self.grace_passes()
                await worker.rotate(worker.token)
            assert await self.kit.store.check(self.id, None) == "session_ended"
            assert sum(answer[0] == "reused" for *_, answer in self.history) == 1


async def older(kit: Any, session_id: str, milliseconds: int) -> None:
    if isinstance(kit, MemoryKit):
        if session_id in kit.store._sessions:
            kit.store._sessions[session_id]["rotated_at"] -= milliseconds
    elif isinstance(kit, RedisKit):
        key = f"jwt:s:{session_id[:8]}"
        text = await kit.client.hget(key, session_id)
        if text is not None:
            record = json.loads(text)
            record["rotated_at"] = str(int(record["rotated_at"]) - milliseconds)
            await kit.client.hset(key, session_id, json.dumps(record))
    else:
        table = next(table for table in kit.tables if "generation" in table.c)
        values = {"rotated_at": table.c.rotated_at - milliseconds}
        async with kit.engine.begin() as connection:
            await connection.execute(update(table).where(table.c.id == session_id).values(values))


NUMBERS = itertools.count()


async def explore(kit: Any, programs: tuple[str, ...], crashes: int) -> int:
    """Run every schedule of these programs, and judge each; how many there are."""
    prefix: list[int] = []
    for number in itertools.count(1):
        run = Run(kit, next(NUMBERS))
        await run.prepare()
        try:
            widths = await run.play(programs, crashes, prefix)
            await run.judge(programs)
        except Exception as error:
            error.add_note(f"{programs}, choices {prefix}: {run.history}")
            raise
        assert len(widths) >= len(prefix), "a schedule does not repeat itself"
        choices = prefix + [0] * (len(widths) - len(prefix))
        while choices and choices[-1] == widths[len(choices) - 1] - 1:
            choices.pop()
        if not choices:
            return number
        choices[-1] += 1
        prefix = choices
    raise AssertionError


# -- Stores that wait before each step


class GatedMemoryStore(MemoryTokenStore):
    """A call is one step: it waits for nothing once it has begun."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_"):
            return found

        async def gated(*arguments: Any, **options: Any) -> Any:
            await gate()
            return await found(*arguments, **options)

        return gated


class GatedMemoryKit(MemoryKit):
    def __init__(self) -> None:
        super().__init__(GatedMemoryStore)


class GatedRedis:
    """A client of Redis that waits before each command."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "pipeline":
            return lambda **options: GatedPipeline(found(**options))
        if name in ("eval", "keyslot"):
            # The rest of a step whose script was not known, and what sends nothing.
            return found

        async def gated(*arguments: Any, **options: Any) -> Any:
            await gate()
            return await found(*arguments, **options)

        return gated


class GatedPipeline:
    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    async def __aenter__(self) -> GatedPipeline:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pipeline.reset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    async def execute(self, **options: Any) -> Any:
        await gate()
        return await self._pipeline.execute(**options)


class GatedEngine:
    """An engine that waits before each connection: the store has one for each statement."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def execution_options(self, **options: Any) -> GatedEngine:
        return GatedEngine(self._engine.execution_options(**options))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Any]:
        await gate()
        async with self._engine.connect() as connection:
            yield connection


def gated(kit: Any) -> Any:
    if isinstance(kit, SQLKit):
        kit.store = SQLTokenStore(GatedEngine(kit.engine))
    else:
        kit.store._client = GatedRedis(kit.store._client)
    return kit


@pytest.fixture
async def gated_kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield GatedMemoryKit()
        return
    async with open_kit(request.param, request, tmp_path) as kit:
        yield gated(kit)


# What writes, and each way to write it once.
WRITERS = ("rotate", "stale", "revoke", "revoke all", "extend", "time")

REAL = ["redis", "redis-cluster", "asyncpg", "asyncpg-serializable", "psycopg"]


async def explore_all(
    kit: Any, combinations: Any, crashes: int, capsys: pytest.CaptureFixture[str], title: str
) -> None:
    counted = {each: await explore(kit, each, crashes) for each in combinations}
    with capsys.disabled():
        total, most = sum(counted.values()), max(counted.values())
        print(f"\n{title}: {total} schedules of {len(counted)} programs, at most {most} of one")


def combined(programs: Any, number: int) -> Any:
    return itertools.combinations_with_replacement(programs, number)


@pytest.mark.parametrize(
    "gated_kit",
    ["memory", *(pytest.param(name, marks=pytest.mark.slow) for name in ["sqlite", *REAL])],
    indirect=True,
)
async def test_two_workers(
    gated_kit: Any, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    await explore_all(gated_kit, combined(PROGRAMS, 2), 1, capsys, request.node.name)


@pytest.mark.parametrize("gated_kit", ["sqlite"], indirect=True)
async def test_two_workers_that_write(
    gated_kit: Any, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    await explore_all(gated_kit, combined(WRITERS, 2), 0, capsys, request.node.name)


@pytest.mark.slow
async def test_three_workers_in_memory(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    kit = GatedMemoryKit()
    await explore_all(kit, combined(PROGRAMS, 3), 1, capsys, request.node.name)


# One driver and one kind of Redis are enough: the statements are the same.
@pytest.mark.slow
@pytest.mark.parametrize(
    "gated_kit", ["sqlite", "redis", "asyncpg", "asyncpg-serializable"], indirect=True
)
async def test_three_workers(
    gated_kit: Any, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    await explore_all(gated_kit, combined(WRITERS, 3), 0, capsys, request.node.name)
