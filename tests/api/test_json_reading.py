"""The JSON of claims and headers: read as the json module reads it, refused as PyJWT refuses it.

:func:`reference` reads a segment with :mod:`json`, then applies the few rules in which the
extension is stricter (``docs/options.md``, "Tokens that are always rejected"). Every document below
goes through it and through the extension, and the two must agree in each value, in its exact type
and in the order of the members; or in the class and the text of the refusal.

``JSON_DOCUMENTS`` in the environment sets how many random documents are tried::

    JSON_DOCUMENTS=1000000 pytest tests/api/test_json_reading.py -k random
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jwt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import quart_jwt_extended as qje
from support import SECRET, bearer, generated, hs_token, make_app
from support.oracle import MAX_NESTING, TOO_DEEP, is_too_deep

HEADER = b'{"typ":"JWT","alg":"HS256"}'
CLAIMS = b'{"identity":"alice"}'
# Room for the longest documents: what is refused here is refused for its JSON.
OPTIONS = {"JWT_MAX_TOKEN_SIZE": 10_000_000}

# Half of the oddest documents are refused by both sides at once, which is the point of them.
examples = generated.examples(250, HealthCheck.filter_too_much)


# --- The reference ------------------------------------------------------------


class Refusal(NamedTuple):
    """How a document is refused; ``claims`` are those that an expired token shows to its loader."""

    error: type[Exception]
    text: str
    claims: dict[str, Any] | None = None


class Members:
    """An object_pairs_hook that knows how many members the outermost object was written with."""

    count = 0

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # The outermost object is the last to be complete.
        self.count = len(pairs)
        return dict(pairs)


_members = Members()
_decoder = json.JSONDecoder(object_pairs_hook=_members)


def reference(raw: bytes, segment: str) -> dict[str, Any] | Refusal:
    """What a segment holds, read by the json module."""
    if is_too_deep(raw):
        return Refusal(jwt.DecodeError, f"Invalid {segment} string: {TOO_DEEP}")
    try:
        value = _decoder.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Refusal(jwt.DecodeError, f"Invalid {segment} string: must be UTF-8")
    except ValueError as error:
        return Refusal(jwt.DecodeError, f"Invalid {segment} string: {error}")
    if type(value) is not dict:
        return Refusal(jwt.DecodeError, f"Invalid {segment} string: must be a json object")
    if len(value) != _members.count:
        return Refusal(jwt.DecodeError, f"Invalid {segment} string: duplicate member name")
    return value


NO_NUMBER: dict[str, Refusal] = {
    "iat": Refusal(jwt.InvalidIssuedAtError, "Issued At claim (iat) must be an integer."),
    "nbf": Refusal(jwt.DecodeError, "Not Before claim (nbf) must be an integer."),
    "exp": Refusal(jwt.DecodeError, "Expiration Time claim (exp) must be an integer."),
}


def is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def filled_in(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims with what a token of another issuer may lack, in this order."""
    claims.setdefault("jti", None)
    claims.setdefault("type", "access")
    if claims["type"] == "access":
        claims.setdefault("fresh", False)
    if claims.get("fresh", False) is None:
        claims["fresh"] = False
    claims.setdefault("user_claims", {})
    return claims


def verdict_on_claims(raw: bytes) -> dict[str, Any] | Refusal:
    """What decode_token must make of a payload under a good signature."""
    claims = reference(raw, "payload")
    if isinstance(claims, Refusal):
        return claims
    now = time.time()
    has_expired = False
    for name, fault in NO_NUMBER.items():
        if name not in claims:
            continue
        if not is_number(claims[name]):
            return fault
        later = int(claims[name]) > now
        if name != "exp" and later:
            return Refusal(jwt.ImmatureSignatureError, f"The token is not yet valid ({name})")
        has_expired = name == "exp" and not later
    if claims.get("aud"):
        return Refusal(jwt.InvalidAudienceError, "Invalid audience")
    if type(claims.get("sub", "")) is not str:
        return Refusal(jwt.exceptions.InvalidSubjectError, "Subject must be a string")
    if type(claims.get("jti", "")) is not str:
        return Refusal(jwt.exceptions.InvalidJTIError, "JWT ID must be a string")
    verdict = own_verdict(filled_in(claims))
    if has_expired and isinstance(verdict, dict):
        return Refusal(jwt.ExpiredSignatureError, "Signature has expired", verdict)
    return verdict


def own_verdict(claims: dict[str, Any]) -> dict[str, Any] | Refusal:
    """The rules about the claims that PyJWT does not know."""
    if "identity" not in claims:
        return Refusal(qje.JWTDecodeError, "Missing claim: identity")
    if claims["type"] not in ("access", "refresh"):
        return Refusal(qje.JWTDecodeError, "Missing or invalid claim: type")
    fresh = claims.get("fresh", False)
    if type(fresh) is not bool and not is_number(fresh):
        return Refusal(qje.JWTDecodeError, "Missing or invalid claim: fresh")
    if type(claims.get("csrf", "")) is not str:
        return Refusal(qje.JWTDecodeError, "Missing or invalid claim: csrf")
    return claims


def has_surrogate(value: Any) -> bool:
    """Whether a string in a value has half a surrogate pair, which UTF-8 cannot hold."""
    return any("\ud800" <= letter <= "\udfff" for letter in json.dumps(value, ensure_ascii=False))


def verdict_on_header(raw: bytes) -> dict[str, Any] | Refusal:
    """What get_unverified_jwt_headers must make of a header before a payload."""
    header = reference(raw, "header")
    if isinstance(header, Refusal):
        return header
    if has_surrogate(header):
        return Refusal(jwt.DecodeError, "Invalid header string: it holds a lone surrogate")
    if header.get("b64") is False:
        text = "Payload segment must be empty when 'b64' is false."
        return Refusal(jwt.DecodeError, text)
    if type(header.get("kid", "")) is not str:
        return Refusal(jwt.InvalidTokenError, "Key ID header parameter must be a string")
    return header


# --- Both sides ---------------------------------------------------------------


def outcome(read: Callable[[str], dict[str, Any]], token: str) -> dict[str, Any] | Refusal:
    """What the extension makes of a token."""
    try:
        return read(token)
    except (jwt.InvalidTokenError, qje.JWTDecodeError) as error:
        return Refusal(type(error), str(error), getattr(error, "jwt_data", None))


