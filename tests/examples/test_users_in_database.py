"""Test examples/users_in_database.py in a separate process, with SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.example_process import SECRET, Answer, Service, decoded, log_in, running, signed
from support.services import PostgresServer
from support.services import postgres_server as postgres_server

PASSWORD = "correct horse battery staple"

UNAVAILABLE = (503, {"msg": "Database unavailable"})
WRONG = (401, {"msg": "Wrong username or password"})
MALFORMED = (
    400,
    {"msg": "Send a JSON object with a username of 1 to 80 characters and a password"},
)

Run = Callable[[], AbstractContextManager[Service]]


def run_on(url: str, directory: Path) -> Run:
    variables = {"JWT_SECRET_KEY": SECRET, "DATABASE_URL": url}
    return partial(running, "users_in_database:app", directory, **variables)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that starts the service on one database. It may run several times."""
    directory = tmp_path_factory.mktemp("users")
    if request.param == "sqlite":
        return run_on(f"sqlite+aiosqlite:///{directory}/users.db", directory)
    return run_on(asyncpg_url(request.getfixturevalue("postgres_server")), directory)


def asyncpg_url(server: PostgresServer) -> str:
    return server.url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture(scope="module")
def service(run: Run) -> Iterator[Service]:
    with run() as service:
        yield service


class Member(NamedTuple):
    """A user who has registered and logged in."""

    id: str
    name: str
    token: str

    @property
    def shown(self) -> tuple[int, dict[str, str]]:
        return 200, {"id": self.id, "username": self.name}


def credentials(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {"username": name, "password": password}


def join(service: Service, name: str = "") -> Member:
    """Register under a new name and log in."""
    name = name or f"user-{uuid.uuid4()}"
    answer = service.call("POST", "/register", body=credentials(name))
    assert answer.status == 201, answer
    return Member(answer.body["id"], name, log_in(service, credentials(name)).access)


def me(service: Service, token: str) -> Answer:
    return service.call("GET", "/me", token)


# --- Registration and login -----------------------------------------------------------------------


def test_registered_user_logs_in_and_is_loaded(service: Service) -> None:
    member = join(service)
    claims = decoded(member.token)
    assert (claims["sub"], claims["fresh"], "identity" in claims) == (member.id, True, False)
    assert me(service, member.token) == member.shown


@pytest.mark.parametrize(
    "name", ["Zoë Åström", "李小龙", "🦆", "' OR 1=1 --", "%", "a" * 80, "é" * 80]
)
def test_name_may_contain_any_printable_characters(service: Service, name: str) -> None:
    member = join(service, name)
    assert me(service, member.token) == member.shown == (200, {"id": member.id, "username": name})


def test_duplicate_name_is_a_conflict(service: Service) -> None:
    member = join(service)
    answer = service.call("POST", "/register", body=credentials(member.name, "another password"))
    assert answer == (409, {"msg": "This username is taken"})
    answer = service.call("POST", "/login", body=credentials(member.name, "another password"))
    assert answer == WRONG
    assert log_in(service, credentials(member.name)).access


def test_one_of_many_registrations_at_the_same_time_wins(service: Service) -> None:
    body = credentials(f"user-{uuid.uuid4()}")
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: service.call("POST", "/register", body=body).status, range(8))
        assert sorted(answers) == [201] + [409] * 7


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"{",
        [],
        {},
        {"username": "carol"},
        {"username": "carol", "password": None},
        {"username": ["carol"], "password": PASSWORD},
        credentials(""),
        credentials("a" * 81),
        credentials("nul\0"),
        credentials("half \ud800"),
        credentials("line\n"),
    ],
    ids=repr,
)
def test_request_without_proper_strings_is_a_bad_request(
    service: Service, path: str, body: Any
) -> None:
    assert service.call("POST", path, body=body) == MALFORMED


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize("body", [b"\xff", credentials("carol", PASSWORD + "\ud800")], ids=repr)
def test_text_that_is_not_unicode_is_a_bad_request(service: Service, path: str, body: Any) -> None:
    assert service.call("POST", path, body=body) == (400, {"msg": "Send text in UTF-8"})


@pytest.mark.parametrize("password", ["", "1234567"])
def test_short_password_is_rejected_at_registration(service: Service, password: str) -> None:
    answer = service.call("POST", "/register", body=credentials("carol", password))
    assert answer == (400, {"msg": "The password must have at least 8 characters"})
    assert service.call("POST", "/login", body=credentials("carol", password)) == WRONG


def test_wrong_password_and_unknown_name_get_the_same_response(service: Service) -> None:
    member = join(service)
    for body in (
        credentials(member.name, PASSWORD.upper()),
        credentials(member.name.upper()),
        credentials("nobody"),
    ):
        assert service.call("POST", "/login", body=body) == WRONG


# --- Loading --------------------------------------------------------------------------------------


