"""Loading the user of a protected request."""

from __future__ import annotations

from typing import Any

import pytest
from support import access_claims, bearer, hs_token, make_app, refresh_claims

import quart_jwt_extended as qje


@pytest.mark.parametrize("user", [0, "", [], False, {"name": "alice"}])
@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh", "/refresh"])
async def test_any_user_but_none_is_a_user(path: str, user: Any) -> None:
    app = make_app()
    seen: list[Any] = []
    app.extensions["quart-jwt-extended"].user_loader_callback_loader(lambda identity: user)

    @app.after_request
    async def look(response: Any) -> Any:
        seen.append(qje.get_current_user())
        return response

    claims = refresh_claims() if path == "/refresh" else access_claims(fresh=True)
    response = await app.test_client().get(path, headers=bearer(hs_token(claims)))
    assert response.status_code == 200
    assert seen == [user]


@pytest.mark.parametrize("identity", ["bob", 5, {"id": 1}, None])
@pytest.mark.parametrize("path", ["/protected", "/optional"])
async def test_no_user_answers_401_and_names_the_identity(path: str, identity: Any) -> None:
    app = make_app()
    app.extensions["quart-jwt-extended"].user_loader_callback_loader(lambda identity: None)
    token = hs_token(access_claims(identity=identity))
    response = await app.test_client().get(path, headers=bearer(token))
    assert response.status_code == 401
    assert await response.get_json() == {"msg": f"Error loading the user {identity}"}
    assert app.calls == []


async def test_verify_function_raises_for_no_user() -> None:
    app = make_app()
    app.extensions["quart-jwt-extended"].user_loader_callback_loader(lambda identity: None)
    headers = bearer(hs_token(access_claims()))
    async with app.test_request_context("/protected", headers=headers):
        with pytest.raises(qje.UserLoadError, match="alice"):
            await qje.verify_jwt_in_request()


async def test_without_a_loader_there_is_no_user() -> None:
    app = make_app()
    headers = bearer(hs_token(access_claims()))
    async with app.test_request_context("/protected", headers=headers):
        await qje.verify_jwt_in_request()
        assert qje.get_current_user() is None
        assert not qje.current_user
