"""Tokens in the query string: form encoding, duplicates, and bytes that are no text at all.

The raw query goes into the ASGI scope as bytes, as a server hands it over.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from quart import Quart, request

from support import access_claims, answer_of, hs_token, make_app, refresh_claims

TOKEN = hs_token(access_claims())
OTHER_TOKEN = hs_token(access_claims(identity="bob"))
BAD_TOKEN = TOKEN[:-4] + "AAAA"
ALL_ESCAPED = "".join(f"%{ord(char):02X}" for char in TOKEN)

MISSING = (401, 'Missing "jwt" query paramater')
ACCEPTED = (200, "alice")


def query_app(**options: Any) -> Quart:
    return make_app(**{"JWT_TOKEN_LOCATION": ["query_string"], **options})


async def send(
    app: Quart, query: bytes | str, path: str = "/protected", method: str = "GET"
) -> tuple[int, str]:
    """Status, and identity or message, for a request with this raw query string."""
    raw = query if isinstance(query, bytes) else query.encode()
    return await answer_of(app, path, method=method, scope_base={"query_string": raw})


@pytest.mark.parametrize(
    "query",
    [
        f"jwt={TOKEN}",
        f"a=b&jwt={TOKEN}",
        f"jwt={TOKEN}&a=b",
        f"a&jwt={TOKEN}&b",
        f"&&jwt={TOKEN}&&",
        f"=&jwt={TOKEN}",
        f"jwt={ALL_ESCAPED}",
        f"jwt={ALL_ESCAPED.lower()}",
        f"jwt={TOKEN.replace('.', '%2E')}",
        f"%6awt={TOKEN}",
        f"%6A%77%74={TOKEN}",
        f"a=%zz&jwt={TOKEN}",
        f"a=%ff%fe&jwt={TOKEN}",
        f"a=b;jwt=x&jwt={TOKEN}",
        f"caf%C3%A9=1&jwt={TOKEN}",
        f"café=1&jwt={TOKEN}",
        "&".join([*(f"p{number}=v" for number in range(2000)), f"jwt={TOKEN}"]),
    ],
)
async def test_token_in_the_parameter_is_accepted(query: str) -> None:
    assert await send(query_app(), query) == ACCEPTED


@pytest.mark.parametrize(
    "query",
    [
        "",
        "&",
        "jwt",
        "jwt=",
        "jwt=&a=b",
        "a=b",
        f"JWT={TOKEN}",
        f"Jwt={TOKEN}",
        f"xjwt={TOKEN}",
        f"jwtx={TOKEN}",
        f"jwt[]={TOKEN}",
        f" jwt={TOKEN}",
        f"jwt+={TOKEN}",
        f"+jwt={TOKEN}",
        f"jwt%00={TOKEN}",
        f"jwt%3D{TOKEN}",
        f"jwt;={TOKEN}",
        f"a=1;jwt={TOKEN}",
        f"a=1%26jwt={TOKEN}",
        f"a=jwt={TOKEN}",
        TOKEN,
    ],
)
async def test_absent_or_empty_parameter_answers_401(query: str) -> None:
    assert await send(query_app(), query) == MISSING


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"jwt={TOKEN}&jwt={OTHER_TOKEN}", ACCEPTED),
        (f"jwt={OTHER_TOKEN}&jwt={TOKEN}", (200, "bob")),
        (f"%6Awt={OTHER_TOKEN}&jwt={TOKEN}", (200, "bob")),
        (f"jwt={TOKEN}&jwt={BAD_TOKEN}", ACCEPTED),
        (f"jwt={BAD_TOKEN}&jwt={TOKEN}", (422, "Signature verification failed")),
        (f"jwt={TOKEN}&jwt=", ACCEPTED),
        (f"jwt=&jwt={TOKEN}", MISSING),
        (f"jwt&jwt={TOKEN}", MISSING),
    ],
)
async def test_first_of_repeated_parameters_is_used(query: str, expected: tuple[int, str]) -> None:
    assert await send(query_app(), query) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"nonsense",
        b".",
        b"..",
        b"+",
        b"%20",
        b"%00",
        b"%0A",
        TOKEN.encode() + b"+",
        b"+" + TOKEN.encode(),
        b"%20" + TOKEN.encode(),
        TOKEN.encode() + b"%0A",
        TOKEN.encode() + b"%00",
        TOKEN.encode() + b"%",
        TOKEN.encode() + b"%2",
        TOKEN.encode() + b"%zz",
        TOKEN.encode() + b"=",
        TOKEN.encode() + b"%3D",
        TOKEN.encode() + b";a=b",
        TOKEN.replace(".", "%252E").encode(),
        TOKEN.encode() + b"%C3%A9",
        TOKEN.encode() + b"%ff",
        b"%ff%fe",
        b"%ED%A0%80",
        "é".encode(),
        "日本".encode(),
        TOKEN.encode() + TOKEN.encode(),
        b"A" * 100_000,
    ],
)
async def test_bad_value_answers_422_without_an_echo(value: bytes) -> None:
    """Nothing is trimmed or repaired: what decodes to something else is another token."""
    status, message = await send(query_app(), b"jwt=" + value)
    assert status == 422
    assert TOKEN not in message
    assert len(message) < 200


@pytest.mark.parametrize(
    "query",
    [
        b"jwt=\xff",
        b"jwt=\xff\xfe\xfd",
        b"jwt=" + TOKEN.encode() + b"\xff",
        b"\xffjwt=" + TOKEN.encode(),
        b"jwt\xff=" + TOKEN.encode(),
        b"jwt=\xed\xa0\x80",
        b"a=\xff",
    ],
)
async def test_raw_bytes_that_are_not_utf8_answer_401_and_are_anonymous_where_optional(
    query: bytes,
) -> None:
    """Quart gives up on such a request before any view, so only a hook can bring it this far.

    ``request.args`` cannot be read then, which is the same as no parameters.
    """
    app = query_app()

    @app.before_request
    async def replace() -> None:
        request.query_string = query

    assert await send(app, "") == MISSING
    assert await send(app, "", "/optional") == (200, None)


@pytest.mark.parametrize(
    "name", ["token", "a b", "a+b", "a=b", "a&b", "tök", "日本", "100%", "x[jwt]", "JWT"]
)
async def test_own_name_replaces_the_default(name: str) -> None:
    app = query_app(JWT_QUERY_STRING_NAME=name)
    assert await send(app, urlencode({name: TOKEN})) == ACCEPTED
    assert await send(app, f"{quote(name, safe='')}={TOKEN}") == ACCEPTED
    assert await send(app, f"jwt={TOKEN}") == (401, f'Missing "{name}" query paramater')


async def test_plus_and_escaped_space_in_the_name_are_the_same() -> None:
    app = query_app(JWT_QUERY_STRING_NAME="my token")
    assert await send(app, f"my+token={TOKEN}") == ACCEPTED
    assert await send(app, f"my%20token={TOKEN}") == ACCEPTED
    assert await send(app, f"my%2Btoken={TOKEN}") == (401, 'Missing "my token" query paramater')


async def test_own_name_set_after_init_takes_effect_on_the_next_request() -> None:
    app = query_app()
    assert await send(app, f"jwt={TOKEN}") == ACCEPTED
    app.config["JWT_QUERY_STRING_NAME"] = "token"
    assert await send(app, f"token={TOKEN}") == ACCEPTED
    assert (await send(app, f"jwt={TOKEN}"))[0] == 401


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_parameter_is_read_for_every_method_without_csrf(method: str) -> None:
    app = query_app(JWT_TOKEN_LOCATION=["query_string", "cookies"])
    assert await send(app, f"jwt={TOKEN}", method=method) == ACCEPTED


async def test_both_kinds_of_token_use_the_same_parameter() -> None:
    app = query_app()
    refresh = hs_token(refresh_claims())
    assert await send(app, f"jwt={refresh}", "/refresh") == ACCEPTED
    assert await send(app, f"jwt={refresh}") == (422, "Only access tokens are allowed")
    assert await send(app, f"jwt={TOKEN}", "/refresh") == (422, "Only refresh tokens are allowed")


async def test_token_in_a_form_body_is_not_a_query_parameter() -> None:
    response = await query_app().test_client().post("/protected", form={"jwt": TOKEN})
    assert response.status_code == 401
