"""Group B, creating an access token."""

from __future__ import annotations

import time
import uuid
from typing import Any

import jwt
from apps import Keys, make_app, make_keys
from case import LIBRARY, Cases, statement
from environments import OURS

import quart_jwt_extended as qje


async def add_creating(cases: Cases) -> None:
    """One shape per algorithm."""
    for keys in make_keys():
        app = make_app(**keys.options())
        names = {"create_access_token": qje.create_access_token}
        batch = statement("create_access_token('alice')", names, app)
        await cases.add("B", keys.algorithm, LIBRARY, batch)
        if LIBRARY == OURS:
            await _add_pyjwt(cases, keys)
            await _add_joserfc(cases, keys)
            await _add_flask(cases, keys)


def _claims() -> dict[str, Any]:
    """What ``create_access_token`` puts into a token, made as it is made by hand."""
    now = int(time.time())
    return {
        "iat": now,
        "nbf": now,
        "jti": str(uuid.uuid4()),
        "exp": now + 900,
        "identity": "alice",
        "fresh": False,
        "type": "access",
    }


async def _add_pyjwt(cases: Cases, keys: Keys) -> None:
    names = {"jwt": jwt, "claims": _claims, "key": keys.private, "algorithm": keys.algorithm}
    batch = statement("jwt.encode(claims(), key, algorithm)", names)
    await cases.add("B", keys.algorithm, "jwt.encode", batch)


async def _add_joserfc(cases: Cases, keys: Keys) -> None:
    from joserfc import jwk
    from joserfc import jwt as joserfc_jwt

    names = {
        "encode": joserfc_jwt.encode,
        "header": {"alg": keys.algorithm},
        "claims": _claims,
        "key": jwk.import_key(keys.private_text, keys.key_type),
        "algorithms": [keys.algorithm],
    }
    batch = statement("encode(header, claims(), key, algorithms=algorithms)", names)
    await cases.add("B", keys.algorithm, "joserfc", batch)


async def _add_flask(cases: Cases, keys: Keys) -> None:
    import flask_jwt_extended
    from flask import Flask

    app = Flask("benchmark")
    app.config.update(keys.options())
    flask_jwt_extended.JWTManager(app)
    names = {"create_access_token": flask_jwt_extended.create_access_token, "app": app}
    # Entering its context costs the more the shorter the batch: a calibrated one is long.
    code = "create_access_token('alice')"
    timed = statement(code, names)

    async def batch(calls: int) -> int:
        with app.app_context():
            return await timed(calls)

    await cases.add("B", keys.algorithm, "flask-jwt-extended", batch)
