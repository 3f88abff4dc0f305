"""A program that PyInstaller froze has all that the compiled module imports."""

from __future__ import annotations

import importlib
import importlib.util
import re
import runpy
import sys
from pathlib import Path

import pytest

from support.commands import ROOT, environment, run
from support.example_process import SECRET, running, signed

pytestmark = pytest.mark.packaging

HOOK = ROOT / "_quart_jwt_extended_pyinstaller" / "hook-quart_jwt_extended.py"

# It imports by a path of 0.1.0, too: those modules have no file that could be collected.
PROGRAM = """
import asyncio
import os

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from quart_jwt_extended import JWTManager, get_jwt_identity, jwt_required
from quart_jwt_extended.tokens import encode_access_token

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"
JWTManager(app)


@app.get("/me")
@jwt_required
async def me():
    return {"username": get_jwt_identity()}


if __name__ == "__main__":
    config = Config()
    config.bind = ["127.0.0.1:" + os.environ["PORT"]]
    asyncio.run(serve(app, config))
"""
# In the place of Python's arguments: the program is no script.
EXECUTE = ["-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"]


def imports_of_the_module() -> set[str]:
    """Each module that the source imports, by itself or as a name of its package.

    Not those of extras, which a class imports when it is used.
    """
    source = (ROOT / "quart_jwt_extended.pyx").read_text("utf-8")
    statement = r"^(?:import ([\w.]+)|from ([\w.]+) import (\([^)]*\)|.+))"
    found = set()
    for module, origin, names in re.findall(statement, source, re.MULTILINE):
        found.add(module or origin)
        is_package = origin and importlib.import_module(origin).__spec__.submodule_search_locations
        for name in re.findall(r"\w+", names) if is_package else []:
            # A package that hides deprecated names has no spec once it is imported.
            if f"{origin}.{name}" in sys.modules or importlib.util.find_spec(f"{origin}.{name}"):
                found.add(f"{origin}.{name}")
    return found


def test_hook_names_what_the_source_imports() -> None:
    hidden = runpy.run_path(str(HOOK))["hiddenimports"]
    assert hidden == sorted(imports_of_the_module())


def test_frozen_program_lets_in_a_token_and_nobody_without(tmp_path: Path, wheel: Path) -> None:
    programs = environment(tmp_path / "environment", wheel, "pyinstaller")
    (tmp_path / "app.py").write_text(PROGRAM)
    run(programs / "pyinstaller", "--noconfirm", "app.py", cwd=tmp_path)
    with running(
        [*EXECUTE, str(tmp_path / "dist" / "app" / "app")], tmp_path, JWT_SECRET_KEY=SECRET
    ) as service:
        assert service.call("GET", "/me") == (401, {"msg": "Missing Authorization Header"})
        assert service.call("GET", "/me", signed()) == (200, {"username": "alice"})
