"""Every option: its default, what a change does to the next request, and what it refuses."""

from __future__ import annotations

import datetime
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.cookies import Morsel, SimpleCookie
from typing import Any

import jwt
import pytest
from quart import Quart, Response, got_request_exception, websocket

import quart_jwt_extended as qje
from quart_jwt_extended.config import config
from support import LONG_AGO, SECRET, access_claims, bearer, hs_token, make_app, refresh_claims
from support.signing_keys import private_key, private_pem, public_pem

DEFAULTS: dict[str, Any] = {
    "JWT_TOKEN_LOCATION": ("headers",),
    "JWT_HEADER_NAME": "Authorization",
    "JWT_HEADER_TYPE": "Bearer",
    "JWT_QUERY_STRING_NAME": "jwt",
    "JWT_QUERY_STRING_VALUE_PREFIX": "",
    "JWT_ACCESS_COOKIE_NAME": "access_token_cookie",
    "JWT_REFRESH_COOKIE_NAME": "refresh_token_cookie",
    "JWT_ACCESS_COOKIE_PATH": "/",
    "JWT_REFRESH_COOKIE_PATH": "/",
    "JWT_COOKIE_SECURE": False,
    "JWT_COOKIE_DOMAIN": None,
    "JWT_COOKIE_SAMESITE": None,
    "JWT_COOKIE_PARTITIONED": False,
    "JWT_SESSION_COOKIE": True,
    "JWT_JSON_KEY": "access_token",
    "JWT_REFRESH_JSON_KEY": "refresh_token",
    "JWT_WEBSOCKET_PROTOCOL": "bearer",
    "JWT_WEBSOCKET_ORIGINS": (),
    "JWT_COOKIE_CSRF_PROTECT": True,
    "JWT_CSRF_IN_COOKIES": True,
    "JWT_ACCESS_CSRF_HEADER_NAME": "X-CSRF-TOKEN",
    "JWT_REFRESH_CSRF_HEADER_NAME": "X-CSRF-TOKEN",
    "JWT_ACCESS_CSRF_COOKIE_NAME": "csrf_access_token",
    "JWT_REFRESH_CSRF_COOKIE_NAME": "csrf_refresh_token",
    "JWT_ACCESS_CSRF_COOKIE_PATH": "/",
    "JWT_REFRESH_CSRF_COOKIE_PATH": "/",
    "JWT_CSRF_CHECK_FORM": False,
    "JWT_ACCESS_CSRF_FIELD_NAME": "csrf_token",
    "JWT_REFRESH_CSRF_FIELD_NAME": "csrf_token",
    "JWT_ACCESS_TOKEN_EXPIRES": datetime.timedelta(minutes=15),
    "JWT_REFRESH_TOKEN_EXPIRES": datetime.timedelta(days=30),
    "JWT_ALGORITHM": "HS256",
    "JWT_DECODE_ALGORITHMS": None,
    "JWT_SECRET_KEY": None,
    "JWT_PUBLIC_KEY": None,
    "JWT_PRIVATE_KEY": None,
    "JWT_IDENTITY_CLAIM": "identity",
    "JWT_USER_CLAIMS": "user_claims",
    "JWT_CLAIMS_IN_REFRESH_TOKEN": False,
    "JWT_SCOPE_CLAIM": "scope",
    "JWT_ENCODE_AUDIENCE": None,
    "JWT_ENCODE_NBF": True,
    "JWT_ENCODE_ISSUER": None,
    "JWT_DECODE_ISSUER": None,
    "JWT_DECODE_AUDIENCE": None,
    "JWT_DECODE_LEEWAY": 0,
    "JWT_BLACKLIST_ENABLED": False,
    "JWT_BLACKLIST_TOKEN_CHECKS": ("access", "refresh"),
    "JWT_ERROR_MESSAGE_KEY": "msg",
    "JWT_ERROR_FORMAT": "legacy",
    "JWT_WWW_AUTHENTICATE": True,
    "JWT_VERIFY_SUB": True,
    "JWT_MAX_TOKEN_SIZE": 16384,
    "JWT_SIGNATURE_CACHE_SIZE": 0,
}


def bare_app(**options: Any) -> Quart:
    app = Quart("bare")
    app.config.update(options)
    qje.JWTManager(app)
    return app


@pytest.mark.parametrize("option", DEFAULTS)
def test_default_is_set_by_init_app(option: str) -> None:
    value = bare_app().config[option]
    assert value == DEFAULTS[option]
    assert type(value) is type(DEFAULTS[option])


def test_every_option_that_init_app_sets_is_listed() -> None:
    options = {name for name in bare_app().config if name.startswith("JWT_")}
    assert options == {*DEFAULTS, "JWT_CSRF_METHODS", "JWT_CSRF_HEADER_NAME"}


def test_default_csrf_methods_are_those_that_change_state() -> None:
    assert list(bare_app().config["JWT_CSRF_METHODS"]) == ["POST", "PUT", "PATCH", "DELETE"]


def test_deprecated_csrf_header_name_has_no_default() -> None:
    assert bare_app().config.get("JWT_CSRF_HEADER_NAME") is None


@pytest.mark.parametrize("option", [*DEFAULTS, "JWT_CSRF_METHODS", "JWT_CSRF_HEADER_NAME"])
def test_value_set_before_init_app_is_kept(option: str) -> None:
    value = object()
    app = Quart("preset")
    app.config[option] = value
    qje.JWTManager().init_app(app)
    assert app.config[option] is value


def test_defaults_of_two_apps_are_independent() -> None:
    """0.1.0 made a list per app, and applications append to it."""
    first, second = bare_app(), bare_app()
    first.config["JWT_CSRF_METHODS"].append("GET")
    assert list(second.config["JWT_CSRF_METHODS"]) == ["POST", "PUT", "PATCH", "DELETE"]
    assert list(bare_app().config["JWT_CSRF_METHODS"]) == ["POST", "PUT", "PATCH", "DELETE"]


# --- A change takes effect on the next request ---------------------------------


async def status(app: Quart, path: str, **request: Any) -> int:
    """The status of the answer; what the application does not answer is raised.

    Each Quart passes such an exception on, wraps it or hides it by rules of its own, but for the
    signal.
    """
    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    raised: list[Exception] = []

    def keep(sender: Quart, exception: Exception, **_: Any) -> None:
        raised.append(exception)

    with got_request_exception.connected_to(keep, app):
        response = await app.test_client(use_cookies=False).open(path, **request)
    if raised:
        raise raised[0]
    return response.status_code


async def new_tokens(app: Quart) -> tuple[str, str]:
    """An access token and a refresh token, made outside any request."""
    async with app.app_context():
        return (
            await qje.create_access_token_async("alice"),
            await qje.create_refresh_token_async("alice"),
        )


async def new_claims(app: Quart) -> tuple[dict[str, Any], dict[str, Any]]:
    """The claims of a new access token and of a new refresh token, read without the module."""
    first, second = [
        jwt.decode(token, options={"verify_signature": False}) for token in await new_tokens(app)
    ]
    return first, second


