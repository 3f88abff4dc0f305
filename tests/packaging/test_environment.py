""".ci/environment.py compiles the module anew when that makes another file, and only then."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT_FROM = [
    *("quart_jwt_extended.pyx", "quart_jwt_extended.pyi", "setup.py", "pyproject.toml"),
    *("README.md", "LICENSE", "stubs", "_quart_jwt_extended_pyinstaller", ".ci/environment.py"),
]

pytestmark = pytest.mark.packaging


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a build reads, and none of the variables that change a build."""
    for name in ("JWT_BUILD", "JWT_WHEELS", "CC", "CFLAGS", "LDFLAGS"):
        monkeypatch.delenv(name, raising=False)
    tree = tmp_path / "tree"
    (tree / ".ci").mkdir(parents=True)
    for name in BUILT_FROM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tree / name)
    return tree


def module_of(tree: Path) -> str:
    """The name of the build that is wanted of a tree."""
    name = runpy.run_path(str(tree / ".ci" / "environment.py"))["module"]()
    assert isinstance(name, str)
    return name


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    "name",
    [
        *("quart_jwt_extended.pyx", "quart_jwt_extended.pyi", "setup.py", "stubs/config.pyi"),
        *("stubs/added.pyi", "_quart_jwt_extended_pyinstaller/__init__.py"),
    ],
)
def test_change_of_what_is_compiled_wants_another_build(tree: Path, name: str) -> None:
    before = module_of(tree)
    with (tree / name).open("a") as file:
        file.write("\n")
    assert module_of(tree) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"Cython>=3.3"]', '"Cython>=3.4"]'),
        ('version = "1.0.0"', 'version = "1.0.1"'),
        ('"pytest>=8.3"', '"pytest>=8.4"'),
        ("py-modules = []", 'py-modules = ["noxfile"]'),
    ],
    ids=["build-system", "project", "extra", "tool.setuptools"],
)
def test_change_of_what_is_declared_wants_another_build(tree: Path, old: str, new: str) -> None:
    before = module_of(tree)
    edit(tree / "pyproject.toml", old, new)
    assert module_of(tree) != before


@pytest.mark.parametrize("name", ["JWT_BUILD", "CC", "CFLAGS", "LDFLAGS"])
def test_variable_of_the_compiler_wants_another_build(
    tree: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = module_of(tree)
    monkeypatch.setenv(name, "coverage")
    assert module_of(tree) != before


def test_change_of_a_text_or_a_tool_wants_the_same_build(tree: Path) -> None:
    before = module_of(tree)
    (tree / "README.md").write_text("Something else.")
    (tree / "LICENSE").write_text("Something else.")
    edit(tree / "pyproject.toml", "max-line-length = 100", "max-line-length = 90")
    edit(tree / "pyproject.toml", '"--strict-markers"', '"--strict"')
    assert module_of(tree) == before


def test_wheel_that_is_there_is_not_built_again(tree: Path) -> None:
    wheel = tree / "build" / "wheels" / module_of(tree) / "kept.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    done = subprocess.run(
        [sys.executable, tree / ".ci" / "environment.py", "--wheel"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == (f"{wheel}\n", "")


def test_wheel_is_built_of_the_listed_files_and_kept(tree: Path) -> None:
    (tree / "quart_jwt_extended.pyx").write_text("print('a module')\n")
    command = [sys.executable, tree / ".ci" / "environment.py", "--wheel"]
    paths = set()
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        paths.add(done.stdout.strip())
    (path,) = map(Path, paths)
    assert path.is_relative_to(tree / "build" / "wheels" / module_of(tree))
    assert "Building" not in done.stderr
    assert path.stat().st_size > 0
    assert {entry.name for entry in tree.iterdir()} == {
        *(name.partition("/")[0] for name in BUILT_FROM),
        "build",
    }


@pytest.mark.parametrize("arguments", [["--bare", "NEW", "NAME"], ["NEW", "--bare", "NAME"]])
def test_environment_without_the_module_holds_the_requirement_only(
    tree: Path, tmp_path: Path, arguments: list[str]
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nname = "something"\nversion = "1"\n')
    given = {"NEW": str(tmp_path / "new"), "NAME": str(package)}
    command = [sys.executable, tree / ".ci" / "environment.py"]
    command += [given.get(argument, argument) for argument in arguments]
    subprocess.run(command, capture_output=True, timeout=300, check=True)
    python = tmp_path / "new" / "bin" / "python"
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        # CI asks pip to print nothing.
        env={name: value for name, value in os.environ.items() if name != "PIP_QUIET"},
    )
    assert {line.partition("==")[0] for line in listed.stdout.splitlines()} <= {
        *("something", "pip", "setuptools")
    }
    assert "something==1" in listed.stdout
    assert not (tree / "build").exists()
