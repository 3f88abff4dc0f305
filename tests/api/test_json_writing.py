"""The JSON of new tokens: byte for byte what the json module writes for the same claims.

``test_create_tokens.py`` has which claims a token gets; here it is how they are written down.
:func:`reference` writes them with :func:`json.dumps` and the ``default`` of the application's JSON
provider, after the parts that change from token to token were read from the token itself.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import re
import sys
import types
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart
from quart.json.provider import DefaultJSONProvider

import quart_jwt_extended as qje
from support import SECRET, generated, make_app
from support.oracle import MAX_NESTING, TOO_DEEP

examples = generated.examples(250)


def roomy_app(**options: Any) -> Quart:
    """An application that reads back whatever it has written."""
    return make_app(JWT_MAX_TOKEN_SIZE=10**7, **options)


def segments(token: str) -> list[bytes]:
    """Header and payload of a token, as they were written."""
    return [
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")[:2]
    ]


def written(app: Quart, value: Any) -> bytes:
    """A value as JSON, as the json module writes it with the application's own conversions."""
    return json.dumps(value, separators=(",", ":"), default=app.json.default).encode()


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def reference(app: Quart, payload: bytes, kind: str, identity: Any, **arguments: Any) -> bytes:
    """The payload that a creating function must write for its arguments.

    The random and the temporal claims are taken from the payload, after a look at their form.
    """
    config = app.config
    # A member may have been written twice, if a claim has the name of another: the first is ours.
    found: dict[str, Any] = {}
    json.loads(payload, object_pairs_hook=lambda pairs: found.update(reversed(pairs)))
    claims = {"iat": found["iat"], "nbf": found["iat"], "jti": found["jti"]}
    assert type(claims["iat"]) is int
    lifetime = config[f"JWT_{kind.upper()}_TOKEN_EXPIRES"]
    if arguments.get("expires_delta") is not None:
        lifetime = arguments["expires_delta"]
    if lifetime is not False:
        claims["exp"] = found["exp"]
        assert found["exp"] - found["iat"] - lifetime.total_seconds() in (0, 1)
    claims[config["JWT_IDENTITY_CLAIM"]] = identity
    if kind == "access":
        claims["fresh"] = arguments.get("fresh", False)
    claims["type"] = kind
    if arguments.get("user_claims"):
        claims[config["JWT_USER_CLAIMS"]] = arguments["user_claims"]
    if "cookies" in config["JWT_TOKEN_LOCATION"]:
        claims["csrf"] = found["csrf"]
        assert UUID.fullmatch(found["csrf"])
    if config["JWT_ENCODE_ISSUER"] is not None:
        claims["iss"] = config["JWT_ENCODE_ISSUER"]
    assert UUID.fullmatch(found["jti"])
    return written(app, claims)


IDENTITY_REMEDY = ": pass another identity, or convert it in a user_identity_loader"


def fault(write: Callable[[], Any]) -> tuple[type[Exception], str] | None:
    """The class and the text of what a writer raises."""
    try:
        write()
    except (TypeError, ValueError, RecursionError) as error:
        return type(error), str(error)
    return None


def check(app: Quart, identity: Any, user_claims: Any) -> None:
    """Compare both sides on tokens of both types, or on what they raise."""
    user_claims_written = user_claims or None
    expected = fault(lambda: written(app, [identity, user_claims_written]))
    for kind, create in (("access", qje.create_access_token), ("refresh", refresh_token)):
        if expected is not None:
            # The text of a RecursionError says where on the way it was raised.
            raised = fault(lambda create=create: create(identity, user_claims=user_claims))
            assert raised is not None
            raised = raised[0], raised[1].removesuffix(IDENTITY_REMEDY)
            assert raised[0] is expected[0]
            assert raised == expected or raised[0] is RecursionError
            continue
        token = create(identity, user_claims=user_claims)
        header, payload = segments(token)
        assert header == b'{"alg":"HS256","typ":"JWT"}'
        assert payload == reference(app, payload, kind, identity, user_claims=user_claims)
        check_that_it_comes_back(app, token, identity, user_claims)


