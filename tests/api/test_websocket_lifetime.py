"""WebSockets end with their token, and go on with a new one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import time
from contextlib import suppress
from typing import Any

import jwt
import pytest
from quart import Quart, websocket
from quart.testing import connections

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    OTHER_SECRET,
    access_claims,
    ask,
    bearer,
    claims_of,
    hs_token,
    manager_of,
)
from support.asgi import Socket, opened
from support.sessions import (
    START,
    WatchedStore,
    access_of,
    frozen,
    log_in,
    polled,
    refresh_of,
    rotated,
    session_app,
    until,
)

HAS_EXPIRED = (4401, "Token has expired")
IS_REVOKED = (4401, "Token has been revoked")
HAS_ENDED = (4401, "Session has ended")


def socket_app(store: Any = None, **options: Any) -> Quart:
    """An application whose sockets say who is there, and renew when they are told to.

    ``app.ended`` lists how their views ended.
    """
    app = session_app(WatchedStore() if store is None else store, **options)
    app.ended = []  # type: ignore[attr-defined]

    async def talk() -> None:
        await websocket.accept()
        try:
            while True:
                text = await websocket.receive()
                if text == "bye":
                    return
                if text.startswith("renew "):
                    try:
                        claims = await qje.renew_websocket(text.removeprefix("renew "))
                    except Exception as error:
                        await websocket.send_json([type(error).__name__, str(error)])
                    else:
                        await websocket.send_json(claims["jti"])
                else:
                    await websocket.send_json(qje.get_jwt_identity())
        except asyncio.CancelledError:
            app.ended.append("cancelled")  # type: ignore[attr-defined]
            raise
        finally:
            app.ended.append("ended")  # type: ignore[attr-defined]

    for name, rules in {
        "closing": {"close_with_token": True},
        "open-ended": {"close_with_token": False},
        "by-option": {},
        "fresh": {"close_with_token": True, "fresh": True},
        "scoped": {"close_with_token": True, "scopes": "chat"},
        "refresh": {"close_with_token": True, "refresh": True},
        "optional": {"close_with_token": True, "optional": True},
        "unchecked": {"close_with_token": True, "skip_revocation_check": True},
    }.items():
        app.add_websocket(f"/{name}", f"{name}_socket", qje.jwt_required(**rules)(talk))

    @app.websocket("/by-hand")
    async def by_hand() -> None:
        await qje.verify_jwt_in_request(close_with_token=True)
        await talk()

    @app.websocket("/bare")
    async def bare() -> None:
        await talk()

    return app


async def said(client: Socket, text: str) -> Any:
    client.say(text)
    return await client.hear()


async def greeted(client: Socket, identity: Any = "alice") -> None:
    await client.next("websocket.accept")
    assert await said(client, "hello") == identity


async def closing(client: Socket) -> tuple[int, str]:
    """Code and reason of the close that the application must send next, after which it ends."""
    message = await client.next("websocket.close")
    await client.next("end")
    return message["code"], message.get("reason") or ""


def soon(**changes: Any) -> str:
    """A token that expires a second after START."""
    return hs_token(access_claims(exp=START + 1, **changes))


async def closes_with_its_token(app: Quart, path: str) -> bool:
    """Whether a socket closes when its token expires, as one that is known to close does."""
    with frozen() as clock:
        async with (
            opened(app, "/closing", token=soon()) as known,
            opened(app, path, token=soon()) as client,
        ):
            await greeted(known)
            await greeted(client)
            clock.shift(1)
            assert await closing(known) == HAS_EXPIRED
            # Both are closed in one turn.
            client.say("still here")
            message = await client.next_message()
            if message["type"] == "websocket.send":
                assert json.loads(message["text"]) == "alice"
                return False
            assert (message["code"], message["reason"]) == HAS_EXPIRED
            await client.next("end")
            return True


# Seconds of staleness, with which a worker looks at its sockets every 50 ms.
QUICK = 0.1


# --- At the end of the token ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/closing", "/by-hand", "/optional", "/unchecked"])
async def test_socket_closes_when_its_token_expires(path: str) -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=QUICK)
    with frozen() as clock:
        async with opened(app, path, token=soon()) as client:
            await greeted(client)
            clock.shift(0.9)
            await polled(app.store)
            assert await said(client, "hello") == "alice"
            clock.shift(0.1)
            assert await closing(client) == HAS_EXPIRED
    assert app.ended[-1] == "ended"


async def test_refresh_socket_closes_when_its_token_expires() -> None:
    app = socket_app()
    with frozen() as clock:
        async with opened(app, "/refresh", token=soon(type="refresh", fresh=...)) as client:
            await greeted(client)
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


@pytest.mark.parametrize(
    ("option", "path", "closes"),
    [
        (None, "/by-option", False),
        (None, "/closing", True),
        (False, "/by-option", False),
        (True, "/by-option", True),
        (True, "/open-ended", False),
        (False, "/closing", True),
    ],
)
async def test_argument_goes_over_the_option(option: Any, path: str, closes: bool) -> None:
    app = socket_app(**({} if option is None else {"JWT_WEBSOCKET_CLOSE_WITH_TOKEN": option}))
    assert await closes_with_its_token(app, path) is closes


async def test_protected_app_closes_its_sockets() -> None:
    app = socket_app()
    qje.protect(app, close_with_token=True)
    with frozen() as clock:
        async with opened(app, "/bare", token=soon()) as client:
            await greeted(client)
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


@pytest.mark.parametrize(
    ("guard", "path", "closes"),
    [
        (True, "/by-option", True),
        (True, "/open-ended", False),
        (False, "/by-option", False),
        (False, "/closing", True),
    ],
)
async def test_argument_of_the_view_goes_over_the_one_of_the_app(
    guard: bool, path: str, closes: bool
) -> None:
    # The option is the opposite, so that it cannot be what decides.
    app = socket_app(JWT_WEBSOCKET_CLOSE_WITH_TOKEN=not guard)
    qje.protect(app, close_with_token=guard)
    assert qje.protection_of(app, f"{path[1:]}_socket").close_with_token is closes
    assert await closes_with_its_token(app, path) is closes


@pytest.mark.parametrize("way", ["hook", "decorators", "view"])
@pytest.mark.parametrize(
    ("option", "outer", "inner", "closes"),
    [
        (False, True, False, False),
        (False, False, True, True),
        (True, None, False, False),
        (True, False, None, False),
        (False, True, None, True),
        (True, None, None, True),
    ],
)
async def test_argument_that_is_verified_last_goes_over_the_others(
    way: str, option: bool, outer: bool | None, inner: bool | None, closes: bool
) -> None:
    app = socket_app(JWT_WEBSOCKET_CLOSE_WITH_TOKEN=option)

    async def view() -> None:
        await websocket.accept()
        if way == "view":
            await qje.verify_jwt_in_request(close_with_token=inner)
        while True:
            await websocket.receive()
            await websocket.send_json(qje.get_jwt_identity())

    async def hook() -> None:
        if websocket.path == "/twice":
            await qje.verify_jwt_in_request(close_with_token=outer)

    decorated: Any = view
    if way != "view":
        decorated = qje.jwt_required(close_with_token=inner)(decorated)
    if way == "hook":
        app.before_websocket(hook)
    else:
        decorated = qje.jwt_required(close_with_token=outer)(decorated)
    app.add_websocket("/twice", "twice", decorated)
    assert await closes_with_its_token(app, "/twice") is closes


@pytest.mark.parametrize("outer", [None, False])
async def test_new_token_must_satisfy_the_rules_of_a_hook_that_closes_nothing(
    outer: bool | None,
) -> None:
    app = socket_app()

    async def hook() -> None:
        await qje.verify_jwt_in_request(scopes="chat", close_with_token=outer)

    app.before_websocket(hook)
    token = hs_token(access_claims(scope="chat"))
    async with opened(app, "/closing", token=token) as client:
        await greeted(client)
        assert await refusal(client, hs_token(access_claims())) == "InsufficientScopeError"
        again = hs_token(access_claims(scope="chat", jti="again"))
        assert await said(client, f"renew {again}") == "again"


async def verify() -> None:
    await qje.verify_jwt_in_request()


async def test_revocation_closes_a_socket_that_a_hook_checks() -> None:
    app = socket_app()
    app.before_websocket(verify)
    tokens = await log_in(app)
    async with opened(app, "/unchecked", token=tokens.access_token) as client:
        await greeted(client)
        async with app.app_context():
            await qje.revoke_session(tokens.session_id)
        assert await closing(client) == HAS_ENDED


async def test_socket_that_no_longer_closes_cannot_be_renewed() -> None:
    app = socket_app(JWT_WEBSOCKET_CLOSE_WITH_TOKEN=True)
    app.before_websocket(verify)
    async with opened(app, "/open-ended", token=hs_token(access_claims())) as client:
        await greeted(client)
        assert await refusal(client, hs_token(access_claims())) == "RuntimeError"


async def test_leeway_counts_for_the_socket_as_for_a_request() -> None:
    app = socket_app(JWT_DECODE_LEEWAY=60, JWT_REVOCATION_MAX_STALENESS=QUICK)
    with frozen() as clock:
        async with opened(app, "/closing", token=soon()) as client:
            await greeted(client)
            clock.shift(60)
            await polled(app.store)
            assert await said(client, "within the leeway") == "alice"
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


async def test_anonymous_socket_does_not_close() -> None:
    app = socket_app()
    with frozen() as clock:
        async with (
            opened(app, "/closing", token=soon()) as closed,
            opened(app, "/optional") as client,
        ):
            await greeted(closed)
            await greeted(client, None)
            clock.shift(1)
            assert await closing(closed) == HAS_EXPIRED
            assert await said(client, "hello") is None


async def test_token_without_an_end_never_closes_the_socket() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=QUICK)
    async with opened(app, "/closing", token=hs_token(access_claims(exp=...))) as client:
        await greeted(client)
        await polled(app.store)
        assert await said(client, "hello") == "alice"


@pytest.mark.parametrize(
    "exp", [4_102_444_800, 2**53, 1e300, 10**400], ids=lambda exp: str(exp)[:9]
)
async def test_token_with_a_far_end_keeps_the_socket_open(exp: Any) -> None:
    """No timer takes such a number of seconds."""
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=QUICK)
    token = hs_token(access_claims(exp=exp))
    async with opened(app, "/closing", token=token) as client:
        await greeted(client)
        await polled(app.store)
        assert await said(client, "hello") == "alice"


async def test_argument_means_nothing_to_a_request() -> None:
    app = socket_app()

    @app.get("/request")
    @qje.jwt_required(close_with_token=True)
    async def request() -> str:
        return "in"

    assert await ask(app, "/request", access_claims()) == (200, "in")
    assert (await ask(app, "/request", access_claims(exp=1)))[0] == 401


async def test_app_without_a_store_closes_at_expiry_too() -> None:
    app = Quart("no store")
    app.config["JWT_SECRET_KEY"] = OTHER_SECRET
    qje.JWTManager(app)

    @app.websocket("/closing")
    @qje.jwt_required(close_with_token=True)
    async def view() -> None:
        await websocket.accept()
        await websocket.receive()

    with frozen() as clock:
        token = hs_token(access_claims(exp=START + 1), secret=OTHER_SECRET)
        async with opened(app, "/closing", token=token) as client:
            await client.next("websocket.accept")
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


async def test_busy_view_is_ended_as_well() -> None:
    """One that only sends does not wait for anything of the client's."""
    app = socket_app()

    @app.websocket("/ticker")
    @qje.jwt_required(close_with_token=True)
    async def ticker() -> None:
        while True:
            await websocket.send_json("tick")
            await asyncio.sleep(0.05)

    with frozen() as clock:
        async with opened(app, "/ticker", token=soon()) as client:
            await client.next("websocket.accept")
            clock.shift(1)
            while (message := await client.next_message())["type"] == "websocket.send":
                pass
            assert (message["type"], message["code"]) == ("websocket.close", 4401)
            await client.next("end")


