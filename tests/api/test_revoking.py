"""Revocation: which tokens are checked, what the callback gets, and what its answer does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import RevokedTokenError
from support import (
    access_claims,
    ask,
    bearer,
    hs_token,
    in_form,
    make_app,
    manager_of,
    refresh_claims,
    unhandled,
)

ENABLED = {"JWT_BLACKLIST_ENABLED": True}
REVOKED = (401, {"msg": "Token has been revoked"})

# Every kind of protected view, with the claims that open it.
VIEWS = {
    "/protected": access_claims(),
    "/optional": access_claims(),
    "/fresh": access_claims(fresh=True),
    "/refresh": refresh_claims(),
}


def revoke(app: Quart, answer: Any) -> list[dict[str, Any]]:
    """Register a callback that gives ``answer``; return the list of what it is called with."""
    asked: list[dict[str, Any]] = []

    @manager_of(app).token_in_blacklist_loader
    def is_revoked(claims: dict[str, Any]) -> Any:
        asked.append(claims)
        return answer

    return asked


@pytest.mark.parametrize("path", VIEWS)
async def test_revoked_token_is_refused_by_every_view(path: str) -> None:
    app = make_app(**ENABLED)
    asked = revoke(app, True)
    assert await ask(app, path, VIEWS[path]) == REVOKED
    assert len(asked) == 1
    assert app.calls == []


@pytest.mark.parametrize("path", VIEWS)
async def test_token_that_is_not_revoked_is_let_in_by_every_view(path: str) -> None:
    app = make_app(**ENABLED)
    asked = revoke(app, False)
    assert (await ask(app, path, VIEWS[path]))[0] == 200
    assert asked == [{**VIEWS[path], "user_claims": {}}]
    assert app.calls == [path[1:]]


@pytest.mark.parametrize("path", VIEWS)
async def test_nothing_is_asked_while_revocation_is_off(path: str) -> None:
    app = make_app()
    asked = revoke(app, True)
    assert (await ask(app, path, VIEWS[path]))[0] == 200
    assert asked == []


@pytest.mark.parametrize("answer", [1, "yes", ["entry"], {"revoked": False}, ...], ids=repr)
async def test_any_true_answer_revokes(answer: Any) -> None:
    app = make_app(**ENABLED)
    revoke(app, answer)
    assert await ask(app, "/protected", access_claims()) == REVOKED


@pytest.mark.parametrize("answer", [None, 0, "", [], {}], ids=repr)
async def test_any_false_answer_lets_in(answer: Any) -> None:
    app = make_app(**ENABLED)
    revoke(app, answer)
    assert (await ask(app, "/protected", access_claims()))[0] == 200


@pytest.mark.parametrize(
    ("checks", "types"),
    [
        ("access", ["access"]),
        ("refresh", ["refresh"]),
        (["access"], ["access"]),
        (("refresh",), ["refresh"]),
        ({"access", "refresh"}, ["access", "refresh"]),
        (frozenset(["refresh"]), ["refresh"]),
        ([], []),
        ((), []),
    ],
)
async def test_only_the_configured_types_are_checked(checks: Any, types: list[str]) -> None:
    app = make_app(**ENABLED, JWT_BLACKLIST_TOKEN_CHECKS=checks)
    asked = revoke(app, True)
    for path, claims in VIEWS.items():
        expected = 401 if claims["type"] in types else 200
        assert (await ask(app, path, claims))[0] == expected
    assert {claims["type"] for claims in asked} == set(types)


@pytest.mark.parametrize("path", VIEWS)
async def test_missing_callback_raises_runtime_error_that_names_the_loader(path: str) -> None:
    """Answering as if nothing were revoked would be worse than an error."""
    app = make_app(**ENABLED, TESTING=False, PROPAGATE_EXCEPTIONS=False)
    with unhandled(app) as raised:
        assert (await ask(app, path, VIEWS[path]))[0] == 500
    assert [type(error) for error in raised] == [RuntimeError]
    assert "token_in_blacklist_loader" in str(raised[0])
    assert "JWT_BLACKLIST_ENABLED" in str(raised[0])
    assert app.calls == []


async def test_token_without_an_identifier_reaches_the_callback_as_none() -> None:
    app = make_app(**ENABLED)
    asked = revoke(app, False)
    await ask(app, "/protected", access_claims(jti=...))
    assert [claims["jti"] for claims in asked] == [None]


@pytest.mark.parametrize("path", ["/protected", "/optional"])
@pytest.mark.parametrize(
    "claims", [access_claims(exp=1), refresh_claims(), access_claims(identity=...)]
)
async def test_token_that_fails_earlier_is_not_looked_up(path: str, claims: dict[str, Any]) -> None:
    app = make_app(**ENABLED)
    asked = revoke(app, False)
    assert (await ask(app, path, claims))[0] in (401, 422)
    assert asked == []


@pytest.mark.parametrize("request_args", [{"path": "/optional"}, {"path": "/open"}])
async def test_request_without_a_token_is_not_looked_up(request_args: dict[str, Any]) -> None:
    app = make_app(**ENABLED)
    asked = revoke(app, True)
    assert (await app.test_client().get(**request_args)).status_code == 200
    assert asked == []


@pytest.mark.parametrize(
    "token",
    [
        lambda: qje.create_access_token("alice"),
        lambda: qje.create_refresh_token("alice"),
    ],
    ids=["access", "refresh"],
)
async def test_decoding_a_revoked_token_by_hand_is_allowed(token: Callable[[], str]) -> None:
    """A logout must be able to read what it revokes."""
    app = make_app(**ENABLED)
    asked = revoke(app, True)
    async with app.app_context():
        assert qje.decode_token(token())["identity"] == "alice"
    assert asked == []


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_logout_revokes_one_token_and_no_other(is_async: bool) -> None:
    app = make_app(**ENABLED)
    blacklist: set[str] = set()

    def is_revoked(claims: dict[str, Any]) -> bool:
        return claims["jti"] in blacklist

    manager_of(app).token_in_blacklist_loader(in_form(is_revoked, is_async))

    @app.delete("/logout")
    @qje.jwt_required
    async def logout() -> dict[str, str]:
        blacklist.add(qje.get_raw_jwt()["jti"])
        return {"msg": "bye"}

    async with app.app_context():
        first, second = (qje.create_access_token("alice") for _ in range(2))
        refresh = qje.create_refresh_token("alice")
    client = app.test_client()

    async def statuses() -> list[int]:
        return [
            (await client.get(path, headers=bearer(token))).status_code
            for path, token in (
                ("/protected", first),
                ("/protected", second),
                ("/refresh", refresh),
            )
        ]

    assert await statuses() == [200, 200, 200]
    assert (await client.delete("/logout", headers=bearer(first))).status_code == 200
    assert await statuses() == [401, 200, 200]
    assert (await client.delete("/logout", headers=bearer(first))).status_code == 401
    assert len(blacklist) == 1


async def test_own_answer_to_a_revoked_token_may_wait() -> None:
    app = make_app(**ENABLED)
    revoke(app, True)

    @manager_of(app).revoked_token_loader
    async def answer() -> Any:
        return {"revoked": qje.get_jwt_identity()}, 403

    assert inspect.iscoroutinefunction(answer)
    assert await ask(app, "/protected", access_claims()) == (403, {"revoked": "alice"})


# --- token_in_blocklist_loader -------------------------------------------------


@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh", "/refresh"])
@pytest.mark.parametrize("options", [{}, {"JWT_BLACKLIST_ENABLED": False}])
async def test_revoked_token_is_refused_although_the_blacklist_is_not_enabled(
    options: dict[str, Any], path: str
) -> None:
    """Its users know of no option: a revoked token must not get in for want of it."""
    app = make_app(**options)
    revoked = {"one"}
    manager_of(app).token_in_blocklist_loader(lambda header, claims: claims["jti"] in revoked)
    claims = refresh_claims if path == "/refresh" else access_claims
    fresh = True if path == "/fresh" else ...
    assert await ask(app, path, claims(jti="one", fresh=fresh)) == REVOKED
    assert (await ask(app, path, claims(jti="two", fresh=fresh)))[0] == 200
    assert app.calls == [path[1:]]


async def test_blocklist_loader_goes_by_the_types_that_are_checked() -> None:
    app = make_app(JWT_BLACKLIST_TOKEN_CHECKS=["refresh"])
    manager_of(app).token_in_blocklist_loader(lambda header, claims: True)
    assert (await ask(app, "/protected", access_claims()))[0] == 200
    assert await ask(app, "/refresh", refresh_claims()) == REVOKED


async def test_verify_function_raises_for_a_token_on_the_blocklist(app: Quart) -> None:
    manager_of(app).token_in_blocklist_loader(lambda header, claims: True)
    async with app.test_request_context("/", headers=bearer(hs_token(access_claims()))):
        with pytest.raises(RevokedTokenError):
            await qje.verify_jwt_in_request()
        assert qje.get_jwt_identity() is None


async def test_blocklist_loader_is_not_asked_for_a_request_without_a_token(app: Quart) -> None:
    asked: list[Any] = []
    manager_of(app).token_in_blocklist_loader(lambda header, claims: asked.append(claims))
    assert (await ask(app, "/optional"))[0] == 200
    assert asked == []


@pytest.mark.parametrize("last", ["token_in_blacklist_loader", "token_in_blocklist_loader"])
async def test_last_blocklist_loader_decides_whether_the_option_is_needed(last: str) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=False)
    forms = {
        "token_in_blacklist_loader": lambda claims: True,
        "token_in_blocklist_loader": lambda header, claims: True,
    }
    for loader in sorted(forms, key=lambda name: name == last):
        getattr(manager_of(app), loader)(forms[loader])
    expected = 401 if last == "token_in_blocklist_loader" else 200
    assert (await ask(app, "/protected", access_claims()))[0] == expected
