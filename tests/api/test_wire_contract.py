"""What a client sees when a token is refused: exception, status, body, and the order of checks.

Clients and applications match on these messages, the odd spelling included, so every one of them
is written out here instead of being taken from the module.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from quart import Quart

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import (
    CSRFError,
    FreshTokenRequired,
    InvalidHeaderError,
    JWTDecodeError,
    JWTExtendedException,
    NoAuthorizationError,
    RevokedTokenError,
    UserClaimsVerificationError,
    UserLoadError,
    WrongTokenError,
)
from support import (
    FAR_FUTURE,
    LONG_AGO,
    SECRET,
    access_claims,
    ask,
    bearer,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
)

VERIFY = {
    "/protected": qje.verify_jwt_in_request,
    "/optional": qje.verify_jwt_in_request_optional,
    "/fresh": qje.verify_fresh_jwt_in_request,
    "/refresh": qje.verify_jwt_refresh_token_in_request,
}

COOKIES = {"JWT_TOKEN_LOCATION": "cookies"}
EXPIRED_CLAIMS = access_claims(exp=LONG_AGO, user_claims={"role": "admin"})


def access_cookie(**changes: Any) -> dict[str, str]:
    """Request headers that carry an access token in its cookie."""
    return {"Cookie": f"access_token_cookie={hs_token(access_claims(**changes))}"}


def refuse(loader: str, result: Any) -> Callable[[qje.JWTManager], None]:
    """A set-up step that registers a callback answering ``result``."""

    def prepare(manager: qje.JWTManager) -> None:
        def callback(value: Any) -> Any:
            return result

        getattr(manager, loader)(callback)

    return prepare


@dataclass(frozen=True)
class Failure:
    """One line of the wire contract, and a request that runs into it."""

    raised: type[Exception]
    loader: str
    status: int
    message: str
    path: str = "/protected"
    options: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[qje.JWTManager], None] | None = None
    arguments: tuple[Any, ...] | None = None
    """What the loader is called with; None stands for the message."""

    def app(self, **options: Any) -> Quart:
        app = make_app(**{**self.options, **options})
        if self.prepare is not None:
            self.prepare(manager_of(app))
        return app


def no_token(message: str, **kwargs: Any) -> Failure:
    return Failure(NoAuthorizationError, "unauthorized_loader", 401, message, **kwargs)


def bad_header(message: str, **kwargs: Any) -> Failure:
    return Failure(InvalidHeaderError, "invalid_token_loader", 422, message, **kwargs)


def bad_csrf(message: str, **kwargs: Any) -> Failure:
    return Failure(CSRFError, "unauthorized_loader", 401, message, **kwargs)


def bad_claims(message: str, **kwargs: Any) -> Failure:
    return Failure(JWTDecodeError, "invalid_token_loader", 422, message, **kwargs)


def wrong_type(message: str, **kwargs: Any) -> Failure:
    return Failure(WrongTokenError, "invalid_token_loader", 422, message, **kwargs)


def not_fresh(fresh: Any) -> Failure:
    return Failure(
        FreshTokenRequired,
        "needs_fresh_token_loader",
        401,
        "Fresh token required",
        path="/fresh",
        request={"headers": bearer(hs_token(access_claims(fresh=fresh)))},
        arguments=(),
    )


def revoked(path: str, claims: dict[str, Any]) -> Failure:
    return Failure(
        RevokedTokenError,
        "revoked_token_loader",
        401,
        "Token has been revoked",
        path=path,
        options={"JWT_BLACKLIST_ENABLED": True},
        request={"headers": bearer(hs_token(claims))},
        prepare=refuse("token_in_blacklist_loader", True),
        arguments=(),
    )


def no_user(identity: Any, message: str, path: str = "/protected") -> Failure:
    claims = refresh_claims if path == "/refresh" else access_claims
    return Failure(
        UserLoadError,
        "user_loader_error_loader",
        401,
        message,
        path=path,
        request={"headers": bearer(hs_token(claims(identity=identity, fresh=True)))},
        prepare=refuse("user_loader_callback_loader", None),
        arguments=(identity,),
    )


def claims_refused(path: str) -> Failure:
    return Failure(
        UserClaimsVerificationError,
        "claims_verification_failed_loader",
        400,
        "User claims verification failed",
        path=path,
        request={"headers": bearer(hs_token(access_claims(fresh=True)))},
        prepare=refuse("claims_verification_loader", False),
        arguments=(),
    )


FAILURES = {
    "no header": no_token("Missing Authorization Header"),
    "no header with own name": no_token(
        "Missing X-Token Header", options={"JWT_HEADER_NAME": "X-Token"}
    ),
    "no header on a fresh view": no_token("Missing Authorization Header", path="/fresh"),
    "no header on a refresh view": no_token("Missing Authorization Header", path="/refresh"),
    "no access cookie": no_token('Missing cookie "access_token_cookie"', options=COOKIES),
    "no refresh cookie": no_token(
        'Missing cookie "refresh_token_cookie"', options=COOKIES, path="/refresh"
    ),
    "no cookie with own name": no_token(
        'Missing cookie "session"', options={**COOKIES, "JWT_ACCESS_COOKIE_NAME": "session"}
    ),
    "no query parameter": no_token(
        'Missing "jwt" query paramater', options={"JWT_TOKEN_LOCATION": "query_string"}
    ),
    "no query parameter with own name": no_token(
        'Missing "token" query paramater',
        options={"JWT_TOKEN_LOCATION": "query_string", "JWT_QUERY_STRING_NAME": "token"},
    ),
    "no json body": no_token(
        "Invalid content-type. Must be application/json.",
        options={"JWT_TOKEN_LOCATION": "json"},
    ),
    "no access key in json": no_token(
        'Missing "access_token" key in json data.',
        options={"JWT_TOKEN_LOCATION": "json"},
        request={"method": "POST", "json": {"token": "x"}},
    ),
    "no refresh key in json": no_token(
        'Missing "refresh_token" key in json data.',
        options={"JWT_TOKEN_LOCATION": "json"},
        path="/refresh",
        request={"method": "POST", "json": {"access_token": "x"}},
    ),
    "nothing in two locations": no_token(
        "Missing JWT in headers or cookies "
        '(Missing Authorization Header; Missing cookie "access_token_cookie")',
        options={"JWT_TOKEN_LOCATION": ["headers", "cookies"]},
    ),
    "nothing in three locations": no_token(
        "Missing JWT in json, query_string or headers "
        "(Invalid content-type. Must be application/json.; "
        'Missing "jwt" query paramater; Missing Authorization Header)',
        options={"JWT_TOKEN_LOCATION": ("json", "query_string", "headers")},
    ),
    "nothing in four locations": no_token(
        "Missing JWT in headers, cookies, query_string or json "
        '(Missing Authorization Header; Missing cookie "refresh_token_cookie"; '
        'Missing "jwt" query paramater; Missing "refresh_token" key in json data.)',
        options={"JWT_TOKEN_LOCATION": ["headers", "cookies", "query_string", "json"]},
        path="/refresh",
        request={"method": "POST", "json": {}},
    ),
    "header without scheme": bad_header(
        "Bad Authorization header. Expected value 'Bearer <JWT>'",
        request={"headers": {"Authorization": hs_token(access_claims())}},
    ),
    "header with own name and type": bad_header(
        "Bad X-Token header. Expected value 'JWT <JWT>'",
        options={"JWT_HEADER_NAME": "X-Token", "JWT_HEADER_TYPE": "JWT"},
        request={"headers": {"X-Token": "JWT"}},
    ),
    "header that should hold only the token": bad_header(
        "Bad Authorization header. Expected value '<JWT>'",
        options={"JWT_HEADER_TYPE": ""},
        request={"headers": bearer(hs_token(access_claims()))},
    ),
    "csrf value absent": bad_csrf(
        "Missing CSRF token",
        options=COOKIES,
        request={"method": "POST", "headers": access_cookie(csrf="value")},
    ),
    "csrf value different": bad_csrf(
        "CSRF double submit tokens do not match",
        options=COOKIES,
        request={
            "method": "POST",
            "headers": {**access_cookie(csrf="value"), "X-CSRF-TOKEN": "other"},
        },
    ),
    "csrf claim absent": bad_claims(
        "Missing claim: csrf",
        options=COOKIES,
        request={"method": "POST", "headers": {**access_cookie(), "X-CSRF-TOKEN": "value"}},
    ),
    "expired": Failure(
        jwt.ExpiredSignatureError,
        "expired_token_loader",
        401,
        "Token has expired",
        request={"headers": bearer(hs_token(EXPIRED_CLAIMS))},
        arguments=(EXPIRED_CLAIMS,),
    ),
    "not a token": Failure(
        jwt.DecodeError,
        "invalid_token_loader",
        422,
        "Not enough segments",
        request={"headers": bearer("nonsense")},
    ),
    "signed by another": Failure(
        jwt.InvalidSignatureError,
        "invalid_token_loader",
        422,
        "Signature verification failed",
        request={"headers": bearer(hs_token(access_claims(), secret="another secret" * 5))},
    ),
    "not yet valid": Failure(
        jwt.ImmatureSignatureError,
        "invalid_token_loader",
        422,
        "The token is not yet valid (nbf)",
        request={"headers": bearer(hs_token(access_claims(nbf=FAR_FUTURE)))},
    ),
    "identity missing": bad_claims(
        "Missing claim: identity",
        request={"headers": bearer(hs_token(access_claims(identity=...)))},
    ),
    "identity missing with own claim": bad_claims(
        "Missing claim: uid",
        options={"JWT_IDENTITY_CLAIM": "uid"},
        request={"headers": bearer(hs_token(access_claims()))},
    ),
    "type unknown": bad_claims(
        "Missing or invalid claim: type",
        request={"headers": bearer(hs_token(access_claims(type="other")))},
    ),
    "refresh token on an access view": wrong_type(
        "Only access tokens are allowed",
        request={"headers": bearer(hs_token(refresh_claims()))},
    ),
    "refresh token on a fresh view": wrong_type(
        "Only access tokens are allowed",
        path="/fresh",
        request={"headers": bearer(hs_token(refresh_claims(fresh=True)))},
    ),
    "refresh token on an optional view": wrong_type(
        "Only access tokens are allowed",
        path="/optional",
        request={"headers": bearer(hs_token(refresh_claims()))},
    ),
    "access token on a refresh view": wrong_type(
        "Only refresh tokens are allowed",
        path="/refresh",
        request={"headers": bearer(hs_token(access_claims()))},
    ),
    "token without a type on a refresh view": wrong_type(
        "Only refresh tokens are allowed",
        path="/refresh",
        request={"headers": bearer(hs_token(access_claims(type=...)))},
    ),
    "not fresh": not_fresh(False),
    "fresh absent": not_fresh(...),
    "no longer fresh": not_fresh(LONG_AGO),
    "revoked access token": revoked("/protected", access_claims()),
    "revoked access token on an optional view": revoked("/optional", access_claims()),
    "revoked refresh token": revoked("/refresh", refresh_claims()),
    "user not loaded": no_user("alice", "Error loading the user alice"),
    "user not loaded on a fresh view": no_user("bob", "Error loading the user bob", "/fresh"),
    "user not loaded on a refresh view": no_user("eve", "Error loading the user eve", "/refresh"),
    "claims refused": claims_refused("/protected"),
    "claims refused on a fresh view": claims_refused("/fresh"),
    "claims refused on an optional view": claims_refused("/optional"),
}

every_failure = pytest.mark.parametrize(
    "failure", [pytest.param(failure, id=name) for name, failure in FAILURES.items()]
)


@every_failure
async def test_refused_request_answers_the_contract_to_the_byte(failure: Failure) -> None:
    """Status, media type and every byte of the body are fixed, and the view does not run."""
    app = failure.app()
    response = await app.test_client().open(failure.path, **failure.request)
    expected = json.dumps({"msg": failure.message}, separators=(",", ":")) + "\n"
    assert response.status_code == failure.status
    assert response.mimetype == "application/json"
    assert await response.get_data() == expected.encode()
    app.config["JWT_ERROR_MESSAGE_KEY"] = "reason"
    answer = await ask(app, failure.path, **failure.request)
    assert answer == (failure.status, {"reason": failure.message})
    assert app.calls == []


@every_failure
async def test_refused_request_raises_the_class_of_the_contract(failure: Failure) -> None:
    """Applications that call the verify coroutines themselves catch these classes."""
    app = failure.app()
    async with app.test_request_context(failure.path, **failure.request):
        with pytest.raises(failure.raised) as caught:
            await VERIFY[failure.path]()
    if issubclass(failure.raised, JWTExtendedException):
        assert caught.type is failure.raised


LOADERS = [
    "unauthorized_loader",
    "invalid_token_loader",
    "expired_token_loader",
    "needs_fresh_token_loader",
    "revoked_token_loader",
    "user_loader_error_loader",
    "claims_verification_failed_loader",
]


def record_loaders(app: Quart) -> list[tuple[str, tuple[Any, ...]]]:
    """Replace every error loader by one that records its call and answers 418."""
    called: list[tuple[str, tuple[Any, ...]]] = []
    manager = manager_of(app)

    def with_one(name: str) -> Callable[[Any], Any]:
        def callback(argument: Any) -> Any:
            called.append((name, (argument,)))
            return {"from": name}, 418

        return callback

    def with_none(name: str) -> Callable[[], Any]:
        def callback() -> Any:
            called.append((name, ()))
            return {"from": name}, 418

        return callback

    takes_none = {
        "needs_fresh_token_loader",
        "revoked_token_loader",
        "claims_verification_failed_loader",
    }
    for name in LOADERS:
        getattr(manager, name)(with_none(name) if name in takes_none else with_one(name))
    return called


@every_failure
async def test_own_loader_answers_alone_and_gets_what_the_contract_says(failure: Failure) -> None:
    app = failure.app()
    called = record_loaders(app)
    response = await app.test_client().open(failure.path, **failure.request)
    assert response.status_code == 418
    assert await response.get_json() == {"from": failure.loader}
    arguments = (failure.message,) if failure.arguments is None else failure.arguments
    assert called == [(failure.loader, arguments)]
    assert app.calls == []


def _tampered() -> str:
    head, _, signature = hs_token(access_claims()).split(".")
    return f"{head}.{hs_token(access_claims(identity='eve')).split('.')[1]}.{signature}"


BAD_TOKENS = {
    "one segment": "nonsense",
    "two segments": "a.b",
    "empty segments": "..",
    "header not base64url": "*.e30.AA",
    "header not json": hs_token(access_claims(), header=b"nonsense"),
    "header a list": hs_token(access_claims(), header=[]),
    "payload not base64url": "e30.*.AA",
    "payload not json": hs_token(b"nonsense"),
    "payload a list": hs_token([]),
    "tampered payload": _tampered(),
    "signature not base64url": hs_token(access_claims()) + "*",
    "other algorithm of the family": hs_token(access_claims(), alg="HS512"),
    "algorithm none": hs_token(access_claims(), header={"alg": "none"}),
    "algorithm missing": hs_token(access_claims(), header={"typ": "JWT"}),
    "kid not a string": hs_token(access_claims(), header={"alg": "HS256", "kid": 1}),
    "critical header that is absent": hs_token(
        access_claims(), header={"alg": "HS256", "crit": ["b64"]}
    ),
    "iat not a number": hs_token(access_claims(iat="soon")),
    "iat in the future": hs_token(access_claims(iat=FAR_FUTURE)),
    "nbf not a number": hs_token(access_claims(nbf="soon")),
    "exp not a number": hs_token(access_claims(exp="soon")),
    "audience not expected": hs_token(access_claims(aud="someone")),
    "sub not a string": hs_token(access_claims(sub=1)),
    "jti not a string": hs_token(access_claims(jti=1)),
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_bad_token_answers_with_the_text_of_pyjwt(app: Quart, token: str) -> None:
    """The oracle is PyJWT itself, asked about the same token with the same options."""
    with pytest.raises(jwt.InvalidTokenError) as oracle:
        jwt.decode(token, SECRET, algorithms=["HS256"])

    answer = await ask(app, "/protected", token)
    assert answer == (422, {"msg": str(oracle.value)})
    assert app.calls == []
    assert not [part for part in token.split(".") if len(part) > 20 and part in str(answer)]
    assert SECRET not in str(answer)

    async with app.test_request_context("/protected", headers=bearer(token)):
        with pytest.raises(oracle.type):
            await qje.verify_jwt_in_request()


@pytest.mark.parametrize(
    ("options", "claims", "raised", "message"),
    [
        ({"JWT_DECODE_ISSUER": "us"}, {"iss": "them"}, jwt.InvalidIssuerError, "Invalid issuer"),
        (
            {"JWT_DECODE_ISSUER": "us"},
            {},
            jwt.MissingRequiredClaimError,
            'Token is missing the "iss" claim',
        ),
        (
            {"JWT_DECODE_AUDIENCE": "us"},
            {"aud": "them"},
            jwt.InvalidAudienceError,
            "Audience doesn't match",
        ),
        (
            {"JWT_DECODE_AUDIENCE": ["us"]},
            {},
            jwt.MissingRequiredClaimError,
            'Token is missing the "aud" claim',
        ),
    ],
)
async def test_claim_against_the_options_answers_with_the_text_of_pyjwt(
    options: dict[str, Any], claims: dict[str, Any], raised: type[Exception], message: str
) -> None:
    app = make_app(**options)
    headers = bearer(hs_token(access_claims(**claims)))
    response = await app.test_client().get("/protected", headers=headers)
    assert (response.status_code, await response.get_json()) == (422, {"msg": message})
    async with app.test_request_context("/protected", headers=headers):
        with pytest.raises(raised):
            await qje.verify_jwt_in_request()


@pytest.mark.parametrize(
    ("token", "status", "message"),
    [
        ("nonsense", 422, "Not enough segments"),
        (hs_token(EXPIRED_CLAIMS), 401, "Token has expired"),
        (hs_token(access_claims(identity=...)), 422, "Missing claim: identity"),
    ],
)
async def test_token_decoded_inside_a_view_is_answered_by_the_same_handlers(
    app: Quart, token: str, status: int, message: str
) -> None:
    @app.route("/decode")
    async def decode() -> Any:
        return qje.decode_token(token)

    response = await app.test_client().get("/decode")
    assert (response.status_code, await response.get_json()) == (status, {"msg": message})


STAGES = [
    ("no cookie", 401, 'Missing cookie "access_token_cookie"'),
    ("no csrf value", 401, "Missing CSRF token"),
    ("signature", 422, "Signature verification failed"),
    ("not before", 422, "The token is not yet valid (nbf)"),
    ("identity", 422, "Missing claim: identity"),
    ("type unknown", 422, "Missing or invalid claim: type"),
    ("csrf value", 401, "CSRF double submit tokens do not match"),
    ("type", 422, "Only access tokens are allowed"),
    ("revoked", 401, "Token has been revoked"),
    ("fresh", 401, "Fresh token required"),
    ("claims", 400, "User claims verification failed"),
    ("user", 401, "Error loading the user alice"),
]
STAGE_NAMES = [stage[0] for stage in STAGES]
CALLBACK_STAGES = ["revoked", "claims", "user"]


def faulty_request(faults: list[str]) -> dict[str, Any]:
    """A POST to the fresh view that has every one of ``faults``, as far as a request carries it."""
    claims = access_claims(csrf="value", fresh="fresh" not in faults)
    if "not before" in faults:
        claims["nbf"] = FAR_FUTURE
    if "identity" in faults:
        del claims["identity"]
    if "type" in faults:
        claims["type"] = "refresh"
    if "type unknown" in faults:
        claims["type"] = "other"
    secret = "another secret" * 5 if "signature" in faults else SECRET
    headers = {}
    if "no cookie" not in faults:
        headers["Cookie"] = f"access_token_cookie={hs_token(claims, secret=secret)}"
    if "no csrf value" not in faults:
        headers["X-CSRF-TOKEN"] = "other" if "csrf value" in faults else "value"
    return {"method": "POST", "headers": headers}


def app_with_faulty_callbacks(faults: list[str]) -> tuple[Quart, list[str]]:
    """An application whose callbacks refuse if named in ``faults``, and the list of their calls."""
    app = make_app(JWT_BLACKLIST_ENABLED=True, **COOKIES)
    manager = manager_of(app)
    called: list[str] = []

    @manager.token_in_blacklist_loader
    def is_revoked(claims: dict[str, Any]) -> bool:
        called.append("revoked")
        return "revoked" in faults

    @manager.claims_verification_loader
    def claims_are_good(claims: dict[str, Any]) -> bool:
        called.append("claims")
        return "claims" not in faults

    @manager.user_loader_callback_loader
    def load_user(identity: str) -> Any:
        called.append("user")
        return None if "user" in faults else identity

    return app, called


@pytest.mark.parametrize("stage", range(len(STAGES)), ids=STAGE_NAMES)
async def test_request_with_this_and_every_later_fault_answers_for_the_earliest(
    stage: int,
) -> None:
    faults = STAGE_NAMES[stage:]
    app, called = app_with_faulty_callbacks(faults)
    response = await app.test_client().open("/fresh", **faulty_request(faults))
    name, status, message = STAGES[stage]
    assert (response.status_code, await response.get_json()) == (status, {"msg": message})
    assert called == [other for other in CALLBACK_STAGES if STAGE_NAMES.index(other) <= stage]
    assert app.calls == []


@pytest.mark.parametrize(
    ("sent", "csrf", "status", "message"),
    [
        ("other", "value", 401, "CSRF double submit tokens do not match"),
        ("value", ..., 422, "Missing claim: csrf"),
        ("value", 5, 422, "Missing or invalid claim: csrf"),
    ],
)
async def test_forged_request_with_an_expired_token_answers_for_the_csrf_value(
    sent: str, csrf: Any, status: int, message: str
) -> None:
    """As in 0.1.0: a forged request must not get as far as the expired callback."""
    app, _ = app_with_faulty_callbacks([])
    headers = {**access_cookie(exp=LONG_AGO, csrf=csrf), "X-CSRF-TOKEN": sent}
    response = await app.test_client().post("/protected", headers=headers)
    assert (response.status_code, await response.get_json()) == (status, {"msg": message})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": ...}, "Missing claim: identity"),
        ({"type": "other"}, "Missing or invalid claim: type"),
        ({"type": "refresh"}, "Only access tokens are allowed"),
        ({"fresh": "yes"}, "Missing or invalid claim: fresh"),
        ({"iss": "them"}, "Invalid issuer"),
        ({"aud": "them"}, "Invalid audience"),
    ],
    ids=str,
)
async def test_expired_token_with_another_fault_answers_for_that(
    changes: dict[str, Any], message: str
) -> None:
    """What expired_token_loader gets to see is genuine, but for the time."""
    app, _ = app_with_faulty_callbacks([])
    app.config["JWT_DECODE_ISSUER"] = "us"
    expired = {"exp": LONG_AGO, "csrf": "value", "iss": "us", **changes}
    headers = {**access_cookie(**expired), "X-CSRF-TOKEN": "value"}
    response = await app.test_client().post("/protected", headers=headers)
    assert (response.status_code, await response.get_json()) == (422, {"msg": message})


@pytest.mark.parametrize("fault", STAGE_NAMES)
async def test_request_with_one_fault_answers_for_it(fault: str) -> None:
    """The other half of the order test: each fault alone is enough."""
    app, _ = app_with_faulty_callbacks([fault])
    response = await app.test_client().open("/fresh", **faulty_request([fault]))
    _, status, message = STAGES[STAGE_NAMES.index(fault)]
    assert (response.status_code, await response.get_json()) == (status, {"msg": message})
    assert app.calls == []


async def test_request_without_a_fault_runs_every_check_once_and_the_view_once() -> None:
    app, called = app_with_faulty_callbacks([])
    response = await app.test_client().open("/fresh", **faulty_request([]))
    assert response.status_code == 200
    assert called == CALLBACK_STAGES
    assert app.calls == ["fresh"]


async def test_failed_request_leaves_nothing_behind_for_the_next(app: Quart) -> None:
    client = app.test_client()
    await client.get("/fresh", headers=bearer(hs_token(access_claims())))
    assert (await (await client.get("/open")).get_json())["identity"] is None
