"""The timed part of group F: how the time grows with size, number of keys, and concurrency."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import jwt
from apps import SECRET, access_token, make_app, manager_of, public_pem
from case import LIBRARY, Batch, Cases, clock, statement
from cryptography.hazmat.primitives.asymmetric import ec
from environments import OURS
from quart import Quart
from requesting import LOCATIONS, Request, exchange, open_route

import quart_jwt_extended as qje

# Bytes of token; the last is what JWT_MAX_TOKEN_SIZE allows.
SIZES = {"0.3 KB": 300, "1 KB": 1024, "4 KB": 4096, "16 KB": 16384}

KEY_COUNTS = (1, 10, 100, 1000, 10_000)

CONCURRENCY = (1, 10, 100, 1000)


async def add_growth(cases: Cases) -> None:
    """Token size and number of keys with ``decode_token``, concurrency with whole requests."""
    for name, size in SIZES.items():
        await _add_size(cases, f"token of {name}", size)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(KEY_COUNTS[-1])]
    for count in KEY_COUNTS:
        shape = f"ES256 keys: {count}"
        await cases.add("F", shape, f"{LIBRARY}, decode_token", await _distinct_keys(keys[:count]))
    app = make_app()
    sent = LOCATIONS["headers"].request(await access_token(app))
    for count in CONCURRENCY:
        shape = f"concurrent requests: {count}"
        batch = _concurrent(app, sent, "/open", count)
        await cases.add("F", shape, open_route(LIBRARY), batch)
        batch = _concurrent(app, sent, "/protected", count)
        await cases.add("F", shape, LIBRARY, batch)


async def _add_size(cases: Cases, shape: str, size: int) -> None:
    app = make_app()
    token = await access_token(app, user_claims={"x": ""})
    # Base64 makes four characters of three.
    token = await access_token(app, user_claims={"x": "x" * ((size - len(token)) * 3 // 4)})
    names = {"token": token, "decode_token": qje.decode_token}
    batch = statement("decode_token(token)", names, app)
    await cases.add("F", shape, f"{LIBRARY}, decode_token", batch)
    if LIBRARY == OURS:
        names = {"token": token, "jwt": jwt, "key": SECRET.encode(), "algorithms": ["HS256"]}
        batch = statement("jwt.decode(token, key, algorithms=algorithms)", names)
        await cases.add("F", shape, "jwt.decode", batch)


async def _distinct_keys(keys: list[ec.EllipticCurvePrivateKey]) -> Batch:
    """Tokens of as many issuers in turns, each seen before; the loader looks up the PEM of each."""
    app = make_app(JWT_ALGORITHM="ES256")
    pems = {str(kid): public_pem(key.public_key()) for kid, key in enumerate(keys)}

    @manager_of(app).decode_key_loader
    def public_key(claims: dict[str, Any], header: dict[str, Any]) -> str:
        return pems[header["kid"]]

    claims = {"identity": "alice", "type": "access"}
    tokens = [
        jwt.encode(claims, key, "ES256", headers={"kid": str(kid)}) for kid, key in enumerate(keys)
    ]
    async with app.app_context():
        for token in tokens:
            qje.decode_token(token)
    names = {"decode_token": qje.decode_token, "tokens": itertools.cycle(tokens)}
    return statement("decode_token(next(tokens))", names, app)


def _concurrent(app: Quart, sent: Request, path: str, count: int) -> Batch:
    """A batch that has so many requests under way at once, and at least as many in all."""

    async def batch(calls: int) -> int:
        waves = -(-calls // count)
        start = clock()
        for _ in range(waves):
            answers = await asyncio.gather(*(exchange(app, sent, path) for _ in range(count)))
            if answers != [200] * count:
                raise AssertionError(f"answered {set(answers)}")
        return (clock() - start) * calls // (waves * count)

    return batch
