"""The programs of ``tests/load`` as tests run them: each in a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

LOAD = Path(__file__).parents[1] / "load"

# Seconds; ample for a slow machine, so that nothing here waits without an end.
RUN_LIMIT = 600
STOP_LIMIT = 60


def start(program: str, *arguments: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(LOAD / program), *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What a run printed; it must end, and leave no process."""
    try:
        output, _ = process.communicate(timeout=RUN_LIMIT)
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=STOP_LIMIT)
        left = what_is_left_of(process.pid)
    assert not left, output
    return output


def what_is_left_of(group: int) -> bool:
    """Whether a process group does not end; it is ended then."""
    # A process that multiprocessing has beside the workers learns a moment later that they ended.
    deadline = time.monotonic() + STOP_LIMIT
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    return True
