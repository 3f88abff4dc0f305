"""Sessions: how one begins, what its tokens say, how they rotate, and how it ends.

The contract is the rotation table: with G the generation in the store and g the one in the token,
a live session goes on where g = G, gives a pair of generation G again where g = G - 1 within the
grace, is revoked where g is older, and is left alone where g is higher.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
from typing import Any

import jwt
import pytest
from quart import Quart, Response
from werkzeug.local import LocalProxy

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    OTHER_SECRET,
    access_claims,
    ask,
    bearer,
    claims_of,
    hs_token,
    in_form,
    make_app,
    manager_of,
    refresh_claims,
    status_of,
    unhandled,
)
from support.asgi import LIMIT, Exchange, Raw
from support.oracle import MAX_NESTING, TOO_DEEP
from support.sessions import (
    ENDED,
    REUSED,
    REVOKED,
    START,
    UNAVAILABLE,
    WatchedStore,
    access_of,
    frozen,
    generation_of,
    log_in,
    refresh_of,
    rotate,
    rotated,
    session_app,
    sessions_of,
    state_of,
    until,
)

MINUTE, DAY = 60, 24 * 60 * 60
ACCESS, REFRESH = 15 * MINUTE, 30 * DAY


def seconds(number: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)


def moment(posix: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(posix, datetime.timezone.utc)


def is_idle_end(session: Any, posix: float) -> bool:
    """Whether a session ends with its refresh token; its exp is whole seconds, so rounded."""
    return moment(posix) <= session.expires_at <= moment(posix + 1)


def exp_of(token: str) -> Any:
    return claims_of(token).get("exp")


@pytest.fixture
def app() -> Quart:
    return session_app()


# --- Creation ------------------------------------------------------------------------------------


async def test_new_session_gives_two_tokens_and_its_id(app: Quart) -> None:
    tokens = await log_in(app)
    assert isinstance(tokens, qje.SessionTokens)
    assert tokens == (tokens.access_token, tokens.refresh_token, tokens.session_id)
    access, refresh = claims_of(tokens.access_token), claims_of(tokens.refresh_token)
    assert (access["type"], refresh["type"]) == ("access", "refresh")
    assert access["sid"] == refresh["sid"] == tokens.session_id
    assert access["identity"] == refresh["identity"] == "alice"
    assert access["jti"] != refresh["jti"]
    assert access["fresh"] is False
    assert "gen" not in access
    assert type(refresh["gen"]) is int
    assert refresh["gen"] == 0


async def test_new_session_is_known_by_what_was_given(app: Quart) -> None:
    with frozen():
        tokens = await log_in(app, metadata={"device": "Firefox", "n": [1, None, {"ü": 0.5}]})
        (session,) = await sessions_of(app)
        assert is_idle_end(session, START + REFRESH)
        assert session == qje.Session(
            id=tokens.session_id,
            identity="alice",
            generation=0,
            created_at=moment(START),
            rotated_at=moment(START),
            expires_at=session.expires_at,
            ends_at=None,
            metadata={"device": "Firefox", "n": [1, None, {"ü": 0.5}]},
        )


async def test_times_of_a_session_are_aware_and_utc(app: Quart) -> None:
    app.config["JWT_SESSION_MAX_AGE"] = DAY
    await log_in(app)
    (session,) = await sessions_of(app)
    for name in ("created_at", "rotated_at", "expires_at", "ends_at"):
        assert getattr(session, name).utcoffset() == datetime.timedelta(0)


async def test_session_ids_are_random_and_long_enough(app: Quart) -> None:
    ids = [(await log_in(app)).session_id for _ in range(200)]
    assert len(set(ids)) == 200
    # What says whose they are comes first; the 128 random bits behind it differ in each.
    assert len({session_id[8:] for session_id in ids}) == 200
    for session_id in ids:
        assert len(session_id) == 30
        assert session_id.isascii()
        assert session_id.replace("-", "").replace("_", "").isalnum()


async def test_tokens_of_a_session_open_their_views(app: Quart) -> None:
    tokens = await log_in(app, fresh=True)
    for path in ("/protected", "/optional", "/fresh"):
        assert (await ask(app, path, tokens.access_token))[0] == 200
    assert (await ask(app, "/refresh", tokens.refresh_token))[0] == 200
    assert (await ask(app, "/protected", tokens.refresh_token))[0] == 422
    assert (await ask(app, "/refresh", tokens.access_token))[0] == 422


async def test_fresh_and_claims_work_as_in_the_plain_creators(app: Quart) -> None:
    tokens = await log_in(
        app, fresh=True, user_claims={"role": "admin"}, additional_claims={"tenant": 7}
    )
    access, refresh = claims_of(tokens.access_token), claims_of(tokens.refresh_token)
    assert access["fresh"] is True
    assert access["user_claims"] == {"role": "admin"}
    assert access["tenant"] == refresh["tenant"] == 7
    assert "fresh" not in refresh
    assert "user_claims" not in refresh


async def test_user_claims_go_into_refresh_tokens_where_configured() -> None:
    app = session_app(JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    tokens = await log_in(app, user_claims={"role": "admin"})
    assert claims_of(tokens.refresh_token)["user_claims"] == {"role": "admin"}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_loaders_are_called_with_the_object_that_was_given(
    app: Quart, is_async: bool
) -> None:
    manager = manager_of(app)
    user = {"id": "alice", "role": "admin"}
    manager.user_identity_loader(in_form(lambda user: user["id"], is_async))
    manager.user_claims_loader(in_form(lambda user: {"role": user["role"]}, is_async))
    manager.additional_claims_loader(in_form(lambda user: {"tenant": len(user)}, is_async))
    tokens = await log_in(app, user)
    for token in tokens[:2]:
        claims = claims_of(token)
        assert (claims["identity"], claims["tenant"]) == ("alice", 2)
    assert claims_of(tokens.access_token)["user_claims"] == {"role": "admin"}
    assert [session.identity for session in await sessions_of(app)] == ["alice"]


@pytest.mark.parametrize("identity", [7, -1, 0, {"id": 7, "of": ["x"]}, ["a", 1], True, 1.5, "ü"])
async def test_identity_of_any_kind_is_found_again(app: Quart, identity: Any) -> None:
    tokens = await log_in(app, identity)
    for token in tokens[:2]:
        assert claims_of(token)["identity"] == identity
    (session,) = await sessions_of(app, identity)
    assert isinstance(session.identity, str)
    kept = session.identity
    assert (kept if isinstance(identity, str) else json.loads(kept)) == identity
    again = await rotated(app, tokens.refresh_token)
    assert claims_of(again.refresh_token)["identity"] == identity
    async with app.app_context():
        assert await qje.revoke_sessions(identity) == 1
    assert await sessions_of(app, identity) == []


async def test_identity_none_is_as_in_the_plain_creators(app: Quart) -> None:
    """Whatever those do with it, no half of a session may be left behind."""
    async with app.app_context():
        try:
            plain: Any = claims_of(qje.create_access_token(None))["identity"]
        except Exception as error:
            plain = type(error)
        if isinstance(plain, type):
            with pytest.raises(plain):
                await qje.create_session(None)
            assert await state_of(app.store, "null", "None") == ([[], []], [])
        else:
            tokens = await qje.create_session(None)
            assert claims_of(tokens.refresh_token)["identity"] is None
            assert len(await qje.get_sessions(None)) == 1


async def test_identity_that_is_no_json_is_a_type_error() -> None:
    store = WatchedStore()
    app = session_app(store)
    with pytest.raises(TypeError):
        await log_in(app, object())
    assert store.calls == []


@pytest.mark.parametrize("loader", ["user_identity_loader", "user_claims_loader"])
async def test_loader_that_fails_leaves_no_session(loader: str) -> None:
    store = WatchedStore()
    app = session_app(store)

    @getattr(manager_of(app), loader)
    def fail(user: Any) -> Any:
        raise LookupError("no such user")

    with pytest.raises(LookupError):
        await log_in(app)
    assert await state_of(store) == ([[]], [])


# --- Metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", [None, {}])
async def test_missing_metadata_is_an_empty_dict(app: Quart, metadata: Any) -> None:
    await log_in(app, metadata=metadata)
    assert (await sessions_of(app))[0].metadata == {}


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ([], TypeError),
        ("text", TypeError),
        (5, TypeError),
        (True, TypeError),
        ([("device", "x")], TypeError),
        ({"x": object()}, TypeError),
        ({"x": b"bytes"}, TypeError),
        ({"x": {1, 2}}, TypeError),
        ({"x": "y" * 5000}, ValueError),
        ({"x": "é" * 2100}, ValueError),
        ({"x" * 5000: 1}, ValueError),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_metadata_that_cannot_be_kept_is_refused(metadata: Any, error: Any) -> None:
    store = WatchedStore()
    app = session_app(store)
    with pytest.raises(error):
        await log_in(app, metadata=metadata)
    assert store.calls == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=repr)
async def test_metadata_with_a_number_that_json_lacks_is_refused(value: float) -> None:
    store = WatchedStore()
    app = session_app(store)
    with pytest.raises((TypeError, ValueError)):
        await log_in(app, metadata={"x": value})
    assert store.calls == []


async def test_metadata_that_refers_to_itself_is_refused(app: Quart) -> None:
    metadata: dict[str, Any] = {}
    metadata["x"] = metadata
    with pytest.raises(ValueError, match="^metadata must be a JSON object: Circular"):
        await log_in(app, metadata=metadata)
    assert await sessions_of(app) == []


async def test_metadata_of_too_many_levels_is_refused(app: Quart) -> None:
    metadata: dict[str, Any] = {}
    for _ in range(MAX_NESTING - 1):
        metadata = {"x": metadata}
    await log_in(app, metadata=metadata)
    with pytest.raises(ValueError, match=f"^metadata must be a JSON object: {TOO_DEEP}$"):
        await log_in(app, metadata={"x": metadata})
    assert [session.metadata for session in await sessions_of(app)] == [metadata]


@pytest.mark.parametrize("letter", ["x", "é", "語"])
async def test_metadata_of_4_kib_is_kept_and_of_more_refused(app: Quart, letter: str) -> None:
    size = len(letter.encode())
    # Room for the braces, the quotes and the colon, with or without a space behind it.
    fits = {"k": letter * ((4096 - 9) // size)}
    await log_in(app, metadata=fits)
    assert (await sessions_of(app))[0].metadata == fits
    with pytest.raises(ValueError, match="metadata"):
        await log_in(app, metadata={"k": letter * (4096 // size + 1)})
    assert len(await sessions_of(app)) == 1


async def test_change_of_metadata_after_the_creation_changes_nothing(app: Quart) -> None:
    metadata = {"list": [1]}
    await log_in(app, metadata=metadata)
    metadata["list"].append(2)
    (session,) = await sessions_of(app)
    assert session.metadata == {"list": [1]}
    session.metadata["list"].append(3)
    assert (await sessions_of(app))[0].metadata == {"list": [1]}


async def test_metadata_stays_over_rotations(app: Quart) -> None:
    tokens = await log_in(app, metadata={"device": "Firefox"})
    await rotated(app, tokens.refresh_token)
    assert (await sessions_of(app))[0].metadata == {"device": "Firefox"}


@pytest.mark.parametrize("name", ["sid", "gen", "jti"])
async def test_claims_of_the_session_cannot_be_given(app: Quart, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        await log_in(app, additional_claims={name: "x"})
    assert await state_of(app.store) == ([[]], [])


@pytest.mark.parametrize("name", ["sid", "gen", "jti"])
async def test_claims_of_the_session_cannot_be_given_at_a_rotation(name: str) -> None:
    app = session_app(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    tokens = await log_in(app)
    before = await state_of(app.store)
    app.rotation = {"additional_claims": {name: 5}}
    with unhandled(app) as raised:
        assert (await rotate(app, tokens.refresh_token))[0] == 500
    assert [type(error) for error in raised] == [ValueError]
    assert await state_of(app.store) == before


@pytest.mark.parametrize("name", ["sid", "gen"])
@pytest.mark.parametrize("option", ["JWT_IDENTITY_CLAIM", "JWT_USER_CLAIMS"])
async def test_option_that_gives_a_claim_of_sessions_to_another_begins_none(
    option: str, name: str
) -> None:
    store = WatchedStore()
    app = session_app(store, **{option: name})
    with pytest.raises(RuntimeError, match=option):
        await log_in(app, user_claims={"role": "admin"})
    assert store.calls == []


# --- Lifetimes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "access", "refresh"),
    [
        ({}, ACCESS, REFRESH),
        ({"expires_delta": seconds(60)}, 60, REFRESH),
        ({"expires_delta": 60}, 60, REFRESH),
        ({"refresh_expires_delta": seconds(3600)}, ACCESS, 3600),
        ({"refresh_expires_delta": 3600}, ACCESS, 3600),
        ({"expires_delta": 60, "refresh_expires_delta": 120}, 60, 120),
        ({"expires_delta": False, "refresh_expires_delta": False}, None, None),
        ({"refresh_expires_delta": False}, ACCESS, None),
    ],
    ids=str,
)
async def test_lifetimes_are_those_that_were_given(
    app: Quart, keywords: dict[str, Any], access: int | None, refresh: int | None
) -> None:
    with frozen():
        tokens = await log_in(app, **keywords)
        for token, lifetime in zip(tokens, (access, refresh), strict=False):
            assert exp_of(token) == (None if lifetime is None else START + lifetime)
        (session,) = await sessions_of(app)
        assert (
            session.expires_at is None if refresh is None else is_idle_end(session, START + refresh)
        )
        app.rotation = keywords
        again = await rotated(app, tokens.refresh_token)
        assert (exp_of(again[0]), exp_of(again[1])) == (exp_of(tokens[0]), exp_of(tokens[1]))


async def test_options_give_the_lifetimes() -> None:
    app = session_app(JWT_ACCESS_TOKEN_EXPIRES=50, JWT_REFRESH_TOKEN_EXPIRES=seconds(500))
    with frozen():
        tokens = await log_in(app)
        assert (exp_of(tokens.access_token), exp_of(tokens.refresh_token)) == (
            START + 50,
            START + 500,
        )


@pytest.mark.parametrize("expires_delta", [None, False, 3600, seconds(10**6)], ids=str)
async def test_access_token_does_not_outlive_the_idle_end(app: Quart, expires_delta: Any) -> None:
    """No token of a session has an exp after min(expires_at, ends_at) of its session."""
    with frozen():
        tokens = await log_in(app, expires_delta=expires_delta, refresh_expires_delta=100)
        (session,) = await sessions_of(app)
        assert is_idle_end(session, START + 100)
        for token in tokens[:2]:
            assert moment(exp_of(token)) <= session.expires_at


@pytest.mark.parametrize("max_age", [1000, seconds(1000)], ids=str)
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"expires_delta": False, "refresh_expires_delta": False},
        {"expires_delta": 5000, "refresh_expires_delta": 5000},
        {"expires_delta": 5000, "additional_claims": {"exp": FAR_FUTURE}},
    ],
    ids=str,
)
async def test_no_token_outlives_the_absolute_end(max_age: Any, keywords: dict[str, Any]) -> None:
    app = session_app(JWT_SESSION_MAX_AGE=max_age)
    end = START + 1000
    with frozen() as clock:
        tokens = await log_in(app, **keywords)
        app.rotation = keywords
        for elapsed in (200, 300, 400):
            for token in tokens[:2]:
                assert exp_of(token) is not None
                assert exp_of(token) <= end
            (session,) = await sessions_of(app)
            assert session.ends_at == moment(end)
            clock.shift(elapsed)
            tokens = await rotated(app, tokens.refresh_token)
        assert exp_of(tokens.refresh_token) == end
        clock.shift(100)
        assert (await rotate(app, tokens.refresh_token))[0] == 401
        assert await sessions_of(app) == []
        # A token that says otherwise is of no use.
        assert await rotate(app, refresh_of(tokens.session_id, 3)) == ENDED
        assert await ask(app, "/protected", access_of(tokens.session_id)) == ENDED


async def test_shorter_lifetimes_are_not_stretched_to_the_absolute_end() -> None:
    app = session_app(JWT_SESSION_MAX_AGE=datetime.timedelta(days=90))
    with frozen():
        tokens = await log_in(app)
        assert (exp_of(tokens.access_token), exp_of(tokens.refresh_token)) == (
            START + ACCESS,
            START + REFRESH,
        )


async def test_exp_of_additional_claims_does_not_outlive_the_session(app: Quart) -> None:
    with frozen():
        tokens = await log_in(app, additional_claims={"exp": FAR_FUTURE})
        (session,) = await sessions_of(app)
        for token in tokens[:2]:
            assert moment(exp_of(token)) <= session.expires_at


@pytest.mark.parametrize("staleness", [0, 5])
async def test_no_token_is_accepted_after_the_absolute_end_with_leeway(staleness: int) -> None:
    app = session_app(
        JWT_SESSION_MAX_AGE=100, JWT_DECODE_LEEWAY=30, JWT_REVOCATION_MAX_STALENESS=staleness
    )
    with frozen() as clock:
        async with app.test_app():
            first = await log_in(app)
            assert (await sessions_of(app))[0].ends_at == moment(START + 100)
            clock.shift(60)
            second = await rotated(app, first.refresh_token)
            clock.shift(39)
            for tokens in (first, second):
                assert (await ask(app, "/protected", tokens.access_token))[0] == 200
                assert (await ask(app, "/refresh", tokens.refresh_token))[0] == 200
            clock.shift(2)
            for tokens in (first, second):
                assert (await ask(app, "/protected", tokens.access_token))[0] == 401
                assert (await ask(app, "/refresh", tokens.refresh_token))[0] == 401
                assert (await rotate(app, tokens.refresh_token))[0] == 401


@pytest.mark.parametrize("leeway", [0, 30, 10**9])
@pytest.mark.parametrize("days", [2_900_000, 2_912_000, 100_000_000])
async def test_refresh_token_may_last_as_long_as_dates_and_longer(days: int, leeway: int) -> None:
    lifetime = datetime.timedelta(days=days)
    app = session_app(JWT_DECODE_LEEWAY=leeway)
    app.rotation = {"refresh_expires_delta": lifetime}
    for fraction in (0, 0.001, 0.25, 0.5, 0.75, 0.999):
        with frozen(START + fraction):
            tokens = await log_in(app, str(fraction), refresh_expires_delta=lifetime)
            await rotated(app, tokens.refresh_token)
            (session,) = await sessions_of(app, str(fraction))
            assert session.expires_at.year > 9900


async def test_rotation_moves_the_idle_end(app: Quart) -> None:
    with frozen() as clock:
        tokens = await log_in(app)
        clock.shift(10 * DAY)
        tokens = await rotated(app, tokens.refresh_token)
        assert exp_of(tokens.refresh_token) == START + 10 * DAY + REFRESH
        (session,) = await sessions_of(app)
        assert is_idle_end(session, START + 10 * DAY + REFRESH)
        assert session.rotated_at == moment(START + 10 * DAY)
        assert session.created_at == moment(START)
        assert session.generation == 1


async def test_session_that_idled_too_long_has_ended(app: Quart) -> None:
    with frozen() as clock:
        tokens = await log_in(app)
        clock.shift(REFRESH - 1)
        assert len(await sessions_of(app)) == 1
        clock.shift(2)
        assert await sessions_of(app) == []
        assert await rotate(app, tokens.refresh_token) == (401, {"msg": "Token has expired"})
        assert await rotate(app, refresh_of(tokens.session_id, 0)) == ENDED


@pytest.mark.parametrize("value", [-1, 0, True, "1 day", 1.5, [], float("nan")], ids=repr)
def test_bad_max_age_is_told_at_the_start(value: Any) -> None:
    app = session_app(JWT_SESSION_MAX_AGE=value)
    with pytest.raises(RuntimeError, match="JWT_SESSION_MAX_AGE"):
        manager_of(app).check(app)


# --- Rotation ------------------------------------------------------------------------------------


async def test_current_token_gives_a_pair_of_the_next_generation(app: Quart) -> None:
    tokens = await log_in(app)
    for generation in range(1, 4):
        again = await rotated(app, tokens.refresh_token)
        assert again.session_id == tokens.session_id
        assert generation_of(again.refresh_token) == generation
        assert claims_of(again.access_token)["sid"] == tokens.session_id
        assert "gen" not in claims_of(again.access_token)
        assert (await sessions_of(app))[0].generation == generation
        assert (await ask(app, "/protected", again.access_token))[0] == 200
        tokens = again


async def test_access_token_of_before_the_rotation_still_works(app: Quart) -> None:
    tokens = await log_in(app)
    await rotated(app, tokens.refresh_token)
    assert (await ask(app, "/protected", tokens.access_token))[0] == 200


async def test_rotated_access_token_is_fresh_only_on_demand(app: Quart) -> None:
    tokens = await log_in(app, fresh=True)
    again = await rotated(app, tokens.refresh_token)
    assert claims_of(again.access_token)["fresh"] is False
    app.rotation = {"fresh": True}
    again = await rotated(app, again.refresh_token)
    assert claims_of(again.access_token)["fresh"] is True


async def test_claims_given_at_a_rotation_are_those_of_its_tokens(app: Quart) -> None:
    tokens = await log_in(app, user_claims={"role": "user"}, additional_claims={"tenant": 1})
    app.rotation = {"user_claims": {"role": "admin"}, "additional_claims": {"tenant": 2}}
    again = await rotated(app, tokens.refresh_token)
    assert claims_of(again.access_token)["user_claims"] == {"role": "admin"}
    assert claims_of(again.access_token)["tenant"] == 2
    assert claims_of(again.refresh_token)["tenant"] == 2


@pytest.mark.parametrize(
    ("grace", "elapsed", "within"),
    [
        (0, 0, False),
        (0, 1, False),
        (10, 0, True),
        (10, 10, True),
        (10, 10.5, False),
        (10, 3600, False),
        (300, 299, True),
        (300, 300, True),
        (300, 301, False),
        (0.5, 0.25, True),
        (0.5, 0.75, False),
        (seconds(20), 15, True),
        (seconds(20), 25, False),
        (None, 9, True),
        (None, 11, False),
    ],
    ids=str,
)
async def test_token_of_the_generation_before_works_again_within_the_grace(
    grace: Any, elapsed: float, within: bool
) -> None:
    app = session_app(**({} if grace is None else {"JWT_REFRESH_GRACE": grace}))
    with frozen() as clock:
        first = await log_in(app)
        second = await rotated(app, first.refresh_token)
        before = await state_of(app.store)
        clock.shift(elapsed)
        if within:
            retried = await rotated(app, first.refresh_token)
            assert generation_of(retried.refresh_token) == 1
            assert retried.session_id == first.session_id
            assert await state_of(app.store) == before
            # Both pairs of the generation go on.
            for token in (second.access_token, retried.access_token):
                assert (await ask(app, "/protected", token))[0] == 200
            third = await rotated(app, retried.refresh_token)
            assert generation_of(third.refresh_token) == 2
            also = await rotated(app, second.refresh_token)
            assert generation_of(also.refresh_token) == 2
        else:
            assert await rotate(app, first.refresh_token) == REUSED
            assert await sessions_of(app) == []
            assert await rotate(app, second.refresh_token) == ENDED


async def test_grace_does_not_slide(app: Quart) -> None:
    with frozen() as clock:
        first = await log_in(app)
        await rotated(app, first.refresh_token)
        for _ in range(3):
            clock.shift(3)
            await rotated(app, first.refresh_token)
        clock.shift(3)
        assert await rotate(app, first.refresh_token) == REUSED


async def test_grace_is_not_for_older_generations(app: Quart) -> None:
    """All of it within one second, which is no time to a claim such as iat."""
    with frozen():
        first = await log_in(app)
        second = await rotated(app, first.refresh_token)
        third = await rotated(app, second.refresh_token)
        assert await rotate(app, first.refresh_token) == REUSED
        assert await rotate(app, third.refresh_token) == ENDED
        assert await rotate(app, second.refresh_token) == ENDED


async def test_replay_within_one_second_is_reuse_where_the_grace_is_zero() -> None:
    app = session_app(JWT_REFRESH_GRACE=0)
    with frozen():
        tokens = await log_in(app)
        again = await rotated(app, tokens.refresh_token)
        assert await rotate(app, tokens.refresh_token) == REUSED
        assert await rotate(app, again.refresh_token) == ENDED


async def test_retry_does_not_move_the_idle_end_of_the_session(app: Quart) -> None:
    with frozen() as clock:
        first = await log_in(app)
        await rotated(app, first.refresh_token)
        (before,) = await sessions_of(app)
        clock.shift(5)
        retried = await rotated(app, first.refresh_token)
        assert await sessions_of(app) == [before]
        assert moment(exp_of(retried.refresh_token)) <= before.expires_at


@pytest.mark.parametrize("elapsed", [0, 3600])
async def test_thief_and_victim_are_both_out_after_the_grace(elapsed: int) -> None:
    app = session_app(JWT_REFRESH_GRACE=0)
    with frozen() as clock:
        victim = await log_in(app)
        thief = await rotated(app, victim.refresh_token)
        clock.shift(elapsed)
        assert await rotate(app, victim.refresh_token) == REUSED
        for token in (victim.refresh_token, thief.refresh_token):
            assert await rotate(app, token) == ENDED
        assert await ask(app, "/protected", access_of(victim.session_id)) == ENDED
        assert await ask(app, "/optional", access_of(victim.session_id)) == ENDED


async def test_reuse_leaves_other_sessions_alone() -> None:
    app = session_app(JWT_REFRESH_GRACE=0)
    first, other, bob = await log_in(app), await log_in(app), await log_in(app, "bob")
    await rotated(app, first.refresh_token)
    assert await rotate(app, first.refresh_token) == REUSED
    assert [session.id for session in await sessions_of(app)] == [other.session_id]
    await rotated(app, other.refresh_token)
    await rotated(app, bob.refresh_token)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_reuse_is_told_once_with_the_token_that_was_used_again(is_async: bool) -> None:
    app = session_app(JWT_REFRESH_GRACE=0)
    told: list[Any] = []
    manager_of(app).refresh_reuse_loader(
        in_form(lambda header, claims: told.append((header, claims)), is_async)
    )
    first = await log_in(app)
    second = await rotated(app, first.refresh_token)
    assert told == []
    assert await rotate(app, first.refresh_token) == REUSED
    header, claims = told[0]
    assert header["alg"] == "HS256"
    assert {**claims, "user_claims": {}} == {**claims_of(first.refresh_token), "user_claims": {}}
    for token in (first.refresh_token, second.refresh_token):
        assert await rotate(app, token) == ENDED
    assert len(told) == 1


async def test_result_of_the_reuse_loader_is_ignored() -> None:
    app = session_app(JWT_REFRESH_GRACE=0)
    manager_of(app).refresh_reuse_loader(lambda header, claims: ("fine", 200))
    tokens = await log_in(app)
    await rotated(app, tokens.refresh_token)
    assert await rotate(app, tokens.refresh_token) == REUSED


async def test_reuse_loader_that_fails_does_not_keep_the_session_alive() -> None:
    app = session_app(JWT_REFRESH_GRACE=0, TESTING=False, PROPAGATE_EXCEPTIONS=False)

    @manager_of(app).refresh_reuse_loader
    def fail(header: Any, claims: Any) -> None:
        raise LookupError("mail server")

    tokens = await log_in(app)
    again = await rotated(app, tokens.refresh_token)
    assert (await rotate(app, tokens.refresh_token))[0] in (401, 500)
    assert await sessions_of(app) == []
    assert await rotate(app, again.refresh_token) == ENDED


@pytest.mark.parametrize("where", ["store", "loader"])
async def test_reuse_is_told_although_the_client_left(where: str) -> None:
    """Otherwise a thief hangs up before the answer, and nobody hears of it."""
    waiting, go_on = asyncio.Event(), asyncio.Event()

    class SlowStore(WatchedStore):
        async def rotate_session(self, *arguments: Any, **keywords: Any) -> Any:
            answer = await super().rotate_session(*arguments, **keywords)
            if where == "store" and answer[0] == "reused":
                waiting.set()
                await go_on.wait()
            return answer

    app = session_app(SlowStore(), JWT_REFRESH_GRACE=0)
    told: list[Any] = []

    @manager_of(app).refresh_reuse_loader
    async def tell(header: Any, claims: Any) -> None:
        if where == "loader":
            waiting.set()
            await go_on.wait()
        told.append(claims["sid"])

    first = await log_in(app)
    second = await rotated(app, first.refresh_token)
    field = (b"authorization", b"Bearer " + first.refresh_token.encode())
    exchange = Exchange(Raw(headers=[field], method="POST"))
    request = asyncio.create_task(exchange.run(app, "/rotate"))
    await asyncio.wait_for(waiting.wait(), LIMIT)
    exchange.hang_up()
    await asyncio.wait([request], timeout=LIMIT)
    assert request.done()
    assert (exchange.status, told) == (None, [])
    go_on.set()
    await until(lambda: told)
    assert told == [first.session_id]
    assert await ask(app, "/protected", second.access_token) == ENDED
    assert await rotate(app, first.refresh_token) == ENDED
    assert len(told) == 1


async def test_retry_is_not_told_as_reuse(app: Quart) -> None:
    told: list[Any] = []
    manager_of(app).refresh_reuse_loader(lambda header, claims: told.append(claims))
    tokens = await log_in(app)
    await rotated(app, tokens.refresh_token)
    await rotated(app, tokens.refresh_token)
    assert told == []


@pytest.mark.parametrize("value", [-1, -0.5, 301, True, "10", None, float("nan"), [], seconds(301)])
def test_bad_grace_is_told_at_the_start(value: Any) -> None:
    app = session_app(JWT_REFRESH_GRACE=value)
    with pytest.raises(RuntimeError, match="JWT_REFRESH_GRACE"):
        manager_of(app).check(app)


@pytest.mark.parametrize("value", [0, 10, 300, 0.5, seconds(0), seconds(300)], ids=str)
def test_good_grace_is_accepted_at_the_start(value: Any) -> None:
    app = session_app(JWT_REFRESH_GRACE=value)
    manager_of(app).check(app)


async def test_rotation_answers_the_same_where_revocations_are_polled() -> None:
    app = session_app(JWT_REVOCATION_MAX_STALENESS=60, JWT_REFRESH_GRACE=0)
    async with app.test_app():
        first = await log_in(app)
        second = await rotated(app, first.refresh_token)
        assert await rotate(app, first.refresh_token) == REUSED
        for token in (first, second):
            assert (await rotate(app, token.refresh_token)) == ENDED


# --- Bad refresh tokens --------------------------------------------------------------------------


async def refused(app: Quart, claims: Any, answer: Any, *identities: str) -> None:
    """A rotation is answered so, and neither the store nor a client has got anything of it."""
    names = identities or ("alice",)
    before = await state_of(app.store, *names)
    assert await rotate(app, claims) == answer
    assert await state_of(app.store, *names) == before


BAD_SID = (422, {"msg": "Missing or invalid claim: sid"})
BAD_GEN = (422, {"msg": "Missing or invalid claim: gen"})
NO_SIDS: list[Any] = [..., None, 5, 5.0, True, [], ["x"], {}, {"id": "x"}]
NO_GENS: list[Any] = [
    *(..., None, True, False, "0", "", 0.0, 1.5, -1, -(10**30), 2**53 + 1, 2**63, 2**64),
    *(10**400, [], [0], {}, {"gen": 0}),
]


@pytest.mark.parametrize("staleness", [0, 60])
@pytest.mark.parametrize("sid", NO_SIDS, ids=repr)
async def test_refresh_token_without_a_session_rotates_nothing(sid: Any, staleness: int) -> None:
    app = session_app(JWT_REVOCATION_MAX_STALENESS=staleness)
    await log_in(app)
    await refused(app, refresh_claims(sid=sid, gen=0), BAD_SID)


@pytest.mark.parametrize("gen", NO_GENS, ids=lambda gen: repr(gen)[:12])
async def test_refresh_token_without_a_generation_rotates_nothing(app: Quart, gen: Any) -> None:
    tokens = await log_in(app)
    await refused(app, refresh_of(tokens.session_id, gen), BAD_GEN)
    assert generation_of((await rotated(app, tokens.refresh_token)).refresh_token) == 1


@pytest.mark.parametrize("gen", [1, 2, 1000, 2**53])
async def test_generation_that_was_never_given_rotates_nothing(app: Quart, gen: int) -> None:
    tokens = await log_in(app)
    await refused(app, refresh_of(tokens.session_id, gen), ENDED)
    await rotated(app, tokens.refresh_token)


@pytest.mark.parametrize("staleness", [0, 60])
@pytest.mark.parametrize("gen", [0, 1])
async def test_session_of_another_app_rotates_nothing(gen: int, staleness: int) -> None:
    other = await log_in(session_app())
    app = session_app(JWT_REVOCATION_MAX_STALENESS=staleness)
    await log_in(app)
    await refused(app, refresh_of(other.session_id, gen), ENDED)


@pytest.mark.parametrize(
    "sid",
    ["", "x", "0" * 29, "0" * 31, "x" * 5000, "ü" * 30, "\x00" * 30, "*" * 30, " " * 30, "jwt:*"],
    ids=lambda sid: repr(sid)[:12],
)
@pytest.mark.parametrize("staleness", [0, 60])
async def test_session_id_of_another_form_never_reaches_the_store(sid: str, staleness: int) -> None:
    store = WatchedStore()
    app = session_app(store, JWT_REVOCATION_MAX_STALENESS=staleness)
    await log_in(app)
    store.forget()
    assert await rotate(app, refresh_of(sid, 0)) == ENDED
    async with app.app_context():
        assert await qje.revoke_session(sid) is False
    assert await ask(app, "/protected", access_of(sid)) == ENDED
    for arguments, keywords in store.arguments:
        assert sid not in arguments
        assert sid not in keywords.values()


@pytest.mark.parametrize("sid", [sid for sid in NO_SIDS if sid is not ...], ids=repr)
@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh"])
async def test_access_token_whose_session_is_no_string_is_refused(
    app: Quart, sid: Any, path: str
) -> None:
    assert (await ask(app, path, access_claims(sid=sid, fresh=True)))[0] == 422
    assert app.calls == []


@pytest.mark.parametrize("sid", [None, 5, ["x"]], ids=repr)
async def test_claim_of_that_name_is_free_in_an_app_without_a_store(sid: Any) -> None:
    assert (await ask(make_app(), "/protected", access_claims(sid=sid)))[0] == 200


async def test_plain_tokens_still_work_beside_sessions(app: Quart) -> None:
    async with app.app_context():
        access, refresh = qje.create_access_token("alice"), qje.create_refresh_token("alice")
    assert (await ask(app, "/protected", access))[0] == 200
    assert (await ask(app, "/refresh", refresh))[0] == 200
    assert "sid" not in claims_of(access)


async def test_forged_or_expired_refresh_token_rotates_nothing(app: Quart) -> None:
    tokens = await log_in(app)
    claims = refresh_of(tokens.session_id, 0)
    forged = hs_token(claims, secret=OTHER_SECRET)
    await refused(app, forged, (422, {"msg": "Signature verification failed"}))
    await refused(app, {**claims, "exp": 1}, (401, {"msg": "Token has expired"}))


async def test_access_token_rotates_nothing(app: Quart) -> None:
    tokens = await log_in(app)
    await refused(app, tokens.access_token, (422, {"msg": "Only refresh tokens are allowed"}))

    @app.post("/misused")
    @qje.jwt_required(verify_type=False)
    async def misused() -> dict[str, Any]:
        return (await qje.rotate_session())._asdict()

    before = await state_of(app.store)
    for token in (tokens.access_token, hs_token(access_of(tokens.session_id, gen=0))):
        status, body = await ask(app, "/misused", token, method="POST")
        assert status == 422
        assert list(body) == ["msg"]
    assert await state_of(app.store) == before


async def test_refresh_token_of_one_session_cannot_speak_for_another_identity(app: Quart) -> None:
    """The identity in the tokens stays that of the token, and the store has the session's."""
    alice = await log_in(app)
    again = await rotated(app, alice.refresh_token)
    assert claims_of(again.access_token)["identity"] == "alice"
    assert [session.identity for session in await sessions_of(app)] == ["alice"]


