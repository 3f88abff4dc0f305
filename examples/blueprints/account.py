"""For everybody who is logged in: no view needs a decorator."""

from __future__ import annotations

import asyncio

from quart import Blueprint, request
from quart.typing import ResponseReturnValue
from werkzeug.security import generate_password_hash

from quart_jwt_extended import current_user, jwt_required, protect

blueprint = Blueprint("account", __name__, url_prefix="/account")
protect(blueprint)


@blueprint.get("/")
async def show() -> ResponseReturnValue:
    return {"username": current_user.name, "is_admin": current_user.is_admin}


@blueprint.put("/password")
@jwt_required(fresh=True)
async def change_password() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        # JSON may hold half characters, which no hash takes. They do not print.
        case {"password": str(password)} if len(password) >= 8 and password.isprintable():
            hashed = await asyncio.to_thread(generate_password_hash, password)
            # Tokens of other devices stay good: docs/revoking.md shows how to end them.
            current_user.password_hash = hashed
            return {"msg": "Password changed"}
    return {"msg": "A password has at least 8 characters, all printable"}, 400
