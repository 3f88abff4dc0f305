"""A small OpenID provider on 127.0.0.1: two documents over HTTP, and tokens made in the test."""

from __future__ import annotations

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/keys"

# Seconds that a held answer waits at most, so that nothing here waits without an end.
HOLD_LIMIT = 60


def algorithm_of(key: Any) -> str:
    return "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"


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
        # What is sent instead: status, headers and body by path.
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
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

    def publish(self, path: str, document: Any) -> None:
        """Send this JSON value, or these bytes, for a path."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[path] = (200, {}, body)

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

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests.append(self.path)
                provider.answering.wait(HOLD_LIMIT)
                documents = {CONFIGURATION: provider.configuration, KEYS: provider.key_set}
                if self.path in provider.answers:
                    status, headers, body = provider.answers[self.path]
                elif self.path in documents:
                    status, headers = 200, {}
                    body = json.dumps(documents[self.path]()).encode()
                else:
                    status, headers, body = 404, {}, b""
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except ConnectionError:
                    # The client had enough.
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