def identical(ours: Any, theirs: Any) -> bool:
    """Equality that tells 1, 1.0 and True, 0.0 and -0.0 apart, and that takes NaN for NaN."""
    # Without recursion, as some are nested as deep as the module reads.
    pairs = [(ours, theirs)]
    while pairs:
        one, other = pairs.pop()
        if type(one) is not type(other):
            return False
        if type(one) is dict:
            if list(one) != list(other) or not all(type(name) is str for name in one):
                return False
            # The look-up by their names finds a name of ours whose hash is wrong.
            pairs += [(one[name], other[name]) for name in other]
        elif isinstance(one, (list, tuple)):
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif one.hex() != other.hex() if type(one) is float else one != other:
            return False
    return True


def expect(raw: bytes, ours: Any, theirs: Any) -> None:
    """Fail if the two differ, with the document, but not with megabytes of it."""
    if not identical(ours, theirs):
        pytest.fail(f"{raw[:500]!r}: {ascii(ours)[:1000]} is not {ascii(theirs)[:1000]}")


def check_claims(raw: bytes) -> dict[str, Any] | Refusal:
    """Compare both sides on a payload; there must be an app context."""
    ours = outcome(qje.decode_token, hs_token(raw, header=HEADER))
    expect(raw, ours, verdict_on_claims(raw))
    return ours


def check_header(raw: bytes) -> dict[str, Any] | Refusal:
    """Compare both sides on a header, unverified and verified; there must be an app context."""
    token = hs_token(CLAIMS, header=raw)
    ours, theirs = outcome(qje.get_unverified_jwt_headers, token), verdict_on_header(raw)
    expect(raw, ours, theirs)
    verified = outcome(qje.decode_token, token)
    expected = theirs
    if isinstance(theirs, dict):
        expected = filled_in(json.loads(CLAIMS))
        if "alg" not in theirs:
            expected = Refusal(jwt.InvalidAlgorithmError, "Algorithm not specified")
        elif theirs["alg"] != "HS256":
            expected = Refusal(jwt.InvalidAlgorithmError, "The specified alg value is not allowed")
    expect(raw, verified, expected)
    return ours


def check_against_pyjwt(raw: bytes) -> None:
    """What PyJWT refuses is refused with its class and text; what it accepts reads the same."""
    if json.detect_encoding(raw) != "utf-8" or not is_utf8(raw):
        # PyJWT takes other encodings and surrogates, and words its refusals after them.
        return
    token = hs_token(raw, header=HEADER)
    ours = outcome(qje.decode_token, token)
    theirs: Any
    try:
        theirs = filled_in(jwt.decode(token, SECRET, algorithms=["HS256"]))
    except jwt.InvalidTokenError as error:
        theirs = Refusal(type(error), str(error))
    except OverflowError:
        # PyJWT lets it out for a time that is infinite.
        theirs = Refusal(OverflowError, "")
    if isinstance(theirs, dict):
        # Where we are stricter, verdict_on_claims says how.
        if isinstance(ours, dict):
            expect(raw, ours, theirs)
    elif theirs.error is OverflowError:
        assert isinstance(ours, Refusal)
    else:
        assert isinstance(ours, Refusal)
        expect(raw, ours._replace(claims=None), theirs)


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def with_value(value: bytes) -> bytes:
    """Good claims with a member whose value is given as text, between two others."""
    return b'{"identity":"alice","n":' + value + b',"z":"end"}'


def with_string(body: bytes) -> bytes:
    """Good claims with a string given as text, as a value, as a name and below both."""
    return (
        b'{"identity":"alice","s":"' + body + b'","' + body + b'!":1,'
        b'"deep":["' + body + b'",{"' + body + b'":"' + body + b'"}]}'
    )


# --- Fragments ----------------------------------------------------------------

NUMBERS = [
    *b"0 -0 1 -1 7 10 42 -273 1700000000 4102444800 99999999999".split(),
    *b"0.0 -0.0 -0e0 0e0 0E1 0e-5 0.0e+0 1.0 -1.5 0.1 0.30000000000000004 1e5 1E5 1E+5".split(),
    *b"1e+05 1e-5 1.0e-3 1.5E-07 1e22 1e23 123456789.123456789 9007199254740993.0 1e16".split(),
    *b"1e99999 1e-99999 1e15 1e17 1e308 1.7976931348623157e308 1.7976931348623158e308".split(),
    *b"1e309 1.7976931348623159e308 1e400 -1e400 1e-400 -1e-400 5e-324 2e-324".split(),
    b"2.2250738585072011e-308",
    b"0.1000000000000000055511151231257827021181583404541015625",
    b"8.98846567431158053656668072130502949627624141313081589739713427561540459e307",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1" + b"0" * 400,
    b"-" + b"9" * 400,
    b"0." + b"0" * 330 + b"1",
    b"1" + b"0" * 320 + b".5",
    b"9" * 4300,
    *(
        str(sign * (2**power + near)).encode()
        for power in (8, 15, 16, 24, 30, 31, 32, 52, 53, 59, 60, 62, 63, 64, 65, 127, 128)
        for near in (-1, 0, 1)
        for sign in (1, -1)
    ),
    *(str(10**power + near).encode() for power in (9, 17, 18, 19, 20) for near in (-1, 0, 1)),
]

BAD_NUMBERS = [
    *b"01 -01 00 -00 007 1. -1. .5 -.5 +1 +0 - -- --1 -a 1e 1E 1e+ 1e- 1.e5 1.5e .e5 e5".split(),
    *b"1e5.5 1e5e5 1.5.5 1..5 0x10 0b1 0o7 1_000 1,000 0. 0.e1 00.5 1f 1L 1n 1e+-5 -+1".split(),
    *b"nan NAN +NaN -NaN Na NaNN inf Inf -inf Infinit Infinityy -Infinit INFINITY".split(),
    *b"$ 1$ 1;2 1:2 1|2 (1) '1' `1` \\1 ! # % & * ? @ ^ ~ < = >".split(),
    *(digit.encode() for digit in ("١", "１", "²", "1２", "½", "−1", "1\u00a0", "∞")),
    b"9" * 4301,
    b"-" + b"9" * 5000,
    b"1 2",
    b"1\x00",
    b"- 1",
    b"1 .5",
    b"1e 5",
]

