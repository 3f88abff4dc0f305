"""Odd tokens, judged by this module and by PyJWT with the same options.

PyJWT is the oracle, by the rules of :mod:`support.oracle`. Where we are stricter, or say something
else, :data:`DEVIATIONS` has the row, the reason and the RFC; a deviation that is gone fails the
test as much as a new one.

docs/pyjwt.md shows the deviations. Run as a script, this file writes them there.
"""

from __future__ import annotations

import datetime
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

import quart_jwt_extended as qje
from support import SECRET, access_claims, b64url, hs_token, json_segment, make_app, manager_of
from support.oracle import (
    MAX_NESTING,
    OLDER_PYJWT,
    TOO_DEEP,
    Reason,
    Refusal,
    Verdict,
    compare,
    expiry_last,
    filled_in,
    is_same_refusal,
    reasons,
    stopped_clock,
    verdict,
)
from support.signing_keys import every_dress, private_key, public_dresses, public_pem

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "pyjwt.md"

HEADER = {"typ": "JWT", "alg": "HS256"}
# Where the clock stands still for all rows.
NOW = 1_900_000_000
DAY = 86_400


@dataclass(frozen=True)
class Row:
    """A token, or what makes it once a key was generated, and its circumstances."""

    token: Any
    options: dict[str, Any] = field(default_factory=dict)
    kind: str | None = None
    allow_expired: bool = False
    key: Callable[[], Any] | None = None
    """What a decode_key_loader returns, and PyJWT is given."""
    now: float = NOW


@dataclass(frozen=True)
class Deviation:
    """What PyJWT does, how we answer instead, and why."""

    subject: str
    theirs: tuple[type[Exception] | None, ...]
    """The exceptions of PyJWT; None where it accepts the token."""
    error: type[Exception]
    texts: tuple[str, ...]
    """Ours, of which ``...`` stands for any text."""
    reason: str
    rfc: str

    def reasons(self) -> list[Reason]:
        """What explains such a refusal."""
        patterns = [re.escape(known).replace(re.escape("..."), ".+") for known in self.texts]
        return [Reason(self.error, f"{pattern}$") for pattern in patterns]


ROWS: dict[str, Row] = {}
DEVIATIONS: dict[str, Deviation] = {}


def row(name: str, token: Any, deviation: Deviation | None = None, **row_fields: Any) -> None:
    """Enter one row, and its deviation."""
    assert name not in ROWS, name
    ROWS[name] = Row(token, **row_fields)
    if deviation is not None:
        DEVIATIONS[name] = deviation


def compact(value: Any) -> bytes:
    """JSON as token makers write it."""
    return json.dumps(value, separators=(",", ":")).encode()


def header_row(name: str, deviation: Deviation | None = None, **changes: Any) -> None:
    """A row about header parameters, under a good signature; ``...`` removes one."""
    header = {key: value for key, value in {**HEADER, **changes}.items() if value is not ...}
    row(f"header: {name}", hs_token(access_claims(), header=header), deviation)


def claim_row(claim: str, text: str, deviation: Deviation | None = None, **row_fields: Any) -> None:
    """A row about one claim, given as JSON text."""
    head = compact(access_claims(**{claim: ...}))[:-1].decode()
    shown = text if len(text) < 40 else f"{text[:5]}... ({len(text)})"
    suffix = "".join(f" with {key}={value}" for key, value in row_fields.items())
    token = hs_token(f'{head},"{claim}":{text}}}'.encode())
    row(f"claim {claim}: {shown}{suffix}", token, deviation, **row_fields)


def with_member(base: Any, member: bytes) -> bytes:
    """An object as JSON, with one more member written by hand."""
    return compact(base)[:-1] + b"," + member + b"}"


# --- Shape and base64url ------------------------------------------------------

GOOD = hs_token(access_claims())
H, P, S = GOOD.split(".")

PADDED = Deviation(
    "`=` padding at the end of a segment",
    (None,),
    jwt.DecodeError,
    ("Invalid header padding", "Invalid payload padding", "Invalid crypto padding"),
    "base64url in a JWS has no padding; a token with two spellings could evade a blocklist",
    "RFC 7515, section 2",
)
SURROGATE = Deviation(
    "a lone surrogate in its text",
    (UnicodeEncodeError,),
    jwt.DecodeError,
    ("Invalid token: it holds a lone surrogate",),
    "a compact JWS is URL-safe text, and an invalid token is not a server error",
    "RFC 7515, section 7.1",
)
TOO_LONG = Deviation(
    "more bytes than `JWT_MAX_TOKEN_SIZE`",
    (None, jwt.DecodeError),
    jwt.DecodeError,
    ("Token is too long: at most 16384 bytes are accepted",),
    "the work before the signature check grows with the size of the token",
    "RFC 8259, section 9",
)


ESCAPED = Deviation(
    "an escaped lone surrogate in its header",
    (None,),
    jwt.DecodeError,
    ("Invalid header string: it holds a lone surrogate",),
    "unsigned text must not break a response or a log record that shows it",
    "RFC 8259, section 8.2",
)
UNKNOWN_CRITICAL = Deviation(
    "an extension in `crit` that is not supported",
    (jwt.InvalidTokenError,),
    jwt.InvalidTokenError,
    ("Unsupported critical extension",),
    "PyJWT's message quotes the name, which is not signed",
    "RFC 7515, section 4.1.11",
)


def resign(header: str, payload: str) -> str:
    """Any two segments, under a good signature."""
    return f"{header}.{payload}.{b64url(hs_signature(f'{header}.{payload}'))}"


def hs_signature(signing_input: str) -> bytes:
    """HMAC SHA-256 by PyJWT's own algorithm object."""
    return jwt.get_algorithm_by_name("HS256").sign(signing_input.encode(), SECRET.encode())


