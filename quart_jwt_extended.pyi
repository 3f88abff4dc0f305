"""JSON Web Tokens (RFC 7519) for Quart: the types of the compiled module."""

# -----------------------------------------------------------------------------
# Imports
# -----------------------------------------------------------------------------

from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, overload

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
_ClaimsCheck = TypeVar("_ClaimsCheck", bound=Callable[[_Claims], bool | Awaitable[bool]])
_TokenCheck = TypeVar(
    "_TokenCheck", bound=Callable[[_HeaderParameters, _Claims], bool | Awaitable[bool]]
)
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
    "JWTDecodeError",
    "JWTExtendedException",
    "JWTManager",
    "NoAuthorizationError",
    "RevokedTokenError",
    "UserClaimsVerificationError",
    "UserLoadError",
    "WebSocketOriginError",
    "WrongTokenError",
    "create_access_token",
    "create_access_token_async",
    "create_refresh_token",
    "create_refresh_token_async",
    "current_user",
    "decode_token",
    "decode_token_async",
    "fresh_jwt_required",
    "get_csrf_token",
    "get_current_user",
    "get_jti",
    "get_jwt",
    "get_jwt_claims",
    "get_jwt_header",
    "get_jwt_identity",
    "get_jwt_request_location",
    "get_raw_jwt",
    "get_raw_jwt_header",
    "get_unverified_jwt_headers",
    "jwt_exempt",
    "jwt_optional",
    "jwt_refresh_token_required",
    "jwt_required",
    "protect",
    "set_access_cookies",
    "set_refresh_cookies",
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
    """Base of every exception that this extension defines."""

class JWTDecodeError(JWTExtendedException):
    """A token lacks a claim that the extension needs, or the claim has a wrong value."""

class InvalidHeaderError(JWTExtendedException):
    """The header that should carry the token is malformed, or carries another scheme."""

class NoAuthorizationError(JWTExtendedException):
    """No token was found in any of the configured locations."""

class CSRFError(JWTExtendedException):
    """The CSRF double-submit value is absent or differs from the one in the token."""

class WebSocketOriginError(CSRFError):
    """A page of a foreign origin opened a WebSocket, and the browser sent its cookies along.

    ``origin`` is that of the page, ``host`` the one that the WebSocket was opened at.
    """

    origin: str | None
    host: str | None

class WrongTokenError(JWTExtendedException):
    """A refresh token was sent where an access token is expected, or the reverse."""

class RevokedTokenError(JWTExtendedException):
    """The token has been revoked, says the blacklist callback."""

class FreshTokenRequired(JWTExtendedException):
    """The token is valid but not fresh, and the endpoint asks for a fresh one."""

class UserLoadError(JWTExtendedException):
    """The user loader returned None for the identity in the token."""

class UserClaimsVerificationError(JWTExtendedException):
    """The claims verification callback refused the user claims of the token."""

class InsufficientScopeError(JWTExtendedException):
    """The token is valid, and lacks a scope that the endpoint asks for (RFC 6750, section 3.1).

    ``required`` is the tuple of scopes that the endpoint asks for.
    """

    required: tuple[str, ...]

# -----------------------------------------------------------------------------
# Verifying a request
# -----------------------------------------------------------------------------

# --- Log and signals ----------------------------------------------------------

token_verified: NamedSignal
token_refused: NamedSignal
token_created: NamedSignal

# -----------------------------------------------------------------------------
# JWTManager
# -----------------------------------------------------------------------------

