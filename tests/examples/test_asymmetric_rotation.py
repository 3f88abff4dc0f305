"""Test examples/asymmetric_rotation.py in a separate process; PyJWT reads its tokens."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from support.example_process import (
    EXAMPLES,
    Answer,
    Service,
    environment,
    example_claims,
    log_in,
    running,
)

APPLICATION = "asymmetric_rotation:app"
WELCOME = (200, {"username": "alice"})
UNKNOWN = (422, {"msg": "The key ID is not one of JWT_KEYS"})

# In seconds, as in the example.
ANNOUNCEMENT = 1200
LIFETIME = 900
NEEDED = ANNOUNCEMENT + LIFETIME + 60

WAIT_LIMIT = 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keys.json"


def run(file: Path) -> Any:
    return running(APPLICATION, file.parent.parent, KEYS_FILE=str(file))


def rotate(file: Path, *options: str) -> None:
    """Run the command that cron would run."""
    command = ["-m", "quart", "--app", str(EXAMPLES / APPLICATION), "rotate-keys", *options]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=file.parent.parent,
        env=environment(KEYS_FILE=str(file)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def write(file: Path, keys: Any) -> None:
    """Replace the file in one step, as the example does."""
    file.parent.mkdir(exist_ok=True)
    new = file.with_suffix(".test")
    new.write_text(keys if isinstance(keys, str) else json.dumps(keys))
    new.replace(file)


def made(age: float, **more: Any) -> dict[str, Any]:
    """Create a key that has signed for ``age`` seconds."""
    private = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return {"key": private, "sign_from": time.time() - age, **more}


def me(service: Service, token: str) -> Answer:
    return service.call("GET", "/me", token)


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def published(service: Service) -> dict[str, dict[str, Any]]:
    answer = service.call("GET", "/.well-known/jwks.json")
    assert answer.status == 200
    # Half of the time before a new key signs.
    assert answer.headers["Cache-Control"] == f"public, max-age={ANNOUNCEMENT // 2}"
    return {key["kid"]: key for key in json.loads(json.dumps(answer.body))["keys"]}


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_LIMIT
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_published_list_verifies_every_token_elsewhere(file: Path) -> None:
    rotate(file)
    with run(file) as service:
        token = log_in(service).access
        key = jwt.PyJWK(published(service)[kid_of(token)])
        claims = jwt.decode(token, key, algorithms=["ES256"])
        lifetime = claims["exp"] - claims["iat"]
        assert (claims["sub"], claims["type"], lifetime) == ("alice", "access", LIFETIME)
        assert me(service, token) == WELCOME
        assert all("d" not in key for key in published(service).values())


def test_token_that_names_no_key_of_the_file_is_rejected(file: Path) -> None:
    write(file, {"k": made(60)})
    key = jwt.PyJWK(read(file)["k"]["key"]).key
    claims = example_claims()
    with run(file) as service:
        assert me(service, jwt.encode(claims, key, "ES256", {"kid": "k"})) == WELCOME
        assert me(service, jwt.encode(claims, key, "ES256", {"kid": "../k"})) == UNKNOWN
        assert me(service, jwt.encode(claims, key, "ES256")).status == 422


def test_rotation_announces_then_signs_then_removes_the_old_key(file: Path) -> None:
    rotate(file)
    (old,) = read(file)
    with run(file) as service:
        old_token = log_in(service).access
        assert kid_of(old_token) == old

        rotate(file)
        (new,) = set(read(file)) - {old}
        wait_until(lambda: set(published(service)) == {old, new})
        assert kid_of(log_in(service).access) == old

        # As if that had happened a while ago.
        keys = read(file)
        keys[new]["sign_from"] = time.time() - 1
        write(file, keys)
        wait_until(lambda: kid_of(log_in(service).access) == new)
        assert me(service, old_token) == WELCOME

        keys[old].update(sign_from=1, verify_until=time.time() - 1)
        write(file, keys)
        wait_until(lambda: set(published(service)) == {new})
        assert me(service, old_token) == UNKNOWN
        assert me(service, log_in(service).access) == WELCOME


def test_rotation_ends_a_key_when_its_last_token_has_expired(file: Path) -> None:
    rotate(file)
    (old,) = read(file)
    rotate(file)
    keys = read(file)
    (new,) = set(keys) - {old}
    assert keys[new]["sign_from"] >= keys[old]["sign_from"] + ANNOUNCEMENT
    assert keys[old]["verify_until"] == keys[new]["sign_from"] + LIFETIME + 60
    assert "verify_until" not in keys[new]


def test_rotation_removes_only_keys_that_have_ended(file: Path) -> None:
    now = time.time()
    write(
        file,
        {
            "ended": made(5000, verify_until=now - 5),
            "ending": made(4000, verify_until=now + 60),
            "current": made(3000),
        },
    )
    rotate(file)
    keys = read(file)
    assert {"ending", "current"} < set(keys)
    assert "ended" not in keys
    assert len(keys) == 3
    assert keys["ending"]["verify_until"] == now + 60
    assert keys["current"]["verify_until"] >= int(now) + NEEDED


def test_leaked_key_is_removed_immediately(file: Path) -> None:
    rotate(file)
    (leaked,) = read(file)
    with run(file) as service:
        token = log_in(service).access
        rotate(file, "--leaked")
        assert leaked not in read(file)
        wait_until(lambda: leaked not in published(service))
        assert me(service, token) == UNKNOWN
        assert me(service, log_in(service).access) == WELCOME


def test_only_the_owner_can_read_the_keys(file: Path) -> None:
    rotate(file)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_known_keys_stay_in_use_if_the_file_cannot_be_read(file: Path) -> None:
    rotate(file)
    keys = read(file)
    with run(file) as service:
        token = log_in(service).access
        file.unlink()
        wait_until(lambda: "Cannot read the keys: " in service.errors)
        for content in ("", "no JSON", "{"):
            write(file, content)
            seen = len(service.errors)
            wait_until(lambda seen=seen: len(service.errors) > seen)
            assert me(service, token) == WELCOME
        write(file, keys)
        rotate(file)
        wait_until(lambda: len(published(service)) == 2)
        assert me(service, token) == WELCOME
        assert "Traceback" not in service.errors


def test_service_without_a_key_does_not_start(file: Path) -> None:
    with (
        pytest.raises(AssertionError, match="JWT_KEYS must be None, or a non-empty dict that maps"),
        run(file),
    ):
        pass
