"""What a route asks for by options of its own, in jwt_required and verify_jwt_in_request."""

from __future__ import annotations

import enum
import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from quart import Blueprint, Quart, websocket
from quart.views import MethodView, View

import quart_jwt_extended as qje
from support import access_claims, ask, bearer, hs_token, make_app, manager_of, refresh_claims

ALL_LOCATIONS = ["headers", "cookies", "query_string", "json"]
TOKENS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "access": access_claims(),
    "fresh": access_claims(fresh=True),
    "refresh": refresh_claims(),
}
GOOD = hs_token(access_claims())
REFRESH = hs_token(refresh_claims())


def sent(token: str | None, location: str, kind: str = "access") -> dict[str, Any]:
    """The arguments of a test client's request that carries a token of a kind in a location."""
    if token is None:
        return {"method": "GET"}
    if location == "headers":
        return {"method": "GET", "headers": bearer(token)}
    if location == "cookies":
        return {"method": "GET", "headers": {"Cookie": f"{kind}_token_cookie={token}"}}
    if location == "query_string":
        return {"method": "GET", "query_string": {"jwt": token}}
    return {"method": "POST", "json": {f"{kind}_token": token}}


# --- The forms, all of which take the same options -----------------------------


def called(view: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return qje.jwt_required(**options)(view)


def at_once(view: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return qje.jwt_required(view, **options)


def by_function(view: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    @functools.wraps(view)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        await qje.verify_jwt_in_request(**options)
        return await view(*args, **kwargs)

    return wrapper


FORMS = [called, at_once, by_function]


def add_views(app: Quart, **options: Any) -> list[str]:
    """One route per form with the same options; their paths."""
    paths = []
    for form in FORMS:

        async def view() -> dict[str, Any]:
            return {"identity": qje.get_jwt_identity(), "location": qje.get_jwt_request_location()}

        path = f"/{form.__name__}"
        app.add_url_rule(
            path, form.__name__, form(view, **options), methods=["GET", "POST", "OPTIONS"]
        )
        paths.append(path)
    return paths


def status_under(options: dict[str, Any], token: str) -> int:
    """The status that the words of the issue give to a kind of token under options."""
    if token == "none":
        return 200 if options.get("optional") else 401
    wanted = "refresh" if options.get("refresh") else "access"
    if options.get("verify_type", True) and (token == "refresh") != (wanted == "refresh"):
        return 422
    if options.get("fresh") and token != "fresh":
        return 401
    return 200


COMBINATIONS = [
    {**kind, **optional, **verify_type}
    for kind, optional, verify_type in itertools.product(
        ({}, {"fresh": True}, {"refresh": True}),
        ({}, {"optional": True}),
        ({}, {"verify_type": False}),
    )
]


@pytest.mark.parametrize("location", ALL_LOCATIONS)
@pytest.mark.parametrize("options", COMBINATIONS, ids=str)
async def test_options_decide_in_every_location_which_token_opens_a_route(
    options: dict[str, Any], location: str
) -> None:
    app = make_app()
    paths = add_views(app, locations=location, **options)
    kind = "refresh" if options.get("refresh") else "access"
    for path, (name, claims) in itertools.product(paths, TOKENS.items()):
        token = None if claims is None else hs_token(claims)
        status, body = await ask(app, path, **sent(token, location, kind))
        assert (path, name, status) == (path, name, status_under(options, name))
        if status == 200 and token is None:
            assert body == {"identity": None, "location": None}
        elif status == 200:
            assert body == {"identity": "alice", "location": location}


@pytest.mark.parametrize("location", ALL_LOCATIONS)
async def test_route_without_locations_takes_those_of_the_app(location: str) -> None:
    app = make_app(JWT_TOKEN_LOCATION=location)
    for path in [*add_views(app), "/protected"]:
        for other in ALL_LOCATIONS:
            status, _ = await ask(app, path, **sent(GOOD, other))
            assert (other, status) == (other, 200 if other == location else 401)


@pytest.mark.parametrize("location", ALL_LOCATIONS)
async def test_location_of_a_route_replaces_those_of_the_app(location: str) -> None:
    app = make_app(JWT_TOKEN_LOCATION=[name for name in ALL_LOCATIONS if name != location])
    for path in add_views(app, locations=location):
        for other in ALL_LOCATIONS:
            status, _ = await ask(app, path, **sent(GOOD, other))
            assert (other, status) == (other, 200 if other == location else 401)


@pytest.mark.parametrize(
    ("locations", "first"),
    [
        (["query_string", "headers"], "query_string"),
        (("headers", "query_string"), "headers"),
        ({"query_string", "headers"}, "headers"),
        (frozenset({"headers", "query_string"}), "headers"),
    ],
)
async def test_several_locations_are_asked_in_their_order(locations: Any, first: str) -> None:
    """A set has none, and is asked in alphabetical order, the same in each process."""
    app = make_app(JWT_TOKEN_LOCATION="json")
    for path in add_views(app, locations=locations):
        request = {"headers": bearer(GOOD), "query_string": {"jwt": GOOD}}
        assert (await ask(app, path, **request))[1]["location"] == first
        for location in locations:
            assert (await ask(app, path, **sent(GOOD, location)))[1]["location"] == location


async def test_missing_token_message_names_the_locations_of_the_route() -> None:
    app = make_app(JWT_TOKEN_LOCATION="json")
    for path in add_views(app, locations=["query_string", "cookies"]):
        assert await ask(app, path) == (
            401,
            {
                "msg": "Missing JWT in query_string or cookies "
                '(Missing "jwt" query paramater; Missing cookie "access_token_cookie")'
            },
        )


async def test_locations_given_as_a_list_are_read_when_the_route_is_decorated() -> None:
    app = make_app()
    locations = ["headers"]
    paths = add_views(app, locations=locations)[:2]
    locations[:] = ["query_string"]
    for path in paths:
        assert (await ask(app, path, headers=bearer(GOOD)))[0] == 200
        assert (await ask(app, path, query_string={"jwt": GOOD}))[0] == 401


# --- Cookies on a route of an app that does not take cookies -------------------

CSRF_TOKEN = hs_token(access_claims(csrf="double"))


@pytest.mark.parametrize("locations", ["cookies", ["headers", "cookies"], ["cookies", "json"]])
@pytest.mark.parametrize(
    ("token", "csrf", "expected"),
    [
        (CSRF_TOKEN, "double", 200),
        (CSRF_TOKEN, None, (401, {"msg": "Missing CSRF token"})),
        (CSRF_TOKEN, "other", (401, {"msg": "CSRF double submit tokens do not match"})),
        (GOOD, None, (401, {"msg": "Missing CSRF token"})),
        (GOOD, "double", (422, {"msg": "Missing claim: csrf"})),
    ],
)
async def test_csrf_is_enforced_for_cookies_that_only_the_route_takes(
    locations: Any, token: str, csrf: str | None, expected: Any
) -> None:
    app = make_app(JWT_TOKEN_LOCATION="headers")
    headers = {"Cookie": f"access_token_cookie={token}"}
    if csrf is not None:
        headers["X-CSRF-TOKEN"] = csrf
    for path in add_views(app, locations=locations):
        answer = await ask(app, path, method="POST", headers=headers)
        if expected == 200:
            assert answer == (200, {"identity": "alice", "location": "cookies"})
        else:
            assert answer == expected


async def test_csrf_of_a_route_is_off_when_the_app_turned_it_off() -> None:
    app = make_app(JWT_COOKIE_CSRF_PROTECT=False)
    headers = {"Cookie": f"access_token_cookie={GOOD}"}
    for path in add_views(app, locations="cookies"):
        assert (await ask(app, path, method="POST", headers=headers))[0] == 200


async def test_csrf_of_a_route_follows_the_methods_of_the_app() -> None:
    app = make_app(JWT_CSRF_METHODS=["GET"])
    headers = {"Cookie": f"access_token_cookie={GOOD}"}
    for path in add_views(app, locations="cookies"):
        assert (await ask(app, path, method="GET", headers=headers))[0] == 401
        assert (await ask(app, path, method="POST", headers=headers))[0] == 200


async def test_csrf_is_not_asked_of_a_header_on_a_route_that_takes_cookies_too() -> None:
    app = make_app()
    for path in add_views(app, locations=["headers", "cookies"]):
        assert (await ask(app, path, method="POST", headers=bearer(GOOD)))[0] == 200


async def test_route_that_takes_only_headers_ignores_the_cookies_of_the_app() -> None:
    app = make_app(JWT_TOKEN_LOCATION=["cookies", "headers"])
    headers = {"Cookie": f"access_token_cookie={CSRF_TOKEN}", "X-CSRF-TOKEN": "double"}
    for path in add_views(app, locations="headers"):
        assert (await ask(app, path, method="POST", headers=headers))[0] == 401
        assert (await ask(app, "/protected", method="POST", headers=headers))[0] == 200


async def test_refresh_route_looks_for_the_refresh_cookie_and_its_csrf_header() -> None:
    app = make_app(JWT_REFRESH_CSRF_HEADER_NAME="X-REFRESH-CSRF")
    token = hs_token(refresh_claims(csrf="double"))
    cookie = {"Cookie": f"refresh_token_cookie={token}"}
    for path in add_views(app, locations="cookies", refresh=True):
        request = {"method": "POST", "headers": {**cookie, "X-REFRESH-CSRF": "double"}}
        assert (await ask(app, path, **request))[0] == 200
        request = {"method": "POST", "headers": {**cookie, "X-CSRF-TOKEN": "double"}}
        assert (await ask(app, path, **request))[0] == 401


# --- Types and revocation ------------------------------------------------------


async def test_verify_type_false_accepts_both_types_and_no_third() -> None:
    app = make_app()
    for path in add_views(app, verify_type=False):
        for claims, status in (
            (access_claims(), 200),
            (access_claims(type=...), 200),
            (refresh_claims(), 200),
            (access_claims(type="other"), 422),
        ):
            assert (await ask(app, path, headers=bearer(hs_token(claims))))[0] == status


async def test_refresh_token_is_not_fresh_where_any_type_will_do() -> None:
    app = make_app()
    token = hs_token(refresh_claims(fresh=True))
    for path in add_views(app, verify_type=False, fresh=True):
        assert await ask(app, path, headers=bearer(token)) == (
            401,
            {"msg": "Fresh token required"},
        )


@pytest.mark.parametrize("refresh", [False, True])
@pytest.mark.parametrize("checks", [["access"], ["refresh"]])
async def test_revocation_goes_by_the_type_of_the_token_where_any_type_will_do(
    checks: list[str], refresh: bool
) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True, JWT_BLACKLIST_TOKEN_CHECKS=checks)
    manager_of(app).token_in_blacklist_loader(lambda claims: True)
    for path in add_views(app, verify_type=False, refresh=refresh):
        for kind, token in (("access", GOOD), ("refresh", REFRESH)):
            status, _ = await ask(app, path, headers=bearer(token))
            assert (kind, status) == (kind, 401 if kind in checks else 200)


async def test_user_claims_of_a_refresh_token_are_not_verified_where_any_type_will_do() -> None:
    app = make_app()
    manager_of(app).claims_verification_loader(lambda claims: False)
    for path in add_views(app, verify_type=False):
        assert (await ask(app, path, headers=bearer(GOOD)))[0] == 400
        assert (await ask(app, path, headers=bearer(REFRESH)))[0] == 200


@pytest.mark.parametrize("loader", ["token_in_blacklist_loader", "token_in_blocklist_loader"])
async def test_skip_revocation_check_lets_a_revoked_token_in_without_asking(loader: str) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    asked: list[Any] = []
    if loader == "token_in_blacklist_loader":
        manager_of(app).token_in_blacklist_loader(lambda claims: asked.append(1) or True)
    else:
        manager_of(app).token_in_blocklist_loader(lambda header, claims: asked.append(1) or True)
    for path in add_views(app, skip_revocation_check=True):
        assert (await ask(app, path, headers=bearer(GOOD)))[0] == 200
    assert asked == []
    assert (await ask(app, "/protected", headers=bearer(GOOD)))[0] == 401
    assert asked == [1]


async def test_skip_revocation_check_needs_no_callback() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    for path in add_views(app, skip_revocation_check=True):
        assert (await ask(app, path, headers=bearer(GOOD)))[0] == 200


async def test_skip_revocation_check_skips_nothing_else() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager_of(app).user_loader_callback_loader(lambda identity: None)
    for path in add_views(app, skip_revocation_check=True):
        assert (await ask(app, path, headers=bearer(GOOD)))[0] == 401
        expired = hs_token(access_claims(exp=1))
        assert await ask(app, path, headers=bearer(expired)) == (401, {"msg": "Token has expired"})
        assert (await ask(app, path, headers=bearer(REFRESH)))[0] == 422


# --- optional ------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer a b", "nonsense"])
async def test_optional_route_takes_a_malformed_header_for_no_token(header: str) -> None:
    app = make_app()
    for path in add_views(app, optional=True):
        status, body = await ask(app, path, headers={"Authorization": header})
        assert (status, body["identity"]) == (200, None)


@pytest.mark.parametrize(
    "token", [hs_token(access_claims(exp=1)), GOOD[:-2] + "AA", REFRESH, "nonsense"]
)
async def test_optional_route_refuses_an_invalid_token(token: str) -> None:
    app = make_app()
    for path in add_views(app, optional=True):
        assert (await ask(app, path, headers=bearer(token)))[0] in (401, 422)


# --- verify_jwt_in_request -----------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic abc"}])
async def test_verify_function_returns_none_without_a_token_where_it_is_optional(
    headers: dict[str, str],
) -> None:
    async with make_app().test_request_context("/", headers=headers):
        assert await qje.verify_jwt_in_request(optional=True) is None
        assert qje.get_jwt_identity() is None


async def test_verify_function_returns_none_for_options_whatever_is_sent() -> None:
    for headers in ({}, bearer(GOOD), bearer("nonsense")):
        async with make_app().test_request_context("/", method="OPTIONS", headers=headers):
            assert await qje.verify_jwt_in_request() is None
            assert qje.get_jwt_identity() is None


async def test_second_verification_of_a_request_replaces_the_first() -> None:
    """A view may ask for more than its decorator did."""
    app = make_app()

    @app.get("/danger")
    @qje.jwt_required
    async def danger() -> dict[str, Any]:
        first = qje.get_jwt_request_location()
        await qje.verify_jwt_in_request(locations="query_string", fresh=True)
        return {"first": first, "second": qje.get_jwt_request_location()}

    fresh = hs_token(access_claims(fresh=True))
    status, body = await ask(app, "/danger", headers=bearer(GOOD), query_string={"jwt": fresh})
    assert (status, body) == (200, {"first": "headers", "second": "query_string"})
    assert (await ask(app, "/danger", headers=bearer(GOOD)))[0] == 401


# --- Wrong arguments -----------------------------------------------------------

FLAGS = ["optional", "fresh", "refresh", "verify_type", "skip_revocation_check"]
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    *(({flag: value}, TypeError, flag) for flag in FLAGS for value in (None, 0, 1, "yes", [], ...)),
    *(
        ({"locations": value}, error, "locations")
        for value, error in (
            ("header", ValueError),
            ("", ValueError),
            ("Headers", ValueError),
            (["headers", "body"], ValueError),
            (["headers", "headers"], ValueError),
            ([], TypeError),
            ((), TypeError),
            (set(), TypeError),
            (5, TypeError),
            (True, TypeError),
            ([1], TypeError),
            ([None], TypeError),
            ({1, "headers"}, TypeError),
            (b"headers", TypeError),
            ({"headers": True}, TypeError),
        )
    ),
    *(
        ({"scopes": value}, error, "scopes")
        for value, error in (
            ("", ValueError),
            ("read write", ValueError),
            (["read", ""], ValueError),
            (["read", "a b"], ValueError),
            ("tab\tbed", ValueError),
            ('quo"ted', ValueError),
            (5, TypeError),
            (False, TypeError),
            (["read", 1], TypeError),
            ({"read", 1}, TypeError),
            (b"read", TypeError),
        )
    ),
    ({"fresh": True, "refresh": True}, ValueError, "fresh"),
    ({"fresh": True, "refresh": True}, ValueError, "refresh"),
]


@pytest.mark.parametrize(
    ("options", "error", "named"),
    WRONG,
    ids=[f"{number}-{named}" for number, (_, _, named) in enumerate(WRONG)],
)
async def test_wrong_argument_raises_at_once_and_is_named(
    options: dict[str, Any], error: type[Exception], named: str
) -> None:
    async def view() -> None:
        raise AssertionError

    for attempt in (
        lambda: qje.jwt_required(**options),
        lambda: qje.jwt_required(view, **options),
    ):
        with pytest.raises(error, match=rf"\b{named}\b"):
            attempt()
    async with make_app().test_request_context("/", headers=bearer(GOOD)):
        with pytest.raises(error, match=rf"\b{named}\b"):
            await qje.verify_jwt_in_request(**options)


@pytest.mark.parametrize("option", ["optionally", "scope", "location"])
def test_unknown_option_raises_when_the_route_is_decorated(option: str) -> None:
    with pytest.raises(TypeError, match=option):
        qje.jwt_required(**{option: True})


@pytest.mark.parametrize("value", [True, False, "read", ["headers"], 5, {}], ids=repr)
def test_what_is_not_a_view_cannot_be_decorated(value: Any) -> None:
    """An option in the place of the view is a mistake, and must not make a decorator."""
    for decorator in (qje.jwt_required, qje.jwt_required(), qje.jwt_required(optional=True)):
        with pytest.raises(TypeError, match="jwt_required decorates a view"):
            decorator(value)


def test_options_are_keywords_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        qje.jwt_required(lambda: None, True)  # type: ignore[misc]


# --- Views of every kind -------------------------------------------------------

EVERY_OPTION = {
    "optional": True,
    "fresh": False,
    "refresh": False,
    "locations": ["headers", "query_string"],
    "verify_type": False,
    "skip_revocation_check": True,
    "scopes": ["read"],
}


async def test_every_option_at_once_works_together() -> None:
    app = make_app(JWT_TOKEN_LOCATION="json", JWT_BLACKLIST_ENABLED=True)
    for path in add_views(app, **EVERY_OPTION):
        for location in ("headers", "query_string"):
            for claims in (access_claims, refresh_claims):
                granted = hs_token(claims(scope="write read"))
                assert (await ask(app, path, **sent(granted, location)))[0] == 200
                refused = hs_token(claims(scope="write"))
                assert (await ask(app, path, **sent(refused, location)))[0] == 403
        assert (await ask(app, path))[0] == 200


@pytest.mark.parametrize(
    "options", [{}, {"fresh": True}, {"refresh": True}, {"scopes": "read"}, {"locations": "json"}]
)
async def test_view_that_takes_options_requests_is_protected_unless_configured(
    options: dict[str, Any],
) -> None:
    """JWT_EXEMPT_OPTIONS gives back what 0.1.0 did."""
    for is_exempt in (False, True):
        app = make_app(JWT_EXEMPT_OPTIONS=is_exempt)
        for path in add_views(app, **options):
            for headers in ({}, bearer("nonsense")):
                status, body = await ask(app, path, method="OPTIONS", headers=headers)
                if is_exempt:
                    assert (status, body) == (200, {"identity": None, "location": None})
                else:
                    assert status in (401, 422)


async def test_class_based_views_take_the_called_decorator() -> None:
    app = make_app()

    class Thing(MethodView):
        decorators = [qje.jwt_required(scopes="read")]

        async def get(self, number: int) -> dict[str, Any]:
            return {"number": number}

        @qje.jwt_required(scopes="write")
        async def post(self, number: int) -> dict[str, Any]:
            return {"written": number}

    class Page(View):
        methods = ["GET"]

        @qje.jwt_required(refresh=True)
        async def dispatch_request(self) -> dict[str, Any]:
            return {"identity": qje.get_jwt_identity()}

    app.add_url_rule("/thing/<int:number>", view_func=Thing.as_view("thing"))
    app.add_url_rule("/page", view_func=Page.as_view("page"))
    reader, writer, both = (
        bearer(hs_token(access_claims(scope=scope))) for scope in ("read", "write", "read write")
    )
    for headers, get, post in ((reader, 200, 403), (writer, 403, 403), (both, 200, 200)):
        assert (await ask(app, "/thing/7", headers=headers))[0] == get
        assert (await ask(app, "/thing/7", method="POST", headers=headers))[0] == post
    assert await ask(app, "/thing/7", headers=both) == (200, {"number": 7})
    assert await ask(app, "/page", headers=bearer(REFRESH)) == (200, {"identity": "alice"})
    assert (await ask(app, "/page", headers=both))[0] == 422


async def test_stacked_decorators_must_all_be_satisfied() -> None:
    app = make_app()

    @app.get("/both")
    @qje.jwt_required(scopes="read")
    @qje.fresh_jwt_required
    async def both() -> dict[str, Any]:
        return {}

    for claims, status in (
        (access_claims(scope="read", fresh=True), 200),
        (access_claims(scope="read"), 401),
        (access_claims(fresh=True), 403),
    ):
        assert (await ask(app, "/both", headers=bearer(hs_token(claims))))[0] == status


# --- The shorthands of 0.1.0 ---------------------------------------------------

SHORTHANDS = [
    (qje.jwt_required, qje.verify_jwt_in_request, {}),
    (qje.jwt_optional, qje.verify_jwt_in_request_optional, {"optional": True}),
    (qje.fresh_jwt_required, qje.verify_fresh_jwt_in_request, {"fresh": True}),
    (
        qje.jwt_refresh_token_required,
        qje.verify_jwt_refresh_token_in_request,
        {"refresh": True},
    ),
]


@pytest.mark.parametrize(
    ("decorator", "verify", "options"), SHORTHANDS, ids=lambda value: getattr(value, "__name__", "")
)
async def test_shorthand_answers_as_the_option_that_it_stands_for(
    decorator: Any, verify: Any, options: dict[str, Any]
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=["headers", "cookies"])
    paths = add_views(app, **options)

    @app.route("/shorthand", methods=["GET", "POST", "OPTIONS"])
    @decorator
    async def shorthand() -> dict[str, Any]:
        return {"identity": qje.get_jwt_identity(), "location": qje.get_jwt_request_location()}

    @app.route("/verified", methods=["GET", "POST", "OPTIONS"])
    async def verified() -> dict[str, Any]:
        await verify()
        return {"identity": qje.get_jwt_identity(), "location": qje.get_jwt_request_location()}

    requests: list[dict[str, Any]] = [{}, {"headers": {"Authorization": "Basic abc"}}]
    for claims in (*TOKENS.values(), access_claims(exp=1)):
        if claims is not None:
            for method, location in itertools.product(("GET", "POST"), ("headers", "cookies")):
                kind = "refresh" if "refresh" in options else "access"
                request = sent(hs_token(claims), location, kind)
                requests.append({**request, "method": method})
    for request in requests:
        answers = [await ask(app, path, **request) for path in (*paths, "/shorthand", "/verified")]
        assert answers == answers[:1] * 5


@pytest.mark.parametrize("verify", [verify for _, verify, _ in SHORTHANDS])
async def test_verify_function_of_a_shorthand_still_returns_none(verify: Any) -> None:
    """So that each can be registered with before_request."""
    token = hs_token(access_claims(fresh=True))
    if verify is qje.verify_jwt_refresh_token_in_request:
        token = REFRESH
    async with make_app().test_request_context("/", headers=bearer(token)):
        assert await verify() is None
        assert qje.get_jwt_identity() == "alice"


# --- verify_jwt_in_request as the hook itself, as in 0.1.0 -----------------------


async def test_hook_itself_returns_nothing_that_quart_would_answer_with() -> None:
    app = make_app()
    app.before_request(qje.verify_jwt_in_request)
    returned: list[Any] = []

    @app.get("/again")
    async def again() -> str:
        returned.append(await qje.verify_jwt_in_request())
        return qje.get_jwt_identity()

    client = app.test_client()
    response = await client.get("/again", headers=bearer(GOOD))
    assert (response.status_code, await response.get_data()) == (200, b"alice")
    # One answer for the whole app: a hook cannot be told from a view.
    assert returned == [None]
    assert (await client.get("/again")).status_code == 401


async def test_hook_of_a_blueprint_lets_its_views_run_and_leaves_others_alone() -> None:
    app = make_app()
    guarded, free = Blueprint("guarded", __name__), Blueprint("free", __name__)
    guarded.before_request(qje.verify_jwt_in_request)
    inner = Blueprint("inner", __name__)

    @inner.get("/inner")
    async def in_the_guarded() -> str:
        return qje.get_jwt_identity()

    @free.get("/free")
    async def in_the_free() -> Any:
        await qje.verify_jwt_in_request()
        return {"alg": qje.get_jwt_header()["alg"], "identity": qje.get_jwt_identity()}

    guarded.register_blueprint(inner)
    app.register_blueprint(guarded)
    app.register_blueprint(free)
    client = app.test_client()
    response = await client.get("/inner", headers=bearer(GOOD))
    assert (response.status_code, await response.get_data()) == (200, b"alice")
    response = await client.get("/free", headers=bearer(GOOD))
    assert await response.get_json() == {"alg": "HS256", "identity": "alice"}
    for path in ("/inner", "/free"):
        assert (await client.get(path)).status_code == 401


async def test_hook_of_sockets_lets_the_view_run() -> None:
    app = make_app()
    app.before_websocket(qje.verify_jwt_in_request)

    @app.websocket("/socket")
    async def socket() -> None:
        await websocket.send(qje.get_jwt_identity())

    async with app.test_client().websocket("/socket", headers=bearer(GOOD)) as connection:
        assert await connection.receive() == "alice"


# --- Names of enumerations ---------------------------------------------------------------------


class Word(str, enum.Enum):
    """As before Python 3.11 had StrEnum: str() gives the name of the member."""

    READ = "read"
    QUERY = "query_string"
    PAGE = "page"


@pytest.mark.parametrize("names", [Word.READ, [Word.READ], {Word.READ}, (Word.READ,)], ids=str)
async def test_member_of_an_enumeration_counts_by_its_value(names: Any) -> None:
    app = make_app()
    for path in add_views(app, scopes=names, locations=Word.QUERY):
        granted = hs_token(access_claims(scope="read"))
        assert (await ask(app, path, query_string={"jwt": granted}))[0] == 200
        assert (await ask(app, path, query_string={"jwt": GOOD}))[0] == 403


async def test_member_of_an_enumeration_exempts_by_its_value() -> None:
    app = make_app()
    qje.protect(app, exempt=Word.PAGE)
    for name in ("page", "other"):
        app.add_url_rule(f"/{name}", name, lambda: "")
    assert (await ask(app, "/page"))[0] == 200
    assert (await ask(app, "/other"))[0] == 401