def refresh_token(identity: Any, user_claims: Any = None) -> str:
    return qje.create_refresh_token(identity, user_claims=user_claims)


def check_that_it_comes_back(app: Quart, token: str, identity: Any, user_claims: Any) -> None:
    claims = qje.decode_token(token)
    # As text, so that NaN equals NaN, and 1 is neither True nor 1.0.
    assert repr(claims["identity"]) == repr(json.loads(written(app, identity)))
    came_back = repr(json.loads(written(app, user_claims or {})))
    assert repr(claims["user_claims"]) == came_back


# --- Values of every kind -----------------------------------------------------


class Text(str):
    def __repr__(self) -> str:
        return "wrong"

    def __str__(self) -> str:
        return "wrong"

    def encode(self, *_: Any, **__: Any) -> bytes:
        return b"wrong"


class Whole(int):
    def __repr__(self) -> str:
        return "wrong"

    __str__ = __repr__
    __format__ = __repr__  # type: ignore[assignment]

    def __index__(self) -> int:
        return -1

    def __int__(self) -> int:
        return -1


class Real(float):
    def __repr__(self) -> str:
        return "wrong"

    __str__ = __repr__

    def __float__(self) -> float:
        return -1.0


class Items(dict):  # type: ignore[type-arg]
    """A mapping that shows other members than it holds."""

    def items(self) -> Any:
        return [("shown", 1), ("too", [2])]

    def __iter__(self) -> Any:
        return iter(["wrong"])

    def keys(self) -> Any:
        return ["wrong"]


class Elements(list):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return iter(["wrong"])


class Pair(tuple):  # type: ignore[type-arg]
    pass


class Colour(enum.IntEnum):
    RED = 1


class Flag(enum.IntFlag):
    UP = 1
    DOWN = 2


class Role(str, enum.Enum):
    ADMIN = "admin"

    def __str__(self) -> str:
        return "wrong"


class Weight(float, enum.Enum):
    LIGHT = 0.5


class Plain(enum.Enum):
    ONE = 1


class Html:
    def __html__(self) -> str:
        return "<b>é</b>"


class HtmlText:
    """What markupsafe hands over: a subclass of str."""

    def __html__(self) -> Any:
        return Text("<i>")


class JsonMethod:
    def __json__(self) -> str:
        return "never asked"


@dataclasses.dataclass
class Point:
    x: int
    y: Any


Named = collections.namedtuple("Named", ["first", "second"])
UTC = datetime.timezone.utc
NUL_TO_DEL = "".join(map(chr, range(0x80)))

