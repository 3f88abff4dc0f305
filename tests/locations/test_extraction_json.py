"""JSON bodies give the token that ``request.get_json()`` gives, and stay readable for the view.

Bodies are generated, and every comparison is made by :class:`support.raw_requests.Probe`, which
also compares what the view can still read. ``EXAMPLES=10`` runs ten times as many.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from quart import request
from werkzeug.exceptions import RequestTimeout

import quart_jwt_extended as qje
from support.asgi import Raw, exchanged, json_request
from support.raw_requests import ANN, BOB, BYTES, OLD, TOKENS, Probe, explore

A, B = ANN.encode(), BOB.encode()
BODY = b'{"access_token":"%s"}' % A

WRONG_TYPE = "Invalid content-type. Must be application/json."
MISSING = 'Missing "access_token" key in json data.'
NO_TOKEN = "Not enough segments"
NO_STRING = "Invalid token type. Token must be a <class 'bytes'>"
BAD_SIGNATURE = "Signature verification failed"

# As many digits as the interpreter turns into an int, and one more, which makes the whole body
# invalid.
DIGITS = sys.get_int_max_str_digits()


def escaped(text: bytes, form: bytes = b"\\u%04x") -> bytes:
    return b"".join(form % byte for byte in text)


# --- generated documents -------------------------------------------------------------------------

OUR_KEYS = [b'"access_token"'] * 8 + [
    b'"' + escaped(b"access_token") + b'"',
    b'"\\u0061ccess_token"',
    b'"access\\u005Ftoken"',
    b'"acces\\u0073\\u005ftoke\\u006E"',
]
OTHER_KEYS = [
    *[b'"a"', b'""', b'"Access_token"', b'"access_token "', b'" access_token"', b'"access_toke"'],
    *[b'"access_tokens"', b'"\\"access_token"', b'"access_token\\""', b'"access\\\\u005ftoken"'],
    *[b'"access_token\\u0000"', b'"\\ud800"', b'"\xc3\xa9"', b'"refresh_token"', b'"x\\/y"'],
]
NO_KEYS = [
    b"access_token",
    b"'access_token'",
    b"1",
    b"null",
    b'"a',
    b'a"',
    b'"\\x"',
    b'"\t"',
    b"{}",
]

STRINGS = [b'"%s"' % token for token in TOKENS]
ESCAPED_STRINGS = [
    *[b'"%s"' % escaped(token) for token in TOKENS],
    *[b'"%s"' % escaped(token, b"\\u%04X") for token in TOKENS],
    *[b'"%s"' % token.replace(b".", b"\\u002e") for token in TOKENS],
]
OTHER_STRINGS = [
    *[b'""', b'" "', b'"."', b'"a.b"', b'"\\u0000"', b'"\\n"', b'"\\ud83d\\ude00"', b'"\xc3\xa9"'],
    *[
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\ud83d\\u0041"',
        b'"\\\\"',
        b'"\\""',
        b'"\\/\\b\\f\\r\\t"',
    ],
    *[
        b'"%s\\n"' % A,
        b'" %s"' % A,
        b'"%s\\ud800"' % A,
        b'"%s\xc3\xa9"' % A,
        b'"{\\"access_token\\":1}"',
    ],
    *[b'"access_token"', b'"\xe2\x80\xa8\xe2\x80\xa9"', b'"\x7f"', b'"\xf4\x8f\xbf\xbf"'],
]
# Each of these makes the body invalid, to the module that Quart parses with.
BAD_STRINGS = [
    *[b'"\n"', b'"\x00"', b'"\x1f"', b'"\t"', b'"\\x"', b'"\\u12"', b'"\\u 123"', b'"\\u+123"'],
    *[
        b'"\\u1_23"',
        b'"\\U00000041"',
        b'"\\',
        b'"',
        b'"\\"',
        b"'a'",
        b'"a""b"',
        b'"\\ud800\\u"',
        b'"\\0"',
    ],
    *[b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\xae"', b'"\xf4\x90\x80\x80"', b"%s" % A],
]
LITERALS = [
    *[
        b"0",
        b"-0",
        b"1",
        b"-1",
        b"1.5",
        b"1e5",
        b"1E+5",
        b"1e-5",
        b"0.0",
        b"0e0",
        b"1e999",
        b"-1e999",
    ],
    *[
        b"true",
        b"false",
        b"null",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1" * 40,
        b"[]",
        b"{}",
        b"[[]]",
    ],
]
BAD_LITERALS = [
    *[
        b"",
        b"-",
        b"+1",
        b"01",
        b"-01",
        b"1.",
        b".5",
        b"1e",
        b"1e+",
        b"1.e5",
        b"0x1",
        b"1_000",
        b"1 1",
    ],
    *[
        b"nan",
        b"-NaN",
        b"+Infinity",
        b"inf",
        b"True",
        b"None",
        b"nul",
        b"truefalse",
        b"tru",
        b"undefined",
    ],
    *[
        b"[",
        b"]",
        b"{",
        b"}",
        b"[1",
        b"[1,]",
        b"[,]",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b"{a:1}",
        b"[1 1]",
    ],
    *[b"/**/1", b"1//", b"\xef\xbc\x91", b"\xd9\xa1"],
]
# Only an int has a limit.
HUGE = [
    b"1" * DIGITS,
    b"-" + b"1" * DIGITS,
    b"1" * 5000 + b".0",
    b"1" * 5000 + b"e1",
    b"0." + b"1" * 5000,
]
TOO_HUGE = [b"1" * (DIGITS + 1), b"-" + b"1" * (DIGITS + 1)]
SPACE = [b""] * 8 + [b" ", b"\n", b"\t", b"\r", b" \r\n\t "]
BAD_SPACE = [
    b"\x0b",
    b"\x0c",
    b"\x00",
    b"\xc2\xa0",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\x1c",
]


def join(*parts: Any) -> st.SearchStrategy[bytes]:
    strategies = [st.sampled_from(part) if isinstance(part, list) else part for part in parts]
    return st.tuples(*strategies).map(b"".join)


def members(key: Any, value: Any) -> st.SearchStrategy[bytes]:
    return join(SPACE, key, SPACE, [b":"], SPACE, value, SPACE)


def objects(
    member: st.SearchStrategy[bytes], size: int = 5, least: int = 0
) -> st.SearchStrategy[bytes]:
    return st.lists(member, min_size=least, max_size=size).map(
        lambda parts: b"{" + b",".join(parts) + b"}"
    )


ours = st.sampled_from(OUR_KEYS)
good_values = st.one_of(
    st.sampled_from(STRINGS),
    st.sampled_from(STRINGS),
    st.sampled_from(ESCAPED_STRINGS),
    st.sampled_from(OTHER_STRINGS),
    st.sampled_from(LITERALS),
)
# Objects and arrays that hold the key as well, for whoever does not count brackets.
nested = st.recursive(
    good_values,
    lambda inner: st.one_of(
        objects(members(st.one_of(ours, st.sampled_from(OTHER_KEYS)), inner), 3),
        st.lists(inner, max_size=3).map(lambda parts: b"[" + b" ,".join(parts) + b"]"),
    ),
    max_leaves=6,
)
good_members = st.one_of(
    members(ours, st.sampled_from(STRINGS)),
    members(ours, st.sampled_from(ESCAPED_STRINGS)),
    members(ours, good_values),
    members(OTHER_KEYS, nested),
    members(st.one_of(ours, st.sampled_from(OTHER_KEYS)), nested),
)
bad_members = st.one_of(
    members(ours, st.sampled_from(BAD_STRINGS)),
    members(ours, st.sampled_from(BAD_LITERALS)),
    members(OTHER_KEYS, st.sampled_from(BAD_STRINGS)),
    members(OTHER_KEYS, st.sampled_from(BAD_LITERALS)),
    members(NO_KEYS, good_values),
    st.sampled_from([b"", b'"access_token"', b'"a":', b":", b'"a" "b"', b'"a"::1', b'"a":1:2']),
    members(ours, join(BAD_SPACE, STRINGS)),
    members(ours, join(STRINGS, BAD_SPACE)),
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """An object with at most one kind of fault, since a second one would hide the first."""
    parts = draw(st.lists(good_members, min_size=1, max_size=5))
    opened, closed, before, after = b"{", b"}", b"", b""
    fault = draw(st.sampled_from(["none"] * 6 + ["member", "bracket", "space", "top"]))
    if fault == "member":
        parts.insert(draw(st.integers(0, len(parts))), draw(bad_members))
    elif fault == "bracket":
        opened, closed = draw(
            st.sampled_from([(b"{", b""), (b"", b"}"), (b"{", b",}"), (b"{,", b"}"), (b"{", b"]")])
        )
    elif fault == "space":
        before, after = draw(st.permutations([b"", draw(st.sampled_from(BAD_SPACE))]))
    elif fault == "top":
        before, after = draw(
            st.sampled_from(
                [(b"[", b"]"), (b"", b"{}"), (b"", b"x"), (b"x", b""), (b"[]", b""), (b"", b"}")]
                + [(b'"', b'"'), (b"", b","), (b"", b"//"), (b'{"a":', b"}"), (b"(", b")")]
            )
        )
    space = draw(st.sampled_from(SPACE)), draw(st.sampled_from(SPACE))
    return b"".join([before, space[0], opened, b",".join(parts), closed, space[1], after])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid document in which one or two bytes were deleted, inserted or replaced.

    Most hits are on or beside the grammar's own characters, for the tokens are long.
    """
    document = draw(objects(good_members, 3, least=1))
    for _ in range(draw(st.integers(1, 2))):
        marks = [place for place, byte in enumerate(document) if byte in b'{}[]":,\\']
        if marks and draw(st.booleans()):
            place = draw(st.sampled_from(marks)) + draw(st.integers(0, 1))
        else:
            place = draw(st.integers(0, len(document)))
        byte = draw(st.one_of(st.sampled_from(list(b'{}[]":,\\ u0e-\n')), st.integers(0, 255)))
        deleted = draw(st.integers(0, 1))
        inserted = draw(st.sampled_from([bytes([byte]), bytes([byte]), b""]))
        document = document[:place] + inserted + document[place + deleted :]
    return document


