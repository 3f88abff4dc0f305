"""Double-submit CSRF protection of tokens in cookies.

A browser sends cookies along whoever made the page, so a request that changes something must also
carry the ``csrf`` claim of its token where only our own page can put it: in a header or a form
field.
"""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from quart import Quart, Request, request
from quart.datastructures import FileStorage

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import CSRFError, JWTDecodeError
from support import access_claims, answer_of, bearer, hs_token, make_app, refresh_claims

MISSING = (401, "Missing CSRF token")
DIFFERENT = (401, "CSRF double submit tokens do not match")
NO_CLAIM = (422, "Missing claim: csrf")
ACCEPTED = (200, "alice")

ACCESS = {"path": "/protected", "cookie": "access_token_cookie", "claims": access_claims}
REFRESH = {"path": "/refresh", "cookie": "refresh_token_cookie", "claims": refresh_claims}
BOTH_KINDS = pytest.mark.parametrize("kind", [ACCESS, REFRESH], ids=["access", "refresh"])


def csrf_app(**options: Any) -> Quart:
    return make_app(**{"JWT_TOKEN_LOCATION": ["cookies"], **options})


def cookie_for(kind: dict[str, Any] = ACCESS, **changes: Any) -> dict[str, str]:
    """A Cookie header with a token whose csrf claim is ``value``, unless changed."""
    token = hs_token(kind["claims"](**{"csrf": "value", **changes}))
    return {"Cookie": f"{kind['cookie']}={token}"}


async def send(
    app: Quart,
    headers: dict[str, str] | None = None,
    *,
    kind: dict[str, Any] = ACCESS,
    claims: dict[str, Any] | None = None,
    method: str = "POST",
    **request: Any,
) -> tuple[int, str]:
    """Status, and identity or message, for a request whose token is in its cookie."""
    headers = {**cookie_for(kind, **(claims or {})), **(headers or {})}
    return await answer_of(app, kind["path"], method=method, headers=headers, **request)


# --- when a value is asked for -------------------------------------------------------------------


@BOTH_KINDS
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_changing_method_needs_the_value(method: str, kind: dict[str, Any]) -> None:
    app = csrf_app()
    assert await send(app, kind=kind, method=method) == MISSING
    wrong = {"X-CSRF-TOKEN": "other"}
    assert await send(app, wrong, kind=kind, method=method) == DIFFERENT
    right = {"X-CSRF-TOKEN": "value"}
    assert await send(app, right, kind=kind, method=method) == ACCEPTED


@BOTH_KINDS
async def test_reading_method_needs_no_value(kind: dict[str, Any]) -> None:
    app = csrf_app()
    assert await send(app, kind=kind, method="GET") == ACCEPTED
    wrong = {"X-CSRF-TOKEN": "other"}
    assert await send(app, wrong, kind=kind, method="GET") == ACCEPTED
    assert await send(app, kind=kind, method="GET", claims={"csrf": ...}) == ACCEPTED


async def test_head_request_needs_no_value() -> None:
    response = await csrf_app().test_client().head("/protected", headers=cookie_for())
    assert response.status_code == 200


@pytest.mark.parametrize("methods", [["GET"], ("GET",), {"GET"}, frozenset({"GET", "PUT"})])
async def test_own_methods_replace_the_default(methods: Any) -> None:
    app = csrf_app(JWT_CSRF_METHODS=methods)
    assert await send(app, method="POST") == ACCEPTED
    assert await send(app, {"X-CSRF-TOKEN": "value"}, method="GET") == ACCEPTED
    assert await send(app, method="GET") == MISSING


async def test_no_methods_need_no_value() -> None:
    assert await send(csrf_app(JWT_CSRF_METHODS=[])) == ACCEPTED


