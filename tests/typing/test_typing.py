"""The installed stubs, as mypy and pyright see them from a project outside the repository.

The project is ``tests/typing``. A comment below a line of it says what both checkers must report
for that line, in the spelling of :func:`same_spelling`::

    reveal_type(view)
    # reveals: (user_id: int) -> Coroutine[Any, Any, str]
    view("one")
    # refused: <mypy's code>, <pyright's rules>

Where they differ, ``# mypy reveals:`` and ``# pyright reveals:`` stand for one each. A report that
no comment announces fails the test, as does a comment without its report.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "cases"
FILES = sorted(path.name for path in PROJECT.glob("*.py"))

Reports = dict[str, set[tuple[int, str]]]

pytestmark = pytest.mark.packaging


def same_spelling(type_text: str) -> str:
    """A type as both checkers spell it: without modules, and without the values of defaults."""
    text = re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", type_text)
    text = re.sub(r" =[^,)]*", " = ...", text)
    return text.removeprefix("def ").replace("CoroutineType[", "Coroutine[")


def expected(file: str, checker: str) -> set[tuple[int, str]]:
    """What the comments of a file announce for a checker: line numbers, with a type or a code."""
    reports = set()
    line_number = 0
    for number, line in enumerate((PROJECT / file).read_text(encoding="utf-8").splitlines(), 1):
        comment = re.fullmatch(r"\s*# (?:(mypy|pyright) )?(reveals|refused): (.+)", line)
        if comment is None:
            line_number = number
            continue
        only, kind, text = comment.groups()
        if kind == "refused":
            code, rules = text.split(", ")
            names = [code] if checker == "mypy" else rules.split()
            reports |= {(line_number, name) for name in names}
        elif only in (None, checker):
            reports.add((line_number, text))
    return reports


def run(project: Path, *command: str) -> str:
    """What a checker prints, run with this interpreter from inside the project."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")
    }
    environment["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project where no file of the repository is in sight."""
    root = tmp_path_factory.mktemp("consumer")
    for file in FILES:
        shutil.copy(PROJECT / file, root)
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.10"}
    (root / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def mypy_reports(project: Path) -> Reports:
    """The reports of ``mypy --strict``."""
    output = run(project, "mypy", "--strict", "--config-file=", "--python-version=3.10", *FILES)
    reports: Reports = {file: set() for file in FILES}
    for file, number, text in re.findall(r"^([\w.]+):(\d+): (.+)$", output, re.MULTILINE):
        if revealed := re.fullmatch(r'note: Revealed type is "(.+)"', text):
            reports[file].add((int(number), same_spelling(revealed[1])))
        elif error := re.fullmatch(r"error: .+\[([\w-]+)\]", text):
            reports[file].add((int(number), error[1]))
    assert any(reports.values()), output
    return reports


@pytest.fixture(scope="module")
def pyright_reports(project: Path) -> Reports:
    """The reports of pyright in strict mode."""
    output = run(project, "pyright", "--outputjson", f"--pythonpath={sys.executable}")
    reports: Reports = {file: set() for file in FILES}
    for report in json.loads(output)["generalDiagnostics"]:
        revealed = re.fullmatch(r'Type of ".+" is "(.+)"', report["message"], re.DOTALL)
        text = same_spelling(revealed[1]) if revealed else report.get("rule", report["message"])
        reports[Path(report["file"]).name].add((report["range"]["start"]["line"] + 1, text))
    assert any(reports.values()), output
    return reports


@pytest.mark.parametrize("file", FILES)
def test_consumer_project_under_mypy_strict_reports_what_is_announced(
    file: str, mypy_reports: Reports
) -> None:
    assert mypy_reports[file] == expected(file, "mypy")


@pytest.mark.parametrize("file", FILES)
def test_consumer_project_under_pyright_strict_reports_what_is_announced(
    file: str, pyright_reports: Reports
) -> None:
    assert pyright_reports[file] == expected(file, "pyright")


def test_stubtest_finds_no_difference_between_stub_and_module(project: Path) -> None:
    assert run(project, "mypy.stubtest", "quart_jwt_extended").startswith("Success")
