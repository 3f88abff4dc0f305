"""When and how the keys of a trusted issuer are fetched, and what serves meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from quart import Quart

import quart_jwt_extended as qje
from support import FAR_FUTURE, ask, b64url, bearer, json_segment, make_app, manager_of
from support.openid_provider import CONFIGURATION, KEYS, SERVER_METADATA, Clock, Provider

AUDIENCE = "https://api.example.com"
SUBJECT = "248289761001"
FETCH = [CONFIGURATION, KEYS]

# The least and the most that the rules name, in seconds.
PAUSE = 30
FRESH_FOR = 600
FETCH_TIMEOUT = 5
DAY = 86400
SIZE_LIMIT = 256 * 1024

# Seconds that a test, on a slow machine, may take between two looks at the clock.
SLACK = 5

# Seconds after which a test that waits has failed.
WAIT_LIMIT = 20

UNKNOWN_KEY = (422, {"msg": "The key ID is not one of the keys of the issuer"})
UNAVAILABLE = (503, {"msg": "Token issuer unavailable"})


def view(name: str = "protected") -> tuple[int, dict[str, Any]]:
    return (200, {"view": name, "identity": SUBJECT, "user_claims": {}})


WELCOME = view()


def trust(app: Quart, provider: Provider, **options: Any) -> qje.TrustedIssuer:
    options = {"audience": AUDIENCE, "algorithms": ["ES256", "RS256"], **options}
    return manager_of(app).trust_issuer(provider.issuer, **options)


@pytest.fixture
def issuer(app: Quart, provider: Provider) -> qje.TrustedIssuer:
    return trust(app, provider)


def token_of(provider: Provider, **changes: Any) -> str:
    return provider.token(AUDIENCE, **{"exp": FAR_FUTURE, **changes})


def unknown_token(provider: Provider, kid: str = "made up") -> str:
    """A token that names a key that nobody has, with a signature by nobody."""
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": SUBJECT, "exp": FAR_FUTURE}
    header = {"alg": "ES256", "kid": kid}
    return f"{json_segment(header)}.{json_segment(claims)}.{b64url(bytes(64))}"


async def eventually(happened: Callable[[], bool]) -> None:
    """Wait for what another thread or task does; the clock of the test may be moved meanwhile."""
    for _ in range(WAIT_LIMIT * 200):
        if happened():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen in time")


async def settled(provider: Provider, issuer: qje.TrustedIssuer, fetches: int) -> None:
    """Wait until so many fetches have come to the provider, and the last one is over."""
    await eventually(lambda: provider.fetches() == fetches)
    await no_threads()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "quart-jwt-extended"]


async def no_threads() -> None:
    await eventually(lambda: not threads())
    # What the last one has to tell reaches the loop, and the tasks that wait for it.
    for _ in range(10):
        await asyncio.sleep(0)


# --- How long keys are fresh ----------------------------------------------------------------------


async def test_keys_are_fetched_when_a_token_first_needs_them(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    assert (issuer.is_fresh, issuer.key_ids, issuer.last_error) == (False, (), None)
    assert (await ask(app, "/open"))[0] == 200
    assert provider.requests == []
    for _ in range(100):
        assert await ask(app, token=token_of(provider)) == WELCOME
    assert provider.requests == FETCH
    assert (issuer.is_fresh, issuer.key_ids, issuer.last_error) == (True, ("key-1",), None)


LIFETIMES = [
    (None, FRESH_FOR),
    ("max-age=120", 120),
    ("public, max-age=3600, must-revalidate", 3600),
    ("public,max-age=3600", 3600),
    ("MAX-AGE=120", 120),
    ('max-age="120"', 120),
    ("max-age = 120", 120),
    ("max-age=60", 60),
    # The floor.
    ("max-age=59", 60),
    ("max-age=0", 60),
    ("max-age=1, no-cache", 60),
    ("max-age=000000000000000120", 60),
    # The cap of a day.
    ("max-age=86400", DAY),
    ("max-age=86401", DAY),
    ("max-age=999999999", DAY),
    ("max-age=99999999999999999999", DAY),
    # Without a max-age, or none that can be read.
    ("", FRESH_FOR),
    ("no-store", FRESH_FOR),
    ("s-maxage=120", FRESH_FOR),
    ("x-max-age=120", FRESH_FOR),
    ("max-age", FRESH_FOR),
    ("max-age=", FRESH_FOR),
    ("max-age=-120", FRESH_FOR),
    ("max-age=soon", FRESH_FOR),
    ("max-age=\u00b2\u00b2\u00b2", FRESH_FOR),
    ("max-age: 120", FRESH_FOR),
]


@pytest.mark.parametrize(("cache_control", "lifetime"), LIFETIMES, ids=repr)
async def test_keys_are_fresh_for_as_long_as_the_answer_says_within_bounds(
    clock: Clock,
    provider: Provider,
    issuer: qje.TrustedIssuer,
    cache_control: str | None,
    lifetime: float,
) -> None:
    provider.publish(KEYS, provider.key_set(), headers={"Cache-Control": cache_control})
    await issuer.reload()
    assert issuer.is_fresh
    clock.move(lifetime - SLACK)
    assert issuer.is_fresh
    clock.move(SLACK)
    assert not issuer.is_fresh
    assert issuer.key_ids == (("key-1",) if lifetime < DAY else ())
    assert provider.requests == FETCH


@pytest.mark.parametrize("lifetime", [60, FRESH_FOR, DAY])
async def test_keys_are_fetched_ahead_while_the_request_is_answered(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer, lifetime: int
) -> None:
    provider.publish(KEYS, provider.key_set(), headers={"Cache-Control": f"max-age={lifetime}"})
    known = token_of(provider)
    assert await ask(app, token=known) == WELCOME
    clock.move(0.8 * lifetime - SLACK)
    assert await ask(app, token=known) == WELCOME
    await no_threads()
    assert provider.requests == FETCH
    clock.move(SLACK)
    with provider.holding():
        # The provider answers nothing before the block ends.
        for _ in range(3):
            assert await ask(app, token=known) == WELCOME
            assert issuer.is_fresh
        await eventually(lambda: provider.fetches() == 2)
    await settled(provider, issuer, 2)
    assert provider.requests == [*FETCH, KEYS]
    clock.move(0.8 * lifetime - SLACK)
    assert issuer.is_fresh
    assert await ask(app, token=known) == WELCOME
    assert provider.fetches() == 2


async def test_known_key_never_waits_for_the_network(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    known = token_of(provider)
    await issuer.reload()
    clock.move(FRESH_FOR + 1)
    with provider.holding():
        begin = time.perf_counter()
        answers = [await ask(app, token=known) for _ in range(20)]
        answers += await asyncio.gather(*(ask(app, token=known) for _ in range(20)))
        seconds = time.perf_counter() - begin
        await eventually(lambda: provider.fetches() == 2)
        assert not issuer.is_fresh
        assert len(threads()) == 1
    assert answers == [WELCOME] * 40
    # Far less than what one of them would have waited.
    assert seconds < FETCH_TIMEOUT / 2
    await settled(provider, issuer, 2)
    assert issuer.is_fresh


# --- How often keys are fetched -------------------------------------------------------------------


async def test_unknown_key_is_fetched_30_seconds_after_the_last_fetch(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    assert await ask(app, token=token_of(provider)) == WELCOME
    provider.rotate()
    new = token_of(provider)
    assert await ask(app, token=new) == UNKNOWN_KEY
    clock.move(PAUSE - SLACK)
    assert await ask(app, token=new) == UNKNOWN_KEY
    assert provider.fetches() == 1
    clock.move(SLACK)
    assert await ask(app, token=new) == WELCOME
    assert provider.fetches() == 2
    assert issuer.key_ids == ("key-1", "key-2")


async def test_issuer_that_is_down_is_tried_every_30_seconds(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    provider.publish(KEYS, b"", status=500)
    token = token_of(provider)
    for attempt in range(1, 4):
        assert await ask(app, token=token) == UNAVAILABLE
        assert provider.fetches() == attempt
        clock.move(PAUSE - SLACK)
        assert await ask(app, token=token) == UNAVAILABLE
        assert provider.fetches() == attempt
        clock.move(SLACK)
    del provider.answers[KEYS]
    assert await ask(app, token=token) == WELCOME


async def test_fetching_ahead_is_tried_every_30_seconds_while_the_issuer_is_down(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    known = token_of(provider)
    await issuer.reload()
    provider.publish(KEYS, b"", status=500)
    clock.move(0.8 * FRESH_FOR)
    for attempt in range(2, 5):
        for _ in range(10):
            assert await ask(app, token=known) == WELCOME
            await settled(provider, issuer, attempt)
        clock.move(PAUSE - SLACK)
        assert await ask(app, token=known) == WELCOME
        await settled(provider, issuer, attempt)
        clock.move(SLACK)


async def test_pause_counts_from_the_start_of_an_attempt(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    token = token_of(provider)
    with provider.holding():
        request = asyncio.create_task(ask(app, token=token))
        await eventually(lambda: provider.requests == [CONFIGURATION])
        clock.move(FETCH_TIMEOUT)
        assert await request == UNAVAILABLE
    clock.move(PAUSE - FETCH_TIMEOUT)
    assert await ask(app, token=token) == WELCOME


async def test_flood_of_unknown_keys_costs_one_fetch_every_30_seconds(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    await issuer.reload()
    clock.move(PAUSE)
    forged = [unknown_token(provider, f"made up {number}") for number in range(10_000)]
    rejected = 0
    async with app.app_context():
        for at in range(0, len(forged), 1000):
            outcomes = await asyncio.gather(
                *(qje.verify_token(token) for token in forged[at : at + 500]),
                return_exceptions=True,
            )
            for token in forged[at + 500 : at + 1000]:
                try:
                    outcomes.append(await qje.decode_token_async(token))
                except jwt.InvalidTokenError as error:
                    outcomes.append(error)
            rejected += sum(type(outcome) is jwt.InvalidTokenError for outcome in outcomes)
            assert provider.fetches() == 2 + at // 1000
            clock.move(PAUSE)
    assert rejected == 10_000
    assert provider.requests == FETCH + [KEYS] * 10
    assert await ask(app, token=token_of(provider)) == WELCOME


async def test_flood_while_the_issuer_is_down_costs_one_fetch_every_30_seconds(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    provider.publish(KEYS, b"", status=500)
    forged = [unknown_token(provider, f"made up {number}") for number in range(1000)]
    async with app.app_context():
        for attempt in (1, 2):
            outcomes = await asyncio.gather(
                *(qje.verify_token(token) for token in forged), return_exceptions=True
            )
            assert {type(outcome) for outcome in outcomes} == {qje.IssuerUnavailableError}
            assert provider.requests == FETCH * attempt
            clock.move(PAUSE)


async def test_thousand_requests_at_once_share_one_fetch(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    token = token_of(provider)
    with provider.holding():
        requests = [asyncio.create_task(ask(app, token=token)) for _ in range(1000)]
        await eventually(lambda: provider.requests == [CONFIGURATION])
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(threads()) == 1
        assert not any(request.done() for request in requests)
    assert await asyncio.gather(*requests) == [WELCOME] * 1000
    assert provider.requests == FETCH


async def test_fetch_that_takes_long_is_still_the_only_one(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    """It took 4 seconds when the last of these requests came."""
    token = token_of(provider)
    requests = []
    with provider.holding():
        for _ in range(4):
            requests.append(asyncio.create_task(ask(app, token=token)))
            await eventually(lambda: provider.requests == [CONFIGURATION])
            clock.move(1)
        # Time passes while the suite runs, too; the limit is one for the whole fetch.
    assert await asyncio.gather(*requests) == [WELCOME] * 4
    assert provider.requests == FETCH


@pytest.mark.parametrize("cancelled", [[0], [1, 2], [0, 1, 2, 3]], ids=str)
async def test_cancelled_request_does_not_cancel_the_fetch_of_the_others(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer, cancelled: list[int]
) -> None:
    token = token_of(provider)
    async with app.app_context():
        with provider.holding():
            waiting = [asyncio.create_task(qje.verify_token(token)) for _ in range(5)]
            await eventually(lambda: provider.requests == [CONFIGURATION])
            for number in cancelled:
                waiting[number].cancel()
            outcomes = await asyncio.gather(
                *(waiting[number] for number in cancelled), return_exceptions=True
            )
            assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
        left = [task for number, task in enumerate(waiting) if number not in cancelled]
        assert {claims["sub"] for claims in await asyncio.gather(*left)} == {SUBJECT}
    assert provider.requests == FETCH


async def test_fetch_goes_on_when_all_who_wait_are_cancelled(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    async with app.app_context():
        with provider.holding():
            waiting = asyncio.create_task(qje.verify_token(token_of(provider)))
            await eventually(lambda: provider.requests == [CONFIGURATION])
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await eventually(lambda: issuer.is_fresh)
        assert await ask(app, token=token_of(provider)) == WELCOME
    assert provider.requests == FETCH


# --- Old keys -------------------------------------------------------------------------------------


async def test_old_keys_serve_for_24_hours_while_the_issuer_is_down_and_no_longer(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    known = token_of(provider)
    assert await ask(app, token=known) == WELCOME
    provider.stop()
    for hours in (1, 11, 12):
        clock.move(hours * 3600 - (SLACK if hours == 12 else 0))
        assert not issuer.is_fresh
        assert await ask(app, token=known) == WELCOME
        await eventually(lambda: issuer.last_error is not None)
        await no_threads()
        assert issuer.key_ids == ("key-1",)
    clock.move(SLACK)
    assert issuer.key_ids == ()
    assert await ask(app, token=known) == UNAVAILABLE
    clock.move(PAUSE)
    assert await ask(app, token=known) == UNAVAILABLE
    provider.start()
    clock.move(PAUSE)
    assert await ask(app, token=known) == WELCOME
    assert issuer.key_ids == ("key-1",)


async def test_failed_attempts_do_not_make_old_keys_serve_for_longer(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    known = token_of(provider)
    assert await ask(app, token=known) == WELCOME
    provider.publish(KEYS, b"", status=500)
    for _ in range(23):
        clock.move(3600)
        assert await ask(app, token=known) == WELCOME
        await no_threads()
    assert provider.fetches() == 24
    clock.move(3600)
    assert await ask(app, token=known) == UNAVAILABLE


async def test_keys_that_nobody_needed_for_a_day_are_fetched_before_one_serves(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    leaked = provider.signing_kid
    stolen = token_of(provider)
    assert await ask(app, token=stolen) == WELCOME
    provider.rotate()
    del provider.keys[leaked]
    clock.move(DAY)
    assert await ask(app, token=stolen) == UNKNOWN_KEY
    assert await ask(app, token=token_of(provider)) == WELCOME
    assert provider.fetches() == 2


async def test_good_answer_replaces_the_whole_set(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    leaked = provider.signing_kid
    stolen = token_of(provider)
    assert await ask(app, token=stolen) == WELCOME
    provider.rotate("RSA")
    del provider.keys[leaked]
    clock.move(0.8 * FRESH_FOR)
    assert await ask(app, token=stolen) == WELCOME
    await settled(provider, issuer, 2)
    assert issuer.key_ids == ("key-2",)
    assert await ask(app, token=stolen) == UNKNOWN_KEY
    assert await ask(app, token=token_of(provider)) == WELCOME


async def test_key_of_the_same_name_is_replaced(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    app.config["JWT_SIGNATURE_CACHE_SIZE"] = 100
    before = token_of(provider)
    for _ in range(3):
        assert await ask(app, token=before) == WELCOME
    provider.rotate()
    provider.keys = {"key-1": provider.keys["key-2"]}
    provider.signing_kid = "key-1"
    await issuer.reload()
    assert (await ask(app, token=before))[0] == 422
    assert await ask(app, token=token_of(provider)) == WELCOME
