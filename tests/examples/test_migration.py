"""The pages on moving from other packages: their apps work, and old tokens are what they say.

Each app is the block of its page; what it calls a query of the reader's is put beside it. Tokens of
the other packages are made by hand, with the claims that these packages give them.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
import quart
import time_machine
from quart import Quart

import quart_jwt_extended as qje
from support import bearer

DOCS = Path(__file__).parents[2] / "docs"
ALICE = SimpleNamespace(id="user-7", email="alice@example.com", is_active=True)


def app_of(page: str, marker: str, **names: Any) -> Quart:
    """The app that the one block of a page with this marker makes."""
    text = (DOCS / page).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (code,) = [block for block in blocks if marker in block]
    namespace = {
        "__name__": "migration",
        "app": Quart("migration"),
        "jsonify": quart.jsonify,
        "request": quart.request,
        "timedelta": timedelta,
        **{name: getattr(qje, name) for name in qje.__all__},
        **names,
    }
    exec(compile(code, page, "exec"), namespace)
    app: Quart = namespace["app"]
    return app


def signed_by(app: Quart, **claims: Any) -> str:
    """A token without any claim but these and an end."""
    end = int(time.time()) + 60
    return jwt.encode({"exp": end, **claims}, app.config["JWT_SECRET_KEY"], "HS256")


# --- Flask-JWT-Extended --------------------------------------------------------------------------


async def test_logout_of_the_page_ends_old_tokens_and_sessions() -> None:
    app = app_of("from-flask-jwt-extended.md", "if get_session_id() is None:")
    app.config["JWT_SECRET_KEY"] = "the key of Flask-JWT-Extended, which stays"
    app.config["JWT_IDENTITY_CLAIM"] = "sub"
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "cookies"]
    qje.JWTManager(app, token_store=qje.MemoryTokenStore())
    app.add_url_rule("/me", "me", qje.jwt_required(lambda: {"user": qje.get_jwt_identity()}))
    now = int(time.time())
    old = {"fresh": False, "iat": now, "jti": "1f8e", "type": "access", "sub": "alice", "nbf": now}
    async with app.app_context():
        session = await qje.create_session("alice")
    client = app.test_client()
    for token in (signed_by(app, **old), session.access_token):
        response = await client.get("/me", headers=bearer(token))
        assert await response.get_json() == {"user": "alice"}
        response = await client.delete("/logout", headers=bearer(token))
        assert response.status_code == 200
        assert (await client.get("/me", headers=bearer(token))).status_code == 401


# --- fastapi-users -------------------------------------------------------------------------------


@pytest.fixture
def from_fastapi_users() -> Quart:
    async def find_user(id: str) -> Any:
        return ALICE if id == ALICE.id else None

    async def check_password(email: str, password: str) -> Any:
        return ALICE if (email, password) == (ALICE.email, "wonderland") else None

    return app_of(
        "from-fastapi-users.md",
        "/auth/jwt/login",
        find_user=find_user,
        check_password=check_password,
    )


async def test_login_in_place_of_fastapi_users_goes_on_until_its_logout(
    from_fastapi_users: Quart,
) -> None:
    client = from_fastapi_users.test_client()
    form = {"username": ALICE.email, "password": "mad tea"}
    response = await client.post("/auth/jwt/login", form=form)
    assert response.status_code == 400
    assert await response.get_json() == {"detail": "LOGIN_BAD_CREDENTIALS"}
    form["password"] = "wonderland"
    first = await (await client.post("/auth/jwt/login", form=form)).get_json()
    assert set(first) == {"access_token", "refresh_token", "token_type"}
    response = await client.post("/auth/jwt/refresh", headers=bearer(first["refresh_token"]))
    second = await response.get_json()
    headers = bearer(second["access_token"])
    response = await client.get("/users/me", headers=headers)
    assert await response.get_json() == {"id": ALICE.id, "email": ALICE.email}
    assert (await client.post("/auth/jwt/logout", headers=headers)).status_code == 204
    assert (await client.get("/users/me", headers=headers)).status_code == 401


async def test_token_of_fastapi_users_stays_valid(
    from_fastapi_users: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = from_fastapi_users.test_client()
    headers = bearer(signed_by(from_fastapi_users, sub=ALICE.id, aud=["fastapi-users:auth"]))
    response = await client.get("/users/me", headers=headers)
    assert await response.get_json() == {"id": ALICE.id, "email": ALICE.email}
    # It has no session to end.
    assert (await client.post("/auth/jwt/logout", headers=headers)).status_code == 204
    assert (await client.get("/users/me", headers=headers)).status_code == 200
    monkeypatch.setattr(ALICE, "is_active", False)
    assert (await client.get("/users/me", headers=headers)).status_code == 401


@pytest.mark.parametrize("audience", ["fastapi-users:reset", "fastapi-users:verify"])
async def test_token_of_fastapi_users_for_an_email_is_rejected(
    from_fastapi_users: Quart, audience: str
) -> None:
    client = from_fastapi_users.test_client()
    headers = bearer(signed_by(from_fastapi_users, sub=ALICE.id, aud=audience))
    assert (await client.get("/users/me", headers=headers)).status_code == 422


@pytest.mark.parametrize(("error_format", "status"), [("legacy", 422), ("problem", 401)])
async def test_invalid_token_has_the_status_of_the_page(
    from_fastapi_users: Quart, error_format: str, status: int
) -> None:
    from_fastapi_users.config["JWT_ERROR_FORMAT"] = error_format
    client = from_fastapi_users.test_client()
    response = await client.get("/users/me", headers=bearer("no.real.token"))
    assert response.status_code == status
    assert "detail" in await response.get_json()


# --- quart-auth ----------------------------------------------------------------------------------


@pytest.fixture
def from_quart_auth() -> Quart:
    return app_of("from-quart-auth.md", 'app.post("/login")')


async def logged_in(app: Quart) -> Any:
    client = app.test_client()
    response = await client.post("/login", form={"name": "alice"}, scheme="https")
    assert (response.status_code, response.location) == (302, "/")
    for cookie in response.headers.getlist("Set-Cookie"):
        assert "; Secure" in cookie
        assert "SameSite=Lax" in cookie
        assert "Max-Age=" in cookie
    return client


def csrf(client: Any) -> str:
    (value,) = [cookie.value for cookie in client.cookie_jar if cookie.name == "csrf_access_token"]
    return str(value)


async def test_login_in_place_of_quart_auth_lasts_until_its_logout(from_quart_auth: Quart) -> None:
    client = await logged_in(from_quart_auth)
    old = {c.name: c.value for c in client.cookie_jar}["access_token_cookie"]
    response = await client.get("/", scheme="https")
    assert await response.get_json() == {"user": "alice"}
    # Without its CSRF value a form changes nothing.
    response = await client.post("/logout", form={}, scheme="https")
    assert (response.status_code, response.location) == (302, "/login")
    assert (await client.get("/", scheme="https")).status_code == 200
    await client.post("/logout", form={"csrf_token": csrf(client)}, scheme="https")
    assert (await client.get("/", scheme="https")).location == "/login"
    stolen = {"Cookie": f"access_token_cookie={old}"}
    response = await from_quart_auth.test_client().get("/", headers=stolen)
    assert (response.status_code, response.location) == (302, "/login")


async def test_login_in_place_of_quart_auth_is_renewed_once_a_day(from_quart_auth: Quart) -> None:
    with time_machine.travel("2030-01-01T12:00Z") as clock:
        client = await logged_in(from_quart_auth)
        renewals = []
        for _ in range(40):
            clock.shift(timedelta(hours=18))
            response = await client.get("/", scheme="https")
            assert response.status_code == 200
            renewals.append("Set-Cookie" in response.headers)
        assert renewals == [False, True] * 20
        clock.shift(timedelta(days=15))
        assert (await client.get("/", scheme="https")).location == "/login"


@pytest.mark.parametrize("cookie", ["", "access_token_cookie=no.real.token"])
async def test_visitor_without_a_valid_cookie_is_sent_to_the_login(
    from_quart_auth: Quart, cookie: str
) -> None:
    response = await from_quart_auth.test_client().get("/", headers={"Cookie": cookie})
    assert (response.status_code, response.location) == (302, "/login")


# --- Simple JWT ----------------------------------------------------------------------------------


@pytest.fixture
def from_simple_jwt() -> Quart:
    async def check_password(name: str, password: str) -> int | None:
        return 7 if (name, password) == ("alice", "wonderland") else None

    return app_of("from-simplejwt.md", "/api/token/blacklist/", check_password=check_password)


async def test_login_in_place_of_simple_jwt_goes_on_until_its_logout(
    from_simple_jwt: Quart,
) -> None:
    client = from_simple_jwt.test_client()
    credentials = {"username": "alice", "password": "mad tea"}
    response = await client.post("/api/token/", json=credentials)
    assert response.status_code == 401
    credentials["password"] = "wonderland"
    first = await (await client.post("/api/token/", json=credentials)).get_json()
    assert set(first) == {"access", "refresh"}
    body = {"refresh": first["refresh"]}
    second = await (await client.post("/api/token/refresh/", json=body)).get_json()
    assert set(second) == {"access", "refresh"}
    for token in (first["access"], second["access"]):
        response = await client.get("/api/me/", headers=bearer(token))
        assert await response.get_json() == {"id": "7"}
    body = {"refresh": second["refresh"]}
    response = await client.post("/api/token/blacklist/", json=body)
    assert (response.status_code, await response.get_json()) == (200, {})
    assert (await client.post("/api/token/refresh/", json=body)).status_code == 401
    response = await client.get("/api/me/", headers=bearer(second["access"]))
    assert response.status_code == 401


@pytest.mark.parametrize("token_type", ["access", "refresh"])
async def test_token_of_simple_jwt_counts_as_an_access_token_only_as_the_page_warns(
    from_simple_jwt: Quart, token_type: str
) -> None:
    token = signed_by(from_simple_jwt, token_type=token_type, jti="1f8e", user_id="7")
    client = from_simple_jwt.test_client()
    assert (await client.get("/api/me/", headers=bearer(token))).status_code == 401
    from_simple_jwt.config["JWT_IDENTITY_CLAIM"] = "user_id"
    assert (await client.get("/api/me/", headers=bearer(token))).status_code == 200
    body = {"refresh": token}
    assert (await client.post("/api/token/refresh/", json=body)).status_code == 401
    from_simple_jwt.config["JWT_SECRET_KEY"] = "a new key of the app, of 32 bytes and more"
    assert (await client.get("/api/me/", headers=bearer(token))).status_code == 401
