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
    """Log a test client in: ``async with signed_in(app, "alice") as client:``.

    The client is created with ``app.test_client()``. Its requests and WebSockets carry an access
    token in a location that the app accepts, with the CSRF header if that is a cookie. If a test
    passes an Authorization header, a cookie, a query parameter, a JSON key or a CSRF header to a
    request, these take precedence. No view is called, and no password is needed.

    With a token store, the login is a session, and a client with cookies also has the refresh
    cookie. The token has the lifetime of other tokens of the app. The client does not renew it.

    :param app: the Quart app, with a JWTManager.
    :param identity: the identity to log in, as for :func:`.create_access_token`.
    :param fresh: True creates a fresh token; a timedelta creates one that is fresh for that long.
    :param scopes: the scopes in the claim JWT_SCOPE_CLAIM: a string, with spaces between the names,
        or a sequence or a set of names.
    :param user_claims: as for :func:`.create_access_token`.
    :param additional_claims: as for :func:`.create_access_token`.
    :param locations: one or several location names, instead of JWT_TOKEN_LOCATION. Each request
        uses the first one that it can have: a form does not contain JSON, and a WebSocket does not
        have a body.
    :return: an asynchronous context manager that yields the client.
    :raises TypeError: if an argument has the wrong type.
    :raises ValueError: if a location is unknown, a scope is malformed (RFC 6749, section 3.3), or
        ``additional_claims`` contains the scopes as well.
    :raises RuntimeError: if the app has no JWTManager, an option or a key is invalid, or the client
        or a request cannot have any of the locations.
    """

async def assert_protected(app: Quart, exempt: _Names = ()) -> None:
    """Assert that every route and WebSocket of an app rejects requests without a token.

    It sends a real request without a token for each rule and each method. A route is protected if
    the request is rejected because the token is missing. Any response counts as a rejection then,
    for example a redirect to a login page. The views of open routes run: use an app with test data.
    It skips HEAD if a view does not handle it separately from GET, OPTIONS if Quart answers it or
    JWT_EXEMPT_OPTIONS is True, and rules that only redirect.

    It builds URLs from sample values for the converters. If this fails for a route, the decorators
    of the view and :func:`.protect` decide.

    :param app: the Quart app, with a JWTManager.
    :param exempt: names of endpoints that are open on purpose, for example ``"static"`` or
        ``("static", "login")``.
    :raises AssertionError: if routes are open. The message contains the method, the path and the
        endpoint of each, and its response.
    :raises TypeError: if an argument has the wrong type.
    :raises ValueError: if ``exempt`` contains a name that is not an endpoint of the app.
    :raises RuntimeError: if the app has no JWTManager, or an option is invalid.
    """
