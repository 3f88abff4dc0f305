"""The manager, which is bound to an app by the factory, and its callbacks."""

from __future__ import annotations

from quart_jwt_extended import JWTManager

from .users import USERS, User

jwt = JWTManager()


@jwt.user_loader_callback_loader
def load_user(name: str) -> User | None:
    return USERS.get(name)


@jwt.additional_claims_loader
def add_scope(name: str) -> dict[str, str]:
    return {"scope": "admin"} if USERS[name].is_admin else {}
