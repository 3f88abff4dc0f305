"""Test examples/accounts.py in a separate process, with its sessions in each store."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sqlite3
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from quart_jwt_extended.testing import assert_protected, signed_in
from support import LONG_AGO
from support.example_process import (
    CALL_LIMIT,
    EXAMPLES,
    SECRET,
    Service,
    Session,
    altered,
    decoded,
    running,
)
from support.services import PostgresServer
from support.services import postgres_server as postgres_server
from support.services import redis_server as redis_server

PASSWORD = "correct horse battery staple"

ENDED = (401, {"msg": "Session has ended"})
NOT_FRESH = (401, {"msg": "Fresh token required"})
NO_CSRF = (401, {"msg": "Missing CSRF token"})
NO_COOKIE = (401, {"msg": 'Missing cookie "access_token_cookie"'})
WRONG = (401, {"msg": "Wrong username or password"})
NO_SESSION = (404, {"msg": "Session not found"})
NO_STORE = (503, {"msg": "Token store unavailable"})
NO_DATABASE = (503, {"msg": "Database unavailable"})

Run = Callable[[], AbstractContextManager[Service]]


def run_on(directory: Path, **variables: str) -> Run:
    url = f"sqlite+aiosqlite:///{directory}/accounts.db"
    variables = {"JWT_SECRET_KEY": SECRET, "DATABASE_URL": url, "REDIS_URL": "", **variables}
    return partial(running, "accounts:app", directory, **variables)


def asyncpg_url(server: PostgresServer) -> str:
    return server.url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture(scope="module", params=["sqlite", "postgres", "redis"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that starts the service on one store. It may run several times."""
    directory = tmp_path_factory.mktemp("accounts")
    variables = {}
    if request.param == "postgres":
        variables["DATABASE_URL"] = asyncpg_url(request.getfixturevalue("postgres_server"))
    elif request.param == "redis":
        variables["REDIS_URL"] = request.getfixturevalue("redis_server").url
    return run_on(directory, **variables)


@pytest.fixture(scope="module")
def service(run: Run) -> Iterator[Service]:
    with run() as service:
        yield service


def credentials(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {"username": name, "password": password}


class Browser:
    """The browser of a user. It stores cookies, and its page sends the CSRF values."""

    def __init__(self, session: Session, name: str, device: str = "Firefox") -> None:
        self.session = session
        self.name = name
        self.device = device

    @property
    def cookies(self) -> dict[str, str]:
        return {name: str(cookie.value) for name, cookie in self.session.cookies.items()}

    @property
    def access(self) -> str:
        return self.cookies["access_token_cookie"]

    def call(self, method: str, path: str, body: Any = None, **changes: str) -> Any:
        """Send a request; ``changes`` replace cookies, by name, in this request only."""
        headers = {"User-Agent": self.device}
        kind = "refresh" if path.startswith("/token") else "access"
        if f"csrf_{kind}_token" in self.cookies:
            headers["X-CSRF-TOKEN"] = self.cookies[f"csrf_{kind}_token"]
        if changes:
            cookies = {**self.cookies, **changes}
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return self.session.call(method, path, body=body, headers=headers)

    def log_in(self, password: str = PASSWORD) -> None:
        answer = self.call("POST", "/login", credentials(self.name, password))
        assert answer == (200, {"username": self.name})

    def renew(self, refresh_token: str = "") -> Any:
        changes = {"refresh_token_cookie": refresh_token} if refresh_token else {}
        return self.call("POST", "/token/refresh", **changes)

    def devices(self) -> list[tuple[str, bool]]:
        answer = self.call("GET", "/sessions")
        assert answer.status == 200, answer
        return [(session["device"], session["is_this_one"]) for session in answer.body]

    @property
    def is_logged_in(self) -> bool:
        answer = self.call("GET", "/me")
        assert answer.status == 200 or answer in (ENDED, NO_COOKIE), answer
        return bool(answer.status == 200)


def join(service: Service, device: str = "Firefox") -> Browser:
    """Register under a new name and log in."""
    browser = Browser(service.session(), f"user-{uuid.uuid4()}", device)
    answer = browser.call("POST", "/register", credentials(browser.name))
    assert answer == (201, {"username": browser.name})
    browser.log_in()
    return browser


def another(service: Service, user: Browser, device: str = "Firefox") -> Browser:
    """Log a user in with another browser."""
    browser = Browser(service.session(), user.name, device)
    browser.log_in()
    return browser


# --- Registration and login -----------------------------------------------------------------------


def test_login_gives_tokens_of_one_session_in_cookies_only(service: Service) -> None:
    user = join(service)
    access, refresh = (
        decoded(user.cookies[f"{kind}_token_cookie"]) for kind in ("access", "refresh")
    )
    assert access["sid"] == refresh["sid"]
    assert access["fresh"] - access["iat"] == pytest.approx(300, abs=1)
    assert set(user.cookies) == {
        "access_token_cookie",
        "csrf_access_token",
        "refresh_token_cookie",
        "csrf_refresh_token",
    }
    answer = user.call("GET", "/me")
    assert answer == (200, {"username": user.name})
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [None, b"{", [], {}, {"username": "carol"}, credentials("nul\0"), credentials("half \ud800")],
    ids=repr,
)
@pytest.mark.parametrize("path", ["/register", "/login"])
def test_request_without_two_strings_is_a_bad_request(
    service: Service, path: str, body: Any
) -> None:
    answer = service.call("POST", path, body=body)
    assert answer == (400, {"msg": "Send a JSON object with these strings: username, password"})


