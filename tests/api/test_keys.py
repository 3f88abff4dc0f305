"""Which key verifies which token, and what happens when there is none or a wrong one."""

from __future__ import annotations

import traceback
import warnings
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.warnings import InsecureKeyLengthWarning
from quart import Quart

import quart_jwt_extended as qje
from support import OTHER_SECRET, SECRET, access_claims, bearer, hs_token, make_app, manager_of
from support.signing_keys import (
    DRESSES,
    SIGNERS,
    Signer,
    dressed,
    encrypted_pem,
    private_key,
    private_pem,
    public_dresses,
    public_pem,
)

NOT_ALLOWED = "The specified alg value is not allowed"
REFUSALS = (jwt.InvalidTokenError, qje.JWTDecodeError)
"""What ends as 422."""

GARBAGE = "garbage-that-nobody-should-read-in-a-log"
GARBAGE_PEM = f"-----BEGIN PUBLIC KEY-----\n{GARBAGE}\n-----END PUBLIC KEY-----\n"
GARBAGE_PRIVATE_PEM = GARBAGE_PEM.replace("PUBLIC", "PRIVATE")


def rs_token(key: Any = None, **changes: Any) -> str:
    """A good token signed with RS256 by the key of the service."""
    return jwt.encode(access_claims(**changes), key or private_key("RSA"), "RS256")


def rs_app(**options: Any) -> Quart:
    """An application that works with RS256 and has no secret."""
    key = private_key("RSA")
    return make_app(
        **{
            "JWT_SECRET_KEY": None,
            "JWT_ALGORITHM": "RS256",
            "JWT_PRIVATE_KEY": private_pem(key),
            "JWT_PUBLIC_KEY": public_pem(key),
            **options,
        }
    )


async def accepted(app: Quart, token: str) -> None:
    """decode_token and a request accept the token."""
    async with app.app_context():
        assert qje.decode_token(token)["identity"] == "alice"
        assert (await qje.decode_token_async(token))["identity"] == "alice"
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 200


async def refused(app: Quart, token: str, message: str | None = None) -> None:
    """decode_token and a request refuse the token, and no view runs."""
    calls = list(app.calls)
    async with app.app_context():
        with pytest.raises(REFUSALS) as caught:
            qje.decode_token(token)
        with pytest.raises(REFUSALS):
            await qje.decode_token_async(token)
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 422
    assert app.calls == calls
    if message is not None:
        assert str(caught.value) == message
        assert await response.get_json() == {"msg": message}


# --- Mixed families ------------------------------------------------------------
# An allow-list that spans both families: each key serves its own.


@pytest.mark.parametrize("signing", ["HS256", "RS256"])
async def test_each_family_is_verified_with_its_own_key(signing: str) -> None:
    app = rs_app(
        JWT_SECRET_KEY=SECRET, JWT_ALGORITHM=signing, JWT_DECODE_ALGORITHMS=["HS256", "RS256"]
    )
    await accepted(app, hs_token(access_claims()))
    await accepted(app, rs_token())
    await refused(app, hs_token(access_claims(), secret=OTHER_SECRET))
    await refused(app, rs_token(private_key("RSA", "stranger")))


@pytest.mark.parametrize("signing", ["HS256", "RS256"])
async def test_signing_algorithm_is_allowed_though_not_listed(signing: str) -> None:
    """The way from HS256 to RS256 without logging anyone out, and back."""
    other = {"HS256": "RS256", "RS256": "HS256"}[signing]
    app = rs_app(JWT_SECRET_KEY=SECRET, JWT_ALGORITHM=signing, JWT_DECODE_ALGORITHMS=[other])
    await accepted(app, hs_token(access_claims()))
    await accepted(app, rs_token())
    async with app.app_context():
        assert jwt.get_unverified_header(qje.create_access_token("a"))["alg"] == signing


@pytest.mark.parametrize("secret", [None, ""])
async def test_secret_of_the_application_is_no_fallback_here(secret: str | None) -> None:
    app = rs_app(JWT_SECRET_KEY=secret, SECRET_KEY=SECRET, JWT_DECODE_ALGORITHMS=["HS256", "RS256"])
    await refused(app, hs_token(access_claims()), NOT_ALLOWED)
    await accepted(app, rs_token())


