"""The compact serialisation: segments, base64url, JSON, sizes and types (RFC 7515, section 7.1)."""

from __future__ import annotations

import base64
import codecs
import hashlib
import hmac
import json
import re
from typing import Any

import jwt
import pytest
from quart import Quart

import quart_jwt_extended as qje
from support import SECRET, access_claims, b64url, bearer, hs_token, json_segment, make_app

HEADER = {"typ": "JWT", "alg": "HS256"}
SEGMENTS = ["header", "payload", "crypto"]
JSON_SEGMENTS = ["header", "payload"]


def signed(header_segment: str, payload_segment: str) -> str:
    """The two segments as they are, with a good signature over them."""
    signing_input = f"{header_segment}.{payload_segment}"
    signature = hmac.new(SECRET.encode(), signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{b64url(signature)}"


def compact(value: Any) -> bytes:
    """A value as the JSON that token makers write."""
    return json.dumps(value, separators=(",", ":")).encode()


def token_with(segment: str, raw: bytes) -> str:
    """A well signed token whose header or payload consists of the given bytes."""
    if segment == "header":
        return hs_token(access_claims(), header=raw)
    return hs_token(raw)


def json_of(segment: str) -> bytes:
    """Bytes that are good in that segment."""
    return compact(HEADER if segment == "header" else access_claims())


def replace_segment(token: str, segment: str, change: Any) -> str:
    """The token with one segment changed by a function, the signature over the rest renewed."""
    parts = token.split(".")
    index = SEGMENTS.index(segment)
    parts[index] = change(parts[index])
    if segment == "crypto":
        return ".".join(parts)
    return signed(parts[0], parts[1])


async def refusal(app: Quart, token: Any) -> jwt.DecodeError:
    """What decode_token raises; both twins must agree."""
    async with app.app_context():
        with pytest.raises(jwt.DecodeError) as caught:
            qje.decode_token(token)
        with pytest.raises(jwt.DecodeError) as caught_too:
            await qje.decode_token_async(token)
    assert type(caught.value) is type(caught_too.value)
    assert str(caught.value) == str(caught_too.value)
    return caught.value


# --- Segments ------------------------------------------------------------------
# A token is three segments between two dots.


@pytest.mark.parametrize("token", ["", "a", "abc", "YWJj", "a.b", ".", "YWJj.YWJj", "{}"])
async def test_too_few_segments_are_refused(app: Quart, token: str) -> None:
    assert str(await refusal(app, token)) == "Not enough segments"


async def test_token_without_signature_segment_is_refused(app: Quart) -> None:
    token = hs_token(access_claims()).rpartition(".")[0]
    assert str(await refusal(app, token)) == "Not enough segments"


@pytest.mark.parametrize("extra", [".", ".e30", ".e30.e30", "." * 50])
async def test_too_many_segments_are_refused(app: Quart, extra: str) -> None:
    token = hs_token(access_claims()) + extra
    assert str(await refusal(app, token)) == "Invalid payload padding"


async def test_signature_over_four_segments_is_refused(app: Quart) -> None:
    """A signature that covers the surplus dot makes it no better."""
    token = signed(json_segment(HEADER), f"{json_segment(access_claims())}.e30")
    assert str(await refusal(app, token)) == "Invalid payload padding"


async def test_empty_segments_are_refused(app: Quart) -> None:
    good = hs_token(access_claims()).split(".")
    assert str(await refusal(app, "..")).startswith("Invalid header string: ")
    assert str(await refusal(app, signed("", good[1]))).startswith("Invalid header string: ")
    assert str(await refusal(app, signed(good[0], ""))).startswith("Invalid payload string: ")
    assert str(await refusal(app, f"{good[0]}.{good[1]}.")) == "Signature verification failed"


async def test_swapped_segments_are_refused(app: Quart) -> None:
    header, payload, signature = hs_token(access_claims()).split(".")
    async with app.app_context():
        with pytest.raises(jwt.InvalidTokenError):
            qje.decode_token(f"{payload}.{header}.{signature}")


# --- Base64url -----------------------------------------------------------------
# Only the unpadded, canonical form is a segment (RFC 7515, section 2; RFC 4648, 3.5).


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize(
    "junk",
    [*"=+/ \n\t\0!é\x7fＡ\u2028", "==", "===", "%3D"],
    ids=ascii,
)
@pytest.mark.parametrize("place", ["front", "middle", "end"])
async def test_foreign_character_is_refused(
    app: Quart, segment: str, junk: str, place: str
) -> None:
    def insert(text: str) -> str:
        at = {"front": 0, "middle": len(text) // 2, "end": len(text)}[place]
        return text[:at] + junk + text[at:]

    token = replace_segment(hs_token(access_claims()), segment, insert)
    assert str(await refusal(app, token)) == f"Invalid {segment} padding"


@pytest.mark.parametrize("segment", SEGMENTS)
async def test_every_byte_outside_the_alphabet_is_refused(app: Quart, segment: str) -> None:
    """All 192 of them in place of one character; the dot has a test of its own."""
    alphabet = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    parts = hs_token(access_claims()).encode().split(b".")
    index = SEGMENTS.index(segment)
    good = parts[index]
    async with app.app_context():
        for byte in sorted(set(range(256)) - alphabet):
            parts[index] = good[:5] + bytes([byte]) + good[6:]
            with pytest.raises(jwt.DecodeError, match=f"^Invalid {segment} padding$"):
                qje.decode_token(b".".join(parts))


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize("spaces", [0, 1, 2])
async def test_standard_padding_is_refused(app: Quart, segment: str, spaces: int) -> None:
    """PyJWT takes it; RFC 7515, section 2, leaves all trailing '=' out."""
    raw = json_of(segment) + b" " * spaces
    padded = base64.urlsafe_b64encode(raw).decode()
    token = replace_segment(hs_token(access_claims()), segment, lambda _: padded)
    if not padded.endswith("="):
        async with app.app_context():
            assert qje.decode_token(token)["identity"] == "alice"
    else:
        assert str(await refusal(app, token)) == f"Invalid {segment} padding"


async def test_padded_signature_is_refused(app: Quart) -> None:
    token = hs_token(access_claims()) + "="
    assert str(await refusal(app, token)) == "Invalid crypto padding"


async def test_standard_alphabet_is_refused(app: Quart) -> None:
    """'+' and '/' for '-' and '_': the same bytes to a lenient decoder."""
    raw = compact(access_claims(blob="?>?>~~~???>>>"))
    url_safe = b64url(raw)
    standard = base64.b64encode(raw).decode().rstrip("=")
    assert standard != url_safe
    async with app.app_context():
        assert qje.decode_token(signed(json_segment(HEADER), url_safe))["identity"] == "alice"
    token = signed(json_segment(HEADER), standard)
    assert str(await refusal(app, token)) == "Invalid payload padding"


@pytest.mark.parametrize("segment", SEGMENTS)
async def test_impossible_length_is_refused(app: Quart, segment: str) -> None:
    """No bytes encode to a length of 1 modulo 4."""

    def stretch(text: str) -> str:
        return text + "A" * ((1 - len(text)) % 4 or 4)

    token = replace_segment(hs_token(access_claims()), segment, stretch)
    assert len(token.split(".")[SEGMENTS.index(segment)]) % 4 == 1
    assert str(await refusal(app, token)) == f"Invalid {segment} padding"


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize("remainder", [1, 2])
async def test_unused_bits_that_are_not_zero_are_refused(
    app: Quart, segment: str, remainder: int
) -> None:
    """All 3 or 15 other spellings of the last character mean the same bytes."""
    raw = json_of(segment)
    raw += b" " * ((remainder - len(raw)) % 3)
    text = b64url(raw)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    unused = {1: 4, 2: 2}[remainder]
    last = alphabet.index(text[-1])
    assert last % (1 << unused) == 0
    for bits in range(1, 1 << unused):
        other = text[:-1] + alphabet[last + bits]
        token = replace_segment(hs_token(access_claims()), segment, lambda _, new=other: new)
        assert str(await refusal(app, token)) == f"Invalid {segment} padding"


async def test_unused_bits_in_the_signature_are_refused(app: Quart) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = hs_token(access_claims())
    last = alphabet.index(token[-1])
    for bits in (1, 2, 3):
        other = token[:-1] + alphabet[last + bits]
        assert str(await refusal(app, other)) == "Invalid crypto padding"


@pytest.mark.parametrize("size", range(12))
async def test_payload_of_any_length_is_decoded(app: Quart, size: int) -> None:
    claims = access_claims(filler="x" * size)
    async with app.app_context():
        assert qje.decode_token(hs_token(claims)) == claims | {"user_claims": {}}


async def test_every_character_of_the_alphabet_is_decoded(app: Quart) -> None:
    claims = access_claims(filler="".join(map(chr, range(32, 0x250))))
    raw = json.dumps(claims, ensure_ascii=False).encode()
    token = hs_token(raw)
    assert len(set(token.split(".")[1])) > 60
    async with app.app_context():
        assert qje.decode_token(token) == claims | {"user_claims": {}}


NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"}",
    b"{]",
    b"{}{}",
    b"{} x",
    b"alg",
    b"'alg'",
    b"{'alg':'HS256'}",
    b'{"alg":"HS256",}',
    b'{"alg" "HS256"}',
    b'{"alg":}',
    b'{alg:"HS256"}',
    b'{"alg":"HS256"',
    b'{"alg":"HS256}',
    b'{"alg":"HS\n256"}',
    b'{"alg":"\\x48S256"}',
    b'{"alg":"\\u12"}',
    b'{"alg":"HS256"} // comment',
    b'{"alg":01}',
    b'{"alg":+1}',
    b'{"alg":.5}',
    b'{"alg":0x10}',
    b'{"alg":tru}',
    b'{"alg":True}',
    b"\0",
    b"{}\0",
]
NOT_UTF8 = {
    "stray-byte": b"\xff",
    "continuation": b"\x80",
    "truncated": b"\xe2\x82",
    "overlong-slash": b"\xc0\xaf",
    "encoded-surrogate": b"\xed\xa0\x80",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "above-unicode": b"\xf4\x90\x80\x80",
    "latin-1": "é".encode("latin-1"),
}
NOT_OBJECTS = [b"[]", b'["alg"]', b'"alg"', b"1", b"1.5", b"true", b"false", b"null", b'""']


def with_member(segment: str, member: bytes) -> bytes:
    """Good JSON for a segment with one more member at its end."""
    return json_of(segment)[:-1] + b"," + member + b"}"


# --- JSON ----------------------------------------------------------------------
# Header and claims are UTF-8 encoded JSON objects (RFC 7515, section 4; RFC 7519, 7.2).


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize("raw", NOT_JSON, ids=repr)
async def test_broken_json_is_refused(app: Quart, segment: str, raw: bytes) -> None:
    error = await refusal(app, token_with(segment, raw))
    assert re.match(f"Invalid {segment} string: .", str(error))


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize("raw", NOT_OBJECTS, ids=repr)
async def test_json_that_is_no_object_is_refused(app: Quart, segment: str, raw: bytes) -> None:
    error = await refusal(app, token_with(segment, raw))
    assert str(error) == f"Invalid {segment} string: must be a json object"


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize("raw", NOT_UTF8.values(), ids=NOT_UTF8)
@pytest.mark.parametrize("place", ["value", "name", "outside"])
async def test_bytes_that_are_not_utf8_are_refused(
    app: Quart, segment: str, raw: bytes, place: str
) -> None:
    """PyJWT decodes surrogates (it uses "surrogatepass"); RFC 8259, section 8.1, has none."""
    whole = {
        "value": with_member(segment, b'"x":"' + raw + b'"'),
        "name": with_member(segment, b'"' + raw + b'":1'),
        "outside": json_of(segment) + raw,
    }[place]
    error = await refusal(app, token_with(segment, whole))
    assert re.match(f"Invalid {segment} string: .", str(error))


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize(
    "encoding",
    ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"],
)
async def test_other_encoding_is_refused(app: Quart, segment: str, encoding: str) -> None:
    raw = json_of(segment).decode().encode(encoding)
    error = await refusal(app, token_with(segment, raw))
    assert re.match(f"Invalid {segment} string: .", str(error))


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize("bom", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE])
async def test_byte_order_mark_is_refused(app: Quart, segment: str, bom: bytes) -> None:
    error = await refusal(app, token_with(segment, bom + json_of(segment)))
    assert re.match(f"Invalid {segment} string: .", str(error))


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
async def test_white_space_around_json_is_allowed(app: Quart, segment: str) -> None:
    raw = b" \r\n\t" + json_of(segment).replace(b",", b" ,\n").replace(b":", b"\t: ") + b"\r\n"
    async with app.app_context():
        assert qje.decode_token(token_with(segment, raw))["identity"] == "alice"