# --- Where a rotation is possible ----------------------------------------------------------------


async def test_rotation_outside_a_request_is_a_runtime_error(app: Quart) -> None:
    async with app.app_context():
        with pytest.raises(RuntimeError):
            await qje.rotate_session()


async def test_rotation_in_a_view_without_a_token_is_a_runtime_error(app: Quart) -> None:
    tokens = await log_in(app)

    @app.post("/open-rotate")
    async def open_rotate() -> dict[str, Any]:
        with pytest.raises(RuntimeError):
            await qje.rotate_session()
        return {}

    before = await state_of(app.store)
    assert (await ask(app, "/open-rotate", tokens.refresh_token, method="POST"))[0] == 200
    assert await state_of(app.store) == before


async def test_every_function_names_the_store_that_is_missing() -> None:
    app = make_app()
    session_id = (await log_in(session_app())).session_id
    async with app.app_context():
        for call in (
            lambda: qje.create_session("alice"),
            lambda: qje.get_sessions("alice"),
            lambda: qje.revoke_session(session_id),
            lambda: qje.revoke_sessions("alice"),
            lambda: qje.revoke_token(hs_token(access_claims())),
        ):
            with pytest.raises(RuntimeError, match="token_store"):
                await call()

    @app.post("/rotate")
    @qje.jwt_required(refresh=True)
    async def view() -> dict[str, Any]:
        return (await qje.rotate_session())._asdict()

    with pytest.raises(RuntimeError, match="token_store"):
        await status_of(app, "/rotate", refresh_of(session_id, 0), method="POST")


