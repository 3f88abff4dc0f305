#!/usr/bin/env python3
"""Make a virtual environment with the module in it, and compile that only when it must be.

    environment.py DIRECTORY [--extra NAME]... [REQUIREMENT]...
    environment.py DIRECTORY --bare [REQUIREMENT]...
    environment.py --wheel

The environment is that of the interpreter which runs this, and is made anew when that or a
requirement changes. Of the module a wheel is built once for each state of what it is compiled from,
each interpreter and each build (JWT_BUILD, CC, CFLAGS and so on), and kept in build/wheels, or in
the folder that JWT_WHEELS names; --wheel prints the path of the one for this interpreter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WHEELS = Path(os.environ.get("JWT_WHEELS") or ROOT / "build" / "wheels").resolve()

# All that a build reads. What is not compiled goes into the metadata only: the first wheel's stays.
COMPILED = ["quart_jwt_extended.pyx", "quart_jwt_extended.pyi", "setup.py"]
for pattern in ("stubs/*.pyi", "_quart_jwt_extended_pyinstaller/*.py"):
    COMPILED += sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))
DESCRIBED = ["pyproject.toml", "README.md", "LICENSE"]
# Of pyproject.toml the tables that say what is built and what it requires, not those of the tools.
TABLES = re.compile(r"^\[(?:build-system|project|tool\.setuptools)\b.*?(?=^\[|\Z)", re.M | re.S)
VARIABLES = ["CC", "CPPFLAGS", "CFLAGS", "LDFLAGS", "LDSHARED", "ARCHFLAGS"]

# Debian's are built at the same moment for all architectures.
INTERPRETER = f"{sys.base_prefix} {sys.version} {platform.machine()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", nargs="?", type=Path, help="the environment")
    parser.add_argument("requirements", nargs="*", help="for pip, with versions or options of pip")
    parser.add_argument("--extra", action="append", default=[], help="of the module; adds to it")
    parser.add_argument("--bare", action="store_true", help="without the module")
    parser.add_argument("--wheel", action="store_true", help="build and name the wheel, no more")
    arguments = parser.parse_intermixed_args()
    try:
        if arguments.wheel:
            print(wheel(Path(sys.executable)))
        elif arguments.directory is None:
            parser.error("which directory?")
        else:
            make(arguments.directory, arguments.requirements, arguments.extra, arguments.bare)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


def make(directory: Path, requirements: list[str], extras: list[str], bare: bool) -> None:
    """Make an environment, or bring it up to date."""
    python = directory / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = directory / "environment.json"
    made: dict[str, Any] = {"interpreter": INTERPRETER, "requirements": requirements}
    has: dict[str, Any] = json.loads(stamp.read_text("utf-8")) if stamp.is_file() else {}

    if {name: has.get(name) for name in made} != made:
        say(f"Making {directory}")
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        if requirements:
            pip(python, "install", *requirements)
        has = made
        stamp.write_text(json.dumps(has), "utf-8")
    if bare:
        return
    if has.get("module") != module():
        pip(python, "install", "--force-reinstall", "--no-deps", str(wheel(python)))
        has = {**made, "module": module()}
        stamp.write_text(json.dumps(has), "utf-8")
    missing = [extra for extra in ["", *extras] if extra not in has.get("extras", [])]
    if missing:
        # The module itself is installed by now.
        pip(python, "install", f"quart-jwt-extended[{','.join(filter(None, missing))}]")
        has["extras"] = [*has.get("extras", []), *missing]
        stamp.write_text(json.dumps(has), "utf-8")


def module() -> str:
    """The name of the build that is wanted, other for all that makes another one."""
    build = os.environ.get("JWT_BUILD", "")
    digest = hashlib.sha256(f"{INTERPRETER} {build}".encode())
    for variable in VARIABLES:
        digest.update(f"\n{variable}={os.environ.get(variable, '')}".encode())
    for name in COMPILED:
        digest.update(f"\n{name}\n".encode() + (ROOT / name).read_bytes())
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    digest.update("".join(TABLES.findall(pyproject)).encode())
    return f"{sys.implementation.cache_tag}-{build or 'release'}-{digest.hexdigest()[:16]}"


def wheel(python: Path) -> Path:
    """The wheel of the build that is wanted, made by this interpreter's pip if there is none."""
    folder = WHEELS / module()
    if not folder.is_dir():
        say(f"Building {folder.name}")
        WHEELS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=WHEELS) as work:
            # A copy, so that builds cannot disturb each other, and read nothing that is not listed.
            copy, built = Path(work, "copy"), Path(work, "built")
            for name in COMPILED + DESCRIBED:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, copy / name)
            pip(python, "wheel", "--no-deps", "--wheel-dir", str(built), str(copy))
            for code in copy.glob("*.c"):
                shutil.move(code, built)
            try:
                built.rename(folder)
            except OSError:
                # Another process was faster.
                if not folder.is_dir():
                    raise
    # Where a build leaves C code behind, coverage looks for it beside the source.
    for code in folder.glob("*.c"):
        shutil.copyfile(code, ROOT / code.name)
    (path,) = folder.glob("*.whl")
    return path


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    # What it prints is not what --wheel prints.
    subprocess.run(command, stdout=sys.stderr, check=True)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
