"""Fuzz the compiled module under AddressSanitizer: ``make fuzz SECONDS=60``.

    run.py [--seconds N] [--target codec|locations] [--uninstrumented]
    run.py --replay FILE --target TARGET
    run.py --keep NAME FILE --target TARGET

README.md beside this file says what the targets are, and what to do with a finding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / ".venv-fuzz"
PYTHON = ENVIRONMENT / "bin" / "python"
CASES = HERE / "cases.json"
WORK = ROOT / "build" / "fuzz"
TARGETS = ("codec", "locations")

INSTRUMENTATION = "-fsanitize=fuzzer-no-link,address"

# Long enough for nested JSON and several locations, short enough to be mutated well.
MAX_LENGTH = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument(
        "--uninstrumented", action="store_true", help="to see that the coverage is the module's"
    )
    parser.add_argument("--replay", metavar="FILE", type=Path, help="judge one input, and no more")
    parser.add_argument("--keep", nargs=2, metavar=("NAME", "FILE"), help="add to cases.json")
    arguments = parser.parse_args()
    if (arguments.replay or arguments.keep) and not arguments.target:
        parser.error("which --target is it an input of?")
    if arguments.keep:
        keep(arguments.target, *arguments.keep)
        return

    prepare("" if arguments.uninstrumented else INSTRUMENTATION)
    if arguments.replay:
        sys.exit(start(arguments.target, str(arguments.replay.resolve())).returncode)
    targets = [arguments.target] if arguments.target else list(TARGETS)
    results = [fuzz(target, max(1, arguments.seconds // len(targets))) for target in targets]
    if not all(results):
        sys.exit(1)


# --- The environment ----------------------------------------------------------


def prepare(instrumentation: str) -> None:
    """Make the environment, with the module compiled for it."""
    build = {
        **os.environ,
        "JWT_BUILD": "fuzz",
        "CC": clang(),
        "CFLAGS": instrumentation,
        # From its sources atheris would want a whole LLVM.
        "PIP_ONLY_BINARY": "atheris",
    }
    command = [sys.executable, ROOT / ".ci" / "environment.py", ENVIRONMENT]
    subprocess.run([*command, "atheris", "hypothesis"], env=build, check=True)


def clang() -> str:
    """The path of a clang that can instrument a library."""
    names = ["clang", *(f"clang-{version}" for version in range(25, 12, -1))]
    found = [path for path in map(shutil.which, names) if path is not None]
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "probe.c")
        code.write_text("int probe(int x) { return x; }\n")
        for compiler in found:
            command = [compiler, "-shared", "-fPIC", INSTRUMENTATION, code, "-o", f"{code}.so"]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return compiler
    sys.exit(
        f"make fuzz: {'these lack their runtime: ' + ', '.join(found) if found else 'no clang'}.\n"
        "Install clang and the runtime of the same version. On Debian 12, for example:\n"
        "    apt-get install --no-install-recommends clang-14 libclang-rt-14-dev"
    )


def ask(program: str) -> str:
    """What a Python program prints in the environment."""
    command = [str(PYTHON), "-c", program]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


# --- The runs -----------------------------------------------------------------


def fuzz(target: str, seconds: int) -> bool:
    """Run one target; return whether nothing was found."""
    folder = WORK / target
    seeds, corpus, findings = folder / "seeds", folder / "corpus", folder / "findings"
    shutil.rmtree(seeds, ignore_errors=True)
    for directory in (seeds, corpus, findings):
        directory.mkdir(parents=True, exist_ok=True)
    for data in cases(target).values():
        (seeds / hashlib.sha1(data).hexdigest()).write_bytes(data)

    print(f"\nFuzzing {target} for {seconds} s", flush=True)
    log = folder / "log"
    with log.open("w") as stream:
        done = start(
            target,
            f"-max_total_time={seconds}",
            f"-max_len={MAX_LENGTH}",
            "-timeout=60",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
            f"-dict={folder}/words",
            f"-artifact_prefix={findings}/",
            str(corpus),
            str(seeds),
            output=stream,
            # The corpus of earlier runs is read first, which takes its time.
            limit=seconds + 600,
        )
    text = log.read_text(errors="replace")
    for line in re.findall(r"^.*(?:inline 8-bit counters\)|INITED|DONE|Done ).*$", text, re.M):
        print(line)
    if done.returncode == 0:
        # Each new entry of the corpus is logged with the mutators that made it.
        if re.search(r" MS: \d", text) and "Custom-" not in text:
            sys.exit(f"make fuzz: libFuzzer did not call the mutator of {target}")
        return True
    print(text[-6000:], file=sys.stderr)
    print(
        f"make fuzz: {target} found something; the whole log is in {log.relative_to(ROOT)}, the "
        f"input in {findings.relative_to(ROOT)}/. tests/fuzz/README.md says what to do with it.",
        file=sys.stderr,
    )
    return False


def start(
    target: str, *arguments: str, output: IO[str] | None = None, limit: int = 600
) -> subprocess.CompletedProcess[bytes]:
    """Run worker.py under the runtime of atheris, which is libFuzzer and the sanitizer in one.

    That looks for a mutator when it is loaded, and does without if there is none: the module of
    atheris that hands ours over must be loaded at the same time.
    """
    site, mutator = ask(
        "import atheris, importlib.util as u;"
        "print(atheris.path(), u.find_spec('atheris.custom_mutator').origin, sep='\\n')"
    ).splitlines()
    environment = {
        **os.environ,
        "LD_PRELOAD": f"{site}/asan_with_fuzzer.so {mutator}",
        # OpenSSL and the interpreter keep memory to the end of the process on purpose.
        "ASAN_OPTIONS": "detect_leaks=0",
        # Python's own allocator would hide from the sanitizer where an object ends.
        "PYTHONMALLOC": "malloc",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    symbolizer = subprocess.run(
        [clang(), "-print-prog-name=llvm-symbolizer"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    if Path(symbolizer).is_file():
        environment["ASAN_SYMBOLIZER_PATH"] = symbolizer
    command = [str(PYTHON), str(HERE / "worker.py"), target, *arguments]
    streams: dict[str, Any] = {"stdout": output, "stderr": subprocess.STDOUT} if output else {}
    return subprocess.run(command, env=environment, timeout=limit, **streams)


# --- The cases ----------------------------------------------------------------


def cases(target: str) -> dict[str, bytes]:
    """The committed inputs of a target by name; a character of the file is a byte."""
    texts = json.loads(CASES.read_text(encoding="utf-8"))[target]
    return {name: text.encode("latin-1") for name, text in texts.items()}


def keep(target: str, name: str, file: str) -> None:
    """Commit an input, so that the suite judges it from now on."""
    everything = json.loads(CASES.read_text(encoding="utf-8"))
    if name in everything[target]:
        sys.exit(f"{CASES.name} has a case of that name already")
    everything[target][name] = Path(file).read_bytes().decode("latin-1")
    CASES.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
