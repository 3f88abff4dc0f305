"""The diagrams in docs/: they read well as text, and ``make docs`` finds them.

Whether they can be drawn is known once they are: docs/conf.py raises an error where they cannot.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
MARK = re.compile(
    r"^<!-- diagram: (?P<title>.+) -->\n\n```text\n(?P<art>(?:(?!```).*\n)+)```$", re.MULTILINE
)
DIAGRAMS = [
    pytest.param(page.stem, found["title"], found["art"], id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, found in enumerate(MARK.finditer(page.read_text("utf-8")))
]
EXPECTED = {
    "cookies",
    "errors",
    "key-rotation",
    "openid",
    "refresh-tokens",
    "revoking",
    "sessions",
    "websockets",
}


def art_of(page: str) -> list[str]:
    return [diagram.values[2] for diagram in DIAGRAMS if diagram.values[0] == page]


def test_pages_have_diagrams() -> None:
    assert {diagram.values[0] for diagram in DIAGRAMS} == EXPECTED


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_marks_are_complete(page: Path) -> None:
    """A mark that is misspelt, or has no block, leaves a comment and plain text in the page."""
    text = page.read_text("utf-8")
    marks = re.findall(r"<!--\s*diagram", text, re.IGNORECASE)
    assert len(marks) == len(MARK.findall(text))


@pytest.mark.parametrize(("page", "title", "art"), DIAGRAMS)
def test_diagram_reads_well_as_text(page: str, title: str, art: str) -> None:
    lines = art.splitlines()
    # GitHub breaks no line of a block: a wider one scrolls.
    assert max(map(len, lines)) <= 88
    assert art.isascii()
    assert "\t" not in art
    assert [line for line in lines if line != line.rstrip()] == []
    assert 20 <= len(title) <= 100
    assert "--" not in title


@pytest.mark.parametrize(("page", "title", "art"), DIAGRAMS)
def test_words_touch_no_lines(page: str, title: str, art: str) -> None:
    """What touches a line would be drawn as a part of it, or be struck through by it."""
    assert re.findall(r"\w[-+]{2,}|[-+<>]{2,}\w|\w\||\|\w", art) == []


def test_titles_differ() -> None:
    titles = [diagram.values[1] for diagram in DIAGRAMS]
    assert sorted(set(titles)) == sorted(titles)


def test_order_of_checks_has_the_errors_of_the_table() -> None:
    """Each code of the table, with its status; ``token_reused`` is raised by views."""
    page = (DOCS / "errors.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)
    (art,) = art_of("errors")
    drawn = [(code, status) for status, code in re.findall(r"(\d{3}) (\w+)", art)]
    assert sorted(drawn) == sorted(row for row in rows if row[0] != "token_reused")
