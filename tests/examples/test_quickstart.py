"""The quickstart example, as a process of its own, over real HTTP."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from support.example_process import (
    EXAMPLES,
    SECRET,
    STOP_LIMIT,
    Service,
    assert_start_fails,
    decoded,
    in_shell,
    log_in,
    running,
)

EXAMPLE = EXAMPLES / "quickstart.py"
APPLICATION = [str(EXAMPLE)]


# --- login ---------------------------------------------------------------------------------------


def test_right_password_gives_a_fresh_access_token_and_a_refresh_token(service: Service) -> None:
    access, refresh = log_in(service)
    claims = [decoded(token) for token in (access, refresh)]
    assert [(c["sub"], c["type"], c.get("fresh")) for c in claims] == [
        ("alice", "access", True),
        ("alice", "refresh", None),
    ]


@pytest.mark.parametrize(
    "credentials",
    [
        {"username": "alice", "password": "Wonderland"},
        {"username": "alice", "password": ""},
        {"username": "bob", "password": "wonderland"},
        {"username": "", "password": ""},
    ],
    ids=str,
)
def test_wrong_password_or_name_is_refused_in_the_same_words(
    service: Service, credentials: dict[str, str]
) -> None:
    answer = service.call("POST", "/login", body=credentials)
    assert answer == (401, {"msg": "Wrong username or password"})


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"{",
        [],
        "alice",
        {},
        {"username": "alice"},
        {"username": "alice", "password": None},
        {"username": ["alice"], "password": "wonderland"},
        {"username": "alice", "password": "\ud800"},
    ],
    ids=str,
)
def test_login_without_two_strings_is_a_bad_request(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    message = "Send a JSON object with these strings: username, password"
    assert answer == (400, {"msg": message})


# --- access, refresh, fresh ----------------------------------------------------------------------


def test_access_token_opens_the_protected_view(service: Service) -> None:
    access, _ = log_in(service)
    answer = service.call("GET", "/me", access)
    assert answer.status == 200
    assert answer.body["username"] == "alice"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/me"),
        ("PUT", "/email"),
        ("POST", "/refresh"),
        ("POST", "/logout"),
    ],
)
def test_no_token_is_refused_by_every_protected_view(
    service: Service, method: str, path: str
) -> None:
    assert service.call(method, path).status == 401


def test_altered_access_token_is_refused(service: Service) -> None:
    access, _ = log_in(service)
    head, _, signature = access.rpartition(".")
    altered = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    answer = service.call("GET", "/me", altered)
    assert answer == (422, {"msg": "Signature verification failed"})


def test_tokens_do_not_serve_in_each_others_place(service: Service) -> None:
    access, refresh = log_in(service)
    only_access = (422, {"msg": "Only access tokens are allowed"})
    only_refresh = (422, {"msg": "Only refresh tokens are allowed"})
    assert service.call("GET", "/me", refresh) == only_access
    assert service.call("POST", "/logout", refresh) == only_access
    assert service.call("POST", "/refresh", access) == only_refresh


def test_refreshed_access_token_is_good_but_not_fresh(service: Service) -> None:
    _, refresh = log_in(service)
    answer = service.call("POST", "/refresh", refresh)
    assert answer.status == 200
    later = answer.body["access_token"]
    assert service.call("GET", "/me", later).status == 200
    answer = service.call("PUT", "/email", later, {"email": "mallory@example.com"})
    assert answer == (401, {"msg": "Fresh token required"})


def test_fresh_access_token_changes_the_email(service: Service) -> None:
    access, _ = log_in(service)
    email = f"alice.{time.monotonic_ns()}@example.com"
    assert service.call("PUT", "/email", access, {"email": email}) == (200, {"email": email})
    assert service.call("GET", "/me", access) == (200, {"username": "alice", "email": email})


def test_fresh_view_without_its_field_is_a_bad_request_that_changes_nothing(
    service: Service,
) -> None:
    access, _ = log_in(service)
    before = service.call("GET", "/me", access)
    answer = service.call("PUT", "/email", access, {"email": 1})
    assert answer == (400, {"msg": "Send a JSON object with these strings: email"})
    assert service.call("GET", "/me", access) == before


# --- logout --------------------------------------------------------------------------------------


def test_logout_ends_all_tokens_of_one_login(service: Service) -> None:
    access, refresh = log_in(service)
    other_access, other_refresh = log_in(service)
    later = service.call("POST", "/refresh", refresh).body
    assert service.call("POST", "/logout", access) == (200, {"msg": "Logged out"})
    ended = (401, {"msg": "Session has ended"})
    for token in (access, later["access_token"]):
        assert service.call("GET", "/me", token) == ended
        assert service.call("PUT", "/email", token, {"email": "x@example.com"}) == ended
        assert service.call("POST", "/logout", token) == ended
    for token in (refresh, later["refresh_token"]):
        assert service.call("POST", "/refresh", token) == ended
    assert service.call("GET", "/me", other_access).status == 200
    assert service.call("POST", "/refresh", other_refresh).status == 200


# --- what it prints ------------------------------------------------------------------------------


def test_printed_lines_do_what_their_comments_say(service: Service, tmp_path: Path) -> None:
    lines = service.printed.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("# "))
    printed, calls = in_shell(lines[first:], tmp_path)
    assert calls == [
        "POST /login 200",
        "GET /me 200",
        "PUT /email 200",
        "POST /refresh 200",
        "PUT /email 401",
        "POST /logout 200",
        "GET /me 401",
        "POST /refresh 401",
    ]
    messages = [json.loads(line) for line in printed]
    assert messages[1:] == [
        {"email": "alice@example.org"},
        {"msg": "Fresh token required"},
        {"msg": "Logged out"},
        {"msg": "Session has ended"},
        {"msg": "Session has ended"},
    ]


def test_configured_key_is_used_and_not_printed(service: Service) -> None:
    assert "JWT_SECRET_KEY from the environment" in service.printed
    assert SECRET not in service.printed


# --- start and stop ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_start_without_a_key_makes_one_and_a_signal_ends_it_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running([str(EXAMPLE)], tmp_path) as service:
        assert "JWT_SECRET_KEY is not set: a key was made for this run" in service.printed
        access, _ = log_in(service)
        with pytest.raises(jwt.InvalidSignatureError):
            decoded(access)
        assert service.call("GET", "/me", access).status == 200
        service.process.send_signal(number)
        assert service.process.wait(STOP_LIMIT) == 0
    assert "Traceback" not in service.errors


@pytest.mark.parametrize(
    ("port", "message"), [("taken", "Choose another port"), ("http", "PORT must be a number")]
)
def test_unusable_port_ends_with_a_message_and_no_traceback(
    service: Service, port: str, message: str
) -> None:
    number = str(service.port) if port == "taken" else port
    assert_start_fails(EXAMPLE, number, message)
