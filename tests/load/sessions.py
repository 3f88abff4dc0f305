"""Load two workers with sessions while their store goes and comes: ``make load``.

    sessions.py [--seconds 60] [--sessions 10000] [--stores redis postgresql] [--json FILE]

README.md beside this file describes what is sent and what is right. Status 1: an answer was wrong,
a revocation was seen too late, a kind of call was never made, or a server logged a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

from run import HERE, _end, running

from support.services import PostgresServer, RedisServer, Service, free_port

STORES: dict[str, type[Service]] = {"redis": RedisServer, "postgresql": PostgresServer}
WORKERS = 2
# How a store goes: in good order, or as in a crash.
OUTAGES = ["stop", "kill"]

# How many of a hundred turns are of which kind.
MIX = {
    "use": 46,
    "rotate": 16,
    "lose": 6,
    "two_tabs": 5,
    "log_out": 5,
    "log_out_everywhere": 2,
    "revoke_access_token": 4,
    "steal": 2,
    "come_back": 14,
}

ENDED, REVOKED, REUSED = (
    "Session has ended",
    "Token has been revoked",
    "Refresh token has been reused",
)
UNAVAILABLE = {"msg": "Token store unavailable"}

# Seconds. A store that goes may answer what it has begun, one that came may find connections in the
# pools of its clients that are broken.
SETTLING = 2.0
# For how long a client that does not know whether its request arrived starts no other rotation: the
# request may come late.
CAREFUL = 3.0
# Between two looks at whether a revocation is seen.
LOOK = 0.02
PATIENCE = 60
WATCHERS = 24
REMEMBERED = 4096
EXAMPLES = 5
# The answers that are timed come from few connections, so that they do not wait for each other.
TIMED_CONNECTIONS = 8
TIMED_SESSIONS = 200
TIMED_ROUNDS = 10


# --- What a client knows --------------------------------------------------------------------------


@dataclass(eq=False)
class Token:
    text: str
    device: Device
    # When the answer to its own revocation came, as all moments by time.monotonic().
    revoked_at: float | None = None
    # A revocation was sent, and nobody knows whether it arrived.
    is_unsure: bool = False

    @property
    def claims(self) -> dict[str, Any]:
        payload = self.text.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
        return claims

    @property
    def ended_at(self) -> float | None:
        known = [at for at in (self.revoked_at, self.device.ended_at) if at is not None]
        return min(known, default=None)

    @property
    def may_have_ended(self) -> bool:
        return self.is_unsure or self.device.is_unsure


@dataclass(eq=False)
class Device:
    """One session."""

    user: str
    session_id: str = ""
    access: Token | None = None
    refresh: Token | None = None
    # Refresh tokens that were rotated, the latest last.
    used: deque[Token] = field(default_factory=lambda: deque(maxlen=3))
    ended_at: float | None = None
    is_unsure: bool = False
    # What must be asked again.
    pending: str | None = None
    careful_until: float = 0.0


@dataclass(eq=False)
class User:
    name: str
    devices: list[Device]


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]
    worker: str
    sent: float
    got: float


class Lost(Exception):
    """The connection ended before the answer."""


# --- Connections ----------------------------------------------------------------------------------


class Link:
    """A connection that stays open, and so leads to one worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.worker = ""

    async def ask(self, path: str, token: str | None = None) -> Answer:
        sent = time.monotonic()
        try:
            self._send(path, token)
            status, headers, body = await asyncio.wait_for(self._receive(), PATIENCE)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            raise Lost(repr(error)) from None
        got = time.monotonic()
        if headers.get("content-type") == "application/json":
            body = json.loads(body)
        return Answer(status, body, headers, headers.get("worker", ""), sent, got)

    async def _receive(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.rstrip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(start.split()[1]), headers, body

    async def send_and_leave(self, path: str, token: str, delay: float) -> None:
        self._send(path, token)
        await asyncio.sleep(delay)
        self.close()

    def _send(self, path: str, token: str | None) -> None:
        method = "GET" if path in ("/me", "/worker") else "POST"
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: load"]
        if token is not None:
            head.append(f"Authorization: Bearer {token}")
        if method == "POST":
            head.append("Content-Length: 0")
        self.writer.write("\r\n".join([*head, "", ""]).encode())

    def close(self) -> None:
        self.writer.transport.abort()


class Links:
    """Connections to each of the workers, which take what comes to one port as it comes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.free: dict[str, list[Link]] = defaultdict(list)

    @property
    def workers(self) -> list[str]:
        return sorted(self.free)

    async def find_workers(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(self.free) < WORKERS:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {len(self.free)} workers answer")
            await self._open()
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def to(self, worker: str) -> AsyncIterator[Link]:
        deadline = time.monotonic() + PATIENCE
        while not self.free[worker]:
            if time.monotonic() > deadline:
                raise Lost(f"no connection reaches worker {worker}")
            await self._open()
        link = self.free[worker].pop()
        try:
            yield link
        except BaseException:
            link.close()
            raise
        if not link.writer.is_closing():
            self.free[worker].append(link)

    async def _open(self) -> None:
        link = Link(*await asyncio.open_connection("127.0.0.1", self.port))
        worker = (await link.ask("/worker")).worker
        self.free[worker].append(link)

    def close(self) -> None:
        for links in self.free.values():
            for link in links:
                link.close()


# --- The store ------------------------------------------------------------------------------------


@dataclass
class Outage:
    """When a store went and came."""

    going: float
    gone: float = float("inf")
    coming: float = float("inf")
    back: float = float("inf")


class Outages(list[Outage]):
    @contextmanager
    def going(self) -> Iterator[None]:
        self.append(Outage(time.monotonic()))
        yield
        self[-1].gone = time.monotonic() + SETTLING / 4

    @contextmanager
    def coming(self) -> Iterator[None]:
        self[-1].coming = time.monotonic()
        yield
        self[-1].back = time.monotonic()

    @property
    def is_away(self) -> bool:
        return bool(self) and self[-1].back == float("inf")

    def lateness(self, answer: Answer) -> float:
        """How long after an outage a request was sent; 0 if it was under way in one."""
        begun = [each for each in self if answer.got >= each.going]
        return min((max(answer.sent - each.back, 0.0) for each in begun), default=float("inf"))

    def away_for(self, answer: Answer) -> float:
        """How long the store had been away for certain when a request was sent; 0 if it was not."""
        for outage in self:
            if answer.sent >= outage.gone and answer.got <= outage.coming:
                return answer.sent - outage.gone
        return 0.0


# --- What is sent, and the verdict ----------------------------------------------------------------


class Visitors:
    """All clients of one server."""

    def __init__(self, links: Links, staleness: float, rng: random.Random) -> None:
        self.links = links
        self.staleness = staleness
        self.rng = rng
        self.outages = Outages()
        # By kind of call, whether the store was away, and status.
        self.counts: Counter[tuple[str, bool, int]] = Counter()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.delays: dict[str, list[float]] = {worker: [] for worker in links.workers}
        self.late_503 = 0.0
        self.over = False
        self.users: list[User] = []
        self.waiting: deque[User] = deque()
        self.unsettled: deque[User] = deque()
        self.gone: deque[tuple[Token, Token]] = deque(maxlen=REMEMBERED)
        self.watchers: set[asyncio.Task[None]] = set()
        self._deck: list[str] = []

    @property
    def limit(self) -> float:
        """How long after its revocation a token may still be let in (seconds)."""
        return self.staleness + 1 if self.staleness else 0.0

    # The verdict

    async def call(self, kind: str, path: str, token: Token, worker: str | None = None) -> Answer:
        """Ask with a token, count the answer and judge it."""
        worker = worker or self.rng.choice(self.links.workers)
        try:
            async with self.links.to(worker) as link:
                answer = await link.ask(path, token.text)
        except Lost as error:
            self._note_wrong(kind, path, f"no answer: {error}")
            raise
        self.counts[kind, self.outages.is_away, answer.status] += 1
        why = self._fault(path, token, answer)
        if why is not None:
            self._note_wrong(kind, path, f"{why}: {answer}")
        return answer

    def _note_wrong(self, kind: str, path: str, what: str) -> None:
        self.wrong[kind] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{kind}, {path}: {what[:500]}")

    def _fault(self, path: str, token: Token, answer: Answer) -> str | None:
        """What is wrong with an answer, None if nothing is."""
        if answer.worker not in self.delays:
            return "from an unknown worker"
        if answer.status == 503:
            return self._fault_of_503(answer)
        ended_at = token.ended_at
        if answer.status == 401:
            if ended_at is None and not token.may_have_ended:
                return "a good token is refused"
            if answer.body not in ({"msg": text} for text in (ENDED, REVOKED)):
                return "another refusal is due"
            return None
        if answer.status != 200:
            return "neither in nor out"
        if ended_at is not None:
            limit = self.limit if path == "/me" else 0.0
            if answer.sent > ended_at + limit:
                return f"let in {answer.sent - ended_at:.3f} s after the revocation"
        away_for = self.outages.away_for(answer)
        if away_for and (path != "/me" or away_for > self.staleness):
            return f"answered {away_for:.3f} s after the store went away"
        if path == "/me":
            right = {"identity": token.device.user, "session_id": token.device.session_id}
            return None if answer.body == right else "about another session"
        return None

    def _fault_of_503(self, answer: Answer) -> str | None:
        lateness = self.outages.lateness(answer)
        if lateness > SETTLING:
            return "the store is there"
        self.late_503 = max(self.late_503, lateness)
        if answer.body != UNAVAILABLE or "retry-after" not in answer.headers:
            return "another 503"
        return None

    # The visits

    async def log_in_all(self, sessions: int, connections: int) -> None:
        users = [User(f"user {n} of {self.rng.random()}", []) for n in range(-(-sessions // 2))]
        left = iter(users)

        async def log_in_some() -> None:
            for user in left:
                user.devices = [await self._log_in(user.name) for _ in range(2)]

        await asyncio.gather(*(log_in_some() for _ in range(connections)))
        self.users = users
        self.rng.shuffle(users)
        self.waiting = deque(users)

    async def _log_in(self, name: str) -> Device:
        """A new session; while the store is away, when it is back."""
        device = Device(name)
        while True:
            async with self.links.to(self.rng.choice(self.links.workers)) as link:
                answer = await link.ask(f"/login/{name.replace(' ', '%20')}")
            self.counts["log in", self.outages.is_away, answer.status] += 1
            if answer.status == 200:
                self._take(device, answer, 0)
                return device
            why = self._fault_of_503(answer) if answer.status == 503 else "cannot log in"
            if why is not None:
                self._note_wrong("log in", "/login", f"{why}: {answer}")
            if self.over and not self.outages.is_away:
                raise RuntimeError(f"cannot log in: {answer}")
            await asyncio.sleep(0.1)

    def _take(self, device: Device, answer: Answer, generation: int) -> None:
        """The pair in an answer becomes that of the device, if it is the right one."""
        tokens = answer.body
        access, refresh = Token(tokens["access_token"], device), None
        found = access.claims.get("sid"), access.claims["identity"]
        if tokens["refresh_token"]:
            refresh = Token(tokens["refresh_token"], device)
            found += refresh.claims["sid"], refresh.claims["gen"]
        device.session_id = device.session_id or tokens["session_id"]
        right = (device.session_id or None, device.user, device.session_id, generation)
        if found != right[: len(found)]:
            self._note_wrong("rotate", "tokens", f"expected {right}, got {found}")
        if device.refresh is not None and device.refresh.claims["gen"] < generation:
            device.used.append(device.refresh)
        device.access, device.refresh, device.pending = access, refresh, None

    async def run(self, connections: int, plan: Callable[[Outages], Awaitable[None]]) -> float:
        """Keep the server busy until the plan is done; return the seconds to the last answer."""
        begin = time.monotonic()
        visits = [asyncio.create_task(self._visit()) for _ in range(connections)]
        try:
            await plan(self.outages)
        finally:
            self.over = True
            await asyncio.gather(*visits)
            await asyncio.gather(*self.watchers)
        return time.monotonic() - begin

    async def sweep(self, connections: int) -> None:
        """Every session must still be there, and every one that ended must not."""
        await asyncio.sleep(self.limit)
        left = iter(self.users)
        ended = iter(list(self.gone))

        async def some() -> None:
            for user in left:
                for device in user.devices:
                    await self._settle(device)
                    if device.ended_at is None:
                        await self._rotate("at the end", device)
            for access, refresh in ended:
                await self.call("ended before", "/me", access)
                if refresh.ended_at is not None:
                    await self.call("ended before", "/refresh", refresh)

        await asyncio.gather(*(some() for _ in range(connections)))

    async def _visit(self) -> None:
        while not self.over:
            # Who waits for an answer asks again once the store is back, and sometimes before.
            ask_again = not self.outages.is_away or self.rng.random() < 0.1
            queues = [self.waiting, self.unsettled][:: -1 if ask_again else 1]
            user = next((queue.popleft() for queue in queues if queue), None)
            if user is None:
                await asyncio.sleep(LOOK)
                continue
            try:
                for device in user.devices:
                    await self._settle(device)
                await self._log_in_again(user)
                if all(device.pending is None for device in user.devices):
                    await getattr(self, self._deal())(user)
            except Lost:
                # It counts as wrong already.
                await asyncio.sleep(0.1)
            finally:
                unsettled = any(device.pending for device in user.devices)
                (self.unsettled if unsettled else self.waiting).append(user)

    def _deal(self) -> str:
        """The next kind of turn, in the proportions of MIX and in a random order."""
        if not self._deck:
            self._deck = [name for name, share in MIX.items() for _ in range(share)]
            self.rng.shuffle(self._deck)
        return self._deck.pop()

    async def _settle(self, device: Device) -> None:
        """Ask again what was left without an answer."""
        if device.pending == "/refresh":
            await self._rotate("retry", device)
        elif device.pending == "/logout/token":
            await self._revoke_access(device)
        elif device.pending is not None:
            await self._end(device, device.pending)

    async def use(self, user: User) -> None:
        await self.call("use", "/me", self.rng.choice(user.devices).access)

    async def rotate(self, user: User) -> None:
        await self._rotate("rotate", self.rng.choice(user.devices))

    async def _rotate(self, kind: str, device: Device) -> None:
        if time.monotonic() < device.careful_until and kind == "rotate":
            return
        generation = device.refresh.claims["gen"] + 1
        answer = await self.call(kind, "/refresh", device.refresh)
        if answer.status == 200:
            self._take(device, answer, generation)
        elif answer.status == 503:
            device.pending = "/refresh"

    async def lose(self, user: User) -> None:
        """Rotate, be gone before the answer comes, and ask again, as a browser on a train."""
        device = self.rng.choice(user.devices)
        if time.monotonic() < device.careful_until:
            return
        device.careful_until = time.monotonic() + CAREFUL
        async with self.links.to(self.rng.choice(self.links.workers)) as link:
            await link.send_and_leave("/refresh", device.refresh.text, self.rng.random() * 0.03)
        await self._rotate("retry", device)

    async def two_tabs(self, user: User) -> None:
        """Both rotate with the same token at once, each by another worker."""
        device = self.rng.choice(user.devices)
        if time.monotonic() < device.careful_until:
            return
        device.careful_until = time.monotonic() + CAREFUL
        token, generation = device.refresh, device.refresh.claims["gen"] + 1
        answers = await asyncio.gather(
            *(self.call("two tabs", "/refresh", token, w) for w in self.links.workers)
        )
        for answer in answers:
            if answer.status == 200:
                self._take(device, answer, generation)
        if device.refresh is token:
            device.pending = "/refresh"

    async def log_out(self, user: User) -> None:
        await self._end(self.rng.choice(user.devices), "/logout")
        await self._log_in_again(user)

    async def log_out_everywhere(self, user: User) -> None:
        device = self.rng.choice(user.devices)
        answer = await self.call("log out everywhere", "/logout/everywhere", device.access)
        for each in user.devices:
            if answer.status == 200:
                self._ended(each, answer)
            else:
                # Which of them it has ended is asked one by one.
                each.is_unsure, each.pending = True, "/logout"
        await self._log_in_again(user)

    async def _end(self, device: Device, path: str) -> None:
        answer = await self.call("log out", path, device.access)
        if answer.status in (200, 401):
            self._ended(device, answer)
        else:
            device.is_unsure, device.pending = True, path

    def _ended(self, device: Device, answer: Answer) -> None:
        if device.ended_at is None:
            device.ended_at = answer.got
            device.pending = None
            self._remember(device.access, device.refresh)

    async def _log_in_again(self, user: User) -> None:
        for index, device in enumerate(user.devices):
            if device.ended_at is not None:
                user.devices[index] = await self._log_in(user.name)

    async def revoke_access_token(self, user: User) -> None:
        """The session goes on with the next access token."""
        device = self.rng.choice(user.devices)
        if time.monotonic() >= device.careful_until:
            await self._revoke_access(device)

    async def _revoke_access(self, device: Device) -> None:
        answer = await self.call("revoke token", "/logout/token", device.access)
        if answer.status in (200, 401):
            device.access.revoked_at = answer.got
            self._remember(device.access, device.refresh)
            device.pending = "/refresh"
            await self._rotate("after revocation", device)
        else:
            device.access.is_unsure, device.pending = True, "/logout/token"

    async def steal(self, user: User) -> None:
        """Somebody uses a refresh token that is older than the last: the session ends."""
        device = self.rng.choice(user.devices)
        if time.monotonic() < device.careful_until:
            return
        while (used := len(device.used)) < 2:
            await self._rotate("rotate", device)
            if len(device.used) == used:
                # The store is down, or the answer counts as wrong already.
                return
        worker = self.rng.choice(self.links.workers)
        async with self.links.to(worker) as link:
            answer = await link.ask("/refresh", device.used[-2].text)
        self.counts["steal", self.outages.is_away, answer.status] += 1
        if answer.status == 401 and answer.body == {"msg": REUSED}:
            self._ended(device, answer)
        elif answer.status == 503:
            why = self._fault_of_503(answer)
            if why is not None:
                self._note_wrong("steal", "/refresh", f"{why}: {answer}")
            device.is_unsure, device.pending = True, "/logout"
        else:
            self._note_wrong("steal", "/refresh", f"a token is used twice: {answer}")
        await self._log_in_again(user)

    async def come_back(self, user: User) -> None:
        """Try what was revoked some time ago."""
        if not self.gone:
            await self.use(user)
            return
        access, refresh = self.rng.choice(self.gone)
        if refresh.ended_at is not None and self.rng.random() < 0.3:
            await self.call("ended before", "/refresh", refresh)
        else:
            await self.call("ended before", "/me", access)

    def _remember(self, access: Token, refresh: Token) -> None:
        self.gone.append((access, refresh))
        if len(self.watchers) < WATCHERS:
            for worker in self.links.workers:
                task = asyncio.create_task(self._watch(access, worker))
                self.watchers.add(task)
                task.add_done_callback(self.watchers.discard)

    async def _watch(self, token: Token, worker: str) -> None:
        """How long after its revocation a worker still lets a token in."""
        latest = 0.0
        while True:
            try:
                answer = await self.call("just ended", "/me", token, worker)
            except Lost:
                return
            if answer.status == 401:
                break
            if answer.status == 200:
                latest = answer.sent - token.ended_at
                if latest > self.limit:
                    break
            await asyncio.sleep(LOOK if answer.status == 200 else 20 * LOOK)
        self.delays[worker].append(latest)


# --- Reports --------------------------------------------------------------------------------------


@dataclass
class Run:
    """What came of one store and staleness."""

    store: str
    staleness: float
    seconds: float
    sessions: int
    visitors: Visitors
    log: str

    @property
    def requests(self) -> int:
        return sum(self.visitors.counts.values())

    @property
    def wrong(self) -> int:
        return sum(self.visitors.wrong.values())

    def faults(self) -> list[str]:
        found = [f"{number} wrong: {kind}" for kind, number in self.visitors.wrong.items()]
        found += self.visitors.examples
        for worker, delays in self.visitors.delays.items():
            if not delays:
                found.append(f"no revocation was watched on worker {worker}")
            elif max(delays) > self.visitors.limit:
                found.append(f"worker {worker} saw a revocation after {max(delays):.3f} s")
        seen = {kind for kind, _, _ in self.visitors.counts}
        found += [f"never sent: {kind}" for kind in sorted(KINDS - seen)]
        away = {status for _, is_away, status in self.visitors.counts if is_away}
        if self.visitors.outages and 503 not in away:
            found.append("nobody noticed that the store was away")
        if self.log:
            found.append(f"the server wrote: {self.log[:3000]}")
        return found

    def as_json(self) -> dict[str, Any]:
        visitors = self.visitors
        return {
            "store": self.store,
            "staleness": self.staleness,
            "seconds": round(self.seconds, 2),
            "sessions": self.sessions,
            "requests": self.requests,
            "wrong": dict(visitors.wrong),
            # Kind, whether the store was away, status, number.
            "counts": [[*key, number] for key, number in sorted(visitors.counts.items())],
            # Of each worker: how many revocations were watched, the largest delay.
            "delays": {w: [len(d), max(d, default=None)] for w, d in visitors.delays.items()},
            "limit": visitors.limit,
            "last_503_after": round(visitors.late_503, 3),
            "faults": self.faults(),
        }

    def as_text(self) -> str:
        visitors = self.visitors
        delays = ", ".join(
            f"{max(d, default=float('nan')):.3f} s on worker {w} ({len(d)} watched)"
            for w, d in visitors.delays.items()
        )
        lines = [
            f"{self.store}, staleness {self.staleness:g}: {self.requests} requests, "
            f"{self.sessions} sessions, {self.seconds:.1f} s; wrong: {self.wrong}",
            f"  a revoked token was let in for, of at most {visitors.limit:g} s: {delays}",
            f"  the last 503 came {visitors.late_503:.2f} s after the store was back",
        ]
        rows: dict[str, dict[bool, list[str]]] = {}
        for (kind, is_away, status), number in sorted(visitors.counts.items()):
            cells = rows.setdefault(kind, {False: [], True: []})
            cells[is_away].append(f"{number} x {status}")
        lines.append(f"  {'':20} {'store there':34} store away")
        for kind, cells in rows.items():
            lines.append(
                f"  {kind:20} {', '.join(cells[False]):34} {', '.join(cells[True])}".rstrip()
            )
        return "\n".join([*lines, *(f"  FAULT: {fault}" for fault in self.faults())])


KINDS = {
    "log in", "use", "rotate", "retry", "two tabs", "log out", "log out everywhere", "revoke token",
    "after revocation", "steal", "ended before", "just ended", "at the end",
}  # fmt: skip


# --- Servers --------------------------------------------------------------------------------------


@contextmanager
def serving(
    store: str, url: str, staleness: float, grace: float, application: Path, log: Path
) -> Iterator[int]:
    """Two workers of Hypercorn on one port."""
    port = free_port()
    command = [sys.executable, str(HERE / "server.py"), "hypercorn", str(port), str(application)]
    variables = {
        "SESSIONS_STORE": store,
        "SESSIONS_URL": url,
        "SESSIONS_STALENESS": str(staleness),
        "SESSIONS_GRACE": str(grace),
        "SESSIONS_SECRET": secrets.token_hex(32),
    }
    with running("hypercorn", [*command, str(WORKERS)], port, log, **variables):
        yield port


def prepare(service: Service) -> None:
    """Make the tables where there are tables."""
    if isinstance(service, PostgresServer):
        from sqlalchemy.ext.asyncio import create_async_engine

        from quart_jwt_extended import SQLTokenStore

        async def create() -> None:
            engine = create_async_engine(service.url.replace("://", "+asyncpg://"))
            await SQLTokenStore(engine).create_tables()
            await engine.dispose()

        asyncio.run(create())


def load(store: str, staleness: float, arguments: argparse.Namespace, rng: random.Random) -> Run:
    """One run: the store is stopped and started, then killed and started."""
    away = arguments.seconds / 8

    async def outage(outages: Outages, end: Callable[[], None], service: Service) -> None:
        with outages.going():
            await asyncio.to_thread(end)
        await asyncio.sleep(max(away, SETTLING / 4 + staleness + 0.5))
        with outages.coming():
            await asyncio.to_thread(service.start)
        await asyncio.sleep(max(away, SETTLING + 0.5))

    async def visit(port: int, service: Service) -> tuple[Visitors, float]:
        async def plan(outages: Outages) -> None:
            await asyncio.sleep(arguments.seconds / 2)
            for way in arguments.outages:
                await outage(outages, getattr(service, way), service)

        links = Links(port)
        await links.find_workers()
        visitors = Visitors(links, staleness, rng)
        begin = time.monotonic()
        await visitors.log_in_all(arguments.sessions, arguments.connections)
        await visitors.run(arguments.connections, plan)
        await visitors.sweep(arguments.connections)
        links.close()
        return visitors, time.monotonic() - begin

    with STORES[store]() as service, tempfile.TemporaryDirectory(prefix="load-") as directory:
        prepare(service)
        log = Path(directory) / "log"
        grace = min(300, 120 + arguments.seconds)
        with serving(store, service.url, staleness, grace, arguments.application, log) as port:
            visitors, took = asyncio.run(visit(port, service))
        return Run(store, staleness, took, arguments.sessions, visitors, log.read_text())


# --- The time of an answer ------------------------------------------------------------------------


def measure(arguments: argparse.Namespace, rng: random.Random) -> dict[str, dict[str, float]]:
    """Milliseconds of a protected request by store and staleness, measured in turns."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
        services = {name: stack.enter_context(STORES[name]()) for name in arguments.stores}
        if "redis" not in services:
            services["redis"] = stack.enter_context(RedisServer())
        modes = [("callback", services["redis"].url, 0.0)]
        for name in arguments.stores:
            prepare(services[name])
            modes += [(name, services[name].url, each) for each in arguments.staleness]
        ports = {}
        for name, url, staleness in modes:
            log = directory / f"{name}-{staleness}"
            about = (
                "own callback, Redis" if name == "callback" else f"{name}, staleness {staleness:g}"
            )
            server = serving(name, url, staleness, 10, arguments.application, log)
            ports[about] = stack.enter_context(server)
        seconds = arguments.seconds / 4 / TIMED_ROUNDS
        found = asyncio.run(_measure(ports, seconds, rng))
    return {about: _percentiles(times) for about, times in found.items()}


async def _measure(
    ports: dict[str, int], seconds: float, rng: random.Random
) -> dict[str, list[float]]:
    visitors, times = {}, {}
    for about, port in ports.items():
        links = Links(port)
        await links.find_workers()
        visitors[about] = Visitors(links, 0, rng)
        await visitors[about].log_in_all(TIMED_SESSIONS, TIMED_CONNECTIONS)
        times[about] = []

    async def use(about: str, end: float) -> None:
        while time.monotonic() < end:
            each = visitors[about]
            async with each.links.to(rng.choice(each.links.workers)) as link:
                token = rng.choice(rng.choice(each.users).devices).access
                answer = await link.ask("/me", token.text)
            if answer.status != 200:
                raise RuntimeError(f"{about}: {answer}")
            times[about].append((answer.got - answer.sent) * 1000)

    for _ in range(TIMED_ROUNDS):
        for about in rng.sample(list(ports), len(ports)):
            end = time.monotonic() + seconds
            await asyncio.gather(*(use(about, end) for _ in range(TIMED_CONNECTIONS)))
    for each in visitors.values():
        each.links.close()
    return times


def _percentiles(times: list[float]) -> dict[str, float]:
    cuts = quantiles(times, n=100)
    return {"requests": len(times), "p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each run, at least")
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--staleness", type=float, nargs="+", default=[0, 2], help="seconds")
    parser.add_argument("--outages", nargs="*", choices=OUTAGES, default=OUTAGES)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--untimed", action="store_true", help="no percentiles")
    parser.add_argument("--application", type=Path, default=HERE / "sessions_app.py")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    arguments.application = arguments.application.resolve()

    signal.signal(signal.SIGTERM, _end)
    print(f"Python {sys.version.split()[0]}, {WORKERS} workers of Hypercorn, seed {arguments.seed}")
    rng = random.Random(arguments.seed)
    runs = []
    for store in arguments.stores:
        for staleness in arguments.staleness:
            runs.append(load(store, staleness, arguments, rng))
            print(f"\n{runs[-1].as_text()}", flush=True)
    times = {} if arguments.untimed else measure(arguments, rng)
    if times:
        print(f"\n{'A protected request, in turns':34} {'requests':>9} {'p50 ms':>8} {'p99 ms':>8}")
    for about, row in times.items():
        print(f"{about:34} {row['requests']:9} {row['p50_ms']:8} {row['p99_ms']:8}")
    if arguments.json is not None:
        figures = {"runs": [run.as_json() for run in runs], "times": times}
        arguments.json.write_text(json.dumps(figures))
    print(f"\n{sum(r.requests for r in runs)} requests, {sum(r.wrong for r in runs)} wrong")
    return 1 if any(run.faults() for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
