# cython: language_level=3, annotation_typing=False, auto_pickle=False, nonecheck=True
"""JSON Web Tokens (RFC 7519) for Quart: one compiled module.

Table of contents, in file order:

1.  Imports
2.  Public names
3.  Constants and defaults: every ``JWT_*`` option
4.  Exceptions
5.  Settings: a typed snapshot of the options
6.  Compact JWS codec (RFC 7515): split, base64url, JSON
7.  Keys: the prepared-key cache, sign, verify
8.  Claims verification (RFC 7519, section 4.1)
9.  CSRF: the double-submit check
10. Token locations: headers, cookies, query string, JSON, WebSocket subprotocol
11. The request pipeline
12. Default callbacks
13. JWTManager
14. Public functions: create, inspect, current request, cookies
15. Decorators and current_user; whole apps; the command ``jwt routes``
16. Compatibility submodules of 0.1.0

A protected request runs through the file like this. A decorator (15) starts an attempt (11), which
takes the settings (5) of the current app. The attempt asks each configured location (10) for a
token, parses it once (6), fetches the prepared key (7), checks the signature and the claims (8) and
the CSRF value (9), then asks the callbacks of the manager (13) about revocation, claims and the
user. A stage that must wait hands its awaitable to the decorator; a request in which nothing waits
creates no coroutine of its own. Whatever is raised on the way is answered by the error handlers
that the manager registered, through the callbacks of 12 or the application's own.
"""

# -----------------------------------------------------------------------------
# 1. Imports
# -----------------------------------------------------------------------------

cimport cython as _cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.contextvars cimport PyContextVar_Get
from cpython.datetime cimport (
    import_datetime, timedelta_days, timedelta_microseconds, timedelta_seconds
)
from cpython.dict cimport PyDict_GetItemWithError, PyDict_Next
from cpython.object cimport PyObject
from cpython.list cimport PyList_GET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport (
    PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8, PyUnicode_FromStringAndSize
)
from libc.math cimport floor, isfinite
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

# What a request looks at is kept in C variables: from CPython 3.12 on, a global name is looked up
# in the module's dict each time.
cdef object _asyncio, _jwt, _DefaultJSONProvider, _Headers, _HTTPException, _QuartConfig
cdef object _Request, _Websocket

import asyncio as _asyncio
import calendar as _calendar
import datetime as _datetime
import functools as _functools
import hmac as _hmac
import inspect as _inspect
import json as _json
import os as _os
import re as _re
import sys as _sys
import time as _time
import types as _types
import warnings as _warnings
import weakref as _weakref
from importlib.machinery import ModuleSpec as _ModuleSpec

import click as _click
import jwt as _jwt
from cryptography.exceptions import InvalidSignature as _InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as _UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes as _hashes
from cryptography.hazmat.primitives.asymmetric import padding as _padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA as _ECDSA
from cryptography.hazmat.primitives.hmac import HMAC as _HMAC
from jwt.algorithms import ECAlgorithm as _ECAlgorithm
from jwt.algorithms import HMACAlgorithm as _HMACAlgorithm
from jwt.algorithms import OKPAlgorithm as _OKPAlgorithm
from jwt.algorithms import RSAAlgorithm as _RSAAlgorithm
from jwt.algorithms import RSAPSSAlgorithm as _RSAPSSAlgorithm
from jwt.algorithms import get_default_algorithms as _get_default_algorithms
from jwt.exceptions import InvalidJTIError as _InvalidJTIError
from jwt.exceptions import InvalidSubjectError as _InvalidSubjectError
from jwt.warnings import InsecureKeyLengthWarning as _InsecureKeyLengthWarning
from quart import Blueprint as _Blueprint
from quart import Quart as _Quart
from quart import Request as _Request
from quart import Websocket as _Websocket
from quart import globals as _quart_globals
from quart import json as _quart_json
from quart.config import Config as _QuartConfig
from quart.json.provider import DefaultJSONProvider as _DefaultJSONProvider
from quart.views import MethodView as _MethodView
from werkzeug.datastructures import Headers as _Headers
from werkzeug.exceptions import HTTPException as _HTTPException
from werkzeug.http import dump_cookie as _dump_cookie
from werkzeug.local import LocalProxy as _LocalProxy

cdef extern from "Python.h":
    ctypedef struct _AsyncMethods "PyAsyncMethods":
        void* am_await
    ctypedef struct _TypeObject "PyTypeObject":
        _AsyncMethods* tp_as_async
    _TypeObject* _type_of "Py_TYPE"(object value)
    void _release "Py_DECREF"(PyObject* value)
    bint _is_ascii "PyUnicode_IS_ASCII"(str text)
    Py_ssize_t _text_size "PyUnicode_GET_LENGTH"(str text)
    const char* _ascii_bytes "(const char*)PyUnicode_1BYTE_DATA"(str text)
    str _new_ascii "PyUnicode_New"(Py_ssize_t size, Py_UCS4 largest)
    long long _to_long_long "PyLong_AsLongLongAndOverflow"(object number, int* overflow) except? -1

cdef extern from *:
    """
    /* CPython renews the version tag of a dict at every change, and no two dicts share one
       (PEP 509). It is marked as deprecated from 3.12 on and gone in 3.14 (PEP 699); 0 stands for
       "unknown" there, and on free-threaded builds. */
    #if CYTHON_COMPILING_IN_CPYTHON && PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED)
      #if defined(__GNUC__)
        #pragma GCC diagnostic push
        #pragma GCC diagnostic ignored "-Wdeprecated-declarations"
      #endif
      static CYTHON_INLINE uint64_t qje_dict_version(PyObject* dict) {
          return ((PyDictObject*)dict)->ma_version_tag;
      }
      #if defined(__GNUC__)
        #pragma GCC diagnostic pop
      #endif
    #else
      #define qje_dict_version(dict) ((uint64_t)0)
    #endif
    """
    uint64_t _dict_version "qje_dict_version"(object mapping)
    # Cython's own, since CPython's changed its place and its guards from version to version.
    dict _new_dict "__Pyx_PyDict_NewPresized"(Py_ssize_t size)


# -----------------------------------------------------------------------------
# 2. Public names
# -----------------------------------------------------------------------------

__version__ = "1.0.0"

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
    "unset_access_cookies",
    "unset_jwt_cookies",
    "unset_refresh_cookies",
    "verify_fresh_jwt_in_request",
    "verify_jwt_in_request",
    "verify_jwt_in_request_optional",
    "verify_jwt_refresh_token_in_request",
]


# -----------------------------------------------------------------------------
# 3. Constants and defaults
# -----------------------------------------------------------------------------

DEFAULTS = {
    # Where tokens are looked for; the order is the precedence.
    "JWT_TOKEN_LOCATION": ("headers",),
    # Headers. The type is the scheme of RFC 9110, section 11.1; "" takes the bare token.
    "JWT_HEADER_NAME": "Authorization",
    "JWT_HEADER_TYPE": "Bearer",
    # Query string. The prefix stands in front of the token in the value, "Bearer " for example.
    "JWT_QUERY_STRING_NAME": "jwt",
    "JWT_QUERY_STRING_VALUE_PREFIX": "",
    # Cookies, by the type of the token they hold.
    "JWT_ACCESS_COOKIE_NAME": "access_token_cookie",
    "JWT_REFRESH_COOKIE_NAME": "refresh_token_cookie",
    "JWT_ACCESS_COOKIE_PATH": "/",
    "JWT_REFRESH_COOKIE_PATH": "/",
    "JWT_COOKIE_SECURE": False,
    "JWT_COOKIE_DOMAIN": None,
    "JWT_SESSION_COOKIE": True,
    "JWT_COOKIE_SAMESITE": None,
    "JWT_COOKIE_PARTITIONED": False,
    # JSON body.
    "JWT_JSON_KEY": "access_token",
    "JWT_REFRESH_JSON_KEY": "refresh_token",
    # WebSockets. Browsers can set just one header, the subprotocols: this one, and then the token.
    "JWT_WEBSOCKET_PROTOCOL": "bearer",
    # Origins beside the app's own whose pages may open a WebSocket with a token in a cookie.
    "JWT_WEBSOCKET_ORIGINS": (),
    # Double-submit CSRF protection, in force when cookies are a location.
    "JWT_COOKIE_CSRF_PROTECT": True,
    "JWT_CSRF_METHODS": ["POST", "PUT", "PATCH", "DELETE"],
    "JWT_CSRF_IN_COOKIES": True,
    # The deprecated single name; it overrides the two that follow.
    "JWT_CSRF_HEADER_NAME": None,
    "JWT_ACCESS_CSRF_HEADER_NAME": "X-CSRF-TOKEN",
    "JWT_REFRESH_CSRF_HEADER_NAME": "X-CSRF-TOKEN",
    "JWT_ACCESS_CSRF_COOKIE_NAME": "csrf_access_token",
    "JWT_REFRESH_CSRF_COOKIE_NAME": "csrf_refresh_token",
    "JWT_ACCESS_CSRF_COOKIE_PATH": "/",
    "JWT_REFRESH_CSRF_COOKIE_PATH": "/",
    "JWT_CSRF_CHECK_FORM": False,
    "JWT_ACCESS_CSRF_FIELD_NAME": "csrf_token",
    "JWT_REFRESH_CSRF_FIELD_NAME": "csrf_token",
    # Lifetimes. False: the token never expires.
    "JWT_ACCESS_TOKEN_EXPIRES": _datetime.timedelta(minutes=15),
    "JWT_REFRESH_TOKEN_EXPIRES": _datetime.timedelta(days=30),
    # Algorithms and keys. The secret falls back to SECRET_KEY while every algorithm is symmetric.
    "JWT_ALGORITHM": "HS256",
    "JWT_DECODE_ALGORITHMS": None,
    "JWT_SECRET_KEY": None,
    "JWT_PUBLIC_KEY": None,
    "JWT_PRIVATE_KEY": None,
    # Claims.
    "JWT_IDENTITY_CLAIM": "identity",
    "JWT_USER_CLAIMS": "user_claims",
    "JWT_CLAIMS_IN_REFRESH_TOKEN": False,
    "JWT_SCOPE_CLAIM": "scope",
    "JWT_ENCODE_AUDIENCE": None,
    "JWT_ENCODE_ISSUER": None,
    "JWT_ENCODE_NBF": True,
    "JWT_DECODE_ISSUER": None,
    "JWT_DECODE_AUDIENCE": None,
    "JWT_DECODE_LEEWAY": 0,
    "JWT_VERIFY_SUB": True,
    # Revocation.
    "JWT_BLACKLIST_ENABLED": False,
    "JWT_BLACKLIST_TOKEN_CHECKS": ("access", "refresh"),
    # Errors.
    "JWT_ERROR_MESSAGE_KEY": "msg",
    # "problem" answers with the problem details of RFC 9457.
    "JWT_ERROR_FORMAT": "legacy",
    # The challenge of RFC 6750, section 3, in 401 and 403 answers.
    "JWT_WWW_AUTHENTICATE": True,
    # Limits. 16 KiB is what servers allow for a whole request head by default; a token beyond it
    # can only come in a JSON body, where nothing else would bound the work that it causes.
    "JWT_MAX_TOKEN_SIZE": 16384,
    "JWT_SIGNATURE_CACHE_SIZE": 0,
}

# The options whose change must rebuild the snapshot: ours, and the one that the secret falls back
# to.
cdef tuple _WATCHED = (*DEFAULTS, "SECRET_KEY")

cdef tuple _LOCATIONS = ("headers", "cookies", "query_string", "json", "websocket_protocol")
cdef enum:
    _HEADERS
    _COOKIES
    _QUERY_STRING
    _JSON
    _WEBSOCKET_PROTOCOL
    _LOCATION_COUNT

cdef struct _Locations:
    # Where to look, in the order of precedence.
    int items[_LOCATION_COUNT]
    int count

# The two types of token; options that differ by type are kept as pairs in this order.
cdef tuple _TYPES = ("access", "refresh")
cdef enum:
    _ACCESS
    _REFRESH

# PyJWT's algorithm objects, our only way to a signature. "none" is not one of ours.
cdef dict _ALGORITHMS = {
    name: algorithm for name, algorithm in _get_default_algorithms().items() if name != "none"
}

cdef frozenset _SYMMETRIC = frozenset([
    name for name, algorithm in _ALGORITHMS.items() if isinstance(algorithm, _HMACAlgorithm)
])

# "No token here", where None could be the value that was sent (JSON null).
cdef object _ABSENT = object()

cdef str _EXTENSION = "quart-jwt-extended"
cdef str _STATE = "quart-jwt-extended.state"

# One year and a day less: what 0.1.0 wrote into persistent cookies, in seconds.
cdef int _PERSISTENT_COOKIE_MAX_AGE = 31540000

# Claims that the extension reads or writes under a fixed name.
cdef frozenset _RESERVED_CLAIMS = frozenset(("type", "fresh", "csrf", "exp", "nbf", "iat"))

# Prepared keys an app keeps. A service with more distinct keys than this prepares some again, which
# costs what PyJWT pays on every request.
cdef Py_ssize_t _KEY_CACHE_SIZE = 1024

# Header segments an app remembers: one per algorithm and key id in ordinary use.
cdef int _HEADER_SLOTS = 8

# Header segments longer than this are not remembered (bytes).
cdef Py_ssize_t _HEADER_SLOT_SIZE = 512

# How deep the reader and the writer of ordinary JSON go before they leave a document to json, whose
# own limit depends on the interpreter's stack.
cdef int _JSON_DEPTH = 16

# Tokens longer than this are not worth remembering in a signature cache (bytes).
cdef Py_ssize_t _SIGNATURE_CACHE_TOKEN_SIZE = 4096


# -----------------------------------------------------------------------------
# 4. Exceptions
# -----------------------------------------------------------------------------

class JWTExtendedException(Exception):
    """Base of every exception that this extension defines."""


class JWTDecodeError(JWTExtendedException):
    """A token lacks a claim that the extension needs, or the claim has a wrong value."""


class InvalidHeaderError(JWTExtendedException):
    """The header that should carry the token is malformed, or carries another scheme."""

    _has_other_scheme = False


class NoAuthorizationError(JWTExtendedException):
    """No token was found in any of the configured locations."""


class CSRFError(JWTExtendedException):
    """The CSRF double-submit value is absent or differs from the one in the token."""


class WebSocketOriginError(CSRFError):
    """A page of a foreign origin opened a WebSocket, and the browser sent its cookies along."""


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

    required = ()


class _UnusableKeyError(_jwt.InvalidTokenError, _jwt.InvalidKeyError):
    """A key chosen through the token cannot verify it.

    PyJWT raises InvalidKeyError here, which no handler for invalid tokens catches, so that a client
    could cause a server error; being an InvalidTokenError too makes it the client's fault.
    """


# -----------------------------------------------------------------------------
# 5. Settings
# -----------------------------------------------------------------------------

# A header field name is a token (RFC 9110, section 5.6.2), and so is a cookie name (RFC 6265).
cdef object _TOKEN_RE = _re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# A query parameter whose name is sent as it is (RFC 3986, section 2.3), or with percent signs.
cdef object _PLAIN_NAME_RE = _re.compile(r"[0-9A-Za-z._~-]+")

# No end of the attribute (RFC 6265, section 4.1.1) and no white space. Nothing of an origin either:
# browsers drop a cookie whose Domain has a scheme, a port or a path.
cdef object _DOMAIN_RE = _re.compile(r"[^\x00-\x20:/;,\"\\\x7f]+")

cdef object _ORIGIN_RE = _re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#@\s]+")

# Werkzeug, which writes Quart's cookies, knows the attribute since 3.1.
cdef bint _CAN_PARTITION = "partitioned" in _inspect.signature(_dump_cookie).parameters


cdef object _wrong_option(str name, str accepts):
    return RuntimeError(f"{name} must be {accepts}")


cdef str _plain_text(object text):
    """The characters of a string: str() of an enumeration's member would give its name."""
    return text if type(text) is str else str.__str__(text)


cdef str _read_text(dict values, str name):
    value = values[name]
    if not isinstance(value, str) or not value:
        raise _wrong_option(name, "a non-empty string")
    return _plain_text(value)


cdef str _read_token(dict values, str name):
    value = values[name]
    if not isinstance(value, str) or _TOKEN_RE.fullmatch(value) is None:
        raise _wrong_option(name, "a non-empty name of ASCII letters, digits and !#$%&'*+-.^_`|~")
    return _plain_text(value)


cdef object _read_optional_text(dict values, str name):
    value = values[name]
    if value is None:
        return None
    if not isinstance(value, str):
        raise _wrong_option(name, "a string or None")
    return _plain_text(value)


cdef object _read_given(dict values, str name, str accepts):
    """A value that is not checked yet, or None for one that is empty."""
    try:
        return values[name] or None
    except Exception:
        # The truth of a value may raise anything: that of an array raises ValueError.
        raise _wrong_option(name, accepts) from None


cdef bint _read_flag(dict values, str name) except -1:
    value = values[name]
    # 0 and 1 are what environment files and databases make of a flag; other truthy values are
    # slips such as the string "False".
    if not isinstance(value, int) or value not in (0, 1):
        raise _wrong_option(name, "True or False")
    return value


cdef Py_ssize_t _read_size(dict values, str name, Py_ssize_t least) except -1:
    value = values[name]
    if type(value) is not int or not least <= value <= _sys.maxsize:
        raise _wrong_option(name, f"an int of at least {least}")
    return value


cdef tuple _read_names(dict values, str name, str accepts):
    """A single string, or a sequence or set of them, as a tuple."""
    value = values[name]
    if isinstance(value, str):
        return (_plain_text(value),)
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise _wrong_option(name, accepts)
    for item in value:
        if not isinstance(item, str):
            raise _wrong_option(name, accepts)
    return tuple([_plain_text(item) for item in value])


cdef tuple _read_choices(dict values, str name, tuple choices):
    """As _read_names, each one of ``choices``; a set comes back in the order of ``choices``."""
    quoted = ", ".join([f'"{choice}"' for choice in choices])
    accepts = f"a string, a sequence or a set of {quoted}"
    names = _read_names(values, name, accepts)
    for item in names:
        if item not in choices:
            raise _wrong_option(name, accepts)
    if isinstance(values[name], (set, frozenset)):
        return tuple([choice for choice in choices if choice in names])
    return names


cdef object _read_lifetime(dict values, str name):
    """A lifetime as False, a timedelta, or whatever else adds to a datetime."""
    value = values[name]
    if value is False:
        return False
    try:
        value = _lifetime(value)
        moment = _datetime.datetime.now(_datetime.timezone.utc) + value
    except Exception:
        # What the addition of an object from elsewhere raises is its own affair.
        moment = None
    # A naive datetime would be taken for local time.
    if not isinstance(moment, _datetime.datetime) or moment.tzinfo is None:
        raise _wrong_option(
            name, "a timedelta, an int (seconds), anything that adds to a datetime, or False"
        )
    return value


cdef double _read_leeway(dict values) except -1:
    value = values["JWT_DECODE_LEEWAY"]
    if isinstance(value, _datetime.timedelta):
        value = value.total_seconds()
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = float(value)
            if isfinite(seconds) and seconds >= 0:
                return seconds
    except OverflowError:
        pass
    raise _wrong_option(
        "JWT_DECODE_LEEWAY", "a finite number of seconds that is not negative, or such a timedelta"
    )


cdef object _read_cookie_path(dict values, str name):
    path = _read_optional_text(values, name)
    try:
        _dump_cookie("name", path=path, max_size=0)
    except ValueError:
        raise _wrong_option(name, "a path, which cannot hold a lone surrogate, or None") from None
    return path


cdef object _read_cookie_domain(dict values):
    domain = _read_optional_text(values, "JWT_COOKIE_DOMAIN")
    try:
        written = _dump_cookie("name", domain=domain, max_size=0)
    except ValueError:
        written = None
    # Werkzeug lets through what would end the attribute, or the header.
    if written is None or (domain and _DOMAIN_RE.fullmatch(domain) is None):
        raise _wrong_option("JWT_COOKIE_DOMAIN", "the name of a domain or None")
    return domain


cdef object _read_samesite(dict values):
    value = values["JWT_COOKIE_SAMESITE"]
    if value is None:
        return None
    if not isinstance(value, str) or value.title() not in ("Strict", "Lax", "None"):
        raise _wrong_option("JWT_COOKIE_SAMESITE", '"Strict", "Lax", "None" or None')
    return _plain_text(value).title()


cdef object _read_expected(dict values, str name):
    """An expected issuer or audience: None, or the tuple of accepted strings."""
    if values[name] is None:
        return None
    accepts = "a string, a sequence or a set of strings, or None"
    names = _read_names(values, name, accepts)
    if not names:
        raise _wrong_option(name, accepts)
    return names


cdef frozenset _read_origins(dict values):
    """Origins (RFC 6454, section 6.2) in lower case, as browsers send them."""
    accepts = 'a string, a sequence or a set of origins such as "https://app.example.com"'
    names = _read_names(values, "JWT_WEBSOCKET_ORIGINS", accepts)
    for name in names:
        if _ORIGIN_RE.fullmatch(name) is None:
            raise _wrong_option("JWT_WEBSOCKET_ORIGINS", accepts)
    return frozenset([_without_default_port(name.lower()) for name in names])


cdef str _without_default_port(str origin):
    """An origin as browsers write it, without a port that its scheme implies."""
    if origin.startswith("https://"):
        return origin.removesuffix(":443")
    return origin.removesuffix(":80") if origin.startswith("http://") else origin


cdef _Locations _numbered_locations(tuple names):
    cdef _Locations locations
    cdef int index
    locations.count = len(names)
    for index in range(locations.count):
        locations.items[index] = _LOCATIONS.index(names[index])
    return locations


cdef str _known_algorithm(object name, str option):
    if not isinstance(name, str) or name not in _ALGORITHMS:
        raise _wrong_option(option, f"one of {', '.join(_ALGORITHMS)}")
    return _plain_text(name)


cdef inline bint _is_symmetric(str algorithm) except -1:
    return algorithm in _SYMMETRIC


