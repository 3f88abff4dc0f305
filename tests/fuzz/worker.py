"""The fuzzer itself: ``worker.py TARGET [options of libFuzzer] [folders]``, started by run.py."""

from __future__ import annotations

import importlib
import os
import random
import sys
from pathlib import Path

import atheris

# The sanitizer starts a symbolizer, in which what was loaded into Python could not run.
os.environ.pop("LD_PRELOAD", None)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

target = importlib.import_module(sys.argv.pop(1))


def custom_mutator(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time what knows the format, half of the time what knows the coverage."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return target.mutate(data, rng)[:max_size]
    return atheris.Mutate(data, max_size)


def write_dictionary(path: Path) -> None:
    """The words of the target, in the format of libFuzzer."""
    words = [word.encode() for word in target.WORDS if word]
    quoted = ["".join(f"\\x{byte:02x}" for byte in word) for word in words]
    path.write_text("".join(f'"{word}"\n' for word in quoted))


def run(data: bytes) -> None:
    target.check(data)


for argument in sys.argv:
    if argument.startswith("-dict="):
        write_dictionary(Path(argument.removeprefix("-dict=")))

atheris.Setup(sys.argv, run, custom_mutator=custom_mutator)
atheris.Fuzz()
