"""What the four creators put into a token, read back with PyJWT."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import inspect
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from quart import Quart
from quart.json.provider import DefaultJSONProvider, JSONProvider
from werkzeug.local import LocalProxy

import quart_jwt_extended as qje
from quart_jwt_extended import tokens
from support import FAR_FUTURE, SECRET, access_claims, ask, claims_of, make_app, manager_of

Creator = Callable[..., Any]

ACCESS = [qje.create_access_token, qje.create_access_token_async]
REFRESH = [qje.create_refresh_token, qje.create_refresh_token_async]
CREATORS = [*ACCESS, *REFRESH]

access = pytest.mark.parametrize("create", ACCESS, ids=lambda creator: creator.__name__)
refresh = pytest.mark.parametrize("create", REFRESH, ids=lambda creator: creator.__name__)
both = pytest.mark.parametrize("create", CREATORS, ids=lambda creator: creator.__name__)


async def call(create: Creator, *args: Any, **kwargs: Any) -> str:
    """Call either kind of creator inside the current context."""
    result = create(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def new_token(app: Quart, create: Creator, *args: Any, **kwargs: Any) -> str:
    """A token made outside any request."""
    async with app.app_context():
        return await call(create, *args, **kwargs)


def path_of(create: Creator) -> str:
    """The view that takes what a creator makes."""
    return "/protected" if create in ACCESS else "/refresh"


async def new_claims(app: Quart, create: Creator, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return claims_of(await new_token(app, create, *args, **kwargs))


class Months:
    """Adds to a datetime and is no timedelta, as ``dateutil.relativedelta``."""

    def __init__(self, months: int) -> None:
        self.months = months

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, datetime.datetime):
            return NotImplemented
        return other + datetime.timedelta(days=31 * self.months)

    __radd__ = __add__


@access
async def test_new_access_token_has_exactly_these_claims(app: Quart, create: Creator) -> None:
    before = int(time.time())
    claims = await new_claims(app, create, "alice")
    after = int(time.time())
    assert set(claims) == {"iat", "nbf", "jti", "exp", "identity", "type", "fresh"}
    assert before <= claims["iat"] <= after
    assert claims["nbf"] == claims["iat"]
    assert claims["exp"] == claims["iat"] + 15 * 60
    assert [type(claims[name]) for name in ("iat", "nbf", "exp")] == [int, int, int]
    assert claims["identity"] == "alice"
    assert claims["type"] == "access"
    assert claims["fresh"] is False


@refresh
async def test_new_refresh_token_has_exactly_these_claims(app: Quart, create: Creator) -> None:
    before = int(time.time())
    claims = await new_claims(app, create, "alice")
    after = int(time.time())
    assert set(claims) == {"iat", "nbf", "jti", "exp", "identity", "type"}
    assert before <= claims["iat"] <= after
    assert claims["nbf"] == claims["iat"]
    assert claims["exp"] == claims["iat"] + 30 * 24 * 3600
    assert [type(claims[name]) for name in ("iat", "nbf", "exp")] == [int, int, int]
    assert claims["identity"] == "alice"
    assert claims["type"] == "refresh"


@both
async def test_new_token_is_a_string_with_the_usual_header(app: Quart, create: Creator) -> None:
    token = await new_token(app, create, "alice")
    assert type(token) is str
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "HS256"}


@both
async def test_jti_of_each_token_is_a_new_random_uuid(app: Quart, create: Creator) -> None:
    ids = [(await new_claims(app, create, "alice"))["jti"] for _ in range(200)]
    assert len(set(ids)) == 200
    # As 0.1.0 writes it; of another variant (RFC 9562, section 4.1) the version is None.
    assert all(str(uuid.UUID(value)) == value for value in ids)
    assert {uuid.UUID(value).version for value in ids} == {4}


@access
async def test_arguments_of_an_access_token_may_be_given_by_position(
    app: Quart, create: Creator
) -> None:
    delta = datetime.timedelta(seconds=5)
    token = await new_token(app, create, "alice", True, delta, {"role": "admin"}, {"kid": "1"})
    claims = claims_of(token)
    assert claims["fresh"] is True
    assert claims["exp"] - claims["iat"] == 5
    assert claims["user_claims"] == {"role": "admin"}
    assert jwt.get_unverified_header(token)["kid"] == "1"


@refresh
async def test_arguments_of_a_refresh_token_may_be_given_by_position(
    app: Quart, create: Creator
) -> None:
    delta = datetime.timedelta(seconds=5)
    token = await new_token(app, create, "alice", delta, {"role": "admin"}, {"kid": "1"})
    claims = claims_of(token)
    assert claims["exp"] - claims["iat"] == 5
    assert claims["user_claims"] == {"role": "admin"}
    assert jwt.get_unverified_header(token)["kid"] == "1"


@both
async def test_every_argument_may_be_given_by_name(app: Quart, create: Creator) -> None:
    arguments = {
        "identity": "alice",
        "expires_delta": datetime.timedelta(seconds=5),
        "user_claims": {"role": "admin"},
        "headers": {"kid": "1"},
    }
    if create in ACCESS:
        arguments["fresh"] = True
    token = await new_token(app, create, **arguments)
    claims = claims_of(token)
    assert claims["identity"] == "alice"
    assert claims["exp"] - claims["iat"] == 5
    assert claims["user_claims"] == {"role": "admin"}
    assert claims.get("fresh") is (True if create in ACCESS else None)
    assert jwt.get_unverified_header(token)["kid"] == "1"


@pytest.mark.parametrize("fresh", [True, False])
@access
async def test_fresh_bool_is_stored_as_it_is(app: Quart, create: Creator, fresh: bool) -> None:
    assert (await new_claims(app, create, "alice", fresh=fresh))["fresh"] is fresh


@pytest.mark.parametrize("seconds", [600, 0, -600, 86400 * 365 * 100])
@access
async def test_fresh_timedelta_becomes_the_posix_time_until_which_it_is_fresh(
    app: Quart, create: Creator, seconds: int
) -> None:
    before = int(time.time())
    delta = datetime.timedelta(seconds=seconds)
    claims = await new_claims(app, create, "alice", fresh=delta)
    after = int(time.time())
    assert type(claims["fresh"]) is int
    assert before + seconds <= claims["fresh"] <= after + seconds


# The four ways in which a lifetime reaches a token, each as (options, arguments).
LIFETIMES = [
    ({}, {"expires_delta": datetime.timedelta(minutes=2)}, 120),
    ({}, {"expires_delta": datetime.timedelta(days=20000)}, 20000 * 86400),
    ({}, {"expires_delta": Months(2)}, 62 * 86400),
    ({"EXPIRES": datetime.timedelta(minutes=2)}, {}, 120),
    ({"EXPIRES": 120}, {}, 120),
    ({"EXPIRES": Months(2)}, {}, 62 * 86400),
    ({"EXPIRES": 120}, {"expires_delta": None}, 120),
    ({"EXPIRES": False}, {"expires_delta": datetime.timedelta(minutes=2)}, 120),
    ({"EXPIRES": 120}, {"expires_delta": Months(1)}, 31 * 86400),
    # 0.1.0 took a zero lifetime for no expiry at all; only False says so.
    ({"EXPIRES": 120}, {"expires_delta": datetime.timedelta(0)}, 0),
]


def lifetime_options(create: Creator, options: dict[str, Any]) -> dict[str, Any]:
    kind = "ACCESS" if create in ACCESS else "REFRESH"
    return {f"JWT_{kind}_TOKEN_{name}": value for name, value in options.items()}


@pytest.mark.parametrize(("options", "arguments", "seconds"), LIFETIMES)
@both
async def test_lifetime_is_added_to_the_time_of_issue(
    create: Creator, options: dict[str, Any], arguments: dict[str, Any], seconds: int
) -> None:
    app = make_app(**lifetime_options(create, options))
    token = await new_token(app, create, "alice", **arguments)
    claims = claims_of(token, verify_exp=False)
    assert type(claims["exp"]) is int
    assert claims["exp"] - claims["iat"] == seconds


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, {"expires_delta": False}),
        ({"EXPIRES": False}, {}),
        ({"EXPIRES": False}, {"expires_delta": None}),
        ({"EXPIRES": 120}, {"expires_delta": False}),
    ],
)
@both
async def test_token_without_expiry_has_no_exp(
    create: Creator, options: dict[str, Any], arguments: dict[str, Any]
) -> None:
    app = make_app(**lifetime_options(create, options))
    claims = await new_claims(app, create, "alice", **arguments)
    assert "exp" not in claims
    assert {"iat", "nbf", "jti", "identity", "type"} <= set(claims)


@pytest.mark.parametrize("create", CREATORS, ids=lambda creator: creator.__name__)
async def test_lifetime_of_the_other_type_has_no_effect(create: Creator) -> None:
    other = REFRESH if create in ACCESS else ACCESS
    app = make_app(**lifetime_options(other[0], {"EXPIRES": 7}))
    claims = await new_claims(app, create, "alice")
    assert claims["exp"] - claims["iat"] > 7


@both
async def test_expiry_is_in_utc_whatever_the_zone_of_the_machine(
    app: Quart, create: Creator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        now = int(time.time())
        claims = await new_claims(app, create, "alice", expires_delta=Months(1))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert 0 <= claims["iat"] - now <= 5
    assert 0 <= claims["exp"] - now - 31 * 86400 <= 5


@both
async def test_user_claims_argument_is_stored(app: Quart, create: Creator) -> None:
    given = {"role": "admin", "groups": [1, {"deep": None}], "": "ü"}
    claims = await new_claims(app, create, "alice", user_claims=given)
    assert claims["user_claims"] == {"role": "admin", "groups": [1, {"deep": None}], "": "ü"}


@access
async def test_user_claims_loader_fills_access_tokens(app: Quart, create: Creator) -> None:
    manager_of(app).user_claims_loader(lambda user: {"of": user})
    assert (await new_claims(app, create, "alice"))["user_claims"] == {"of": "alice"}


@pytest.mark.parametrize("in_refresh", [False, True])
@refresh
async def test_user_claims_loader_fills_refresh_tokens_only_if_configured(
    create: Creator, in_refresh: bool
) -> None:
    app = make_app(JWT_CLAIMS_IN_REFRESH_TOKEN=in_refresh)
    manager_of(app).user_claims_loader(lambda user: {"of": user})
    claims = await new_claims(app, create, "alice")
    assert claims.get("user_claims") == ({"of": "alice"} if in_refresh else None)


@pytest.mark.parametrize("argument", [{"own": 1}, {}])
@both
async def test_user_claims_argument_takes_the_place_of_the_loader(
    create: Creator, argument: dict[str, Any]
) -> None:
    app = make_app(JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    called = []
    manager_of(app).user_claims_loader(lambda user: called.append(user) or {"of": user})
    claims = await new_claims(app, create, "alice", user_claims=argument)
    assert claims.get("user_claims", {}) == argument
    assert called == []


@pytest.mark.parametrize("empty", [{}, None])
@both
async def test_no_user_claims_leave_no_claim(create: Creator, empty: Any) -> None:
    app = make_app(JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    manager_of(app).user_claims_loader(lambda user: empty)
    assert "user_claims" not in await new_claims(app, create, "alice")


@both
async def test_arguments_are_left_as_they_were(create: Creator) -> None:
    app = make_app(JWT_TOKEN_LOCATION=["cookies"], JWT_ENCODE_ISSUER="issuer")
    identity, user_claims, headers = {"id": 1}, {"role": "admin"}, {"kid": "1"}
    await new_token(app, create, identity, user_claims=user_claims, headers=headers)
    assert (identity, user_claims, headers) == ({"id": 1}, {"role": "admin"}, {"kid": "1"})


@both
async def test_own_claim_names_replace_the_defaults(create: Creator) -> None:
    app = make_app(JWT_IDENTITY_CLAIM="sub", JWT_USER_CLAIMS="extra")
    claims = await new_claims(app, create, "alice", user_claims={"role": "admin"})
    assert claims["sub"] == "alice"
    assert claims["extra"] == {"role": "admin"}
    assert not {"identity", "user_claims"} & set(claims)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"JWT_TOKEN_LOCATION": "cookies"}, True),
        ({"JWT_TOKEN_LOCATION": ["headers", "cookies"]}, True),
        ({"JWT_TOKEN_LOCATION": {"cookies", "json"}}, True),
        ({"JWT_TOKEN_LOCATION": ["headers", "query_string", "json"]}, False),
        ({"JWT_TOKEN_LOCATION": "cookies", "JWT_COOKIE_CSRF_PROTECT": False}, False),
        ({"JWT_TOKEN_LOCATION": "cookies", "JWT_CSRF_IN_COOKIES": False}, True),
    ],
)
@both
async def test_csrf_claim_is_there_when_protection_is_in_force(
    create: Creator, options: dict[str, Any], expected: bool
) -> None:
    claims = await new_claims(make_app(**options), create, "alice")
    assert ("csrf" in claims) is expected


@both
async def test_csrf_value_of_each_token_is_new_and_not_its_jti(create: Creator) -> None:
    app = make_app(JWT_TOKEN_LOCATION="cookies")
    tokens = [await new_claims(app, create, "alice") for _ in range(50)]
    values = {claims["csrf"] for claims in tokens}
    assert len(values) == 50
    assert {uuid.UUID(value).version for value in values} == {4}
    assert not values & {claims["jti"] for claims in tokens}


@pytest.mark.parametrize("issuer", [None, "https://issuer.example"])
@both
async def test_issuer_goes_into_both_types_if_configured(
    create: Creator, issuer: str | None
) -> None:
    claims = await new_claims(make_app(JWT_ENCODE_ISSUER=issuer), create, "alice")
    assert claims.get("iss") == issuer
    assert ("iss" in claims) is (issuer is not None)


@both
async def test_headers_argument_adds_to_the_header(app: Quart, create: Creator) -> None:
    headers = {"kid": "key-1", "x": {"deep": [1]}}
    token = await new_token(app, create, "alice", headers=headers)
    expected = {"typ": "JWT", "alg": "HS256", "kid": "key-1", "x": {"deep": [1]}}
    assert jwt.get_unverified_header(token) == expected


@both
async def test_headers_argument_may_set_another_typ(app: Quart, create: Creator) -> None:
    token = await new_token(app, create, "alice", headers={"typ": "at+jwt"})
    assert jwt.get_unverified_header(token) == {"typ": "at+jwt", "alg": "HS256"}
    assert claims_of(token)["identity"] == "alice"


@both
async def test_additional_headers_loader_adds_to_the_header(app: Quart, create: Creator) -> None:
    manager_of(app).additional_headers_loader(lambda user: {"kid": f"of {user}"})
    token = await new_token(app, create, "alice")
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "HS256", "kid": "of alice"}


@pytest.mark.parametrize("argument", [{"kid": "own"}, {}])
@both
async def test_headers_argument_takes_the_place_of_the_loader(
    app: Quart, create: Creator, argument: dict[str, Any]
) -> None:
    called = []
    manager_of(app).additional_headers_loader(lambda user: called.append(user) or {"kid": "x"})
    token = await new_token(app, create, "alice", headers=argument)
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "HS256", **argument}
    assert called == []


@pytest.mark.parametrize("nothing", [None, {}])
@both
async def test_additional_headers_loader_may_add_nothing(
    app: Quart, create: Creator, nothing: Any
) -> None:
    manager_of(app).additional_headers_loader(lambda user: nothing)
    token = await new_token(app, create, "alice")
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "HS256"}


class User:
    """An application's user, which is not JSON-serialisable."""

    def __init__(self, name: str) -> None:
        self.name = name


