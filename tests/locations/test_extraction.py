"""Headers, cookies and query strings give the token that Quart's own properties give.

The inputs are generated, and every comparison is made by :class:`support.raw_requests.Probe`.
``EXAMPLES=10`` runs ten times as many. JSON bodies, and applications that change the request, have
files of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st

from support.asgi import Raw
from support.raw_requests import (
    ANN,
    BOB,
    BYTES,
    FORGED,
    METHODS,
    OLD,
    TOKENS,
    Probe,
    explore,
    own_token,
)

# Werkzeug has another reader of cookies since this release.
READS_STRICTLY = tuple(int(part) for part in version("werkzeug").split(".")[:3]) >= (3, 1, 9)

A, B = ANN.encode(), BOB.encode()

NO_HEADER = "Missing Authorization Header"
BAD_HEADER = "Bad Authorization header. Expected value 'Bearer <JWT>'"
NO_COOKIE = 'Missing cookie "access_token_cookie"'
NO_PARAMETER = 'Missing "jwt" query paramater'
NO_CSRF = "Missing CSRF token"
OTHER_CSRF = "CSRF double submit tokens do not match"
NO_TOKEN = "Not enough segments"
TOO_LONG = "Token is too long: at most 16384 bytes are accepted"
BAD_SIGNATURE = "Signature verification failed"
BAD_SIGNATURE_TEXT = "Invalid crypto padding"
OTHER_KIND = "Only access tokens are allowed"

tokens = st.sampled_from(TOKENS)


def soup(pieces: list[bytes], size: int = 12) -> st.SearchStrategy[bytes]:
    """Pieces in any order."""
    return st.lists(st.sampled_from(pieces), max_size=size).map(b"".join)


def as_strategy(part: Any) -> st.SearchStrategy[bytes]:
    """Bytes stand for themselves, a list for one of its members."""
    if isinstance(part, bytes):
        return st.just(part)
    return st.sampled_from(part) if isinstance(part, list) else part


def chain(*parts: Any) -> st.SearchStrategy[bytes]:
    """One of each, in this order."""
    return st.tuples(*map(as_strategy, parts)).map(b"".join)


@st.composite
def spoiled(draw: st.DrawFn, *parts: Any, junk: list[bytes]) -> bytes:
    """As :func:`chain`, and in half of the cases with junk before, between or behind the parts."""
    pieces = [draw(as_strategy(part)) for part in parts]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        pieces.insert(draw(st.integers(0, len(pieces))), draw(st.sampled_from(junk)))
    return b"".join(pieces)


def without_line_ends(value: bytes) -> bytes:
    """No server lets them through, and Quart refuses to build such a request."""
    return value.replace(b"\r", b"").replace(b"\n", b"")


def every_byte(build: Callable[[bytes], list[bytes]]) -> list[bytes]:
    """What ``build`` makes of each byte that a header may hold."""
    return [value for byte in BYTES if byte not in b"\r\n" for value in build(byte)]


# Bytes that str methods, regular expressions and C take for different things: white space of ASCII
# and of Unicode, what is upper case to one and nothing to the other, parts of UTF-8 sequences.
ODD = [b"\x00", b"\x0b", b"\x1c", b"\x7f", b"\x80", b"\x85", b"\xa0", b"\xb5", b"\xdf", b"\xe9"]
ODD += [b"\xff", b"\xc3\xa9", b"\xe2\x80\x8b", b"\xef\xbb\xbf"]
any_bytes = st.binary(max_size=6).map(without_line_ends)


# --- headers -------------------------------------------------------------------------------------


def header_values(schemes: list[bytes]) -> st.SearchStrategy[bytes]:
    junk = [
        b" ",
        b"\t",
        b"  ",
        b",",
        b", ",
        b"x",
        b" x",
        b"x ",
        b",x",
        b"Basic x,",
        b"=",
        b".",
        *ODD,
    ]
    space = [b" ", b" ", b" ", b"\t", b"  ", b" \t "]
    credential = spoiled(schemes, space, tokens, junk=junk)
    pieces = [*TOKENS, *schemes, *space, *junk]
    return st.one_of(
        credential,
        credential,
        st.lists(credential, min_size=2, max_size=3).map(b",".join),
        spoiled(tokens, junk=junk),
        st.one_of(soup(pieces), any_bytes),
    )


def header_requests(names: list[bytes], schemes: list[bytes]) -> st.SearchStrategy[Raw]:
    """The first header mostly has the right name, else the others would never count."""
    pairs = st.tuples(st.sampled_from(names), header_values(schemes))
    others = st.lists(pairs, max_size=3)
    first = st.tuples(st.just(names[0]), header_values(schemes))
    return st.one_of(
        others,
        st.tuples(first, others).map(lambda both: [both[0], *both[1]]),
        st.tuples(others, first, others).map(lambda all_: [*all_[0], all_[1], *all_[2]]),
    ).map(lambda headers: Raw(headers=headers))


AUTHORIZATION = [
    *[b"authorization", b"Authorization", b"AUTHORIZATION", b"aUTHORIZATIOn"] * 2,
    *[b"authorization ", b" authorization", b"authorization:", b"authorizatio", b"authorizations"],
    *[b"x-authorization", b"proxy-authorization", b"author\xefzation", b"authorization\x00", b""],
]
BEARER = [b"Bearer"] * 6 + [b"bearer", b"BEARER", b"bEaReR", b"Beare", b"Bearers", b"B\xeaarer"]


def test_generated_headers_give_the_token_that_quart_gives() -> None:
    explore(
        header_requests(AUTHORIZATION, BEARER),
        Probe("headers"),
        must_see={"ann", "bob", NO_HEADER, BAD_HEADER, BAD_SIGNATURE, OTHER_KIND},
        examples=80,
    )


def test_generated_headers_without_a_type_give_the_token_that_quart_gives() -> None:
    explore(
        header_requests(AUTHORIZATION, [b"", b"", b"Bearer"]),
        Probe("headers", JWT_HEADER_TYPE=""),
        must_see={"ann", "bob", NO_HEADER, BAD_HEADER.replace("Bearer ", ""), BAD_SIGNATURE},
    )


def test_generated_headers_of_an_own_name_and_type_give_the_token_that_quart_gives() -> None:
    """Quart puts names in title case, which makes two letters of a sharp s at the start."""
    names = [b"x-sso", b"X-SSO", b"X-Sso", b"x-\xdfo", b"X-\xdfO", b"x-s\xdfo", b"x_sso", b"xsso"]
    types = [*[b"K-1"] * 4, b"k-1", b"K\xad1", b"K_1", b"K-1:", b"Bearer", b"\xe7-1"]
    explore(
        header_requests(names, types),
        Probe("headers", JWT_HEADER_NAME="X-SSO", JWT_HEADER_TYPE="K-1"),
        must_see={"ann", "bob", "Missing X-SSO Header", BAD_SIGNATURE},
    )


def test_generated_headers_with_a_refresh_token_give_the_token_that_quart_gives() -> None:
    explore(
        header_requests(AUTHORIZATION, BEARER),
        Probe("headers", kind="refresh"),
        must_see={"old", NO_HEADER, BAD_HEADER, "Only refresh tokens are allowed"},
    )


SHARP_S = {"JWT_HEADER_NAME": "X-SSO", "JWT_HEADER_TYPE": ""}


@pytest.mark.parametrize(
    ("options", "headers", "found"),
    [
        # Title case, as Quart gives it to every name, is not what bytes.title would make of it.
        (SHARP_S, [(b"x-\xdfo", A)], "ann"),
        (SHARP_S, [(b"X-\xdfO", A), (b"X-SSO", B)], "ann"),
        (SHARP_S, [(b"x-s\xdfo", A)], "Missing X-SSO Header"),
        ({"JWT_HEADER_NAME": "X-S"}, [(b"x-\xdf", b"Bearer " + A)], "Missing X-S Header"),
        ({"JWT_HEADER_NAME": "Z-Az"}, [(b"z-aZ", b"Bearer " + A)], "ann"),
        ({}, [(b"authorization", b""), (b"authorization", b"Bearer " + A)], NO_HEADER),
        ({}, [(b"AUTHORIZATION", b"Bearer " + A), (b"Authorization", b"Bearer " + B)], "ann"),
        ({}, [(b"authorization", b"Bearer\t" + A)], "ann"),
        ({}, [(b"authorization", b"\tBearer \t " + A + b"\t")], "ann"),
        ({}, [(b"authorization", b"\t")], BAD_HEADER),
        ({}, [(b"authorization", b"Bearer " + A + b",\t,Basic x")], BAD_HEADER),
        ({}, [(b"authorization", b"a b c,Bearer " + A)], "ann"),
        ({}, [(b"authorization", b'Digest a="b, Bearer ' + A + b'"')], BAD_SIGNATURE_TEXT),
        # Unicode has them for white space, a header has not.
        ({}, [(b"authorization", b"Bearer\xa0" + A)], BAD_HEADER),
        ({}, [(b"authorization", b"Bearer\x85" + A)], BAD_HEADER),
        ({}, [(b"authorization", b"Bearer\x1c" + A)], BAD_HEADER),
        ({}, [(b"authorization", b"Bearer " + A + b"\xa0")], BAD_SIGNATURE_TEXT),
        # Quart itself puts the client's address in front of all headers.
        ({"JWT_HEADER_NAME": "Remote-Addr", "JWT_HEADER_TYPE": ""}, [], "Invalid header padding"),
        (
            {"JWT_HEADER_NAME": "Remote-Addr", "JWT_HEADER_TYPE": ""},
            [(b"remote-addr", A)],
            "Invalid header padding",
        ),
        (
            {"JWT_HEADER_NAME": "X", "JWT_HEADER_TYPE": ""},
            [(b"x%d" % number, B) for number in range(300)] + [(b"x", A)],
            "ann",
        ),
    ],
)
async def test_nasty_headers_give_the_token_that_quart_gives(
    options: dict[str, Any], headers: list[tuple[bytes, bytes]], found: str
) -> None:
    assert await Probe("headers", **options).check(Raw(headers=headers)) == found


async def test_any_byte_in_any_place_of_a_header_gives_what_quart_gives() -> None:
    probe = Probe("headers")
    for value in every_byte(
        lambda junk: [
            junk + b"Bearer " + A,
            b"Bear" + junk + b"r " + A,
            b"Bearer" + junk + A,
            b"Bearer " + junk + A,
            b"Bearer " + A[:60] + junk + A[60:],
            b"Bearer " + A + junk,
            b"Basic" + junk + b"Bearer " + A,
        ]
    ):
        await probe.check(Raw(headers=[(b"authorization", value)]))
    for name in every_byte(
        lambda junk: [
            b"authori" + junk + b"ation",
            junk + b"authorization",
            b"authorization" + junk,
        ]
    ):
        await probe.check(Raw(headers=[(name, b"Bearer " + A)]))


ONE_OF_EACH = [
    (b"Authorization", b"Bearer " + A),
    (b"Cookie", b"access_token_cookie=" + A),
    (b"X-CSRF-TOKEN", b"ann-csrf"),
]


@pytest.mark.parametrize("location", ["headers", "cookies"])
@pytest.mark.parametrize(
    "shape",
    [
        tuple,
        iter,
        lambda pairs: [list(pair) for pair in pairs],
        lambda pairs: [(bytearray(name), bytearray(value)) for name, value in pairs],
    ],
    ids=["tuple", "iterator", "lists", "bytearrays"],
)
async def test_scope_headers_in_another_shape_give_what_quart_gives(
    location: str, shape: Any
) -> None:
    """ASGI asks for an iterable of pairs: whoever iterates a second time may find nothing left."""
    raw = Raw(headers=ONE_OF_EACH, scope_headers=shape, method="POST")
    assert await Probe(location).check(raw) == "ann"


async def test_http_1_0_without_a_host_gives_what_quart_gives() -> None:
    assert await Probe("headers").check(Raw(headers=ONE_OF_EACH, http_version="1.0")) == "ann"


# --- cookies -------------------------------------------------------------------------------------


@st.composite
def quoted(draw: st.DrawFn) -> bytes:
    """A quoted value in which some characters are written in octal, and some behind a backslash.

    A digit behind a backslash may or may not be the start of an octal escape.
    """
    token = draw(tokens)
    ways = random.Random(draw(st.integers(0, 2**32)))
    escaped = draw(st.sampled_from([0, 0, 1, 3, len(token)]))
    chosen = set(ways.sample(range(len(token)), escaped))
    octal = draw(st.booleans())
    parts = [
        bytes([char])
        if place not in chosen
        else b"\\%03o" % char
        if octal
        else b"\\" + bytes([char])
        for place, char in enumerate(token)
    ]
    return b'"' + b"".join(parts) + b'"'


JUNK_IN_COOKIES = [
    *[
        b'"',
        b'""',
        b'"a"',
        b'"a;b"',
        b"\\",
        b'\\"',
        b"=",
        b"==",
        b" ",
        b"\t",
        b",",
        b"a",
        b"$",
        b"|",
    ],
    *[
        b"\\056",
        b"\\56",
        b"\\456",
        b"\\377",
        b"\\303\\251",
        b"\\000",
        b"\\08",
        b"\\0",
        b'"\\"',
        *ODD,
    ],
]


def cookie_values() -> st.SearchStrategy[bytes]:
    return st.one_of(
        tokens,
        quoted(),
        quoted(),
        spoiled(tokens, junk=JUNK_IN_COOKIES),
        spoiled(b'"', tokens, b'"', junk=JUNK_IN_COOKIES),
        chain(b'"a; ', tokens, [b'"', b"", b' "']),
        soup(JUNK_IN_COOKIES, 5),
    )


def cookie_headers(names: list[bytes]) -> st.SearchStrategy[bytes]:
    space = [b"", b"", b"", b"", b" ", b"\t", b" \t "]
    ours = chain(space, names, space, b"=", space, cookie_values(), space)
    rest = st.one_of(
        spoiled(names, junk=JUNK_IN_COOKIES),
        spoiled(names, b"=", tokens, junk=JUNK_IN_COOKIES),
        chain([b"a=", b"=", b"a", b"a ="], cookie_values()),
        st.sampled_from([b"", b"a", b"a=b", b'a="', b'a="b\\"', b'"', b"a b=c", *ODD]),
    )
    separators = st.sampled_from([b";", b"; ", b"; ", b";;", b" ; ", b",", b" "])
    cookies = st.lists(st.one_of(ours, rest), min_size=1, max_size=4)
    joined = st.tuples(separators, cookies).map(lambda both: both[0].join(both[1]))
    assigned = [name + b"=" for name in names]
    pieces = [*TOKENS, *names, *assigned, *assigned, *[b";", b"; "] * 4, *JUNK_IN_COOKIES]
    return st.one_of(ours, joined, joined, joined, st.one_of(soup(pieces), any_bytes))


def cookie_requests(
    names: list[bytes], headers: list[bytes] = (b"cookie", b"Cookie", b"COOKIE")
) -> st.SearchStrategy[Raw]:
    pairs = st.tuples(st.sampled_from(headers), cookie_headers(names))
    some = st.one_of(st.tuples(pairs), st.tuples(pairs), st.lists(pairs, max_size=3))
    return some.map(lambda headers: Raw(headers=list(headers)))


NAME = b"access_token_cookie"
ACCESS_COOKIE = [
    *[NAME] * 6,
    *[b"Access_Token_Cookie", b"access_token_cookies", b"xaccess_token_cookie", b"access_token"],
    *[b"access_token_cooki\xe9", b"access_token_cookie\xa0", b"refresh_token_cookie", b"cookie"],
]


def test_generated_cookies_give_the_token_that_quart_gives() -> None:
    explore(
        cookie_requests(ACCESS_COOKIE),
        Probe("cookies"),
        must_see={"ann", "bob", NO_COOKIE, BAD_SIGNATURE, BAD_SIGNATURE_TEXT, OTHER_KIND, NO_TOKEN},
        examples=240,
    )


@pytest.mark.parametrize("name", ["t", "a.b", "$v", "a+", "__Host-t", "^|'"])
def test_generated_cookies_of_an_own_name_give_the_token_that_quart_gives(name: str) -> None:
    """Names that are all over the header, or would mean something else in a pattern."""
    own = name.encode()
    names = [own, own, own, own + own, own.swapcase(), b"x" + own, own + b"1", b"axb", b"a", b"v"]
    explore(
        cookie_requests(names),
        # What begins with __Host- must be secure.
        Probe("cookies", JWT_ACCESS_COOKIE_NAME=name, JWT_COOKIE_SECURE=True),
        must_see={"ann", "bob", f'Missing cookie "{name}"'},
        examples=30,
    )


def test_generated_refresh_cookies_give_the_token_that_quart_gives() -> None:
    explore(
        cookie_requests([b"refresh_token_cookie"] * 4 + [NAME], [b"cookie"] * 4 + [b"cookie2"]),
        Probe("cookies", kind="refresh"),
        must_see={
            "old",
            'Missing cookie "refresh_token_cookie"',
            "Only refresh tokens are allowed",
        },
    )


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([NAME + b"=" + A + b"; " + NAME + b"=" + B], "ann"),
        ([NAME + b"=" + A, NAME + b"=" + B], "ann"),
        ([b"", NAME + b"=" + A], "ann"),
        # The headers are joined before they are read: what one opens, the next may close.
        ([b'x="', NAME + b"=" + A + b'"'], NO_COOKIE),
        ([b'x="', b'"; ' + NAME + b"=" + A], "ann"),
        ([b"x", NAME + b"=" + A], "ann"),
        ([NAME, NAME + b"=" + A], NO_COOKIE),
        # Empty is found, and counts as absent.
        ([NAME + b'=""; ' + NAME + b"=" + A], NO_COOKIE),
        ([NAME + b"; " + NAME + b"=" + A], NO_COOKIE),
        # What is no cookie is skipped up to the next semicolon, wherever that stands.
        ([NAME + b" x=" + B + b"; " + NAME + b"=" + A], "ann"),
        ([NAME + b"=" + B + b" x; " + NAME + b"=" + A], "ann"),
        ([NAME + b"=" + B + b'"; ' + NAME + b"=" + A], "ann"),
        ([NAME + b'="' + B + b'"x; ' + NAME + b"=" + A], "ann"),
        ([b'x="a; ' + NAME + b"=" + A + b'; "b'], "ann"),
        ([b'x="a; ' + NAME + b"=" + A + b'; b"'], NO_COOKIE),
        ([b'x="a\\"; ' + NAME + b"=" + A + b"; y"], "ann"),
        ([b'x="a\\"; ' + NAME + b"=" + A + b';"'], NO_COOKIE),
        ([b"==" + NAME + b"=" + A], NO_COOKIE),
        ([b"x=y=" + NAME + b"=" + A], NO_COOKIE),
        ([b",;" + NAME + b"=" + A], "ann"),
        ([NAME + b"\x0b=" + A], NO_COOKIE),
        ([b"\xa0" + NAME + b"=" + A], NO_COOKIE),
        ([b"\t \t" + NAME + b"\t=\t" + A + b"\t"], "ann"),
        # Only three octal digits up to 377 are an escape; any other character stands for itself.
        ([NAME + b'="' + A.replace(b".", b"\\056") + b'"'], "ann"),
        ([NAME + b"=" + A.replace(b".", b"\\056")], NO_TOKEN),
        ([NAME + b'="' + A.replace(b".", b"\\456") + b'"'], NO_TOKEN),
        ([NAME + b'="' + A.replace(b".", b"\\56") + b'"'], NO_TOKEN),
        ([NAME + b'="' + A.replace(b".", b"\\.") + b'"'], "ann"),
        ([NAME + b'="' + A.replace(b".", b"\\\\056") + b'"'], NO_TOKEN),
        ([NAME + b'="' + A + b'\\"'], NO_COOKIE),
        ([NAME + b'="' + A + b"\\"], NO_COOKIE),
        ([NAME + b"=" + A + b"\\"], BAD_SIGNATURE_TEXT),
        ([NAME + b'="' + A + b'\\377"'], BAD_SIGNATURE_TEXT),
        ([NAME + b'="' + A + b'\\303\\251"'], BAD_SIGNATURE_TEXT),
        ([NAME + b"='" + A + b"'"], "Invalid header padding"),
        ([NAME + b"=" + A + b","], BAD_SIGNATURE_TEXT),
        (
            [b"; ".join(b"c%d=v" % number for number in range(3000)) + b"; " + NAME + b"=" + A],
            "ann",
        ),
        ([NAME + b"=" + b"a" * 17000], TOO_LONG),
        ([b'"' * 5000 + NAME + b"=" + A], NO_COOKIE),
        ([b";" * 5000 + NAME + b"=" + A], "ann"),
        ([b'x="' + b"\\" * 5001 + b'"; ' + NAME + b"=" + A], "ann"),
        ([b'x="' + b"\\" * 5000 + b'"; ' + NAME + b"=" + A], "ann"),
    ],
)
async def test_nasty_cookies_give_the_token_that_quart_gives(
    headers: list[bytes], found: str
) -> None:
    raw = Raw(headers=[(b"cookie", value) for value in headers])
    # The probe compares with the Werkzeug that is installed, whatever it makes of the cookie.
    outcome = await Probe("cookies").check(raw)
    if READS_STRICTLY:
        assert outcome == found


async def test_any_byte_in_any_place_of_a_cookie_gives_what_quart_gives() -> None:
    probe = Probe("cookies")
    for value in every_byte(
        lambda junk: [
            junk + NAME + b"=" + A,
            NAME[:6] + junk + NAME[7:] + b"=" + A,
            NAME + junk + b"=" + A,
            NAME + junk + A,
            NAME + b"=" + junk + A,
            NAME + b"=" + A[:60] + junk + A[60:],
            NAME + b"=" + A + junk,
            NAME + b"=" + A + junk + b"; x=y",
            NAME + b'="' + junk + A + b'"',
            NAME + b'="' + A + junk + b'"',
            NAME + b'="' + A[:60] + b"\\" + junk + A[60:] + b'"',
            NAME + b'="' + A + b'"' + junk,
            b"x=y" + junk + NAME + b"=" + A,
            b'x="' + junk + b'";' + NAME + b"=" + A,
            b'x="\\' + junk + b'";' + NAME + b"=" + A,
        ]
    ):
        await probe.check(Raw(headers=[(b"cookie", value)]))


@pytest.mark.parametrize(
    "digits", ["056", "56", "0056", "256", "377", "400", "05", "058", "08", ""]
)
@pytest.mark.parametrize("backslashes", [1, 2, 3])
async def test_octal_digits_behind_backslashes_give_what_quart_gives(
    digits: str, backslashes: int
) -> None:
    value = A.replace(b".", b"\\" * backslashes + digits.encode())
    probe = Probe("cookies")
    for cookie in (b'"' + value + b'"', value, value + b'"', b'"' + value):
        await probe.check(Raw(headers=[(b"cookie", NAME + b"=" + cookie)]))


CSRF_VALUES = [b"ann-csrf", b"ann-csrf", b"bob-csrf", b"ann-csrf ", b" ann-csrf", b"ann-csr\xe9"]
CSRF_VALUES += [b"", b"\xe9", b"ann-csrf,bob-csrf", b'"ann-csrf"', b"\xc3\xa9", b"ANN-CSRF"]


def csrf_requests(names: list[bytes]) -> st.SearchStrategy[Raw]:
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(CSRF_VALUES))
    cookie = chain(NAME + b"=", [A, A, A, B, FORGED.encode(), b""])
    return st.builds(
        lambda method, before, value, after: Raw(
            method=method, headers=[*before, (b"cookie", value), *after]
        ),
        st.sampled_from([*METHODS, "post", "Delete"]),
        st.lists(pairs, max_size=2),
        cookie,
        st.lists(pairs, max_size=2),
    )


def test_generated_csrf_headers_give_the_value_that_quart_gives() -> None:
    names = [b"x-csrf-token", b"X-CSRF-TOKEN", b"X-Csrf-Token", b"x-csrf-token ", b"x_csrf_token"]
    explore(
        csrf_requests([*names, b"csrf-token", b"x-csrf-tokens"]),
        Probe("cookies"),
        must_see={"ann", "bob", NO_COOKIE, NO_CSRF, OTHER_CSRF, BAD_SIGNATURE},
        examples=80,
    )


def test_generated_csrf_headers_of_an_own_name_give_the_value_that_quart_gives() -> None:
    names = [b"x-ssrf", b"X-SSRF", b"x-\xdfrf", b"x-csrf-token", b"x-srf"]
    explore(
        csrf_requests(names),
        Probe(
            "cookies",
            JWT_ACCESS_CSRF_HEADER_NAME="X-SSRF",
            JWT_REFRESH_CSRF_HEADER_NAME="X-CSRF-TOKEN",
            JWT_CSRF_METHODS=("GET", "POST"),
        ),
        must_see={"ann", "bob", NO_COOKIE, NO_CSRF, OTHER_CSRF},
    )


@pytest.mark.parametrize("value", [*CSRF_VALUES, b"a\xe9b", b"\xff", b"\x00", b"a\x7f"], ids=repr)
async def test_csrf_header_of_any_bytes_is_the_text_that_quart_gives(value: bytes) -> None:
    """The claim is that very text, so that only the right reading of the header is accepted."""
    token = own_token("ann", csrf=value.decode("latin-1")).encode()
    headers = [(b"cookie", NAME + b"=" + token), (b"x-csrf-token", value)]
    found = await Probe("cookies").check(Raw(headers=headers, method="PUT"))
    assert found == ("ann" if value else NO_CSRF)


# --- query string --------------------------------------------------------------------------------


@st.composite
def percent_encoded(draw: st.DrawFn, text: bytes) -> bytes:
    """``text`` with none, one, some or all of its bytes encoded, in hex digits of either case."""
    ways = random.Random(draw(st.integers(0, 2**32)))
    count = draw(st.sampled_from([0, 0, 1, 1, min(3, len(text)), len(text)]))
    chosen = set(ways.sample(range(len(text)), min(count, len(text))))
    form = draw(st.sampled_from([b"%%%02X", b"%%%02x"]))
    parts = [
        form % byte if place in chosen or byte in b"%&=+ " else bytes([byte])
        for place, byte in enumerate(text)
    ]
    return b"".join(parts)


JUNK_IN_QUERIES = [
    *[
        b"+",
        b"%20",
        b"%2B",
        b"%",
        b"%2",
        b"%zz",
        b"%%",
        b"%2%45",
        b"%u0041",
        b"%00",
        b"%0A",
        b"=",
        b"%3D",
    ],
    *[
        b"%26",
        b"%3B",
        b";",
        b"#",
        b"?",
        b"/",
        b"[]",
        b" ",
        b"\t",
        b"\x00",
        b"\x0b",
        b"\xc3\xa9",
        b"%C3%A9",
    ],
    *[
        b"%C3",
        b"%A9",
        b"%ff",
        b"%FF",
        b"%25FF",
        b"%e2%80",
        b"%ED%A0%80",
        b"%F0%9F%98%80",
        b"%c0%ae",
    ],
    *[
        b"%2e",
        b"%252E",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa8",
        b"\xf0\x9f\x98\x80",
        b"%\xc3\xa9",
        b"%\xd9\xa1",
    ],
]


def queries(name: str, lookalikes: list[bytes]) -> st.SearchStrategy[bytes]:
    own = name.encode()
    ours = percent_encoded(own)
    names = st.one_of(ours, ours, ours, st.sampled_from([*lookalikes, b"", b"a", own.swapcase()]))
    value = st.one_of(
        tokens,
        tokens.flatmap(percent_encoded),
        tokens.flatmap(percent_encoded),
        spoiled(tokens, junk=JUNK_IN_QUERIES),
        chain(tokens, [b"."], JUNK_IN_QUERIES),
        soup(JUNK_IN_QUERIES, 4),
    )
    field = st.one_of(
        chain(names, b"=", value),
        chain(names, b"=", value),
        spoiled(names, b"=", tokens, junk=JUNK_IN_QUERIES),
        names,
        chain([b"a=", b"=", b"a", b""], value),
        st.sampled_from([b"", b"=", b"a", b"a=b", b"=a"]),
    )
    separators = st.sampled_from([b"&", b"&", b"&", b"&&", b";", b"&amp;", b"%26"])
    fields = st.lists(field, min_size=1, max_size=4)
    joined = st.tuples(separators, fields).map(lambda both: both[0].join(both[1]))
    assigned = quote(name, safe="").encode() + b"="
    pieces = [*TOKENS, *[assigned] * 5, *[b"&"] * 10, own, *JUNK_IN_QUERIES]
    return st.one_of(joined, joined, joined, chain(ours, b"=", value), soup(pieces))


def is_utf8(query: bytes) -> bool:
    try:
        query.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_generated_query_strings_give_the_token_that_quart_gives() -> None:
    lookalikes = [b"JWT", b"jwts", b"xjwt", b"jw", b"jwt+", b"+jwt", b"jwt%00", b"%256Awt", b"j%77"]
    cases = queries("jwt", lookalikes).filter(is_utf8)
    explore(
        cases.map(lambda query: Raw(query=query)),
        Probe("query_string"),
        must_see={
            "ann",
            "bob",
            NO_PARAMETER,
            BAD_SIGNATURE,
            BAD_SIGNATURE_TEXT,
            OTHER_KIND,
            NO_TOKEN,
        },
        examples=240,
    )


OWN_NAMES = {
    "a b": [b"a+b", b"a%20b", b"a%2Bb", b"a b", b"ab", b"a\xc2\xa0b"],
    "a+b": [b"a+b", b"a%2Bb", b"a%2bb", b"a%20b", b"a b"],
    "a=b&c": [b"a=b&c", b"a%3Db%26c", b"a%3Db&c", b"a"],
    "t\xf6k": [b"t\xc3\xb6k", b"t%C3%B6k", b"t%c3%b6k", b"t%F6k", b"to\xcc\x88k", b"t\xc3\x96k"],
    # An escape that is no UTF-8 stays, in upper case, and so is the same as its own text.
    "%FF": [b"%FF", b"%ff", b"%25FF", b"%25ff", b"%2546F", b"%fF"],
    "\U0001f511": [b"\xf0\x9f\x94\x91", b"%F0%9F%94%91", b"%F0%9F%94", b"%ED%A0%BD%ED%B4%91"],
    "a": [b"%61", b"%41", b"%", b"%6", b"aa", b"A", b"a%"],
    "a;b": [b"a;b", b"a%3Bb", b"a", b"b"],
    "\x00": [b"\x00", b"%00", b"", b"%2500", b"%0"],
}


@pytest.mark.parametrize(("name", "lookalikes"), OWN_NAMES.items(), ids=map(repr, OWN_NAMES))
def test_generated_query_strings_of_an_own_name_give_the_token_that_quart_gives(
    name: str, lookalikes: list[bytes]
) -> None:
    cases = queries(name, lookalikes).filter(is_utf8)
    explore(
        cases.map(lambda query: Raw(query=query)),
        Probe("query_string", JWT_QUERY_STRING_NAME=name),
        must_see={"ann", f'Missing "{name}" query paramater'},
        examples=40,
    )


def test_generated_query_strings_that_may_not_be_utf8_give_what_quart_gives() -> None:
    """Quart gives up on these before any view, so a hook must put them into the request."""
    wild = [b"\xff", b"\xe9", b"\xc3", b"\xed\xa0\x80", b"\xc0\xae", b"\xf4\x90\x80\x80"]
    cases = st.one_of(
        queries("jwt", [b"jwt\xff", b"jwt\xc3"]),
        chain(queries("jwt", []), wild, [b"", b"&jwt=" + A]),
        chain(wild, [b"", b"&", b"=&"], b"jwt=", tokens),
        chain(b"jwt=", tokens, wild),
        chain(b"jwt=", tokens, b"&a", [b"", b"="], wild, [b"", b"\xa9"]),
        st.binary(max_size=12),
    )
    explore(
        cases.map(lambda query: Raw(late_query=query)),
        Probe("query_string"),
        must_see={"ann", "bob", NO_PARAMETER},
        examples=80,
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"jwt=" + A + b"&jwt=" + B, "ann"),
        (b"j%57t=" + B + b"&%6A%77%74=" + A, "ann"),
        (b"jwt&jwt=" + A, NO_PARAMETER),
        (b"jwt=&jwt=" + A, NO_PARAMETER),
        (b"%6awt&jwt=" + A, NO_PARAMETER),
        (b"jwt==" + A, "Invalid header padding"),
        (b"jwt%3D=" + B + b"&jwt=" + A, "ann"),
        (b"a;jwt=" + B + b"&jwt=" + A, "ann"),
        (b"jwt=" + A + b";", BAD_SIGNATURE_TEXT),
        (b"jwt=" + A.replace(b".", b"%2E"), "ann"),
        (b"jwt=" + A.replace(b".", b"%2e"), "ann"),
        (b"jwt=" + A.replace(b".", b"%252E"), NO_TOKEN),
        (b"jwt=" + A.replace(b".", b"%2"), NO_TOKEN),
        (b"jwt=" + A + b"+", BAD_SIGNATURE_TEXT),
        (b"jwt=+" + A, "Invalid header padding"),
        # Python's int() takes them, no percent-decoder should.
        (b"jwt=" + A.replace(b".", b"%+2"), NO_TOKEN),
        (b"jwt=" + A.replace(b".", b"% 2E"), NO_TOKEN),
        (b"jwt=" + A.replace(b".", "%\N{ARABIC-INDIC DIGIT TWO}E".encode()), NO_TOKEN),
        # Fields over the limit that the standard library may be given, and Werkzeug does not give.
        (b"&".join(b"a=%d" % number for number in range(1500)) + b"&jwt=" + A, "ann"),
        (b"&" * 5000 + b"jwt=" + A, "ann"),
        (b"jwt=" + b"%4" * 3000 + b"&jwt=" + A, NO_TOKEN),
        (b"jwt=" + b"a" * 17000, TOO_LONG),
        # Longer than a token may be, until it is decoded.
        (b"jwt=" + b"".join(b"%%%02x" % byte for byte in A) + b"&a=" + b"%61" * 9000, "ann"),
        (b"a=\xc3\xa9&jwt=" + A, "ann"),
        (b"a=%ff%fe%ed%a0%80&jwt=" + A, "ann"),
    ],
)
async def test_nasty_query_strings_give_the_token_that_quart_gives(
    query: bytes, found: str
) -> None:
    assert await Probe("query_string").check(Raw(query=query)) == found


@pytest.mark.parametrize("size", range(1, 4))
async def test_overlong_token_is_measured_once_it_is_decoded(size: int) -> None:
    """Encoded, each of these is several times as long as its limit."""
    encoded = b"".join(b"%%%02x" % byte for byte in A)
    limit = len(A) + size - 2
    probe = Probe(["query_string", "cookies"], JWT_MAX_TOKEN_SIZE=limit)
    octal = b"".join(b"\\%03o" % byte for byte in A)
    expected = "ann" if size > 1 else TOO_LONG.replace("16384", str(limit))
    assert await probe.check(Raw(query=b"jwt=" + encoded)) == expected
    cookie = (b"cookie", NAME + b'="' + octal + b'"')
    assert await probe.check(Raw(headers=[cookie])) == expected


async def test_any_byte_in_any_place_of_a_query_string_gives_what_quart_gives() -> None:
    probe = Probe("query_string")
    spellings = [form % ord(byte) for form in (b"%c", b"%%%02x", b"%%%02X") for byte in BYTES]
    for junk in spellings:
        for query in [
            junk + b"jwt=" + A,
            b"j" + junk + b"t=" + A,
            b"jwt" + junk + b"=" + A,
            b"jwt" + junk + A,
            b"jwt=" + junk + A,
            b"jwt=" + A[:60] + junk + A[60:],
            b"jwt=" + A + junk,
            b"a=b" + junk + b"jwt=" + A,
            b"jwt=" + A.replace(b".", b"%2" + junk),
            b"jwt=" + A.replace(b".", b"%" + junk + b"e"),
        ]:
            await probe.check(Raw(late_query=query))


# --- all of them at once -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "locations",
    [("headers", "cookies", "query_string"), ("query_string", "cookies", "headers")],
    ids="-".join,
)
def test_generated_requests_with_several_locations_give_the_token_that_quart_gives(
    locations: tuple[str, ...],
) -> None:
    lone = st.one_of(st.just([]), st.lists(header_values(BEARER), max_size=2))
    cases = st.builds(
        lambda values, cookies, query, method, csrf: Raw(
            headers=[
                *[(b"authorization", value) for value in values],
                *[(b"cookie", value) for value in cookies],
                *[(b"x-csrf-token", value) for value in csrf],
            ],
            query=query,
            method=method,
        ),
        lone,
        st.lists(cookie_headers(ACCESS_COOKIE), max_size=2),
        st.one_of(st.just(b""), queries("jwt", [b"JWT"]).filter(is_utf8)),
        st.sampled_from(["GET", "GET", "POST"]),
        st.lists(st.sampled_from(CSRF_VALUES), max_size=2),
    )
    nothing = (
        f"Missing JWT in {', '.join(locations[:-1])} or {locations[-1]} ("
        + "; ".join(
            {"headers": NO_HEADER, "cookies": NO_COOKIE, "query_string": NO_PARAMETER}[location]
            for location in locations
        )
        + ")"
    )
    explore(
        cases,
        Probe(locations),
        must_see={"ann", "bob", nothing, BAD_HEADER, NO_CSRF, BAD_SIGNATURE},
        examples=120,
    )


async def test_refresh_token_is_told_from_an_access_token_in_every_location() -> None:
    """A sanity check of the comparison itself."""
    old = OLD.encode()
    for location, raw in [
        ("headers", Raw(headers=[(b"authorization", b"Bearer " + old)])),
        ("cookies", Raw(headers=[(b"cookie", b"refresh_token_cookie=" + old)])),
        ("query_string", Raw(query=b"jwt=" + old)),
    ]:
        assert await Probe(location, kind="refresh").check(raw) == "old"
