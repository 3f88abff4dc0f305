"""The manager and its callbacks. The application factory binds the manager to an app."""

from __future__ import annotations

from typing import Any

from quart_jwt_extended import JWTManager

from .users import USERS, User

jwt = JWTManager()


@jwt.user_lookup_loader
def load_user(_header: dict[str, Any], claims: dict[str, Any]) -> User | None:
    return USERS.get(claims["sub"])


@jwt.additional_claims_loader
def add_scope(name: str) -> dict[str, str]:
    return {"scope": "admin"} if USERS[name].is_admin else {}
