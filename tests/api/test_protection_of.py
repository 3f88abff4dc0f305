"""``protection_of``: how an endpoint is protected, for tools and decorators."""

from __future__ import annotations

from typing import Any

import pytest
import quart_cors
from quart import Blueprint, Quart, request
from quart.views import MethodView, View
from werkzeug.routing import Rule

import quart_jwt_extended as qje
from support import SECRET, access_claims, bearer, hs_token
from support.routes import add, add_socket


def new_app(**options: Any) -> Quart:
    app = Quart("asked", static_folder=None)
    app.config.update(JWT_SECRET_KEY=SECRET, **options)
    qje.JWTManager(app)
    return app


def protection(**changes: Any) -> qje.Protection:
    """That of a bare jwt_required, with changes."""
    values: dict[str, Any] = {
        "token_type": "access",
        "optional": False,
        "fresh": False,
        "scopes": (),
        "locations": ("headers",),
        "skip_revocation_check": False,
        "close_with_token": False,
        "issuers": None,
    }
    return qje.Protection(**{**values, **changes})


# --- The protection ------------------------------------------------------------

KINDS = [
    (qje.jwt_required, {}, "access token"),
    (qje.jwt_required(), {}, "access token"),
    (qje.jwt_optional, {"optional": True}, "optional access token"),
    (qje.fresh_jwt_required, {"fresh": True}, "fresh access token"),
    (qje.jwt_refresh_token_required, {"token_type": "refresh"}, "refresh token"),
    (qje.jwt_required(verify_type=False), {"token_type": None}, "access or refresh token"),
    (
        qje.jwt_required(refresh=True, verify_type=False),
        {"token_type": None},
        "access or refresh token",
    ),
    (
        qje.jwt_required(scopes={"write", "read"}),
        {"scopes": ("read", "write")},
        "access token, scopes: read write",
    ),
    (
        qje.jwt_required(skip_revocation_check=True),
        {"skip_revocation_check": True},
        "access token, not checked for revocation",
    ),
    (
        qje.jwt_required(close_with_token=True),
        {"close_with_token": True},
        "access token, closed with the token",
    ),
    (
        qje.jwt_required(optional=True, refresh=True, scopes="a"),
        {"optional": True, "token_type": "refresh", "scopes": ("a",)},
        "optional refresh token, scopes: a",
    ),
]


@pytest.mark.parametrize(("decorator", "changes", "words"), KINDS)
def test_every_kind_of_protection_is_returned(
    decorator: Any, changes: dict[str, Any], words: str
) -> None:
    app = new_app()
    add(app, "page", decorator)
    add_socket(app, "ws", decorator)
    for endpoint in ("page", "ws"):
        found = qje.protection_of(app, endpoint)
        assert found == protection(**changes)
        assert [type(value) for value in found] == [type(value) for value in protection(**changes)]
        head, comma, tail = words.partition(",")
        assert repr(found) == f"<Protection: {head}, in headers{comma}{tail}>"


def test_repr_has_the_words_of_the_command() -> None:
    app = new_app()
    decorator = qje.jwt_required(
        fresh=True,
        locations=("json", "cookies"),
        scopes=("a", "b"),
        skip_revocation_check=True,
        close_with_token=True,
    )
    add(app, "page", decorator)
    listed = app.test_cli_runner().invoke(args=["jwt", "routes"]).output
    found = qje.protection_of(app, "page")
    assert listed.split("  ", 3)[3].strip() == repr(found)[len("<Protection: ") : -1]


def test_open_and_exempt_routes_have_none() -> None:
    app = new_app()
    part = Blueprint("part", __name__)
    qje.protect(part, exempt="named")
    add(app, "open")
    add(app, "exempt", qje.jwt_exempt)
    add(part, "named")
    add(part, "guarded")
    app.register_blueprint(part)
    names = ("open", "exempt", "part.named", "part.guarded")
    assert [qje.protection_of(app, name) for name in names] == [None, None, None, protection()]


