"""Hosts the cases of one environment, and times batches of them on request.

    worker.py CPU GROUPS

One JSON object a line: first, on standard output, the cases there are; then the nanoseconds of a
batch for each request on standard input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys

from case import Cases
from creating import add_creating
from growth import add_growth
from requesting import add_requesting
from sessions import add_sessions
from verifying import add_refusing, add_verifying

ADD = {
    "A": add_verifying,
    "B": add_creating,
    "C": add_requesting,
    "E": add_refusing,
    "F": add_growth,
    "G": add_sessions,
}


async def work(groups: str) -> None:
    """Answer requests until standard input ends."""
    cases = Cases()
    for group in groups:
        await ADD[group](cases)
    batches = list(cases.batches.values())
    _write({"cases": list(cases.batches), "left_out": list(cases.left_out.items())})
    # The garbage collector stays on, but each batch is to pay for its own garbage only: not for
    # what others left, nor for looking through all that was imported.
    gc.collect()
    gc.freeze()
    # Nothing else runs in this loop between two requests, so waiting may block it.
    for line in sys.stdin:
        order = json.loads(line)
        gc.collect()
        _write({"nanoseconds": await batches[order["case"]](order["calls"])})


def _write(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(work(sys.argv[2]))
