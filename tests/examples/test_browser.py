"""examples/cookies in a real browser, which decides what a page may read and what goes along.

The page of the example is at http://127.0.0.1 with a port. Pages of an attacker come from another
port of the same host, which for cookies is the same site, and from http://localhost, which is
another site. What they try is refused for different reasons, so each of them is tested.
"""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jwt
import pytest

from support.example_process import EXAMPLES, SECRET, Service, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

APPLICATION = "cookies/app:app"
VARIABLES = {"ACCESS_SECONDS": "600"}

# CI keeps this folder.
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

# Long enough for a request that follows a renewal at once, also on a slow machine.
SHORT_SECONDS = 5
LIMIT = 20_000  # milliseconds

ALL = {"access_token_cookie", "refresh_token_cookie", "csrf_access_token", "csrf_refresh_token"}
# The refresh token has a path of its own.
EVERYWHERE = ALL - {"refresh_token_cookie"}

# --- the servers ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The example with access tokens that expire soon."""
    directory = tmp_path_factory.mktemp("short")
    variables = {"JWT_SECRET_KEY": SECRET, "ACCESS_SECONDS": str(SHORT_SECONDS)}
    with running(APPLICATION, directory, **variables) as service:
        yield service


class ForeignPage(BaseHTTPRequestHandler):
    """A page of the attacker; the tests put into it what it does."""

    def do_GET(self) -> None:
        page = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Foreign</title>
            <link rel="icon" href="data:,"><h1>A page of somebody else</h1><output></output>"""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        """Not to the output of the tests."""


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), ForeignPage) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


# --- a window ------------------------------------------------------------------------------------


class Window(NamedTuple):
    """A page in a browser profile of its own, with what it has sent and written so far."""

    page: Page
    service: Service
    foreign_port: int
    requests: list[Request]
    console: list[str]

    @property
    def context(self) -> BrowserContext:
        return self.page.context

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    @property
    def cookies(self) -> dict[str, Any]:
        """All cookies of the service, with those that no script can read, by name."""
        urls = [self.origin, f"{self.origin}/token"]
        return {cookie["name"]: cookie for cookie in self.context.cookies(urls)}

    @property
    def notes(self) -> list[str]:
        return self.page.locator("#notes li").all_inner_texts()

    def open(self) -> None:
        self.page.goto(self.origin)

    def open_foreign(self, host: str) -> None:
        self.page.goto(f"http://{host}:{self.foreign_port}/")

    def log_in(self, password: str = "wonderland") -> None:
        self.open()
        self.page.fill("#username", "alice")
        self.page.fill("#password", password)
        self.page.click("#login")
        if password == "wonderland":
            self.page.wait_for_selector("#account")

    def sees(self, selector: str, text: str) -> None:
        """Wait until an element has this text."""
        # The policy of the page forbids what wait_for_function does.
        self.page.wait_for_selector(f"{selector}:text-is('{text}')")

    def fetch(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """What a request by a script of the page answers: status and JSON value."""
        return self.page.evaluate(
            """async ([url, method, body, headers]) => {
                if (body !== null) headers["Content-Type"] = "application/json";
                const text = body === null ? undefined : JSON.stringify(body);
                const response = await fetch(url, {method, headers, body: text});
                return [response.status, await response.json()];
            }""",
            [self.origin + path, method, body, headers],
        )

    def answers(self) -> list[tuple[str, str, int]]:
        """Method, path and status of what went to the service, in order."""
        found = []
        for request in self.requests:
            if request.url.startswith(f"{self.origin}/") and "/static/" not in request.url:
                response = request.response()
                status = 0 if response is None else response.status
                found.append((request.method, request.url.removeprefix(self.origin), status))
        return found

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


def new_window(browser: Browser, service: Service, foreign_port: int) -> Iterator[Window]:
    # A context keeps cookies of its own. To close it ends open WebSockets, without which the
    # server could not stop.
    context = browser.new_context(viewport={"width": 640, "height": 480})
    context.set_default_timeout(LIMIT)
    page = context.new_page()
    window = Window(page, service, foreign_port, [], [])
    faults: list[str] = []

    def keep_request(request: Request) -> None:
        window.requests.append(request)

    def keep_text(message: ConsoleMessage) -> None:
        window.console.append(message.text)

    page.on("request", keep_request)
    page.on("console", keep_text)
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        yield window
    finally:
        context.close()
    assert faults == []


@pytest.fixture
def window(browser: Browser, service: Service, foreign_port: int) -> Iterator[Window]:
    yield from new_window(browser, service, foreign_port)


@pytest.fixture
def short_window(browser: Browser, short_lived: Service, foreign_port: int) -> Iterator[Window]:
    yield from new_window(browser, short_lived, foreign_port)


def sent_cookies(request: Request) -> set[str]:
    """Names of the cookies that the browser has put into a request."""
    return set(SimpleCookie(request.all_headers().get("cookie", "")))


def expiry(token: str) -> int:
    payload = token.split(".")[1]
    return int(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])


OTHER_SITE = pytest.param("localhost", id="other site")
OTHER_PORT = pytest.param("127.0.0.1", id="same site, other port")


# --- login and logout ----------------------------------------------------------------------------


def test_login_sets_tokens_hidden_from_scripts_and_csrf_values_that_they_read(
    window: Window,
) -> None:
    window.open()
    assert window.page.is_visible("#login-form")
    assert window.cookies == {}
    window.screenshot("1-logged-out")
    window.log_in()
    assert window.page.inner_text("#user") == "alice"
    assert "Follow the rabbit" in window.notes
    window.screenshot("2-logged-in")

    cookies = window.cookies
    attributes = {
        name: (cookie["path"], cookie["httpOnly"], cookie["sameSite"])
        for name, cookie in cookies.items()
    }
    assert attributes == {
        "access_token_cookie": ("/", True, "Strict"),
        "refresh_token_cookie": ("/token", True, "Strict"),
        "csrf_access_token": ("/", False, "Strict"),
        "csrf_refresh_token": ("/", False, "Strict"),
    }
    readable = {
        name: cookies[name]["value"] for name in ("csrf_access_token", "csrf_refresh_token")
    }
    # A script below the path of the refresh token can read it no more than one of the page.
    for path in ("/", "/token/refresh"):
        window.page.goto(window.origin + path)
        written = window.page.evaluate("document.cookie")
        assert dict(pair.split("=", 1) for pair in written.split("; ")) == readable
        stored = window.page.evaluate("cookieStore.getAll()")
        assert {cookie["name"]: cookie["value"] for cookie in stored} == readable


def test_wrong_password_is_shown_and_sets_no_cookie(window: Window) -> None:
    window.log_in("looking-glass")
    window.sees("#message", "Wrong username or password")
    assert window.page.is_visible("#login-form")
    assert window.cookies == {}


def test_logout_removes_every_cookie_and_the_page_stays_logged_out(window: Window) -> None:
    window.log_in()
    assert set(window.cookies) == ALL
    window.page.click("#logout")
    window.sees("#message", "Logged out")
    assert window.context.cookies() == []
    assert window.page.evaluate("document.cookie") == ""
    window.open()
    window.page.wait_for_selector("#login-form")
    assert window.page.is_hidden("#account")
    assert window.fetch("GET", "/me") == [401, {"msg": 'Missing cookie "access_token_cookie"'}]


def test_logout_that_failed_says_so(window: Window) -> None:
    window.log_in()
    window.page.route("**/logout", lambda route: route.fulfill(status=503))
    window.page.click("#logout")
    window.sees("#message", "Something went wrong: you are still logged in")
    assert window.page.is_visible("#account")
    assert set(window.cookies) == ALL
    window.page.unroute("**/logout")
    window.page.click("#logout")
    window.sees("#message", "Logged out")


# --- CSRF and SameSite ---------------------------------------------------------------------------


def test_post_with_the_csrf_header_works_and_without_it_is_rejected(window: Window) -> None:
    window.log_in()
    window.page.fill("#note", "Through the page")
    window.page.click("#add-note")
    window.sees("#notes li", "Through the page")
    notes = window.notes
    assert notes[-1] == "Through the page"

    body = {"text": "By a script"}
    value = window.cookies["csrf_access_token"]["value"]
    refresh_value = window.cookies["csrf_refresh_token"]["value"]
    missing = [401, {"msg": "Missing CSRF token"}]
    wrong = [401, {"msg": "CSRF double submit tokens do not match"}]
    assert window.fetch("POST", "/notes", body) == missing
    assert window.fetch("POST", "/notes", body, **{"X-CSRF-TOKEN": refresh_value}) == wrong
    assert window.fetch("GET", "/me")[1]["notes"] == notes
    answer = window.fetch("POST", "/notes", body, **{"X-CSRF-TOKEN": value})
    assert answer == [201, {"notes": [*notes, "By a script"]}]


@pytest.mark.parametrize(
    ("path", "token"),
    [("/notes", "access"), ("/logout", "access"), ("/token/refresh", "refresh")],
)
@pytest.mark.parametrize("host", [OTHER_SITE, OTHER_PORT])
def test_form_of_another_origin_is_rejected_and_changes_nothing(
    window: Window, host: str, path: str, token: str
) -> None:
    window.log_in()
    cookies, notes = window.cookies, window.notes
    window.open_foreign(host)
    # Cookies do not keep ports apart. So a page of the other port may even know the CSRF value.
    known = window.page.evaluate("document.cookie")
    assert ("csrf_access_token" in known) == (host == "127.0.0.1")
    with window.page.expect_navigation(url=f"{window.origin}{path}"):
        window.page.evaluate(
            """([action, known]) => {
                const form = document.createElement("form");
                Object.assign(form, {method: "post", action});
                for (const [name, value] of [["csrf_token", known], ["text", "Forged"]]) {
                    form.append(Object.assign(document.createElement("input"), {name, value}));
                }
                document.body.append(form);
                form.submit();
            }""",
            [window.origin + path, cookies[f"csrf_{token}_token"]["value"]],
        )
    window.screenshot(f"4-refused-form-{host}{path.replace('/', '-')}")

    posted = [request for request in window.requests if request.method == "POST"][-1]
    assert (posted.url, posted.all_headers()["origin"]) == (
        window.origin + path,
        f"http://{host}:{window.foreign_port}",
    )
    if host == "localhost":
        assert sent_cookies(posted) == set()
        message = f'Missing cookie "{token}_token_cookie"'
    else:
        assert sent_cookies(posted) == (ALL if token == "refresh" else EVERYWHERE)
        message = "Missing CSRF token"
    assert window.answers()[-1] == ("POST", path, 401)
    assert json.loads(window.page.inner_text("pre")) == {"msg": message}
    assert window.cookies == cookies
    window.open()
    window.page.wait_for_selector("#account")
    assert window.notes == notes


@pytest.mark.parametrize("host", [OTHER_SITE, OTHER_PORT])
def test_script_of_another_origin_can_neither_read_nor_write(window: Window, host: str) -> None:
    window.log_in()
    cookies, notes = window.cookies, window.notes
    window.open_foreign(host)
    headers = {"X-CSRF-TOKEN": cookies["csrf_access_token"]["value"]}
    outcomes = window.page.evaluate(
        """async ([origin, headers]) => {
            const attempts = [
                ["/me", {}],
                ["/notes", {method: "POST", mode: "no-cors", body: '{"text": "Forged"}'}],
                ["/notes", {method: "POST", headers, body: '{"text": "Forged"}'}],
                ["/logout", {method: "POST", mode: "no-cors"}],
                ["/logout", {method: "POST", headers}],
            ];
            const outcomes = [];
            for (const [path, options] of attempts) {
                options.credentials = "include";
                try {
                    outcomes.push((await fetch(origin + path, options)).type);
                } catch (error) {
                    outcomes.push(error.name);
                }
            }
            document.querySelector("output").textContent = outcomes.join(", ");
            return outcomes;
        }""",
        [window.origin, headers],
    )
    # An opaque response tells its page nothing. The header takes a preflight, which fails.
    assert outcomes == ["TypeError", "opaque", "TypeError", "opaque", "TypeError"]
    window.screenshot(f"4-refused-script-{host}")
    assert window.cookies == cookies
    window.open()
    window.page.wait_for_selector("#account")
    assert window.notes == notes


def test_link_from_another_site_carries_no_cookies_and_from_the_same_site_all(
    window: Window,
) -> None:
    window.log_in()
    for host, status, cookies in [("localhost", 401, set()), ("127.0.0.1", 200, EVERYWHERE)]:
        window.open_foreign(host)
        with window.page.expect_navigation(url=f"{window.origin}/me"):
            window.page.evaluate("url => { location.href = url; }", f"{window.origin}/me")
        assert window.answers()[-1] == ("GET", "/me", status)
        assert sent_cookies(window.requests[-1]) == cookies


def test_refresh_cookie_goes_to_its_path_only(window: Window) -> None:
    window.log_in()
    window.context.clear_cookies(name="access_token_cookie")
    window.open()
    window.sees("#renewals", "1")
    window.page.wait_for_selector("#account")
    window.page.click("#connect")
    window.sees("#socket", "alice said: hello")
    window.page.click("#logout")
    window.sees("#message", "Logged out")
    carrying = [r.url for r in window.requests if "refresh_token_cookie" in sent_cookies(r)]
    assert carrying == [f"{window.origin}/token/refresh"]
    paths = {path for _, path, _ in window.answers()}
    assert paths == {"/", "/login", "/me", "/token/refresh", "/logout"}


# --- renewal -------------------------------------------------------------------------------------


def outlive(window: Window) -> None:
    """Wait until the access token has expired."""
    end = expiry(window.cookies["access_token_cookie"]["value"])
    while (left := end + 0.1 - time.time()) > 0:
        window.page.wait_for_timeout(left * 1000)


def test_expired_access_token_is_renewed_and_the_page_goes_on(short_window: Window) -> None:
    window = short_window
    window.log_in()
    old = window.cookies
    outlive(window)
    assert window.fetch("GET", "/me") == [401, {"msg": "Token has expired"}]
    renewals = int(window.page.inner_text("#renewals"))

    start = len(window.answers())
    window.page.fill("#note", "Written later")
    window.page.click("#add-note")
    window.sees("#notes li", "Written later")
    window.screenshot("3-renewed")
    assert window.answers()[start:] == [
        ("POST", "/notes", 401),
        ("POST", "/token/refresh", 200),
        ("POST", "/notes", 201),
    ]
    assert window.page.inner_text("#renewals") == str(renewals + 1)
    assert window.page.inner_text("#message") == ""
    new = window.cookies
    changed = {name for name in ALL if old[name]["value"] != new[name]["value"]}
    assert changed == ALL

    outlive(window)
    window.page.click("#connect")
    window.sees("#socket", "alice said: hello")
    assert window.page.inner_text("#renewals") == str(renewals + 2)


def test_expired_access_token_without_a_refresh_token_leads_to_the_login(
    short_window: Window,
) -> None:
    window = short_window
    window.log_in()
    window.context.clear_cookies(name="refresh_token_cookie")
    outlive(window)
    window.page.fill("#note", "Written too late")
    window.page.click("#add-note")
    window.sees("#message", "Please log in")
    assert window.page.is_visible("#login-form")
    assert window.page.is_hidden("#account")
    window.screenshot("4-refused-expired")
    window.log_in()
    assert "Written too late" not in window.notes


def test_tokens_of_an_older_key_lead_to_the_login(window: Window) -> None:
    window.log_in()
    for name in ("access_token_cookie", "refresh_token_cookie"):
        cookie = window.cookies[name]
        claims = jwt.decode(cookie["value"], options={"verify_signature": False})
        cookie["value"] = jwt.encode(claims, f"not {SECRET}", algorithm="HS256")
        window.context.add_cookies([cookie])
    assert window.fetch("GET", "/me") == [422, {"msg": "Signature verification failed"}]
    window.open()
    window.sees("#message", "Please log in")
    assert window.page.is_visible("#login-form")
    window.log_in()
    assert window.page.inner_text("#user") == "alice"


# --- the WebSocket -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, foreign_port: int) -> Iterator[Service]:
    """The example with the origins of the attacker allowed to open its WebSocket."""
    directory = tmp_path_factory.mktemp("trusting")
    origins = [f"http://{host}:{foreign_port}" for host in ("127.0.0.1", "localhost")]
    (directory / "trusting.py").write_text(
        f"""import sys
