"""The example that replaces its keys, as a process of its own, with tokens read by PyJWT."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from support import access_claims, b64url, hs_token, json_segment
from support.example_process import EXAMPLES, Answer, Service, environment, log_in, running

APPLICATION = "asymmetric_rotation:app"
WELCOME = (200, {"username": "alice"})

# Seconds, of the example: how long a key is published before it signs, and how long after the
# successor's creation it may be thrown away.
ANNOUNCEMENT = 5 * 60
NEEDED = ANNOUNCEMENT + 15 * 60 + 60

WAIT_LIMIT = 30


def run(keys: Path) -> Any:
    return running(APPLICATION, keys.parent, KEYS_DIRECTORY=str(keys))


def write_key(keys: Path, age: float) -> str:
    """A key as if made ``age`` seconds ago; its name."""
    keys.mkdir(parents=True, exist_ok=True)
    kid = str(time.time_ns() - int(age * 1e9))
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    new = keys / f"{kid}.new"
    new.write_bytes(pem)
    new.rename(keys / f"{kid}.pem")
    return kid


def private_key(keys: Path, kid: str) -> Any:
    return load_pem_private_key((keys / f"{kid}.pem").read_bytes(), None)


def sign(keys: Path, kid: str, header: dict[str, Any] | None = None) -> str:
    """A token by this key, made without the example."""
    claims = access_claims(identity=..., sub="alice")
    header = {"kid": kid} if header is None else header
    return jwt.encode(claims, private_key(keys, kid), "ES256", header)


def rotate(keys: Path) -> None:
    """What cron would run."""
    command = ["-m", "quart", "--app", str(EXAMPLES / APPLICATION), "rotate-keys"]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=keys.parent,
        env=environment(KEYS_DIRECTORY=str(keys)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def names(keys: Path) -> set[str]:
    return {file.stem for file in keys.glob("*.pem")}


def me(service: Service, token: str) -> Answer:
    return service.call("GET", "/me", token)


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def published(service: Service) -> dict[str, dict[str, Any]]:
    answer = service.call("GET", "/.well-known/jwks.json")
    assert answer.status == 200
    return {key["kid"]: key for key in answer.body["keys"]}


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key that signs, and one that is too new to sign."""
    keys = tmp_path_factory.mktemp("rotation") / "keys"
    write_key(keys, age=ANNOUNCEMENT + 60)
    write_key(keys, age=ANNOUNCEMENT - 60)
    return keys


@pytest.fixture(scope="module")
def service(keys: Path) -> Iterator[Service]:
    with run(keys) as service:
        yield service


# --- Publishing -----------------------------------------------------------------------------------


def test_published_list_verifies_every_token_elsewhere(service: Service, keys: Path) -> None:
    token = log_in(service).access
    answer = service.call("GET", "/.well-known/jwks.json")
    key = jwt.PyJWKSet.from_dict(answer.body)[kid_of(token)]
    claims = jwt.decode(token, key, algorithms=["ES256"])
    assert (claims["sub"], claims["type"], claims["exp"] - claims["iat"]) == (
        "alice",
        "access",
        15 * 60,
    )
    assert me(service, token) == WELCOME


def test_published_list_has_all_keys_and_nothing_private(service: Service, keys: Path) -> None:
    assert set(published(service)) == names(keys)
    for kid, key in published(service).items():
        numbers = private_key(keys, kid).public_key().public_numbers()
        assert key == {
            "kty": "EC",
            "crv": "P-256",
            "use": "sig",
            "alg": "ES256",
            "kid": kid,
            "x": b64url(numbers.x.to_bytes(32, "big")),
            "y": b64url(numbers.y.to_bytes(32, "big")),
        }


def test_published_list_may_be_kept_for_less_than_the_announcement(service: Service) -> None:
    answer = service.call("GET", "/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert ANNOUNCEMENT > 60


# --- Which keys verify ----------------------------------------------------------------------------


def test_every_key_of_the_folder_verifies(service: Service, keys: Path) -> None:
    for kid in names(keys):
        assert me(service, sign(keys, kid)) == WELCOME


UNKNOWN = "../../../../etc/passwd"


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"kid": ""},
        {"kid": "1"},
        {"kid": UNKNOWN},
        {"kid": "\N{DUCK}"},
        {"kid": None},
        {"kid": 1},
        {"kid": True},
        {"kid": []},
        {"kid": {}},
    ],
    ids=repr,
)
def test_token_that_names_no_known_key_is_refused(
    service: Service, keys: Path, header: dict[str, Any]
) -> None:
    (kid, *_) = names(keys)
    key = private_key(keys, kid)
    signing_input = (
        f"{json_segment({'alg': 'ES256', **header})}."
        f"{json_segment(access_claims(identity=..., sub='alice'))}"
    )
    algorithm = jwt.get_algorithm_by_name("ES256")
    token = f"{signing_input}.{b64url(algorithm.sign(signing_input.encode(), key))}"
    answer = me(service, token)
    assert answer.status == 422
    assert UNKNOWN not in answer.body["msg"]


