"""Every algorithm, in both directions against PyJWT, and the examples of the RFCs."""

from __future__ import annotations

import base64
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import PrivateFormat
from quart import Quart

import quart_jwt_extended as qje
from support import (
    SECRET,
    access_claims,
    b64url,
    bearer,
    claims_of,
    hs_token,
    make_app,
    refresh_claims,
)
from support.signing_keys import (
    DRESSES,
    HMAC_ALGORITHMS,
    SIGNERS,
    Signer,
    dressed,
    private_key,
    private_pem,
    public_pem,
)

each_signer = pytest.mark.parametrize("signer", SIGNERS, ids=str)
each_dress = pytest.mark.parametrize("dress", DRESSES)
each_hmac = pytest.mark.parametrize("algorithm", HMAC_ALGORITHMS)
each_secret = pytest.mark.parametrize("secret", [SECRET, SECRET.encode()], ids=["str", "bytes"])


def signer_app(signer: Signer, dress: str = "object", **options: Any) -> Quart:
    """An application that signs and verifies with one asymmetric algorithm and no secret."""
    key = private_key(signer.kind)
    return make_app(
        **{
            "JWT_SECRET_KEY": None,
            "JWT_ALGORITHM": signer.algorithm,
            "JWT_PRIVATE_KEY": dressed(key, dress, private=True),
            "JWT_PUBLIC_KEY": dressed(key, dress, private=False),
            **options,
        }
    )


def with_signature(token: str, signature: bytes) -> str:
    """The token with another signature."""
    return f"{token.rpartition('.')[0]}.{b64url(signature)}"


def signature_of(token: str) -> bytes:
    """The bytes of a token's signature."""
    return base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")


def b64url_uint(text: str) -> int:
    """A number of a JWK (RFC 7518, section 2, Base64urlUInt)."""
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")


# --- Tokens of PyJWT -----------------------------------------------------------
# A token that PyJWT signs is accepted here.


@each_signer
@each_dress
async def test_asymmetric_token_is_accepted(signer: Signer, dress: str) -> None:
    claims = access_claims(user_claims={"role": "admin"})
    token = jwt.encode(claims, private_key(signer.kind), signer.algorithm)
    app = signer_app(signer, dress, JWT_PRIVATE_KEY=None)
    async with app.app_context():
        assert qje.decode_token(token) == claims


@each_hmac
@each_secret
async def test_hmac_token_is_accepted(algorithm: str, secret: str | bytes) -> None:
    claims = access_claims(user_claims={"role": "admin"})
    token = jwt.encode(claims, secret, algorithm)
    app = make_app(JWT_ALGORITHM=algorithm, JWT_SECRET_KEY=secret)
    async with app.app_context():
        assert qje.decode_token(token) == claims


@each_signer
async def test_asymmetric_token_opens_the_view(signer: Signer) -> None:
    token = jwt.encode(access_claims(), private_key(signer.kind), signer.algorithm)
    app = signer_app(signer, "pem-text")
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 200
    assert (await response.get_json())["identity"] == "alice"


@each_hmac
async def test_hmac_token_opens_the_view(algorithm: str) -> None:
    app = make_app(JWT_ALGORITHM=algorithm)
    token = jwt.encode(access_claims(), SECRET, algorithm)
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 200
    assert (await response.get_json())["identity"] == "alice"


# --- Tokens made here ----------------------------------------------------------
# PyJWT accepts a token that we sign, and finds in it what was put in.


@each_signer
@each_dress
async def test_asymmetric_token_verifies_with_pyjwt(signer: Signer, dress: str) -> None:
    app = signer_app(signer, dress)
    async with app.app_context():
        access = qje.create_access_token("alice", fresh=True, user_claims={"role": "admin"})
        refresh = qje.create_refresh_token("bob")
    public = private_key(signer.kind).public_key()
    claims = claims_of(access, public, algorithm=signer.algorithm)
    assert (claims["identity"], claims["fresh"], claims["type"], claims["user_claims"]) == (
        "alice",
        True,
        "access",
        {"role": "admin"},
    )
    claims = claims_of(refresh, public, algorithm=signer.algorithm)
    assert (claims["identity"], claims["type"]) == ("bob", "refresh")


