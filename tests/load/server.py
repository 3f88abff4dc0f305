"""A real server with one worker, or Hypercorn with more, until it is told to end.

server.py SERVER PORT APPLICATION [WORKERS]
"""

from __future__ import annotations

import asyncio
import runpy
import sys
from typing import Any

# Beside the token, what else a request has must fit; Hypercorn takes 16 KiB of head by default, as
# much as the longest token that is allowed.
HEAD_LIMIT = 65536
# A pause of the client is no reason to close its connection.
KEEP_ALIVE = 120
BACKLOG = 1024


def serve_with_uvicorn(app: Any, port: int) -> None:
    import uvicorn

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="asyncio",
        http="h11",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEAD_LIMIT,
        timeout_keep_alive=KEEP_ALIVE,
    )


def configured_hypercorn(port: int) -> Any:
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "WARNING"
    config.backlog = BACKLOG
    config.h11_max_incomplete_size = HEAD_LIMIT
    config.keep_alive_timeout = KEEP_ALIVE
    # It closes a connection after 1000 requests, uvicorn never does.
    config.keep_alive_max_requests = sys.maxsize
    return config


def serve_with_hypercorn(app: Any, port: int) -> None:
    from hypercorn.asyncio import serve

    asyncio.run(serve(app, configured_hypercorn(port)))


def run_hypercorn(application: str, port: int, workers: int) -> None:
    """As its command does: processes that take what comes to one socket."""
    from hypercorn.run import run

    config = configured_hypercorn(port)
    config.application_path = f"asgi:{application}:create_app()"
    config.workers = workers
    sys.exit(run(config))


SERVERS = {"hypercorn": serve_with_hypercorn, "uvicorn": serve_with_uvicorn}


if __name__ == "__main__":
    server, port, application, *workers = sys.argv[1:]
    if workers:
        run_hypercorn(application, int(port), int(workers[0]))
    SERVERS[server](runpy.run_path(application)["create_app"](), int(port))