async def test_own_method_of_the_application_may_be_protected() -> None:
    app = csrf_app(JWT_CSRF_METHODS=["PURGE"])

    @app.route("/purge", methods=["PURGE"])
    @qje.jwt_required
    async def purge() -> Any:
        return {}

    client = app.test_client()
    headers = cookie_for()
    assert (await client.open("/purge", method="PURGE", headers=headers)).status_code == 401
    headers["X-CSRF-TOKEN"] = "value"
    assert (await client.open("/purge", method="PURGE", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/protected", "/fresh", "/optional"])
async def test_every_access_decorator_asks_for_the_value(path: str) -> None:
    """Also the optional one: a request without the value is forged, not anonymous."""
    app = csrf_app()
    kind = {**ACCESS, "path": path}
    assert await send(app, kind=kind, claims={"fresh": True}) == MISSING
    assert await send(app, {"X-CSRF-TOKEN": "x"}, kind=kind, claims={"fresh": True}) == DIFFERENT
    right = {"X-CSRF-TOKEN": "value"}
    assert await send(app, right, kind=kind, claims={"fresh": True}) == ACCEPTED


async def test_absent_cookie_is_reported_before_the_absent_value() -> None:
    response = await csrf_app().test_client().post("/protected")
    assert await response.get_json() == {"msg": 'Missing cookie "access_token_cookie"'}


async def test_protection_switched_off_needs_no_value() -> None:
    app = csrf_app(JWT_COOKIE_CSRF_PROTECT=False)
    assert await send(app) == ACCEPTED
    assert await send(app, {"X-CSRF-TOKEN": "other"}) == ACCEPTED
    assert await send(app, claims={"csrf": ...}) == ACCEPTED


async def test_protection_switched_off_later_takes_effect_on_the_next_request() -> None:
    app = csrf_app()
    assert await send(app) == MISSING
    app.config["JWT_COOKIE_CSRF_PROTECT"] = False
    assert await send(app) == ACCEPTED


OTHER_PLACES = {
    "headers": lambda token: {"headers": bearer(token)},
    "query_string": lambda token: {"query_string": {"jwt": token}},
    "json": lambda token: {"json": {"access_token": token}},
}


@pytest.mark.parametrize("claims", [{"csrf": "value"}, {"csrf": ...}], ids=["claim", "no claim"])
@pytest.mark.parametrize("place", OTHER_PLACES)
@pytest.mark.parametrize("first", [True, False], ids=["cookies last", "cookies first"])
async def test_token_outside_the_cookies_needs_no_value(
    place: str, first: bool, claims: dict[str, Any]
) -> None:
    """A browser adds none of these to a forged request on its own."""
    locations = [place, "cookies"] if first else ["cookies", place]
    app = csrf_app(JWT_TOKEN_LOCATION=locations)
    token = hs_token(access_claims(**claims))
    response = await app.test_client().post("/protected", **OTHER_PLACES[place](token))
    assert (response.status_code, (await response.get_json())["identity"]) == ACCEPTED


@pytest.mark.parametrize("place", OTHER_PLACES)
async def test_missing_value_is_final_even_if_a_later_location_has_a_token(place: str) -> None:
    app = csrf_app(JWT_TOKEN_LOCATION=["cookies", place])
    elsewhere = OTHER_PLACES[place](hs_token(access_claims(identity="bob")))
    extra = elsewhere.pop("headers", {})
    assert await send(app, extra, **elsewhere) == MISSING
    assert await send(app, {**extra, "X-CSRF-TOKEN": "other"}, **elsewhere) == DIFFERENT


@pytest.mark.parametrize("place", OTHER_PLACES)
async def test_token_in_an_earlier_location_makes_the_cookie_irrelevant(place: str) -> None:
    app = csrf_app(JWT_TOKEN_LOCATION=[place, "cookies"])
    elsewhere = OTHER_PLACES[place](hs_token(access_claims(identity="bob")))
    extra = elsewhere.pop("headers", {})
    assert await send(app, extra, **elsewhere) == (200, "bob")


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


@pytest.mark.parametrize(
    ("options", "protected"),
    [
        ({"JWT_TOKEN_LOCATION": "cookies"}, True),
        ({"JWT_TOKEN_LOCATION": ["headers", "cookies"]}, True),
        ({"JWT_TOKEN_LOCATION": {"cookies"}, "JWT_CSRF_IN_COOKIES": False}, True),
        ({"JWT_TOKEN_LOCATION": "cookies", "JWT_COOKIE_CSRF_PROTECT": False}, False),
        ({"JWT_TOKEN_LOCATION": "headers"}, False),
        ({"JWT_TOKEN_LOCATION": ["headers", "json"], "JWT_COOKIE_CSRF_PROTECT": True}, False),
        ({}, False),
    ],
)
async def test_new_token_has_a_csrf_claim_only_while_protection_is_in_force(
    options: dict[str, Any], protected: bool
) -> None:
    async with make_app(**options).app_context():
        tokens = [
            qje.create_access_token("alice"),
            qje.create_access_token("alice"),
            qje.create_refresh_token("alice"),
        ]
    values = [claims_of(token)["csrf"] for token in tokens if "csrf" in claims_of(token)]
    assert len(set(values)) == (3 if protected else 0)
    assert all(isinstance(value, str) and len(value) >= 22 for value in values), "128 bits or more"


async def test_value_from_get_csrf_token_is_accepted() -> None:
    app = csrf_app()
    async with app.app_context():
        token = qje.create_access_token("alice")
        value = qje.get_csrf_token(token)
    assert value == claims_of(token)["csrf"]
    headers = {"Cookie": f"access_token_cookie={token}", "X-CSRF-TOKEN": value}
    assert (await app.test_client().post("/protected", headers=headers)).status_code == 200


# --- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-CSRF-TOKEN", "x-csrf-token", "X-Csrf-Token"])
async def test_header_name_in_any_case_is_found(name: str) -> None:
    assert await send(csrf_app(), {name: "value"}) == ACCEPTED


@pytest.mark.parametrize(
    ("option", "kind", "other"),
    [
        ("JWT_ACCESS_CSRF_HEADER_NAME", ACCESS, REFRESH),
        ("JWT_REFRESH_CSRF_HEADER_NAME", REFRESH, ACCESS),
    ],
    ids=["access", "refresh"],
)
async def test_own_header_name_is_for_its_kind_of_token_only(
    option: str, kind: dict[str, Any], other: dict[str, Any]
) -> None:
    app = csrf_app(**{option: "X-Own"})
    assert await send(app, {"X-CSRF-TOKEN": "value"}, kind=kind) == MISSING
    assert await send(app, {"X-Own": "value"}, kind=other) == MISSING
    assert await send(app, {"X-Own": "value"}, kind=kind) == ACCEPTED
    assert await send(app, {"X-CSRF-TOKEN": "value"}, kind=other) == ACCEPTED


@BOTH_KINDS
@pytest.mark.parametrize("late", [False, True], ids=["before init", "after init"])
async def test_deprecated_header_name_overrides_both_with_a_warning(
    kind: dict[str, Any], late: bool
) -> None:
    options = {
        "JWT_ACCESS_CSRF_HEADER_NAME": "X-Access",
        "JWT_REFRESH_CSRF_HEADER_NAME": "X-Refresh",
    }
    new = {"X-Access": "value", "X-Refresh": "value", "X-CSRF-TOKEN": "value"}

    async def use_the_old_option() -> list[tuple[int, str]]:
        old = {"JWT_CSRF_HEADER_NAME": "X-Old"}
        app = csrf_app(**options, **({} if late else old))
        app.config.update(old)
        headers = [{"X-Old": "value"}, {"X-Old": "other"}, new]
        return [await send(app, one, kind=kind) for one in headers]

    with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
        results = await use_the_old_option()
    assert results == [ACCEPTED, DIFFERENT, MISSING]


@pytest.mark.parametrize("unset", [None, ""])
async def test_empty_deprecated_header_name_changes_nothing(unset: str | None) -> None:
    """Warnings are errors in this suite, so a warning would fail the request."""
    app = csrf_app(JWT_CSRF_HEADER_NAME=unset)
    assert await send(app, {"X-CSRF-TOKEN": "value"}) == ACCEPTED


async def raw_post(
    app: Quart, *headers: tuple[bytes, bytes], claims: dict[str, Any] | None = None
) -> tuple[int, str]:
    """Like :func:`send`, with raw header bytes that the test client would refuse or change."""
    cookie = cookie_for(**(claims or {}))["Cookie"].encode()
    scope = {"headers": [(b"host", b"localhost"), (b"cookie", cookie), *headers]}
    response = await app.test_client().post("/protected", scope_base=scope)
    body = await response.get_json()
    return response.status_code, body["identity"] if "identity" in body else body["msg"]


@pytest.mark.parametrize(
    "value",
    [
        b"other",
        b"valu",
        b"valuee",
        b"Value",
        b"VALUE",
        b" other ",
        b"value,value",
        b"value value",
        b"value\x00",
        b"\x00",
        b"\x7f",
        b"valu\xe9",
        b"\xff\xfe",
        b"\xc3\xa9",
        b"caf\xc3\xa9",
        b"v" * 100_000,
        b"null",
        b"0",
    ],
    ids=lambda value: repr(value[:10]),
)
async def test_different_value_of_any_bytes_answers_401(value: bytes) -> None:
    app = csrf_app()
    assert await raw_post(app, (b"x-csrf-token", value)) == DIFFERENT
    assert app.calls == []


async def test_empty_value_in_the_header_counts_as_missing() -> None:
    app = csrf_app()
    assert await raw_post(app, (b"x-csrf-token", b"")) == MISSING
    assert await raw_post(app, (b"x-csrf-token", b""), claims={"csrf": ""}) == MISSING
    assert app.calls == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"value", b"other"], ACCEPTED),
        ([b"other", b"value"], DIFFERENT),
        ([b"", b"value"], MISSING),
    ],
)
async def test_first_of_repeated_headers_counts(
    values: list[bytes], expected: tuple[int, str]
) -> None:
    headers = [(b"x-csrf-token", value) for value in values]
    assert await raw_post(csrf_app(), *headers) == expected


