"""Two builds of the same sources give the same distributions, byte for byte.

By the same interpreter, compiler and versions of Cython and setuptools; everything that may differ
from one builder to the next does.
"""

from __future__ import annotations

import os
import re
import sys
import tarfile
from pathlib import Path

import pytest

from support.commands import ROOT, attempt, copy_sources

pytestmark = pytest.mark.packaging

DATE = int(os.environ.get("SOURCE_DATE_EPOCH", "1580601600"))
LONG_AGO = 1_000_000_000


def built(sources: Path, *kinds: str, umask: str = "077", **variables: str) -> dict[str, Path]:
    """Build distributions of these kinds from a folder; each by the ending of its name."""
    build = (sys.executable, "-m", "build", "--no-isolation", *kinds)
    shell = ("sh", "-euc", f'umask {umask}; exec "$@"', "sh")
    done = attempt(*shell, *build, cwd=sources, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.suffix: path for path in (sources / "dist").iterdir()}


@pytest.fixture(scope="module")
def of_another_builder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An sdist and a wheel, both from a clone, by somebody who has nothing in common with us."""
    home = tmp_path_factory.mktemp("home")
    sources = copy_sources(home / "some" / "other" / "folder")
    for path in sources.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
        os.utime(path, (LONG_AGO, LONG_AGO))
    return built(
        *(sources, "--sdist", "--wheel"),
        HOME=str(home),
        USER="somebody",
        LC_ALL="C",
        TZ="Asia/Tokyo",
        PYTHONHASHSEED="4711",
    )


def test_sdist_of_another_builder_is_the_same(
    sdist: Path, of_another_builder: dict[str, Path]
) -> None:
    same = of_another_builder[".gz"]
    assert same.name == sdist.name
    assert contents(same) == contents(sdist)
    assert same.read_bytes() == sdist.read_bytes()


def test_wheel_of_another_builder_from_a_clone_is_the_one_from_the_sdist(
    wheel: Path, of_another_builder: dict[str, Path]
) -> None:
    same = of_another_builder[".whl"]
    assert same.name == wheel.name
    assert same.read_bytes() == wheel.read_bytes()


def contents(sdist: Path) -> dict[str, tuple[int, bytes]]:
    """What is in an sdist: the comparison of two of them then says where they differ."""
    with tarfile.open(sdist) as archive:
        found = {}
        for entry in archive:
            file = archive.extractfile(entry)
            found[entry.name] = (entry.mode, file.read() if file else b"")
    return found


def test_sdist_names_no_user_and_no_date_of_its_build(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        entries = archive.getmembers()
    assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {
        (0, 0, "", "")
    }
    assert {entry.mtime for entry in entries} == {DATE}
    assert {entry.mode for entry in entries if entry.isfile()} == {0o644, 0o755}
    assert int.from_bytes(sdist.read_bytes()[4:8], "little") == DATE


def test_date_that_the_builder_sets_is_the_one_of_every_file(tmp_path: Path) -> None:
    sources = copy_sources(tmp_path / "sources")
    sdist = built(sources, "--sdist", SOURCE_DATE_EPOCH=str(LONG_AGO))[".gz"]
    with tarfile.open(sdist) as archive:
        assert {entry.mtime for entry in archive} == {LONG_AGO}


def test_cibuildwheel_is_given_the_date_of_setup_py() -> None:
    # auditwheel packs each wheel anew, and takes the dates of the files without it.
    (default,) = re.findall(
        r'"SOURCE_DATE_EPOCH"\) or "(\d+)"', (ROOT / "setup.py").read_text("utf-8")
    )
    (given,) = re.findall(
        r'^environment = \{ SOURCE_DATE_EPOCH = "(\d+)" \}$',
        (ROOT / "pyproject.toml").read_text("utf-8"),
        re.MULTILINE,
    )
    assert given == default