@both
async def test_identity_loader_turns_an_object_into_the_identity(create: Creator) -> None:
    """The other callbacks get the object itself, as in 0.1.0."""
    app = make_app(JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    manager = manager_of(app)
    received: dict[str, Any] = {}

    @manager.user_identity_loader
    def identity_of(user: User) -> str:
        return user.name

    @manager.user_claims_loader
    def claims_for(user: User) -> dict[str, Any]:
        received["claims"] = user
        return {"initial": user.name[0]}

    @manager.additional_headers_loader
    def headers_for(user: User) -> dict[str, Any]:
        received["headers"] = user
        return {"kid": user.name}

    @manager.encode_key_loader
    def key_for(user: User) -> str:
        received["key"] = user
        return SECRET

    alice = User("alice")
    token = await new_token(app, create, alice)
    claims = claims_of(token)
    assert claims["identity"] == "alice"
    assert claims["user_claims"] == {"initial": "a"}
    assert jwt.get_unverified_header(token)["kid"] == "alice"
    assert received == {"claims": alice, "headers": alice, "key": alice}


@pytest.mark.parametrize(
    "identity",
    [
        "alice",
        "",
        'ünïcödé \N{GRINNING FACE} \x00 " \\ \u2028',
        0,
        -1,
        2**63,
        10**30,
        1.5,
        True,
        False,
        None,
        [],
        ["a", 1, None],
        {},
        {"id": 1, "tags": ["x"], "nested": {"deep": None}},
    ],
    ids=repr,
)
@both
async def test_serialisable_identity_comes_back_with_value_and_type(
    app: Quart, create: Creator, identity: Any
) -> None:
    claims = await new_claims(app, create, identity)
    assert claims["identity"] == identity
    assert type(claims["identity"]) is type(identity)


async def test_tuple_as_identity_comes_back_as_a_list(app: Quart) -> None:
    claims = await new_claims(app, qje.create_access_token, (1, 2))
    assert claims["identity"] == [1, 2]


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Html:
    def __html__(self) -> str:
        return "<b>html</b>"


MOMENT = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
IDENTIFIER = uuid.UUID("12345678-1234-5678-1234-567812345678")

# What Quart's own JSON provider makes of these, written out.
PROVIDER_VALUES = [
    (MOMENT, "Thu, 29 Feb 2024 12:30:00 GMT"),
    (datetime.date(2024, 2, 29), "Thu, 29 Feb 2024 00:00:00 GMT"),
    (IDENTIFIER, "12345678-1234-5678-1234-567812345678"),
    (decimal.Decimal("1.10"), "1.10"),
    (Point(1, 2), {"x": 1, "y": 2}),
    (Html(), "<b>html</b>"),
]


@pytest.mark.parametrize(("value", "expected"), PROVIDER_VALUES, ids=lambda v: type(v).__name__)
@both
async def test_values_known_to_the_json_provider_are_converted(
    app: Quart, create: Creator, value: Any, expected: Any
) -> None:
    claims = await new_claims(app, create, value, user_claims={"deep": [value]})
    assert claims["identity"] == expected
    assert claims["user_claims"] == {"deep": [expected]}


@both
async def test_own_json_provider_decides_how_values_are_converted(create: Creator) -> None:
    class Provider(DefaultJSONProvider):
        @staticmethod
        def default(value: Any) -> Any:
            return {"converted": type(value).__name__}

    class App(Quart):
        json_provider_class = Provider

    app = App("own_provider")
    app.config["JWT_SECRET_KEY"] = SECRET
    qje.JWTManager(app)
    claims = await new_claims(app, create, MOMENT, user_claims={"set": {1}})
    assert claims["identity"] == {"converted": "datetime"}
    assert claims["user_claims"] == {"set": {"converted": "set"}}


@both
async def test_json_provider_without_a_default_leaves_the_one_of_quart(create: Creator) -> None:
    class Provider(JSONProvider):
        def dumps(self, obj: Any, **kwargs: Any) -> str:
            raise NotImplementedError

        def loads(self, s: str | bytes, **kwargs: Any) -> Any:
            raise NotImplementedError

    class App(Quart):
        json_provider_class = Provider

    app = App("bare_provider")
    app.config["JWT_SECRET_KEY"] = SECRET
    qje.JWTManager(app)
    claims = await new_claims(app, create, IDENTIFIER)
    assert claims["identity"] == str(IDENTIFIER)


@pytest.mark.parametrize(
    "arguments",
    [
        {"identity": object()},
        {"identity": "alice", "user_claims": {"set": {1}}},
        {"identity": b"bytes"},
    ],
)
@both
async def test_value_that_is_not_serialisable_raises_type_error(
    app: Quart, create: Creator, arguments: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="is not JSON serializable"):
        await new_token(app, create, **arguments)


@pytest.mark.parametrize("identity", [1, 1.5, True, None, ["alice"], {"id": 1}], ids=repr)
@both
async def test_sub_that_is_no_string_raises_type_error_with_the_way_out(
    create: Creator, identity: Any
) -> None:
    """Such a token could be made and never be used."""
    app = make_app(JWT_IDENTITY_CLAIM="sub")
    with pytest.raises(TypeError) as caught:
        await new_token(app, create, identity)
    assert "user_identity_loader" in str(caught.value)
    assert "JWT_VERIFY_SUB" in str(caught.value)


@both
async def test_sub_made_a_string_by_the_identity_loader_is_accepted(create: Creator) -> None:
    app = make_app(JWT_IDENTITY_CLAIM="sub")
    manager_of(app).user_identity_loader(str)
    claims = claims_of(await new_token(app, create, 7), verify_sub=True)
    assert claims["sub"] == "7"


@both
async def test_sub_of_any_type_is_accepted_when_the_check_is_off(create: Creator) -> None:
    app = make_app(JWT_IDENTITY_CLAIM="sub", JWT_VERIFY_SUB=False)
    assert (await new_claims(app, create, 7))["sub"] == 7


@both
async def test_identity_of_any_type_is_accepted_under_another_claim(
    app: Quart, create: Creator
) -> None:
    assert app.config["JWT_VERIFY_SUB"] is True
    assert (await new_claims(app, create, 7))["identity"] == 7


@both
async def test_token_can_be_made_inside_a_request_context(app: Quart, create: Creator) -> None:
    async with app.test_request_context("/login", method="POST"):
        token = await call(create, "alice")
    assert claims_of(token)["identity"] == "alice"


@both
async def test_token_can_be_made_inside_an_open_view(app: Quart, create: Creator) -> None:
    @app.post("/login")
    async def login() -> dict[str, str]:
        return {"token": await call(create, "alice")}

    response = await app.test_client().post("/login")
    assert claims_of((await response.get_json())["token"])["identity"] == "alice"


@both
async def test_token_outside_any_context_raises_runtime_error(create: Creator) -> None:
    with pytest.raises(RuntimeError, match="context"):
        await call(create, "alice")


@pytest.mark.parametrize(
    ("create", "path"),
    [
        *((create, "/protected") for create in ACCESS),
        *((create, "/refresh") for create in REFRESH),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_new_token_opens_the_view_of_its_type(app: Quart, create: Creator, path: str) -> None:
    token = await new_token(app, create, "alice", user_claims={"role": "admin"})
    response = await app.test_client().get(path, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 200
    body = await response.get_json()
    assert (body["identity"], body["user_claims"]) == ("alice", {"role": "admin"})


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"headers": ["kid"]}, TypeError, "headers must be a dict or None"),
        ({"headers": {"kid": 5}}, TypeError, '"kid"'),
        ({"headers": {"alg": "none"}}, ValueError, '"alg"'),
        ({"headers": {"alg": "XS256"}}, ValueError, "HS256"),
        ({"headers": {"b64": False}}, ValueError, '"b64" and "crit"'),
        ({"headers": {"crit": ["exp"]}}, ValueError, '"b64" and "crit"'),
        ({"fresh": "yes"}, TypeError, "fresh must be a bool or a timedelta"),
        ({"fresh": 1.5}, TypeError, "fresh must be a bool or a timedelta"),
        ({"expires_delta": True}, TypeError, "expires_delta"),
    ],
)
async def test_wrong_argument_is_refused_by_name(
    app: Quart, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    async with app.app_context():
        with pytest.raises(error, match=text):
            qje.create_access_token("alice", **arguments)


async def test_header_without_a_type_leaves_typ_out(app: Quart) -> None:
    async with app.app_context():
        token = qje.create_access_token("alice", headers={"typ": "", "alg": "HS512"})
    assert jwt.get_unverified_header(token) == {"alg": "HS512"}
    assert jwt.decode(token, SECRET, algorithms=["HS512"])["identity"] == "alice"


# --- additional_claims and additional_headers ----------------------------------


@both
async def test_additional_claims_of_the_call_stand_at_the_top_level(
    app: Quart, create: Creator
) -> None:
    given = {"role": "admin", "scope": "read write", "deep": {"a": [1, None]}}
    token = await new_token(app, create, "alice", additional_claims=given)
    claims = claims_of(token)
    assert {name: claims[name] for name in given} == given
    assert claims["identity"] == "alice"
    assert claims["type"] == ("access" if create in ACCESS else "refresh")
    assert given == {"role": "admin", "scope": "read write", "deep": {"a": [1, None]}}
    path = path_of(create)
    assert (await ask(app, path, token))[0] == 200


@both
async def test_additional_claims_of_the_call_go_over_those_of_the_loader(
    app: Quart, create: Creator
) -> None:
    asked: list[Any] = []

    @manager_of(app).additional_claims_loader
    def load(identity: Any) -> dict[str, Any]:
        asked.append(identity)
        return {"role": "user", "from": "loader"}

    claims = claims_of(
        await new_token(app, create, "alice", additional_claims={"role": "admin", "own": 1})
    )
    assert (claims["role"], claims["from"], claims["own"]) == ("admin", "loader", 1)
    claims = claims_of(await new_token(app, create, "alice"))
    assert (claims["role"], claims["from"]) == ("user", "loader")
    assert asked == ["alice", "alice"]


@pytest.mark.parametrize("create", [ACCESS[1], REFRESH[1]])
async def test_async_loaders_of_claims_and_headers_are_awaited_by_the_twins(
    app: Quart, create: Creator
) -> None:
    @manager_of(app).additional_claims_loader
    async def load_claims(identity: Any) -> dict[str, Any]:
        return {"role": f"of {identity}"}

    @manager_of(app).additional_headers_loader
    async def load_headers(identity: Any) -> dict[str, Any]:
        return {"kid": "loader", "from": "loader"}

    token = await new_token(
        app, create, "alice", additional_claims={"own": 1}, additional_headers={"kid": "call"}
    )
    claims, header = claims_of(token), jwt.get_unverified_header(token)
    assert (claims["role"], claims["own"]) == ("of alice", 1)
    assert (header["kid"], header["from"]) == ("call", "loader")


@both
async def test_loader_may_add_nothing(app: Quart, create: Creator) -> None:
    plain = claims_of(await new_token(app, create, "alice"))
    for nothing in (None, {}):
        manager_of(app).additional_claims_loader(lambda identity, nothing=nothing: nothing)
        for given in (None, {}):
            claims = claims_of(await new_token(app, create, "alice", additional_claims=given))
            assert list(claims) == list(plain)


@access
async def test_additional_claims_and_user_claims_stand_beside_each_other(
    app: Quart, create: Creator
) -> None:
    token = await new_token(
        app, create, "alice", user_claims={"role": "a"}, additional_claims={"role": "b"}
    )
    claims = claims_of(token)
    assert (claims["user_claims"], claims["role"]) == ({"role": "a"}, "b")


@both
async def test_additional_claims_may_replace_ordinary_claims(app: Quart, create: Creator) -> None:
    given = {"jti": "own", "iss": "own", "exp": FAR_FUTURE, "user_claims": {"a": 1}}
    token = await new_token(app, create, "alice", additional_claims=given)
    claims = claims_of(token)
    assert {name: claims[name] for name in given} == given


@both
async def test_times_among_additional_claims_may_be_datetimes(app: Quart, create: Creator) -> None:
    """As PyJWT, and with it Flask-JWT-Extended, allows."""
    zone = datetime.timezone(datetime.timedelta(hours=5))
    given = {
        "exp": datetime.datetime(2200, 1, 1, 5, tzinfo=zone),
        "nbf": datetime.datetime(2001, 1, 1),
        "iat": datetime.datetime(2002, 1, 1, tzinfo=datetime.timezone.utc),
    }
    claims = claims_of(await new_token(app, create, "alice", additional_claims=given))
    assert (claims["exp"], claims["nbf"], claims["iat"]) == (7258118400, 978307200, 1009843200)


REFUSED_NAMES = ["type", "fresh", "csrf", "identity"]


@pytest.mark.parametrize("name", REFUSED_NAMES)
@both
async def test_claims_that_the_extension_sets_are_refused_of_a_call(
    app: Quart, create: Creator, name: str
) -> None:
    with pytest.raises(ValueError, match=rf'additional_claims must not contain "{name}"'):
        await new_token(app, create, "alice", additional_claims={name: "access"})


@pytest.mark.parametrize("name", REFUSED_NAMES)
@both
async def test_claims_that_the_extension_sets_are_refused_of_the_loader(
    app: Quart, create: Creator, name: str
) -> None:
    manager_of(app).additional_claims_loader(lambda identity: {name: True})
    with pytest.raises(ValueError, match=rf'additional_claims_loader must not contain "{name}"'):
        await new_token(app, create, "alice")


@pytest.mark.parametrize("value", [[], "text", 5, [("role", "admin")]], ids=repr)
@both
async def test_additional_argument_that_is_no_dict_is_refused(
    app: Quart, create: Creator, value: Any
) -> None:
    for argument in ("additional_claims", "additional_headers"):
        with pytest.raises(TypeError, match=rf"{argument} must be a dict"):
            await new_token(app, create, "alice", **{argument: value})
    manager_of(app).additional_claims_loader(lambda identity: value)
    with pytest.raises(TypeError, match="additional_claims_loader must be a dict"):
        await new_token(app, create, "alice")


@pytest.mark.parametrize("value", ["soon", None, True, float("nan")], ids=repr)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@both
async def test_time_that_no_token_could_be_read_back_with_is_refused(
    app: Quart, create: Creator, name: str, value: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        await new_token(app, create, "alice", additional_claims={name: value})


@both
async def test_additional_headers_of_the_call_go_over_headers_and_loader(
    app: Quart, create: Creator
) -> None:
    manager_of(app).additional_headers_loader(lambda identity: {"kid": "loader", "from": "loader"})
    token = await new_token(app, create, "alice", additional_headers={"kid": "call", "own": 1})
    assert jwt.get_unverified_header(token) == {
        "typ": "JWT",
        "alg": "HS256",
        "kid": "call",
        "from": "loader",
        "own": 1,
    }
    token = await new_token(
        app,
        create,
        "alice",
        headers={"kid": "headers", "more": 2},
        additional_headers={"kid": "call"},
    )
    assert jwt.get_unverified_header(token) == {
        "typ": "JWT",
        "alg": "HS256",
        "kid": "call",
        "more": 2,
    }
    token = await new_token(app, create, "alice", additional_headers={})
    assert jwt.get_unverified_header(token)["kid"] == "loader"
    path = path_of(create)
    assert (await ask(app, path, token))[0] == 200


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"kid": 5}, TypeError),
        ({"alg": "none"}, ValueError),
        ({"crit": ["own"]}, ValueError),
        ({"b64": False}, ValueError),
    ],
)
@both
async def test_additional_header_that_is_not_supported_is_refused(
    app: Quart, create: Creator, headers: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(headers))):
        await new_token(app, create, "alice", additional_headers=headers)


