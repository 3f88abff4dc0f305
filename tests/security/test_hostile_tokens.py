"""Tokens made to get in, sent the way an attacker sends them: in the header of a real request.

Whatever comes, the answer is 4xx with a clear message, no view runs, and neither the token nor a
key shows up in what is answered or logged.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
from typing import Any

import jwt
import pytest
from quart import Quart

from support import SECRET, access_claims, b64url, bearer, hs_token, json_segment, make_app
from support.signing_keys import private_key, public_dresses, public_pem

HEADER = {"typ": "JWT", "alg": "HS256"}
NOT_ALLOWED = "The specified alg value is not allowed"
BAD_SIGNATURE = "Signature verification failed"


def parts_of_keys(*secrets: str) -> list[str]:
    """What must not show: the secrets themselves, and any longer line of them."""
    return [line for secret in secrets for line in [secret, *secret.split("\n")] if len(line) > 20]


async def refused(
    app: Quart, token: str, message: str | None, *, secrets: tuple[str, ...] = (SECRET,)
) -> str:
    """Send the token to every kind of protected view and return the message, the same for all."""
    client = app.test_client()
    answers = set()
    for view in ("protected", "optional", "fresh", "refresh"):
        response = await client.get(f"/{view}", headers=bearer(token))
        body = (await response.get_data()).decode()
        assert response.status_code == 422, body
        answers.add(body)
        for part in [*(p for p in token.split(".") if len(p) > 7), *parts_of_keys(*secrets)]:
            assert part not in body
            assert part not in str(response.headers)
    assert app.calls == []
    assert len(answers) == 1
    content = json.loads(answers.pop())
    assert list(content) == ["msg"]
    if message is not None:
        assert content["msg"] == message
    return content["msg"]


async def admitted(app: Quart, token: str) -> None:
    """The token opens the protected view."""
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 200, await response.get_data()
    assert app.calls == ["protected"]


def with_header(**changes: Any) -> str:
    """A well signed token with changed header parameters; ``...`` removes one."""
    header = {name: value for name, value in {**HEADER, **changes}.items() if value is not ...}
    return hs_token(access_claims(), header=header)


class TestCritical:
    """``crit`` lists extensions that must be understood, and none is (RFC 7515, 4.1.11)."""

    @pytest.mark.parametrize(
        "crit", [None, True, False, 0, 1, 1.5, "", "exp", "b64", {}, {"exp": 1}, []], ids=repr
    )
    async def test_crit_that_is_no_filled_list_is_refused(self, app: Quart, crit: Any) -> None:
        await refused(
            app, with_header(crit=crit), "Invalid 'crit' header: must be a non-empty list"
        )

    @pytest.mark.parametrize("value", [None, True, 0, 1.5, [], ["exp"], {}], ids=repr)
    async def test_crit_with_values_that_are_no_strings_is_refused(
        self, app: Quart, value: Any
    ) -> None:
        await refused(
            app, with_header(crit=[value]), "Invalid 'crit' header: values must be strings"
        )

    @pytest.mark.parametrize("name", ["exp", "alg", "", "B64", "http://example.com/UNDEFINED"])
    async def test_unknown_extension_is_refused(self, app: Quart, name: str) -> None:
        message = f"Unsupported critical extension: {name}"
        await refused(app, with_header(crit=[name], **{name: True}), message)
        await refused(app, with_header(crit=[name]), message)

    async def test_unknown_extension_behind_a_known_one_is_refused(self, app: Quart) -> None:
        token = with_header(crit=["b64", "exp"], b64=True)
        await refused(app, token, "Unsupported critical extension: exp")

    async def test_extension_that_is_not_in_the_header_is_refused(self, app: Quart) -> None:
        message = "Critical extension 'b64' is missing from headers"
        await refused(app, with_header(crit=["b64"]), message)


class TestUnencodedPayload:
    """``b64: false`` (RFC 7797) has no place in a JWT: RFC 7797, section 7, forbids it."""

    @pytest.mark.parametrize("crit", [..., ["b64"]], ids=["without-crit", "with-crit"])
    async def test_b64_false_with_a_payload_is_refused(self, app: Quart, crit: Any) -> None:
        token = with_header(b64=False, crit=crit)
        await refused(app, token, "Payload segment must be empty when 'b64' is false.")

    @pytest.mark.parametrize("crit", [..., ["b64"]], ids=["without-crit", "with-crit"])
    async def test_b64_false_with_a_detached_payload_is_refused(
        self, app: Quart, crit: Any
    ) -> None:
        """Signed over the empty payload, over the plain one and over the encoded one."""
        header = {**HEADER, "b64": False, **({} if crit is ... else {"crit": crit})}
        segment = json_segment(header)
        plain = json.dumps(access_claims()).encode()
        for payload in (b"", plain, b64url(plain).encode()):
            signing_input = segment.encode() + b"." + payload
            signature = hmac.new(SECRET.encode(), signing_input, hashlib.sha256).digest()
            await refused(app, f"{segment}..{b64url(signature)}", None)

    async def test_b64_false_with_a_plain_payload_is_refused(self, app: Quart) -> None:
        segment = json_segment({**HEADER, "b64": False, "crit": ["b64"]})
        payload = json.dumps(access_claims(), separators=(",", ":")).replace(",", ".")
        signing_input = f"{segment}.{payload}"
        signature = hmac.new(SECRET.encode(), signing_input.encode(), hashlib.sha256).digest()
        token = f"{signing_input}.{b64url(signature)}"
        response = await app.test_client().get("/protected", headers=bearer(token))
        assert response.status_code == 422
        assert app.calls == []


NONE_SPELLINGS = [
    *("none", "None", "NONE", "nOnE", "noNe", "NonE"),
    *(" none", "none ", "none\0", "none\n", "n\u043ene", "\uff4e\uff4f\uff4e\uff45", "null"),
]


class TestAlgorithm:
    """``alg`` says the name of an allowed algorithm, to the letter, or the token is refused."""

    @pytest.mark.parametrize("spelling", NONE_SPELLINGS, ids=ascii)
    async def test_none_in_any_spelling_is_refused(self, app: Quart, spelling: str) -> None:
        good = hs_token(access_claims(), header={**HEADER, "alg": spelling})
        unsigned = good.rpartition(".")[0] + "."
        for token in (good, unsigned, unsigned + "AAAA"):
            await refused(app, token, NOT_ALLOWED)

    @pytest.mark.parametrize("spelling", NONE_SPELLINGS, ids=ascii)
    async def test_none_in_any_spelling_is_refused_where_public_keys_verify(
        self, spelling: str
    ) -> None:
        key = private_key("RSA")
        app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=public_pem(key))
        segment = json_segment({"typ": "JWT", "alg": spelling})
        await refused(app, f"{segment}.{json_segment(access_claims())}.", NOT_ALLOWED)

    async def test_unsigned_token_of_pyjwt_is_refused(self, app: Quart) -> None:
        await refused(app, jwt.encode(access_claims(), None, algorithm="none"), NOT_ALLOWED)

    @pytest.mark.parametrize(
        "algorithm",
        [
            *(None, True, False, 0, 1, 256, 1.5, "", [], {}),
            *(["HS256"], {"HS256": 1}, {"alg": "HS256"}, [["HS256"]], ["none"]),
        ],
        ids=repr,
    )
    async def test_alg_of_a_wrong_type_is_refused(self, app: Quart, algorithm: Any) -> None:
        await refused(app, with_header(alg=algorithm), NOT_ALLOWED)

    @pytest.mark.parametrize("container", [list, tuple, set, frozenset])
    @pytest.mark.parametrize("algorithm", [["HS256"], {"HS256": 1}, None], ids=repr)
    async def test_alg_of_a_wrong_type_is_refused_whatever_holds_the_allow_list(
        self, container: Any, algorithm: Any
    ) -> None:
        """PyJWT lets a TypeError out for a set and an unhashable ``alg``."""
        app = make_app(JWT_DECODE_ALGORITHMS=container(["HS256", "HS384"]))
        await refused(app, with_header(alg=algorithm), NOT_ALLOWED)

    @pytest.mark.parametrize(
        "algorithm",
        [
            *("hs256", "Hs256", "HS256 ", " HS256", "HS256\0", "HS25", "HS2566", "ＨＳ256"),
            *("HS384", "HS512", "RS256", "ES256", "EdDSA", "HS1024", "MD5", "A128KW", "dir", "x"),
        ],
        ids=ascii,
    )
    async def test_alg_that_is_not_allowed_is_refused(self, app: Quart, algorithm: str) -> None:
        await refused(app, with_header(alg=algorithm), NOT_ALLOWED)

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    async def test_good_signature_of_an_algorithm_that_is_not_allowed_is_refused(
        self, app: Quart, algorithm: str
    ) -> None:
        await refused(app, hs_token(access_claims(), alg=algorithm), NOT_ALLOWED)

    async def test_missing_alg_is_refused(self, app: Quart) -> None:
        await refused(app, with_header(alg=...), "Algorithm not specified")
        await refused(app, hs_token(access_claims(), header={}), "Algorithm not specified")
        await refused(app, with_header(alg=..., ALG="HS256"), "Algorithm not specified")


class TestKeyId:
    """``kid`` is a string (RFC 7515, section 4.1.4), and no path, query or command to us."""

    @pytest.mark.parametrize(
        "kid", [None, True, False, 0, 1, 1.5, 2**70, [], ["a"], {}, {"a": 1}], ids=repr
    )
    async def test_kid_of_a_wrong_type_is_refused(self, app: Quart, kid: Any) -> None:
        await refused(app, with_header(kid=kid), "Key ID header parameter must be a string")

    @pytest.mark.parametrize(
        "kid", ["", "a", "../../dev/null", "' OR 1=1 --", "é", "\ud800", "\0", "k" * 5000]
    )
    async def test_kid_of_any_content_changes_nothing(self, app: Quart, kid: str) -> None:
        await admitted(app, with_header(kid=kid))


ANYTHING = [None, True, 0, 1.5, "", "x", [], ["x"], {}, {"a": {"b": 1}}]


class TestIgnoredParameters:
    """A key or an address of a key inside the token is never used (RFC 8725, section 3.5)."""

    @pytest.mark.parametrize(
        "name", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "typ", "cty", "zip", "enc", "sub"]
    )
    async def test_parameter_of_any_type_changes_nothing(self, app: Quart, name: str) -> None:
        for value in ANYTHING:
            app.calls.clear()
            await admitted(app, with_header(**{name: value}))

    async def test_embedded_secret_does_not_verify(self, app: Quart) -> None:
        secret = "the attacker's own secret, long enough for any of them"
        header = {**HEADER, "jwk": {"kty": "oct", "k": b64url(secret.encode()), "alg": "HS256"}}
        token = hs_token(access_claims(), header=header, secret=secret)
        await refused(app, token, BAD_SIGNATURE)

    @pytest.mark.parametrize("own_kid", [False, True])
    async def test_embedded_public_key_does_not_verify(self, own_kid: bool) -> None:
        key, stranger = private_key("RSA"), private_key("RSA", "stranger")
        app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=public_pem(key))
        jwk = json.loads(public_dresses(stranger)["jwk"])
        header: dict[str, Any] = {"jwk": jwk | ({"kid": "a"} if own_kid else {})}
        if own_kid:
            header["kid"] = "a"
        token = jwt.encode(access_claims(), stranger, "RS256", headers=header)
        await refused(app, token, BAD_SIGNATURE, secrets=(public_pem(key),))

    async def test_embedded_certificate_chain_does_not_verify(self) -> None:
        key, stranger = private_key("RSA"), private_key("RSA", "stranger")
        app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=public_pem(key))
        der = base64.b64encode(public_dresses(stranger)["der"]).decode()
        token = jwt.encode(access_claims(), stranger, "RS256", headers={"x5c": [der]})
        await refused(app, token, BAD_SIGNATURE, secrets=(public_pem(key),))

    @pytest.mark.parametrize("name", ["jku", "x5u"])
    @pytest.mark.parametrize("genuine", [True, False])
    async def test_address_of_a_key_is_not_visited(
        self, app: Quart, name: str, genuine: bool
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            url = f"http://127.0.0.1:{server.getsockname()[1]}/keys.json"
            header = {**HEADER, name: url, "kid": "a"}
            secret = SECRET if genuine else SECRET[::-1]
            token = hs_token(access_claims(), header=header, secret=secret)
            if genuine:
                await admitted(app, token)
            else:
                await refused(app, token, BAD_SIGNATURE)
            with pytest.raises(BlockingIOError):
                server.accept()


class TestSignature:
    """Any change of a token, and any signature that is not the key's, is refused."""

    async def test_stripped_signature_is_refused(self, app: Quart) -> None:
        header, payload, signature = hs_token(access_claims()).split(".")
        await refused(app, f"{header}.{payload}.", BAD_SIGNATURE)
        await refused(app, f"{header}.{payload}", "Not enough segments")
        await refused(app, f"{header}..{signature}", BAD_SIGNATURE)
        await refused(app, f"{header}.{payload}.{signature[:-4]}", None)

    async def test_signature_of_another_token_is_refused(self, app: Quart) -> None:
        header, payload, _ = hs_token(access_claims()).split(".")
        other = hs_token(access_claims(identity="bob")).rpartition(".")[2]
        await refused(app, f"{header}.{payload}.{other}", BAD_SIGNATURE)

    @pytest.mark.parametrize("secret", ["", "secret", SECRET[:-1], SECRET + " ", SECRET.upper()])
    async def test_signature_of_another_secret_is_refused(self, app: Quart, secret: str) -> None:
        await refused(app, hs_token(access_claims(), secret=secret), BAD_SIGNATURE)

    async def test_changed_claims_under_the_old_signature_are_refused(self, app: Quart) -> None:
        header, _, signature = hs_token(access_claims()).split(".")
        payload = json_segment(access_claims(identity="admin", fresh=True))
        await refused(app, f"{header}.{payload}.{signature}", BAD_SIGNATURE)

    @pytest.mark.parametrize("substitute", ["A", "-", "_", ".", "=", " ", ",", "\xe9", "\x7f", '"'])
    async def test_single_changed_byte_is_refused(self, app: Quart, substitute: str) -> None:
        token = hs_token(access_claims())
        client = app.test_client()
        tried = 0
        for position, byte in enumerate(token):
            if byte == substitute:
                continue
            altered = token[:position] + substitute + token[position + 1 :]
            response = await client.get("/protected", headers=bearer(altered))
            assert response.status_code in (401, 422), (position, altered)
            tried += 1
        assert tried > 250
        assert app.calls == []

    @pytest.mark.parametrize("shift", [1, 7, 32])
    async def test_single_exchanged_character_is_refused(self, app: Quart, shift: int) -> None:
        """Every character by another of the alphabet, so that only the check can tell."""
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        token = hs_token(access_claims())
        client = app.test_client()
        for position, byte in enumerate(token):
            if byte == ".":
                continue
            other = alphabet[(alphabet.index(byte) + shift) % 64]
            altered = token[:position] + other + token[position + 1 :]
            response = await client.get("/protected", headers=bearer(altered))
            assert response.status_code == 422, (position, altered)
        assert app.calls == []

    async def test_single_removed_or_doubled_byte_is_refused(self, app: Quart) -> None:
        token = hs_token(access_claims())
        client = app.test_client()
        for position, byte in enumerate(token):
            for altered in (
                token[:position] + token[position + 1 :],
                token[:position] + byte + token[position:],
                token[:position],
            ):
                response = await client.get("/protected", headers=bearer(altered))
                assert response.status_code in (401, 422), (position, altered)
        assert app.calls == []

    async def test_single_flipped_bit_of_an_rsa_token_is_refused(self) -> None:
        key = private_key("RSA")
        app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=public_pem(key))
        token = jwt.encode(access_claims(), key, "RS256")
        await admitted(app, token)
        app.calls.clear()
        client = app.test_client()
        for position in range(len(token)):
            altered = token[:position] + chr(ord(token[position]) ^ 1) + token[position + 1 :]
            response = await client.get("/protected", headers=bearer(altered))
            assert response.status_code == 422, (position, altered)
        assert app.calls == []


