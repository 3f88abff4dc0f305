"""Every option: its default, what a change does, what it refuses, and how it may be changed."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime
import json
import sysconfig
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.cookies import Morsel, SimpleCookie
from typing import Any, NamedTuple

import jwt
import pytest
from quart import Config, Quart, Response, websocket

import quart_jwt_extended as qje
from quart_jwt_extended.config import config
from support import (
    LONG_AGO,
    OTHER_SECRET,
    SECRET,
    access_claims,
    bearer,
    claims_of,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
    status_of,
)
from support.asgi import opened
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
    "JWT_KEYS": None,
    "JWT_SIGNING_KEY_ID": None,
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
    "JWT_REQUIRED_CLAIMS": (),
    "JWT_DECODE_TYP": None,
    "JWT_ENCODE_TYP": "JWT",
    "JWT_REVOCATION_MAX_STALENESS": 0,
    "JWT_REFRESH_GRACE": 10,
    "JWT_SESSION_MAX_AGE": None,
    "JWT_IMPLICIT_REFRESH": None,
    "JWT_WEBSOCKET_CLOSE_WITH_TOKEN": False,
    "JWT_EXEMPT_OPTIONS": False,
    "JWT_MAX_TOKEN_SIZE": 16384,
    "JWT_SIGNATURE_CACHE_SIZE": 0,
}


def bare_app(**options: Any) -> Quart:
    app = Quart("bare")
    app.config.update(options)
    qje.JWTManager(app)
    return app


CSRF_METHODS = ["POST", "PUT", "PATCH", "DELETE"]


def test_defaults_are_set_by_init_app() -> None:
    options = {k: v for k, v in bare_app().config.items() if k.startswith("JWT_")}
    assert options.pop("JWT_CSRF_METHODS") == CSRF_METHODS
    assert options.pop("JWT_CSRF_HEADER_NAME") is None
    assert options == DEFAULTS
    assert list(map(type, options.values())) == [type(DEFAULTS[name]) for name in options]


def test_values_set_before_init_app_are_kept() -> None:
    values = {name: object() for name in (*DEFAULTS, "JWT_CSRF_METHODS", "JWT_CSRF_HEADER_NAME")}
    app = Quart("preset")
    app.config.update(values)
    qje.JWTManager().init_app(app)
    assert {name: app.config[name] for name in values} == values


def test_defaults_of_two_apps_are_independent() -> None:
    """0.1.0 made a list per app, and applications append to it."""
    first, second = bare_app(), bare_app()
    first.config["JWT_CSRF_METHODS"].append("GET")
    assert second.config["JWT_CSRF_METHODS"] == CSRF_METHODS
    assert bare_app().config["JWT_CSRF_METHODS"] == CSRF_METHODS


# --- What a change does to the next request ------------------------------------

ACCESS_TOKEN = hs_token(access_claims(csrf="value"))
REFRESH_TOKEN = hs_token(refresh_claims(csrf="value"))
COOKIES = {"JWT_TOKEN_LOCATION": "cookies"}
KEYS = {name: private_key("Ed25519", name) for name in ("first", "second")}
EDDSA = {"JWT_ALGORITHM": "EdDSA", "JWT_PUBLIC_KEY": public_pem(KEYS["first"])}
SIGNED_BY_SECOND = jwt.encode(access_claims(), KEYS["second"], algorithm="EdDSA")
HS512 = hs_token(access_claims(), alg="HS512")
RING = {"k": {"key": SECRET, "sign_from": 1}}
NAMED = hs_token(access_claims(), header={"alg": "HS256", "kid": "k"})
RING_AND_NAME = {"JWT_KEYS": {"a": SECRET, "b": OTHER_SECRET}, "JWT_SIGNING_KEY_ID": "a"}


def answers(path: str, token: Any = None, **request: Any) -> Callable[[Quart], Awaitable[Any]]:
    """Observe the status that a request gets."""

    async def observe(app: Quart) -> int:
        return await status_of(app, path, token, **request)

    return observe


def takes(token: Any) -> Callable[[Quart], Awaitable[Any]]:
    """Observe what becomes of a token in the header."""
    return answers("/protected", token)


def in_header(name: str, value: str) -> Callable[[Quart], Awaitable[Any]]:
    return answers("/protected", headers={name: value})


def cookie(name: str, path: str = "/protected", **headers: str) -> dict[str, Any]:
    """A request with a token of the path's type in a cookie, as arguments of ``answers``."""
    token = ACCESS_TOKEN if path == "/protected" else REFRESH_TOKEN
    fields = {header.replace("_", "-"): value for header, value in headers.items()}
    return {"path": path, "headers": {"Cookie": f"{name}={token}", **fields}}


ACCESS_COOKIE = cookie("access_token_cookie")


def csrf(header: str, kind: str = "access") -> Callable[[Quart], Awaitable[Any]]:
    """Observe a POST whose CSRF value is in a header."""
    path = "/protected" if kind == "access" else "/refresh"
    return answers(method="POST", **cookie(f"{kind}_token_cookie", path, **{header: "value"}))


def form(name: str, kind: str = "access") -> Callable[[Quart], Awaitable[Any]]:
    """Observe a POST whose CSRF value is in a form."""
    path = "/protected" if kind == "access" else "/refresh"
    sent = cookie(f"{kind}_token_cookie", path)
    return answers(method="POST", form={name: "value"}, **sent)


def in_json(name: str, token: str, path: str = "/protected") -> Callable[[Quart], Awaitable[Any]]:
    return answers(path, method="POST", json={name: token})


async def new_tokens(app: Quart) -> tuple[str, str]:
    """An access token and a refresh token, made outside any request."""
    async with app.app_context():
        return (
            await qje.create_access_token_async("alice"),
            await qje.create_refresh_token_async("alice"),
        )


def in_tokens(read: Callable[[dict[str, Any]], Any]) -> Callable[[Quart], Awaitable[Any]]:
    """Observe something of the claims of a new access token and of a new refresh token."""

    async def observe(app: Quart) -> list[Any]:
        unverified = {"verify_signature": False}
        tokens = await new_tokens(app)
        return [read(jwt.decode(token, options=unverified)) for token in tokens]

    return observe


def names_among(*names: str) -> Callable[[Quart], Awaitable[Any]]:
    return in_tokens(lambda claims: sorted(set(names) & set(claims)))


lifetimes = in_tokens(lambda claims: claims["exp"] - claims["iat"])


async def header_types(app: Quart) -> list[Any]:
    """The ``typ`` in the headers of new tokens."""
    return [jwt.get_unverified_header(token).get("typ") for token in await new_tokens(app)]


async def options_status(app: Quart) -> int:
    """How a view that takes OPTIONS requests answers one without a token."""
    if "preflight" not in app.view_functions:
        view = qje.jwt_required(lambda: "")
        app.add_url_rule("/preflight", "preflight", view, methods=["OPTIONS"])
    return (await app.test_client().options("/preflight")).status_code


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


def attribute(cookie: str, name: str) -> Callable[[Quart], Awaitable[Any]]:
    """Observe one attribute of a cookie that a login sets."""

    async def observe(app: Quart) -> Any:
        morsel: Morsel[str] = (await new_cookies(app))[cookie]
        return morsel[name]

    return observe


async def csrf_cookies(app: Quart) -> set[str]:
    """The names of the cookies that a login sets beside those of the tokens."""
    return set(await new_cookies(app)) - {"access_token_cookie", "refresh_token_cookie"}


async def algorithms(app: Quart) -> list[str]:
    return [jwt.get_unverified_header(token)["alg"] for token in await new_tokens(app)]


async def user_claims(app: Quart) -> list[list[str]]:
    manager_of(app).user_claims_loader(lambda user: {"role": "admin"})
    return await names_among("user_claims", "extra")(app)


async def names_of_keys(app: Quart) -> list[Any]:
    """The names of the keys that signed a new access token and a new refresh token."""
    return [jwt.get_unverified_header(token).get("kid") for token in await new_tokens(app)]


async def signer(app: Quart) -> list[str]:
    """Whose private key signed a new token."""
    token = (await new_tokens(app))[0]
    found = []
    for name, key in KEYS.items():
        with contextlib.suppress(jwt.InvalidSignatureError):
            jwt.decode(token, key.public_key(), algorithms=["EdDSA"])
            found.append(name)
    return found