@st.composite
def in_chunks(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> Raw:
    body = draw(bodies)
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    return json_request(*chunks, method=draw(st.sampled_from(["POST", "POST", "PUT", "GET"])))


def test_generated_bodies_give_the_token_that_quart_gives() -> None:
    explore(
        in_chunks(documents()),
        Probe("json"),
        must_see={"ann", "bob", MISSING, NO_TOKEN, NO_STRING, BAD_SIGNATURE},
        examples=300,
    )


def test_generated_bodies_with_single_bytes_changed_give_the_token_that_quart_gives() -> None:
    explore(
        in_chunks(mutated()),
        Probe("json"),
        must_see={"ann", "bob", MISSING},
        examples=240,
    )


OWN_KEYS = {
    "a": [b'"a"', b'"\\u0061"', b'"aa"', b'"A"', b'"\\u0041"', b'"\\a"'],
    "t\xf6k": [b'"t\xc3\xb6k"', b'"t\\u00f6k"', b'"t\\u00F6k"', b'"t\xf6k"', b'"to\\u0308k"'],
    "\U0001f511": [b'"\xf0\x9f\x94\x91"', b'"\\ud83d\\udd11"', b'"\\uD83D\\uDD11"', b'"\\ud83d"'],
    'a"b\\c': [b'"a\\"b\\\\c"', b'"a\\u0022b\\u005cc"', b'"a"b\\\\c"', b'"a\\"b\\c"', b'"a"'],
    "a/b\n": [b'"a/b\\n"', b'"a\\/b\\n"', b'"a/b\\u000a"', b'"a/b\n"', b'"a/b\\\\n"'],
    "\ud800": [b'"\\ud800"', b'"\\uD800"', b'"\xed\xa0\x80"', b'"\\ud800\\udc00"', b'"\\udc00"'],
}


@pytest.mark.parametrize(("key", "spellings"), OWN_KEYS.items(), ids=map(ascii, OWN_KEYS))
def test_generated_bodies_of_an_own_key_give_the_token_that_quart_gives(
    key: str, spellings: list[bytes]
) -> None:
    names = st.one_of(st.just(spellings[0]), st.sampled_from([*spellings, b'"access_token"']))
    member = members(names, st.one_of(st.sampled_from(STRINGS), good_values))
    explore(
        objects(member, 3).map(json_request),
        Probe("json", JWT_JSON_KEY=key),
        must_see={"ann", f'Missing "{key}" key in json data.'},
        examples=30,
    )


def test_generated_json_values_give_the_token_that_quart_gives() -> None:
    """Whole documents of another generator, which knows nothing of what may be hard to read."""
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=5) | st.just("access_token"), inner, max_size=3)
        ),
        max_leaves=8,
    )
    holders = st.dictionaries(
        st.text() | st.just("access_token"), values | st.sampled_from([ANN, BOB]), max_size=5
    )
    bodies = st.builds(
        lambda value, ascii_, indent: json.dumps(value, ensure_ascii=ascii_, indent=indent).encode(
            errors="surrogatepass"
        ),
        holders | values,
        st.booleans(),
        st.sampled_from([None, 0, "\t"]),
    )
    explore(
        bodies.map(json_request), Probe("json"), must_see={"ann", MISSING, NO_STRING}, examples=80
    )