class TestKeyConfusion:
    """What verifies signatures must never serve as a secret (CVE-2016-5431 and its kin)."""

    @pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
    @pytest.mark.parametrize("listed", [False, True], ids=["RS-only", "HS-listed"])
    async def test_public_key_as_secret_is_refused(self, kind: str, listed: bool) -> None:
        algorithm = {"RSA": "RS256", "P-256": "ES256", "Ed25519": "EdDSA"}[kind]
        key = private_key(kind)
        app = make_app(
            JWT_SECRET_KEY=None,
            SECRET_KEY="the secret of the sessions, which is no business of tokens",
            JWT_ALGORITHM=algorithm,
            JWT_PUBLIC_KEY=public_pem(key),
            JWT_DECODE_ALGORITHMS=[algorithm, "HS256"] if listed else None,
        )
        for dress in public_dresses(key).values():
            for secret in (dress, dress.strip(), dress + b"\n", dress.replace(b"\n", b"\r\n")):
                token = hs_token(access_claims(), secret=secret)
                await refused(app, token, NOT_ALLOWED, secrets=(public_pem(key),))
        await admitted(app, jwt.encode(access_claims(), key, algorithm))

    async def test_session_secret_is_refused_beside_public_keys(self) -> None:
        """With both families allowed, HS* needs JWT_SECRET_KEY itself."""
        session_secret = "the secret of the sessions, which is no business of tokens"
        app = make_app(
            JWT_SECRET_KEY=None,
            SECRET_KEY=session_secret,
            JWT_ALGORITHM="RS256",
            JWT_PUBLIC_KEY=public_pem(private_key("RSA")),
            JWT_DECODE_ALGORITHMS=["RS256", "HS256"],
        )
        token = hs_token(access_claims(), secret=session_secret)
        await refused(app, token, NOT_ALLOWED, secrets=(session_secret,))


