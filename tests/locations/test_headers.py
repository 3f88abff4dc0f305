"""Tokens in a request header: its name and type, its syntax, and every way to get it wrong.

The test client tidies headers up, so hostile ones go straight into the ASGI scope as bytes.
"""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart

from support import access_claims, ask, bearer, hs_token, make_app, refresh_claims

TOKEN = hs_token(access_claims())
OTHER_TOKEN = hs_token(access_claims(identity="bob"))
BAD_TOKEN = TOKEN[:-4] + "AAAA"

BAD_HEADER = "Bad Authorization header. Expected value 'Bearer <JWT>'"


async def send(
    app: Quart, *values: bytes | str, name: bytes = b"authorization", path: str = "/protected"
) -> tuple[int, dict[str, Any]]:
    """Status and body for a GET with these raw header values, in this order."""
    raw = [(name, value.encode("latin-1") if isinstance(value, str) else value) for value in values]
    scope = {"headers": [(b"host", b"localhost"), *raw]}
    return await ask(app, path, scope_base=scope)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_scheme_in_any_case_is_accepted(app: Quart, scheme: str) -> None:
    """RFC 9110, section 11.1: the authentication scheme is case-insensitive."""
    status, body = await send(app, f"{scheme} {TOKEN}")
    assert (status, body["identity"]) == (200, "alice")


@pytest.mark.parametrize(
    "value",
    [f"Bearer  {TOKEN}", f"Bearer     {TOKEN}", f" Bearer {TOKEN}", f"Bearer {TOKEN} "],
    ids=["two spaces", "many spaces", "leading", "trailing"],
)
async def test_spaces_around_scheme_and_token_are_ignored(app: Quart, value: str) -> None:
    status, body = await send(app, value)
    assert (status, body["identity"]) == (200, "alice")


@pytest.mark.parametrize(
    ("value", "identity"),
    [
        (f"Basic dXNlcjpwYXNz, Bearer {TOKEN}", "alice"),
        (f"Basic dXNlcjpwYXNz,Bearer {TOKEN}", "alice"),
        (f'Digest realm="a b",   Bearer {TOKEN}', "alice"),
        (f"Basic dXNlcjpwYXNz, bearer {TOKEN}", "alice"),
        (f"Bearer {TOKEN}, Basic dXNlcjpwYXNz", "alice"),
        (f"Bearer {TOKEN}, Bearer {OTHER_TOKEN}", "alice"),
        (f"Bearer {OTHER_TOKEN}, Bearer {TOKEN}", "bob"),
        (f"Bearer {TOKEN}, Bearer {BAD_TOKEN}", "alice"),
    ],
    ids=[
        "after basic",
        "after basic without space",
        "after digest",
        "lower case after basic",
        "before basic",
        "first of two",
        "first of two swapped",
        "first good second bad",
    ],
)
async def test_first_credential_of_our_scheme_in_a_list_is_used(
    app: Quart, value: str, identity: str
) -> None:
    status, body = await send(app, value)
    assert (status, body["identity"]) == (200, identity)


async def test_first_of_two_credentials_is_final_even_if_bad(app: Quart) -> None:
    status, body = await send(app, f"Bearer {BAD_TOKEN}, Bearer {TOKEN}")
    assert (status, body) == (422, {"msg": "Signature verification failed"})
    assert app.calls == []


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer   ",
        "bearer",
        f"Bearer {TOKEN} trailing",
        f"Bearer {TOKEN} {TOKEN}",
        f"Bearer Bearer {TOKEN}",
        "Bearer a b",
        f"Bearer {TOKEN},",
        f"Bearer {TOKEN}, ",
        f"Bearer {TOKEN},,",
        f"Bearer {TOKEN},,Basic x",
        "Bearer,",
        "Bearer ,",
        f"Bearer, Bearer {TOKEN}",
        f"Bearer a b, Bearer {TOKEN}",
        ",",
        ",,",
        "   ,",
    ],
)
async def test_malformed_header_answers_422(app: Quart, value: str) -> None:
    assert await send(app, value) == (422, {"msg": BAD_HEADER})
    assert app.calls == []


