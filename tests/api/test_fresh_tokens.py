"""Freshness: what counts as fresh, where it is asked for, and where it is not."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest
from quart import Quart

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    LONG_AGO,
    access_claims,
    ask,
    bearer,
    hs_token,
    make_app,
    refresh_claims,
)

NOT_FRESH = (401, {"msg": "Fresh token required"})


@pytest.mark.parametrize(
    "fresh",
    [True, FAR_FUTURE, FAR_FUTURE + 0.5, 2**63, 10**400, 1e300],
    ids=lambda value: str(value)[:20],
)
async def test_fresh_token_opens_the_fresh_view(app: Quart, fresh: Any) -> None:
    status, body = await ask(app, "/fresh", hs_token(access_claims(fresh=fresh)))
    assert (status, body["identity"]) == (200, "alice")


@pytest.mark.parametrize(
    "fresh",
    [False, ..., LONG_AGO, LONG_AGO + 0.5, 0, 1, 1.0, -1, -(10**400)],
    ids=lambda value: str(value)[:20],
)
async def test_token_that_is_not_fresh_is_refused(app: Quart, fresh: Any) -> None:
    """0 and 1 are moments of 1970, not flags."""
    assert await ask(app, "/fresh", hs_token(access_claims(fresh=fresh))) == NOT_FRESH
    assert app.calls == []


@pytest.mark.parametrize("path", ["/protected", "/optional"])
@pytest.mark.parametrize("fresh", [True, False, ..., FAR_FUTURE, LONG_AGO])
async def test_other_views_do_not_ask_for_freshness(app: Quart, path: str, fresh: Any) -> None:
    assert (await ask(app, path, hs_token(access_claims(fresh=fresh))))[0] == 200


@pytest.mark.parametrize(
    "fresh",
    [b"null", b'"yes"', b'"%d"' % (FAR_FUTURE), b"[]", b"[true]", b"{}", b"NaN", b"Infinity"]
    + [b"-Infinity", b"1e400", b'""', b'"9999999999"', b'{"a":1}', b'["a"]'],
)
async def test_fresh_claim_of_a_wrong_type_answers_4xx(app: Quart, fresh: bytes) -> None:
    claims = b'{"identity": "alice", "type": "access", "fresh": %s}' % fresh
    status, _ = await ask(app, "/fresh", hs_token(claims))
    assert 400 <= status < 500
    assert app.calls == []


@pytest.mark.parametrize("fresh", [..., False, True, LONG_AGO])
async def test_fresh_claim_of_a_refresh_token_is_ignored(app: Quart, fresh: Any) -> None:
    assert (await ask(app, "/refresh", hs_token(refresh_claims(fresh=fresh))))[0] == 200


async def test_leeway_does_not_extend_freshness() -> None:
    """As in 0.1.0: leeway is for clocks that differ, and makes no token fresh."""
    app = make_app(JWT_DECODE_LEEWAY=600)
    now = int(time.time())
    token = hs_token(access_claims(fresh=now - 60, exp=now - 30))
    assert (await ask(app, "/protected", token))[0] == 200
    assert await ask(app, "/fresh", token) == NOT_FRESH


async def test_token_is_fresh_until_its_second_is_over(app: Quart) -> None:
    """The claim is a whole second, and the end of it is the end of freshness."""
    second, status = -1, 0
    # Asking takes a millisecond; again if a new second began meanwhile.
    while second != int(time.time()):
        second = int(time.time())
        status, _ = await ask(app, "/fresh", hs_token(access_claims(fresh=second)))
    assert status == 200
    assert await ask(app, "/fresh", hs_token(access_claims(fresh=second - 1))) == NOT_FRESH


@pytest.mark.parametrize(
    ("fresh", "expected"),
    [
        (True, 200),
        (False, 401),
        (datetime.timedelta(minutes=5), 200),
        (datetime.timedelta(days=365 * 100), 200),
        (datetime.timedelta(minutes=-5), 401),
    ],
)
async def test_created_token_is_as_fresh_as_it_was_asked_to_be(
    app: Quart, fresh: Any, expected: int
) -> None:
    async with app.app_context():
        token = qje.create_access_token("alice", fresh=fresh)
    assert (await ask(app, "/fresh", token))[0] == expected
    assert (await ask(app, "/protected", token))[0] == 200


async def test_login_gives_a_fresh_token_and_refresh_one_that_is_not(app: Quart) -> None:
    """The usual flow: a password makes fresh, a refresh token does not."""

    @app.post("/login")
    async def login() -> dict[str, str]:
        return {
            "access": qje.create_access_token("alice", fresh=True),
            "refresh": qje.create_refresh_token("alice"),
        }

    @app.post("/renew")
    @qje.jwt_refresh_token_required
    async def renew() -> dict[str, str]:
        return {"access": qje.create_access_token(qje.get_jwt_identity(), fresh=False)}

    client = app.test_client()
    tokens = await (await client.post("/login")).get_json()
    assert (await ask(app, "/fresh", tokens["access"]))[0] == 200
    renewed = await (await client.post("/renew", headers=bearer(tokens["refresh"]))).get_json()
    assert (await ask(app, "/protected", renewed["access"]))[0] == 200
    assert await ask(app, "/fresh", renewed["access"]) == NOT_FRESH
