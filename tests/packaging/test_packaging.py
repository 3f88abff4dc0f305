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
from support.commands import ROOT, attempt, run

SUBMODULES = {
    "config",
    "default_callbacks",
    "exceptions",
    "jwt_manager",
    "testing",
    "tokens",
    "utils",
    "view_decorators",
}
STUBS = {f"quart_jwt_extended-stubs/{name}.pyi" for name in SUBMODULES | {"__init__"}}

pytestmark = pytest.mark.packaging


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
    made = {"examples/users.db", "examples/accounts.db", "examples/keys/keys.json"}
    assert made < leftovers
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


def test_wheel_from_sdist_holds_extension_stubs_hook_and_metadata_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    extension = "quart_jwt_extended" + sysconfig.get_config_var("EXT_SUFFIX")
    hook = {
        "_quart_jwt_extended_pyinstaller/__init__.py",
        "_quart_jwt_extended_pyinstaller/hook-quart_jwt_extended.py",
    }
    info = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}
    assert names == {extension, "quart_jwt_extended/README.txt", *STUBS, *hook} | {
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
    assert metadata.get_all("Dynamic") == ["license-file"]


def links(text: str) -> dict[str, str]:
    return dict(re.findall(r"\[([^]]+)\]\(([^)]+)\)", text))


def test_description_has_the_text_of_relative_links(metadata: email.message.Message) -> None:
    description = metadata.get_payload(decode=True).decode()
    readme = (ROOT / "README.md").read_text("utf-8")
    relative = {text: url for text, url in links(readme).items() if not url.startswith("https:")}
    assert relative
    for text, url in relative.items():
        readme = readme.replace(f"[{text}]({url})", text)
    assert description.strip() == readme.strip()


def project_in(folder: Path, urls: str = "") -> Path:
    """What the metadata is made from, and the script that writes the URLs of a repository."""
    (folder / ".ci").mkdir()
    for name in ("setup.py", "README.md", "LICENSE", ".ci/urls.py"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "_quart_jwt_extended_pyinstaller").mkdir()
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (folder / "pyproject.toml").write_text(project + urls)
    return folder


def published_metadata(folder: Path) -> email.message.Message:
    """The metadata of a distribution that the workflow of a repository builds."""
    repository = {
        "GITHUB_SERVER_URL": "https://forge.example",
        "GITHUB_REPOSITORY": "someone/quart-jwt-extended",
    }
    for command in ([".ci/urls.py"], ["setup.py", "-q", "egg_info"]):
        subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={**os.environ, **repository},
            check=True,
            capture_output=True,
        )
    (info,) = folder.glob("*.egg-info/PKG-INFO")
    return email.message_from_bytes(info.read_bytes())


def test_published_distribution_names_its_repository(tmp_path: Path) -> None:
    metadata = published_metadata(project_in(tmp_path))
    source = "https://forge.example/someone/quart-jwt-extended"
    files = f"{source}/blob/v1.0.0"
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    assert urls == {
        "Documentation": f"{files}/docs/index.md",
        "Changelog": f"{files}/CHANGES.md",
        "Issues": f"{source}/issues",
        "Source": source,
    }
    for url in (urls["Documentation"], urls["Changelog"]):
        assert Path(ROOT, url.removeprefix(f"{files}/")).is_file()
    found = links(metadata.get_payload(decode=True).decode())
    assert found["quickstart"] == f"{files}/docs/quickstart.md"
    assert found["Quart"] == "https://quart.palletsprojects.com"
    assert all(url.startswith("https:") for url in found.values())
    assert metadata.get_all("Dynamic") == ["license-file"]


def test_urls_that_the_project_names_win(tmp_path: Path) -> None:
    named = '\n[project.urls]\nSource = "https://own.example"\n'
    metadata = published_metadata(project_in(tmp_path, named))
    assert metadata.get_all("Project-URL") == ["Source, https://own.example"]
    found = links(metadata.get_payload(decode=True).decode())
    assert found["quickstart"] == "https://own.example/blob/v1.0.0/docs/quickstart.md"


def test_metadata_names_every_supported_python(metadata: email.message.Message) -> None:
    prefix = "Programming Language :: Python :: 3."
    minors = [c.removeprefix(prefix) for c in metadata.get_all("Classifier") if prefix in c]
    assert minors == ["10", "11", "12", "13", "14", "15"]


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
    assert f"{interpreter} is not a working Python 3.10 or later; specify one with" in done.stderr
    assert not (tree / ".venv").exists()
