"""Load two workers that trust an issuer, which rotates its keys, dies and comes: ``make load``.

    issuers.py [--seconds 60] [--outages refused hung] [--json FILE]

README.md beside this file describes what is sent and what is right. Status 1: an answer was wrong,
a new key was learned too late, a kind of token was never sent, or a server logged a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

import jwt
from calls import LIFETIME, Mint, segment
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from run import HERE, _end, running
from sessions import WORKERS, Answer, Links, Lost, Outages

from support import hs_token
from support.openid_provider import KEYS, Provider, algorithm_of
from support.services import free_port

# What the module promises, in seconds: the time between two fetches, and what one may take.
PAUSE = 30
FETCH = 5
# How long keys are fresh, which the issuer says: so they are renewed in the background, too.
MAX_AGE = 60
# A run is so many steps, and one step the pause; the clock of the workers is hastened to that.
STEPS = 14

# What an issuer does that is down: refuse connections, or take them and never answer. How many
# seconds a fetch takes to fail then.
OUTAGES = {"refused": 0, "hung": FETCH}
# Nothing is told by an outage that is shorter (seconds).
HUNG_AT_LEAST = 3.0
# Seconds that a busy machine may add.
SLACK = 3.0
# An answer about a known key may take so much longer than one that needs no token: it waits for no
# network.
WAITING = 1.5
AT_ONCE = ["known", "own", "forged", "expired"]

# Connections to each worker by kind of token.
MIX = {
    "known": 4,
    "own": 3,
    "open": 2,
    "forged": 1,
    "expired": 1,
    "unknown": 1,
    "new": 1,
    "withdrawn": 1,
}
PERIODS = ["calm", "outage", "settling"]
TOKENS = 50
EXAMPLES = 5
# A run ends early then.
WRONG_ANSWERS = 20
ANSWERS = 1_000_000
IDLE = 0.02

EXPIRED = "Token has expired"
AUDIENCE = "load"
UNKNOWN = {"msg": "The key ID is not one of the keys of the issuer"}
UNAVAILABLE = {"msg": "Token issuer unavailable"}


# --- The issuer, and the tokens -------------------------------------------------------------------


@dataclass(eq=False)
class Key:
    """A key of the issuer, as all moments by time.monotonic()."""

    kid: str
    private: Any
    published: float = float("inf")
    withdrawn: float = float("inf")
    # By worker: when it was known there, and when it was first refused once it was withdrawn.
    known: dict[str, float] = field(default_factory=dict)
    refused: dict[str, float] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)


class Token(NamedTuple):
    # None: a view is requested that needs no token.
    text: str | None
    # The one right answer, or what it is where the key is known.
    status: int
    body: Any
    # None: the answer depends on no key of the issuer.
    key: Key | None = None


class Issuer(Provider):
    """A provider that publishes what it is told to, and when."""

    def __init__(self) -> None:
        super().__init__()
        # Connections to a port that the system gives to clients might reach themselves.
        self._port = free_port()
        self.all_keys: list[Key] = []
        self.lasting = [self._noted(self.signing_kid), self._noted(self.rotate("RSA"))]
        self.publish_keys()

    def publish_keys(self) -> None:
        """Let the next fetch see the keys of now."""
        body = json.dumps(self.key_set()).encode()
        self.answers[KEYS] = (200, {"Cache-Control": f"max-age={MAX_AGE}"}, body)
        now = time.monotonic()
        for key in self.all_keys:
            if key.kid in self.keys:
                key.published = min(key.published, now)
            else:
                key.withdrawn = min(key.withdrawn, now)

    def replace_key(self) -> None:
        """Sign with a new key, and withdraw the one before unless that is to last."""
        before = self.newest
        self._noted(self.rotate())
        if before not in self.lasting:
            del self.keys[before.kid]

    @property
    def newest(self) -> Key:
        return self.all_keys[-1]

    @property
    def withdrawn(self) -> list[Key]:
        return [key for key in self.all_keys if key.kid not in self.keys]

    def _noted(self, kid: str) -> Key:
        key = Key(kid, self.keys[kid])
        for number in range(TOKENS):
            identity = f"user {number} of {kid}"
            body = {"identity": identity, "issuer": self.issuer}
            text = self.token_of(key, sub=identity)
            key.tokens.append(Token(text, 200, body, key))
        self.all_keys.append(key)
        return key

    def token_of(self, key: Key, **changes: Any) -> str:
        changes = {"exp": int(time.time()) + LIFETIME, **changes}
        return self.token(AUDIENCE, kid=key.kid, key=key.private, **changes)

    def stranger(self) -> Token:
        """A token of a key that was never published."""
        kid = f"stranger {secrets.token_hex(8)}"
        key = Key(kid, ec.generate_private_key(ec.SECP256R1()))
        return Token(self.token_of(key), 200, None, key)

    def expired(self, key: Key) -> Token:
        return Token(self.token_of(key, exp=int(time.time()) - 60), 401, {"msg": EXPIRED})

    def forgeries(self, key: Key, secret: str) -> Iterator[Token]:
        """Tokens in the name of the issuer and of a known key, none of which it has made."""
        claims = jwt.decode(key.tokens[0].text, options={"verify_signature": False})
        claims["sub"] = "admin"
        payload = segment(json.dumps(claims).encode())
        header, _, signature = key.tokens[0].text.split(".")
        public = key.private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        another = Provider()
        if algorithm_of(key.private) == "RS256":
            another.rotate("RSA")
        named = {"kid": key.kid}
        texts = [
            self.token(AUDIENCE, kid=key.kid, key=another.keys[another.signing_kid]),
            f"{header}.{payload}.{signature}",
            f"{header}.{payload}.",
            self.token_of(key, aud="another service"),
            self.token_of(key, exp=...),
            self.token_of(key, iss="https://another.example"),
            self.token(AUDIENCE, kid=key.kid, key=key.private, header={}),
            jwt.encode(claims, "", algorithm="none", headers=named),
            jwt.encode(claims, secret, algorithm="HS256", headers=named),
            # PyJWT takes no public key for a secret.
            hs_token(claims, secret=pem, header={"typ": "JWT", "alg": "HS256", **named}),
        ]
        return (Token(text, 422, None) for text in texts)


# --- What is sent, and the verdict ----------------------------------------------------------------


class Visitors:
    """All clients of one server."""

    def __init__(
        self, links: Links, issuer: Issuer, secret: str, pause: float, rng: random.Random
    ) -> None:
        self.links = links
        self.issuer = issuer
        self.pause = pause
        self.rng = rng
        self.outages = Outages()
        # Seconds until a fetch fails in the present outage.
        self.failing = 0
        self.counts: Counter[tuple[str, str, int]] = Counter()
        # Seconds, by kind and period.
        self.times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.slowest: Counter[str] = Counter()
        self.sent: set[tuple[str, str]] = set()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.over = asyncio.Event()
        for worker in links.workers:
            for key in issuer.lasting:
                # Workers fetch them before they serve.
                key.known[worker] = float("-inf")
        self.tokens = self._fixed_tokens(secret)

    def _fixed_tokens(self, secret: str) -> dict[str, list[Token]]:
        mint, issuer = Mint(secret, self.rng), self.issuer
        own = [mint.token() for _ in range(4 * TOKENS)]
        past = mint.token(exp=int(time.time()) - 60)
        forged = [forgery for key in issuer.lasting for forgery in issuer.forgeries(key, secret)]
        forged += [Token(forge(token), 422, None) for forge in mint.forgeries for token in own[:9]]
        return {
            "own": [
                Token(text, 200, {"identity": claims["identity"], "issuer": None})
                for text, claims in ((token.text, token.claims) for token in own)
            ],
            "open": [Token(None, 200, {})],
            "forged": forged,
            "expired": [
                Token(past.text, 401, {"msg": EXPIRED}),
                *(issuer.expired(key) for key in issuer.lasting),
            ],
            "unknown": [issuer.stranger() for _ in range(4 * TOKENS)],
        }

    def _choose(self, kind: str, worker: str) -> Token | None:
        """A token of a kind, None while there is none."""
        keys: list[Key] = []
        if kind in self.tokens:
            return self.rng.choice(self.tokens[kind])
        if kind == "known":
            keys = [key for key in self.issuer.all_keys if self._is_known(key, worker)]
        elif kind == "withdrawn":
            keys = self.issuer.withdrawn
        elif self.issuer.newest not in self.issuer.lasting:
            keys = [self.issuer.newest]
        return self.rng.choice(self.rng.choice(keys).tokens) if keys else None

    def _is_known(self, key: Key, worker: str) -> bool:
        return worker in key.known and key.kid in self.issuer.keys

    # The verdict

    def note(self, kind: str, token: Token, answer: Answer) -> None:
        """Count an answer and judge it."""
        period = self._period(answer)
        took = answer.got - answer.sent
        self.counts[kind, period, answer.status] += 1
        self.times[kind, period].append(took)
        self.slowest[kind] = max(self.slowest[kind], took)
        self.sent.add((kind, answer.worker))
        why = self._fault(token, answer)
        if why is not None:
            self.note_wrong(kind, f"{why}: {answer}")
        if sum(self.counts.values()) >= ANSWERS:
            self.over.set()

    def note_wrong(self, kind: str, what: str) -> None:
        self.wrong[kind] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{kind}: {what[:500]}")
        if sum(self.wrong.values()) >= WRONG_ANSWERS:
            self.over.set()

    def _period(self, answer: Answer) -> str:
        if self.outages.away_for(answer):
            return "outage"
        return "settling" if self.outages.lateness(answer) <= self.learning else "calm"

    @property
    def learning(self) -> float:
        """Seconds until a worker knows what the issuer, which answers, has published."""
        return self.pause + SLACK

    def _fault(self, token: Token, answer: Answer) -> str | None:
        """What is wrong with an answer, None if nothing is."""
        if token.key is None:
            is_right = answer.status == token.status and token.body in (None, answer.body)
            return None if is_right else f"{token.status} is due"
        key, worker = token.key, answer.worker
        if answer.status == 200:
            return self._fault_of_200(token, key, answer)
        if answer.status not in (422, 503):
            return "neither in nor out"
        if key.known.get(worker, float("inf")) < answer.sent and answer.got < key.withdrawn:
            return "a known key is not accepted"
        if answer.got > key.withdrawn:
            key.refused.setdefault(worker, answer.got)
        # Whether it was under way in an outage, or how long after one it was sent.
        lateness = self.outages.lateness(answer)
        if answer.status == 503:
            if lateness > self.learning:
                return "the issuer is there"
            if answer.body != UNAVAILABLE or "retry-after" not in answer.headers:
                return "another 503"
            return None
        if answer.body != UNKNOWN:
            return "another 422"
        if self.outages.away_for(answer) > self.learning + self.failing:
            return "503 is due, since nobody can tell"
        if lateness and answer.sent > self._known_by(key, answer) and answer.got < key.withdrawn:
            return "the key was published long ago"
        return None

    def _fault_of_200(self, token: Token, key: Key, answer: Answer) -> str | None:
        if answer.body != token.body:
            return "about another token"
        if answer.got < key.published:
            return "the key is not published"
        if key.withdrawn < key.refused.get(answer.worker, float("inf")) < answer.sent:
            return "accepted after it was refused"
        if self.outages.lateness(answer) and answer.sent > self._refused_by(key, answer):
            return "the key was withdrawn long ago"
        key.known.setdefault(answer.worker, answer.got)
        return None

    def _known_by(self, key: Key, answer: Answer) -> float:
        return self._since(key.published, answer) + self.learning

    def _refused_by(self, key: Key, answer: Answer) -> float:
        return self._since(key.withdrawn, answer) + self.learning

    def _since(self, change: float, answer: Answer) -> float:
        """From when on the workers could fetch a change."""
        return max([change, *(each.back for each in self.outages if each.back <= answer.sent)])

    # The visits

    async def run(self, plan: Callable[[Visitors], Coroutine[Any, Any, None]]) -> float:
        """Keep the workers busy until the plan is done; return the seconds to the last answer."""
        begin = time.monotonic()
        visits = [
            asyncio.create_task(self._visit(kind, worker))
            for kind, connections in MIX.items()
            for worker in self.links.workers
            for _ in range(connections)
        ]
        following, ending = asyncio.create_task(plan(self)), asyncio.create_task(self.over.wait())
        try:
            await asyncio.wait({following, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.over.set()
            self.issuer.answering.set()
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            await asyncio.gather(*visits)
        return time.monotonic() - begin

    async def _visit(self, kind: str, worker: str) -> None:
        while not self.over.is_set():
            try:
                async with self.links.to(worker) as link:
                    while not self.over.is_set():
                        token = self._choose(kind, worker)
                        if token is None:
                            await asyncio.sleep(IDLE)
                        else:
                            path = "/worker" if token.text is None else "/me"
                            self.note(kind, token, await link.ask(path, token.text))
            except Lost as error:
                self.note_wrong(kind, f"no answer: {error}")

    async def all_know(self, key: Key) -> None:
        """Wait until each worker knows a key, or one is late, which then counts as wrong."""
        deadline = time.monotonic() + self.learning + SLACK
        while set(key.known) != set(self.links.workers) and time.monotonic() < deadline:
            await asyncio.sleep(IDLE)


# --- Reports --------------------------------------------------------------------------------------


@dataclass
class Run:
    """What came of it."""

    seconds: float
    pause: float
    visitors: Visitors
    outages: list[str]
    log: str

    @property
    def requests(self) -> int:
        return sum(self.visitors.counts.values())

    @property
    def wrong(self) -> int:
        return sum(self.visitors.wrong.values())

    @property
    def fetches(self) -> int:
        return self.visitors.issuer.requests.count(KEYS)

    def learned(self) -> dict[str, list[float]]:
        """By worker: how many seconds after it could be fetched each new key was known."""
        issuer = self.visitors.issuer
        new = [key for key in issuer.all_keys if key not in issuer.lasting]
        return {
            worker: [
                round(key.known[worker] - key.published, 2) for key in new if worker in key.known
            ]
            for worker in self.visitors.links.workers
        }

    def unknown_in_outage(self) -> dict[int, int]:
        """How often each status was the answer to tokens of unknown keys meanwhile."""
        found: Counter[int] = Counter()
        for (kind, period, status), number in self.visitors.counts.items():
            if (kind, period) == ("unknown", "outage"):
                found[status] += number
        return dict(found)

    def faults(self) -> list[str]:
        """Why this run is no success; empty if it is one."""
        visitors = self.visitors
        found = [f"{number} wrong: {kind}" for kind, number in visitors.wrong.items()]
        found += visitors.examples
        if self.log:
            found.append(f"the server wrote: {self.log[:3000]}")
        slowest = visitors.slowest
        found += [
            f"a client had to wait for the issuer: {slowest[kind]:.2f} s for an answer ({kind})"
            for kind in AT_ONCE
            if slowest[kind] > slowest["open"] + WAITING
        ]
        # One before it serves, and what was under way when the pause began.
        if self.fetches > WORKERS * (self.seconds / self.pause + 2):
            found.append(f"the keys were fetched {self.fetches} times")
        if self.wrong >= WRONG_ANSWERS:
            # Much has had no turn.
            return found
        if self.requests >= ANSWERS:
            found.append(f"ended early, after {self.requests} answers")
        found += [
            f"never sent to worker {worker}: {kind}"
            for kind in MIX
            for worker in visitors.links.workers
            if (kind, worker) not in visitors.sent
        ]
        for worker, delays in self.learned().items():
            if len(delays) < 1 + len(self.outages):
                found.append(f"worker {worker} learned {len(delays)} new keys only")
        if "refused" in self.outages and 503 not in self.unknown_in_outage():
            found.append("nobody noticed that the issuer was down")
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 2),
            "pause": self.pause,
            "requests": self.requests,
            "fetches": self.fetches,
            "wrong": dict(self.visitors.wrong),
            # Kind, period, status, number.
            "counts": [[*key, number] for key, number in sorted(self.visitors.counts.items())],
            "learned": self.learned(),
            "faults": self.faults(),
        }

    def as_text(self) -> str:
        unknown = self.unknown_in_outage()
        share = unknown.get(503, 0) / max(sum(unknown.values()), 1)
        lines = [
            f"{self.requests} requests in {self.seconds:.1f} s, {self.fetches} fetches; "
            f"wrong: {self.wrong}",
            f"  unknown keys in an outage: {share:.1%} of {sum(unknown.values())} times a 503",
            *(
                f"  worker {worker} knew a new key after "
                f"{', '.join(f'{delay:.2f}' for delay in delays)} s, of a pause of {self.pause:g} s"
                for worker, delays in self.learned().items()
            ),
            f"  {'':10} {'':9} {'p50 ms':>8} {'p99 ms':>8}  answers",
        ]
        for kind in MIX:
            for period in PERIODS:
                times = self.visitors.times[kind, period]
                if len(times) < 2:
                    continue
                cuts = quantiles(times, n=100)
                answers = ", ".join(
                    f"{number} x {status}"
                    for (its_kind, its_period, status), number in sorted(
                        self.visitors.counts.items()
                    )
                    if (its_kind, its_period) == (kind, period)
                )
                p50, p99 = cuts[49] * 1000, cuts[98] * 1000
                lines.append(f"  {kind:10} {period:9} {p50:8.2f} {p99:8.2f}  {answers}")
        return "\n".join([*lines, *(f"  FAULT: {fault}" for fault in self.faults())])


# --- Servers --------------------------------------------------------------------------------------


def load(arguments: argparse.Namespace, rng: random.Random) -> Run:
    """One run: the issuer rotates its keys, then it is down in each way, and rotates meanwhile."""
    step = arguments.seconds / STEPS
    pause = min(step, PAUSE)
    secret = secrets.token_hex(32)

    async def plan(visitors: Visitors) -> None:
        issuer = visitors.issuer
        await asyncio.sleep(2 * step)
        issuer.replace_key()
        issuer.publish_keys()
        await visitors.all_know(issuer.newest)
        for way in arguments.outages:
            visitors.failing = OUTAGES[way]
            with visitors.outages.going():
                if way == "refused":
                    await asyncio.to_thread(issuer.stop)
                else:
                    issuer.answering.clear()
                issuer.replace_key()
            await asyncio.sleep(max(3 * step, HUNG_AT_LEAST))
            with visitors.outages.coming():
                issuer.publish_keys()
                if way == "refused":
                    await asyncio.to_thread(issuer.start)
                else:
                    issuer.answering.set()
            await visitors.all_know(issuer.newest)
        await asyncio.sleep(step)

    async def visit(port: int, issuer: Issuer) -> tuple[Visitors, float]:
        links = Links(port)
        await links.find_workers()
        visitors = Visitors(links, issuer, secret, pause, rng)
        took = await visitors.run(plan)
        links.close()
        return visitors, took

    issuer = Issuer()
    with issuer, tempfile.TemporaryDirectory(prefix="load-") as directory:
        log = Path(directory) / "log"
        variables = {
            "ISSUERS_URL": issuer.issuer,
            "ISSUERS_AUDIENCE": AUDIENCE,
            "ISSUERS_SECRET": secret,
            "ISSUERS_PACE": str(PAUSE / pause),
        }
        with serving(arguments.application, log, **variables) as port:
            visitors, took = asyncio.run(visit(port, issuer))
        return Run(took, pause, visitors, arguments.outages, log.read_text())


@contextmanager
def serving(application: Path, log: Path, **variables: str) -> Iterator[int]:
    """Two workers of Hypercorn on one port."""
    port = free_port()
    command = [sys.executable, str(HERE / "server.py"), "hypercorn", str(port), str(application)]
    with running("hypercorn", [*command, str(WORKERS)], port, log, **variables):
        yield port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="about so many in all")
    parser.add_argument("--outages", nargs="*", choices=OUTAGES, default=list(OUTAGES))
    parser.add_argument("--application", type=Path, default=HERE / "issuers_app.py")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    arguments.application = arguments.application.resolve()

    signal.signal(signal.SIGTERM, _end)
    print(f"Python {sys.version.split()[0]}, {WORKERS} workers of Hypercorn, seed {arguments.seed}")
    run = load(arguments, random.Random(arguments.seed))
    print(f"\n{run.as_text()}\n\n{run.requests} requests, {run.wrong} wrong")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(run.as_json()))
    return 1 if run.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
