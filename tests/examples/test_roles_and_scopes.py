"""Test examples/roles_and_scopes.py over real HTTP."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from support import LONG_AGO
from support.example_process import ALICE, SECRET, Service, decoded, example_claims, log_in, signed

APPLICATION = "roles_and_scopes:app"

BOB = {"username": "bob", "password": "the-builder"}

NO_SCOPE = (403, {"msg": "Insufficient scope"})


# --- login ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "role", "scope"),
    [(ALICE, "editor", "articles:read articles:write"), (BOB, "reader", "articles:read")],
    ids=["alice", "bob"],
)
def test_login_gives_the_role_and_its_scopes(
    service: Service, credentials: dict[str, str], role: str, scope: str
) -> None:
    answer = service.call("POST", "/login", body=credentials)
    claims = decoded(answer.body["access_token"])
    assert (claims["sub"], claims["role"]) == (credentials["username"], role)
    assert claims["scope"] == answer.body["scope"] == scope


@pytest.mark.parametrize(
    ("requested", "given"),
    [
        ("articles:read", "articles:read"),
        ("articles:write articles:delete", ""),
        ("articles:read articles:write articles:delete", "articles:read"),
        ("", ""),
        (None, ""),
        (["articles:read"], ""),
    ],
    ids=str,
)
def test_login_gives_only_requested_scopes_that_the_role_has(
    service: Service, requested: Any, given: str
) -> None:
    answer = service.call("POST", "/login", body={**BOB, "scope": requested})
    claims = decoded(answer.body["access_token"])
    assert claims["scope"] == answer.body["scope"] == given


@pytest.mark.parametrize(
    "body",
    [
        {**ALICE, "password": "x"},
        {**ALICE, "password": "\ud800"},
        {"username": "carol", "password": "x"},
        ALICE["username"],
        None,
    ],
    ids=str,
)
def test_wrong_login_is_rejected(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})


# --- scopes --------------------------------------------------------------------------------------


def test_token_with_both_scopes_reads_and_writes(service: Service) -> None:
    token = log_in(service, ALICE).access
    title = f"Written at {time.monotonic_ns()}"
    answer = service.call("POST", "/articles", token, {"title": title})
    assert (answer.status, answer.body[-1]) == (201, title)
    assert service.call("GET", "/articles", token) == (200, answer.body)
    answer = service.call("POST", "/articles", token, {"title": 1})
    assert answer == (400, {"msg": "Send a JSON object with this string: title"})


@pytest.mark.parametrize("credentials", [ALICE, BOB], ids=["alice", "bob"])
def test_token_with_one_scope_reads_only(service: Service, credentials: dict[str, str]) -> None:
    token = log_in(service, {**credentials, "scope": "articles:read"}).access
    before = service.call("GET", "/articles", token)
    assert before.status == 200
    rejected = service.call("POST", "/articles", token, {"title": "mine"})
    assert rejected == NO_SCOPE
    assert rejected.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="articles:read articles:write"'
    )
    assert service.call("GET", "/articles", token) == before


def test_token_without_scopes_is_rejected(service: Service) -> None:
    assert service.call("GET", "/articles", signed()) == NO_SCOPE
    assert service.call("GET", "/articles", signed(scope="articles:read-not")) == NO_SCOPE
    assert service.call("GET", "/articles", signed(scope="articles:read")).status == 200


# --- roles ---------------------------------------------------------------------------------------


def test_newsroom_is_for_editors(service: Service) -> None:
    token = log_in(service, {**ALICE, "scope": ""}).access
    assert service.call("GET", "/newsroom", token) == (200, {"msg": "Good morning, alice"})
    token = log_in(service, BOB).access
    assert service.call("GET", "/newsroom", token) == (
        403,
        {"msg": "Requires one of these roles: editor, admin"},
    )


@pytest.mark.parametrize(
    ("role", "status"),
    [("admin", 200), ("Admin", 403), (["admin"], 403), ({}, 403), (None, 403), (..., 403)],
    ids=str,
)
def test_role_must_be_one_of_the_required_ones(service: Service, role: Any, status: int) -> None:
    token = signed(role=role)
    assert service.call("GET", "/newsroom", token).status == status


@pytest.mark.parametrize("path", ["/articles", "/newsroom"])
def test_missing_expired_or_forged_token_is_rejected(service: Service, path: str) -> None:
    claims = example_claims(scope="articles:read", role="admin")
    assert service.call("GET", path).status == 401
    expired = signed(**{**claims, "exp": LONG_AGO})
    assert service.call("GET", path, expired) == (401, {"msg": "Token has expired"})
    forged = jwt.encode(claims, SECRET.upper(), algorithm="HS256")
    assert service.call("GET", path, forged) == (422, {"msg": "Signature verification failed"})
