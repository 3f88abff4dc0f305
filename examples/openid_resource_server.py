"""A resource server, which accepts access tokens of an OpenID provider.

Run it with ``hypercorn examples/openid_resource_server:app``. It requires two environment
variables: ``OPENID_ISSUER`` is the URL of the provider, exactly as in the ``iss`` claim of its
tokens, and ``OPENID_AUDIENCE`` is the URL of this service, as in their ``aud`` claim.
"""

from __future__ import annotations

import os

from quart import Quart
from quart.typing import ResponseReturnValue

from quart_jwt_extended import JWTManager, get_jwt_identity, get_jwt_issuer, jwt_required

ISSUER = os.environ["OPENID_ISSUER"]
AUDIENCE = os.environ["OPENID_AUDIENCE"]

app = Quart(__name__)
# Respond with 401 to an invalid token, as OAuth clients expect (RFC 6750, section 3.1).
app.config["JWT_ERROR_FORMAT"] = "problem"
jwt = JWTManager(app)
# The leeway allows for clocks that differ by a few seconds.
provider = jwt.trust_issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256", "ES256"], leeway=10)
jwt.serve_resource_metadata(app, resource=AUDIENCE, scopes=["notes:read"])


@app.before_serving
async def fetch_keys() -> None:
    """Start only if the provider is available."""
    await provider.reload()


@app.get("/health")
async def health() -> ResponseReturnValue:
    """Report the state of the keys. It does not fetch them, because anyone may call it."""
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