async def test_escapes_and_non_ascii_text_arrive_unchanged(app: Quart) -> None:
    raw = compact(access_claims(identity=...))[:-1] + (
        ',"identity":"\\u00e9\\ud83d\\ude00é😀\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000","é":"x"}'.encode()
    )
    async with app.app_context():
        claims = qje.decode_token(hs_token(raw))
    assert claims["identity"] == 'é😀é😀"\\/\b\f\n\r\t\0'
    assert claims["é"] == "x"


async def test_escaped_lone_surrogate_is_text_like_any_other(app: Quart) -> None:
    """JSON allows the escape (RFC 8259, section 8.2), and PyJWT takes it."""
    raw = compact(access_claims(identity="\ud800"))
    assert b"\\ud800" in raw
    async with app.app_context():
        assert qje.decode_token(hs_token(raw))["identity"] == "\ud800"


@pytest.mark.parametrize(
    "number",
    ["0", "-0", "7", "-7", "1.5", "-1.5e3", "1e5", "1E+5", "1e-5", str(2**64), "9" * 400],
)
async def test_numbers_arrive_as_json_reads_them(app: Quart, number: str) -> None:
    raw = with_member("payload", f'"n":{number}'.encode())
    async with app.app_context():
        value = qje.decode_token(hs_token(raw))["n"]
    expected = json.loads(number)
    assert (type(value), value) == (type(expected), expected)


