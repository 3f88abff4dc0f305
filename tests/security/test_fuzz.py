"""The fuzzer's targets without the fuzzer: its cases, its mutations, and that it can find a fault.

``make fuzz`` runs the same functions under coverage guidance, on a build of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest

import quart_jwt_extended as qje

FUZZ = Path(__file__).parents[1] / "fuzz"
sys.path.insert(0, str(FUZZ))

import codec  # noqa: E402
import locations  # noqa: E402
import run as runner  # noqa: E402

pytestmark = pytest.mark.may_show_secrets("a finding of the fuzzer shows its input")

TARGETS: dict[str, ModuleType] = {"codec": codec, "locations": locations}
CASES = [(target, name) for target in TARGETS for name in runner.cases(target)]


@pytest.fixture(autouse=True, scope="module")
def _no_loop_is_left() -> Iterator[None]:
    yield
    locations.loop().close()
    locations.loop.cache_clear()


@pytest.mark.parametrize(("target", "name"), CASES)
def test_committed_case_gets_the_verdict_of_the_oracle(target: str, name: str) -> None:
    assert TARGETS[target].check(runner.cases(target)[name])


# What the cases, and the changes to them, have to reach; else a target has lost its way.
MUST_REACH = {
    "codec": {
        "accepted",
        "CSRFError: CSRF double submit tokens do not match",
        "DecodeError: Expiration Time claim (exp) must be an integer.",
        "DecodeError: Invalid header padding",
        "DecodeError: Invalid payload string",
        "DecodeError: Token is too long",
        "ExpiredSignatureError: Signature has expired",
        "InvalidSignatureError: Signature verification failed",
    },
    "locations": {
        "accepted",
        'NoAuthorizationError: Missing cookie "a.b"',
        'NoAuthorizationError: Missing "access_token" key in json data.',
        "InvalidHeaderError: Bad Authorization header. Expected value 'Bearer <JWT>'",
        "CSRFError: CSRF double submit tokens do not match",
        "InvalidSignatureError: Signature verification failed",
        "WrongTokenError: Only access tokens are allowed",
    },
}


@pytest.mark.parametrize("target", TARGETS)
def test_cases_reach_what_the_target_is_about(target: str) -> None:
    verdicts = {TARGETS[target].check(data) for data in runner.cases(target).values()}
    assert verdicts >= MUST_REACH[target]


def changed(target: ModuleType, data: bytes, rng: random.Random) -> bytes:
    """A mutation as the fuzzer makes them: what knows the format, or any byte."""
    if rng.random() < 0.6:
        return target.mutate(data, rng)
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(3)) + data[at + rng.randrange(3) :]


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_of_the_cases_get_the_verdict_of_the_oracle(target: str) -> None:
    rng = random.Random(5)
    verdicts: Counter[str] = Counter()
    inputs = list(runner.cases(target).values())
    for _ in range(600):
        data = changed(TARGETS[target], rng.choice(inputs), rng)[: runner.MAX_LENGTH]
        verdict = TARGETS[target].check(data)
        if verdict not in verdicts:
            inputs.append(data)
        verdicts[verdict] += 1
    assert verdicts["accepted"] > 10
    assert len(verdicts) > 15


# --- That the oracles see a fault ---------------------------------------------

GOOD = b'\0\1{"identity":"alice"}'


def accepts_everything(*arguments: Any, **options: Any) -> dict[str, Any]:
    return {"identity": "alice", "jti": None, "type": "access", "fresh": False, "user_claims": {}}


def forgets_a_default(token: Any, *arguments: Any) -> dict[str, Any]:
    return {"identity": "alice"}


def reads_one_as_true(token: Any, *arguments: Any) -> dict[str, Any]:
    return {**accepts_everything(), "fresh": 0}


def lets_another_error_out(*arguments: Any) -> dict[str, Any]:
    raise ValueError("Signature verification failed")


def words_it_otherwise(*arguments: Any) -> dict[str, Any]:
    raise jwt.DecodeError("Signature verification failed")


def looks_at_claims_first(*arguments: Any) -> dict[str, Any]:
    raise jwt.DecodeError("Invalid payload string: duplicate member name")


@pytest.mark.parametrize(
    ("data", "broken"),
    [
        (b'\0\1{"identity":"alice","exp":1700000000}', accepts_everything),
        (b'\0\1{"identity":"alice","identity":"alice"}', accepts_everything),
        (b"\0\0e30.e30.", accepts_everything),
        (GOOD, forgets_a_default),
        (GOOD, reads_one_as_true),
        (GOOD, lets_another_error_out),
        (GOOD, words_it_otherwise),
        (b'\0\3\0\x28A{"identity":"a","identity":"a"}', looks_at_claims_first),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_wrong_verdict_of_the_codec_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, data: bytes, broken: Callable[..., dict[str, Any]]
) -> None:
    codec.check(data)
    monkeypatch.setattr(codec.qje, "decode_token", broken)
    monkeypatch.setattr(codec, "decode_jwt", broken)
    with pytest.raises(AssertionError):
        codec.check(data)


def test_decode_jwt_that_differs_from_decode_token_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "decode_jwt", words_it_otherwise)
    with pytest.raises(AssertionError, match="decode_jwt"):
        codec.check(GOOD)


def test_header_that_is_read_otherwise_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec.qje, "get_unverified_jwt_headers", lambda token: {"alg": "none"})
    with pytest.raises(AssertionError, match="header"):
        codec.check(GOOD)


async def verify_nothing(*arguments: Any) -> None:
    pass


@pytest.mark.parametrize("name", ["verify_jwt_in_request", "get_jwt"])
def test_request_that_is_judged_otherwise_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = b"\0\0\nauthorization:Bearer \1"
    assert locations.check(data) == "accepted"
    broken = verify_nothing if name == "verify_jwt_in_request" else accepts_everything
    monkeypatch.setattr(qje, name, broken)
    with pytest.raises(AssertionError, match="we found"):
        locations.check(data)


def test_protected_view_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_claims() -> dict[str, Any]:
        raise ValueError("on purpose")

    # What the views of support.make_app call, and the comparison does not.
    monkeypatch.setattr(qje, "get_jwt_claims", no_claims)
    with pytest.raises(AssertionError, match="a protected view answers"):
        locations.check(b"\0\0\nauthorization:Bearer \1")


# --- The scripts --------------------------------------------------------------

# Judges every file that it is given, and one mutation of it.
IN_PLACE_OF_ATHERIS = """\
import pathlib

