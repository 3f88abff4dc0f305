"""What pylint says about an app, and what docs/installation.md says to do about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.commands import ROOT, added, attempt

pytestmark = pytest.mark.packaging

APP = '''"""An app."""

from quart_jwt_extended import JWTManager, jwt_required
from quart_jwt_extended.exceptions import CSRFError

print(JWTManager, jwt_required, CSRFError)
'''


def test_settings_of_the_page_make_pylint_find_names(tmp_path: Path, programs: Path) -> None:
    path = added(programs, tmp_path / "added", "pylint")
    app, settings = tmp_path / "app.py", tmp_path / "pyproject.toml"

    def reported() -> list[str]:
        done = attempt(
            *(programs / "python", "-m", "pylint", "--persistent=no", app),
            cwd=tmp_path,
            PYTHONPATH=path,
        )
        assert done.stderr == ""
        return re.findall(r"^app.py:(\d+):.*\(([\w-]+)\)$", done.stdout, re.MULTILINE)

    app.write_text(APP)
    without = [("3", "no-name-in-module")] * 2
    without += [("4", "import-error"), ("4", "no-name-in-module")]
    assert reported() == without

    page = (ROOT / "docs" / "installation.md").read_text("utf-8")
    (block,) = re.findall(r"^```toml\n(\[tool\.pylint\..*?)^```$", page, re.MULTILINE | re.DOTALL)
    settings.write_text(block)
    assert reported() == []

    # The second setting is for the import path only.
    settings.write_text("".join(line for line in block.splitlines(True) if "ignored" not in line))
    assert reported() == [("4", "import-error")]

    # Names are known now, not merely let through.
    settings.write_text(block)
    app.write_text(APP.replace("JWTManager", "JWTMannager"))
    assert reported() == [("3", "no-name-in-module")]