# --- documents by hand ---------------------------------------------------------------------------


def with_other(value: bytes, key: bytes = b'"a"') -> bytes:
    """The token, and another member behind it."""
    return b'{"access_token":"%s",%s:%s}' % (A, key, value)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        *[(value, True) for value in [*LITERALS, *HUGE, *OTHER_STRINGS]],
        *[(value, False) for value in [*BAD_LITERALS, *TOO_HUGE, *BAD_STRINGS]],
    ],
    ids=lambda value: ascii(value)[:24],
)
async def test_member_beside_the_token_decides_whether_there_is_a_body(
    value: bytes, valid: bool
) -> None:
    """Nobody may look at the token only: in a body that Quart cannot parse there is none."""
    probe = Probe("json")
    before = b'{"a":%s,"access_token":"%s"}' % (value, A)
    for body in (before, with_other(value), with_other(b'[{"b":%s}]' % value)):
        assert await probe.check(json_request(body)) == ("ann" if valid else MISSING), body


@pytest.mark.parametrize("space", BAD_SPACE, ids=repr)
async def test_white_space_that_json_does_not_know_makes_the_body_invalid(space: bytes) -> None:
    probe = Probe("json")
    for place in (0, 1, BODY.index(b":"), BODY.index(b":") + 1, len(BODY) - 1, len(BODY)):
        body = BODY[:place] + space + BODY[place:]
        assert await probe.check(json_request(body)) == MISSING


