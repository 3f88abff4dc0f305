"""What must hold for any claims, any byte of a token, any bytes in a request, any configuration.

The inputs are generated: see ``support/generated.py`` for how many.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quart import Quart

import quart_jwt_extended as qje
from quart_jwt_extended.config import config
from quart_jwt_extended.exceptions import InvalidHeaderError
from support import SECRET, access_claims, generated, make_app
from support.asgi import Raw, json_request
from support.raw_answers import let_exceptions_through, status_of, status_or_quarts_own_fault
from support.raw_requests import (
    ANN,
    TOKENS,
    Absent,
    Probe,
    in_cookies,
    in_headers,
    in_json,
    in_query_string,
)
from support.signing_keys import private_key, private_pem, public_pem


def examples(count: int) -> settings:
    """Settings of a property that is tried on so many inputs."""
    return generated.examples(count, HealthCheck.data_too_large)


@pytest.fixture
def on_loop() -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Awaits for a property, which Hypothesis calls as a plain function."""
    loop = asyncio.new_event_loop()
    yield loop.run_until_complete
    loop.close()


def identical(ours: Any, theirs: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart, and takes NaN for NaN."""
    return type(ours) is type(theirs) and repr(ours) == repr(theirs)


def as_texts(members: dict[str, Any]) -> dict[str, str]:
    """Members to be compared as :func:`identical` does, in any order."""
    return {name: repr(value) for name, value in members.items()}


# --- Any claims ---------------------------------------------------------------

# With surrogates, which Python strings hold and JSON can write.
texts = st.text(st.characters(), max_size=20)
numbers = st.integers() | st.integers(-(10**40), 10**40) | st.floats()
# What the module writes by itself, if all the claims are of this kind; else the json module does.
plain_texts = st.text(st.characters(max_codepoint=127) | st.sampled_from('"\\/\x7f'), max_size=20)
plain_numbers = st.integers(-(2**64), 2**64)


def json_of(
    texts: st.SearchStrategy[str], numbers: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda children: (
            st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4)
        ),
        max_leaves=15,
    )


json_values = json_of(texts, numbers)
plain_values = json_of(plain_texts, plain_numbers)
# An identity and user claims.
claims_of_tokens = st.tuples(
    json_values, st.dictionaries(texts, json_values, max_size=5)
) | st.tuples(plain_values, st.dictionaries(plain_texts, plain_values, max_size=5))
# The others mean something to whoever verifies the token. No header holds a lone surrogate.
encodable = st.text(st.characters(codec="utf-8"), max_size=20)
headers = st.dictionaries(
    encodable.filter(lambda name: name not in ("alg", "typ", "kid", "crit", "b64")),
    json_of(encodable, numbers),
    max_size=3,
)
lifetimes = st.sampled_from([None, False, datetime.timedelta(days=1), datetime.timedelta(400_000)])


@pytest.fixture
def roomy() -> Quart:
    """An application that takes any size of token."""
    return make_app(JWT_MAX_TOKEN_SIZE=10_000_000, JWT_CLAIMS_IN_REFRESH_TOKEN=True)


@pytest.mark.parametrize("kind", ["access", "refresh"])
async def test_any_claims_come_back_as_they_were_given(roomy: Quart, kind: str) -> None:
    create = qje.create_access_token if kind == "access" else qje.create_refresh_token

    @examples(50)
    @given(claims_of_tokens, headers, lifetimes)
    def compare(given_claims: Any, parameters: Any, lifetime: Any) -> None:
        identity, claims = given_claims
        token = create(identity, user_claims=claims, headers=parameters, expires_delta=lifetime)
        ours = qje.decode_token(token)
        assert identical(ours["identity"], identity)
        assert identical(ours["user_claims"], claims)
        assert ours["type"] == kind
        assert ("exp" in ours) is (lifetime is not False)

        # The same, read by somebody else.
        theirs = jwt.decode(token, SECRET, algorithms=["HS256"])
        theirs.setdefault("user_claims", {})
        assert as_texts(ours) == as_texts(theirs)
        header = qje.get_unverified_jwt_headers(token)
        assert identical(header, jwt.get_unverified_header(token))
        assert as_texts(header) == as_texts({"alg": "HS256", "typ": "JWT", **parameters})

    async with roomy.app_context():
        compare()


def test_any_claims_reach_the_view_of_a_request(
    roomy: Quart, on_loop: Callable[[Awaitable[Any]], Any]
) -> None:
    seen: list[Any] = []

    @roomy.route("/seen")
    @qje.jwt_required
    async def see() -> str:
        seen.append((qje.get_jwt_identity(), qje.get_jwt_claims(), qje.get_jwt_header()))
        return ""

    let_exceptions_through(roomy)

    @examples(30)
    @given(claims_of_tokens, headers)
    def compare(given_claims: Any, parameters: Any) -> None:
        identity, claims = given_claims

        async def send() -> int | Exception:
            async with roomy.app_context():
                token = qje.create_access_token(identity, user_claims=claims, headers=parameters)
            credentials = b"Bearer " + token.encode()
            return await status_of(roomy, Raw(headers=[(b"authorization", credentials)]), "/seen")

        seen.clear()
        assert on_loop(send()) == 200
        ((its_identity, its_claims, its_header),) = seen
        assert identical(its_identity, identity)
        assert identical(its_claims, claims)
        assert as_texts(its_header) == as_texts({"alg": "HS256", "typ": "JWT", **parameters})

    compare()


# --- Any change of one byte ---------------------------------------------------

GOOD = ANN.encode()
EVERY_BYTE = [bytes([byte]) for byte in range(256)]
# Those that mean something to somebody on the way, and a few of the others.
SOME_BYTES = [byte for byte in EVERY_BYTE if byte < b"0" or not (byte.isalnum() or byte > b"\xa0")]
SOME_BYTES += [b"0", b"9", b"A", b"Z", b"a", b"z", b"\xc3", b"\xff"]
BYTES_IN_REQUESTS = EVERY_BYTE if generated.IS_FULL else SOME_BYTES
# Where the parts of the token begin and end.
SEAMS = [0, GOOD.index(b"."), GOOD.index(b".") + 1, GOOD.rindex(b"."), len(GOOD) - 1, len(GOOD)]


def changes_at(position: int, every_byte: list[bytes]) -> Iterator[bytes]:
    """The token with a byte inserted, replaced by another, or left out."""
    head, tail = GOOD[:position], GOOD[position:]
    for byte in every_byte:
        yield head + byte + tail
        if tail and byte != tail[:1]:
            yield head + byte + tail[1:]
    if tail:
        yield head + tail[1:]


async def test_token_with_one_changed_byte_is_never_decoded(app: Quart) -> None:
    """All of them: the text differs, and base64url has one spelling here."""
    tried = 0
    async with app.app_context():
        assert qje.decode_token(GOOD)["identity"] == "ann"
        for position in range(len(GOOD) + 1):
            for token in changes_at(position, EVERY_BYTE):
                assert token != GOOD
                for form in (token, token.decode("latin-1")):
                    with pytest.raises(jwt.InvalidTokenError):
                        qje.decode_token(form)
                    tried += 1
    assert tried > 100_000


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("RS256", "RSA"), ("ES256", "P-256"), ("EdDSA", "Ed25519")]
)
async def test_token_by_a_private_key_with_one_flipped_bit_is_never_decoded(
    algorithm: str, kind: str
) -> None:
    key = private_key(kind)
    good = jwt.encode(access_claims(), key, algorithm).encode()
    app = make_app(JWT_ALGORITHM=algorithm, JWT_PUBLIC_KEY=public_pem(key))
    async with app.app_context():
        assert qje.decode_token(good)["identity"] == "alice"
        for position, bit in itertools.product(range(len(good)), (1, 2, 4, 32)):
            flipped = bytes([good[position] ^ bit])
            with pytest.raises(jwt.InvalidTokenError):
                qje.decode_token(good[:position] + flipped + good[position + 1 :])


IN_REQUEST: dict[str, Callable[[bytes], Raw]] = {
    "headers": lambda token: Raw(headers=[(b"authorization", b"Bearer " + token)]),
    "cookies": lambda token: Raw(headers=[(b"cookie", b"access_token_cookie=" + token)]),
    "query_string": lambda token: Raw(query=b"jwt=" + token),
    "json": lambda token: json_request(b'{"access_token":"' + token + b'"}', method="GET"),
}

# Bytes beside the token that are not part of it. Werkzeug before 3.1.9 takes more bytes for white
# space around a cookie.
BESIDE = {
    "headers": {"before": b" \t", "after": b" \t"},
    "cookies": {
        "before": b" \t\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0",
        "after": b" \t\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0;",
    },
    "query_string": {"before": b"", "after": b"&"},
    "json": {"before": b"", "after": b""},
}


async def token_that_quart_finds(probe: Probe, location: str, raw: Raw) -> Any:
    """What Quart's own properties give; None for no token and for a request that it refuses."""
    probe.raw = raw
    try:
        request = await probe.second_request()
        if location == "headers":
            return in_headers(request, probe.app.config, "access")
        if location == "cookies":
            return in_cookies(request, probe.app.config, "access")[0]
        if location == "query_string":
            return in_query_string(request, probe.app.config, "access")
        return await in_json(request, probe.app.config, "access")
    except (Absent, InvalidHeaderError, ValueError):
        return None


@pytest.mark.parametrize("location", IN_REQUEST)
def test_token_with_one_changed_byte_never_gets_in(
    location: str, on_loop: Callable[[Awaitable[Any]], Any]
) -> None:
    probe = Probe(location, setup=let_exceptions_through)
    statuses: Counter[int | None] = Counter()
    same: set[bytes] = set()

    async def send(changed: bytes) -> None:
        raw = IN_REQUEST[location](changed)
        status = await status_or_quarts_own_fault(probe.app, raw, "/protected")
        statuses[status] += 1
        if await token_that_quart_finds(probe, location, raw) == ANN:
            # The byte did not become part of the token.
            assert status == 200, raw
            same.add(changed)
        else:
            assert status is None or 400 <= status < 500, (status, raw)

    @examples(100)
    @given(st.integers(0, len(GOOD)), st.sampled_from([*EVERY_BYTE, b""]), st.integers(0, 1))
    def change(position: int, byte: bytes, removed: int) -> None:
        changed = GOOD[:position] + byte + GOOD[position + removed :]
        if changed != GOOD:
            on_loop(send(changed))

    for position in SEAMS:
        for changed in changes_at(position, BYTES_IN_REQUESTS):
            on_loop(send(changed))
    change()

    beside = BESIDE[location]
    before = {bytes([byte]) + GOOD for byte in beside["before"]}
    after = {GOOD + bytes([byte]) for byte in beside["after"]}
    assert same <= before | after
    # On every version of Werkzeug.
    edges = {b" " + GOOD, b"\t" + GOOD, GOOD + b" ", GOOD + b"\t"}
    certain = {"headers": edges, "cookies": {*edges, GOOD + b";"}, "query_string": {GOOD + b"&"}}
    assert same >= certain.get(location, set())
    assert statuses[422] > 400
    # Only a header with a line end and a query string that is not UTF-8 are refused by Quart.
    assert (statuses[None] > 0) is (location != "json")


# --- Any bytes ----------------------------------------------------------------

binary = st.binary(max_size=40)
ascii_bytes = binary.map(lambda value: bytes(byte & 127 for byte in value))


def soup(*pieces: bytes) -> st.SearchStrategy[bytes]:
    """Tokens, what stands around them, and any bytes, in any order."""
    known = st.sampled_from([*TOKENS, *pieces])
    return binary | st.lists(known | known | ascii_bytes | binary, max_size=8).map(b"".join)


def around(head: bytes, value: st.SearchStrategy[bytes], tail: bytes) -> st.SearchStrategy[bytes]:
    """A value in its usual place."""
    return value.map(lambda value: head + value + tail)


credentials = soup(b"Bearer ", b"bearer\t", b"Basic ", b",", b" ", b'"', b"\r\n", b"=")
cookies = soup(
    *(b"access_token_cookie=", b"refresh_token_cookie=", b";", b"; ", b'"', b"=", b"\\054", b"%22"),
    *(b"csrf_access_token=", b"\r\n"),
)
# A byte that is not UTF-8 is Quart's business, so that there must not be many.
parameters = st.lists(
    st.sampled_from([*TOKENS, b"jwt=", b"&", b";", b"%", b"%6a", b"%ff", b"+", b"jwt", b"\xc3\xa9"])
    | ascii_bytes,
    max_size=8,
).map(b"".join)
json_bodies = soup(
    *(b'{"access_token":', b'{"refresh_token":', b'"', b"}", b",", b"[", b"]", b"{", b"null", b":"),
    *(b'"access_token"', b"1e999", b"\\ud800", b"\\u0000", b"9" * 5000, b"[" * 5000, b"NaN"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b" "),
)

json_strings = st.lists(
    st.sampled_from(
        [*TOKENS, b"\\ud800", b"\\u0000", b"\\n", b"\\u0065", b".", b"\xc3\xa9", b"\xff"]
    ),
    max_size=4,
).map(b"".join)

ANYTHING: dict[str, st.SearchStrategy[Raw]] = {
    "headers": (credentials | around(b"Bearer ", credentials, b"")).map(
        lambda value: Raw(headers=[(b"authorization", value)])
    ),
    "cookies": (cookies | around(b"access_token_cookie=", cookies, b"")).map(
        lambda value: Raw(headers=[(b"cookie", value), (b"x-csrf-token", value)])
    ),
    "query_string": (
        binary | parameters | around(b"jwt=", parameters, b"") | around(b"jwt=", binary, b"")
    ).map(lambda value: Raw(query=value)),
    "json": (
        json_bodies
        | around(b'{"access_token":', json_bodies, b"}")
        | around(b'{"access_token":"', json_strings | ascii_bytes, b'"}')
    ).map(lambda body: json_request(body[:9], body[9:])),
}

WITHIN: dict[str, Callable[[bytes], Raw]] = {
    "headers": lambda value: Raw(headers=[(b"authorization", value)]),
    "cookies": lambda value: Raw(headers=[(b"cookie", value)]),
    "query_string": lambda value: Raw(query=value),
    "json": lambda value: json_request(value),
}


def is_refused_by_quart(raw: Raw) -> bool:
    """Whether Quart fails on the bytes before any view: it answers 500, or nothing."""
    try:
        raw.query.decode()
    except UnicodeDecodeError:
        return True
    return any({10, 13} & {*value} for _, value in raw.headers)


@pytest.mark.parametrize("location", ANYTHING)
def test_any_bytes_get_an_answer_that_is_no_server_error(
    location: str, on_loop: Callable[[Awaitable[Any]], Any]
) -> None:
    alone = make_app(JWT_TOKEN_LOCATION=[location])
    beside_others = make_app(JWT_TOKEN_LOCATION=["json", "query_string", "cookies", "headers"])
    for app in (alone, beside_others):
        let_exceptions_through(app)
    statuses: Counter[int | None] = Counter()

    async def check(app: Quart, raw: Raw, path: str) -> None:
        status = await status_or_quarts_own_fault(app, raw, path)
        assert (status is None) is is_refused_by_quart(raw), (status, raw)
        statuses[status] += 1

    methods = st.sampled_from(["GET", "POST"])
    paths = st.sampled_from(["/protected", "/optional", "/refresh", "/fresh"])

    @examples(80)
    @given(ANYTHING[location], methods, paths)
    def send(raw: Raw, method: str, path: str) -> None:
        raw.method = method
        for app in (alone, beside_others):
            on_loop(check(app, raw, path))

    send()
    for raw in map(WITHIN[location], BYTES_IN_REQUESTS):
        on_loop(check(alone, raw, "/protected"))

    # Most of it must have come to us, or nothing was shown.
    assert statuses[None] < sum(statuses.values()) / 2
    assert set(statuses) >= {200, 401, 422}
    assert set(statuses) <= {None, 200, 400, 401, 422}


# --- Any configuration --------------------------------------------------------


class Text(str):
    """A subclass of str, as translation and settings libraries have them."""


class Member(str, enum.Enum):
    """Members that are strings, as settings libraries have them."""

    HEADERS = "headers"
    HS512 = "HS512"
    ACCESS = "access"
    WORD = "word"


class Ambiguous:
    """What is neither true nor false, as an array of numpy."""

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")


class AddsTo:
    """What adds to a datetime, as a relativedelta, and gives what the function makes of it."""

    def __init__(self, function: Callable[[datetime.datetime], Any]) -> None:
        self.function = function

    def __radd__(self, moment: datetime.datetime) -> Any:
        return self.function(moment)


def _no_moment(moment: datetime.datetime) -> Any:
    raise KeyError("no such month")


DAY = datetime.timedelta(days=1)

PLAIN: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 900, 16384, 2**63, -(2**63), 10**400),
    *(0.0, -0.0, 1.5, -0.5, 1e308, 5e-324, float("nan"), float("inf"), -float("inf"), 1j),
    *(fractions.Fraction(3, 2), decimal.Decimal("1.5"), decimal.Decimal("NaN")),
    *("", " ", "word", "é", "\ud800", "\0", "a b", "a\nb", "a;b", "a,b", '"', "%", "/", "x" * 5000),
    *("HS256", "HS512", "RS256", "none", "headers", "cookies", "json", "access", "refresh", "GET"),
    *("Lax", "None", "problem", "Bearer ", "__Host-x", "__secure-x", "https://a.example", "exp"),
    *("sub", "identity", "user_claims", "example.com", ".example.com", "a..b"),
    *(b"", b"word", b"HS256", b"\xff", b"k" * 64, bytearray(b"k" * 40), memoryview(b"k" * 40)),
    *([], (), {}, set(), frozenset(), ["word"], [""], [None], [1], [["headers"]], [b"headers"]),
    *(["headers"], ("cookies", "json"), {"headers", "query_string"}, frozenset(["json"])),
    *(["headers", "headers"], {"headers": 1}, ["HS256", "HS384"], ["HS256", "RS256"], {"access"}),
    *(["\ud800"], ["https://a.example"], [float("nan")], {1}, {"a": 1}),
    *(..., NotImplemented, object(), object, str, print, iter(["headers"]), range(3)),
    *(datetime.timedelta(0), DAY, -DAY, datetime.timedelta.max, datetime.timedelta.min),
    *(datetime.datetime(2030, 1, 1), datetime.date(2030, 1, 1), datetime.timezone.utc),
    *(Text("word"), Text(""), Text("headers"), Text("HS256"), [Text("headers")]),
    *Member,
    *([Member.HEADERS], [Member.HS512], Ambiguous(), [Ambiguous()]),
    *(AddsTo(lambda moment: moment + DAY), AddsTo(lambda moment: moment.date())),
    *(AddsTo(lambda moment: None), AddsTo(lambda moment: "later"), AddsTo(_no_moment)),
    *(AddsTo(lambda moment: NotImplemented), AddsTo(lambda moment: moment.replace(tzinfo=None))),
]


