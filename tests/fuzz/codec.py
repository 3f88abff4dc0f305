"""Target "codec": hostile tokens, judged by ``decode_token`` and by ``jwt.decode``.

An input is a byte that picks the options, a byte of flags, and a text. The text is a token as it
is, or the parts of one that is put together and signed here: without a good signature no input
would get as far as the claims.

What PyJWT refuses must be refused with its class and its text. Where the module is stricter,
:func:`reasons` says why, from the token alone; a token that is accepted must have no such reason.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import datetime
import functools
import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jwt

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import CSRFError
from quart_jwt_extended.tokens import decode_jwt
from support import SECRET, b64url, make_app
from support.signing_keys import private_key, public_pem

# The clock stands still, so that a finding is one tomorrow; half a second shows who rounds.
NOW = 1_700_000_000.5

SIGNED_JSON, SIGNED_TEXT, EDITED = 1, 2, 3
AS_TEXT, ALLOW_EXPIRED, WITH_CSRF = 4, 8, 16
CSRF = "c"

KINDS = {"RS": "RSA", "PS": "RSA", "ES": "P-256", "Ed": "Ed25519"}


@dataclass
class Options:
    """The options of an app, and what :func:`jwt.decode` calls them."""

    app: dict[str, Any] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ("HS256",)
    pyjwt: dict[str, Any] = field(default_factory=dict)
    identity: str = "identity"
    max_size: int = 16_384
    # Whether decode_jwt can be told the same.
    is_explicit: bool = True

    @functools.cached_property
    def context(self) -> contextvars.Context:
        """One that an app with these options has been pushed in, once for all inputs."""
        app = make_app(
            **self.app,
            JWT_PUBLIC_KEY=self.key(self.algorithms[0]),
            JWT_ALGORITHM=self.algorithms[0],
            JWT_DECODE_ALGORITHMS=self.algorithms,
        )

        async def enter() -> contextvars.Context:
            await app.app_context().push()
            return contextvars.copy_context()

        with contextlib.closing(asyncio.new_event_loop()) as loop:
            return loop.run_until_complete(enter())

    def key(self, algorithm: str) -> str:
        kind = KINDS.get(algorithm[:2])
        return SECRET if kind is None else public_pem(private_key(kind))


CONFIGURATIONS = [
    Options(),
    Options(
        {"JWT_DECODE_AUDIENCE": "x", "JWT_DECODE_ISSUER": "y"},
        pyjwt={"audience": "x", "issuer": "y"},
    ),
    Options(
        {
            "JWT_DECODE_AUDIENCE": ["z", "x"],
            "JWT_DECODE_ISSUER": ["y", "z"],
            "JWT_DECODE_LEEWAY": 10.5,
        },
        pyjwt={"audience": ["z", "x"], "issuer": ["y", "z"], "leeway": 10.5},
    ),
    Options({"JWT_IDENTITY_CLAIM": "sub"}, identity="sub"),
    Options(
        {"JWT_VERIFY_SUB": False, "JWT_USER_CLAIMS": "u"},
        pyjwt={"options": {"verify_sub": False}},
        is_explicit=False,
    ),
    Options(algorithms=("HS512", "HS256", "HS384")),
    Options({"JWT_SIGNATURE_CACHE_SIZE": 4}, algorithms=("EdDSA",)),
    Options({"JWT_SIGNATURE_CACHE_SIZE": 1}, algorithms=("RS256", "PS256", "HS256")),
    Options(algorithms=("ES256",)),
    Options({"JWT_MAX_TOKEN_SIZE": 200}, max_size=200, is_explicit=False),
]


class Refusal(NamedTuple):
    """How a token is refused."""

    error: type[BaseException]
    text: str


Verdict = dict[str, Any] | Refusal


class Reason(NamedTuple):
    """Why the module refuses what PyJWT may accept, and how."""

    error: type[Exception]
    pattern: str

    def explains(self, refusal: Refusal) -> bool:
        return issubclass(refusal.error, self.error) and bool(
            re.match(self.pattern, refusal.text, re.DOTALL)
        )


# --- From an input to a token -------------------------------------------------


def check(data: bytes) -> str:
    """Judge one input; return the verdict in short."""
    if len(data) < 2:
        return "too short"
    options = CONFIGURATIONS[data[0] % len(CONFIGURATIONS)]
    flags = data[1]
    raw = build(options, flags & 3, data[2:])
    token: str | bytes = raw
    if flags & AS_TEXT:
        # A byte that is no UTF-8 becomes a lone surrogate.
        token = raw.decode("utf-8", "surrogateescape")
    with stopped_clock():
        return options.context.run(
            judge, options, token, bool(flags & ALLOW_EXPIRED), CSRF if flags & WITH_CSRF else None
        )


def build(options: Options, shape: int, body: bytes) -> bytes:
    """The token that an input describes."""
    position, edit = b"", b""
    if shape == EDITED:
        position, edit, body = body[:2], body[2:3], body[3:]
    if shape in (SIGNED_JSON, EDITED):
        # Without a line of its own, the header is the usual one.
        header, found, claims = body.rpartition(b"\n")
        if not found:
            header = json.dumps({"alg": options.algorithms[0]}).encode()
        token = sign(options, header, f"{b64url(header)}.{b64url(claims)}".encode())
    elif shape == SIGNED_TEXT:
        token = sign(options, segment_bytes(body.split(b".")[0]) or b"", body)
    else:
        return body
    if edit:
        at = int.from_bytes(position, "big") % (len(token) + 1)
        token = token[:at] + edit + token[at + 1 :]
    return token


def sign(options: Options, header: bytes, signing_input: bytes) -> bytes:
    """Sign with the algorithm that the header names, if it is one that may be accepted."""
    algorithm = options.algorithms[0]
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, RecursionError):
        named = json.loads(header)["alg"]
        algorithm = named if named in options.algorithms else algorithm
    kind = KINDS.get(algorithm[:2])
    key = SECRET.encode() if kind is None else private_key(kind)
    signature = jwt.get_algorithm_by_name(algorithm).sign(signing_input, key)
    return signing_input + b"." + b64url(signature).encode()


class StoppedDatetime(datetime.datetime):
    """What PyJWT takes for the time of the day."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return datetime.datetime.fromtimestamp(NOW, tz)


