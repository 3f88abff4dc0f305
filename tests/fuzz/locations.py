"""Target "locations": raw requests, judged by the module and by Quart's own properties.

An input is a byte that picks an application, a byte that picks a method, and a text: the query
string, a line for each header, an empty line, the body. Single bytes stand for whole tokens, which
no mutation could keep intact, and one cuts the body into the chunks in which it arrives.

The comparison is :class:`raw_requests.Probe`'s. The same request goes to a protected view too: it
gets in if, and only if, a token was found, and any other answer is a 4xx.
"""

from __future__ import annotations

import asyncio
import functools
import random
from typing import Any

import jwt
from werkzeug.exceptions import HTTPException

from quart_jwt_extended.exceptions import JWTExtendedException
from support.asgi import Raw
from support.raw_answers import let_exceptions_through, status_of, status_or_quarts_own_fault
from support.raw_requests import METHODS, TOKENS, Probe

PROBES: list[dict[str, Any]] = [
    {"location": "headers"},
    {"location": "headers", "JWT_HEADER_TYPE": ""},
    {"location": "headers", "JWT_HEADER_NAME": "X-Token", "JWT_HEADER_TYPE": "JWT"},
    {"location": "cookies"},
    {"location": "cookies", "kind": "refresh", "JWT_REFRESH_COOKIE_NAME": "r"},
    {"location": "cookies", "JWT_ACCESS_COOKIE_NAME": "a.b", "JWT_COOKIE_CSRF_PROTECT": False},
    {"location": "query_string"},
    {"location": "query_string", "JWT_QUERY_STRING_NAME": "a[b] c"},
    {"location": "json"},
    {"location": "json", "kind": "refresh", "JWT_REFRESH_JSON_KEY": "é"},
    {"location": ["headers", "cookies", "query_string", "json"]},
    {"location": ["json", "query_string", "cookies", "headers"]},
]

# What stands for a token, in the order of TOKENS, and what ends a chunk.
PLACES = [bytes([number]) for number in range(1, len(TOKENS) + 1)]
CHUNK = b"\x1e"


@functools.cache
def loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@functools.cache
def probe(index: int) -> Probe:
    return Probe(**PROBES[index], setup=let_exceptions_through)


def check(data: bytes) -> str:
    """Judge one input; return the verdict in short."""
    if len(data) < 2:
        return "too short"
    index = data[0] % len(PROBES)
    return loop().run_until_complete(judge(probe(index), build(data)))


def build(data: bytes) -> Raw:
    """The request that an input describes."""
    head, _, body = data[2:].partition(b"\n\n")
    query, *lines = head.split(b"\n")
    # No server lets a line end into a header, and Quart refuses to build such a request.
    headers = [line.replace(b"\r", b"").partition(b":") for line in lines]
    return Raw(
        headers=[(name.lower(), with_tokens(value)) for name, _, value in headers],
        query=with_tokens(query),
        chunks=tuple(with_tokens(chunk) for chunk in body.split(CHUNK)),
        method=METHODS[data[1] % len(METHODS)],
    )


def with_tokens(text: bytes) -> bytes:
    for place, token in zip(PLACES, TOKENS, strict=True):
        text = text.replace(place, token)
    return text


async def judge(probe: Probe, raw: Raw) -> str:
    probe.raw, probe.answers = raw, None
    status = await status_or_quarts_own_fault(probe.app, raw, "/probe")
    if probe.answers is None:
        return f"not ours: {status}"
    ours, theirs, seen, seen_by_second = probe.answers
    assert ours == theirs, f"we found {ours}, Quart {theirs}, in {raw}"
    assert seen == seen_by_second, f"the view saw {seen}, not {seen_by_second}, after {raw}"

    error, text = ours
    path = "/protected" if probe.kind == "access" else "/refresh"
    protected = await status_of(probe.app, raw, path)
    if error is None:
        assert protected == 200, f"a protected view answers {protected!r} to {raw}"
        return "accepted"
    assert issubclass(error, (JWTExtendedException, jwt.InvalidTokenError, HTTPException)), (
        f"{error} in {raw}"
    )
    assert isinstance(protected, int), f"a protected view answers {protected!r} to {raw}"
    assert 400 <= protected < 500, f"a protected view answers {protected} to {raw}"
    return f"{error.__name__}: {text.partition(': ')[0]}"


# --- New inputs ---------------------------------------------------------------

T = "\x01"
CREDENTIALS = [f"Bearer {T}", f"bearer\t{T} ", f"Basic x, Bearer {T}", f"Bearer {T},", "Bearer", T]
CREDENTIALS += [
    "",
    f"Bearer \x02, Bearer {T}",
    f"Bearer {T} {T}",
    f'Bearer realm="{T}"',
    "JWT \x05",
]
COOKIES = [
    f"access_token_cookie={T}",
    'access_token_cookie="\x02"',
    f"a=b; r=\x04;a.b={T}",
    "r=\x04",
]
COOKIES += [f"access_token_cookie ={T}", f"access_token_cookie={T};access_token_cookie=\x02", ";=;"]
TYPES = ["application/json", "Application/JSON ;charset=latin-1", "text/json", "application/json,a"]
LINES = [f"authorization: {value}" for value in CREDENTIALS]
LINES += [f"x-token:{value}" for value in CREDENTIALS] + [f"cookie: {value}" for value in COOKIES]
LINES += [f"content-type: {value}" for value in TYPES]
LINES += ["x-csrf-token: ann-csrf", "x-csrf-token:bob-csrf", "content-length: 3", "host: \xff"]
QUERIES = [
    f"jwt={T}",
    "jwt=\x02&jwt=\x01",
    f"%6awt={T}",
    f"jwt={T}%",
    f"a%5Bb%5D+c={T}",
    "jwt",
    "&;&",
]
BODIES = [
    f'{{"access_token":"{T}"}}',
    '{"refresh_token":"\x04","é":"\x04"}',
    "[]",
    '{"access_token":',
]
BODIES += [f'{{"access_token":"{T}","access_token":1}}', f'\ufeff{{"access_token":"{T}"}}', "{}"]

WORDS = [*CREDENTIALS, *COOKIES, *TYPES, *LINES, *QUERIES, *BODIES, "\x1e", "\n\n", "\xa0", "%2e"]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change one part of the request, or who it is sent to."""
    if len(data) < 2 or rng.random() < 0.2:
        return bytes([rng.randrange(len(PROBES)), rng.randrange(len(METHODS))]) + data[2:]
    head, separator, body = data[2:].partition(b"\n\n")
    query, *lines = head.split(b"\n")
    choice = rng.random()
    if choice < 0.15:
        query = rng.choice([*QUERIES, f"{query.decode('latin-1')}&{rng.choice(QUERIES)}"]).encode()
    elif choice < 0.3:
        body = rng.choice(BODIES).encode()
        separator = b"\n\n"
    elif choice < 0.4:
        cut = rng.randrange(len(body) + 1)
        body = body[:cut] + CHUNK + body[cut:]
    elif choice < 0.55 and lines:
        del lines[rng.randrange(len(lines))]
    elif choice < 0.65 and lines:
        lines.append(rng.choice(lines))
        rng.shuffle(lines)
    else:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(LINES).encode("latin-1"))
    return data[:2] + b"\n".join([query, *lines]) + separator + body
