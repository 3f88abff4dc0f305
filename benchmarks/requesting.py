"""Group C, whole requests driven through an ASGI application in process."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from apps import METHODS, SECRET, Keys, View, access_token, make_app, make_keys, manager_of
from case import LIBRARY, Batch, Cases, clock
from environments import OURS
from quart import Quart, request

import quart_jwt_extended as qje

# What a browser sends with every request, for the token to be found among.
BROWSER_HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"http://127.0.0.1:8000/account"),
    (b"connection", b"keep-alive"),
    (b"cache-control", b"no-cache"),
]


@dataclass(frozen=True)
class Request:
    """One request, as often as it is wanted, to whatever path."""

    method: str = "GET"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    query_string: bytes = b""
    body: bytes = b""

    def scope(self, path: str) -> dict[str, Any]:
        """What a server hands to the application: new objects for each request."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "method": self.method,
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": self.query_string,
            "headers": [*BROWSER_HEADERS, *self.headers],
            "extensions": {},
        }


class Exchange:
    """The server's side of one request."""

    def __init__(self, body: bytes) -> None:
        self.body: bytes | None = body
        self.status = 0
        self.answered = asyncio.get_running_loop().create_future()

    async def receive(self) -> dict[str, Any]:
        if self.body is None:
            # As servers do: the client stays until it has its answer. Quart up to 0.22 cancels
            # this, later ones wait for it.
            await self.answered
            return {"type": "http.disconnect"}
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body") and not self.answered.done():
            self.answered.set_result(None)


async def exchange(app: Any, sent: Request, path: str) -> int:
    """Send one request to an application, return the status of its answer."""
    one = Exchange(sent.body)
    await app(sent.scope(path), one.receive, one.send)
    return one.status


