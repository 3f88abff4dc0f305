"""Requests and WebSockets as an ASGI server hands them over: raw bytes, which nobody tidied up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from quart import Quart

from support import bearer

# Seconds that a single message may take, ample for a slow machine.
LIMIT = 60


def scope_of(kind: str, path: str, query: bytes, headers: Any, **changes: Any) -> dict[str, Any]:
    """What a server tells an application about a connection; new objects for each one."""
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 50000),
        "server": ("localhost", 80),
        "extensions": {},
        **changes,
    }


# --- requests ------------------------------------------------------------------------------------


@dataclass
class Raw:
    """A request, but for its path."""

    headers: Iterable[Any] = ()
    query: bytes = b""
    chunks: tuple[bytes, ...] = ()
    method: str = "GET"
    http_version: str = "1.1"
    # The body never ends, as with a client that went to sleep.
    stuck: bool = False
    # What a before_request hook puts in the place of the query string; Quart would not get as far
    # as a view with one that is not UTF-8.
    late_query: bytes | None = None
    scope_headers: Callable[[list[Any]], Any] = field(default=list)

    def scope(self, path: str = "/probe") -> dict[str, Any]:
        return scope_of(
            "http",
            path,
            self.query,
            self.scope_headers([(b"host", b"localhost"), *self.headers]),
            method=self.method,
            scheme="http",
            http_version=self.http_version,
        )


def json_request(
    *chunks: bytes, content_type: bytes | None = b"application/json", **changes: Any
) -> Raw:
    headers = [] if content_type is None else [(b"content-type", content_type)]
    return replace(Raw(headers=headers, chunks=chunks, method="POST"), **changes)


class Exchange:
    """The server's side of one request, whose client stays until it has its answer or hangs up."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.chunks = list(raw.chunks) or [b""]
        self.gone = asyncio.get_running_loop().create_future()
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    def hang_up(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    async def receive(self) -> dict[str, Any]:
        # The application has its turn between the pieces of a body, as it has with a server.
        await asyncio.sleep(0)
        if self.chunks:
            body = self.chunks.pop(0)
            more = bool(self.chunks) or self.raw.stuck
            return {"type": "http.request", "body": body, "more_body": more}
        await self.gone
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
            return
        self.body += message["body"]
        if not message["more_body"]:
            self.hang_up()

    async def run(self, app: Quart, path: str = "/probe") -> None:
        await app(self.raw.scope(path), self.receive, self.send)


async def exchanged(app: Quart, raw: Raw, path: str = "/probe") -> Exchange:
    """A request that has its answer."""
    exchange = Exchange(raw)
    await exchange.run(app, path)
    return exchange


# --- WebSockets ----------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """A handshake that got an HTTP response."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def answer(self) -> tuple[int, Any]:
        return self.status, self.body


class Socket:
    """The server's side of one WebSocket; every message of the application waits in a queue."""

    def __init__(self, app: Quart, scope: dict[str, Any]) -> None:
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        # A client that stays after a close of the application, and may go on to send.
        self.ignores_close = False
        self.task = asyncio.ensure_future(self.run(app, scope))

    async def run(self, app: Quart, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self.inbox.get, self.send)
        finally:
            self.outbox.put_nowait({"type": "end"})

    async def send(self, message: dict[str, Any]) -> None:
        self.outbox.put_nowait(message)
        # A server tells of the end, whoever made it.
        if (message["type"] == "websocket.close" and not self.ignores_close) or (
            message["type"] == "websocket.http.response.body" and not message.get("more_body")
        ):
            self.leave()

    def leave(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1005})

    def say(self, text: str) -> None:
        self.inbox.put_nowait({"type": "websocket.receive", "text": text, "bytes": None})

    async def next_message(self) -> dict[str, Any]:
        """The next message of the application, whatever it is; the last one is of type "end"."""
        return await asyncio.wait_for(self.outbox.get(), LIMIT)

    async def next(self, kind: str) -> dict[str, Any]:
        message = await self.next_message()
        assert message["type"] == kind, message
        return message

    async def hear(self) -> Any:
        return json.loads((await self.next("websocket.send"))["text"])

    async def refusal(self) -> Refusal:
        """The HTTP response that the application must answer with, before anything else."""
        start = await self.next("websocket.http.response.start")
        body = b""
        while True:
            message = await self.next("websocket.http.response.body")
            body += message["body"]
            if not message["more_body"]:
                break
        await self.next("end")
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Refusal(start["status"], headers, json.loads(body))

    async def end(self) -> None:
        self.leave()
        await asyncio.wait([self.task], timeout=LIMIT)
        assert self.task.done()
        # Quart 0.23 cancels the task of a socket whose client left.
        if not self.task.cancelled():
            self.task.result()


@asynccontextmanager
async def opened(
    app: Quart,
    path: str = "/protected",
    *,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    offered: Iterable[str] = (),
    query: str = "",
    scheme: str = "ws",
    host: str = "localhost",
    extensions: Iterable[str] = ("websocket.http.response",),
) -> AsyncIterator[Socket]:
    """A socket to ``path``, which its client leaves in the end; ``token`` goes into the header."""
    fields = {"host": host, **(bearer(token) if token else {}), **(headers or {})}
    socket = Socket(
        app,
        scope_of(
            "websocket",
            path,
            query.encode(),
            [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
            scheme=scheme,
            subprotocols=list(offered),
            extensions={name: {} for name in extensions},
        ),
    )
    try:
        yield socket
    finally:
        await socket.end()
