"""Fixtures of the tests of the examples. Most of them call a separate process over real HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support.commands import unavailable
from support.example_process import SECRET, Service, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The example that a test file names as APPLICATION, with its VARIABLES if there are any."""
    variables = {"JWT_SECRET_KEY": SECRET, **getattr(request.module, "VARIABLES", {})}
    directory = tmp_path_factory.mktemp("example")
    with running(request.module.APPLICATION, directory, **variables) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        unavailable("Chromium is missing: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("Playwright is missing: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS, timeout=60_000)
        yield browser
        browser.close()