async def test_secret_of_the_application_is_the_fallback_for_hmac_alone() -> None:
    app = make_app(JWT_SECRET_KEY=None, SECRET_KEY=SECRET)
    await accepted(app, hs_token(access_claims()))
    app.config["JWT_DECODE_ALGORITHMS"] = ["HS256", "HS512"]
    await accepted(app, hs_token(access_claims(), alg="HS512"))


async def test_explicit_secret_wins_over_that_of_the_application() -> None:
    app = make_app(SECRET_KEY=OTHER_SECRET)
    await accepted(app, hs_token(access_claims()))
    await refused(app, hs_token(access_claims(), secret=OTHER_SECRET))


@pytest.mark.parametrize("public", [None, ""])
async def test_family_without_a_public_key_is_not_allowed(public: str | None) -> None:
    app = make_app(JWT_PUBLIC_KEY=public, JWT_DECODE_ALGORITHMS=["RS256", "HS256"])
    await refused(app, rs_token(), NOT_ALLOWED)
    await accepted(app, hs_token(access_claims()))


async def test_family_without_a_secret_is_not_allowed() -> None:
    app = rs_app(JWT_DECODE_ALGORITHMS=["RS256", "HS256"])
    for dress in public_dresses(private_key("RSA")).values():
        await refused(app, hs_token(access_claims(), secret=dress), NOT_ALLOWED)
    await refused(app, hs_token(access_claims(), secret=""), NOT_ALLOWED)
    await accepted(app, rs_token())


async def test_public_key_does_not_verify_hmac_beside_a_secret() -> None:
    app = rs_app(JWT_SECRET_KEY=SECRET, JWT_DECODE_ALGORITHMS=["RS256", "HS256"])
    for dress in public_dresses(private_key("RSA")).values():
        await refused(
            app,
            hs_token(access_claims(), secret=dress),
            "Signature verification failed",
        )


async def test_all_families_of_public_keys_share_one_option() -> None:
    """An RSA key has no use for ES256: such a token is refused, it is no server error."""
    app = rs_app(JWT_DECODE_ALGORITHMS=["RS256", "PS256"])
    await accepted(app, jwt.encode(access_claims(), private_key("RSA"), "PS256"))
    await refused(app, jwt.encode(access_claims(), private_key("P-256"), "ES256"), NOT_ALLOWED)


@pytest.mark.parametrize("public", [GARBAGE, GARBAGE_PEM, 12345], ids=["text", "pem", "int"])
async def test_unusable_key_of_the_own_algorithm_is_a_misconfiguration(public: Any) -> None:
    """Not the token is at fault; a 422 would log everybody out without telling the operator."""
    app = rs_app(JWT_PUBLIC_KEY=public, JWT_SECRET_KEY=SECRET, JWT_DECODE_ALGORITHMS=["HS256"])
    await accepted(app, hs_token(access_claims()))
    async with app.app_context():
        with pytest.raises(RuntimeError, match="JWT_PUBLIC_KEY"):
            qje.decode_token(rs_token())


async def test_public_key_as_explicit_secret_verifies_no_hmac() -> None:
    for dress in public_dresses(private_key("RSA")).values():
        app = rs_app(JWT_SECRET_KEY=dress, JWT_DECODE_ALGORITHMS=["HS256"])
        token = hs_token(access_claims(), secret=dress)
        async with app.app_context():
            with pytest.raises((RuntimeError, *REFUSALS)):
                qje.decode_token(token)
            assert qje.decode_token(rs_token())["identity"] == "alice"


async def test_none_in_the_allow_list_verifies_nothing() -> None:
    token = jwt.encode(access_claims(), None, algorithm="none")
    with pytest.raises((RuntimeError, *REFUSALS)):
        await accepted(make_app(JWT_DECODE_ALGORITHMS=["HS256", "none"]), token)


# --- Public key as secret ------------------------------------------------------
# A public key configured or returned as an HMAC secret would make forging easy.


@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
async def test_public_key_in_jwt_secret_key_is_a_misconfiguration(kind: str) -> None:
    for name, dress in public_dresses(private_key(kind)).items():
        app = make_app(JWT_SECRET_KEY=dress)
        async with app.app_context():
            for use in (
                lambda: qje.create_access_token("alice"),
                lambda key=dress: qje.decode_token(hs_token(access_claims(), secret=key)),
            ):
                with pytest.raises(RuntimeError, match="JWT_SECRET_KEY"):
                    use()
        assert app.calls == [], name


