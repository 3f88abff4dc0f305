"""Views for logged-in users. ``protect`` replaces decorators on the views."""

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
        # JSON may contain lone surrogates, which cannot be hashed. They are not printable.
        case {"password": str(password)} if len(password) >= 8 and password.isprintable():
            password_hash = await asyncio.to_thread(generate_password_hash, password)
            # Tokens of other devices stay valid. docs/revoking.md shows how to revoke them.
            current_user.password_hash = password_hash
            return {"msg": "Password changed"}
    return {"msg": "The password must have at least 8 printable characters"}, 400
