"""What an application answers to raw bytes: a status, or the exception that it lets through."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

from quart import Quart, got_request_exception

from support.raw_requests import Raw

QUART = tuple(int(part) for part in version("quart").split(".")[:2])


def let_exceptions_through(app: Quart) -> None:
    """As a test client has them, but without the page that Quart makes of each, in 20 ms.

    Quart 0.20 makes the page where later releases do not, and the other way round.
    """
    app.testing = QUART < (0, 21)
    app.config["PROPAGATE_EXCEPTIONS"] = True


async def status_of(app: Quart, raw: Raw, path: str) -> int | Exception:
    """Send a request to ``path``; the client leaves when it has its answer."""
    raised: list[Exception] = []

    # For a release that makes a page of it even so.
    async def note(sender: Quart, exception: Exception, **extra: Any) -> None:
        raised.append(exception)

    scope = raw.scope() | {"path": path, "raw_path": path.encode()}
    chunks = list(raw.chunks) or [b""]
    statuses: list[int] = []
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        if chunks:
            body = chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(chunks)}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        elif not message.get("more_body"):
            answered.set()

    with got_request_exception.connected_to(note, app):
        try:
            await app(scope, receive, send)
        except Exception as error:
            # Quart 0.23 runs a request in a task group.
            return getattr(error, "exceptions", [error])[0]
    return raised[0] if raised else statuses[0]


async def status_or_quarts_own_fault(app: Quart, raw: Raw, path: str) -> int | None:
    """The status, or None where Quart fails on the bytes whatever the view is.

    Quart answers a query string that is not UTF-8 with 500, for one. Only what it does to the open
    route, too, in the same way, counts as its own.
    """
    status = await status_of(app, raw, path)
    if isinstance(status, int) and status < 500:
        return status
    without_us = await status_of(app, raw, "/open")
    assert repr(status) == repr(without_us), f"{status!r}, an open view {without_us!r}, for {raw}"
    return None
