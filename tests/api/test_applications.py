"""Managers and applications: factories, several of each in one process, and error handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from quart import Blueprint, Quart, render_template, render_template_string
from quart.config import Config

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import (
    CSRFError,
    FreshTokenRequired,
    InvalidHeaderError,
    JWTDecodeError,
    JWTExtendedException,
    NoAuthorizationError,
    RevokedTokenError,
    UserClaimsVerificationError,
    UserLoadError,
    WrongTokenError,
)
from support import (
    SECRET,
    access_claims,
    ask,
    bearer,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
    unhandled,
)

SECRETS = {name: f"the secret of the {name} app, long enough for HS256" for name in "abc"}
HEADERS = bearer(hs_token(access_claims()))


def add_views(app: Quart) -> None:
    @app.get("/protected")
    @qje.jwt_required
    async def protected() -> dict[str, Any]:
        return {
            "identity": qje.get_jwt_identity(),
            "user": qje.get_current_user(),
            "claims": qje.get_jwt_claims(),
        }

    @app.post("/login/<name>")
    async def login(name: str) -> dict[str, str]:
        return {"token": await qje.create_access_token_async(name)}


def plain_app(name: str = "plain", **options: Any) -> Quart:
    """An application without a manager."""
    app = Quart(name)
    app.config["JWT_SECRET_KEY"] = SECRET
    app.config.update(options)
    add_views(app)
    return app


async def login(app: Quart, name: str = "alice") -> str:
    response = await app.test_client().post(f"/login/{name}")
    return (await response.get_json())["token"]


# --- One application -----------------------------------------------------------


def test_manager_is_an_extension_of_the_app() -> None:
    first, second = plain_app(), plain_app()
    by_constructor = qje.JWTManager(first)
    by_init_app = qje.JWTManager()
    by_init_app.init_app(second)
    assert first.extensions["quart-jwt-extended"] is by_constructor
    assert second.extensions["quart-jwt-extended"] is by_init_app


def test_init_app_returns_nothing_and_constructor_takes_the_app_by_name() -> None:
    app = plain_app()
    assert qje.JWTManager().init_app(app=app) is None
    assert qje.JWTManager(app=app) is app.extensions["quart-jwt-extended"]


@pytest.mark.parametrize("views_first", [False, True])
async def test_views_may_be_added_before_or_after_init_app(views_first: bool) -> None:
    app = Quart("order")
    app.config["JWT_SECRET_KEY"] = SECRET
    if views_first:
        add_views(app)
    qje.JWTManager(app)
    if not views_first:
        add_views(app)
    assert (await ask(app, headers=HEADERS))[0] == 200
    assert (await ask(app))[0] == 401


@pytest.mark.parametrize("bound_first", [False, True])
async def test_callbacks_may_be_registered_before_or_after_init_app(bound_first: bool) -> None:
    app = plain_app()
    manager = qje.JWTManager()
    if bound_first:
        manager.init_app(app)
    manager.user_loader_callback_loader(lambda identity: f"user {identity}")
    manager.unauthorized_loader(lambda message: ({"own": message}, 499))
    if not bound_first:
        manager.init_app(app)
    assert (await ask(app, headers=HEADERS))[1]["user"] == "user alice"
    assert (await ask(app))[0] == 499


async def test_callback_registered_between_requests_takes_effect_at_once() -> None:
    app = plain_app()
    manager = qje.JWTManager(app)
    assert (await ask(app, headers=HEADERS))[1]["user"] is None
    manager.user_loader_callback_loader(lambda identity: "first")
    assert (await ask(app, headers=HEADERS))[1]["user"] == "first"
    manager.user_loader_callback_loader(lambda identity: "second")
    assert (await ask(app, headers=HEADERS))[1]["user"] == "second"


async def test_init_app_again_changes_nothing() -> None:
    app = plain_app(JWT_HEADER_NAME="X-Token")
    manager = qje.JWTManager(app)
    manager.user_loader_callback_loader(lambda identity: "loaded")
    manager.init_app(app)
    token = hs_token(access_claims())
    assert (await ask(app, headers={"X-Token": f"Bearer {token}"}))[1]["user"] == "loaded"
    assert await ask(app) == (401, {"msg": "Missing X-Token Header"})


async def test_last_manager_bound_to_an_app_is_in_force() -> None:
    app = plain_app()
    first, second = qje.JWTManager(app), qje.JWTManager(app)
    first.user_loader_callback_loader(lambda identity: "of the first")
    second.user_loader_callback_loader(lambda identity: "of the second")
    first.unauthorized_loader(lambda message: ({"by": "first"}, 401))
    second.unauthorized_loader(lambda message: ({"by": "second"}, 401))
    assert (await ask(app, headers=HEADERS))[1]["user"] == "of the second"
    assert await ask(app) == (401, {"by": "second"})


def test_one_app_serves_in_one_event_loop_after_another() -> None:
    """Nothing that is remembered may belong to the loop that was first."""
    app = plain_app()
    manager = qje.JWTManager(app)

    @manager.user_loader_callback_loader
    async def load(identity: str) -> str:
        await asyncio.sleep(0)
        return identity.upper()

    for _ in range(3):
        status, body = asyncio.run(ask(app, headers=HEADERS))
        assert (status, body["user"]) == (200, "ALICE")


# --- Without a manager ---------------------------------------------------------

NEED_A_MANAGER: dict[str, Callable[[], Any]] = {
    "create_access_token": lambda: qje.create_access_token("alice"),
    "create_refresh_token": lambda: qje.create_refresh_token("alice"),
    "decode_token": lambda: qje.decode_token(hs_token(access_claims())),
    "get_jti": lambda: qje.get_jti(hs_token(access_claims())),
    "get_csrf_token": lambda: qje.get_csrf_token(hs_token(access_claims(csrf="value"))),
}
NEED_A_MANAGER_ASYNC: dict[str, Callable[[], Any]] = {
    "create_access_token_async": lambda: qje.create_access_token_async("alice"),
    "create_refresh_token_async": lambda: qje.create_refresh_token_async("alice"),
    "decode_token_async": lambda: qje.decode_token_async(hs_token(access_claims())),
    "verify_jwt_in_request": qje.verify_jwt_in_request,
    "verify_jwt_in_request_optional": qje.verify_jwt_in_request_optional,
    "verify_fresh_jwt_in_request": qje.verify_fresh_jwt_in_request,
    "verify_jwt_refresh_token_in_request": qje.verify_jwt_refresh_token_in_request,
}


@pytest.mark.parametrize("name", NEED_A_MANAGER)
async def test_missing_manager_raises_runtime_error_that_says_what_to_do(name: str) -> None:
    async with plain_app().app_context():
        with pytest.raises(RuntimeError, match="JWTManager.*init_app"):
            NEED_A_MANAGER[name]()


@pytest.mark.parametrize("name", NEED_A_MANAGER_ASYNC)
async def test_missing_manager_fails_a_coroutine_likewise(name: str) -> None:
    async with plain_app().test_request_context("/", headers=HEADERS):
        with pytest.raises(RuntimeError, match="JWTManager.*init_app"):
            await NEED_A_MANAGER_ASYNC[name]()


@pytest.mark.parametrize("headers", [{}, HEADERS], ids=["anonymous", "token"])
@pytest.mark.parametrize("decorate", [qje.jwt_required, qje.jwt_optional])
async def test_missing_manager_fails_a_protected_request(
    decorate: Callable[[Any], Any], headers: dict[str, str]
) -> None:
    app = plain_app()
    ran = []

    @app.get("/view")
    @decorate
    async def view() -> str:
        ran.append(True)
        return ""

    with unhandled(app) as raised:
        assert (await ask(app, "/view", headers=headers))[0] == 500
    assert [type(error) for error in raised] == [RuntimeError]
    assert "JWTManager" in str(raised[0])
    assert ran == []


# --- Several applications ------------------------------------------------------


def app_with_manager(name: str) -> Quart:
    """An application whose every answer tells which of several it is."""
    app = plain_app(
        name,
        JWT_SECRET_KEY=SECRETS[name],
        JWT_HEADER_NAME=f"X-{name.upper()}",
        JWT_ERROR_MESSAGE_KEY=f"msg-{name}",
        JWT_IDENTITY_CLAIM=f"id-{name}",
    )
    manager = qje.JWTManager(app)
    manager.user_loader_callback_loader(lambda identity: f"{name}:{identity}")
    manager.user_claims_loader(lambda user: {"app": name})
    manager.invalid_token_loader(lambda message: ({f"own-{name}": message}, 422))
    return app


def credential(name: str, token: str) -> dict[str, str]:
    return {f"X-{name.upper()}": f"Bearer {token}"}


async def test_apps_with_a_manager_each_do_not_mix() -> None:
    apps = {name: app_with_manager(name) for name in SECRETS}
    tokens = {name: await login(app, f"user{name}") for name, app in apps.items()}
    for name, app in apps.items():
        assert await ask(app, headers=credential(name, tokens[name])) == (
            200,
            {"identity": f"user{name}", "user": f"{name}:user{name}", "claims": {"app": name}},
        )
        assert await ask(app) == (401, {f"msg-{name}": f"Missing X-{name.upper()} Header"})
        for other in set(SECRETS) - {name}:
            refused = await ask(app, headers=credential(name, tokens[other]))
            assert refused == (422, {f"own-{name}": "Signature verification failed"})


async def test_apps_with_a_manager_each_do_not_mix_when_served_at_once() -> None:
    apps = {name: app_with_manager(name) for name in SECRETS}
    for name, app in apps.items():
        manager = manager_of(app)

        @manager.user_loader_callback_loader
        async def load(identity: str, name: str = name) -> str:
            for _ in range(3):
                await asyncio.sleep(0)
            return f"{name}:{identity}"

    async def visit(name: str, number: int) -> None:
        token = await login(apps[name], f"user{number}")
        _, body = await ask(apps[name], headers=credential(name, token))
        assert body == {
            "identity": f"user{number}",
            "user": f"{name}:user{number}",
            "claims": {"app": name},
        }

    await asyncio.gather(*(visit(name, number) for number in range(20) for name in SECRETS))


async def test_one_manager_serves_several_apps_by_the_options_of_each() -> None:
    """The callbacks are shared, the options are not."""
    manager = qje.JWTManager()
    apps = {}
    for name in SECRETS:
        apps[name] = plain_app(
            name,
            JWT_SECRET_KEY=SECRETS[name],
            JWT_HEADER_NAME=f"X-{name.upper()}",
            JWT_ERROR_MESSAGE_KEY=f"msg-{name}",
        )
        manager.init_app(apps[name])
    manager.user_loader_callback_loader(lambda identity: f"user {identity}")
    tokens = {name: await login(app) for name, app in apps.items()}
    for name, app in apps.items():
        assert app.extensions["quart-jwt-extended"] is manager
        jwt.decode(tokens[name], SECRETS[name], algorithms=["HS256"])
        assert await ask(app, headers=credential(name, tokens[name])) == (
            200,
            {"identity": "alice", "user": "user alice", "claims": {}},
        )
        assert await ask(app) == (401, {f"msg-{name}": f"Missing X-{name.upper()} Header"})
        for other in set(SECRETS) - {name}:
            refused = await ask(app, headers=credential(name, tokens[other]))
            assert refused == (422, {f"msg-{name}": "Signature verification failed"})


async def test_application_factory_makes_independent_apps() -> None:
    manager = qje.JWTManager()

    @manager.user_loader_callback_loader
    def load(identity: str) -> str:
        return f"user {identity}"

    def create_app(secret: str, **options: Any) -> Quart:
        app = plain_app("factory", JWT_SECRET_KEY=secret, **options)
        manager.init_app(app)
        return app

    first = create_app(SECRETS["a"])
    second = create_app(SECRETS["b"], JWT_TOKEN_LOCATION=["query_string"])
    first_token, second_token = await login(first), await login(second)
    assert (await ask(first, token=first_token))[1]["user"] == "user alice"
    assert (await ask(second, f"/protected?jwt={second_token}"))[1]["user"] == "user alice"
    assert (await ask(first, token=second_token))[0] == 422
    assert (await ask(second, token=second_token))[0] == 401


async def test_request_to_another_app_inside_a_view_leaves_the_outer_one_alone() -> None:
    """A service that calls another one in the same process, as in tests of both."""
    inner = app_with_manager("a")
    outer = app_with_manager("b")

    @outer.get("/outer")
    @qje.jwt_required
    async def view() -> dict[str, Any]:
        token = await login(inner, "inner")
        _, answer = await ask(inner, headers=credential("a", token))
        return {
            "inner": answer["user"],
            "identity": qje.get_jwt_identity(),
            "user": qje.get_current_user(),
        }

    token = await login(outer, "outer")
    _, body = await ask(outer, "/outer", headers=credential("b", token))
    assert body == {"inner": "a:inner", "identity": "outer", "user": "b:outer"}


async def test_request_to_the_same_app_inside_a_view_leaves_the_outer_one_alone(
    app: Quart,
) -> None:
    @app.get("/outer")
    @qje.jwt_required
    async def view() -> dict[str, Any]:
        headers = bearer(hs_token(access_claims(identity="inner")))
        _, answer = await ask(app, headers=headers)
        _, anonymous = await ask(app, "/open")
        return {
            "inner": answer["identity"],
            "anonymous": anonymous["identity"],
            "identity": qje.get_jwt_identity(),
        }

    _, body = await ask(app, "/outer", headers=HEADERS)
    assert body == {"inner": "inner", "anonymous": None, "identity": "alice"}


async def test_app_that_is_dropped_takes_nothing_of_the_manager_with_it() -> None:
    manager = qje.JWTManager()
    kept, dropped = plain_app(), plain_app()
    manager.init_app(dropped)
    manager.init_app(kept)
    assert (await ask(dropped, headers=HEADERS))[0] == 200
    del dropped
    assert (await ask(kept, headers=HEADERS))[0] == 200


# --- Error handlers of the application -----------------------------------------

EXCEPTIONS: list[type[Exception]] = [
    CSRFError,
    FreshTokenRequired,
    InvalidHeaderError,
    JWTDecodeError,
    NoAuthorizationError,
    RevokedTokenError,
    UserClaimsVerificationError,
    UserLoadError,
    WrongTokenError,
    jwt.ExpiredSignatureError,
    jwt.InvalidTokenError,
    jwt.DecodeError,
    jwt.InvalidAudienceError,
    jwt.InvalidIssuerError,
]


def raise_in_a_view(app: Quart | Blueprint, raised: type[Exception]) -> None:
    @app.get("/raise")
    async def view() -> Any:
        raise raised("reason")


@pytest.mark.parametrize("raised", EXCEPTIONS)
async def test_handler_of_the_application_wins(raised: type[Exception]) -> None:
    app = plain_app()
    raise_in_a_view(app, raised)
    qje.JWTManager(app)

    @app.errorhandler(raised)
    async def handle(error: Exception) -> Any:
        return {"own": str(error)}, 499

    assert await ask(app, "/raise") == (499, {"own": "reason"})


@pytest.mark.parametrize("raised", EXCEPTIONS)
async def test_handler_of_a_blueprint_wins_inside_it(raised: type[Exception]) -> None:
    app = plain_app()
    qje.JWTManager(app)
    raise_in_a_view(app, raised)
    blueprint = Blueprint("own", __name__, url_prefix="/own")
    raise_in_a_view(blueprint, raised)

    @blueprint.errorhandler(raised)
    async def handle(error: Exception) -> Any:
        return {"own": str(error)}, 499

    app.register_blueprint(blueprint)
    assert await ask(app, "/own/raise") == (499, {"own": "reason"})
    assert (await ask(app, "/raise"))[0] in (400, 401, 422)


async def test_handler_of_a_blueprint_for_the_base_class_wins_inside_it() -> None:
    app = plain_app()
    qje.JWTManager(app)
    blueprint = Blueprint("own", __name__, url_prefix="/own")

    @blueprint.get("/view")
    @qje.jwt_required
    async def view() -> str:
        return ""

    @blueprint.errorhandler(JWTExtendedException)
    async def handle(error: Exception) -> Any:
        return {"own": str(error)}, 499

    app.register_blueprint(blueprint)
    assert await ask(app, "/own/view") == (499, {"own": "Missing Authorization Header"})
    assert (await ask(app))[0] == 401


@pytest.mark.parametrize("caught", [Exception, JWTExtendedException, jwt.PyJWTError])
async def test_broader_handler_of_the_application_leaves_our_answers_alone(
    caught: type[Exception],
) -> None:
    """The handler nearest to the class of an exception answers, says Quart."""
    app = plain_app()
    qje.JWTManager(app)

    @app.errorhandler(caught)
    async def handle(error: Exception) -> Any:
        return {"own": str(error)}, 499

    assert (await ask(app))[0] == 401
    assert (await ask(app, token="nonsense"))[0] == 422
    assert (await ask(app, token=refresh_claims()))[0] == 422


async def test_handler_for_the_base_class_answers_a_subclass_of_the_application() -> None:
    class Banned(JWTExtendedException):
        """An application's own."""

    app = plain_app()
    qje.JWTManager(app)
    raise_in_a_view(app, Banned)

    @app.errorhandler(JWTExtendedException)
    async def handle(error: Exception) -> Any:
        return {"own": type(error).__name__}, 499

    assert await ask(app, "/raise") == (499, {"own": "Banned"})


