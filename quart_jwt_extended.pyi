"""JSON Web Tokens (RFC 7519) for Quart: the types of the compiled module."""

# -----------------------------------------------------------------------------
# Imports
# -----------------------------------------------------------------------------

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from blinker import NamedSignal
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from jwt import PyJWK
from quart import Blueprint, Quart, Response
from quart.typing import ResponseReturnValue
from werkzeug.wrappers import Response as WerkzeugResponse

_P = ParamSpec("_P")
_R = TypeVar("_R")
_View = TypeVar("_View", bound=Callable[..., Any])

class _AddsToDatetime(Protocol):
    def __radd__(self, other: datetime, /) -> datetime: ...

class _ViewDecorator(Protocol):
    @overload
    def __call__(
        self, view: Callable[_P, Awaitable[_R]], /
    ) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
    @overload
    def __call__(self, view: Callable[_P, _R], /) -> Callable[_P, Coroutine[Any, Any, _R]]: ...

_Location: TypeAlias = Literal["headers", "cookies", "query_string", "json", "websocket_protocol"]
_Locations: TypeAlias = (
    _Location | list[_Location] | tuple[_Location, ...] | set[_Location] | frozenset[_Location]
)
_Names: TypeAlias = str | list[str] | tuple[str, ...] | set[str] | frozenset[str]
_HeaderParameters: TypeAlias = dict[str, Any]
_Claims: TypeAlias = dict[str, Any]
_Lifetime: TypeAlias = timedelta | int | _AddsToDatetime | Literal[False]
_AnyResponse: TypeAlias = Response | WerkzeugResponse
_SigningKey: TypeAlias = (
    str | bytes | RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey
)
_VerifyingKey: TypeAlias = (
    str | bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey | PyJWK
)

_FromSubject = TypeVar("_FromSubject", bound=Callable[[Any], Any])
_Additions = TypeVar(
    "_Additions",
    bound=Callable[[Any], dict[str, Any] | None | Awaitable[dict[str, Any] | None]],
)
_EncodeKey = TypeVar("_EncodeKey", bound=Callable[[Any], _SigningKey | Awaitable[_SigningKey]])
_DecodeKey = TypeVar(
    "_DecodeKey",
    bound=Callable[
        [_Claims, _HeaderParameters], _VerifyingKey | None | Awaitable[_VerifyingKey | None]
    ],
)
_Document: TypeAlias = str | bytes | dict[str, Any]
_Fetched: TypeAlias = _Document | tuple[_Document, Mapping[str, str]] | None
_JWKSFetch = TypeVar("_JWKSFetch", bound=Callable[[str], _Fetched | Awaitable[_Fetched]])
_ClaimsCheck = TypeVar("_ClaimsCheck", bound=Callable[[_Claims], bool | Awaitable[bool]])
_TokenCheck = TypeVar(
    "_TokenCheck", bound=Callable[[_HeaderParameters, _Claims], bool | Awaitable[bool]]
)
_ReuseReport = TypeVar("_ReuseReport", bound=Callable[[_HeaderParameters, _Claims], Any])
_UserLoader = TypeVar("_UserLoader", bound=Callable[[Any], Any])
_UserLookup = TypeVar("_UserLookup", bound=Callable[[_HeaderParameters, _Claims], Any])

_Answer: TypeAlias = ResponseReturnValue | Awaitable[ResponseReturnValue]
_AnswerToNothing = TypeVar("_AnswerToNothing", bound=Callable[[], _Answer])
_AnswerToNothingOrToken = TypeVar(
    "_AnswerToNothingOrToken",
    bound=Callable[[], _Answer] | Callable[[_HeaderParameters, _Claims], _Answer],
)
_AnswerToReason = TypeVar("_AnswerToReason", bound=Callable[[str], _Answer])
_AnswerToClaimsOrToken = TypeVar(
    "_AnswerToClaimsOrToken",
    bound=Callable[[_Claims], _Answer] | Callable[[_HeaderParameters, _Claims], _Answer],
)
_AnswerToToken = TypeVar("_AnswerToToken", bound=Callable[[_HeaderParameters, _Claims], _Answer])
_AnswerToIdentity = TypeVar("_AnswerToIdentity", bound=Callable[[Any], _Answer])
_AnswerToScopes = TypeVar("_AnswerToScopes", bound=Callable[[tuple[str, ...], _Claims], _Answer])

# -----------------------------------------------------------------------------
# Public names
# -----------------------------------------------------------------------------

__version__: str

__all__ = [
    "CSRFError",
    "FreshTokenRequired",
    "InsufficientScopeError",
    "InvalidHeaderError",
    "IssuerUnavailableError",
    "JWTDecodeError",
    "JWTExtendedException",
    "JWTManager",
    "MemoryTokenStore",
    "NoAuthorizationError",
    "Protection",
    "RedisTokenStore",
    "RevokedTokenError",
    "SQLTokenStore",
    "Session",
    "SessionEndedError",
    "SessionTokens",
    "TokenReusedError",
    "TokenStore",
    "TokenStoreError",
    "TrustedIssuer",
    "UserClaimsVerificationError",
    "UserLoadError",
    "WebSocketOriginError",
    "WrongTokenError",
    "create_access_token",
    "create_access_token_async",
    "create_refresh_token",
    "create_refresh_token_async",
    "create_session",
    "current_user",
    "decode_token",
    "decode_token_async",
    "fresh_jwt_required",
    "get_csrf_token",
    "get_current_user",
    "get_jti",
    "get_jwks",
    "get_jwt",
    "get_jwt_claims",
    "get_jwt_header",
    "get_jwt_identity",
    "get_jwt_issuer",
    "get_jwt_request_location",
    "get_raw_jwt",
    "get_raw_jwt_header",
    "get_session_id",
    "get_sessions",
    "get_unverified_jwt_headers",
    "jwt_exempt",
    "jwt_optional",
    "jwt_refresh_token_required",
    "jwt_required",
    "protect",
    "protection_of",
    "renew_websocket",
    "revoke_session",
    "revoke_sessions",
    "revoke_token",
    "rotate_session",
    "set_access_cookies",
    "set_refresh_cookies",
    "set_session_cookies",
    "token_created",
    "token_refused",
    "token_verified",
    "unset_access_cookies",
    "unset_jwt_cookies",
    "unset_refresh_cookies",
    "verify_fresh_jwt_in_request",
    "verify_jwt_in_request",
    "verify_jwt_in_request_optional",
    "verify_jwt_refresh_token_in_request",
    "verify_token",
]

# -----------------------------------------------------------------------------
# Defaults
# -----------------------------------------------------------------------------

DEFAULTS: dict[str, Any]

# -----------------------------------------------------------------------------
# Exceptions
# -----------------------------------------------------------------------------

class JWTExtendedException(Exception):
    """Base class of all exceptions of this extension."""

class JWTDecodeError(JWTExtendedException):
    """A claim that the extension needs is missing or invalid."""

class InvalidHeaderError(JWTExtendedException):
    """The header that should contain the token is malformed, or has another scheme."""

class NoAuthorizationError(JWTExtendedException):
    """The request has no token in any of the accepted locations."""

class CSRFError(JWTExtendedException):
    """The CSRF double-submit value is missing or differs from the one in the token."""

class WebSocketOriginError(CSRFError):
    """A page from a foreign origin opened a WebSocket, and the browser sent the cookies with it.

    ``origin`` is the origin of the page, ``host`` the ``Host`` header of the handshake.
    """

    origin: str | None
    host: str | None

class WrongTokenError(JWTExtendedException):
    """A refresh token was sent where an access token is required, or the reverse.

    :func:`renew_websocket` also raises it for a token of another identity or session.
    """

class RevokedTokenError(JWTExtendedException):
    """The token was revoked, according to the token store or the blocklist callback."""

class SessionEndedError(RevokedTokenError):
    """The session of the token was revoked, has ended, or is unknown to the token store."""

class TokenReusedError(RevokedTokenError):
    """A refresh token was used again after its rotation, so its session was revoked.

    The server cannot tell which of the two uses was legitimate (RFC 9700, section 4.14.2).
    """

class FreshTokenRequired(JWTExtendedException):
    """The token is valid but not fresh, and the route requires a fresh token."""

class UserLoadError(JWTExtendedException):
    """The user loader returned None for the identity in the token."""

class UserClaimsVerificationError(JWTExtendedException):
    """The callback for claims verification rejected the claims of the token."""

class InsufficientScopeError(JWTExtendedException):
    """The token is valid but lacks a scope that the route requires (RFC 6750, section 3.1).

    ``required`` is the tuple of required scopes.
    """

    required: tuple[str, ...]

class TokenStoreError(JWTExtendedException):
    """The token store is unavailable; ``__cause__`` is the exception that it raised."""

class IssuerUnavailableError(JWTExtendedException):
    """The keys of a trusted issuer are unavailable, and the key that a token names is unknown.

    ``__cause__`` is the exception of the last attempt to fetch the keys, if it failed.
    """