async def test_value_is_never_read_from_a_cookie_or_the_query_string() -> None:
    """A forged request carries both, so neither proves anything."""
    app = csrf_app(
        JWT_ACCESS_CSRF_COOKIE_NAME="csrf_token", JWT_ACCESS_CSRF_HEADER_NAME="csrf_token"
    )
    cookie = cookie_for()["Cookie"]
    for name in ("csrf_token", "csrf_access_token", "X-CSRF-TOKEN", "x-csrf-token"):
        headers = {"Cookie": f"{cookie}; {name}=value"}
        assert await send(app, headers, query_string={name: "value"}) == MISSING
    forged = {"Cookie": f"{cookie}; csrf_token=value", "csrf_token": "other"}
    assert await send(app, forged) == DIFFERENT


async def test_value_is_not_read_from_a_json_body() -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    assert await send(app, json={"csrf_token": "value"}) == MISSING


# --- the form field ------------------------------------------------------------------------------


async def as_urlencoded(app: Quart, form: dict[str, str], **kwargs: Any) -> tuple[int, str]:
    return await send(app, form=form, **kwargs)


async def as_multipart(app: Quart, form: dict[str, str], **kwargs: Any) -> tuple[int, str]:
    return await send(app, form=form, files={}, **kwargs)


FORMS = pytest.mark.parametrize("submit", [as_urlencoded, as_multipart])
FORM_FILES = pytest.mark.parametrize("files", [None, {}], ids=["urlencoded", "multipart"])