LITERALS = [b"true", b"false", b"null"]

BAD_LITERALS = [
    *b"True TRUE tRUE tru tr t trux truee true1 true_ false0 fals fal f False falsee".split(),
    *b"nul nu n nulll Null NULL None none nil undefined yes no on off".split(),
    b"t rue",
    b"tru\\u0065",
    b"true\x00",
    b"nul\xc2\xac",
    b"",
]

STRING_PIECES = [
    *b"a alice x1 role longer-than-sixteen-bytes user@example.com {}[]:, /*no*/ //no '".split(),
    b" ",
    b"  two  words  ",
    b"abcdefghijklmnopqrstuvwxyz" * 12,
    b"\x7f",
    *(
        character.encode()
        for character in "\u0080\u00a0éß\u00ff\u0100\u07ff\u0800€\u2028日\ud7ff\ue000\ufeff\uffff"
    ),
    *(character.encode() for character in "\U00010000\U0001f600\U0010ffff"),
    *rb"\" \\ \/ \b \f \n \r \t \\\" \\n \\\\u0041".split(),
    *rb"\u0000 \u0001 \u001f \u0022 \u005c \u0041 \u007f \u00e9 \u00E9 \u0fFf \uFFFF".split(),
    *rb"\ud83d\ude00 \uD83D\uDE00 \ud800\udc00 \uDBFF\uDFFF \ud800 \udc00 \udfff \udbff".split(),
    *rb"\udc00\ud800 \ud800\ud800\udc00 \ud800\udc00\udc00 \ud83dx \ud83d\n \ud83d\u0041".split(),
    rb"\ud83d" + "😀".encode(),
    "é".encode() + rb"\u00e9",
]

