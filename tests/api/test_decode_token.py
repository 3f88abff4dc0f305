"""Looking into a token outside the request pipeline: decode_token and its relatives."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from quart import Quart

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import CSRFError, JWTDecodeError
from support import LONG_AGO, SECRET, access_claims, hs_token, make_app, refresh_claims

Decoder = Callable[..., Any]

decoders = pytest.mark.parametrize(
    "decode", [qje.decode_token, qje.decode_token_async], ids=lambda decoder: decoder.__name__
)


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a plain or an async function inside the current context."""
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def inspected(app: Quart, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function says outside any request."""
    async with app.app_context():
        return await call(function, *args, **kwargs)


def expired(**changes: Any) -> dict[str, Any]:
    return access_claims(exp=LONG_AGO, **changes)


@pytest.mark.parametrize(
    "claims",
    [
        access_claims(user_claims={"role": "admin"}, csrf="value", other=[1, {"deep": None}]),
        access_claims(fresh=True, user_claims={}),
        refresh_claims(user_claims={}),
    ],
    ids=["access", "fresh", "refresh"],
)
@decoders
async def test_decoded_token_has_every_claim_as_it_was(
    app: Quart, decode: Decoder, claims: dict[str, Any]
) -> None:
    assert await inspected(app, decode, hs_token(claims)) == claims


@pytest.mark.parametrize("location", ["headers", "cookies"])
@decoders
async def test_token_of_pyjwt_is_decoded_in_any_configuration_of_locations(
    decode: Decoder, location: str
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=location)
    claims = access_claims(user_claims={})
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    assert await inspected(app, decode, token) == claims


@decoders
async def test_missing_optional_claims_of_a_refresh_token_get_their_defaults(
    app: Quart, decode: Decoder
) -> None:
    """A refresh token is never fresh, so nothing is said about it."""
    decoded = await inspected(app, decode, hs_token({"identity": "alice", "type": "refresh"}))
    assert decoded == {"identity": "alice", "jti": None, "type": "refresh", "user_claims": {}}


@decoders
async def test_default_of_the_user_claims_goes_under_their_own_name(decode: Decoder) -> None:
    app = make_app(JWT_USER_CLAIMS="extra", JWT_IDENTITY_CLAIM="sub")
    decoded = await inspected(app, decode, hs_token({"sub": "alice"}))
    assert decoded["extra"] == {}
    assert "user_claims" not in decoded


@decoders
async def test_each_decoding_gives_a_new_dict(app: Quart, decode: Decoder) -> None:
    """What one caller does to the claims must not reach another, defaults included."""
    token = hs_token({"identity": {"id": 1}, "other": {"deep": [1]}})
    first = await inspected(app, decode, token)
    untouched = copy.deepcopy(first)
    first["identity"]["id"] = 2
    first["other"]["deep"].append(2)
    first["user_claims"]["role"] = "admin"
    first["type"] = "refresh"
    second = await inspected(app, decode, token)
    assert second == untouched
    assert second is not first


@decoders
async def test_expired_token_raises_with_its_header_and_claims(app: Quart, decode: Decoder) -> None:
    claims = expired(user_claims={"role": "admin"})
    header = {"typ": "JWT", "alg": "HS256", "kid": "1"}
    with pytest.raises(jwt.ExpiredSignatureError, match="^Signature has expired$") as caught:
        await inspected(app, decode, hs_token(claims, header=header))
    assert caught.value.jwt_header == header
    assert caught.value.jwt_data == claims


@pytest.mark.parametrize("claims", [expired(), access_claims(), access_claims(exp=...)])
@decoders
async def test_allow_expired_accepts_a_token_whatever_its_expiry(
    app: Quart, decode: Decoder, claims: dict[str, Any]
) -> None:
    decoded = await inspected(app, decode, hs_token(claims), allow_expired=True)
    assert decoded == {**claims, "user_claims": {}}
    positional = await inspected(app, decode, hs_token(claims), None, True)
    assert positional == decoded


@decoders
async def test_allow_expired_still_compares_the_csrf_value(app: Quart, decode: Decoder) -> None:
    token = hs_token(expired(csrf="value"))
    decoded = await inspected(app, decode, token, "value", allow_expired=True)
    assert decoded["csrf"] == "value"
    with pytest.raises(CSRFError):
        await inspected(app, decode, token, "other", allow_expired=True)


@pytest.mark.parametrize(
    ("token", "raised", "message"),
    [
        ("", jwt.DecodeError, "Not enough segments"),
        ("a.b", jwt.DecodeError, "Not enough segments"),
        (hs_token(access_claims())[:-2], jwt.DecodeError, "Invalid crypto padding"),
        (hs_token(access_claims(), secret="x" * 64), jwt.InvalidSignatureError, "failed"),
        (hs_token(access_claims(identity=...)), JWTDecodeError, "Missing claim: identity"),
        (hs_token(access_claims(type=5)), JWTDecodeError, "Missing or invalid claim: type"),
        (None, jwt.DecodeError, "Invalid token type"),
        (5, jwt.DecodeError, "Invalid token type"),
        ({}, jwt.DecodeError, "Invalid token type"),
    ],
)
@decoders
async def test_bad_token_raises_the_class_of_its_fault(
    app: Quart, decode: Decoder, token: Any, raised: type[Exception], message: str
) -> None:
    with pytest.raises(raised, match=message):
        await inspected(app, decode, token)


@decoders
async def test_decoding_takes_a_refresh_token_and_asks_no_request_callback(
    decode: Decoder,
) -> None:
    """Revocation, claims and user are matters of a request."""
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]
    called = []
    manager.token_in_blacklist_loader(lambda claims: called.append("blacklist") or True)
    manager.claims_verification_loader(lambda claims: called.append("claims") or False)
    manager.user_loader_callback_loader(lambda identity: called.append("user"))
    assert (await inspected(app, decode, hs_token(refresh_claims())))["type"] == "refresh"
    assert (await inspected(app, decode, hs_token(access_claims())))["type"] == "access"
    assert called == []


@decoders
async def test_decoding_inside_a_view_leaves_the_request_as_it_was(
    app: Quart, decode: Decoder
) -> None:
    token = hs_token(access_claims(identity="someone else", user_claims={"role": "admin"}))

    async def seen() -> dict[str, Any]:
        decoded = await call(decode, token)
        return {
            "decoded": decoded["identity"],
            "identity": qje.get_jwt_identity(),
            "claims": qje.get_jwt_claims(),
        }

    app.get("/open-look", endpoint="open_look")(seen)
    app.get("/look")(qje.jwt_required(seen))
    client = app.test_client()
    body = await (await client.get("/open-look")).get_json()
    assert body == {"decoded": "someone else", "identity": None, "claims": {}}
    headers = {"Authorization": f"Bearer {hs_token(access_claims())}"}
    body = await (await client.get("/look", headers=headers)).get_json()
    assert body == {"decoded": "someone else", "identity": "alice", "claims": {}}


@decoders
async def test_decoding_outside_any_context_raises_runtime_error(decode: Decoder) -> None:
    with pytest.raises(RuntimeError, match="context"):
        await call(decode, hs_token(access_claims()))


@pytest.mark.parametrize(
    ("claims", "jti"),
    [
        (access_claims(jti="an id"), "an id"),
        (refresh_claims(jti="an id"), "an id"),
        (access_claims(jti=...), None),
    ],
)
async def test_get_jti_gives_the_identifier_or_none(
    app: Quart, claims: dict[str, Any], jti: str | None
) -> None:
    assert await inspected(app, qje.get_jti, hs_token(claims)) == jti


async def test_get_csrf_token_of_a_token_without_one_raises_decode_error(app: Quart) -> None:
    """0.1.0 let a KeyError out, which no handler answers."""
    with pytest.raises(JWTDecodeError, match="^Missing claim: csrf$"):
        await inspected(app, qje.get_csrf_token, hs_token(access_claims()))


@pytest.mark.parametrize("function", [qje.get_jti, qje.get_csrf_token])
@pytest.mark.parametrize(
    ("token", "raised"),
    [
        (hs_token(access_claims(csrf="value"), secret="x" * 64), jwt.InvalidSignatureError),
        (hs_token(expired(csrf="value")), jwt.ExpiredSignatureError),
        ("nonsense", jwt.DecodeError),
    ],
)
async def test_values_of_a_bad_token_are_not_given_out(
    app: Quart, function: Callable[[str], Any], token: str, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        await inspected(app, function, token)


async def test_values_of_a_new_token_are_the_ones_in_it() -> None:
    app = make_app(JWT_TOKEN_LOCATION="cookies")
    async with app.app_context():
        for create in (qje.create_access_token, qje.create_refresh_token):
            token = create("alice")
            claims = jwt.decode(token, SECRET, algorithms=["HS256"])
            assert qje.get_jti(token) == claims["jti"]
            assert qje.get_csrf_token(token) == claims["csrf"]


HEADER = {"typ": "JWT", "alg": "HS256", "kid": "1", "x": {"deep": [1]}}


@pytest.mark.parametrize(
    "token",
    [
        hs_token(access_claims(), header=HEADER),
        hs_token(access_claims(), header=HEADER, secret="x" * 64),
        hs_token(expired(), header=HEADER),
        hs_token(access_claims(), header=HEADER).encode(),
    ],
    ids=["good", "bad signature", "expired", "bytes"],
)
def test_unverified_headers_are_given_outside_any_context(token: str | bytes) -> None:
    assert qje.get_unverified_jwt_headers(token) == HEADER


@pytest.mark.parametrize("alg", ["none", "RS256", "unknown"])
def test_unverified_headers_are_given_whatever_the_algorithm(alg: str) -> None:
    header = {"alg": alg}
    assert qje.get_unverified_jwt_headers(hs_token({}, header=header)) == header


def test_each_call_for_unverified_headers_gives_a_new_dict() -> None:
    token = hs_token(access_claims(), header=HEADER)
    first = qje.get_unverified_jwt_headers(token)
    first["x"]["deep"].append(2)
    first["kid"] = "2"
    assert qje.get_unverified_jwt_headers(token) == HEADER


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "Not enough segments"),
        ("nonsense", "Not enough segments"),
        ("*.e30.", "Invalid header padding"),
        (hs_token({}, header=b"[]"), "Invalid header string: must be a json object"),
        (hs_token({}, header=b"{"), "Invalid header string"),
        (None, "Invalid token type"),
    ],
)
def test_headers_of_a_malformed_token_raise_decode_error(token: Any, message: str) -> None:
    with pytest.raises(jwt.DecodeError, match=message):
        qje.get_unverified_jwt_headers(token)


@pytest.mark.parametrize(
    "read", [qje.decode_token, qje.get_jti, qje.get_csrf_token, qje.get_unverified_jwt_headers]
)
async def test_missing_await_before_a_token_is_named(read: Any) -> None:
    """No client can send a coroutine; None and numbers, which one can, stay a DecodeError."""
    async with make_app().app_context():
        with pytest.raises(TypeError, match="^encoded_token is a coroutine: an `await` is missing"):
            read(qje.create_access_token_async("alice"))