async def test_every_truncation_and_every_lost_byte_of_a_body_gives_what_quart_gives() -> None:
    body = b' {"a":[{"access_token":"%s"},1.5e3,"\\u00e9\\n"],"access_token":"%s"} ' % (B, A)
    probe = Probe("json")
    for place in range(len(body)):
        await probe.check(json_request(body[:place]))
        await probe.check(json_request(body[:place] + body[place + 1 :]))


async def test_any_byte_in_any_place_of_a_body_gives_what_quart_gives() -> None:
    probe = Probe("json")
    for junk in BYTES:
        for body in [
            junk + BODY,
            b"{" + junk + BODY[1:],
            b'{"' + junk + BODY[2:],
            BODY.replace(b"_", junk),
            BODY.replace(b":", junk + b":"),
            BODY.replace(b":", b":" + junk),
            BODY.replace(A, junk + A),
            BODY.replace(A, b"\\" + junk + A),
            BODY.replace(A, A + junk),
            BODY[:-1] + junk + b"}",
            BODY + junk,
            with_other(junk),
            with_other(b"1" + junk),
            with_other(b'"\\' + junk + b'"'),
            with_other(b'"\\u00e' + junk + b'"'),
            with_other(b'"' + junk + b'"'),
            with_other(b"[" + junk + b"]"),
        ]:
            await probe.check(json_request(body))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"access_token":"%s","access_token":"%s"}' % (B, A), "ann"),
        (b'{"access_token":"%s","\\u0061ccess_token":"%s"}' % (B, A), "ann"),
        (b'{"\\u0061ccess_token":"%s","access_token":"%s"}' % (B, A), "ann"),
        (b'{"access_token":"%s","access_token":null}' % A, NO_STRING),
        (b'{"access_token":"%s","access_token":{"access_token":"%s"}}' % (A, B), NO_STRING),
        (b'{"access_token":"%s","a":{"access_token":"%s"}}' % (A, B), "ann"),
        (b'{"access_token":"%s","a":[{"access_token":"%s"}]}' % (A, B), "ann"),
        (b'{"a":{"access_token":"%s"},"access_token":"%s"}' % (B, A), "ann"),
        (b'{"a":"{\\"access_token\\":\\"%s\\"}","access_token":"%s"}' % (B, A), "ann"),
        (b'{"a":"\\\\","access_token":"%s"}' % A, "ann"),
        (b'{"a":"\\\\\\"","access_token":"%s"}' % A, "ann"),
        (b'{"a":"access_token","b":"%s"}' % A, MISSING),
        (b'{"a":"}","access_token":"%s"}' % A, "ann"),
        (b'{"a":["]","}"],"access_token":"%s"}' % A, "ann"),
        (b'{"access_token":"%s"}{"access_token":"%s"}' % (A, B), MISSING),
        (b'[{"access_token":"%s"}]' % A, MISSING),
        (b'["access_token","%s"]' % A, MISSING),
        (b'"access_token"', MISSING),
        (json.dumps({"access_token": ANN}).encode("utf-16"), MISSING),
        (json.dumps({"access_token": ANN}).encode("utf-16-le"), MISSING),
        (json.dumps({"access_token": ANN}).encode("utf-32"), MISSING),
        (b"", MISSING),
        (b" ", MISSING),
        (b"{}", MISSING),
        (b"null", MISSING),
        (b'{"access_token":"%s"' % A, MISSING),
        (with_other(b'"%s"' % (b"x" * 1_000_000)), "ann"),
        (with_other(b"[%s]" % b",".join([b"1"] * 100_000)), "ann"),
        (b"{%s}" % b",".join(b'"k%d":%d' % (i, i) for i in range(20_000)) + b" ", MISSING),
        (b" " * 100_000 + BODY + b"\n" * 100_000, "ann"),
        (
            b'{"access_token":"%s"}' % (b"a" * 20_000),
            "Token is too long: at most 16384 bytes are accepted",
        ),
        (b'{"access_token":"%s"}' % escaped(A), "ann"),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_nasty_bodies_give_the_token_that_quart_gives(body: bytes, found: str) -> None:
    assert await Probe("json").check(json_request(body)) == found