@functools.cache
def odd_values() -> list[Any]:
    """With keys, which take their time to be made."""
    rsa, curve = private_key("RSA"), private_key("P-256")
    keys = [rsa, rsa.public_key(), curve, public_pem(rsa), private_pem(rsa).encode()]
    return [*PLAIN, *keys, public_pem(curve), private_pem(curve)[:-60]]


OPTIONS = sorted(name for name in make_app().config if name.startswith("JWT_"))
ALGORITHM_OPTIONS = {"JWT_ALGORITHM", "JWT_DECODE_ALGORITHMS"}
KEY_OPTIONS = {"JWT_SECRET_KEY", "JWT_PUBLIC_KEY", "JWT_PRIVATE_KEY"}
METHODS = ["GET", "POST"] if generated.IS_FULL else ["POST"]
EVERYWHERE = ["headers", "cookies", "query_string", "json"]


def raw_request(app: Quart, token: str, method: str) -> Raw:
    """A request that holds the token where the options say, as far as their text can be sent."""

    def sendable(name: str) -> bytes:
        value = app.config[name]
        return value.encode("utf-8", "replace") if isinstance(value, str) else b"word"

    encoded = token.encode()
    pairs = [
        (sendable("JWT_HEADER_NAME").lower(), sendable("JWT_HEADER_TYPE") + b" " + encoded),
        (b"cookie", sendable("JWT_ACCESS_COOKIE_NAME") + b"=" + encoded),
        (b"content-type", b"application/json"),
    ]
    return Raw(
        headers=[(name, value) for name, value in pairs if not {10, 13} & {*name, *value}],
        query=b"jwt=" + encoded,
        chunks=(b'{"access_token":"' + encoded + b'"}',),
        method=method,
    )