async def test_subclass_of_ours_made_by_the_application_gets_our_answer() -> None:
    class Banned(UserLoadError):
        """An application's own."""

    app = plain_app()
    qje.JWTManager(app)
    raise_in_a_view(app, Banned)
    assert await ask(app, "/raise") == (401, {"msg": "Error loading the user None"})


async def test_http_errors_of_the_application_are_left_alone() -> None:
    app = make_app()
    assert (await app.test_client().get("/nowhere")).status_code == 404
    assert (await app.test_client().open("/protected", method="TRACE")).status_code == 405


# --- Contexts and configuration classes ----------------------------------------


async def test_config_class_that_computes_its_values_is_read_through() -> None:
    class Vault(Config):
        secret = SECRET

        def __getitem__(self, name: str) -> Any:
            return self.secret if name == "JWT_SECRET_KEY" else super().__getitem__(name)

    class VaultApp(Quart):
        config_class = Vault

    app = VaultApp("vault")
    manager = qje.JWTManager(app)
    async with app.app_context():
        assert qje.decode_token(hs_token(access_claims()))["identity"] == "alice"
        app.config.secret = SECRETS["a"]
        with pytest.raises(jwt.InvalidSignatureError):
            qje.decode_token(hs_token(access_claims()))
        assert jwt.decode(qje.create_access_token("bob"), SECRETS["a"], algorithms=["HS256"])
    assert app.extensions["quart-jwt-extended"] is manager