@pytest.mark.parametrize(
    "body", [credentials(""), credentials("a" * 81), credentials("a", "short")]
)
def test_name_or_password_of_a_wrong_length_is_not_registered(service: Service, body: Any) -> None:
    assert service.call("POST", "/register", body=body).status == 400


def test_wrong_password_and_unknown_name_get_the_same_response(service: Service) -> None:
    user = join(service)
    for body in (credentials(user.name, PASSWORD.upper()), credentials("nobody")):
        assert service.call("POST", "/login", body=body) == WRONG
    assert user.call("POST", "/register", credentials(user.name)).status == 409
    assert user.devices() == [("Firefox", True)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/token/refresh"),
        ("POST", "/token/confirm"),
        ("PUT", "/password"),
        ("DELETE", "/sessions/x"),
        ("POST", "/logout"),
        ("POST", "/logout/everywhere"),
        ("POST", "/ticket"),
    ],
)
def test_change_needs_a_token_and_its_csrf_value(service: Service, method: str, path: str) -> None:
    assert service.call(method, path, body={"password": PASSWORD}).status == 401
    user = join(service)
    assert user.session.call(method, path, body={"password": PASSWORD}) == NO_CSRF
    assert user.is_logged_in


# --- Renewal --------------------------------------------------------------------------------------


def test_refresh_replaces_both_tokens(service: Service) -> None:
    user = join(service)
    before = user.cookies
    assert user.renew() == (200, {"username": user.name})
    after = user.cookies
    assert [name for name in before if before[name] == after[name]] == []
    claims = decoded(user.access)
    assert (claims["sid"], claims["fresh"]) == (
        decoded(before["access_token_cookie"])["sid"],
        False,
    )
    assert user.is_logged_in


def test_two_tabs_may_refresh_at_the_same_time(service: Service) -> None:
    user = join(service)
    stale = user.cookies

    def tab(_: int) -> int:
        headers = {
            "Cookie": f"refresh_token_cookie={stale['refresh_token_cookie']}",
            "X-CSRF-TOKEN": stale["csrf_refresh_token"],
        }
        return service.call("POST", "/token/refresh", headers=headers).status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(tab, range(4))) == {200}
    assert user.is_logged_in


