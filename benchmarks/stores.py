"""Redis and PostgreSQL for group G, on 127.0.0.1, until standard input ends.

Prints where they are, as one JSON object; what is not installed is left out. Both write to the disk
before they confirm.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

from environments import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from support.services import PostgresServer, RedisServer, Service, ServiceMissing  # noqa: E402

SERVICES: dict[str, type[Service]] = {"redis": RedisServer, "postgresql": PostgresServer}


def main() -> None:
    with ExitStack() as stack:
        urls = {}
        for name, kind in SERVICES.items():
            try:
                urls[name] = stack.enter_context(kind()).url
            except ServiceMissing as missing:
                print(missing, file=sys.stderr)
        print(json.dumps(urls), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
