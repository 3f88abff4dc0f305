"""Many requests at once: every one has its own identity and its own options, and leaves nothing.

The requests are driven as an ASGI server drives them, so that a client can hang up: that cancels
what runs for it, with every version of Quart, wherever it happens to wait.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import random
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jwt
import pytest
from quart import Quart, has_app_context, has_request_context, request, websocket

import quart_jwt_extended as qje
from support import SECRET, access_claims, bearer, hs_token, make_app, manager_of
from support.asgi import Exchange, Raw, exchanged, opened
from support.changing_options import (
    ERAS,
    Answer,
    Changing,
    answer_of_era,
    answered,
    of_both_eras,
    options_of,
)
from support.leak_probe import in_headers
from support.signing_keys import private_key

# Seconds; ample for a slow machine, so that nothing here waits without an end.
LIMIT = 300

# Each one waits for a random time in each of these.
STAGES = ("key", "blacklist", "claims", "user", "view")

SIGNATURES = 64

# What each client of a WebSocket asks.
QUESTIONS = 20

# Key objects are told apart by their identity: each is made once.
SIGNING_KEY = private_key("P-256")
VERIFYING_KEY = SIGNING_KEY.public_key()


async def answer_to(app: Quart, path: str, raw: Raw) -> tuple[int | None, Any]:
    """Status and JSON body of the answer to one request."""
    exchange = await exchanged(app, raw, path)
    return exchange.status, json.loads(exchange.body)


def caches_of(app: Quart) -> Counter[str]:
    """How many entries each cache of an app has, the largest of those of the prepared keys."""
    sizes: Counter[str] = Counter()
    for state in app.extensions.values():
        for part in gc.get_referents(state):
            for held in gc.get_referents(part):
                if type(part).__name__ == "_KeyCache" and type(held) is dict:
                    sizes["keys"] = len(held)
                    for _, prepared in held.values():
                        for cache in gc.get_referents(prepared):
                            if type(cache) is dict:
                                sizes["signatures"] = max(sizes["signatures"], len(cache))
                elif type(part).__name__ == "_HeaderMemo" and type(held) is list:
                    sizes["headers"] = len(held)
    return sizes


# --- five thousand at once ------------------------------------------------------------------------


class Flight:
    """An app, and requests to it that have nothing in common but the time.

    The name of a request is in a header, too, so that every callback can compare.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.loop = asyncio.get_running_loop()
        self.chance = random.Random(seed)
        self.exchanges: dict[str, Exchange] = {}
        # By name, the stage in which the client hangs up, and whether that is waited for.
        self.doomed: dict[str, tuple[str, bool]] = {}
        self.cancelled: Counter[str] = Counter()
        self.wrong: list[Any] = []
        self.requests: weakref.WeakSet[Any] = weakref.WeakSet()
        self.arrived = 0
        self.all_here = asyncio.Event()
        self.app = self.make_app()

    def make_app(self) -> Quart:
        app = make_app(
            JWT_DECODE_ALGORITHMS=["HS256", "ES256"],
            JWT_PUBLIC_KEY=VERIFYING_KEY,
            JWT_SIGNATURE_CACHE_SIZE=SIGNATURES,
            JWT_BLACKLIST_ENABLED=True,
        )
        manager = manager_of(app)

        @manager.decode_key_loader
        async def key_of(claims: dict[str, Any], header: dict[str, Any]) -> Any:
            name = request.headers["X-Name"]
            self.requests.add(request._get_current_object())
            self.compare("key", name, claims["identity"], qje.get_jwt_identity() or name)
            self.arrived += 1
            if self.arrived >= self.count:
                self.all_here.set()
            await self.wait("key", name, self.all_here.wait())
            if header["alg"] == "ES256":
                return VERIFYING_KEY
            return own_secret(claims["identity"])

        @manager.token_in_blacklist_loader
        async def is_revoked(claims: dict[str, Any]) -> bool:
            name = request.headers["X-Name"]
            await self.wait("blacklist", name)
            self.compare("blacklist", name, claims["identity"])
            return name.startswith("revoked")

        @manager.claims_verification_loader
        async def are_accepted(user_claims: dict[str, Any]) -> bool:
            name = request.headers["X-Name"]
            self.compare("claims", name, qje.get_jwt_identity(), user_claims["name"])
            await self.wait("claims", name)
            self.compare("claims", name, qje.get_jwt_identity(), qje.get_jwt_claims()["name"])
            return not name.startswith("refused")

        @manager.user_loader_callback_loader
        async def load(identity: str) -> Any:
            self.compare("user", request.headers["X-Name"], identity)
            await self.wait("user", identity)
            self.compare("user", request.headers["X-Name"], qje.get_jwt_identity())
            return None if identity.startswith("nobody") else f"user {identity}"

        @manager.revoked_token_loader
        async def revoked() -> Any:
            await asyncio.sleep(self.chance.random() / 100)
            return {"revoked": qje.get_jwt_identity()}, 401

        @app.get("/async")
        @qje.jwt_required
        async def async_view() -> Any:
            await self.wait("view", request.headers["X-Name"])
            return identity_everywhere()

        @app.get("/sync")
        @qje.jwt_required
        def sync_view() -> Any:
            name = request.headers["X-Name"]
            self.compare("sync view", name, qje.get_jwt_identity(), qje.get_raw_jwt()["jti"])
            if name in self.doomed and self.doomed[name][0] == "view":
                # Its thread runs on if it is cancelled.
                self.loop.call_soon_threadsafe(self.exchanges[name].hang_up)
            time.sleep(self.chance.random() / 1000)
            return identity_everywhere()

        return app

    def compare(self, stage: str, name: str, *identities: Any) -> None:
        if any(identity != name for identity in identities):
            self.wrong.append((stage, name, identities))

    async def wait(self, stage: str, name: str, first: Any = None) -> None:
        """Sleep for a random time; the client of a doomed request hangs up at a random moment."""
        doomed_stage, is_certain = self.doomed.get(name, (None, False))
        if doomed_stage == stage:
            self.loop.call_later(self.chance.random() / 50, self.exchanges[name].hang_up)
        try:
            if first is not None:
                await first
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(self.chance.choice((0, self.chance.random() / 25)))
            if doomed_stage == stage and is_certain:
                await self.loop.create_future()
        except asyncio.CancelledError:
            self.cancelled[stage] += 1
            raise

    async def send(self, name: str, path: str) -> None:
        await self.exchanges[name].run(self.app, path)


