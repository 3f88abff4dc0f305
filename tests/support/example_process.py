"""Run an example, or another server, in a separate process, and call it over real HTTP."""

from __future__ import annotations

import http.cookiejar
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jwt

from support import access_claims, bearer, hs_token
from support.services import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"

# In seconds, and long enough for a slow machine. Nothing here waits without a limit.
START_LIMIT = 60
STOP_LIMIT = 20
CALL_LIMIT = 20

# The secret key and a user of the examples.
SECRET = "a key for the examples, from the environment, of 32 bytes and more"
ALICE = {"username": "alice", "password": "wonderland"}

# A replacement for curl, which a test machine may not have. It accepts only the options that the
# printed commands use, and logs the status of each response.
CURL = f"""\
#!{sys.executable}
import argparse, httpx, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("-s", action="store_true")
parser.add_argument("-X", dest="method")
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("-d", dest="body")
parser.add_argument("url")
options = parser.parse_args()
method = options.method or ("GET" if options.body is None else "POST")
headers = [tuple(line.split(": ", 1)) for line in options.headers]
with httpx.Client(headers=headers, timeout={CALL_LIMIT}, trust_env=False) as client:
    response = client.request(method, options.url, content=options.body)
sys.stdout.write(response.text)
with open(os.environ["CURL_LOG"], "a") as log:
    print(method, response.url.path, response.status_code, file=log)
"""


class _StatusAndBody(NamedTuple):
    status: int
    body: Any


class Answer(_StatusAndBody):
    """A response. It compares as the pair of status and body; the headers are an attribute.

    The body is the decoded JSON value, or text.
    """

    headers: httpx.Headers