class JWTManager:
    """Holds the callbacks of the extension and binds them to one or several Quart apps.

    Its loaders are decorators, each of which registers one callback and returns it as it is. A
    callback is a function or a coroutine function, and how many arguments it takes is read from its
    signature at once: one that cannot be called as its loader says is a TypeError. Registering
    another callback replaces the first. A callback that raises fails the request.

    :param app: the app to bind to at once; None to call :meth:`init_app` later, as an application
        factory does.
    :param add_context_processor: whether templates get ``current_user``.
    """

    def __init__(self, app: Quart | None = None, add_context_processor: bool = False) -> None: ...
    def init_app(self, app: Quart, add_context_processor: bool = False) -> None:
        """Bind this manager to an app: set the defaults of the options, register error handlers.

        A manager can be bound to several apps; each has its own options and keys. Binding another
        manager to the same app replaces this one, as in 0.1.0. The command ``quart jwt routes``
        lists the routes of the app with how they are protected.

        :param app: the Quart app.
        :param add_context_processor: whether templates get ``current_user``.
        """

    def check(self, app: Quart) -> None:
        """Check the configuration of an app, as is done before it serves, for tests and CI.

        Warns of ``JWT_*`` options that do not exist and of methods in JWT_CSRF_METHODS that HTTP
        does not define.

        :param app: the Quart app, to which a manager is bound.
        :raises RuntimeError: options or keys are wrong, all of which the message lists, or a
            decorator stands above a route or a hook, where it protects nothing.
        """

    # --- Loaders: what goes into a token --------------------------------------

    def user_claims_loader(self, callback: _FromSubject) -> _FromSubject:
        """Register the callback that gives an access token its user claims.

        :param callback: takes the object passed to :func:`create_access_token`, returns a JSON
            serialisable value, usually a dict.
        """

    def additional_claims_loader(self, callback: _Additions) -> _Additions:
        """Register the callback that adds claims to the top level of a new token.

        As in Flask-JWT-Extended, and beside the user claims, which are one claim that holds a dict.

        :param callback: takes the object passed to the creating function, returns a dict of claims
            or None.
        """

    def user_identity_loader(self, callback: _FromSubject) -> _FromSubject:
        """Register the callback that turns an object into the identity of its tokens.

        :param callback: takes the object passed to :func:`create_access_token` or
            :func:`create_refresh_token`, returns a JSON serialisable identity.
        """

    def additional_headers_loader(self, callback: _Additions) -> _Additions:
        """Register the callback that adds headers to a new token, such as ``kid``.

        :param callback: takes the object passed to the creating function, returns a dict of header
            parameters (RFC 7515, section 4) or None.
        """

    # --- Loaders: keys --------------------------------------------------------

    def encode_key_loader(self, callback: _EncodeKey) -> _EncodeKey:
        """Register the callback that chooses the key to sign a token with.

        :param callback: takes the object passed to the creating function, returns the secret, or
            the private key as PEM text, PEM bytes or a ``cryptography`` key.
        """

    def decode_key_loader(self, callback: _DecodeKey) -> _DecodeKey:
        """Register the callback that chooses the key to verify a token with.

        The key serves only the family of algorithms that it belongs to, and an empty one or None
        verifies nothing.

        :param callback: takes the unverified claims and the unverified header of the token (dicts),
            returns the secret, or the public key as PEM text, PEM bytes or a ``cryptography`` key.
            The form of one argument, the claims, is deprecated.
        """

    # --- Loaders: checks ------------------------------------------------------

    def token_in_blacklist_loader(self, callback: _ClaimsCheck) -> _ClaimsCheck:
        """Register the callback that says whether a token has been revoked.

        It is called when JWT_BLACKLIST_ENABLED is True, for the types of token that are named in
        JWT_BLACKLIST_TOKEN_CHECKS.

        :param callback: takes the claims of the token (a dict), returns True if it is revoked.
        """

    def token_in_blocklist_loader(self, callback: _TokenCheck) -> _TokenCheck:
        """Register the callback that says whether a token has been revoked, as Flask-JWT-Extended.

        It replaces that of :meth:`token_in_blacklist_loader`, and is called whatever
        JWT_BLACKLIST_ENABLED says, for the types of token that are named in
        JWT_BLACKLIST_TOKEN_CHECKS.

        :param callback: takes the header and the claims of the token (dicts), returns True if it is
            revoked.
        """

    def claims_verification_loader(self, callback: _ClaimsCheck) -> _ClaimsCheck:
        """Register the callback that accepts or rejects the user claims of an access token.

        :param callback: takes the user claims, returns True if they are valid.
        """

    def token_verification_loader(self, callback: _TokenCheck) -> _TokenCheck:
        """Register the callback that accepts or rejects a token, as Flask-JWT-Extended.

        It replaces that of :meth:`claims_verification_loader`, and is called for refresh tokens,
        too.

        :param callback: takes the header and the claims of the token (dicts), returns True if they
            are valid.
        """

    def user_loader_callback_loader(self, callback: _UserLoader) -> _UserLoader:
        """Register the callback that loads the user of a protected request.

        :param callback: takes the identity in the token, returns the object that
            :data:`current_user` will stand for, or None if there is no such user.
        """

    def user_lookup_loader(self, callback: _UserLookup) -> _UserLookup:
        """Register the callback that loads the user of a protected request, as Flask-JWT-Extended.

        It replaces that of :meth:`user_loader_callback_loader`.

        :param callback: takes the header and the claims of the token (dicts), returns the user, or
            None if there is no such user.
        """

    # --- Loaders: answers -----------------------------------------------------

    def unauthorized_loader(self, callback: _AnswerToReason) -> _AnswerToReason:
        """Register the callback that answers a request without a token, or with a wrong CSRF value.

        It also answers a WebSocket of a foreign origin. The default answers 401, or 403 to that,
        and ``{"msg": "<error description>"}``.

        :param callback: takes the reason (a str), returns a response.
        """

    def invalid_token_loader(self, callback: _AnswerToReason) -> _AnswerToReason:
        """Register the callback that answers an invalid token.

        The default answers 422 and ``{"msg": "<error description>"}``.

        :param callback: takes the reason (a str), returns a response.
        """

    def expired_token_loader(self, callback: _AnswerToClaimsOrToken) -> _AnswerToClaimsOrToken:
        """Register the callback that answers an expired token.

        The default answers 401 and ``{"msg": "Token has expired"}``.

        :param callback: takes the claims of the token (a dict), or its header and its claims as in
            Flask-JWT-Extended, returns a response. The form without an argument is deprecated.
        """

    def needs_fresh_token_loader(
        self, callback: _AnswerToNothingOrToken
    ) -> _AnswerToNothingOrToken:
        """Register the callback that answers a token that is not fresh where a fresh one is needed.

        The default answers 401 and ``{"msg": "Fresh token required"}``.

        :param callback: takes no arguments, or the header and the claims of the token (dicts) as in
            Flask-JWT-Extended, returns a response.
        """

    def revoked_token_loader(self, callback: _AnswerToNothingOrToken) -> _AnswerToNothingOrToken:
        """Register the callback that answers a revoked token.

        The default answers 401 and ``{"msg": "Token has been revoked"}``.

        :param callback: takes no arguments, or the header and the claims of the token (dicts) as in
            Flask-JWT-Extended, returns a response.
        """

    def user_loader_error_loader(self, callback: _AnswerToIdentity) -> _AnswerToIdentity:
        """Register the callback that answers when the user loader returned None.

        The default answers 401 and ``{"msg": "Error loading the user <identity>"}``.

        :param callback: takes the identity, returns a response.
        """

    def user_lookup_error_loader(self, callback: _AnswerToToken) -> _AnswerToToken:
        """Register the callback that answers when the user was not found, as Flask-JWT-Extended.

        It replaces that of :meth:`user_loader_error_loader`.

        :param callback: takes the header and the claims of the token (dicts), returns a response.
        """

    def claims_verification_failed_loader(self, callback: _AnswerToNothing) -> _AnswerToNothing:
        """Register the callback that answers when the user claims were rejected.

        The default answers 400 and ``{"msg": "User claims verification failed"}``.

        :param callback: takes no arguments, returns a response.
        """

    def token_verification_failed_loader(self, callback: _AnswerToToken) -> _AnswerToToken:
        """Register the callback that answers when the token was rejected, as Flask-JWT-Extended.

        It replaces that of :meth:`claims_verification_failed_loader`.

        :param callback: takes the header and the claims of the token (dicts), returns a response.
        """

    def insufficient_scope_loader(self, callback: _AnswerToScopes) -> _AnswerToScopes:
        """Register the callback that answers a token that lacks a scope of the endpoint.

        The default answers 403 and ``{"msg": "Insufficient scope"}``.

        :param callback: takes the tuple of scopes that the endpoint requires and the claims of the
            token (a dict), returns a response.
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

    :param identity: who the token is for: any JSON serialisable value, or any object if a
        user_identity_loader makes one of it.
    :param fresh: whether the token counts as fresh; a timedelta says for how long it does.
    :param expires_delta: how long the token lasts: a timedelta, an int (seconds), anything that
        adds to a datetime, or False for ever. None takes JWT_ACCESS_TOKEN_EXPIRES.
    :param user_claims: JSON serialisable claims, in place of those of the user_claims_loader.
    :param headers: dict of header parameters, in place of those of the additional_headers_loader.
    :param additional_claims: dict of claims for the top level of the token, over those of the
        additional_claims_loader.
    :param additional_headers: dict of header parameters, over ``headers`` or those of the
        additional_headers_loader.
    :return: the encoded token.
    :raises TypeError: an argument has a wrong type or is not JSON serialisable, or the identity is
        not a string while it goes into ``sub`` and JWT_VERIFY_SUB is True.
    :raises ValueError: a header is not supported, or ``additional_claims`` holds ``type``,
        ``fresh``, ``csrf`` or the identity.
    :raises RuntimeError: there is no app context, an option or a key is wrong, or a callback is
        async; then use :func:`create_access_token_async`.
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
    """Create an access token, awaiting the callbacks that are async.

    Parameters, result and errors are those of :func:`create_access_token`.
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

    :param identity: who the token is for, as for :func:`create_access_token`.
    :param expires_delta: how long the token lasts: a timedelta, an int (seconds), anything that
        adds to a datetime, or False for ever. None takes JWT_REFRESH_TOKEN_EXPIRES.
    :param user_claims: JSON serialisable claims. None takes those of the user_claims_loader if
        JWT_CLAIMS_IN_REFRESH_TOKEN is True, else none.
    :param headers: dict of header parameters, in place of those of the additional_headers_loader.
    :param additional_claims: as for :func:`create_access_token`.
    :param additional_headers: as for :func:`create_access_token`.
    :return: the encoded token.
    :raises TypeError: as :func:`create_access_token`.
    :raises ValueError: as :func:`create_access_token`.
    :raises RuntimeError: as :func:`create_access_token`; the awaitable twin is
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
    """Create a refresh token, awaiting the callbacks that are async.

    Parameters, result and errors are those of :func:`create_refresh_token`.
    """