# --- JWT_ENCODE_AUDIENCE and JWT_ENCODE_NBF -------------------------------------


@pytest.mark.parametrize(
    ("audience", "claim"),
    [("api", "api"), (["api", "web"], ["api", "web"]), (("api",), ["api"]), ({"api"}, ["api"])],
)
@both
async def test_encode_audience_goes_into_both_types_of_token(
    create: Creator, audience: Any, claim: Any
) -> None:
    app = make_app(JWT_ENCODE_AUDIENCE=audience, JWT_DECODE_AUDIENCE="api")
    token = await new_token(app, create, "alice")
    assert claims_of(token)["aud"] == claim
    path = path_of(create)
    assert (await ask(app, path, token))[0] == 200
    app.config["JWT_DECODE_AUDIENCE"] = "other"
    assert (await ask(app, path, token))[0] == 422


@both
async def test_token_has_no_audience_by_default(app: Quart, create: Creator) -> None:
    assert "aud" not in claims_of(await new_token(app, create, "alice"))


@pytest.mark.parametrize("value", [5, True, [1], [None], {"a": 1}.values()], ids=repr)
async def test_wrong_encode_audience_is_named(value: Any) -> None:
    app = make_app(JWT_ENCODE_AUDIENCE=value)
    with pytest.raises(RuntimeError, match="JWT_ENCODE_AUDIENCE"):
        await new_token(app, qje.create_access_token, "alice")


