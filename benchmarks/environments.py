"""The virtual environments that a run measures in, and the versions that are pinned in them.

The import name of 0.1.0 is also ours, so each has an environment of its own; all that both stand
on is the same in both.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

OURS = "ours"
PREDECESSOR = "0.1.0"

# The newest that run on this interpreter.
if sys.version_info >= (3, 13):
    QUART = "0.23.1"
elif sys.version_info >= (3, 11):
    QUART = "0.22.0"
else:
    QUART = "0.20.0"
JOSERFC = "1.8.0" if sys.version_info >= (3, 11) else "1.7.7"

SHARED = {
    "Quart": QUART,
    "Flask": "3.1.3",
    "Werkzeug": "3.1.9",
    "PyJWT": "2.15.1",
    "cryptography": "50.0.2",
    "uvicorn": "0.54.0",
    "h11": "0.16.0",
    "httptools": "0.9.0",
    "Hypercorn": "0.18.0",
}
if sys.platform != "win32":
    SHARED["uvloop"] = "0.23.0"

PEERS = {"Flask-JWT-Extended": "4.7.4", "joserfc": JOSERFC}
if sys.version_info >= (3, 12):
    PEERS["ryjwt"] = "0.2.2"

# What the token stores of group G stand on; pytest is for the starting of services that the tests
# have.
STORES = {
    "redis": "8.1.0",
    "SQLAlchemy": "2.1.9",
    "greenlet": "3.5.6",
    "asyncpg": "0.32.0",
    "aiosqlite": "0.22.1",
    "pytest": "9.2.0",
}

PINNED = {
    OURS: SHARED | PEERS | STORES,
    # It imports six, which is all that its own requirements would add.
    PREDECESSOR: SHARED | {"quart-jwt-extended": "0.1.0", "six": "1.17.0"},
}


def prepare(name: str) -> Path:
    """Make an environment, or bring it up to date; return its interpreter."""
    version = ".".join(platform.python_version_tuple()[:2])
    directory = ROOT / f".venv-bench-{version}-{name}"
    python = directory / ("Scripts" if os.name == "nt" else "bin") / "python"
    requirements = [f"{package}=={pin}" for package, pin in PINNED[name].items()]
    command = [sys.executable, ROOT / ".ci" / "environment.py", directory, *requirements]
    subprocess.run(command + ["--bare"] * (name == PREDECESSOR), check=True)
    return python
