"""The packages that docs/examples.md names are enough for the examples, and are in the extra."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from support.commands import ROOT, START_EXAMPLES, added, attempt, run

pytestmark = pytest.mark.packaging

EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "examples.md").read_text("utf-8")
POSTGRESQL = "postgresql+asyncpg://127.0.0.1:1/nothing"


def rows() -> list[tuple[list[str], list[str]]]:
    """The examples and the packages of each row of the page."""
    table = PAGE.split("| example | packages |\n|---|---|\n")[1].split("\n\n")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return [
        (re.findall(r"\w+\.py", names), re.findall(r"`([^`]+)`", needed)) for names, needed in cells
    ]


ROWS = rows()


def others() -> list[str]:
    """The examples that no row names."""
    named = {name for names, _ in ROWS for name in names}
    files = {path.name for path in EXAMPLES.glob("*.py")}
    assert named <= files
    return ["blueprints", "cookies/app.py", *sorted(files - named)]


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples, which write into the folder that they are run in."""
    left = shutil.ignore_patterns("keys", "*.db", "__pycache__")
    return shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=left)


@pytest.mark.parametrize(
    ("names", "packages"), [*ROWS, (others(), [])], ids=[*(row[1][-1] for row in ROWS), "none"]
)
def test_examples_start_with_the_packages_of_the_page(
    tmp_path: Path, examples: Path, programs: Path, names: list[str], packages: list[str]
) -> None:
    path = added(programs, tmp_path / "added", *packages) if packages else ""
    if "asymmetric_rotation.py" in names:
        run(programs / "quart", "--app", "asymmetric_rotation:app", "rotate-keys", cwd=examples)
    start = (programs / "python", START_EXAMPLES)
    if "asyncpg" not in packages:
        done = attempt(*start, *names, cwd=examples, PYTHONPATH=path)
        assert done.returncode == 0, done.stderr
        return
    for name in names:
        done = attempt(*start, name, cwd=examples, PYTHONPATH=path, DATABASE_URL=POSTGRESQL)
        # There is no such server; the driver gets as far as to find that out.
        assert "Connect call failed" in done.stderr.strip().rpartition("\n")[2]


def test_extra_has_the_packages_of_the_page() -> None:
    pattern = r"^examples = \[\n(.*?)^\]$"
    (extra,) = re.findall(pattern, (ROOT / "pyproject.toml").read_text("utf-8"), re.M | re.S)
    declared = {name.lower() for name in re.findall(r'^    "([\w\[\]]+)', extra, re.M)}
    assert declared == {package for _, packages in ROWS for package in packages}
