"""Roles, checked by a decorator of your own, and scopes, which the extension checks.

A role says what somebody is, and is in every token of that user. A scope says what one
token may be used for: a login may ask for fewer scopes than the role has, for a script
for example.

Run it with ``hypercorn examples/roles_and_scopes:app``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

from quart import Quart, request
from quart.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    get_jwt_claims,
    get_jwt_identity,
    jwt_required,
    verify_jwt_in_request,
)

P = ParamSpec("P")
View = Callable[P, Awaitable[ResponseReturnValue]]

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
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
# Checked for unknown names, so that no answer tells by its time which names exist.
NOBODY = User("", generate_password_hash(secrets.token_hex()), "")

SCOPES = {"editor": {"articles:read", "articles:write"}, "reader": {"articles:read"}}

articles = ["Quart in five minutes"]


async def find_user(name: str, password: str) -> User | None:
    """In a thread: the hash is slow on purpose, and other requests need not wait."""
    user = USERS.get(name, NOBODY)
    matches = await asyncio.to_thread(check_password_hash, user.password_hash, password)
    return user if matches and user is not NOBODY else None


@jwt.user_identity_loader
def identity_of(user: User) -> str:
    return user.name


@jwt.user_claims_loader
def claims_of(user: User) -> dict[str, Any]:
    return {"role": user.role}


def role_required(*roles: str) -> Callable[[View[P]], View[P]]:
    """Let nobody in but users of one of these roles."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            await verify_jwt_in_request()
            if get_jwt_claims().get("role") not in roles:
                return {"msg": f"Only for: {', '.join(roles)}"}, 403
            return await view(*args, **kwargs)

        return guarded

    return decorate


@app.post("/login")
async def login() -> ResponseReturnValue:
    """The token has the scopes that are asked for, as far as the role has them."""
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password), **others}:
            # JSON may hold half characters, which no hash takes. They do not print.
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
    return {"msg": "Send a title"}, 400


@app.get("/newsroom")
@role_required("editor", "admin")
async def newsroom() -> ResponseReturnValue:
    return {"msg": f"Good morning, {get_jwt_identity()}"}
