"""What each fast path of the module saves, in microseconds: ``python benchmarks/fast_paths.py``.

Each row compares an input that takes the fast path with one that takes the plain way through the
same function, or with the library call that the path replaces. Pairs are measured in turn, and the
fastest of the batches counts, as the machine may be busy.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from apps import SECRET, Keys, make_app, make_keys
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hmac import HMAC
from quart import Quart

import quart_jwt_extended as qje

BATCHES = 15
CALLS = 2000

CLAIMS: dict[str, Any] = {
    "iat": 1577836800,
    "nbf": 1577836800,
    "jti": "11111111-2222-3333-4444-555555555555",
    "exp": 4102444800,
    "identity": "alice",
    "fresh": False,
    "type": "access",
}


def fastest(*functions: Callable[[], object]) -> list[float]:
    """The time of one call of each function (microseconds), measured in turn."""
    times = [float("inf")] * len(functions)
    for _ in range(BATCHES):
        for index, function in enumerate(functions):
            began = time.perf_counter()
            for _ in range(CALLS):
                function()
            times[index] = min(times[index], (time.perf_counter() - began) / CALLS * 1e6)
    return times


def show(piece: str, fast: float, plain: float) -> None:
    print(f"{piece:<58} {fast:7.2f} {plain:7.2f} {plain - fast:7.2f}")


def token(header: dict[str, Any] | None = None, **claims: Any) -> str:
    return jwt.encode({**CLAIMS, **claims}, SECRET, "HS256", header)


def decoding(encoded: str) -> Callable[[], object]:
    return lambda: qje.decode_token(encoded)


def measure_codec(app: Quart) -> None:
    segment = base64.urlsafe_b64encode(b"x" * 3000)
    nested: Any = "x"
    for _ in range(17):
        nested = [nested]

    fast, plain = fastest(decoding(token(x=["x"] * 17)), decoding(token(x=nested)))
    show("JSON reader, against json for a document 17 deep", fast, plain)
    few, many, dumps = fastest(
        lambda: qje.create_access_token("alice", user_claims={"a": 1}),
        lambda: qje.create_access_token("alice", user_claims={"a": 1, "b": CLAIMS}),
        lambda: json.dumps(CLAIMS, separators=(",", ":")),
    )
    show("JSON writer, seven claims more, against json.dumps", many - few, dumps)
    short, long, decode = fastest(
        decoding(token(x="x")),
        decoding(token(x="x" * 3000)),
        lambda: base64.urlsafe_b64decode(segment),
    )
    show("base64url of 3 KB, and all else that they cost, base64", long - short, decode)

    common = {"iss": "x", "scope": "x", "user_claims": {"sub": "x"}}
    other = {"isz": "x", "scopf": "x", "user_claimz": {"sud": "x"}}
    fast, plain = fastest(decoding(token(**common)), decoding(token(**other)))
    show("common names, four of them, against others", fast, plain)

    kids = iter([token({"kid": str(number)}) for number in range(BATCHES * CALLS)])
    fast, plain = fastest(decoding(token({"kid": "1"})), lambda: qje.decode_token(next(kids)))
    show("header memo, against a new kid each time", fast, plain)

    def changed() -> object:
        app.config["UNRELATED"] = object()
        return qje.decode_token(encoded)

    encoded = token()
    fast, plain, change = fastest(
        decoding(encoded), changed, lambda: app.config.__setitem__("UNRELATED", object())
    )
    show("version of app.config, against comparing the options", fast, plain - change)


def measure_signatures(keys: Keys) -> None:
    message = token().rpartition(".")[0].encode()
    keyed = HMAC(SECRET.encode(), hashes.SHA256())

    def copied() -> bytes:
        copy = keyed.copy()
        copy.update(message)
        return copy.finalize()

    fast, plain = fastest(copied, lambda: hmac.new(SECRET.encode(), message, "sha256").digest())
    show("HMAC, a copy of one that has taken in the key, hmac.new", fast, plain)

    signature = jwt.utils.base64url_decode(
        jwt.encode(CLAIMS, keys.private, keys.algorithm).rpartition(".")[2]
    )
    r, s = signature[:32], signature[32:]
    (replaced,) = fastest(
        lambda: encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    )
    show("ES256 signature in DER: encode_dss_signature is replaced", 0, replaced)


async def located(app: Quart, location: str, path: str, headers: dict[str, str]) -> float:
    """The time of one verification of a request (microseconds)."""
    best = float("inf")
    for _ in range(BATCHES):
        async with app.app_context():
            contexts = [app.test_request_context(path, headers=headers) for _ in range(200)]
            for context in contexts:
                async with context:
                    began = time.perf_counter()
                    await qje.verify_jwt_in_request(locations=location)
                    best = min(best, (time.perf_counter() - began) * 1e6)
    return best


async def measure() -> None:
    print(f"{'microseconds':<58} {'fast':>7} {'plain':>7} {'saved':>7}")
    app = make_app()
    app.config["JWT_COOKIE_CSRF_PROTECT"] = False
    async with app.app_context():
        measure_codec(app)
    encoded = token()
    cookie = "access_token_cookie"
    fast = await located(app, "cookies", "/", {"Cookie": f"a=b; {cookie}={encoded}"})
    plain = await located(app, "cookies", "/", {"Cookie": f'a=b; {cookie}="{encoded}"'})
    show("cookie walker, against Werkzeug for a quoted value", fast, plain)
    fast = await located(app, "query_string", f"/?a=b&jwt={encoded}", {})
    plain = await located(app, "query_string", f"/?%61=b&jwt={encoded}", {})
    show("query walker, against Werkzeug for an escaped name", fast, plain)


if __name__ == "__main__":
    asyncio.run(measure())
    measure_signatures(next(keys for keys in make_keys() if keys.algorithm == "ES256"))