async def test_number_of_too_many_digits_is_refused(app: Quart) -> None:
    """Python limits the work of reading an integer to 4300 digits (CVE-2020-10735)."""
    for segment in JSON_SEGMENTS:
        token = token_with(segment, with_member(segment, b'"n":' + b"9" * 5000))
        error = await refusal(app, token)
        assert re.match(f"Invalid {segment} string: .", str(error))
        assert "99999" not in str(error)


# --- Duplicate names -----------------------------------------------------------
# A name twice at the top level may mean two things to two readers (RFC 8725, section 2.6).


@pytest.mark.parametrize(
    "raw",
    [
        b'{"alg":"HS256","alg":"HS256"}',
        b'{"alg":"HS256","typ":"JWT","alg":"none"}',
        b'{"alg":"none","alg":"HS256"}',
        b'{"alg":"HS256","\\u0061lg":"HS256"}',
        b'{"alg":"HS256","x":1,"x":2}',
        b'{"alg":"HS256","":1,"":2}',
        b'{"alg":"HS256","kid":"a","kid":"b"}',
    ],
    ids=bytes.decode,
)
async def test_duplicate_in_the_header_is_refused(app: Quart, raw: bytes) -> None:
    error = await refusal(app, token_with("header", raw))
    assert re.match("Invalid header string: .", str(error))


