"""What is checked before an app serves, and by JWTManager.check: options, keys, placement."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from quart import Blueprint, Quart
from quart.testing.app import LifespanError

import quart_jwt_extended as qje
from support import SECRET, make_app, manager_of
from support.signing_keys import certificate, private_key, private_pem, public_pem

RSA = private_key("RSA")
CERTIFICATE = certificate("RSA").public_bytes(Encoding.PEM).decode()
# One that PyJWT takes, and calls weak.
WEAK_RSA = generate_private_key(public_exponent=65537, key_size=1024)


def bare_app(**options: Any) -> Quart:
    app = Quart("checked")
    app.config.update(options)
    qje.JWTManager(app)
    return app


def faults(app: Quart) -> list[str]:
    """The lines of what the check raises."""
    with pytest.raises(RuntimeError, match=r"^The configuration is invalid:\n") as caught:
        manager_of(app).check(app)
    return str(caught.value).splitlines()[1:]


@contextlib.asynccontextmanager
async def serving(app: Quart) -> Any:
    async with app.test_app() as running:
        yield running


# --- Options ------------------------------------------------------------------


async def test_wrong_options_stop_the_start_with_all_of_them_in_one_message() -> None:
    app = make_app(JWT_COOKIE_SECURE="yes", JWT_HEADER_NAME="", JWT_ACCESS_TOKEN_EXPIRES=0)
    lines = faults(app)
    assert [line.partition(" must be ")[0] for line in lines] == [
        "JWT_HEADER_NAME",
        "JWT_COOKIE_SECURE",
        "JWT_ACCESS_TOKEN_EXPIRES",
    ]
    assert lines[1] == "JWT_COOKIE_SECURE must be True or False, not a value of type str"
    with pytest.raises(LifespanError, match="(?s)JWT_HEADER_NAME.*JWT_ACCESS_TOKEN_EXPIRES"):
        async with serving(app):
            pass


def test_wrong_option_and_wrong_key_are_listed_together() -> None:
    lines = faults(bare_app(JWT_HEADER_NAME="", JWT_SECRET_KEY=12345))
    assert [line.split()[0] for line in lines] == ["JWT_HEADER_NAME", "JWT_SECRET_KEY"]
    # Without the algorithm nobody knows which key it takes.
    (line,) = faults(bare_app(JWT_ALGORITHM="RS265", JWT_SECRET_KEY=None))
    assert line.startswith("JWT_ALGORITHM must be one of ")


async def test_good_configuration_starts_and_may_start_again() -> None:
    app = make_app()
    for _ in range(2):
        async with serving(app) as running:
            assert (await running.test_client().get("/protected")).status_code == 401
    qje.JWTManager.check(manager_of(app), app)


def test_app_without_a_manager_is_named() -> None:
    with pytest.raises(RuntimeError, match="No JWTManager for this app"):
        qje.JWTManager().check(Quart("bare"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("JWT_COOKIE_SECUR", ": did you mean JWT_COOKIE_SECURE?"),
        ("JWT_BLACKLIST_ENABLE", ": did you mean JWT_BLACKLIST_ENABLED?"),
        ("JWT_SOMETHING_ELSE_ENTIRELY", ""),
    ],
)
def test_option_that_does_not_exist_warns_and_the_nearest_is_named(name: str, hint: str) -> None:
    app = make_app(**{name: True})
    with pytest.warns(UserWarning, match=f"^There is no option {name}{hint}".replace("?", r"\?")):
        manager_of(app).check(app)


def test_method_that_http_does_not_define_warns() -> None:
    app = make_app(JWT_CSRF_METHODS=["POST", "PSOT", "purge"])
    with pytest.warns(UserWarning, match=r"JWT_CSRF_METHODS .* does not define: PSOT, PURGE$"):
        manager_of(app).check(app)


# --- Keys ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"JWT_SECRET_KEY": None}, "JWT_SECRET_KEY or SECRET_KEY must be set"),
        ({"JWT_SECRET_KEY": " \t\n"}, "JWT_SECRET_KEY or SECRET_KEY must be set"),
        ({"JWT_SECRET_KEY": b"  "}, "JWT_SECRET_KEY or SECRET_KEY must be set"),
        ({"JWT_SECRET_KEY": 12345}, "from_prefixed_env converts digits to a number"),
        ({"JWT_SECRET_KEY": (SECRET,)}, "a comma after the value makes a tuple"),
        ({"JWT_SECRET_KEY": Path("secret")}, "pass the content of the file, using read_text()"),
        ({"JWT_SECRET_KEY": object()}, "it must be text, bytes, a JWK"),
        ({"JWT_SECRET_KEY": public_pem(RSA)}, "asymmetric key"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_secret_is_described_without_showing_it(options: Any, expected: str) -> None:
    (line,) = faults(bare_app(**options))
    assert expected in line
    assert SECRET not in line
    assert "12345" not in line


class SecretStr:
    """As Pydantic has it."""

    def get_secret_value(self) -> str:
        raise AssertionError


def test_secret_in_a_wrapper_names_what_to_pass() -> None:
    (line,) = faults(bare_app(JWT_SECRET_KEY=SecretStr()))
    assert line.endswith("it is of type SecretStr: pass the result of its get_secret_value()")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("JWT_PUBLIC_KEY", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", "as a public key in PEM"),
        ("JWT_PRIVATE_KEY", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", "as a private key in PEM"),
        ("JWT_PUBLIC_KEY", private_pem(RSA), "A public key is needed to verify RS256"),
        ("JWT_PRIVATE_KEY", public_pem(RSA), "A private key is needed to sign with RS256"),
        ("JWT_PUBLIC_KEY", public_pem(private_key("P-256")), "(InvalidKeyError)"),
        ("JWT_PUBLIC_KEY", {"kty": "what"}, "it is not a valid JWK for RS256"),
        ("JWT_PUBLIC_KEY", {}, "it is not a valid JWK for RS256"),
        (
            "JWT_PUBLIC_KEY",
            "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
            "it is a certificate that cannot be read",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_asymmetric_key_is_described(option: str, value: Any, expected: str) -> None:
    (line,) = faults(bare_app(JWT_ALGORITHM="RS256", **{option: value}))
    assert line.startswith(f"{option} cannot be used with RS256: ")
    assert expected in line


def test_both_wrong_keys_are_listed() -> None:
    app = bare_app(JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY="x", JWT_PRIVATE_KEY="y")
    assert [line.split()[0] for line in faults(app)] == ["JWT_PUBLIC_KEY", "JWT_PRIVATE_KEY"]


@pytest.mark.parametrize(
    "options",
    [
        {"JWT_PRIVATE_KEY": private_pem(RSA)},
        {"JWT_PUBLIC_KEY": public_pem(RSA)},
        {"JWT_PUBLIC_KEY": CERTIFICATE},
    ],
    ids=["signs only", "verifies only", "certificate"],
)
def test_service_that_only_signs_or_only_verifies_is_right(options: dict[str, Any]) -> None:
    app = bare_app(JWT_ALGORITHM="RS256", **options)
    manager_of(app).check(app)


@pytest.mark.parametrize("loader", ["decode_key_loader", "encode_key_loader"])
def test_loader_of_keys_needs_no_configured_key(loader: str) -> None:
    app = bare_app()
    callback = {1: lambda identity: SECRET, 2: lambda claims, header: SECRET}
    getattr(manager_of(app), loader)(callback[1 if loader == "encode_key_loader" else 2])
    manager_of(app).check(app)


async def test_key_that_a_later_hook_loads_is_there_in_time() -> None:
    app = bare_app()

    @app.before_serving
    async def load() -> None:
        app.config["JWT_SECRET_KEY"] = SECRET

    async with serving(app):
        pass


@pytest.mark.parametrize("kind", ["certificate", "certificate object", "JWK", "PyJWK"])
async def test_public_key_in_another_form_verifies(kind: str) -> None:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)
    key = {
        "certificate": CERTIFICATE,
        "certificate object": certificate("RSA"),
        "JWK": jwk,
        "PyJWK": jwt.PyJWK({**jwk, "alg": "RS256"}),
    }[kind]
    app = bare_app(JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=key)
    token = jwt.encode({"identity": "alice"}, RSA, "RS256")
    async with app.app_context():
        assert qje.decode_token(token)["identity"] == "alice"
        with pytest.raises(jwt.InvalidSignatureError):
            qje.decode_token(jwt.encode({"identity": "a"}, private_key("RSA", "other"), "RS256"))


async def test_jwk_that_changes_in_place_is_another_key() -> None:
    other = private_key("RSA", "other")
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)
    app = bare_app(JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=jwk)
    token = jwt.encode({"identity": "alice"}, RSA, "RS256")
    async with app.app_context():
        qje.decode_token(token)
        jwk.update(jwt.algorithms.RSAAlgorithm.to_jwk(other.public_key(), as_dict=True))
        with pytest.raises(jwt.InvalidSignatureError):
            qje.decode_token(token)


def test_pyjwk_for_another_algorithm_says_so() -> None:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True)
    app = bare_app(JWT_ALGORITHM="PS256", JWT_PUBLIC_KEY=jwt.PyJWK({**jwk, "alg": "RS256"}))
    assert faults(app) == ["JWT_PUBLIC_KEY cannot be used with PS256: it is a JWK for RS256"]


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({"JWT_SECRET_KEY": "short"}, "secrets.token_urlsafe"),
        (
            {
                "JWT_ALGORITHM": "RS256",
                "JWT_PRIVATE_KEY": private_pem(WEAK_RSA),
            },
            "openssl genpkey -algorithm RSA",
        ),
    ],
    ids=["secret", "RSA"],
)
async def test_weak_key_warns_once_at_the_start_with_a_command(
    options: dict[str, Any], command: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = bare_app(**options)

    async def serve_and_create() -> None:
        async with serving(app), app.app_context():
            for _ in range(3):
                qje.create_access_token("alice")

    with pytest.warns(jwt.InsecureKeyLengthWarning) as caught:
        await serve_and_create()
    assert len(caught) == 1
    assert command in str(caught[0].message)
    (record,) = (record for record in caplog.records if record.name == "quart_jwt_extended")
    assert (record.levelname, command in record.getMessage()) == ("WARNING", True)


def test_blacklist_without_a_callback_stops_the_start() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    assert faults(app) == [
        "JWT_BLACKLIST_ENABLED needs a callback: register one with token_in_blacklist_loader"
    ]
    manager_of(app).token_in_blacklist_loader(lambda claims: False)
    manager_of(app).check(app)


# --- Placement ----------------------------------------------------------------

HOOKS = ["before_request", "before_websocket", "after_request", "after_websocket"]


@pytest.mark.parametrize("where", ["app", "blueprint", "blueprint for the app"])
@pytest.mark.parametrize("hook", HOOKS)
async def test_decorator_above_a_hook_stops_the_start(hook: str, where: str) -> None:
    app = make_app()
    blueprint = Blueprint("part", "part")
    if where == "blueprint for the app":
        register = getattr(blueprint, hook.replace("_", "_app_", 1))
    else:
        register = getattr(app if where == "app" else blueprint, hook)

    @qje.jwt_required
    @register
    async def check_admin(*args: Any) -> None:
        raise AssertionError

    app.register_blueprint(blueprint)
    text = f"^The {hook} function 'check_admin' is not protected"
    with pytest.raises(RuntimeError, match=text):
        manager_of(app).check(app)
    with pytest.raises(LifespanError, match=text[1:]):
        async with serving(app):
            pass


@pytest.mark.parametrize("inner", [qje.jwt_optional, qje.jwt_exempt])
def test_decorator_above_a_route_is_found_above_another_one(inner: Any) -> None:
    app = make_app()

    @qje.jwt_required
    @app.get("/page")
    @inner
    async def page() -> str:
        raise AssertionError

    with pytest.raises(RuntimeError, match="^The view of the endpoint 'page' is not protected"):
        manager_of(app).check(app)


@pytest.mark.parametrize("hook", HOOKS)
def test_decorator_below_a_hook_is_right(hook: str) -> None:
    app = make_app()

    @getattr(app, hook)
    @qje.jwt_required
    async def check_admin(*args: Any) -> None:
        raise AssertionError

    manager_of(app).check(app)
