"""A client that keeps a server busy over connections that stay open (HTTP/1.1)."""

from __future__ import annotations

import asyncio
from time import perf_counter_ns


class _Connection(asyncio.Protocol):
    """Sends a request, and the next one as soon as it has the answer."""

    def __init__(self) -> None:
        self.buffer = b""
        self.load: _Load | None = None
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def start(self, wanted: _Load) -> None:
        self.load = wanted
        self._send()

    def _send(self) -> None:
        assert self.load is not None
        if self.load.take():
            self.sent = perf_counter_ns()
            self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        if not blank or len(body) < _content_length(head):
            return
        assert self.load is not None
        self.load.answered(head, perf_counter_ns() - self.sent)
        self.buffer = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.load is not None:
            self.load.fail("the server closed a connection")


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("an answer without Content-Length")


class _Load:
    """A number of like requests, and what became of them."""

    def __init__(self, request: bytes, count: int) -> None:
        self.request = request
        self.unsent = self.missing = count
        self.latencies: list[int] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self) -> bool:
        """Whether one more is to be sent."""
        self.unsent -= 1
        return self.unsent >= 0

    def answered(self, head: bytes, latency: int) -> None:
        if not head.startswith(b"HTTP/1.1 200 "):
            self.fail(head.partition(b"\r\n")[0].decode())
        self.latencies.append(latency)
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(reason))


class Client:
    """Some open connections to one server."""

    def __init__(self, connections: list[_Connection]) -> None:
        self.connections = connections

    @classmethod
    async def connect(cls, port: int, connections: int) -> Client:
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(_Connection, "127.0.0.1", port) for _ in range(connections)
        ]
        return cls([protocol for _, protocol in made])

    async def load(self, request: bytes, count: int, limit: float) -> list[int]:
        """Send a request so many times; return how many nanoseconds each took.

        :raises TimeoutError: it takes longer than ``limit`` seconds.
        """
        wanted = _Load(request, count)
        for connection in self.connections:
            connection.start(wanted)
        await asyncio.wait_for(wanted.done, limit)
        return wanted.latencies

    def close(self) -> None:
        for connection in self.connections:
            connection.load = None
            connection.transport.close()
