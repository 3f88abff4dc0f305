"""examples/roles_and_scopes.py, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from support import access_claims
from support.example_process import Answer, Service, running

SECRET = "a key for the example with roles, of 32 bytes and more"
ALICE = {"username": "alice", "password": "wonderland"}
BOB = {"username": "bob", "password": "the-builder"}

NO_SCOPE = (403, {"msg": "Insufficient scope"})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("roles_and_scopes")
    with running("roles_and_scopes:app", directory, JWT_SECRET_KEY=SECRET) as service:
        yield service


def log_in(service: Service, credentials: dict[str, str], **scope: Any) -> Answer:
    answer = service.call("POST", "/login", body={**credentials, **scope})
    assert answer.status == 200, answer
    return answer


def signed(**changes: Any) -> str:
    """A token of the service's own key, with claims of our choice."""
    return jwt.encode(access_claims(**changes), SECRET, algorithm="HS256")


# --- login ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "role", "scope"),
    [(ALICE, "editor", "articles:read articles:write"), (BOB, "reader", "articles:read")],
    ids=["alice", "bob"],
)
def test_login_gives_the_role_and_its_scopes(
    service: Service, credentials: dict[str, str], role: str, scope: str
) -> None:
    answer = log_in(service, credentials)
    claims = jwt.decode(answer.body["access_token"], SECRET, algorithms=["HS256"])
    assert claims["identity"] == credentials["username"]
    assert claims["user_claims"] == {"role": role}
    assert claims["scope"] == answer.body["scope"] == scope


@pytest.mark.parametrize(
    ("asked_for", "given"),
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
def test_login_gives_no_scope_that_the_role_lacks_or_nobody_asked_for(
    service: Service, asked_for: Any, given: str
) -> None:
    answer = log_in(service, BOB, scope=asked_for)
    claims = jwt.decode(answer.body["access_token"], SECRET, algorithms=["HS256"])
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
def test_wrong_login_is_refused(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})


# --- scopes --------------------------------------------------------------------------------------


def test_token_with_both_scopes_reads_and_writes(service: Service) -> None:
    token = log_in(service, ALICE).body["access_token"]
    title = f"Written at {time.monotonic_ns()}"
    answer = service.call("POST", "/articles", token, {"title": title})
    assert (answer.status, answer.body[-1]) == (201, title)
    assert service.call("GET", "/articles", token) == (200, answer.body)
    answer = service.call("POST", "/articles", token, {"title": 1})
    assert answer == (400, {"msg": "Send a title"})


@pytest.mark.parametrize("credentials", [ALICE, BOB], ids=["alice", "bob"])
def test_token_with_one_scope_reads_only(service: Service, credentials: dict[str, str]) -> None:
    token = log_in(service, credentials, scope="articles:read").body["access_token"]
    before = service.call("GET", "/articles", token)
    assert before.status == 200
    refusal = service.call("POST", "/articles", token, {"title": "mine"})
    assert refusal == NO_SCOPE
    assert refusal.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="articles:read articles:write"'
    )
    assert service.call("GET", "/articles", token) == before


def test_token_without_scopes_is_refused(service: Service) -> None:
    assert service.call("GET", "/articles", signed()) == NO_SCOPE
    assert service.call("GET", "/articles", signed(scope="articles:read-not")) == NO_SCOPE
    assert service.call("GET", "/articles", signed(scope="articles:read")).status == 200


# --- roles ---------------------------------------------------------------------------------------


def test_newsroom_is_for_editors(service: Service) -> None:
    token = log_in(service, ALICE, scope="").body["access_token"]
    assert service.call("GET", "/newsroom", token) == (200, {"msg": "Good morning, alice"})
    token = log_in(service, BOB).body["access_token"]
    assert service.call("GET", "/newsroom", token) == (403, {"msg": "Only for: editor, admin"})


@pytest.mark.parametrize(
    ("user_claims", "status"),
    [
        ({"role": "admin"}, 200),
        ({"role": "Admin"}, 403),
        ({"role": ["admin"]}, 403),
        ({"role": None}, 403),
        ({}, 403),
        (..., 403),
    ],
    ids=str,
)
def test_role_must_be_one_of_those_named(service: Service, user_claims: Any, status: int) -> None:
    token = signed(user_claims=user_claims)
    assert service.call("GET", "/newsroom", token).status == status


@pytest.mark.parametrize("path", ["/articles", "/newsroom"])
def test_missing_expired_or_forged_token_is_refused_alike(service: Service, path: str) -> None:
    claims = access_claims(scope="articles:read", user_claims={"role": "admin"})
    assert service.call("GET", path) == (401, {"msg": "Missing Authorization Header"})
    expired = signed(**{**claims, "exp": int(time.time()) - 1})
    assert service.call("GET", path, expired) == (401, {"msg": "Token has expired"})
    forged = jwt.encode(claims, SECRET.upper(), algorithm="HS256")
    assert service.call("GET", path, forged) == (422, {"msg": "Signature verification failed"})
