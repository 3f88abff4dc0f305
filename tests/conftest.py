"""Fixtures of the whole suite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import time_machine
from quart import Quart

from support import make_app, secrets_watch
from support.openid_provider import Clock, Provider

TESTS = Path(__file__).parent

# Processes of their own, servers, browsers, databases, or minutes of measuring.
SLOW = [TESTS / "examples", TESTS / "runtime"]
# They run what the texts show, in the process of the tests.
NOT_SLOW = [TESTS / "examples" / "test_docs.py", TESTS / "examples" / "test_readme.py"]

CLOCK = pytest.StashKey[time_machine.travel]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--clock-offset",
        metavar="SECONDS",
        type=float,
        default=0.0,
        help="move the clock on once the tests are collected, to find what expires while they run",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "may_show_secrets(reason): a token, a key or a CSRF value may be seen in this test",
    )
    # The watch lets all levels through; to the tests the log looks as it does without.
    if config.getoption("log_level") is None and config.getini("log_level") is None:
        config.option.log_level = "WARNING"
    secrets_watch.install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path not in NOT_SLOW and any(folder in item.path.parents for folder in SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish(session: pytest.Session) -> None:
    offset = session.config.getoption("clock_offset")
    if offset:
        # It replaces time.time() and its like in C, so that compiled callers see it too, and leaves
        # the monotonic clock of the event loops alone.
        clock = time_machine.travel(time.time() + offset, tick=True)
        clock.start()
        session.config.stash[CLOCK] = clock


def pytest_unconfigure(config: pytest.Config) -> None:
    clock = config.stash.get(CLOCK, None)
    if clock is not None:
        clock.stop()
    secrets_watch.uninstall()


@pytest.fixture(autouse=True)
def no_secret_is_shown(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail every test that shows a token, a key or a CSRF value."""
    reason = secrets_watch.reason_to_show(request.node.iter_markers("may_show_secrets"))
    with secrets_watch.watching() as watch:
        yield
    leaks = watch.leaks()
    if leaks and reason is None:
        pytest.fail("Secrets were shown:\n" + "\n".join(leaks[:10]), pytrace=False)


@pytest.fixture
def app() -> Quart:
    """An application with the default options; see :func:`support.make_app`."""
    return make_app()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """An identity provider that serves its keys, for one test."""
    with Provider() as provider:
        yield provider


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time, which the test moves."""
    return Clock(monkeypatch)