@each_hmac
@each_secret
async def test_hmac_token_verifies_with_pyjwt(algorithm: str, secret: str | bytes) -> None:
    app = make_app(JWT_ALGORITHM=algorithm, JWT_SECRET_KEY=secret)
    async with app.app_context():
        access = qje.create_access_token("alice")
        refresh = qje.create_refresh_token("bob")
    assert claims_of(access, SECRET, algorithm=algorithm)["identity"] == "alice"
    assert claims_of(refresh, SECRET, algorithm=algorithm)["identity"] == "bob"


@each_signer
async def test_asynchronously_made_token_verifies_with_pyjwt(signer: Signer) -> None:
    app = signer_app(signer)
    async with app.app_context():
        access = await qje.create_access_token_async("alice")
        refresh = await qje.create_refresh_token_async("bob")
    public = private_key(signer.kind).public_key()
    assert claims_of(access, public, algorithm=signer.algorithm)["identity"] == "alice"
    assert claims_of(refresh, public, algorithm=signer.algorithm)["identity"] == "bob"


@pytest.mark.parametrize(
    ("signer", "form"),
    [
        (Signer("RS256", "RSA"), PrivateFormat.TraditionalOpenSSL),
        (Signer("PS512", "RSA"), PrivateFormat.TraditionalOpenSSL),
        (Signer("ES256", "P-256"), PrivateFormat.TraditionalOpenSSL),
        (Signer("ES512", "P-521"), PrivateFormat.TraditionalOpenSSL),
    ],
    ids=lambda value: str(value) if isinstance(value, Signer) else "",
)
async def test_traditional_private_pem_signs(signer: Signer, form: PrivateFormat) -> None:
    """PEM text as older openssl commands write it (PKCS 1, SEC 1) is PEM text too."""
    key = private_key(signer.kind)
    app = signer_app(signer, JWT_PRIVATE_KEY=private_pem(key, form))
    async with app.app_context():
        token = qje.create_access_token("alice")
    claims = claims_of(token, key.public_key(), algorithm=signer.algorithm)
    assert claims["identity"] == "alice"


# --- Bad signatures ------------------------------------------------------------
# A signature by another key, over other bytes, or in another encoding is refused.


REFUSAL = "^Signature verification failed$"


@each_signer
async def test_signature_of_another_key_is_refused(signer: Signer) -> None:
    stranger = private_key(signer.kind, "stranger")
    token = jwt.encode(access_claims(), stranger, signer.algorithm)
    async with signer_app(signer).app_context():
        with pytest.raises(jwt.InvalidSignatureError, match=REFUSAL):
            qje.decode_token(token)


@each_hmac
async def test_signature_of_another_secret_is_refused(algorithm: str) -> None:
    token = jwt.encode(access_claims(), SECRET[::-1], algorithm)
    async with make_app(JWT_ALGORITHM=algorithm).app_context():
        with pytest.raises(jwt.InvalidSignatureError, match=REFUSAL):
            qje.decode_token(token)


@each_signer
@pytest.mark.parametrize("position", [0, 20, -1])
async def test_flipped_bit_in_the_signature_is_refused(signer: Signer, position: int) -> None:
    token = jwt.encode(access_claims(), private_key(signer.kind), signer.algorithm)
    signature = bytearray(signature_of(token))
    signature[position] ^= 1
    async with signer_app(signer).app_context():
        with pytest.raises(jwt.InvalidSignatureError, match=REFUSAL):
            qje.decode_token(with_signature(token, bytes(signature)))


@each_signer
@pytest.mark.parametrize(
    "signature",
    [b"", b"\0", bytes(64), bytes(96), bytes(132), bytes(114), bytes(256), b"\xff" * 256],
    ids=["empty", "one", "64", "96", "132", "114", "256", "256-ones"],
)
async def test_made_up_signature_is_refused(signer: Signer, signature: bytes) -> None:
    """All-zero ECDSA signatures were accepted by some libraries (CVE-2022-21449)."""
    token = jwt.encode(access_claims(), private_key(signer.kind), signer.algorithm)
    async with signer_app(signer).app_context():
        with pytest.raises(jwt.InvalidSignatureError, match=REFUSAL):
            qje.decode_token(with_signature(token, signature))