@both
async def test_encode_nbf_decides_whether_a_token_says_from_when_it_holds(
    app: Quart, create: Creator
) -> None:
    claims = claims_of(await new_token(app, create, "alice"))
    assert claims["nbf"] == claims["iat"]
    app.config["JWT_ENCODE_NBF"] = False
    token = await new_token(app, create, "alice")
    assert "nbf" not in claims_of(token)
    assert "iat" in claims_of(token)
    path = path_of(create)
    assert (await ask(app, path, token))[0] == 200


@pytest.mark.parametrize("value", [None, 5, "no"], ids=repr)
async def test_wrong_encode_nbf_is_named(value: Any) -> None:
    app = make_app(JWT_ENCODE_NBF=value)
    with pytest.raises(RuntimeError, match="JWT_ENCODE_NBF"):
        await new_token(app, qje.create_access_token, "alice")


# --- What could never be read back --------------------------------------------


@pytest.mark.parametrize("fresh", [None, 1, "yes", 0.5, datetime.datetime(2030, 1, 1)], ids=repr)
async def test_fresh_that_is_no_bool_and_no_timedelta_is_rejected(fresh: Any) -> None:
    async with make_app().app_context():
        with pytest.raises(TypeError, match="^fresh must be a bool or a timedelta, not "):
            qje.create_access_token("alice", fresh=fresh)
        with pytest.raises(TypeError, match="^fresh must be a bool or a timedelta, not "):
            tokens.encode_access_token(
                "a", SECRET, "HS256", False, fresh, {}, False, "identity", "user_claims"
            )


