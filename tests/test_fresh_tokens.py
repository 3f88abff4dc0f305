"""Fresh tokens: what counts as fresh, and where it is asked."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support import access_claims, bearer, hs_token, make_app

NOT_FRESH = (401, {"msg": "Fresh token required"})


@pytest.mark.parametrize(
    ("fresh", "accepted"),
    [
        (True, True),
        (False, False),
        (..., False),
        (0, False),
        (1, False),
        (lambda: int(time.time()) + 60, True),
        (lambda: time.time() + 60.5, True),
        (lambda: int(time.time()) - 2, False),
        (10**400, True),
    ],
)
async def test_claim_says_whether_the_token_is_fresh(fresh: Any, accepted: bool) -> None:
    app = make_app()
    value = fresh() if callable(fresh) else fresh
    headers = bearer(hs_token(access_claims(fresh=value)))
    response = await app.test_client().get("/fresh", headers=headers)
    if accepted:
        assert response.status_code == 200
    else:
        assert (response.status_code, await response.get_json()) == NOT_FRESH
    assert app.calls == (["fresh"] if accepted else [])
    assert (await app.test_client().get("/protected", headers=headers)).status_code == 200