async def test_certificate_text_in_jwt_secret_key_is_a_misconfiguration() -> None:
    text = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    async with make_app(JWT_SECRET_KEY=text).app_context():
        with pytest.raises(RuntimeError, match="JWT_SECRET_KEY"):
            qje.create_access_token("alice")


@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
@pytest.mark.parametrize("as_text", [False, True], ids=["bytes", "str"])
async def test_public_key_from_a_loader_verifies_no_hmac(kind: str, as_text: bool) -> None:
    algorithm = {"RSA": "RS256", "P-256": "ES256", "Ed25519": "EdDSA"}[kind]
    app = rs_app(JWT_ALGORITHM=algorithm, JWT_DECODE_ALGORITHMS=[algorithm, "HS256"])
    key: dict[str, Any] = {}
    manager_of(app).decode_key_loader(lambda claims, headers: key["is"])
    for name, dress in public_dresses(private_key(kind)).items():
        if name == "der":
            secrets = [] if as_text else [dress]
        else:
            secrets = [dress, dress.strip(), dress + b"\n", dress.replace(b"\n", b"\r\n")]
        for secret in secrets:
            key["is"] = secret.decode() if as_text else secret
            await refused(app, hs_token(access_claims(), secret=secret))
    key["is"] = public_pem(private_key(kind))
    await accepted(app, jwt.encode(access_claims(), private_key(kind), algorithm))


@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
async def test_private_key_from_a_loader_verifies_no_hmac(kind: str) -> None:
    algorithm = {"RSA": "RS256", "P-256": "ES256", "Ed25519": "EdDSA"}[kind]
    app = rs_app(JWT_ALGORITHM=algorithm, JWT_DECODE_ALGORITHMS=[algorithm, "HS256"])
    pem = private_pem(private_key(kind))
    manager_of(app).decode_key_loader(lambda claims, headers: pem)
    await refused(app, hs_token(access_claims(), secret=pem))


# --- Decode key loader ---------------------------------------------------------
# The key that a loader chooses for a token is bound to its own family.


def app_with(key: Any, **options: Any) -> Quart:
    app = rs_app(
        **{
            "JWT_SECRET_KEY": SECRET,
            "JWT_DECODE_ALGORITHMS": ["HS256", "RS256", "ES256", "EdDSA"],
            **options,
        }
    )
    manager_of(app).decode_key_loader(lambda claims, headers: key)
    return app


@pytest.mark.parametrize("signer", SIGNERS, ids=str)
@pytest.mark.parametrize("dress", DRESSES)
async def test_key_of_the_right_family_verifies(signer: Signer, dress: str) -> None:
    key = private_key(signer.kind, "tenant")
    app = app_with(dressed(key, dress, private=False), JWT_DECODE_ALGORITHMS=[signer.algorithm])
    await accepted(app, jwt.encode(access_claims(), key, signer.algorithm))


@pytest.mark.parametrize("secret", [OTHER_SECRET, OTHER_SECRET.encode()], ids=["str", "bytes"])
async def test_secret_verifies_hmac_alone(secret: Any) -> None:
    app = app_with(secret)
    await accepted(app, hs_token(access_claims(), secret=OTHER_SECRET))
    await refused(app, hs_token(access_claims()), "Signature verification failed")
    await refused(app, rs_token())
    await refused(app, jwt.encode(access_claims(), private_key("P-256"), "ES256"))
    await refused(app, jwt.encode(access_claims(), private_key("Ed25519"), "EdDSA"))


@pytest.mark.parametrize("dress", DRESSES)
async def test_public_key_does_not_verify_other_families(dress: str) -> None:
    app = app_with(dressed(private_key("RSA"), dress, private=False))
    await accepted(app, rs_token())
    await refused(app, hs_token(access_claims()))
    await refused(app, jwt.encode(access_claims(), private_key("P-256"), "ES256"))
    await refused(app, jwt.encode(access_claims(), private_key("Ed25519"), "EdDSA"))


async def test_key_on_another_curve_is_refused() -> None:
    app = app_with(public_pem(private_key("P-384")), JWT_DECODE_ALGORITHMS=["ES256"])
    await refused(app, jwt.encode(access_claims(), private_key("P-256"), "ES256"))