async def try_out(app: Quart) -> Counter[int]:
    """Create tokens, hand them out, take them back; count the statuses.

    :raises RuntimeError: the configuration is wrong.
    """
    statuses: Counter[int] = Counter()
    with warnings.catch_warnings():
        # Of options that are deprecated, and of secrets that are short.
        warnings.simplefilter("ignore")
        async with app.test_request_context("/"):
            access = qje.create_access_token("alice", user_claims={"role": "admin"})
            refresh = qje.create_refresh_token("alice")
            if "cookies" in config.token_location:
                response = await app.make_response("")
                try:
                    qje.unset_jwt_cookies(response)
                    qje.set_access_cookies(response, access)
                    qje.set_refresh_cookies(response, refresh)
                except ValueError as error:
                    # A browser would drop so large a cookie, which depends on the token, too.
                    if "bytes long" not in str(error):
                        raise
        for path, token in (
            *(("/protected", access), ("/refresh", refresh), ("/optional", access)),
            *(("/fresh", refresh), ("/protected", ""), ("/protected", "a.b.c")),
        ):
            for method in METHODS:
                status = await status_of(app, raw_request(app, token, method), path)
                if isinstance(status, Exception):
                    raise status
                statuses[status] += 1
    return statuses


async def check_configuration(app: Quart, options: dict[str, Any]) -> bool:
    """Whether it works; if not, an option that may be at fault must be named."""
    before = dict(app.config)
    app.config.update(options)
    suspects = set(options)
    if suspects & ALGORITHM_OPTIONS:
        # An algorithm may need a key that is not there.
        suspects |= KEY_OPTIONS
    refusal, statuses = "", Counter()
    try:
        statuses = await try_out(app)
    except RuntimeError as error:
        refusal = str(error)
    finally:
        app.config.update(before)
    if refusal:
        assert any(name in refusal for name in suspects), f"{options}: {refusal}"
        return False
    assert all(status == 200 or 400 <= status < 500 for status in statuses), (options, statuses)
    return True


