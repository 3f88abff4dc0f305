"""The quickstart example, as a process of its own, over real HTTP."""

from __future__ import annotations

import http.client
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "quickstart.py"
SECRET = "a key for the quickstart, from the environment, of 32 bytes and more"
ALICE = {"username": "alice", "password": "wonderland"}

# Seconds; ample for a slow machine, so that nothing here waits without an end.
START_LIMIT = 60
STOP_LIMIT = 20
CALL_LIMIT = 20

# A test machine need not have curl. This takes the options that the printed lines use, fails on
# any other, and notes the status of each answer.
CURL = f"""\
#!{sys.executable}
import argparse, http.client, os, sys, urllib.parse
parser = argparse.ArgumentParser()
parser.add_argument("-s", action="store_true")
parser.add_argument("-X", dest="method")
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("-d", dest="body")
parser.add_argument("url")
options = parser.parse_args()
url = urllib.parse.urlsplit(options.url)
headers = dict(line.split(": ", 1) for line in options.headers)
method = options.method or ("GET" if options.body is None else "POST")
connection = http.client.HTTPConnection(url.netloc, timeout={CALL_LIMIT})
connection.request(method, url.path, options.body, headers)
response = connection.getresponse()
sys.stdout.write(response.read().decode())
connection.close()
with open(os.environ["CURL_LOG"], "a") as log:
    print(method, url.path, response.status, file=log)
"""


class Answer(NamedTuple):
    status: int
    body: Any