async def new_cookies(app: Quart) -> SimpleCookie:
    """The cookies that a login sets."""
    async with app.app_context():
        response = Response("")
        qje.set_access_cookies(response, qje.create_access_token("alice"))
        qje.set_refresh_cookies(response, qje.create_refresh_token("alice"))
    jar = SimpleCookie()
    for line in response.headers.getlist("Set-Cookie"):
        jar.load(line)
    return jar


ACCESS_TOKEN = hs_token(access_claims(csrf="value"))
REFRESH_TOKEN = hs_token(refresh_claims(csrf="value"))
COOKIES = {"JWT_TOKEN_LOCATION": "cookies"}
KEYS = {name: private_key("Ed25519", name) for name in ("first", "second")}


def answers(path: str, **request: Any) -> Callable[[Quart], Awaitable[Any]]:
    """Observe the status that a request gets."""

    async def observe(app: Quart) -> int:
        return await status(app, path, **request)

    return observe


def cookie_attribute(cookie: str, attribute: str) -> Callable[[Quart], Awaitable[Any]]:
    """Observe one attribute of a cookie that a login sets."""

    async def observe(app: Quart) -> Any:
        morsel: Morsel[str] = (await new_cookies(app))[cookie]
        return morsel[attribute]

    return observe


async def cookie_names(app: Quart) -> set[str]:
    return set(await new_cookies(app))


async def lifetimes(app: Quart) -> list[int]:
    return [claims["exp"] - claims["iat"] for claims in await new_claims(app)]


async def issuers(app: Quart) -> list[Any]:
    return [claims.get("iss") for claims in await new_claims(app)]


async def algorithms(app: Quart) -> list[str]:
    return [jwt.get_unverified_header(token)["alg"] for token in await new_tokens(app)]


async def identity_claims(app: Quart) -> list[list[str]]:
    return [sorted({"identity", "sub"} & set(claims)) for claims in await new_claims(app)]


async def user_claims(app: Quart) -> list[list[str]]:
    app.extensions["quart-jwt-extended"].user_claims_loader(lambda user: {"role": "admin"})
    return [sorted({"user_claims", "extra"} & set(claims)) for claims in await new_claims(app)]


async def signer(app: Quart) -> list[str]:
    """Whose private key signed a new token."""
    token = (await new_tokens(app))[0]
    found = []
    for name, key in KEYS.items():
        try:
            jwt.decode(token, key.public_key(), algorithms=["EdDSA"])
        except jwt.InvalidSignatureError:
            continue
        found.append(name)
    return found


async def error_keys(app: Quart) -> list[str]:
    response = await app.test_client().get("/protected")
    return list(await response.get_json())


async def audiences(app: Quart) -> list[Any]:
    return [claims.get("aud") for claims in await new_claims(app)]


async def tokens_with_nbf(app: Quart) -> int:
    return sum("nbf" in claims for claims in await new_claims(app))


async def refusal(app: Quart) -> tuple[str, bool]:
    """The media type of a refusal, and whether it challenges."""
    response = await app.test_client().get("/protected")
    return response.mimetype, "WWW-Authenticate" in response.headers


async def scope_granted(app: Quart) -> bool:
    """Whether the claim "scp" grants a scope that is asked for."""
    headers = bearer(hs_token(access_claims(scp="read")))
    async with app.test_request_context("/", headers=headers):
        try:
            await qje.verify_jwt_in_request(scopes="read")
        except qje.InsufficientScopeError:
            return False
    return True


def socket(*subprotocols: str, **headers: str) -> Callable[[Quart], Awaitable[Any]]:
    """Observe the first message that the handshake of a protected WebSocket gets."""

    async def observe(app: Quart) -> str:
        if "socket" not in app.view_functions:
            app.add_websocket("/socket", "socket", qje.jwt_required(accept))
        scope = {
            "type": "websocket",
            "asgi": {"spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/socket",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}},
        }
        received: list[dict[str, Any]] = []
        messages = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect"}])

        async def receive() -> dict[str, Any]:
            return next(messages) if not received else {"type": "websocket.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            received.append(message)

        await app(scope, receive, send)
        return received[0]["type"]

    return observe


async def accept() -> None:
    await websocket.accept()


async def revoked_types(app: Quart) -> list[int]:
    app.extensions["quart-jwt-extended"].token_in_blacklist_loader(lambda claims: True)
    return [
        await status(app, "/protected", headers=bearer(ACCESS_TOKEN)),
        await status(app, "/refresh", headers=bearer(REFRESH_TOKEN)),
    ]


def cookie(name: str, token: str) -> dict[str, str]:
    return {"Cookie": f"{name}={token}"}


def form(field_name: str, cookie_name: str, token: str) -> dict[str, Any]:
    return {
        "method": "POST",
        "form": {field_name: "value"},
        "headers": cookie(cookie_name, token),
    }


def csrf(header: str, cookie_name: str, token: str) -> dict[str, Any]:
    return {"method": "POST", "headers": {**cookie(cookie_name, token), header: "value"}}


ACCESS_COOKIE = ("access_token_cookie", ACCESS_TOKEN)
REFRESH_COOKIE = ("refresh_token_cookie", REFRESH_TOKEN)
EDDSA = {"JWT_ALGORITHM": "EdDSA", "JWT_PUBLIC_KEY": public_pem(KEYS["first"])}
SIGNED_BY_SECOND = jwt.encode(access_claims(), KEYS["second"], algorithm="EdDSA")
LONG_EXPIRED = hs_token(access_claims(exp=LONG_AGO))


REFUSED_SOCKET = "websocket.http.response.start"


@dataclass(frozen=True)
class Change:
    """An option, what is observed under its default, and what under ``value``."""

    option: str
    value: Any
    observe: Callable[[Quart], Awaitable[Any]]
    before: Any
    after: Any
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.option}={str(self.value)[:24]!r}"


