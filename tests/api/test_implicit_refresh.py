"""Renewal without a request of its own: which responses bring a new access cookie, which not."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Iterator
from typing import Any

import pytest
from quart import Quart, Response, abort, redirect, websocket

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    access_claims,
    bearer,
    claims_of,
    hs_token,
    in_form,
    make_app,
    manager_of,
)
from support.asgi import opened
from support.sessions import (
    START,
    WatchedStore,
    access_of,
    frozen,
    log_in,
    session_app,
    sessions_of,
    state_of,
)

MINUTE, DAY = 60, 24 * 60 * 60
ACCESS, REFRESH = 15 * MINUTE, 30 * DAY

# Seconds before the end of an access token from which on it is renewed.
SOON = 5 * MINUTE


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with frozen() as frozen_clock:
        yield frozen_clock


def renewing_app(**options: Any) -> Quart:
    app = session_app(
        WatchedStore(),
        **{
            "JWT_TOKEN_LOCATION": ["cookies", "headers"],
            "JWT_IMPLICIT_REFRESH": datetime.timedelta(seconds=SOON),
            **options,
        },
    )

    @app.get("/status/<int:number>")
    @qje.jwt_required
    async def status(number: int) -> Any:
        return "", number

    return app


@pytest.fixture
def app() -> Quart:
    return renewing_app()


async def get(app: Quart, token: str, path: str = "/protected", **request: Any) -> Any:
    """The response to a request whose cookie is the token."""
    headers = {"Cookie": f"access_token_cookie={token}", **request.pop("headers", {})}
    return await app.test_client(use_cookies=False).open(path, headers=headers, **request)


def cookies_in(response: Any) -> dict[str, str]:
    """The values of what a response sets, by name."""
    found: dict[str, str] = {}
    for line in response.headers.getlist("Set-Cookie"):
        name, _, rest = line.partition("=")
        assert name not in found, f"{name} is set twice"
        found[name] = rest.partition(";")[0]
    return found


def new_token_in(response: Any) -> str | None:
    return cookies_in(response).get("access_token_cookie")


async def is_renewed(app: Quart, token: str, path: str = "/protected", **request: Any) -> bool:
    response = await get(app, token, path, **request)
    assert ("access_token_cookie" in cookies_in(response)) == bool(cookies_in(response))
    return new_token_in(response) is not None


# --- When ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "renewed"),
    [
        (ACCESS, False),
        (SOON + 1, False),
        (SOON, False),
        (SOON - 1, True),
        (1, True),
    ],
)
async def test_token_with_less_left_than_configured_is_renewed(
    app: Quart, clock: Any, left: int, renewed: bool
) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - left)
    response = await get(app, tokens.access_token)
    assert response.status_code == 200
    assert (new_token_in(response) is not None) is renewed
    if not renewed:
        assert response.headers.getlist("Set-Cookie") == []
        assert "Cache-Control" not in response.headers
        assert "extend_session" not in app.store.calls


@pytest.mark.parametrize("value", [SOON, datetime.timedelta(seconds=SOON)], ids=str)
async def test_option_is_a_timedelta_or_seconds(clock: Any, value: Any) -> None:
    app = renewing_app(JWT_IMPLICIT_REFRESH=value)
    tokens = await log_in(app)
    assert not await is_renewed(app, tokens.access_token)
    clock.shift(ACCESS - SOON + 1)
    assert await is_renewed(app, tokens.access_token)


async def test_nothing_is_renewed_without_the_option(clock: Any) -> None:
    app = renewing_app(JWT_IMPLICIT_REFRESH=None)
    tokens = await log_in(app)
    clock.shift(ACCESS - 1)
    assert not await is_renewed(app, tokens.access_token)
    assert "extend_session" not in app.store.calls


async def test_option_longer_than_the_lifetime_renews_each_time() -> None:
    app = renewing_app(JWT_IMPLICIT_REFRESH=datetime.timedelta(hours=1))
    token = (await log_in(app)).access_token
    for _ in range(3):
        again = new_token_in(await get(app, token))
        assert again is not None
        assert again != token
        token = again


async def test_expired_token_is_not_renewed(app: Quart, clock: Any) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS + 1)
    response = await get(app, tokens.access_token)
    assert response.status_code == 401
    assert cookies_in(response) == {}


@pytest.mark.parametrize("status", [200, 201, 204, 302, 304, 399])
async def test_answer_below_400_brings_the_token(app: Quart, clock: Any, status: int) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token, f"/status/{status}")
    assert response.status_code == status
    assert new_token_in(response) is not None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 500, 503])
async def test_answer_of_400_and_above_brings_none(app: Quart, clock: Any, status: int) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token, f"/status/{status}")
    assert response.status_code == status
    assert cookies_in(response) == {}
    assert "extend_session" not in app.store.calls


async def test_answer_that_is_raised_is_judged_by_its_status(app: Quart, clock: Any) -> None:
    @app.get("/raised/<int:number>")
    @qje.jwt_required
    async def raised(number: int) -> Any:
        abort(redirect("/open") if number < 400 else number)

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    assert await is_renewed(app, tokens.access_token, "/raised/302")
    assert not await is_renewed(app, tokens.access_token, "/raised/404")


async def test_answer_that_a_hook_turned_into_an_error_brings_none(app: Quart, clock: Any) -> None:
    @app.after_request
    async def refuse(response: Any) -> Any:
        response.status_code = 403
        return response

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token)
    assert (response.status_code, cookies_in(response)) == (403, {})


async def test_view_that_fails_renews_nothing(clock: Any) -> None:
    app = renewing_app(TESTING=False, PROPAGATE_EXCEPTIONS=False)

    @app.get("/fails")
    @qje.jwt_required
    async def fails() -> None:
        raise LookupError

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token, "/fails")
    assert (response.status_code, cookies_in(response)) == (500, {})


@pytest.mark.parametrize("path", ["/protected", "/optional"])
async def test_token_in_a_header_is_not_renewed(app: Quart, clock: Any, path: str) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await app.test_client().get(path, headers=bearer(tokens.access_token))
    assert (response.status_code, cookies_in(response)) == (200, {})


async def test_token_without_a_session_is_not_renewed(app: Quart, clock: Any) -> None:
    async with app.app_context():
        token = qje.create_access_token("alice")
    clock.shift(ACCESS - 60)
    response = await get(app, token)
    assert (response.status_code, cookies_in(response)) == (200, {})


async def test_token_without_an_end_is_not_renewed(app: Quart) -> None:
    tokens = await log_in(app)
    csrf = claims_of(tokens.access_token)["csrf"]
    token = hs_token(access_of(tokens.session_id, exp=..., csrf=csrf))
    assert not await is_renewed(app, token)


async def test_view_that_needs_no_token_renews_none(app: Quart, clock: Any) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    assert not await is_renewed(app, tokens.access_token, "/open")


@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh", "/by-hand"])
async def test_every_view_that_takes_the_token_renews_it(app: Quart, clock: Any, path: str) -> None:
    @app.get("/by-hand")
    async def by_hand() -> str:
        await qje.verify_jwt_in_request()
        return ""

    tokens = await log_in(app, fresh=True)
    clock.shift(ACCESS - 60)
    assert await is_renewed(app, tokens.access_token, path)


async def test_protected_app_renews_the_token(app: Quart, clock: Any) -> None:
    qje.protect(app)
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    assert await is_renewed(app, tokens.access_token, "/open")


@pytest.mark.parametrize("sid", [5, None, [1], {}, "\0", "x", "0" * 31], ids=repr)
async def test_token_of_no_session_is_not_renewed_where_the_check_is_skipped(
    app: Quart, sid: Any
) -> None:
    @app.get("/skip")
    @qje.jwt_required(skip_revocation_check=True)
    async def skip() -> str:
        return "in"

    app.store.forget()
    token = hs_token(access_claims(sid=sid, exp=START + 60, csrf="x"))
    response = await get(app, token, "/skip")
    assert (response.status_code, await response.get_data(as_text=True)) == (200, "in")
    assert cookies_in(response) == {}
    assert app.store.calls == []


async def test_refresh_token_is_not_renewed(app: Quart, clock: Any) -> None:
    tokens = await log_in(app, refresh_expires_delta=600)
    clock.shift(590)
    headers = {"Cookie": f"refresh_token_cookie={tokens.refresh_token}"}
    response = await app.test_client(use_cookies=False).get("/refresh", headers=headers)
    assert (response.status_code, cookies_in(response)) == (200, {})


async def test_unsafe_request_without_a_csrf_value_renews_nothing(app: Quart, clock: Any) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    assert not await is_renewed(app, tokens.access_token, method="POST")
    csrf = {"X-CSRF-TOKEN": claims_of(tokens.access_token)["csrf"]}
    assert await is_renewed(app, tokens.access_token, method="POST", headers=csrf)


async def test_websocket_renews_nothing(app: Quart, clock: Any) -> None:
    @app.websocket("/socket")
    @qje.jwt_required
    async def socket() -> None:
        await websocket.accept()
        await websocket.send_json(qje.get_jwt_identity())

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    headers = {"cookie": f"access_token_cookie={tokens.access_token}"}
    async with opened(app, "/socket", headers=headers) as client:
        accepted = await client.next("websocket.accept")
        assert [name for name, _ in accepted["headers"] if name.lower() == b"set-cookie"] == []
        assert await client.hear() == "alice"


# --- The view has a say --------------------------------------------------------------------------

SETTERS: dict[str, Any] = {
    "access": lambda response, tokens: qje.set_access_cookies(response, tokens.access_token),
    "refresh": lambda response, tokens: qje.set_refresh_cookies(response, tokens.refresh_token),
    "session": lambda response, tokens: qje.set_session_cookies(response, tokens),
    "unset all": lambda response, tokens: qje.unset_jwt_cookies(response),
    "unset access": lambda response, tokens: qje.unset_access_cookies(response),
    "unset refresh": lambda response, tokens: qje.unset_refresh_cookies(response),
}


@pytest.mark.parametrize("setter", SETTERS)
@pytest.mark.parametrize("hook", [False, True], ids=["view", "hook"])
async def test_cookies_that_the_app_set_or_unset_stay(
    app: Quart, clock: Any, setter: str, hook: bool
) -> None:
    """A logout of another view, or a rotation, is not undone by a renewal."""
    tokens = await log_in(app)
    other = await log_in(app, "bob")

    @app.get("/own")
    @qje.jwt_required
    async def own() -> Response:
        response = Response("")
        if not hook:
            SETTERS[setter](response, other)
        return response

    if hook:

        @app.after_request
        async def after(response: Any) -> Any:
            SETTERS[setter](response, other)
            return response

    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token, "/own")
    expected = Response("")
    async with app.app_context():
        SETTERS[setter](expected, other)
    assert response.headers.getlist("Set-Cookie") == expected.headers.getlist("Set-Cookie")


async def test_other_cookies_of_the_app_do_not_hinder(app: Quart, clock: Any) -> None:
    @app.get("/own")
    @qje.jwt_required
    async def own() -> Response:
        response = Response("")
        response.set_cookie("theme", "dark")
        return response

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    cookies = cookies_in(await get(app, tokens.access_token, "/own"))
    assert cookies["theme"] == "dark"
    assert set(cookies) == {"theme", "access_token_cookie", "csrf_access_token"}


@pytest.mark.parametrize("way", ["session", "sessions", "another worker", "token"])
async def test_logout_while_the_view_runs_wins(app: Quart, clock: Any, way: str) -> None:
    """It loses in the recipe of Flask-JWT-Extended, a hook that knows of no session."""

    @app.get("/slow")
    @qje.jwt_required
    async def slow() -> str:
        if way == "session":
            await qje.revoke_session()
        elif way == "sessions":
            await qje.revoke_sessions("alice")
        elif way == "token":
            await qje.revoke_token()
            await qje.revoke_session()
        else:
            await app.store.inner.revoke_session(qje.get_session_id())
        return ""

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token, "/slow")
    assert (response.status_code, cookies_in(response)) == (200, {})


async def test_token_revoked_while_the_view_runs_is_not_renewed(app: Quart, clock: Any) -> None:
    """The view of a logout may revoke its token alone: a new one would undo that."""

    @app.get("/logout")
    @qje.jwt_required
    async def logout() -> str:
        await qje.revoke_token()
        return ""

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    assert not await is_renewed(app, tokens.access_token, "/logout")


async def test_logout_in_another_tab_wins_the_race(app: Quart, clock: Any) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    @qje.jwt_required
    async def slow() -> str:
        started.set()
        await go_on.wait()
        return ""

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    request = asyncio.create_task(get(app, tokens.access_token, "/slow"))
    await asyncio.wait_for(started.wait(), 20)
    async with app.app_context():
        assert await qje.revoke_session(tokens.session_id)
    go_on.set()
    response = await request
    assert (response.status_code, cookies_in(response)) == (200, {})


async def test_session_that_has_ended_is_not_renewed_where_polls_say_nothing_of_it(
    clock: Any,
) -> None:
    """With staleness N a token may still be in; the renewal asks the store itself."""
    app = renewing_app(JWT_REVOCATION_MAX_STALENESS=60)
    tokens = await log_in(app)
    async with app.test_app():
        while "revoked_since" not in app.store.calls:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        clock.shift(ACCESS - 60)
        app.store.inner = qje.MemoryTokenStore()
        response = await get(app, tokens.access_token)
        assert cookies_in(response) == {}


@pytest.mark.parametrize("error", [OSError("down"), TypeError("x")], ids=repr)
async def test_store_that_fails_after_the_view_renews_nothing(
    app: Quart, clock: Any, error: Exception
) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    app.store.faults["extend_session"] = error
    response = await get(app, tokens.access_token)
    # What the view has done is done; the contract leaves open whether its answer is kept.
    assert response.status_code in (200, 503)
    assert cookies_in(response) == {}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("answer", "renewed"), [(True, True), (False, False)])
async def test_loader_can_refuse(
    app: Quart, clock: Any, is_async: bool, answer: bool, renewed: bool
) -> None:
    asked: list[Any] = []
    manager_of(app).implicit_refresh_loader(
        in_form(lambda claims: asked.append(claims) or answer, is_async)
    )
    tokens = await log_in(app)
    assert not await is_renewed(app, tokens.access_token)
    assert asked == []
    clock.shift(ACCESS - 60)
    before = await state_of(app.store)
    assert await is_renewed(app, tokens.access_token) is renewed
    assert [claims["jti"] for claims in asked] == [claims_of(tokens.access_token)["jti"]]
    if not renewed:
        assert await state_of(app.store) == before


# --- What it brings ------------------------------------------------------------------------------


async def test_new_token_keeps_the_claims_and_has_its_own_times(app: Quart, clock: Any) -> None:
    manager_of(app).user_claims_loader(lambda user: {"role": "user"})
    tokens = await log_in(app, fresh=True, additional_claims={"tenant": 7, "scope": "a b"})
    manager_of(app).user_claims_loader(lambda user: {"role": "admin"})
    clock.shift(ACCESS - 60)
    now = START + ACCESS - 60
    response = await get(app, tokens.access_token)
    new = new_token_in(response)
    assert new is not None
    before, after = claims_of(tokens.access_token), claims_of(new)
    times = {"iat": now, "nbf": now, "exp": now + ACCESS, "jti": after["jti"]}
    assert after == {**before, **times}
    assert after["jti"] != before["jti"]
    assert (after["fresh"], after["tenant"], after["sid"]) == (True, 7, tokens.session_id)
    assert cookies_in(response)["csrf_access_token"] == before["csrf"]


async def test_new_cookies_are_as_the_helper_sets_them(clock: Any) -> None:
    app = renewing_app(JWT_COOKIE_SAMESITE="Lax", JWT_COOKIE_SECURE=True, JWT_SESSION_COOKIE=False)
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token)
    expected = Response("")
    async with app.app_context():
        qje.set_access_cookies(expected, new_token_in(response))
    assert response.headers.getlist("Set-Cookie") == expected.headers.getlist("Set-Cookie")


async def test_new_token_works_and_the_old_one_until_its_end(app: Quart, clock: Any) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    new = new_token_in(await get(app, tokens.access_token))
    assert (await get(app, tokens.access_token)).status_code == 200
    clock.shift(61)
    assert (await get(app, tokens.access_token)).status_code == 401
    assert (await get(app, new)).status_code == 200
    async with app.app_context():
        await qje.revoke_session(tokens.session_id)
    assert (await get(app, new)).status_code == 401


async def test_renewal_extends_the_session_without_a_new_generation(app: Quart, clock: Any) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    (before,) = await sessions_of(app)
    assert await is_renewed(app, tokens.access_token)
    (after,) = await sessions_of(app)
    assert after.generation == before.generation == 0
    assert after.rotated_at == before.rotated_at
    assert after.expires_at >= before.expires_at
    assert app.store.calls.count("extend_session") == 1


async def test_new_token_does_not_outlive_the_absolute_end(clock: Any) -> None:
    app = renewing_app(JWT_SESSION_MAX_AGE=ACCESS + 300)
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    new = new_token_in(await get(app, tokens.access_token))
    assert new is not None
    assert claims_of(new)["exp"] == START + ACCESS + 300
    clock.shift(359)
    assert (await get(app, new)).status_code == 200
    again = new_token_in(await get(app, new))
    assert again is None or claims_of(again)["exp"] <= START + ACCESS + 300
    clock.shift(2)
    assert (await get(app, new)).status_code == 401


async def test_new_token_lasts_as_long_as_that_of_the_login(app: Quart, clock: Any) -> None:
    """Not as long as the option says: a login may have asked for a short one."""
    token = (await log_in(app, fresh=True, expires_delta=60)).access_token
    for _ in range(3):
        clock.shift(30)
        token = new_token_in(await get(app, token)) or ""
        claims = claims_of(token)
        assert claims["exp"] - claims["iat"] == 60
        assert claims["iat"] == int(time.time())
    clock.shift(61)
    assert (await get(app, token)).status_code == 401


async def test_exp_that_a_login_claimed_does_not_outlive_the_session(clock: Any) -> None:
    app = renewing_app(JWT_SESSION_MAX_AGE=REFRESH, JWT_IMPLICIT_REFRESH=2 * REFRESH)
    tokens = await log_in(app, additional_claims={"exp": FAR_FUTURE})
    new = new_token_in(await get(app, tokens.access_token))
    assert new is not None
    assert claims_of(new)["exp"] <= START + REFRESH


async def test_renewed_answer_is_not_to_be_stored(app: Quart, clock: Any) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token)
    assert response.headers.getlist("Cache-Control") == ["no-store"]


async def test_cache_control_of_the_app_wins(app: Quart, clock: Any) -> None:
    @app.get("/own")
    @qje.jwt_required
    async def own() -> Response:
        return Response("", headers={"Cache-Control": "private"})

    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    response = await get(app, tokens.access_token, "/own")
    assert new_token_in(response) is not None
    assert response.headers.getlist("Cache-Control") == ["private"]


async def test_client_stays_in_as_long_as_it_comes(app: Quart, clock: Any) -> None:
    token = (await log_in(app)).access_token
    for _ in range(10):
        clock.shift(ACCESS - 60)
        response = await get(app, token)
        assert response.status_code == 200
        token = new_token_in(response) or ""
    clock.shift(ACCESS + 1)
    assert (await get(app, token)).status_code == 401


async def test_requests_at_once_each_bring_a_token_that_works(app: Quart, clock: Any) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    responses = await asyncio.gather(*[get(app, tokens.access_token) for _ in range(10)])
    for response in responses:
        assert (await get(app, new_token_in(response) or "")).status_code == 200


async def test_renewal_beside_a_rotation_disturbs_neither(app: Quart, clock: Any) -> None:
    tokens = await log_in(app)
    clock.shift(ACCESS - 60)
    headers = {
        "Cookie": f"refresh_token_cookie={tokens.refresh_token}",
        "X-CSRF-TOKEN": claims_of(tokens.refresh_token)["csrf"],
    }
    client = app.test_client(use_cookies=False)
    renewal, rotation = await asyncio.gather(
        get(app, tokens.access_token), client.post("/rotate", headers=headers)
    )
    assert (renewal.status_code, rotation.status_code) == (200, 200)
    assert new_token_in(renewal) is not None
    assert (await sessions_of(app))[0].generation == 1


# --- The option ----------------------------------------------------------------------------------


def test_option_without_a_store_is_told_at_the_start() -> None:
    app = make_app(JWT_IMPLICIT_REFRESH=datetime.timedelta(minutes=5))
    with pytest.raises(RuntimeError, match="JWT_IMPLICIT_REFRESH"):
        manager_of(app).check(app)


@pytest.mark.parametrize("value", [-1, 0, True, "5", 1.5, [], datetime.timedelta(0)], ids=repr)
def test_bad_option_is_told_at_the_start(value: Any) -> None:
    with pytest.raises(RuntimeError, match="JWT_IMPLICIT_REFRESH"):
        manager_of(app := renewing_app(JWT_IMPLICIT_REFRESH=value)).check(app)


async def test_token_of_an_unknown_session_is_refused_not_renewed(app: Quart) -> None:
    token = hs_token(access_claims(sid="0" * 30, exp=START + 60, csrf="x"))
    response = await get(app, token)
    assert (response.status_code, cookies_in(response)) == (401, {})
