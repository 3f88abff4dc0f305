"""docs/: what the pages say is true, what they show runs, and nothing is left out.

How a code block of a page is checked is decided by what stands above it:

- a line that is only a link to a file in ``examples/`` and a colon: the block is an excerpt of that
  file, in which ``...`` stands for lines left out;
- a file name in backticks and a colon: all such blocks of the page make a folder, whose tests pass;
- ``<!-- not run: reason -->``: the block is only compiled;
- anything else, in a ``python`` block: it runs, with the names of ``prelude`` at hand, and after
  ``<!-- continues -->`` with those of the block before it, too;
- ``pycon`` blocks are doctests.
"""

from __future__ import annotations

import ast
import asyncio
import datetime
import doctest
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import quart
from click.testing import CliRunner
from Cython.Compiler import ExprNodes, Nodes
from Cython.Compiler.TreeFragment import parse_from_strings
from quart import Quart
from quart.cli import ScriptInfo
from quart.testing.connections import WebsocketResponseError

import quart_jwt_extended as qje
from support import SECRET, access_claims, bearer, hs_token
from support.commands import find_program
from support.example_process import running
from support.openid_provider import CONFIGURATION, KEYS, SERVER_METADATA, Provider

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# Text that has links; the results of benchmarks are written by a program.
LINKING = [
    *(ROOT / name for name in ("README.md", "CHANGES.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "examples").rglob("*.md")),
    *PAGES,
]


def read(page: str | Path) -> str:
    return (DOCS / page).read_text("utf-8")


# --- Links ---------------------------------------------------------------------------------------


def outside_of_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.DOTALL | re.MULTILINE)


def headings(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub, and Sphinx for us, give to the headings of a page."""
    names: Counter[str] = Counter()
    found = set()
    for title in headings(page):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{names[slug]}" if names[slug] else slug)
        names[slug] += 1
    return found


def local_links() -> list[tuple[Path, str]]:
    return [
        (page, target)
        for page in LINKING
        for target in re.findall(r"\]\(([^)\s]+)\)", outside_of_code(read(page)))
        if "://" not in target
    ]


@pytest.mark.parametrize(
    ("page", "target"), local_links(), ids=[f"{page.name}-{to}" for page, to in local_links()]
)
def test_local_link_leads_to_a_file_and_a_heading(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    destination = (page.parent / path).resolve() if path else page
    assert destination.exists()
    assert not anchor or anchor in anchors(destination)


def test_files_that_links_lead_to_are_there_when_wheels_are_tested() -> None:
    """cibuildwheel runs the tests in a folder that has only these files."""
    configuration = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = configuration.split("\ntest-sources = [\n")[1].split("\n]\n")[0]
    sources = set(re.findall('^    "(.+)",$', listed, re.MULTILINE))
    targets = {(page.parent / to.partition("#")[0]).resolve() for page, to in local_links()}
    linked = {path.relative_to(ROOT).parts[0] for path in targets if path.is_file()}
    assert "README.md" in sources
    assert linked - sources == set()


def test_index_lists_every_page_once() -> None:
    listed = re.findall(r"^- \[[^]]+\]\(([^)]+)\): \S", read("index.md"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in PAGES if page.name != "index.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_list_of_sections_at_the_top_is_complete_and_in_order(page: Path) -> None:
    top, *sections = re.split(r"^## ", read(page), flags=re.MULTILINE)
    listed = re.findall(r"^- \[([^]]+)\]\(#[^)]+\)$", top, re.MULTILINE)
    assert listed in ([], [section.partition("\n")[0] for section in sections])


# Elements that begin a block of HTML, also within a paragraph (CommonMark, section 4.6).
HTML = "details|form|header|link|menu|option|param|search|section|source|summary|title|track"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_line_begins_with_a_placeholder_that_is_html(page: Path) -> None:
    """A code span would end above such a line, as in ``<option>``."""
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(rf"^[ >]*</?(?:{HTML})\b.*$", text, re.MULTILINE) == []


# --- Code blocks ---------------------------------------------------------------------------------

EXAMPLE_LINE = re.compile(r"^\[[^]]+\]\(\.\./(examples/[^)]+)\):$")
FILE_LINE = re.compile(r"^`([\w./-]+)`:$")


@dataclass
class Block:
    page: str
    line: int
    language: str
    code: str
    above: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = read(page)
    for found in re.finditer(r"^```(\S*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: found.start()].rstrip("\n").rpartition("\n")[2]
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page.name, line, found[1], found[2], before)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
EXCERPTS = [block for block in BLOCKS if EXAMPLE_LINE.match(block.above)]
FILES = [block for block in BLOCKS if FILE_LINE.match(block.above)]
OTHERS = [
    block
    for block in BLOCKS
    if block.language == "python" and block not in EXCERPTS and block not in FILES
]


def pieces(code: str) -> list[list[str]]:
    """The runs of lines between ``...``, without blank lines around.

    The three dots are a line of their own, or, as ruff formats it, what is left of a body.
    """
    runs: list[list[str]] = [[]]
    for line in code.splitlines():
        if line.strip() != "...":
            runs[-1].append(line.removesuffix(" ...") if line.endswith(": ...") else line)
        if line.strip() == "..." or line.endswith(": ..."):
            runs.append([])
    return [textwrap.dedent("\n".join(run).strip("\n")).splitlines() for run in runs if any(run)]


def find(piece: list[str], lines: list[str], start: int) -> int:
    """The number of the line behind a piece, wherever it begins from ``start`` on."""
    for first in range(start, len(lines) - len(piece) + 1):
        window = lines[first : first + len(piece)]
        if textwrap.dedent("\n".join(window)).splitlines() == piece:
            return first + len(piece)
    pytest.fail("not in the example, or not in this order:\n" + "\n".join(piece))


@pytest.mark.parametrize("block", EXCERPTS, ids=str)
def test_excerpt_is_in_its_example(block: Block) -> None:
    match = EXAMPLE_LINE.match(block.above)
    assert match
    lines = (ROOT / match[1]).read_text("utf-8").splitlines()
    position = 0
    for piece in pieces(block.code):
        position = find(piece, lines, position)
    assert position > 0


def prelude() -> dict[str, Any]:
    """The names that a block finds: those that its reader imports without being told."""
    app = Quart("docs")
    app.config["JWT_SECRET_KEY"] = SECRET
    names = ("Blueprint", "Quart", "current_app", "g", "jsonify", "make_response", "request")
    return {
        "__name__": "docs",
        "app": app,
        "jwt": qje.JWTManager(app),
        "asyncio": asyncio,
        "timedelta": datetime.timedelta,
        "websocket": quart.websocket,
        **{name: getattr(quart, name) for name in names},
        **{name: getattr(qje, name) for name in qje.__all__},
    }


async def run(code: str, namespace: dict[str, Any], origin: str) -> None:
    """Run a block, which may await at its top level, in a context of its app."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    program = compile(code, origin, "exec", flags=flags, dont_inherit=True)
    async with namespace["app"].app_context():
        result = eval(program, namespace)
        if inspect.isawaitable(result):
            await result


@pytest.mark.parametrize("block", OTHERS, ids=str)
async def test_python_in_docs_runs(block: Block) -> None:
    if block.above.startswith("<!-- not run: "):
        compile(block.code, str(block), "exec", dont_inherit=True)
        return
    chain = [block]
    on_page = [other for other in OTHERS if other.page == block.page]
    while chain[0].above == "<!-- continues -->":
        chain.insert(0, on_page[on_page.index(chain[0]) - 1])
    namespace = prelude()
    for part in chain:
        await run(part.code, namespace, str(part))


SCRIPTS = [block for block in BLOCKS if block.language == "js" and block not in EXCERPTS]


@pytest.mark.slow
@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_javascript_in_docs_can_be_parsed(block: Block, tmp_path: Path) -> None:
    node = find_program("node", "nodejs")
    script = tmp_path / "script.mjs"
    script.write_text(block.code, "utf-8")
    command = [node, "--check", str(script)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def table_below(heading: str, page: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its two head lines."""
    text = read(page).split(f"{heading}\n", 1)[1]
    rows = re.findall(r"^\| (.+) \|$", text.split("\n#", 1)[0], re.MULTILINE)
    return [row.split(" | ") for row in rows[1:]]


def app_of_the_listing() -> Quart:
    app = Quart("docs_routes")
    qje.JWTManager(app)
    app.add_url_rule("/health", "health", lambda: "")
    app.add_url_rule("/login", "login", qje.jwt_exempt(lambda: ""), methods=["POST"])
    app.add_url_rule("/me", "me", qje.jwt_required(lambda: ""))
    delete_order = qje.jwt_required(lambda number: "", fresh=True, scopes="orders:write")
    app.add_url_rule("/orders/<int:number>", "orders", delete_order, methods=["DELETE"])
    return app


def routes_block(language: str) -> str:
    (code,) = [b.code for b in BLOCKS if b.page == "whole-apps.md" and b.language == language]
    return code


async def namespace_after(page: str, *markers: str) -> dict[str, Any]:
    """What the blocks of a page that hold the markers, one each, leave behind."""
    namespace = prelude()
    for marker in markers:
        (block,) = [block for block in OTHERS if block.page == page and marker in block.code]
        await run(block.code, namespace, str(block))
    return namespace


@pytest.mark.parametrize(
    ("marker", "method", "path"),
    [
        ("admin_required", "GET", "/users"),
        ("tenant_required", "DELETE", "/acme/invoices/7"),
    ],
)
async def test_decorators_of_the_page_let_in_the_login_with_their_claim_only(
    marker: str, method: str, path: str
) -> None:
    client = (await namespace_after("custom-decorators.md", marker))["app"].test_client()
    statuses = [(await client.open(path, method=method)).status_code]
    for name in ("mallory", "bob", "alice"):
        login = await client.post(f"/login/{name}")
        headers = bearer((await login.get_json())["access_token"])
        statuses.append((await client.open(path, method=method, headers=headers)).status_code)
    assert statuses == [401, 403, 403, 200]


async def test_generations_of_the_page_revoke_all_tokens_of_a_user() -> None:
    namespace = await namespace_after("revoking.md", "is_of_an_old_generation")
    app = namespace["app"]
    app.add_url_rule("/", "view", qje.jwt_required(lambda: "ok"))
    async with app.app_context():
        token = qje.create_access_token("alice")
    client = app.test_client()
    assert (await client.get("/", headers=bearer(token))).status_code == 200
    namespace["revoke_all"]("alice")
    assert (await client.get("/", headers=bearer(token))).status_code == 401


async def test_session_of_the_page_goes_on_until_its_logout() -> None:
    client = (
        await namespace_after(
            "sessions.md",
            'app.post("/refresh")\n@jwt_required(refresh=True)\nasync def refresh():\n    tokens =',
        )
    )["app"].test_client()
    login = await (await client.post("/login/alice")).get_json()
    response = await client.post("/refresh", headers=bearer(login["refresh_token"]))
    tokens = await response.get_json()
    assert set(tokens) == set(login) == {"access_token", "refresh_token"}
    retry = await client.post("/refresh", headers=bearer(login["refresh_token"]))
    assert retry.status_code == 200
    logout = await client.post("/logout", headers=bearer(tokens["access_token"]))
    assert await logout.get_json() == {"msg": "Logged out"}
    for refresh_token in (login["refresh_token"], tokens["refresh_token"]):
        response = await client.post("/refresh", headers=bearer(refresh_token))
        assert response.status_code == 401


async def session_namespace(marker: str) -> tuple[Quart, list[qje.SessionTokens]]:
    """The app of a block of the page on sessions, with two logins of alice and one of bob."""
    app = (await namespace_after("sessions.md", marker))["app"]
    qje.JWTManager(app, token_store=qje.MemoryTokenStore())
    async with app.app_context():
        device = {"device": "Firefox"}
        names = ("alice", "alice", "bob")
        logins = [await qje.create_session(n, fresh=True, metadata=device) for n in names]
    return app, logins


async def live_sessions(app: Quart) -> set[str]:
    async with app.app_context():
        return {s.id for name in ("alice", "bob") for s in await qje.get_sessions(name)}


async def test_devices_of_the_page_are_those_of_the_user() -> None:
    app, (here, there, other) = await session_namespace('app.get("/devices")')
    client = app.test_client()
    headers = bearer(here.access_token)
    devices = await (await client.get("/devices", headers=headers)).get_json()
    assert {d["id"]: d["is_this_one"] for d in devices} == {
        here.session_id: True,
        there.session_id: False,
    }
    response = await client.delete(f"/devices/{other.session_id}", headers=headers)
    assert response.status_code == 404
    response = await client.delete(f"/devices/{there.session_id}", headers=headers)
    assert response.status_code == 200
    assert await live_sessions(app) == {here.session_id, other.session_id}


@pytest.mark.parametrize(
    ("method", "path", "left"),
    [("POST", "/logout-everywhere", (2,)), ("PUT", "/password", (0, 2))],
)
async def test_view_of_the_page_ends_the_sessions_of_its_user(
    method: str, path: str, left: tuple[int, ...]
) -> None:
    app, logins = await session_namespace(path)
    headers = bearer(logins[0].access_token)
    response = await app.test_client().open(path, method=method, headers=headers)
    assert response.status_code == 200
    assert await live_sessions(app) == {logins[number].session_id for number in left}


async def test_cookies_of_the_page_on_sessions_log_in_refresh_and_log_out() -> None:
    app = (await namespace_after("sessions.md", "set_session_cookies"))["app"]
    client = app.test_client()
    seen = []
    for path, name in (("/login/alice", ""), ("/refresh", "refresh"), ("/logout", "access")):
        cookies = {cookie.name: cookie.value for cookie in client.cookie_jar}
        headers = {"X-CSRF-TOKEN": cookies.get(f"csrf_{name}_token") or ""}
        response = await client.post(path, headers=headers, scheme="https")
        seen.append((response.status_code, len(response.headers.getlist("Set-Cookie"))))
    assert seen == [(200, 4)] * 3
    assert await live_sessions(app) == set()


async def test_api_key_of_the_page_is_limited_listed_and_revoked() -> None:
    app = (await namespace_after("scopes.md", "create_api_key"))["app"]
    for name in ("read", "write"):
        view = qje.jwt_required(lambda: "ok", scopes=f"invoices:{name}")
        app.add_url_rule(f"/{name}", name, view)
    async with app.app_context():
        token = qje.create_access_token("alice", fresh=True)
    client = app.test_client()
    made = await (await client.post("/api-keys", headers=bearer(token))).get_json()
    headers = bearer(made["api_key"])
    assert (await client.get("/read", headers=headers)).status_code == 200
    assert (await client.get("/write", headers=headers)).status_code == 403
    assert (await client.post("/api-keys", headers=headers)).status_code == 401
    async with app.app_context():
        claims = qje.decode_token(made["api_key"])
        assert claims["exp"] - claims["iat"] == 90 * 86_400
        (session,) = await qje.get_sessions("alice")
        assert (session.id, session.metadata) == (made["id"], {"name": "nightly export"})
        assert await qje.revoke_session(made["id"], identity="alice")
    assert (await client.get("/read", headers=headers)).status_code == 401


async def test_token_of_the_page_for_support_names_both_people() -> None:
    app = (await namespace_after("claims.md", "impersonate"))["app"]
    async with app.app_context():
        support = {"scope": "support"}
        token = qje.create_access_token("sue", fresh=True, additional_claims=support)
        response = await app.test_client().post("/impersonate/alice", headers=bearer(token))
        claims = qje.decode_token((await response.get_json())["access_token"])
    assert (claims["identity"], claims["act"]) == ("alice", {"sub": "sue"})


async def test_socket_of_the_page_goes_on_with_a_new_token() -> None:
    app = (await namespace_after("websockets.md", "renew_websocket"))["app"]
    async with app.app_context():
        token = qje.create_access_token("alice")
    async with app.test_client().websocket("/feed", headers=bearer(token)) as socket:
        await socket.send_json({"type": "token", "token": token})
        assert await socket.receive_json() == {"type": "renewed"}
        await socket.send_json({"type": "text", "text": "hello"})
        assert await socket.receive_json() == {"type": "echo", "text": "hello"}


async def test_environment_of_the_page_sets_options(monkeypatch: pytest.MonkeyPatch) -> None:
    (console,) = [b.code for b in BLOCKS if b.page == "deployment.md" and "export QUART" in b.code]
    for name, value in re.findall(r"^\$ export (\w+)=(.+)$", console, re.MULTILINE):
        monkeypatch.setenv(name, value.strip("'").replace("$(cat /run/secrets/jwt)", SECRET))
    app = (await namespace_after("deployment.md", "from_prefixed_env"))["app"]
    async with app.app_context():
        token = qje.create_access_token("alice")
        claims = qje.decode_token(token)
        assert claims["exp"] - claims["iat"] == 600
        assert jwt.decode(token, SECRET, ["HS256"])["jti"] == claims["jti"]
        response = await quart.make_response("")
        qje.set_access_cookies(response, token)
    cookies = response.headers.getlist("Set-Cookie")
    assert len(cookies) == 2
    assert all("; Secure" in cookie for cookie in cookies)


async def test_store_of_the_page_that_is_away_refuses_with_503() -> None:
    names = await namespace_after("async-callbacks.md", "ServiceUnavailable")
    app = names["app"]

    async def away(jti: str) -> None:
        raise ConnectionError(jti)

    names["ask_the_store"] = away

    @app.get("/")
    @qje.jwt_required
    async def view() -> str:
        raise AssertionError("let in")

    response = await app.test_client().get("/", headers=bearer(hs_token(access_claims())))
    assert response.status_code == 503


PROVIDERS = table_below("## Settings for known providers", "openid.md")


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row[0])
def test_settings_of_the_page_for_a_provider_are_accepted(row: list[str]) -> None:
    assert len(PROVIDERS) > 5
    issuer = row[1].strip("`")
    # The table spells arguments as Python.
    arguments = eval(f"dict({row[3].strip('`–')})")
    manager = qje.JWTManager()
    trusted = manager.trust_issuer(issuer, audience="a", algorithms=["RS256"], **arguments)
    assert dict(manager.issuers) == {issuer: trusted}


async def test_users_of_the_page_are_told_apart_by_their_issuer(
    provider: Provider,
) -> None:
    names = await namespace_after("openid.md", "ACCOUNTS")
    app, issuer = names["app"], provider.issuer
    names["jwt"].trust_issuer(issuer, audience="notes", algorithms=["ES256"])
    names["ACCOUNTS"][issuer, "alice"] = {"name": "Another Alice"}

    @app.get("/")
    @qje.jwt_required
    async def view() -> dict[str, str]:
        return qje.get_current_user()

    client = app.test_client()
    tokens = [
        hs_token(access_claims()),
        provider.token("notes", sub="alice"),
        provider.token("notes", sub="bob"),
    ]
    answers = [await client.get("/", headers=bearer(token)) for token in tokens]
    assert [answer.status_code for answer in answers] == [200, 200, 401]
    users = [(await answer.get_json())["name"] for answer in answers[:2]]
    assert users == ["Alice", "Another Alice"]


async def test_routes_of_the_page_accept_their_issuers_only(provider: Provider) -> None:
    app = (await namespace_after("openid.md", "issuers=STAFF"))["app"]
    qje.JWTManager(app, token_store=qje.MemoryTokenStore())
    manager = app.extensions["quart-jwt-extended"]
    manager.trust_issuer(provider.issuer, audience="notes", algorithms=["ES256"])
    client = app.test_client()
    statuses = []
    for token in (hs_token(access_claims()), provider.token("notes")):
        for method, path in (("GET", "/reports"), ("POST", "/logout")):
            response = await client.open(path, method=method, headers=bearer(token))
            statuses.append(response.status_code)
    assert statuses == [422, 200, 422, 422]


async def test_callback_of_the_page_fetches_keys(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    provider.publish(KEYS, provider.key_set(), headers={"Cache-Control": "max-age=60"})
    provider.publish(CONFIGURATION, b"", 404)
    provider.publish(SERVER_METADATA, provider.configuration())
    names = await namespace_after("openid.md", "httpx.AsyncClient")
    issuer = names["jwt"].trust_issuer(provider.issuer, audience="notes", algorithms=["ES256"])
    try:
        await issuer.reload()
        assert issuer.key_ids == ("key-1",)
        assert provider.requests == [CONFIGURATION, SERVER_METADATA, KEYS]
        provider.redirect(KEYS, "/elsewhere")
        with pytest.raises(qje.IssuerUnavailableError):
            await issuer.reload()
        assert issuer.last_error == "HTTPStatusError"
    finally:
        await names["close_client"]()


async def test_handler_of_the_page_answers_an_outage(provider: Provider) -> None:
    names = await namespace_after("openid.md", "provider_is_down")
    app = names["app"]
    names["jwt"].trust_issuer(provider.issuer, audience="notes", algorithms=["ES256"])
    app.add_url_rule("/", "view", qje.jwt_required(lambda: "ok"))
    token = provider.token("notes")
    provider.stop()
    response = await app.test_client().get("/", headers=bearer(token))
    assert response.status_code == 503
    assert await response.get_json() == {"msg": "Logins cannot be checked now"}


async def test_apps_of_the_factory_of_the_page_share_their_trust() -> None:
    names = await namespace_after("openid.md", "def create_app")
    for _ in range(2):
        client = names["create_app"]().test_client()
        document = await (await client.get("/.well-known/oauth-protected-resource")).get_json()
        assert document["authorization_servers"] == ["https://login.example.com"]


async def test_metadata_of_the_page_are_what_it_shows() -> None:
    app = (await namespace_after("openid.md", "tools:call"))["app"]
    client = app.test_client()
    shown = [b.code for b in BLOCKS if b.page == "openid.md" and b.language == "http"]
    document, challenge = (block.replace("\n\n", "\n").splitlines() for block in shown)
    responses = [
        await client.get("/.well-known/oauth-protected-resource/mcp"),
        await client.post("/mcp"),
    ]
    assert json.loads("".join(document[3:])) == await responses[0].get_json()
    for response, lines in zip(responses, (document[:3], challenge), strict=True):
        assert lines[0] == f"HTTP/1.1 {response.status_code}"
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            assert response.headers[name] == value


@pytest.mark.parametrize(
    "page", sorted({block.page for block in BLOCKS if block.language == "pycon"})
)
async def test_interpreter_sessions_in_docs_give_what_they_show(page: str) -> None:
    code = "\n".join(b.code for b in BLOCKS if b.page == page and b.language == "pycon")
    namespace = prelude()
    session = doctest.DocTestParser().get_doctest(code, namespace, page, page, 0)
    assert session.examples
    async with namespace["app"].app_context():
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        result = runner.run(session)
    assert result.failed == 0


@pytest.mark.parametrize("page", sorted({block.page for block in FILES}))
def test_files_of_a_page_work_together(page: str, tmp_path: Path) -> None:
    names = []
    for block in FILES:
        if block.page == page:
            match = FILE_LINE.match(block.above)
            assert match
            names.append(match[1])
            (tmp_path / match[1]).write_text(block.code, "utf-8")
    modules = [name.removesuffix(".py") for name in names if name.endswith(".py")]
    tests = [name for name in modules if name.startswith("test_")]
    command = [sys.executable, "-W", "error", "-c", f"import {', '.join(modules)}"]
    if tests:
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not tests or re.search(r"^\d+ passed", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("block", [*OTHERS, *FILES], ids=str)
def test_code_is_narrow_enough_for_the_page(block: Block) -> None:
    assert max(map(len, block.code.splitlines())) <= 88


# --- Pages of other origins ----------------------------------------------------------------------

PAGE_ORIGIN = "https://app.example.com"


async def app_with_cors(*markers: str) -> Quart:
    """The app of the page on cookies that allows one other origin, with a view of ours."""
    app = (await namespace_after("cookies.md", *markers))["app"]
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "cookies"]
    app.add_url_rule("/notes", "notes", qje.jwt_required(lambda: "ok"), methods=["POST"])
    return app


@pytest.mark.parametrize("origin", [PAGE_ORIGIN, "https://evil.example"])
async def test_preflight_needs_no_token_and_names_the_headers_to_the_allowed_origin(
    origin: str,
) -> None:
    app = await app_with_cors("allow_credentials=True")
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-csrf-token",
    }
    response = await app.test_client().options("/notes", headers=headers)
    assert response.status_code == 200
    allowed = {
        name.removeprefix("access-control-allow-"): value
        for name, value in response.headers.to_wsgi_list()
        if name.startswith("access-control-allow-")
    }
    if origin != PAGE_ORIGIN:
        assert allowed == {}
        return
    assert "POST" in allowed.pop("methods").split(", ")
    assert sorted(allowed.pop("headers").split(", ")) == ["content-type", "x-csrf-token"]
    assert allowed == {"origin": origin, "credentials": "true"}


@pytest.mark.parametrize("token", ["", "no.real.token", hs_token(access_claims(exp=1))])
async def test_error_response_can_be_read_by_the_allowed_origin_only(token: str) -> None:
    app = await app_with_cors("allow_credentials=True")
    for origin, allowed, credentials in (
        (PAGE_ORIGIN, PAGE_ORIGIN, "true"),
        ("https://evil.example", None, None),
    ):
        headers = {**(bearer(token) if token else {}), "Origin": origin}
        response = await app.test_client().post("/notes", headers=headers)
        assert response.status_code in (401, 422)
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
        assert response.headers.get("Access-Control-Allow-Credentials") == credentials


async def test_websocket_of_an_origin_that_is_not_allowed_opens_only_if_the_view_is_exempt() -> (
    None
):
    app = await app_with_cors("allow_credentials=True", "cors_exempt")

    @app.websocket("/checked")
    @qje.jwt_required
    async def checked() -> None:
        raise AssertionError("let in")

    token = bearer(hs_token(access_claims()))
    for headers in ({}, {"Origin": "https://api.example.com"}):
        async with app.test_client().websocket("/feed", headers={**token, **headers}) as socket:
            await socket.send("hello")
            assert await socket.receive() == "hello"
        with pytest.raises(WebsocketResponseError) as rejected:
            async with app.test_client().websocket("/checked", headers={**token, **headers}):
                pass
        assert rejected.value.response.status_code == 400
    with pytest.raises(WebsocketResponseError) as rejected:
        async with app.test_client().websocket("/feed"):
            pass
    assert rejected.value.response.status_code == 401


async def test_wildcard_with_credentials_answers_no_request() -> None:
    (block,) = [b for b in OTHERS if b.page == "cookies.md" and "allow_credentials" in b.code]
    namespace = prelude()
    await run(block.code.replace(PAGE_ORIGIN, "*"), namespace, str(block))
    namespace["app"].add_url_rule("/open", "open", lambda: "ok")
    client = namespace["app"].test_client()
    assert (await client.get("/open", headers={"Origin": PAGE_ORIGIN})).status_code == 500


async def test_csrf_values_of_the_two_routes_of_the_page_let_their_tokens_in() -> None:
    app = (await namespace_after("cookies.md", '"/token/csrf"'))["app"]
    app.config["JWT_CSRF_IN_COOKIES"] = False

    @app.post("/login")
    async def login() -> quart.Response:
        response = await quart.make_response("")
        qje.set_access_cookies(response, qje.create_access_token("alice"))
        qje.set_refresh_cookies(response, qje.create_refresh_token("alice"))
        return response

    app.add_url_rule("/notes", "notes", qje.jwt_required(lambda: "ok"), methods=["POST"])
    renew = qje.jwt_required(lambda: "ok", refresh=True)
    app.add_url_rule("/token/refresh", "renew", renew, methods=["POST"])
    client = app.test_client()
    assert len((await client.post("/login")).headers.getlist("Set-Cookie")) == 2
    values = []
    for path in ("/csrf", "/token/csrf"):
        response = await client.get(path)
        assert response.status_code == 200
        values.append((await response.get_json())["csrf"])
    for path, right in (("/notes", 0), ("/token/refresh", 1)):
        assert (await client.post(path)).status_code == 401
        for number, value in enumerate(values):
            response = await client.post(path, headers={"X-CSRF-TOKEN": value})
            assert response.status_code == (200 if number == right else 401)


def test_axios_of_the_page_has_the_names_that_are_the_defaults() -> None:
    blocks = [block.code for block in BLOCKS if "axios.create" in block.code]
    assert len(blocks) == 2
    for code in blocks:
        options = dict(re.findall(r"^  (\w+): (.+),$", code, re.MULTILINE))
        assert options["xsrfCookieName"] == f'"{qje.DEFAULTS["JWT_ACCESS_CSRF_COOKIE_NAME"]}"'
        assert options["xsrfHeaderName"] == f'"{qje.DEFAULTS["JWT_ACCESS_CSRF_HEADER_NAME"]}"'


def test_cookie_of_the_value_for_a_refresh_has_the_name_that_is_the_default() -> None:
    name = qje.DEFAULTS["JWT_REFRESH_CSRF_COOKIE_NAME"]
    assert f"from the cookie `{name}`" in in_one_line(read("cookies.md"))


# --- The quickstart ------------------------------------------------------------------------------


def test_quickstart_answers_what_it_shows(tmp_path: Path) -> None:
    """Its ``curl`` lines, against the server that it says to start."""
    find_program("curl", "curl")
    (code,) = [block.code for block in FILES if block.page == "quickstart.md"]
    (tmp_path / "app.py").write_text(code, "utf-8")
    consoles = [
        block.code for block in BLOCKS if block.page == "quickstart.md" and "curl" in block.code
    ]
    commands, shown = [], []
    for line in re.sub(r"\\\n +", "", "".join(consoles)).splitlines():
        if line.startswith("$ "):
            commands.append(line.removeprefix("$ "))
        else:
            shown.append(line)
    command = ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "app:app"]
    with running(command, tmp_path) as service:
        script = "\n".join(commands).replace(":8000", f":{service.port}")
        # curl hangs at its start with the library of AddressSanitizer in it, as "make asan" has it.
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        result = subprocess.run(
            ["bash", "-eu", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        )
    assert result.stderr == ""
    # JSON answers end without a line feed of their own.
    assert result.stdout.replace("}{", "}\n{").splitlines() == shown
    assert len(shown) >= 3


# --- The options ---------------------------------------------------------------------------------

OPTION_ROW = re.compile(
    r"^\| `(?P<name>JWT_\w+)` \| (?P<type>[^|]+) \| (?P<unit>[^|]+) \| `(?P<default>[^|]+)`"
    r" \| (?P<since>[^|]+) \| (?P<meaning>[^|]+) \|$",
    re.MULTILINE,
)
OPTION_ROWS = list(OPTION_ROW.finditer(read("options.md")))


def test_every_option_is_documented_once_and_no_other() -> None:
    documented = [row["name"] for row in OPTION_ROWS]
    assert sorted(documented) == sorted(qje.DEFAULTS)


@pytest.mark.parametrize("row", OPTION_ROWS, ids=lambda row: row["name"])
def test_documented_default_is_the_default(row: re.Match[str]) -> None:
    # The page spells defaults as Python, and a timedelta is no literal.
    documented = eval(row["default"], {"timedelta": datetime.timedelta})
    default = qje.DEFAULTS[row["name"]]
    assert (type(documented), documented) == (type(default), default)
    app = Quart("docs_options")
    qje.JWTManager(app)
    assert app.config[row["name"]] == documented


@pytest.mark.parametrize("row", OPTION_ROWS, ids=lambda row: row["name"])
def test_numbers_have_a_unit_and_nothing_else_has(row: re.Match[str]) -> None:
    types = re.split(r", or | or |, ", row["type"])
    assert (row["unit"] != "–") == bool({"int", "float", "timedelta"} & set(types))


def test_options_that_are_new_are_those_that_the_changes_name() -> None:
    changes = (ROOT / "CHANGES.md").read_text("utf-8")
    news = changes.split("### New for users of 0.1.0\n")[1].split("\n### Fixed")[0]
    new = {row["name"] for row in OPTION_ROWS if row["since"] == "1.0"}
    old = {row["name"] for row in OPTION_ROWS if row["since"] == "0.1.0"}
    newest = {row["name"] for row in OPTION_ROWS if row["since"] == "1.1"}
    assert len(new) + len(old) + len(newest) == len(OPTION_ROWS)
    assert newest <= set(re.findall(r"JWT_\w+", changes.split("\n## 1.0.0")[0]))
    named = set(re.findall(r"JWT_\w+", news))
    # What an old option does now is news too.
    assert new == named - {"JWT_DECODE_ALGORITHMS"}


# --- The names -----------------------------------------------------------------------------------


def test_every_public_name_is_in_the_reference_once() -> None:
    named = re.findall(
        r"^ *\.\. (?:auto)?\w+:: (?:quart_jwt_extended\.)?(\S+)$", read("reference.md"), re.M
    )
    named = [name for name in named if name != "quart_jwt_extended"]
    loaders = [f"JWTManager.{name}" for name in vars(qje.JWTManager) if name.endswith("_loader")]
    methods = ("trust_issuer", "issuers", "serve_resource_metadata")
    loaders += [f"JWTManager.{name}" for name in methods]
    others = [
        "init_app",
        "check",
        "describe",
        "serve_jwks",
        "testing.assert_protected",
        "testing.signed_in",
    ]
    assert sorted(named) == sorted([*qje.__all__, *loaders, *others])


def test_text_of_each_loader_lists_the_arguments_in_the_order_of_their_types() -> None:
    stub = (ROOT / "quart_jwt_extended.pyi").read_text("utf-8")
    bounds = dict(re.findall(r"^(_\w+) = TypeVar\((.*?)\)$", stub, re.MULTILINE | re.DOTALL))
    loaders = re.findall(r"def (\w+_loader)\(\s*self, callback: (\w+)", stub)
    assert len(loaders) > 20
    words = {"_HeaderParameters": "header", "_Claims": "claims"}
    orders = set()
    for name, type_ in loaders:
        text = in_one_line(getattr(qje.JWTManager, name).__doc__).split(":param callback: ")[1]
        assert text.startswith(("called with the ", "called without arguments, "))
        pair = re.search(rf"\[({'|'.join(words)}), ({'|'.join(words)})\]", bounds[type_])
        named = re.search(r"\b(header|claims) and the (?:unverified )?(header|claims)\b", text)
        assert (pair is None) == (named is None)
        if pair and named:
            assert [words[part] for part in pair.groups()] == list(named.groups())
            orders.add(named.groups())
    # decode_key_loader has the other order.
    assert len(orders) == 2


def test_constants_are_in_the_reference() -> None:
    for name in ("DEFAULTS", "__version__"):
        assert hasattr(qje, name)
        assert f"`quart_jwt_extended.{name}`" in read("reference.md")


def test_listing_of_routes_is_what_the_command_prints() -> None:
    app = app_of_the_listing()
    info = ScriptInfo(create_app=lambda: app)
    printed = CliRunner().invoke(app.cli, ["jwt", "routes"], obj=info)
    assert printed.output == routes_block("console").partition("\n")[2]


def test_json_of_routes_is_what_the_command_writes() -> None:
    app = app_of_the_listing()
    info = ScriptInfo(create_app=lambda: app)
    printed = CliRunner().invoke(app.cli, ["jwt", "routes", "--json"], obj=info)
    assert json.loads(printed.output)[-1] == json.loads(routes_block("json"))


def test_check_of_routes_fails_as_the_page_shows() -> None:
    app = app_of_the_listing()
    info = ScriptInfo(create_app=lambda: app)
    command, _, shown = routes_block("text").partition("\n")
    arguments = command.partition(" jwt ")[2].split()
    failed = CliRunner().invoke(app.cli, ["jwt", *arguments], obj=info)
    assert (failed.exit_code, failed.stderr) == (1, shown)
    passed = CliRunner().invoke(app.cli, ["jwt", *arguments, "--open", "static"], obj=info)
    assert (passed.exit_code, passed.output) == (0, "")


def test_names_that_are_the_same_as_in_flask_jwt_extended_exist() -> None:
    sentence = read("from-flask-jwt-extended.md").split("These are the same:")[1].split("\n\n")[0]
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


# --- The errors ----------------------------------------------------------------------------------

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
        app = Quart("docs_errors")
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
        if "returns a response" in in_one_line(getattr(qje.JWTManager, name).__doc__ or "")
        and name.endswith("_loader")
    }
    assert documented == answers


# --- The messages --------------------------------------------------------------------------------

# Calls whose strings describe something for editors and for the help of a command.
DESCRIBING = {
    "_as_configured",
    "_attribute",
    "_by_type",
    "_config_property",
    "_new_submodule",
    "property",
}
# What else has a space in it, and is no message.
NOT_MESSAGES = {
    # The help of the command, and its column of what a route asks for.
    "Commands of quart-jwt-extended.",
    "List the routes and how they are protected, open routes first.",
    "Write JSON, not a table.",
    "Exit with code 1 if a route is open and not listed with --open.",
    "An endpoint that is open on purpose, for --check. Can be repeated.",
    "Delete ended sessions and expired revocations from the token store.",
    "Deleted: <>",
    # The commands for keys: their help, the states of a key, and what to do with a new one.
    "Generate keys, and list the keys of JWT_KEYS.",
    "Generate a key and print it, with how to add it to JWT_KEYS. Keep it secret.",
    "List the keys of JWT_KEYS: which key signs, and until when each key verifies.",
    "The algorithm of the key.",
    "The key ID. The default is the thumbprint; for a secret, a random ID.",
    "The format of the key. A secret requires jwk.",
    "verifies until",
    "signs now",
    "signs from <>",
    "only verifies",
    "no longer verifies",
    "<> UTC",
    "Warning: <>",
    (
        "The <> above is secret. Store it where the app reads its secrets, and add it to "
        'JWT_KEYS:\n    <>: {<>, "sign_from": MOMENT}\n'
        "MOMENT is a datetime with a time zone, or POSIX seconds; use 0 for your first key. From "
        "then on, the key signs; before, it only verifies."
    ),
    '"key": JWK',
    '"key": PEM, "algorithm": "<>"',
    # The header Cache-Control.
    "public, max-age=<>",
    "access token",
    "refresh token",
    "access or refresh token",
    "fresh <>",
    "optional <>",
    ", in <>",
    ", scopes: <>",
    ", issuer: <>",
    "the app itself",
    ", not checked for revocation",
    ", closed with the token",
    # The header of a request for the keys of an issuer.
    "application/json, application/jwk-set+json",
    # The source of the wrapper around a view.
    (
        "def {name}(fn, verify, original, options):\n    async def wrapper(*args, **kwargs):\n"
        "        if {name} is original:\n            await verify()\n        else:\n"
        "            await {name}(**options)\n        return await fn(*args, **kwargs)\n\n"
        "    return wrapper\n\n"
    ),
    (
        "def exempt_coroutine(fn):\n    async def wrapper(*args, **kwargs):\n"
        "        return await fn(*args, **kwargs)\n\n    return wrapper\n\n"
        "def exempt_function(fn):\n    def wrapper(*args, **kwargs):\n"
        "        return fn(*args, **kwargs)\n\n    return wrapper\n"
    ),
    "async def start(app, **kwargs):\n    note()",
    # The descriptions of security schemes in an OpenAPI document.
    "An access token",
    "A refresh token",
    ", after <>",
    ", after <> and a space",
    " <> requests send its CSRF value in the header ",
    " or the form field <>",
    "; it is the value of the cookie <>",
    # Fields of named tuples, and a statement of SQL. Scripts for Redis are known by their Lua.
    "access_token refresh_token session_id",
    "id identity generation created_at rotated_at expires_at ends_at metadata",
    "token_type optional fresh scopes locations skip_revocation_check close_with_token issuers",
    "BEGIN IMMEDIATE",
    # A pattern of the testing kit.
    "; Domain=[^;]*",
    # Sought in texts of PyJWT, to leave them out.
    " at 0x",
    # The log, which has a page of its own.
    "Rejected: %s, endpoint %s, location %s, kid %.100r, reason %.300r",
    "<> (page of <>, host <>)",
    "Weak key: %s",
    # What an issuer looks like in a debugger.
    "<TrustedIssuer <>>",
    # Parts of messages, which are there as a whole.
    "<> function <>",
    "<>, not <>",
}


def is_docstring(target: Any) -> bool:
    return getattr(target, "attribute", None) == "__doc__"


def messages_in_source() -> Iterator[tuple[int, str]]:
    """Every string of the module with a space in it, with its line; ``<>`` where a value goes.

    Not only those in ``raise``: texts are also handed to functions that raise, kept in constants
    and put together from pieces. Docstrings are left out.
    """
    source = (ROOT / "quart_jwt_extended.pyx").read_text("utf-8")
    pending: list[Any] = [parse_from_strings("quart_jwt_extended", source)]
    while pending:
        node = pending.pop()
        function = getattr(node, "function", None)
        if getattr(function, "name", None) in DESCRIBING:
            continue
        if isinstance(node, Nodes.SingleAssignmentNode) and is_docstring(node.lhs):
            continue
        text = None
        if isinstance(node, ExprNodes.JoinedStrNode):
            parts = [v.value if isinstance(v, ExprNodes.UnicodeNode) else "<>" for v in node.values]
            text = "".join(parts)
        elif isinstance(node, ExprNodes.UnicodeNode):
            text = str(node.value)
        if text is not None and " " in text.strip():
            yield node.pos[1], text
        for name in node.child_attrs or ():
            # A class keeps its docstring as a node, a function as text.
            if name == "doc":
                continue
            children = getattr(node, name)
            for child in children if isinstance(children, list) else [children]:
                literal = isinstance(child, ExprNodes.UnicodeNode)
                if child is None or literal and isinstance(node, ExprNodes.JoinedStrNode):
                    continue
                pending.append(child)


# Where a value goes: in an f-string, in a text for the log, in a text for str.format().
VALUE = r"<>|%s|\{name\}"


def message_patterns() -> dict[str, re.Pattern[str]]:
    """What the page shows for each message: ``<name>`` where a value goes."""
    return {
        message: re.compile("<[^>]+>".join(map(re.escape, re.split(VALUE, message.strip()))))
        for message in dict.fromkeys(text for _, text in messages_in_source())
        if message not in NOT_MESSAGES and not re.search(r"ARGV|redis\.call", message)
    }


def in_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_every_message_is_on_the_page_of_messages() -> None:
    page = in_one_line(read("troubleshooting.md"))
    patterns = message_patterns()
    assert len(patterns) > 100
    missing = [message for message, pattern in patterns.items() if not pattern.search(page)]
    assert missing == []


def test_strings_that_are_no_messages_are_in_the_source() -> None:
    assert {text for _, text in messages_in_source()} >= NOT_MESSAGES


def test_every_entry_of_the_page_of_messages_is_a_message() -> None:
    ours, _, _ = read("troubleshooting.md").partition("\n## Messages of PyJWT")
    # A code span may be in two backticks, to hold one.
    spans = re.findall(r"^ *- (`+)(.+?)(?<!`)\1(?!`)", ours, re.MULTILINE | re.DOTALL)
    heads = [in_one_line(span) for _, span in spans]
    patterns = message_patterns().values()
    assert len(heads) > 100
    unknown = [head for head in heads if not any(pattern.search(head) for pattern in patterns)]
    assert unknown == []
