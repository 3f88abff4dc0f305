"""What every test file shares: an application to protect, and tokens built without the module.

Tokens are assembled here from :mod:`hmac` and :mod:`base64`, so that a fault in our encoder cannot
hide the same fault in our decoder.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import jwt
from quart import Quart, got_request_exception

import quart_jwt_extended as qje

SECRET = "a secret of the test suite, long enough for HS512 to be content with it, 0123456789"
OTHER_SECRET = "another secret of the test suite, which is as long as the first one is, 9876543210"

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


def claims_of(
    token: str, key: Any = SECRET, *, algorithm: str = "HS256", **options: bool
) -> dict[str, Any]:
    """The claims of a token whose signature and times PyJWT has verified."""
    options = {"verify_sub": False, "verify_iss": False, "verify_aud": False, **options}
    return jwt.decode(token, key, algorithms=[algorithm], options=options)


def token_of_size(size: int, **changes: Any) -> str:
    """A valid access token of exactly so many characters, padded with spaces in its JSON."""
    claims = json.dumps(access_claims(**changes)).encode()
    # Base64url cannot give every length: four characters carry three bytes.
    for spaces in range(4):
        header = b'{"typ":"JWT","alg":"HS256"}' + b" " * spaces
        room = size - len(hs_token(b"", header=header))
        token = hs_token(claims + b" " * (room * 3 // 4 - len(claims)), header=header)
        if len(token) == size:
            return token
    raise AssertionError(f"no token of {size} characters")


def bearer(token: str) -> dict[str, str]:
    """Request headers that carry a token."""
    return {"Authorization": f"Bearer {token}"}


def manager_of(app: Quart) -> qje.JWTManager:
    """The manager that an application is bound to."""
    return app.extensions["quart-jwt-extended"]


def make_app(*, token_store: Any = None, **options: Any) -> Quart:
    """An application with a manager and one route per decorator.

    ``options`` go into ``app.config`` before the manager is bound. The manager is
    ``app.extensions["quart-jwt-extended"]``; ``app.calls`` lists the views that ran.
    """
    app = Quart("test_app")
    app.config["TESTING"] = True
    app.config["JWT_SECRET_KEY"] = SECRET
    app.config.update(options)
    qje.JWTManager(app, **({} if token_store is None else {"token_store": token_store}))
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
    @qje.jwt_required(optional=True)
    async def optional() -> dict[str, Any]:
        return answer("optional")

    @app.route("/fresh", methods=methods)
    @qje.jwt_required(fresh=True)
    async def fresh() -> dict[str, Any]:
        return answer("fresh")

    @app.route("/refresh", methods=methods)
    @qje.jwt_required(refresh=True)
    async def refresh() -> dict[str, Any]:
        return answer("refresh")

    return app


async def ask(
    app: Quart, path: str = "/protected", token: Any = None, **request: Any
) -> tuple[int, Any]:
    """Status and body of the answer to a request, which may carry a token or claims to sign."""
    if token is not None:
        encoded = hs_token(token) if isinstance(token, dict) else token
        request["headers"] = {**bearer(encoded), **request.get("headers", {})}
    response = await app.test_client(use_cookies=False).open(path, **request)
    body = await response.get_json()
    return response.status_code, await response.get_data(as_text=True) if body is None else body


async def answer_of(app: Quart, path: str = "/protected", **request: Any) -> tuple[int, str | None]:
    """Status, and identity or message; a view that is refused to a request has not run."""
    views_run = list(app.calls)  # type: ignore[attr-defined]
    status, body = await ask(app, path, **request)
    assert status < 500
    assert status == 200 or app.calls == views_run  # type: ignore[attr-defined]
    return status, body["identity"] if "identity" in body else body["msg"]


@contextlib.contextmanager
def unhandled(app: Quart) -> Iterator[list[Exception]]:
    """The exceptions that nobody handles in the requests of a block."""
    raised: list[Exception] = []

    def keep(sender: Quart, exception: Exception, **_: Any) -> None:
        raised.append(exception)

    with got_request_exception.connected_to(keep, app):
        yield raised


async def status_of(app: Quart, path: str = "/protected", token: Any = None, **request: Any) -> int:
    """The status of the answer; what the application does not handle is raised.

    Each Quart passes such an exception on, wraps it or hides it by rules of its own, but for the
    signal. The configuration is left alone, as tests watch the changes of it.
    """
    answer: tuple[int, Any] = (500, None)
    with unhandled(app) as raised:
        try:
            answer = await ask(app, path, token, **request)
        except Exception:
            if not raised:
                raise
    if raised:
        raise raised[0]
    return answer[0]


def in_form(function: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
    """The function itself, or a coroutine function of the same signature."""

    @functools.wraps(function)
    async def coroutine(*arguments: Any) -> Any:
        return function(*arguments)

    return coroutine if is_async else function