VALUES: list[Any] = [
    *("", "alice", "é", "日本", "😀", "\ud800", "\udc00\ud800", "\ud83d\ude00", "\x7f", "\x80"),
    *("\u2028\u2029", "\ufeff", "\uffff", "\U0010ffff", '"', "\\", "/", "</script>", "\\u0041"),
    *(NUL_TO_DEL, "a" * 70_000, "é" * 1000, "a\0b", "&<>'", "\n", "\r\n\t\b\f\v\x1b"),
    *(0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**400),
    *(-(10**400), 10**4299, 10**5000, -(10**5000)),
    *(
        0.0,
        -0.0,
        1.0,
        -1.5,
        0.1,
        1e16,
        1e17,
        1e22,
        1e23,
        1e-4,
        1e-5,
        5e-324,
        1.7e308,
        123456789.125,
    ),
    *(math.nan, -math.nan, math.inf, -math.inf, 1 / 3, 100000.0, 1e15, 9007199254740993.0),
    *(True, False, None, [], {}, (), [[]], [{}], {"": {}}, [None, True, 1, 1.0, "1"]),
    *((1, 2), [(1, (2, [3]))], Pair((1, 2)), Named(1, "x"), Elements([1, 2]), Elements()),
    *(Text("text"), Text('é"\n'), Whole(7), Whole(2**70), Real(0.5), Real(math.nan), Real(-0.0)),
    *(Colour.RED, Flag.UP | Flag.DOWN, Role.ADMIN, Weight.LIGHT, Plain.ONE),
    *(Items(), Items(real=1), collections.OrderedDict([("b", 1), ("a", 2)])),
    *(
        collections.defaultdict(int, a=1),
        collections.Counter("aab"),
        collections.ChainMap({"a": 1}),
    ),
    *(types.MappingProxyType({"a": 1}), collections.UserDict(a=1), collections.deque([1])),
    *({1: 1}, {1: 1, "1": 2}, {None: 1}, {True: 1, False: 0}, {1.5: 1, -0.0: 2}, {math.nan: 1}),
    *({math.inf: 1, -math.inf: 2}, {2**70: 1}, {Colour.RED: 1}, {Role.ADMIN: 1}, {Text("k"): 1}),
    *({Whole(7): 1}, {Real(0.5): 1}, {"é\n\ud800": 1}, {"b": 1, "a": {"d": 1, "c": 2}}),
    *({(1, 2): 1}, {b"bytes": 1}, {frozenset(): 1}, {Plain.ONE: 1}, {10**5000: 1}),
    *({uuid.UUID(int=1): 1}, {datetime.date(2024, 2, 29): 1}, {decimal.Decimal(1): 1}),
    *(datetime.datetime(2024, 2, 29, 12, 30, tzinfo=UTC), datetime.datetime(2024, 2, 29)),
    *(datetime.date(2024, 2, 29), datetime.time(12), datetime.timedelta(1)),
    *(uuid.UUID(int=2**127), decimal.Decimal("1.10"), decimal.Decimal("NaN")),
    *(Point(1, 2), Point(1, Point(2, [datetime.date(2024, 1, 1)])), Point, Html(), HtmlText()),
    *(JsonMethod(), object(), int, len, ..., 1j, range(3), {1}, frozenset({1})),
    *(b"bytes", bytearray(b"x"), memoryview(b"x"), iter([1]), {"a": 1}.items(), ValueError("x")),
]


@pytest.mark.parametrize(
    "number", range(len(VALUES)), ids=lambda n: f"{n}-{type(VALUES[n]).__name__}"
)
async def test_value_is_written_as_json_writes_it(number: int) -> None:
    value = VALUES[number]
    app = roomy_app()
    async with app.app_context():
        for claims in (
            {"v": value},
            {"v": value, "w": 1},
            {"a": 1, "v": [value, value]},
            {"v": {"deep": (value,)}},
        ):
            check(app, "alice", claims)
        check(app, value, {"v": value})
        check(app, [value], None)


@pytest.mark.parametrize(
    "number", range(len(VALUES)), ids=lambda n: f"{n}-{type(VALUES[n]).__name__}"
)
async def test_value_as_all_of_the_user_claims_is_written_as_json_writes_it(number: int) -> None:
    """Nothing demands that they are a dict."""
    app = roomy_app()
    async with app.app_context():
        check(app, "alice", VALUES[number])


async def test_every_character_is_written_as_json_writes_it() -> None:
    app = roomy_app()
    async with app.app_context():
        for first in range(0, 0x3000, 0x80):
            text = "".join(map(chr, range(first, first + 0x80)))
            check(app, text, {text: text})
        for code in [*range(0x100), 0xD7FF, *range(0xD800, 0xE000, 0x1FF), 0xE000, 0xFFFF, 0x10000]:
            for text in (chr(code), f"a{chr(code)}", f"{chr(code)}b", f"é{chr(code)}😀"):
                check(app, text, {text: 1})


