"""The names of Flask-JWT-Extended 4.7: functions, loaders, arguments and options."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from quart import Quart, Response, render_template, render_template_string

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import RevokedTokenError
from support import (
    FAR_FUTURE,
    SECRET,
    access_claims,
    bearer,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
)

GOOD = hs_token(access_claims())
REVOKED = (401, {"msg": "Token has been revoked"})
HEADER = {"typ": "JWT", "alg": "HS256", "kid": "1"}


async def get(app: Quart, path: str, token: str | None = GOOD) -> tuple[int, Any]:
    headers = {} if token is None else bearer(token)
    response = await app.test_client().get(path, headers=headers)
    return response.status_code, await response.get_json()


def read(token: str, **options: Any) -> dict[str, Any]:
    """Claims of a token, verified by PyJWT."""
    return jwt.decode(token, SECRET, algorithms=["HS256"], **options)


# --- get_jwt, get_jwt_header, get_jwt_request_location -------------------------

NAMES = [qje.get_jwt, qje.get_jwt_header]


@pytest.fixture(params=NAMES, ids=lambda function: function.__name__)
def getter(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_get_jwt_gives_the_claims_and_get_jwt_header_the_header(app: Quart) -> None:
    claims = access_claims(user_claims={"role": "admin"}, more=[1])
    async with app.test_request_context("/", headers=bearer(hs_token(claims, header=HEADER))):
        await qje.verify_jwt_in_request()
        assert qje.get_jwt() == claims
        assert qje.get_jwt_header() == HEADER
        assert (qje.get_raw_jwt(), qje.get_raw_jwt_header()) == (claims, HEADER)


@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh", "/refresh"])
async def test_getters_work_under_every_decorator(app: Quart, path: str) -> None:
    seen: list[Any] = []

    @app.after_request
    async def look(response: Response) -> Response:
        seen.append((qje.get_jwt()["identity"], qje.get_jwt_header(), response.status_code))
        return response

    claims = refresh_claims() if path == "/refresh" else access_claims(fresh=True)
    await get(app, path, hs_token(claims, header=HEADER))
    assert seen == [("alice", HEADER, 200)]


async def test_getter_gives_nothing_where_the_request_was_let_in_without_a_token(
    app: Quart, getter: Any
) -> None:
    async with app.test_request_context("/"):
        await qje.verify_jwt_in_request(optional=True)
        assert getter() == {}
        assert qje.get_jwt_request_location() is None


async def test_getter_names_itself_in_a_request_that_was_not_verified(
    app: Quart, getter: Any
) -> None:
    async with app.test_request_context("/", headers=bearer(GOOD)):
        with pytest.raises(RuntimeError, match=rf"\b{getter.__name__}\(\)"):
            getter()
        assert qje.get_jwt_request_location() is None


async def test_getter_raises_in_an_options_request_which_is_exempt(app: Quart, getter: Any) -> None:
    async with app.test_request_context("/", method="OPTIONS", headers=bearer(GOOD)):
        await qje.verify_jwt_in_request()
        with pytest.raises(RuntimeError, match=getter.__name__):
            getter()
        assert qje.get_jwt_request_location() is None


async def test_getter_raises_after_a_refusal(app: Quart, getter: Any) -> None:
    async with app.test_request_context("/", headers=bearer(hs_token(access_claims(exp=1)))):
        with pytest.raises(jwt.ExpiredSignatureError):
            await qje.verify_jwt_in_request()
        with pytest.raises(RuntimeError, match=getter.__name__):
            getter()
        assert qje.get_jwt_request_location() is None


async def test_getter_raises_in_an_app_context_without_a_request(app: Quart, getter: Any) -> None:
    async with app.app_context():
        with pytest.raises(RuntimeError, match=getter.__name__):
            getter()
        assert qje.get_jwt_request_location() is None


@pytest.mark.parametrize("function", [*NAMES, qje.get_jwt_request_location])
def test_function_raises_outside_of_any_context(function: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError):
        function()


@pytest.mark.parametrize(
    ("location", "request_args"),
    [
        ("headers", {"headers": bearer(GOOD)}),
        ("cookies", {"headers": {"Cookie": f"access_token_cookie={GOOD}"}}),
        ("query_string", {"query_string": {"jwt": GOOD}}),
        ("json", {"method": "POST", "json": {"access_token": GOOD}}),
    ],
)
async def test_request_location_is_where_the_token_was_found(
    location: str, request_args: dict[str, Any]
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=["json", "query_string", "cookies", "headers"])
    async with app.test_request_context("/", **request_args):
        assert qje.get_jwt_request_location() is None
        await qje.verify_jwt_in_request()
        assert qje.get_jwt_request_location() == location


async def test_request_location_of_two_tokens_is_that_of_the_first() -> None:
    for locations in (["headers", "query_string"], ["query_string", "headers"]):
        app = make_app(JWT_TOKEN_LOCATION=locations)
        request = {"headers": bearer(GOOD), "query_string": {"jwt": GOOD}}
        async with app.test_request_context("/", **request):
            await qje.verify_jwt_in_request()
            assert qje.get_jwt_request_location() == locations[0]


# --- Loaders that take the header and the claims -------------------------------


# By loader: what other loaders say, and the path and the claims that lead to it.
REFUSALS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "expired_token_loader": ({}, "/protected", access_claims(exp=1)),
    "revoked_token_loader": (
        {"token_in_blocklist_loader": True},
        "/protected",
        access_claims(),
    ),
    "needs_fresh_token_loader": ({}, "/fresh", access_claims()),
    "token_verification_failed_loader": (
        {"token_verification_loader": False},
        "/protected",
        access_claims(),
    ),
    "user_lookup_error_loader": ({"user_lookup_loader": None}, "/protected", access_claims()),
}


def two_arguments(result: Any, is_async: bool, received: list[Any]) -> Callable[..., Any]:
    """A callback that notes header and claims, changes both, and gives ``result``."""

    def callback(header: dict[str, Any], claims: dict[str, Any]) -> Any:
        received.append((dict(header), dict(claims)))
        header["alg"] = "none"
        header["more"] = "more"
        claims["identity"] = "mallory"
        return result

    async def callback_async(header: dict[str, Any], claims: dict[str, Any]) -> Any:
        return callback(header, claims)

    return callback_async if is_async else callback


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("loader", REFUSALS)
async def test_answering_loader_gets_header_and_claims_of_its_own(
    loader: str, is_async: bool
) -> None:
    others, path, claims = REFUSALS[loader]
    app = make_app()
    for other, result in others.items():
        getattr(manager_of(app), other)(lambda header, claims, result=result: result)
    received: list[Any] = []
    callback = two_arguments(({"own": "body"}, 418), is_async, received)
    assert getattr(manager_of(app), loader)(callback) is callback
    # Twice, for what the callback changes must be gone.
    for _ in range(2):
        answer = await get(app, path, hs_token(claims, header=HEADER))
        assert answer == (418, {"own": "body"})
    assert received == [(HEADER, {**claims, "user_claims": {}})] * 2
    assert app.calls == []


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("loader", "result", "status"),
    [
        ("token_in_blocklist_loader", False, 200),
        ("token_in_blocklist_loader", None, 200),
        ("token_in_blocklist_loader", True, 401),
        ("token_verification_loader", True, 200),
        ("token_verification_loader", False, 400),
        ("token_verification_loader", None, 400),
        ("user_lookup_loader", {"name": "a"}, 200),
        ("user_lookup_loader", None, 401),
    ],
)
async def test_deciding_loader_gets_header_and_claims(
    loader: str, result: Any, status: int, is_async: bool
) -> None:
    app = make_app()
    received: list[Any] = []
    callback = two_arguments(result, is_async, received)
    assert getattr(manager_of(app), loader)(callback) is callback
    claims = access_claims(user_claims={"role": "admin"})
    for _ in range(2):
        assert (await get(app, "/protected", hs_token(claims, header=HEADER)))[0] == status
    assert received == [(HEADER, claims)] * 2
    assert app.calls == ["protected"] * (2 if status == 200 else 0)


@pytest.mark.parametrize(
    "loader", ["token_in_blocklist_loader", "token_verification_loader", "user_lookup_loader"]
)
async def test_header_changed_in_depth_does_not_reach_later_requests(loader: str) -> None:
    """Headers are remembered from token to token; what a callback gets must not be that memory."""
    app = make_app()
    seen: list[Any] = []

    def callback(header: dict[str, Any], claims: dict[str, Any]) -> Any:
        seen.append([*header["own"]["list"]])
        header["own"]["list"].append("changed")
        return None if loader == "token_in_blocklist_loader" else True

    getattr(manager_of(app), loader)(callback)
    token = hs_token(access_claims(), header={**HEADER, "own": {"list": [1]}})
    for _ in range(3):
        assert (await get(app, "/protected", token))[0] == 200
    assert seen == [[1]] * 3


async def test_header_of_the_request_changed_in_depth_does_not_reach_later_requests(
    app: Quart,
) -> None:
    token = hs_token(access_claims(), header={**HEADER, "own": {"list": [1]}})
    for _ in range(3):
        async with app.test_request_context("/", headers=bearer(token)):
            header, _claims = await qje.verify_jwt_in_request()
            for found in (header, qje.get_jwt_header(), qje.get_raw_jwt_header()):
                assert found["own"] == {"list": [1]}
            header["own"]["list"].append("changed")


async def test_view_does_not_see_what_a_loader_does_to_the_header(app: Quart) -> None:
    for loader, result in (
        ("token_in_blocklist_loader", False),
        ("token_verification_loader", True),
        ("user_lookup_loader", "user"),
    ):

        def callback(header: dict[str, Any], claims: dict[str, Any], result: Any = result) -> Any:
            assert header == HEADER
            header["alg"] = "none"
            return result

        getattr(manager_of(app), loader)(callback)
    async with app.test_request_context(
        "/", headers=bearer(hs_token(access_claims(), header=HEADER))
    ):
        await qje.verify_jwt_in_request()
        assert qje.get_jwt_header() == HEADER


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_user_lookup_loader_gives_the_current_user(app: Quart, is_async: bool) -> None:
    users = {"alice": object()}

    def lookup(header: dict[str, Any], claims: dict[str, Any]) -> Any:
        return users.get(claims["identity"])

    async def lookup_async(header: dict[str, Any], claims: dict[str, Any]) -> Any:
        return lookup(header, claims)

    manager_of(app).user_lookup_loader(lookup_async if is_async else lookup)
    async with app.test_request_context("/", headers=bearer(GOOD)):
        await qje.verify_jwt_in_request()
        assert qje.get_current_user() is users["alice"]
        assert qje.current_user == users["alice"]
    answer = await get(app, "/protected", hs_token(access_claims(identity="bob")))
    assert answer == (401, {"msg": "Error loading the user bob"})


async def test_token_verification_loader_is_asked_about_both_types_of_token(app: Quart) -> None:
    """As in Flask-JWT-Extended; that of 0.1.0 knows user claims, which access tokens have."""
    manager_of(app).token_verification_loader(lambda header, claims: claims["tenant"] == "on")
    for path, claims in (("/protected", access_claims), ("/refresh", refresh_claims)):
        assert (await get(app, path, hs_token(claims(tenant="on"))))[0] == 200
        answer = await get(app, path, hs_token(claims(tenant="off")))
        assert answer == (400, {"msg": "User claims verification failed"})
    assert app.calls == ["protected", "refresh"]


# --- token_in_blocklist_loader -------------------------------------------------


@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh", "/refresh"])
@pytest.mark.parametrize("options", [{}, {"JWT_BLACKLIST_ENABLED": False}])
async def test_revoked_token_is_refused_although_the_blacklist_is_not_enabled(
    options: dict[str, Any], path: str
) -> None:
    """Its users know of no option: a revoked token must not get in for want of it."""
    app = make_app(**options)
    revoked = {"one"}
    manager_of(app).token_in_blocklist_loader(lambda header, claims: claims["jti"] in revoked)
    claims = refresh_claims if path == "/refresh" else access_claims
    fresh = True if path == "/fresh" else ...
    assert await get(app, path, hs_token(claims(jti="one", fresh=fresh))) == REVOKED
    assert (await get(app, path, hs_token(claims(jti="two", fresh=fresh))))[0] == 200
    assert app.calls == [path[1:]]


async def test_blocklist_loader_goes_by_the_types_that_are_checked() -> None:
    app = make_app(JWT_BLACKLIST_TOKEN_CHECKS=["refresh"])
    manager_of(app).token_in_blocklist_loader(lambda header, claims: True)
    assert (await get(app, "/protected"))[0] == 200
    assert await get(app, "/refresh", hs_token(refresh_claims())) == REVOKED


async def test_verify_function_raises_for_a_token_on_the_blocklist(app: Quart) -> None:
    manager_of(app).token_in_blocklist_loader(lambda header, claims: True)
    async with app.test_request_context("/", headers=bearer(GOOD)):
        with pytest.raises(RevokedTokenError):
            await qje.verify_jwt_in_request()
        assert qje.get_jwt_identity() is None


async def test_blocklist_loader_is_not_asked_for_a_request_without_a_token(app: Quart) -> None:
    asked: list[Any] = []
    manager_of(app).token_in_blocklist_loader(lambda header, claims: asked.append(claims))
    assert (await get(app, "/optional", None))[0] == 200
    assert asked == []


# --- Two loaders of one slot ---------------------------------------------------

SLOTS = [
    # The names of 0.1.0 and of Flask-JWT-Extended, each with its number of arguments.
    ("token_in_blacklist_loader", 1, "token_in_blocklist_loader", 2),
    ("claims_verification_loader", 1, "token_verification_loader", 2),
    ("claims_verification_failed_loader", 0, "token_verification_failed_loader", 2),
    ("user_loader_callback_loader", 1, "user_lookup_loader", 2),
    ("user_loader_error_loader", 1, "user_lookup_error_loader", 2),
]


def noting(name: str, count: int, called: list[str], result: Any) -> Callable[..., Any]:
    def note() -> Any:
        called.append(name)
        return result

    return (
        lambda: note(),
        lambda first: note(),
        lambda first, second: note(),
    )[count]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: slot[2])
async def test_last_registered_of_two_loaders_of_one_slot_wins(slot: Any, swapped: bool) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = manager_of(app)
    called: list[str] = []
    if "blacklist" not in slot[0]:
        manager.token_in_blacklist_loader(lambda claims: False)
    answering = {
        "claims_verification_failed_loader": ("claims_verification_loader", False),
        "user_loader_error_loader": ("user_loader_callback_loader", None),
    }
    result: Any = False
    if slot[0] in answering:
        loader, provoking = answering[slot[0]]
        getattr(manager, loader)(lambda value: provoking)
        result = ({}, 418)
    loaders = [(slot[0], slot[1]), (slot[2], slot[3])]
    if swapped:
        loaders.reverse()
    for loader, count in loaders:
        getattr(manager, loader)(noting(loader, count, called, result))
    await get(app, "/protected")
    assert called == [loaders[-1][0]]


@pytest.mark.parametrize("last", ["token_in_blacklist_loader", "token_in_blocklist_loader"])
async def test_last_blocklist_loader_decides_whether_the_option_is_needed(last: str) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=False)
    forms = {
        "token_in_blacklist_loader": lambda claims: True,
        "token_in_blocklist_loader": lambda header, claims: True,
    }
    for loader in sorted(forms, key=lambda name: name == last):
        getattr(manager_of(app), loader)(forms[loader])
    expected = 401 if last == "token_in_blocklist_loader" else 200
    assert (await get(app, "/protected"))[0] == expected


# --- Forms of the answering loaders --------------------------------------------


@pytest.mark.parametrize(
    ("loader", "forms"),
    [
        (
            "expired_token_loader",
            {
                "claims": (lambda note: lambda claims: note(claims), ["claims"]),
                "two": (lambda note: lambda header, claims: note(header, claims), "both"),
                "any": (lambda note: lambda *arguments: note(*arguments), ["claims"]),
                "default": (
                    lambda note: lambda claims, more=None: note(claims, more),
                    ["claims", None],
                ),
            },
        ),
        *(
            (
                loader,
                {
                    "none": (lambda note: lambda: note(), []),
                    "two": (lambda note: lambda header, claims: note(header, claims), "both"),
                    "any": (lambda note: lambda *arguments: note(*arguments), []),
                    "defaults": (
                        lambda note: lambda header=None, claims=None: note(header, claims),
                        [None, None],
                    ),
                },
            )
            for loader in ("revoked_token_loader", "needs_fresh_token_loader")
        ),
    ],
)
async def test_form_is_read_from_the_signature_and_that_of_0_1_0_goes_first(
    loader: str, forms: dict[str, Any]
) -> None:
    others, path, claims = REFUSALS[loader]
    filled = {**claims, "user_claims": {}}
    meant = {
        "both": [HEADER, filled],
        "claims": filled,
    }
    for name, (make, expected) in forms.items():
        app = make_app()
        for other, result in others.items():
            getattr(manager_of(app), other)(lambda header, claims, result=result: result)
        received: list[Any] = []

        def note(*arguments: Any, received: list[Any] = received) -> Any:
            received.append([*arguments])
            return {}, 418

        getattr(manager_of(app), loader)(make(note))
        assert (await get(app, path, hs_token(claims, header=HEADER)))[0] == 418
        if isinstance(expected, str):
            expected = meant[expected]
        else:
            expected = [meant["claims"] if item == "claims" else item for item in expected]
        assert (name, received) == (name, [expected])


@pytest.mark.parametrize(
    ("loader", "error"),
    [
        ("expired_token_loader", jwt.ExpiredSignatureError("own")),
        ("revoked_token_loader", RevokedTokenError("own")),
        ("needs_fresh_token_loader", qje.FreshTokenRequired("own")),
        ("token_verification_failed_loader", qje.UserClaimsVerificationError("own")),
        ("user_lookup_error_loader", qje.UserLoadError("own")),
    ],
)
async def test_error_raised_bare_reaches_the_callback_with_empty_header_and_claims(
    app: Quart, loader: str, error: Exception
) -> None:
    received: list[Any] = []
    getattr(manager_of(app), loader)(
        lambda header, claims: (received.append((header, claims)) or {}, 418)
    )

    @app.get("/own")
    async def own() -> str:
        raise error

    assert (await get(app, "/own", None))[0] == 418
    assert received == [({}, {})]


# --- additional_claims and additional_headers ----------------------------------

CREATORS = {
    "access": (qje.create_access_token, qje.create_access_token_async),
    "refresh": (qje.create_refresh_token, qje.create_refresh_token_async),
}


async def create(app: Quart, kind: str, is_async: bool, **arguments: Any) -> str:
    async with app.app_context():
        plain, twin = CREATORS[kind]
        return await twin("alice", **arguments) if is_async else plain("alice", **arguments)


@pytest.fixture(params=CREATORS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[False, True], ids=["plain", "twin"])
def is_async(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_additional_claims_of_the_call_stand_at_the_top_level(
    app: Quart, kind: str, is_async: bool
) -> None:
    given = {"role": "admin", "scope": "read write", "deep": {"a": [1, None]}}
    token = await create(app, kind, is_async, additional_claims=given)
    claims = read(token)
    assert {name: claims[name] for name in given} == given
    assert claims["identity"] == "alice"
    assert claims["type"] == kind
    assert given == {"role": "admin", "scope": "read write", "deep": {"a": [1, None]}}
    path = "/protected" if kind == "access" else "/refresh"
    assert (await get(app, path, token))[0] == 200


async def test_additional_claims_of_the_call_go_over_those_of_the_loader(
    app: Quart, kind: str, is_async: bool
) -> None:
    asked: list[Any] = []

    @manager_of(app).additional_claims_loader
    def load(identity: Any) -> dict[str, Any]:
        asked.append(identity)
        return {"role": "user", "from": "loader"}

    claims = read(await create(app, kind, is_async, additional_claims={"role": "admin", "own": 1}))
    assert (claims["role"], claims["from"], claims["own"]) == ("admin", "loader", 1)
    claims = read(await create(app, kind, is_async))
    assert (claims["role"], claims["from"]) == ("user", "loader")
    assert asked == ["alice", "alice"]


async def test_async_additional_claims_loader_is_awaited_by_the_twins(
    app: Quart, kind: str
) -> None:
    @manager_of(app).additional_claims_loader
    async def load(identity: Any) -> dict[str, Any]:
        return {"role": f"of {identity}"}

    claims = read(await create(app, kind, True, additional_claims={"own": 1}))
    assert (claims["role"], claims["own"]) == ("of alice", 1)
    with pytest.raises(RuntimeError, match=rf"create_{kind}_token_async"):
        await create(app, kind, False)


async def test_loader_may_add_nothing(app: Quart, kind: str, is_async: bool) -> None:
    plain = read(await create(app, kind, is_async))
    for nothing in (None, {}):
        manager_of(app).additional_claims_loader(lambda identity, nothing=nothing: nothing)
        for given in (None, {}):
            claims = read(await create(app, kind, is_async, additional_claims=given))
            assert list(claims) == list(plain)


async def test_additional_claims_and_user_claims_stand_beside_each_other(
    app: Quart, is_async: bool
) -> None:
    token = await create(
        app, "access", is_async, user_claims={"role": "a"}, additional_claims={"role": "b"}
    )
    claims = read(token)
    assert (claims["user_claims"], claims["role"]) == ({"role": "a"}, "b")


async def test_additional_claims_may_replace_ordinary_claims(
    app: Quart, kind: str, is_async: bool
) -> None:
    given = {"jti": "own", "iss": "own", "exp": FAR_FUTURE, "user_claims": {"a": 1}}
    token = await create(app, kind, is_async, additional_claims=given)
    claims = read(token)
    assert {name: claims[name] for name in given} == given


async def test_times_among_additional_claims_may_be_datetimes(
    app: Quart, kind: str, is_async: bool
) -> None:
    """As PyJWT, and with it Flask-JWT-Extended, allows."""
    zone = datetime.timezone(datetime.timedelta(hours=5))
    given = {
        "exp": datetime.datetime(2200, 1, 1, 5, tzinfo=zone),
        "nbf": datetime.datetime(2001, 1, 1),
        "iat": datetime.datetime(2002, 1, 1, tzinfo=datetime.timezone.utc),
    }
    claims = read(await create(app, kind, is_async, additional_claims=given))
    assert (claims["exp"], claims["nbf"], claims["iat"]) == (7258118400, 978307200, 1009843200)


REFUSED_NAMES = ["type", "fresh", "csrf", "identity"]


@pytest.mark.parametrize("name", REFUSED_NAMES)
async def test_claims_that_the_extension_sets_are_refused_of_a_call(
    app: Quart, kind: str, is_async: bool, name: str
) -> None:
    with pytest.raises(ValueError, match=rf'additional_claims must not hold "{name}"'):
        await create(app, kind, is_async, additional_claims={name: "access"})


@pytest.mark.parametrize("name", REFUSED_NAMES)
async def test_claims_that_the_extension_sets_are_refused_of_the_loader(
    app: Quart, kind: str, is_async: bool, name: str
) -> None:
    manager_of(app).additional_claims_loader(lambda identity: {name: True})
    with pytest.raises(ValueError, match=rf'additional_claims_loader must not hold "{name}"'):
        await create(app, kind, is_async)


@pytest.mark.parametrize("value", [[], "text", 5, [("role", "admin")]], ids=repr)
async def test_additional_argument_that_is_no_dict_is_refused(
    app: Quart, kind: str, is_async: bool, value: Any
) -> None:
    for argument in ("additional_claims", "additional_headers"):
        with pytest.raises(TypeError, match=rf"{argument} must be a dict"):
            await create(app, kind, is_async, **{argument: value})
    manager_of(app).additional_claims_loader(lambda identity: value)
    with pytest.raises(TypeError, match="additional_claims_loader must be a dict"):
        await create(app, kind, is_async)


@pytest.mark.parametrize("value", ["soon", None, True, float("nan")], ids=repr)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
async def test_time_that_no_token_could_be_read_back_with_is_refused(
    app: Quart, kind: str, is_async: bool, name: str, value: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        await create(app, kind, is_async, additional_claims={name: value})


async def test_additional_headers_of_the_call_go_over_headers_and_loader(
    app: Quart, kind: str, is_async: bool
) -> None:
    manager_of(app).additional_headers_loader(lambda identity: {"kid": "loader", "from": "loader"})
    token = await create(app, kind, is_async, additional_headers={"kid": "call", "own": 1})
    assert jwt.get_unverified_header(token) == {
        "typ": "JWT",
        "alg": "HS256",
        "kid": "call",
        "from": "loader",
        "own": 1,
    }
    token = await create(
        app,
        kind,
        is_async,
        headers={"kid": "headers", "more": 2},
        additional_headers={"kid": "call"},
    )
    assert jwt.get_unverified_header(token) == {
        "typ": "JWT",
        "alg": "HS256",
        "kid": "call",
        "more": 2,
    }
    token = await create(app, kind, is_async, additional_headers={})
    assert jwt.get_unverified_header(token)["kid"] == "loader"
    path = "/protected" if kind == "access" else "/refresh"
    assert (await get(app, path, token))[0] == 200


async def test_additional_headers_work_with_an_async_loader(app: Quart, kind: str) -> None:
    @manager_of(app).additional_headers_loader
    async def load(identity: Any) -> dict[str, Any]:
        return {"kid": "loader", "from": "loader"}

    token = await create(app, kind, True, additional_headers={"kid": "call"})
    header = jwt.get_unverified_header(token)
    assert (header["kid"], header["from"]) == ("call", "loader")


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"kid": 5}, TypeError),
        ({"alg": "none"}, ValueError),
        ({"crit": ["own"]}, ValueError),
        ({"b64": False}, ValueError),
    ],
)
async def test_additional_header_that_is_not_supported_is_refused(
    app: Quart, kind: str, is_async: bool, headers: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(headers))):
        await create(app, kind, is_async, additional_headers=headers)


# --- Options -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "claim"),
    [("api", "api"), (["api", "web"], ["api", "web"]), (("api",), ["api"]), ({"api"}, ["api"])],
)
async def test_encode_audience_goes_into_both_types_of_token(
    kind: str, is_async: bool, audience: Any, claim: Any
) -> None:
    app = make_app(JWT_ENCODE_AUDIENCE=audience, JWT_DECODE_AUDIENCE="api")
    token = await create(app, kind, is_async)
    assert read(token, audience="api")["aud"] == claim
    path = "/protected" if kind == "access" else "/refresh"
    assert (await get(app, path, token))[0] == 200
    app.config["JWT_DECODE_AUDIENCE"] = "other"
    assert (await get(app, path, token))[0] == 422


async def test_token_has_no_audience_by_default(app: Quart, kind: str, is_async: bool) -> None:
    assert "aud" not in read(await create(app, kind, is_async))


@pytest.mark.parametrize("value", [5, True, [1], [None], {"a": 1}.values()], ids=repr)
async def test_wrong_encode_audience_is_named(value: Any) -> None:
    app = make_app(JWT_ENCODE_AUDIENCE=value)
    with pytest.raises(RuntimeError, match="JWT_ENCODE_AUDIENCE"):
        await create(app, "access", False)


async def test_encode_nbf_decides_whether_a_token_says_from_when_it_holds(
    app: Quart, kind: str, is_async: bool
) -> None:
    claims = read(await create(app, kind, is_async))
    assert claims["nbf"] == claims["iat"]
    app.config["JWT_ENCODE_NBF"] = False
    token = await create(app, kind, is_async)
    assert "nbf" not in read(token)
    assert "iat" in read(token)
    path = "/protected" if kind == "access" else "/refresh"
    assert (await get(app, path, token))[0] == 200


@pytest.mark.parametrize("value", [None, 5, "no"], ids=repr)
async def test_wrong_encode_nbf_is_named(value: Any) -> None:
    app = make_app(JWT_ENCODE_NBF=value)
    with pytest.raises(RuntimeError, match="JWT_ENCODE_NBF"):
        await create(app, "access", False)


@pytest.mark.parametrize(
    ("prefix", "value", "status"),
    [
        ("", GOOD, 200),
        (None, GOOD, 200),
        ("Bearer ", f"Bearer {GOOD}", 200),
        ("Bearer ", GOOD, 401),
        ("Bearer ", f"bearer {GOOD}", 401),
        ("Bearer ", f" Bearer {GOOD}", 401),
        ("Bearer ", f"Bearer Bearer {GOOD}", 422),
        ("t=&%", f"t=&%{GOOD}", 200),
        ("é", f"é{GOOD}", 200),
        ("", f"Bearer {GOOD}", 422),
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
        "/protected", query_string={"jwt": "x"}, headers=bearer(GOOD)
    )
    assert response.status_code == 200


@pytest.mark.parametrize("value", [5, True, [], b"Bearer "], ids=repr)
async def test_wrong_query_string_value_prefix_is_named(value: Any) -> None:
    app = make_app(JWT_QUERY_STRING_VALUE_PREFIX=value)
    with pytest.raises(RuntimeError, match="JWT_QUERY_STRING_VALUE_PREFIX"):
        await create(app, "access", False)


# --- add_context_processor -----------------------------------------------------


def templated_app(tmp_path: Any, bind: Callable[[Quart], Any]) -> Quart:
    """An app with a template that shows the current user."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text("user: {{ current_user }}")
    app = Quart("templated", root_path=str(tmp_path))
    app.config["JWT_SECRET_KEY"] = SECRET
    bind(app)
    manager_of(app).user_lookup_loader(lambda header, claims: f"user {claims['identity']}")

    @app.get("/page")
    @qje.jwt_optional
    async def page() -> str:
        return await render_template("page.html")

    @app.get("/open")
    async def open_page() -> str:
        return await render_template_string("user: {{ current_user }}")

    return app


