"""The distributions, made once for all tests that look at them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.commands import START_EXAMPLES, copy_sources, environment, run


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with what an earlier build may have left beside them."""
    copy = copy_sources(tmp_path_factory.mktemp("source") / "tree")
    (copy / "quart_jwt_extended.c").write_text("#error a stale .c was compiled\n")
    (copy / "quart_jwt_extended-stubs").mkdir()
    (copy / "quart_jwt_extended-stubs" / "stale.pyi").touch()
    return copy


@pytest.fixture(scope="session")
def leftovers(tree: Path) -> set[str]:
    """What running the examples, and configuring them, leaves in the tree."""
    examples = tree / "examples"
    before = set(examples.rglob("*"))
    quart = (sys.executable, "-m", "quart", "--app", "asymmetric_rotation:app")
    run(*quart, "rotate-keys", cwd=examples)
    run(sys.executable, "-B", START_EXAMPLES, cwd=examples)
    # What is there only while a key or an entry is written, or after a crash.
    for name in ("keys/keys.new", "users.db-journal", "users.db-wal", "users.db-shm"):
        (examples / name).touch()
    # Where secrets are put for hypercorn, quart or an editor to read; and a Redis started here.
    for name in (".env", ".env.local", ".flaskenv", ".quartenv", "tls.pem", "dump.rdb"):
        (examples / name).touch()
    for name in ("appendonlydir/1.aof", ".venv/module.py"):
        (examples / name).parent.mkdir()
        (examples / name).touch()
    left = {path for path in examples.rglob("*") if path.is_file()} - before
    return {path.relative_to(tree).as_posix() for path in left}


@pytest.fixture(scope="session")
def sdist(tree: Path, leftovers: set[str]) -> Path:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", cwd=tree)
    (path,) = (tree / "dist").glob("*.tar.gz")
    return path


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the sdist, and from nothing else."""
    built = tmp_path_factory.mktemp("wheel")
    run(
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", built, sdist),
        cwd=built,
    )
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that holds the wheel and what it requires."""
    return environment(tmp_path_factory.mktemp("installed") / "environment", wheel)
