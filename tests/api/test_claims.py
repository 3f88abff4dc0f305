"""Verification of the claims (RFC 7519, section 4.1) in every JSON type, and at the edges of time.

Times are built relative to now. Where a test stands on the edge itself, it uses that ``now`` can
only have grown since: a token whose ``exp`` is this very second is dead, however slow the machine.
"""

from __future__ import annotations

import datetime
import itertools
import json
import time
from typing import Any

import jwt
import pytest
from jwt.exceptions import InvalidJTIError, InvalidSubjectError
from quart import Quart

import quart_jwt_extended as qje
from support import (
    OTHER_SECRET,
    access_claims,
    ask,
    bearer,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
)

MARGIN = 100
"""Seconds that no test takes."""

DIGITS_400 = "1" + "0" * 400

WRONG_TIMES = [
    "null",
    "true",
    "false",
    '""',
    '"abc"',
    '"0"',
    '"1"',
    '"9999999999"',
    '" 12 "',
    '"1e3"',
    '"NaN"',
    "[]",
    "[1]",
    "{}",
    '{"a":1}',
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
]
"""JSON that is no finite number, or an overflow to infinity."""

EVERY_TYPE = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "1.5",
    "1e308",
    str(2**63),
    str(-(2**63) - 1),
    DIGITS_400,
    "-" + DIGITS_400,
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    '""',
    '"x"',
    '"é"',
    '"\\ud800"',
    '"\\u0000"',
    '"9999999999"',
    "[]",
    '["a"]',
    "[[]]",
    "[1]",
    "{}",
    '{"a":1}',
    '{"":null}',
]
"""One of each, and the awkward ones."""


def shown(text: str) -> str:
    """A test id that is not 400 digits long."""
    return text if len(text) < 30 else f"{text[:3]}...{len(text)}"


def raw_token(claim: str, text: str, **changes: Any) -> str:
    """A good token in which one claim is the given JSON text."""
    claims = access_claims(**{claim: ..., **changes})
    head = json.dumps(claims)[:-1]
    return hs_token(f"{head},{json.dumps(claim)}:{text}}}".encode())


def now() -> int:
    """The second that has begun."""
    return int(time.time())


async def refusal(app: Quart, token: str, **kwargs: Any) -> Exception:
    """What decode_token raises; both twins must agree."""
    async with app.app_context():
        with pytest.raises((jwt.InvalidTokenError, qje.JWTDecodeError, qje.CSRFError)) as caught:
            qje.decode_token(token, **kwargs)
        with pytest.raises(type(caught.value)) as caught_too:
            await qje.decode_token_async(token, **kwargs)
    assert str(caught.value) == str(caught_too.value)
    return caught.value


async def accepted(app: Quart, token: str, **kwargs: Any) -> dict[str, Any]:
    """The claims of a token that must be accepted by both twins."""
    async with app.app_context():
        claims = qje.decode_token(token, **kwargs)
        again = await qje.decode_token_async(token, **kwargs)
    assert repr(claims) == repr(again)
    return claims


TIME_ERRORS = {
    "iat": (jwt.InvalidIssuedAtError, "Issued At claim (iat) must be an integer."),
    "nbf": (jwt.DecodeError, "Not Before claim (nbf) must be an integer."),
    "exp": (jwt.DecodeError, "Expiration Time claim (exp) must be an integer."),
}


# --- Types of times ------------------------------------------------------------
# ``iat``, ``nbf`` and ``exp`` are finite JSON numbers.


@pytest.mark.parametrize("claim", TIME_ERRORS)
@pytest.mark.parametrize("text", WRONG_TIMES, ids=shown)
async def test_time_that_is_no_number_is_refused(app: Quart, claim: str, text: str) -> None:
    kind, message = TIME_ERRORS[claim]
    error = await refusal(app, raw_token(claim, text))
    assert isinstance(error, kind)
    assert str(error) == message