CHANGES = [
    Change(
        "JWT_TOKEN_LOCATION",
        "query_string",
        answers(f"/protected?jwt={ACCESS_TOKEN}"),
        401,
        200,
    ),
    Change(
        "JWT_TOKEN_LOCATION",
        {"json"},
        answers("/protected", method="POST", json={"access_token": ACCESS_TOKEN}),
        401,
        200,
    ),
    Change(
        "JWT_HEADER_NAME",
        "X-Token",
        answers("/protected", headers={"X-Token": f"Bearer {ACCESS_TOKEN}"}),
        401,
        200,
    ),
    Change(
        "JWT_HEADER_TYPE",
        "JWT",
        answers("/protected", headers={"Authorization": f"JWT {ACCESS_TOKEN}"}),
        422,
        200,
    ),
    Change(
        "JWT_HEADER_TYPE",
        "",
        answers("/protected", headers={"Authorization": ACCESS_TOKEN}),
        422,
        200,
    ),
    Change(
        "JWT_QUERY_STRING_NAME",
        "token",
        answers(f"/protected?token={ACCESS_TOKEN}"),
        401,
        200,
        {"JWT_TOKEN_LOCATION": "query_string"},
    ),
    Change(
        "JWT_ACCESS_COOKIE_NAME",
        "own",
        answers("/protected", headers=cookie("own", ACCESS_TOKEN)),
        401,
        200,
        COOKIES,
    ),
    Change(
        "JWT_REFRESH_COOKIE_NAME",
        "own",
        answers("/refresh", headers=cookie("own", REFRESH_TOKEN)),
        401,
        200,
        COOKIES,
    ),
    Change(
        "JWT_ACCESS_COOKIE_PATH",
        "/api",
        cookie_attribute("access_token_cookie", "path"),
        "/",
        "/api",
        COOKIES,
    ),
    Change(
        "JWT_REFRESH_COOKIE_PATH",
        "/api",
        cookie_attribute("refresh_token_cookie", "path"),
        "/",
        "/api",
        COOKIES,
    ),
    Change(
        "JWT_COOKIE_SECURE",
        True,
        cookie_attribute("access_token_cookie", "secure"),
        "",
        True,
        COOKIES,
    ),
    Change(
        "JWT_COOKIE_DOMAIN",
        "example.com",
        cookie_attribute("refresh_token_cookie", "domain"),
        "",
        "example.com",
        COOKIES,
    ),
    Change(
        "JWT_COOKIE_SAMESITE",
        "Strict",
        cookie_attribute("csrf_access_token", "samesite"),
        "",
        "Strict",
        COOKIES,
    ),
    Change(
        "JWT_SESSION_COOKIE",
        False,
        cookie_attribute("access_token_cookie", "max-age"),
        "",
        "31540000",
        COOKIES,
    ),
    Change(
        "JWT_JSON_KEY",
        "own",
        answers("/protected", method="POST", json={"own": ACCESS_TOKEN}),
        401,
        200,
        {"JWT_TOKEN_LOCATION": "json"},
    ),
    Change(
        "JWT_REFRESH_JSON_KEY",
        "own",
        answers("/refresh", method="POST", json={"own": REFRESH_TOKEN}),
        401,
        200,
        {"JWT_TOKEN_LOCATION": "json"},
    ),
    Change(
        "JWT_COOKIE_CSRF_PROTECT",
        False,
        answers("/protected", method="POST", headers=cookie(*ACCESS_COOKIE)),
        401,
        200,
        COOKIES,
    ),
    Change(
        "JWT_CSRF_METHODS",
        ["GET"],
        answers("/protected", headers=cookie(*ACCESS_COOKIE)),
        200,
        401,
        COOKIES,
    ),
    Change(
        "JWT_CSRF_METHODS",
        {"PUT"},
        answers("/protected", method="POST", headers=cookie(*ACCESS_COOKIE)),
        401,
        200,
        COOKIES,
    ),
    Change(
        "JWT_CSRF_IN_COOKIES",
        False,
        cookie_names,
        {
            "access_token_cookie",
            "csrf_access_token",
            "refresh_token_cookie",
            "csrf_refresh_token",
        },
        {"access_token_cookie", "refresh_token_cookie"},
        COOKIES,
    ),
    Change(
        "JWT_ACCESS_CSRF_HEADER_NAME",
        "X-Own",
        answers("/protected", **csrf("X-Own", *ACCESS_COOKIE)),
        401,
        200,
        COOKIES,
    ),
    Change(
        "JWT_REFRESH_CSRF_HEADER_NAME",
        "X-Own",
        answers("/refresh", **csrf("X-Own", *REFRESH_COOKIE)),
        401,
        200,
        COOKIES,
    ),
    Change(
        "JWT_ACCESS_CSRF_COOKIE_NAME",
        "own",
        cookie_names,
        {
            "access_token_cookie",
            "csrf_access_token",
            "refresh_token_cookie",
            "csrf_refresh_token",
        },
        {"access_token_cookie", "own", "refresh_token_cookie", "csrf_refresh_token"},
        COOKIES,
    ),
    Change(
        "JWT_REFRESH_CSRF_COOKIE_NAME",
        "own",
        cookie_names,
        {
            "access_token_cookie",
            "csrf_access_token",
            "refresh_token_cookie",
            "csrf_refresh_token",
        },
        {"access_token_cookie", "csrf_access_token", "refresh_token_cookie", "own"},
        COOKIES,
    ),
    Change(
        "JWT_ACCESS_CSRF_COOKIE_PATH",
        "/api",
        cookie_attribute("csrf_access_token", "path"),
        "/",
        "/api",
        COOKIES,
    ),
    Change(
        "JWT_REFRESH_CSRF_COOKIE_PATH",
        "/api",
        cookie_attribute("csrf_refresh_token", "path"),
        "/",
        "/api",
        COOKIES,
    ),
    Change(
        "JWT_CSRF_CHECK_FORM",
        True,
        answers("/protected", **form("csrf_token", *ACCESS_COOKIE)),
        401,
        200,
        COOKIES,
    ),
    Change(
        "JWT_ACCESS_CSRF_FIELD_NAME",
        "own",
        answers("/protected", **form("own", *ACCESS_COOKIE)),
        401,
        200,
        {**COOKIES, "JWT_CSRF_CHECK_FORM": True},
    ),
    Change(
        "JWT_REFRESH_CSRF_FIELD_NAME",
        "own",
        answers("/refresh", **form("own", *REFRESH_COOKIE)),
        401,
        200,
        {**COOKIES, "JWT_CSRF_CHECK_FORM": True},
    ),
    Change("JWT_ACCESS_TOKEN_EXPIRES", 60, lifetimes, [900, 2592000], [60, 2592000]),
    Change("JWT_REFRESH_TOKEN_EXPIRES", 60, lifetimes, [900, 2592000], [900, 60]),
    Change("JWT_ALGORITHM", "HS512", algorithms, ["HS256"] * 2, ["HS512"] * 2),
    Change(
        "JWT_ALGORITHM",
        "HS512",
        answers("/protected", headers=bearer(hs_token(access_claims(), alg="HS512"))),
        422,
        200,
    ),
    Change(
        "JWT_DECODE_ALGORITHMS",
        ["HS512"],
        answers("/protected", headers=bearer(hs_token(access_claims(), alg="HS512"))),
        422,
        200,
    ),
    Change(
        "JWT_SECRET_KEY",
        "another secret, long enough for HS256",
        answers("/protected", headers=bearer(ACCESS_TOKEN)),
        200,
        422,
    ),
    Change(
        "JWT_PUBLIC_KEY",
        public_pem(KEYS["second"]),
        answers("/protected", headers=bearer(SIGNED_BY_SECOND)),
        422,
        200,
        EDDSA,
    ),
    Change(
        "JWT_PRIVATE_KEY",
        private_pem(KEYS["second"]),
        signer,
        ["first"],
        ["second"],
        {**EDDSA, "JWT_PRIVATE_KEY": private_pem(KEYS["first"])},
    ),
    Change("JWT_IDENTITY_CLAIM", "sub", identity_claims, [["identity"]] * 2, [["sub"]] * 2),
    Change(
        "JWT_IDENTITY_CLAIM",
        "sub",
        answers("/protected", headers=bearer(hs_token(access_claims(identity=..., sub="a")))),
        422,
        200,
    ),
    Change("JWT_USER_CLAIMS", "extra", user_claims, [["user_claims"], []], [["extra"], []]),
    Change(
        "JWT_CLAIMS_IN_REFRESH_TOKEN",
        True,
        user_claims,
        [["user_claims"], []],
        [["user_claims"], ["user_claims"]],
    ),
    Change("JWT_ENCODE_ISSUER", "us", issuers, [None, None], ["us", "us"]),
    Change(
        "JWT_DECODE_ISSUER",
        "us",
        answers("/protected", headers=bearer(hs_token(access_claims(iss="them")))),
        200,
        422,
    ),
    Change(
        "JWT_DECODE_AUDIENCE",
        "us",
        answers("/protected", headers=bearer(hs_token(access_claims(aud=["us", "them"])))),
        422,
        200,
    ),
    Change(
        "JWT_DECODE_AUDIENCE",
        ["others", "them"],
        answers("/protected", headers=bearer(hs_token(access_claims(aud="them")))),
        422,
        200,
    ),
    Change(
        "JWT_DECODE_LEEWAY",
        10**10,
        answers("/protected", headers=bearer(LONG_EXPIRED)),
        401,
        200,
    ),
    Change(
        "JWT_DECODE_LEEWAY",
        datetime.timedelta(days=100_000),
        answers("/protected", headers=bearer(LONG_EXPIRED)),
        401,
        200,
    ),
    Change(
        "JWT_DECODE_LEEWAY",
        1e10,
        answers("/protected", headers=bearer(LONG_EXPIRED)),
        401,
        200,
    ),
    Change("JWT_BLACKLIST_ENABLED", True, revoked_types, [200, 200], [401, 401]),
    Change(
        "JWT_BLACKLIST_TOKEN_CHECKS",
        "refresh",
        revoked_types,
        [401, 401],
        [200, 401],
        {"JWT_BLACKLIST_ENABLED": True},
    ),
    Change(
        "JWT_BLACKLIST_TOKEN_CHECKS",
        {"access"},
        revoked_types,
        [401, 401],
        [401, 200],
        {"JWT_BLACKLIST_ENABLED": True},
    ),
    Change(
        "JWT_QUERY_STRING_VALUE_PREFIX",
        "Bearer ",
        answers(f"/protected?jwt=Bearer+{ACCESS_TOKEN}"),
        422,
        200,
        {"JWT_TOKEN_LOCATION": "query_string"},
    ),
    Change(
        "JWT_WEBSOCKET_PROTOCOL",
        "own",
        socket("own", ACCESS_TOKEN),
        REFUSED_SOCKET,
        "websocket.accept",
        {"JWT_TOKEN_LOCATION": "websocket_protocol"},
    ),
    Change(
        "JWT_WEBSOCKET_ORIGINS",
        "https://front.example",
        socket(
            host="api.example",
            origin="https://front.example",
            cookie=f"access_token_cookie={ACCESS_TOKEN}",
        ),
        REFUSED_SOCKET,
        "websocket.accept",
        COOKIES,
    ),
    Change("JWT_SCOPE_CLAIM", "scp", scope_granted, False, True),
    Change("JWT_ENCODE_AUDIENCE", "us", audiences, [None] * 2, ["us"] * 2),
    Change("JWT_ENCODE_NBF", False, tokens_with_nbf, 2, 0),
    Change(
        "JWT_ERROR_FORMAT",
        "problem",
        refusal,
        ("application/json", True),
        ("application/problem+json", True),
    ),
    Change(
        "JWT_WWW_AUTHENTICATE",
        False,
        refusal,
        ("application/json", True),
        ("application/json", False),
    ),
    Change("JWT_ERROR_MESSAGE_KEY", "error", error_keys, ["msg"], ["error"]),
    Change(
        "JWT_VERIFY_SUB",
        False,
        answers("/protected", headers=bearer(hs_token(access_claims(sub=5)))),
        422,
        200,
    ),
    Change(
        "JWT_MAX_TOKEN_SIZE",
        len(ACCESS_TOKEN) - 1,
        answers("/protected", headers=bearer(ACCESS_TOKEN)),
        200,
        422,
    ),
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_change_after_init_app_takes_effect_on_the_next_request(change: Change) -> None:
    app = make_app(**change.options)
    original = app.config[change.option]
    assert await change.observe(app) == change.before
    app.config[change.option] = change.value
    assert await change.observe(app) == change.after
    app.config[change.option] = original
    assert await change.observe(app) == change.before


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_value_set_before_init_app_is_used(change: Change) -> None:
    app = make_app(**{**change.options, change.option: change.value})
    assert await change.observe(app) == change.after


def test_every_option_is_shown_to_take_effect() -> None:
    """The signature cache has no effect that a client can see.

    Partitioned cookies, which older releases of Werkzeug cannot make, are tested beside the other
    rules of cookies.
    """
    missing = set(DEFAULTS) - {change.option for change in CHANGES}
    assert missing == {"JWT_SIGNATURE_CACHE_SIZE", "JWT_COOKIE_PARTITIONED"}


@pytest.mark.parametrize("size", [0, 1, 1000])
async def test_signature_cache_size_changes_no_answer(size: int) -> None:
    app = make_app(**EDDSA)
    good = jwt.encode(access_claims(), KEYS["first"], algorithm="EdDSA")
    expired = jwt.encode(access_claims(exp=1), KEYS["first"], algorithm="EdDSA")
    tampered = jwt.encode(access_claims(), KEYS["second"], algorithm="EdDSA")
    expected = {good: 200, expired: 401, tampered: 422}
    app.config["JWT_SIGNATURE_CACHE_SIZE"] = size
    for _ in range(3):
        for token, code in expected.items():
            assert await status(app, "/protected", headers=bearer(token)) == code


@pytest.mark.parametrize(
    ("option", "value", "more", "options"),
    [
        ("JWT_TOKEN_LOCATION", ["query_string"], "headers", {}),
        ("JWT_CSRF_METHODS", ["GET"], "POST", COOKIES),
        ("JWT_DECODE_ALGORITHMS", ["HS384"], "HS512", {}),
        ("JWT_BLACKLIST_TOKEN_CHECKS", ["refresh"], "access", {"JWT_BLACKLIST_ENABLED": True}),
        ("JWT_DECODE_AUDIENCE", ["us"], "them", {}),
    ],
)
async def test_list_changed_in_place_takes_effect_on_the_next_request(
    option: str, value: list[str], more: str, options: dict[str, Any]
) -> None:
    """A change in ``app.config`` all the same, and 0.1.0 read the list anew each time."""
    requests: dict[str, dict[str, Any]] = {
        "JWT_TOKEN_LOCATION": {"headers": bearer(ACCESS_TOKEN)},
        "JWT_CSRF_METHODS": {"method": "POST", "headers": cookie(*ACCESS_COOKIE)},
        "JWT_DECODE_ALGORITHMS": {"headers": bearer(hs_token(access_claims(), alg="HS512"))},
        "JWT_BLACKLIST_TOKEN_CHECKS": {"headers": bearer(ACCESS_TOKEN)},
        "JWT_DECODE_AUDIENCE": {"headers": bearer(hs_token(access_claims(aud="them")))},
    }
    app = make_app(**options, **{option: value})
    app.extensions["quart-jwt-extended"].token_in_blacklist_loader(lambda claims: True)
    before = await status(app, "/protected", **requests[option])
    app.config[option].append(more)
    after = await status(app, "/protected", **requests[option])
    expected = {
        "JWT_TOKEN_LOCATION": (401, 200),
        "JWT_CSRF_METHODS": (200, 401),
        "JWT_DECODE_ALGORITHMS": (422, 200),
        "JWT_BLACKLIST_TOKEN_CHECKS": (200, 401),
        "JWT_DECODE_AUDIENCE": (422, 200),
    }
    assert (before, after) == expected[option]


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
async def test_decode_algorithms_are_never_mutated(kind: type) -> None:
    """0.1.0 appended to the application's list, and failed on a tuple."""
    value = kind(["HS512"])
    app = make_app(JWT_DECODE_ALGORITHMS=value)
    for alg in ("HS256", "HS512"):
        headers = bearer(hs_token(access_claims(), alg=alg))
        assert await status(app, "/protected", headers=headers) == 200
    headers = bearer(hs_token(access_claims(), alg="HS384"))
    assert await status(app, "/protected", headers=headers) == 422
    async with app.app_context():
        config.decode_algorithms  # noqa: B018
    assert app.config["JWT_DECODE_ALGORITHMS"] is value
    assert value == kind(["HS512"])


@pytest.mark.parametrize("nothing", [None, [], (), set()])
async def test_no_decode_algorithms_mean_just_the_algorithm(nothing: Any) -> None:
    app = make_app(JWT_DECODE_ALGORITHMS=nothing)
    statuses = [
        await status(app, "/protected", headers=bearer(hs_token(access_claims(), alg=alg)))
        for alg in ("HS256", "HS384", "HS512")
    ]
    assert statuses == [200, 422, 422]


@pytest.mark.parametrize("own", [None, ""])
async def test_secret_falls_back_to_the_secret_key_of_the_app(own: str | None) -> None:
    app = make_app(JWT_SECRET_KEY=own, SECRET_KEY="the app's own secret, used for sessions")
    token = hs_token(access_claims(), secret="the app's own secret, used for sessions")
    assert await status(app, "/protected", headers=bearer(token)) == 200
    assert await status(app, "/protected", headers=bearer(ACCESS_TOKEN)) == 422
    access, _ = await new_tokens(app)
    jwt.decode(access, "the app's own secret, used for sessions", algorithms=["HS256"])


async def test_secret_key_of_the_app_is_ignored_beside_an_own_one() -> None:
    app = make_app(SECRET_KEY="the app's own secret, used for sessions")
    token = hs_token(access_claims(), secret="the app's own secret, used for sessions")
    assert await status(app, "/protected", headers=bearer(token)) == 422
    assert await status(app, "/protected", headers=bearer(ACCESS_TOKEN)) == 200


async def test_changed_secret_key_of_the_app_takes_effect_on_the_next_request() -> None:
    app = make_app(JWT_SECRET_KEY=None, SECRET_KEY="x" * 64)
    assert await status(app, "/protected", headers=bearer(ACCESS_TOKEN)) == 422
    app.config["SECRET_KEY"] = SECRET
    assert await status(app, "/protected", headers=bearer(ACCESS_TOKEN)) == 200


async def test_secret_in_bytes_is_the_same_secret() -> None:
    app = make_app(JWT_SECRET_KEY=SECRET.encode())
    assert await status(app, "/protected", headers=bearer(ACCESS_TOKEN)) == 200


@pytest.mark.parametrize(
    ("path", "credential"), [("/protected", ACCESS_COOKIE), ("/refresh", REFRESH_COOKIE)]
)
async def test_deprecated_csrf_header_name_overrides_both_with_a_warning(
    path: str, credential: tuple[str, str]
) -> None:
    app = make_app(**COOKIES, JWT_CSRF_HEADER_NAME="X-Old")
    with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
        assert await status(app, path, **csrf("X-Old", *credential)) == 200
    app.config["JWT_ACCESS_CSRF_HEADER_NAME"] = "X-New"
    app.config["JWT_REFRESH_CSRF_HEADER_NAME"] = "X-New"
    with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
        assert await status(app, path, **csrf("X-New", *credential)) == 401


async def test_csrf_protection_is_not_in_force_without_cookies() -> None:
    app = make_app(JWT_TOKEN_LOCATION=["headers", "json"])
    assert app.config["JWT_COOKIE_CSRF_PROTECT"] is True
    assert await status(app, "/protected", method="POST", headers=bearer(ACCESS_TOKEN)) == 200


# --- Wrong values --------------------------------------------------------------

NAMES = [
    "JWT_HEADER_NAME",
    "JWT_QUERY_STRING_NAME",
    "JWT_ACCESS_COOKIE_NAME",
    "JWT_REFRESH_COOKIE_NAME",
    "JWT_JSON_KEY",
    "JWT_REFRESH_JSON_KEY",
    "JWT_ACCESS_CSRF_HEADER_NAME",
    "JWT_REFRESH_CSRF_HEADER_NAME",
    "JWT_ACCESS_CSRF_COOKIE_NAME",
    "JWT_REFRESH_CSRF_COOKIE_NAME",
    "JWT_ACCESS_CSRF_FIELD_NAME",
    "JWT_REFRESH_CSRF_FIELD_NAME",
    "JWT_IDENTITY_CLAIM",
    "JWT_USER_CLAIMS",
    "JWT_SCOPE_CLAIM",
    "JWT_WEBSOCKET_PROTOCOL",
    "JWT_ERROR_MESSAGE_KEY",
]
PATHS = [
    "JWT_ACCESS_COOKIE_PATH",
    "JWT_REFRESH_COOKIE_PATH",
    "JWT_ACCESS_CSRF_COOKIE_PATH",
    "JWT_REFRESH_CSRF_COOKIE_PATH",
]
FLAGS = [name for name, value in DEFAULTS.items() if isinstance(value, bool)]
EXPIRES = ["JWT_ACCESS_TOKEN_EXPIRES", "JWT_REFRESH_TOKEN_EXPIRES"]


def wrong_values() -> Iterator[tuple[str, Any]]:
    """Every option with values that it cannot take."""
    for name in NAMES:
        yield from ((name, value) for value in (None, 5, b"bytes", ["list"]))
    for name in PATHS:
        yield from ((name, value) for value in (5, b"/", ["/"]))
    for name in FLAGS:
        # The text of a flag is true whatever it says: a mistake worth an error.
        yield from ((name, value) for value in ("False", "no", 2, [], object()))
    for name in EXPIRES:
        values = (None, True, "15", 1.5, [], object(), datetime.datetime(2024, 2, 29), 10**20)
        yield from ((name, value) for value in values)
    for value in (
        None,
        5,
        "",
        [],
        (),
        set(),
        "body",
        "Headers",
        ["headers", "body"],
        [None],
        {"headers": 1},
    ):
        yield "JWT_TOKEN_LOCATION", value
    yield "JWT_HEADER_NAME", ""
    yield "JWT_HEADER_TYPE", 5
    yield "JWT_HEADER_TYPE", b"Bearer"
    for value in (
        5,
        "https://a.example",
        "a.example:80",
        "a.example/b",
        "a.example; Path=/b",
        "a, b",
    ):
        yield "JWT_COOKIE_DOMAIN", value
    yield "JWT_COOKIE_SAMESITE", 5
    yield "JWT_COOKIE_SAMESITE", "Sometimes"
    for value in (None, 5, [5], [None]):
        yield "JWT_CSRF_METHODS", value
    yield "JWT_CSRF_HEADER_NAME", 5
    for value in (None, 5, "", "XX999", "hs256", "none"):
        yield "JWT_ALGORITHM", value
    for value in (5, [5], ["XX999"], object()):
        yield "JWT_DECODE_ALGORITHMS", value
    for value in (5, ["list"], object()):
        yield "JWT_SECRET_KEY", value
    for value in (5, b"Bearer ", ["Bearer "], True):
        yield "JWT_QUERY_STRING_VALUE_PREFIX", value
    for value in ("two words", "", "a,b"):
        yield "JWT_WEBSOCKET_PROTOCOL", value
    for value in (None, 5, [5], "front.example", ["https://front.example/path"], "null", "*"):
        yield "JWT_WEBSOCKET_ORIGINS", value
    for value in (None, 5, "", "Legacy", "json", True, ["legacy"]):
        yield "JWT_ERROR_FORMAT", value
    for name in (
        "JWT_ENCODE_AUDIENCE",
        "JWT_ENCODE_ISSUER",
        "JWT_DECODE_ISSUER",
        "JWT_DECODE_AUDIENCE",
    ):
        yield name, 5
        yield name, [5]
    for value in (
        None,
        "5",
        -1,
        -0.5,
        float("nan"),
        float("inf"),
        datetime.timedelta(seconds=-1),
        [],
    ):
        yield "JWT_DECODE_LEEWAY", value
    for value in (None, 5, "other", ["access", "other"], [None], {"access": 1}):
        yield "JWT_BLACKLIST_TOKEN_CHECKS", value
    for name in ("JWT_MAX_TOKEN_SIZE", "JWT_SIGNATURE_CACHE_SIZE"):
        yield from ((name, value) for value in (None, "5", -1, 1.5, float("nan")))


WRONG = list(wrong_values())


async def use_everything(app: Quart) -> None:
    """Do what reads every option: log in, then come back with the tokens."""
    cookies = await new_cookies(app)
    headers = {
        "Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items()),
        "X-CSRF-TOKEN": "any",
    }
    await status(app, "/protected", method="POST", headers=headers)
    await status(app, "/refresh", method="POST", headers=headers)


EVERYWHERE = {"JWT_TOKEN_LOCATION": ["cookies", "headers", "query_string", "json"]}


async def test_use_of_everything_succeeds_with_good_values() -> None:
    """The counterpart of the next test: what it does raises nothing by itself."""
    await use_everything(make_app(**EVERYWHERE))


@pytest.mark.parametrize(
    ("option", "value"), WRONG, ids=[f"{name}={str(value)[:20]}" for name, value in WRONG]
)
async def test_wrong_value_raises_runtime_error_that_names_the_option(
    option: str, value: Any
) -> None:
    app = make_app(**EVERYWHERE)
    app.config[option] = value
    with pytest.raises(RuntimeError, match=option):
        await use_everything(app)
    assert app.calls == []


def test_every_option_but_the_asymmetric_keys_has_a_wrong_value() -> None:
    """Wrong keys have tests of their own below."""
    missing = set(DEFAULTS) - {option for option, _ in WRONG}
    assert missing == {"JWT_PUBLIC_KEY", "JWT_PRIVATE_KEY"}


async def test_wrong_value_put_right_works_on_the_next_request() -> None:
    app = make_app()
    app.config["JWT_HEADER_NAME"] = None
    with pytest.raises(RuntimeError, match="JWT_HEADER_NAME"):
        await status(app, "/protected", headers=bearer(ACCESS_TOKEN))
    app.config["JWT_HEADER_NAME"] = "Authorization"
    assert await status(app, "/protected", headers=bearer(ACCESS_TOKEN)) == 200


@pytest.mark.parametrize("secret", [None, ""])
async def test_no_secret_at_all_raises_runtime_error(secret: Any) -> None:
    app = make_app(JWT_SECRET_KEY=secret)
    with pytest.raises(RuntimeError, match="JWT_SECRET_KEY"):
        await new_tokens(app)
    with pytest.raises(RuntimeError, match="JWT_SECRET_KEY"):
        await status(app, "/protected", headers=bearer(ACCESS_TOKEN))


@pytest.mark.parametrize("key", [None, "", 5, "not a key", b"not a key", ["list"]])
async def test_unusable_public_key_raises_runtime_error(key: Any) -> None:
    app = make_app(**{**EDDSA, "JWT_PUBLIC_KEY": key})
    with pytest.raises(RuntimeError, match="JWT_PUBLIC_KEY") as caught:
        await status(app, "/protected", headers=bearer(SIGNED_BY_SECOND))
    assert "not a key" not in str(caught.value)


@pytest.mark.parametrize("key", [None, "", 5, "not a key", b"not a key", ["list"]])
async def test_unusable_private_key_raises_runtime_error(key: Any) -> None:
    app = make_app(**EDDSA, JWT_PRIVATE_KEY=key)
    with pytest.raises(RuntimeError, match="JWT_PRIVATE_KEY") as caught:
        await new_tokens(app)
    assert "not a key" not in str(caught.value)


# --- The config object of 0.1.0 ------------------------------------------------

DAY = datetime.timedelta(days=1)

# Name by name what the properties gave in 0.1.0 under the default options.
PROPERTIES: dict[str, Any] = {
    "is_asymmetric": False,
    "encode_key": SECRET,
    "decode_key": SECRET,
    "token_location": ("headers",),
    "jwt_in_cookies": False,
    "jwt_in_headers": True,
    "jwt_in_query_string": False,
    "jwt_in_json": False,
    "header_name": "Authorization",
    "header_type": "Bearer",
    "query_string_name": "jwt",
    "access_cookie_name": "access_token_cookie",
    "refresh_cookie_name": "refresh_token_cookie",
    "access_cookie_path": "/",
    "refresh_cookie_path": "/",
    "cookie_secure": False,
    "cookie_domain": None,
    "session_cookie": True,
    "cookie_samesite": None,
    "json_key": "access_token",
    "refresh_json_key": "refresh_token",
    "csrf_protect": False,
    "csrf_request_methods": ["POST", "PUT", "PATCH", "DELETE"],
    "csrf_in_cookies": True,
    "access_csrf_cookie_name": "csrf_access_token",
    "refresh_csrf_cookie_name": "csrf_refresh_token",
    "access_csrf_cookie_path": "/",
    "refresh_csrf_cookie_path": "/",
    "access_csrf_header_name": "X-CSRF-TOKEN",
    "refresh_csrf_header_name": "X-CSRF-TOKEN",
    "csrf_check_form": False,
    "access_csrf_field_name": "csrf_token",
    "refresh_csrf_field_name": "csrf_token",
    "access_expires": datetime.timedelta(minutes=15),
    "refresh_expires": 30 * DAY,
    "algorithm": "HS256",
    "decode_algorithms": ["HS256"],
    "blacklist_enabled": False,
    "blacklist_checks": ("access", "refresh"),
    "blacklist_access_tokens": True,
    "blacklist_refresh_tokens": True,
    "cookie_max_age": None,
    "identity_claim_key": "identity",
    "user_claims_key": "user_claims",
    "user_claims_in_refresh_token": False,
    "exempt_methods": {"OPTIONS"},
    "error_msg_key": "msg",
    "audience": None,
    "encode_issuer": None,
    "decode_issuer": None,
    "leeway": 0,
}


@pytest.mark.parametrize("name", PROPERTIES)
async def test_config_property_has_its_value_under_the_defaults(app: Quart, name: str) -> None:
    async with app.app_context():
        assert getattr(config, name) == PROPERTIES[name]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("is_asymmetric", EDDSA, True),
        ("decode_key", EDDSA, EDDSA["JWT_PUBLIC_KEY"]),
        ("encode_key", {**EDDSA, "JWT_PRIVATE_KEY": "the key"}, "the key"),
        ("encode_key", {"JWT_SECRET_KEY": None, "SECRET_KEY": "of the app"}, "of the app"),
        ("token_location", COOKIES, ("cookies",)),
        ("token_location", {"JWT_TOKEN_LOCATION": ["json", "headers"]}, ["json", "headers"]),
        ("jwt_in_cookies", COOKIES, True),
        ("jwt_in_headers", COOKIES, False),
        ("jwt_in_query_string", {"JWT_TOKEN_LOCATION": "query_string"}, True),
        ("jwt_in_json", {"JWT_TOKEN_LOCATION": {"json"}}, True),
        ("header_name", {"JWT_HEADER_NAME": "X-Token"}, "X-Token"),
        ("header_type", {"JWT_HEADER_TYPE": ""}, ""),
        ("query_string_name", {"JWT_QUERY_STRING_NAME": "own"}, "own"),
        ("access_cookie_name", {"JWT_ACCESS_COOKIE_NAME": "own"}, "own"),
        ("refresh_cookie_name", {"JWT_REFRESH_COOKIE_NAME": "own"}, "own"),
        ("access_cookie_path", {"JWT_ACCESS_COOKIE_PATH": "/own"}, "/own"),
        ("refresh_cookie_path", {"JWT_REFRESH_COOKIE_PATH": "/own"}, "/own"),
        ("cookie_secure", {"JWT_COOKIE_SECURE": True}, True),
        ("cookie_domain", {"JWT_COOKIE_DOMAIN": "example.com"}, "example.com"),
        ("session_cookie", {"JWT_SESSION_COOKIE": False}, False),
        ("cookie_max_age", {"JWT_SESSION_COOKIE": False}, 31540000),
        ("cookie_samesite", {"JWT_COOKIE_SAMESITE": "Lax"}, "Lax"),
        ("json_key", {"JWT_JSON_KEY": "own"}, "own"),
        ("refresh_json_key", {"JWT_REFRESH_JSON_KEY": "own"}, "own"),
        ("csrf_protect", COOKIES, True),
        ("csrf_protect", {**COOKIES, "JWT_COOKIE_CSRF_PROTECT": False}, False),
        ("csrf_request_methods", {"JWT_CSRF_METHODS": ["GET"]}, ["GET"]),
        ("csrf_in_cookies", {"JWT_CSRF_IN_COOKIES": False}, False),
        ("access_csrf_cookie_name", {"JWT_ACCESS_CSRF_COOKIE_NAME": "own"}, "own"),
        ("refresh_csrf_cookie_name", {"JWT_REFRESH_CSRF_COOKIE_NAME": "own"}, "own"),
        ("access_csrf_cookie_path", {"JWT_ACCESS_CSRF_COOKIE_PATH": "/own"}, "/own"),
        ("refresh_csrf_cookie_path", {"JWT_REFRESH_CSRF_COOKIE_PATH": "/own"}, "/own"),
        ("access_csrf_header_name", {"JWT_ACCESS_CSRF_HEADER_NAME": "X-Own"}, "X-Own"),
        ("refresh_csrf_header_name", {"JWT_REFRESH_CSRF_HEADER_NAME": "X-Own"}, "X-Own"),
        ("csrf_check_form", {"JWT_CSRF_CHECK_FORM": True}, True),
        ("access_csrf_field_name", {"JWT_ACCESS_CSRF_FIELD_NAME": "own"}, "own"),
        ("refresh_csrf_field_name", {"JWT_REFRESH_CSRF_FIELD_NAME": "own"}, "own"),
        ("access_expires", {"JWT_ACCESS_TOKEN_EXPIRES": 86400}, DAY),
        ("access_expires", {"JWT_ACCESS_TOKEN_EXPIRES": False}, False),
        ("refresh_expires", {"JWT_REFRESH_TOKEN_EXPIRES": 86400}, DAY),
        ("refresh_expires", {"JWT_REFRESH_TOKEN_EXPIRES": False}, False),
        ("algorithm", {"JWT_ALGORITHM": "HS512"}, "HS512"),
        ("decode_algorithms", {"JWT_ALGORITHM": "HS512"}, ["HS512"]),
        ("decode_algorithms", {"JWT_DECODE_ALGORITHMS": ["HS512"]}, ["HS512", "HS256"]),
        ("blacklist_enabled", {"JWT_BLACKLIST_ENABLED": True}, True),
        ("blacklist_checks", {"JWT_BLACKLIST_TOKEN_CHECKS": "access"}, ("access",)),
        ("blacklist_access_tokens", {"JWT_BLACKLIST_TOKEN_CHECKS": ["refresh"]}, False),
        ("blacklist_refresh_tokens", {"JWT_BLACKLIST_TOKEN_CHECKS": ["access"]}, False),
        ("identity_claim_key", {"JWT_IDENTITY_CLAIM": "sub"}, "sub"),
        ("user_claims_key", {"JWT_USER_CLAIMS": "extra"}, "extra"),
        ("user_claims_in_refresh_token", {"JWT_CLAIMS_IN_REFRESH_TOKEN": True}, True),
        ("error_msg_key", {"JWT_ERROR_MESSAGE_KEY": "error"}, "error"),
        ("audience", {"JWT_DECODE_AUDIENCE": "us"}, "us"),
        ("encode_issuer", {"JWT_ENCODE_ISSUER": "us"}, "us"),
        ("decode_issuer", {"JWT_DECODE_ISSUER": "us"}, "us"),
        ("leeway", {"JWT_DECODE_LEEWAY": 10}, 10),
    ],
)
async def test_config_property_follows_its_option(
    name: str, options: dict[str, Any], expected: Any
) -> None:
    app = make_app()
    async with app.app_context():
        assert getattr(config, name) is not ...
        app.config.update(options)
        value = getattr(config, name)
    if isinstance(expected, (list, tuple)) and name != "token_location":
        assert sorted(value) == sorted(expected)
    elif isinstance(expected, (list, tuple)):
        assert list(value) == list(expected)
    else:
        assert value == expected


