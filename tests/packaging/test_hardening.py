"""What the compiler and the linker were asked for, read off the file that was built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import quart_jwt_extended as qje
from support.commands import find_program

pytestmark = [
    pytest.mark.packaging,
    pytest.mark.skipif(sys.platform != "linux", reason="the file is not ELF"),
]

ALL = {"stack protector", "fortified calls", "relocations read-only", "bound at start"}


def readelf(*arguments: str | Path) -> str:
    command = [find_program("readelf", "binutils"), "--wide", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def hardening(library: Path) -> set[str]:
    """Which of :data:`ALL` a shared library has, and "text relocations" where it has some."""
    needed = set(re.findall(r"\bUND (\w+)", readelf("--dyn-syms", library)))
    dynamic = readelf("--dynamic", library)
    found = {
        "stack protector": "__stack_chk_fail" in needed,
        # What _FORTIFY_SOURCE makes of memcpy() and others where it knows the size of the target.
        "fortified calls": any(re.fullmatch(r"__\w+_chk", name) for name in needed),
        "relocations read-only": "GNU_RELRO" in readelf("--program-headers", library),
        # With the above, RELRO is full: the table of addresses is read-only, too.
        "bound at start": re.search(r"\((FLAGS|BIND_NOW)\).*BIND_NOW", dynamic) is not None,
        "text relocations": "TEXTREL" in dynamic,
    }
    return {name for name, holds in found.items() if holds}


def test_installed_extension_has_every_hardening_and_no_text_relocations() -> None:
    assert hardening(Path(qje.__file__)) == ALL


HARDENED = [
    "-O2",
    "-fstack-protector-strong",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=2",
    "-Wl,-z,relro,-z,now",
]


@pytest.mark.parametrize(
    ("instead", "lost"),
    [
        ({"-fstack-protector-strong": "-fno-stack-protector"}, "stack protector"),
        ({"-D_FORTIFY_SOURCE=2": "-D_FORTIFY_SOURCE=0"}, "fortified calls"),
        ({"-Wl,-z,relro,-z,now": "-Wl,-z,norelro,-z,now"}, "relocations read-only"),
        ({"-Wl,-z,relro,-z,now": "-Wl,-z,relro,-z,lazy"}, "bound at start"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_library_built_without_one_hardening_is_seen_to_lack_it(
    tmp_path: Path, instead: dict[str, str], lost: str
) -> None:
    source, library = tmp_path / "library.c", tmp_path / "library.so"
    source.write_text(
        "#include <string.h>\n"
        "void show(char *);\n"
        "void copy(const char *text, size_t size) {\n"
        "    char room[16]; memcpy(room, text, size); show(room);\n"
        "}\n"
    )
    flags = [instead.get(flag, flag) for flag in HARDENED]
    command = ["cc", "-shared", "-fPIC", "-Wno-stringop-overflow", *flags]
    subprocess.run([*command, source, "-o", library], timeout=60, check=True)
    assert hardening(library) == ALL - {lost}