@pytest.fixture
def everywhere() -> Quart:
    app = make_app(JWT_TOKEN_LOCATION=EVERYWHERE, JWT_COOKIE_CSRF_PROTECT=False)
    let_exceptions_through(app)
    return app


# A secret may be the value of an option that is shown, such as JWT_ERROR_MESSAGE_KEY.
ODD_OPTIONS = pytest.mark.may_show_secrets("the odd value of an option may be a secret")


async def test_good_configuration_lets_tokens_in(everywhere: Quart) -> None:
    """So that the tests below cannot be content with refusals."""
    statuses = await try_out(everywhere)
    assert statuses == {200: 3 * len(METHODS), 422: 3 * len(METHODS)}


@ODD_OPTIONS
@pytest.mark.parametrize("option", OPTIONS)
async def test_any_value_of_an_option_works_or_is_refused_by_its_name(
    everywhere: Quart, option: str
) -> None:
    outcomes: Counter[bool] = Counter()
    for value in odd_values():
        outcomes[await check_configuration(everywhere, {option: value})] += 1
    assert outcomes[True] > 0
    # A key for algorithms that are not in use is not looked at.
    if option not in KEY_OPTIONS:
        assert outcomes[False] > 20


@pytest.mark.parametrize("option", sorted(KEY_OPTIONS))
async def test_any_value_of_a_key_in_use_works_or_is_refused_by_its_name(
    everywhere: Quart, option: str
) -> None:
    everywhere.config.update(
        JWT_ALGORITHM="HS256" if option == "JWT_SECRET_KEY" else "RS256",
        JWT_DECODE_ALGORITHMS=["HS256", "RS256"],
        JWT_PUBLIC_KEY=private_key("RSA").public_key(),
        JWT_PRIVATE_KEY=private_key("RSA"),
    )
    assert await try_out(everywhere) == {200: 3 * len(METHODS), 422: 3 * len(METHODS)}
    outcomes: Counter[bool] = Counter()
    for value in odd_values():
        outcomes[await check_configuration(everywhere, {option: value})] += 1
    assert outcomes[True] > 0
    assert outcomes[False] > 20


