"""Many connections that stay open, and a verdict on every answer that comes back."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from calls import LOCATIONS, NOWHERE, UNAVAILABLE, Answer, Call, Mint, Token

# How many of a hundred visits are of which kind; those in capitals are of several calls.
MIX = {
    "valid": 34,
    "refreshing": 5,
    "largest": 3,
    "expired": 12,
    "forged": 15,
    "COME_BACK": 12,
    "oversized": 6,
    "wrong_type": 3,
    "csrf": 4,
    "none": 1,
    "anonymous": 1,
    "LOG_OUT": 4,
}

# The kinds of calls, as they name themselves, and where the token is.
PLACES = {
    "valid": LOCATIONS,
    "refresh": LOCATIONS,
    "largest": LOCATIONS,
    "expired": LOCATIONS,
    "forged": LOCATIONS,
    "revoked": LOCATIONS,
    "just revoked": LOCATIONS,
    "revoked before": LOCATIONS,
    "oversized": LOCATIONS,
    "wrong type": LOCATIONS,
    "csrf": ("cookies",),
    "none": (NOWHERE,),
    "anonymous": (NOWHERE,),
    "logout": LOCATIONS,
}

# What Redis does while a call is under way.
UP, AWAY, BACK, CHANGING = "up", "away", "back", "changing"

# Kinds that are not waited for: "revoked before" is before Redis went away, and while it is away
# nobody logs out, but for those whose answer was under way.
NEVER = {UP: {"revoked before"}, AWAY: {"revoked", "just revoked"}, BACK: set[str]()}

# Revoked tokens to come back with; half of the time with one of the latest.
REMEMBERED = 4096
LATEST = 64
# Seconds to wait for kinds that had no turn, and for the last answers.
PATIENCE = 60
GRACE = 30
# Wrong answers that are told in full.
EXAMPLES = 3


class Redis:
    """What the client knows of Redis: whether it is there, or just going or coming."""

    def __init__(self) -> None:
        self.state = UP
        # Every change gets numbers of its own, so that two equal moments have none between them.
        self.moment = 0

    @contextmanager
    def changing(self, to: str) -> Iterator[None]:
        self.state = CHANGING
        self.moment += 1
        yield
        self.state = to
        self.moment += 1


class Revoked(NamedTuple):
    """A token whose logout was confirmed, and at which moment."""

    token: Token
    moment: int


class Tally:
    """What was sent and what came back."""

    def __init__(self) -> None:
        # By state of Redis, kind, location and status.
        self.counts: Counter[tuple[str, str, str, int]] = Counter()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.slowest = 0.0

    def note(self, call: Call, state: str, answer: Answer) -> None:
        self.counts[state, call.kind, call.location, answer.status] += 1
        if answer not in right_answers(call, state):
            self.note_wrong(call, state, str(answer))

    def note_wrong(self, call: Call, state: str, got: str) -> None:
        self.wrong[call.kind] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(
                f"{call.kind} in {call.location}, Redis {state}: {call.path}, "
                f"expected {call.expected}, got {got[:300]}"
            )

    def never_sent(self, state: str) -> list[tuple[str, str]]:
        """The kinds and locations that had no answer in this state of Redis."""
        seen = {key[1:3] for key in self.counts if key[0] == state}
        return [
            (kind, place)
            for kind, places in PLACES.items()
            for place in places
            if kind not in NEVER[state] and (kind, place) not in seen
        ]


def right_answers(call: Call, state: str) -> list[Answer]:
    """What may come back; a call that crosses a change of Redis may see it either way."""
    if not call.asks_redis or state in (UP, BACK):
        return [call.expected]
    return [UNAVAILABLE] if state == AWAY else [call.expected, UNAVAILABLE]


class Connection:
    """One HTTP/1.1 connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, request: bytes) -> Answer:
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        body = await self.reader.readexactly(int(length))
        status = int(head[9:12])
        if b"\r\ncontent-type: application/json\r\n" not in head:
            return Answer(status, body)
        return Answer(status, json.loads(body))

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Visitors:
    """All that one phase sends, over its connections."""

    def __init__(self, mint: Mint, rng: random.Random, revoked: deque[Revoked]) -> None:
        self.mint = mint
        self.rng = rng
        self.revoked = revoked
        self.redis = Redis()
        self.tally = Tally()
        self.over = False
        self._visits: list[asyncio.Task[None]] = []
        self._deck: list[tuple[str, str]] = []

    async def run(
        self, port: int, connections: int, plan: Callable[[Visitors], Coroutine[Any, Any, None]]
    ) -> float:
        """Keep the server busy until ``plan`` is done; return the seconds to the last answer.

        The plan says how long it lasts, and takes Redis away and gives it back.
        """
        opened = [
            Connection(*await asyncio.open_connection("127.0.0.1", port))
            for _ in range(connections)
        ]
        begin = time.monotonic()
        self._visits = [asyncio.create_task(self._visit(connection)) for connection in opened]
        try:
            await plan(self)
        finally:
            self.over = True
            done, late = await asyncio.wait(self._visits, timeout=GRACE)
            took = time.monotonic() - begin
            for visit in late:
                visit.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            await asyncio.gather(*(c.close() for c in opened), return_exceptions=True)
        for visit in done:
            visit.result()
        return took

    async def all_kinds(self) -> None:
        """Wait until every kind of call was answered in the present state of Redis.

        After a while, or when every connection is lost, there is nothing to wait for.
        """
        deadline = time.monotonic() + PATIENCE
        while self.tally.never_sent(self.redis.state):
            if time.monotonic() > deadline or all(visit.done() for visit in self._visits):
                return
            await asyncio.sleep(0.05)

    def _deal(self) -> tuple[str, str]:
        """The next visit and its location, in the proportions of MIX and in a random order."""
        if not self._deck:
            names = [name for name, share in MIX.items() for _ in range(share)]
            self._deck = [(name, location) for name in names for location in LOCATIONS]
            self.rng.shuffle(self._deck)
        return self._deck.pop()

    async def _visit(self, connection: Connection) -> None:
        """One visit after the other, until the end or until the connection is lost."""
        while not self.over:
            name, location = self._deal()
            if name == "LOG_OUT" or (name == "COME_BACK" and not self.revoked):
                lost = await self._log_out(connection, location)
            elif name == "COME_BACK":
                lost = await self._come_back(connection, location)
            else:
                call = getattr(self.mint, name)(location)
                lost = await self._send(connection, call) is None
            if lost:
                return

    async def _log_out(self, connection: Connection, location: str) -> bool:
        """Be let in, log out, and be refused in every location from then on."""
        mint = self.mint
        kind = self.rng.choice(["access", "access", "refresh"])
        token = mint.token(type=kind)
        opening = mint.refreshing if kind == "refresh" else mint.valid
        if await self._send(connection, opening(self.rng.choice(LOCATIONS), token)) is None:
            return True
        answer = await self._send(connection, mint.logout(location, token))
        if answer is None:
            return True
        if answer.status != 200:
            # Nobody knows whether Redis has it, so there is no right answer for this token.
            return False
        moment = self.redis.moment
        for place in self.rng.sample(LOCATIONS, len(LOCATIONS)):
            call = mint.revoked("just revoked", place, token)
            if await self._send(connection, call) is None:
                return True
        self.revoked.append(Revoked(token, moment))
        return False

    async def _come_back(self, connection: Connection, location: str) -> bool:
        """Try a token whose owner has logged out some time ago."""
        oldest = max(0, len(self.revoked) - LATEST) if self.rng.random() < 0.5 else 0
        token, moment = self.revoked[self.rng.randrange(oldest, len(self.revoked))]
        kind = "revoked" if moment == self.redis.moment else "revoked before"
        return await self._send(connection, self.mint.revoked(kind, location, token)) is None

    async def _send(self, connection: Connection, call: Call) -> Answer | None:
        """Send, judge and count; None if the connection is lost."""
        state, moment, begin = self.redis.state, self.redis.moment, time.monotonic()
        answer = None
        got = "no answer in time"
        try:
            answer = await connection.send(call.message)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            got = repr(error)
        finally:
            # Also when it is cancelled: then it has waited for too long.
            if self.redis.moment != moment:
                state = CHANGING
            if answer is None:
                self.tally.note_wrong(call, state, got)
            else:
                self.tally.note(call, state, answer)
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - begin)
        return answer