for name, value in {
    "good token": GOOD,
    "good token as bytes": GOOD.encode(),
    "empty": "",
    "empty bytes": b"",
    "one character": "a",
    "one dot": ".",
    "two dots": "..",
    "three dots": "...",
    "two segments": f"{H}.{P}",
    "four segments": f"{GOOD}.{S}",
    "trailing dot": f"{GOOD}.",
    "leading dot": f".{GOOD}",
    "double dot": f"{H}..{P}.{S}",
    "empty header": f".{P}.{S}",
    "empty payload": f"{H}..{S}",
    "empty payload, signed": resign(H, ""),
    "empty signature": f"{H}.{P}.",
    "swapped header and payload": f"{P}.{H}.{S}",
    "header twice": f"{H}.{H}.{S}",
    "JSON instead of segments": '{"alg":"HS256"}',
    "JWE shape": "a.b.c.d.e",
    "leading space": f" {GOOD}",
    "trailing newline": f"{GOOD}\n",
    "space in header": f"{H[:4]} {H[4:]}.{P}.{S}",
    "newline in payload": f"{H}.{P[:4]}\n{P[4:]}.{S}",
    "NUL in signature": f"{H}.{P}.{S[:-1]}\0",
    "NUL before token": f"\0{GOOD}",
    "plus in header": f"{H[:4]}+{H[5:]}.{P}.{S}",
    "slash in payload": f"{H}.{P[:4]}/{P[5:]}.{S}",
    "percent in payload": f"{H}.{P[:4]}%{P[5:]}.{S}",
    "tilde in signature": f"{H}.{P}.~{S[1:]}",
    "non-ASCII in header": f"é{H}.{P}.{S}",
    "non-ASCII in payload": f"{H}.é{P}.{S}",
    "non-ASCII in signature": f"{H}.{P}.é{S}",
    "high byte in payload": f"{H}.".encode() + b"\xff\xfe" + f"{P}.{S}".encode(),
    "bytes that are no UTF-8": b"\xc3\x28.\xa0\xa1.\xe2\x28\xa1",
    "header of length 1 mod 4": f"{H}{'A' * ((1 - len(H)) % 4)}.{P}.{S}",
    "payload of length 1 mod 4": f"{H}.A.{S}",
    "signature of length 1 mod 4": f"{H}.{P}.{S[:-2]}",
    "signature with loose bits": f"{H}.{P}.{S[:-1]}{'B' if S[-1] == 'A' else chr(ord(S[-1]) + 1)}",
    "header with loose bits": resign(b64url(compact(HEADER) + b" ")[:-1] + "B", P),
    "three paddings": f"{H}===.{P}.{S}",
    "four paddings": f"{H}====.{P}.{S}",
    "padding in the middle": f"{H[:4]}={H[5:]}.{P}.{S}",
    "wrong count of padding": f"{H}.{P}.{S}==",
    "only padding": "=.=.=",
    "None": None,
    "int": 1,
    "float": 1.5,
    "list": [GOOD],
    "dict": {"token": GOOD},
    "tuple": (H, P, S),
    "bytearray": bytearray(GOOD.encode()),
    "memoryview": memoryview(GOOD.encode()),
    "type": str,
}.items():
    row(f"shape: {name}", value)

row("shape: good padding of the signature", f"{GOOD}=", PADDED)
for spaces in (1, 2):
    raw = compact(HEADER)
    raw += b" " * ((spaces - len(raw)) % 3)
    padded = b64url(raw) + "=" * (3 - spaces)
    row(f"shape: good padding of the header ({3 - spaces})", resign(padded, P), PADDED)
    raw = compact(access_claims())
    raw += b" " * ((spaces - len(raw)) % 3)
    padded = b64url(raw) + "=" * (3 - spaces)
    row(f"shape: good padding of the payload ({3 - spaces})", resign(H, padded), PADDED)
row("shape: lone surrogate", f"\ud800{GOOD}", SURROGATE)
row("shape: lone surrogate at the end", f"{GOOD}\udfff", SURROGATE)
row("shape: over the size limit", hs_token(access_claims(x="y" * 20_000)), TOO_LONG)
row("shape: garbage over the size limit", "A" * 20_000, TOO_LONG)
row("shape: below the size limit", hs_token(access_claims(x="y" * 10_000)))
row(
    "shape: over the default limit, below a larger one",
    hs_token(access_claims(x="y" * 100_000)),
    options={"JWT_MAX_TOKEN_SIZE": 200_000},
)

# --- JSON of header and payload -----------------------------------------------

INVALID_JSON = ("Invalid header string: ...", "Invalid payload string: ...")
ENCODING = Deviation(
    "UTF-16, UTF-32, a byte order mark or an encoded surrogate in its header or claims",
    (None,),
    jwt.DecodeError,
    INVALID_JSON,
    "PyJWT guesses the encoding; software that expects UTF-8 would see a different token",
    "RFC 7515, section 5.2; RFC 7519, section 7.2; RFC 8259, section 8.1",
)
UTF8_TEXT = Deviation(
    "bytes that are not UTF-8 in its header or claims",
    (jwt.DecodeError,),
    jwt.DecodeError,
    ("Invalid header string: must be UTF-8", "Invalid payload string: must be UTF-8"),
    "PyJWT's message quotes a byte of the token, and messages end up in responses and logs",
    "RFC 8725, section 3.7",
)
DUPLICATE = Deviation(
    "a duplicate name at the top level of its header or claims",
    (None,),
    jwt.DecodeError,
    (
        "Invalid header string: duplicate member name",
        "Invalid payload string: duplicate member name",
    ),
    "two parsers may see different values; PyJWT uses the last one",
    "RFC 7515, section 4; RFC 7519, section 4",
)

NESTING = Deviation(
    f"more than {MAX_NESTING} levels of nested objects and lists in its header or claims",
    (None, jwt.DecodeError),
    jwt.DecodeError,
    (f"Invalid header string: {TOO_DEEP}", f"Invalid payload string: {TOO_DEEP}"),
    "the depth that PyJWT accepts depends on the interpreter and its stack",
    "RFC 8259, section 9",
)