@contextlib.contextmanager
def stopped_clock() -> Iterator[None]:
    """Stop the clock of both sides."""
    theirs, ours = jwt.api_jwt.datetime, time.time  # type: ignore[attr-defined]
    jwt.api_jwt.datetime = StoppedDatetime  # type: ignore[attr-defined]
    time.time = lambda: NOW
    try:
        yield
    finally:
        jwt.api_jwt.datetime, time.time = theirs, ours  # type: ignore[attr-defined]


# --- Both verdicts ------------------------------------------------------------


def judge(options: Options, token: str | bytes, allow_expired: bool, csrf: str | None) -> str:
    """Compare all ways to judge a token; there must be an app context."""
    ours = verdict(lambda: qje.decode_token(token, csrf, allow_expired))
    # What was remembered the first time may not change what is said the second time.
    again = verdict(lambda: qje.decode_token(token, csrf, allow_expired))
    assert identical(ours, again), f"{token!r}: {ours!r}, and the second time {again!r}"
    if options.is_explicit:
        check_explicit(options, token, allow_expired, csrf, ours)
    check_headers(options, token)

    theirs = verdict_of_pyjwt(options, token, allow_expired)
    if isinstance(ours, Refusal):
        assert issubclass(ours.error, (jwt.InvalidTokenError, qje.JWTDecodeError, CSRFError)), (
            f"{token!r}: {ours!r} is not about the token"
        )
        if not same_refusal(ours, theirs):
            why = reasons(options, token, allow_expired, csrf)
            assert any(reason.explains(ours) for reason in why), (
                f"{token!r}: {ours!r}, PyJWT {theirs!r}, reasons {why!r}"
            )
        return f"{ours.error.__name__}: {ours.text.partition(': ')[0]}"
    assert not isinstance(theirs, Refusal), f"{token!r}: accepted, PyJWT {theirs!r}"
    why = reasons(options, token, allow_expired, csrf)
    assert not why, f"{token!r}: accepted in spite of {why!r}"
    expected = filled_in(options, theirs)
    assert identical(ours, expected), f"{token!r}: {ours!r} is not {expected!r}"
    return "accepted"


def verdict(decode: Callable[[], dict[str, Any]]) -> Verdict:
    try:
        return decode()
    except Exception as error:
        return Refusal(type(error), str(error))


