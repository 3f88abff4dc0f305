"""When and how the keys of a trusted issuer are fetched, and what serves meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from quart import Quart, has_app_context, has_request_context
from werkzeug.datastructures import Headers

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    SECRET,
    ask,
    b64url,
    bearer,
    in_form,
    json_segment,
    make_app,
    manager_of,
    status_of,
)
from support.openid_provider import CONFIGURATION, KEYS, SERVER_METADATA, Clock, Provider
from support.signing_keys import private_key

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

WELCOME = (200, {"view": "protected", "identity": SUBJECT, "user_claims": {}})
UNKNOWN_KEY = (422, {"msg": "The key ID is not one of the keys of the issuer"})
UNAVAILABLE = (503, {"msg": "Token issuer unavailable"})


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


async def requested(provider: Provider, number: int) -> None:
    """Wait until so many requests have come to the provider."""
    await eventually(lambda: len(provider.requests) == number)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "quart-jwt-extended"]


async def idle() -> None:
    """Wait until nothing is fetched any more.

    From one thread of a fetch to the next one there are some turns of the event loop.
    """
    quiet = 0

    def is_quiet() -> bool:
        nonlocal quiet
        quiet = 0 if threads() else quiet + 1
        return quiet > 0

    while quiet < 20:
        await eventually(is_quiet)
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
    await idle()
    assert provider.requests == FETCH
    clock.move(SLACK)
    with provider.holding():
        # The provider answers nothing before the block ends.
        for _ in range(3):
            assert await ask(app, token=known) == WELCOME
            assert issuer.is_fresh
        await eventually(lambda: provider.fetches() == 2)
    await idle()
    assert provider.fetches() == 2
    assert provider.requests == [*FETCH, KEYS]
    clock.move(0.8 * lifetime - SLACK)
    assert issuer.is_fresh
    assert await ask(app, token=known) == WELCOME
    assert provider.fetches() == 2


@pytest.mark.parametrize("days", [2, -2])
async def test_wall_clock_makes_no_key_older(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer, days: int
) -> None:
    """Somebody may set it; tokens are what it ends."""
    before = provider.token(AUDIENCE)
    assert await ask(app, token=before) == WELCOME
    clock.move_wall(days * DAY)
    assert await ask(app, token=provider.token(AUDIENCE)) == WELCOME
    assert (await ask(app, token=before))[0] == (401 if days > 0 else 422)
    assert issuer.is_fresh
    assert provider.requests == FETCH
    clock.move(FRESH_FOR)
    assert not issuer.is_fresh


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
    await idle()
    assert provider.fetches() == 2
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
            await idle()
            assert provider.fetches() == attempt
        clock.move(PAUSE - SLACK)
        assert await ask(app, token=known) == WELCOME
        await idle()
        assert provider.fetches() == attempt
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


async def test_thousand_tokens_at_once_share_one_fetch(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    token = token_of(provider)
    async with app.app_context():
        with provider.holding():
            waiting = [asyncio.create_task(qje.verify_token(token)) for _ in range(1000)]
            requests = [asyncio.create_task(ask(app, token=token)) for _ in range(50)]
            await eventually(lambda: provider.requests == [CONFIGURATION])
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(threads()) == 1
            assert not any(task.done() for task in waiting + requests)
        assert {claims["sub"] for claims in await asyncio.gather(*waiting)} == {SUBJECT}
        assert await asyncio.gather(*requests) == [WELCOME] * 50
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
        await idle()
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
        await idle()
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
    await idle()
    assert provider.fetches() == 2
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


# --- Answers of no use ----------------------------------------------------------------------------

NOT_JSON = "its response is not JSON"
NO_OBJECT = "its response is not a JSON object"
NO_SET = "its response is not a JWK Set"
NO_KEY = "its JWK Set contains no usable key"

BROKEN_SETS: dict[str, tuple[Any, str]] = {
    "nothing": (b"", NOT_JSON),
    "text": (b"<html>Be right back</html>", NOT_JSON),
    "half": (b'{"keys": [', NOT_JSON),
    "two": (b'{"keys": []}{"keys": []}', NOT_JSON),
    "not UTF-8": (b'{"keys": [], "a": "\xff"}', NOT_JSON),
    "UTF-16": ('{"keys": []}'.encode("utf-16"), NOT_JSON),
    "deep list": (b'{"keys": ' + b"[" * 100_000, NOT_JSON),
    "deep object": (b'{"keys":' * 30_000, NOT_JSON),
    "513 levels": (b'{"keys":' + b"[" * 512 + b"]" * 512 + b"}", NOT_JSON),
    "512 levels": (b'{"keys":' + b"[" * 511 + b"]" * 511 + b"}", NO_KEY),
    "closed deep list": (b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}", NOT_JSON),
    "long number": (b'{"keys": ' + b"9" * 100_000 + b"}", NOT_JSON),
    "list": ([], NO_OBJECT),
    "null": (None, NO_OBJECT),
    "number": (5, NO_OBJECT),
    "string": ("keys", NO_OBJECT),
    "no keys": ({}, NO_SET),
    "other keys": ({"Keys": [{}]}, NO_SET),
    "keys are null": ({"keys": None}, NO_SET),
    "keys are an object": ({"keys": {"kid": "key-1"}}, NO_SET),
    "keys are a string": ({"keys": "key-1"}, NO_SET),
    "empty": ({"keys": []}, NO_KEY),
    "keys are no objects": ({"keys": [None, 5, "key-1", [], [{}], True, 1.5]}, NO_KEY),
    "objects without members": ({"keys": [{}, {}]}, NO_KEY),
}


@pytest.mark.parametrize("name", BROKEN_SETS)
async def test_broken_set_is_a_failure(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer, name: str
) -> None:
    document, error = BROKEN_SETS[name]
    provider.publish(KEYS, document)
    token = token_of(provider)
    assert await ask(app, token=token) == UNAVAILABLE
    assert (issuer.last_error, issuer.is_fresh, issuer.key_ids) == (error, False, ())
    del provider.answers[KEYS]
    clock.move(PAUSE)
    assert await ask(app, token=token) == WELCOME
    assert issuer.last_error is None

    # Beside the keys that are known.
    provider.publish(KEYS, document)
    with pytest.raises(qje.IssuerUnavailableError):
        await issuer.reload()
    assert (issuer.last_error, issuer.key_ids) == (error, ("key-1",))
    assert await ask(app, token=token) == WELCOME


def jwk(key: Any, algorithm: str, kid: Any = "junk", **changes: Any) -> dict[str, Any]:
    """The public half of a key as a JWK; ``changes`` replace or add members, ``...`` removes."""
    members = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    members.pop("key_ops", None)
    members = {**members, "kid": kid, **changes}
    return {name: value for name, value in members.items() if value is not ...}


def private_jwk(key: Any, algorithm: str, *names: str) -> dict[str, Any]:
    """A JWK with the private members of these names beside the public ones."""
    members = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
    return jwk(key, algorithm, **{name: members[name] for name in names})


def signed(provider: Provider, key: Any, algorithm: str, kid: str = "junk") -> str:
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": SUBJECT, "exp": FAR_FUTURE}
    signing_input = f"{json_segment({'alg': algorithm, 'kid': kid})}.{json_segment(claims)}"
    # Not jwt.encode, which warns of weak keys.
    method = jwt.get_algorithm_by_name(algorithm)
    return f"{signing_input}.{b64url(method.sign(signing_input.encode(), method.prepare_key(key)))}"


@functools.cache
def weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


EC = private_key("P-256")
RSA = private_key("RSA")
ED = private_key("Ed25519")
ONE = b64url(b"\1")

# Members of a set, one of which anybody who has its key could sign for, with key and algorithm of
# that; the issuer may use ES256, RS256 and EdDSA.
JUNK: dict[str, tuple[Any, Any, str]] = {
    "no kid": (jwk(EC, "ES256", kid=...), EC, "ES256"),
    "kid is a number": (jwk(EC, "ES256", kid=5), EC, "ES256"),
    "kid is null": (jwk(EC, "ES256", kid=None), EC, "ES256"),
    "kid is a list": (jwk(EC, "ES256", kid=["junk"]), EC, "ES256"),
    "no kty": (jwk(EC, "ES256", kty=...), EC, "ES256"),
    "kty of another key": (jwk(EC, "ES256", kty="RSA"), EC, "ES256"),
    "kty in lower case": (jwk(EC, "ES256", kty="ec"), EC, "ES256"),
    "kty is unknown": (jwk(EC, "ES256", kty="AKP"), EC, "ES256"),
    "kty is a list": (jwk(EC, "ES256", kty=["EC"]), EC, "ES256"),
    "kty is an object": (jwk(EC, "ES256", kty={}), EC, "ES256"),
    "use is enc": (jwk(EC, "ES256", use="enc"), EC, "ES256"),
    "use is a list": (jwk(EC, "ES256", use=["sig"]), EC, "ES256"),
    "use is null": (jwk(EC, "ES256", use=None), EC, "ES256"),
    "key_ops sign only": (jwk(EC, "ES256", key_ops=["sign"]), EC, "ES256"),
    "key_ops are none": (jwk(EC, "ES256", key_ops=[]), EC, "ES256"),
    "key_ops are a string": (jwk(EC, "ES256", key_ops="verify"), EC, "ES256"),
    "key_ops are null": (jwk(EC, "ES256", key_ops=None), EC, "ES256"),
    "alg of another family": (jwk(EC, "ES256", alg="RS256"), EC, "ES256"),
    "alg of another curve": (jwk(EC, "ES256", alg="ES384"), EC, "ES256"),
    "alg for encryption": (jwk(RSA, "RS256", alg="RSA-OAEP"), RSA, "RS256"),
    "alg of the same family": (jwk(RSA, "RS256", alg="PS256"), RSA, "RS256"),
    "alg is symmetric": (jwk(RSA, "RS256", alg="HS256"), RSA, "RS256"),
    "alg is none": (jwk(RSA, "RS256", alg="none"), RSA, "RS256"),
    "alg is a list": (jwk(RSA, "RS256", alg=["RS256"]), RSA, "RS256"),
    "alg is null": (jwk(RSA, "RS256", alg=None), RSA, "RS256"),
    "algorithm that the issuer may not use": (jwk(RSA, "RS256"), RSA, "PS256"),
    "curve that the issuer may not use": (
        jwk(private_key("P-384"), "ES384"),
        private_key("P-384"),
        "ES384",
    ),
    "crv is another": (jwk(EC, "ES256", crv="P-384"), EC, "ES256"),
    "crv is unknown": (jwk(EC, "ES256", crv="P-255"), EC, "ES256"),
    "crv is a list": (jwk(EC, "ES256", crv=["P-256"]), EC, "ES256"),
    "no crv": (jwk(EC, "ES256", crv=...), EC, "ES256"),
    "no x": (jwk(EC, "ES256", x=...), EC, "ES256"),
    "no y": (jwk(EC, "ES256", y=...), EC, "ES256"),
    "x is a number": (jwk(EC, "ES256", x=5), EC, "ES256"),
    "x is null": (jwk(EC, "ES256", x=None), EC, "ES256"),
    "x is a list": (jwk(EC, "ES256", x=["AQ"]), EC, "ES256"),
    "x is an object": (jwk(EC, "ES256", x={}), EC, "ES256"),
    "x is empty": (jwk(EC, "ES256", x=""), EC, "ES256"),
    "x is not ASCII": (jwk(EC, "ES256", x="\u00e9" * 43), EC, "ES256"),
    "x is a surrogate": (jwk(EC, "ES256", x="\ud800"), EC, "ES256"),
    "x is no base64": (jwk(EC, "ES256", x="!" * 43), EC, "ES256"),
    "x is short": (jwk(EC, "ES256", x=ONE), EC, "ES256"),
    "x is off the curve": (jwk(EC, "ES256", x=b64url(b"\1" * 32)), EC, "ES256"),
    "x and y are zero": (jwk(EC, "ES256", x="A" * 43, y="A" * 43), EC, "ES256"),
    "n is missing": (jwk(RSA, "RS256", n=...), RSA, "RS256"),
    "e is missing": (jwk(RSA, "RS256", e=...), RSA, "RS256"),
    "n is a number": (jwk(RSA, "RS256", n=5), RSA, "RS256"),
    "n is empty": (jwk(RSA, "RS256", n=""), RSA, "RS256"),
    "e is empty": (jwk(RSA, "RS256", e=""), RSA, "RS256"),
    "e is a boolean": (jwk(RSA, "RS256", e=True), RSA, "RS256"),
    "e is one": (jwk(RSA, "RS256", e=ONE), RSA, "RS256"),
    "e is even": (jwk(RSA, "RS256", e=b64url(b"\4")), RSA, "RS256"),
    "e is larger than n": (jwk(RSA, "RS256", e=b64url(b"\xff" * 257)), RSA, "RS256"),
    "OKP with a short x": (jwk(ED, "EdDSA", x=ONE), ED, "EdDSA"),
    "OKP for agreement": (jwk(ED, "EdDSA", crv="X25519"), ED, "EdDSA"),
    "OKP of an unknown curve": (jwk(ED, "EdDSA", crv="Ed1"), ED, "EdDSA"),
    "weak RSA": (jwk(weak_key(), "RS256"), weak_key(), "RS256"),
    "weak RSA with alg": (jwk(weak_key(), "RS256", alg="RS256"), weak_key(), "RS256"),
    "private RSA": (private_jwk(RSA, "RS256", *["d", "p", "q", "dp", "dq", "qi"]), RSA, "RS256"),
    "private exponent": (private_jwk(RSA, "RS256", "d"), RSA, "RS256"),
    "prime factors": (private_jwk(RSA, "RS256", "p", "q"), RSA, "RS256"),
    "private EC": (private_jwk(EC, "ES256", "d"), EC, "ES256"),
    "private OKP": (private_jwk(ED, "EdDSA", "d"), ED, "EdDSA"),
    "symmetric": ({"kty": "oct", "k": b64url(SECRET.encode()), "kid": "junk"}, SECRET, "HS256"),
    "symmetric with alg": (
        {"kty": "oct", "k": b64url(SECRET.encode()), "kid": "junk", "alg": "HS256"},
        SECRET,
        "HS256",
    ),
    "symmetric for RS256": (
        {"kty": "oct", "k": b64url(SECRET.encode()), "kid": "junk", "alg": "RS256"},
        SECRET,
        "HS256",
    ),
}


@pytest.mark.parametrize("name", JUNK)
async def test_key_of_no_use_is_ignored_beside_good_ones(
    app: Quart, provider: Provider, name: str
) -> None:
    member, key, algorithm = JUNK[name]
    issuer = trust(app, provider, algorithms=["ES256", "RS256", "EdDSA"])
    good = provider.key_set()["keys"]
    allowed = {"ES256", "RS256", "EdDSA"}

    provider.publish(KEYS, {"keys": [member]})
    junk = signed(provider, key, algorithm)
    if algorithm in allowed:
        assert await ask(app, token=junk) == UNAVAILABLE
        assert issuer.last_error == NO_KEY
        assert issuer.key_ids == ()

    for keys in ([member, *good], [*good, member]):
        provider.publish(KEYS, {"keys": keys})
        await issuer.reload()
        assert await ask(app, token=token_of(provider)) == WELCOME
        status, body = await ask(app, token=junk)
        assert status == 422
        if algorithm in allowed:
            assert (status, body) == UNKNOWN_KEY
            assert issuer.key_ids == ("key-1",)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(EC, "ES256"), (RSA, "RS256"), (ED, "EdDSA")], ids=["EC", "RSA", "OKP"]
)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use": "sig"},
        {"alg": ...},
        {"key_ops": ["verify"]},
        {"key_ops": ["encrypt", "verify"]},
        {"x5c": ["not looked at"], "x5t": 5, "unknown": {}},
    ],
    ids=repr,
)
async def test_key_of_use_is_used(
    app: Quart, provider: Provider, key: Any, algorithm: str, changes: dict[str, Any]
) -> None:
    """What the tests of keys that are of no use begin with."""
    issuer = trust(app, provider, algorithms=["ES256", "RS256", "EdDSA"])
    provider.publish(KEYS, {"keys": [jwk(key, algorithm, **{"alg": algorithm, **changes})]})
    assert await ask(app, token=signed(provider, key, algorithm)) == WELCOME
    assert issuer.key_ids == ("junk",)


async def test_key_without_alg_verifies_each_algorithm_of_the_issuer_that_it_fits(
    app: Quart, provider: Provider
) -> None:
    trust(app, provider, algorithms=["RS256", "PS512", "ES256"])
    provider.publish(KEYS, {"keys": [jwk(RSA, "RS256"), jwk(EC, "ES256")]})
    for key, algorithm in ((RSA, "RS256"), (RSA, "PS512"), (EC, "ES256")):
        assert await ask(app, token=signed(provider, key, algorithm)) == WELCOME
    assert (await ask(app, token=signed(provider, RSA, "RS512")))[0] == 422


async def test_two_keys_of_one_name_are_both_ignored(app: Quart, provider: Provider) -> None:
    issuer = trust(app, provider)
    other = private_key("P-256", "other")
    keys = [jwk(EC, "ES256"), jwk(other, "ES256"), *provider.key_set()["keys"]]
    for order in (keys, keys[::-1], [keys[0], *keys]):
        provider.publish(KEYS, {"keys": order})
        await issuer.reload()
        assert issuer.key_ids == ("key-1",)
        for key in (EC, other):
            assert await ask(app, token=signed(provider, key, "ES256")) == UNKNOWN_KEY
        assert await ask(app, token=token_of(provider)) == WELCOME
    provider.publish(KEYS, {"keys": keys[:2]})
    with pytest.raises(qje.IssuerUnavailableError):
        await issuer.reload()
    assert issuer.last_error == NO_KEY


async def test_two_keys_of_one_name_for_different_algorithms_are_both_used(
    app: Quart, provider: Provider
) -> None:
    issuer = trust(app, provider)
    provider.publish(KEYS, {"keys": [jwk(EC, "ES256"), jwk(RSA, "RS256")]})
    assert await ask(app, token=signed(provider, EC, "ES256")) == WELCOME
    assert await ask(app, token=signed(provider, RSA, "RS256")) == WELCOME
    assert issuer.key_ids == ("junk",)


async def test_broken_key_does_not_take_the_name_of_a_good_one(
    app: Quart, provider: Provider
) -> None:
    trust(app, provider)
    provider.publish(KEYS, {"keys": [jwk(EC, "ES256", x=ONE), jwk(EC, "ES256")]})
    assert await ask(app, token=signed(provider, EC, "ES256")) == WELCOME


async def test_as_many_keys_as_fit_into_an_answer_are_read(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    members = [jwk(EC, "ES256", f"{number}") for number in range(1500)]
    provider.publish(KEYS, {"keys": members})
    assert 200_000 < len(provider.answers[KEYS][2]) < SIZE_LIMIT
    await issuer.reload()
    assert len(issuer.key_ids) == 1500
    assert await ask(app, token=signed(provider, EC, "ES256", "1499")) == WELCOME


# --- Fetching by the standard library -------------------------------------------------------------


async def failure_of(issuer: qje.TrustedIssuer) -> str:
    """Why fetching the keys fails now."""
    with pytest.raises(qje.IssuerUnavailableError) as caught:
        await issuer.reload()
    reason = f"The keys of {issuer.name} could not be fetched: {issuer.last_error}"
    assert str(caught.value) == reason
    assert caught.value.__cause__ is not None
    assert issuer.last_error is not None
    assert not issuer.is_fresh
    return issuer.last_error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", FETCH)
async def test_redirect_is_not_followed(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer, path: str, status: int
) -> None:
    good = provider.document(path)
    provider.publish(path + "?moved", good)
    with Provider() as other:
        other.publish(path, good)
        for target in (other.issuer + path, path + "?moved"):
            provider.redirect(path, target, status)
            assert await failure_of(issuer) == f"it responded with status {status}"
        assert other.requests == []
    assert set(provider.requests) <= set(FETCH)
    assert await ask(app, token=token_of(provider)) == UNAVAILABLE


@pytest.mark.parametrize(
    "status", [201, 202, 203, 204, 206, 304, 400, 401, 403, 404, 410, 429, 500, 503]
)
async def test_other_status_than_200_is_a_failure(
    provider: Provider, issuer: qje.TrustedIssuer, status: int
) -> None:
    body = b"" if status in (204, 304) else provider.key_set()
    provider.publish(KEYS, body, status)
    assert await failure_of(issuer) == f"it responded with status {status}"
    assert provider.requests == FETCH


@pytest.mark.parametrize("drips_head", [False, True], ids=["body", "head"])
@pytest.mark.parametrize("path", FETCH)
async def test_slow_answer_is_left_after_5_seconds(
    app: Quart,
    clock: Clock,
    provider: Provider,
    issuer: qje.TrustedIssuer,
    path: str,
    drips_head: bool,
) -> None:
    """A byte comes every 0.2 seconds, so that no single one is late."""
    provider.dripping[path] = drips_head
    request = asyncio.create_task(ask(app, token=token_of(provider)))
    await eventually(lambda: provider.dripped >= 2)
    clock.move(FETCH_TIMEOUT - 2.5)
    seen = provider.dripped
    await eventually(lambda: provider.dripped > seen)
    assert not request.done()
    assert len(threads()) == 1
    clock.move(2.5)
    assert await request == UNAVAILABLE
    assert issuer.last_error == "it took longer than 5 seconds"
    # Nothing reads on: neither a thread here, nor the connection.
    await idle()
    await eventually(lambda: provider.abandoned == [path])


async def test_5_seconds_are_for_all_documents(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    provider.dripping[KEYS] = True
    with provider.holding():
        request = asyncio.create_task(ask(app, token=token_of(provider)))
        await eventually(lambda: provider.requests == [CONFIGURATION])
        clock.move(2.5)
    await eventually(lambda: provider.dripped >= 2)
    assert not request.done()
    clock.move(2.5)
    assert await request == UNAVAILABLE
    assert issuer.last_error == "it took longer than 5 seconds"
    await eventually(lambda: provider.abandoned == [KEYS])


async def test_thread_of_an_issuer_that_does_not_answer_ends(
    clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    with provider.holding():
        for attempt in range(1, 4):
            reload = asyncio.create_task(issuer.reload())
            await requested(provider, attempt)
            clock.move(FETCH_TIMEOUT)
            with pytest.raises(qje.IssuerUnavailableError) as caught:
                await reload
            assert type(caught.value.__cause__) is asyncio.TimeoutError
            await idle()


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("framing", ["length", "end of connection", "chunks"])
@pytest.mark.parametrize(
    ("size", "fits"),
    [(SIZE_LIMIT, True), (SIZE_LIMIT + 1, False), (300 * 1024, False), (30 * 2**20, False)],
)
@pytest.mark.parametrize("path", FETCH)
async def test_answer_of_more_than_256_kib_is_a_failure(
    provider: Provider,
    issuer: qje.TrustedIssuer,
    path: str,
    size: int,
    fits: bool,
    framing: str,
) -> None:
    provider.pad(path, size, {} if framing == "length" else {"Content-Length": None})
    if framing == "chunks":
        status, _, body = provider.answers[path]
        headers = {"Content-Length": None, "Transfer-Encoding": "chunked"}
        provider.answers[path] = (status, headers, chunked(body))
    if fits:
        await issuer.reload()
        assert issuer.key_ids == ("key-1",)
    else:
        assert await failure_of(issuer) == "its response is larger than 262144 bytes"
    # The rest of a large one is not even received.
    if size > 10**6:
        await eventually(lambda: provider.abandoned == [path])


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON;Charset=UTF-8",
        "application/jwk-set+json",
        "application/vnd.example+json",
    ],
)
async def test_type_of_json_is_accepted(
    provider: Provider, issuer: qje.TrustedIssuer, content_type: str
) -> None:
    for path in FETCH:
        body = provider.document(path)
        provider.publish(path, body, headers={"Content-Type": content_type})
    await issuer.reload()
    assert issuer.is_fresh


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/html",
        "text/plain",
        "text/json",
        "application/octet-stream",
        "application/jsonp",
        "application/jose",
        "json",
        "application/json, text/html",
        "text/html; a=application/json",
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", FETCH)
async def test_other_type_than_json_is_a_failure(
    provider: Provider, issuer: qje.TrustedIssuer, path: str, content_type: str | None
) -> None:
    """Such as what anybody may upload to the host of the issuer."""
    body = provider.document(path)
    provider.publish(path, body, headers={"Content-Type": content_type})
    assert await failure_of(issuer) == "its response is not of the type application/json"


@pytest.mark.parametrize("path", FETCH)
async def test_compressed_answer_is_a_failure(
    provider: Provider, issuer: qje.TrustedIssuer, path: str
) -> None:
    provider.compress(path)
    assert await failure_of(issuer) == "its response is compressed"
    status, _, body = provider.answers[path]
    provider.answers[path] = (status, {}, body)
    assert await failure_of(issuer) == NOT_JSON
    body = provider.document(path)
    for coding in ("deflate", "br", "zstd", "gzip, identity"):
        provider.publish(path, body, headers={"Content-Encoding": coding})
        assert await failure_of(issuer) == "its response is compressed"
    provider.publish(path, body, headers={"Content-Encoding": "identity"})
    await issuer.reload()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# What is sent, and why that is a failure; None where it depends on the version of Python.
NO_HTTP = {
    "nothing": (b"", "its response is not HTTP (RemoteDisconnected)"),
    "no status line": (b"hello\r\n\r\n", "its response is not HTTP (BadStatusLine)"),
    "TLS": (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "its response is not HTTP (BadStatusLine)",
    ),
    "binary": (bytes(range(256)) * 4, "its response is not HTTP (BadStatusLine)"),
    "long status line": (
        b"HTTP/1.1 200 " + b"O" * 70_000,
        "its response is not HTTP (LineTooLong)",
    ),
    "long header": (HEAD + b"A: " + b"a" * 70_000, "its response is not HTTP (LineTooLong)"),
    "many headers": (
        HEAD + b"A: a\r\n" * 1000 + b"\r\n",
        "its response is not HTTP (HTTPException)",
    ),
    "many heads": (
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        # From Python 3.14 on, there may be a hundred of them.
        "its response is not HTTP (",
    ),
    "half a body": (HEAD + b'Content-Length: 50\r\n\r\n{"keys": [', None),
    "half a chunk": (HEAD + b'Transfer-Encoding: chunked\r\n\r\n50\r\n{"keys": [', None),
    "no chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nhello", None),
    "negative chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}", None),
    "no head": (b'{"keys": []}', "its response is not HTTP (BadStatusLine)"),
}


@pytest.mark.parametrize("name", NO_HTTP)
async def test_broken_http_is_a_failure(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer, name: str
) -> None:
    provider.raw_answers[KEYS], error = NO_HTTP[name]
    token = token_of(provider)
    assert await ask(app, token=token) == UNAVAILABLE
    assert issuer.last_error is not None
    assert issuer.last_error.startswith(error or "")
    await idle()
    del provider.raw_answers[KEYS]
    clock.move(PAUSE)
    assert await ask(app, token=token) == WELCOME


async def test_no_proxy_of_the_environment_is_used(
    provider: Provider, issuer: qje.TrustedIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would see, and could replace, the keys of an issuer of http."""
    with Provider() as other:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, other.issuer)
        await issuer.reload()
        assert other.requests == []
    assert provider.requests == FETCH


