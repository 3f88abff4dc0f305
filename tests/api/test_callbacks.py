"""Callbacks: every loader and kind of callable, what they get, and what becomes of their errors."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import copy
import functools
import gc
import inspect
import re
import types
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from quart import Quart, Response
from werkzeug.local import LocalProxy

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import CSRFError, InvalidHeaderError, NoAuthorizationError
from support import (
    LONG_AGO,
    OTHER_SECRET,
    SECRET,
    access_claims,
    ask,
    bearer,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
    status_of,
    unhandled,
)

Function = Callable[..., Any]

EXPIRED = access_claims(exp=LONG_AGO)
GOOD = access_claims()
# With what is filled in when a token is verified.
GIVEN = {**GOOD, "user_claims": {}}


# --- Kinds of callables --------------------------------------------------------
#
# Each takes a number of arguments and a function to call with them; the number shows in the
# signature of what it makes, because the manager reads it there.


def plain(count: int, answer: Function) -> Function:
    names = ", ".join("abcd"[:count])
    return eval(f"lambda {names}: answer({names})", {"answer": answer})


def async_function(count: int, answer: Function) -> Function:
    names = ", ".join("abcd"[:count])
    source = f"async def function({names}):\n  await asyncio.sleep(0)\n  return answer({names})"
    namespace: dict[str, Any] = {"answer": answer, "asyncio": asyncio}
    exec(source, namespace)
    return namespace["function"]


def without_first(answer: Function) -> Function:
    """``answer`` for a callable that gets one argument more, such as ``self``."""
    return lambda first, *rest: answer(*rest)


def method(make: Function) -> Function:
    def build(count: int, answer: Function) -> Function:
        owner = type("Owner", (), {"callback": make(count + 1, without_first(answer))})
        return owner().callback

    return build


def callable_object(make: Function) -> Function:
    def build(count: int, answer: Function) -> Function:
        owner = type("Owner", (), {"__call__": make(count + 1, without_first(answer))})
        return owner()

    return build


def partial(make: Function) -> Function:
    def build(count: int, answer: Function) -> Function:
        return functools.partial(make(count + 1, without_first(answer)), "bound")

    return build


def partial_method(make: Function) -> Function:
    def build(count: int, answer: Function) -> Function:
        return functools.partial(method(make)(count + 1, without_first(answer)), "bound")

    return build


def wrapped(count: int, answer: Function) -> Function:
    """A decorated function, which shows the signature of the one within."""
    inner = async_function(count, answer)

    @functools.wraps(inner)
    def wrapper(*args: Any) -> Any:
        return inner(*args)

    return wrapper


def lambda_of_coroutine(count: int, answer: Function) -> Function:
    return plain(count, async_function(count, answer))


def lambda_of_task(count: int, answer: Function) -> Function:
    return plain(count, lambda *args: asyncio.ensure_future(async_function(count, answer)(*args)))


class Later:
    """An awaitable that is neither a coroutine nor a future."""

    def __init__(self, answer: Function, args: tuple[Any, ...]) -> None:
        self.answer = answer
        self.args = args

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        return self.answer(*self.args)


def lambda_of_awaitable(count: int, answer: Function) -> Function:
    return plain(count, lambda *args: Later(answer, args))


class CompiledCoroutine(Coroutine[Any, Any, Any]):
    """Stands in for Cython's: a Coroutine by its protocol, which inspect.iscoroutine denies."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def send(self, value: Any) -> Any:
        return self.coroutine.send(value)

    def throw(self, *args: Any) -> Any:
        return self.coroutine.throw(*args)

    def close(self) -> None:
        self.coroutine.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield from self.coroutine.__await__())


def lambda_of_compiled(count: int, answer: Function) -> Function:
    return plain(count, lambda *args: CompiledCoroutine(async_function(count, answer)(*args)))


def generator_based(count: int, answer: Function) -> Function:
    @types.coroutine
    def coroutine(*args: Any) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        return answer(*args)

    return plain(count, coroutine)


SYNC_KINDS: dict[str, Function] = {
    "function": plain,
    "method": method(plain),
    "callable object": callable_object(plain),
    "partial": partial(plain),
    "partial of a method": partial_method(plain),
}
COROUTINE_KINDS: dict[str, Function] = {
    "async function": async_function,
    "async method": method(async_function),
    "async callable object": callable_object(async_function),
    "partial of async": partial(async_function),
    "partial of async method": partial_method(async_function),
    "wrapped": wrapped,
    "lambda of coroutine": lambda_of_coroutine,
    "compiled coroutine": lambda_of_compiled,
    "generator-based coroutine": generator_based,
}
AWAITABLE_KINDS: dict[str, Function] = {
    "lambda of task": lambda_of_task,
    "awaitable": lambda_of_awaitable,
}
ASYNC_KINDS = {**COROUTINE_KINDS, **AWAITABLE_KINDS}
KINDS = {**SYNC_KINDS, **ASYNC_KINDS}


# --- Cases: what each loader's result is used for ------------------------------


def answers(path: str, claims: dict[str, Any] | None, **token: Any) -> Any:
    """Observe status and body of the answer to a request."""

    async def observe(app: Quart) -> Any:
        return await ask(app, path, claims and hs_token(claims, **token))

    return observe


async def opened(app: Quart) -> int:
    """Observe whether the protected view ran."""
    status, _ = await ask(app, "/protected", access_claims(user_claims={"role": "admin"}))
    assert ("protected" in app.calls) is (status == 200)
    return status


async def current_user(app: Quart) -> Any:
    """Observe the user that a view gets."""
    seen: list[Any] = []

    @app.get("/user")
    @qje.jwt_required
    async def user() -> str:
        seen.append(qje.get_current_user())
        return ""

    status, _ = await ask(app, "/user", GOOD)
    return seen if status == 200 else status


