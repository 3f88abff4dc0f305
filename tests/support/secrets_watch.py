"""Watches tests for tokens, keys and CSRF values in places where nobody may see them.

A :class:`Watch` learns the secrets of a test and collects what the test shows: log records, error
answers, exceptions and warnings. :func:`install` puts hooks into logging, Quart, PyJWT and pytest
that feed the watch which is on; ``conftest.py`` puts one on around every test.

A secret is found by its value, or by its looks where nobody told the watch of it: what starts like
the JSON of a token, a long opaque run such as a signature, PEM, or a UUID, which is what the module
makes its CSRF values of.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import html
import json
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import jwt
import pytest
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from quart import Quart

import support

KEY_OPTIONS = ("JWT_SECRET_KEY", "JWT_PRIVATE_KEY", "SECRET_KEY")

# They log what goes through them, requests with path and headers and queries with values; no line
# of theirs is the module's.
TRANSPORTS = {
    *("aiosqlite", "httpcore", "httpx", "hypercorn", "redis", "sqlalchemy", "uvicorn"),
    "websockets",
}

# Of a longer secret its two ends are searched for: so is one that was cut found, and the tests that
# measure memory are not disturbed by copies.
END = 24
# Anything shorter stands in innocent texts, too.
LEAST = {"token": 16, "key": 8, "CSRF value": 8, "claim value": 12}

LOOKS = [
    # The start of a JSON object in base64url, and that again in base64 or in hex.
    ("token", re.compile(r"eyJ[\w-]{8,}|ZXlK[\w+/-]{8,}|65794[aA][0-9a-fA-F]{8,}")),
    ("key", re.compile(r"-----BEGIN [A-Z0-9 ]+-----")),
    ("CSRF value", re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
]

# 43 characters are what 32 bytes take, the shortest signature.
OPAQUE = re.compile(r"[A-Za-z0-9_-]{43,}")
DIGIT, LOWER, UPPER = re.compile("[0-9]"), re.compile("[a-z]"), re.compile("[A-Z]")

TOKEN = re.compile(r"[\w+/.-]{20,}")
# What requests call their fields, which a dot may follow in a strange one.
NAME = re.compile(r"[a-z_]+")
# Dots in these are those of names.
NO_SECRET_HEADERS = {
    *(b"host", b"origin", b"referer", b"user-agent", b"accept", b"content-type", b"content-length")
}
# Cookies are where tokens and CSRF values belong; the others have hardly a value of their own.
NO_ERROR_HEADERS = {b"set-cookie", b"content-type", b"content-length"}

# The identity is what an error about the user names; a trusted issuer, one about its keys.
NO_SECRET_CLAIMS = {"identity", "sub", "iss"}
# What a route asks for, which is also what some token grants; where a service says who it is, which
# is also whom its tokens are for.
PUBLIC_PARAMETERS = re.compile(rb',? (?:scope|resource_metadata)="[^"]*"')


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


@functools.lru_cache(maxsize=1000)
def _spellings(secret: str) -> frozenset[str]:
    """A secret as it may stand in a text: escaped, quoted, or encoded as a whole."""
    raw = secret.encode("utf-8", "surrogatepass")
    # Three bytes make four characters; an incomplete group depends on what follows it.
    whole = raw[: len(raw) // 3 * 3]
    return frozenset(
        [
            secret,
            repr(secret)[1:-1],
            json.dumps(secret)[1:-1],
            html.escape(secret),
            quote(raw, safe=""),
            quote_plus(raw),
            raw.hex(),
            base64.b64encode(whole).decode(),
            base64.urlsafe_b64encode(whole).decode(),
        ]
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception with those that a traceback shows beside it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


class Watch:
    """The secrets of one test, and what it showed."""

    def __init__(self) -> None:
        # What must not be seen, with its kind.
        self.secrets: dict[str, str] = {}
        # What was seen, with where.
        self.shown: dict[str, str] = {}
        # Read at the end of the test: most options are set behind the constructor.
        self.configs: list[dict[str, Any]] = []
        self._read: set[int] = set()
        self.key(support.SECRET)

    # --- Secrets --------------------------------------------------------------

    def _add(self, kind: str, secret: str) -> None:
        if len(secret) >= LEAST[kind]:
            self.secrets.setdefault(secret[:END], kind)
            self.secrets.setdefault(secret[-END:], kind)

    def token(self, encoded: Any) -> None:
        """Learn a compact JWS, good or not, with its CSRF value."""
        if not isinstance(encoded, (str, bytes)) or self._is_known("token", encoded):
            return
        segments = _text(encoded).split(".")
        for segment in segments:
            if not NAME.fullmatch(segment):
                self._add("token", segment)
        with contextlib.suppress(ValueError, IndexError, RecursionError):
            payload = segments[1].translate(str.maketrans("-_", "+/"))
            claims = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4)))
            if isinstance(claims, dict):
                for name in claims.keys() - NO_SECRET_CLAIMS:
                    self._claim("CSRF value" if name == "csrf" else "claim value", claims[name])

    def _claim(self, kind: str, value: Any) -> None:
        if isinstance(value, str):
            self._add(kind, value)
        elif isinstance(value, (dict, list)):
            for part in value.values() if isinstance(value, dict) else value:
                self._claim(kind, part)

    def key(self, key: Any) -> None:
        """Learn a secret or a private key in the form of a text; public ones are no secrets."""
        if not isinstance(key, (str, bytes)) or self._is_known("key", key):
            return
        text = _text(key)
        if "-----BEGIN" not in text:
            self._add("key", text)
        elif "PRIVATE KEY" in text:
            for line in text.splitlines():
                if not line.startswith("-----"):
                    self._add("key", line)

    def csrf(self, value: Any) -> None:
        """Learn a double-submit value, sent or expected."""
        if isinstance(value, (str, bytes)):
            self._add("CSRF value", _text(value))

    def request(self, scope: dict[str, Any]) -> None:
        """Learn what the head of a request carries."""
        self.text_of_request(bytes(scope.get("query_string", b"")))
        headers = scope.get("headers")
        # Only once could an iterator be read.
        for pair in headers if isinstance(headers, (list, tuple)) else ():
            name, value = bytes(pair[0]).lower(), bytes(pair[1])
            if name in NO_SECRET_HEADERS or self._is_known("header", name + value):
                continue
            self.text_of_request(value)
            if b"csrf" in name:
                self.csrf(value)
            elif name == b"authorization":
                self._add("token", _text(value).split(" ")[-1])

    def text_of_request(self, raw: bytes) -> None:
        """Learn the tokens in a header, a query string or a body, and its fields of CSRF values."""
        if len(raw) < 8 or self._is_known("text", raw):
            return
        text = _text(raw)
        if "%" in text or "+" in text:
            text += f"&{unquote_plus(text)}"
        for match in TOKEN.finditer(text):
            # One dot is also in the names of files and hosts, which are short.
            dots = match[0].count(".")
            if dots > 1 or (dots and min(map(len, match[0].split("."))) >= LEAST["token"]):
                self.token(match[0])
        if "csrf" in text:
            for field in re.split("[;&]", text):
                name, _, value = field.partition("=")
                if "csrf" in name:
                    self.csrf(value)

    def _is_known(self, role: str, value: str | bytes) -> bool:
        """Whether a value was here before in that role; the next time it will have been."""
        mark = hash((role, value))
        if mark in self._read:
            return True
        self._read.add(mark)
        return False

    # --- What is shown ----------------------------------------------------------

    def show(self, where: str, text: str | bytes | None) -> None:
        if text:
            self.shown.setdefault(_text(text), where)

    def exception(self, where: str, error: BaseException | None) -> None:
        """Take the text and the repr of an exception, and of those that are shown with it."""
        for one in _chain(error):
            # A test may raise one that cannot be shown.
            with contextlib.suppress(Exception):
                kind = f"{type(one).__name__} {where}"
                self.show(kind, str(one))
                self.show(kind, repr(one))
                for note in getattr(one, "__notes__", ()):
                    self.show(f"note of {kind}", note)

    # --- The verdict --------------------------------------------------------------

    def leaks(self) -> list[str]:
        """A line for each secret that was seen; nothing if all is well."""
        if not self.shown:
            return []
        for config in (*_lasting_configs, *self.configs):
            for name in KEY_OPTIONS:
                # Not that of a subclass, which may fetch its values from somewhere.
                self.key(dict.get(config, name))
            ring = dict.get(config, "JWT_KEYS")
            for entry in ring.values() if isinstance(ring, dict) else ():
                key = entry.get("key", entry) if isinstance(entry, dict) else entry
                if isinstance(key, dict):
                    self.key(key.get("k") or key.get("d"))
                self.key(key)
        # Nearly every test is clean, which one look at all of its texts shows.
        everything = "\n".join(self.shown)
        found = [
            (kind, spelling)
            for secret, kind in self.secrets.items()
            for spelling in ((secret,) if kind == "token" else _spellings(secret))
            if spelling in everything
        ]
        for kind, pattern in LOOKS:
            found += [(kind, match[0]) for match in pattern.finditer(everything)]
        for match in OPAQUE.finditer(everything):
            # No word is so long and so mixed, but for names that Cython makes up.
            mixed = all(part.search(match[0]) for part in (DIGIT, LOWER, UPPER))
            if mixed and "__Pyx" not in match[0]:
                found.append(("signature or key", match[0]))
        return sorted({self._report(kind, secret) for kind, secret in found})

    def _report(self, kind: str, secret: str) -> str:
        text, where = next(item for item in self.shown.items() if secret in item[0])
        at = text.index(secret)
        excerpt = text[max(at - 40, 0) : at + len(secret) + 40]
        return f"{kind} {secret!r} in {where}: ...{excerpt!r}..."


# --- Hooks ------------------------------------------------------------------------

_watch: Watch | None = None
# Of the apps that test files make when they are imported.
_lasting_configs: list[dict[str, Any]] = []
_undo: list[Callable[[], None]] = []


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """Put a new watch on, in place of that of the test if there is one."""
    global _watch
    for logger in list(logging.root.manager.loggerDict.values()):
        # A test may switch the logger of its app off; apps of the same name share it.
        if getattr(logger, "disabled", False):
            logger.disabled = False
    before = _watch
    _watch = watch = Watch()
    try:
        yield watch
    finally:
        _watch = before


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if _watch is None or record.name.partition(".")[0] in TRANSPORTS:
            return
        where = f"a log record of {record.name}"
        _watch.show(where, self.format(record))
        # Arguments that the message leaves out, and attributes from ``extra``.
        _watch.show(where, repr(vars(record)))
        if record.exc_info:
            _watch.exception(f"in {where}", record.exc_info[1])


def _replace(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(wrapper(original)))
    _undo.append(lambda: setattr(owner, name, original))


def _watched_call(original: Any) -> Any:
    """Quart.__call__: every request comes through here, from test clients and from servers."""

    async def call(app: Quart, scope: Any, receive: Any, send: Any) -> None:
        watch = _watch
        if watch is None:
            await original(app, scope, receive, send)
            return
        watch.request(scope)
        status = 0
        body = b""

        async def watched_receive() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                watch.text_of_request(message.get("body", b""))
            return message

        async def watched_send(message: Any) -> None:
            nonlocal status, body
            kind = message["type"]
            if kind.endswith("http.response.start"):
                status = message["status"]
            elif kind.endswith("http.response.body") and status >= 400:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    watch.show(f"the body of an answer of {status}", body)
            for field, value in message.get("headers", ()):
                name = field.lower()
                if name == b"www-authenticate":
                    value = PUBLIC_PARAMETERS.sub(b"", value)
                if name not in NO_ERROR_HEADERS:
                    watch.show(f"the header {_text(field)} of an answer", value)
            watch.show("a subprotocol", message.get("subprotocol"))
            watch.show("the reason of a close", message.get("reason"))
            await send(message)

        await original(app, scope, watched_receive, watched_send)

    return call


def _watched_init(original: Any) -> Any:
    def init(app: Quart, *arguments: Any, **keywords: Any) -> None:
        original(app, *arguments, **keywords)
        (_lasting_configs if _watch is None else _watch.configs).append(app.config)

    return init


def _watched_handler(original: Any) -> Any:
    """Methods of Quart that get an exception as their last argument."""

    async def handle(app: Quart, *arguments: Any) -> Any:
        if _watch is not None:
            _watch.exception("raised in a view", arguments[-1])
        return await original(app, *arguments)

    return handle


def _watched_raises(original: Any) -> Any:
    def leave(context: Any, kind: Any, error: BaseException | None, traceback: Any) -> Any:
        if _watch is not None:
            _watch.exception("under pytest.raises", error)
        return original(context, kind, error, traceback)

    return leave


def _watched_enter(original: Any) -> Any:
    """catch_warnings.__enter__, which pytest.warns goes through, too."""

    def enter(context: Any) -> Any:
        context.recorded = original(context)
        return context.recorded

    return enter


def _watched_exit(original: Any) -> Any:
    def leave(context: Any, *arguments: Any) -> Any:
        if _watch is not None:
            # One that was entered before the hook was put in has no record.
            for warning in getattr(context, "recorded", None) or ():
                _watch.show("a warning", str(warning.message))
        return original(context, *arguments)

    return leave


def _watched_result(original: Any) -> Any:
    """Functions that make a token."""

    def make(*arguments: Any, **keywords: Any) -> Any:
        encoded = original(*arguments, **keywords)
        if _watch is not None:
            _watch.token(encoded)
        return encoded

    return make


def _watched_decode(original: Any) -> Any:
    def decode(jws: Any, encoded: Any, *arguments: Any, **keywords: Any) -> Any:
        if _watch is not None:
            _watch.token(encoded)
        return original(jws, encoded, *arguments, **keywords)

    return decode


def _watched_prepare(original: Any) -> Any:
    """Algorithm.prepare_key of PyJWT, which each key of the module, too, goes through."""

    def prepare(algorithm: Any, key: Any) -> Any:
        if _watch is not None:
            _watch.key(key)
        return original(algorithm, key)

    return prepare


def _raised(code: Any, offset: int, error: BaseException) -> None:
    """See each exception that comes out of the module, also one that nobody hands on.

    It is called in every frame of Python that an exception passes; one is interesting where the
    module itself was called.
    """
    if _watch is None or error.__traceback__ is None:
        return
    inner = error.__traceback__.tb_next
    if inner is not None and inner.tb_frame.f_code.co_filename.endswith("quart_jwt_extended.pyx"):
        _watch.exception("out of the module", error)


def _watch_raising() -> None:
    """Have :func:`_raised` called; Python can do so at no cost since 3.12."""
    monitoring = sys.monitoring
    # The ids below it are for debuggers, coverage, profilers and Hypothesis.
    tool = 4
    monitoring.use_tool_id(tool, "secrets_watch")
    monitoring.register_callback(tool, monitoring.events.RAISE, _raised)
    monitoring.set_events(tool, monitoring.events.RAISE)

    def stop() -> None:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, monitoring.events.RAISE, None)
        monitoring.free_tool_id(tool)

    _undo.append(stop)


def _watch_logging() -> None:
    """See the records of all levels, without those that asyncio writes for each new loop."""
    handler = _Handler()
    for logger, level in ((logging.root, logging.DEBUG), (logging.getLogger("asyncio"), 20)):
        _undo.append(functools.partial(logger.setLevel, logger.level))
        logger.setLevel(level)
    logging.root.addHandler(handler)
    _undo.append(lambda: logging.root.removeHandler(handler))


def install() -> None:
    """Put the hooks in, before any test file is imported."""
    _watch_logging()
    _replace(Quart, "__call__", _watched_call)
    _replace(Quart, "__init__", _watched_init)
    for name in ("handle_user_exception", "handle_exception", "handle_websocket_exception"):
        _replace(Quart, name, _watched_handler)
    # pytest names the class in another way from version to version.
    _replace(type(pytest.raises(jwt.PyJWTError)), "__exit__", _watched_raises)
    _replace(warnings.catch_warnings, "__enter__", _watched_enter)
    _replace(warnings.catch_warnings, "__exit__", _watched_exit)
    _replace(support, "hs_token", _watched_result)
    _replace(jwt.PyJWS, "encode", _watched_result)
    _replace(jwt.PyJWS, "decode_complete", _watched_decode)
    for algorithm in (HMACAlgorithm, RSAAlgorithm, ECAlgorithm, OKPAlgorithm):
        _replace(algorithm, "prepare_key", _watched_prepare)
    if sys.version_info >= (3, 12):
        _watch_raising()


def uninstall() -> None:
    while _undo:
        _undo.pop()()


def reason_to_show(markers: Iterable[pytest.Mark]) -> str | None:
    """The reason that the marker ``may_show_secrets`` gives for a test, None without one."""
    for marker in markers:
        reason = marker.args[0] if marker.args else ""
        if not isinstance(reason, str) or not reason:
            raise pytest.UsageError('may_show_secrets needs a reason: may_show_secrets("...")')
        return reason
    return None