async def page_of(app: Quart, path: str, headers: dict[str, str]) -> str:
    response = await app.test_client().get(path, headers=headers)
    assert response.status_code == 200
    return await response.get_data(as_text=True)


@pytest.mark.parametrize(
    "bind",
    [
        lambda app: qje.JWTManager(app, add_context_processor=True),
        lambda app: qje.JWTManager(app, True),
        lambda app: qje.JWTManager().init_app(app, add_context_processor=True),
        lambda app: qje.JWTManager().init_app(app, True),
    ],
    ids=["constructor", "constructor by position", "init_app", "init_app by position"],
)
async def test_context_processor_gives_templates_the_current_user(
    tmp_path: Any, bind: Callable[[Quart], Any]
) -> None:
    app = templated_app(tmp_path, bind)
    assert await page_of(app, "/page", bearer(GOOD)) == "user: user alice"
    assert await page_of(app, "/page", {}) == "user: None"
    # Without a verification there is no user, whatever is sent.
    assert await page_of(app, "/open", bearer(GOOD)) == "user: None"


@pytest.mark.parametrize(
    "bind",
    [
        qje.JWTManager,
        lambda app: qje.JWTManager(app, add_context_processor=False),
        lambda app: qje.JWTManager().init_app(app),
    ],
    ids=["constructor", "False", "init_app"],
)
async def test_templates_get_no_current_user_unasked(
    tmp_path: Any, bind: Callable[[Quart], Any]
) -> None:
    app = templated_app(tmp_path, bind)
    assert await page_of(app, "/page", bearer(GOOD)) == "user: "