sys.path.insert(0, {str(EXAMPLES / "cookies")!r})
from app import app
app.config["JWT_WEBSOCKET_ORIGINS"] = {origins!r}
"""
    )
    application = str(directory / "trusting:app")
    with running(application, directory, JWT_SECRET_KEY=SECRET) as service:
        yield service


@pytest.fixture
def trusting_window(browser: Browser, trusting: Service, foreign_port: int) -> Iterator[Window]:
    yield from new_window(browser, trusting, foreign_port)


def open_socket(window: Window) -> str:
    """What a script of the current page learns of a WebSocket: an answer, or that it failed."""
    outcome = window.page.evaluate(
        """url => new Promise((resolve) => {
            const show = (text) => {
                document.querySelector("output").textContent = text;
                resolve(text);
            };
            const socket = new WebSocket(url);
            socket.onopen = () => socket.send("hello");
            socket.onmessage = ({data}) => show(data);
            socket.onerror = () => show("refused");
        })""",
        f"ws://127.0.0.1:{window.service.port}/echo",
    )
    assert isinstance(outcome, str)
    return outcome


def test_websocket_of_the_page_works(window: Window) -> None:
    window.log_in()
    window.page.click("#connect")
    window.sees("#socket", "alice said: hello")
    assert json.loads(open_socket(window)) == {"username": "alice", "text": "hello"}


# What the browser writes to its console, which scripts cannot read, for 401 and for 403.
NO_TOKEN = "HTTP Authentication failed"
FORBIDDEN = "Unexpected response code: 403"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        pytest.param("localhost", NO_TOKEN, id="other site"),
        pytest.param("127.0.0.1", FORBIDDEN, id="same site, other port"),
    ],
)
def test_websocket_of_another_origin_is_rejected(window: Window, host: str, message: str) -> None:
    window.log_in()
    window.open_foreign(host)
    assert open_socket(window) == "refused"
    window.screenshot(f"4-refused-websocket-{host}")
    assert message in window.console[-1]


def test_websocket_of_an_allowed_origin_works_on_the_same_site_where_the_cookie_is_sent(
    trusting_window: Window,
) -> None:
    """So the origin alone is what keeps the other port away, and SameSite keeps other sites."""
    window = trusting_window
    window.log_in()
    window.open_foreign("127.0.0.1")
    assert json.loads(open_socket(window)) == {"username": "alice", "text": "hello"}
    window.open_foreign("localhost")
    assert open_socket(window) == "refused"
    assert NO_TOKEN in window.console[-1]
