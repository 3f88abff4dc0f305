"""One real server, one worker, for group D.

    server.py SERVER PORT CPU

It prints the Authorization header that opens its protected route, then serves until it is killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from apps import access_token, make_app


def serve_with_uvicorn(app: Any, port: int, **choices: Any) -> None:
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, **choices)


def serve_with_hypercorn(app: Any, port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    # It closes a connection after 1000 requests, uvicorn never does.
    config.keep_alive_max_requests = sys.maxsize
    asyncio.run(serve(app, config))


def main(server: str, port: int) -> None:
    app = make_app()
    print(f"Bearer {asyncio.run(access_token(app))}", flush=True)
    if server == "uvicorn":
        serve_with_uvicorn(app, port, loop="asyncio", http="h11")
    elif server == "uvicorn[standard]":
        serve_with_uvicorn(app, port, loop="uvloop", http="httptools")
    else:
        serve_with_hypercorn(app, port)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[3])})
    main(sys.argv[1], int(sys.argv[2]))
