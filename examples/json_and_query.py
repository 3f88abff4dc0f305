"""Tokens in the query string and in JSON bodies, where a header cannot be sent.

A link to a download carries its token in the query string, and a webhook of a partner
in its JSON body. Everything else takes the header. Each token has one scope, so that a
link that leaks, or a partner, opens no other view.

Run it with ``hypercorn examples/json_and_query:app``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from quart import Quart, request, url_for
from quart.typing import ResponseReturnValue

from passwords import check_password
from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    decode_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
jwt = JWTManager(app)

REPORTS = {"july": "date,paid\n2026-07-01,12\n", "august": "date,paid\n2026-08-02,7\n"}
payments: list[dict[str, str]] = []
# The jti of the one good token of each partner. A real service keeps it in a database.
partners: dict[str, str] = {}


@jwt.token_in_blocklist_loader
def is_revoked(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    """Of a partner, the newest token only is good, and none after the partner has left."""
    if claims.get("scope") != "webhook":
        return False
    return partners.get(claims["identity"]) != claims["jti"]


@app.post("/login")
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
                token = create_access_token(name, additional_claims={"scope": "office"})
                return {"access_token": token}
    return {"msg": "Wrong username or password"}, 401


@app.post("/reports/<month>/link")
@jwt_required(scopes="office")
async def link_to_report(month: str) -> ResponseReturnValue:
    """URLs end up in logs and histories: this token lasts a minute, for one report."""
    if month not in REPORTS:
        return {"msg": "No such report"}, 404
    token = create_access_token(
        get_jwt_identity(),
        expires_delta=timedelta(minutes=1),
        additional_claims={"scope": "download", "report": month},
    )
    return {"url": url_for("download", jwt=token, _external=True)}


@app.get("/download")
@jwt_required(locations="query_string", scopes="download")
async def download() -> ResponseReturnValue:
    month = get_jwt()["report"]
    headers = {
        "Content-Type": "text/csv",
        "Content-Disposition": f"attachment; filename={month}.csv",
        # No cache keeps it, and no page that follows is told the URL.
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return REPORTS[month], headers


@app.post("/partners/<name>")
@jwt_required(scopes="office")
async def add_partner(name: str) -> ResponseReturnValue:
    """A token for webhooks; the partner sends it as "access_token" in their bodies.

    It lasts long, so it can be replaced and withdrawn.
    """
    token = create_access_token(
        name,
        expires_delta=timedelta(days=90),
        additional_claims={"scope": "webhook"},
    )
    partners[name] = decode_token(token)["jti"]
    return {"url": url_for("paid", _external=True), "access_token": token}


@app.delete("/partners/<name>")
@jwt_required(scopes="office")
async def remove_partner(name: str) -> ResponseReturnValue:
    if partners.pop(name, None) is None:
        return {"msg": "No such partner"}, 404
    return {"msg": f"The token of {name} is refused from now on"}


@app.post("/webhooks/paid")
@jwt_required(locations="json", scopes="webhook")
async def paid() -> ResponseReturnValue:
    match await request.get_json():
        case {"order": str(order)}:
            payments.append({"order": order, "from": get_jwt_identity()})
            return {"msg": "Thank you"}
    return {"msg": "Send the number of the order"}, 400


@app.get("/payments")
@jwt_required(scopes="office")
async def list_payments() -> ResponseReturnValue:
    return payments
