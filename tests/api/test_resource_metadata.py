"""serve_resource_metadata: where clients learn who makes tokens for a service (RFC 9728)."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Blueprint, Quart, make_response
from quart.testing.connections import WebsocketResponseError

import quart_jwt_extended as qje
from quart_jwt_extended.testing import assert_protected
from support import access_claims, bearer, hs_token, make_app, manager_of

WELL_KNOWN = "/.well-known/oauth-protected-resource"
ORIGIN = "https://api.example.com"
RESOURCE = f"{ORIGIN}/mcp"
METADATA = f"{WELL_KNOWN}/mcp"
PARAMETER = f'resource_metadata="{ORIGIN}{METADATA}"'
ISSUER = "https://login.example.com/realms/staff"


def app_with_metadata(
    resource: str | None = RESOURCE, scopes: Any = ("notes:read",), **options: Any
) -> Quart:
    """An app that serves its metadata and has a view that needs a scope."""
    app = make_app(**options)
    manager_of(app).serve_resource_metadata(app, resource=resource, scopes=scopes)

    @app.get("/scoped")
    @qje.jwt_required(scopes=["notes:read", "notes:write"])
    async def scoped() -> str:
        return ""

    return app


def trust(app: Quart, issuer: str = ISSUER, **options: Any) -> None:
    manager_of(app).trust_issuer(issuer, audience="api", algorithms=["RS256"], **options)


async def metadata(app: Quart, path: str = METADATA, **request: Any) -> dict[str, Any]:
    """The document, as JSON."""
    response = await app.test_client().get(path, **request)
    assert response.status_code == 200
    return await response.get_json()


async def challenge(app: Quart, path: str = "/protected", **request: Any) -> str | None:
    """The header WWW-Authenticate of the answer to a request, None without one."""
    response = await app.test_client().get(path, **request)
    return response.headers.get("WWW-Authenticate")


# --- The document ---------------------------------------------------------------------------------


async def test_document_has_its_members() -> None:
    app = app_with_metadata(scopes=["notes:read", "notes:write"])
    trust(app)
    trust(app, "http://127.0.0.1:8080")
    assert await metadata(app) == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER, "http://127.0.0.1:8080"],
        "scopes_supported": ["notes:read", "notes:write"],
        "bearer_methods_supported": ["header"],
    }


async def test_members_without_a_value_are_left_out() -> None:
    """RFC 9728, section 3.2, has no arrays without elements; that of methods means none."""
    document = await metadata(app_with_metadata(scopes=()))
    assert document == {"resource": RESOURCE, "bearer_methods_supported": ["header"]}


async def test_issuer_whose_name_is_no_url_is_left_out() -> None:
    app = app_with_metadata()
    trust(app, "staff", jwks_uri="https://login.example.com/keys")
    assert "authorization_servers" not in await metadata(app)
    trust(app)
    assert (await metadata(app))["authorization_servers"] == [ISSUER]


@pytest.mark.parametrize(
    "scopes", ["notes:read", ["notes:read"], ("notes:read",), {"notes:read"}], ids=repr
)
async def test_scopes_may_be_one_name_or_several(scopes: Any) -> None:
    document = await metadata(app_with_metadata(scopes=scopes))
    assert document["scopes_supported"] == ["notes:read"]


@pytest.mark.parametrize(
    ("options", "methods"),
    [
        ({}, ["header"]),
        ({"JWT_HEADER_NAME": "authorization"}, ["header"]),
        ({"JWT_TOKEN_LOCATION": ["cookies", "headers"]}, ["header"]),
        ({"JWT_TOKEN_LOCATION": "cookies"}, []),
        ({"JWT_TOKEN_LOCATION": ["query_string", "json"]}, []),
        ({"JWT_HEADER_NAME": "X-Token"}, []),
        ({"JWT_HEADER_TYPE": "JWT"}, []),
        ({"JWT_HEADER_TYPE": ""}, []),
    ],
    ids=repr,
)
async def test_methods_are_those_of_bearer_tokens_that_the_options_accept(
    options: dict[str, Any], methods: list[str]
) -> None:
    document = await metadata(app_with_metadata(**options))
    assert document["bearer_methods_supported"] == methods


async def test_pages_of_all_origins_may_read_the_document() -> None:
    response = await app_with_metadata().test_client().get(METADATA)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 405), ("DELETE", 405)]
)
async def test_document_can_only_be_read(method: str, status: int) -> None:
    response = await app_with_metadata().test_client().open(METADATA, method=method)
    assert response.status_code == status


async def test_document_is_open_in_a_protected_app() -> None:
    app = app_with_metadata()
    qje.protect(app, exempt=("open_view", "optional"))
    assert (await metadata(app))["resource"] == RESOURCE
    assert (await app.test_client().get("/scoped")).status_code == 401


async def test_document_is_open_in_an_app_that_is_protected_before() -> None:
    app = Quart("protected")
    app.config["JWT_SECRET_KEY"] = "k" * 64
    qje.JWTManager(app)
    qje.protect(app)
    manager_of(app).serve_resource_metadata(app, resource=RESOURCE)
    assert (await metadata(app))["resource"] == RESOURCE
    await assert_protected(app, exempt=("static", "jwt_resource_metadata"))


# --- Where it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        (ORIGIN, f"{ORIGIN}{WELL_KNOWN}"),
        (f"{ORIGIN}/", f"{ORIGIN}{WELL_KNOWN}"),
        (RESOURCE, f"{ORIGIN}{WELL_KNOWN}/mcp"),
        (f"{RESOURCE}/", f"{ORIGIN}{WELL_KNOWN}/mcp/"),
        (f"{ORIGIN}/v1.2/~me/a_b-c", f"{ORIGIN}{WELL_KNOWN}/v1.2/~me/a_b-c"),
        (f"{ORIGIN}/.hidden/..x", f"{ORIGIN}{WELL_KNOWN}/.hidden/..x"),
        ("http://localhost:8000/mcp", f"http://localhost:8000{WELL_KNOWN}/mcp"),
        ("https://[2001:db8::1]:8443/mcp", f"https://[2001:db8::1]:8443{WELL_KNOWN}/mcp"),
    ],
)
async def test_well_known_path_goes_before_that_of_the_resource(resource: str, place: str) -> None:
    app = app_with_metadata(resource)
    assert await challenge(app) == f'Bearer resource_metadata="{place}"'
    path = place[place.index("/.well-known") :]
    assert (await metadata(app, path))["resource"] == resource


@pytest.mark.parametrize("resource", [RESOURCE, f"{RESOURCE}/"])
async def test_slash_at_the_end_of_the_path_makes_no_difference(resource: str) -> None:
    app = app_with_metadata(resource)
    for path in (METADATA, f"{METADATA}/"):
        assert (await metadata(app, path))["resource"] == resource


async def test_document_is_at_no_other_path() -> None:
    client = app_with_metadata().test_client()
    for path in (WELL_KNOWN, f"/mcp{WELL_KNOWN}", f"{METADATA}/more"):
        assert (await client.get(path)).status_code == 404


async def test_resource_is_where_the_request_was_sent_unless_it_is_named() -> None:
    app = app_with_metadata(None)
    request = {"headers": {"Host": "notes.example.com:8443"}, "scheme": "https"}
    document = await metadata(app, WELL_KNOWN, **request)
    assert document["resource"] == "https://notes.example.com:8443"
    assert await challenge(app, **request) == (
        f'Bearer resource_metadata="https://notes.example.com:8443{WELL_KNOWN}"'
    )


async def test_named_resource_does_not_depend_on_the_request() -> None:
    app = app_with_metadata()
    request = {"headers": {"Host": "evil.example.com"}}
    assert (await metadata(app, **request))["resource"] == RESOURCE
    assert await challenge(app, **request) == f"Bearer {PARAMETER}"


@pytest.mark.parametrize(
    "host",
    ['a", error="x', "a b", "a/b", "a,b", "a\\b", "user@host", "[", "a?b", "a#b", "a:b", "", "<x>"],
)
async def test_host_that_is_none_is_not_in_the_challenge(host: str) -> None:
    # A cookie jar of the client would take the host for one.
    client = app_with_metadata(None).test_client(use_cookies=False)
    response = await client.get("/protected", headers={"Host": host})
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


# --- The challenge --------------------------------------------------------------------------------

GRANTS_NOTHING = hs_token(access_claims())
REFRESH = hs_token(access_claims(type="refresh"))
OTHER_SCHEME = {"Authorization": "Basic YTpi"}


@pytest.mark.parametrize("scheme", ["Bearer", "JWT", ""])
@pytest.mark.parametrize(
    ("error_format", "path", "token", "status", "parameters"),
    [
        ("legacy", "/protected", None, 401, ""),
        ("problem", "/protected", None, 401, ""),
        ("legacy", "/protected", REFRESH, 422, None),
        ("problem", "/protected", REFRESH, 401, 'error="invalid_token", '),
        ("legacy", "/scoped", None, 401, 'scope="notes:read notes:write", '),
        *[
            (
                error_format,
                "/scoped",
                GRANTS_NOTHING,
                403,
                'error="insufficient_scope", scope="notes:read notes:write", ',
            )
            for error_format in ("legacy", "problem")
        ],
    ],
    ids=[
        "legacy-no token",
        "problem-no token",
        "legacy-invalid",
        "problem-invalid",
        "legacy-no token for a scope",
        "legacy-scope",
        "problem-scope",
    ],
)
async def test_challenge_names_the_document(
    scheme: str,
    error_format: str,
    path: str,
    token: str | None,
    status: int,
    parameters: str | None,
) -> None:
    app = app_with_metadata(JWT_ERROR_FORMAT=error_format, JWT_HEADER_TYPE=scheme)
    headers = {"Authorization": f"{scheme} {token}".strip()} if token else {}
    response = await app.test_client().get(path, headers=headers)
    assert response.status_code == status
    expected = None if parameters is None else f"{scheme or 'Bearer'} {parameters}{PARAMETER}"
    assert response.headers.get("WWW-Authenticate") == expected


async def test_challenge_names_the_document_to_a_client_of_another_scheme() -> None:
    app = app_with_metadata(JWT_ERROR_FORMAT="problem")
    assert await challenge(app, headers=OTHER_SCHEME) == f"Bearer {PARAMETER}"


async def test_document_is_none_where_the_host_is_none() -> None:
    client = app_with_metadata(None).test_client(use_cookies=False)
    response = await client.get("/.well-known/oauth-protected-resource", headers={"Host": "a b"})
    assert response.status_code == 400


async def test_views_of_the_extension_have_names_of_their_own() -> None:
    """Tools that describe an app name operations after functions."""
    app = app_with_metadata()
    manager_of(app).serve_jwks(app)
    for endpoint in ("jwt_resource_metadata", "jwt_jwks"):
        assert app.view_functions[endpoint].__name__ == endpoint


async def test_app_without_metadata_names_none() -> None:
    assert await challenge(make_app()) == "Bearer"


async def test_switched_off_challenge_stays_off() -> None:
    app = app_with_metadata(JWT_WWW_AUTHENTICATE=False)
    assert await challenge(app) is None
    assert await challenge(app, "/scoped", headers=bearer(GRANTS_NOTHING)) is None


async def test_challenge_of_the_application_is_left_alone() -> None:
    app = app_with_metadata()

    @manager_of(app).unauthorized_loader
    async def answer(_: str) -> Any:
        return await make_response("", 401, {"WWW-Authenticate": "Negotiate"})

    assert await challenge(app) == "Negotiate"


@pytest.mark.parametrize(
    ("resource", "place"),
    [(RESOURCE, f"{ORIGIN}{METADATA}"), (None, f"https://notes.example.com{WELL_KNOWN}")],
    ids=["named", "from the request"],
)
async def test_rejected_websocket_gets_the_challenge(resource: str | None, place: str) -> None:
    app = app_with_metadata(resource)

    @app.websocket("/socket")
    @qje.jwt_required
    async def socket() -> None:
        raise AssertionError("let in")

    headers = {"Host": "notes.example.com"}
    client = app.test_client()
    with pytest.raises(WebsocketResponseError) as caught:
        async with client.websocket("/socket", headers=headers, scheme="wss") as connection:
            await connection.receive()
    response = caught.value.response
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == f'Bearer resource_metadata="{place}"'


# --- Values and applications that are rejected ----------------------------------------------------


@pytest.mark.parametrize(
    "resource",
    [
        "",
        "/mcp",
        "mcp",
        "//api.example.com/mcp",
        "api.example.com/mcp",
        "https://",
        "https:///mcp",
        "ftp://api.example.com/mcp",
        "HTTPS",
        f"{ORIGIN}?a=b",
        f"{RESOURCE}?",
        f"{RESOURCE}#part",
        f"{ORIGIN}//mcp",
        f"{RESOURCE}//",
        f"{ORIGIN}/<x>",
        f"{ORIGIN}/<path:x>",
        f"{ORIGIN}/%41",
        f"{ORIGIN}/./mcp",
        f"{ORIGIN}/..",
        f"{ORIGIN}/a/../mcp",
        f'{ORIGIN}/"',
        f"{ORIGIN}/'",
        f"{ORIGIN}/\\mcp",
        f"{ORIGIN}\\mcp",
        f"{ORIGIN}/a b",
        f"{RESOURCE}\n",
        f" {RESOURCE}",
        f"{ORIGIN}/\ud800",
        f"{ORIGIN}/m\u00fcp",
        f"{ORIGIN}/\0",
        "https://user:secret@api.example.com/mcp",
        "https://api.example.com:/mcp",
        "https://api.example.com:port/mcp",
        "https://api.example.com:1:2/mcp",
        "https://[::1/mcp",
        "https://ex\u00e4mple.com/mcp",
    ],
    ids=ascii,
)
def test_resource_that_is_no_plain_url_is_a_value_error(resource: str) -> None:
    app = make_app()
    with pytest.raises(ValueError, match="resource must be an http or https URL without a query"):
        manager_of(app).serve_resource_metadata(app, resource=resource)
    assert "jwt_resource_metadata" not in app.view_functions


@pytest.mark.parametrize("resource", [b"https://api.example.com", 5, True, [RESOURCE]], ids=repr)
def test_resource_of_another_type_is_a_type_error(resource: Any) -> None:
    app = make_app()
    with pytest.raises(TypeError, match="resource must be a URL or None, not "):
        manager_of(app).serve_resource_metadata(app, resource=resource)


@pytest.mark.parametrize(
    "scopes", ["", "notes:read notes:write", 'a"b', ["a", "\\"], ["\u00e9"], [""]], ids=ascii
)
def test_malformed_scope_is_a_value_error(scopes: Any) -> None:
    app = make_app()
    with pytest.raises(ValueError, match="scopes must be one or several names of printable ASCII"):
        manager_of(app).serve_resource_metadata(app, resource=RESOURCE, scopes=scopes)
    assert "jwt_resource_metadata" not in app.view_functions


@pytest.mark.parametrize("scopes", [5, b"notes:read", [5], {"notes:read": 1}], ids=repr)
def test_scopes_of_another_type_are_a_type_error(scopes: Any) -> None:
    app = make_app()
    with pytest.raises(TypeError, match="scopes must be a string, or a sequence or a set of"):
        manager_of(app).serve_resource_metadata(app, resource=RESOURCE, scopes=scopes)


@pytest.mark.parametrize("app", [None, "app", Blueprint("b", __name__), Quart], ids=repr)
def test_what_is_no_app_is_a_type_error(app: Any) -> None:
    with pytest.raises(TypeError, match="serve_resource_metadata requires a Quart app, not "):
        qje.JWTManager().serve_resource_metadata(app)


def test_app_without_a_manager_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="No JWTManager for this app"):
        qje.JWTManager().serve_resource_metadata(Quart("bare"))


@pytest.mark.parametrize("second", [RESOURCE, f"{ORIGIN}/other", None])
async def test_second_document_of_an_app_is_a_value_error(second: str | None) -> None:
    app = app_with_metadata()
    with pytest.raises(ValueError, match="jwt_resource_metadata"):
        manager_of(app).serve_resource_metadata(app, resource=second)
    assert (await metadata(app))["resource"] == RESOURCE
    assert await challenge(app) == f"Bearer {PARAMETER}"


async def test_apps_of_one_manager_have_documents_of_their_own() -> None:
    manager = qje.JWTManager()
    for name in ("one", "two"):
        app = Quart(name)
        app.config["JWT_SECRET_KEY"] = "k" * 64
        manager.init_app(app)
        manager.serve_resource_metadata(app, resource=f"{ORIGIN}/{name}")
        assert (await metadata(app, f"{WELL_KNOWN}/{name}"))["resource"] == f"{ORIGIN}/{name}"


# --- A service that makes no tokens ---------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
async def test_service_without_a_key_of_its_own_starts_and_rejects_tokens_of_others(
    algorithm: str,
) -> None:
    app = Quart("service")
    app.config.update(JWT_ERROR_FORMAT="problem", JWT_ALGORITHM=algorithm)
    qje.JWTManager(app)
    trust(app)

    @app.get("/protected")
    @qje.jwt_required
    async def view() -> str:
        raise AssertionError("let in")

    async with app.test_app():
        for claims in (access_claims(), access_claims(iss="https://stranger.example.com")):
            headers = bearer(hs_token(claims, secret=""))
            assert await challenge(app, headers=headers) == 'Bearer error="invalid_token"'
    async with app.app_context():
        with pytest.raises(RuntimeError, match="must be set"):
            qje.create_access_token("alice")
