"""What a refusal looks like: problem details (RFC 9457) and challenges (RFC 6750, section 3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from quart import Quart, Response

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import (
    CSRFError,
    FreshTokenRequired,
    InvalidHeaderError,
    JWTDecodeError,
    NoAuthorizationError,
    RevokedTokenError,
    UserClaimsVerificationError,
    UserLoadError,
    WrongTokenError,
)
from support import LONG_AGO, access_claims, bearer, hs_token, make_app, refresh_claims

PROBLEM = "application/problem+json"


def token(**changes: Any) -> str:
    return hs_token(access_claims(**changes))


TOKEN = token(csrf="right")
REFRESH = hs_token(refresh_claims())
FORGED = TOKEN[:-4] + "AAAA"
COOKIES = {"JWT_TOKEN_LOCATION": "cookies"}
COOKIE = {"Cookie": f"access_token_cookie={TOKEN}"}


def answering(loader: str, value: Any) -> Callable[[qje.JWTManager], Any]:
    """A set-up step: a callback of one argument that returns ``value``."""
    return lambda manager: getattr(manager, loader)(lambda argument: value)


# Of each code: the title, the status in both formats, and the ``error`` of the challenge, which is
# None where no token was sent. Clients match on the codes.
CODES: dict[str, tuple[str, int, int, str | None]] = {
    "token_missing": ("Token missing", 401, 401, None),
    "token_expired": ("Token expired", 401, 401, "invalid_token"),
    "token_invalid": ("Token invalid", 422, 401, "invalid_token"),
    "token_revoked": ("Token revoked", 401, 401, "invalid_token"),
    "token_not_fresh": ("Token not fresh", 401, 401, "invalid_token"),
    "csrf_missing": ("CSRF value missing", 401, 401, "invalid_request"),
    "csrf_mismatch": ("CSRF value mismatch", 401, 401, "invalid_request"),
    "wrong_token_type": ("Wrong token type", 422, 401, "invalid_token"),
    "insufficient_scope": ("Insufficient scope", 403, 403, "insufficient_scope"),
    "user_not_found": ("User not found", 401, 401, "invalid_token"),
    "claims_refused": ("Claims rejected", 400, 400, "invalid_token"),
}


@dataclass(frozen=True)
class Fault:
    """A request that is refused."""

    name: str
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/protected"
    method: str = "GET"
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[qje.JWTManager], Any] | None = None
    scope: str | None = None

    @property
    def title(self) -> str:
        return CODES[self.code][0]

    @property
    def legacy_status(self) -> int:
        return CODES[self.code][1]

    @property
    def status(self) -> int:
        return CODES[self.code][2]

    def app(self, **options: Any) -> Quart:
        return fault_app(self.prepare, **{**self.options, **options})

    async def send(self, app: Quart) -> Response:
        return await app.test_client().open(self.path, method=self.method, headers=self.headers)

    def challenge(self, scheme: str = "Bearer") -> str:
        reason = CODES[self.code][3]
        parameters = [f'error="{reason}"'] if reason else []
        if self.scope:
            parameters.append(f'scope="{self.scope}"')
        return f"{scheme} {', '.join(parameters)}".strip()


def fault_app(prepare: Callable[[qje.JWTManager], Any] | None = None, **options: Any) -> Quart:
    app = make_app(**options)
    if prepare is not None:
        prepare(app.extensions["quart-jwt-extended"])

    @app.get("/scoped")
    @qje.jwt_required(scopes=["read:mail", "send"])
    async def scoped() -> str:
        app.calls.append("scoped")  # type: ignore[attr-defined]
        return ""

    return app


def unfound(name: str, message: str, *locations: str) -> Fault:
    return Fault(name, "token_missing", message, options={"JWT_TOKEN_LOCATION": [*locations]})


def invalid(name: str, message: str, encoded: str, **more: Any) -> Fault:
    return Fault(name, "token_invalid", message, bearer(encoded), **more)


def forged(name: str, code: str, message: str, **headers: str) -> Fault:
    """A POST with a cookie and no good CSRF value."""
    return Fault(name, code, message, {**COOKIE, **headers}, method="POST", options=COOKIES)


def out_of_scope(name: str, encoded: str) -> Fault:
    code, message = "insufficient_scope", "Insufficient scope"
    return Fault(name, code, message, bearer(encoded), "/scoped", scope="read:mail send")


NO_HEADER, NO_COOKIE = "Missing Authorization Header", 'Missing cookie "access_token_cookie"'
NOWHERE = f"Missing JWT in headers or cookies ({NO_HEADER}; {NO_COOKIE})"
BAD_SIGNATURE = "Signature verification failed"
GOOD = bearer(TOKEN)
FAULTS = [
    unfound("no header", NO_HEADER, "headers"),
    unfound("no cookie", NO_COOKIE, "cookies"),
    unfound("no parameter", 'Missing "jwt" query paramater', "query_string"),
    unfound("no member", "Invalid content-type. Must be application/json.", "json"),
    unfound("nowhere", NOWHERE, "headers", "cookies"),
    invalid("bad signature", BAD_SIGNATURE, FORGED),
    invalid("bad signature, optional", BAD_SIGNATURE, FORGED, path="/optional"),
    invalid("no token at all", "Not enough segments", "nonsense"),
    invalid("no identity", "Missing claim: identity", token(identity=...)),
    invalid("unknown type", "Missing or invalid claim: type", token(type="id")),
    invalid(
        "wrong issuer", "Invalid issuer", token(iss="other"), options={"JWT_DECODE_ISSUER": "us"}
    ),
    Fault("expired", "token_expired", "Token has expired", bearer(token(exp=1))),
    Fault(
        "revoked",
        "token_revoked",
        "Token has been revoked",
        GOOD,
        options={"JWT_BLACKLIST_ENABLED": True},
        prepare=answering("token_in_blacklist_loader", True),
    ),
    Fault("not fresh", "token_not_fresh", "Fresh token required", GOOD, "/fresh"),
    Fault(
        "refresh for access",
        "wrong_token_type",
        "Only access tokens are allowed",
        bearer(REFRESH),
    ),
    Fault(
        "access for refresh",
        "wrong_token_type",
        "Only refresh tokens are allowed",
        GOOD,
        "/refresh",
    ),
    forged("no CSRF value", "csrf_missing", "Missing CSRF token"),
    forged(
        "other CSRF value",
        "csrf_mismatch",
        "CSRF double submit tokens do not match",
        **{"X-CSRF-TOKEN": "wrong"},
    ),
    out_of_scope("no scope claim", TOKEN),
    out_of_scope("one scope of two", token(scope="send receive")),
    Fault(
        "user unknown",
        "user_not_found",
        "Error loading the user alice",
        GOOD,
        prepare=answering("user_loader_callback_loader", None),
    ),
    Fault(
        "claims refused",
        "claims_refused",
        "User claims verification failed",
        GOOD,
        prepare=answering("claims_verification_loader", False),
    ),
]

EVERY_FAULT = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def test_faults_cover_every_promised_code() -> None:
    assert {fault.code for fault in FAULTS} == set(CODES)


# --- both formats --------------------------------------------------------------------------------


@EVERY_FAULT
async def test_problem_format_answers_with_problem_details(fault: Fault) -> None:
    app = fault.app(JWT_ERROR_FORMAT="problem")
    response = await fault.send(app)
    assert response.headers.getlist("Content-Type") == [PROBLEM]
    assert json.loads(await response.get_data()) == {
        "type": f"urn:quart-jwt-extended:{fault.code}",
        "title": fault.title,
        "status": fault.status,
        "detail": fault.message,
        "code": fault.code,
    }
    assert response.status_code == fault.status
    assert app.calls == []


@EVERY_FAULT
@pytest.mark.parametrize("options", [{}, {"JWT_ERROR_FORMAT": "legacy"}], ids=str)
async def test_legacy_format_answers_as_before(fault: Fault, options: dict[str, Any]) -> None:
    app = fault.app(**options)
    response = await fault.send(app)
    assert response.status_code == fault.legacy_status
    assert response.headers.getlist("Content-Type") == ["application/json"]
    expected = json.dumps({"msg": fault.message}, separators=(",", ":"))
    assert json.dumps(json.loads(await response.get_data()), separators=(",", ":")) == expected
    assert app.calls == []


@EVERY_FAULT
@pytest.mark.parametrize("error_format", ["legacy", "problem"])
async def test_401_and_403_carry_a_challenge_and_others_none(
    fault: Fault, error_format: str
) -> None:
    response = await fault.send(fault.app(JWT_ERROR_FORMAT=error_format))
    challenges = response.headers.getlist("WWW-Authenticate")
    if response.status_code in (401, 403):
        assert challenges == [fault.challenge()]
    else:
        assert response.status_code in (400, 422)
        assert challenges == []


@EVERY_FAULT
@pytest.mark.parametrize("error_format", ["legacy", "problem"])
@pytest.mark.parametrize("value", [False, 0])
async def test_challenge_can_be_switched_off(fault: Fault, error_format: str, value: Any) -> None:
    with_challenge = await fault.send(fault.app(JWT_ERROR_FORMAT=error_format))
    app = fault.app(JWT_ERROR_FORMAT=error_format, JWT_WWW_AUTHENTICATE=value)
    response = await fault.send(app)
    assert "WWW-Authenticate" not in response.headers
    assert response.status_code == with_challenge.status_code
    assert await response.get_data() == await with_challenge.get_data()
    assert response.headers["Content-Type"] == with_challenge.headers["Content-Type"]


@EVERY_FAULT
@pytest.mark.parametrize("error_format", ["legacy", "problem"])
async def test_refusal_holds_no_text_of_the_token(fault: Fault, error_format: str) -> None:
    response = await fault.send(fault.app(JWT_ERROR_FORMAT=error_format))
    answer = f"{response.headers}{await response.get_data(as_text=True)}"
    for text in re.findall(r"[\w-]{16,}", " ".join(fault.headers.values())):
        if "token_cookie" not in text:
            assert text not in answer


@EVERY_FAULT
async def test_error_message_key_does_not_rename_problem_members(fault: Fault) -> None:
    app = fault.app(JWT_ERROR_FORMAT="problem", JWT_ERROR_MESSAGE_KEY="message")
    body = json.loads(await (await fault.send(app)).get_data())
    assert sorted(body) == ["code", "detail", "status", "title", "type"]
    response = await fault.send(fault.app(JWT_ERROR_MESSAGE_KEY="message"))
    assert await response.get_json() == {"message": fault.message}


@EVERY_FAULT
@pytest.mark.parametrize(
    ("header_type", "scheme"), [("JWT", "JWT"), ("x-Token", "x-Token"), ("", "Bearer")]
)
async def test_own_header_type_is_the_scheme_of_the_challenge(
    fault: Fault, header_type: str, scheme: str
) -> None:
    app = fault.app(JWT_ERROR_FORMAT="problem", JWT_HEADER_TYPE=header_type)
    headers = dict(fault.headers)
    if "Authorization" in headers:
        encoded = headers["Authorization"].partition(" ")[2]
        headers["Authorization"] = f"{header_type} {encoded}".strip()
    response = await app.test_client().open(fault.path, method=fault.method, headers=headers)
    expected = [fault.challenge(scheme)] if fault.status in (401, 403) else []
    assert response.headers.getlist("WWW-Authenticate") == expected


async def test_formats_are_chosen_anew_for_every_request() -> None:
    app = make_app()
    for error_format, members in [("problem", 5), ("legacy", 1), ("problem", 5)]:
        app.config["JWT_ERROR_FORMAT"] = error_format
        response = await app.test_client().get("/protected")
        assert len(json.loads(await response.get_data())) == members


@pytest.mark.parametrize("error_format", ["legacy", "problem"])
async def test_good_request_has_no_challenge(error_format: str) -> None:
    app = make_app(JWT_ERROR_FORMAT=error_format)
    response = await app.test_client().get("/protected", headers=bearer(TOKEN))
    assert response.status_code == 200
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize("error_format", ["legacy", "problem"])
@pytest.mark.parametrize("status", [401, 403])
async def test_answer_of_a_view_is_not_touched(error_format: str, status: int) -> None:
    """Only refusals of the extension get a challenge, not those of the application."""
    app = make_app(JWT_ERROR_FORMAT=error_format)

    @app.get("/own")
    @qje.jwt_required
    async def own() -> Any:
        return {"own": True}, status

    response = await app.test_client().get("/own", headers=bearer(TOKEN))
    assert (response.status_code, await response.get_json()) == (status, {"own": True})
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize(
    ("error_format", "value", "status"),
    [("problem", "Basic YTpi", 401), ("legacy", "Basic YTpi", 422), ("problem", "Digest x", 401)],
)
async def test_other_scheme_gets_a_challenge_without_an_error(
    error_format: str, value: str, status: int
) -> None:
    """It is an unsupported authentication method, and no token (RFC 6750, section 3.1)."""
    app = make_app(JWT_ERROR_FORMAT=error_format)
    response = await app.test_client().get("/protected", headers={"Authorization": value})
    assert response.status_code == status
    expected = ["Bearer"] if status == 401 else []
    assert response.headers.getlist("WWW-Authenticate") == expected
    body = json.loads(await response.get_data())
    detail = "Bad Authorization header. Expected value 'Bearer <JWT>'"
    if error_format == "legacy":
        assert body == {"msg": detail}
    else:
        assert (body["code"], body["detail"], body["status"]) == ("token_missing", detail, 401)


@pytest.mark.parametrize("value", ["Bearer", "Bearer a b", "Bearer a,", "bearer  "])
async def test_malformed_header_is_401_with_an_error_as_a_problem(value: str) -> None:
    app = make_app(JWT_ERROR_FORMAT="problem")
    response = await app.test_client().get("/protected", headers={"Authorization": value})
    body = json.loads(await response.get_data())
    assert (response.status_code, body["status"], body["code"]) == (401, 401, "token_invalid")
    assert body["detail"] == "Bad Authorization header. Expected value 'Bearer <JWT>'"
    assert response.headers.getlist("WWW-Authenticate") == ['Bearer error="invalid_token"']


async def test_problem_details_pass_through_the_json_provider_of_the_app() -> None:
    app = make_app(JWT_ERROR_FORMAT="problem")

    @app.get("/who/<name>")
    @qje.jwt_required
    async def who(name: str) -> str:
        raise UserLoadError

    identity = 'a "quoted"\n\u00e9\u4e2d\U0001f600 </script>'
    headers = bearer(token(identity=identity))
    response = await app.test_client().get("/who/x", headers=headers)
    body = json.loads(await response.get_data())
    assert body["detail"] == f"Error loading the user {identity}"
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("error_format", ["legacy", "problem"])
async def test_head_request_gets_the_headers_of_a_refusal(error_format: str) -> None:
    app = make_app(JWT_ERROR_FORMAT=error_format)
    response = await app.test_client().head("/protected")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scopes", ["one", ["one"], ["b", "a"], {"b", "a"}, ("x:y/z", "u.v")])
async def test_challenge_lists_every_scope_that_the_route_asks_for(scopes: Any) -> None:
    app = make_app(JWT_ERROR_FORMAT="problem")

    @app.get("/own")
    @qje.jwt_required(scopes=scopes)
    async def own() -> str:
        return ""

    response = await app.test_client().get("/own", headers=bearer(TOKEN))
    names = [scopes] if isinstance(scopes, str) else list(scopes)
    start, _, listed = response.headers["WWW-Authenticate"].partition(", scope=")
    assert start == 'Bearer error="insufficient_scope"'
    assert sorted(listed.strip('"').split(" ")) == sorted(names)


@pytest.mark.parametrize(
    "scope", ['a"b', "a\\b", "a\nb", "a\tb", "a\r\nX-Evil: 1", "caf\xe9", "\0"]
)
async def test_scope_that_a_challenge_cannot_carry_is_refused_at_decoration(scope: str) -> None:
    """A scope name is printable ASCII without quotes and backslashes (RFC 6749, section 3.3)."""
    with pytest.raises(ValueError, match="scopes"):
        qje.jwt_required(scopes=scope)


# --- callbacks of the application ----------------------------------------------------------------

LOADERS: dict[str, tuple[str, int]] = {
    "no header": ("unauthorized_loader", 1),
    "no CSRF value": ("unauthorized_loader", 1),
    "bad signature": ("invalid_token_loader", 1),
    "refresh for access": ("invalid_token_loader", 1),
    "expired": ("expired_token_loader", 1),
    "revoked": ("revoked_token_loader", 0),
    "not fresh": ("needs_fresh_token_loader", 0),
    "user unknown": ("user_loader_error_loader", 1),
    "claims refused": ("claims_verification_failed_loader", 0),
    "no scope claim": ("insufficient_scope_loader", 2),
}


def register(fault: Fault, app: Quart, result: Callable[[], Any], is_async: bool) -> None:
    """Let ``result`` answer the fault."""
    loader, count = LOADERS[fault.name]

    def answer(*arguments: Any) -> Any:
        return result()

    async def answer_later(*arguments: Any) -> Any:
        return result()

    chosen = answer_later if is_async else answer
    callbacks: list[Callable[..., Any]] = [
        lambda: chosen(),
        lambda one: chosen(),
        lambda one, two: chosen(),
    ]
    getattr(app.extensions["quart-jwt-extended"], loader)(callbacks[count])


EVERY_LOADER = pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.name in LOADERS], ids=lambda fault: fault.name
)


@EVERY_LOADER
@pytest.mark.parametrize("error_format", ["legacy", "problem"])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 422, 500])
async def test_answer_of_a_callback_is_left_alone_but_for_the_challenge(
    fault: Fault, error_format: str, is_async: bool, status: int
) -> None:
    app = fault.app(JWT_ERROR_FORMAT=error_format)
    register(fault, app, lambda: ("mine", status, {"X-Own": "1"}), is_async)
    response = await fault.send(app)
    assert response.status_code == status
    assert await response.get_data(as_text=True) == "mine"
    assert response.headers["X-Own"] == "1"
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    expected = [fault.challenge()] if status in (401, 403) else []
    assert response.headers.getlist("WWW-Authenticate") == expected


@EVERY_LOADER
@pytest.mark.parametrize("name", ["WWW-Authenticate", "www-authenticate"])
async def test_challenge_of_a_callback_is_kept(fault: Fault, name: str) -> None:
    app = fault.app()
    register(fault, app, lambda: ({"mine": 1}, 401, {name: 'Basic realm="x"'}), False)
    response = await fault.send(app)
    assert response.headers.getlist("WWW-Authenticate") == ['Basic realm="x"']
    assert await response.get_json() == {"mine": 1}


@EVERY_LOADER
async def test_response_object_of_a_callback_is_the_one_that_is_sent(fault: Fault) -> None:
    class Own(Response):
        pass

    app = fault.app()
    own = Own("mine", 401, mimetype="text/plain")
    register(fault, app, lambda: own, False)
    sent: list[Any] = []

    @app.after_request
    async def note(response: Response) -> Response:
        sent.append(response)
        return response

    await fault.send(app)
    assert sent == [own]


@EVERY_LOADER
async def test_switched_off_challenge_leaves_the_answer_of_a_callback_alone(fault: Fault) -> None:
    app = fault.app(JWT_WWW_AUTHENTICATE=False)
    register(fault, app, lambda: ("mine", 401), False)
    response = await fault.send(app)
    assert response.status_code == 401
    assert "WWW-Authenticate" not in response.headers


async def test_shared_response_object_does_not_gather_challenges() -> None:
    """A callback may hand out one object for every request, which is its own business."""
    app = fault_app()
    own = Response("mine", 401)
    app.extensions["quart-jwt-extended"].unauthorized_loader(lambda reason: own)
    for _ in range(3):
        response = await app.test_client().get("/protected")
        assert response.headers.getlist("WWW-Authenticate") == ["Bearer"]


async def test_own_error_handler_replaces_ours_whole() -> None:
    app = fault_app(JWT_ERROR_FORMAT="problem")

    @app.errorhandler(NoAuthorizationError)
    async def handle(error: NoAuthorizationError) -> Any:
        return {"own": str(error)}, 401

    response = await app.test_client().get("/protected")
    assert await response.get_json() == {"own": "Missing Authorization Header"}
    assert "WWW-Authenticate" not in response.headers


async def test_response_class_of_the_app_makes_the_problem() -> None:
    app = fault_app(JWT_ERROR_FORMAT="problem")

    class Own(Response):
        pass

    app.response_class = Own
    kinds: list[type] = []

    @app.after_request
    async def note(response: Response) -> Response:
        kinds.append(type(response))
        return response

    await app.test_client().get("/protected")
    assert kinds == [Own]


# --- raised bare in views ------------------------------------------------------------------------

# Errors that views may raise; the code of their answer and its text, None for their own.
BARE: list[tuple[Exception, str, str | None]] = [
    (NoAuthorizationError("no"), "token_missing", None),
    (CSRFError("no"), "csrf_mismatch", None),
    (CSRFError("Missing CSRF token"), "csrf_missing", None),
    (JWTDecodeError("no"), "token_invalid", None),
    (WrongTokenError("no"), "wrong_token_type", None),
    *(
        (error("no"), "token_invalid", None)
        for error in (
            jwt.InvalidTokenError,
            jwt.InvalidSignatureError,
            jwt.InvalidAlgorithmError,
            jwt.InvalidAudienceError,
            jwt.InvalidIssuerError,
            jwt.ImmatureSignatureError,
        )
    ),
    (jwt.DecodeError(), "token_invalid", None),
    (jwt.ExpiredSignatureError("no"), "token_expired", "Token has expired"),
    (RevokedTokenError("no"), "token_revoked", "Token has been revoked"),
    (FreshTokenRequired("no"), "token_not_fresh", "Fresh token required"),
    (UserLoadError(), "user_not_found", "Error loading the user None"),
    (UserClaimsVerificationError(), "claims_refused", "User claims verification failed"),
    (qje.InsufficientScopeError("no"), "insufficient_scope", "Insufficient scope"),
    (qje.WebSocketOriginError("no"), "origin_refused", None),
]


@pytest.mark.parametrize(
    ("error", "code", "detail"), BARE, ids=[f"{type(row[0]).__name__}-{row[1]}" for row in BARE]
)
async def test_error_raised_bare_in_a_view_is_answered_in_both_formats(
    error: Exception, code: str, detail: str | None
) -> None:
    of_origins = ("", 403, 403, "invalid_request")
    _, legacy_status, status, reason = CODES.get(code, of_origins)
    detail = str(error) if detail is None else detail
    for error_format, expected_status in [("legacy", legacy_status), ("problem", status)]:
        app = make_app(JWT_ERROR_FORMAT=error_format)

        @app.get("/raise")
        async def view() -> str:
            raise error

        response = await app.test_client().get("/raise")
        body = json.loads(await response.get_data())
        assert response.status_code == expected_status
        if error_format == "legacy":
            assert body == {"msg": detail}
        else:
            assert (body["status"], body["code"], body["detail"]) == (status, code, detail)
            assert response.headers["Content-Type"] == PROBLEM
        challenge = f'Bearer error="{reason}"' if reason else "Bearer"
        expected = [challenge] if expected_status in (401, 403) else []
        assert response.headers.getlist("WWW-Authenticate") == expected


async def test_header_error_raised_bare_in_a_view_is_answered_in_both_formats() -> None:
    for error_format, status in [("legacy", 422), ("problem", 401)]:
        app = make_app(JWT_ERROR_FORMAT=error_format)

        @app.get("/raise")
        async def view() -> str:
            raise InvalidHeaderError("no")

        response = await app.test_client().get("/raise")
        assert response.status_code == status
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


async def test_scope_error_with_its_scopes_raised_in_a_view_names_them() -> None:
    app = make_app()

    @app.get("/raise")
    async def view() -> str:
        error = qje.InsufficientScopeError("no")
        error.required = ("a", "b")
        raise error

    response = await app.test_client().get("/raise")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="a b"'


async def test_token_decoded_in_a_view_is_answered_as_a_problem() -> None:
    app = make_app(JWT_ERROR_FORMAT="problem")

    @app.get("/decode")
    async def decode() -> str:
        qje.decode_token(token(exp=LONG_AGO))
        return ""

    response = await app.test_client().get("/decode")
    assert (response.status_code, response.headers["Content-Type"]) == (401, PROBLEM)
    assert json.loads(await response.get_data())["code"] == "token_expired"


async def test_refusal_in_before_request_is_a_problem() -> None:
    app = make_app(JWT_ERROR_FORMAT="problem")
    app.before_request(qje.verify_jwt_in_request)
    response = await app.test_client().get("/open")
    assert (response.status_code, response.headers["Content-Type"]) == (401, PROBLEM)
    assert app.calls == []


# --- the options ---------------------------------------------------------------------------------


def test_defaults_are_the_answers_of_before_with_a_challenge() -> None:
    config = make_app().config
    assert (config["JWT_ERROR_FORMAT"], config["JWT_WWW_AUTHENTICATE"]) == ("legacy", True)


WRONG = [
    *[("JWT_ERROR_FORMAT", value) for value in (None, "", "Problem", "json", 1, True, b"legacy")],
    ("JWT_ERROR_FORMAT", ["problem"]),
    ("JWT_ERROR_FORMAT", {"problem"}),
    *[("JWT_WWW_AUTHENTICATE", value) for value in (None, "", "Bearer", "False", 2, 0.5, [])],
]


@pytest.mark.parametrize(("option", "value"), WRONG, ids=lambda value: repr(value))
async def test_wrong_option_raises_and_names_itself(option: str, value: Any) -> None:
    async with make_app(**{option: value}).app_context():
        with pytest.raises(RuntimeError, match=f"^{option} must be "):
            qje.create_access_token("alice")