@FORMS
@BOTH_KINDS
async def test_value_in_a_form_field_is_accepted_if_forms_are_checked(
    submit: Any, kind: dict[str, Any]
) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    assert await submit(app, {"csrf_token": "other"}, kind=kind) == DIFFERENT
    assert await submit(app, {"csrf_token": ""}, kind=kind) == MISSING
    assert await submit(app, {"CSRF_TOKEN": "value"}, kind=kind) == MISSING
    assert await submit(app, {"a": "b"}, kind=kind) == MISSING
    assert await submit(app, {"a": "b", "csrf_token": "value"}, kind=kind) == ACCEPTED


@FORMS
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_form_field_serves_every_protected_method(submit: Any, method: str) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    assert await submit(app, {"csrf_token": "value"}, method=method) == ACCEPTED


@FORMS
async def test_form_field_is_ignored_by_default(submit: Any) -> None:
    assert await submit(csrf_app(), {"csrf_token": "value"}) == MISSING


@FORMS
@pytest.mark.parametrize(
    ("option", "kind", "other"),
    [
        ("JWT_ACCESS_CSRF_FIELD_NAME", ACCESS, REFRESH),
        ("JWT_REFRESH_CSRF_FIELD_NAME", REFRESH, ACCESS),
    ],
    ids=["access", "refresh"],
)
async def test_own_field_name_is_for_its_kind_of_token_only(
    submit: Any, option: str, kind: dict[str, Any], other: dict[str, Any]
) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True, **{option: "own"})
    assert await submit(app, {"csrf_token": "value"}, kind=kind) == MISSING
    assert await submit(app, {"own": "value"}, kind=other) == MISSING
    assert await submit(app, {"own": "value"}, kind=kind) == ACCEPTED
    assert await submit(app, {"csrf_token": "value"}, kind=other) == ACCEPTED


@FORMS
async def test_header_goes_before_the_form_field(submit: Any) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    assert await submit(app, {"csrf_token": "value"}, headers={"X-CSRF-TOKEN": "no"}) == DIFFERENT
    assert await submit(app, {"csrf_token": "no"}, headers={"X-CSRF-TOKEN": "value"}) == ACCEPTED


@FORMS
async def test_empty_header_falls_back_to_the_form_field(submit: Any) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    assert await submit(app, {"csrf_token": "value"}, headers={"X-CSRF-TOKEN": ""}) == ACCEPTED