@each_signer
async def test_longer_or_shorter_signature_is_refused(signer: Signer) -> None:
    token = jwt.encode(access_claims(), private_key(signer.kind), signer.algorithm)
    signature = signature_of(token)
    async with signer_app(signer).app_context():
        assert qje.decode_token(token)["identity"] == "alice"
        for altered in (signature + b"\0", b"\0" + signature, signature[:-1], signature * 2):
            with pytest.raises(jwt.InvalidSignatureError, match=REFUSAL):
                qje.decode_token(with_signature(token, altered))


@pytest.mark.parametrize(
    ("made_with", "labelled"),
    [("PS256", "RS256"), ("RS256", "PS256"), ("RS512", "RS256"), ("RS256", "RS384")],
)
async def test_signature_of_a_sibling_scheme_is_refused(made_with: str, labelled: str) -> None:
    """One RSA key serves all RSA schemes, but each scheme only under its own name."""
    key = private_key("RSA")
    algorithm = jwt.get_algorithm_by_name(made_with)
    genuine = jwt.encode(access_claims(), key, labelled)
    signing_input = genuine.rpartition(".")[0]
    forged = with_signature(genuine, algorithm.sign(signing_input.encode(), key))
    app = signer_app(
        Signer("RS256", "RSA"),
        JWT_DECODE_ALGORITHMS=["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    )
    async with app.app_context():
        assert qje.decode_token(genuine)["identity"] == "alice"
        with pytest.raises(jwt.InvalidSignatureError, match=REFUSAL):
            qje.decode_token(forged)


async def test_ecdsa_signature_in_der_is_refused() -> None:
    """JWS wants R and S side by side, not the ASN.1 of other protocols (RFC 7518, 3.4)."""
    signer = Signer("ES256", "P-256")
    token = jwt.encode(access_claims(), private_key(signer.kind), signer.algorithm)
    raw = signature_of(token)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    async with signer_app(signer).app_context():
        with pytest.raises(jwt.InvalidSignatureError, match=REFUSAL):
            qje.decode_token(with_signature(token, der))


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
async def test_truncated_hmac_is_refused(algorithm: str, size: int) -> None:
    token = hs_token(access_claims(), alg=algorithm)
    signature = signature_of(token)
    assert len(signature) == size
    async with make_app(JWT_ALGORITHM=algorithm).app_context():
        for length in (0, 1, size // 2, size - 1):
            with pytest.raises(jwt.InvalidSignatureError, match=REFUSAL):
                qje.decode_token(with_signature(token, signature[:length]))


RFC7515_CLAIMS = {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
RFC7515_PAYLOAD = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)


def rfc7515_a1() -> tuple[str, str, dict[str, Any]]:
    """Appendix A.1: HMAC SHA-256 with a 512 bit key."""
    key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    return (
        f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC7515_PAYLOAD}"
        ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "HS256",
        {"JWT_SECRET_KEY": base64.urlsafe_b64decode(key + "==")},
    )


def rfc7515_a2() -> tuple[str, str, dict[str, Any]]:
    """Appendix A.2: RSASSA-PKCS1-v1_5 SHA-256 with a 2048 bit key."""
    modulus = b64url_uint(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0"
        "Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXnd"
        "S5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJ"
        "H7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    )
    return (
        f"eyJhbGciOiJSUzI1NiJ9.{RFC7515_PAYLOAD}"
        ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
        "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
        "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
        "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
        "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"
        "p0igcN_IoypGlUPQGe77Rw",
        "RS256",
        {"JWT_PUBLIC_KEY": rsa.RSAPublicNumbers(65537, modulus).public_key()},
    )


def rfc7515_a3() -> tuple[str, str, dict[str, Any]]:
    """Appendix A.3: ECDSA with P-256 and SHA-256."""
    numbers = ec.EllipticCurvePublicNumbers(
        b64url_uint("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
        b64url_uint("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        ec.SECP256R1(),
    )
    return (
        f"eyJhbGciOiJFUzI1NiJ9.{RFC7515_PAYLOAD}"
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        "ES256",
        {"JWT_PUBLIC_KEY": numbers.public_key()},
    )


# --- Examples of therf cs ------------------------------------------------------
# The examples of RFC 7515, appendix A, and of RFC 8037, appendix A.4.


@pytest.mark.parametrize("example", [rfc7515_a1, rfc7515_a2, rfc7515_a3])
async def test_signed_example_is_verified(example: Any) -> None:
    token, algorithm, keys = example()
    options = {"JWT_SECRET_KEY": None, "JWT_ALGORITHM": algorithm, **keys}
    app = make_app(**options, JWT_IDENTITY_CLAIM="http://example.com/is_root")
    async with app.app_context():
        claims = qje.decode_token(token, allow_expired=True)
        assert claims == RFC7515_CLAIMS | {
            "jti": None,
            "type": "access",
            "fresh": False,
            "user_claims": {},
        }
        with pytest.raises(jwt.ExpiredSignatureError, match="^Signature has expired$"):
            qje.decode_token(token)


@pytest.mark.parametrize("example", [rfc7515_a1, rfc7515_a2, rfc7515_a3])
async def test_altered_example_is_refused(example: Any) -> None:
    token, algorithm, keys = example()
    signature = bytearray(signature_of(token))
    signature[5] ^= 0x40
    options = {"JWT_SECRET_KEY": None, "JWT_ALGORITHM": algorithm, **keys}
    app = make_app(**options, JWT_IDENTITY_CLAIM="http://example.com/is_root")
    async with app.app_context():
        with pytest.raises(jwt.InvalidSignatureError):
            qje.decode_token(with_signature(token, bytes(signature)), allow_expired=True)


async def test_eddsa_example_has_a_good_signature() -> None:
    """Its payload is plain text, so the refusal must be about the payload alone."""
    x = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    token = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    app = make_app(
        JWT_SECRET_KEY=None,
        JWT_ALGORITHM="EdDSA",
        JWT_PUBLIC_KEY=ed25519.Ed25519PublicKey.from_public_bytes(x),
    )
    signature = bytearray(signature_of(token))
    signature[0] ^= 1
    async with app.app_context():
        with pytest.raises(jwt.DecodeError, match="^Invalid payload string: ") as caught:
            qje.decode_token(token)
        assert not isinstance(caught.value, jwt.InvalidSignatureError)
        with pytest.raises(jwt.InvalidSignatureError, match="^Signature verification failed$"):
            qje.decode_token(with_signature(token, bytes(signature)))


# --- Headers of new tokens -----------------------------------------------------
# What stands in the header of a token made here.


@pytest.mark.parametrize("algorithm", HMAC_ALGORITHMS)
async def test_header_names_type_and_algorithm(algorithm: str) -> None:
    async with make_app(JWT_ALGORITHM=algorithm).app_context():
        for token in (qje.create_access_token("alice"), qje.create_refresh_token("alice")):
            header = jwt.get_unverified_header(token)
            assert header == {"typ": "JWT", "alg": algorithm}


@each_signer
async def test_asymmetric_header_names_type_and_algorithm(signer: Signer) -> None:
    async with signer_app(signer).app_context():
        header = jwt.get_unverified_header(qje.create_access_token("alice"))
    assert header == {"typ": "JWT", "alg": signer.algorithm}


async def test_kid_chooses_the_key() -> None:
    """Two keys in use at once, told apart by ``kid``: the way to rotate keys."""
    keys = {"old": private_key("RSA", "service"), "new": private_key("RSA", "stranger")}
    app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM="RS256")
    manager = app.extensions["quart-jwt-extended"]

    @manager.decode_key_loader
    def key_for(claims: dict[str, Any], headers: dict[str, Any]) -> str:
        return public_pem(keys[headers["kid"]])

    client = app.test_client()
    for name, key in keys.items():
        token = jwt.encode(access_claims(), key, "RS256", headers={"kid": name})
        response = await client.get("/protected", headers=bearer(token))
        assert response.status_code == 200
        other = next(kid for kid in keys if kid != name)
        token = jwt.encode(access_claims(), key, "RS256", headers={"kid": other})
        response = await client.get("/protected", headers=bearer(token))
        assert response.status_code == 422
        assert await response.get_json() == {"msg": "Signature verification failed"}


@each_signer
async def test_refresh_token_of_pyjwt_opens_the_refresh_view(signer: Signer) -> None:
    token = jwt.encode(refresh_claims(), private_key(signer.kind), signer.algorithm)
    client = signer_app(signer, "pem-bytes").test_client()
    assert (await client.post("/refresh", headers=bearer(token))).status_code == 200
    response = await client.get("/protected", headers=bearer(token))
    assert response.status_code == 422
    assert await response.get_json() == {"msg": "Only access tokens are allowed"}