@pytest.mark.parametrize(
    "member",
    [
        b'"identity":"alice"',
        b'"identity":"mallory"',
        b'"\\u0069dentity":"mallory"',
        b'"exp":99999999999',
        b'"type":"access"',
        b'"user_claims":{},"user_claims":{"admin":true}',
        b'"x":null,"x":null',
        b'"":1,"":1',
        '"é":1,"\\u00e9":1'.encode(),
        b'"\\ud800":1,"\\ud800":1',
    ],
    ids=bytes.decode,
)
async def test_duplicate_in_the_claims_is_refused(app: Quart, member: bytes) -> None:
    error = await refusal(app, hs_token(with_member("payload", member)))
    assert re.match("Invalid payload string: .", str(error))
    assert "mallory" not in str(error)


async def test_duplicate_deeper_down_is_read_as_json_reads_it(app: Quart) -> None:
    raw = with_member("payload", b'"user_claims":{"a":1,"a":2,"b":[{"c":1,"c":2}]}')
    async with app.app_context():
        claims = qje.decode_token(hs_token(raw))
    assert claims["user_claims"] == {"a": 2, "b": [{"c": 2}]}


async def test_same_name_on_two_levels_is_no_duplicate(app: Quart) -> None:
    raw = with_member("payload", b'"user_claims":{"identity":"x","exp":1},"list":[{"type":1}]')
    async with app.app_context():
        claims = qje.decode_token(hs_token(raw))
    assert claims["identity"] == "alice"
    assert claims["user_claims"] == {"identity": "x", "exp": 1}


