"""Runs workers side by side and has them time their cases in turns."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent

# Group, shape and subject, as in case.py, which only the workers can import.
Key = tuple[str, str, str]

# Long enough for the clock and the pipes not to matter, short enough for a disturbance to hit few
# batches (microseconds).
BATCH = 6000

_T = TypeVar("_T")


def split_cpus() -> tuple[int, set[int]]:
    """The CPU for what is measured, and those for what measures: others, if there are others."""
    if not hasattr(os, "sched_getaffinity"):
        return 0, set()
    *others, last = sorted(os.sched_getaffinity(0))
    return last, set(others) or {last}


def command(python: Path, script: str, *arguments: str) -> list[str]:
    """How to run a script of this directory in an environment."""
    # 0.1.0 calls deprecated functions; whether to print that must not be measured.
    return [str(python), "-W", "ignore", str(HERE / script), *arguments]


class Worker:
    """A process that hosts the cases of some groups in one environment."""

    def __init__(self, python: Path, cpu: int, groups: str) -> None:
        self.process = subprocess.Popen(
            command(python, "worker.py", str(cpu), groups),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        hosted = self._read()
        self.cases: list[Key] = [tuple(case) for case in hosted["cases"]]
        self.left_out: dict[Key, str] = {tuple(case): why for case, why in hosted["left_out"]}

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    def time(self, case: Key, calls: int) -> float:
        """Have a batch of calls made, return the microseconds per call."""
        order = {"case": self.cases.index(case), "calls": calls}
        assert self.process.stdin is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        return float(self._read()["nanoseconds"]) / calls / 1000

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("A worker died; its traceback is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Samples(dict[Key, list[float]]):
    """Microseconds of CPU time per call of each case, one figure a round."""

    def median(self, key: Key) -> float:
        return median(self[key])

    def minimum(self, key: Key) -> float:
        return min(self[key])

    def over(self, key: Key, base: Key) -> float:
        """By how much a case takes longer than another: the median over the rounds."""
        return median(one - other for one, other in zip(self[key], self[base], strict=True))


def measure(workers: Sequence[Worker], rounds: int) -> Samples:
    """Time every case of the workers once a round.

    What disturbs the machine for a while thus hits all cases alike. Those of one shape, which are
    compared with each other, come right after each other, else the order changes from round to
    round: what a case leaves in the caches is not to fall upon the same one each time.
    """
    shapes: dict[tuple[str, str], list[tuple[Worker, Key]]] = {}
    for worker in workers:
        for case in worker.cases:
            shapes.setdefault(case[:2], []).append((worker, case))
    calls = {case: _calibrate(worker, case) for hosts in shapes.values() for worker, case in hosts}
    samples = Samples({case: [] for case in calls})
    chance = random.Random(0)
    for _ in range(rounds):
        for hosts in shuffled(chance, shapes.values()):
            for worker, case in shuffled(chance, hosts):
                samples[case].append(worker.time(case, calls[case]))
    return samples


def shuffled(chance: random.Random, items: Iterable[_T]) -> list[_T]:
    """The items in a new order."""
    order = list(items)
    chance.shuffle(order)
    return order


def _calibrate(worker: Worker, case: Key) -> int:
    """How many calls make a batch."""
    calls = 1
    while calls * worker.time(case, calls) < BATCH / 4:
        calls *= 2
    # The fastest of a few, since a batch cut short by noise would be short in every round.
    fastest = min(worker.time(case, calls) for _ in range(5))
    return max(1, round(BATCH / fastest))