@_cython.final
cdef class _Settings:
    """The options of one app, validated and typed, as they were at one moment.

    A request keeps the snapshot that it started with, so that it never sees a mixture of two
    configurations. Reading an option here costs a C field access.
    """

    cdef readonly tuple token_location
    cdef _Locations locations
    cdef readonly str header_name
    cdef readonly str header_type
    cdef str header_lower
    cdef str bearer_prefix
    cdef readonly str query_string_name
    # None if a query string could spell it in more ways than with percent signs.
    cdef bytes plain_query_name
    cdef str query_string_prefix
    cdef str websocket_protocol
    cdef frozenset websocket_origins
    cdef readonly tuple cookie_names
    cdef readonly tuple cookie_paths
    cdef readonly bint cookie_secure
    cdef readonly object cookie_domain
    cdef readonly object cookie_samesite
    cdef readonly bint cookie_partitioned
    cdef readonly bint session_cookie
    cdef readonly tuple json_keys
    # In force when cookies are a location; ``csrf_configured`` is the option by itself, for a route
    # that takes cookies where the app does not.
    cdef readonly bint csrf_protect
    cdef bint csrf_configured
    cdef readonly frozenset csrf_request_methods
    cdef readonly bint csrf_in_cookies
    cdef readonly tuple csrf_header_names
    cdef tuple csrf_headers_lower
    cdef readonly tuple csrf_cookie_names
    cdef readonly tuple csrf_cookie_paths
    cdef readonly bint csrf_check_form
    cdef readonly tuple csrf_field_names
    cdef readonly tuple lifetimes
    cdef readonly str algorithm
    cdef readonly tuple decode_algorithms
    cdef frozenset allowed_algorithms
    cdef readonly object secret_key
    cdef readonly object public_key
    cdef readonly object private_key
    cdef readonly str identity_claim_key
    cdef readonly str user_claims_key
    cdef readonly bint user_claims_in_refresh_token
    cdef str scope_claim
    cdef readonly object encode_audience
    cdef readonly object encode_issuer
    cdef bint encode_nbf
    cdef readonly tuple decode_issuer
    cdef readonly tuple audience
    cdef readonly double leeway
    cdef readonly bint verify_sub
    cdef readonly bint blacklist_enabled
    cdef readonly tuple blacklist_checks
    cdef readonly str error_msg_key
    cdef bint is_problem_format
    cdef bint www_authenticate
    cdef readonly Py_ssize_t max_token_size
    cdef readonly Py_ssize_t signature_cache_size
    # Prepared keys of the configuration by algorithm, filled on first use.
    cdef dict verifying_keys
    # What the snapshot was made from: the values of _WATCHED; those of them that can change in
    # place, each with a copy; the config with its version, when they were last compared.
    cdef list seen
    cdef list copies
    cdef object config
    cdef uint64_t version

    def __cinit__(self, dict values):
        self._read_locations(values)
        self._read_cookies(values)
        self._read_csrf(values)
        self._verify_cookie_names()
        self._read_keys(values)
        self._read_claims(values)
        self.lifetimes = (
            _read_lifetime(values, "JWT_ACCESS_TOKEN_EXPIRES"),
            _read_lifetime(values, "JWT_REFRESH_TOKEN_EXPIRES"),
        )
        self.blacklist_enabled = _read_flag(values, "JWT_BLACKLIST_ENABLED")
        self.blacklist_checks = _read_choices(values, "JWT_BLACKLIST_TOKEN_CHECKS", _TYPES)
        self._read_errors(values)
        self.max_token_size = _read_size(values, "JWT_MAX_TOKEN_SIZE", 1)
        self.signature_cache_size = _read_size(values, "JWT_SIGNATURE_CACHE_SIZE", 0)
        self.verifying_keys = {}
        self.seen = [values[name] for name in _WATCHED]
        self.copies = [
            (value, value.copy()) for value in self.seen if isinstance(value, (list, set))
        ]

    cdef int _read_locations(self, dict values) except -1:
        self.token_location = _read_choices(values, "JWT_TOKEN_LOCATION", _LOCATIONS)
        if not self.token_location or len(set(self.token_location)) != len(self.token_location):
            raise RuntimeError(
                "JWT_TOKEN_LOCATION must contain at least one of "
                + ", ".join([f'"{location}"' for location in _LOCATIONS])
                + ", and none of them twice"
            )
        self.locations = _numbered_locations(self.token_location)
        self.header_name = _read_token(values, "JWT_HEADER_NAME")
        self.header_lower = self.header_name.lower()
        self.header_type = ""
        self.bearer_prefix = ""
        if _read_given(values, "JWT_HEADER_TYPE", "a string") is not None:
            self.header_type = _read_token(values, "JWT_HEADER_TYPE")
            self.bearer_prefix = f"{self.header_type.lower()} "
        self.query_string_name = _read_text(values, "JWT_QUERY_STRING_NAME")
        if _PLAIN_NAME_RE.fullmatch(self.query_string_name):
            self.plain_query_name = self.query_string_name.encode()
        prefix = _read_optional_text(values, "JWT_QUERY_STRING_VALUE_PREFIX")
        self.query_string_prefix = prefix or ""
        self.websocket_protocol = _read_token(values, "JWT_WEBSOCKET_PROTOCOL")
        self.websocket_origins = _read_origins(values)
        self.json_keys = (
            _read_text(values, "JWT_JSON_KEY"), _read_text(values, "JWT_REFRESH_JSON_KEY")
        )
        return 0

    cdef int _read_cookies(self, dict values) except -1:
        self.cookie_names = (
            _read_token(values, "JWT_ACCESS_COOKIE_NAME"),
            _read_token(values, "JWT_REFRESH_COOKIE_NAME"),
        )
        self.cookie_paths = (
            _read_cookie_path(values, "JWT_ACCESS_COOKIE_PATH"),
            _read_cookie_path(values, "JWT_REFRESH_COOKIE_PATH"),
        )
        self.cookie_secure = _read_flag(values, "JWT_COOKIE_SECURE")
        self.cookie_domain = _read_cookie_domain(values)
        self.cookie_samesite = _read_samesite(values)
        self.session_cookie = _read_flag(values, "JWT_SESSION_COOKIE")
        self.cookie_partitioned = _read_flag(values, "JWT_COOKIE_PARTITIONED")
        if self.cookie_partitioned and not _CAN_PARTITION:
            raise RuntimeError("JWT_COOKIE_PARTITIONED needs Werkzeug 3.1 or later")
        if not self.cookie_secure:
            for option, is_demanding in (
                ('JWT_COOKIE_SAMESITE = "None"', self.cookie_samesite == "None"),
                ("JWT_COOKIE_PARTITIONED = True", self.cookie_partitioned),
            ):
                if is_demanding:
                    raise RuntimeError(
                        f"{option} needs JWT_COOKIE_SECURE = True: browsers refuse the cookie else"
                    )
        return 0

    cdef int _verify_cookie_names(self) except -1:
        """Check the rules of the name prefixes (RFC 6265bis, section 4.1.3) as browsers do."""
        cookies = (
            ("JWT_ACCESS_COOKIE", self.cookie_names[_ACCESS], self.cookie_paths[_ACCESS]),
            ("JWT_REFRESH_COOKIE", self.cookie_names[_REFRESH], self.cookie_paths[_REFRESH]),
            (
                "JWT_ACCESS_CSRF_COOKIE",
                self.csrf_cookie_names[_ACCESS],
                self.csrf_cookie_paths[_ACCESS],
            ),
            (
                "JWT_REFRESH_CSRF_COOKIE",
                self.csrf_cookie_names[_REFRESH],
                self.csrf_cookie_paths[_REFRESH],
            ),
        )
        for option, name, path in cookies:
            prefix = name.lower()
            if not prefix.startswith(("__host-", "__secure-")):
                continue
            if not self.cookie_secure:
                raise RuntimeError(f"{option}_NAME = {name!r} needs JWT_COOKIE_SECURE = True")
            if prefix.startswith("__secure-"):
                continue
            if path != "/":
                raise RuntimeError(f"{option}_NAME = {name!r} needs {option}_PATH = '/'")
            if self.cookie_domain is not None:
                raise RuntimeError(f"{option}_NAME = {name!r} needs JWT_COOKIE_DOMAIN = None")
        return 0

    cdef int _read_errors(self, dict values) except -1:
        self.error_msg_key = _read_text(values, "JWT_ERROR_MESSAGE_KEY")
        if not isinstance(values["JWT_ERROR_FORMAT"], str) or (
            values["JWT_ERROR_FORMAT"] not in ("legacy", "problem")
        ):
            raise _wrong_option("JWT_ERROR_FORMAT", '"legacy" or "problem"')
        self.is_problem_format = values["JWT_ERROR_FORMAT"] == "problem"
        self.www_authenticate = _read_flag(values, "JWT_WWW_AUTHENTICATE")
        return 0

    cdef int _read_csrf(self, dict values) except -1:
        protect = _read_flag(values, "JWT_COOKIE_CSRF_PROTECT")
        self.csrf_configured = protect
        self.csrf_protect = protect and "cookies" in self.token_location
        methods = _read_names(values, "JWT_CSRF_METHODS", "a sequence or a set of HTTP methods")
        self.csrf_request_methods = frozenset([method.upper() for method in methods])
        self.csrf_in_cookies = _read_flag(values, "JWT_CSRF_IN_COOKIES")
        if _read_given(values, "JWT_CSRF_HEADER_NAME", "a string or None") is not None:
            self.csrf_header_names = (_read_token(values, "JWT_CSRF_HEADER_NAME"),) * 2
            _warnings.warn(
                "JWT_CSRF_HEADER_NAME is deprecated; set JWT_ACCESS_CSRF_HEADER_NAME and "
                "JWT_REFRESH_CSRF_HEADER_NAME",
                DeprecationWarning,
            )
        else:
            self.csrf_header_names = (
                _read_token(values, "JWT_ACCESS_CSRF_HEADER_NAME"),
                _read_token(values, "JWT_REFRESH_CSRF_HEADER_NAME"),
            )
        self.csrf_headers_lower = tuple([name.lower() for name in self.csrf_header_names])
        self.csrf_cookie_names = (
            _read_token(values, "JWT_ACCESS_CSRF_COOKIE_NAME"),
            _read_token(values, "JWT_REFRESH_CSRF_COOKIE_NAME"),
        )
        self.csrf_cookie_paths = (
            _read_cookie_path(values, "JWT_ACCESS_CSRF_COOKIE_PATH"),
            _read_cookie_path(values, "JWT_REFRESH_CSRF_COOKIE_PATH"),
        )
        self.csrf_check_form = _read_flag(values, "JWT_CSRF_CHECK_FORM")
        self.csrf_field_names = (
            _read_text(values, "JWT_ACCESS_CSRF_FIELD_NAME"),
            _read_text(values, "JWT_REFRESH_CSRF_FIELD_NAME"),
        )
        return 0

    cdef int _read_keys(self, dict values) except -1:
        self.algorithm = _known_algorithm(values["JWT_ALGORITHM"], "JWT_ALGORITHM")
        names = values["JWT_DECODE_ALGORITHMS"]
        if names is None:
            names = ()
        else:
            names = _read_names(
                values, "JWT_DECODE_ALGORITHMS", "None, or a sequence or a set of algorithm names"
            )
        algorithms = [_known_algorithm(name, "JWT_DECODE_ALGORITHMS") for name in names]
        if self.algorithm not in algorithms:
            algorithms.append(self.algorithm)
        self.decode_algorithms = tuple(algorithms)
        self.allowed_algorithms = frozenset(algorithms)
        self.secret_key = _read_given(values, "JWT_SECRET_KEY", "a string, bytes or None")
        accepts = "PEM text or bytes, a key object of cryptography, or None"
        self.public_key = _read_given(values, "JWT_PUBLIC_KEY", accepts)
        self.private_key = _read_given(values, "JWT_PRIVATE_KEY", accepts)
        # With both families allowed, a secret must be meant for tokens: SECRET_KEY, which signs
        # sessions, would otherwise become a second way in beside the public key.
        if self.secret_key is None and not self._spans_families():
            self.secret_key = values["SECRET_KEY"] or None
        return 0

    cdef int _read_claims(self, dict values) except -1:
        self.identity_claim_key = _read_text(values, "JWT_IDENTITY_CLAIM")
        self.user_claims_key = _read_text(values, "JWT_USER_CLAIMS")
        if self.identity_claim_key in _RESERVED_CLAIMS:
            raise _wrong_option(
                "JWT_IDENTITY_CLAIM", f"none of {', '.join(sorted(_RESERVED_CLAIMS))}"
            )
        if self.user_claims_key in (*_RESERVED_CLAIMS, self.identity_claim_key):
            raise _wrong_option(
                "JWT_USER_CLAIMS",
                f"none of {', '.join(sorted(_RESERVED_CLAIMS))}, and not JWT_IDENTITY_CLAIM's name",
            )
        self.user_claims_in_refresh_token = _read_flag(values, "JWT_CLAIMS_IN_REFRESH_TOKEN")
        self.scope_claim = _read_text(values, "JWT_SCOPE_CLAIM")
        self.encode_audience = values["JWT_ENCODE_AUDIENCE"]
        if self.encode_audience is not None and not isinstance(self.encode_audience, str):
            self.encode_audience = list(_read_expected(values, "JWT_ENCODE_AUDIENCE"))
        self.encode_nbf = _read_flag(values, "JWT_ENCODE_NBF")
        self.encode_issuer = _read_optional_text(values, "JWT_ENCODE_ISSUER")
        self.decode_issuer = _read_expected(values, "JWT_DECODE_ISSUER")
        self.audience = _read_expected(values, "JWT_DECODE_AUDIENCE")
        self.leeway = _read_leeway(values)
        self.verify_sub = _read_flag(values, "JWT_VERIFY_SUB")
        return 0

    cdef bint _spans_families(self) except -1:
        families = {_is_symmetric(name) for name in self.decode_algorithms}
        return len(families) == 2

    cdef bint is_current(self, config) except -1:
        """Whether the options are still those that this snapshot was made from.

        Comparing 50 values by identity costs half a microsecond; the version of the dict spares it
        until something in ``app.config`` changes. It is read before the values are, so that a
        change from another thread meanwhile is compared next time.
        """
        cdef uint64_t version = _dict_version(config) if isinstance(config, dict) else 0
        if version == 0 or version != self.version or config is not self.config:
            if not self._holds(config):
                return False
            self.version = 0
            self.config = config
            self.version = version
        for value, copy in self.copies:
            if value != copy:
                return False
        return True

    cdef bint _holds(self, config) except -1:
        cdef Py_ssize_t index
        cdef PyObject* value
        for index in range(len(_WATCHED)):
            value = PyDict_GetItemWithError(config, _WATCHED[index])
            if value == NULL:
                # An option that was deleted is one with its default.
                value = PyDict_GetItemWithError(DEFAULTS, _WATCHED[index])
            if value == NULL:
                value = <PyObject*>None
            if value != <PyObject*>self.seen[index]:
                return False
        return True

    cdef object cookie_max_age(self):
        return None if self.session_cookie else _PERSISTENT_COOKIE_MAX_AGE


cdef object _DICT_GETITEM = dict.__getitem__


@_cython.final
cdef class _AppState:
    """What one app has of us: the snapshot of its options, its prepared keys, its header memo."""

    cdef object app
    cdef _Callbacks callbacks
    cdef _KeyCache keys
    cdef _HeaderMemo headers
    cdef _Settings current
    cdef object encoder

    def __cinit__(self, app, _Callbacks callbacks):
        self.app = app
        self.callbacks = callbacks
        self.keys = _KeyCache()
        self.headers = _HeaderMemo()

    cdef _Settings settings(self):
        """The snapshot that matches ``app.config`` now, validated anew only after a change."""
        config = self.app.config
        if type(config) is not _QuartConfig and type(config).__getitem__ is not _DICT_GETITEM:
            # A Config class that computes its values, secrets fetched on demand for example.
            config = {name: config[name] for name in _WATCHED if name in config}
        # One read of the attribute: another thread may put a newer snapshot there meanwhile.
        current = self.current
        if current is None or not current.is_current(config):
            current = _Settings({
                name: config[name] if name in config else DEFAULTS.get(name) for name in _WATCHED
            })
            self.current = current
        return current

    def encode(self, value):
        """Encode what goes into a token: the encoder is needed for few, so it is made only then."""
        return self.json_encoder().encode(value)

    cdef object json_encoder(self):
        """The encoder of tokens: what the app's JSON provider does for foreign types."""
        default = getattr(self.app.json, "default", None) or _DefaultJSONProvider.default
        if self.encoder is None or self.encoder.default != default:
            self.encoder = _json.JSONEncoder(separators=(",", ":"), default=default)
        return self.encoder


cdef object _get_context(object variable):
    """The value of a context variable, or None."""
    cdef PyObject* value = NULL
    PyContextVar_Get(variable, NULL, &value)
    if value == NULL:
        return None
    # PyContextVar_Get gives a new reference, and so does the cast.
    result = <object>value
    _release(value)
    return result


cdef object _CV_APP = _quart_globals._cv_app
# Quart 0.20 to 0.22 keep request and websocket in contexts of their own, 0.23 in the app context.
cdef object _CV_REQUEST = getattr(_quart_globals, "_cv_request", None)
cdef object _CV_WEBSOCKET = getattr(_quart_globals, "_cv_websocket", None)


cdef _AppState _state_in(object app_context):
    """The state of the app of a context, which may be None."""
    if app_context is None:
        raise RuntimeError(
            "Not within an app context: call this in a request, or inside "
            "`async with app.app_context()`"
        )
    state = app_context.app.extensions.get(_STATE)
    if state is None:
        raise RuntimeError(
            "No JWTManager for this app: create JWTManager(app), or call init_app(app) on one, "
            "before using this function"
        )
    return state


cdef _AppState _current_state():
    return _state_in(_get_context(_CV_APP))


cdef object _request_in(object app_context):
    """The request or the websocket that is current in an app context, or None.

    A request of one app is not current in the app context of another that its view may enter.
    """
    if _CV_REQUEST is None:
        if app_context.has_request:
            return app_context.request
        return app_context.websocket if app_context.has_websocket else None
    context = _get_context(_CV_REQUEST)
    if context is None:
        context = _get_context(_CV_WEBSOCKET)
    if context is None or context.app is not app_context.app:
        return None
    return context.request_websocket


cdef object _current_request():
    """The current request or websocket, or None outside of one."""
    app_context = _get_context(_CV_APP)
    return None if app_context is None else _request_in(app_context)


# -----------------------------------------------------------------------------
# 6. Compact JWS codec (RFC 7515, section 7.1)
# -----------------------------------------------------------------------------

cdef const char* _B64URL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

# What a character contributes to the 24 bits of a group, by its place in the group; _NOT_B64URL for
# a byte outside of the alphabet. Four looks and an "or" take half the time of looks and shifts.
cdef uint32_t _B64URL_BITS[4][256]
cdef enum:
    _NOT_B64URL = 1 << 24


cdef void _fill_base64url_bits() noexcept:
    cdef int place
    cdef uint32_t value
    for place in range(4):
        for value in range(256):
            _B64URL_BITS[place][value] = _NOT_B64URL
        for value in range(64):
            _B64URL_BITS[place][<unsigned char>_B64URL[value]] = value << (18 - 6 * place)

_fill_base64url_bits()


cdef inline Py_ssize_t _base64url_size(Py_ssize_t size) noexcept:
    return (size * 4 + 2) // 3


cdef void _write_base64url(bytes data, char* target) noexcept:
    """Write base64url without padding (RFC 7515, section 2)."""
    cdef const unsigned char* source = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t whole = size - size % 3
    cdef Py_ssize_t index
    cdef unsigned int group
    for index in range(0, whole, 3):
        group = source[index] << 16 | source[index + 1] << 8 | source[index + 2]
        target[0] = _B64URL[group >> 18]
        target[1] = _B64URL[group >> 12 & 63]
        target[2] = _B64URL[group >> 6 & 63]
        target[3] = _B64URL[group & 63]
        target += 4
    if size - whole == 1:
        target[0] = _B64URL[source[whole] >> 2]
        target[1] = _B64URL[source[whole] << 4 & 63]
    elif size - whole == 2:
        group = source[whole] << 8 | source[whole + 1]
        target[0] = _B64URL[group >> 10]
        target[1] = _B64URL[group >> 4 & 63]
        target[2] = _B64URL[group << 2 & 63]


cdef bytes _base64url_encode(bytes data):
    cdef bytes encoded = PyBytes_FromStringAndSize(NULL, _base64url_size(PyBytes_GET_SIZE(data)))
    _write_base64url(data, PyBytes_AS_STRING(encoded))
    return encoded