@pytest.mark.parametrize(
    "claims",
    [
        *({"jti": 5}, {"jti": None}, {"sub": 5}, {"sub": None}, {"iss": 5}, {"iss": ["us"]}),
        *({"aud": 5}, {"aud": [5]}, {"aud": {"a": 1}}, {"aud": ["us", None]}),
    ],
    ids=str,
)
async def test_additional_claim_that_no_reader_takes_is_rejected(claims: dict[str, Any]) -> None:
    app = make_app()
    (name,) = claims
    async with app.app_context():
        with pytest.raises(TypeError, match=f'^additional_claims: "{name}" must be a string'):
            qje.create_access_token("alice", additional_claims=claims)
        manager_of(app).additional_claims_loader(lambda identity: claims)
        with pytest.raises(TypeError, match=f'^additional_claims_loader: "{name}" must be a str'):
            qje.create_refresh_token("alice")


async def test_additional_subject_of_any_type_is_taken_where_it_is_not_verified() -> None:
    async with make_app(JWT_VERIFY_SUB=False).app_context():
        token = qje.create_access_token("alice", additional_claims={"sub": 5})
        assert qje.decode_token(token)["sub"] == 5


def test_issuer_of_another_type_is_rejected_without_an_app() -> None:
    with pytest.raises(TypeError, match="^issuer must be a string or None, not 5"):
        tokens.encode_access_token(
            "a", SECRET, "HS256", False, False, {}, False, "identity", "user_claims", issuer=5
        )