@pytest.mark.parametrize(
    "key",
    [
        *(None, "", b"", " ", b"\t\n", 0, 1, True, False, 1.5, [], [SECRET], {}, {"k": SECRET}),
        *(object(), (), bytearray(), memoryview(b""), "\ud800" * 40),
    ],
    ids=lambda key: f"{type(key).__name__}-{str(key)[:6]!a}",
)
@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256", "EdDSA"])
async def test_empty_or_wrong_key_verifies_nothing(key: Any, algorithm: str) -> None:
    """Nothing falls back to the configured keys, which would verify these tokens."""
    app = app_with(key)
    kind = {"RS256": "RSA", "ES256": "P-256", "EdDSA": "Ed25519"}
    if algorithm == "HS256":
        tokens = [hs_token(access_claims()), hs_token(access_claims(), secret="")]
    else:
        tokens = [jwt.encode(access_claims(), private_key(kind[algorithm]), algorithm)]
    for token in tokens:
        await refused(app, token)


async def test_empty_or_wrong_key_from_an_async_loader_verifies_nothing() -> None:
    for key in (None, "", b"", 5, object()):
        app = make_app()

        async def load(claims: Any, headers: Any, key: Any = key) -> Any:
            return key

        manager_of(app).decode_key_loader(load)
        for token in (hs_token(access_claims()), hs_token(access_claims(), secret="")):
            response = await app.test_client().get("/protected", headers=bearer(token))
            assert response.status_code == 422
            assert app.calls == []