async def test_special_character_at_every_offset_is_written_as_json_writes_it() -> None:
    """Strings may be scanned many bytes at a time: the one that matters may be any of them."""
    app = roomy_app()
    async with app.app_context():
        for size in (*range(20), 31, 32, 33, 63, 64, 65):
            for offset in range(size + 1):
                body = ("a" * offset, "b" * (size - offset))
                check(
                    app,
                    '"'.join(body),
                    {"\\".join(body): "\x1f".join(body), "\x7f": "é".join(body)},
                )


async def test_every_number_near_a_power_is_written_as_json_writes_it() -> None:
    app = roomy_app()
    numbers: list[Any] = []
    for power in range(130):
        for near in (-1, 0, 1):
            numbers += [2**power + near, -(2**power) + near, float(2**power + near), 2.0**-power]
    for power in range(-330, 310):
        numbers.append(float(f"1e{power}"))
        numbers.append(-float(f"1.2345678901234567e{power}"))
    async with app.app_context():
        check(app, "alice", {"n": numbers})
        for value in numbers[::7]:
            check(app, value, {"n": value})


async def test_limit_on_digits_is_the_one_of_the_interpreter() -> None:
    limit = sys.get_int_max_str_digits()
    app = roomy_app()
    async with app.app_context():
        try:
            for digits in (640, 5000, 0, limit):
                sys.set_int_max_str_digits(digits)
                for size in (640, 641, 4300, 4301, 5000, 5001):
                    check(app, 10 ** (size - 1), {"n": -(10 ** (size - 1))})
        finally:
            sys.set_int_max_str_digits(limit)


async def test_circular_value_raises_what_json_raises() -> None:
    app = roomy_app()
    circular: list[Any] = []
    circular.append(circular)
    ring: dict[str, Any] = {}
    ring["ring"] = [{"ring": ring}]
    point = Point(1, None)
    point.y = [point]
    app.json.default = lambda value: value  # type: ignore[method-assign]
    async with app.app_context():
        for value in (circular, ring, {"again": ring}, object()):
            assert fault(lambda value=value: written(app, value)) == (
                ValueError,
                "Circular reference detected",
            )
            check(app, value, {"v": 1})
            check(app, "alice", {"v": value})


async def test_value_that_is_shared_but_not_circular_is_written_each_time() -> None:
    app = roomy_app()
    shared = {"a": [1]}
    async with app.app_context():
        check(app, shared, {"v": [shared, shared], "w": shared, "x": shared["a"]})


@pytest.mark.parametrize(
    "wrap",
    [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (1, inner)],
    ids=["lists", "objects", "tuples"],
)
async def test_nesting_is_written_up_to_what_a_token_may_have(
    wrap: Callable[[Any], Any],
) -> None:
    def nested(levels: int) -> Any:
        value: Any = 0
        for _ in range(levels):
            value = wrap(value)
        return value

    app = roomy_app()
    async with app.app_context():
        for levels in (10, 15, 16, 17, 100):
            check(app, nested(levels), {"v": nested(levels)})
        # The claims and the user claims are two levels more.
        token = qje.create_access_token("alice", user_claims={"v": nested(MAX_NESTING - 2)})
        assert qje.decode_token(token)["user_claims"].keys() == {"v"}
        for levels in (MAX_NESTING - 1, 2_000, 100_000):
            with pytest.raises(ValueError, match=f"^{TOO_DEEP}$"):
                qje.create_access_token("alice", user_claims={"v": nested(levels)})
            with pytest.raises(ValueError, match=f"^{TOO_DEEP}$"):
                qje.create_access_token("alice", headers={"v": nested(levels + 1)})


async def test_claims_changed_while_they_are_written_do_no_harm() -> None:
    """By the ``default`` of the provider, which runs in the middle."""
    app = roomy_app()
    claims: dict[str, Any] = {}

    def default(value: Any) -> str:
        claims["list"].clear()
        return "converted"

    app.json.default = default  # type: ignore[method-assign]
    async with app.app_context():
        claims["list"] = [object(), *range(1000)]
        expected = written(app, claims)
        claims["list"] = [object(), *range(1000)]
        payload = segments(qje.create_access_token("a", user_claims=claims))[1]
    assert b'"user_claims":' + expected in payload


