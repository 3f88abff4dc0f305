"""verify_token: the whole check of a token that belongs to no request."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from quart import Quart

import quart_jwt_extended as qje
from support import access_claims, ask, hs_token, make_app, manager_of, refresh_claims

GOOD = hs_token(access_claims())


@pytest.fixture
def app() -> Quart:
    return make_app()


async def test_good_token_gives_its_claims(app: Quart) -> None:
    async with app.app_context():
        assert await qje.verify_token(GOOD) == qje.decode_token(GOOD)
        assert await qje.verify_token(GOOD.encode()) == qje.decode_token(GOOD)


@pytest.mark.parametrize(
    ("claims", "rules", "error"),
    [
        (access_claims(exp=1), {}, jwt.ExpiredSignatureError),
        (refresh_claims(), {}, qje.WrongTokenError),
        (access_claims(), {"refresh": True}, qje.WrongTokenError),
        (access_claims(), {"fresh": True}, qje.FreshTokenRequired),
        (access_claims(), {"scopes": "read"}, qje.InsufficientScopeError),
        (access_claims(identity=...), {}, qje.JWTDecodeError),
        (access_claims(jti="revoked"), {}, qje.RevokedTokenError),
        (access_claims(user_claims={"bad": 1}), {}, qje.UserClaimsVerificationError),
        (access_claims(identity="nobody"), {}, qje.UserLoadError),
        (refresh_claims(), {"refresh": True}, None),
        (refresh_claims(), {"verify_type": False}, None),
        (access_claims(fresh=True, scope="read"), {"fresh": True, "scopes": ["read"]}, None),
        (access_claims(jti="revoked"), {"skip_revocation_check": True}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_token_is_held_to_what_a_protected_view_requires(
    app: Quart, claims: dict[str, Any], rules: dict[str, Any], error: Any, is_async: bool
) -> None:
    def settled(answer: Any) -> Any:
        async def later() -> Any:
            return answer

        return later() if is_async else answer

    manager = manager_of(app)
    manager.token_in_blocklist_loader(lambda header, claims: settled(claims["jti"] == "revoked"))
    manager.claims_verification_loader(lambda claims: settled("bad" not in claims))
    manager.user_lookup_loader(
        lambda header, claims: settled(None if claims["identity"] == "nobody" else "user")
    )
    app.add_url_rule("/same", "same", qje.jwt_required(**rules)(lambda: ""))
    status = (await ask(app, "/same", claims))[0]
    async with app.app_context():
        if error is None:
            assert status == 200
            assert (await qje.verify_token(hs_token(claims), **rules))["iat"] == claims["iat"]
        else:
            assert status != 200
            with pytest.raises(error):
                await qje.verify_token(hs_token(claims), **rules)


@pytest.mark.parametrize("token", [None, 5, {}, "", "x.y.z"], ids=repr)
async def test_what_is_no_token_is_a_decode_error(app: Quart, token: Any) -> None:
    """Such values come from clients."""
    async with app.app_context():
        with pytest.raises(jwt.DecodeError):
            await qje.verify_token(token)


async def test_identity_of_the_current_request_stays(app: Quart) -> None:
    @app.get("/both")
    @qje.jwt_required
    async def both() -> dict[str, Any]:
        other = await qje.verify_token(hs_token(access_claims(identity="bob")))
        with pytest.raises(jwt.InvalidTokenError):
            await qje.verify_token("x.y.z")
        return {"identity": qje.get_jwt_identity(), "other": other["identity"]}

    assert await ask(app, "/both", GOOD) == (200, {"identity": "alice", "other": "bob"})


async def test_token_of_the_request_is_not_looked_at(app: Quart) -> None:
    @app.get("/message")
    async def message() -> str:
        with pytest.raises(jwt.DecodeError):
            await qje.verify_token("")
        return ""

    assert (await ask(app, "/message", GOOD))[0] == 200


@pytest.mark.parametrize("rules", [{"optional": True}, {"locations": "headers"}], ids=str)
async def test_rules_of_requests_only_are_no_arguments(app: Quart, rules: Any) -> None:
    async with app.app_context():
        with pytest.raises(TypeError):
            await qje.verify_token(GOOD, **rules)


async def test_missing_await_before_the_token_is_named(app: Quart) -> None:
    async with app.app_context():
        with pytest.raises(TypeError, match="encoded_token is a coroutine: an `await` is missing"):
            await qje.verify_token(qje.create_access_token_async("alice"))  # type: ignore[arg-type]