@pytest.mark.parametrize(
    "key", ["not a key", b"\xff\xfe", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY"]
)
@pytest.mark.parametrize("signer", [Signer("RS256", "RSA"), Signer("ES256", "P-256")], ids=str)
async def test_garbage_key_is_refused_without_showing_it(signer: Signer, key: Any) -> None:
    app = app_with(key)
    token = jwt.encode(access_claims(), private_key(signer.kind), signer.algorithm)
    await refused(app, token)
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert "MIIB" not in (await response.get_data()).decode()
    assert "not a key" not in (await response.get_data()).decode()


async def test_loader_is_not_asked_for_an_algorithm_that_is_not_allowed() -> None:
    asked: list[Any] = []
    app = make_app()
    manager_of(app).decode_key_loader(lambda claims, headers: asked.append(1) or SECRET)
    await refused(app, hs_token(access_claims(), header={"alg": "none"}), NOT_ALLOWED)
    await refused(app, hs_token(access_claims(), alg="HS384"), NOT_ALLOWED)
    await accepted(app, hs_token(access_claims()))


async def test_many_keys_are_told_apart() -> None:
    """More keys than any cache of prepared ones holds."""
    app = make_app()
    manager_of(app).decode_key_loader(
        lambda claims, headers: f"secret of tenant {headers['kid']}, padded to be long enough"
    )
    async with app.app_context():
        for number in [*range(300), *range(0, 300, 7)]:
            secret = f"secret of tenant {number}, padded to be long enough"
            header = {"alg": "HS256", "kid": str(number)}
            token = hs_token(access_claims(), header=header, secret=secret)
            assert qje.decode_token(token)["identity"] == "alice"
            header["kid"] = str((number + 1) % 300)
            token = hs_token(access_claims(), header=header, secret=secret)
            with pytest.raises(jwt.InvalidSignatureError):
                qje.decode_token(token)


# --- Encode key loader ---------------------------------------------------------
# A key that cannot sign is a fault of the application, whoever returned it.


@pytest.mark.parametrize("key", [None, "", b"", 5, ..., []], ids=ascii)
@pytest.mark.parametrize("make", ["create_access_token", "create_refresh_token"])
async def test_unusable_secret_raises(app: Quart, key: Any, make: str) -> None:
    manager_of(app).encode_key_loader(lambda identity: key)
    async with app.app_context():
        with pytest.raises(RuntimeError):
            getattr(qje, make)("alice")
        with pytest.raises(RuntimeError):
            await getattr(qje, f"{make}_async")("alice")


@pytest.mark.parametrize("key", [None, "", "secret", 5, "public"], ids=ascii)
async def test_unusable_private_key_raises(key: Any) -> None:
    app = rs_app()
    value = public_pem(private_key("RSA")) if key == "public" else key
    manager_of(app).encode_key_loader(lambda identity: value)
    async with app.app_context():
        with pytest.raises(RuntimeError):
            qje.create_access_token("alice")


async def test_key_is_chosen_by_identity(app: Quart) -> None:
    manager_of(app).encode_key_loader(lambda identity: f"{identity} {OTHER_SECRET}")
    async with app.app_context():
        for name in ("alice", "bob", "alice"):
            token = qje.create_access_token(name)
            claims = jwt.decode(token, f"{name} {OTHER_SECRET}", algorithms=["HS256"])
            assert claims["identity"] == name


def misconfigured(**options: Any) -> dict[str, Any]:
    """Options without any key, and what a case adds."""
    return {"JWT_SECRET_KEY": None, **options}


RS = {"JWT_ALGORITHM": "RS256"}
ES = {"JWT_ALGORITHM": "ES256"}
ED = {"JWT_ALGORITHM": "EdDSA"}


def unusable_verification_keys() -> list[Any]:
    """Cases of (options, option to be named, algorithm and kind of a fitting token)."""
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "no-secret": ({}, "JWT_SECRET_KEY"),
        "empty-secret": ({"JWT_SECRET_KEY": "", "SECRET_KEY": ""}, "JWT_SECRET_KEY"),
        "int-secret": ({"JWT_SECRET_KEY": 12345678901234567890}, "JWT_SECRET_KEY"),
        "list-secret": ({"JWT_SECRET_KEY": [SECRET]}, "JWT_SECRET_KEY"),
        "pem-secret": ({"JWT_SECRET_KEY": GARBAGE_PEM}, "JWT_SECRET_KEY"),
        "no-public-rs": (RS, "JWT_PUBLIC_KEY"),
        "no-public-es": (ES, "JWT_PUBLIC_KEY"),
        "no-public-ed": (ED, "JWT_PUBLIC_KEY"),
        "empty-public": ({**RS, "JWT_PUBLIC_KEY": ""}, "JWT_PUBLIC_KEY"),
        "int-public": ({**RS, "JWT_PUBLIC_KEY": 12345}, "JWT_PUBLIC_KEY"),
        "list-public": ({**ES, "JWT_PUBLIC_KEY": [GARBAGE]}, "JWT_PUBLIC_KEY"),
        "object-public": ({**ED, "JWT_PUBLIC_KEY": object()}, "JWT_PUBLIC_KEY"),
    }
    for name, family in (("rs", RS), ("es", ES), ("ed", ED)):
        cases[f"garbage-{name}"] = ({**family, "JWT_PUBLIC_KEY": GARBAGE}, "JWT_PUBLIC_KEY")
        cases[f"garbage-bytes-{name}"] = (
            {**family, "JWT_PUBLIC_KEY": b"\xff" + GARBAGE.encode()},
            "JWT_PUBLIC_KEY",
        )
        cases[f"garbage-pem-{name}"] = (
            {**family, "JWT_PUBLIC_KEY": GARBAGE_PEM},
            "JWT_PUBLIC_KEY",
        )
    return [pytest.param(options, named, id=name) for name, (options, named) in cases.items()]


WRONG_KINDS = [
    ("RS256", "RSA", "P-256"),
    ("RS256", "RSA", "Ed25519"),
    ("PS256", "RSA", "P-256"),
    ("ES256", "P-256", "RSA"),
    ("ES256", "P-256", "P-384"),
    ("ES256", "P-256", "secp256k1"),
    ("ES256K", "secp256k1", "P-256"),
    ("ES512", "P-521", "P-256"),
    ("EdDSA", "Ed25519", "RSA"),
    ("EdDSA", "Ed25519", "P-256"),
]
KIND_OF = {"HS256": None, "RS256": "RSA", "ES256": "P-256", "EdDSA": "Ed25519"}


def shows_nothing(error: BaseException, *secrets: str) -> None:
    """The traceback that the operator finds in the log shows no secret, in no line of any cause."""
    text = "".join(traceback.format_exception(error))
    assert str(error) in text
    for secret in secrets:
        for line in (line for line in secret.split("\n") if not line.startswith("-----")):
            assert len(line) < 12 or line not in text


