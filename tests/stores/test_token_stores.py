"""Every rule of the protocol, on every store."""

from __future__ import annotations

import pytest

from support.token_store_suite import CHECKS, Kit


@pytest.mark.parametrize("check", CHECKS)
async def test_rule(kit: Kit, check: str) -> None:
    await CHECKS[check](kit)