async def test_config_json_encoder_makes_of_values_what_the_app_does(app: Quart) -> None:
    async with app.app_context():
        text = json.dumps({"day": datetime.date(2024, 2, 29)}, cls=config.json_encoder)
    assert json.loads(text) == {"day": "Thu, 29 Feb 2024 00:00:00 GMT"}


@pytest.mark.parametrize("name", ["access_csrf_header_name", "refresh_csrf_header_name"])
async def test_config_property_warns_of_the_deprecated_csrf_header_name(name: str) -> None:
    app = make_app(JWT_CSRF_HEADER_NAME="X-Old")
    async with app.app_context():
        with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
            assert getattr(config, name) == "X-Old"


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("token_location", "JWT_TOKEN_LOCATION", []),
        ("access_expires", "JWT_ACCESS_TOKEN_EXPIRES", "15"),
        ("blacklist_checks", "JWT_BLACKLIST_TOKEN_CHECKS", ["other"]),
        ("encode_key", "JWT_SECRET_KEY", None),
        ("decode_key", "JWT_SECRET_KEY", None),
    ],
)
async def test_config_property_of_a_wrong_value_raises_runtime_error(
    name: str, option: str, value: Any
) -> None:
    app = make_app(**{option: value})
    async with app.app_context():
        with pytest.raises(RuntimeError, match=option):
            getattr(config, name)