# --- Misconfiguration ----------------------------------------------------------
# No key or a wrong one is a RuntimeError that names the option and shows no secret.


@pytest.mark.parametrize(("options", "named"), unusable_verification_keys())
async def test_unusable_key_to_verify_with_is_named(options: dict[str, Any], named: str) -> None:
    app = make_app(**misconfigured(**options))
    algorithm = options.get("JWT_ALGORITHM", "HS256")
    kind = KIND_OF[algorithm]
    token = (
        hs_token(access_claims())
        if kind is None
        else jwt.encode(access_claims(), private_key(kind), algorithm)
    )
    async with app.app_context():
        with pytest.raises(RuntimeError, match=named) as caught:
            qje.decode_token(token)
        with pytest.raises(RuntimeError, match=named):
            await qje.decode_token_async(token)
    shows_nothing(caught.value, SECRET, GARBAGE, token)


@pytest.mark.parametrize(("algorithm", "kind", "wrong"), WRONG_KINDS)
@pytest.mark.parametrize("dress", DRESSES)
async def test_public_key_of_a_wrong_kind_is_named(
    algorithm: str, kind: str, wrong: str, dress: str
) -> None:
    public = dressed(private_key(wrong), dress, private=False)
    app = make_app(**misconfigured(JWT_ALGORITHM=algorithm, JWT_PUBLIC_KEY=public))
    async with app.app_context():
        with pytest.raises(RuntimeError, match="JWT_PUBLIC_KEY") as caught:
            qje.decode_token(jwt.encode(access_claims(), private_key(kind), algorithm))
    shows_nothing(caught.value, public_pem(private_key(wrong)))


@pytest.mark.parametrize(("algorithm", "kind", "wrong"), WRONG_KINDS)
@pytest.mark.parametrize("dress", DRESSES)
async def test_private_key_of_a_wrong_kind_is_named(
    algorithm: str, kind: str, wrong: str, dress: str
) -> None:
    private = dressed(private_key(wrong), dress, private=True)
    app = make_app(**misconfigured(JWT_ALGORITHM=algorithm, JWT_PRIVATE_KEY=private))
    async with app.app_context():
        with pytest.raises(RuntimeError, match="JWT_PRIVATE_KEY") as caught:
            qje.create_access_token("alice")
    shows_nothing(caught.value, private_pem(private_key(wrong)))


@pytest.mark.parametrize("dress", DRESSES)
async def test_rsa_private_key_to_verify_with_is_named(dress: str) -> None:
    key = private_key("RSA")
    app = rs_app(JWT_PUBLIC_KEY=dressed(key, dress, private=True))
    async with app.app_context():
        with pytest.raises(RuntimeError, match="JWT_PUBLIC_KEY") as caught:
            qje.decode_token(rs_token())
    shows_nothing(caught.value, private_pem(key))


@pytest.mark.parametrize("signer", SIGNERS, ids=str)
@pytest.mark.parametrize("dress", DRESSES)
async def test_public_key_to_sign_with_is_named(signer: Signer, dress: str) -> None:
    key = private_key(signer.kind)
    app = make_app(
        **misconfigured(
            JWT_ALGORITHM=signer.algorithm,
            JWT_PRIVATE_KEY=dressed(key, dress, private=False),
            JWT_PUBLIC_KEY=dressed(key, dress, private=False),
        )
    )
    async with app.app_context():
        with pytest.raises(RuntimeError, match="JWT_PRIVATE_KEY") as caught:
            qje.create_access_token("alice")
    shows_nothing(caught.value, public_pem(key))


@pytest.mark.parametrize(
    ("value", "algorithm"),
    [
        *((None, "HS256"), (12345, "HS256"), (GARBAGE_PRIVATE_PEM, "HS256")),
        *((None, "RS256"), (None, "ES256"), (None, "EdDSA"), ("", "RS256"), (12345, "RS256")),
        *((GARBAGE, "RS256"), (GARBAGE, "ES256"), (GARBAGE, "EdDSA")),
        *((GARBAGE.encode(), "RS256"), ([GARBAGE], "ES256")),
        *((GARBAGE_PRIVATE_PEM, "RS256"), (GARBAGE_PRIVATE_PEM, "ES256")),
        (GARBAGE_PRIVATE_PEM, "EdDSA"),
    ],
    ids=lambda value: ascii(value)[:20],
)
async def test_unusable_key_to_sign_with_is_named(value: Any, algorithm: str) -> None:
    named = "JWT_SECRET_KEY" if algorithm == "HS256" else "JWT_PRIVATE_KEY"
    app = make_app(**misconfigured(JWT_ALGORITHM=algorithm, **{named: value}))
    async with app.app_context():
        with pytest.raises(RuntimeError, match=named) as caught:
            qje.create_access_token("alice")
        with pytest.raises(RuntimeError, match=named):
            await qje.create_refresh_token_async("alice")
    shows_nothing(caught.value, GARBAGE)