def test_stolen_refresh_token_ends_the_session_and_is_logged_once(service: Service) -> None:
    user = join(service)
    other = another(service, user)
    headers = {
        "Cookie": f"refresh_token_cookie={user.cookies['refresh_token_cookie']}",
        "X-CSRF-TOKEN": user.cookies["csrf_refresh_token"],
    }
    # The grace period covers only the previous generation.
    for _ in range(2):
        assert user.renew().status == 200
    answer = service.call("POST", "/token/refresh", headers=headers)
    assert answer == (401, {"msg": "Refresh token has been reused"})
    assert service.call("POST", "/token/refresh", headers=headers) == ENDED
    assert user.renew() == ENDED
    assert not user.is_logged_in
    assert other.is_logged_in
    claims = decoded(user.access)
    warning = f"Refresh token reused: session {claims['sid']} of user {claims['sub']}"
    assert service.errors.count(warning) == 1
    assert "eyJ" not in service.errors


def test_access_token_of_an_active_user_is_renewed_automatically(service: Service) -> None:
    user = join(service)
    old = decoded(user.access)
    now = int(time.time())
    soon = altered(user.access, iat=now - 700, exp=now + 200)
    answer = user.call("GET", "/me", access_token_cookie=soon)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    new = decoded(user.access)
    assert new["exp"] >= now + 900
    assert [new[name] for name in ("sid", "sub", "csrf", "fresh")] == [
        old[name] for name in ("sid", "sub", "csrf", "fresh")
    ]
    assert new["jti"] != old["jti"]
    # A logout must not renew the token.
    answer = user.call("POST", "/logout", access_token_cookie=soon)
    assert (answer.status, user.cookies) == (200, {})


def test_expired_access_token_is_rejected_and_replaced_by_a_refresh(service: Service) -> None:
    user = join(service)
    expired = altered(user.access, exp=LONG_AGO)
    answer = user.call("GET", "/me", access_token_cookie=expired)
    assert answer == (401, {"msg": "Token has expired"})
    assert user.renew().status == 200


# --- Devices and logout ---------------------------------------------------------------------------


def test_devices_are_listed_by_their_user_agent(service: Service) -> None:
    user = join(service, "Laptop")
    phone = another(service, user, "P" * 300)
    assert user.devices() == [("P" * 200, False), ("Laptop", True)]
    assert phone.devices() == [("P" * 200, True), ("Laptop", False)]
    assert join(service).devices() == [("Firefox", True)]


def test_logout_revokes_one_session_and_copies_of_its_tokens(service: Service) -> None:
    user = join(service)
    other = another(service, user)
    copies = user.cookies
    assert user.call("POST", "/logout") == (200, {"msg": "Logged out"})
    assert user.cookies == {}
    assert user.call("GET", "/me", **copies) == ENDED
    headers = {
        "Cookie": f"refresh_token_cookie={copies['refresh_token_cookie']}",
        "X-CSRF-TOKEN": copies["csrf_refresh_token"],
    }
    assert service.call("POST", "/token/refresh", headers=headers) == ENDED
    assert other.devices() == [("Firefox", True)]


def test_only_the_user_can_log_out_another_device(service: Service) -> None:
    user, stranger = join(service), join(service)
    phone = another(service, user)
    path = f"/sessions/{decoded(phone.access)['sid']}"
    assert stranger.call("DELETE", path) == NO_SESSION
    assert phone.is_logged_in
    assert user.call("DELETE", "/sessions/nonsense") == NO_SESSION
    assert user.call("DELETE", path) == (200, {"msg": "Session revoked"})
    assert user.call("DELETE", path) == NO_SESSION
    assert (phone.is_logged_in, user.is_logged_in) == (False, True)


def test_logout_everywhere_ends_all_sessions_of_the_user(service: Service) -> None:
    user, stranger = join(service), join(service)
    phone = another(service, user)
    answer = user.call("POST", "/logout/everywhere")
    assert answer == (200, {"msg": "Logged out everywhere", "sessions_ended": 2})
    assert [browser.is_logged_in for browser in (user, phone, stranger)] == [False, False, True]


