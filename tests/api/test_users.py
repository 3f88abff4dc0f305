"""Loading the user of a request, and what happens when there is none."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import UserLoadError
from support import (
    access_claims,
    ask,
    bearer,
    hs_token,
    in_form,
    make_app,
    manager_of,
    refresh_claims,
)

VIEWS = {
    "/protected": access_claims(),
    "/optional": access_claims(),
    "/fresh": access_claims(fresh=True),
    "/refresh": refresh_claims(),
}
VERIFY = {
    "/protected": qje.verify_jwt_in_request,
    "/optional": qje.verify_jwt_in_request_optional,
    "/fresh": qje.verify_fresh_jwt_in_request,
    "/refresh": qje.verify_jwt_refresh_token_in_request,
}


def load_with(app: Quart, user: Any, is_async: bool = False) -> list[Any]:
    """Register a user loader that gives ``user``; return the list of what it is called with."""
    asked: list[Any] = []

    def load(identity: Any) -> Any:
        asked.append(identity)
        return user

    manager_of(app).user_loader_callback_loader(in_form(load, is_async))
    return asked


class Falsy:
    def __bool__(self) -> bool:
        return False


class Empty:
    def __len__(self) -> int:
        return 0


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@both
@pytest.mark.parametrize("path", VIEWS)
async def test_user_is_loaded_once_in_every_kind_of_view(
    app: Quart, path: str, is_async: bool
) -> None:
    user = object()
    asked = load_with(app, user, is_async)
    async with app.test_request_context("/", headers=bearer(hs_token(VIEWS[path]))):
        assert qje.get_current_user() is None
        await VERIFY[path]()
        assert qje.get_current_user() is user
        assert qje.current_user._get_current_object() is user
    assert asked == ["alice"]


@both
@pytest.mark.parametrize(
    "user",
    [0, 0.0, "", b"", False, [], {}, (), set(), Falsy(), Empty()],
    ids=lambda user: type(user).__name__,
)
async def test_falsy_user_counts_as_loaded(app: Quart, user: Any, is_async: bool) -> None:
    """Only None says that there is no user."""
    load_with(app, user, is_async)
    seen = []

    @app.get("/user")
    @qje.jwt_required
    async def view() -> str:
        seen.append(qje.get_current_user())
        return "ran"

    assert await ask(app, "/user", access_claims()) == (200, "ran")
    assert len(seen) == 1
    assert seen[0] is user


@both
@pytest.mark.parametrize("path", VIEWS)
async def test_user_that_is_none_is_refused_by_every_view(
    app: Quart, path: str, is_async: bool
) -> None:
    """By the optional view too: the token is there, and its user is not."""
    load_with(app, None, is_async)
    assert await ask(app, path, VIEWS[path]) == (401, {"msg": "Error loading the user alice"})
    assert app.calls == []


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        ("", ""),
        (7, "7"),
        (1.5, "1.5"),
        (None, "None"),
        (True, "True"),
        ("ünïcödé", "ünïcödé"),
        ("{braces} %s", "{braces} %s"),
        (["a", 1], "['a', 1]"),
        ({"id": 1}, "{'id': 1}"),
    ],
)
async def test_refusal_names_the_identity(app: Quart, identity: Any, text: str) -> None:
    load_with(app, None)
    answer = await ask(app, "/protected", access_claims(identity=identity))
    assert answer == (401, {"msg": f"Error loading the user {text}"})


@both
async def test_own_error_loader_gets_the_identity(app: Quart, is_async: bool) -> None:
    load_with(app, None)
    received = []

    def refuse(identity: Any) -> Any:
        received.append(identity)
        return {"unknown": identity}, 404

    manager_of(app).user_loader_error_loader(in_form(refuse, is_async))
    claims = access_claims(identity={"id": 1})
    assert await ask(app, "/protected", claims) == (404, {"unknown": {"id": 1}})
    assert received == [{"id": 1}]


async def test_user_load_error_raised_by_the_loader_is_answered_as_such(app: Quart) -> None:
    @manager_of(app).user_loader_callback_loader
    def load(identity: str) -> Any:
        raise UserLoadError("banned")

    answer = await ask(app, "/protected", access_claims())
    assert answer == (401, {"msg": "Error loading the user alice"})
    assert app.calls == []


@pytest.mark.parametrize("path", ["/open", "/optional"])
async def test_no_user_is_loaded_without_a_token(app: Quart, path: str) -> None:
    asked = load_with(app, None)
    assert (await ask(app, path, None))[0] == 200
    assert asked == []


async def test_no_user_is_loaded_for_an_open_view_with_a_token(app: Quart) -> None:
    asked = load_with(app, None)
    assert (await ask(app, "/open", access_claims()))[0] == 200
    assert asked == []


@pytest.mark.parametrize(
    "claims",
    [access_claims(exp=1), refresh_claims(), access_claims(identity=...)],
    ids=["expired", "refresh", "no identity"],
)
async def test_no_user_is_loaded_for_a_refused_token(app: Quart, claims: dict[str, Any]) -> None:
    asked = load_with(app, object())
    assert (await ask(app, "/protected", claims))[0] in (401, 422)
    assert asked == []


async def test_without_a_loader_every_identity_is_let_in(app: Quart) -> None:
    async with app.test_request_context("/", headers=bearer(hs_token(access_claims()))):
        await qje.verify_jwt_in_request()
        assert qje.get_current_user() is None


async def test_loader_gets_the_identity_claim_under_its_configured_name() -> None:
    app = make_app(JWT_IDENTITY_CLAIM="sub")
    asked = load_with(app, object())
    assert (await ask(app, "/protected", access_claims(identity="x", sub="bob")))[0] == 200
    assert asked == ["bob"]


async def test_user_object_made_into_a_token_comes_back_as_the_object(app: Quart) -> None:
    """The identity loader and the user loader are each other's reverse."""

    class User:
        def __init__(self, name: str) -> None:
            self.name = name

    users = {name: User(name) for name in ("alice", "bob")}
    manager_of(app).user_identity_loader(lambda user: user.name)
    manager_of(app).user_loader_callback_loader(users.get)
    async with app.app_context():
        tokens = {name: qje.create_access_token(user) for name, user in users.items()}
    for name, token in tokens.items():
        async with app.test_request_context("/", headers=bearer(token)):
            await qje.verify_jwt_in_request()
            assert qje.get_current_user() is users[name]


@pytest.mark.parametrize("path", ["/protected", "/optional"])
async def test_user_of_one_request_is_gone_in_the_next(app: Quart, path: str) -> None:
    load_with(app, object())
    client = app.test_client()
    assert (await client.get(path, headers=bearer(hs_token(access_claims())))).status_code == 200
    async with app.test_request_context("/"):
        assert qje.get_current_user() is None