# --- Deep JSON -----------------------------------------------------------------
# Nesting ends as a refusal, never as a RecursionError or a crash.


DEEP = [
    pytest.param(b"[" * 100_000, id="open-lists"),
    pytest.param(b"[" * 100_000 + b"]" * 100_000, id="lists"),
    pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="objects"),
    pytest.param(b'[{"a":' * 50_000 + b"1" + b"}]" * 50_000, id="mixed"),
]


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize("deep", DEEP)
async def test_deep_member_is_refused(segment: str, deep: bytes) -> None:
    app = make_app(JWT_MAX_TOKEN_SIZE=10_000_000)
    error = await refusal(app, token_with(segment, with_member(segment, b'"x":' + deep)))
    assert re.match(f"Invalid {segment} string: .", str(error))


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
@pytest.mark.parametrize("deep", DEEP)
async def test_deep_whole_is_refused(segment: str, deep: bytes) -> None:
    app = make_app(JWT_MAX_TOKEN_SIZE=10_000_000)
    error = await refusal(app, token_with(segment, deep))
    assert re.match(f"Invalid {segment} string: .", str(error))


@pytest.mark.parametrize("segment", JSON_SEGMENTS)
async def test_deepest_nesting_that_fits_by_default_is_no_server_error(
    app: Quart, segment: str
) -> None:
    depth = 5_500
    raw = with_member(segment, b'"x":' + b"[" * depth + b"]" * depth)
    token = token_with(segment, raw)
    assert len(token) < 16384
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code in (200, 422)


async def test_moderate_nesting_is_accepted(app: Quart) -> None:
    raw = with_member("payload", b'"x":' + b"[" * 50 + b"]" * 50)
    async with app.app_context():
        assert qje.decode_token(hs_token(raw))["identity"] == "alice"


def token_of_size(size: int) -> str:
    """A good token of exactly so many characters."""
    for spaces in range(4):
        header = compact(HEADER) + b" " * spaces
        overhead = len(b64url(header)) + 43 + 2
        # Four characters carry three bytes; a length of 1 modulo 4 does not exist.
        payload_bytes = (size - overhead) * 3 // 4
        raw = compact(access_claims())
        token = hs_token(raw + b" " * (payload_bytes - len(raw)), header=header)
        if len(token) == size:
            return token
    raise AssertionError(f"no token of {size} characters")


# --- Size ----------------------------------------------------------------------
# JWT_MAX_TOKEN_SIZE counts bytes, and its value is the last size allowed.


@pytest.mark.parametrize("limit", [500, 501, 502, 503, 4096, 16384])
async def test_token_at_the_limit_is_accepted_and_one_byte_more_refused(limit: int) -> None:
    app = make_app(JWT_MAX_TOKEN_SIZE=limit)
    async with app.app_context():
        assert qje.decode_token(token_of_size(limit))["identity"] == "alice"
        assert qje.decode_token(token_of_size(limit).encode())["identity"] == "alice"
    await refusal(app, token_of_size(limit + 1))
    await refusal(app, token_of_size(limit + 1).encode())


async def test_default_limit_is_sixteen_kibibytes(app: Quart) -> None:
    async with app.app_context():
        assert qje.decode_token(token_of_size(16384))["identity"] == "alice"
    await refusal(app, token_of_size(16385))


async def test_overlong_token_is_refused_before_it_is_read(app: Quart) -> None:
    """Its faults are not looked for: every overlong token gets one and the same answer."""
    messages = {
        str(await refusal(app, token))
        for token in ("A" * 16385, "." * 16385, "!" * 16385, token_of_size(20_000))
    }
    assert len(messages) == 1


