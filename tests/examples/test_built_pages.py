"""The pages that ``make docs`` builds: they fit on screens, and types are those of the stubs."""

from __future__ import annotations

import ast
import html
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.commands import ROOT, unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STUBS = {
    "quart_jwt_extended": ROOT / "quart_jwt_extended.pyi",
    "quart_jwt_extended.testing": ROOT / "stubs" / "testing.pyi",
}

NAMES = "str | list | tuple | set | frozenset"
LOCATION = "Literal['headers', 'cookies', 'query_string', 'json', 'websocket_protocol']"
RESPONSE = "ResponseReturnValue | Awaitable[ResponseReturnValue]"
ADDITIONS = "dict[str, Any] | None | Awaitable[dict[str, Any] | None]"
DOCUMENT = "str | bytes | dict[str, Any]"
# What the page shows for the private names of the stubs.
SHOWN = {
    "_Location": LOCATION,
    "_Locations": NAMES,
    "_Names": NAMES,
    "_Lifetime": "timedelta | int | Literal[False]",
    "_AnyResponse": "Response | werkzeug.Response",
    "_Rotation": "tuple[Literal['rotated', 'retried', 'reused', 'ended'], Session | None]",
    "_Standing": "Literal['live', 'token_revoked', 'session_ended']",
    "_Revocations": "tuple[float, list[tuple[Literal['session', 'token'], str, float | None]]]",
    "_View": "Callable",
    "_ViewDecorator": "Callable",
    "_FromSubject": "Callable[[Any], Any]",
    "_Additions": f"Callable[[Any], {ADDITIONS}]",
    "_EncodeKey": "Callable[[Any], str | bytes | RSAPrivateKey | EllipticCurvePrivateKey"
    " | Ed25519PrivateKey | Ed448PrivateKey | Awaitable[...]]",
    "_DecodeKey": "Callable[[dict, dict], str | bytes | RSAPublicKey | EllipticCurvePublicKey"
    " | Ed25519PublicKey | Ed448PublicKey | PyJWK | None | Awaitable[...]]",
    "_JWKSFetch": f"Callable[[str], {DOCUMENT} | tuple[{DOCUMENT}, Mapping[str, str]] | None"
    " | Awaitable[...]]",
    "_ClaimsCheck": "Callable[[dict], bool | Awaitable[bool]]",
    "_TokenCheck": "Callable[[dict, dict], bool | Awaitable[bool]]",
    "_ReuseReport": "Callable[[dict, dict], Any]",
    "_UserLoader": "Callable[[Any], Any]",
    "_UserLookup": "Callable[[dict, dict], Any]",
    "_AnswerToNothing": f"Callable[[], {RESPONSE}]",
    "_AnswerToNothingOrToken": f"Callable[[], {RESPONSE}] | Callable[[dict, dict], {RESPONSE}]",
    "_AnswerToReason": f"Callable[[str], {RESPONSE}]",
    "_AnswerToClaimsOrToken": f"Callable[[dict], {RESPONSE}] | Callable[[dict, dict], {RESPONSE}]",
    "_AnswerToToken": f"Callable[[dict, dict], {RESPONSE}]",
    "_AnswerToIdentity": f"Callable[[Any], {RESPONSE}]",
    "_AnswerToScopes": f"Callable[[tuple[str, ...], dict], {RESPONSE}]",
}
# The page leaves out what decorators keep of a function, and shows overloads as one signature.
DECORATORS = {
    "Callable[_P, Coroutine[Any, Any, _R]]": "Callable",
    "Callable[_P, _R]": "Callable",
    "fn: None=None": "fn: Callable | None=None",
}


def public(text: str) -> str:
    for generic, plain in DECORATORS.items():
        text = text.replace(generic, plain)
    return re.sub(r"\b_[A-Z]\w*", lambda private: SHOWN[private[0]], text)


def normal(text: str) -> str:
    """A signature as the page shows it, without line breaks."""
    text = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace(", ", " | "), text)
    return re.sub(r"\s|,(?=\s*\)( →|$))", "", text)


