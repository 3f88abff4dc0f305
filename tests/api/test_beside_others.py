"""Beside other extensions and tools of an application: what the pages on them promise."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import freezegun
import jwt
import pytest
import quart_rate_limiter
from quart import Blueprint
from quart.cli import with_appcontext

import quart_jwt_extended as qje
from support import SECRET, access_claims, ask, hs_token, make_app

GOOD = hs_token(access_claims())


async def test_handler_for_every_exception_leaves_ours_alone_unless_a_blueprint_has_it() -> None:
    """Quart takes the handlers of the blueprint before those of the app, however broad they are."""
    app = make_app()
    own, of_app = Blueprint("own", "own"), Blueprint("of_app", "of_app")

    @own.errorhandler(Exception)
    @of_app.app_errorhandler(Exception)
    async def answer(error: Exception) -> Any:
        return {"error": type(error).__name__}, 500

    for blueprint in (own, of_app):

        @blueprint.get(f"/{blueprint.name}")
        @qje.jwt_required
        async def view() -> str:
            raise ValueError

        app.register_blueprint(blueprint)
    assert await ask(app, "/own") == (500, {"error": "NoAuthorizationError"})
    assert (await ask(app, "/of_app"))[0] == 401
    for path in ("/own", "/of_app"):
        assert await ask(app, path, GOOD) == (500, {"error": "ValueError"})


async def test_rate_limiter_counts_by_the_identity_that_a_guard_has_verified() -> None:
    app = make_app()
    qje.protect(app, exempt=["open", "optional"])

    async def by_identity() -> str:
        return str(qje.get_jwt_identity())

    quart_rate_limiter.RateLimiter(app, key_function=by_identity)

    @app.get("/limited")
    @quart_rate_limiter.rate_limit(1, datetime.timedelta(days=1))
    async def limited() -> str:
        return ""

    bob = hs_token(access_claims(identity="bob"))
    answers = [(await ask(app, "/limited", token))[0] for token in (GOOD, GOOD, bob)]
    assert answers == [200, 429, 200]
    assert (await ask(app, "/limited"))[0] == 401


def test_command_with_an_app_context_makes_tokens() -> None:
    app = make_app()

    @app.cli.command("token")
    @with_appcontext
    def make_token() -> None:
        print(qje.create_access_token("robot"))

    result = app.test_cli_runner().invoke(args=["token"])
    assert result.exit_code == 0, result.output
    assert jwt.decode(result.output.strip(), SECRET, ["HS256"])["identity"] == "robot"


@pytest.fixture
def freezes_threads() -> Iterator[None]:
    """freezegun shows the real time to whatever the module threading calls, such as plain views."""
    ignored = freezegun.config.settings.default_ignore_list
    freezegun.configure(default_ignore_list=[name for name in ignored if name != "threading"])
    yield
    freezegun.configure(default_ignore_list=ignored)


@pytest.mark.usefixtures("freezes_threads")
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_frozen_time_holds_in_views_of_both_kinds(kind: str) -> None:
    app = make_app()

    def plain() -> dict[str, Any]:
        return qje.decode_token(qje.create_access_token("alice"))

    async def coroutine() -> dict[str, Any]:
        return plain()

    app.add_url_rule("/now", "now", qje.jwt_required(plain if kind == "plain" else coroutine))
    token = hs_token(access_claims(exp=1_900_000_100))
    for moment, expected in ((1_900_000_000, 200), (1_900_000_200, 401)):
        frozen = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc)
        with freezegun.freeze_time(frozen, real_asyncio=True):
            status, body = await ask(app, "/now", token)
        assert status == expected
        if status == 200:
            assert (body["iat"], body["exp"]) == (moment, moment + 900)


async def test_token_of_a_message_is_held_to_the_whole_check() -> None:
    """As a handler of Socket.IO gets it, which belongs to no request of Quart."""
    app = make_app()
    app.extensions["quart-jwt-extended"].token_in_blocklist_loader(
        lambda header, claims: claims["jti"] == "revoked"
    )
    revoked = hs_token(access_claims(jti="revoked"))
    async with app.app_context():
        assert (await qje.verify_token(GOOD))["identity"] == "alice"
        with pytest.raises(qje.RevokedTokenError):
            await qje.verify_token(revoked)
        # What decode_token does not look at.
        assert qje.decode_token(revoked)["jti"] == "revoked"
