"""An application whose options change under way, in all of its parts, from one era to another.

No two options fit together unless they are of one era, so that an answer tells what it was made
with.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

from quart import Quart

import quart_jwt_extended as qje
from support import FAR_FUTURE, SECRET, access_claims, hs_token, make_app, manager_of
from support.asgi import Raw, exchanged


def options_of(era: str) -> dict[str, Any]:
    """Options of which no two fit together unless they are of one era."""
    return {
        "JWT_SECRET_KEY": f"{SECRET} {era}",
        "JWT_HEADER_NAME": f"X-{era}",
        "JWT_JSON_KEY": f"{era}_token",
        "JWT_IDENTITY_CLAIM": f"{era}_identity",
        "JWT_USER_CLAIMS": f"{era}_claims",
        "JWT_DECODE_ISSUER": f"{era} issuer",
        "JWT_ENCODE_ISSUER": f"{era} issuer",
        "JWT_ERROR_MESSAGE_KEY": f"{era}_message",
        "JWT_WWW_AUTHENTICATE": era == "new",
    }


ERAS = ("old", "new")


def token_of_era(era: str, name: str) -> str:
    """A token that only options of its era take for what it is."""
    expiry = 1 if name == "expired" else FAR_FUTURE
    claims = access_claims(exp=expiry, identity=..., iss=f"{era} issuer")
    for other in ERAS:
        claims[f"{other}_identity"] = name if other == era else "a mixture"
        claims[f"{other}_claims"] = {"name": name if other == era else "a mixture"}
    return hs_token(claims, secret=f"{SECRET} {'forger' if name == 'forged' else era}")


def of_both_eras(name: str) -> Raw:
    """A request with two tokens, of which each era sees its own."""
    headers = [
        (b"x-" + era.encode(), b"Bearer " + token_of_era(era, name).encode()) for era in ERAS
    ]
    return Raw(headers=headers)


class Answer(NamedTuple):
    status: int | None
    body: Any
    has_challenge: bool


def answer_of_era(era: str, name: str) -> Answer:
    """What a request gets whose every part is of one era."""
    message = f"{era}_message"
    match name:
        case "expired" | "revoked":
            return Answer(401, {name: name, "claims": {"name": name}}, era == "new")
        case "nobody":
            return Answer(401, {message: "Error loading the user nobody"}, era == "new")
        case "refused":
            return Answer(400, {message: "User claims verification failed"}, False)
        case "forged":
            return Answer(422, {message: "Signature verification failed"}, False)
    return Answer(200, [era, name, f"user {name}", {"name": name}], False)


class Changing:
    """An app whose callbacks let time pass, or change the options themselves."""

    def __init__(self, *, has_key_loader: bool = False) -> None:
        self.app = make_app(**options_of("old"), JWT_BLACKLIST_ENABLED=True)
        # In which stage the options change, once.
        self.stage = ""
        self.register()
        if has_key_loader:
            self.register_key_loader()

    async def pass_time(self, stage: str) -> None:
        await asyncio.sleep(0)
        if stage == self.stage:
            self.stage = ""
            self.app.config.update(options_of("new"))
            # A request that comes meanwhile makes the new snapshot.
            assert await answered(self.app, of_both_eras("meanwhile")) == answer_of_era(
                "new", "meanwhile"
            )
        await asyncio.sleep(0)

    def register_key_loader(self) -> None:
        @manager_of(self.app).decode_key_loader
        async def key_of(claims: dict[str, Any], header: dict[str, Any]) -> str:
            key: str = self.app.config["JWT_SECRET_KEY"]
            await self.pass_time("key")
            return key

    def register(self) -> None:
        app, manager = self.app, manager_of(self.app)

        @manager.token_in_blacklist_loader
        async def is_revoked(claims: dict[str, Any]) -> bool:
            await self.pass_time("blacklist")
            return "revoked" in claims.values()

        @manager.claims_verification_loader
        async def are_accepted(user_claims: dict[str, Any]) -> bool:
            await self.pass_time("claims")
            return user_claims["name"] not in ("refused", "a mixture")

        @manager.user_loader_callback_loader
        async def load(identity: str) -> str | None:
            await self.pass_time("user")
            return None if identity == "nobody" else f"user {identity}"

        async def answer() -> Any:
            await self.pass_time("answer")
            name = qje.get_jwt_identity()
            return {name: name, "claims": qje.get_jwt_claims()}, 401

        manager.revoked_token_loader(answer)
        manager.expired_token_loader(lambda claims: answer())

        @app.route("/", methods=["GET", "POST"])
        @qje.jwt_required
        async def view() -> Any:
            await self.pass_time("view")
            era = qje.get_jwt()["iss"].removesuffix(" issuer")
            return [era, qje.get_jwt_identity(), qje.get_current_user(), qje.get_jwt_claims()]


async def answered(app: Quart, raw: Raw) -> Answer:
    exchange = await exchanged(app, raw, "/")
    body = json.loads(exchange.body)
    return Answer(exchange.status, body, b"www-authenticate" in exchange.headers)
