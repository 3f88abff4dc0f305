"""Test examples/openid_resource_server.py with a provider that rotates keys and has outages."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from quart_jwt_extended import IssuerUnavailableError
from support import bearer, hs_token
from support.example_process import EXAMPLES, START_LIMIT, Answer, Service, hypercorn, running
from support.example_process import environment as process_environment
from support.openid_provider import CONFIGURATION, KEYS, Provider
from support.services import free_port

APPLICATION = "openid_resource_server:app"
AUDIENCE = "https://notes.example.com/api"
METADATA = "/.well-known/oauth-protected-resource/api"
CHALLENGE = f'resource_metadata="https://notes.example.com{METADATA}"'
SUBJECT = "248289761001"
FETCH = [CONFIGURATION, KEYS]


def environment(provider: Provider) -> dict[str, str]:
    return {"OPENID_ISSUER": provider.issuer, "OPENID_AUDIENCE": AUDIENCE}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """A provider with an EC key and an RSA key, which stays available."""
    with Provider() as provider:
        provider.rotate("RSA")
        yield provider


@pytest.fixture(scope="module")
def service(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(
        APPLICATION, tmp_path_factory.mktemp("openid"), **environment(provider)
    ) as service:
        yield service


def welcome(provider: Provider) -> tuple[int, Any]:
    return 200, {"issuer": provider.issuer, "subject": SUBJECT}


def assert_rejected(answer: Answer, code: str = "token_invalid") -> None:
    assert (answer.status, answer.body["code"]) == (401, code), answer
    assert answer.headers["WWW-Authenticate"] == f'Bearer error="invalid_token", {CHALLENGE}'


# --- A process of its own -------------------------------------------------------------------------


def test_tokens_of_the_provider_are_accepted_with_each_key(
    provider: Provider, service: Service
) -> None:
    for kid in provider.keys:
        token = provider.token(AUDIENCE, kid=kid)
        assert service.call("GET", "/me", token) == welcome(provider)
    assert len(provider.keys) == 2


def test_keys_are_fetched_once_before_the_first_request(
    provider: Provider, service: Service
) -> None:
    assert service.call("GET", "/me", provider.token(AUDIENCE)) == welcome(provider)
    assert provider.requests == FETCH


def test_health_reports_the_state_of_the_keys_and_fetches_nothing(
    provider: Provider, service: Service
) -> None:
    before = list(provider.requests)
    for _ in range(3):
        answer = service.call("GET", "/health")
        keys = sorted(provider.keys)
        assert answer == (200, {"is_fresh": True, "key_ids": keys, "last_error": None})
    assert provider.requests == before


def test_scope_of_the_provider_is_required_by_the_view(
    provider: Provider, service: Service
) -> None:
    token = provider.token(AUDIENCE, scope="openid notes:read")
    answer = service.call("GET", "/notes", token)
    assert answer == (200, {"notes": [f"A note of {SUBJECT}"]})
    answer = service.call("GET", "/notes", provider.token(AUDIENCE))
    assert (answer.status, answer.body["code"]) == (403, "insufficient_scope")
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer error="insufficient_scope", scope="notes:read", {CHALLENGE}'
    )


def test_client_without_a_token_learns_where_to_get_one(
    provider: Provider, service: Service
) -> None:
    answer = service.call("GET", "/me")
    assert (answer.status, answer.body["code"]) == (401, "token_missing")
    assert answer.headers["WWW-Authenticate"] == f"Bearer {CHALLENGE}"
    assert service.call("GET", METADATA) == (
        200,
        {
            "resource": AUDIENCE,
            "authorization_servers": [provider.issuer],
            "scopes_supported": ["notes:read"],
            "bearer_methods_supported": ["header"],
        },
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example.com"},
        {"iss": ...},
        {"audience": "https://notes.example.com"},
        {"aud": ...},
        {"sub": ...},
        {"exp": ...},
    ],
    ids=repr,
)
def test_token_with_other_claims_is_rejected(
    provider: Provider, service: Service, changes: dict[str, Any]
) -> None:
    token = provider.token(**{"audience": AUDIENCE, **changes})
    assert_rejected(service.call("GET", "/me", token))


def test_expired_token_is_rejected(provider: Provider, service: Service) -> None:
    token = provider.token(AUDIENCE, exp=int(time.time()) - 60)
    assert_rejected(service.call("GET", "/me", token), "token_expired")


def test_token_signed_with_another_key_of_the_same_id_is_rejected(
    provider: Provider, service: Service
) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    token = provider.token(AUDIENCE, kid="key-1", key=stranger)
    assert_rejected(service.call("GET", "/me", token))


def test_token_that_anybody_can_make_is_rejected(service: Service) -> None:
    """The service has no key of its own, which could verify the token."""
    token = hs_token({"sub": SUBJECT, "aud": AUDIENCE}, secret="")
    assert_rejected(service.call("GET", "/me", token))


def test_service_does_not_start_without_its_provider(tmp_path: Path) -> None:
    with Provider() as provider:
        variables = environment(provider)
    arguments = [part.replace("{port}", str(free_port())) for part in hypercorn(APPLICATION)]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=process_environment(**variables),
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
        check=False,
    )
    assert done.returncode != 0
    name = variables["OPENID_ISSUER"]
    assert f"IssuerUnavailableError: The keys of {name} could not be fetched: " in done.stderr


# --- In this process ------------------------------------------------------------------------------


@pytest.fixture
def lone() -> Iterator[Provider]:
    """A provider for one test."""
    with Provider() as provider:
        yield provider


@pytest.fixture
async def example(lone: Provider, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModuleType]:
    """The example, started for that provider."""
    for name, value in environment(lone).items():
        monkeypatch.setenv(name, value)
    path = EXAMPLES / "openid_resource_server.py"
    spec = importlib.util.spec_from_file_location("openid_resource_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    async with module.app.test_app():
        yield module


async def test_service_continues_during_an_outage_of_its_provider(
    example: ModuleType, lone: Provider
) -> None:
    client = example.app.test_client()
    first = lone.token(AUDIENCE)
    lone.rotate()
    second = lone.token(AUDIENCE)

    lone.stop()
    with pytest.raises(IssuerUnavailableError):
        await example.provider.reload()
    assert (await client.get("/me", headers=bearer(first))).status_code == 200
    answer = await client.get("/me", headers=bearer(second))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert (await answer.get_json())["code"] == "issuer_unavailable"
    health = await (await client.get("/health")).get_json()
    assert health == {
        "is_fresh": True,
        "key_ids": ["key-1"],
        "last_error": "ConnectionRefusedError",
    }

    lone.start()
    await example.provider.reload()
    for token in (first, second):
        assert (await client.get("/me", headers=bearer(token))).status_code == 200


async def test_withdrawn_key_verifies_nothing_after_the_next_fetch(
    example: ModuleType, lone: Provider
) -> None:
    client = example.app.test_client()
    stolen = lone.token(AUDIENCE)
    assert (await client.get("/me", headers=bearer(stolen))).status_code == 200
    lone.rotate()
    del lone.keys["key-1"]
    await example.provider.reload()
    assert (await client.get("/me", headers=bearer(stolen))).status_code == 401