def test_deleted_user_is_rejected_and_a_user_of_the_same_name_is_another(service: Service) -> None:
    member, other = join(service), join(service)
    answer = service.call("DELETE", "/me", member.token)
    assert answer == (200, {"msg": "User deleted"})
    gone = (401, {"msg": f"Error loading the user {member.id}"})
    assert me(service, member.token) == gone
    assert service.call("DELETE", "/me", member.token) == gone
    assert service.call("POST", "/login", body=credentials(member.name)) == WRONG
    assert me(service, other.token) == other.shown

    namesake = join(service, member.name)
    assert me(service, namesake.token) == namesake.shown
    assert me(service, member.token) == gone


def test_token_that_is_not_fresh_deletes_nobody(service: Service) -> None:
    member = join(service)
    stale = signed(sub=member.id, fresh=False)
    assert me(service, stale) == member.shown
    answer = service.call("DELETE", "/me", stale)
    assert answer == (401, {"msg": "Fresh token required"})
    assert me(service, member.token) == member.shown


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("unknown", (401, {"msg": "Error loading the user unknown"})),
        ("", (401, {"msg": "Error loading the user "})),
        (1, (422, {"msg": "Subject must be a string"})),
        (None, (422, {"msg": "Subject must be a string"})),
        (..., (422, {"msg": "Missing claim: sub"})),
    ],
)
def test_token_without_a_user_is_rejected(
    service: Service, subject: Any, expected: tuple[int, Any]
) -> None:
    token = signed(identity="alice", sub=subject)
    assert me(service, token) == expected


def test_users_persist_after_a_restart(run: Run, service: Service) -> None:
    member = join(service)
    with run() as later:
        assert me(later, member.token) == member.shown
        assert log_in(later, credentials(member.name))


def test_password_is_stored_only_as_a_hash(tmp_path: Path) -> None:
    with run_on(f"sqlite+aiosqlite:///{tmp_path}/users.db", tmp_path)() as service:
        member = join(service)
        stored = (tmp_path / "users.db").read_bytes()
    assert member.id.encode() in stored
    assert b"scrypt:" in stored
    assert PASSWORD.encode() not in stored


# --- The database is down -------------------------------------------------------------------------


def test_database_error_is_reported_and_logged_without_personal_data(
    tmp_path: Path,
) -> None:
    file = tmp_path / "users.db"
    with run_on(f"sqlite+aiosqlite:///{file}", tmp_path)() as service:
        member = join(service)
        with closing(sqlite3.connect(file)) as database:
            database.execute("ALTER TABLE users RENAME TO elsewhere")
        body = credentials("a name that nobody else has")
        assert service.call("POST", "/register", body=body) == UNAVAILABLE
        assert service.call("POST", "/login", body=body) == UNAVAILABLE
        assert me(service, member.token) == UNAVAILABLE
        with closing(sqlite3.connect(file)) as database:
            database.execute("ALTER TABLE elsewhere RENAME TO users")
        assert me(service, member.token) == member.shown
        assert "no such table: users" in service.errors
        for secret in ("Traceback", body["username"], "scrypt:", member.token, member.id):
            assert secret not in service.errors


def test_restart_of_postgres_between_requests_fails_no_request(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with run_on(asyncpg_url(postgres_server), tmp_path)() as service:
        member = join(service)
        postgres_server.stop()
        postgres_server.start()
        assert me(service, member.token) == member.shown
        assert "Database unavailable" not in service.errors


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_requests_are_rejected_only_while_postgres_is_down(
    postgres_server: PostgresServer, tmp_path: Path, way: str
) -> None:
    with run_on(asyncpg_url(postgres_server), tmp_path)() as service:
        member = join(service)
        getattr(postgres_server, way)()
        try:
            body = credentials(f"user-{uuid.uuid4()}", "a secret of nobody else")
            for method, path, token in [
                ("GET", "/me", member.token),
                ("DELETE", "/me", member.token),
                ("POST", "/login", ""),
                ("POST", "/register", ""),
            ]:
                assert service.call(method, path, token, body if not token else None) == UNAVAILABLE
            expired = signed(sub=member.id, exp=1)
            assert me(service, expired) == (401, {"msg": "Token has expired"})
        finally:
            postgres_server.start()
        assert me(service, member.token) == member.shown
        assert service.call("POST", "/login", body=body) == WRONG
        assert join(service, body["username"])

        assert "Database unavailable" in service.errors
        for secret in ("Traceback", "a secret of nobody else", "scrypt:", member.token, member.id):
            assert secret not in service.errors


def test_requests_are_rejected_while_postgres_hangs(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with run_on(asyncpg_url(postgres_server), tmp_path)() as service:
        member = join(service)
        with postgres_server.hanging():
            assert me(service, member.token) == UNAVAILABLE
        assert me(service, member.token) == member.shown
        assert "Traceback" not in service.errors
