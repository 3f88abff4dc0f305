"""The testing kit: clients that are signed in, and the assertion that an app is protected."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from quart import Blueprint, Quart, Response, abort, jsonify, redirect, request, websocket
from quart.testing import QuartClient
from quart.views import MethodView
from werkzeug.datastructures import Headers
from werkzeug.routing import BaseConverter, Rule, ValidationError

import quart_jwt_extended as qje
from quart_jwt_extended.testing import assert_protected, signed_in
from support import SECRET, access_claims, bearer, hs_token

BOB = hs_token(access_claims(identity="bob"))
LOCATIONS = ["headers", "cookies", "query_string", "json"]
WEBSOCKET_LOCATIONS = ["headers", "cookies", "query_string", "websocket_protocol"]


def new_app(store: Any = None, **options: Any) -> Quart:
    app = Quart("kit", static_folder=None)
    app.config.update(TESTING=True, JWT_SECRET_KEY=SECRET, **options)
    qje.JWTManager(app, token_store=store)
    return app


def app_to_sign_in_to(store: Any = None, **options: Any) -> Quart:
    app = new_app(store, **options)

    @app.route("/me", methods=["GET", "POST", "PUT", "DELETE"])
    @qje.jwt_required
    async def me() -> dict[str, Any]:
        return {"identity": qje.get_jwt_identity(), "where": qje.get_jwt_request_location()}

    @app.get("/claims")
    @qje.jwt_required
    async def claims() -> dict[str, Any]:
        return qje.get_jwt()

    @app.post("/body")
    @qje.jwt_required
    async def body() -> Any:
        return jsonify(await request.get_json())

    @app.post("/away")
    @qje.jwt_required
    async def away() -> Any:
        return redirect("/me", code=int(request.args.get("code", "302")))

    @app.post("/renew")
    @qje.jwt_required
    async def renew() -> Response:
        response = redirect("/me", code=307)
        qje.set_access_cookies(response, qje.create_access_token("renewed"))
        return response

    @app.post("/logout")
    async def logout() -> Response:
        response = jsonify(ok=True)
        qje.unset_jwt_cookies(response)
        return response

    @app.post("/refresh")
    @qje.jwt_required(refresh=True)
    async def refresh() -> dict[str, Any]:
        return {"identity": qje.get_jwt_identity()}

    @app.websocket("/socket")
    @qje.jwt_required
    async def socket() -> None:
        await websocket.send(f"{qje.get_jwt_identity()} {qje.get_jwt_request_location()}")

    return app


async def answer(response: Any) -> Any:
    assert response.status_code == 200, await response.get_data(as_text=True)
    return await response.get_json()


async def said(client: Any, path: str = "/socket", **options: Any) -> Any:
    async with client.websocket(path, **options) as socket:
        return await socket.receive()


# --- signed_in: locations ------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("location", LOCATIONS)
async def test_token_travels_in_the_location_of_the_app(location: str, method: str) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=location)
    async with signed_in(app, "alice") as client:
        response = await client.open("/me", method=method)
    assert await answer(response) == {"identity": "alice", "where": location}


@pytest.mark.parametrize("location", LOCATIONS)
async def test_names_in_the_options_are_those_that_carry_the_token(location: str) -> None:
    app = app_to_sign_in_to(
        JWT_TOKEN_LOCATION=location, JWT_HEADER_NAME="X-Token", JWT_HEADER_TYPE="JWT",
        JWT_ACCESS_COOKIE_NAME="session", JWT_ACCESS_CSRF_HEADER_NAME="X-Other",
        JWT_QUERY_STRING_NAME="the token", JWT_QUERY_STRING_VALUE_PREFIX="pre ",
        JWT_JSON_KEY="jwt",
    )  # fmt: skip
    async with signed_in(app, "alice") as client:
        assert (await answer(await client.post("/me")))["where"] == location


async def test_header_without_a_type_carries_the_token_alone() -> None:
    app = app_to_sign_in_to(JWT_HEADER_TYPE="")
    async with signed_in(app, "alice") as client:
        assert await answer(await client.get("/me"))


@pytest.mark.parametrize("location", WEBSOCKET_LOCATIONS)
async def test_websocket_carries_the_token_in_the_location_of_the_app(location: str) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=location)
    async with signed_in(app, "alice") as client:
        assert await said(client) == f"alice {location}"


async def test_first_location_that_a_request_can_have_is_taken() -> None:
    order = ["websocket_protocol", "json", "query_string"]
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=order)
    async with signed_in(app, "alice") as client:
        assert (await answer(await client.post("/me")))["where"] == "json"
        assert (await answer(await client.post("/me", json={"a": 1})))["where"] == "json"
        assert (await answer(await client.post("/me", form={"a": "1"})))["where"] == "query_string"
        assert (await answer(await client.get("/me")))["where"] == "query_string"
        assert await said(client) == "alice websocket_protocol"


@pytest.mark.parametrize("first", ["json", "websocket_protocol"])
async def test_cookies_behind_a_location_of_some_requests_serve_the_others(first: str) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=[first, "cookies"])
    async with signed_in(app, "alice") as client:
        assert (await answer(await client.get("/me")))["where"] == "cookies"
        assert (await answer(await client.post("/me", form={"a": "1"})))["where"] == "cookies"


async def test_cookies_behind_headers_are_not_kept() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=["headers", "cookies"])
    async with signed_in(app, "alice") as client:
        assert not list(client.cookie_jar or ())
        assert (await answer(await client.post("/me")))["where"] == "headers"


@pytest.mark.parametrize("locations", ["cookies", ["cookies"], ("cookies", "headers"), {"cookies"}])
async def test_given_locations_replace_those_of_the_app(locations: Any) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=["headers", "cookies"])
    async with signed_in(app, "alice", locations=locations) as client:
        assert [cookie.name for cookie in client.cookie_jar or ()][:1] == ["access_token_cookie"]
        assert (await client.post("/me")).status_code == 200


async def test_cookie_of_a_route_with_locations_of_its_own_reaches_it() -> None:
    app = new_app()

    @app.get("/")
    @qje.jwt_required(locations="cookies")
    async def view() -> str:
        return "ok"

    async with signed_in(app, "alice", locations="cookies") as client:
        assert (await client.get("/")).status_code == 200


async def test_query_string_of_the_request_is_kept() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="query_string")

    @app.get("/args")
    @qje.jwt_required
    async def args() -> dict[str, Any]:
        return {"a": request.args["a"]}

    async with signed_in(app, "alice") as client:
        assert await answer(await client.get("/args?a=1")) == {"a": "1"}
        assert await answer(await client.get("/args", query_string={"a": "1"})) == {"a": "1"}


async def test_json_of_the_request_is_kept() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="json")
    async with signed_in(app, "alice") as client:
        sent = await answer(await client.post("/body", json={"a": [1, "ä"]}))
        streamed = client.request(
            "/body", method="POST",
            headers={"Content-Type": "application/json", "Content-Length": "7"},
        )  # fmt: skip
        async with streamed as connection:
            await connection.send(b'{"a"')
            await connection.send(b": 2}")
            await connection.send_complete()
        received = await answer(await streamed.as_response())
    sent.pop("access_token")
    received.pop("access_token")
    assert (sent, received) == ({"a": [1, "ä"]}, {"a": 2})


async def test_json_that_is_no_object_has_no_room_for_a_token() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="json")
    async with signed_in(app, "alice") as client:
        with pytest.raises(RuntimeError, match="must be an object"):
            await client.post("/body", json=[1])


@pytest.mark.parametrize("data", [b"{", b"\xff"])
async def test_faulty_json_reaches_the_app_as_it_is(data: bytes) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="json")
    headers = {"Content-Type": "application/json"}

    @app.post("/raw")
    async def raw() -> Any:
        return await request.get_data()

    async with signed_in(app, "alice") as client:
        response = await client.post("/raw", data=data, headers=headers)
        assert await response.get_data() == data


async def test_body_without_a_type_stays_as_it_is() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="json")

    @app.post("/raw")
    async def raw() -> Any:
        return await request.get_data()

    async with signed_in(app, "alice") as client:
        assert await (await client.post("/raw", data=b"raw")).get_data() == b"raw"


async def test_other_subprotocols_are_offered_behind_the_token() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="websocket_protocol")

    @app.websocket("/offered")
    @qje.jwt_required
    async def offered() -> None:
        await websocket.send(websocket.requested_subprotocols[-1])

    async with signed_in(app, "alice") as client:
        assert await said(client, "/offered", scope_base={"subprotocols": ["chat"]}) == "chat"


async def test_option_that_changes_counts_from_the_next_request_on() -> None:
    app = app_to_sign_in_to()
    async with signed_in(app, "alice") as client:
        app.config["JWT_HEADER_NAME"] = "X-Token"
        assert await answer(await client.get("/me"))


# --- signed_in: cookies and CSRF -----------------------------------------------


async def test_csrf_header_goes_with_the_methods_that_need_it_only() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies", JWT_CSRF_METHODS=["DELETE"])

    @app.route("/csrf", methods=["POST", "DELETE"])
    async def csrf() -> dict[str, Any]:
        return {"has": "X-CSRF-TOKEN" in request.headers}

    async with signed_in(app, "alice") as client:
        assert await answer(await client.delete("/csrf")) == {"has": True}
        assert await answer(await client.post("/csrf")) == {"has": False}


@pytest.mark.parametrize(
    "options",
    [
        {"JWT_COOKIE_CSRF_PROTECT": False},
        {"JWT_CSRF_IN_COOKIES": False},
        {"JWT_ACCESS_COOKIE_PATH": "/api", "JWT_ACCESS_CSRF_COOKIE_PATH": None},
        {"JWT_ACCESS_COOKIE_NAME": "__Host-a", "JWT_COOKIE_SECURE": True},
        {"JWT_COOKIE_DOMAIN": "example.com"},
        {"JWT_COOKIE_DOMAIN": "example.com", "SERVER_NAME": "example.com:8000"},
        {"JWT_SESSION_COOKIE": False},
    ],
)
async def test_cookie_options_do_not_keep_the_client_out(options: dict[str, Any]) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies", **options)
    async with signed_in(app, "alice") as client:
        assert (await answer(await client.post("/me")))["where"] == "cookies"


@pytest.mark.parametrize("path", ["/", "/api"])
async def test_response_that_renews_the_cookie_renews_the_csrf_header(path: str) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies", JWT_ACCESS_COOKIE_PATH=path)
    async with signed_in(app, "alice") as client:
        response = await client.post("/renew", follow_redirects=True)
        assert (await answer(response))["identity"] == "renewed"
        assert (await answer(await client.post("/me")))["identity"] == "renewed"


async def test_response_that_unsets_the_cookies_signs_the_client_out() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies")
    async with signed_in(app, "alice") as client:
        assert (await client.post("/logout")).status_code == 200
        assert not list(client.cookie_jar or ())
        assert (await client.get("/me")).status_code == 401


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("code", [302, 307])
async def test_redirect_carries_the_token_too(location: str, code: int) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=location)
    async with signed_in(app, "alice") as client:
        response = await client.post(f"/away?code={code}", follow_redirects=True)
    assert await answer(response) == {"identity": "alice", "where": location}


class CookielessClient(QuartClient):
    def __init__(self, app: Quart, use_cookies: bool = True) -> None:
        super().__init__(app, use_cookies=False)


async def test_client_without_cookies_takes_the_next_location() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=["cookies", "headers"])
    app.test_client_class = CookielessClient
    async with signed_in(app, "alice") as client:
        assert (await answer(await client.post("/me")))["where"] == "headers"


async def test_client_without_cookies_in_an_app_of_cookies_is_an_error() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies")
    app.test_client_class = CookielessClient
    with pytest.raises(RuntimeError, match="This .* cannot carry a token in "):
        async with signed_in(app, "alice"):
            pass


# --- signed_in: what the caller gives ------------------------------------------


@pytest.mark.parametrize("location", LOCATIONS)
async def test_header_of_the_request_counts_instead(location: str) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=[location, *({"headers"} - {location})])
    async with signed_in(app, "alice") as client:
        response = await client.post("/me", headers=bearer(BOB))
        socket = await said(client, headers=bearer(BOB)) if location != "json" else "bob headers"
    assert await answer(response) == {"identity": "bob", "where": "headers"}
    assert socket == "bob headers"


@pytest.mark.parametrize("location", LOCATIONS)
async def test_cookie_of_the_request_counts_instead(location: str) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=[location, *({"cookies"} - {location})])
    async with signed_in(app, "alice") as client:
        response = await client.get("/me", headers={"Cookie": f"access_token_cookie={BOB}"})
    assert await answer(response) == {"identity": "bob", "where": "cookies"}


@pytest.mark.parametrize("location", LOCATIONS)
async def test_query_parameter_of_the_request_counts_instead(location: str) -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION=[location, *({"query_string"} - {location})])
    async with signed_in(app, "alice") as client:
        response = await client.get("/me", query_string={"jwt": BOB})
    assert await answer(response) == {"identity": "bob", "where": "query_string"}


async def test_json_key_of_the_request_counts_instead() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="json")
    async with signed_in(app, "alice") as client:
        response = await client.post("/me", json={"access_token": BOB})
    assert (await answer(response))["identity"] == "bob"


async def test_subprotocol_of_the_websocket_counts_instead() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="websocket_protocol")
    app.config["JWT_WEBSOCKET_PROTOCOL"] = "token"
    offered = {"subprotocols": ["token", BOB]}
    async with signed_in(app, "alice") as client:
        assert await said(client, scope_base=offered) == "bob websocket_protocol"


async def test_empty_header_of_the_request_goes_without_a_token() -> None:
    app = app_to_sign_in_to()
    async with signed_in(app, "alice") as client:
        assert (await client.get("/me", headers={"Authorization": ""})).status_code == 401


async def test_basic_credentials_do_not_replace_a_cookie() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies")
    async with signed_in(app, "alice") as client:
        assert await answer(await client.get("/me", auth=("bob", "secret")))


async def test_csrf_header_of_the_request_counts_instead() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies")
    async with signed_in(app, "alice") as client:
        assert (await client.post("/me", headers={"X-CSRF-TOKEN": "wrong"})).status_code == 401


async def test_cookie_of_the_request_gets_no_csrf_header() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies")
    bob = hs_token(access_claims(identity="bob", csrf="value"))
    async with signed_in(app, "alice") as client:
        response = await client.post("/me", headers={"Cookie": f"access_token_cookie={bob}"})
        assert response.status_code == 401


async def test_headers_object_of_the_caller_gets_no_token() -> None:
    app = app_to_sign_in_to()
    headers = Headers()
    async with signed_in(app, "alice") as client:
        assert await answer(await client.get("/me", headers=headers))
        assert "Authorization" not in headers


# --- signed_in: the token ------------------------------------------------------


async def test_claims_are_those_that_are_asked_for() -> None:
    app = app_to_sign_in_to()
    kit = signed_in(
        app, "alice", fresh=True, scopes=["read", "write"], user_claims={"role": "admin"},
        additional_claims={"tenant": 7},
    )  # fmt: skip
    async with kit as client:
        claims = await answer(await client.get("/claims"))
    assert claims["fresh"] is True
    assert claims["scope"] == "read write"
    assert claims["user_claims"] == {"role": "admin"}
    assert claims["tenant"] == 7


async def test_plain_login_is_not_fresh_and_has_no_scope() -> None:
    app = app_to_sign_in_to()
    async with signed_in(app, "alice") as client:
        claims = await answer(await client.get("/claims"))
    assert claims["fresh"] is False
    assert "scope" not in claims


@pytest.mark.parametrize(
    ("scopes", "claim"),
    [("read", "read"), ("read write", "read write"), (("a", "b"), "a b"), ({"a"}, "a"), ([], "")],
)
async def test_scopes_become_the_claim_of_the_option(scopes: Any, claim: str) -> None:
    app = app_to_sign_in_to(JWT_SCOPE_CLAIM="scp")
    async with signed_in(app, "alice", scopes=scopes) as client:
        assert (await answer(await client.get("/claims")))["scp"] == claim


async def test_fresh_for_a_while_is_fresh() -> None:
    app = app_to_sign_in_to()
    async with signed_in(app, "alice", fresh=timedelta(minutes=1)) as client:
        assert type((await answer(await client.get("/claims")))["fresh"]) is not bool


async def test_async_loaders_are_awaited() -> None:
    app = app_to_sign_in_to()

    @app.extensions["quart-jwt-extended"].user_identity_loader
    async def identity(user: Any) -> str:
        await asyncio.sleep(0)
        return str(user["name"])

    async with signed_in(app, {"name": "alice"}) as client:
        assert (await answer(await client.get("/me")))["identity"] == "alice"


async def test_client_is_of_the_class_of_the_app() -> None:
    class Client(QuartClient):
        async def open(self, path: str, **options: Any) -> Any:  # type: ignore[override]
            return await super().open(f"/{path}", **options)

    app = app_to_sign_in_to()
    app.test_client_class = Client
    async with signed_in(app, "alice") as client:
        assert type(client) is Client
        assert await answer(await client.get("me"))


async def test_two_clients_are_two_users() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="cookies")
    async with signed_in(app, "alice") as alice, signed_in(app, "bob") as bob:
        assert (await answer(await alice.post("/me")))["identity"] == "alice"
        assert (await answer(await bob.post("/me")))["identity"] == "bob"
        assert (await app.test_client().get("/me")).status_code == 401


async def test_raw_connection_carries_the_token() -> None:
    app = app_to_sign_in_to()
    async with signed_in(app, "alice") as client:
        connection = client.request("/me")
        async with connection:
            await connection.send_complete()
        assert (await answer(await connection.as_response()))["identity"] == "alice"


# --- signed_in: sessions -------------------------------------------------------


@pytest.mark.parametrize("header", ["X-CSRF-TOKEN", "X-Refresh"])
async def test_session_in_cookies_can_be_refreshed(header: str) -> None:
    app = app_to_sign_in_to(
        qje.MemoryTokenStore(),
        JWT_TOKEN_LOCATION="cookies",
        JWT_REFRESH_CSRF_HEADER_NAME=header,
    )
    async with signed_in(app, "alice", fresh=True, scopes="read") as client:
        assert await answer(await client.post("/refresh")) == {"identity": "alice"}
        assert (await answer(await client.post("/me")))["where"] == "cookies"
        names = {cookie.name for cookie in client.cookie_jar or ()}
        claims = await answer(await client.get("/claims"))
    async with app.app_context():
        (session,) = await qje.get_sessions("alice")
    assert claims["sid"] == session.id
    assert (claims["fresh"], claims["scope"]) == (True, "read")
    assert names == {
        "access_token_cookie", "csrf_access_token", "refresh_token_cookie", "csrf_refresh_token"
    }  # fmt: skip


async def test_session_in_headers_keeps_no_cookies() -> None:
    app = app_to_sign_in_to(qje.MemoryTokenStore())
    async with signed_in(app, "alice") as client:
        assert (await answer(await client.get("/claims")))["sid"]
        assert not list(client.cookie_jar or ())


# --- signed_in: errors ---------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"locations": "header"}, ValueError, 'locations must be one or several of "headers"'),
        ({"locations": 1}, TypeError, "locations must be a string"),
        ({"locations": []}, TypeError, "locations must be a string"),
        ({"scopes": 1}, TypeError, "scopes must be a string"),
        ({"scopes": ["a b"]}, ValueError, "scopes must be one or several names"),
        ({"scopes": ""}, ValueError, "scopes must be one or several names"),
        ({"additional_claims": []}, TypeError, "additional_claims must be a dict"),
    ],
)
def test_wrong_argument_is_named_at_once(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        signed_in(app_to_sign_in_to(), "alice", **arguments)


async def test_scopes_given_twice_are_an_error() -> None:
    kit = signed_in(new_app(), "alice", scopes="a", additional_claims={"scope": "b"})
    with pytest.raises(ValueError, match="additional_claims must not contain 'scope'"):
        async with kit:
            pass


def test_app_of_another_kind_is_an_error() -> None:
    with pytest.raises(TypeError, match="signed_in requires a Quart app, not str"):
        signed_in("app", "alice")  # type: ignore[arg-type]


async def test_app_without_a_manager_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="No JWTManager"):
        signed_in(Quart("bare"), "alice")
    with pytest.raises(RuntimeError, match="No JWTManager"):
        await assert_protected(Quart("bare"))


async def test_request_that_no_location_suits_is_an_error() -> None:
    app = app_to_sign_in_to(JWT_TOKEN_LOCATION="json")
    async with signed_in(app, "alice") as client:
        with pytest.raises(RuntimeError, match="This WebSocket cannot carry a token in json"):
            await said(client)
        with pytest.raises(RuntimeError, match="POST request with a body of the type application"):
            await client.post("/me", form={"a": "1"})
    async with signed_in(app, "alice", locations="websocket_protocol") as client:
        with pytest.raises(RuntimeError, match="This GET request cannot carry a token"):
            await client.get("/me")


# --- assert_protected: what is found -------------------------------------------


async def ok(**arguments: Any) -> str:
    return "ok"


async def found(app: Quart, exempt: Any = ()) -> list[str]:
    """The lines of the assertion, without what came instead of a refusal."""
    try:
        await assert_protected(app, exempt)
    except AssertionError as error:
        first, *lines = str(error).splitlines()
        assert first.startswith("These routes do not reject requests")
        return [line.strip().rpartition(": ")[0] for line in lines]
    return []


def add(app: Any, path: str, *decorators: Any, view: Any = ok, **options: Any) -> None:
    for decorator in reversed(decorators):
        view = decorator(view)
    app.add_url_rule(path, options.pop("endpoint", path.strip("/")), view, **options)


async def test_open_route_is_named_with_what_it_answers() -> None:
    app = new_app()
    add(app, "/open")
    with pytest.raises(AssertionError) as error:
        await assert_protected(app)
    assert "GET /open, endpoint 'open': responded with 200" in str(error.value)


async def test_protected_routes_pass() -> None:
    app = app_to_sign_in_to()
    await assert_protected(app, exempt="logout")


async def test_every_decorator_that_requires_a_token_passes() -> None:
    app = new_app()
    add(app, "/a", qje.jwt_required)
    add(app, "/b", qje.fresh_jwt_required)
    add(app, "/c", qje.jwt_refresh_token_required)
    add(app, "/d", qje.jwt_required(locations="cookies", scopes="read"))
    assert await found(app) == []


@pytest.mark.parametrize("location", [*LOCATIONS, LOCATIONS])
async def test_location_does_not_matter(location: Any) -> None:
    app = new_app(JWT_TOKEN_LOCATION=location)
    add(app, "/a", qje.jwt_required, methods=["GET", "POST"])
    assert await found(app) == []


@pytest.mark.parametrize("decorator", [qje.jwt_optional, qje.jwt_required(optional=True)])
async def test_optional_route_is_open(decorator: Any) -> None:
    app = new_app()
    add(app, "/a", decorator)
    assert await found(app) == ["GET /a, endpoint 'a'"]


async def test_each_method_is_asked() -> None:
    app = new_app()
    add(app, "/a", qje.jwt_required, methods=["GET"], endpoint="read")
    add(app, "/a", methods=["PUT", "DELETE"], endpoint="write")
    assert await found(app) == ["DELETE /a, endpoint 'write'", "PUT /a, endpoint 'write'"]


async def test_options_of_a_view_is_asked_unless_the_option_exempts_it() -> None:
    app = new_app(JWT_EXEMPT_OPTIONS=False)
    add(app, "/a", methods=["OPTIONS"])
    add(app, "/b", qje.jwt_required, methods=["OPTIONS"])
    assert await found(app) == ["OPTIONS /a, endpoint 'a'"]
    app.config["JWT_EXEMPT_OPTIONS"] = True
    assert await found(app) == []


async def test_open_websocket_is_named() -> None:
    app = new_app()

    @app.websocket("/open")
    async def open_socket() -> None:
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/closed")
    @qje.jwt_required
    async def closed_socket() -> None:
        await websocket.send("ok")

    @app.websocket("/accepted")
    async def accepted_socket() -> None:
        await websocket.accept()
        await qje.verify_jwt_in_request()

    assert await found(app) == ["WEBSOCKET /open, endpoint 'open_socket'"]


async def test_class_based_views_are_asked_by_method() -> None:
    app = new_app()

    class Item(MethodView):
        @qje.jwt_required
        async def get(self) -> str:
            return "ok"

        async def post(self) -> str:
            return "ok"

    class Closed(MethodView):
        decorators = [qje.jwt_required]  # noqa: RUF012

        async def get(self) -> str:
            return "ok"

    app.add_url_rule("/item", view_func=Item.as_view("item"))
    app.add_url_rule("/closed", view_func=Closed.as_view("closed"))
    assert await found(app) == ["POST /item, endpoint 'item'"]


async def test_verification_inside_a_view_counts() -> None:
    app = new_app()

    async def view() -> str:
        await qje.verify_jwt_in_request()
        return "ok"

    def plain() -> str:
        return "ok"

    add(app, "/a", view=view)
    add(app, "/b", qje.jwt_required, view=plain)
    assert await found(app) == []


async def test_verification_in_a_hook_counts() -> None:
    app = new_app()
    app.before_request(qje.verify_jwt_in_request)
    add(app, "/a")
    assert await found(app) == []


async def test_view_that_catches_the_refusal_and_serves_is_open() -> None:
    app = new_app()

    async def serves() -> str:
        try:
            await qje.verify_jwt_in_request()
        except qje.NoAuthorizationError:
            return "stranger"
        return "ok"

    async def aborts() -> str:
        try:
            await qje.verify_jwt_in_request()
        except qje.NoAuthorizationError:
            abort(403)
        return "ok"

    add(app, "/a", view=serves)
    add(app, "/b", view=aborts)
    assert await found(app) == ["GET /a, endpoint 'a'"]


@pytest.mark.parametrize("kind", ["redirect", "page"])
async def test_custom_answer_to_a_missing_token_counts_as_a_refusal(kind: str) -> None:
    app = new_app()

    @app.extensions["quart-jwt-extended"].unauthorized_loader
    def unauthorized(reason: str) -> Any:
        return redirect("/login") if kind == "redirect" else ("log in here", 200)

    add(app, "/a", qje.jwt_required)
    app.add_url_rule("/ws", "ws", qje.jwt_required(ok), websocket=True)
    assert await found(app) == []


async def test_redirect_of_the_view_is_no_refusal() -> None:
    app = new_app()

    async def view() -> Any:
        return redirect("/login")

    add(app, "/a", view=view)
    add(app, "/b", view=lambda: abort(401))
    assert await found(app) == ["GET /a, endpoint 'a'", "GET /b, endpoint 'b'"]


@pytest.mark.parametrize("propagates", [True, False])
async def test_view_that_raises_without_a_token_is_open(propagates: bool) -> None:
    app = new_app(PROPAGATE_EXCEPTIONS=propagates)
    app.testing = propagates

    async def view() -> str:
        raise LookupError("secret")

    async def socket() -> None:
        raise LookupError("secret")

    add(app, "/a", view=view)
    app.add_url_rule("/ws", "ws", socket, websocket=True)
    add(app, "/b", qje.jwt_required, view=view)
    assert await found(app) == ["GET /a, endpoint 'a'", "WEBSOCKET /ws, endpoint 'ws'"]


async def test_answer_without_an_end_is_not_waited_for() -> None:
    app = new_app()

    async def stream() -> Any:
        async def events() -> Any:
            while True:
                yield b"data\n"
                await asyncio.sleep(0.01)

        response = await app.make_response(events())
        response.timeout = None  # type: ignore[union-attr]
        return response

    add(app, "/a", view=stream)
    assert await asyncio.wait_for(found(app), 5) == ["GET /a, endpoint 'a'"]


async def test_other_requests_meanwhile_are_not_taken_for_refusals() -> None:
    app = new_app()

    async def view() -> str:
        await app.test_client().get("/closed")
        return "ok"

    add(app, "/closed", qje.jwt_required)

    async def others() -> None:
        while True:
            await app.test_client().get("/closed")

    async def slow() -> str:
        await asyncio.sleep(0.05)
        return "ok"

    add(app, "/a", view=slow)
    task = asyncio.ensure_future(others())
    assert await found(app) == ["GET /a, endpoint 'a'"]
    task.cancel()


# --- assert_protected: protect and exempt ----------------------------------------


async def test_guarded_app_passes_but_for_what_is_exempt() -> None:
    app = new_app()
    qje.protect(app, exempt="health")
    add(app, "/health")
    add(app, "/about", qje.jwt_exempt)
    add(app, "/me")
    assert await found(app) == ["GET /health, endpoint 'health'", "GET /about, endpoint 'about'"]
    assert await found(app, "health") == ["GET /about, endpoint 'about'"]
    assert await found(app, ["health", "about"]) == []
    assert await found(app, {"health", "about"}) == []


async def test_blueprint_is_asked_by_its_full_endpoint() -> None:
    app = new_app()
    outer, inner = Blueprint("outer", "outer"), Blueprint("inner", "inner")
    add(inner, "/a")
    add(inner, "/b", qje.jwt_required)
    outer.register_blueprint(inner, url_prefix="/in")
    app.register_blueprint(outer, url_prefix="/out")
    assert await found(app) == ["GET /out/in/a, endpoint 'outer.inner.a'"]
    assert await found(app, "outer.inner.a") == []


async def test_static_files_are_open_until_exempt() -> None:
    app = Quart("kit")
    app.config.update(TESTING=True, JWT_SECRET_KEY=SECRET)
    qje.JWTManager(app)
    assert await found(app) == ["GET /static/<path:filename>, endpoint 'static'"]
    assert await found(app, ("static",)) == []


async def test_exempt_endpoint_does_not_run() -> None:
    app = new_app()
    calls = []

    async def view() -> str:
        calls.append(1)
        return "ok"

    add(app, "/a", view=view)
    await assert_protected(app, "a")
    assert not calls


@pytest.mark.parametrize(
    ("exempt", "error", "message"),
    [
        ("b", ValueError, "not endpoints of the app: b"),
        (["a", "c", "b"], ValueError, "not endpoints of the app: b, c"),
        (1, TypeError, "exempt must be a string"),
        ([1], TypeError, "exempt must be a string"),
    ],
)
async def test_wrong_exempt_is_an_error(exempt: Any, error: type[Exception], message: str) -> None:
    app = new_app()
    add(app, "/a", qje.jwt_required)
    with pytest.raises(error, match=message):
        await assert_protected(app, exempt)


async def test_asserting_something_else_is_an_error() -> None:
    with pytest.raises(TypeError, match="assert_protected requires a Quart app, not Blueprint"):
        await assert_protected(Blueprint("b", "b"))  # type: ignore[arg-type]


async def test_wrong_option_is_no_open_route() -> None:
    app = new_app()
    add(app, "/a")
    app.config["JWT_ALGORITHM"] = "none"
    with pytest.raises(RuntimeError, match="JWT_ALGORITHM"):
        await assert_protected(app)


# --- assert_protected: URLs ------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        "<a>", "<string:a>", "<string(length=2):a>", "<string(minlength=30):a>",
        "<string(maxlength=1):a>", "<path:a>", "<int:a>", "<int(min=7):a>", "<int(max=0):a>",
        "<int(fixed_digits=3):a>", "<int(min=5000,max=5001):a>", "<float:a>", "<float(min=3.5):a>",
        "<uuid:a>", "<any(red,'blue sky'):a>", "<int:a>/<b>/<uuid:c>", "x-<a>.txt",
        "<int(signed=True,max=0):a>", "überall/<a>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_websocket", [False, True])
async def test_url_is_made_up_from_the_converters(part: str, is_websocket: bool) -> None:
    app = new_app()
    calls = []

    async def view(**values: Any) -> str:
        calls.append(values)
        return "ok"

    app.add_url_rule(f"/{part}", "open", view, websocket=is_websocket)
    app.add_url_rule(f"/x/{part}", "closed", qje.jwt_required(view), websocket=is_websocket)
    kind = "WEBSOCKET" if is_websocket else "GET"
    assert await found(app) == [f"{kind} /{part}, endpoint 'open'"]
    assert len(calls) == 1


class ListConverter(BaseConverter):
    regex = r"\w+(?:\+\w+)*"

    def to_python(self, value: str) -> Any:
        return value.split("+")

    def to_url(self, value: Any) -> str:
        return "+".join(super(ListConverter, self).to_url(item) for item in value)


class OddConverter(BaseConverter):
    regex = r"[a-z]{3}-[0-9]{7}-odd"


class StrictConverter(BaseConverter):
    def to_python(self, value: str) -> Any:
        raise ValidationError


@pytest.mark.parametrize(
    ("converter", "can_be_asked"),
    [(ListConverter, True), (OddConverter, False), (StrictConverter, False)],
)
async def test_custom_converter_is_tried_and_else_the_decorators_decide(
    converter: type[BaseConverter], can_be_asked: bool
) -> None:
    app = new_app()
    app.url_map.converters["custom"] = converter
    calls = []

    async def view(a: Any) -> str:
        calls.append(a)
        return "ok"

    add(app, "/open/<custom:a>", view=view, endpoint="open")
    add(app, "/optional/<custom:a>", qje.jwt_optional, view=view, endpoint="optional")
    add(app, "/closed/<custom:a>", qje.jwt_required, view=view, endpoint="closed")
    assert await found(app) == [
        "GET /open/<custom:a>, endpoint 'open'", "GET /optional/<custom:a>, endpoint 'optional'"
    ]  # fmt: skip
    assert bool(calls) is can_be_asked


async def test_url_that_another_rule_takes_is_not_asked_in_its_place() -> None:
    app = new_app()
    add(app, "/<int:a>", qje.jwt_required, endpoint="number")
    add(app, "/<a>", endpoint="text")
    add(app, "/a", qje.jwt_required, endpoint="a")
    assert await found(app) == ["GET /<a>, endpoint 'text'"]


async def test_defaults_that_redirect_are_evaded() -> None:
    app = new_app()
    closed = qje.jwt_required(ok)
    add(app, "/pages", view=closed, defaults={"page": 1}, endpoint="pages")
    add(app, "/pages/<int:page>", view=closed, endpoint="pages")
    add(app, "/open", defaults={"page": 1}, endpoint="open")
    add(app, "/open/<int:page>", endpoint="open")
    assert await found(app) == [
        "GET /open, endpoint 'open'", "GET /open/<int:page>, endpoint 'open'"
    ]  # fmt: skip


async def test_head_of_its_own_is_tried() -> None:
    class Thing(MethodView):
        @qje.jwt_required
        async def get(self) -> str:
            return ""

        async def head(self) -> str:
            return ""

    app = new_app()
    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    assert await found(app) == ["HEAD /thing, endpoint 'thing'"]


async def test_rule_that_only_redirects_is_left_out() -> None:
    app = new_app()
    add(app, "/new", qje.jwt_required)
    app.url_map.add(Rule("/old", endpoint="old", redirect_to="/new"))
    app.url_map.add(Rule("/elsewhere", endpoint="elsewhere", build_only=True))
    assert await found(app) == []


@pytest.mark.parametrize("server_name", ["example.com", "example.com:8000"])
async def test_subdomains_are_asked_by_their_host(server_name: str) -> None:
    app = Quart("kit", static_folder=None, subdomain_matching=True)
    app.config.update(TESTING=True, JWT_SECRET_KEY=SECRET, SERVER_NAME=server_name)
    qje.JWTManager(app)
    seen = []

    async def view(**values: Any) -> str:
        seen.append(request.host)
        return "ok"

    add(app, "/a", view=view, subdomain="api")
    add(app, "/b", view=view, subdomain="<tenant>", endpoint="b")
    add(app, "/c", qje.jwt_required, subdomain="api")
    add(app, "/d", qje.jwt_required)
    assert await found(app) == ["GET /a, endpoint 'a'", "GET /b, endpoint 'b'"]
    assert seen == [f"api.{server_name}", f"1.{server_name}"]


async def test_hosts_are_asked_by_their_name() -> None:
    app = Quart("kit", static_folder=None, host_matching=True)
    app.config.update(TESTING=True, JWT_SECRET_KEY=SECRET)
    qje.JWTManager(app)
    seen = []

    async def view(**values: Any) -> str:
        seen.append(request.host)
        return "ok"

    add(app, "/a", view=view, host="a.example")
    add(app, "/b", view=view, host="<name>.example", endpoint="b")
    add(app, "/c", qje.jwt_required, host="a.example")
    assert await found(app) == ["GET /a, endpoint 'a'", "GET /b, endpoint 'b'"]
    assert seen[0] == "a.example"


@pytest.mark.parametrize("matching", ["host", "subdomain"])
async def test_refresh_route_of_a_host_gets_the_csrf_value_of_its_cookie(matching: str) -> None:
    app = Quart("kit", static_folder=None, **{f"{matching}_matching": True})  # type: ignore[arg-type]
    app.config.update(TESTING=True, JWT_SECRET_KEY=SECRET, JWT_TOKEN_LOCATION="cookies")
    if matching == "subdomain":
        app.config["SERVER_NAME"] = "example.com"
    qje.JWTManager(app, token_store=qje.MemoryTokenStore())
    where = {"host": "api.example.com"} if matching == "host" else {"subdomain": "api"}
    add(app, "/refresh", qje.jwt_required(refresh=True), methods=["POST"], **where)
    async with signed_in(app, "alice") as client:
        response = await client.post("/refresh", headers={"Host": "api.example.com"})
    assert response.status_code == 200
