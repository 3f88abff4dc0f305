"""README.md: the example runs as shown, and the way to everything else is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from support import bearer, hs_token

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The fenced code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


# --- The example ---------------------------------------------------------------------------------


@pytest.fixture
def example() -> Quart:
    """The app of the README's one Python block, run as it stands there."""
    (code,) = blocks("python")
    namespace: dict[str, Any] = {"__name__": "readme_example"}
    exec(compile(code, "README.md", "exec"), namespace)
    app = namespace["app"]
    assert isinstance(app, Quart)
    return app


async def test_example_token_opens_the_view_and_gets_the_answer_shown(example: Quart) -> None:
    shown = [line for block in blocks("console") for line in block.splitlines() if line[0] == "{"]
    client = example.test_client()
    login = await client.post("/login/alice")
    # The shell lines cut the token out at the fourth quotation mark.
    token = (await login.get_data(as_text=True)).split('"')[3]
    response = await client.get("/me", headers=bearer(token))
    assert response.status_code == 200
    assert [await response.get_json()] == [json.loads(line) for line in shown]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (bearer("x.y.z"), 422), (bearer(hs_token({"identity": "alice"})), 422)],
    ids=["no token", "malformed token", "token of another key"],
)
async def test_example_view_refuses_a_request_without_its_token(
    example: Quart, headers: dict[str, str], status: int
) -> None:
    response = await example.test_client().get("/me", headers=headers)
    assert response.status_code == status
    assert set(await response.get_json()) == {"msg"}


def test_table_of_costs_has_the_figures_of_the_results() -> None:
    (path,) = set(re.findall(r"\]\((benchmarks/results/[^)]+\.md)\)", README))
    results = (ROOT / path).read_text("utf-8")
    head, _, *rows = re.findall(r"^\|(.+)\|$", README, re.MULTILINE)
    cases = {"header": "headers", "cookie + CSRF": "cookies + CSRF", "JSON body": "JSON body"}
    assert [cell.strip() for cell in head.split("|")[1:]] == list(cases)
    subjects = ["ours", "jwt.decode by hand", "0.1.0"]
    for subject, row in zip(subjects, rows, strict=True):
        for case, cell in zip(cases.values(), row.split("|")[1:], strict=True):
            pattern = rf"^\| {re.escape(case)} +\| {re.escape(subject)} +\| +[\d.]+ \| +([\d.]+) \|"
            assert re.findall(pattern, results, re.MULTILINE) == [cell.split()[0]]


def test_chart_of_costs_has_the_figures_of_the_table() -> None:
    _, _, *rows = re.findall(r"^\|(.+)\|$", README, re.MULTILINE)
    figures = [float(row.split("|")[1].split()[0]) for row in rows]
    bars = re.findall(r"(█+) ([\d.]+)$", README, re.MULTILINE)
    assert [float(figure) for _, figure in bars] == figures
    unit = len(bars[-1][0]) / figures[-1]
    assert [len(bar) for bar, _ in bars] == [round(unit * figure) for figure in figures]


def test_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(blocks("console"))))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named == {"demo", "test"}
    assert named <= targets


# --- The rest ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["CHANGES.md", "LICENSE", "docs/index.md"])
def test_readme_links_to_the_other_texts(target: str) -> None:
    # tests/examples/test_docs.py follows the links, and holds docs/index.md to list every page.
    assert f"]({target})" in README
