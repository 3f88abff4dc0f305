"""What verifying one token costs in instructions, which valgrind counts the same on a busy machine.

Time is measured in ``benchmarks/``; this guards against work that slips into the request path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import SECRET, access_claims, hs_token

pytestmark = pytest.mark.packaging

# Instructions of one decode_token of an HS256 token with ordinary claims, in an app context. Half
# of them are the HMAC of OpenSSL. Measured on x86-64 with Python 3.11.7, cryptography 50.0.2 and
# gcc 12: 34,100; the budget is twice that.
BUDGET = 68_200
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
    print(claims["identity"])

asyncio.run(main())
"""


def test_verifying_a_token_stays_within_its_budget_of_instructions(tmp_path: Path) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("valgrind is missing: apt-get install valgrind")
        pytest.skip("valgrind is not installed")
    counts = tmp_path / "callgrind.out"
    done = subprocess.run(
        [
            valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={counts}",
            # Counting is on while the function of this name runs, as Cython calls it in C.
            "--toggle-collect=__pyx_pw_*decode_token",
            sys.executable,
            "-c",
            PROGRAM,
            hs_token(access_claims()),
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
    assert 5_000 < each < BUDGET, f"{each:.0f} instructions for one token"