@pytest.mark.parametrize(
    "value",
    [
        TOKEN,
        "Basic dXNlcjpwYXNz",
        f"Basic {TOKEN}",
        f"Token {TOKEN}",
        f"BearerX {TOKEN}",
        f"XBearer {TOKEN}",
        f"Beare {TOKEN}",
        f"Bearer{TOKEN}",
        f"Bearer:{TOKEN}",
        f"Bearer={TOKEN}",
        f"Bearer-{TOKEN}",
        f"Basic Bearer {TOKEN}",
        f'"Bearer" {TOKEN}',
    ],
)
async def test_other_scheme_in_the_only_location_answers_422(app: Quart, value: str) -> None:
    assert await send(app, value) == (422, {"msg": BAD_HEADER})
    assert app.calls == []


@pytest.mark.parametrize(
    "values", [(), ("",), ("", f"Bearer {TOKEN}")], ids=["absent", "empty", "empty before another"]
)
async def test_absent_or_empty_header_answers_401(app: Quart, values: tuple[str, ...]) -> None:
    assert await send(app, *values) == (401, {"msg": "Missing Authorization Header"})
    assert app.calls == []


@pytest.mark.parametrize("value", [" ", "   ", "\t", " \t "])
async def test_header_of_only_whitespace_answers_4xx(app: Quart, value: str) -> None:
    """0.1.0 answered 500. Empty or malformed: both readings refuse it."""
    status, body = await send(app, value)
    assert status == 401 or (status, body["msg"]) == (422, BAD_HEADER)
    assert app.calls == []


# Carriage return and line feed are missing: no server lets them through, and Quart itself
# refuses to build such a request.
CONTROL_BYTES = [*range(0x00, 0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F]
# NEL and no-break space are whitespace to str.split, so they must not pass for a separator.
NON_ASCII = [b"\x80", b"\x85", b"\xa0", b"\xe9", b"\xff", b"\xc3\xa9", b"\xe2\x80\x8b"]
HOSTILE = [*(bytes([code]) for code in CONTROL_BYTES), *NON_ASCII]


@pytest.mark.parametrize(
    "template",
    [b"%sBearer TOKEN", b"Bear%ser TOKEN", b"Bearer%sTOKEN", b"Bearer %sTOKEN", b"Bearer TOKEN%s"],
)
async def test_control_or_non_ascii_byte_anywhere_answers_422(app: Quart, template: bytes) -> None:
    for junk in HOSTILE:
        value = template.replace(b"%s", junk).replace(b"TOKEN", TOKEN.encode())
        status, body = await send(app, value)
        assert (status, list(body)) == (422, ["msg"]), value
    assert app.calls == []


@pytest.mark.parametrize("junk", [b"\x00", b"\x1f", b"\xa0", b"\xff"], ids=repr)
async def test_control_or_non_ascii_byte_inside_the_token_answers_422(
    app: Quart, junk: bytes
) -> None:
    """One position per segment; none of them may be skipped the way base64 decoders like to."""
    for position in (3, TOKEN.index(".") + 3, TOKEN.rindex(".") + 3):
        value = b"Bearer " + TOKEN[:position].encode() + junk + TOKEN[position:].encode()
        status, _ = await send(app, value)
        assert status == 422
    assert app.calls == []


@pytest.mark.parametrize(
    "token",
    [
        TOKEN + TOKEN,
        f"{TOKEN}.{TOKEN}",
        f"{TOKEN}.",
        f".{TOKEN}",
        ".",
        "..",
        "...",
        "." * 5000,
        "a",
        "a.b",
        f"{TOKEN}=",
        f"<{TOKEN}>",
        f'"{TOKEN}"',
    ],
    ids=lambda token: token.replace(TOKEN, "T")[:10],
)
async def test_doubled_or_empty_token_answers_422(app: Quart, token: str) -> None:
    status, body = await send(app, f"Bearer {token}")
    assert status == 422
    assert list(body) == ["msg"]
    assert app.calls == []


async def test_token_of_exactly_the_maximum_size_is_accepted(app: Quart) -> None:
    app.config["JWT_MAX_TOKEN_SIZE"] = len(TOKEN)
    status, _ = await send(app, f"Bearer {TOKEN}")
    assert status == 200


async def test_token_one_byte_over_the_maximum_size_answers_422(app: Quart) -> None:
    app.config["JWT_MAX_TOKEN_SIZE"] = len(TOKEN) - 1
    status, body = await send(app, f"Bearer {TOKEN}")
    assert status == 422
    assert TOKEN not in body["msg"]
    assert app.calls == []


async def test_default_maximum_size_stands_between_a_large_and_an_overlong_token(
    app: Quart,
) -> None:
    """16384 bytes by default; both tokens here are good but for their size."""
    large = hs_token(access_claims(user_claims={"pad": "x" * 11000}))
    overlong = hs_token(access_claims(user_claims={"pad": "x" * 13000}))
    assert len(large) < 16384 < len(overlong)
    assert (await send(app, f"Bearer {large}"))[0] == 200
    assert (await send(app, f"Bearer {overlong}"))[0] == 422
    assert app.calls == ["protected"]


@pytest.mark.parametrize("size", [20_000, 1_000_000])
async def test_overlong_nonsense_answers_422_without_an_echo(app: Quart, size: int) -> None:
    status, body = await send(app, "Bearer " + "A" * size)
    assert status == 422
    assert len(body["msg"]) < 200
    assert app.calls == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((f"Bearer {TOKEN}", f"Bearer {OTHER_TOKEN}"), (200, "alice")),
        ((f"Bearer {OTHER_TOKEN}", f"Bearer {TOKEN}"), (200, "bob")),
        ((f"Bearer {TOKEN}", f"Bearer {BAD_TOKEN}"), (200, "alice")),
        ((f"Bearer {TOKEN}", "Basic x"), (200, "alice")),
        ((f"Bearer {TOKEN}", ""), (200, "alice")),
        ((f"Bearer {BAD_TOKEN}", f"Bearer {TOKEN}"), (422, "Signature verification failed")),
        (("Basic x", f"Bearer {TOKEN}"), (422, BAD_HEADER)),
        (("Bearer", f"Bearer {TOKEN}"), (422, BAD_HEADER)),
    ],
)
async def test_first_of_repeated_headers_counts_as_quart_gives_it(
    app: Quart, values: tuple[str, ...], expected: tuple[int, str]
) -> None:
    status, body = await send(app, *values)
    assert (status, body.get("identity", body.get("msg"))) == expected