# --- Discovery ------------------------------------------------------------------------------------


async def test_given_jwks_uri_needs_no_discovery(app: Quart, provider: Provider) -> None:
    provider.publish("/other?tenant=1", provider.key_set())
    trust(app, provider, jwks_uri=f"{provider.issuer}/other?tenant=1")
    assert await ask(app, token=token_of(provider)) == WELCOME
    assert provider.requests == ["/other?tenant=1"]


@pytest.mark.parametrize(
    "claimed",
    [
        "https://other.example.com",
        "{issuer}/",
        "{issuer}/tenant",
        " {issuer}",
        "{issuer}?",
        "",
        ...,
        None,
        5,
        ["{issuer}"],
        {"{issuer}": 1},
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", [CONFIGURATION, SERVER_METADATA])
async def test_configuration_of_another_issuer_is_a_failure(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer, path: str, claimed: Any
) -> None:
    """Its keys would sign for an issuer that has never published them."""
    if claimed is not ...:
        claimed = json.loads(json.dumps(claimed).replace("{issuer}", provider.issuer))
    provider.lie(issuer=claimed)
    provider.answers = {
        CONFIGURATION: (404, {}, b""),
        path: provider.answers[CONFIGURATION],
    }
    assert await failure_of(issuer) == "its configuration names another issuer"
    assert provider.fetches() == 0
    assert await ask(app, token=token_of(provider)) == UNAVAILABLE


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com/keys",
        "http://10.0.0.1/keys",
        "http://0.0.0.0:{port}/keys",
        "http://127.0.0.1.example.com/keys",
        "http://localhost.example.com/keys",
        "http://127.0.0.1@example.com/keys",
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "ftp://127.0.0.1:{port}/keys",
        "data:application/json,{{}}",
        "javascript:0",
        "/keys",
        "keys",
        "//127.0.0.1:{port}/keys",
        "127.0.0.1:{port}/keys",
        "http:127.0.0.1:{port}/keys",
        "http:/127.0.0.1:{port}/keys",
        "http:///keys",
        "https://",
        "https:///keys",
        "http://user@127.0.0.1:{port}/keys",
        "http://user:password@127.0.0.1:{port}/keys",
        "http://@127.0.0.1:{port}/keys",
        "https://user:password@example.com/keys",
        "http://127.0.0.1:{port}/keys#fragment",
        "http://127.0.0.1:{port}\\@example.com/keys",
        "https://idp.example.com\\.example.org/keys",
        "http://127.0.0.1:{port}/keys\r\nX-Injected: 1",
        "http://127.0.0.1:{port}/ke ys",
        "http://127.0.0.1:{port}/k\u00e9ys",
        " http://127.0.0.1:{port}/keys",
        "http://127.0.0.1:99999/keys",
        "http://127.0.0.1:-1/keys",
        "http://127.0.0.1:port/keys",
        "http://[127.0.0.1/keys",
        "",
        ...,
        None,
        5,
        ["http://127.0.0.1:{port}/keys"],
        {},
    ],
    ids=repr,
)
async def test_jwks_uri_that_is_no_url_of_https_or_to_this_machine_is_a_failure(
    provider: Provider, issuer: qje.TrustedIssuer, uri: Any
) -> None:
    if isinstance(uri, str):
        uri = uri.format(port=provider.issuer.rpartition(":")[2])
    provider.lie(jwks_uri=uri)
    assert await failure_of(issuer) == "its configuration has no jwks_uri with https"
    assert provider.requests == [CONFIGURATION]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