# --- Hypothesis ---------------------------------------------------------------

texts = st.text(
    st.characters() | st.sampled_from('\x00\x1f"\\/\x7fé日😀\ud83d\ude00\ud800'), max_size=12
)
numbers = st.integers() | st.floats() | st.integers(-(2**70), 2**70)
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | texts
    | texts.map(Text)
    | st.integers().map(Whole)
    | st.floats().map(Real)
    | st.sampled_from([Colour.RED, Role.ADMIN, Flag.UP, Weight.LIGHT])
)
foreign = (
    st.uuids()
    | st.decimals()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.builds(Point, st.integers(), texts)
    | st.builds(Html)
)
keys = texts | st.integers() | st.booleans() | st.none() | st.floats() | texts.map(Text)


def containers(inner: Any) -> Any:
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(Elements)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=3).map(collections.OrderedDict)
    )


def values(leaves: Any) -> Any:
    return st.recursive(leaves, containers, max_leaves=10)


async def test_any_claims_are_written_as_json_writes_them() -> None:
    app = roomy_app()

    @examples
    @given(values(scalars), st.dictionaries(texts, values(scalars), max_size=6))
    def compare(identity: Any, user_claims: dict[str, Any]) -> None:
        check(app, identity, user_claims)

    async with app.app_context():
        compare()


async def test_any_claims_with_foreign_types_are_written_as_the_provider_has_it() -> None:
    app = roomy_app()

    @examples
    @given(values(scalars | foreign), values(scalars | foreign))
    def compare(identity: Any, user_claims: Any) -> None:
        check(app, identity, user_claims)

    async with app.app_context():
        compare()


async def test_any_claims_with_something_unserialisable_raise_what_json_raises() -> None:
    app = roomy_app()
    wrong = st.sampled_from([object, len, b"bytes", 1j, {1}, {(1, 2): 3}, {b"k": 1}])

    @examples
    @given(values(scalars | wrong), values(scalars | wrong))
    def compare(identity: Any, user_claims: Any) -> None:
        check(app, identity, {"v": user_claims})

    async with app.app_context():
        compare()


async def test_any_header_is_written_as_json_writes_it() -> None:
    app = roomy_app()
    names = texts.filter(lambda name: name not in ("alg", "typ", "kid", "b64", "crit"))

    @examples
    @given(
        st.dictionaries(names, values(scalars | foreign), max_size=5), st.sampled_from(["JWT", "x"])
    )
    def compare(members: dict[str, Any], typ: str) -> None:
        expected = {"alg": "HS256", **members, "typ": typ}
        as_json = written(app, dict(sorted(expected.items())))
        if re.search("[\ud800-\udfff]", json.dumps(json.loads(as_json), ensure_ascii=False)):
            # No reader would take it.
            with pytest.raises(ValueError, match="headers must not contain a lone surrogate"):
                qje.create_access_token("alice", headers={**members, "typ": typ})
            return
        token = qje.create_access_token("alice", headers={**members, "typ": typ})
        assert segments(token)[0] == as_json
        came_back = qje.get_unverified_jwt_headers(token)
        assert repr(came_back) == repr(json.loads(segments(token)[0]))

    async with app.app_context():
        compare()


