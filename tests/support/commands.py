"""Commands that tests of the distributions run: builds, tools, and programs of readers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
START_EXAMPLES = Path(__file__).with_name("start_examples.py")


def unavailable(reason: str) -> NoReturn:
    """Skip the test; fail it where REQUIRE_SERVICES=1 promises that what it needs is there."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str, package: str) -> str:
    """The path of a program; see :func:`unavailable`."""
    path = shutil.which(name)
    if path is None:
        unavailable(f"{name} is missing: apt-get install {package}")
    return path


def attempt(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a command, in an environment with these variables."""
    # The builds of these tests are looked at, not measured: -O0 takes a fraction of the time.
    environment = {**os.environ, "CFLAGS": "-O0", **variables}
    environment.pop("JWT_BUILD", None)
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; it must succeed."""
    done = attempt(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_sources(directory: Path) -> Path:
    """A copy of the repository, without what is made in it."""
    made = shutil.ignore_patterns(
        *(".git", ".venv*", ".nox", ".*_cache", ".hypothesis", ".coverage*"),
        "build",
        "dist",
        "*.egg-info",
        "*-stubs",
        "*.c",
        "*.so",
        "__pycache__",
    )
    return Path(shutil.copytree(ROOT, directory, ignore=made))


def environment(directory: Path, *requirements: str | Path) -> Path:
    """Make an environment that holds these requirements only; the folder of its programs."""
    make = (sys.executable, ROOT / ".ci" / "environment.py", directory, "--bare")
    run(*make, *requirements, cwd=directory.parent)
    return directory / "bin"


def added(programs: Path, directory: Path, *requirements: str) -> str:
    """Install into a folder what an environment lacks; the value for PYTHONPATH."""
    pip = (programs / "python", "-m", "pip", "install", "--target", directory)
    run(*pip, *requirements, cwd=directory.parent)
    return str(directory)
