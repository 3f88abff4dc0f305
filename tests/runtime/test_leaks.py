"""Nothing of a request stays behind: not after tens of thousands, and not after a single one.

The long run is ``leak_probe.py``, in a process of its own; ``LEAK_REQUESTS=300000`` makes it as
long as the page on security says. The other tests stop the garbage collector for the time of one
request: what only a collection could free, because it refers to itself in a circle, would pile up
in a busy server, tokens included.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from quart import Quart, request

import quart_jwt_extended as qje
from support import SECRET, access_claims, b64url, hs_token, make_app, manager_of, refresh_claims
from support.asgi import Exchange, Raw
from support.leak_probe import (
    in_cookies_with_csrf,
    in_headers,
    in_json,
    in_query_string,
)

TESTS = Path(__file__).parents[1]

MIB = 2**20

# A sanitizer and the allocator of a debug build keep what was freed, so that resident memory says
# nothing about leaks there. Objects and references are counted all the same.
IS_SANITIZED = os.environ.get("JWT_SANITIZED") == "1"

# Seconds; ample for a slow machine, so that nothing here waits without an end.
LIMIT = 1200

# One leak per turn of the probe's cases, some 140 requests, makes 280 of so many, seven times what
# a run may differ by; 26 bytes for each request are more memory than it may take.
REQUESTS = int(os.environ.get("LEAK_REQUESTS", "40000"))
ROUNDS = 5

# What a run may differ by.
REFERENCES = 40
OBJECTS = 40
BLOCKS = 1000


# --- many requests --------------------------------------------------------------------------------


def states(requests: int, creations: int) -> list[dict[str, Any]]:
    """What leak_probe.py tells, before the first round and after each."""
    numbers = [str(number) for number in (ROUNDS, requests // ROUNDS, creations // ROUNDS)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "support.leak_probe", *numbers],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == ROUNDS + 1
    return found


def changes(before: dict[str, int], after: dict[str, int], allowed: int) -> dict[str, int]:
    """The figures that went up or down by more than is allowed."""
    differences = {
        name: after.get(name, 0) - before.get(name, 0) for name in before.keys() | after.keys()
    }
    return {name: number for name, number in differences.items() if abs(number) > allowed}


def test_good_and_refused_requests_leave_nothing_behind() -> None:
    # A fifth of the creations is refused: there are a third as many tokens as requests.
    first, *later = states(REQUESTS, REQUESTS * 5 // 12)
    last = later[-1]
    # The probe has looked at what it was meant to look at.
    for what in ("instances", "key references"):
        assert max(n for name, n in first["internals"].items() if name.endswith(what)) > 1000
    assert first["references"]["key RSA"] > 1
    assert changes(first["objects"], last["objects"], OBJECTS) == {}
    assert changes(first["references"], last["references"], REFERENCES) == {}
    assert changes(first["internals"], last["internals"], REFERENCES) == {}
    assert abs(last["blocks"] - first["blocks"]) <= BLOCKS
    if not IS_SANITIZED and first["resident"] is not None:
        assert max(state["resident"] for state in later) - first["resident"] <= MIB


# --- one request ----------------------------------------------------------------------------------


Place = Callable[[str], Raw]

PLACES: list[Place] = [in_headers, in_cookies_with_csrf, in_query_string, in_json]

every_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)

# In every token as a claim: clear as it is in the claims, and encoded as it is in the token.
CLEAR_MARK = "look for me, ever look for me, here I a"
ENCODED_MARK = b64url(f'{{"mark":"{CLEAR_MARK}'.encode())
MARKS: dict[type, Any] = {
    str: (CLEAR_MARK, ENCODED_MARK),
    bytes: (CLEAR_MARK.encode(), ENCODED_MARK.encode()),
}


def marked(claims: dict[str, Any], *, secret: str = SECRET) -> str:
    return hs_token({"mark": CLEAR_MARK, "csrf": "a value", **claims}, secret=secret)


def marked_access(**changes: Any) -> str:
    return marked(access_claims(**changes))


class Scenario(NamedTuple):
    """One kind of request, with the route that shows what Quart itself leaves of such a one."""

    make: Callable[[], str]
    # None: the client hangs up while the request is under way.
    status: int | None
    path: str = "/guarded/view"
    bare: str = "/bare/view"
    more_body: bool = False

    def sent(self, place: Place) -> Raw:
        token = self.make()
        return place(token) if token else Raw()


def by_identity(identity: str, status: int | None, bare: str) -> Scenario:
    return Scenario(lambda: marked_access(identity=identity), status, bare=bare)


PLAIN_SCENARIOS = {
    "good": Scenario(marked_access, 200),
    "fresh": Scenario(lambda: marked_access(fresh=True), 200, "/fresh"),
    "optional": Scenario(marked_access, 200, "/optional"),
    "sync view": Scenario(marked_access, 200, "/guarded/view/sync", "/bare/view/sync"),
    "expired": Scenario(lambda: marked_access(exp=1), 401),
    "forged": Scenario(lambda: marked(access_claims(), secret=f"not {SECRET}"), 422),
    "malformed": Scenario(lambda: marked_access() + "=", 422),
    "too long": Scenario(lambda: marked_access(user_claims={"long": "x" * 20_000}), 422),
    "no identity": Scenario(lambda: marked_access(identity=...), 422),
    "wrong type": Scenario(lambda: marked(refresh_claims()), 422),
    "not fresh": Scenario(marked_access, 401, "/fresh"),
    "revoked": by_identity("revoked", 401, "/bare/view"),
    "refused": by_identity("refused", 400, "/bare/view"),
    "nobody": by_identity("nobody", 401, "/bare/view"),
    "broken in key": by_identity("broken in key", 503, "/bare/view/broken"),
    "broken in blacklist": by_identity("broken in blacklist", 503, "/bare/view/broken"),
    "broken in claims": by_identity("broken in claims", 503, "/bare/view/broken"),
    "broken in user": by_identity("broken in user", 503, "/bare/view/broken"),
    "broken view": Scenario(marked_access, 503, "/guarded/view/broken", "/bare/view/broken"),
    "broken sync view": Scenario(
        marked_access, 503, "/guarded/view/sync/broken", "/bare/view/sync/broken"
    ),
    "no token": Scenario(lambda: "", 401),
    "no token, optional": Scenario(lambda: "", 200, "/optional"),
    "refusing view": Scenario(marked_access, 401, "/guarded/view/refusing", "/bare/view/refusing"),
}

# The client hangs up while a callback or the view waits.
CANCELLED_SCENARIOS = {
    **{
        f"stuck in {where}": by_identity(f"stuck in {where}", None, "/bare/view/stuck")
        for where in ("key", "blacklist", "claims", "user")
    },
    # The blacklist has it, and the callback that answers to that waits.
    "stuck in answer": by_identity("stuck in answer", None, "/bare/view/stuck"),
    "stuck view": Scenario(marked_access, None, "/guarded/view/stuck", "/bare/view/stuck"),
}

# Nobody handles the error: Quart keeps the request in a circle with most of them.
FAULTY_SCENARIOS = {
    **{
        f"faulty in {where}": by_identity(f"faulty in {where}", 500, "/bare/view/faulty")
        for where in ("key", "blacklist", "claims", "user")
    },
    "faulty in answer": by_identity("faulty in answer", 500, "/bare/view/worse"),
    "faulty view": Scenario(marked_access, 500, "/guarded/view/faulty", "/bare/view/faulty"),
}


class Broken(Exception):
    """Raised by callbacks and views; the app has a handler for it."""


class Worse(Exception):
    """Raised by a view; the handler of the app fails over it."""


class Watched(NamedTuple):
    """An app that tells when a request has come to where it waits for ever."""

    app: Quart
    stuck: asyncio.Event
    # The requests that came, if they are still there.
    seen: list[weakref.ref[Any]]


def watched_app(*, is_async: bool = True) -> Watched:
    """The identity of a token says what becomes of its request: ``"broken in user"`` for example
    makes the user loader raise, and ``"stuck in user"`` makes it wait until the client hangs up."""
    app = make_app(
        JWT_TOKEN_LOCATION=["headers", "cookies", "query_string", "json"],
        JWT_BLACKLIST_ENABLED=True,
        TESTING=False,
        PROPAGATE_EXCEPTIONS=False,
    )
    # The traceback that Quart logs would be kept by pytest.
    app.logger.disabled = True
    watched = Watched(app, asyncio.Event(), [])
    manager = manager_of(app)

    def act(place: str, identity: str) -> None:
        if identity == f"broken in {place}":
            raise Broken(identity)
        if identity == f"faulty in {place}":
            raise ZeroDivisionError(identity)

    async def wait(place: str, identity: str) -> None:
        if identity == f"stuck in {place}":
            watched.stuck.set()
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)

    def callback(place: str, answer: Callable[[str], Any], identity_of: Any) -> Any:
        def plain(*arguments: Any) -> Any:
            act(place, identity_of(*arguments))
            return answer(identity_of(*arguments))

        async def awaited(*arguments: Any) -> Any:
            await wait(place, identity_of(*arguments))
            return plain(*arguments)

        return awaited if is_async else plain

    def current(*arguments: Any) -> str:
        return str(qje.get_jwt_identity())

    manager.decode_key_loader(
        callback("key", lambda name: SECRET, lambda claims, header: claims.get("identity"))
    )
    manager.token_in_blacklist_loader(
        callback(
            "blacklist",
            lambda name: name in ("revoked", "stuck in answer", "faulty in answer"),
            lambda claims: claims["identity"],
        )
    )
    manager.claims_verification_loader(callback("claims", lambda name: name != "refused", current))
    manager.user_loader_callback_loader(
        callback("user", lambda name: None if name == "nobody" else name, str)
    )
    manager.revoked_token_loader(callback("answer", lambda name: ({"msg": name}, 401), current))

    @app.before_request
    async def note() -> None:
        watched.seen.append(weakref.ref(request._get_current_object()))

    @app.errorhandler(Broken)
    async def broken(error: Broken) -> Any:
        return {"msg": "broken"}, 503

    @app.errorhandler(Worse)
    async def worse(error: Worse) -> None:
        raise ZeroDivisionError("handler")

    def add(path: str, view: Any) -> None:
        """One view, once open and once protected, for the two to be compared."""
        name = path.strip("/").replace("/", "_")
        app.add_url_rule(f"/bare{path}", f"bare_{name}", view, methods=["GET", "POST"])
        protected = qje.jwt_required(view)
        app.add_url_rule(f"/guarded{path}", f"guarded_{name}", protected, methods=["GET", "POST"])

    async def view() -> Any:
        return {"name": qje.get_jwt_identity()}

    async def stuck_view() -> None:
        watched.stuck.set()
        await asyncio.get_running_loop().create_future()

    def sync_view() -> Any:
        return {"name": qje.get_jwt_identity()}

    async def broken_view() -> None:
        raise Broken("view")

    def broken_sync_view() -> None:
        raise Broken("view")

    async def json_view() -> Any:
        return await request.get_json()

    async def faulty_view() -> None:
        raise ZeroDivisionError("view")

    async def worse_view() -> None:
        raise Worse("view")

    async def refusing_view() -> None:
        raise qje.RevokedTokenError("Token has been revoked")

    add("/view", view)
    add("/view/stuck", stuck_view)
    add("/view/sync", sync_view)
    add("/view/broken", broken_view)
    add("/view/sync/broken", broken_sync_view)
    add("/view/faulty", faulty_view)
    add("/view/json", json_view)
    add("/view/worse", worse_view)
    add("/view/refusing", refusing_view)
    return watched


class Left(NamedTuple):
    """What one request has left while no garbage collection ran."""

    is_alive: bool
    # New exceptions, and what newly refers to a text with the token.
    found: Counter[str]
    # By type, what the collector found in circles.
    circles: Counter[str]


def exceptions_and_token_holders() -> Counter[str]:
    """Among all objects but the frozen ones, which are older than any app here."""
    found: Counter[str] = Counter()
    for value in gc.get_objects():
        # The last one that an idle thread of an executor has met stays with it.
        if issubclass(type(value), BaseException) and type(value) is not queue.Empty:
            found[repr(value)] += 1
        if any(has_token(held) for held in gc.get_referents(value)):
            found[f"{type(value).__name__} with the token"] += 1
    return found


def has_token(value: Any) -> bool:
    """Whether this is a text with the token or a container of one.

    Only a container that the collector does not know, since the others are looked into anyway.
    """
    kind = type(value)
    if kind in MARKS:
        return any(mark in value for mark in MARKS[kind])
    if kind in (dict, tuple) and not gc.is_tracked(value):
        return any(map(has_token, gc.get_referents(value)))
    return False


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Spares the collections below from going through what there was before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def turns_of_the_loop(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def come_to_rest(watched: Watched) -> None:
    """Let what has ended go, the thread of a view for example."""
    for _ in range(2000):
        if all(reference() is None for reference in watched.seen):
            break
        await asyncio.sleep(0.001)


async def what_stays(before: Counter[str]) -> Counter[str]:
    """What is found more than before, once the thread of a view had time to let go of it all."""
    for _ in range(100):
        if not exceptions_and_token_holders() - before:
            break
        await asyncio.sleep(0.01)
    return exceptions_and_token_holders() - before


async def send(watched: Watched, scenario: Scenario, path: str, place: Place) -> int | None:
    """One request; where it gets stuck, the client waits for that and hangs up."""
    exchange = Exchange(replace(scenario.sent(place), stuck=scenario.more_body))
    watched.stuck.clear()
    task = asyncio.ensure_future(exchange.run(watched.app, path))
    if scenario.more_body:
        # It waits in the middle of get_json(), where no callback can tell.
        await turns_of_the_loop(20)
        exchange.hang_up()
    elif scenario.status is None:
        await asyncio.wait_for(watched.stuck.wait(), LIMIT)
        exchange.hang_up()
    await asyncio.wait_for(task, LIMIT)
    return exchange.status


async def what_is_left(watched: Watched, scenario: Scenario, path: str, place: Place) -> Left:
    before = exceptions_and_token_holders()
    # The first time leaves caches of the interpreter and of Quart.
    status = await send(watched, scenario, path, place)
    if path == scenario.path:
        assert status == scenario.status
    watched.seen.clear()
    with no_collection():
        await send(watched, scenario, path, place)
        # The callbacks of a finished task are due in the next turn.
        await turns_of_the_loop(3)
        if scenario.status != 500:
            await come_to_rest(watched)
        found = await what_stays(before)
        assert len(watched.seen) == 1
        is_alive = watched.seen[0]() is not None
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        circles = Counter(type(value).__name__ for value in gc.garbage)
    return Left(is_alive, found, circles)


async def assert_only_quart_leaves_something(
    scenario: Scenario, place: Place, *, is_async: bool = True
) -> None:
    watched = watched_app(is_async=is_async)
    bare = await what_is_left(watched, scenario, scenario.bare, place)
    ours = await what_is_left(watched, scenario, scenario.path, place)
    assert ours.found == bare.found == Counter()
    assert not ours.is_alive
    assert ours.circles == bare.circles


@pytest.mark.usefixtures("frozen")
def test_search_finds_what_keeps_a_token() -> None:
    """Or else the tests below would find nothing whatever was left."""
    before = exceptions_and_token_holders()
    marked = {"mark": CLEAR_MARK}
    kept = [marked_access().encode()], [marked], Broken("error")
    found = exceptions_and_token_holders() - before
    # From Python 3.14 on, the collector knows every dict.
    holders = Counter(["list", "dict" if gc.is_tracked(marked) else "list"])
    expected = {f"{holder} with the token": count for holder, count in holders.items()}
    assert found == {**expected, "Broken('error')": 1}
    del kept


@pytest.mark.usefixtures("frozen")
@every_place
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", PLAIN_SCENARIOS)
async def test_answered_request_leaves_no_circle_no_exception_and_no_token(
    name: str, is_async: bool, place: Place
) -> None:
    await assert_only_quart_leaves_something(PLAIN_SCENARIOS[name], place, is_async=is_async)


@pytest.mark.usefixtures("frozen")
@every_place
@pytest.mark.parametrize("name", CANCELLED_SCENARIOS)
async def test_cancelled_request_leaves_no_circle_no_exception_and_no_token(
    name: str, place: Place
) -> None:
    await assert_only_quart_leaves_something(CANCELLED_SCENARIOS[name], place)


@pytest.mark.usefixtures("frozen")
async def test_request_whose_body_never_ends_leaves_nothing_when_the_client_hangs_up() -> None:
    scenario = Scenario(
        marked_access, None, "/guarded/view", bare="/bare/view/json", more_body=True
    )
    await assert_only_quart_leaves_something(scenario, in_json)


@pytest.mark.usefixtures("frozen")
@every_place
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", FAULTY_SCENARIOS)
async def test_unhandled_error_leaves_what_it_leaves_of_an_open_route(
    name: str, is_async: bool, place: Place
) -> None:
    watched = watched_app(is_async=is_async)
    scenario = FAULTY_SCENARIOS[name]
    bare = await what_is_left(watched, scenario, scenario.bare, place)
    ours = await what_is_left(watched, scenario, scenario.path, place)
    assert ours.is_alive == bare.is_alive
    gc.collect()
    assert watched.seen[0]() is None


@pytest.mark.usefixtures("frozen")
async def test_sync_view_that_outlives_its_cancelled_request_lets_it_go_at_its_end() -> None:
    """The thread cannot be stopped: it has its request, and keeps it, until it returns."""
    watched = watched_app()
    begun, go_on = threading.Event(), threading.Event()
    names: list[Any] = []

    @watched.app.get("/thread")
    @qje.jwt_required
    def view() -> str:
        begun.set()
        assert go_on.wait(LIMIT)
        names.append(qje.get_jwt_identity())
        return "too late"

    exchange = Exchange(in_headers(marked_access()))
    with no_collection():
        task = asyncio.ensure_future(exchange.run(watched.app, "/thread"))
        assert await asyncio.to_thread(begun.wait, LIMIT)
        exchange.hang_up()
        await asyncio.wait_for(task, LIMIT)
        del task
        assert exchange.status is None
        assert watched.seen[0]() is not None
        go_on.set()
        await come_to_rest(watched)
        assert watched.seen[0]() is None
    assert names == ["alice"]
