"""A resource server: it takes the access tokens of an OpenID provider, and makes none.

Run it with ``hypercorn examples/openid_resource_server:app``. Environment variables
configure it: OPENID_ISSUER is the provider, exactly as its tokens name it in ``iss``;
OPENID_AUDIENCE is the URL of this service, which its tokens have in ``aud``.
"""

from __future__ import annotations

import os

from quart import Quart
from quart.typing import ResponseReturnValue

from quart_jwt_extended import JWTManager, get_jwt_identity, get_jwt_issuer, jwt_required

ISSUER = os.environ["OPENID_ISSUER"]
AUDIENCE = os.environ["OPENID_AUDIENCE"]

app = Quart(__name__)
# Answers 401 to an invalid token, as clients of OAuth expect (RFC 6750, section 3.1).
app.config["JWT_ERROR_FORMAT"] = "problem"
jwt = JWTManager(app)
# The clock of the provider is not ours.
provider = jwt.trust_issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256", "ES256"], leeway=10)
jwt.serve_resource_metadata(app, resource=AUDIENCE, scopes=["notes:read"])


@app.before_serving
async def fetch_keys() -> None:
    """Without this the service starts whether or not the provider answers."""
    await provider.reload()


@app.get("/health")
async def health() -> ResponseReturnValue:
    """What is known. It fetches nothing, as everybody may call it, as often as they like."""
    return {
        "is_fresh": provider.is_fresh,
        "key_ids": provider.key_ids,
        "last_error": provider.last_error,
    }


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"issuer": get_jwt_issuer(), "subject": get_jwt_identity()}


@app.get("/notes")
@jwt_required(scopes="notes:read")
async def notes() -> ResponseReturnValue:
    return {"notes": [f"A note of {get_jwt_identity()}"]}
