"""Keys, and applications that either library protects: its API is the same in both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from quart import Quart

import quart_jwt_extended as qje

SECRET = "a secret of the benchmarks, 64 characters long: 0123456789abcdef"

USER_CLAIMS = {"role": "admin"}

METHODS = ["GET", "POST"]

View = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Keys:
    """What an algorithm signs and verifies with: ready to use, and as applications configure it."""

    algorithm: str
    private: Any
    public: Any
    private_text: str
    public_text: str

    @property
    def key_type(self) -> Any:
        """The kind of key in the terms of RFC 7517, which joserfc asks for."""
        return {"HS256": "oct", "ES256": "EC", "EdDSA": "OKP"}.get(self.algorithm, "RSA")

    def options(self) -> dict[str, Any]:
        """The configuration of an application that signs and verifies with these keys."""
        if self.algorithm == "HS256":
            return {"JWT_SECRET_KEY": self.private_text}
        return {
            "JWT_ALGORITHM": self.algorithm,
            "JWT_PRIVATE_KEY": self.private_text,
            "JWT_PUBLIC_KEY": self.public_text,
        }


def public_pem(key: Any) -> str:
    """A public key as PEM text."""
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def _key_pair(algorithm: str, private: Any) -> Keys:
    private_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key()
    return Keys(algorithm, private, public, private_pem, public_pem(public))


def make_keys() -> list[Keys]:
    """New keys, one per algorithm."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    return [
        Keys("HS256", SECRET.encode(), SECRET.encode(), SECRET, SECRET),
        _key_pair("RS256", rsa_key),
        _key_pair("PS256", rsa_key),
        _key_pair("ES256", ec.generate_private_key(ec.SECP256R1())),
        _key_pair("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ]


def make_app(*, token_store: Any = None, **options: Any) -> Quart:
    """An application with an open and a protected route that do the same."""
    app = Quart("benchmark")
    app.config["JWT_SECRET_KEY"] = SECRET
    # Longer than any run.
    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = 24 * 3600
    app.config.update(options)
    # 0.1.0 has no stores.
    stores = {} if token_store is None else {"token_store": token_store}
    qje.JWTManager(app, **stores)

    @app.route("/open", methods=METHODS)
    async def open_view() -> str:
        return "ok"

    @app.route("/protected", methods=METHODS)
    @qje.jwt_required
    async def protected_view() -> str:
        return "ok"

    return app


def manager_of(app: Quart) -> qje.JWTManager:
    """The manager that protects an application, to register callbacks with."""
    manager: qje.JWTManager = app.extensions["quart-jwt-extended"]
    return manager


async def access_token(app: Quart, **arguments: Any) -> str:
    """An access token of an application."""
    async with app.app_context():
        token: str = qje.create_access_token("alice", **arguments)
    return token