def test_rules_of_all_guards_and_decorators_are_added_up() -> None:
    app = new_app()
    outer, inner = (Blueprint(name, __name__) for name in ("outer", "inner"))
    qje.protect(app, scopes="app")
    qje.protect(outer, scopes="outer", fresh=True)
    qje.protect(inner, locations="cookies")
    add(inner, "page", qje.jwt_required(scopes="own"))
    add(inner, "renew", qje.jwt_required(refresh=True, scopes=()))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    assert qje.protection_of(app, "outer.inner.page") == protection(
        fresh=True, scopes=("app", "outer", "own"), locations=("cookies",)
    )
    assert qje.protection_of(app, "outer.inner.renew") == protection(
        token_type="refresh", locations=("cookies",)
    )


def test_protection_is_that_of_the_moment() -> None:
    app = new_app()
    add(app, "page")
    assert qje.protection_of(app, "page") is None
    qje.protect(app)
    assert qje.protection_of(app, "page") == protection()
    app.config["JWT_TOKEN_LOCATION"] = "cookies"
    assert qje.protection_of(app, "page") == protection(locations=("cookies",))
    app.view_functions["page"] = qje.jwt_exempt(app.view_functions["page"])
    assert qje.protection_of(app, "page") is None


def test_protection_cannot_be_changed_and_serves_as_a_key() -> None:
    app = new_app()
    add(app, "page", qje.jwt_required)
    found = qje.protection_of(app, "page")
    with pytest.raises(AttributeError):
        found.optional = True
    assert {found: 1}[protection()] == 1


async def test_decorator_can_read_the_protection_of_its_request() -> None:
    app = new_app()
    seen = []

    @app.before_request
    def note() -> None:
        seen.append(qje.protection_of(app, request.endpoint, request.method))

    add(app, "page", qje.jwt_required(scopes="read"))
    await app.test_client().get("/page", headers=bearer(hs_token(access_claims(scope="read"))))
    assert seen == [protection(scopes=("read",))]


# --- Locations and options -----------------------------------------------------


def test_locations_are_those_that_the_kind_of_request_has() -> None:
    everywhere = ["json", "cookies", "websocket_protocol", "headers", "query_string"]
    app = new_app(JWT_TOKEN_LOCATION=everywhere)
    add(app, "page", qje.jwt_required)
    add_socket(app, "ws", qje.jwt_required)
    add_socket(app, "bodiless", qje.jwt_required(locations="json"))
    page, ws, bodiless = (
        qje.protection_of(app, name).locations for name in ("page", "ws", "bodiless")
    )
    assert page == ("json", "cookies", "headers", "query_string")
    assert ws == ("cookies", "websocket_protocol", "headers", "query_string")
    assert bodiless == ()
    assert repr(qje.protection_of(app, "bodiless")) == "<Protection: access token>"


def test_option_closes_sockets_with_the_token_and_no_page() -> None:
    app = new_app(JWT_WEBSOCKET_CLOSE_WITH_TOKEN=True)
    add(app, "page", qje.jwt_required)
    add_socket(app, "ws", qje.jwt_required)
    add_socket(app, "open_ended", qje.jwt_required(close_with_token=False))
    assert qje.protection_of(app, "ws") == protection(close_with_token=True)
    assert qje.protection_of(app, "open_ended") == protection()
    assert qje.protection_of(app, "page") == protection()


# --- Methods -------------------------------------------------------------------


class Thing(MethodView):
    @qje.jwt_exempt
    async def get(self) -> str:
        return ""

    @qje.fresh_jwt_required
    async def delete(self) -> str:
        return ""

    async def post(self) -> str:
        return ""