@pytest.mark.parametrize(
    "text",
    [DIGITS_400, str(2**31), str(2**63 - 1), str(2**63), str(2**64), "1e308", "1e18", "9e15"],
    ids=shown,
)
async def test_expiry_in_the_far_future_is_exact(app: Quart, text: str) -> None:
    claims = await accepted(app, raw_token("exp", text))
    assert claims["exp"] == json.loads(text)
    assert type(claims["exp"]) is type(json.loads(text))


@pytest.mark.parametrize(
    "text",
    ["0", "1", "-1", "-0", "0.0", "1.9", "-1.5", f"-{DIGITS_400}", str(-(2**63) - 1), "-1e308"],
    ids=shown,
)
async def test_expiry_in_the_far_past_is_expired(app: Quart, text: str) -> None:
    error = await refusal(app, raw_token("exp", text))
    assert isinstance(error, jwt.ExpiredSignatureError)
    assert str(error) == "Signature has expired"


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize(
    "text",
    ["0", "1", "-1", "-0", "0.0", "1.9", "-1.5", f"-{DIGITS_400}", str(-(2**63) - 1), "-1e308"],
    ids=shown,
)
async def test_start_in_the_far_past_is_accepted(app: Quart, claim: str, text: str) -> None:
    claims = await accepted(app, raw_token(claim, text))
    assert claims[claim] == json.loads(text)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize(
    "text", [DIGITS_400, str(2**31 + 2**33), str(2**63), str(2**64), "1e308", "1e18"], ids=shown
)
async def test_start_in_the_far_future_is_refused(app: Quart, claim: str, text: str) -> None:
    error = await refusal(app, raw_token(claim, text))
    assert isinstance(error, jwt.ImmatureSignatureError)
    assert str(error) == f"The token is not yet valid ({claim})"


@pytest.mark.parametrize("claim", TIME_ERRORS)
async def test_absent_time_is_accepted(app: Quart, claim: str) -> None:
    claims = await accepted(app, hs_token(access_claims(**{claim: ...})))
    assert claim not in claims


# --- Edges of time -------------------------------------------------------------
# When a token begins and ends to be valid.


@pytest.mark.parametrize("seconds", [0, 1, MARGIN])
async def test_token_is_dead_from_exp_on(app: Quart, seconds: int) -> None:
    error = await refusal(app, hs_token(access_claims(exp=now() - seconds)))
    assert isinstance(error, jwt.ExpiredSignatureError)
    assert str(error) == "Signature has expired"


async def test_token_lives_until_exp(app: Quart) -> None:
    await accepted(app, hs_token(access_claims(exp=now() + MARGIN)))
    await accepted(app, hs_token(access_claims(exp=now() + MARGIN + 0.5)))


async def test_fraction_of_exp_does_not_count(app: Quart) -> None:
    """PyJWT cuts it off; counting it would accept for up to a second what PyJWT refuses."""
    error = await refusal(app, hs_token(access_claims(exp=now() + 0.999)))
    assert isinstance(error, jwt.ExpiredSignatureError)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_token_lives_from_its_start_on(app: Quart, claim: str) -> None:
    await accepted(app, hs_token(access_claims(**{claim: now()})))
    await accepted(app, hs_token(access_claims(**{claim: now() + 0.999})))


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("fraction", [0, 0.5])
async def test_token_is_refused_before_its_start(app: Quart, claim: str, fraction: float) -> None:
    error = await refusal(app, hs_token(access_claims(**{claim: now() + MARGIN + fraction})))
    assert isinstance(error, jwt.ImmatureSignatureError)
    assert str(error) == f"The token is not yet valid ({claim})"


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"iat": 2**40, "nbf": 2**40, "exp": 1}, "The token is not yet valid (iat)"),
        ({"nbf": 2**40, "exp": 1}, "The token is not yet valid (nbf)"),
        ({"exp": 1, "sub": 5, "jti": 5}, "Subject must be a string"),
        ({"exp": 1, "jti": 5}, "JWT ID must be a string"),
        ({"sub": 5, "jti": 5}, "Subject must be a string"),
        ({"iat": None, "nbf": None, "exp": None}, TIME_ERRORS["iat"][1]),
        ({"nbf": None, "exp": None}, TIME_ERRORS["nbf"][1]),
        ({"aud": "x", "sub": 5}, "Invalid audience"),
    ],
)
async def test_first_fault_in_the_order_of_pyjwt_is_reported(
    app: Quart, claims: dict[str, Any], message: str
) -> None:
    assert str(await refusal(app, hs_token(access_claims(**claims)))) == message


