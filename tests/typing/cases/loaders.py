"""Every loader takes a plain function and a coroutine function, and hands it back unchanged."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from quart import Quart, Response, jsonify

from quart_jwt_extended import JWTManager

Claims = dict[str, Any]
Answer = tuple[dict[str, str], int]


class User:
    name: str = "alice"
    key: RSAPrivateKey


manager = JWTManager(Quart(__name__))
reveal_type(JWTManager())
# reveals: JWTManager
reveal_type(manager.serve_jwks(Quart(__name__), path="/keys"))
# reveals: None
reveal_type(manager.init_app(app=Quart(__name__)))
# reveals: None


@manager.user_claims_loader
def user_claims(user: User) -> Claims:
    return {"name": user.name}


@manager.user_claims_loader
async def user_claims_async(user: User) -> Claims:
    return {"name": user.name}


reveal_type(user_claims)
# reveals: (user: User) -> dict[str, Any]
reveal_type(user_claims_async)
# reveals: (user: User) -> Coroutine[Any, Any, dict[str, Any]]


@manager.user_identity_loader
def identity(user: User) -> str:
    return user.name


@manager.user_identity_loader
async def identity_async(user: User) -> str:
    return user.name


reveal_type(identity)
# reveals: (user: User) -> str
reveal_type(identity_async)
# reveals: (user: User) -> Coroutine[Any, Any, str]


@manager.additional_headers_loader
def headers(user: User) -> Claims:
    return {"kid": user.name}


@manager.additional_headers_loader
async def headers_async(user: User) -> Claims | None:
    return None


reveal_type(headers)
# reveals: (user: User) -> dict[str, Any]
reveal_type(headers_async)
# reveals: (user: User) -> Coroutine[Any, Any, dict[str, Any] | None]


@manager.encode_key_loader
def encode_key(user: User) -> RSAPrivateKey:
    return user.key


@manager.encode_key_loader
async def encode_key_async(user: User) -> str | bytes:
    return user.name


reveal_type(encode_key)
# reveals: (user: User) -> RSAPrivateKey
reveal_type(encode_key_async)
# reveals: (user: User) -> Coroutine[Any, Any, str | bytes]


@manager.decode_key_loader
def decode_key(claims: Claims, header: Claims) -> str:
    return str(header["kid"])


@manager.decode_key_loader
async def decode_key_async(claims: Claims, header: Claims) -> bytes | None:
    return None


reveal_type(decode_key)
# reveals: (claims: dict[str, Any], header: dict[str, Any]) -> str
reveal_type(decode_key_async)
# reveals: (claims: dict[str, Any], header: dict[str, Any]) -> Coroutine[Any, Any, bytes | None]


@manager.token_in_blacklist_loader
def revoked(claims: Claims) -> bool:
    return claims["jti"] in {"1"}


@manager.token_in_blacklist_loader
async def revoked_async(claims: Claims) -> bool:
    return claims["jti"] in {"1"}


reveal_type(revoked)
# reveals: (claims: dict[str, Any]) -> bool
reveal_type(revoked_async)
# reveals: (claims: dict[str, Any]) -> Coroutine[Any, Any, bool]


@manager.claims_verification_loader
def good_claims(claims: Claims) -> bool:
    return "role" in claims


@manager.claims_verification_loader
async def good_claims_async(claims: Claims) -> bool:
    return "role" in claims


reveal_type(good_claims)
# reveals: (claims: dict[str, Any]) -> bool
reveal_type(good_claims_async)
# reveals: (claims: dict[str, Any]) -> Coroutine[Any, Any, bool]


@manager.user_loader_callback_loader
def load_user(name: str) -> User | None:
    return User() if name == "alice" else None


@manager.user_loader_callback_loader
async def load_user_async(name: str) -> User | None:
    return User() if name == "alice" else None


reveal_type(load_user)
# mypy reveals: (name: str) -> User | None
# pyright reveals: (name: str) -> (User | None)
reveal_type(load_user_async)
# reveals: (name: str) -> Coroutine[Any, Any, User | None]


@manager.unauthorized_loader
def unauthorized(reason: str) -> Answer:
    return {"reason": reason}, 401


@manager.unauthorized_loader
async def unauthorized_async(reason: str) -> Response:
    return jsonify(reason=reason)


reveal_type(unauthorized)
# reveals: (reason: str) -> tuple[dict[str, str], int]
reveal_type(unauthorized_async)
# reveals: (reason: str) -> Coroutine[Any, Any, Response]


@manager.invalid_token_loader
def invalid_token(reason: str) -> Answer:
    return {"reason": reason}, 422


@manager.invalid_token_loader
async def invalid_token_async(reason: str) -> Response:
    return jsonify(reason=reason)


reveal_type(invalid_token)
# reveals: (reason: str) -> tuple[dict[str, str], int]
reveal_type(invalid_token_async)
# reveals: (reason: str) -> Coroutine[Any, Any, Response]


@manager.expired_token_loader
def expired_token(claims: Claims) -> Answer:
    return {"expired": claims["jti"]}, 401


@manager.expired_token_loader
async def expired_token_async(claims: Claims) -> str:
    return "expired"


reveal_type(expired_token)
# reveals: (claims: dict[str, Any]) -> tuple[dict[str, str], int]
reveal_type(expired_token_async)
# reveals: (claims: dict[str, Any]) -> Coroutine[Any, Any, str]


@manager.needs_fresh_token_loader
def needs_fresh_token() -> Answer:
    return {"reason": "stale"}, 401


@manager.needs_fresh_token_loader
async def needs_fresh_token_async() -> Response:
    return jsonify(reason="stale")


reveal_type(needs_fresh_token)
# reveals: () -> tuple[dict[str, str], int]
reveal_type(needs_fresh_token_async)
# reveals: () -> Coroutine[Any, Any, Response]


@manager.revoked_token_loader
def revoked_token() -> Answer:
    return {"reason": "revoked"}, 401


@manager.revoked_token_loader
async def revoked_token_async() -> Response:
    return jsonify(reason="revoked")


reveal_type(revoked_token)
# reveals: () -> tuple[dict[str, str], int]
reveal_type(revoked_token_async)
# reveals: () -> Coroutine[Any, Any, Response]


@manager.user_loader_error_loader
def no_user(name: str) -> Answer:
    return {"unknown": name}, 404


@manager.user_loader_error_loader
async def no_user_async(name: str) -> Response:
    return jsonify(unknown=name)


reveal_type(no_user)
# reveals: (name: str) -> tuple[dict[str, str], int]
reveal_type(no_user_async)
# reveals: (name: str) -> Coroutine[Any, Any, Response]


@manager.claims_verification_failed_loader
def bad_claims() -> Answer:
    return {"reason": "claims"}, 400


@manager.claims_verification_failed_loader
async def bad_claims_async() -> Response:
    return jsonify(reason="claims")


reveal_type(bad_claims)
# reveals: () -> tuple[dict[str, str], int]
reveal_type(bad_claims_async)
# reveals: () -> Coroutine[Any, Any, Response]


# --- The loaders and the forms of Flask-JWT-Extended ----------------------------------------------

reveal_type(JWTManager(Quart(__name__), add_context_processor=True))
# reveals: JWTManager


@manager.additional_claims_loader
def more_claims(user: User) -> Claims:
    return {"role": user.name}


@manager.additional_claims_loader
async def more_claims_async(user: User) -> Claims:
    return {"role": user.name}


reveal_type(more_claims)
# reveals: (user: User) -> dict[str, Any]
reveal_type(more_claims_async)
# reveals: (user: User) -> Coroutine[Any, Any, dict[str, Any]]


@manager.token_in_blocklist_loader
def blocked(header: Claims, claims: Claims) -> bool:
    return claims["jti"] in {"1"}


@manager.token_in_blocklist_loader
async def blocked_async(header: Claims, claims: Claims) -> bool:
    return claims["jti"] in {"1"}


reveal_type(blocked)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> bool
reveal_type(blocked_async)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> Coroutine[Any, Any, bool]


@manager.token_verification_loader
def good_token(header: Claims, claims: Claims) -> bool:
    return "role" in claims


@manager.token_verification_loader
async def good_token_async(header: Claims, claims: Claims) -> bool:
    return "role" in claims


reveal_type(good_token)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> bool
reveal_type(good_token_async)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> Coroutine[Any, Any, bool]


@manager.user_lookup_loader
def look_up(header: Claims, claims: Claims) -> User:
    return User()


@manager.user_lookup_loader
async def look_up_async(header: Claims, claims: Claims) -> User:
    return User()


reveal_type(look_up)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> User
reveal_type(look_up_async)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> Coroutine[Any, Any, User]


@manager.expired_token_loader
def expired_two(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


@manager.expired_token_loader
async def expired_two_async(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


reveal_type(expired_two)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> str
reveal_type(expired_two_async)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> Coroutine[Any, Any, str]


@manager.needs_fresh_token_loader
def stale_two(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


@manager.needs_fresh_token_loader
async def stale_two_async(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


reveal_type(stale_two)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> str
reveal_type(stale_two_async)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> Coroutine[Any, Any, str]


@manager.revoked_token_loader
def revoked_two(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


@manager.revoked_token_loader
async def revoked_two_async(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


reveal_type(revoked_two)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> str
reveal_type(revoked_two_async)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> Coroutine[Any, Any, str]


@manager.user_lookup_error_loader
def no_user_two(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


@manager.user_lookup_error_loader
async def no_user_two_async(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


reveal_type(no_user_two)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> str
reveal_type(no_user_two_async)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> Coroutine[Any, Any, str]


@manager.token_verification_failed_loader
def bad_token_two(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


@manager.token_verification_failed_loader
async def bad_token_two_async(header: Claims, claims: Claims) -> str:
    return str(claims["jti"])


reveal_type(bad_token_two)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> str
reveal_type(bad_token_two_async)
# reveals: (header: dict[str, Any], claims: dict[str, Any]) -> Coroutine[Any, Any, str]


@manager.insufficient_scope_loader
def lacks_scope(required: tuple[str, ...], claims: Claims) -> str:
    return " ".join(required)


@manager.insufficient_scope_loader
async def lacks_scope_async(required: tuple[str, ...], claims: Claims) -> str:
    return " ".join(required)


reveal_type(lacks_scope)
# reveals: (required: tuple[str, ...], claims: dict[str, Any]) -> str
reveal_type(lacks_scope_async)
# reveals: (required: tuple[str, ...], claims: dict[str, Any]) -> Coroutine[Any, Any, str]