for part, base in (("header", HEADER), ("payload", access_claims())):

    def token_of(raw: bytes, part: str = part) -> str:
        """A token in which that part consists of the given bytes, well signed."""
        return hs_token(access_claims(), header=raw) if part == "header" else hs_token(raw)

    for name, raw in {
        "nothing": b"",
        "space": b" ",
        "NUL": b"\0",
        "open brace": b"{",
        "closing brace": b"}",
        "empty object": b"{}",
        "two objects": b"{}{}",
        "object and text": compact(base) + b"x",
        "object and NUL": compact(base) + b"\0",
        "list": b"[]",
        "list of object": b"[" + compact(base) + b"]",
        "string": b'"x"',
        "number": b"7",
        "float": b"1.5",
        "true": b"true",
        "false": b"false",
        "null": b"null",
        "NaN": b"NaN",
        "word": b"alg",
        "single quotes": b"{'a':1}",
        "trailing comma": compact(base)[:-1] + b",}",
        "leading comma": b"{," + compact(base)[1:],
        "missing colon": b'{"a" 1}',
        "missing value": b'{"a":}',
        "missing value behind others": with_member(base, b'"a":'),
        "missing name": b"{:1}",
        "missing brace": compact(base)[:-1],
        "missing quote": b'{"a":"b}',
        "bare word as value": with_member(base, b'"a":b'),
        "bare word in a list": with_member(base, b'"a":[b]'),
        "empty place in a list": with_member(base, b'"a":[1,,2]'),
        "comment": compact(base) + b"/**/",
        "newline in a string": with_member(base, b'"a":"\n"'),
        "bad escape": with_member(base, b'"a":"\\x41"'),
        "short escape": with_member(base, b'"a":"\\u12"'),
        "leading zero": with_member(base, b'"a":01'),
        "hexadecimal": with_member(base, b'"a":0x1'),
        "plus sign": with_member(base, b'"a":+1'),
        "lone minus": with_member(base, b'"a":-'),
        "lone point": with_member(base, b'"a":1.'),
        "white space around": b" \t\r\n" + compact(base) + b" \t\r\n",
        "form feed around": b"\f" + compact(base),
        "NaN as a value": with_member(base, b'"a":NaN'),
        "Infinity as a value": with_member(base, b'"a":-Infinity'),
        "huge float as a value": with_member(base, b'"a":1e999'),
        "big integer as a value": with_member(base, b'"a":' + b"9" * 400),
        "escaped surrogate": with_member(base, b'"a":"\\ud800"'),
        "escaped pair": with_member(base, b'"a":"\\ud83d\\ude00"'),
        "escaped NUL": with_member(base, b'"a":"\\u0000"'),
        "non-ASCII text": with_member(base, '"é":"😀"'.encode()),
        "duplicate deeper down": with_member(base, b'"a":{"b":1,"b":2}'),
        "empty name": with_member(base, b'"":1'),
        "moderately deep": with_member(base, b'"a":' + b"[" * 100 + b"]" * 100),
        "braces and colons in a string": with_member(base, b'"a":"{\\"b\\":[:,"'),
    }.items():
        row(f"{part} JSON: {name}", token_of(raw))

    row(
        f"{part} JSON: integer of 5000 digits",
        token_of(with_member(base, b'"a":' + b"9" * 5000)),
    )
    for name, raw in {
        "600 lists": with_member(base, b'"a":' + b"[" * 600 + b"]" * 600),
        "deep lists": with_member(base, b'"a":' + b"[" * 100_000 + b"]" * 100_000),
        "deep objects": with_member(base, b'"a":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001),
        "deep and open": b"[" * 100_000,
    }.items():
        row(
            f"{part} JSON: {name}",
            token_of(raw),
            NESTING,
            options={"JWT_MAX_TOKEN_SIZE": 10_000_000},
        )
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"):
        raw = compact(base).decode().encode(encoding)
        row(f"{part} JSON: {encoding}", token_of(raw), ENCODING)
    for name, raw in {
        "encoded surrogate": with_member(base, b'"a":"\xed\xa0\x80"'),
        "encoded surrogate in a name": with_member(base, b'"\xed\xa0\x80":1'),
    }.items():
        row(f"{part} JSON: {name}", token_of(raw), ENCODING)
    for name, raw in {
        "stray byte": with_member(base, b'"a":"\xff"'),
        "overlong": with_member(base, b'"a":"\xc0\xaf"'),
        "cut character": with_member(base, b'"a":"\xe2\x82"'),
        "latin-1": with_member(base, '"a":"é"'.encode("latin-1")),
    }.items():
        row(f"{part} JSON: {name}", token_of(raw), UTF8_TEXT)
    repeated = b'"alg":"HS256"' if part == "header" else b'"identity":"alice"'
    for name, member in {
        "duplicate name": repeated,
        "duplicate name in escapes": repeated.replace(b'"a', b'"\\u0061').replace(
            b'"i', b'"\\u0069'
        ),
        "duplicate of an unknown name": b'"x":1,"x":1',
        "duplicate of the empty name": b'"":1,"":1',
    }.items():
        row(f"{part} JSON: {name}", token_of(with_member(base, member)), DUPLICATE)

# --- Header parameters --------------------------------------------------------

for value in (None, True, 0, 1.5, "", [], {}, ["HS256"], {"HS256": 1}):
    header_row(f"alg {value!r}", alg=value)
for value in ("none", "None", "NONE", "nOnE", "hs256", "HS256 ", "HS384", "RS256", "HS1", "é"):
    header_row(f"alg {value!r}", alg=value)
header_row("alg missing", alg=...)
for value in (None, True, 0, 1.5, [], {}):
    header_row(f"kid {value!r}", kid=value)
for value in ("", "k", "../../etc/passwd", "\0", "k" * 5000):
    header_row(f"kid {value!a:.20}", kid=value)
header_row("kid of a lone surrogate", ESCAPED, kid="\ud800")
DEVIATIONS["header JSON: escaped surrogate"] = ESCAPED
for value in (None, True, 0, "", "b64", {}, [], [1], [None], [["b64"]], ["b64"]):
    header_row(f"crit {value!r}", crit=value)
for value in (["exp"], [""]):
    header_row(f"crit {value!r}", UNKNOWN_CRITICAL, crit=value)
header_row("crit exp, present", UNKNOWN_CRITICAL, crit=["exp"], exp=1)
header_row("crit b64 and exp", UNKNOWN_CRITICAL, crit=["b64", "exp"], b64=True)
header_row("crit b64, true", crit=["b64"], b64=True)
header_row("crit b64 twice, true", crit=["b64", "b64"], b64=True)
for value in (True, None, 0, 1, "false", []):
    header_row(f"b64 {value!r}", b64=value)
header_row("b64 False", b64=False)
header_row("b64 False with crit", b64=False, crit=["b64"])
for crit in (..., ["b64"], ["exp"], [], "b64"):
    header = {**HEADER, "b64": False, **({} if crit is ... else {"crit": crit})}
    segment = json_segment(header)
    row(
        f"header: b64 False, detached, crit {crit!r}",
        resign(segment, ""),
        UNKNOWN_CRITICAL if crit == ["exp"] else None,
    )
for parameter in ("typ", "cty", "zip", "enc", "jwk", "jku", "x5u", "x5c", "exp", "iss"):
    for value in (None, 7, "x", ["x"], {"x": 1}):
        header_row(f"{parameter} {value!r}", **{parameter: value})

for parameter in ("__proto__", "__class__", "constructor", ""):
    header_row(f"parameter {parameter!r}", **{parameter: {"alg": "none"}})

# --- Signatures and keys ------------------------------------------------------

row("signature: other secret", hs_token(access_claims(), secret=SECRET[::-1]))
stranger = SECRET[::-1].encode()
for parameter, value in {
    "jwk": {"kty": "oct", "k": b64url(stranger), "alg": "HS256"},
    "jwks": {"keys": [{"kty": "oct", "k": b64url(stranger), "alg": "HS256"}]},
    "jku": "http://127.0.0.1:1/keys.json",
    "x5u": "file:///dev/null",
    "k": b64url(stranger),
}.items():
    row(
        f"signature: of a key that comes in {parameter}",
        hs_token(access_claims(), header={**HEADER, parameter: value}, secret=stranger),
    )
    row(
        f"signature: good, with another key in {parameter}",
        hs_token(access_claims(), header={**HEADER, parameter: value}),
    )
row("signature: empty secret", hs_token(access_claims(), secret=b""))
row("signature: cut short", f"{H}.{P}.{S[:-3]}")
row("signature: too long", f"{H}.{P}.{S[:-3]}AAAA{S[:4]}")
row("signature: of another token", f"{H}.{P}.{hs_token(access_claims(x=1)).rpartition('.')[2]}")
row("signature: HS512 under HS256", hs_token(access_claims(), alg="HS512", header=HEADER))
row("signature: unsigned by PyJWT", jwt.encode(access_claims(), None, algorithm="none"))
row(
    "signature: HS512 allowed",
    hs_token(access_claims(), alg="HS512"),
    options={"JWT_DECODE_ALGORITHMS": ["HS256", "HS512"]},
)


def signed_by(
    algorithm: str, kind: str, owner: str = "service", **claims: Any
) -> Callable[[], str]:
    """A token made by PyJWT, once its key exists."""
    return lambda: jwt.encode(access_claims(**claims), private_key(kind, owner), algorithm)


def relabelled(algorithm: str, kind: str, label: str) -> Callable[[], str]:
    """A token whose header names another algorithm than made its signature."""

    def make() -> str:
        signing_input = f"{json_segment({'alg': label})}.{P}"
        prepared = jwt.get_algorithm_by_name(algorithm)
        signature = prepared.sign(signing_input.encode(), private_key(kind))
        return f"{signing_input}.{b64url(signature)}"

    return make


def octets_jwk(secret: str) -> jwt.PyJWK:
    """A secret as a JWK (RFC 7518, section 6.4)."""
    return jwt.PyJWK({"kty": "oct", "alg": "HS256", "k": b64url(secret.encode())})


def with_signature(algorithm: str, kind: str, change: Callable[[bytes], bytes]) -> Any:
    """A token with a changed signature."""

    def make() -> str:
        signing_input = f"{json_segment({'alg': algorithm})}.{P}"
        prepared = jwt.get_algorithm_by_name(algorithm)
        signature = prepared.sign(signing_input.encode(), private_key(kind))
        return f"{signing_input}.{b64url(change(signature))}"

    return make


def der(raw: bytes) -> bytes:
    """An ECDSA signature as other protocols write it."""
    half = len(raw) // 2
    return encode_dss_signature(
        int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
    )


for algorithm, kind in (
    *(("RS256", "RSA"), ("PS256", "RSA"), ("ES256", "P-256"), ("ES384", "P-384")),
    *(("ES512", "P-521"), ("ES256K", "secp256k1"), ("EdDSA", "Ed25519"), ("EdDSA", "Ed448")),
):
    about: dict[str, Any] = {"kind": kind, "options": {"JWT_ALGORITHM": algorithm}}
    name = f"{algorithm} {kind}"
    row(f"{name}: good", signed_by(algorithm, kind), **about)
    row(f"{name}: expired", signed_by(algorithm, kind, exp=NOW - 10), **about)
    row(f"{name}: of a stranger", signed_by(algorithm, kind, "stranger"), **about)
    row(f"{name}: HMAC with the secret", GOOD, **about)
    row(
        f"{name}: HMAC with the public key",
        lambda kind=kind: hs_token(access_claims(), secret=public_pem(private_key(kind))),
        **about,
    )
    row(f"{name}: empty signature", with_signature(algorithm, kind, lambda _: b""), **about)
    row(
        f"{name}: zero signature",
        with_signature(algorithm, kind, lambda raw: bytes(len(raw))),
        **about,
    )
    row(
        f"{name}: signature of ones",
        with_signature(algorithm, kind, lambda raw: b"\xff" * len(raw)),
        **about,
    )
    row(f"{name}: longer", with_signature(algorithm, kind, lambda raw: raw + b"\0"), **about)
    row(f"{name}: shorter", with_signature(algorithm, kind, lambda raw: raw[:-1]), **about)
    if algorithm.startswith("ES"):
        row(f"{name}: signature in DER", with_signature(algorithm, kind, der), **about)
both_rsa: dict[str, Any] = {
    "kind": "RSA",
    "options": {"JWT_ALGORITHM": "RS256", "JWT_DECODE_ALGORITHMS": ["PS256", "RS512"]},
}
row("RS256 allowed beside PS256", signed_by("RS256", "RSA"), **both_rsa)
row("PS256 allowed beside RS256", signed_by("PS256", "RSA"), **both_rsa)
row("PS256 labelled RS256", relabelled("PS256", "RSA", "RS256"), **both_rsa)
row("RS256 labelled PS256", relabelled("RS256", "RSA", "PS256"), **both_rsa)
row("RS512 labelled RS256", relabelled("RS512", "RSA", "RS256"), **both_rsa)
row("RS384 not allowed", signed_by("RS384", "RSA"), **both_rsa)

# --- Keys that a loader chose, in every dress -----------------------------------

NO_KEY = Deviation(
    "a key from a `decode_key_loader` that cannot be parsed as a key for its `alg`",
    (TypeError, ValueError, UnicodeDecodeError),
    jwt.InvalidKeyError,
    ("The key cannot be used with ... (...)",),
    "the sender chooses the `kid`, so a key that does not match rejects only the token",
    "RFC 7515, section 5.2",
)
UNKNOWN_KEY = Deviation(
    "None as its key, because the `decode_key_loader` does not know its `kid`",
    (TypeError, jwt.InvalidKeyError),
    jwt.InvalidKeyError,
    ("No key for this token",),
    "the sender chooses the `kid`, so an unknown one rejects only the token",
    "RFC 7515, section 4.1.4",
)
WRONG_KIND = Deviation(
    "a key from a `decode_key_loader` that is of a different type than its `alg` needs",
    (jwt.InvalidKeyError,),
    jwt.InvalidKeyError,
    ("The key cannot be used with ... (InvalidKeyError)",),
    "PyJWT's message contains the memory address of an object",
    "RFC 7515, section 5.2",
)
PRIVATE_KEY = Deviation(
    "an RSA private key from a `decode_key_loader`",
    (AttributeError,),
    jwt.InvalidKeyError,
    ("A public key is needed to verify ...",),
    "the sender chooses the `kid`, so a key that does not match rejects only the token",
    "RFC 7515, section 5.2",
)
NO_SECRET = Deviation(
    "an allowed HMAC `alg`, but only `JWT_PUBLIC_KEY` is set",
    (jwt.InvalidKeyError,),
    jwt.InvalidAlgorithmError,
    ("The specified alg value is not allowed",),
    "a key is used only for its own family, and a family without a key is not allowed",
    "RFC 8725, section 3.1",
)

# The dresses of test_attacks.py, by what PyJWT makes of them.
READABLE = [
    *("pem", "ssh", "pem with CRLF", "pem with one newline more", "pem without the last newline"),
]
UNREADABLE = [
    *("der", "jwk", "certificate", "certificate in der", "pem without its markers"),
    *("pem without newlines", "pem with escaped newlines", "pem in UTF-16", "jwk in a list"),
    *("base64 of the der", "base64url of the der", "base64 of the pem", "hex of the der"),
    *("der and a byte", "ssh without its comment", "jwk with spaces", "jwk thumbprint"),
]
BINARY = [
    *("der", "der and a byte", "certificate in der", "pem in UTF-16", "jwk thumbprint"),
    *("point", "short point", "pkcs1 der", "modulus"),
]
# cryptography has learnt to read these, or not, in one release and another.
UNSETTLED = ["pem without newlines", "pem with escaped newlines"]
SIGNERS = {"RSA": "RS256", "P-256": "ES256", "Ed25519": "EdDSA"}
OWN_DRESSES = {
    "RSA": [
        *(*READABLE, *UNREADABLE, "pkcs1", "pkcs1 der", "jwk-set", "modulus", "modulus in decimal"),
    ],
    "P-256": [*READABLE, *UNREADABLE, "point", "short point"],
    "Ed25519": [*READABLE, *UNREADABLE, "point"],
}
# The dresses over which an exception gets out of PyJWT that is none of its own.
LEAKING: dict[str, list[str]] = {
    "RSA": [],
    "P-256": [*UNREADABLE, "point", "short point"],
    "Ed25519": BINARY,
}
ALL_FAMILIES = {"JWT_DECODE_ALGORITHMS": [*SIGNERS.values(), "HS256"]}


def key_row(
    name: str, token: Any, key: Callable[[], Any], deviation: Deviation | None = None
) -> None:
    """A row about the key that a loader chooses."""
    row(f"key: {name}", token, deviation, key=key, options=ALL_FAMILIES)


def same(key: Any) -> Callable[[], Any]:
    """What gives a key that need not be generated."""
    return lambda: key


def rows_of_dress(kind: str, dress: str) -> None:
    """A public key in one dress, as a secret and as the key that it is."""

    def key() -> bytes:
        return every_dress(kind)[dress]

    secret = f"{kind}, {dress}, as a secret"
    key_row(secret, lambda: hs_token(access_claims(), secret=key()), key)
    if dress not in UNSETTLED:
        deviation = NO_KEY if dress in LEAKING[kind] else None
        own = f"{kind}, {dress}, for its own signature"
        key_row(own, signed_by(SIGNERS[kind], kind), key, deviation)


def rows_of_objects(kind: str) -> None:
    """A key as an object of cryptography or of PyJWT."""

    def private() -> Any:
        return private_key(kind)

    def public() -> Any:
        return private().public_key()

    def jwk() -> Any:
        return json.loads(public_dresses(private())["jwk"])

    def pyjwk() -> jwt.PyJWK:
        return jwt.PyJWK(jwk())

    token = signed_by(SIGNERS[kind], kind)
    key_row(f"{kind}, object", token, public)
    key_row(f"{kind}, object, HMAC", GOOD, public, NO_KEY)
    key_row(f"{kind}, private object", token, private, PRIVATE_KEY if kind == "RSA" else None)
    key_row(f"{kind}, private object, HMAC", GOOD, private, NO_KEY)
    key_row(f"{kind}, PyJWK", token, pyjwk)
    key_row(f"{kind}, PyJWK, HMAC", GOOD, pyjwk)
    key_row(f"{kind}, JWK as a dict, HMAC", GOOD, jwk, NO_KEY)


def rows_of_kind(kind: str) -> None:
    """The public key of one kind, where algorithms of other kinds are allowed too."""
    algorithm = SIGNERS[kind]

    def pem() -> str:
        return public_pem(private_key(kind))

    for other in SIGNERS:
        if other != kind:
            token = signed_by(SIGNERS[other], other)
            key_row(f"{kind}, pem, for a signature by {other}", token, pem, WRONG_KIND)
    configured: dict[str, Any] = {
        "kind": kind,
        "options": {"JWT_ALGORITHM": algorithm, "JWT_DECODE_ALGORITHMS": ["HS256"]},
    }
    row(
        f"{algorithm} {kind}: HMAC with the public key, HMAC allowed",
        lambda: hs_token(access_claims(), secret=pem()),
        NO_SECRET,
        **configured,
    )
    row(f"{algorithm} {kind}, HMAC allowed: good", signed_by(algorithm, kind), **configured)


for kind, dresses in OWN_DRESSES.items():
    for dress in dresses:
        rows_of_dress(kind, dress)
    rows_of_objects(kind)
    rows_of_kind(kind)
key_row("secret", GOOD, same(SECRET))
key_row("secret as bytes", GOOD, same(SECRET.encode()))
key_row("other secret", GOOD, same(SECRET[::-1]))
key_row("secret as a PyJWK", GOOD, lambda: octets_jwk(SECRET))
key_row("other secret as a PyJWK", GOOD, lambda: octets_jwk(SECRET[::-1]))
for value in ("", b""):
    key_row(f"{value!r}, HMAC", hs_token(access_claims(), secret=b""), same(value))
key_row("None, HMAC", hs_token(access_claims()), same(None), UNKNOWN_KEY)
for value in (1, 1.5, True, [], {}, (SECRET,), bytearray(SECRET.encode())):
    key_row(f"{value!r}, HMAC", hs_token(access_claims()), same(value), NO_KEY)
for kind, algorithm in SIGNERS.items():
    for value in ("", b"", SECRET):
        key_row(
            f"{value!r:.30} for {algorithm}",
            signed_by(algorithm, kind),
            same(value),
            NO_KEY if kind == "P-256" else None,
        )
    key_row(f"None for {algorithm}", signed_by(algorithm, kind), same(None), UNKNOWN_KEY)
    for value in (1, [], {}):
        key_row(
            f"{value!r} for {algorithm}",
            signed_by(algorithm, kind),
            same(value),
            WRONG_KIND if kind == "Ed25519" else NO_KEY,
        )

# --- Claims -------------------------------------------------------------------

NUMERIC_DATES = {
    claim: Deviation(
        f"a boolean or a numeric string as `{claim}`",
        (None, error),
        refusal,
        (text,),
        "a NumericDate is a JSON number; PyJWT calls `int()`, which accepts more",
        "RFC 7519, section 2",
    )
    for claim, error, refusal, text in (
        (
            "iat",
            jwt.ImmatureSignatureError,
            jwt.InvalidIssuedAtError,
            "Issued At claim (iat) must be an integer.",
        ),
        (
            "nbf",
            jwt.ImmatureSignatureError,
            jwt.DecodeError,
            "Not Before claim (nbf) must be an integer.",
        ),
        (
            "exp",
            jwt.ExpiredSignatureError,
            jwt.DecodeError,
            "Expiration Time claim (exp) must be an integer.",
        ),
    )
}
DIGITS = "1" + "0" * 400

for claim in NUMERIC_DATES:
    for text in (
        *("null", '""', '"x"', '"1e3"', '"NaN"', "[]", "[1]", "{}", "NaN", "Infinity"),
        *("-Infinity", "1e400", "-1e400", "0", "-0", "1", "-1", "1.9", "-0.5", "-1.5"),
        *("1e308", "-1e308", "1e18", str(2**31), str(2**63 - 1), str(2**63), str(2**64)),
        *(str(-(2**63)), DIGITS, f"-{DIGITS}", str(NOW), f"{NOW}.999", str(NOW + DAY)),
        *(f"{NOW + DAY}.5", str(NOW - DAY), f"{NOW - DAY}.5"),
    ):
        claim_row(claim, text)
    for text in ("true", "false", '"0"', '"1"', '" 12 "', '"9999999999"', f'"{NOW - DAY}"'):
        claim_row(claim, text, NUMERIC_DATES[claim])
    for leeway in (2 * DAY, 0.5, datetime.timedelta(days=2)):
        for offset in (-3 * DAY, -DAY, DAY, 3 * DAY):
            claim_row(claim, str(NOW + offset), options={"JWT_DECODE_LEEWAY": leeway})

for text in ("0", str(NOW - DAY), f"-{DIGITS}"):
    claim_row("exp", text, allow_expired=True)

for text in ("null", "true", "1", "1.5", "NaN", '""', '"x"', "[]", '["x"]', "{}", '"\\ud800"'):
    claim_row("sub", text)
    claim_row("sub", text, options={"JWT_VERIFY_SUB": False})
    claim_row("jti", text)
    claim_row("iss", text)
    claim_row("iss", text, options={"JWT_DECODE_ISSUER": "x"})
    claim_row("aud", text)
    claim_row("aud", text, options={"JWT_DECODE_AUDIENCE": "x"})
    claim_row("aud", text, options={"JWT_DECODE_AUDIENCE": ["y", "x"]})
    claim_row("identity", text)
    claim_row("user_claims", text)
# A claim counts at the top only, whatever bears its name further down.
for member in ('"exp":1', '"nbf":4102444800', '"iat":null', '"aud":"x"', '"sub":1', '"jti":1'):
    claim_row("user_claims", f"{{{member}}}")
    claim_row("user_claims", f'[{{{member},"type":"x","fresh":"x","csrf":1}}]')
for text in ('["y","x"]', '["x",1]', '["y"]', '[["x"]]', '"xy"', '["X"]', "[null]", '[""]'):
    claim_row("aud", text, options={"JWT_DECODE_AUDIENCE": "x"})
    claim_row("aud", text, options={"JWT_DECODE_AUDIENCE": ["z", "x"]})
    claim_row("aud", text, options={"JWT_DECODE_AUDIENCE": ("x",)})
for text in ('"X"', '"x "', '"xx"'):
    claim_row("iss", text, options={"JWT_DECODE_ISSUER": "x"})
for text in ('"x"', '"y"', '"z"', '"xy"', '""', '["x"]', "null", "1"):
    claim_row("iss", text, options={"JWT_DECODE_ISSUER": ["x", "y"]})
row("claim iss absent", GOOD, options={"JWT_DECODE_ISSUER": "x"})
row("claim aud absent", GOOD, options={"JWT_DECODE_AUDIENCE": "x"})
row("claim jti absent", hs_token(access_claims(jti=...)))
row("all claims absent but the identity", hs_token({"identity": "alice"}))

# --- Time claims around the moment at which they count ----------------------------

LEEWAYS = [0, 0.5, 1, 1.5, datetime.timedelta(milliseconds=500)]


def clock_row(claim: str, value: float, part: float, leeway: Any) -> None:
    """A row about a time claim ``value`` seconds from a whole second, ``part`` seconds after it."""
    times = {"iat": NOW - DAY, "nbf": NOW - DAY, "exp": NOW + DAY, claim: NOW + value}
    row(
        f"clock: {claim} {value:+}, {part} s later, leeway {leeway}",
        hs_token(access_claims(**times)),
        now=NOW + part,
        options={"JWT_DECODE_LEEWAY": leeway},
    )


for claim, leeway in itertools.product(NUMERIC_DATES, LEEWAYS):
    for part, value in itertools.product((0, 0.25, 0.5, 0.999), (-2, -1, -0.5, 0, 0.5, 1, 1.5, 2)):
        clock_row(claim, value, part, leeway)

# --- Several faults: the first in PyJWT's order is reported ---------------------

BAD_PAYLOAD = "!!!!"
for name, value in {
    "header padding before payload padding": f"!{H}.{BAD_PAYLOAD}.{S}",
    "header JSON before payload padding": f"{b64url(b'[]')}.{BAD_PAYLOAD}.{S}",
    "payload padding before signature padding": f"{H}.{BAD_PAYLOAD}.!!!!",
    "payload padding before kid": f"{json_segment({**HEADER, 'kid': 1})}.{BAD_PAYLOAD}.{S}",
    "payload padding before alg": f"{json_segment({'alg': 'none'})}.{BAD_PAYLOAD}.{S}",
    "signature padding before alg": f"{json_segment({'alg': 'none'})}.{P}.!!!!",
    "signature padding before crit": f"{json_segment({**HEADER, 'crit': []})}.{P}.!!!!",
    "kid before crit": resign(json_segment({**HEADER, "kid": 1, "crit": []}), P),
    "kid before alg": resign(json_segment({"alg": "none", "kid": 1}), P),
    "crit before alg": resign(json_segment({"alg": "none", "crit": []}), P),
    "alg before signature": f"{json_segment({'alg': 'none'})}.{P}.{S}",
    "alg before payload JSON": resign(json_segment({"alg": "none"}), b64url(b"[]")),
    "signature before payload JSON": f"{H}.{b64url(b'[]')}.{S}",
    "signature before expiry": f"{H}.{json_segment(access_claims(exp=1))}.{S}",
    "payload JSON before claims": hs_token(b'[{"exp":1}]'),
    "b64 false with a bad payload": f"{json_segment({**HEADER, 'b64': False})}.{BAD_PAYLOAD}.{S}",
}.items():
    row(f"order: {name}", value)
for name, changes in {
    "iat before nbf": {"iat": None, "nbf": None},
    "iat in the future before nbf": {"iat": 2**40, "nbf": None},
    "nbf before exp": {"nbf": None, "exp": None},
    "nbf in the future before exp": {"nbf": 2**40, "exp": 1},
    "exp before aud": {"exp": 1, "aud": "x"},
    "exp before sub": {"exp": 1, "sub": 1},
    "aud before sub": {"aud": "x", "sub": 1},
    "sub before jti": {"sub": 1, "jti": 1},
    "jti before identity": {"jti": 1, "identity": ...},
    "sub before type": {"sub": 1, "type": "x"},
}.items():
    row(f"order: {name}", hs_token(access_claims(**changes)))
strict: dict[str, Any] = {"options": {"JWT_DECODE_ISSUER": "x", "JWT_DECODE_AUDIENCE": "y"}}
row("order: exp before iss", hs_token(access_claims(exp=1, iss="z")), **strict)
row("order: iss before aud", hs_token(access_claims(iss="z", aud="z")), **strict)
row("order: iss absent before aud", hs_token(access_claims()), **strict)
row("order: aud before jti", hs_token(access_claims(iss="x", aud="z", jti=1)), **strict)


@dataclass
class Draft:
    """A token in the making, which can have several faults at once."""

    header: dict[str, Any]
    claims: dict[str, Any]
    header_json: bytes | None = None
    payload_json: bytes | None = None
    tails: dict[str, str] = field(default_factory=dict)
    """What is added to a segment."""
    secret: str = SECRET
    segments: int = 3

    def add(self, fault: dict[str, Any]) -> None:
        for name, value in fault.items():
            if isinstance(value, dict):
                value = {**getattr(self, name), **value}
            setattr(self, name, value)

    def token(self) -> str:
        claims = {name: value for name, value in self.claims.items() if value is not ...}
        head = json_segment(self.header_json or self.header) + self.tails.get("header", "")
        payload = json_segment(self.payload_json or claims) + self.tails.get("payload", "")
        signing_input = f"{head}.{payload}"
        algorithm = jwt.get_algorithm_by_name("HS256")
        signature = b64url(algorithm.sign(signing_input.encode(), self.secret.encode()))
        segments = [head, payload, signature + self.tails.get("signature", "")]
        return ".".join(segments[: self.segments])


# In the order in which PyJWT looks for them.
FAULTS: dict[str, dict[str, Any]] = {
    "segments": {"segments": 2},
    "header base64url": {"tails": {"header": "!"}},
    "header JSON": {"header_json": b"[]"},
    "payload base64url": {"tails": {"payload": "!"}},
    "signature base64url": {"tails": {"signature": "!"}},
    "kid": {"header": {"kid": 1}},
    "crit": {"header": {"crit": []}},
    "b64": {"header": {"b64": False}},
    "alg": {"header": {"alg": "none"}},
    "signature": {"secret": SECRET[::-1]},
    "payload JSON": {"payload_json": b"[]"},
    "iat": {"claims": {"iat": 2**40}},
    "nbf": {"claims": {"nbf": None}},
    "exp": {"claims": {"exp": 1}},
    "iss": {"claims": {"iss": "z"}},
    "aud": {"claims": {"aud": "z"}},
    "sub": {"claims": {"sub": 1}},
    "jti": {"claims": {"jti": 1}},
}
# These are ours, and we look for them last, but for the expiry.
OWN_FAULTS: dict[str, dict[str, Any]] = {
    "identity": {"claims": {"identity": ...}},
    "type": {"claims": {"type": "x"}},
    "fresh": {"claims": {"fresh": "x"}},
    "csrf": {"claims": {"csrf": 1}},
}


def faulty(*names: str) -> str:
    """A token with these faults, and no other."""
    draft = Draft(dict(HEADER), access_claims(iss="x", aud="y"))
    for name in names:
        draft.add({**FAULTS, **OWN_FAULTS}[name])
    return draft.token()


EXPIRED_AND_WRONG = Deviation(
    "an `exp` in the past, and an invalid claim of the extension",
    (jwt.ExpiredSignatureError,),
    qje.JWTDecodeError,
    ("Missing claim: identity", *[f"Missing or invalid claim: {name}" for name in OWN_FAULTS]),
    "`expired_token_loader` must only see tokens that are valid except for their `exp`",
    "RFC 7519, section 7.2",
)
row("order: no fault", faulty(), **strict)
for name in FAULTS:
    row(f"order: {name} alone", faulty(name), **strict)
for first, second in itertools.combinations([*FAULTS, *OWN_FAULTS], 2):
    if first in FAULTS:
        is_both = first == "exp" and second in OWN_FAULTS
        deviation = EXPIRED_AND_WRONG if is_both else None
        row(f"order: {first} and {second}", faulty(first, second), deviation, **strict)
for number, name in enumerate(FAULTS):
    rest = [*list(FAULTS)[number:], *OWN_FAULTS]
    row(f"order: {name} and all that follow", faulty(*rest), **strict)

# --- Claims of the extension, which PyJWT does not know -------------------------

REQUIRED = Deviation(
    "no identity claim",
    (None,),
    qje.JWTDecodeError,
    ("Missing claim: identity",),
    "a token must identify someone, as in 0.1.0",
    "RFC 7519, section 4",
)
OWN_CLAIMS = {
    claim: Deviation(
        subject,
        (None,),
        qje.JWTDecodeError,
        (f"Missing or invalid claim: {claim}",),
        "the extension defines this private claim, and no other values have a meaning",
        "RFC 7519, section 4.3",
    )
    for claim, subject in (
        ("type", "a `type` other than `access` and `refresh`"),
        ("fresh", "a `fresh` that is not a boolean, a finite number or null"),
        ("csrf", "a `csrf` that is not a string"),
    )
}
row("extension: no identity", hs_token(access_claims(identity=...)), REQUIRED)
row("extension: no claims at all", hs_token({}), REQUIRED)
DEVIATIONS["payload JSON: empty object"] = REQUIRED
for text in ('"x"', '""', '"ACCESS"', "null", "1", "[]", '["access"]', "{}", "true"):
    claim_row("type", text, OWN_CLAIMS["type"])
for text in ('"x"', "[]", "{}", "NaN", "Infinity", '"9999999999"'):
    claim_row("fresh", text, OWN_CLAIMS["fresh"])
for text in ("null", "true", "false", "0", "1.5", str(NOW + DAY), DIGITS, "1e308"):
    claim_row("fresh", text)
for text in ("null", "1", "[]", "{}", "true"):
    claim_row("csrf", text, OWN_CLAIMS["csrf"])
for text in ('"x"', '""', '"é"', '"\\ud800"'):
    claim_row("csrf", text)
row("extension: refresh token", hs_token(access_claims(type="refresh", fresh=...)))


async def judge(name: str) -> tuple[Any, Verdict, Verdict, list[Reason]]:
    """A row's token, our verdict, PyJWT's with the same options, and what may explain ours.

    Where a loader chooses the key, or the configuration has none, only the table knows why.
    """
    entry = ROWS[name]
    token = entry.token() if callable(entry.token) and entry.token is not str else entry.token
    key: Any = SECRET if entry.kind is None else public_pem(private_key(entry.kind))
    secrets = {} if entry.kind is None else {"JWT_SECRET_KEY": None, "JWT_PUBLIC_KEY": key}
    app = make_app(**secrets, **entry.options)
    if entry.key is not None:
        key = entry.key()
        manager_of(app).decode_key_loader(lambda claims, headers: key)
    algorithms = [
        entry.options.get("JWT_ALGORITHM", "HS256"),
        *entry.options.get("JWT_DECODE_ALGORITHMS", ()),
    ]
    async with app.app_context():
        with stopped_clock(entry.now):
            ours = verdict(lambda: qje.decode_token(token, allow_expired=entry.allow_expired))
    theirs = verdict_of_pyjwt(entry, token, key, algorithms)
    if entry.kind is None and entry.key is None and isinstance(token, (str, bytes)):
        why = reasons(
            token,
            key,
            algorithms,
            max_size=entry.options.get("JWT_MAX_TOKEN_SIZE", 16_384),
            allow_expired=entry.allow_expired,
        )
    else:
        why = DEVIATIONS[name].reasons() if name in DEVIATIONS else []
    return token, ours, filled_in(theirs), why


def verdict_of_pyjwt(entry: Row, token: Any, key: Any, algorithms: list[str]) -> Verdict:
    def decode(verify_exp: bool) -> Verdict:
        return verdict(
            lambda: jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=entry.options.get("JWT_DECODE_AUDIENCE"),
                issuer=entry.options.get("JWT_DECODE_ISSUER"),
                leeway=entry.options.get("JWT_DECODE_LEEWAY", 0),
                options={
                    "verify_sub": entry.options.get("JWT_VERIFY_SUB", True),
                    "verify_exp": verify_exp,
                },
            )
        )

    with stopped_clock(entry.now):
        return expiry_last(decode(not entry.allow_expired), lambda: decode(False))