LEEWAYS = [
    pytest.param(60, id="int"),
    pytest.param(60.0, id="float"),
    pytest.param(datetime.timedelta(minutes=1), id="timedelta"),
    pytest.param(datetime.timedelta(seconds=59, microseconds=1_000_000), id="microseconds"),
]


# --- Leeway --------------------------------------------------------------------
# JWT_DECODE_LEEWAY: seconds of any number type, or a timedelta.


@pytest.mark.parametrize("leeway", LEEWAYS)
async def test_leeway_extends_the_life(leeway: Any) -> None:
    app = make_app(JWT_DECODE_LEEWAY=leeway)
    await accepted(app, hs_token(access_claims(exp=now() - 20)))
    for age in (60, 61, 60 + MARGIN):
        error = await refusal(app, hs_token(access_claims(exp=now() - age)))
        assert isinstance(error, jwt.ExpiredSignatureError)


@pytest.mark.parametrize("leeway", LEEWAYS)
@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_leeway_brings_the_start_forward(leeway: Any, claim: str) -> None:
    app = make_app(JWT_DECODE_LEEWAY=leeway)
    await accepted(app, hs_token(access_claims(**{claim: now() + 60})))
    error = await refusal(app, hs_token(access_claims(**{claim: now() + 60 + MARGIN})))
    assert isinstance(error, jwt.ImmatureSignatureError)


async def test_fractions_of_leeway_count() -> None:
    app = make_app(JWT_DECODE_LEEWAY=0.5)
    error = await refusal(app, hs_token(access_claims(exp=now() - 1)))
    assert isinstance(error, jwt.ExpiredSignatureError)
    app = make_app(JWT_DECODE_LEEWAY=MARGIN + 0.5)
    await accepted(app, hs_token(access_claims(exp=now() - 1)))


# --- Expired -------------------------------------------------------------------
# What an expired token tells, and to whom.


async def test_exception_carries_the_defaults_too(app: Quart) -> None:
    """What an expired_token callback reads, ``claims["type"]`` first, is always there."""
    error = await refusal(app, hs_token({"identity": "alice", "exp": 1}))
    assert isinstance(error, jwt.ExpiredSignatureError)
    assert error.jwt_data == {
        "identity": "alice",
        "exp": 1,
        "jti": None,
        "type": "access",
        "fresh": False,
        "user_claims": {},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nbf": 2**40}, "The token is not yet valid (nbf)"),
        ({"iat": 2**40}, "The token is not yet valid (iat)"),
        ({"aud": "other"}, "Invalid audience"),
        ({"sub": 5}, "Subject must be a string"),
        ({"jti": 5}, "JWT ID must be a string"),
        ({"identity": ...}, "Missing claim: identity"),
        ({"type": "other"}, "Missing or invalid claim: type"),
    ],
)
async def test_allow_expired_forgives_nothing_else(
    app: Quart, changes: dict[str, Any], message: str
) -> None:
    token = hs_token(access_claims(exp=now() - MARGIN, **changes))
    assert str(await refusal(app, token, allow_expired=True)) == message
    forged = hs_token(access_claims(exp=now() - MARGIN), secret=OTHER_SECRET)
    error = await refusal(app, forged, allow_expired=True)
    assert isinstance(error, jwt.InvalidSignatureError)


async def test_forged_expired_token_is_not_called_expired(app: Quart) -> None:
    """Otherwise anybody could feed the expired-token loader with claims of his choice."""
    token = hs_token(access_claims(exp=now() - MARGIN), secret=OTHER_SECRET)
    assert isinstance(await refusal(app, token), jwt.InvalidSignatureError)
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 422


