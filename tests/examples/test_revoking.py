"""Test examples/revoking.py in a separate process, with each store."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support import hs_token
from support.example_process import (
    ALICE,
    SECRET,
    Answer,
    Service,
    decoded,
    example_claims,
    log_in,
    running,
    signed,
)
from support.services import PostgresServer, RedisServer
from support.services import postgres_server as postgres_server
from support.services import redis_server as redis_server

LOGGED_OUT = (200, {"msg": "Token revoked"})
REVOKED = (401, {"msg": "Token has been revoked"})
UNAVAILABLE = (503, {"msg": "Token store unavailable"})


Run = Callable[[], AbstractContextManager[Service]]


def run_on(directory: Path, **variables: str) -> Run:
    variables = {"JWT_SECRET_KEY": SECRET, **variables}
    return partial(running, "revoking:app", directory, **variables)


def sqlite_url(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory}/revoked.db"


def asyncpg_url(server: PostgresServer) -> str:
    return server.url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture(scope="module", params=["memory", "sqlite", "redis", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that starts the service on one store. It may run several times."""
    directory = tmp_path_factory.mktemp(kind)
    if kind == "memory":
        return run_on(directory)
    if kind == "redis":
        return run_on(directory, REDIS_URL=request.getfixturevalue("redis_server").url)
    url = sqlite_url(directory)
    if kind == "postgres":
        url = asyncpg_url(request.getfixturevalue("postgres_server"))
    return run_on(directory, DATABASE_URL=url)


@pytest.fixture(scope="module")
def service(run: Run) -> Iterator[Service]:
    with run() as service:
        yield service


def me(service: Service, token: str) -> Answer:
    return service.call("GET", "/me", token)


WELCOME = (200, {"username": "alice"})


# --- Every store ----------------------------------------------------------------------------------


def test_logout_revokes_the_access_token_and_no_other(service: Service) -> None:
    access, refresh = log_in(service)
    other, _ = log_in(service)
    assert me(service, access) == WELCOME
    assert service.call("POST", "/logout", access) == LOGGED_OUT
    assert me(service, access) == REVOKED
    assert me(service, other) == WELCOME
    answer = service.call("POST", "/refresh", refresh)
    assert answer.status == 200
    assert me(service, answer.body["access_token"]) == WELCOME


def test_logout_revokes_the_refresh_token_and_no_other(service: Service) -> None:
    access, refresh = log_in(service)
    _, other = log_in(service)
    assert service.call("POST", "/logout", refresh) == LOGGED_OUT
    assert service.call("POST", "/refresh", refresh) == REVOKED
    assert service.call("POST", "/refresh", other).status == 200
    assert me(service, access) == WELCOME


def test_second_logout_is_rejected(service: Service) -> None:
    access, _ = log_in(service)
    assert service.call("POST", "/logout", access) == LOGGED_OUT
    assert service.call("POST", "/logout", access) == REVOKED


def test_logouts_of_one_token_at_the_same_time_do_not_fail(service: Service) -> None:
    for _ in range(2):
        access, _ = log_in(service)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: service.call("POST", "/logout", access), range(8)))  # noqa: B023
        assert LOGGED_OUT in answers
        assert all(answer in (LOGGED_OUT, REVOKED) for answer in answers)
        assert me(service, access) == REVOKED


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"{",
        [],
        {"username": "alice"},
        ALICE | {"username": "bob"},
        ALICE | {"password": "Wonderland"},
        ALICE | {"password": 1},
        ALICE | {"password": "\ud800"},
    ],
    ids=repr,
)
def test_wrong_credentials_are_rejected(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})


def test_every_store_but_memory_is_shared_by_processes(
    kind: str, run: Run, service: Service
) -> None:
    """The other process starts after the first logout, so this also tests restarts."""
    first, _ = log_in(service)
    second, _ = log_in(service)
    assert service.call("POST", "/logout", first) == LOGGED_OUT
    with run() as other:
        expected = WELCOME if kind == "memory" else REVOKED
        assert me(other, first) == expected
        assert other.call("POST", "/logout", second) == LOGGED_OUT
        assert me(service, second) == expected


def test_token_that_never_expires_is_revoked(service: Service) -> None:
    token = signed(exp=..., jti="eternal")
    assert me(service, token) == WELCOME
    assert service.call("POST", "/logout", token) == LOGGED_OUT
    assert me(service, token) == REVOKED


# --- The store is down ----------------------------------------------------------------------------


def ask_redis(server: RedisServer, *command: str) -> str:
    """Send one command and return the response, without a client library."""
    words = b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in command)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"*%d\r\n%s" % (len(command), words))
        return connection.recv(4096).decode().strip()