@pytest.mark.parametrize("name", [name for name in ROWS if name not in DEVIATIONS])
async def test_odd_token_gets_the_verdict_of_pyjwt(name: str) -> None:
    token, ours, theirs, why = await judge(name)
    compare(token, ours, theirs, why)
    assert isinstance(ours, Refusal) is isinstance(theirs, Refusal), ours
    if isinstance(ours, Refusal):
        assert is_same_refusal(ours, theirs), f"{ours!r} for {theirs!r}"


@pytest.mark.parametrize("name", DEVIATIONS)
async def test_deviation_is_a_refusal_for_the_reason_given(name: str) -> None:
    deviation = DEVIATIONS[name]
    token, ours, theirs, why = await judge(name)
    compare(token, ours, theirs, why)
    assert isinstance(ours, Refusal), ours
    assert any(reason.explains(ours) for reason in deviation.reasons()), ours
    if not OLDER_PYJWT:
        assert not is_same_refusal(ours, theirs), "deviates no more"
        assert (theirs.error if isinstance(theirs, Refusal) else None) in deviation.theirs


def test_table_is_large_and_every_deviation_is_explained() -> None:
    assert len(ROWS) >= 400
    assert set(DEVIATIONS) <= set(ROWS)
    for deviation in DEVIATIONS.values():
        assert deviation.reason
        assert re.fullmatch(r"(RFC \d{4}, section [\d.]+(; )?)+", deviation.rfc)


