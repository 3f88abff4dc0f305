"""The workflows run what was reviewed, with no more rights than they need.

And everything that lists the supported interpreters lists the same.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.commands import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
SUPPORTED = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]

pytestmark = [
    pytest.mark.packaging,
    pytest.mark.skipif(not GITHUB.exists(), reason="not a checkout"),
]


def jobs(file: str) -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((GITHUB / "workflows" / file).read_text("utf-8"))["jobs"]
    assert isinstance(found, dict)
    return found


def steps(job: dict[str, Any], action: str) -> list[dict[str, Any]]:
    """What a job gives to an action, each time it uses it."""
    used = [step for step in job.get("steps", []) if step.get("uses", "").startswith(f"{action}@")]
    return [step.get("with", {}) for step in used]


def uploaded(job: dict[str, Any]) -> set[str]:
    """The names of the artifacts of a job, one for each run of its matrix."""
    names = set()
    for given in steps(job, "actions/upload-artifact"):
        runs = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
        for run in runs:
            name = str(given["name"])
            for key, value in run.items():
                name = name.replace(f"${{{{ matrix.{key} }}}}", value)
            assert "${{" not in name
            names.add(name)
    return names


def downloaded(given: dict[str, Any]) -> set[str]:
    """The names of artifacts that a step downloads: written out, with no wildcard."""
    if "name" in given:
        return {given["name"]}
    names = re.fullmatch(r"([\w-]+)\{([\w,-]+)\}", given["pattern"])
    assert names is not None, given
    return {names[1] + ending for ending in names[2].split(",")}


def test_every_action_is_pinned_by_a_commit_with_its_version() -> None:
    pinned: dict[str, set[str]] = {}
    for workflow in WORKFLOWS:
        for line in workflow.read_text("utf-8").splitlines():
            if "uses:" not in line or "uses: ./" in line:
                continue
            pin = re.fullmatch(
                r"\s*(?:- )?uses: ([\w-]+/[\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line
            )
            assert pin is not None, f"{workflow.name}: {line.strip()}"
            pinned.setdefault(pin[1], set()).add(pin[2])
    assert {"actions/checkout", "pypa/gh-action-pypi-publish"} <= set(pinned)
    assert [action for action, commits in pinned.items() if len(commits) > 1] == []


def test_only_the_jobs_that_publish_may_write() -> None:
    rights = {}
    for workflow in WORKFLOWS:
        document = yaml.safe_load(workflow.read_text("utf-8"))
        assert document["permissions"] == {"contents": "read"}
        for name, job in document["jobs"].items():
            if "permissions" in job:
                rights[name] = job["permissions"]
    assert rights == {
        "publish": {"id-token": "write", "attestations": "write"},
        "release": {"contents": "write"},
    }


def test_no_checkout_leaves_the_token_in_the_clone() -> None:
    given = [
        checkout
        for workflow in WORKFLOWS
        for job in jobs(workflow.name).values()
        for checkout in steps(job, "actions/checkout")
    ]
    assert len(given) >= 5
    assert [checkout.get("persist-credentials") for checkout in given] == [False] * len(given)


@pytest.mark.parametrize("name", ["publish", "release"])
def test_job_that_publishes_takes_the_artifacts_of_its_builds_only(name: str) -> None:
    every = jobs("wheels.yml")
    job = every[name]
    builds = ["sdist", "wheels", "sbom"]
    assert set(builds) < set(job["needs"])
    assert job["if"] == "startsWith(github.ref, 'refs/tags/v')"

    made = [artifact for build in builds for artifact in uploaded(every[build])]
    assert len(made) == len(set(made)) == 8
    # No test that is run in between can put one in the place of another.
    others = [every[other] for other in every if other not in builds]
    others += jobs("ci.yml").values()
    assert [set(made) & uploaded(other) for other in others] == [set()] * len(others)

    given = steps(job, "actions/download-artifact")
    assert sorted(artifact for step in given for artifact in downloaded(step)) == sorted(made)
    for step in given:
        # None of another run or repository, and none that is not what was uploaded.
        assert set(step) <= {"name", "pattern", "path", "merge-multiple", "digest-mismatch"}
        assert step["digest-mismatch"] == "error"
        # All of "dist" goes to PyPI.
        assert (step["path"] == "dist") == ("sbom" not in downloaded(step))


def test_jobs_that_publish_run_nothing_of_the_repository() -> None:
    every = jobs("wheels.yml")
    used = {
        name: [step.get("uses", "").partition("@")[0] for step in every[name]["steps"]]
        for name in ("publish", "release")
    }
    download, attest = "actions/download-artifact", "actions/attest"
    upload = "pypa/gh-action-pypi-publish"
    assert used == {
        "publish": [download, download, attest, attest, upload],
        "release": [download, download, ""],
    }
    (command,) = [step["run"] for step in every["release"]["steps"] if "run" in step]
    assert command.startswith('gh release create "$GITHUB_REF_NAME" --verify-tag ')
    assert "${{" not in command


def test_every_file_is_attested_and_so_is_the_bill_of_materials() -> None:
    provenance, bill = steps(jobs("wheels.yml")["publish"], "actions/attest")
    assert provenance == {"subject-path": "dist/*\nsbom/*\n"}
    (written,) = steps(jobs("wheels.yml")["sbom"], "actions/upload-artifact")
    assert bill == {"subject-path": "dist/*", "sbom-path": f"sbom/{written['path']}"}


def test_bill_of_materials_is_made_of_every_wheel() -> None:
    every = jobs("wheels.yml")
    assert every["sbom"]["needs"] == ["wheels"]
    (given,) = steps(every["sbom"], "actions/download-artifact")
    assert downloaded(given) == uploaded(every["wheels"])


@pytest.mark.parametrize("name", ["sdist", "wheels"])
def test_urls_of_the_repository_are_written_before_a_build(name: str) -> None:
    commands = [step["run"] for step in jobs("wheels.yml")[name]["steps"] if "run" in step]
    (build,) = [c for c in commands if c.startswith(("python -m build", "python -m cibuildwheel"))]
    assert commands.index("python .ci/urls.py") < commands.index(build)


def test_release_is_made_with_tools_of_one_version() -> None:
    groups = PYPROJECT.split("[dependency-groups]\n")[1].split("\n[")[0]
    tools = re.findall(r'"([^"]+)"', groups)
    assert [tool for tool in tools if not re.fullmatch(r"[\w-]+==[\d.]+", tool)] == []
    assert {tool.partition("==")[0] for tool in tools} == {"build", "cibuildwheel", "cyclonedx-bom"}
    installed = [
        step["run"]
        for job in jobs("wheels.yml").values()
        for step in job.get("steps", [])
        if "pip install" in step.get("run", "")
    ]
    start = "python -m pip install --group "
    assert sorted(installed) == [f"{start}{group}" for group in ("sbom", "wheels", "wheels")]


def test_actions_and_tools_are_kept_up_to_date_in_one_change_a_month() -> None:
    document = yaml.safe_load((GITHUB / "dependabot.yml").read_text("utf-8"))
    updates = {update["package-ecosystem"]: update for update in document["updates"]}
    assert set(updates) == {"github-actions", "pip"}
    for update in updates.values():
        assert update["directory"] == "/"
        assert update["schedule"] == {"interval": "monthly"}
        (group,) = update["groups"].values()
        assert group == {"patterns": ["*"]}


def chosen(key: str) -> list[str]:
    """The patterns of cibuildwheel that pyproject.toml has under this key."""
    table = PYPROJECT.split("[tool.cibuildwheel]\n")[1].split("\n[")[0]
    (patterns,) = re.findall(rf"^{key} = \[(.*)\]$", table, re.MULTILINE)
    return re.findall(r'"([^"]+)"', patterns)


def test_wheels_are_built_for_every_supported_python() -> None:
    built = [f"cp{version.replace('.', '')}-*" for version in SUPPORTED]
    assert chosen("build") == built
    assert not any(fnmatch("cp315-manylinux_x86_64", pattern) for pattern in chosen("skip"))


def test_no_wheel_is_built_for_a_python_without_a_gil_which_is_not_declared() -> None:
    sources = [(ROOT / name).read_text("utf-8") for name in ("quart_jwt_extended.pyx", "setup.py")]
    assert not any("freethreading_compatible" in source for source in sources)
    for name in ("cp313t", "cp314t", "cp315t", "cp316t"):
        identifier = f"{name}-manylinux_x86_64"
        assert not any(fnmatch(identifier, pattern) for pattern in chosen("build"))
        # Said by itself, too, so that a wildcard in the other list would not begin to build them.
        assert any(fnmatch(identifier, pattern) for pattern in chosen("skip"))


def listed(path: Path, pattern: str) -> list[str]:
    (found,) = re.findall(pattern, path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return re.findall(r"\b3\.\d+\b", found)


def test_every_list_of_interpreters_is_the_same() -> None:
    classifiers = r"^classifiers = \[(.*?)^\]"
    assert listed(ROOT / "pyproject.toml", classifiers) == SUPPORTED
    assert listed(ROOT / ".ci" / "wheels", r"^for version in (.*?); do$") == SUPPORTED
    ends = [SUPPORTED[0], SUPPORTED[-1]]
    assert listed(ROOT / ".ci" / "wheels", r'"No (Python from .*?) is installed"') == ends
    assert listed(ROOT / "README.md", r"^It is tested on (CPython .*?) with Quart") == ends
    assert listed(ROOT / "docs" / "installation.md", r"^\| CPython \| (.*?);") == ends
    assert listed(ROOT / "docs" / "security.md", r"The suite runs on (Python\s.*?) with\s") == ends

    (first, *_) = steps(jobs("ci.yml")["checks"], "actions/setup-python")
    installed = first["python-version"].split()
    assert sorted(installed) == SUPPORTED
    # python3 is the one on which the main checks run.
    run = ROOT / ".ci" / "run"
    (main,) = listed(run, r"^export (MAIN=.*?)$")
    assert [main] == installed[-1:]
    assert listed(run, r"^        for (version in .*?); do$")[0] == SUPPORTED[-1]
    jobs_of_interpreters = listed(run, r"^jobs=\((.*?)\)$")
    oldest = listed(run, r"^    lowest\) (version=.*?) command")
    assert sorted([main, *oldest, *jobs_of_interpreters]) == SUPPORTED

    sessions = listed(ROOT / "noxfile.py", r"^@nox.session\(([^)]*)\)\ndef newest")
    matrix = jobs("ci.yml")["sessions"]["strategy"]["matrix"]["include"]
    in_matrix = [entry["python"] for entry in matrix if entry["session"] == "newest"]
    assert sessions == in_matrix == SUPPORTED[3:]
