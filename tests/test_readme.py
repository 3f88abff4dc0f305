"""README.md and docs/: the example runs as shown, the options and links are true."""

from __future__ import annotations

import ast
import datetime
import json
import re
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from quart import Quart
from quart.cli import ScriptInfo
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


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


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


OTHER_PAGES = ["CHANGES.md", "LICENSE", *(f"docs/{page.name}" for page in PAGES[2:])]


@pytest.mark.parametrize("target", OTHER_PAGES)
def test_readme_links_to_the_other_pages(target: str) -> None:
    assert f"]({target})" in README


# --- The pages in docs/ --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [code for page in PAGES[2:] for code in blocks("python", page.read_text("utf-8"))],
    ids=lambda code: code.partition("\n")[0],
)
def test_python_in_docs_can_be_parsed(code: str) -> None:
    compile(code, "docs", "exec", flags=ast.PyCF_ONLY_AST)


def table_below(heading: str, page: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its two head lines."""
    text = (ROOT / "docs" / page).read_text("utf-8").split(f"{heading}\n", 1)[1]
    rows = re.findall(r"^\| (.+) \|$", text.split("\n#", 1)[0], re.MULTILINE)
    return [row.split(" | ") for row in rows[1:]]


def test_listing_of_routes_is_what_the_command_prints() -> None:
    app = Quart("readme_routes")
    qje.JWTManager(app)
    qje.protect(app, exempt=("static",))
    app.add_url_rule("/login", "login", qje.jwt_exempt(lambda: ""), methods=["POST"])
    app.add_url_rule("/me", "me", lambda: "")
    delete_order = qje.jwt_required(lambda number: "", fresh=True, scopes="orders:write")
    app.add_url_rule("/orders/<int:number>", "orders", delete_order, methods=["DELETE"])
    page = (ROOT / "docs" / "protecting.md").read_text("utf-8")
    (shown,) = blocks("console", page)
    printed = CliRunner().invoke(app.cli, ["jwt", "routes"], obj=ScriptInfo(create_app=lambda: app))
    assert printed.output == shown.partition("\n")[2]


ERRORS = table_below("## Every error", "errors.md")


def raised_in_docs() -> list[tuple[str, str, str, str]]:
    """Each exception of the table with its code, and its status in both formats."""
    return [
        (name, re.sub("[`,].*|`", "", code.removeprefix("`")), legacy, problem)
        for code, legacy, problem, exceptions, _ in ERRORS
        for name in exceptions.replace("`", "").split(", ")
        if "another scheme" not in code and code != "`csrf_missing`"
    ]


@pytest.mark.parametrize(("name", "code", "legacy", "problem"), raised_in_docs())
async def test_documented_exception_is_answered_as_documented(
    name: str, code: str, legacy: str, problem: str
) -> None:
    exception = getattr(jwt if name.startswith("jwt.") else qje, name.removeprefix("jwt."))
    for error_format, status in (("legacy", legacy), ("problem", problem)):
        app = Quart("readme_errors")
        app.config.update(JWT_SECRET_KEY="k" * 32, JWT_ERROR_FORMAT=error_format)
        qje.JWTManager(app)

        @app.get("/")
        async def view() -> str:
            raise exception("reason")

        response = await app.test_client().get("/")
        assert str(response.status_code) == status
        body = await response.get_json()
        assert set(body) == {"msg"} if error_format == "legacy" else body["code"] == code


def test_every_loader_of_an_answer_is_in_the_table_of_errors() -> None:
    documented = {loader for row in ERRORS for loader in re.findall(r"`(\w+)`", row[4])}
    answers = {
        name
        for name in vars(qje.JWTManager)
        if re.search("response", getattr(qje.JWTManager, name).__doc__ or "")
        and name.endswith("_loader")
    }
    assert documented == answers


def test_names_that_are_the_same_as_in_flask_jwt_extended_exist() -> None:
    page = (ROOT / "docs" / "from-flask-jwt-extended.md").read_text("utf-8")
    sentence = page.split("These are the same:")[1].split("\n\n")[0]
    names = re.findall(r"`(\w+)", sentence)
    assert len(names) > 10
    for name in names:
        assert hasattr(qje, name) or hasattr(qje.JWTManager, name)


def test_loaders_in_the_table_of_names_exist() -> None:
    rows = table_below("## Names", "from-flask-jwt-extended.md")
    names = {name for row in rows for cell in row for name in re.findall(r"`(\w+_loader)`", cell)}
    assert len(names) > 15
    for name in names:
        assert hasattr(qje.JWTManager, name)
