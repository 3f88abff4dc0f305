"""The resource server, as a process of its own, with a provider that rotates keys and goes away."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support import b64url, hs_token, json_segment
from support.example_process import EXAMPLES, Answer, Service, running
from support.openid_provider import CONFIGURATION, KEYS, Provider

APPLICATION = "openid_resource_server:app"
AUDIENCE = "https://notes.example.com"
SUBJECT = "248289761001"
WELCOME = (200, {"subject": SUBJECT})
AWAY = (
    503,
    {
        "title": "Provider unavailable",
        "status": 503,
        "detail": "Tokens cannot be checked now, try again later",
    },
)

WAIT_LIMIT = 30

# The example asks its provider again after ten seconds, for which no test should wait, and gives up
# after five, in which a slow machine may not have finished what a test does meanwhile.
IMPATIENT = """\
import openid_resource_server

openid_resource_server.PAUSE = 0.2
openid_resource_server.FETCH_LIMIT = 60
app = openid_resource_server.app
"""


def environment(provider: Provider) -> dict[str, str]:
    return {"OPENID_ISSUER": provider.issuer, "OPENID_AUDIENCE": AUDIENCE, "NO_PROXY": "127.0.0.1"}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One that has an RSA key and an EC key, and stays there."""
    with Provider() as provider:
        provider.rotate("RSA")
        yield provider


@pytest.fixture(scope="module")
def service(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(
        APPLICATION, tmp_path_factory.mktemp("openid"), **environment(provider)
    ) as service:
        yield service


def me(service: Service, token: str) -> Answer:
    return service.call("GET", "/me", token)


def assert_refused(answer: Answer, code: str = "token_invalid") -> None:
    assert (answer.status, answer.body["code"]) == (401, code), answer
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


# --- Tokens ---------------------------------------------------------------------------------------


def test_tokens_of_the_provider_are_accepted_whatever_their_key(
    provider: Provider, service: Service
) -> None:
    for kid in provider.keys:
        assert me(service, provider.token(AUDIENCE, kid=kid)) == WELCOME
    assert len(provider.keys) == 2


def test_audience_may_be_one_of_several(provider: Provider, service: Service) -> None:
    assert me(service, provider.token(["https://other.example.com", AUDIENCE])) == WELCOME


def test_scope_of_the_provider_opens_the_view_that_asks_for_it(
    provider: Provider, service: Service
) -> None:
    token = provider.token(AUDIENCE, scope="openid notes:read")
    answer = service.call("GET", "/notes", token)
    assert answer == (200, {"notes": [f"A note of {SUBJECT}"]})
    answer = service.call("GET", "/notes", provider.token(AUDIENCE))
    assert (answer.status, answer.body["code"]) == (403, "insufficient_scope")
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer error="insufficient_scope", scope="notes:read"'
    )


def test_request_without_a_token_is_refused(service: Service) -> None:
    answer = service.call("GET", "/me")
    assert (answer.status, answer.body["code"]) == (401, "token_missing")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example.com"},
        {"iss": ...},
        {"iss": ["http://127.0.0.1"]},
        {"aud": "https://other.example.com"},
        {"aud": AUDIENCE + "/"},
        {"aud": ...},
        {"aud": []},
        {"sub": ...},
        {"sub": 248289761001},
        {"nbf": 10**10},
        {"iat": 10**10},
        {"exp": "never"},
        {"type": "id"},
    ],
    ids=repr,
)
def test_token_with_other_claims_is_refused(
    provider: Provider, service: Service, changes: dict[str, Any]
) -> None:
    assert_refused(me(service, provider.token(**{"audience": AUDIENCE, **changes})))


def test_expired_token_is_refused(provider: Provider, service: Service) -> None:
    token = provider.token(AUDIENCE, exp=int(time.time()) - 60)
    assert_refused(me(service, token), "token_expired")


