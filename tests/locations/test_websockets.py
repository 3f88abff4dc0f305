"""WebSockets: in process by raw ASGI messages, then over the wire with real servers and a client.

Quart's test client is of no use here, because it does not offer the subprotocols that it is given.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from quart import Quart, websocket

import quart_jwt_extended as qje
from support import (
    SECRET,
    access_claims,
    ask,
    bearer,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
)
from support.asgi import Refusal, opened

EXAMPLE = Path(__file__).parents[2] / "examples" / "websocket.py"

TOKEN = hs_token(access_claims())
BOB = hs_token(access_claims(identity="bob", jti="bob's"))
CAROL = hs_token(access_claims(identity="carol"))
FRESH = hs_token(access_claims(fresh=True))
REFRESH = hs_token(refresh_claims())
EXPIRED = hs_token(access_claims(exp=1))
REVOKED = hs_token(access_claims(jti="revoked"))
NOBODY = hs_token(access_claims(identity="nobody"))
SCOPED = hs_token(access_claims(scope="chat:read chat:write"))
FORGED = TOKEN[:-4] + "AAAA"

ALL_LOCATIONS = ["headers", "cookies", "query_string", "json", "websocket_protocol"]


# --- handshakes -----------------------------------------------------------------------------------


async def refused(app: Quart, path: str = "/protected", **handshake: Any) -> Refusal:
    """The answer to a handshake that must be refused, and never reach the view."""
    before = list(app.calls)  # type: ignore[attr-defined]
    async with opened(app, path, **handshake) as client:
        refusal = await client.refusal()
    assert app.calls == before  # type: ignore[attr-defined]
    return refusal


class Accepted(NamedTuple):
    subprotocol: str | None
    headers: list[Any]
    said: Any


async def accepted(app: Quart, path: str = "/protected", **handshake: Any) -> Accepted:
    """How a handshake was accepted, and the first thing that the socket says."""
    async with opened(app, path, **handshake) as client:
        client.say("hello")
        message = await client.next("websocket.accept")
        said = await client.hear()
    return Accepted(message["subprotocol"], message["headers"], said)


def readings() -> dict[str, Any]:
    """What the readers say right now."""
    user = qje.get_current_user()
    return {
        "identity": qje.get_jwt_identity(),
        "claims": qje.get_jwt_claims(),
        "raw": qje.get_raw_jwt(),
        "header": qje.get_raw_jwt_header(),
        "location": qje.get_jwt_request_location(),
        "user": user,
        "proxied": qje.current_user if user is None else qje.current_user["name"],
    }


# What the readers say on a socket that was let in without a token.
NOTHING = {
    "identity": None,
    "claims": {},
    "raw": {},
    "header": {},
    "location": None,
    "user": None,
}

DECORATORS: dict[str, Callable[[Any], Any]] = {
    "open": lambda fn: fn,
    "protected": qje.jwt_required,
    "called": qje.jwt_required(),
    "optional": qje.jwt_optional,
    "called_optional": qje.jwt_required(optional=True),
    "fresh": qje.fresh_jwt_required,
    "called_fresh": qje.jwt_required(fresh=True),
    "refresh": qje.jwt_refresh_token_required,
    "called_refresh": qje.jwt_required(refresh=True),
    "any_type": qje.jwt_required(verify_type=False),
    "scoped": qje.jwt_required(scopes="chat:read"),
    "by_protocol": qje.jwt_required(locations="websocket_protocol"),
    "by_json": qje.jwt_required(locations="json"),
    "unrevoked": qje.jwt_required(skip_revocation_check=True),
}

VERIFIERS: dict[str, Callable[[], Awaitable[Any]]] = {
    "protected": qje.verify_jwt_in_request,
    "optional": qje.verify_jwt_in_request_optional,
    "called_optional": lambda: qje.verify_jwt_in_request(optional=True),
    "fresh": qje.verify_fresh_jwt_in_request,
    "called_fresh": lambda: qje.verify_jwt_in_request(fresh=True),
    "refresh": qje.verify_jwt_refresh_token_in_request,
    "called_refresh": lambda: qje.verify_jwt_in_request(refresh=True),
    "any_type": lambda: qje.verify_jwt_in_request(verify_type=False),
    "scoped": lambda: qje.verify_jwt_in_request(scopes=["chat:read"]),
}


def socket_app(**options: Any) -> Quart:
    """An application with one socket per decorator and per verify function.

    A socket says what the readers say, once by itself and once for every message. The same
    functions are asked in a before_websocket hook for the paths under ``/hook/``.
    """
    app = make_app(JWT_BLACKLIST_ENABLED=True, **options)
    manager_of(app).token_in_blacklist_loader(lambda claims: claims["jti"] == "revoked")

    async def talk(name: str) -> None:
        app.calls.append(name)  # type: ignore[attr-defined]
        while True:
            await websocket.receive()
            said = {name: value for name, value in readings().items() if name != "proxied"}
            await websocket.send_json(said)

    def view_of(name: str) -> Callable[[], Awaitable[None]]:
        async def view() -> None:
            await talk(name)

        return view

    def verifying_view_of(name: str) -> Callable[[], Awaitable[None]]:
        async def view() -> None:
            await VERIFIERS[name]()
            await talk(name)

        return view

    for name, decorate in DECORATORS.items():
        app.add_websocket(f"/{name}", f"{name}_socket", decorate(view_of(name)))
    for name in VERIFIERS:
        app.add_websocket(f"/verify/{name}", f"{name}_verifying", verifying_view_of(name))
        app.add_websocket(f"/hook/{name}", f"{name}_hooked", view_of(name))

    @app.before_websocket
    async def hook() -> None:
        if websocket.path.startswith("/hook/"):
            await VERIFIERS[websocket.path.removeprefix("/hook/")]()

    return app


def everywhere(*names: str) -> list[str]:
    """The paths of what asks for the same, by decorator, by call and by hook."""
    return [f"{prefix}{name}" for name in names for prefix in ("/", "/verify/", "/hook/")]


# --- decorators and verify functions -------------------------------------------------------------

ACCESS_PATHS = [*everywhere("protected", "optional", "called_optional", "any_type"), "/called"]
FRESH_PATHS = everywhere("fresh", "called_fresh")
REFRESH_PATHS = everywhere("refresh", "called_refresh")
OPTIONAL_PATHS = everywhere("optional", "called_optional")
STRICT_PATHS = [
    *everywhere("protected", "any_type", "scoped"),
    *FRESH_PATHS,
    *REFRESH_PATHS,
    "/called",
]


@pytest.mark.parametrize(
    ("token", "paths"),
    [
        (TOKEN, ACCESS_PATHS),
        (FRESH, [*ACCESS_PATHS, *FRESH_PATHS]),
        (REFRESH, [*REFRESH_PATHS, *everywhere("any_type")]),
        (SCOPED, everywhere("scoped")),
        (REVOKED, ["/unrevoked"]),
    ],
    ids=["access", "fresh", "refresh", "scoped", "revoked"],
)
async def test_socket_with_the_right_token_is_accepted(token: str, paths: list[str]) -> None:
    app = socket_app()
    for path in paths:
        answer = await accepted(app, path, token=token)
        assert answer.subprotocol is None
        found = (answer.said["identity"], answer.said["location"])
        assert found == ("alice", "headers"), path


@pytest.mark.parametrize("path", [*OPTIONAL_PATHS, "/open"])
async def test_optional_socket_without_a_token_is_anonymous(path: str) -> None:
    assert (await accepted(socket_app(), path)).said == NOTHING


@pytest.mark.parametrize("path", OPTIONAL_PATHS)
async def test_optional_socket_with_a_malformed_header_is_anonymous(path: str) -> None:
    answer = await accepted(socket_app(), path, headers={"authorization": "Basic YTpi"})
    assert answer.said == NOTHING


async def test_open_socket_ignores_a_token() -> None:
    assert (await accepted(socket_app(), "/open", token=TOKEN)).said == NOTHING


ONLY_ACCESS = (422, {"msg": "Only access tokens are allowed"})
ONLY_REFRESH = (422, {"msg": "Only refresh tokens are allowed"})
NOT_FRESH = (401, {"msg": "Fresh token required"})
BAD_SIGNATURE = (422, {"msg": "Signature verification failed"})
HAS_EXPIRED = (401, {"msg": "Token has expired"})
IS_REVOKED = (401, {"msg": "Token has been revoked"})


@pytest.mark.parametrize(
    ("token", "answer", "paths"),
    [
        (FORGED, BAD_SIGNATURE, [*STRICT_PATHS, *OPTIONAL_PATHS]),
        (EXPIRED, HAS_EXPIRED, [*ACCESS_PATHS, *FRESH_PATHS]),
        (REVOKED, IS_REVOKED, [*ACCESS_PATHS, *FRESH_PATHS]),
        (REFRESH, ONLY_ACCESS, [*everywhere("protected"), *OPTIONAL_PATHS, *FRESH_PATHS]),
        (TOKEN, NOT_FRESH, FRESH_PATHS),
        (FRESH, ONLY_REFRESH, REFRESH_PATHS),
        (TOKEN, (403, {"msg": "Insufficient scope"}), everywhere("scoped")),
    ],
    ids=["forged", "expired", "revoked", "refresh", "stale", "access", "unscoped"],
)
async def test_socket_with_a_wrong_token_is_answered_before_acceptance(
    token: str, answer: tuple[int, Any], paths: list[str]
) -> None:
    app = socket_app()
    for path in paths:
        refusal = await refused(app, path, token=token)
        assert refusal.answer == answer, path
        assert refusal.headers["content-type"] == "application/json"
        assert ("www-authenticate" in refusal.headers) == (refusal.status in (401, 403))


async def test_socket_without_a_token_is_answered_before_acceptance() -> None:
    app = socket_app()
    for path in STRICT_PATHS:
        refusal = await refused(app, path)
        assert (refusal.status, list(refusal.body)) == (401, ["msg"]), path
        assert refusal.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/protected", "/verify/protected", "/hook/protected"])
async def test_refusal_without_the_response_extension_closes_before_acceptance(path: str) -> None:
    app = socket_app()
    async with opened(app, path, extensions=()) as client:
        assert (await client.next("websocket.close"))["code"] == 1000
        await client.next("end")
    assert app.calls == []


async def test_refusal_has_problem_details_where_they_are_configured() -> None:
    app = socket_app(JWT_ERROR_FORMAT="problem")
    refusal = await refused(app, token=FORGED)
    assert (refusal.status, refusal.body["code"]) == (401, "token_invalid")
    assert refusal.headers["content-type"] == "application/problem+json"
    assert refusal.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_refusal_answers_with_the_callback_of_the_application() -> None:
    app = socket_app()
    manager_of(app).expired_token_loader(lambda claims: ({"who": claims["identity"]}, 418))
    assert (await refused(app, token=EXPIRED)).answer == (418, {"who": "alice"})


async def test_socket_of_an_unknown_path_stays_404() -> None:
    async with opened(socket_app(), "/nowhere") as client:
        message = await client.next("websocket.http.response.start")
        assert message["status"] == 404
        await client.next("websocket.http.response.body")


async def test_error_raised_after_acceptance_closes_the_socket() -> None:
    app = socket_app()

    @app.websocket("/late")
    async def late() -> None:
        await websocket.receive()
        await qje.verify_jwt_in_request()

    async with opened(app, "/late") as client:
        client.say("now")
        await client.next("websocket.accept")
        await client.next("websocket.close")
        await client.next("end")


async def test_verification_after_acceptance_reads_the_token() -> None:
    app = socket_app()

    @app.websocket("/late")
    async def late() -> None:
        await websocket.accept()
        await qje.verify_jwt_in_request()
        await websocket.send_json(qje.get_jwt_identity())

    assert (await accepted(app, "/late", token=TOKEN)).said == "alice"


# --- locations -----------------------------------------------------------------------------------

BY_LOCATION = {
    "headers": {"headers": {"authorization": f"Bearer {TOKEN}"}},
    "cookies": {"headers": {"cookie": f"a=b; access_token_cookie={TOKEN}"}},
    "query_string": {"query": f"a=b&jwt={TOKEN}"},
    "websocket_protocol": {"offered": ["bearer", TOKEN]},
}


@pytest.mark.parametrize("location", BY_LOCATION)
@pytest.mark.parametrize("alone", [True, False])
async def test_token_in_each_location_opens_the_socket(location: str, alone: bool) -> None:
    app = socket_app(JWT_TOKEN_LOCATION=location if alone else ALL_LOCATIONS)
    answer = await accepted(app, **BY_LOCATION[location])
    assert (answer.said["identity"], answer.said["location"]) == ("alice", location)


@pytest.mark.parametrize("path", ["/refresh", "/verify/refresh", "/hook/refresh"])
@pytest.mark.parametrize(
    "handshake",
    [
        {"token": REFRESH},
        {"headers": {"cookie": f"refresh_token_cookie={REFRESH}; access_token_cookie={TOKEN}"}},
        {"query": f"jwt={REFRESH}"},
        {"offered": ["bearer", REFRESH]},
    ],
    ids=BY_LOCATION,
)
async def test_refresh_token_in_each_location_opens_its_socket(
    path: str, handshake: dict[str, Any]
) -> None:
    app = socket_app(JWT_TOKEN_LOCATION=ALL_LOCATIONS)
    answer = await accepted(app, path, **handshake)
    assert answer.said["raw"]["type"] == "refresh"


@pytest.mark.parametrize("location", BY_LOCATION)
async def test_token_outside_of_the_locations_is_not_looked_at(location: str) -> None:
    others = [name for name in BY_LOCATION if name != location]
    refusal = await refused(socket_app(JWT_TOKEN_LOCATION=others), **BY_LOCATION[location])
    assert refusal.status == 401
    assert refusal.body["msg"].startswith(f"Missing JWT in {others[0]}, {others[1]} or {others[2]}")


async def test_first_location_with_a_token_decides() -> None:
    both = {"query": f"jwt={BOB}", "offered": ["bearer", TOKEN]}
    app = socket_app(JWT_TOKEN_LOCATION=["query_string", "websocket_protocol"])
    assert (await accepted(app, **both)).said["identity"] == "bob"
    app = socket_app(JWT_TOKEN_LOCATION=["websocket_protocol", "query_string"])
    assert (await accepted(app, **both)).said["identity"] == "alice"


@pytest.mark.parametrize(
    ("locations", "message"),
    [
        ("json", "Missing JWT: this request cannot carry a token in any of the allowed locations"),
        (["json", "websocket_protocol"], 'Missing "bearer" WebSocket subprotocol'),
        (
            ALL_LOCATIONS,
            "Missing JWT in headers, cookies, query_string or websocket_protocol "
            '(Missing Authorization Header; Missing cookie "access_token_cookie"; '
            'Missing "jwt" query paramater; Missing "bearer" WebSocket subprotocol)',
        ),
    ],
)
@pytest.mark.parametrize("content_type", [None, "application/json"])
async def test_json_is_not_a_location_of_a_socket(
    locations: Any, message: str, content_type: str | None
) -> None:
    app = socket_app(JWT_TOKEN_LOCATION=locations)
    headers = {"content-type": content_type} if content_type else {}
    assert (await refused(app, headers=headers)).answer == (401, {"msg": message})


async def test_json_as_the_only_location_lets_optional_sockets_in() -> None:
    app = socket_app(JWT_TOKEN_LOCATION="json")
    assert (await accepted(app, "/optional", token=TOKEN)).said == NOTHING


async def test_locations_of_a_route_replace_those_of_the_app() -> None:
    app = socket_app()
    assert (await accepted(app, "/by_protocol", offered=["bearer", TOKEN])).subprotocol == "bearer"
    missing = (401, {"msg": 'Missing "bearer" WebSocket subprotocol'})
    assert (await refused(app, "/by_protocol", token=TOKEN)).answer == missing
    missing = (
        401,
        {"msg": "Missing JWT: this request cannot carry a token in any of the allowed locations"},
    )
    assert (await refused(app, "/by_json", token=TOKEN)).answer == missing


async def test_subprotocols_are_not_a_location_of_a_request() -> None:
    app = socket_app(JWT_TOKEN_LOCATION="websocket_protocol")
    headers = {"Sec-WebSocket-Protocol": f"bearer, {TOKEN}"}
    response = await app.test_client().get("/protected", headers=headers)
    body = await response.get_json()
    message = "Missing JWT: this request cannot carry a token in any of the allowed locations"
    assert (response.status_code, body) == (401, {"msg": message})


# --- subprotocols --------------------------------------------------------------------------------


def accepting_app(accept: Callable[[], Awaitable[Any]], **options: Any) -> Quart:
    """An application whose ``/accept`` socket does as it is told, then speaks."""
    app = socket_app(JWT_TOKEN_LOCATION=ALL_LOCATIONS, **options)

    @app.websocket("/accept")
    @qje.jwt_required
    async def view() -> None:
        await accept()
        await websocket.send_json(qje.get_jwt_identity())

    return app


async def nothing() -> None:
    """Leave the acceptance to the first message."""


WAYS_TO_ACCEPT: dict[str, tuple[Callable[[], Awaitable[Any]], str, list[Any]]] = {
    "by the first send": (nothing, "bearer", []),
    "by the first receive": (lambda: websocket.receive(), "bearer", []),
    "explicitly": (lambda: websocket.accept(), "bearer", []),
    "twice": (lambda: asyncio.gather(websocket.accept(), websocket.accept()), "bearer", []),
    "with headers": (
        lambda: websocket.accept(headers={"x-own": "1"}),
        "bearer",
        [(b"x-own", b"1")],
    ),
    "with headers by position": (
        lambda: websocket.accept({"x-own": "1"}, None),
        "bearer",
        [(b"x-own", b"1")],
    ),
    "with the name": (lambda: websocket.accept(subprotocol="bearer"), "bearer", []),
    "with the token": (lambda: websocket.accept(subprotocol=TOKEN), "bearer", []),
    "with the token by position": (lambda: websocket.accept({}, TOKEN), "bearer", []),
    "with its own": (lambda: websocket.accept(subprotocol="chat"), "chat", []),
    "with its own and headers": (
        lambda: websocket.accept({"x-own": "1"}, "chat"),
        "chat",
        [(b"x-own", b"1")],
    ),
}


@pytest.mark.parametrize("way", WAYS_TO_ACCEPT)
async def test_acceptance_names_a_subprotocol_that_is_never_the_token(way: str) -> None:
    accept, subprotocol, headers = WAYS_TO_ACCEPT[way]
    app = accepting_app(accept)
    answer = await accepted(app, "/accept", offered=["bearer", TOKEN, "chat"])
    assert answer == Accepted(subprotocol, headers, "alice")


@pytest.mark.parametrize("way", ["by the first send", "explicitly", "with the token"])
async def test_own_protocol_name_is_looked_for_and_answered(way: str) -> None:
    app = accepting_app(WAYS_TO_ACCEPT[way][0], JWT_WEBSOCKET_PROTOCOL="example.jwt.v1")
    offered = ["bearer", BOB, "example.jwt.v1", TOKEN]
    answer = await accepted(app, "/accept", offered=offered)
    assert answer == Accepted("example.jwt.v1", [], "alice")
    assert (await refused(app, offered=["bearer", TOKEN])).status == 401


@pytest.mark.parametrize("way", ["by the first send", "explicitly", "with its own"])
async def test_token_of_another_location_leaves_the_subprotocol_to_the_view(way: str) -> None:
    accept, subprotocol, _ = WAYS_TO_ACCEPT[way]
    expected = "chat" if subprotocol == "chat" else None
    app = accepting_app(accept)
    answer = await accepted(app, "/accept", token=TOKEN, offered=["chat"])
    assert answer.subprotocol == expected


async def test_subprotocol_is_answered_after_a_hook_and_a_decorator_verified() -> None:
    app = accepting_app(nothing)
    app.before_websocket(qje.verify_jwt_in_request_optional)
    assert (await accepted(app, "/accept", offered=["bearer", TOKEN])).subprotocol == "bearer"


@pytest.mark.parametrize("path", ["/verify/protected", "/hook/protected", "/optional"])
async def test_subprotocol_is_answered_wherever_the_token_was_verified(path: str) -> None:
    app = socket_app(JWT_TOKEN_LOCATION=ALL_LOCATIONS)
    answer = await accepted(app, path, offered=["bearer", TOKEN])
    assert (answer.subprotocol, answer.said["identity"]) == ("bearer", "alice")


@pytest.mark.parametrize(
    "offered",
    [
        ["bearer", TOKEN],
        ("bearer", TOKEN),
        ["bearer", TOKEN, "chat"],
        ["chat", "bearer", TOKEN],
        ["chat", "bearer", TOKEN, "other"],
        ["bearer", TOKEN, "bearer"],
        ["bearer", TOKEN, "bearer", BOB],
        ["Bearer", "bearer", TOKEN],
    ],
    ids=str,
)
async def test_token_is_what_is_offered_behind_the_first_bearer(offered: Any) -> None:
    app = socket_app(JWT_TOKEN_LOCATION="websocket_protocol")
    answer = await accepted(app, offered=offered)
    assert (answer.subprotocol, answer.said["identity"]) == ("bearer", "alice")


@pytest.mark.parametrize(
    "offered",
    [
        [],
        ["bearer"],
        [TOKEN],
        [TOKEN, "bearer"],
        ["chat", TOKEN],
        ["Bearer", TOKEN],
        ["BEARER", TOKEN],
        ["bearer,", TOKEN],
        [f"bearer, {TOKEN}"],
        ["chat", "bearer"],
    ],
    ids=str,
)
async def test_offer_without_a_token_behind_bearer_counts_as_missing(offered: list[str]) -> None:
    app = socket_app(JWT_TOKEN_LOCATION="websocket_protocol")
    message = 'Missing "bearer" WebSocket subprotocol'
    assert (await refused(app, offered=offered)).answer == (401, {"msg": message})
    answer = await accepted(app, "/optional", offered=offered)
    assert (answer.subprotocol, answer.said) == (None, NOTHING)


@pytest.mark.parametrize(
    "offered",
    [
        ["bearer", ""],
        ["bearer", "", TOKEN],
        ["bearer", "bearer"],
        ["bearer", "bearer", TOKEN],
        ["bearer", "chat", TOKEN],
        ["bearer", "."],
        ["bearer", "A" * 20_000],
        ["bearer", FORGED],
        ["bearer", "\xe9.\xe9.\xe9"],
    ],
    ids=lambda offered: str([item[-12:] for item in offered]),
)
@pytest.mark.parametrize("path", ["/protected", "/optional"])
async def test_offer_of_something_that_is_no_good_token_is_refused(
    path: str, offered: list[str]
) -> None:
    """What follows the name is taken for the token, whatever it is; nothing behind it is."""
    app = socket_app(JWT_TOKEN_LOCATION="websocket_protocol")
    refusal = await refused(app, path, offered=offered)
    assert refusal.status in (401, 422)
    for text in offered[1:]:
        assert len(text) < 10 or text not in json.dumps(refusal)


@pytest.mark.parametrize(
    ("token", "answer"),
    [
        (EXPIRED, HAS_EXPIRED),
        (REVOKED, IS_REVOKED),
        (REFRESH, ONLY_ACCESS),
        (FORGED, BAD_SIGNATURE),
    ],
)
async def test_refusal_of_an_offered_token_does_not_repeat_it(
    token: str, answer: tuple[int, Any]
) -> None:
    app = socket_app(JWT_TOKEN_LOCATION="websocket_protocol")
    refusal = await refused(app, offered=["bearer", token])
    assert refusal.answer == answer
    assert "sec-websocket-protocol" not in refusal.headers
    assert not [part for part in token.split(".") if part in json.dumps(refusal)]


# --- the origin of a cookie ----------------------------------------------------------------------

FOREIGN = (403, {"msg": "The origin of the page may not open this WebSocket"})


def cookie_handshake(
    origin: str | None, host: str = "app.example.com", scheme: str = "wss"
) -> dict[str, Any]:
    headers = {"cookie": f"access_token_cookie={TOKEN}"}
    if origin is not None:
        headers["origin"] = origin
    return {"headers": headers, "host": host, "scheme": scheme}


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (None, "app.example.com", "ws"),
        (None, "app.example.com", "wss"),
        ("https://app.example.com", "app.example.com", "wss"),
        ("https://app.example.com", "app.example.com:443", "wss"),
        ("https://app.example.com:443", "app.example.com", "wss"),
        ("https://app.example.com:8443", "app.example.com:8443", "wss"),
        ("http://app.example.com", "app.example.com", "ws"),
        ("http://app.example.com", "app.example.com:80", "ws"),
        ("http://app.example.com:80", "app.example.com", "ws"),
        ("http://app.example.com:5000", "app.example.com:5000", "ws"),
        ("http://127.0.0.1:5000", "127.0.0.1:5000", "ws"),
        ("http://[::1]:5000", "[::1]:5000", "ws"),
        ("http://[::1]", "[::1]", "ws"),
        # TLS may end at a proxy.
        ("https://app.example.com", "app.example.com", "ws"),
        ("https://app.example.com:8443", "app.example.com:8443", "ws"),
        ("HTTPS://APP.EXAMPLE.COM", "app.example.com", "wss"),
        ("https://app.example.com", "APP.Example.com", "wss"),
    ],
)
async def test_cookie_of_the_same_origin_or_of_no_page_is_accepted(
    origin: str | None, host: str, scheme: str
) -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies")
    answer = await accepted(app, **cookie_handshake(origin, host, scheme))
    assert (answer.said["identity"], answer.said["location"]) == ("alice", "cookies")


FOREIGN_ORIGINS = [
    ("https://evil.example", "app.example.com", "wss"),
    ("https://example.com", "app.example.com", "wss"),
    ("https://other.app.example.com", "app.example.com", "wss"),
    ("https://app.example.com.evil.example", "app.example.com", "wss"),
    ("https://evilapp.example.com", "app.example.com", "wss"),
    ("https://app.example.com:8443", "app.example.com", "wss"),
    ("https://app.example.com", "app.example.com:8443", "wss"),
    ("https://app.example.com:80", "app.example.com", "wss"),
    ("https://app.example.com:4430", "app.example.com", "wss"),
    ("http://app.example.com", "app.example.com", "wss"),
    ("http://app.example.com:80", "app.example.com", "wss"),
    ("http://app.example.com:443", "app.example.com", "wss"),
    ("http://app.example.com", "app.example.com:443", "wss"),
    ("http://app.example.com:443", "app.example.com", "ws"),
    ("http://app.example.com:8080", "app.example.com", "ws"),
    ("ws://app.example.com", "app.example.com", "ws"),
    ("wss://app.example.com", "app.example.com", "wss"),
    ("file://", "app.example.com", "wss"),
    ("file://app.example.com", "app.example.com", "wss"),
    ("moz-extension://app.example.com", "app.example.com", "wss"),
    ("app.example.com", "app.example.com", "wss"),
    ("//app.example.com", "app.example.com", "wss"),
    ("https://app.example.com/", "app.example.com", "wss"),
    ("https://app.example.com, https://evil.example", "app.example.com", "wss"),
    ("https://user@app.example.com", "app.example.com", "wss"),
    ("https://", "app.example.com", "wss"),
    ("https://", "", "wss"),
    ("https://:443", "", "wss"),
    ("", "app.example.com", "wss"),
    ("", "", "wss"),
    ("null", "app.example.com", "wss"),
    ("null", "null", "wss"),
    ("NULL", "app.example.com", "ws"),
    ("*", "app.example.com", "wss"),
    ("https://\xe4pp.example.com", "app.example.com", "wss"),
]


@pytest.mark.parametrize(("origin", "host", "scheme"), FOREIGN_ORIGINS)
async def test_cookie_of_a_foreign_origin_is_refused(origin: str, host: str, scheme: str) -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies")
    for path in ("/protected", "/optional", "/hook/protected"):
        refusal = await refused(app, path, **cookie_handshake(origin, host, scheme))
        assert refusal.answer == FOREIGN, path


@pytest.mark.parametrize(
    ("origins", "origin", "is_accepted"),
    [
        ("https://front.example", "https://front.example", True),
        (["https://front.example"], "https://front.example", True),
        ({"https://a.example", "https://front.example"}, "https://front.example", True),
        (("https://front.example:8443",), "https://front.example:8443", True),
        (["HTTPS://Front.Example"], "https://front.example", True),
        (["https://front.example"], "HTTPS://FRONT.EXAMPLE", True),
        (["app://desktop"], "app://desktop", True),
        # Browsers leave out the port that a scheme implies.
        (["https://front.example:443"], "https://front.example", True),
        (["http://front.example:80"], "http://front.example", True),
        (["https://front.example:80"], "https://front.example", False),
        (["http://front.example:443"], "http://front.example", False),
        (["https://front.example"], "https://app.example.com", True),
        (["https://front.example"], "http://front.example", False),
        (["https://front.example"], "https://front.example:8443", False),
        (["https://front.example"], "https://sub.front.example", False),
        (["https://front.example"], "https://front.example.evil.example", False),
        (["https://front.example"], "null", False),
        ([], "https://front.example", False),
    ],
)
async def test_listed_origins_are_trusted_beside_the_own_one(
    origins: Any, origin: str, is_accepted: bool
) -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies", JWT_WEBSOCKET_ORIGINS=origins)
    if is_accepted:
        answer = await accepted(app, **cookie_handshake(origin))
        assert answer.said["identity"] == "alice"
    else:
        assert (await refused(app, **cookie_handshake(origin))).answer == FOREIGN


@pytest.mark.parametrize(
    "origins",
    [None, 1, "", "*", "null", "front.example", "https://", "https://front.example/", ["x"], [1]]
    + [{"https://front.example": 1}, "https://user@front.example", "https://front.example?a"]
    + ["https://*.example", "https://a.example,https://b.example", ["https://a.example b"]],
    ids=repr,
)
async def test_wrong_origins_option_names_itself(origins: Any) -> None:
    app = make_app(JWT_WEBSOCKET_ORIGINS=origins)
    async with app.app_context():
        with pytest.raises(RuntimeError, match="^JWT_WEBSOCKET_ORIGINS must be "):
            qje.create_access_token("alice")


@pytest.mark.parametrize("name", [None, 1, "", "two words", "a,b", "caf\xe9", b"bearer"], ids=repr)
async def test_wrong_protocol_option_names_itself(name: Any) -> None:
    app = make_app(JWT_WEBSOCKET_PROTOCOL=name)
    async with app.app_context():
        with pytest.raises(RuntimeError, match="^JWT_WEBSOCKET_PROTOCOL must be "):
            qje.create_access_token("alice")


@pytest.mark.parametrize("location", ["headers", "query_string", "websocket_protocol"])
async def test_token_outside_of_cookies_needs_no_origin(location: str) -> None:
    """A browser sends these only if the page has the token."""
    handshake = dict(BY_LOCATION[location])
    handshake["headers"] = {**handshake.get("headers", {}), "origin": "https://evil.example"}
    app = socket_app(JWT_TOKEN_LOCATION=ALL_LOCATIONS)
    assert (await accepted(app, **handshake)).said["identity"] == "alice"


async def test_foreign_origin_without_a_cookie_is_a_missing_token() -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies")
    headers = {"origin": "https://evil.example"}
    assert (await refused(app, headers=headers)).status == 401
    assert (await accepted(app, "/optional", headers=headers)).said == NOTHING


async def test_foreign_origin_of_a_request_is_left_to_csrf_protection() -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies")
    headers = {"Cookie": f"access_token_cookie={TOKEN}", "Origin": "https://evil.example"}
    response = await app.test_client().get("/protected", headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("protect", [True, False])
async def test_origin_is_checked_whatever_csrf_protection_says(protect: bool) -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies", JWT_COOKIE_CSRF_PROTECT=protect)
    handshake = cookie_handshake("https://evil.example")
    assert (await refused(app, **handshake)).answer == FOREIGN


@pytest.mark.parametrize("check_form", [True, False])
@pytest.mark.parametrize("origin", [None, "https://app.example.com"])
async def test_csrf_protection_of_get_requests_spares_sockets(
    check_form: bool, origin: str | None
) -> None:
    """A handshake is a GET without a form, and a page can put no CSRF value into its headers."""
    app = socket_app(
        JWT_TOKEN_LOCATION="cookies",
        JWT_CSRF_METHODS=["GET", "POST"],
        JWT_CSRF_CHECK_FORM=check_form,
    )
    assert (await accepted(app, **cookie_handshake(origin))).said["identity"] == "alice"
    handshake = cookie_handshake("https://evil.example")
    assert (await refused(app, **handshake)).answer == FOREIGN


def test_origin_error_is_a_csrf_error() -> None:
    assert issubclass(qje.WebSocketOriginError, qje.CSRFError)


async def test_origin_error_reaches_the_handlers_for_csrf_errors() -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies")
    seen: list[Any] = []

    @app.errorhandler(qje.CSRFError)
    async def handle(error: qje.CSRFError) -> Any:
        seen.append(type(error))
        return {"handled": str(error)}, 403

    refusal = await refused(app, **cookie_handshake("https://evil.example"))
    assert refusal.answer == (403, {"handled": FOREIGN[1]["msg"]})
    assert seen == [qje.WebSocketOriginError]


async def test_origin_error_is_answered_by_the_unauthorized_loader() -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies")
    manager_of(app).unauthorized_loader(lambda reason: ({"reason": reason}, 418))
    refusal = await refused(app, **cookie_handshake("null"))
    assert refusal.answer == (418, {"reason": FOREIGN[1]["msg"]})


async def test_origin_error_can_be_caught_around_a_verification() -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies")

    @app.websocket("/catch")
    async def catch() -> None:
        try:
            await qje.verify_jwt_in_request()
        except qje.WebSocketOriginError as error:
            await websocket.send_json([str(error), qje.get_jwt_identity()])

    answer = await accepted(app, "/catch", **cookie_handshake("https://evil.example"))
    assert answer.said == [FOREIGN[1]["msg"], None]


async def test_origin_refusal_has_problem_details() -> None:
    app = socket_app(JWT_TOKEN_LOCATION="cookies", JWT_ERROR_FORMAT="problem")
    refusal = await refused(app, **cookie_handshake("https://evil.example"))
    assert (refusal.status, refusal.body["status"]) == (403, 403)
    assert refusal.body["code"] == "origin_refused"
    assert "evil" not in json.dumps(refusal)


# --- the life of a socket ------------------------------------------------------------------------


async def test_readers_work_for_the_life_of_the_socket() -> None:
    app = socket_app()
    manager_of(app).user_loader_callback_loader(lambda identity: {"name": identity})
    claims = access_claims(user_claims={"role": "admin"})
    async with opened(app, token=hs_token(claims)) as client:
        client.say("hello")
        await client.next("websocket.accept")
        first = await client.hear()
        assert first == {
            "identity": "alice",
            "claims": {"role": "admin"},
            "raw": claims,
            "header": {"typ": "JWT", "alg": "HS256"},
            "location": "headers",
            "user": {"name": "alice"},
        }
        for number in range(500):
            client.say(str(number))
            assert await client.hear() == first


async def test_readers_work_after_the_token_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is verified when the socket opens; it does not end the socket."""
    app = socket_app()
    now = time.time()
    token = hs_token(access_claims(exp=int(now) + 60))
    async with opened(app, token=token) as client:
        client.say("hello")
        await client.next("websocket.accept")
        await client.hear()
        monkeypatch.setattr(time, "time", lambda: now + 61)
        client.say("again")
        assert (await client.hear())["identity"] == "alice"
    assert (await refused(app, token=token)).answer == HAS_EXPIRED