@pytest.mark.parametrize("kind", OWN_DRESSES)
def test_every_dress_of_a_public_key_has_its_rows(kind: str) -> None:
    assert sorted(OWN_DRESSES[kind]) == sorted(every_dress(kind))


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_one_for_pyjwt_and_no_two_look_alike(name: str) -> None:
    """Else the rows about their order would show nothing."""
    verdicts = {
        other: verdict_of_pyjwt(ROWS[f"order: {other} alone"], faulty(other), SECRET, ["HS256"])
        for other in FAULTS
    }
    assert isinstance(verdicts[name], Refusal)
    assert list(verdicts.values()).count(verdicts[name]) == 1


READABLE_KEYS = [
    f"key: {kind}, {dress}, for its own signature" for kind in SIGNERS for dress in READABLE
]


@pytest.mark.parametrize(
    "name", [*READABLE_KEYS, *(name for name in ROWS if name.endswith(": good"))]
)
async def test_row_that_is_called_good_is_accepted(name: str) -> None:
    """Two signatures that both sides refuse would look like agreement."""
    _, ours, theirs, _ = await judge(name)
    assert not isinstance(ours, Refusal)
    assert not isinstance(theirs, Refusal)


async def test_oracle_itself_tells_good_from_bad() -> None:
    """So that a broken table cannot make both sides refuse everything."""
    entries = [ROWS[name] for name in ROWS if name[0] in "hc"]
    verdicts = [verdict_of_pyjwt(entry, entry.token, SECRET, ["HS256"]) for entry in entries]
    refused = sum(isinstance(each, Refusal) for each in verdicts)
    assert refused > 60
    assert len(verdicts) - refused > 60