async def refusal(app: Quart) -> tuple[str, bool, list[str]]:
    """The media type of a refusal, whether it challenges, and its members."""
    response = await app.test_client().get("/protected")
    body = json.loads(await response.get_data())
    return response.mimetype, "WWW-Authenticate" in response.headers, list(body)


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
        async with opened(app, "/socket", headers=headers, offered=subprotocols) as client:
            return (await client.next_message())["type"]

    return observe


async def accept() -> None:
    await websocket.accept()


async def revoked_types(app: Quart) -> list[int]:
    manager_of(app).token_in_blacklist_loader(lambda claims: True)
    return [
        await status_of(app, "/protected", ACCESS_TOKEN),
        await status_of(app, "/refresh", REFRESH_TOKEN),
    ]


# What a refused and an accepted WebSocket get first.
SOCKET = ("websocket.http.response.start", "websocket.accept")
QUERY = {"JWT_TOKEN_LOCATION": "query_string"}
JSON = {"JWT_TOKEN_LOCATION": "json"}
FORM = {**COOKIES, "JWT_CSRF_CHECK_FORM": True}
REVOKING = {"JWT_BLACKLIST_ENABLED": True}
LONG_EXPIRED = access_claims(exp=LONG_AGO)
CSRF_COOKIES = {"csrf_access_token", "csrf_refresh_token"}
REFUSAL = ("application/json", True, ["msg"])
PROBLEM = ["code", "detail", "status", "title", "type"]
FRONT = "https://front.example"


class Change(NamedTuple):
    """An option, what is observed under its default, and what under ``value``."""

    option: str
    value: Any
    observe: Callable[[Quart], Awaitable[Any]]
    before: Any
    after: Any
    options: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self.option}={str(self.value)[:24]!r}"


