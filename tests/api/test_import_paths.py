"""The import paths of 0.1.0, and what the modules behind them do."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import jwt
import pytest

import quart_jwt_extended as qje
from quart_jwt_extended import default_callbacks, tokens, utils
from support import SECRET, access_claims, hs_token, make_app

FIRST_NAMES = {
    "exceptions": "CSRFError",
    "config": "config",
    "default_callbacks": "default_unauthorized_callback",
    "utils": "get_jwt_identity",
    "view_decorators": "jwt_required",
    "tokens": "decode_jwt",
    "jwt_manager": "JWTManager",
}


@pytest.mark.parametrize(("module", "name"), FIRST_NAMES.items())
@pytest.mark.parametrize(
    "form",
    ["from quart_jwt_extended.{m} import {n}", "import quart_jwt_extended.{m} as m; m.{n}"],
)
def test_submodule_as_the_very_first_import_works(form: str, module: str, name: str) -> None:
    line = form.format(m=module, n=name)
    subprocess.run([sys.executable, "-W", "error", "-c", line], check=True, timeout=60)


@pytest.mark.parametrize("module", ["exceptions", "utils", "view_decorators", "jwt_manager"])
def test_submodule_holds_the_very_objects_of_the_package(module: str) -> None:
    shared = {
        name: value for name, value in vars(getattr(qje, module)).items() if name in qje.__all__
    }
    assert shared
    assert all(value is getattr(qje, name) for name, value in shared.items())


def test_unknown_submodule_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        __import__("quart_jwt_extended.nothing")


def test_star_import_gives_all_public_names() -> None:
    namespace: dict[str, Any] = {}
    exec("from quart_jwt_extended import *", namespace)
    assert sorted(name for name in namespace if name != "__builtins__") == qje.__all__


TOKEN_ARGUMENTS = {
    "identity": "alice",
    "secret": SECRET,
    "algorithm": "HS256",
    "expires_delta": timedelta(minutes=5),
    "user_claims": {"role": "admin"},
    "csrf": True,
    "identity_claim_key": "who",
    "user_claims_key": "extra",
}


def test_access_token_is_encoded_without_an_app() -> None:
    token = tokens.encode_access_token(
        **TOKEN_ARGUMENTS, fresh=True, headers={"kid": "k"}, issuer="us"
    )
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer="us")
    assert claims["exp"] - claims["iat"] in (300, 301)
    assert {name: claims[name] for name in ("who", "fresh", "type", "extra")} == {
        "who": "alice",
        "fresh": True,
        "type": "access",
        "extra": {"role": "admin"},
    }
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "k"}


def test_refresh_token_is_encoded_without_an_app() -> None:
    class Encoder(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return "encoded"

    arguments = {**TOKEN_ARGUMENTS, "identity": object(), "expires_delta": False}
    claims = jwt.decode(
        tokens.encode_refresh_token(**arguments, json_encoder=Encoder),
        SECRET,
        algorithms=["HS256"],
    )
    assert (claims["who"], claims["type"]) == ("encoded", "refresh")
    assert "exp" not in claims
    assert "fresh" not in claims


def test_token_is_decoded_without_an_app() -> None:
    token = hs_token(access_claims(csrf="value", iss="us", aud="them", exp=1))

    def decode(**changes: Any) -> Any:
        return tokens.decode_jwt(
            token,
            SECRET,
            ["HS256"],
            "identity",
            "user_claims",
            **{"allow_expired": True, **changes},
        )

    good = {"issuer": "us", "audience": "them"}
    assert decode(**good, csrf_value="value")["identity"] == "alice"
    with pytest.raises(qje.CSRFError):
        decode(**good, csrf_value="other")
    with pytest.raises(jwt.ExpiredSignatureError):
        decode(**good, allow_expired=False)
    with pytest.raises(jwt.InvalidIssuerError):
        decode(audience="them", issuer="others")


async def test_helpers_ask_the_callbacks_of_the_current_manager() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]
    async with app.app_context():
        assert not utils.has_user_loader()
        assert not utils.has_token_in_blacklist_callback()
        manager.user_loader_callback_loader(lambda identity: identity.upper())
        manager.token_in_blacklist_loader(lambda claims: claims["jti"] == "bad")
        utils.verify_token_claims({"user_claims": {}})
        manager.claims_verification_loader(lambda claims: claims == {"good": True})
        assert utils.has_user_loader()
        assert utils.has_token_in_blacklist_callback()
        assert utils.user_loader("alice") == "ALICE"
        assert utils.token_in_blacklist({"jti": "bad"}) is True
        utils.verify_token_not_blacklisted({"jti": "good"}, "access")
        with pytest.raises(qje.RevokedTokenError, match="revoked"):
            utils.verify_token_not_blacklisted({"jti": "bad"}, "access")
        utils.verify_token_claims({"user_claims": {"good": True}})
        with pytest.raises(qje.UserClaimsVerificationError):
            utils.verify_token_claims({"user_claims": {}})


async def test_helpers_refuse_async_callbacks() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]

    async def answer(value: Any) -> bool:
        return False

    manager.token_in_blacklist_loader(answer)
    manager.claims_verification_loader(answer)
    async with app.app_context():
        with pytest.raises(RuntimeError, match="verify_jwt_in_request"):
            utils.verify_token_not_blacklisted({"jti": "good"}, "access")
        with pytest.raises(RuntimeError, match="verify_jwt_in_request"):
            utils.verify_token_claims({"user_claims": {}})


def test_token_of_another_type_is_refused_by_the_helper() -> None:
    utils.verify_token_type({"type": "access"}, "access")
    with pytest.raises(qje.WrongTokenError, match="Only refresh tokens are allowed"):
        utils.verify_token_type({"type": "access"}, "refresh")


async def test_default_callbacks_answer_as_0_1_0_does() -> None:
    async with make_app(JWT_ERROR_MESSAGE_KEY="error").app_context():
        answers = [
            (default_callbacks.default_expired_token_callback({}), "Token has expired", 401),
            (default_callbacks.default_invalid_token_callback("why"), "why", 422),
            (default_callbacks.default_unauthorized_callback("why"), "why", 401),
            (default_callbacks.default_needs_fresh_token_callback(), "Fresh token required", 401),
            (default_callbacks.default_revoked_token_callback(), "Token has been revoked", 401),
            (
                default_callbacks.default_user_loader_error_callback("bob"),
                "Error loading the user bob",
                401,
            ),
            (
                default_callbacks.default_verify_claims_failed_callback(),
                "User claims verification failed",
                400,
            ),
        ]
        for answer, message, status in answers:
            assert answer == ({"error": message}, status)
        assert default_callbacks.default_user_claims_callback("x") == {}
        assert default_callbacks.default_jwt_headers_callback("x") is None
        assert default_callbacks.default_user_identity_callback("x") == "x"
        assert default_callbacks.default_claims_verification_callback({}) is True
        assert default_callbacks.default_decode_key_callback({}, {}) == SECRET
        assert default_callbacks.default_encode_key_callback("x") == SECRET