class TestOddHeaderJSON:
    """A header that is odd as JSON gets the answer of the codec, from the request as well."""

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"[]",
            b"null",
            b'"HS256"',
            b"{",
            b"\xef\xbb\xbf" + json.dumps(HEADER).encode(),
            json.dumps(HEADER).encode("utf-16"),
            b'{"alg":"HS256","alg":"none"}',
            b'{"alg":"none","alg":"HS256"}',
            b'{"alg":"HS256","\xff":1}',
            b'{"alg":"HS256","x":' + b"[" * 11_000,
        ],
        ids=lambda raw: ascii(raw[:30]),
    )
    async def test_odd_header_is_refused(self, app: Quart, raw: bytes) -> None:
        message = await refused(app, hs_token(access_claims(), header=raw), None)
        assert message.startswith("Invalid header string: ")

    @pytest.mark.parametrize("name", ["__proto__", "__class__", "constructor", ""])
    async def test_odd_name_changes_nothing(self, app: Quart, name: str) -> None:
        await admitted(app, with_header(**{name: {"alg": "none"}}))


async def test_refused_tokens_and_keys_are_not_logged(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "a secret of nobody, which no log line may show either"
    tokens = [
        hs_token(access_claims(), secret=secret),
        hs_token(access_claims(exp=1)),
        hs_token(access_claims(type="secret-type-of-the-token")),
        hs_token(b"[]"),
        with_header(alg="none"),
        with_header(crit=["exp"]),
        "A" * 20_000,
    ]
    client = app.test_client()
    with caplog.at_level(logging.DEBUG):
        for token in tokens:
            response = await client.get("/protected", headers=bearer(token))
            assert response.status_code in (401, 422)
    for token in tokens:
        for part in (p for p in token.split(".") if len(p) > 7):
            assert part not in caplog.text
    assert SECRET not in caplog.text
    assert "secret-type-of-the-token" not in caplog.text


@pytest.mark.parametrize(
    ("claims", "options"),
    [
        ({"aud": "sentinel-value"}, {}),
        ({"aud": "sentinel-value"}, {"JWT_DECODE_AUDIENCE": "api"}),
        ({"aud": ["sentinel-value", 1]}, {"JWT_DECODE_AUDIENCE": "api"}),
        ({"iss": "sentinel-value"}, {"JWT_DECODE_ISSUER": "issuer"}),
        ({"iss": ["sentinel-value"]}, {"JWT_DECODE_ISSUER": "issuer"}),
        ({"sub": ["sentinel-value"]}, {}),
        ({"jti": ["sentinel-value"]}, {}),
        ({"type": "sentinel-value"}, {}),
        ({"exp": "sentinel-value"}, {}),
        ({"nbf": "sentinel-value"}, {}),
        ({"iat": "sentinel-value"}, {}),
        ({"identity": ..., "other": "sentinel-value"}, {}),
    ],
    ids=repr,
)
async def test_error_shows_no_claim_value(claims: dict[str, Any], options: dict[str, Any]) -> None:
    token = hs_token(access_claims(**claims))
    message = await refused(make_app(**options), token, None)
    assert message
    assert "sentinel" not in message
