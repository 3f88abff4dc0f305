#!/usr/bin/env python3
"""Write the bill of materials (SBOM, CycloneDX 1.6) of the wheels in a folder.

    sbom.py FOLDER_OF_WHEELS FILE

It names what the wheels require at run time, in the newest versions of today, and what they were
built with: the Cython whose C is compiled in, and the setuptools that packed them. The environment
that runs this has cyclonedx-bom, which does the work.
"""

from __future__ import annotations

import email
import json
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(f"usage: {Path(__file__).name} FOLDER_OF_WHEELS FILE")
    wheels, file = Path(sys.argv[1]), Path(sys.argv[2])
    # What was built at different times may have been built with different tools.
    found = {wheel: materials(wheel) for wheel in sorted(wheels.glob("*.whl"))}
    if len(set(map(tuple, found.values()))) != 1:
        seen = "".join(f"\n{wheel.name}: {', '.join(named)}" for wheel, named in found.items())
        sys.exit(f"The wheels must all be of the same materials:{seen or ' there are none'}")
    with tempfile.TemporaryDirectory() as work:
        venv.create(work)
        (python,) = [*Path(work).glob("bin/python"), *Path(work).glob("Scripts/python.exe")]
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
        run(*pip, "install", "-q", *next(iter(found.values())))
        generate = (sys.executable, "-m", "cyclonedx_py", "environment", "--validate")
        output = ("--spec-version", "1.6", "--output-reproducible", "--output-file", file)
        described = ("--pyproject", ROOT / "pyproject.toml", "--mc-type", "library")
        run(*generate, *described, *output, python)
    # It knows the address of every package but the one that is described.
    document = json.loads(file.read_text("utf-8"))
    component = document["metadata"]["component"]
    component["purl"] = f"pkg:pypi/{component['name']}@{component['version']}"
    file.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")


def materials(wheel: Path) -> list[str]:
    """What a wheel requires, and the versions of what it was built with, which it tells."""
    with zipfile.ZipFile(wheel) as archive:
        read = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
    requires = email.message_from_bytes(read["METADATA"]).get_all("Requires-Dist", [])
    packed = re.search(rb"^Generator: setuptools \((\S+)\)$", read["WHEEL"], re.MULTILINE)
    (code,) = [read[name] for name in read if name.endswith((".so", ".pyd"))]
    # The module in which Cython keeps the types that all modules of one version of it share.
    compiled = re.search(rb"\0_cython_(\d+_\d+_\w+)\0", code)
    if packed is None or compiled is None:
        sys.exit(f"{wheel} does not tell what it was built with")
    return [
        *(line for line in requires if "extra ==" not in line),
        f"setuptools=={packed[1].decode()}",
        f"Cython=={compiled[1].decode().replace('_', '.')}",
    ]


def run(*command: str | Path) -> None:
    # What it prints is a warning or an error.
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
