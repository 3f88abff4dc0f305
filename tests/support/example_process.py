"""An example, or any other server, as a process of its own that is called over real HTTP."""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

EXAMPLES = Path(__file__).parents[2] / "examples"

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


class _StatusAndBody(NamedTuple):
    status: int
    body: Any


class Answer(_StatusAndBody):
    """Status and body compare as a pair; the headers are beside them.

    The body is the JSON value that was sent, or text.
    """

    headers: http.client.HTTPMessage


class Session:
    """A client that keeps cookies as a browser does, but for SameSite and HttpOnly."""

    def __init__(self, service: Service) -> None:
        self._jar = http.cookiejar.CookieJar()
        self._service = service

    @property
    def cookies(self) -> dict[str, http.cookiejar.Cookie]:
        """The cookies by name; ``value``, ``path``, ``expires`` are among what each one knows."""
        return {cookie.name: cookie for cookie in self._jar}

    def call(
        self,
        method: str,
        path: str,
        token: str = "",
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request; bytes go out as they are, any other body as JSON.

        A fault of the server, or no answer, fails the test with what the process has written.
        """
        fields = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            fields["Authorization"] = f"Bearer {token}"
        fields.update(headers or {})
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()

        # The jar understands the requests of urllib, which itself would follow redirects.
        request = urllib.request.Request(f"http://127.0.0.1:{self._service.port}{path}")
        self._jar.add_cookie_header(request)
        fields.update(request.header_items())
        connection = http.client.HTTPConnection(request.host, timeout=CALL_LIMIT)
        try:
            connection.request(method, path, content, fields)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(self._service.errors) from error
        finally:
            connection.close()
        assert response.status != 500, self._service.errors
        self._jar.extract_cookies(response, request)
        is_json = response.headers.get_content_subtype().endswith("json")
        answer = Answer(response.status, json.loads(text) if is_json else text)
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
        """What the process has written to its standard output so far."""
        return self.output.read_text()

    @property
    def errors(self) -> str:
        """What the process has written to its standard error so far."""
        return self.error_output.read_text()

    def session(self) -> Session:
        """A new client without cookies."""
        return Session(self)

    def call(
        self,
        method: str,
        path: str,
        token: str = "",
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request of a new client; see :meth:`Session.call`."""
        return self.session().call(method, path, token, body, headers)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(**changes: str) -> dict[str, str]:
    """Ours, without what would configure an example; warnings of the process are errors."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PORT", "JWT_SECRET_KEY")}
    return {**inherited, "PYTHONWARNINGS": "error", **changes}


def hypercorn(application: str, *options: str) -> list[str]:
    """Arguments of Python that serve an application in the folder of the examples.

    Without workers there is one process, which does not leave another one behind when it is killed.
    """
    bind = "127.0.0.1:{port}"
    return ["-m", "hypercorn", str(EXAMPLES / application), "--bind", bind, "--workers=0", *options]


@contextmanager
def running(command: str | Sequence[str], directory: Path, **variables: str) -> Iterator[Service]:
    """Start a process on a free port, wait until it answers, and see that it stops cleanly.

    ``command`` names an application of an example, such as ``headers:app``, or gives arguments of
    Python. The port is in the environment as PORT, and takes the place of ``{port}`` in the
    arguments. The process runs in ``directory``, where its output is kept.
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
            assert process.wait(STOP_LIMIT) == 0, service.errors
    finally:
        process.kill()
        process.wait(STOP_LIMIT)
