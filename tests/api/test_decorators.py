"""The decorators around every kind of view, and the verify functions in place of them."""

from __future__ import annotations

import functools
import inspect
import linecache
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock

import pytest
from quart import Blueprint, Quart, g, stream_with_context
from quart.views import MethodView

import quart_jwt_extended
import quart_jwt_extended as qje
from support import access_claims, ask, bearer, hs_token, make_app, refresh_claims

DECORATORS = [
    qje.jwt_required,
    qje.jwt_optional,
    qje.fresh_jwt_required,
    qje.jwt_refresh_token_required,
    qje.jwt_required(fresh=True, scopes=["read"], locations=["headers", "query_string"]),
]
GOOD = bearer(hs_token(access_claims(fresh=True, scope="read")))
GOOD_REFRESH = bearer(hs_token(refresh_claims()))


def headers_for(decorator: Callable[..., Any]) -> dict[str, str]:
    return GOOD_REFRESH if decorator is qje.jwt_refresh_token_required else GOOD


@pytest.fixture(params=DECORATORS, ids=lambda decorator: decorator.__name__)
def decorator(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_wrapper_is_a_coroutine_function_with_the_face_of_the_view(decorator: Any) -> None:
    """Quart would run anything else in a thread."""

    async def view(item: int, *, page: str = "first") -> str:
        """Its text."""

    def plain_view() -> str:
        return ""

    for wrapped in (view, plain_view):
        wrapper = decorator(wrapped)
        assert inspect.iscoroutinefunction(wrapper)
        assert wrapper.__wrapped__ is wrapped
        assert (wrapper.__name__, wrapper.__doc__) == (wrapped.__name__, wrapped.__doc__)
        assert inspect.signature(wrapper) == inspect.signature(wrapped)


def test_wrapper_is_a_function_of_the_module_of_decorators(decorator: Any) -> None:
    """Class-based libraries, such as Quart-Classful, take no other member for a view."""

    class Views:
        @decorator
        async def index(self) -> str:
            return "index"

    assert [name for name, _ in inspect.getmembers(Views, inspect.isfunction)] == ["index"]
    assert Views.index.__globals__ is vars(quart_jwt_extended.view_decorators)


def test_source_of_the_wrapper_is_known_to_debuggers(decorator: Any) -> None:
    code = decorator(lambda: None).__code__
    assert "async def wrapper" in linecache.getline(code.co_filename, code.co_firstlineno)
    linecache.checkcache()
    assert linecache.getlines(code.co_filename) != []


@pytest.mark.parametrize(
    ("decorator", "verify", "options"),
    [
        (qje.jwt_required, "verify_jwt_in_request", {}),
        (qje.jwt_required(), "verify_jwt_in_request", {}),
        (
            qje.jwt_required(fresh=True, scopes="read"),
            "verify_jwt_in_request",
            {"fresh": True, "scopes": "read"},
        ),
        (qje.jwt_optional, "verify_jwt_in_request_optional", {}),
        (qje.fresh_jwt_required, "verify_fresh_jwt_in_request", {}),
        (qje.jwt_refresh_token_required, "verify_jwt_refresh_token_in_request", {}),
    ],
)
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_verify_function_that_a_test_patched_is_called_in_place_of_the_check(
    decorator: Any, verify: str, options: dict[str, Any], is_async: bool
) -> None:
    """Tests of applications on 0.1.0 patch it so."""
    app = make_app()

    async def view() -> str:
        return "view"

    app.add_url_rule("/view", "view", decorator(view if is_async else lambda: "view"))
    with mock.patch(f"quart_jwt_extended.view_decorators.{verify}", mock.AsyncMock()) as patched:
        response = await app.test_client().get("/view")
    assert (response.status_code, await response.get_data(as_text=True)) == (200, "view")
    patched.assert_awaited_once_with(**options)
    assert (await app.test_client().get("/view")).status_code != 200 or (
        decorator is qje.jwt_optional
    )


async def test_view_gets_its_arguments(decorator: Any) -> None:
    app = make_app()

    @app.get("/item/<int:number>")
    @decorator
    async def item(number: int) -> dict[str, Any]:
        return {"number": number}

    response = await app.test_client().get("/item/7", headers=headers_for(decorator))
    assert await response.get_json() == {"number": 7}


async def test_plain_view_runs_in_a_thread_with_its_identity(decorator: Any) -> None:
    app = make_app()

    @app.get("/sync")
    @decorator
    def view() -> Any:
        return [qje.get_jwt_identity(), threading.current_thread() is threading.main_thread()]

    answer = await ask(app, "/sync", headers=headers_for(decorator))
    assert answer == (200, ["alice", False])


async def test_plain_view_goes_through_the_ensure_async_of_the_app() -> None:
    class OwnApp(Quart):
        def sync_to_async(self, func: Callable[..., Any]) -> Any:
            async def run(*args: Any, **kwargs: Any) -> Any:
                return f"own {func(*args, **kwargs)}"

            return run

    app = OwnApp("own")
    app.config["JWT_SECRET_KEY"] = make_app().config["JWT_SECRET_KEY"]
    qje.JWTManager(app)

    @app.get("/sync")
    @qje.jwt_required
    def view() -> str:
        return "thread"

    assert await ask(app, "/sync", headers=GOOD) == (200, "own thread")


class Callable_:
    async def __call__(self) -> str:
        return qje.get_jwt_identity()


async def whose(prefix: str) -> str:
    return prefix + qje.get_jwt_identity()


def undeclared() -> Any:
    return whose("is ")


@pytest.mark.parametrize(
    ("view", "body"),
    [
        (functools.partial(whose, "of "), "of alice"),
        (undeclared, "is alice"),
        (Callable_(), "alice"),
    ],
)
async def test_odd_callable_works_as_a_view(view: Any, body: str) -> None:
    app = make_app()
    app.add_url_rule("/odd", "odd", qje.jwt_required(view))
    assert await ask(app, "/odd", headers=GOOD) == (200, body)
    assert (await ask(app, "/odd"))[0] == 401


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield qje.get_jwt_identity().encode()


async def test_view_may_answer_with_an_async_generator() -> None:
    app = make_app()

    @app.get("/returned")
    @qje.jwt_required
    async def returned() -> Any:
        return stream_with_context(chunks)()

    @app.get("/itself")
    @qje.jwt_required
    async def itself() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    assert await ask(app, "/returned", headers=GOOD) == (200, "alicealicealice")
    assert await ask(app, "/itself", headers=GOOD) == (200, "one two")
    assert (await ask(app, "/itself"))[0] == 401


async def test_custom_decorator_builds_on_a_verify_function() -> None:
    app = make_app()

    def admin_required(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            await qje.verify_jwt_in_request()
            if qje.get_jwt_claims().get("role") != "admin":
                return {"msg": "Admins only"}, 403
            return await view(*args, **kwargs)

        return wrapper

    @app.get("/admin")
    @admin_required
    async def admin() -> str:
        return "welcome"

    chief = bearer(hs_token(access_claims(user_claims={"role": "admin"})))
    assert await ask(app, "/admin", headers=chief) == (200, "welcome")
    assert (await ask(app, "/admin", headers=GOOD))[0] == 403
    assert (await ask(app, "/admin"))[0] == 401


@pytest.mark.parametrize(
    ("verify", "good", "anonymous"),
    [
        (qje.verify_jwt_in_request, GOOD, 401),
        (qje.verify_jwt_in_request_optional, GOOD, 200),
        (qje.verify_fresh_jwt_in_request, GOOD, 401),
        (qje.verify_jwt_refresh_token_in_request, GOOD_REFRESH, 401),
    ],
)
async def test_verify_function_guards_before_the_request(
    verify: Any, good: dict[str, str], anonymous: int
) -> None:
    app = make_app()
    app.before_request(verify)
    assert (await ask(app, "/open", headers=good))[0] == 200
    assert (await ask(app, "/open"))[0] == anonymous
    assert (await app.test_client().options("/open")).status_code == 200
    assert app.calls == ["open"] * (2 if anonymous == 200 else 1)


async def test_options_request_is_exempt_if_so_configured(decorator: Any) -> None:
    app = make_app(JWT_EXEMPT_OPTIONS=True)

    @app.route("/preflight", methods=["OPTIONS"])
    @decorator
    async def preflight() -> Any:
        return {"identity": qje.get_jwt_identity()}

    response = await app.test_client().options("/preflight", headers=headers_for(decorator))
    assert (response.status_code, await response.get_json()) == (200, {"identity": None})


async def test_blueprint_and_method_view_are_protected() -> None:
    app = make_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")

    @blueprint.before_request
    async def guard() -> None:
        await qje.verify_jwt_in_request()
        g.guarded = True

    @blueprint.get("/whole")
    async def whole() -> str:
        return qje.get_jwt_identity()

    class Thing(MethodView):
        decorators = [qje.jwt_required]

        async def get(self) -> str:
            return "thing of " + qje.get_jwt_identity()

    app.register_blueprint(blueprint)
    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    assert await ask(app, "/part/whole", headers=GOOD) == (200, "alice")
    assert await ask(app, "/thing", headers=GOOD) == (200, "thing of alice")
    assert (await ask(app, "/part/whole"))[0] == 401
    assert (await ask(app, "/thing"))[0] == 401


# --- a decorator above the route ------------------------------------------------------------------


def misplaced_app() -> Quart:
    app = make_app()

    @qje.jwt_required
    @app.get("/misplaced")
    async def misplaced() -> str:
        return "open"

    return app


async def test_decorator_above_the_route_stops_the_app_before_it_serves() -> None:
    with pytest.raises(RuntimeError, match=r"'misplaced' is not protected: .* is above "):
        await misplaced_app().startup()


async def test_decorator_above_the_route_of_a_blueprint_names_the_endpoint() -> None:
    app = make_app()
    blueprint = Blueprint("part", "part")

    @qje.jwt_optional
    @blueprint.get("/misplaced")
    async def misplaced() -> str:
        return "open"

    app.register_blueprint(blueprint)
    with pytest.raises(RuntimeError, match=r"'part\.misplaced' is not protected"):
        await app.startup()


@pytest.mark.parametrize("is_wrapper", [False, True], ids=["view", "wrapper"])
async def test_view_that_is_open_and_protected_on_purpose_serves_both(is_wrapper: bool) -> None:
    app = make_app()

    async def view() -> str:
        return "served"

    def counted(fn: Any) -> Any:
        @functools.wraps(fn)
        async def wrapper() -> Any:
            return await fn()

        return wrapper

    given = counted(view) if is_wrapper else view
    app.add_url_rule("/bare", "bare", given)
    app.add_url_rule("/guarded", "guarded", counted(qje.jwt_required(given)))
    await app.startup()
    assert await ask(app, "/bare") == (200, "served")
    assert (await ask(app, "/guarded"))[0] == 401
    await app.shutdown()


# --- a decorator on a class -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "decorate"),
    [
        ("jwt_required", qje.jwt_required),
        ("jwt_required", qje.jwt_required(fresh=True)),
        ("jwt_optional", qje.jwt_optional),
        ("fresh_jwt_required", qje.fresh_jwt_required),
        ("jwt_refresh_token_required", qje.jwt_refresh_token_required),
        ("jwt_exempt", qje.jwt_exempt),
    ],
)
def test_decorator_on_a_class_names_the_list_for_it(name: str, decorate: Any) -> None:
    class Page(MethodView):
        """A view of which as_view() makes the function."""

    with pytest.raises(
        TypeError, match=rf"^{name} .* not a class: .*decorators = \[{name}\].*Page"
    ):
        decorate(Page)