cdef bytes _base64url_decode(const char* source, Py_ssize_t size, str segment):
    """Decode one segment, strictly.

    Padding, foreign bytes, a length of 1 mod 4 and set bits behind the last byte are refused, so
    that every value has exactly one encoding and no altered token can pass for the original.
    """
    cdef const unsigned char* group = <const unsigned char*>source
    cdef Py_ssize_t rest = size % 4
    cdef const unsigned char* end = group + size - rest
    cdef uint32_t bits
    cdef bytes decoded
    cdef char* target
    if rest == 1:
        raise _jwt.DecodeError(f"Invalid {segment} padding")
    decoded = PyBytes_FromStringAndSize(NULL, size * 3 // 4)
    target = PyBytes_AS_STRING(decoded)
    while group < end:
        bits = (
            _B64URL_BITS[0][group[0]] | _B64URL_BITS[1][group[1]]
            | _B64URL_BITS[2][group[2]] | _B64URL_BITS[3][group[3]]
        )
        if bits >= _NOT_B64URL:
            raise _jwt.DecodeError(f"Invalid {segment} padding")
        target[0] = <char>(bits >> 16)
        target[1] = <char>(bits >> 8)
        target[2] = <char>bits
        target += 3
        group += 4
    if rest:
        bits = _B64URL_BITS[0][group[0]] | _B64URL_BITS[1][group[1]]
        if rest == 3:
            bits |= _B64URL_BITS[2][group[2]]
        if bits >= _NOT_B64URL or bits & (0xFFFF if rest == 2 else 0xFF):
            raise _jwt.DecodeError(f"Invalid {segment} padding")
        target[0] = <char>(bits >> 16)
        if rest == 3:
            target[1] = <char>(bits >> 8)
    return decoded


# --- JSON ---------------------------------------------------------------------

# json.loads spends most of its time before and after this scanner, which is C (2.6 us against
# 1.0 us for ordinary claims).
cdef object _json_decoder = _json.JSONDecoder()
cdef object _scan_json = _json_decoder.scan_once

# What the reader and the writer of ordinary JSON answer where a document is json's to judge.
cdef object _UNUSUAL = object()

# The claims that are looked at in every token. A read of the claims notes them in an array by these
# numbers, as borrowed references, NULL for an absent one: a quarter of the cost of looking each one
# up in the dict.
cdef enum:
    _NOT_NOTED
    _IAT
    _NBF
    _EXP
    _AUD
    _SUB
    _JTI
    _TYPE
    _FRESH
    _CSRF
    _NOTED_SIZE

# Names and values that most tokens hold, by a hash of their length and ends: a string that exists
# already costs a fifth of a new one that must be hashed again.
cdef list _COMMON_TEXTS = [None] * 128
cdef int _NOTED_BY_SLOT[128]


cdef inline int _common_slot(const char* text, Py_ssize_t size) noexcept:
    # With these factors no two share a slot; of later algorithms of PyJWT one may, and go without.
    return <int>(size + text[0] * 3 + text[size - 1] * 2) & 127


cdef int _fill_common_texts() except -1:
    cdef bytes text
    cdef int slot
    cdef int number
    memset(_NOTED_BY_SLOT, 0, sizeof(_NOTED_BY_SLOT))
    noted = (None, "iat", "nbf", "exp", "aud", "sub", "jti", "type", "fresh", "csrf")
    others = (
        "identity", "user_claims", "access", "refresh", "iss", "scope", "alg", "typ", "kid", "JWT"
    )
    for number, name in enumerate((*noted, *others, *_ALGORITHMS)):
        if name is None:
            continue
        text = name.encode()
        slot = _common_slot(PyBytes_AS_STRING(text), len(text))
        if _COMMON_TEXTS[slot] is None:
            _COMMON_TEXTS[slot] = _sys.intern(name)
        elif number < _NOTED_SIZE:
            # It would never be noted, and never be checked.
            raise AssertionError(f"the claim {name} shares its slot")
        if number < _NOTED_SIZE:
            _NOTED_BY_SLOT[slot] = number
    return 0

_fill_common_texts()


cdef int _find_common(const char* text, Py_ssize_t size) noexcept:
    """The slot of a common text, -1 for another one."""
    cdef int slot
    cdef PyObject* common
    if not 3 <= size <= 11:
        return -1
    slot = _common_slot(text, size)
    common = PyList_GET_ITEM(_COMMON_TEXTS, slot)
    if (
        common == <PyObject*>None
        or _text_size(<str>common) != size
        or memcmp(_ascii_bytes(<str>common), text, size) != 0
    ):
        return -1
    return slot


cdef str _read_text_value(const char* text, Py_ssize_t size):
    """A string of a JSON document that has no escapes."""
    cdef int slot = _find_common(text, size)
    return PyUnicode_DecodeUTF8(text, size, NULL) if slot < 0 else <str>_COMMON_TEXTS[slot]


cdef int _note_claims(dict claims, PyObject** noted) except -1:
    """Note the claims of a dict that the reader below did not make."""
    cdef Py_ssize_t position = 0
    cdef PyObject* name
    cdef PyObject* value
    cdef int slot
    memset(noted, 0, _NOTED_SIZE * sizeof(PyObject*))
    while PyDict_Next(claims, &position, &name, &value):
        if _is_ascii(<str>name):
            slot = _find_common(_ascii_bytes(<str>name), _text_size(<str>name))
            if slot >= 0:
                noted[_NOTED_BY_SLOT[slot]] = value
    return 0


cdef struct _Reader:
    # A walk through the JSON object of one document.
    const char* at
    const char* end
    int depth
    # Members of the outermost object, duplicates included.
    Py_ssize_t members
    # Where to note the claims among them; NULL for no claims.
    PyObject** noted
    # Whether values are made; if not, they are only checked and skipped, and just the string under
    # the wanted name of the outermost object is noted.
    bint build
    const char* wanted
    Py_ssize_t wanted_size
    const char* found
    Py_ssize_t found_size


cdef _Reader _new_reader(bytes document, bytes wanted) noexcept:
    """A reader that makes values, or one that looks for the text under a wanted name."""
    cdef _Reader reader
    reader.at = PyBytes_AS_STRING(document)
    reader.end = reader.at + PyBytes_GET_SIZE(document)
    reader.depth = 0
    reader.members = 0
    reader.noted = NULL
    reader.build = wanted is None
    reader.wanted = NULL if wanted is None else PyBytes_AS_STRING(wanted)
    reader.wanted_size = -1 if wanted is None else PyBytes_GET_SIZE(wanted)
    reader.found = NULL
    reader.found_size = 0
    return reader


cdef inline void _skip_space(_Reader* reader) noexcept:
    # Local pointers here and below: a char may alias anything, so that C would load and store the
    # fields of the reader at each byte.
    cdef const char* at = reader.at
    cdef const char* end = reader.end
    while at < end and at[0] <= c" " and at[0] in (c" ", c"\t", c"\n", c"\r"):
        at += 1
    reader.at = at


cdef inline bint _takes(_Reader* reader, char byte) noexcept:
    """Step over a byte, if it is the next one."""
    if reader.at < reader.end and reader.at[0] == byte:
        reader.at += 1
        return True
    return False


cdef Py_ssize_t _scan_string(_Reader* reader) noexcept:
    """Step behind the string whose opening quote was taken; its size, -1 if it is unusual.

    Any escape is unusual: what it stands for is json's to say.
    """
    cdef const char* at = reader.at
    cdef const char* end = reader.end
    cdef const char* start = at
    while at < end and at[0] != c'"' and at[0] != c"\\" and <unsigned char>at[0] >= 0x20:
        at += 1
    reader.at = at
    return at - start if _takes(reader, c'"') else -1


cdef bint _skip_string(_Reader* reader) noexcept:
    """Step behind a string as _scan_string does, over well-formed escapes too."""
    cdef int digits
    while _scan_string(reader) < 0:
        if not _takes(reader, c"\\") or reader.at == reader.end:
            return False
        if reader.at[0] == c"u":
            for digits in range(1, 5):
                if reader.at + digits >= reader.end or not _is_hex(reader.at[digits]):
                    return False
            reader.at += 4
        elif memchr(<const char*>b'"\\/bfnrt', reader.at[0], 8) == NULL:
            return False
        reader.at += 1
    return True


cdef inline bint _is_hex(char byte) noexcept:
    return c"0" <= byte <= c"9" or c"a" <= byte <= c"f" or c"A" <= byte <= c"F"


cdef Py_ssize_t _skip_digits(_Reader* reader) noexcept:
    cdef const char* at = reader.at
    cdef const char* start = at
    while at < reader.end and c"0" <= at[0] <= c"9":
        at += 1
    reader.at = at
    return at - start


cdef bint _skip_number(_Reader* reader) noexcept:
    """Step behind a number. Hundreds of digits are unusual: CPython limits them in an int."""
    cdef const char* start
    cdef Py_ssize_t size
    _takes(reader, c"-")
    start = reader.at
    size = _skip_digits(reader)
    if size == 0 or size > 300 or (size > 1 and start[0] == c"0"):
        return False
    if _takes(reader, c".") and _skip_digits(reader) == 0:
        return False
    if _takes(reader, c"e") or _takes(reader, c"E"):
        if not _takes(reader, c"+"):
            _takes(reader, c"-")
        return _skip_digits(reader) > 0
    return True


cdef object _read_int(_Reader* reader):
    """An int that fits a C long long; a longer one, and what is no int, is json's to make."""
    cdef long long number = 0
    cdef bint negative = _takes(reader, c"-")
    cdef const char* start = reader.at
    cdef const char* at = start
    while at < reader.end and c"0" <= at[0] <= c"9":
        if at - start == 18:
            return _UNUSUAL
        number = number * 10 + (at[0] - c"0")
        at += 1
    reader.at = at
    if at == start or (start[0] == c"0" and at - start > 1):
        return _UNUSUAL
    if at < reader.end and at[0] in (c".", c"e", c"E"):
        return _UNUSUAL
    return -number if negative else number


cdef object _read_literal(_Reader* reader, const char* literal, Py_ssize_t size, object value):
    if reader.end - reader.at < size or memcmp(reader.at, literal, size) != 0:
        return _UNUSUAL
    reader.at += size
    return value


cdef object _read_value(_Reader* reader):
    cdef const char* start
    cdef Py_ssize_t size
    if reader.at == reader.end:
        return _UNUSUAL
    if _takes(reader, c'"'):
        if not reader.build:
            return None if _skip_string(reader) else _UNUSUAL
        start = reader.at
        size = _scan_string(reader)
        return _UNUSUAL if size < 0 else _read_text_value(start, size)
    if reader.at[0] == c"t":
        return _read_literal(reader, b"true", 4, True)
    if reader.at[0] == c"f":
        return _read_literal(reader, b"false", 5, False)
    if reader.at[0] == c"n":
        return _read_literal(reader, b"null", 4, None)
    if reader.at[0] != c"{" and reader.at[0] != c"[":
        if reader.build:
            return _read_int(reader)
        return None if _skip_number(reader) else _UNUSUAL
    if reader.depth == _JSON_DEPTH:
        return _UNUSUAL
    reader.depth += 1
    value = _read_items(reader) if _takes(reader, c"[") else _read_members(reader)
    reader.depth -= 1
    return value


cdef object _read_items(_Reader* reader):
    cdef list items = [] if reader.build else None
    _skip_space(reader)
    if _takes(reader, c"]"):
        return items
    while True:
        _skip_space(reader)
        value = _read_value(reader)
        if value is _UNUSUAL:
            return _UNUSUAL
        if reader.build:
            items.append(value)
        _skip_space(reader)
        if _takes(reader, c"]"):
            return items
        if not _takes(reader, c","):
            return _UNUSUAL


cdef object _read_members(_Reader* reader):
    cdef dict members = None
    cdef const char* name
    cdef Py_ssize_t size
    cdef int slot
    if not _takes(reader, c"{"):
        return _UNUSUAL
    if reader.build:
        # The claims of a token, with what is filled in, are about ten: no growth in between.
        members = _new_dict(10 if reader.depth == 0 else 0)
    _skip_space(reader)
    if _takes(reader, c"}"):
        return members
    while True:
        _skip_space(reader)
        if not _takes(reader, c'"'):
            return _UNUSUAL
        name = reader.at
        size = _scan_string(reader)
        if size < 0:
            return _UNUSUAL
        _skip_space(reader)
        if not _takes(reader, c":"):
            return _UNUSUAL
        _skip_space(reader)
        if reader.depth == 0:
            reader.members += 1
        if reader.depth == 0 and size == reader.wanted_size and (
            memcmp(name, reader.wanted, size) == 0
        ):
            if not _note_wanted(reader):
                return _UNUSUAL
        else:
            value = _read_value(reader)
            if value is _UNUSUAL:
                return _UNUSUAL
            if reader.build:
                slot = _find_common(name, size)
                if slot < 0:
                    members[PyUnicode_DecodeUTF8(name, size, NULL)] = value
                else:
                    members[<str>_COMMON_TEXTS[slot]] = value
                    if reader.noted != NULL and reader.depth == 0:
                        reader.noted[_NOTED_BY_SLOT[slot]] = <PyObject*>value
        _skip_space(reader)
        if _takes(reader, c"}"):
            return members
        if not _takes(reader, c","):
            return _UNUSUAL


cdef bint _note_wanted(_Reader* reader) noexcept:
    """Take the wanted value, if it is a plain string; of several the last one counts."""
    if not _takes(reader, c'"'):
        return False
    reader.found = reader.at
    reader.found_size = _scan_string(reader)
    return reader.found_size >= 0


cdef object _read_ordinary_object(_Reader* reader):
    """Read a document that is one JSON object of plain strings, ints, booleans, null, containers.

    That is what tokens are made of, and takes 0.3 us where json's scanner takes 1.0 us. Whatever
    else is in the text, faults included, makes it _UNUSUAL.
    """
    _skip_space(reader)
    value = _read_members(reader)
    _skip_space(reader)
    return value if reader.at == reader.end else _UNUSUAL


cdef object _find_member_text(bytes document, bytes name):
    """The plain string under a name in a JSON object, the rest of which is checked and skipped.

    _ABSENT if the object is well-formed and has no such member; _UNUSUAL if json must judge: a
    fault, an escape in a member name or in the value, another type of value, deep nesting.

    :raises UnicodeDecodeError: the document is not UTF-8, and so not JSON.
    """
    cdef _Reader reader = _new_reader(document, name)
    PyUnicode_DecodeUTF8(reader.at, PyBytes_GET_SIZE(document), NULL)
    if _read_ordinary_object(&reader) is _UNUSUAL:
        return _UNUSUAL
    if reader.found == NULL:
        return _ABSENT
    return PyUnicode_DecodeUTF8(reader.found, reader.found_size, NULL)


cdef dict _load_object(bytes raw, str segment, PyObject** noted):
    """Parse the JSON object in a segment (RFC 8259; RFC 7515, section 4 on duplicate names).

    ``noted`` takes the claims that are in it, if it is not NULL.
    """
    cdef const char* data = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw)
    cdef _Reader reader = _new_reader(raw, None)
    cdef bint is_ordinary
    if noted != NULL:
        memset(noted, 0, _NOTED_SIZE * sizeof(PyObject*))
        reader.noted = noted
    try:
        value = _read_ordinary_object(&reader)
        is_ordinary = value is not _UNUSUAL
        if not is_ordinary:
            text = PyUnicode_DecodeUTF8(data, size, NULL)
            value = _scan_object(text) if size and data[0] == c"{" else _ABSENT
            if value is _ABSENT:
                value = _json_decoder.decode(text)
            reader.members = _count_members(data, size)
    except (ValueError, RecursionError) as error:
        raise _jwt.DecodeError(f"Invalid {segment} string: {_json_fault(error)}") from None
    if type(value) is not dict:
        raise _jwt.DecodeError(f"Invalid {segment} string: must be a json object")
    if reader.members != len(<dict>value):
        raise _jwt.DecodeError(f"Invalid {segment} string: duplicate member name")
    if noted != NULL and not is_ordinary:
        _note_claims(value, noted)
    return value


cdef object _scan_object(str text):
    """Scan a JSON text that is one value; _ABSENT leaves it, and its faults, to the decoder."""
    try:
        value, end = _scan_json(text, 0)
    except StopIteration:
        return _ABSENT
    return value if end == len(text) else _ABSENT


cdef str _json_fault(error):
    # The text of a UnicodeDecodeError quotes a byte of the token.
    if isinstance(error, UnicodeDecodeError):
        return "must be UTF-8"
    return str(error)


cdef Py_ssize_t _count_members(const char* data, Py_ssize_t size) noexcept:
    """Count the members of the outermost object of a JSON text that is known to be well-formed.

    The scanner keeps the last of several members of one name, silently; the count tells. Only the
    outermost level is counted: colons outside of strings, one level deep.
    """
    cdef Py_ssize_t count = 0
    cdef int depth = 0
    cdef bint in_string = False
    cdef Py_ssize_t index = 0
    cdef char byte
    while index < size:
        byte = data[index]
        if in_string:
            if byte == c"\\":
                index += 1
            elif byte == c'"':
                in_string = False
        elif byte == c'"':
            in_string = True
        elif byte == c"{" or byte == c"[":
            depth += 1
        elif byte == c"}" or byte == c"]":
            depth -= 1
        elif byte == c":" and depth == 1:
            count += 1
        index += 1
    return count


# --- Tokens -------------------------------------------------------------------

@_cython.final
cdef class _Header:
    """A decoded header segment. Its parameters are copied for whoever may write into them."""

    cdef bytes segment
    cdef dict parameters
    cdef object algorithm

    def __cinit__(self, bytes segment, dict parameters):
        self.segment = segment
        self.parameters = parameters
        self.algorithm = parameters.get("alg", _ABSENT)


@_cython.final
cdef class _HeaderMemo:
    """The headers of the last good tokens, so that the next ones are not decoded again.

    Nearly every token of a service has the same few headers, byte for byte. Only the header of a
    token whose signature was good gets in, and only with flat values, which a copy of the dict
    protects from the callbacks that see it.
    """

    cdef list slots
    cdef int next_slot

    def __cinit__(self):
        self.slots = []

    cdef _Header find(self, const char* segment, Py_ssize_t size):
        cdef _Header known
        for known in self.slots:
            if (
                PyBytes_GET_SIZE(known.segment) == size
                and memcmp(PyBytes_AS_STRING(known.segment), segment, size) == 0
            ):
                return known
        return None

    cdef int remember(self, _Header header) except -1:
        parameters = header.parameters
        if len(header.segment) > _HEADER_SLOT_SIZE or "crit" in parameters or "b64" in parameters:
            return 0
        for value in parameters.values():
            if type(value) is not str:
                return 0
        if self.find(PyBytes_AS_STRING(header.segment), len(header.segment)) is not None:
            return 0
        if len(self.slots) < _HEADER_SLOTS:
            self.slots.append(header)
        else:
            self.slots[self.next_slot] = header
            self.next_slot = (self.next_slot + 1) % _HEADER_SLOTS
        return 0


# Nothing that a token holds can lead back to it, so that the garbage collector need not know it.
@_cython.final
@_cython.no_gc
@_cython.freelist(8)
cdef class _Token:
    """One compact JWS, split and decoded, on its way to being verified."""

    cdef _Header header
    cdef bint is_header_new
    cdef bytes signing_input
    cdef bytes payload
    cdef bytes signature
    cdef dict claims


cdef _Token _parse_token(object encoded, Py_ssize_t max_size, _HeaderMemo memo):
    """Split and decode a compact JWS, in PyJWT's order of checks.

    :raises jwt.DecodeError: it is malformed, or longer than ``max_size`` bytes.
    :raises jwt.InvalidTokenError: its header asks for something that is not supported.
    """
    cdef const char* data
    cdef Py_ssize_t size
    cdef const char* first
    cdef const char* last
    cdef _Token token
    if isinstance(encoded, str):
        # A character is at least a byte: the length alone refuses most oversized tokens.
        if len(<str>encoded) > max_size:
            raise _token_too_long(max_size)
        try:
            data = PyUnicode_AsUTF8AndSize(encoded, &size)
        except UnicodeEncodeError:
            raise _jwt.DecodeError("Invalid token: it holds a lone surrogate") from None
    elif isinstance(encoded, bytes):
        data = PyBytes_AS_STRING(encoded)
        size = PyBytes_GET_SIZE(encoded)
    else:
        raise _jwt.DecodeError(f"Invalid token type. Token must be a {bytes}")
    if size > max_size:
        raise _token_too_long(max_size)

    first = <const char*>memchr(data, c".", size)
    last = data + size - 1
    while last > data and last[0] != c".":
        last -= 1
    if first == NULL or first == last:
        raise _jwt.DecodeError("Not enough segments")

    token = _Token.__new__(_Token)
    token.header = memo.find(data, first - data)
    if token.header is None:
        token.is_header_new = True
        token.header = _Header.__new__(
            _Header,
            PyBytes_FromStringAndSize(data, first - data),
            _load_object(_base64url_decode(data, first - data, "header"), "header", NULL),
        )
    if token.is_header_new and token.header.parameters.get("b64", True) is False:
        if last - first > 1:
            raise _jwt.DecodeError("Payload segment must be empty when 'b64' is false.")
        token.payload = b""
    else:
        token.payload = _base64url_decode(first + 1, last - first - 1, "payload")
    token.signature = _base64url_decode(last + 1, data + size - last - 1, "crypto")
    token.signing_input = PyBytes_FromStringAndSize(data, last - data)
    if token.is_header_new:
        _verify_header(token.header.parameters)
    return token


cdef object _token_too_long(Py_ssize_t max_size):
    return _jwt.DecodeError(f"Token is too long: at most {max_size} bytes are accepted")


cdef int _verify_header(dict header) except -1:
    """Check ``kid`` and ``crit`` (RFC 7515, section 4.1) and refuse ``b64: false`` (RFC 7797)."""
    if "kid" in header and not isinstance(header["kid"], str):
        raise _jwt.InvalidTokenError("Key ID header parameter must be a string")
    critical = header.get("crit", ())
    if "crit" in header:
        if not isinstance(critical, list) or not critical:
            raise _jwt.InvalidTokenError("Invalid 'crit' header: must be a non-empty list")
        for name in critical:
            if not isinstance(name, str):
                raise _jwt.InvalidTokenError("Invalid 'crit' header: values must be strings")
            if name != "b64":
                raise _jwt.InvalidTokenError(f"Unsupported critical extension: {name}")
            if name not in header:
                raise _jwt.InvalidTokenError(f"Critical extension '{name}' is missing from headers")
    if header.get("b64", True) is False:
        if "b64" not in critical:
            raise _jwt.InvalidTokenError(
                "The 'b64' header parameter requires 'b64' to be listed in 'crit'."
            )
        raise _jwt.DecodeError(
            'It is required that you pass in a value for the "detached_payload" argument to decode '
            "a message having the b64 header set to false."
        )
    return 0


@_cython.final
cdef class _Writer:
    """A JSON text in the making, compact and ASCII, as json.dumps writes it."""

    cdef char* text
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity

    def __dealloc__(self):
        PyMem_Free(self.text)

    cdef char* room(self, Py_ssize_t size) except NULL:
        """Where to write so many bytes, which then count as written."""
        cdef Py_ssize_t capacity
        cdef char* grown
        if self.size + size > self.capacity:
            capacity = 2 * (self.size + size) + 512
            grown = <char*>PyMem_Realloc(self.text, capacity)
            if grown == NULL:
                raise MemoryError()
            self.text = grown
            self.capacity = capacity
        self.size += size
        return self.text + self.size - size

    cdef int add(self, const char* piece, Py_ssize_t size) except -1:
        memcpy(self.room(size), piece, size)
        return 0

    cdef bint add_text(self, str value, char behind) except -1:
        """Add a string, and a byte behind if it is not 0; False if a character must be escaped."""
        cdef const char* text
        cdef Py_ssize_t size
        cdef Py_ssize_t index
        cdef char* target
        cdef unsigned char escapes = 0
        if not _is_ascii(value):
            return False
        text = _ascii_bytes(value)
        size = _text_size(value)
        # Without a way out of the loop, the compiler looks at many characters at once.
        for index in range(size):
            escapes |= (text[index] < c" ") | (text[index] > c"~")
            escapes |= (text[index] == c'"') | (text[index] == c"\\")
        if escapes:
            return False
        target = self.room(size + (3 if behind else 2))
        target[0] = c'"'
        memcpy(target + 1, text, size)
        target[size + 1] = c'"'
        if behind:
            target[size + 2] = behind
        return True

    cdef bint add_int(self, object value) except -1:
        """Add an int; False for one that fits no C long long."""
        cdef char digits[20]
        cdef int first = 20
        cdef int overflow = 0
        cdef long long number = _to_long_long(value, &overflow)
        cdef unsigned long long rest = number
        if overflow:
            return False
        if number < 0:
            rest = 0 - rest
        while True:
            first -= 1
            digits[first] = <char>(c"0" + rest % 10)
            rest //= 10
            if rest == 0:
                break
        if number < 0:
            first -= 1
            digits[first] = c"-"
        self.add(digits + first, 20 - first)
        return True

    cdef bint add_value(self, object value, int depth) except -1:
        """Add a value; False if it is not an ordinary one. Subclasses are json's to judge."""
        if type(value) is str:
            return self.add_text(value, 0)
        if type(value) is int:
            return self.add_int(value)
        if value is True:
            self.add(b"true", 4)
        elif value is False:
            self.add(b"false", 5)
        elif value is None:
            self.add(b"null", 4)
        elif type(value) is dict and depth < _JSON_DEPTH:
            return self.add_members(value, depth)
        elif type(value) is list and depth < _JSON_DEPTH:
            return self.add_items(value, depth)
        else:
            return False
        return True

    cdef bint add_members(self, dict members, int depth) except -1:
        cdef bint is_first = True
        self.add(b"{", 1)
        for name, value in members.items():
            if not is_first:
                self.add(b",", 1)
            is_first = False
            if type(name) is not str or not self.add_text(name, c":"):
                return False
            if not self.add_value(value, depth + 1):
                return False
        self.add(b"}", 1)
        return True

    cdef bint add_items(self, list items, int depth) except -1:
        cdef bint is_first = True
        self.add(b"[", 1)
        for value in items:
            if not is_first:
                self.add(b",", 1)
            is_first = False
            if not self.add_value(value, depth + 1):
                return False
        self.add(b"]", 1)
        return True


cdef object _PlainEncoder = _json.JSONEncoder


cdef bytes _dump_claims(dict claims, object encoder):
    """Claims as JSON: ordinary ones in 0.3 us, where a JSONEncoder sets itself up for 2 us."""
    cdef _Writer writer = _Writer.__new__(_Writer)
    # An encoder class of the application's own may do anything with ordinary claims, too.
    is_ordinary_encoder = type(encoder) is _AppState or type(encoder) is _PlainEncoder
    if is_ordinary_encoder and writer.add_members(claims, 0):
        return PyBytes_FromStringAndSize(writer.text, writer.size)
    return encoder.encode(claims).encode()


cdef str _encode_token(dict claims, object headers, _PreparedKey key, object encoder):
    """Sign claims and return the compact JWS (RFC 7515, section 7.1).

    :raises TypeError: a claim or a header is not JSON serialisable.
    """
    cdef bytes segment = key.header_segment
    cdef bytes payload
    cdef bytes signing_input
    cdef bytes signature
    cdef char* target
    cdef Py_ssize_t size
    if headers:
        header = {"alg": key.name, "typ": "JWT", **headers}
        if not header["typ"]:
            del header["typ"]
        # PyJWT sorts the header, so that equal headers are equal bytes; the memo lives on that.
        header = dict(sorted(header.items()))
        segment = _base64url_encode(encoder.encode(header).encode())
    payload = _dump_claims(claims, encoder)

    size = PyBytes_GET_SIZE(segment) + 1 + _base64url_size(PyBytes_GET_SIZE(payload))
    signing_input = PyBytes_FromStringAndSize(NULL, size)
    target = PyBytes_AS_STRING(signing_input)
    memcpy(target, PyBytes_AS_STRING(segment), PyBytes_GET_SIZE(segment))
    target[PyBytes_GET_SIZE(segment)] = c"."
    _write_base64url(payload, target + PyBytes_GET_SIZE(segment) + 1)
    signature = key.sign(signing_input)

    token = _new_ascii(size + 1 + _base64url_size(PyBytes_GET_SIZE(signature)), 127)
    target = <char*>_ascii_bytes(token)
    memcpy(target, PyBytes_AS_STRING(signing_input), size)
    target[size] = c"."
    _write_base64url(signature, target + size + 1)
    return token


# -----------------------------------------------------------------------------
# 7. Keys
# -----------------------------------------------------------------------------

cdef object _compare_digest = _hmac.compare_digest

cdef dict _HMAC_DIGESTS = {
    "HS256": _hashes.SHA256, "HS384": _hashes.SHA384, "HS512": _hashes.SHA512
}


@_cython.final
cdef class _PreparedKey:
    """A key that PyJWT has parsed and approved for one algorithm, ready to verify or to sign."""

    cdef str name
    cdef object algorithm
    cdef object key
    cdef bytes header_segment
    # HMAC only: a hash that has taken in the key. Using a copy costs 0.5 us a token, where hmac.new
    # costs 1.4 us.
    cdef object hmac
    # The others: what ``key.verify`` takes behind signature and message. PyJWT makes these anew for
    # each token, for 0.7 us.
    cdef object padding
    cdef object digest
    # ECDSA only: bytes of each half of a signature (RFC 7518, section 3.4).
    cdef Py_ssize_t half
    cdef bint is_edwards
    # The signature cache: signing inputs that verified under this key, with their signatures.
    cdef dict verified
    cdef Py_ssize_t verified_size

    cdef bytes mac(self, bytes message):
        keyed = self.hmac.copy()
        keyed.update(message)
        return keyed.finalize()

    cdef bytes sign(self, bytes message):
        if self.hmac is not None:
            return self.mac(message)
        return self.algorithm.sign(message, self.key)

    cdef bint is_signature(self, bytes message, bytes signature) except -1:
        if self.hmac is not None:
            return _compare_digest(self.mac(message), signature)
        if self.verified is None:
            return self.is_asymmetric_signature(message, signature)
        # A message has at most one signature here, so a second valid one replaces the first.
        if self.verified.get(message) == signature:
            return True
        if not self.is_asymmetric_signature(message, signature):
            return False
        if len(message) + 1 + _base64url_size(len(signature)) <= _SIGNATURE_CACHE_TOKEN_SIZE:
            if len(self.verified) >= self.verified_size:
                self.verified.pop(next(iter(self.verified)), None)
            self.verified[message] = signature
        return True

    cdef bint is_asymmetric_signature(self, bytes message, bytes signature) except -1:
        try:
            if self.half:
                if len(signature) != 2 * self.half:
                    return False
                self.key.verify(_der_signature(signature), message, self.digest)
            elif self.padding is not None:
                self.key.verify(signature, message, self.padding, self.digest)
            elif self.is_edwards:
                self.key.verify(signature, message)
            else:
                # An algorithm that PyJWT did not have when this was written.
                return self.algorithm.verify(message, self.key, signature)
        except _InvalidSignature:
            return False
        return True

    cdef int prepare_verifying(self) except -1:
        """Make what verifying takes, as PyJWT's algorithm of the same name does."""
        kind = type(self.algorithm)
        if kind is _ECAlgorithm:
            self.half = (self.key.curve.key_size + 7) // 8
            self.digest = _ECDSA(self.algorithm.hash_alg())
        elif kind is _RSAAlgorithm:
            self.digest = self.algorithm.hash_alg()
            self.padding = _padding.PKCS1v15()
        elif kind is _RSAPSSAlgorithm:
            self.digest = self.algorithm.hash_alg()
            self.padding = _padding.PSS(
                mgf=_padding.MGF1(self.digest), salt_length=self.digest.digest_size
            )
        self.is_edwards = kind is _OKPAlgorithm
        return 0