def stages_of(name: str, path: str) -> tuple[str, ...]:
    """The stages that a request comes to, and can be stopped in."""
    last = {"forged": "key", "revoked": "blacklist", "refused": "claims", "nobody": "user"}
    kind = name.partition(" ")[0]
    end = last.get(kind, "view" if path == "/async" else "user")
    return STAGES[: STAGES.index(end) + 1]


def own_secret(name: str) -> str:
    """The secret of one user: more of them than an app keeps prepared."""
    return f"{SECRET} {name}"


def token_of(name: str) -> str:
    claims = access_claims(identity=name, jti=name, user_claims={"name": name})
    if name.startswith("signed"):
        return jwt.encode(claims, SIGNING_KEY, "ES256")
    return hs_token(claims, secret=own_secret("another" if name.startswith("forged") else name))


def named(name: str) -> Raw:
    raw = in_headers(token_of(name))
    return replace(raw, headers=[*raw.headers, (b"x-name", name.encode())])


def identity_everywhere() -> list[Any]:
    return [
        qje.get_jwt_identity(),
        qje.get_current_user(),
        qje.get_jwt_claims()["name"],
        qje.get_raw_jwt()["jti"],
    ]


def expected_answer(name: str) -> tuple[int, Any]:
    match name.partition(" ")[0]:
        case "revoked":
            return 401, {"revoked": name}
        case "refused":
            return 400, {"msg": "User claims verification failed"}
        case "nobody":
            return 401, {"msg": f"Error loading the user {name}"}
        case "forged":
            return 422, {"msg": "Signature verification failed"}
        case _:
            return 200, [name, f"user {name}", name, name]


