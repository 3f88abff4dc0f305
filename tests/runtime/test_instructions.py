"""What verifying one token costs in instructions, which valgrind counts the same on a busy machine.

Time is measured in ``benchmarks/``; this guards against work that slips into the request path.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support import SECRET, access_claims, hs_token

pytestmark = pytest.mark.packaging

# Instructions of one decode_token of an HS256 token with ordinary claims, in an app context. Half
# of them are the HMAC of OpenSSL. Measured on x86-64 with Python 3.11.7, cryptography 50.0.2 and
# gcc 12: 35,500; the budget is twice that.
BUDGET = 68_200
# How much more a token costs that is not plain ASCII, or holds a float.
CLIFF = 1.5
CALLS = 500

PROGRAM = f"""
import asyncio, sys
from quart import Quart
import quart_jwt_extended as qje

async def main():
    app = Quart("budget")
    app.config["JWT_SECRET_KEY"] = {SECRET!r}
    qje.JWTManager(app)
    async with app.app_context():
        for _ in range({CALLS}):
            claims = qje.decode_token(sys.argv[1])
        for _ in range({CALLS}):
            qje.create_access_token("alice", user_claims=claims["user_claims"])
    print(claims["identity"])

asyncio.run(main())
"""


@functools.cache
def instructions(function: str, value: object) -> float:
    """Instructions of one call of a function, for a token with a value in its user claims."""
    with tempfile.TemporaryDirectory() as folder:
        return counted(function, value, Path(folder, "callgrind.out"))


def counted(function: str, value: object, counts: Path) -> float:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("valgrind is missing: apt-get install valgrind")
        pytest.skip("valgrind is not installed")
    done = subprocess.run(
        [
            valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={counts}",
            # Counting is on while the function of this name runs, as Cython calls it in C.
            f"--toggle-collect=__pyx_pw_*{function}",
            sys.executable,
            "-c",
            PROGRAM,
            hs_token(access_claims(user_claims={"value": value})),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == "alice\n", done.stderr
    total = re.search(r"^(?:totals|summary): (\d+)", counts.read_text(), re.MULTILINE)
    assert total is not None
    each = int(total[1]) / CALLS
    # Less than any HMAC takes means that nothing was counted.
    assert each > 5_000
    return each


def test_verifying_a_token_stays_within_its_budget_of_instructions() -> None:
    assert instructions("decode_token", "plain") < BUDGET


@pytest.mark.parametrize("value", ["\u00e9", 1.5, 'a "quote"'], ids=["letter", "float", "escape"])
@pytest.mark.parametrize("function", ["decode_token", "create_access_token"])
def test_value_that_is_not_plain_costs_little_more(function: str, value: object) -> None:
    plain = instructions(function, "plain")
    assert instructions(function, value) < CLIFF * plain
