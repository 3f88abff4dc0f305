"""Measure this library beside what a user would pick instead: ``make bench``.

    run.py [--quick] [--only GROUPS]

Groups: A verifying, B creating, C whole requests, D servers, E refusing, F growth, G token stores;
README.md beside this file describes them. ``--quick`` measures A to C.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chart import overhead_chart
from conductor import HERE, Worker, command, measure, split_cpus
from environments import OURS, PINNED, PREDECESSOR, ROOT, prepare
from goals import Results
from report import TITLES, as_json, markdown
from serving import measure_servers

QUICK = "ABC"

# Enough for the overhead of a request, a small difference of two large figures, to settle.
ROUNDS = {"A": 30, "B": 12, "C": 70, "E": 20, "F": 20, "G": 70}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure A to C")
    parser.add_argument("--only", metavar="GROUPS", help="measure these, such as AE")
    arguments = parser.parse_args()
    groups = arguments.only or (QUICK if arguments.quick else "".join(TITLES))
    if not set(groups) <= set(TITLES):
        parser.error(f"the groups are {', '.join(TITLES)}")

    pythons = {name: prepare(name) for name in (OURS, PREDECESSOR)}
    about = _about()
    for name, pins in PINNED.items():
        print(f"{name}:", ", ".join(f"{package} {pin}" for package, pin in pins.items()))
    results = _measure(groups, pythons)

    report = markdown(results, about)
    print(report)
    # A part of a run must not pass for the whole.
    name = f"{about['tag']}{'' if groups == ''.join(TITLES) else '-part'}"
    directory = HERE / "results"
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.md").write_text(report)
    (directory / f"{name}.json").write_text(json.dumps(as_json(results, about), indent=1) + "\n")
    if "C" in groups:
        (directory / f"{name}.svg").write_text(overhead_chart(results, about))
    print(f"Written to {(directory / name).relative_to(ROOT)}.*")


def _measure(groups: str, pythons: dict[str, Path]) -> Results:
    results = Results()
    cpu, others = split_cpus()
    if others:
        os.sched_setaffinity(0, others)
    for group in groups:
        print(f"Measuring {TITLES[group]}", flush=True)
        if group == "D":
            results.servers = measure_servers(pythons, cpu)
            continue
        with (
            running_stores(pythons[OURS], group),
            Worker(pythons[OURS], cpu, group) as ours,
            Worker(pythons[PREDECESSOR], cpu, group) as predecessor,
        ):
            results.samples |= measure([ours, predecessor], ROUNDS[group])
            results.left_out |= ours.left_out | predecessor.left_out
            if group == "G":
                results.rotations = _figures(pythons[OURS], "sessions.py", str(cpu))
        if group == "F":
            results.memory |= _measure_memory(pythons[OURS], cpu)
        if group == "G":
            results.memory |= _figures(pythons[OURS], "memory.py", str(cpu), "revocations")
    return results


def _measure_memory(python: Path, cpu: int) -> dict[str, float]:
    """Each figure from a process that did nothing before."""
    keys = [["keys", algorithm] for algorithm in ("HS256", "RS256", "ES256", "EdDSA")]
    figures: dict[str, float] = {}
    for arguments in (*keys, ["signatures"], ["requests"]):
        figures |= _figures(python, "memory.py", str(cpu), *arguments)
    return figures


def _figures(python: Path, script: str, *arguments: str) -> Any:
    """What a script of this directory prints as JSON."""
    done = subprocess.run(
        command(python, script, *arguments), stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


@contextmanager
def running_stores(python: Path, group: str) -> Iterator[None]:
    """Redis and PostgreSQL for group G, which learns of them from the environment."""
    if group != "G":
        yield
        return
    with subprocess.Popen(
        command(python, "stores.py"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        os.environ["BENCHMARK_STORES"] = process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()


def _about() -> dict[str, Any]:
    """On what the run measures what."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    implementation = platform.python_implementation()
    version = platform.python_version()
    system = f"{platform.system()} {platform.machine()}"
    return {
        "tag": f"{implementation}-{version.rpartition('.')[0]}-{system}".lower().replace(" ", "-"),
        "date": datetime.date.today().isoformat(),
        "commit": commit or "unknown",
        "python": f"{implementation} {version}",
        "platform": system,
        "cpu": f"{_processor()}, {os.cpu_count()} CPUs",
        "versions": {name: pin for pins in PINNED.values() for name, pin in pins.items()},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown processor"


if __name__ == "__main__":
    main()