def Setup(arguments, run, custom_mutator):
    global judge
    def judge():
        for name in arguments[1:]:
            if not name.startswith("-"):
                data = pathlib.Path(name).read_bytes()
                run(data)
                run(custom_mutator(data, 100, 1))
                print("judged", len(data))

def Mutate(data, size):
    return data[:size]

def Fuzz():
    judge()
"""


@pytest.mark.parametrize("target", TARGETS)
def test_worker_hands_inputs_and_words_to_the_fuzzer(tmp_path: Path, target: str) -> None:
    (tmp_path / "atheris.py").write_text(IN_PLACE_OF_ATHERIS)
    data = next(iter(runner.cases(target).values()))
    (tmp_path / "input").write_bytes(data)
    words = tmp_path / "words"
    done = subprocess.run(
        [sys.executable, FUZZ / "worker.py", target, f"-dict={words}", tmp_path / "input"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"judged {len(data)}\n"
    quoted = [line for line in words.read_text().splitlines() if line.startswith('"\\x')]
    assert len(quoted) == len([word for word in TARGETS[target].WORDS if word])


def test_finding_that_is_kept_becomes_a_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CASES", tmp_path / "cases.json")
    runner.CASES.write_text(json.dumps({"codec": {}, "locations": {}}))
    data = bytes(range(256))
    (tmp_path / "crash").write_bytes(data)
    runner.keep("codec", "all bytes", str(tmp_path / "crash"))
    assert runner.cases("codec") == {"all bytes": data}
    with pytest.raises(SystemExit, match="of that name"):
        runner.keep("codec", "all bytes", str(tmp_path / "crash"))


LINES = {
    "clean": "#10 NEW cov: 5 MS: 2 Custom-ChangeBit-\n#11 DONE cov: 5\n",
    "without the mutator": "#10 NEW cov: 5 MS: 1 ChangeBit-\n#11 DONE cov: 5\n",
}


@pytest.fixture
def log_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Let a run of the fuzzer end at once, with this log and this status."""
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "WORK", tmp_path / "build" / "fuzz")

    def prepare(text: str, status: int) -> None:
        def start(*arguments: str, output: Any, limit: int) -> subprocess.CompletedProcess[str]:
            output.write(text)
            return subprocess.CompletedProcess(arguments, status)

        monkeypatch.setattr(runner, "start", start)

    return prepare


def test_run_without_a_finding_is_good(
    log_of_a_run: Callable[[str, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    log_of_a_run(LINES["clean"], 0)
    assert runner.fuzz("codec", 1)
    assert "DONE cov: 5" in capsys.readouterr().out
    seeds = [path.read_bytes() for path in (runner.WORK / "codec" / "seeds").iterdir()]
    assert sorted(seeds) == sorted(runner.cases("codec").values())


def test_run_with_a_finding_is_bad_and_says_where_it_is(
    log_of_a_run: Callable[[str, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    log_of_a_run("AssertionError: they differ\n", 77)
    assert not runner.fuzz("locations", 1)
    told = capsys.readouterr().err
    assert "AssertionError: they differ" in told
    assert "build/fuzz/locations/findings/" in told


def test_run_in_which_the_mutator_was_not_called_is_bad(
    log_of_a_run: Callable[[str, int], None],
) -> None:
    log_of_a_run(LINES["without the mutator"], 0)
    with pytest.raises(SystemExit, match="did not call the mutator of codec"):
        runner.fuzz("codec", 1)


def test_missing_compiler_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install .*clang"):
        runner.clang()