async def test_jwks_uri_may_be_at_another_server(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer, host: str
) -> None:
    with Provider() as other:
        other.publish("/some/keys?tenant=1&v=2", provider.key_set())
        port = other.issuer.rpartition(":")[2]
        provider.lie(jwks_uri=f"http://{host}:{port}/some/keys?tenant=1&v=2")
        assert await ask(app, token=token_of(provider)) == WELCOME
        assert other.requests == ["/some/keys?tenant=1&v=2"]
    assert provider.requests == [CONFIGURATION]


async def test_server_without_a_configuration_of_openid_is_read_by_rfc_8414(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    provider.publish(CONFIGURATION, b"", 404)
    provider.publish(SERVER_METADATA, provider.configuration())
    assert await ask(app, token=token_of(provider)) == WELCOME
    assert provider.requests == [CONFIGURATION, SERVER_METADATA, KEYS]
    clock.move(FRESH_FOR)
    await issuer.reload()
    assert provider.requests == [CONFIGURATION, SERVER_METADATA, KEYS, KEYS]


@pytest.mark.parametrize("path", ["/tenant", "/tenant/", "/a/b", "/"])
async def test_path_of_an_issuer_is_before_the_one_and_behind_the_other_well_known_path(
    app: Quart, provider: Provider, path: str
) -> None:
    name = provider.issuer + path
    manager_of(app).trust_issuer(name, audience=AUDIENCE, algorithms="ES256")
    bare = path.rstrip("/")
    document = {**provider.configuration(), "issuer": name}
    token = token_of(provider, iss=name)

    provider.publish(bare + CONFIGURATION, b"", 404)
    provider.publish(SERVER_METADATA + bare, document)
    assert await ask(app, token=token) == WELCOME
    assert provider.requests == [bare + CONFIGURATION, SERVER_METADATA + bare, KEYS]

    provider.requests.clear()
    provider.publish(bare + CONFIGURATION, document)
    other = make_app()
    manager_of(other).trust_issuer(name, audience=AUDIENCE, algorithms="ES256")
    assert await ask(other, token=token) == WELCOME
    assert provider.requests == [bare + CONFIGURATION, KEYS]


@pytest.mark.parametrize("status", [204, 301, 400, 403, 410, 500, 503])
async def test_only_404_leads_to_the_path_of_rfc_8414(
    provider: Provider, issuer: qje.TrustedIssuer, status: int
) -> None:
    provider.publish(CONFIGURATION, b"", status)
    provider.publish(SERVER_METADATA, provider.configuration())
    assert await failure_of(issuer) == f"it responded with status {status}"
    assert provider.requests == [CONFIGURATION]


async def test_broken_configuration_does_not_lead_to_the_path_of_rfc_8414(
    provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    provider.publish(SERVER_METADATA, provider.configuration())
    for document, error in ((b"{", NOT_JSON), ([], NO_OBJECT), (None, NO_OBJECT)):
        provider.publish(CONFIGURATION, document)
        assert await failure_of(issuer) == error
    assert provider.requests == [CONFIGURATION] * 3


async def test_configuration_is_read_again_after_a_failure(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    """The keys may have moved."""
    token = token_of(provider)
    assert await ask(app, token=token) == WELCOME
    provider.publish("/moved", provider.key_set())
    provider.lie(jwks_uri=f"{provider.issuer}/moved")
    provider.publish(KEYS, b"", 404)
    clock.move(FRESH_FOR)
    assert await ask(app, token=token) == WELCOME
    await idle()
    assert provider.fetches() == 2
    assert issuer.last_error == "it responded with status 404"
    assert provider.requests == [*FETCH, KEYS]
    clock.move(PAUSE)
    assert await ask(app, token=token) == WELCOME
    await eventually(lambda: issuer.is_fresh)
    assert provider.requests == [*FETCH, KEYS, CONFIGURATION, "/moved"]


async def test_configuration_is_read_again_once_a_day(
    clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    for _ in range(3):
        provider.requests.clear()
        await issuer.reload()
        assert provider.requests == FETCH
        for _ in range(3):
            clock.move(DAY / 4)
            await issuer.reload()
        clock.move(DAY / 4 - SLACK)
        await issuer.reload()
        assert provider.requests == [*FETCH, KEYS, KEYS, KEYS, KEYS]
        clock.move(SLACK)


# --- An issuer that is down -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/protected", "/optional"])
async def test_key_that_is_not_known_while_the_issuer_is_down_is_503(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer, path: str
) -> None:
    provider.stop()
    response = await app.test_client().get(path, headers=bearer(token_of(provider)))
    assert (response.status_code, await response.get_json()) == UNAVAILABLE
    assert response.headers["Retry-After"] == f"{PAUSE}"
    assert "WWW-Authenticate" not in response.headers
    assert app.calls == []  # type: ignore[attr-defined]


async def test_new_key_while_the_issuer_is_down_is_503_beside_old_keys_that_serve(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    old = token_of(provider)
    assert await ask(app, token=old) == WELCOME
    provider.rotate()
    new = token_of(provider)
    provider.stop()
    # Nothing is known to be wrong with the issuer before it is tried.
    assert await ask(app, token=new) == UNKNOWN_KEY
    clock.move(PAUSE)
    assert await ask(app, token=new) == UNAVAILABLE
    assert await ask(app, token=old) == WELCOME
    assert await ask(app, token=new) == UNAVAILABLE
    provider.start()
    clock.move(PAUSE)
    assert await ask(app, token=new) == WELCOME


async def test_error_has_what_the_fetch_failed_with_as_its_cause(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    token = token_of(provider)
    async with app.app_context():
        provider.stop()
        for _ in range(2):
            # The second time without another attempt.
            with pytest.raises(qje.IssuerUnavailableError) as caught:
                await qje.verify_token(token)
            assert type(caught.value.__cause__) is ConnectionRefusedError
        assert issuer.last_error == "ConnectionRefusedError"
        provider.start()
        provider.publish(KEYS, b"", 500)
        clock.move(PAUSE)
        with pytest.raises(qje.IssuerUnavailableError) as caught:
            await qje.decode_token_async(token)
        assert str(caught.value.__cause__) == issuer.last_error == "it responded with status 500"
    assert isinstance(caught.value, qje.JWTExtendedException)
    assert not isinstance(caught.value, jwt.InvalidTokenError)


MARK = "hunter2hunter2"
TELLING: dict[str, Any] = {
    "status line": f"HTTP/1.1 200{MARK}\r\n\r\n".encode(),
    "protocol": f"{MARK}\r\n\r\n".encode(),
    "reason": f"HTTP/1.1 500 {MARK}\r\n\r\n".encode(),
    "header": HEAD + f"{MARK}: {MARK * 7000}\r\n\r\n".encode(),
    "redirect": f"HTTP/1.1 302 Found\r\nLocation: /{MARK}\r\n\r\n".encode(),
    "type": f"HTTP/1.1 200 OK\r\nContent-Type: text/{MARK}\r\n\r\n".encode(),
    "coding": HEAD + f"Content-Encoding: {MARK}\r\n\r\n".encode(),
    "text": HEAD + f"\r\n{MARK}".encode(),
    "bytes": HEAD + f"\r\n{MARK}\xff".encode("latin-1"),
    "set": HEAD + f'\r\n{{"keys": "{MARK}"}}'.encode(),
    "key": HEAD + f'\r\n{{"keys": [{{"kid": "{MARK}", "kty": "{MARK}"}}]}}'.encode(),
    "chunk": HEAD + f"Transfer-Encoding: chunked\r\n\r\n{MARK}".encode(),
}


@pytest.mark.parametrize("path", FETCH)
@pytest.mark.parametrize("name", TELLING)
async def test_last_error_holds_nothing_of_the_answer(
    provider: Provider, issuer: qje.TrustedIssuer, name: str, path: str
) -> None:
    provider.raw_answers[path] = TELLING[name]
    error = await failure_of(issuer)
    assert error
    assert "hunter" not in error
    assert provider.requests[-1] == path


async def test_last_error_holds_nothing_of_a_configuration(
    provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    for member in ("issuer", "jwks_uri"):
        provider.lie(**{member: f"http://{MARK}.example.com"})
        assert "hunter" not in await failure_of(issuer)


@pytest.mark.parametrize(
    "header", [{}, {"kid": "made up", "alg": "HS256"}, {"kid": "made up", "alg": "ES384"}], ids=repr
)
async def test_token_that_cannot_be_of_the_issuer_costs_no_fetch(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer, header: dict[str, str]
) -> None:
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": SUBJECT, "exp": FAR_FUTURE}
    segments = [json_segment({"alg": "ES256", **header}), json_segment(claims), b64url(bytes(64))]
    assert (await ask(app, token=".".join(segments)))[0] == 422
    assert provider.requests == []


async def test_issuers_do_not_wait_for_each_other(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    with Provider() as other, other.holding():
        second = trust(app, other)
        waiting = asyncio.create_task(ask(app, token=token_of(other)))
        await eventually(lambda: other.requests == [CONFIGURATION])
        assert await ask(app, token=token_of(provider)) == WELCOME
        assert (issuer.is_fresh, second.is_fresh, waiting.done()) == (True, False, False)
        other.answering.set()
        assert await waiting == WELCOME
        assert second.is_fresh


async def test_unknown_key_waits_for_the_fetch_that_a_known_one_started(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    old = token_of(provider)
    assert await ask(app, token=old) == WELCOME
    provider.rotate()
    clock.move(0.8 * FRESH_FOR)
    with provider.holding():
        assert await ask(app, token=old) == WELCOME
        await eventually(lambda: provider.fetches() == 2)
        waiting = asyncio.create_task(ask(app, token=token_of(provider)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert await ask(app, token=old) == WELCOME
    assert await waiting == WELCOME
    assert provider.fetches() == 2


# --- reload ---------------------------------------------------------------------------------------


async def test_reload_does_not_heed_the_pause(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    for count in range(1, 4):
        await issuer.reload()
        assert provider.requests == [CONFIGURATION] + [KEYS] * count
        provider.rotate()
        assert await ask(app, token=token_of(provider)) == UNKNOWN_KEY
    await issuer.reload()
    assert await ask(app, token=token_of(provider)) == WELCOME


async def test_reload_counts_as_an_attempt(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    await issuer.reload()
    clock.move(PAUSE - SLACK)
    await issuer.reload()
    clock.move(PAUSE - SLACK)
    assert await ask(app, token=unknown_token(provider)) == UNKNOWN_KEY
    assert provider.fetches() == 2


async def test_reload_joins_the_running_fetch(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    with provider.holding():
        waiting = [asyncio.create_task(ask(app, token=token_of(provider)))]
        await eventually(lambda: provider.requests == [CONFIGURATION])
        waiting += [asyncio.create_task(issuer.reload()) for _ in range(10)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
    assert await asyncio.gather(*waiting) == [WELCOME] + [None] * 10
    assert provider.requests == FETCH


async def test_reload_that_is_cancelled_does_not_cancel_the_fetch(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    with provider.holding():
        reload = asyncio.create_task(issuer.reload())
        await eventually(lambda: provider.requests == [CONFIGURATION])
        request = asyncio.create_task(ask(app, token=token_of(provider)))
        await asyncio.sleep(0)
        reload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reload
    assert await request == WELCOME
    assert provider.requests == FETCH


async def test_reload_raises_and_leaves_the_known_keys(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    await issuer.reload()
    provider.publish(KEYS, b"", 500)
    with pytest.raises(qje.IssuerUnavailableError) as caught:
        await issuer.reload()
    assert str(caught.value.__cause__) == "it responded with status 500"
    assert (issuer.is_fresh, issuer.key_ids) == (True, ("key-1",))
    assert issuer.last_error == "it responded with status 500"
    assert await ask(app, token=token_of(provider)) == WELCOME
    del provider.answers[KEYS]
    await issuer.reload()
    assert issuer.last_error is None


async def test_key_ids_are_sorted_and_only_those_that_serve(
    provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    kids = ["b", "a", "\u00e9", "", "a b", "A"]
    provider.keys = dict.fromkeys(kids, EC)
    await issuer.reload()
    assert issuer.key_ids == ("", "A", "a", "a b", "b", "\u00e9")


# --- The log --------------------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "quart_jwt_extended" and record.levelname != "INFO"
    ]


async def test_outage_is_logged_once_and_its_end_once(
    app: Quart,
    clock: Clock,
    provider: Provider,
    issuer: qje.TrustedIssuer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = token_of(provider)
    name = provider.issuer

    async def attempt() -> None:
        clock.move(FRESH_FOR)
        await ask(app, token=token)
        await idle()

    expected: list[tuple[str, str]] = []
    for status in (500, 404):
        await attempt()
        await attempt()
        assert logged(caplog) == expected
        provider.publish(KEYS, b"", status)
        await attempt()
        reason = f"it responded with status {status}"
        expected.append(("ERROR", f"The keys of {name} could not be fetched: {reason}"))
        assert logged(caplog) == expected
        # Another reason is the same outage.
        provider.publish(KEYS, b"{")
        await attempt()
        for _ in range(5):
            assert await ask(app, token=unknown_token(provider)) == UNAVAILABLE
        provider.stop()
        await attempt()
        assert logged(caplog) == expected
        provider.start()
        provider.answers.clear()
        await attempt()
        await eventually(lambda: issuer.is_fresh)
        expected.append(("WARNING", f"The keys of {name} can be fetched again"))
        assert logged(caplog) == expected
    await attempt()
    assert logged(caplog) == expected


async def test_failure_that_has_no_words_is_logged_with_its_traceback(
    provider: Provider, issuer: qje.TrustedIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    provider.stop()
    assert await failure_of(issuer) == "ConnectionRefusedError"
    assert logged(caplog) == [
        ("ERROR", f"The keys of {provider.issuer} could not be fetched: ConnectionRefusedError")
    ]
    assert "Connection refused" in caplog.text


# --- jwks_fetch_loader ----------------------------------------------------------------------------

ISSUER = "https://idp.example.com"


class Documents:
    """What a callback returns for the documents of an issuer, for whom nobody listens."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.configuration: Any = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        self.urls: list[str] = []

    def get(self, url: str) -> dict[str, Any]:
        self.urls.append(url)
        return {
            ISSUER + CONFIGURATION: lambda: self.configuration,
            ISSUER + KEYS: self.provider.key_set,
        }[url]()

    def token(self, **changes: Any) -> str:
        return token_of(self.provider, **{"iss": ISSUER, **changes})


@pytest.fixture
def documents() -> Documents:
    """The provider behind it has keys, and is not started."""
    return Documents(Provider())


@pytest.fixture
def remote(app: Quart) -> qje.TrustedIssuer:
    """An issuer of https."""
    return manager_of(app).trust_issuer(ISSUER, audience=AUDIENCE, algorithms=["ES256"])


def with_headers(headers: Any) -> Callable[[Any], Any]:
    return lambda document: (json.dumps(document).encode(), headers)


FORMS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "dict": (lambda document: document, FRESH_FOR),
    "bytes": (lambda document: json.dumps(document).encode(), FRESH_FOR),
    "str": (json.dumps, FRESH_FOR),
    "str with more than ASCII": (
        lambda document: json.dumps({**document, "a": "\u00e9"}, ensure_ascii=False),
        FRESH_FOR,
    ),
    "dict and headers": (lambda document: (document, {"cache-control": "max-age=120"}), 120),
    "str and headers": (lambda document: (json.dumps(document), {"A": "a"}), FRESH_FOR),
    "no headers": (with_headers({}), FRESH_FOR),
    "headers in lower case": (with_headers({"cache-control": "max-age=120"}), 120),
    "headers in title case": (with_headers({"Cache-Control": "max-age=120"}), 120),
    "headers in upper case": (with_headers({"CACHE-CONTROL": "max-age=120"}), 120),
    "headers of httpx": (with_headers(httpx.Headers({"Cache-Control": "max-age=120"})), 120),
    "headers of Werkzeug": (with_headers(Headers({"Cache-Control": "max-age=120"})), 120),
    "header that is no string": (with_headers({"Cache-Control": 120}), FRESH_FOR),
}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", FORMS)
async def test_callback_returns_a_document_in_any_form(
    app: Quart,
    clock: Clock,
    documents: Documents,
    remote: qje.TrustedIssuer,
    name: str,
    is_async: bool,
) -> None:
    form, lifetime = FORMS[name]
    callback = in_form(lambda url: form(documents.get(url)), is_async)
    assert manager_of(app).jwks_fetch_loader(callback) is callback
    assert await ask(app, token=documents.token()) == WELCOME
    assert documents.urls == [ISSUER + CONFIGURATION, ISSUER + KEYS]
    clock.move(lifetime - SLACK)
    assert remote.is_fresh
    clock.move(SLACK)
    assert not remote.is_fresh


class Fetcher:
    """Callbacks that are no plain functions."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents

    async def __call__(self, url: str) -> Any:
        return self.documents.get(url)

    def returning_a_coroutine(self, url: str) -> Any:
        return self(url)

    async def with_client(self, client: Any, url: str) -> Any:
        return await self(url)


@pytest.mark.parametrize("kind", ["object", "method", "partial", "coroutine"])
async def test_callback_may_be_any_callable(
    app: Quart, documents: Documents, remote: qje.TrustedIssuer, kind: str
) -> None:
    fetcher = Fetcher(documents)
    callbacks = {
        "object": fetcher,
        "method": fetcher.__call__,
        "partial": functools.partial(fetcher.with_client, None),
        "coroutine": fetcher.returning_a_coroutine,
    }
    manager_of(app).jwks_fetch_loader(callbacks[kind])
    assert await ask(app, token=documents.token()) == WELCOME


async def test_callback_that_is_no_coroutine_function_may_block(
    app: Quart, documents: Documents, remote: qje.TrustedIssuer
) -> None:
    go_on = threading.Event()
    seen = []

    @manager_of(app).jwks_fetch_loader
    def fetch(url: str) -> Any:
        seen.append(threading.current_thread())
        assert go_on.wait(WAIT_LIMIT)
        return documents.get(url)

    waiting = asyncio.create_task(ask(app, token=documents.token()))
    await eventually(lambda: bool(seen))
    assert (await ask(app, "/open"))[0] == 200
    assert not waiting.done()
    go_on.set()
    assert await waiting == WELCOME
    assert len(seen) == 2
    assert threading.current_thread() not in seen


REQUEST = contextvars.ContextVar("REQUEST", default="none")


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_callback_sees_nothing_of_the_request_that_caused_the_fetch(
    app: Quart, documents: Documents, remote: qje.TrustedIssuer, is_async: bool
) -> None:
    """What it saw would be kept for as long as the fetch takes, and others wait for it, too."""
    seen = []

    def fetch(url: str) -> Any:
        seen.append((REQUEST.get(), has_app_context(), has_request_context()))
        return documents.get(url)

    @app.before_request
    async def begin() -> None:
        REQUEST.set("this one")

    manager_of(app).jwks_fetch_loader(in_form(fetch, is_async))
    assert await ask(app, token=documents.token()) == WELCOME
    assert seen == [("none", False, False)] * 2


WRONG_ANSWER = (
    "The callback of jwks_fetch_loader must return the body of the response (bytes, str or a "
    "dict), a tuple of the body and the headers, or None"
)


@pytest.mark.parametrize(
    "answer",
    [
        5,
        True,
        [],
        bytearray(b"{}"),
        httpx.Response(200, json={}),
        (),
        (b"{}",),
        (b"{}", None),
        (b"{}", "max-age=120"),
        (b"{}", [("Cache-Control", "max-age=120")]),
        (b"{}", {}, 200),
        (None, {}),
        (200, {}),
        ({}, b"{}"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_wrong_answer_of_the_callback_is_a_type_error(
    app: Quart,
    clock: Clock,
    documents: Documents,
    remote: qje.TrustedIssuer,
    answer: Any,
    is_async: bool,
) -> None:
    manager_of(app).jwks_fetch_loader(in_form(lambda url: answer, is_async))
    for _ in range(2):
        # The second time without another attempt.
        with pytest.raises(TypeError) as caught:
            await status_of(app, token=documents.token())
        assert str(caught.value) == WRONG_ANSWER
    app.config["PROPAGATE_EXCEPTIONS"] = app.config["TESTING"] = False
    assert (await ask(app, token=documents.token()))[0] == 500
    with pytest.raises(TypeError, match="must return the body"):
        await remote.reload()
    assert remote.last_error == WRONG_ANSWER

    manager_of(app).jwks_fetch_loader(documents.get)
    clock.move(PAUSE)
    assert await ask(app, token=documents.token()) == WELCOME
    manager_of(app).jwks_fetch_loader(in_form(lambda url: answer, is_async))
    with pytest.raises(TypeError):
        await remote.reload()
    assert await ask(app, token=documents.token()) == WELCOME


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(MARK),
        OSError(5, MARK),
        httpx.ConnectTimeout(MARK),
        KeyError(MARK),
        AssertionError(),
        RecursionError(MARK),
        MemoryError(MARK),
        StopIteration(MARK),
        StopAsyncIteration(MARK),
        asyncio.CancelledError(MARK),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_whatever_the_callback_raises_is_an_outage(
    app: Quart,
    clock: Clock,
    documents: Documents,
    remote: qje.TrustedIssuer,
    error: Exception,
    is_async: bool,
) -> None:
    def fetch(url: str) -> Any:
        documents.urls.append(url)
        raise error

    manager_of(app).jwks_fetch_loader(in_form(fetch, is_async))
    # Without the 5 seconds that it would have.
    begin = time.perf_counter()
    assert await ask(app, token=documents.token()) == UNAVAILABLE
    assert time.perf_counter() - begin < FETCH_TIMEOUT / 2
    assert documents.urls == [ISSUER + CONFIGURATION]
    assert remote.last_error is not None
    assert "hunter" not in remote.last_error
    assert await ask(app, token=documents.token()) == UNAVAILABLE
    assert documents.urls == [ISSUER + CONFIGURATION]

    manager_of(app).jwks_fetch_loader(documents.get)
    clock.move(PAUSE)
    assert await ask(app, token=documents.token()) == WELCOME


def test_callback_that_ends_its_thread_does_not_end_the_event_loop(
    app: Quart, documents: Documents, remote: qje.TrustedIssuer
) -> None:
    @manager_of(app).jwks_fetch_loader
    def fetch(url: str) -> Any:
        sys.exit(3)

    async def main() -> tuple[int, Any]:
        answer = await ask(app, token=documents.token())
        await asyncio.sleep(0)
        return answer

    try:
        answer = asyncio.run(main())
    except SystemExit:
        pytest.fail("it did")
    assert answer == UNAVAILABLE


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_callback_that_returns_none_says_that_there_is_no_such_document(
    app: Quart, documents: Documents, remote: qje.TrustedIssuer, is_async: bool
) -> None:
    answers: dict[str, Any] = {}

    def fetch(url: str) -> Any:
        documents.urls.append(url)
        return answers.get(url)

    manager_of(app).jwks_fetch_loader(in_form(fetch, is_async))
    assert await failure_of(remote) == "it responded with status 404"
    assert documents.urls == [ISSUER + CONFIGURATION, ISSUER + SERVER_METADATA]
    answers[ISSUER + SERVER_METADATA] = documents.configuration
    assert await failure_of(remote) == "it responded with status 404"
    assert documents.urls[2:] == [ISSUER + CONFIGURATION, ISSUER + SERVER_METADATA, ISSUER + KEYS]
    answers[ISSUER + KEYS] = documents.provider.key_set()
    await remote.reload()
    assert remote.is_fresh


async def test_callback_that_hangs_is_cancelled_after_5_seconds(
    app: Quart, clock: Clock, documents: Documents, remote: qje.TrustedIssuer
) -> None:
    outcomes = []

    @manager_of(app).jwks_fetch_loader
    async def fetch(url: str) -> Any:
        outcomes.append("begun")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            raise

    waiting = asyncio.create_task(ask(app, token=documents.token()))
    await eventually(lambda: bool(outcomes))
    clock.move(FETCH_TIMEOUT - 2.5)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    clock.move(2.5)
    assert await waiting == UNAVAILABLE
    assert outcomes == ["begun", "cancelled"]
    assert remote.last_error == "it took longer than 5 seconds"


async def test_callback_that_blocks_for_too_long_is_left_with_its_answer(
    app: Quart, clock: Clock, documents: Documents, remote: qje.TrustedIssuer
) -> None:
    go_on = threading.Event()

    @manager_of(app).jwks_fetch_loader
    def fetch(url: str) -> Any:
        documents.urls.append(url)
        assert go_on.wait(WAIT_LIMIT)
        return documents.get(url)

    try:
        waiting = asyncio.create_task(ask(app, token=documents.token()))
        await eventually(lambda: bool(documents.urls))
        clock.move(FETCH_TIMEOUT)
        assert await waiting == UNAVAILABLE
        assert remote.last_error == "it took longer than 5 seconds"
    finally:
        go_on.set()
    await idle()
    # It came too late: nothing of it is used, and nothing else requested.
    assert (remote.is_fresh, remote.key_ids) == (False, ())
    assert documents.urls == [ISSUER + CONFIGURATION] * 2


@pytest.mark.parametrize("is_text", [False, True], ids=["bytes", "str"])
@pytest.mark.parametrize(("size", "fits"), [(SIZE_LIMIT, True), (SIZE_LIMIT + 1, False)])
async def test_body_from_the_callback_of_more_than_256_kib_is_a_failure(
    app: Quart,
    documents: Documents,
    remote: qje.TrustedIssuer,
    size: int,
    fits: bool,
    is_text: bool,
) -> None:
    @manager_of(app).jwks_fetch_loader
    def fetch(url: str) -> Any:
        text = json.dumps(documents.get(url)).ljust(size)
        return text if is_text else text.encode()

    if fits:
        await remote.reload()
        assert remote.is_fresh
    else:
        assert await failure_of(remote) == "its response is larger than 262144 bytes"


async def test_text_is_measured_in_bytes(
    app: Quart, documents: Documents, remote: qje.TrustedIssuer
) -> None:
    @manager_of(app).jwks_fetch_loader
    def fetch(url: str) -> str:
        document = {**documents.get(url), "a": "\u00e9" * (SIZE_LIMIT // 2)}
        return json.dumps(document, ensure_ascii=False)

    assert await failure_of(remote) == "its response is larger than 262144 bytes"


@pytest.mark.parametrize("body", [b"", "", b"{", "{", "\ud800", b"\xff", "[" * 100_000, "[]", "5"])
async def test_broken_body_from_the_callback_is_a_failure(
    app: Quart, documents: Documents, remote: qje.TrustedIssuer, body: Any
) -> None:
    manager_of(app).jwks_fetch_loader(lambda url: body)
    assert await failure_of(remote) in (NOT_JSON, NO_OBJECT)


@pytest.mark.parametrize("uri", ["http://127.0.0.1/keys", "http://localhost/keys"])
async def test_issuer_of_https_cannot_lead_to_this_machine(
    app: Quart, documents: Documents, remote: qje.TrustedIssuer, uri: str
) -> None:
    manager_of(app).jwks_fetch_loader(documents.get)
    documents.configuration["jwks_uri"] = uri
    assert await failure_of(remote) == "its configuration has no jwks_uri with https"
    assert documents.urls == [ISSUER + CONFIGURATION]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_httpx_fetches_the_keys(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer, is_async: bool
) -> None:
    async def fetch(url: str) -> Any:
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(url)
        return response.raise_for_status().content, response.headers

    def fetch_sync(url: str) -> Any:
        with httpx.Client(trust_env=False) as client:
            response = client.get(url)
        return response.raise_for_status().content, response.headers

    manager_of(app).jwks_fetch_loader(fetch if is_async else fetch_sync)
    token = token_of(provider)
    provider.publish(KEYS, b"", 500)
    assert await ask(app, token=token) == UNAVAILABLE
    assert issuer.last_error == "HTTPStatusError"
    provider.publish(KEYS, provider.key_set(), headers={"Cache-Control": "max-age=120"})
    clock.move(PAUSE)
    assert await ask(app, token=token) == WELCOME
    clock.move(120 - SLACK)
    assert issuer.is_fresh
    clock.move(SLACK)
    assert not issuer.is_fresh


# --- Without waiting: decode_token ----------------------------------------------------------------


async def test_decode_token_fetches_an_unknown_key_for_the_next_time(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    async with app.app_context():
        for number in range(2):
            token = token_of(provider)
            with provider.holding():
                for _ in range(5):
                    with pytest.raises(qje.IssuerUnavailableError, match="^Token issuer unavailab"):
                        qje.decode_token(token)
                await requested(provider, 1 + 2 * number)
            await idle()
            assert provider.fetches() == number + 1
            assert len(issuer.key_ids) == number + 1
            assert qje.decode_token(token)["sub"] == SUBJECT
            with pytest.raises(jwt.InvalidTokenError, match="not one of the keys of the issuer"):
                qje.decode_token(unknown_token(provider))
            provider.rotate()
            clock.move(DAY)
    assert provider.requests == FETCH * 2


async def test_decode_token_in_a_thread_fetches_an_unknown_key_for_the_next_time(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    """Such as that of a view that is no coroutine function."""
    token = token_of(provider)
    async with app.app_context():
        with pytest.raises(qje.IssuerUnavailableError):
            await asyncio.to_thread(qje.decode_token, token)
        await eventually(lambda: issuer.is_fresh)
        assert (await asyncio.to_thread(qje.decode_token, token))["sub"] == SUBJECT
    assert provider.requests == FETCH


async def test_decode_token_in_a_thread_leaves_the_fetch_to_the_event_loop_of_the_app(
    app: Quart, clock: Clock, documents: Documents, remote: qje.TrustedIssuer
) -> None:
    """A client such as that of httpx belongs to the event loop that it was used in first."""
    loops = []

    @manager_of(app).jwks_fetch_loader
    async def fetch(url: str) -> Any:
        loops.append(asyncio.get_running_loop())
        return documents.get(url)

    await remote.reload()
    documents.provider.rotate()
    clock.move(PAUSE)
    async with app.app_context():
        with pytest.raises(qje.IssuerUnavailableError):
            await asyncio.to_thread(qje.decode_token, documents.token())
    await eventually(lambda: documents.provider.signing_kid in remote.key_ids)
    assert set(loops) == {asyncio.get_running_loop()}


async def test_outage_at_the_start_is_explained(
    provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    provider.stop()
    message = f"The keys of {provider.issuer} could not be fetched: ConnectionRefusedError"
    with pytest.raises(qje.IssuerUnavailableError, match=f"^{re.escape(message)}$"):
        await issuer.reload()


async def test_algorithm_that_is_named_twice_counts_once(app: Quart, provider: Provider) -> None:
    issuer = manager_of(app).trust_issuer(
        provider.issuer, audience=AUDIENCE, algorithms=["ES256", "ES256"]
    )
    await issuer.reload()
    assert issuer.key_ids == (provider.signing_kid,)


async def test_key_that_stands_twice_in_a_set_is_used(
    provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    document = provider.key_set()
    provider.publish(KEYS, {"keys": document["keys"] * 2})
    await issuer.reload()
    assert issuer.key_ids == (provider.signing_kid,)


# --- Event loops ----------------------------------------------------------------------------------


def test_keys_are_fetched_in_one_event_loop_after_another(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    for number in range(1, 4):
        token = token_of(provider)
        assert asyncio.run(ask(app, token=token)) == WELCOME
        assert asyncio.run(ask(app, token=token)) == WELCOME
        assert provider.fetches() == number
        provider.rotate()
        clock.move(PAUSE)


async def begin_fetch(app: Quart, provider: Provider) -> None:
    """Start a fetch, and wait until the provider, which holds its answer, has its request."""
    async with app.app_context():
        with pytest.raises(qje.IssuerUnavailableError):
            qje.decode_token(token_of(provider))
    await eventually(lambda: provider.requests == [CONFIGURATION])


def test_event_loop_that_ends_while_it_fetches_leaves_the_fetch_to_the_next(
    app: Quart, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    with provider.holding():
        asyncio.run(begin_fetch(app, provider))
        asyncio.run(idle())
        assert issuer.last_error is None
    assert asyncio.run(ask(app, token=token_of(provider))) == WELCOME
    assert provider.requests == [CONFIGURATION, *FETCH]


def test_event_loop_that_is_closed_while_it_fetches_costs_one_pause(
    app: Quart,
    clock: Clock,
    provider: Provider,
    issuer: qje.TrustedIssuer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As long as its task was not destroyed, nobody knows that it will not end."""
    with provider.holding():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin_fetch(app, provider))
        loop.close()
    # The answer comes, and nobody is there for it.
    asyncio.run(idle())
    token = token_of(provider)
    assert asyncio.run(ask(app, token=token)) == UNAVAILABLE
    clock.move(PAUSE)
    assert asyncio.run(ask(app, token=token)) == WELCOME
    assert provider.requests == [CONFIGURATION, *FETCH]
    del loop
    gc.collect()
    provider.rotate()
    clock.move(PAUSE - SLACK)
    assert asyncio.run(ask(app, token=token_of(provider))) == UNKNOWN_KEY
    assert provider.requests == [CONFIGURATION, *FETCH]
    assert [text for _, text in logged(caplog)] == []


def test_event_loops_at_the_same_time_do_not_wait_for_each_other_with_a_known_key(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    token = token_of(provider)

    async def other() -> None:
        assert await ask(app, token=token) == WELCOME

    async def main() -> None:
        await issuer.reload()
        clock.move(FRESH_FOR)
        with provider.holding():
            assert await ask(app, token=token) == WELCOME
            await eventually(lambda: provider.fetches() == 2)
            await asyncio.to_thread(asyncio.run, other())
        await eventually(lambda: issuer.is_fresh)

    asyncio.run(main())
    assert provider.fetches() == 2


def test_new_key_is_an_outage_while_another_event_loop_fetches_it(
    app: Quart, clock: Clock, provider: Provider, issuer: qje.TrustedIssuer
) -> None:
    """A 422 would have clients throw away tokens that are good a second later."""

    async def other(token: str) -> None:
        assert await ask(app, token=token) == UNAVAILABLE

    async def main() -> None:
        await issuer.reload()
        provider.rotate()
        clock.move(PAUSE)
        token = token_of(provider)
        with provider.holding():
            waiting = asyncio.ensure_future(ask(app, token=token))
            await eventually(lambda: provider.fetches() == 2)
            await asyncio.to_thread(asyncio.run, other(token))
            async with app.app_context():
                with pytest.raises(qje.IssuerUnavailableError):
                    await asyncio.to_thread(qje.decode_token, token)
        assert await waiting == WELCOME

    asyncio.run(main())


async def test_ipv6_address_without_a_port_has_that_of_its_scheme(app: Quart) -> None:
    issuer = manager_of(app).trust_issuer(
        "https://issuer.example",
        jwks_uri="http://[::1]/keys",
        audience=AUDIENCE,
        algorithms="ES256",
    )
    with pytest.raises(qje.IssuerUnavailableError):
        await issuer.reload()
    # A host that was cut out of the address would not be found at all: that is a gaierror. Without
    # IPv6 on this machine there is no route.
    assert issuer.last_error in ("ConnectionRefusedError", "OSError")