def requests(app: Quart, sent: Request, path: str, clock: Callable[[], int] = clock) -> Batch:
    """A batch of requests one after another; each must be answered with 200."""

    async def some(calls: int) -> None:
        good = 0
        for _ in range(calls):
            good += await exchange(app, sent, path) == 200
        if good != calls:
            raise AssertionError(f"answered {await exchange(app, sent, path)}")

    async def batch(calls: int) -> int:
        await some(1 + calls // 10)
        start = clock()
        await some(calls)
        return clock() - start

    return batch


# --- The locations ------------------------------------------------------------


@dataclass(frozen=True)
class Location:
    """How a token travels: the option, the request, and a view that verifies it by hand."""

    option: str
    request: Callable[[str], Request]
    by_hand: View


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"])
    return claims


def _in_header(token: str) -> Request:
    return Request(headers=[(b"authorization", b"Bearer " + token.encode())])


async def _header_by_hand() -> str:
    _claims(request.headers["Authorization"].removeprefix("Bearer "))
    return "ok"


def _cookie(token: str) -> tuple[bytes, bytes]:
    return b"cookie", b"theme=dark; access_token_cookie=" + token.encode()


def _in_cookie(token: str) -> Request:
    return Request(headers=[_cookie(token)])


async def _cookie_by_hand() -> str:
    _claims(request.cookies["access_token_cookie"])
    return "ok"


def _in_cookie_with_csrf(token: str) -> Request:
    csrf = jwt.decode(token, options={"verify_signature": False})["csrf"]
    return Request("POST", [_cookie(token), (b"x-csrf-token", csrf.encode())])


async def _csrf_by_hand() -> str:
    claims = _claims(request.cookies["access_token_cookie"])
    if not hmac.compare_digest(claims["csrf"], request.headers["X-CSRF-TOKEN"]):
        raise ValueError("CSRF double submit values differ")
    return "ok"


def _in_query_string(token: str) -> Request:
    return Request(query_string=b"page=2&jwt=" + token.encode())


async def _query_string_by_hand() -> str:
    _claims(request.args["jwt"])
    return "ok"


def _in_json(token: str) -> Request:
    body = json.dumps({"item": 17, "access_token": token}).encode()
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    return Request("POST", headers, body=body)


async def _json_by_hand() -> str:
    _claims((await request.get_json())["access_token"])
    return "ok"


LOCATIONS = {
    "headers": Location("headers", _in_header, _header_by_hand),
    "cookies": Location("cookies", _in_cookie, _cookie_by_hand),
    "cookies + CSRF": Location("cookies", _in_cookie_with_csrf, _csrf_by_hand),
    "query string": Location("query_string", _in_query_string, _query_string_by_hand),
    "JSON body": Location("json", _in_json, _json_by_hand),
}


# --- The cases ----------------------------------------------------------------


def open_route(library: str) -> str:
    """The subject whose time is taken from that of a library's protected route."""
    return f"open route, {library}"


async def add_requesting(cases: Cases) -> None:
    """Each shape has an open route of its own, which is sent the same requests."""
    for shape, location in LOCATIONS.items():
        app = make_app(JWT_TOKEN_LOCATION=location.option)
        app.route("/by-hand", methods=METHODS)(location.by_hand)
        sent = location.request(await access_token(app))
        await _add_pair(cases, shape, app, sent)
        if LIBRARY == OURS:
            await cases.add("C", shape, "jwt.decode by hand", requests(app, sent, "/by-hand"))

    for name, register in CALLBACKS.items():
        app = make_app(JWT_BLACKLIST_ENABLED="blacklist" in name)
        register(manager_of(app))
        await _add_pair(cases, f"headers, {name}", app, _in_header(await access_token(app)))

    rs256 = next(keys for keys in make_keys() if keys.algorithm == "RS256")
    await _add_asymmetric(cases, "headers, RS256", rs256, {})
    if LIBRARY == OURS:
        cached = {"JWT_SIGNATURE_CACHE_SIZE": 1024}
        await _add_asymmetric(cases, "headers, RS256, signature cache", rs256, cached)
        await _add_flask(cases)


async def _add_pair(cases: Cases, shape: str, app: Quart, sent: Request) -> None:
    await cases.add("C", shape, open_route(LIBRARY), requests(app, sent, "/open"))
    await cases.add("C", shape, LIBRARY, requests(app, sent, "/protected"))


async def _add_asymmetric(cases: Cases, shape: str, keys: Keys, options: dict[str, Any]) -> None:
    app = make_app(**keys.options(), **options)
    await _add_pair(cases, shape, app, _in_header(await access_token(app)))


def _register_blacklist(manager: qje.JWTManager) -> None:
    @manager.token_in_blacklist_loader
    def is_revoked(claims: dict[str, Any]) -> bool:
        return bool(claims["jti"] == "revoked")


def _register_async_blacklist(manager: qje.JWTManager) -> None:
    @manager.token_in_blacklist_loader
    async def is_revoked(claims: dict[str, Any]) -> bool:
        return bool(claims["jti"] == "revoked")


def _register_user_loader(manager: qje.JWTManager) -> None:
    @manager.user_loader_callback_loader
    def load_user(identity: str) -> dict[str, str]:
        return {"name": identity}


CALLBACKS: dict[str, Callable[[qje.JWTManager], None]] = {
    "blacklist": _register_blacklist,
    "async blacklist": _register_async_blacklist,
    "user loader": _register_user_loader,
}


async def _add_flask(cases: Cases) -> None:
    """Flask-JWT-Extended in the WSGI way of Flask, with headers."""
    import flask_jwt_extended
    from flask import Flask

    app = Flask("benchmark")
    app.config["JWT_SECRET_KEY"] = SECRET
    flask_jwt_extended.JWTManager(app)

    @app.route("/open")
    def open_view() -> str:
        return "ok"

    @app.route("/protected")
    @flask_jwt_extended.jwt_required()
    def protected_view() -> str:
        return "ok"

    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = 24 * 3600
    with app.app_context():
        token = flask_jwt_extended.create_access_token("alice")
    subject = "flask-jwt-extended"
    shape = "headers, Flask over WSGI"
    await cases.add("C", shape, open_route(subject), _wsgi_requests(app, token, "/open"))
    await cases.add("C", shape, subject, _wsgi_requests(app, token, "/protected"))


def _wsgi_requests(app: Any, token: str, path: str) -> Batch:
    headers = {
        f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode()
        for name, value in [*BROWSER_HEADERS, *_in_header(token).headers]
    }
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        **headers,
    }
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        statuses.append(status)

    def some(calls: int) -> None:
        statuses.clear()
        for _ in range(calls):
            answer = app.wsgi_app(dict(environ), start_response)
            b"".join(answer)
            answer.close()
        if statuses != ["200 OK"] * calls:
            raise AssertionError(f"answered {statuses[-1]}")

    async def batch(calls: int) -> int:
        some(1 + calls // 10)
        start = clock()
        some(calls)
        return clock() - start

    return batch