# --- Issuer --------------------------------------------------------------------
# JWT_DECODE_ISSUER.


async def test_equal_issuer_is_accepted() -> None:
    app = make_app(JWT_DECODE_ISSUER="https://issuer.example")
    claims = await accepted(app, hs_token(access_claims(iss="https://issuer.example")))
    assert claims["iss"] == "https://issuer.example"


@pytest.mark.parametrize(
    "issuer", ["https://issuer.example/", "HTTPS://ISSUER.EXAMPLE", "", "https://other"]
)
async def test_different_issuer_is_refused(issuer: str) -> None:
    app = make_app(JWT_DECODE_ISSUER="https://issuer.example")
    error = await refusal(app, hs_token(access_claims(iss=issuer)))
    assert isinstance(error, jwt.InvalidIssuerError)
    assert str(error) == "Invalid issuer"


async def test_absent_issuer_is_refused() -> None:
    app = make_app(JWT_DECODE_ISSUER="https://issuer.example")
    error = await refusal(app, hs_token(access_claims()))
    assert isinstance(error, jwt.MissingRequiredClaimError)
    assert str(error) == 'Token is missing the "iss" claim'


@pytest.mark.parametrize("text", [t for t in EVERY_TYPE if not t.startswith('"')], ids=shown)
async def test_issuer_that_is_no_string_is_refused(text: str) -> None:
    app = make_app(JWT_DECODE_ISSUER="https://issuer.example")
    error = await refusal(app, raw_token("iss", text))
    assert isinstance(error, jwt.InvalidIssuerError)
    assert str(error) == "Payload Issuer (iss) must be a string"


@pytest.mark.parametrize("text", EVERY_TYPE, ids=shown)
async def test_unexpected_issuer_is_not_looked_at(app: Quart, text: str) -> None:
    claims = await accepted(app, raw_token("iss", text))
    assert repr(claims["iss"]) == repr(json.loads(text))


# --- Audience ------------------------------------------------------------------
# JWT_DECODE_AUDIENCE: a string or several, matched against a string or a list of strings.


@pytest.mark.parametrize(
    ("expected", "claim"),
    [
        ("api", "api"),
        ("api", ["api"]),
        ("api", ["web", "api"]),
        (["api"], "api"),
        (["api", "web"], "web"),
        (["api", "web"], ["x", "web"]),
        (("api", "web"), "api"),
    ],
)
async def test_matching_audience_is_accepted(expected: Any, claim: Any) -> None:
    app = make_app(JWT_DECODE_AUDIENCE=expected)
    assert (await accepted(app, hs_token(access_claims(aud=claim))))["aud"] == claim


@pytest.mark.parametrize(
    ("expected", "claim"),
    [
        ("api", "ap"),
        ("api", "apis"),
        ("api", "API"),
        ("api", ["a", "p", "i"]),
        ("api", ["web"]),
        (["api", "web"], "apiweb"),
        (["api", "web"], ["x", "y"]),
        (("api",), "a"),
    ],
)
async def test_other_audience_is_refused(expected: Any, claim: Any) -> None:
    app = make_app(JWT_DECODE_AUDIENCE=expected)
    error = await refusal(app, hs_token(access_claims(aud=claim)))
    assert isinstance(error, jwt.InvalidAudienceError)
    assert str(error) == "Audience doesn't match"


@pytest.mark.parametrize("claim", [..., None, "", [], {}, 0, False, 0.0], ids=repr)
async def test_absent_or_empty_audience_is_missing(claim: Any) -> None:
    app = make_app(JWT_DECODE_AUDIENCE="api")
    error = await refusal(app, hs_token(access_claims(aud=claim)))
    assert isinstance(error, jwt.MissingRequiredClaimError)
    assert str(error) == 'Token is missing the "aud" claim'