# --- The password ---------------------------------------------------------------------------------


def test_new_password_ends_the_other_sessions(service: Service) -> None:
    user, stranger = join(service), join(service)
    phone = another(service, user)
    answer = user.call("PUT", "/password", {"password": "another password"})
    assert answer == (200, {"msg": "Password changed", "sessions_ended": 1})
    assert [browser.is_logged_in for browser in (user, phone, stranger)] == [True, False, True]
    assert user.call("POST", "/login", credentials(user.name)) == WRONG
    phone.log_in("another password")


def test_confirming_the_password_creates_a_fresh_token(service: Service) -> None:
    user = join(service)
    assert user.renew().status == 200
    assert user.call("PUT", "/password", {"password": "another password"}) == NOT_FRESH
    for body in ({"password": PASSWORD.upper()}, {"password": ""}):
        answer = user.call("POST", "/token/confirm", body)
        assert answer == (401, {"msg": "Wrong password"})
    answer = user.call("POST", "/token/confirm", {"password": PASSWORD})
    assert answer == (200, {"username": user.name})
    assert user.call("PUT", "/password", {"password": "short"}).status == 400
    assert user.call("PUT", "/password", {"password": "another password"}).status == 200


def test_login_by_the_old_password_does_not_outlast_the_change(service: Service) -> None:
    """In any order, only the session that changed the password remains."""
    user = join(service)
    phones = [Browser(service.session(), user.name, "Phone") for _ in range(4)]
    with ThreadPoolExecutor(5) as pool:
        logins = [
            pool.submit(phone.call, "POST", "/login", credentials(user.name)) for phone in phones
        ]
        change = pool.submit(user.call, "PUT", "/password", {"password": "another password"})
        assert change.result().status == 200
        assert {login.result().status for login in logins} <= {200, 401}
    assert user.devices() == [("Firefox", True)]


# --- The WebSocket --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _direct_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, the client would use a proxy that the environment names."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


def open_socket(service: Service, token: str) -> Any:
    return connect(
        f"ws://127.0.0.1:{service.port}/live",
        additional_headers={"Cookie": f"access_token_cookie={token}"},
        open_timeout=CALL_LIMIT,
        close_timeout=CALL_LIMIT,
    )


async def say(socket: Any, text: str) -> Any:
    await socket.send(text)
    return json.loads(await asyncio.wait_for(socket.recv(), CALL_LIMIT))


async def assert_closed(socket: Any, reason: str) -> None:
    with pytest.raises(ConnectionClosed) as caught:
        await asyncio.wait_for(socket.recv(), CALL_LIMIT)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4401, reason)


async def test_websocket_is_closed_when_the_session_ends(service: Service) -> None:
    user = join(service)
    other = another(service, user)
    async with open_socket(service, user.access) as socket:
        assert await say(socket, "hello") == {"username": user.name, "text": "hello"}
        assert other.call("DELETE", f"/sessions/{decoded(user.access)['sid']}").status == 200
        await assert_closed(socket, "Session has ended")
    with pytest.raises(InvalidStatus):
        async with open_socket(service, user.access):
            pass


async def test_websocket_is_closed_when_its_token_expires_unless_it_is_renewed(
    service: Service,
) -> None:
    user, stranger = join(service), join(service)
    token = altered(user.access, exp=int(time.time()) + 6)
    async with open_socket(service, token) as socket, open_socket(service, token) as kept:
        foreign = stranger.call("POST", "/ticket").body["token"]
        answer = await say(socket, f"renew {foreign}")
        assert answer == {"msg": "The token belongs to another identity or session"}
        assert await say(socket, "renew nonsense") == {"msg": "Not enough segments"}
        ticket = user.call("POST", "/ticket").body["token"]
        assert await say(kept, f"renew {ticket}") == {"msg": "Renewed"}
        await assert_closed(socket, "Token has expired")
        assert await say(kept, "hello") == {"username": user.name, "text": "hello"}
        assert user.call("POST", "/logout").status == 200
        await assert_closed(kept, "Session has ended")