@pytest.mark.parametrize(
    "name", [b"authorization", b"Authorization", b"AUTHORIZATION", b"aUtHoRiZaTiOn"]
)
async def test_header_name_in_any_case_is_found(app: Quart, name: bytes) -> None:
    assert (await send(app, f"Bearer {TOKEN}", name=name))[0] == 200


@pytest.mark.parametrize(
    "name",
    [
        b"authorization ",
        b"x-authorization",
        b"authorizatio",
        b"authorizations",
        b"proxy-authorization",
        b"authorizat\xefon",
    ],
)
async def test_header_of_a_similar_name_is_not_found(app: Quart, name: bytes) -> None:
    status, _ = await send(app, f"Bearer {TOKEN}", name=name)
    assert status == 401


@pytest.mark.parametrize("configured", ["X-Token", "x-token", "X-TOKEN"])
async def test_own_header_name_replaces_the_default(configured: str) -> None:
    app = make_app(JWT_HEADER_NAME=configured)
    assert (await send(app, f"Bearer {TOKEN}", name=b"x-token"))[0] == 200
    missing = (401, {"msg": f"Missing {configured} Header"})
    assert await send(app, f"Bearer {TOKEN}") == missing
    assert await send(app, f"Bearer {TOKEN}", name=b"x_token") == missing
    malformed = (422, {"msg": f"Bad {configured} header. Expected value 'Bearer <JWT>'"})
    assert await send(app, "Bearer", name=b"x-token") == malformed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"JWT {TOKEN}", 200),
        (f"jwt {TOKEN}", 200),
        (f"Bearer {OTHER_TOKEN}, JWT {TOKEN}", 200),
        (f"Bearer {TOKEN}", 422),
        (TOKEN, 422),
        (f"JWTX {TOKEN}", 422),
    ],
)
async def test_own_header_type_replaces_the_default(value: str, expected: int) -> None:
    app = make_app(JWT_HEADER_TYPE="JWT")
    status, body = await send(app, value)
    assert status == expected
    if expected == 200:
        assert body["identity"] == "alice"
    else:
        assert body == {"msg": "Bad Authorization header. Expected value 'JWT <JWT>'"}