@pytest.mark.parametrize(
    "text",
    ["1", "1.5", "true", "NaN", "Infinity", DIGITS_400, "1e308", '{"api":1}', "[1]", "[[]]"]
    + ['["api",1]', '["api",null]', '["api",["api"]]', "[null]", "[true]"],
    ids=shown,
)
async def test_audience_of_a_wrong_type_is_refused(text: str) -> None:
    app = make_app(JWT_DECODE_AUDIENCE="api")
    error = await refusal(app, raw_token("aud", text))
    assert isinstance(error, jwt.InvalidAudienceError)
    assert str(error) == "Invalid claim format in token"


@pytest.mark.parametrize("text", EVERY_TYPE, ids=shown)
async def test_unexpected_audience_is_refused_unless_empty(app: Quart, text: str) -> None:
    token = raw_token("aud", text)
    if json.loads(text):
        error = await refusal(app, token)
        assert isinstance(error, jwt.InvalidAudienceError)
        assert str(error) == "Invalid audience"
    else:
        assert repr((await accepted(app, token))["aud"]) == repr(json.loads(text))


# --- Subject and token id ------------------------------------------------------
# ``sub`` and ``jti`` are strings if they are there.


@pytest.mark.parametrize("text", [t for t in EVERY_TYPE if not t.startswith('"')], ids=shown)
async def test_subject_that_is_no_string_is_refused(app: Quart, text: str) -> None:
    error = await refusal(app, raw_token("sub", text))
    assert isinstance(error, InvalidSubjectError)
    assert str(error) == "Subject must be a string"


@pytest.mark.parametrize("text", EVERY_TYPE, ids=shown)
async def test_any_subject_is_accepted_without_its_verification(text: str) -> None:
    app = make_app(JWT_VERIFY_SUB=False)
    claims = await accepted(app, raw_token("sub", text))
    assert repr(claims["sub"]) == repr(json.loads(text))


async def test_string_in_sub_serves_as_identity() -> None:
    app = make_app(JWT_IDENTITY_CLAIM="sub")
    claims = await accepted(app, hs_token(access_claims(identity=..., sub="42")))
    assert claims["sub"] == "42"


@pytest.mark.parametrize("text", [t for t in EVERY_TYPE if not t.startswith('"')], ids=shown)
async def test_token_id_that_is_no_string_is_refused(app: Quart, text: str) -> None:
    error = await refusal(app, raw_token("jti", text))
    assert isinstance(error, InvalidJTIError)
    assert str(error) == "JWT ID must be a string"


async def test_absent_token_id_becomes_none(app: Quart) -> None:
    assert (await accepted(app, hs_token(access_claims(jti=...))))["jti"] is None


# --- Claims of the extension ---------------------------------------------------
# Identity, type, fresh, user claims: what is required and what is filled in.


async def test_defaults_are_filled_in(app: Quart) -> None:
    claims = await accepted(app, hs_token({"identity": "alice"}))
    assert claims == {
        "identity": "alice",
        "jti": None,
        "type": "access",
        "fresh": False,
        "user_claims": {},
    }


async def test_missing_identity_is_refused_by_name() -> None:
    app = make_app(JWT_IDENTITY_CLAIM="who")
    error = await refusal(app, hs_token(access_claims()))
    assert isinstance(error, qje.JWTDecodeError)
    assert str(error) == "Missing claim: who"


@pytest.mark.parametrize("text", [t for t in EVERY_TYPE if t != "NaN"], ids=shown)
async def test_identity_may_be_any_json(app: Quart, text: str) -> None:
    claims = await accepted(app, raw_token("identity", text))
    assert claims["identity"] == json.loads(text)


@pytest.mark.parametrize(
    "text", [*EVERY_TYPE, '"ACCESS"', '"access "', '"Refresh"', '["access"]'], ids=shown
)
async def test_unknown_type_is_refused(app: Quart, text: str) -> None:
    error = await refusal(app, raw_token("type", text))
    assert isinstance(error, qje.JWTDecodeError)
    assert str(error) == "Missing or invalid claim: type"


@pytest.mark.parametrize("kind", ["access", "refresh"])
async def test_type_of_the_token_is_kept(app: Quart, kind: str) -> None:
    assert (await accepted(app, hs_token(access_claims(type=kind))))["type"] == kind


