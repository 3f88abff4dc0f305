"""The virtual environments that a run measures in, and the versions that are pinned in them.

The import name of 0.1.0 is also ours, so each has an environment of its own; all that both stand
on is the same in both.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
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

PINNED = {
    OURS: SHARED | PEERS,
    # It imports six, which is all that its own requirements would add.
    PREDECESSOR: SHARED | {"quart-jwt-extended": "0.1.0", "six": "1.17.0"},
}

# What a build of the module reads.
SOURCES = (
    "quart_jwt_extended.pyx",
    "quart_jwt_extended.pyi",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)


def prepare(name: str) -> Path:
    """Make an environment, or bring it up to date; return its interpreter."""
    version = ".".join(platform.python_version_tuple()[:2])
    directory = ROOT / f".venv-bench-{version}-{name}"
    python = directory / ("Scripts" if os.name == "nt" else "bin") / "python"
    requirements = [f"{package}=={pin}" for package, pin in PINNED[name].items()]

    stamp = directory / "requirements.stamp"
    wanted = "\n".join([sys.base_prefix, sys.version, *requirements])
    if not _reads(stamp, wanted):
        print(f"Making {directory.name}", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        _pip(python, *requirements)
        stamp.write_text(wanted)
    if name == OURS:
        _install_module(python, directory / "module.stamp")
    return python


def _install_module(python: Path, stamp: Path) -> None:
    """Install the checkout's module, unless the sources are those it was last built from."""
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update((ROOT / source).read_bytes())
    if _reads(stamp, digest.hexdigest()):
        return
    print("Building the module", flush=True)
    # A copy, so that this build and one in the checkout cannot disturb each other.
    with tempfile.TemporaryDirectory() as copy:
        for source in SOURCES:
            shutil.copy2(ROOT / source, copy)
        _pip(python, "--force-reinstall", "--no-deps", copy)
    stamp.write_text(digest.hexdigest())


def _reads(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


def _pip(python: Path, *arguments: str) -> None:
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    subprocess.run([*pip, *arguments], check=True)