def verdict_of_pyjwt(options: Options, token: str | bytes, allow_expired: bool) -> Verdict:
    arguments = dict(options.pyjwt)
    arguments["options"] = {**arguments.get("options", {}), "verify_exp": not allow_expired}
    algorithms = list(options.algorithms)
    key = options.key(named_algorithm(token))
    return verdict(lambda: jwt.decode(token, key, algorithms, **arguments))


def named_algorithm(token: str | bytes) -> str:
    """The ``alg`` of a header; "" where none can be read, and PyJWT will say so."""
    try:
        algorithm = jwt.get_unverified_header(token)["alg"]
    except Exception:
        return ""
    return algorithm if isinstance(algorithm, str) else ""


def check_explicit(
    options: Options, token: str | bytes, allow_expired: bool, csrf: str | None, ours: Verdict
) -> None:
    """``decode_jwt``, told the same by arguments, must say the same."""
    theirs = verdict(
        lambda: decode_jwt(
            token,
            options.key(named_algorithm(token)),
            list(options.algorithms),
            options.identity,
            "user_claims",
            csrf,
            options.pyjwt.get("audience"),
            options.pyjwt.get("leeway", 0),
            allow_expired,
            options.pyjwt.get("issuer"),
        )
    )
    assert identical(ours, theirs), f"{token!r}: {ours!r}, decode_jwt {theirs!r}"


def check_headers(options: Options, token: str | bytes) -> None:
    """The header before its verification is what PyJWT reads, or is refused for a reason."""
    ours = verdict(lambda: qje.get_unverified_jwt_headers(token))
    theirs = verdict(lambda: jwt.get_unverified_header(token))
    if not isinstance(ours, Refusal):
        assert identical(ours, theirs), f"{token!r}: header {ours!r}, PyJWT {theirs!r}"
        return
    assert issubclass(ours.error, jwt.InvalidTokenError), f"{token!r}: header {ours!r}"
    why = [*reasons_of_text(options, token), *reasons_of_header(token)]
    assert same_refusal(ours, theirs) or any(reason.explains(ours) for reason in why), (
        f"{token!r}: header {ours!r}, PyJWT {theirs!r}, reasons {why!r}"
    )