# --- Inspect ------------------------------------------------------------------

def decode_token(
    encoded_token: str | bytes, csrf_value: str | None = None, allow_expired: bool = False
) -> dict[str, Any]:
    """Verify a token and return its claims.

    :param encoded_token: compact JWS (str or bytes), at most JWT_MAX_TOKEN_SIZE bytes.
    :param csrf_value: the double-submit value that the token must carry; None skips the check.
    :param allow_expired: accept a token whose ``exp`` has passed.
    :return: a new dict of claims, with ``jti``, ``type``, ``fresh`` and the user claims filled in.
    :raises jwt.ExpiredSignatureError: ``exp`` has passed and ``allow_expired`` is False; its
        ``jwt_data`` holds the claims, its ``jwt_header`` the header.
    :raises jwt.InvalidTokenError: anything else is wrong with the token (RFC 7519, section 7.2).
    :raises JWTDecodeError: the identity is missing, or a claim of the extension is wrong.
    :raises CSRFError: the token carries another CSRF value.
    :raises RuntimeError: there is no app context, an option or a key is wrong, or the
        decode_key_loader is async; then use :func:`decode_token_async`.
    """

async def decode_token_async(
    encoded_token: str | bytes, csrf_value: str | None = None, allow_expired: bool = False
) -> dict[str, Any]:
    """Verify a token and return its claims, awaiting an async decode_key_loader.

    Parameters, result and errors are those of :func:`decode_token`.
    """