BAD_STRING_PIECES = [
    *(b"\\" + bytes([byte]) for byte in b"axXU0'vNu\x00\n\x1f\x7f\x80-+ "),
    *rb"\u \u1 \u12 \u123 \u123g \ug123 \u+123 \u-123 \u0x41 \u_123 \U0041 \u{41} \ud83d\u".split(),
    *rb"\ud83d\u12 \ud83d\ude \ud83d\x \u00e".split(),
    rb"\u 123",
    rb"\u123 ",
    b"\\u\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1",
    *(bytes([byte]) for byte in range(0x20)),
    *(bytes([byte]) for byte in b"\x80\xbf\xc0\xc1\xc2\xdf\xe0\xef\xf0\xf4\xf5\xf8\xfc\xfe\xff"),
    *(b"\xc0\x80", b"\xc1\xbf", b"\xc2\x7f", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xe2\x82"),
    *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf0\x9f\x98"),
    *(b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf"),
    b"\xf8\x88\x80\x80\x80",
    b'"',
    b"\\",
]

SPACES = [b"", b"", b"", b"", b" ", b"\t", b"\n", b"\r", b"\r\n", b" \t\n\r ", b" " * 40]

BAD_SPACES = [
    b"\x0b",
    b"\x0c",
    b"\x00",
    b"\x1f",
    b"\x7f",
    b"\x85",
    b"\xa0",
    b"\xc2\xa0",
    b"\xc2\x85",
    b"\xe2\x80\x83",
    b"\xe2\x80\xa8",
    b"\xe3\x80\x80",
    b"\xef\xbb\xbf",
    b"/**/",
    b"//x\n",
    b"#x\n",
    b",",
    b"\\n",
]

NAMES = [
    *b"a b c n x role roles name email scope z long_member_name_of_some_length".split(),
    b"",
    b" ",
    b"\\u0061",
    b"\\u0000",
    b"\\ud800",
    b"\\/",
    b"/",
    "é".encode(),
    b"\\u00e9",
    "日本".encode(),
    "😀".encode(),
    b"\\ud83d\\ude00",
]

FUTURE = [b"4102444800", b"4102444800.75", b"4.1024448e9", b"41024448E2", b"1" + b"0" * 400]
PAST = [b"1", b"0", b"-0", b"-1", b"1.5", b"1e9", b"-1e308", b"1e-400", b"-" + b"9" * 400]
REGISTERED: dict[bytes, list[bytes]] = {
    b"exp": FUTURE,
    b"iat": PAST,
    b"nbf": PAST,
    b"jti": [b'"7c9e6679-7425-40de-944b-e07fc1f90ae7"', b'""', b'"\\u00e9"'],
    b"iss": [b'"us"', b"1", b"null"],
    b"aud": [b"null", b'""', b"[]", b"0", b"{}", b"false", b"0.0"],
    b"sub": [b'"alice"', b'""', b'"\\n"'],
    b"type": [b'"access"', b'"refresh"', b'"\\u0061ccess"'],
    b"fresh": [b"true", b"false", b"0", b"1700000000", b"1.5"],
    b"csrf": [b'"7c9e6679-7425-40de-944b-e07fc1f90ae7"'],
    b"user_claims": [b'{"role":"admin"}', b"{}", b"null", b"[1,2]", b'"x"', b'{"a":1,"a":2}'],
}

# What the bytes of a document are exchanged for.
DEBRIS = b'"\\{}[]:,0123456789+-.eEtrufalsn \t\n\r/\x00\x0b\x1f\x7f\x80\xa0\xbf\xc2\xe2\xed\xf0\xff'


# --- Every fragment in its place ----------------------------------------------


@pytest.mark.parametrize(
    "fragments",
    [NUMBERS, BAD_NUMBERS, LITERALS, BAD_LITERALS],
    ids=["numbers", "bad-numbers", "literals", "bad-literals"],
)
async def test_scalar_in_every_place_is_read_as_json_reads_it(fragments: list[bytes]) -> None:
    async with make_app(**OPTIONS).app_context():
        for value in fragments:
            for place in (
                with_value(value),
                with_value(b" " + value + b"\n"),
                b'{"n":' + value + b',"identity":"alice"}',
                b'{"identity":"alice","n":' + value + b"}",
                b'{"identity":' + value + b"}",
                with_value(b"[" + value + b"]"),
                with_value(b"[1," + value + b" ,2]"),
                with_value(b'{"m":' + value + b"}"),
                # The token ends where the scalar does.
                b'{"identity":"alice","n":' + value,
                value,
            ):
                check_claims(place)
                check_against_pyjwt(place)
            check_header(HEADER[:-1] + b',"n":' + value + b"}")
            check_header(b'{"n":' + value + b',"alg":"HS256"}')


async def test_good_fragments_are_accepted_and_bad_ones_refused() -> None:
    """The lists are what their names say, so that none of these tests compares refusals alone."""
    async with make_app(**OPTIONS).app_context():
        for value in NUMBERS + LITERALS:
            assert isinstance(check_claims(with_value(value)), dict), value
        for value in BAD_NUMBERS + BAD_LITERALS:
            refused = isinstance(check_claims(with_value(b"[" + value + b"x]")), Refusal)
            assert refused, value
        for piece in STRING_PIECES:
            assert isinstance(check_claims(with_string(piece)), dict), piece
        for piece in BAD_STRING_PIECES:
            assert isinstance(check_claims(with_string(piece)), Refusal), piece
        for space in SPACES:
            assert isinstance(check_claims(with_value(space + b"1")), dict), space
        for space in BAD_SPACES:
            assert isinstance(check_claims(with_value(space + b"1")), Refusal), space


@pytest.mark.parametrize("claim", [name.decode() for name in REGISTERED])
async def test_registered_claim_of_every_spelling_is_judged_as_its_value(claim: str) -> None:
    """No fast path may take the text of a claim for its value."""
    fragments = [*NUMBERS, *BAD_NUMBERS, *LITERALS, *BAD_LITERALS, *PAST, *FUTURE]
    fragments += [b'"' + piece + b'"' for piece in STRING_PIECES + BAD_STRING_PIECES]
    fragments += [b"[]", b"{}", b"[1]", b'{"a":1}', b'["us"]', b'"access"', b'"refresh"', b'"us"']
    escaped = b"\\u%04x" % ord(claim[0]) + claim[1:].encode()
    async with make_app(**OPTIONS).app_context():
        for value in [*fragments, *REGISTERED[claim.encode()]]:
            for name in (claim.encode(), escaped):
                check_claims(b'{"identity":"alice","' + name + b'":' + value + b"}")
                check_claims(b'{"' + name + b'":' + value + b' , "identity":"alice"}')


@pytest.mark.parametrize("spaces", [SPACES, BAD_SPACES], ids=["allowed", "not-allowed"])
async def test_white_space_in_every_place_is_read_as_json_reads_it(spaces: list[bytes]) -> None:
    parts = [b"", b"{", b'"identity"', b":", b'"alice"', b",", b'"n"', b":", b"1", b",", b'"l"']
    parts += [b":", b"[", b"true", b",", b"{", b'"m"', b":", b"-0.5e1", b"}", b"]", b"}", b""]
    async with make_app(**OPTIONS).app_context():
        for space in spaces:
            for index in range(1, len(parts)):
                raw = b"".join(parts[:index]) + space + b"".join(parts[index:])
                check_claims(raw)
                check_against_pyjwt(raw)
            check_claims(space.join(parts))
            check_header(space + HEADER + space)
            check_header(HEADER.replace(b":", space + b":" + space))


# --- Strings ------------------------------------------------------------------


async def test_every_byte_in_a_string_is_read_as_json_reads_it() -> None:
    async with make_app().app_context():
        for byte in range(256):
            for body in (bytes([byte]), b"ab" + bytes([byte]), bytes([byte]) + b"ab"):
                check_claims(with_string(body))
                check_against_pyjwt(with_string(body))
            check_header(HEADER[:-1] + b',"s":"' + bytes([byte]) + b'"}')


async def test_every_pair_of_bytes_in_a_string_is_read_as_json_reads_it() -> None:
    """Among them all forms of two bytes in UTF-8, all escapes, the beginnings of longer forms."""
    async with make_app().app_context():
        for first in [*b'\\"a', *range(0x7F, 256)]:
            for second in range(256):
                check_claims(b'{"identity":"' + bytes([first, second]) + b'"}')


async def test_every_border_of_utf8_is_drawn_where_python_draws_it() -> None:
    """The third and the fourth byte of the longer forms (RFC 3629, section 4)."""
    middle = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    async with make_app().app_context():
        for first in (0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7):
            for second in middle:
                for third in middle:
                    check_claims(b'{"identity":"' + bytes([first, second, third]) + b'"}')
                    for fourth in middle:
                        form = bytes([first, second, third, fourth])
                        check_claims(b'{"identity":"' + form + b'"}')


async def test_every_escape_is_read_as_json_reads_it() -> None:
    digits = b"09afAFgG/:@`\x00 \xc3"
    async with make_app().app_context():
        for byte in range(256):
            check_claims(with_string(b"\\" + bytes([byte]) + b"0041"))
        for place in range(4):
            for digit in digits:
                code = bytearray(b"d83d")
                code[place] = digit
                check_claims(with_string(b"\\u" + code))
                check_claims(with_string(b"\\u" + code + b"\\ude00"))
                check_claims(with_string(b"\\ud83d\\u" + code))
        for high in (0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000):
            for low in (0x0041, 0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000):
                for between in (b"", b"x", b"\\n", b"\xc3\xa9"):
                    check_claims(with_string(b"\\u%04x%s\\u%04X" % (high, between, low)))


async def test_special_character_at_every_offset_of_a_string_is_seen() -> None:
    """Strings are scanned many bytes at a time: the byte that matters may be any of them."""
    specials = (b"\\n", b"\x1f", b"\x80", "é".encode(), "😀".encode(), b'"', b"\\ud800", b"\x7f")
    async with make_app().app_context():
        for size in [*range(36), 63, 64, 65, 127, 128, 129]:
            for offset in range(size + 1):
                for special in specials:
                    body = b"a" * offset + special + b"b" * (size - offset)
                    check_claims(b'{"identity":"' + body + b'"}')


@pytest.mark.parametrize("character", ["a", "é", "日", "😀", "\\u00e9", "\\ud83d\\ude00", "\\\\"])
async def test_string_of_every_size_is_read_whole(character: str) -> None:
    async with make_app(**OPTIONS).app_context():
        for size in (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 255, 256, 1000, 4096, 65536):
            check_claims(with_string(character.encode() * size))


# --- Bytes exchanged, removed, added ------------------------------------------

# One of everything, short enough to be altered at every byte in every way.
SAMPLES = [
    b'{"identity":"al\xc3\xa9\\n","n":-1.5e3,"t":true,"z":null}',
    b'{"exp":4102444800,"l":[1,{"a":"b"}],"identity":0}',
    b' { "identity" : "" , "\\u0061" : false } ',
]


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
async def test_document_altered_in_any_one_byte_is_read_as_json_reads_it(sample: bytes) -> None:
    async with make_app().app_context():
        for index in range(len(sample)):
            for byte in range(256):
                check_claims(sample[:index] + bytes([byte]) + sample[index + 1 :])
            for byte in DEBRIS:
                check_claims(sample[:index] + bytes([byte]) + sample[index:])
            for removed in (1, 2, 3):
                check_claims(sample[:index] + sample[index + removed :])
            check_claims(sample[:index] + sample[index : index + 1] * 2 + sample[index + 1 :])


async def test_header_altered_in_any_one_byte_is_read_as_json_reads_it() -> None:
    sample = b'{"alg":"HS256","kid":"\xc3\xa9\\/","n":[-1.5]}'
    async with make_app().app_context():
        for index in range(len(sample)):
            for byte in DEBRIS:
                check_header(sample[:index] + bytes([byte]) + sample[index + 1 :])
                check_header(sample[:index] + bytes([byte]) + sample[index:])
            check_header(sample[:index] + sample[index + 1 :])


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
async def test_truncated_document_is_refused_with_the_text_of_pyjwt(sample: bytes) -> None:
    async with make_app().app_context():
        for size in range(len(sample.rstrip())):
            raw = sample[:size]
            assert isinstance(check_claims(raw), Refusal)
            check_against_pyjwt(raw)
            check_claims(raw + b"}")
            check_claims(raw + b"\x00")


@pytest.mark.parametrize(
    "tail",
    [b",", b"}", b"{}", b"]", b"x", b"1", b'"', b"\x00", b"\x0b", b"/", b"//", b"null", b"\xa0"],
    ids=repr,
)
async def test_anything_behind_the_object_is_refused(tail: bytes) -> None:
    async with make_app().app_context():
        for space in (b"", b" ", b"\n\n", b"\r\n\t "):
            for raw in (CLAIMS, b'{"identity":[1]}', b'{"identity":"\xc3\xa9"}', b"{}"):
                assert isinstance(check_claims(raw + space + tail), Refusal)
                check_against_pyjwt(raw + space + tail)
            assert isinstance(check_header(HEADER + space + tail), Refusal)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"{}",
        b"{ }",
        b"{\n\t\r }",
        b"{,}",
        b"{:}",
        b"{1}",
        b"{a:1}",
        b"{'a':1}",
        b"{null:1}",
        b"{1:1}",
        b"{[]:1}",
        b'{"a"}',
        b'{"a":}',
        b'{"a" 1}',
        b'{"a"::1}',
        b'{"a"=1}',
        b'{"a":1,}',
        b'{"a":1,,"b":2}',
        b'{,"a":1}',
        b'{"a":1;"b":2}',
        b'{"a":1 "b":2}',
        b'{"a":1}}',
        b'{{"a":1}}',
        b'{"a":[}',
        b'{"a":[,]}',
        b'{"a":[1,]}',
        b'{"a":[1 2]}',
        b'{"a":{]}}',
        b'{"a":{,}}',
        b'{"a":{"b":1,}}',
        b'{"a":(1)}',
        b'{"alg":"HS256","alg":"none"}',
        b'{"alg":"none","alg":"HS256"}',
        b'{"alg":"HS256","\\u0061lg":"none"}',
        b'{"alg":"HS256"} // comment',
        b'{"identity":"alice","identity":"mallory"}',
        b'{"identity":"alice","exp":1,"exp":4102444800}',
        b'{"identity":0,"user_claims":{"identity":"x","exp":1},"list":[{"type":1}]}',
        b"[]",
        b"[1]",
        b'["identity","alice"]',
        b'[{"identity":"alice"}]',
        b'"identity"',
        b"'identity'",
        b"null",
        b"true",
        b"1",
        b"-",
        b"NaN",
        b"<identity/>",
        b"identity",
        b"\x00",
        b"\xef\xbb\xbf",
        b'\xef\xbb\xbf{"identity":"alice"}',
        b'{"identity":"alice"}\xef\xbb\xbf',
        b'\xef\xbb{"identity":"alice"}',
        '{"identity":"alice"}'.encode("utf-16"),
        '{"identity":"alice"}'.encode("utf-16-le"),
        '{"identity":"alice"}'.encode("utf-16-be"),
        '{"identity":"alice"}'.encode("utf-32"),
        '{"identity":"alice"}'.encode("utf-32-le"),
        '{"identity":"é"}'.encode("latin-1"),
    ],
    ids=repr,
)
async def test_document_of_an_odd_shape_is_read_as_json_reads_it(raw: bytes) -> None:
    async with make_app().app_context():
        check_claims(raw)
        check_against_pyjwt(raw)
        check_header(raw)


