"""What the client sends, and the one answer that is right.

Tokens come from PyJWT, and so does the text that refuses a forged one: a fault of the module cannot
hide behind the same fault here.
"""

from __future__ import annotations

import base64
import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt

LOCATIONS = ("headers", "cookies", "query_string", "json")
NOWHERE = "no location"

# The default of JWT_MAX_TOKEN_SIZE, and what a server takes with some room for the other headers.
LARGEST = 16384
OVERSIZED = 40000
# Seconds; far beyond any run.
LIFETIME = 86400
ANOTHER_SECRET = "the key of a forger, long enough for HS512 to be content with it, 0123456789 012"

# What a token of each type opens; the last one revokes it.
VIEWS = {"access": ["/me", "/optional", "/logout"], "refresh": ["/refresh", "/logout/refresh"]}

NO_TOKEN = (
    "Missing JWT in headers, cookies, query_string or json (Missing Authorization Header; "
    'Missing cookie "access_token_cookie"; Missing "jwt" query paramater; '
    "Invalid content-type. Must be application/json.)"
)


class Answer(NamedTuple):
    status: int
    body: Any


def refusal(status: int, message: str) -> Answer:
    return Answer(status, {"msg": message})


# From the application's handler of errors of the callback.
UNAVAILABLE = refusal(503, "Revocations cannot be looked up")


class Call(NamedTuple):
    """One request."""

    kind: str
    location: str
    path: str
    message: bytes
    expected: Answer
    # Whether the answer depends on Redis: all else is decided before it is asked.
    asks_redis: bool


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    claims: dict[str, Any]

    @property
    def opens(self) -> Answer:
        """The answer of a view that it opens."""
        names = ("identity", "user_claims", "jti", "type")
        return Answer(200, {name: self.claims[name] for name in names})


def message(
    location: str, path: str, token: str = "", csrf: str | None = None, *, post: bool = False
) -> bytes:
    """An HTTP/1.1 request with the token in one location; ``csrf`` goes along with a cookie."""
    head = ["Host: 127.0.0.1", "Accept: application/json", "User-Agent: load"]
    body = b""
    name = "refresh_token" if path in VIEWS["refresh"] else "access_token"
    if location == "headers":
        head.append(f"Authorization: Bearer {token}")
    elif location == "cookies":
        head.append(f"Cookie: theme=dark; {name}_cookie={token}; lang=en")
        if csrf is not None:
            head.append(f"X-CSRF-TOKEN: {csrf}")
    elif location == "query_string":
        path = f"{path}?page=2&jwt={token}"
    elif location == "json":
        post = True
        body = json.dumps({"page": 2, name: token}).encode()
        head.append("Content-Type: application/json")
    if post:
        head.append(f"Content-Length: {len(body)}")
    start = f"{'POST' if post else 'GET'} {path} HTTP/1.1"
    return "\r\n".join([start, *head, "", ""]).encode() + body