async def verify_token(
    encoded_token: str | bytes,
    *,
    fresh: bool = False,
    refresh: bool = False,
    verify_type: bool = True,
    skip_revocation_check: bool = False,
    scopes: _Names | None = None,
) -> dict[str, Any]:
    """Verify a token that belongs to no request, by all that :func:`jwt_required` checks.

    For a handler of Socket.IO, or a message of a queue. :func:`decode_token` checks neither
    revocation nor the type of the token, and calls no callbacks about claims and the user.

    :param encoded_token: compact JWS (str or bytes), at most JWT_MAX_TOKEN_SIZE bytes.
    :param fresh: require a fresh access token.
    :param refresh: require a refresh token instead of an access token.
    :param verify_type: False accepts access and refresh tokens.
    :param skip_revocation_check: do not check whether the token has been revoked.
    :param scopes: one or several names that the claim JWT_SCOPE_CLAIM must all hold.
    :return: a new dict of claims, as from :func:`decode_token`.
    :raises TypeError: an argument has a wrong type.
    :raises ValueError: a scope is malformed, or ``fresh`` and ``refresh`` are both True.
    :raises jwt.InvalidTokenError: it is invalid; the exceptions are those of :func:`decode_token`.
    :raises JWTExtendedException: its subclasses say what else is wrong: type, revocation,
        freshness, scope, user claims, user.
    :raises RuntimeError: there is no app context, or an option or a key is wrong.
    """