def test_methods_of_a_class_have_their_own_protection() -> None:
    app = new_app()
    qje.protect(app)
    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    found = {
        method: qje.protection_of(app, "thing", method)
        for method in ("GET", "HEAD", "get", "DELETE", "delete", "POST")
    }
    fresh = protection(fresh=True)
    assert found == {
        "GET": None,
        "HEAD": None,
        "get": None,
        "DELETE": fresh,
        "delete": fresh,
        "POST": protection(),
    }


def test_methods_that_differ_must_be_named() -> None:
    app = new_app()
    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    with pytest.raises(ValueError, match=r"'thing' are protected diff.*method: DELETE, GET, POST$"):
        qje.protection_of(app, "thing")


def test_methods_that_agree_need_no_name() -> None:
    app = new_app()

    class Decorated(View):
        methods = ["GET", "POST"]
        decorators = [qje.jwt_required]

        async def dispatch_request(self, **kwargs: Any) -> str:
            return ""

    class Both(MethodView):
        @qje.jwt_required
        async def get(self) -> str:
            return ""

        @qje.jwt_required()
        async def post(self) -> str:
            return ""

    app.add_url_rule("/decorated", view_func=Decorated.as_view("decorated"))
    app.add_url_rule("/both", view_func=Both.as_view("both"))
    assert qje.protection_of(app, "decorated") == protection()
    assert qje.protection_of(app, "both") == protection()


def test_two_rules_of_one_endpoint_count_together() -> None:
    app = new_app()

    class Single(MethodView):
        @qje.jwt_required
        async def get(self) -> str:
            return ""

        async def post(self) -> str:
            return ""

    view = Single.as_view("single")
    app.add_url_rule("/one", "single", view, methods=["GET"])
    assert qje.protection_of(app, "single") == protection()
    app.add_url_rule("/two", "single", view, methods=["POST"])
    with pytest.raises(ValueError, match="protected differently"):
        qje.protection_of(app, "single")
    assert qje.protection_of(app, "single", "POST") is None


def test_head_with_a_method_of_its_own_has_its_own_protection() -> None:
    app = new_app()

    class Own(MethodView):
        @qje.jwt_required
        async def get(self) -> str:
            return ""

        async def head(self) -> str:
            return ""

    app.add_url_rule("/own", view_func=Own.as_view("own"))
    assert qje.protection_of(app, "own", "GET") == protection()
    assert qje.protection_of(app, "own", "HEAD") is None
    with pytest.raises(ValueError, match="method: GET, HEAD$"):
        qje.protection_of(app, "own")


def test_options_is_open_where_no_view_answers_it() -> None:
    app = new_app()
    add(app, "automatic", qje.jwt_required)
    add(app, "own", qje.jwt_required, methods=["GET", "OPTIONS"])
    add(app, "cors", quart_cors.route_cors(allow_origin="*"), qje.jwt_required)
    found = {name: qje.protection_of(app, name, "OPTIONS") for name in ("automatic", "own", "cors")}
    assert found == {"automatic": None, "own": protection(), "cors": None}
    assert {qje.protection_of(app, name) for name in found} == {protection()}


def test_method_that_one_rule_of_the_endpoint_leaves_open_has_none() -> None:
    for order in (1, -1):
        app = new_app()
        view = qje.jwt_required(lambda: "")
        for path, methods in [("/a", ["GET"]), ("/b", ["GET", "OPTIONS"])][::order]:
            app.add_url_rule(path, "page", view, methods=methods)
        assert qje.protection_of(app, "page", "OPTIONS") is None
        assert qje.protection_of(app, "page") == protection()


async def test_options_is_open_where_the_option_says_so() -> None:
    app = new_app(JWT_EXEMPT_OPTIONS=True)
    add(app, "own", qje.jwt_required, methods=["OPTIONS"])
    assert (await app.test_client().options("/own")).status_code == 200
    assert qje.protection_of(app, "own", "OPTIONS") is None
    assert qje.protection_of(app, "own") is None


