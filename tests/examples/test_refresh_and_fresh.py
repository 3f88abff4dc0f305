"""Test examples/refresh_and_fresh.py over real HTTP."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from support import LONG_AGO
from support.example_process import ALICE, SECRET, Service, altered, decoded, log_in

APPLICATION = "refresh_and_fresh:app"


ENDED = (401, {"msg": "Session has ended"})
REUSED = (401, {"msg": "Refresh token has been reused"})
NOT_FRESH = (401, {"msg": "Fresh token required"})


def renew(service: Service, refresh_token: str) -> tuple[str, str]:
    answer = service.call("POST", "/refresh", refresh_token)
    assert answer.status == 200, answer
    return answer.body["access_token"], answer.body["refresh_token"]


# --- refresh tokens ------------------------------------------------------------------------------


def test_refresh_gives_two_new_tokens_of_the_same_login(service: Service) -> None:
    access, refresh = log_in(service)
    later_access, later_refresh = renew(service, refresh)
    assert service.call("GET", "/me", later_access) == (200, {"username": "alice"})
    assert service.call("GET", "/me", access).status == 200
    claims = [decoded(token) for token in (access, refresh, later_access, later_refresh)]
    assert len({c["jti"] for c in claims}) == 4
    assert len({c["sid"] for c in claims}) == 1
    assert [c["type"] for c in claims] == ["access", "refresh"] * 2
    renew(service, later_refresh)


def test_reused_refresh_token_revokes_the_session(service: Service) -> None:
    access, stolen = log_in(service)
    other_access, other_refresh = log_in(service)
    # The previous token is accepted for ten seconds; the one before it is not.
    later_access, later_refresh = renew(service, renew(service, stolen)[1])
    assert service.call("POST", "/refresh", stolen) == REUSED
    for token in (stolen, later_refresh):
        assert service.call("POST", "/refresh", token) == ENDED
    for token in (access, later_access):
        assert service.call("GET", "/me", token) == ENDED
    assert service.call("GET", "/me", other_access).status == 200
    renew(service, other_refresh)


def test_access_and_refresh_token_are_not_interchangeable(service: Service) -> None:
    access, refresh = log_in(service)
    only_access = (422, {"msg": "Only access tokens are allowed"})
    assert service.call("GET", "/me", refresh) == only_access
    only_refresh = (422, {"msg": "Only refresh tokens are allowed"})
    assert service.call("POST", "/refresh", access) == only_refresh
    # Neither mistake counts as reuse.
    renew(service, refresh)


def test_expired_or_forged_refresh_token_is_rejected_and_revokes_no_session(
    service: Service,
) -> None:
    _, refresh = log_in(service)
    expired = altered(refresh, exp=LONG_AGO, jti="another")
    assert service.call("POST", "/refresh", expired) == (401, {"msg": "Token has expired"})
    claims = {**decoded(refresh), "jti": "another"}
    forged = jwt.encode(claims, SECRET.upper(), algorithm="HS256")
    answer = service.call("POST", "/refresh", forged)
    assert answer == (422, {"msg": "Signature verification failed"})
    renew(service, refresh)


def test_lost_response_to_a_refresh_does_not_log_out(service: Service) -> None:
    _, refresh = log_in(service)
    first, again = renew(service, refresh), renew(service, refresh)
    for access, later in (first, again):
        assert service.call("GET", "/me", access).status == 200
        renew(service, later)


def test_tokens_without_a_session_are_valid_until_they_are_refreshed(
    service: Service,
) -> None:
    access, refresh = (
        jwt.encode({n: v for n, v in decoded(token).items() if n not in ("sid", "gen")}, SECRET)
        for token in log_in(service)
    )
    assert service.call("GET", "/me", access).status == 200
    answer = service.call("POST", "/refresh", refresh)
    assert answer == (422, {"msg": "Missing or invalid claim: sid"})


def test_logout_revokes_all_tokens_of_one_session(service: Service) -> None:
    access, refresh = log_in(service)
    other_access, other_refresh = log_in(service)
    later_access, later_refresh = renew(service, refresh)
    assert service.call("POST", "/logout", later_access) == (200, {"msg": "Logged out"})
    for token in (access, later_access):
        assert service.call("GET", "/me", token) == ENDED
    assert service.call("POST", "/refresh", later_refresh) == ENDED
    assert service.call("GET", "/me", other_access).status == 200
    renew(service, other_refresh)


# --- fresh tokens --------------------------------------------------------------------------------


def test_login_is_fresh_for_five_minutes(service: Service) -> None:
    access, _ = log_in(service)
    claims = decoded(access)
    assert claims["fresh"] - claims["iat"] == pytest.approx(300, abs=1)
    for password in ("short", "\ud800" * 8):
        answer = service.call("PUT", "/password", access, {"password": password})
        assert answer == (400, {"msg": "The password must have at least 8 printable characters"})
    stale = altered(access, fresh=LONG_AGO)
    assert service.call("GET", "/me", stale).status == 200
    assert service.call("PUT", "/password", stale, {"password": "looking-glass"}) == NOT_FRESH


def test_refreshed_access_token_is_not_fresh(service: Service) -> None:
    later, _ = renew(service, log_in(service)[1])
    assert decoded(later)["fresh"] is False
    assert service.call("PUT", "/password", later, {"password": "looking-glass"}) == NOT_FRESH


def test_confirmation_of_the_password_creates_a_fresh_token_of_the_session(
    service: Service,
) -> None:
    later, refresh = renew(service, log_in(service)[1])
    answer = service.call("POST", "/confirm", refresh, {"password": "wonderland"})
    assert answer.status == 200
    fresh, refresh = answer.body["access_token"], answer.body["refresh_token"]
    assert decoded(fresh)["sid"] == decoded(later)["sid"]
    assert decoded(fresh)["fresh"] > time.time() + 200

    answer = service.call("PUT", "/password", fresh, {"password": "looking-glass"})
    assert answer == (200, {"msg": "Password changed"})
    assert service.call("POST", "/login", body=ALICE).status == 401
    renew(service, refresh)
    changed, _ = log_in(service, {**ALICE, "password": "looking-glass"})
    answer = service.call("PUT", "/password", changed, {"password": "wonderland"})
    assert answer.status == 200


def test_new_password_revokes_all_other_sessions_of_the_user(service: Service) -> None:
    access, refresh = log_in(service)
    other_access, other_refresh = log_in(service)
    # The new password may be the same as the old one.
    answer = service.call("PUT", "/password", access, {"password": "wonderland"})
    assert answer.status == 200
    assert service.call("GET", "/me", other_access) == ENDED
    assert service.call("POST", "/refresh", other_refresh) == ENDED
    assert service.call("GET", "/me", access).status == 200
    renew(service, refresh)


@pytest.mark.parametrize(
    "body",
    [{"password": "x"}, {"password": "\ud800"}, {"password": None}, {}, [], None],
    ids=str,
)
def test_confirmation_without_the_password_is_rejected(service: Service, body: Any) -> None:
    _, refresh = log_in(service)
    answer = service.call("POST", "/confirm", refresh, body)
    assert answer == (401, {"msg": "Wrong password"})


@pytest.mark.parametrize(
    "body",
    [
        {"username": "alice", "password": "x"},
        {"username": "alice", "password": "\ud800"},
        {"username": "bob"},
        [],
        None,
    ],
    ids=str,
)
def test_wrong_login_is_rejected(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/refresh"),
        ("POST", "/confirm"),
        ("PUT", "/password"),
        ("POST", "/logout"),
        ("GET", "/me"),
    ],
)
def test_request_without_a_token_is_rejected(service: Service, method: str, path: str) -> None:
    assert service.call(method, path).status == 401
