"""The application of issuers.py: it trusts an issuer, and makes tokens of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

from quart import Quart, Response

from quart_jwt_extended import JWTManager, get_jwt_identity, get_jwt_issuer, jwt_required


def create_app() -> Quart:
    """ISSUERS_* are in issuers.py; the pace is that of the clock by which keys get old."""
    hasten(float(os.environ["ISSUERS_PACE"]))
    app = Quart("issuers")
    app.config["JWT_SECRET_KEY"] = os.environ["ISSUERS_SECRET"]
    manager = JWTManager(app)
    issuer = manager.trust_issuer(
        os.environ["ISSUERS_URL"],
        audience=os.environ["ISSUERS_AUDIENCE"],
        algorithms=["ES256", "RS256"],
    )
    app.before_serving(issuer.reload)
    # That the issuer goes and comes is no news; all else is.
    logging.getLogger("quart_jwt_extended").addFilter(_is_news)
    worker = str(os.getpid())

    @app.get("/worker")
    async def name() -> dict[str, Any]:
        return {}

    @app.get("/me")
    @jwt_required
    async def me() -> dict[str, Any]:
        # Others get their turn here: if anything of theirs could slip in, it would.
        await asyncio.sleep(0)
        return {"identity": get_jwt_identity(), "issuer": get_jwt_issuer()}

    @app.after_request
    async def name_worker(response: Response) -> Response:
        response.headers["Worker"] = worker
        return response

    return app


def hasten(pace: float) -> None:
    """Let the seconds that the module counts pass faster; those of event loops stay as they are."""
    if pace == 1:
        return
    real = time.monotonic

    def monotonic() -> float:
        return real() * pace

    asyncio.BaseEventLoop.time = lambda self: real()  # type: ignore[method-assign]
    time.monotonic = monotonic


def _is_news(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return not (
        text.startswith(("Token issuer unavailable", "Rejected: "))
        or " could not be fetched: " in text
        or text.endswith(" can be fetched again")
    )
