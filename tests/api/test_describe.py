"""``JWTManager.describe``: security schemes and requirements in the document of quart-schema."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
import quart_schema
from openapi_spec_validator import validate
from quart import Blueprint, Quart
from quart.views import MethodView
from quart_schema import OpenAPIProvider, QuartSchema

import quart_jwt_extended as qje
from support import SECRET


@dataclass
class Answer:
    text: str


ACCESS_HEADER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "An access token.",
}
REFRESH_HEADER = {**ACCESS_HEADER, "description": "A refresh token."}


def new_app(**options: Any) -> Quart:
    app = Quart("described", static_folder=None)
    app.config.update(JWT_SECRET_KEY=SECRET, **options)
    qje.JWTManager(app)
    return app


def manager(app: Quart) -> qje.JWTManager:
    return app.extensions["quart-jwt-extended"]


def described_app(**options: Any) -> Quart:
    app = new_app(**options)
    QuartSchema(app)
    manager(app).describe(app)
    return app


def add(scaffold: Quart | Blueprint, name: str, *decorators: Any, **options: Any) -> None:
    """Add a route /name with a response, without which a document is invalid."""

    async def view() -> Answer:
        return Answer(name)

    view.__name__ = name
    for decorator in reversed([*decorators, quart_schema.document_response(Answer)]):
        view = decorator(view)
    scaffold.add_url_rule(options.pop("rule", f"/{name}"), name, view, **options)


async def document_of(app: Quart) -> dict[str, Any]:
    """The document that the app serves, which is valid."""
    response = await app.test_client().get("/openapi.json")
    document = await response.get_json()
    validate(document)
    return document


async def schemes_of(app: Quart) -> dict[str, Any]:
    return (await document_of(app))["components"].get("securitySchemes", {})


def securities(document: dict[str, Any]) -> dict[str, Any]:
    """What is required, by the path, with the method in front where a path has several."""
    found = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = path if len(operations) == 1 else f"{method} {path}"
            found[name] = operation.get("security")
    return found


async def securities_of(app: Quart) -> dict[str, Any]:
    return securities(await document_of(app))


# --- Requirements --------------------------------------------------------------


async def test_each_kind_of_route_has_its_requirement() -> None:
    app = described_app()
    add(app, "open")
    add(app, "exempt", qje.jwt_exempt)
    add(app, "page", qje.jwt_required)
    add(app, "fresh", qje.fresh_jwt_required)
    add(app, "scoped", qje.jwt_required(scopes=("b", "a")))
    add(app, "maybe", qje.jwt_optional)
    add(app, "refresh", qje.jwt_required(refresh=True), methods=["POST"])
    add(app, "any", qje.jwt_required(verify_type=False))
    document = await document_of(app)
    assert document["openapi"] == "3.1.0"
    assert securities(document) == {
        "/open": None,
        "/exempt": None,
        "/page": [{"jwtAccessHeader": []}],
        "/fresh": [{"jwtAccessHeader": []}],
        "/scoped": [{"jwtAccessHeader": ["b", "a"]}],
        "/maybe": [{"jwtAccessHeader": []}, {}],
        "/refresh": [{"jwtRefreshHeader": []}],
        "/any": [{"jwtAccessHeader": []}, {"jwtRefreshHeader": []}],
    }
    assert document["components"]["securitySchemes"] == {
        "jwtAccessHeader": ACCESS_HEADER,
        "jwtRefreshHeader": REFRESH_HEADER,
    }


async def test_locations_are_alternatives_in_their_order() -> None:
    everywhere = ["query_string", "json", "cookies", "websocket_protocol", "headers"]
    app = described_app(JWT_TOKEN_LOCATION=everywhere)
    add(app, "page", qje.jwt_optional)
    add(app, "own", qje.jwt_required(locations=("headers", "cookies"), scopes="read"))
    add(app, "any", qje.jwt_required(refresh=True, verify_type=False, locations="cookies"))
    assert await securities_of(app) == {
        "/page": [{"jwtAccessQuery": []}, {"jwtAccessCookie": []}, {"jwtAccessHeader": []}, {}],
        "/own": [{"jwtAccessHeader": ["read"]}, {"jwtAccessCookie": ["read"]}],
        "/any": [{"jwtRefreshCookie": []}],
    }


async def test_body_and_subprotocol_are_no_schemes() -> None:
    app = described_app()
    add(app, "body", qje.jwt_required(optional=True, locations=("json", "websocket_protocol")))
    document = await document_of(app)
    assert securities(document) == {"/body": None}
    assert "securitySchemes" not in document["components"]


async def test_methods_of_a_class_have_requirements_of_their_own() -> None:
    app = described_app()
    qje.protect(app, exempt=("openapi",))

    class Thing(MethodView):
        @qje.jwt_exempt
        async def get(self) -> str:
            return ""

        @qje.jwt_required(scopes="write")
        async def post(self) -> str:
            return ""

        async def put(self) -> str:
            return ""

    view = quart_schema.document_response(Answer)(Thing.as_view("thing"))
    app.add_url_rule("/thing", view_func=view)
    assert await securities_of(app) == {
        "get /thing": None,
        "post /thing": [{"jwtAccessHeader": ["write"]}],
        "put /thing": [{"jwtAccessHeader": []}],
    }


async def test_rules_of_all_guards_are_described() -> None:
    app = described_app()
    part = Blueprint("part", __name__, url_prefix="/part")
    qje.protect(app, scopes="app", exempt=("openapi",))
    qje.protect(part, scopes="part")
    add(part, "page", qje.jwt_required(scopes="own"))
    add(part, "open", qje.jwt_exempt)
    app.register_blueprint(part)
    assert await securities_of(app) == {
        "/part/page": [{"jwtAccessHeader": ["app", "part", "own"]}],
        "/part/open": None,
    }


async def test_two_rules_of_one_path_are_kept_apart() -> None:
    app = described_app()
    add(app, "read", rule="/thing/<int:number>")
    add(app, "write", qje.jwt_required, rule="/thing/<int:number>", methods=["POST"])
    assert await securities_of(app) == {
        "get /thing/{number}": None,
        "post /thing/{number}": [{"jwtAccessHeader": []}],
    }


async def test_options_is_described_where_a_view_requires_a_token_for_it() -> None:
    app = described_app()
    add(app, "page", qje.jwt_required, methods=["OPTIONS"])
    assert await securities_of(app) == {"/page": [{"jwtAccessHeader": []}]}
    app.config["JWT_EXEMPT_OPTIONS"] = True
    assert await securities_of(app) == {"/page": None}


# --- Schemes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "scheme"),
    [
        ({}, ACCESS_HEADER),
        ({"JWT_HEADER_NAME": "authorization", "JWT_HEADER_TYPE": "BEARER"}, ACCESS_HEADER),
        (
            {"JWT_HEADER_TYPE": "Token"},
            {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "An access token, after Token and a space.",
            },
        ),
        (
            {"JWT_HEADER_NAME": "X-Token", "JWT_HEADER_TYPE": ""},
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-Token",
                "description": "An access token.",
            },
        ),
        (
            {"JWT_HEADER_NAME": "X-Token"},
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-Token",
                "description": "An access token, after Bearer and a space.",
            },
        ),
    ],
)
async def test_header_is_described_by_its_options(
    options: dict[str, Any], scheme: dict[str, Any]
) -> None:
    app = described_app(**options)
    add(app, "page", qje.jwt_required)
    assert await schemes_of(app) == {"jwtAccessHeader": scheme}


@pytest.mark.parametrize(
    ("options", "csrf"),
    [
        (
            {},
            " DELETE, PATCH, POST, PUT requests send its CSRF value in the header X-CSRF-TOKEN; it "
            "is the value of the cookie csrf_access_token.",
        ),
        ({"JWT_COOKIE_CSRF_PROTECT": False}, ""),
        ({"JWT_CSRF_METHODS": []}, ""),
        (
            {
                "JWT_CSRF_METHODS": ["POST"],
                "JWT_ACCESS_CSRF_HEADER_NAME": "X-Own",
                "JWT_CSRF_IN_COOKIES": False,
                "JWT_CSRF_CHECK_FORM": True,
            },
            " POST requests send its CSRF value in the header X-Own or the form field csrf_token.",
        ),
    ],
)
async def test_cookie_is_described_with_its_csrf_value(options: dict[str, Any], csrf: str) -> None:
    app = described_app(JWT_TOKEN_LOCATION="cookies", **options)
    add(app, "page", qje.jwt_required)
    assert await schemes_of(app) == {
        "jwtAccessCookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": "access_token_cookie",
            "description": f"An access token.{csrf}",
        }
    }


async def test_types_of_token_have_the_cookies_that_they_are_sent_in() -> None:
    app = described_app(
        JWT_TOKEN_LOCATION="cookies", JWT_ACCESS_COOKIE_NAME="a", JWT_REFRESH_COOKIE_NAME="r"
    )
    add(app, "page", qje.jwt_required)
    add(app, "refresh", qje.jwt_required(refresh=True))
    schemes = await schemes_of(app)
    assert {name: scheme["name"] for name, scheme in schemes.items()} == {
        "jwtAccessCookie": "a",
        "jwtRefreshCookie": "r",
    }
    assert "csrf_refresh_token" in schemes["jwtRefreshCookie"]["description"]


@pytest.mark.parametrize(
    ("prefix", "words"),
    [("", "An access token."), ("Bearer ", "An access token, after 'Bearer '.")],
)
async def test_query_parameter_is_described_with_its_prefix(prefix: str, words: str) -> None:
    app = described_app(
        JWT_TOKEN_LOCATION="query_string",
        JWT_QUERY_STRING_NAME="token",
        JWT_QUERY_STRING_VALUE_PREFIX=prefix,
    )
    add(app, "page", qje.jwt_required)
    assert await schemes_of(app) == {
        "jwtAccessQuery": {"type": "apiKey", "in": "query", "name": "token", "description": words}
    }


async def test_changed_option_is_in_the_next_document() -> None:
    app = described_app()
    add(app, "page", qje.jwt_required)
    assert list(await schemes_of(app)) == ["jwtAccessHeader"]
    app.config["JWT_TOKEN_LOCATION"] = "cookies"
    assert list(await schemes_of(app)) == ["jwtAccessCookie"]


# --- Beside what the application says ------------------------------------------


async def test_schemes_of_the_application_are_kept() -> None:
    app = new_app()
    own = {"type": "apiKey", "name": "X-Key", "in_": "header"}
    QuartSchema(app, security_schemes={"key": own, "jwtAccessHeader": own})
    manager(app).describe(app)
    add(app, "page", qje.jwt_required)
    add(app, "refresh", qje.jwt_required(refresh=True))
    written = {"type": "apiKey", "name": "X-Key", "in": "header"}
    assert await schemes_of(app) == {
        "key": written,
        "jwtAccessHeader": written,
        "jwtRefreshHeader": REFRESH_HEADER,
    }


async def test_requirements_of_the_application_are_kept() -> None:
    app = new_app()
    own = {"type": "apiKey", "name": "X-Key", "in_": "header"}
    QuartSchema(app, security_schemes={"key": own}, security=[{"key": []}])
    manager(app).describe(app)
    add(app, "own", quart_schema.security_scheme([{"key": []}]), qje.jwt_required)
    add(app, "below", qje.jwt_required, quart_schema.security_scheme([{"key": []}]))
    add(app, "ours", quart_schema.security_scheme([{"jwtAccessQuery": []}]))
    add(app, "page", qje.jwt_required)
    add(app, "open")
    document = await document_of(app)
    assert document["security"] == [{"key": []}]
    assert securities(document) == {
        "/own": [{"key": []}],
        "/below": [{"key": []}],
        "/ours": [{"jwtAccessQuery": []}],
        "/page": [{"jwtAccessHeader": []}],
        "/open": None,
    }
    # A scheme of ours is defined wherever it is referred to.
    assert set(document["components"]["securitySchemes"]) == {
        "key",
        "jwtAccessHeader",
        "jwtAccessQuery",
    }


async def test_scheme_that_only_the_whole_document_refers_to_is_defined() -> None:
    app = new_app()
    QuartSchema(app, security=[{"jwtAccessHeader": []}])
    manager(app).describe(app)
    add(app, "page")
    assert await schemes_of(app) == {"jwtAccessHeader": ACCESS_HEADER}


async def test_hidden_routes_and_sockets_stay_out() -> None:
    app = described_app()
    add(app, "hidden", qje.jwt_required, quart_schema.hide)

    @app.websocket("/ws")
    @qje.jwt_required
    async def ws() -> None: ...

    document = await document_of(app)
    assert document["paths"] == {}
    assert "securitySchemes" not in document["components"]


async def test_converted_casing_leaves_the_schemes_alone() -> None:
    app = new_app(JWT_TOKEN_LOCATION="cookies")
    QuartSchema(app, convert_casing=True)
    manager(app).describe(app)
    add(app, "page", qje.jwt_required)
    (scheme,) = (await schemes_of(app)).values()
    assert scheme["name"] == "access_token_cookie"


async def test_provider_of_the_application_is_kept() -> None:
    class Provider(OpenAPIProvider):
        def schema(self) -> dict[str, Any]:
            return {**super().schema(), "x-own": True}

        def build_paths(self, rule: Any) -> tuple[dict, dict]:
            paths, components = super().build_paths(rule)
            for item in paths.values():
                item["description"] = "of the application"
            return paths, components

    app = new_app()
    schema = QuartSchema(app, openapi_provider_class=Provider)
    manager(app).describe(app)
    assert isinstance(schema.openapi_provider, Provider)
    add(app, "page", qje.jwt_required)
    document = await document_of(app)
    assert document["x-own"]
    item = document["paths"]["/page"]
    assert item["description"] == "of the application"
    assert item["get"]["security"] == [{"jwtAccessHeader": []}]


# --- When it is called ---------------------------------------------------------


def test_call_before_quart_schema_is_a_runtime_error() -> None:
    app = new_app()
    with pytest.raises(
        RuntimeError, match=r"^describe requires QuartSchema: call QuartSchema\(app\) first$"
    ):
        manager(app).describe(app)


async def test_routes_that_are_added_later_are_described() -> None:
    app = new_app()
    add(app, "first", qje.jwt_required)
    QuartSchema(app)
    manager(app).describe(app)
    await document_of(app)
    add(app, "later", qje.jwt_required(scopes="late"))
    # A second time changes nothing.
    manager(app).describe(app)
    assert await securities_of(app) == {
        "/first": [{"jwtAccessHeader": []}],
        "/later": [{"jwtAccessHeader": ["late"]}],
    }


def test_command_of_quart_schema_writes_the_same() -> None:
    app = new_app()
    QuartSchema(app)
    manager(app).describe(app)
    add(app, "page", qje.jwt_required)
    result = app.test_cli_runner().invoke(args=["schema"])
    assert result.exit_code == 0
    assert securities(json.loads(result.output)) == {"/page": [{"jwtAccessHeader": []}]}


async def test_one_schema_for_several_apps_describes_those_that_say_so() -> None:
    schema = QuartSchema()
    found = []
    for is_described in (True, False, True):
        app = new_app()
        schema.init_app(app)
        if is_described:
            manager(app).describe(app)
        add(app, "page", qje.jwt_required)
        found.append((await securities_of(app))["/page"])
        depth = len(type(schema.openapi_provider).__mro__)
    assert found == [[{"jwtAccessHeader": []}], None, [{"jwtAccessHeader": []}]]
    # A factory that is called a thousand times makes no tower of classes.
    assert depth == len(OpenAPIProvider.__mro__) + 1


async def test_other_apps_are_left_alone() -> None:
    described_app()
    app = new_app()
    QuartSchema(app)
    add(app, "page", qje.jwt_required)
    assert await securities_of(app) == {"/page": None}


async def test_manager_that_is_bound_again_describes_on() -> None:
    app = described_app()
    add(app, "page", qje.jwt_required)
    qje.JWTManager(app)
    assert await securities_of(app) == {"/page": [{"jwtAccessHeader": []}]}


def test_described_app_is_not_kept_alive() -> None:
    app = described_app()
    kept = weakref.ref(app)
    del app
    gc.collect()
    assert kept() is None


# --- What is rejected ----------------------------------------------------------


class Missing:
    """A finder to which importing quart-schema fails, for want of a module."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "quart_schema":
            raise ModuleNotFoundError(f"No module named {self.name!r}", name=self.name)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "quart_schema",
            r"^describe requires quart-schema: pip install 'quart-jwt-extended\[openapi\]'$",
        ),
        # What quart-schema itself needs is told as it is.
        ("pyhumps", "^No module named 'pyhumps'$"),
    ],
)
def test_without_quart_schema_the_error_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, missing: str, message: str
) -> None:
    app = new_app()
    monkeypatch.delitem(sys.modules, "quart_schema")
    monkeypatch.setattr(sys, "meta_path", [Missing(missing), *sys.meta_path])
    with pytest.raises(ImportError, match=message):
        manager(app).describe(app)


def test_quart_schema_that_is_too_old_is_a_runtime_error(monkeypatch: pytest.MonkeyPatch) -> None:
    app = new_app()
    monkeypatch.delattr(quart_schema, "OpenAPIProvider")
    with pytest.raises(RuntimeError, match="requires quart-schema 0.21 or later"):
        manager(app).describe(app)


def test_app_without_a_manager_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="No JWTManager for this app"):
        qje.JWTManager().describe(Quart("bare"))


def test_what_is_no_app_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="describe requires a Quart app, not Blueprint"):
        qje.JWTManager().describe(Blueprint("part", __name__))
