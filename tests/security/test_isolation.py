"""Nothing of one token, of one key or of a refusal reaches what comes after it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart

import quart_jwt_extended as qje
from support import SECRET, access_claims, ask, bearer, hs_token, make_app, manager_of

# More keys than an app keeps prepared.
MANY_KEYS = 1100


class Secret(str):
    """A secret that a weak reference can follow."""


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("more", [{"x": {"nested": []}}, {"kid": "a"}], ids=["nested", "flat"])
async def test_header_that_a_callback_has_changed_is_as_it_was_sent(
    app: Quart, more: dict[str, Any], known: bool
) -> None:
    header = {"alg": "HS256", **more}
    seen: list[str] = []
    names: list[Any] = []

    @manager_of(app).decode_key_loader
    def find(claims: dict[str, Any], headers: dict[str, Any]) -> str:
        seen.append(repr((claims, headers)))
        if len(seen) > known:
            headers.get("x", {"nested": []})["nested"].append("changed")
            headers["added"] = claims["added"] = True
        return SECRET

    @manager_of(app).user_loader_callback_loader
    def load(identity: str) -> str:
        names.append(([*qje.get_raw_jwt()], [*qje.get_jwt_header()]))
        return identity

    for _ in range(4):
        token = hs_token(access_claims(), header=header)
        assert (await ask(app, token=token))[0] == 200
    assert seen == [repr((access_claims(), header))] * 4
    assert names == [([*access_claims(), "user_claims"], [*header])] * 4


@pytest.mark.parametrize("read", [qje.get_jwt_header, qje.get_raw_jwt_header])
async def test_header_that_a_view_has_changed_is_as_it_was_sent_the_next_time(
    app: Quart, read: Callable[[], dict[str, Any]]
) -> None:
    seen: list[dict[str, Any]] = []

    @app.get("/changing")
    @qje.jwt_required
    async def view() -> str:
        seen.append(dict(read()))
        read()["added"] = True
        seen.append(dict(read()))
        return ""

    for _ in range(2):
        assert (await ask(app, "/changing", token=access_claims()))[0] == 200
    assert seen == [{"typ": "JWT", "alg": "HS256"}] * 4


async def test_refused_token_is_current_for_its_answer_only() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager_of(app).token_in_blacklist_loader(lambda claims: True)
    seen: list[Any] = []

    @manager_of(app).revoked_token_loader
    def answer() -> Any:
        seen.append(qje.get_jwt_identity())
        return {}, 401

    @app.after_request
    async def look(response: Any) -> Any:
        seen.append((qje.get_jwt_identity(), qje.get_raw_jwt(), qje.get_raw_jwt_header()))
        return response

    assert (await ask(app, token=access_claims()))[0] == 401
    assert seen == ["alice", (None, {}, {})]


async def test_keys_that_a_loader_gave_long_ago_are_let_go(app: Quart) -> None:
    given: weakref.WeakSet[Secret] = weakref.WeakSet()

    @manager_of(app).decode_key_loader
    def find(claims: dict[str, Any], headers: dict[str, Any]) -> Secret:
        secret = Secret(f"{SECRET} {claims['identity']}")
        given.add(secret)
        return secret

    async with app.app_context():
        for number in range(MANY_KEYS):
            token = hs_token(access_claims(identity=number), secret=f"{SECRET} {number}")
            assert qje.decode_token(token)["identity"] == number
    assert 1000 < len(given) < 1050


async def test_identity_does_not_stay_in_an_outer_app_context() -> None:
    """Under Quart 0.20 to 0.22 the requests below share one ``g``."""
    app = make_app()
    async with app.app_context():
        client = app.test_client()
        headers = bearer(hs_token(access_claims()))
        assert (await (await client.get("/protected", headers=headers)).get_json())["identity"]
        assert (await (await client.get("/open")).get_json())["identity"] is None
        assert qje.get_jwt_identity() is None
