"""Application factories, several apps, several managers, and handlers of the application's own."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from quart import Blueprint, Quart
from quart.config import Config
from support import SECRET, access_claims, bearer, hs_token, make_app

import quart_jwt_extended as qje

OTHER = SECRET[::-1]


def app_of(manager: qje.JWTManager, secret: str, **options: Any) -> Quart:
    app = Quart("factory")
    app.config.update(JWT_SECRET_KEY=secret, **options)
    manager.init_app(app)

    @app.get("/me")
    @qje.jwt_required
    async def me() -> Any:
        return {"identity": qje.get_jwt_identity()}

    return app


async def ask(app: Quart, headers: dict[str, str]) -> tuple[int, Any]:
    response = await app.test_client().get("/me", headers=headers)
    return response.status_code, await response.get_json()


async def test_manager_serves_several_apps_each_with_its_own_options() -> None:
    manager = qje.JWTManager()
    first = app_of(manager, SECRET)
    second = app_of(manager, OTHER, JWT_HEADER_TYPE="JWT", JWT_ERROR_MESSAGE_KEY="error")
    of_first, of_second = hs_token(access_claims()), hs_token(access_claims(), secret=OTHER)
    for _ in range(3):
        assert await ask(first, bearer(of_first)) == (200, {"identity": "alice"})
        assert await ask(second, {"Authorization": f"JWT {of_second}"}) == (
            200,
            {"identity": "alice"},
        )
        assert await ask(first, bearer(of_second)) == (
            422,
            {"msg": "Signature verification failed"},
        )
        assert await ask(second, {"Authorization": f"JWT {of_first}"}) == (
            422,
            {"error": "Signature verification failed"},
        )
    for app in (first, second):
        assert app.extensions["quart-jwt-extended"] is manager


async def test_callbacks_of_one_manager_do_not_serve_the_apps_of_another() -> None:
    first, second = qje.JWTManager(), qje.JWTManager()
    first.unauthorized_loader(lambda reason: ({"custom": reason}, 418))
    assert (await ask(app_of(first, SECRET), {}))[0] == 418
    assert (await ask(app_of(second, SECRET), {}))[0] == 401


async def test_loader_registered_after_binding_takes_effect() -> None:
    manager = qje.JWTManager()
    app = app_of(manager, SECRET)
    assert (await ask(app, {}))[0] == 401
    manager.unauthorized_loader(lambda reason: ({"custom": reason}, 418))
    assert (await ask(app, {}))[0] == 418


async def test_later_manager_replaces_the_earlier() -> None:
    manager = qje.JWTManager()
    manager.unauthorized_loader(lambda reason: ({"custom": reason}, 418))
    app = make_app()
    manager.init_app(app)
    assert (await app.test_client().get("/protected")).status_code == 418


async def test_app_without_a_manager_says_what_to_do() -> None:
    app = Quart("bare")
    async with app.app_context():
        for call in (
            lambda: qje.create_access_token("alice"),
            lambda: qje.decode_token("a.b.c"),
            qje.get_jwt_identity,
        ):
            with pytest.raises(RuntimeError, match=r"init_app\(app\)"):
                call()


async def test_handler_of_the_application_wins() -> None:
    app = make_app()
    blueprint = Blueprint("part", "part", url_prefix="/part")

    @blueprint.get("/me")
    @qje.jwt_required
    async def me() -> str:
        return "me"

    @blueprint.errorhandler(qje.NoAuthorizationError)
    async def in_blueprint(error: Exception) -> Any:
        return "blueprint", 418

    @app.errorhandler(jwt.ExpiredSignatureError)
    async def in_app(error: Any) -> Any:
        return {"expired": error.jwt_data["identity"]}, 419

    app.register_blueprint(blueprint)
    assert (await app.test_client().get("/part/me")).status_code == 418
    assert (await app.test_client().get("/protected")).status_code == 401
    expired = bearer(hs_token(access_claims(exp=1)))
    response = await app.test_client().get("/part/me", headers=expired)
    assert (response.status_code, await response.get_json()) == (419, {"expired": "alice"})


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
        app.config.secret = OTHER
        with pytest.raises(jwt.InvalidSignatureError):
            qje.decode_token(hs_token(access_claims()))
        assert jwt.decode(qje.create_access_token("bob"), OTHER, algorithms=["HS256"])
    assert app.extensions["quart-jwt-extended"] is manager


@pytest.mark.parametrize("context", ["app_context", "test_request_context"])
async def test_token_is_created_in_any_context(context: str) -> None:
    app = make_app()
    arguments = ["/"] if context == "test_request_context" else []
    async with getattr(app, context)(*arguments):
        token = qje.create_access_token("alice")
    assert jwt.decode(token, SECRET, algorithms=["HS256"])["identity"] == "alice"


def test_token_outside_of_any_context_names_the_app_context() -> None:
    with pytest.raises(RuntimeError, match="app_context"):
        qje.create_access_token("alice")