CHANGES = [
    Change(
        "JWT_TOKEN_LOCATION", "query_string", answers(f"/protected?jwt={ACCESS_TOKEN}"), 401, 200
    ),
    Change("JWT_TOKEN_LOCATION", {"json"}, in_json("access_token", ACCESS_TOKEN), 401, 200),
    Change("JWT_HEADER_NAME", "X-Token", in_header("X-Token", f"Bearer {ACCESS_TOKEN}"), 401, 200),
    Change("JWT_HEADER_TYPE", "JWT", in_header("Authorization", f"JWT {ACCESS_TOKEN}"), 422, 200),
    Change("JWT_HEADER_TYPE", "", in_header("Authorization", ACCESS_TOKEN), 422, 200),
    Change("JWT_QUERY_STRING_NAME", "t", answers(f"/protected?t={ACCESS_TOKEN}"), 401, 200, QUERY),
    Change(
        "JWT_QUERY_STRING_VALUE_PREFIX",
        "Bearer ",
        answers(f"/protected?jwt=Bearer+{ACCESS_TOKEN}"),
        422,
        200,
        QUERY,
    ),
    Change("JWT_ACCESS_COOKIE_NAME", "own", answers(**cookie("own")), 401, 200, COOKIES),
    Change(
        "JWT_REFRESH_COOKIE_NAME", "own", answers(**cookie("own", "/refresh")), 401, 200, COOKIES
    ),
    *(
        Change(f"JWT_{option}_COOKIE_PATH", "/api", attribute(name, "path"), "/", "/api", COOKIES)
        for option, name in (
            ("ACCESS", "access_token_cookie"),
            ("REFRESH", "refresh_token_cookie"),
            ("ACCESS_CSRF", "csrf_access_token"),
            ("REFRESH_CSRF", "csrf_refresh_token"),
        )
    ),
    *(
        Change(option, value, attribute(name, read), "", shown, COOKIES)
        for option, value, name, read, shown in (
            ("JWT_COOKIE_SECURE", True, "access_token_cookie", "secure", True),
            ("JWT_COOKIE_DOMAIN", "a.example", "refresh_token_cookie", "domain", "a.example"),
            ("JWT_COOKIE_SAMESITE", "Strict", "csrf_access_token", "samesite", "Strict"),
            ("JWT_SESSION_COOKIE", False, "access_token_cookie", "max-age", "31540000"),
        )
    ),
    Change("JWT_JSON_KEY", "own", in_json("own", ACCESS_TOKEN), 401, 200, JSON),
    Change(
        "JWT_REFRESH_JSON_KEY", "own", in_json("own", REFRESH_TOKEN, "/refresh"), 401, 200, JSON
    ),
    Change(
        "JWT_COOKIE_CSRF_PROTECT",
        False,
        answers(method="POST", **ACCESS_COOKIE),
        401,
        200,
        COOKIES,
    ),
    Change("JWT_CSRF_METHODS", ["GET"], answers(**ACCESS_COOKIE), 200, 401, COOKIES),
    Change("JWT_CSRF_METHODS", {"PUT"}, answers(method="POST", **ACCESS_COOKIE), 401, 200, COOKIES),
    Change("JWT_CSRF_IN_COOKIES", False, csrf_cookies, CSRF_COOKIES, set(), COOKIES),
    Change("JWT_ACCESS_CSRF_HEADER_NAME", "X-Own", csrf("X-Own"), 401, 200, COOKIES),
    Change("JWT_REFRESH_CSRF_HEADER_NAME", "X-Own", csrf("X-Own", "refresh"), 401, 200, COOKIES),
    Change(
        "JWT_ACCESS_CSRF_COOKIE_NAME",
        "own",
        csrf_cookies,
        CSRF_COOKIES,
        {"own", "csrf_refresh_token"},
        COOKIES,
    ),
    Change(
        "JWT_REFRESH_CSRF_COOKIE_NAME",
        "own",
        csrf_cookies,
        CSRF_COOKIES,
        {"csrf_access_token", "own"},
        COOKIES,
    ),
    Change("JWT_CSRF_CHECK_FORM", True, form("csrf_token"), 401, 200, COOKIES),
    Change("JWT_ACCESS_CSRF_FIELD_NAME", "own", form("own"), 401, 200, FORM),
    Change("JWT_REFRESH_CSRF_FIELD_NAME", "own", form("own", "refresh"), 401, 200, FORM),
    Change("JWT_ACCESS_TOKEN_EXPIRES", 60, lifetimes, [900, 2592000], [60, 2592000]),
    Change("JWT_REFRESH_TOKEN_EXPIRES", 60, lifetimes, [900, 2592000], [900, 60]),
    Change("JWT_ALGORITHM", "HS512", algorithms, ["HS256"] * 2, ["HS512"] * 2),
    Change("JWT_ALGORITHM", "HS512", takes(HS512), 422, 200),
    Change("JWT_DECODE_ALGORITHMS", ["HS512"], takes(HS512), 422, 200),
    Change("JWT_SECRET_KEY", OTHER_SECRET, takes(ACCESS_TOKEN), 200, 422),
    Change("JWT_PUBLIC_KEY", public_pem(KEYS["second"]), takes(SIGNED_BY_SECOND), 422, 200, EDDSA),
    Change(
        "JWT_PRIVATE_KEY",
        private_pem(KEYS["second"]),
        signer,
        ["first"],
        ["second"],
        {**EDDSA, "JWT_PRIVATE_KEY": private_pem(KEYS["first"])},
    ),
    Change("JWT_KEYS", RING, takes(NAMED), 422, 200, {"JWT_KEYS": {"other": OTHER_SECRET}}),
    Change("JWT_SIGNING_KEY_ID", "b", names_of_keys, ["a"] * 2, ["b"] * 2, RING_AND_NAME),
    Change(
        "JWT_IDENTITY_CLAIM",
        "sub",
        names_among("identity", "sub"),
        [["identity"]] * 2,
        [["sub"]] * 2,
    ),
    Change("JWT_IDENTITY_CLAIM", "sub", takes(access_claims(identity=..., sub="a")), 422, 200),
    Change("JWT_USER_CLAIMS", "extra", user_claims, [["user_claims"], []], [["extra"], []]),
    Change(
        "JWT_CLAIMS_IN_REFRESH_TOKEN",
        True,
        user_claims,
        [["user_claims"], []],
        [["user_claims"]] * 2,
    ),
    Change("JWT_SCOPE_CLAIM", "scp", scope_granted, False, True),
    Change("JWT_ENCODE_ISSUER", "us", in_tokens(lambda c: c.get("iss")), [None] * 2, ["us"] * 2),
    Change("JWT_ENCODE_AUDIENCE", "us", in_tokens(lambda c: c.get("aud")), [None] * 2, ["us"] * 2),
    Change("JWT_ENCODE_NBF", False, names_among("nbf"), [["nbf"]] * 2, [[]] * 2),
    Change("JWT_DECODE_ISSUER", "us", takes(access_claims(iss="them")), 200, 422),
    Change("JWT_DECODE_AUDIENCE", "us", takes(access_claims(aud=["us", "them"])), 422, 200),
    Change("JWT_DECODE_AUDIENCE", ["x", "them"], takes(access_claims(aud="them")), 422, 200),
    *(
        Change("JWT_DECODE_LEEWAY", value, takes(LONG_EXPIRED), 401, 200)
        for value in (10**10, 1e10, datetime.timedelta(days=100_000))
    ),
    Change("JWT_BLACKLIST_ENABLED", True, revoked_types, [200, 200], [401, 401]),
    *(
        Change("JWT_BLACKLIST_TOKEN_CHECKS", value, revoked_types, [401, 401], after, REVOKING)
        for value, after in (("refresh", [200, 401]), ({"access"}, [401, 200]))
    ),
    Change(
        "JWT_WEBSOCKET_PROTOCOL",
        "own",
        socket("own", ACCESS_TOKEN),
        *SOCKET,
        {"JWT_TOKEN_LOCATION": "websocket_protocol"},
    ),
    Change(
        "JWT_WEBSOCKET_ORIGINS",
        FRONT,
        socket(host="api.example", origin=FRONT, cookie=f"access_token_cookie={ACCESS_TOKEN}"),
        *SOCKET,
        COOKIES,
    ),
    Change(
        "JWT_ERROR_FORMAT",
        "problem",
        refusal,
        REFUSAL,
        ("application/problem+json", True, PROBLEM),
    ),
    Change("JWT_WWW_AUTHENTICATE", False, refusal, REFUSAL, ("application/json", False, ["msg"])),
    Change(
        "JWT_ERROR_MESSAGE_KEY", "error", refusal, REFUSAL, ("application/json", True, ["error"])
    ),
    Change("JWT_VERIFY_SUB", False, takes(access_claims(sub=5)), 422, 200),
    Change("JWT_REQUIRED_CLAIMS", ["exp", "client"], takes(ACCESS_TOKEN), 200, 422),
    Change("JWT_DECODE_TYP", "at+jwt", takes(ACCESS_TOKEN), 200, 422),
    Change("JWT_ENCODE_TYP", "at+jwt", header_types, ["JWT"] * 2, ["at+jwt"] * 2),
    Change("JWT_EXEMPT_OPTIONS", True, options_status, 401, 200),
    Change("JWT_MAX_TOKEN_SIZE", len(ACCESS_TOKEN) - 1, takes(ACCESS_TOKEN), 200, 422),
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
    rules of cookies. What needs a token store is tested with sessions, revocation and WebSockets.
    """
    missing = set(DEFAULTS) - {change.option for change in CHANGES}
    assert missing == {
        "JWT_SIGNATURE_CACHE_SIZE",
        "JWT_COOKIE_PARTITIONED",
        "JWT_REFRESH_GRACE",
        "JWT_SESSION_MAX_AGE",
        "JWT_IMPLICIT_REFRESH",
        "JWT_REVOCATION_MAX_STALENESS",
        "JWT_WEBSOCKET_CLOSE_WITH_TOKEN",
    }


@pytest.mark.parametrize(
    ("option", "value", "more", "observe", "expected", "options"),
    [
        ("JWT_TOKEN_LOCATION", ["query_string"], "headers", takes(ACCESS_TOKEN), (401, 200), {}),
        (
            "JWT_CSRF_METHODS",
            ["GET"],
            "POST",
            answers(method="POST", **ACCESS_COOKIE),
            (200, 401),
            COOKIES,
        ),
        (
            "JWT_BLACKLIST_TOKEN_CHECKS",
            ["refresh"],
            "access",
            takes(ACCESS_TOKEN),
            (200, 401),
            REVOKING,
        ),
        ("JWT_DECODE_AUDIENCE", ["us"], "them", takes(access_claims(aud="them")), (422, 200), {}),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("JWT_") else "",
)
async def test_list_changed_in_place_takes_effect_on_the_next_request(
    option: str,
    value: list[str],
    more: str,
    observe: Callable[[Quart], Awaitable[int]],
    expected: tuple[int, int],
    options: dict[str, Any],
) -> None:
    """A change in ``app.config`` all the same, and 0.1.0 read the list anew each time."""
    app = make_app(**options, **{option: value})
    manager_of(app).token_in_blacklist_loader(lambda claims: True)
    before = await observe(app)
    app.config[option].append(more)
    assert (before, await observe(app)) == expected


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
async def test_decode_algorithms_are_never_mutated(kind: type) -> None:
    """0.1.0 appended to the application's list, and failed on a tuple."""
    value = kind(["HS512"])
    app = make_app(JWT_DECODE_ALGORITHMS=value)
    for alg, expected in (("HS256", 200), ("HS512", 200), ("HS384", 422)):
        assert await status_of(app, "/protected", hs_token(access_claims(), alg=alg)) == expected
    async with app.app_context():
        config.decode_algorithms  # noqa: B018
    assert app.config["JWT_DECODE_ALGORITHMS"] is value
    assert value == kind(["HS512"])


@pytest.mark.parametrize("nothing", [None, [], (), set()])
async def test_no_decode_algorithms_mean_just_the_algorithm(nothing: Any) -> None:
    app = make_app(JWT_DECODE_ALGORITHMS=nothing)
    statuses = [
        await status_of(app, "/protected", hs_token(access_claims(), alg=alg))
        for alg in ("HS256", "HS384", "HS512")
    ]
    assert statuses == [200, 422, 422]


@pytest.mark.parametrize("own", [None, ""])
async def test_secret_falls_back_to_the_secret_key_of_the_app(own: str | None) -> None:
    app = make_app(JWT_SECRET_KEY=own, SECRET_KEY=OTHER_SECRET)
    token = hs_token(access_claims(), secret=OTHER_SECRET)
    assert await status_of(app, "/protected", token) == 200
    assert await status_of(app, "/protected", ACCESS_TOKEN) == 422
    assert claims_of((await new_tokens(app))[0], OTHER_SECRET)


@pytest.mark.parametrize("kind", ["access", "refresh"])
async def test_deprecated_csrf_header_name_overrides_both_with_a_warning(kind: str) -> None:
    app = make_app(**COOKIES, JWT_CSRF_HEADER_NAME="X-Old")
    with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
        assert await csrf("X-Old", kind)(app) == 200
    app.config["JWT_ACCESS_CSRF_HEADER_NAME"] = "X-New"
    app.config["JWT_REFRESH_CSRF_HEADER_NAME"] = "X-New"
    with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
        assert await csrf("X-New", kind)(app) == 401


async def test_csrf_protection_is_not_in_force_without_cookies() -> None:
    app = make_app(JWT_TOKEN_LOCATION=["headers", "json"])
    assert app.config["JWT_COOKIE_CSRF_PROTECT"] is True
    assert await status_of(app, "/protected", ACCESS_TOKEN, method="POST") == 200


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


# --- Values that an option cannot take ----------------------------------------

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
    yield "JWT_SCOPE_CLAIM", ""
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
    # What no request can have as its method would switch the protection off in silence.
    for value in (
        *(None, 5, [5], [None], "", [""], "POST,PUT", "POST PUT", [" post"], ("POST\n",)),
        *("*", ["POST", "P*"], {"PÖST"}),
    ):
        yield "JWT_CSRF_METHODS", value
    yield "JWT_CSRF_HEADER_NAME", 5
    for value in (None, 5, "", "XX999", "hs256", "none"):
        yield "JWT_ALGORITHM", value
    for value in (5, [5], ["XX999"], object()):
        yield "JWT_DECODE_ALGORITHMS", value
    for value in (5, ["list"], object()):
        yield "JWT_SECRET_KEY", value
    for value in (5, "text", [], {}, {"": SECRET}, {5: SECRET}, {"k": 5}, {"k": {}}):
        yield "JWT_KEYS", value
    for value in (5, b"bytes", ["list"], "name"):
        yield "JWT_SIGNING_KEY_ID", value
    for value in (5, b"Bearer ", ["Bearer "], True):
        yield "JWT_QUERY_STRING_VALUE_PREFIX", value
    for value in ("two words", "", "a,b"):
        yield "JWT_WEBSOCKET_PROTOCOL", value
    for value in (None, 5, [5], "front.example", ["https://front.example/path"], "null", "*"):
        yield "JWT_WEBSOCKET_ORIGINS", value
    for value in (None, 5, [5], {"exp": 1}, "", "exp jti", "exp,jti", ["exp", "jti\n"]):
        yield "JWT_REQUIRED_CLAIMS", value
    for value in (5, "", [], "JWT, at+jwt", ["a b"], "*", "text/", "a/b/c", "\ud800"):
        yield "JWT_DECODE_TYP", value
    for value in (5, ["JWT"], "a b", "é", "\ud800"):
        yield "JWT_ENCODE_TYP", value
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
        float("-inf"),
        datetime.timedelta(seconds=-1),
        [],
    ):
        yield "JWT_DECODE_LEEWAY", value
        yield "JWT_REVOCATION_MAX_STALENESS", value
        yield "JWT_REFRESH_GRACE", value
    yield "JWT_REFRESH_GRACE", 301
    for name in ("JWT_SESSION_MAX_AGE", "JWT_IMPLICIT_REFRESH"):
        yield from ((name, value) for value in (False, 0, -1, "5", datetime.timedelta(0)))
    for value in (None, 5, "other", ["access", "other"], [None], {"access": 1}):
        yield "JWT_BLACKLIST_TOKEN_CHECKS", value
    for name in ("JWT_MAX_TOKEN_SIZE", "JWT_SIGNATURE_CACHE_SIZE"):
        yield from ((name, value) for value in (None, "5", -1, 1.5, float("nan")))