def test_token_by_another_key_of_the_same_name_is_refused(
    provider: Provider, service: Service
) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    answer = me(service, provider.token(AUDIENCE, kid="key-1", key=stranger))
    assert_refused(answer)
    assert answer.body["detail"] == "Signature verification failed"


@pytest.mark.parametrize("header", [{}, {"kid": ""}, {"kid": "unknown"}, {"kid": "\0"}], ids=repr)
def test_token_that_names_no_key_of_the_provider_is_refused(
    provider: Provider, service: Service, header: dict[str, str]
) -> None:
    assert me(service, provider.token(AUDIENCE)) == WELCOME
    for kid in provider.keys:
        assert_refused(me(service, provider.token(AUDIENCE, kid=kid, header=header)))


@pytest.mark.parametrize("alg", ["none", "HS256", "HS512"])
def test_token_without_a_proper_signature_is_refused(
    provider: Provider, service: Service, alg: str
) -> None:
    claims = jwt.decode(provider.token(AUDIENCE), options={"verify_signature": False})
    header = {"alg": alg, "kid": provider.signing_kid}
    public = provider.keys[provider.signing_kid].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if alg == "none":
        token = f"{json_segment(header)}.{json_segment(claims)}."
    else:
        token = hs_token(claims, secret=pem, alg=alg, header=header)
    answer = me(service, token)
    assert_refused(answer)
    assert answer.body["detail"] == "The specified alg value is not allowed"


def test_made_up_keys_do_not_make_the_service_ask_the_provider_again_and_again(
    provider: Provider, service: Service
) -> None:
    assert me(service, provider.token(AUDIENCE)) == WELCOME
    provider.requests.clear()
    begin = time.monotonic()
    forged = [provider.token(AUDIENCE, header={"kid": f"made up {n}"}) for n in range(100)]
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda token: me(service, token), forged):
            assert_refused(answer)
    seconds = time.monotonic() - begin
    assert len(provider.requests) <= 2 * (1 + seconds / 10)
    assert me(service, provider.token(AUDIENCE)) == WELCOME


# --- The life of a provider -----------------------------------------------------------------------


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[tuple[Provider, Service]]:
    """A provider of its own, and a service that asks it again at once."""
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    with Provider() as provider:
        variables = {**environment(provider), "PYTHONPATH": str(EXAMPLES)}
        with running(str(tmp_path / "impatient:app"), tmp_path, **variables) as service:
            yield provider, service


def wait_for(service: Service, token: str, expected: tuple[int, Any]) -> None:
    """Ask until the answer is this one."""
    deadline = time.monotonic() + WAIT_LIMIT
    while (answer := me(service, token)) != expected:
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


def test_service_follows_its_provider_through_rotations_and_absences(
    impatient: tuple[Provider, Service],
) -> None:
    provider, service = impatient
    provider.stop()
    first = provider.token(AUDIENCE)
    answer = me(service, first)
    assert answer == AWAY
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert float(answer.headers["Retry-After"]) > 0

    provider.start()
    wait_for(service, first, WELCOME)

    provider.rotate("RSA")
    second = provider.token(AUDIENCE)
    wait_for(service, second, WELCOME)
    assert me(service, first) == WELCOME

    provider.stop()
    assert me(service, first) == me(service, second) == WELCOME
    provider.rotate()
    third = provider.token(AUDIENCE)
    wait_for(service, third, AWAY)
    assert me(service, first) == me(service, second) == WELCOME
    assert_refused(
        me(service, provider.token("another", header={"kid": "key-2"}, key=provider.keys["key-2"]))
    )

    provider.start()
    wait_for(service, third, WELCOME)
    assert me(service, first) == me(service, second) == WELCOME

    errors = service.errors
    assert "Keys cannot be fetched from" in errors
    assert "Traceback" not in errors
    for token in (first, second, third):
        assert token not in errors


def test_withdrawn_key_is_forgotten_with_the_next_fetch(
    impatient: tuple[Provider, Service],
) -> None:
    provider, service = impatient
    leaked = provider.signing_kid
    stolen = provider.token(AUDIENCE)
    assert me(service, stolen) == WELCOME
    provider.rotate()
    del provider.keys[leaked]
    wait_for(service, provider.token(AUDIENCE), WELCOME)
    assert_refused(me(service, stolen))


