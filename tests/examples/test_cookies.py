"""Test examples/cookies over real HTTP with a cookie jar. test_browser.py uses a browser."""

from __future__ import annotations

import asyncio
import json
import re
import time
from http.cookies import SimpleCookie
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from support import LONG_AGO
from support.example_process import (
    ALICE,
    CALL_LIMIT,
    EXAMPLES,
    Service,
    Session,
    altered,
    decoded,
)

APPLICATION = "cookies/app:app"
VARIABLES = {"ACCESS_SECONDS": "600"}


NO_CSRF = (401, {"msg": "Missing CSRF token"})
WRONG_CSRF = (401, {"msg": "CSRF double submit tokens do not match"})
ENDED = (401, {"msg": "Session has ended"})
NO_COOKIE = (401, {"msg": 'Missing cookie "access_token_cookie"'})

STATIC = EXAMPLES / "cookies" / "static"


def log_in(service: Service) -> Session:
    page = service.session()
    assert page.call("POST", "/login", body=ALICE) == (200, {"username": "alice"})
    return page


@pytest.fixture
def page(service: Service) -> Session:
    """A client that is logged in."""
    return log_in(service)


def csrf(page: Session, kind: str = "access") -> dict[str, str]:
    """Return the header that a script of the page sends."""
    return {"X-CSRF-TOKEN": str(page.cookies[f"csrf_{kind}_token"].value)}


def cookie_header(page: Session, **changes: str) -> dict[str, str]:
    """Return the cookies of every path in one header; ``changes`` replace cookies by name."""
    values = {name: str(cookie.value) for name, cookie in page.cookies.items()}
    return {"Cookie": "; ".join(f"{n}={v}" for n, v in {**values, **changes}.items())}


# --- login ---------------------------------------------------------------------------------------


def test_login_sets_tokens_that_scripts_cannot_read_and_csrf_values_that_they_can(
    service: Service,
) -> None:
    page = service.session()
    answer = page.call("POST", "/login", body=ALICE)
    lines = answer.headers.get_list("Set-Cookie")
    cookies = {name: morsel for line in lines for name, morsel in SimpleCookie(line).items()}
    attributes = {
        name: (morsel["path"], bool(morsel["httponly"]), morsel["samesite"], morsel["max-age"])
        for name, morsel in cookies.items()
    }
    assert attributes == {
        "access_token_cookie": ("/", True, "Strict", ""),
        "refresh_token_cookie": ("/token", True, "Strict", ""),
        "csrf_access_token": ("/", False, "Strict", ""),
        "csrf_refresh_token": ("/", False, "Strict", ""),
    }
    for kind, lifetime in [("access", 600), ("refresh", 30 * 24 * 3600)]:
        claims = decoded(cookies[f"{kind}_token_cookie"].value)
        assert (claims["type"], claims["sub"]) == (kind, "alice")
        assert claims["exp"] - claims["iat"] == lifetime
        assert claims["csrf"] == cookies[f"csrf_{kind}_token"].value
    assert "eyJ" not in json.dumps(answer.body)


@pytest.mark.parametrize(
    "body",
    [
        {**ALICE, "password": "x"},
        {**ALICE, "password": "\ud800"},
        {"username": "bob", "password": "x"},
        {},
        [],
        None,
    ],
    ids=str,
)
def test_wrong_login_is_rejected_and_sets_no_cookie(service: Service, body: Any) -> None:
    page = service.session()
    answer = page.call("POST", "/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})
    assert page.cookies == {}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"username=alice&password=wonderland"),
        ("text/plain", json.dumps(ALICE).encode()),
    ],
)
def test_login_with_a_form_that_any_site_could_send_is_rejected(
    service: Service, content_type: str, body: bytes
) -> None:
    page = service.session()
    answer = page.call("POST", "/login", body=body, headers={"Content-Type": content_type})
    assert answer.status == 401
    assert page.cookies == {}


# --- requests ------------------------------------------------------------------------------------