@FORMS
async def test_non_ascii_value_in_a_form_field_is_compared_and_never_fails(submit: Any) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    assert await submit(app, {"csrf_token": "valué"}) == DIFFERENT
    assert await submit(app, {"csrf_token": "value"}, claims={"csrf": "valué"}) == DIFFERENT
    assert await submit(app, {"csrf_token": "é"}, claims={"csrf": "è"}) == DIFFERENT
    assert await submit(app, {"csrf_token": "é日"}, claims={"csrf": "é日"}) == ACCEPTED


async def test_first_of_two_form_fields_counts() -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert await send(app, headers, data="csrf_token=other&csrf_token=value") == DIFFERENT
    assert await send(app, headers, data="csrf_token=value&csrf_token=other") == ACCEPTED


async def test_uploaded_file_of_the_field_name_is_not_the_field() -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    file = FileStorage(io.BytesIO(b"value"), filename="value", name="csrf_token")
    assert await send(app, files={"csrf_token": file}) == MISSING


MALFORMED_FORMS = {
    "urlencoded truncated escape": ("application/x-www-form-urlencoded", b"csrf_token%"),
    "urlencoded empty": ("application/x-www-form-urlencoded", b""),
    "urlencoded nul": ("application/x-www-form-urlencoded", b"\x00\x00=\x00"),
    "multipart without boundary": ("multipart/form-data", b"csrf_token=value"),
    "multipart non-ascii boundary": ("multipart/form-data; boundary=\xe9", b"--\xe9--"),
    "multipart garbage": ("multipart/form-data; boundary=x", b"\x00\xff" * 50),
    "multipart empty": ("multipart/form-data; boundary=x", b""),
    "multipart truncated": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\nval',
    ),
    "multipart part without name": (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nvalue\r\n--x--\r\n",
    ),
    "multipart part without disposition": (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Type: text/plain\r\n\r\nvalue\r\n--x--\r\n",
    ),
    "no type": ("", b"csrf_token=value"),
    "text": ("text/plain", b"csrf_token=value"),
    "other type": ("application/octet-stream", b"csrf_token=value"),
}


@pytest.mark.parametrize(("kind", "body"), MALFORMED_FORMS.values(), ids=MALFORMED_FORMS.keys())
async def test_malformed_form_counts_as_missing_value(kind: str, body: bytes) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    content_type = [(b"content-type", kind.encode("latin-1"))] if kind else []
    cookie = (b"cookie", cookie_for()["Cookie"].encode())
    response = await app.test_client().post(
        "/protected", data=body, scope_base={"headers": [cookie, *content_type]}
    )
    assert (response.status_code, (await response.get_json())["msg"]) == MISSING
    assert app.calls == []


async def test_urlencoded_form_that_is_not_utf8_is_refused() -> None:
    """Quart 0.20 itself answers 413 for it, later versions give an empty form."""
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    response = await app.test_client().post(
        "/protected",
        data=b"csrf_token=\xff\xfe",
        headers={**cookie_for(), "Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code in (401, 413)
    assert app.calls == []


@FORM_FILES
async def test_form_over_the_content_limit_answers_413(files: Any) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True, MAX_CONTENT_LENGTH=100)
    response = await app.test_client().post(
        "/protected",
        headers=cookie_for(),
        form={"pad": "x" * 200, "csrf_token": "value"},
        files=files,
    )
    assert response.status_code == 413
    assert app.calls == []


@FORM_FILES
async def test_view_can_still_read_the_form_that_held_the_value(files: Any) -> None:
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)

    @app.route("/form", methods=["POST"])
    @qje.jwt_required
    async def form() -> Any:
        return dict(await request.form)

    response = await app.test_client().post(
        "/form", headers=cookie_for(), form={"csrf_token": "value", "name": "é"}, files=files
    )
    assert await response.get_json() == {"csrf_token": "value", "name": "é"}


async def test_view_can_still_stream_the_body_when_the_header_held_the_value() -> None:
    """Only a missing header makes the form worth reading."""
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)

    @app.route("/stream", methods=["POST"])
    @qje.jwt_required
    async def stream() -> Any:
        return {"size": sum([len(chunk) async for chunk in request.body])}

    headers = {**cookie_for(), "X-CSRF-TOKEN": "value"}
    response = await app.test_client().post("/stream", headers=headers, data=b"x" * 1000)
    assert await response.get_json() == {"size": 1000}