@pytest.fixture(scope="module")
def redis_service(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with run_on(tmp_path_factory.mktemp("redis"), REDIS_URL=redis_server.url)() as service:
        yield service


def assert_requests_are_rejected(service: Service, valid: str, refresh: str, revoked: str) -> None:
    """Check the responses of the service while its store is unavailable."""
    for method, path, token in [
        ("GET", "/me", valid),
        ("POST", "/refresh", refresh),
        ("POST", "/logout", valid),
    ]:
        answer = service.call(method, path, token)
        assert answer == UNAVAILABLE
        assert int(answer.headers["Retry-After"]) > 0
    # These need no store: the process remembers the tokens that it has revoked.
    assert me(service, revoked) == REVOKED
    assert service.call("POST", "/login", body=ALICE).status == 200
    assert service.call("GET", "/me").status == 401
    expired = signed(exp=1)
    assert me(service, expired) == (401, {"msg": "Token has expired"})
    forged = hs_token(example_claims(), secret="another key of 32 bytes and more than that")
    assert me(service, forged) == (422, {"msg": "Signature verification failed"})


def assert_logged(service: Service, message: str, *tokens: str) -> None:
    """Check that the log names the error, and contains no token."""
    errors = service.errors
    assert message in errors
    for token in tokens:
        assert token not in errors
        assert decoded(token)["jti"] not in errors


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_requests_are_rejected_only_while_redis_is_down(
    redis_server: RedisServer, redis_service: Service, way: str
) -> None:
    valid, refresh = log_in(redis_service)
    revoked, _ = log_in(redis_service)
    assert redis_service.call("POST", "/logout", revoked) == LOGGED_OUT
    getattr(redis_server, way)()
    try:
        assert_requests_are_rejected(redis_service, valid, refresh, revoked)
    finally:
        redis_server.start()
    # The logout that got a 503 response did not revoke the token.
    assert me(redis_service, valid) == WELCOME
    assert me(redis_service, revoked) == REVOKED
    assert redis_service.call("POST", "/refresh", refresh).status == 200
    assert redis_service.call("POST", "/logout", valid) == LOGGED_OUT
    assert me(redis_service, valid) == REVOKED
    assert_logged(redis_service, "redis.exceptions.ConnectionError", valid, refresh, revoked)


def test_restart_of_redis_between_requests_fails_no_request(
    redis_server: RedisServer, redis_service: Service
) -> None:
    valid, _ = log_in(redis_service)
    with ThreadPoolExecutor(8) as pool:
        # Several connections are open now, and the restart closes all of them.
        assert set(pool.map(lambda _: me(redis_service, valid).status, range(16))) == {200}
        redis_server.stop()
        redis_server.start()
        assert set(pool.map(lambda _: me(redis_service, valid).status, range(16))) == {200}


def test_requests_are_rejected_while_redis_hangs(
    redis_server: RedisServer, redis_service: Service
) -> None:
    valid, _ = log_in(redis_service)
    with redis_server.hanging():
        assert me(redis_service, valid) == UNAVAILABLE
    assert me(redis_service, valid) == WELCOME


def test_logout_fails_if_redis_is_full(redis_server: RedisServer, redis_service: Service) -> None:
    """The response is never "Token revoked" for a token that is not revoked."""
    valid, _ = log_in(redis_service)
    assert ask_redis(redis_server, "CONFIG", "SET", "maxmemory", "1") == "+OK"
    try:
        assert redis_service.call("POST", "/logout", valid) == UNAVAILABLE
    finally:
        assert ask_redis(redis_server, "CONFIG", "SET", "maxmemory", "0") == "+OK"
    assert me(redis_service, valid) == WELCOME


def test_requests_are_rejected_after_a_database_error(tmp_path: Path) -> None:
    file = tmp_path / "revoked.db"
    with run_on(tmp_path, DATABASE_URL=sqlite_url(tmp_path))() as service:
        valid, refresh = log_in(service)
        revoked, _ = log_in(service)
        assert service.call("POST", "/logout", revoked) == LOGGED_OUT
        with closing(sqlite3.connect(file)) as database:
            database.execute("ALTER TABLE jwt_sessions_revoked_tokens RENAME TO elsewhere")
        assert_requests_are_rejected(service, valid, refresh, revoked)
        with closing(sqlite3.connect(file)) as database:
            database.execute("ALTER TABLE elsewhere RENAME TO jwt_sessions_revoked_tokens")
        assert me(service, valid) == WELCOME
        assert me(service, revoked) == REVOKED
        assert_logged(
            service, "no such table: jwt_sessions_revoked_tokens", valid, refresh, revoked
        )


def test_restart_of_postgres_between_requests_fails_no_request(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with run_on(tmp_path, DATABASE_URL=asyncpg_url(postgres_server))() as service:
        valid, _ = log_in(service)
        assert me(service, valid) == WELCOME
        postgres_server.stop()
        postgres_server.start()
        assert me(service, valid) == WELCOME


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_requests_are_rejected_only_while_postgres_is_down(
    postgres_server: PostgresServer, tmp_path: Path, way: str
) -> None:
    with run_on(tmp_path, DATABASE_URL=asyncpg_url(postgres_server))() as service:
        valid, refresh = log_in(service)
        revoked, _ = log_in(service)
        assert service.call("POST", "/logout", revoked) == LOGGED_OUT
        getattr(postgres_server, way)()
        try:
            assert_requests_are_rejected(service, valid, refresh, revoked)
        finally:
            postgres_server.start()
        assert me(service, valid) == WELCOME
        assert me(service, revoked) == REVOKED
        assert service.call("POST", "/logout", valid) == LOGGED_OUT
        assert me(service, valid) == REVOKED
        assert_logged(service, "store", valid, refresh, revoked)


def test_requests_are_rejected_while_postgres_hangs(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with run_on(tmp_path, DATABASE_URL=asyncpg_url(postgres_server))() as service:
        valid, _ = log_in(service)
        assert me(service, valid) == WELCOME
        with postgres_server.hanging():
            # The first request uses a connection of the pool, the second opens one. A request
            # without a response fails the test by itself.
            for _ in range(2):
                assert me(service, valid) == UNAVAILABLE
        assert me(service, valid) == WELCOME
        assert_logged(service, "store", valid)
