"""What browsers ask of a cookie before they keep it: prefixes, SameSite, Partitioned, its size.

A browser drops a cookie that breaks a rule without a word, which looks like a login that does not
last. So every rule here is an error at the server.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart, Response, got_request_exception
from werkzeug.http import dump_cookie

import quart_jwt_extended as qje
from support import access_claims, bearer, hs_token, make_app, refresh_claims, token_of_size

TOKEN = hs_token(access_claims(csrf="access-csrf"))
REFRESH_TOKEN = hs_token(refresh_claims(csrf="refresh-csrf"))

SET = {
    "access": lambda response, **kwargs: qje.set_access_cookies(response, TOKEN, **kwargs),
    "refresh": lambda response, **kwargs: qje.set_refresh_cookies(
        response, REFRESH_TOKEN, **kwargs
    ),
}
UNSET: dict[str, Callable[..., None]] = {
    "access": qje.unset_access_cookies,
    "refresh": qje.unset_refresh_cookies,
}

Cookies = list[dict[str, Any]]


def cookie_app(**options: Any) -> Quart:
    return make_app(**{"JWT_TOKEN_LOCATION": ["cookies"], **options})


def cookies_in(response: Response) -> Cookies:
    """Every Set-Cookie field in its order: name, value and attributes, flags as True."""
    cookies = []
    for line in response.headers.getlist("Set-Cookie"):
        first, *rest = line.split("; ")
        name, _, value = first.partition("=")
        cookie: dict[str, Any] = {"": name, "value": value}
        for part in rest:
            key, separator, text = part.partition("=")
            assert key not in cookie, line
            cookie[key] = text if separator else True
        cookies.append(cookie)
    return cookies


async def cookies_of(app: Quart, helper: Callable[..., None], **keywords: Any) -> Cookies:
    """The cookies that a helper puts into a fresh response."""
    async with app.app_context():
        response = Response("")
        assert helper(response, **keywords) is None
        return cookies_in(response)


async def fault(app: Quart, helper: Callable[..., None] = SET["access"], **keywords: Any) -> str:
    """The text of the RuntimeError for wrong options, which leaves the response alone."""
    async with app.app_context():
        response = Response("")
        with pytest.raises(RuntimeError) as caught:
            helper(response, **keywords)
        assert type(caught.value) is RuntimeError
        assert cookies_in(response) == []
    return str(caught.value)


# --- Partitioned ---------------------------------------------------------------------------------

# Werkzeug 3.0 has no name for the attribute.
CAN_PARTITION = "partitioned" in inspect.signature(dump_cookie).parameters
PARTITIONED = [True] if CAN_PARTITION else []


async def test_partitioned_names_the_release_that_it_needs() -> None:
    app = cookie_app(JWT_COOKIE_PARTITIONED=True, JWT_COOKIE_SECURE=True)
    if CAN_PARTITION:
        assert len(await cookies_of(app, SET["access"])) == 2
    else:
        assert await fault(app) == "JWT_COOKIE_PARTITIONED needs Werkzeug 3.1 or later"


@pytest.mark.parametrize("kind", SET)
@pytest.mark.parametrize("value", [True, 1] if CAN_PARTITION else [])
async def test_partitioned_reaches_every_cookie_set_or_cleared(kind: str, value: Any) -> None:
    app = cookie_app(JWT_COOKIE_PARTITIONED=value, JWT_COOKIE_SECURE=True)
    for helper in (SET[kind], UNSET[kind]):
        cookies = await cookies_of(app, helper)
        assert [(c["Partitioned"], c["Secure"]) for c in cookies] == [(True, True)] * 2


@pytest.mark.parametrize("options", [{}, {"JWT_COOKIE_PARTITIONED": False}], ids=str)
async def test_cookies_are_not_partitioned_by_default(options: dict[str, Any]) -> None:
    for cookie in await cookies_of(cookie_app(JWT_COOKIE_SECURE=True, **options), SET["access"]):
        assert "Partitioned" not in cookie


@pytest.mark.parametrize("value", [True, 1] if CAN_PARTITION else [])
async def test_partitioned_without_secure_is_refused(value: Any) -> None:
    message = await fault(cookie_app(JWT_COOKIE_PARTITIONED=value))
    assert message.startswith("JWT_COOKIE_PARTITIONED = True needs JWT_COOKIE_SECURE = True")


@pytest.mark.parametrize("value", [None, "True", "", 2, 1.5, []], ids=repr)
async def test_partitioned_that_is_no_flag_is_refused(value: Any) -> None:
    app = cookie_app(JWT_COOKIE_PARTITIONED=value, JWT_COOKIE_SECURE=True)
    assert (await fault(app)).startswith("JWT_COOKIE_PARTITIONED must be True or False, not ")


async def test_partitioned_default_is_listed() -> None:
    assert cookie_app().config["JWT_COOKIE_PARTITIONED"] is False


# --- SameSite=None -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["None", "none", "NONE"])
async def test_samesite_none_without_secure_is_refused(value: str) -> None:
    message = await fault(cookie_app(JWT_COOKIE_SAMESITE=value))
    assert message.startswith('JWT_COOKIE_SAMESITE = "None" needs JWT_COOKIE_SECURE = True')


@pytest.mark.parametrize("value", ["None", "none", "NONE"])
async def test_samesite_none_with_secure_is_set(value: str) -> None:
    app = cookie_app(JWT_COOKIE_SAMESITE=value, JWT_COOKIE_SECURE=True)
    for cookie in await cookies_of(app, SET["access"]):
        assert (cookie["SameSite"], cookie["Secure"]) == ("None", True)


@pytest.mark.parametrize("value", [None, "Lax", "strict"])
async def test_other_samesite_needs_no_secure(value: str | None) -> None:
    cookies = await cookies_of(cookie_app(JWT_COOKIE_SAMESITE=value), SET["access"])
    expected = value.title() if value else None
    assert [cookie.get("SameSite") for cookie in cookies] == [expected] * 2


# --- prefixes of names ---------------------------------------------------------------------------

# By name option, the option of the path that goes with it, and which helper sets the cookie.
NAMED = {
    "JWT_ACCESS_COOKIE_NAME": ("JWT_ACCESS_COOKIE_PATH", "access"),
    "JWT_REFRESH_COOKIE_NAME": ("JWT_REFRESH_COOKIE_PATH", "refresh"),
    "JWT_ACCESS_CSRF_COOKIE_NAME": ("JWT_ACCESS_CSRF_COOKIE_PATH", "access"),
    "JWT_REFRESH_CSRF_COOKIE_NAME": ("JWT_REFRESH_CSRF_COOKIE_PATH", "refresh"),
}

# Browsers compare the prefixes without their case.
HOST_NAMES = ["__Host-jwt", "__host-jwt", "__HOST-jwt", "__hOsT-jwt", "__Host-"]
SECURE_NAMES = ["__Secure-jwt", "__secure-jwt", "__SECURE-jwt", "__sEcUrE-", "__Secure-__Host-x"]
PLAIN_NAMES = ["Host-jwt", "_Host-jwt", "__Hostjwt", "__Host_jwt", "x__Host-jwt", "__Securejwt"]

OPTIONS = pytest.mark.parametrize("option", NAMED)


@OPTIONS
@pytest.mark.parametrize("name", [*HOST_NAMES, *SECURE_NAMES])
async def test_prefixed_name_without_secure_is_refused(option: str, name: str) -> None:
    message = await fault(cookie_app(**{option: name}))
    assert message == f"{option} = {name!r} needs JWT_COOKIE_SECURE = True"


@OPTIONS
@pytest.mark.parametrize("name", [*HOST_NAMES, *SECURE_NAMES])
async def test_prefixed_name_with_secure_names_the_cookie(option: str, name: str) -> None:
    app = cookie_app(**{option: name, "JWT_COOKIE_SECURE": True})
    for helper in (SET[NAMED[option][1]], UNSET[NAMED[option][1]]):
        (cookie,) = [c for c in await cookies_of(app, helper) if c[""] == name]
        assert (cookie["Secure"], cookie["Path"], "Domain" in cookie) == (True, "/", False)


@OPTIONS
@pytest.mark.parametrize("name", HOST_NAMES)
@pytest.mark.parametrize("path", ["/api", "", None, "//", "/ "])
async def test_host_name_with_another_path_is_refused(
    option: str, name: str, path: str | None
) -> None:
    path_option = NAMED[option][0]
    app = cookie_app(**{option: name, path_option: path, "JWT_COOKIE_SECURE": True})
    assert await fault(app) == f"{option} = {name!r} needs {path_option} = '/'"


@OPTIONS
async def test_paths_of_the_other_cookies_do_not_matter_to_a_host_name(option: str) -> None:
    paths = {path: "/api" for name, (path, _) in NAMED.items() if name != option}
    app = cookie_app(**{option: "__Host-jwt", "JWT_COOKIE_SECURE": True}, **paths)
    cookies = await cookies_of(app, SET[NAMED[option][1]])
    assert {c["Path"] for c in cookies} == {"/", "/api"}


@OPTIONS
@pytest.mark.parametrize("name", HOST_NAMES)
@pytest.mark.parametrize("domain", ["example.com", ".example.com", "localhost"])
async def test_host_name_with_a_domain_is_refused(option: str, name: str, domain: str) -> None:
    app = cookie_app(**{option: name, "JWT_COOKIE_SECURE": True, "JWT_COOKIE_DOMAIN": domain})
    assert await fault(app) == f"{option} = {name!r} needs JWT_COOKIE_DOMAIN = None"


@OPTIONS
@pytest.mark.parametrize("name", SECURE_NAMES)
async def test_secure_name_may_have_any_path_and_domain(option: str, name: str) -> None:
    path_option, kind = NAMED[option]
    app = cookie_app(
        **{option: name, path_option: "/api", "JWT_COOKIE_SECURE": True},
        JWT_COOKIE_DOMAIN="example.com",
    )
    (cookie,) = [c for c in await cookies_of(app, SET[kind]) if c[""] == name]
    assert (cookie["Path"], cookie["Domain"]) == ("/api", "example.com")


@OPTIONS
@pytest.mark.parametrize("name", PLAIN_NAMES)
async def test_name_that_only_resembles_a_prefix_has_no_rules(option: str, name: str) -> None:
    path_option, kind = NAMED[option]
    app = cookie_app(**{option: name, path_option: "/api"}, JWT_COOKIE_DOMAIN="example.com")
    assert name in [c[""] for c in await cookies_of(app, SET[kind])]


async def test_all_four_names_may_have_the_host_prefix() -> None:
    names = {option: f"__Host-{number}" for number, option in enumerate(NAMED)}
    app = cookie_app(JWT_COOKIE_SECURE=True, **names)
    for unset in (UNSET["access"], UNSET["refresh"], qje.unset_jwt_cookies):
        for cookie in await cookies_of(app, unset):
            assert cookie[""].startswith("__Host-")


@pytest.mark.parametrize("name", HOST_NAMES)
@OPTIONS
async def test_domain_argument_for_a_host_name_is_refused(option: str, name: str) -> None:
    app = cookie_app(**{option: name, "JWT_COOKIE_SECURE": True})
    for helper in (SET[NAMED[option][1]], UNSET[NAMED[option][1]], qje.unset_jwt_cookies):
        async with app.app_context():
            response = Response("")
            with pytest.raises(ValueError, match="cannot have a domain") as caught:
                helper(response, domain="example.com")
        assert repr(name) in str(caught.value)
        assert name not in [c[""] for c in cookies_in(response)]


async def test_domain_argument_for_a_secure_name_is_taken() -> None:
    app = cookie_app(JWT_ACCESS_COOKIE_NAME="__Secure-jwt", JWT_COOKIE_SECURE=True)
    cookies = await cookies_of(app, SET["access"], domain="example.com")
    assert [c["Domain"] for c in cookies] == ["example.com"] * 2


async def test_rules_are_checked_when_the_options_change() -> None:
    app = cookie_app(JWT_ACCESS_COOKIE_NAME="__Host-jwt", JWT_COOKIE_SECURE=True)
    await cookies_of(app, SET["access"])
    app.config["JWT_ACCESS_COOKIE_PATH"] = "/api"
    assert "JWT_ACCESS_COOKIE_PATH" in await fault(app)
    app.config["JWT_ACCESS_COOKIE_PATH"] = "/"
    await cookies_of(app, SET["access"])


async def test_rules_are_checked_on_the_first_request_even_without_cookies() -> None:
    """The options are read as a whole, so a mistake shows before anyone sets a cookie."""
    app = make_app(JWT_COOKIE_SAMESITE="None")
    raised: list[BaseException] = []

    async def note(sender: Quart, exception: BaseException, **extra: Any) -> None:
        raised.append(exception)

    with got_request_exception.connected_to(note, sender=app):
        try:
            await app.test_client().get("/protected", headers=bearer(TOKEN))
        except RuntimeError as error:
            # Older releases of Quart propagate it while testing.
            raised.append(error)
    assert "JWT_COOKIE_SAMESITE" in str(raised[0])


async def test_host_cookie_is_read_from_a_request() -> None:
    app = cookie_app(JWT_ACCESS_COOKIE_NAME="__Host-jwt", JWT_COOKIE_SECURE=True)
    headers = {"Cookie": f"__Host-jwt={TOKEN}"}
    response = await app.test_client().get("/protected", headers=headers)
    assert (await response.get_json())["identity"] == "alice"


# --- size ----------------------------------------------------------------------------------------

LARGEST = 4096


def field_of(cookie: dict[str, Any]) -> int:
    """The size of a Set-Cookie field, put together again."""
    parts = [f"{cookie['']}={cookie['value']}"]
    for name, value in cookie.items():
        if name not in ("", "value"):
            parts.append(name if value is True else f"{name}={value}")
    return len("; ".join(parts))


CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"JWT_SESSION_COOKIE": False},
    {
        "JWT_COOKIE_SECURE": True,
        "JWT_COOKIE_SAMESITE": "None",
        "JWT_COOKIE_PARTITIONED": CAN_PARTITION,
    },
    {"JWT_COOKIE_DOMAIN": "app.example.com", "JWT_ACCESS_COOKIE_PATH": "/api/v1"},
    {"JWT_ACCESS_COOKIE_NAME": "n" * 200},
]


async def overhead(app: Quart) -> int:
    """What a cookie with an access token takes beside the token."""
    token_cookie = (await cookies_of(app, SET["access"]))[0]
    return field_of(token_cookie) - len(TOKEN)


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4, 100])
async def test_cookie_of_up_to_4096_bytes_is_set(options: dict[str, Any], spare: int) -> None:
    app = cookie_app(**options)
    token = token_of_size(LARGEST - spare - await overhead(app), csrf="c")
    cookies = await cookies_of(app, lambda response: qje.set_access_cookies(response, token))
    assert field_of(cookies[0]) == LARGEST - spare
    assert cookies[0]["value"] == token


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=str)
@pytest.mark.parametrize("surplus", [1, 2, 3, 100, 8000])
async def test_cookie_over_4096_bytes_is_an_error_that_names_it(
    options: dict[str, Any], surplus: int
) -> None:
    app = cookie_app(**options)
    token = token_of_size(LARGEST + surplus - await overhead(app), csrf="c")
    name = options.get("JWT_ACCESS_COOKIE_NAME", "access_token_cookie")
    async with app.app_context():
        response = Response("")
        with pytest.raises(ValueError, match="4096") as caught:
            qje.set_access_cookies(response, token)
    assert cookies_in(response) == []
    message = str(caught.value)
    assert repr(name) in message
    assert str(LARGEST + surplus) in message
    assert not [part for part in token.split(".") if part in message]


async def test_refresh_cookie_over_4096_bytes_is_an_error_that_names_it() -> None:
    token = token_of_size(LARGEST, csrf="c", type="refresh")
    async with cookie_app().app_context():
        response = Response("")
        with pytest.raises(ValueError, match="refresh_token_cookie"):
            qje.set_refresh_cookies(response, token)
    assert cookies_in(response) == []


async def test_csrf_cookie_over_4096_bytes_is_an_error_that_names_it() -> None:
    """The token fits, as its own cookie has the shorter name."""
    app = cookie_app(JWT_ACCESS_COOKIE_NAME="a", JWT_ACCESS_CSRF_COOKIE_NAME="b" * 4000)
    token = hs_token({"csrf": "c" * 100})
    async with app.app_context():
        response = Response("")
        with pytest.raises(ValueError, match="b" * 4000):
            qje.set_access_cookies(response, token)
    assert "b" * 4000 not in [c[""] for c in cookies_in(response)]


async def test_lifetime_counts_towards_the_size() -> None:
    app = cookie_app()
    token = token_of_size(LARGEST - await overhead(app), csrf="c")
    async with app.app_context():
        qje.set_access_cookies(Response(""), token)
        with pytest.raises(ValueError, match="access_token_cookie"):
            qje.set_access_cookies(Response(""), token, max_age=60)


async def test_bytes_token_is_measured_and_set_like_text() -> None:
    async with cookie_app().app_context():
        response = Response("")
        qje.set_access_cookies(response, TOKEN.encode())
        assert cookies_in(response)[0]["value"] == TOKEN
        with pytest.raises(ValueError, match="access_token_cookie"):
            qje.set_access_cookies(response, token_of_size(5000, csrf="c").encode())


# --- clearing ------------------------------------------------------------------------------------

LIFE = ("value", "Expires", "Max-Age")


def combinations() -> list[dict[str, Any]]:
    """Every combination of what changes an attribute, without those that browsers refuse."""
    choices: dict[str, list[Any]] = {
        "JWT_COOKIE_SECURE": [False, True],
        "JWT_COOKIE_DOMAIN": [None, "example.com", ".example.com"],
        "JWT_COOKIE_SAMESITE": [None, "Lax", "strict", "None"],
        "JWT_COOKIE_PARTITIONED": [False, *PARTITIONED],
        "JWT_SESSION_COOKIE": [True, False],
        "JWT_CSRF_IN_COOKIES": [True, False],
    }
    made = [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]
    return [
        options
        for options in made
        if options["JWT_COOKIE_SECURE"]
        or not (options["JWT_COOKIE_PARTITIONED"] or options["JWT_COOKIE_SAMESITE"] == "None")
    ]


PATHS: list[dict[str, Any]] = [
    {},
    dict.fromkeys([path for path, _ in NAMED.values()], "/api/a b;c"),
    {path: f"/{number}" for number, (path, _) in enumerate(NAMED.values())},
    dict.fromkeys([path for path, _ in NAMED.values()]),
    {option: f"own-{number}" for number, option in enumerate(NAMED)},
]


def attributes(cookies: Cookies) -> Cookies:
    return [{k: v for k, v in cookie.items() if k not in LIFE} for cookie in cookies]


@pytest.mark.parametrize("paths", PATHS, ids=str)
@pytest.mark.parametrize("domain", [None, "other.example"])
async def test_clearing_has_the_very_attributes_of_setting(
    paths: dict[str, Any], domain: str | None
) -> None:
    """Cookies of another path, domain or partition are other cookies: these would stay."""
    for options in combinations():
        app = cookie_app(**options, **paths)
        both: list[Any] = [[], []]
        for kind in SET:
            set_ = await cookies_of(app, SET[kind], domain=domain)
            unset = await cookies_of(app, UNSET[kind], domain=domain)
            assert attributes(unset) == attributes(set_), options
            assert len(set_) == (2 if options["JWT_CSRF_IN_COOKIES"] else 1)
            for cookie in unset:
                assert cookie["value"] == ""
                assert cookie["Expires"] == "Thu, 01 Jan 1970 00:00:00 GMT"
            both[0] += set_
            both[1] += unset
        everything = await cookies_of(app, qje.unset_jwt_cookies, domain=domain)
        assert everything == both[1]
        assert attributes(everything) == attributes(both[0])


async def test_clearing_never_exceeds_the_size_of_setting() -> None:
    """The date that clears a cookie takes more room than the short lifetime of a long name."""
    app = cookie_app(JWT_ACCESS_COOKIE_NAME="n" * 1000)
    (cleared, _) = await cookies_of(app, UNSET["access"])
    assert field_of(cleared) < LARGEST


@pytest.mark.parametrize("helper", [*SET.values(), *UNSET.values(), qje.unset_jwt_cookies])
async def test_domain_argument_reaches_every_cookie_in_place_of_the_option(helper: Any) -> None:
    for option in (None, "example.com"):
        app = cookie_app(JWT_COOKIE_DOMAIN=option)
        for keywords, expected in (
            ({"domain": "sub.example.com"}, "sub.example.com"),
            ({"domain": None}, option),
            ({}, option),
        ):
            cookies = await cookies_of(app, helper, **keywords)
            assert {cookie.get("Domain") for cookie in cookies} == {expected}
