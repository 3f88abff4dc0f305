from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from quart import Quart
from quart.testing import QuartClient

_Location: TypeAlias = Literal["headers", "cookies", "query_string", "json", "websocket_protocol"]
_Locations: TypeAlias = (
    _Location | list[_Location] | tuple[_Location, ...] | set[_Location] | frozenset[_Location]
)
_Names: TypeAlias = str | list[str] | tuple[str, ...] | set[str] | frozenset[str]

def signed_in(
    app: Quart,
    identity: Any,
    *,
    fresh: bool | timedelta = False,
    scopes: _Names | None = None,
    user_claims: Any = None,
    additional_claims: dict[str, Any] | None = None,
    locations: _Locations | None = None,
) -> AbstractAsyncContextManager[QuartClient]:
    """Sign an identity in for a test: ``async with signed_in(app, "alice") as client:``.

    The client is one of ``app.test_client()``. Its requests and WebSockets carry an access token
    where the app looks for it, with the CSRF header if that is a cookie. What a request is given by
    itself counts instead: an Authorization header, a cookie, a query parameter, a JSON key, a CSRF
    header. No view, no password and no other login is involved.

    With a token store the login is a session; a client with cookies then has the refresh cookie,
    too. The token lasts as long as others of the app, and is not renewed by the client.

    :param app: the Quart app, with a JWTManager.
    :param identity: who signs in, as :func:`.create_access_token` takes it.
    :param fresh: whether the token counts as fresh; a timedelta says for how long it does.
    :param scopes: what the claim JWT_SCOPE_CLAIM grants: one string, with spaces between the names,
        or a sequence or a set of names.
    :param user_claims: as for :func:`.create_access_token`.
    :param additional_claims: as for :func:`.create_access_token`.
    :param locations: one or several of the names that JWT_TOKEN_LOCATION takes, in its place. The
        first one that a request can have is used: a form has no JSON, and a WebSocket no body.
    :return: an asynchronous context manager, which gives the client.
    :raises TypeError: an argument has a wrong type.
    :raises ValueError: a location is unknown, a scope is malformed (RFC 6749, section 3.3), or
        ``additional_claims`` holds the scopes as well.
    :raises RuntimeError: the app has no JWTManager, an option or a key is wrong, or no location
        suits; also from a request that none suits.
    """

async def assert_protected(app: Quart, exempt: _Names = ()) -> None:
    """Assert that every route and WebSocket of an app rejects requests without a token.

    It makes a real request, without a token, for each rule and each method. A route is protected if
    that is rejected for want of a token, whatever the answer is: a redirect to a login page, too.
    Views that turn out to be open do run, and what they do is done: let the app of the test have
    nothing to lose. Left out are HEAD where it is that of GET, OPTIONS where Quart answers by
    itself or JWT_EXEMPT_OPTIONS says so, and rules that only redirect.

    URLs are made up from the converters. For one that cannot be made up, what the decorators of the
    view and :func:`.protect` say decides.

    :param app: the Quart app, with a JWTManager.
    :param exempt: endpoint names that are open on purpose, for example ``"static"`` or
        ``("static", "login")``.
    :raises AssertionError: routes are open; the message has the method, the path and the endpoint
        of each, and what came instead of a rejection.
    :raises TypeError: an argument has a wrong type.
    :raises ValueError: there is no endpoint of a name in ``exempt``.
    :raises RuntimeError: the app has no JWTManager, or an option is wrong.
    """