# --- Headers, names and shapes ------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, b'{"alg":"HS256","typ":"JWT"}'),
        ({}, b'{"alg":"HS256","typ":"JWT"}'),
        ({"kid": "é\n"}, b'{"alg":"HS256","kid":"\\u00e9\\n","typ":"JWT"}'),
        ({"zip": 1, "Abc": None}, b'{"Abc":null,"alg":"HS256","typ":"JWT","zip":1}'),
        ({"typ": None}, b'{"alg":"HS256"}'),
        ({"typ": ""}, b'{"alg":"HS256"}'),
        ({"typ": "at+jwt"}, b'{"alg":"HS256","typ":"at+jwt"}'),
        ({"alg": "HS512"}, b'{"alg":"HS512","typ":"JWT"}'),
        ({"x": [1, {"b": 1, "a": 2}]}, b'{"alg":"HS256","typ":"JWT","x":[1,{"b":1,"a":2}]}'),
        (
            {"x": uuid.UUID(int=1)},
            b'{"alg":"HS256","typ":"JWT","x":"00000000-0000-0000-0000-000000000001"}',
        ),
        ({"kid": Text("k")}, b'{"alg":"HS256","kid":"k","typ":"JWT"}'),
    ],
    ids=lambda value: None if isinstance(value, bytes) else repr(value)[:30],
)
async def test_header_is_written_sorted_and_compact(headers: Any, expected: bytes) -> None:
    async with roomy_app().app_context():
        for create in (qje.create_access_token, qje.create_refresh_token):
            assert segments(create("alice", headers=headers))[0] == expected


@pytest.mark.parametrize("value", [..., {1}, b"bytes", {"a": {(1,): 2}}], ids=repr)
async def test_header_that_is_not_serialisable_raises_what_json_raises(value: Any) -> None:
    app = roomy_app()
    async with app.app_context():
        raised = fault(lambda: qje.create_access_token("alice", headers={"x": value}))
        assert raised == fault(lambda: written(app, {"x": value}))
        assert raised is not None


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("locations", ["headers", ("cookies", "headers")], ids=["plain", "csrf"])
@pytest.mark.parametrize("issuer", [None, "us", 'é"\\\n', ""], ids=ascii)
@pytest.mark.parametrize("lifetime", [None, False, datetime.timedelta(days=10_000)], ids=str)
async def test_members_have_their_order_whatever_is_configured(
    fresh: bool, locations: Any, issuer: str | None, lifetime: Any
) -> None:
    app = roomy_app(JWT_TOKEN_LOCATION=locations, JWT_ENCODE_ISSUER=issuer)
    async with app.app_context():
        for user_claims in (None, {}, {"role": "admin"}):
            arguments = {"expires_delta": lifetime, "user_claims": user_claims}
            payload = segments(qje.create_access_token("a", fresh=fresh, **arguments))[1]
            assert payload == reference(app, payload, "access", "a", fresh=fresh, **arguments)
            payload = segments(qje.create_refresh_token("a", **arguments))[1]
            assert payload == reference(app, payload, "refresh", "a", **arguments)


@pytest.mark.parametrize(
    "name", ["sub", "who am I", "é", 'quo"te', "back\\slash", "\n", "\ud800", "😀"]
)
async def test_names_of_claims_are_escaped_as_json_escapes_them(name: str) -> None:
    app = roomy_app(JWT_IDENTITY_CLAIM=name, JWT_USER_CLAIMS=f"{name}!")
    async with app.app_context():
        for kind, create in (("access", qje.create_access_token), ("refresh", refresh_token)):
            token = create("alice", user_claims={name: name})
            payload = segments(token)[1]
            assert payload == reference(app, payload, kind, "alice", user_claims={name: name})
            claims = qje.decode_token(token)
            assert (claims[name], claims[f"{name}!"]) == ("alice", {name: name})


@pytest.mark.parametrize("create", [qje.create_access_token_async, qje.create_refresh_token_async])
async def test_awaitable_twin_writes_the_same_bytes(create: Any) -> None:
    app = roomy_app()
    kind = "access" if create is qje.create_access_token_async else "refresh"
    async with app.app_context():
        for value in VALUES:
            if fault(lambda value=value: written(app, value)) is None:
                payload = segments(await create(value, user_claims={"v": value}))[1]
                assert payload == reference(app, payload, kind, value, user_claims={"v": value})


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_what_was_written_is_what_was_signed(algorithm: str) -> None:
    app = roomy_app(JWT_ALGORITHM=algorithm)
    async with app.app_context():
        for size in range(40):
            token = qje.create_access_token("é" * size, user_claims={"x" * size: size})
            claims = jwt.decode(token, SECRET, algorithms=[algorithm])
            assert claims["identity"] == "é" * size
            assert claims["user_claims"] == {"x" * size: size}