@pytest.mark.parametrize("way", ["wait_for", "task"])
async def test_socket_verified_in_a_task_of_its_own_closes(way: str) -> None:
    app = socket_app()

    @app.websocket("/subtask")
    async def subtask() -> None:
        verification = qje.verify_jwt_in_request(close_with_token=True)
        if way == "wait_for":
            await asyncio.wait_for(verification, 5)
        else:
            await asyncio.create_task(verification)
        await websocket.accept()
        while True:
            await websocket.receive()
            await websocket.send_json("still here")

    with frozen() as clock:
        async with opened(app, "/subtask", token=soon()) as client:
            await client.next("websocket.accept")
            assert await said(client, "hello") == "still here"
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


async def test_odd_session_does_not_keep_other_sockets_from_ending() -> None:
    """Without a store the claim is the app's own."""
    app = Quart("no store")
    app.config["JWT_SECRET_KEY"] = OTHER_SECRET
    qje.JWTManager(app)

    @app.websocket("/closing")
    @qje.jwt_required(close_with_token=True)
    async def view() -> None:
        await websocket.accept()
        while True:
            await websocket.receive()
            await websocket.send_json(qje.get_jwt()["sid"])

    async with contextlib.AsyncExitStack() as stack:
        clock = stack.enter_context(frozen())
        sids: list[Any] = [["x"], {"x": 1}, 5, "last"]
        clients = []
        for sid in sids:
            exp = START + 1 if sid == "last" else FAR_FUTURE
            token = hs_token(access_claims(sid=sid, exp=exp), secret=OTHER_SECRET)
            clients.append(await stack.enter_async_context(opened(app, "/closing", token=token)))
            await clients[-1].next("websocket.accept")
        clock.shift(1)
        assert await closing(clients.pop()) == HAS_EXPIRED
        for client, sid in zip(clients, sids, strict=False):
            assert await said(client, "hello") == sid


