"""Options that change during a request, or a token's making, are those of the next one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jwt
import pytest

import quart_jwt_extended as qje
from support import SECRET, manager_of
from support.asgi import Exchange, json_request
from support.changing_options import (
    ERAS,
    Answer,
    Changing,
    answer_of_era,
    answered,
    of_both_eras,
    options_of,
    token_of_era,
)


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        *(("key", name) for name in ("ann", "expired", "forged", "revoked", "refused", "nobody")),
        *(("blacklist", name) for name in ("ann", "revoked", "refused", "nobody")),
        *(("claims", name) for name in ("ann", "refused", "nobody")),
        *(("user", name) for name in ("ann", "nobody")),
        *(("answer", name) for name in ("expired", "revoked")),
        ("view", "ann"),
    ],
)
async def test_options_that_change_during_a_request_are_those_of_the_next_one(
    stage: str, name: str
) -> None:
    changing = Changing(has_key_loader=stage == "key")
    changing.stage = stage
    assert await answered(changing.app, of_both_eras(name)) == answer_of_era("old", name)
    assert changing.stage == ""
    assert await answered(changing.app, of_both_eras(name)) == answer_of_era("new", name)


@pytest.mark.parametrize("name", ["ann", "nobody", "refused", "expired", "forged", ""])
async def test_options_that_change_while_the_body_arrives_are_those_of_the_next_request(
    name: str,
) -> None:
    app = Changing().app
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "json"]
    tokens = {f"{era}_token": token_of_era(era, name) for era in ERAS if name}
    body = json.dumps({"item": 17, **tokens}).encode()
    raw = json_request(body)
    exchange = Exchange(raw)

    async def late() -> Any:
        for _ in range(20):
            await asyncio.sleep(0)
        app.config.update(options_of("new"))
        return await exchange.receive()

    def expected(era: str) -> Answer:
        if name:
            return answer_of_era(era, name)
        reason = f'Missing X-{era} Header; Missing "{era}_token" key in json data.'
        message = f"Missing JWT in headers or json ({reason})"
        return Answer(401, {f"{era}_message": message}, era == "new")

    await app(raw.scope("/"), late, exchange.send)
    body_of_answer = json.loads(exchange.body)
    has_challenge = b"www-authenticate" in exchange.headers
    assert Answer(exchange.status, body_of_answer, has_challenge) == expected("old")
    assert await answered(app, raw) == expected("new")


@pytest.mark.parametrize("kind", ["access", "refresh"])
async def test_options_that_change_while_a_token_is_made_are_those_of_the_next_one(
    kind: str,
) -> None:
    app = Changing().app
    app.config["JWT_CLAIMS_IN_REFRESH_TOKEN"] = True
    era = "old"

    async def user_claims(user: str) -> dict[str, str]:
        app.config.update(options_of("new"))
        await asyncio.sleep(0)
        return {"name": user}

    manager_of(app).user_claims_loader(user_claims)
    create = getattr(qje, f"create_{kind}_token_async")
    async with app.app_context():
        for era in ERAS:
            claims = jwt.decode(
                await create("ann"),
                f"{SECRET} {era}",
                algorithms=["HS256"],
                issuer=f"{era} issuer",
            )
            assert claims[f"{era}_identity"] == "ann"
            assert claims[f"{era}_claims"] == {"name": "ann"}
            other = ERAS[1 - ERAS.index(era)]
            assert not any(name.startswith(other) for name in claims)


async def test_options_that_change_while_a_token_is_decoded_are_those_of_the_next_one() -> None:
    changing = Changing(has_key_loader=True)
    changing.stage = "key"
    async with changing.app.app_context():
        for era in ERAS:
            token = token_of_era(era, "ann")
            assert (await qje.decode_token_async(token))[f"{era}_identity"] == "ann"
        with pytest.raises(jwt.InvalidTokenError):
            await qje.decode_token_async(token_of_era("old", "ann"))
