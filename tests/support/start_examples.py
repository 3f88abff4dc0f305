"""A program that starts examples, by default all, and stops them again without a request.

It takes names of files and folders in the current folder, and needs only what the examples need.
Those that make their app when they are called are imported, no more.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from pathlib import Path

from quart import Quart


async def start_and_stop(app: Quart) -> None:
    async with app.test_app():
        pass


def main(names: list[str]) -> None:
    os.environ.setdefault("JWT_SECRET_KEY", "k" * 32)
    os.environ.update(OPENID_ISSUER="https://issuer.example", OPENID_AUDIENCE="https://api.example")
    sys.path.insert(0, os.getcwd())
    for name in names or ["blueprints", "cookies/app.py", *map(str, sorted(Path().glob("*.py")))]:
        module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
        if hasattr(module, "app"):
            asyncio.run(start_and_stop(module.app))


if __name__ == "__main__":
    main(sys.argv[1:])