async def test_store_that_hangs_does_not_keep_the_socket_of_an_expired_token_open() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=0.2)

    async def hang() -> Any:
        await asyncio.Event().wait()

    app.store.faults["revoked_since"] = hang
    with frozen() as clock:
        async with opened(app, "/closing", token=soon()) as client:
            await greeted(client)
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED
    assert "revoked_since" in app.store.calls


async def test_socket_opened_in_the_turn_in_which_the_last_one_ended_closes() -> None:
    """In an app that does not serve, nothing watches while there is no socket."""
    watched: list[int] = []
    number = 8

    async def closes(turns: int, clock: Any) -> None:
        app = socket_app()
        gate = asyncio.Event()

        @app.websocket("/first")
        @qje.jwt_required(close_with_token=True)
        async def first() -> None:
            await websocket.accept()
            await gate.wait()

        @app.websocket("/second")
        async def second() -> None:
            await websocket.accept()
            await gate.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            # The first one is forgotten with its connection.
            gc.collect()
            # Not asking the store, which might wait.
            await qje.verify_jwt_in_request(close_with_token=True, skip_revocation_check=True)
            await websocket.send_json("watched")
            while True:
                await websocket.receive()

        token = hs_token(access_claims(exp=START + 100))
        async with (
            opened(app, "/first", token=token) as one,
            opened(app, "/second", token=token) as other,
        ):
            await one.next("websocket.accept")
            await other.next("websocket.accept")
            gate.set()
            assert await other.hear() == "watched"
            watched.append(turns)
            if len(watched) == number:
                clock.shift(200)
            assert await closing(other) == HAS_EXPIRED

    with frozen() as clock:
        await asyncio.gather(*[closes(turns, clock) for turns in range(number)])