WRONG = list(wrong_values())


async def use_everything(app: Quart) -> None:
    """Do what reads every option: log in, then come back with the tokens."""
    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    cookies = await new_cookies(app)
    headers = {
        "Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items()),
        "X-CSRF-TOKEN": "any",
    }
    await status_of(app, "/protected", method="POST", headers=headers)
    await status_of(app, "/refresh", method="POST", headers=headers)


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
    """Wrong keys are tested with the other rules of keys."""
    missing = set(DEFAULTS) - {option for option, _ in WRONG}
    assert missing == {"JWT_PUBLIC_KEY", "JWT_PRIVATE_KEY"}


@pytest.mark.parametrize(
    "claim", ["iss", "aud", "exp", "nbf", "iat", "jti", "type", "fresh", "csrf"]
)
@pytest.mark.parametrize("option", ["JWT_IDENTITY_CLAIM", "JWT_USER_CLAIMS", "JWT_SCOPE_CLAIM"])
async def test_claim_name_that_the_extension_uses_itself_is_refused(
    option: str, claim: str
) -> None:
    async with make_app(**{option: claim}).app_context():
        with pytest.raises(RuntimeError, match=option):
            qje.create_access_token("alice")


@pytest.mark.parametrize("option", ["JWT_USER_CLAIMS", "JWT_SCOPE_CLAIM"])
async def test_subject_can_be_the_identity_and_nothing_else(option: str) -> None:
    async with make_app(JWT_IDENTITY_CLAIM="sub").app_context():
        assert qje.decode_token(qje.create_access_token("alice"))["sub"] == "alice"
    async with make_app(**{option: "sub"}).app_context():
        with pytest.raises(RuntimeError, match=option):
            qje.create_access_token("alice")


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("JWT_USER_CLAIMS", "JWT_IDENTITY_CLAIM"),
        ("JWT_SCOPE_CLAIM", "JWT_IDENTITY_CLAIM"),
        ("JWT_SCOPE_CLAIM", "JWT_USER_CLAIMS"),
    ],
)
async def test_one_name_for_two_claims_is_refused(option: str, other: str) -> None:
    async with make_app(**{option: "who", other: "who"}).app_context():
        with pytest.raises(
            RuntimeError, match=f"^{option} must be a claim other than .* and differ from"
        ):
            qje.create_access_token("alice")


# --- How an option is changed --------------------------------------------------

TOKEN = hs_token(access_claims())
OTHER_TOKEN = hs_token(access_claims(), secret=OTHER_SECRET)
OPTION = "JWT_SECRET_KEY"


async def judged(app: Quart) -> tuple[int, int]:
    """The answers to the tokens of both secrets."""
    return await status_of(app, token=TOKEN), await status_of(app, token=OTHER_TOKEN)


FIRST, SECOND = (200, 422), (422, 200)


def by_item(app: Quart, name: str, value: Any) -> None:
    app.config[name] = value


def by_update(app: Quart, name: str, value: Any) -> None:
    app.config.update({name: value})


def by_update_of_keywords(app: Quart, name: str, value: Any) -> None:
    app.config.update(**{name: value})


def by_setdefault_after_del(app: Quart, name: str, value: Any) -> None:
    del app.config[name]
    assert app.config.setdefault(name, value) is value


def by_item_after_pop(app: Quart, name: str, value: Any) -> None:
    app.config.pop(name)
    app.config[name] = value


def by_union(app: Quart, name: str, value: Any) -> None:
    app.config |= {name: value}


def by_new_union(app: Quart, name: str, value: Any) -> None:
    """A plain dict takes the place of the Config."""
    app.config = app.config | {name: value}  # type: ignore[assignment]


def by_mapping(app: Quart, name: str, value: Any) -> None:
    app.config.from_mapping({name: value})


def by_object(app: Quart, name: str, value: Any) -> None:
    app.config.from_object(type("Settings", (), {name: value}))


def by_clear(app: Quart, name: str, value: Any) -> None:
    everything = {**app.config, name: value}
    app.config.clear()
    app.config.update(everything)


def by_popitem(app: Quart, name: str, value: Any) -> None:
    everything = {**app.config, name: value}
    while app.config:
        app.config.popitem()
    app.config.update(everything)


def by_new_config(app: Quart, name: str, value: Any) -> None:
    app.config = Config(app.root_path, {**app.config, name: value})


def by_copy(app: Quart, name: str, value: Any) -> None:
    changed = app.config.copy()
    changed[name] = value
    app.config = changed  # type: ignore[assignment]


def by_deletion_and_init_app(app: Quart, name: str, value: Any) -> None:
    del app.config[name]
    qje.JWTManager(app)
    app.config[name] = value


def past_the_config(app: Quart, name: str, value: Any) -> None:
    """No method of a subclass of dict is called."""
    dict.__setitem__(app.config, name, value)


def by_update_past_the_config(app: Quart, name: str, value: Any) -> None:
    dict.update(app.config, {name: value})


def by_deletion_past_the_config(app: Quart, name: str, value: Any) -> None:
    dict.__delitem__(app.config, name)
    dict.setdefault(app.config, name, value)


def by_thread(app: Quart, name: str, value: Any) -> None:
    thread = threading.Thread(target=by_item, args=(app, name, value))
    thread.start()
    thread.join()


WAYS: list[Callable[[Quart, str, Any], None]] = [
    by_item,
    by_update,
    by_update_of_keywords,
    by_setdefault_after_del,
    by_item_after_pop,
    by_union,
    by_new_union,
    by_mapping,
    by_object,
    by_clear,
    by_popitem,
    by_new_config,
    by_copy,
    by_deletion_and_init_app,
    past_the_config,
    by_update_past_the_config,
    by_deletion_past_the_config,
    by_thread,
]
every_way = pytest.mark.parametrize("change", WAYS, ids=lambda way: way.__name__)


@every_way
async def test_change_of_the_secret_takes_effect_on_the_next_request(
    change: Callable[[Quart, str, Any], None],
) -> None:
    app = make_app()
    for value, expected in [(OTHER_SECRET, SECOND), (SECRET, FIRST), (OTHER_SECRET, SECOND)]:
        change(app, OPTION, value)
        assert await judged(app) == expected
        async with app.app_context():
            jwt.decode(qje.create_access_token("a"), value, algorithms=["HS256"])