async def test_readers_work_in_child_tasks_and_threads_of_the_socket() -> None:
    app = socket_app(JWT_TOKEN_LOCATION=ALL_LOCATIONS)
    manager_of(app).user_loader_callback_loader(lambda identity: {"name": identity})

    @app.websocket("/children")
    @qje.jwt_required
    async def children() -> None:
        async def grandchild() -> list[Any]:
            for _ in range(3):
                await asyncio.sleep(0)
            return [qje.get_jwt_identity(), qje.current_user["name"]]

        async def child() -> Any:
            return await asyncio.gather(grandchild(), grandchild())

        in_tasks = await asyncio.create_task(child())
        in_thread = await asyncio.to_thread(qje.get_jwt_identity)
        await websocket.send_json([*in_tasks, in_thread])

    answer = await accepted(app, "/children", offered=["bearer", TOKEN])
    assert answer.said == [["alice", "alice"], ["alice", "alice"], "alice"]


async def test_producer_and_consumer_tasks_share_the_identity() -> None:
    app = socket_app()

    @app.websocket("/duplex")
    @qje.jwt_required
    async def duplex() -> None:
        async def produce() -> None:
            for number in range(3):
                await websocket.send_json([number, qje.get_jwt_identity()])

        async def consume() -> None:
            text = await websocket.receive()
            await websocket.send_json([text, qje.get_jwt_identity()])

        await asyncio.gather(produce(), consume())

    async with opened(app, "/duplex", token=BOB) as client:
        await client.next("websocket.accept")
        assert [await client.hear() for _ in range(3)] == [[0, "bob"], [1, "bob"], [2, "bob"]]
        client.say("text")
        assert await client.hear() == ["text", "bob"]
        await client.next("websocket.close")