# --- The provider -------------------------------------------------------------


async def test_provider_is_asked_for_foreign_types_alone() -> None:
    asked: list[Any] = []
    app = roomy_app()

    def default(value: Any) -> Any:
        asked.append(value)
        return {"seen": type(value).__name__}

    app.json.default = default  # type: ignore[method-assign]
    known = [
        1,
        1.5,
        "x",
        True,
        None,
        [1],
        (2,),
        {"a": 1},
        Text("t"),
        Whole(1),
        Real(1.5),
        Role.ADMIN,
    ]
    async with app.app_context():
        token = qje.create_access_token("alice", user_claims={"v": known})
        assert asked == []
        assert qje.decode_token(token)["user_claims"] == json.loads(written(app, {"v": known}))
        moment = datetime.date(2024, 2, 29)
        token = qje.create_access_token(moment, user_claims={"v": [moment, {1}]})
        assert asked == [moment, moment, {1}]
        claims = qje.decode_token(token)
    assert claims["identity"] == {"seen": "date"}
    assert claims["user_claims"] == {"v": [{"seen": "date"}, {"seen": "set"}]}


async def test_answer_of_the_provider_is_converted_in_turn() -> None:
    app = roomy_app()
    chain = {object: {1, 2}, set: (uuid.UUID(int=1), 0.5), uuid.UUID: Text("end\n")}
    app.json.default = lambda value: chain[type(value)]  # type: ignore[method-assign]
    async with app.app_context():
        check(app, object(), {"v": [{3}, object()]})


async def test_error_of_the_provider_comes_out_as_it_is() -> None:
    app = roomy_app()

    def default(value: Any) -> Any:
        raise KeyError("from the provider")

    app.json.default = default  # type: ignore[method-assign]
    async with app.app_context():
        with pytest.raises(KeyError, match="from the provider"):
            qje.create_access_token("alice", user_claims={"v": {1}})
        assert qje.decode_token(qje.create_access_token("alice"))["identity"] == "alice"


async def test_provider_exchanged_later_is_asked_from_then_on() -> None:
    class Provider(DefaultJSONProvider):
        @staticmethod
        def default(value: Any) -> Any:
            return "by the provider"

    app = roomy_app()
    original = app.json
    value = uuid.UUID(int=1)
    async with app.app_context():
        for _ in range(2):
            check(app, value, {"v": value})
            app.json_provider_class = Provider
            app.json = Provider(app)
            token = qje.create_access_token(value)
            assert qje.decode_token(token)["identity"] == "by the provider"
            check(app, value, {"v": value})
            app.json.default = lambda value: "by a function"  # type: ignore[method-assign]
            token = qje.create_access_token(value)
            assert qje.decode_token(token)["identity"] == "by a function"
            app.json_provider_class = DefaultJSONProvider
            app.json = original


async def test_class_of_the_provider_makes_tokens_as_on_0_1_0() -> None:
    """There, too, an instance that the application put in place writes answers only."""

    class Provider(DefaultJSONProvider):
        @staticmethod
        def default(value: Any) -> Any:
            return "by the class"

    app, value = roomy_app(), uuid.UUID(int=1)
    async with app.app_context():
        app.json = Provider(app)
        assert qje.decode_token(qje.create_access_token(value))["identity"] == str(value)
        app.json = DefaultJSONProvider(app)
        app.json_provider_class = Provider
        assert qje.decode_token(qje.create_access_token(value))["identity"] == "by the class"


async def test_options_of_the_provider_for_answers_do_not_change_tokens() -> None:
    app = roomy_app()
    app.json.sort_keys = True
    app.json.ensure_ascii = False
    app.json.compact = False
    async with app.app_context():
        check(app, "é", {"b": 1, "a": {"d": "é", "c": 2}})
