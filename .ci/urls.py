#!/usr/bin/env python3
"""Write the URLs of the GitHub repository that runs this workflow into pyproject.toml.

The distributions that it builds then name the repository, and the links of their description lead
there, also from a fork. A ``[project.urls]`` that is in the file already is left as it is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def main() -> None:
    text = PROJECT.read_text("utf-8")
    if "\n[project.urls]\n" in text:
        return
    version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert version is not None
    source = f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}"
    files = f"{source}/blob/v{version[1]}"
    urls = {
        "Documentation": f"{files}/docs/index.md",
        "Changelog": f"{files}/CHANGES.md",
        "Issues": f"{source}/issues",
        "Source": source,
    }
    table = "".join(f'{name} = "{url}"\n' for name, url in urls.items())
    PROJECT.write_text(f"{text}\n[project.urls]\n{table}", "utf-8")


if __name__ == "__main__":
    main()
