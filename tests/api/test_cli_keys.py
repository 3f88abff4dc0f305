"""The commands ``quart jwt keys new`` and ``quart jwt keys list``."""

from __future__ import annotations

import base64
import json
import re
import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
from click.testing import Result
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from quart import Quart

import quart_jwt_extended as qje
from support import HASHES, OTHER_SECRET, SECRET, make_app, manager_of
from support.signing_keys import SIGNERS, private_key, private_pem, public_pem

NOW = 1_700_000_000
NOW_TEXT = "2023-11-14 22:13:20 UTC"
DAY = 86_400
ALGORITHMS = [*HASHES, *dict.fromkeys(signer.algorithm for signer in SIGNERS)]


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))


def run(app: Quart, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["jwt", "keys", *arguments])


# --- new ----------------------------------------------------------------------


def new_key(algorithm: str, *options: str) -> tuple[dict[str, Any], str]:
    """The JWK on stdout, and what stderr says."""
    result = run(make_app(), "new", "--algorithm", algorithm, *options)
    assert result.exit_code == 0
    return json.loads(result.stdout), result.stderr


def app_with(entry: Any, kid: str) -> Quart:
    return make_app(
        JWT_SECRET_KEY=None,
        JWT_KEYS={kid: {**entry, "sign_from": NOW - DAY}},
        JWT_ALGORITHM="HS256",
    )


async def header_of_new_token(app: Quart) -> dict[str, Any]:
    manager_of(app).check(app)
    async with app.app_context():
        token = qje.create_access_token("alice")
        assert qje.decode_token(token)["identity"] == "alice"
    return jwt.get_unverified_header(token)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_new_jwk_goes_into_the_ring_as_it_is(algorithm: str) -> None:
    jwk, text = new_key(algorithm)
    app = app_with({"key": jwk}, jwk["kid"])
    expected = {"alg": algorithm, "kid": jwk["kid"], "typ": "JWT"}
    assert await header_of_new_token(app) == expected
    assert (jwk["alg"], jwk["use"]) == (algorithm, "sig")
    assert f'"{jwk["kid"]}": {{"key": JWK, "sign_from": MOMENT}}' in text
    for name in ("k", "d", "p"):
        assert jwk.get(name, "a value") not in text


@pytest.mark.parametrize("algorithm", ["PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA"])
async def test_new_pem_goes_into_the_ring_with_its_algorithm(algorithm: str) -> None:
    result = run(make_app(), "new", "--algorithm", algorithm, "--format", "pem", "--kid", "k")
    assert result.exit_code == 0
    assert load_pem_private_key(result.stdout.encode(), None)
    app = app_with({"key": result.stdout, "algorithm": algorithm}, "k")
    assert (await header_of_new_token(app))["alg"] == algorithm
    entry = f'"k": {{"key": PEM, "algorithm": "{algorithm}", "sign_from": MOMENT}}'
    assert entry in result.stderr
    assert "-----BEGIN" not in result.stderr


@pytest.mark.parametrize("algorithm", [*HASHES, "RS256", "ES512", "EdDSA"])
def test_new_keys_differ_and_are_strong(algorithm: str) -> None:
    first, second = new_key(algorithm)[0], new_key(algorithm)[0]
    name = "k" if algorithm in HASHES else "d"
    assert first["kid"] != second["kid"]
    assert first[name] != second[name]
    if algorithm in HASHES:
        secret = base64.urlsafe_b64decode(first["k"] + "==")
        assert len(secret) >= HASHES[algorithm]().digest_size
    if algorithm[:2] in ("RS", "PS"):
        modulus = base64.urlsafe_b64decode(first["n"] + "==")
        assert int.from_bytes(modulus, "big").bit_length() == 3072


@pytest.mark.parametrize("algorithm", ["RS256", "ES384", "EdDSA"])
async def test_name_of_a_pair_is_its_thumbprint(algorithm: str) -> None:
    jwk, _ = new_key(algorithm)
    public = {
        name: value for name, value in jwk.items() if name in ("kty", "crv", "n", "e", "x", "y")
    }
    app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM=algorithm, JWT_PUBLIC_KEY=public)
    async with app.app_context():
        (published,) = qje.get_jwks()["keys"]
    assert published["kid"] == jwk["kid"]


