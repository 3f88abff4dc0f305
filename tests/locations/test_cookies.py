"""Tokens in cookies: how they are read from a request, and how the helpers set and clear them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart, Response, make_response

import quart_jwt_extended as qje
from support import access_claims, ask, hs_token, make_app, refresh_claims, status_of

TOKEN = hs_token(access_claims(csrf="access-csrf"))
OTHER_TOKEN = hs_token(access_claims(identity="bob"))
BAD_TOKEN = TOKEN[:-4] + "AAAA"
REFRESH_TOKEN = hs_token(refresh_claims(csrf="refresh-csrf"))

MISSING = (401, {"msg": 'Missing cookie "access_token_cookie"'})


def cookie_app(**options: Any) -> Quart:
    return make_app(**{"JWT_TOKEN_LOCATION": ["cookies"], **options})


async def send(app: Quart, *cookies: bytes | str, path: str = "/protected") -> tuple[int, Any]:
    """Status and body for a GET with these raw Cookie header values, in this order."""
    raw = [
        (b"cookie", value.encode("latin-1") if isinstance(value, str) else value)
        for value in cookies
    ]
    scope = {"headers": [(b"host", b"localhost"), *raw]}
    return await ask(app, path, scope_base=scope)


def octal(text: str) -> str:
    """The text as a quoted cookie value in which every character is escaped."""
    return '"' + "".join(f"\\{ord(char):03o}" for char in text) + '"'


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cookie",
    [
        f"access_token_cookie={TOKEN}",
        f"a=b; access_token_cookie={TOKEN}",
        f"access_token_cookie={TOKEN}; a=b",
        f"a=b;access_token_cookie={TOKEN};c=d",
        f"a=b;  \t access_token_cookie={TOKEN}  ; c=d",
        f"access_token_cookie = {TOKEN}",
        f"access_token_cookie={TOKEN};",
        f";;; access_token_cookie={TOKEN}",
        f"=; access_token_cookie={TOKEN}",
        f"junk; access_token_cookie={TOKEN}",
        f'a="b; c"; access_token_cookie={TOKEN}',
        f'a="b\\"; access_token_cookie=x"; access_token_cookie={TOKEN}',
        f'a="unterminated; access_token_cookie={TOKEN}',
        f'bad"name=1; access_token_cookie={TOKEN}',
        f"caf\xe9=1; access_token_cookie={TOKEN}",
        f'access_token_cookie="{TOKEN}"',
        f"access_token_cookie={octal(TOKEN)}",
        f'access_token_cookie="\\{TOKEN}"',
    ],
)
async def test_token_in_the_access_cookie_is_accepted(cookie: str) -> None:
    status, body = await send(cookie_app(), cookie)
    assert (status, body.get("identity")) == (200, "alice")


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        ";",
        "a=b",
        "access_token_cookie",
        "access_token_cookie=",
        "access_token_cookie=;",
        'access_token_cookie=""',
        f"Access_Token_Cookie={TOKEN}",
        f"ACCESS_TOKEN_COOKIE={TOKEN}",
        f"xaccess_token_cookie={TOKEN}",
        f"access_token_cookiex={TOKEN}",
        f"access_token_cookie2={TOKEN}",
        f"access_token={TOKEN}",
        f'"access_token_cookie"={TOKEN}',
        f"access token_cookie={TOKEN}",
        f"refresh_token_cookie={TOKEN}",
        f'a="access_token_cookie={TOKEN}"',
        f'a="; access_token_cookie={TOKEN}; "',
        f"a=b access_token_cookie={TOKEN}",
        f"a=b, access_token_cookie={TOKEN}",
    ],
)
async def test_absent_or_empty_access_cookie_answers_401(cookie: str) -> None:
    app = cookie_app()
    assert await send(app, cookie) == MISSING
    assert app.calls == []


async def test_request_without_cookies_answers_401() -> None:
    assert await send(cookie_app()) == MISSING


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        ([f"access_token_cookie={TOKEN}; access_token_cookie={OTHER_TOKEN}"], (200, "alice")),
        ([f"access_token_cookie={OTHER_TOKEN}; access_token_cookie={TOKEN}"], (200, "bob")),
        ([f"access_token_cookie={TOKEN}; access_token_cookie={BAD_TOKEN}"], (200, "alice")),
        (
            [f"access_token_cookie={BAD_TOKEN}; access_token_cookie={TOKEN}"],
            (422, "Signature verification failed"),
        ),
        ([f"access_token_cookie={TOKEN}; access_token_cookie="], (200, "alice")),
        (
            [f"access_token_cookie=; access_token_cookie={TOKEN}"],
            (401, 'Missing cookie "access_token_cookie"'),
        ),
        ([f"access_token_cookie={TOKEN}", f"access_token_cookie={OTHER_TOKEN}"], (200, "alice")),
        ([f"access_token_cookie={OTHER_TOKEN}", f"access_token_cookie={TOKEN}"], (200, "bob")),
        (["a=b", f"access_token_cookie={TOKEN}"], (200, "alice")),
        (['a="', f"access_token_cookie={TOKEN}"], (200, "alice")),
    ],
)
async def test_first_of_two_cookies_of_one_name_is_used(
    cookies: list[str], expected: tuple[int, str]
) -> None:
    status, body = await send(cookie_app(), *cookies)
    assert (status, body.get("identity", body.get("msg"))) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"nonsense",
        b"..",
        b"a b",
        TOKEN.encode() + b"\x00",
        TOKEN.encode() + b"\xe9",
        b"\xff\xfe",
        b'"\\377\\376"',
        b'"\\000"',
        b'"' + TOKEN.encode(),
        TOKEN.encode() + TOKEN.encode(),
        b"A" * 100_000,
    ],
    ids=lambda value: repr(value[-12:]),
)
async def test_bad_value_in_the_access_cookie_answers_4xx(value: bytes) -> None:
    """A value that the cookie grammar does not allow counts as absent, any other as a bad token."""
    app = cookie_app()
    status, body = await send(app, b"access_token_cookie=" + value)
    assert status in (401, 422)
    assert list(body) == ["msg"]
    assert value.decode("latin-1") not in body["msg"]
    assert app.calls == []


@pytest.mark.parametrize(
    "name", ["session", "__Host-jwt", "a.b", "jwt!", "x-token", "access_token_cookie_v2", "0"]
)
async def test_own_access_cookie_name_replaces_the_default(name: str) -> None:
    # Secure is what a name that begins with __Host- must be.
    app = cookie_app(JWT_ACCESS_COOKIE_NAME=name, JWT_COOKIE_SECURE=True)
    assert (await send(app, f"access_token_cookie={OTHER_TOKEN}; {name}={TOKEN}"))[1][
        "identity"
    ] == "alice"
    assert await send(app, f"access_token_cookie={TOKEN}") == (
        401,
        {"msg": f'Missing cookie "{name}"'},
    )


async def test_own_refresh_cookie_name_replaces_the_default() -> None:
    app = cookie_app(JWT_REFRESH_COOKIE_NAME="renew")
    status, _ = await send(app, f"renew={REFRESH_TOKEN}", path="/refresh")
    assert status == 200
    assert await send(app, f"refresh_token_cookie={REFRESH_TOKEN}", path="/refresh") == (
        401,
        {"msg": 'Missing cookie "renew"'},
    )


async def test_each_kind_of_view_reads_its_own_cookie() -> None:
    app = cookie_app()
    both = f"access_token_cookie={TOKEN}; refresh_token_cookie={REFRESH_TOKEN}"
    assert (await send(app, both))[0] == 200
    assert (await send(app, both, path="/refresh"))[0] == 200
    assert await send(app, f"access_token_cookie={REFRESH_TOKEN}", path="/refresh") == (
        401,
        {"msg": 'Missing cookie "refresh_token_cookie"'},
    )
    assert await send(app, f"access_token_cookie={REFRESH_TOKEN}") == (
        422,
        {"msg": "Only access tokens are allowed"},
    )


# --- the helpers ---------------------------------------------------------------------------------

Attributes = dict[str, Any]
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


def parse_set_cookies(response: Response) -> dict[str, Attributes]:
    """Every Set-Cookie of a response by cookie name; flags are True, the value is ``""``'s entry.

    Expires is dropped where Max-Age says the same, because it holds the time of day.
    """
    cookies: dict[str, Attributes] = {}
    for line in response.headers.getlist("Set-Cookie"):
        first, *rest = line.split("; ")
        name, _, value = first.partition("=")
        attributes: Attributes = {"": value}
        for part in rest:
            key, separator, text = part.partition("=")
            attributes[key] = text if separator else True
        if "Max-Age" in attributes:
            attributes.pop("Expires", None)
        assert name not in cookies, f"{name} is set twice"
        cookies[name] = attributes
    return cookies


async def cookies_of(
    app: Quart, helper: Callable[..., None], *arguments: Any, **keywords: Any
) -> dict[str, Attributes]:
    """The cookies that a helper puts into a fresh response."""
    async with app.app_context():
        response = Response("")
        assert helper(response, *arguments, **keywords) is None
        return parse_set_cookies(response)


ACCESS_PAIR = {
    "access_token_cookie": {"": TOKEN, "HttpOnly": True, "Path": "/"},
    "csrf_access_token": {"": "access-csrf", "Path": "/"},
}
REFRESH_PAIR = {
    "refresh_token_cookie": {"": REFRESH_TOKEN, "HttpOnly": True, "Path": "/"},
    "csrf_refresh_token": {"": "refresh-csrf", "Path": "/"},
}


def with_attributes(pair: dict[str, Attributes], **attributes: Any) -> dict[str, Attributes]:
    return {name: {**cookie, **attributes} for name, cookie in pair.items()}


def cleared(pair: dict[str, Attributes]) -> dict[str, Attributes]:
    """What clearing the cookies looks like: no value, and long past."""
    return with_attributes(pair, **{"": "", "Expires": EPOCH})


async def test_access_cookies_have_the_documented_defaults() -> None:
    """A session cookie, hidden from scripts, and a CSRF cookie that scripts can read."""
    assert await cookies_of(cookie_app(), qje.set_access_cookies, TOKEN) == ACCESS_PAIR


async def test_refresh_cookies_have_the_documented_defaults() -> None:
    assert await cookies_of(cookie_app(), qje.set_refresh_cookies, REFRESH_TOKEN) == REFRESH_PAIR


async def test_unset_access_cookies_clears_only_the_access_pair() -> None:
    cookies = await cookies_of(cookie_app(), qje.unset_access_cookies)
    assert cookies == cleared(ACCESS_PAIR)


async def test_unset_refresh_cookies_clears_only_the_refresh_pair() -> None:
    cookies = await cookies_of(cookie_app(), qje.unset_refresh_cookies)
    assert cookies == cleared(REFRESH_PAIR)


async def test_unset_jwt_cookies_clears_all_four() -> None:
    cookies = await cookies_of(cookie_app(), qje.unset_jwt_cookies)
    assert cookies == cleared({**ACCESS_PAIR, **REFRESH_PAIR})


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({"JWT_COOKIE_SECURE": True}, {"Secure": True}),
        ({"JWT_COOKIE_SECURE": False}, {}),
        ({"JWT_COOKIE_DOMAIN": "example.com"}, {"Domain": "example.com"}),
        ({"JWT_COOKIE_DOMAIN": None}, {}),
        ({"JWT_COOKIE_SAMESITE": "Lax"}, {"SameSite": "Lax"}),
        ({"JWT_COOKIE_SAMESITE": "Strict"}, {"SameSite": "Strict"}),
        # Browsers take SameSite=None only with Secure.
        (
            {"JWT_COOKIE_SAMESITE": "None", "JWT_COOKIE_SECURE": True},
            {"SameSite": "None", "Secure": True},
        ),
        ({"JWT_COOKIE_SAMESITE": None}, {}),
    ],
    ids=str,
)
async def test_shared_cookie_option_reaches_every_cookie_set_or_cleared(
    options: dict[str, Any], attributes: Attributes
) -> None:
    """Clearing needs the same attributes, or the browser keeps the cookie."""
    app = cookie_app(**options)
    access = await cookies_of(app, qje.set_access_cookies, TOKEN)
    assert access == with_attributes(ACCESS_PAIR, **attributes)
    refresh = await cookies_of(app, qje.set_refresh_cookies, REFRESH_TOKEN)
    assert refresh == with_attributes(REFRESH_PAIR, **attributes)
    unset = await cookies_of(app, qje.unset_jwt_cookies)
    assert unset == with_attributes(cleared({**ACCESS_PAIR, **REFRESH_PAIR}), **attributes)


@pytest.mark.parametrize(
    ("option", "cookie"),
    [
        ("JWT_ACCESS_COOKIE_PATH", "access_token_cookie"),
        ("JWT_ACCESS_CSRF_COOKIE_PATH", "csrf_access_token"),
        ("JWT_REFRESH_COOKIE_PATH", "refresh_token_cookie"),
        ("JWT_REFRESH_CSRF_COOKIE_PATH", "csrf_refresh_token"),
    ],
)
async def test_path_option_reaches_exactly_its_cookie_set_or_cleared(
    option: str, cookie: str
) -> None:
    app = cookie_app(**{option: "/api/"})
    unset = await cookies_of(app, qje.unset_jwt_cookies)
    set_ = {
        **await cookies_of(app, qje.set_access_cookies, TOKEN),
        **await cookies_of(app, qje.set_refresh_cookies, REFRESH_TOKEN),
    }
    for cookies in (set_, unset):
        paths = {name: attributes["Path"] for name, attributes in cookies.items()}
        assert paths == {**dict.fromkeys([*ACCESS_PAIR, *REFRESH_PAIR], "/"), cookie: "/api/"}


@pytest.mark.parametrize(
    ("option", "cookie"),
    [
        ("JWT_ACCESS_COOKIE_NAME", "access_token_cookie"),
        ("JWT_ACCESS_CSRF_COOKIE_NAME", "csrf_access_token"),
        ("JWT_REFRESH_COOKIE_NAME", "refresh_token_cookie"),
        ("JWT_REFRESH_CSRF_COOKIE_NAME", "csrf_refresh_token"),
    ],
)
async def test_name_option_renames_exactly_its_cookie_set_or_cleared(
    option: str, cookie: str
) -> None:
    app = cookie_app(**{option: "renamed"})
    everything = {
        "renamed" if name == cookie else name: attributes
        for name, attributes in {**ACCESS_PAIR, **REFRESH_PAIR}.items()
    }
    set_ = {
        **await cookies_of(app, qje.set_access_cookies, TOKEN),
        **await cookies_of(app, qje.set_refresh_cookies, REFRESH_TOKEN),
    }
    assert set_ == everything
    assert await cookies_of(app, qje.unset_jwt_cookies) == cleared(everything)


HELPERS = pytest.mark.parametrize(
    ("helper", "token", "pair"),
    [
        pytest.param(qje.set_access_cookies, TOKEN, ACCESS_PAIR, id="access"),
        pytest.param(qje.set_refresh_cookies, REFRESH_TOKEN, REFRESH_PAIR, id="refresh"),
    ],
)


@HELPERS
async def test_persistent_cookies_live_for_a_year(
    helper: Callable[..., None], token: str, pair: dict[str, Attributes]
) -> None:
    cookies = await cookies_of(cookie_app(JWT_SESSION_COOKIE=False), helper, token)
    assert cookies == with_attributes(pair, **{"Max-Age": "31540000"})


@pytest.mark.parametrize("session", [True, False])
@pytest.mark.parametrize("max_age", [1, 3600, 99_999_999, 0])
@HELPERS
async def test_max_age_argument_overrides_the_session_cookie_option(
    helper: Callable[..., None],
    token: str,
    pair: dict[str, Attributes],
    max_age: int,
    session: bool,
) -> None:
    """Only None leaves the choice to JWT_SESSION_COOKIE, as the API reference says."""
    app = cookie_app(JWT_SESSION_COOKIE=session)
    cookies = await cookies_of(app, helper, token, max_age=max_age)
    assert cookies == with_attributes(pair, **{"Max-Age": str(max_age)})


@HELPERS
async def test_max_age_may_be_given_by_position(
    helper: Callable[..., None], token: str, pair: dict[str, Attributes]
) -> None:
    cookies = await cookies_of(cookie_app(), helper, token, 60)
    assert cookies == with_attributes(pair, **{"Max-Age": "60"})


@pytest.mark.parametrize("option", ["JWT_COOKIE_CSRF_PROTECT", "JWT_CSRF_IN_COOKIES"])
async def test_no_csrf_cookie_is_set_or_cleared_when_switched_off(option: str) -> None:
    app = cookie_app(**{option: False})
    jwt_cookies = {
        name: attributes
        for name, attributes in {**ACCESS_PAIR, **REFRESH_PAIR}.items()
        if not name.startswith("csrf_")
    }
    set_ = {
        **await cookies_of(app, qje.set_access_cookies, TOKEN),
        **await cookies_of(app, qje.set_refresh_cookies, REFRESH_TOKEN),
    }
    assert set_ == jwt_cookies
    assert await cookies_of(app, qje.unset_jwt_cookies) == cleared(jwt_cookies)


async def test_cookie_options_changed_after_init_take_effect_at_once() -> None:
    app = cookie_app()
    await cookies_of(app, qje.set_access_cookies, TOKEN)
    app.config["JWT_COOKIE_SECURE"] = True
    cookies = await cookies_of(app, qje.set_access_cookies, TOKEN)
    assert cookies == with_attributes(ACCESS_PAIR, Secure=True)


@pytest.mark.parametrize("location", ["headers", ["headers", "json", "query_string"]])
@pytest.mark.parametrize(
    ("helper", "arguments"),
    [
        (qje.set_access_cookies, (TOKEN,)),
        (qje.set_refresh_cookies, (REFRESH_TOKEN,)),
        (qje.unset_access_cookies, ()),
        (qje.unset_refresh_cookies, ()),
        (qje.unset_jwt_cookies, ()),
    ],
    ids=["set_access", "set_refresh", "unset_access", "unset_refresh", "unset_jwt"],
)
async def test_helper_raises_runtime_warning_when_cookies_are_no_location(
    helper: Callable[..., None], arguments: tuple[str, ...], location: Any
) -> None:
    """Raised, not issued, as in 0.1.0: such a cookie would never be read."""
    async with make_app(JWT_TOKEN_LOCATION=location).app_context():
        response = Response("")
        with pytest.raises(RuntimeWarning, match="JWT_TOKEN_LOCATION"):
            helper(response, *arguments)
        assert parse_set_cookies(response) == {}


async def test_helpers_work_when_cookies_are_one_of_several_locations() -> None:
    app = make_app(JWT_TOKEN_LOCATION=("headers", "cookies"))
    assert await cookies_of(app, qje.set_access_cookies, TOKEN) == ACCESS_PAIR


@HELPERS
async def test_token_without_csrf_claim_is_refused_and_sets_no_cookie(
    helper: Callable[..., None], token: str, pair: dict[str, Attributes]
) -> None:
    """A token made before protection was switched on could never be used with its cookie."""
    async with cookie_app().app_context():
        response = Response("")
        with pytest.raises(ValueError, match="cannot be stored in a cookie: Missing claim: csrf$"):
            helper(response, OTHER_TOKEN)
        assert parse_set_cookies(response) == {}


async def test_both_pairs_may_be_set_on_one_response() -> None:
    async with cookie_app().app_context():
        response = Response("")
        qje.set_access_cookies(response, TOKEN)
        qje.set_refresh_cookies(response, REFRESH_TOKEN)
        assert parse_set_cookies(response) == {**ACCESS_PAIR, **REFRESH_PAIR}


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def test_login_then_requests_then_logout_through_a_cookie_jar() -> None:
    """The whole life of the cookies, as a browser lives it."""
    app = cookie_app()

    @app.route("/login", methods=["POST"])
    async def login() -> Response:
        response = await app.make_response({"ok": True})
        qje.set_access_cookies(response, qje.create_access_token("carol"))
        qje.set_refresh_cookies(response, qje.create_refresh_token("carol"))
        return response

    @app.route("/logout", methods=["POST"])
    async def logout() -> Response:
        response = await app.make_response({"ok": True})
        qje.unset_jwt_cookies(response)
        return response

    client = app.test_client()
    assert (await client.get("/protected")).status_code == 401

    await client.post("/login")
    jar = {cookie.name: cookie.value for cookie in client.cookie_jar}
    assert sorted(jar) == sorted([*ACCESS_PAIR, *REFRESH_PAIR])
    assert jar["csrf_access_token"] == claims_of(jar["access_token_cookie"])["csrf"]
    assert jar["csrf_refresh_token"] == claims_of(jar["refresh_token_cookie"])["csrf"]
    assert jar["csrf_access_token"] != jar["csrf_refresh_token"]

    assert (await (await client.get("/protected")).get_json())["identity"] == "carol"
    assert (await client.post("/protected")).status_code == 401
    for path, name in [("/protected", "csrf_access_token"), ("/refresh", "csrf_refresh_token")]:
        response = await client.post(path, headers={"X-CSRF-TOKEN": jar[name]})
        assert (await response.get_json())["identity"] == "carol"

    await client.post("/logout")
    assert len(client.cookie_jar) == 0
    assert (await client.get("/protected")).status_code == 401


async def test_clearing_keeps_the_cookies_of_the_application() -> None:
    async with cookie_app().app_context():
        response = Response("")
        response.set_cookie("theme", "dark")
        qje.unset_jwt_cookies(response)
        assert parse_set_cookies(response)["theme"] == {"": "dark", "Path": "/"}


# --- Slips of the application -----------------------------------------------------------------


SLIPS: dict[str, tuple[Callable[[], tuple[Any, Any]], type[Exception], str]] = {
    "token not awaited": (
        lambda: (Response(""), qje.create_access_token_async("alice")),
        TypeError,
        "encoded_{kind}_token is a coroutine: an `await` is missing before it",
    ),
    "response not awaited": (
        lambda: (make_response(""), TOKEN),
        TypeError,
        "response is a coroutine: an `await` is missing before it",
    ),
    "arguments swapped": (lambda: (TOKEN, Response("")), TypeError, "response must be a response"),
    "no response": (lambda: (None, TOKEN), TypeError, "response must be a response"),
    "tuple": (lambda: (("", 200), TOKEN), TypeError, "response must be a response"),
    "dict as response": (lambda: ({"msg": ""}, TOKEN), TypeError, "response must be a response"),
    "no token": (
        lambda: (Response(""), None),
        TypeError,
        "encoded_{kind}_token must be an encoded token",
    ),
    "dict": (
        lambda: (Response(""), {"token": TOKEN}),
        TypeError,
        "encoded_{kind}_token must be an encoded token (str or bytes), not a value of type dict",
    ),
    "number": (
        lambda: (Response(""), 5),
        TypeError,
        "encoded_{kind}_token must be an encoded token",
    ),
    "text that is no token": (
        lambda: (Response(""), "alice"),
        ValueError,
        "encoded_{kind}_token cannot be stored in a cookie: Not enough segments",
    ),
}


@HELPERS
@pytest.mark.parametrize("slip", SLIPS)
async def test_slip_of_the_application_is_a_500_and_named(
    helper: Callable[..., None], token: str, pair: dict[str, Attributes], slip: str
) -> None:
    """A client that gets a 422 for it would look for the fault in its token."""
    arguments, error, text = SLIPS[slip]
    app = cookie_app()
    kind = "access" if helper is qje.set_access_cookies else "refresh"

    @app.get("/login")
    async def login() -> Any:
        helper(*arguments())
        raise AssertionError

    with pytest.raises(error, match=re.escape(text.format(kind=kind))) as caught:
        await status_of(app, "/login")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "helper", [qje.unset_jwt_cookies, qje.unset_access_cookies, qje.unset_refresh_cookies]
)
async def test_response_that_is_none_cannot_be_cleared(helper: Callable[..., None]) -> None:
    async with cookie_app().app_context():
        for response in (None, "", ("", 200), make_response("")):
            with pytest.raises(TypeError, match="^response "):
                helper(response)


@pytest.mark.parametrize(
    "domain", ["example.com; Path=/evil", "https://a.example", "a.example:80", "a b", "a\nb", 5]
)
@pytest.mark.parametrize(
    "helper",
    [
        lambda response, domain: qje.set_access_cookies(response, TOKEN, domain=domain),
        lambda response, domain: qje.set_refresh_cookies(response, REFRESH_TOKEN, domain=domain),
        lambda response, domain: qje.unset_jwt_cookies(response, domain=domain),
        lambda response, domain: qje.unset_access_cookies(response, domain=domain),
        lambda response, domain: qje.unset_refresh_cookies(response, domain=domain),
    ],
)
async def test_domain_that_is_none_writes_nothing_into_a_cookie(helper: Any, domain: Any) -> None:
    async with cookie_app().app_context():
        response = Response("")
        with pytest.raises(ValueError, match="^domain must be a domain name or None"):
            helper(response, domain)
        assert "Set-Cookie" not in response.headers