def test_other_requests_go_on_while_the_provider_takes_its_time(
    impatient: tuple[Provider, Service],
) -> None:
    provider, service = impatient
    known = provider.token(AUDIENCE)
    assert me(service, known) == WELCOME
    provider.rotate()
    time.sleep(0.3)
    asked = len(provider.requests)
    provider.answering.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(me, service, provider.token(AUDIENCE)) for _ in range(8)]
        while len(provider.requests) == asked:
            time.sleep(0.01)
        for _ in range(5):
            assert me(service, known) == WELCOME
        assert not any(request.done() for request in waiting)
        provider.answering.set()
        assert [request.result() for request in waiting] == [WELCOME] * 8
    assert provider.requests[asked:] == [CONFIGURATION, KEYS]


# --- The keys, with a clock that the test sets ----------------------------------------------------


@pytest.fixture
def lone() -> Iterator[Provider]:
    """A provider for one test."""
    with Provider() as provider:
        yield provider


@pytest.fixture
def example(lone: Provider, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example in this process, for that provider."""
    for name, value in environment(lone).items():
        monkeypatch.setenv(name, value)
    path = EXAMPLES / "openid_resource_server.py"
    spec = importlib.util.spec_from_file_location("openid_resource_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Clock:
    """What the example takes for the time."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(example, "time", clock)
    return clock


@pytest.fixture
async def keys(example: ModuleType) -> AsyncIterator[Any]:
    """The object that fetches and keeps the keys; the other fixtures are what it depends on."""
    yield example.provider_keys
    await example.close()


FETCH = [CONFIGURATION, KEYS]


async def eventually(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_keys_are_fetched_when_first_needed_and_then_kept(
    example: ModuleType, clock: Clock, lone: Provider, keys: Any
) -> None:
    assert lone.requests == []
    for _ in range(100):
        assert await keys.get("key-1") is not None
    clock.now += example.REFRESH_AFTER - 1
    assert await keys.get("key-1") is not None
    assert lone.requests == FETCH
    clock.now += 1
    assert await keys.get("key-1") is not None
    assert lone.requests == FETCH * 2


async def test_requests_at_the_same_time_share_one_fetch(
    clock: Clock, lone: Provider, keys: Any
) -> None:
    found = await asyncio.gather(*(keys.get(f"key-{n % 2}") for n in range(100)))
    assert [key is not None for key in found] == [False, True] * 50
    assert lone.requests == FETCH


async def test_fetch_that_takes_longer_than_the_pause_is_still_the_only_one(
    example: ModuleType, clock: Clock, lone: Provider, keys: Any
) -> None:
    lone.answering.clear()
    requests = []
    for _ in range(3):
        requests.append(asyncio.create_task(keys.get("key-1")))
        await eventually(lambda: lone.requests == [CONFIGURATION])
        clock.now += example.PAUSE
    lone.answering.set()
    assert None not in await asyncio.gather(*requests)
    assert lone.requests == FETCH


async def test_unknown_key_is_asked_for_once_per_pause(
    example: ModuleType, clock: Clock, lone: Provider, keys: Any
) -> None:
    assert await keys.get("key-1") is not None
    new = lone.rotate()
    clock.now += example.PAUSE - 0.1
    for kid in (new, "made up"):
        assert await keys.get(kid) is None
    assert lone.requests == FETCH
    clock.now += 0.1
    for kid, known in ((new, True), ("made up", False), ("another", False)):
        assert (await keys.get(kid) is not None) == known
    assert lone.requests == FETCH * 2


async def test_withdrawn_key_is_not_good_for_longer_even_where_nobody_asked_meanwhile(
    example: ModuleType, clock: Clock, lone: Provider, keys: Any
) -> None:
    assert await keys.get("key-1") is not None
    lone.rotate()
    del lone.keys["key-1"]
    clock.now += example.REFRESH_AFTER - 1
    assert await keys.get("key-1") is not None
    clock.now += 1
    assert await asyncio.gather(*(keys.get("key-1") for _ in range(10))) == [None] * 10
    assert await keys.get("key-2") is not None
    assert lone.requests == FETCH * 2


async def test_known_key_does_not_wait_for_a_provider_that_is_away(
    example: ModuleType, clock: Clock, lone: Provider, keys: Any
) -> None:
    assert await keys.get("key-1") is not None
    lone.answers[CONFIGURATION] = (503, {}, b"")
    clock.now += example.REFRESH_AFTER
    assert await keys.get("key-1") is not None
    del lone.answers[CONFIGURATION]
    lone.answering.clear()
    lone.rotate()
    clock.now += example.PAUSE
    for _ in range(10):
        assert await keys.get("key-1") is not None
    await eventually(lambda: len(lone.requests) == 4)
    assert await keys.get("key-1") is not None
    lone.answering.set()
    assert await keys.get("key-2") is not None
    assert lone.requests == [*FETCH, CONFIGURATION, *FETCH]


async def test_keys_of_an_absent_provider_are_used_for_a_day_and_no_longer(
    example: ModuleType, clock: Clock, lone: Provider, keys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert await keys.get("key-1") is not None
    lone.stop()
    begin = clock.now
    for attempts, age in ((1, example.REFRESH_AFTER + 1), (2, example.KEEP_FOR - 1)):
        clock.now = begin + age
        assert await keys.get("key-1") is not None
        await eventually(lambda attempts=attempts: len(caplog.records) == attempts)
    clock.now = begin + 24 * 60 * 60
    with pytest.raises(example.ProviderUnavailable):
        await keys.get("key-1")
    lone.start()
    # The last attempt was a moment ago.
    with pytest.raises(example.ProviderUnavailable):
        await keys.get("key-1")
    assert lone.requests == FETCH
    clock.now += example.PAUSE
    assert await keys.get("key-1") is not None
    assert await keys.get("made up") is None


async def test_absent_provider_is_asked_once_per_pause(
    example: ModuleType, clock: Clock, lone: Provider, keys: Any
) -> None:
    lone.answers[CONFIGURATION] = (503, {}, b"")
    for attempts in (1, 2, 3):
        for kid in ("key-1", "made up"):
            with pytest.raises(example.ProviderUnavailable):
                await keys.get(kid)
        assert lone.requests == [CONFIGURATION] * attempts
        clock.now += example.PAUSE


async def test_provider_that_hangs_is_given_up(
    example: ModuleType,
    clock: Clock,
    lone: Provider,
    keys: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await keys.get("key-1") is not None
    monkeypatch.setattr(example, "FETCH_LIMIT", 0.1)
    lone.answering.clear()
    clock.now += example.PAUSE
    with pytest.raises(example.ProviderUnavailable):
        await keys.get("key-2")
    assert await keys.get("key-1") is not None
    assert "TimeoutError" in caplog.text
    lone.answering.set()
    monkeypatch.undo()


async def test_request_that_is_cancelled_does_not_cancel_the_fetch(
    clock: Clock, lone: Provider, keys: Any
) -> None:
    lone.answering.clear()
    impatient, patient = (asyncio.create_task(keys.get("key-1")) for _ in range(2))
    await eventually(lambda: lone.requests == [CONFIGURATION])
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    lone.answering.set()
    assert await patient is not None
    assert lone.requests == FETCH


async def test_end_of_the_service_does_not_wait_for_a_fetch(
    example: ModuleType, lone: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    lone.answering.clear()
    async with example.app.test_app():
        waiting = asyncio.create_task(example.provider_keys.get("key-1"))
        await eventually(lambda: lone.requests == [CONFIGURATION])
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert caplog.records == []


@pytest.mark.parametrize(
    ("path", "status", "headers", "change"),
    [
        (CONFIGURATION, 404, {}, lambda good: good),
        (CONFIGURATION, 302, {"Location": "/elsewhere"}, lambda good: good),
        (CONFIGURATION, 200, {}, lambda good: b""),
        (CONFIGURATION, 200, {}, lambda good: b"[]"),
        (CONFIGURATION, 200, {}, lambda good: b"{}"),
        (CONFIGURATION, 200, {}, lambda good: b"\xff"),
        (CONFIGURATION, 200, {}, lambda good: good.replace(b"http:", b"https:", 1)),
        (CONFIGURATION, 200, {}, lambda good: good + b" " * 256 * 1024),
        (KEYS, 500, {}, lambda good: good),
        (KEYS, 302, {"Location": "/elsewhere"}, lambda good: good),
        (KEYS, 200, {}, lambda good: b"null"),
        (KEYS, 200, {}, lambda good: b'{"keys": []}'),
        (KEYS, 200, {}, lambda good: b'{"keys": 7}'),
        (KEYS, 200, {}, lambda good: good.replace(b'"x"', b'"X"')),
        (KEYS, 200, {}, lambda good: good + b" " * 256 * 1024),
        (KEYS, 200, {}, lambda good: b"[" * 100_000),
    ],
)
async def test_bad_answer_of_the_provider_leaves_the_known_keys_in_use(
    example: ModuleType,
    clock: Clock,
    lone: Provider,
    keys: Any,
    caplog: pytest.LogCaptureFixture,
    path: str,
    status: int,
    headers: dict[str, str],
    change: Callable[[bytes], bytes],
) -> None:
    assert await keys.get("key-1") is not None
    new = lone.rotate()
    good = {CONFIGURATION: lone.configuration(), KEYS: lone.key_set()}
    body = change(json.dumps(good[path]).encode())
    lone.answers[path] = (status, headers, body)
    if status == 302:
        lone.publish("/elsewhere", good[path])
    clock.now += example.PAUSE
    with pytest.raises(example.ProviderUnavailable):
        await keys.get(new)
    assert await keys.get("key-1") is not None
    (record,) = caplog.records
    assert record.getMessage().startswith(f"Keys cannot be fetched from {lone.issuer}: ")
    assert lone.requests[2:] == [CONFIGURATION, KEYS][: 1 + (path == KEYS)]

    del lone.answers[path]
    clock.now += example.PAUSE
    assert await keys.get(new) is not None


async def test_keys_for_other_uses_and_without_a_name_are_passed_over(
    clock: Clock, lone: Provider, keys: Any
) -> None:
    (good,) = lone.key_set()["keys"]
    lone.publish(
        KEYS,
        {
            "keys": [
                {**good, "kid": "encrypts", "use": "enc"},
                {name: value for name, value in good.items() if name != "kid"},
                {"kty": "unheard of", "kid": "new"},
                {**good, "kid": "any use", "use": None},
                good,
            ]
        },
    )
    wanted = {"encrypts": False, "": False, "new": False, "any use": True, "key-1": True}
    for kid, known in wanted.items():
        assert (await keys.get(kid) is not None) == known
    assert lone.requests == FETCH


async def test_secret_in_the_list_of_keys_verifies_nothing(
    example: ModuleType, lone: Provider
) -> None:
    """Everybody can read it there."""
    secret = b"a secret that a careless provider publishes"
    shared = {"kty": "oct", "kid": "shared", "k": b64url(secret)}
    lone.publish(KEYS, {"keys": [*lone.key_set()["keys"], shared]})
    claims = jwt.decode(lone.token(AUDIENCE), options={"verify_signature": False})
    token = hs_token(claims, secret=secret, header={"alg": "HS256", "kid": "shared"})
    async with example.app.test_app():
        client = example.app.test_client()
        for bearer, status in ((lone.token(AUDIENCE), 200), (token, 401)):
            headers = {"Authorization": f"Bearer {bearer}"}
            assert (await client.get("/me", headers=headers)).status_code == status
