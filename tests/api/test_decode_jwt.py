"""``tokens.decode_jwt``: each call is judged by its own arguments, whatever was called before.

``test_import_paths.py`` has what the function does; here it is called with many sets of arguments
in turn, of which :data:`CALLS` says what each one gives by itself.
"""

from __future__ import annotations

import copy
import datetime
import random
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt
import pytest

import quart_jwt_extended as qje
from quart_jwt_extended.tokens import decode_jwt
from support import SECRET, hs_token, make_app
from support.signing_keys import private_key, public_pem

OTHER = "another secret of the test suite, which is just as long as the first, 9876543210"
CLAIMS: dict[str, Any] = {
    "identity": "alice",
    "sub": "bob",
    "aud": "us",
    "iss": "them",
    "csrf": "value",
    "user_claims": {"roles": ["user"]},
    "extra": {"level": 1},
    "exp": 4102444800,
    "jti": "j",
    "type": "access",
    "fresh": False,
}
PLAIN = {key: value for key, value in CLAIMS.items() if key not in ("aud", "csrf")}
LATE = {**PLAIN, "exp": 1_700_000_000}
BARE = {"identity": "alice"}
FILLED = {"identity": "alice", "jti": None, "type": "access", "fresh": False, "user_claims": {}}

PLAIN_256, PLAIN_512 = hs_token(PLAIN), hs_token(PLAIN, alg="HS512")
FULL, LATE_256, BARE_256 = hs_token(CLAIMS), hs_token(LATE), hs_token(BARE)
OTHERS = hs_token(PLAIN, secret=OTHER)


