"""Tokens in the query string and in JSON bodies, for clients that cannot send a header.

A download link contains its token in the query string, and the webhook of a partner in its JSON
body. All other requests send the token in the Authorization header. Each token has a single scope,
so that a leaked link or a partner's token is rejected by all other views.

Run it with ``hypercorn examples/json_and_query:app``. The environment variable ``JWT_SECRET_KEY``
must contain a secret of at least 32 random bytes.
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
app.config["JWT_IDENTITY_CLAIM"] = "sub"
jwt = JWTManager(app)

REPORTS = {"july": "date,paid\n2026-07-01,12\n", "august": "date,paid\n2026-08-02,7\n"}
payments: list[dict[str, str]] = []
# The jti of the valid token of each partner. A real service stores it in a database.
partners: dict[str, str] = {}


@jwt.token_in_blocklist_loader
def is_revoked(_header: dict[str, Any], claims: dict[str, Any]) -> bool:
    """Revoke all tokens of a partner but the newest, and all of them if the partner is removed."""
    if claims.get("scope") != "webhook":
        return False
    return partners.get(claims["sub"]) != claims["jti"]


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
    """Create a link that is valid for a minute: URLs end up in logs and histories."""
    if month not in REPORTS:
        return {"msg": "Report not found"}, 404
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
        # Caches do not store the report, and browsers do not send its URL to other pages.
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return REPORTS[month], headers


@app.post("/partners/<name>")
@jwt_required(scopes="office")
async def add_partner(name: str) -> ResponseReturnValue:
    """Create a token that the partner sends as "access_token" in the body of its webhooks.

    The token is valid for 90 days, so it can be replaced and revoked.
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
        return {"msg": "Partner not found"}, 404
    return {"msg": f"Revoked the token of {name}"}


@app.post("/webhooks/paid")
@jwt_required(locations="json", scopes="webhook")
async def paid() -> ResponseReturnValue:
    match await request.get_json():
        case {"order": str(order)}:
            payments.append({"order": order, "from": get_jwt_identity()})
            return {"msg": "Thank you"}
    return {"msg": "Send the order number"}, 400


@app.get("/payments")
@jwt_required(scopes="office")
async def list_payments() -> ResponseReturnValue:
    return payments