async def test_encrypted_private_key_is_named() -> None:
    pem = encrypted_pem(private_key("P-256"), b"the password of the key")
    app = make_app(**misconfigured(**ES, JWT_PRIVATE_KEY=pem))
    async with app.app_context():
        with pytest.raises(RuntimeError, match="JWT_PRIVATE_KEY") as caught:
            qje.create_access_token("alice")
    shows_nothing(caught.value, pem)


async def test_missing_secret_fails_the_request_before_the_view() -> None:
    app = make_app(**misconfigured(PROPAGATE_EXCEPTIONS=False))
    response = await app.test_client().get("/protected", headers=bearer(hs_token(access_claims())))
    assert response.status_code == 500
    assert SECRET not in (await response.get_data()).decode()
    assert app.calls == []


async def test_missing_key_is_no_matter_to_an_anonymous_request() -> None:
    app = make_app(**misconfigured())
    client = app.test_client()
    response = await client.get("/protected")
    assert response.status_code == 401
    assert (await client.get("/optional")).status_code == 200


# --- Changed keys --------------------------------------------------------------
# A key changed in ``app.config`` counts from the next token on.


@pytest.mark.parametrize("dress", DRESSES)
async def test_changed_key_pair_takes_effect_at_once(dress: str) -> None:
    keys = [private_key("RSA"), private_key("RSA", "stranger")]
    app = rs_app()
    for key, other in (keys, keys[::-1], keys):
        app.config["JWT_PUBLIC_KEY"] = dressed(key, dress, private=False)
        app.config["JWT_PRIVATE_KEY"] = dressed(key, dress, private=True)
        await accepted(app, rs_token(key))
        await refused(app, rs_token(other), "Signature verification failed")
        async with app.app_context():
            token = qje.create_access_token("alice")
        jwt.decode(token, key.public_key(), algorithms=["RS256"])


async def test_changed_algorithm_takes_effect_at_once() -> None:
    app = rs_app(JWT_SECRET_KEY=SECRET)
    for algorithm in ("RS256", "HS256", "PS256", "HS512", "RS256"):
        app.config["JWT_ALGORITHM"] = algorithm
        async with app.app_context():
            token = qje.create_access_token("alice")
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        await accepted(app, token)
        other = hs_token(access_claims()) if algorithm != "HS256" else rs_token()
        await refused(app, other, NOT_ALLOWED)


async def test_removed_key_takes_effect_at_once() -> None:
    app = rs_app()
    await accepted(app, rs_token())
    app.config["JWT_PUBLIC_KEY"] = None
    async with app.app_context():
        with pytest.raises(RuntimeError, match="JWT_PUBLIC_KEY"):
            qje.decode_token(rs_token())


async def test_signature_cache_forgets_with_the_key() -> None:
    app = rs_app(JWT_SIGNATURE_CACHE_SIZE=100)
    token = rs_token()
    for _ in range(3):
        await accepted(app, token)
    app.config["JWT_PUBLIC_KEY"] = public_pem(private_key("RSA", "stranger"))
    await refused(app, token, "Signature verification failed")
    app.config["JWT_PUBLIC_KEY"] = public_pem(private_key("RSA"))
    await accepted(app, token)