@pytest.mark.parametrize("name", PROPERTIES)
async def test_config_property_cannot_be_set(app: Quart, name: str) -> None:
    async with app.app_context():
        with pytest.raises(AttributeError):
            setattr(config, name, "value")
        assert getattr(config, name) == PROPERTIES[name]


@pytest.mark.parametrize("name", sorted(set(PROPERTIES) - {"exempt_methods"}))
def test_config_property_outside_any_context_raises_runtime_error(name: str) -> None:
    with pytest.raises(RuntimeError, match="context"):
        getattr(config, name)


async def test_config_follows_the_current_app() -> None:
    first = make_app(JWT_HEADER_NAME="X-First")
    second = make_app(JWT_HEADER_NAME="X-Second")
    async with first.app_context():
        assert config.header_name == "X-First"
        async with second.app_context():
            assert config.header_name == "X-Second"
        assert config.header_name == "X-First"


@pytest.mark.parametrize("claim", ["type", "fresh", "csrf", "exp", "nbf", "iat"])
@pytest.mark.parametrize("option", ["JWT_IDENTITY_CLAIM", "JWT_USER_CLAIMS"])
async def test_claim_name_that_the_extension_uses_itself_is_refused(
    option: str, claim: str
) -> None:
    async with make_app(**{option: claim}).app_context():
        with pytest.raises(RuntimeError, match=option):
            qje.create_access_token("alice")


