"""Login and refresh, in a protected blueprint with one open view."""

from __future__ import annotations

from quart import Blueprint, request
from quart.typing import ResponseReturnValue

from quart_jwt_extended import (
    create_access_token,
    create_refresh_token,
    get_jwt_identity,
    jwt_exempt,
    jwt_required,
    protect,
)

from .users import check_password

blueprint = Blueprint("auth", __name__, url_prefix="/auth")
protect(blueprint)


@blueprint.post("/login")
@jwt_exempt
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
                return {
                    "access_token": create_access_token(name, fresh=True),
                    "refresh_token": create_refresh_token(name),
                }
    return {"msg": "Wrong username or password"}, 401


@blueprint.post("/refresh")
@jwt_required(refresh=True)
async def refresh() -> ResponseReturnValue:
    """Create a new access token. The decorator requires a refresh token instead."""
    return {"access_token": create_access_token(get_jwt_identity())}
