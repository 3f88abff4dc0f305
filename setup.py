"""The build of the one extension module; everything that can be declared is in pyproject.toml.

PEP 561 finds no stub of a single-file module, so the build also makes the package
``quart_jwt_extended-stubs``: the one ``.pyi`` as its ``__init__.pyi``, and from ``stubs/`` one
small stub for each further import path of 0.1.0. And it makes the folder ``quart_jwt_extended``,
for the reason that the text in it gives.

Two builds of one commit by the same tools give the same files, byte for byte.

``JWT_BUILD`` in the environment makes a build for tests, one of :data:`TEST_BUILDS`.
"""

import gc
import gzip
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import Cython  # noqa: F401  without it, setuptools would look for a .c instead of failing
from setuptools import Distribution, Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.errors import CompileError

NAME = "quart_jwt_extended"

# The date of every file in a distribution: one that a clone and a source distribution both know,
# which the time of the commit is not. Hatchling has the same.
os.environ["SOURCE_DATE_EPOCH"] = os.environ.get("SOURCE_DATE_EPOCH") or "1580601600"


@dataclass
class Build:
    """What one kind of build does otherwise than setuptools."""

    directives: dict[str, bool] = field(default_factory=dict)
    macros: list[tuple[str, str]] = field(default_factory=list)
    compile_args: list[str] = field(default_factory=list)
    link_args: list[str] = field(default_factory=list)


# What whoever builds asks for, a distribution for example; those of the interpreter are not here.
CFLAGS = os.environ.get("CFLAGS", "").split()

RELEASE = Build()
if os.name == "posix":
    # A C library that does not know level 3 of _FORTIFY_SOURCE has level 2.
    RELEASE.compile_args += ["-fstack-protector-strong"]
    RELEASE.compile_args += ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
    # Debug information on generated C helps few, and is five sixths of the file.
    if not any(flag.startswith("-g") for flag in CFLAGS):
        RELEASE.compile_args += ["-g0"]
if sys.platform == "linux":
    # Calls into libpython without a stub in between: 4 percent of verifying a token.
    RELEASE.compile_args += ["-fno-plt"]
    RELEASE.link_args += ["-Wl,-z,relro,-z,now"]

# -O2 and -O3 take gcc about three times as long as this, and save about 2 percent of the time that
# verifying a token takes; the place of the functions in memory makes as much difference.
# Points-to analysis is a quarter of the time at -O2. The limit on inlining, which leaves it to the
# calls that gain most, saves 30 percent of what is left, and a fifth of the code.
FOR_GCC = ["-O1", "-fno-tree-pta", "-finline-small-functions", "--param=inline-unit-growth=2"]
# The passes of -O2 that pay for themselves: they take no time, and without them verifying takes 1
# percent more instructions.
FOR_GCC += ["-foptimize-sibling-calls", "-freorder-functions", "-fpeephole2", "-fcaller-saves"]
# The passes of -O1 that do not: they find little in C that calls Python, and take a few percent of
# gcc's time. Of the others, some change few instructions and yet save time: inlining functions that
# are called once makes verifying 5 percent faster.
FOR_GCC += ["-fno-tree-fre", "-fno-tree-dse", "-fno-dse"]
# What runs once, when the module is imported, among it the largest function: 8 percent.
FOR_GCC += ['-DCYTHON_SMALL_CODE=__attribute__((cold,optimize("O0")))']

SANITIZERS = "-fsanitize=address,undefined"

TEST_BUILDS = {
    # Lines that ``coverage`` can trace.
    "coverage": Build(
        directives={"linetrace": True},
        # Python 3.13 would report to sys.monitoring, which coverage's plugins cannot read.
        macros=[("CYTHON_TRACE", "1"), ("CYTHON_USE_SYS_MONITORING", "0")],
        # Minutes of compiling would save seconds of running.
        compile_args=["-O0"],
    ),
    # A report of AddressSanitizer or UndefinedBehaviorSanitizer ends the process. Python adds
    # -fwrapv, under which a signed overflow would be none. With the assertions of "debug", too, and
    # like it not optimised, which would take minutes of compiling.
    "sanitize": Build(
        compile_args=["-O0", "-g1", "-fno-omit-frame-pointer", "-fno-wrapv", "-UNDEBUG"]
        + [SANITIZERS, "-fno-sanitize-recover"],
        link_args=[SANITIZERS],
    ),
    # The assertions of CPython's headers and of Cython's C code, not optimised away.
    "debug": Build(compile_args=["-O0", "-g", "-UNDEBUG"]),
    # The same at a speed to fuzz at, with line numbers for the reports; tests/fuzz/run.py adds what
    # clang is to instrument.
    "fuzz": Build(
        compile_args=["-O1", "-g1", "-fwrapv", "-fno-omit-frame-pointer", "-UNDEBUG", "-w"]
    ),
}

chosen = os.environ.get("JWT_BUILD", "")
if chosen and chosen not in TEST_BUILDS:
    sys.exit(f"JWT_BUILD must be one of {', '.join(TEST_BUILDS)}, not {chosen!r}")
BUILD = TEST_BUILDS[chosen] if chosen else RELEASE
if os.name == "posix":
    # A warning of the -Wall that Python adds. For it, gcc 12 looks up lines of the C so often that
    # parsing takes 12.7 s of CPU time in place of 1.1.
    BUILD.compile_args += ["-Wno-misleading-indentation"]

