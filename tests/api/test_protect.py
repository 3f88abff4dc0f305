"""Whole apps and blueprints under protect(), and what is left open in them."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
import quart_cors
from quart import Blueprint, Quart, websocket
from quart.testing import WebsocketResponseError
from quart.views import MethodView, View

import quart_jwt_extended as qje
from support import SECRET, access_claims, bearer, hs_token, refresh_claims

GOOD = hs_token(access_claims())
FRESH = hs_token(access_claims(fresh=True))
REFRESH = hs_token(refresh_claims())
READER = hs_token(access_claims(scope="read"))
MISSING = {"msg": "Missing Authorization Header"}


def new_app(**options: Any) -> Quart:
    app = Quart("guarded")
    app.config.update(TESTING=True, JWT_SECRET_KEY=SECRET, **options)
    qje.JWTManager(app)
    return app


def add(scaffold: Quart | Blueprint, name: str, *decorators: Any, **options: Any) -> None:
    """Add a route /name, under decorators of which the last is the innermost."""

    async def view() -> dict[str, Any]:
        return {"identity": qje.get_jwt_identity()}

    for decorator in reversed(decorators):
        view = decorator(view)
    scaffold.add_url_rule(f"/{name}", name, view, **options)


async def status(app: Quart, path: str, token: str | None = None, method: str = "GET") -> int:
    headers = {} if token is None else bearer(token)
    response = await app.test_client().open(path, method=method, headers=headers)
    return response.status_code


async def is_guarded(app: Quart, path: str) -> bool:
    """Whether a route takes a good token and nothing less; it must be that or open."""
    answers = [
        await status(app, path, token) for token in (None, hs_token(access_claims(exp=1)), GOOD)
    ]
    assert answers in ([401, 401, 200], [200, 200, 200])
    return answers[0] == 401


async def socket_status(app: Quart, path: str, token: str | None = None) -> Any:
    """What a WebSocket says, or the status that its handshake was refused with."""
    headers = {} if token is None else bearer(token)
    try:
        async with app.test_client().websocket(path, headers=headers) as connection:
            return await connection.receive()
    except WebsocketResponseError as error:
        return error.response.status_code


# --- What is guarded -----------------------------------------------------------


@pytest.mark.parametrize("first", ["protect", "routes"])
async def test_every_route_of_an_app_is_guarded_whenever_it_was_added(first: str) -> None:
    app = new_app()
    if first == "protect":
        qje.protect(app)
    add(app, "one")
    blueprint = Blueprint("part", "part", url_prefix="/part")
    add(blueprint, "two")
    app.register_blueprint(blueprint)
    if first == "routes":
        qje.protect(app)
    add(app, "three")
    for path in ("/one", "/part/two", "/three"):
        assert await is_guarded(app, path)


async def test_manager_may_be_bound_after_protect() -> None:
    app = Quart("late")
    app.config["JWT_SECRET_KEY"] = SECRET
    qje.protect(app)
    add(app, "one")
    qje.JWTManager().init_app(app)
    assert await is_guarded(app, "/one")


async def test_guarded_view_has_its_identity() -> None:
    app = new_app()
    qje.protect(app)
    add(app, "one")
    response = await app.test_client().get("/one", headers=bearer(GOOD))
    assert await response.get_json() == {"identity": "alice"}


async def test_nothing_outside_of_the_blueprint_is_guarded() -> None:
    app = new_app()
    guarded, other = (
        Blueprint(name, name, url_prefix=f"/{name}") for name in ("guarded", "guarded_not")
    )
    qje.protect(guarded)
    for scaffold in (app, guarded, other):
        add(scaffold, "page")
    app.register_blueprint(guarded)
    app.register_blueprint(other)
    assert await is_guarded(app, "/guarded/page")
    assert not await is_guarded(app, "/guarded_not/page")
    assert not await is_guarded(app, "/page")
    assert await status(app, "/guarded/nothing") == 404


async def test_blueprint_is_guarded_in_each_app_and_under_each_name() -> None:
    blueprint = Blueprint("part", "part")
    qje.protect(blueprint, exempt="open")
    add(blueprint, "page")
    add(blueprint, "open")
    for app in (new_app(), new_app()):
        app.register_blueprint(blueprint, url_prefix="/first")
        app.register_blueprint(blueprint, url_prefix="/second", name="second")
        for prefix in ("/first", "/second"):
            assert await is_guarded(app, f"{prefix}/page")
            assert not await is_guarded(app, f"{prefix}/open")


def nested(guarded: list[str], **options: Any) -> Quart:
    """An app > outer > middle > inner, each with a /page, of which ``guarded`` are protected."""
    app = new_app()
    scaffolds: dict[str, Any] = {"app": app}
    for name in ("outer", "middle", "inner"):
        scaffolds[name] = Blueprint(name, name, url_prefix=f"/{name}")
    for name, scaffold in scaffolds.items():
        add(scaffold, "page")
        if name in guarded:
            qje.protect(scaffold, **options)
    scaffolds["middle"].register_blueprint(scaffolds["inner"])
    scaffolds["outer"].register_blueprint(scaffolds["middle"])
    app.register_blueprint(scaffolds["outer"])
    return app


PAGES = ["/page", "/outer/page", "/outer/middle/page", "/outer/middle/inner/page"]


@pytest.mark.parametrize("depth", range(4))
async def test_guard_reaches_nested_blueprints_and_no_outer_one(depth: int) -> None:
    app = nested([["app", "outer", "middle", "inner"][depth]])
    assert [await is_guarded(app, path) for path in PAGES] == [False] * depth + [True] * (4 - depth)


async def test_guards_of_app_and_blueprint_must_both_be_satisfied() -> None:
    app = new_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")
    qje.protect(app, scopes="read")
    qje.protect(blueprint, fresh=True)
    add(app, "page")
    add(blueprint, "page")
    app.register_blueprint(blueprint)
    fresh_reader = hs_token(access_claims(fresh=True, scope="read"))
    for token, in_app, in_blueprint in (
        (None, 401, 401),
        (READER, 200, 401),
        (FRESH, 403, 403),
        (fresh_reader, 200, 200),
    ):
        assert await status(app, "/page", token) == in_app
        assert await status(app, "/part/page", token) == in_blueprint


async def test_protecting_twice_asks_for_both() -> None:
    app = new_app()
    qje.protect(app)
    qje.protect(app, scopes="read", exempt="page")
    add(app, "page")
    add(app, "other")
    assert await status(app, "/page", GOOD) == 200
    assert await status(app, "/other", GOOD) == 403
    assert await status(app, "/other", READER) == 200
    assert await status(app, "/page") == 401


@pytest.mark.parametrize(
    ("options", "good", "bad", "refusal"),
    [
        ({"fresh": True}, FRESH, GOOD, 401),
        ({"refresh": True}, REFRESH, GOOD, 422),
        ({"scopes": "read"}, READER, GOOD, 403),
        ({"optional": True}, None, REFRESH, 422),
        ({"verify_type": False}, REFRESH, None, 401),
        ({"locations": "headers"}, GOOD, None, 401),
    ],
)
async def test_options_of_protect_are_those_of_jwt_required(
    options: dict[str, Any], good: str | None, bad: str | None, refusal: int
) -> None:
    app = new_app(JWT_TOKEN_LOCATION="query_string" if "locations" in options else "headers")
    qje.protect(app, **options)
    add(app, "page")
    assert await status(app, "/page", good) == 200
    assert await status(app, "/page", bad) == refusal


async def test_skip_revocation_check_holds_for_the_whole_app() -> None:
    app = new_app()
    app.extensions["quart-jwt-extended"].token_in_blocklist_loader(lambda header, claims: True)
    qje.protect(app, skip_revocation_check=True)
    add(app, "page")
    add(app, "own", qje.jwt_required)
    assert await status(app, "/page", GOOD) == 200
    assert await status(app, "/own", GOOD) == 401


async def test_static_files_are_guarded_until_they_are_exempt(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "page.css").write_text("body {}")
    for exempt, expected in (((), 401), (("static",), 200)):
        app = Quart("guarded", root_path=str(tmp_path))
        app.config["JWT_SECRET_KEY"] = SECRET
        qje.JWTManager(app)
        qje.protect(app, exempt=exempt)
        assert await status(app, "/static/page.css") == expected
        assert await status(app, "/static/page.css", GOOD) == 200


# --- What is not a view --------------------------------------------------------


async def test_unknown_route_stays_404_and_wrong_method_405() -> None:
    app = new_app()
    qje.protect(app)
    add(app, "page", methods=["GET", "PUT"])
    assert await status(app, "/nothing") == 404
    assert await status(app, "/nothing", GOOD) == 404
    assert await status(app, "/page", method="POST") == 405
    assert await status(app, "/page", GOOD, method="POST") == 405
    assert await status(app, "/page", method="PUT") == 401


async def test_redirect_to_the_trailing_slash_stays_a_redirect() -> None:
    app = new_app()
    qje.protect(app)

    @app.get("/folder/")
    async def folder() -> str:
        return "folder"

    assert await status(app, "/folder") in (301, 307, 308)
    assert await status(app, "/folder/") == 401


async def test_options_request_that_quart_answers_is_exempt() -> None:
    app = new_app()
    qje.protect(app, scopes="read")
    add(app, "page")
    assert await status(app, "/page", method="OPTIONS") == 200
    assert await status(app, "/page", "nonsense", method="OPTIONS") == 200
    assert await status(app, "/page") == 401


@pytest.mark.parametrize("decorators", [(), (qje.jwt_required,)], ids=["by the app", "by itself"])
async def test_options_request_that_a_view_takes_is_guarded(decorators: Any) -> None:
    app = new_app()
    if not decorators:
        qje.protect(app)
    add(app, "page", *decorators, methods=["GET", "OPTIONS"])
    assert await status(app, "/page", method="OPTIONS") == 401
    assert await status(app, "/page", GOOD, method="OPTIONS") == 200
    app.config["JWT_EXEMPT_OPTIONS"] = True
    assert await status(app, "/page", method="OPTIONS") == 200


@pytest.mark.parametrize("is_above", [True, False], ids=["above", "below"])
async def test_preflight_that_quart_cors_answers_is_exempt(is_above: bool) -> None:
    """It fails by itself under Quart 0.23, which its release 0.8 does not know yet."""
    app, plain = new_app(), new_app()
    qje.protect(app)
    cors = quart_cors.route_cors(allow_origin="https://app.example")
    own_answer = quart_cors.route_cors(
        allow_origin="https://app.example", provide_automatic_options=False
    )
    order = (cors, qje.jwt_required) if is_above else (qje.jwt_required, cors)
    add(app, "page", *order)
    add(app, "guarded", cors)
    add(app, "own", own_answer, methods=["GET", "OPTIONS"])
    add(plain, "page", cors)
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    answered = (await plain.test_client().options("/page", headers=preflight)).status_code
    for path, expected in (("/page", answered), ("/guarded", answered), ("/own", 401)):
        response = await app.test_client().options(path, headers=preflight)
        assert response.status_code == expected
        assert await status(app, path) == 401
        assert await status(app, path, GOOD) == 200
    response = await app.test_client().get(
        "/page", headers={**bearer(GOOD), "Origin": "https://app.example"}
    )
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"


async def test_head_request_is_guarded_as_get_is() -> None:
    app = new_app()
    qje.protect(app)
    add(app, "page")
    add(app, "open", qje.jwt_exempt)
    assert await status(app, "/page", method="HEAD") == 401
    assert await status(app, "/page", GOOD, method="HEAD") == 200
    assert await status(app, "/open", method="HEAD") == 200


async def test_error_handlers_answer_the_refusal_of_a_guard() -> None:
    app = new_app()
    qje.protect(app)
    add(app, "page")
    response = await app.test_client().get("/page")
    assert (response.status_code, await response.get_json()) == (401, MISSING)
    assert response.headers["WWW-Authenticate"] == "Bearer"

    @app.extensions["quart-jwt-extended"].unauthorized_loader
    async def answer(reason: str) -> Any:
        return {"own": reason}, 418

    response = await app.test_client().get("/page")
    assert (response.status_code, await response.get_json()) == (418, {"own": MISSING["msg"]})


async def test_error_handler_of_the_blueprint_answers_the_refusal_of_a_guard() -> None:
    app = new_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")
    qje.protect(blueprint)
    add(blueprint, "page")

    @blueprint.errorhandler(qje.NoAuthorizationError)
    async def answer(error: Exception) -> Any:
        return {"blueprint": str(error)}, 418

    app.register_blueprint(blueprint)
    response = await app.test_client().get("/part/page")
    assert (response.status_code, await response.get_json()) == (
        418,
        {"blueprint": MISSING["msg"]},
    )


async def test_refused_request_reaches_neither_view_nor_later_before_request() -> None:
    app = new_app()
    qje.protect(app)
    ran: list[str] = []

    @app.before_request
    async def later() -> None:
        ran.append("before_request")

    @app.get("/page")
    async def page() -> str:
        ran.append("view")
        return ""

    assert await status(app, "/page") == 401
    assert ran == []
    assert await status(app, "/page", GOOD) == 200
    assert ran == ["before_request", "view"]


# --- Rules of the app and of a view add up -------------------------------------

OWN_RULES: list[tuple[Any, dict[str, Any]]] = [
    (qje.jwt_required, {}),
    (qje.jwt_optional, {"optional": True}),
    (qje.fresh_jwt_required, {"fresh": True}),
    (qje.jwt_refresh_token_required, {"refresh": True}),
    (qje.jwt_required(optional=True), {"optional": True}),
    (qje.jwt_required(fresh=True), {"fresh": True}),
    (qje.jwt_required(scopes="read"), {"scopes": "read"}),
    (qje.jwt_required(scopes=()), {"scopes": ()}),
    (qje.jwt_required(locations="query_string"), {"locations": "query_string"}),
    (qje.jwt_required(verify_type=False), {"verify_type": False}),
]
APP_RULES: list[dict[str, Any]] = [
    {},
    {"optional": True},
    {"fresh": True},
    {"refresh": True},
    {"scopes": ["read", "write"]},
    {"locations": "query_string"},
]


TOKENS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "access": access_claims(),
    "fresh": access_claims(fresh=True),
    "reader": access_claims(scope="read"),
    "writer": access_claims(scope="read write", fresh=True),
    "refresh": refresh_claims(),
    "refresh of a reader": refresh_claims(scope="read write"),
}


def lets_in(app_rules: dict[str, Any], rules: dict[str, Any], claims: Any, in_query: bool) -> bool:
    """Whether both together let a token in, by the words of the documentation."""
    locations = rules.get("locations") or app_rules.get("locations") or "headers"
    if claims is None or (locations == "query_string") is not in_query:
        return bool(rules.get("optional"))
    if app_rules.get("refresh") and not rules.get("refresh") and rules.get("verify_type", True):
        # They contradict each other.
        return False
    is_refresh = rules.get("refresh") or app_rules.get("refresh")
    if (claims["type"] == "refresh") is not bool(is_refresh):
        return False
    is_fresh = rules.get("fresh") or (app_rules.get("fresh") and not rules.get("refresh"))
    scopes = set() if rules.get("scopes") == () else {*app_rules.get("scopes", ())}
    scopes |= {"read"} if rules.get("scopes") == "read" else set()
    granted = set(claims.get("scope", "").split())
    return scopes <= granted and (not is_fresh or claims.get("fresh") is True)


@pytest.mark.parametrize("app_rules", APP_RULES, ids=str)
@pytest.mark.parametrize(("decorator", "rules"), OWN_RULES, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("below", [False, True], ids=["directly", "below a wrapper"])
async def test_rules_of_the_app_and_of_the_view_are_both_required(
    app_rules: dict[str, Any], decorator: Any, rules: dict[str, Any], below: bool
) -> None:
    app = new_app()
    qje.protect(app, **app_rules)
    add(app, "page", *((wrapping, decorator) if below else (decorator,)))
    for name, claims in TOKENS.items():
        token = None if claims is None else hs_token(claims)
        in_header = await status(app, "/page", token) == 200
        query = {"query_string": {"jwt": token}} if token else {}
        in_query = (await app.test_client().get("/page", **query)).status_code == 200
        assert in_header is lets_in(app_rules, rules, claims, False), name
        assert in_query is lets_in(app_rules, rules, claims, True), name


async def test_rules_of_all_blueprints_around_a_view_are_required() -> None:
    app = new_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")
    qje.protect(app, fresh=True)
    qje.protect(blueprint, scopes="read")
    add(blueprint, "lax", qje.jwt_optional)
    add(blueprint, "refresh", qje.jwt_refresh_token_required)
    add(blueprint, "free", qje.jwt_required(scopes=()))
    app.register_blueprint(blueprint)
    both = hs_token(access_claims(scope="read", fresh=True))
    assert await status(app, "/part/lax") == 200
    for token, expected in ((GOOD, 401), (FRESH, 403), (READER, 401), (both, 200)):
        assert await status(app, "/part/lax", token) == expected
    assert await status(app, "/part/refresh", hs_token(refresh_claims(scope="read"))) == 200
    assert await status(app, "/part/refresh", REFRESH) == 403
    assert await status(app, "/part/refresh", both) == 422
    assert await status(app, "/part/free", FRESH) == 200
    assert await status(app, "/part/free", READER) == 401


async def test_guards_that_contradict_each_other_let_nobody_in() -> None:
    for outer, inner in (
        ({"refresh": True}, {"fresh": True}),
        ({"fresh": True}, {"refresh": True}),
    ):
        app = new_app()
        blueprint = Blueprint("part", "part", url_prefix="/part")
        qje.protect(app, **outer)
        qje.protect(blueprint, **inner)
        add(blueprint, "page")
        app.register_blueprint(blueprint)
        for token in (GOOD, FRESH, REFRESH):
            assert await status(app, "/part/page", token) != 200


async def test_blueprint_for_refresh_tokens_may_be_in_a_protected_app() -> None:
    app = new_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")
    qje.protect(app)
    qje.protect(blueprint, refresh=True)
    add(blueprint, "page")
    app.register_blueprint(blueprint)
    assert await status(app, "/part/page", REFRESH) == 200
    assert await status(app, "/part/page", FRESH) == 422


async def test_guard_holds_where_it_was_not_expected() -> None:
    """A guard that came later, and one whose hook another app took over."""
    app, other = new_app(), new_app()
    qje.protect(app)
    for scaffold in (app, other):
        add(scaffold, "page")
    assert await status(app, "/page", GOOD) == 200
    app._got_first_request = False
    qje.protect(app, scopes="read")
    assert await status(app, "/page", GOOD) == 403
    other.before_request_funcs[None].extend(app.before_request_funcs[None])
    assert await status(other, "/page") == 401
    assert await status(other, "/page", READER) == 200


async def test_method_that_is_replaced_on_a_class_is_guarded_anew() -> None:
    app = new_app()
    qje.protect(app)

    class Page(MethodView):
        @qje.jwt_exempt
        async def get(self) -> str:
            return ""

    async def get(self: Any) -> str:
        return ""

    app.add_url_rule("/page", view_func=Page.as_view("page"))
    assert await status(app, "/page") == 200
    Page.get = get  # type: ignore[method-assign]
    assert await is_guarded(app, "/page")


async def test_guard_marks_the_token_that_it_has_verified() -> None:
    """And not one that a task of the application verifies meanwhile."""
    app = new_app(JWT_TOKEN_LOCATION=["headers", "query_string"])
    started = asyncio.Event()
    tasks: list[Any] = []

    @app.extensions["quart-jwt-extended"].token_in_blocklist_loader
    async def is_revoked(header: Any, claims: dict[str, Any]) -> bool:
        if claims["identity"] == "bob":
            await started.wait()
        else:
            started.set()
            await tasks[0]
        return False

    @app.before_request
    async def start() -> None:
        rules = {"refresh": True, "locations": "query_string"}
        tasks.append(asyncio.ensure_future(qje.verify_jwt_in_request(**rules)))

    qje.protect(app, scopes="read")
    add(app, "page", qje.jwt_required(scopes="read"))
    bob = hs_token(refresh_claims(identity="bob"))
    response = await app.test_client().get(
        "/page", headers=bearer(READER), query_string={"jwt": bob}
    )
    assert (await response.get_json()) == {"identity": "alice"}


async def test_methods_of_clients_do_not_fill_the_memory() -> None:
    app = new_app()
    qje.protect(app)
    app.url_map.add(app.url_rule_class("/any", endpoint="any"))

    @app.endpoint("any")
    async def any_method() -> str:
        return ""

    await status(app, "/any", method="M0")
    gc.collect()
    before = len(gc.get_objects())
    for number in range(200):
        assert await status(app, "/any", method=f"M{number}") == 401
    gc.collect()
    assert len(gc.get_objects()) - before < 150


async def test_decorators_of_bound_methods_are_seen() -> None:
    class Pages:
        @qje.jwt_optional
        async def lax(self) -> str:
            return ""

        @qje.jwt_exempt
        async def open(self) -> str:
            return ""

    app = new_app()
    qje.protect(app)
    app.add_url_rule("/lax", "lax", Pages().lax)
    app.add_url_rule("/open", "open", Pages().open)
    assert await status(app, "/lax") == 200
    assert await status(app, "/lax", "nonsense") == 422
    assert await status(app, "/open") == 200


@pytest.mark.parametrize(
    ("app_rules", "rules", "expected"),
    [
        ({}, {"verify_type": False}, 422),
        ({"verify_type": False}, {}, 422),
        ({"verify_type": False}, {"verify_type": False}, 200),
    ],
    ids=str,
)
async def test_stricter_verify_type_counts(app_rules: Any, rules: Any, expected: int) -> None:
    app = new_app()
    qje.protect(app, **app_rules)
    add(app, "page", qje.jwt_required(**rules))
    assert await status(app, "/page", REFRESH) == expected


@pytest.mark.parametrize("by_app", [True, False])
@pytest.mark.parametrize("by_view", [True, False])
async def test_revocation_is_checked_unless_all_rules_skip_it(by_app: bool, by_view: bool) -> None:
    app = new_app()
    app.extensions["quart-jwt-extended"].token_in_blocklist_loader(lambda header, claims: True)
    qje.protect(app, skip_revocation_check=by_app)
    add(app, "page", qje.jwt_required(skip_revocation_check=by_view))
    assert await status(app, "/page", GOOD) == (200 if by_app and by_view else 401)


async def test_request_is_verified_once_by_guards_and_decorators() -> None:
    app = new_app()
    checks: list[str] = []
    manager = app.extensions["quart-jwt-extended"]

    @manager.token_in_blocklist_loader
    async def is_revoked(header: Any, claims: dict[str, Any]) -> bool:
        checks.append(claims["identity"])
        return False

    blueprint = Blueprint("part", "part")
    qje.protect(app)
    qje.protect(app, scopes="read")
    qje.protect(blueprint, scopes="write")
    add(blueprint, "page", wrapping, qje.jwt_required(scopes="admin"))
    app.register_blueprint(blueprint)
    assert await status(app, "/page", hs_token(access_claims(scope="read write admin"))) == 200
    assert checks == ["alice"]
    assert await status(app, "/page", hs_token(access_claims(scope="read write"))) == 403


async def test_cache_above_a_protected_view_answers_nobody_else() -> None:
    """The guard verifies by the rules of the view, before what is wrapped around it."""
    app = new_app()
    qje.protect(app)

    def cached(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        async def wrapper() -> Any:
            if not hasattr(wrapper, "answer"):
                wrapper.answer = await view()  # type: ignore[attr-defined]
            return wrapper.answer  # type: ignore[attr-defined]

        return wrapper

    add(app, "page", cached, qje.jwt_required)
    add(app, "scoped", cached, qje.jwt_required(scopes="read"))
    add(app, "lax", cached, qje.jwt_optional)
    for path, good, poor in (("/page", GOOD, None), ("/scoped", READER, GOOD)):
        assert await status(app, path, good) == 200
        assert await status(app, path, poor) == (401 if poor is None else 403)
        assert await status(app, path, hs_token(access_claims(exp=1))) == 401
    assert await status(app, "/lax", "nonsense") == 422


@pytest.mark.parametrize("name", ["_jwt_extended_rules", "_jwt_extended_guards", "__wrapped__"])
async def test_attribute_of_a_view_does_not_open_it(name: str) -> None:
    app = new_app()
    qje.protect(app)

    async def view() -> str:
        return ""

    setattr(view, name, None)
    app.add_url_rule("/page", "page", view)
    mock = AsyncMock(return_value="", required_methods=(), provide_automatic_options=True)
    app.add_url_rule("/mock", "mock", mock, methods=["GET"])
    for path in ("/page", "/mock"):
        assert await is_guarded(app, path)


@pytest.mark.parametrize("token", [GOOD, REFRESH, FRESH], ids=["access", "refresh", "fresh"])
async def test_decorators_that_contradict_each_other_let_nobody_in(token: str) -> None:
    """With protect() as without it."""
    for guarded in (True, False):
        app = new_app()
        if guarded:
            qje.protect(app)
        add(app, "page", qje.jwt_refresh_token_required, qje.fresh_jwt_required)
        assert await status(app, "/page", token) != 200


async def test_own_rules_hold_on_a_view_that_is_exempt_by_name() -> None:
    app = new_app()
    qje.protect(app, exempt="page")
    add(app, "page", qje.fresh_jwt_required)
    assert await status(app, "/page") == 401
    assert await status(app, "/page", GOOD) == 401
    assert await status(app, "/page", FRESH) == 200


def wrapping(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as applications write them."""

    @functools.wraps(view)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await view(*args, **kwargs)

    return wrapper


