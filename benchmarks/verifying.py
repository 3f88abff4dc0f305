"""Group A, verifying a good token, and group E, refusing a bad one."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jwt
from apps import SECRET, USER_CLAIMS, Keys, access_token, make_app, make_keys
from case import LIBRARY, Cases, refusal, statement
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from environments import OURS
from quart import Quart

import quart_jwt_extended as qje

# The sizes of garbage to refuse.
GARBAGE = {"100 B": 100, "1 KB": 1000, "16 KB": 16_000, "100 KB": 100_000, "1 MB": 1_000_000}


async def add_verifying(cases: Cases) -> None:
    """Group A: one shape per algorithm, and HS256 once more with user claims."""
    for keys in make_keys():
        await _add_algorithm(cases, keys, keys.algorithm, {})
        if keys.algorithm == "HS256":
            claims = {"user_claims": USER_CLAIMS}
            await _add_algorithm(cases, keys, "HS256, user claims", claims)


async def _add_algorithm(cases: Cases, keys: Keys, shape: str, claims: dict[str, Any]) -> None:
    app = make_app(**keys.options())
    token = await access_token(app, **claims)
    names = {"decode_token": qje.decode_token, "token": token}
    batch = statement("decode_token(token)", names, app)
    await cases.add("A", shape, f"{LIBRARY}, decode_token", batch)
    if LIBRARY == OURS:
        if keys.algorithm != "HS256":
            await _add_signature_cache(cases, keys, shape)
        await _add_pyjwt(cases, keys, shape, token)
        await _add_joserfc(cases, keys, shape, token)
        if find_spec("ryjwt") is not None:
            await _add_ryjwt(cases, keys, shape, token)
        verify, arguments = bare_verification(keys, token)
        batch = statement("verify(*arguments)", {"verify": verify, "arguments": arguments})
        await cases.add("A", shape, "bare verification", batch)


async def _add_signature_cache(cases: Cases, keys: Keys, shape: str) -> None:
    app = make_app(**keys.options(), JWT_SIGNATURE_CACHE_SIZE=1024)
    names = {"decode_token": qje.decode_token, "token": await access_token(app)}
    batch = statement("decode_token(token)", names, app)
    await cases.add("A", shape, f"{OURS}, decode_token, signature cache hit", batch)


async def _add_pyjwt(cases: Cases, keys: Keys, shape: str, token: str) -> None:
    code = "jwt.decode(token, key, algorithms=algorithms)"
    names = {"jwt": jwt, "token": token, "algorithms": [keys.algorithm]}
    batch = statement(code, {**names, "key": keys.public})
    await cases.add("A", shape, "jwt.decode", batch)
    if keys.algorithm != "HS256":
        batch = statement(code, {**names, "key": keys.public_text})
        await cases.add("A", shape, "jwt.decode, PEM", batch)


async def _add_joserfc(cases: Cases, keys: Keys, shape: str, token: str) -> None:
    from joserfc import jwk
    from joserfc import jwt as joserfc_jwt

    names = {
        "decode": joserfc_jwt.decode,
        "token": token,
        "key": jwk.import_key(keys.public_text, keys.key_type),
        "algorithms": [keys.algorithm],
        "registry": joserfc_jwt.JWTClaimsRegistry(),
    }
    # Its decode() leaves the times unchecked.
    code = "registry.validate(decode(token, key, algorithms=algorithms).claims)"
    await cases.add("A", shape, "joserfc", statement(code, names))


async def _add_ryjwt(cases: Cases, keys: Keys, shape: str, token: str) -> None:
    import ryjwt

    kind: Any = ryjwt.SecretKey if keys.algorithm == "HS256" else ryjwt.PublicKey
    key = kind(keys.public_text, algorithms=[keys.algorithm])
    batch = statement("decode(token)", {"decode": key.decode, "token": token})
    await cases.add("A", shape, "ryjwt", batch)


def bare_verification(keys: Keys, token: str) -> tuple[Callable[..., object], tuple[Any, ...]]:
    """The cryptography alone: a function, and arguments that need no preparing any more."""
    signing_input, _, encoded = token.rpartition(".")
    message = signing_input.encode()
    signature = jwt.utils.base64url_decode(encoded)
    if keys.algorithm == "HS256":
        return hmac.digest, (SECRET.encode(), message, "sha256")
    if keys.algorithm == "RS256":
        return keys.public.verify, (signature, message, padding.PKCS1v15(), hashes.SHA256())
    if keys.algorithm == "PS256":
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
        return keys.public.verify, (signature, message, pss, hashes.SHA256())
    if keys.algorithm == "ES256":
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        return keys.public.verify, (
            utils.encode_dss_signature(r, s),
            message,
            ec.ECDSA(hashes.SHA256()),
        )
    return keys.public.verify, (signature, message)


async def add_refusing(cases: Cases) -> None:
    """Group E, with HS256."""
    app = make_app()
    good = await access_token(app)
    # As in a service that is in use: it has seen a good token before.
    async with app.app_context():
        qje.decode_token(good)
    signing_input, _, signature = good.rpartition(".")
    changed = ("B" if signature[0] == "A" else "A") + signature[1:]
    past = int(time.time()) - 3600
    expired = {"identity": "alice", "type": "access", "exp": past}
    tokens = {
        "bad signature": f"{signing_input}.{changed}",
        "expired": jwt.encode(expired, SECRET, "HS256"),
    }
    tokens |= {f"garbage, {name}": _garbage(size) for name, size in GARBAGE.items()}
    for shape, token in tokens.items():
        await _add_refusal(cases, shape, token, app)


def _garbage(size: int) -> str:
    """Three segments of base64url that mean nothing."""
    parts = [secrets.token_urlsafe(size)[: (size - 2) // 3] for _ in range(3)]
    return ".".join(parts).ljust(size, "A")


async def _add_refusal(cases: Cases, shape: str, token: str, app: Quart) -> None:
    names = {"token": token, "InvalidTokenError": jwt.InvalidTokenError}
    code = refusal("decode_token(token)")
    batch = statement(code, {**names, "decode_token": qje.decode_token}, app)
    await cases.add("E", shape, LIBRARY, batch)
    if LIBRARY == OURS:
        code = refusal("jwt.decode(token, key, algorithms=algorithms)")
        names |= {"jwt": jwt, "key": SECRET.encode(), "algorithms": ["HS256"]}
        await cases.add("E", shape, "jwt.decode", statement(code, names))