@ODD_OPTIONS
def test_any_combination_of_options_works_or_is_refused_by_name(
    everywhere: Quart, on_loop: Callable[[Awaitable[Any]], Any]
) -> None:
    outcomes: Counter[bool] = Counter()
    defaults = {name: everywhere.config[name] for name in OPTIONS}
    drawn = texts | st.integers() | st.floats() | st.binary() | st.lists(texts, max_size=3)
    # Half of the values good for some option, or hardly a combination would work.
    good = st.sampled_from([True, False, "word", "HS384", 60, DAY, ["cookies"], None])
    bad = st.sampled_from(odd_values()) | drawn
    pairs = st.tuples(st.sampled_from(OPTIONS), good | good | bad)

    @examples(500)
    @given(st.lists(pairs, min_size=2, max_size=4).map(dict))
    def compare(options: dict[str, Any]) -> None:
        outcomes[on_loop(check_configuration(everywhere, options))] += 1

    compare()
    assert outcomes[True] > 10, outcomes
    assert outcomes[False] > 10
    assert {name: everywhere.config[name] for name in OPTIONS} == defaults


# The defaults that are text, as members of an enumeration: settings libraries hand them over so.
TEXT_OPTIONS = {
    name: value
    for name, value in make_app().config.items()
    if name in OPTIONS and isinstance(value, str) and value
}
MEMBERS = enum.Enum("MEMBERS", TEXT_OPTIONS, type=str)  # type: ignore[misc]


@pytest.mark.parametrize("location", EVERYWHERE)
async def test_member_of_an_enumeration_counts_as_its_text(location: str) -> None:
    members = {name: MEMBERS[name] for name in TEXT_OPTIONS}
    plain, enumerated = make_app(), make_app(**members)
    for app in (plain, enumerated):
        app.config.update(JWT_TOKEN_LOCATION=location, JWT_COOKIE_CSRF_PROTECT=False)
        let_exceptions_through(app)
    assert await try_out(enumerated) == await try_out(plain)

    async with enumerated.app_context():
        token = qje.create_access_token("alice", user_claims={"role": "admin"})
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert (claims["identity"], claims["user_claims"]) == ("alice", {"role": "admin"})
    async with plain.app_context():
        assert qje.decode_token(token) == claims