# --- At revocation -------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["session", "sessions", "token", "reuse"])
@pytest.mark.parametrize("staleness", [0, 0.2, 5])
@pytest.mark.parametrize("worker", ["own", "other"])
async def test_socket_closes_when_its_token_is_revoked(
    what: str, staleness: float, worker: str
) -> None:
    store = WatchedStore()
    app = socket_app(store, JWT_REVOCATION_MAX_STALENESS=staleness, JWT_REFRESH_GRACE=0)
    other = app if worker == "own" else session_app(store, JWT_REFRESH_GRACE=0)
    tokens = await log_in(app)
    access = hs_token(access_of(tokens.session_id, jti="one"))
    async with app.test_app(), opened(app, "/closing", token=access) as client:
        await greeted(client)
        began = time.monotonic()
        async with other.app_context():
            if what == "session":
                await qje.revoke_session(tokens.session_id)
            elif what == "sessions":
                await qje.revoke_sessions("alice")
            elif what == "token":
                await qje.revoke_token(access)
        if what == "reuse":
            await rotated(other, tokens.refresh_token)
            await ask(other, "/rotate", tokens.refresh_token, method="POST")
        assert await closing(client) == (IS_REVOKED if what == "token" else HAS_ENDED)
        # One poll, and ample for a slow machine.
        assert time.monotonic() - began < 8


async def test_socket_without_a_poll_closes_when_it_is_revoked() -> None:
    """In a test client nothing polls; the store is asked."""
    app = socket_app()
    tokens = await log_in(app)
    async with opened(app, "/closing", token=tokens.access_token) as client:
        await greeted(client)
        async with app.app_context():
            await qje.revoke_session(tokens.session_id)
        assert await closing(client) == HAS_ENDED


async def test_sockets_of_others_stay_open() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=0.2)
    alice, second, bob = await log_in(app), await log_in(app), await log_in(app, "bob")
    async with (
        app.test_app(),
        opened(app, "/closing", token=alice.access_token) as first,
        opened(app, "/closing", token=second.access_token) as other,
        opened(app, "/closing", token=bob.access_token) as bobs,
        opened(app, "/open-ended", token=alice.access_token) as unending,
    ):
        for client, identity in ((first, "alice"), (other, "alice"), (bobs, "bob")):
            await greeted(client, identity)
        await greeted(unending)
        async with app.app_context():
            await qje.revoke_session(alice.session_id)
        assert await closing(first) == HAS_ENDED
        assert await said(other, "hello") == "alice"
        assert await said(bobs, "hello") == "bob"
        assert await said(unending, "hello") == "alice"


