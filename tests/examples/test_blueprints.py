"""Test examples/blueprints, a package with an application factory, over real HTTP."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from support import LONG_AGO, bearer
from support.example_process import (
    ALICE,
    EXAMPLES,
    SECRET,
    START_LIMIT,
    Service,
    decoded,
    environment,
    example_claims,
    log_in,
    signed,
)

APPLICATION = "blueprints:create_app()"


BOB = {"username": "bob", "password": "the-builder"}
CAROL = {"username": "carol", "password": "christmas"}

NO_SCOPE = (403, {"msg": "Insufficient scope"})

ROUTES = """\
/auth/login          POST    auth.login               exempt
/account/            GET     account.show             access token
/account/password    PUT     account.change_password  fresh access token
/admin/users         GET     admin.list_users         access token, scopes: admin
/admin/users/<name>  DELETE  admin.delete_user        access token, scopes: admin
/auth/refresh        POST    auth.refresh             refresh token
"""


# --- auth ----------------------------------------------------------------------------------------


def test_login_is_open_and_gives_scopes_to_admins_only(service: Service) -> None:
    access, refresh = log_in(service, ALICE, "/auth/login")
    claims = decoded(access)
    assert (claims["sub"], claims["scope"], claims["fresh"]) == ("alice", "admin", True)
    assert decoded(refresh)["type"] == "refresh"
    access, _ = log_in(service, BOB, "/auth/login")
    assert decoded(access)["sub"] == "bob"
    assert "scope" not in decoded(access)


@pytest.mark.parametrize(
    "body",
    [
        {"username": "alice", "password": "x"},
        {"username": "alice", "password": "\ud800"},
        {"username": "dave"},
        [],
        None,
    ],
    ids=str,
)
def test_wrong_login_is_rejected(service: Service, body: Any) -> None:
    answer = service.call("POST", "/auth/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})


def test_refresh_in_the_protected_blueprint_requires_a_refresh_token(
    service: Service,
) -> None:
    access, refresh = log_in(service, ALICE, "/auth/login")
    only_refresh = (422, {"msg": "Only refresh tokens are allowed"})
    assert service.call("POST", "/auth/refresh", access) == only_refresh
    answer = service.call("POST", "/auth/refresh", refresh)
    assert answer.status == 200
    claims = decoded(answer.body["access_token"])
    assert (claims["sub"], claims["scope"], claims["fresh"]) == ("alice", "admin", False)


# --- protected blueprints ------------------------------------------------------------------------

PROTECTED = [
    ("POST", "/auth/refresh"),
    ("GET", "/account/"),
    ("PUT", "/account/password"),
    ("GET", "/admin/users"),
    ("DELETE", "/admin/users/bob"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_request_without_a_token_is_rejected(service: Service, method: str, path: str) -> None:
    assert service.call(method, path).status == 401


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_expired_or_forged_token_is_rejected(service: Service, method: str, path: str) -> None:
    # An expired token is only reported as expired if its type is correct.
    kind = {"type": "refresh", "fresh": ...} if path == "/auth/refresh" else {}
    expired = signed(exp=LONG_AGO, scope="admin", **kind)
    assert service.call(method, path, expired) == (401, {"msg": "Token has expired"})
    forged = jwt.encode(example_claims(scope="admin"), SECRET.upper(), algorithm="HS256")
    answer = service.call(method, path, forged)
    assert answer == (422, {"msg": "Signature verification failed"})


def test_route_that_does_not_exist_stays_absent(service: Service) -> None:
    assert service.call("GET", "/admin/nothing").status == 404
    assert service.call("PATCH", "/admin/users").status == 405


def test_account_shows_the_user_of_the_token(service: Service) -> None:
    access, _ = log_in(service, BOB, "/auth/login")
    answer = service.call("GET", "/account/", access)
    assert answer == (200, {"username": "bob", "is_admin": False})


def test_password_is_changed_with_a_fresh_token_only(service: Service) -> None:
    access, refresh = log_in(service, BOB, "/auth/login")
    later = service.call("POST", "/auth/refresh", refresh).body["access_token"]
    answer = service.call("PUT", "/account/password", later, {"password": "demolisher"})
    assert answer == (401, {"msg": "Fresh token required"})
    for password in ("short", "\ud800" * 8):
        answer = service.call("PUT", "/account/password", access, {"password": password})
        assert answer == (400, {"msg": "The password must have at least 8 printable characters"})
    answer = service.call("PUT", "/account/password", access, {"password": "demolisher"})
    assert answer == (200, {"msg": "Password changed"})
    assert service.call("POST", "/auth/login", body=BOB).status == 401
    access, _ = log_in(service, {**BOB, "password": "demolisher"}, "/auth/login")
    answer = service.call("PUT", "/account/password", access, {"password": BOB["password"]})
    assert answer.status == 200


def test_admin_views_are_for_admins(service: Service) -> None:
    bob, _ = log_in(service, BOB, "/auth/login")
    answer = service.call("GET", "/admin/users", bob)
    assert answer == NO_SCOPE
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    assert service.call("DELETE", "/admin/users/alice", bob) == NO_SCOPE

    alice, _ = log_in(service, ALICE, "/auth/login")
    status, users = service.call("GET", "/admin/users", alice)
    assert (status, users[:2]) == (200, ["alice", "bob"])
    assert service.call("DELETE", "/admin/users/alice", alice).status == 409
    assert service.call("DELETE", "/admin/users/mallory", alice).status == 404


def test_tokens_of_a_deleted_user_are_rejected(service: Service) -> None:
    access, refresh = log_in(service, CAROL, "/auth/login")
    alice, _ = log_in(service, ALICE, "/auth/login")
    answer = service.call("DELETE", "/admin/users/carol", alice)
    assert answer == (200, {"msg": "Deleted carol"})
    gone = (401, {"msg": "Error loading the user carol"})
    assert service.call("GET", "/account/", access) == gone
    assert service.call("POST", "/auth/refresh", refresh) == gone
    assert service.call("POST", "/auth/login", body=CAROL).status == 401


# --- the factory ---------------------------------------------------------------------------------


def test_command_lists_the_routes_with_the_open_ones_first(tmp_path: Path) -> None:
    app = str(EXAMPLES / "blueprints")
    done = subprocess.run(
        [sys.executable, "-m", "quart", "--app", app, "jwt", "routes"],
        cwd=tmp_path,
        env=environment(JWT_SECRET_KEY=SECRET),
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ROUTES


async def test_every_call_of_the_factory_makes_an_app_with_a_configuration_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delenv("JWT_SECRET_KEY", raising=False)
    create_app = importlib.import_module("blueprints").create_app
    ours = create_app({"JWT_SECRET_KEY": SECRET})
    other = create_app({"JWT_SECRET_KEY": SECRET.upper()})
    headers = bearer(signed(sub="bob"))
    assert (await ours.test_client().get("/account/", headers=headers)).status_code == 200
    assert (await other.test_client().get("/account/", headers=headers)).status_code == 422
    with pytest.raises(KeyError, match="JWT_SECRET_KEY"):
        create_app()
