"""Revocation by the token store: what is refused, where, and what is asked for it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jwt
import pytest
from quart import Quart, abort, websocket
from werkzeug.exceptions import HTTPException, NotFound

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    LONG_AGO,
    OTHER_SECRET,
    access_claims,
    ask,
    bearer,
    hs_token,
    in_form,
    make_app,
    manager_of,
    refresh_claims,
)
from support.asgi import opened
from support.sessions import (
    ENDED,
    METHODS,
    REVOKED,
    START,
    UNAVAILABLE,
    WatchedStore,
    access_of,
    frozen,
    log_in,
    polled,
    refresh_of,
    revoked_ids,
    rotate,
    running_from,
    session_app,
    state_of,
    until,
)

DAY = 24 * 60 * 60
JTI = access_claims()["jti"]


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def app(store: WatchedStore) -> Quart:
    return session_app(store)


async def revoke(app: Quart, *token: Any) -> None:
    async with app.app_context():
        await qje.revoke_token(*token)


@contextlib.asynccontextmanager
async def polling(app: Quart) -> AsyncIterator[None]:
    """The app serves, and has looked for revocations at least once."""
    app.store.forget()  # type: ignore[attr-defined]
    async with app.test_app():
        await polled(app.store, 1)  # type: ignore[attr-defined]
        yield


# --- revoke_token --------------------------------------------------------------------------------


@pytest.mark.parametrize("claims", [access_claims(), refresh_claims()], ids=["access", "refresh"])
async def test_current_token_is_revoked(app: Quart, claims: dict[str, Any]) -> None:
    path = "/protected" if claims["type"] == "access" else "/refresh"
    assert (await ask(app, path, claims))[0] == 200
    assert (await ask(app, "/token", claims, method="DELETE"))[0] == 200
    assert await ask(app, path, claims) == REVOKED
    assert await ask(app, "/token", claims, method="DELETE") == REVOKED
    # Another token, of the same identity.
    assert (await ask(app, path, {**claims, "jti": "another"}))[0] == 200


@pytest.mark.parametrize("form", ["str", "bytes", "decoded", "verified"])
@pytest.mark.parametrize("claims", [access_claims(), refresh_claims()], ids=["access", "refresh"])
async def test_token_or_its_claims_revoke_it(app: Quart, form: str, claims: dict[str, Any]) -> None:
    token = hs_token(claims)
    async with app.app_context():
        if form == "str":
            given: Any = token
        elif form == "bytes":
            given = token.encode()
        elif form == "decoded":
            given = qje.decode_token(token)
        else:
            given = await qje.verify_token(token, verify_type=False)
        assert await qje.revoke_token(given) is None
    path = "/protected" if claims["type"] == "access" else "/refresh"
    assert await ask(app, path, claims) == REVOKED
    assert await revoked_ids(app.store) == {("token", JTI)}


async def test_claims_of_the_request_revoke_it(app: Quart) -> None:
    @app.delete("/own")
    @qje.jwt_required
    async def own() -> dict[str, Any]:
        await qje.revoke_token(qje.get_jwt())
        return {}

    assert (await ask(app, "/own", access_claims(), method="DELETE"))[0] == 200
    assert await ask(app, "/protected", access_claims()) == REVOKED


FORGERIES = {
    "other key": (hs_token(access_claims(), secret=OTHER_SECRET), jwt.InvalidSignatureError),
    "altered": (hs_token(access_claims())[:-4] + "AAAA", jwt.InvalidSignatureError),
    "none": (hs_token(access_claims(), header={"alg": "none"}), jwt.InvalidTokenError),
    "no token": ("x.y.z", jwt.DecodeError),
    "empty": ("", jwt.DecodeError),
    "not yet": (hs_token(access_claims(nbf=FAR_FUTURE)), jwt.ImmatureSignatureError),
    "no identity": (hs_token(access_claims(identity=...)), qje.JWTDecodeError),
}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["str", "bytes"])
async def test_token_that_does_not_verify_revokes_nothing(
    app: Quart, name: str, as_bytes: bool
) -> None:
    """Otherwise anybody could log out whom they like (CVE-2026-55735)."""
    token, error = FORGERIES[name]
    async with app.app_context():
        with pytest.raises(error):
            await qje.revoke_token(token.encode() if as_bytes else token)
    assert await revoked_ids(app.store) == set()
    assert "revoke_token" not in app.store.calls
    assert (await ask(app, "/protected", access_claims()))[0] == 200


async def test_expired_token_revokes_no_other(app: Quart) -> None:
    """Whether that is an error is left open: there is nothing to revoke any more."""
    async with app.app_context():
        with contextlib.suppress(jwt.ExpiredSignatureError):
            await qje.revoke_token(hs_token(access_claims(exp=1, jti="expired")))
        with pytest.raises(jwt.InvalidSignatureError):
            await qje.revoke_token(hs_token(access_claims(exp=1), secret=OTHER_SECRET))
    assert await revoked_ids(app.store) <= {("token", "expired")}
    assert (await ask(app, "/protected", access_claims()))[0] == 200


@pytest.mark.parametrize(
    "value", [5, [], object(), True, 1.5, ("a",)], ids=lambda value: type(value).__name__
)
async def test_what_is_neither_token_nor_claims_is_an_error(app: Quart, value: Any) -> None:
    async with app.app_context():
        with pytest.raises((TypeError, jwt.DecodeError)):
            await qje.revoke_token(value)
    assert "revoke_token" not in app.store.calls


@pytest.mark.parametrize(
    "token",
    [hs_token(access_claims(jti=...)), {"identity": "alice", "exp": FAR_FUTURE}, {}],
    ids=["encoded", "claims", "empty"],
)
async def test_token_without_an_identifier_is_an_error(app: Quart, token: Any) -> None:
    """Silence would be taken for success."""
    async with app.app_context():
        with pytest.raises((qje.JWTExtendedException, jwt.InvalidTokenError, ValueError)):
            await qje.revoke_token(token)
    assert "revoke_token" not in app.store.calls


async def test_current_token_without_an_identifier_is_an_error(app: Quart) -> None:
    status, _ = await ask(
        session_app(app.store, TESTING=False, PROPAGATE_EXCEPTIONS=False),
        "/token",
        access_claims(jti=...),
        method="DELETE",
    )
    assert status >= 400
    assert "revoke_token" not in app.store.calls


async def test_no_current_token_is_a_runtime_error(app: Quart) -> None:
    async with app.app_context():
        with pytest.raises(RuntimeError):
            await qje.revoke_token()
    assert app.store.calls == []


async def test_second_revocation_is_no_error(app: Quart) -> None:
    token = hs_token(access_claims())
    await revoke(app, token)
    await revoke(app, token)
    assert await revoked_ids(app.store) == {("token", JTI)}


@pytest.mark.parametrize("leeway", [0, 30])
async def test_entry_lasts_until_the_token_has_expired_with_leeway(leeway: int) -> None:
    app = session_app(WatchedStore(), JWT_DECODE_LEEWAY=leeway)
    with frozen() as clock:
        claims = access_claims(exp=START + 100)
        await revoke(app, hs_token(claims))
        (_, keywords) = app.store.arguments[app.store.calls.index("revoke_token")]
        assert keywords["lifetime"] >= 100 + leeway
        clock.shift(99)
        assert await ask(app, "/protected", claims) == REVOKED
        if leeway:
            clock.shift(leeway)
            assert await ask(app, "/protected", claims) == REVOKED


async def test_entry_of_a_token_without_an_end_lasts_for_ever(app: Quart) -> None:
    claims = access_claims(exp=...)
    with frozen() as clock:
        await revoke(app, hs_token(claims))
        (_, keywords) = app.store.arguments[app.store.calls.index("revoke_token")]
        assert keywords["lifetime"] is None
        clock.shift(1000 * DAY)
        assert await ask(app, "/protected", claims) == REVOKED


@pytest.mark.parametrize("staleness", [0, 60])
@pytest.mark.parametrize(
    "jti", ["x" * 65, "x" * 5000, "ü", "日本", "a\nb", "a b\x00", " ", "*", "{x}", "x" * 64]
)
async def test_identifiers_of_any_kind_reach_the_store_in_short_ascii(
    jti: str, staleness: int
) -> None:
    app = session_app(WatchedStore(), JWT_REVOCATION_MAX_STALENESS=staleness)
    claims = access_claims(jti=jti)
    await revoke(app, hs_token(claims))
    assert await ask(app, "/protected", claims) == REVOKED
    assert (await ask(app, "/protected", access_claims(jti=jti + "2")))[0] == 200
    for name, (arguments, keywords) in zip(app.store.calls, app.store.arguments, strict=True):
        given = [*arguments, *keywords.values()]
        if name in ("revoke_token", "check"):
            texts = [value for value in given if isinstance(value, str)]
            assert texts
            for text in texts:
                assert text.isascii()
                assert text.isprintable()
                assert len(text) <= 64


async def test_long_identifier_is_not_its_hash(app: Quart) -> None:
    """A token whose jti is what another was hashed to must not be revoked by it."""
    await revoke(app, hs_token(access_claims(jti="x" * 100)))
    ((_, hashed),) = await revoked_ids(app.store)
    assert hashed != "x" * 64
    assert hashed != ("x" * 100)[:64]


async def test_rotation_with_a_revoked_refresh_token_rotates_nothing(app: Quart) -> None:
    tokens = await log_in(app)
    await revoke(app, tokens.refresh_token)
    before = await state_of(app.store)
    assert await rotate(app, tokens.refresh_token) == REVOKED
    assert await state_of(app.store) == before


async def test_revocations_that_have_ended_leave_the_memory_of_the_worker(app: Quart) -> None:
    """A token that could not have been made shows that an entry has gone."""
    names = [f"token {number}" for number in range(1000)]
    with frozen() as clock:
        async with app.app_context():
            for name in names:
                await qje.revoke_token(access_claims(jti=name, exp=START + 60))
            with pytest.raises(qje.RevokedTokenError):
                await qje.verify_token(hs_token(access_claims(jti=names[0])))
            clock.shift(3600)
            await qje.revoke_token(access_claims(jti="later"))
            # The store knows nothing, so that all that is refused is so by the worker.
            app.store.inner = qje.MemoryTokenStore()
            for name in names:
                await qje.verify_token(hs_token(access_claims(jti=name)))
            with pytest.raises(qje.RevokedTokenError):
                await qje.verify_token(hs_token(access_claims(jti="later")))


async def test_session_to_keep_that_no_database_takes_keeps_nothing(app: Quart) -> None:
    for _ in range(2):
        await log_in(app)
    for keep in ("\0", "\ud800", "x" * 31, "\0" * 30):
        tokens = await log_in(app)
        async with app.app_context():
            assert await qje.revoke_sessions("alice", keep=keep) > 0
            assert await qje.get_sessions("alice") == []
        assert await ask(app, "/protected", tokens.access_token) == ENDED
    given = [
        value
        for arguments, keywords in app.store.arguments
        for value in (*arguments, *keywords.values())
        if isinstance(value, str)
    ]
    assert all(text.isprintable() for text in given)


# --- Where what is revoked is refused ------------------------------------------------------------

SOCKETS = {"/socket": qje.jwt_required, "/optional-socket": qje.jwt_optional}


def full_app(**options: Any) -> Quart:
    app = session_app(WatchedStore(), **options)

    async def socket() -> None:
        app.calls.append("socket")  # type: ignore[attr-defined]
        await websocket.send_json(qje.get_jwt_identity())

    for path, decorate in SOCKETS.items():
        app.add_websocket(path, path[1:], decorate(socket))

    @app.get("/unchecked")
    @qje.jwt_required(skip_revocation_check=True)
    async def unchecked() -> dict[str, Any]:
        return {"identity": qje.get_jwt_identity()}

    @app.get("/by-hand")
    async def by_hand() -> dict[str, Any]:
        await qje.verify_jwt_in_request()
        app.calls.append("by-hand")  # type: ignore[attr-defined]
        return {"identity": qje.get_jwt_identity()}

    return app


async def revoked_claims(app: Quart, what: str) -> tuple[dict[str, Any], tuple[int, Any]]:
    """Claims of an access token that has been revoked, and how it is refused."""
    tokens = await log_in(app)
    async with app.app_context():
        if what == "token":
            claims = access_of(tokens.session_id, fresh=True)
            await qje.revoke_token(hs_token(claims))
            return claims, REVOKED
        if what == "session":
            await qje.revoke_session(tokens.session_id)
        elif what == "sessions":
            await qje.revoke_sessions("alice")
        return access_of(tokens.session_id, fresh=True), ENDED


WHAT = ["token", "session", "sessions"]
on_each = pytest.mark.parametrize("what", WHAT)
at_each_staleness = pytest.mark.parametrize("staleness", [0, 60])


@on_each
@at_each_staleness
@pytest.mark.parametrize("serving", [False, True])
@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh", "/by-hand"])
async def test_revoked_token_is_refused_by_every_view(
    path: str, what: str, staleness: float, serving: bool
) -> None:
    app = full_app(JWT_REVOCATION_MAX_STALENESS=staleness)
    async with app.test_app() if serving else contextlib.nullcontext():
        claims, answer = await revoked_claims(app, what)
        assert await ask(app, path, claims) == answer
    assert app.calls == []


@on_each
@at_each_staleness
async def test_revoked_refresh_token_is_refused(what: str, staleness: float) -> None:
    app = full_app(JWT_REVOCATION_MAX_STALENESS=staleness)
    claims, answer = await revoked_claims(app, what)
    refresh = refresh_of(claims["sid"], 0)
    assert await ask(app, "/refresh", refresh) == answer
    assert await rotate(app, refresh) == answer


@on_each
@at_each_staleness
@pytest.mark.parametrize("path", SOCKETS)
async def test_revoked_token_opens_no_websocket(what: str, staleness: float, path: str) -> None:
    app = full_app(JWT_REVOCATION_MAX_STALENESS=staleness)
    claims, answer = await revoked_claims(app, what)
    async with opened(app, path, token=hs_token(claims)) as client:
        assert (await client.refusal()).answer == answer
    assert app.calls == []


@on_each
@at_each_staleness
async def test_revoked_token_is_refused_where_the_app_is_protected(
    what: str, staleness: float
) -> None:
    app = full_app(JWT_REVOCATION_MAX_STALENESS=staleness)
    qje.protect(app)
    claims, answer = await revoked_claims(app, what)
    assert await ask(app, "/open", claims) == answer
    assert (await ask(app, "/open", access_claims(jti="good")))[0] == 200


@on_each
@at_each_staleness
async def test_verify_token_refuses_what_is_revoked(what: str, staleness: float) -> None:
    app = full_app(JWT_REVOCATION_MAX_STALENESS=staleness)
    claims, answer = await revoked_claims(app, what)
    error = qje.RevokedTokenError if what == "token" else qje.SessionEndedError
    async with app.app_context():
        with pytest.raises(error, match=answer[1]["msg"]) as raised:
            await qje.verify_token(hs_token(claims))
        assert type(raised.value) is error
        checked = await qje.verify_token(hs_token(claims), skip_revocation_check=True)
        assert checked["sid"] == claims["sid"]


@on_each
@at_each_staleness
async def test_check_can_be_skipped(what: str, staleness: float) -> None:
    app = full_app(JWT_REVOCATION_MAX_STALENESS=staleness)
    claims, _ = await revoked_claims(app, what)
    app.store.forget()
    assert await ask(app, "/unchecked", claims) == (200, {"identity": "alice"})
    assert "check" not in app.store.calls


@on_each
async def test_decode_token_checks_what_it_always_did(what: str) -> None:
    app = full_app()
    claims, _ = await revoked_claims(app, what)
    app.store.forget()
    async with app.app_context():
        assert qje.decode_token(hs_token(claims))["jti"] == claims["jti"]
        assert (await qje.decode_token_async(hs_token(claims)))["jti"] == claims["jti"]
    assert app.store.calls == []


async def test_token_that_fails_earlier_is_not_looked_up(app: Quart) -> None:
    for claims in (access_claims(exp=1), refresh_claims(), access_claims(identity=...)):
        assert (await ask(app, "/protected", claims))[0] in (401, 422)
    assert (await ask(app, "/protected", hs_token(access_claims(), secret=OTHER_SECRET)))[0] == 422
    assert (await ask(app, "/optional"))[0] == 200
    assert (await ask(app, "/open", access_claims()))[0] == 200
    assert app.store.calls == []


# --- Staleness 0 ---------------------------------------------------------------------------------


async def test_store_is_asked_once_about_each_token(app: Quart) -> None:
    tokens = await log_in(app)
    for claims in (access_claims(), access_of(tokens.session_id), tokens.access_token):
        app.store.forget()
        assert (await ask(app, "/protected", claims))[0] == 200
        assert app.store.calls == ["check"]


async def test_store_is_asked_about_session_and_token(app: Quart) -> None:
    tokens = await log_in(app)
    app.store.forget()
    await ask(app, "/protected", access_of(tokens.session_id, jti="own"))
    await ask(app, "/protected", access_of(tokens.session_id, jti=...))
    await ask(app, "/protected", access_claims(jti="own"))
    asked = [(*arguments, *keywords.values()) for arguments, keywords in app.store.arguments]
    assert asked == [(tokens.session_id, "own"), (tokens.session_id, None), (None, "own")]


async def test_token_with_neither_session_nor_identifier_needs_no_store(app: Quart) -> None:
    assert (await ask(app, "/protected", access_claims(jti=...)))[0] == 200
    assert app.store.calls == []


async def test_two_checks_in_one_request_ask_no_more_than_the_decorators_say(app: Quart) -> None:
    """A hook and a decorator verify the same token of the same request."""

    @app.get("/both")
    @qje.jwt_required
    async def both() -> dict[str, Any]:
        return {"identity": qje.get_jwt_identity()}

    app.before_request(qje.verify_jwt_in_request_optional)
    assert (await ask(app, "/both", access_claims()))[0] == 200
    assert set(app.store.calls) == {"check"}
    assert len(app.store.calls) <= 2


async def test_session_that_the_store_lost_has_ended(app: Quart) -> None:
    tokens = await log_in(app)
    assert (await ask(app, "/protected", tokens.access_token))[0] == 200
    app.store.inner = qje.MemoryTokenStore()
    assert await ask(app, "/protected", tokens.access_token) == ENDED
    assert await rotate(app, tokens.refresh_token) == ENDED


async def test_revocation_by_another_worker_is_seen_at_once(store: WatchedStore) -> None:
    one, two = session_app(store), session_app(store)
    tokens = await log_in(one)
    assert (await ask(two, "/protected", tokens.access_token))[0] == 200
    async with one.app_context():
        await qje.revoke_session(tokens.session_id)
    assert await ask(two, "/protected", tokens.access_token) == ENDED
    await revoke(one, hs_token(access_claims()))
    assert await ask(two, "/protected", access_claims()) == REVOKED


@pytest.mark.parametrize("answer", [None, "", "LIVE", "fine", True, 1, b"live", ["live"]], ids=repr)
async def test_answer_that_is_no_answer_lets_nobody_in(answer: Any) -> None:
    store = WatchedStore()
    app = session_app(store, TESTING=False, PROPAGATE_EXCEPTIONS=False)
    tokens = await log_in(app)

    async def answered() -> Any:
        return answer

    store.faults["check"] = answered
    assert (await ask(app, "/protected", tokens.access_token))[0] >= 400
    assert (await ask(app, "/optional", tokens.access_token))[0] >= 400
    assert app.calls == []


# --- Staleness N ---------------------------------------------------------------------------------

# Seconds of staleness; the poll then runs every 50 ms.
QUICK = 0.1


@pytest.fixture
def polling_app(store: WatchedStore) -> Quart:
    """It polls once a second; a machine that is busy for five would make it ask."""
    return session_app(store, JWT_REVOCATION_MAX_STALENESS=5)


async def test_polling_worker_asks_nothing_for_a_request() -> None:
    app = full_app(JWT_REVOCATION_MAX_STALENESS=5)
    tokens = await log_in(app)
    async with polling(app):
        app.store.forget()
        for _ in range(20):
            assert (await ask(app, "/protected", tokens.access_token))[0] == 200
            assert (await ask(app, "/protected", access_claims()))[0] == 200
        async with opened(app, "/socket", token=tokens.access_token) as client:
            await client.next("websocket.accept")
            assert await client.hear() == "alice"
        async with app.app_context():
            await qje.verify_token(tokens.access_token)
        assert set(app.store.calls) <= {"revoked_since"}


@pytest.mark.parametrize("what", ["session", "sessions", "token"])
@pytest.mark.slow
async def test_revocation_by_another_worker_is_seen_by_a_poll(
    store: WatchedStore, what: str
) -> None:
    worker = session_app(store, JWT_REVOCATION_MAX_STALENESS=5)
    other = session_app(store)
    tokens, kept = await log_in(other), await log_in(other, "bob")
    claims = access_of(tokens.session_id, jti="one")
    async with polling(worker):
        assert (await ask(worker, "/protected", claims))[0] == 200
        async with other.app_context():
            if what == "session":
                await qje.revoke_session(tokens.session_id)
            elif what == "sessions":
                await qje.revoke_sessions("alice")
            else:
                await qje.revoke_token(hs_token(claims))
        await polled(store)
        store.forget()
        answer = REVOKED if what == "token" else ENDED
        assert await ask(worker, "/protected", claims) == answer
        assert (await ask(worker, "/protected", kept.access_token))[0] == 200
        assert "check" not in store.calls


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.slow
async def test_revocation_by_the_worker_itself_is_seen_at_once(
    polling_app: Quart, what: str
) -> None:
    """No token works after its revocation returned."""
    async with polling(polling_app):
        for _ in range(5):
            claims, answer = await revoked_claims(polling_app, what)
            assert await ask(polling_app, "/protected", claims) == answer
            # The poll that follows does not forget it.
        await polled(polling_app.store)
        assert await ask(polling_app, "/protected", claims) == answer


async def test_reuse_ends_the_session_at_once_for_the_worker_itself(store: WatchedStore) -> None:
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=5, JWT_REFRESH_GRACE=0)
    tokens = await log_in(app)
    async with polling(app):
        assert (await rotate(app, tokens.refresh_token))[0] == 200
        assert (await rotate(app, tokens.refresh_token))[0] == 401
        assert await ask(app, "/protected", tokens.access_token) == ENDED


async def test_revocations_of_before_the_start_are_known(polling_app: Quart) -> None:
    claims, answer = await revoked_claims(polling_app, "session")
    await revoke(polling_app, hs_token(access_claims(jti="one")))
    async with polling(polling_app):
        polling_app.store.forget()
        assert await ask(polling_app, "/protected", claims) == answer
        assert await ask(polling_app, "/protected", access_claims(jti="one")) == REVOKED
        assert "check" not in polling_app.store.calls


async def test_without_a_poll_the_store_is_asked(polling_app: Quart) -> None:
    tokens = await log_in(polling_app)
    polling_app.store.forget()
    assert (await ask(polling_app, "/protected", tokens.access_token))[0] == 200
    assert polling_app.store.calls == ["check"]


async def test_poll_ends_with_the_app(polling_app: Quart) -> None:
    async with polling(polling_app):
        pass
    polling_app.store.forget()
    await asyncio.sleep(1.2)
    assert polling_app.store.calls == []


@pytest.mark.slow
async def test_poll_runs_again_when_the_app_serves_again(polling_app: Quart) -> None:
    tokens = await log_in(polling_app)
    for _ in range(2):
        async with polling(polling_app):
            polling_app.store.forget()
            assert (await ask(polling_app, "/protected", tokens.access_token))[0] == 200
            assert "check" not in polling_app.store.calls
    await polling_app.store.inner.revoke_session(tokens.session_id)
    # A set that has not been fed for long is not trusted.
    async with polling(polling_app):
        assert await ask(polling_app, "/protected", tokens.access_token) == ENDED


async def test_no_poll_runs_where_the_store_is_asked_each_time(app: Quart) -> None:
    async with app.test_app():
        await asyncio.sleep(0.1)
    assert app.store.calls == []


@pytest.mark.parametrize("error", [OSError("down"), TypeError("x"), ValueError("x")], ids=repr)
async def test_stale_worker_asks_the_store(store: WatchedStore, error: Exception) -> None:
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=QUICK)
    tokens = await log_in(app)
    async with polling(app):
        store.faults["revoked_since"] = error
        await polled(store)
        await asyncio.sleep(2 * QUICK)
        store.forget()
        assert (await ask(app, "/protected", tokens.access_token))[0] == 200
        assert "check" in store.calls
        await store.inner.revoke_session(tokens.session_id)
        assert await ask(app, "/protected", tokens.access_token) == ENDED
        # The poll did not give up.
        store.faults.clear()
        await polled(store)
        assert await ask(app, "/protected", tokens.access_token) == ENDED


async def test_stale_worker_whose_store_is_away_answers_503_until_it_is_back(
    store: WatchedStore,
) -> None:
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=QUICK)
    tokens = await log_in(app)
    async with polling(app):
        store.faults["revoked_since"] = store.faults["check"] = OSError("down")
        await polled(store)
        await asyncio.sleep(2 * QUICK)
        for path in ("/protected", "/optional"):
            assert await ask(app, path, tokens.access_token) == UNAVAILABLE
        assert app.calls == []
        store.faults.clear()

        async def recovered() -> bool:
            return (await ask(app, "/protected", tokens.access_token))[0] == 200

        await until(recovered)


async def test_poll_that_hangs_makes_the_worker_ask(store: WatchedStore) -> None:
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=QUICK)
    tokens = await log_in(app)

    async def hang() -> Any:
        await asyncio.Event().wait()

    async with polling(app):
        store.faults["revoked_since"] = hang
        await polled(store, 1)
        await asyncio.sleep(2 * QUICK)
        store.forget()
        assert (await ask(app, "/protected", tokens.access_token))[0] == 200
        assert store.calls.count("check") == 1


async def test_slow_poll_counts_from_its_beginning(store: WatchedStore) -> None:
    """What is revoked while a poll is under way may be missing from its result."""
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=QUICK)
    tokens = await log_in(app)
    moment, _ = await store.inner.revoked_since(0.0)
    ended = 0

    async def slow() -> Any:
        nonlocal ended
        await asyncio.sleep(1.5 * QUICK)
        ended += 1
        return moment, []

    async with polling(app):
        store.faults["revoked_since"] = slow
        await store.inner.revoke_session(tokens.session_id)
        await until(lambda: ended)
        while ended < 4:
            assert await ask(app, "/protected", tokens.access_token) == ENDED
            await asyncio.sleep(QUICK / 20)


@pytest.mark.slow
async def test_store_that_loses_its_data_revives_nothing_that_a_worker_knows(
    polling_app: Quart,
) -> None:
    app = polling_app
    tokens = await log_in(app)
    async with polling(app):
        async with app.app_context():
            await qje.revoke_session(tokens.session_id)
            await qje.revoke_token(hs_token(access_claims()))
        await polled(app.store)
        app.store.inner = qje.MemoryTokenStore()
        await polled(app.store, 3)
        app.store.forget()
        assert await ask(app, "/protected", tokens.access_token) == ENDED
        assert await ask(app, "/protected", access_claims()) == REVOKED
        assert "check" not in app.store.calls


@pytest.mark.slow
async def test_entries_leave_the_set_once_no_token_can_be_concerned(polling_app: Quart) -> None:
    """A token that could not have been made shows that the entry has gone."""
    app = polling_app
    with running_from() as clock:
        tokens = await log_in(app)
        claims = access_of(tokens.session_id, jti="two")
        async with polling(app):
            async with app.app_context():
                await qje.revoke_session(tokens.session_id)
                await qje.revoke_token(hs_token(access_claims(jti="one", exp=START + 3600)))
            await polled(app.store)
            assert await ask(app, "/protected", claims) == ENDED
            assert await ask(app, "/protected", access_claims(jti="one")) == REVOKED
            clock.shift(29 * DAY)
            await polled(app.store)
            assert await ask(app, "/protected", claims) == ENDED
            clock.shift(30 * DAY)
            await polled(app.store, 3)

            async def in_again() -> bool:
                answers = [
                    await ask(app, "/protected", claims),
                    await ask(app, "/protected", access_claims(jti="one")),
                ]
                return [status for status, _ in answers] == [200, 200]

            await until(in_again)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [-600, 600], ids=["behind", "ahead"])
async def test_entry_stays_until_the_token_expires_where_the_store_has_another_time(
    store: WatchedStore, seconds: int
) -> None:
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=5)
    now = store.inner._now
    store.inner._now = lambda: now() + seconds * 1000
    claims = access_claims(exp=START + 300)
    with running_from() as clock:
        async with polling(app):
            await store.inner.revoke_token(claims["jti"], lifetime=360)
            await polled(store)
            # The next polls do not return the entry again.
            clock.shift(120)
            await polled(store, 3)
            store.forget()
            assert await ask(app, "/protected", claims) == REVOKED
            assert "check" not in store.calls


@pytest.mark.slow
async def test_entry_stays_where_the_clock_of_the_worker_is_corrected(store: WatchedStore) -> None:
    """The clock was behind during the poll, for example because the machine had just started."""
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=5)
    now = store.inner._now
    ahead = 600
    store.inner._now = lambda: now() + ahead * 1000
    claims = access_claims(exp=START + 900)
    with running_from() as clock:
        async with polling(app):
            await store.inner.revoke_token(claims["jti"], lifetime=360)
            await polled(store)
            # The last polls do not return the entry again.
            clock.shift(60)
            await polled(store)
            ahead = 0
            clock.shift(640)
            await polled(store, 3)
            store.forget()
            assert await ask(app, "/protected", claims) == REVOKED
            assert "check" not in store.calls


@pytest.mark.slow
@pytest.mark.parametrize("number", [Decimal, Fraction, int])
async def test_times_of_any_numeric_type_are_understood(
    store: WatchedStore, number: Callable[[float], Any]
) -> None:
    """Some drivers of databases return Decimal."""
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=5)
    claims = access_claims()

    async def numeric() -> Any:
        moment = time.time()
        return number(moment), [("token", claims["jti"], number(moment + 300))]

    store.faults["revoked_since"] = numeric
    async with polling(app):
        await polled(store)
        store.forget()
        assert await ask(app, "/protected", claims) == REVOKED
        assert "check" not in store.calls


@pytest.mark.slow
async def test_revocation_that_becomes_visible_late_is_seen(store: WatchedStore) -> None:
    """Commits become visible out of order: polls overlap."""
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=5)
    tokens = await log_in(app)
    async with polling(app):
        await polled(store)
        await store.inner.revoke_session(tokens.session_id)
        moments = [
            arguments[0] if arguments else keywords["moment"]
            for name, (arguments, keywords) in zip(store.calls, store.arguments, strict=False)
            if name == "revoked_since"
        ]
        now, _ = await store.inner.revoked_since(0.0)
        assert moments[0] == 0.0
        assert all(moment < now for moment in moments)
        await polled(store)
        assert await ask(app, "/protected", tokens.access_token) == ENDED


def telling(store: WatchedStore, *entries: Any) -> None:
    """From now on polls are told these revocations, and no others."""

    async def told() -> Any:
        now, _ = await store.inner.revoked_since(0.0)
        return now, list(entries)

    store.faults["revoked_since"] = told


@pytest.mark.parametrize("later", [START + 3600, None], ids=["longer", "for ever"])
@pytest.mark.parametrize("kind", ["session", "token"])
@pytest.mark.slow
async def test_longer_end_that_is_told_later_counts(
    store: WatchedStore, kind: str, later: float | None
) -> None:
    """The store itself knows of none, so that all that is refused is so by the worker."""
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=QUICK)
    with running_from() as clock:
        tokens, short = await log_in(app), await log_in(app)
        answer = ENDED if kind == "session" else REVOKED
        longer_id = tokens.session_id if kind == "session" else "longer"
        short_id = short.session_id if kind == "session" else "short"
        claims = access_of(tokens.session_id, jti="longer")
        of_short = access_of(short.session_id, jti="short")
        telling(app.store, (kind, longer_id, START + 60), (kind, short_id, START + 60))
        async with polling(app):
            assert await ask(app, "/protected", claims) == answer
            assert await ask(app, "/protected", of_short) == answer
            telling(app.store, (kind, longer_id, later))
            await polled(app.store)
            telling(app.store)
            clock.shift(600)
            await polled(app.store)
            assert await ask(app, "/protected", claims) == answer
            assert (await ask(app, "/protected", of_short))[0] == 200


@pytest.mark.parametrize("end", [float("inf"), float("nan"), 1e30], ids=repr)
@pytest.mark.parametrize("kind", ["session", "token"])
async def test_end_that_is_no_moment_is_no_end(store: WatchedStore, kind: str, end: float) -> None:
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=QUICK)
    with running_from() as clock:
        tokens = await log_in(app)
        claims = access_of(tokens.session_id, jti="one")
        answer = ENDED if kind == "session" else REVOKED
        telling(app.store, (kind, tokens.session_id if kind == "session" else "one", end))
        async with polling(app):
            for days in (0, 1, 1000):
                clock.shift(days * DAY)
                await polled(app.store)
                assert await ask(app, "/protected", claims) == answer
                telling(app.store)


@pytest.mark.parametrize(
    "entry",
    [("jti", "one", None), ("Token", "one", None), ("token", b"one", None), (b"token", "one", 1.0)],
    ids=repr,
)
@pytest.mark.slow
async def test_revocation_in_other_words_is_logged_and_makes_the_worker_ask(
    store: WatchedStore, entry: Any, caplog: Any
) -> None:
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=QUICK)
    claims = access_claims(jti="one")
    async with polling(app):
        telling(store, entry)
        await polled(store)
        await asyncio.sleep(2 * QUICK)
        store.forget()
        assert (await ask(app, "/protected", claims))[0] == 200
        assert store.calls.count("check") == 1
        await store.inner.revoke_token("one", lifetime=None)
        assert await ask(app, "/protected", claims) == REVOKED
    # Once, and not for each poll.
    (record,) = [
        record
        for record in caplog.records
        if record.name == "quart_jwt_extended" and record.levelname == "ERROR"
    ]
    assert "revoked_since" in str(record.exc_info[1])


@pytest.mark.parametrize("sid", ["x", "\0", "0" * 31, "0" * 29 + "\n", "\ud800"], ids=ascii)
@pytest.mark.parametrize("staleness", [0, 5])
async def test_session_id_that_nobody_made_is_that_of_an_ended_session(
    store: WatchedStore, staleness: int, sid: str
) -> None:
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=staleness)
    async with app.test_app():
        for path in ("/protected", "/optional"):
            assert await ask(app, path, access_of(sid)) == ENDED
        assert await ask(app, "/refresh", refresh_of(sid, 0)) == ENDED
        assert await rotate(app, refresh_of(sid, 0)) == ENDED
        assert "check" not in store.calls
    assert app.calls == []


@pytest.mark.parametrize(
    "value", [-1, -0.1, True, False, "1", None, float("nan"), [], datetime.timedelta(seconds=-1)]
)
def test_bad_staleness_is_told_at_the_start(value: Any) -> None:
    app = session_app(JWT_REVOCATION_MAX_STALENESS=value)
    with pytest.raises(RuntimeError, match="JWT_REVOCATION_MAX_STALENESS"):
        manager_of(app).check(app)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1, 60, datetime.timedelta(seconds=5)], ids=str)
def test_good_staleness_is_accepted_at_the_start(value: Any) -> None:
    app = session_app(JWT_REVOCATION_MAX_STALENESS=value)
    manager_of(app).check(app)


# --- A store that fails --------------------------------------------------------------------------


def http_error() -> HTTPException:
    try:
        abort(404)
    except NotFound as error:
        return error
    raise AssertionError


ERRORS = [
    OSError("down"),
    ConnectionResetError(),
    TypeError("a bug in a store"),
    ValueError("a bug in a store"),
    KeyError("x"),
    AttributeError("x"),
    RuntimeError("x"),
    NotImplementedError(),
    asyncio.TimeoutError(),
    LookupError(),
    jwt.ExpiredSignatureError("x"),
    jwt.InvalidTokenError("x"),
    qje.NoAuthorizationError("x"),
    qje.RevokedTokenError("x"),
    qje.InvalidHeaderError("x"),
    http_error(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh", "/by-hand"])
async def test_whatever_the_store_raises_is_answered_with_503(error: Exception, path: str) -> None:
    """Never 401, at which a client throws its tokens away; and nobody gets in."""
    app = full_app()
    tokens = await log_in(app, fresh=True)
    app.store.faults["check"] = error
    response = await app.test_client().get(path, headers=bearer(tokens.access_token))
    assert (response.status_code, await response.get_json()) == UNAVAILABLE
    assert int(response.headers["Retry-After"]) > 0
    assert "WWW-Authenticate" not in response.headers
    assert app.calls == []


@pytest.mark.parametrize("path", SOCKETS)
async def test_store_that_fails_opens_no_websocket(path: str) -> None:
    app = full_app()
    tokens = await log_in(app)
    app.store.faults["check"] = OSError("down")
    async with opened(app, path, token=tokens.access_token) as client:
        refusal = await client.refusal()
    assert refusal.answer == UNAVAILABLE
    assert int(refusal.headers["retry-after"]) > 0
    assert app.calls == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_verify_token_raises_what_the_store_raised_as_a_store_error(
    error: Exception,
) -> None:
    app = full_app()
    tokens = await log_in(app)
    app.store.faults["check"] = error
    async with app.app_context():
        with pytest.raises(qje.TokenStoreError, match="Token store unavailable") as raised:
            await qje.verify_token(tokens.access_token)
    assert raised.value.__cause__ is error


async def test_revocation_that_the_store_did_not_take_is_no_success(app: Quart) -> None:
    """CVE-2020-15223: a store error must not look like a logout."""
    app.store.faults["revoke_token"] = OSError("down")
    async with app.app_context():
        with pytest.raises(qje.TokenStoreError):
            await qje.revoke_token(hs_token(access_claims()))
    assert await ask(app, "/token", access_claims(), method="DELETE") == UNAVAILABLE


@pytest.mark.parametrize("staleness", [0, 5])
async def test_cancellation_passes_through(staleness: float) -> None:
    store = WatchedStore()
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=staleness)
    tokens = await log_in(app)
    waiting = asyncio.Event()

    async def wait() -> Any:
        waiting.set()
        await asyncio.Event().wait()

    store.faults["check"] = wait

    async def verify() -> None:
        async with app.app_context():
            await qje.verify_token(tokens.access_token)

    task = asyncio.create_task(verify())
    await asyncio.wait_for(waiting.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("method", METHODS)
def test_store_that_lacks_a_method_is_a_type_error(method: str) -> None:
    members = {name: getattr(WatchedStore, name) for name in METHODS if name != method}
    incomplete = type("Incomplete", (), members)()
    with pytest.raises(TypeError, match=method):
        qje.JWTManager(token_store=incomplete)
    with pytest.raises(TypeError, match=method):
        make_app(token_store=incomplete)


@pytest.mark.parametrize(
    "store", [5, "memory", {}, qje.JWTManager, object()], ids=lambda value: type(value).__name__
)
def test_what_is_no_store_is_a_type_error(store: Any) -> None:
    with pytest.raises(TypeError):
        qje.JWTManager(token_store=store)


def test_class_in_the_place_of_a_store_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        qje.JWTManager(token_store=qje.MemoryTokenStore)


# --- Beside the callbacks of 0.1.0 ---------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("loader", ["token_in_blacklist_loader", "token_in_blocklist_loader"])
@at_each_staleness
async def test_callback_of_the_app_goes_on_beside_the_store(
    loader: str, is_async: bool, staleness: float
) -> None:
    app = session_app(JWT_BLACKLIST_ENABLED=True, JWT_REVOCATION_MAX_STALENESS=staleness)
    forms = {
        "token_in_blacklist_loader": lambda claims: claims["jti"] == "by the app",
        "token_in_blocklist_loader": lambda header, claims: claims["jti"] == "by the app",
    }
    getattr(manager_of(app), loader)(in_form(forms[loader], is_async))
    tokens = await log_in(app)
    await revoke(app, hs_token(access_claims(jti="by the store")))
    for jti in ("by the app", "by the store"):
        assert await ask(app, "/protected", access_claims(jti=jti)) == REVOKED
    assert (await ask(app, "/protected", tokens.access_token))[0] == 200
    assert await ask(app, "/protected", access_of(tokens.session_id, jti="by the app")) == REVOKED
    async with app.app_context():
        await qje.revoke_session(tokens.session_id)
    assert await ask(app, "/protected", tokens.access_token) == ENDED


async def test_store_is_asked_although_the_blacklist_is_off(app: Quart) -> None:
    await revoke(app, hs_token(access_claims()))
    app.config["JWT_BLACKLIST_ENABLED"] = False
    assert await ask(app, "/protected", access_claims()) == REVOKED


async def test_types_that_the_callback_checks_are_not_those_of_the_store(app: Quart) -> None:
    app.config["JWT_BLACKLIST_TOKEN_CHECKS"] = ["refresh"]
    await revoke(app, hs_token(access_claims()))
    assert await ask(app, "/protected", access_claims()) == REVOKED


async def test_app_without_a_store_knows_nothing_of_sessions() -> None:
    app = make_app()
    assert (await ask(app, "/protected", access_claims(sid="0" * 30)))[0] == 200
    assert (await ask(app, "/protected", access_claims(iat=LONG_AGO)))[0] == 200
