"""Many requests at once: every one has its own identity, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

from quart import Quart
from support import SECRET, access_claims, bearer, hs_token, make_app

import quart_jwt_extended as qje


def waiting_app(seed: int) -> Quart:
    """An app whose callbacks and view give way to other requests at random."""
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]
    chance = random.Random(seed)

    async def give_way() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    @manager.token_in_blacklist_loader
    async def is_revoked(claims: dict[str, Any]) -> bool:
        await give_way()
        return claims["identity"] == "revoked"

    @manager.user_loader_callback_loader
    async def load(identity: str) -> Any:
        before = qje.get_jwt_identity()
        await give_way()
        return [before, qje.get_jwt_identity(), identity]

    @app.get("/whoami")
    @qje.jwt_required
    async def whoami() -> Any:
        await give_way()
        return [qje.get_jwt_identity(), *qje.get_current_user()]

    @app.get("/whoami/sync")
    @qje.jwt_required
    def whoami_sync() -> Any:
        return [qje.get_jwt_identity(), *qje.get_current_user()]

    return app


async def who(app: Quart, path: str, identity: str) -> Any:
    headers = bearer(hs_token(access_claims(identity=identity)))
    response = await app.test_client().get(path, headers=headers)
    return await response.get_json()


async def test_five_hundred_requests_keep_their_identities() -> None:
    app = waiting_app(1)
    names = [f"user {number}" for number in range(500)]
    answers = await asyncio.gather(
        *(
            who(app, "/whoami/sync" if number % 10 == 0 else "/whoami", name)
            for number, name in enumerate(names)
        )
    )
    assert answers == [[name] * 4 for name in names]


async def test_cancelled_requests_leave_the_others_sound() -> None:
    app = waiting_app(2)
    chance = random.Random(3)
    tasks = [asyncio.create_task(who(app, "/whoami", f"user {n}")) for n in range(200)]
    doomed = {n for n in range(200) if chance.random() < 0.3}
    for number in doomed:
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        tasks[number].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for number, answer in enumerate(answers):
        if number not in doomed:
            assert answer == [f"user {number}"] * 4
    assert any(isinstance(answers[number], asyncio.CancelledError) for number in doomed)
    assert await who(app, "/whoami", "after") == ["after"] * 4


async def test_identity_does_not_stay_in_an_outer_app_context() -> None:
    """Under Quart 0.20 to 0.22 the requests below share one ``g``."""
    app = make_app()
    async with app.app_context():
        client = app.test_client()
        headers = bearer(hs_token(access_claims()))
        assert (await (await client.get("/protected", headers=headers)).get_json())["identity"]
        assert (await (await client.get("/open")).get_json())["identity"] is None
        assert qje.get_jwt_identity() is None


def test_threads_with_a_loop_each_share_a_manager() -> None:
    app = waiting_app(4)
    wrong: list[Any] = []

    async def many(thread: int) -> None:
        for number in range(50):
            name = f"user {thread} {number}"
            async with app.app_context():
                token = qje.create_access_token(name)
                # A changed option makes every thread build a new snapshot meanwhile.
                app.config["JWT_DECODE_LEEWAY"] = number
            response = await app.test_client().get("/whoami", headers=bearer(token))
            answer = await response.get_json()
            if answer != [name] * 4:
                wrong.append(answer)

    threads = [threading.Thread(target=lambda n=n: asyncio.run(many(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert app.config["JWT_SECRET_KEY"] == SECRET