# --- Members ------------------------------------------------------------------

# Spellings of one name, grouped.
ALIASES = [
    [b"a", b"\\u0061"],
    [b"", b""],
    [b"/", b"\\/", b"\\u002f", b"\\u002F"],
    [b'\\"', b"\\u0022"],
    [b"\\\\", b"\\u005c"],
    [b"\\n", b"\\u000a", b"\\u000A"],
    ["é".encode(), b"\\u00e9", b"\\u00E9"],
    ["😀".encode(), b"\\ud83d\\ude00", b"\\uD83D\\uDE00"],
    [b"\\ud800", b"\\uD800"],
    [b"\\u0000", b"\\u0000"],
    [b"a" * 300, b"a" * 299 + b"\\u0061"],
]


@pytest.mark.parametrize("aliases", ALIASES, ids=lambda aliases: ascii(aliases[-1][-12:]))
async def test_name_twice_at_the_top_is_refused_in_any_spelling(aliases: list[bytes]) -> None:
    duplicate = Refusal(jwt.DecodeError, "Invalid payload string: duplicate member name")
    async with make_app().app_context():
        for first in aliases:
            for second in aliases:
                pair = b'"' + first + b'":1,%s"' + second + b'":1'
                for between in (b"", b'"between":[{"x":1}],', b'"between":"\\"",'):
                    for form in (
                        b'{"identity":0,%s}',
                        b'{%s,"identity":0}',
                        b'{ %s , "identity":0}',
                    ):
                        raw = form % (pair % between)
                        assert check_claims(raw) == duplicate, raw
                raw = HEADER[:-1] + b"," + pair % b"" + b"}"
                assert isinstance(check_header(raw), Refusal)