async def test_one_name_for_two_claims_is_refused() -> None:
    async with make_app(JWT_IDENTITY_CLAIM="who", JWT_USER_CLAIMS="who").app_context():
        with pytest.raises(RuntimeError, match="JWT_USER_CLAIMS"):
            qje.create_access_token("alice")


async def test_option_that_was_deleted_counts_as_its_default() -> None:
    app = make_app(JWT_IDENTITY_CLAIM="who")
    async with app.app_context():
        before = qje.create_access_token("alice")
        del app.config["JWT_IDENTITY_CLAIM"], app.config["JWT_DECODE_LEEWAY"]
        app.config.pop("SECRET_KEY", None)
        after = [qje.create_access_token("alice") for _ in range(2)]
    names = [jwt.decode(token, SECRET, algorithms=["HS256"]) for token in (before, *after)]
    assert ["who" in claims for claims in names] == [True, False, False]
    assert ["identity" in claims for claims in names] == [False, True, True]


# --- JWT_QUERY_STRING_VALUE_PREFIX ---------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "value", "status"),
    [
        ("", ACCESS_TOKEN, 200),
        (None, ACCESS_TOKEN, 200),
        ("Bearer ", f"Bearer {ACCESS_TOKEN}", 200),
        ("Bearer ", ACCESS_TOKEN, 401),
        ("Bearer ", f"bearer {ACCESS_TOKEN}", 401),
        ("Bearer ", f" Bearer {ACCESS_TOKEN}", 401),
        ("Bearer ", f"Bearer Bearer {ACCESS_TOKEN}", 422),
        ("t=&%", f"t=&%{ACCESS_TOKEN}", 200),
        ("é", f"é{ACCESS_TOKEN}", 200),
        ("", f"Bearer {ACCESS_TOKEN}", 422),
    ],
)
async def test_query_string_value_prefix_stands_before_the_token(
    prefix: Any, value: str, status: int
) -> None:
    app = make_app(JWT_TOKEN_LOCATION="query_string", JWT_QUERY_STRING_VALUE_PREFIX=prefix)
    response = await app.test_client().get("/protected", query_string={"jwt": value})
    body = await response.get_json()
    assert response.status_code == status
    if status == 401:
        assert body == {"msg": 'Missing "jwt" query paramater'}
    assert app.calls == (["protected"] if status == 200 else [])


async def test_value_without_the_prefix_moves_on_to_the_next_location() -> None:
    app = make_app(
        JWT_TOKEN_LOCATION=["query_string", "headers"], JWT_QUERY_STRING_VALUE_PREFIX="Bearer "
    )
    response = await app.test_client().get(
        "/protected", query_string={"jwt": "x"}, headers=bearer(ACCESS_TOKEN)
    )
    assert response.status_code == 200