# --- domain= in the cookie functions -------------------------------------------


@pytest.mark.parametrize("csrf", [False, True])
@pytest.mark.parametrize("configured", [None, "configured.example"])
@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (qje.set_access_cookies, ["access"]),
        (qje.set_refresh_cookies, ["refresh"]),
        (qje.unset_access_cookies, ["access"]),
        (qje.unset_refresh_cookies, ["refresh"]),
        (qje.unset_jwt_cookies, ["access", "refresh"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_domain_of_the_call_goes_over_that_of_the_configuration(
    function: Any, kinds: list[str], configured: str | None, csrf: bool
) -> None:
    app = make_app(
        JWT_TOKEN_LOCATION="cookies", JWT_COOKIE_DOMAIN=configured, JWT_COOKIE_CSRF_PROTECT=csrf
    )
    token = hs_token(access_claims(csrf="value"))
    arguments = [token] if function.__name__.startswith("set") else []
    names = {f"{kind}_token_cookie" for kind in kinds}
    if csrf:
        names |= {f"csrf_{kind}_token" for kind in kinds}
    for given, expected in (
        ({}, configured),
        ({"domain": None}, configured),
        ({"domain": "call.example"}, "call.example"),
    ):
        async with app.app_context():
            response = Response("")
            function(response, *arguments, **given)
        cookies = {}
        for line in response.headers.getlist("Set-Cookie"):
            first, *attributes = line.split("; ")
            found = [item[7:] for item in attributes if item.lower().startswith("domain=")]
            cookies[first.partition("=")[0]] = found
        assert cookies == {name: [] if expected is None else [expected] for name in names}