async def test_all_sockets_of_an_identity_close() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=0.2)
    sessions = [await log_in(app) for _ in range(5)]
    async with app.test_app():
        contexts = [
            opened(app, "/closing", token=tokens.access_token)
            for tokens in sessions
            for _ in range(6)
        ]
        clients = [await context.__aenter__() for context in contexts]
        for client in clients:
            await greeted(client)
        async with app.app_context():
            assert await qje.revoke_sessions("alice", keep=sessions[0].session_id) == 4
        for client in clients[6:]:
            assert await closing(client) == HAS_ENDED
        for client in clients[:6]:
            assert await said(client, "hello") == "alice"
        for context in contexts:
            await context.__aexit__(None, None, None)


@pytest.mark.parametrize("way", ["own task", "receiver", "verified in a task"])
async def test_client_that_ignores_the_close_is_not_heard_any_more(way: str) -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=0.2)
    tokens = await log_in(app)
    heard: list[Any] = []

    async def receive() -> None:
        while True:
            heard.append(await websocket.receive())
            await websocket.send_json(len(heard))

    @app.websocket("/stubborn")
    async def stubborn() -> None:
        verification = qje.verify_jwt_in_request(close_with_token=True)
        await (asyncio.create_task(verification) if way == "verified in a task" else verification)
        await websocket.accept()
        await (asyncio.create_task(receive()) if way == "receiver" else receive())

    async with app.test_app(), opened(app, "/stubborn", token=tokens.access_token) as client:
        client.ignores_close = True
        await client.next("websocket.accept")
        assert await said(client, "before") == 1
        async with app.app_context():
            await qje.revoke_session(tokens.session_id)
        message = await client.next("websocket.close")
        assert (message["code"], message["reason"]) == HAS_ENDED
        for _ in range(3):
            client.say("after")
            await asyncio.sleep(0.01)
        # Quart 0.23 waits for the client to leave.
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(client.next("end"), 1)
    assert heard == ["before"]


async def test_socket_that_skips_the_check_outlives_a_revocation() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=0.2)
    tokens = await log_in(app)
    async with app.test_app(), opened(app, "/unchecked", token=tokens.access_token) as client:
        await greeted(client)
        async with app.app_context():
            await qje.revoke_session(tokens.session_id)
        await polled(app.store)
        assert await said(client, "hello") == "alice"


async def test_socket_that_skips_the_check_opens_and_stays_with_a_revoked_token() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=0.2)
    tokens = await log_in(app)
    async with app.test_app():
        async with app.app_context():
            await qje.revoke_session(tokens.session_id)
        async with opened(app, "/unchecked", token=tokens.access_token) as client:
            await greeted(client)
            await polled(app.store)
            assert await said(client, "hello") == "alice"


async def test_socket_that_opened_while_its_session_ended_closes() -> None:
    """The revocation falls between the check of the handshake and the first poll after it."""
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=0.2)
    tokens = await log_in(app)

    @manager_of(app).user_lookup_loader
    async def load(header: Any, claims: Any) -> Any:
        await qje.revoke_session(tokens.session_id)
        return claims["identity"]

    async with app.test_app(), opened(app, "/closing", token=tokens.access_token) as client:
        message = await client.next_message()
        if message["type"] == "websocket.accept":
            assert await closing(client) == HAS_ENDED
        else:
            assert message["type"] == "websocket.http.response.start"
            assert message["status"] == 401


async def test_store_that_is_away_for_a_moment_does_not_close_good_sockets() -> None:
    store = WatchedStore()
    app = socket_app(store, JWT_REVOCATION_MAX_STALENESS=60)
    tokens = await log_in(app)
    async with app.test_app(), opened(app, "/closing", token=tokens.access_token) as client:
        await greeted(client)
        await until(lambda: "revoked_since" in store.calls)
        store.faults.update(check=OSError("down"), revoked_since=OSError("down"))
        await polled(store)
        assert await said(client, "hello") == "alice"
        store.faults.clear()
        await store.inner.revoke_session(tokens.session_id)
        assert await closing(client) == HAS_ENDED