def test_cookie_opens_the_account(service: Service, page: Session) -> None:
    answer = page.call("GET", "/me")
    assert answer.status == 200
    assert answer.body["username"] == "alice"
    assert service.call("GET", "/me") == NO_COOKIE
    token = str(page.cookies["access_token_cookie"].value)
    assert service.call("GET", "/me", token) == NO_COOKIE


def test_post_requires_the_csrf_value_of_its_own_token_in_a_header(page: Session) -> None:
    text = f"Written at {time.monotonic_ns()}"
    before = page.call("GET", "/me").body["notes"]
    assert page.call("POST", "/notes", body={"text": text}) == NO_CSRF
    wrong = csrf(page, "refresh")
    assert page.call("POST", "/notes", body={"text": text}, headers=wrong) == WRONG_CSRF
    assert page.call("GET", "/me").body["notes"] == before
    answer = page.call("POST", "/notes", body={"text": text}, headers=csrf(page))
    assert answer == (201, {"notes": [*before, text]})
    answer = page.call("POST", "/notes", body={"text": 1}, headers=csrf(page))
    assert answer == (400, {"msg": "Send a JSON object with this string: text"})


def test_csrf_value_in_a_cookie_or_of_another_login_does_not_count(
    service: Service, page: Session
) -> None:
    """A neighboring site may plant cookies, and may have a login of its own."""
    planted = cookie_header(page, **{"X-CSRF-TOKEN": csrf(page)["X-CSRF-TOKEN"]})
    assert service.call("POST", "/notes", body={"text": "x"}, headers=planted) == NO_CSRF
    other = csrf(log_in(service))
    assert page.call("POST", "/notes", body={"text": "x"}, headers=other) == WRONG_CSRF


def test_refresh_cookie_stays_out_of_other_requests_and_opens_none(
    service: Service, page: Session
) -> None:
    refresh_token = str(page.cookies["refresh_token_cookie"].value)
    cookie = {"Cookie": f"refresh_token_cookie={refresh_token}"}
    assert service.call("GET", "/me", headers=cookie) == NO_COOKIE
    cookie = {"Cookie": f"access_token_cookie={refresh_token}"}
    only_access = (422, {"msg": "Only access tokens are allowed"})
    assert service.call("GET", "/me", headers=cookie) == only_access


# --- renewal and logout --------------------------------------------------------------------------


def test_refresh_renews_both_tokens_and_their_csrf_values(page: Session) -> None:
    old = {name: cookie.value for name, cookie in page.cookies.items()}
    assert page.call("POST", "/token/refresh") == NO_CSRF
    assert page.call("POST", "/token/refresh", headers=csrf(page)) == WRONG_CSRF
    answer = page.call("POST", "/token/refresh", headers=csrf(page, "refresh"))
    assert answer == (200, {"username": "alice"})
    new = {name: cookie.value for name, cookie in page.cookies.items()}
    changed = {name for name in old if old[name] != new[name]}
    assert changed == set(old)
    answer = page.call("POST", "/notes", body={"text": "renewed"}, headers=csrf(page))
    assert answer.status == 201
    stale = {"X-CSRF-TOKEN": str(old["csrf_access_token"])}
    assert page.call("POST", "/notes", body={"text": "x"}, headers=stale) == WRONG_CSRF


def test_expired_access_token_is_rejected_where_the_page_then_renews_it(
    service: Service, page: Session
) -> None:
    token = altered(str(page.cookies["access_token_cookie"].value), exp=LONG_AGO)
    headers = cookie_header(page, access_token_cookie=token)
    assert service.call("GET", "/me", headers=headers) == (401, {"msg": "Token has expired"})
    headers.update(csrf(page, "refresh"))
    assert service.call("POST", "/token/refresh", headers=headers).status == 200


