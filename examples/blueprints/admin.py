"""For admins: every view asks for their scope, those that are added later too.

A view with a decorator of its own has to name it again, since the decorator counts in
place of protect: ``@jwt_required(fresh=True, scopes="admin")``.
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
        return {"msg": "Somebody else must delete you"}, 409
    if USERS.pop(name, None) is None:
        return {"msg": "No such user"}, 404
    return {"msg": f"Deleted {name}"}
