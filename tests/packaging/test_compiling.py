"""What the compiler is asked for, read off its command line: a slip would double its time."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import ROOT

pytestmark = [
    pytest.mark.packaging,
    pytest.mark.skipif(sys.platform == "win32", reason="its compiler takes other flags"),
]


def flags(folder: Path, shown: str, cflags: str, build: str = "") -> list[str]:
    """The options that a build gives to a compiler which shows this as its version."""
    shutil.copyfile(ROOT / "setup.py", folder / "setup.py")
    (folder / "quart_jwt_extended.pyx").touch()
    (folder / "quart_jwt_extended.pyi").touch()
    compiler, seen = folder / "compiler", folder / "seen"
    compiler.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" --version "*) echo {shlex.quote(shown)}; exit;; esac\n'
        f'printf "%s\\n" "$@" > {shlex.quote(str(seen))}\n'
        "exit 1\n"
    )
    compiler.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext"],
        cwd=folder,
        env={**os.environ, "CC": str(compiler), "CFLAGS": cflags, "JWT_BUILD": build},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "This needs a C compiler" in done.stderr, done.stderr
    return seen.read_text().splitlines()


def level(options: list[str]) -> str:
    """The last level of optimisation, which is the one that counts."""
    return [option for option in options if option.startswith("-O")][-1]


GCC = "compiler 12.2.0, Copyright (C) 2022 Free Software Foundation, Inc."
CLANG = "Apple clang version 17.0.0"


def test_gcc_is_asked_for_the_passes_that_pay_for_themselves(tmp_path: Path) -> None:
    options = flags(tmp_path, GCC, "-fno-strict-aliasing")
    assert level(options) == "-O1"
    expected = {"-fno-tree-pta", "-finline-small-functions", "--param=inline-unit-growth=2", "-g0"}
    expected |= {"-fno-tree-fre", '-DCYTHON_SMALL_CODE=__attribute__((cold,optimize("O0")))'}
    assert expected <= set(options)


def test_clang_is_not_given_the_flags_of_gcc(tmp_path: Path) -> None:
    options = flags(tmp_path, CLANG, "-pipe")
    assert not {"-O1", "-fno-tree-pta"} & set(options)
    assert not any("CYTHON_SMALL_CODE" in option for option in options)


@pytest.mark.parametrize("wanted", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("shown", [GCC, CLANG], ids=["gcc", "clang"])
def test_level_in_cflags_is_respected(tmp_path: Path, shown: str, wanted: str) -> None:
    options = flags(tmp_path, shown, f"-pipe {wanted}")
    assert level(options) == wanted
    assert "-fno-tree-pta" not in options


def test_debug_information_in_cflags_is_respected(tmp_path: Path) -> None:
    options = flags(tmp_path, GCC, "-g -ffile-prefix-map=/a=/b")
    assert [option for option in options if option in ("-g", "-g0")][-1] == "-g"
    assert level(options) == "-O1"


@pytest.mark.parametrize("build", ["", "debug"], ids=["release", "debug"])
def test_no_build_looks_for_misleading_indentation(tmp_path: Path, build: str) -> None:
    options = flags(tmp_path, GCC, "-Wall", build)
    # The later of the two counts.
    pair = ["-Wall", "-Wno-misleading-indentation"]
    assert [option for option in options if option in pair] == pair