cdef Py_ssize_t _write_der_int(const char* number, Py_ssize_t size, char* target) noexcept:
    """Write an unsigned big-endian number as a DER INTEGER (X.690, section 8.3); its size."""
    cdef bint has_sign_bit
    while size > 1 and number[0] == 0:
        number += 1
        size -= 1
    has_sign_bit = <unsigned char>number[0] >= 0x80
    target[0] = 0x02
    target[1] = <char>(size + has_sign_bit)
    # The number is positive: a first byte of zero keeps it so.
    target[2] = 0
    memcpy(target + 2 + has_sign_bit, number, size)
    return 2 + has_sign_bit + size


cdef bytes _der_signature(bytes raw):
    """The two halves of a JWS ECDSA signature (RFC 7518, section 3.4) as DER, for ``key.verify``.

    Two Python ints and their encoding, which PyJWT makes, cost 1.5 us.
    """
    cdef Py_ssize_t half = PyBytes_GET_SIZE(raw) // 2
    cdef bytes numbers = PyBytes_FromStringAndSize(NULL, 2 * (3 + half))
    cdef char* target = PyBytes_AS_STRING(numbers)
    cdef Py_ssize_t size = _write_der_int(PyBytes_AS_STRING(raw), half, target)
    size += _write_der_int(PyBytes_AS_STRING(raw) + half, half, target + size)
    # Only the two numbers of P-521 are longer than the short form of a length tells.
    head = b"\x30" if size < 0x80 else b"\x30\x81"
    return head + bytes((size,)) + numbers[:size]


cdef _PreparedKey _prepare_key(object key, str name, bint signing, Py_ssize_t cache_size):
    """Let PyJWT parse and check a key for an algorithm.

    :raises jwt.InvalidKeyError: the key cannot serve the algorithm; the text holds no key material.
    """
    cdef _PreparedKey prepared = _PreparedKey.__new__(_PreparedKey)
    algorithm = _ALGORITHMS[name]
    try:
        material = algorithm.prepare_key(key)
        weakness = algorithm.check_key_length(material)
    except _jwt.InvalidKeyError as error:
        text = str(error)
        if " at 0x" in text:
            # PyJWT's text about a key of another kind shows the address of a generator.
            text = f"The key cannot be used with {name} (InvalidKeyError)"
        raise _jwt.InvalidKeyError(text) from None
    except (TypeError, ValueError, AttributeError, _UnsupportedAlgorithm) as error:
        # Their texts may quote the key, so only the kind of fault is passed on.
        raise _jwt.InvalidKeyError(
            f"The key cannot be used with {name} ({type(error).__name__})"
        ) from None
    if weakness:
        _warnings.warn(weakness, _InsecureKeyLengthWarning)
    prepared.name = name
    prepared.algorithm = algorithm
    header = _json.dumps({"alg": name, "typ": "JWT"}, separators=(",", ":"))
    prepared.header_segment = _base64url_encode(header.encode())
    if name in _SYMMETRIC:
        prepared.hmac = _HMAC(material, _HMAC_DIGESTS[name]())
        return prepared
    if signing:
        if not hasattr(material, "sign"):
            raise _jwt.InvalidKeyError(f"A private key is needed to sign with {name}")
    elif not hasattr(material, "verify"):
        # PyJWT verifies with the public half of EC and EdDSA private keys, and fails on RSA ones.
        if name[:2] in ("RS", "PS"):
            raise _jwt.InvalidKeyError(f"A public key is needed to verify {name}")
        material = material.public_key()
    prepared.key = material
    if not signing:
        prepared.prepare_verifying()
        if cache_size:
            prepared.verified = {}
            prepared.verified_size = cache_size
    return prepared


@_cython.final
cdef class _KeyRequest:
    """What a key cache was asked for, with its answer."""

    cdef object key
    cdef str name
    cdef bint signing
    cdef Py_ssize_t cache_size
    cdef _PreparedKey prepared

    cdef bint asks(self, object key, str name, bint signing, Py_ssize_t cache_size) noexcept:
        # Keys are compared as objects, which cannot change.
        return (
            key is self.key and name is self.name and signing == self.signing
            and cache_size == self.cache_size
        )


@_cython.final
cdef class _KeyCache:
    """Prepared keys of one app, bounded, the oldest leaving first.

    The cache key is the exact type and value (of an opaque key object: the object itself) with the
    algorithm and the use, so that a key that changed is another key. Every step below is a single
    operation on the dict, so that threads that meet here prepare a key twice at worst.
    """

    cdef dict keys
    # What was asked for last, mostly what is asked for next, too; found without hashing.
    cdef _KeyRequest last

    def __cinit__(self):
        self.keys = {}

    cdef _PreparedKey get(self, object key, str name, bint signing, Py_ssize_t cache_size):
        # One read of the attribute: another thread may put a newer one there meanwhile.
        cdef _KeyRequest last = self.last
        if last is None or not last.asks(key, name, signing, cache_size):
            last = _KeyRequest.__new__(_KeyRequest)
            last.key = key
            last.name = name
            last.signing = signing
            last.cache_size = cache_size
            last.prepared = self.find(key, name, signing, cache_size)
            self.last = last
        return last.prepared

    cdef _PreparedKey find(self, object key, str name, bint signing, Py_ssize_t cache_size):
        if _is_symmetric(name):
            # A secret signs and verifies alike, and no signature of it is worth remembering.
            signing = False
            cache_size = 0
        value = key if isinstance(key, (str, bytes)) else id(key)
        cache_key = (type(key), value, name, signing, cache_size)
        found = self.keys.get(cache_key)
        if found is not None:
            return <_PreparedKey>(<tuple>found)[1]
        prepared = _prepare_key(key, name, signing, cache_size)
        if len(self.keys) >= _KEY_CACHE_SIZE:
            self.keys.pop(next(iter(self.keys)), None)
        # The key itself is kept beside, so that no other object can come to have its id. Another
        # thread may have been here first: all go on with one key, and its signature cache.
        found = self.keys.setdefault(cache_key, (key, prepared))
        return <_PreparedKey>(<tuple>found)[1]


cdef str _missing_key(str name, str option):
    if option == "JWT_SECRET_KEY":
        return (
            f'JWT_SECRET_KEY or SECRET_KEY must be set to use the symmetric algorithm "{name}" '
            "(with asymmetric algorithms allowed beside it: JWT_SECRET_KEY)"
        )
    return f'{option} must be set to use the asymmetric algorithm "{name}"'


cdef object _configured_key(_Settings settings, str name, bint signing):
    """The configured key for an algorithm, by its family.

    :raises RuntimeError: it is not set.
    """
    if _is_symmetric(name):
        key, option = settings.secret_key, "JWT_SECRET_KEY"
    elif signing:
        key, option = settings.private_key, "JWT_PRIVATE_KEY"
    else:
        key, option = settings.public_key, "JWT_PUBLIC_KEY"
    if key is None:
        raise RuntimeError(_missing_key(name, option))
    return key


cdef _PreparedKey _configured_verifying_key(_AppState state, _Settings settings, str name):
    """The prepared key of the configuration that verifies ``name``, which is an allowed algorithm.

    :raises jwt.InvalidAlgorithmError: the token chose an allowed algorithm that no configured key
        can serve, while another one can.
    :raises RuntimeError: no allowed algorithm has a usable key, or the key of the app's own
        algorithm is unusable.
    """
    prepared = settings.verifying_keys.get(name)
    if prepared is not None:
        return <_PreparedKey>prepared
    try:
        key = _configured_key(settings, name, False)
        prepared = state.keys.get(key, name, False, settings.signature_cache_size)
    except (RuntimeError, _jwt.InvalidKeyError) as error:
        # An unusable key of the app's own algorithm is never the token's fault.
        misconfigured = name == settings.algorithm and isinstance(error, _jwt.InvalidKeyError)
        if not misconfigured and _serves_another(state, settings, name):
            raise _jwt.InvalidAlgorithmError("The specified alg value is not allowed") from None
        if isinstance(error, RuntimeError):
            raise
        option = "JWT_SECRET_KEY" if _is_symmetric(name) else "JWT_PUBLIC_KEY"
        raise RuntimeError(f"{option} cannot be used with {name}: {error}") from None
    settings.verifying_keys[name] = prepared
    return <_PreparedKey>prepared


cdef bint _serves_another(_AppState state, _Settings settings, str name) except -1:
    """Whether a configured key serves some other allowed algorithm than ``name``."""
    for other in settings.decode_algorithms:
        if other == name:
            continue
        try:
            key = _configured_key(settings, other, False)
            state.keys.get(key, other, False, settings.signature_cache_size)
        except (RuntimeError, _jwt.InvalidKeyError):
            continue
        return True
    return False


cdef _PreparedKey _chosen_verifying_key(
    _AppState state, _Settings settings, object key, str name
):
    """Prepare the key that a decode_key_loader returned for a token.

    :raises jwt.InvalidTokenError: it cannot verify a token of this algorithm.
    """
    if type(key) is not str and isinstance(key, _jwt.PyJWK):
        if key.algorithm_name != name:
            raise _jwt.InvalidAlgorithmError(
                f"Token algorithm '{name}' does not match the key's algorithm "
                f"'{key.algorithm_name}'"
            )
        key = key.key
    if key is None:
        raise _UnusableKeyError("No key for this token")
    try:
        return state.keys.get(key, name, False, settings.signature_cache_size)
    except _jwt.InvalidKeyError as error:
        raise _UnusableKeyError(str(error)) from None


cdef _PreparedKey _signing_key(_AppState state, object key, str name):
    try:
        return state.keys.get(key, name, True, 0)
    except _jwt.InvalidKeyError as error:
        if state.callbacks.encode_key is not None:
            origin = "The key from encode_key_loader"
        else:
            origin = "JWT_SECRET_KEY" if _is_symmetric(name) else "JWT_PRIVATE_KEY"
        raise RuntimeError(f"{origin} cannot be used with {name}: {error}") from None


cdef int _verify_algorithm(object algorithm, frozenset allowed) except -1:
    """Match the header's ``alg`` against the allow-list (RFC 8725, section 3.1)."""
    if algorithm is _ABSENT:
        raise _jwt.InvalidAlgorithmError("Algorithm not specified")
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise _jwt.InvalidAlgorithmError("The specified alg value is not allowed")
    return 0


cdef bint _is_signed(_Token token, _PreparedKey key, _HeaderMemo memo) except -1:
    if not key.is_signature(token.signing_input, token.signature):
        return False
    if token.is_header_new:
        memo.remember(token.header)
    return True


# -----------------------------------------------------------------------------
# 8. Claims verification (RFC 7519, section 4.1)
# -----------------------------------------------------------------------------

# Looked up at each use, so that a test can stop the clock, but for a third of an attribute's cost.
cdef dict _TIME_NAMES = _time.__dict__


cdef inline double _now() except? -1:
    """The POSIX time in seconds."""
    return _TIME_NAMES["time"]()


cdef inline bint _is_exact_in_double(object value, long long* number) except -1:
    """Read an int that a C double holds exactly; False for a larger one."""
    cdef int overflow = 0
    number[0] = _to_long_long(value, &overflow)
    return overflow == 0 and -(1LL << 53) < number[0] < (1LL << 53)


cdef bint _is_number(object value) except -1:
    """Whether a claim is a finite JSON number; True and False are not."""
    if type(value) is int:
        return True
    return type(value) is float and isfinite(<double>value)


cdef bint _is_after(object claim, double moment) except -1:
    """Whether a time claim lies after a moment; fractions are cut off, as PyJWT does."""
    cdef long long number
    if type(claim) is float:
        claim = int(claim)
    # Comparing C doubles takes a tenth of comparing an int with a float, which Python does exactly.
    if _is_exact_in_double(claim, &number):
        return <double>number > moment
    return claim > moment


cdef bint _verify_registered_claims(
    dict claims, PyObject** noted, _Settings settings, bint allow_expired
) except? True:
    """Check the registered claims as PyJWT does, in its order and with its exceptions.

    ``exp``, ``nbf`` and ``iat`` must be finite JSON numbers, where PyJWT also takes bools and
    numeric strings. True means that the token has expired, and that nothing behind was checked.
    """
    cdef double now = _now()
    cdef double leeway = settings.leeway
    if noted[_IAT] != NULL:
        if not _is_number(<object>noted[_IAT]):
            raise _jwt.InvalidIssuedAtError("Issued At claim (iat) must be an integer.")
        if _is_after(<object>noted[_IAT], now + leeway):
            raise _jwt.ImmatureSignatureError("The token is not yet valid (iat)")
    if noted[_NBF] != NULL:
        if not _is_number(<object>noted[_NBF]):
            raise _jwt.DecodeError("Not Before claim (nbf) must be an integer.")
        if _is_after(<object>noted[_NBF], now + leeway):
            raise _jwt.ImmatureSignatureError("The token is not yet valid (nbf)")
    if noted[_EXP] != NULL and not allow_expired:
        if not _is_number(<object>noted[_EXP]):
            raise _jwt.DecodeError("Expiration Time claim (exp) must be an integer.")
        if not _is_after(<object>noted[_EXP], now - leeway):
            return True
    _verify_issuer(claims, settings)
    _verify_audience(None if noted[_AUD] == NULL else <object>noted[_AUD], settings)
    if noted[_SUB] != NULL and settings.verify_sub and not isinstance(<object>noted[_SUB], str):
        raise _InvalidSubjectError("Subject must be a string")
    if noted[_JTI] != NULL and not isinstance(<object>noted[_JTI], str):
        raise _InvalidJTIError("JWT ID must be a string")
    return False


cdef int _verify_issuer(dict claims, _Settings settings) except -1:
    if settings.decode_issuer is None:
        return 0
    if "iss" not in claims:
        raise _jwt.MissingRequiredClaimError("iss")
    issuer = claims["iss"]
    if not isinstance(issuer, str):
        raise _jwt.InvalidIssuerError("Payload Issuer (iss) must be a string")
    if issuer not in settings.decode_issuer:
        raise _jwt.InvalidIssuerError("Invalid issuer")
    return 0


cdef int _verify_audience(object audience, _Settings settings) except -1:
    if settings.audience is None:
        if audience:
            raise _jwt.InvalidAudienceError("Invalid audience")
        return 0
    if not audience:
        raise _jwt.MissingRequiredClaimError("aud")
    if isinstance(audience, str):
        audience = [audience]
    if not isinstance(audience, list):
        raise _jwt.InvalidAudienceError("Invalid claim format in token")
    for name in audience:
        if not isinstance(name, str):
            raise _jwt.InvalidAudienceError("Invalid claim format in token")
    for name in settings.audience:
        if name in audience:
            return 0
    raise _jwt.InvalidAudienceError("Audience doesn't match")


cdef int _verify_own_claims(dict claims, PyObject** noted, _Settings settings) except -1:
    """Check the claims that the extension gives a meaning to."""
    if settings.identity_claim_key not in claims:
        raise JWTDecodeError(f"Missing claim: {settings.identity_claim_key}")
    if noted[_TYPE] != NULL and (
        not isinstance(<object>noted[_TYPE], str) or <object>noted[_TYPE] not in _TYPES
    ):
        raise JWTDecodeError("Missing or invalid claim: type")
    # NaN would compare as fresh for ever, and any other type would fail the comparison.
    if noted[_FRESH] != NULL and (
        type(<object>noted[_FRESH]) is not bool and not _is_number(<object>noted[_FRESH])
    ):
        raise JWTDecodeError("Missing or invalid claim: fresh")
    if noted[_CSRF] != NULL:
        _csrf_claim(claims)
    return 0


cdef int _fill_in_claims(dict claims, PyObject** noted, _Settings settings) except -1:
    """Add what a token of another issuer may lack, as 0.1.0 does."""
    if noted[_JTI] == NULL:
        claims["jti"] = None
    if noted[_TYPE] == NULL:
        claims["type"] = "access"
    if noted[_FRESH] == NULL and (noted[_TYPE] == NULL or <object>noted[_TYPE] == "access"):
        claims["fresh"] = False
    if settings.user_claims_key not in claims:
        claims[settings.user_claims_key] = {}
    return 0


cdef dict _verify_token(
    _Token token, _PreparedKey key, _AppState state, _Settings settings, object csrf_value,
    bint allow_expired
):
    """Verify a parsed token under a key, and return its claims.

    An ExpiredSignatureError leaves with the claims as ``jwt_data`` and the header as
    ``jwt_header``, for the expired_token callback. The CSRF value is compared first, as in 0.1.0,
    so that no forged request reaches the callback.
    """
    cdef PyObject* noted[_NOTED_SIZE]
    if not _is_signed(token, key, state.headers):
        raise _jwt.InvalidSignatureError("Signature verification failed")
    claims = token.claims = _load_object(token.payload, "payload", noted)
    expired = _verify_registered_claims(claims, noted, settings, allow_expired)
    _fill_in_claims(claims, noted, settings)
    if not expired:
        _verify_own_claims(claims, noted, settings)
    if csrf_value is not None:
        _verify_csrf(claims, csrf_value)
    if expired:
        error = _jwt.ExpiredSignatureError("Signature has expired")
        _attach_token(error, token)
        raise error
    return claims


cdef int _attach_token(error, _Token token) except -1:
    """Give an exception the header and the claims of a token whose signature is good."""
    error.jwt_header = dict(token.header.parameters)
    error.jwt_data = token.claims
    return 0


# -----------------------------------------------------------------------------
# 9. CSRF (the double-submit check)
# -----------------------------------------------------------------------------

cdef str _MISSING_CSRF = "Missing CSRF token"


cdef int _verify_csrf(dict claims, object value) except -1:
    """Compare the value that was sent with the one in the token, in constant time."""
    expected = _csrf_claim(claims).encode("utf-8", "surrogatepass")
    if not isinstance(value, (str, bytes)):
        raise CSRFError("CSRF double submit tokens do not match")
    sent = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    if not _compare_digest(expected, sent):
        raise CSRFError("CSRF double submit tokens do not match")
    return 0


cdef str _csrf_claim(dict claims):
    if "csrf" not in claims:
        raise JWTDecodeError("Missing claim: csrf")
    if not isinstance(claims["csrf"], str):
        raise JWTDecodeError("Missing or invalid claim: csrf")
    return claims["csrf"]


async def _token_with_form_csrf(_Attempt attempt, token):
    """Read the CSRF value from the form field, then go on with ``token``."""
    field = attempt.settings.csrf_field_names[attempt.kind]
    try:
        attempt.csrf_value = (await attempt.request.form).get(field)
    except (_HTTPException, ValueError) as error:
        # 413 and 408 are Quart's to answer; a body that is no form holds no value.
        if isinstance(error, _HTTPException) and error.code != 400:
            raise
    if not attempt.csrf_value:
        raise CSRFError(_MISSING_CSRF)
    return token


# -----------------------------------------------------------------------------
# 10. Token locations
# -----------------------------------------------------------------------------

# Each function returns the token, an awaitable of it, or _ABSENT after noting why.
#
# They read what the request was made from, and look for the one thing they need. What they find is
# what the request's own headers, cookies, args and get_json() would give; those are asked wherever
# the input is out of the ordinary, or the app's request class has an opinion of its own.

cdef tuple _parts(tuple names):
    return tuple([(name, getattr(_Request, name, None)) for name in names])


# What a fast path stands in for, as Quart defines it.
cdef tuple _COOKIE_PARTS = _parts(("__getattribute__", "cookies", "dict_storage_class"))
cdef tuple _QUERY_PARTS = _parts(("__getattribute__", "args", "parameter_storage_class"))
cdef tuple _MIMETYPE_PARTS = _parts(("__getattribute__", "mimetype", "_parsed_content_type"))
cdef tuple _JSON_PARTS = _parts(("__getattribute__", "get_data", "get_json", "is_json", "mimetype"))


cdef bint _is_plain(object request, tuple parts) except -1:
    """Whether what a request was made from tells what these parts of it would give.

    Its class may override them; a hook may have replaced them on the object, where a property that
    was read before keeps its value, too.
    """
    request_class = type(request)
    own = request.__dict__
    for name, original in parts:
        if getattr(request_class, name, None) is not original or name in own:
            return False
    return True


cdef bint _is_named(object name, str lower) except -1:
    """Whether a header field has a name, which is given in ASCII lower case."""
    cdef const char* text
    cdef const char* wanted
    cdef Py_ssize_t index
    if type(name) is not str or not _is_ascii(name):
        return name.lower() == lower
    if _text_size(name) != _text_size(lower):
        return False
    text = _ascii_bytes(name)
    wanted = _ascii_bytes(lower)
    for index in range(_text_size(lower)):
        if text[index] != wanted[index] and not (
            c"A" <= text[index] <= c"Z" and text[index] + 32 == wanted[index]
        ):
            return False
    return True


cdef object _header_of(object headers, str field, str lower):
    """What ``headers.get`` gives, the first field of the name or None, for a tenth of its cost."""
    if type(headers) is not _Headers:
        return headers.get(field)
    for name, value in headers:
        if _is_named(name, lower):
            return value
    return None


cdef object _token_from_headers(_Attempt attempt):
    cdef _Settings settings = attempt.settings
    cdef str value = _header_of(
        attempt.request.headers, settings.header_name, settings.header_lower
    )
    cdef str prefix = settings.bearer_prefix
    if not value:
        return attempt.miss(f"Missing {settings.header_name} Header")
    if prefix and value[:len(prefix)].lower() == prefix:
        token = value[len(prefix):]
        if token and "," not in token and " " not in token and "\t" not in token:
            return token
    return _token_from_header_fields(attempt, value)


cdef object _token_from_header_fields(_Attempt attempt, str value):
    """Read a header that is more, or less, than a scheme and a token.

    As in 0.1.0 a list of credentials is searched for the first one of our scheme. White space is
    what RFC 9110, section 5.6.3, calls so; str.split would take control characters for it.
    """
    cdef _Settings settings = attempt.settings
    scheme = settings.header_type.lower()
    fault = InvalidHeaderError(
        f"Bad {settings.header_name} header. Expected value "
        + (f"'{settings.header_type} <JWT>'" if scheme else "'<JWT>'")
    )
    value = value.replace("\t", " ")
    fields = [
        [word for word in field.split(" ") if word]
        for field in (value.split(",") if scheme else [value])
    ]
    if not scheme and len(fields[0]) == 1:
        return fields[0][0]
    ours = [field for field in fields if scheme and field and field[0].lower() == scheme]
    if not ours:
        fault._has_other_scheme = True
        attempt.foreign_header = fault
        return attempt.miss(str(fault))
    if len(ours[0]) != 2 or [] in fields:
        raise fault
    return ours[0][1]


cdef object _token_from_cookies(_Attempt attempt):
    cdef _Settings settings = attempt.settings
    request = attempt.request
    name = settings.cookie_names[attempt.kind]
    token = _UNUSUAL
    if _is_plain(request, _COOKIE_PARTS):
        token = _cookie_of(request.headers, name)
    if token is _UNUSUAL:
        token = request.cookies.get(name)
    if not token:
        return attempt.miss(f'Missing cookie "{name}"')
    if attempt.is_websocket:
        # In place of the double-submit check, for which a browser could send no value here.
        _verify_origin(request, settings)
    elif settings.csrf_configured and request.method in settings.csrf_request_methods:
        attempt.csrf_value = _header_of(
            request.headers,
            settings.csrf_header_names[attempt.kind],
            settings.csrf_headers_lower[attempt.kind],
        )
        if not attempt.csrf_value:
            if settings.csrf_check_form:
                return _token_with_form_csrf(attempt, token)
            raise CSRFError(_MISSING_CSRF)
    return token


cdef object _cookie_of(object headers, str name):
    """The first cookie of a name (RFC 6265, section 5.4) in the Cookie fields; None without one.

    _UNUSUAL is what Werkzeug's versions read differently, or what must be decoded: a quote before
    the end of it, white space in the value, control characters, a field that is not ASCII.
    Werkzeug's dict of all cookies takes 10 us, this a tenth of one.
    """
    cdef const char* at
    cdef const char* end
    cdef const char* stop
    if type(headers) is not _Headers:
        return _UNUSUAL
    for field, value in headers:
        if not _is_named(field, "cookie"):
            continue
        if type(value) is not str or not _is_ascii(value):
            return _UNUSUAL
        at = _ascii_bytes(value)
        end = at + _text_size(value)
        if _has_controls(at, end):
            return _UNUSUAL
        while at < end:
            stop = <const char*>memchr(at, c";", end - at)
            if stop == NULL:
                stop = end
            if memchr(at, c'"', stop - at) != NULL:
                return _UNUSUAL
            found = _cookie_value(at, stop, name)
            if found is not None:
                return found
            at = stop + 1
    return None