@pytest.mark.may_show_secrets("the callback of the application answers with the identity")
async def test_five_thousand_requests_at_once_keep_their_identities() -> None:
    """More than a third of them is cancelled."""
    flight = Flight(5000, seed=1)
    chance = random.Random(2)
    kinds = ["plain"] * 12 + ["signed"] * 4 + ["revoked", "refused", "nobody", "forged"]
    paths: dict[str, str] = {}
    for number in range(flight.count):
        name = f"{chance.choice(kinds)} {number}"
        paths[name] = "/sync" if number % 10 == 0 else "/async"
        flight.exchanges[name] = Exchange(named(name))
    for name in chance.sample(list(paths), flight.count // 2):
        is_certain = chance.random() < 0.75
        stages = stages_of(name, paths[name]) if is_certain else STAGES
        flight.doomed[name] = (chance.choice(stages), is_certain)
    await asyncio.wait_for(
        asyncio.gather(*(flight.send(name, path) for name, path in paths.items())), LIMIT
    )

    assert flight.wrong == []
    # Every one had begun before the first one could end.
    assert flight.arrived == flight.count
    unanswered = {name for name, exchange in flight.exchanges.items() if exchange.status is None}
    assert unanswered <= flight.doomed.keys()
    assert len(unanswered) > flight.count / 3
    assert all(flight.cancelled[stage] > 100 for stage in STAGES)
    for name in paths.keys() - unanswered:
        exchange = flight.exchanges[name]
        assert (exchange.status, json.loads(exchange.body)) == expected_answer(name)

    # Nothing is left of them.
    assert not has_app_context()
    assert not has_request_context()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    async with flight.app.app_context():
        assert qje.get_jwt_identity() is None
        assert qje.get_raw_jwt() == {}
    await until_gone(flight.requests)
    # And what is kept on purpose is sound, and not too much.
    assert caches_of(flight.app)["keys"] == 1024
    names = ["forged after", *(f"signed after {number}" for number in range(2 * SIGNATURES))]
    names += chance.sample(list(paths), 50)
    flight.doomed.clear()
    answers = await asyncio.gather(
        *(answer_to(flight.app, "/async", named(name)) for name in names)
    )
    assert answers == [expected_answer(name) for name in names]
    assert caches_of(flight.app) == {"keys": 1024, "signatures": SIGNATURES, "headers": 2}


async def until_gone(objects: weakref.WeakSet[Any]) -> None:
    """Wait for threads that have just ended to let go of their context."""
    for _ in range(1000):
        gc.collect()
        if not objects:
            break
        await asyncio.sleep(0.01)
    assert list(objects) == []


# --- WebSockets -----------------------------------------------------------------------------------


class Visitor:
    """The client of one WebSocket, which asks who it is until it leaves."""

    def __init__(self, name: str, patience: float | None) -> None:
        self.name = name
        self.patience = patience
        self.answers: list[Any] = []
        self.status: int | None = None

    async def visit(self, app: Quart, path: str) -> None:
        headers = {**bearer(token_of(self.name)), "x-name": self.name}
        async with opened(app, path, headers=headers) as socket:
            if self.patience is not None:
                asyncio.get_running_loop().call_later(self.patience, socket.leave)
            while (message := await socket.next_message())["type"] != "end":
                if message["type"] == "websocket.http.response.start":
                    self.status = message["status"]
                elif message["type"] == "websocket.send":
                    self.answers.append(json.loads(message["text"]))
                if message["type"] in ("websocket.accept", "websocket.send"):
                    if len(self.answers) < QUESTIONS:
                        socket.say("who?")
                    else:
                        socket.leave()


async def test_three_hundred_websockets_keep_their_identities() -> None:
    flight = Flight(300, seed=3)
    chance = random.Random(4)
    # The callbacks of the flight look into the request, which a socket is not.
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = manager_of(app)
    open_sockets: weakref.WeakSet[Any] = weakref.WeakSet()
    at_once = 0

    @manager.decode_key_loader
    async def key_of(claims: dict[str, Any], header: dict[str, Any]) -> str:
        await asyncio.sleep(chance.random() / 50)
        return own_secret(claims["identity"])

    @manager.token_in_blacklist_loader
    async def is_revoked(claims: dict[str, Any]) -> bool:
        await asyncio.sleep(chance.random() / 50)
        return bool(claims["jti"].startswith("revoked"))

    @manager.user_loader_callback_loader
    async def load(identity: str) -> str:
        await asyncio.sleep(chance.random() / 50)
        flight.compare("user", websocket.headers["X-Name"], identity, qje.get_jwt_identity())
        return f"user {identity}"

    @app.websocket("/socket")
    @qje.jwt_required
    async def socket() -> None:
        nonlocal at_once
        open_sockets.add(websocket._get_current_object())
        at_once = max(at_once, len(open_sockets))
        await websocket.accept()
        while True:
            await websocket.receive()
            await asyncio.sleep(chance.random() / 50)
            if chance.random() < 0.2:
                await qje.verify_jwt_in_request()
            await websocket.send_json(identity_everywhere())

    names = [f"{chance.choice(['plain'] * 9 + ['revoked'])} {n}" for n in range(flight.count)]
    hasty = set(chance.sample(names, flight.count // 3))
    visitors = [Visitor(name, chance.random() / 2 if name in hasty else None) for name in names]
    await asyncio.wait_for(asyncio.gather(*(one.visit(app, "/socket") for one in visitors)), LIMIT)

    assert flight.wrong == []
    assert at_once > flight.count / 3
    for one in visitors:
        if one.name.startswith("revoked"):
            assert one.answers == []
            assert one.status == 401 or one.name in hasty
        else:
            assert one.status is None
            answer = [one.name, f"user {one.name}", one.name, one.name]
            assert one.answers == [answer] * len(one.answers)
            assert len(one.answers) == QUESTIONS or one.name in hasty
    assert any(len(one.answers) < QUESTIONS for one in visitors if one.name in hasty)
    await until_gone(open_sockets)


# --- threads --------------------------------------------------------------------------------------


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run_threads(count: int, work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Run ``work`` in threads with a loop each; what goes wrong in one is raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait(LIMIT)
            asyncio.run(asyncio.wait_for(work(number), LIMIT))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class SharedKeys(NamedTuple):
    """An algorithm with the very key objects that every thread signs and verifies with."""

    algorithm: str
    options: dict[str, Any]
    # What forges tokens: another key of the same kind.
    foreign: Any


def shared_keys() -> list[SharedKeys]:
    shared = [SharedKeys("HS256", {"JWT_SECRET_KEY": SECRET.encode()}, f"not {SECRET}")]
    for algorithm, kind in [("RS256", "RSA"), ("ES256", "P-256"), ("EdDSA", "Ed25519")]:
        key = private_key(kind)
        options = {"JWT_PRIVATE_KEY": key, "JWT_PUBLIC_KEY": key.public_key()}
        shared.append(SharedKeys(algorithm, options, private_key(kind, "another service")))
    return shared


@pytest.mark.usefixtures("hasty_threads")
def test_eight_threads_with_an_app_each_share_their_keys() -> None:
    keys = shared_keys()
    # By algorithm, tokens of all threads for all others to verify.
    pools: dict[str, list[tuple[str, str]]] = {one.algorithm: [] for one in keys}

    # Made before the threads run: Werkzeug compiles rules by way of ast.parse(), which Python 3.11
    # cannot do in two threads (https://github.com/python/cpython/issues/106905).
    apps_by_thread = [
        {
            one.algorithm: make_app(
                JWT_ALGORITHM=one.algorithm,
                JWT_SIGNATURE_CACHE_SIZE=8,
                JWT_ACCESS_TOKEN_EXPIRES=False,
                **one.options,
            )
            for one in keys
        }
        for _ in range(8)
    ]

    async def work(thread: int) -> None:
        chance = random.Random(thread)
        apps = apps_by_thread[thread]
        for number in range(100):
            one = chance.choice(keys)
            app, pool = apps[one.algorithm], pools[one.algorithm]
            async with app.app_context():
                name = f"{thread} {number}"
                pool.append((name, qje.create_access_token(name)))
                for name, token in chance.choices(pool, k=5):
                    assert qje.decode_token(token)["identity"] == name
                forged = jwt.encode(access_claims(), one.foreign, one.algorithm)
                with pytest.raises(jwt.InvalidSignatureError):
                    qje.decode_token(forged)
            name, token = chance.choice(pool)
            status, body = await answer_to(app, "/protected", in_headers(token))
            assert (status, body["identity"]) == (200, name)
            assert (await answer_to(app, "/protected", in_headers(forged)))[0] == 422
        for one in keys:
            sizes = caches_of(apps[one.algorithm])
            assert sizes["signatures"] == (0 if one.algorithm == "HS256" else 8)
            assert sizes["keys"] <= 2

    run_threads(8, work)
    assert sum(map(len, pools.values())) == 8 * 100


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("keys", shared_keys(), ids=lambda keys: keys.algorithm)
def test_eight_threads_share_an_app_and_its_caches(keys: SharedKeys) -> None:
    """The caches drop entries all the time while others look into them."""
    app = make_app(
        JWT_ALGORITHM=keys.algorithm,
        JWT_SIGNATURE_CACHE_SIZE=4,
        JWT_ACCESS_TOKEN_EXPIRES=False,
        **keys.options,
    )
    pool: list[tuple[str, str]] = []

    async def work(thread: int) -> None:
        chance = random.Random(thread)
        for number in range(100):
            async with app.app_context():
                name = f"{thread} {number}"
                headers = {"kid": str(chance.randrange(20))}
                pool.append((name, qje.create_access_token(name, headers=headers)))
                for name, token in chance.choices(pool, k=5):
                    assert qje.decode_token(token)["identity"] == name
                forged = jwt.encode(access_claims(), keys.foreign, keys.algorithm, headers)
                with pytest.raises(jwt.InvalidSignatureError):
                    qje.decode_token(forged)
            name, token = chance.choice(pool)
            status, body = await answer_to(app, "/protected", in_headers(token))
            assert (status, body["identity"]) == (200, name)

    run_threads(8, work)
    sizes = caches_of(app)
    assert sizes["signatures"] == (0 if keys.algorithm == "HS256" else 4)
    assert sizes["headers"] == 8
    assert sizes["keys"] <= 2


# --- options that change --------------------------------------------------------------------------


NAMES = ["ann", "bob", "cid", "expired", "forged", "revoked", "refused", "nobody"]


async def test_options_that_change_all_the_time_are_never_mixed_in_a_request() -> None:
    changing = Changing()
    app, chance = changing.app, random.Random(5)
    under_way = 0
    # Requests that were under way when the options changed.
    overtaken = 0

    async def one(name: str) -> tuple[str, Answer]:
        nonlocal under_way
        await asyncio.sleep(chance.random())
        under_way += 1
        answer = await answered(app, of_both_eras(name))
        under_way -= 1
        return name, answer

    async def change() -> None:
        nonlocal overtaken
        for number in itertools.count(1):
            for _ in range(chance.randrange(1, 6)):
                await asyncio.sleep(0)
            app.config.update(options_of(ERAS[number % 2]))
            overtaken += under_way

    changes = asyncio.create_task(change())
    answers = await asyncio.gather(*(one(chance.choice(NAMES)) for _ in range(1500)))
    changes.cancel()
    assert overtaken > 1500
    for name, answer in answers:
        assert answer in [answer_of_era(era, name) for era in ERAS]
    for era in ERAS:
        for name in NAMES:
            assert (name, answer_of_era(era, name)) in answers


@pytest.mark.usefixtures("hasty_threads")
def test_options_that_another_thread_changes_are_never_mixed_in_a_request() -> None:
    app = Changing().app
    seen: Counter[str] = Counter()
    is_over = threading.Event()

    def change() -> None:
        for number in itertools.count(1):
            app.config.update(options_of(ERAS[number % 2]))
            if is_over.wait(0.0001):
                return

    async def work(thread: int) -> None:
        chance = random.Random(thread)
        for _ in range(200):
            name = chance.choice(NAMES)
            answer = await answered(app, of_both_eras(name))
            assert answer in [answer_of_era(era, name) for era in ERAS]
            seen[next(era for era in ERAS if answer == answer_of_era(era, name))] += 1

    changes = threading.Thread(target=change)
    changes.start()
    try:
        run_threads(8, work)
    finally:
        is_over.set()
        changes.join()
    assert all(seen[era] > 50 for era in ERAS)
