"""Refresh tokens that are replaced at each use, and tokens that are fresh for a while.

Who refreshes gets a new refresh token too, and the old one is dead. If it comes back
all the same, somebody has stolen one of the two: the login ends for both. What is
dangerous asks for a fresh token, which takes the password: by a login, or again later
by a confirmation.

Run it with ``hypercorn examples/refresh_and_fresh:app``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from datetime import timedelta
from typing import Any

from quart import Quart, request
from quart.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    decode_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_BLACKLIST_ENABLED"] = True
jwt = JWTManager(app)

FRESH_FOR = timedelta(minutes=5)

passwords = {"alice": generate_password_hash("wonderland")}
# Checked for unknown names, so that no answer tells by its time which names exist.
NO_PASSWORD = generate_password_hash(secrets.token_hex())

# The jti of the one good refresh token of each login. A real service keeps it in a
# database, and drops a login when its refresh token has expired.
logins: dict[str, str] = {}
# The user of each login, which may be one of several, each on another device.
owners: dict[str, str] = {}


async def check_password(name: str, password: str) -> bool:
    """In a thread: the hash is slow on purpose, and other requests need not wait."""
    if not password.isprintable():
        # JSON may hold half characters, which no hash takes. They do not print.
        return False
    known = passwords.get(name, NO_PASSWORD)
    matches = await asyncio.to_thread(check_password_hash, known, password)
    return matches and name in passwords


def end_login(login_id: str) -> None:
    """Refuse all tokens of a login from now on."""
    logins.pop(login_id, None)
    owners.pop(login_id, None)


@jwt.token_in_blacklist_loader
def is_revoked(claims: dict[str, Any]) -> bool:
    # Tokens from before the service had logins name none, and are refused.
    login_id = claims.get("login")
    if claims["type"] == "refresh" and logins.get(login_id) != claims["jti"]:
        # It was used before: end the login, whoever has the newer one.
        end_login(login_id)
    return login_id not in logins


def new_tokens(name: str, login_id: str, fresh: timedelta | bool) -> dict[str, str]:
    """An access token and the next refresh token of a login."""
    claims = {"login": login_id}
    refresh_token = create_refresh_token(name, additional_claims=claims)
    logins[login_id] = decode_token(refresh_token)["jti"]
    owners[login_id] = name
    access_token = create_access_token(name, fresh=fresh, additional_claims=claims)
    return {"access_token": access_token, "refresh_token": refresh_token}


@app.post("/login")
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
                return new_tokens(name, secrets.token_hex(), fresh=FRESH_FOR)
    return {"msg": "Wrong username or password"}, 401


@app.post("/refresh")
@jwt_required(refresh=True)
async def refresh() -> ResponseReturnValue:
    """Without the password, so the new access token is not fresh."""
    return new_tokens(get_jwt_identity(), get_jwt()["login"], fresh=False)


@app.post("/confirm")
@jwt_required
async def confirm() -> ResponseReturnValue:
    """A fresh access token for a user who gives the password again."""
    name = get_jwt_identity()
    match await request.get_json(silent=True):
        case {"password": str(password)} if await check_password(name, password):
            claims = {"login": get_jwt()["login"]}
            token = create_access_token(name, fresh=FRESH_FOR, additional_claims=claims)
            return {"access_token": token}
    return {"msg": "Wrong password"}, 401


@app.put("/password")
@jwt_required(fresh=True)
async def change_password() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"password": str(password)} if len(password) >= 8 and password.isprintable():
            hashed = await asyncio.to_thread(generate_password_hash, password)
            passwords[get_jwt_identity()] = hashed
            # Whoever knew the old one is out; this login goes on.
            for login_id, owner in list(owners.items()):
                if owner == get_jwt_identity() and login_id != get_jwt()["login"]:
                    end_login(login_id)
            return {"msg": "Password changed"}
    return {"msg": "A password has at least 8 characters, all printable"}, 400


@app.post("/logout")
@jwt_required
async def logout() -> ResponseReturnValue:
    """All tokens of this login end; those of other devices stay."""
    end_login(get_jwt()["login"])
    return {"msg": "Logged out"}


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": get_jwt_identity()}