def test_token_that_names_another_key_than_that_which_signed_is_refused(
    service: Service, keys: Path
) -> None:
    first, second = names(keys)
    refused = (422, {"msg": "Signature verification failed"})
    assert me(service, sign(keys, first, {"kid": second})) == refused


def test_public_key_as_a_secret_is_refused(service: Service, keys: Path) -> None:
    (kid, *_) = names(keys)
    public = private_key(keys, kid).public_key()
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(published(service)[kid]),
    ):
        claims = access_claims(identity=..., sub="alice")
        token = hs_token(claims, secret=secret, header={"alg": "HS256", "kid": kid})
        assert me(service, token) == (422, {"msg": "The specified alg value is not allowed"})


# --- Rotation -------------------------------------------------------------------------------------


def test_rotation_announces_then_signs_then_keeps_the_old_key_until_it_is_removed(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    old = write_key(keys, age=3600)
    with run(keys) as service:
        old_token = log_in(service).access
        assert kid_of(old_token) == old

        rotate(keys)
        (new,) = names(keys) - {old}
        wait_until(lambda: set(published(service)) == {old, new})
        assert kid_of(log_in(service).access) == old
        assert me(service, sign(keys, new)) == WELCOME

        # As if that had happened a while ago.
        announced = write_key(keys, age=ANNOUNCEMENT + 1)
        wait_until(lambda: announced in published(service))
        token = log_in(service).access
        assert kid_of(token) == announced
        assert me(service, token) == me(service, old_token) == WELCOME

        (keys / f"{old}.pem").unlink()
        wait_until(lambda: old not in published(service))
        assert me(service, old_token).status == 422
        assert me(service, token) == WELCOME
    with run(keys) as service:
        assert me(service, token) == WELCOME
        assert me(service, old_token).status == 422


def test_first_key_of_all_signs_at_once_and_until_the_second_is_announced(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    rotate(keys)
    (kid,) = names(keys)
    with run(keys) as service:
        assert kid_of(log_in(service).access) == kid
        write_key(keys, age=0)
        wait_until(lambda: len(published(service)) == 2)
        token = log_in(service).access
        assert kid_of(token) == kid
        assert me(service, token) == WELCOME


def test_rotation_removes_only_keys_whose_last_token_has_expired(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    # Each key is needed for as long as its successor, the next in the list, is young.
    ages = [5000, NEEDED + 30, NEEDED - 30, 100]
    useless, *needed = [write_key(keys, age) for age in ages]
    rotate(keys)
    left = names(keys)
    assert useless not in left
    assert left > set(needed)
    assert len(left) == len(needed) + 1


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    rotate(keys)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    (file,) = keys.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


# --- What goes wrong with the folder --------------------------------------------------------------


def test_folder_that_cannot_be_read_leaves_the_known_keys_in_use(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    kid = write_key(keys, age=3600)
    away = tmp_path / "away"
    with run(keys) as service:
        token = log_in(service).access
        keys.rename(away)
        wait_until(lambda: "Keys cannot be read: No key in" in service.errors)
        keys.mkdir()
        encrypted = private_key(away, kid).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        )
        for content in (b"", b"no key", encrypted):
            (keys / "1.pem").write_bytes(content)
            seen = len(service.errors)
            wait_until(lambda seen=seen: len(service.errors) > seen)
            assert me(service, token) == WELCOME
            assert kid_of(log_in(service).access) == kid
        (keys / "1.pem").unlink()
        keys.rmdir()
        away.rename(keys)
        new = write_key(keys, age=ANNOUNCEMENT + 1)
        wait_until(lambda: new in published(service))
        assert kid_of(log_in(service).access) == new
        assert "Traceback" not in service.errors
        assert "PRIVATE" not in service.errors


def test_service_without_a_key_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="No key in .*: make one with rotate-keys"),
        run(tmp_path / "keys"),
    ):
        pass