def segment(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Mint:
    """Makes tokens, each with an identity that no other has, and the calls that carry them."""

    def __init__(self, secret: str, rng: random.Random) -> None:
        self.secret = secret
        self.rng = rng
        self.forgeries: list[Callable[[Token], str]] = [
            self._signed_by_another,
            self._another_payload,
            self._without_algorithm,
            self._without_signature,
            self._other_algorithm,
            self._changed_signature,
            self._no_token_at_all,
        ]

    # Tokens

    def token(self, **changes: Any) -> Token:
        now = int(time.time())
        unique = str(uuid.UUID(int=self.rng.getrandbits(128)))
        claims = {
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME,
            "jti": unique,
            "identity": f"user of {unique}",
            "type": "access",
            "fresh": False,
            "csrf": f"csrf of {unique}",
            "user_claims": {"roles": ["reader"], "account": unique[:8]},
            **changes,
        }
        return Token(jwt.encode(claims, self.secret), claims)

    def token_of_size(self, size: int) -> Token:
        """One of so many bytes, or one less: no base64 text is of every fourth size."""
        claims = self.token(padding="").claims
        bare = len(json.dumps(claims, separators=(",", ":")))
        # Header and signature take 36 and 43 characters, the dots two.
        payload = (size - 81) * 3 // 4
        text = jwt.encode({**claims, "padding": "x" * (payload - bare)}, self.secret)
        return Token(text, claims)

    def _signed_by_another(self, token: Token) -> str:
        return jwt.encode(token.claims, ANOTHER_SECRET)

    def _another_payload(self, token: Token) -> str:
        header, _, signature = token.text.split(".")
        claims = {**token.claims, "identity": "admin"}
        return f"{header}.{segment(json.dumps(claims).encode())}.{signature}"

    def _without_algorithm(self, token: Token) -> str:
        return jwt.encode(token.claims, "", algorithm="none")

    def _without_signature(self, token: Token) -> str:
        return token.text.rpartition(".")[0] + "."

    def _other_algorithm(self, token: Token) -> str:
        return jwt.encode(token.claims, self.secret, algorithm="HS512")

    def _changed_signature(self, token: Token) -> str:
        signed, _, signature = token.text.rpartition(".")
        raw = bytearray(base64.urlsafe_b64decode(signature + "="))
        raw[self.rng.randrange(len(raw))] ^= 1 << self.rng.randrange(8)
        return f"{signed}.{segment(bytes(raw))}"

    def _no_token_at_all(self, token: Token) -> str:
        return segment(self.rng.randbytes(self.rng.randrange(1, 300)))

    # Calls that ask Redis

    def valid(self, location: str, token: Token | None = None) -> Call:
        token = token or self.token()
        path = self.rng.choice(["/me", "/me", "/me", "/optional"])
        return self._call("valid", location, path, token, token.opens, asks_redis=True)

    def refreshing(self, location: str, token: Token | None = None) -> Call:
        token = token or self.token(type="refresh")
        return self._call("refresh", location, "/refresh", token, token.opens, asks_redis=True)

    def largest(self, location: str) -> Call:
        """A token of the very size that is still allowed."""
        token = self.token_of_size(LARGEST)
        return self._call("largest", location, "/me", token, token.opens, asks_redis=True)

    def revoked(self, kind: str, location: str, token: Token) -> Call:
        path = self.rng.choice(VIEWS[token.claims["type"]])
        answer = refusal(401, "Token has been revoked")
        return self._call(kind, location, path, token, answer, asks_redis=True)

    def logout(self, location: str, token: Token) -> Call:
        path = VIEWS[token.claims["type"]][-1]
        answer = Answer(200, {"revoked": token.claims["jti"]})
        return self._call("logout", location, path, token, answer, asks_redis=True)

    # Calls that are decided before

    def oversized(self, location: str) -> Call:
        """A token that is good but for its size, often by one byte."""
        size = self.rng.choice([LARGEST + 1, self.rng.randrange(LARGEST + 1, OVERSIZED)])
        answer = refusal(422, f"Token is too long: at most {LARGEST} bytes are accepted")
        return self._call("oversized", location, "/me", self.token_of_size(size), answer)

    def expired(self, location: str) -> Call:
        token = self.token(exp=int(time.time()) - self.rng.choice([0, 1, 60, 10**6]))
        return self._call("expired", location, "/me", token, refusal(401, "Token has expired"))

    def forged(self, location: str) -> Call:
        token = self.token()
        forged = Token(self.rng.choice(self.forgeries)(token), token.claims)
        return self._call("forged", location, "/me", forged, refusal(422, self._fault(forged.text)))

    def _fault(self, text: str) -> str:
        try:
            jwt.decode(text, self.secret, algorithms=["HS256"])
        except jwt.InvalidTokenError as error:
            return str(error)
        raise AssertionError("PyJWT takes a forged token for good")

    def wrong_type(self, location: str) -> Call:
        token = self.token(type="refresh")
        answer = refusal(422, "Only access tokens are allowed")
        return self._call("wrong type", location, "/me", token, answer)

    def csrf(self, _: str) -> Call:
        """A good token in a cookie, with no CSRF value or with that of another session."""
        token = self.token()
        if self.rng.random() < 0.5:
            given, answer = None, refusal(401, "Missing CSRF token")
        else:
            given = self.token().claims["csrf"]
            answer = refusal(401, "CSRF double submit tokens do not match")
        text = message("cookies", "/me", token.text, given, post=True)
        return Call("csrf", "cookies", "/me", text, answer, False)

    def none(self, _: str) -> Call:
        text = message(NOWHERE, "/me")
        return Call("none", NOWHERE, "/me", text, refusal(401, NO_TOKEN), False)

    def anonymous(self, _: str) -> Call:
        """No token where it is optional."""
        nobody: dict[str, Any] = {"identity": None, "user_claims": {}, "jti": None, "type": None}
        text = message(NOWHERE, "/optional")
        return Call("anonymous", NOWHERE, "/optional", text, Answer(200, nobody), False)

    def _call(
        self,
        kind: str,
        location: str,
        path: str,
        token: Token,
        expected: Answer,
        *,
        asks_redis: bool = False,
    ) -> Call:
        post = self.rng.random() < 0.5
        text = message(location, path, token.text, token.claims["csrf"], post=post)
        return Call(kind, location, path, text, expected, asks_redis)
