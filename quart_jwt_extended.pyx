# cython: language_level=3, annotation_typing=False, auto_pickle=False, nonecheck=True
"""JSON Web Tokens (RFC 7519) for Quart: one compiled module.

Table of contents, in file order. To get to a section, search for ``# `` and its title.

- Imports
- Public names
- Defaults: every ``JWT_*`` option with its default
- Exceptions
- Options: the typed, validated snapshot of ``app.config``
- App state and context: the state of an app; the current app and request
- JSON: the reader and the writer of claims
- Compact JWS (RFC 7515): split, base64url, header; encode
- Keys: prepare, cache, sign and verify; keys by name; choose the key for a token
- Trusted issuers: fetch their keys, and choose the issuer of a token
- Claims and CSRF (RFC 7519, section 4.1): time, issuer, audience; the double-submit value
- Token locations: read headers, cookies, query string, JSON body and WebSocket
- Verifying a request: rules of a route, token type, revocation, freshness, scopes, claims, user
- Token store and sessions: the stores, revocation without a round trip, closing WebSockets
- Creating a token
- Error answers: the status and body of the response for each exception
- JWTManager: init, loaders, private
- Create and inspect: create_access_token, decode_token, get_jti, ...
- Sessions: create_session, rotate_session, revoke_session, revoke_token, ...
- Current request: get_jwt, get_jwt_identity, get_current_user, ...
- Response cookies: set and unset
- Decorators and current_user
- Whole apps and the command line: protect, protection_of, ``quart jwt``, OpenAPI
- Testing kit: signed_in, assert_protected
- Import paths of 0.1.0: config, default_callbacks, utils, tokens, ...

``_Rules.verify``, in "Verifying a request", verifies a protected request. Read it from top to
bottom; it calls the sections before it. It reads the options of the current app, looks for a token
in each configured location, parses it, gets its prepared key, checks the signature, the claims and
the CSRF value, then the type of the token, revocation, freshness and scopes, and calls the
callbacks of the manager for claims and user. The error handlers that the manager registered respond
to the exceptions of all these sections; the table is in "Error answers".
"""

# -----------------------------------------------------------------------------
# Imports
# -----------------------------------------------------------------------------

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.contextvars cimport get_value
from cpython.datetime cimport (
    import_datetime, timedelta_days, timedelta_microseconds, timedelta_seconds
)
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.list cimport PyList_GET_ITEM
from cpython.long cimport PyLong_FromDouble
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport (
    PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8, PyUnicode_FromStringAndSize
)
from libc.math cimport floor, isfinite
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

# Imports in C variables stay out of the public namespace, and a request need not look them up in
# the module's dict.
cdef object asyncio, base64, calendar, datetime, difflib, functools, hashlib, hmac, inspect
cdef object http, ipaddress, itertools, json, linecache, logging, operator, os, random, re
cdef object ssl, sys, threading, time, types, urllib, uuid, warnings, weakref, namedtuple, Context
cdef object ContextVar, Token, ModuleSpec, SHUT_RDWR, create_connection, Protocol
cdef object blinker, click, jwt, InvalidSignature, UnsupportedAlgorithm, hashes, serialization, ec
cdef object ed448, ed25519, padding, rsa, ECDSA, HMAC, Certificate, load_der_x509_certificate
cdef object load_pem_x509_certificate, ECAlgorithm, HMACAlgorithm, OKPAlgorithm
cdef object RSAAlgorithm, RSAPSSAlgorithm, get_default_algorithms, InvalidJTIError
cdef object InvalidSubjectError, InsecureKeyLengthWarning, quart, Blueprint, Quart, Request
cdef object Websocket, Config, DefaultJSONProvider, MethodView, Headers, BadRequest, HTTPException
cdef object dump_cookie, LocalProxy, AnyConverter

import asyncio
import base64
import calendar
import datetime
import difflib
import functools
import hashlib
import hmac
import http.client
import inspect
import ipaddress
import itertools
import json
import linecache
import logging
import operator
import os
import random
import re
import ssl
import sys
import threading
import time
import types
import urllib.parse
import urllib.request
import uuid
import warnings
import weakref
from collections import namedtuple
from contextvars import Context, ContextVar, Token
from importlib.machinery import ModuleSpec
from socket import SHUT_RDWR, create_connection
from typing import Protocol

import blinker
import click
import jwt
import quart.globals
import quart.json
import quart.signals
import quart.testing
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.x509 import (
    Certificate, load_der_x509_certificate, load_pem_x509_certificate
)
from jwt.algorithms import (
    ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm, get_default_algorithms
)
from jwt.exceptions import InvalidJTIError, InvalidSubjectError
from jwt.warnings import InsecureKeyLengthWarning
from quart import Blueprint, Quart, Request, Websocket
from quart.config import Config
from quart.json.provider import DefaultJSONProvider
from quart.views import MethodView
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.http import dump_cookie
from werkzeug.local import LocalProxy
from werkzeug.routing import AnyConverter

cdef extern from "Python.h":
    ctypedef struct PyAsyncMethods:
        void* am_await
    ctypedef struct PyTypeObject:
        PyAsyncMethods* tp_as_async
    PyTypeObject* Py_TYPE(object value)
    bint PyUnicode_IS_ASCII(str text)
    Py_ssize_t PyUnicode_GET_LENGTH(str text)
    const unsigned char* PyUnicode_1BYTE_DATA(str text)
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

cdef extern from *:
    """
    /* A number that changes when a dict changes; 0 if it is unavailable, so that the values of the
       dict must be compared. Up to CPython 3.11, it is the version of the dict (PEP 509), which
       3.14 no longer has. From 3.12 on, it counts the changes of all watched dicts. Free-threaded
       builds have no such number: a watcher is called before the change is made, and another
       thread may read the dict in between. */
    #if !CYTHON_COMPILING_IN_CPYTHON || defined(Py_GIL_DISABLED)
      #define qje_watch() ((void)0)
      #define qje_watched_version(dict) ((uint64_t)0)
      #define qje_version(dict) ((uint64_t)0)
    #elif PY_VERSION_HEX < 0x030C0000
      #define qje_watch() ((void)0)
      #define qje_version(dict) (((PyDictObject*)dict)->ma_version_tag)
      #define qje_watched_version(dict) qje_version(dict)
    #else
      static uint64_t qje_changes = 1;
      static int qje_watcher = -1;

      static int qje_note_change(PyDict_WatchEvent event, PyObject* dict, PyObject* key,
                                 PyObject* value) {
          (void)event, (void)dict, (void)key, (void)value;
          qje_changes++;
          return 0;
      }

      static void qje_watch(void) {
          qje_watcher = PyDict_AddWatcher(qje_note_change);
          if (qje_watcher < 0)
              PyErr_Clear();  /* An interpreter has only eight watchers. */
      }

      static uint64_t qje_watched_version(PyObject* dict) {
          if (qje_watcher < 0 || PyDict_Watch(qje_watcher, dict) < 0) {
              PyErr_Clear();
              return 0;
          }
          return qje_changes;
      }

      #define qje_version(dict) (qje_changes)
    #endif
    """
    void qje_watch()
    # The version of a dict, which is watched from then on.
    uint64_t qje_watched_version(object mapping)
    # The version of a dict that is watched.
    uint64_t qje_version(object mapping)

qje_watch()


cdef inline const char* _ascii_bytes(str text) noexcept:
    return <const char*>PyUnicode_1BYTE_DATA(text)


# A clock is looked up at each use, so that a test can replace it. The attribute of the module would
# take longer.
cdef dict _CLOCKS = vars(time)


# -----------------------------------------------------------------------------
# Public names
# -----------------------------------------------------------------------------

__version__ = "1.0.0"

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

DEFAULTS = {
    # Where the extension looks for tokens; the order is the precedence.
    "JWT_TOKEN_LOCATION": ("headers",),
    # Headers. The type is the scheme of RFC 9110, section 11.1; "" stands for the bare token.
    "JWT_HEADER_NAME": "Authorization",
    "JWT_HEADER_TYPE": "Bearer",
    # Query string. The prefix precedes the token in the value, for example "Bearer ".
    "JWT_QUERY_STRING_NAME": "jwt",
    "JWT_QUERY_STRING_VALUE_PREFIX": "",
    # Cookies, by the type of the token that they contain.
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
    # WebSockets. Browsers can set only the header of subprotocols: this name, and then the token.
    "JWT_WEBSOCKET_PROTOCOL": "bearer",
    # Further origins whose pages may open a WebSocket with a token in a cookie.
    "JWT_WEBSOCKET_ORIGINS": (),
    # Double-submit CSRF protection, which applies if cookies are a location.
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
    "JWT_ACCESS_TOKEN_EXPIRES": datetime.timedelta(minutes=15),
    "JWT_REFRESH_TOKEN_EXPIRES": datetime.timedelta(days=30),
    # Algorithms and keys. The secret falls back to SECRET_KEY while every algorithm is symmetric.
    "JWT_ALGORITHM": "HS256",
    "JWT_DECODE_ALGORITHMS": None,
    "JWT_SECRET_KEY": None,
    "JWT_PUBLIC_KEY": None,
    "JWT_PRIVATE_KEY": None,
    # Keys by name: each kid with its key, or with a dict of "key", "algorithm", "sign_from" and
    # "verify_until". The second names the key that signs while no "sign_from" has passed.
    "JWT_KEYS": None,
    "JWT_SIGNING_KEY_ID": None,
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
    # Names of claims that a token must have, in addition to those that the extension needs.
    "JWT_REQUIRED_CLAIMS": (),
    # The type in the header (RFC 7515, section 4.1.9): the accepted ones, None for any; the one of
    # new tokens, None for no type.
    "JWT_DECODE_TYP": None,
    "JWT_ENCODE_TYP": "JWT",
    # Revocation.
    "JWT_BLACKLIST_ENABLED": False,
    "JWT_BLACKLIST_TOKEN_CHECKS": ("access", "refresh"),
    # Seconds for which a worker may use its copy of the revocations; 0: each token is looked up in
    # the token store.
    "JWT_REVOCATION_MAX_STALENESS": 0,
    # Sessions, which need a token store. Seconds in which a rotated refresh token is accepted again
    # (RFC 9700, section 4.14.2), for a retry or another tab.
    "JWT_REFRESH_GRACE": 10,
    # The maximum age of a session that is used all the time; None for no limit.
    "JWT_SESSION_MAX_AGE": None,
    # An access token in a cookie is renewed in the response if it expires within this time.
    "JWT_IMPLICIT_REFRESH": None,
    # Whether a WebSocket is closed when its token expires or is revoked.
    "JWT_WEBSOCKET_CLOSE_WITH_TOKEN": False,
    # True: no OPTIONS request needs a token, as in 0.1.0; False: only those need none that Quart or
    # quart-cors handles without calling a view.
    "JWT_EXEMPT_OPTIONS": False,
    # Errors.
    "JWT_ERROR_MESSAGE_KEY": "msg",
    # "problem" stands for the problem details of RFC 9457.
    "JWT_ERROR_FORMAT": "legacy",
    # The challenge of RFC 6750, section 3, in 401 and 403 responses.
    "JWT_WWW_AUTHENTICATE": True,
    # Limits. By default, servers accept 16 KiB for an entire request head; a longer token can only
    # come in a JSON body, where nothing else limits the work that it causes.
    "JWT_MAX_TOKEN_SIZE": 16384,
    "JWT_SIGNATURE_CACHE_SIZE": 0,
}

# The options whose change requires a new snapshot: ours, and the fallback for the secret.
cdef tuple _WATCHED = (*DEFAULTS, "SECRET_KEY")

# The index of JWT_KEYS, and how many levels of its value may change in place: the ring, the options
# of a key, a JWK and its lists.
cdef Py_ssize_t _RING_INDEX = _WATCHED.index("JWT_KEYS")
cdef int _RING_DEPTH = 4

cdef tuple _LOCATIONS = ("headers", "cookies", "query_string", "json", "websocket_protocol")

# The two types of token; options that differ by type are kept as pairs in this order.
cdef tuple _TYPES = ("access", "refresh")
cdef enum:
    _ACCESS
    _REFRESH

# The algorithm objects of PyJWT, without "none".
cdef dict _ALGORITHMS = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name != "none"
}

cdef frozenset _SYMMETRIC = frozenset([
    name for name, algorithm in _ALGORITHMS.items() if isinstance(algorithm, HMACAlgorithm)
])

cdef str _EXTENSION = "quart-jwt-extended"
cdef str _STATE = "quart-jwt-extended.state"

# The Max-Age of persistent cookies in 0.1.0, in seconds: a little more than a year.
cdef int _PERSISTENT_COOKIE_MAX_AGE = 31540000

cdef object _logger = logging.getLogger("quart_jwt_extended")

# Claims with a fixed meaning: those of RFC 7519, section 4.1, and those of the extension.
cdef frozenset _RESERVED_CLAIMS = frozenset(
    ("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "type", "fresh", "csrf")
)

# Claims that only tokens of the app itself can have. They are removed from the tokens of trusted
# issuers, like the claim in JWT_USER_CLAIMS.
cdef frozenset _OWN_CLAIMS = frozenset(("type", "fresh", "csrf", "sid", "gen"))

# How many prepared keys an app keeps. A service with more distinct keys prepares some again, as
# PyJWT does on every request.
cdef Py_ssize_t _KEY_CACHE_SIZE = 1024

# How many header segments an app remembers: usually one per algorithm and key ID.
cdef int _HEADER_SLOTS = 8

# Header segments longer than this are not remembered (bytes).
cdef Py_ssize_t _HEADER_SLOT_SIZE = 512

# The depth up to which our reader and writer handle JSON; deeper documents are left to json.
cdef int _JSON_DEPTH = 16

# How many levels of objects and lists JSON may have, in a token, a body or a document of an issuer.
# The limit of json depends on the interpreter, its stack and how much of that is in use: 990 levels
# on Python 3.10, about 10,000 on 3.12 and 50,000 on 3.14. This limit is below all of them.
cdef Py_ssize_t _MAX_NESTING = 512
cdef str _NESTED_TOO_DEEP = "JSON is nested deeper than 512 levels"

# Tokens longer than this are not worth remembering in a signature cache (bytes).
cdef Py_ssize_t _SIGNATURE_CACHE_TOKEN_SIZE = 4096


# -----------------------------------------------------------------------------
# Exceptions
# -----------------------------------------------------------------------------

class JWTExtendedException(Exception):
    """Base class of all exceptions of this extension."""


class JWTDecodeError(JWTExtendedException):
    """A claim that the extension needs is missing or invalid."""


class InvalidHeaderError(JWTExtendedException):
    """The header that should contain the token is malformed, or has another scheme."""

    _has_other_scheme = False


class NoAuthorizationError(JWTExtendedException):
    """The request has no token in any of the accepted locations."""


class CSRFError(JWTExtendedException):
    """The CSRF double-submit value is missing or differs from the one in the token."""


class WebSocketOriginError(CSRFError):
    """A page from a foreign origin opened a WebSocket, and the browser sent the cookies with it.

    ``origin`` is the origin of the page, ``host`` the ``Host`` header of the handshake.
    """

    origin = host = None


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

    required = ()


class TokenStoreError(JWTExtendedException):
    """The token store is unavailable; ``__cause__`` is the exception that it raised."""


class IssuerUnavailableError(JWTExtendedException):
    """The keys of a trusted issuer are unavailable, and the key that a token names is unknown.

    ``__cause__`` is the exception of the last attempt to fetch the keys, if it failed.
    """


class _UnusableKeyError(jwt.InvalidTokenError, jwt.InvalidKeyError):
    """The key that was chosen for a token cannot verify it.

    PyJWT raises InvalidKeyError here, which handlers for invalid tokens do not catch, so a client
    could cause a server error. As an InvalidTokenError, it counts as an error of the client.
    """


# -----------------------------------------------------------------------------
# Options
# -----------------------------------------------------------------------------

# A header field name is a token (RFC 9110, section 5.6.2), and so is a cookie name (RFC 6265).
cdef object _TOKEN_RE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# A media type (RFC 6838, section 4.2), or only its subtype.
cdef object _TYPE_RE = re.compile(r"[!#$&^_.+0-9A-Za-z-]+(/[!#$&^_.+0-9A-Za-z-]+)?")

# The name of a query parameter that is sent unchanged (RFC 3986, section 2.3) or percent-encoded.
cdef object _PLAIN_NAME_RE = re.compile(r"[0-9A-Za-z._~-]+")

# Without characters that end the attribute (RFC 6265, section 4.1.1), and without white space. Also
# without those of an origin: browsers drop a cookie whose Domain has a scheme, a port or a path.
cdef object _DOMAIN_RE = re.compile(r"[^\x00-\x20:/;,\"\\\x7f]+")

# A list in one string, or a wildcard, would never equal the Origin that a browser sends.
cdef object _ORIGIN_RE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#@\s,*]+")
cdef object _METHOD_RE = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]+")

# Werkzeug, which writes Quart's cookies, supports the attribute since 3.1.
cdef bint _CAN_PARTITION = "partitioned" in inspect.signature(dump_cookie).parameters


cdef object _wrong_option(str name, str accepts):
    """The error for an invalid option, to which _Settings adds the value."""
    error = RuntimeError(f"{name} must be {accepts}")
    error.option = name
    return error


cdef str _shown(object value):
    """A value for an error message; only its type if it may be a secret in the wrong option."""
    if value is None or isinstance(value, (int, float, datetime.timedelta)):
        return repr(value)
    return f"a value of type {type(value).__name__}"


cdef str _plain_text(object text):
    """A string as an exact str; str() of an enumeration's member would return its name."""
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


cdef tuple _read_text_pair(dict values, str name):
    """The value of an option for access tokens, and of the one for refresh tokens."""
    return _read_text(values, f"JWT_ACCESS_{name}"), _read_text(values, f"JWT_REFRESH_{name}")


cdef tuple _read_token_pair(dict values, str name):
    return _read_token(values, f"JWT_ACCESS_{name}"), _read_token(values, f"JWT_REFRESH_{name}")


cdef tuple _read_path_pair(dict values, str name):
    return (
        _read_cookie_path(values, f"JWT_ACCESS_{name}"),
        _read_cookie_path(values, f"JWT_REFRESH_{name}"),
    )


cdef object _read_given(dict values, str name):
    """The value of an option; None if it is False or empty text.

    Other values are not tested for truth, because a foreign object, such as a key, may raise.
    """
    value = values[name]
    is_empty = value is False or (isinstance(value, (str, bytes)) and not value)
    return None if is_empty else value


cdef object _read_key(dict values, str name):
    """The key in an option; None if it is False, empty text or only white space."""
    value = values[name]
    is_empty = value is False or (isinstance(value, (str, bytes)) and not value.strip())
    return None if is_empty else value


cdef bint _read_flag(dict values, str name) except -1:
    value = values[name]
    # Environment files and databases turn a flag into 0 or 1; other truthy values are mistakes like
    # the string "False".
    if not isinstance(value, int) or value not in (0, 1):
        raise _wrong_option(name, "True or False")
    return value


cdef Py_ssize_t _read_size(dict values, str name, Py_ssize_t least) except -1:
    value = values[name]
    if type(value) is not int or not least <= value <= sys.maxsize:
        raise _wrong_option(name, f"an int of at least {least}")
    return value


cdef tuple _read_names(dict values, str name, str accepts):
    """A single string, or a sequence or set of strings, as a tuple."""
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
    """Like _read_names, for names in ``choices``; a set is returned in the order of ``choices``."""
    quoted = ", ".join([f'"{choice}"' for choice in choices])
    accepts = f"one of {quoted}, or a sequence or a set of these"
    names = _read_names(values, name, accepts)
    for item in names:
        if item not in choices:
            raise _wrong_option(name, accepts)
    if isinstance(values[name], (set, frozenset)):
        return tuple([choice for choice in choices if choice in names])
    # The identical strings of ``choices``, which a request compares faster than equal ones.
    return tuple([choices[choices.index(item)] for item in names])


cdef object _lifetime(object value):
    """A lifetime as an object that can be added to a datetime; an int is in seconds."""
    if type(value) is int:
        return datetime.timedelta(seconds=value)
    return value


cdef object _read_lifetime(dict values, str name, object never=False):
    """A lifetime: ``never``, a timedelta, or another object that can be added to a datetime."""
    value = values[name]
    if value is never:
        return never
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        value = _lifetime(value)
        moment = now + value
    except Exception:
        # The addition of a foreign object may raise anything.
        moment = None
    # A naive datetime would be interpreted as local time.
    if not isinstance(moment, datetime.datetime) or moment.tzinfo is None or moment <= now:
        raise _wrong_option(
            name,
            "a timedelta, an int (seconds) or an object that can be added to a datetime, longer "
            "than 0 and ending before the year 10000, or "
            + ("None" if never is None else "False for tokens that never expire"),
        )
    return value


cdef double _INFINITY = float("inf")


cdef double _read_seconds(dict values, str name, double most) except -1:
    value = values[name]
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = float(value)
            if isfinite(seconds) and 0 <= seconds <= most:
                return seconds
    except OverflowError:
        pass
    if most == _INFINITY:
        accepts = "a finite, non-negative number of seconds, or such a timedelta"
    else:
        accepts = f"a number of seconds from 0 to {most:.0f}, or such a timedelta"
    raise _wrong_option(name, accepts)


cdef object _read_cookie_path(dict values, str name):
    path = _read_optional_text(values, name)
    try:
        dump_cookie("name", path=path, max_size=0)
    except ValueError:
        raise _wrong_option(name, "a path without lone surrogates, or None") from None
    return path


cdef object _read_cookie_domain(dict values):
    domain = _read_optional_text(values, "JWT_COOKIE_DOMAIN")
    if not _is_domain(domain):
        raise _wrong_option("JWT_COOKIE_DOMAIN", "a domain name or None")
    return domain


cdef bint _is_domain(object domain) except -1:
    """Whether a cookie can have this domain; Werkzeug accepts characters that end the attribute."""
    try:
        dump_cookie("name", domain=domain, max_size=0)
    except ValueError:
        return False
    return not domain or _DOMAIN_RE.fullmatch(domain) is not None


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


cdef str _read_claim_name(dict values, str name, object reserved, tuple others):
    """The name of a claim, which must be neither reserved nor used by another option."""
    claim = _read_text(values, name)
    if claim in reserved or claim in [values[other] for other in others]:
        accepts = f"a claim other than {', '.join(sorted(reserved))}"
        if others:
            accepts += f", and differ from {' and '.join(others)}"
        raise _wrong_option(name, accepts)
    return claim


cdef str _verified_type(str name, str option):
    if _TYPE_RE.fullmatch(name) is None:
        raise _wrong_option(option, 'a media type without parameters, such as "JWT" or "at+jwt"')
    return name


cdef str _media_type(str name):
    """The ``typ`` of a header as a full media type, for comparison (RFC 7515, 4.1.9)."""
    name = name.lower()
    return name if "/" in name else f"application/{name}"


cdef frozenset _read_origins(dict values):
    """Origins (RFC 6454, section 6.2) in lower case, as browsers send them."""
    accepts = 'an origin such as "https://app.example.com", or a sequence or a set of origins'
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


cdef str _known_algorithm(object name, str option):
    if not isinstance(name, str) or name not in _ALGORITHMS:
        raise _wrong_option(option, f"one of {', '.join(_ALGORITHMS)}")
    return _plain_text(name)


cdef inline bint _is_symmetric(str algorithm) except -1:
    return algorithm in _SYMMETRIC


@cython.final
cdef class _Settings:
    """The options of one app, validated and typed, as they were at one moment.

    A request keeps the snapshot that it started with, so it never sees a mixture of two
    configurations. Reading an option here is only a C field access.
    """

    # Locations. ``plain_query_name`` is None if a query string could encode the name in other ways
    # than with percent signs. Options that differ by the type of token are pairs.
    cdef readonly tuple token_location
    cdef readonly str header_name, header_type, query_string_name
    cdef str header_lower, bearer_prefix, query_string_prefix, websocket_protocol
    cdef bytes plain_query_name
    cdef frozenset websocket_origins
    cdef readonly tuple json_keys
    # Cookies.
    cdef readonly tuple cookie_names, cookie_paths
    cdef readonly object cookie_domain, cookie_samesite
    cdef readonly bint cookie_secure, cookie_partitioned, session_cookie
    # CSRF. ``csrf_protect`` is True only if cookies are a location; ``csrf_configured`` is the
    # option alone, for a route that accepts cookies although the app does not.
    cdef readonly bint csrf_protect, csrf_in_cookies, csrf_check_form
    cdef bint csrf_configured
    cdef readonly frozenset csrf_request_methods
    cdef readonly tuple csrf_header_names, csrf_cookie_names, csrf_cookie_paths, csrf_field_names
    cdef tuple csrf_headers_lower
    # Algorithms and keys.
    cdef readonly str algorithm
    cdef readonly tuple decode_algorithms
    cdef frozenset allowed_algorithms
    cdef readonly object secret_key, public_key, private_key
    # Keys by name: the _RingKey objects by kid, None without JWT_KEYS; those with a start, in its
    # order; whether one of them can sign.
    cdef dict ring
    cdef list ring_starts
    cdef bint ring_signs
    cdef object signing_key_id
    # The JWKs of the single keys, created on first use.
    cdef list single_jwks
    # Claims.
    cdef readonly tuple lifetimes, decode_issuer, audience
    cdef readonly str identity_claim_key, user_claims_key
    cdef readonly bint user_claims_in_refresh_token, verify_sub
    cdef str scope_claim
    cdef readonly object encode_audience, encode_issuer
    cdef readonly bint encode_nbf
    cdef readonly double leeway
    cdef tuple required_claims
    # The types of token accepted in the header, in the form of _media_type; None for any.
    cdef frozenset decode_types
    cdef object encode_type
    cdef bint exempts_options
    # Revocation, errors, limits.
    cdef readonly bint blacklist_enabled
    cdef readonly tuple blacklist_checks
    cdef double max_staleness
    # Sessions.
    cdef double refresh_grace
    cdef object session_max_age, implicit_refresh
    cdef bint close_with_token
    cdef readonly str error_msg_key
    cdef bint is_problem_format, www_authenticate
    cdef readonly Py_ssize_t max_token_size, signature_cache_size
    # Prepared keys of the configuration by algorithm, filled on first use.
    cdef dict verifying_keys
    # The trusted issuer for which this is derived, and the options from which (both None for those
    # of the app itself); the derived options by issuer name, filled on first use; the claim that
    # contains the audience.
    cdef _Issuer issuer
    cdef _Settings base
    cdef dict by_issuer
    cdef str audience_claim
    # The source of the snapshot: the values of _WATCHED; the mutable ones, each with a copy; the
    # config and its version at the last comparison.
    cdef list seen, copies
    cdef object ring_copy
    # During construction, the previous snapshot, whose keys by name need not be read again.
    cdef _Settings previous
    cdef object config
    cdef uint64_t version

    def __cinit__(self, dict values, _Settings previous=None):
        self.previous = previous
        try:
            self._read(values)
        except RuntimeError as error:
            name = getattr(error, "option", None)
            if name is None or getattr(error, "is_complete", False):
                raise
            shown = RuntimeError(f"{error}, not {_shown(values[name])}")
            shown.option = name
            raise shown from None
        self.previous = None
        self.verifying_keys = {}
        self.by_issuer = {}
        self.audience_claim = "aud"
        self.seen = [values[name] for name in _WATCHED]
        self.copies = [
            (value, value.copy()) for value in self.seen
            if isinstance(value, (list, set, dict)) and value is not values["JWT_KEYS"]
        ]

    cdef int _read(self, dict values) except -1:
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
        self.max_staleness = _read_seconds(values, "JWT_REVOCATION_MAX_STALENESS", _INFINITY)
        # A longer grace period would give a thief too much time.
        self.refresh_grace = _read_seconds(values, "JWT_REFRESH_GRACE", 300)
        self.session_max_age = _read_lifetime(values, "JWT_SESSION_MAX_AGE", None)
        self.implicit_refresh = _read_lifetime(values, "JWT_IMPLICIT_REFRESH", None)
        self.close_with_token = _read_flag(values, "JWT_WEBSOCKET_CLOSE_WITH_TOKEN")
        self.exempts_options = _read_flag(values, "JWT_EXEMPT_OPTIONS")
        self._read_errors(values)
        self.max_token_size = _read_size(values, "JWT_MAX_TOKEN_SIZE", 1)
        self.signature_cache_size = _read_size(values, "JWT_SIGNATURE_CACHE_SIZE", 0)

    cdef int _read_locations(self, dict values) except -1:
        self.token_location = _read_choices(values, "JWT_TOKEN_LOCATION", _LOCATIONS)
        if not self.token_location or len(set(self.token_location)) != len(self.token_location):
            raise RuntimeError(
                "JWT_TOKEN_LOCATION must contain at least one of "
                + ", ".join([f'"{location}"' for location in _LOCATIONS])
                + ", each at most once"
            )
        self.header_name = _read_token(values, "JWT_HEADER_NAME")
        self.header_lower = self.header_name.lower()
        self.header_type = ""
        self.bearer_prefix = ""
        if _read_given(values, "JWT_HEADER_TYPE") is not None:
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

    cdef int _read_cookies(self, dict values) except -1:
        self.cookie_names = _read_token_pair(values, "COOKIE_NAME")
        self.cookie_paths = _read_path_pair(values, "COOKIE_PATH")
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
                        f"{option} needs JWT_COOKIE_SECURE = True: browsers reject the cookie "
                        "otherwise"
                    )

    cdef int _verify_cookie_names(self) except -1:
        """Check the rules of the name prefixes (RFC 6265bis, section 4.1.3) as browsers do."""
        options = (
            "JWT_ACCESS_COOKIE", "JWT_REFRESH_COOKIE",
            "JWT_ACCESS_CSRF_COOKIE", "JWT_REFRESH_CSRF_COOKIE",
        )
        names = self.cookie_names + self.csrf_cookie_names
        paths = self.cookie_paths + self.csrf_cookie_paths
        for option, name, path in zip(options, names, paths):
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

    cdef int _read_errors(self, dict values) except -1:
        self.error_msg_key = _read_text(values, "JWT_ERROR_MESSAGE_KEY")
        if not isinstance(values["JWT_ERROR_FORMAT"], str) or (
            values["JWT_ERROR_FORMAT"] not in ("legacy", "problem")
        ):
            raise _wrong_option("JWT_ERROR_FORMAT", '"legacy" or "problem"')
        self.is_problem_format = values["JWT_ERROR_FORMAT"] == "problem"
        self.www_authenticate = _read_flag(values, "JWT_WWW_AUTHENTICATE")

    cdef int _read_csrf(self, dict values) except -1:
        protect = _read_flag(values, "JWT_COOKIE_CSRF_PROTECT")
        self.csrf_configured = protect
        self.csrf_protect = protect and "cookies" in self.token_location
        accepts = "an HTTP method, or a sequence or a set of HTTP methods"
        methods = _read_names(values, "JWT_CSRF_METHODS", accepts)
        for method in methods:
            # A name that cannot be a method would disable the protection.
            if _METHOD_RE.fullmatch(method) is None:
                raise _wrong_option("JWT_CSRF_METHODS", accepts)
        self.csrf_request_methods = frozenset([method.upper() for method in methods])
        self.csrf_in_cookies = _read_flag(values, "JWT_CSRF_IN_COOKIES")
        if _read_given(values, "JWT_CSRF_HEADER_NAME") is not None:
            self.csrf_header_names = (_read_token(values, "JWT_CSRF_HEADER_NAME"),) * 2
            warnings.warn(
                "JWT_CSRF_HEADER_NAME is deprecated; set JWT_ACCESS_CSRF_HEADER_NAME and "
                "JWT_REFRESH_CSRF_HEADER_NAME",
                DeprecationWarning,
            )
        else:
            self.csrf_header_names = _read_token_pair(values, "CSRF_HEADER_NAME")
        self.csrf_headers_lower = tuple([name.lower() for name in self.csrf_header_names])
        self.csrf_cookie_names = _read_token_pair(values, "CSRF_COOKIE_NAME")
        self.csrf_cookie_paths = _read_path_pair(values, "CSRF_COOKIE_PATH")
        self.csrf_check_form = _read_flag(values, "JWT_CSRF_CHECK_FORM")
        self.csrf_field_names = _read_text_pair(values, "CSRF_FIELD_NAME")

    cdef int _read_keys(self, dict values) except -1:
        self.algorithm = _known_algorithm(values["JWT_ALGORITHM"], "JWT_ALGORITHM")
        names = values["JWT_DECODE_ALGORITHMS"]
        if names is None:
            names = ()
        else:
            names = _read_names(
                values, "JWT_DECODE_ALGORITHMS",
                "None, the name of an algorithm, or a sequence or a set of names",
            )
        algorithms = [_known_algorithm(name, "JWT_DECODE_ALGORITHMS") for name in names]
        if self.algorithm not in algorithms:
            algorithms.append(self.algorithm)
        self.decode_algorithms = tuple(algorithms)
        self.allowed_algorithms = frozenset(algorithms)
        self.secret_key = _read_key(values, "JWT_SECRET_KEY")
        self.public_key = _read_key(values, "JWT_PUBLIC_KEY")
        self.private_key = _read_key(values, "JWT_PRIVATE_KEY")
        self._read_ring(values)
        # With both families allowed, or with keys by name, a secret must be meant for tokens.
        # Otherwise, tokens could also be signed with SECRET_KEY, which signs Quart's sessions.
        if self.secret_key is None and self.ring is None and not self._spans_families():
            self.secret_key = _read_key(values, "SECRET_KEY")

    cdef int _read_ring(self, dict values) except -1:
        self.signing_key_id = _read_optional_text(values, "JWT_SIGNING_KEY_ID")
        if values["JWT_KEYS"] is None:
            if self.signing_key_id is not None:
                raise _wrong_option("JWT_SIGNING_KEY_ID", "None without JWT_KEYS")
            return 0
        accepts = "None, or a non-empty dict that maps each kid, a non-empty string, to its key"
        if not isinstance(values["JWT_KEYS"], dict):
            raise _wrong_option("JWT_KEYS", accepts)
        # Another thread may change it while it is read.
        self.ring_copy = _copied(values["JWT_KEYS"], _RING_DEPTH)
        self.ring = _new_ring(self.ring_copy, self, accepts)
        self.ring_starts = _sorted_starts(self.ring)
        signing = [kid for kid, key in self.ring.items() if (<_RingKey>key).private is not None]
        self.ring_signs = bool(signing)
        if self.signing_key_id is not None and self.signing_key_id not in signing:
            raise _wrong_option("JWT_SIGNING_KEY_ID", "None, or the kid of a key that can sign")

    cdef int _read_claims(self, dict values) except -1:
        self.identity_claim_key = _read_claim_name(
            values, "JWT_IDENTITY_CLAIM", _RESERVED_CLAIMS - {"sub"}, ()
        )
        self.user_claims_key = _read_claim_name(
            values, "JWT_USER_CLAIMS", _RESERVED_CLAIMS, ("JWT_IDENTITY_CLAIM",)
        )
        self.scope_claim = _read_claim_name(
            values, "JWT_SCOPE_CLAIM", _RESERVED_CLAIMS, ("JWT_IDENTITY_CLAIM", "JWT_USER_CLAIMS")
        )
        self.user_claims_in_refresh_token = _read_flag(values, "JWT_CLAIMS_IN_REFRESH_TOKEN")
        accepts = "a claim name without commas and white space, or a sequence or a set of names"
        self.required_claims = _read_names(values, "JWT_REQUIRED_CLAIMS", accepts)
        for name in self.required_claims:
            # A list in one string would require a claim that no token has.
            if re.search(r"[\s,]", name) or not name:
                raise _wrong_option("JWT_REQUIRED_CLAIMS", accepts)
        names = _read_expected(values, "JWT_DECODE_TYP")
        if names is not None:
            self.decode_types = frozenset([
                _media_type(_verified_type(name, "JWT_DECODE_TYP")) for name in names
            ])
        self.encode_type = _read_optional_text(values, "JWT_ENCODE_TYP")
        if self.encode_type:
            _verified_type(self.encode_type, "JWT_ENCODE_TYP")
        self.encode_audience = values["JWT_ENCODE_AUDIENCE"]
        if self.encode_audience is not None and not isinstance(self.encode_audience, str):
            self.encode_audience = list(_read_expected(values, "JWT_ENCODE_AUDIENCE"))
        self.encode_nbf = _read_flag(values, "JWT_ENCODE_NBF")
        self.encode_issuer = _read_optional_text(values, "JWT_ENCODE_ISSUER")
        self.decode_issuer = _read_expected(values, "JWT_DECODE_ISSUER")
        self.audience = _read_expected(values, "JWT_DECODE_AUDIENCE")
        self.leeway = _read_seconds(values, "JWT_DECODE_LEEWAY", _INFINITY)
        self.verify_sub = _read_flag(values, "JWT_VERIFY_SUB")

    cdef bint _spans_families(self) except -1:
        families = {_is_symmetric(name) for name in self.decode_algorithms}
        return len(families) == 2

    cdef bint is_current(self, config) except -1:
        """Whether the options have not changed since this snapshot was created.

        While the version of ``app.config`` stays the same, its values (about 50) are not compared.
        The version is read before the values, so that a concurrent change by another thread is
        noticed next time.
        """
        cdef uint64_t version
        if self.version == 0 or config is not self.config or self.version != qje_version(config):
            # A plain dict was created for this call from a config that computes its values. Or it
            # may be the dict of an instance, for which a watcher does not see every change.
            version = 0 if type(config) is dict else qje_watched_version(config)
            if not self._holds(config):
                return False
            self.version = 0
            self.config = config
            self.version = version
        for value, copy in self.copies:
            if value != copy:
                return False
        return self.ring is None or _is_unchanged(
            self.seen[_RING_INDEX], self.ring_copy, _RING_DEPTH
        )

    cdef bint _holds(self, config) except -1:
        cdef Py_ssize_t index
        cdef PyObject* value
        for index in range(len(_WATCHED)):
            value = PyDict_GetItemWithError(config, _WATCHED[index])
            if value == NULL:
                # A deleted option has its default.
                value = PyDict_GetItemWithError(DEFAULTS, _WATCHED[index])
            if value == NULL:
                value = <PyObject*>None
            if value != <PyObject*>self.seen[index]:
                return False
        return True

    cdef object cookie_max_age(self):
        return None if self.session_cookie else _PERSISTENT_COOKIE_MAX_AGE


# -----------------------------------------------------------------------------
# App state and context
# -----------------------------------------------------------------------------

# Time that the fast path of this section saves per request (`python benchmarks/fast_paths.py`):
#
#   noticing changed options by the version of app.config    0.5 us

@cython.final
cdef class _Callbacks:
    """The callbacks of one manager, adapted to one form for each.

    None stands for a default that does nothing.
    """

    # Called with the object that was passed to the creating function.
    cdef public object user_claims, additional_claims, user_identity, jwt_headers, encode_key
    # Called with the unverified claims and header.
    cdef public object decode_key
    # Called with settings, header and claims of a verified token.
    cdef public object token_in_blacklist, claims_verification, user_loader
    # Called with the header and the claims of a reused refresh token; with the claims to renew.
    cdef public object refresh_reuse, implicit_refresh
    # Whether the blacklist callback is called regardless of JWT_BLACKLIST_ENABLED.
    cdef public bint is_blocklist
    # Whether claims_verification is called for refresh tokens, too.
    cdef public bint verifies_refresh_tokens
    # By the names of _ANSWERS; called with the error, and header and claims of the token.
    cdef dict answers
    # Called with the URL of a document of an issuer.
    cdef public object jwks_fetch
    # The trusted issuers by their names; an app without one has an empty dict.
    cdef dict issuers

    def __cinit__(self):
        self.answers = {}
        self.issuers = {}

    cdef str revocation_loader(self):
        return "token_in_blocklist_loader" if self.is_blocklist else "token_in_blacklist_loader"

    cdef str claims_loader(self):
        if self.verifies_refresh_tokens:
            return "token_verification_loader"
        return "claims_verification_loader"


cdef object _DICT_GETITEM = dict.__getitem__


cdef dict _watched_values(object config):
    """The options in a config, each read once, and the defaults of the missing ones."""
    values = {}
    for name in _WATCHED:
        try:
            values[name] = config[name]
        except KeyError:
            values[name] = DEFAULTS.get(name)
    return values


@cython.final
cdef class _AppState:
    """The state of one app: the snapshot of its options, its prepared keys, its header memo."""

    cdef object app
    cdef _Callbacks callbacks
    cdef _KeyCache keys
    cdef _HeaderMemo headers
    cdef _Settings current
    # How the routes are protected, by endpoint; filled by the guards of protect().
    cdef dict routes
    # The encoder of tokens, and the method of the JSON provider that it was made for.
    cdef object encoder
    cdef object encoder_default
    # The token store, None without one, and this worker's copy of its revocations.
    cdef object store
    cdef _Watch watch
    # The resource of serve_resource_metadata, None for the host of the request; _ABSENT without it.
    cdef object resource

    def __cinit__(self, app, _Callbacks callbacks):
        self.app = app
        self.callbacks = callbacks
        self.keys = _KeyCache()
        self.headers = _HeaderMemo()
        self.routes = {}
        self.resource = _ABSENT

    cdef _Route route(self, str endpoint, str method):
        """How a route is protected. A view may be replaced, for example by a test."""
        cdef _Route route = self.routes.get(endpoint)
        if (
            route is None
            or route.view is not self.app.view_functions.get(endpoint)
            or route.guard_count != _guard_count
        ):
            route = _Route(self.app, endpoint, method)
            if not hasattr(route.view, "view_class"):
                self.routes[endpoint] = route
        return route

    cdef _Settings settings(self):
        """The snapshot of the current ``app.config``, validated again only after a change."""
        config = self.app.config
        if type(config) is not Config and type(config).__getitem__ is not _DICT_GETITEM:
            # A Config class that computes its values, for example secrets fetched on demand.
            config = _watched_values(config)
        # Read the attribute once: another thread may replace the snapshot at any time.
        current = self.current
        if current is None or not current.is_current(config):
            current = _Settings(_watched_values(config), current)
            self.current = current
        return current

    cdef object json_default(self):
        """The conversion of foreign types to JSON: that of json_provider_class, as in 0.1.0."""
        provider = self.app.json_provider_class
        if type(self.app.json) is provider:
            provider = self.app.json
        return getattr(provider, "default", None) or DefaultJSONProvider.default

    cdef object json_encoder(self):
        default = self.json_default()
        if self.encoder is None or self.encoder_default != default:
            self.encoder = _new_encoder(default)
            self.encoder_default = default
        return self.encoder


# --- The current app and request ----------------------------------------------

cdef object _CV_APP = quart.globals._cv_app
# Quart 0.20 to 0.22 keep request and websocket in contexts of their own, 0.23 in the app context.
cdef object _CV_REQUEST = getattr(quart.globals, "_cv_request", None)
cdef object _CV_WEBSOCKET = getattr(quart.globals, "_cv_websocket", None)

# Under Quart 0.20 to 0.22, a WebSocket that is opened inside a request, as by a test client, sees
# the contexts of both; the one that was started last is current. This holds the context of the
# WebSocket that was started last, and the context of the request in which it was started.
cdef object _STARTED = ContextVar("quart-jwt-extended.started", default=(None, None))


def _note_start():
    _STARTED.set((get_value(_CV_WEBSOCKET), get_value(_CV_REQUEST)))


cdef dict _receivers = {"note": _note_start}
if _CV_REQUEST is not None:
    # Quart would run any other function than a Python coroutine function in a thread, in a copy of
    # the context.
    exec("async def start(app, **kwargs):\n    note()", _receivers)
    quart.signals.websocket_started.connect(_receivers["start"])


cdef _AppState _state_in(object app_context):
    """The state of the app of a context, which may be None."""
    if app_context is None:
        raise RuntimeError(
            "Not within an app context: call this in a request, or inside "
            "`async with app.app_context()`"
        )
    return _state_of(app_context.app)


cdef _AppState _state_of(object app):
    state = app.extensions.get(_STATE)
    if state is None:
        raise RuntimeError(
            "No JWTManager for this app: create JWTManager(app), or call init_app(app) on one, "
            "before using this function"
        )
    return state


cdef _AppState _current_state():
    return _state_in(get_value(_CV_APP))


cdef object _request_in(object app_context):
    """The current request or websocket in an app context, or None.

    A request of one app is not current in the app context of another app that its view enters.
    """
    if _CV_REQUEST is None:
        return _request_around(app_context)
    context = get_value(_CV_REQUEST)
    websocket = get_value(_CV_WEBSOCKET)
    if context is None or (
        websocket is not None and get_value(_STARTED) == (websocket, context)
    ):
        context = websocket
    if context is None or context.app is not app_context.app:
        return None
    return context.request_websocket


cdef object _request_around(object app_context):
    """The request or websocket of an app context, or of the app context around it.

    A background task and ``async with app.app_context()`` enter an app context of their own. Under
    Quart 0.20 to 0.22, the surrounding request stays current in it.
    """
    app = app_context.app
    while app_context is not None and app_context.app is app:
        if app_context.has_request:
            return app_context.request
        if app_context.has_websocket:
            return app_context.websocket
        token = app_context._cv_token
        around = None if token is None else token.old_value
        app_context = None if around is Token.MISSING else around
    return None


cdef object _current_request():
    """The current request or websocket, or None outside of one."""
    app_context = get_value(_CV_APP)
    return None if app_context is None else _request_in(app_context)


# -----------------------------------------------------------------------------
# JSON
# -----------------------------------------------------------------------------

# Time that the fast paths of this section save for the claims of an ordinary token
# (`python benchmarks/fast_paths.py`):
#
#   reader                                   3.6 us
#   reusing four strings                     0.3 us
#   writer                                   2.7 us

cdef object _json_decoder = json.JSONDecoder()

# Stands for a missing claim or token, because None could have been sent (JSON null).
cdef object _ABSENT = object()

# Kinds of bytes of a string (RFC 8259, section 7). A lookup is faster than comparisons.
cdef unsigned char _STRING_BYTES[256]
cdef enum:
    _ENDS_PLAIN_TEXT = 1
    _IS_WRITTEN_ESCAPED = 2


cdef void _fill_string_bytes() noexcept:
    cdef int byte
    for byte in range(256):
        if byte < c" " or byte == c'"' or byte == c"\\":
            _STRING_BYTES[byte] = _ENDS_PLAIN_TEXT | _IS_WRITTEN_ESCAPED
        elif byte > c"~":
            _STRING_BYTES[byte] = _IS_WRITTEN_ESCAPED

_fill_string_bytes()

# --- Reader -------------------------------------------------------------------

# The reader returns this if a document must be left to json.
cdef object _UNUSUAL = object()

# Names and values that most tokens contain, by a hash of their length, first and last character. An
# existing string is neither created nor hashed again.
cdef list _COMMON_TEXTS = [None] * 128


cdef inline int _common_slot(const char* text, Py_ssize_t size) noexcept:
    # With these factors, no two of the texts below share a slot.
    return <int>(size + text[0] * 3 + text[size - 1] * 2) & 127


cdef int _fill_common_texts() except -1:
    cdef bytes text
    for name in (
        "iat", "nbf", "exp", "aud", "sub", "jti", "type", "fresh", "csrf", "identity",
        "user_claims", "access", "refresh", "iss", "azp", "scope", "alg", "typ", "kid", "JWT",
        *_ALGORITHMS
    ):
        text = name.encode()
        _COMMON_TEXTS[_common_slot(PyBytes_AS_STRING(text), len(text))] = sys.intern(name)

_fill_common_texts()


cdef str _new_text(const char* text, Py_ssize_t size):
    """The text of a JSON string without escapes."""
    cdef PyObject* common
    if 3 <= size <= 11:
        common = PyList_GET_ITEM(_COMMON_TEXTS, _common_slot(text, size))
        if (
            common != <PyObject*>None
            and PyUnicode_GET_LENGTH(<str>common) == size
            and memcmp(_ascii_bytes(<str>common), text, size) == 0
        ):
            return <str>common
    return PyUnicode_DecodeUTF8(text, size, NULL)


cdef struct _Reader:
    # The position in the JSON object of one document, in a bytes object: the NUL after its last
    # byte ends every loop that does not compare with the end.
    const char* at
    const char* end
    int depth
    # Members of the outermost object, duplicates included.
    Py_ssize_t members


cdef void _skip_spaces(_Reader* reader) noexcept:
    while reader.at[0] in (c" ", c"\t", c"\n", c"\r"):
        reader.at += 1


cdef inline void _skip_space(_Reader* reader) noexcept:
    # Most tokens have none, and this test is small enough for every compiler to inline it.
    if reader.at[0] <= c" ":
        _skip_spaces(reader)


cdef inline bint _takes(_Reader* reader, char byte) noexcept:
    """Skip a byte, which is not NUL, if it is the next one."""
    if reader.at[0] == byte:
        reader.at += 1
        return True
    return False


cdef object _scan_slice(const char* start, const char* end):
    """Read a string or a number that fills the slice, using json."""
    text = PyUnicode_DecodeUTF8(start, end - start, NULL)
    try:
        value, size = _json_decoder.scan_once(text, 0)
    except (StopIteration, ValueError):
        return _UNUSUAL
    return value if size == len(text) else _UNUSUAL


cdef object _read_string(_Reader* reader):
    """Read a string from its opening quote; one with an escape is left to json's scanner."""
    cdef const char* start = reader.at
    # A char may alias anything: C would load and store the field of the reader at each byte.
    cdef const char* at = start + 1
    cdef const char* end = reader.end
    while not _STRING_BYTES[<unsigned char>at[0]] & _ENDS_PLAIN_TEXT:
        at += 1
    if at[0] == c'"':
        reader.at = at + 1
        return _new_text(start + 1, at - start - 1)
    while at < end and at[0] != c'"':
        at += 2 if at[0] == c"\\" else 1
    if at >= end:
        return _UNUSUAL
    reader.at = at + 1
    return _scan_slice(start, at + 1)


cdef object _read_number(_Reader* reader):
    """Read an int of up to 18 digits; anything else is left to json's scanner."""
    cdef long long number = 0
    cdef const char* start = reader.at
    cdef bint negative = _takes(reader, c"-")
    cdef const char* first = reader.at
    cdef const char* at = first
    while c"0" <= at[0] <= c"9" and at - first < 18:
        number = number * 10 + (at[0] - c"0")
        at += 1
    if at > first and (first[0] != c"0" or at - first == 1) and (
        at == reader.end or at[0] in (c",", c"}", c"]", c" ", c"\t", c"\n", c"\r")
    ):
        reader.at = at
        return -number if negative else number
    while c"0" <= at[0] <= c"9" or at[0] in (c".", c"e", c"E", c"+", c"-"):
        at += 1
    reader.at = at
    return _scan_slice(start, at)


cdef object _read_literal(_Reader* reader, const char* literal, Py_ssize_t size, object value):
    if reader.end - reader.at < size or memcmp(reader.at, literal, size) != 0:
        return _UNUSUAL
    reader.at += size
    return value


cdef object _read_value(_Reader* reader):
    if reader.at[0] == c'"':
        return _read_string(reader)
    if reader.at[0] == c"t":
        return _read_literal(reader, b"true", 4, True)
    if reader.at[0] == c"f":
        return _read_literal(reader, b"false", 5, False)
    if reader.at[0] == c"n":
        return _read_literal(reader, b"null", 4, None)
    if reader.at[0] != c"{" and reader.at[0] != c"[":
        return _read_number(reader)
    if reader.depth == _JSON_DEPTH:
        return _UNUSUAL
    reader.depth += 1
    value = _read_items(reader) if _takes(reader, c"[") else _read_members(reader)
    reader.depth -= 1
    return value


cdef object _read_items(_Reader* reader):
    cdef list items = []
    _skip_space(reader)
    if _takes(reader, c"]"):
        return items
    while True:
        _skip_space(reader)
        value = _read_value(reader)
        if value is _UNUSUAL:
            return _UNUSUAL
        items.append(value)
        _skip_space(reader)
        if _takes(reader, c"]"):
            return items
        if not _takes(reader, c","):
            return _UNUSUAL


cdef object _read_members(_Reader* reader):
    cdef dict members = {}
    if not _takes(reader, c"{"):
        return _UNUSUAL
    _skip_space(reader)
    if _takes(reader, c"}"):
        return members
    while True:
        _skip_space(reader)
        if reader.at[0] != c'"':
            return _UNUSUAL
        name = _read_string(reader)
        _skip_space(reader)
        if name is _UNUSUAL or not _takes(reader, c":"):
            return _UNUSUAL
        _skip_space(reader)
        value = _read_value(reader)
        if value is _UNUSUAL:
            return _UNUSUAL
        members[name] = value
        if reader.depth == 0:
            reader.members += 1
        _skip_space(reader)
        if _takes(reader, c"}"):
            return members
        if not _takes(reader, c","):
            return _UNUSUAL


cdef Py_ssize_t _count_members(bytes text) except -1:
    """Count the members of the outermost object of a JSON text, and check how deep it is nested.

    The scanner silently keeps the last of several members with the same name; the count reveals
    them. Only the outermost level is counted: colons outside of strings, one level deep. For a text
    that is not well-formed, the count is meaningless.

    :raises ValueError: if it has more than _MAX_NESTING levels.
    """
    cdef const char* data = PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t depth = 0
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
            if depth > _MAX_NESTING:
                raise ValueError(_NESTED_TOO_DEEP)
        elif byte == c"}" or byte == c"]":
            depth -= 1
        elif byte == c":" and depth == 1:
            count += 1
        index += 1
    return count


cdef object _decode_json(bytes text, Py_ssize_t* members):
    """Decode a text in UTF-8 using json, and count the members of its outermost object.

    :raises ValueError: if it is not JSON, or has more than _MAX_NESTING levels.
    """
    members[0] = _count_members(text)
    try:
        return _json_decoder.decode(text.decode())
    except RecursionError:
        # The stack may be almost full.
        raise ValueError(_NESTED_TOO_DEEP) from None


cdef object _malformed(str segment, str fault):
    return jwt.DecodeError(f"Invalid {segment} string: {fault}")


cdef dict _load_object(bytes raw, str segment):
    """Parse the JSON object in a segment (RFC 8259; RFC 7515, section 4 on duplicate names).

    A document that the reader does not handle, which includes any invalid one, is left to json.
    """
    cdef _Reader reader
    reader.at = PyBytes_AS_STRING(raw)
    reader.end = reader.at + PyBytes_GET_SIZE(raw)
    reader.depth = 0
    reader.members = 0
    try:
        _skip_space(&reader)
        value = _read_members(&reader)
        _skip_space(&reader)
        if value is _UNUSUAL or reader.at != reader.end:
            value = _decode_json(raw, &reader.members)
    except ValueError as error:
        # The text of a UnicodeDecodeError quotes a byte of the token.
        fault = "must be UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise _malformed(segment, fault) from None
    if type(value) is not dict:
        raise jwt.DecodeError(f"Invalid {segment} string: must be a json object")
    if reader.members != len(<dict>value):
        raise jwt.DecodeError(f"Invalid {segment} string: duplicate member name")
    return value


# --- Writer -------------------------------------------------------------------

cdef object _escaped = json.encoder.encode_basestring_ascii


cdef object _new_encoder(object default):
    """The C encoder of json, which JSONEncoder.encode would create again for each token.

    It is called with a value and 0, and returns the pieces of the text.
    """
    return json.encoder.c_make_encoder(None, default, _escaped, None, ":", ",", False, False, True)


@cython.final
cdef class _Writer:
    """A writer of JSON text, compact and ASCII, as json.dumps writes it.

    Values whose type is not exactly str, int, bool, None, dict or list are left to json's encoder.
    """

    cdef char* text
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    # Whether json's encoder wrote a part of it, which may have any depth.
    cdef bint is_encoded
    cdef _AppState state

    def __dealloc__(self):
        PyMem_Free(self.text)

    cdef char* room(self, Py_ssize_t size) except NULL:
        """Where to write the next ``size`` bytes, which then count as written."""
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

    cdef int add_ascii(self, str piece) except -1:
        self.add(_ascii_bytes(piece), PyUnicode_GET_LENGTH(piece))

    cdef int add_text(self, str value, char before=0, char behind=0) except -1:
        """Add a string, with a byte before and after it if that is not 0."""
        cdef const char* text
        cdef Py_ssize_t size
        cdef Py_ssize_t index
        cdef char* target
        cdef unsigned char kinds = 0
        if not PyUnicode_IS_ASCII(value):
            return self.add_escaped(value, before, behind)
        text = _ascii_bytes(value)
        size = PyUnicode_GET_LENGTH(value)
        for index in range(size):
            kinds |= _STRING_BYTES[<unsigned char>text[index]]
        if kinds:
            return self.add_escaped(value, before, behind)
        target = self.room(size + 2 + (before != 0) + (behind != 0))
        if before:
            target[0] = before
            target += 1
        target[0] = c'"'
        memcpy(target + 1, text, size)
        target[size + 1] = c'"'
        if behind:
            target[size + 2] = behind

    cdef int add_escaped(self, str value, char before, char behind) except -1:
        if before:
            self.add(&before, 1)
        self.add_ascii(_escaped(value))
        if behind:
            self.add(&behind, 1)

    cdef int add_int(self, object value) except -1:
        cdef char digits[20]
        cdef int first = 20
        cdef int overflow = 0
        cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
        cdef unsigned long long rest = number
        if overflow:
            self.add_encoded(value)
            return 0
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

    cdef int add_encoded(self, object value) except -1:
        self.is_encoded = True
        for piece in self.state.json_encoder()(value, 0):
            self.add_ascii(piece)

    cdef int add_value(self, object value, int depth) except -1:
        if type(value) is str:
            self.add_text(value)
        elif type(value) is int:
            self.add_int(value)
        elif value is True:
            self.add(b"true", 4)
        elif value is False:
            self.add(b"false", 5)
        elif value is None:
            self.add(b"null", 4)
        elif type(value) is dict and depth < _JSON_DEPTH:
            self.add_members(value, depth)
        elif type(value) is list and depth < _JSON_DEPTH:
            self.add_items(value, depth)
        else:
            self.add_encoded(value)

    cdef int add_members(self, dict members, int depth) except -1:
        cdef Py_ssize_t start = self.size
        cdef char before = c"{"
        for name, value in members.items():
            if type(name) is not str:
                # json decides which other types may be names, and how they are written.
                self.size = start
                self.add_encoded(members)
                return 0
            self.add_text(name, before, c":")
            self.add_value(value, depth + 1)
            before = c","
        self.add(b"}" if members else b"{}", 1 if members else 2)

    cdef int add_items(self, list items, int depth) except -1:
        cdef bint is_first = True
        self.add(b"[", 1)
        for value in items:
            if not is_first:
                self.add(b",", 1)
            is_first = False
            self.add_value(value, depth + 1)
        self.add(b"]", 1)


cdef bytes _dump_object(dict value, _AppState state):
    """A dict as JSON; the JSON provider of the app converts foreign types.

    :raises TypeError: if a value is not JSON serializable.
    :raises ValueError: if a value contains itself, or is nested deeper than a token may be.
    """
    cdef _Writer writer = _Writer.__new__(_Writer)
    writer.state = state
    try:
        writer.add_members(value, 0)
    except RecursionError:
        return _checked_json(value, {"separators": (",", ":"), "default": state.json_default()})
    text = PyBytes_FromStringAndSize(writer.text, writer.size)
    if writer.is_encoded:
        _count_members(text)
    return text


cdef bytes _checked_json(object value, dict arguments):
    """A value as JSON by json.dumps, which detects cycles, within our limit on nesting."""
    try:
        text = json.dumps(value, **arguments).encode()
    except RecursionError as error:
        raise ValueError(_NESTED_TOO_DEEP) from error
    _count_members(text)
    return text


# -----------------------------------------------------------------------------
# Compact JWS (RFC 7515)
# -----------------------------------------------------------------------------

# Time that the fast paths of this section save (`python benchmarks/fast_paths.py`):
#
#   base64url, for 3 KB                      7.9 us
#   headers of the last valid tokens         0.7 us

cdef const char* _B64URL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

# The bits of a character in the 24 bits of a group, by its place in the group; _NOT_B64URL for a
# byte outside of the alphabet. Four lookups and an "or" are faster than lookups and shifts.
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

    Padding, foreign bytes, a length of 1 mod 4 and set bits after the last byte are rejected, so
    that every value has exactly one encoding and no altered token can pass for the original.
    """
    cdef const unsigned char* group = <const unsigned char*>source
    cdef Py_ssize_t rest = size % 4
    cdef const unsigned char* end = group + size - rest
    cdef uint32_t bits
    cdef bytes decoded
    cdef char* target
    if rest == 1:
        raise jwt.DecodeError(f"Invalid {segment} padding")
    decoded = PyBytes_FromStringAndSize(NULL, size * 3 // 4)
    target = PyBytes_AS_STRING(decoded)
    while group < end:
        bits = (
            _B64URL_BITS[0][group[0]] | _B64URL_BITS[1][group[1]]
            | _B64URL_BITS[2][group[2]] | _B64URL_BITS[3][group[3]]
        )
        if bits >= _NOT_B64URL:
            raise jwt.DecodeError(f"Invalid {segment} padding")
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
            raise jwt.DecodeError(f"Invalid {segment} padding")
        target[0] = <char>(bits >> 16)
        if rest == 3:
            target[1] = <char>(bits >> 8)
    return decoded


# --- Tokens -------------------------------------------------------------------

@cython.final
cdef class _Header:
    """A decoded header segment. Code that may change its parameters gets a copy of them."""

    cdef bytes segment
    cdef dict parameters
    cdef object algorithm

    def __cinit__(self, bytes segment, dict parameters):
        self.segment = segment
        self.parameters = parameters
        self.algorithm = parameters.get("alg", _ABSENT)


@cython.final
cdef class _HeaderMemo:
    """The headers of the last valid tokens, so that equal ones are not decoded again.

    Nearly all tokens of a service have the same few headers, byte for byte. Only the header of a
    token with a valid signature is kept, and only with flat values, which a copy of the dict
    protects from changes by callbacks.
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


# A token is never part of a reference cycle, so the garbage collector need not track it.
@cython.final
@cython.no_gc
@cython.freelist(8)
cdef class _ParsedToken:
    """One compact JWS, split and decoded, to be verified."""

    cdef _Header header
    cdef bint is_header_new
    cdef bytes signing_input
    cdef bytes payload
    cdef bytes signature
    # The claims before verification, None if they were not read.
    cdef dict unverified
    # The result of verification.
    cdef bint is_expired
    cdef dict claims


cdef object _missing_await(str argument, object awaitable):
    """The error for a coroutine that was passed instead of its result."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
    return TypeError(f"{argument} is a {type(awaitable).__name__}: an `await` is missing before it")


cdef object _token_too_long(Py_ssize_t max_size):
    return jwt.DecodeError(f"Token is too long: at most {max_size} bytes are accepted")


cdef dict _load_header(bytes raw):
    """Parse a header, without lone surrogates, which a response or a log could not contain."""
    header = _load_object(raw, "header")
    if b"\\u" in raw and _has_lone_surrogate(header):
        raise jwt.DecodeError("Invalid header string: it holds a lone surrogate")
    return header


cdef bint _has_lone_surrogate(dict header) except -1:
    try:
        _checked_json(header, {"ensure_ascii": False})
    except UnicodeEncodeError:
        return True
    except ValueError as error:
        # The stack was almost full when the header was read, and is full now.
        raise _malformed("header", str(error)) from None
    return False


cdef int _verify_header(dict header) except -1:
    """Check ``kid`` and ``crit`` (RFC 7515, section 4.1) and reject ``b64: false`` (RFC 7797)."""
    if "kid" in header and not isinstance(header["kid"], str):
        raise jwt.InvalidTokenError("Key ID header parameter must be a string")
    critical = header.get("crit", ())
    if "crit" in header:
        if not isinstance(critical, list) or not critical:
            raise jwt.InvalidTokenError("Invalid 'crit' header: must be a non-empty list")
        for name in critical:
            if not isinstance(name, str):
                raise jwt.InvalidTokenError("Invalid 'crit' header: values must be strings")
            if name != "b64":
                raise jwt.InvalidTokenError("Unsupported critical extension")
            if name not in header:
                raise jwt.InvalidTokenError(f"Critical extension '{name}' is missing from headers")
    if header.get("b64", True) is False:
        if "b64" not in critical:
            raise jwt.InvalidTokenError(
                "The 'b64' header parameter requires 'b64' to be listed in 'crit'."
            )
        raise jwt.DecodeError(
            'It is required that you pass in a value for the "detached_payload" argument to decode '
            "a message having the b64 header set to false."
        )


cdef _ParsedToken _parse_token(object encoded, Py_ssize_t max_size, _HeaderMemo memo):
    """Split and decode a compact JWS, in PyJWT's order of checks.

    :raises jwt.DecodeError: if it is malformed, or longer than ``max_size`` bytes.
    :raises jwt.InvalidTokenError: if its header requires something that is not supported.
    """
    cdef const char* data
    cdef Py_ssize_t size
    cdef const char* first
    cdef const char* last
    cdef _ParsedToken token
    if isinstance(encoded, str):
        # A character is at least one byte, so the length alone rejects most oversized tokens.
        if len(<str>encoded) > max_size:
            raise _token_too_long(max_size)
        try:
            data = PyUnicode_AsUTF8AndSize(encoded, &size)
        except UnicodeEncodeError:
            raise jwt.DecodeError("Invalid token: it holds a lone surrogate") from None
    elif isinstance(encoded, bytes):
        data = PyBytes_AS_STRING(encoded)
        size = PyBytes_GET_SIZE(encoded)
    elif _is_awaitable(encoded):
        raise _missing_await("encoded_token", encoded)
    else:
        raise jwt.DecodeError(f"Invalid token type. Token must be a {bytes}")
    if size > max_size:
        raise _token_too_long(max_size)

    first = <const char*>memchr(data, c".", size)
    last = data + size - 1
    while last > data and last[0] != c".":
        last -= 1
    if first == NULL or first == last:
        raise jwt.DecodeError("Not enough segments")

    token = _ParsedToken.__new__(_ParsedToken)
    token.header = memo.find(data, first - data)
    if token.header is None:
        token.is_header_new = True
        token.header = _Header.__new__(
            _Header,
            PyBytes_FromStringAndSize(data, first - data),
            _load_header(_base64url_decode(data, first - data, "header")),
        )
    if token.is_header_new and token.header.parameters.get("b64", True) is False:
        if last - first > 1:
            raise jwt.DecodeError("Payload segment must be empty when 'b64' is false.")
        token.payload = b""
    else:
        token.payload = _base64url_decode(first + 1, last - first - 1, "payload")
    token.signature = _base64url_decode(last + 1, data + size - last - 1, "crypto")
    token.signing_input = PyBytes_FromStringAndSize(data, last - data)
    if token.is_header_new:
        _verify_header(token.header.parameters)
    return token


cdef dict _new_header(str algorithm, object type_, dict headers):
    """The header of a new token, sorted as in PyJWT, because the memo compares bytes."""
    header = {"alg": algorithm, "typ": type_, **headers}
    if not header["typ"]:
        del header["typ"]
    return dict(sorted(header.items()))


cdef str _encode_token(bytes header, bytes payload, _PreparedKey key):
    """Sign claims and return the compact JWS (RFC 7515, section 7.1).

    :param header: the header in JSON, None for one that only names algorithm and type.
    """
    cdef bytes segment = key.header_segment if header is None else _base64url_encode(header)
    cdef bytes signing_input
    cdef bytes signature
    cdef char* target
    cdef Py_ssize_t size
    size = PyBytes_GET_SIZE(segment) + 1 + _base64url_size(PyBytes_GET_SIZE(payload))
    signing_input = PyBytes_FromStringAndSize(NULL, size)
    target = PyBytes_AS_STRING(signing_input)
    memcpy(target, PyBytes_AS_STRING(segment), PyBytes_GET_SIZE(segment))
    target[PyBytes_GET_SIZE(segment)] = c"."
    _write_base64url(payload, target + PyBytes_GET_SIZE(segment) + 1)
    signature = key.sign(signing_input)

    token = PyUnicode_New(size + 1 + _base64url_size(PyBytes_GET_SIZE(signature)), 127)
    target = <char*>_ascii_bytes(token)
    memcpy(target, PyBytes_AS_STRING(signing_input), size)
    target[size] = c"."
    _write_base64url(signature, target + size + 1)
    return token


# -----------------------------------------------------------------------------
# Keys
# -----------------------------------------------------------------------------

# Time that the fast paths of this section save (`python benchmarks/fast_paths.py`):
#
#   HMAC, by copying a context that contains the key     1.1 us
#   ECDSA, by writing its signature in DER here          1.1 us

cdef object _compare_digest = hmac.compare_digest
# Called on each context, without a look-up of the method.
cdef object _copy_hmac = HMAC.copy
cdef object _update_hmac = HMAC.update
cdef object _finalize_hmac = HMAC.finalize

cdef dict _HMAC_DIGESTS = {
    "HS256": hashes.SHA256, "HS384": hashes.SHA384, "HS512": hashes.SHA512
}


cdef Py_ssize_t _write_der_int(const char* number, Py_ssize_t size, char* target) noexcept:
    """Write an unsigned big-endian int as a DER INTEGER (X.690, section 8.3); return its size."""
    cdef bint has_sign_bit
    while size > 1 and number[0] == 0:
        number += 1
        size -= 1
    has_sign_bit = <unsigned char>number[0] >= 0x80
    target[0] = 0x02
    target[1] = <char>(size + has_sign_bit)
    # The number is positive; a first byte of zero keeps it positive.
    target[2] = 0
    memcpy(target + 2 + has_sign_bit, number, size)
    return 2 + has_sign_bit + size


cdef bytes _der_signature(bytes raw):
    """The two halves of a JWS ECDSA signature (RFC 7518, section 3.4) as DER, for ``key.verify``.

    PyJWT converts them to two Python ints first.
    """
    cdef Py_ssize_t half = PyBytes_GET_SIZE(raw) // 2
    cdef bytes numbers = PyBytes_FromStringAndSize(NULL, 2 * (3 + half))
    cdef char* target = PyBytes_AS_STRING(numbers)
    cdef Py_ssize_t size = _write_der_int(PyBytes_AS_STRING(raw), half, target)
    size += _write_der_int(PyBytes_AS_STRING(raw) + half, half, target + size)
    # A length of 128 or more, which only P-521 has, needs a second byte (X.690, 8.1.3).
    head = b"\x30" if size < 0x80 else b"\x30\x81"
    return head + bytes((size,)) + numbers[:size]


@cython.final
cdef class _PreparedKey:
    """A key that PyJWT has parsed and approved for one algorithm, ready to verify or to sign."""

    cdef str name
    cdef object algorithm
    cdef object key
    cdef bytes header_segment
    # The kid for the header, if the key is one of JWT_KEYS.
    cdef str kid
    # HMAC only: a context that contains the key, to be copied for each token.
    cdef object hmac
    # The others: the arguments of ``key.verify`` after signature and message. PyJWT creates these
    # again for each token.
    cdef object padding
    cdef object digest
    # ECDSA only: bytes of each half of a signature (RFC 7518, section 3.4).
    cdef Py_ssize_t half
    cdef bint is_edwards
    # The signature cache: signing inputs that verified under this key, with their signatures.
    cdef dict verified
    cdef Py_ssize_t verified_size

    cdef bytes mac(self, bytes message):
        keyed = _copy_hmac(self.hmac)
        _update_hmac(keyed, message)
        return _finalize_hmac(keyed)

    cdef _PreparedKey named(self, str kid):
        """This key for signing, with its name in the header."""
        cdef _PreparedKey key = _PreparedKey.__new__(_PreparedKey)
        key.name = self.name
        key.algorithm = self.algorithm
        key.key = self.key
        key.hmac = self.hmac
        key.kid = kid
        header = json.dumps({"alg": self.name, "kid": kid, "typ": "JWT"}, separators=(",", ":"))
        key.header_segment = _base64url_encode(header.encode())
        return key

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
                # An algorithm that PyJWT did not have when this code was written.
                return self.algorithm.verify(message, self.key, signature)
        except InvalidSignature:
            return False
        return True

    cdef int prepare_verifying(self) except -1:
        """Create the arguments for verifying, as PyJWT's algorithm of the same name does."""
        algorithm_class = type(self.algorithm)
        if algorithm_class is ECAlgorithm:
            self.half = (self.key.curve.key_size + 7) // 8
            self.digest = ECDSA(self.algorithm.hash_alg())
        elif algorithm_class is RSAAlgorithm:
            self.digest = self.algorithm.hash_alg()
            self.padding = padding.PKCS1v15()
        elif algorithm_class is RSAPSSAlgorithm:
            self.digest = self.algorithm.hash_alg()
            self.padding = padding.PSS(
                mgf=padding.MGF1(self.digest), salt_length=self.digest.digest_size
            )
        self.is_edwards = algorithm_class is OKPAlgorithm


# Commands that generate a key, for the warning about a weak one.
cdef str _SECRET_COMMAND = "python -c 'import secrets; print(secrets.token_urlsafe(64))'"
cdef str _RSA_COMMAND = (
    "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out private.pem"
)


cdef str _key_fault(object key, str name, bint signing, error):
    """Why the value of an option cannot be used as a key, without showing it."""
    kind = "private" if signing else "public"
    if isinstance(key, (str, bytes)):
        if name in _SYMMETRIC or "parse" not in str(error):
            return str(error)
        return f"it cannot be read as a {kind} key in PEM, which begins with -----BEGIN"
    if isinstance(key, (bool, dict, jwt.PyJWK)) or hasattr(key, "sign") or hasattr(key, "verify"):
        return str(error)
    remedy = "it must be text, bytes, a JWK (a dict or a PyJWK) or a key object of cryptography"
    if isinstance(key, int):
        remedy = "from_prefixed_env converts digits to a number: put quotes around them"
    elif isinstance(key, (tuple, list)):
        remedy = "a comma after the value makes a tuple"
    elif isinstance(key, os.PathLike):
        remedy = "pass the content of the file, using read_text()"
    elif hasattr(key, "get_secret_value"):
        remedy = "pass the result of its get_secret_value()"
    return f"it is of type {type(key).__name__}: {remedy}"


cdef object _key_material(object key, str name, bint signing):
    """The key in a JWK (RFC 7517), or in a certificate if it must verify; other keys unchanged.

    :raises jwt.InvalidKeyError: if the JWK or the certificate cannot be used with this algorithm.
    """
    if isinstance(key, dict):
        try:
            key = jwt.PyJWK(_in_base64url(key), name)
        except jwt.PyJWTError as error:
            raise jwt.InvalidKeyError(
                f"it is not a valid JWK for {name} ({type(error).__name__})"
            ) from None
    if isinstance(key, jwt.PyJWK):
        if key.algorithm_name != name:
            raise jwt.InvalidKeyError(f"it is a JWK for {key.algorithm_name}")
        return key.key
    if isinstance(key, Certificate):
        return key.public_key()
    if isinstance(key, (str, bytes)) and name not in _SYMMETRIC and not signing:
        text = key.encode("utf-8", "replace") if isinstance(key, str) else key
        if b"-----BEGIN CERTIFICATE-----" in text:
            try:
                return load_pem_x509_certificate(text).public_key()
            except ValueError:
                raise jwt.InvalidKeyError("it is a certificate that cannot be read") from None
    return key


# The members of a JWK that contain bytes (RFC 7518, section 6).
cdef frozenset _ENCODED_MEMBERS = frozenset(
    ("n", "e", "d", "p", "q", "dp", "dq", "qi", "x", "y", "k")
)


cdef dict _in_base64url(object jwk):
    """A JWK, which may be of a subclass of dict, in the base64url alphabet of its RFC.

    PyJWT also reads the alphabet of plain base64 as long as Python does; 3.15 deprecates that.
    """
    members = {name: jwk[name] for name in jwk}
    for name in _ENCODED_MEMBERS.intersection(members):
        if isinstance(members[name], str):
            members[name] = members[name].replace("+", "-").replace("/", "_")
    return members


cdef _PreparedKey _prepare_configured(
    _AppState state, _Settings settings, object key, str option, str name, bint signing
):
    """Prepare the key of an option.

    :raises RuntimeError: if it cannot be used with this algorithm; the text has the reason.
    """
    cdef Py_ssize_t cache_size = 0 if signing else settings.signature_cache_size
    try:
        return state.keys.get(_key_material(key, name, signing), name, signing, cache_size)
    except jwt.InvalidKeyError as error:
        fault = _key_fault(key, name, signing, error)
        raise RuntimeError(f"{option} cannot be used with {name}: {fault}") from None


cdef _PreparedKey _prepare_key(object key, str name, bint signing, Py_ssize_t cache_size):
    """Let PyJWT parse and check a key for an algorithm.

    :raises jwt.InvalidKeyError: if the key does not fit the algorithm; the text contains no key
        material.
    """
    cdef _PreparedKey prepared = _PreparedKey.__new__(_PreparedKey)
    algorithm = _ALGORITHMS[name]
    if name in _SYMMETRIC and isinstance(key, (str, bytes)) and not key.strip():
        # It counts as empty: a line without a value in a file leaves only white space.
        key = ""
    try:
        material = algorithm.prepare_key(key)
        weakness = algorithm.check_key_length(material)
    except jwt.InvalidKeyError as error:
        text = str(error)
        if " at 0x" in text:
            # PyJWT's text about a key of another kind shows the address of a generator.
            text = f"The key cannot be used with {name} (InvalidKeyError)"
        raise jwt.InvalidKeyError(text) from None
    except (TypeError, ValueError, AttributeError, UnsupportedAlgorithm) as error:
        # Their texts may quote the key, so only the type of the error is passed on.
        raise jwt.InvalidKeyError(
            f"The key cannot be used with {name} ({type(error).__name__})"
        ) from None
    if weakness:
        command = _RSA_COMMAND if name not in _SYMMETRIC else _SECRET_COMMAND
        weakness = f"{weakness} Generate a key with: {command}"
        _logger.warning("Weak key: %s", weakness)
        warnings.warn(weakness, InsecureKeyLengthWarning)
    prepared.name = name
    prepared.algorithm = algorithm
    header = json.dumps({"alg": name, "typ": "JWT"}, separators=(",", ":"))
    prepared.header_segment = _base64url_encode(header.encode())
    if name in _SYMMETRIC:
        prepared.hmac = HMAC(material, _HMAC_DIGESTS[name]())
        return prepared
    if signing:
        if not hasattr(material, "sign"):
            raise jwt.InvalidKeyError(f"A private key is needed to sign with {name}")
    elif not hasattr(material, "verify"):
        # PyJWT verifies with the public half of EC and EdDSA private keys, and fails on RSA ones.
        if name[:2] in ("RS", "PS"):
            raise jwt.InvalidKeyError(f"A public key is needed to verify {name}")
        material = material.public_key()
    prepared.key = material
    if not signing:
        prepared.prepare_verifying()
        if cache_size:
            prepared.verified = {}
            prepared.verified_size = cache_size
    return prepared


@cython.final
cdef class _KeyCache:
    """Prepared keys of one app; its size is limited, and the oldest key is dropped first.

    The cache key is the exact type and value (of an opaque key object: the object itself) with the
    algorithm and the use, so a changed key is another key. The keys in options are also kept in
    ``_Settings.verifying_keys``, which is read first. Every step is a single operation on the dict,
    so concurrent threads prepare a key twice at worst.
    """

    cdef dict keys

    def __cinit__(self):
        self.keys = {}

    cdef _PreparedKey get(self, object key, str name, bint signing, Py_ssize_t cache_size):
        if _is_symmetric(name):
            # A secret both signs and verifies, and its signatures are not worth caching.
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
        # The key itself is stored, too, so that no other object can get its id. If another thread
        # was faster, all use its prepared key, with one signature cache.
        found = self.keys.setdefault(cache_key, (key, prepared))
        return <_PreparedKey>(<tuple>found)[1]


cdef str _missing_key(str name, str option):
    if option == "JWT_SECRET_KEY":
        return (
            f'JWT_SECRET_KEY or SECRET_KEY must be set to use the symmetric algorithm "{name}" '
            "(only JWT_SECRET_KEY if asymmetric algorithms are also allowed)"
        )
    return f'{option} must be set to use the asymmetric algorithm "{name}"'


cdef tuple _configured(_Settings settings, str name, bint signing):
    """The option with the key for an algorithm, and the key, which may be None."""
    if _is_symmetric(name):
        return "JWT_SECRET_KEY", settings.secret_key
    if signing:
        return "JWT_PRIVATE_KEY", settings.private_key
    return "JWT_PUBLIC_KEY", settings.public_key


cdef bint _serves_another(_AppState state, _Settings settings, str name) except -1:
    """Whether a configured key fits an allowed algorithm other than ``name``."""
    for other in settings.decode_algorithms:
        if other == name:
            continue
        try:
            _configured_key(state, settings, other, False)
        except RuntimeError:
            continue
        return True
    return False


cdef _PreparedKey _configured_key(_AppState state, _Settings settings, str name, bint signing):
    """Prepare the configured key for an algorithm, according to its family.

    :raises RuntimeError: if it is not set, or cannot be used.
    """
    option, key = _configured(settings, name, signing)
    if key is None:
        raise RuntimeError(_missing_key(name, option))
    return _prepare_configured(state, settings, key, option, name, signing)


cdef _PreparedKey _configured_verifying_key(_AppState state, _Settings settings, str name):
    """The prepared key of the configuration that verifies ``name``, which is an allowed algorithm.

    :raises jwt.InvalidAlgorithmError: if no configured key fits the allowed algorithm that the
        token chose, but another allowed algorithm has one, or only issuers are trusted.
    :raises RuntimeError: if no allowed algorithm has a usable key, or the key of the app's own
        algorithm is unusable.
    """
    prepared = settings.verifying_keys.get(name)
    if prepared is not None:
        return <_PreparedKey>prepared
    try:
        prepared = _configured_key(state, settings, name, False)
    except RuntimeError:
        # An unusable key of the app's own algorithm is never the token's fault.
        is_set = _configured(settings, name, False)[1] is not None
        misconfigured = is_set and name == settings.algorithm
        # A service that only accepts tokens of trusted issuers needs no key of its own.
        trusts_others = not is_set and len(state.callbacks.issuers) > 0
        if not misconfigured and (trusts_others or _serves_another(state, settings, name)):
            raise jwt.InvalidAlgorithmError("The specified alg value is not allowed") from None
        raise
    settings.verifying_keys[name] = prepared
    return <_PreparedKey>prepared


cdef _PreparedKey _chosen_verifying_key(
    _AppState state, _Settings settings, object key, str name
):
    """Prepare the key that a decode_key_loader returned for a token.

    :raises jwt.InvalidTokenError: if it cannot verify a token of this algorithm.
    """
    if type(key) is not str and isinstance(key, jwt.PyJWK):
        if key.algorithm_name != name:
            raise jwt.InvalidAlgorithmError(
                f"Token algorithm '{name}' does not match the key's algorithm "
                f"'{key.algorithm_name}'"
            )
        key = key.key
    if key is None:
        raise _UnusableKeyError("No key for this token")
    try:
        return state.keys.get(key, name, False, settings.signature_cache_size)
    except jwt.InvalidKeyError as error:
        raise _UnusableKeyError(str(error)) from None


cdef _PreparedKey _signing_key(_AppState state, _Settings settings, object key, str name):
    """Prepare the key that encode_key_loader returned; without a loader, the configured key."""
    if state.callbacks.encode_key is None:
        if settings.ring is not None:
            prepared = _ring_signing_key(state, settings)
            if prepared is not None:
                return prepared
        # The key for the app's own algorithm, even if a header names another one: it may not fit.
        option, key = _configured(settings, settings.algorithm, True)
        if key is None and settings.ring is not None:
            raise RuntimeError(f"No key of JWT_KEYS can sign, and {option} is not set")
        if key is None:
            raise RuntimeError(_missing_key(settings.algorithm, option))
        return _prepare_configured(state, settings, key, option, name, True)
    try:
        return state.keys.get(key, name, True, 0)
    except jwt.InvalidKeyError as error:
        raise RuntimeError(
            f"The key from encode_key_loader cannot be used with {name}: {error}"
        ) from None


# --- Keys by name -------------------------------------------------------------

# The members that the dict of a key in JWT_KEYS may have.
cdef tuple _RING_MEMBERS = ("key", "algorithm", "sign_from", "verify_until")

# For each curve, by its name in cryptography: its name in a JWK, and the algorithms that use it.
cdef dict _CURVES = {
    "secp256r1": ("P-256", ("ES256",)),
    "secp384r1": ("P-384", ("ES384",)),
    # PyJWT has a second name for one algorithm.
    "secp521r1": ("P-521", ("ES512", "ES521")),
    "secp256k1": ("secp256k1", ("ES256K",)),
}
cdef tuple _RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

# For each type of JWK, and for EC by its curve: an algorithm whose reader accepts it.
cdef dict _JWK_READERS = {"oct": "HS256", "RSA": "RS256", "OKP": "EdDSA"}
cdef dict _JWK_CURVES = {curve: names[0] for curve, names in _CURVES.values()}

cdef tuple _PRIVATE_KEYS = (
    rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
cdef tuple _PUBLIC_KEYS = (
    rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey
)


@cython.final
cdef class _RingKey:
    """One key of JWT_KEYS: read, bound to its algorithm, and prepared on first use."""

    cdef readonly str kid, algorithm
    cdef frozenset allowed
    # The key that verifies, and the key that signs (None for a public key); the same for a secret.
    cdef object public, private
    cdef bint is_secret
    # POSIX seconds, or None.
    cdef readonly object sign_from, verify_until
    cdef _PreparedKey verifying, signing
    # JWT_SIGNATURE_CACHE_SIZE when it was prepared.
    cdef Py_ssize_t cache_size
    cdef dict jwk

    cdef bint has_ended(self, double now) except -1:
        return self.verify_until is not None and self.verify_until <= now

    cdef _PreparedKey prepared(self, _AppState state, _Settings settings, bint signing):
        """This key, ready to verify or to sign.

        :raises RuntimeError: if PyJWT rejects it; the text has the reason.
        """
        if signing and self.signing is None:
            self.signing = _prepare_configured(
                state, settings, self.private, _ring_name(self.kid), self.algorithm, True
            ).named(self.kid)
        if signing:
            return self.signing
        if self.verifying is None or self.cache_size != settings.signature_cache_size:
            self.verifying = _prepare_configured(
                state, settings, self.public, _ring_name(self.kid), self.algorithm, False
            )
            self.cache_size = settings.signature_cache_size
        return self.verifying

    cdef dict public_jwk(self):
        if self.jwk is None:
            self.jwk = _public_jwk(self.public, self.kid, self.algorithm)
        return dict(self.jwk)


cdef str _ring_name(str kid):
    return f"JWT_KEYS[{json.dumps(kid)}]"


cdef object _copied(object value, int depth):
    """A copy of the parts of a value that may change in place, down to a depth."""
    if depth and isinstance(value, dict):
        return {name: _copied(member, depth - 1) for name, member in list(value.items())}
    if depth and isinstance(value, list):
        return [_copied(item, depth - 1) for item in list(value)]
    return value


cdef bint _is_unchanged(object value, object copy, int depth) except -1:
    """Whether a value has not changed since _copied copied it.

    A foreign object is compared by its identity, because its comparison may do anything.
    """
    if value is copy:
        return True
    if depth and type(copy) is dict:
        if not isinstance(value, dict) or len(value) != len(copy):
            return False
        for name, member in (<dict>copy).items():
            if not _is_unchanged((<dict>value).get(name, _ABSENT), member, depth - 1):
                return False
        return True
    if depth and type(copy) is list:
        if not isinstance(value, list) or len(value) != len(copy):
            return False
        for before, now in zip(copy, value):
            if not _is_unchanged(now, before, depth - 1):
                return False
        return True
    return type(value) is type(copy) and type(copy) in (str, bytes, int, float) and value == copy


cdef dict _new_ring(dict given, _Settings settings, str accepts):
    """The keys of JWT_KEYS by kid.

    :raises RuntimeError: if keys are invalid; the text has the reason for each.
    """
    cdef dict ring = {}
    cdef list faults = []
    if not given:
        raise _wrong_option("JWT_KEYS", accepts)
    for kid, entry in given.items():
        if not isinstance(kid, str) or not kid or _has_lone_surrogate({"kid": kid}):
            raise _wrong_option("JWT_KEYS", accepts)
        kid = _plain_text(kid)
        try:
            key = _known_ring_key(kid, entry, settings)
            ring[kid] = _new_ring_key(kid, entry, settings.algorithm) if key is None else key
        except jwt.InvalidKeyError as error:
            faults.append(f"{_ring_name(kid)} cannot be used: {error}")
        except RuntimeError as error:
            faults.append(str(error))
    starts = {}
    for kid, key in sorted(ring.items()):
        moment = (<_RingKey>key).sign_from
        if moment is not None and starts.setdefault(moment, kid) != kid:
            faults.append(
                f'{_ring_name(starts[moment])} and {_ring_name(kid)} have the same "sign_from": '
                "only one key can sign at a time"
            )
    if faults:
        error = RuntimeError("\n".join(faults))
        error.option = "JWT_KEYS"
        error.is_complete = True
        raise error
    return ring


cdef _RingKey _known_ring_key(str kid, object entry, _Settings settings):
    """The key of the previous snapshot if it has not changed, since reading it is slow; or None."""
    cdef _Settings previous = settings.previous
    if previous is None or previous.ring is None or previous.algorithm != settings.algorithm:
        return None
    if not _is_unchanged(entry, (<dict>previous.ring_copy).get(kid, _ABSENT), _RING_DEPTH - 1):
        return None
    return previous.ring[kid]


cdef list _sorted_starts(dict ring):
    """The keys that have a ``sign_from``, the earliest first."""
    keys = [key for key in ring.values() if (<_RingKey>key).sign_from is not None]
    return sorted(keys, key=operator.attrgetter("sign_from"))


cdef _RingKey _new_ring_key(str kid, object entry, str configured):
    """Read one key of JWT_KEYS.

    :raises jwt.InvalidKeyError: if the key cannot be used.
    :raises RuntimeError: if something other than the key is invalid.
    """
    cdef _RingKey key = _RingKey.__new__(_RingKey)
    where = _ring_name(kid)
    options = {"key": entry}
    if isinstance(entry, dict) and "kty" in entry:
        for name in _RING_MEMBERS:
            if name in entry:
                raise RuntimeError(
                    f'{where} must be a JWK, or a dict that contains the JWK as "key": it has both '
                    f'"kty" and "{name}"'
                )
    elif isinstance(entry, dict):
        if "key" not in entry:
            raise RuntimeError(f'{where} must have a "key", or be a JWK, which has "kty"')
        for name in entry:
            if name not in _RING_MEMBERS:
                raise RuntimeError(
                    f'{where} must not have members other than {", ".join(_RING_MEMBERS)}'
                )
        options = entry
    key.kid = kid
    key.sign_from = _read_moment(options, where, "sign_from")
    key.verify_until = _read_moment(options, where, "verify_until")
    given = options.get("algorithm")
    if given is not None:
        given = _known_algorithm(given, f'{where}["algorithm"]')
    own = None
    if isinstance(options["key"], dict) or isinstance(options["key"], jwt.PyJWK):
        own = _verified_jwk(options["key"], kid)
    secret, key.private, key.public = _split_key(options["key"])
    key.is_secret = secret is not None
    if key.is_secret:
        key.private = key.public = secret
    key.algorithm = _ring_algorithm(given, own, configured, key)
    key.allowed = frozenset((key.algorithm,))
    if isinstance(options["key"], dict):
        _apply_key_ops(key, options["key"].get("key_ops"))
    if key.sign_from is not None and key.private is None:
        raise RuntimeError(f'{where} cannot sign, so it must not have a "sign_from"')
    if (
        key.sign_from is not None and key.verify_until is not None
        and key.verify_until <= key.sign_from
    ):
        raise RuntimeError(f'{where}["verify_until"] must be later than its "sign_from"')
    return key


cdef object _read_moment(dict options, str where, str name):
    """A moment as POSIX seconds, or None."""
    value = options.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, datetime.datetime) and value.utcoffset() is not None:
            return value.timestamp()
        if type(value) in (int, float):
            # A moment outside of the range of datetime, such as infinity, could not be shown.
            datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
            return value
    except (OverflowError, ValueError, OSError):
        pass
    raise RuntimeError(
        f'{where}["{name}"] must be a datetime with a time zone, or POSIX seconds (an int or a '
        f"float), not {_shown(value)}"
    )


cdef object _verified_jwk(object key, str kid):
    """Check what a JWK (RFC 7517, section 4) says about its use; return its algorithm or None."""
    if isinstance(key, jwt.PyJWK):
        own, use, algorithm = key.key_id, key.public_key_use, key.algorithm_name
    else:
        own, use, algorithm = key.get("kid"), key.get("use"), key.get("alg")
    if own is not None and own != kid:
        raise jwt.InvalidKeyError('its own "kid" differs from its name in JWT_KEYS')
    if use is not None and use != "sig":
        raise jwt.InvalidKeyError('its "use" must be "sig"')
    if algorithm is not None and (
        not isinstance(algorithm, str) or algorithm not in _ALGORITHMS
    ):
        raise jwt.InvalidKeyError(f'its "alg" must be one of {", ".join(_ALGORITHMS)}')
    return algorithm


cdef int _apply_key_ops(_RingKey key, object operations) except -1:
    """Restrict a key to the operations that its JWK permits (RFC 7517, section 4.3)."""
    if operations is None:
        return 0
    if not isinstance(operations, (list, tuple)):
        raise jwt.InvalidKeyError('its "key_ops" must be a list')
    # The public half of a private key, whose operation is to sign, may always verify.
    can_verify = "verify" in operations or (
        not key.is_secret and key.private is not None and "sign" in operations
    )
    if not can_verify:
        raise jwt.InvalidKeyError('its "key_ops" do not permit verification')
    if "sign" not in operations:
        key.private = None


cdef tuple _split_key(object key):
    """The secret, or the private and the public half, of a key in any form.

    :raises jwt.InvalidKeyError: if it is not a key; the text contains no key material.
    """
    if isinstance(key, dict):
        key = _read_jwk(key)
    elif isinstance(key, jwt.PyJWK):
        key = key.key
    if isinstance(key, (str, bytes)):
        return _split_text(key)
    if isinstance(key, Certificate):
        key = key.public_key()
    if isinstance(key, _PRIVATE_KEYS):
        return None, key, key.public_key()
    if isinstance(key, _PUBLIC_KEYS):
        return None, None, key
    error = jwt.InvalidKeyError("no supported algorithm uses keys of this type")
    raise jwt.InvalidKeyError(_key_fault(key, "", False, error))


cdef object _read_jwk(dict jwk):
    """Read a JWK using PyJWT: a secret, or a key object of cryptography."""
    kind = jwk.get("kty")
    name = None
    if isinstance(kind, str):
        curve = jwk.get("crv")
        if kind == "EC" and isinstance(curve, str):
            name = _JWK_CURVES.get(curve)
        else:
            name = _JWK_READERS.get(kind)
    if name is None:
        raise jwt.InvalidKeyError(
            'its "kty" must be oct, RSA, EC or OKP, and the "crv" of EC one of '
            + ", ".join(_JWK_CURVES)
        )
    try:
        return _ALGORITHMS[name].from_jwk(_in_base64url(jwk))
    except (
        jwt.InvalidKeyError, KeyError, TypeError, ValueError, AttributeError, UnsupportedAlgorithm
    ) as error:
        # Their texts may quote the key.
        raise jwt.InvalidKeyError(
            f"it is not a valid JWK of the type {kind} ({type(error).__name__})"
        ) from None


cdef tuple _split_text(object key):
    cdef bytes raw = key.encode("utf-8", "replace") if isinstance(key, str) else bytes(key)
    cdef bytes data = raw.strip()
    if not data:
        raise jwt.InvalidKeyError("it is empty")
    if b"-----BEGIN" in data or data.startswith(_SSH_KEYS):
        loaded = _load_text(data)
        if loaded is None:
            raise jwt.InvalidKeyError(
                "it cannot be read as an unencrypted key in PEM, or as a public key of SSH"
            )
        return _split_key(loaded)
    # A file in DER that was read as text was decoded as Latin-1.
    if _looks_asymmetric(raw) or (
        isinstance(key, str) and _looks_asymmetric(key.encode("latin-1", "replace"))
    ):
        # As a secret, it would be known to everyone who has the public key.
        raise jwt.InvalidKeyError(
            "it is an asymmetric key in an unsupported format: use PEM, or a JWK as a dict"
        )
    return key, None, None


cdef tuple _SSH_KEYS = (b"ssh-", b"ecdsa-sha2-")
cdef object _SSH_LINE_RE = re.compile(rb"(ssh-[a-z0-9]+|ecdsa-sha2-[a-z0-9]+)[ \t]+AAAA")
# The same in the encoded part after the name, which begins with the size of the name.
cdef tuple _SSH_BLOBS = (
    b"\x00\x00\x00\x07ssh-", b"\x00\x00\x00\x0bssh-", b"\x00\x00\x00\x13ecdsa-"
)


cdef object _load_text(bytes data):
    """The key or certificate in PEM, or the public key of SSH; None if it cannot be read."""
    if b"-----BEGIN" not in data:
        loaders = (serialization.load_ssh_public_key,)
    elif b"-----BEGIN CERTIFICATE-----" in data:
        loaders = (load_pem_x509_certificate,)
    else:
        loaders = (
            lambda text: serialization.load_pem_private_key(text, None),
            serialization.load_pem_public_key,
        )
    for load in loaders:
        try:
            return load(data)
        except (TypeError, ValueError, UnsupportedAlgorithm):
            # It may be of the other kind.
            continue
    return None


cdef bint _looks_asymmetric(bytes data) except -1:
    """Whether a text given as a secret is an asymmetric key, or a JWK, in some encoding."""
    # openssl prints hex with colons.
    compact = b"".join(data.replace(b":", b"").split())
    padded = compact + b"=" * (-len(compact) % 4)
    forms = [data, data.replace(b"\x00", b"")]
    for decode in (base64.b64decode, _from_either_base64, _from_hex):
        try:
            forms.append(decode(compact if decode is _from_hex else padded))
        except ValueError:
            continue
    for form in forms:
        # RFC 4716 has a space after the dashes, and in authorized_keys options may come first.
        if b"-----BEGIN" in form or b"---- BEGIN" in form or _SSH_LINE_RE.search(form) or (
            form.startswith(_SSH_KEYS + _SSH_BLOBS)
        ):
            return True
        # JSON, or the repr of a dict.
        begin = form.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1]
        if begin in (b"{", b"[") and (b'"kty"' in form or b"'kty'" in form):
            return True
        if form[:1] == b"\x30" and _is_der(form):
            return True
    return False


def _from_either_base64(text):
    return base64.b64decode(text.replace(b"-", b"+").replace(b"_", b"/"))


def _from_hex(text):
    return bytes.fromhex(text.decode("ascii"))


cdef bint _is_der(bytes data) except -1:
    """Whether the data begins with a key or a certificate in DER."""
    if len(data) < 6:
        return False
    # The length of a SEQUENCE (X.690, section 8.1.3): this byte, or the bytes that it counts.
    count = data[1] & 0x7F if data[1] & 0x80 else 0
    if count > 4:
        return False
    size = int.from_bytes(data[2:2 + count], "big") if count else data[1]
    data = data[:2 + count + size]
    for load in (
        serialization.load_der_public_key,
        load_der_x509_certificate,
        lambda form: serialization.load_der_private_key(form, None),
    ):
        try:
            load(data)
        except ValueError:
            continue
        except (TypeError, UnsupportedAlgorithm):
            # It has a password, or is of a kind that cryptography does not support.
            return True
        return True
    return False


cdef tuple _fitting_algorithms(object public):
    """The algorithms that fit an asymmetric key, the usual one first."""
    if isinstance(public, rsa.RSAPublicKey):
        return _RSA_ALGORITHMS
    if isinstance(public, ec.EllipticCurvePublicKey):
        curve = _CURVES.get(public.curve.name)
        return () if curve is None else (<tuple>curve)[1]
    return ("EdDSA",)


cdef str _ring_algorithm(object given, object own, str configured, _RingKey key):
    """The algorithm of a key: the given one, that of its JWK, JWT_ALGORITHM, or an implied one."""
    if given is not None and own is not None and given != own:
        raise jwt.InvalidKeyError(f'its "alg" is {own}, but its "algorithm" is {given}')
    name = given or own
    if key.is_secret:
        fitting = tuple([known for known in _ALGORITHMS if _is_symmetric(known)])
        if name is None and configured not in fitting:
            raise jwt.InvalidKeyError(
                f'it is a secret and requires an "algorithm", one of {", ".join(fitting)}'
            )
        implied = configured
    else:
        fitting = _fitting_algorithms(key.public)
        if not fitting:
            raise jwt.InvalidKeyError("no supported algorithm uses its curve")
        implied = configured if configured in fitting else fitting[0]
    if name is None:
        return implied
    if name not in fitting:
        kind = "a secret" if key.is_secret else "an asymmetric key"
        raise jwt.InvalidKeyError(f"it is {kind} for {', '.join(fitting)}, not for {name}")
    return name


cdef _PreparedKey _ring_key_of(_AppState state, _Settings settings, _ParsedToken token):
    """The prepared key of JWT_KEYS that a token names; None leaves the token to the single keys.

    :raises jwt.InvalidTokenError: if there is no such key, or none for a token without ``kid``.
    """
    cdef _RingKey key
    kid = token.header.parameters.get("kid", _ABSENT)
    if kid is _ABSENT:
        _verify_algorithm(token.header.algorithm, settings.allowed_algorithms)
        if _configured(settings, token.header.algorithm, False)[1] is None:
            raise jwt.InvalidTokenError("The token has no key ID, but one of JWT_KEYS is required")
        return None
    key = settings.ring.get(kid)
    if key is None or key.has_ended(_now()):
        # The message does not show the key ID, which is text from a client.
        raise jwt.InvalidTokenError("The key ID is not one of JWT_KEYS")
    _verify_algorithm(token.header.algorithm, key.allowed)
    return key.prepared(state, settings, False)


cdef _RingKey _signer(_Settings settings, double now):
    """The key of JWT_KEYS that signs at a moment; None if none can, as in a ring of public keys.

    :raises RuntimeError: if no key is specified to sign, or the key has ended.
    """
    cdef _RingKey key
    cdef _RingKey signer = None
    if not settings.ring_signs:
        return None
    for key in settings.ring_starts:
        if key.sign_from > now:
            break
        signer = key
    if signer is None and settings.signing_key_id is not None:
        signer = settings.ring[settings.signing_key_id]
    if signer is None and settings.ring_starts:
        raise RuntimeError(
            'No key of JWT_KEYS can sign now: each "sign_from" is in the future, and '
            "JWT_SIGNING_KEY_ID is not set. Add the key that has signed so far, with "
            '"sign_from": 0'
        )
    if signer is None:
        raise RuntimeError(
            'JWT_KEYS does not specify which key signs: give a key a "sign_from", or set '
            "JWT_SIGNING_KEY_ID"
        )
    if signer.has_ended(now):
        raise RuntimeError(
            f'{_ring_name(signer.kid)} is the key that signs, but its "verify_until" has passed'
        )
    return signer


cdef _PreparedKey _ring_signing_key(_AppState state, _Settings settings):
    cdef _RingKey signer = _signer(settings, _now())
    return None if signer is None else signer.prepared(state, settings, True)


cdef int _add_ring_faults(_AppState state, _Settings settings, list faults) except -1:
    """Prepare each key of JWT_KEYS, warn about weak ones, and check which one signs."""
    cdef _RingKey key
    if settings.ring is None:
        return 0
    for key in settings.ring.values():
        for signing in (False, True):
            if signing and key.private is None:
                continue
            try:
                key.prepared(state, settings, signing)
            except RuntimeError as error:
                if str(error) not in faults:
                    faults.append(str(error))
    if state.callbacks.encode_key is None:
        try:
            _signer(settings, _now())
        except RuntimeError as error:
            faults.append(str(error))


# --- JWK Set ------------------------------------------------------------------

cdef str _base64url_text(bytes data):
    return _base64url_encode(data).decode()


cdef str _base64url_number(object number, Py_ssize_t size):
    """A number as in a JWK (RFC 7518, section 2), in ``size`` bytes, 0 for as many as needed."""
    return _base64url_text(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


cdef dict _public_members(object public):
    """The members that make up a public key in a JWK, and its thumbprint (RFC 7638, 3.2)."""
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {
            "e": _base64url_number(numbers.e, 0), "kty": "RSA", "n": _base64url_number(numbers.n, 0)
        }
    if isinstance(public, ec.EllipticCurvePublicKey):
        numbers = public.public_numbers()
        size = (public.curve.key_size + 7) // 8
        return {
            "crv": _CURVES[public.curve.name][0], "kty": "EC",
            "x": _base64url_number(numbers.x, size), "y": _base64url_number(numbers.y, size),
        }
    curve = "Ed25519" if isinstance(public, ed25519.Ed25519PublicKey) else "Ed448"
    return {"crv": curve, "kty": "OKP", "x": _base64url_text(public.public_bytes_raw())}


cdef dict _private_members(object private):
    """The members of a private key in a JWK."""
    members = _public_members(private.public_key())
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.private_numbers()
        for name, number in (
            ("d", numbers.d), ("p", numbers.p), ("q", numbers.q), ("dp", numbers.dmp1),
            ("dq", numbers.dmq1), ("qi", numbers.iqmp),
        ):
            members[name] = _base64url_number(number, 0)
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        size = (private.curve.key_size + 7) // 8
        members["d"] = _base64url_number(private.private_numbers().private_value, size)
    else:
        members["d"] = _base64url_text(private.private_bytes_raw())
    return members


cdef str _thumbprint(object public):
    """The JWK thumbprint of a public key (RFC 7638)."""
    members = json.dumps(_public_members(public), separators=(",", ":"), sort_keys=True)
    return _base64url_text(hashlib.sha256(members.encode()).digest())


cdef dict _public_jwk(object public, str kid, str algorithm):
    return {**_public_members(public), "kid": kid, "alg": algorithm, "use": "sig"}


cdef list _single_jwks(_Settings settings):
    """The JWKs of the public halves of JWT_PUBLIC_KEY and JWT_PRIVATE_KEY.

    :raises RuntimeError: if one of them cannot be read.
    """
    if settings.single_jwks is None:
        jwks = {}
        names = [settings.algorithm, *settings.decode_algorithms]
        if all([_is_symmetric(name) for name in names]):
            names = []
        for option, key in (
            ("JWT_PUBLIC_KEY", settings.public_key), ("JWT_PRIVATE_KEY", settings.private_key)
        ):
            if key is None or not names:
                continue
            try:
                public = _split_key(key)[2]
                if public is None:
                    raise jwt.InvalidKeyError("it is not an asymmetric key")
            except jwt.InvalidKeyError as error:
                raise RuntimeError(f"{option} cannot be used: {error}") from None
            fitting = _fitting_algorithms(public)
            for name in names:
                if name in fitting:
                    kid = _thumbprint(public)
                    jwks.setdefault(kid, _public_jwk(public, _own_kid(key) or kid, name))
                    break
        settings.single_jwks = list(jwks.values())
    return settings.single_jwks


cdef object _own_kid(object key):
    """The ``kid`` of a JWK, None without one."""
    kid = None
    if isinstance(key, dict):
        kid = key.get("kid")
    elif isinstance(key, jwt.PyJWK):
        kid = key.key_id
    return kid if isinstance(kid, str) else None


cdef list _published_jwks(_Settings settings, double now):
    """The public keys with which others verify tokens of the app, in the order of their names."""
    cdef _RingKey key
    jwks = {}
    for jwk in _single_jwks(settings):
        jwks[jwk["kid"]] = dict(jwk)
    for key in (settings.ring or {}).values():
        # Also before it signs, because verifiers must know it by then.
        if key.is_secret or key.has_ended(now):
            jwks.pop(key.kid, None)
        else:
            jwks[key.kid] = key.public_jwk()
    return [jwk for _, jwk in sorted(jwks.items())]


# How long clients may cache a JWK Set, in seconds.
cdef int _JWKS_MAX_AGE = 600


cdef int _jwks_max_age(_Settings settings, double now) except -1:
    """How long clients may cache the JWK Set of a moment: not beyond the end of a key in it."""
    cdef _RingKey key
    cdef double age = _JWKS_MAX_AGE
    for key in (settings.ring or {}).values():
        if key.verify_until is not None and not key.is_secret and not key.has_ended(now):
            age = min(age, key.verify_until - now)
    return max(1, <int>age)


# --- Header of a token --------------------------------------------------------

cdef int _verify_algorithm(object algorithm, frozenset allowed) except -1:
    """Check the ``alg`` of a header against the allowed ones (RFC 8725, section 3.1)."""
    if algorithm is _ABSENT:
        raise jwt.InvalidAlgorithmError("Algorithm not specified")
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise jwt.InvalidAlgorithmError("The specified alg value is not allowed")


cdef int _verify_type(dict header, frozenset accepted) except -1:
    """Check the ``typ`` of a header against JWT_DECODE_TYP (RFC 8725, section 3.11)."""
    name = header.get("typ")
    if not isinstance(name, str) or _media_type(name) not in accepted:
        raise jwt.InvalidTokenError('The "typ" header is not one that JWT_DECODE_TYP accepts')


# -----------------------------------------------------------------------------
# Trusted issuers
# -----------------------------------------------------------------------------

# The ``iss`` of a token, which is read before the signature is verified, determines which keys can
# verify it. The keys of the app are never among those of an issuer.

# In seconds: the time limit of a fetch, including discovery; the pause between two attempts; how
# long keys are fresh, by default and at least; how long they are fresh at most, and are used while
# the issuer does not respond.
cdef double _FETCH_TIMEOUT = 5.0
cdef double _FETCH_PAUSE = 30.0
cdef double _FRESH_FOR = 600.0
cdef double _FRESH_AT_LEAST = 60.0
cdef double _KEPT_FOR = 86400.0

# The maximum size of a document of an issuer, in bytes.
cdef Py_ssize_t _DOCUMENT_SIZE = 256 * 1024

# The public members of the types of key (RFC 7518, section 6; RFC 8037, section 2).
cdef dict _PUBLIC_MEMBERS = {
    "RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")
}

# A key is compromised if one of these members is published (RFC 7518, section 6).
cdef frozenset _SECRET_MEMBERS = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))

# Claims of an access token (RFC 9068, section 2.2), in addition to those that are always required.
cdef str _ACCESS_TOKEN_TYPE = "application/at+jwt"
cdef tuple _ACCESS_TOKEN_CLAIMS = ("sub", "client_id", "iat", "jti")

cdef object _MAX_AGE_RE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)


cdef inline double _ticks() except? -1:
    """Seconds of a monotonic clock."""
    return _CLOCKS["monotonic"]()


class _FetchSlip(TypeError):
    """The callback of jwks_fetch_loader returned an invalid value."""


class _FetchError(Exception):
    """A response of an issuer is unusable; the text contains nothing of the response."""

    status = 200


# --- Fetching -----------------------------------------------------------------

cdef object _status_error(int status):
    error = _FetchError(f"it responded with status {status}")
    error.status = status
    return error


cdef bint _is_loopback(str host) except -1:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


cdef object _split_url(str url):
    """The parts of a URL from which keys may be fetched, None for any other.

    It has the scheme https, or http on this machine, and neither credentials nor a fragment.
    """
    if re.fullmatch("[!-~]+", url) is None:
        return None
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port
    except ValueError:
        return None
    if not parts.hostname or "@" in parts.netloc or "#" in url or "\\" in url:
        return None
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return parts
    return None


class _Download:
    """The download of one document in a thread, using the standard library.

    Redirects are not followed (RFC 8414, section 6.2): they could lead anywhere.
    """

    def __init__(self, url):
        self.url = url
        self.socket = None
        self.is_aborted = False

    def run(self):
        """Fetch the document; return its body, and its Cache-Control header or None."""
        parts = _split_url(self.url)
        is_secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        # Without a port, an IPv6 address would be cut at its last colon.
        connection = kind(parts.hostname, parts.port or kind.default_port)
        address = (connection.host, connection.port)
        connection.sock = create_connection(address, _FETCH_TIMEOUT)
        try:
            # A second handle of the connection, because the first is unavailable while TLS begins.
            self.socket = connection.sock.dup()
            if self.is_aborted:
                raise _FetchError("it took too long to connect")
            if is_secure:
                connection.sock = ssl.create_default_context().wrap_socket(
                    connection.sock, server_hostname=connection.host
                )
            target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
            headers = {"Accept": "application/json, application/jwk-set+json"}
            connection.request("GET", target, headers={**headers, "Connection": "close"})
            response = connection.getresponse()
            if response.status != 200:
                raise _status_error(response.status)
            kind = response.headers.get_content_type()
            if kind != "application/json" and not kind.endswith("+json"):
                raise _FetchError("its response is not of the type application/json")
            if (response.headers.get("Content-Encoding") or "identity").lower() != "identity":
                raise _FetchError("its response is compressed")
            body = response.read(_DOCUMENT_SIZE + 1)
            return body, response.headers.get("Cache-Control")
        except http.client.HTTPException as error:
            # Their texts may contain received data.
            raise _FetchError(f"its response is not HTTP ({type(error).__name__})") from None
        finally:
            connection.close()
            if self.socket is not None:
                self.socket.close()

    def abort(self):
        """End a download, which may be waiting for data, by shutting down its socket."""
        self.is_aborted = True
        if self.socket is not None:
            try:
                self.socket.shutdown(SHUT_RDWR)
            except OSError:
                # It is closed already.
                return


async def _in_thread(function, *args):
    """Call a function in a thread of its own, and return its result.

    The threads of the event loop's executor may all be busy with views.
    """
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    def deliver(value, error):
        if not answer.done():
            answer.set_result((value, error))

    def run():
        try:
            outcome = (function(*args), None)
        except BaseException as error:
            # It is raised where the result is awaited; SystemExit would end the event loop there.
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                error = _FetchError(f"it raised {type(error).__name__}")
            outcome = (None, error)
        try:
            loop.call_soon_threadsafe(deliver, *outcome)
        except RuntimeError:
            # The loop has been closed, so nothing waits for the result.
            return

    _start_thread(run)
    value, error = await answer
    if error is not None:
        raise error
    return value


cdef int _start_thread(function) except -1:
    threading.Thread(target=function, name="quart-jwt-extended", daemon=True).start()


cdef object _read_document(object body):
    """The JSON object in the body of a response, as a dict; a dict is returned unchanged."""
    cdef Py_ssize_t members
    if isinstance(body, dict):
        return body
    try:
        raw = body.encode() if isinstance(body, str) else bytes(body)
        if len(raw) > _DOCUMENT_SIZE:
            raise _FetchError(f"its response is larger than {_DOCUMENT_SIZE} bytes")
        document = _decode_json(raw, &members)
    except ValueError:
        raise _FetchError("its response is not JSON") from None
    if not isinstance(document, dict):
        raise _FetchError("its response is not a JSON object")
    return document


cdef double _lifetime_of_keys(object cache_control) except -1:
    """How long keys are fresh, in seconds, from the Cache-Control header (RFC 9111, 5.2.2)."""
    found = _MAX_AGE_RE.search(cache_control) if isinstance(cache_control, str) else None
    if found is None:
        return _FRESH_FOR
    return min(max(<double>int(found[1]), _FRESH_AT_LEAST), _KEPT_FOR)


def _usable_keys(body, tuple algorithms):
    """The keys of a JWK Set (RFC 7517, section 5), prepared, by algorithm and ``kid``.

    Unusable keys are left out: symmetric and private keys, other uses, other algorithms, unknown
    types, weak or invalid keys, keys without a name, and different keys with the same name.
    """
    members = _read_document(body).get("keys")
    if not isinstance(members, list):
        raise _FetchError("its response is not a JWK Set")
    keys = {name: {} for name in algorithms}
    seen = {}
    shared = set()
    for member in members:
        for name in algorithms:
            key = _usable_key(member, name)
            if key is not None:
                if seen.setdefault((member["kid"], name), member) != member:
                    shared.add((member["kid"], name))
                keys[name][member["kid"]] = key
    for kid, name in shared:
        del keys[name][kid]
    if not any(keys.values()):
        raise _FetchError("its JWK Set contains no usable key")
    return keys


cdef _PreparedKey _usable_key(object member, str name):
    """The key in a JWK, prepared for an algorithm; None if it cannot be used with that."""
    if not isinstance(member, dict) or not isinstance(member.get("kid"), str):
        return None
    kind = member.get("kty")
    if not isinstance(kind, str) or kind not in _PUBLIC_MEMBERS:
        return None
    operations = member.get("key_ops", ["verify"])
    if (
        not _SECRET_MEMBERS.isdisjoint(member)
        or member.get("use", "sig") != "sig"
        or member.get("alg", name) != name
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    public = {part: member[part] for part in _PUBLIC_MEMBERS[kind] if part in member}
    try:
        key = _key_material(public, name, False)
        if _ALGORITHMS[name].check_key_length(key):
            return None
        return _prepare_key(key, name, False, 0)
    except (
        jwt.InvalidKeyError, TypeError, ValueError, AttributeError, OverflowError,
        UnsupportedAlgorithm,
    ):
        # Whatever is wrong with one key of an issuer, its other keys stay usable.
        return None


# --- The keys of an issuer ----------------------------------------------------

@cython.final
cdef class _Issuer:
    """A trusted issuer: the requirements for its tokens, and its keys.

    A token whose key is known never waits for the network, which is only used in tasks.
    """

    cdef str name
    cdef tuple audience, algorithms
    cdef frozenset allowed_algorithms
    # None if it is discovered.
    cdef object jwks_uri
    cdef object token_type, scope_claim, leeway
    cdef str audience_claim, identity_claim
    cdef _Callbacks callbacks
    # Prepared keys by algorithm, and there by kid, or by kid and size of the signature cache. A
    # successful fetch replaces the entire dict.
    cdef dict keys
    # Times of _ticks(): when keys are fetched in advance, when they are no longer fresh, when they
    # are no longer used; the last attempt.
    cdef double renewed_at, fresh_until, dead_at, attempted_at
    # The jwks_uri of the configuration of the issuer, and when it was read.
    cdef object discovered
    cdef double discovered_at
    # The task of the running or last fetch of an event loop; the exception of the last fetch, None
    # if it succeeded; whether a fetch is running anywhere.
    cdef object task, failure
    cdef bint is_fetching
    # A weak reference to the event loop that fetched last, to which an HTTP client in the callback
    # belongs.
    cdef object loop

    def __cinit__(self):
        self.keys = {}
        self.renewed_at = self.fresh_until = self.dead_at = -_INFINITY
        self.attempted_at = self.discovered_at = -_INFINITY

    cdef _Settings derive(self, _Settings settings):
        """The options of an app, adapted to tokens of this issuer."""
        cdef _Settings derived
        values = dict(zip(_WATCHED, settings.seen))
        if values["JWT_CSRF_HEADER_NAME"]:
            # It is deprecated; the warning was shown for the options of the app.
            for name in ("JWT_ACCESS_CSRF_HEADER_NAME", "JWT_REFRESH_CSRF_HEADER_NAME"):
                values[name] = values["JWT_CSRF_HEADER_NAME"]
            values["JWT_CSRF_HEADER_NAME"] = None
        required = ("exp",)
        if self.token_type is not None and _media_type(self.token_type) == _ACCESS_TOKEN_TYPE:
            required += _ACCESS_TOKEN_CLAIMS
        values.update({
            "JWT_DECODE_ISSUER": self.name,
            "JWT_DECODE_AUDIENCE": self.audience,
            "JWT_DECODE_TYP": self.token_type,
            "JWT_IDENTITY_CLAIM": self.identity_claim,
            # The keys of the app are not used for these tokens.
            "JWT_KEYS": None,
            "JWT_SIGNING_KEY_ID": None,
            "JWT_REQUIRED_CLAIMS": settings.required_claims + required,
        })
        if self.scope_claim is not None:
            values["JWT_SCOPE_CLAIM"] = self.scope_claim
        if self.leeway is not None:
            values["JWT_DECODE_LEEWAY"] = self.leeway
        derived = _Settings(values)
        derived.issuer = self
        derived.base = settings
        derived.audience_claim = self.audience_claim
        derived.allowed_algorithms = self.allowed_algorithms
        return derived

    # Key lookup

    cdef _PreparedKey find(self, object kid, str name, Py_ssize_t cache_size):
        """A known key that may still be used; an old one is fetched again in the background."""
        cdef double now = _ticks()
        cdef dict keys = self.keys
        if now >= self.dead_at:
            return None
        if now >= self.renewed_at and self.may_try():
            self.start()
        by_kid = keys.get(name)
        if by_kid is None:
            return None
        found = (<dict>by_kid).get(kid)
        if found is None or not cache_size:
            return found
        cached = (<dict>by_kid).get((kid, cache_size))
        if cached is None:
            # If another thread was faster, all use its prepared key, with one signature cache.
            cached = (<dict>by_kid).setdefault(
                (kid, cache_size),
                _prepare_key((<_PreparedKey>found).key, name, False, cache_size),
            )
        return cached

    cdef object key_of(self, _Settings settings, _ParsedToken token):
        """The key for a token, or an awaitable of it if it must be fetched.

        :raises jwt.InvalidTokenError: if the token names no key of the issuer.
        :raises IssuerUnavailableError: if that is unknown, because the keys are unavailable.
        """
        kid, name = self.verified_kid(settings, token), token.header.algorithm
        found = self.find(kid, name, settings.signature_cache_size)
        if found is not None:
            return found
        if self.running_task() is None and not self.may_try():
            raise self.unknown_key()
        return self.fetched_key(kid, name, settings.signature_cache_size)

    cdef _PreparedKey known_key_of(self, _Settings settings, _ParsedToken token):
        """Like key_of, for a caller that cannot wait: a missing key is fetched in the meantime."""
        kid, name = self.verified_kid(settings, token), token.header.algorithm
        found = self.find(kid, name, settings.signature_cache_size)
        if found is not None:
            return found
        if self.running_task() is None:
            if not self.may_try():
                raise self.unknown_key()
            self.start()
        raise self.unavailable()

    cdef object verified_kid(self, _Settings settings, _ParsedToken token):
        """The name of the key of a token, after its header was checked."""
        _verify_algorithm(token.header.algorithm, self.allowed_algorithms)
        if settings.decode_types is not None:
            name = token.header.parameters.get("typ")
            if not isinstance(name, str) or _media_type(name) not in settings.decode_types:
                raise jwt.InvalidTokenError('The "typ" header is not the token_type of the issuer')
        kid = token.header.parameters.get("kid")
        if kid is None:
            raise jwt.InvalidTokenError("The token has no key ID header parameter")
        return kid

    async def fetched_key(self, kid, name, cache_size):
        task = self.running_task()
        if task is None and self.may_try():
            task = self.start()
        if task is not None:
            # A cancelled request must not cancel the fetch for the others.
            await asyncio.shield(task)
        found = self.find(kid, name, cache_size)
        if found is None:
            raise self.unknown_key()
        return found

    cdef object unknown_key(self):
        cdef double now = _ticks()
        # A fetch may run in another event loop, or have ended with it.
        is_fetching = self.is_fetching and now < self.attempted_at + _FETCH_TIMEOUT
        if is_fetching or self.failure is not None or now >= self.dead_at:
            return self.unavailable()
        return jwt.InvalidTokenError("The key ID is not one of the keys of the issuer")

    cdef object unavailable(self):
        if isinstance(self.failure, _FetchSlip):
            # It is not an outage, so the application must see it.
            return TypeError(str(self.failure))
        error = IssuerUnavailableError("Token issuer unavailable")
        error.__cause__ = self.failure
        return error

    # Fetching

    cdef bint may_try(self) except -1:
        return _ticks() >= self.attempted_at + _FETCH_PAUSE

    cdef object running_task(self):
        """The running fetch that the current event loop can wait for."""
        task = self.task
        if task is None or task.done() or task.get_loop() is not _running_loop():
            return None
        return task

    cdef object start(self):
        """Fetch the keys in a separate task, or in a thread if no event loop is running."""
        loop = _running_loop()
        self.attempted_at = _ticks()
        self.is_fetching = True
        if loop is None:
            loop = None if self.loop is None else self.loop()
            if loop is not None and loop.is_running():
                loop.call_soon_threadsafe(self.run_fetch, loop)
            else:
                _start_thread(lambda: asyncio.run(self.fetch()))
            return None
        self.loop = weakref.ref(loop)
        return self.run_fetch(loop)

    def run_fetch(self, loop):
        # In an empty context: the context of a request would be kept in memory until the end.
        self.task = Context().run(loop.create_task, self.fetch())
        return self.task

    async def fetch(self):
        """Replace the keys with those that the issuer publishes now, or store the failure."""
        cdef double began = self.attempted_at
        # In a separate task: a callback may raise CancelledError, or ignore its cancellation.
        loading = asyncio.ensure_future(self.load())
        loading.add_done_callback(_note_outcome)
        try:
            await asyncio.wait([loading], timeout=_FETCH_TIMEOUT)
        except asyncio.CancelledError:
            # The event loop ends, so this does not count as an attempt.
            loading.cancel()
            if self.attempted_at == began:
                self.attempted_at = -_INFINITY
                self.is_fetching = False
            raise
        try:
            if not loading.done():
                loading.cancel()
                raise asyncio.TimeoutError
            if loading.cancelled():
                raise _FetchError("it was cancelled")
            keys, lifetime = loading.result()
        except Exception as error:
            # Whatever is wrong with an issuer, its known keys stay usable.
            self.discovered = None
            if self.failure is None:
                is_told = isinstance(error, _FetchError)
                _logger.error(
                    "The keys of %s could not be fetched: %s", self.name, _fetch_fault(error),
                    exc_info=None if is_told else error,
                )
            self.failure = error
            self.is_fetching = False
            return
        now = _ticks()
        self.keys = keys
        self.renewed_at = now + 0.8 * lifetime
        self.fresh_until = now + lifetime
        self.dead_at = now + _KEPT_FOR
        if self.failure is not None:
            _logger.warning("The keys of %s can be fetched again", self.name)
        self.failure = None
        self.is_fetching = False

    async def load(self):
        uri = self.jwks_uri
        if uri is None:
            if self.discovered is None or _ticks() >= self.discovered_at + _KEPT_FOR:
                self.discovered = await self.discover()
                self.discovered_at = _ticks()
            uri = self.discovered
        body, cache_control = await self.get(uri)
        keys = await _in_thread(_usable_keys, body, self.algorithms)
        return keys, _lifetime_of_keys(cache_control)

    async def discover(self):
        """The ``jwks_uri`` of the issuer (OpenID Connect Discovery, section 4; RFC 8414)."""
        parts = _split_url(self.name)
        path = parts.path.rstrip("/")
        origin = f"{parts.scheme}://{parts.netloc}"
        try:
            body, _ = await self.get(f"{origin}{path}/.well-known/openid-configuration")
        except _FetchError as error:
            if error.status != 404:
                raise
            # RFC 8414, section 3.1, has the path at the end.
            body, _ = await self.get(f"{origin}/.well-known/oauth-authorization-server{path}")
        document = _read_document(body)
        if document.get("issuer") != self.name:
            raise _FetchError("its configuration names another issuer")
        uri = document.get("jwks_uri")
        parts = _split_url(uri) if isinstance(uri, str) else None
        # Only an issuer on this machine may name a URL with http, which is on this machine, too.
        if parts is None or (parts.scheme == "http" and not self.name.startswith("http://")):
            raise _FetchError("its configuration has no jwks_uri with https")
        return uri

    async def get(self, url):
        """The body of a document and its Cache-Control header, which may be None."""
        callback = self.callbacks.jwks_fetch
        if callback is None:
            download = _Download(url)
            try:
                return await _in_thread(download.run)
            finally:
                download.abort()
        if inspect.iscoroutinefunction(callback):
            answer = await callback(url)
        else:
            # It may block.
            answer = await _settled(await _in_thread(callback, url))
        if answer is None:
            raise _status_error(404)
        headers = {}
        if isinstance(answer, tuple) and len(answer) == 2:
            answer, headers = answer
        if not isinstance(answer, (str, bytes, dict)) or not hasattr(headers, "items"):
            raise _FetchSlip(
                "The callback of jwks_fetch_loader must return the body of the response (bytes, "
                "str or a dict), a tuple of the body and the headers, or None"
            )
        values = [value for name, value in headers.items() if name.lower() == "cache-control"]
        return answer, values[0] if values else None


cdef str _fetch_fault(error):
    """Why a fetch failed, without any received data."""
    if isinstance(error, asyncio.TimeoutError):
        return f"it took longer than {_FETCH_TIMEOUT:.0f} seconds"
    return str(error) if isinstance(error, (_FetchError, _FetchSlip)) else type(error).__name__


def _note_outcome(loading):
    """Retrieve the exception of a task, so that the event loop does not log it as unretrieved."""
    if not loading.cancelled():
        loading.exception()


cdef object _running_loop():
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


# --- The issuer of a token ----------------------------------------------------

cdef _Settings _settings_for(_AppState state, _Settings settings, _ParsedToken token):
    """The options for a token: those of the app, or of the trusted issuer that it names.

    Unreadable claims name no issuer; the error is raised only after all other checks.
    """
    if not state.callbacks.issuers:
        return settings
    try:
        token.unverified = _load_object(token.payload, "payload")
    except jwt.DecodeError:
        return settings
    return _settings_of_issuer(state, settings, token.unverified)


cdef _Settings _settings_of_issuer(_AppState state, _Settings settings, dict claims):
    cdef _Issuer issuer
    if settings.issuer is not None:
        settings = settings.base
    name = claims.get("iss")
    if not isinstance(name, str):
        return settings
    derived = settings.by_issuer.get(name)
    if derived is None:
        if len(settings.by_issuer) == len(state.callbacks.issuers):
            return settings
        found = state.callbacks.issuers.get(name)
        if found is None:
            return settings
        issuer = (<object>found)._issuer
        derived = settings.by_issuer.setdefault(name, issuer.derive(settings))
    return <_Settings>derived


# --- Public view --------------------------------------------------------------

class TrustedIssuer:
    """The state of a trusted issuer, in :attr:`JWTManager.issuers`, for health checks.

    :meth:`JWTManager.trust_issuer` creates it.
    """

    def __repr__(self):
        return f"<TrustedIssuer {self.name!r}>"

    @property
    def name(self):
        """The name of the issuer, which its tokens have in ``iss`` (str)."""
        cdef _Issuer issuer = self._issuer
        return issuer.name

    @property
    def is_fresh(self):
        """Whether the last fetched keys are still within their lifetime (bool)."""
        cdef _Issuer issuer = self._issuer
        return _ticks() < issuer.fresh_until

    @property
    def key_ids(self):
        """The ``kid`` of each key that currently verifies tokens (sorted tuple of str)."""
        cdef _Issuer issuer = self._issuer
        if _ticks() >= issuer.dead_at:
            return ()
        by_kid = issuer.keys.values()
        return tuple(sorted({kid for keys in by_kid for kid in list(keys) if type(kid) is str}))

    @property
    def last_error(self):
        """The reason why the last fetch failed (str), None if it succeeded or there was none.

        It contains no data that the issuer has sent.
        """
        cdef _Issuer issuer = self._issuer
        return None if issuer.failure is None else _fetch_fault(issuer.failure)

    async def reload(self):
        """Fetch the keys now, or wait for the fetch that is running.

        Await it before the app serves, so that no request waits for the first fetch. It ignores
        the pause of 30 seconds between two attempts, so do not let clients trigger it.

        :raises IssuerUnavailableError: if the issuer does not respond, or its response is unusable.
        :raises TypeError: if the callback of ``jwks_fetch_loader`` returned an invalid value.
        """
        cdef _Issuer issuer = self._issuer
        await asyncio.shield(issuer.running_task() or issuer.start())
        if issuer.failure is not None:
            error = issuer.unavailable()
            if isinstance(error, IssuerUnavailableError):
                fault = _fetch_fault(issuer.failure)
                error.args = (f"The keys of {issuer.name} could not be fetched: {fault}",)
            raise error


# -----------------------------------------------------------------------------
# Claims and CSRF (RFC 7519, section 4.1)
# -----------------------------------------------------------------------------

cdef inline double _now() except? -1:
    """The POSIX time in seconds."""
    return _CLOCKS["time"]()


cdef inline object _claim(dict claims, str name):
    """The value of a claim, _ABSENT if it is missing, because null is a value."""
    cdef PyObject* value = PyDict_GetItemWithError(claims, name)
    return _ABSENT if value == NULL else <object>value


cdef bint _is_number(object value) except -1:
    """Whether a claim is a finite JSON number; True and False are not."""
    return type(value) is int or (type(value) is float and isfinite(<double>value))


cdef bint _is_after(object claim, object second) except -1:
    """Whether a time claim is after a second; fractions are cut off, as PyJWT does."""
    return (int(claim) if type(claim) is float else claim) > second


cdef bint _verify_registered_claims(
    dict claims, _Settings settings, bint allow_expired
) except? True:
    """Check the registered claims as PyJWT does, in its order and with its exceptions.

    ``exp``, ``nbf`` and ``iat`` must be finite JSON numbers, while PyJWT also accepts bools and
    numeric strings. Return True if the token has expired but is otherwise valid.
    """
    cdef double now = _now()
    cdef bint expired = False
    for name in settings.required_claims:
        if claims.get(name) is None:
            raise jwt.MissingRequiredClaimError(name)
    # Integers are compared: a double would round a claim beyond 2**53. No integer is between a
    # moment and its second, so "after the second" means the same.
    second = PyLong_FromDouble(floor(now + settings.leeway))
    claim = _claim(claims, "iat")
    if claim is not _ABSENT:
        if not _is_number(claim):
            raise jwt.InvalidIssuedAtError("Issued At claim (iat) must be an integer.")
        if _is_after(claim, second):
            raise jwt.ImmatureSignatureError("The token is not yet valid (iat)")
    claim = _claim(claims, "nbf")
    if claim is not _ABSENT:
        if not _is_number(claim):
            raise jwt.DecodeError("Not Before claim (nbf) must be an integer.")
        if _is_after(claim, second):
            raise jwt.ImmatureSignatureError("The token is not yet valid (nbf)")
    claim = _claim(claims, "exp")
    if claim is not _ABSENT and not allow_expired:
        if not _is_number(claim):
            raise jwt.DecodeError("Expiration Time claim (exp) must be an integer.")
        if settings.leeway:
            second = PyLong_FromDouble(floor(now - settings.leeway))
        expired = not _is_after(claim, second)
    _verify_issuer(claims, settings)
    _verify_audience(claims.get(settings.audience_claim), settings)
    if settings.audience_claim != "aud" and "aud" in claims:
        # A service that it does not name must reject the token (RFC 7519, section 4.1.3).
        _verify_audience(claims["aud"], settings)
    claim = _claim(claims, "sub")
    if claim is not _ABSENT and settings.verify_sub and not isinstance(claim, str):
        raise InvalidSubjectError("Subject must be a string")
    claim = _claim(claims, "jti")
    if claim is not _ABSENT and not isinstance(claim, str):
        raise InvalidJTIError("JWT ID must be a string")
    return expired


cdef int _verify_issuer(dict claims, _Settings settings) except -1:
    if settings.decode_issuer is None:
        return 0
    if "iss" not in claims:
        raise jwt.MissingRequiredClaimError("iss")
    issuer = claims["iss"]
    if not isinstance(issuer, str):
        raise jwt.InvalidIssuerError("Payload Issuer (iss) must be a string")
    if issuer not in settings.decode_issuer:
        raise jwt.InvalidIssuerError("Invalid issuer")


cdef int _verify_audience(object audience, _Settings settings) except -1:
    if settings.audience is None:
        if audience:
            raise jwt.InvalidAudienceError("Invalid audience")
        return 0
    if not audience:
        raise jwt.MissingRequiredClaimError(settings.audience_claim)
    if isinstance(audience, str):
        audience = [audience]
    if not isinstance(audience, list):
        raise jwt.InvalidAudienceError("Invalid claim format in token")
    for name in audience:
        if not isinstance(name, str):
            raise jwt.InvalidAudienceError("Invalid claim format in token")
    for name in settings.audience:
        if name in audience:
            return 0
    raise jwt.InvalidAudienceError("Audience doesn't match")


cdef int _verify_own_claims(dict claims, _Settings settings) except -1:
    """Check the claims of the extension, and add missing ones.

    The added values are the defaults of 0.1.0, for tokens of other issuers. As in 0.1.0, a
    ``fresh`` of null is accepted as not fresh.
    """
    token_type = _claim(claims, "type")
    fresh = _claim(claims, "fresh")
    if settings.identity_claim_key not in claims:
        raise JWTDecodeError(f"Missing claim: {settings.identity_claim_key}")
    if token_type is not _ABSENT and token_type not in _TYPES:
        raise JWTDecodeError("Missing or invalid claim: type")
    # NaN would always compare as fresh, and any other type would fail the comparison.
    if fresh is None:
        fresh = claims["fresh"] = False
    if fresh is not _ABSENT and type(fresh) is not bool and not _is_number(fresh):
        raise JWTDecodeError("Missing or invalid claim: fresh")
    csrf = _claim(claims, "csrf")
    if csrf is not _ABSENT and not isinstance(csrf, str):
        raise JWTDecodeError("Missing or invalid claim: csrf")
    claims.setdefault("jti", None)
    if token_type is _ABSENT:
        claims["type"] = token_type = "access"
    if fresh is _ABSENT and token_type == "access":
        claims["fresh"] = False
    if settings.user_claims_key not in claims:
        claims[settings.user_claims_key] = {}


cdef int _verify_foreign_claims(dict claims, _Settings settings) except -1:
    """Check the identity in a token of a trusted issuer, and make the token an access token.

    Claims of the extension have a meaning only in tokens of the app: an issuer, or a user who may
    set claims there, must not be able to make a token fresh, or part of a session.
    """
    # An issuer may mark its refresh tokens, whose keys and claims are the same, as this extension,
    # Simple JWT or Keycloak does.
    for name in ("type", "token_type", "typ"):
        kind = _claim(claims, name)
        if type(kind) is str and (<str>kind).lower() == "refresh":
            raise WrongTokenError(f"Only {_TYPES[_ACCESS]} tokens are allowed")
    # The others of _OWN_CLAIMS are replaced below.
    for name in ("csrf", "sid", "gen"):
        if name in claims:
            del claims[name]
    identity = claims.get(settings.identity_claim_key)
    # None stands for an anonymous request.
    if not isinstance(identity, str) or not identity:
        raise JWTDecodeError(f"Missing or invalid claim: {settings.identity_claim_key}")
    claims.setdefault("jti", None)
    claims["type"] = "access"
    claims["fresh"] = False
    claims[settings.user_claims_key] = {}


cdef dict _verify_token(
    _ParsedToken token, _PreparedKey key, _AppState state, _Settings settings, bint allow_expired
):
    """Verify a parsed token under a key, and return its claims.

    Expiry is only recorded, for _verify_expiry, so the claims that the expired_token callback
    is called with have passed every other check of the token.
    """
    if not key.is_signature(token.signing_input, token.signature):
        raise jwt.InvalidSignatureError("Signature verification failed")
    if token.is_header_new:
        state.headers.remember(token.header)
    claims = token.unverified
    if claims is None:
        claims = _load_object(token.payload, "payload")
    token.is_expired = _verify_registered_claims(claims, settings, allow_expired)
    if settings.issuer is None:
        _verify_own_claims(claims, settings)
    else:
        _verify_foreign_claims(claims, settings)
    return claims


cdef int _verify_expiry(_ParsedToken token, dict claims) except -1:
    """Raise ExpiredSignatureError, with the header and the claims, if the token has expired."""
    if token.is_expired:
        error = jwt.ExpiredSignatureError("Signature has expired")
        error.jwt_header = dict(token.header.parameters)
        error.jwt_data = claims
        raise error


# --- CSRF: the double-submit value --------------------------------------------

cdef str _MISSING_CSRF = "Missing CSRF token"


cdef int _verify_csrf(dict claims, object value) except -1:
    """Compare the value that was sent with the one in the token, in constant time."""
    expected = _csrf_claim(claims).encode("utf-8", "surrogatepass")
    if not isinstance(value, (str, bytes)):
        raise CSRFError("CSRF double submit tokens do not match")
    sent = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    if not _compare_digest(expected, sent):
        raise CSRFError("CSRF double submit tokens do not match")


cdef str _csrf_claim(dict claims):
    if "csrf" not in claims:
        raise JWTDecodeError("Missing claim: csrf")
    if not isinstance(claims["csrf"], str):
        raise JWTDecodeError("Missing or invalid claim: csrf")
    return claims["csrf"]


# -----------------------------------------------------------------------------
# Token locations
# -----------------------------------------------------------------------------

# What the fast paths of this section save, measured by `python benchmarks/fast_paths.py`:
#
#   cookie                                  16 us
#   query string                             7 us

# Each function returns the token, an awaitable of it, or _ABSENT after noting why.
#
# They read the raw data of the request and search only for the token. The result is the same as
# with the request's own headers, cookies, args and get_json(). Those are used if the input is
# unusual, or if the app's request class overrides them.

@cython.final
@cython.freelist(8)
cdef class _Search:
    """The search for the token of one request, and what else the locations have found."""

    cdef _AppState state
    cdef _Settings settings
    cdef object request
    cdef bint is_websocket
    # _ACCESS or _REFRESH: selects the cookie, the JSON key and the CSRF header.
    cdef int token_type
    # The locations without a token, and the reasons; None as long as there are none.
    cdef list without
    cdef list reasons
    # The error about a header of another scheme, raised if no other location has a token.
    cdef object foreign_header
    # The value that the client sent to match the CSRF claim. None if there is nothing to match, or
    # if the value can only be in the form, which is read after the token is verified.
    cdef object csrf_value
    cdef bint is_csrf_in_form

    cdef object miss(self, str location, str reason):
        """Note why a location has no token."""
        if self.reasons is None:
            self.without = []
            self.reasons = []
        self.without.append(location)
        self.reasons.append(reason)
        return _ABSENT

    cdef object nothing_found(self):
        """The error if no location has a token."""
        if self.foreign_header is not None:
            return self.foreign_header
        if self.reasons is None:
            # For example a WebSocket if only JSON bodies are allowed.
            return NoAuthorizationError(
                "Missing JWT: this request cannot carry a token in any of the allowed locations"
            )
        if len(self.reasons) == 1:
            return NoAuthorizationError(self.reasons[0])
        return NoAuthorizationError(
            f"Missing JWT in {', '.join(self.without[:-1])} or {self.without[-1]} "
            f"({'; '.join(self.reasons)})"
        )


cdef tuple _parts(tuple names):
    return tuple([(name, getattr(Request, name, None)) for name in names])


# The attributes that a fast path replaces, as Quart defines them.
cdef tuple _COOKIE_PARTS = _parts(("__init__", "__getattribute__", "cookies", "dict_storage_class"))
cdef tuple _QUERY_PARTS = _parts(
    ("__init__", "__getattribute__", "args", "parameter_storage_class")
)
cdef tuple _MIMETYPE_PARTS = _parts(
    ("__init__", "__getattribute__", "mimetype", "_parsed_content_type")
)
cdef tuple _JSON_PARTS = _parts(
    ("__init__", "__getattribute__", "get_data", "get_json", "is_json", "mimetype")
)


cdef bint _is_plain(object request, tuple parts) except -1:
    """Whether the class of a request does not override any of these attributes."""
    request_class = type(request)
    for name, original in parts:
        if getattr(request_class, name, None) is not original:
            return False
    return True


# --- Headers ------------------------------------------------------------------

cdef object _header_of(object headers, str field, str lower):
    """Return the first field of the name, or None, like ``headers.get`` but faster."""
    if type(headers) is not Headers:
        return headers.get(field)
    for name, value in headers:
        if len(name) == len(lower) and name.lower() == lower:
            return value
    return None


cdef object _token_from_header_fields(_Search search, str value):
    """Read a header that is not just a scheme and a token.

    As in 0.1.0, a list of credentials is searched for the first one of our scheme. White space is
    as defined in RFC 9110, section 5.6.3; str.split would also split at control characters.
    """
    cdef _Settings settings = search.settings
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
        search.foreign_header = fault
        return search.miss("headers", str(fault))
    if len(ours[0]) != 2 or [] in fields:
        raise fault
    return ours[0][1]


cdef object _token_from_headers(_Search search):
    cdef _Settings settings = search.settings
    cdef str value = _header_of(
        search.request.headers, settings.header_name, settings.header_lower
    )
    cdef str prefix = settings.bearer_prefix
    if not value:
        return search.miss("headers", f"Missing {settings.header_name} Header")
    if prefix and value[:len(prefix)].lower() == prefix:
        token = value[len(prefix):]
        if token and "," not in token and " " not in token and "\t" not in token:
            return token
    return _token_from_header_fields(search, value)


# --- Cookies ------------------------------------------------------------------

cdef int _verify_origin(object websocket, _Settings settings) except -1:
    """Reject cookies if a page of a foreign origin opened the socket (RFC 6455, section 10.2).

    CORS does not cover WebSockets, and they send no CSRF value. Only browsers send an Origin, and
    all of them do.
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
        # Behind a proxy that terminates TLS, the socket looks unencrypted, but never the reverse.
        if scheme == "http://" and websocket.scheme == "wss":
            continue
        if (
            host
            and origin.startswith(scheme)
            and origin[len(scheme):].removesuffix(port) == host.removesuffix(port)
        ):
            return 0
    error = WebSocketOriginError("The origin of the page may not open this WebSocket")
    # For the log only: a reason must not contain anything that the client wrote.
    error.origin, error.host = origin, host
    raise error


async def _csrf_value_from_form(_Search search):
    """Return the CSRF value in the form field. The token must be verified before.

    :raises CSRFError: if there is none.
    """
    field = search.settings.csrf_field_names[search.token_type]
    value = None
    try:
        value = (await search.request.form).get(field)
    except (HTTPException, ValueError) as error:
        # Quart handles 413 and 408; a body that is not a form has no value.
        if isinstance(error, HTTPException) and error.code != 400:
            raise
    if not value:
        raise CSRFError(_MISSING_CSRF)
    return value


cdef bint _has_controls(const char* at, const char* end) noexcept:
    """Whether there are control characters except for tabs, which some versions treat as space."""
    cdef unsigned char found = 0
    while at < end:
        found |= (at[0] < c" ") & (at[0] != c"\t")
        at += 1
    return found


cdef object _cookie_value(const char* at, const char* end, str name):
    """The value of a ``name=value`` pair without quotes, or None if the pair has another name."""
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(name)
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
        # Werkzeug drops such a pair since 3.1.9, and accepted it before.
        if at[0] == c" " or at[0] == c"\t":
            return _UNUSUAL
        at += 1
    return PyUnicode_FromStringAndSize(start, end - start)


cdef object _cookie_of(object headers, str name):
    """The first cookie of a name (RFC 6265, section 5.4) in the Cookie fields, or None.

    _UNUSUAL if versions of Werkzeug differ, or if the value must be decoded: a quote in this pair
    or an earlier one, white space in the value, control characters, or a field that is not ASCII.
    """
    cdef const char* at
    cdef const char* end
    cdef const char* stop
    if type(headers) is not Headers:
        return _UNUSUAL
    for field, value in headers:
        if len(field) != 6 or field.lower() != "cookie":
            continue
        if type(value) is not str or not PyUnicode_IS_ASCII(value):
            return _UNUSUAL
        at = _ascii_bytes(value)
        end = at + PyUnicode_GET_LENGTH(value)
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


cdef object _token_from_cookies(_Search search):
    cdef _Settings settings = search.settings
    request = search.request
    name = settings.cookie_names[search.token_type]
    token = _UNUSUAL
    if _is_plain(request, _COOKIE_PARTS):
        token = _cookie_of(request.headers, name)
    if token is _UNUSUAL:
        token = request.cookies.get(name)
    if not token:
        return search.miss("cookies", f'Missing cookie "{name}"')
    if search.is_websocket:
        # Instead of the double-submit check, because a browser cannot send a CSRF value here.
        _verify_origin(request, settings)
    elif settings.csrf_configured and request.method in settings.csrf_request_methods:
        search.csrf_value = _header_of(
            request.headers,
            settings.csrf_header_names[search.token_type],
            settings.csrf_headers_lower[search.token_type],
        )
        if not search.csrf_value:
            # The body is not read before the token is verified, because it may be forged.
            if not settings.csrf_check_form:
                raise CSRFError(_MISSING_CSRF)
            search.is_csrf_in_form = True
    return token


# --- Query string -------------------------------------------------------------

cdef object _parameter_of(object query, bytes name):
    """The first parameter of a name in a query string, or None.

    _UNUSUAL if something must be decoded: a name with a percent sign, the value with a percent sign
    or a plus, or bytes that are not ASCII.
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
        # Empty fields do not count; they cannot match, because the name is never empty.
        if equals - at == size and memcmp(at, PyBytes_AS_STRING(name), size) == 0:
            at = equals + 1 if equals < stop else stop
            if memchr(at, c"%", stop - at) != NULL or memchr(at, c"+", stop - at) != NULL:
                return _UNUSUAL
            return PyUnicode_FromStringAndSize(at, stop - at)
        at = stop + 1
    return None


cdef object _token_from_query_string(_Search search):
    cdef _Settings settings = search.settings
    request = search.request
    token = _UNUSUAL
    if settings.plain_query_name is not None and _is_plain(request, _QUERY_PARTS):
        token = _parameter_of(request.query_string, settings.plain_query_name)
    if token is _UNUSUAL:
        try:
            token = request.args.get(settings.query_string_name)
        except UnicodeDecodeError:
            token = None
    if not token or not token.startswith(settings.query_string_prefix):
        return search.miss(
            "query_string", f'Missing "{settings.query_string_name}" query paramater'
        )
    return token[len(settings.query_string_prefix):]


# --- JSON body ----------------------------------------------------------------

cdef bint _is_json(object request) except -1:
    """Whether the media type is application/json, without parsing its parameters if it is plain."""
    cdef str content_type
    if _is_plain(request, _MIMETYPE_PARTS):
        content_type = _header_of(request.headers, "Content-Type", "content-type")
        if not content_type:
            return False
        if content_type.partition(";")[0].strip(" \t").lower() == "application/json":
            return True
    # Some versions of Werkzeug strip more, so this may still match.
    return request.mimetype == "application/json"


cdef object _member_of_json(_Search search, object body):
    name = search.settings.json_keys[search.token_type]
    token = body.get(name, _ABSENT) if isinstance(body, dict) else _ABSENT
    if token is _ABSENT:
        return search.miss("json", f'Missing "{name}" key in json data.')
    return token


cdef object _QUART_LOADS = quart.json.loads
# Returned while the body has not arrived yet.
cdef object _COMING = object()
# Only the body class of Quart is known to allow that waiting is stopped and started again.
cdef object _Body = Request.body_class
cdef dict _NO_JSON_YET = {False: Ellipsis, True: Ellipsis}


cdef bint _has_default_json(_Search search) except -1:
    """Whether get_json() would use the json module, through Quart's default provider."""
    loads = search.request.json_module.loads
    if loads is _QUART_LOADS:
        # In Quart 0.23, requests call this function, which uses the provider of the current app.
        loads = search.state.app.json.loads
    return getattr(loads, "__func__", None) is DefaultJSONProvider.loads


cdef object _arrived_json(_Search search):
    """What get_json() would return for a body that has already arrived; None for an invalid one.

    _COMING if the body has not arrived yet, _UNUSUAL if get_json() must be called, with its
    coroutines and its timer.
    """
    cdef Py_ssize_t members
    request = search.request
    if not _is_plain(request, _JSON_PARTS):
        return _UNUSUAL
    timeout = request.body_timeout
    if (
        not _has_default_json(search)
        or type(request.body) is not _Body
        # get_json() caches its result here, and a hook may have changed it.
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
        value = _decode_json(body, &members)
    except ValueError:
        return None
    # As get_json() does, so that the view does not parse the body again.
    request._cached_json = {False: value, True: value}
    return value


async def _token_from_awaited_json(_Search search, body):
    """Wait for the body, and call get_json() if anything is unusual."""
    if body is _COMING:
        # Quart 0.23 starts the view before it receives the first message from the server, which
        # usually contains the entire body: one iteration of the loop is enough.
        await asyncio.sleep(0)
        body = _arrived_json(search)
    if body is _COMING:
        # This applies the timeout.
        await search.request.get_data()
        body = _arrived_json(search)
    if body is _UNUSUAL:
        try:
            body = await search.request.get_json(silent=True)
        except (RecursionError, ValueError):
            body = None
    return _member_of_json(search, body)


cdef object _token_from_json(_Search search):
    if not _is_json(search.request):
        return search.miss("json", "Invalid content-type. Must be application/json.")
    body = _arrived_json(search)
    if body is _UNUSUAL or body is _COMING:
        return _token_from_awaited_json(search, body)
    return _member_of_json(search, body)


# --- WebSocket ----------------------------------------------------------------

cdef object _token_from_websocket_protocol(_Search search):
    """Return the subprotocol that the client offers after JWT_WEBSOCKET_PROTOCOL."""
    name = search.settings.websocket_protocol
    offered = search.request.requested_subprotocols
    if name in offered[:-1]:
        return offered[offered.index(name) + 1]
    return search.miss("websocket_protocol", f'Missing "{name}" WebSocket subprotocol')


cdef int _answer_subprotocol(object websocket, str name) except -1:
    """Make every acceptance of a websocket select the protocol that precedes the token.

    A browser closes a socket if none of its offered subprotocols is selected, and the token must
    not be echoed. The reference to the websocket is weak, so that no cycle keeps it alive.
    """
    accept = websocket.__dict__.get("accept")
    if accept is None:
        accept = functools.partial(type(websocket).accept, weakref.proxy(websocket))
    offered = websocket.requested_subprotocols
    cdef Py_ssize_t place = offered.index(name) + 1

    async def accept_with_protocol(headers=None, subprotocol=None):
        if subprotocol is None or subprotocol == offered[place]:
            subprotocol = name
        await accept(headers, subprotocol)

    websocket.accept = accept_with_protocol
    return 0


# -----------------------------------------------------------------------------
# Verifying a request
# -----------------------------------------------------------------------------

# --- Data of a request --------------------------------------------------------

@cython.final
cdef class _VerifiedToken:
    """The verified token of a request, stored as an attribute of the request object.

    ``g`` is not used: in Quart 0.20 to 0.22, requests inside an outer app context share it, and an
    identity must never reach another request. A request that was accepted without a token has one,
    too, without claims.
    """

    cdef dict header
    cdef dict claims
    cdef object user
    cdef _Settings settings
    # The location of the token, or None.
    cdef str location
    # The rules of the route that the guard of protect() has already verified.
    cdef tuple satisfied
    # The token that the request had before, restored if a later check of this one fails.
    cdef _VerifiedToken before
    cdef bint is_rejected


cdef str _VERIFIED = "_jwt_extended"
# The last verification that failed, as another attribute of the request.
cdef str _FAILED = "_jwt_extended_failed"


@cython.final
cdef class _Failure:
    """A failed verification: the data for its response, independent of later changes.

    It is stored with the request and not with the error, since an application may raise the same
    object in several requests.
    """

    # A weak reference, to avoid a cycle of request, error, traceback and request.
    cdef object error
    # The token, if it is genuine.
    cdef _VerifiedToken rejected
    cdef _Settings settings


cdef _VerifiedToken _new_verified(dict header, dict claims, _Settings settings):
    cdef _VerifiedToken verified = _VerifiedToken.__new__(_VerifiedToken)
    verified.header = header
    verified.claims = claims
    verified.settings = settings
    verified.satisfied = ()
    return verified


cdef _Failure _new_failure(error, _Settings settings, _ParsedToken token, location):
    cdef _Failure failure = _Failure.__new__(_Failure)
    failure.error = weakref.ref(error)
    failure.settings = settings
    if token is not None and token.claims is not None:
        failure.rejected = _new_verified(token.header.parameters, token.claims, settings)
        failure.rejected.location = location
    return failure


# The token that callbacks are being called about, if it is not that of the current request: app,
# request or None, and token.
cdef object _VERIFYING = ContextVar("quart-jwt-extended.verifying", default=None)


cdef _VerifiedToken _current_token():
    """The verified token of the current request, or None. There must be an app context."""
    request = _current_request()
    verifying = get_value(_VERIFYING)
    if verifying is not None:
        app, shown_in, verified = <tuple>verifying
        # A callback may send a request itself, to this app or another one.
        if shown_in is request and app is get_value(_CV_APP).app:
            return <_VerifiedToken>verified
    if request is None:
        _current_state()
        return None
    return getattr(request, _VERIFIED, None)


# --- Checks -------------------------------------------------------------------

cdef inline bint _is_awaitable(object value):
    """Same as inspect.isawaitable, without its lookups for values that are not awaitable."""
    cdef PyAsyncMethods* methods = Py_TYPE(value).tp_as_async
    if methods != NULL and methods.am_await != NULL:
        return True
    return type(value) is _GeneratorType and inspect.isawaitable(value)


async def _settled(value):
    """Await a value, and its result, until the result is not awaitable.

    A Werkzeug proxy, which is awaitable, too, is replaced with its object.
    """
    value = _unproxied(value)
    while _is_awaitable(value):
        value = _unproxied(await value)
    return value


cdef object _unproxied(object value):
    """The object behind a Werkzeug proxy, such as the user behind ``current_user``."""
    # By its type: isinstance() would also look up the __class__ of all other values.
    while issubclass(type(value), LocalProxy):
        value = value._get_current_object()
    return value


cdef object _key_of(_AppState state, _Settings settings, _ParsedToken token):
    """The prepared key for a token, an awaitable of it, or the result of the decode_key_loader."""
    if settings.issuer is not None:
        return settings.issuer.key_of(settings, token)
    callback = state.callbacks.decode_key
    named = None
    if settings.ring is not None and callback is None:
        named = _ring_key_of(state, settings, token)
    if named is None:
        _verify_algorithm(token.header.algorithm, settings.allowed_algorithms)
    if settings.decode_types is not None:
        _verify_type(token.header.parameters, settings.decode_types)
    if named is not None:
        return named
    if callback is None:
        return _configured_verifying_key(state, settings, token.header.algorithm)
    # The callback gets copies of claims and header, so that it cannot modify the token.
    return callback(_load_object(token.payload, "payload"), dict(token.header.parameters))


cdef _PreparedKey _take_key(
    _AppState state, _Settings settings, _ParsedToken token, object key
):
    if isinstance(key, _PreparedKey):
        return <_PreparedKey>key
    return _chosen_verifying_key(state, settings, key, token.header.algorithm)


cdef str _MISSING_BLACKLIST_CALLBACK = (
    "JWT_BLACKLIST_ENABLED needs a callback: register one with token_in_blacklist_loader"
)


cdef object _ask_blacklist(
    _AppState state, _Settings settings, dict header, dict claims, str token_type
):
    """Whether a token has been revoked, or an awaitable of it."""
    cdef _Callbacks callbacks = state.callbacks
    # token_in_blocklist_loader comes from Flask-JWT-Extended, which has no option to enable it: a
    # revoked token must not be accepted because the option is missing.
    if not settings.blacklist_enabled and not callbacks.is_blocklist:
        return False
    if callbacks.token_in_blacklist is None:
        raise RuntimeError(_MISSING_BLACKLIST_CALLBACK)
    if token_type not in settings.blacklist_checks:
        return False
    return callbacks.token_in_blacklist(settings, header, claims)


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


cdef int _verify_accepted_issuer(_Settings settings, dict claims, tuple issuers) except -1:
    """Check that a route accepts the issuer of a token; a token of the app may have an iss, too."""
    for names in issuers:
        if settings.issuer is not None:
            is_accepted = settings.issuer.name in names
        else:
            is_accepted = not names or claims.get("iss") in names
        if not is_accepted:
            raise jwt.InvalidIssuerError("The endpoint does not accept tokens of this issuer")


cdef int _verify_same_holder(_Settings settings, dict claims, _VerifiedToken before) except -1:
    """Check that a token has the issuer, the identity and the session of the previous one."""
    name, name_before = settings.identity_claim_key, before.settings.identity_claim_key
    # They are compared as JSON text, because True == 1 in Python.
    if (
        claims.get("iss") != before.claims.get("iss")
        or _sorted_json(claims.get(name)) != _sorted_json(before.claims.get(name_before))
        or _sorted_json(claims.get("sid")) != _sorted_json(before.claims.get("sid"))
    ):
        raise WrongTokenError("The token belongs to another identity or session")


cdef bint _says_yes(object answer, str loader) except -1:
    """The result of a callback that accepts or rejects. Anything but a clear yes or no is a bug."""
    if answer is True:
        return True
    if answer is None or (isinstance(answer, int) and answer in (0, 1)):
        return answer == 1
    raise RuntimeError(
        f"The callback of {loader} must return True or False, not {type(answer).__name__}"
    )


cdef bint _is_fresh(dict claims) except -1:
    """Whether an access token is fresh now. Its claim is a bool, or a POSIX time as the end."""
    fresh = claims.get("fresh", False)
    if claims["type"] != "access":
        return False
    return fresh if type(fresh) is bool else fresh >= floor(_now())


# --- Rules and verification ---------------------------------------------------

# A scope-token (RFC 6749, section 3.3).
cdef object _SCOPE_RE = re.compile(r"[!#-\[\]-~]+")


cdef bint _read_rule(str argument, object value) except -1:
    if type(value) is not bool:
        raise TypeError(f"{argument} must be True or False, not {value!r}")
    return value


cdef tuple _read_rule_names(str argument, object value, str accepts):
    """One or several names, in an order that is the same in each run."""
    if isinstance(value, str):
        return (_plain_text(value),)
    names = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [None]
    if not names or not all([isinstance(name, str) for name in names]):
        raise TypeError(
            f"{argument} must be a string, or a sequence or a set of strings: {accepts}"
        )
    names = [_plain_text(name) for name in names]
    return tuple(sorted(names) if isinstance(value, (set, frozenset)) else names)


cdef object _GeneratorType = types.GeneratorType
cdef object _AsyncGeneratorType = types.AsyncGeneratorType


@cython.final
cdef class _Rules:
    """The requirements of a route for its token, checked once, when the route is decorated."""

    # The type that selects cookie and JSON key, and that the token must have unless ``any_type`` is
    # set.
    cdef int token_type
    cdef bint any_type
    cdef bint optional
    cdef bint fresh
    cdef bint skip_revocation
    # Whether a WebSocket is closed when the token ends; None: as the option of the app says.
    cdef object close_with_token
    # None: those of the app.
    cdef tuple locations
    cdef tuple scopes
    # None, or tuples of names. Each must contain the issuer; an empty one means the app itself.
    cdef tuple issuers
    # For the combined rules of a route: the rules that are satisfied if these are.
    cdef tuple satisfied

    def __cinit__(
        self, optional=False, fresh=False, refresh=False, locations=None, verify_type=True,
        skip_revocation_check=False, scopes=None, close_with_token=None, issuers=None
    ):
        self.optional = _read_rule("optional", optional)
        self.fresh = _read_rule("fresh", fresh)
        self.token_type = _REFRESH if _read_rule("refresh", refresh) else _ACCESS
        self.any_type = not _read_rule("verify_type", verify_type)
        self.satisfied = ()
        self.skip_revocation = _read_rule("skip_revocation_check", skip_revocation_check)
        if close_with_token is not None:
            self.close_with_token = _read_rule("close_with_token", close_with_token)
        if self.fresh and self.token_type == _REFRESH:
            raise ValueError("fresh and refresh cannot be combined: refresh tokens are never fresh")
        if locations is not None:
            accepts = ", ".join([f'"{name}"' for name in _LOCATIONS])
            self.locations = _read_rule_names("locations", locations, accepts)
            for name in self.locations:
                if name not in _LOCATIONS:
                    raise ValueError(f"locations must be one or several of {accepts}")
            if len(set(self.locations)) != len(self.locations):
                raise ValueError("locations must not name a location twice")
        if scopes is not None:
            is_none = isinstance(scopes, (list, tuple, set, frozenset)) and not scopes
            self.scopes = () if is_none else _read_rule_names("scopes", scopes, "scope names")
            for name in self.scopes:
                if _SCOPE_RE.fullmatch(name) is None:
                    raise ValueError(
                        "scopes must be one or several names of printable ASCII, without white "
                        'space, " and \\'
                    )
        if issuers is not None:
            is_none = isinstance(issuers, (list, tuple, set, frozenset)) and not issuers
            names = () if is_none else _read_rule_names("issuers", issuers, "issuer names")
            self.issuers = (names,)

    def __repr__(self):
        """Describe the protection of a route to people: ``fresh access token, scopes: read``."""
        words = "refresh token" if self.token_type == _REFRESH else "access token"
        if self.any_type:
            words = "access or refresh token"
        if self.fresh:
            words = f"fresh {words}"
        if self.optional:
            words = f"optional {words}"
        if self.locations is not None:
            words += f", in {' or '.join(self.locations)}"
        if self.scopes:
            words += f", scopes: {' '.join(self.scopes)}"
        if self.issuers is not None:
            named = [" or ".join(names) or "the app itself" for names in self.issuers]
            words += f", issuer: {' and '.join(named)}"
        if self.skip_revocation:
            words += ", not checked for revocation"
        if self.close_with_token:
            words += ", closed with the token"
        return words

    cdef bint closes(self, _Settings settings):
        """Whether a WebSocket is closed when its token ends."""
        if self.close_with_token is None:
            return settings.close_with_token
        return self.close_with_token

    async def verify(self, given=_ABSENT, renewed=None):
        """Verify the token of the current request or websocket: all checks, from top to bottom.

        :param given: a token to verify instead, which does not belong to a request.
        :param renewed: the _VerifiedToken whose identity, session and issuer it must have.
        :return: the _VerifiedToken, or None if the request was accepted without a token.
        """
        cdef _AppState state
        cdef _Settings settings
        cdef _Search search
        cdef _ParsedToken token = None
        cdef _VerifiedToken verified = None
        app_context = get_value(_CV_APP)
        request = location = before = verifying = None
        if given is _ABSENT:
            request = None if app_context is None else _request_in(app_context)
            if request is None:
                raise RuntimeError(
                    "Not within a request: the token is read from the current request"
                )
            before = getattr(request, _VERIFIED, None)
            if before is not None and self in (<_VerifiedToken>before).satisfied:
                # The guard of protect() has already verified these rules.
                return None
        state = _state_in(app_context)
        settings = state.settings()
        if (
            request is not None
            and request.method == "OPTIONS"
            and (settings.exempts_options or _is_left_to_quart(state.app, request))
        ):
            return None
        try:
            search = _Search.__new__(_Search)
            search.state = state
            search.settings = settings
            search.request = request
            search.token_type = self.token_type

            # Locate: the first token that is found counts.
            encoded = given
            if request is not None:
                search.is_websocket = type(request) is not Request and isinstance(
                    request, Websocket
                )
                for location in (
                    settings.token_location if self.locations is None else self.locations
                ):
                    if location == ("json" if search.is_websocket else "websocket_protocol"):
                        # A handshake has no body, and other requests have no subprotocols.
                        continue
                    try:
                        if location == "headers":
                            encoded = _token_from_headers(search)
                        elif location == "cookies":
                            encoded = _token_from_cookies(search)
                        elif location == "query_string":
                            encoded = _token_from_query_string(search)
                        elif location == "json":
                            encoded = _token_from_json(search)
                        else:
                            encoded = _token_from_websocket_protocol(search)
                        if _is_awaitable(encoded):
                            encoded = await encoded
                    except InvalidHeaderError:
                        if not self.optional:
                            raise
                        break
                    if encoded is not _ABSENT:
                        break
                if encoded is _ABSENT:
                    if not self.optional:
                        raise search.nothing_found()
                    verified = _new_verified({}, {}, settings)
                    verified.satisfied = self.satisfied
                    setattr(request, _VERIFIED, verified)
                    return None

            # Parse, find the key, verify.
            token = _parse_token(encoded, settings.max_token_size, state.headers)
            settings = _settings_for(state, settings, token)
            key = _key_of(state, settings, token)
            if _is_awaitable(key):
                key = await _settled(key)
            key = _take_key(state, settings, token, key)
            claims = _verify_token(token, key, state, settings, False)
            if search.is_csrf_in_form:
                search.csrf_value = await _csrf_value_from_form(search)
            if search.csrf_value is not None:
                _verify_csrf(claims, search.csrf_value)
            token.claims = claims
            token_type = claims["type"]
            if token_type != _TYPES[self.token_type] and not self.any_type:
                raise WrongTokenError(f"Only {_TYPES[self.token_type]} tokens are allowed")
            if self.issuers is not None:
                _verify_accepted_issuer(settings, claims, self.issuers)
            _verify_expiry(token, claims)
            if renewed is not None:
                _verify_same_holder(settings, claims, renewed)

            verified = _new_verified(token.header.parameters, claims, settings)
            verified.location = location
            if request is None or before is not None or settings.issuer is not None:
                # Callbacks must not mistake it for a token of the app, or for another token.
                verifying = _VERIFYING.set((state.app, _request_in(app_context), verified))

            # Revocation.
            if not self.skip_revocation:
                if state.store is not None:
                    answer = _verify_unrevoked(state, settings, claims)
                    if answer is not None:
                        await answer
                answer = _ask_blacklist(
                    state, settings, token.header.parameters, claims, token_type
                )
                if _is_awaitable(answer):
                    answer = await _settled(answer)
                if answer:
                    raise _revoked(state, answer)

            # Store: from here on, functions such as get_jwt() return this token.
            if request is not None:
                verified.before = getattr(request, _VERIFIED, None)
                setattr(request, _VERIFIED, verified)
            if location == "websocket_protocol":
                _answer_subprotocol(request, settings.websocket_protocol)

            # Freshness and scopes.
            if self.fresh and not _is_fresh(claims):
                raise FreshTokenRequired("Fresh token required")
            if self.scopes:
                _verify_scopes(claims, settings, self.scopes)

            # The application's own checks: claims, user.
            if state.callbacks.claims_verification is not None and (
                token_type == "access" or state.callbacks.verifies_refresh_tokens
            ):
                answer = state.callbacks.claims_verification(
                    settings, token.header.parameters, claims
                )
                if _is_awaitable(answer):
                    answer = await _settled(answer)
                if not _says_yes(answer, state.callbacks.claims_loader()):
                    raise UserClaimsVerificationError("User claims verification failed")
            if state.callbacks.user_loader is not None:
                user = state.callbacks.user_loader(settings, token.header.parameters, claims)
                if _is_awaitable(user):
                    user = await _settled(user)
                if user is None:
                    raise UserLoadError(_unknown_user(claims[settings.identity_claim_key]))
                verified.user = _no_generator(user, "the user loader")
            if token_verified.receivers:
                await _send(token_verified, state.app, {"claims": claims, "location": location})
            verified.satisfied = self.satisfied
            if search.is_websocket:
                state.watch.add_socket(request, verified, self)
            elif location == "cookies" and settings.implicit_refresh is not None:
                _renew_after(state, request, verified)
            return verified
        except BaseException as error:
            # Restore the identity that the request had before, also when it is canceled, unless
            # another verification has succeeded meanwhile. The error callback sees the token.
            if verifying is not None:
                _VERIFYING.reset(verifying)
                verifying = None
            if request is not None and verified is not None:
                verified.is_rejected = True
                if getattr(request, _VERIFIED, None) is verified:
                    setattr(request, _VERIFIED, _last_good(verified))
            if isinstance(error, (JWTExtendedException, jwt.InvalidTokenError)):
                answered = _request_in(app_context)
                if answered is not None:
                    setattr(answered, _FAILED, _new_failure(error, settings, token, location))
                await _report_rejection(
                    state.app, error, request, None if encoded is _ABSENT else location, token
                )
            raise
        finally:
            if verifying is not None:
                _VERIFYING.reset(verifying)


# The rules of a view, by the function that its decorator returned; None for a view that is exempt
# from the rules of its app. They are not an attribute of the function: functools.wraps would copy
# it to other wrappers, and some objects have any attribute.
cdef object _RULES_OF = weakref.WeakKeyDictionary()


cdef list _layers_of(object view):
    """A view and the functions that it wraps with functools.wraps, outermost first."""
    layers = []
    # Some objects have any attribute that is looked up.
    while view is not None and len(layers) < 100:
        if inspect.ismethod(view):
            view = view.__func__
        layers.append(view)
        view = getattr(view, "__wrapped__", None)
    return layers


cdef _Rules _combined(list guards, list own):
    """Combine the rules around a view: those of protect(), and those of its own decorators.

    They add up, outermost first. A view can relax them with ``optional=True``, with
    ``refresh=True``, which drops ``fresh``, and with ``scopes=()``. Contradictory rules are not
    satisfied by the result: they still verify separately, so every request is rejected.
    """
    cdef _Rules effective = _Rules()
    cdef _Rules rules
    cdef list scopes = []
    cdef bint is_refresh_view = False
    effective.optional = effective.any_type = effective.skip_revocation = True
    for rules in own or guards:
        effective.optional = effective.optional and rules.optional
    for rules in guards:
        scopes.extend([name for name in rules.scopes or () if name not in scopes])
    for rules in own:
        is_refresh_view = is_refresh_view or rules.token_type == _REFRESH
        if rules.scopes == ():
            scopes.clear()
    for rules in own:
        scopes.extend([name for name in rules.scopes or () if name not in scopes])
    effective.scopes = tuple(scopes) or None
    for rules in guards + own:
        if rules.issuers is not None:
            effective.issuers = tuple(dict.fromkeys((effective.issuers or ()) + rules.issuers))
        effective.any_type = effective.any_type and rules.any_type
        effective.skip_revocation = effective.skip_revocation and rules.skip_revocation
        if rules.close_with_token is not None:
            effective.close_with_token = rules.close_with_token
        if rules.locations is not None:
            effective.locations = rules.locations
        if rules.token_type == _REFRESH:
            effective.token_type = _REFRESH
        effective.fresh = effective.fresh or (rules.fresh and not is_refresh_view)
    # If one view has several decorators, each of them verifies, since only one might be intended.
    effective.satisfied = tuple([
        rules for rules in guards if is_refresh_view or _suits(rules, effective)
    ] + [
        rules for rules in own
        if len(own) == 1 and rules.token_type == effective.token_type
    ])
    effective.fresh = effective.fresh and effective.token_type == _ACCESS
    return effective


cdef bint _suits(_Rules guard, _Rules effective):
    """Whether a guard suits the token type of a route: only ``fresh`` binds it to a type."""
    if effective.fresh and effective.token_type == _REFRESH:
        return False
    return guard.token_type == effective.token_type or not guard.fresh


cdef _VerifiedToken _last_good(_VerifiedToken verified):
    """The last token of a request that was not rejected, or None."""
    while verified is not None and verified.is_rejected:
        verified = verified.before
    return verified


cdef object _revoked(_AppState state, object answer):
    """The error about a token that the revocation callback has rejected."""
    _no_generator(answer, state.callbacks.revocation_loader())
    return RevokedTokenError("Token has been revoked")


cdef object _no_generator(object answer, str loader):
    """The result of a callback, which must not be a generator: its body has not run yet."""
    if type(answer) is _GeneratorType or type(answer) is _AsyncGeneratorType:
        raise RuntimeError(f"The callback of {loader} must return its result, not yield it")
    return answer


cdef bint _is_left_to_quart(object app, object request) except -1:
    """Whether Quart, or quart-cors, responds to an OPTIONS request without calling a view."""
    rule = request.url_rule
    return rule is None or _has_automatic_options(app, rule)


cdef bint _has_automatic_options(object app, object rule) except -1:
    if rule.provide_automatic_options:
        return True
    for layer in _layers_of(app.view_functions.get(rule.endpoint)):
        if getattr(layer, "__globals__", {}).get("__name__") == "quart_cors":
            return inspect.getclosurevars(layer).nonlocals.get("provide_automatic_options", False)
    return False


# --- Log and signals ----------------------------------------------------------

cdef object _signals = blinker.Namespace()
token_verified = _signals.signal("token-verified")
token_refused = _signals.signal("token-refused")
token_created = _signals.signal("token-created")


async def _send(signal, app, dict values):
    """Send a signal to its receivers, plain or async, and wait for them."""
    if not signal.is_muted:
        for receiver in signal.receivers_for(app):
            await _settled(receiver(app, **values))


async def _report_rejection(app, error, request, location, _ParsedToken token):
    """Log that a token or a request is rejected, and send ``token_refused``."""
    level = logging.INFO
    code = _problem_of(error)[2]
    endpoint = getattr(request, "endpoint", None)
    kid = None if token is None else token.header.parameters.get("kid")
    reason = str(error)
    if isinstance(error, (WebSocketOriginError, TokenReusedError)):
        level = logging.WARNING
    if isinstance(error, WebSocketOriginError):
        reason = f"{reason} (page of {error.origin}, host {error.host})"
    # As reprs, since they contain text from the client: one record is one line.
    _logger.log(
        level, "Rejected: %s, endpoint %s, location %s, kid %.100r, reason %.300r",
        code, endpoint, location, kid, reason,
        extra={"jwt_code": code, "jwt_endpoint": endpoint, "jwt_location": location},
    )
    if token_refused.receivers:
        await _send(token_refused, app, {"error": error, "code": code, "location": location})


# -----------------------------------------------------------------------------
# Token store and sessions
# -----------------------------------------------------------------------------

cdef str _SESSION_ENDED = "Session has ended"
cdef str _TOKEN_REUSED = "Refresh token has been reused"
cdef str _MISSING_STORE = (
    "{name} needs a token store: pass one to JWTManager, such as token_store=MemoryTokenStore()"
)

# Seconds for which a store keeps an entry after its token and the leeway have ended, because the
# clocks of workers and store differ.
cdef double _CLOCK_MARGIN = 60.0

# The last day of datetime as POSIX time; tokens may claim a later expiry.
cdef long long _LAST_MOMENT = 253402214400

# The maximum size of the metadata of a session, in bytes.
cdef Py_ssize_t _METADATA_SIZE = 4096
# The maximum length of an identity in characters: in any script, it fits into a PostgreSQL index.
cdef Py_ssize_t _IDENTITY_SIZE = 512

# Larger numbers are not exact in Redis.
cdef long long _MAX_GENERATION = 2 ** 53

# --- The protocol -------------------------------------------------------------

Session = namedtuple(
    "Session",
    "id identity generation created_at rotated_at expires_at ends_at metadata",
    module=__name__,
)
Session.__doc__ = """One login of a user, as returned by :func:`get_sessions`.

    ``id`` is the claim ``sid`` of its tokens. ``identity`` is their identity, as JSON text unless
    it is a string. ``generation`` counts the rotations. The times are timezone-aware datetimes in
    UTC: ``created_at``, ``rotated_at`` (the last rotation), ``expires_at`` (the end unless the
    session is rotated before) and ``ends_at`` (the end in any case). The last two are None if there
    is no such end. ``metadata`` is the dict that was passed to :func:`create_session`.
    """

SessionTokens = namedtuple(
    "SessionTokens", "access_token refresh_token session_id", module=__name__
)
SessionTokens.__doc__ = """The encoded tokens of a session, and its ID.

    ``session_id`` is the claim ``sid`` of both tokens. The repr shows only the ID, so that tokens
    do not appear in logs.
    """
SessionTokens.__repr__ = lambda tokens: f"SessionTokens(session_id={tokens.session_id!r})"


class TokenStore(Protocol):
    """The protocol of a token store, which keeps sessions and revocations.

    Implement it to write your own store; subclassing is not required. Each method is async and
    commits its own changes, never as part of a transaction of the application. Times are in
    seconds, by the clock of the store. An exception from a method becomes a :exc:`TokenStoreError`,
    and the request is rejected.

    A session ends at ``expires_at`` or at ``ends_at``, the earlier of the two. It is live until
    then, unless it is revoked.
    """

    def create_session(self, session_id, identity, *, lifetime, max_age, linger, metadata):
        """Create a session with generation 0.

        :param session_id: 30 characters of base64url. The first 8 depend only on the identity.
        :param identity: the identity as text.
        :param lifetime: seconds until ``expires_at``, or None for no such end.
        :param max_age: seconds until ``ends_at``, or None for no such end.
        :param linger: seconds for which the data must be kept after the session has ended.
        :param metadata: a JSON object (dict).
        :return: the new :class:`Session`.
        """

    def rotate_session(self, session_id, generation, *, lifetime, grace, linger):
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

    def extend_session(self, session_id, *, lifetime, linger):
        """Move ``expires_at`` of a live session to a later time, never to an earlier one.

        :param session_id: the ID of the session.
        :param lifetime: as for :meth:`rotate_session`.
        :param linger: as for :meth:`create_session`.
        :return: the :class:`Session`, or None if it is not live.
        """

    def revoke_session(self, session_id):
        """Revoke a session.

        :param session_id: the ID of the session.
        :return: the :class:`Session` if it was live until now, None otherwise.
        """

    def revoke_sessions(self, identity, *, keep=None):
        """Revoke all live sessions of an identity.

        :param identity: the identity as text.
        :param keep: the ID of a session that is not revoked, or None.
        :return: the list of the sessions that this call has revoked.
        """

    def get_sessions(self, identity):
        """List the live sessions of an identity.

        :param identity: the identity as text.
        :return: a list of :class:`Session`, newest first.
        """

    def revoke_token(self, token_id, *, lifetime):
        """Revoke a token.

        :param token_id: its ``jti``, at most 64 printable ASCII characters.
        :param lifetime: seconds for which the revocation must be kept, or None to keep it forever.
        """

    def check(self, session_id, token_id):
        """Check whether a token can be accepted, in one round trip.

        :param session_id: the ID of its session, or None.
        :param token_id: as for :meth:`revoke_token`, or None.
        :return: ``"token_revoked"``, ``"session_ended"`` if the session is not live or unknown, or
            ``"live"``.
        """

    def revoked_since(self, moment):
        """List the revocations since a given time, for workers that keep them in memory.

        :param moment: the first moment to include, as POSIX time by the clock of the store; 0.0
            includes all known revocations.
        :return: a tuple of the time of this lookup, as POSIX time by the clock of the store, and a
            list of tuples: ``"session"`` or ``"token"``, the ID, and the POSIX time until which the
            entry matters (None: forever).
        """

    def purge(self):
        """Delete entries that are no longer needed.

        :return: the number of deleted entries; 0 if the store deletes them by itself.
        """


cdef tuple _STORE_METHODS = tuple([name for name in vars(TokenStore) if name[0] != "_"])


cdef object _verified_store(object store):
    if isinstance(store, type):
        raise TypeError(f"token_store must be an instance, not the class {store.__name__}")
    for name in () if store is None else _STORE_METHODS:
        method = getattr(store, name, None)
        # A subclass of the protocol has methods that do nothing.
        if not callable(method) or getattr(method, "__func__", None) is getattr(TokenStore, name):
            raise TypeError(
                "token_store must be a TokenStore or None, but "
                f"{type(store).__name__} has no method {name}"
            )
    return store


async def _stored(method, *args, **kwargs):
    """Call a method of a token store and return the result. Any exception is a TokenStoreError."""
    try:
        return await _settled(method(*args, **kwargs))
    except Exception as error:
        _logger.error("Token store unavailable: %s", type(error).__name__, exc_info=error)
        raise TokenStoreError("Token store unavailable") from error


# --- The stores ---------------------------------------------------------------

def _milliseconds(seconds):
    """Convert to whole milliseconds, which are exact in JSON, Lua and SQL."""
    return None if seconds is None else round(seconds * 1000)


def _moment(milliseconds):
    if milliseconds is None:
        return None
    return datetime.datetime.fromtimestamp(int(milliseconds) / 1000, datetime.timezone.utc)


def _earliest(*ends):
    """The earliest of several ends in milliseconds, where None means never."""
    return min((end for end in ends if end is not None), default=None)


def _later(end, lifetime, now):
    """The new idle end, which never moves backwards."""
    return None if end is None or lifetime is None else max(end, now + lifetime)


def _session(session_id, record):
    """Convert a record to a session; numbers in it may be text."""
    return Session(
        session_id,
        record["identity"],
        int(record["generation"]),
        _moment(record["created_at"]),
        _moment(record["rotated_at"]),
        _moment(record.get("expires_at")),
        _moment(record.get("ends_at")),
        json.loads(record["metadata"]),
    )


_first_of = operator.itemgetter(0)


async def _read_pages(read, moment):
    """Read the result of revoked_since() in pages, so that a long list does not block a database.

    :param read: called with a time in milliseconds and a limit, returns the current time and at
        most that many of the revocations since then, oldest first: time, kind, id, and end.
    """
    since, limit = int(moment * 1000), _POLL_PAGE
    found = {}
    first_now = None
    while True:
        now, rows = await read(since, limit)
        first_now = now if first_now is None else first_now
        for _, kind, id_, end in rows:
            if end is None or now < end:
                # It may have been revoked twice: the entry that lasts longer counts.
                known = found.get((kind, id_), 0.0)
                end = None if end is None or known is None else max(end / 1000, known)
                found[kind, id_] = end
        if len(rows) < limit:
            return first_now / 1000, [(*key, end) for key, end in found.items()]
        # The next page starts with the entries of the same time as the last one of this page.
        if rows[-1][0] == since:
            limit *= 2
        since = rows[-1][0]


def _newest_first(sessions):
    return sorted(sessions, key=lambda session: session.created_at, reverse=True)


class MemoryTokenStore:
    """A token store in the memory of this process, for tests and apps with a single worker.

    Sessions and revocations are lost when the process ends, and other workers do not see them.
    Finding the sessions of one identity reads all sessions.
    """

    def __init__(self):
        # Records by session id; by kind and id: (time of the revocation, end of the entry).
        self._sessions = {}
        self._revocations = {}

    async def create_session(self, session_id, identity, *, lifetime, max_age, linger, metadata):
        now = self._now()
        self._drop_ended(self._sessions, lambda record: record["kept_until"], now)
        self._sessions[session_id] = record = {
            "identity": identity,
            "generation": 0,
            "created_at": now,
            "rotated_at": now,
            "expires_at": None if lifetime is None else now + _milliseconds(lifetime),
            "ends_at": None if max_age is None else now + _milliseconds(max_age),
            "metadata": json.dumps(metadata),
        }
        self._keep(record, linger)
        return _session(session_id, record)

    async def rotate_session(self, session_id, generation, *, lifetime, grace, linger):
        now = self._now()
        record = self._live(session_id, now)
        if record is None or generation > record["generation"]:
            return "ended", None
        if generation == record["generation"]:
            record["generation"] += 1
            record["rotated_at"] = now
            self._extend(record, lifetime, linger, now)
            return "rotated", _session(session_id, record)
        age = now - record["rotated_at"]
        if generation == record["generation"] - 1 and grace > 0 and age <= _milliseconds(grace):
            return "retried", _session(session_id, record)
        return "reused", self._revoke(session_id, now)

    async def extend_session(self, session_id, *, lifetime, linger):
        now = self._now()
        record = self._live(session_id, now)
        if record is None:
            return None
        self._extend(record, lifetime, linger, now)
        return _session(session_id, record)

    async def revoke_session(self, session_id):
        now = self._now()
        return None if self._live(session_id, now) is None else self._revoke(session_id, now)

    async def revoke_sessions(self, identity, *, keep=None):
        now = self._now()
        return [self._revoke(i, now) for i in self._ids(identity, now) if i != keep]

    async def get_sessions(self, identity):
        ids = self._ids(identity, self._now())
        return _newest_first([_session(i, self._sessions[i]) for i in ids])

    async def revoke_token(self, token_id, *, lifetime):
        now = self._now()
        until = None if lifetime is None else now + _milliseconds(lifetime)
        self._note("token", token_id, until, now)

    async def check(self, session_id, token_id):
        now = self._now()
        entry = self._revocations.get(("token", token_id))
        if entry is not None and (entry[1] is None or now < entry[1]):
            return "token_revoked"
        if session_id is not None and self._live(session_id, now) is None:
            return "session_ended"
        return "live"

    async def revoked_since(self, moment):
        now = self._now()
        return now / 1000, [
            (kind, i, None if until is None else until / 1000)
            for (kind, i), (revoked_at, until) in self._revocations.items()
            if revoked_at >= int(moment * 1000) and (until is None or now < until)
        ]

    async def purge(self):
        return 0

    def _now(self):
        return int(time.time() * 1000)

    def _live(self, session_id, now):
        record = self._sessions.get(session_id)
        if record is None:
            return None
        end = _earliest(record["expires_at"], record["ends_at"])
        return record if end is None or now < end else None

    def _ids(self, identity, now):
        return [
            i for i, record in self._sessions.items()
            if record["identity"] == identity and self._live(i, now) is not None
        ]

    def _extend(self, record, lifetime, linger, now):
        record["expires_at"] = _later(record["expires_at"], _milliseconds(lifetime), now)
        self._keep(record, linger)

    def _keep(self, record, linger):
        end = _earliest(record["expires_at"], record["ends_at"])
        record["kept_until"] = None if end is None else end + _milliseconds(linger)

    def _revoke(self, session_id, now):
        record = self._sessions.pop(session_id)
        self._note("session", session_id, record["kept_until"], now)
        return _session(session_id, record)

    def _note(self, kind, id_, until, now):
        self._drop_ended(self._revocations, lambda entry: entry[1], now)
        self._revocations[kind, id_] = (now, until)

    def _drop_ended(self, entries, end_of, now):
        """Check the two entries whose last check is oldest: a write adds at most one entry."""
        for key in list(itertools.islice(entries, 2)):
            entry = entries.pop(key)
            end = end_of(entry)
            if end is None or now < end:
                entries[key] = entry


# The sessions of one identity are fields of one hash, so that one script finds and changes them.
# Records are JSON, with numbers as text: cjson writes 14 digits of a number, and a generation may
# have 16. A revoked session is deleted, since a missing session counts as ended.
_LUA = """\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function whole(number)
    return string.format('%.0f', number)
end

local function end_of(record)
    local idle, absolute = tonumber(record.expires_at), tonumber(record.ends_at)
    if idle and absolute then return math.min(idle, absolute) end
    return idle or absolute
end

local function live(text)
    local record = text and cjson.decode(text)
    local last = record and end_of(record)
    if record and (not last or now < last) then return record end
end

-- The key lives as long as its longest entry. ttl is the value before this write.
local function keep(key, ttl, last)
    if ttl == -1 then return end
    if not last then
        redis.call('PERSIST', key)
    elseif last - now > ttl then
        redis.call('PEXPIREAT', key, whole(last))
    end
end

local function write(id, record, linger)
    local ttl = redis.call('PTTL', KEYS[1])
    record.linger = linger
    local text = cjson.encode(record)
    redis.call('HSET', KEYS[1], id, text)
    local last = end_of(record)
    keep(KEYS[1], ttl, last and last + linger)
    return text
end

local function extend(id, record, lifetime, linger)
    if lifetime == '' then
        record.expires_at = nil
    elseif record.expires_at then
        record.expires_at = whole(math.max(record.expires_at, now + lifetime))
    end
    return write(id, record, linger)
end
"""


def _script(text):
    text = _LUA + text
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text


# Identity, session id, lifetime, max age, linger, metadata. Some ended sessions leave the hash.
_CREATE = _script("""
local id = ARGV[2]
local record = {
    identity = ARGV[1], generation = '0', created_at = whole(now), rotated_at = whole(now),
    metadata = ARGV[6]
}
if ARGV[3] ~= '' then record.expires_at = whole(now + ARGV[3]) end
if ARGV[4] ~= '' then record.ends_at = whole(now + ARGV[4]) end
local some = redis.call('HRANDFIELD', KEYS[1], 20, 'WITHVALUES')
for i = 1, #some, 2 do
    local other = cjson.decode(some[i + 1])
    local last = end_of(other)
    if last and last + other.linger <= now then redis.call('HDEL', KEYS[1], some[i]) end
end
return write(id, record, ARGV[5])
""")

# Session id, generation, lifetime, grace, linger.
_ROTATE = _script("""
local id, given, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local text = redis.call('HGET', KEYS[1], id)
local record = live(text)
if not record or given > tonumber(record.generation) then return {'ended'} end
if given == tonumber(record.generation) then
    record.generation = whole(given + 1)
    record.rotated_at = whole(now)
    return {'rotated', extend(id, record, ARGV[3], ARGV[5])}
end
if given == record.generation - 1 and grace > 0 and now - record.rotated_at <= grace then
    return {'retried', text}
end
return {'reused', text}
""")

# Session id, lifetime, linger.
_EXTEND = _script("""
local record = live(redis.call('HGET', KEYS[1], ARGV[1]))
return record and extend(ARGV[1], record, ARGV[2], ARGV[3])
""")

# Identity.
_LIST = _script("""
local all, found = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
    local record = live(all[i + 1])
    if record and record.identity == ARGV[1] then
        found[#found + 1] = all[i]
        found[#found + 1] = all[i + 1]
    end
end
return found
""")

# Session id.
_READ = _script("""
local text = redis.call('HGET', KEYS[1], ARGV[1])
return live(text) and text
""")

# Pairs of a session id and the end of its revocation entry, '' for never. Returns pairs of an id
# and the revoked session, or '' if the session would outlive its entry and was not revoked.
_REVOKE = _script("""
local answers = {}
for i = 1, #ARGV, 2 do
    local text = redis.call('HGET', KEYS[1], ARGV[i])
    local record = live(text)
    if record then
        local last, entry = end_of(record), tonumber(ARGV[i + 1])
        if entry and (not last or last + record.linger > entry) then
            text = ''
        else
            redis.call('HDEL', KEYS[1], ARGV[i])
        end
        answers[#answers + 1] = ARGV[i]
        answers[#answers + 1] = text
    end
end
return answers
""")

# Scripts that write entries for workers that poll: the set of entries is the last key. Some ended
# entries leave it with each call, similar to how Redis expires keys.
_LUA_NOTE = """
local entries = KEYS[#KEYS]
for i, member in ipairs(redis.call('ZRANDMEMBER', entries, 20)) do
    local last = tonumber(string.match(member, '%d*$'))
    if last and last <= now then redis.call('ZREM', entries, member) end
end

local function note(kind, id, last)
    local ttl = redis.call('PTTL', entries)
    local member = kind .. ':' .. id .. ':' .. (last and whole(last) or '')
    redis.call('ZADD', entries, now, member)
    keep(entries, ttl, last)
end
"""

# Triples of a kind, an id, and the end of the entry: '' for never, or '+' and a lifetime from now.
_NOTE = _script(_LUA_NOTE + """
for i = 1, #ARGV, 3 do
    local last = tonumber(ARGV[i + 2])
    if last and string.sub(ARGV[i + 2], 1, 1) == '+' then last = now + last end
    note(ARGV[i], ARGV[i + 1], last)
end
""")

# Session ids. Returns pairs of an id and the revoked session. The entry is written first: Redis
# stops at a write for which it has no memory, and does not undo the writes before it.
_NOTE_AND_REVOKE = _script(_LUA_NOTE + """
local answers = {}
for i, id in ipairs(ARGV) do
    local text = redis.call('HGET', KEYS[1], id)
    local record = live(text)
    if record then
        local last = end_of(record)
        note('session', id, last and last + record.linger)
        redis.call('HDEL', KEYS[1], id)
        answers[#answers + 1] = id
        answers[#answers + 1] = text
    end
end
return answers
""")

# Token id, and lifetime or '' for no end.
_NOTE_AND_REVOKE_TOKEN = _script(_LUA_NOTE + """
local last = ARGV[2] ~= '' and now + ARGV[2] or nil
note('token', ARGV[1], last)
redis.call('SET', KEYS[1], '')
if last then redis.call('PEXPIREAT', KEYS[1], whole(last)) end
return 1
""")

# Start time in milliseconds, and limit.
_SINCE = _script("""
return {now, redis.call(
    'ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2]
)}
""")


def _plain(answer):
    """A reply as text, whether or not the client decodes replies."""
    return answer.decode() if isinstance(answer, bytes) else answer


def _pairs(answer):
    return {_plain(i): _plain(text) for i, text in zip(answer[::2], answer[1::2])}


def _or_empty(milliseconds):
    return "" if milliseconds is None else milliseconds


def _entry_end(text):
    """The time until which the revocation entry of a session must last, '' for never."""
    record = json.loads(text)
    end = _earliest(*(int(record[n]) for n in ("expires_at", "ends_at") if n in record))
    return "" if end is None else end + int(record["linger"])


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

    def __init__(self, client, prefix="jwt:"):
        self._client = client
        self._prefix = prefix
        self._entries = prefix + "revoked"

    async def create_session(self, session_id, identity, *, lifetime, max_age, linger, metadata):
        text = await self._run(
            _CREATE, [self._key(session_id)], identity, session_id,
            _or_empty(_milliseconds(lifetime)), _or_empty(_milliseconds(max_age)),
            _milliseconds(linger), json.dumps(metadata),
        )
        return _session(session_id, json.loads(text))

    async def rotate_session(self, session_id, generation, *, lifetime, grace, linger):
        outcome, *text = await self._run(
            _ROTATE, [self._key(session_id)], session_id, generation,
            _or_empty(_milliseconds(lifetime)), _milliseconds(grace), _milliseconds(linger),
        )
        outcome = _plain(outcome)
        if outcome == "ended":
            return outcome, None
        if outcome != "reused":
            return outcome, _session(session_id, json.loads(text[0]))
        # If several requests detect this at the same time, the one that revokes it reports it.
        revoked = await self._revoke(self._key(session_id), {session_id: text[0]})
        return ("reused", revoked[0]) if revoked else ("ended", None)

    async def extend_session(self, session_id, *, lifetime, linger):
        text = await self._run(
            _EXTEND, [self._key(session_id)], session_id,
            _or_empty(_milliseconds(lifetime)), _milliseconds(linger),
        )
        return None if text is None else _session(session_id, json.loads(text))

    async def revoke_session(self, session_id):
        key = self._key(session_id)
        text = await self._run(_READ, [key], session_id)
        revoked = None if text is None else await self._revoke(key, {session_id: text})
        return revoked[0] if revoked else None

    async def revoke_sessions(self, identity, *, keep=None):
        key = self._key_of(identity)
        found = _pairs(await self._run(_LIST, [key], identity))
        found.pop(keep, None)
        return await self._revoke(key, found) if found else []

    async def get_sessions(self, identity):
        found = _pairs(await self._run(_LIST, [self._key_of(identity)], identity))
        return _newest_first([_session(i, json.loads(text)) for i, text in found.items()])

    async def revoke_token(self, token_id, *, lifetime):
        # Redis does not accept a lifetime of 0.
        milliseconds = None if lifetime is None else max(_milliseconds(lifetime), 1)
        key = self._prefix + "t:" + token_id
        lifetime_or_empty = _or_empty(milliseconds)
        if await self._run_on_both(_NOTE_AND_REVOKE_TOKEN, key, token_id, lifetime_or_empty):
            return
        end = "" if lifetime is None else f"+{milliseconds}"
        await self._run(_NOTE, [self._entries], "token", token_id, end)
        await self._client.set(key, "", px=milliseconds)

    async def check(self, session_id, token_id):
        # One round trip. The script is sent as text: a pipeline cannot fall back from EVALSHA.
        async with self._client.pipeline(transaction=False) as pipeline:
            if token_id is not None:
                pipeline.exists(self._prefix + "t:" + token_id)
            if session_id is not None:
                pipeline.eval(_READ[1], 1, self._key(session_id), session_id)
            # The pipeline must not raise: it would put the id into the text of the error.
            answers = await pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        if token_id is not None and answers[0]:
            return "token_revoked"
        return "session_ended" if session_id is not None and answers[-1] is None else "live"

    async def revoked_since(self, moment):
        async def read(since, limit):
            now, found = await self._run(_SINCE, [self._entries], since, limit)
            rows = []
            for member, revoked_at in zip(found[::2], found[1::2]):
                kind, rest = _plain(member).split(":", 1)
                i, end = rest.rsplit(":", 1)
                rows.append((int(revoked_at), kind, i, int(end) if end else None))
            return now, rows

        return await _read_pages(read, moment)

    async def purge(self):
        return 0

    def _key(self, session_id):
        return self._prefix + "s:" + session_id[:8]

    def _key_of(self, identity):
        """Session ids start with the first six bytes of the SHA-256 of the identity."""
        digest = hashlib.sha256(identity.encode()).digest()
        return self._key(base64.urlsafe_b64encode(digest[:6]).decode())

    async def _run(self, script, keys, *arguments):
        sha, text = script
        try:
            return await self._client.evalsha(sha, len(keys), *keys, *arguments)
        except Exception as error:
            # Compared by name, because redis and valkey have different classes. EVAL is routed to
            # the node of the key.
            if type(error).__name__ != "NoScriptError":
                raise
        return await self._client.eval(text, len(keys), *keys, *arguments)

    async def _run_on_both(self, script, key, *arguments):
        """Run a script on a key and the entries, or return None: a cluster may keep them apart."""
        slot_of = getattr(self._client, "keyslot", None)
        if slot_of is not None and slot_of(key) != slot_of(self._entries):
            return None
        try:
            return await self._run(script, [key, self._entries], *arguments)
        except Exception as error:
            # A client for a single server does not know that it is connected to a cluster, for
            # example through a proxy.
            if type(error).__name__ != "ClusterCrossSlotError":
                raise
        return None

    async def _revoke(self, key, found):
        """Revoke the sessions of a key that are still live, given by id with their records.

        If this takes two scripts, the entry that other workers poll is written first: a crash in
        between revokes too much, never too little. It must also last long enough, so a session that
        was extended meanwhile is revoked only after a permanent entry has been written.
        """
        answer = await self._run_on_both(_NOTE_AND_REVOKE, key, *found)
        if answer is not None:
            return [_session(i, json.loads(text)) for i, text in _pairs(answer).items()]
        ends = {i: _entry_end(text) for i, text in found.items()}
        revoked = []
        while ends:
            entries = [part for i, end in ends.items() for part in ("session", i, end)]
            await self._run(_NOTE, [self._entries], *entries)
            pairs = itertools.chain.from_iterable(ends.items())
            answers = _pairs(await self._run(_REVOKE, [key], *pairs))
            revoked += [_session(i, json.loads(text)) for i, text in answers.items() if text]
            ends = {i: "" for i, text in answers.items() if not text}
        return revoked


# Serialization failure and deadlock: the statement has not changed anything.
_SQL_GIVEN_UP = ("40001", "40P01")
_SQL_ATTEMPTS = 20
# Seconds after which the time written by a statement counts as old.
_SQL_IN_TIME = 10.0
_elapsed = time.monotonic


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

    metadata = None

    def __init__(self, engine, table="jwt_sessions"):
        import sqlalchemy as sa
        from sqlalchemy.dialects import postgresql, sqlite

        if not hasattr(engine, "sync_engine"):
            raise TypeError(
                "engine must be an AsyncEngine, as returned by create_async_engine(url), not "
                f"{_shown(engine)}"
            )
        if engine.dialect.name not in ("postgresql", "sqlite"):
            raise ValueError(
                f"SQLTokenStore supports PostgreSQL and SQLite, not {engine.dialect.name}"
            )
        if isinstance(engine.pool, sa.StaticPool):
            raise ValueError(
                "SQLTokenStore requires its own connections: use a database file, or "
                "MemoryTokenStore in tests"
            )
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._sa = sa
        self.metadata = sa.MetaData()
        self._sessions = sa.Table(
            table, self.metadata,
            sa.Column("id", sa.String(64), primary_key=True),
            sa.Column("identity", sa.Text, nullable=False, index=True),
            sa.Column("generation", sa.BigInteger, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("rotated_at", sa.BigInteger, nullable=False),
            sa.Column("expires_at", sa.BigInteger),
            sa.Column("ends_at", sa.BigInteger),
            sa.Column("kept_until", sa.BigInteger),
            sa.Column("revoked_at", sa.BigInteger, index=True),
            sa.Column("metadata", sa.Text, nullable=False),
        )
        self._tokens = sa.Table(
            table + "_revoked_tokens", self.metadata,
            sa.Column("id", sa.String(64), primary_key=True),
            sa.Column("kept_until", sa.BigInteger),
            sa.Column("revoked_at", sa.BigInteger, nullable=False, index=True),
        )
        if self._is_sqlite:
            # The time of the process, which _once() passes to each statement.
            now = sa.bindparam("now", type_=sa.BigInteger)
            least, greatest = sa.func.min, sa.func.max
            insert = sqlite.insert
        else:
            # Not the time of the statement's start: it may have waited for a row lock.
            clock = sa.extract("epoch", sa.func.clock_timestamp()) * 1000
            now = sa.cast(sa.func.floor(clock), sa.BigInteger)
            least, greatest = sa.func.least, sa.func.greatest
            insert = postgresql.insert
        self._prepare(sa, insert, now, least, greatest)

    def _prepare(self, sa, insert, now, least, greatest):
        """Build all statements once. Each change is one statement that contains its conditions."""
        number, text = sa.BigInteger, sa.Text
        table, tokens = self._sessions, self._tokens
        columns, token = table.c, tokens.c
        id_ = sa.bindparam("session_id", type_=text)
        identity = sa.bindparam("of_identity", type_=text)
        given = sa.bindparam("given", type_=number)
        lifetime = sa.bindparam("lifetime", type_=number)
        linger = sa.bindparam("linger", type_=number)

        def is_ahead(end):
            return sa.or_(end.is_(None), end > now)

        def kept_until(idle, absolute):
            # Databases differ in the least of a number and NULL.
            both = sa.func.coalesce(idle, absolute), sa.func.coalesce(absolute, idle)
            return least(*both) + linger

        live = sa.and_(
            columns.revoked_at.is_(None), is_ahead(columns.expires_at), is_ahead(columns.ends_at)
        )
        extended = sa.case((
            sa.and_(columns.expires_at.is_not(None), lifetime.is_not(None)),
            greatest(columns.expires_at, now + lifetime),
        ))
        ends_at = now + sa.bindparam("max_age", type_=number)
        change = sa.update(table).where(live).returning(table)

        self._create = insert(table).values(
            id=id_, identity=identity, generation=0, created_at=now, rotated_at=now,
            expires_at=now + lifetime, ends_at=ends_at,
            kept_until=kept_until(now + lifetime, ends_at),
            metadata=sa.bindparam("about", type_=text),
        ).returning(table)
        self._extend = change.where(columns.id == id_).values(
            expires_at=extended, kept_until=kept_until(extended, columns.ends_at)
        )
        self._rotate = self._extend.where(columns.generation == given).values(
            generation=columns.generation + 1, rotated_at=now
        )
        self._read = sa.select(table, (now - columns.rotated_at).label("age")).where(
            columns.id == id_, live
        )
        revoke = change.values(revoked_at=now)
        self._revoke = revoke.where(columns.id == id_)
        self._revoke_reused = self._revoke.where(columns.generation > given)
        keep = sa.func.coalesce(sa.bindparam("keep", type_=text), "")
        self._revoke_all = revoke.where(columns.identity == identity, columns.id != keep)
        self._note_again = sa.update(table).where(
            columns.id.in_(sa.bindparam("ids", expanding=True))
        ).values(revoked_at=now)
        self._list = sa.select(table).where(columns.identity == identity, live).order_by(
            columns.created_at.desc()
        )

        token_id = sa.bindparam("token_id", type_=text)
        revocation = insert(tokens).values(id=token_id, kept_until=now + lifetime, revoked_at=now)
        self._revoke_token = revocation.on_conflict_do_update(
            index_elements=[token.id],
            set_={name: revocation.excluded[name] for name in ("kept_until", "revoked_at")},
        )
        self._check = sa.select(
            sa.exists().where(token.id == token_id, is_ahead(token.kept_until)),
            sa.exists().where(columns.id == id_, live),
        )
        since = sa.bindparam("since", type_=number)
        found = sa.union_all(*(
            sa.select(
                each.c.revoked_at, sa.literal(kind, text).label("kind"), each.c.id,
                each.c.kept_until,
            ).where(each.c.revoked_at >= since)
            for kind, each in (("session", table), ("token", tokens))
        )).subquery()
        # The time is in a separate row, so that it is present even if nothing was revoked.
        self._since = sa.union_all(
            sa.select(now, sa.literal("now", text), sa.cast(sa.null(), text), now),
            sa.select(
                sa.select(found).order_by(found.c.revoked_at)
                .limit(sa.bindparam("limit", type_=number)).subquery()
            ),
        )
        self._purges = [sa.delete(each).where(each.c.kept_until <= now) for each in (table, tokens)]

    async def create_tables(self):
        """Create the two tables and their indexes if they do not exist."""
        async with self._engine.connect() as connection:
            await connection.run_sync(self.metadata.create_all)
            await connection.commit()

    async def create_session(self, session_id, identity, *, lifetime, max_age, linger, metadata):
        return self._first(await self._execute(
            self._create, session_id=session_id, of_identity=identity,
            lifetime=_milliseconds(lifetime), max_age=_milliseconds(max_age),
            linger=_milliseconds(linger), about=json.dumps(metadata),
        ))

    async def rotate_session(self, session_id, generation, *, lifetime, grace, linger):
        values = {"session_id": session_id, "given": generation}
        rotated = self._first(await self._execute(
            self._rotate, lifetime=_milliseconds(lifetime), linger=_milliseconds(linger), **values
        ))
        if rotated is not None:
            return "rotated", rotated
        rows = await self._execute(self._read, session_id=session_id)
        if not rows or generation >= rows[0].generation:
            return "ended", None
        is_last = generation == rows[0].generation - 1
        if is_last and grace > 0 and rows[0].age <= _milliseconds(grace):
            return "retried", self._first(rows)
        # If several requests detect this at the same time, the one that revokes it reports it.
        revoked = self._first(await self._execute_revoking(self._revoke_reused, **values))
        return ("ended", None) if revoked is None else ("reused", revoked)

    async def extend_session(self, session_id, *, lifetime, linger):
        return self._first(await self._execute(
            self._extend, session_id=session_id, lifetime=_milliseconds(lifetime),
            linger=_milliseconds(linger),
        ))

    async def revoke_session(self, session_id):
        return self._first(await self._execute_revoking(self._revoke, session_id=session_id))

    async def revoke_sessions(self, identity, *, keep=None):
        rows = await self._execute_revoking(self._revoke_all, of_identity=identity, keep=keep)
        return [_session(row.id, row._mapping) for row in rows]

    async def get_sessions(self, identity):
        rows = await self._execute(self._list, of_identity=identity)
        return [_session(row.id, row._mapping) for row in rows]

    async def revoke_token(self, token_id, *, lifetime):
        await self._execute_in_time(
            self._revoke_token, token_id=token_id, lifetime=_milliseconds(lifetime)
        )

    async def check(self, session_id, token_id):
        rows = await self._execute(self._check, session_id=session_id, token_id=token_id)
        token_revoked, session_live = rows[0]
        if token_revoked:
            return "token_revoked"
        return "live" if session_id is None or session_live else "session_ended"

    async def revoked_since(self, moment):
        async def read(since, limit):
            rows = await self._execute(self._since, since=since, limit=limit)
            (now,) = [row[0] for row in rows if row[1] == "now"]
            return now, sorted([tuple(row) for row in rows if row[1] != "now"], key=_first_of)

        return await _read_pages(read, moment)

    async def purge(self):
        return sum([await self._execute(statement) for statement in self._purges])

    def _first(self, rows):
        return _session(rows[0].id, rows[0]._mapping) if rows else None

    async def _execute_revoking(self, statement, **values):
        """Run a statement that revokes sessions. If it took long, write their time again."""
        began = _elapsed()
        rows = await self._execute(statement, **values)
        if rows and _elapsed() - began > _SQL_IN_TIME:
            await self._execute_in_time(self._note_again, ids=[row.id for row in rows])
        return rows

    async def _execute_in_time(self, statement, **values):
        """Repeat a statement, which must be idempotent, until the time that it writes is recent.

        It may have waited for a lock, or its commit for another server, after it had read the time.
        Workers that poll look back only _POLL_OVERLAP seconds.
        """
        began = -_INFINITY
        while _elapsed() - began > _SQL_IN_TIME:
            began = _elapsed()
            await self._execute(statement, **values)

    async def _execute(self, statement, **values):
        """Run one statement, and retry it if the database has canceled it in favor of another.

        :return: its rows, or the number of changed rows if it returns none.
        """
        attempt = 0
        while True:
            try:
                return await self._once(statement, values)
            except self._sa.exc.StatementError as error:
                # Its text may be logged, and the parameters are session ids and identities.
                error.hide_parameters = True
                attempt += 1
                state = getattr(error.orig, "sqlstate", None)
                if state not in _SQL_GIVEN_UP or attempt == _SQL_ATTEMPTS:
                    raise
            # A random delay, so that two conflicting statements do not collide again and again.
            await asyncio.sleep(random.random() * attempt / 100)

    async def _once(self, statement, values):
        async with self._engine.connect() as connection:
            if not self._is_sqlite:
                return self._answer(await connection.execute(statement, values))
            # The time is read when no other writer can interfere, so that a poll since an earlier
            # time sees all that is written.
            if statement.is_dml:
                raw = await connection.get_raw_connection()
                await connection.begin()
                if raw.driver_connection.in_transaction:
                    # An event handler of the engine has begun one, as SQLAlchemy's docs suggest.
                    await connection.exec_driver_sql("COMMIT")
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            values = {**values, "now": int(time.time() * 1000)}
            answer = self._answer(await connection.execute(statement, values))
            if statement.is_dml:
                await connection.exec_driver_sql("COMMIT")
            return answer

    def _answer(self, result):
        return result.all() if result.returns_rows else result.rowcount


# --- IDs of sessions and tokens -----------------------------------------------

cdef bint _is_session_id(object text) except -1:
    """Whether _new_session_id could have created it; stores do not contain any other id."""
    cdef const char* at
    cdef Py_ssize_t index
    if not isinstance(text, str) or not PyUnicode_IS_ASCII(text) or (
        PyUnicode_GET_LENGTH(text) != 30
    ):
        return False
    at = _ascii_bytes(text)
    for index in range(30):
        if _B64URL_BITS[0][<unsigned char>at[index]] == _NOT_B64URL:
            return False
    return True


cdef str _new_session_id(str identity):
    """Create an id that cannot be guessed: it contains 128 random bits.

    They follow 48 bits of a digest of the identity, so that a store can keep all sessions of an
    identity in one place, and change them together.
    """
    digest = hashlib.sha256(identity.encode()).digest()
    return _base64url_encode(digest[:6] + os.urandom(16)).decode()


cdef object _SURROGATE_RE = re.compile("[\ud800-\udfff]")


cdef str _identity_text(object identity, _AppState state):
    """The text that a store keeps for an identity, in the form that a token returns."""
    if not isinstance(identity, str):
        given, identity = identity, json.loads(_dump_object({"identity": identity}, state))
        identity = identity["identity"]
        if isinstance(identity, dict) and not isinstance(given, dict):
            # A user, such as a dataclass, which tokens do not contain in this form.
            raise TypeError(
                f"identity must be the value that the tokens contain, not {_shown(given)}"
            )
    # Databases cannot store text with a null character or a lone surrogate.
    if isinstance(identity, str) and "\0" not in identity and not _SURROGATE_RE.search(identity):
        return _plain_text(identity)
    return _sorted_json(identity)


cdef str _sorted_json(object value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


cdef str _session_id_of(dict claims):
    """The claim ``sid`` of a token that must have it."""
    session_id = claims.get("sid")
    if not isinstance(session_id, str):
        raise JWTDecodeError("Missing or invalid claim: sid")
    return _plain_text(session_id)


cdef long long _generation_of(dict claims) except -1:
    """The claim ``gen`` of a refresh token, which counts the rotations of its session."""
    generation = claims.get("gen")
    if type(generation) is not int or not 0 <= generation <= _MAX_GENERATION:
        raise JWTDecodeError("Missing or invalid claim: gen")
    return generation


cdef str _token_id(dict claims, _Settings settings):
    """The ``jti`` of a token for the stores, always as short, plain text.

    For a trusted issuer it includes the issuer's name, as a token of the app may have the same id.
    """
    cdef str jti = claims["jti"]
    if settings.issuer is not None:
        jti = f"{settings.issuer.name}\n{jti}"
    if PyUnicode_GET_LENGTH(jti) <= 64 and PyUnicode_IS_ASCII(jti) and _is_printable(jti):
        return jti
    return hashlib.sha256(jti.encode("utf-8", "surrogatepass")).hexdigest()


cdef bint _is_printable(str text) noexcept:
    cdef const char* at = _ascii_bytes(text)
    cdef Py_ssize_t index
    for index in range(PyUnicode_GET_LENGTH(text)):
        if not 0x20 <= at[index] < 0x7F:
            return False
    return True


# --- Revocation without a round trip ------------------------------------------

# Seconds by which a poll overlaps with the previous one: commits become visible out of order, and
# after a failover, another machine provides the clock.
cdef double _POLL_OVERLAP = 30.0

# Timeout of a poll in seconds; the first one may return a million revocations.
cdef int _POLL_TIMEOUT = 60

# The number of revocations that are read and added without a pause: a few milliseconds.
_POLL_PAGE = 5000

cdef object _monotonic = time.monotonic

cdef int _CLOSE_CODE = 4401


@cython.final
cdef class _Socket:
    """A verified WebSocket, which may end with its token."""

    # A weak reference: this object is dropped together with the connection.
    cdef object websocket
    cdef _VerifiedToken verified
    # All rules that it was verified with, and that a new token must satisfy, too.
    cdef list rules
    cdef bint checks_revocation
    # The task that verified it last, in most cases the one that runs the view. A weak reference,
    # because the context of a task contains the connection.
    cdef object task
    # Whether it ends with its token, and whether its methods have been wrapped for this.
    cdef bint closes, is_guarded
    cdef bint is_closed

    async def close(self, reason):
        """Close it, and cancel the view: a client may ignore the close and continue to send."""
        self.is_closed = True
        websocket = self.websocket()
        if websocket is None:
            return
        try:
            await websocket.close(_CLOSE_CODE, reason)
        except Exception as error:
            # The view or the client may have closed it meanwhile.
            _logger.info("A WebSocket could not be closed: %s", type(error).__name__)
        task = self.task()
        if task is not None:
            task.cancel()

    def guarded(self, method):
        """Wrap a method that sends or receives, for a view that runs in another task."""
        # Storing the bound method would make the connection refer to itself.
        function = getattr(method, "__func__", method)
        is_bound = function is not method
        method = None

        async def call(*args, **kwargs):
            result = None
            if not self.is_closed:
                first = (self.websocket(),) if is_bound else ()
                result = await function(*first, *args, **kwargs)
            if self.is_closed:
                raise asyncio.CancelledError
            return result

        return call


cdef str _SOCKET = "_jwt_extended_socket"


@cython.final
cdef class _Watch:
    """The revocations in the store as far as a worker knows them, and the WebSockets to close.

    Only the thread of the event loop uses it.
    """

    cdef _AppState state
    # The revoked ids, each with the minute (POSIX) in which it can be dropped; None: never.
    cdef dict tokens, sessions
    # Lists of ids, by kind and that minute.
    cdef dict ending
    # The minute of the last cleanup.
    cdef long long minute
    # The time of the last poll: by the clock of the store, and by that of the process.
    cdef double moment, polled_at
    cdef bint is_serving, is_failing
    cdef set sockets
    # The running poll, and other tasks that are not awaited.
    cdef object task
    cdef set tasks

    def __cinit__(self, _AppState state):
        self.state = state
        self.tokens = {}
        self.sessions = {}
        self.ending = {"token": {}, "session": {}}
        self.polled_at = -_INFINITY
        self.sockets = set()
        self.tasks = set()

    cdef bint is_current(self, double max_staleness) except -1:
        return max_staleness > 0 and <double>_monotonic() - self.polled_at <= max_staleness

    cdef int add(self, str kind, object id_, object end) except -1:
        """Remember a revocation until all tokens that it can concern have expired."""
        cdef dict ids = self.tokens if kind == "token" else self.sessions
        minute = None
        # NaN means no end, too.
        if end is not None and end < _LAST_MOMENT:
            minute = <long long>(<double>end / 60) + 1
        known = ids.get(id_, _ABSENT)
        if known is None or (known is not _ABSENT and minute is not None and known >= minute):
            return 0
        ids[id_] = minute
        if minute is not None:
            self.ending[kind].setdefault(minute, []).append(id_)
        self.drop_ended()

    cdef int add_session(self, object session, double linger) except -1:
        end = _end_of(session)
        self.add("session", session.id, None if end is None else end + linger)

    cdef int drop_ended(self) except -1:
        cdef long long minute = <long long>(_now() / 60)
        cdef dict ids
        if minute == self.minute:
            return 0
        self.minute = minute
        for kind, ids in (("token", self.tokens), ("session", self.sessions)):
            ending = self.ending[kind]
            for end in [end for end in ending if end < minute]:
                for id_ in ending.pop(end):
                    # It may have been revoked again, for longer.
                    if ids.get(id_) == end:
                        del ids[id_]

    async def start(self):
        """Start to poll, before the app serves."""
        self.is_serving = True
        await self.refresh()
        self.run_polls()

    async def stop(self):
        self.is_serving = False
        task, self.task = self.task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    def run_polls(self):
        if (
            self.task is None
            or self.task.done()
            # A test may have dropped the previous loop.
            or self.task.get_loop() is not asyncio.get_running_loop()
        ):
            # In an empty context: otherwise, the context of a request would be kept alive.
            self.task = Context().run(asyncio.get_running_loop().create_task, self.poll())

    async def poll(self):
        cdef double pause
        fetching = None
        try:
            while self.is_serving or self.sockets:
                pause = 1.0
                try:
                    staleness = self.state.settings().max_staleness
                    if 0 < staleness < 2:
                        pause = staleness / 2
                except RuntimeError:
                    # An invalid option, which the next request reports.
                    pass
                await asyncio.sleep(pause)
                if fetching is None or fetching.done():
                    fetching = asyncio.ensure_future(self.refresh())
                # Tokens of WebSockets also expire while a store hangs.
                await asyncio.wait([fetching], timeout=1)
                self.close_sockets()
        finally:
            if fetching is not None:
                fetching.cancel()

    async def refresh(self):
        """Add the revocations since the last poll. Only the first failure in a row is logged."""
        try:
            if self.state.store is None or not (
                self.sockets or self.state.settings().max_staleness
            ):
                return
            await asyncio.wait_for(self.fetch(), _POLL_TIMEOUT)
            self.is_failing = False
        except Exception as error:
            if not self.is_failing:
                _logger.error("Polling the token store failed", exc_info=error)
            self.is_failing = True

    async def fetch(self):
        cdef double began = _monotonic()
        cdef double since = max(self.moment - _POLL_OVERLAP, 0.0)
        cdef double behind
        revoked_since = self.state.store.revoked_since
        moment, entries = await _settled(revoked_since(since))
        if moment < since:
            # The clock of the store was set back: new revocations have earlier times.
            moment, entries = await _settled(revoked_since(0.0))
        # Tokens expire by the clock of this process. If the clock of the store is behind, its
        # entries would end too early. Otherwise, they may stay longer: this clock may be corrected.
        behind = max(<double>_now() - <double>moment, 0.0)
        for count, (kind, id_, end) in enumerate(entries):
            if kind not in ("session", "token") or not isinstance(id_, str):
                raise _wrong_answer("revoked_since", (kind, id_))
            self.add(kind, id_, None if end is None else <double>min(end, _LAST_MOMENT) + behind)
            if count % _POLL_PAGE == _POLL_PAGE - 1:
                # Requests do not have to wait for the end of a long list.
                await asyncio.sleep(0)
        self.moment = moment
        self.polled_at = began
        self.drop_ended()

    # WebSockets

    cdef int add_socket(self, websocket, _VerifiedToken verified, _Rules rules) except -1:
        cdef _Socket socket = getattr(websocket, _SOCKET, None)
        if socket is None:
            socket = _Socket.__new__(_Socket)
            socket.websocket = weakref.ref(websocket, lambda _: self.drop_socket(socket))
            socket.rules = []
            socket.closes = rules.closes(verified.settings)
            setattr(websocket, _SOCKET, socket)
        elif rules.close_with_token is not None:
            # The innermost rules are verified last.
            socket.closes = rules.close_with_token
        socket.verified = verified
        socket.rules.append(rules)
        socket.checks_revocation = socket.checks_revocation or not rules.skip_revocation
        socket.task = weakref.ref(asyncio.current_task())
        if not socket.closes:
            self.drop_socket(socket)
            return 0
        if not socket.is_guarded:
            socket.is_guarded = True
            websocket.receive = socket.guarded(websocket.receive)
            websocket.send = socket.guarded(websocket.send)
        self.sockets.add(socket)
        self.run_polls()

    def drop_socket(self, socket):
        self.sockets.discard(socket)
        if not self.sockets and not self.is_serving and self.task is not None:
            self.task.cancel()
            self.task = None

    cdef object reason_to_close(self, _Socket socket):
        claims = socket.verified.claims
        if claims.get("exp", _INFINITY) <= _now() - socket.verified.settings.leeway:
            return "Token has expired"
        if not socket.checks_revocation:
            return None
        settings = socket.verified.settings
        if claims["jti"] is not None and _token_id(claims, settings) in self.tokens:
            return "Token has been revoked"
        session_id = claims.get("sid")
        if isinstance(session_id, str) and session_id in self.sessions:
            return _SESSION_ENDED
        return None

    cdef int close_sockets(self) except -1:
        cdef _Socket socket
        for socket in list(self.sockets):
            reason = self.reason_to_close(socket)
            if reason is not None:
                self.sockets.discard(socket)
                self.run(socket.close(reason))

    cdef object run(self, coroutine):
        """Run it in a task and keep a reference, because event loops keep only weak ones."""
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


cdef object _end_of(object session):
    """The end of a session unless it is rotated before, as POSIX time; None for never."""
    ends = [end.timestamp() for end in (session.expires_at, session.ends_at) if end is not None]
    return min(ends, default=None)


cdef object _verify_unrevoked(_AppState state, _Settings settings, dict claims):
    """Raise if a token or its session is revoked. Return an awaitable if the store must check."""
    cdef _Watch watch = state.watch
    token_id = session_id = None
    if claims["jti"] is not None:
        token_id = _token_id(claims, settings)
        if token_id in watch.tokens:
            raise RevokedTokenError("Token has been revoked")
    if "sid" in claims:
        session_id = _session_id_of(claims)
        if session_id in watch.sessions or not _is_session_id(session_id):
            raise SessionEndedError(_SESSION_ENDED)
    if watch.is_current(settings.max_staleness) or (token_id is None and session_id is None):
        return None
    return _verify_in_store(state.store, session_id, token_id)


async def _verify_in_store(store, session_id, token_id):
    answer = await _stored(store.check, session_id, token_id)
    if answer == "token_revoked":
        raise RevokedTokenError("Token has been revoked")
    if answer == "session_ended":
        raise SessionEndedError(_SESSION_ENDED)
    if answer != "live":
        raise _wrong_answer("check", answer)


cdef object _wrong_answer(str method, object answer):
    return TypeError(f"TokenStore.{method} must not return {answer!r:.100}")


# --- The tokens of a session --------------------------------------------------

cdef object _store_of(_AppState state, str function):
    if state.store is None:
        raise RuntimeError(_MISSING_STORE.format(name=f"{function}()"))
    return state.store


cdef object _subject_of(_AppState state, _VerifiedToken verified):
    """The argument of the loaders for a session: the object that was passed at login, if known.

    With a user_identity_loader, that is the user that was loaded for the request.
    """
    if state.callbacks.user_identity is not None and verified.user is not None:
        return verified.user
    return verified.claims[verified.settings.identity_claim_key]


cdef dict _verified_metadata(object metadata):
    """Validate the metadata of a session, and return it as a store returns it."""
    if metadata is None:
        return {}
    _verify_dict("metadata", metadata)
    try:
        text = _checked_json(metadata, {"ensure_ascii": False, "allow_nan": False})
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"metadata must be a JSON object: {error}") from None
    if len(text) > _METADATA_SIZE:
        raise ValueError(
            f"metadata must be at most {_METADATA_SIZE} bytes as JSON, not {len(text)}"
        )
    return json.loads(text)


@cython.final
cdef class _Pair:
    """The two tokens of a session that are being created."""

    cdef _AppState state
    cdef _Creation access, refresh
    cdef str access_token, refresh_token

    async def ask(self):
        """Call the loaders, once for both tokens."""
        await _ask_callbacks(self.access)
        self.refresh.identity = self.access.identity
        self.refresh.loaded_claims = self.access.loaded_claims
        self.refresh.headers = self.access.headers
        self.refresh.key = self.access.key
        if self.access.settings.user_claims_in_refresh_token:
            self.refresh.user_claims = self.access.user_claims

    cdef int encode(self, str session_id, long long generation) except -1:
        self.access.session_claims = {"sid": session_id}
        self.refresh.session_claims = {"sid": session_id, "gen": generation}
        self.access_token = self.access.encode()
        self.refresh_token = self.refresh.encode()

    cdef object lifetime(self):
        return _lifetime_of(self.refresh.claims, self.refresh.settings)

    async def finish(self, session):
        """Return the tokens. Neither outlives the session as stored."""
        cdef _Creation creation
        end = _end_of(session)
        if end is not None:
            for creation in (self.access, self.refresh):
                creation.latest = _latest_before(end, creation.settings)
            if self.access.is_too_long():
                self.access_token = self.access.encode()
            if self.refresh.is_too_long():
                self.refresh_token = self.refresh.encode()
        await _report_creation(self.access)
        await _report_creation(self.refresh)
        return SessionTokens(self.access_token, self.refresh_token, session.id)


cdef _Pair _new_pair(
    subject, fresh, expires_delta, refresh_expires_delta, user_claims, additional_claims
):
    cdef _Pair pair = _Pair.__new__(_Pair)
    pair.access = _new_creation(
        _ACCESS, subject, fresh, expires_delta, user_claims, None, additional_claims, None
    )
    pair.refresh = _new_creation(
        _REFRESH, subject, None, refresh_expires_delta, None, None, additional_claims, None
    )
    pair.state = pair.access.state
    for name, claim in (
        ("JWT_IDENTITY_CLAIM", pair.access.settings.identity_claim_key),
        ("JWT_USER_CLAIMS", pair.access.settings.user_claims_key),
    ):
        if claim in ("sid", "gen"):
            raise RuntimeError(f'{name} must not be "{claim}", which sessions use')
    return pair


cdef object _latest_before(double end, _Settings settings):
    """The latest ``exp`` of a token that must not be accepted after a given time."""
    return <long long>floor(end - settings.leeway)


cdef object _lifetime_of(dict claims, _Settings settings):
    """The seconds that a session must last for its tokens to be accepted; None for no end.

    One second is added, because the clock of a store may count whole milliseconds.
    """
    end = claims.get("exp")
    if end is None:
        return None
    return max(min(end + settings.leeway + 1, _LAST_MOMENT) - _now(), 0.0)


cdef double _linger(_Settings settings) noexcept:
    """The seconds for which the data of a session is kept after its end."""
    return settings.leeway + _CLOCK_MARGIN


cdef object _seconds(object lifetime):
    """A lifetime in seconds, or None."""
    if lifetime is None:
        return None
    now = datetime.datetime.now(datetime.timezone.utc)
    return min((now + lifetime - now).total_seconds(), _LAST_MOMENT - now.timestamp())


async def _report_failure(_AppState state, _VerifiedToken verified, error):
    """Treat an error about the token of the current request as a failed verification."""
    cdef _Failure failure = _new_failure(error, verified.settings, None, None)
    failure.rejected = verified
    request = _current_request()
    setattr(request, _FAILED, failure)
    verified.is_rejected = True
    setattr(request, _VERIFIED, _last_good(verified))
    await _report_rejection(state.app, error, request, verified.location, None)


# --- Renewal in a response ----------------------------------------------------

# The token to renew, as an attribute of the request.
cdef str _EXPIRING = "_jwt_extended_expiring"


cdef int _renew_after(_AppState state, object request, _VerifiedToken verified) except -1:
    """Schedule the renewal of a request's access token in its response, if it expires soon."""
    claims = verified.claims
    if state.store is None:
        raise RuntimeError(_MISSING_STORE.format(name="JWT_IMPLICIT_REFRESH"))
    if claims["type"] != "access" or not _is_session_id(claims.get("sid")):
        return 0
    soon = _moment_after(_now(), verified.settings.implicit_refresh)
    if "iat" not in claims or claims.get("exp", _INFINITY) >= soon:
        return 0
    setattr(request, _EXPIRING, verified)
    # Quart calls the last hook first, and ours must see the response after all other hooks. A new
    # list, because another request may be iterating over this one.
    hooks = state.app.after_request_funcs[None]
    if not hooks or hooks[0] is not _renew_expiring:
        hooks = [hook for hook in hooks if hook is not _renew_expiring]
        state.app.after_request_funcs[None] = [_renew_expiring, *hooks]


async def _renew_expiring(response):
    request = _current_request()
    cdef _VerifiedToken verified = getattr(request, _EXPIRING, None)
    if (
        verified is not None
        and getattr(request, _VERIFIED, None) is verified
        and response.status_code < 400
        and not _has_token_cookie(response, verified.settings)
    ):
        try:
            await _renew(_current_state(), verified.settings, verified, response)
        except TokenStoreError:
            # It is logged, and the response of the view is sent with the token unchanged.
            pass
    return response


cdef bint _has_token_cookie(object response, _Settings settings) except -1:
    names = settings.cookie_names + settings.csrf_cookie_names
    for cookie in response.headers.getlist("Set-Cookie"):
        if cookie.partition("=")[0] in names:
            return True
    return False


async def _renew(_AppState state, _Settings settings, _VerifiedToken verified, response):
    cdef _Creation creation
    cdef dict claims = verified.claims
    callback = state.callbacks.implicit_refresh
    if callback is not None and not _says_yes(
        await _settled(callback(claims)), "implicit_refresh_loader"
    ):
        return
    creation = _new_creation(
        _ACCESS, _subject_of(state, verified), False, None, None, None, None, None
    )
    creation.keeps_claims = True
    await _ask_callbacks(creation)
    creation.claims = _renewed(claims, settings)
    # The view, or another request meanwhile, may have revoked the token or the session: only the
    # store knows.
    session_id = claims["sid"]
    token_id = None if claims["jti"] is None else _token_id(claims, settings)
    try:
        await _verify_in_store(state.store, session_id, token_id)
    except RevokedTokenError:
        return
    session = await _stored(
        state.store.extend_session, session_id, lifetime=_lifetime_of(creation.claims, settings),
        linger=_linger(settings),
    )
    if session is None:
        return
    end = _end_of(session)
    creation.latest = None if end is None else _latest_before(end, settings)
    token = creation.encode()
    await _report_creation(creation)
    life = {"max_age": settings.cookie_max_age()}
    csrf_value = claims.get("csrf") if settings.csrf_in_cookies else None
    _set_cookies(response, settings, _ACCESS, token, csrf_value, None, life)
    _forbid_storing(response)


cdef dict _renewed(dict claims, _Settings settings):
    """The claims of an access token for its successor, which starts now."""
    cdef double now = _now()
    renewed = dict(claims)
    renewed["iat"] = <long long>now
    if "nbf" in renewed:
        renewed["nbf"] = <long long>now
    renewed["jti"] = _new_uuid()
    # The lifetime of the previous token, because the login may have set another one than the app.
    renewed["exp"] = <long long>now + int(claims["exp"]) - int(claims["iat"])
    if not renewed[settings.user_claims_key]:
        del renewed[settings.user_claims_key]
    return renewed


# -----------------------------------------------------------------------------
# Creating a token
# -----------------------------------------------------------------------------

cdef str _new_uuid():
    """A random UUID (RFC 9562, section 5.4) as text, without the object that uuid.uuid4 creates."""
    cdef const char* digits = b"0123456789abcdef"
    cdef bytes octets = os.urandom(16)
    cdef str text = PyUnicode_New(36, 127)
    cdef char* target = <char*>_ascii_bytes(text)
    cdef int index
    cdef unsigned char octet
    for index in range(16):
        octet = octets[index]
        if index == 6:
            octet = octet & 0x0F | 0x40
        elif index == 8:
            octet = octet & 0x3F | 0x80
        if index in (4, 6, 8, 10):
            target[0] = c"-"
            target += 1
        target[0] = digits[octet >> 4]
        target[1] = digits[octet & 15]
        target += 2
    return text


import_datetime()

cdef object _timedelta = datetime.timedelta


cdef long long _moment_after(double now, object lifetime) except? -1:
    """The POSIX time, in whole seconds, at which a lifetime that starts now ends."""
    if type(lifetime) is _timedelta:
        return <long long>floor(
            now + 86400.0 * timedelta_days(lifetime) + timedelta_seconds(lifetime)
            + 1e-6 * timedelta_microseconds(lifetime)
        )
    if isinstance(lifetime, _timedelta):
        return <long long>floor(now + <double>lifetime.total_seconds())
    end = datetime.datetime.fromtimestamp(now, datetime.timezone.utc) + lifetime
    return <long long>floor(end.timestamp())


cdef long long _expiry(double now, object lifetime) except? -1:
    try:
        return _moment_after(now, _lifetime(lifetime))
    except (TypeError, OverflowError, AttributeError):
        raise TypeError(
            "expires_delta must be a timedelta, an int (seconds), anything that adds to a "
            f"datetime, False or None, not {_shown(lifetime)}"
        ) from None


cdef dict _new_claims(
    int token_type, object identity, object fresh, object lifetime, object user_claims, bint csrf,
    str identity_claim_key, str user_claims_key, object issuer, object audience, bint with_nbf
):
    """The claims of a new token, in the order of 0.1.0."""
    cdef double now = _now()
    cdef dict claims = {"iat": <long long>now}
    if with_nbf:
        claims["nbf"] = <long long>now
    claims["jti"] = _new_uuid()
    if lifetime is not False:
        claims["exp"] = _expiry(now, lifetime)
    claims[identity_claim_key] = identity
    if token_type == _ACCESS:
        if isinstance(fresh, _timedelta):
            fresh = _moment_after(now, fresh)
        claims["fresh"] = fresh
    claims["type"] = _TYPES[token_type]
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


@cython.final
@cython.freelist(8)
cdef class _Creation:
    """One token that is being created: up to five callbacks are called, then it is encoded.

    The caller calls the callbacks in order, awaits their results if it can, and passes them on.
    """

    cdef _AppState state
    cdef _Settings settings
    cdef int token_type
    cdef object subject, fresh, lifetime, user_claims, headers
    # Arguments of the call, added to the results of the loaders.
    cdef object additional_claims, additional_headers
    cdef object loaded_claims, identity, key
    # The claims of the token, for the receivers of ``token_created``.
    cdef dict claims
    # For the token of a session: its claims about the session, and the latest possible expiry
    # (POSIX time).
    cdef dict session_claims
    cdef object latest
    # Whether the identity, or all claims, are those of the previous token.
    cdef bint keeps_identity, keeps_claims

    cdef object callback(self, int question):
        """The callback for a question, or None if the arguments of the call answer it."""
        cdef _Callbacks callbacks = self.state.callbacks
        if self.keeps_claims and question not in (_ASK_HEADERS, _ASK_KEY):
            return None
        if question == _ASK_CLAIMS:
            is_without = (
                self.token_type == _REFRESH and not self.settings.user_claims_in_refresh_token
            )
            return None if self.user_claims is not None or is_without else callbacks.user_claims
        if question == _ASK_ADDITIONAL_CLAIMS:
            return callbacks.additional_claims
        if question == _ASK_HEADERS:
            return callbacks.jwt_headers if self.headers is None else None
        if question == _ASK_IDENTITY:
            return None if self.keeps_identity else callbacks.user_identity
        return callbacks.encode_key

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

    cdef str encode(self):
        """Encode the token from the arguments and the results of the callbacks."""
        if self.additional_headers is not None:
            _verify_dict("additional_headers", self.additional_headers)
            _verify_new_headers(self.headers)
            self.headers = {**(self.headers or {}), **self.additional_headers}
            self.additional_headers = None
        _verify_new_headers(self.headers)
        if not self.keeps_claims:
            self.verify()
            self.claims = self.new_claims()
        if self.session_claims is not None:
            self.claims.update(self.session_claims)
        if self.is_too_long():
            self.claims["exp"] = self.latest
        return self.signed()

    cdef bint is_too_long(self) except -1:
        return self.latest is not None and not self.claims.get("exp", _INFINITY) <= self.latest

    cdef dict new_claims(self):
        cdef _Settings settings = self.settings
        if self.lifetime is None:
            self.lifetime = settings.lifetimes[self.token_type]
        claims = _new_claims(
            self.token_type, self.identity, self.fresh, self.lifetime, self.user_claims,
            settings.csrf_protect, settings.identity_claim_key, settings.user_claims_key,
            settings.encode_issuer, settings.encode_audience, settings.encode_nbf,
        )
        if self.loaded_claims is not None:
            _add_claims(claims, self.loaded_claims)
        if self.additional_claims is not None:
            _add_claims(claims, self.additional_claims)
        return claims

    cdef str signed(self):
        name = self.settings.algorithm
        if self.headers and self.headers.get("alg"):
            name = self.headers["alg"]
        key = _signing_key(self.state, self.settings, self.key, name)
        header = None
        if self.headers or self.settings.encode_type != "JWT":
            headers = self.headers or {}
            if key.kid is not None:
                headers = _headers_with_name(headers, key)
            header = _new_header(key.name, self.settings.encode_type, headers)
            header = _dump_object(header, self.state)
            if b"\\u" in header and _has_lone_surrogate(_load_object(header, "header")):
                raise ValueError("headers must not contain a lone surrogate")
        return _encode_token(header, self.payload(), key)

    cdef bytes payload(self):
        try:
            return _dump_object(self.claims, self.state)
        except TypeError as error:
            if _is_writable(self.identity, self.state):
                raise
            raise TypeError(
                f"{error}: pass another identity, or convert it in a user_identity_loader"
            ) from None

    cdef int verify(self) except -1:
        """Reject arguments that would create a token that cannot be decoded."""
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
        if self.token_type == _ACCESS and not isinstance(self.fresh, (bool, _timedelta)):
            raise TypeError(f"fresh must be a bool or a timedelta, not {_shown(self.fresh)}")
        for origin, claims in (
            ("additional_claims_loader", self.loaded_claims),
            ("additional_claims", self.additional_claims),
        ):
            if claims is not None:
                _verify_additional_claims(origin, claims, self.settings, self.session_claims)


cdef bint _is_writable(object value, _AppState state) except -1:
    """Whether the app's provider can serialize a value to JSON."""
    try:
        _dump_object({"value": value}, state)
    except TypeError:
        return False
    return True


cdef int _verify_dict(str argument, object value) except -1:
    if not isinstance(value, dict):
        raise TypeError(f"{argument} must be a dict or None, not {type(value).__name__}")


cdef int _verify_additional_claims(
    str origin, object claims, _Settings settings, dict session_claims
) except -1:
    """Reject claims that have a separate argument, or that only the extension may set."""
    _verify_dict(origin, claims)
    reserved = ("type", "fresh", "csrf", settings.identity_claim_key)
    if session_claims is not None:
        # Also the jti, since there are two tokens.
        reserved += ("sid", "gen", "jti")
    for name in reserved:
        if name in claims:
            raise ValueError(f'{origin} must not contain "{name}", which the extension sets')
    for name in ("exp", "nbf", "iat"):
        if name in claims and not isinstance(claims[name], datetime.datetime):
            if not _is_number(claims[name]):
                raise TypeError(f'{origin}: "{name}" must be a number or a datetime')
    for name in ("jti", "iss"):
        if name in claims and not isinstance(claims[name], str):
            raise TypeError(f'{origin}: "{name}" must be a string')
    if "sub" in claims and settings.verify_sub and not isinstance(claims["sub"], str):
        raise TypeError(f'{origin}: "sub" must be a string while JWT_VERIFY_SUB is True')
    audience = claims.get("aud", ())
    if isinstance(audience, str):
        audience = [audience]
    if not isinstance(audience, (list, tuple)) or not all([
        isinstance(name, str) for name in audience
    ]):
        raise TypeError(f'{origin}: "aud" must be a string or a list of strings')


cdef int _add_claims(dict claims, dict additional) except -1:
    """Add additional claims to those of a new token; datetimes become numbers, as in PyJWT."""
    for name, value in additional.items():
        if name in ("exp", "nbf", "iat") and isinstance(value, datetime.datetime):
            value = calendar.timegm(value.utctimetuple())
        claims[name] = value


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


cdef dict _headers_with_name(dict headers, _PreparedKey key):
    """The headers of a token that is signed with a key of JWT_KEYS, including its kid."""
    for name, value in (("kid", key.kid), ("alg", key.name)):
        if headers.get(name, value) != value:
            raise ValueError(
                f'The "{name}" header must be {value!r}, the value of the signing key in JWT_KEYS'
            )
    return {**headers, "kid": key.kid}


cdef _Creation _new_creation(
    int token_type, identity, fresh, expires_delta, user_claims, headers, additional_claims,
    additional_headers
):
    cdef _Creation creation = _Creation.__new__(_Creation)
    creation.state = _current_state()
    creation.settings = creation.state.settings()
    creation.token_type = token_type
    creation.subject = creation.identity = _unproxied(identity)
    creation.fresh = fresh
    creation.lifetime = expires_delta
    creation.user_claims = _unproxied(user_claims)
    creation.headers = _unproxied(headers)
    creation.additional_claims = additional_claims
    creation.additional_headers = additional_headers
    return creation


cdef object _needs_awaiting(object awaitable, str twin):
    """The error for an async callback that a plain function cannot await."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
    return RuntimeError(f"An async callback must be awaited: use `await {twin}(...)` instead")


cdef str _create_token(_Creation creation, str twin):
    cdef int question
    for question in range(_ASKED):
        callback = creation.callback(question)
        if callback is None:
            continue
        answer = _unproxied(callback(creation.subject))
        if _is_awaitable(answer):
            raise _needs_awaiting(answer, twin)
        creation.take(question, answer)
    encoded = creation.encode()
    if token_created.receivers:
        token_created.send(creation.state.app, claims=creation.claims)
    return encoded


async def _create_token_async(_Creation creation):
    await _ask_callbacks(creation)
    encoded = creation.encode()
    await _report_creation(creation)
    return encoded


async def _ask_callbacks(_Creation creation):
    cdef int question
    for question in range(_ASKED):
        callback = creation.callback(question)
        if callback is None:
            continue
        answer = callback(creation.subject)
        if _is_awaitable(answer):
            answer = await _settled(answer)
        creation.take(question, answer)


async def _report_creation(_Creation creation):
    if token_created.receivers:
        await _send(token_created, creation.state.app, {"claims": creation.claims})


# -----------------------------------------------------------------------------
# Error answers
# -----------------------------------------------------------------------------

# By callback: the status and message of 0.1.0, where None is the text of the exception; and the
# code and title of the problem details (RFC 9457), where None depends on the exception.
cdef dict _ANSWERS = {
    "unauthorized": (401, None, "token_missing", "Token missing"),
    "invalid_token": (422, None, "token_invalid", "Token invalid"),
    "expired_token": (401, "Token has expired", "token_expired", "Token expired"),
    "revoked_token": (401, "Token has been revoked", "token_revoked", "Token revoked"),
    "needs_fresh_token": (401, "Fresh token required", "token_not_fresh", "Token not fresh"),
    "user_loader_error": (401, None, "user_not_found", "User not found"),
    "verify_claims_failed": (
        400, "User claims verification failed", "claims_refused", "Claims rejected"
    ),
    "insufficient_scope": (403, "Insufficient scope", "insufficient_scope", "Insufficient scope"),
    "store_unavailable": (
        503, "Token store unavailable", "store_unavailable", "Token store unavailable"
    ),
    "issuer_unavailable": (
        503, "Token issuer unavailable", "issuer_unavailable", "Token issuer unavailable"
    ),
}

# Retry-After in seconds: about the time that a store needs to restart; the time until the keys of
# an issuer are fetched again.
cdef dict _RETRY_AFTER = {"store_unavailable": "5", "issuer_unavailable": "30"}

# The error codes of RFC 6750, section 3.1, for those of our codes that are not invalid_token. A
# request without credentials gets a challenge without an error.
cdef dict _CHALLENGE_ERRORS = {
    "token_missing": None,
    "csrf_missing": "invalid_request",
    "csrf_mismatch": "invalid_request",
    "origin_refused": "invalid_request",
    "insufficient_scope": "insufficient_scope",
}

# Which callback handles which exception; an error handler for each is registered with the app. They
# are raised by the checks, in the sections from JSON to "Verifying a request".
cdef tuple _ANSWERED = (
    (NoAuthorizationError, "unauthorized"),
    (CSRFError, "unauthorized"),
    (InvalidHeaderError, "invalid_token"),
    (JWTDecodeError, "invalid_token"),
    (WrongTokenError, "invalid_token"),
    (jwt.InvalidTokenError, "invalid_token"),
    (jwt.ExpiredSignatureError, "expired_token"),
    (RevokedTokenError, "revoked_token"),
    (TokenStoreError, "store_unavailable"),
    (IssuerUnavailableError, "issuer_unavailable"),
    (FreshTokenRequired, "needs_fresh_token"),
    (UserLoadError, "user_loader_error"),
    (UserClaimsVerificationError, "verify_claims_failed"),
    (InsufficientScopeError, "insufficient_scope"),
)


cdef tuple _legacy_answer(str name, object message):
    """The response of 0.1.0; the message is used if the table has none."""
    status, fixed = _ANSWERS[name][:2]
    return {_config.error_msg_key: message if fixed is None else fixed}, status


cdef str _unknown_user(object identity):
    text = f"Error loading the user {identity}"
    # Some JSON providers cannot write a lone surrogate.
    return text.encode("utf-8", "backslashreplace").decode()


cdef tuple _problem_of(error):
    """For an error: status and message of 0.1.0, code and title of the problem details."""
    status, message, code, title = _ANSWERS[_answer_name(error)]
    if isinstance(error, WebSocketOriginError):
        status, code, title = 403, "origin_refused", "Origin rejected"
    elif isinstance(error, CSRFError):
        code, title = "csrf_mismatch", "CSRF value mismatch"
        if str(error) == _MISSING_CSRF:
            code, title = "csrf_missing", "CSRF value missing"
    elif isinstance(error, InvalidHeaderError) and error._has_other_scheme:
        # Credentials of another scheme are not a token, but 0.1.0 responds with 422.
        code, title = "token_missing", "Token missing"
    elif isinstance(error, WrongTokenError):
        code, title = "wrong_token_type", "Wrong token type"
    elif isinstance(error, SessionEndedError):
        message, code, title = _SESSION_ENDED, "session_ended", "Session ended"
    elif isinstance(error, TokenReusedError):
        message, code, title = _TOKEN_REUSED, "token_reused", "Refresh token reused"
    return status, str(error) if message is None else message, code, title


cdef str _answer_name(error):
    """The name of the callback that handles an error, by the nearest class, as Quart chooses it."""
    for base in type(error).__mro__:
        for exception, name in _ANSWERED:
            if base is exception:
                return name
    return "invalid_token"


cdef object _default_answer(_AppState state, _Settings settings, str name, error):
    """The default response to a rejected request, without a callback of the app."""
    status, message, code, title = _problem_of(error)
    if name == "user_loader_error":
        # Applications raise the exception without this text.
        message = _unknown_user(get_jwt_identity())
    if not settings.is_problem_format:
        return {settings.error_msg_key: message}, status
    if status == 422:
        # RFC 6750, section 3.1, requires 401 for an invalid token.
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


cdef int _add_challenge(
    object response, _AppState state, _Settings settings, error
) except -1:
    """Add the WWW-Authenticate header (RFC 6750, section 3) that 401 and 403 must have."""
    code = _problem_of(error)[2]
    reason = _CHALLENGE_ERRORS.get(code, "invalid_token")
    parameters = [] if reason is None else [f'error="{reason}"']
    scopes = error.required if isinstance(error, InsufficientScopeError) else ()
    if state.resource is not _ABSENT and not scopes:
        scopes = _scopes_of_route(state)
    if scopes:
        parameters.append(f'scope="{" ".join(scopes)}"')
    if state.resource is not _ABSENT:
        resource = _resource_of(state)
        if resource is not None:
            parameters.append(f'resource_metadata="{_resource_metadata_url(resource)}"')
    challenge = f"{settings.header_type or 'Bearer'} {', '.join(parameters)}"
    response.headers["WWW-Authenticate"] = challenge.rstrip()


cdef tuple _scopes_of_route(_AppState state):
    """The scopes that the route of the current request requires (RFC 6750, section 3)."""
    request = _current_request()
    if request is None or request.endpoint is None:
        return ()
    rules = state.route(request.endpoint, request.method).rules
    return () if rules is None else rules.scopes or ()


# The URL of a resource, which determines the URL of its metadata (RFC 9728, section 3.1). Its path
# must not need percent-encoding, or contain anything that a router would treat as a variable.
cdef str _HOST = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
cdef object _HOST_RE = re.compile(_HOST)
cdef object _RESOURCE_RE = re.compile(
    rf"https?://{_HOST}(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)*/?"
)
cdef str _RESOURCE_METADATA_PATH = "/.well-known/oauth-protected-resource"


cdef object _resource_of(_AppState state):
    """The URL of the resource; None if the current request has no host, or an unusual one."""
    if state.resource is not None:
        return state.resource
    request = _current_request()
    # The client controls it.
    if _HOST_RE.fullmatch(request.host) is None:
        return None
    return f"{request.scheme.replace('ws', 'http', 1)}://{request.host}"


cdef str _resource_metadata_url(str resource):
    """The URL of a resource's metadata, inserted before its path (RFC 9728, section 3.1)."""
    parts = urllib.parse.urlsplit(resource)
    path = "" if parts.path == "/" else parts.path
    return f"{parts.scheme}://{parts.netloc}{_RESOURCE_METADATA_PATH}{path}"


cdef _Failure _failure_behind(_AppState state, object request, error):
    """The failed verification that caused an error, or a new one without a token.

    An application may raise its own error from ours. The error of decode_token about an expired
    token contains the token, which is removed from it, because the error may be raised again.
    """
    cdef _Failure failure = getattr(request, _FAILED, None)
    cause = error
    # Limited, because the errors of an application may form a cycle.
    for _ in range(0 if failure is None else 100):
        if cause is failure.error():
            return failure
        cause = cause.__context__ if cause.__cause__ is None else cause.__cause__
        if cause is None:
            break
    verified = getattr(request, _VERIFIED, None)
    failure = _new_failure(
        error, state.settings() if verified is None else (<_VerifiedToken>verified).settings,
        None, None,
    )
    if isinstance(error, jwt.ExpiredSignatureError) and "jwt_data" in vars(error):
        claims = vars(error).pop("jwt_data")
        failure.rejected = _new_verified(
            error.jwt_header, claims, _settings_of_issuer(state, failure.settings, claims)
        )
    return failure


async def _answer(str name, error):
    """Respond to an error. While a callback runs, the rejected token is the current one."""
    cdef _AppState state = _current_state()
    request = _current_request()
    cdef _Failure failure = _failure_behind(state, request, error)
    cdef _Settings settings = failure.settings
    callback = state.callbacks.answers.get(name)
    before = getattr(request, _VERIFIED, None)
    shown = request is not None and failure.rejected is not None
    if shown:
        setattr(request, _VERIFIED, failure.rejected)
    try:
        if callback is None:
            result = _default_answer(state, settings, name, error)
        else:
            result = await _settled(callback(error, get_raw_jwt_header(), get_raw_jwt()))
        retry_after = _RETRY_AFTER.get(name)
        if not settings.www_authenticate and retry_after is None:
            return result
        response = await state.app.make_response(result)
        if retry_after is not None:
            response.headers.setdefault("Retry-After", retry_after)
        elif response.status_code in (401, 403) and "WWW-Authenticate" not in response.headers:
            _add_challenge(response, state, settings, error)
        return response
    finally:
        if shown:
            setattr(request, _VERIFIED, before)


# -----------------------------------------------------------------------------
# JWTManager
# -----------------------------------------------------------------------------

cdef bint _accepts(object callback, int count) except -1:
    """Whether a callback can be called with ``count`` positional arguments.

    A callable without a readable signature (some builtins) is assumed to match.
    """
    try:
        signature = inspect.signature(callback)
    except (ValueError, TypeError):
        return True
    try:
        signature.bind(*(None,) * count)
    except TypeError:
        return False
    return True


cdef object _adapt(object callback, str loader, dict forms, dict deprecated):
    """The adapter for a callback, chosen by the number of arguments that it accepts.

    :param forms: adapters by number of arguments, in order of preference.
    :param deprecated: texts of warnings by number of arguments.
    :raises TypeError: if it accepts none of these numbers of arguments.
    """
    if not callable(callback):
        raise TypeError(f"{loader} accepts a function, not {type(callback).__name__}")
    if inspect.isgeneratorfunction(callback) or inspect.isasyncgenfunction(callback):
        raise TypeError(f"The callback of {loader} must return its result, not yield it")
    for count, adapted in forms.items():
        if _accepts(callback, count):
            if count in deprecated:
                warnings.warn(deprecated[count], DeprecationWarning)
            return adapted
    words = ("no arguments", "one argument", "two arguments")
    raise TypeError(
        f"The callback of {loader} must accept {' or '.join([words[count] for count in forms])}"
    )


# Attributes of 0.1.0's manager that applications assign, with the equivalent loaders.
cdef dict _LOADERS_BY_PRIVATE_NAME = {
    "_user_claims_callback": "user_claims_loader",
    "_user_identity_callback": "user_identity_loader",
    "_expired_token_callback": "expired_token_loader",
    "_invalid_token_callback": "invalid_token_loader",
    "_unauthorized_callback": "unauthorized_loader",
    "_needs_fresh_token_callback": "needs_fresh_token_loader",
    "_revoked_token_callback": "revoked_token_loader",
    "_user_loader_callback": "user_loader_callback_loader",
    "_user_loader_error_callback": "user_loader_error_loader",
    "_token_in_blacklist_callback": "token_in_blacklist_loader",
    "_claims_verification_callback": "claims_verification_loader",
    "_verify_claims_failed_callback": "claims_verification_failed_loader",
    "_decode_key_callback": "decode_key_loader",
    "_encode_key_callback": "encode_key_loader",
    "_jwt_additional_header_callback": "additional_headers_loader",
}
# Methods of 0.1.0's manager that subclasses override, with their replacements.
cdef dict _PRIVATE_METHODS = {
    "_set_error_handler_callbacks": (
        "the loaders for error responses, or app.register_error_handler"
    ),
    "_set_default_configuration_options": "app.config",
    "_create_access_token": "create_access_token and the loaders for token contents",
    "_create_refresh_token": "create_refresh_token and the loaders for token contents",
}


cdef object _not_called(str name):
    public = _PRIVATE_METHODS.get(name) or _LOADERS_BY_PRIVATE_NAME[name]
    return TypeError(f"JWTManager.{name} was private in 0.1.0 and is never called: use {public}")


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

    def __init__(self, app=None, add_context_processor=False, token_store=None):
        self._callbacks = _Callbacks()
        self._token_store = _verified_store(token_store)
        if app is None:
            return
        if add_context_processor:
            self.init_app(app, add_context_processor)
        else:
            # A subclass may override it with only the one parameter of 0.1.0.
            self.init_app(app)

    def __setattr__(self, name, value):
        # Subclasses and applications of 0.1.0 assign these, which would have no effect now.
        if name in _LOADERS_BY_PRIVATE_NAME:
            getattr(self, _LOADERS_BY_PRIVATE_NAME[name])(value)
        elif name in _PRIVATE_METHODS:
            raise _not_called(name)
        else:
            super().__setattr__(name, value)

    def init_app(self, app, add_context_processor=False, token_store=None):
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
        cdef _AppState state
        for name in (*_PRIVATE_METHODS, *_LOADERS_BY_PRIVATE_NAME):
            if hasattr(type(self), name):
                raise _not_called(name)
        app.extensions[_EXTENSION] = self
        state = _AppState(app, self._callbacks)
        state.watch = _Watch(state)
        state.store = self._token_store if token_store is None else _verified_store(token_store)
        app.extensions[_STATE] = state
        for name, value in DEFAULTS.items():
            # Lists are copied, because applications may append to them.
            app.config.setdefault(name, value.copy() if isinstance(value, list) else value)
        for exception, name in _ANSWERED:
            app.register_error_handler(exception, self._error_handler(name))
        if add_context_processor:
            app.context_processor(lambda: {"current_user": get_current_user()})
        app.cli.add_command(_jwt_commands(app))
        app.before_serving(_start_check(app))
        app.after_serving(_stop_watch(app))

    def check(self, app):
        """Check the configuration of an app, for tests and CI.

        The same check runs before the app serves. It warns about ``JWT_*`` options that do not
        exist and about methods in JWT_CSRF_METHODS that HTTP does not define.

        :param app: a Quart app to which a manager is bound.
        :raises RuntimeError: if options or keys are invalid (the message lists all of them), or if
            a decorator is placed above the decorator of a route or a hook, where it protects
            nothing.
        """
        _verify_configuration(app)

    def describe(self, app):
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
        _describe(app)

    # --- Loaders: token contents ----------------------------------------------

    def user_claims_loader(self, callback):
        """Register the callback that returns the user claims of a new access token.

        They become the claim that JWT_USER_CLAIMS names, also in refresh tokens if
        JWT_CLAIMS_IN_REFRESH_TOKEN is True. The callback is not called if ``user_claims`` is
        passed.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns a JSON-serializable value, usually a dict.
        """
        return self._register("user_claims_loader", "user_claims", callback, {1: callback})

    def additional_claims_loader(self, callback):
        """Register the callback that returns additional top-level claims of a new token.

        As in Flask-JWT-Extended. The user claims, in contrast, are a single claim that contains a
        dict.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns a dict of claims or None.
        """
        return self._register(
            "additional_claims_loader", "additional_claims", callback, {1: callback}
        )

    def user_identity_loader(self, callback):
        """Register the callback that converts an object, such as a user, to its identity.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns the identity for the token, a JSON-serializable value. It must be a str
            if JWT_IDENTITY_CLAIM is ``"sub"`` and JWT_VERIFY_SUB is True.
        """
        return self._register("user_identity_loader", "user_identity", callback, {1: callback})

    def additional_headers_loader(self, callback):
        """Register the callback that returns additional headers of a new token, such as ``kid``.

        The callback is not called if ``headers`` is passed.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns a dict of header parameters (RFC 7515, section 4) or None.
        """
        return self._register("additional_headers_loader", "jwt_headers", callback, {1: callback})

    # --- Loaders: keys --------------------------------------------------------

    def encode_key_loader(self, callback):
        """Register the callback that chooses the key to sign a token.

        :param callback: called with the ``identity`` that was passed to the creating function (any
            type), returns the secret (str or bytes), or the private key as PEM (str or bytes) or as
            a ``cryptography`` key.
        """
        return self._register("encode_key_loader", "encode_key", callback, {1: callback})

    def decode_key_loader(self, callback):
        """Register the callback that chooses the key to verify a token.

        The key is used only for the algorithms of its own family. A token for which the callback
        returns None or an empty key is rejected.

        :param callback: called with the unverified claims and the unverified header of the token
            (dicts), returns the secret (str or bytes), or the public key as PEM (str or bytes), as
            a ``cryptography`` key or as a ``PyJWK``. A callback with one parameter, called with the
            claims only, is deprecated.
        """
        return self._register(
            "decode_key_loader", "decode_key", callback,
            {2: callback, 1: lambda claims, header: callback(claims)},
            {1: (
                "The callback of decode_key_loader should accept the unverified claims and the "
                "unverified header; the form with one argument is deprecated"
            )},
        )

    def jwks_fetch_loader(self, callback):
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
        return self._register("jwks_fetch_loader", "jwks_fetch", callback, {1: callback})

    # --- Loaders: checks ------------------------------------------------------

    def token_in_blacklist_loader(self, callback):
        """0.1.0 name of :meth:`token_in_blocklist_loader`.

        The callback is called only if JWT_BLACKLIST_ENABLED is True.

        :param callback: called with the claims of the token (dict) only, returns True if the token
            is revoked, False otherwise.
        """
        self._register(
            "token_in_blacklist_loader", "token_in_blacklist", callback,
            {1: lambda settings, header, claims: callback(claims)},
        )
        self._callbacks.is_blocklist = False
        return callback

    def token_in_blocklist_loader(self, callback):
        """Register the callback that checks whether a token is revoked, as in Flask-JWT-Extended.

        It is called for the token types in JWT_BLACKLIST_TOKEN_CHECKS, regardless of
        JWT_BLACKLIST_ENABLED. It replaces the callback of :meth:`token_in_blacklist_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns True if
            the token is revoked, False otherwise.
        """
        self._register(
            "token_in_blocklist_loader", "token_in_blacklist", callback,
            {2: lambda settings, header, claims: callback(dict(header), claims)},
        )
        self._callbacks.is_blocklist = True
        return callback

    def claims_verification_loader(self, callback):
        """Register the callback that accepts or rejects the user claims of an access token.

        It is not called for refresh tokens. It replaces the callback of
        :meth:`token_verification_loader`, which is called for both types of token.

        :param callback: called with the user claims (a JSON value, usually a dict), returns True to
            accept them, False otherwise.
        """

        def adapted(_Settings settings, header, claims):
            return callback(claims[settings.user_claims_key])

        self._register("claims_verification_loader", "claims_verification", callback, {1: adapted})
        self._callbacks.verifies_refresh_tokens = False
        return callback

    def token_verification_loader(self, callback):
        """Register the callback that accepts or rejects a token, as in Flask-JWT-Extended.

        It is called for access tokens and refresh tokens. It replaces the callback of
        :meth:`claims_verification_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns True to
            accept it, False otherwise.
        """
        self._register(
            "token_verification_loader", "claims_verification", callback,
            {2: lambda settings, header, claims: callback(dict(header), claims)},
        )
        self._callbacks.verifies_refresh_tokens = True
        return callback

    def user_loader_callback_loader(self, callback):
        """0.1.0 name of :meth:`user_lookup_loader`.

        :param callback: called with the identity in the token (a JSON value) only, returns the user
            or None.
        """

        def adapted(_Settings settings, header, claims):
            return callback(claims[settings.identity_claim_key])

        return self._register(
            "user_loader_callback_loader", "user_loader", callback, {1: adapted}
        )

    def user_lookup_loader(self, callback):
        """Register the callback that loads the user of a request, as in Flask-JWT-Extended.

        The user is then available as :data:`current_user`. If the callback returns None, the
        request is rejected. It replaces the callback of :meth:`user_loader_callback_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns the
            user (any object), or None if there is no such user.
        """
        return self._register(
            "user_lookup_loader", "user_loader", callback,
            {2: lambda settings, header, claims: callback(dict(header), claims)},
        )

    # --- Loaders: sessions ----------------------------------------------------

    def refresh_reuse_loader(self, callback):
        """Register the callback that reports the reuse of a refresh token.

        It is called when a refresh token is used again after its rotation, outside of its grace
        period (JWT_REFRESH_GRACE). The session is already revoked at that time (RFC 9700, section
        4.14.2), and the response is 401. The callback is called once per session: use it to warn
        the user, whose token may have been stolen.

        :param callback: called with the header and the claims of the token (dicts). The return
            value is ignored.
        """
        return self._register(
            "refresh_reuse_loader", "refresh_reuse", callback,
            {2: lambda header, claims: callback(dict(header), claims)},
        )

    def implicit_refresh_loader(self, callback):
        """Register the callback that decides whether an access token is renewed in a response.

        It is called if JWT_IMPLICIT_REFRESH is set, after the view and before the renewal.

        :param callback: called with the claims of the access token (dict), returns True to renew
            it, False otherwise.
        """
        return self._register(
            "implicit_refresh_loader", "implicit_refresh", callback, {1: callback}
        )

    # --- Loaders: error responses ---------------------------------------------

    def unauthorized_loader(self, callback):
        """Register the callback that responds to a request without a token.

        It also responds to a missing or wrong CSRF value and to a WebSocket from a foreign origin.
        The default response is 401 with ``{"msg": "<error description>"}``, or 403 for a foreign
        origin.

        :param callback: called with the reason (str), returns a response.
        """
        return self._register(
            "unauthorized_loader", "unauthorized", callback,
            {1: lambda error, header, claims: callback(str(error))},
        )

    def invalid_token_loader(self, callback):
        """Register the callback that responds to an invalid token.

        The default response is 422 with ``{"msg": "<error description>"}``.

        :param callback: called with the reason (str), returns a response.
        """
        return self._register(
            "invalid_token_loader", "invalid_token", callback,
            {1: lambda error, header, claims: callback(str(error))},
        )

    def expired_token_loader(self, callback):
        """Register the callback that responds to an expired token.

        The default response is 401 with ``{"msg": "Token has expired"}``.

        :param callback: called with the claims of the token (dict), or, if it has two parameters,
            with the header and the claims (dicts) as in Flask-JWT-Extended, returns a response. A
            callback without parameters is deprecated.
        """
        return self._register(
            "expired_token_loader", "expired_token", callback,
            {
                1: lambda error, header, claims: callback(claims),
                2: lambda error, header, claims: callback(header, claims),
                0: lambda error, header, claims: callback(),
            },
            {0: (
                "The callback of expired_token_loader should accept the claims of the expired "
                "token; the form without arguments is deprecated"
            )},
        )

    def needs_fresh_token_loader(self, callback):
        """Register the callback that responds to a non-fresh token where a fresh one is required.

        The default response is 401 with ``{"msg": "Fresh token required"}``.

        :param callback: called without arguments, or, if it has two parameters, with the header and
            the claims of the token (dicts) as in Flask-JWT-Extended, returns a response.
        """
        return self._register(
            "needs_fresh_token_loader", "needs_fresh_token", callback,
            {
                0: lambda error, header, claims: callback(),
                2: lambda error, header, claims: callback(header, claims),
            },
        )

    def revoked_token_loader(self, callback):
        """Register the callback that responds to a revoked token.

        It also responds if the session of the token has ended, or a refresh token is reused. The
        default response is 401 with ``{"msg": "Token has been revoked"}``. For a session, the
        message is ``Session has ended`` or ``Refresh token has been reused``.

        :param callback: called without arguments, or, if it has two parameters, with the header and
            the claims of the token (dicts) as in Flask-JWT-Extended, returns a response.
        """
        return self._register(
            "revoked_token_loader", "revoked_token", callback,
            {
                0: lambda error, header, claims: callback(),
                2: lambda error, header, claims: callback(header, claims),
            },
        )

    def user_loader_error_loader(self, callback):
        """0.1.0 name of :meth:`user_lookup_error_loader`.

        :param callback: called with the identity in the token (a JSON value) only, returns a
            response.
        """
        return self._register(
            "user_loader_error_loader", "user_loader_error", callback,
            {1: lambda error, header, claims: callback(get_jwt_identity())},
        )

    def user_lookup_error_loader(self, callback):
        """Register the callback that responds if the user was not found, as in Flask-JWT-Extended.

        The default response is 401 with ``{"msg": "Error loading the user <identity>"}``. The
        callback replaces that of :meth:`user_loader_error_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns a
            response.
        """
        return self._register(
            "user_lookup_error_loader", "user_loader_error", callback,
            {2: lambda error, header, claims: callback(header, claims)},
        )

    def claims_verification_failed_loader(self, callback):
        """0.1.0 name of :meth:`token_verification_failed_loader`.

        :param callback: called without arguments, returns a response.
        """
        return self._register(
            "claims_verification_failed_loader", "verify_claims_failed", callback,
            {0: lambda error, header, claims: callback()},
        )

    def token_verification_failed_loader(self, callback):
        """Register the callback that responds to rejected claims, as in Flask-JWT-Extended.

        The default response is 400 with ``{"msg": "User claims verification failed"}``. The
        callback replaces that of :meth:`claims_verification_failed_loader`.

        :param callback: called with the header and the claims of the token (dicts), returns a
            response.
        """
        return self._register(
            "token_verification_failed_loader", "verify_claims_failed", callback,
            {2: lambda error, header, claims: callback(header, claims)},
        )

    def insufficient_scope_loader(self, callback):
        """Register the callback that responds to a token that lacks a required scope.

        The default response is 403 with ``{"msg": "Insufficient scope"}``.

        :param callback: called with the scopes that the endpoint requires (tuple of str) and the
            claims of the token (dict), returns a response.
        """
        return self._register(
            "insufficient_scope_loader", "insufficient_scope", callback,
            {2: lambda error, header, claims: callback(error.required, claims)},
        )

    # --- Trusted issuers ------------------------------------------------------

    @property
    def issuers(self):
        """The trusted issuers by name: a read-only mapping of str to :class:`TrustedIssuer`."""
        return types.MappingProxyType((<_Callbacks>self._callbacks).issuers)

    def trust_issuer(
        self, issuer, *, audience, algorithms, jwks_uri=None, token_type=None, audience_claim="aud",
        identity_claim="sub", scope_claim=None, leeway=None
    ):
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
        cdef _Callbacks callbacks = self._callbacks
        cdef _Issuer trusted = _Issuer.__new__(_Issuer)
        if not isinstance(issuer, str):
            raise TypeError(f"issuer must be a string, not {_shown(issuer)}")
        trusted.name = _plain_text(issuer)
        if not trusted.name:
            raise ValueError("issuer must be the iss of its tokens, a non-empty string")
        if trusted.name in callbacks.issuers:
            raise ValueError(f"issuer {trusted.name!r} is already trusted")
        trusted.audience = _read_rule_names("audience", audience, "names of this service")
        if "" in trusted.audience:
            raise ValueError("audience must not be empty")
        names = _read_rule_names("algorithms", algorithms, "names of algorithms")
        trusted.algorithms = tuple(dict.fromkeys(names))
        accepted = [name for name in _ALGORITHMS if name not in _SYMMETRIC]
        for name in trusted.algorithms:
            if name not in accepted:
                raise ValueError(f"algorithms must be one or several of {', '.join(accepted)}")
        trusted.allowed_algorithms = frozenset(trusted.algorithms)
        trusted.jwks_uri = _read_fetched_url(jwks_uri, trusted.name)
        trusted.token_type = _read_optional_name("token_type", token_type)
        if token_type is not None and _TYPE_RE.fullmatch(token_type) is None:
            raise ValueError('token_type must be a media type without parameters, such as "at+jwt"')
        trusted.audience_claim = _read_foreign_claim("audience_claim", audience_claim, ("aud",))
        trusted.identity_claim = _read_foreign_claim("identity_claim", identity_claim, ("sub",))
        if scope_claim is not None:
            trusted.scope_claim = _read_foreign_claim("scope_claim", scope_claim, ())
        if leeway is not None:
            try:
                trusted.leeway = _read_seconds({"leeway": leeway}, "leeway", _INFINITY)
            except RuntimeError as error:
                is_number = isinstance(leeway, (int, float, datetime.timedelta))
                kind = ValueError if is_number else TypeError
                raise kind(f"{error}, not {_shown(leeway)}") from None
        trusted.callbacks = callbacks
        shown = TrustedIssuer()
        shown._issuer = trusted
        callbacks.issuers[trusted.name] = shown
        return shown

    # --- Views ----------------------------------------------------------------

    def serve_jwks(self, app, path="/.well-known/jwks.json"):
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
        _verify_app("serve_jwks", app)
        if not isinstance(path, str):
            raise TypeError(f"path must be a string, not {_shown(path)}")
        if not path.startswith("/"):
            raise ValueError("path must start with a slash")
        _add_open_view(app, path, "jwt_jwks", _answer_jwks)

    def serve_resource_metadata(self, app, *, resource=None, scopes=()):
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
        cdef _AppState state
        _verify_app("serve_resource_metadata", app)
        state = _state_of(app)
        if resource is not None and not isinstance(resource, str):
            raise TypeError(f"resource must be a URL or None, not {_shown(resource)}")
        if resource is not None and _RESOURCE_RE.fullmatch(resource) is None:
            raise ValueError(
                "resource must be an http or https URL without a query, whose path has only "
                "letters, digits and ._~- between single slashes"
            )
        names = _Rules(scopes=scopes).scopes

        async def view():
            return _resource_metadata(state, names)

        url = _resource_metadata_url("http://localhost" if resource is None else resource)
        path = urllib.parse.urlsplit(url).path
        _add_open_view(app, path, "jwt_resource_metadata", view)
        state.resource = resource

    # --- Private --------------------------------------------------------------

    def _register(self, loader, name, callback, forms, deprecated=None):
        adapted = _adapt(callback, loader, forms, deprecated or {})
        if name in _ANSWERS:
            (<_Callbacks>self._callbacks).answers[name] = adapted
        else:
            setattr(self._callbacks, name, adapted)
        return callback

    def _error_handler(self, name):
        async def handle(error):
            return await _answer(name, error)

        return handle


cdef object _read_optional_name(str argument, object value):
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string or None, not {_shown(value)}")
    return _plain_text(value)


cdef str _read_foreign_claim(str argument, object value, tuple besides):
    """The name of a claim in tokens of an issuer, which must not have another meaning."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be the name of a claim, not {_shown(value)}")
    if not value or (value not in besides and value in _RESERVED_CLAIMS | _OWN_CLAIMS):
        raise ValueError(f"{argument} must be the name of a claim that has no other meaning")
    return _plain_text(value)


cdef object _read_fetched_url(object jwks_uri, str issuer):
    """The URL of a JWK Set; None to discover it, which requires a URL as issuer."""
    uri = _read_optional_name("jwks_uri", jwks_uri)
    if _split_url(issuer if uri is None else uri) is not None:
        return uri
    if uri is None:
        raise ValueError(
            "issuer is not an https URL, so its keys cannot be discovered: pass jwks_uri"
        )
    raise ValueError("jwks_uri must be an https URL, or an http URL on this machine")


cdef int _add_open_view(object app, str path, str endpoint, view) except -1:
    """Add a view that does not require a token, even if protect() guards the app."""
    if endpoint in app.view_functions:
        raise ValueError(f"The app already has the endpoint {endpoint!r}")
    # Quart would run anything but a Python coroutine function in a thread.
    wrapper = _WRAPPERS["exempt_coroutine"](view)
    _RULES_OF[wrapper] = None
    # Tools name the operation after it.
    wrapper.__name__ = wrapper.__qualname__ = endpoint
    # Some clients remove a trailing slash from the path.
    app.add_url_rule(path, endpoint, wrapper, methods=["GET"], strict_slashes=False)


cdef object _resource_metadata(_AppState state, tuple scopes):
    """The response with the metadata (RFC 9728, section 2)."""
    cdef _Settings settings = state.settings()
    resource = _resource_of(state)
    if resource is None:
        raise BadRequest
    metadata = {"resource": resource}
    issuers = [name for name in state.callbacks.issuers if _split_url(name) is not None]
    if issuers:
        metadata["authorization_servers"] = issuers
    if scopes:
        metadata["scopes_supported"] = list(scopes)
    # The other locations are not methods of RFC 6750, section 2.
    is_bearer = settings.header_lower == "authorization" and settings.header_type == "Bearer"
    metadata["bearer_methods_supported"] = (
        ["header"] if is_bearer and "headers" in settings.token_location else []
    )
    response = state.app.response_class(json.dumps(metadata), content_type="application/json")
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


async def _answer_jwks():
    cdef _AppState state = _current_state()
    cdef _Settings settings = state.settings()
    cdef double now = _now()
    response = state.app.response_class(
        json.dumps({"keys": _published_jwks(settings, now)}),
        content_type="application/jwk-set+json",
    )
    response.headers["Cache-Control"] = f"public, max-age={_jwks_max_age(settings, now)}"
    return response


# --- Checking a configuration -------------------------------------------------

cdef frozenset _HTTP_METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
)


cdef object _start_check(object app):
    """Create the function that an app runs before it serves."""

    async def check():
        cdef _AppState state = _state_of(app)
        _verify_configuration(app)
        await state.watch.start()

    async def start():
        # As the last one: earlier functions of the application may load the keys. Quart iterates
        # over this list itself.
        if check not in app.before_serving_funcs:
            app.before_serving_funcs.append(check)

    return start


cdef object _stop_watch(object app):
    """Create the function that an app runs after it has served."""

    async def stop():
        cdef _AppState state = _state_of(app)
        await state.watch.stop()

    return stop


cdef int _verify_configuration(object app) except -1:
    cdef _AppState state = _state_of(app)
    cdef _Settings settings
    _verify_placement(app)
    for name in app.config:
        if isinstance(name, str) and name.startswith("JWT_") and name not in DEFAULTS:
            near = difflib.get_close_matches(name, DEFAULTS, 1)
            hint = f": did you mean {near[0]}?" if near else ""
            warnings.warn(f"There is no option {name}{hint}")
    faults = []
    settings = _read_all(app, faults)
    if settings is not None:
        unknown = sorted(settings.csrf_request_methods - _HTTP_METHODS)
        if unknown:
            warnings.warn(
                f"JWT_CSRF_METHODS contains methods that HTTP does not define: {', '.join(unknown)}"
            )
        _add_key_faults(state, settings, faults)
        if settings.blacklist_enabled and state.callbacks.token_in_blacklist is None:
            faults.append(_MISSING_BLACKLIST_CALLBACK)
        if settings.implicit_refresh is not None and state.store is None:
            faults.append(_MISSING_STORE.format(name="JWT_IMPLICIT_REFRESH"))
        _add_issuer_faults(state, settings, faults)
    if faults:
        raise RuntimeError("\n".join(["The configuration is invalid:", *faults]))
    # The first request does not have to read the options again.
    state.current = settings


cdef int _add_issuer_faults(_AppState state, _Settings settings, list faults) except -1:
    """Find faults that reject tokens: the app as a trusted issuer, routes without known issuers."""
    cdef _Route route
    trusted = state.callbacks.issuers
    if settings.encode_issuer in trusted:
        faults.append(
            "JWT_ENCODE_ISSUER must not be a trusted issuer: the tokens of the app would be "
            "verified with the keys of that issuer"
        )
    for name in trusted:
        try:
            _settings_of_issuer(state, settings, {"iss": name})
        except RuntimeError as error:
            faults.append(f"The issuer {name!r} cannot be trusted with these options: {error}")
    own = {settings.encode_issuer, *(settings.decode_issuer or ())}
    known = {*trusted, *own}
    unknown = set()
    closed = set()
    for rule in state.app.url_map.iter_rules():
        for method in rule.methods or ("GET",):
            route = _Route(state.app, rule.endpoint, method)
            if route.rules is None or route.rules.issuers is None:
                continue
            for names in route.rules.issuers:
                unknown.update([(rule.endpoint, name) for name in names if name not in known])
            if not any([
                all([not names or name in names for names in route.rules.issuers]) for name in own
            ] + [all([name in names for names in route.rules.issuers]) for name in trusted]):
                closed.add(rule.endpoint)
    for endpoint in sorted(closed - {endpoint for endpoint, _ in unknown}):
        faults.append(
            f"The endpoint {endpoint!r} rejects all tokens: its rules have no issuer in common"
        )
    for endpoint, name in sorted(unknown):
        faults.append(f"The endpoint {endpoint!r} accepts tokens of {name!r}, which is not trusted")


cdef _Settings _read_all(object app, list faults):
    """Read the options of an app. Each invalid one is a fault and replaced with its default.

    :return: the options, or None if it is unknown which keys they need.
    """
    values = _watched_values(app.config)
    has_keys = True
    while True:
        try:
            settings = _Settings(values)
        except RuntimeError as error:
            faults.append(str(error))
            name = getattr(error, "option", None)
            if name is None or values[name] is DEFAULTS.get(name):
                return None
            values[name] = DEFAULTS.get(name)
            if name == "JWT_KEYS":
                values["JWT_SIGNING_KEY_ID"] = None
            has_keys = has_keys and "ALGORITHM" not in name and name not in (
                "JWT_KEYS", "JWT_SIGNING_KEY_ID"
            )
        else:
            return settings if has_keys else None


cdef int _add_key_faults(_AppState state, _Settings settings, list faults) except -1:
    """Prepare each configured key, and warn about weak ones.

    A service may only create tokens, only verify them, or only trust issuers. Without any key, it
    can do none of these.
    """
    cdef _Callbacks callbacks = state.callbacks
    cdef bint has_key = (
        callbacks.encode_key is not None
        or callbacks.decode_key is not None
        or settings.ring is not None
        or len(callbacks.issuers) > 0
    )
    _add_ring_faults(state, settings, faults)
    for name in settings.decode_algorithms:
        for signing in (False, True):
            if (callbacks.encode_key if signing else callbacks.decode_key) is not None or (
                signing and name != settings.algorithm
            ):
                continue
            option, key = _configured(settings, name, signing)
            if key is None:
                continue
            has_key = True
            try:
                _prepare_configured(state, settings, key, option, name, signing)
            except RuntimeError as error:
                if str(error) not in faults:
                    faults.append(str(error))
    if not has_key:
        option = _configured(settings, settings.algorithm, False)[0]
        faults.append(_missing_key(settings.algorithm, option))


# -----------------------------------------------------------------------------
# Create and inspect
# -----------------------------------------------------------------------------

# --- Create -------------------------------------------------------------------

def create_access_token(
    identity, fresh=False, expires_delta=None, user_claims=None, headers=None,
    additional_claims=None, additional_headers=None
):
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
    creation = _new_creation(
        _ACCESS, identity, fresh, expires_delta, user_claims, headers, additional_claims,
        additional_headers,
    )
    return _create_token(creation, "create_access_token_async")


async def create_access_token_async(
    identity, fresh=False, expires_delta=None, user_claims=None, headers=None,
    additional_claims=None, additional_headers=None
):
    """Create an access token, and await callbacks that are async.

    The parameters, the result and the exceptions are those of :func:`create_access_token`.
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
    creation = _new_creation(
        _REFRESH, identity, None, expires_delta, user_claims, headers, additional_claims,
        additional_headers,
    )
    return _create_token(creation, "create_refresh_token_async")


async def create_refresh_token_async(
    identity, expires_delta=None, user_claims=None, headers=None, additional_claims=None,
    additional_headers=None
):
    """Create a refresh token, and await callbacks that are async.

    The parameters, the result and the exceptions are those of :func:`create_refresh_token`.
    """
    creation = _new_creation(
        _REFRESH, identity, None, expires_delta, user_claims, headers, additional_claims,
        additional_headers,
    )
    return await _create_token_async(creation)


# --- Inspect ------------------------------------------------------------------

def decode_token(encoded_token, csrf_value=None, allow_expired=False):
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
    cdef _AppState state = _current_state()
    cdef _Settings settings = state.settings()
    cdef _ParsedToken token = _parse_token(encoded_token, settings.max_token_size, state.headers)
    settings = _settings_for(state, settings, token)
    if settings.issuer is not None:
        return _decode_parsed(
            state, settings, token, settings.issuer.known_key_of(settings, token), csrf_value,
            allow_expired,
        )
    key = _unproxied(_key_of(state, settings, token))
    if _is_awaitable(key):
        raise _needs_awaiting(key, "decode_token_async")
    return _decode_parsed(state, settings, token, key, csrf_value, allow_expired)


async def decode_token_async(encoded_token, csrf_value=None, allow_expired=False):
    """Verify a token and return its claims; await an async decode_key_loader.

    The parameters, the result and the exceptions are those of :func:`decode_token`.
    """
    cdef _AppState state = _current_state()
    cdef _Settings settings = state.settings()
    cdef _ParsedToken token = _parse_token(encoded_token, settings.max_token_size, state.headers)
    settings = _settings_for(state, settings, token)
    key = _key_of(state, settings, token)
    if _is_awaitable(key):
        key = await _settled(key)
    return _decode_parsed(state, settings, token, key, csrf_value, allow_expired)


cdef dict _decode_parsed(
    _AppState state, _Settings settings, _ParsedToken token, object key, object csrf_value,
    bint allow_expired
):
    prepared = _take_key(state, settings, token, key)
    claims = _verify_token(token, prepared, state, settings, allow_expired)
    if csrf_value is not None:
        # Before the expiry, as in 0.1.0: forged requests must not reach the expired_token callback.
        _verify_csrf(claims, csrf_value)
    _verify_expiry(token, claims)
    return claims


async def verify_token(
    encoded_token, *, fresh=False, refresh=False, verify_type=True, skip_revocation_check=False,
    scopes=None, issuers=None
):
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
    cdef _Rules rules = _Rules(
        False, fresh, refresh, None, verify_type, skip_revocation_check, scopes, False, issuers
    )
    cdef _VerifiedToken verified = await rules.verify(encoded_token)
    return verified.claims


def get_jti(encoded_token):
    """Verify a token and return its ``jti``, the ID to store in a blocklist.

    :param encoded_token: the encoded token (str or bytes).
    :return: the claim ``jti``, or None if the token does not have one.
    :raises: the exceptions of :func:`decode_token`.
    """
    return decode_token(encoded_token)["jti"]


def get_csrf_token(encoded_token):
    """Verify a token and return its CSRF double-submit value.

    :param encoded_token: the encoded token (str or bytes).
    :return: the claim ``csrf``.
    :raises JWTDecodeError: if the token does not have this claim, because CSRF protection was off
        when it was created.
    :raises: the exceptions of :func:`decode_token`.
    """
    return _csrf_claim(decode_token(encoded_token))


def get_jwks():
    """Return the public keys that verify the tokens of the app, as a JWK Set (RFC 7517).

    The set contains the asymmetric keys of JWT_KEYS until their ``verify_until``, including keys
    that will sign later, and JWT_PUBLIC_KEY or the public key of JWT_PRIVATE_KEY. The ``kid`` of
    the latter is its thumbprint (RFC 7638), unless it is a JWK with a ``kid``. The set never
    contains secrets or private members.

    :return: a new dict with the list ``keys``, sorted by ``kid``. Each key has ``kty``, ``kid``,
        ``alg``, ``use`` and its public members.
    :raises RuntimeError: if there is no app context, or an option or a key is invalid.
    """
    return {"keys": _published_jwks(_current_state().settings(), _now())}


def get_unverified_jwt_headers(encoded_token):
    """Return the header of a token without verifying the signature.

    Do not trust the header. Use it, for example, to look up a key by its ``kid``.

    :param encoded_token: the encoded token (str or bytes), at most 16384 bytes, or
        JWT_MAX_TOKEN_SIZE bytes in an app context.
    :return: a new dict of header parameters.
    :raises jwt.InvalidTokenError: if the token is malformed.
    """
    max_size = DEFAULTS["JWT_MAX_TOKEN_SIZE"]
    if get_value(_CV_APP) is not None:
        max_size = _current_state().settings().max_token_size
    return _parse_token(encoded_token, max_size, _HeaderMemo()).header.parameters


# -----------------------------------------------------------------------------
# Sessions
# -----------------------------------------------------------------------------

async def create_session(
    identity, *, fresh=False, metadata=None, expires_delta=None, refresh_expires_delta=None,
    user_claims=None, additional_claims=None
):
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
    cdef _Pair pair = _new_pair(
        identity, fresh, expires_delta, refresh_expires_delta, user_claims, additional_claims
    )
    cdef _Settings settings = pair.access.settings
    store = _store_of(pair.state, "create_session")
    metadata = _verified_metadata(metadata)
    await pair.ask()
    text = _identity_text(pair.access.identity, pair.state)
    if len(text) > _IDENTITY_SIZE:
        raise ValueError(f"identity must be at most {_IDENTITY_SIZE} characters long as text")
    session_id = _new_session_id(text)
    max_age = _seconds(settings.session_max_age)
    if max_age is not None:
        pair.access.latest = pair.refresh.latest = _latest_before(_now() + max_age, settings)
    # Before the session is stored, because encoding may fail.
    pair.encode(session_id, 0)
    session = await _stored(
        store.create_session, session_id, text, lifetime=pair.lifetime(), max_age=max_age,
        linger=_linger(settings), metadata=metadata,
    )
    return await pair.finish(session)


async def rotate_session(
    identity=None, *, fresh=False, expires_delta=None, refresh_expires_delta=None,
    user_claims=None, additional_claims=None
):
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
    cdef _VerifiedToken verified = _verified_token("rotate_session", True)
    cdef _AppState state = _current_state()
    _store_of(state, "rotate_session")
    if identity is None:
        identity = _subject_of(state, verified)
    pair = _new_pair(
        identity, fresh, expires_delta, refresh_expires_delta, user_claims, additional_claims
    )
    try:
        return await _rotate(state, verified, pair)
    except (JWTDecodeError, RevokedTokenError, WrongTokenError) as error:
        await _report_failure(state, verified, error)
        raise


async def _rotate(_AppState state, _VerifiedToken verified, _Pair pair):
    cdef _Settings settings = verified.settings
    cdef dict claims = verified.claims
    if claims["type"] != "refresh":
        raise WrongTokenError("Only refresh tokens are allowed")
    session_id, generation = _session_id_of(claims), _generation_of(claims)
    if not _is_session_id(session_id):
        raise SessionEndedError(_SESSION_ENDED)
    pair.access.identity = claims[settings.identity_claim_key]
    pair.access.keeps_identity = True
    await pair.ask()
    # The tokens get the next generation, for a rotation and for a retry.
    pair.encode(session_id, generation + 1)
    # If the client disconnects, the request is cancelled, but reuse must still be reported.
    outcome, session = await asyncio.shield(state.watch.run(_rotate_in_store(
        state, verified, session_id, generation, pair.lifetime()
    )))
    if outcome == "unavailable":
        raise session
    if outcome == "reused":
        raise TokenReusedError(_TOKEN_REUSED)
    if outcome == "ended":
        raise SessionEndedError(_SESSION_ENDED)
    return await pair.finish(session)


async def _rotate_in_store(
    _AppState state, _VerifiedToken verified, session_id, generation, lifetime
):
    cdef _Settings settings = verified.settings
    try:
        outcome, session = await _stored(
            state.store.rotate_session, session_id, generation, lifetime=lifetime,
            grace=settings.refresh_grace, linger=_linger(settings),
        )
    except TokenStoreError as error:
        # Returned, not raised: the loop would log it again if the request was cancelled.
        return "unavailable", error
    if outcome not in ("rotated", "retried", "reused", "ended"):
        raise _wrong_answer("rotate_session", outcome)
    if outcome == "reused":
        state.watch.add_session(session, _linger(settings))
        if state.callbacks.refresh_reuse is not None:
            await _settled(state.callbacks.refresh_reuse(verified.header, verified.claims))
    return outcome, session


async def revoke_session(session_id=None, *, identity=None):
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
    cdef _AppState state = _current_state()
    store = _store_of(state, "revoke_session")
    if session_id is None:
        session_id = _session_id_of(_verified_token("revoke_session", True).claims)
    elif not isinstance(session_id, str):
        raise TypeError(f"session_id must be a string or None, not {_shown(session_id)}")
    if not _is_session_id(session_id) or (
        identity is not None
        and session_id not in [session.id for session in await get_sessions(identity)]
    ):
        return False
    session = await _stored(store.revoke_session, session_id)
    if session is None:
        return False
    state.watch.add_session(session, _linger(state.settings()))
    return True


async def revoke_sessions(identity, keep=None):
    """End all sessions of an identity ("log out everywhere"), or all except one.

    :param identity: the identity as in its tokens, such as the result of :func:`get_jwt_identity`.
    :param keep: the ID of a session to keep, such as the result of :func:`get_session_id`.
    :return: the number of sessions that were live.
    :raises TypeError: if the identity is not JSON serializable, or ``keep`` is not a string.
    :raises TokenStoreError: if the token store is unavailable; some sessions may be revoked.
    :raises RuntimeError: if there is no app context or no token store.
    """
    cdef _AppState state = _current_state()
    store = _store_of(state, "revoke_sessions")
    if keep is not None and not isinstance(keep, str):
        raise TypeError(f"keep must be the ID of a session or None, not {_shown(keep)}")
    if not _is_session_id(keep):
        # No session has such an ID.
        keep = None
    text = _identity_text(_unproxied(identity), state)
    revoked = await _stored(store.revoke_sessions, text, keep=keep)
    for session in revoked:
        state.watch.add_session(session, _linger(state.settings()))
    return len(revoked)


async def get_sessions(identity):
    """List the live sessions of an identity, for example to show the user's devices.

    :param identity: as for :func:`revoke_sessions`.
    :return: a list of :class:`Session`, newest first.
    :raises TypeError: if the identity is not JSON serializable.
    :raises TokenStoreError: if the token store is unavailable.
    :raises RuntimeError: if there is no app context or no token store.
    """
    cdef _AppState state = _current_state()
    store = _store_of(state, "get_sessions")
    return await _stored(store.get_sessions, _identity_text(_unproxied(identity), state))


def get_session_id():
    """Return the ID of the session of the current request.

    :return: the claim ``sid`` of the token; None if the token does not have it, or no token was
        verified.
    :raises RuntimeError: if there is no app context.
    """
    token = _current_token()
    return None if token is None else token.claims.get("sid")


async def revoke_token(token=None):
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
    cdef _AppState state = _current_state()
    cdef _Settings settings = state.settings()
    store = _store_of(state, "revoke_token")
    if token is None:
        claims = _verified_token("revoke_token", True).claims
    elif isinstance(token, dict):
        claims = token
    elif isinstance(token, (str, bytes)):
        claims = await decode_token_async(token, allow_expired=True)
    else:
        raise TypeError(
            f"token must be an encoded token, a dict of claims or None, not {_shown(token)}"
        )
    jti = claims.get("jti")
    if not isinstance(jti, str):
        raise JWTDecodeError("Missing or invalid claim: jti")
    settings = _settings_of_issuer(state, settings, claims)
    lifetime = end = None
    if "exp" in claims:
        if not _is_number(claims["exp"]):
            # With allow_expired, decode_token does not check exp.
            raise jwt.DecodeError("Expiration Time claim (exp) must be an integer.")
        end = min(claims["exp"], _LAST_MOMENT) + _linger(settings)
        lifetime = end - _now()
        if lifetime <= 0:
            return
    token_id = _token_id(claims, settings)
    await _stored(store.revoke_token, token_id, lifetime=lifetime)
    state.watch.add("token", token_id, end)


async def renew_websocket(encoded_token):
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
    cdef _VerifiedToken verified = _verified_token("renew_websocket", True)
    cdef _VerifiedToken renewed = None
    cdef _Rules rules
    websocket = _current_request()
    cdef _Socket socket = getattr(websocket, _SOCKET, None)
    if socket is None or not socket.closes:
        raise RuntimeError(
            "renew_websocket() needs a WebSocket that is closed with its token: protect it with "
            "close_with_token=True, or set JWT_WEBSOCKET_CLOSE_WITH_TOKEN"
        )
    for rules in socket.rules:
        renewed = await rules.verify(encoded_token, verified)
    renewed.location = verified.location
    renewed.satisfied = verified.satisfied
    setattr(websocket, _VERIFIED, renewed)
    socket.verified = renewed
    return dict(renewed.claims)


# -----------------------------------------------------------------------------
# Current request
# -----------------------------------------------------------------------------

def get_raw_jwt():
    """0.1.0 name of :func:`get_jwt`; it returns {} if the request was not verified."""
    token = _current_token()
    return {} if token is None else token.claims


def get_raw_jwt_header():
    """0.1.0 name of :func:`get_jwt_header`; it returns {} if the request was not verified."""
    token = _current_token()
    return {} if token is None else dict(token.header)


cdef _VerifiedToken _verified_token(str function, bint needs_token=False):
    """The token of the current request, which must be verified, or accepted without a token."""
    cdef _VerifiedToken token = _current_token()
    if token is None:
        raise RuntimeError(
            f"{function}() needs a verified request: protect the view with jwt_required, or await "
            "verify_jwt_in_request() first"
        )
    if needs_token and not token.claims:
        raise NoAuthorizationError("Missing JWT")
    return token


def get_jwt():
    """Return all claims of the token of the current request, as in Flask-JWT-Extended.

    :return: the dict of claims; {} if the request was accepted without a token.
    :raises RuntimeError: if the request was not verified, or there is no app context.
    """
    return _verified_token("get_jwt").claims


def get_jwt_header():
    """Return the header of the token of the current request, as in Flask-JWT-Extended.

    :return: a dict of header parameters; {} if the request was accepted without a token.
    :raises RuntimeError: if the request was not verified, or there is no app context.
    """
    return dict(_verified_token("get_jwt_header").header)


def get_jwt_request_location():
    """Return the location where the token of the current request was found.

    :return: one of the location names of JWT_TOKEN_LOCATION; None if the request was accepted
        without a token, or not verified.
    :raises RuntimeError: if there is no app context.
    """
    token = _current_token()
    return None if token is None else token.location


def get_jwt_identity():
    """Return the identity in the token of the current request.

    :return: the claim named in JWT_IDENTITY_CLAIM; None if no token was verified.
    :raises RuntimeError: if there is no app context.
    """
    token = _current_token()
    return None if token is None else token.claims.get(token.settings.identity_claim_key)


def get_jwt_issuer():
    """Return the trusted issuer of the token of the current request.

    ``sub`` is unique only within its issuer (RFC 7519, section 4.1.2), so identify users by both.

    :return: the name passed to :meth:`JWTManager.trust_issuer`, which is the claim ``iss``; None
        for a token of the app itself, or if no token was verified.
    :raises RuntimeError: if there is no app context.
    """
    token = _current_token()
    return None if token is None or token.settings.issuer is None else token.settings.issuer.name


def get_jwt_claims():
    """Return the user claims in the token of the current request.

    :return: the claim named in JWT_USER_CLAIMS; {} if there are none, or no token was verified.
    :raises RuntimeError: if there is no app context.
    """
    token = _current_token()
    return {} if token is None else token.claims.get(token.settings.user_claims_key, {})


def get_current_user():
    """Return the user of the current request.

    :return: the user that the callback of user_loader_callback_loader or user_lookup_loader
        returned; None if there is no such callback, or no token was verified.
    :raises RuntimeError: if there is no app context.
    """
    token = _current_token()
    return None if token is None else token.user


# -----------------------------------------------------------------------------
# Response cookies
# -----------------------------------------------------------------------------

cdef _Settings _cookie_settings(str function):
    settings = _current_state().settings()
    if "cookies" not in settings.token_location:
        raise RuntimeWarning(
            f"{function}() called without 'JWT_TOKEN_LOCATION' configured to use cookies"
        )
    return settings


# The largest cookie that browsers store, name, value and attributes together (RFC 6265, section
# 6.1). They drop larger ones silently.
cdef Py_ssize_t _COOKIE_SIZE = 4096


cdef int _set_cookie(
    object response, _Settings settings, str name, object path, bint httponly, str value,
    object domain, dict life
) except -1:
    """Set one cookie; ``life`` is its max_age, or the expires that deletes it.

    A cookie is deleted with the attributes that it was set with; otherwise, it is another cookie.
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
        raise ValueError(f"The cookie {name!r} cannot have a domain: its name starts with __Host-")
    # Not set_cookie, which dumps it again, and warns three bytes before browsers drop it.
    try:
        cookie = dump_cookie(name, **attributes, max_size=0)
    except UnicodeError:
        # The original error shows the value, which is secret.
        raise ValueError(f"The value of the cookie {name!r} cannot be encoded") from None
    size = len(cookie)
    if size > _COOKIE_SIZE:
        raise ValueError(
            f"The cookie {name!r} would be {size} bytes long. Browsers drop cookies of more than "
            f"{_COOKIE_SIZE} bytes, including name and attributes: put fewer claims into the token"
        )
    response.headers.add("Set-Cookie", cookie)


cdef int _set_cookies(
    object response, _Settings settings, int token_type, object token, object csrf_value,
    object domain, dict life
) except -1:
    """Set the cookie of a token and, if there is one, the cookie with its CSRF value."""
    name, path = settings.cookie_names[token_type], settings.cookie_paths[token_type]
    _set_cookie(response, settings, name, path, True, token, domain, life)
    if csrf_value is not None:
        name, path = settings.csrf_cookie_names[token_type], settings.csrf_cookie_paths[token_type]
        _set_cookie(response, settings, name, path, False, csrf_value, domain, life)


cdef int _forbid_storing(object response) except -1:
    """Keep caches from storing a response with a token (RFC 9111, section 5.2.2.5)."""
    response.headers.setdefault("Cache-Control", "no-store")


cdef int _verify_response(object response) except -1:
    if _is_awaitable(response):
        raise _missing_await("response", response)
    if not hasattr(response, "headers"):
        raise TypeError(
            f"response must be a response, such as the result of `await make_response(...)`, not "
            f"{_shown(response)}"
        )


cdef int _verify_domain(object domain) except -1:
    if domain is not None and (not isinstance(domain, str) or not _is_domain(domain)):
        raise ValueError(f"domain must be a domain name or None, not {_shown(domain)}")


cdef int _set_token_cookies(
    str function, object response, int token_type, object token, object max_age, object domain
) except -1:
    settings = _cookie_settings(function)
    argument = f"encoded_{_TYPES[token_type]}_token"
    _verify_response(response)
    _verify_domain(domain)
    if _is_awaitable(token):
        raise _missing_await(argument, token)
    if not isinstance(token, (str, bytes)):
        raise TypeError(f"{argument} must be an encoded token (str or bytes), not {_shown(token)}")
    csrf_value = None
    if settings.csrf_protect and settings.csrf_in_cookies:
        # The token comes from the application, not from a client, so it is not verified: an async
        # decode_key_loader cannot be called here.
        try:
            parsed = _parse_token(token, settings.max_token_size, _HeaderMemo())
            csrf_value = _csrf_claim(_load_object(parsed.payload, "payload"))
        except (jwt.InvalidTokenError, JWTDecodeError) as error:
            # A mistake in the application, which must not become an error response for clients.
            raise ValueError(f"{argument} cannot be stored in a cookie: {error}") from None
    if isinstance(token, bytes):
        # Bytes that are not ASCII become characters that dump_cookie rejects.
        token = token.decode("ascii", "surrogateescape")
    life = {"max_age": settings.cookie_max_age() if max_age is None else max_age}
    _set_cookies(response, settings, token_type, token, csrf_value, domain, life)
    _forbid_storing(response)


cdef int _unset_token_cookies(
    str function, object response, int token_type, object domain
) except -1:
    settings = _cookie_settings(function)
    _verify_response(response)
    _verify_domain(domain)
    csrf_value = "" if settings.csrf_protect and settings.csrf_in_cookies else None
    _set_cookies(response, settings, token_type, "", csrf_value, domain, {"expires": 0})


def set_access_cookies(response, encoded_access_token, max_age=None, domain=None):
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
    _set_token_cookies(
        "set_access_cookies", response, _ACCESS, encoded_access_token, max_age, domain
    )


def set_refresh_cookies(response, encoded_refresh_token, max_age=None, domain=None):
    """Set the cookie of a refresh token and, with CSRF protection, its CSRF cookie.

    :param response: the Quart response.
    :param encoded_refresh_token: the token from :func:`create_refresh_token`.
    :param max_age: the lifetime of the cookies, in seconds; None applies JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None uses JWT_COOKIE_DOMAIN.
    :raises: the exceptions of :func:`set_access_cookies`.
    """
    _set_token_cookies(
        "set_refresh_cookies", response, _REFRESH, encoded_refresh_token, max_age, domain
    )


def set_session_cookies(response, tokens, max_age=None, domain=None):
    """Set the cookies of both tokens of a session and, with CSRF protection, their CSRF cookies.

    :param response: the Quart response.
    :param tokens: the :class:`SessionTokens` from :func:`create_session` or :func:`rotate_session`.
    :param max_age: the lifetime of the cookies, in seconds; None applies JWT_SESSION_COOKIE.
    :param domain: the domain of the cookies; None uses JWT_COOKIE_DOMAIN.
    :raises TypeError: if ``tokens`` is not a SessionTokens.
    :raises: the exceptions of :func:`set_access_cookies`.
    """
    if _is_awaitable(tokens):
        raise _missing_await("tokens", tokens)
    if not isinstance(tokens, SessionTokens):
        raise TypeError(f"tokens must be SessionTokens, not {_shown(tokens)}")
    _set_token_cookies(
        "set_session_cookies", response, _ACCESS, tokens.access_token, max_age, domain
    )
    _set_token_cookies(
        "set_session_cookies", response, _REFRESH, tokens.refresh_token, max_age, domain
    )


def unset_jwt_cookies(response, domain=None):
    """Delete the cookies of both tokens and their CSRF cookies.

    :param response: the Quart response.
    :param domain: the domain that the cookies were set with; None uses JWT_COOKIE_DOMAIN.
    :raises RuntimeWarning: if JWT_TOKEN_LOCATION does not include cookies.
    :raises TypeError: if ``response`` is not a response.
    :raises ValueError: if ``domain`` is invalid or not allowed.
    :raises RuntimeError: if there is no app context, or an option is invalid.
    """
    _unset_token_cookies("unset_jwt_cookies", response, _ACCESS, domain)
    _unset_token_cookies("unset_jwt_cookies", response, _REFRESH, domain)


def unset_access_cookies(response, domain=None):
    """Delete the cookie of the access token and its CSRF cookie.

    :param response: the Quart response.
    :param domain: as for :func:`unset_jwt_cookies`.
    :raises: the exceptions of :func:`unset_jwt_cookies`.
    """
    _unset_token_cookies("unset_access_cookies", response, _ACCESS, domain)


def unset_refresh_cookies(response, domain=None):
    """Delete the cookie of the refresh token and its CSRF cookie.

    :param response: the Quart response.
    :param domain: as for :func:`unset_jwt_cookies`.
    :raises: the exceptions of :func:`unset_jwt_cookies`.
    """
    _unset_token_cookies("unset_refresh_cookies", response, _REFRESH, domain)


# -----------------------------------------------------------------------------
# Decorators and current_user
# -----------------------------------------------------------------------------

# --- Verify functions ---------------------------------------------------------

async def verify_jwt_in_request(
    optional=False, fresh=False, refresh=False, locations=None, verify_type=True,
    skip_revocation_check=False, scopes=None, close_with_token=None, issuers=None
):
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
    cdef _Rules rules = _Rules(
        optional, fresh, refresh, locations, verify_type, skip_revocation_check, scopes,
        close_with_token, issuers,
    )
    await rules.verify()


async def verify_jwt_in_request_optional():
    """0.1.0 name of ``verify_jwt_in_request(optional=True)``."""
    await _OPTIONAL_RULES.verify()


async def verify_fresh_jwt_in_request():
    """0.1.0 name of ``verify_jwt_in_request(fresh=True)``."""
    await _FRESH_RULES.verify()


async def verify_jwt_refresh_token_in_request():
    """0.1.0 name of ``verify_jwt_in_request(refresh=True)``."""
    await _REFRESH_RULES.verify()


# The rules of the shorthands, and the defaults of jwt_required. A decorated view has its own rules
# object, so that it can tell whether the guard of protect() has already verified these rules.
cdef _Rules _OPTIONAL_RULES = _Rules(optional=True)
cdef _Rules _FRESH_RULES = _Rules(fresh=True)
cdef _Rules _REFRESH_RULES = _Rules(refresh=True)
cdef dict _RULE_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(verify_jwt_in_request).parameters.items()
}


# --- The wrapper around a view ------------------------------------------------

cdef object _new_submodule(str name, str doc, dict names):
    """Make ``quart_jwt_extended.<name>`` importable, although this module is a single file.

    The import system finds it in sys.modules once this module has run, also when the submodule is
    the first import.
    """
    full_name = f"{__name__}.{name}"
    module = types.ModuleType(full_name, doc)
    module.__spec__ = ModuleSpec(full_name, None)
    module.__dict__.update(names)
    sys.modules[full_name] = module
    globals()[name] = module
    _SUBMODULES[full_name] = module
    return module


# This makes the module a package for the import system, which the finder below requires.
__path__ = []

cdef dict _SUBMODULES = {}


class _SubmoduleFinder:
    """Finds the submodules again after they were removed from sys.modules, as some tests do.

    The module itself is found in its file, and is never executed again.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, _SubmoduleFinder) if name in _SUBMODULES else None

    @staticmethod
    def create_module(spec):
        return _SUBMODULES[spec.name]

    @staticmethod
    def exec_module(module):
        """Do nothing: the names exist already."""


sys.meta_path.append(_SubmoduleFinder)


# The wrapper is plain Python, so that class-based libraries treat it as a function and debuggers
# can step into it. As in 0.1.0, it is in the module where tests patch the verify functions.
cdef str _WRAPPER = '''\
def {name}(fn, verify, original, options):
    async def wrapper(*args, **kwargs):
        if {name} is original:
            await verify()
        else:
            await {name}(**options)
        return await fn(*args, **kwargs)

    return wrapper

'''

# The wrappers of jwt_exempt, for coroutine functions and for plain functions.
cdef str _EXEMPT_WRAPPER = '''\
def exempt_coroutine(fn):
    async def wrapper(*args, **kwargs):
        return await fn(*args, **kwargs)

    return wrapper

def exempt_function(fn):
    def wrapper(*args, **kwargs):
        return fn(*args, **kwargs)

    return wrapper
'''


cdef dict _compiled_wrappers(object module):
    """The wrappers of views by the name of their verify function, with the globals of a module."""
    names = (
        "verify_jwt_in_request", "verify_jwt_in_request_optional", "verify_fresh_jwt_in_request",
        "verify_jwt_refresh_token_in_request",
    )
    source = "".join([*[_WRAPPER.format(name=name) for name in names], _EXEMPT_WRAPPER])
    file = f"<{module.__name__}>"
    # Here, debuggers and tracebacks find the lines of code that is not in a file.
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    wrappers = {}
    exec(compile(source, file, "exec"), module.__dict__, wrappers)
    return wrappers


cdef object _view_decorators = _new_submodule(
    "view_decorators", "Decorators and verify functions.", {}
)
cdef dict _WRAPPERS = _compiled_wrappers(_view_decorators)

# The functions that were passed to the decorators.
cdef object _GUARDED = weakref.WeakSet()


cdef int _verify_view(str decorator, object fn) except -1:
    if isinstance(fn, type):
        raise TypeError(
            f"{decorator} decorates a view, not a class: write `decorators = [{decorator}]` in the "
            f"body of {fn.__name__}"
        )
    if not callable(fn):
        raise TypeError(f"{decorator} decorates a view, not {type(fn).__name__}")


cdef object _guard(str decorator, fn, _Rules rules, str verify, dict options):
    """Wrap a view in a coroutine function that verifies the request first.

    Quart would run any other wrapper in a thread.

    :param verify: the name of the function that does the same. If it was patched, it is called with
        ``options``, instead of the rules.
    """
    _verify_view(decorator, fn)
    if inspect.isfunction(fn):
        _GUARDED.add(fn)
    view = fn
    if not inspect.iscoroutinefunction(fn):

        async def view(*args, **kwargs):
            # The result may be a coroutine, for example from a partial or a plain wrapper.
            return await _settled(await get_value(_CV_APP).app.ensure_async(fn)(*args, **kwargs))

    wrapper = _WRAPPERS[verify](view, rules.verify, globals()[verify], options)
    _RULES_OF[wrapper] = rules
    return functools.update_wrapper(wrapper, fn)


# --- Decorators ---------------------------------------------------------------

def jwt_required(
    fn=None, *, optional=False, fresh=False, refresh=False, locations=None, verify_type=True,
    skip_revocation_check=False, scopes=None, close_with_token=None, issuers=None
):
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
    options = {
        "optional": optional, "fresh": fresh, "refresh": refresh, "locations": locations,
        "verify_type": verify_type, "skip_revocation_check": skip_revocation_check,
        "scopes": scopes, "close_with_token": close_with_token, "issuers": issuers,
    }
    rules = _Rules(**options)
    # 0.1.0 calls the function without arguments, and a replacement in a test may not accept any.
    given = {name: value for name, value in options.items() if value is not _RULE_DEFAULTS[name]}

    def decorate(view):
        return _guard("jwt_required", view, rules, "verify_jwt_in_request", given)

    return decorate if fn is None else decorate(fn)


def jwt_optional(fn):
    """0.1.0 name of ``jwt_required(optional=True)``."""
    return _guard(
        "jwt_optional", fn, _Rules(optional=True), "verify_jwt_in_request_optional", {}
    )


def fresh_jwt_required(fn):
    """0.1.0 name of ``jwt_required(fresh=True)``."""
    return _guard(
        "fresh_jwt_required", fn, _Rules(fresh=True), "verify_fresh_jwt_in_request", {}
    )


def jwt_refresh_token_required(fn):
    """0.1.0 name of ``jwt_required(refresh=True)``."""
    return _guard(
        "jwt_refresh_token_required", fn, _Rules(refresh=True),
        "verify_jwt_refresh_token_in_request", {},
    )


def jwt_exempt(fn):
    """Open a view of an app or a blueprint that is protected by :func:`protect`.

    :param fn: the view, a function or a coroutine function. Routes that are registered with ``fn``
        itself stay protected.
    :return: the view to register, with the name and the signature of ``fn``.
    :raises TypeError: if ``fn`` is not a view, or has a decorator such as :func:`jwt_required`.
    """
    _verify_view("jwt_exempt", fn)
    for layer in _layers_of(fn):
        if _rules_of_layer(layer) not in (None, _ABSENT):
            raise TypeError(
                "jwt_exempt cannot open a view that has jwt_required or a similar decorator"
            )
    kind = "exempt_coroutine" if inspect.iscoroutinefunction(fn) else "exempt_function"
    wrapper = _WRAPPERS[kind](fn)
    _RULES_OF[wrapper] = None
    return functools.update_wrapper(wrapper, fn)


current_user = LocalProxy(get_current_user)


cdef int _verify_placement(object app) except -1:
    """Raise RuntimeError if a decorator is above a route or a hook, and so has no effect."""
    registered = [
        (f"view of the endpoint {name!r}", view) for name, view in app.view_functions.items()
    ]
    for kind in ("before_request", "before_websocket", "after_request", "after_websocket"):
        for hooks in getattr(app, f"{kind}_funcs").values():
            registered.extend([(f"{kind} function {_name_of(hook)}", hook) for hook in hooks])
    guarded = set()
    for _, view in registered:
        layers = _layers_of(view)
        for above, below in zip(layers, layers[1:]):
            if _rules_of_layer(above) is not _ABSENT:
                guarded.add(id(below))
    for where, view in registered:
        # A view may be registered twice on purpose: the bare function and the protected one.
        if inspect.isfunction(view) and view in _GUARDED and id(view) not in guarded:
            raise RuntimeError(
                f"The {where} is not protected: jwt_required, or a similar decorator, is above the "
                "decorator that registers it. Move it below that, next to the function"
            )


cdef str _name_of(object function):
    return repr(getattr(function, "__name__", type(function).__name__))


# -----------------------------------------------------------------------------
# Whole apps and the command line
# -----------------------------------------------------------------------------

# The attribute of an app or a blueprint for the arguments of protect().
cdef str _GUARDS = "_jwt_extended_guards"
# The number of calls of protect(). A _Route that was created before the last call is out of date.
cdef int _guard_count = 0


def protect(
    app_or_blueprint, *, exempt=(), optional=False, fresh=False, refresh=False, locations=None,
    verify_type=True, skip_revocation_check=False, scopes=None, close_with_token=None, issuers=None
):
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
    rules = _Rules(
        optional, fresh, refresh, locations, verify_type, skip_revocation_check, scopes,
        close_with_token, issuers,
    )
    names = ()
    if exempt not in ((), [], set(), frozenset()):
        names = _read_rule_names("exempt", exempt, "endpoint names")
    if not isinstance(app_or_blueprint, (Quart, Blueprint)):
        raise TypeError(
            f"protect requires a Quart app or a blueprint, not {type(app_or_blueprint).__name__}"
        )

    async def guard():
        cdef _Route route
        request = _current_request()
        if request.endpoint is None or request.routing_exception is not None:
            return
        verified = getattr(request, _VERIFIED, None)
        if verified is not None and rules in (<_VerifiedToken>verified).satisfied:
            # An outer guard has verified all rules of this route.
            return
        route = _current_state().route(request.endpoint, request.method)
        if route.is_exempt or rules in route.exempting:
            return
        if route.rules is not None and rules in route.rules.satisfied:
            await route.rules.verify()
        else:
            await rules.verify()

    global _guard_count
    _guard_count += 1
    app_or_blueprint.before_request(guard)
    app_or_blueprint.before_websocket(guard)
    setattr(app_or_blueprint, _GUARDS, (*getattr(app_or_blueprint, _GUARDS, ()), (rules, names)))


@cython.final
cdef class _Route:
    """How a view is protected for one method."""

    cdef object view
    # The combined rules of protect() and the view's own decorators; None if there are none.
    cdef _Rules rules
    cdef bint is_exempt
    # The rules of the protect() calls whose ``exempt`` names the view.
    cdef list exempting
    # The number of calls of protect() at that time.
    cdef int guard_count

    def __cinit__(self, app, str endpoint, str method):
        self.view = app.view_functions.get(endpoint)
        own = _rules_of_view(self.view, method)
        is_marked = None in own
        own = [rules for rules in own if rules is not None]
        self.is_exempt = is_marked and not own
        self.exempting = []
        self.guard_count = _guard_count
        if self.is_exempt:
            return
        guards = []
        for scaffold, name in _scaffolds_of(app, endpoint):
            for rules, exempt in getattr(scaffold, _GUARDS, ()):
                (self.exempting if name in exempt else guards).append(rules)
        if guards or own:
            self.rules = _combined(guards, own)


cdef object _rules_of_layer(object layer):
    """The rules of a wrapper of our decorators, None for jwt_exempt, _ABSENT for other objects."""
    return _RULES_OF.get(layer, _ABSENT) if inspect.isfunction(layer) else _ABSENT


cdef list _rules_of_view(object view, str method):
    """The rules of a view's own decorators, outermost first, with None for jwt_exempt."""
    layers = _layers_of(view)
    view_class = getattr(view, "view_class", None)
    if isinstance(view_class, type):
        # The method of a class-based view that runs may be decorated itself.
        runs = view_class.dispatch_request
        if runs is MethodView.dispatch_request:
            if method == "HEAD" and not hasattr(view_class, "head"):
                method = "GET"
            runs = getattr(view_class, method.lower(), None)
        layers.extend(_layers_of(runs))
    found = [_rules_of_layer(layer) for layer in layers]
    return [rules for rules in found if rules is not _ABSENT]


cdef list _scaffolds_of(object app, str endpoint):
    """The app and the blueprints around an endpoint, with the name of the endpoint in each."""
    found = [(app, endpoint)]
    parts = endpoint.split(".")
    for size in range(1, len(parts)):
        blueprint = app.blueprints.get(".".join(parts[:size]))
        if blueprint is not None:
            found.append((blueprint, ".".join(parts[size:])))
    return found


# --- How a route is protected --------------------------------------------------

Protection = namedtuple(
    "Protection",
    "token_type optional fresh scopes locations skip_revocation_check close_with_token issuers",
    module=__name__,
)
Protection.__doc__ = """The protection of a route, as returned by :func:`protection_of`.

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
Protection.__repr__ = lambda protection: f"<Protection: {_words_of(protection)}>"


cdef object _new_protection(_Settings settings, object rule, _Rules rules):
    if rules is None:
        return None
    is_foreign = "json" if rule.websocket else "websocket_protocol"
    locations = settings.token_location if rules.locations is None else rules.locations
    return Protection(
        token_type=None if rules.any_type else _TYPES[rules.token_type],
        optional=rules.optional,
        fresh=rules.fresh,
        scopes=rules.scopes or (),
        locations=tuple([name for name in locations if name != is_foreign]),
        skip_revocation_check=rules.skip_revocation,
        close_with_token=rules.closes(settings) if rule.websocket else bool(rules.close_with_token),
        issuers=_issuers_of(rules),
    )


cdef object _issuers_of(_Rules rules):
    """The issuers that all rules of a route accept; None for all issuers."""
    if rules.issuers is None:
        return None
    named = [names for names in rules.issuers if names]
    if not named:
        return ()
    return tuple([name for name in named[0] if all([name in names for names in named])])


cdef str _words_of(object protection):
    cdef _Rules rules = _Rules()
    rules.token_type = _REFRESH if protection.token_type == "refresh" else _ACCESS
    rules.any_type = protection.token_type is None
    rules.optional = protection.optional
    rules.fresh = protection.fresh
    rules.scopes = protection.scopes
    # A WebSocket may have no location left, if JSON is the only one.
    rules.locations = protection.locations or None
    rules.skip_revocation = protection.skip_revocation_check
    rules.close_with_token = protection.close_with_token
    rules.issuers = None if protection.issuers is None else (protection.issuers,)
    return repr(rules)


def protection_of(app, endpoint, method=None):
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
    cdef _Settings settings
    _verify_app("protection_of", app)
    if not isinstance(endpoint, str):
        raise TypeError(f"endpoint must be the name of an endpoint, not {_shown(endpoint)}")
    if method is not None and not isinstance(method, str):
        raise TypeError(f"method must be the name of a method or None, not {_shown(method)}")
    settings = _state_of(app).settings()
    rules = [rule for rule in _served_rules(app) if rule.endpoint == endpoint]
    if not rules:
        raise ValueError(_unknown_endpoint(app, _plain_text(endpoint)))
    if method is None:
        by_method = {
            name: _protection_by(app, settings, rule, name)
            for rule in rules for name in _methods_of(app, rule)
        }
        found = set(by_method.values())
        if len(found) > 1:
            raise ValueError(
                f"The methods of {endpoint!r} are protected differently; pass one of them as "
                "method: " + ", ".join(sorted(by_method))
            )
        return found.pop()
    name = method.upper()
    suitable = [rule for rule in rules if not rule.websocket and name in rule.methods]
    if not suitable and name in ("WEBSOCKET", "GET"):
        suitable = [rule for rule in rules if rule.websocket]
    if not suitable:
        taken = set()
        for rule in rules:
            taken.update(("WEBSOCKET",) if rule.websocket else rule.methods)
        raise ValueError(
            f"method must be one that {endpoint!r} accepts, not {method!r}: "
            + ", ".join(sorted(taken))
        )
    found = {_protection_by(app, settings, rule, name) for rule in suitable}
    return None if None in found else found.pop()


cdef str _unknown_endpoint(object app, str name):
    near = difflib.get_close_matches(name, [rule.endpoint for rule in _served_rules(app)], 1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return f"The app has no endpoint {name!r}{hint}"


cdef list _served_rules(object app):
    """The URL rules of an app that lead to a view, in the order of the URL map."""
    return [
        rule for rule in app.url_map.iter_rules() if not rule.build_only and not rule.redirect_to
    ]


cdef list _methods_of(object app, object rule):
    """The methods of a URL rule that its view handles: HEAD only if it is separate from GET."""
    if rule.websocket:
        return ["WEBSOCKET"]
    left_out = set()
    view_class = getattr(app.view_functions.get(rule.endpoint), "view_class", None)
    if "GET" in rule.methods and not (isinstance(view_class, type) and hasattr(view_class, "head")):
        left_out.add("HEAD")
    if _has_automatic_options(app, rule):
        left_out.add("OPTIONS")
    return sorted(rule.methods - left_out) or sorted(rule.methods)


cdef tuple _state_of_route(object app, _Settings settings, object rule, str method):
    """The state of a URL rule, "open", "exempt" or "protected", and its _Rules if protected."""
    cdef _Route route = _Route(app, rule.endpoint, "GET" if rule.websocket else method)
    if route.rules is None:
        return ("exempt" if route.is_exempt or route.exempting else "open"), None
    if method == "OPTIONS" and (settings.exempts_options or _has_automatic_options(app, rule)):
        return "exempt", None
    return "protected", route.rules


cdef object _protection_by(object app, _Settings settings, object rule, str method):
    return _new_protection(settings, rule, _state_of_route(app, settings, rule, method)[1])


# --- Command line -------------------------------------------------------------

cdef object _jwt_commands(object app):
    """The group ``jwt`` for ``quart --app APP``."""
    group = click.Group("jwt", help="Commands of quart-jwt-extended.")
    group.add_command(click.Command(
        "routes",
        params=[
            click.Option(["--json", "as_json"], is_flag=True, help="Write JSON, not a table."),
            click.Option(
                ["--check"], is_flag=True,
                help="Exit with code 1 if a route is open and not listed with --open.",
            ),
            click.Option(
                ["--open", "listed"], multiple=True, metavar="ENDPOINT",
                help="An endpoint that is open on purpose, for --check. Can be repeated.",
            ),
        ],
        callback=lambda as_json, check, listed: _show_routes(app, as_json, check, listed),
        help="List the routes and how they are protected, open routes first.",
    ))
    group.add_command(click.Command(
        "purge", callback=lambda: asyncio.run(_purge(app)),
        help="Delete ended sessions and expired revocations from the token store.",
    ))
    group.add_command(_keys_commands(app))
    return group


cdef object _keys_commands(object app):
    """The group ``jwt keys``."""
    group = click.Group("keys", help="Generate keys, and list the keys of JWT_KEYS.")
    # ES521 is another name of ES512.
    names = [name for name in _ALGORITHMS if name != "ES521"]
    group.add_command(click.Command(
        "new", callback=_print_new_key,
        params=[
            click.Option(
                ["--algorithm"], type=click.Choice(names), required=True,
                help="The algorithm of the key.",
            ),
            click.Option(
                ["--kid"],
                help="The key ID. The default is the thumbprint; for a secret, a random ID.",
            ),
            click.Option(
                ["--format", "form"], type=click.Choice(("jwk", "pem")), default="jwk",
                show_default=True, help="The format of the key. A secret requires jwk.",
            ),
        ],
        help="Generate a key and print it, with how to add it to JWT_KEYS. Keep it secret.",
    ))
    group.add_command(click.Command(
        "list", callback=lambda: _print_keys(app),
        help="List the keys of JWT_KEYS: which key signs, and until when each key verifies.",
    ))
    return group


def _print_new_key(algorithm, kid, form):
    if kid is not None and (not kid or _has_lone_surrogate({"kid": kid})):
        raise click.UsageError("--kid must be valid text and not empty")
    if _is_symmetric(algorithm):
        if form == "pem":
            raise click.UsageError("A secret cannot be written as PEM: use --format jwk")
        # At least as long as the digest (RFC 7518, section 3.2).
        secret = os.urandom(64)
        members = {"kty": "oct", "k": _base64url_text(secret)}
        kid = kid or _new_uuid()
    else:
        private = _new_private_key(algorithm)
        members = _private_members(private)
        kid = kid or _thumbprint(private.public_key())
    if form == "pem":
        click.echo(private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(), nl=False)
        entry = f'"key": PEM, "algorithm": "{algorithm}"'
        kind = "PEM"
    else:
        click.echo(json.dumps({**members, "kid": kid, "alg": algorithm, "use": "sig"}))
        entry = '"key": JWK'
        kind = "JWK"
    click.echo(
        f"The {kind} above is secret. Store it where the app reads its secrets, and add it to "
        f"JWT_KEYS:\n    {json.dumps(kid)}: {{{entry}, \"sign_from\": MOMENT}}\n"
        "MOMENT is a datetime with a time zone, or POSIX seconds; use 0 for your first key. From "
        "then on, the key signs; before, it only verifies.",
        err=True,
    )


cdef object _new_private_key(str algorithm):
    if algorithm in _RSA_ALGORITHMS:
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {
        "ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1,
        "ES256K": ec.SECP256K1,
    }
    return ec.generate_private_key(curves[algorithm]())


cdef str _printable(str kid):
    return kid if kid.isprintable() else json.dumps(kid)


cdef str _utc(object moment):
    """A moment in POSIX seconds as text."""
    if moment is None:
        return "-"
    text = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat(
        " ", "seconds"
    )
    return f"{text[:19]} UTC"


def _print_keys(app):
    cdef _AppState state = _state_of(app)
    cdef _Settings settings
    cdef _RingKey signer = None
    cdef _RingKey key
    cdef double now = _now()
    cdef bint has_loader = state.callbacks.encode_key is not None
    fault = None
    try:
        settings = state.settings()
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    if settings.ring is None:
        raise click.ClickException("JWT_KEYS is not set")
    if not has_loader:
        try:
            signer = _signer(settings, now)
        except RuntimeError as error:
            # Raised after the list, which helps to find the mistake.
            fault = click.ClickException(str(error))
    rows = [("kid", "algorithm", "state", "verifies until", "published")]
    for _, key in sorted(settings.ring.items()):
        if key.has_ended(now):
            words = "no longer verifies"
        elif key is signer:
            words = "signs now"
        elif key.sign_from is not None and key.sign_from > now and not has_loader:
            words = f"signs from {_utc(key.sign_from)}"
        else:
            words = "only verifies"
        is_published = not key.is_secret and not key.has_ended(now)
        rows.append((
            _printable(key.kid), key.algorithm, words, _utc(key.verify_until),
            "yes" if is_published else "no",
        ))
    widths = [max([len(row[column]) for row in rows]) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        click.echo("  ".join((*cells, row[4])))
    if fault is not None:
        raise fault
    if has_loader:
        click.echo("The callback of encode_key_loader chooses the key that signs.", err=True)
    elif signer is None:
        click.echo("No key of JWT_KEYS can sign.", err=True)
    else:
        for warning in _ring_warnings(settings, signer, now):
            click.echo(f"Warning: {warning}", err=True)


cdef list _ring_warnings(_Settings settings, _RingKey signer, double now):
    """Warnings about keys that will cause errors in the future."""
    cdef _RingKey key
    warned = []
    upcoming = [key for key in settings.ring_starts if (<_RingKey>key).sign_from > now]
    if signer.verify_until is not None and not [
        key for key in upcoming if (<_RingKey>key).sign_from <= signer.verify_until
    ]:
        warned.append(
            f'{_ring_name(signer.kid)} signs until its "verify_until", and no other key has a '
            '"sign_from" before that'
        )
    # The time when each key stops signing, by kid; None if it does not stop.
    ends = {}
    signing = [key for key in settings.ring_starts if (<_RingKey>key).sign_from <= now]
    signing = [*(signing or [signer]), *upcoming]
    for index, key in enumerate(signing):
        has_next = index + 1 < len(signing)
        ends[key.kid] = (<_RingKey>signing[index + 1]).sign_from if has_next else None
    for key in signing:
        if key.verify_until is None or key.has_ended(now):
            continue
        end = ends[key.kid]
        if end is None:
            # The other warning covers a key without a successor.
            continue
        last = _last_expiry(settings, end)
        if last is None or key.verify_until < last:
            until = "never expire" if last is None else f"expire by {_utc(last)}"
            warned.append(
                f'{_ring_name(key.kid)} has a "verify_until" before the end of the tokens that it '
                f"signs, which {until}"
            )
    return warned


cdef object _last_expiry(_Settings settings, double moment):
    """The time when the last token that is signed at a moment expires; None for never."""
    if any([lifetime is False for lifetime in settings.lifetimes]):
        return None
    return max([_expiry(moment, lifetime) for lifetime in settings.lifetimes])


async def _purge(app):
    cdef _AppState state = _state_of(app)
    if state.store is None:
        raise click.ClickException(_MISSING_STORE.format(name="quart jwt purge"))
    async with app.app_context():
        count = await _stored(state.store.purge)
    click.echo(f"Deleted: {count}")


cdef int _show_routes(object app, bint as_json, bint check, tuple listed) except -1:
    if listed and not check:
        raise click.UsageError("--open requires --check")
    try:
        rows = _route_rows(app)
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps([
            {
                "path": path, "methods": methods, "endpoint": endpoint, "state": state,
                "protection": None if protection is None else protection._asdict(),
            }
            for path, methods, endpoint, state, protection, _ in rows
        ], indent=2))
    elif not check:
        click.echo("\n".join(_aligned(rows)), nl=bool(rows))
    if check:
        _verify_listed(app, rows, listed)


cdef int _verify_listed(object app, list rows, tuple listed) except -1:
    """Fail if an open route is not listed, or a listed name is unknown or protected."""
    faults = []
    unlisted = [row for row in rows if row[3] == "open" and row[2] not in listed]
    if unlisted:
        faults.append(
            "These routes are open. Protect them, add jwt_exempt, or list their endpoints with "
            "--open:"
        )
        faults.extend([f"  {line}" for line in _aligned(unlisted)])
    for name in dict.fromkeys(listed):
        states = {row[3] for row in rows if row[2] == name}
        if not states:
            faults.append(f"--open {name}: " + _unknown_endpoint(app, name))
        elif states == {"protected"}:
            faults.append(f"--open {name}: the endpoint is protected; remove it from --open")
    if faults:
        raise click.ClickException("\n".join(faults))


cdef list _aligned(list rows):
    """A line for each row: path, methods, endpoint, and its protection in words."""
    cells = [(path, ",".join(methods), endpoint) for path, methods, endpoint, _, _, _ in rows]
    widths = [max([len(row[column]) for row in cells], default=0) for column in range(3)]
    return [
        "  ".join([*[cell.ljust(width) for cell, width in zip(three, widths)], row[5]])
        for three, row in zip(cells, rows)
    ]


cdef list _route_rows(object app):
    """A row for each URL rule and each group of its methods with the same protection.

    A row is the path, the methods, the endpoint, the state, the Protection, and the protection in
    words. Open routes come first; routes are then sorted by path.
    """
    cdef _Settings settings = _state_of(app).settings()
    rows = []
    for rule in _served_rules(app):
        alike = {}
        for method in _methods_of(app, rule):
            state, rules = _state_of_route(app, settings, rule, method)
            # The words name locations only if the route has its own.
            words = state if rules is None else repr(rules)
            row = (state, _new_protection(settings, rule, rules), words)
            alike.setdefault(row, []).append(method)
        for row, methods in alike.items():
            rows.append((rule.rule, methods, rule.endpoint, *row))
    rows.sort(key=lambda row: (row[3] == "protected", row[0], row[1]))
    return rows


# --- OpenAPI ------------------------------------------------------------------

# The name of quart-schema in app.extensions.
cdef str _QUART_SCHEMA = "QUART_SCHEMA"


cdef int _describe(object app) except -1:
    _verify_app("describe", app)
    try:
        import quart_schema
    except ModuleNotFoundError as error:
        if error.name != "quart_schema":
            raise
        raise ImportError(
            "describe requires quart-schema: pip install 'quart-jwt-extended[openapi]'"
        ) from None
    if not hasattr(quart_schema, "OpenAPIProvider"):
        raise RuntimeError("describe requires quart-schema 0.21 or later")
    extension = app.extensions.get(_QUART_SCHEMA)
    if extension is None:
        raise RuntimeError("describe requires QuartSchema: call QuartSchema(app) first")
    if not getattr(type(extension.openapi_provider), "_describes_jwt", False):
        provider_class = _describing(type(extension.openapi_provider))
        extension.openapi_provider = provider_class(app, extension)


def _describing(provider_class):
    """Return a subclass of an OpenAPIProvider that adds how the routes of an app are protected."""

    class DescribingProvider(provider_class):
        _describes_jwt = True

        def __init__(self, app, extension):
            super().__init__(app, extension)
            self._described_app = weakref.proxy(app)

        def build_paths(self, rule):
            paths, components = super().build_paths(rule)
            _add_requirements(self._described_app, rule, paths)
            return paths, components

        def schema(self):
            document = super().schema()
            _add_schemes(self._described_app, document)
            return document

    return DescribingProvider


cdef int _add_requirements(object app, object rule, object paths) except -1:
    """Add the requirements of each operation of a URL rule, unless the operation has its own."""
    cdef _Settings settings = _state_of(app).settings()
    for operations in paths.values():
        for key, operation in operations.items():
            # There may be keys other than operations, such as parameters.
            if key.upper() not in rule.methods or "security" in operation:
                continue
            rules = _state_of_route(app, settings, rule, key.upper())[1]
            requirements = [] if rules is None else _requirements(settings, rule, rules)
            if requirements:
                operation["security"] = requirements


cdef list _requirements(_Settings settings, object rule, _Rules rules):
    """The alternative requirements of an operation (OpenAPI 3.1, Security Requirement Object)."""
    protection = _new_protection(settings, rule, rules)
    # Even if tokens of any type are accepted, each cookie holds one type.
    own = _TYPES[rules.token_type]
    requirements = []
    for location in protection.locations:
        place = _SCHEME_PLACES.get(location)
        if place is not None:
            is_any = protection.token_type is None and location != "cookies"
            for token_type in _TYPES if is_any else (own,):
                requirements.append({
                    f"jwt{token_type.capitalize()}{place}": list(protection.scopes)
                })
    if protection.optional and requirements:
        requirements.append({})
    return requirements


cdef int _add_schemes(object app, object document) except -1:
    """Define the schemes that the document refers to, unless it defines them itself."""
    used = set()
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    for holder in [document, *operations]:
        if isinstance(holder, dict):
            for requirement in holder.get("security", ()):
                used.update(requirement)
    schemes = {
        name: scheme for name, scheme in _security_schemes(_state_of(app).settings()).items()
        if name in used
    }
    if schemes:
        components = document["components"]
        components["securitySchemes"] = {**schemes, **components.get("securitySchemes", {})}


cdef dict _SCHEME_PLACES = {"headers": "Header", "cookies": "Cookie", "query_string": "Query"}


cdef dict _security_schemes(_Settings settings):
    """A scheme for each token type and location (OpenAPI 3.1, Security Scheme Object)."""
    schemes = {}
    for token_type, name in enumerate(_TYPES):
        words = "A refresh token" if token_type == _REFRESH else "An access token"
        is_bearer = settings.header_lower == "authorization" and (
            settings.header_type.lower() == "bearer"
        )
        kind = {"type": "apiKey", "in": "header", "name": settings.header_name}
        shape = f", after {settings.header_type} and a space" if settings.header_type else ""
        if is_bearer:
            kind = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            shape = ""
        schemes[f"jwt{name.capitalize()}Header"] = {**kind, "description": f"{words}{shape}."}
        schemes[f"jwt{name.capitalize()}Cookie"] = {
            "type": "apiKey", "in": "cookie", "name": settings.cookie_names[token_type],
            "description": f"{words}.{_csrf_words(settings, token_type)}",
        }
        shape = f", after {settings.query_string_prefix!r}" if settings.query_string_prefix else ""
        schemes[f"jwt{name.capitalize()}Query"] = {
            "type": "apiKey", "in": "query", "name": settings.query_string_name,
            "description": f"{words}{shape}.",
        }
    return schemes


cdef str _csrf_words(_Settings settings, int token_type):
    if not settings.csrf_configured or not settings.csrf_request_methods:
        return ""
    methods = ", ".join(sorted(settings.csrf_request_methods))
    words = f" {methods} requests send its CSRF value in the header "
    words += settings.csrf_header_names[token_type]
    if settings.csrf_check_form:
        words += f" or the form field {settings.csrf_field_names[token_type]}"
    if settings.csrf_in_cookies:
        words += f"; it is the value of the cookie {settings.csrf_cookie_names[token_type]}"
    return f"{words}."


# -----------------------------------------------------------------------------
# Testing kit
# -----------------------------------------------------------------------------

# --- signed_in ----------------------------------------------------------------

def signed_in(
    app, identity, *, fresh=False, scopes=None, user_claims=None, additional_claims=None,
    locations=None
):
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
    _verify_app("signed_in", app)
    if locations is not None:
        accepts = ", ".join([f'"{name}"' for name in _LOCATIONS])
        locations = _read_rule_names("locations", locations, accepts)
        for name in locations:
            if name not in _LOCATIONS:
                raise ValueError(f"locations must be one or several of {accepts}")
    if additional_claims is not None and not isinstance(additional_claims, dict):
        raise TypeError(f"additional_claims must be a dict, not {_shown(additional_claims)}")
    claims = {
        "fresh": fresh, "user_claims": user_claims, "additional_claims": additional_claims
    }
    return _SignedIn(app, identity, _read_granted_scopes(scopes), claims, locations)


cdef int _verify_app(str function, object app) except -1:
    if not isinstance(app, Quart):
        raise TypeError(f"{function} requires a Quart app, not {type(app).__name__}")
    _state_of(app)


cdef object _read_granted_scopes(object scopes):
    """The value of the scope claim; None for a token without scopes."""
    if scopes is None:
        return None
    is_none = isinstance(scopes, (list, tuple, set, frozenset)) and not scopes
    names = () if is_none else _read_rule_names("scopes", scopes, "scope names")
    if isinstance(scopes, str):
        names = tuple(names[0].split(" "))
    for name in names:
        if _SCOPE_RE.fullmatch(name) is None:
            raise ValueError(
                "scopes must be one or several names of printable ASCII, without white space, "
                '" and \\'
            )
    return " ".join(names)


async def _new_login(app, identity, claims):
    """The access token and the refresh token of a new login; the latter is None without a store."""
    cdef _AppState state = _state_of(app)
    if state.store is None:
        return await create_access_token_async(identity, **claims), None
    tokens = await create_session(identity, **claims)
    return tokens.access_token, tokens.refresh_token


class _SignedIn:
    """The context manager of signed_in(), which adds the token to the client's connections.

    ``open``, ``request``, ``websocket`` and each redirect create a connection. A subclass of the
    client may override these methods, but not this step.
    """

    def __init__(self, app, identity, scope, claims, locations):
        self.app = app
        self.identity = identity
        self.scope = scope
        self.claims = claims
        self.locations = locations
        self.token = None
        self.client = None

    async def __aenter__(self):
        cdef _Settings settings = _state_of(self.app).settings()
        claims = dict(self.claims)
        if self.scope is not None:
            given = claims["additional_claims"] or {}
            if settings.scope_claim in given:
                raise ValueError(
                    f"additional_claims must not contain {settings.scope_claim!r}: scopes sets it"
                )
            claims["additional_claims"] = {**given, settings.scope_claim: self.scope}
        client = self.client = self.app.test_client()
        order = self._locations()
        # Report unusable locations here, not in each request.
        if not order:
            raise _no_location("client", self._wanted())
        async with self.app.app_context():
            self.token, refresh_token = await _new_login(self.app, self.identity, claims)
        before = order[:order.index("cookies")] if "cookies" in order else order
        if len(before) < len(order) and set(before) <= {"json", "websocket_protocol"}:
            # Some requests cannot use the locations before cookies.
            self._keep_cookies(settings, _ACCESS, self.token)
            if refresh_token is not None:
                self._keep_cookies(settings, _REFRESH, refresh_token)
        client.http_connection_class = functools.partial(
            self._connect, client.http_connection_class
        )
        client.websocket_connection_class = functools.partial(
            self._connect, client.websocket_connection_class
        )
        return client

    async def __aexit__(self, *error):
        """Do not change the client: a test may check its cookies."""

    def _wanted(self):
        cdef _Settings settings = _state_of(self.app).settings()
        return settings.token_location if self.locations is None else self.locations

    def _locations(self):
        """The locations that are possible for at least one kind of request of this client."""
        return [
            name for name in self._wanted()
            if name != "cookies" or getattr(self.client, "cookie_jar", None) is not None
        ]

    def _keep_cookies(self, _Settings settings, int token_type, token):
        """Put the cookies of a token into the client's jar, as if a response had set them."""
        response = types.SimpleNamespace(headers=Headers())
        csrf_value = None
        if settings.csrf_configured and settings.csrf_in_cookies:
            csrf_value = _unverified_csrf(token)
        life = {"max_age": settings.cookie_max_age()}
        _set_cookies(response, settings, token_type, token, csrf_value, None, life)
        jar = self.client.cookie_jar
        request = urllib.request.Request(f"http://{self.app.config['SERVER_NAME'] or 'localhost'}/")
        for cookie in response.headers.getlist("Set-Cookie"):
            jar.extract_cookies(_JarResponse(cookie), request)
            name = cookie.partition("=")[0]
            if name not in {kept.name for kept in jar}:
                # The jar does not store a cookie of another domain, such as that of production. The
                # client sends the cookies in the jar to any host.
                cookie = re.sub(r"; Domain=[^;]*", "", cookie)
                jar.extract_cookies(_JarResponse(cookie), request)

    def _connect(self, connection_class, app, scope, **options):
        """Create a connection of the client, whose request carries the token."""
        cdef _Settings settings = _state_of(self.app).settings()
        scope["headers"] = list(scope["headers"])
        name = settings.cookie_names[_ACCESS]
        cookie = _cookie_in_scope(scope, name)
        if cookie is not None and cookie not in self._values_in_jar(name):
            # The test passed this cookie to the request.
            return connection_class(app, scope, **options)
        if _has_query_token(scope, settings) or _has_header_token(scope, settings):
            # The app may search cookies first.
            _remove_cookie(scope, name)
        else:
            app = self._with_token(app, scope)
        self._add_csrf(scope)
        return connection_class(app, scope, **options)

    def _values_in_jar(self, name):
        jar = getattr(self.client, "cookie_jar", None)
        return set() if jar is None else {cookie.value for cookie in jar if cookie.name == name}

    def _with_token(self, app, dict scope):
        """Add the token to a request; return the app, or a wrapper that adds it to the body."""
        cdef _Settings settings = _state_of(self.app).settings()
        kind = "WebSocket"
        possible = [name for name in self._locations() if name != "json"]
        if scope["type"] == "http":
            method = scope["method"].upper()
            kind = f"{method} request"
            possible = [name for name in self._locations() if name != "websocket_protocol"]
            content_type = _field_of(scope, "content-type")
            if content_type is not None:
                media_type = content_type.partition(";")[0].strip().lower()
                kind = f"{kind} with a body of the type {media_type}"
                if media_type != "application/json":
                    possible = [name for name in possible if name != "json"]
            elif method in ("GET", "HEAD"):
                # Browsers do not send a body with these.
                possible.sort(key=lambda name: name == "json")
        if not possible:
            raise _no_location(kind, self._wanted())
        location = possible[0]
        if location == "headers":
            if _field_of(scope, settings.header_lower) is None:
                value = f"{settings.header_type} {self.token}".lstrip(" ")
                scope["headers"].append((settings.header_lower.encode(), value.encode()))
        elif location == "query_string":
            parameter = {settings.query_string_name: settings.query_string_prefix + self.token}
            query = [scope["query_string"], urllib.parse.urlencode(parameter).encode()]
            scope["query_string"] = b"&".join([part for part in query if part])
        elif location == "websocket_protocol":
            offered = list(scope.get("subprotocols", ()))
            if settings.websocket_protocol not in offered:
                scope["subprotocols"] = [settings.websocket_protocol, self.token, *offered]
        elif location == "json":
            return _JSONTokenWriter(app, settings.json_keys[_ACCESS], self.token)
        return app

    def _add_csrf(self, dict scope):
        """Add the CSRF value of the token cookie that the request carries."""
        cdef _Settings settings = _state_of(self.app).settings()
        if (
            scope["type"] != "http"
            or not settings.csrf_configured
            or scope["method"].upper() not in settings.csrf_request_methods
        ):
            return
        wanted = [_ACCESS, _REFRESH]
        if _wants_refresh_token(self.app, scope):
            # By default, both CSRF values use the same header.
            wanted.reverse()
        for token_type in wanted:
            name = settings.cookie_names[token_type]
            token = _cookie_in_scope(scope, name)
            if token is None or token not in self._values_in_jar(name):
                continue
            value = _unverified_csrf(token)
            header = settings.csrf_headers_lower[token_type]
            if value is not None and _field_of(scope, header) is None:
                scope["headers"].append((header.encode(), value.encode()))


class _JarResponse:
    """One Set-Cookie field, in the form that a cookie jar reads."""

    def __init__(self, cookie):
        self.cookie = cookie

    def info(self):
        return self

    def get_all(self, name, default=None):
        return [self.cookie] if name.lower() == "set-cookie" else default or []


class _JSONTokenWriter:
    """A wrapper of the app that adds the token to the JSON body of its request."""

    def __init__(self, app, key, token):
        self._app = app
        self._key = key
        self._token = token

    def __getattr__(self, name):
        return getattr(self._app, name)

    async def __call__(self, scope, receive, send):
        messages = []
        body = b""
        is_whole = False
        while not is_whole:
            message = await receive()
            messages.append(message)
            if message["type"] != "http.request":
                break
            body += message.get("body", b"")
            is_whole = not message.get("more_body", False)
        is_json = _field_of(scope, "content-type") is not None
        # Do not change a body without a content type.
        if is_whole and (is_json or not body):
            written = self._written(body)
            messages = [{"type": "http.request", "body": written, "more_body": False}]
            headers = [field for field in scope["headers"] if field[0] != b"content-length"]
            if not is_json:
                headers.append((b"content-type", b"application/json"))
            if len(headers) < len(scope["headers"]) + (not is_json):
                headers.append((b"content-length", str(len(written)).encode()))
            scope["headers"] = headers

        async def receive_again():
            return messages.pop(0) if messages else await receive()

        await self._app(scope, receive_again, send)

    def _written(self, body):
        try:
            document = json.loads(body) if body else {}
        except ValueError:
            # The test sends invalid JSON on purpose.
            return body
        if not isinstance(document, dict):
            raise RuntimeError(
                "signed_in() adds the token to the JSON body, which must be an object; pass other "
                "locations for other bodies"
            )
        return json.dumps({self._key: self._token, **document}).encode()


cdef object _no_location(str kind, object locations):
    return RuntimeError(
        f"This {kind} cannot carry a token in {' or '.join(locations)}: pass other locations to "
        "signed_in()"
    )


cdef object _unverified_csrf(object token):
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("csrf")
    except jwt.InvalidTokenError:
        return None


cdef object _field_of(dict scope, str name):
    """The value of the first header field with a lowercase name; None if there is none."""
    for field, value in scope["headers"]:
        if field.lower() == name.encode():
            return value.decode("latin-1")
    return None


cdef object _cookie_in_scope(dict scope, str name):
    for field, value in scope["headers"]:
        if field.lower() == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, text = pair.partition("=")
                if key.strip() == name:
                    return text.strip()
    return None


cdef int _remove_cookie(dict scope, str name) except -1:
    # The client sends each cookie of its jar in a separate field.
    start = f"{name}=".encode()
    scope["headers"] = [
        (field, value) for field, value in scope["headers"]
        if field.lower() != b"cookie" or not value.startswith(start)
    ]


cdef bint _has_header_token(dict scope, _Settings settings) except -1:
    """Whether the header has a token, and not credentials of another scheme."""
    value = _field_of(scope, settings.header_lower)
    return value is not None and value.lower().startswith(settings.bearer_prefix)


cdef bint _has_query_token(dict scope, _Settings settings) except -1:
    query = urllib.parse.parse_qs(scope["query_string"].decode(), keep_blank_values=True)
    return settings.query_string_name in query


cdef bint _wants_refresh_token(object app, dict scope) except -1:
    cdef _Route route
    rule = _rule_of(app, scope)
    if rule is None:
        return False
    route = _Route(app, rule.endpoint, scope["method"])
    return route.rules is not None and route.rules.token_type == _REFRESH


cdef object _rule_of(object app, dict scope):
    """The URL rule that the app routes a request to; None if there is none."""
    headers = Headers([
        (field.decode("latin-1").title(), value.decode("latin-1"))
        for field, value in scope["headers"]
    ])
    # For the routing, the scheme makes it a WebSocket. Websocket classes differ between versions.
    request = app.request_class(
        scope["method"], scope["scheme"], scope["path"], scope["query_string"], headers,
        scope["root_path"], scope["http_version"], scope=scope,
        send_push_promise=quart.testing.no_op_push,
    )
    try:
        return app.create_url_adapter(request).match(return_rule=True)[0]
    except HTTPException:
        return None


# --- assert_protected ---------------------------------------------------------

async def assert_protected(app, exempt=()):
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
    cdef _Settings settings
    _verify_app("assert_protected", app)
    # With an invalid option, all routes would seem open.
    settings = _state_of(app).settings()
    names = ()
    if exempt not in ((), [], set(), frozenset()):
        names = _read_rule_names("exempt", exempt, "endpoint names")
    rules = _served_rules(app)
    unknown = sorted(set(names) - {rule.endpoint for rule in rules})
    if unknown:
        raise ValueError(
            f"exempt contains names that are not endpoints of the app: {', '.join(unknown)}"
        )
    found = []
    for rule in rules:
        if rule.endpoint in names:
            continue
        for method in _methods_to_ask(app, rule, settings.exempts_options):
            answer = await _answer_without_token(app, rule, method)
            if answer is not None:
                found.append(f"{method} {rule.rule}, endpoint {rule.endpoint!r}: {answer}")
    if found:
        raise AssertionError(
            "These routes do not reject requests without a token. Protect them, or list their "
            "endpoints in `exempt`:\n" + "\n".join([f"  {line}" for line in found])
        )


cdef list _methods_to_ask(object app, object rule, bint exempts_options):
    left_out = exempts_options or (
        not rule.websocket and _has_automatic_options(app, rule)
    )
    return [name for name in _methods_of(app, rule) if name != "OPTIONS" or not left_out]


async def _answer_without_token(app, rule, method):
    """How a route responds to a request without a token; None if it rejects the request."""
    cdef _Route route
    verb = "GET" if method == "WEBSOCKET" else method
    scope = _scope_to(app, rule, verb)
    if scope is None:
        route = _Route(app, rule.endpoint, verb)
        if route.rules is not None and not route.rules.optional:
            return None
        return "no URL could be built for it, and no decorator or protect() is known to protect it"
    return await _probe(app, scope)


async def _probe(app, scope):
    """Send a request without a token, until the response starts; see _answer_without_token."""
    errors = []
    # The status of the response, or another end of the request.
    came = []
    is_over = asyncio.Event()
    is_websocket = scope["type"] == "websocket"
    first = {"type": "websocket.connect"}
    if not is_websocket:
        first = {"type": "http.request", "body": b"", "more_body": False}
    messages = [first]

    async def receive():
        if messages:
            return messages.pop()
        # The response may be endless, and code that waits for the client must not wait forever.
        await is_over.wait()
        return {"type": "websocket.disconnect" if is_websocket else "http.disconnect"}

    async def send(message):
        if message["type"] == "websocket.accept":
            came.append("accepted")
        elif message["type"] in ("http.response.start", "websocket.http.response.start"):
            came.append(message["status"])
        else:
            return
        is_over.set()

    def note(sender, error, **values):
        refusals = _REFUSALS.get()
        if refusals is not None and isinstance(error, NoAuthorizationError):
            refusals.append(error)

    async def run():
        _REFUSALS.set(errors)
        await app(scope, receive, send)

    # connected_to keeps a strong reference: a weak one to this closure would end immediately.
    with token_refused.connected_to(note, sender=app):
        task = asyncio.ensure_future(run())
        done, _ = await asyncio.wait([task], timeout=_PROBE_SECONDS)
        if not done:
            is_over.set()
            await asyncio.wait([task], timeout=1)
            task.cancel()
            came.append(f"no response within {_PROBE_SECONDS} seconds")
    if done and task.exception() is not None:
        came.append(f"raised {type(task.exception()).__name__}")
    answer = came[0] if came else "no response"
    if errors:
        # The view may have caught the error, and served a client without a token.
        is_served = answer == "accepted" or (isinstance(answer, int) and answer < 300)
        if not is_served or any([_reached_quart(error) for error in errors]):
            return None
        return f"responded with {answer} after the view had caught the error"
    return f"responded with {answer}" if isinstance(answer, int) else answer


# The errors about a missing token in the request of a task of _probe().
cdef object _REFUSALS = ContextVar("quart-jwt-extended.refusals", default=None)
cdef int _PROBE_SECONDS = 10


cdef bint _reached_quart(object error) except -1:
    """Whether an error has left the view: the traceback ends where the error was caught."""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == "quart.app":
            return True
        traceback = traceback.tb_next
    return False


# --- URLs ---

# Values that converters may accept, the likely ones first. Custom converters may accept anything.
cdef tuple _SAMPLES = (
    1, 2, 1.5, -1, "a", "ab", "abc", "abcd", "a/b", "A", "AB", "en", "en-GB", "1", "12", "123",
    "1234", "2020-01-01", "2020-01-01T00:00:00Z", "true", "alice", "a@example.com", "127.0.0.1",
    "00000000-0000-4000-8000-000000000000", uuid.UUID("00000000-0000-4000-8000-000000000000"),
    datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), True, ("a", "b"), ["a", "b"], [1, 2],
    *["a" * size for size in (5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 36, 40, 64, 128)],
    *["1" * size for size in (5, 6, 8, 10, 12, 16)], "0", 0, 10, 100, 1000, 10**6, 10**9,
)


cdef list _values_for(object converter):
    """The sample values that a converter accepts, regardless of the rest of the URL rule."""
    candidates = sorted(converter.items) if isinstance(converter, AnyConverter) else []
    for name in ("min", "max"):
        # The bounds of number converters.
        bound = getattr(converter, name, None)
        if type(bound) in (int, float):
            candidates.append(bound)
    found = []
    for value in (*candidates, *_SAMPLES):
        try:
            text = converter.to_url(value)
            converter.to_python(urllib.parse.unquote(text))
        except Exception:
            # A custom converter may raise any exception for a value that it does not accept.
            continue
        if re.fullmatch(converter.regex, urllib.parse.unquote(text)) is not None:
            found.append(value)
    return found


cdef dict _scope_to(object app, object rule, str method):
    """The scope of a request without a token that reaches a URL rule; None if that failed."""
    # Werkzeug only has a public attribute for the names of the variables.
    found = {name: _values_for(converter) for name, converter in rule._converters.items()}
    if not all(found.values()):
        return None
    host = app.config["SERVER_NAME"] or "localhost"
    scheme = ("ws" if rule.websocket else "http") + "s" * bool(app.config["PREFER_SECURE_URLS"])
    for turn in range(max([len(values) for values in found.values()], default=1)):
        values = {name: taken[turn % len(taken)] for name, taken in found.items()}
        try:
            address = rule.build({**(rule.defaults or {}), **values}, append_unknown=False)
        except Exception:
            # A custom converter may raise any exception.
            continue
        if address is None:
            continue
        domain, path = address
        if domain and app.url_map.host_matching:
            host_of_rule = domain
        else:
            host_of_rule = f"{domain}.{host}" if domain else host
        scope = quart.testing.make_test_scope(
            "websocket" if rule.websocket else "http", urllib.parse.unquote(path), method,
            Headers({"Host": host_of_rule, "User-Agent": "quart-jwt-extended"}), b"", scheme, "",
            "1.1", None,
        )
        # Another URL rule may match, or redirect.
        if _rule_of(app, scope) is rule:
            return scope
    return None


_new_submodule("testing", "Helpers for tests of applications.", {
    "assert_protected": assert_protected, "signed_in": signed_in,
})
# Only that module exports them.
del assert_protected, signed_in


# -----------------------------------------------------------------------------
# Import paths of 0.1.0
# -----------------------------------------------------------------------------

# --- config -------------------------------------------------------------------

def _config_property(read, doc):
    return property(lambda self: read(_current_state().settings()), doc=doc)


cdef object _attribute(str name, str doc):
    return _config_property(lambda settings: getattr(settings, name), doc)


cdef object _by_type(str name, int token_type, str doc):
    return _config_property(lambda settings: getattr(settings, name)[token_type], doc)


cdef object _as_configured(str name):
    def read(self):
        state = _current_state()
        state.settings()
        return state.app.config.get(name, DEFAULTS[name])
    return property(read, doc=name)


class _JSONEncoder(json.JSONEncoder):
    """Encodes other types as the JSON provider of the current app does."""

    def default(self, o):
        return _current_state().json_default()(o)


cdef object _key_option(_Settings settings, bint signing):
    option, key = _configured(settings, settings.algorithm, signing)
    if key is None:
        raise RuntimeError(_missing_key(settings.algorithm, option))
    return key


class _Config:
    """The options of the current app under the property names of 0.1.0, read-only."""

    is_asymmetric = _config_property(
        lambda _Settings settings: not _is_symmetric(settings.algorithm),
        "Whether the algorithm is asymmetric.",
    )
    encode_key = _config_property(
        lambda _Settings settings: _key_option(settings, True), "The configured key that signs."
    )
    decode_key = _config_property(
        lambda _Settings settings: _key_option(settings, False), "The configured key that verifies."
    )
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
    query_string_value_prefix = _config_property(
        lambda _Settings settings: settings.query_string_prefix, "JWT_QUERY_STRING_VALUE_PREFIX"
    )
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
    cookie_csrf_protect = _config_property(
        lambda _Settings settings: settings.csrf_configured, "JWT_COOKIE_CSRF_PROTECT"
    )
    csrf_protect = _attribute("csrf_protect", "Whether CSRF protection applies.")
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
        "None, or the lifetime of persistent cookies (seconds).",
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
    decode_audience = _as_configured("JWT_DECODE_AUDIENCE")
    encode_audience = _attribute("encode_audience", "JWT_ENCODE_AUDIENCE")
    encode_issuer = _attribute("encode_issuer", "JWT_ENCODE_ISSUER")
    encode_nbf = _attribute("encode_nbf", "JWT_ENCODE_NBF")
    verify_sub = _attribute("verify_sub", "JWT_VERIFY_SUB")
    decode_issuer = _as_configured("JWT_DECODE_ISSUER")
    leeway = _as_configured("JWT_DECODE_LEEWAY")


_config = _Config()


# --- default_callbacks --------------------------------------------------------

def _default_user_claims_callback(userdata):
    """Add no user claims."""
    return {}


def _default_jwt_headers_callback(default_headers):
    """Add no headers to ``alg`` and ``typ``."""
    return None


def _default_user_identity_callback(userdata):
    """Return the object that was passed to the creating function as the identity."""
    return userdata


def _default_expired_token_callback(expired_token):
    """Return 401 for an expired token."""
    return _legacy_answer("expired_token", None)


def _default_invalid_token_callback(error_string):
    """Return 422 for an invalid token."""
    return _legacy_answer("invalid_token", error_string)


def _default_unauthorized_callback(error_string):
    """Return 401 for a request without a token, or with a wrong CSRF value."""
    return _legacy_answer("unauthorized", error_string)


def _default_needs_fresh_token_callback():
    """Return 401 for a token that is not fresh."""
    return _legacy_answer("needs_fresh_token", None)


def _default_revoked_token_callback():
    """Return 401 for a revoked token."""
    return _legacy_answer("revoked_token", None)


def _default_user_loader_error_callback(identity):
    """Return 401 if the user could not be loaded."""
    return _legacy_answer("user_loader_error", _unknown_user(identity))


def _default_claims_verification_callback(user_claims):
    """Accept all user claims."""
    return True


def _default_verify_claims_failed_callback():
    """Return 400 for rejected user claims."""
    return _legacy_answer("verify_claims_failed", None)


def _default_decode_key_callback(claims, headers):
    """Return JWT_SECRET_KEY or JWT_PUBLIC_KEY, depending on the algorithm."""
    return _config.decode_key


def _default_encode_key_callback(identity):
    """Return JWT_SECRET_KEY or JWT_PRIVATE_KEY, depending on the algorithm."""
    return _config.encode_key


# --- utils --------------------------------------------------------------------

def _has_user_loader():
    """Whether a user loader is registered with the current app's manager."""
    return _current_state().callbacks.user_loader is not None


def _user_loader(identity):
    """Call the user loader of the current app's manager."""
    cdef _AppState state = _current_state()
    cdef _Settings settings = state.settings()
    claims = {**get_raw_jwt(), settings.identity_claim_key: identity}
    return state.callbacks.user_loader(settings, get_raw_jwt_header(), claims)


def _has_token_in_blacklist_callback():
    """Whether a blacklist callback is registered with the current app's manager."""
    return _current_state().callbacks.token_in_blacklist is not None


def _token_in_blacklist(decoded_token):
    """Call the blacklist callback of the current app's manager."""
    cdef _AppState state = _current_state()
    return state.callbacks.token_in_blacklist(
        state.settings(), get_raw_jwt_header(), decoded_token
    )


def _verify_token_type(decoded_token, expected_type):
    """Raise WrongTokenError unless the claims are of the expected type of token."""
    if decoded_token["type"] != expected_type:
        raise WrongTokenError(f"Only {expected_type} tokens are allowed")


def _verify_token_not_blacklisted(decoded_token, request_type):
    """Raise RevokedTokenError if the blacklist callback (not async) returns a true value."""
    cdef _AppState state = _current_state()
    answer = _unproxied(_ask_blacklist(
        state, state.settings(), get_raw_jwt_header(), decoded_token, request_type
    ))
    if _is_awaitable(answer):
        raise _needs_awaiting(answer, "verify_jwt_in_request")
    if answer:
        raise _revoked(state, answer)


def _verify_token_claims(jwt_data):
    """Raise UserClaimsVerificationError if the claims callback (not async) rejects the claims."""
    cdef _AppState state = _current_state()
    cdef _Settings settings = state.settings()
    # A dict without user claims is an error even without a callback, as in 0.1.0.
    jwt_data[settings.user_claims_key]
    if state.callbacks.claims_verification is None:
        return
    answer = _unproxied(
        state.callbacks.claims_verification(settings, get_raw_jwt_header(), jwt_data)
    )
    if _is_awaitable(answer):
        raise _needs_awaiting(answer, "verify_jwt_in_request")
    if not _says_yes(answer, state.callbacks.claims_loader()):
        raise UserClaimsVerificationError("User claims verification failed")


# --- tokens -------------------------------------------------------------------

cdef str _encode_compat(
    int token_type, identity, secret, algorithm, expires_delta, fresh, user_claims, csrf,
    identity_claim_key, user_claims_key, json_encoder, headers, issuer
):
    _verify_new_headers(headers)
    if token_type == _ACCESS and not isinstance(fresh, (bool, _timedelta)):
        raise TypeError(f"fresh must be a bool or a timedelta, not {_shown(fresh)}")
    if issuer is not None and not isinstance(issuer, str):
        raise TypeError(f"issuer must be a string or None, not {_shown(issuer)}")
    claims = _new_claims(
        token_type, identity, fresh, expires_delta, user_claims, csrf, identity_claim_key,
        user_claims_key, issuer, None, True,
    )
    name = _known_algorithm((headers or {}).get("alg") or algorithm, "algorithm")
    key = _prepare_key(secret, name, True, 0)
    # A custom encoder class may change ordinary claims, too.
    dump = (json_encoder or json.JSONEncoder)(separators=(",", ":")).encode
    header = dump(_new_header(name, "JWT", headers)).encode() if headers else None
    return _encode_token(header, dump(claims).encode(), key)


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
    cdef _AppState state = _AppState(None, _Callbacks())
    cdef _Settings settings
    if not algorithms:
        raise jwt.DecodeError(
            'It is required that you pass in a value for the "algorithms" argument when calling '
            "decode()."
        )
    settings = _Settings({
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
    token = _parse_token(encoded_token, settings.max_token_size, state.headers)
    _verify_algorithm(token.header.algorithm, settings.allowed_algorithms)
    return _decode_parsed(state, settings, token, secret, csrf_value, allow_expired)


# --- The modules --------------------------------------------------------------

def _named(*names):
    return {name: globals()[name] for name in names}


cdef dict _exceptions = _named(
    "CSRFError", "FreshTokenRequired", "InsufficientScopeError", "InvalidHeaderError",
    "JWTDecodeError", "JWTExtendedException", "NoAuthorizationError", "RevokedTokenError",
    "SessionEndedError", "TokenReusedError", "TokenStoreError", "UserClaimsVerificationError",
    "UserLoadError", "WebSocketOriginError", "WrongTokenError", "IssuerUnavailableError",
)
_new_submodule("exceptions", "The exceptions of the extension.", _exceptions)
for _name in _exceptions:
    # As in 0.1.0: error trackers group by this name, and pickles contain it.
    _exceptions[_name].__module__ = f"{__name__}.exceptions"
_new_submodule("config", "The options of the current app.", {"config": _config})
_new_submodule("default_callbacks", "The behavior if no callback is registered.", {
    f"default_{name}_callback": globals()[f"_default_{name}_callback"]
    for name in (
        "user_claims", "jwt_headers", "user_identity", "expired_token", "invalid_token",
        "unauthorized", "needs_fresh_token", "revoked_token", "user_loader_error",
        "claims_verification", "verify_claims_failed", "decode_key", "encode_key",
    )
})
cdef object _utils = _new_submodule("utils", "Functions on tokens, requests and cookies.", {
    **_named(
        "create_access_token", "create_refresh_token", "current_user", "decode_token",
        "get_csrf_token", "get_current_user", "get_jti", "get_jwt", "get_jwt_claims",
        "get_jwt_header", "get_jwt_identity", "get_jwt_request_location", "get_raw_jwt",
        "get_raw_jwt_header", "get_unverified_jwt_headers", "set_access_cookies",
        "set_refresh_cookies", "unset_access_cookies", "unset_jwt_cookies", "unset_refresh_cookies",
        "RevokedTokenError", "UserClaimsVerificationError", "WrongTokenError", "verify_token",
    ),
    "config": _config,
    "decode_jwt": _decode_jwt,
    "has_user_loader": _has_user_loader,
    "user_loader": _user_loader,
    "has_token_in_blacklist_callback": _has_token_in_blacklist_callback,
    "token_in_blacklist": _token_in_blacklist,
    "verify_token_claims": _verify_token_claims,
    "verify_token_not_blacklisted": _verify_token_not_blacklisted,
    "verify_token_type": _verify_token_type,
})
_view_decorators.__dict__.update(_named(
    "CSRFError", "FreshTokenRequired", "InvalidHeaderError", "NoAuthorizationError",
    "UserLoadError", "decode_token", "fresh_jwt_required", "get_unverified_jwt_headers",
    "jwt_exempt", "jwt_optional", "jwt_refresh_token_required",
    "jwt_required", "protect", "verify_fresh_jwt_in_request", "verify_jwt_in_request",
    "verify_jwt_in_request_optional", "verify_jwt_refresh_token_in_request",
))
for _name in (
    "config", "has_user_loader", "user_loader", "verify_token_claims",
    "verify_token_not_blacklisted", "verify_token_type",
):
    setattr(_view_decorators, _name, getattr(_utils, _name))
del _name
_new_submodule("tokens", "Encoding and decoding with explicit settings.", {
    "decode_jwt": _decode_jwt,
    "encode_access_token": _encode_access_token,
    "encode_refresh_token": _encode_refresh_token,
})
_new_submodule("jwt_manager", "The manager.", _named("JWTManager"))