async def new_token(app: Quart) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Header and claims of a new access token, and the secret that signed it."""
    async with app.app_context():
        token = await qje.create_access_token_async("alice")
    header = jwt.get_unverified_header(token)
    for secret in (SECRET, OTHER_SECRET):
        try:
            return header, jwt.decode(token, secret, algorithms=["HS256"]), secret
        except jwt.InvalidSignatureError:
            continue
    raise AssertionError("signed with an unknown secret")


async def new_identity(app: Quart) -> Any:
    return (await new_token(app))[1]["identity"]


async def new_user_claims(app: Quart) -> Any:
    return (await new_token(app))[1].get("user_claims")


async def new_header(app: Quart) -> Any:
    return (await new_token(app))[0]


async def signing_secret(app: Quart) -> Any:
    return (await new_token(app))[2]


OWN = ({"own": "body"}, 418)
OWN_ANSWER = (418, {"own": "body"})


@dataclass(frozen=True, eq=False)
class Case:
    """A result of the callback of a loader, its arguments, and what the result leads to."""

    loader: str
    arguments: tuple[Any, ...]
    result: Any
    observe: Callable[[Quart], Awaitable[Any]]
    expected: Any
    options: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    """What the callbacks of other loaders say."""

    def __str__(self) -> str:
        return f"{self.loader}={str(self.result)[:24]}"

    def app(self) -> Quart:
        app = make_app(**self.options)

        @app.get("/scoped")
        @qje.jwt_required(scopes=["read", "write"])
        async def scoped() -> str:
            app.calls.append("scoped")
            return ""

        for loader, result in self.others.items():
            getattr(manager_of(app), loader)(plain(1, lambda value, result=result: result))
        return app

    def register(self, app: Quart, kind: Function, answer: Function) -> Any:
        callback = kind(len(self.arguments), answer)
        return callback, getattr(manager_of(app), self.loader)(callback)


BLACKLIST = {"JWT_BLACKLIST_ENABLED": True}
HS256_HEADER = {"typ": "JWT", "alg": "HS256"}
KID_HEADER = {**HS256_HEADER, "kid": "1"}
ROLE = {"role": "admin"}
# What the token of ``opened`` carries beside the times is checked by the tests of each behaviour.
ANY = type("Any", (), {"__eq__": lambda self, other: True, "__repr__": lambda self: "ANY"})()


def answering(
    loader: str,
    arguments: tuple[Any, ...],
    path: str,
    claims: dict[str, Any] | None,
    options: dict[str, Any] | None = None,
    others: dict[str, Any] | None = None,
    **token: Any,
) -> Case:
    """The case of a loader whose callback answers a refused request."""
    observe = answers(path, claims, **token)
    return Case(loader, arguments, OWN, observe, OWN_ANSWER, options or {}, others or {})


CASES = [
    Case("claims_verification_loader", (ROLE,), True, opened, 200),
    Case("claims_verification_loader", (ROLE,), False, opened, 400),
    Case("claims_verification_loader", (ROLE,), None, opened, 400),
    Case("token_in_blacklist_loader", (ANY,), True, opened, 401, BLACKLIST),
    Case("token_in_blacklist_loader", (ANY,), False, opened, 200, BLACKLIST),
    Case("token_in_blacklist_loader", (ANY,), None, opened, 200, BLACKLIST),
    Case("token_in_blocklist_loader", (HS256_HEADER, ANY), True, opened, 401),
    Case("token_in_blocklist_loader", (HS256_HEADER, ANY), False, opened, 200),
    Case("token_in_blocklist_loader", (HS256_HEADER, ANY), None, opened, 200),
    Case("token_verification_loader", (HS256_HEADER, ANY), True, opened, 200),
    Case("token_verification_loader", (HS256_HEADER, ANY), False, opened, 400),
    Case("token_verification_loader", (HS256_HEADER, ANY), None, opened, 400),
    Case("user_lookup_loader", (HS256_HEADER, ANY), {"name": "a"}, current_user, [{"name": "a"}]),
    Case("user_lookup_loader", (HS256_HEADER, ANY), None, current_user, 401),
    Case("user_loader_callback_loader", ("alice",), {"name": "a"}, current_user, [{"name": "a"}]),
    Case("user_loader_callback_loader", ("alice",), None, current_user, 401),
    Case("decode_key_loader", (ANY, HS256_HEADER), SECRET, opened, 200),
    Case("decode_key_loader", (ANY, HS256_HEADER), OTHER_SECRET, opened, 422),
    Case("decode_key_loader", (ANY, HS256_HEADER), None, opened, 422),
    Case("decode_key_loader", (ANY, HS256_HEADER), "", opened, 422),
    Case("encode_key_loader", ("alice",), SECRET, signing_secret, SECRET),
    Case("encode_key_loader", ("alice",), OTHER_SECRET, signing_secret, OTHER_SECRET),
    Case("user_identity_loader", ("alice",), "bob", new_identity, "bob"),
    Case("user_identity_loader", ("alice",), {"id": 1}, new_identity, {"id": 1}),
    Case("user_claims_loader", ("alice",), {"role": "admin"}, new_user_claims, ROLE),
    Case("user_claims_loader", ("alice",), {}, new_user_claims, None),
    Case("additional_claims_loader", ("alice",), {"user_claims": ROLE}, new_user_claims, ROLE),
    Case("additional_claims_loader", ("alice",), {}, new_user_claims, None),
    Case("additional_claims_loader", ("alice",), None, new_user_claims, None),
    Case("additional_headers_loader", ("alice",), {"kid": "1"}, new_header, KID_HEADER),
    Case("additional_headers_loader", ("alice",), None, new_header, HS256_HEADER),
    answering("expired_token_loader", ({**EXPIRED, "user_claims": {}},), "/protected", EXPIRED),
    answering(
        "invalid_token_loader",
        ("Signature verification failed",),
        "/protected",
        GOOD,
        secret=OTHER_SECRET,
    ),
    answering("unauthorized_loader", ("Missing Authorization Header",), "/protected", None),
    answering("needs_fresh_token_loader", (), "/fresh", GOOD),
    answering("insufficient_scope_loader", (("read", "write"), GIVEN), "/scoped", GOOD),
    answering(
        "revoked_token_loader",
        (),
        "/protected",
        GOOD,
        options=BLACKLIST,
        others={"token_in_blacklist_loader": True},
    ),
    *(
        answering(
            loader, arguments, "/protected", GOOD, others={"user_loader_callback_loader": None}
        )
        for loader, arguments in (
            ("user_loader_error_loader", ("alice",)),
            ("user_lookup_error_loader", (HS256_HEADER, GIVEN)),
        )
    ),
    *(
        answering(
            loader, arguments, "/protected", GOOD, others={"claims_verification_loader": False}
        )
        for loader, arguments in (
            ("claims_verification_failed_loader", ()),
            ("token_verification_failed_loader", (HS256_HEADER, GIVEN)),
        )
    ),
]
CREATION_LOADERS = [
    "encode_key_loader",
    "user_identity_loader",
    "user_claims_loader",
    "additional_claims_loader",
    "additional_headers_loader",
]
DECIDING_LOADERS = [
    "decode_key_loader",
    "token_in_blacklist_loader",
    "token_in_blocklist_loader",
    "claims_verification_loader",
    "token_verification_loader",
    "user_loader_callback_loader",
    "user_lookup_loader",
]
CASE_OF = {case.loader: case for case in reversed(CASES)}
every_loader = pytest.mark.parametrize("loader", CASE_OF)
in_both_forms = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


# They have both forms in test_sessions.py, test_implicit_refresh.py and test_issuer_fetching.py.
TESTED_ELSEWHERE = {"refresh_reuse_loader", "implicit_refresh_loader", "jwks_fetch_loader"}


def test_every_loader_of_the_manager_has_a_case() -> None:
    loaders = {name for name in dir(qje.JWTManager) if name.endswith("_loader")}
    assert set(CASE_OF) == loaders - TESTED_ELSEWHERE
    assert len(CASE_OF) == 22


# Each result in the two common forms, each loader with what is hardest to know for awaitable, and
# each kind of callable in one loader for each number of arguments, and in one that creates.
USES = [
    *((case, kind) for case in CASES for kind in ("function", "async function")),
    *((case, kind) for case in CASE_OF.values() for kind in ("awaitable", "compiled coroutine")),
    *(
        (CASE_OF[loader], kind)
        for kind in KINDS
        for loader in (
            "needs_fresh_token_loader",
            "user_loader_callback_loader",
            "decode_key_loader",
            "user_claims_loader",
        )
    ),
]


@pytest.mark.parametrize(("case", "kind"), dict.fromkeys(USES), ids=str)
async def test_result_of_a_callback_is_used(case: Case, kind: str) -> None:
    app = case.app()
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        return case.result

    callback, returned = case.register(app, KINDS[kind], answer)
    assert returned is callback
    assert await case.observe(app) == case.expected
    assert received == [case.arguments]


@every_loader
async def test_callback_registered_last_is_kept_alive_and_in_force(loader: str) -> None:
    """The manager keeps the callback; the application need not."""
    case = CASE_OF[loader]
    app = case.app()
    first_called = []
    case.register(app, plain, lambda *arguments: first_called.append(arguments))
    case.register(app, callable_object(plain), lambda *arguments: case.result)
    gc.collect()
    assert await case.observe(app) == case.expected
    assert first_called == []


async def test_coroutine_of_this_module_is_awaited_as_a_result(app: Quart) -> None:
    """A coroutine that Cython really compiled, beside the stand-in above."""
    token = hs_token(access_claims(identity="bob", user_claims={}))
    compiled = []

    @manager_of(app).user_loader_callback_loader
    def load(identity: str) -> Any:
        compiled.append(qje.decode_token_async(token))
        return compiled[0]

    assert [user["identity"] for user in await current_user(app)] == ["bob"]
    assert not isinstance(compiled[0], types.CoroutineType)


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ("text", 200, b"text"),
        (("text", 418), 418, b"text"),
        ((b"bytes", 418, {"X-Own": "1"}), 418, b"bytes"),
        (({"own": 1}, 418), 418, b'{"own":1}\n'),
        (Response("response", status=418), 418, b"response"),
    ],
)
async def test_error_callback_may_answer_with_anything_a_view_may(
    app: Quart, result: Any, status: int, body: bytes
) -> None:
    manager_of(app).unauthorized_loader(lambda message: result)
    response = await app.test_client().get("/protected")
    assert (response.status_code, await response.get_data()) == (status, body)


# --- Header and claims, in the loaders that take both --------------------------

HEADER = {"typ": "JWT", "alg": "HS256", "kid": "1", "own": {"list": [1]}}
# By loader: what other loaders say, and the path and the claims that lead to it.
REFUSALS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "expired_token_loader": ({}, "/protected", EXPIRED),
    "revoked_token_loader": ({"token_in_blocklist_loader": True}, "/protected", GOOD),
    "needs_fresh_token_loader": ({}, "/fresh", GOOD),
    "token_verification_failed_loader": (
        {"token_verification_loader": False},
        "/protected",
        GOOD,
    ),
    "user_lookup_error_loader": ({"user_lookup_loader": None}, "/protected", GOOD),
}


def app_that_refuses(loader: str) -> Quart:
    app = make_app()
    for other, result in REFUSALS[loader][0].items():
        getattr(manager_of(app), other)(lambda header, claims, result=result: result)
    return app


def meddling(result: Any, received: list[Any]) -> Function:
    """A callback that notes header and claims, changes both in depth, and gives ``result``."""

    async def callback(header: dict[str, Any], claims: dict[str, Any]) -> Any:
        received.append(copy.deepcopy((header, claims)))
        header["alg"] = "none"
        header["own"]["list"].append("changed")
        claims["identity"] = "mallory"
        claims["user_claims"]["role"] = "admin"
        return result

    return callback


@pytest.mark.parametrize("loader", REFUSALS)
async def test_answering_loader_gets_header_and_claims_of_its_own(loader: str) -> None:
    """Headers are remembered from token to token; what a callback gets must not be that memory."""
    _, path, claims = REFUSALS[loader]
    app = app_that_refuses(loader)
    received: list[Any] = []
    getattr(manager_of(app), loader)(meddling(({"own": "body"}, 418), received))
    for _ in range(2):
        assert await ask(app, path, hs_token(claims, header=HEADER)) == OWN_ANSWER
    assert received == [(HEADER, {**claims, "user_claims": {}})] * 2
    assert app.calls == []


@pytest.mark.parametrize(
    ("loader", "result"),
    [
        ("token_in_blocklist_loader", False),
        ("token_verification_loader", True),
        ("user_lookup_loader", "user"),
    ],
)
async def test_deciding_loader_gets_header_and_claims_of_its_own(loader: str, result: Any) -> None:
    app = make_app()
    received: list[Any] = []
    getattr(manager_of(app), loader)(meddling(result, received))
    claims = access_claims(user_claims={"role": "user"})
    for _ in range(2):
        headers = bearer(hs_token(claims, header=HEADER))
        async with app.test_request_context("/", headers=headers):
            await qje.verify_jwt_in_request()
            assert qje.get_jwt_header()["alg"] == "HS256"
    assert received == [(HEADER, claims)] * 2


async def test_token_verification_loader_is_asked_about_both_types_of_token(app: Quart) -> None:
    """As in Flask-JWT-Extended; that of 0.1.0 knows user claims, which access tokens have."""
    manager_of(app).token_verification_loader(lambda header, claims: claims["tenant"] == "on")
    for path, claims in (("/protected", access_claims), ("/refresh", refresh_claims)):
        assert (await ask(app, path, claims(tenant="on")))[0] == 200
        answer = await ask(app, path, claims(tenant="off"))
        assert answer == (400, {"msg": "User claims verification failed"})
    assert app.calls == ["protected", "refresh"]


@pytest.mark.parametrize(
    ("loader", "error"),
    [
        ("expired_token_loader", jwt.ExpiredSignatureError("own")),
        ("revoked_token_loader", qje.RevokedTokenError("own")),
        ("needs_fresh_token_loader", qje.FreshTokenRequired("own")),
        ("token_verification_failed_loader", qje.UserClaimsVerificationError("own")),
        ("user_lookup_error_loader", qje.UserLoadError("own")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_error_raised_bare_reaches_the_callback_with_empty_header_and_claims(
    app: Quart, loader: str, error: Exception
) -> None:
    received: list[Any] = []
    getattr(manager_of(app), loader)(
        lambda header, claims: (received.append((header, claims)) or {}, 418)
    )

    @app.get("/own")
    async def own() -> str:
        raise error

    assert (await ask(app, "/own"))[0] == 418
    assert received == [({}, {})]


async def test_decode_key_callback_sees_claims_and_header_before_they_are_verified(
    app: Quart,
) -> None:
    """Changing what it sees changes nothing about the token."""
    claims = access_claims(user_claims={"role": "user"})
    received = []

    @manager_of(app).decode_key_loader
    def key(seen_claims: dict[str, Any], seen_header: dict[str, Any]) -> str:
        received.append(copy.deepcopy((seen_claims, seen_header)))
        seen_claims["identity"] = "mallory"
        seen_claims["user_claims"]["role"] = "admin"
        seen_claims.pop("exp")
        seen_header["alg"] = "none"
        return SECRET

    _, body = await ask(app, "/protected", hs_token(claims, header=HEADER))
    assert (body["identity"], body["user_claims"]) == ("alice", {"role": "user"})
    expired = hs_token({**claims, "exp": LONG_AGO}, header=HEADER)
    assert (await ask(app, "/protected", expired))[0] == 401
    forged = hs_token(claims, header=HEADER, secret=OTHER_SECRET)
    assert (await ask(app, "/protected", forged))[0] == 422
    assert received == [(claims, HEADER), ({**claims, "exp": LONG_AGO}, HEADER), (claims, HEADER)]


# --- Two loaders of one slot ---------------------------------------------------

SLOTS = [
    # The names of 0.1.0 and of Flask-JWT-Extended, each with its number of arguments.
    ("token_in_blacklist_loader", 1, "token_in_blocklist_loader", 2),
    ("claims_verification_loader", 1, "token_verification_loader", 2),
    ("claims_verification_failed_loader", 0, "token_verification_failed_loader", 2),
    ("user_loader_callback_loader", 1, "user_lookup_loader", 2),
    ("user_loader_error_loader", 1, "user_lookup_error_loader", 2),
]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: slot[2])
async def test_last_registered_of_two_loaders_of_one_slot_wins(slot: Any, swapped: bool) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = manager_of(app)
    called: list[str] = []
    if "blacklist" not in slot[0]:
        manager.token_in_blacklist_loader(lambda claims: False)
    answering = {
        "claims_verification_failed_loader": ("claims_verification_loader", False),
        "user_loader_error_loader": ("user_loader_callback_loader", None),
    }
    result: Any = False
    if slot[0] in answering:
        loader, provoking = answering[slot[0]]
        getattr(manager, loader)(lambda value: provoking)
        result = ({}, 418)
    loaders = [(slot[0], slot[1]), (slot[2], slot[3])]
    if swapped:
        loaders.reverse()
    for loader, count in loaders:

        def note(*arguments: Any, name: str = loader) -> Any:
            called.append(name)
            return result

        getattr(manager, loader)(plain(count, note))
    await ask(app, "/protected", GOOD)
    assert called == [loaders[-1][0]]


# --- Callbacks that raise ------------------------------------------------------

# A request that makes the callback of each loader run, as (path, claims, token arguments).
PROVOKED: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "expired_token_loader": ("/optional", EXPIRED, {}),
    "invalid_token_loader": ("/optional", GOOD, {"secret": OTHER_SECRET}),
    "unauthorized_loader": ("/protected", None, {}),
    "needs_fresh_token_loader": ("/fresh", GOOD, {}),
    "insufficient_scope_loader": ("/scoped", GOOD, {}),
}


@in_both_forms
@every_loader
async def test_error_of_a_callback_comes_out_at_once_and_fails_the_request_before_the_view(
    loader: str, is_async: bool
) -> None:
    """0.1.0 took a TypeError for the wrong arity, and called again with fewer arguments."""
    case = CASE_OF[loader]
    app = case.app()
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        raise TypeError("inside the callback")

    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        case.register(app, async_function if is_async else plain, answer)
        if loader in CREATION_LOADERS:
            async with app.app_context():
                with pytest.raises(TypeError, match="inside the callback"):
                    await qje.create_access_token_async("alice")
        else:
            app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
            path, claims, token = PROVOKED.get(loader, ("/optional", GOOD, {}))
            with unhandled(app) as raised:
                status, _ = await ask(app, path, claims and hs_token(claims, **token))
            assert [(type(error), str(error)) for error in raised] == [
                (TypeError, "inside the callback")
            ]
            assert status == 500
    assert len(received) == 1
    assert app.calls == []
    assert not [warning for warning in noted if "callback" in str(warning.message)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoAuthorizationError("from the callback"), 401),
        (InvalidHeaderError("from the callback"), 422),
        (CSRFError("from the callback"), 401),
        (jwt.InvalidTokenError("from the callback"), 422),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("loader", DECIDING_LOADERS)
async def test_own_exception_from_a_callback_is_answered_even_under_jwt_optional(
    loader: str, error: Exception, status: int
) -> None:
    """The optional view must not take it for the absence of a token."""
    case = CASE_OF[loader]
    app = case.app()

    def answer(*arguments: Any) -> Any:
        raise error

    case.register(app, plain, answer)
    assert await ask(app, "/optional", GOOD) == (status, {"msg": "from the callback"})
    assert app.calls == []


@in_both_forms
@pytest.mark.parametrize("path", ["/protected", "/optional"])
@pytest.mark.parametrize("loader", DECIDING_LOADERS)
async def test_no_authorization_from_a_callback_does_not_move_on_to_the_next_location(
    loader: str, path: str, is_async: bool
) -> None:
    """A second token in the request must not make up for the refusal of the first."""
    case = CASE_OF[loader]
    app = make_app(**case.options, JWT_TOKEN_LOCATION=["headers", "query_string"])
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        raise NoAuthorizationError("from the callback")

    case.register(app, async_function if is_async else plain, answer)
    second = hs_token(access_claims(identity="second"))
    answered = await ask(app, path, GOOD, query_string={"jwt": second})
    assert answered == (401, {"msg": "from the callback"})
    assert len(received) == 1
    assert app.calls == []


async def test_cancelled_callback_cancels_the_request_under_jwt_optional(app: Quart) -> None:
    started = asyncio.Event()

    @manager_of(app).user_loader_callback_loader
    async def load(identity: str) -> Any:
        started.set()
        await asyncio.Event().wait()

    async def verify() -> None:
        async with app.test_request_context("/", headers=bearer(hs_token(GOOD))):
            await qje.verify_jwt_in_request_optional()

    task = asyncio.ensure_future(verify())
    await asyncio.wait_for(started.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- The number of arguments ---------------------------------------------------

# Per loader with an old form, which is deprecated: the number of its arguments.
OLD_FORMS = {"expired_token_loader": 0, "decode_key_loader": 1}
# The number of arguments in the forms of Flask-JWT-Extended.
FLASK_FORMS = {"expired_token_loader": 2, "needs_fresh_token_loader": 2, "revoked_token_loader": 2}


@pytest.mark.parametrize("kind", [*SYNC_KINDS, "async function", "async method", "wrapped"])
@pytest.mark.parametrize("loader", OLD_FORMS)
async def test_old_form_works_with_a_deprecation_warning_at_registration(
    loader: str, kind: str
) -> None:
    case = CASE_OF[loader]
    app = case.app()
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        return case.result

    callback = KINDS[kind](OLD_FORMS[loader], answer)
    with pytest.warns(DeprecationWarning, match=loader) as noted:
        assert getattr(manager_of(app), loader)(callback) is callback
    assert len(noted) == 1
    assert noted[0].filename == __file__
    # The suite makes every warning an error, so these requests warn of nothing any more.
    assert await case.observe(app) == case.expected
    assert received == [case.arguments[: OLD_FORMS[loader]]]


# Forms of callbacks that can take the documented arguments, each made from a function to call with
# what it gets, and what that is. The form of 0.1.0 goes before that of Flask-JWT-Extended.
FORMS: dict[str, dict[str, tuple[Function, list[Any]]]] = {
    "expired_token_loader": {
        "one": (lambda note: lambda claims: note(claims), ["claims"]),
        "two": (lambda note: lambda header, claims: note(header, claims), ["header", "claims"]),
        "default": (lambda note: lambda claims=None: note(claims), ["claims"]),
        "any number": (lambda note: lambda *arguments: note(*arguments), ["claims"]),
        "more with a default": (
            lambda note: lambda claims, more=None: note(claims, more),
            ["claims", None],
        ),
        "options": (lambda note: lambda claims, **options: note(claims), ["claims"]),
        "partial": (
            lambda note: functools.partial(lambda first, claims: note(claims), "first"),
            ["claims"],
        ),
    },
    **{
        loader: {
            "none": (lambda note: lambda: note(), []),
            "two": (lambda note: lambda header, claims: note(header, claims), ["header", "claims"]),
            "any number": (lambda note: lambda *arguments: note(*arguments), []),
            "defaults": (
                lambda note: lambda header=None, claims=None: note(header, claims),
                [None, None],
            ),
        }
        for loader in ("revoked_token_loader", "needs_fresh_token_loader")
    },
    "decode_key_loader": {
        "default": (
            lambda note: lambda claims, header=None: note(claims, header),
            ["claims", "header"],
        ),
        "any number": (lambda note: lambda *arguments: note(*arguments), ["claims", "header"]),
        "any more": (
            lambda note: lambda claims, *rest: note(claims, *rest),
            ["claims", "header"],
        ),
        "more with a default": (
            lambda note: lambda claims, header, more=None: note(claims, header, more),
            ["claims", "header", None],
        ),
        "options": (
            lambda note: lambda claims, header, **options: note(claims, header),
            ["claims", "header"],
        ),
        "partial": (
            lambda note: functools.partial(
                lambda first, claims, header: note(claims, header), "first"
            ),
            ["claims", "header"],
        ),
    },
}


@pytest.mark.parametrize(
    ("loader", "form"), [(loader, form) for loader, forms in FORMS.items() for form in forms]
)
async def test_form_is_read_from_the_signature_without_a_warning(loader: str, form: str) -> None:
    make, names = FORMS[loader][form]
    result: Any = ({"own": "body"}, 418)
    path, claims = "/protected", GOOD
    if loader == "decode_key_loader":
        app, result, meant = make_app(), SECRET, {"claims": GOOD}
    else:
        app = app_that_refuses(loader)
        _, path, claims = REFUSALS[loader]
        meant = {"claims": {**claims, "user_claims": {}}}
    received: list[Any] = []

    def note(*arguments: Any) -> Any:
        received.append([*arguments])
        return result

    getattr(manager_of(app), loader)(make(note))
    status, _ = await ask(app, path, hs_token(claims, header=HEADER))
    assert status == (200 if result is SECRET else 418)
    meant["header"] = HEADER
    assert received == [[meant.get(name) for name in names]]


async def test_builtin_without_a_signature_gets_all_arguments(app: Quart) -> None:
    """Nothing can be read from ``dict``, so the documented form is assumed."""
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(dict)
    manager_of(app).expired_token_loader(dict)
    assert await ask(app, "/protected", EXPIRED) == (200, {**EXPIRED, "user_claims": {}})


async def async_three(first: Any, second: Any, third: Any) -> None: ...


class Owner:
    def method(self, first: Any, second: Any, third: Any) -> None: ...

    def __call__(self, first: Any, second: Any, third: Any) -> None: ...


WRONG: dict[str, Any] = {
    "async function": async_three,
    "method": Owner().method,
    "callable object": Owner(),
    "partial": functools.partial(lambda first, *rest, key: None, "bound"),
    "keyword only": lambda *arguments, key: None,
    "number": 5,
    "name": "name",
    "dict": {},
    "tuple": (),
}


def refused(app: Quart, loader: str, callback: Any) -> None:
    """Registering raises a TypeError that names the loader."""
    with pytest.raises(TypeError, match=rf"\b{re.escape(loader)}\b"):
        getattr(manager_of(app), loader)(callback)


@every_loader
def test_wrong_number_of_arguments_is_refused(app: Quart, loader: str) -> None:
    taken = {len(CASE_OF[loader].arguments), OLD_FORMS.get(loader), FLASK_FORMS.get(loader)}
    for count in set(range(4)) - taken:
        refused(app, loader, plain(count, print))
    refused(app, loader, None)


@pytest.mark.parametrize("form", WRONG)
@pytest.mark.parametrize(
    "loader", ["needs_fresh_token_loader", "unauthorized_loader", "decode_key_loader"]
)
def test_callback_of_any_kind_that_cannot_be_called_is_refused(
    app: Quart, loader: str, form: str
) -> None:
    refused(app, loader, WRONG[form])


async def test_refused_callback_leaves_the_registered_one_in_place(app: Quart) -> None:
    manager_of(app).unauthorized_loader(lambda message: ("kept", 418))
    refused(app, "unauthorized_loader", async_three)
    assert await ask(app) == (418, "kept")


# --- Async callbacks and the plain functions -----------------------------------

PLAIN_FUNCTIONS: dict[str, Function] = {
    "create_access_token": lambda: qje.create_access_token("alice"),
    "create_refresh_token": lambda: qje.create_refresh_token("alice"),
    "decode_token": lambda: qje.decode_token(hs_token(GOOD)),
    "get_jti": lambda: qje.get_jti(hs_token(GOOD)),
    "get_csrf_token": lambda: qje.get_csrf_token(hs_token(access_claims(csrf="value"))),
}


@pytest.mark.parametrize(
    ("name", "loader", "kind"),
    [
        *(
            (name, loader, "async function")
            for name in ("create_access_token", "create_refresh_token")
            for loader in CREATION_LOADERS
        ),
        *(("create_access_token", "user_claims_loader", kind) for kind in ASYNC_KINDS),
        *(
            (name, "decode_key_loader", "async function")
            for name in ("decode_token", "get_jti", "get_csrf_token")
        ),
        *(("decode_token", "decode_key_loader", kind) for kind in ASYNC_KINDS),
    ],
)
async def test_plain_function_with_an_async_callback_names_its_awaitable_twin(
    name: str, loader: str, kind: str
) -> None:
    app = make_app(JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    case = CASE_OF[loader]
    case.register(app, KINDS[kind], lambda *arguments: case.result)
    twin = f"{name}_async" if name.startswith("create") else "decode_token_async"
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        async with app.app_context():
            with pytest.raises(RuntimeError, match=rf"\b{twin}\b"):
                PLAIN_FUNCTIONS[name]()
        gc.collect()
    assert [str(warning.message) for warning in noted] == []
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


@pytest.mark.parametrize(
    ("loader", "kind"),
    [
        *((loader, "function") for loader in CREATION_LOADERS),
        *(("user_identity_loader", kind) for kind in SYNC_KINDS),
    ],
)
async def test_plain_creator_uses_any_kind_of_sync_callback(loader: str, kind: str) -> None:
    case = CASE_OF[loader]
    app = case.app()
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        return case.result

    case.register(app, KINDS[kind], answer)
    async with app.app_context():
        qje.create_access_token("alice")
    assert received == [case.arguments]


@pytest.mark.parametrize(
    ("loader", "create"),
    [
        (
            "user_claims_loader",
            lambda: qje.create_access_token("alice", user_claims={"role": "admin"}),
        ),
        ("user_claims_loader", lambda: qje.create_access_token("alice", user_claims={})),
        ("user_claims_loader", lambda: qje.create_refresh_token("alice")),
        ("additional_headers_loader", lambda: qje.create_access_token("alice", headers={})),
        ("decode_key_loader", lambda: qje.create_access_token("alice")),
        ("user_loader_callback_loader", lambda: qje.create_access_token("alice")),
        ("encode_key_loader", lambda: qje.decode_token(hs_token(GOOD))),
    ],
)
async def test_plain_function_works_while_the_async_callback_is_not_needed(
    app: Quart, loader: str, create: Function
) -> None:
    called = []
    CASE_OF[loader].register(app, async_function, lambda *arguments: called.append(arguments))
    async with app.app_context():
        assert create()
    assert called == []


async def test_async_twins_and_requests_share_one_async_callback_per_loader() -> None:
    """All at once, as an application with an async database has it."""
    app = make_app(**BLACKLIST, JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    called: list[str] = []

    def register(loader: str, count: int, result: Any) -> None:
        def answer(*arguments: Any) -> Any:
            called.append(loader)
            return result

        getattr(manager_of(app), loader)(async_function(count, answer))

    register("user_identity_loader", 1, "bob")
    register("user_claims_loader", 1, {"role": "admin"})
    register("additional_headers_loader", 1, {"kid": "1"})
    register("encode_key_loader", 1, OTHER_SECRET)
    register("decode_key_loader", 2, OTHER_SECRET)
    register("token_in_blacklist_loader", 1, False)
    register("claims_verification_loader", 1, True)
    register("user_loader_callback_loader", 1, {"name": "bob"})
    async with app.app_context():
        access = await qje.create_access_token_async(object(), fresh=True)
        refresh = await qje.create_refresh_token_async(object())
        assert (await qje.decode_token_async(access))["identity"] == "bob"
    for path, token in (("/fresh", access), ("/optional", access), ("/refresh", refresh)):
        expected = {"view": path[1:], "identity": "bob", "user_claims": {"role": "admin"}}
        assert await ask(app, path, token) == (200, expected)
    # Two tokens made, one decoded by hand, three requests of which one brought a refresh token.
    assert collections.Counter(called) == {
        "additional_headers_loader": 2,
        "claims_verification_loader": 2,
        "decode_key_loader": 4,
        "encode_key_loader": 2,
        "token_in_blacklist_loader": 3,
        "user_claims_loader": 2,
        "user_identity_loader": 2,
        "user_loader_callback_loader": 3,
    }


async def test_refresh_token_passes_the_same_callbacks_but_claims_verification() -> None:
    app = make_app(**BLACKLIST)
    manager = manager_of(app)
    called: list[str] = []
    manager.token_in_blacklist_loader(lambda claims: called.append("blacklist"))
    manager.claims_verification_loader(lambda claims: called.append("claims") or True)
    manager.user_loader_callback_loader(lambda identity: called.append("user") or identity)
    assert (await ask(app, "/refresh", refresh_claims()))[0] == 200
    assert called == ["blacklist", "user"]


# --- Answers that are no plain yes or no --------------------------------------


async def real_check(answer: Any) -> Any:
    return answer


def odd_callbacks(answer: Any) -> dict[str, Function]:
    """Callables of any number of arguments whose answer comes wrapped up."""

    async def not_awaited(*arguments: Any) -> Any:
        return real_check(answer)

    async def twice(*arguments: Any) -> Any:
        return real_check(real_check(answer))

    def task(*arguments: Any) -> Any:
        return asyncio.ensure_future(real_check(answer))

    async def task_in_task(*arguments: Any) -> Any:
        return asyncio.ensure_future(real_check(asyncio.ensure_future(real_check(answer))))

    def proxy(*arguments: Any) -> Any:
        return LocalProxy(lambda: answer)

    return {
        "not awaited": not_awaited,
        "twice": twice,
        "task": task,
        "task in task": task_in_task,
        "proxy": proxy,
    }


ODD = list(odd_callbacks(None))
CHECKS = ["claims_verification_loader", "token_verification_loader"]
USERS = ["user_loader_callback_loader", "user_lookup_loader"]
REVOCATION = ["token_in_blacklist_loader", "token_in_blocklist_loader"]


def of_arity(loader: str, callback: Function) -> Function:
    """A callback that takes as many arguments as the loader passes."""
    if loader in ("claims_verification_loader", USERS[0], REVOCATION[0]):
        return lambda claims: callback(claims)
    return lambda header, claims: callback(header, claims)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(("loader", "no"), [*((name, False) for name in CHECKS)])
async def test_wrapped_no_of_a_claims_check_is_a_no(loader: str, no: Any, kind: str) -> None:
    for answer, status in ((no, 400), (True, 200), (None, 400), (0, 400), (1, 200)):
        app = make_app()
        getattr(manager_of(app), loader)(of_arity(loader, odd_callbacks(answer)[kind]))
        assert (await ask(app, "/protected", GOOD))[0] == status


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("loader", REVOCATION)
async def test_wrapped_answer_about_revocation_is_unwrapped(loader: str, kind: str) -> None:
    for answer, status in ((False, 200), (True, 401), ("a reason", 401), (None, 200)):
        app = make_app(JWT_BLACKLIST_ENABLED=True)
        getattr(manager_of(app), loader)(of_arity(loader, odd_callbacks(answer)[kind]))
        assert (await ask(app, "/protected", GOOD))[0] == status


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("loader", USERS)
async def test_wrapped_user_is_unwrapped(loader: str, kind: str) -> None:
    for user, status in (("a user", 200), (None, 401)):
        app = make_app()
        getattr(manager_of(app), loader)(of_arity(loader, odd_callbacks(user)[kind]))

        @app.get("/user")
        @qje.jwt_required
        async def show() -> dict[str, Any]:
            return {"user": qje.get_current_user()}

        answer = await ask(app, "/user", GOOD)
        assert answer[0] == status
        assert user is None or answer[1] == {"user": user}


@pytest.mark.parametrize("loader", CHECKS)
@pytest.mark.parametrize(
    "answer",
    [({"msg": "banned"}, 403), "no", "", [], {}, 2, -1, 0.5, object(), iter(())],
    ids=lambda value: repr(value)[:12],
)
async def test_answer_of_a_claims_check_that_is_no_yes_or_no_fails_the_request(
    loader: str, answer: Any
) -> None:
    app = make_app()
    getattr(manager_of(app), loader)(of_arity(loader, lambda *arguments: answer))
    text = f"The callback of {loader} must return True or False, not {type(answer).__name__}"
    with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
        await status_of(app, token=GOOD)
    assert app.calls == []  # type: ignore[attr-defined]


def yielding(*arguments: Any) -> Generator[Any, None, None]:
    yield True


async def yielding_async(*arguments: Any) -> Any:
    yield True


@pytest.mark.parametrize("function", [yielding, yielding_async, functools.partial(yielding)])
@pytest.mark.parametrize("loader", [*CHECKS, *USERS, *REVOCATION, "user_identity_loader"])
def test_generator_function_is_no_callback(loader: str, function: Any) -> None:
    with pytest.raises(TypeError, match=f"The callback of {loader} must return its result, not"):
        getattr(manager_of(make_app()), loader)(function)


@pytest.mark.parametrize("function", [yielding, yielding_async])
@pytest.mark.parametrize("loader", [*CHECKS, *USERS, *REVOCATION])
async def test_generator_that_a_callback_returns_lets_nobody_in(loader: str, function: Any) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager_of(app).token_in_blocklist_loader(lambda header, claims: False)
    getattr(manager_of(app), loader)(of_arity(loader, lambda *arguments: function()))
    with pytest.raises(RuntimeError, match="must return"):
        await status_of(app, token=GOOD)
    assert app.calls == []  # type: ignore[attr-defined]


# --- Errors that several requests share ---------------------------------------


async def test_error_that_requests_share_shows_each_its_own_token() -> None:
    """A constant, or what a task raises on which both wait."""
    gone = qje.RevokedTokenError("Token has been revoked")
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    together = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None

    @manager_of(app).token_in_blocklist_loader
    async def is_revoked(header: Any, claims: dict[str, Any]) -> bool:
        if together is not None:
            await together.wait()
        raise gone

    @manager_of(app).revoked_token_loader
    async def answer(header: Any, claims: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return {"identity": claims.get("identity"), "current": qje.get_jwt_identity()}, 401

    names = ["alice", "bob"]
    answers = await asyncio.gather(
        *(ask(app, "/protected", access_claims(identity=name)) for name in names)
    )
    assert answers == [(401, {"identity": name, "current": name}) for name in names]

    @app.get("/later")
    async def later() -> str:
        raise gone

    assert await ask(app, "/later") == (401, {"identity": None, "current": None})
    assert not {"jwt_data", "jwt_header", "jwt_location"} & set(vars(gone))


async def test_circle_of_errors_is_answered() -> None:
    app = make_app()

    @app.get("/circle")
    async def circle() -> str:
        with contextlib.suppress(qje.NoAuthorizationError):
            await qje.verify_jwt_in_request()
        first, second = qje.RevokedTokenError(), qje.RevokedTokenError()
        first.__cause__, second.__cause__ = second, first
        raise first

    assert (await ask(app, "/circle"))[0] == 401


async def test_error_of_verify_token_shows_the_token_that_was_given() -> None:
    app = make_app()
    manager_of(app).token_in_blocklist_loader(lambda header, claims: claims["jti"] == "revoked")
    manager_of(app).revoked_token_loader(lambda header, claims: (claims["identity"], 401))

    @app.get("/message")
    @qje.jwt_required
    async def message() -> str:
        await qje.verify_token(hs_token(access_claims(identity="bob", jti="revoked")))
        raise AssertionError

    assert await ask(app, "/message", GOOD) == (401, "bob")


async def test_error_made_from_ours_still_shows_the_token() -> None:
    app = make_app()
    manager_of(app).user_lookup_loader(lambda header, claims: None)
    manager_of(app).user_lookup_error_loader(lambda header, claims: (claims["identity"], 404))

    class Gone(qje.UserLoadError):
        """The application's own."""

    @app.get("/own")
    async def own() -> str:
        try:
            await qje.verify_jwt_in_request()
        except qje.UserLoadError as error:
            raise Gone from error
        raise AssertionError

    assert await ask(app, "/own", GOOD) == (404, "alice")
