"""When and how the keys of a trusted issuer are fetched, and what serves meanwhile."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from quart import Quart

import quart_jwt_extended as qje
from support import FAR_FUTURE, SECRET, ask, b64url, json_segment, manager_of
from support.openid_provider import CONFIGURATION, KEYS, Clock, Provider
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


# --- Answers of no use ----------------------------------------------------------------------------

NOT_JSON = "its answer is not JSON"
NO_OBJECT = "its answer is not a JSON object"
NO_SET = "its answer is not a JWK Set"
NO_KEY = "its JWK Set holds no key that can be used"

BROKEN_SETS = {
    "nothing": (b"", NOT_JSON),
    "text": (b"<html>Be right back</html>", NOT_JSON),
    "half": (b'{"keys": [', NOT_JSON),
    "two": (b'{"keys": []}{"keys": []}', NOT_JSON),
    "not UTF-8": (b'{"keys": [], "a": "\xff"}', NOT_JSON),
    "UTF-16": ('{"keys": []}'.encode("utf-16"), NOT_JSON),
    "deep list": (b'{"keys": ' + b"[" * 100_000, NOT_JSON),
    "deep object": (b'{"keys":' * 30_000, NOT_JSON),
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