class Property(NamedTuple):
    """An option, a value for it, and the property of ``config`` that shows what is in force."""

    option: str
    value: Any
    name: str
    shown: Any


ADDED = datetime.timedelta(seconds=5)
PROPERTIES = [
    Property("JWT_TOKEN_LOCATION", ["json", "headers"], "token_location", ("json", "headers")),
    Property("JWT_HEADER_NAME", "X-Token", "header_name", "X-Token"),
    Property("JWT_HEADER_TYPE", "Token", "header_type", "Token"),
    Property("JWT_QUERY_STRING_NAME", "t", "query_string_name", "t"),
    Property("JWT_ACCESS_COOKIE_NAME", "a", "access_cookie_name", "a"),
    Property("JWT_REFRESH_COOKIE_NAME", "r", "refresh_cookie_name", "r"),
    Property("JWT_ACCESS_COOKIE_PATH", "/a", "access_cookie_path", "/a"),
    Property("JWT_REFRESH_COOKIE_PATH", "/r", "refresh_cookie_path", "/r"),
    Property("JWT_COOKIE_SECURE", True, "cookie_secure", True),
    Property("JWT_COOKIE_DOMAIN", "example.com", "cookie_domain", "example.com"),
    Property("JWT_SESSION_COOKIE", False, "session_cookie", False),
    Property("JWT_COOKIE_SAMESITE", "Lax", "cookie_samesite", "Lax"),
    Property("JWT_JSON_KEY", "a", "json_key", "a"),
    Property("JWT_REFRESH_JSON_KEY", "r", "refresh_json_key", "r"),
    Property("JWT_COOKIE_CSRF_PROTECT", False, "csrf_protect", False),
    Property("JWT_CSRF_METHODS", ["GET"], "csrf_request_methods", ("GET",)),
    Property("JWT_CSRF_IN_COOKIES", False, "csrf_in_cookies", False),
    Property("JWT_ACCESS_CSRF_HEADER_NAME", "X-A", "access_csrf_header_name", "X-A"),
    Property("JWT_REFRESH_CSRF_HEADER_NAME", "X-R", "refresh_csrf_header_name", "X-R"),
    Property("JWT_ACCESS_CSRF_COOKIE_NAME", "ca", "access_csrf_cookie_name", "ca"),
    Property("JWT_REFRESH_CSRF_COOKIE_NAME", "cr", "refresh_csrf_cookie_name", "cr"),
    Property("JWT_ACCESS_CSRF_COOKIE_PATH", "/ca", "access_csrf_cookie_path", "/ca"),
    Property("JWT_REFRESH_CSRF_COOKIE_PATH", "/cr", "refresh_csrf_cookie_path", "/cr"),
    Property("JWT_CSRF_CHECK_FORM", True, "csrf_check_form", True),
    Property("JWT_ACCESS_CSRF_FIELD_NAME", "fa", "access_csrf_field_name", "fa"),
    Property("JWT_REFRESH_CSRF_FIELD_NAME", "fr", "refresh_csrf_field_name", "fr"),
    Property("JWT_ACCESS_TOKEN_EXPIRES", ADDED, "access_expires", ADDED),
    Property("JWT_REFRESH_TOKEN_EXPIRES", ADDED, "refresh_expires", ADDED),
    Property("JWT_ALGORITHM", "HS512", "algorithm", "HS512"),
    Property("JWT_DECODE_ALGORITHMS", ["HS512"], "decode_algorithms", ("HS512", "HS256")),
    Property("JWT_SECRET_KEY", OTHER_SECRET, "decode_key", OTHER_SECRET),
    Property("JWT_IDENTITY_CLAIM", "sub", "identity_claim_key", "sub"),
    Property("JWT_USER_CLAIMS", "extra", "user_claims_key", "extra"),
    Property("JWT_CLAIMS_IN_REFRESH_TOKEN", True, "user_claims_in_refresh_token", True),
    Property("JWT_ENCODE_ISSUER", "us", "encode_issuer", "us"),
    Property("JWT_DECODE_ISSUER", "us", "decode_issuer", "us"),
    Property("JWT_DECODE_AUDIENCE", "us", "audience", "us"),
    Property("JWT_DECODE_LEEWAY", 7, "leeway", 7),
    Property("JWT_BLACKLIST_ENABLED", True, "blacklist_enabled", True),
    Property("JWT_BLACKLIST_TOKEN_CHECKS", ["access"], "blacklist_checks", ("access",)),
    Property("JWT_ERROR_MESSAGE_KEY", "error", "error_msg_key", "error"),
]


def comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


@every_way
async def test_change_of_any_option_is_seen_and_taken_back(
    change: Callable[[Quart, str, Any], None],
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=("headers", "cookies"))
    async with app.app_context():
        for row in PROPERTIES:
            original = app.config[row.option]
            before = comparable(getattr(config, row.name))
            assert before != row.shown
            change(app, row.option, row.value)
            assert comparable(getattr(config, row.name)) == row.shown, row.option
            change(app, row.option, original)
            assert comparable(getattr(config, row.name)) == before, row.option


async def test_last_of_many_changes_is_in_force_for_every_option() -> None:
    """No number of changes between two looks makes one of them go unseen."""
    app = make_app(JWT_TOKEN_LOCATION=("headers", "cookies"))
    async with app.app_context():
        for row in PROPERTIES:
            original = app.config[row.option]
            for changes in (1, 2, 3, 255, 256, 257):
                for number in range(changes):
                    app.config[row.option] = (row.value, original)[number % 2]
                assert (comparable(getattr(config, row.name)) == row.shown) == (changes % 2 == 1)
                app.config[row.option] = original
                assert comparable(getattr(config, row.name)) != row.shown


async def test_options_without_a_property_are_seen_too() -> None:
    app = make_app(JWT_IDENTITY_CLAIM="sub")
    number = hs_token(access_claims(identity=..., sub=5))
    for _ in range(3):
        assert await status_of(app, token=number) == 422
        app.config["JWT_VERIFY_SUB"] = False
        assert await status_of(app, token=number) == 200
        app.config["JWT_MAX_TOKEN_SIZE"] = 10
        assert await status_of(app, token=number) == 422
        app.config["JWT_MAX_TOKEN_SIZE"] = len(number)
        assert await status_of(app, token=number) == 200
        app.config["JWT_VERIFY_SUB"] = True
    app.config["JWT_CSRF_HEADER_NAME"] = "X-Old"
    with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
        async with app.app_context():
            assert config.access_csrf_header_name == "X-Old"


# --- Removal ------------------------------------------------------------------


def removed_by_del(app: Quart, name: str) -> None:
    del app.config[name]


def removed_by_pop(app: Quart, name: str) -> None:
    app.config.pop(name)


def removed_by_new_config(app: Quart, name: str) -> None:
    kept = {key: value for key, value in app.config.items() if key != name}
    app.config = Config(app.root_path, kept)


def removed_past_the_config(app: Quart, name: str) -> None:
    dict.pop(app.config, name)


@pytest.mark.parametrize(
    "remove",
    [removed_by_del, removed_by_pop, removed_by_new_config, removed_past_the_config],
    ids=lambda way: way.__name__,
)
async def test_removed_option_has_its_default_on_the_next_request(
    remove: Callable[[Quart, str], None],
) -> None:
    app = make_app(JWT_HEADER_TYPE="Token", JWT_DECODE_AUDIENCE="us", SECRET_KEY=OTHER_SECRET)
    ours = hs_token(access_claims(aud="us"))
    assert await status_of(app, headers={"Authorization": f"Token {ours}"}) == 200
    remove(app, "JWT_HEADER_TYPE")
    assert await status_of(app, token=ours) == 200
    remove(app, "JWT_DECODE_AUDIENCE")
    assert (await status_of(app, token=ours), await status_of(app, token=TOKEN)) == (422, 200)
    remove(app, OPTION)
    assert await judged(app) == SECOND
    app.config[OPTION] = SECRET
    assert await judged(app) == FIRST


async def test_option_removed_while_it_has_its_default_changes_nothing() -> None:
    app = make_app()
    async with app.app_context():
        for row in PROPERTIES:
            if row.option == OPTION:
                continue
            before = comparable(getattr(config, row.name))
            del app.config[row.option]
            assert comparable(getattr(config, row.name)) == before
    assert await judged(app) == FIRST


