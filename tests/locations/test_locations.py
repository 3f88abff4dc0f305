"""Several token locations: which one wins, what moves on to the next, and what ends the search."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from quart import Quart, Request
from quart.testing import no_op_push
from werkzeug.datastructures import Headers

import quart_jwt_extended as qje
from support import LONG_AGO, access_claims, answer_of, bearer, hs_token, make_app, refresh_claims

LOCATIONS = ("headers", "cookies", "query_string", "json")
PAIRS = list(itertools.permutations(LOCATIONS, 2))
ORDERS = [*PAIRS, *itertools.permutations(LOCATIONS)]

MISSING = {
    "headers": "Missing Authorization Header",
    "cookies": 'Missing cookie "access_token_cookie"',
    "query_string": 'Missing "jwt" query paramater',
    "json": "Invalid content-type. Must be application/json.",
}
BAD_HEADER = "Bad Authorization header. Expected value 'Bearer <JWT>'"

GOOD = hs_token(access_claims())
EXPIRED = hs_token(access_claims(exp=LONG_AGO))
REFRESH = hs_token(refresh_claims())
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
        assert await answer_of(app, **request_with(tokens)) == (200, name)
        del tokens[name]
    status, message = await answer_of(app, **request_with(tokens))
    assert status == 401
    assert message.startswith("Missing JWT in ")


@pytest.mark.parametrize("order", PAIRS, ids="-".join)
async def test_refresh_token_follows_the_same_order(order: tuple[str, ...]) -> None:
    app = app_for(order)
    tokens = {name: hs_token(refresh_claims(identity=name)) for name in LOCATIONS}
    for name in order:
        arguments = request_with(tokens, "refresh")
        assert await answer_of(app, "/refresh", **arguments) == (200, name)
        del tokens[name]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_message_lists_every_location_in_the_configured_order(
    order: tuple[str, ...],
) -> None:
    assert await answer_of(app_for(order)) == (401, combined(order))
    assert await answer_of(app_for(list(order))) == (401, combined(order))


async def test_message_uses_the_configured_names() -> None:
    app = app_for(
        LOCATIONS,
        JWT_HEADER_NAME="X-A",
        JWT_ACCESS_COOKIE_NAME="b",
        JWT_QUERY_STRING_NAME="c",
        JWT_JSON_KEY="d",
    )
    assert await answer_of(app, method="POST", json={}) == (
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
    assert await answer_of(app) == (401, MISSING[location])
    assert await answer_of(app, **request_with({location: GOOD})) == (200, "alice")
    elsewhere = {name: GOOD for name in LOCATIONS if name != location}
    assert await answer_of(app, **request_with(elsewhere)) == (401, MISSING[location])


@pytest.mark.parametrize("kind", [set, frozenset])
async def test_set_of_locations_finds_a_token_in_each_of_them(kind: type) -> None:
    app = app_for(kind(LOCATIONS))
    for location in LOCATIONS:
        assert await answer_of(app, **request_with({location: GOOD})) == (200, "alice")
    status, message = await answer_of(app)
    assert status == 401
    assert message in {combined(order) for order in itertools.permutations(LOCATIONS)}


async def test_order_changed_after_init_takes_effect_on_the_next_request() -> None:
    app = app_for(["headers", "cookies"])
    tokens = {name: hs_token(access_claims(identity=name)) for name in LOCATIONS}
    assert await answer_of(app, **request_with(tokens)) == (200, "headers")
    app.config["JWT_TOKEN_LOCATION"] = ["cookies", "headers"]
    assert await answer_of(app, **request_with(tokens)) == (200, "cookies")
    app.config["JWT_TOKEN_LOCATION"].insert(0, "json")
    assert await answer_of(app, **request_with(tokens)) == (200, "json")


# --- what moves on, and what is final ------------------------------------------------------------

FINAL = {
    "no token at all": ("nonsense", 422, "Not enough segments"),
    "bad signature": (BAD_SIGNATURE, 422, "Signature verification failed"),
    "expired": (EXPIRED, 401, "Token has expired"),
    "no identity": (
        hs_token(access_claims(identity=...)),
        422,
        "Missing claim: identity",
    ),
    "refresh token": (REFRESH, 422, "Only access tokens are allowed"),
}


@pytest.mark.parametrize("order", PAIRS, ids="-".join)
async def test_invalid_token_in_one_location_is_final(order: tuple[str, str]) -> None:
    app = app_for(order)
    first, second = order
    for token, *refusal in FINAL.values():
        refusal = tuple(refusal)
        assert await answer_of(app, **request_with({first: token, second: GOOD})) == refusal
        assert await answer_of(app, **request_with({first: GOOD, second: token})) == (200, "alice")
        assert await answer_of(app, **request_with({second: token})) == refusal


async def test_revoked_token_in_one_location_is_final() -> None:
    app = app_for(["headers", "cookies"], JWT_BLACKLIST_ENABLED=True)

    @app.extensions["quart-jwt-extended"].token_in_blacklist_loader
    def revoked(claims: dict[str, Any]) -> bool:
        return claims["identity"] == "eve"

    tokens = {"headers": hs_token(access_claims(identity="eve")), "cookies": GOOD}
    assert await answer_of(app, **request_with(tokens)) == (401, "Token has been revoked")


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
        assert await answer_of(app, **arguments) == (200, "alice"), empty


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
    assert await answer_of(app, **arguments) == (200, "alice")
    assert await answer_of(app_for([other, "headers"]), **arguments) == (200, "alice")


@pytest.mark.parametrize("order", [order for order in ORDERS if "headers" in order], ids="-".join)
async def test_other_scheme_and_no_token_anywhere_answers_for_the_header(
    order: tuple[str, ...],
) -> None:
    headers = {"Authorization": "Basic dXNlcjpwYXNz"}
    assert await answer_of(app_for(order), headers=headers) == (422, BAD_HEADER)


async def test_other_scheme_does_not_hide_an_invalid_token_in_a_later_location() -> None:
    app = app_for(["headers", "cookies"])
    headers = {"Authorization": "Basic x", "Cookie": f"access_token_cookie={BAD_SIGNATURE}"}
    assert await answer_of(app, headers=headers) == (422, "Signature verification failed")


MALFORMED = ["Bearer", "Bearer a b", f"Bearer {GOOD},", f"Bearer {GOOD} {GOOD}", "bearer"]


@pytest.mark.parametrize("value", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize("other", ["cookies", "query_string", "json"])
async def test_malformed_header_of_our_scheme_is_final(other: str, value: str) -> None:
    arguments = request_with({other: GOOD})
    arguments["headers"]["Authorization"] = value
    assert await answer_of(app_for(["headers", other]), **arguments) == (422, BAD_HEADER)
    assert await answer_of(app_for([other, "headers"]), **arguments) == (200, "alice")


# --- OPTIONS -------------------------------------------------------------------------------------

DECORATORS = {
    "jwt_required": qje.jwt_required,
    "jwt_optional": qje.jwt_optional,
    "fresh_jwt_required": qje.fresh_jwt_required,
    "jwt_refresh_token_required": qje.jwt_refresh_token_required,
}


@pytest.mark.parametrize("location", LOCATIONS)
async def test_options_request_runs_the_view_without_looking_at_any_token(location: str) -> None:
    """A CORS preflight never carries credentials, and what it carries does not count."""
    app = make_app(
        JWT_TOKEN_LOCATION=location,
        JWT_CSRF_METHODS=["OPTIONS", "POST"],
        JWT_EXEMPT_OPTIONS=True,
    )

    async def preflight() -> Any:
        return {"identity": qje.get_jwt_identity(), "raw": qje.get_raw_jwt()}

    for name, decorator in DECORATORS.items():
        app.add_url_rule(f"/{name}", name, decorator(preflight), methods=["GET", "OPTIONS"])
    for name in DECORATORS:
        for token in (None, "nonsense", EXPIRED, GOOD):
            arguments = request_with({location: token} if token else {})
            response = await app.test_client().open(
                f"/{name}", **{**arguments, "method": "OPTIONS"}
            )
            assert response.status_code == 200, (name, token)
            assert await response.get_json() == {"identity": None, "raw": {}}


async def test_automatic_options_answer_of_quart_needs_no_token(app: Quart) -> None:
    response = await app.test_client().options("/protected")
    assert response.status_code == 200
    assert "POST" in response.headers["Allow"]


# --- jwt_optional --------------------------------------------------------------------------------


@pytest.mark.parametrize("locations", [*LOCATIONS, LOCATIONS], ids=str)
async def test_optional_view_without_a_token_is_anonymous(locations: Any) -> None:
    assert await answer_of(app_for(locations), "/optional") == (200, None)
    assert await answer_of(app_for(locations), "/optional", method="POST", json={}) == (200, None)


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
        assert await answer_of(app_for(locations), "/optional", **arguments) == (200, "alice")


@pytest.mark.parametrize("locations", ["headers", ("headers", "cookies"), LOCATIONS], ids=str)
async def test_optional_view_with_a_malformed_header_is_anonymous(locations: Any) -> None:
    app = app_for(locations)
    for value in [*MALFORMED, *OTHER_SCHEMES]:
        headers = {"Authorization": value}
        assert await answer_of(app, "/optional", headers=headers) == (200, None), value


async def test_optional_view_with_another_scheme_still_finds_a_later_token() -> None:
    headers = {"Authorization": "Basic x", "Cookie": f"access_token_cookie={GOOD}"}
    app = app_for(["headers", "cookies"])
    assert await answer_of(app, "/optional", headers=headers) == (200, "alice")


@pytest.mark.parametrize("location", LOCATIONS)
async def test_optional_view_with_an_invalid_token_is_refused(location: str) -> None:
    for app in (app_for(location), app_for(LOCATIONS)):
        for token, *refusal in FINAL.values():
            arguments = request_with({location: token})
            assert await answer_of(app, "/optional", **arguments) == tuple(refusal)


# --- requests that no server made ----------------------------------------------------------------

ONE = hs_token(access_claims(identity="one"))
TWO = hs_token(access_claims(identity="two"))


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
