"""Tokens in a JSON body: content types, every shape of body, and a body that stays readable."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from quart import Quart, request
from quart.json.provider import DefaultJSONProvider

import quart_jwt_extended as qje
from support import access_claims, answer_of, hs_token, make_app, refresh_claims

TOKEN = hs_token(access_claims())
OTHER_TOKEN = hs_token(access_claims(identity="bob"))
REFRESH_TOKEN = hs_token(refresh_claims())

WRONG_TYPE = (401, "Invalid content-type. Must be application/json.")
MISSING = (401, 'Missing "access_token" key in json data.')
ACCEPTED = (200, "alice")

BODY = json.dumps({"access_token": TOKEN}).encode()


def json_app(**options: Any) -> Quart:
    return make_app(**{"JWT_TOKEN_LOCATION": ["json"], **options})


async def send(
    app: Quart,
    body: bytes | str = BODY,
    content_type: bytes | str | None = "application/json",
    *,
    path: str = "/protected",
    method: str = "POST",
) -> tuple[int, str]:
    """Status, and identity or message, for a request with this body and content type."""
    headers = [(b"host", b"localhost")]
    if content_type is not None:
        raw = content_type if isinstance(content_type, bytes) else content_type.encode()
        headers.append((b"content-type", raw))
    return await answer_of(app, path, method=method, data=body, scope_base={"headers": headers})


# --- content types -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json ; charset=utf-8",
        'application/json; charset="utf-8"; v=1',
        "application/json;",
        " application/json",
        "application/json ",
    ],
)
async def test_json_type_with_or_without_parameters_is_accepted(content_type: str) -> None:
    assert await send(json_app(), content_type=content_type) == ACCEPTED


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application",
        "application/",
        "json",
        "application/jsonp",
        "application/json5",
        "application/json-patch",
        "application/x-json",
        "xapplication/json",
        "application/javascript",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        'text/plain; a="; application/json"',
        "text/html, application/json",
        b"application/json\xe9",
        b"\xff",
        b"\x00",
        "; charset=utf-8",
    ],
    ids=repr,
)
async def test_other_or_no_content_type_answers_401(content_type: bytes | str | None) -> None:
    assert await send(json_app(), content_type=content_type) == WRONG_TYPE


async def test_first_of_two_content_types_counts() -> None:
    app = json_app()
    for types, status in [
        (("text/plain", "application/json"), 401),
        (("application/json", ""), 200),
    ]:
        headers = [(b"content-type", value.encode()) for value in types]
        response = await app.test_client().post(
            "/protected", data=BODY, scope_base={"headers": headers}
        )
        assert response.status_code == status


# --- keys ----------------------------------------------------------------------------------------


async def test_each_kind_of_view_reads_its_own_key() -> None:
    app = json_app()
    both = json.dumps({"access_token": TOKEN, "refresh_token": REFRESH_TOKEN})
    assert await send(app, both) == ACCEPTED
    assert await send(app, both, path="/refresh") == ACCEPTED
    missing = (401, 'Missing "refresh_token" key in json data.')
    assert await send(app, json.dumps({"access_token": REFRESH_TOKEN}), path="/refresh") == missing
    wrong = (422, "Only access tokens are allowed")
    assert await send(app, json.dumps({"access_token": REFRESH_TOKEN})) == wrong


@pytest.mark.parametrize("key", ["token", "a b", "tök", "日本", 'a"b', "a\\b", "access_token "])
async def test_own_access_key_replaces_the_default(key: str) -> None:
    app = json_app(JWT_JSON_KEY=key)
    missing = (401, f'Missing "{key}" key in json data.')
    assert await send(app, json.dumps({key: TOKEN})) == ACCEPTED
    assert await send(app, json.dumps({key: TOKEN}, ensure_ascii=False)) == ACCEPTED
    assert await send(app, json.dumps({"access_token": TOKEN})) == missing


async def test_own_refresh_key_replaces_the_default() -> None:
    app = json_app(JWT_REFRESH_JSON_KEY="renew")
    assert await send(app, json.dumps({"renew": REFRESH_TOKEN}), path="/refresh") == ACCEPTED
    missing = (401, 'Missing "renew" key in json data.')
    assert await send(app, json.dumps({"refresh_token": REFRESH_TOKEN}), path="/refresh") == missing


async def test_key_changed_after_init_takes_effect_on_the_next_request() -> None:
    app = json_app()
    assert await send(app) == ACCEPTED
    app.config["JWT_JSON_KEY"] = "token"
    assert await send(app) == (401, 'Missing "token" key in json data.')
    assert await send(app, json.dumps({"token": TOKEN})) == ACCEPTED


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
async def test_body_is_read_for_every_method_without_csrf(method: str) -> None:
    app = json_app(JWT_TOKEN_LOCATION=["json", "cookies"])
    assert await send(app, method=method) == ACCEPTED


# --- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        f'{{"access_token":"{TOKEN}"}}',
        f'  {{\r\n\t"access_token" : "{TOKEN}" }}\n ',
        json.dumps({"a": 1, "access_token": TOKEN, "z": [1, {"access_token": "x"}]}),
        json.dumps({"a": {"access_token": "x"}, "access_token": TOKEN}),
        '{"access_token":"' + "".join(f"\\u{ord(char):04x}" for char in TOKEN) + '"}',
        f'{{"\\u0061ccess_token":"{TOKEN}"}}',
        f'{{"é":"日本","access_token":"{TOKEN}"}}',
        f'{{"a":"\\ud800","access_token":"{TOKEN}"}}',
        f'{{"a":NaN,"b":-Infinity,"access_token":"{TOKEN}"}}',
        f'{{"a":1e999,"b":{10**400},"access_token":"{TOKEN}"}}',
        f'{{"a":"{"x" * 200_000}","access_token":"{TOKEN}"}}',
    ],
)
async def test_token_anywhere_in_the_object_is_accepted(body: str) -> None:
    assert await send(json_app(), body) == ACCEPTED


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f'{{"access_token":"{OTHER_TOKEN}","access_token":"{TOKEN}"}}', ACCEPTED),
        (f'{{"access_token":"{TOKEN}","access_token":"{OTHER_TOKEN}"}}', (200, "bob")),
        (f'{{"access_token":"nonsense","access_token":"{TOKEN}"}}', ACCEPTED),
        (f'{{"access_token":"{TOKEN}","\\u0061ccess_token":"{OTHER_TOKEN}"}}', (200, "bob")),
        (f'{{"access_token":"{TOKEN}","access_token":"x"}}', (422, "Not enough segments")),
    ],
)
async def test_last_of_duplicated_keys_counts_as_in_get_json(
    body: str, expected: tuple[int, str]
) -> None:
    assert await send(json_app(), body) == expected


NOT_AN_OBJECT_WITH_THE_KEY = {
    "empty": b"",
    "whitespace": b"  \n ",
    "nul": b"\x00",
    "empty object": b"{}",
    "other key": b'{"token": "x"}',
    "key in another case": b'{"Access_Token": "x"}',
    "nested key": b'{"a": {"access_token": "x"}}',
    "list": b"[]",
    "list with the key": b'["access_token"]',
    "list of pairs": b'[["access_token", "x"]]',
    "string": b'"access_token"',
    "token as bare string": json.dumps(TOKEN).encode(),
    "bare token": TOKEN.encode(),
    "number": b"5",
    "huge number": b"1" * 10_000,
    "float": b"1.5",
    "null": b"null",
    "true": b"true",
    "nan": b"NaN",
    "truncated": BODY[:-1],
    "truncated in the token": BODY[:40],
    "trailing garbage": BODY + b"x",
    "two objects": BODY + BODY,
    "single quotes": BODY.replace(b'"', b"'"),
    "trailing comma": BODY[:-1] + b",}",
    "comment": BODY + b"// comment",
    "control character in a string": BODY[:-2] + b'\n"}',
    "bad escape": b'{"access_token": "\\x"}',
    "byte order mark": b"\xef\xbb\xbf" + BODY,
    "open brackets": b"[" * 100_000,
    "closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "open braces": b'{"a":' * 100_000,
    "deep key": b'{"a":' * 100_000 + BODY + b"}" * 100_000,
    "form": f"access_token={TOKEN}".encode(),
}


@pytest.mark.parametrize(
    "body", NOT_AN_OBJECT_WITH_THE_KEY.values(), ids=NOT_AN_OBJECT_WITH_THE_KEY.keys()
)
async def test_body_without_the_key_answers_401(body: bytes) -> None:
    assert await send(json_app(), body) == MISSING


@pytest.mark.parametrize("depth", [100, 511, 512, 900, 1100, 5000, 100_000])
async def test_value_of_more_levels_than_are_read_hides_the_token(depth: int) -> None:
    # The object around it is the first of 512 levels.
    body = f'{{"deep":{"[" * depth}{"]" * depth},"access_token":"{TOKEN}"}}'
    answer = await send(json_app(), body)
    assert answer == (ACCEPTED if depth <= 511 else MISSING)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b'{"access_token": "\xff"}',
        b'{"\xff": 1, "access_token": "' + TOKEN.encode() + b'"}',
        BODY + b"\xff",
        b'{"access_token": "\xed\xa0\x80"}',
        b'{"access_token": "\xc0\xae"}',
        BODY.decode().encode("utf-16"),
        BODY.decode().encode("utf-16-le"),
        BODY.decode().encode("utf-32"),
        '{"é": 1, "access_token": "x"}'.encode("latin-1"),
    ],
)
async def test_body_that_is_not_utf8_answers_401(body: bytes) -> None:
    """0.1.0 answered 500. UTF-16 is refused as well, though json.loads would take the bytes."""
    assert await send(json_app(), body) == MISSING
    assert await send(json_app(), body, "application/json; charset=utf-16") == MISSING


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "1",
        "-1",
        "1.5",
        "1e999",
        "NaN",
        "1" * 400,
        "true",
        "false",
        "null",
        "[]",
        "{}",
        f'["{TOKEN}"]',
        f'{{"access_token":"{TOKEN}"}}',
        '""',
        '" "',
        '"."',
        '".."',
        '"nonsense"',
        '"\\u0000"',
        '"é"',
        '"日本.日本.日本"',
        '"\\ud800"',
        f'"\\ud800{TOKEN}"',
        f'"{TOKEN}\\udfff"',
        f'"{TOKEN[:50]}\\ud800{TOKEN[50:]}"',
        f'" {TOKEN}"',
        f'"{TOKEN} "',
        f'"{TOKEN}\\n"',
        f'"Bearer {TOKEN}"',
        f'"{TOKEN}{TOKEN}"',
        f'"{"A" * 100_000}"',
    ],
    ids=lambda value: ascii(value.replace(TOKEN, "T")[:16]),
)
async def test_value_that_is_no_token_answers_4xx_without_an_echo(value: str) -> None:
    """Nothing is trimmed, unpacked or turned into a string."""
    status, message = await send(json_app(), f'{{"access_token":{value}}}')
    assert status in ((401, 422) if value in ("null", "false", '""') else (422,))
    assert TOKEN not in message
    assert len(message) < 200


# --- the body around the token -------------------------------------------------------------------


def echo_app(**options: Any) -> Quart:
    """An application whose views read the body again, each in its own way."""
    app = json_app(**options)

    @app.post("/echo/<how>")
    @qje.jwt_required
    async def echo(how: str) -> Any:
        if how == "get_json":
            return {"got": await request.get_json()}
        if how == "silent":
            return {"got": await request.get_json(silent=True)}
        if how == "force":
            return {"got": await request.get_json(force=True, cache=False)}
        if how == "json":
            return {"got": await request.json}
        if how == "get_data":
            return {"got": json.loads(await request.get_data())}
        return {"got": json.loads(await request.data)}

    return app


@pytest.mark.parametrize("how", ["get_json", "silent", "force", "json", "get_data", "data"])
async def test_view_can_still_read_the_body_that_held_the_token(how: str) -> None:
    value = {"access_token": TOKEN, "é": [1, 2.5, None, {"a": "b"}]}
    response = await echo_app().test_client().post(f"/echo/{how}", json=value)
    assert await response.get_json() == {"got": value}


async def test_view_that_changes_its_json_changes_no_identity() -> None:
    app = json_app()

    @app.post("/change")
    @qje.jwt_required
    async def change() -> Any:
        (await request.get_json())["access_token"] = OTHER_TOKEN
        return {"identity": qje.get_jwt_identity()}

    response = await app.test_client().post("/change", json={"access_token": TOKEN})
    assert await response.get_json() == {"identity": "alice"}


@pytest.mark.parametrize("silent", [True, False])
async def test_body_read_before_us_is_still_found(silent: bool) -> None:
    app = json_app()

    @app.before_request
    async def read() -> None:
        await request.get_json(silent=silent)

    assert await send(app) == ACCEPTED


async def test_body_thrown_away_before_us_counts_as_missing() -> None:
    app = json_app()

    @app.before_request
    async def throw_away() -> None:
        await request.get_data(cache=False)

    assert await send(app) == MISSING


async def test_body_that_arrives_in_pieces_is_put_together() -> None:
    """The last piece comes once the request already waits for it."""
    app = json_app()
    connection = app.test_client().request(
        "/protected", method="POST", headers={"Content-Type": "application/json"}
    )
    async with connection:
        for start in range(0, len(BODY), 50):
            await connection.send(BODY[start : start + 50])
            await asyncio.sleep(0.001)
        assert app.calls == []
        await connection.send_complete()
    response = await connection.as_response()
    assert response.status_code == 200
    assert (await response.get_json())["identity"] == "alice"


@pytest.mark.parametrize("announced", [True, False], ids=["content-length", "chunked"])
async def test_body_over_the_content_limit_answers_413(announced: bool) -> None:
    app = json_app(MAX_CONTENT_LENGTH=len(BODY) - 1)
    headers = {"Content-Type": "application/json"}
    if announced:
        headers["Content-Length"] = str(len(BODY))
    response = await app.test_client().post("/protected", data=BODY, headers=headers)
    assert response.status_code == 413
    assert app.calls == []


async def test_body_of_exactly_the_content_limit_is_accepted() -> None:
    assert await send(json_app(MAX_CONTENT_LENGTH=len(BODY))) == ACCEPTED


async def test_body_over_the_content_limit_is_not_read_for_another_content_type() -> None:
    app = json_app(MAX_CONTENT_LENGTH=10)
    assert await send(app, BODY, "text/plain") == WRONG_TYPE


async def test_body_over_the_content_limit_does_not_pass_for_anonymous() -> None:
    """The body was not read, so nobody knows that it has no token."""
    app = json_app(MAX_CONTENT_LENGTH=10)
    response = await app.test_client().post("/optional", json={"access_token": TOKEN})
    assert response.status_code == 413
    assert app.calls == []


class EnvelopeProvider(DefaultJSONProvider):
    """A JSON provider whose bodies wear an envelope."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return super().loads(s, **kwargs)["envelope"]


async def test_json_provider_of_the_application_parses_the_body() -> None:
    """The token is where ``request.get_json`` finds it."""
    app = json_app()
    app.json = EnvelopeProvider(app)
    response = await app.test_client().post(
        "/protected", json={"envelope": {"access_token": TOKEN}, "access_token": OTHER_TOKEN}
    )
    assert b'"identity":"alice"' in await response.get_data()


@pytest.mark.parametrize("body", [b"[]", b"\xff", b"[" * 100_000, b"", b'{"access_token": 1}'])
async def test_hostile_body_on_an_optional_view_never_answers_5xx(body: bytes) -> None:
    app = json_app()
    response = await app.test_client().post(
        "/optional", data=body, headers={"Content-Type": "application/json"}
    )
    if body.startswith(b"{"):
        assert response.status_code == 422
        assert app.calls == []
    else:
        assert response.status_code == 200
        assert (await response.get_json())["identity"] is None
