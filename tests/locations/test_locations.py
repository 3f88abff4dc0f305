"""Several token locations: which one wins, what moves on to the next, and what ends the search.

The second half compares our own reading of the raw request with what Quart's request object
gives for the same bytes, because an application must not see another token than we do.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from quart import Quart, Request, request
from quart.testing import no_op_push
from werkzeug.datastructures import Headers, MultiDict

import quart_jwt_extended as qje
from support import access_claims, bearer, hs_token, make_app, refresh_claims

LOCATIONS = ("headers", "cookies", "query_string", "json")
PAIRS = list(itertools.permutations(LOCATIONS, 2))
ORDERS = [order for size in (2, 3, 4) for order in itertools.permutations(LOCATIONS, size)]

MISSING = {
    "headers": "Missing Authorization Header",
    "cookies": 'Missing cookie "access_token_cookie"',
    "query_string": 'Missing "jwt" query paramater',
    "json": "Invalid content-type. Must be application/json.",
}
BAD_HEADER = "Bad Authorization header. Expected value 'Bearer <JWT>'"

# The year 2100: these tokens are made when pytest collects, maybe long before they are sent.
FAR_FUTURE = 4102444800

GOOD = hs_token(access_claims(exp=FAR_FUTURE))
EXPIRED = hs_token(access_claims(exp=int(time.time()) - 60))
REFRESH = hs_token(refresh_claims(exp=FAR_FUTURE))
BAD_SIGNATURE = GOOD[:-4] + "AAAA"


def app_for(locations: Any, **options: Any) -> Quart:
    """An application without CSRF, so that every location works the same for every method."""
    return make_app(
        **{"JWT_TOKEN_LOCATION": locations, "JWT_COOKIE_CSRF_PROTECT": False, **options}
    )


def request_with(tokens: dict[str, str], kind: str = "access") -> dict[str, Any]:
    """Arguments of a test request that carries each of ``tokens`` in its location."""
    arguments: dict[str, Any] = {"method": "POST"}
    headers = {}
    if "headers" in tokens:
        headers.update(bearer(tokens["headers"]))
    if "cookies" in tokens:
        headers["Cookie"] = f"{kind}_token_cookie={tokens['cookies']}"
    if "query_string" in tokens:
        arguments["query_string"] = {"jwt": tokens["query_string"]}
    if "json" in tokens:
        arguments["json"] = {f"{kind}_token": tokens["json"]}
    return {**arguments, "headers": headers}


async def send(app: Quart, path: str = "/protected", **arguments: Any) -> tuple[int, str | None]:
    """Status, and identity or message."""
    views_run = list(app.calls)
    response = await app.test_client().open(path, **arguments)
    assert response.status_code < 500
    body = await response.get_json()
    if response.status_code != 200:
        assert app.calls == views_run
    return response.status_code, body["identity"] if "identity" in body else body["msg"]


def combined(locations: Any, missing: dict[str, str] = MISSING) -> str:
    names = list(locations)
    details = "; ".join(missing[name] for name in names)
    return f"Missing JWT in {', '.join(names[:-1])} or {names[-1]} ({details})"


# --- which location wins -------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_first_location_with_a_token_wins_in_every_order(order: tuple[str, ...]) -> None:
    """Each token names its location as identity; they are taken away one by one."""
    app = app_for(order)
    tokens = {name: hs_token(access_claims(identity=name)) for name in LOCATIONS}
    for name in order:
        assert await send(app, **request_with(tokens)) == (200, name)
        del tokens[name]
    status, message = await send(app, **request_with(tokens))
    assert status == 401
    assert message.startswith("Missing JWT in ")


@pytest.mark.parametrize("order", PAIRS, ids="-".join)
async def test_refresh_token_follows_the_same_order(order: tuple[str, ...]) -> None:
    app = app_for(order)
    tokens = {name: hs_token(refresh_claims(identity=name)) for name in LOCATIONS}
    for name in order:
        arguments = request_with(tokens, "refresh")
        assert await send(app, "/refresh", **arguments) == (200, name)
        del tokens[name]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_message_lists_every_location_in_the_configured_order(
    order: tuple[str, ...],
) -> None:
    assert await send(app_for(order)) == (401, combined(order))
    assert await send(app_for(list(order))) == (401, combined(order))


async def test_message_uses_the_configured_names() -> None:
    app = app_for(
        LOCATIONS,
        JWT_HEADER_NAME="X-A",
        JWT_ACCESS_COOKIE_NAME="b",
        JWT_QUERY_STRING_NAME="c",
        JWT_JSON_KEY="d",
    )
    assert await send(app, method="POST", json={}) == (
        401,
        "Missing JWT in headers, cookies, query_string or json (Missing X-A Header; "
        'Missing cookie "b"; Missing "c" query paramater; Missing "d" key in json data.)',
    )


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize(
    "wrap", [str, lambda name: [name], lambda name: (name,), lambda name: {name}, "frozen"]
)
async def test_one_location_as_string_sequence_or_set(location: str, wrap: Any) -> None:
    app = app_for(frozenset({location}) if wrap == "frozen" else wrap(location))
    assert await send(app) == (401, MISSING[location])
    assert await send(app, **request_with({location: GOOD})) == (200, "alice")
    elsewhere = {name: GOOD for name in LOCATIONS if name != location}
    assert await send(app, **request_with(elsewhere)) == (401, MISSING[location])


@pytest.mark.parametrize("kind", [set, frozenset])
async def test_set_of_locations_finds_a_token_in_each_of_them(kind: type) -> None:
    app = app_for(kind(LOCATIONS))
    for location in LOCATIONS:
        assert await send(app, **request_with({location: GOOD})) == (200, "alice")
    status, message = await send(app)
    assert status == 401
    assert message in {combined(order) for order in itertools.permutations(LOCATIONS)}


async def test_order_changed_after_init_takes_effect_on_the_next_request() -> None:
    app = app_for(["headers", "cookies"])
    tokens = {name: hs_token(access_claims(identity=name)) for name in LOCATIONS}
    assert await send(app, **request_with(tokens)) == (200, "headers")
    app.config["JWT_TOKEN_LOCATION"] = ["cookies", "headers"]
    assert await send(app, **request_with(tokens)) == (200, "cookies")
    app.config["JWT_TOKEN_LOCATION"].insert(0, "json")
    assert await send(app, **request_with(tokens)) == (200, "json")


# --- what moves on, and what is final ------------------------------------------------------------

FINAL = {
    "no token at all": ("nonsense", 422, "Not enough segments"),
    "bad signature": (BAD_SIGNATURE, 422, "Signature verification failed"),
    "expired": (EXPIRED, 401, "Token has expired"),
    "no identity": (
        hs_token(access_claims(exp=FAR_FUTURE, identity=...)),
        422,
        "Missing claim: identity",
    ),
    "refresh token": (REFRESH, 422, "Only access tokens are allowed"),
}


@pytest.mark.parametrize(("token", "status", "message"), FINAL.values(), ids=FINAL.keys())
@pytest.mark.parametrize("order", PAIRS, ids="-".join)
async def test_invalid_token_in_one_location_is_final(
    order: tuple[str, str], token: str, status: int, message: str
) -> None:
    app = app_for(order)
    first, second = order
    assert await send(app, **request_with({first: token, second: GOOD})) == (status, message)
    assert await send(app, **request_with({first: GOOD, second: token})) == (200, "alice")
    assert await send(app, **request_with({second: token})) == (status, message)


async def test_revoked_token_in_one_location_is_final() -> None:
    app = app_for(["headers", "cookies"], JWT_BLACKLIST_ENABLED=True)

    @app.extensions["quart-jwt-extended"].token_in_blacklist_loader
    def revoked(claims: dict[str, Any]) -> bool:
        return claims["identity"] == "eve"

    tokens = {"headers": hs_token(access_claims(identity="eve")), "cookies": GOOD}
    assert await send(app, **request_with(tokens)) == (401, "Token has been revoked")


EMPTY = {
    "headers": [{"headers": {"Authorization": ""}}],
    "cookies": [
        {"headers": {"Cookie": "access_token_cookie="}},
        {"headers": {"Cookie": 'access_token_cookie=""'}},
        {"headers": {"Cookie": "access_token_cookie"}},
        {"headers": {"Cookie": f"refresh_token_cookie={GOOD}"}},
    ],
    "query_string": [{"query_string": {"jwt": ""}}, {"query_string": {"JWT": GOOD}}],
    "json": [
        {"method": "POST", "json": {}},
        {"method": "POST", "json": []},
        {"method": "POST", "json": "access_token"},
        {"method": "POST", "json": {"refresh_token": GOOD}},
        {"method": "POST", "data": b"{", "headers": {"Content-Type": "application/json"}},
        {"method": "POST", "data": b"\xff", "headers": {"Content-Type": "application/json"}},
        {"method": "POST", "form": {"access_token": GOOD}},
    ],
}


@pytest.mark.parametrize("order", PAIRS, ids="-".join)
async def test_empty_or_absent_value_moves_on(order: tuple[str, str]) -> None:
    app = app_for(order)
    first, second = order
    for empty in EMPTY[first]:
        if second == "json" and first != "json":
            empty = {**empty, "method": "POST"}
        arguments = {**request_with({second: GOOD}), **empty}
        arguments["headers"] = {
            **request_with({second: GOOD})["headers"],
            **empty.get("headers", {}),
        }
        assert await send(app, **arguments) == (200, "alice"), empty


OTHER_SCHEMES = [
    "Basic dXNlcjpwYXNz",
    "Basic",
    GOOD,
    f"Token {GOOD}",
    "Basic x, Digest y",
    "BearerX",
]


@pytest.mark.parametrize("value", OTHER_SCHEMES, ids=range(len(OTHER_SCHEMES)))
@pytest.mark.parametrize("other", ["cookies", "query_string", "json"])
async def test_other_scheme_in_the_header_moves_on(other: str, value: str) -> None:
    app = app_for(["headers", other])
    arguments = request_with({other: GOOD})
    arguments["headers"]["Authorization"] = value
    assert await send(app, **arguments) == (200, "alice")
    assert await send(app_for([other, "headers"]), **arguments) == (200, "alice")


@pytest.mark.parametrize("order", [order for order in ORDERS if "headers" in order], ids="-".join)
async def test_other_scheme_and_no_token_anywhere_answers_for_the_header(
    order: tuple[str, ...],
) -> None:
    headers = {"Authorization": "Basic dXNlcjpwYXNz"}
    assert await send(app_for(order), headers=headers) == (422, BAD_HEADER)


async def test_other_scheme_does_not_hide_an_invalid_token_in_a_later_location() -> None:
    app = app_for(["headers", "cookies"])
    headers = {"Authorization": "Basic x", "Cookie": f"access_token_cookie={BAD_SIGNATURE}"}
    assert await send(app, headers=headers) == (422, "Signature verification failed")


MALFORMED = ["Bearer", "Bearer a b", f"Bearer {GOOD},", f"Bearer {GOOD} {GOOD}", "bearer"]


@pytest.mark.parametrize("value", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize("other", ["cookies", "query_string", "json"])
async def test_malformed_header_of_our_scheme_is_final(other: str, value: str) -> None:
    arguments = request_with({other: GOOD})
    arguments["headers"]["Authorization"] = value
    assert await send(app_for(["headers", other]), **arguments) == (422, BAD_HEADER)
    assert await send(app_for([other, "headers"]), **arguments) == (200, "alice")


# --- OPTIONS -------------------------------------------------------------------------------------

DECORATORS = {
    "jwt_required": qje.jwt_required,
    "jwt_optional": qje.jwt_optional,
    "fresh_jwt_required": qje.fresh_jwt_required,
    "jwt_refresh_token_required": qje.jwt_refresh_token_required,
}


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS.keys())
@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("token", [None, "nonsense", EXPIRED, GOOD], ids=range(4))
async def test_options_request_runs_the_view_without_looking_at_any_token(
    decorator: Callable[..., Any], location: str, token: str | None
) -> None:
    """A CORS preflight never carries credentials, and what it carries does not count."""
    app = make_app(JWT_TOKEN_LOCATION=location, JWT_CSRF_METHODS=["OPTIONS", "POST"])

    @app.route("/preflight", methods=["GET", "OPTIONS"])
    @decorator
    async def preflight() -> Any:
        return {"identity": qje.get_jwt_identity(), "raw": qje.get_raw_jwt()}

    arguments = request_with({location: token} if token else {})
    response = await app.test_client().open("/preflight", **{**arguments, "method": "OPTIONS"})
    assert response.status_code == 200
    assert await response.get_json() == {"identity": None, "raw": {}}


async def test_automatic_options_answer_of_quart_needs_no_token(app: Quart) -> None:
    response = await app.test_client().options("/protected")
    assert response.status_code == 200
    assert "POST" in response.headers["Allow"]


# --- jwt_optional --------------------------------------------------------------------------------


@pytest.mark.parametrize("locations", [*LOCATIONS, LOCATIONS], ids=str)
async def test_optional_view_without_a_token_is_anonymous(locations: Any) -> None:
    assert await send(app_for(locations), "/optional") == (200, None)
    assert await send(app_for(locations), "/optional", method="POST", json={}) == (200, None)


@pytest.mark.parametrize("locations", [*LOCATIONS, LOCATIONS], ids=str)
async def test_anonymous_request_asks_no_callback(locations: Any) -> None:
    """There is no user to load, nothing to verify and nothing to revoke."""
    app = app_for(locations, JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]
    asked = []

    @manager.user_loader_callback_loader
    def load(identity: Any) -> Any:
        asked.append(identity)
        return identity

    manager.token_in_blacklist_loader(asked.append)
    manager.claims_verification_loader(asked.append)

    @app.route("/user", methods=["GET", "POST", "OPTIONS"])
    @qje.jwt_optional
    async def user() -> Any:
        return {"user": qje.get_current_user(), "proxied": not qje.current_user}

    client = app.test_client()
    nobody = {"user": None, "proxied": True}
    assert await (await client.get("/user")).get_json() == nobody
    assert await (await client.post("/user", json={})).get_json() == nobody
    assert await (await client.options("/user")).get_json() == nobody
    malformed = await client.get("/user", headers={"Authorization": "Bearer a b"})
    assert await malformed.get_json() == nobody
    assert asked == []


@pytest.mark.parametrize("location", LOCATIONS)
async def test_optional_view_with_a_token_knows_its_identity(location: str) -> None:
    for locations in (location, LOCATIONS):
        arguments = request_with({location: GOOD})
        assert await send(app_for(locations), "/optional", **arguments) == (200, "alice")


@pytest.mark.parametrize("value", [*MALFORMED, *OTHER_SCHEMES], ids=range(11))
@pytest.mark.parametrize("locations", ["headers", ("headers", "cookies"), LOCATIONS], ids=str)
async def test_optional_view_with_a_malformed_header_is_anonymous(
    locations: Any, value: str
) -> None:
    headers = {"Authorization": value}
    assert await send(app_for(locations), "/optional", headers=headers) == (200, None)


async def test_optional_view_with_another_scheme_still_finds_a_later_token() -> None:
    headers = {"Authorization": "Basic x", "Cookie": f"access_token_cookie={GOOD}"}
    app = app_for(["headers", "cookies"])
    assert await send(app, "/optional", headers=headers) == (200, "alice")


@pytest.mark.parametrize(("token", "status", "message"), FINAL.values(), ids=FINAL.keys())
@pytest.mark.parametrize("location", LOCATIONS)
async def test_optional_view_with_an_invalid_token_is_refused(
    location: str, token: str, status: int, message: str
) -> None:
    for locations in (location, LOCATIONS):
        arguments = request_with({location: token})
        assert await send(app_for(locations), "/optional", **arguments) == (status, message)


# --- the same token as Quart's request object gives ----------------------------------------------

TOKENS = {
    name: hs_token(access_claims(exp=FAR_FUTURE, identity=name)) for name in ("one", "two", "three")
}
IDENTITIES = {token: name for name, token in TOKENS.items()}
ONE, TWO = TOKENS["one"], TOKENS["two"]


def add_reference(app: Quart) -> None:
    """A view that answers with what Quart itself finds in the request."""

    @app.route("/reference", methods=["GET", "POST"])
    async def reference() -> Any:
        found = {
            "headers": request.headers.get("Authorization"),
            "cookies": request.cookies.get("access_token_cookie"),
            "query_string": request.args.get("jwt"),
        }
        return {"found": found[app.config["JWT_TOKEN_LOCATION"]]}


async def compare(
    app: Quart,
    *,
    headers: list[tuple[bytes, bytes]] = (),
    query: bytes = b"",
) -> str:
    """Ask Quart and ourselves about the same raw request; return what was compared."""
    scope = {"headers": [(b"host", b"localhost"), *headers], "query_string": query}
    client = app.test_client()
    reference = await (await client.get("/reference", scope_base=scope)).get_json()
    response = await client.get("/protected", scope_base=scope)
    status = response.status_code
    body = await response.get_json()
    where = (headers, query, reference, status, body)

    found = reference["found"]
    if not found:
        message = {"msg": MISSING[app.config["JWT_TOKEN_LOCATION"]]}
        assert (status, body) == (401, message), where
        return "missing"
    if found in IDENTITIES:
        assert (status, body.get("identity")) == (200, IDENTITIES[found]), where
        return "accepted"
    assert status == 422, where
    return "refused"


def mixtures(pieces: list[bytes], seed: int, count: int = 600) -> Iterator[bytes]:
    """Random but repeatable byte strings put together from telling pieces."""
    generator = random.Random(seed)
    for _ in range(count):
        yield b"".join(generator.choices(pieces, k=generator.randrange(1, 12)))


COOKIE_PIECES = [
    *[token.encode() for token in TOKENS.values()],
    *[b"access_token_cookie="] * 4,
    b"access_token_cookie",
    b"Access_Token_Cookie=",
    *[b";", b"; "] * 3,
    *[b'"', b"\\", b"=", b" ", b"\t", b",", b"a=b", b"a", b"\\073", b"\\54", b"\x00", b"\x0b"],
    *[b"\xe9", b"\xc3\xa9", b"\xa0", b"\x85", b"$Version=1", b"\\377", b'"a;b"'],
]


async def test_random_cookies_give_the_token_that_quart_gives() -> None:
    app = app_for("cookies")
    add_reference(app)
    outcomes = [
        await compare(app, headers=[(b"cookie", value)])
        for value in mixtures(COOKIE_PIECES, seed=1)
    ]
    assert {"missing", "accepted", "refused"} <= set(outcomes)


async def test_random_cookies_in_two_headers_give_the_token_that_quart_gives() -> None:
    app = app_for("cookies")
    add_reference(app)
    values = list(mixtures(COOKIE_PIECES, seed=2))
    outcomes = [
        await compare(app, headers=[(b"cookie", first), (b"cookie", second)])
        for first, second in zip(values[::2], values[1::2], strict=True)
    ]
    assert {"missing", "accepted", "refused"} <= set(outcomes)


QUERY_PIECES = [
    *[token.encode() for token in TOKENS.values()],
    *["".join(f"%{ord(char):02x}" for char in ONE).encode()],
    *[b"jwt="] * 4,
    *[b"&"] * 4,
    *[b"jwt", b"JWT=", b"%6Awt=", b"j%77t=", b"=", b"+", b"%", b"%2", b"%zz", b"%00", b"%26"],
    *[b"%3D", b";", b"#", b"?", b"a=b", b"a", b" ", b"%C3%A9", b"%ff", b"\xc3\xa9", b"\x00"],
]


async def test_random_query_strings_give_the_token_that_quart_gives() -> None:
    app = app_for("query_string")
    add_reference(app)
    outcomes = [await compare(app, query=query) for query in mixtures(QUERY_PIECES, seed=3)]
    assert {"missing", "accepted", "refused"} <= set(outcomes)


HEADER_LISTS = [
    [(b"authorization", ONE.encode())],
    [(b"Authorization", ONE.encode()), (b"authorization", TWO.encode())],
    [(b"authorization", b""), (b"authorization", ONE.encode())],
    [(b"authorization ", ONE.encode()), (b"authorization", TWO.encode())],
    [(b" authorization", ONE.encode())],
    [(b"authorization\x00", ONE.encode())],
    [(b"AUTHORIZATION", TWO.encode()), (b"x-authorization", ONE.encode())],
    [(b"author\xefzation", ONE.encode())],
    [(b"authorization:", ONE.encode())],
    [(b"", ONE.encode()), (b"authorization", TWO.encode())],
    [(b"authorization", ONE.encode() + b"\xe9")],
    [(b"authorization", b"\xff\xfe")],
    [(b"authorization", TWO.encode()), (b"authorization", b"\xff")],
]


@pytest.mark.parametrize("headers", HEADER_LISTS, ids=range(len(HEADER_LISTS)))
async def test_tricky_headers_give_the_token_that_quart_gives(
    headers: list[tuple[bytes, bytes]],
) -> None:
    """Without a type the header holds the token itself, so the two can be compared as they are."""
    app = app_for("headers", JWT_HEADER_TYPE="")
    add_reference(app)
    await compare(app, headers=headers)


JSON_PIECES = [
    *[json.dumps(token).encode() for token in TOKENS.values()],
    *[b'"access_token":'] * 4,
    *[b"{", b"}", b","] * 3,
    *[b"[", b"]", b":", b'"a":', b"1", b"null", b'"\\ud800"', b'"\\u0061ccess_token":', b" "],
    *[b"\n", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"NaN", b"1e5", b'"', b"\\", b"-", b"\x00"],
]


async def test_random_json_bodies_give_the_token_that_quart_gives() -> None:
    """Most mixtures are no JSON, so half of them are put between braces."""
    app = app_for("json")

    @app.post("/reference")
    async def reference() -> Any:
        try:
            data = await request.get_json(silent=True)
        except UnicodeDecodeError:
            return {"found": None}
        if not isinstance(data, dict) or "access_token" not in data:
            return {"found": None}
        token = data["access_token"]
        if not token:
            return {"found": "empty"}
        return {"found": IDENTITIES.get(token, "other") if isinstance(token, str) else "other"}

    client = app.test_client()
    outcomes = set()
    bodies = list(mixtures(JSON_PIECES, seed=5))
    members = [b'"access_token":' + piece for piece in JSON_PIECES[:3]] + [b'"a":1', b'"b":[{}]']
    for number, members_or_junk in enumerate(bodies):
        generator = random.Random(number)
        joined = b",".join(generator.choices(members, k=generator.randrange(5)))
        body = members_or_junk if number % 2 else b"{" + joined + b"}"
        arguments = {"data": body, "headers": {"Content-Type": "application/json"}}
        found = (await (await client.post("/reference", **arguments)).get_json())["found"]
        response = await client.post("/protected", **arguments)
        answer = await response.get_json()
        outcomes.add(found)
        if found is None:
            assert response.status_code == 401, body
        elif found == "empty":
            assert response.status_code in (401, 422), body
        elif found == "other":
            assert response.status_code == 422, body
        else:
            assert (response.status_code, answer.get("identity")) == (200, found), body
    assert {None, "one", "two", "three"} <= outcomes


# --- an application's own request class ----------------------------------------------------------


class HeadersInProperty(Request):
    @property
    def headers(self) -> Headers:
        return Headers([*self._own, ("Authorization", f"Bearer {ONE}")])

    @headers.setter
    def headers(self, value: Headers) -> None:
        self._own = [(name, text) for name, text in value if name.lower() != "authorization"]


class HeadersSetOnInit(Request):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers = Headers([("Authorization", f"Bearer {ONE}")])


class HeadersChangedOnInit(Request):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers["Authorization"] = f"Bearer {ONE}"


class CookiesInProperty(Request):
    @property
    def cookies(self) -> MultiDict:
        return MultiDict({"access_token_cookie": ONE})


class ArgsInProperty(Request):
    @property
    def args(self) -> MultiDict:
        return MultiDict({"jwt": ONE})


class LastArgumentWins(Request):
    """Werkzeug lets a request choose the container of its query arguments."""

    parameter_storage_class = dict


class JsonInMethod(Request):
    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        return {"access_token": ONE}


class DataInMethod(Request):
    async def get_data(self, *args: Any, **kwargs: Any) -> Any:
        return json.dumps({"access_token": ONE})


OWN_CLASSES = [
    ("headers", HeadersInProperty),
    ("headers", HeadersSetOnInit),
    ("headers", HeadersChangedOnInit),
    ("cookies", CookiesInProperty),
    ("query_string", ArgsInProperty),
    ("json", JsonInMethod),
    ("json", DataInMethod),
]


@pytest.mark.parametrize(("location", "request_class"), OWN_CLASSES)
async def test_own_request_class_decides_what_the_request_holds(
    location: str, request_class: type[Request]
) -> None:
    """The raw request holds another token, or none; the class of the application wins."""
    app = app_for(location)
    app.request_class = request_class
    assert await send(app, **request_with({location: TWO})) == (200, "one")
    with_json_type = {"method": "POST", "json": {}}
    assert await send(app, **with_json_type) == (200, "one")


async def test_own_container_of_query_arguments_decides_which_duplicate_counts() -> None:
    app = app_for("query_string")
    assert await send(app, f"/protected?jwt={ONE}&jwt={TWO}") == (200, "one")
    app.request_class = LastArgumentWins
    assert await send(app, f"/protected?jwt={ONE}&jwt={TWO}") == (200, "two")


async def test_own_request_class_is_asked_for_every_location_in_order() -> None:
    app = app_for(LOCATIONS)
    app.request_class = ArgsInProperty
    assert await send(app) == (200, "one")
    assert await send(app, headers=bearer(TWO)) == (200, "two")


class PlainSubclass(Request):
    """Overrides nothing that concerns us."""

    @property
    def tenant(self) -> str:
        return "tenant"


@pytest.mark.parametrize("location", LOCATIONS)
async def test_own_request_class_that_overrides_nothing_changes_nothing(location: str) -> None:
    app = app_for(location)
    app.request_class = PlainSubclass
    assert await send(app, **request_with({location: TWO})) == (200, "two")
    assert await send(app) == (401, MISSING[location])


async def test_header_set_by_a_before_request_hook_is_found() -> None:
    """An application may turn its own credential into ours, and views would see the same."""
    app = app_for(["headers"])

    @app.before_request
    async def translate() -> None:
        if "X-Session" in request.headers:
            request.headers["Authorization"] = f"Bearer {ONE}"

    assert await send(app) == (401, MISSING["headers"])
    assert await send(app, headers={"X-Session": "1"}) == (200, "one")
    assert await send(app, headers={"X-Session": "1", **bearer(TWO)}) == (200, "one")


async def test_header_removed_by_a_before_request_hook_is_not_found() -> None:
    app = app_for("headers")

    @app.before_request
    async def remove() -> None:
        request.headers.pop("Authorization")

    assert await send(app, headers=bearer(ONE)) == (401, MISSING["headers"])


@pytest.mark.parametrize(
    ("location", "query", "headers"),
    [
        ("headers", b"", bearer(ONE)),
        ("cookies", b"", {"Cookie": f"access_token_cookie={ONE}"}),
        ("query_string", b"jwt=" + ONE.encode(), {}),
    ],
)
async def test_request_built_by_hand_is_read_from_its_attributes(
    location: str, query: bytes, headers: dict[str, str]
) -> None:
    """Such a request may have a scope that says nothing, or something else."""
    app = app_for(location)
    scopes: list[Any] = [
        {},
        {"headers": [], "query_string": b""},
        {
            "headers": [
                (b"authorization", f"Bearer {TWO}".encode()),
                (b"cookie", f"access_token_cookie={TWO}".encode()),
            ],
            "query_string": f"jwt={TWO}".encode(),
        },
    ]
    for scope in scopes:
        built = Request(
            "GET",
            "http",
            "/protected",
            query,
            Headers(headers),
            "",
            "1.1",
            scope,
            send_push_promise=no_op_push,
        )
        async with app.request_context(built):
            await qje.verify_jwt_in_request()
            assert qje.get_jwt_identity() == "one"


@pytest.mark.parametrize("location", LOCATIONS)
async def test_test_request_context_is_read_like_a_request(location: str) -> None:
    app = app_for(location)
    async with app.test_request_context("/protected", **request_with({location: ONE})):
        await qje.verify_jwt_in_request()
        assert qje.get_jwt_identity() == "one"
        assert qje.get_raw_jwt()["identity"] == "one"
