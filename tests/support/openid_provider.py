"""A small OpenID provider on 127.0.0.1: two documents over HTTP, and tokens made in the test.

With it comes a clock that a test moves, so that nothing waits for the lifetime of a key.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CONFIGURATION = "/.well-known/openid-configuration"
# Of an authorization server that is no OpenID provider (RFC 8414, section 3).
SERVER_METADATA = "/.well-known/oauth-authorization-server"
KEYS = "/keys"

# Seconds that a held answer waits at most, so that nothing here waits without an end.
HOLD_LIMIT = 60


def algorithm_of(key: Any) -> str:
    return "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"


class Clock:
    """The time, which a test moves: that of the module, and of event loops with their timeouts.

    It goes on by itself, too. ``time.monotonic`` says how old keys are and when to try again,
    ``time.time`` when tokens expire.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moved = self.wall_moved = 0.0
        monotonic, wall = time.monotonic, time.time
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self.moved)
        monkeypatch.setattr(time, "time", lambda: wall() + self.wall_moved)

    def move(self, seconds: float) -> None:
        """Move the monotonic clock on."""
        self.moved += seconds

    def move_wall(self, seconds: float) -> None:
        """Move the wall clock on, or back."""
        self.wall_moved += seconds


class Provider:
    """A provider that can rotate its keys, hold its answers, change them, go away and come back.

    It has one key to begin with. It keeps its port, and so its ``issuer``, while it is away.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.signing_kid = ""
        self._kids = (f"key-{number}" for number in itertools.count(1))
        self.rotate()

        # The paths that were asked for, in order.
        self.requests: list[str] = []
        # What is sent instead: status, headers (None: not that one) and body by path.
        self.answers: dict[str, tuple[int, dict[str, str | None], bytes]] = {}
        # What is sent instead, to the byte, by path.
        self.raw_answers: dict[str, bytes] = {}
        # The paths whose answers are sent byte by byte, each with whether the head is sent so, too.
        self.dripping: dict[str, bool] = {}
        # Seconds from byte to byte, and how many were sent.
        self.drip_pause = 0.2
        self.dripped = 0
        # The paths for whose answers a client did not wait to the end.
        self.abandoned: list[str] = []
        # Cleared, it holds every answer.
        self.answering = threading.Event()
        self.answering.set()

        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    def __enter__(self) -> Provider:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- Keys and tokens ----------------------------------------------------------------------

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def rotate(self, kind: str = "EC") -> str:
        """Sign with a new key from now on; the old ones stay published. Return its name."""
        kid = next(self._kids)
        self.keys[kid] = (
            ec.generate_private_key(ec.SECP256R1())
            if kind == "EC"
            else rsa.generate_private_key(65537, 2048)
        )
        self.signing_kid = kid
        return kid

    def token(
        self,
        audience: Any,
        *,
        kid: str | None = None,
        header: dict[str, Any] | None = None,
        key: Any = None,
        **changes: Any,
    ) -> str:
        """An access token as providers make them: no ``type``, no ``fresh``, no ``identity``.

        ``kid`` signs with that key in place of the newest, ``key`` with a foreign one; ``header``
        replaces that with the ``kid``. ``changes`` replace or add claims, ``...`` removes.
        """
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": audience,
            "sub": "248289761001",
            "iat": now,
            "exp": now + 300,
            "jti": "4a7c",
            "azp": "a client",
            "scope": "openid profile",
            **changes,
        }
        payload = json.dumps({name: value for name, value in claims.items() if value is not ...})
        kid = kid or self.signing_kid
        key = key or self.keys[kid]
        header = {"kid": kid} if header is None else header
        # Not jwt.encode, which refuses to make some of the tokens that a test needs.
        return jwt.PyJWS().encode(payload.encode(), key, algorithm_of(key), header)

    # --- The documents ------------------------------------------------------------------------

    def configuration(self) -> dict[str, Any]:
        return {"issuer": self.issuer, "jwks_uri": self.issuer + KEYS}

    def key_set(self) -> dict[str, Any]:
        """The public keys, as members of the set that has them (RFC 7517, section 5)."""
        members = []
        for kid, key in self.keys.items():
            name = algorithm_of(key)
            numbers = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
            numbers.pop("key_ops", None)
            members.append({**numbers, "kid": kid, "use": "sig", "alg": name})
        return {"keys": members}

    def document(self, path: str) -> bytes | None:
        """What it has to say for a path; None where it has no document."""
        documents = {CONFIGURATION: self.configuration, KEYS: self.key_set}
        return json.dumps(documents[path]()).encode() if path in documents else None

    def publish(self, path: str, document: Any, status: int = 200, headers: Any = None) -> None:
        """Send this JSON value, or these bytes, for a path.

        ``headers`` replace or add some; None as a value leaves that out.
        """
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[path] = (status, headers or {}, body)

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        """Send clients from a path to a URL."""
        self.publish(path, b"", status, {"Location": target})

    def pad(self, path: str, size: int, headers: Any = None) -> None:
        """Send the document of a path with so much white space that it has this size in bytes."""
        body = self.document(path)
        assert body is not None
        self.publish(path, body.ljust(size), headers=headers)

    def compress(self, path: str) -> None:
        """Send the document of a path compressed, whatever the client accepts."""
        body = self.document(path)
        assert body is not None
        self.publish(path, gzip.compress(body), headers={"Content-Encoding": "gzip"})

    def lie(self, **changes: Any) -> None:
        """Send the configuration with these members replaced; ``...`` removes one."""
        members = {**self.configuration(), **changes}
        self.publish(CONFIGURATION, {name: v for name, v in members.items() if v is not ...})

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Hold all answers for as long as the block runs."""
        self.answering.clear()
        try:
            yield
        finally:
            self.answering.set()

    def fetches(self) -> int:
        """How often its keys were requested."""
        return self.requests.count(KEYS)

    # --- The server ---------------------------------------------------------------------------

    def start(self) -> None:
        assert self._server is None, "already running"
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Go away: connections are refused from now on."""
        if self._server is None or self._thread is None:
            return
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Dripping(io.BufferedIOBase):
            def __init__(self, stream: Any) -> None:
                self.stream = stream

            def write(self, data: Any) -> int:
                for byte in data:
                    self.stream.write(bytes([byte]))
                    provider.dripped += 1
                    time.sleep(provider.drip_pause)
                return len(data)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests.append(self.path)
                provider.answering.wait(HOLD_LIMIT)
                try:
                    self.answer()
                except ConnectionError:
                    # The client had enough.
                    provider.abandoned.append(self.path)
                    self.close_connection = True

            def answer(self) -> None:
                if self.path in provider.raw_answers:
                    self.wfile.write(provider.raw_answers[self.path])
                    return
                body = provider.document(self.path)
                status, headers, body = provider.answers.get(
                    self.path, (404, {}, b"") if body is None else (200, {}, body)
                )
                self.send_response(status)
                usual = {"Content-Type": "application/json", "Content-Length": str(len(body))}
                for name, value in {**usual, **headers}.items():
                    if value is not None:
                        self.send_header(name, value)
                drips_head = provider.dripping.get(self.path)
                if drips_head:
                    self.wfile = Dripping(self.wfile)
                self.end_headers()
                if drips_head is False:
                    self.wfile = Dripping(self.wfile)
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