async def test_size_of_text_is_counted_in_bytes() -> None:
    """Three bytes each in UTF-8, so that 200 of them are over a limit of 500."""
    app = make_app(JWT_MAX_TOKEN_SIZE=500)
    overlong = str(await refusal(app, "A" * 501))
    assert str(await refusal(app, "€" * 200)) == overlong
    assert str(await refusal(app, "€" * 100)) != overlong


async def test_changed_limit_takes_effect_at_once(app: Quart) -> None:
    token = token_of_size(600)
    client = app.test_client()
    for limit, status in ((16384, 200), (599, 422), (600, 200)):
        app.config["JWT_MAX_TOKEN_SIZE"] = limit
        response = await client.get("/protected", headers=bearer(token))
        assert response.status_code == status


async def test_overlong_token_in_a_request_is_refused(app: Quart) -> None:
    token = token_of_size(16385)
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 422
    assert set(await response.get_json()) == {"msg"}
    assert app.calls == []


async def test_megabytes_are_refused_like_kilobytes(app: Quart) -> None:
    await refusal(app, "A" * 5_000_000)
    await refusal(app, b"A" * 5_000_000)


@pytest.mark.parametrize("value", [-1, "16384", 1.5])
async def test_impossible_limit_is_a_misconfiguration(value: Any) -> None:
    with pytest.raises(RuntimeError, match="JWT_MAX_TOKEN_SIZE"):
        await refusal(make_app(JWT_MAX_TOKEN_SIZE=value), hs_token(access_claims()))


class Text(str):
    """A subclass of str, as template engines and databases hand them out."""


class Octets(bytes):
    """A subclass of bytes."""


# --- Types ---------------------------------------------------------------------
# A token is str or bytes, and everything else is refused.


@pytest.mark.parametrize("kind", [str, Text, str.encode, lambda t: Octets(t.encode())])
async def test_text_and_bytes_are_accepted(app: Quart, kind: Any) -> None:
    claims = access_claims()
    token = kind(hs_token(claims))
    async with app.app_context():
        assert qje.decode_token(token) == claims | {"user_claims": {}}
        assert await qje.decode_token_async(token) == claims | {"user_claims": {}}


@pytest.mark.parametrize(
    "token",
    [None, 0, 1, 1.5, True, False, [], {}, (), ["a.b.c"], {"a": 1}, int, ...],
    ids=repr,
)
async def test_other_type_is_refused(app: Quart, token: Any) -> None:
    message = "Invalid token type. Token must be a <class 'bytes'>"
    assert str(await refusal(app, token)) == message


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_mutable_buffer_is_refused(app: Quart, kind: Any) -> None:
    """What could change between the check of the signature and the reading of the claims."""
    token = kind(hs_token(access_claims()).encode())
    message = "Invalid token type. Token must be a <class 'bytes'>"
    assert str(await refusal(app, token)) == message


@pytest.mark.parametrize("token", ["\ud800", "\ud800.e30.e30", "e30.\udfff.e30", "a.b.\udc80"])
async def test_lone_surrogate_is_refused(app: Quart, token: str) -> None:
    """PyJWT lets a UnicodeEncodeError out here."""
    await refusal(app, token)


async def test_each_call_returns_claims_of_its_own(app: Quart) -> None:
    token = hs_token(access_claims(user_claims={"roles": ["reader"]}))
    async with app.app_context():
        first = qje.decode_token(token)
        first["identity"] = "mallory"
        first["user_claims"]["roles"].append("admin")
        second = qje.decode_token(token)
    assert type(second) is dict
    assert second["identity"] == "alice"
    assert second["user_claims"] == {"roles": ["reader"]}


# --- Remembered headers --------------------------------------------------------
# A header seen before must not be trusted for more than its bytes.


async def test_bad_signature_under_a_known_header_is_refused(app: Quart) -> None:
    good = hs_token(access_claims())
    forged = hs_token(access_claims(), secret="x" * 64)
    assert good.split(".")[0] == forged.split(".")[0]
    async with app.app_context():
        for _ in range(3):
            assert qje.decode_token(good)["identity"] == "alice"
            with pytest.raises(jwt.InvalidSignatureError):
                qje.decode_token(forged)