async def test_store_can_come_with_init_app() -> None:
    app = Quart("factory")
    app.config["JWT_SECRET_KEY"] = OTHER_SECRET
    store = qje.MemoryTokenStore()
    manager = qje.JWTManager()
    manager.init_app(app, token_store=store)
    async with app.app_context():
        tokens = await qje.create_session("alice")
        assert [session.id for session in await store.get_sessions("alice")] == [tokens.session_id]


# --- Loaders at a rotation -----------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_loaders_are_asked_again_at_each_rotation(app: Quart, is_async: bool) -> None:
    asked: list[Any] = []
    roles = iter(["user", "admin", "owner"])

    def claims(user: Any) -> Any:
        asked.append(user)
        return {"role": next(roles)}

    manager_of(app).user_claims_loader(in_form(claims, is_async))
    tokens = await log_in(app)
    for role in ("admin", "owner"):
        tokens = await rotated(app, tokens.refresh_token)
        assert claims_of(tokens.access_token)["user_claims"] == {"role": role}
    assert asked == ["alice"] * 3


async def test_loaders_get_the_loaded_user_where_users_make_identities(app: Quart) -> None:
    manager = manager_of(app)
    asked: list[Any] = []
    users = {"alice": {"id": "alice", "role": "user"}}
    manager.user_identity_loader(lambda user: user["id"])
    manager.user_lookup_loader(lambda header, claims: users[claims["identity"]])
    manager.user_claims_loader(lambda user: asked.append(user) or {"role": user["role"]})
    tokens = await log_in(app, users["alice"])
    users["alice"] = {"id": "alice", "role": "admin"}
    again = await rotated(app, tokens.refresh_token)
    assert asked == [{"id": "alice", "role": "user"}, {"id": "alice", "role": "admin"}]
    assert claims_of(again.access_token)["user_claims"] == {"role": "admin"}
    assert claims_of(again.refresh_token)["identity"] == "alice"