def get_jti(encoded_token: str | bytes) -> str | None:
    """Verify a token and return its ``jti``, the identifier that a blacklist keeps.

    :param encoded_token: compact JWS (str or bytes).
    :return: the ``jti`` claim, None if the token has none.
    :raises: as :func:`decode_token`.
    """

def get_csrf_token(encoded_token: str | bytes) -> str:
    """Verify a token and return its CSRF double-submit value.

    :param encoded_token: compact JWS (str or bytes).
    :return: the ``csrf`` claim.
    :raises JWTDecodeError: the token has none, since CSRF protection was off when it was made.
    :raises: as :func:`decode_token`.
    """

def get_unverified_jwt_headers(encoded_token: str | bytes) -> dict[str, Any]:
    """Return the header of a token without verifying its signature.

    Nothing in it can be trusted; it may serve to look up a key by ``kid``.

    :param encoded_token: compact JWS (str or bytes), at most 16384 bytes, or JWT_MAX_TOKEN_SIZE
        within an app context.
    :return: a new dict of header parameters.
    :raises jwt.InvalidTokenError: the token is malformed.
    """

# -----------------------------------------------------------------------------
# Current request
# -----------------------------------------------------------------------------

def get_raw_jwt() -> dict[str, Any]:
    """Return all claims of the token of the current request.

    :return: the dict of claims, {} if no token was verified.
    :raises RuntimeError: there is no app context.
    """

def get_raw_jwt_header() -> dict[str, Any]:
    """Return the header of the token of the current request.

    :return: a dict of header parameters, {} if no token was verified.
    :raises RuntimeError: there is no app context.
    """

def get_jwt() -> dict[str, Any]:
    """Return all claims of the token of the current request, as Flask-JWT-Extended.

    :return: the dict of claims, {} if the request was let in without a token.
    :raises RuntimeError: the request was not verified, or there is no app context.
    """

def get_jwt_header() -> dict[str, Any]:
    """Return the header of the token of the current request, as Flask-JWT-Extended.

    :return: a dict of header parameters, {} if the request was let in without a token.
    :raises RuntimeError: the request was not verified, or there is no app context.
    """

def get_jwt_request_location() -> _Location | None:
    """Return where the token of the current request was found.

    :return: one of the names that JWT_TOKEN_LOCATION takes, None if the request was let in without
        a token, or not verified.
    :raises RuntimeError: there is no app context.
    """

def get_jwt_identity() -> Any:
    """Return the identity of the token of the current request.

    :return: the claim that JWT_IDENTITY_CLAIM names, None if no token was verified.
    :raises RuntimeError: there is no app context.
    """

def get_jwt_claims() -> dict[str, Any]:
    """Return the user claims of the token of the current request.

    :return: the claim that JWT_USER_CLAIMS names, {} if there are none or no token was verified.
    :raises RuntimeError: there is no app context.
    """

