"""Views for admins. ``protect`` requires the scope in all of them, also in later ones.

A decorator on a view adds to these rules: ``@jwt_required(fresh=True)`` would require a fresh token
with the scope.
"""

from __future__ import annotations

from quart import Blueprint
from quart.typing import ResponseReturnValue

from quart_jwt_extended import current_user, protect

from .users import USERS

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
protect(blueprint, scopes="admin")


@blueprint.get("/users")
async def list_users() -> ResponseReturnValue:
    return list(USERS)


@blueprint.delete("/users/<name>")
async def delete_user(name: str) -> ResponseReturnValue:
    if name == current_user.name:
        return {"msg": "You cannot delete yourself"}, 409
    if USERS.pop(name, None) is None:
        return {"msg": "User not found"}, 404
    return {"msg": f"Deleted {name}"}
