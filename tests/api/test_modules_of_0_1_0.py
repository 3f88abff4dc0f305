"""The modules of 0.1.0 that applications import: config, tokens, utils and the others."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import random
import subprocess
import sys
import tracemalloc
from datetime import date, timedelta
from typing import Any, NamedTuple

import jwt
import pytest
from werkzeug.local import LocalProxy

import quart_jwt_extended as qje
from quart_jwt_extended import default_callbacks, exceptions, tokens, utils
from quart_jwt_extended.config import config
from support import FAR_FUTURE, OTHER_SECRET, SECRET, Quart, hs_token, make_app
from support.signing_keys import private_key, public_pem

FIRST_NAMES = {
    "exceptions": "CSRFError",
    "config": "config",
    "default_callbacks": "default_unauthorized_callback",
    "utils": "get_jwt_identity",
    "view_decorators": "jwt_required",
    "tokens": "decode_jwt",
    "jwt_manager": "JWTManager",
}


@pytest.mark.parametrize(
    "line",
    [
        *(
            f"from quart_jwt_extended.{module} import {name}"
            for module, name in FIRST_NAMES.items()
        ),
        "import quart_jwt_extended.utils as utils; utils.get_jwt_identity",
    ],
)
def test_submodule_as_the_very_first_import_works(line: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", line], check=True, timeout=60)


@pytest.mark.parametrize("module", ["exceptions", "utils", "view_decorators", "jwt_manager"])
def test_submodule_holds_the_very_objects_of_the_package(module: str) -> None:
    shared = {
        name: value for name, value in vars(getattr(qje, module)).items() if name in qje.__all__
    }
    assert shared
    assert all(value is getattr(qje, name) for name, value in shared.items())


def test_unknown_submodule_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        __import__("quart_jwt_extended.nothing")


def test_star_import_gives_all_public_names() -> None:
    namespace: dict[str, Any] = {}
    exec("from quart_jwt_extended import *", namespace)
    assert sorted(name for name in namespace if name != "__builtins__") == qje.__all__


# --- tokens --------------------------------------------------------------------

TOKEN_ARGUMENTS = {
    "identity": "alice",
    "secret": SECRET,
    "algorithm": "HS256",
    "expires_delta": timedelta(minutes=5),
    "user_claims": {"role": "admin"},
    "csrf": True,
    "identity_claim_key": "who",
    "user_claims_key": "extra",
}


def test_access_token_is_encoded_without_an_app() -> None:
    token = tokens.encode_access_token(
        **TOKEN_ARGUMENTS, fresh=True, headers={"kid": "k"}, issuer="us"
    )
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer="us")
    assert claims["exp"] - claims["iat"] in (300, 301)
    assert {name: claims[name] for name in ("who", "fresh", "type", "extra")} == {
        "who": "alice",
        "fresh": True,
        "type": "access",
        "extra": {"role": "admin"},
    }
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "k"}


def test_header_of_a_token_without_an_app_chooses_its_algorithm() -> None:
    token = tokens.encode_access_token(**TOKEN_ARGUMENTS, fresh=False, headers={"alg": "HS512"})
    assert jwt.decode(token, SECRET, algorithms=["HS512"])["who"] == "alice"


def test_refresh_token_is_encoded_without_an_app() -> None:
    class Encoder(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return "encoded"

    arguments = {**TOKEN_ARGUMENTS, "identity": object(), "expires_delta": False}
    claims = jwt.decode(
        tokens.encode_refresh_token(**arguments, json_encoder=Encoder),
        SECRET,
        algorithms=["HS256"],
    )
    assert (claims["who"], claims["type"]) == ("encoded", "refresh")
    assert "exp" not in claims
    assert "fresh" not in claims


class Tenant(json.JSONEncoder):
    def encode(self, o: Any) -> str:
        return super().encode({**o, "tenant": "t1"})


class Pieces(json.JSONEncoder):
    def iterencode(self, o: Any, _one_shot: bool = False) -> Any:
        return super().iterencode({**o, "tenant": "t1"}, _one_shot)


class Sorted(json.JSONEncoder):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "sort_keys": True})


@pytest.mark.parametrize("encoder", [Tenant, Pieces, Sorted, json.JSONEncoder])
def test_encoder_class_of_the_caller_writes_ordinary_claims_too(encoder: Any) -> None:
    token = tokens.encode_access_token(
        "alice", SECRET, "HS256", False, False, {}, False, "identity", "user_claims", encoder
    )
    payload = base64.urlsafe_b64decode(token.split(".")[1] + "==")
    claims = json.loads(payload)
    assert claims.get("tenant") == ("t1" if encoder in (Tenant, Pieces) else None)
    assert (list(claims) == sorted(claims)) == (encoder is Sorted)


# --- tokens.decode_jwt -----------------------------------------------------------
#
# Each call is judged by its own arguments, whatever was called before and whatever the application.

CLAIMS: dict[str, Any] = {
    "identity": "alice",
    "sub": "bob",
    "aud": "us",
    "iss": "them",
    "csrf": "value",
    "user_claims": {"roles": ["user"]},
    "extra": {"level": 1},
    "exp": FAR_FUTURE,
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
OTHERS = hs_token(PLAIN, secret=OTHER_SECRET)


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
        return tokens.decode_jwt(self.token, self.secret, algorithms, *self.names, **options)


WRONG_SIGNATURE = (jwt.InvalidSignatureError, "Signature verification failed")
NOT_ALLOWED = (jwt.InvalidAlgorithmError, "The specified alg value is not allowed")
EXPIRED = (jwt.ExpiredSignatureError, "Signature has expired")
LEEWAY = (RuntimeError, "JWT_DECODE_LEEWAY must be a finite, non-negative number")
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
        Call(WRONG_SIGNATURE, secret=OTHER_SECRET),
        Call(WRONG_SIGNATURE, secret=OTHER_SECRET.encode()),
        Call(WRONG_SIGNATURE, secret=Liar(OTHER_SECRET)),
        Call(PLAIN, OTHERS, secret=OTHER_SECRET),
        Call(PLAIN, OTHERS, secret=Liar(OTHER_SECRET)),
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
        Call(EXPIRED, LATE_256, options={"leeway": timedelta(seconds=1)}),
        Call(LATE, LATE_256, options={"leeway": BILLION}),
        Call(LATE, LATE_256, options={"leeway": float(BILLION)}),
        Call(LATE, LATE_256, options={"leeway": timedelta(seconds=BILLION)}),
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


def test_calls_in_random_order_give_the_same() -> None:
    order = random.Random(1)
    for call in order.choices(CALLS, k=1000):
        check(call)


async def test_calls_give_the_same_within_an_application_of_other_options() -> None:
    app = make_app(
        JWT_SECRET_KEY=OTHER_SECRET,
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


def accepted(token: str, **arguments: Any) -> bool:
    positional = {"secret": SECRET, "algorithms": ["HS256"], **arguments}
    try:
        tokens.decode_jwt(
            token, identity_claim_key="identity", user_claims_key="user_claims", **positional
        )
    except jwt.InvalidTokenError:
        return False
    return True


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


def test_arguments_are_left_as_they_were() -> None:
    algorithms, audience, issuer = ["HS512", "HS256"], ["others", "us"], {"them"}
    for _ in range(3):
        tokens.decode_jwt(
            FULL, SECRET, algorithms, "identity", "user_claims", audience=audience, issuer=issuer
        )
    assert (algorithms, audience, issuer) == (["HS512", "HS256"], ["others", "us"], {"them"})


def test_arguments_by_position_mean_what_they_mean_by_name() -> None:
    names = ("identity", "user_claims")
    for _ in range(3):
        claims = tokens.decode_jwt(FULL, SECRET, ["HS256"], *names, "value", "us", 0, False, "them")
        assert claims == CLAIMS
        with pytest.raises(jwt.ExpiredSignatureError):
            tokens.decode_jwt(LATE_256, SECRET, ["HS256"], *names, None, None, 0, False, "them")
        claims = tokens.decode_jwt(
            LATE_256, SECRET, ["HS256"], *names, None, None, BILLION, False, "them"
        )
        assert claims == LATE
        claims = tokens.decode_jwt(LATE_256, SECRET, ["HS256"], *names, None, None, 0, True, None)
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


@pytest.mark.parametrize("algorithms", [[], (), set(), None, ""])
def test_no_algorithms_raise_what_pyjwt_raises(algorithms: Any) -> None:
    with pytest.raises(jwt.DecodeError) as expected:
        jwt.decode(BARE_256, SECRET, algorithms=algorithms)
    with pytest.raises(jwt.DecodeError) as raised:
        tokens.decode_jwt(BARE_256, SECRET, algorithms, "identity", "user_claims")
    assert str(raised.value) == str(expected.value)


def test_algorithm_may_be_given_as_a_string() -> None:
    assert tokens.decode_jwt(BARE_256, SECRET, "HS256", "identity", "user_claims") == FILLED
    with pytest.raises(jwt.InvalidAlgorithmError):
        tokens.decode_jwt(PLAIN_512, SECRET, "HS256", "identity", "user_claims")


# --- config ----------------------------------------------------------------------

DAY = timedelta(days=1)

# Name by name what the properties gave in 0.1.0 under the default options.
DEFAULTS: dict[str, Any] = {
    "is_asymmetric": False,
    "encode_key": SECRET,
    "decode_key": SECRET,
    "token_location": ("headers",),
    "jwt_in_cookies": False,
    "jwt_in_headers": True,
    "jwt_in_query_string": False,
    "jwt_in_json": False,
    "header_name": "Authorization",
    "header_type": "Bearer",
    "query_string_name": "jwt",
    "access_cookie_name": "access_token_cookie",
    "refresh_cookie_name": "refresh_token_cookie",
    "access_cookie_path": "/",
    "refresh_cookie_path": "/",
    "cookie_secure": False,
    "cookie_domain": None,
    "session_cookie": True,
    "cookie_samesite": None,
    "json_key": "access_token",
    "refresh_json_key": "refresh_token",
    "csrf_protect": False,
    "csrf_request_methods": ["POST", "PUT", "PATCH", "DELETE"],
    "csrf_in_cookies": True,
    "access_csrf_cookie_name": "csrf_access_token",
    "refresh_csrf_cookie_name": "csrf_refresh_token",
    "access_csrf_cookie_path": "/",
    "refresh_csrf_cookie_path": "/",
    "access_csrf_header_name": "X-CSRF-TOKEN",
    "refresh_csrf_header_name": "X-CSRF-TOKEN",
    "csrf_check_form": False,
    "access_csrf_field_name": "csrf_token",
    "refresh_csrf_field_name": "csrf_token",
    "access_expires": timedelta(minutes=15),
    "refresh_expires": 30 * DAY,
    "algorithm": "HS256",
    "decode_algorithms": ["HS256"],
    "blacklist_enabled": False,
    "blacklist_checks": ("access", "refresh"),
    "blacklist_access_tokens": True,
    "blacklist_refresh_tokens": True,
    "cookie_max_age": None,
    "identity_claim_key": "identity",
    "user_claims_key": "user_claims",
    "user_claims_in_refresh_token": False,
    "exempt_methods": {"OPTIONS"},
    "error_msg_key": "msg",
    "audience": None,
    "encode_issuer": None,
    "decode_issuer": None,
    "leeway": 0,
}
COOKIES = {"JWT_TOKEN_LOCATION": "cookies"}
EDDSA = {"JWT_ALGORITHM": "EdDSA", "JWT_PUBLIC_KEY": public_pem(private_key("Ed25519"))}


async def test_config_properties_have_their_values_under_the_defaults(app: Quart) -> None:
    async with app.app_context():
        assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("is_asymmetric", EDDSA, True),
        ("decode_key", EDDSA, EDDSA["JWT_PUBLIC_KEY"]),
        ("encode_key", {**EDDSA, "JWT_PRIVATE_KEY": "the key"}, "the key"),
        ("encode_key", {"JWT_SECRET_KEY": None, "SECRET_KEY": "of the app"}, "of the app"),
        ("token_location", COOKIES, ("cookies",)),
        ("jwt_in_cookies", COOKIES, True),
        ("jwt_in_headers", COOKIES, False),
        ("jwt_in_query_string", {"JWT_TOKEN_LOCATION": "query_string"}, True),
        ("jwt_in_json", {"JWT_TOKEN_LOCATION": {"json"}}, True),
        ("cookie_max_age", {"JWT_SESSION_COOKIE": False}, 31540000),
        ("csrf_protect", COOKIES, True),
        ("csrf_protect", {**COOKIES, "JWT_COOKIE_CSRF_PROTECT": False}, False),
        ("access_expires", {"JWT_ACCESS_TOKEN_EXPIRES": 86400}, DAY),
        ("access_expires", {"JWT_ACCESS_TOKEN_EXPIRES": False}, False),
        ("refresh_expires", {"JWT_REFRESH_TOKEN_EXPIRES": 86400}, DAY),
        ("refresh_expires", {"JWT_REFRESH_TOKEN_EXPIRES": False}, False),
        ("decode_algorithms", {"JWT_ALGORITHM": "HS512"}, ["HS512"]),
        ("blacklist_checks", {"JWT_BLACKLIST_TOKEN_CHECKS": "access"}, ("access",)),
        ("blacklist_access_tokens", {"JWT_BLACKLIST_TOKEN_CHECKS": ["refresh"]}, False),
        ("blacklist_refresh_tokens", {"JWT_BLACKLIST_TOKEN_CHECKS": ["access"]}, False),
    ],
)
async def test_config_property_follows_options_of_other_names_or_forms(
    name: str, options: dict[str, Any], expected: Any
) -> None:
    app = make_app()
    async with app.app_context():
        assert getattr(config, name) is not ...
        app.config.update(options)
        value = getattr(config, name)
    if isinstance(expected, (list, tuple)) and name != "token_location":
        assert sorted(value) == sorted(expected)
    elif isinstance(expected, (list, tuple)):
        assert list(value) == list(expected)
    else:
        assert value == expected


async def test_config_json_encoder_makes_of_values_what_the_app_does(app: Quart) -> None:
    async with app.app_context():
        text = json.dumps({"day": date(2024, 2, 29)}, cls=config.json_encoder)
    assert json.loads(text) == {"day": "Thu, 29 Feb 2024 00:00:00 GMT"}


@pytest.mark.parametrize("name", ["access_csrf_header_name", "refresh_csrf_header_name"])
async def test_config_property_warns_of_the_deprecated_csrf_header_name(name: str) -> None:
    app = make_app(JWT_CSRF_HEADER_NAME="X-Old")
    async with app.app_context():
        with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
            assert getattr(config, name) == "X-Old"


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("token_location", "JWT_TOKEN_LOCATION", []),
        ("access_expires", "JWT_ACCESS_TOKEN_EXPIRES", "15"),
        ("blacklist_checks", "JWT_BLACKLIST_TOKEN_CHECKS", ["other"]),
        ("encode_key", "JWT_SECRET_KEY", None),
        ("decode_key", "JWT_SECRET_KEY", None),
    ],
)
async def test_config_property_of_a_wrong_value_raises_runtime_error(
    name: str, option: str, value: Any
) -> None:
    app = make_app(**{option: value})
    async with app.app_context():
        with pytest.raises(RuntimeError, match=option):
            getattr(config, name)


async def test_config_property_cannot_be_set(app: Quart) -> None:
    async with app.app_context():
        for name, value in DEFAULTS.items():
            with pytest.raises(AttributeError):
                setattr(config, name, "value")
            assert getattr(config, name) == value


def test_config_property_outside_any_context_raises_runtime_error() -> None:
    for name in set(DEFAULTS) - {"exempt_methods"}:
        with pytest.raises(RuntimeError, match="context"):
            getattr(config, name)


async def test_config_follows_the_current_app() -> None:
    first = make_app(JWT_HEADER_NAME="X-First")
    second = make_app(JWT_HEADER_NAME="X-Second")
    async with first.app_context():
        assert config.header_name == "X-First"
        async with second.app_context():
            assert config.header_name == "X-Second"
        assert config.header_name == "X-First"


# --- utils and default_callbacks -------------------------------------------------


async def test_helpers_ask_the_callbacks_of_the_current_manager() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]
    async with app.app_context():
        assert not utils.has_user_loader()
        assert not utils.has_token_in_blacklist_callback()
        manager.user_loader_callback_loader(lambda identity: identity.upper())
        manager.token_in_blacklist_loader(lambda claims: claims["jti"] == "bad")
        utils.verify_token_claims({"user_claims": {}})
        manager.claims_verification_loader(lambda claims: claims == {"good": True})
        assert utils.has_user_loader()
        assert utils.has_token_in_blacklist_callback()
        assert utils.user_loader("alice") == "ALICE"
        assert utils.token_in_blacklist({"jti": "bad"}) is True
        utils.verify_token_not_blacklisted({"jti": "good"}, "access")
        with pytest.raises(qje.RevokedTokenError, match="revoked"):
            utils.verify_token_not_blacklisted({"jti": "bad"}, "access")
        manager.token_in_blacklist_loader(lambda claims: 1)
        with pytest.raises(qje.RevokedTokenError, match="revoked"):
            utils.verify_token_not_blacklisted({"jti": "good"}, "access")
        utils.verify_token_claims({"user_claims": {"good": True}})
        with pytest.raises(qje.UserClaimsVerificationError):
            utils.verify_token_claims({"user_claims": {}})


async def test_helpers_refuse_async_callbacks() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]

    async def answer(value: Any) -> bool:
        return False

    manager.token_in_blacklist_loader(answer)
    manager.claims_verification_loader(answer)
    async with app.app_context():
        with pytest.raises(RuntimeError, match="verify_jwt_in_request"):
            utils.verify_token_not_blacklisted({"jti": "good"}, "access")
        with pytest.raises(RuntimeError, match="verify_jwt_in_request"):
            utils.verify_token_claims({"user_claims": {}})


async def test_helpers_take_a_proxy_from_a_callback_for_its_object() -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]
    answers = {"is_revoked": False, "is_valid": True}
    manager.token_in_blacklist_loader(lambda claims: LocalProxy(lambda: answers["is_revoked"]))
    manager.claims_verification_loader(lambda claims: LocalProxy(lambda: answers["is_valid"]))
    async with app.app_context():
        utils.verify_token_not_blacklisted({"jti": "any"}, "access")
        utils.verify_token_claims({"user_claims": {}})
        answers.update(is_revoked=True, is_valid=False)
        with pytest.raises(qje.RevokedTokenError):
            utils.verify_token_not_blacklisted({"jti": "any"}, "access")
        with pytest.raises(qje.UserClaimsVerificationError):
            utils.verify_token_claims({"user_claims": {}})


def test_token_of_another_type_is_refused_by_the_helper() -> None:
    utils.verify_token_type({"type": "access"}, "access")
    with pytest.raises(qje.WrongTokenError, match="Only refresh tokens are allowed"):
        utils.verify_token_type({"type": "access"}, "refresh")


async def test_default_callbacks_answer_as_0_1_0_does() -> None:
    async with make_app(JWT_ERROR_MESSAGE_KEY="error").app_context():
        answers = [
            (default_callbacks.default_expired_token_callback({}), "Token has expired", 401),
            (default_callbacks.default_invalid_token_callback("why"), "why", 422),
            (default_callbacks.default_unauthorized_callback("why"), "why", 401),
            (default_callbacks.default_needs_fresh_token_callback(), "Fresh token required", 401),
            (default_callbacks.default_revoked_token_callback(), "Token has been revoked", 401),
            (
                default_callbacks.default_user_loader_error_callback("bob"),
                "Error loading the user bob",
                401,
            ),
            (
                default_callbacks.default_verify_claims_failed_callback(),
                "User claims verification failed",
                400,
            ),
        ]
        for answer, message, status in answers:
            assert answer == ({"error": message}, status)
        assert default_callbacks.default_user_claims_callback("x") == {}
        assert default_callbacks.default_jwt_headers_callback("x") is None
        assert default_callbacks.default_user_identity_callback("x") == "x"
        assert default_callbacks.default_claims_verification_callback({}) is True
        assert default_callbacks.default_decode_key_callback({}, {}) == SECRET
        assert default_callbacks.default_encode_key_callback("x") == SECRET


# --- Odd arguments, and names that 0.1.0's modules had ---------------------------


@pytest.mark.parametrize("is_registered", [False, True])
async def test_claims_that_are_none_raise_as_on_0_1_0(app: Quart, is_registered: bool) -> None:
    """A guard of Socket.IO handlers relies on it."""
    if is_registered:
        app.extensions["quart-jwt-extended"].claims_verification_loader(lambda claims: True)
    async with app.app_context():
        with pytest.raises(TypeError):
            utils.verify_token_claims(None)  # type: ignore[arg-type]
        with pytest.raises(KeyError):
            utils.verify_token_claims({})
        with pytest.raises(TypeError):
            utils.verify_token_type(None, "access")  # type: ignore[arg-type]
        with pytest.raises(KeyError):
            utils.verify_token_type({}, "access")
        with pytest.raises(TypeError):
            utils.user_loader("alice")
        with pytest.raises(TypeError):
            utils.token_in_blacklist({})


def test_modules_have_the_names_of_ours_that_those_of_0_1_0_had() -> None:
    from quart_jwt_extended import view_decorators

    for name in ("decode_token", "verify_token_type", "has_user_loader", "user_loader"):
        assert getattr(view_decorators, name) is getattr(utils, name)
    assert view_decorators.config is utils.config is config
    for name in ("CSRFError", "NoAuthorizationError", "UserLoadError", "FreshTokenRequired"):
        assert getattr(view_decorators, name) is getattr(exceptions, name)


def test_exceptions_say_the_module_of_0_1_0() -> None:
    for name in dir(exceptions):
        exception = getattr(exceptions, name)
        if isinstance(exception, type):
            assert exception.__module__ == "quart_jwt_extended.exceptions"
            assert pickle.loads(pickle.dumps(exception("text"))).args == ("text",)


@pytest.mark.parametrize(
    "source",
    [
        "import sys, quart_jwt_extended as first\n"
        "for name in [name for name in sys.modules if name.startswith('quart_jwt')]:\n"
        "    del sys.modules[name]\n",
        "import sys\nfrom unittest import mock\n"
        "with mock.patch.dict('sys.modules'):\n"
        "    import quart_jwt_extended as first\n",
        "import sys\nfrom unittest import mock\n"
        "with mock.patch.dict('sys.modules'):\n"
        "    import quart_jwt_extended.exceptions\n"
        "    import quart_jwt_extended as first\n",
        "import importlib, quart_jwt_extended as first\nimportlib.reload(first)\n",
    ],
    ids=["deleted", "patched", "patched submodule", "reloaded"],
)
def test_submodules_are_found_after_sys_modules_was_tampered_with(source: str) -> None:
    source += (
        "import quart_jwt_extended.exceptions, quart_jwt_extended\n"
        "from quart_jwt_extended.utils import decode_token\n"
        "from quart_jwt_extended import view_decorators, tokens\n"
        "import quart_jwt_extended.jwt_manager as manager\n"
        "assert quart_jwt_extended is first\n"
        "assert quart_jwt_extended.exceptions.CSRFError is first.CSRFError\n"
        "assert manager.JWTManager is first.JWTManager\n"
        "try:\n    import quart_jwt_extended.absent\nexcept ModuleNotFoundError:\n    pass\n"
        "else:\n    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", source], check=True)


async def test_config_has_the_names_of_flask_jwt_extended() -> None:
    app = make_app()
    async with app.app_context():
        assert (config.cookie_csrf_protect, config.query_string_value_prefix) == (True, "")
        assert (config.encode_audience, config.decode_audience) == (None, None)
        assert (config.encode_nbf, config.verify_sub) == (True, True)
        app.config.update(
            JWT_COOKIE_CSRF_PROTECT=False,
            JWT_QUERY_STRING_VALUE_PREFIX="Bearer ",
            JWT_ENCODE_AUDIENCE="us",
            JWT_DECODE_AUDIENCE="them",
            JWT_ENCODE_NBF=False,
            JWT_VERIFY_SUB=False,
        )
        assert (config.cookie_csrf_protect, config.query_string_value_prefix) == (False, "Bearer ")
        assert (config.encode_audience, config.decode_audience) == ("us", "them")
        assert (config.encode_nbf, config.verify_sub) == (False, False)
