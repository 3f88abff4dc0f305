"""What every test file shares: an application to protect, and tokens built without the module.

Tokens are assembled here from :mod:`hmac` and :mod:`base64`, so that a fault in our encoder cannot
hide the same fault in our decoder.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from quart import Quart

import quart_jwt_extended as qje

SECRET = "a secret of the test suite, long enough for HS512 to be content with it, 0123456789"

# 2020-01-01 and 2100-01-01 as POSIX seconds: no token of a test comes or goes while tests run.
LONG_AGO = 1_577_836_800
FAR_FUTURE = 4_102_444_800

HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def json_segment(value: Any) -> str:
    """A JSON value as a token segment; bytes go in as they are."""
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return b64url(raw)


def hs_token(
    claims: Any, *, secret: str | bytes = SECRET, alg: str = "HS256", header: Any = None
) -> str:
    """A compact JWS signed with HMAC.

    ``claims`` and ``header`` are values to serialise, or bytes to take as they are. ``alg`` picks
    the hash, and names itself in the header when ``header`` is None.
    """
    if header is None:
        header = {"typ": "JWT", "alg": alg}
    signing_input = f"{json_segment(header)}.{json_segment(claims)}"
    key = secret.encode() if isinstance(secret, str) else secret
    signature = hmac.new(key, signing_input.encode(), HASHES[alg]).digest()
    return f"{signing_input}.{b64url(signature)}"


def access_claims(**changes: Any) -> dict[str, Any]:
    """Claims of a valid access token; ``changes`` replace or add, ``...`` removes."""
    claims: dict[str, Any] = {
        "iat": LONG_AGO,
        "nbf": LONG_AGO,
        "jti": "11111111-2222-3333-4444-555555555555",
        "exp": FAR_FUTURE,
        "identity": "alice",
        "fresh": False,
        "type": "access",
    }
    claims.update(changes)
    return {name: value for name, value in claims.items() if value is not ...}


def refresh_claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good refresh token; ``changes`` as for :func:`access_claims`."""
    return access_claims(**{"type": "refresh", "fresh": ..., **changes})


def bearer(token: str) -> dict[str, str]:
    """Request headers that carry a token."""
    return {"Authorization": f"Bearer {token}"}


def manager_of(app: Quart) -> qje.JWTManager:
    """The manager that an application is bound to."""
    return app.extensions["quart-jwt-extended"]


def make_app(**options: Any) -> Quart:
    """An application with a manager and one route per decorator.

    ``options`` go into ``app.config`` before the manager is bound. The manager is
    ``app.extensions["quart-jwt-extended"]``; ``app.calls`` lists the views that ran.
    """
    app = Quart("test_app")
    app.config["TESTING"] = True
    app.config["JWT_SECRET_KEY"] = SECRET
    app.config.update(options)
    qje.JWTManager(app)
    app.calls = []  # type: ignore[attr-defined]

    def answer(name: str) -> dict[str, Any]:
        app.calls.append(name)  # type: ignore[attr-defined]
        return {
            "view": name,
            "identity": qje.get_jwt_identity(),
            "user_claims": qje.get_jwt_claims(),
        }

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]

    @app.route("/open", methods=methods)
    async def open_view() -> dict[str, Any]:
        return answer("open")

    @app.route("/protected", methods=methods)
    @qje.jwt_required
    async def protected() -> dict[str, Any]:
        return answer("protected")

    @app.route("/optional", methods=methods)
    @qje.jwt_optional
    async def optional() -> dict[str, Any]:
        return answer("optional")

    @app.route("/fresh", methods=methods)
    @qje.fresh_jwt_required
    async def fresh() -> dict[str, Any]:
        return answer("fresh")

    @app.route("/refresh", methods=methods)
    @qje.jwt_refresh_token_required
    async def refresh() -> dict[str, Any]:
        return answer("refresh")

    return app