class Service(NamedTuple):
    """A running quickstart."""

    process: subprocess.Popen[bytes]
    port: int
    printed: str

    def call(self, method: str, path: str, token: str = "", body: Any = None) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_LIMIT)
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def log_in(self) -> tuple[str, str]:
        """A new access token and a new refresh token."""
        answer = self.call("POST", "/login", body=ALICE)
        assert answer.status == 200, answer
        return answer.body["access_token"], answer.body["refresh_token"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(**changes: str) -> dict[str, str]:
    """Ours, without what would configure the quickstart; warnings of the example are errors."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PORT", "JWT_SECRET_KEY")}
    return {**inherited, "PYTHONWARNINGS": "error", **changes}


@contextmanager
def running(directory: Path, **variables: str) -> Iterator[Service]:
    """Start the quickstart on a free port, wait until it answers, and stop it in any case."""
    port = free_port()
    output = directory / f"quickstart-{port}.out"
    errors = directory / f"quickstart-{port}.err"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLE)],
            cwd=directory,
            env=environment(PORT=str(port), **variables),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        deadline = time.monotonic() + START_LIMIT
        while True:
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, errors.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=CALL_LIMIT).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield Service(process, port, output.read_text())
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_LIMIT)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("quickstart"), JWT_SECRET_KEY=SECRET) as service:
        yield service


# --- login ---------------------------------------------------------------------------------------


def test_right_password_gives_a_fresh_access_token_and_a_refresh_token(service: Service) -> None:
    access, refresh = service.log_in()
    claims = [jwt.decode(token, SECRET, algorithms=["HS256"]) for token in (access, refresh)]
    assert [(c["identity"], c["type"], c.get("fresh")) for c in claims] == [
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
    ],
    ids=str,
)
def test_login_without_two_strings_is_a_bad_request(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    message = "Send a JSON object with these strings: username, password"
    assert answer == (400, {"msg": message})


# --- access, refresh, fresh ----------------------------------------------------------------------


def test_access_token_opens_the_protected_view(service: Service) -> None:
    access, _ = service.log_in()
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
        ("POST", "/logout/refresh"),
    ],
)
def test_no_token_is_refused_by_every_protected_view(
    service: Service, method: str, path: str
) -> None:
    assert service.call(method, path) == (401, {"msg": "Missing Authorization Header"})


def test_altered_access_token_is_refused(service: Service) -> None:
    access, _ = service.log_in()
    head, _, signature = access.rpartition(".")
    altered = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    answer = service.call("GET", "/me", altered)
    assert answer == (422, {"msg": "Signature verification failed"})


def test_tokens_do_not_serve_in_each_others_place(service: Service) -> None:
    access, refresh = service.log_in()
    only_access = (422, {"msg": "Only access tokens are allowed"})
    only_refresh = (422, {"msg": "Only refresh tokens are allowed"})
    assert service.call("GET", "/me", refresh) == only_access
    assert service.call("POST", "/logout", refresh) == only_access
    assert service.call("POST", "/refresh", access) == only_refresh
    assert service.call("POST", "/logout/refresh", access) == only_refresh


def test_refreshed_access_token_is_good_but_not_fresh(service: Service) -> None:
    _, refresh = service.log_in()
    answer = service.call("POST", "/refresh", refresh)
    assert answer.status == 200
    later = answer.body["access_token"]
    assert service.call("GET", "/me", later).status == 200
    answer = service.call("PUT", "/email", later, {"email": "mallory@example.com"})
    assert answer == (401, {"msg": "Fresh token required"})


def test_fresh_access_token_changes_the_email(service: Service) -> None:
    access, _ = service.log_in()
    email = f"alice.{time.monotonic_ns()}@example.com"
    assert service.call("PUT", "/email", access, {"email": email}) == (200, {"email": email})
    assert service.call("GET", "/me", access) == (200, {"username": "alice", "email": email})


def test_fresh_view_without_its_field_is_a_bad_request_that_changes_nothing(
    service: Service,
) -> None:
    access, _ = service.log_in()
    before = service.call("GET", "/me", access)
    answer = service.call("PUT", "/email", access, {"email": 1})
    assert answer == (400, {"msg": "Send a JSON object with these strings: email"})
    assert service.call("GET", "/me", access) == before


# --- logout --------------------------------------------------------------------------------------


def test_logout_revokes_the_access_token_and_no_other(service: Service) -> None:
    access, refresh = service.log_in()
    other_access, _ = service.log_in()
    assert service.call("POST", "/logout", access) == (200, {"msg": "Access token revoked"})
    revoked = (401, {"msg": "Token has been revoked"})
    assert service.call("GET", "/me", access) == revoked
    assert service.call("PUT", "/email", access, {"email": "x@example.com"}) == revoked
    assert service.call("POST", "/logout", access) == revoked
    assert service.call("GET", "/me", other_access).status == 200
    assert service.call("POST", "/refresh", refresh).status == 200


def test_refresh_logout_revokes_the_refresh_token_and_no_other(service: Service) -> None:
    access, refresh = service.log_in()
    _, other_refresh = service.log_in()
    answer = service.call("POST", "/logout/refresh", refresh)
    assert answer == (200, {"msg": "Refresh token revoked"})
    revoked = (401, {"msg": "Token has been revoked"})
    assert service.call("POST", "/refresh", refresh) == revoked
    assert service.call("POST", "/logout/refresh", refresh) == revoked
    assert service.call("GET", "/me", access).status == 200
    assert service.call("POST", "/refresh", other_refresh).status == 200


@pytest.fixture
def blacklist() -> Any:
    return runpy.run_path(str(EXAMPLE), run_name="quickstart")["Blacklist"]()


def test_blacklist_drops_a_jti_once_its_token_has_expired(
    blacklist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1_000_000_000
    monkeypatch.setattr(time, "time", lambda: moment)
    blacklist.add({"jti": "long", "exp": moment + 20})
    blacklist.add({"jti": "short", "exp": moment + 10})
    moment += 9
    blacklist.add({"jti": "next", "exp": moment + 100})
    assert [jti in blacklist for jti in ("long", "short", "next")] == [True, True, True]
    moment += 1
    blacklist.add({"jti": "last", "exp": moment + 100})
    assert [jti in blacklist for jti in ("long", "short", "next")] == [True, False, True]


def test_blacklist_keeps_a_token_without_expiry_for_ever(
    blacklist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    blacklist.add({"jti": "eternal"})
    monkeypatch.setattr(time, "time", lambda: 1e18)
    blacklist.add({"jti": "other", "exp": 1})
    assert "eternal" in blacklist


# --- what it prints ------------------------------------------------------------------------------


def test_printed_lines_do_what_their_comments_say(service: Service, tmp_path: Path) -> None:
    curl = tmp_path / "curl"
    curl.write_text(CURL)
    curl.chmod(0o755)
    lines = service.printed.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("# "))
    done = subprocess.run(
        ["/bin/sh", "-e", "-u"],
        input="\n".join(lines[first:]),
        env=environment(
            PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", CURL_LOG=str(tmp_path / "log")
        ),
        capture_output=True,
        text=True,
        timeout=CALL_LIMIT * 3,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "log").read_text().splitlines() == [
        "POST /login 200",
        "GET /me 200",
        "PUT /email 200",
        "POST /refresh 200",
        "PUT /email 401",
        "POST /logout 200",
        "POST /logout/refresh 200",
        "GET /me 401",
        "POST /refresh 401",
    ]
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert messages[1:] == [
        {"email": "alice@example.org"},
        {"msg": "Fresh token required"},
        {"msg": "Access token revoked"},
        {"msg": "Refresh token revoked"},
        {"msg": "Token has been revoked"},
        {"msg": "Token has been revoked"},
    ]


def test_configured_key_is_used_and_not_printed(service: Service) -> None:
    assert "JWT_SECRET_KEY from the environment" in service.printed
    assert SECRET not in service.printed


# --- start and stop ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_start_without_a_key_makes_one_and_a_signal_ends_it_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path) as service:
        assert "JWT_SECRET_KEY is not set: a key was made for this run" in service.printed
        access, _ = service.log_in()
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(access, SECRET, algorithms=["HS256"])
        assert service.call("GET", "/me", access).status == 200
        service.process.send_signal(number)
        assert service.process.wait(STOP_LIMIT) == 0
    (errors,) = tmp_path.glob("*.err")
    assert "Traceback" not in errors.read_text()


@pytest.mark.parametrize(
    ("port", "message"), [("taken", "Choose another port"), ("http", "PORT must be a number")]
)
def test_unusable_port_ends_with_a_message_and_no_traceback(
    service: Service, port: str, message: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env=environment(PORT=str(service.port) if port == "taken" else port),
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