class Session:
    """A client that stores cookies like a browser, except for SameSite and HttpOnly."""

    def __init__(self, service: Service) -> None:
        self._service = service
        # It keeps no connection open, so that it does not have to be closed.
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{service.port}",
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=CALL_LIMIT,
            trust_env=False,
            verify=False,
        )

    @property
    def cookies(self) -> dict[str, http.cookiejar.Cookie]:
        """The cookies by name, with attributes such as ``value``, ``path`` and ``expires``."""
        return {cookie.name: cookie for cookie in self._client.cookies.jar}

    def call(
        self,
        method: str,
        path: str,
        token: str = "",
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request, with bytes unchanged and any other body as JSON.

        An error of the server, or no response, fails the test with the error output of the process.
        """
        fields = {"Content-Type": "application/json"} if body is not None else {}
        fields.update({**(bearer(token) if token else {}), **(headers or {})})
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        try:
            response = self._client.request(method, path, content=content, headers=fields)
        except httpx.TransportError as error:
            raise AssertionError(self._service.errors) from error
        assert response.status_code != 500, self._service.errors
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        answer = Answer(
            response.status_code, response.json() if kind.endswith("json") else response.text
        )
        answer.headers = response.headers
        return answer


class Service(NamedTuple):
    """A running process that serves HTTP."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path
    error_output: Path

    @property
    def printed(self) -> str:
        """The standard output of the process so far."""
        return self.output.read_text()

    @property
    def errors(self) -> str:
        """The standard error of the process so far."""
        return self.error_output.read_text()

    def session(self) -> Session:
        """Create a client without cookies."""
        return Session(self)

    def call(
        self,
        method: str,
        path: str,
        token: str = "",
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request with a new client; see :meth:`Session.call`."""
        return self.session().call(method, path, token, body, headers)


class Tokens(NamedTuple):
    """The tokens of a login. In an example without refresh tokens, ``refresh`` is empty."""

    access: str
    refresh: str


def log_in(
    service: Service, credentials: dict[str, str] | None = None, path: str = "/login"
) -> Tokens:
    """Log a user in, by default Alice, and return the tokens."""
    answer = service.call("POST", path, body=credentials or ALICE)
    assert answer.status == 200, answer
    return Tokens(answer.body["access_token"], answer.body.get("refresh_token", ""))


def decoded(token: str) -> dict[str, Any]:
    """Return the claims of a token of an example, decoded with PyJWT."""
    return jwt.decode(token, SECRET, algorithms=["HS256"])


def example_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of an access token of an example; see :func:`support.access_claims`."""
    return access_claims(**{"identity": ..., "sub": "alice", **changes})


def signed(**changes: Any) -> str:
    """Create an access token with :func:`example_claims` and the key of the examples."""
    return hs_token(example_claims(**changes), secret=SECRET)


def altered(token: str, **changes: Any) -> str:
    """Create a token with the same claims except for ``changes``, and the key of the examples."""
    return hs_token({**decoded(token), **changes}, secret=SECRET)


def environment(**changes: str) -> dict[str, str]:
    """Return our environment without variables of the examples. Warnings are errors."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PORT", "JWT_SECRET_KEY")}
    return {**inherited, "PYTHONWARNINGS": "error", **changes}


def hypercorn(application: str, *options: str) -> list[str]:
    """Return the arguments for Python that serve an application in the folder of the examples.

    Without workers there is one process, which leaves no other one running when it is killed.
    """
    bind = "127.0.0.1:{port}"
    return ["-m", "hypercorn", str(EXAMPLES / application), "--bind", bind, "--workers=0", *options]


@contextmanager
def running(
    command: str | Sequence[str], directory: Path, *, ends_with: int = 0, **variables: str
) -> Iterator[Service]:
    """Start a process on a free port, wait until it accepts connections, and stop it cleanly.

    ``command`` is an application of an example, such as ``headers:app``, or arguments for Python.
    The port is in the environment variable PORT, and replaces ``{port}`` in the arguments. The
    process runs in ``directory``, which contains its output. ``ends_with`` is the expected exit
    code; it is not 0 for a server that ends itself with the signal that it got.
    """
    port = free_port()
    arguments = hypercorn(command) if isinstance(command, str) else command
    output = directory / f"{port}.out"
    error_output = directory / f"{port}.err"
    with output.open("wb") as stdout, error_output.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *[part.replace("{port}", str(port)) for part in arguments]],
            cwd=directory,
            env=environment(PORT=str(port), **variables),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    service = Service(process, port, output, error_output)
    try:
        deadline = time.monotonic() + START_LIMIT
        while True:
            assert process.poll() is None, service.errors
            assert time.monotonic() < deadline, service.errors
            try:
                socket.create_connection(("127.0.0.1", port), timeout=CALL_LIMIT).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield service
        if process.poll() is None:
            process.terminate()
            assert process.wait(STOP_LIMIT) == ends_with, service.errors
    finally:
        process.kill()
        process.wait(STOP_LIMIT)


# The servers that Quart names, with their arguments and their exit code after SIGTERM: uvicorn ends
# itself with the signal that it got.
SERVERS = {
    "hypercorn": (["hypercorn", "served:app", "--bind", "127.0.0.1:{port}"], 0),
    "uvicorn": (
        ["uvicorn", "served:app", "--host", "127.0.0.1", "--port", "{port}"],
        -signal.SIGTERM,
    ),
}


@contextmanager
def running_under(server: str, module: str, directory: Path) -> Iterator[Service]:
    """Serve the ``app`` of a module, given as text, under one of SERVERS; see :func:`running`."""
    (directory / "served.py").write_text(module)
    arguments, ends_with = SERVERS[server]
    with running(
        ["-m", *arguments],
        directory,
        ends_with=ends_with,
        JWT_SECRET_KEY=SECRET,
        # The libraries of the servers cause warnings of their own.
        PYTHONWARNINGS="default",
    ) as service:
        yield service


def in_shell(lines: Sequence[str], directory: Path) -> tuple[list[str], list[str]]:
    """Run commands in a shell; return the printed lines, and the log of the replacement for curl.

    The replacements, for programs that a test machine may not have, are written to ``directory``.
    """
    (directory / "curl").write_text(CURL)
    (directory / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for name in ("curl", "python"):
        (directory / name).chmod(0o755)
    log = directory / "log"
    done = subprocess.run(
        ["/bin/sh", "-e", "-u"],
        input="\n".join(lines),
        env=environment(PATH=f"{directory}{os.pathsep}{os.environ['PATH']}", CURL_LOG=str(log)),
        capture_output=True,
        text=True,
        timeout=CALL_LIMIT * 3,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines(), log.read_text().splitlines()


def assert_start_fails(example: Path, port: str, message: str) -> None:
    """Check that an example reports in one message why it does not start on this port."""
    done = subprocess.run(
        [sys.executable, str(example)],
        # Hypercorn does not close a socket that it could not bind. Python 3.10 warns of this.
        env=environment(PORT=port, PYTHONWARNINGS="error,ignore:unclosed:ResourceWarning"),
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