# --- add_context_processor -----------------------------------------------------


def templated_app(tmp_path: Any, bind: Callable[[Quart], Any]) -> Quart:
    """An app with a template that shows the current user."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text("user: {{ current_user }}")
    app = Quart("templated", root_path=str(tmp_path))
    app.config["JWT_SECRET_KEY"] = SECRET
    bind(app)
    manager_of(app).user_lookup_loader(lambda header, claims: f"user {claims['identity']}")

    @app.get("/page")
    @qje.jwt_optional
    async def page() -> str:
        return await render_template("page.html")

    @app.get("/open")
    async def open_page() -> str:
        return await render_template_string("user: {{ current_user }}")

    return app


async def page_of(app: Quart, path: str, headers: dict[str, str]) -> str:
    response = await app.test_client().get(path, headers=headers)
    assert response.status_code == 200
    return await response.get_data(as_text=True)


@pytest.mark.parametrize(
    "bind",
    [
        lambda app: qje.JWTManager(app, add_context_processor=True),
        lambda app: qje.JWTManager(app, True),
        lambda app: qje.JWTManager().init_app(app, add_context_processor=True),
        lambda app: qje.JWTManager().init_app(app, True),
    ],
    ids=["constructor", "constructor by position", "init_app", "init_app by position"],
)
async def test_context_processor_gives_templates_the_current_user(
    tmp_path: Any, bind: Callable[[Quart], Any]
) -> None:
    app = templated_app(tmp_path, bind)
    assert await page_of(app, "/page", HEADERS) == "user: user alice"
    assert await page_of(app, "/page", {}) == "user: None"
    # Without a verification there is no user, whatever is sent.
    assert await page_of(app, "/open", HEADERS) == "user: None"


@pytest.mark.parametrize(
    "bind",
    [
        qje.JWTManager,
        lambda app: qje.JWTManager(app, add_context_processor=False),
        lambda app: qje.JWTManager().init_app(app),
    ],
    ids=["constructor", "False", "init_app"],
)
async def test_templates_get_no_current_user_unasked(
    tmp_path: Any, bind: Callable[[Quart], Any]
) -> None:
    app = templated_app(tmp_path, bind)
    assert await page_of(app, "/page", HEADERS) == "user: "


# --- What subclasses and applications of 0.1.0 do to a manager ---------------------------------


def test_subclass_may_override_init_app_with_the_one_argument_of_0_1_0() -> None:
    bound: list[Quart] = []

    class Manager(qje.JWTManager):
        def init_app(self, app: Quart) -> None:  # type: ignore[override]
            bound.append(app)
            super().init_app(app)

    app = Quart("subclassed")
    manager = Manager(app)
    assert bound == [app]
    assert app.extensions["quart-jwt-extended"] is manager
    with pytest.raises(TypeError):
        Manager(Quart("other"), add_context_processor=True)


@pytest.mark.parametrize(
    ("name", "callback", "token", "status"),
    [
        ("_claims_verification_callback", lambda claims: False, access_claims(), 400),
        ("_token_in_blacklist_callback", lambda claims: True, access_claims(), 401),
        ("_user_loader_callback", lambda identity: None, access_claims(), 401),
        ("_decode_key_callback", lambda claims, headers: "x" * 32, access_claims(), 422),
    ],
)
async def test_check_that_is_assigned_to_a_private_name_of_0_1_0_holds(
    name: str, callback: Any, token: Any, status: int
) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager_of(app).token_in_blacklist_loader(lambda claims: False)
    assert (await ask(app, "/protected", token))[0] == 200
    setattr(manager_of(app), name, callback)
    assert (await ask(app, "/protected", token))[0] == status


CALLBACKS = {
    "_user_claims_callback": 1,
    "_user_identity_callback": 1,
    "_expired_token_callback": 1,
    "_invalid_token_callback": 1,
    "_unauthorized_callback": 1,
    "_needs_fresh_token_callback": 0,
    "_revoked_token_callback": 0,
    "_user_loader_callback": 1,
    "_user_loader_error_callback": 1,
    "_token_in_blacklist_callback": 1,
    "_claims_verification_callback": 1,
    "_verify_claims_failed_callback": 0,
    "_decode_key_callback": 2,
    "_encode_key_callback": 1,
    "_jwt_additional_header_callback": 1,
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_private_callback_of_0_1_0_is_registered_by_assignment(name: str) -> None:
    manager = qje.JWTManager()
    setattr(manager, name, eval(f"lambda {', '.join('abc'[: CALLBACKS[name]])}: None"))
    with pytest.raises(TypeError, match="_loader accepts a function, not int"):
        setattr(manager, name, 5)


PRIVATE_METHODS = [
    "_set_error_handler_callbacks",
    "_set_default_configuration_options",
    "_create_access_token",
    "_create_refresh_token",
]


@pytest.mark.parametrize("name", [*PRIVATE_METHODS, *CALLBACKS])
def test_private_method_that_a_subclass_overrides_stops_init_app(name: str) -> None:
    manager = type("Manager", (qje.JWTManager,), {name: lambda self, *arguments: None})()
    with pytest.raises(TypeError, match=f"^JWTManager.{name} was private in 0.1.0 .*: use "):
        manager.init_app(Quart("subclassed"))


@pytest.mark.parametrize("name", PRIVATE_METHODS)
def test_private_method_that_is_assigned_is_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match=f"^JWTManager.{name} was private in 0.1.0"):
        setattr(qje.JWTManager(), name, lambda *arguments: None)


def test_attribute_of_its_own_may_be_set_on_a_manager() -> None:
    manager = qje.JWTManager()
    manager.store = "mine"  # type: ignore[attr-defined]
    assert manager.store == "mine"  # type: ignore[attr-defined]