def bare(view: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that hides what it wraps."""

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await view(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    "decorators",
    [
        (wrapping, qje.jwt_optional),
        (qje.jwt_optional, wrapping),
        (wrapping, qje.jwt_optional, wrapping),
        (qje.jwt_optional, bare),
        (wrapping, wrapping, qje.jwt_required(optional=True)),
    ],
    ids=lambda value: " ".join(getattr(item, "__name__", "?") for item in value),
)
async def test_own_rules_are_seen_through_wrappers(decorators: Any) -> None:
    app = new_app()
    qje.protect(app)
    add(app, "page", *decorators)
    assert await status(app, "/page") == 200
    assert await status(app, "/page", "nonsense") == 422


# --- jwt_exempt and exempt= ----------------------------------------------------


async def test_exemption_belongs_to_the_registered_view_and_not_to_its_function() -> None:
    app, other = new_app(), new_app()

    async def page() -> str:
        return "open"

    exempt = qje.jwt_exempt(page)
    assert (exempt.__name__, exempt.__wrapped__) == ("page", page)  # type: ignore[attr-defined]
    app.add_url_rule("/open", "open", exempt)
    for scaffold in (app, other):
        qje.protect(scaffold)
        scaffold.add_url_rule("/page", "page", page)
        assert await is_guarded(scaffold, "/page")
    assert await status(app, "/open") == 200


@pytest.mark.parametrize(
    "decorators",
    [
        (qje.jwt_exempt,),
        (qje.jwt_exempt, wrapping),
        (wrapping, qje.jwt_exempt),
        (wrapping, qje.jwt_exempt, wrapping),
        (qje.jwt_exempt, bare),
        (qje.jwt_exempt, qje.jwt_exempt),
    ],
    ids=lambda value: " ".join(item.__name__ for item in value),
)
async def test_exempt_view_is_open_above_and_below_other_decorators(decorators: Any) -> None:
    app = new_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")
    qje.protect(app)
    qje.protect(blueprint, fresh=True)
    for scaffold in (app, blueprint):
        add(scaffold, "page", *decorators)
        add(scaffold, "other")
    app.register_blueprint(blueprint)
    for prefix in ("", "/part"):
        assert await status(app, f"{prefix}/page") == 200
        assert await status(app, f"{prefix}/page", "nonsense") == 200
        assert await status(app, f"{prefix}/other") == 401


async def test_exemption_that_a_wrapper_hides_leaves_the_view_guarded() -> None:
    app = new_app()
    qje.protect(app)
    add(app, "page", bare, qje.jwt_exempt)
    assert await is_guarded(app, "/page")


async def test_exempt_sync_view_is_open() -> None:
    app = new_app()
    qje.protect(app)

    @app.get("/page")
    @qje.jwt_exempt
    def page() -> str:
        return "open"

    @app.get("/other")
    def other() -> str:
        return qje.get_jwt_identity()

    assert await status(app, "/page") == 200
    assert await is_guarded(app, "/other")


async def test_jwt_exempt_does_nothing_in_an_app_that_is_not_protected() -> None:
    app = new_app()
    add(app, "page", qje.jwt_exempt)
    assert not await is_guarded(app, "/page")


@pytest.mark.parametrize(
    "decorator",
    [
        qje.jwt_required,
        qje.jwt_optional,
        qje.fresh_jwt_required,
        qje.jwt_refresh_token_required,
        qje.jwt_required(scopes="read"),
    ],
)
async def test_protected_view_cannot_be_exempt_and_protection_above_exemption_counts(
    decorator: Any,
) -> None:
    async def view() -> dict[str, Any]:
        return {}

    with pytest.raises(TypeError, match="jwt_exempt"):
        qje.jwt_exempt(decorator(view))
    app, plain = new_app(), new_app()
    qje.protect(app)
    add(app, "page", decorator, qje.jwt_exempt)
    add(plain, "page", decorator)
    for token in (None, GOOD, FRESH, REFRESH, READER):
        assert await status(app, "/page", token) == await status(plain, "/page", token)


@pytest.mark.parametrize("value", [None, "page", 5, (), {}], ids=repr)
def test_what_is_not_a_view_cannot_be_exempt(value: Any) -> None:
    with pytest.raises(TypeError, match="jwt_exempt decorates a view"):
        qje.jwt_exempt(value)


@pytest.mark.parametrize(
    "exempt",
    ["page", ["page"], ("page",), {"page"}, frozenset({"page"}), ["page", "unknown"]],
    ids=repr,
)
async def test_endpoint_that_is_exempt_by_name_is_open(exempt: Any) -> None:
    app = new_app()
    qje.protect(app, exempt=exempt)
    for name in ("page", "pages", "pag"):
        add(app, name)
    assert not await is_guarded(app, "/page")
    assert await is_guarded(app, "/pages")
    assert await is_guarded(app, "/pag")


async def test_list_of_exempt_names_is_read_when_protect_is_called() -> None:
    app = new_app()
    names = ["page"]
    qje.protect(app, exempt=names)
    names.append("other")
    add(app, "page")
    add(app, "other")
    assert not await is_guarded(app, "/page")
    assert await is_guarded(app, "/other")


@pytest.mark.parametrize(
    ("guarded", "exempt", "is_open"),
    [
        ("app", "page", [True, False, False, False]),
        ("app", "outer.page", [False, True, False, False]),
        ("app", "outer.middle.page", [False, False, True, False]),
        ("app", ["page", "outer.middle.inner.page"], [True, False, False, True]),
        ("outer", "page", [True, True, False, False]),
        ("outer", "middle.page", [True, False, True, False]),
        ("outer", "outer.page", [True, False, False, False]),
        ("middle", "inner.page", [True, True, False, True]),
        ("inner", "page", [True, True, True, True]),
    ],
)
async def test_exempt_names_are_those_within_what_is_protected(
    guarded: str, exempt: Any, is_open: list[bool]
) -> None:
    app = nested([guarded], exempt=exempt)
    assert [not await is_guarded(app, path) for path in PAGES] == is_open


async def test_exemption_of_a_blueprint_does_not_open_what_the_app_guards() -> None:
    app = new_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")
    qje.protect(app)
    qje.protect(blueprint, fresh=True, exempt="page")
    add(blueprint, "page")
    app.register_blueprint(blueprint)
    assert await status(app, "/part/page") == 401
    assert await status(app, "/part/page", GOOD) == 200


# --- Class-based views ---------------------------------------------------------


class Thing(MethodView):
    async def get(self) -> dict[str, Any]:
        return {}

    async def post(self) -> dict[str, Any]:
        return {}


async def statuses(app: Quart, path: str, token: str | None = None) -> list[int]:
    return [await status(app, path, token, method=method) for method in ("GET", "HEAD", "POST")]


async def test_class_based_view_is_guarded_in_every_method() -> None:
    app = new_app()
    qje.protect(app)
    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    assert await statuses(app, "/thing") == [401] * 3
    assert await statuses(app, "/thing", GOOD) == [200] * 3


async def test_class_based_view_is_exempt_by_its_view_its_decorators_or_its_name() -> None:
    app = new_app()
    qje.protect(app, exempt="named")

    class Open(Thing):
        decorators = [qje.jwt_exempt]

    app.add_url_rule("/view", view_func=qje.jwt_exempt(Thing.as_view("view")))
    app.add_url_rule("/decorators", view_func=Open.as_view("decorators"))
    app.add_url_rule("/named", view_func=Thing.as_view("named"))
    app.add_url_rule("/other", view_func=Thing.as_view("other"))
    for path in ("/view", "/decorators", "/named"):
        assert await statuses(app, path) == [200] * 3
    assert await statuses(app, "/other") == [401] * 3


async def test_method_of_a_class_based_view_has_rules_of_its_own() -> None:
    app = new_app()
    qje.protect(app)

    class Mixed(MethodView):
        @qje.jwt_exempt
        async def get(self) -> dict[str, Any]:
            return {}

        async def post(self) -> dict[str, Any]:
            return {}

        @qje.jwt_refresh_token_required
        async def put(self) -> dict[str, Any]:
            return {}

    app.add_url_rule("/mixed", view_func=Mixed.as_view("mixed"))
    assert await statuses(app, "/mixed") == [200, 200, 401]
    for token, expected in ((None, 401), (GOOD, 422), (REFRESH, 200)):
        assert await status(app, "/mixed", token, method="PUT") == expected


async def test_head_of_a_class_based_view_has_the_rules_of_its_own_method() -> None:
    app = new_app()
    qje.protect(app)

    class Mixed(MethodView):
        @qje.jwt_exempt
        async def get(self) -> dict[str, Any]:
            return {}

        async def head(self) -> dict[str, Any]:
            return {}

    app.add_url_rule("/mixed", view_func=Mixed.as_view("mixed"))
    assert await status(app, "/mixed", method="GET") == 200
    assert await status(app, "/mixed", method="HEAD") == 401


async def test_rules_of_dispatch_request_go_over_those_of_the_app() -> None:
    app = new_app()
    qje.protect(app, fresh=True)

    class Page(View):
        @qje.jwt_optional
        async def dispatch_request(self) -> dict[str, Any]:
            return {}

    class Open(View):
        @qje.jwt_exempt
        async def dispatch_request(self) -> dict[str, Any]:
            return {}

    class Plain(View):
        async def dispatch_request(self) -> dict[str, Any]:
            return {}

    for view in (Page, Open, Plain):
        name = view.__name__.lower()
        app.add_url_rule(f"/{name}", view_func=view.as_view(name))
    assert await status(app, "/plain") == 401
    assert await status(app, "/page") == 200
    assert await status(app, "/page", "nonsense") == 422
    assert await status(app, "/open") == 200


async def test_bound_method_is_exempt_in_this_object_only() -> None:
    class Pages:
        async def page(self) -> str:
            return ""

    app = new_app()
    qje.protect(app)
    pages = Pages()
    app.add_url_rule("/open", "open", qje.jwt_exempt(pages.page))
    app.add_url_rule("/page", "page", pages.page)
    app.add_url_rule("/other", "other", Pages().page)
    assert await status(app, "/open") == 200
    assert await is_guarded(app, "/page")
    assert await is_guarded(app, "/other")


async def test_method_that_a_plain_view_does_not_run_opens_nothing() -> None:
    """Only a MethodView chooses a method by that of the request."""
    app = new_app()
    qje.protect(app)

    class Page(View):
        @qje.jwt_exempt
        async def get(self) -> dict[str, Any]:
            raise AssertionError

        async def dispatch_request(self) -> dict[str, Any]:
            return {}

    app.add_url_rule("/page", view_func=Page.as_view("page"))
    assert await is_guarded(app, "/page")


# --- WebSockets ----------------------------------------------------------------


def add_socket(scaffold: Quart | Blueprint, name: str, *decorators: Any) -> None:
    async def socket() -> None:
        await websocket.send(f"to {qje.get_jwt_identity()}")

    for decorator in reversed(decorators):
        socket = decorator(socket)
    scaffold.add_websocket(f"/{name}", name, socket)


async def test_websockets_of_an_app_are_guarded_like_its_routes() -> None:
    app = new_app()
    qje.protect(app, exempt="named")
    add_socket(app, "ws")
    add_socket(app, "open", qje.jwt_exempt)
    add_socket(app, "named")
    add_socket(app, "lax", qje.jwt_optional)
    add_socket(app, "strict", qje.fresh_jwt_required)
    assert await socket_status(app, "/ws") == 401
    assert await socket_status(app, "/ws", "nonsense") == 422
    assert await socket_status(app, "/ws", GOOD) == "to alice"
    for path in ("/open", "/named"):
        assert await socket_status(app, path) == "to None"
    assert await socket_status(app, "/lax") == "to None"
    assert await socket_status(app, "/lax", GOOD) == "to alice"
    assert await socket_status(app, "/strict", GOOD) == 401
    assert await socket_status(app, "/strict", FRESH) == "to alice"
    assert await socket_status(app, "/nothing") == 404


async def test_websockets_of_a_nested_blueprint_are_guarded_and_no_others() -> None:
    app = new_app()
    outer, inner = (Blueprint(name, name, url_prefix=f"/{name}") for name in ("outer", "inner"))
    qje.protect(outer, exempt="inner.open")
    add_socket(app, "ws")
    add_socket(outer, "ws")
    add_socket(inner, "ws")
    add_socket(inner, "open")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    assert await socket_status(app, "/ws") == "to None"
    assert await socket_status(app, "/outer/inner/open") == "to None"
    for path in ("/outer/ws", "/outer/inner/ws"):
        assert await socket_status(app, path) == 401
        assert await socket_status(app, path, GOOD) == "to alice"


# --- Wrong arguments -----------------------------------------------------------


@pytest.mark.parametrize("value", [None, "app", 5, Quart, Blueprint, ...], ids=str)
def test_what_is_neither_app_nor_blueprint_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="protect requires a Quart app or a blueprint"):
        qje.protect(value)


@pytest.mark.parametrize("exempt", [None, 5, True, [1], ["static", None], b"static"], ids=repr)
def test_wrong_exempt_is_named(exempt: Any) -> None:
    with pytest.raises(TypeError, match=r"\bexempt\b"):
        qje.protect(Quart("app"), exempt=exempt)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"optional": 1}, TypeError, "optional"),
        ({"fresh": "yes"}, TypeError, "fresh"),
        ({"refresh": None}, TypeError, "refresh"),
        ({"verify_type": 0}, TypeError, "verify_type"),
        ({"skip_revocation_check": None}, TypeError, "skip_revocation_check"),
        ({"locations": "body"}, ValueError, "locations"),
        ({"locations": []}, TypeError, "locations"),
        ({"scopes": ["a b"]}, ValueError, "scopes"),
        ({"fresh": True, "refresh": True}, ValueError, "fresh and refresh"),
        ({"exempts": ["static"]}, TypeError, "exempts"),
    ],
)
async def test_wrong_option_is_named_and_leaves_the_app_as_it_was(
    options: dict[str, Any], error: type[Exception], named: str
) -> None:
    app = new_app()
    with pytest.raises(error, match=rf"\b{named}\b"):
        qje.protect(app, **options)
    add(app, "page")
    assert not await is_guarded(app, "/page")


def test_blueprint_that_was_registered_already_is_refused_and_listed_as_open() -> None:
    """Quart would not run the guard, so that silence would leave the routes open."""
    app = new_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")
    add(blueprint, "page")
    app.register_blueprint(blueprint)
    with pytest.raises((AssertionError, RuntimeError)):
        qje.protect(blueprint)
    result = app.test_cli_runner().invoke(args=["jwt", "routes"])
    rows = [line.split() for line in result.output.splitlines()]
    assert ["/part/page", "GET", "part.page", "open"] in rows
