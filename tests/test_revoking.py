"""The blacklist: when it is asked, and what follows."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart
from support import access_claims, bearer, hs_token, make_app, refresh_claims

import quart_jwt_extended as qje


def revoking_app(asked: list[dict[str, Any]], **options: Any) -> Quart:
    app = make_app(JWT_BLACKLIST_ENABLED=True, **options)

    @app.extensions["quart-jwt-extended"].token_in_blacklist_loader
    def is_revoked(claims: dict[str, Any]) -> bool:
        asked.append(claims)
        return claims["jti"] == "revoked"

    return app


async def status(app: Quart, path: str, **changes: Any) -> int:
    claims = refresh_claims(**changes) if path == "/refresh" else access_claims(**changes)
    return (await app.test_client().get(path, headers=bearer(hs_token(claims)))).status_code


@pytest.mark.parametrize(
    ("checks", "access", "refresh"),
    [
        (("access", "refresh"), 401, 401),
        (["access"], 401, 200),
        ({"refresh"}, 200, 401),
        ("access", 401, 200),
        ("refresh", 200, 401),
        ((), 200, 200),
    ],
)
async def test_revoked_token_is_refused_where_its_type_is_checked(
    checks: Any, access: int, refresh: int
) -> None:
    asked: list[dict[str, Any]] = []
    app = revoking_app(asked, JWT_BLACKLIST_TOKEN_CHECKS=checks)
    assert await status(app, "/protected", jti="revoked") == access
    assert await status(app, "/refresh", jti="revoked") == refresh
    assert len(asked) == [access, refresh].count(401)


async def test_callback_gets_all_claims_with_their_defaults() -> None:
    asked: list[dict[str, Any]] = []
    claims = {"identity": "alice", "jti": "good"}
    app = revoking_app(asked)
    token = hs_token(claims)
    assert (await app.test_client().get("/protected", headers=bearer(token))).status_code == 200
    assert asked == [{**claims, "type": "access", "fresh": False, "user_claims": {}}]


async def test_disabled_blacklist_is_not_asked() -> None:
    asked: list[dict[str, Any]] = []
    app = revoking_app(asked)
    app.config["JWT_BLACKLIST_ENABLED"] = False
    assert await status(app, "/protected", jti="revoked") == 200
    assert asked == []


async def test_enabled_blacklist_without_a_callback_is_a_misconfiguration() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    headers = bearer(hs_token(access_claims()))
    async with app.test_request_context("/protected", headers=headers):
        with pytest.raises(RuntimeError, match="token_in_blacklist_loader"):
            await qje.verify_jwt_in_request()


async def test_revoked_token_leaves_no_identity_behind() -> None:
    app = revoking_app([])
    headers = bearer(hs_token(access_claims(jti="revoked")))
    async with app.test_request_context("/protected", headers=headers):
        with pytest.raises(qje.RevokedTokenError):
            await qje.verify_jwt_in_request()
        assert qje.get_jwt_identity() is None