# --- renew_websocket -----------------------------------------------------------------------------


async def test_new_token_moves_the_end() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=QUICK)
    with frozen() as clock:
        async with opened(app, "/closing", token=soon()) as client:
            await greeted(client)
            longer = hs_token(access_claims(exp=START + 1000, jti="longer"))
            assert await said(client, f"renew {longer}") == "longer"
            clock.shift(999)
            await polled(app.store)
            assert await said(client, "hello") == "alice"


async def test_end_can_be_moved_again_and_again() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=QUICK)
    with frozen() as clock:
        async with opened(app, "/closing", token=soon()) as client:
            await greeted(client)
            for number in (2, 3):
                token = hs_token(access_claims(exp=START + number, jti=str(number)))
                assert await said(client, f"renew {token}") == str(number)
                clock.shift(1)
                await polled(app.store)
                assert await said(client, "hello") == "alice"
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


async def test_token_of_the_session_moves_the_end() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=QUICK, JWT_ACCESS_TOKEN_EXPIRES=60)
    with frozen() as clock:
        tokens = await log_in(app)
        async with opened(app, "/closing", token=tokens.access_token) as client:
            await greeted(client)
            clock.shift(30)
            again = await rotated(app, tokens.refresh_token)
            expected = claims_of(again.access_token)["jti"]
            assert await said(client, f"renew {again.access_token}") == expected
            clock.shift(59)
            await polled(app.store)
            assert await said(client, "hello") == "alice"
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


async def test_renewed_socket_ends_with_the_new_token() -> None:
    app = socket_app()
    async with opened(app, "/closing", token=hs_token(access_claims())) as client:
        await greeted(client)
        token = hs_token(access_claims(jti="two"))
        assert await said(client, f"renew {token}") == "two"
        async with app.app_context():
            await qje.revoke_token(token)
        assert await closing(client) == IS_REVOKED


async def test_earlier_end_of_a_new_token_counts() -> None:
    app = socket_app()
    with frozen() as clock:
        async with opened(app, "/closing", token=hs_token(access_claims())) as client:
            await greeted(client)
            assert await said(client, f"renew {soon(jti='sooner')}") == "sooner"
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


async def refusal(client: Socket, token: str) -> str:
    """The name of the error with which a renewal is refused; the socket goes on."""
    name, _ = await said(client, f"renew {token}")
    assert await said(client, "hello") == "alice"
    return name


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (hs_token(access_claims(identity="bob")), "WrongTokenError"),
        (hs_token(access_claims(identity=["alice"])), "WrongTokenError"),
        (hs_token(access_claims(iss="another")), "WrongTokenError"),
        (hs_token(access_claims(type="refresh", fresh=...)), "WrongTokenError"),
        (hs_token(access_claims(exp=1)), "ExpiredSignatureError"),
        (hs_token(access_claims(), secret=OTHER_SECRET), "InvalidSignatureError"),
        ("x.y.z", "DecodeError"),
        ("", "DecodeError"),
        (hs_token(access_claims(identity=...)), "JWTDecodeError"),
    ],
    ids=lambda value: str(value)[-12:],
)
async def test_token_that_would_open_nothing_or_another_one_does_not_renew(
    token: str, error: str
) -> None:
    app = socket_app()
    with frozen() as clock:
        async with opened(app, "/closing", token=soon()) as client:
            await greeted(client)
            assert await refusal(client, token) == error
            # The end has not moved.
            clock.shift(1)
            assert await closing(client) == HAS_EXPIRED


@pytest.mark.parametrize(
    ("identity", "other"),
    [(1, True), (0, False), (True, 1), ({"id": 0}, {"id": False}), ([1], [True])],
    ids=repr,
)
async def test_identity_that_is_equal_to_python_alone_does_not_renew(
    identity: Any, other: Any
) -> None:
    app = socket_app()
    async with opened(app, "/closing", token=hs_token(access_claims(identity=identity))) as client:
        await greeted(client, identity)
        token = hs_token(access_claims(identity=other, jti="other"))
        name, _ = await said(client, f"renew {token}")
        assert name == "WrongTokenError"
        token = hs_token(access_claims(identity=identity, jti="two"))
        assert await said(client, f"renew {token}") == "two"