@pytest.mark.parametrize("signer", SIGNERS, ids=str)
async def test_signature_cache_remembers_whole_tokens_alone(signer: Signer) -> None:
    """A known header and payload do not vouch for another signature, and time goes on."""
    key = private_key(signer.kind)
    app = make_app(
        JWT_SECRET_KEY=None,
        JWT_ALGORITHM=signer.algorithm,
        JWT_PUBLIC_KEY=public_pem(key),
        JWT_SIGNATURE_CACHE_SIZE=2,
    )
    token = jwt.encode(access_claims(), key, signer.algorithm)
    signing_input, _, signature = token.rpartition(".")
    forged = f"{signing_input}.{signature[:-6]}{'AAAA' + signature[-2:]}"
    assert forged != token
    for _ in range(2):
        await accepted(app, token)
        await refused(app, forged, "Signature verification failed")
    expired = jwt.encode(access_claims(exp=1), key, signer.algorithm)
    async with app.app_context():
        for _ in range(3):
            with pytest.raises(jwt.ExpiredSignatureError):
                qje.decode_token(expired)
    for number in range(5):
        await accepted(app, jwt.encode(access_claims(n=number), key, signer.algorithm))
    await accepted(app, token)


async def test_two_applications_keep_their_keys_apart() -> None:
    first, second = make_app(), make_app(JWT_SECRET_KEY=OTHER_SECRET)
    for _ in range(2):
        await accepted(first, hs_token(access_claims()))
        await refused(second, hs_token(access_claims()))
        await accepted(second, hs_token(access_claims(), secret=OTHER_SECRET))
        await refused(first, hs_token(access_claims(), secret=OTHER_SECRET))


# --- Short keys ----------------------------------------------------------------
# PyJWT warns of a key below the strength of its algorithm; once is enough.


def recorded(action: Any) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(5):
            action()
    return [w for w in caught if issubclass(w.category, InsecureKeyLengthWarning)]


@pytest.mark.parametrize(("algorithm", "length"), [("HS256", 31), ("HS384", 47), ("HS512", 63)])
async def test_short_secret_warns_once_when_verifying(algorithm: str, length: int) -> None:
    secret = f"v{algorithm}".ljust(length, "v")
    app = make_app(JWT_SECRET_KEY=secret, JWT_ALGORITHM=algorithm)
    token = hs_token(access_claims(), alg=algorithm, secret=secret)
    async with app.app_context():
        caught = recorded(lambda: qje.decode_token(token))
    assert len(caught) == 1
    assert secret not in str(caught[0].message)


async def test_short_secret_warns_once_when_signing() -> None:
    app = make_app(JWT_SECRET_KEY="s" * 20)
    async with app.app_context():
        assert len(recorded(lambda: qje.create_access_token("alice"))) == 1


async def test_short_rsa_key_warns_once() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=public_pem(key))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        token = rs_token(key)
    async with app.app_context():
        assert len(recorded(lambda: qje.decode_token(token))) == 1


@pytest.mark.parametrize(("algorithm", "length"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
async def test_secret_of_full_length_does_not_warn(algorithm: str, length: int) -> None:
    secret = f"f{algorithm}".ljust(length, "f")
    app = make_app(JWT_SECRET_KEY=secret, JWT_ALGORITHM=algorithm)
    token = hs_token(access_claims(), alg=algorithm, secret=secret)
    async with app.app_context():
        assert recorded(lambda: qje.decode_token(token)) == []
        assert recorded(lambda: qje.create_access_token("alice")) == []


# --- PyJWK ---------------------------------------------------------------------
# A PyJWK from a loader, which is what ``jwt.PyJWKClient`` gives.


async def test_jwk_verifies_tokens_of_its_own_algorithm_only() -> None:
    jwk = jwt.PyJWK.from_dict({"kty": "oct", "k": "c2VjcmV0" * 12, "alg": "HS512"})
    app = make_app(JWT_DECODE_ALGORITHMS=["HS256", "HS512"])
    manager_of(app).decode_key_loader(lambda claims, headers: jwk)
    await accepted(app, hs_token(access_claims(), secret=b"secret" * 12, alg="HS512"))
    await refused(
        app,
        hs_token(access_claims(), secret=b"secret" * 12),
        "Token algorithm 'HS256' does not match the key's algorithm 'HS512'",
    )


async def test_more_keys_than_the_cache_holds_still_verify() -> None:
    """The first ones leave the cache and are prepared again."""
    app = make_app()
    manager_of(app).decode_key_loader(lambda claims, headers: f"{claims['identity']:04d}" + SECRET)
    async with app.app_context():
        for number in [*range(1100), 0, 1]:
            token = hs_token(access_claims(identity=number), secret=f"{number:04d}" + SECRET)
            assert qje.decode_token(token)["identity"] == number