def get_current_user() -> Any:
    """Return the user of the current request.

    :return: what the callback of user_loader_callback_loader or user_lookup_loader returned, None
        without one or if no token was verified.
    :raises RuntimeError: there is no app context.
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
    """Put an access token, and its CSRF value if protection is on, into cookies of a response.

    The token's cookie is HttpOnly; the CSRF cookie, set if JWT_CSRF_IN_COOKIES is True, can be read
    by scripts of the page.

    :param response: the Quart response.
    :param encoded_access_token: the token from :func:`create_access_token`.
    :param max_age: how long the cookies last, in seconds; None follows JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None takes JWT_COOKIE_DOMAIN.
    :raises RuntimeWarning: cookies are not in JWT_TOKEN_LOCATION.
    :raises TypeError: an argument is of a wrong type, a coroutine that was not awaited for example.
    :raises ValueError: the token is malformed or not ASCII text, or carries no CSRF value while
        CSRF protection is on; ``domain`` is none, or may not be given; or a cookie would be larger
        than the 4096 bytes that browsers keep.
    :raises RuntimeError: there is no app context, or an option is wrong.
    """

def set_refresh_cookies(
    response: _AnyResponse,
    encoded_refresh_token: str,
    max_age: int | None = None,
    domain: str | None = None,
) -> None:
    """Put a refresh token, and its CSRF value if protection is on, into cookies of a response.

    :param response: the Quart response.
    :param encoded_refresh_token: the token from :func:`create_refresh_token`.
    :param max_age: how long the cookies last, in seconds; None follows JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None takes JWT_COOKIE_DOMAIN.
    :raises: as :func:`set_access_cookies`.
    """

def unset_jwt_cookies(response: _AnyResponse, domain: str | None = None) -> None:
    """Remove the cookies of both tokens, and their CSRF cookies, in a response.

    :param response: the Quart response.
    :param domain: the domain that the cookies were set with; None takes JWT_COOKIE_DOMAIN.
    :raises RuntimeWarning: cookies are not in JWT_TOKEN_LOCATION.
    :raises RuntimeError: there is no app context, or an option is wrong.
    """

def unset_access_cookies(response: _AnyResponse, domain: str | None = None) -> None:
    """Remove the cookie of the access token, and its CSRF cookie, in a response.

    :param response: the Quart response.
    :param domain: as for :func:`unset_jwt_cookies`.
    :raises: as :func:`unset_jwt_cookies`.
    """

def unset_refresh_cookies(response: _AnyResponse, domain: str | None = None) -> None:
    """Remove the cookie of the refresh token, and its CSRF cookie, in a response.

    :param response: the Quart response.
    :param domain: as for :func:`unset_jwt_cookies`.
    :raises: as :func:`unset_jwt_cookies`.
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
) -> None:
    """Verify the token of the current request or WebSocket; :func:`get_jwt` gives its claims.

    It can be registered with ``before_request`` as it is.

    :param optional: let a request without a token, or with a malformed header, in as well.
    :param fresh: require a fresh access token.
    :param refresh: look for, and require, a refresh token instead of an access token.
    :param locations: one or several of the names that JWT_TOKEN_LOCATION takes, in its place.
    :param verify_type: False accepts access and refresh tokens.
    :param skip_revocation_check: do not check whether the token has been revoked.
    :param scopes: one or several names that the claim JWT_SCOPE_CLAIM must all hold.
    :raises TypeError: an argument has a wrong type.
    :raises ValueError: a location is unknown, a scope is malformed (RFC 6749, section 3.3), or
        ``fresh`` and ``refresh`` are both True.
    :raises NoAuthorizationError: there is no token.
    :raises jwt.InvalidTokenError: it is invalid; the exceptions are those of :func:`decode_token`.
    :raises JWTExtendedException: its subclasses say what else is wrong: header, CSRF value, origin,
        type, revocation, freshness, scope, user claims, user.
    :raises RuntimeError: there is no request, or an option or a key is wrong.
    """