# --- Several processes, and unavailable services --------------------------------------------------


def test_sessions_outlive_the_process_and_are_shared(run: Run, service: Service) -> None:
    user = join(service)
    with run() as other:
        there = Browser(other.session(), user.name)
        assert there.call("GET", "/me", **user.cookies).status == 200
        assert there.call("POST", "/logout", **user.cookies).status == 401
        there.log_in()
        assert there.call("POST", "/logout/everywhere").body["sessions_ended"] == 2
    assert not user.is_logged_in


def test_requests_fail_while_redis_is_down_and_nobody_is_logged_out(
    redis_server: Any, tmp_path: Path
) -> None:
    with run_on(tmp_path, REDIS_URL=redis_server.url)() as service:
        user = join(service)
        redis_server.stop()
        try:
            for method, path in [
                ("GET", "/me"),
                ("POST", "/token/refresh"),
                ("POST", "/logout"),
                ("POST", "/logout/everywhere"),
            ]:
                answer = user.call(method, path)
                assert answer == NO_STORE
                assert "Retry-After" in answer.headers
            assert user.call("POST", "/login", credentials(user.name)) == NO_STORE
            assert len(user.cookies) == 4
        finally:
            redis_server.start()
        assert user.is_logged_in
        assert user.renew().status == 200
        assert "eyJ" not in service.errors


def test_database_error_is_reported_without_personal_data(tmp_path: Path) -> None:
    with run_on(tmp_path)() as service:
        user = join(service)
        with closing(sqlite3.connect(tmp_path / "accounts.db")) as database:
            database.execute("ALTER TABLE users RENAME TO elsewhere")
        assert user.call("GET", "/me") == NO_DATABASE
        assert user.call("POST", "/login", credentials(user.name)) == NO_DATABASE
        with closing(sqlite3.connect(tmp_path / "accounts.db")) as database:
            database.execute("ALTER TABLE elsewhere RENAME TO users")
        assert user.is_logged_in
        for secret in ("Traceback", user.name, "scrypt:", user.access):
            assert secret not in service.errors


# --- With the test client -------------------------------------------------------------------------


@pytest.fixture
async def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Return the module of the example, with its app started and one user, as ``user``."""
    monkeypatch.setenv("JWT_SECRET_KEY", SECRET)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/accounts.db")
    monkeypatch.delenv("REDIS_URL", raising=False)
    # SQLAlchemy looks up the module of the class there.
    spec = importlib.util.spec_from_file_location("accounts", EXAMPLES / "accounts.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "accounts", module)
    spec.loader.exec_module(module)
    async with module.app.test_app():
        module.user = module.User(id="1234", name="alice", password_hash="unused")
        async with module.transaction.begin() as database:
            database.add(module.user)
        yield module


async def test_only_registration_and_login_are_open(accounts: Any) -> None:
    await assert_protected(accounts.app, exempt=("static", "register", "login"))


async def test_signed_in_client_of_the_testing_kit_has_a_session(accounts: Any) -> None:
    async with signed_in(accounts.app, accounts.user, fresh=True, locations="cookies") as client:
        async with signed_in(accounts.app, accounts.user) as other:
            assert (await (await client.get("/me")).get_json()) == {"username": "alice"}
            response = await client.put("/password", json={"password": "another password"})
            assert response.status_code == 200
            assert (await response.get_json())["sessions_ended"] == 1
            assert (await other.get("/me")).status_code == 401
        async with client.websocket("/live") as socket:
            await socket.send("hello")
            assert await socket.receive_json() == {"username": "alice", "text": "hello"}
        assert (await client.post("/logout")).status_code == 200
