"""Every loader with every kind of callable, and what becomes of callbacks that raise."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import types
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from quart import Quart, Response, got_request_exception

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import CSRFError, InvalidHeaderError, NoAuthorizationError
from support import (
    LONG_AGO,
    SECRET,
    access_claims,
    bearer,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
)

Function = Callable[..., Any]

OTHER_SECRET = "another secret of the test suite, long enough for HS256"
EXPIRED = access_claims(exp=LONG_AGO)
GOOD = access_claims()
# With what is filled in when a token is verified.
GIVEN = {**GOOD, "user_claims": {}}


# --- Kinds of callables --------------------------------------------------------
#
# Each takes a number of arguments and a function to call with them; the number shows in the
# signature of what it makes, because the manager reads it there.


def plain(count: int, answer: Function) -> Function:
    def none() -> Any:
        return answer()

    def one(first: Any) -> Any:
        return answer(first)

    def two(first: Any, second: Any) -> Any:
        return answer(first, second)

    def three(first: Any, second: Any, third: Any) -> Any:
        return answer(first, second, third)

    def four(first: Any, second: Any, third: Any, fourth: Any) -> Any:
        return answer(first, second, third, fourth)

    return (none, one, two, three, four)[count]


def async_function(count: int, answer: Function) -> Function:
    async def none() -> Any:
        await asyncio.sleep(0)
        return answer()

    async def one(first: Any) -> Any:
        await asyncio.sleep(0)
        return answer(first)

    async def two(first: Any, second: Any) -> Any:
        await asyncio.sleep(0)
        return answer(first, second)

    async def three(first: Any, second: Any, third: Any) -> Any:
        await asyncio.sleep(0)
        return answer(first, second, third)

    async def four(first: Any, second: Any, third: Any, fourth: Any) -> Any:
        await asyncio.sleep(0)
        return answer(first, second, third, fourth)

    return (none, one, two, three, four)[count]


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
    "lambda of awaitable": lambda_of_awaitable,
}
ASYNC_KINDS = {**COROUTINE_KINDS, **AWAITABLE_KINDS}
KINDS = {**SYNC_KINDS, **ASYNC_KINDS}


# --- Cases: what each loader's result is used for ------------------------------


def answers(path: str, claims: dict[str, Any] | None, **token: Any) -> Any:
    """Observe status and body of the answer to a request."""

    async def observe(app: Quart) -> Any:
        headers = {} if claims is None else bearer(hs_token(claims, **token))
        response = await app.test_client().get(path, headers=headers)
        return response.status_code, await response.get_json()

    return observe


async def opened(app: Quart) -> int:
    """Observe whether the protected view ran."""
    headers = bearer(hs_token(access_claims(user_claims={"role": "admin"})))
    response = await app.test_client().get("/protected", headers=headers)
    assert ("protected" in app.calls) is (response.status_code == 200)
    return response.status_code


async def current_user(app: Quart) -> Any:
    """Observe the user that a view gets."""
    seen: list[Any] = []

    @app.get("/user")
    @qje.jwt_required
    async def user() -> str:
        seen.append(qje.get_current_user())
        return ""

    response = await app.test_client().get("/user", headers=bearer(hs_token(access_claims())))
    return seen if response.status_code == 200 else response.status_code


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
VERIFIABLE = access_claims(user_claims={"role": "admin"})


@dataclass(frozen=True)
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
ROLE = {"role": "admin"}
# What the token of ``opened`` carries beside the times is checked by the tests of each behaviour.
ANY = type("Any", (), {"__eq__": lambda self, other: True, "__repr__": lambda self: "ANY"})()

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
    Case(
        "additional_headers_loader",
        ("alice",),
        {"kid": "1"},
        new_header,
        {**HS256_HEADER, "kid": "1"},
    ),
    Case("additional_headers_loader", ("alice",), None, new_header, HS256_HEADER),
    Case(
        "expired_token_loader",
        ({**EXPIRED, "user_claims": {}},),
        OWN,
        answers("/protected", EXPIRED),
        OWN_ANSWER,
    ),
    Case(
        "invalid_token_loader",
        ("Signature verification failed",),
        OWN,
        answers("/protected", access_claims(), secret=OTHER_SECRET),
        OWN_ANSWER,
    ),
    Case(
        "unauthorized_loader",
        ("Missing Authorization Header",),
        OWN,
        answers("/protected", None),
        OWN_ANSWER,
    ),
    Case("needs_fresh_token_loader", (), OWN, answers("/fresh", access_claims()), OWN_ANSWER),
    Case(
        "revoked_token_loader",
        (),
        OWN,
        answers("/protected", access_claims()),
        OWN_ANSWER,
        BLACKLIST,
        {"token_in_blacklist_loader": True},
    ),
    Case(
        "user_loader_error_loader",
        ("alice",),
        OWN,
        answers("/protected", access_claims()),
        OWN_ANSWER,
        {},
        {"user_loader_callback_loader": None},
    ),
    Case(
        "claims_verification_failed_loader",
        (),
        OWN,
        answers("/protected", access_claims()),
        OWN_ANSWER,
        {},
        {"claims_verification_loader": False},
    ),
    Case(
        "user_lookup_error_loader",
        (HS256_HEADER, GIVEN),
        OWN,
        answers("/protected", GOOD),
        OWN_ANSWER,
        {},
        {"user_loader_callback_loader": None},
    ),
    Case(
        "token_verification_failed_loader",
        (HS256_HEADER, GIVEN),
        OWN,
        answers("/protected", GOOD),
        OWN_ANSWER,
        {},
        {"claims_verification_loader": False},
    ),
    Case(
        "insufficient_scope_loader",
        (("read", "write"), GIVEN),
        OWN,
        answers("/scoped", GOOD),
        OWN_ANSWER,
    ),
]
ONE_PER_LOADER = list({case.loader: case for case in CASES}.values())


def test_every_loader_of_the_manager_has_a_case() -> None:
    loaders = {name for name in dir(qje.JWTManager) if name.endswith("_loader")}
    assert {case.loader for case in CASES} == loaders
    assert len(loaders) == 22


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_result_of_any_kind_of_callback_is_used(case: Case, kind: str) -> None:
    app = case.app()
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        return case.result

    callback, returned = case.register(app, KINDS[kind], answer)
    assert returned is callback
    assert await case.observe(app) == case.expected
    assert received == [case.arguments]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_loader_works_as_a_decorator_without_a_name_for_the_result(case: Case) -> None:
    """The manager keeps the callback; the application need not."""
    app = case.app()
    case.register(app, callable_object(plain), lambda *arguments: case.result)
    gc.collect()
    assert await case.observe(app) == case.expected


@pytest.mark.parametrize("case", ONE_PER_LOADER, ids=str)
async def test_callback_registered_later_replaces_the_first(case: Case) -> None:
    app = case.app()
    first_called = []
    case.register(app, plain, lambda *arguments: first_called.append(arguments))
    case.register(app, plain, lambda *arguments: case.result)
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


# --- Callbacks that raise ------------------------------------------------------


class Boom(Exception):
    """Nobody handles this."""


async def exceptions_of(app: Quart, path: str, **request: Any) -> tuple[list[Exception], int]:
    """What a request raised and nobody handled, and its status."""
    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    raised: list[Exception] = []

    def keep(sender: Quart, exception: Exception, **_: Any) -> None:
        raised.append(exception)

    with got_request_exception.connected_to(keep, app):
        response = await app.test_client().get(path, **request)
    return raised, response.status_code


def raising(error: BaseException | type[BaseException]) -> Function:
    def answer(*arguments: Any) -> Any:
        raise error

    return answer


REQUEST_CASES = [
    case
    for case in ONE_PER_LOADER
    if not case.loader.startswith(("user_identity", "user_claims", "encode", "additional"))
]
CREATION_CASES = [case for case in ONE_PER_LOADER if case not in REQUEST_CASES]
# A request that makes the callback of each loader run, as (path, claims, token arguments).
PROVOKED: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "expired_token_loader": ("/optional", EXPIRED, {}),
    "invalid_token_loader": ("/optional", access_claims(), {"secret": OTHER_SECRET}),
    "unauthorized_loader": ("/protected", None, {}),
    "needs_fresh_token_loader": ("/fresh", access_claims(), {}),
    "insufficient_scope_loader": ("/scoped", access_claims(), {}),
}


def provoke(case: Case, path: str | None = None) -> tuple[str, dict[str, Any]]:
    default_path, claims, token = PROVOKED.get(case.loader, ("/optional", access_claims(), {}))
    headers = {} if claims is None else bearer(hs_token(claims, **token))
    return path or default_path, {"headers": headers}


@pytest.mark.parametrize("kind", ["function", "async function", "lambda of awaitable"])
@pytest.mark.parametrize("case", REQUEST_CASES, ids=str)
async def test_raising_callback_fails_the_request_before_the_view(case: Case, kind: str) -> None:
    app = case.app()
    case.register(app, KINDS[kind], raising(Boom("callback")))
    path, request = provoke(case)
    raised, status = await exceptions_of(app, path, **request)
    assert [(type(error), str(error)) for error in raised] == [(Boom, "callback")]
    assert status == 500
    assert app.calls == []


@pytest.mark.parametrize("kind", ["function", "async function"])
@pytest.mark.parametrize("case", CREATION_CASES, ids=str)
async def test_raising_callback_fails_the_creation(case: Case, kind: str) -> None:
    app = case.app()
    case.register(app, KINDS[kind], raising(Boom("callback")))
    async with app.app_context():
        with pytest.raises(Boom, match="callback"):
            await qje.create_access_token_async("alice")


DECIDING_CASES = [
    case
    for case in ONE_PER_LOADER
    if case.loader
    in (
        "decode_key_loader",
        "token_in_blacklist_loader",
        "token_in_blocklist_loader",
        "claims_verification_loader",
        "token_verification_loader",
        "user_loader_callback_loader",
        "user_lookup_loader",
    )
]


@pytest.mark.parametrize("kind", ["function", "async function", "compiled coroutine"])
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
@pytest.mark.parametrize("case", DECIDING_CASES, ids=str)
async def test_own_exception_from_a_callback_is_answered_even_under_jwt_optional(
    case: Case, error: Exception, status: int, kind: str
) -> None:
    """The optional view must not take it for the absence of a token."""
    app = case.app()
    case.register(app, KINDS[kind], raising(error))
    path, request = provoke(case, "/optional")
    response = await app.test_client().get(path, **request)
    assert response.status_code == status
    assert await response.get_json() == {"msg": "from the callback"}
    assert app.calls == []


@pytest.mark.parametrize("kind", ["function", "async function"])
@pytest.mark.parametrize("path", ["/protected", "/optional"])
@pytest.mark.parametrize("case", DECIDING_CASES, ids=str)
async def test_no_authorization_from_a_callback_does_not_move_on_to_the_next_location(
    case: Case, path: str, kind: str
) -> None:
    """A second token in the request must not make up for the refusal of the first."""
    app = make_app(**case.options, JWT_TOKEN_LOCATION=["headers", "query_string"])
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        raise NoAuthorizationError("from the callback")

    case.register(app, KINDS[kind], answer)
    first, second = (hs_token(access_claims(identity=name)) for name in ("first", "second"))
    response = await app.test_client().get(f"{path}?jwt={second}", headers=bearer(first))
    assert response.status_code == 401
    assert await response.get_json() == {"msg": "from the callback"}
    assert len(received) == 1
    assert app.calls == []


@pytest.mark.parametrize("kind", ["function", "async function"])
@pytest.mark.parametrize("case", ONE_PER_LOADER, ids=str)
async def test_type_error_inside_a_callback_is_never_mistaken_for_its_arity(
    case: Case, kind: str
) -> None:
    """0.1.0 called some callbacks again with fewer arguments."""
    app = case.app()
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        raise TypeError("inside the callback")

    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        case.register(app, KINDS[kind], answer)
        if case in CREATION_CASES:
            async with app.app_context():
                with pytest.raises(TypeError, match="inside the callback"):
                    await qje.create_access_token_async("alice")
        else:
            path, request = provoke(case)
            raised, status = await exceptions_of(app, path, **request)
            assert [str(error) for error in raised] == ["inside the callback"]
            assert status == 500
    assert len(received) == 1
    assert not [warning for warning in noted if "callback" in str(warning.message)]


async def test_cancelled_callback_cancels_the_request_under_jwt_optional(app: Quart) -> None:
    started = asyncio.Event()

    @manager_of(app).user_loader_callback_loader
    async def load(identity: str) -> Any:
        started.set()
        await asyncio.Event().wait()

    async def verify() -> None:
        async with app.test_request_context("/", headers=bearer(hs_token(access_claims()))):
            await qje.verify_jwt_in_request_optional()

    task = asyncio.ensure_future(verify())
    await asyncio.wait_for(started.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- Arity ---------------------------------------------------------------------

# Per loader with an old form: the number of its arguments then and now, and a request for it.
OLD_FORMS = {"expired_token_loader": (0, 1), "decode_key_loader": (1, 2)}


def case_of(loader: str) -> Case:
    return next(case for case in ONE_PER_LOADER if case.loader == loader)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loader", OLD_FORMS)
async def test_old_form_works_with_a_deprecation_warning_at_registration(
    loader: str, kind: str
) -> None:
    old, _ = OLD_FORMS[loader]
    case = case_of(loader)
    app = case.app()
    received = []

    def answer(*arguments: Any) -> Any:
        received.append(arguments)
        return case.result

    callback = KINDS[kind](old, answer)
    with pytest.warns(DeprecationWarning, match=loader) as noted:
        assert getattr(manager_of(app), loader)(callback) is callback
    assert len(noted) == 1
    assert noted[0].filename == __file__
    # The suite makes every warning an error, so these requests warn of nothing any more.
    assert await case.observe(app) == case.expected
    assert received == [case.arguments[:old]]


# Callbacks that can take the documented arguments, each made from a function to call with them.
NEW_FORMS: dict[str, dict[str, Function]] = {
    "expired_token_loader": {
        "default": lambda note: lambda claims=None: note(claims),
        "any number": lambda note: lambda *arguments: note(*arguments),
        "more with a default": lambda note: lambda claims, more=None: note(claims),
        "options": lambda note: lambda claims, **options: note(claims),
        "partial": lambda note: functools.partial(lambda first, claims: note(claims), "first"),
    },
    "decode_key_loader": {
        "default": lambda note: lambda claims, headers=None: note(claims, headers),
        "any number": lambda note: lambda *arguments: note(*arguments),
        "any more": lambda note: lambda claims, *rest: note(claims, *rest),
        "more with a default": lambda note: (
            lambda claims, headers, more=None: note(claims, headers)
        ),
        "options": lambda note: lambda claims, headers, **options: note(claims, headers),
        "partial": lambda note: functools.partial(
            lambda first, claims, headers: note(claims, headers), "first"
        ),
    },
}


@pytest.mark.parametrize(
    ("loader", "form"), [(loader, form) for loader in NEW_FORMS for form in NEW_FORMS[loader]]
)
async def test_callback_that_can_take_all_arguments_gets_them_without_a_warning(
    loader: str, form: str
) -> None:
    case = case_of(loader)
    app = case.app()
    received = []

    def note(*arguments: Any) -> Any:
        received.append(arguments)
        return case.result

    getattr(manager_of(app), loader)(NEW_FORMS[loader][form](note))
    assert await case.observe(app) == case.expected
    assert received == [case.arguments]


async def test_builtin_without_a_signature_gets_all_arguments(app: Quart) -> None:
    """Nothing can be read from ``dict``, so the documented form is assumed."""
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(dict)
    manager_of(app).expired_token_loader(dict)
    status, body = await answers("/protected", EXPIRED)(app)
    assert status == 200
    assert body == {**EXPIRED, "user_claims": {}}


# --- Async callbacks and the plain functions -----------------------------------

CREATION_LOADERS = [case.loader for case in CREATION_CASES]
PLAIN_FUNCTIONS = {
    "create_access_token": lambda: qje.create_access_token("alice"),
    "create_refresh_token": lambda: qje.create_refresh_token("alice"),
    "decode_token": lambda: qje.decode_token(hs_token(access_claims())),
}


@pytest.mark.parametrize("kind", ASYNC_KINDS)
@pytest.mark.parametrize("loader", CREATION_LOADERS)
@pytest.mark.parametrize("creator", ["create_access_token", "create_refresh_token"])
async def test_plain_creator_with_an_async_callback_names_its_awaitable_twin(
    creator: str, loader: str, kind: str
) -> None:
    app = make_app(JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    case = case_of(loader)
    case.register(app, KINDS[kind], lambda *arguments: case.result)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        async with app.app_context():
            with pytest.raises(RuntimeError, match=rf"\b{creator}_async\b"):
                PLAIN_FUNCTIONS[creator]()
        gc.collect()
    assert [str(warning.message) for warning in noted] == []
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


@pytest.mark.parametrize("kind", ASYNC_KINDS)
@pytest.mark.parametrize(
    "function",
    [
        lambda: qje.decode_token(hs_token(access_claims())),
        lambda: qje.get_jti(hs_token(access_claims())),
        lambda: qje.get_csrf_token(hs_token(access_claims(csrf="value"))),
    ],
    ids=["decode_token", "get_jti", "get_csrf_token"],
)
async def test_plain_decoder_with_an_async_callback_names_its_awaitable_twin(
    app: Quart, function: Function, kind: str
) -> None:
    case = case_of("decode_key_loader")
    case.register(app, KINDS[kind], lambda *arguments: SECRET)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        async with app.app_context():
            with pytest.raises(RuntimeError, match=r"\bdecode_token_async\b"):
                function()
        gc.collect()
    assert [str(warning.message) for warning in noted] == []
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


@pytest.mark.parametrize("kind", SYNC_KINDS)
@pytest.mark.parametrize("case", CREATION_CASES, ids=str)
async def test_plain_creator_uses_any_kind_of_sync_callback(case: Case, kind: str) -> None:
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
        (
            "encode_key_loader",
            lambda: qje.decode_token(hs_token(access_claims())),
        ),
    ],
)
async def test_plain_function_works_while_the_async_callback_is_not_needed(
    app: Quart, loader: str, create: Function
) -> None:
    case = case_of(loader)
    called = []
    case.register(app, async_function, lambda *arguments: called.append(arguments))
    async with app.app_context():
        assert create()
    assert called == []


async def test_async_twins_and_requests_share_one_async_callback_per_loader() -> None:
    """All at once, as an application with an async database has it."""
    app = make_app(**BLACKLIST, JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    manager = manager_of(app)
    called: list[str] = []

    def register(loader: str, count: int, result: Any) -> None:
        def answer(*arguments: Any) -> Any:
            called.append(loader)
            return result

        getattr(manager, loader)(async_function(count, answer))

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
    client = app.test_client()
    for path, token in (("/fresh", access), ("/optional", access), ("/refresh", refresh)):
        response = await client.get(path, headers=bearer(token))
        expected = {"view": path[1:], "identity": "bob", "user_claims": {"role": "admin"}}
        assert await response.get_json() == expected
    # Two tokens made, one decoded by hand, three requests of which one brought a refresh token.
    counts = {loader: called.count(loader) for loader in sorted(set(called))}
    assert counts == {
        "additional_headers_loader": 2,
        "claims_verification_loader": 2,
        "decode_key_loader": 4,
        "encode_key_loader": 2,
        "token_in_blacklist_loader": 3,
        "user_claims_loader": 2,
        "user_identity_loader": 2,
        "user_loader_callback_loader": 3,
    }


async def test_decode_key_callback_sees_claims_and_header_before_they_are_verified(
    app: Quart,
) -> None:
    """Changing what it sees changes nothing about the token."""
    claims = access_claims(user_claims={"role": "user"})
    header = {"typ": "JWT", "alg": "HS256", "kid": "1"}
    received = []

    @manager_of(app).decode_key_loader
    def key(seen_claims: dict[str, Any], seen_header: dict[str, Any]) -> str:
        received.append((dict(seen_claims), dict(seen_header)))
        seen_claims["identity"] = "mallory"
        seen_claims["user_claims"]["role"] = "admin"
        seen_header["alg"] = "none"
        return SECRET

    headers = bearer(hs_token(claims, header=header))
    response = await app.test_client().get("/protected", headers=headers)
    assert await response.get_json() == {
        "view": "protected",
        "identity": "alice",
        "user_claims": {"role": "user"},
    }
    assert received[0][0]["identity"] == "alice"
    assert received[0][1] == header
    forged = bearer(hs_token(claims, header=header, secret=OTHER_SECRET))
    assert (await app.test_client().get("/protected", headers=forged)).status_code == 422


async def test_refresh_token_passes_the_same_callbacks_but_claims_verification() -> None:
    app = make_app(**BLACKLIST)
    manager = manager_of(app)
    called: list[str] = []
    manager.token_in_blacklist_loader(lambda claims: called.append("blacklist"))
    manager.claims_verification_loader(lambda claims: called.append("claims") or True)
    manager.user_loader_callback_loader(lambda identity: called.append("user") or identity)
    response = await app.test_client().get("/refresh", headers=bearer(hs_token(refresh_claims())))
    assert response.status_code == 200
    assert called == ["blacklist", "user"]