class Liar(str):
    """A string that calls itself equal to the secret, and hashes like it."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash(SECRET)


class OwnText(str):
    """Text of a settings library."""


class Call(NamedTuple):
    """Arguments, and the claims that they give, or the class and text of the refusal."""

    expected: Any
    token: Any = PLAIN_256
    secret: Any = SECRET
    algorithms: Any = ("HS256",)
    names: tuple[Any, Any] = ("identity", "user_claims")
    options: dict[str, Any] = {}

    def run(self) -> Any:
        """Call with copies: nothing that is remembered can be an object of the table."""
        algorithms, options = copy.deepcopy((self.algorithms, self.options))
        return decode_jwt(self.token, self.secret, algorithms, *self.names, **options)


WRONG_SIGNATURE = (jwt.InvalidSignatureError, "Signature verification failed")
NOT_ALLOWED = (jwt.InvalidAlgorithmError, "The specified alg value is not allowed")
EXPIRED = (jwt.ExpiredSignatureError, "Signature has expired")
LEEWAY = (RuntimeError, "JWT_DECODE_LEEWAY must be a finite number")
ALGORITHMS = (RuntimeError, "JWT_DECODE_ALGORITHMS must be")
CSRF = (qje.CSRFError, "CSRF double submit tokens do not match")
BILLION = 10**9


def calls() -> list[Call]:
    pem = public_pem(private_key("Ed25519"))
    key = private_key("Ed25519").public_key()
    stranger = private_key("Ed25519", "stranger").public_key()
    signed = jwt.encode(PLAIN, private_key("Ed25519"), "EdDSA")
    jwk = jwt.PyJWK.from_json(jwt.algorithms.OKPAlgorithm.to_jwk(key))
    unusable = (jwt.InvalidKeyError, "")
    return [
        Call(PLAIN),
        Call(PLAIN, PLAIN_256.encode()),
        Call({**FILLED}, BARE_256),
        # Keys.
        Call(PLAIN, secret=SECRET.encode()),
        Call(PLAIN, secret=OwnText(SECRET)),
        Call(WRONG_SIGNATURE, secret=OTHER),
        Call(WRONG_SIGNATURE, secret=OTHER.encode()),
        Call(WRONG_SIGNATURE, secret=Liar(OTHER)),
        Call(PLAIN, OTHERS, secret=OTHER),
        Call(PLAIN, OTHERS, secret=Liar(OTHER)),
        Call(WRONG_SIGNATURE, OTHERS),
        Call(WRONG_SIGNATURE, secret=SECRET + "\0"),
        Call(WRONG_SIGNATURE, secret=SECRET[:-1]),
        Call(unusable, secret=""),
        Call(unusable, secret=b""),
        Call(unusable, secret=None),
        Call(unusable, secret=bytearray(SECRET, "ascii")),
        Call(unusable, secret=[SECRET]),
        Call(unusable, secret={"secret": SECRET}),
        Call(unusable, secret=pem),
        Call(PLAIN, signed, pem, ["EdDSA"]),
        Call(PLAIN, signed, pem.encode(), ["EdDSA"]),
        Call(PLAIN, signed, key, ["EdDSA"]),
        Call(PLAIN, signed, jwk, ["EdDSA"]),
        Call(PLAIN, signed, key, ["HS256", "EdDSA"]),
        Call(WRONG_SIGNATURE, signed, stranger, ["EdDSA"]),
        Call(NOT_ALLOWED, signed, key, ["HS256"]),
        Call(unusable, signed, SECRET, ["EdDSA"]),
        # Algorithms.
        Call(PLAIN, algorithms=["HS256"]),
        Call(PLAIN, algorithms={"HS256"}),
        Call(PLAIN, algorithms=frozenset({"HS256"})),
        Call(PLAIN, algorithms=["HS256", "HS512"]),
        Call(PLAIN, algorithms=["HS512", "HS256"]),
        Call(PLAIN, algorithms=[OwnText("HS256")]),
        Call(PLAIN, PLAIN_512, algorithms=("HS256", "HS512")),
        Call(PLAIN, PLAIN_512, algorithms={"HS256", "HS512"}),
        Call(PLAIN, PLAIN_512, algorithms=("HS512",)),
        Call(NOT_ALLOWED, PLAIN_512),
        Call(NOT_ALLOWED, PLAIN_512, algorithms=["HS256", "HS384"]),
        Call(NOT_ALLOWED, algorithms=("HS512",)),
        Call((RuntimeError, "JWT_ALGORITHM must be"), algorithms=["none"]),
        Call((RuntimeError, "JWT_ALGORITHM must be"), algorithms=[1]),
        Call(ALGORITHMS, algorithms=["HS256", 1]),
        Call(ALGORITHMS, algorithms=["HS256", ["HS512"]]),
        Call(ALGORITHMS, algorithms={"HS256": 1}),
        # Names of claims.
        Call(PLAIN, names=("sub", "user_claims")),
        Call(PLAIN, names=("identity", "extra")),
        Call({**PLAIN, "absent": {}}, names=("identity", "absent")),
        Call({**PLAIN, "absent": {}}, names=(OwnText("identity"), OwnText("absent"))),
        Call((qje.JWTDecodeError, "Missing claim: who"), names=("who", "user_claims")),
        Call((RuntimeError, "JWT_IDENTITY_CLAIM must be"), names=("exp", "user_claims")),
        Call((RuntimeError, "JWT_IDENTITY_CLAIM must be"), names=(["identity"], "user_claims")),
        Call((RuntimeError, "JWT_USER_CLAIMS must be"), names=("identity", "identity")),
        Call((RuntimeError, "JWT_USER_CLAIMS must be"), names=("identity", None)),
        # Time.
        Call(EXPIRED, LATE_256),
        Call(EXPIRED, LATE_256, options={"leeway": 1}),
        Call(EXPIRED, LATE_256, options={"leeway": 1.0}),
        Call(EXPIRED, LATE_256, options={"leeway": datetime.timedelta(seconds=1)}),
        Call(LATE, LATE_256, options={"leeway": BILLION}),
        Call(LATE, LATE_256, options={"leeway": float(BILLION)}),
        Call(LATE, LATE_256, options={"leeway": datetime.timedelta(seconds=BILLION)}),
        Call(LATE, LATE_256, options={"allow_expired": True}),
        Call(EXPIRED, LATE_256, options={"allow_expired": False}),
        Call(PLAIN, options={"leeway": 0}),
        Call(PLAIN, options={"leeway": -0.0}),
        Call(PLAIN, options={"leeway": 1}),
        Call(LEEWAY, options={"leeway": True}),
        Call(LEEWAY, options={"leeway": False}),
        Call(LEEWAY, options={"leeway": None}),
        Call(LEEWAY, options={"leeway": "1"}),
        Call(LEEWAY, options={"leeway": -1}),
        Call(LEEWAY, options={"leeway": [1]}),
        Call(LEEWAY, options={"leeway": float("nan")}),
        Call(LEEWAY, options={"leeway": 10**400}),
        # Audience and issuer.
        Call(CLAIMS, FULL, options={"audience": "us"}),
        Call(CLAIMS, FULL, options={"audience": ["us"]}),
        Call(CLAIMS, FULL, options={"audience": ("others", "us")}),
        Call(CLAIMS, FULL, options={"audience": {"us"}}),
        Call((jwt.InvalidAudienceError, "Invalid audience"), FULL),
        Call(
            (jwt.InvalidAudienceError, "Audience doesn't match"),
            FULL,
            options={"audience": ["u", "s"]},
        ),
        Call(
            (jwt.MissingRequiredClaimError, 'Token is missing the "aud" claim'),
            options={"audience": "us"},
        ),
        Call((RuntimeError, "JWT_DECODE_AUDIENCE must be"), options={"audience": {"us": 1}}),
        Call((RuntimeError, "JWT_DECODE_AUDIENCE must be"), options={"audience": []}),
        Call(PLAIN, options={"issuer": "them"}),
        Call(PLAIN, options={"issuer": ["us", "them"]}),
        Call((jwt.InvalidIssuerError, "Invalid issuer"), options={"issuer": "us"}),
        Call(
            (jwt.MissingRequiredClaimError, 'Token is missing the "iss" claim'),
            BARE_256,
            options={"issuer": "us"},
        ),
        Call((RuntimeError, "JWT_DECODE_ISSUER must be"), options={"issuer": 1}),
        # CSRF.
        Call(CLAIMS, FULL, options={"audience": "us", "csrf_value": "value"}),
        Call(CLAIMS, FULL, options={"audience": "us", "csrf_value": b"value"}),
        Call(CSRF, FULL, options={"audience": "us", "csrf_value": "other"}),
        Call(CSRF, FULL, options={"audience": "us", "csrf_value": ""}),
        Call(CSRF, FULL, options={"audience": "us", "csrf_value": ["value"]}),
        Call((qje.JWTDecodeError, "Missing claim: csrf"), options={"csrf_value": "value"}),
        # Tokens.
        Call((jwt.DecodeError, "Not enough segments"), "abc"),
        Call((jwt.DecodeError, "Invalid token type"), 5),
        Call((jwt.DecodeError, "Token is too long"), "a" * 16385),
    ]


CALLS = calls()


def check(call: Call) -> None:
    """Compare a call with what its row says."""
    if isinstance(call.expected, dict):
        assert call.run() == call.expected
        return
    error, text = call.expected
    with pytest.raises(error) as caught:
        call.run()
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_call_by_itself_gives_what_its_arguments_say(number: int) -> None:
    for _ in range(3):
        check(CALLS[number])


def test_every_call_after_every_other_gives_the_same() -> None:
    for first in CALLS:
        for second in CALLS:
            check(first)
            check(second)


def test_calls_in_random_order_give_the_same() -> None:
    order = random.Random(1)
    for call in order.choices(CALLS, k=5000):
        check(call)


async def test_calls_give_the_same_within_an_application_of_other_options() -> None:
    app = make_app(
        JWT_SECRET_KEY=OTHER,
        JWT_ALGORITHM="HS384",
        JWT_IDENTITY_CLAIM="sub",
        JWT_DECODE_AUDIENCE="others",
        JWT_MAX_TOKEN_SIZE=10,
    )
    async with app.app_context():
        with pytest.raises(jwt.DecodeError, match="too long"):
            qje.decode_token(PLAIN_256)
        for call in CALLS:
            check(call)
    for call in CALLS:
        check(call)


def test_calls_in_several_threads_do_not_meet() -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for call in random.Random(seed).choices(CALLS, k=500):
                check(call)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- Arguments that change ----------------------------------------------------


def accepted(token: str, **arguments: Any) -> bool:
    positional = {"secret": SECRET, "algorithms": ["HS256"], **arguments}
    try:
        decode_jwt(
            token, identity_claim_key="identity", user_claims_key="user_claims", **positional
        )
    except jwt.InvalidTokenError:
        return False
    return True


def test_list_of_algorithms_changed_in_place_is_read_anew() -> None:
    names = ["HS256"]

    def both() -> tuple[bool, bool]:
        return accepted(PLAIN_256, algorithms=names), accepted(PLAIN_512, algorithms=names)

    for _ in range(3):
        assert both() == (True, False)
        names[0] = "HS512"
        assert both() == (False, True)
        names.append("HS256")
        assert both() == (True, True)
        names.pop(0)
        assert both() == (True, False)
    assert names == ["HS256"]


def test_set_of_algorithms_changed_in_place_is_read_anew() -> None:
    names = {"HS256"}
    for _ in range(3):
        assert not accepted(PLAIN_512, algorithms=names)
        names.remove("HS256")
        names.add("HS512")
        assert accepted(PLAIN_512, algorithms=names)
        assert not accepted(PLAIN_256, algorithms=names)
        names.remove("HS512")
        names.add("HS256")
    assert names == {"HS256"}


@pytest.mark.parametrize("option", ["audience", "issuer"])
@pytest.mark.parametrize("kind", [list, set])
def test_expected_names_changed_in_place_are_read_anew(
    option: str, kind: Callable[[Any], Any]
) -> None:
    good = {"audience": "us", "issuer": "them"}
    others = {name: value for name, value in good.items() if name != option}
    names = kind([good[option]])
    add = names.append if kind is list else names.add
    for _ in range(3):
        assert accepted(FULL, **others, **{option: names})
        names.clear()
        add("wrong")
        assert not accepted(FULL, **others, **{option: names})
        names.remove("wrong")
        add(good[option])


def test_list_that_was_dropped_leaves_nothing_to_its_successor() -> None:
    """A new list may get the address of an old one."""
    for _ in range(500):
        assert accepted(PLAIN_512, algorithms=["HS512"])
        assert not accepted(PLAIN_512, algorithms=["HS256"])
        assert accepted(FULL, audience=["us"])
        assert not accepted(FULL, audience=["no"])


def test_key_object_that_was_dropped_leaves_nothing_to_its_successor() -> None:
    keys = (private_key("Ed25519"), private_key("Ed25519", "stranger"))
    good, stranger = (jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()) for key in keys)
    token = jwt.encode(PLAIN, keys[0], "EdDSA")
    for _ in range(200):
        assert accepted(token, secret=jwt.PyJWK.from_json(good).key, algorithms=["EdDSA"])
        assert not accepted(token, secret=jwt.PyJWK.from_json(stranger).key, algorithms=["EdDSA"])


def test_jwk_that_changes_its_key_is_read_anew() -> None:
    jwks = [
        jwt.PyJWK.from_json(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
        for key in (private_key("Ed25519"), private_key("Ed25519", "stranger"))
    ]
    token = jwt.encode(PLAIN, private_key("Ed25519"), "EdDSA")
    keys = [jwk.key for jwk in jwks]
    for _ in range(3):
        assert accepted(token, secret=jwks[0], algorithms=["EdDSA"])
        jwks[0].key = keys[1]
        assert not accepted(token, secret=jwks[0], algorithms=["EdDSA"])
        jwks[0].key = keys[0]


# --- Results ------------------------------------------------------------------


def test_result_belongs_to_the_caller() -> None:
    for call in CALLS:
        if not isinstance(call.expected, dict):
            continue
        first, second = call.run(), call.run()
        assert first is not second
        for claims in (first, second):
            for value in claims.values():
                if isinstance(value, dict):
                    value.setdefault("roles", []).append("admin")
                    value["added"] = True
            claims.clear()
            claims["identity"] = "mallory"
        check(call)


def test_claims_of_an_expired_token_belong_to_the_caller() -> None:
    arguments = (LATE_256, SECRET, ["HS256"], "identity", "user_claims")
    for _ in range(3):
        with pytest.raises(jwt.ExpiredSignatureError) as caught:
            decode_jwt(*arguments)
        assert caught.value.jwt_data == LATE
        assert caught.value.jwt_header == {"alg": "HS256", "typ": "JWT"}
        caught.value.jwt_data["user_claims"]["roles"].append("admin")
        caught.value.jwt_header["alg"] = "none"
    assert decode_jwt(*arguments, allow_expired=True) == LATE


def test_arguments_are_left_as_they_were() -> None:
    algorithms, audience, issuer = ["HS512", "HS256"], ["others", "us"], {"them"}
    for _ in range(3):
        decode_jwt(
            FULL, SECRET, algorithms, "identity", "user_claims", audience=audience, issuer=issuer
        )
    assert (algorithms, audience, issuer) == (["HS512", "HS256"], ["others", "us"], {"them"})


def test_arguments_by_position_mean_what_they_mean_by_name() -> None:
    names = ("identity", "user_claims")
    for _ in range(3):
        claims = decode_jwt(FULL, SECRET, ["HS256"], *names, "value", "us", 0, False, "them")
        assert claims == CLAIMS
        with pytest.raises(jwt.ExpiredSignatureError):
            decode_jwt(LATE_256, SECRET, ["HS256"], *names, None, None, 0, False, "them")
        claims = decode_jwt(LATE_256, SECRET, ["HS256"], *names, None, None, BILLION, False, "them")
        assert claims == LATE
        claims = decode_jwt(LATE_256, SECRET, ["HS256"], *names, None, None, 0, True, None)
        assert claims == LATE


def test_thousands_of_secrets_do_not_stay_in_memory() -> None:
    """A service may have one per client; what is remembered of a call must be bounded."""
    secrets = [f"{number:04}" * 2000 for number in range(2500)]
    assert accepted(PLAIN_256)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for index in range(len(secrets)):
            secret = secrets[index] + SECRET
            assert accepted(hs_token(PLAIN, secret=secret), secret=secret)
            assert not accepted(PLAIN_256, secret=secret)
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # 2500 secrets of 8 KB are 20 MB.
    assert growth < 15_000_000


# --- Which algorithms --------------------------------------------------------------


@pytest.mark.parametrize("algorithms", [[], (), set(), None, ""])
def test_no_algorithms_raise_what_pyjwt_raises(algorithms: Any) -> None:
    with pytest.raises(jwt.DecodeError) as expected:
        jwt.decode(BARE_256, SECRET, algorithms=algorithms)
    with pytest.raises(jwt.DecodeError) as raised:
        decode_jwt(BARE_256, SECRET, algorithms, "identity", "user_claims")
    assert str(raised.value) == str(expected.value)


def test_algorithm_may_be_given_as_a_string() -> None:
    assert decode_jwt(BARE_256, SECRET, "HS256", "identity", "user_claims") == FILLED
    with pytest.raises(jwt.InvalidAlgorithmError):
        decode_jwt(PLAIN_512, SECRET, "HS256", "identity", "user_claims")


class Selfish(set):  # type: ignore[type-arg]
    """A set that calls itself its copy."""

    def copy(self) -> Any:
        return self


def test_set_of_a_subclass_is_read_anew_each_time() -> None:
    algorithms = Selfish({"HS256"})
    assert decode_jwt(BARE_256, SECRET, algorithms, "identity", "user_claims") == FILLED
    algorithms.clear()
    algorithms.add("HS512")
    with pytest.raises(jwt.InvalidAlgorithmError):
        decode_jwt(BARE_256, SECRET, algorithms, "identity", "user_claims")
