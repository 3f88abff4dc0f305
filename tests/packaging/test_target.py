"""``pip install --target`` over 0.1.0: what docs/installation.md says, and its commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import ROOT, attempt, run

pytestmark = pytest.mark.packaging


def commands() -> list[str]:
    """The commands of the section, in their order: install, look, remove."""
    page = (ROOT / "docs" / "installation.md").read_text("utf-8")
    section = page.split("\n## Install into a target folder\n")[1].split("\n## ")[0]
    return re.findall(r"^\$ (.+)$", section, re.MULTILINE)


INSTALL, LOOK, REMOVE = commands()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that the page calls DIR, with 0.1.0 in it."""
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--target", "DIR")
    run(*pip, "quart-jwt-extended==0.1.0", cwd=tmp_path)
    return tmp_path / "DIR"


def shell(command: str, folder: Path, wheel: Path) -> subprocess.CompletedProcess[str]:
    """What becomes of a command of the page, where the index has the wheel and nothing else."""
    return attempt(
        *("sh", "-euc", f'python() {{ "{sys.executable}" "$@"; }}; {command}'),
        cwd=folder.parent,
        PIP_FIND_LINKS=str(wheel.parent),
        PIP_NO_INDEX="1",
        PIP_NO_DEPS="1",
        # CI asks pip to print nothing, which would be no warning either.
        PIP_QUIET="0",
    )


def imported(folder: Path, wheel: Path) -> str:
    """The file that would be imported, relative to the folder."""
    looked = shell(LOOK, folder, wheel)
    assert looked.returncode == 0, looked.stderr
    return Path(looked.stdout.strip()).relative_to(folder).as_posix()


def version(folder: Path) -> str:
    """That of the module, which must be the one in the folder."""
    code = (
        "import quart_jwt_extended as module, pathlib, sys\n"
        "assert pathlib.Path(module.__file__).parent == pathlib.Path(sys.argv[1])\n"
        "print(module.__version__)"
    )
    done = attempt(sys.executable, "-c", code, folder, cwd=folder, PYTHONPATH=str(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_upgrade_of_0_1_0_in_a_folder_replaces_it(folder: Path, wheel: Path) -> None:
    assert imported(folder, wheel) == "quart_jwt_extended/__init__.py"
    installed = shell(INSTALL, folder, wheel)
    assert installed.returncode == 0, installed.stderr
    assert re.fullmatch(r"quart_jwt_extended\.\S+", imported(folder, wheel))
    assert version(folder) == "1.0.0"
    assert [path.name for path in (folder / "quart_jwt_extended").iterdir()] == ["README.txt"]


def test_install_over_0_1_0_in_a_folder_warns_and_can_be_repaired(
    folder: Path, wheel: Path
) -> None:
    installed = shell(INSTALL.replace("--upgrade ", ""), folder, wheel)
    assert installed.returncode == 0, installed.stderr
    warning = "Target directory {}/quart_jwt_extended already exists"
    assert warning.format(folder) in installed.stderr
    assert warning.format("DIR") in (ROOT / "docs" / "installation.md").read_text("utf-8")
    assert imported(folder, wheel) == "quart_jwt_extended/__init__.py"

    removed = shell(REMOVE, folder, wheel)
    assert (removed.returncode, removed.stderr) == (0, "")
    assert version(folder) == "1.0.0"
    assert [path.name for path in folder.glob("*.dist-info")] == [
        "quart_jwt_extended-1.0.0.dist-info"
    ]


def test_folder_that_upgrades_replace_does_not_hide_the_module(tmp_path: Path, wheel: Path) -> None:
    folder = tmp_path / "DIR"
    installed = shell(INSTALL, folder, wheel)
    assert (installed.returncode, "WARNING" in installed.stderr) == (0, False)
    assert (folder / "quart_jwt_extended").is_dir()
    assert version(folder) == "1.0.0"