VIEWS = ["protected", "optional", "fresh", "refresh"]


# --- Requests ------------------------------------------------------------------
# Whatever JSON a claim holds, a request is answered: never by a server error.


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "claim",
    ["iat", "nbf", "exp", "iss", "aud", "sub", "jti", "type", "fresh", "csrf"]
    + ["identity", "user_claims"],
)
async def test_claim_of_every_type_is_answered(view: str, claim: str) -> None:
    app = make_app(JWT_BLACKLIST_ENABLED=True, JWT_CLAIMS_IN_REFRESH_TOKEN=True)
    manager_of(app).token_in_blacklist_loader(lambda claims: claims["jti"] == "revoked")
    maker = refresh_claims if view == "refresh" else access_claims
    for text in EVERY_TYPE:
        head = json.dumps(maker(**{claim: ...}))[:-1]
        token = hs_token(f'{head},"{claim}":{text}}}'.encode())
        app.calls.clear()
        status, body = await ask(app, f"/{view}", token)
        assert status in (200, 400, 401, 422), text
        assert (status == 200) == (app.calls == [view]), text
        if status != 200:
            assert set(body) == {"msg"}


@pytest.mark.parametrize("claim", ["type", "fresh", "csrf", "jti", "sub", "user_claims"])
async def test_expired_token_with_a_claim_of_every_type_is_answered(claim: str) -> None:
    """On the way of an expired token too, with a CSRF value to compare on top."""
    app = make_app(JWT_TOKEN_LOCATION="cookies")
    client = app.test_client()
    for text in EVERY_TYPE:
        changes = {"exp": 1} if claim == "csrf" else {"exp": 1, "csrf": "x"}
        token = raw_token(claim, text, **changes)
        client.set_cookie("localhost", "access_token_cookie", token)
        response = await client.post("/protected", headers={"X-CSRF-TOKEN": "x"})
        assert response.status_code in (401, 422), text
        assert set(await response.get_json()) == {"msg"}
    assert app.calls == []


async def test_user_claims_of_every_type_reach_the_verification_loader(app: Quart) -> None:
    manager_of(app).claims_verification_loader(lambda claims: False)
    for text in EVERY_TYPE:
        status, _ = await ask(app, "/protected", raw_token("user_claims", text))
        assert status in (400, 422), text
    assert app.calls == []


async def test_user_that_cannot_be_loaded_is_answered(app: Quart) -> None:
    manager_of(app).user_loader_callback_loader(lambda identity: None)
    for text in EVERY_TYPE:
        answer = await ask(app, "/protected", raw_token("identity", text))
        shown = str(json.loads(text)).encode(errors="backslashreplace").decode()
        assert answer == (401, {"msg": f"Error loading the user {shown}"})


CSRF_TEXTS = [text for text in EVERY_TYPE if text not in ('"x"', '"é"')]


# --- CSRF claim ----------------------------------------------------------------
# The double-submit value in the token must be a string, and equal.


@pytest.mark.parametrize("text", [*CSRF_TEXTS, '"X"', '"x "', '["x"]', '{"x":1}'], ids=shown)
async def test_claim_of_a_wrong_type_or_value_is_refused(app: Quart, text: str) -> None:
    error = await refusal(app, raw_token("csrf", text), csrf_value="x")
    assert isinstance(error, (qje.CSRFError, qje.JWTDecodeError))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("1.5", "1.5"),
        ("true", "True"),
        ("true", "true"),
        ("null", "None"),
        ("null", "null"),
        ("[]", "[]"),
        ('["a"]', "a"),
        ("{}", "{}"),
        ("NaN", "nan"),
        ("Infinity", "inf"),
    ],
)
async def test_claim_that_only_looks_equal_is_refused(app: Quart, text: str, value: str) -> None:
    error = await refusal(app, raw_token("csrf", text), csrf_value=value)
    assert isinstance(error, (qje.CSRFError, qje.JWTDecodeError))


