"""The compact serialisation: segments, base64url, sizes and types (RFC 7515, section 7.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from quart import Quart

import quart_jwt_extended as qje
from support import SECRET, access_claims, b64url, hs_token, json_segment, make_app, token_of_size

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


# --- Size ----------------------------------------------------------------------
# JWT_MAX_TOKEN_SIZE counts bytes, and its value is the last size allowed.


# Without the option, the limit is 16 KiB.
@pytest.mark.parametrize("limit", [500, 501, 502, 503, 4096, None])
async def test_token_at_the_limit_is_accepted_and_one_byte_more_refused(
    limit: int | None,
) -> None:
    app = make_app(**{} if limit is None else {"JWT_MAX_TOKEN_SIZE": limit})
    size = limit or 16384
    async with app.app_context():
        assert qje.decode_token(token_of_size(size))["identity"] == "alice"
        assert qje.decode_token(token_of_size(size).encode())["identity"] == "alice"
    await refusal(app, token_of_size(size + 1))
    await refusal(app, token_of_size(size + 1).encode())


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


async def test_megabytes_are_refused_like_kilobytes(app: Quart) -> None:
    await refusal(app, "A" * 5_000_000)
    await refusal(app, b"A" * 5_000_000)


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