# --- the claim -----------------------------------------------------------------------------------


@BOTH_KINDS
async def test_token_without_the_claim_answers_422(kind: dict[str, Any]) -> None:
    headers = {"X-CSRF-TOKEN": "value"}
    assert await send(csrf_app(), headers, kind=kind, claims={"csrf": ...}) == NO_CLAIM


WRONG_CLAIMS = [None, True, False, 0, 1, 1.5, 10**400, [], ["value"], {}, {"value": "value"}]


@pytest.mark.parametrize("claim", WRONG_CLAIMS, ids=lambda claim: repr(claim)[:12])
async def test_claim_that_is_no_string_matches_nothing(claim: Any) -> None:
    """Neither its JSON text nor its Python text may pass for it."""
    app = csrf_app()
    for value in {"value", str(claim), json.dumps(claim), "None", "1"}:
        status, message = await send(app, {"X-CSRF-TOKEN": value}, claims={"csrf": claim})
        assert status in (401, 422)
        assert "csrf" in message.lower()


@pytest.mark.parametrize(
    "claim", ["", "é", "日本", "\x00", "v" * 5000, "value ", "Value"], ids=ascii
)
async def test_other_string_as_claim_answers_401(claim: str) -> None:
    headers = {"X-CSRF-TOKEN": "value"}
    assert await send(csrf_app(), headers, claims={"csrf": claim}) == DIFFERENT


@pytest.mark.parametrize("claim", ["\ud800", "value\ud800", "\udfff\ud800"], ids=ascii)
async def test_lone_surrogate_in_the_claim_answers_4xx(claim: str) -> None:
    """It has no UTF-8 form, so there is nothing that it could be compared with."""
    for value in ("value", "?"):
        status, _ = await send(csrf_app(), {"X-CSRF-TOKEN": value}, claims={"csrf": claim})
        assert status in (401, 422)


# --- decode_token --------------------------------------------------------------------------------


async def test_decode_token_compares_the_given_value() -> None:
    token = hs_token(access_claims(csrf="value"))
    async with csrf_app().app_context():
        assert qje.decode_token(token, csrf_value="value")["csrf"] == "value"
        assert qje.decode_token(token, "value")["csrf"] == "value"
        assert qje.decode_token(token)["csrf"] == "value"
        assert qje.decode_token(token, csrf_value=None)["csrf"] == "value"


@pytest.mark.parametrize("value", ["other", "valuee", "valu", "é", "\ud800"], ids=ascii)
async def test_decode_token_with_another_value_raises_csrf_error(value: str) -> None:
    async with csrf_app().app_context():
        with pytest.raises(CSRFError, match="^CSRF double submit tokens do not match$"):
            qje.decode_token(hs_token(access_claims(csrf="value")), csrf_value=value)


async def test_decode_token_with_an_empty_value_raises_csrf_error() -> None:
    """Only None skips the check: an empty value is what an attacker would send."""
    async with csrf_app().app_context():
        with pytest.raises(CSRFError):
            qje.decode_token(hs_token(access_claims(csrf="value")), csrf_value="")


async def test_decode_token_with_a_value_for_a_token_without_the_claim_raises() -> None:
    async with csrf_app().app_context():
        with pytest.raises(JWTDecodeError, match="^Missing claim: csrf$"):
            qje.decode_token(hs_token(access_claims()), csrf_value="value")


# --- When the form is read --------------------------------------------------------------------


async def test_form_is_not_read_for_a_token_that_is_invalid() -> None:
    """A body of any size would otherwise be parsed for whoever sends it."""
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    parsed: list[str] = []

    class Counting(Request):
        @property
        async def form(self) -> Any:
            parsed.append(self.path)
            return await super().form

    app.request_class = Counting
    form = {"csrf_token": "value"}
    good = hs_token(access_claims(csrf="value"))
    for token in ("x.y.z", good[:-4] + "AAAA", hs_token(access_claims(csrf="value", aud="them"))):
        cookie = {"Cookie": f"access_token_cookie={token}"}
        response = await app.test_client().post("/protected", headers=cookie, form=form)
        assert response.status_code == 422
    assert parsed == []
    cookie = {"Cookie": f"access_token_cookie={good}"}
    response = await app.test_client().post("/protected", headers=cookie, form=form)
    assert response.status_code == 200
    assert parsed == ["/protected"]
    response = await app.test_client().post("/protected", headers=cookie, form={"csrf_token": "x"})
    assert response.status_code == 401
