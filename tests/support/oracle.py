"""What is to become of a token: PyJWT's verdict, and what this library holds against it besides.

What PyJWT refuses must be refused with its class and its text. Where the library is stricter, or
words it otherwise, :func:`reasons` says why, from the token alone; a token that is accepted must
have no such reason, and the claims that PyJWT reads.

The table in tests/security/test_oracle.py and the fuzzer in tests/fuzz go by the same rules.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import json
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jwt

import quart_jwt_extended as qje

# The rules are those of PyJWT 2.15. Its release before lets more foreign exceptions out, and is
# already as strict as we are about padding.
OLDER_PYJWT = tuple(map(int, jwt.__version__.split(".")[:2])) < (2, 15)

MAX_SIZE = 16_384
MAX_NESTING = 512
TOO_DEEP = "JSON is nested deeper than 512 levels"


class Refusal(NamedTuple):
    """How a token is refused."""

    error: type[BaseException]
    text: str


Verdict = dict[str, Any] | Refusal


class Reason(NamedTuple):
    """Why the module refuses what PyJWT may accept, and how."""

    error: type[Exception]
    pattern: str

    def explains(self, refusal: Refusal) -> bool:
        return issubclass(refusal.error, self.error) and bool(
            re.match(self.pattern, refusal.text, re.DOTALL)
        )


def verdict(decode: Callable[[], dict[str, Any]]) -> Verdict:
    """What a call returns, or how it fails."""
    try:
        with warnings.catch_warnings():
            # From Python 3.15 on, PyJWT's decoding of base64url warns of "+" and "/".
            warnings.filterwarnings("ignore", "invalid character", FutureWarning)
            return decode()
    except Exception as error:
        return Refusal(type(error), str(error))


@functools.cache
def _datetime_at(moment: float) -> type[datetime.datetime]:
    class StoppedDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.fromtimestamp(moment, tz)

    return StoppedDatetime


@contextlib.contextmanager
def stopped_clock(moment: float) -> Iterator[None]:
    """Stop the clock that we read, and the one that PyJWT reads."""
    theirs, ours = jwt.api_jwt.datetime, time.time  # type: ignore[attr-defined]
    jwt.api_jwt.datetime = _datetime_at(moment)  # type: ignore[attr-defined]
    time.time = lambda: moment
    try:
        yield
    finally:
        jwt.api_jwt.datetime, time.time = theirs, ours  # type: ignore[attr-defined]


# --- Two verdicts ---------------------------------------------------------------


def compare(token: Any, ours: Verdict, theirs: Verdict, why: list[Reason]) -> None:
    """Fail unless PyJWT's verdict and the reasons together account for ours."""
    if isinstance(ours, Refusal):
        assert issubclass(ours.error, (jwt.InvalidTokenError, qje.JWTDecodeError, qje.CSRFError)), (
            f"{token!r}: {ours!r} is not about the token"
        )
        assert is_same_refusal(ours, theirs) or any(reason.explains(ours) for reason in why), (
            f"{token!r}: {ours!r}, PyJWT {theirs!r}, reasons {why!r}"
        )
        return
    assert not isinstance(theirs, Refusal), f"{token!r}: accepted, PyJWT {theirs!r}"
    assert not why, f"{token!r}: accepted in spite of {why!r}"
    assert is_identical(ours, theirs), f"{token!r}: {ours!r} is not {theirs!r}"


