"""Turns what a run measured into JSON, and into tables that read as Markdown and as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from environments import OURS, PREDECESSOR
from goals import GOALS, Results

TITLES = {
    "A": "A. Verifying a token",
    "B": "B. Creating an access token",
    "C": "C. A whole request through the ASGI application, in process",
    "D": "D. A server on the loopback interface, one worker",
    "E": "E. Refusing a token (HS256)",
    "F": "F. Growth",
    "G": "G. A token store",
}

# The subject that the others of a shape are compared with.
REFERENCES = {
    "A": "jwt.decode",
    "B": PREDECESSOR,
    "E": "jwt.decode",
    "F": "jwt.decode",
    "G": f"{OURS}, no store",
}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that also reads well as it is: aligned, numbers to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    numeric = [
        all(line[column][:1] in "-0123456789" for line in lines[1:])
        for column in range(len(header))
    ]

    def format_line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * (width - right) + ":" * right for width, right in zip(widths, numeric, strict=True)
    ]
    return "\n".join([format_line(lines[0]), format_line(rule), *map(format_line, lines[1:])])


def verdicts(results: Results) -> list[dict[str, Any]]:
    """The rows of the table of goals that the run measured."""
    rows = []
    for goal in GOALS:
        try:
            value = goal.measured(results)
        except KeyError:
            continue
        rows.append(
            {
                "figure": goal.figure,
                "unit": goal.unit,
                "must": goal.must,
                "aim": goal.aim,
                "measured": value,
                "verdict": goal.verdict(value),
            }
        )
    return rows


def markdown(results: Results, about: dict[str, Any]) -> str:
    """The whole report."""
    sections = ["# Results", _about(about), "## Goals", _goals(results)]
    groups = sorted({group for group, _, _ in results.samples})
    for group in "ABCDEFG":
        if group in groups or (group == "D" and results.servers):
            sections += [f"## {TITLES[group]}", _section(group, results)]
    if results.memory:
        sections += ["### Memory", _memory(results)]
    if results.left_out:
        sections += ["## Left out, since it failed its trial", _left_out(results)]
    return "\n\n".join(sections) + "\n"


def _about(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['date']}, commit {about['commit']}, {about['python']}, {about['platform']}, "
        f"{about['cpu']}.\n\n{versions}.\n\n"
        "Microseconds are those of this machine in this run: compare within the run only. "
        "[README.md](../README.md) says what each table holds."
    )


def _goals(results: Results) -> str:
    header = ("figure", "unit", "must", "aim", "measured", "verdict")
    return table(
        header,
        (
            (
                row["figure"],
                row["unit"],
                f"{row['must']:g}",
                f"{row['aim']:g}",
                _number(row["measured"]),
                row["verdict"],
            )
            for row in verdicts(results)
        ),
    )


def _section(group: str, results: Results) -> str:
    if group == "C":
        return _requests(group, results)
    if group == "D":
        return _servers(results)
    if group == "F":
        return f"{_calls(group, results)}\n\n{_requests(group, results)}"
    if group == "G":
        tables = _requests(group, results), _calls(group, results), _rotations(results)
        return "\n\n".join(tables)
    return _calls(group, results)


def _calls(group: str, results: Results) -> str:
    """Medians, minima, and how they compare with the reference of their shape."""
    reference = REFERENCES[group]
    requests = {row["shape"] for row in overhead_rows(group, results)}
    rows = []
    for key in results.samples:
        if key[0] == group and key[1] not in requests:
            base = (group, key[1], reference)
            times = ""
            if base in results.samples:
                times = _number(results.samples.median(base) / results.samples.median(key))
            numbers = results.samples.median(key), results.samples.minimum(key)
            rows.append((key[1], key[2], *map(_number, numbers), times))
    header = ("case", "subject", "median us", "minimum us", f"times as fast as {reference}")
    return table(header, rows)


def overhead_rows(group: str, results: Results) -> list[dict[str, Any]]:
    """What each protected route of a group takes longer than the open one beside it."""
    return [
        {
            "shape": shape,
            "subject": subject,
            "request_us": results.samples.median((group, shape, subject)),
            "overhead_us": results.overhead(shape, subject, group),
            "least_overhead_us": results.least_overhead(shape, subject, group),
        }
        for own_group, shape, subject in results.samples
        if own_group == group and (group, shape, results.open_route(subject)) in results.samples
    ]


def _requests(group: str, results: Results) -> str:
    rows = overhead_rows(group, results)
    overheads = {(row["shape"], row["subject"]): row["overhead_us"] for row in rows}
    lines = []
    for row in rows:
        predecessor = overheads.get((row["shape"], PREDECESSOR))
        numbers = row["request_us"], row["overhead_us"], row["least_overhead_us"]
        times = _number(predecessor / row["overhead_us"]) if predecessor else ""
        lines.append((row["shape"], row["subject"], *map(_number, numbers), times))
    header = (
        "case",
        "subject",
        "request us",
        "overhead us",
        "overhead us (minima)",
        f"times less than {PREDECESSOR}",
    )
    return table(header, lines)


def _servers(results: Results) -> str:
    columns = {
        "requests/s": ("requests_per_second", ".0f"),
        "percent of open": ("percent_of_open", ".1f"),
        "requests per CPU second": ("requests_per_cpu_second", ".0f"),
        "percent of open, by CPU": ("percent_of_open_by_cpu", ".1f"),
        "p50 ms": ("p50_ms", ".2f"),
        "p99 ms": ("p99_ms", ".2f"),
    }
    rows = (
        [
            row["server"],
            row["route"],
            *(format(row[name], form) for name, form in columns.values()),
        ]
        for row in results.servers
    )
    return table(("server", "route", *columns), rows)


def _rotations(results: Results) -> str:
    rows = (
        (row["store"], str(row["clients"]), f"{row['rotations_per_second']:.0f}")
        for row in results.rotations
    )
    return table(("store", "clients", "rotations/s"), rows)


def _memory(results: Results) -> str:
    return table(
        ("figure", "measured"),
        (
            (name.replace("_", " ").replace("rss", "RSS").replace("mib", "MiB"), _number(value))
            for name, value in results.memory.items()
        ),
    )


def _left_out(results: Results) -> str:
    return table(
        ("group", "case", "subject", "reason"),
        ((*key, reason) for key, reason in results.left_out.items()),
    )


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def as_json(results: Results, about: dict[str, Any]) -> dict[str, Any]:
    """All figures, for programs to read."""
    return {
        **about,
        "goals": verdicts(results),
        "cases": [
            {
                "group": group,
                "case": shape,
                "subject": subject,
                "median_us": results.samples.median((group, shape, subject)),
                "minimum_us": results.samples.minimum((group, shape, subject)),
                "rounds": len(values),
            }
            for (group, shape, subject), values in results.samples.items()
        ],
        "overheads": [row for group in "CFG" for row in overhead_rows(group, results)],
        "servers": results.servers,
        "memory": results.memory,
        "rotations": results.rotations,
        "left_out": [[*key, reason] for key, reason in results.left_out.items()],
    }