async def test_known_header_is_refused_once_its_algorithm_is_not_allowed() -> None:
    app = make_app(JWT_DECODE_ALGORITHMS=["HS256", "HS512"])
    token = hs_token(access_claims(), alg="HS512")
    async with app.app_context():
        assert qje.decode_token(token)["identity"] == "alice"
        app.config["JWT_DECODE_ALGORITHMS"] = ["HS256"]
        with pytest.raises(jwt.InvalidAlgorithmError):
            qje.decode_token(token)
        app.config["JWT_DECODE_ALGORITHMS"] = ["HS512"]
        assert qje.decode_token(token)["identity"] == "alice"


async def test_known_header_is_refused_in_an_app_that_does_not_allow_it() -> None:
    token = hs_token(access_claims(), alg="HS512")
    async with make_app(JWT_ALGORITHM="HS512").app_context():
        assert qje.decode_token(token)["identity"] == "alice"
    async with make_app(JWT_ALGORITHM="HS256").app_context():
        with pytest.raises(jwt.InvalidAlgorithmError):
            qje.decode_token(token)


async def test_many_different_headers_are_told_apart(app: Quart) -> None:
    tokens = {
        f"key-{number}": hs_token(
            access_claims(identity=number), header={**HEADER, "kid": f"key-{number}"}
        )
        for number in range(100)
    }
    async with app.app_context():
        for _ in range(2):
            for number, (kid, token) in enumerate(tokens.items()):
                assert qje.decode_token(token)["identity"] == number
                assert qje.get_unverified_jwt_headers(token) == {**HEADER, "kid": kid}


async def test_view_that_changes_the_header_changes_only_its_own(app: Quart) -> None:
    @app.get("/header")
    @qje.jwt_required
    async def header() -> dict[str, Any]:
        seen = dict(qje.get_raw_jwt_header())
        qje.get_raw_jwt_header()["alg"] = "none"
        qje.get_raw_jwt_header()["kid"] = 7
        return seen

    client = app.test_client()
    token = hs_token(access_claims())
    for _ in range(3):
        response = await client.get("/header", headers=bearer(token))
        assert response.status_code == 200
        assert await response.get_json() == HEADER


async def test_key_loader_that_changes_the_header_changes_only_its_own(app: Quart) -> None:
    manager = app.extensions["quart-jwt-extended"]
    seen: list[dict[str, Any]] = []

    @manager.decode_key_loader
    def key_for(claims: dict[str, Any], headers: dict[str, Any]) -> str:
        seen.append(dict(headers))
        headers.clear()
        return SECRET

    token = hs_token(access_claims())
    async with app.app_context():
        for _ in range(3):
            qje.decode_token(token)
    assert seen == [HEADER] * 3


# --- Unverified headers --------------------------------------------------------
# get_unverified_jwt_headers reads the same header as strictly, without the signature.


def test_header_is_returned_without_an_application() -> None:
    token = hs_token(access_claims(), secret="unknown", header={**HEADER, "kid": "k"})
    assert qje.get_unverified_jwt_headers(token) == {**HEADER, "kid": "k"}
    assert qje.get_unverified_jwt_headers(token.encode()) == {**HEADER, "kid": "k"}


async def test_header_of_a_forged_token_is_returned(app: Quart) -> None:
    token = hs_token(access_claims(), secret="unknown")
    async with app.app_context():
        assert qje.get_unverified_jwt_headers(token) == HEADER


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "Not enough segments"),
        ("e30", "Not enough segments"),
        ("!.e30.e30", "Invalid header padding"),
        (f"{b64url(b'[]')}.e30.e30", "Invalid header string: must be a json object"),
        (5, "Invalid token type. Token must be a <class 'bytes'>"),
    ],
)
async def test_malformed_token_is_refused(app: Quart, token: Any, message: str) -> None:
    async with app.app_context():
        with pytest.raises(jwt.DecodeError) as caught:
            qje.get_unverified_jwt_headers(token)
    assert str(caught.value) == message


async def test_kid_that_is_no_string_is_refused(app: Quart) -> None:
    token = hs_token(access_claims(), header={**HEADER, "kid": 5})
    async with app.app_context():
        with pytest.raises(jwt.InvalidTokenError) as caught:
            qje.get_unverified_jwt_headers(token)
    assert str(caught.value) == "Key ID header parameter must be a string"
