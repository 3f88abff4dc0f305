"""README.md and docs/: the example runs as shown, the options and links are true."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from support import bearer, hs_token

import quart_jwt_extended as qje

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted((ROOT / "docs").glob("*.md"))]

OPTION_ROW = re.compile(
    r"^\| `(?P<name>JWT_\w+)` \| (?P<type>[^|]+) \| `(?P<default>[^|]+)` \| (?P<meaning>[^|]+) \|$",
    re.MULTILINE,
)
OPTION_ROWS = list(OPTION_ROW.finditer((ROOT / "docs" / "options.md").read_text("utf-8")))


def blocks(language: str) -> list[str]:
    """The fenced code blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def outside_of_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.DOTALL | re.MULTILINE)


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


def test_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(blocks("console"))))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert named == {"demo", "test"}
    assert named <= targets


# --- The options ---------------------------------------------------------------------------------


def test_every_option_is_documented_once_and_no_other() -> None:
    documented = [row["name"] for row in OPTION_ROWS]
    assert sorted(documented) == sorted(qje.DEFAULTS)


@pytest.mark.parametrize("row", OPTION_ROWS, ids=lambda row: row["name"])
def test_documented_default_is_the_default(row: re.Match[str]) -> None:
    # The page spells defaults as Python, and a timedelta is no literal.
    documented = eval(row["default"], {"timedelta": datetime.timedelta})
    default = qje.DEFAULTS[row["name"]]
    assert (type(documented), documented) == (type(default), default)


@pytest.mark.parametrize("row", OPTION_ROWS, ids=lambda row: row["name"])
def test_bound_app_has_the_documented_default(row: re.Match[str]) -> None:
    app = Quart("readme_options")
    qje.JWTManager(app)
    assert app.config[row["name"]] == eval(row["default"], {"timedelta": datetime.timedelta})


# --- Links ---------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown page gets from its headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def local_links() -> list[tuple[Path, str]]:
    return [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", outside_of_code(page.read_text("utf-8")))
        if "://" not in target
    ]


@pytest.mark.parametrize(
    ("page", "target"), local_links(), ids=[f"{page.name}-{to}" for page, to in local_links()]
)
def test_local_link_leads_to_a_file_and_a_heading(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    destination = (page.parent / path).resolve() if path else page
    assert destination.is_file()
    assert not anchor or anchor in anchors(destination)


@pytest.mark.parametrize("target", ["CHANGES.md", "LICENSE", "docs/options.md"])
def test_readme_links_to_the_other_pages(target: str) -> None:
    assert f"]({target})" in README
