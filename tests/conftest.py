"""Fixtures of the whole suite."""

from __future__ import annotations

import pytest
from quart import Quart
from support import make_app


@pytest.fixture
def app() -> Quart:
    """An application with the default options; see :func:`support.make_app`."""
    return make_app()
