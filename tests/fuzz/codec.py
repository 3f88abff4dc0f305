"""Target "codec": hostile tokens, judged by ``decode_token`` and by ``jwt.decode``.

An input is a byte that picks the options, a byte of flags, and a text. The text is a token as it
is, or the parts of one that is put together and signed here: without a good signature no input
would get as far as the claims.

:mod:`support.oracle` has the rules. What a second call, ``decode_jwt`` with the same options and
``get_unverified_jwt_headers`` say is compared as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import json
import random
import re
from dataclasses import dataclass, field
from typing import Any

import jwt

import quart_jwt_extended as qje
from quart_jwt_extended.tokens import decode_jwt
from support import FAR_FUTURE, SECRET, b64url, make_app
from support.oracle import (
    Refusal,
    Verdict,
    compare,
    expiry_last,
    filled_in,
    is_identical,
    is_same_refusal,
    reasons,
    reasons_of_header,
    reasons_of_text,
    segment_bytes,
    stopped_clock,
    verdict,
)
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
    with stopped_clock(NOW):
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


# --- Both verdicts ------------------------------------------------------------


def judge(options: Options, token: str | bytes, allow_expired: bool, csrf: str | None) -> str:
    """Compare all ways to judge a token; there must be an app context."""
    ours = verdict(lambda: qje.decode_token(token, csrf, allow_expired))
    # What was remembered the first time may not change what is said the second time.
    again = verdict(lambda: qje.decode_token(token, csrf, allow_expired))
    assert is_identical(ours, again), f"{token!r}: {ours!r}, and the second time {again!r}"
    if options.is_explicit:
        check_explicit(options, token, allow_expired, csrf, ours)
    check_headers(options, token)

    key, algorithms = options.key(named_algorithm(token)), list(options.algorithms)
    arguments = dict(options.pyjwt)
    checks = arguments.get("options", {})

    def decode(verify_exp: bool) -> Verdict:
        arguments["options"] = {**checks, "verify_exp": verify_exp}
        return verdict(lambda: jwt.decode(token, key, algorithms, **arguments))

    theirs = expiry_last(decode(not allow_expired), lambda: decode(False))
    why = reasons(
        token,
        key,
        algorithms,
        identity=options.identity,
        max_size=options.max_size,
        allow_expired=allow_expired,
        csrf=csrf,
    )
    user_claims = options.app.get("JWT_USER_CLAIMS", "user_claims")
    compare(token, ours, filled_in(theirs, user_claims), why)
    if isinstance(ours, Refusal):
        return f"{ours.error.__name__}: {ours.text.partition(': ')[0]}"
    return "accepted"


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
    assert is_identical(ours, theirs), f"{token!r}: {ours!r}, decode_jwt {theirs!r}"


def check_headers(options: Options, token: str | bytes) -> None:
    """The header before its verification is what PyJWT reads, or is refused for a reason."""
    ours = verdict(lambda: qje.get_unverified_jwt_headers(token))
    theirs = verdict(lambda: jwt.get_unverified_header(token))
    if not isinstance(ours, Refusal):
        assert is_identical(ours, theirs), f"{token!r}: header {ours!r}, PyJWT {theirs!r}"
        return
    assert issubclass(ours.error, jwt.InvalidTokenError), f"{token!r}: header {ours!r}"
    why = [*reasons_of_text(token, options.max_size), *reasons_of_header(token)]
    assert is_same_refusal(ours, theirs) or any(reason.explains(ours) for reason in why), (
        f"{token!r}: header {ours!r}, PyJWT {theirs!r}, reasons {why!r}"
    )


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
    claims = {options.identity: "alice", "exp": FAR_FUTURE, "csrf": CSRF, "jti": "1"}
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