cdef bint _has_controls(const char* at, const char* end) noexcept:
    """Whether there are control characters, a tab apart, which some versions take for space."""
    cdef unsigned char found = 0
    while at < end:
        found |= (at[0] < c" ") & (at[0] != c"\t")
        at += 1
    return found


cdef object _cookie_value(const char* at, const char* end, str name):
    """The value of one ``name=value`` pair without quotes, None if the pair is of another name."""
    cdef Py_ssize_t size = _text_size(name)
    cdef const char* start
    while at < end and (at[0] == c" " or at[0] == c"\t"):
        at += 1
    while end > at and (end[-1] == c" " or end[-1] == c"\t"):
        end -= 1
    if end - at < size or memcmp(at, _ascii_bytes(name), size) != 0:
        return None
    at += size
    while at < end and (at[0] == c" " or at[0] == c"\t"):
        at += 1
    if at < end:
        if at[0] != c"=":
            return None
        at += 1
    while at < end and (at[0] == c" " or at[0] == c"\t"):
        at += 1
    start = at
    while at < end:
        # Werkzeug drops such a pair since 3.1.9, and took it before.
        if at[0] == c" " or at[0] == c"\t":
            return _UNUSUAL
        at += 1
    return PyUnicode_FromStringAndSize(start, end - start)


cdef object _token_from_query_string(_Attempt attempt):
    cdef _Settings settings = attempt.settings
    request = attempt.request
    token = _UNUSUAL
    if settings.plain_query_name is not None and _is_plain(request, _QUERY_PARTS):
        token = _parameter_of(request.query_string, settings.plain_query_name)
    if token is _UNUSUAL:
        try:
            token = request.args.get(settings.query_string_name)
        except UnicodeDecodeError:
            token = None
    if not token or not token.startswith(settings.query_string_prefix):
        return attempt.miss(f'Missing "{settings.query_string_name}" query paramater')
    return token[len(settings.query_string_prefix):]


cdef object _parameter_of(object query, bytes name):
    """The first parameter of a name in a query string; None without one.

    _UNUSUAL at anything that must be decoded on the way: a name with a percent sign, the value with
    one or with a plus, bytes that are not ASCII. Werkzeug's dict of all parameters takes 7 us, this
    a tenth of one.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    cdef const char* at
    cdef const char* end
    cdef const char* stop
    cdef const char* equals
    if type(query) is not bytes or not (<bytes>query).isascii():
        return _UNUSUAL
    at = PyBytes_AS_STRING(query)
    end = at + PyBytes_GET_SIZE(query)
    while at < end:
        stop = <const char*>memchr(at, c"&", end - at)
        if stop == NULL:
            stop = end
        equals = <const char*>memchr(at, c"=", stop - at)
        if equals == NULL:
            equals = stop
        if memchr(at, c"%", equals - at) != NULL:
            return _UNUSUAL
        # An empty field is none, but a name is never empty.
        if equals - at == size and memcmp(at, PyBytes_AS_STRING(name), size) == 0:
            at = equals + 1 if equals < stop else stop
            if memchr(at, c"%", stop - at) != NULL or memchr(at, c"+", stop - at) != NULL:
                return _UNUSUAL
            return PyUnicode_FromStringAndSize(at, stop - at)
        at = stop + 1
    return None


cdef bint _is_json(object request) except -1:
    """Whether the media type is application/json; parsing its parameters takes Werkzeug 4 us."""
    cdef str content_type
    if _is_plain(request, _MIMETYPE_PARTS):
        content_type = _header_of(request.headers, "Content-Type", "content-type")
        if not content_type:
            return False
        if content_type.partition(";")[0].strip(" \t").lower() == "application/json":
            return True
    # What is no match may still be one to a version of Werkzeug that strips more.
    return request.mimetype == "application/json"


cdef object _token_from_json(_Attempt attempt):
    request = attempt.request
    if not _is_json(request):
        return attempt.miss("Invalid content-type. Must be application/json.")
    name = attempt.settings.json_keys[attempt.kind]
    found = _token_from_whole_body(attempt, name)
    if found is _UNUSUAL or found is _COMING:
        return _token_from_json_body(attempt, name, found)
    return _missing_key_in_json(attempt, name) if found is _ABSENT else found


cdef object _missing_key_in_json(_Attempt attempt, str name):
    return attempt.miss(f'Missing "{name}" key in json data.')


cdef object _quart_json_loads = _quart_json.loads


cdef bint _has_default_json(_Attempt attempt) except -1:
    """Whether get_json() would parse with the json module, through Quart's default provider."""
    loads = attempt.request.json_module.loads
    if loads is _quart_json_loads:
        # The requests of Quart 0.23 go through this function, which asks the current app.
        loads = attempt.state.app.json.loads
    return getattr(loads, "__func__", None) is _DefaultJSONProvider.loads


# The answer while a body has not arrived yet.
cdef object _COMING = object()

# Only of Quart's own body it is known that waiting for it may be broken off and begun again.
cdef object _Body = _Request.body_class

cdef dict _NO_JSON_YET = {False: Ellipsis, True: Ellipsis}


cdef object _token_from_whole_body(_Attempt attempt, str name):
    """Look into a body that has arrived already, without building what else is in it.

    _COMING where the body must be waited for, _UNUSUAL where get_json() has to be asked, whose
    coroutines and timer cost 15 us for the smallest body.
    """
    request = attempt.request
    if not _is_plain(request, _JSON_PARTS):
        return _UNUSUAL
    timeout = request.body_timeout
    if (
        not _has_default_json(attempt)
        or type(request.body) is not _Body
        # Where get_json(silent=True) keeps its result.
        or getattr(request, "_cached_json", None) != _NO_JSON_YET
        or (timeout is not None and timeout <= 0)
    ):
        return _UNUSUAL
    waiting = request.body.__await__()
    try:
        next(waiting)
    except StopIteration as arrived:
        body = arrived.value
    else:
        waiting.close()
        return _COMING
    try:
        return _find_member_text(body, name.encode())
    except UnicodeError:
        return _UNUSUAL


async def _token_from_json_body(_Attempt attempt, str name, found):
    """Wait for the body, and read what get_json() makes of it if there is anything unusual."""
    if found is _COMING:
        # Quart 0.23 starts the view before it takes the first message from the server, which then
        # mostly holds the whole body: one turn of the loop brings it.
        await _asyncio.sleep(0)
        found = _token_from_whole_body(attempt, name)
    if found is _UNUSUAL or found is _COMING:
        try:
            body = await attempt.request.get_json(silent=True)
        except (RecursionError, ValueError):
            body = None
        found = body.get(name, _ABSENT) if isinstance(body, dict) else _ABSENT
    return _missing_key_in_json(attempt, name) if found is _ABSENT else found


cdef object _token_from_websocket_protocol(_Attempt attempt):
    """Take the subprotocol that the client offers behind JWT_WEBSOCKET_PROTOCOL."""
    name = attempt.settings.websocket_protocol
    offered = attempt.request.requested_subprotocols
    if name in offered[:-1]:
        return offered[offered.index(name) + 1]
    return attempt.miss(f'Missing "{name}" WebSocket subprotocol')


cdef int _answer_subprotocol(object websocket, str name) except -1:
    """Let the acceptance of a websocket, whoever makes it, name the protocol before the token.

    A browser drops a socket that answers none of the subprotocols it offered, and the token must
    not be echoed. The websocket is referred to weakly, so that no cycle keeps it alive.
    """
    accept = websocket.__dict__.get("accept")
    if accept is None:
        accept = _functools.partial(type(websocket).accept, _weakref.proxy(websocket))
    offered = websocket.requested_subprotocols
    cdef Py_ssize_t place = offered.index(name) + 1

    async def accept_with_protocol(headers=None, subprotocol=None):
        if subprotocol is None or subprotocol == offered[place]:
            subprotocol = name
        await accept(headers, subprotocol)

    websocket.accept = accept_with_protocol
    return 0


cdef int _verify_origin(object websocket, _Settings settings) except -1:
    """Refuse cookies of a socket that a page of a foreign origin opened (RFC 6455, section 10.2).

    CORS does not cover WebSockets, and they send no CSRF value. Only browsers send an Origin, and
    each of them does.
    """
    cdef str origin = _header_of(websocket.headers, "Origin", "origin")
    cdef str host
    if origin is None:
        return 0
    origin = origin.lower()
    if origin in settings.websocket_origins:
        return 0
    host = (_header_of(websocket.headers, "Host", "host") or "").lower()
    for scheme, port in (("https://", ":443"), ("http://", ":80")):
        # Behind a proxy that ends TLS the socket looks unencrypted; the reverse does not occur.
        if scheme == "http://" and websocket.scheme == "wss":
            continue
        if (
            host
            and origin.startswith(scheme)
            and origin[len(scheme):].removesuffix(port) == host.removesuffix(port)
        ):
            return 0
    raise WebSocketOriginError("The origin of the page may not open this WebSocket")


# -----------------------------------------------------------------------------
# 11. The request pipeline
# -----------------------------------------------------------------------------

cdef object _GeneratorType = _types.GeneratorType


cdef inline bint _is_awaitable(object value):
    """What inspect.isawaitable says, at a tenth of its cost for values that are not."""
    cdef _AsyncMethods* methods = _type_of(value).tp_as_async
    if methods != NULL and methods.am_await != NULL:
        return True
    return type(value) is _GeneratorType and _inspect.isawaitable(value)


@_cython.final
cdef class _Verified:
    """What a request keeps of its token, as an attribute of the request object.

    Not ``g``: under Quart 0.20 to 0.22 requests inside an outer app context share it, and an
    identity must never reach another request. A request that was let in without a token has one
    too, with no claims.
    """

    cdef dict header
    cdef dict claims
    cdef object user
    cdef _Settings settings
    # The location of the token, None without one.
    cdef str location


cdef str _VERIFIED = "_jwt_extended"
# The options under which a request is verified, as another attribute of it, once its verification
# waited or failed: what is answered then goes by the same ones, whatever was changed meanwhile.
cdef str _OPTIONS = "_jwt_extended_options"


cdef _Verified _new_verified(dict header, dict claims, _Settings settings):
    cdef _Verified verified = _Verified.__new__(_Verified)
    verified.header = header
    verified.claims = claims
    verified.settings = settings
    return verified


cdef _Verified _current_token():
    """The verified token of the current request, or None. There must be an app context."""
    request = _current_request()
    if request is None:
        _current_state()
        return None
    return getattr(request, _VERIFIED, None)


# A scope-token (RFC 6749, section 3.3).
cdef object _SCOPE_RE = _re.compile(r"[!#-\[\]-~]+")


@_cython.final
cdef class _Rules:
    """What a route asks of a token, checked once, where the route is decorated."""

    # By which type of token it is located, and which type it must be unless any will do.
    cdef int kind
    cdef bint any_type
    cdef bint optional
    cdef bint fresh
    cdef bint skip_revocation
    # None are set: those of the app.
    cdef _Locations locations
    cdef tuple location_names
    cdef tuple scopes

    def __cinit__(
        self, optional=False, fresh=False, refresh=False, locations=None, verify_type=True,
        skip_revocation_check=False, scopes=None
    ):
        self.optional = _read_rule("optional", optional)
        self.fresh = _read_rule("fresh", fresh)
        self.kind = _REFRESH if _read_rule("refresh", refresh) else _ACCESS
        self.any_type = not _read_rule("verify_type", verify_type)
        self.skip_revocation = _read_rule("skip_revocation_check", skip_revocation_check)
        if self.fresh and self.kind == _REFRESH:
            raise ValueError("fresh and refresh exclude each other: refresh tokens are never fresh")
        if locations is not None:
            accepts = ", ".join([f'"{name}"' for name in _LOCATIONS])
            self.location_names = _read_rule_names("locations", locations, accepts)
            for name in self.location_names:
                if name not in _LOCATIONS:
                    raise ValueError(f"locations must be one or several of {accepts}")
            if len(set(self.location_names)) != len(self.location_names):
                raise ValueError("locations must not name a location twice")
            self.locations = _numbered_locations(self.location_names)
        if scopes is not None:
            self.scopes = _read_rule_names("scopes", scopes, "scope names")
            for name in self.scopes:
                if _SCOPE_RE.fullmatch(name) is None:
                    raise ValueError(
                        "scopes must be one or several names of printable ASCII, without white "
                        'space, " and \\'
                    )

    def __repr__(self):
        """How a route is protected, for a person: ``fresh access token, scopes: read``."""
        words = "refresh token" if self.kind == _REFRESH else "access token"
        if self.any_type:
            words = "access or refresh token"
        if self.fresh:
            words = f"fresh {words}"
        if self.optional:
            words = f"optional {words}"
        if self.location_names is not None:
            words += f", in {' or '.join(self.location_names)}"
        if self.scopes is not None:
            words += f", scopes: {' '.join(self.scopes)}"
        if self.skip_revocation:
            words += ", not checked for revocation"
        return words


cdef bint _read_rule(str argument, object value) except -1:
    if type(value) is not bool:
        raise TypeError(f"{argument} must be True or False, not {value!r}")
    return value


cdef tuple _read_rule_names(str argument, object value, str accepts):
    """One or several names, in an order that does not change from run to run."""
    if isinstance(value, str):
        return (str(value),)
    names = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [None]
    if not names or not all([isinstance(name, str) for name in names]):
        raise TypeError(
            f"{argument} must be a string, or a sequence or a set of strings: {accepts}"
        )
    return tuple(sorted(names) if isinstance(value, (set, frozenset)) else names)


cdef enum:
    _LOCATE
    _DECODE
    _REVOCATION
    _CLAIMS
    _USER
    _DONE


@_cython.final
@_cython.freelist(8)
cdef class _Attempt:
    """One verification of one request, as a row of stages.

    Each stage has a start, which does what needs no waiting and returns a value or an awaitable of
    it, and a finish, which takes the value. The caller awaits::

        pending = attempt.advance()
        while pending is not None:
            pending = attempt.resume(await pending)
    """

    cdef _AppState state
    cdef _Settings settings
    cdef object request
    cdef bint is_websocket
    cdef _Rules rules
    cdef int kind
    cdef _Locations locations
    cdef int location
    cdef int stage
    cdef int next_location
    # The names of the locations that had no token, and why; None while none was without.
    cdef list asked
    cdef list missing
    cdef object foreign_header
    cdef object csrf_value
    cdef object encoded
    cdef _Token token
    cdef _Verified verified

    cdef object miss(self, str reason):
        """Note why a location has no token."""
        if self.missing is None:
            self.asked = []
            self.missing = []
        self.asked.append(_LOCATIONS[self.location])
        self.missing.append(reason)
        return _ABSENT

    cdef object advance(self):
        """Run stages until one must wait; return what to await, or None at the end."""
        try:
            while self.stage != _DONE:
                value = self.start()
                if _is_awaitable(value):
                    setattr(self.request, _OPTIONS, self.settings)
                    return value
                self.finish(value)
        except Exception:
            setattr(self.request, _OPTIONS, self.settings)
            raise
        return None

    cdef object resume(self, value):
        self.finish(value)
        return self.advance()

    cdef object start(self):
        if self.stage == _LOCATE:
            return self.locate()
        if self.stage == _DECODE:
            return _start_decoding(self)
        if self.stage == _REVOCATION:
            if self.rules.skip_revocation:
                return False
            return _ask_blacklist(
                self.state, self.settings, self.token.header.parameters, self.token.claims,
                self.token.claims["type"],
            )
        if self.stage == _CLAIMS:
            return self.ask_about_claims()
        return self.ask_for_user()

    cdef object ask_about_claims(self):
        cdef _Callbacks callbacks = self.state.callbacks
        claims = self.token.claims
        if callbacks.claims_verification is None:
            return True
        # Flask-JWT-Extended asks about tokens of both types, 0.1.0 about access tokens.
        if callbacks.claims_verification_form == _WITH_HEADER:
            return callbacks.claims_verification(dict(self.token.header.parameters), claims)
        if claims["type"] != "access":
            return True
        return callbacks.claims_verification(claims[self.settings.user_claims_key])

    cdef object ask_for_user(self):
        cdef _Callbacks callbacks = self.state.callbacks
        claims = self.token.claims
        if callbacks.user_loader is None:
            return True
        if callbacks.user_loader_form == _WITH_HEADER:
            return callbacks.user_loader(dict(self.token.header.parameters), claims)
        return callbacks.user_loader(claims[self.settings.identity_claim_key])

    cdef int finish(self, value) except -1:
        if value is _ABSENT:
            # This location had no token: the next one is asked, or the attempt is done without.
            return 0
        if self.stage == _LOCATE:
            self.encoded = value
        elif self.stage == _DECODE:
            self.finish_decoding(value)
        elif self.stage == _REVOCATION:
            if value:
                raise self.refusal(RevokedTokenError("Token has been revoked"))
            self.store()
        elif self.stage == _CLAIMS:
            if not value:
                raise UserClaimsVerificationError("User claims verification failed")
        elif self.state.callbacks.user_loader is not None:
            if value is None:
                identity = self.token.claims[self.settings.identity_claim_key]
                raise UserLoadError(f"Error loading the user {identity}")
            self.verified.user = value
        self.stage += 1
        return 0

    cdef object locate(self):
        """Ask the locations that are left, in their order; the first token found is final."""
        while self.next_location < self.locations.count:
            self.location = self.locations.items[self.next_location]
            self.next_location += 1
            if self.location == (_JSON if self.is_websocket else _WEBSOCKET_PROTOCOL):
                # A handshake has no body, and another request no subprotocols.
                continue
            try:
                found = self.look()
            except InvalidHeaderError:
                if not self.rules.optional:
                    raise
                return self.go_without()
            if found is not _ABSENT:
                return found
        if not self.rules.optional:
            raise self.nothing_found()
        return self.go_without()

    cdef object look(self):
        if self.location == _HEADERS:
            return _token_from_headers(self)
        if self.location == _COOKIES:
            return _token_from_cookies(self)
        if self.location == _QUERY_STRING:
            return _token_from_query_string(self)
        if self.location == _JSON:
            return _token_from_json(self)
        return _token_from_websocket_protocol(self)

    cdef object go_without(self):
        """End the attempt: the request is let in without a token."""
        setattr(self.request, _VERIFIED, _new_verified({}, {}, self.settings))
        self.stage = _DONE
        return _ABSENT

    cdef object nothing_found(self):
        if self.foreign_header is not None:
            return self.foreign_header
        if self.missing is None:
            # For example a WebSocket where only JSON bodies are looked into.
            return NoAuthorizationError("Missing JWT: none of the locations applies here")
        if len(self.missing) == 1:
            return NoAuthorizationError(self.missing[0])
        return NoAuthorizationError(
            f"Missing JWT in {', '.join(self.asked[:-1])} or {self.asked[-1]} "
            f"({'; '.join(self.missing)})"
        )

    cdef int finish_decoding(self, key) except -1:
        cdef _PreparedKey prepared = _take_key(self.state, self.settings, self.token, key)
        claims = _verify_token(
            self.token, prepared, self.state, self.settings, self.csrf_value, False
        )
        if claims["type"] != _TYPES[self.kind] and not self.rules.any_type:
            raise self.refusal(WrongTokenError(f"Only {_TYPES[self.kind]} tokens are allowed"))
        return 0

    cdef int store(self) except -1:
        self.verified = _new_verified(
            self.token.header.parameters, self.token.claims, self.settings
        )
        self.verified.location = _LOCATIONS[self.location]
        setattr(self.request, _VERIFIED, self.verified)
        if self.location == _WEBSOCKET_PROTOCOL:
            _answer_subprotocol(self.request, self.settings.websocket_protocol)
        if self.rules.fresh and not _is_fresh(self.token.claims):
            raise FreshTokenRequired("Fresh token required")
        if self.rules.scopes is not None:
            _verify_scopes(self.token.claims, self.settings, self.rules.scopes)
        return 0

    cdef object refusal(self, error):
        """An error about a token that is genuine: its callback may look at the claims."""
        _attach_token(error, self.token)
        return error


cdef object _ask_blacklist(
    _AppState state, _Settings settings, dict header, dict claims, str token_type
):
    cdef _Callbacks callbacks = state.callbacks
    cdef bint always = callbacks.blacklist_form == _WITH_HEADER
    # token_in_blocklist_loader is Flask-JWT-Extended's, where registering is all it takes: a
    # revoked token must not get in for want of an option that is not known there.
    if not settings.blacklist_enabled and not always:
        return False
    if callbacks.token_in_blacklist is None:
        raise RuntimeError(
            "JWT_BLACKLIST_ENABLED needs a callback: register one with token_in_blacklist_loader"
        )
    if token_type not in settings.blacklist_checks:
        return False
    if always:
        return callbacks.token_in_blacklist(dict(header), claims)
    return callbacks.token_in_blacklist(claims)


cdef int _verify_scopes(dict claims, _Settings settings, tuple required) except -1:
    """Check that a token grants every scope (RFC 8693, section 4.2; RFC 9068, section 2.2.3)."""
    granted = claims.get(settings.scope_claim, ())
    if isinstance(granted, str):
        granted = granted.split(" ")
    elif not isinstance(granted, (list, tuple)):
        raise JWTDecodeError(f"Missing or invalid claim: {settings.scope_claim}")
    for name in required:
        if name not in granted:
            error = InsufficientScopeError("Insufficient scope")
            error.required = required
            raise error
    return 0


cdef bint _is_fresh(dict claims) except -1:
    """Whether an access token is fresh now: its claim is a bool or the POSIX time of the end."""
    fresh = claims.get("fresh", False)
    if claims["type"] != "access":
        return False
    return fresh if type(fresh) is bool else fresh >= floor(_now())


cdef object _start_decoding(_Attempt attempt):
    """Parse the token and ask for its key."""
    attempt.token = _parse_token(
        attempt.encoded, attempt.settings.max_token_size, attempt.state.headers
    )
    attempt.encoded = None
    return _ask_key(attempt.state, attempt.settings, attempt.token)


cdef object _ask_key(_AppState state, _Settings settings, _Token token):
    """The prepared key for a token, or what the decode_key_loader returned for it."""
    _verify_algorithm(token.header.algorithm, settings.allowed_algorithms)
    callback = state.callbacks.decode_key
    if callback is None:
        return _configured_verifying_key(state, settings, token.header.algorithm)
    # The callback gets claims and header of its own: it must not be able to write into the token.
    return callback(_load_object(token.payload, "payload", NULL), dict(token.header.parameters))


cdef _PreparedKey _take_key(_AppState state, _Settings settings, _Token token, object key):
    if isinstance(key, _PreparedKey):
        return <_PreparedKey>key
    return _chosen_verifying_key(state, settings, key, token.header.algorithm)


cdef _Attempt _new_attempt(_Rules rules):
    """Begin to verify the current request; None if its method is exempt (CORS preflight)."""
    cdef _Attempt attempt
    app_context = _get_context(_CV_APP)
    request = None if app_context is None else _request_in(app_context)
    if request is None:
        raise RuntimeError("Not within a request: a token is looked for in the current request")
    if request.method == "OPTIONS":
        return None
    attempt = _Attempt.__new__(_Attempt)
    attempt.state = _state_in(app_context)
    attempt.settings = attempt.state.settings()
    attempt.request = request
    attempt.is_websocket = type(request) is not _Request and isinstance(request, _Websocket)
    attempt.rules = rules
    attempt.kind = rules.kind
    attempt.locations = rules.locations if rules.locations.count else attempt.settings.locations
    return attempt


# -----------------------------------------------------------------------------
# 12. Default callbacks
# -----------------------------------------------------------------------------

def _default_user_claims_callback(userdata):
    """Add no user claims."""
    return {}


def _default_jwt_headers_callback(default_headers):
    """Add no headers to ``alg`` and ``typ``."""
    return None


def _default_user_identity_callback(userdata):
    """Take the object that was passed to the creating function as the identity."""
    return userdata


def _default_expired_token_callback(expired_token):
    """Answer 401 to an expired token."""
    return _legacy_answer("expired_token", None)


def _default_invalid_token_callback(error_string):
    """Answer 422 to an invalid token."""
    return _legacy_answer("invalid_token", error_string)


def _default_unauthorized_callback(error_string):
    """Answer 401 to a request without a token, or with a wrong CSRF value."""
    return _legacy_answer("unauthorized", error_string)


def _default_needs_fresh_token_callback():
    """Answer 401 to a token that is not fresh."""
    return _legacy_answer("needs_fresh_token", None)


def _default_revoked_token_callback():
    """Answer 401 to a revoked token."""
    return _legacy_answer("revoked_token", None)


def _default_user_loader_error_callback(identity):
    """Answer 401 when the user could not be loaded."""
    return _legacy_answer("user_loader_error", _unknown_user(identity))


