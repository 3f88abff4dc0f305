"""Test examples/headers.py over real HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support import LONG_AGO
from support.example_process import Service, decoded, log_in, running, signed

APPLICATION = "headers:app"


def test_login_gives_an_access_token_that_opens_the_protected_view(service: Service) -> None:
    token, _ = log_in(service)
    claims = decoded(token)
    assert (claims["sub"], claims["type"], claims["fresh"]) == ("alice", "access", False)
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert service.call("GET", "/me", token) == (200, {"username": "alice"})
    assert service.call("GET", "/", token) == (200, "Hello, alice!")


@pytest.mark.parametrize(
    "body",
    [
        {"username": "alice", "password": "Wonderland"},
        {"username": "bob", "password": "wonderland"},
        {"username": "alice"},
        {"username": "alice", "password": None},
        {"username": ["alice"], "password": "wonderland"},
        {"username": "alice", "password": "\ud800"},
        [],
        b"{",
        None,
    ],
    ids=str,
)
def test_any_other_login_is_rejected_with_the_same_message(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})


def test_request_without_a_token_is_rejected_by_the_protected_view_only(
    service: Service,
) -> None:
    answer = service.call("GET", "/me")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert service.call("GET", "/") == (200, "Hello, stranger!")


@pytest.mark.parametrize("path", ["/me", "/"])
@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (signed(exp=LONG_AGO), (401, {"msg": "Token has expired"})),
        (signed(type="refresh"), (422, {"msg": "Only access tokens are allowed"})),
        (signed()[:-4] + "AAAA", (422, {"msg": "Signature verification failed"})),
        ("scribble", (422, {"msg": "Not enough segments"})),
    ],
    ids=["expired", "refresh", "altered", "not a token"],
)
def test_invalid_token_is_rejected_by_both_views(
    service: Service, path: str, token: str, expected: tuple[int, Any]
) -> None:
    assert service.call("GET", path, token) == expected


def test_token_elsewhere_than_in_the_header_does_not_count(service: Service) -> None:
    token = signed()
    assert service.call("GET", "/me", token).status == 200
    assert service.call("GET", f"/me?jwt={token}").status == 401
    cookie = {"Cookie": f"access_token_cookie={token}"}
    assert service.call("GET", "/me", headers=cookie).status == 401


def test_start_without_a_key_fails_and_names_the_variable(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="JWT_SECRET_KEY"),
        running("headers:app", tmp_path),
    ):
        pass
