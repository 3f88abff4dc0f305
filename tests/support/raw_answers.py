"""What an application answers to raw bytes: a status, or the exception that it lets through."""

from __future__ import annotations

from importlib.metadata import version

from quart import Quart

from support import unhandled
from support.asgi import Raw, exchanged

QUART = tuple(int(part) for part in version("quart").split(".")[:2])


def let_exceptions_through(app: Quart) -> None:
    """As a test client has them, but without the page that Quart makes of each, in 20 ms.

    Quart 0.20 makes the page where later releases do not, and the other way round.
    """
    app.testing = QUART < (0, 21)
    app.config["PROPAGATE_EXCEPTIONS"] = True


async def status_of(app: Quart, raw: Raw, path: str) -> int | Exception:
    """Send a request to ``path``; the client leaves when it has its answer."""
    # For a release that makes a page of it even so.
    with unhandled(app) as raised:
        try:
            exchange = await exchanged(app, raw, path)
        except Exception as error:
            # Quart 0.23 runs a request in a task group.
            return getattr(error, "exceptions", [error])[0]
    if raised:
        return raised[0]
    assert exchange.status is not None
    return exchange.status


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