STUBS = {"__init__.pyi": Path(f"{NAME}.pyi")}
STUBS |= {path.name: path for path in sorted(Path("stubs").glob("*.pyi"))}

# No .py and no .so: tools that put an __init__.py beside such files would hide the module.
PLACEHOLDER = Path(NAME, "README.txt")
PLACEHOLDER_TEXT = """\
There is no code in this folder: the module is the file beside it.

Version 0.1.0 was a folder of this name, which Python imports before such a file. As this version
has one too, "pip install --upgrade --target" replaces the old folder in place of leaving it there.
"""


def is_gcc(command: list[str]) -> bool:
    """Whether it runs gcc, under whatever name; macOS calls clang so, which lacks some flags."""
    try:
        shown = subprocess.run([*command, "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return b"Free Software Foundation" in shown.stdout


class BuildExt(build_ext):
    """Cython as setuptools drives it, plus the stubs and the placeholder."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.cython_directives = BUILD.directives
        # Nothing left by another build, perhaps with other directives, is taken for up to date.
        self.force = True
        # Coverage looks for the .c beside the .pyx.
        self.cython_c_in_temp = chosen != "coverage"

    def build_extension(self, ext: Extension) -> None:
        if BUILD is RELEASE and os.name == "posix":
            has_level = any(flag.startswith("-O") for flag in CFLAGS)
            if not has_level and is_gcc(self.compiler.compiler_so):
                ext.extra_compile_args += FOR_GCC
        # What Cython makes of the source lives until it is done. Looking for garbage in it would
        # take a quarter of its time.
        gc.disable()
        try:
            super().build_extension(ext)
        except CompileError as error:
            raise CompileError(
                f"{error}\nThis needs a C compiler and the headers of this Python, on Debian the "
                "packages gcc and python3-dev; a wheel from the package index needs neither."
            ) from error
        finally:
            gc.enable()

    def run(self) -> None:
        super().run()
        target = Path("." if self.inplace else self.build_lib, f"{NAME}-stubs")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name, source in STUBS.items():
            shutil.copyfile(source, target / name)
        if not self.inplace:
            placeholder = Path(self.build_lib, PLACEHOLDER)
            placeholder.parent.mkdir(exist_ok=True)
            placeholder.write_text(PLACEHOLDER_TEXT, "utf-8")

    def get_outputs(self) -> list[str]:
        made = [PLACEHOLDER, *(Path(f"{NAME}-stubs", name) for name in STUBS)]
        return super().get_outputs() + [str(Path(self.build_lib, path)) for path in made]


def mode(found: int) -> int:
    """What git keeps of the mode of a file, whatever the umask was that it was checked out with."""
    return 0o755 if found & 0o100 else 0o644


class BdistWheel(bdist_wheel):
    """A wheel as setuptools makes it, with the modes that git keeps."""

    def write_wheelfile(self, wheelfile_base: str, *args: str, **kwargs: str) -> None:
        super().write_wheelfile(wheelfile_base, *args, **kwargs)
        # All that will be in the wheel is there by now.
        for path in Path(self.bdist_dir).rglob("*"):
            if path.is_file():
                path.chmod(mode(path.stat().st_mode))


class Sdist(sdist):
    """A source distribution without the date, the modes and the user of this build."""

    def make_archive(self, base_name: str, format: str, *args: str, **kwargs: str) -> str:
        if format != "gztar":
            return super().make_archive(base_name, format, *args, **kwargs)
        date = int(os.environ["SOURCE_DATE_EPOCH"])

        def settled(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if entry.isdir() else mode(entry.mode)
            entry.mtime = date
            return entry

        path = Path(f"{base_name}.tar.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            path.open("wb") as file,
            gzip.GzipFile("", "wb", mtime=date, fileobj=file) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            # In the order of their names.
            archive.add(kwargs["base_dir"], filter=settled)
        return str(path)


class Described(Distribution):
    """A distribution whose description has no relative links, which an index cannot follow.

    They point to the tag of the version at the ``Source`` of ``[project.urls]``, which .ci/urls.py
    writes for a release. Without that URL, only their text is left.
    """

    def parse_config_files(self, *args: Any, **kwargs: Any) -> None:
        super().parse_config_files(*args, **kwargs)
        source = (self.metadata.project_urls or {}).get("Source")
        link = rf"[\1]({source}/blob/v{self.metadata.version}/\2)" if source else r"\1"
        pattern = r"\[([^]]+)\]\((?!\w+:|#)([^)\s]+)\)"
        text = self.metadata.long_description or ""
        # A str of setuptools' own, without which the metadata would call it dynamic.
        self.metadata.long_description = type(text)(re.sub(pattern, link, text))


if __name__ == "__main__":
    extension = Extension(
        NAME,
        [f"{NAME}.pyx"],
        depends=[f"{NAME}.pyi"],
        define_macros=BUILD.macros,
        extra_compile_args=BUILD.compile_args,
        extra_link_args=BUILD.link_args,
    )
    commands = {"build_ext": BuildExt, "bdist_wheel": BdistWheel, "sdist": Sdist}
    setup(ext_modules=[extension], cmdclass=commands, distclass=Described)