def _default_claims_verification_callback(user_claims):
    """Accept all user claims."""
    return True


def _default_verify_claims_failed_callback():
    """Answer 400 to refused user claims."""
    return _legacy_answer("verify_claims_failed", None)


def _default_decode_key_callback(claims, headers):
    """Verify with JWT_SECRET_KEY or JWT_PUBLIC_KEY, by the algorithm."""
    return _config.decode_key


def _default_encode_key_callback(identity):
    """Sign with JWT_SECRET_KEY or JWT_PRIVATE_KEY, by the algorithm."""
    return _config.encode_key


# --- Answers to refused requests -----------------------------------------------

# By callback: what 0.1.0 answers, status and message, where None is the text of the exception; and
# the code and the title of the problem details (RFC 9457), where None depends on the exception.
cdef dict _ANSWERS = {
    "unauthorized": (401, None, "token_missing", "Token missing"),
    "invalid_token": (422, None, "token_invalid", "Token invalid"),
    "expired_token": (401, "Token has expired", "token_expired", "Token expired"),
    "revoked_token": (401, "Token has been revoked", "token_revoked", "Token revoked"),
    "needs_fresh_token": (401, "Fresh token required", "token_not_fresh", "Token not fresh"),
    "user_loader_error": (401, None, "user_not_found", "User not found"),
    "verify_claims_failed": (
        400, "User claims verification failed", "claims_refused", "Claims refused"
    ),
    "insufficient_scope": (403, "Insufficient scope", "insufficient_scope", "Insufficient scope"),
}

# The error codes of RFC 6750, section 3.1, for the codes of ours that are not its invalid_token. A
# request without credentials gets a challenge without an error.
cdef dict _CHALLENGE_ERRORS = {
    "token_missing": None,
    "csrf_missing": "invalid_request",
    "csrf_mismatch": "invalid_request",
    "origin_refused": "invalid_request",
    "insufficient_scope": "insufficient_scope",
}


cdef tuple _legacy_answer(str name, object message):
    """What 0.1.0 answers; the message is needed where the table has none."""
    status, fixed = _ANSWERS[name][:2]
    return {_config.error_msg_key: message if fixed is None else fixed}, status


cdef str _unknown_user(object identity):
    return f"Error loading the user {identity}"


cdef tuple _describe(str name, error):
    """Status and message of 0.1.0, code and title of a problem, for an error and its callback."""
    status, message, code, title = _ANSWERS[name]
    if isinstance(error, WebSocketOriginError):
        status, code, title = 403, "origin_refused", "Origin refused"
    elif isinstance(error, CSRFError):
        code, title = "csrf_mismatch", "CSRF value wrong"
        if str(error) == _MISSING_CSRF:
            code, title = "csrf_missing", "CSRF value missing"
    elif isinstance(error, InvalidHeaderError) and error._has_other_scheme:
        # Credentials of another scheme are no token; 0.1.0 answers 422 to them all the same.
        code, title = "token_missing", "Token missing"
    elif isinstance(error, WrongTokenError):
        code, title = "wrong_token_type", "Wrong type of token"
    if name == "user_loader_error":
        message = _unknown_user(get_jwt_identity())
    return status, str(error) if message is None else message, code, title


cdef object _default_answer(_AppState state, _Settings settings, str name, error):
    """The body and the status that a refused request gets without a callback of the app."""
    status, message, code, title = _describe(name, error)
    if not settings.is_problem_format:
        return {settings.error_msg_key: message}, status
    if status == 422:
        # RFC 6750, section 3.1, answers an invalid token with 401.
        status = 401
    problem = {
        "type": f"urn:quart-jwt-extended:{code}",
        "title": title,
        "status": status,
        "detail": message,
        "code": code,
    }
    return state.app.response_class(
        state.app.json.dumps(problem), status=status, content_type="application/problem+json"
    )


cdef int _add_challenge(object response, _Settings settings, str name, error) except -1:
    """Add the WWW-Authenticate header (RFC 6750, section 3) that 401 and 403 must have."""
    code = _describe(name, error)[2]
    reason = _CHALLENGE_ERRORS.get(code, "invalid_token")
    challenge = settings.header_type or "Bearer"
    if reason is not None:
        challenge += f' error="{reason}"'
    if isinstance(error, InsufficientScopeError) and error.required:
        challenge += f', scope="{" ".join(error.required)}"'
    response.headers["WWW-Authenticate"] = challenge
    return 0


cdef _Settings _options_of(_AppState state, object request):
    """The options under which a request was verified, or else those of the moment."""
    settings = getattr(request, _OPTIONS, None)
    if settings is None:
        verified = getattr(request, _VERIFIED, None)
        settings = state.settings() if verified is None else (<_Verified>verified).settings
    return settings


async def _answer(str name, error):
    """Answer an error, with the refused token as the current one while a callback runs."""
    cdef _AppState state = _current_state()
    cdef _Verified before
    request = _current_request()
    cdef _Settings settings = _options_of(state, request)
    callback = state.callbacks.answers.get(name)
    claims = getattr(error, "jwt_data", None)
    shown = request is not None and claims is not None
    if shown:
        before = getattr(request, _VERIFIED, None)
        setattr(request, _VERIFIED, _new_verified(error.jwt_header, claims, settings))
    try:
        if callback is None:
            result = _default_answer(state, settings, name, error)
        else:
            result = callback(error, get_raw_jwt_header(), get_raw_jwt())
            if _is_awaitable(result):
                result = await result
        if not settings.www_authenticate:
            return result
        response = await state.app.make_response(result)
        if response.status_code in (401, 403) and "WWW-Authenticate" not in response.headers:
            _add_challenge(response, settings, name, error)
        return response
    finally:
        if shown:
            setattr(request, _VERIFIED, before)


# -----------------------------------------------------------------------------
# 13. JWTManager
# -----------------------------------------------------------------------------

@_cython.final
cdef class _Callbacks:
    """The callbacks of one manager. None stands for a default that costs nothing to skip.

    Some come in two forms: that of 0.1.0, and that of Flask-JWT-Extended, which takes the header
    and the claims of the token.
    """

    cdef object user_claims
    cdef object additional_claims
    cdef object user_identity
    cdef object jwt_headers
    cdef object encode_key
    cdef object decode_key
    cdef object token_in_blacklist
    cdef int blacklist_form
    cdef object claims_verification
    cdef int claims_verification_form
    cdef object user_loader
    cdef int user_loader_form
    # By the names of _ANSWERS; each takes the error, and the header and the claims of the token.
    cdef dict answers

    def __cinit__(self):
        self.answers = {}


cdef enum:
    _PLAIN_FORM
    _WITH_HEADER


cdef bint _accepts(object callback, int count) except -1:
    """Whether a callback can be called with ``count`` positional arguments.

    A callable whose signature cannot be read (some builtins) is taken at its word.
    """
    try:
        signature = _inspect.signature(callback)
    except (ValueError, TypeError):
        return True
    try:
        signature.bind(*(None,) * count)
    except TypeError:
        return False
    return True


cdef tuple _ANSWERED = (
    (NoAuthorizationError, "unauthorized"),
    (CSRFError, "unauthorized"),
    (InvalidHeaderError, "invalid_token"),
    (JWTDecodeError, "invalid_token"),
    (WrongTokenError, "invalid_token"),
    (_jwt.InvalidTokenError, "invalid_token"),
    (_jwt.ExpiredSignatureError, "expired_token"),
    (RevokedTokenError, "revoked_token"),
    (FreshTokenRequired, "needs_fresh_token"),
    (UserLoadError, "user_loader_error"),
    (UserClaimsVerificationError, "verify_claims_failed"),
    (InsufficientScopeError, "insufficient_scope"),
)


cdef int _choose_arity(object callback, str loader, tuple counts) except -1:
    """How many arguments a callback takes: the first of ``counts`` that it can be called with."""
    if not callable(callback):
        raise TypeError(f"{loader} takes a function, not {type(callback).__name__}")
    for count in counts:
        if _accepts(callback, count):
            return count
    words = ("no arguments", "one argument", "two arguments")
    raise TypeError(
        f"The callback of {loader} must take {' or '.join([words[count] for count in counts])}"
    )


cdef int _verify_callback(object callback, str loader, int count) except -1:
    _choose_arity(callback, loader, (count,))
    return 0


class JWTManager:
    """Holds the callbacks of the extension and binds them to one or several Quart apps.

    :param app: the app to bind to at once; None to call :meth:`init_app` later, as an application
        factory does.
    :param add_context_processor: whether templates get ``current_user``.
    """

    def __init__(self, app=None, add_context_processor=False):
        self._callbacks = _Callbacks()
        if app is not None:
            self.init_app(app, add_context_processor)

    def init_app(self, app, add_context_processor=False):
        """Bind this manager to an app: set the defaults of the options, register error handlers.

        A manager can be bound to several apps; each has its own options and keys. Binding another
        manager to the same app replaces this one, as in 0.1.0. The command ``quart jwt routes``
        lists the routes of the app with how they are protected.

        :param app: the Quart app.
        :param add_context_processor: whether templates get ``current_user``.
        """
        app.extensions[_EXTENSION] = self
        app.extensions[_STATE] = _AppState(app, self._callbacks)
        for name, value in DEFAULTS.items():
            # A list is copied, since applications append to theirs.
            app.config.setdefault(name, value.copy() if isinstance(value, list) else value)
        for exception, name in _ANSWERED:
            app.register_error_handler(exception, self._error_handler(name))
        if add_context_processor:
            app.context_processor(lambda: {"current_user": get_current_user()})
        app.cli.add_command(_jwt_commands(app))
        app.before_serving(_placement_check(app))

    def _error_handler(self, name):
        async def handle(error):
            return await _answer(name, error)

        return handle

    # --- Loaders: what goes into a token -------------------------------------

    def user_claims_loader(self, callback):
        """Register the callback that gives an access token its user claims.

        :param callback: takes the object passed to :func:`create_access_token`, returns a JSON
            serialisable value, usually a dict; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "user_claims_loader", 1)
        (<_Callbacks>self._callbacks).user_claims = callback
        return callback

    def additional_claims_loader(self, callback):
        """Register the callback that adds claims to the top level of a new token.

        As in Flask-JWT-Extended, and beside the user claims, which are one claim that holds a dict.

        :param callback: takes the object passed to the creating function, returns a dict of claims
            or None; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "additional_claims_loader", 1)
        (<_Callbacks>self._callbacks).additional_claims = callback
        return callback

    def user_identity_loader(self, callback):
        """Register the callback that turns an object into the identity of its tokens.

        :param callback: takes the object passed to :func:`create_access_token` or
            :func:`create_refresh_token`, returns a JSON serialisable identity; a function or a
            coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "user_identity_loader", 1)
        (<_Callbacks>self._callbacks).user_identity = callback
        return callback

    def additional_headers_loader(self, callback):
        """Register the callback that adds headers to a new token, such as ``kid``.

        :param callback: takes the object passed to the creating function, returns a dict of header
            parameters (RFC 7515, section 4) or None; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "additional_headers_loader", 1)
        (<_Callbacks>self._callbacks).jwt_headers = callback
        return callback

    # --- Loaders: keys --------------------------------------------------------

    def encode_key_loader(self, callback):
        """Register the callback that chooses the key to sign a token with.

        :param callback: takes the object passed to the creating function, returns the secret, or
            the private key as PEM text, PEM bytes or a ``cryptography`` key; a function or a
            coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "encode_key_loader", 1)
        (<_Callbacks>self._callbacks).encode_key = callback
        return callback

    def decode_key_loader(self, callback):
        """Register the callback that chooses the key to verify a token with.

        The key serves only the family of algorithms that it belongs to, and an empty one or None
        verifies nothing.

        :param callback: takes the unverified claims and the unverified header of the token (dicts),
            returns the secret, or the public key as PEM text, PEM bytes or a ``cryptography`` key;
            a function or a coroutine function. The form of one argument, the claims, is deprecated.
        :return: the callback.
        :raises TypeError: it cannot be called with one or two arguments.
        """
        adapted = callback
        if callable(callback) and not _accepts(callback, 2) and _accepts(callback, 1):
            _warnings.warn(
                "The callback of decode_key_loader should take the unverified claims and the "
                "unverified headers; the form of one argument is deprecated",
                DeprecationWarning,
            )

            def adapted(claims, headers):
                return callback(claims)

        _verify_callback(adapted, "decode_key_loader", 2)
        (<_Callbacks>self._callbacks).decode_key = adapted
        return callback

    # --- Loaders: checks ------------------------------------------------------

    def token_in_blacklist_loader(self, callback):
        """Register the callback that says whether a token has been revoked.

        It is asked when JWT_BLACKLIST_ENABLED is True, for the types of token that are named in
        JWT_BLACKLIST_TOKEN_CHECKS.

        :param callback: takes the claims of the token (a dict), returns True if it is revoked; a
            function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "token_in_blacklist_loader", 1)
        (<_Callbacks>self._callbacks).token_in_blacklist = callback
        (<_Callbacks>self._callbacks).blacklist_form = _PLAIN_FORM
        return callback

    def token_in_blocklist_loader(self, callback):
        """Register the callback that says whether a token has been revoked, as Flask-JWT-Extended.

        It takes the place of that of :meth:`token_in_blacklist_loader`, and is asked whatever
        JWT_BLACKLIST_ENABLED says, for the types of token that are named in
        JWT_BLACKLIST_TOKEN_CHECKS.

        :param callback: takes the header and the claims of the token (dicts), returns True if it is
            revoked; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with two arguments.
        """
        _verify_callback(callback, "token_in_blocklist_loader", 2)
        (<_Callbacks>self._callbacks).token_in_blacklist = callback
        (<_Callbacks>self._callbacks).blacklist_form = _WITH_HEADER
        return callback

    def claims_verification_loader(self, callback):
        """Register the callback that accepts or refuses the user claims of an access token.

        :param callback: takes the user claims, returns True if they are good; a function or a
            coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "claims_verification_loader", 1)
        (<_Callbacks>self._callbacks).claims_verification = callback
        (<_Callbacks>self._callbacks).claims_verification_form = _PLAIN_FORM
        return callback

    def token_verification_loader(self, callback):
        """Register the callback that accepts or refuses a token, as Flask-JWT-Extended.

        It takes the place of that of :meth:`claims_verification_loader`, and is asked about refresh
        tokens, too.

        :param callback: takes the header and the claims of the token (dicts), returns True if they
            are good; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with two arguments.
        """
        _verify_callback(callback, "token_verification_loader", 2)
        (<_Callbacks>self._callbacks).claims_verification = callback
        (<_Callbacks>self._callbacks).claims_verification_form = _WITH_HEADER
        return callback

    def user_loader_callback_loader(self, callback):
        """Register the callback that loads the user of a protected request.

        :param callback: takes the identity in the token, returns the object that
            :data:`current_user` will stand for, or None if there is no such user; a function or a
            coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "user_loader_callback_loader", 1)
        (<_Callbacks>self._callbacks).user_loader = callback
        (<_Callbacks>self._callbacks).user_loader_form = _PLAIN_FORM
        return callback

    def user_lookup_loader(self, callback):
        """Register the callback that loads the user of a protected request, as Flask-JWT-Extended.

        It takes the place of that of :meth:`user_loader_callback_loader`.

        :param callback: takes the header and the claims of the token (dicts), returns the user, or
            None if there is no such user; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with two arguments.
        """
        _verify_callback(callback, "user_lookup_loader", 2)
        (<_Callbacks>self._callbacks).user_loader = callback
        (<_Callbacks>self._callbacks).user_loader_form = _WITH_HEADER
        return callback

    # --- Loaders: answers -----------------------------------------------------

    def unauthorized_loader(self, callback):
        """Register the callback that answers a request without a token, or with a wrong CSRF value.

        It also answers a WebSocket of a foreign origin. The default answers 401, or 403 to that,
        and ``{"msg": "<error description>"}``.

        :param callback: takes the reason (a str), returns a response; a function or a coroutine
            function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "unauthorized_loader", 1)
        self._set_answer("unauthorized", lambda error, header, claims: callback(str(error)))
        return callback

    def invalid_token_loader(self, callback):
        """Register the callback that answers an invalid token.

        The default answers 422 and ``{"msg": "<error description>"}``.

        :param callback: takes the reason (a str), returns a response; a function or a coroutine
            function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "invalid_token_loader", 1)
        self._set_answer("invalid_token", lambda error, header, claims: callback(str(error)))
        return callback

    def expired_token_loader(self, callback):
        """Register the callback that answers an expired token.

        The default answers 401 and ``{"msg": "Token has expired"}``.

        :param callback: takes the claims of the token (a dict), or its header and its claims as in
            Flask-JWT-Extended, returns a response; a function or a coroutine function. The form
            without an argument is deprecated.
        :return: the callback.
        :raises TypeError: it cannot be called with two arguments, one or none.
        """
        count = _choose_arity(callback, "expired_token_loader", (1, 2, 0))
        if count == 0:
            _warnings.warn(
                "The callback of expired_token_loader should take the claims of the expired token; "
                "the form without an argument is deprecated",
                DeprecationWarning,
            )

        def answer(error, header, claims):
            # Raised by an application, it comes without a token.
            return callback(*((), (claims,), (header, claims))[count])

        self._set_answer("expired_token", answer)
        return callback

    def needs_fresh_token_loader(self, callback):
        """Register the callback that answers a token that is not fresh where a fresh one is needed.

        The default answers 401 and ``{"msg": "Fresh token required"}``.

        :param callback: takes no arguments, or the header and the claims of the token (dicts) as in
            Flask-JWT-Extended, returns a response; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called without arguments, nor with two.
        """
        count = _choose_arity(callback, "needs_fresh_token_loader", (0, 2))

        def answer(error, header, claims):
            return callback(*((header, claims) if count else ()))

        self._set_answer("needs_fresh_token", answer)
        return callback

    def revoked_token_loader(self, callback):
        """Register the callback that answers a revoked token.

        The default answers 401 and ``{"msg": "Token has been revoked"}``.

        :param callback: takes no arguments, or the header and the claims of the token (dicts) as in
            Flask-JWT-Extended, returns a response; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called without arguments, nor with two.
        """
        count = _choose_arity(callback, "revoked_token_loader", (0, 2))

        def answer(error, header, claims):
            return callback(*((header, claims) if count else ()))

        self._set_answer("revoked_token", answer)
        return callback

    def user_loader_error_loader(self, callback):
        """Register the callback that answers when the user loader returned None.

        The default answers 401 and ``{"msg": "Error loading the user <identity>"}``.

        :param callback: takes the identity, returns a response; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with one argument.
        """
        _verify_callback(callback, "user_loader_error_loader", 1)

        def answer(error, header, claims):
            return callback(get_jwt_identity())

        self._set_answer("user_loader_error", answer)
        return callback

    def user_lookup_error_loader(self, callback):
        """Register the callback that answers when the user was not found, as Flask-JWT-Extended.

        It takes the place of that of :meth:`user_loader_error_loader`.

        :param callback: takes the header and the claims of the token (dicts), returns a response; a
            function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with two arguments.
        """
        _verify_callback(callback, "user_lookup_error_loader", 2)
        self._set_answer(
            "user_loader_error", lambda error, header, claims: callback(header, claims)
        )
        return callback

    def claims_verification_failed_loader(self, callback):
        """Register the callback that answers when the user claims were refused.

        The default answers 400 and ``{"msg": "User claims verification failed"}``.

        :param callback: takes no arguments, returns a response; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called without arguments.
        """
        _verify_callback(callback, "claims_verification_failed_loader", 0)
        self._set_answer("verify_claims_failed", lambda error, header, claims: callback())
        return callback

    def token_verification_failed_loader(self, callback):
        """Register the callback that answers when the token was refused, as Flask-JWT-Extended.

        It takes the place of that of :meth:`claims_verification_failed_loader`.

        :param callback: takes the header and the claims of the token (dicts), returns a response; a
            function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with two arguments.
        """
        _verify_callback(callback, "token_verification_failed_loader", 2)
        self._set_answer(
            "verify_claims_failed", lambda error, header, claims: callback(header, claims)
        )
        return callback

    def insufficient_scope_loader(self, callback):
        """Register the callback that answers a token that lacks a scope the endpoint asks for.

        The default answers 403 and ``{"msg": "Insufficient scope"}``.

        :param callback: takes the tuple of scopes that the endpoint asks for and the claims of the
            token (a dict), returns a response; a function or a coroutine function.
        :return: the callback.
        :raises TypeError: it cannot be called with two arguments.
        """
        _verify_callback(callback, "insufficient_scope_loader", 2)
        self._set_answer(
            "insufficient_scope", lambda error, header, claims: callback(error.required, claims)
        )
        return callback

    # --- Private ----------------------------------------------------------------

    def _set_answer(self, name, callback):
        (<_Callbacks>self._callbacks).answers[name] = callback


# -----------------------------------------------------------------------------
# 14. Public functions
# -----------------------------------------------------------------------------

# --- Create -------------------------------------------------------------------

cdef object _urandom = _os.urandom


cdef str _new_uuid():
    """A random UUID (RFC 9562, section 5.4) as text.

    uuid.uuid4 spends 1.5 us, most of it on an object that is thrown away.
    """
    cdef bytes random = _urandom(16)
    cdef const unsigned char* source = <const unsigned char*>PyBytes_AS_STRING(random)
    cdef const char* digits = b"0123456789abcdef"
    cdef char text[36]
    cdef int index
    cdef int position = 0
    cdef unsigned char byte
    for index in range(16):
        if index in (4, 6, 8, 10):
            text[position] = c"-"
            position += 1
        byte = source[index]
        if index == 6:
            byte = byte & 0x0F | 0x40
        elif index == 8:
            byte = byte & 0x3F | 0x80
        text[position] = digits[byte >> 4]
        text[position + 1] = digits[byte & 15]
        position += 2
    return PyUnicode_FromStringAndSize(text, 36)


import_datetime()

cdef object _timedelta = _datetime.timedelta


cdef object _lifetime(object value):
    """A lifetime as something that adds to a datetime; an int counts seconds."""
    if type(value) is int:
        return _datetime.timedelta(seconds=value)
    return value


cdef long long _moment_after(double now, object lifetime) except? -1:
    """The POSIX time, in whole seconds, at which a lifetime that begins now ends."""
    if type(lifetime) is _timedelta:
        return <long long>floor(
            now + 86400.0 * timedelta_days(lifetime) + timedelta_seconds(lifetime)
            + 1e-6 * timedelta_microseconds(lifetime)
        )
    if isinstance(lifetime, _timedelta):
        return <long long>floor(now + <double>lifetime.total_seconds())
    end = _datetime.datetime.fromtimestamp(now, _datetime.timezone.utc) + lifetime
    return <long long>floor(end.timestamp())


cdef dict _new_claims(
    int kind, object identity, object fresh, object lifetime, object user_claims, bint csrf,
    str identity_claim_key, str user_claims_key, object issuer, object audience, bint with_nbf
):
    """The claims of a new token, in the order of 0.1.0."""
    cdef double now = _now()
    cdef dict claims = {"iat": <long long>now}
    if with_nbf:
        claims["nbf"] = <long long>now
    claims["jti"] = _new_uuid()
    if lifetime is not False:
        claims["exp"] = _moment_after(now, _lifetime(lifetime))
    claims[identity_claim_key] = identity
    if kind == _ACCESS:
        if isinstance(fresh, _timedelta):
            fresh = _moment_after(now, fresh)
        claims["fresh"] = fresh
    claims["type"] = _TYPES[kind]
    if user_claims:
        claims[user_claims_key] = user_claims
    if csrf:
        claims["csrf"] = _new_uuid()
    if issuer is not None:
        claims["iss"] = issuer
    if audience is not None:
        claims["aud"] = audience
    return claims


cdef enum:
    _ASK_CLAIMS
    _ASK_ADDITIONAL_CLAIMS
    _ASK_HEADERS
    _ASK_IDENTITY
    _ASK_KEY
    _ASKED


