"""The distributions: what they hold, that they build from each other, and what they declare."""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import quart_jwt_extended as qje

ROOT = Path(__file__).parents[2]
SUBMODULES = {
    "config",
    "default_callbacks",
    "exceptions",
    "jwt_manager",
    "tokens",
    "utils",
    "view_decorators",
}
STUBS = {f"quart_jwt_extended-stubs/{name}.pyi" for name in SUBMODULES | {"__init__"}}

pytestmark = pytest.mark.packaging


def attempt(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a command, in an environment with these variables."""
    # The builds of these tests are looked at, not measured: -O0 takes a fraction of the time.
    environment = {**os.environ, "CFLAGS": "-O0", **variables}
    environment.pop("JWT_BUILD", None)
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; it must succeed."""
    done = attempt(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with what an earlier build may have left beside them."""
    copy = tmp_path_factory.mktemp("source") / "tree"
    built = shutil.ignore_patterns(
        *(".git", ".venv*", ".nox", ".*_cache", ".hypothesis", ".coverage*"),
        "build",
        "dist",
        "*.egg-info",
        "*-stubs",
        "*.c",
        "*.so",
        "__pycache__",
    )
    shutil.copytree(ROOT, copy, ignore=built)
    (copy / "quart_jwt_extended.c").write_text("#error a stale .c was compiled\n")
    (copy / "quart_jwt_extended-stubs").mkdir()
    (copy / "quart_jwt_extended-stubs" / "stale.pyi").touch()
    return copy


# Starts every example in the folder of the examples, as their readers may, and stops it again.
RUN_EXAMPLES = """
import asyncio, importlib, os, pathlib, sys
os.environ.setdefault("JWT_SECRET_KEY", "k" * 32)
os.environ.update(OPENID_ISSUER="https://issuer.example", OPENID_AUDIENCE="audience")
sys.path.insert(0, ".")
async def start_and_stop(app):
    async with app.test_app():
        pass
for path in sorted(pathlib.Path().glob("*.py")):
    module = importlib.import_module(path.stem)
    if hasattr(module, "app"):
        asyncio.run(start_and_stop(module.app))
"""


@pytest.fixture(scope="module")
def leftovers(tree: Path) -> set[str]:
    """What running the examples, and configuring them, leaves in the tree."""
    examples = tree / "examples"
    before = set(examples.rglob("*"))
    quart = (sys.executable, "-m", "quart", "--app", "asymmetric_rotation:app")
    run(*quart, "rotate-keys", cwd=examples)
    run(sys.executable, "-B", "-c", RUN_EXAMPLES, cwd=examples)
    # What is there only while a key or an entry is written, or after a crash.
    for name in ("keys/1.new", "users.db-journal", "users.db-wal", "users.db-shm"):
        (examples / name).touch()
    # Where secrets are put for hypercorn, quart or an editor to read; and a Redis started here.
    for name in (".env", ".env.local", ".flaskenv", ".quartenv", "tls.pem", "dump.rdb"):
        (examples / name).touch()
    for name in ("appendonlydir/1.aof", ".venv/module.py"):
        (examples / name).parent.mkdir()
        (examples / name).touch()
    left = {path for path in examples.rglob("*") if path.is_file()} - before
    return {path.relative_to(tree).as_posix() for path in left}


@pytest.fixture(scope="module")
def sdist(tree: Path, leftovers: set[str]) -> Path:
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", cwd=tree)
    (path,) = (tree / "dist").glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read("quart_jwt_extended-1.0.0.dist-info/METADATA"))


def test_sdist_holds_sources_and_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        "quart_jwt_extended.pyx",
        "quart_jwt_extended.pyi",
        "setup.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "Makefile",
        ".ci/environment.py",
        *(f"stubs/{name}.pyi" for name in SUBMODULES),
        "tests/support/__init__.py",
        "tests/packaging/test_packaging.py",
        "tests/typing/cases/loaders.py",
    }
    built = re.compile(r".*\.(c|so|pyd|pyc|o)|build/.*|quart_jwt_extended-stubs/.*")
    assert [name for name in names if built.fullmatch(name)] == []


def test_sdist_after_running_the_examples_holds_nothing_that_they_leave(
    sdist: Path, leftovers: set[str]
) -> None:
    made = {"examples/users.db", "examples/revoked.db"}
    assert made < leftovers
    assert any(re.fullmatch(r"examples/keys/\d{9,}\.pem", name) for name in leftovers)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names & leftovers == set()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
@pytest.mark.parametrize("folder", ["examples", "."])
def test_git_ignores_what_running_the_examples_leaves(leftovers: set[str], folder: str) -> None:
    names = {name.replace("examples", folder, 1) for name in leftovers}
    git = ("git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index")
    ignored = attempt(*git, *sorted(names), cwd=ROOT).stdout.split()
    assert names - set(ignored) == set()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_sdist_holds_every_file_of_the_folders_that_it_takes(sdist: Path) -> None:
    folders = ("benchmarks", "docs", "examples", "stubs", "tests")
    tracked = set(run("git", "ls-files", "--", *folders, cwd=ROOT).splitlines())
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked - names == set()


def test_wheel_from_sdist_holds_extension_stubs_and_metadata_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    extension = "quart_jwt_extended" + sysconfig.get_config_var("EXT_SUFFIX")
    info = {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE", "top_level.txt"}
    assert names == {extension, *STUBS} | {
        f"quart_jwt_extended-1.0.0.dist-info/{name}" for name in info
    }


def test_wheel_stubs_are_those_of_the_repository(wheel: Path) -> None:
    sources = {name: ROOT / "stubs" / f"{name}.pyi" for name in SUBMODULES}
    sources["__init__"] = ROOT / "quart_jwt_extended.pyi"
    with zipfile.ZipFile(wheel) as archive:
        for name, source in sources.items():
            shipped = archive.read(f"quart_jwt_extended-stubs/{name}.pyi")
            assert shipped == source.read_bytes()


def test_metadata_is_complete(metadata: email.message.Message) -> None:
    assert metadata["Name"] == "quart-jwt-extended"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Author"] == "The quart-jwt-extended maintainers"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    description = metadata.get_payload(decode=True).decode()
    assert description.strip() == (ROOT / "README.md").read_text("utf-8").strip()
    assert metadata.get_all("Project-URL") is None
    assert metadata["Home-page"] is None


def test_metadata_names_every_supported_python(metadata: email.message.Message) -> None:
    prefix = "Programming Language :: Python :: 3."
    minors = [c.removeprefix(prefix) for c in metadata.get_all("Classifier") if prefix in c]
    assert minors == ["10", "11", "12", "13"]


def test_metadata_requires_three_packages_at_run_time(metadata: email.message.Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert [re.split(r"[<>=!~]", line)[0] for line in needed] == ["quart", "PyJWT", "cryptography"]
    assert all(">=" in line for line in needed)


def test_version_of_metadata_and_module_agree(metadata: email.message.Message) -> None:
    assert metadata["Version"] == qje.__version__


def test_cython_compiles_without_a_warning(tmp_path: Path) -> None:
    output = tmp_path / "quart_jwt_extended.c"
    source = ROOT / "quart_jwt_extended.pyx"
    cython = (sys.executable, "-m", "cython", "--warning-errors")
    run(*cython, "--output-file", output, source, cwd=tmp_path)
    assert output.stat().st_size > 0


def test_editable_install_imports_and_type_checks_from_the_tree(tree: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    paths = sysconfig.get_paths(vars={"base": str(tmp_path / "venv")})
    # Last in the alphabet: what this environment has installed comes after the editable tree.
    outer = Path(paths["purelib"]) / "zz-outer.pth"
    outer.write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", python)
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--editable")
    run(*pip, "install", *options, tree, cwd=tmp_path)

    code = "import quart_jwt_extended; print(quart_jwt_extended.__file__)"
    assert Path(run(python, "-c", code, cwd=tmp_path).strip()).parent == tree

    (tmp_path / "consumer.py").write_text(
        "from quart_jwt_extended import JWTManager\n"
        "from quart_jwt_extended.exceptions import CSRFError\n"
        "reveal_type(JWTManager())\n"
        "reveal_type(CSRFError())\n"
    )
    report = run(python, "-m", "mypy", "--strict", "consumer.py", cwd=tmp_path)
    assert re.findall(r'Revealed type is "[\w.]*?(\w+)"', report) == ["JWTManager", "CSRFError"]
    assert {path.name for path in (tree / "quart_jwt_extended-stubs").iterdir()} == {
        Path(stub).name for stub in STUBS
    }


def test_build_without_a_compiler_says_what_to_install(tree: Path, tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index")
    done = attempt(*pip, "--wheel-dir", tmp_path, tree, cwd=tmp_path, CC="/no/such/compiler")
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "/no/such/compiler" in told
    assert "This needs a C compiler and the headers of this Python" in told
    assert "gcc and python3-dev" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_there", [True, False], ids=["old", "missing"])
def test_make_without_a_python_that_is_supported_says_so(
    tree: Path, tmp_path: Path, is_there: bool
) -> None:
    interpreter = tmp_path / "python"
    if is_there:
        # What asks for 3.10 fails in an older one, and makes nothing of what follows.
        interpreter.write_text("#!/bin/sh\nexit 1\n")
        interpreter.chmod(0o755)
    done = attempt("make", "demo", f"PYTHON={interpreter}", cwd=tree)
    assert done.returncode != 0
    assert f"{interpreter} is no Python of 3.10 or later that runs; name one with" in done.stderr
    assert not (tree / ".venv").exists()