async def test_config_that_lost_everything_needs_a_secret_again() -> None:
    app = make_app()
    everything = dict(app.config)
    async with app.app_context():
        qje.decode_token(TOKEN)
        app.config.clear()
        with pytest.raises(RuntimeError, match="JWT_SECRET_KEY or SECRET_KEY must be set"):
            qje.decode_token(TOKEN)
        app.config["SECRET_KEY"] = SECRET
        assert qje.decode_token(TOKEN)["identity"] == "alice"
        app.config.update(everything)
        assert qje.decode_token(TOKEN)["identity"] == "alice"


async def test_secret_key_of_the_app_is_followed_while_it_is_the_fallback() -> None:
    app = make_app(JWT_SECRET_KEY=None, SECRET_KEY=SECRET)
    for _ in range(3):
        assert await judged(app) == FIRST
        app.config["SECRET_KEY"] = OTHER_SECRET
        assert await judged(app) == SECOND
        app.config["JWT_SECRET_KEY"] = SECRET
        assert await judged(app) == FIRST
        app.config["SECRET_KEY"] = SECRET
        assert await judged(app) == FIRST
        app.config["JWT_SECRET_KEY"] = None
        app.secret_key = OTHER_SECRET
        assert await judged(app) == SECOND
        # Not by a request: Quart's sessions fail without the key.
        del app.config["SECRET_KEY"]
        async with app.app_context():
            with pytest.raises(RuntimeError, match="JWT_SECRET_KEY or SECRET_KEY must be set"):
                qje.decode_token(TOKEN)
        app.secret_key = SECRET


# --- Values that can change in place ------------------------------------------

HS384 = hs_token(access_claims(), alg="HS384")


class OwnList(list):  # type: ignore[type-arg]
    """What a settings library may hand over."""


class OwnSet(set):  # type: ignore[type-arg]
    """What a settings library may hand over."""


@pytest.mark.parametrize("kind", [list, OwnList])
async def test_every_change_inside_a_list_takes_effect(kind: type) -> None:
    names = kind(["HS384"])
    app = make_app(JWT_DECODE_ALGORITHMS=names)

    async def accepted() -> tuple[bool, bool]:
        return await status_of(app, token=HS384) == 200, await status_of(app, token=HS512) == 200

    def exchange() -> None:
        names[0] = "HS512"

    def exchange_back() -> None:
        names[:] = ["HS384"]

    def grow() -> None:
        names.__iadd__(["HS512"])

    def delete() -> None:
        del names[0]

    steps: list[tuple[Callable[[], Any], tuple[bool, bool]]] = [
        (lambda: None, (True, False)),
        (exchange, (False, True)),
        (exchange_back, (True, False)),
        (grow, (True, True)),
        (delete, (False, True)),
        (lambda: names.insert(0, "HS384"), (True, True)),
        (names.reverse, (True, True)),
        (lambda: names.remove("HS512"), (True, False)),
        (lambda: names.append("HS512"), (True, True)),
        (lambda: names.pop(), (True, False)),
        (lambda: names.extend(["HS384", "HS384"]), (True, False)),
        (names.clear, (False, False)),
        (lambda: list.append(names, "HS512"), (False, True)),
    ]
    for step, expected in steps:
        step()
        assert await accepted() == expected
        assert await accepted() == expected
    assert app.config["JWT_DECODE_ALGORITHMS"] is names


@pytest.mark.parametrize("kind", [set, OwnSet])
async def test_every_change_inside_a_set_takes_effect(kind: type) -> None:
    names = kind({"HS384"})
    app = make_app(JWT_DECODE_ALGORITHMS=names)

    def swap() -> None:
        """As many members as before."""
        names.discard("HS384")
        names.add("HS512")

    steps: list[tuple[Callable[[], Any], tuple[int, int]]] = [
        (lambda: None, (200, 422)),
        (swap, (422, 200)),
        (lambda: names.add("HS384"), (200, 200)),
        (lambda: names.remove("HS512"), (200, 422)),
        (lambda: names.update({"HS512"}), (200, 200)),
        (lambda: names.__iand__({"HS512"}), (422, 200)),
        (lambda: names.__ixor__({"HS512", "HS384"}), (200, 422)),
        (names.clear, (422, 422)),
        (lambda: names.__ior__({"HS384"}), (200, 422)),
        (names.pop, (422, 422)),
    ]
    for step, expected in steps:
        step()
        assert (await status_of(app, token=HS384), await status_of(app, token=HS512)) == expected
    assert app.config["JWT_DECODE_ALGORITHMS"] is names


async def test_order_changed_inside_a_list_takes_effect() -> None:
    """The order of the locations is their precedence."""
    locations = ["headers", "query_string"]
    app = make_app(JWT_TOKEN_LOCATION=locations)
    for expected in (200, 422, 200, 422):
        assert await status_of(app, token=TOKEN, path="/protected?jwt=bad") == expected
        locations.reverse()
    locations.sort()
    assert await status_of(app, token=TOKEN, path="/protected?jwt=bad") == 200


async def test_changes_inside_two_lists_at_once_take_effect() -> None:
    audience, methods = ["them"], ["POST"]
    app = make_app(
        JWT_TOKEN_LOCATION="cookies", JWT_DECODE_AUDIENCE=audience, JWT_CSRF_METHODS=methods
    )
    headers = {"Cookie": f"access_token_cookie={hs_token(access_claims(aud='us', csrf='c'))}"}
    assert await status_of(app, headers=headers) == 422
    audience[0] = "us"
    assert await status_of(app, headers=headers) == 200
    methods[0] = "GET"
    assert await status_of(app, headers=headers) == 401
    audience[0], methods[0] = "them", "PUT"
    assert await status_of(app, headers=headers) == 422


async def test_default_list_changed_in_place_is_changed_in_its_own_app_alone() -> None:
    first, second = (make_app(JWT_TOKEN_LOCATION="cookies") for _ in range(2))
    headers = {"Cookie": f"access_token_cookie={hs_token(access_claims(csrf='c'))}"}
    first.config["JWT_CSRF_METHODS"].append("GET")
    assert await status_of(first, headers=headers) == 401
    assert await status_of(second, headers=headers) == 200
    assert await status_of(make_app(JWT_TOKEN_LOCATION="cookies"), headers=headers) == 200


async def test_list_exchanged_for_an_equal_one_is_followed_from_then_on() -> None:
    old, new = ["HS384"], ["HS384"]
    app = make_app(JWT_DECODE_ALGORITHMS=old)
    assert await status_of(app, token=HS384) == 200
    app.config["JWT_DECODE_ALGORITHMS"] = new
    assert await status_of(app, token=HS384) == 200
    old[0] = "HS512"
    assert (await status_of(app, token=HS384), await status_of(app, token=HS512)) == (200, 422)
    new[0] = "HS512"
    assert (await status_of(app, token=HS384), await status_of(app, token=HS512)) == (422, 200)
    app.config["JWT_DECODE_ALGORITHMS"] = tuple(new)
    new[0] = "HS384"
    assert (await status_of(app, token=HS384), await status_of(app, token=HS512)) == (422, 200)


# --- Values that are equal, but not the same ----------------------------------


async def test_equal_value_in_another_object_changes_nothing() -> None:
    app = make_app(JWT_DECODE_AUDIENCE=["us"], JWT_DECODE_LEEWAY=datetime.timedelta(seconds=5))
    token = hs_token(access_claims(aud="us"))
    for _ in range(3):
        assert await status_of(app, token=token) == 200
        app.config[OPTION] = SECRET.encode().decode()
        app.config["JWT_HEADER_TYPE"] = "".join(["Bear", "er"])
        app.config["JWT_DECODE_AUDIENCE"] = ["us"]
        app.config["JWT_DECODE_LEEWAY"] = datetime.timedelta(seconds=5)
        app.config["JWT_TOKEN_LOCATION"] = ["headers"]