def test_name_that_is_given_is_kept() -> None:
    for algorithm in ("HS256", "ES256"):
        jwk, text = new_key(algorithm, "--kid", '2026 "a"')
        assert jwk["kid"] == '2026 "a"'
        assert r'"2026 \"a\"": {"key": JWK, "sign_from": MOMENT}' in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Missing option '--algorithm'"),
        (["--algorithm", "none"], "Invalid value for '--algorithm'"),
        (["--algorithm", "ES521"], "Invalid value for '--algorithm'"),
        (
            ["--algorithm", "HS256", "--format", "pem"],
            "A secret cannot be written as PEM: use --format jwk",
        ),
        (["--algorithm", "ES256", "--format", "der"], "Invalid value for '--format'"),
        (["--algorithm", "ES256", "--kid", ""], "--kid must be valid text and not empty"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_prints_no_key(options: list[str], message: str) -> None:
    result = run(make_app(), "new", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


# --- list ---------------------------------------------------------------------


def listed(app: Quart) -> tuple[list[list[str]], list[str]]:
    """The cells of the table without its head, and the lines of stderr."""
    result = run(app, "list")
    assert result.exit_code == 0, result.output
    head, *rows = [re.split(r" {2,}", line) for line in result.stdout.splitlines()]
    assert head == ["kid", "algorithm", "state", "verifies until", "published"]
    return rows, result.stderr.splitlines()


def ring_app(keys: Any, **options: Any) -> Quart:
    return make_app(
        **{"JWT_SECRET_KEY": None, "JWT_REFRESH_TOKEN_EXPIRES": DAY, "JWT_KEYS": keys, **options}
    )


def test_every_state_is_listed_in_the_order_of_the_names() -> None:
    app = ring_app(
        {
            "e-next": {"key": private_key("RSA"), "sign_from": NOW + 60, "algorithm": "PS256"},
            "d-now": {"key": private_key("P-256"), "sign_from": NOW},
            "c-last": {"key": OTHER_SECRET, "sign_from": NOW - 60, "verify_until": NOW + 2 * DAY},
            "b-old": {"key": SECRET, "verify_until": NOW},
            "a-partner": public_pem(private_key("Ed25519")),
            "f-ended": {"key": private_key("P-384"), "verify_until": NOW - 0.5},
        }
    )
    rows, errors = listed(app)
    assert rows == [
        ["a-partner", "EdDSA", "only verifies", "-", "yes"],
        ["b-old", "HS256", "no longer verifies", NOW_TEXT, "no"],
        ["c-last", "HS256", "only verifies", "2023-11-16 22:13:20 UTC", "no"],
        ["d-now", "ES256", "signs now", "-", "yes"],
        ["e-next", "PS256", "signs from 2023-11-14 22:14:20 UTC", "-", "yes"],
        ["f-ended", "ES384", "no longer verifies", "2023-11-14 22:13:19 UTC", "no"],
    ]
    assert errors == []


def test_columns_are_aligned() -> None:
    app = ring_app({"a": SECRET, "long name": OTHER_SECRET}, JWT_SIGNING_KEY_ID="a")
    lines = run(app, "list").stdout.splitlines()
    assert len({line.index("HS256") for line in lines[1:]}) == 1
    assert lines[0].index("algorithm") == lines[1].index("HS256")


def test_nothing_secret_is_listed() -> None:
    pem = private_pem(private_key("RSA"))
    app = ring_app({"s": {"key": SECRET, "sign_from": 1}, "p": pem})
    result = run(app, "list")
    assert result.exit_code == 0
    for secret in (SECRET, SECRET[:12], pem.splitlines()[1]):
        assert secret not in result.output


def test_name_with_control_characters_is_written_in_escapes() -> None:
    rows, _ = listed(ring_app({"a\n\x1b[31m": {"key": SECRET, "sign_from": 1}}))
    assert rows[0][0] == r'"a\n\u001b[31m"'


def test_name_in_the_option_is_what_signs() -> None:
    rows, errors = listed(ring_app({"a": SECRET, "b": OTHER_SECRET}, JWT_SIGNING_KEY_ID="b"))
    assert [row[2] for row in rows] == ["only verifies", "signs now"]
    assert errors == []


def test_loader_of_keys_is_named() -> None:
    app = ring_app({"a": {"key": SECRET, "sign_from": NOW + 1}})
    manager_of(app).encode_key_loader(lambda subject: SECRET)
    rows, errors = listed(app)
    assert [row[2] for row in rows] == ["only verifies"]
    assert errors == ["The callback of encode_key_loader chooses the key that signs."]


def test_ring_without_a_key_that_signs_is_named() -> None:
    rows, errors = listed(ring_app({"a": public_pem(private_key("RSA"))}))
    assert [row[2] for row in rows] == ["only verifies"]
    assert errors == ["No key of JWT_KEYS can sign."]


def test_end_of_the_key_that_signs_without_a_successor_warns() -> None:
    until = NOW + 10 * DAY
    ring = {"a": {"key": SECRET, "sign_from": 1, "verify_until": until}}
    expected = (
        'Warning: JWT_KEYS["a"] signs until its "verify_until", and no other key has a "sign_from" '
        "before that"
    )
    assert listed(ring_app(ring))[1] == [expected]
    late = {**ring, "b": {"key": OTHER_SECRET, "sign_from": until + 1}}
    assert expected in listed(ring_app(late))[1]
    named = {"a": {"key": SECRET, "verify_until": until}}
    assert listed(ring_app(named, JWT_SIGNING_KEY_ID="a"))[1] == [expected]
    in_time = {**ring, "b": {"key": OTHER_SECRET, "sign_from": until - 2 * DAY}}
    assert listed(ring_app(in_time))[1] == []


@pytest.mark.parametrize("named", [False, True], ids=["by its start", "by the option"])
def test_end_before_the_tokens_have_expired_warns(named: bool) -> None:
    switch = NOW + 3 * DAY

    def app_until(end: float, **options: Any) -> Quart:
        first = {"key": SECRET, "verify_until": end}
        if named:
            options["JWT_SIGNING_KEY_ID"] = "a"
        else:
            first["sign_from"] = NOW - 5
        return ring_app({"a": first, "b": {"key": OTHER_SECRET, "sign_from": switch}}, **options)

    text = (
        'Warning: JWT_KEYS["a"] has a "verify_until" before the end of the tokens that it signs, '
        "which "
    )
    assert listed(app_until(switch + DAY))[1] == []
    assert listed(app_until(switch + DAY - 1))[1] == [f"{text}expire by 2023-11-18 22:13:20 UTC"]
    for lifetime in (timedelta(days=2), 2 * DAY):
        for option in ("JWT_REFRESH_TOKEN_EXPIRES", "JWT_ACCESS_TOKEN_EXPIRES"):
            _, errors = listed(app_until(switch + DAY, **{option: lifetime}))
            assert errors == [f"{text}expire by 2023-11-19 22:13:20 UTC"]
    _, errors = listed(app_until(switch + 99 * DAY, JWT_ACCESS_TOKEN_EXPIRES=False))
    assert errors == [f"{text}never expire"]


def test_key_that_has_signed_and_ends_too_early_warns() -> None:
    app = ring_app(
        {
            "a": {"key": SECRET, "sign_from": 1, "verify_until": NOW + DAY - 11},
            "b": {"key": OTHER_SECRET, "sign_from": NOW - 10},
        }
    )
    assert len(listed(app)[1]) == 1
    app.config["JWT_KEYS"]["a"]["verify_until"] = NOW + DAY - 10
    assert listed(app)[1] == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (None, "JWT_KEYS is not set"),
        ({"a": ""}, 'JWT_KEYS["a"] cannot be used: it is empty'),
        (
            {"a": {"key": SECRET, "sign_from": 5}, "b": {"key": OTHER_SECRET, "sign_from": 5}},
            'JWT_KEYS["a"] and JWT_KEYS["b"] have the same "sign_from": '
            "only one key can sign at a time",
        ),
    ],
)
def test_wrong_ring_is_exit_code_1(keys: Any, message: str) -> None:
    result = run(ring_app(keys, SECRET_KEY=SECRET), "list")
    assert result.exit_code == 1
    assert result.stderr == f"Error: {message}\n"
    assert result.stdout == ""


def test_ring_in_which_no_key_signs_is_listed_and_exit_code_1() -> None:
    result = run(ring_app({"a": SECRET, "b": OTHER_SECRET}), "list")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 3
    assert "signs now" not in result.stdout
    assert result.stderr.startswith("Error: JWT_KEYS does not specify which key signs")


def test_commands_have_a_help_text() -> None:
    for arguments in ((), ("new",), ("list",)):
        result = run(make_app(), *arguments, "--help")
        assert result.exit_code == 0
        assert "key" in result.output