def is_too_deep(raw: bytes) -> bool:
    """Whether a JSON text, well-formed or not, has more levels than the module reads."""
    depth = 0
    # A string that is not closed reaches to the end.
    outside = re.sub(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', b"", raw, flags=re.DOTALL)
    for bracket in re.findall(rb"[\[\]{}]", outside):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_NESTING:
            return True
    return False


def is_identical(ours: Any, theirs: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart, and takes NaN for NaN."""
    if type(ours) is not type(theirs):
        return False
    try:
        return repr(ours) == repr(theirs)
    except RecursionError:
        # A document that is just not too deep to be read can be too deep to be shown.
        return not isinstance(ours, Refusal)


def is_same_refusal(ours: Refusal, theirs: Verdict) -> bool:
    """Whether both refuse with one class, or ours with a subclass, and with one text."""
    if not isinstance(theirs, Refusal):
        return False
    if OLDER_PYJWT and not issubclass(theirs.error, jwt.PyJWTError):
        return issubclass(ours.error, jwt.InvalidTokenError)
    if not issubclass(ours.error, theirs.error):
        return False
    if "digits" in theirs.text:
        # The interpreter, not PyJWT, writes the text: only its beginning must agree.
        return ours.text.partition(": ")[0] == theirs.text.partition(": ")[0]
    return ours.text == theirs.text


def expiry_last(theirs: Verdict, without_exp: Callable[[], Verdict]) -> Verdict:
    """PyJWT's verdict, if it looked at the expiry last, so that any other fault is the answer."""
    if not isinstance(theirs, Refusal) or theirs.error is not jwt.ExpiredSignatureError:
        return theirs
    other = without_exp()
    return other if isinstance(other, Refusal) else theirs


def filled_in(claims: Verdict, user_claims: str = "user_claims") -> Verdict:
    """Claims with what a token of another issuer may lack, in the order of the module."""
    if isinstance(claims, Refusal):
        return claims
    claims.setdefault("jti", None)
    claims.setdefault("type", "access")
    if claims["type"] == "access":
        claims.setdefault("fresh", False)
    if claims.get("fresh", False) is None:
        claims["fresh"] = False
    claims.setdefault(user_claims, {})
    return claims


# --- Where the module is stricter -------------------------------------------------


def reasons(
    token: str | bytes,
    key: Any,
    algorithms: list[str],
    *,
    identity: str = "identity",
    max_size: int = MAX_SIZE,
    allow_expired: bool = False,
    csrf: str | None = None,
) -> list[Reason]:
    """All that the module holds against a token, and PyJWT does not, or words otherwise.

    The payload has its say only under a good signature: nothing in it may be looked at before.
    """
    found = [*reasons_of_text(token, max_size), *reasons_of_header(token)]
    try:
        payload = jwt.PyJWS().decode(token, key, algorithms)
    except Exception:
        return found
    return [*found, *reasons_of_payload(payload, identity, allow_expired, csrf)]


def reasons_of_text(token: str | bytes, max_size: int = MAX_SIZE) -> Iterator[Reason]:
    if isinstance(token, str):
        try:
            token = token.encode()
        except UnicodeEncodeError:
            yield Reason(jwt.DecodeError, "Invalid token: it holds a lone surrogate$")
            token = token.encode("utf-8", "surrogatepass")
    if len(token) > max_size:
        yield Reason(jwt.DecodeError, "Token is too long: ")
    if token.count(b".") < 2:
        return
    segments = [*token.rpartition(b".")[0].split(b".", 1), token.rpartition(b".")[2]]
    for name, segment in zip(("header", "payload", "crypto"), segments, strict=True):
        if b"=" in segment:
            yield Reason(jwt.DecodeError, f"Invalid {name} padding$")


def reasons_of_header(token: str | bytes) -> Iterator[Reason]:
    if isinstance(token, str):
        token = token.encode("utf-8", "surrogatepass")
    raw = segment_bytes(token.split(b".")[0])
    if raw is None:
        return
    yield from reasons_of_json("header", raw)
    with contextlib.suppress(ValueError, RecursionError):
        header = json.loads(raw)
        if re.search("[\ud800-\udfff]", json.dumps(header, ensure_ascii=False)):
            # Nothing that it wrote could go into an answer or a log record.
            yield Reason(jwt.DecodeError, "Invalid header string: it holds a lone surrogate$")
        critical = header.get("crit") if isinstance(header, dict) else None
        if isinstance(critical, list) and any(isinstance(n, str) and n != "b64" for n in critical):
            # PyJWT shows the name, which nobody has signed.
            yield Reason(jwt.InvalidTokenError, "Unsupported critical extension$")
        if isinstance(header, dict) and header.get("b64") is False:
            # PyJWT shows such a header, though it cannot verify a token of this form.
            yield Reason(jwt.InvalidTokenError, ".* '?b64'? header")


def segment_bytes(segment: bytes) -> bytes | None:
    """The bytes of a segment, if it is one."""
    try:
        plain = segment.translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(plain + b"=" * (-len(segment) % 4), validate=True)
    except ValueError:
        return None


def reasons_of_json(name: str, raw: bytes) -> Iterator[Reason]:
    fault = f"Invalid {name} string: "
    if is_too_deep(raw):
        yield Reason(jwt.DecodeError, f"{fault}{TOO_DEEP}$")
        return
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        yield Reason(jwt.DecodeError, f"{fault}must be UTF-8$")
        return
    if json.detect_encoding(raw) != "utf-8":
        yield Reason(jwt.DecodeError, fault)
        return
    members: list[list[str]] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members.append([member for member, _ in pairs])
        return dict(pairs)

    with contextlib.suppress(ValueError, RecursionError):
        # The outermost object is the last to be complete, if it is an object.
        if isinstance(json.loads(text, object_pairs_hook=note), dict) and len(
            set(members[-1])
        ) < len(members[-1]):
            yield Reason(jwt.DecodeError, f"{fault}duplicate member name$")


def reasons_of_payload(
    payload: bytes, identity: str, allow_expired: bool, csrf: str | None
) -> Iterator[Reason]:
    yield from reasons_of_json("payload", payload)
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        return
    if not isinstance(claims, dict):
        return
    times = {"iat": "Issued At", "nbf": "Not Before", "exp": "Expiration Time"}
    for name, title in times.items():
        if name in claims and not is_number(claims[name]) and not (name == "exp" and allow_expired):
            yield Reason(jwt.InvalidTokenError, rf"{title} claim \({name}\) must be an integer\.$")
    if identity not in claims:
        yield Reason(qje.JWTDecodeError, f"Missing claim: {identity}$")
    if claims.get("type", "access") not in ("access", "refresh"):
        yield Reason(qje.JWTDecodeError, "Missing or invalid claim: type$")
    fresh = claims.get("fresh", False)
    if fresh is not None and not isinstance(fresh, bool) and not is_number(fresh):
        yield Reason(qje.JWTDecodeError, "Missing or invalid claim: fresh$")
    if not isinstance(claims.get("csrf", ""), str):
        yield Reason(qje.JWTDecodeError, "Missing or invalid claim: csrf$")
    if csrf is not None and "csrf" not in claims:
        yield Reason(qje.JWTDecodeError, "Missing claim: csrf$")
    elif csrf is not None and claims["csrf"] != csrf:
        yield Reason(qje.CSRFError, "CSRF double submit tokens do not match$")


def is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))
