"""Load real servers while tokens are revoked and Redis goes and comes: ``make load``.

    run.py [--seconds 60] [--connections 256] [--servers hypercorn uvicorn] [--json FILE]

README.md beside this file describes what is sent and what is right. Status 1: an answer was wrong,
a kind of call was never made, or a server logged a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from calls import Mint
from client import AWAY, BACK, CHANGING, PLACES, REMEMBERED, UP, Revoked, Tally, Visitors

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from support.services import RedisServer, free_port  # noqa: E402

SERVERS = ("hypercorn", "uvicorn")
# What Redis does in each phase, besides changing.
PHASES = {"steady": (UP,), "outage": (UP, AWAY, BACK)}

# Seconds.
START_LIMIT = 60
STOP_LIMIT = 30


@dataclass
class Phase:
    """What came of one phase on one server."""

    server: str
    name: str
    seconds: float
    connections: int
    tally: Tally
    # What the server wrote meanwhile: it has nothing to say while all is well.
    log: str

    @property
    def requests(self) -> int:
        return sum(self.tally.counts.values())

    @property
    def wrong(self) -> int:
        return sum(self.tally.wrong.values())

    def statuses(self, state: str, kind: str | None = None) -> Counter[int]:
        """How often each status was the answer."""
        found: Counter[int] = Counter()
        for (its_state, its_kind, _, status), number in self.tally.counts.items():
            if its_state == state and kind in (None, its_kind):
                found[status] += number
        return found

    def server_errors(self, state: str) -> int:
        return sum(n for status, n in self.statuses(state).items() if status >= 500)

    def faults(self) -> list[str]:
        """Why this phase is no success; empty if it is one."""
        found = [f"{number} wrong: {kind}" for kind, number in self.tally.wrong.items()]
        found += self.tally.examples
        for state in PHASES[self.name]:
            found += [
                f"never sent while Redis was {state}: {kind} in {place}"
                for kind, place in self.tally.never_sent(state)
            ]
            if state != AWAY and self.server_errors(state):
                found.append(f"{self.server_errors(state)} of 5xx while Redis was {state}")
        if self.log:
            found.append(f"the server wrote: {self.log[-2000:]}")
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "server": self.server,
            "phase": self.name,
            "seconds": round(self.seconds, 2),
            "connections": self.connections,
            "requests": self.requests,
            "wrong": dict(self.tally.wrong),
            # State of Redis, kind, location, status, number.
            "counts": [[*key, number] for key, number in sorted(self.tally.counts.items())],
            "faults": self.faults(),
        }

    def as_text(self) -> str:
        states = PHASES[self.name]
        errors = ", ".join(f"{state} {self.server_errors(state)}" for state in states)
        lines = [
            f"{self.server}, {self.name}: {self.requests} requests over {self.connections} "
            f"connections in {self.seconds:.1f} s, {self.requests / self.seconds:.0f} per second, "
            f"the slowest {self.tally.slowest:.2f} s; wrong: {self.wrong}; 5xx while Redis was: "
            f"{errors}",
        ]
        if len(states) > 1:
            states = (*states, CHANGING)
        rows = [["", *states]]
        for kind in PLACES:
            found = [self.statuses(state, kind) for state in states]
            if any(found):
                cells = [", ".join(f"{n} x {s}" for s, n in sorted(each.items())) for each in found]
                rows.append([kind, *cells])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append(f"  {'   '.join(padded)}".rstrip())
        return "\n".join([*lines, *(f"  FAULT: {fault}" for fault in self.faults())])


@contextmanager
def running(
    server: str, command: list[str], port: int, log: Path, **variables: str
) -> Iterator[None]:
    """Run a server, wait until it answers, and end it in any case."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONWARNINGS": "default", **variables},
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_LIMIT
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{server} does not start:\n{log.read_text()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield
        if process.poll() is not None:
            raise RuntimeError(f"{server} ended by itself:\n{log.read_text()}")
    finally:
        # It has workers, which it ends; if it cannot, they are ended here.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = children.read_text().split() if children.is_file() else []
        process.terminate()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_LIMIT)
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(int(worker), signal.SIGKILL)


@contextmanager
def serving(server: str, application: Path, log: Path, **variables: str) -> Iterator[int]:
    """Run a server of one worker on a free port."""
    port = free_port()
    command = [sys.executable, str(HERE / "server.py"), server, str(port), str(application)]
    with running(server, command, port, log, **variables):
        yield port


def plan_of(
    phase: str, redis: RedisServer, seconds: float
) -> Callable[[Visitors], Coroutine[Any, Any, None]]:
    async def steady(visitors: Visitors) -> None:
        await asyncio.sleep(seconds)
        await visitors.all_kinds()

    async def outage(visitors: Visitors) -> None:
        """Redis is there for half of the time, away for a quarter, and there again."""
        await asyncio.sleep(seconds / 2)
        await visitors.all_kinds()
        with visitors.redis.changing(AWAY):
            # The harder way to go: what it has acknowledged must be on the disk.
            await asyncio.to_thread(redis.kill)
        await asyncio.sleep(seconds / 4)
        await visitors.all_kinds()
        with visitors.redis.changing(BACK):
            await asyncio.to_thread(redis.start)
        await asyncio.sleep(seconds / 4)
        await visitors.all_kinds()

    return {"steady": steady, "outage": outage}[phase]


def load(server: str, arguments: argparse.Namespace) -> Iterator[Phase]:
    """The phases, one after the other on one server process, which nobody restarts."""
    rng = random.Random(arguments.seed)
    secret = secrets.token_hex(32)
    revoked: deque[Revoked] = deque(maxlen=REMEMBERED)
    with RedisServer() as redis, tempfile.TemporaryDirectory(prefix="load-") as directory:
        log = Path(directory) / "log"
        variables = {"LOAD_SECRET": secret, "LOAD_REDIS": redis.url}
        with serving(server, arguments.application, log, **variables) as port:
            for name in arguments.phases:
                written = log.stat().st_size
                visitors = Visitors(Mint(secret, rng), rng, revoked)
                plan = plan_of(name, redis, arguments.seconds)
                took = asyncio.run(visitors.run(port, arguments.connections, plan))
                new = log.read_bytes()[written:].decode(errors="replace")
                yield Phase(server, name, took, arguments.connections, visitors.tally, new)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each phase, at least")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=SERVERS)
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES))
    parser.add_argument("--application", type=Path, default=HERE / "app.py", help="another one")
    parser.add_argument("--seed", type=int, help="for the choice of what is sent")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    arguments.application = arguments.application.resolve()
    if arguments.seed is None:
        arguments.seed = secrets.randbits(32)

    signal.signal(signal.SIGTERM, _end)
    packages = ("quart-jwt-extended", "quart", "hypercorn", "uvicorn", "redis")
    about = [f"{name} {version(name)}" for name in packages]
    print(", ".join([f"Python {sys.version.split()[0]}", *about, f"seed {arguments.seed}"]))
    phases: list[Phase] = []
    for server in arguments.servers:
        for phase in load(server, arguments):
            phases.append(phase)
            print(f"\n{phase.as_text()}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([phase.as_json() for phase in phases]))
    requests = sum(phase.requests for phase in phases)
    wrong = sum(phase.wrong for phase in phases)
    print(f"\n{requests} requests, {wrong} wrong")
    return 1 if any(phase.faults() for phase in phases) else 0


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    """Told to end, end the servers too."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