def test_socket_goes_by_its_name_and_by_the_method_of_its_handshake() -> None:
    app = new_app()
    add_socket(app, "ws", qje.jwt_required)
    for method in (None, "WEBSOCKET", "websocket", "GET"):
        assert qje.protection_of(app, "ws", method) == protection()
    with pytest.raises(ValueError, match="'ws' accepts, not 'POST': WEBSOCKET$"):
        qje.protection_of(app, "ws", "POST")


def test_endpoint_of_a_page_and_a_socket_has_both() -> None:
    app = new_app(JWT_TOKEN_LOCATION=["headers", "json"])

    async def both() -> str:
        return ""

    both = qje.jwt_required(both)
    app.add_url_rule("/both", "both", both)
    app.add_websocket("/both", "both", both)
    page = protection(locations=("headers", "json"))
    assert qje.protection_of(app, "both", "GET") == page
    assert qje.protection_of(app, "both", "WEBSOCKET") == protection()
    with pytest.raises(ValueError, match="method: GET, WEBSOCKET$"):
        qje.protection_of(app, "both")


# --- What is rejected ----------------------------------------------------------


def test_unknown_endpoint_is_a_value_error_with_a_hint() -> None:
    app = new_app()
    add(app, "orders", qje.jwt_required)
    with pytest.raises(ValueError, match=r"no endpoint 'order': did you mean 'orders'\?$"):
        qje.protection_of(app, "order")
    with pytest.raises(ValueError, match="no endpoint 'zzz'$"):
        qje.protection_of(app, "zzz")


def test_endpoint_of_a_rule_that_leads_to_no_view_is_unknown() -> None:
    app = new_app()
    app.url_map.add(Rule("/old", endpoint="old", redirect_to="/new"))
    app.url_map.add(Rule("/built", endpoint="built", build_only=True))
    for name in ("old", "built"):
        with pytest.raises(ValueError, match="no endpoint"):
            qje.protection_of(app, name)


def test_method_that_the_endpoint_does_not_take_is_a_value_error() -> None:
    app = new_app()
    add(app, "page", qje.jwt_required)
    with pytest.raises(ValueError, match="'page' accepts, not 'POST': GET, HEAD, OPTIONS$"):
        qje.protection_of(app, "page", "POST")
    with pytest.raises(ValueError, match="not 'WEBSOCKET'"):
        qje.protection_of(app, "page", "WEBSOCKET")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (Blueprint("part", __name__), "page"),
            "protection_of requires a Quart app, not Blueprint",
        ),
        ((None, "page"), "protection_of requires a Quart app, not NoneType"),
        ((..., None), "endpoint must be the name of an endpoint, not None"),
        ((..., b"page"), "endpoint must be the name of an endpoint"),
        ((..., "page", 5), "method must be the name of a method or None, not 5"),
        ((..., "page", ["GET"]), "method must be the name of a method or None"),
    ],
)
def test_argument_of_a_wrong_type_is_a_type_error(arguments: Any, message: str) -> None:
    app = new_app()
    add(app, "page")
    given = [app if value is ... else value for value in arguments]
    with pytest.raises(TypeError, match=message):
        qje.protection_of(*given)


def test_app_without_a_manager_is_a_runtime_error() -> None:
    app = Quart("bare")
    with pytest.raises(RuntimeError, match="No JWTManager for this app"):
        qje.protection_of(app, "static")


def test_wrong_option_is_a_runtime_error() -> None:
    app = new_app(JWT_TOKEN_LOCATION="pockets")
    add(app, "page", qje.jwt_required)
    with pytest.raises(RuntimeError, match="JWT_TOKEN_LOCATION"):
        qje.protection_of(app, "page")


def test_endpoint_may_be_a_subclass_of_str() -> None:
    class Name(str):
        pass

    app = new_app()
    add(app, "page", qje.jwt_required)
    assert qje.protection_of(app, Name("page"), Name("get")) == protection()
    with pytest.raises(ValueError, match="did you mean 'page'"):
        qje.protection_of(app, Name("pages"))