async def test_loaders_get_the_identity_where_no_loader_makes_it_of_a_user(app: Quart) -> None:
    manager = manager_of(app)
    asked: list[Any] = []
    manager.user_lookup_loader(lambda header, claims: {"id": claims["identity"]})
    manager.user_claims_loader(lambda user: asked.append(user) or {})
    tokens = await log_in(app)
    await rotated(app, tokens.refresh_token)
    assert asked == ["alice", "alice"]


async def test_object_given_to_the_rotation_goes_to_the_loaders_only(app: Quart) -> None:
    asked: list[Any] = []
    manager_of(app).user_claims_loader(lambda user: asked.append(user) or {})
    tokens = await log_in(app)
    app.rotation = {"identity": {"id": "mallory"}}
    again = await rotated(app, tokens.refresh_token)
    assert asked == ["alice", {"id": "mallory"}]
    for token in again[:2]:
        assert claims_of(token)["identity"] == "alice"
    assert [session.identity for session in await sessions_of(app)] == ["alice"]
    assert await sessions_of(app, "mallory") == []


@pytest.mark.parametrize("loader", ["user_claims_loader", "additional_claims_loader"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_loader_that_fails_rotates_nothing(loader: str, is_async: bool) -> None:
    """Otherwise the client would have lost its generation for an error of the app."""
    app = session_app(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    tokens = await log_in(app)
    before = await state_of(app.store)

    def fail(user: Any) -> Any:
        raise LookupError("database")

    getattr(manager_of(app), loader)(in_form(fail, is_async))
    with unhandled(app) as raised:
        assert (await rotate(app, tokens.refresh_token))[0] == 500
    assert [type(error) for error in raised] == [LookupError]
    assert await state_of(app.store) == before


# --- Concurrency ---------------------------------------------------------------------------------


async def test_two_tabs_at_once_both_go_on(app: Quart) -> None:
    tokens = await log_in(app)
    answers = await asyncio.gather(*[rotate(app, tokens.refresh_token) for _ in range(2)])
    assert [status for status, _ in answers] == [200, 200]
    assert [generation_of(body["refresh_token"]) for _, body in answers] == [1, 1]
    (session,) = await sessions_of(app)
    assert session.generation == 1


async def test_of_many_at_once_one_rotates_and_the_others_retry(app: Quart) -> None:
    tokens = await log_in(app)
    answers = await asyncio.gather(*[rotate(app, tokens.refresh_token) for _ in range(20)])
    assert {status for status, _ in answers} == {200}
    assert {generation_of(body["refresh_token"]) for _, body in answers} == {1}
    assert (await sessions_of(app))[0].generation == 1


async def test_of_many_at_once_without_grace_one_is_in_and_reuse_is_told_once() -> None:
    app = session_app(JWT_REFRESH_GRACE=0)
    told: list[Any] = []
    manager_of(app).refresh_reuse_loader(lambda header, claims: told.append(claims))
    tokens = await log_in(app)
    answers = await asyncio.gather(*[rotate(app, tokens.refresh_token) for _ in range(10)])
    assert sorted(status for status, _ in answers) == [200] + [401] * 9
    messages = [body["msg"] for status, body in answers if status == 401]
    assert messages.count("Refresh token has been reused") == 1
    assert messages.count("Session has ended") == 8
    assert len(told) == 1
    assert await sessions_of(app) == []


async def test_rotation_beside_a_logout_never_leaves_the_session_alive(app: Quart) -> None:
    for _ in range(10):
        tokens = await log_in(app)
        (status, body), _ = await asyncio.gather(
            rotate(app, tokens.refresh_token),
            ask(app, "/session", tokens.access_token, method="DELETE"),
        )
        assert status in (200, 401)
        assert await sessions_of(app) == []
        if status == 200:
            assert await rotate(app, body["refresh_token"]) == ENDED
            assert await ask(app, "/protected", body["access_token"]) == ENDED


async def test_rotation_cannot_overtake_a_revocation(app: Quart) -> None:
    """The session ends while a loader of the rotation waits, so after the token was verified."""
    tokens = await log_in(app)

    @manager_of(app).user_claims_loader
    async def claims(user: Any) -> Any:
        async with app.app_context():
            await qje.revoke_session(tokens.session_id)
        return {}

    assert await rotate(app, tokens.refresh_token) == ENDED
    assert await sessions_of(app) == []


# --- Looking at sessions, and ending them --------------------------------------------------------


async def test_sessions_are_listed_newest_first(app: Quart) -> None:
    with frozen() as clock:
        ids = []
        for _ in range(5):
            ids.append((await log_in(app)).session_id)
            clock.shift(1)
        await log_in(app, "bob")
        assert [session.id for session in await sessions_of(app)] == ids[::-1]
    assert await sessions_of(app, "carol") == []


async def test_session_id_of_the_current_token_is_given(app: Quart) -> None:
    tokens = await log_in(app)
    for token in tokens[:2]:
        assert (await ask(app, "/whose", token))[1]["session"] == tokens.session_id
    assert (await ask(app, "/whose", access_claims()))[1]["session"] is None
    assert (await ask(app, "/whose"))[1]["session"] is None
    async with app.app_context():
        assert qje.get_session_id() is None


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_current_session_is_revoked(app: Quart, kind: str) -> None:
    tokens, other = await log_in(app), await log_in(app)
    token = getattr(tokens, kind)
    assert await ask(app, "/session", token, method="DELETE") == (200, {"live": True})
    assert await ask(app, "/session", token, method="DELETE") == ENDED
    assert await ask(app, "/protected", tokens.access_token) == ENDED
    assert await ask(app, "/refresh", tokens.refresh_token) == ENDED
    assert await rotate(app, tokens.refresh_token) == ENDED
    assert [session.id for session in await sessions_of(app)] == [other.session_id]
    assert (await ask(app, "/protected", other.access_token))[0] == 200


async def test_session_is_revoked_by_its_id_once(app: Quart) -> None:
    tokens = await log_in(app)
    async with app.app_context():
        assert await qje.revoke_session(tokens.session_id) is True
        assert await qje.revoke_session(tokens.session_id) is False
    assert await ask(app, "/protected", tokens.access_token) == ENDED


@pytest.mark.parametrize("session_id", ["x", "", "0" * 30])
async def test_unknown_session_was_not_live(app: Quart, session_id: str) -> None:
    before = await state_of(app.store)
    async with app.app_context():
        assert await qje.revoke_session(session_id) is False
    assert await state_of(app.store) == before


async def test_session_that_has_ended_by_itself_was_not_live(app: Quart) -> None:
    with frozen() as clock:
        tokens = await log_in(app)
        clock.shift(REFRESH + 1)
        async with app.app_context():
            assert await qje.revoke_session(tokens.session_id) is False
            assert await qje.revoke_sessions("alice") == 0


async def test_all_sessions_of_an_identity_are_revoked(app: Quart) -> None:
    alice = [await log_in(app) for _ in range(3)]
    bob = await log_in(app, "bob")
    async with app.app_context():
        assert await qje.revoke_sessions("alice") == 3
        assert await qje.revoke_sessions("alice") == 0
    for tokens in alice:
        assert await ask(app, "/protected", tokens.access_token) == ENDED
        assert await rotate(app, tokens.refresh_token) == ENDED
    assert (await ask(app, "/protected", bob.access_token))[0] == 200
    assert len(await sessions_of(app, "bob")) == 1


async def test_all_other_sessions_are_revoked(app: Quart) -> None:
    kept, *others = [await log_in(app) for _ in range(4)]
    answer = await ask(app, "/sessions/others", kept.access_token, method="DELETE")
    assert answer == (200, {"number": 3})
    assert [session.id for session in await sessions_of(app)] == [kept.session_id]
    for tokens in others:
        assert await ask(app, "/protected", tokens.access_token) == ENDED
    await rotated(app, kept.refresh_token)


@pytest.mark.parametrize("keep", ["x", "0" * 30])
async def test_session_to_keep_that_is_not_there_keeps_nothing(app: Quart, keep: str) -> None:
    await log_in(app)
    bob = await log_in(app, "bob")
    async with app.app_context():
        assert await qje.revoke_sessions("alice", keep=keep) == 1
        assert await qje.revoke_sessions("bob", keep=bob.session_id) == 0
    assert len(await sessions_of(app, "bob")) == 1


async def test_proxy_of_an_identity_stands_for_it(app: Quart) -> None:
    tokens = await log_in(app)
    identity: Any = LocalProxy(lambda: "alice")
    async with app.app_context():
        assert [one.id for one in await qje.get_sessions(identity)] == [tokens.session_id]
        assert await qje.revoke_sessions(identity) == 1


async def test_user_in_the_place_of_an_identity_is_a_type_error(app: Quart) -> None:
    """It would name no session, and a logout everywhere would do nothing."""

    @dataclasses.dataclass
    class User:
        id: str

    manager_of(app).user_identity_loader(lambda user: user.id)
    tokens = await log_in(app, User("alice"))
    async with app.app_context():
        with pytest.raises(TypeError, match="identity"):
            await qje.revoke_sessions(User("alice"))
        with pytest.raises(TypeError, match="identity"):
            await qje.get_sessions(User("alice"))
    assert (await ask(app, "/protected", tokens.access_token))[0] == 200
    async with app.app_context():
        assert await qje.revoke_sessions("alice") == 1


async def test_session_of_another_identity_cannot_be_kept_alive_by_its_prefix(app: Quart) -> None:
    """Ids begin with what says whose they are; forging that must be harmless."""
    tokens = await log_in(app)
    assert await ask(app, "/protected", access_of(tokens.session_id[:8] + "0" * 22)) == ENDED


async def test_login_after_all_were_revoked_works(app: Quart) -> None:
    await log_in(app)
    async with app.app_context():
        await qje.revoke_sessions("alice")
    tokens = await log_in(app)
    assert (await ask(app, "/protected", tokens.access_token))[0] == 200
    await rotated(app, tokens.refresh_token)


# --- Cookies -------------------------------------------------------------------------------------


def cookies_in(response: Any) -> dict[str, str]:
    """Name and the whole line of each Set-Cookie."""
    return {line.partition("=")[0]: line for line in response.headers.getlist("Set-Cookie")}


COOKIES = {
    *("access_token_cookie", "csrf_access_token"),
    *("refresh_token_cookie", "csrf_refresh_token"),
}


@pytest.fixture
def cookie_app() -> Quart:
    return session_app(JWT_TOKEN_LOCATION=["cookies"])


async def test_pair_goes_into_four_cookies(cookie_app: Quart) -> None:
    async with cookie_app.app_context():
        tokens = await qje.create_session("alice")
        response, separate = Response(""), Response("")
        assert qje.set_session_cookies(response, tokens) is None
        qje.set_access_cookies(separate, tokens.access_token)
        qje.set_refresh_cookies(separate, tokens.refresh_token)
    cookies = cookies_in(response)
    assert set(cookies) == COOKIES
    assert cookies == cookies_in(separate)
    for name, token in (("access", tokens.access_token), ("refresh", tokens.refresh_token)):
        assert cookies[f"{name}_token_cookie"].startswith(f"{name}_token_cookie={token};")
        csrf = claims_of(token)["csrf"]
        assert cookies[f"csrf_{name}_token"].startswith(f"csrf_{name}_token={csrf};")


async def test_pair_in_cookies_takes_max_age_and_domain(cookie_app: Quart) -> None:
    async with cookie_app.app_context():
        tokens = await qje.create_session("alice")
        response = Response("")
        qje.set_session_cookies(response, tokens, max_age=77, domain="example.com")
    for line in cookies_in(response).values():
        assert "Max-Age=77" in line
        assert "Domain=example.com" in line


SETTERS = {
    "session": lambda response, tokens: qje.set_session_cookies(response, tokens),
    "access": lambda response, tokens: qje.set_access_cookies(response, tokens.access_token),
    "refresh": lambda response, tokens: qje.set_refresh_cookies(response, tokens.refresh_token),
}


@pytest.mark.parametrize("setter", SETTERS)
async def test_token_cookies_are_not_to_be_stored(cookie_app: Quart, setter: str) -> None:
    async with cookie_app.app_context():
        tokens = await qje.create_session("alice")
        response = Response("")
        SETTERS[setter](response, tokens)
    assert response.headers.getlist("Cache-Control") == ["no-store"]


@pytest.mark.parametrize("setter", SETTERS)
@pytest.mark.parametrize("value", ["no-cache, private", "max-age=60"])
async def test_cache_control_of_the_app_wins(cookie_app: Quart, setter: str, value: str) -> None:
    async with cookie_app.app_context():
        tokens = await qje.create_session("alice")
        response = Response("", headers={"Cache-Control": value})
        SETTERS[setter](response, tokens)
    assert response.headers.getlist("Cache-Control") == [value]


async def test_session_lives_in_cookies_over_rotations(cookie_app: Quart) -> None:
    app = cookie_app

    @app.post("/login")
    async def login() -> Any:
        response = Response("")
        qje.set_session_cookies(response, await qje.create_session("alice"))
        return response

    @app.post("/renew")
    @qje.jwt_required(refresh=True)
    async def renew() -> Any:
        response = Response("")
        qje.set_session_cookies(response, await qje.rotate_session())
        return response

    client = app.test_client()
    response = await client.post("/login")
    for _ in range(3):
        csrf = cookies_in(response)["csrf_refresh_token"].partition("=")[2].partition(";")[0]
        assert (await client.get("/protected")).status_code == 200
        assert (await client.post("/renew")).status_code == 401
        response = await client.post("/renew", headers={"X-CSRF-TOKEN": csrf})
        assert response.status_code == 200
        assert set(cookies_in(response)) == COOKIES
    assert (await sessions_of(app))[0].generation == 3


# --- Answers -------------------------------------------------------------------------------------


async def fault(app: Quart, code: str) -> Any:
    """The response to a request that is refused with this code."""
    client = app.test_client(use_cookies=False)
    tokens = await log_in(app)
    await rotated(app, tokens.refresh_token)
    if code == "store_unavailable":
        app.store.faults["check"] = OSError("connection refused")
    response = await client.post("/rotate", headers=bearer(tokens.refresh_token))
    if code == "session_ended":
        response = await client.post("/rotate", headers=bearer(tokens.refresh_token))
    return response


CODES = {
    "token_reused": (*REUSED, ['Bearer error="invalid_token"']),
    "session_ended": (*ENDED, ['Bearer error="invalid_token"']),
    "store_unavailable": (*UNAVAILABLE, []),
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("error_format", ["legacy", "problem"])
async def test_refusal_is_told_in_both_formats(code: str, error_format: str) -> None:
    status, legacy, challenges = CODES[code]
    app = session_app(WatchedStore(), JWT_ERROR_FORMAT=error_format, JWT_REFRESH_GRACE=0)
    response = await fault(app, code)
    body = await response.get_json()
    assert response.status_code == status
    assert response.headers.getlist("WWW-Authenticate") == challenges
    assert ("Retry-After" in response.headers) == (status == 503)
    if status == 503:
        assert int(response.headers["Retry-After"]) > 0
    if error_format == "legacy":
        assert response.content_type == "application/json"
        assert body == legacy
    else:
        assert response.content_type == "application/problem+json"
        assert (body["status"], body["code"], body["detail"]) == (status, code, legacy["msg"])
        assert set(body) == {"type", "title", "status", "detail", "code"}


@pytest.mark.parametrize("code", ["token_reused", "session_ended"])
async def test_own_answer_to_revoked_tokens_is_the_answer(code: str) -> None:
    app = session_app(WatchedStore(), JWT_REFRESH_GRACE=0)
    manager_of(app).revoked_token_loader(lambda header, claims: ({"who": claims["identity"]}, 418))
    response = await fault(app, code)
    assert (response.status_code, await response.get_json()) == (418, {"who": "alice"})


async def test_own_answer_to_revoked_tokens_is_not_that_to_a_store_that_is_away() -> None:
    app = session_app(WatchedStore())
    manager_of(app).revoked_token_loader(lambda: ({}, 418))
    assert (await fault(app, "store_unavailable")).status_code == 503


def test_new_errors_belong_to_those_that_apps_know() -> None:
    assert issubclass(qje.SessionEndedError, qje.RevokedTokenError)
    assert issubclass(qje.TokenReusedError, qje.RevokedTokenError)
    assert issubclass(qje.TokenStoreError, qje.JWTExtendedException)
    assert not issubclass(qje.TokenStoreError, qje.RevokedTokenError)
    assert not issubclass(qje.TokenStoreError, jwt.InvalidTokenError)


# --- A store that fails --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("down"), TypeError("x"), ValueError("x")], ids=repr)
@pytest.mark.parametrize("method", ["check", "rotate_session"])
async def test_rotation_with_a_store_that_fails_gives_nothing(error: Any, method: str) -> None:
    store = WatchedStore()
    app = session_app(store)
    tokens = await log_in(app)
    before = await state_of(store)
    store.faults[method] = error
    assert await rotate(app, tokens.refresh_token) == UNAVAILABLE
    assert await state_of(store) == before
    store.faults.clear()
    assert generation_of((await rotated(app, tokens.refresh_token)).refresh_token) == 1


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("create_session", lambda sid: qje.create_session("alice")),
        ("get_sessions", lambda sid: qje.get_sessions("alice")),
        ("revoke_session", lambda sid: qje.revoke_session(sid)),
        ("revoke_sessions", lambda sid: qje.revoke_sessions("alice")),
    ],
)
async def test_error_of_the_store_is_a_token_store_error_with_its_cause(
    method: str, call: Any
) -> None:
    store = WatchedStore()
    app = session_app(store)
    tokens = await log_in(app)
    store.faults[method] = cause = OSError("down")
    async with app.app_context():
        with pytest.raises(qje.TokenStoreError, match="Token store unavailable") as raised:
            await call(tokens.session_id)
    assert raised.value.__cause__ is cause


async def test_error_of_the_store_in_a_view_answers_503() -> None:
    store = WatchedStore()
    app = session_app(store)
    tokens = await log_in(app)
    store.faults["revoke_session"] = OSError("down")
    assert await ask(app, "/session", tokens.access_token, method="DELETE") == UNAVAILABLE
    assert (await ask(app, "/protected", tokens.access_token))[0] == 200


async def test_store_that_fails_is_logged_with_its_cause(caplog: Any) -> None:
    store = WatchedStore()
    app = session_app(store)
    tokens = await log_in(app)
    store.faults["check"] = OSError("connection refused by 192.0.2.1")
    assert await ask(app, "/protected", tokens.access_token) == UNAVAILABLE
    assert "connection refused by 192.0.2.1" in caplog.text


async def test_error_of_the_app_after_a_revocation_does_not_undo_it() -> None:
    app = session_app(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    tokens = await log_in(app)

    @app.delete("/breaks")
    @qje.jwt_required
    async def breaks() -> None:
        await qje.revoke_session()
        raise LookupError("later")

    assert (await ask(app, "/breaks", tokens.access_token, method="DELETE"))[0] == 500
    assert await ask(app, "/protected", tokens.access_token) == ENDED


async def test_token_of_a_session_can_be_revoked_alone(app: Quart) -> None:
    tokens = await log_in(app)
    assert (await ask(app, "/token", tokens.access_token, method="DELETE"))[0] == 200
    assert await ask(app, "/protected", tokens.access_token) == REVOKED
    again = await rotated(app, tokens.refresh_token)
    assert (await ask(app, "/protected", again.access_token))[0] == 200


async def test_session_of_another_identity_goes_on() -> None:
    app = session_app()
    async with app.app_context():
        alice, bob = await qje.create_session("alice"), await qje.create_session("bob")
        assert await qje.revoke_session(bob.session_id, identity="alice") is False
        assert len(await qje.get_sessions("bob")) == 1
        assert await qje.revoke_session(alice.session_id, identity="alice") is True
        assert await qje.revoke_session(alice.session_id, identity="alice") is False
        assert await qje.get_sessions("alice") == []