@pytest.mark.parametrize(
    "lifetime",
    [900.0, "900", True, datetime.datetime(2030, 1, 1), [900], object(), 10**30],
    ids=lambda value: repr(value)[:20],
)
async def test_lifetime_that_adds_to_no_datetime_is_named(lifetime: Any) -> None:
    async with make_app().app_context():
        for create in (qje.create_access_token, qje.create_refresh_token):
            with pytest.raises(TypeError, match="^expires_delta must be a timedelta.* not"):
                create("alice", expires_delta=lifetime)


async def test_identity_that_is_not_serialisable_names_the_loader() -> None:
    class User:
        pass

    async with make_app().app_context():
        with pytest.raises(TypeError, match="User is not JSON .*: pass another identity"):
            qje.create_access_token(User())
        with pytest.raises(TypeError, match="is not JSON serializable$"):
            qje.create_access_token("alice", user_claims={"user": User()})


# --- Proxies and awaitables ---------------------------------------------------


async def test_current_user_is_an_identity_like_the_user_it_stands_for() -> None:
    app = make_app()
    manager_of(app).user_lookup_loader(lambda header, claims: LocalProxy(lambda: "the user"))
    manager_of(app).user_identity_loader(lambda user: f"id of {user}")

    @app.get("/plain")
    @qje.jwt_required
    def plain() -> Any:
        return qje.current_user

    @app.get("/token")
    @qje.jwt_required
    async def token() -> dict[str, Any]:
        tokens = [
            qje.create_access_token(qje.current_user),
            await qje.create_access_token_async(qje.current_user),
        ]
        return {"identities": [qje.decode_token(token)["identity"] for token in tokens]}

    assert await ask(app, "/plain", access_claims()) == (200, "the user")
    expected = {"identities": ["id of the user"] * 2}
    assert await ask(app, "/token", access_claims()) == (200, expected)


