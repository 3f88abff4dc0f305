"""A resource server: it takes the access tokens of an OpenID provider, and makes none.

The keys of the provider are fetched when a token needs them, while other requests go
on, and are kept: a provider that is down for some hours stops nobody who has a token.

Run it with ``hypercorn examples/openid_resource_server:app``. Two environment variables
configure it: OPENID_ISSUER is the provider, exactly as its tokens name it in ``iss``,
OPENID_AUDIENCE is the name of this service in ``aud``. It needs the package httpx.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from typing import Any

import httpx
from jwt import PyJWK, PyJWKSet
from quart import Quart
from quart.typing import ResponseReturnValue

from quart_jwt_extended import JWTManager, get_jwt_identity, jwt_required

ISSUER = os.environ["OPENID_ISSUER"]

# Seconds that a fetch may take.
FETCH_LIMIT = 5
# Seconds that a key is good for: one that the provider withdraws is refused after that.
REFRESH_AFTER = 600
# Seconds that it is good for while the provider does not answer.
KEEP_FOR = 24 * 60 * 60
# Seconds between two fetches: anybody can make up the name of a key, which may be new.
PAUSE = 10
# Bytes of an answer of the provider.
SIZE_LIMIT = 256 * 1024

app = Quart(__name__)
app.config["JWT_IDENTITY_CLAIM"] = "sub"
# Not HS256: the provider would have to share its secret.
app.config["JWT_ALGORITHM"] = "RS256"
app.config["JWT_DECODE_ALGORITHMS"] = ["RS256", "ES256"]
app.config["JWT_DECODE_ISSUER"] = ISSUER
# Without it, a token that the provider made for another service would be good here.
app.config["JWT_DECODE_AUDIENCE"] = os.environ["OPENID_AUDIENCE"]
# The clock of the provider is not ours.
app.config["JWT_DECODE_LEEWAY"] = 10
# Answers 401 to an invalid token, as clients of OAuth expect (RFC 6750, section 3.1).
app.config["JWT_ERROR_FORMAT"] = "problem"
jwt = JWTManager(app)


class ProviderUnavailable(Exception):
    """A key is not known, and the provider cannot be asked for it."""


class ProviderKeys:
    """The public keys of the provider by their ``kid``."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient()
        self._keys: dict[str, PyJWK] = {}
        # By the monotonic clock: when keys came in, and when they were last asked for.
        self._fetched = self._tried = -math.inf
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> PyJWK | None:
        """The key of this name, None if the provider has none.

        :raises ProviderUnavailable: that is not known now.
        """
        if kid not in self._known() or self._age() >= REFRESH_AFTER:
            fetch = self._fetch()
            # Who has a known key does not wait for a provider that is away.
            if kid not in self._known() or not self._failing:
                # A request that is cancelled must not cancel the fetch of the others.
                await asyncio.shield(fetch)
        key = self._known().get(kid)
        if key is None and self._failing:
            raise ProviderUnavailable
        return key

    def _age(self) -> float:
        return time.monotonic() - self._fetched

    def _known(self) -> dict[str, PyJWK]:
        """The keys, unless they are too old to be trusted."""
        return self._keys if self._age() < KEEP_FOR else {}

    def _fetch(self) -> asyncio.Task[None]:
        """The fetch that is under way, or a new one, or that of a moment ago."""
        now = time.monotonic()
        if self._task is None or (self._task.done() and now - self._tried >= PAUSE):
            self._tried = now
            self._task = asyncio.create_task(self._fetch_now())
        return self._task

    async def _fetch_now(self) -> None:
        try:
            self._keys = await asyncio.wait_for(self._download(), FETCH_LIMIT)
            self._fetched = time.monotonic()
            self._failing = False
        except Exception as error:
            # Whatever is wrong with the provider, the keys that are known stay.
            self._failing = True
            app.logger.error("Keys cannot be fetched from %s: %r", ISSUER, error)

    async def _download(self) -> dict[str, PyJWK]:
        url = ISSUER.rstrip("/") + "/.well-known/openid-configuration"
        configuration = await self._download_json(url)
        if configuration["issuer"] != ISSUER:
            # OpenID Connect Discovery 1.0, section 4.3.
            raise ValueError(f"{url} belongs to another issuer")
        published = await self._download_json(configuration["jwks_uri"])
        return {
            key.key_id: key
            for key in PyJWKSet.from_dict(published).keys
            if key.key_id and key.public_key_use in (None, "sig")
        }

    async def _download_json(self, url: str) -> Any:
        async with self._client.stream("GET", url) as response:
            response.raise_for_status()
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > SIZE_LIMIT:
                    raise ValueError(f"{url} is longer than {SIZE_LIMIT} bytes")
        return json.loads(body)

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
        await self._client.aclose()


provider_keys = ProviderKeys()


@jwt.decode_key_loader
async def key_of_token(claims: dict[str, Any], header: dict[str, Any]) -> PyJWK | None:
    """The key that the token names; None, for an unknown one, refuses the token."""
    kid = header.get("kid")
    return await provider_keys.get(kid) if kid else None


@app.errorhandler(ProviderUnavailable)
async def provider_is_away(error: ProviderUnavailable) -> ResponseReturnValue:
    """The answer where it is not known whether a token is good; no view runs then."""
    detail = "Tokens cannot be checked now, try again later"
    problem = {"title": "Provider unavailable", "status": 503, "detail": detail}
    headers = {"Retry-After": str(PAUSE), "Content-Type": "application/problem+json"}
    return problem, 503, headers


@app.after_serving
async def close() -> None:
    await provider_keys.close()


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"subject": get_jwt_identity()}


@app.get("/notes")
@jwt_required(scopes="notes:read")
async def notes() -> ResponseReturnValue:
    return {"notes": [f"A note of {get_jwt_identity()}"]}