@_cython.final
@_cython.freelist(8)
cdef class _Creation:
    """One token in the making: five questions to the callbacks, then the encoding.

    The caller puts the questions in their order, awaits the answers if it can, and hands them over.
    """

    cdef _AppState state
    cdef _Settings settings
    cdef int kind
    cdef object subject
    cdef object fresh
    cdef object lifetime
    cdef object user_claims
    cdef object headers
    # What the call adds to what the loaders give.
    cdef object additional_claims
    cdef object additional_headers
    cdef object loaded_claims
    cdef object identity
    cdef object key

    cdef object ask(self, int question):
        cdef _Callbacks callbacks = self.state.callbacks
        if question == _ASK_CLAIMS:
            if self.user_claims is not None or callbacks.user_claims is None:
                return self.user_claims
            if self.kind == _REFRESH and not self.settings.user_claims_in_refresh_token:
                return None
            return callbacks.user_claims(self.subject)
        if question == _ASK_ADDITIONAL_CLAIMS:
            if callbacks.additional_claims is None:
                return None
            return callbacks.additional_claims(self.subject)
        if question == _ASK_HEADERS:
            if self.headers is not None or callbacks.jwt_headers is None:
                return self.headers
            return callbacks.jwt_headers(self.subject)
        if question == _ASK_IDENTITY:
            if callbacks.user_identity is None:
                return self.subject
            return callbacks.user_identity(self.subject)
        if callbacks.encode_key is None:
            return _configured_key(self.settings, self.settings.algorithm, True)
        return callbacks.encode_key(self.subject)

    cdef int take(self, int question, object answer) except -1:
        if question == _ASK_CLAIMS:
            self.user_claims = answer
        elif question == _ASK_ADDITIONAL_CLAIMS:
            self.loaded_claims = answer
        elif question == _ASK_HEADERS:
            self.headers = answer
        elif question == _ASK_IDENTITY:
            self.identity = answer
        else:
            self.key = answer
        return 0

    cdef str encode(self):
        cdef _Settings settings = self.settings
        if self.additional_headers is not None:
            _verify_dict("additional_headers", self.additional_headers)
            _verify_new_headers(self.headers)
            self.headers = {**(self.headers or {}), **self.additional_headers}
        self.verify()
        if self.lifetime is None:
            self.lifetime = settings.lifetimes[self.kind]
        claims = _new_claims(
            self.kind, self.identity, self.fresh, self.lifetime, self.user_claims,
            settings.csrf_protect, settings.identity_claim_key, settings.user_claims_key,
            settings.encode_issuer, settings.encode_audience, settings.encode_nbf,
        )
        if self.loaded_claims is not None:
            _add_claims(claims, self.loaded_claims)
        if self.additional_claims is not None:
            _add_claims(claims, self.additional_claims)
        name = settings.algorithm
        if self.headers and self.headers.get("alg"):
            name = self.headers["alg"]
        key = _signing_key(self.state, self.key, name)
        return _encode_token(claims, self.headers, key, self.state)

    cdef int verify(self) except -1:
        """Refuse what would make a token that cannot be read back."""
        if (
            self.settings.identity_claim_key == "sub"
            and self.settings.verify_sub
            and not isinstance(self.identity, str)
        ):
            raise TypeError(
                "The identity must be a string while JWT_IDENTITY_CLAIM is \"sub\" (RFC 7519, "
                "section 4.1.2): return one from user_identity_loader, or set JWT_VERIFY_SUB to "
                "False"
            )
        if self.fresh is not None and not isinstance(self.fresh, (bool, _timedelta)):
            raise TypeError("fresh must be a bool or a timedelta")
        if isinstance(self.lifetime, bool) and self.lifetime is not False:
            raise TypeError("expires_delta must be a timedelta, an int (seconds), False or None")
        _verify_new_headers(self.headers)
        if self.loaded_claims is not None:
            _verify_additional_claims(
                "additional_claims_loader", self.loaded_claims, self.settings.identity_claim_key
            )
        if self.additional_claims is not None:
            _verify_additional_claims(
                "additional_claims", self.additional_claims, self.settings.identity_claim_key
            )
        return 0


cdef int _verify_dict(str argument, object value) except -1:
    if not isinstance(value, dict):
        raise TypeError(f"{argument} must be a dict or None, not {type(value).__name__}")
    return 0


cdef int _verify_additional_claims(
    str origin, object claims, str identity_claim_key
) except -1:
    """Refuse claims that an argument of its own, or nothing but the extension, may set."""
    _verify_dict(origin, claims)
    for name in ("type", "fresh", "csrf", identity_claim_key):
        if name in claims:
            raise ValueError(f'{origin} must not hold "{name}", which the extension sets')
    for name in ("exp", "nbf", "iat"):
        if name in claims and not isinstance(claims[name], _datetime.datetime):
            if not _is_number(claims[name]):
                raise TypeError(f'{origin}: "{name}" must be a number or a datetime')
    return 0


cdef int _add_claims(dict claims, dict additional) except -1:
    """Put additional claims into those of a new token; times become numbers, as in PyJWT."""
    for name, value in additional.items():
        if name in ("exp", "nbf", "iat") and isinstance(value, _datetime.datetime):
            value = _calendar.timegm(value.utctimetuple())
        claims[name] = value
    return 0


cdef int _verify_new_headers(object headers) except -1:
    if headers is None:
        return 0
    _verify_dict("headers", headers)
    if "kid" in headers and not isinstance(headers["kid"], str):
        raise TypeError('The "kid" header must be a string (RFC 7515, section 4.1.4)')
    if headers.get("alg") and headers["alg"] not in _ALGORITHMS:
        raise ValueError(f"The \"alg\" header must be one of {', '.join(_ALGORITHMS)}")
    if "b64" in headers or "crit" in headers:
        raise ValueError('The headers "b64" and "crit" are not supported')
    return 0


cdef _Creation _new_creation(
    int kind, identity, fresh, expires_delta, user_claims, headers, additional_claims,
    additional_headers
):
    cdef _Creation creation = _Creation.__new__(_Creation)
    creation.state = _current_state()
    creation.settings = creation.state.settings()
    creation.kind = kind
    creation.subject = identity
    creation.fresh = fresh
    creation.lifetime = expires_delta
    creation.user_claims = user_claims
    creation.headers = headers
    creation.additional_claims = additional_claims
    creation.additional_headers = additional_headers
    return creation


cdef object _needs_awaiting(object awaitable, str twin):
    """The error for an async callback that a plain function cannot wait for."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
    return RuntimeError(f"A callback that this needs is async: use `await {twin}(...)` instead")


cdef str _create_token(_Creation creation, str twin):
    cdef int question
    for question in range(_ASKED):
        answer = creation.ask(question)
        if _is_awaitable(answer):
            raise _needs_awaiting(answer, twin)
        creation.take(question, answer)
    return creation.encode()


async def _create_token_async(_Creation creation):
    cdef int question
    for question in range(_ASKED):
        answer = creation.ask(question)
        if _is_awaitable(answer):
            answer = await answer
        creation.take(question, answer)
    return creation.encode()


def create_access_token(
    identity, fresh=False, expires_delta=None, user_claims=None, headers=None,
    additional_claims=None, additional_headers=None
):
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
    creation = _new_creation(
        _ACCESS, identity, fresh, expires_delta, user_claims, headers, additional_claims,
        additional_headers,
    )
    return _create_token(creation, "create_access_token_async")


async def create_access_token_async(
    identity, fresh=False, expires_delta=None, user_claims=None, headers=None,
    additional_claims=None, additional_headers=None
):
    """Create an access token, awaiting the callbacks that are async.

    Parameters, result and errors are those of :func:`create_access_token`.
    """
    creation = _new_creation(
        _ACCESS, identity, fresh, expires_delta, user_claims, headers, additional_claims,
        additional_headers,
    )
    return await _create_token_async(creation)


def create_refresh_token(
    identity, expires_delta=None, user_claims=None, headers=None, additional_claims=None,
    additional_headers=None
):
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
    creation = _new_creation(
        _REFRESH, identity, None, expires_delta, user_claims, headers, additional_claims,
        additional_headers,
    )
    return _create_token(creation, "create_refresh_token_async")


async def create_refresh_token_async(
    identity, expires_delta=None, user_claims=None, headers=None, additional_claims=None,
    additional_headers=None
):
    """Create a refresh token, awaiting the callbacks that are async.

    Parameters, result and errors are those of :func:`create_refresh_token`.
    """
    creation = _new_creation(
        _REFRESH, identity, None, expires_delta, user_claims, headers, additional_claims,
        additional_headers,
    )
    return await _create_token_async(creation)


# --- Inspect ------------------------------------------------------------------

def decode_token(encoded_token, csrf_value=None, allow_expired=False):
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
    cdef _AppState state = _current_state()
    cdef _Settings settings = state.settings()
    cdef _Token token = _parse_token(encoded_token, settings.max_token_size, state.headers)
    key = _ask_key(state, settings, token)
    if _is_awaitable(key):
        raise _needs_awaiting(key, "decode_token_async")
    prepared = _take_key(state, settings, token, key)
    return _verify_token(token, prepared, state, settings, csrf_value, allow_expired)


async def decode_token_async(encoded_token, csrf_value=None, allow_expired=False):
    """Verify a token and return its claims, awaiting an async decode_key_loader.

    Parameters, result and errors are those of :func:`decode_token`.
    """
    cdef _AppState state = _current_state()
    cdef _Settings settings = state.settings()
    cdef _Token token = _parse_token(encoded_token, settings.max_token_size, state.headers)
    key = _ask_key(state, settings, token)
    if _is_awaitable(key):
        key = await key
    prepared = _take_key(state, settings, token, key)
    return _verify_token(token, prepared, state, settings, csrf_value, allow_expired)


def get_jti(encoded_token):
    """Verify a token and return its ``jti``, the identifier that a blacklist keeps.

    :param encoded_token: compact JWS (str or bytes).
    :return: the ``jti`` claim, None if the token has none.
    :raises: as :func:`decode_token`.
    """
    return decode_token(encoded_token)["jti"]


def get_csrf_token(encoded_token):
    """Verify a token and return its CSRF double-submit value.

    :param encoded_token: compact JWS (str or bytes).
    :return: the ``csrf`` claim.
    :raises JWTDecodeError: the token has none, since CSRF protection was off when it was made.
    :raises: as :func:`decode_token`.
    """
    return _csrf_claim(decode_token(encoded_token))


def get_unverified_jwt_headers(encoded_token):
    """Return the header of a token without verifying its signature.

    Nothing in it can be trusted; it may serve to look up a key by ``kid``.

    :param encoded_token: compact JWS (str or bytes), at most 16384 bytes, or JWT_MAX_TOKEN_SIZE
        within an app context.
    :return: a new dict of header parameters.
    :raises jwt.InvalidTokenError: the token is malformed.
    """
    max_size = DEFAULTS["JWT_MAX_TOKEN_SIZE"]
    if _get_context(_CV_APP) is not None:
        max_size = _current_state().settings().max_token_size
    return _parse_token(encoded_token, max_size, _HeaderMemo()).header.parameters


# --- Current request ----------------------------------------------------------

def get_raw_jwt():
    """Return all claims of the token of the current request.

    :return: the dict of claims, {} if no token was verified.
    :raises RuntimeError: there is no app context.
    """
    token = _current_token()
    return {} if token is None else token.claims


def get_raw_jwt_header():
    """Return the header of the token of the current request.

    :return: a dict of header parameters, {} if no token was verified.
    :raises RuntimeError: there is no app context.
    """
    token = _current_token()
    return {} if token is None else dict(token.header)


cdef _Verified _verified_token(str function):
    """The token of the current request, which must have been verified or let in without one."""
    token = _current_token()
    if token is None:
        raise RuntimeError(
            f"{function}() needs a verified request: protect the view with jwt_required, or await "
            "verify_jwt_in_request() before"
        )
    return token


def get_jwt():
    """Return all claims of the token of the current request, as Flask-JWT-Extended.

    :return: the dict of claims, {} if the request was let in without a token.
    :raises RuntimeError: the request was not verified, or there is no app context.
    """
    return _verified_token("get_jwt").claims


def get_jwt_header():
    """Return the header of the token of the current request, as Flask-JWT-Extended.

    :return: a dict of header parameters, {} if the request was let in without a token.
    :raises RuntimeError: the request was not verified, or there is no app context.
    """
    return dict(_verified_token("get_jwt_header").header)


def get_jwt_request_location():
    """Return where the token of the current request was found.

    :return: one of the names that JWT_TOKEN_LOCATION takes, None if the request was let in without
        a token, or not verified.
    :raises RuntimeError: there is no app context.
    """
    token = _current_token()
    return None if token is None else token.location


def get_jwt_identity():
    """Return the identity of the token of the current request.

    :return: the claim that JWT_IDENTITY_CLAIM names, None if no token was verified.
    :raises RuntimeError: there is no app context.
    """
    token = _current_token()
    return None if token is None else token.claims.get(token.settings.identity_claim_key)


def get_jwt_claims():
    """Return the user claims of the token of the current request.

    :return: the claim that JWT_USER_CLAIMS names, {} if there are none or no token was verified.
    :raises RuntimeError: there is no app context.
    """
    token = _current_token()
    return {} if token is None else token.claims.get(token.settings.user_claims_key, {})


def get_current_user():
    """Return the user of the current request.

    :return: what the callback of user_loader_callback_loader or user_lookup_loader returned, None
        without one or if no token was verified.
    :raises RuntimeError: there is no app context.
    """
    token = _current_token()
    return None if token is None else token.user


# --- Cookies ------------------------------------------------------------------

cdef _Settings _cookie_settings(str function):
    settings = _current_state().settings()
    if "cookies" not in settings.token_location:
        raise RuntimeWarning(
            f"{function}() called without 'JWT_TOKEN_LOCATION' configured to use cookies"
        )
    return settings


# What browsers keep of a cookie, name, value and attributes together (RFC 6265, section 6.1); they
# drop a longer one, silently.
cdef Py_ssize_t _COOKIE_SIZE = 4096


cdef int _set_cookie(
    object response, _Settings settings, str name, object path, bint httponly, str value,
    object domain, dict life
) except -1:
    """Set one cookie; ``life`` is its max_age (seconds), or the expires that clears it.

    What clears a cookie has the very attributes of what set it, else it is another cookie.
    """
    attributes = {
        "value": value,
        "secure": settings.cookie_secure,
        "httponly": httponly,
        "domain": settings.cookie_domain if domain is None else domain,
        "path": path,
        "samesite": settings.cookie_samesite,
        **life,
    }
    if settings.cookie_partitioned:
        attributes["partitioned"] = True
    if domain is not None and name.lower().startswith("__host-"):
        raise ValueError(f"The cookie {name!r} must have no domain: its name begins with __Host-")
    # Not set_cookie, which would dump it again, and warn three bytes before browsers drop it.
    try:
        cookie = _dump_cookie(name, **attributes, max_size=0)
    except UnicodeError:
        # The error would show the value, which is a secret.
        raise ValueError(f"The value of the cookie {name!r} cannot be encoded") from None
    size = len(cookie)
    if size > _COOKIE_SIZE:
        raise ValueError(
            f"The cookie {name!r} would take {size} bytes; browsers drop cookies of more than "
            f"{_COOKIE_SIZE}, name and attributes included: put fewer claims into the token"
        )
    response.headers.add("Set-Cookie", cookie)
    return 0


cdef int _set_cookies(
    object response, _Settings settings, int kind, object encoded_token, object max_age,
    object domain
) except -1:
    """Set the cookie of a token and, if they are wanted, the one with its CSRF value."""
    life = {"max_age": settings.cookie_max_age() if max_age is None else max_age}
    with_csrf = settings.csrf_protect and settings.csrf_in_cookies
    if with_csrf:
        # The token comes from the application, not from a client, so nothing is verified: an async
        # decode_key_loader could not be asked here.
        token = _parse_token(encoded_token, settings.max_token_size, _HeaderMemo())
        csrf_value = _csrf_claim(_load_object(token.payload, "payload", NULL))
    if isinstance(encoded_token, bytes):
        # A byte that is not ASCII becomes what no cookie can hold.
        encoded_token = encoded_token.decode("ascii", "surrogateescape")
    _set_cookie(
        response, settings, settings.cookie_names[kind], settings.cookie_paths[kind], True,
        encoded_token, domain, life,
    )
    if with_csrf:
        _set_cookie(
            response, settings, settings.csrf_cookie_names[kind], settings.csrf_cookie_paths[kind],
            False, csrf_value, domain, life,
        )
    return 0


cdef int _unset_cookies(object response, _Settings settings, int kind, object domain) except -1:
    life = {"expires": 0}
    _set_cookie(
        response, settings, settings.cookie_names[kind], settings.cookie_paths[kind], True, "",
        domain, life,
    )
    if settings.csrf_protect and settings.csrf_in_cookies:
        _set_cookie(
            response, settings, settings.csrf_cookie_names[kind], settings.csrf_cookie_paths[kind],
            False, "", domain, life,
        )
    return 0


def set_access_cookies(response, encoded_access_token, max_age=None, domain=None):
    """Put an access token, and its CSRF value if protection is on, into cookies of a response.

    The token's cookie is HttpOnly; the CSRF cookie, set if JWT_CSRF_IN_COOKIES is True, can be read
    by scripts of the page.

    :param response: the Quart response.
    :param encoded_access_token: the token from :func:`create_access_token`.
    :param max_age: how long the cookies last, in seconds; None follows JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None takes JWT_COOKIE_DOMAIN.
    :raises RuntimeWarning: cookies are not in JWT_TOKEN_LOCATION.
    :raises JWTDecodeError: CSRF protection is on and the token carries no CSRF value.
    :raises ValueError: a cookie would be larger than the 4096 bytes that browsers keep, or may have
        no domain, or the token is not ASCII text.
    :raises RuntimeError: there is no app context, or an option is wrong.
    """
    settings = _cookie_settings("set_access_cookies")
    _set_cookies(response, settings, _ACCESS, encoded_access_token, max_age, domain)


def set_refresh_cookies(response, encoded_refresh_token, max_age=None, domain=None):
    """Put a refresh token, and its CSRF value if protection is on, into cookies of a response.

    :param response: the Quart response.
    :param encoded_refresh_token: the token from :func:`create_refresh_token`.
    :param max_age: how long the cookies last, in seconds; None follows JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None takes JWT_COOKIE_DOMAIN.
    :raises: as :func:`set_access_cookies`.
    """
    settings = _cookie_settings("set_refresh_cookies")
    _set_cookies(response, settings, _REFRESH, encoded_refresh_token, max_age, domain)


def unset_jwt_cookies(response, domain=None):
    """Remove the cookies of both tokens, and their CSRF cookies, in a response.

    :param response: the Quart response.
    :param domain: the domain that the cookies were set with; None takes JWT_COOKIE_DOMAIN.
    :raises RuntimeWarning: cookies are not in JWT_TOKEN_LOCATION.
    :raises RuntimeError: there is no app context, or an option is wrong.
    """
    settings = _cookie_settings("unset_jwt_cookies")
    _unset_cookies(response, settings, _ACCESS, domain)
    _unset_cookies(response, settings, _REFRESH, domain)


def unset_access_cookies(response, domain=None):
    """Remove the cookie of the access token, and its CSRF cookie, in a response.

    :param response: the Quart response.
    :param domain: as for :func:`unset_jwt_cookies`.
    :raises: as :func:`unset_jwt_cookies`.
    """
    _unset_cookies(response, _cookie_settings("unset_access_cookies"), _ACCESS, domain)


def unset_refresh_cookies(response, domain=None):
    """Remove the cookie of the refresh token, and its CSRF cookie, in a response.

    :param response: the Quart response.
    :param domain: as for :func:`unset_jwt_cookies`.
    :raises: as :func:`unset_jwt_cookies`.
    """
    _unset_cookies(response, _cookie_settings("unset_refresh_cookies"), _REFRESH, domain)


# -----------------------------------------------------------------------------
# 15. Decorators and current_user
# -----------------------------------------------------------------------------

# --- Verify functions ---------------------------------------------------------

async def _verify(_Attempt attempt):
    """Run an attempt to its end; return header and claims, None without a token."""
    if attempt is None:
        return None
    pending = attempt.advance()
    while pending is not None:
        pending = attempt.resume(await pending)
    if attempt.verified is None:
        return None
    return dict(attempt.verified.header), attempt.verified.claims


async def verify_jwt_in_request(
    optional=False, fresh=False, refresh=False, locations=None, verify_type=True,
    skip_revocation_check=False, scopes=None
):
    """Verify the token of the current request or WebSocket.

    :param optional: let a request without a token, or with a malformed header, in as well.
    :param fresh: require a fresh access token.
    :param refresh: look for, and require, a refresh token instead of an access token.
    :param locations: one or several of the names that JWT_TOKEN_LOCATION takes, in its place.
    :param verify_type: False accepts access and refresh tokens.
    :param skip_revocation_check: do not ask whether the token has been revoked.
    :param scopes: one or several names that the claim JWT_SCOPE_CLAIM must all hold.
    :return: the header and the claims (dicts), None if there was no token, or the method is exempt.
        Also None where this function itself is registered with ``before_request``, as applications
        on 0.1.0 do, since Quart would send the value as the answer.
    :raises TypeError: an argument has a wrong type.
    :raises ValueError: a location is unknown, a scope is malformed (RFC 6749, section 3.3), or
        ``fresh`` and ``refresh`` are both True.
    :raises NoAuthorizationError: there is no token.
    :raises jwt.InvalidTokenError: it is invalid; the exceptions are those of :func:`decode_token`.
    :raises JWTExtendedException: its subclasses say what else is wrong: header, CSRF value, origin,
        type, revocation, freshness, scope, user claims, user.
    :raises RuntimeError: there is no request, or an option or a key is wrong.
    """
    cdef _Rules rules = _DEFAULT_RULES
    is_default = (
        optional is False and fresh is False and refresh is False and locations is None
        and verify_type is True and skip_revocation_check is False and scopes is None
    )
    if not is_default:
        rules = _Rules(
            optional, fresh, refresh, locations, verify_type, skip_revocation_check, scopes
        )
    verified = await _verify(_new_attempt(rules))
    return None if _is_hook(verify_jwt_in_request) else verified


cdef bint _is_hook(object function) except -1:
    """Whether Quart calls a function itself before the current request or WebSocket.

    It would send what the function returns as the answer, in place of the view's.
    """
    app = _get_context(_CV_APP).app
    request = _current_request()
    if isinstance(request, _Websocket):
        hooks = app.before_websocket_funcs
    else:
        hooks = app.before_request_funcs
    for name in (None, *request.blueprints):
        if function in hooks.get(name, ()):
            return True
    return False


async def verify_jwt_in_request_optional():
    """Accept the current request without a token, or with a valid access token.

    A malformed header counts as no token, as in 0.1.0; an invalid token is refused.

    :raises: as :func:`verify_jwt_in_request`, but for NoAuthorizationError and InvalidHeaderError.
    """
    await _verify(_new_attempt(_OPTIONAL_RULES))


async def verify_fresh_jwt_in_request():
    """Require a valid and fresh access token in the current request.

    :raises FreshTokenRequired: the token is valid but not fresh.
    :raises: as :func:`verify_jwt_in_request`.
    """
    await _verify(_new_attempt(_FRESH_RULES))


async def verify_jwt_refresh_token_in_request():
    """Require a valid refresh token in the current request.

    :raises: as :func:`verify_jwt_in_request`.
    """
    await _verify(_new_attempt(_REFRESH_RULES))


# The rules of the shorthands.
cdef _Rules _DEFAULT_RULES = _Rules()
cdef _Rules _OPTIONAL_RULES = _Rules(optional=True)
cdef _Rules _FRESH_RULES = _Rules(fresh=True)
cdef _Rules _REFRESH_RULES = _Rules(refresh=True)


# --- Decorators ---------------------------------------------------------------

# How a view says what it asks for: its rules, or None if it is exempt from those of its app.
# functools.wraps hands the attribute on to whatever is wrapped around the view.
cdef str _VIEW_RULES = "_jwt_extended_rules"


cdef object _guard(fn, _Rules rules):
    """Wrap a view in a coroutine function that verifies the request first.

    It must be one: Quart runs any other wrapper in a thread.
    """
    cdef bint is_async = _inspect.iscoroutinefunction(fn)

    @_functools.wraps(fn)
    async def wrapper(*args, **kwargs):
        cdef _Attempt attempt = _new_attempt(rules)
        if attempt is not None:
            # As _verify does, whose coroutine most requests would make for nothing.
            pending = attempt.advance()
            while pending is not None:
                pending = attempt.resume(await pending)
            attempt = None
        if is_async:
            return await fn(*args, **kwargs)
        # A plain function may still return a coroutine, as a partial or an undeclared wrapper does.
        result = await _get_context(_CV_APP).app.ensure_async(fn)(*args, **kwargs)
        return await result if _is_awaitable(result) else result

    setattr(wrapper, _VIEW_RULES, rules)
    return wrapper


def jwt_required(
    fn=None, *, optional=False, fresh=False, refresh=False, locations=None, verify_type=True,
    skip_revocation_check=False, scopes=None
):
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
    rules = _Rules(
        optional, fresh, refresh, locations, verify_type, skip_revocation_check, scopes
    )
    if fn is None:
        return lambda view: _guard_view("jwt_required", view, rules)
    return _guard_view("jwt_required", fn, rules)


# The functions that the decorators were given.
cdef object _GUARDED = _weakref.WeakSet()


cdef object _guard_view(str decorator, fn, _Rules rules):
    if not callable(fn):
        raise TypeError(f"{decorator} decorates a view, not {type(fn).__name__}")
    if _inspect.isfunction(fn):
        _GUARDED.add(fn)
    return _guard(fn, rules)


cdef object _placement_check(object app):
    """What an app runs before it serves: a decorator above the route would protect nothing."""

    async def check():
        views = app.view_functions
        guarded = {
            _inspect.unwrap(view) for view in views.values() if hasattr(view, _VIEW_RULES)
        }
        for endpoint, view in views.items():
            # A view may be registered twice on purpose, as it is and protected.
            is_bare = _inspect.isfunction(view) and view in _GUARDED
            if is_bare and _inspect.unwrap(view) not in guarded:
                raise RuntimeError(
                    f"The view of the endpoint {endpoint!r} is not protected: its jwt_required, or "
                    "one like it, stands above the route; put it below, next to the function"
                )

    return check


def jwt_optional(fn):
    """Let a view serve anonymous requests and requests with a valid access token.

    Without a token, or with a malformed header, :func:`get_jwt_identity` gives None; an invalid
    token is refused.

    :param fn: the view, a function or a coroutine function.
    :return: a coroutine function with the name and the signature of the view.
    """
    return _guard_view("jwt_optional", fn, _OPTIONAL_RULES)


def fresh_jwt_required(fn):
    """Protect a view: a request needs a valid and fresh access token.

    :param fn: the view, a function or a coroutine function.
    :return: a coroutine function with the name and the signature of the view.
    """
    return _guard_view("fresh_jwt_required", fn, _FRESH_RULES)


def jwt_refresh_token_required(fn):
    """Protect a view: a request needs a valid refresh token.

    :param fn: the view, a function or a coroutine function.
    :return: a coroutine function with the name and the signature of the view.
    """
    return _guard_view("jwt_refresh_token_required", fn, _REFRESH_RULES)


def jwt_exempt(fn):
    """Leave a view open in an app or a blueprint that :func:`protect` guards.

    :param fn: the view.
    :return: the view.
    :raises TypeError: it is no view, or protected by a decorator of its own.
    """
    if not callable(fn) or not hasattr(fn, "__dict__") or _inspect.ismethod(fn):
        raise TypeError(f"jwt_exempt decorates a view function, not {type(fn).__name__}")
    if getattr(fn, _VIEW_RULES, None) is not None:
        raise TypeError("jwt_exempt cannot open a view that has jwt_required, or one like it")
    setattr(fn, _VIEW_RULES, None)
    return fn


# --- Whole apps and blueprints --------------------------------------------------

# Where an app or a blueprint keeps what protect() was told.
cdef str _GUARDS = "_jwt_extended_guards"


def protect(
    app_or_blueprint, *, exempt=(), optional=False, fresh=False, refresh=False, locations=None,
    verify_type=True, skip_revocation_check=False, scopes=None
):
    """Guard every route and WebSocket of an app or a blueprint, those of nested blueprints too.

    What a view asks for by a decorator of its own counts in place of this, and a view under
    :func:`jwt_exempt` is open. A route that does not exist stays 404, and OPTIONS is exempt.

    :param app_or_blueprint: the Quart app or the blueprint, before it is registered.
    :param exempt: endpoint names that stay open, for example ``("static",)``; for a blueprint,
        without its name in front.
    :param optional: as for :func:`jwt_required`, like the parameters that follow.
    :raises TypeError: an argument has a wrong type.
    :raises ValueError: as :func:`jwt_required`.
    """
    rules = _Rules(
        optional, fresh, refresh, locations, verify_type, skip_revocation_check, scopes
    )
    names = ()
    if exempt not in ((), [], set(), frozenset()):
        names = _read_rule_names("exempt", exempt, "endpoint names")
    if not isinstance(app_or_blueprint, (_Quart, _Blueprint)):
        raise TypeError(
            f"protect takes a Quart app or a blueprint, not {type(app_or_blueprint).__name__}"
        )

    async def guard():
        app = _get_context(_CV_APP).app
        request = _current_request()
        endpoint = request.endpoint
        if endpoint is None or request.routing_exception is not None:
            return
        for scaffold, name in _scaffolds_of(app, endpoint):
            if scaffold is app_or_blueprint and name in names:
                return
        if _rules_of_view(app, endpoint, request.method) is _ABSENT:
            await _verify(_new_attempt(rules))

    app_or_blueprint.before_request(guard)
    app_or_blueprint.before_websocket(guard)
    setattr(app_or_blueprint, _GUARDS, (*getattr(app_or_blueprint, _GUARDS, ()), (rules, names)))


cdef object _rules_of_view(object app, str endpoint, str method):
    """The rules that a view has of its own, None if it is exempt, _ABSENT if it has none."""
    view = app.view_functions.get(endpoint)
    rules = getattr(view, _VIEW_RULES, _ABSENT)
    view_class = getattr(view, "view_class", None)
    if rules is not _ABSENT or view_class is None:
        return rules
    # What runs of a class-based view may be decorated by itself.
    runs = view_class.dispatch_request
    if runs is _MethodView.dispatch_request:
        if method == "HEAD" and not hasattr(view_class, "head"):
            method = "GET"
        runs = getattr(view_class, method.lower(), None)
    return getattr(runs, _VIEW_RULES, _ABSENT)


cdef list _scaffolds_of(object app, str endpoint):
    """The app and the blueprints around an endpoint, with the name that it has in each."""
    found = [(app, endpoint)]
    parts = endpoint.split(".")
    for size in range(1, len(parts)):
        blueprint = app.blueprints.get(".".join(parts[:size]))
        if blueprint is not None:
            found.append((blueprint, ".".join(parts[size:])))
    return found


# --- Command line ----------------------------------------------------------------

cdef object _jwt_commands(object app):
    """The group ``jwt`` for ``quart --app APP``."""
    group = _click.Group("jwt", help="Commands of quart-jwt-extended.")

    def list_routes():
        rows = _route_rows(app)
        widths = [max([len(row[column]) for row in rows], default=0) for column in range(3)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths)]
            _click.echo("  ".join((*cells, row[3])))

    group.add_command(_click.Command(
        "routes", callback=list_routes,
        help="List the routes and how they are protected, open ones first.",
    ))
    return group


cdef list _route_rows(object app):
    """Path, methods, endpoint and protection of each rule, open ones first, then by path."""
    rows = []
    for rule in app.url_map.iter_rules():
        if rule.websocket:
            methods = ("WEBSOCKET",)
        else:
            methods = sorted(rule.methods - {"HEAD", "OPTIONS"}) or sorted(rule.methods)
        by_method = {}
        for method in methods:
            words = _protection(app, rule.endpoint, method)
            by_method.setdefault(words, []).append(method)
        for words, names in by_method.items():
            rows.append((rule.rule, ",".join(names), rule.endpoint, words))
    rows.sort(key=lambda row: (row[3] not in ("open", "exempt"), row[0], row[1]))
    return rows


cdef str _protection(object app, str endpoint, str method):
    if method == "OPTIONS":
        return "open"
    rules = _rules_of_view(app, endpoint, "get" if method == "WEBSOCKET" else method)
    if rules is None:
        return "exempt"
    if rules is not _ABSENT:
        return repr(rules)
    guards = []
    for scaffold, name in _scaffolds_of(app, endpoint):
        for rules, exempt in getattr(scaffold, _GUARDS, ()):
            if name not in exempt:
                guards.append(repr(rules))
    return " + ".join(guards) or "open"


current_user = _LocalProxy(get_current_user)


# -----------------------------------------------------------------------------
# 16. Compatibility submodules of 0.1.0
# -----------------------------------------------------------------------------

# --- config -------------------------------------------------------------------

def _config_property(read, doc):
    return property(lambda self: read(_current_state().settings()), doc=doc)


cdef object _attribute(str name, str doc):
    return _config_property(lambda settings: getattr(settings, name), doc)


cdef object _by_type(str name, int kind, str doc):
    return _config_property(lambda settings: getattr(settings, name)[kind], doc)


cdef object _as_configured(str name):
    def read(self):
        state = _current_state()
        state.settings()
        return state.app.config.get(name, DEFAULTS[name])
    return property(read, doc=name)


class _JSONEncoder(_json.JSONEncoder):
    """Encodes foreign types as the JSON provider of the current app does."""

    def default(self, o):
        return _current_state().json_encoder().default(o)


cdef object _decode_key(_Settings settings):
    return _configured_key(settings, settings.algorithm, False)


cdef object _encode_key(_Settings settings):
    return _configured_key(settings, settings.algorithm, True)


class _Config:
    """The options of the current app, under the property names of 0.1.0; read only."""

    is_asymmetric = _config_property(
        lambda _Settings settings: not _is_symmetric(settings.algorithm), "The algorithm's family."
    )
    encode_key = _config_property(_encode_key, "The configured key that signs.")
    decode_key = _config_property(_decode_key, "The configured key that verifies.")
    token_location = _attribute("token_location", "JWT_TOKEN_LOCATION as a tuple.")
    jwt_in_cookies = _config_property(
        lambda settings: "cookies" in settings.token_location, "Whether cookies are a location."
    )
    jwt_in_headers = _config_property(
        lambda settings: "headers" in settings.token_location, "Whether headers are a location."
    )
    jwt_in_query_string = _config_property(
        lambda settings: "query_string" in settings.token_location,
        "Whether the query string is a location.",
    )
    jwt_in_json = _config_property(
        lambda settings: "json" in settings.token_location, "Whether the JSON body is a location."
    )
    header_name = _attribute("header_name", "JWT_HEADER_NAME")
    header_type = _attribute("header_type", "JWT_HEADER_TYPE")
    query_string_name = _attribute("query_string_name", "JWT_QUERY_STRING_NAME")
    access_cookie_name = _by_type("cookie_names", _ACCESS, "JWT_ACCESS_COOKIE_NAME")
    refresh_cookie_name = _by_type("cookie_names", _REFRESH, "JWT_REFRESH_COOKIE_NAME")
    access_cookie_path = _by_type("cookie_paths", _ACCESS, "JWT_ACCESS_COOKIE_PATH")
    refresh_cookie_path = _by_type("cookie_paths", _REFRESH, "JWT_REFRESH_COOKIE_PATH")
    cookie_secure = _attribute("cookie_secure", "JWT_COOKIE_SECURE")
    cookie_domain = _attribute("cookie_domain", "JWT_COOKIE_DOMAIN")
    session_cookie = _attribute("session_cookie", "JWT_SESSION_COOKIE")
    cookie_samesite = _attribute("cookie_samesite", "JWT_COOKIE_SAMESITE")
    json_key = _by_type("json_keys", _ACCESS, "JWT_JSON_KEY")
    refresh_json_key = _by_type("json_keys", _REFRESH, "JWT_REFRESH_JSON_KEY")
    csrf_protect = _attribute("csrf_protect", "Whether CSRF protection is in force.")
    csrf_request_methods = _as_configured("JWT_CSRF_METHODS")
    csrf_in_cookies = _attribute("csrf_in_cookies", "JWT_CSRF_IN_COOKIES")
    access_csrf_cookie_name = _by_type("csrf_cookie_names", _ACCESS, "JWT_ACCESS_CSRF_COOKIE_NAME")
    refresh_csrf_cookie_name = _by_type(
        "csrf_cookie_names", _REFRESH, "JWT_REFRESH_CSRF_COOKIE_NAME"
    )
    access_csrf_cookie_path = _by_type("csrf_cookie_paths", _ACCESS, "JWT_ACCESS_CSRF_COOKIE_PATH")
    refresh_csrf_cookie_path = _by_type(
        "csrf_cookie_paths", _REFRESH, "JWT_REFRESH_CSRF_COOKIE_PATH"
    )
    access_csrf_header_name = _by_type("csrf_header_names", _ACCESS, "JWT_ACCESS_CSRF_HEADER_NAME")
    refresh_csrf_header_name = _by_type(
        "csrf_header_names", _REFRESH, "JWT_REFRESH_CSRF_HEADER_NAME"
    )
    csrf_check_form = _attribute("csrf_check_form", "JWT_CSRF_CHECK_FORM")
    access_csrf_field_name = _by_type("csrf_field_names", _ACCESS, "JWT_ACCESS_CSRF_FIELD_NAME")
    refresh_csrf_field_name = _by_type("csrf_field_names", _REFRESH, "JWT_REFRESH_CSRF_FIELD_NAME")
    access_expires = _by_type("lifetimes", _ACCESS, "JWT_ACCESS_TOKEN_EXPIRES")
    refresh_expires = _by_type("lifetimes", _REFRESH, "JWT_REFRESH_TOKEN_EXPIRES")
    algorithm = _attribute("algorithm", "JWT_ALGORITHM")
    decode_algorithms = _config_property(
        lambda settings: list(settings.decode_algorithms), "The allowed algorithms, a new list."
    )
    blacklist_enabled = _attribute("blacklist_enabled", "JWT_BLACKLIST_ENABLED")
    blacklist_checks = _attribute("blacklist_checks", "JWT_BLACKLIST_TOKEN_CHECKS as a tuple.")
    blacklist_access_tokens = _config_property(
        lambda settings: "access" in settings.blacklist_checks, "Whether access tokens are checked."
    )
    blacklist_refresh_tokens = _config_property(
        lambda settings: "refresh" in settings.blacklist_checks,
        "Whether refresh tokens are checked.",
    )
    cookie_max_age = _config_property(
        lambda _Settings settings: settings.cookie_max_age(),
        "None, or seconds for lasting cookies.",
    )
    identity_claim_key = _attribute("identity_claim_key", "JWT_IDENTITY_CLAIM")
    user_claims_key = _attribute("user_claims_key", "JWT_USER_CLAIMS")
    user_claims_in_refresh_token = _attribute(
        "user_claims_in_refresh_token", "JWT_CLAIMS_IN_REFRESH_TOKEN"
    )
    exempt_methods = _config_property(
        lambda settings: {"OPTIONS"}, "Request methods that need no token."
    )
    error_msg_key = _attribute("error_msg_key", "JWT_ERROR_MESSAGE_KEY")
    json_encoder = property(lambda self: _JSONEncoder, doc="The class that encodes tokens.")
    audience = _as_configured("JWT_DECODE_AUDIENCE")
    encode_issuer = _attribute("encode_issuer", "JWT_ENCODE_ISSUER")
    decode_issuer = _as_configured("JWT_DECODE_ISSUER")
    leeway = _as_configured("JWT_DECODE_LEEWAY")


_config = _Config()


# --- utils --------------------------------------------------------------------

def _has_user_loader():
    """Whether a user loader is registered with the current app's manager."""
    return _current_state().callbacks.user_loader is not None


