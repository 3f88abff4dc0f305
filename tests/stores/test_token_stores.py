"""Every rule of the protocol, on every store."""

from __future__ import annotations

import pytest

import quart_jwt_extended as qje
from support.token_store_suite import CHECKS, Kit, create, entries


@pytest.mark.parametrize("check", CHECKS)
async def test_rule(kit: Kit, check: str) -> None:
    await CHECKS[check](kit)


async def test_long_list_of_revocations_is_read_in_pages(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qje, "_POLL_PAGE", 2)
    # All of one millisecond, which is more than a page, and others after it.
    sessions = [await create(kit, number) for number in range(5)]
    await kit.store.revoke_sessions("ann")
    tokens = ["a", "b", "c"]
    for token in tokens:
        await kit.store.revoke_token(token, lifetime=None)
    expected = {("session", session.id) for session in sessions}
    assert set(await entries(kit)) == expected | {("token", token) for token in tokens}