# --- The page that shows the deviations -------------------------------------------

BEGIN, END = "<!-- deviations: begin -->\n", "<!-- deviations: end -->\n"


def name_of(error: type[Exception]) -> str:
    return f"`jwt.{error.__name__}`" if issubclass(error, jwt.PyJWTError) else f"`{error.__name__}`"


def what_pyjwt_does(deviation: Deviation) -> str:
    """For example ``accepts it, or raises jwt.DecodeError with a different message``."""
    errors = [error for error in deviation.theirs if error is not None]
    phrases = ["accepts it"] if None in deviation.theirs else []
    if errors:
        names = " or ".join(map(name_of, errors))
        differs = any(issubclass(deviation.error, error) for error in errors)
        phrases.append(f"raises {names}{' with a different message' if differs else ''}")
    return ", or ".join(phrases)


def rendered_table() -> str:
    """The deviations as a Markdown table, one row for each kind of them."""
    lines = [
        f"The tests give {len(ROWS):,} tokens to both libraries. The results differ for these:",
        "",
        "| the token has | PyJWT | this library raises | reason | reference | test cases |",
        "|---|---|---|---|---|---|",
    ]
    for deviation in dict.fromkeys(DEVIATIONS.values()):
        texts = ", ".join(f"`{text}`" for text in deviation.texts)
        cells = [
            deviation.subject,
            what_pyjwt_does(deviation),
            f"{name_of(deviation.error)}: {texts}",
            deviation.reason,
            deviation.rfc,
            str(list(DEVIATIONS.values()).count(deviation)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_page_shows_the_deviations() -> None:
    shown = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown == rendered_table(), (
        "update the table with: PYTHONPATH=tests python tests/security/test_oracle.py"
    )


def test_page_on_security_has_the_figures_of_the_table() -> None:
    kinds = len(set(DEVIATIONS.values()))
    figures = f"{len(ROWS):,} tokens, {len(DEVIATIONS)} of them deviate, in {kinds} kinds"
    assert figures in (DOCS / "security.md").read_text("utf-8")


@pytest.mark.parametrize("deviation", dict.fromkeys(DEVIATIONS.values()), ids=lambda d: d.subject)
async def test_everything_that_the_page_says_of_pyjwt_occurs(deviation: Deviation) -> None:
    names = [name for name, known in DEVIATIONS.items() if known == deviation]
    verdicts = [(await judge(name))[2] for name in names]
    classes = {each.error if isinstance(each, Refusal) else None for each in verdicts}
    assert classes
    if not OLDER_PYJWT:
        assert classes == set(deviation.theirs)


def write_page() -> None:
    """Put the table of now between the marks."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{rendered_table()}{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    write_page()