def identical(ours: Any, theirs: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart, and takes NaN for NaN."""
    if type(ours) is not type(theirs):
        return False
    try:
        return repr(ours) == repr(theirs)
    except RecursionError:
        # A document that is just not too deep to be read can be too deep to be shown.
        return not isinstance(ours, Refusal)


def same_refusal(ours: Refusal, theirs: Verdict) -> bool:
    """Whether both refuse with one class, or ours with a subclass, and with one text."""
    if not isinstance(theirs, Refusal):
        # How deep a document may be is a question of how deep the stack is already.
        return "recursion" in ours.text
    if not issubclass(theirs.error, jwt.PyJWTError):
        return issubclass(ours.error, jwt.InvalidTokenError)
    if not issubclass(ours.error, theirs.error):
        return False
    if "recursion" in theirs.text or "digits" in theirs.text:
        return ours.text.partition(": ")[0] == theirs.text.partition(": ")[0]
    return ours.text == theirs.text


def filled_in(options: Options, claims: dict[str, Any]) -> dict[str, Any]:
    """The claims with what a token of another issuer may lack, in the order of the module."""
    claims.setdefault("jti", None)
    claims.setdefault("type", "access")
    if claims["type"] == "access":
        claims.setdefault("fresh", False)
    claims.setdefault(options.app.get("JWT_USER_CLAIMS", "user_claims"), {})
    return claims


# --- Where the module is stricter ---------------------------------------------


def reasons(
    options: Options, token: str | bytes, allow_expired: bool, csrf: str | None
) -> list[Reason]:
    """All that the module holds against a token, and PyJWT does not, or words otherwise.

    The payload has its say only under a good signature: nothing in it may be looked at before.
    """
    found = [*reasons_of_text(options, token), *reasons_of_header(token)]
    try:
        algorithms = list(options.algorithms)
        key = options.key(named_algorithm(token))
        payload = jwt.PyJWS().decode(token, key, algorithms)
    except Exception:
        return found
    return [*found, *reasons_of_payload(options, payload, allow_expired, csrf)]


def reasons_of_text(options: Options, token: str | bytes) -> Iterator[Reason]:
    if isinstance(token, str):
        try:
            token = token.encode()
        except UnicodeEncodeError:
            yield Reason(jwt.DecodeError, "Invalid token: it holds a lone surrogate$")
            token = token.encode("utf-8", "surrogateescape")
    if len(token) > options.max_size:
        yield Reason(jwt.DecodeError, "Token is too long: ")
    if token.count(b".") < 2:
        return
    segments = [*token.rpartition(b".")[0].split(b".", 1), token.rpartition(b".")[2]]
    for name, segment in zip(("header", "payload", "crypto"), segments, strict=True):
        if b"=" in segment:
            yield Reason(jwt.DecodeError, f"Invalid {name} padding$")


def reasons_of_header(token: str | bytes) -> Iterator[Reason]:
    if isinstance(token, str):
        token = token.encode("utf-8", "surrogateescape")
    raw = segment_bytes(token.split(b".")[0])
    if raw is None:
        return
    yield from reasons_of_json("header", raw)
    with contextlib.suppress(ValueError, RecursionError):
        header = json.loads(raw)
        if isinstance(header, dict) and header.get("b64") is False:
            # PyJWT shows such a header, though it cannot verify a token of this form.
            yield Reason(jwt.InvalidTokenError, ".* '?b64'? header")


def segment_bytes(segment: bytes) -> bytes | None:
    """The bytes of a segment, if it is one."""
    try:
        return base64.b64decode(segment + b"=" * (-len(segment) % 4), b"-_", validate=True)
    except ValueError:
        return None


def reasons_of_json(name: str, raw: bytes) -> Iterator[Reason]:
    fault = f"Invalid {name} string: "
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        yield Reason(jwt.DecodeError, f"{fault}must be UTF-8$")
        return
    if json.detect_encoding(raw) != "utf-8":
        yield Reason(jwt.DecodeError, fault)
        return
    members: list[list[str]] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members.append([member for member, _ in pairs])
        return dict(pairs)

    with contextlib.suppress(ValueError, RecursionError):
        # The outermost object is the last to be complete, if it is an object.
        if isinstance(json.loads(text, object_pairs_hook=note), dict) and len(
            set(members[-1])
        ) < len(members[-1]):
            yield Reason(jwt.DecodeError, f"{fault}duplicate member name$")


def reasons_of_payload(
    options: Options, payload: bytes, allow_expired: bool, csrf: str | None
) -> Iterator[Reason]:
    yield from reasons_of_json("payload", payload)
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        return
    if not isinstance(claims, dict):
        return
    times = {"iat": "Issued At", "nbf": "Not Before", "exp": "Expiration Time"}
    for name, title in times.items():
        if name in claims and not is_number(claims[name]) and not (name == "exp" and allow_expired):
            yield Reason(jwt.InvalidTokenError, rf"{title} claim \({name}\) must be an integer\.$")
    if options.identity not in claims:
        yield Reason(qje.JWTDecodeError, f"Missing claim: {options.identity}$")
    if claims.get("type", "access") not in ("access", "refresh"):
        yield Reason(qje.JWTDecodeError, "Missing or invalid claim: type$")
    fresh = claims.get("fresh", False)
    if not isinstance(fresh, bool) and not is_number(fresh):
        yield Reason(qje.JWTDecodeError, "Missing or invalid claim: fresh$")
    if not isinstance(claims.get("csrf", ""), str):
        yield Reason(qje.JWTDecodeError, "Missing or invalid claim: csrf$")
    if csrf is not None and "csrf" not in claims:
        yield Reason(qje.JWTDecodeError, "Missing claim: csrf$")
    elif csrf is not None and claims["csrf"] != csrf:
        yield Reason(CSRFError, "CSRF double submit tokens do not match$")


def is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


# --- New inputs ---------------------------------------------------------------

VALUES = [
    *("null", "true", "false", "0", "-0", "1", "-1", "1.5", "1e308", "1e309", "NaN", "-Infinity"),
    *('""', '"x"', '"y"', '"1"', '"\\ud800"', '"\\u0000"', f'"{CSRF}"', "1" + "0" * 400),
    *("[]", "[1]", '["x"]', "{}", '{"a":1,"a":2}', "[[[[]]]]"),
    *("9007199254740993", "-9223372036854775809", "18446744073709551616"),
]
TIMES = ["1700000000", "1700000001", "1700000000.9", "1699999990", "1700000011", "4102444800"]
TIMES += ["1699999989.5", "17e8", "1700000010", '"4102444800"']

# Members of claims and headers, each with values that are good for it, or just not.
CLAIMS = {
    **dict.fromkeys(("exp", "nbf", "iat", "\\u0065xp"), TIMES),
    "iss": ['"y"', '"z"', '"yz"', '["y"]'],
    "aud": ['"x"', '["q","x"]', '["x",1]', '[1,"x"]', '["x",null]', '"xz"', '["z",["x"]]', '[""]'],
    "type": ['"access"', '"refresh"', '"Access"', '["access"]'],
    "fresh": ["true", *TIMES],
    **dict.fromkeys(("sub", "jti", "identity", "csrf", "user_claims", "u", "x", "é"), VALUES),
}
ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "none", "HS255"]
PARAMETERS = {
    "alg": [f'"{name}"' for name in ALGORITHMS],
    "crit": ['["b64"]', '["b64","b64"]', '["b64",1]', '["x"]', '[["b64"]]', '"b64"'],
    "b64": ["true", "false"],
    **dict.fromkeys(("kid", "typ", "jwk", "zip", "x"), VALUES),
}

# Pieces for libFuzzer's own mutations.
WORDS = [f'"{name}":' for name in (*CLAIMS, *PARAMETERS)] + [f'"{name}"' for name in ALGORITHMS]
WORDS += [
    *VALUES,
    *TIMES,
    *CLAIMS["aud"],
    '["b64"]',
    "\\u0061",
    "\n",
    ".",
    "=",
    "\ufeff",
    "{",
    "}",
    ",",
]

MEMBER = re.compile(rb'"(?:[^"\\]|\\.)*":')


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a member of the header or of the claims, or how an input is read; or begin anew."""
    if len(data) < 2 or rng.random() < 0.3:
        return good_input(rng)
    if rng.random() < 0.15:
        return bytes([rng.randrange(len(CONFIGURATIONS)), random_flags(rng)]) + data[2:]
    header, separator, claims = data[2:].rpartition(b"\n")
    if rng.random() < 0.3:
        header, separator = mutate_object(header or b'{"alg":"HS256"}', PARAMETERS, rng), b"\n"
    else:
        claims = mutate_object(claims, CLAIMS, rng)
    return data[:2] + header + separator + claims


def random_flags(rng: random.Random) -> int:
    shape = rng.choice([SIGNED_JSON] * 5 + [0, SIGNED_TEXT, EDITED])
    return shape | sum(flag for flag in (AS_TEXT, ALLOW_EXPIRED, WITH_CSRF) if rng.random() < 0.3)


def good_input(rng: random.Random) -> bytes:
    """Claims that the options let in, but for a few changes."""
    index = rng.randrange(len(CONFIGURATIONS))
    options = CONFIGURATIONS[index]
    claims = {options.identity: "alice", "exp": 4102444800, "csrf": CSRF, "jti": "1"}
    expected = {"iss": "y", "aud": ["x"]}
    claims |= expected if "audience" in options.pyjwt else {}
    text = json.dumps(claims, separators=(",", ":")).encode()
    for _ in range(rng.randrange(3)):
        text = mutate_object(text, CLAIMS, rng)
    return bytes([index, SIGNED_JSON]) + text


def mutate_object(text: bytes, members: dict[str, list[str]], rng: random.Random) -> bytes:
    """Add a member to the text of an object, or replace, repeat or drop one."""
    name = rng.choice([*members])
    values = VALUES if rng.random() < 0.2 else members[name]
    member = f'"{name}":{rng.choice(values)}'.encode()
    places = [match.start() for match in MEMBER.finditer(text)]
    if not places or not text.startswith(b"{"):
        return b"{" + member + b"}"
    at = rng.choice(places)
    end = min((place for place in places if place > at), default=text.rfind(b"}") + 1)
    rest = text[end:]
    last = b"," if rest else b"}"
    return rng.choice(
        [
            text[:at] + member + b"," + text[at:],
            text[:at] + member + last + rest,
            text[:at] + text[at : end - 1] + b"," + text[at:],
            text[:at] + rest,
        ]
    )
