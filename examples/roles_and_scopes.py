"""Roles, checked by a decorator of the app, and scopes, checked by the extension.

A role describes the user and is in each of the user's tokens. A scope limits what a single token
may be used for: a client can request fewer scopes at login than the role allows, for example for a
script.

Run it with ``hypercorn examples/roles_and_scopes:app``. The environment variable
``JWT_SECRET_KEY`` must contain a secret of at least 32 random bytes.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from quart import Quart, request
from quart.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
    verify_jwt_in_request,
)

P = ParamSpec("P")
View = Callable[P, Awaitable[ResponseReturnValue]]

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"
jwt = JWTManager(app)


@dataclass
class User:
    name: str
    password_hash: str
    role: str


USERS = {
    "alice": User("alice", generate_password_hash("wonderland"), "editor"),
    "bob": User("bob", generate_password_hash("the-builder"), "reader"),
}
# Checked for unknown names, so that response times do not reveal which names exist.
NOBODY = User("", generate_password_hash(secrets.token_hex()), "")

SCOPES = {"editor": {"articles:read", "articles:write"}, "reader": {"articles:read"}}

articles = ["Quart in five minutes"]


async def find_user(name: str, password: str) -> User | None:
    """Return the user with this name and password."""
    user = USERS.get(name, NOBODY)
    # The hash is slow on purpose. In a thread, it does not block other requests.
    matches = await asyncio.to_thread(check_password_hash, user.password_hash, password)
    return user if matches and user is not NOBODY else None


@jwt.user_identity_loader
def identity_of(user: User) -> str:
    return user.name


@jwt.additional_claims_loader
def add_role(user: User) -> dict[str, str]:
    return {"role": user.role}


def role_required(*roles: str) -> Callable[[View[P]], View[P]]:
    """Let in only users with one of these roles."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            await verify_jwt_in_request()
            if get_jwt().get("role") not in roles:
                return {"msg": f"Requires one of these roles: {', '.join(roles)}"}, 403
            return await view(*args, **kwargs)

        return wrapper

    return decorate


@app.post("/login")
async def login() -> ResponseReturnValue:
    """Create a token with the requested scopes, as far as the role includes them."""
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password), **others}:
            # JSON may contain lone surrogates, which cannot be hashed. They are not printable.
            if password.isprintable() and (user := await find_user(name, password)):
                scopes = SCOPES[user.role]
                if "scope" in others:
                    scopes = scopes.intersection(str(others["scope"]).split())
                scope = " ".join(sorted(scopes))
                token = create_access_token(user, additional_claims={"scope": scope})
                return {"access_token": token, "scope": scope}
    return {"msg": "Wrong username or password"}, 401


@app.get("/articles")
@jwt_required(scopes="articles:read")
async def list_articles() -> ResponseReturnValue:
    return articles


@app.post("/articles")
@jwt_required(scopes=["articles:read", "articles:write"])
async def add_article() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"title": str(title)}:
            articles.append(title)
            return articles, 201
    return {"msg": "Send a JSON object with this string: title"}, 400


@app.get("/newsroom")
@role_required("editor", "admin")
async def newsroom() -> ResponseReturnValue:
    return {"msg": f"Good morning, {get_jwt_identity()}"}
