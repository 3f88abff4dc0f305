"""Requests as raw bytes, and what Quart's own properties make of them.

A :class:`Probe` sends bytes through an application that nobody tidied up on the way. Inside that
one request it verifies the token as an application does, and looks for it a second time through
``request.headers``, ``.cookies``, ``.args`` and ``get_json()`` of another request object, which is
built from the same bytes so that no cache is shared. Both must come to the same end.

What was found is told by the claims, because every token here has an identity of its own, or by
what ``decode_token`` says about the text.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, given, seed
from hypothesis.strategies import SearchStrategy
from quart import Request, request
from werkzeug.exceptions import HTTPException

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import (
    CSRFError,
    InvalidHeaderError,
    NoAuthorizationError,
    WrongTokenError,
)
from support import generated, hs_token, make_app
from support.asgi import Exchange, Raw
from support.oracle import is_too_deep

# Within so many rounds of them, at most, each outcome that a test names must have been seen.
ROUNDS = 20

ALL_BYTES = [bytes([number]) for number in range(256)]
# Those that mean something to somebody on the way, and a few of the others.
SOME_BYTES = [byte for byte in ALL_BYTES if byte < b"0" or not (byte.isalnum() or byte > b"\xa0")]
SOME_BYTES += [b"0", b"9", b"A", b"Z", b"a", b"z", b"\xc3", b"\xff"]
BYTES = ALL_BYTES if generated.IS_FULL else SOME_BYTES

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def own_token(identity: str, **claims: Any) -> str:
    """A token as short as can be: it is a piece of many inputs, and sooner read when one fails."""
    return hs_token({"identity": identity, "csrf": f"{identity}-csrf", **claims})


ANN = own_token("ann")
BOB = own_token("bob")
CID = own_token("cid")
OLD = own_token("old", type="refresh")
FORGED = ANN[:-4] + "AAAA"

TOKENS = [token.encode() for token in (ANN, BOB, CID, OLD, FORGED)]


# --- the contract, by hand -----------------------------------------------------------------------


class Absent(Exception):
    """There is no token in this location; the text says why."""


class ForeignScheme(Absent):
    """The header carries another scheme."""


def in_headers(request: Request, config: dict[str, Any], kind: str) -> str:
    """A list of credentials, of which the first one of our scheme counts; or a single word."""
    name, scheme = config["JWT_HEADER_NAME"], config["JWT_HEADER_TYPE"]
    value = request.headers.get(name)
    if not value:
        raise Absent(f"Missing {name} Header")
    fault = f"Bad {name} header. Expected value '{f'{scheme} <JWT>' if scheme else '<JWT>'}'"
    value = value.replace("\t", " ")
    if not scheme:
        words = [word for word in value.split(" ") if word]
        if len(words) != 1:
            raise ForeignScheme(fault)
        return words[0]
    credentials = [
        [word for word in credential.split(" ") if word] for credential in value.split(",")
    ]
    for words in credentials:
        if words and words[0].lower() == scheme.lower():
            if len(words) != 2 or [] in credentials:
                raise InvalidHeaderError(fault)
            return words[1]
    raise ForeignScheme(fault)


def in_cookies(request: Request, config: dict[str, Any], kind: str) -> tuple[str, str | None]:
    """The token, and the value that must be its CSRF claim."""
    name = config[f"JWT_{kind.upper()}_COOKIE_NAME"]
    token = request.cookies.get(name)
    if not token:
        raise Absent(f'Missing cookie "{name}"')
    if not config["JWT_COOKIE_CSRF_PROTECT"] or request.method not in config["JWT_CSRF_METHODS"]:
        return token, None
    csrf_value = request.headers.get(config[f"JWT_{kind.upper()}_CSRF_HEADER_NAME"])
    if not csrf_value:
        raise CSRFError("Missing CSRF token")
    return token, csrf_value


def in_query_string(request: Request, config: dict[str, Any], kind: str) -> str:
    """A query string that is not UTF-8 has no parameters: Quart cannot say what they are."""
    name = config["JWT_QUERY_STRING_NAME"]
    try:
        token = request.args.get(name)
    except UnicodeDecodeError:
        token = None
    if not token:
        raise Absent(f'Missing "{name}" query paramater')
    return token


async def in_json(request: Request, config: dict[str, Any], kind: str) -> Any:
    """What the member holds, whatever it is; a body that is not read has no members."""
    name = config["JWT_JSON_KEY" if kind == "access" else "JWT_REFRESH_JSON_KEY"]
    if request.mimetype != "application/json":
        raise Absent("Invalid content-type. Must be application/json.")
    try:
        # The data first: get_json() of some interpreters reads what is nested deeper, too.
        is_deep = is_too_deep(await request.get_data())
        body = None if is_deep else await request.get_json(silent=True)
    except (RecursionError, ValueError):
        body = None
    if not isinstance(body, dict) or name not in body:
        raise Absent(f'Missing "{name}" key in json data.')
    return body[name]


async def expected_claims(request: Request, config: dict[str, Any], kind: str) -> dict[str, Any]:
    """The claims of the token that Quart's properties give, or the error that is due."""
    locations = config["JWT_TOKEN_LOCATION"]
    missing, foreign = [], None
    for location in locations:
        csrf_value = None
        try:
            if location == "headers":
                token = in_headers(request, config, kind)
            elif location == "cookies":
                token, csrf_value = in_cookies(request, config, kind)
            elif location == "query_string":
                token = in_query_string(request, config, kind)
            else:
                token = await in_json(request, config, kind)
        except Absent as absent:
            missing.append(str(absent))
            foreign = absent if isinstance(absent, ForeignScheme) else foreign
            continue
        claims = qje.decode_token(token, csrf_value)
        if claims["type"] != kind:
            raise WrongTokenError(f"Only {kind} tokens are allowed")
        return claims
    if foreign is not None:
        raise InvalidHeaderError(str(foreign))
    if len(missing) == 1:
        raise NoAuthorizationError(missing[0])
    raise NoAuthorizationError(
        f"Missing JWT in {', '.join(locations[:-1])} or {locations[-1]} ({'; '.join(missing)})"
    )


