"""The page on security: its table of threats names every attack test, and no other."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "security.md"

# They show that the attacks would be noticed, and are none.
CONTROLS = {
    "test_signer_of_the_attacks_makes_good_tokens",
    "test_watch_over_files_and_sockets_sees_them",
}


def test_table_of_threats_names_every_attack_test() -> None:
    code = (TESTS / "security" / "test_attacks.py").read_text(encoding="utf-8")
    attacks = set(re.findall(r"def (test_\w+)", code)) - CONTROLS
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+ \| .+ \| `(test_\w+)` \|$", page, re.MULTILINE)
    assert sorted(rows) == sorted(attacks)
    assert f"\n| attacks | {len(attacks)}, in " in page


def test_tests_about_sessions_that_the_page_names_exist() -> None:
    rows = re.findall(r"`([\w/]+\.py)::(\w+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 20
    suite = (TESTS / "support" / "token_store_suite.py").read_text(encoding="utf-8")
    for file, name in rows:
        # The tests of the stores are made from the checks of the suite.
        code = (TESTS / file).read_text(encoding="utf-8")
        assert f"def {name}(" in code + suite, f"{file}::{name}"


def test_page_names_every_test_about_an_advisory() -> None:
    code = (TESTS / "security" / "test_key_advisories.py").read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`security/test_key_advisories\.py::(\w+)` \|$", page, re.MULTILINE)
    assert sorted(named) == sorted(re.findall(r"def (test_\w+)", code))


def test_page_names_files_of_tests_that_exist() -> None:
    files = re.findall(r"pytest tests/([\w/]+\.py)`", PAGE.read_text(encoding="utf-8"))
    assert len(files) >= 6
    assert [name for name in files if not (TESTS / name).exists()] == []