def proxy(value: Any) -> Any:
    """A proxy of a proxy of a value."""
    return LocalProxy(lambda: LocalProxy(lambda: value))


@both
async def test_proxy_in_an_argument_stands_for_its_object(app: Quart, create: Creator) -> None:
    token = await new_token(
        app, create, proxy("alice"), user_claims=proxy({"a": 1}), headers=proxy({"x": "y"})
    )
    claims = claims_of(token)
    assert (claims["identity"], claims["user_claims"]) == ("alice", {"a": 1})
    assert jwt.get_unverified_header(token)["x"] == "y"


@both
async def test_proxy_from_a_callback_stands_for_its_object(app: Quart, create: Creator) -> None:
    manager = manager_of(app)
    manager.user_identity_loader(lambda user: proxy("alice"))
    manager.user_claims_loader(lambda user: proxy({"a": 1}))
    manager.encode_key_loader(lambda user: proxy(SECRET))
    manager.decode_key_loader(lambda claims, header: proxy(SECRET))
    async with app.app_context():
        claims = qje.decode_token(await call(create, "bob", user_claims=None))
    assert claims["identity"] == "alice"
    if create in ACCESS:
        assert claims["user_claims"] == {"a": 1}


async def test_argument_of_the_caller_is_no_answer_of_a_callback() -> None:
    async def identity() -> str:
        return "alice"

    async with make_app().app_context():
        coroutine = identity()
        with pytest.raises(TypeError, match="coroutine is not JSON serializable"):
            qje.create_access_token(coroutine)
        coroutine.close()


# --- The type in the header ---------------------------------------------------


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "application/at+jwt", None, ""])
async def test_encode_typ_is_the_type_in_the_header(typ: str | None) -> None:
    async with make_app(JWT_ENCODE_TYP=typ).app_context():
        for token in (qje.create_access_token("a"), await qje.create_refresh_token_async("a")):
            header = jwt.get_unverified_header(token)
            assert header == ({"alg": "HS256", "typ": typ} if typ else {"alg": "HS256"})
            assert jwt.decode(token, SECRET, ["HS256"])["identity"] == "a"
        own = qje.create_access_token("a", additional_headers={"typ": "own"})
        assert jwt.get_unverified_header(own)["typ"] == "own"