# The object around them is the first of the 512 levels that are read.
@pytest.mark.parametrize(("depth", "found"), [(300, "ann"), (511, "ann"), (512, MISSING)])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
async def test_deep_member_beside_the_token_is_read_up_to_the_limit(
    opening: bytes, closing: bytes, depth: int, found: str
) -> None:
    body = with_other(opening * depth + b"1" + closing * depth)
    assert await Probe("json").check(json_request(body)) == found
    # A body that does not arrive at once goes another way.
    assert await Probe("json").check(json_request(body[:99], body[99:])) == found


@pytest.mark.parametrize("depth", [100_000, 300_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("closed", [True, False])
async def test_bottomless_member_beside_the_token_gives_what_quart_gives(
    depth: int, opening: bytes, closed: bool
) -> None:
    value = opening * depth + b"1"
    if closed:
        value += (b"]" if opening == b"[" else b"}") * depth
    probe = Probe("json")
    assert await probe.check(json_request(with_other(value))) == MISSING
    assert await probe.check(json_request(b'{"a":%s,"access_token":"%s"}' % (value, A))) == MISSING


@pytest.fixture
def digit_limit() -> Iterator[None]:
    limit = sys.get_int_max_str_digits()
    yield
    sys.set_int_max_str_digits(limit)


@pytest.mark.usefixtures("digit_limit")
@pytest.mark.parametrize(
    ("limit", "digits", "found"),
    [(640, 640, "ann"), (640, 641, MISSING), (0, 20_000, "ann"), (10_000, 10_001, MISSING)],
)
async def test_own_limit_of_digits_decides_about_a_number_beside_the_token(
    limit: int, digits: int, found: str
) -> None:
    sys.set_int_max_str_digits(limit)
    probe = Probe("json")
    for number in (b"1" * digits, b"-" + b"9" * digits):
        assert await probe.check(json_request(with_other(number))) == found
        assert await probe.check(json_request(with_other(b"[%s]" % number))) == found


async def test_refresh_token_under_its_own_key_gives_what_quart_gives() -> None:
    probe = Probe("json", kind="refresh")
    old = OLD.encode()
    body = b'{"access_token":"%s","refresh_token":"%s"}' % (A, old)
    assert await probe.check(json_request(body)) == "old"
    missing = 'Missing "refresh_token" key in json data.'
    assert await probe.check(json_request(b'{"access_token":"%s"}' % old)) == missing


# --- content types -------------------------------------------------------------------------------

TYPES = [b"application/json"] * 4 + [b"Application/JSON", b"text/json", b"application/problem+json"]
TYPES += [b"application", b"json", b"application/jso\xee", b"application/json\xa0", b"text/plain"]
TYPE_PIECES = [
    *TYPES,
    b";",
    b";",
    b" ",
    b"\t",
    b",",
    b"charset=utf-8",
    b'charset="a;b"',
    b"=",
    b'"',
]
TYPE_PIECES += [b"charset=utf-16", b"charset=latin-1", b"\x0b", b"\x00", b"\xe9", b"+json", b"/"]


def test_generated_content_types_decide_as_quart_does() -> None:
    pad = [b"", b"", b"", b" ", b"\t", b" \t ", b"\x0b", b"\xa0", b"\x00", b"\x1c"]
    parameters = [b"", b"", b";", b"; charset=utf-8", b";charset=utf-16", b' ; a="b', b",", b"; ;"]
    values = st.one_of(
        join(pad, TYPES, pad, parameters),
        join(pad, TYPES, pad, parameters),
        st.lists(st.sampled_from(TYPE_PIECES), max_size=6).map(b"".join),
    )
    names = st.sampled_from(
        [b"content-type"] * 4 + [b"Content-Type", b"CONTENT-TYPE", b"content_type"]
    )
    headers = st.one_of(
        st.tuples(st.tuples(names, values)), st.lists(st.tuples(names, values), max_size=3)
    )
    explore(
        headers.map(lambda pairs: json_request(BODY, content_type=None, headers=list(pairs))),
        Probe("json"),
        must_see={"ann", WRONG_TYPE},
        examples=100,
    )


async def test_any_byte_in_any_place_of_a_content_type_decides_as_quart_does() -> None:
    probe = Probe("json")
    for junk in BYTES:
        if junk in b"\r\n":
            continue
        for content_type in [
            junk + b"application/json",
            b"application/json" + junk,
            b"application/json" + junk + b";charset=utf-8",
            b"application/js" + junk + b"n",
            b"application" + junk + b"json",
            b"application/json;" + junk,
        ]:
            await probe.check(json_request(BODY, content_type=content_type))


# --- bodies that come late, or are too long ------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_body_in_many_chunks_gives_the_token_that_quart_gives(size: int) -> None:
    """Half of them are a valid body already, but not the one that was sent."""
    body = BODY + b" " * 50 + b"x"
    probe = Probe("json")
    for whole, found in [(body, MISSING), (body[:-1], "ann")]:
        chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert await probe.check(json_request(*chunks)) == found
        assert await probe.check(json_request(*chunks, b"", b"")) == found


@pytest.mark.parametrize("announced", [True, False], ids=["content-length", "chunked"])
@pytest.mark.parametrize("excess", [-1, 0, 1, 1000])
async def test_content_limit_is_that_of_quart(excess: int, announced: bool) -> None:
    body = BODY + b" " * 2000
    headers = [(b"content-type", b"application/json")]
    if announced:
        headers.append((b"content-length", b"%d" % len(body)))
    raw = json_request(body[:500], body[500:], headers=headers)
    found = await Probe("json", MAX_CONTENT_LENGTH=len(body) - excess).check(raw)
    assert found.startswith("413 ") if excess > 0 else found == "ann"


@pytest.mark.parametrize("seconds", [0, -1])
@pytest.mark.parametrize("chunks", [(BODY,), (BODY[:9], BODY[9:])], ids=["whole", "in two"])
async def test_body_that_may_take_no_time_gives_what_quart_gives(
    seconds: int, chunks: tuple[bytes, ...]
) -> None:
    probe = Probe("json", BODY_TIMEOUT=seconds)
    await probe.check(json_request(*chunks))
    assert probe.answers[0][0] in (RequestTimeout, asyncio.TimeoutError)


async def test_body_that_does_not_end_in_time_is_refused_as_quart_does() -> None:
    raw = json_request(BODY, stuck=True)
    probe = Probe("json", BODY_TIMEOUT=0.02)
    await probe.check(raw)
    # Quart 0.22 does not know the TimeoutError of asyncio in Python 3.10, and lets it pass.
    assert probe.answers[0][0] in (RequestTimeout, asyncio.TimeoutError)
    assert await probe.check(json_request(BODY)) == "ann"


@pytest.mark.parametrize("decorator", [qje.jwt_required, qje.jwt_optional, qje.fresh_jwt_required])
@pytest.mark.parametrize("case", ["too long", "announced too long", "stuck"])
async def test_body_refused_by_quart_answers_as_in_a_view_without_protection(
    decorator: Any, case: str
) -> None:
    timeout = 0.02 if case == "stuck" else 60
    app = Probe("json", MAX_CONTENT_LENGTH=1000, BODY_TIMEOUT=timeout).app
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.post("/read")
    async def read() -> str:
        await request.get_data()
        return ""

    @app.post("/ask")
    @decorator
    async def ask() -> str:
        raise AssertionError("nobody knows whether this body holds a token")

    headers = [(b"content-type", b"application/json")]
    if case == "announced too long":
        headers.append((b"content-length", b"2000"))
    chunks = (BODY,) if case == "stuck" else (BODY, b" " * 2000)
    raw = json_request(*chunks, headers=headers, stuck=case == "stuck")
    unprotected = (await exchanged(app, raw, "/read")).status
    protected = (await exchanged(app, raw, "/ask")).status
    assert protected == unprotected
    # Quart 0.22 does not know the TimeoutError of asyncio in Python 3.10, and answers 500.
    assert unprotected in ((408, 500) if case == "stuck" else (413,))
