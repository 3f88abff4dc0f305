"""No test depends on the time of day: what a moved clock would show of one that does.

``make asan`` runs the tests by a clock that is an hour ahead of the one at their collection.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A token of 15 minutes, made when the file is collected, as no test of the suite may have it.
EXPIRING = """
import asyncio

import quart_jwt_extended as qje
from support import make_app

APP = make_app()


async def token():
    async with APP.app_context():
        return qje.create_access_token("alice")


TOKEN = asyncio.run(token())


async def test_token_of_the_collection_is_valid():
    async with APP.app_context():
        qje.decode_token(TOKEN)
"""


def pytest_in(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


@pytest.mark.parametrize(("seconds", "status"), [("0", 0), ("600", 0), ("3600", 1)])
def test_token_that_expires_fails_only_when_the_clock_moves_past_its_end(
    tmp_path: Path, seconds: str, status: int
) -> None:
    (tmp_path / "test_expiring.py").write_text(EXPIRING)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    done = pytest_in(tmp_path, "-o", "asyncio_mode=auto", "--clock-offset", seconds)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("ExpiredSignatureError" in done.stdout) == (status == 1)
