"""The bill of materials that .ci/sbom.py writes beside the wheels is valid, and tells the truth."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import Cython
import pytest
import setuptools

from support.commands import ROOT, attempt, environment, run

pytestmark = pytest.mark.packaging

WRITE = ROOT / ".ci" / "sbom.py"
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
# By the schema that comes with the library; exits with 1 if it does not hold.
VALIDATE = """
import pathlib
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = pathlib.Path(sys.argv[1]).read_text("utf-8")
sys.exit(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) and 1)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of an environment with the generator in it."""
    made = tmp_path_factory.mktemp("generator") / "environment"
    return environment(made, "cyclonedx-bom") / "python"


@pytest.fixture(scope="module")
def bill(python: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bill") / "bill.cdx.json"
    run(python, WRITE, wheel.parent, file, cwd=file.parent)
    return file


@pytest.fixture(scope="module")
def document(bill: Path) -> dict[str, Any]:
    read = json.loads(bill.read_text("utf-8"))
    assert isinstance(read, dict)
    return read


def declared(key: str) -> str:
    """A text in the table ``project`` of pyproject.toml."""
    (value,) = re.findall(rf'^{key} = "([^"]+)"$', PYPROJECT, re.MULTILINE)
    return str(value)


def required() -> set[str]:
    """The names of the packages that are required at run time."""
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]$", PYPROJECT, re.MULTILINE | re.DOTALL)
    return {name.lower() for name in re.findall(r'^    "(\w+)', block, re.MULTILINE)}


def test_bill_is_valid_by_the_schema_of_cyclonedx(python: Path, bill: Path, tmp_path: Path) -> None:
    valid = attempt(python, "-c", VALIDATE, bill, cwd=tmp_path)
    assert valid.returncode == 0, valid.stderr
    wrong = tmp_path / "wrong.cdx.json"
    wrong.write_text(bill.read_text("utf-8").replace('"type": "library"', '"type": "book"'))
    assert attempt(python, "-c", VALIDATE, wrong, cwd=tmp_path).returncode == 1


def test_bill_describes_the_project(document: dict[str, Any]) -> None:
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    component = document["metadata"]["component"]
    name, version = declared("name"), declared("version")
    assert (component["name"], component["version"]) == (name, version)
    assert component["type"] == "library"
    assert component["purl"] == f"pkg:pypi/{name}@{version}"
    assert [entry["license"]["id"] for entry in component["licenses"]] == [declared("license")]


def test_bill_lists_what_is_required_and_what_built_the_wheel(document: dict[str, Any]) -> None:
    named = {entry["bom-ref"]: entry for entry in document["components"]}
    (direct,) = [
        entry["dependsOn"]
        for entry in document["dependencies"]
        if entry["ref"] == document["metadata"]["component"]["bom-ref"]
    ]
    versions = {named[ref]["name"].lower(): named[ref]["version"] for ref in direct}
    assert required() == {"quart", "pyjwt", "cryptography"}
    assert set(versions) == required() | {"cython", "setuptools"}
    assert versions["cython"] == Cython.__version__
    assert versions["setuptools"] == setuptools.__version__
    # What those require, too, and nothing of the environment that wrote it.
    assert {"Werkzeug", "Hypercorn", "cffi"} <= {entry["name"] for entry in named.values()}
    assert not {"pip", "cyclonedx-bom"} & {entry["name"] for entry in named.values()}
    for entry in named.values():
        assert entry["purl"].startswith(f"pkg:pypi/{entry['name'].lower().replace('_', '-')}@")


def test_bill_written_again_is_the_same(
    python: Path, wheel: Path, bill: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.cdx.json"
    run(python, WRITE, wheel.parent, again, cwd=tmp_path)
    assert again.read_bytes() == bill.read_bytes()
    assert str(wheel.parent) not in bill.read_text("utf-8")


def test_wheels_of_different_tools_get_no_bill(python: Path, wheel: Path, tmp_path: Path) -> None:
    shutil.copy(wheel, tmp_path)
    other = tmp_path / wheel.name.replace("1.0.0-", "1.0.0-1-")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".so"):
                version = Cython.__version__.replace(".", "_").encode()
                assert content.count(b"\0_cython_" + version + b"\0") == 1
                content = content.replace(b"\0_cython_" + version + b"\0", b"\0_cython_2_9_9\0")
            target.writestr(name, content)
    done = attempt(python, WRITE, tmp_path, tmp_path / "bill.cdx.json", cwd=tmp_path)
    assert done.returncode == 1
    assert "The wheels must all be of the same materials" in done.stderr
    assert f"Cython=={Cython.__version__}\n" in done.stderr
    assert "Cython==2.9.9\n" in done.stderr
    assert not (tmp_path / "bill.cdx.json").exists()


def test_folder_without_wheels_gets_no_bill(python: Path, tmp_path: Path) -> None:
    done = attempt(python, WRITE, tmp_path, tmp_path / "bill.cdx.json", cwd=tmp_path)
    assert done.returncode == 1
    assert "there are none" in done.stderr