def test_logout_requires_the_csrf_value_and_removes_session_and_cookies(
    service: Service, page: Session
) -> None:
    assert page.call("POST", "/logout") == NO_CSRF
    assert len(page.cookies) == 4
    copies = cookie_header(page)
    headers = {**copies, **csrf(page, "refresh")}
    assert page.call("POST", "/logout", headers=csrf(page)) == (200, {"msg": "Logged out"})
    assert page.cookies == {}
    assert page.call("GET", "/me") == NO_COOKIE
    assert service.call("GET", "/me", headers=copies) == ENDED
    assert service.call("POST", "/token/refresh", headers=headers) == ENDED


# --- the page ------------------------------------------------------------------------------------

FILES = {
    "/": ("index.html", "text/html"),
    "/static/app.js": ("app.js", "text/javascript"),
    "/static/style.css": ("style.css", "text/css"),
    "/static/icon.svg": ("icon.svg", "image/svg+xml"),
}


@pytest.mark.parametrize("path", FILES)
def test_file_of_the_page_comes_with_the_policy_and_without_secrets(
    service: Service, path: str
) -> None:
    name, content_type = FILES[path]
    answer = service.call("GET", path)
    assert answer == (200, (STATIC / name).read_text())
    assert answer.headers["Content-Type"].partition(";")[0] == content_type
    policy = "default-src 'self'; form-action 'none'; frame-ancestors 'none'"
    assert answer.headers["Content-Security-Policy"] == policy
    assert ALICE["password"] not in answer.body
    assert "eyJ" not in answer.body


def test_page_holds_nothing_that_the_policy_forbids_and_all_that_its_script_names() -> None:
    html = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", html) == []
    links = set(re.findall(r'(?:src|href)="([^"]+)"', html))
    assert links == set(FILES) - {"/"}
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    script = (STATIC / "app.js").read_text()
    used = set(re.findall(r'element\("([^"]+)"\)', script))
    used |= set(re.findall(r'^on\("\w+", "([^"]+)"', script, re.MULTILINE))
    assert len(used) > 10
    assert used <= set(ids)


# --- the WebSocket -------------------------------------------------------------------------------


OWN = "http://127.0.0.1:{port}"
FOREIGN = "The origin of the page may not open this WebSocket"


def open_socket(service: Service, headers: dict[str, str], origin: str) -> Any:
    """Open the WebSocket. ``{port}`` in the origin is the port of the service."""
    return connect(
        f"ws://127.0.0.1:{service.port}/echo",
        additional_headers=headers,
        origin=Origin(origin.replace("{port}", str(service.port))),
        open_timeout=CALL_LIMIT,
        close_timeout=CALL_LIMIT,
    )


@pytest.fixture(autouse=True)
def _direct_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, the client would use a proxy that the environment names."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


async def test_websocket_of_the_page_echoes(service: Service, page: Session) -> None:
    async with open_socket(service, cookie_header(page), OWN) as socket:
        for text in ("hello", "again"):
            await socket.send(text)
            answer = json.loads(await asyncio.wait_for(socket.recv(), CALL_LIMIT))
            assert answer == {"username": "alice", "text": text}


@pytest.mark.parametrize(
    ("changes", "origin", "status", "message"),
    [
        ({}, "http://localhost:{port}", 403, FOREIGN),
        ({}, "http://127.0.0.1:1", 403, FOREIGN),
        ({}, "null", 403, FOREIGN),
        ({"access_token_cookie": "{expired}"}, OWN, 401, "Token has expired"),
        ({"access_token_cookie": ""}, OWN, 401, 'Missing cookie "access_token_cookie"'),
    ],
    ids=["other host", "other port", "null origin", "expired", "no token"],
)
async def test_websocket_of_another_origin_or_without_a_valid_token_is_rejected(
    service: Service,
    page: Session,
    changes: dict[str, str],
    origin: str,
    status: int,
    message: str,
) -> None:
    token = altered(str(page.cookies["access_token_cookie"].value), exp=LONG_AGO)
    cookies = {name: value.format(expired=token) for name, value in changes.items()}
    headers = cookie_header(page, **cookies)
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(service, headers, origin):
            pass
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body) == {"msg": message}