@pytest.mark.parametrize("value", [TOKEN, f" {TOKEN}", f"{TOKEN} "])
async def test_empty_header_type_takes_the_whole_header_as_token(value: str) -> None:
    status, body = await send(make_app(JWT_HEADER_TYPE=""), value)
    assert (status, body["identity"]) == (200, "alice")


@pytest.mark.parametrize(
    "value",
    [f"Bearer {TOKEN}", f"{TOKEN} {TOKEN}", f"Basic x, Bearer {TOKEN}", f"{TOKEN}, {OTHER_TOKEN}"],
)
async def test_empty_header_type_refuses_more_than_one_word(value: str) -> None:
    app = make_app(JWT_HEADER_TYPE="")
    expected = (422, {"msg": "Bad Authorization header. Expected value '<JWT>'"})
    assert await send(app, value) == expected
    assert app.calls == []


@pytest.mark.parametrize(
    "value", [f"{TOKEN},", f",{TOKEN}", f"{TOKEN},{OTHER_TOKEN}", "Bearer", "x", TOKEN + "\xa0"]
)
async def test_empty_header_type_refuses_a_word_that_is_no_token(value: str) -> None:
    app = make_app(JWT_HEADER_TYPE="")
    status, body = await send(app, value)
    assert status == 422
    assert list(body) == ["msg"]
    assert app.calls == []


@pytest.mark.parametrize("values", [(), (b"",)], ids=["absent", "empty"])
async def test_empty_header_type_with_no_value_answers_401(values: tuple[bytes, ...]) -> None:
    status, _ = await send(make_app(JWT_HEADER_TYPE=""), *values)
    assert status == 401


async def test_empty_header_type_with_own_name_reads_that_header() -> None:
    app = make_app(JWT_HEADER_TYPE="", JWT_HEADER_NAME="X-Api-Key")
    assert (await send(app, TOKEN, name=b"x-api-key"))[0] == 200
    assert await send(app, "a b", name=b"x-api-key") == (
        422,
        {"msg": "Bad X-Api-Key header. Expected value '<JWT>'"},
    )


async def test_header_options_changed_after_init_take_effect_on_the_next_request(
    app: Quart,
) -> None:
    assert (await send(app, f"Bearer {TOKEN}"))[0] == 200
    app.config["JWT_HEADER_NAME"] = "X-Token"
    assert (await send(app, f"Bearer {TOKEN}"))[0] == 401
    assert (await send(app, f"Bearer {TOKEN}", name=b"x-token"))[0] == 200
    app.config["JWT_HEADER_TYPE"] = ""
    assert (await send(app, f"Bearer {TOKEN}", name=b"x-token"))[0] == 422
    assert (await send(app, TOKEN, name=b"x-token"))[0] == 200


async def test_refresh_token_is_read_from_the_same_header(app: Quart) -> None:
    refresh = hs_token(refresh_claims())
    assert (await send(app, f"Bearer {refresh}", path="/refresh"))[0] == 200
    assert (await send(app, f"Bearer {TOKEN}", path="/refresh"))[0] == 422


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_header_is_read_for_every_method(app: Quart, method: str) -> None:
    response = await app.test_client().open("/protected", method=method, headers=bearer(TOKEN))
    assert response.status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"query_string": {"jwt": TOKEN}},
        {"headers": {"Cookie": f"access_token_cookie={TOKEN}"}},
        {"method": "POST", "json": {"access_token": TOKEN}},
    ],
    ids=["query string", "cookie", "json"],
)
async def test_token_outside_the_header_is_not_found_by_default(
    app: Quart, elsewhere: dict[str, Any]
) -> None:
    response = await app.test_client().open("/protected", **elsewhere)
    assert response.status_code == 401
