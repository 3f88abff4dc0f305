"""Tells PyInstaller, by an entry point, where its hook for the module is.

A package of its own, as the module is a single file and has no folder to keep it in.
"""

from __future__ import annotations

import os


def hook_dirs() -> list[str]:
    return [os.path.dirname(__file__)]
