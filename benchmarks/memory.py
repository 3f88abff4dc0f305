"""The memory part of group F, each figure in a process of its own.

    memory.py CPU keys ALGORITHM
    memory.py CPU signatures
    memory.py CPU requests
    memory.py CPU revocations

It prints one JSON object. Resident memory is read from /proc, so elsewhere the object is empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import jwt
from apps import SECRET, access_token, make_app, make_keys, manager_of, public_pem
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from quart import Quart
from requesting import LOCATIONS, Request, exchange

import quart_jwt_extended as qje

STATM = Path("/proc/self/statm")

# As many as an application keeps prepared.
KEYS = 1000

SIGNATURES = 4000

WARM_UP = 20_000
REQUESTS = 200_000

REVOCATIONS = 1_000_000
# Tokens that are looked up, too many for the nearest cache.
LOOKED_UP = 5000


def resident() -> int:
    """The bytes of memory that this process occupies, garbage not counted."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure_keys(algorithm: str) -> dict[str, float]:
    """Bytes per prepared key: what a decode_key_loader that returns ever new keys leaves."""
    # Alive until the end: memory that they gave back would be used again, and not be seen to grow.
    keys = [_new_key(algorithm) for _ in range(KEYS)]
    texts = iter([key if isinstance(key, str) else public_pem(key) for key in keys])
    app = make_app(JWT_ALGORITHM=algorithm)

    @manager_of(app).decode_key_loader
    def verifying_key(claims: dict[str, Any], header: dict[str, Any]) -> str:
        return next(texts)

    signing_key = next(keys.private for keys in make_keys() if keys.algorithm == algorithm)
    token = jwt.encode({"identity": "alice", "type": "access"}, signing_key, algorithm)

    def refuse_one() -> None:
        # A key is prepared and kept whether or not the signature turns out to be good.
        with contextlib.suppress(jwt.InvalidSignatureError):
            qje.decode_token(token)
            raise AssertionError("accepted")

    async with app.app_context():
        refuse_one()
        before = resident()
        for _ in range(KEYS - 1):
            refuse_one()
        grown = resident() - before
    return {f"bytes_per_prepared_{algorithm}_key": grown / (KEYS - 1)}


def _new_key(algorithm: str) -> Any:
    """A new key; for RSA one that has never signed anything, since making those takes long."""
    if algorithm == "HS256":
        return secrets.token_hex(32)
    if algorithm == "RS256":
        modulus = secrets.randbits(2048) | 1 << 2047 | 1
        return rsa.RSAPublicNumbers(65537, modulus).public_key()
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1()).public_key()
    return ed25519.Ed25519PrivateKey.generate().public_key()


async def measure_signatures() -> dict[str, float]:
    """Bytes per entry of the signature cache, with ordinary tokens."""
    keys = next(keys for keys in make_keys() if keys.algorithm == "ES256")
    app = make_app(**keys.options(), JWT_SIGNATURE_CACHE_SIZE=SIGNATURES)
    async with app.app_context():
        tokens = [qje.create_access_token("alice") for _ in range(SIGNATURES)]
        qje.decode_token(tokens[0])
        before = resident()
        for token in tokens:
            qje.decode_token(token)
        return {"bytes_per_signature_cache_entry": (resident() - before) / SIGNATURES}


async def measure_requests() -> dict[str, float]:
    """How much memory 200,000 requests leave that the first 20,000 had not taken."""
    app = make_app(JWT_TOKEN_LOCATION=["headers", "cookies", "query_string", "json"])
    good = [await access_token(app) for _ in range(100)]
    past = int(time.time()) - 3600
    claims = {"identity": "alice", "type": "access", "exp": past, "csrf": "x"}
    expired = jwt.encode(claims, SECRET, "HS256")
    chance = random.Random(0)

    async def one() -> None:
        location = chance.choice(list(LOCATIONS.values()))
        token = chance.choice(good)
        kind = chance.randrange(5)
        if kind == 0:
            sent, status = location.request(token), 200
        elif kind == 1:
            sent, status = location.request(expired), 401
        elif kind == 2:
            head = token.rpartition(".")[0]
            sent, status = location.request(f"{head}.{secrets.token_urlsafe(32)}"), 422
        elif kind == 3:
            sent, status = LOCATIONS["headers"].request(secrets.token_urlsafe(150)), 422
        else:
            sent, status = Request(), 401
        answer = await exchange(app, sent, "/protected")
        if answer != status:
            raise AssertionError(f"answered {answer} in place of {status}")

    for _ in range(WARM_UP):
        await one()
    before = resident()
    for _ in range(REQUESTS):
        await one()
    # A page of 4 KiB more or less is no growth.
    return {"rss_growth_mib": round((resident() - before) / 2**20, 2)}


class Revocations(qje.MemoryTokenStore):
    """A store that at its second poll tells of a million revocations, half of them of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def revoked_since(self, moment: float) -> Any:
        now, end = time.time(), time.time() + 30 * 24 * 3600
        half, self.count = self.count // 2, 0
        # Ids as long as those that the module makes.
        entries = [("token", str(uuid.uuid4()), end) for _ in range(half)]
        entries += [("session", secrets.token_urlsafe(22), end) for _ in range(half)]
        return now, entries


async def measure_revocations() -> dict[str, float]:
    """A million live revocations in one worker: their memory, and what they add to a token.

    They come all at once, as at a start. The CPU time for which nothing else runs meanwhile holds
    what this store takes to make them up.
    """
    stores = Revocations(), Revocations()
    options = {"JWT_REVOCATION_MAX_STALENESS": 3600}
    many, none = (make_app(token_store=store, **options) for store in stores)
    for app in (many, none):
        await app.startup()
    async with many.app_context():
        tokens = [(await qje.create_session("alice")).access_token for _ in range(LOOKED_UP)]
    before = resident()
    stores[0].count, pause = REVOCATIONS, 0.0
    while stores[0].count:
        began = time.process_time()
        await asyncio.sleep(0.01)
        pause = time.process_time() - began
    grown = resident() - before
    gc.freeze()
    # In turns; the least disturbed round of each counts.
    rounds = [[await _verification(app, tokens) for app in (many, none)] for _ in range(30)]
    beside_many, beside_none = map(min, zip(*rounds, strict=True))
    return {
        "mib_of_a_million_revocations": grown / 2**20,
        "ns_more_to_verify_a_token_beside_them": beside_many - beside_none,
        "ms_for_which_the_loop_takes_them_over": pause * 1000,
    }


async def _verification(app: Quart, tokens: list[str]) -> float:
    """Nanoseconds of CPU time of one verification."""
    async with app.app_context():
        start = time.process_time_ns()
        for token in tokens:
            await qje.verify_token(token)
        return (time.process_time_ns() - start) / len(tokens)


MEASURE: dict[str, Callable[..., Coroutine[Any, Any, dict[str, float]]]] = {
    "keys": measure_keys,
    "signatures": measure_signatures,
    "requests": measure_requests,
    "revocations": measure_revocations,
}

if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    print(json.dumps(asyncio.run(MEASURE[sys.argv[2]](*sys.argv[3:])) if STATM.exists() else {}))
