"""Start examples, by default all of them, and stop them without a request.

The arguments are names of files and folders in the current folder. The program requires only the
packages of the examples. Examples with an application factory are only imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm
from quart import Quart


async def start_and_stop(app: Quart) -> None:
    async with app.test_app():
        pass


@contextlib.contextmanager
def an_issuer() -> Iterator[str]:
    """An identity provider on 127.0.0.1, whose keys an example fetches before it serves."""
    key = ECAlgorithm.to_jwk(generate_private_key(SECP256R1()).public_key(), as_dict=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = {
                "issuer": name,
                "jwks_uri": f"{name}/keys",
                "keys": [{**key, "kid": "a", "alg": "ES256", "key_ops": ["verify"]}],
            }
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            """Do not log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        name = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield name
        server.shutdown()


def main(names: list[str]) -> None:
    os.environ.setdefault("JWT_SECRET_KEY", "k" * 32)
    with an_issuer() as issuer:
        os.environ.update(OPENID_ISSUER=issuer, OPENID_AUDIENCE="https://api.example")
        start(names)


def start(names: list[str]) -> None:
    sys.path.insert(0, os.getcwd())
    for name in names or ["blueprints", "cookies/app.py", *map(str, sorted(Path().glob("*.py")))]:
        module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
        if hasattr(module, "app"):
            asyncio.run(start_and_stop(module.app))


if __name__ == "__main__":
    main(sys.argv[1:])
