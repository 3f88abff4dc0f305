"""Fixtures of the tests of the examples. Most of them call a separate process over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.example_process import SECRET, Service, running


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The example that a test file names as APPLICATION, with its VARIABLES if there are any."""
    variables = {"JWT_SECRET_KEY": SECRET, **getattr(request.module, "VARIABLES", {})}
    directory = tmp_path_factory.mktemp("example")
    with running(request.module.APPLICATION, directory, **variables) as service:
        yield service