@pytest.mark.parametrize(
    "lifetime",
    [0, -1, datetime.timedelta(0), datetime.timedelta(seconds=-1), datetime.timedelta.max],
    ids=repr,
)
@pytest.mark.parametrize(
    ("option", "create"),
    [
        ("JWT_ACCESS_TOKEN_EXPIRES", qje.create_access_token),
        ("JWT_REFRESH_TOKEN_EXPIRES", qje.create_refresh_token),
    ],
)
async def test_lifetime_that_is_none_or_endless_is_rejected_and_false_named(
    option: str, create: Any, lifetime: Any
) -> None:
    """On 0.1.0 a token of 0 seconds never expired; False says that."""
    app = make_app()
    async with app.app_context():
        app.config[option] = False
        assert "exp" not in qje.decode_token(create("a"))
        app.config[option] = lifetime
        with pytest.raises(RuntimeError, match=f"{option} must be .* or False for tokens that"):
            create("a")


@pytest.mark.parametrize(
    ("option", "good", "wrong"),
    [
        ("JWT_DECODE_LEEWAY", 1, True),
        ("JWT_DECODE_LEEWAY", 0, False),
        ("JWT_ACCESS_TOKEN_EXPIRES", 1, True),
        ("JWT_ACCESS_TOKEN_EXPIRES", 900, 900.0),
        ("JWT_MAX_TOKEN_SIZE", 16384, 16384.0),
        ("JWT_SIGNATURE_CACHE_SIZE", 1, True),
        ("JWT_SIGNATURE_CACHE_SIZE", 0, 0.0),
        ("JWT_DECODE_ALGORITHMS", ["HS256"], {"HS256": "HS256"}),
    ],
)
async def test_wrong_value_that_equals_the_good_one_is_refused(
    option: str, good: Any, wrong: Any
) -> None:
    app = make_app(**{option: good})
    for _ in range(3):
        assert await status_of(app, token=TOKEN) == 200
        app.config[option] = wrong
        with pytest.raises(RuntimeError, match=option):
            await status_of(app, token=TOKEN)
        app.config[option] = good


class Agreeable(str):
    """A string that calls itself equal to every other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


async def test_value_that_calls_itself_equal_to_all_others_is_a_change() -> None:
    app = make_app(JWT_ERROR_MESSAGE_KEY=Agreeable("one"))
    for name in ("one", "two", "three"):
        app.config["JWT_ERROR_MESSAGE_KEY"] = Agreeable(name)
        response = await app.test_client().get("/protected")
        assert list(json.loads(await response.get_data())) == [name]


class Incomparable:
    """A lifetime that, like an array of numpy, has no truth when it is compared."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __radd__(self, other: datetime.datetime) -> datetime.datetime:
        return other + datetime.timedelta(seconds=self.seconds)

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    __hash__ = None  # type: ignore[assignment]


async def test_value_that_cannot_be_compared_or_hashed_is_followed() -> None:
    app = make_app()
    async with app.app_context():
        for seconds in (100, 200, 300):
            app.config["JWT_ACCESS_TOKEN_EXPIRES"] = Incomparable(seconds)
            for _ in range(2):
                claims = qje.decode_token(qje.create_access_token("a"))
                assert claims["exp"] - claims["iat"] in (seconds, seconds + 1)


async def test_new_object_at_the_address_of_the_old_one_is_a_change() -> None:
    """An address is used again as soon as its object is gone; what is remembered must live on."""
    app = make_app()
    async with app.app_context():
        for number in range(1000):
            name = f"name{number}"
            app.config["JWT_ERROR_MESSAGE_KEY"] = name
            assert config.error_msg_key == f"name{number}"
            del name, app.config["JWT_ERROR_MESSAGE_KEY"]


# --- Moments ------------------------------------------------------------------


async def test_change_before_the_request_reaches_its_view_takes_effect() -> None:
    app = make_app()
    secrets = [OTHER_SECRET, SECRET, OTHER_SECRET]

    @app.before_request
    async def rotate() -> None:
        app.config[OPTION] = secrets.pop()

    assert [await status_of(app, token=TOKEN) for _ in range(3)] == [422, 200, 422]


async def test_change_between_two_verifications_of_one_request_takes_effect() -> None:
    app = make_app()
    seen = []

    @app.get("/twice")
    async def twice() -> dict[str, Any]:
        for secret in (SECRET, OTHER_SECRET, SECRET, OTHER_SECRET):
            app.config[OPTION] = secret
            try:
                await qje.verify_jwt_in_request()
                seen.append("accepted")
            except jwt.InvalidSignatureError:
                seen.append("refused")
        return {}

    assert await status_of(app, token=TOKEN, path="/twice") == 200
    assert seen == ["accepted", "refused"] * 2


async def test_change_after_a_verification_before_the_request_takes_effect_in_the_view() -> None:
    app = make_app()

    @app.before_request
    async def check_and_change() -> None:
        await qje.verify_jwt_in_request()
        app.config[OPTION] = OTHER_SECRET

    assert await status_of(app, token=TOKEN) == 422
    assert app.calls == []


async def test_request_that_waits_goes_on_with_its_own_options() -> None:
    """As docs/options.md promises; the next one has the new options."""
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    asked, go_on = asyncio.Event(), asyncio.Event()

    @app.extensions["quart-jwt-extended"].token_in_blacklist_loader
    async def is_revoked(claims: dict[str, Any]) -> bool:
        asked.set()
        await go_on.wait()
        return False

    app.config["JWT_IDENTITY_CLAIM"] = "sub"
    token = hs_token(access_claims(identity=..., sub="bob"))
    waiting = asyncio.ensure_future(
        app.test_client().get("/protected", headers=bearer(token)),
    )
    await asyncio.wait_for(asked.wait(), 10)
    app.config["JWT_IDENTITY_CLAIM"] = "identity"
    app.config[OPTION] = OTHER_SECRET
    go_on.set()
    response = await asyncio.wait_for(waiting, 10)
    assert (await response.get_json())["identity"] == "bob"
    assert await judged(app) == SECOND


async def test_change_made_by_a_callback_takes_effect_on_the_next_request() -> None:
    app = make_app()

    @app.extensions["quart-jwt-extended"].user_loader_callback_loader
    def load(identity: str) -> str:
        app.config[OPTION] = OTHER_SECRET
        return identity

    assert await status_of(app, token=TOKEN) == 200
    assert await status_of(app, token=TOKEN) == 422
    assert await status_of(app, token=OTHER_TOKEN) == 200


# --- Threads and applications -------------------------------------------------


async def test_change_in_another_thread_is_seen_at_once() -> None:
    app = make_app()
    for secret, expected in [(OTHER_SECRET, SECOND), (SECRET, FIRST)] * 5:
        await asyncio.to_thread(by_item, app, OPTION, secret)
        assert await judged(app) == expected


async def test_changes_in_another_thread_while_tokens_are_verified_lose_nothing() -> None:
    """Each verification has one of the two configurations, and the last change stays."""
    app = make_app()
    stop = threading.Event()
    turns = 0

    def alternate() -> None:
        nonlocal turns
        while not stop.is_set() or turns % 2:
            app.config[OPTION] = (OTHER_SECRET, SECRET)[turns % 2]
            turns += 1

    outcomes = {"accepted": 0, "refused": 0}
    thread = threading.Thread(target=alternate)
    async with app.app_context():
        thread.start()
        try:
            for _ in range(2000):
                try:
                    qje.decode_token(TOKEN)
                    outcomes["accepted"] += 1
                except jwt.InvalidSignatureError:
                    outcomes["refused"] += 1
        finally:
            stop.set()
            thread.join()
    assert sum(outcomes.values()) == 2000
    assert turns > 2
    assert app.config[OPTION] == SECRET
    assert await judged(app) == FIRST


async def test_each_thread_sees_its_own_change_at_once() -> None:
    """Of two applications under one manager, changed and used in two threads."""
    manager = qje.JWTManager()
    apps = [make_app(), make_app()]
    for app in apps:
        manager.init_app(app)
    failures: list[str] = []

    async def work(app: Quart, number: int) -> None:
        async with app.app_context():
            for turn in range(1000):
                name = f"name{number}-{turn}"
                app.config["JWT_ERROR_MESSAGE_KEY"] = name
                if config.error_msg_key != name:
                    failures.append(name)

    def run(number: int) -> None:
        asyncio.run(work(apps[number], number))

    await asyncio.gather(*(asyncio.to_thread(run, number) for number in range(2)))
    assert failures == []