def _user_loader(identity):
    """Call the user loader of the current app's manager."""
    cdef _AppState state = _current_state()
    if state.callbacks.user_loader_form == _WITH_HEADER:
        claims = {**get_raw_jwt(), state.settings().identity_claim_key: identity}
        return state.callbacks.user_loader(get_raw_jwt_header(), claims)
    return state.callbacks.user_loader(identity)


def _has_token_in_blacklist_callback():
    """Whether a blacklist callback is registered with the current app's manager."""
    return _current_state().callbacks.token_in_blacklist is not None


def _token_in_blacklist(decoded_token):
    """Call the blacklist callback of the current app's manager."""
    cdef _Callbacks callbacks = _current_state().callbacks
    if callbacks.blacklist_form == _WITH_HEADER:
        return callbacks.token_in_blacklist(get_raw_jwt_header(), decoded_token)
    return callbacks.token_in_blacklist(decoded_token)


def _verify_token_type(decoded_token, expected_type):
    """Raise WrongTokenError unless the claims are of the expected type of token."""
    if decoded_token["type"] != expected_type:
        raise WrongTokenError(f"Only {expected_type} tokens are allowed")


def _verify_token_not_blacklisted(decoded_token, request_type):
    """Raise RevokedTokenError if the blacklist callback, which must not be async, says so."""
    state = _current_state()
    answer = _ask_blacklist(
        state, state.settings(), get_raw_jwt_header(), decoded_token, request_type
    )
    if _is_awaitable(answer):
        raise _needs_awaiting(answer, "verify_jwt_in_request")
    if answer:
        raise RevokedTokenError("Token has been revoked")


def _verify_token_claims(jwt_data):
    """Raise UserClaimsVerificationError if the claims callback, not an async one, refuses."""
    cdef _AppState state = _current_state()
    if state.callbacks.claims_verification is None:
        return
    if state.callbacks.claims_verification_form == _WITH_HEADER:
        answer = state.callbacks.claims_verification(get_raw_jwt_header(), jwt_data)
    else:
        answer = state.callbacks.claims_verification(jwt_data[state.settings().user_claims_key])
    if _is_awaitable(answer):
        raise _needs_awaiting(answer, "verify_jwt_in_request")
    if not answer:
        raise UserClaimsVerificationError("User claims verification failed")


# --- tokens -------------------------------------------------------------------

cdef str _encode_compat(
    int kind, identity, secret, algorithm, expires_delta, fresh, user_claims, csrf,
    identity_claim_key, user_claims_key, json_encoder, headers, issuer
):
    _verify_new_headers(headers)
    claims = _new_claims(
        kind, identity, fresh, expires_delta, user_claims, csrf, identity_claim_key,
        user_claims_key, issuer, None, True,
    )
    name = _known_algorithm((headers or {}).get("alg") or algorithm, "algorithm")
    key = _prepare_key(secret, name, True, 0)
    encoder = (json_encoder or _json.JSONEncoder)(separators=(",", ":"))
    return _encode_token(claims, headers, key, encoder)


def _encode_access_token(
    identity, secret, algorithm, expires_delta, fresh, user_claims, csrf, identity_claim_key,
    user_claims_key, json_encoder=None, headers=None, issuer=None
):
    """Create an access token from explicit settings, without an app (0.1.0's ``tokens`` module)."""
    return _encode_compat(
        _ACCESS, identity, secret, algorithm, expires_delta, fresh, user_claims, csrf,
        identity_claim_key, user_claims_key, json_encoder, headers, issuer,
    )


def _encode_refresh_token(
    identity, secret, algorithm, expires_delta, user_claims, csrf, identity_claim_key,
    user_claims_key, json_encoder=None, headers=None
):
    """Create a refresh token from explicit settings, without an app (0.1.0's ``tokens`` module)."""
    return _encode_compat(
        _REFRESH, identity, secret, algorithm, expires_delta, None, user_claims, csrf,
        identity_claim_key, user_claims_key, json_encoder, headers, None,
    )


def _decode_jwt(
    encoded_token, secret, algorithms, identity_claim_key, user_claims_key, csrf_value=None,
    audience=None, leeway=0, allow_expired=False, issuer=None
):
    """Verify a token with explicit settings, without an app (0.1.0's ``tokens`` module)."""
    global _last_explicit
    if not algorithms:
        raise _jwt.DecodeError(
            'It is required that you pass in a value for the "algorithms" argument when calling '
            "decode()."
        )
    # One read, as another thread may write; the local one serves this call to its end.
    cdef _Explicit explicit = _last_explicit
    if (
        explicit is None
        or not _is_same(explicit.algorithms, algorithms)
        or not _is_same(explicit.identity_claim_key, identity_claim_key)
        or not _is_same(explicit.user_claims_key, user_claims_key)
        or not _is_same(explicit.audience, audience)
        or not _is_same(explicit.leeway, leeway)
        or not _is_same(explicit.issuer, issuer)
    ):
        explicit = _last_explicit = _Explicit(
            algorithms, identity_claim_key, user_claims_key, audience, leeway, issuer
        )
    cdef _Settings settings = explicit.settings
    token = _parse_token(encoded_token, settings.max_token_size, explicit.state.headers)
    _verify_algorithm(token.header.algorithm, settings.allowed_algorithms)
    key = _chosen_verifying_key(explicit.state, settings, secret, token.header.algorithm)
    return _verify_token(token, key, explicit.state, settings, csrf_value, allow_expired)


@_cython.final
cdef class _Explicit:
    """Settings made from the arguments of decode_jwt, with the state that an app would keep."""

    cdef object algorithms
    cdef object identity_claim_key
    cdef object user_claims_key
    cdef object audience
    cdef object leeway
    cdef object issuer
    cdef _Settings settings
    cdef _AppState state

    def __cinit__(
        self, algorithms, identity_claim_key, user_claims_key, audience, leeway, issuer
    ):
        self.algorithms = _own_copy(algorithms)
        self.identity_claim_key = identity_claim_key
        self.user_claims_key = user_claims_key
        self.audience = _own_copy(audience)
        self.leeway = leeway
        self.issuer = _own_copy(issuer)
        self.state = _AppState(None, _Callbacks())
        self.settings = _Settings({
            **DEFAULTS,
            "SECRET_KEY": None,
            "JWT_ALGORITHM": algorithms if isinstance(algorithms, str) else next(iter(algorithms)),
            "JWT_DECODE_ALGORITHMS": algorithms,
            "JWT_IDENTITY_CLAIM": identity_claim_key,
            "JWT_USER_CLAIMS": user_claims_key,
            "JWT_DECODE_AUDIENCE": audience,
            "JWT_DECODE_ISSUER": issuer,
            "JWT_DECODE_LEEWAY": leeway,
        })


# What decode_jwt was called with last: a service calls it with the same arguments every time, and
# validating them takes ten times as long as verifying a token.
cdef _Explicit _last_explicit = None


cdef object _own_copy(object value):
    """A copy of an argument that its owner may change.

    Of a subclass, whose copy may be anything, nothing is kept that another value could equal.
    """
    if type(value) is list:
        return list(value)
    if type(value) is set:
        return set(value)
    return object() if isinstance(value, (list, set)) else value


cdef bint _is_same(object known, object value) except -1:
    """Whether two arguments are one value of one type: 1 and True differ here."""
    return known is value or (type(known) is type(value) and known == value)


# --- The modules --------------------------------------------------------------

def _register_submodule(name, doc, names):
    """Make ``quart_jwt_extended.<name>`` importable, though this module is a single file.

    The import system finds it in sys.modules once this module has run, also when the submodule is
    the first import.
    """
    full_name = f"{__name__}.{name}"
    module = _types.ModuleType(full_name, doc)
    module.__spec__ = _ModuleSpec(full_name, None)
    module.__dict__.update(names)
    _sys.modules[full_name] = module
    globals()[name] = module


def _named(*names):
    return {name: globals()[name] for name in names}


_register_submodule("exceptions", "The exceptions of the extension.", _named(
    "CSRFError", "FreshTokenRequired", "InsufficientScopeError", "InvalidHeaderError",
    "JWTDecodeError", "JWTExtendedException", "NoAuthorizationError", "RevokedTokenError",
    "UserClaimsVerificationError", "UserLoadError", "WebSocketOriginError", "WrongTokenError",
))
_register_submodule("config", "The options of the current app.", {"config": _config})
_register_submodule("default_callbacks", "What happens where no callback is registered.", {
    f"default_{name}_callback": globals()[f"_default_{name}_callback"]
    for name in (
        "user_claims", "jwt_headers", "user_identity", "expired_token", "invalid_token",
        "unauthorized", "needs_fresh_token", "revoked_token", "user_loader_error",
        "claims_verification", "verify_claims_failed", "decode_key", "encode_key",
    )
})
_register_submodule("utils", "Functions on tokens, the current request and cookies.", {
    **_named(
        "create_access_token", "create_refresh_token", "current_user", "decode_token",
        "get_csrf_token", "get_current_user", "get_jti", "get_jwt", "get_jwt_claims",
        "get_jwt_header", "get_jwt_identity", "get_jwt_request_location", "get_raw_jwt",
        "get_raw_jwt_header", "get_unverified_jwt_headers", "set_access_cookies",
        "set_refresh_cookies", "unset_access_cookies", "unset_jwt_cookies", "unset_refresh_cookies",
    ),
    "has_user_loader": _has_user_loader,
    "user_loader": _user_loader,
    "has_token_in_blacklist_callback": _has_token_in_blacklist_callback,
    "token_in_blacklist": _token_in_blacklist,
    "verify_token_claims": _verify_token_claims,
    "verify_token_not_blacklisted": _verify_token_not_blacklisted,
    "verify_token_type": _verify_token_type,
})
_register_submodule("view_decorators", "Decorators and verify functions.", _named(
    "fresh_jwt_required", "jwt_exempt", "jwt_optional", "jwt_refresh_token_required",
    "jwt_required", "protect", "verify_fresh_jwt_in_request", "verify_jwt_in_request",
    "verify_jwt_in_request_optional", "verify_jwt_refresh_token_in_request",
))
_register_submodule("tokens", "Encoding and decoding with explicit settings.", {
    "decode_jwt": _decode_jwt,
    "encode_access_token": _encode_access_token,
    "encode_refresh_token": _encode_refresh_token,
})
_register_submodule("jwt_manager", "The manager.", _named("JWTManager"))