async def test_token_of_another_session_does_not_renew() -> None:
    app = socket_app()
    one, two = await log_in(app), await log_in(app)
    async with opened(app, "/closing", token=one.access_token) as client:
        await greeted(client)
        assert await refusal(client, two.access_token) == "WrongTokenError"
        assert await refusal(client, hs_token(access_claims())) == "WrongTokenError"
        refresh = hs_token(refresh_of(one.session_id, 0))
        assert await refusal(client, refresh) == "WrongTokenError"
        assert await refusal(client, one.refresh_token) == "WrongTokenError"
    async with opened(app, "/closing", token=hs_token(access_claims())) as client:
        await greeted(client)
        assert await refusal(client, one.access_token) == "WrongTokenError"


async def test_revoked_token_does_not_renew() -> None:
    app = socket_app()
    tokens = await log_in(app)
    revoked = hs_token(access_of(tokens.session_id, jti="revoked"))
    async with app.app_context():
        await qje.revoke_token(revoked)
    async with opened(app, "/closing", token=tokens.access_token) as client:
        await greeted(client)
        assert await refusal(client, revoked) == "RevokedTokenError"


async def test_callback_of_the_app_refuses_a_renewal() -> None:
    app = socket_app()
    manager_of(app).token_in_blocklist_loader(lambda header, claims: claims["jti"] == "listed")
    async with opened(app, "/closing", token=hs_token(access_claims())) as client:
        await greeted(client)
        listed = hs_token(access_claims(jti="listed"))
        assert await refusal(client, listed) == "RevokedTokenError"


async def test_renewal_is_held_to_the_rules_of_its_socket() -> None:
    app = socket_app()
    async with opened(app, "/fresh", token=hs_token(access_claims(fresh=True))) as client:
        await greeted(client)
        stale = hs_token(access_claims(jti="stale"))
        assert await refusal(client, stale) == "FreshTokenRequired"
        fresh = hs_token(access_claims(jti="fresh", fresh=True))
        assert await said(client, f"renew {fresh}") == "fresh"
    async with opened(app, "/scoped", token=hs_token(access_claims(scope="chat"))) as client:
        await greeted(client)
        mute = hs_token(access_claims(scope="mail"))
        assert await refusal(client, mute) == "InsufficientScopeError"
        chatty = hs_token(access_claims(scope="mail chat", jti="chatty"))
        assert await said(client, f"renew {chatty}") == "chatty"
    async with opened(
        app, "/refresh", token=hs_token(access_claims(type="refresh", fresh=...))
    ) as client:
        await greeted(client)
        assert await refusal(client, hs_token(access_claims())) == "WrongTokenError"


async def test_renewal_with_a_store_that_is_away_is_an_error_and_the_socket_goes_on() -> None:
    app = socket_app(JWT_REVOCATION_MAX_STALENESS=60)
    token = hs_token(access_claims())
    async with opened(app, "/closing", token=token) as client:
        await greeted(client)
        app.store.faults["check"] = OSError("down")
        assert await refusal(client, hs_token(access_claims(jti="two"))) == "TokenStoreError"


async def test_socket_that_does_not_close_is_renewed_by_the_same_rules_or_not_at_all() -> None:
    """The contract leaves open whether there is anything to renew."""
    app = socket_app()
    async with opened(app, "/open-ended", token=hs_token(access_claims())) as client:
        await greeted(client)
        answer = await said(client, f"renew {hs_token(access_claims(jti='two'))}")
        assert answer == "two" or answer[0] == "RuntimeError"
        bob = hs_token(access_claims(identity="bob"))
        assert await refusal(client, bob) in ("RuntimeError", "WrongTokenError")


async def test_socket_without_a_token_cannot_be_renewed() -> None:
    app = socket_app()
    for path in ("/optional", "/bare"):
        async with opened(app, path) as client:
            await greeted(client, None)
            name, _ = await said(client, f"renew {hs_token(access_claims())}")
            assert name in ("RuntimeError", "NoAuthorizationError", "WrongTokenError")
            # It has not logged in anybody, either.
            assert await said(client, "hello") is None


async def test_renewal_outside_a_websocket_is_a_runtime_error() -> None:
    app = socket_app()
    async with app.app_context():
        with pytest.raises(RuntimeError):
            await qje.renew_websocket(hs_token(access_claims()))

    @app.get("/request")
    @qje.jwt_required
    async def request() -> str:
        with pytest.raises(RuntimeError):
            await qje.renew_websocket(hs_token(access_claims()))
        return "in"

    assert await ask(app, "/request", access_claims()) == (200, "in")