# --- both answers in one request -----------------------------------------------------------------


async def outcome(find: Callable[[], Any]) -> tuple[Any, str]:
    """What a call gives or awaits: its value, or the class and text of its error.

    Values are compared as text, because a NaN in a body is not equal to itself.
    """
    try:
        value = find()
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:
        return type(error), str(error)
    return None, repr(value)


async def what_the_view_sees(request: Request) -> list[tuple[Any, str]]:
    """Everything that looking for a token could have used up or changed."""
    return [
        await outcome(lambda: request.method),
        await outcome(lambda: list(request.headers)),
        await outcome(lambda: request.cookies),
        await outcome(lambda: request.query_string),
        await outcome(lambda: request.args),
        await outcome(lambda: request.get_data()),
        await outcome(lambda: request.get_json(silent=True)),
        await outcome(lambda: request.get_json()),
    ]


class Probe:
    """An application that compares.

    ``prepare`` is what a before_request hook does to the request; the one that Quart's properties
    are read from gets the same treatment. ``setup`` may change the application.
    """

    def __init__(
        self,
        location: Any,
        *,
        kind: str = "access",
        prepare: Callable[[Request], Awaitable[None]] | None = None,
        setup: Callable[[Any], None] = lambda app: None,
        **options: Any,
    ) -> None:
        locations = [location] if isinstance(location, str) else list(location)
        self.app = make_app(JWT_TOKEN_LOCATION=locations, **options)
        self.kind = kind
        self.prepare = prepare
        self.raw = Raw()
        self.answers: Any = None
        setup(self.app)

        @self.app.before_request
        async def hook() -> None:
            await self.treat(request._get_current_object())

        @self.app.route("/probe", methods=METHODS)
        async def probe() -> str:
            self.answers = await self.ask_both(request._get_current_object())
            return ""

    async def treat(self, request: Request) -> None:
        if self.raw.late_query is not None:
            request.query_string = self.raw.late_query
        if self.prepare is not None:
            await self.prepare(request)

    async def second_request(self) -> Request:
        """Another request object of the same bytes, made by what makes Quart's."""
        connection = self.app.asgi_http_class(self.app, self.raw.scope())
        second = connection._create_request_from_scope(None)
        # Quart 0.20 to 0.22 give a request its JSON provider when they make its context.
        self.app.request_context(second)
        for chunk in self.raw.chunks:
            # Quart 0.23 made the method of its body a coroutine function of another name.
            if hasattr(second.body, "put"):
                await second.body.put(chunk)
            else:
                second.body.append(chunk)
        if not self.raw.stuck:
            second.body.set_complete()
        await self.treat(second)
        return second

    async def verify(self) -> dict[str, Any]:
        if self.kind == "access":
            await qje.verify_jwt_in_request()
        else:
            await qje.verify_jwt_refresh_token_in_request()
        return qje.get_jwt()

    async def ask_both(self, request: Request) -> Any:
        # The module goes first: nothing that the comparison reads may have warmed it up.
        ours = await outcome(self.verify)
        second = await self.second_request()
        theirs = await outcome(lambda: expected_claims(second, self.app.config, self.kind))
        seen: list[Any] = [None, None]
        # After 413 and 408 Quart 0.23 gives the rest of a body that it refused.
        if theirs[0] is None or not issubclass(theirs[0], (HTTPException, asyncio.TimeoutError)):
            seen = [await what_the_view_sees(each) for each in (request, second)]
        return ours, theirs, *seen

    async def send(self, raw: Raw) -> None:
        """Let the application answer ``raw``; the client leaves when it has its answer."""
        self.raw, self.answers = raw, None
        await Exchange(raw).run(self.app)

    async def check(self, raw: Raw) -> str:
        """Compare; return the identity that was found, or the message of the error."""
        await self.send(raw)
        assert self.answers is not None, f"the request did not reach the view: {raw}"
        ours, theirs, seen, seen_by_second = self.answers
        assert ours == theirs, f"we found {ours}, Quart {theirs}, in {raw}"
        assert seen == seen_by_second, f"the view saw {seen}, not {seen_by_second}, after {raw}"
        error, text = ours
        return text if error is not None else text.partition("'identity': '")[2].partition("'")[0]


def explore(
    cases: SearchStrategy[Raw], probe: Probe, *, must_see: set[str], examples: int = 40
) -> None:
    """Compare on generated requests, the same ones in every run of the same modules.

    ``must_see`` names outcomes that have to occur, so that a strategy that went astray is noticed.
    Hypothesis also draws from the constants of all modules that are loaded, so that a rare outcome
    may take another round.
    """
    outcomes: Counter[str] = Counter()
    loop = asyncio.new_event_loop()

    @generated.examples(examples, HealthCheck.data_too_large)
    @given(cases)
    def compare(raw: Raw) -> None:
        outcomes[loop.run_until_complete(probe.check(raw))] += 1

    try:
        for number in range(ROUNDS):
            seed(number)(compare)()
            if must_see <= set(outcomes):
                return
    finally:
        loop.close()
    raise AssertionError(f"{must_see - set(outcomes)} not seen, but {outcomes}")