# -----------------------------------------------------------------------------
# Trusted issuers
# -----------------------------------------------------------------------------

# --- Public view --------------------------------------------------------------

class TrustedIssuer:
    """The state of a trusted issuer, in :attr:`JWTManager.issuers`, for health checks.

    :meth:`JWTManager.trust_issuer` creates it.
    """

    @property
    def name(self) -> str:
        """The name of the issuer, which its tokens have in ``iss`` (str)."""

    @property
    def is_fresh(self) -> bool:
        """Whether the last fetched keys are still within their lifetime (bool)."""

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ``kid`` of each key that currently verifies tokens (sorted tuple of str)."""

    @property
    def last_error(self) -> str | None:
        """The reason why the last fetch failed (str), None if it succeeded or there was none.

        It contains no data that the issuer has sent.
        """

    async def reload(self) -> None:
        """Fetch the keys now, or wait for the fetch that is running.

        Await it before the app serves, so that no request waits for the first fetch. It ignores
        the pause of 30 seconds between two attempts, so do not let clients trigger it.

        :raises IssuerUnavailableError: if the issuer does not respond, or its response is unusable.
        :raises TypeError: if the callback of ``jwks_fetch_loader`` returned an invalid value.
        """

# -----------------------------------------------------------------------------
# Verifying a request
# -----------------------------------------------------------------------------

# --- Log and signals ----------------------------------------------------------

token_verified: NamedSignal
token_refused: NamedSignal
token_created: NamedSignal

# -----------------------------------------------------------------------------
# Token store and sessions
# -----------------------------------------------------------------------------

# --- The protocol -------------------------------------------------------------

_Rotation: TypeAlias = tuple[Literal["rotated", "retried", "reused", "ended"], Session | None]
_Standing: TypeAlias = Literal["live", "token_revoked", "session_ended"]
_Revocations: TypeAlias = tuple[float, list[tuple[Literal["session", "token"], str, float | None]]]

class Session(NamedTuple):
    """One login of a user, as returned by :func:`get_sessions`.

    ``id`` is the claim ``sid`` of its tokens. ``identity`` is their identity, as JSON text unless
    it is a string. ``generation`` counts the rotations. The times are timezone-aware datetimes in
    UTC: ``created_at``, ``rotated_at`` (the last rotation), ``expires_at`` (the end unless the
    session is rotated before) and ``ends_at`` (the end in any case). The last two are None if there
    is no such end. ``metadata`` is the dict that was passed to :func:`create_session`.
    """

    id: str
    identity: str
    generation: int
    created_at: datetime
    rotated_at: datetime
    expires_at: datetime | None
    ends_at: datetime | None
    metadata: dict[str, Any]

class SessionTokens(NamedTuple):
    """The encoded tokens of a session, and its ID.

    ``session_id`` is the claim ``sid`` of both tokens. The repr shows only the ID, so that tokens
    do not appear in logs.
    """

    access_token: str
    refresh_token: str
    session_id: str

class TokenStore(Protocol):
    """The protocol of a token store, which keeps sessions and revocations.

    Implement it to write your own store; subclassing is not required. Each method is async and
    commits its own changes, never as part of a transaction of the application. Times are in
    seconds, by the clock of the store. An exception from a method becomes a :exc:`TokenStoreError`,
    and the request is rejected.

    A session ends at ``expires_at`` or at ``ends_at``, the earlier of the two. It is live until
    then, unless it is revoked.
    """

    def create_session(
        self,
        session_id: str,
        identity: str,
        *,
        lifetime: float | None,
        max_age: float | None,
        linger: float,
        metadata: dict[str, Any],
    ) -> Awaitable[Session]:
        """Create a session with generation 0.

        :param session_id: 30 characters of base64url. The first 8 depend only on the identity.
        :param identity: the identity as text.
        :param lifetime: seconds until ``expires_at``, or None for no such end.
        :param max_age: seconds until ``ends_at``, or None for no such end.
        :param linger: seconds for which the data must be kept after the session has ended.
        :param metadata: a JSON object (dict).
        :return: the new :class:`Session`.
        """
    def rotate_session(
        self,
        session_id: str,
        generation: int,
        *,
        lifetime: float | None,
        grace: float,
        linger: float,
    ) -> Awaitable[_Rotation]:
        """Advance a session to the next generation, in one atomic step.

        :param session_id: the ID of the session.
        :param generation: the generation of the refresh token that was sent.
        :param lifetime: seconds from now until ``expires_at``, which never moves to an earlier
            time; None for no such end.
        :param grace: seconds after a rotation during which the previous refresh token is still
            accepted.
        :param linger: as for :meth:`create_session`.
        :return: a tuple of the outcome (str) and the :class:`Session`. ``"rotated"``: the
            generation was the current one, and is now increased by one. ``"retried"``: it was the
            previous one, within the grace period; nothing is written. ``"reused"``: it was an older
            one, or the grace period is over; the session was live, and this call has revoked it.
            ``"ended"``, with None instead of the session: the session is not live or unknown, or
            the generation is higher than the current one; nothing is written.
        """
    def extend_session(
        self, session_id: str, *, lifetime: float | None, linger: float
    ) -> Awaitable[Session | None]:
        """Move ``expires_at`` of a live session to a later time, never to an earlier one.

        :param session_id: the ID of the session.
        :param lifetime: as for :meth:`rotate_session`.
        :param linger: as for :meth:`create_session`.
        :return: the :class:`Session`, or None if it is not live.
        """
    def revoke_session(self, session_id: str) -> Awaitable[Session | None]:
        """Revoke a session.

        :param session_id: the ID of the session.
        :return: the :class:`Session` if it was live until now, None otherwise.
        """
    def revoke_sessions(
        self, identity: str, *, keep: str | None = None
    ) -> Awaitable[list[Session]]:
        """Revoke all live sessions of an identity.

        :param identity: the identity as text.
        :param keep: the ID of a session that is not revoked, or None.
        :return: the list of the sessions that this call has revoked.
        """
    def get_sessions(self, identity: str) -> Awaitable[list[Session]]:
        """List the live sessions of an identity.

        :param identity: the identity as text.
        :return: a list of :class:`Session`, newest first.
        """
    def revoke_token(self, token_id: str, *, lifetime: float | None) -> Awaitable[None]:
        """Revoke a token.

        :param token_id: its ``jti``, at most 64 printable ASCII characters.
        :param lifetime: seconds for which the revocation must be kept, or None to keep it forever.
        """
    def check(self, session_id: str | None, token_id: str | None) -> Awaitable[_Standing]:
        """Check whether a token can be accepted, in one round trip.

        :param session_id: the ID of its session, or None.
        :param token_id: as for :meth:`revoke_token`, or None.
        :return: ``"token_revoked"``, ``"session_ended"`` if the session is not live or unknown, or
            ``"live"``.
        """
    def revoked_since(self, moment: float) -> Awaitable[_Revocations]:
        """List the revocations since a given time, for workers that keep them in memory.

        :param moment: the first moment to include, as POSIX time by the clock of the store; 0.0
            includes all known revocations.
        :return: a tuple of the time of this lookup, as POSIX time by the clock of the store, and a
            list of tuples: ``"session"`` or ``"token"``, the ID, and the POSIX time until which the
            entry matters (None: forever).
        """
    def purge(self) -> Awaitable[int]:
        """Delete entries that are no longer needed.

        :return: the number of deleted entries; 0 if the store deletes them by itself.
        """

# --- The stores ---------------------------------------------------------------

class MemoryTokenStore:
    """A token store in the memory of this process, for tests and apps with a single worker.

    Sessions and revocations are lost when the process ends, and other workers do not see them.
    Finding the sessions of one identity reads all sessions.
    """

    def __init__(self) -> None: ...
    async def create_session(
        self,
        session_id: str,
        identity: str,
        *,
        lifetime: float | None,
        max_age: float | None,
        linger: float,
        metadata: dict[str, Any],
    ) -> Session: ...
    async def rotate_session(
        self,
        session_id: str,
        generation: int,
        *,
        lifetime: float | None,
        grace: float,
        linger: float,
    ) -> _Rotation: ...
    async def extend_session(
        self, session_id: str, *, lifetime: float | None, linger: float
    ) -> Session | None: ...
    async def revoke_session(self, session_id: str) -> Session | None: ...
    async def revoke_sessions(self, identity: str, *, keep: str | None = None) -> list[Session]: ...
    async def get_sessions(self, identity: str) -> list[Session]: ...
    async def revoke_token(self, token_id: str, *, lifetime: float | None) -> None: ...
    async def check(self, session_id: str | None, token_id: str | None) -> _Standing: ...
    async def revoked_since(self, moment: float) -> _Revocations: ...
    async def purge(self) -> int: ...

class RedisTokenStore:
    """A token store in Redis (6.2 or later) or Valkey, shared by all workers.

    Redis deletes expired entries by itself. If it evicts keys, or loses them in a restart, the
    sessions in these keys end. A revocation is a single script, except in a cluster, where each
    script uses a single key, so that the keys can be distributed: if it fails there, only workers
    that poll may know of it.

    :param client: a ``redis.asyncio`` client for a single server, Sentinel or a cluster, or the
        equivalent ``valkey.asyncio`` client. Set ``socket_timeout`` and ``socket_connect_timeout``
        in case Redis hangs, and ``retry=Retry(NoBackoff(), 1)`` in case it restarts. The app must
        close the client.
    :param prefix: the prefix of all keys.
    """

    def __init__(self, client: Any, prefix: str = "jwt:") -> None: ...
    async def create_session(
        self,
        session_id: str,
        identity: str,
        *,
        lifetime: float | None,
        max_age: float | None,
        linger: float,
        metadata: dict[str, Any],
    ) -> Session: ...
    async def rotate_session(
        self,
        session_id: str,
        generation: int,
        *,
        lifetime: float | None,
        grace: float,
        linger: float,
    ) -> _Rotation: ...
    async def extend_session(
        self, session_id: str, *, lifetime: float | None, linger: float
    ) -> Session | None: ...
    async def revoke_session(self, session_id: str) -> Session | None: ...
    async def revoke_sessions(self, identity: str, *, keep: str | None = None) -> list[Session]: ...
    async def get_sessions(self, identity: str) -> list[Session]: ...
    async def revoke_token(self, token_id: str, *, lifetime: float | None) -> None: ...
    async def check(self, session_id: str | None, token_id: str | None) -> _Standing: ...
    async def revoked_since(self, moment: float) -> _Revocations: ...
    async def purge(self) -> int: ...

class SQLTokenStore:
    """A token store in PostgreSQL or SQLite (3.35 or later), using SQLAlchemy.

    Each change is one statement on its own connection and is committed immediately, never as part
    of a transaction of the app. The attribute ``metadata`` contains the two tables, for Alembic;
    :meth:`create_tables` creates them. Expired rows stay in the tables until :meth:`purge`, or the
    command ``quart jwt purge``, deletes them.

    :param engine: an ``AsyncEngine`` for asyncpg, psycopg or aiosqlite. The app must dispose of it.
    :param table: the name of the table of sessions. The name of the table of revoked tokens is the
        same with ``_revoked_tokens`` appended.
    :raises TypeError: if ``engine`` is not an ``AsyncEngine``.
    :raises ValueError: if the engine is for another database, or for in-memory SQLite, which has a
        single connection, so that a rollback in the app would undo a revocation.
    """

    # Any stands for types of SQLAlchemy, which may not be installed: AsyncEngine, MetaData.
    metadata: Any

    def __init__(self, engine: Any, table: str = "jwt_sessions") -> None: ...
    async def create_tables(self) -> None:
        """Create the two tables and their indexes if they do not exist."""

    async def create_session(
        self,
        session_id: str,
        identity: str,
        *,
        lifetime: float | None,
        max_age: float | None,
        linger: float,
        metadata: dict[str, Any],
    ) -> Session: ...
    async def rotate_session(
        self,
        session_id: str,
        generation: int,
        *,
        lifetime: float | None,
        grace: float,
        linger: float,
    ) -> _Rotation: ...
    async def extend_session(
        self, session_id: str, *, lifetime: float | None, linger: float
    ) -> Session | None: ...
    async def revoke_session(self, session_id: str) -> Session | None: ...
    async def revoke_sessions(self, identity: str, *, keep: str | None = None) -> list[Session]: ...
    async def get_sessions(self, identity: str) -> list[Session]: ...
    async def revoke_token(self, token_id: str, *, lifetime: float | None) -> None: ...
    async def check(self, session_id: str | None, token_id: str | None) -> _Standing: ...
    async def revoked_since(self, moment: float) -> _Revocations: ...
    async def purge(self) -> int: ...

# -----------------------------------------------------------------------------
# JWTManager
# -----------------------------------------------------------------------------

class JWTManager:
    """The extension object: it holds the callbacks and is bound to one or more Quart apps.

    Its loaders are decorators. Each one registers a callback and returns it unchanged; registering
    another callback replaces the first. A callback is a function or a coroutine function. The
    number of its parameters is checked when it is registered: TypeError is raised if it cannot be
    called as its loader describes. If a callback raises an exception, the request fails.

    :param app: the app to bind to, or None to call :meth:`init_app` later, as in an application
        factory.
    :param add_context_processor: whether templates can use ``current_user``.
    :param token_store: where sessions and revocations are stored, such as a
        :class:`MemoryTokenStore`; None if the app does not use them.
    :raises TypeError: if ``token_store`` is not a :class:`TokenStore`.
    """

    def __init__(
        self,
        app: Quart | None = None,
        add_context_processor: bool = False,
        token_store: TokenStore | None = None,
    ) -> None: ...
    def init_app(
        self,
        app: Quart,
        add_context_processor: bool = False,
        token_store: TokenStore | None = None,
    ) -> None:
        """Bind this manager to an app: set the default options and register the error handlers.

        A manager can be bound to several apps; each has its own options and keys. Binding another
        manager to the same app replaces this one, as in 0.1.0. The app gets three commands:
        ``quart jwt routes`` lists its routes and how they are protected; ``quart jwt purge``
        deletes expired entries from the token store; ``quart jwt keys`` creates a key, or lists
        those of JWT_KEYS.

        :param app: the Quart app.
        :param add_context_processor: whether templates can use ``current_user``.
        :param token_store: the token store of this app. If None, the store of the manager is used.
        :raises TypeError: if ``token_store`` is not a :class:`TokenStore`.
        """

    def check(self, app: Quart) -> None:
        """Check the configuration of an app, for tests and CI.

        The same check runs before the app serves. It warns about ``JWT_*`` options that do not
        exist and about methods in JWT_CSRF_METHODS that HTTP does not define.

        :param app: a Quart app to which a manager is bound.
        :raises RuntimeError: if options or keys are invalid (the message lists all of them), or if
            a decorator is placed above the decorator of a route or a hook, where it protects
            nothing.
        """
    def describe(self, app: Quart) -> None:
        """Add the protection of an app's routes to the OpenAPI document of quart-schema.

        Each location where a documented route accepts a token becomes a security scheme, such as
        ``jwtAccessHeader``, ``jwtRefreshCookie`` or ``jwtAccessQuery``. Each operation requires one
        of the schemes that it accepts, with its scopes; with ``optional=True``, it also works
        without any. The JSON body is left out, because it cannot be a scheme in OpenAPI. A scheme
        of the same name that is passed to QuartSchema takes precedence, as does the ``security`` of
        an operation.

        Call it after ``QuartSchema(app)``. Routes that are added later are included.

        :param app: a Quart app to which a manager is bound.
        :raises TypeError: if ``app`` is not a Quart app.
        :raises RuntimeError: if the app has no JWTManager or no QuartSchema, or quart-schema is
            older than 0.21.
        :raises ImportError: if quart-schema is not installed. The extra ``openapi`` installs it.
        """

    # --- Loaders: token contents ----------------------------------------------

    def user_claims_loader(self, callback: _FromSubject) -> _FromSubject:
        """Register the callback that returns the user claims of a new access token.

        They become the claim that JWT_USER_CLAIMS names, also in refresh tokens if
        JWT_CLAIMS_IN_REFRESH_TOKEN is True. The callback is not called if ``user_claims`` is
        passed.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns a JSON-serializable value, usually a dict.
        """

    def additional_claims_loader(self, callback: _Additions) -> _Additions:
        """Register the callback that returns additional top-level claims of a new token.

        As in Flask-JWT-Extended. The user claims, in contrast, are a single claim that contains a
        dict.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns a dict of claims or None.
        """

    def user_identity_loader(self, callback: _FromSubject) -> _FromSubject:
        """Register the callback that converts an object, such as a user, to its identity.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns the identity for the token, a JSON-serializable value. It must be a str
            if JWT_IDENTITY_CLAIM is ``"sub"`` and JWT_VERIFY_SUB is True.
        """

    def additional_headers_loader(self, callback: _Additions) -> _Additions:
        """Register the callback that returns additional headers of a new token, such as ``kid``.

        The callback is not called if ``headers`` is passed.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns a dict of header parameters (RFC 7515, section 4) or None.
        """

    # --- Loaders: keys --------------------------------------------------------

    def encode_key_loader(self, callback: _EncodeKey) -> _EncodeKey:
        """Register the callback that chooses the key to sign a token.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns the secret (str or bytes), or the private key as PEM (str or bytes) or as
            a ``cryptography`` key.
        """

    def decode_key_loader(self, callback: _DecodeKey) -> _DecodeKey:
        """Register the callback that chooses the key to verify a token.

        The key is used only for the algorithms of its own family. A token for which the callback
        returns None or an empty key is rejected.

        :param callback: called with the unverified claims and the unverified header of the token
            (dicts), returns the secret (str or bytes), or the public key as PEM (str or bytes), as
            a ``cryptography`` key or as a ``PyJWK``. A callback with one parameter, called with the
            claims only, is deprecated.
        """

    def jwks_fetch_loader(self, callback: _JWKSFetch) -> _JWKSFetch:
        """Register the callback that fetches the documents of trusted issuers.

        By default, the standard library fetches them in a thread. Use a callback for httpx, aiohttp
        or a proxy. It must not follow redirects, and has 5 seconds in total for all documents of an
        issuer. An exception from it counts as an outage of the issuer. A callback that is not a
        coroutine function is called in a thread.

        :param callback: called with the URL (str), returns the body of the response, at most 262144
            bytes, as bytes, str or the parsed dict; or a tuple of the body and the response headers
            (a mapping), of which ``Cache-Control`` is used; or None if the document does not exist
            (404).
        """

    # --- Loaders: checks ------------------------------------------------------

    def token_in_blacklist_loader(self, callback: _ClaimsCheck) -> _ClaimsCheck:
        """0.1.0 name of :meth:`token_in_blocklist_loader`.

        The callback is called only if JWT_BLACKLIST_ENABLED is True.

        :param callback: called with the claims of the token (dict) only, returns True if the token
            is revoked, False otherwise.
        """

    def token_in_blocklist_loader(self, callback: _TokenCheck) -> _TokenCheck:
        """Register the callback that checks whether a token is revoked, as in Flask-JWT-Extended.

        It is called for the token types in JWT_BLACKLIST_TOKEN_CHECKS, regardless of
        JWT_BLACKLIST_ENABLED. It replaces the callback of :meth:`token_in_blacklist_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns True if
            the token is revoked, False otherwise.
        """

    def claims_verification_loader(self, callback: _ClaimsCheck) -> _ClaimsCheck:
        """Register the callback that accepts or rejects the user claims of an access token.

        It is not called for refresh tokens. It replaces the callback of
        :meth:`token_verification_loader`, which is called for both types of token.

        :param callback: called with the user claims (a JSON value, usually a dict), returns True to
            accept them, False otherwise.
        """

    def token_verification_loader(self, callback: _TokenCheck) -> _TokenCheck:
        """Register the callback that accepts or rejects a token, as in Flask-JWT-Extended.

        It is called for access tokens and refresh tokens. It replaces the callback of
        :meth:`claims_verification_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns True to
            accept it, False otherwise.
        """

    def user_loader_callback_loader(self, callback: _UserLoader) -> _UserLoader:
        """0.1.0 name of :meth:`user_lookup_loader`.

        :param callback: called with the identity in the token (a JSON value) only, returns the user
            or None.
        """

    def user_lookup_loader(self, callback: _UserLookup) -> _UserLookup:
        """Register the callback that loads the user of a request, as in Flask-JWT-Extended.

        The user is then available as :data:`current_user`. If the callback returns None, the
        request is rejected. It replaces the callback of :meth:`user_loader_callback_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns the
            user (any object), or None if there is no such user.
        """

    # --- Loaders: sessions ----------------------------------------------------

    def refresh_reuse_loader(self, callback: _ReuseReport) -> _ReuseReport:
        """Register the callback that reports the reuse of a refresh token.

        It is called when a refresh token is used again after its rotation, outside of its grace
        period (JWT_REFRESH_GRACE). The session is already revoked at that time (RFC 9700, section
        4.14.2), and the response is 401. The callback is called once per session: use it to warn
        the user, whose token may have been stolen.

        :param callback: called with the header and the claims of the token (dicts). The return
            value is ignored.
        """

    def implicit_refresh_loader(self, callback: _ClaimsCheck) -> _ClaimsCheck:
        """Register the callback that decides whether an access token is renewed in a response.

        It is called if JWT_IMPLICIT_REFRESH is set, after the view and before the renewal.

        :param callback: called with the claims of the access token (dict), returns True to renew
            it, False otherwise.
        """

    # --- Loaders: error responses ---------------------------------------------

    def unauthorized_loader(self, callback: _AnswerToReason) -> _AnswerToReason:
        """Register the callback that responds to a request without a token.

        It also responds to a missing or wrong CSRF value and to a WebSocket from a foreign origin.
        The default response is 401 with ``{"msg": "<error description>"}``, or 403 for a foreign
        origin.

        :param callback: called with the reason (str), returns a response.
        """

    def invalid_token_loader(self, callback: _AnswerToReason) -> _AnswerToReason:
        """Register the callback that responds to an invalid token.

        The default response is 422 with ``{"msg": "<error description>"}``.

        :param callback: called with the reason (str), returns a response.
        """

    def expired_token_loader(self, callback: _AnswerToClaimsOrToken) -> _AnswerToClaimsOrToken:
        """Register the callback that responds to an expired token.

        The default response is 401 with ``{"msg": "Token has expired"}``.

        :param callback: called with the claims of the token (dict), or, if it has two parameters,
            with the header and the claims (dicts) as in Flask-JWT-Extended, returns a response. A
            callback without parameters is deprecated.
        """

    def needs_fresh_token_loader(
        self, callback: _AnswerToNothingOrToken
    ) -> _AnswerToNothingOrToken:
        """Register the callback that responds to a non-fresh token where a fresh one is required.

        The default response is 401 with ``{"msg": "Fresh token required"}``.

        :param callback: called without arguments, or, if it has two parameters, with the header and
            the claims of the token (dicts) as in Flask-JWT-Extended, returns a response.
        """

    def revoked_token_loader(self, callback: _AnswerToNothingOrToken) -> _AnswerToNothingOrToken:
        """Register the callback that responds to a revoked token.

        It also responds if the session of the token has ended, or a refresh token is reused. The
        default response is 401 with ``{"msg": "Token has been revoked"}``. For a session, the
        message is ``Session has ended`` or ``Refresh token has been reused``.

        :param callback: called without arguments, or, if it has two parameters, with the header and
            the claims of the token (dicts) as in Flask-JWT-Extended, returns a response.
        """

    def user_loader_error_loader(self, callback: _AnswerToIdentity) -> _AnswerToIdentity:
        """0.1.0 name of :meth:`user_lookup_error_loader`.

        :param callback: called with the identity in the token (a JSON value) only, returns a
            response.
        """

    def user_lookup_error_loader(self, callback: _AnswerToToken) -> _AnswerToToken:
        """Register the callback that responds if the user was not found, as in Flask-JWT-Extended.

        The default response is 401 with ``{"msg": "Error loading the user <identity>"}``. The
        callback replaces that of :meth:`user_loader_error_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns a
            response.
        """

    def claims_verification_failed_loader(self, callback: _AnswerToNothing) -> _AnswerToNothing:
        """0.1.0 name of :meth:`token_verification_failed_loader`.

        :param callback: called without arguments, returns a response.
        """

    def token_verification_failed_loader(self, callback: _AnswerToToken) -> _AnswerToToken:
        """Register the callback that responds to rejected claims, as in Flask-JWT-Extended.

        The default response is 400 with ``{"msg": "User claims verification failed"}``. The
        callback replaces that of :meth:`claims_verification_failed_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns a
            response.
        """

    def insufficient_scope_loader(self, callback: _AnswerToScopes) -> _AnswerToScopes:
        """Register the callback that responds to a token that lacks a required scope.

        The default response is 403 with ``{"msg": "Insufficient scope"}``.

        :param callback: called with the scopes that the endpoint requires (tuple of str) and the
            claims of the token (dict), returns a response.
        """

    # --- Trusted issuers ------------------------------------------------------

    @property
    def issuers(self) -> Mapping[str, TrustedIssuer]:
        """The trusted issuers by name: a read-only mapping of str to :class:`TrustedIssuer`."""

    def trust_issuer(
        self,
        issuer: str,
        *,
        audience: _Names,
        algorithms: _Names,
        jwks_uri: str | None = None,
        token_type: str | None = None,
        audience_claim: str = "aud",
        identity_claim: str = "sub",
        scope_claim: str | None = None,
        leeway: float | timedelta | None = None,
    ) -> TrustedIssuer:
        """Accept the access tokens of an identity provider in addition to those of the app.

        The ``iss`` of a token decides which issuer it belongs to. The token must be signed with a
        key that the issuer publishes and that its ``kid`` names, be intended for ``audience``, and
        have an ``exp``. The extension fetches the keys when a token needs them, from the
        ``jwks_uri`` in the OpenID configuration of the issuer (OpenID Connect Discovery; RFC 8414),
        and caches them.

        All tokens of the issuer count as access tokens that are not fresh; a token whose ``type``,
        ``token_type`` or ``typ`` is ``"refresh"`` is rejected. The claims ``type``, ``fresh``,
        ``csrf``, ``sid`` and ``gen`` and the user claims are removed, because only the app itself
        may set them.

        :param issuer: the exact ``iss`` of its tokens.
        :param audience: one or more names, of which the token must have one in ``aud``.
        :param algorithms: one or more asymmetric algorithms, such as ``["RS256"]``. Neither the
            token nor a JWK can add another one.
        :param jwks_uri: the URL of the JWK Set (RFC 7517). If None, it is discovered.
        :param token_type: the ``typ`` that the header must have; ``"at+jwt"`` also requires the
            claims of RFC 9068, section 2.2. If None, any is accepted.
        :param audience_claim: the claim that contains the audience, for providers that leave
            ``aud`` out of access tokens. If ``aud`` is present, it must contain one of the names,
            too.
        :param identity_claim: the claim that contains the identity, which must be a non-empty
            string in each token.
        :param scope_claim: the claim that contains the scopes. If None, JWT_SCOPE_CLAIM is used.
        :param leeway: seconds, or a timedelta, by which the clock of the issuer may differ. If
            None, JWT_DECODE_LEEWAY is used.
        :return: the :class:`TrustedIssuer`.
        :raises TypeError: if an argument has the wrong type, or ``audience`` or ``algorithms`` is
            missing.
        :raises ValueError: if the issuer is already trusted; if an algorithm is symmetric, ``none``
            or unknown; if a URL is neither https nor http on this machine; or if another argument
            has an invalid value.
        """

    # --- Views ----------------------------------------------------------------

    def serve_jwks(self, app: Quart, path: str = "/.well-known/jwks.json") -> None:
        """Add a view that serves :func:`get_jwks`, for services that verify the app's tokens.

        Its endpoint is ``jwt_jwks``. It stays open if :func:`protect` guards the app. Clients may
        cache the response for 600 seconds, but not beyond the next ``verify_until`` of JWT_KEYS.

        :param app: a Quart app to which a manager is bound.
        :param path: the path of the view, which starts with a slash.
        :raises TypeError: if an argument has the wrong type.
        :raises ValueError: if the path does not start with a slash, or the app already has that
            endpoint.
        :raises RuntimeError: if no manager is bound to the app.
        """

    def serve_resource_metadata(
        self, app: Quart, *, resource: str | None = None, scopes: _Names = ()
    ) -> None:
        """Add a view that serves protected resource metadata (RFC 9728), as MCP clients require it.

        Its endpoint is ``jwt_resource_metadata``, and its path
        ``/.well-known/oauth-protected-resource`` followed by the path of ``resource``. It stays
        open if :func:`protect` guards the app. The ``WWW-Authenticate`` header of 401 and 403
        responses then contains its URL as ``resource_metadata``. The metadata names the trusted
        issuers that create tokens for the app.

        :param app: the Quart app to which this manager is bound.
        :param resource: the URL of the app as its clients know it: http or https, without a query,
            such as ``"https://api.example.com/mcp"``. If None, the scheme and host of each request
            are used, which a client can choose: set it in production.
        :param scopes: one or more scopes that clients may request, for ``scopes_supported``.
        :raises TypeError: if an argument has the wrong type.
        :raises ValueError: if ``resource`` is not such a URL, a scope is malformed, or the app
            already has that endpoint.
        :raises RuntimeError: if no manager is bound to the app.
        """

# -----------------------------------------------------------------------------
# Create and inspect
# -----------------------------------------------------------------------------

# --- Create -------------------------------------------------------------------

def create_access_token(
    identity: Any,
    fresh: bool | timedelta = False,
    expires_delta: _Lifetime | None = None,
    user_claims: Any = None,
    headers: dict[str, Any] | None = None,
    additional_claims: dict[str, Any] | None = None,
    additional_headers: dict[str, Any] | None = None,
) -> str:
    """Create an access token.

    :param identity: the identity of the user: any JSON serializable value, or any object if the
        callback of user_identity_loader returns an identity for it.
    :param fresh: True creates a fresh token; a timedelta creates one that is fresh for that long.
    :param expires_delta: the lifetime: a timedelta, an int (seconds), any object that can be added
        to a datetime, or False for a token that never expires. None uses JWT_ACCESS_TOKEN_EXPIRES.
    :param user_claims: JSON serializable user claims, instead of those from the user_claims_loader.
    :param headers: a dict of header parameters, instead of those from the
        additional_headers_loader.
    :param additional_claims: a dict of top-level claims, which override those from the
        additional_claims_loader.
    :param additional_headers: a dict of header parameters, which override ``headers`` or those from
        the additional_headers_loader.
    :return: the encoded token.
    :raises TypeError: if an argument has the wrong type or is not JSON serializable, or if the
        identity is stored in ``sub`` but is not a string, while JWT_VERIFY_SUB is True.
    :raises ValueError: if a header is not supported, or ``additional_claims`` contains ``type``,
        ``fresh``, ``csrf`` or the identity claim.
    :raises RuntimeError: if there is no app context, an option or a key is invalid, or a callback
        is async; in the last case, use :func:`create_access_token_async`.
    """

async def create_access_token_async(
    identity: Any,
    fresh: bool | timedelta = False,
    expires_delta: _Lifetime | None = None,
    user_claims: Any = None,
    headers: dict[str, Any] | None = None,
    additional_claims: dict[str, Any] | None = None,
    additional_headers: dict[str, Any] | None = None,
) -> str:
    """Create an access token, and await callbacks that are async.

    The parameters, the result and the exceptions are those of :func:`create_access_token`.
    """

def create_refresh_token(
    identity: Any,
    expires_delta: _Lifetime | None = None,
    user_claims: Any = None,
    headers: dict[str, Any] | None = None,
    additional_claims: dict[str, Any] | None = None,
    additional_headers: dict[str, Any] | None = None,
) -> str:
    """Create a refresh token.

    :param identity: the identity of the user, as for :func:`create_access_token`.
    :param expires_delta: the lifetime: a timedelta, an int (seconds), any object that can be added
        to a datetime, or False for a token that never expires. None uses JWT_REFRESH_TOKEN_EXPIRES.
    :param user_claims: JSON serializable user claims. None uses those from the user_claims_loader
        if JWT_CLAIMS_IN_REFRESH_TOKEN is True; otherwise, the token has none.
    :param headers: a dict of header parameters, instead of those from the
        additional_headers_loader.
    :param additional_claims: as for :func:`create_access_token`.
    :param additional_headers: as for :func:`create_access_token`.
    :return: the encoded token.
    :raises TypeError: as for :func:`create_access_token`.
    :raises ValueError: as for :func:`create_access_token`.
    :raises RuntimeError: as for :func:`create_access_token`; if a callback is async, use
        :func:`create_refresh_token_async`.
    """

async def create_refresh_token_async(
    identity: Any,
    expires_delta: _Lifetime | None = None,
    user_claims: Any = None,
    headers: dict[str, Any] | None = None,
    additional_claims: dict[str, Any] | None = None,
    additional_headers: dict[str, Any] | None = None,
) -> str:
    """Create a refresh token, and await callbacks that are async.

    The parameters, the result and the exceptions are those of :func:`create_refresh_token`.
    """

# --- Inspect ------------------------------------------------------------------

def decode_token(
    encoded_token: str | bytes, csrf_value: str | None = None, allow_expired: bool = False
) -> dict[str, Any]:
    """Verify a token and return its claims.

    :param encoded_token: the encoded token (str or bytes), at most JWT_MAX_TOKEN_SIZE bytes.
    :param csrf_value: the CSRF double-submit value that the token must contain; None skips this
        check.
    :param allow_expired: accept a token whose ``exp`` has passed.
    :return: a new dict of claims. Missing ``jti``, ``type``, ``fresh`` and user claims are set to
        their defaults.
    :raises jwt.ExpiredSignatureError: if ``exp`` has passed and ``allow_expired`` is False. Its
        ``jwt_data`` contains the claims, its ``jwt_header`` the header.
    :raises jwt.InvalidTokenError: if the token is invalid for another reason (RFC 7519, section
        7.2).
    :raises JWTDecodeError: if the identity is missing, or a claim of the extension is invalid.
    :raises CSRFError: if the token contains another CSRF value.
    :raises IssuerUnavailableError: if the keys of the trusted issuer cannot be fetched, or are not
        known yet: they are then fetched, and :func:`decode_token_async` waits for them.
    :raises RuntimeError: if there is no app context, an option or a key is invalid, or the callback
        of decode_key_loader is async; in the last case, use :func:`decode_token_async`.
    """

async def decode_token_async(
    encoded_token: str | bytes, csrf_value: str | None = None, allow_expired: bool = False
) -> dict[str, Any]:
    """Verify a token and return its claims; await an async decode_key_loader.

    The parameters, the result and the exceptions are those of :func:`decode_token`.
    """

async def verify_token(
    encoded_token: str | bytes,
    *,
    fresh: bool = False,
    refresh: bool = False,
    verify_type: bool = True,
    skip_revocation_check: bool = False,
    scopes: _Names | None = None,
    issuers: _Names | None = None,
) -> dict[str, Any]:
    """Verify a token that is not part of a request, with all checks of :func:`jwt_required`.

    Use it in a Socket.IO handler, or for messages from a queue. :func:`decode_token` does not check
    revocation or the token type, and does not call the callbacks for claims and users.

    :param encoded_token: the encoded token (str or bytes), at most JWT_MAX_TOKEN_SIZE bytes.
    :param fresh: require a fresh access token.
    :param refresh: require a refresh token instead of an access token.
    :param verify_type: False accepts both access and refresh tokens.
    :param skip_revocation_check: do not check whether the token has been revoked.
    :param scopes: one or several scopes; the claim JWT_SCOPE_CLAIM must contain all of them.
    :param issuers: one or several issuers whose tokens are accepted: names of trusted issuers, or
        JWT_ENCODE_ISSUER for the app itself. ``()`` accepts only tokens of the app. None accepts
        tokens of the app and of all trusted issuers.
    :return: a new dict of claims, as from :func:`decode_token`.
    :raises TypeError: if an argument has the wrong type.
    :raises ValueError: if a scope is malformed, or ``fresh`` and ``refresh`` are both True.
    :raises jwt.InvalidTokenError: if the token is invalid, as for :func:`decode_token`.
    :raises JWTExtendedException: one of its subclasses, if another check fails: token type,
        revocation, freshness, scopes, user claims or user.
    :raises RuntimeError: if there is no app context, or an option or a key is invalid.
    """

def get_jti(encoded_token: str | bytes) -> str | None:
    """Verify a token and return its ``jti``, the ID to store in a blocklist.

    :param encoded_token: the encoded token (str or bytes).
    :return: the claim ``jti``, or None if the token does not have one.
    :raises: the exceptions of :func:`decode_token`.
    """

def get_csrf_token(encoded_token: str | bytes) -> str:
    """Verify a token and return its CSRF double-submit value.

    :param encoded_token: the encoded token (str or bytes).
    :return: the claim ``csrf``.
    :raises JWTDecodeError: if the token does not have this claim, because CSRF protection was off
        when it was created.
    :raises: the exceptions of :func:`decode_token`.
    """

def get_jwks() -> dict[str, list[dict[str, str]]]:
    """Return the public keys that verify the tokens of the app, as a JWK Set (RFC 7517).

    The set contains the asymmetric keys of JWT_KEYS until their ``verify_until``, including keys
    that will sign later, and JWT_PUBLIC_KEY or the public key of JWT_PRIVATE_KEY. The ``kid`` of
    the latter is its thumbprint (RFC 7638), unless it is a JWK with a ``kid``. The set never
    contains secrets or private members.

    :return: a new dict with the list ``keys``, sorted by ``kid``. Each key has ``kty``, ``kid``,
        ``alg``, ``use`` and its public members.
    :raises RuntimeError: if there is no app context, or an option or a key is invalid.
    """

def get_unverified_jwt_headers(encoded_token: str | bytes) -> dict[str, Any]:
    """Return the header of a token without verifying the signature.

    Do not trust the header. Use it, for example, to look up a key by its ``kid``.

    :param encoded_token: the encoded token (str or bytes), at most 16384 bytes, or
        JWT_MAX_TOKEN_SIZE bytes in an app context.
    :return: a new dict of header parameters.
    :raises jwt.InvalidTokenError: if the token is malformed.
    """

# -----------------------------------------------------------------------------
# Sessions
# -----------------------------------------------------------------------------

async def create_session(
    identity: Any,
    *,
    fresh: bool | timedelta = False,
    metadata: dict[str, Any] | None = None,
    expires_delta: _Lifetime | None = None,
    refresh_expires_delta: _Lifetime | None = None,
    user_claims: Any = None,
    additional_claims: dict[str, Any] | None = None,
) -> SessionTokens:
    """Create a session, which is one login, and its access and refresh tokens.

    Both tokens contain the session ID in ``sid`` (OpenID Connect). The refresh token also contains
    its generation in ``gen``. The loaders are called once for both tokens.

    :param identity: the identity of the user who logs in, as for :func:`create_access_token`.
    :param fresh: True creates a fresh access token; a timedelta creates one that is fresh for that
        long.
    :param metadata: a dict of at most 4096 bytes as JSON, which :func:`get_sessions` returns with
        the session, for example the device.
    :param expires_delta: the lifetime of the access token, as for :func:`create_access_token`.
    :param refresh_expires_delta: the lifetime of the refresh token, and of the session until the
        next rotation. None uses JWT_REFRESH_TOKEN_EXPIRES. JWT_SESSION_MAX_AGE limits both tokens.
    :param user_claims: user claims of the access token, instead of those from the
        user_claims_loader. The refresh token also contains them if JWT_CLAIMS_IN_REFRESH_TOKEN is
        True.
    :param additional_claims: a dict of top-level claims for both tokens, as for
        :func:`create_access_token`.
    :return: the :class:`SessionTokens`.
    :raises TypeError: as for :func:`create_access_token`, or if the metadata is not a JSON object.
    :raises ValueError: as for :func:`create_access_token`; if ``additional_claims`` contains
        ``sid``, ``gen`` or ``jti``; if the metadata is too long or contains a value such as NaN; or
        if the identity as text is longer than 512 characters.
    :raises TokenStoreError: if the token store is unavailable.
    :raises RuntimeError: if there is no app context or no token store, or an option or a key is
        invalid.
    """

async def rotate_session(
    identity: Any = None,
    *,
    fresh: bool | timedelta = False,
    expires_delta: _Lifetime | None = None,
    refresh_expires_delta: _Lifetime | None = None,
    user_claims: Any = None,
    additional_claims: dict[str, Any] | None = None,
) -> SessionTokens:
    """Exchange the refresh token of the current request for a new pair of tokens.

    Call it in a view with ``jwt_required(refresh=True)`` for refresh token rotation (RFC 9700,
    section 4.14.2). Each refresh token can be used once. For JWT_REFRESH_GRACE seconds, it can be
    sent again, by another tab or after a lost response. After that, sending it again is reuse: the
    session is revoked, and the callback of refresh_reuse_loader is called.

    :param identity: the value that the loaders are called with. None uses the loaded user if there
        is a user_identity_loader, and otherwise the identity in the token. The identity of the
        session does not change.
    :param fresh: as for :func:`create_session`, like the parameters that follow.
    :return: the :class:`SessionTokens`.
    :raises JWTDecodeError: if the refresh token does not belong to a session.
    :raises NoAuthorizationError: if the request was accepted without a token.
    :raises WrongTokenError: if the token of the request is an access token.
    :raises TokenReusedError: if the token was used before, and the grace period is over.
    :raises SessionEndedError: if the session was revoked, has ended or is unknown.
    :raises TypeError: as for :func:`create_session`.
    :raises ValueError: as for :func:`create_session`.
    :raises TokenStoreError: if the token store is unavailable.
    :raises RuntimeError: if the request was not verified, there is no token store, or an option or
        a key is invalid.
    """

async def revoke_session(session_id: str | None = None, *, identity: Any = None) -> bool:
    """End a session: reject all its tokens from now on, including the refresh token.

    :param session_id: the ID of the session; None ends the session of the current request.
    :param identity: end the session only if it belongs to this identity, as for
        :func:`revoke_sessions`. Pass it if ``session_id`` comes from a client. None ends the
        session of any identity.
    :return: True if the session was live; False if it had ended, is unknown, or belongs to another
        identity.
    :raises JWTDecodeError: if the token of the current request does not belong to a session.
    :raises NoAuthorizationError: if the request was accepted without a token.
    :raises TypeError: if ``session_id`` is not a string, or the identity is not JSON serializable.
    :raises TokenStoreError: if the token store is unavailable.
    :raises RuntimeError: if the request was not verified, or there is no token store.
    """

async def revoke_sessions(identity: Any, keep: str | None = None) -> int:
    """End all sessions of an identity ("log out everywhere"), or all except one.

    :param identity: the identity as in its tokens, such as the result of :func:`get_jwt_identity`.
    :param keep: the ID of a session to keep, such as the result of :func:`get_session_id`.
    :return: the number of sessions that were live.
    :raises TypeError: if the identity is not JSON serializable, or ``keep`` is not a string.
    :raises TokenStoreError: if the token store is unavailable; some sessions may be revoked.
    :raises RuntimeError: if there is no app context or no token store.
    """

async def get_sessions(identity: Any) -> list[Session]:
    """List the live sessions of an identity, for example to show the user's devices.

    :param identity: as for :func:`revoke_sessions`.
    :return: a list of :class:`Session`, newest first.
    :raises TypeError: if the identity is not JSON serializable.
    :raises TokenStoreError: if the token store is unavailable.
    :raises RuntimeError: if there is no app context or no token store.
    """

def get_session_id() -> str | None:
    """Return the ID of the session of the current request.

    :return: the claim ``sid`` of the token; None if the token does not have it, or no token was
        verified.
    :raises RuntimeError: if there is no app context.
    """

async def revoke_token(token: str | bytes | dict[str, Any] | None = None) -> None:
    """Revoke one token by its ``jti`` until it expires (RFC 7009).

    :param token: an encoded token, which is verified first; it may have expired, and then does not
        need to be revoked. Or a dict of claims that :func:`get_jwt`, :func:`decode_token` or
        :func:`verify_token` returned: with claims that were not verified, anyone could revoke the
        tokens of others. None revokes the token of the current request.
    :raises jwt.InvalidTokenError: if the encoded token is invalid, as for :func:`decode_token`.
    :raises JWTDecodeError: if the token does not have a ``jti``.
    :raises NoAuthorizationError: if the request was accepted without a token.
    :raises TypeError: if ``token`` has another type.
    :raises TokenStoreError: if the token store is unavailable.
    :raises RuntimeError: if the request was not verified, or there is no token store.
    """

async def renew_websocket(encoded_token: str | bytes) -> dict[str, Any]:
    """Replace the token of the current WebSocket with one that the client sent.

    The WebSocket must be one that is closed when its token expires or is revoked, because of
    ``close_with_token`` or JWT_WEBSOCKET_CLOSE_WITH_TOKEN. The new token must satisfy the rules of
    the view. From then on, the functions for the current request use the new token.

    :param encoded_token: the encoded token (str or bytes), at most JWT_MAX_TOKEN_SIZE bytes.
    :return: a new dict of claims.
    :raises WrongTokenError: if the token belongs to another identity or session.
    :raises NoAuthorizationError: if the WebSocket was accepted without a token.
    :raises jwt.InvalidTokenError: if the token is invalid, as for :func:`verify_token`.
    :raises JWTExtendedException: as for :func:`verify_token`.
    :raises RuntimeError: if this is not a WebSocket that is closed with its token.
    """

# -----------------------------------------------------------------------------
# Current request
# -----------------------------------------------------------------------------

def get_raw_jwt() -> dict[str, Any]:
    """0.1.0 name of :func:`get_jwt`; it returns {} if the request was not verified."""

def get_raw_jwt_header() -> dict[str, Any]:
    """0.1.0 name of :func:`get_jwt_header`; it returns {} if the request was not verified."""

def get_jwt() -> dict[str, Any]:
    """Return all claims of the token of the current request, as in Flask-JWT-Extended.

    :return: the dict of claims; {} if the request was accepted without a token.
    :raises RuntimeError: if the request was not verified, or there is no app context.
    """

def get_jwt_header() -> dict[str, Any]:
    """Return the header of the token of the current request, as in Flask-JWT-Extended.

    :return: a dict of header parameters; {} if the request was accepted without a token.
    :raises RuntimeError: if the request was not verified, or there is no app context.
    """

def get_jwt_request_location() -> _Location | None:
    """Return the location where the token of the current request was found.

    :return: one of the location names of JWT_TOKEN_LOCATION; None if the request was accepted
        without a token, or not verified.
    :raises RuntimeError: if there is no app context.
    """

def get_jwt_identity() -> Any:
    """Return the identity in the token of the current request.

    :return: the claim named in JWT_IDENTITY_CLAIM; None if no token was verified.
    :raises RuntimeError: if there is no app context.
    """

def get_jwt_issuer() -> str | None:
    """Return the trusted issuer of the token of the current request.

    ``sub`` is unique only within its issuer (RFC 7519, section 4.1.2), so identify users by both.

    :return: the name passed to :meth:`JWTManager.trust_issuer`, which is the claim ``iss``; None
        for a token of the app itself, or if no token was verified.
    :raises RuntimeError: if there is no app context.
    """

def get_jwt_claims() -> dict[str, Any]:
    """Return the user claims in the token of the current request.

    :return: the claim named in JWT_USER_CLAIMS; {} if there are none, or no token was verified.
    :raises RuntimeError: if there is no app context.
    """

def get_current_user() -> Any:
    """Return the user of the current request.

    :return: the user that the callback of user_loader_callback_loader or user_lookup_loader
        returned; None if there is no such callback, or no token was verified.
    :raises RuntimeError: if there is no app context.
    """

# -----------------------------------------------------------------------------
# Response cookies
# -----------------------------------------------------------------------------

def set_access_cookies(
    response: _AnyResponse,
    encoded_access_token: str,
    max_age: int | None = None,
    domain: str | None = None,
) -> None:
    """Set the cookie of an access token and, with CSRF protection, its CSRF cookie.

    The cookie of the token is HttpOnly. Scripts of the page can read the CSRF cookie, which is only
    set if JWT_CSRF_IN_COOKIES is True.

    :param response: the Quart response.
    :param encoded_access_token: the token from :func:`create_access_token`.
    :param max_age: the lifetime of the cookies, in seconds; None applies JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None uses JWT_COOKIE_DOMAIN.
    :raises RuntimeWarning: if JWT_TOKEN_LOCATION does not include cookies.
    :raises TypeError: if an argument has the wrong type, such as a coroutine that was not awaited.
    :raises ValueError: if the token is malformed or not ASCII text, or has no CSRF value although
        CSRF protection is on; if ``domain`` is invalid or not allowed; or if a cookie would exceed
        the 4096 bytes that browsers store.
    :raises RuntimeError: if there is no app context, or an option is invalid.
    """

def set_refresh_cookies(
    response: _AnyResponse,
    encoded_refresh_token: str,
    max_age: int | None = None,
    domain: str | None = None,
) -> None:
    """Set the cookie of a refresh token and, with CSRF protection, its CSRF cookie.

    :param response: the Quart response.
    :param encoded_refresh_token: the token from :func:`create_refresh_token`.
    :param max_age: the lifetime of the cookies, in seconds; None applies JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None uses JWT_COOKIE_DOMAIN.
    :raises: the exceptions of :func:`set_access_cookies`.
    """

def set_session_cookies(
    response: _AnyResponse,
    tokens: SessionTokens,
    max_age: timedelta | int | None = None,
    domain: str | None = None,
) -> None:
    """Set the cookies of both tokens of a session and, with CSRF protection, their CSRF cookies.

    :param response: the Quart response.
    :param tokens: the :class:`SessionTokens` from :func:`create_session` or :func:`rotate_session`.
    :param max_age: the lifetime of the cookies, in seconds; None applies JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None uses JWT_COOKIE_DOMAIN.
    :raises TypeError: if ``tokens`` is not a SessionTokens.
    :raises: the exceptions of :func:`set_access_cookies`.
    """

def unset_jwt_cookies(response: _AnyResponse, domain: str | None = None) -> None:
    """Delete the cookies of both tokens and their CSRF cookies.

    :param response: the Quart response.
    :param domain: the domain that the cookies were set with; None uses JWT_COOKIE_DOMAIN.
    :raises RuntimeWarning: if JWT_TOKEN_LOCATION does not include cookies.
    :raises TypeError: if ``response`` is not a response.
    :raises ValueError: if ``domain`` is invalid or not allowed.
    :raises RuntimeError: if there is no app context, or an option is invalid.
    """

def unset_access_cookies(response: _AnyResponse, domain: str | None = None) -> None:
    """Delete the cookie of the access token and its CSRF cookie.

    :param response: the Quart response.
    :param domain: as for :func:`unset_jwt_cookies`.
    :raises: the exceptions of :func:`unset_jwt_cookies`.
    """

def unset_refresh_cookies(response: _AnyResponse, domain: str | None = None) -> None:
    """Delete the cookie of the refresh token and its CSRF cookie.

    :param response: the Quart response.
    :param domain: as for :func:`unset_jwt_cookies`.
    :raises: the exceptions of :func:`unset_jwt_cookies`.
    """

# -----------------------------------------------------------------------------
# Decorators and current_user
# -----------------------------------------------------------------------------

# --- Verify functions ---------------------------------------------------------

async def verify_jwt_in_request(
    optional: bool = False,
    fresh: bool = False,
    refresh: bool = False,
    locations: _Locations | None = None,
    verify_type: bool = True,
    skip_revocation_check: bool = False,
    scopes: _Names | None = None,
    close_with_token: bool | None = None,
    issuers: _Names | None = None,
) -> None:
    """Verify the token of the current request or WebSocket, for example in a hook.

    You can register this function itself with ``before_request``. After the call,
    :func:`get_jwt` returns the claims.

    :param optional: also accept requests without a token, or whose header has another scheme or not
        exactly one token after it.
    :param fresh: require a fresh access token.
    :param refresh: require a refresh token instead of an access token, and read it from the cookie
        or JSON key for refresh tokens.
    :param locations: one or several location names, instead of JWT_TOKEN_LOCATION.
    :param verify_type: False accepts both access and refresh tokens.
    :param skip_revocation_check: do not check whether the token has been revoked.
    :param scopes: one or several scopes; the claim JWT_SCOPE_CLAIM must contain all of them.
    :param close_with_token: whether the WebSocket is closed when the token expires or is revoked;
        None means JWT_WEBSOCKET_CLOSE_WITH_TOKEN. :func:`renew_websocket` replaces the token.
    :param issuers: one or several issuers whose tokens are accepted: names of trusted issuers, or
        JWT_ENCODE_ISSUER for the app itself. ``()`` accepts only tokens of the app. None accepts
        tokens of the app and of all trusted issuers.
    :raises TypeError: if an argument has the wrong type.
    :raises ValueError: if a location is unknown, a scope is malformed (RFC 6749, section 3.3), or
        ``fresh`` and ``refresh`` are both True.
    :raises NoAuthorizationError: if there is no token.
    :raises jwt.InvalidTokenError: if the token is invalid, as for :func:`decode_token`.
    :raises JWTExtendedException: one of its subclasses, if another check fails: header, CSRF value,
        origin, token type, revocation, freshness, scopes, user claims or user.
    :raises RuntimeError: if there is no request, or an option or a key is invalid.
    """

async def verify_jwt_in_request_optional() -> None:
    """0.1.0 name of ``verify_jwt_in_request(optional=True)``."""

async def verify_fresh_jwt_in_request() -> None:
    """0.1.0 name of ``verify_jwt_in_request(fresh=True)``."""

async def verify_jwt_refresh_token_in_request() -> None:
    """0.1.0 name of ``verify_jwt_in_request(refresh=True)``."""

# --- Decorators ---------------------------------------------------------------

@overload
def jwt_required(
    fn: Callable[_P, Awaitable[_R]],
    *,
    optional: bool = False,
    fresh: bool = False,
    refresh: bool = False,
    locations: _Locations | None = None,
    verify_type: bool = True,
    skip_revocation_check: bool = False,
    scopes: _Names | None = None,
    close_with_token: bool | None = None,
    issuers: _Names | None = None,
) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Require a valid token for a view or a WebSocket, by default an access token.

    It can be used without arguments, ``@jwt_required``, or with arguments,
    ``@jwt_required(fresh=True)``.

    :param fn: the view, a function or a coroutine function.
    :param optional: also accept requests without a token, or whose header has another scheme or not
        exactly one token after it.
    :param fresh: require a fresh access token.
    :param refresh: require a refresh token instead of an access token, and read it from the cookie
        or JSON key for refresh tokens.
    :param locations: one or several location names, instead of JWT_TOKEN_LOCATION.
    :param verify_type: False accepts both access and refresh tokens.
    :param skip_revocation_check: do not check whether the token has been revoked.
    :param scopes: one or several scopes; the claim JWT_SCOPE_CLAIM must contain all of them.
    :param close_with_token: whether the WebSocket is closed when the token expires or is revoked;
        None means JWT_WEBSOCKET_CLOSE_WITH_TOKEN. :func:`renew_websocket` replaces the token.
    :param issuers: one or several issuers whose tokens are accepted: names of trusted issuers, or
        JWT_ENCODE_ISSUER for the app itself. ``()`` accepts only tokens of the app. None accepts
        tokens of the app and of all trusted issuers.
    :return: a coroutine function with the name and the signature of the view; a decorator if ``fn``
        is not given.
    :raises TypeError: if an argument has the wrong type.
    :raises ValueError: if a location is unknown, a scope is malformed (RFC 6749, section 3.3), or
        ``fresh`` and ``refresh`` are both True.
    """

@overload
def jwt_required(
    fn: Callable[_P, _R],
    *,
    optional: bool = False,
    fresh: bool = False,
    refresh: bool = False,
    locations: _Locations | None = None,
    verify_type: bool = True,
    skip_revocation_check: bool = False,
    scopes: _Names | None = None,
    close_with_token: bool | None = None,
    issuers: _Names | None = None,
) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
@overload
def jwt_required(
    fn: None = None,
    *,
    optional: bool = False,
    fresh: bool = False,
    refresh: bool = False,
    locations: _Locations | None = None,
    verify_type: bool = True,
    skip_revocation_check: bool = False,
    scopes: _Names | None = None,
    close_with_token: bool | None = None,
    issuers: _Names | None = None,
) -> _ViewDecorator: ...
@overload
def jwt_optional(
    fn: Callable[_P, Awaitable[_R]],
) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """0.1.0 name of ``jwt_required(optional=True)``."""

@overload
def jwt_optional(fn: Callable[_P, _R]) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
@overload
def fresh_jwt_required(
    fn: Callable[_P, Awaitable[_R]],
) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """0.1.0 name of ``jwt_required(fresh=True)``."""

@overload
def fresh_jwt_required(fn: Callable[_P, _R]) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
@overload
def jwt_refresh_token_required(
    fn: Callable[_P, Awaitable[_R]],
) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """0.1.0 name of ``jwt_required(refresh=True)``."""

@overload
def jwt_refresh_token_required(fn: Callable[_P, _R]) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
def jwt_exempt(fn: _View) -> _View:
    """Open a view of an app or a blueprint that is protected by :func:`protect`.

    :param fn: the view, a function or a coroutine function. Routes that are registered with ``fn``
        itself stay protected.
    :return: the view to register, with the name and the signature of ``fn``.
    :raises TypeError: if ``fn`` is not a view, or has a decorator such as :func:`jwt_required`.
    """

current_user: Any

# -----------------------------------------------------------------------------
# Whole apps and the command line
# -----------------------------------------------------------------------------

def protect(
    app_or_blueprint: Quart | Blueprint,
    *,
    exempt: _Names = (),
    optional: bool = False,
    fresh: bool = False,
    refresh: bool = False,
    locations: _Locations | None = None,
    verify_type: bool = True,
    skip_revocation_check: bool = False,
    scopes: _Names | None = None,
    close_with_token: bool | None = None,
    issuers: _Names | None = None,
) -> None:
    """Protect every route and WebSocket of an app or a blueprint, including nested blueprints.

    A view must satisfy the rules of every ``protect`` around it and of its own decorator. The token
    is verified once, before the view and anything that is wrapped around it. The decorator of the
    view can relax the rules: :func:`jwt_exempt` opens the view; ``optional=True`` accepts requests
    without a token, while a token that is sent must satisfy all other rules; ``refresh=True`` drops
    ``fresh``; ``scopes=()`` drops the scopes. The innermost ``locations`` and ``close_with_token``
    are used. A route that does not exist still returns 404. An OPTIONS request that Quart answers
    itself does not need a token.

    :param app_or_blueprint: the Quart app, or the blueprint before it is registered.
    :param exempt: names of endpoints that stay open, for example ``("static",)``; for a blueprint,
        without the name of the blueprint in front.
    :param optional: as for :func:`jwt_required`, like the parameters that follow.
    :raises TypeError: if an argument has the wrong type.
    :raises ValueError: as for :func:`jwt_required`.
    """

# --- How a route is protected --------------------------------------------------

class Protection(NamedTuple):
    """The protection of a route, as returned by :func:`protection_of`.

    ``token_type`` is "access", "refresh", or None for any type. ``optional`` is True if a request
    without a token is accepted, ``fresh`` if the token must be fresh, and
    ``skip_revocation_check`` if a revoked token is accepted. ``scopes`` are the scopes that the
    token must have, all of them. ``locations`` are searched for the token in this order: those of
    the route or, if it has none, those of the app, without locations that do not apply to HTTP
    requests or to WebSockets. ``close_with_token`` is True if a WebSocket is closed when its token
    expires or is revoked. ``issuers`` are the names of the issuers whose tokens are accepted:
    ``()`` means the app itself, None the app and all trusted issuers.

    Its repr describes the protection in the words of ``quart jwt routes``.
    """

    token_type: Literal["access", "refresh"] | None
    optional: bool
    fresh: bool
    scopes: tuple[str, ...]
    locations: tuple[_Location, ...]
    skip_revocation_check: bool
    close_with_token: bool
    issuers: tuple[str, ...] | None

def protection_of(app: Quart, endpoint: str, method: str | None = None) -> Protection | None:
    """Return how decorators and :func:`protect` protect a view or WebSocket.

    Use it in tools, and in decorators that need to know what is verified before they run. It cannot
    see what your own hooks or decorators verify.

    :param app: the Quart app, with a JWTManager.
    :param endpoint: the name of the endpoint, with the names of its blueprints in front, such as
        ``request.endpoint``.
    :param method: the method of a request, such as "POST", or "WEBSOCKET". None is accepted if all
        methods have the same protection, which is true for all views except classes that decorate
        single methods. OPTIONS requests that Quart answers itself are not protected, and do not
        count.
    :return: a :class:`Protection`; None if the route is exempt or open, so that no token is
        verified.
    :raises TypeError: if an argument has the wrong type.
    :raises ValueError: if the endpoint does not exist or does not accept the method, or if
        ``method`` is None although the methods are protected differently.
    :raises RuntimeError: if the app has no JWTManager, or an option is invalid.
    """