async def verify_jwt_in_request_optional() -> None:
    """Accept the current request without a token, or with a valid access token.

    A malformed header counts as no token, as in 0.1.0; an invalid token is rejected.

    :raises: as :func:`verify_jwt_in_request`, but for NoAuthorizationError and InvalidHeaderError.
    """

async def verify_fresh_jwt_in_request() -> None:
    """Require a valid and fresh access token in the current request.

    :raises FreshTokenRequired: the token is valid but not fresh.
    :raises: as :func:`verify_jwt_in_request`.
    """

async def verify_jwt_refresh_token_in_request() -> None:
    """Require a valid refresh token in the current request.

    :raises: as :func:`verify_jwt_in_request`.
    """

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
) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Protect a view or a WebSocket: a request needs a valid access token, or what is asked for.

    It works bare, ``@jwt_required``, and called, ``@jwt_required(fresh=True)``.

    :param fn: the view, a function or a coroutine function.
    :param optional: let a request without a token, or with a malformed header, in as well.
    :param fresh: require a fresh access token.
    :param refresh: look for, and require, a refresh token instead of an access token.
    :param locations: one or several of the names that JWT_TOKEN_LOCATION takes, in its place.
    :param verify_type: False accepts access and refresh tokens.
    :param skip_revocation_check: do not ask whether the token has been revoked.
    :param scopes: one or several names that the claim JWT_SCOPE_CLAIM must all hold.
    :return: a coroutine function with the name and the signature of the view; a decorator if there
        is no ``fn``.
    :raises TypeError: an argument has a wrong type.
    :raises ValueError: a location is unknown, a scope is malformed (RFC 6749, section 3.3), or
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
) -> _ViewDecorator: ...
@overload
def jwt_optional(
    fn: Callable[_P, Awaitable[_R]],
) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Let a view serve anonymous requests and requests with a valid access token.

    Without a token, or with a malformed header, :func:`get_jwt_identity` gives None; an invalid
    token is refused.

    :param fn: the view, a function or a coroutine function.
    :return: a coroutine function with the name and the signature of the view.
    """

@overload
def jwt_optional(fn: Callable[_P, _R]) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
@overload
def fresh_jwt_required(
    fn: Callable[_P, Awaitable[_R]],
) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Protect a view: a request needs a valid and fresh access token.

    :param fn: the view, a function or a coroutine function.
    :return: a coroutine function with the name and the signature of the view.
    """

@overload
def fresh_jwt_required(fn: Callable[_P, _R]) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
@overload
def jwt_refresh_token_required(
    fn: Callable[_P, Awaitable[_R]],
) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Protect a view: a request needs a valid refresh token.

    :param fn: the view, a function or a coroutine function.
    :return: a coroutine function with the name and the signature of the view.
    """

@overload
def jwt_refresh_token_required(fn: Callable[_P, _R]) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
def jwt_exempt(fn: _View) -> _View:
    """Leave a view open in an app or a blueprint that :func:`protect` guards.

    :param fn: the view, a function or a coroutine function; it stays protected where it is
        registered as it is.
    :return: the view to register, with the name and the signature of ``fn``.
    :raises TypeError: it is no view, or protected by a decorator of its own.
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
) -> None:
    """Guard every route and WebSocket of an app or a blueprint, those of nested blueprints too.

    Rules add up: a view needs what every ``protect`` around it and its own decorator require. Its
    token is verified once, before the view and whatever is wrapped around it. A view has ways out:
    :func:`jwt_exempt` opens it; ``optional=True`` lets requests without a token in, while a token
    that is sent must satisfy the rest; ``refresh=True`` drops ``fresh``; ``scopes=()`` drops the
    scopes. The innermost ``locations`` count. A route that does not exist stays 404, and an OPTIONS
    request that Quart answers by itself needs no token.

    :param app_or_blueprint: the Quart app or the blueprint, before it is registered.
    :param exempt: endpoint names that stay open, for example ``("static",)``; for a blueprint,
        without its name in front.
    :param optional: as for :func:`jwt_required`, like the parameters that follow.
    :raises TypeError: an argument has a wrong type.
    :raises ValueError: as :func:`jwt_required`.
    """