@pytest.mark.parametrize("aliases", ALIASES, ids=lambda aliases: ascii(aliases[-1][-12:]))
async def test_name_twice_deeper_down_has_its_last_value(aliases: list[bytes]) -> None:
    async with make_app().app_context():
        for first in aliases:
            for second in aliases:
                inner = b'{"' + first + b'":1,"b":2,"' + second + b'":3}'
                for value in (inner, b"[" + inner + b"]", b'{"x":' + inner + b"}"):
                    assert isinstance(check_claims(with_value(value)), dict)
                    header = check_header(HEADER[:-1] + b',"n":' + value + b"}")
                    assert isinstance(header, Refusal) is has_surrogate(json.loads(inner))


async def test_fault_behind_a_duplicate_is_what_is_reported() -> None:
    """PyJWT knows no duplicates, so that its refusals come first."""
    async with make_app().app_context():
        for tail in (b",}", b"", b",1}", b',"b":01}', b"} x", b',"b":"\xff"}', b',"b":"\n"}'):
            refusal = check_claims(b'{"identity":0,"a":1,"a":2' + tail)
            assert isinstance(refusal, Refusal)
            assert "duplicate" not in refusal.text


@pytest.mark.parametrize(
    "count", [1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 255, 300, 2000]
)
async def test_any_number_of_members_is_read_in_order(count: int) -> None:
    members = [b'"m%d":%d' % (number, number) for number in range(count)]
    async with make_app(**OPTIONS).app_context():
        claims = check_claims(b'{"identity":0,' + b",".join(members) + b"}")
        assert isinstance(claims, dict)
        assert list(claims)[: count + 1] == ["identity", *(f"m{n}" for n in range(count))]
        for again in {0, count // 2, count - 1}:
            for where in {0, count // 2, count}:
                doubled = [*members[:where], members[again], *members[where:]]
                raw = b'{"identity":0,' + b",".join(doubled) + b"}"
                assert isinstance(check_claims(raw), Refusal)
        check_header(b'{"alg":"HS256",' + b",".join(members) + b"}")


async def test_members_that_are_filled_in_keep_their_own_place_and_value() -> None:
    own = [b'"fresh":1', b'"user_claims":[0]', b'"jti":"j"', b'"type":"refresh"', b'"identity":0']
    async with make_app().app_context():
        for first in range(len(own)):
            for size in range(len(own) + 1):
                members = (own[first:] + own[:first])[:size]
                check_claims(b"{" + b",".join(members) + b"}")


async def test_limit_on_digits_is_the_one_of_the_interpreter() -> None:
    """An application may set it (CVE-2020-10735), also while tokens are being verified."""
    limit = sys.get_int_max_str_digits()
    async with make_app(**OPTIONS).app_context():
        try:
            for digits in (640, 5000, 0, limit):
                sys.set_int_max_str_digits(digits)
                for size in (639, 640, 641, 4300, 4301, 5000, 5001):
                    for sign in (b"", b"-"):
                        value = sign + b"9" * size
                        for raw in (with_value(value), with_value(b"[%s]" % value)):
                            accepted = digits == 0 or size <= digits
                            # Kept out of an assert that would have to show the number.
                            is_dict = isinstance(check_claims(raw), dict)
                            assert is_dict == accepted
                        check_header(HEADER[:-1] + b',"n":' + value + b"}")
        finally:
            sys.set_int_max_str_digits(limit)


# --- Depth --------------------------------------------------------------------

NESTS = [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b'[1,{"b":2,"a":', b"}]")]


@pytest.mark.parametrize(("opening", "closing"), NESTS, ids=["lists", "objects", "both", "filled"])
async def test_nesting_of_every_ordinary_depth_is_read(opening: bytes, closing: bytes) -> None:
    async with make_app(**OPTIONS).app_context():
        for depth in [*range(1, 34), 50, 64, 65, 100]:
            nested = opening * depth + b"0" + closing * depth
            assert isinstance(check_claims(with_value(nested)), dict)
            check_claims(with_value(nested[:-1]))
            check_claims(with_value(nested + closing))
            assert isinstance(check_header(HEADER[:-1] + b',"n":' + nested + b"}"), dict)


@pytest.mark.parametrize(("opening", "closing"), NESTS, ids=["lists", "objects", "both", "filled"])
async def test_nesting_up_to_the_limit_is_read_on_every_interpreter(
    opening: bytes, closing: bytes
) -> None:
    # The object around it is the first level.
    times = (MAX_NESTING - 1) // len(re.findall(rb"[\[{]", opening))
    nested = opening * times + b"0" + closing * times
    async with make_app(**OPTIONS).app_context():
        assert isinstance(check_claims(with_value(nested)), dict)
        assert isinstance(check_header(HEADER[:-1] + b',"n":' + nested + b"}"), dict)
        # Brackets in a string are none.
        text = b'["' + opening.replace(b'"', b'\\"') * MAX_NESTING + b'"]'
        assert isinstance(check_claims(with_value(text)), dict)


@pytest.mark.parametrize(("opening", "closing"), NESTS, ids=["lists", "objects", "both", "filled"])
async def test_nesting_beyond_the_limit_is_refused(opening: bytes, closing: bytes) -> None:
    fewest = (MAX_NESTING - 1) // len(re.findall(rb"[\[{]", opening)) + 1
    async with make_app(**OPTIONS).app_context():
        for times in (fewest, 5_000, 100_000):
            for nested in (
                opening * times,
                opening * times + b"0" + closing * times,
                opening * times + b"\n",
            ):
                for raw in (with_value(nested), b'{"identity":0,"n":' + nested, b"{" + nested):
                    for segment, token in (
                        ("payload", hs_token(raw, header=HEADER)),
                        ("header", hs_token(CLAIMS, header=raw)),
                    ):
                        text = f"Invalid {segment} string: {TOO_DEEP}"
                        assert outcome(qje.decode_token, token) == Refusal(jwt.DecodeError, text)


async def test_stack_that_is_almost_used_up_refuses_what_fits_it_no_more() -> None:
    """Whatever level the interpreter gives up at, the text is that of the limit."""
    nested = b"[" * 500 + b'"\\u00e9"' + b"]" * 500
    deep = {
        "payload": hs_token(with_value(nested), header=HEADER),
        "header": hs_token(CLAIMS, header=HEADER[:-1] + b',"n":' + nested + b"}"),
    }
    flat = hs_token(CLAIMS, header=HEADER)
    seen: Counter[Any] = Counter()

    def decode_below(levels: int) -> None:
        if levels:
            decode_below(levels - 1)
        elif outcome(qje.decode_token, "x") and outcome(qje.decode_token, flat):
            # There is room for any other token.
            for segment, token in deep.items():
                try:
                    verdict = outcome(qje.decode_token, token)
                except Exception as error:
                    verdict = type(error)
                is_read = isinstance(verdict, dict)
                seen[segment, "read" if is_read else verdict] += 1

    async with make_app(**OPTIONS).app_context():
        for levels in range(sys.getrecursionlimit()):
            with contextlib.suppress(RecursionError):
                decode_below(levels)
    expected: set[Any] = {(segment, "read") for segment in deep}
    if sys.version_info < (3, 12):
        # Later ones count the calls of C code by themselves.
        for segment in deep:
            text = f"Invalid {segment} string: {TOO_DEEP}"
            expected.add((segment, Refusal(jwt.DecodeError, text)))
    assert set(seen) == expected


# --- Hypothesis ---------------------------------------------------------------

texts = st.text(
    st.characters() | st.sampled_from('\x00\x1f"\\/\x7fé日😀\ud83d\ude00\ud800'), max_size=12
)
numbers = st.integers() | st.floats() | st.integers(-(2**70), 2**70) | st.integers(10**300, 10**301)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
names = texts.filter(lambda name: name not in ("identity", "kid", "b64", "crit"))


def written(value: Any, ascii_only: bool, spaced: bool) -> bytes:
    """A value as the json module writes it; a lone surrogate only ever as an escape."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1 if spaced else None)
    return "".join(
        f"\\u{ord(character):04x}" if "\ud800" <= character <= "\udfff" else character
        for character in text
    ).encode()


async def test_any_claims_are_read_as_they_were_written() -> None:
    @examples
    @given(st.dictionaries(names, values, max_size=8), values, st.booleans(), st.booleans())
    def check(claims: dict[str, Any], identity: Any, ascii_only: bool, spaced: bool) -> None:
        raw = written({**claims, "identity": identity}, ascii_only, spaced)
        check_claims(raw)
        check_against_pyjwt(raw)

    async with make_app(**OPTIONS).app_context():
        check()


async def test_any_header_is_read_as_it_was_written() -> None:
    @examples
    @given(st.dictionaries(names, values, max_size=6), st.booleans(), st.booleans())
    def check(members: dict[str, Any], ascii_only: bool, spaced: bool) -> None:
        header = check_header(written({**members, "alg": "HS256"}, ascii_only, spaced))
        assert isinstance(header, Refusal) is has_surrogate(members)

    async with make_app(**OPTIONS).app_context():
        check()


def joined(*parts: Any) -> Any:
    return st.tuples(*parts).map(b"".join)


def fragments_of(good: list[bytes], bad: list[bytes]) -> Any:
    """Mostly good fragments, so that a document gets some way before it is refused."""
    return st.sampled_from(good * max(1, 12 * len(bad) // len(good)) + bad)


odd_spaces = fragments_of(SPACES, BAD_SPACES)
odd_numbers = fragments_of(NUMBERS, BAD_NUMBERS) | st.from_regex(
    rb"\A-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"
)
odd_strings = st.lists(fragments_of(STRING_PIECES, BAD_STRING_PIECES), max_size=4).map(
    lambda pieces: b'"' + b"".join(pieces) + b'"'
)
odd_names = st.sampled_from(NAMES).map(lambda name: b'"' + name + b'"') | odd_strings


def odd_objects(inner: Any) -> Any:
    members = joined(
        odd_spaces, odd_names, odd_spaces, st.just(b":"), odd_spaces, inner, odd_spaces
    )
    return st.lists(members, max_size=5).map(lambda parts: b"{" + b",".join(parts) + b"}")


odd_values = st.recursive(
    odd_numbers | odd_strings | fragments_of(LITERALS, BAD_LITERALS),
    lambda inner: (
        st.lists(joined(odd_spaces, inner, odd_spaces), max_size=4).map(
            lambda parts: b"[" + b",".join(parts) + b"]"
        )
        | odd_objects(inner)
    ),
    max_leaves=8,
)
odd_documents = joined(
    odd_spaces,
    odd_objects(odd_values).map(
        lambda raw: raw[:-1] + (b"," if len(raw) > 2 else b"") + b'"identity":"alice"}'
    ),
    odd_spaces,
)


async def test_any_spelling_of_claims_is_read_as_json_reads_it() -> None:
    @examples
    @given(odd_documents)
    def check(raw: bytes) -> None:
        check_claims(raw)
        check_against_pyjwt(raw)

    async with make_app(**OPTIONS).app_context():
        check()


async def test_any_spelling_of_a_header_is_read_as_json_reads_it() -> None:
    @examples
    @given(odd_documents)
    def check(raw: bytes) -> None:
        check_header(raw[:-1] + b',"alg":"HS256"}' if raw.endswith(b"}") else raw)

    async with make_app(**OPTIONS).app_context():
        check()


edits = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([0, 0, 1, 1, 1, 2, 5]),
    st.sampled_from([bytes([byte]) for byte in DEBRIS] + [b""] * 20) | st.binary(max_size=3),
)


async def test_any_mutation_of_claims_is_read_as_json_reads_it() -> None:
    @examples
    @given(odd_documents, st.lists(edits, min_size=1, max_size=3))
    def check(raw: bytes, changes: list[tuple[float, int, bytes]]) -> None:
        for place, removed, added in changes:
            index = int(place * len(raw))
            raw = raw[:index] + added + raw[index + removed :]
        check_claims(raw)
        check_against_pyjwt(raw)

    async with make_app(**OPTIONS).app_context():
        check()


# --- The other readers --------------------------------------------------------


async def test_key_loader_and_views_read_what_decode_token_reads() -> None:
    app = make_app(**OPTIONS)
    seen: list[Any] = []

    @app.extensions["quart-jwt-extended"].decode_key_loader
    def key_for(claims: dict[str, Any], header: dict[str, Any]) -> str:
        seen[:] = [claims, header]
        return SECRET

    @app.get("/raw")
    @qje.jwt_required
    async def raw_view() -> dict[str, Any]:
        seen[:] = [qje.get_raw_jwt(), qje.get_raw_jwt_header()]
        return {}

    fragments = [*NUMBERS, *BAD_NUMBERS, *LITERALS, *BAD_LITERALS]
    fragments += [b'"' + piece + b'"' for piece in STRING_PIECES + BAD_STRING_PIECES]
    client = app.test_client()
    for value in fragments:
        payload, header = with_value(value), HEADER[:-1] + b',"n":' + value + b"}"
        claims = reference(payload, "payload")
        async with app.app_context():
            refusal = outcome(qje.decode_token, hs_token(payload, header=HEADER))
            if isinstance(claims, dict):
                expect(payload, seen, [claims, reference(HEADER, "header")])
            else:
                expect(payload, refusal, claims)
        if isinstance(claims, dict) and len(value) < 4000 and not has_surrogate(claims):
            response = await client.get("/raw", headers=bearer(hs_token(payload, header=header)))
            assert response.status_code == 200
            expect(payload, seen, [filled_in(claims), reference(header, "header")])


# --- Random documents ---------------------------------------------------------


class Documents:
    """Random documents, some 20 microseconds each; of five, two are damaged."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.damaged = False

    def pick(self, good: list[bytes], bad: list[bytes]) -> bytes:
        pool = bad if self.damaged and self.random.random() < 0.02 else good
        return pool[int(self.random.random() * len(pool))]

    def number(self) -> bytes:
        dice = self.random.random()
        if dice < 0.4:
            return self.pick(NUMBERS, BAD_NUMBERS)
        bits = self.random.getrandbits(int(dice * 90) - 30)
        if dice < 0.7:
            return b"%d" % (bits if bits & 1 else -bits)
        fraction = self.random.getrandbits(int(dice * 80))
        if dice < 0.85:
            return b"%d.%d" % (bits, fraction)
        mark = (b"e", b"E", b"e+", b"e-", b"E-0")[bits % 5]
        return b"-%d.%d%s%d" % (bits, fraction, mark, fraction % 340)

    def string(self) -> bytes:
        size = int(self.random.random() * 3.5)
        pieces = [self.pick(STRING_PIECES, BAD_STRING_PIECES) for _ in range(size)]
        return b'"' + b"".join(pieces) + b'"'

    def value(self, depth: int = 0) -> bytes:
        dice = self.random.random()
        if dice < 0.4:
            return self.string()
        if dice < 0.7:
            return self.number()
        if dice < 0.85 or depth == 3:
            return self.pick(LITERALS, BAD_LITERALS)
        size = int(self.random.random() * 4)
        if dice < 0.93:
            values = [self.value(depth + 1) for _ in range(size)]
            return b"[" + (b"," + self.space()).join(values) + b"]"
        return self.object([self.member(depth + 1) for _ in range(size)])

    def space(self) -> bytes:
        return self.pick(SPACES, BAD_SPACES)

    def object(self, members: list[bytes]) -> bytes:
        return b"{" + self.space() + b",".join(members) + self.space() + b"}"

    def member(self, depth: int = 0) -> bytes:
        name = b'"' + self.pick(NAMES, STRING_PIECES) + b'"'
        if self.random.random() < 0.8:
            return name + b":" + self.value(depth)
        return self.space() + name + self.space() + b":" + self.space() + self.value(depth)

    def distinct(self, members: list[bytes]) -> list[bytes]:
        """At most one member of each name as it is spelled; one in twenty times, as they came."""
        if self.random.random() < 0.05:
            return members
        return list({member.split(b":")[0]: member for member in members}.values())

    def document(self, needed: bytes, registered: bool) -> bytes:
        self.damaged = self.random.random() < 0.4
        members = [self.member() for _ in range(int(self.random.random() * 6))]
        if registered:
            for name, good in REGISTERED.items():
                if self.random.random() < 0.3:
                    members.append(b'"' + name + b'":' + self.pick(good, NUMBERS))
        if self.random.random() < 0.97:
            members.insert(int(self.random.random() * (len(members) + 1)), needed)
        raw = self.space() + self.object(self.distinct(members)) + self.space()
        return self.mutated(raw) if self.damaged else raw

    def mutated(self, raw: bytes) -> bytes:
        dice = self.random.random()
        index = int(self.random.random() * len(raw))
        if dice < 0.25:
            # Damaged by its fragments, if at all.
            return raw
        if dice < 0.4:
            return raw[:index] + raw[index + 1 + int(dice * 8) % 3 :]
        if dice < 0.5:
            return raw[:index]
        debris = DEBRIS[int(self.random.random() * len(DEBRIS))]
        if dice < 0.7:
            return raw[:index] + bytes([debris]) + raw[index:]
        if dice < 0.9:
            return raw[:index] + bytes([debris]) + raw[index + 1 :]
        other = int(self.random.random() * len(raw))
        return raw[:index] + raw[other:]


def documents(count: int) -> Iterator[tuple[str, bytes]]:
    """Documents for a segment each: of five, one is a header."""
    source = Documents(seed=20240229)
    for number in range(count):
        if number % 5:
            yield "payload", source.document(b'"identity":"alice"', registered=number % 2 == 0)
        else:
            yield "header", source.document(b'"alg":"HS256"', registered=False)


async def test_random_documents_are_read_as_json_reads_them() -> None:
    count = int(os.environ.get("JSON_DOCUMENTS", "3000"))
    accepted = 0
    async with make_app(**OPTIONS).app_context():
        for segment, raw in documents(count):
            result = check_claims(raw) if segment == "payload" else check_header(raw)
            accepted += isinstance(result, dict)
    # Both ends are tried in earnest.
    assert 0.4 < accepted / count < 0.7