async def test_absent_claim_is_refused(app: Quart) -> None:
    error = await refusal(app, hs_token(access_claims()), csrf_value="x")
    assert isinstance(error, qje.JWTDecodeError)
    assert str(error) == "Missing claim: csrf"


@pytest.mark.parametrize("value", ["y", "x ", "X", "xx", "é", "😀", "\ud800", "\0"], ids=ascii)
async def test_other_value_is_refused(app: Quart, value: str) -> None:
    error = await refusal(app, hs_token(access_claims(csrf="x")), csrf_value=value)
    assert isinstance(error, qje.CSRFError)
    assert str(error) == "CSRF double submit tokens do not match"


@pytest.mark.parametrize("value", ["x", "é", "😀", "a" * 1000])
async def test_equal_value_is_accepted(app: Quart, value: str) -> None:
    token = hs_token(access_claims(csrf=value))
    assert (await accepted(app, token, csrf_value=value))["csrf"] == value


async def test_request_with_a_cookie_and_a_claim_of_every_type_is_answered() -> None:
    app = make_app(JWT_TOKEN_LOCATION="cookies")
    for text, value in itertools.product(EVERY_TYPE, ("x", "1", "None", "\xfc", "true")):
        cookie = {"Cookie": f"access_token_cookie={raw_token('csrf', text)}"}
        headers = {**cookie, "X-CSRF-TOKEN": value}
        status, body = await ask(app, "/protected", method="POST", headers=headers)
        if json.loads(text) == value:
            assert status == 200, text
        else:
            assert status in (401, 422), text
            assert set(body) == {"msg"}


# --- Required claims and the type in the header -------------------------------


@pytest.mark.parametrize("value", [None, ..., "x"])
async def test_required_claim_must_be_there_and_not_null(value: Any) -> None:
    """As under PyJWT's option ``require``."""
    app = make_app(JWT_REQUIRED_CLAIMS=["client", "exp"])
    token = hs_token(access_claims(client=value))
    if value == "x":
        assert (await accepted(app, token))["client"] == "x"
    else:
        error = await refusal(app, token)
        assert isinstance(error, jwt.MissingRequiredClaimError)
        assert str(error) == 'Token is missing the "client" claim'


@pytest.mark.parametrize(
    ("accepts", "typ", "expected"),
    [
        ("at+jwt", "at+jwt", True),
        ("at+jwt", "AT+JWT", True),
        ("at+jwt", "application/at+jwt", True),
        ("application/at+jwt", "at+jwt", True),
        ("Application/AT+jwt", "at+jwt", True),
        (["JWT", "at+jwt"], "jwt", True),
        ("at+jwt", "JWT", False),
        ("at+jwt", "logout+jwt", False),
        ("at+jwt", "text/at+jwt", False),
        ("at+jwt", "at+jwt; a=b", False),
        ("at+jwt", " at+jwt", False),
        ("at+jwt", "", False),
        ("at+jwt", ..., False),
        ("at+jwt", None, False),
        ("at+jwt", ["at+jwt"], False),
        (None, "logout+jwt", True),
        (None, ..., True),
    ],
    ids=str,
)
async def test_type_in_the_header_is_compared_as_a_media_type(
    accepts: Any, typ: Any, expected: bool
) -> None:
    """RFC 7515, section 4.1.9, and RFC 8725, section 3.11."""
    app = make_app(JWT_DECODE_TYP=accepts)
    header = {"alg": "HS256"} if typ is ... else {"alg": "HS256", "typ": typ}
    token = hs_token(access_claims(), header=header)
    for _ in range(2):
        if expected:
            assert (await accepted(app, token))["identity"] == "alice"
        else:
            text = 'The "typ" header is not one that JWT_DECODE_TYP accepts'
            assert str(await refusal(app, token)) == text


async def test_token_that_says_null_of_its_freshness_is_not_fresh() -> None:
    """0.1.0 made such tokens and took them."""
    app = make_app()
    token = hs_token(access_claims(fresh=None))
    assert (await accepted(app, token))["fresh"] is False
    assert await ask(app, "/fresh", token) == (401, {"msg": "Fresh token required"})