@pytest.mark.parametrize(
    ("token", "answer"),
    [
        (TOKEN, None),
        (REVOKED, IS_REVOKED),
        (NOBODY, (401, {"msg": "Error loading the user nobody"})),
        (
            hs_token(access_claims(user_claims={"bad": True})),
            (400, {"msg": "User claims verification failed"}),
        ),
    ],
)
async def test_async_callbacks_are_awaited_before_acceptance(
    token: str, answer: tuple[int, Any] | None
) -> None:
    app = socket_app(JWT_TOKEN_LOCATION="websocket_protocol")
    manager = manager_of(app)

    @manager.decode_key_loader
    async def key(claims: dict[str, Any], header: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        return SECRET

    @manager.token_in_blacklist_loader
    async def is_revoked(claims: dict[str, Any]) -> bool:
        await asyncio.sleep(0)
        return claims["jti"] == "revoked"

    @manager.claims_verification_loader
    async def are_good(claims: dict[str, Any]) -> bool:
        await asyncio.sleep(0)
        return "bad" not in claims

    @manager.user_loader_callback_loader
    async def load(identity: str) -> Any:
        await asyncio.sleep(0)
        return None if identity == "nobody" else {"name": qje.get_jwt_identity()}

    if answer is None:
        said = (await accepted(app, offered=["bearer", token])).said
        assert said["user"] == {"name": "alice"}
    else:
        assert (await refused(app, offered=["bearer", token])).answer == answer


async def test_async_error_callback_answers_the_handshake() -> None:
    app = socket_app()

    @manager_of(app).expired_token_loader
    async def expired(claims: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return {"expired": claims["identity"], "now": qje.get_jwt_identity()}, 410

    refusal = await refused(app, token=EXPIRED)
    assert refusal.answer == (410, {"expired": "alice", "now": "alice"})


async def test_sockets_at_once_keep_their_identities() -> None:
    app = socket_app(JWT_TOKEN_LOCATION=ALL_LOCATIONS)

    async def converse(number: int) -> list[Any]:
        identity = f"user {number}"
        token = hs_token(access_claims(identity=identity))
        handshake: dict[str, Any] = {"token": token}
        if number % 2:
            handshake = {"offered": ["bearer", token]}
        async with opened(app, **handshake) as client:
            client.say("hello")
            protocol = (await client.next("websocket.accept"))["subprotocol"]
            said = [(await client.hear())["identity"]]
            for _ in range(5):
                client.say("again")
                await asyncio.sleep(0)
                said.append((await client.hear())["identity"])
        return [protocol, *said]

    answers = await asyncio.gather(*[converse(number) for number in range(40)])
    for number, answer in enumerate(answers):
        assert answer == ["bearer" if number % 2 else None, *[f"user {number}"] * 6]


async def test_anonymous_socket_beside_a_known_one_stays_anonymous() -> None:
    app = socket_app()
    async with opened(app, "/optional", token=TOKEN) as known, opened(app, "/optional") as unknown:
        for client in (known, unknown):
            client.say("hello")
            await client.next("websocket.accept")
        assert (await known.hear())["identity"] == "alice"
        assert await unknown.hear() == NOTHING


async def test_identity_ends_with_the_socket() -> None:
    app = socket_app()
    await accepted(app, token=TOKEN)
    assert (await accepted(app, "/open")).said == NOTHING
    async with app.app_context():
        assert qje.get_jwt_identity() is None


@pytest.mark.parametrize("location", BY_LOCATION)
async def test_websocket_is_freed_when_it_ends_without_the_garbage_collector(location: str) -> None:
    """Long-lived objects in reference cycles would be what fills the memory of a busy server."""
    app = socket_app(JWT_TOKEN_LOCATION=ALL_LOCATIONS)
    alive: list[weakref.ref[Any]] = []

    @app.websocket("/watched")
    @qje.jwt_required
    async def watched() -> None:
        alive.append(weakref.ref(websocket._get_current_object()))
        await websocket.accept()
        await websocket.send_json(qje.get_jwt_identity())

    gc.collect()
    gc.disable()
    try:
        async with opened(app, "/watched", **BY_LOCATION[location]) as client:
            await client.next("websocket.accept")
            assert await client.hear() == "alice"
            await client.next("websocket.close")
            await client.next("end")
        del client
        await asyncio.sleep(0)
        assert [reference() for reference in alive] == [None]
    finally:
        gc.enable()


async def test_websocket_class_of_the_application_keeps_its_own_acceptance() -> None:
    app = accepting_app(nothing)
    noted: list[Any] = []

    class OwnWebsocket(app.websocket_class):  # type: ignore[name-defined,misc]
        async def accept(self, headers: Any = None, subprotocol: str | None = None) -> None:
            noted.append(subprotocol)
            await super().accept({"x-own": "1"}, subprotocol)

    app.websocket_class = OwnWebsocket
    answer = await accepted(app, "/accept", offered=["bearer", TOKEN])
    assert answer == Accepted("bearer", [(b"x-own", b"1")], "alice")
    assert set(noted) == {"bearer"}


# --- a socket inside a request, and a request inside a socket -------------------------------------


async def test_socket_inside_a_request_is_itself_and_so_is_a_request_inside_a_socket() -> None:
    """Under Quart 0.20 to 0.22 the inner one sees the context of the outer one, too."""
    app = make_app()

    @app.websocket("/socket")
    @qje.jwt_required
    async def socket() -> None:
        inner = await app.test_client().get("/protected", headers=bearer(BOB))
        await websocket.send_json([qje.get_jwt_identity(), (await inner.get_json())["identity"]])

    @app.websocket("/open")
    async def open_socket() -> None:
        await websocket.send_json([qje.get_jwt_identity(), qje.get_raw_jwt()])

    @app.get("/outer")
    @qje.jwt_required
    async def outer() -> dict[str, Any]:
        said = {}
        for path, token in (("/socket", CAROL), ("/open", None)):
            async with opened(app, path, token=token) as client:
                await client.next("websocket.accept")
                said[path] = await client.hear()
        async with opened(app, "/socket", token=EXPIRED) as client:
            said["refused"] = (await client.refusal()).status
        return {**said, "identity": qje.get_jwt_identity()}

    for _ in range(2):
        status, body = await ask(app, "/outer", TOKEN)
        assert (status, body.pop("identity"), body.pop("refused")) == (200, "alice", 401)
        assert body == {"/socket": ["carol", "bob"], "/open": [None, {}]}