async def test_renewals_of_several_sockets_do_not_mix() -> None:
    app = socket_app()
    with frozen() as clock:
        async with (
            opened(app, "/closing", token=soon()) as stays,
            opened(app, "/closing", token=soon(identity="bob")) as goes,
        ):
            await greeted(stays)
            await greeted(goes, "bob")
            longer = hs_token(access_claims(exp=START + 1000, jti="longer"))
            assert await said(stays, f"renew {longer}") == "longer"
            clock.shift(1)
            assert await closing(goes) == HAS_EXPIRED
            assert await said(stays, "hello") == "alice"


# --- What is left behind -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["bye", "leave"])
async def test_view_that_ends_before_its_token_leaves_nothing_behind(way: str) -> None:
    app = socket_app()
    tokens = await log_in(app)
    before = asyncio.all_tasks()
    async with opened(app, "/closing", token=tokens.access_token) as client:
        await greeted(client)
        if way == "bye":
            client.say("bye")
            message = await client.next("websocket.close")
            assert message["code"] != 4401
    await asyncio.sleep(0)
    await until(lambda: asyncio.all_tasks() <= before)


async def test_view_that_fails_before_its_token_ends_fails_as_ever() -> None:
    app = socket_app()
    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    # What pytest captures of the log keeps the traceback, and so the connection.
    app.logger.disabled = True

    @app.websocket("/fails")
    @qje.jwt_required(close_with_token=True)
    async def fails() -> None:
        await websocket.accept()
        await websocket.receive()
        raise LookupError("of the view")

    before = asyncio.all_tasks()
    async with opened(app, "/fails", token=hs_token(access_claims())) as client:
        await client.next("websocket.accept")
        client.say("now")
        assert (await client.next("websocket.close"))["code"] != 4401
        await client.next("end")

    def is_over() -> bool:
        # The traceback and the connection refer to each other.
        gc.collect()
        return asyncio.all_tasks() <= before

    await until(is_over)


async def test_closed_sockets_leave_no_task_behind() -> None:
    app = socket_app()
    with frozen() as clock:
        before = asyncio.all_tasks()
        for seconds in (1, 2):
            token = hs_token(access_claims(exp=START + seconds))
            async with opened(app, "/closing", token=token) as client:
                await greeted(client)
                clock.shift(1)
                assert await closing(client) == HAS_EXPIRED
        await until(lambda: asyncio.all_tasks() <= before)


async def test_view_can_clean_up_when_its_token_ends() -> None:
    app = socket_app()
    with frozen() as clock:
        async with opened(app, "/closing", token=soon()) as client:
            await greeted(client)
            clock.shift(1)
            await closing(client)
    assert app.ended.count("ended") == 1


# --- Quart's test client -------------------------------------------------------------------------


async def test_test_client_sees_the_close() -> None:
    app = socket_app()
    tokens = await log_in(app)
    headers = bearer(tokens.access_token)
    async with app.test_app() as running:
        client = running.test_client()
        async with client.websocket("/closing", headers=headers) as connection:
            await connection.send("hello")
            assert json.loads(await connection.receive()) == "alice"
            async with app.app_context():
                await qje.revoke_session(tokens.session_id)
            error = getattr(connections, "WebsocketDisconnectError", None)
            if error is None:
                # Since 0.23 it only ends, and does not tell the code.
                await asyncio.wait_for(connection._task, 20)
                return
            with pytest.raises(error) as raised:
                await asyncio.wait_for(connection.receive(), 20)
    assert raised.value.args[0] == 4401


@pytest.mark.parametrize("value", [None, 5, "yes", []], ids=repr)
def test_bad_option_is_told_at_the_start(value: Any) -> None:
    app = socket_app(JWT_WEBSOCKET_CLOSE_WITH_TOKEN=value)
    with pytest.raises(RuntimeError, match="JWT_WEBSOCKET_CLOSE_WITH_TOKEN"):
        manager_of(app).check(app)


async def test_verify_token_has_no_such_argument() -> None:
    app = socket_app()
    async with app.app_context():
        with pytest.raises(TypeError):
            await qje.verify_token(hs_token(access_claims()), close_with_token=True)


async def test_renewal_does_not_take_what_is_no_text() -> None:
    app = socket_app()

    @app.websocket("/wrong")
    @qje.jwt_required(close_with_token=True)
    async def wrong() -> None:
        for value in (None, 5, {}):
            with pytest.raises((jwt.DecodeError, TypeError)):
                await qje.renew_websocket(value)  # type: ignore[arg-type]
        await websocket.send_json("done")

    async with opened(app, "/wrong", token=hs_token(access_claims())) as client:
        await client.next("websocket.accept")
        assert await client.hear() == "done"
