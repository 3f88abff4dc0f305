"""Scopes: what a token grants (RFC 8693, RFC 9068), what a route asks for, and the refusal."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from quart import Quart

import quart_jwt_extended as qje
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

REFUSED = (403, {"msg": "Insufficient scope"})
MALFORMED = (422, {"msg": "Missing or invalid claim: scope"})


def scoped_app(scopes: Any, rules: dict[str, Any] | None = None, **options: Any) -> Quart:
    """An app with /decorated and /verified, which ask for the same scopes."""
    app = make_app(**options)
    rules = rules or {}

    @app.get("/decorated")
    @qje.jwt_required(scopes=scopes, **rules)
    async def decorated() -> str:
        app.calls.append("decorated")
        return "granted"

    @app.get("/verified")
    async def verified() -> str:
        await qje.verify_jwt_in_request(scopes=scopes, **rules)
        app.calls.append("verified")
        return "granted"

    return app


async def answer_of(app: Quart, claims: dict[str, Any] | None) -> tuple[int, Any]:
    """The answer of both routes, which must be one."""
    answers = [await ask(app, path, claims) for path in ("/decorated", "/verified")]
    assert answers[0] == answers[1]
    return answers[0]


@pytest.mark.parametrize(
    "granted",
    [
        "read",
        "read write",
        "write read admin",
        " read",
        "read ",
        "write  read",
        ["read"],
        ["write", "read"],
        ["read", 1, None],
    ],
    ids=repr,
)
async def test_token_with_the_scope_is_let_in(granted: Any) -> None:
    app = scoped_app("read")
    assert await answer_of(app, access_claims(scope=granted)) == (200, "granted")
    assert app.calls == ["decorated", "verified"]


@pytest.mark.parametrize(
    "granted",
    [
        ...,
        "",
        " ",
        "write",
        "READ",
        "reading",
        "rea",
        "pre-read",
        "read,write",
        "write\tread",
        "write\nread",
        [],
        [""],
        ["write"],
        ["read write"],
        ["READ"],
        [["read"]],
        [1, None, True],
    ],
    ids=repr,
)
async def test_token_without_the_scope_is_refused_with_403(granted: Any) -> None:
    app = scoped_app("read")
    assert await answer_of(app, access_claims(scope=granted)) == REFUSED
    assert app.calls == []


@pytest.mark.parametrize("granted", [None, True, 1, 1.5, {}, {"read": True}], ids=repr)
async def test_scope_claim_of_a_wrong_type_makes_the_token_invalid(granted: Any) -> None:
    app = scoped_app("read")
    assert await answer_of(app, access_claims(scope=granted)) == MALFORMED
    assert app.calls == []


@pytest.mark.parametrize("granted", [None, 1, {"read": True}, "", []], ids=repr)
async def test_route_without_scopes_does_not_look_at_the_claim(granted: Any) -> None:
    app = make_app()
    assert (await ask(app, "/protected", access_claims(scope=granted)))[0] == 200


NAMES = ("admin", "read", "write")


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
@pytest.mark.parametrize("claim", [" ".join, list], ids=["string", "list"])
async def test_all_of_several_scopes_must_be_granted(kind: Any, claim: Any) -> None:
    app = scoped_app(kind(["read", "write"]))
    for size in range(4):
        for granted in itertools.permutations(NAMES, size):
            answer = await answer_of(app, access_claims(scope=claim(granted)))
            assert answer == ((200, "granted") if {"read", "write"} <= {*granted} else REFUSED)


async def test_scope_names_of_oauth_may_be_urls_and_hold_punctuation() -> None:
    names = ["https://api.example/read", "user:email", "a!#$%&'()*+-./:;<=>?@[]^_`{|}~"]
    app = scoped_app(names)
    assert (await answer_of(app, access_claims(scope=" ".join(names))))[0] == 200
    assert await answer_of(app, access_claims(scope=" ".join(names[:2]))) == REFUSED


async def test_list_of_scopes_is_read_when_the_route_is_decorated() -> None:
    scopes = ["read"]
    app = make_app()

    @app.get("/decorated")
    @qje.jwt_required(scopes=scopes)
    async def decorated() -> str:
        return "granted"

    scopes.append("write")
    assert (await ask(app, "/decorated", access_claims(scope="read")))[0] == 200


# --- Together with the other options -------------------------------------------


async def test_optional_route_asks_a_token_for_scopes_and_nobody_else() -> None:
    app = scoped_app("read", {"optional": True})
    assert await answer_of(app, None) == (200, "granted")
    assert await answer_of(app, access_claims(scope="read")) == (200, "granted")
    assert await answer_of(app, access_claims()) == REFUSED


async def test_stale_token_is_answered_before_scopes() -> None:
    app = scoped_app("read", {"fresh": True})
    assert await answer_of(app, access_claims()) == (401, {"msg": "Fresh token required"})
    assert await answer_of(app, access_claims(fresh=True)) == REFUSED


async def test_revoked_token_is_answered_before_scopes() -> None:
    app = scoped_app("read")
    manager_of(app).token_in_blocklist_loader(lambda header, claims: True)
    assert await answer_of(app, access_claims()) == (401, {"msg": "Token has been revoked"})


async def test_refresh_token_grants_its_scopes_too() -> None:
    app = scoped_app("read", {"refresh": True})
    assert (await answer_of(app, refresh_claims(scope="read")))[0] == 200
    assert await answer_of(app, refresh_claims(scope="write")) == REFUSED


async def test_refused_token_reaches_neither_claims_callback_nor_user_loader() -> None:
    app = scoped_app("read")
    called: list[str] = []
    manager_of(app).claims_verification_loader(lambda claims: called.append("claims") or True)
    manager_of(app).user_loader_callback_loader(lambda identity: called.append("user") or identity)
    assert await answer_of(app, access_claims()) == REFUSED
    assert called == []


# --- JWT_SCOPE_CLAIM -----------------------------------------------------------


async def test_scope_claim_option_names_the_claim_that_is_read() -> None:
    app = scoped_app("read", JWT_SCOPE_CLAIM="scp")
    assert (await answer_of(app, access_claims(scp=["read"])))[0] == 200
    assert (await answer_of(app, access_claims(scp="read")))[0] == 200
    assert await answer_of(app, access_claims(scope="read")) == REFUSED
    answer = await answer_of(app, access_claims(scp=5, scope="read"))
    assert answer == (422, {"msg": "Missing or invalid claim: scp"})


async def test_created_token_grants_the_scopes_it_was_given() -> None:
    app = scoped_app(["read", "write"])
    async with app.app_context():
        tokens = [
            qje.create_access_token("alice", additional_claims={"scope": scope})
            for scope in ("read write", ["write", "read"], "read")
        ]
    statuses = [(await ask(app, "/decorated", token))[0] for token in tokens]
    assert statuses == [200, 200, 403]


# --- insufficient_scope_loader -------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("scopes", "required"),
    [
        ("read", ("read",)),
        (["write", "read"], ("write", "read")),
        (("write", "read"), ("write", "read")),
        ({"write", "read"}, ("read", "write")),
    ],
)
async def test_callback_gets_the_required_scopes_and_the_claims(
    scopes: Any, required: tuple[str, ...], is_async: bool
) -> None:
    app = scoped_app(scopes)
    received: list[Any] = []

    def answer(required: tuple[str, ...], claims: dict[str, Any]) -> Any:
        received.append((required, claims))
        return {"identity": qje.get_jwt_identity(), "location": qje.get_jwt_request_location()}, 404

    callback = in_form(answer, is_async)
    assert manager_of(app).insufficient_scope_loader(callback) is callback
    claims = access_claims(scope="other")
    assert await answer_of(app, claims) == (404, {"identity": "alice", "location": "headers"})
    assert received == [(required, {**claims, "user_claims": {}})] * 2
    assert app.calls == []


async def test_callback_that_changes_the_claims_does_not_change_later_requests() -> None:
    app = scoped_app("read")

    @manager_of(app).insufficient_scope_loader
    def answer(required: tuple[str, ...], claims: dict[str, Any]) -> Any:
        seen = claims["scope"]
        claims["scope"] = "read"
        return {"seen": seen}, 403

    for _ in range(2):
        assert await answer_of(app, access_claims(scope="x")) == (403, {"seen": "x"})


async def test_exception_holds_what_is_required() -> None:
    async with make_app().test_request_context("/", headers=bearer(hs_token(access_claims()))):
        with pytest.raises(qje.InsufficientScopeError, match="^Insufficient scope$") as caught:
            await qje.verify_jwt_in_request(scopes=["write", "read"])
    assert caught.value.required == ("write", "read")
    assert isinstance(caught.value, qje.JWTExtendedException)


async def test_exception_raised_bare_by_a_view_is_answered_with_403() -> None:
    app = make_app()
    received: list[Any] = []

    @app.get("/own")
    @qje.jwt_required
    async def own() -> str:
        raise qje.InsufficientScopeError("own words")

    assert await ask(app, "/own", access_claims()) == REFUSED
    manager_of(app).insufficient_scope_loader(
        lambda required, claims: (received.append((required, claims["identity"])) or "own", 403)
    )
    assert await ask(app, "/own", access_claims()) == (403, "own")
    assert received == [((), "alice")]