async def test_two_applications_of_one_manager_have_their_own_options() -> None:
    manager = qje.JWTManager()
    first, second = make_app(), make_app()
    manager.init_app(first)
    manager.init_app(second)
    for secret, expected in [(OTHER_SECRET, SECOND), (SECRET, FIRST)] * 3:
        second.config[OPTION] = secret
        assert await judged(first) == FIRST
        assert await judged(second) == expected
    first.config = second.config
    second.config[OPTION] = OTHER_SECRET
    assert await judged(first) == SECOND
    assert await judged(second) == SECOND


async def test_configs_of_two_applications_exchanged_are_followed() -> None:
    first, second = make_app(), make_app(JWT_SECRET_KEY=OTHER_SECRET)
    for expected in (FIRST, SECOND, FIRST, SECOND):
        assert await judged(first) == expected
        assert await judged(second) == expected[::-1]
        first.config, second.config = second.config, first.config


async def test_thousands_of_alternations_are_all_seen() -> None:
    app = make_app()
    configs = [app.config, Config(app.root_path, {**app.config, OPTION: OTHER_SECRET})]
    tokens = [TOKEN, OTHER_TOKEN]
    async with app.app_context():
        for turn in range(1000):
            app.config = configs[turn % 2]
            assert qje.decode_token(tokens[turn % 2])["identity"] == "alice"
            with pytest.raises(jwt.InvalidSignatureError):
                qje.decode_token(tokens[1 - turn % 2])
        for turn in range(1000):
            app.config[OPTION] = (SECRET, OTHER_SECRET)[turn % 2]
            assert qje.decode_token(tokens[turn % 2])["identity"] == "alice"
        with pytest.raises(jwt.InvalidSignatureError):
            qje.decode_token(TOKEN)


async def test_unrelated_change_breaks_nothing() -> None:
    app = make_app()
    async with app.app_context():
        for number in range(500):
            app.config["X"] = number
            app.config[f"X{number}"] = {}
            app.config.update({f"jwt_{number}": 1, "JWT_UNKNOWN": number, "TESTING": True})
            assert qje.decode_token(TOKEN)["identity"] == "alice"
        app.config.pop("X")
        app.config[5] = "no name"  # type: ignore[index]
        assert qje.decode_token(TOKEN)["identity"] == "alice"
    assert await judged(app) == FIRST


async def test_change_beside_an_unrelated_one_is_seen() -> None:
    """The number of options stays the same, and so may the size of the dict."""
    app = make_app()
    for number, (secret, expected) in enumerate([(OTHER_SECRET, SECOND), (SECRET, FIRST)] * 3):
        del app.config[OPTION]
        app.config[f"X{number}"] = number
        app.config.pop(f"X{number - 1}", None)
        app.config[OPTION] = secret
        assert await judged(app) == expected


# --- Configs of other classes -------------------------------------------------


async def test_computed_value_of_a_config_class_is_computed_for_every_request() -> None:
    """Secrets that are fetched on demand; nothing stored in the dict changes."""
    current = [SECRET]

    class Computed(Config):
        def __getitem__(self, name: str) -> Any:
            return current[0] if name == OPTION else super().__getitem__(name)

    app = make_app()
    app.config = Computed(app.root_path, dict(app.config))
    for secret, expected in [(SECRET, FIRST), (OTHER_SECRET, SECOND), (SECRET, FIRST)]:
        current[0] = secret
        assert await judged(app) == expected
    app.config = Config(app.root_path, {**app.config, OPTION: OTHER_SECRET})
    assert await judged(app) == SECOND


async def test_computed_option_is_read_once_for_each_request() -> None:
    """The bound that the page on options promises."""
    reads: collections.Counter[str] = collections.Counter()

    class Counting(Config):
        def __getitem__(self, name: str) -> Any:
            reads[name] += 1
            return super().__getitem__(name)

    app = make_app()
    app.config = Counting(app.root_path, dict(app.config))
    for path, token in (("/protected", TOKEN), ("/protected", None), ("/open", None)):
        for _ in range(2):
            reads.clear()
            await status_of(app, path, token)
            of_options = {name: reads[name] for name in reads if name in qje.DEFAULTS}
            assert set(of_options.values()) <= {1}
            assert len(of_options) == (0 if path == "/open" else len(qje.DEFAULTS))


async def test_getter_put_into_a_config_class_later_is_used() -> None:
    class Late(Config):
        pass

    app = make_app()
    app.config = Late(app.root_path, dict(app.config))
    assert await judged(app) == FIRST
    getitem = dict.__getitem__
    Late.__getitem__ = (  # type: ignore[method-assign]
        lambda self, name: OTHER_SECRET if name == OPTION else getitem(self, name)
    )
    assert await judged(app) == SECOND
    del Late.__getitem__
    assert await judged(app) == FIRST


# --- Wrong values, until they are put right ------------------------------------


@every_way
async def test_wrong_value_is_named_until_it_is_put_right(
    change: Callable[[Quart, str, Any], None],
) -> None:
    app = make_app()
    async with app.app_context():
        for option, wrong in [
            ("JWT_HEADER_NAME", None),
            ("JWT_DECODE_LEEWAY", -1),
            ("JWT_ALGORITHM", "none"),
            ("JWT_MAX_TOKEN_SIZE", "1"),
        ] * 2:
            right = app.config[option]
            change(app, option, wrong)
            # Once is not enough: an error must not leave half of the new options in force.
            for _ in range(3):
                with pytest.raises(RuntimeError, match=option):
                    qje.decode_token(TOKEN)
            change(app, option, right)
            assert qje.decode_token(TOKEN)["identity"] == "alice"
    assert await judged(app) == FIRST


async def test_list_that_becomes_wrong_in_place_is_named_until_it_is_put_right() -> None:
    names = ["HS384"]
    app = make_app(JWT_DECODE_ALGORITHMS=names)
    for wrong in ("XX999", 5, None, ["HS384"], "hs384"):
        assert await status_of(app, token=HS384) == 200
        names.append(wrong)  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(RuntimeError, match="JWT_DECODE_ALGORITHMS"):
                await status_of(app, token=HS384)
        names.pop()
    assert await status_of(app, token=HS384) == 200


async def test_second_wrong_value_is_named_once_the_first_is_put_right() -> None:
    app = make_app()
    assert await status_of(app, token=TOKEN) == 200
    app.config.update(JWT_HEADER_NAME=5, JWT_DECODE_LEEWAY="x", JWT_JSON_KEY="")
    named = []
    for _ in range(3):
        with pytest.raises(RuntimeError) as caught:
            await status_of(app, token=TOKEN)
        option = str(caught.value).split()[0]
        named.append(option)
        app.config.pop(option)
    assert sorted(named) == ["JWT_DECODE_LEEWAY", "JWT_HEADER_NAME", "JWT_JSON_KEY"]
    assert await judged(app) == FIRST


async def test_options_before_a_wrong_value_do_not_come_back_after_it() -> None:
    app = make_app()
    assert await judged(app) == FIRST
    app.config.update({OPTION: OTHER_SECRET, "JWT_HEADER_NAME": None})
    with pytest.raises(RuntimeError, match="JWT_HEADER_NAME"):
        await status_of(app, token=TOKEN)
    app.config["JWT_HEADER_NAME"] = "Authorization"
    assert await judged(app) == SECOND


class Neighbour:
    """A key of a dict in the place of an option, with which it is compared at each look-up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.looks = 0

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        self.looks += 1
        return False


async def test_options_are_looked_at_after_a_change_alone() -> None:
    """Comparing all of them costs half a microsecond for each token."""
    app = make_app()
    neighbour = Neighbour(OPTION)
    del app.config[OPTION]
    app.config[neighbour] = None  # type: ignore[index]
    app.config[OPTION] = SECRET
    can_tell = not sysconfig.get_config_var("Py_GIL_DISABLED")
    async with app.app_context():
        for change in (lambda: None, lambda: app.config.update(X=1), lambda: app.config.pop("X")):
            change()
            neighbour.looks = 0
            # The first may make a new snapshot, with which the next compares.
            for _ in range(2):
                qje.decode_token(TOKEN)
            assert neighbour.looks > 0
            neighbour.looks = 0
            for _ in range(5):
                qje.decode_token(TOKEN)
            assert (neighbour.looks == 0) == can_tell