def types_in(scope: str, body: list[ast.stmt]) -> dict[str, str]:
    """The text behind each name in a stub; the last one of overloads."""
    found: dict[str, str] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            name = f"{scope}.{node.name}"
            fields = ", ".join(ast.unparse(n) for n in node.body if isinstance(n, ast.AnnAssign))
            found[name] = f"({fields})" if "NamedTuple" in map(ast.unparse, node.bases) else ""
            found |= types_in(name, node.body)
        elif isinstance(node, ast.AnnAssign):
            found[f"{scope}.{ast.unparse(node.target)}"] = f": {ast.unparse(node.annotation)}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = re.sub("^self(, )?", "", ast.unparse(node.args))
            returns = re.sub(r"^Callable\[.*", "Callable", public(ast.unparse(node.returns)))
            if "property" in map(ast.unparse, node.decorator_list):
                found[f"{scope}.{node.name}"] = f": {returns}"
            elif node.name == "__init__":
                found[scope] = f"({parameters})" if parameters else ""
            else:
                found[f"{scope}.{node.name}"] = f"({parameters}) → {returns}"
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the HTML."""
    if importlib.util.find_spec("sphinx") is None:
        unavailable("Sphinx is missing: pip install quart-jwt-extended[docs]")
    out = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", str(ROOT / "docs"), str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def signatures(pages: Path) -> dict[str, str]:
    """The text behind each name on the API page."""
    page = (pages / "reference.html").read_text("utf-8")
    found = re.findall(
        r'<dt class="sig sig-object py" id="([\w.]+)">.*?<span class="sig-name.*?</span></span>'
        r'(.*?)<a class="headerlink"',
        page,
        re.DOTALL,
    )
    return {name: html.unescape(re.sub("<[^>]+>", "", rest)) for name, rest in found}


def test_types_on_the_page_are_those_of_the_stubs(signatures: dict[str, str]) -> None:
    types = {}
    for module, path in STUBS.items():
        types |= types_in(module, ast.parse(path.read_text("utf-8")).body)
    assert len(signatures) > 100
    assert {name: normal(text) for name, text in signatures.items()} == {
        name: normal(public(types[name])) for name in signatures
    }


def test_page_shows_no_private_name(signatures: dict[str, str]) -> None:
    assert [text for text in signatures.values() if re.search(r"\b_[A-Z]", text)] == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("changes", "CHANGES.md"),
        ("benchmarks", "benchmarks/README.md"),
        ("security-policy", "SECURITY.md"),
    ],
)
def test_page_of_a_file_outside_has_its_headings(pages: Path, name: str, file: str) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    page = html.unescape(re.sub("<[^>]+>", "", (pages / f"{name}.html").read_text("utf-8")))
    assert len(headings) > 1
    assert [title for title in headings if title.replace("`", "") not in page] == []


def test_links_between_pages_lead_to_a_page_and_a_place_on_it(pages: Path) -> None:
    texts = {path.name: path.read_text("utf-8") for path in pages.glob("*.html")}
    places = {name: {"", *re.findall(r'\bid="([^"]+)"', text)} for name, text in texts.items()}
    broken, found = [], 0
    for name, text in texts.items():
        for link in re.findall(r'<a [^>]*?href="([^"]+)"', text):
            page, _, place = html.unescape(link).partition("#")
            if "://" in page:
                continue
            found += 1
            # Other files are those to download, such as examples.
            is_there = not place and (pages / page).is_file()
            if not is_there and place not in places.get(page or name, ()):
                broken.append(f"{name}: {link}")
    assert found > 1000
    assert broken == []


# A phone, and a small laptop.
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen(pages: Path, browser: Browser, width: int) -> None:
    names = sorted(path.name for path in pages.glob("*.html"))
    assert len(names) > 35
    page = browser.new_page(viewport={"width": width, "height": 800})
    too_wide = []
    for name in names:
        page.goto((pages / name).as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > width:
            too_wide.append(name)
        tables = page.locator(".table-wrapper").evaluate_all(
            "tables => tables.filter(table => table.scrollWidth > table.clientWidth + 1).length"
        )
        # On a phone, a wide table scrolls by itself.
        if tables and width > 1000:
            too_wide.append(f"{name}: {tables} tables")
    page.close()
    assert too_wide == []
