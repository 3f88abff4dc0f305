"""What a worker can be asked to time: batches of calls, and a registry of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from importlib.metadata import version
from timeit import Timer
from typing import Any

from environments import OURS, PREDECESSOR
from quart import Quart

# Which of the two libraries of the same name this process has.
LIBRARY = PREDECESSOR if version("quart-jwt-extended") == PREDECESSOR else OURS

# The CPU time of this process, where that is fine enough: it leaves out what other processes take
# from the CPU meanwhile. Nothing that is timed waits for anything.
clock = (
    time.process_time_ns
    if time.get_clock_info("process_time").resolution < 1e-6
    else time.perf_counter_ns
)

# Group, shape and subject: ("A", "HS256", "jwt.decode").
Key = tuple[str, str, str]

# Makes a number of calls, returns how many nanoseconds they took.
Batch = Callable[[int], Awaitable[int]]


class Cases:
    """The cases of one environment, by their keys."""

    def __init__(self) -> None:
        self.batches: dict[Key, Batch] = {}
        self.left_out: dict[Key, str] = {}

    async def add(self, group: str, shape: str, subject: str, batch: Batch) -> None:
        """Add a case after one trial call; a peer that fails the trial is left out, and says why.

        Ours may not fail: there the exception ends the run.
        """
        try:
            await batch(1)
        except Exception as error:
            if subject.startswith(OURS):
                raise
            self.left_out[group, shape, subject] = f"{type(error).__name__}: {error}"
        else:
            self.batches[group, shape, subject] = batch


def statement(code: str, names: dict[str, Any], app: Quart | None = None) -> Batch:
    """A batch that runs a statement, which sees ``names``, in a context of the app if one is given.

    The statement is compiled into the loop that times it, so that no call of a wrapper is measured
    along with it.
    """
    # timeit turns the garbage collector off, which would flatter whoever allocates most.
    timer = Timer(code, "gc.enable()", clock, {**names, "gc": gc})

    async def batch(calls: int) -> int:
        async with app.app_context() if app is not None else nullcontext():
            timer.timeit(1 + calls // 10)
            return int(timer.timeit(calls))

    return batch


def refusal(expression: str) -> str:
    """A statement that evaluates an expression and fails unless it raises InvalidTokenError."""
    return (
        f"try:\n    {expression}\n"
        "except InvalidTokenError:\n    pass\n"
        "else:\n    raise AssertionError('accepted')"
    )
