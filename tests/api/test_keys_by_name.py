"""Keys by name: which key of JWT_KEYS signs, which one verifies, and what others get to see."""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
import time
from collections import OrderedDict
from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.warnings import InsecureKeyLengthWarning
from quart import Quart

import quart_jwt_extended as qje
from support import (
    HASHES,
    OTHER_SECRET,
    SECRET,
    access_claims,
    b64url,
    bearer,
    claims_of,
    hs_token,
    json_segment,
    make_app,
    manager_of,
)
from support.signing_keys import (
    HMAC_ALGORITHMS,
    SIGNERS,
    Signer,
    certificate,
    encrypted_pem,
    every_dress,
    private_key,
    private_pem,
    public_pem,
)

NOW = 1_700_000_000
THIRD_SECRET = "the third secret of this file, which differs from both of the others, 1357924680"
UNKNOWN = "The key ID is not one of JWT_KEYS"
NOT_ALLOWED = "The specified alg value is not allowed"
WITHOUT_NAME = "The token has no key ID, but one of JWT_KEYS is required"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The time, stopped; call it to set another one."""
    moment = [float(NOW)]
    monkeypatch.setattr(time, "time", lambda: moment[0])

    def set_clock(seconds: float) -> None:
        moment[0] = float(seconds)

    return set_clock


def ring_app(keys: Any, **options: Any) -> Quart:
    """An application with keys by name, and no other."""
    return make_app(**{"JWT_SECRET_KEY": None, "JWT_KEYS": keys, **options})


def to_jwk(key: Any, **members: Any) -> dict[str, Any]:
    """The JWK of a private or public key, made by PyJWT."""
    for algorithm in (RSAAlgorithm, ECAlgorithm, OKPAlgorithm):
        try:
            numbers = algorithm.to_jwk(key, as_dict=True)
        except (jwt.InvalidKeyError, AttributeError, TypeError):
            continue
        return {**{k: v for k, v in numbers.items() if k != "key_ops"}, **members}
    raise AssertionError(key)


def oct_jwk(secret: str, **members: Any) -> dict[str, Any]:
    return {"kty": "oct", "k": b64url(secret.encode()), **members}


def named(kid: Any, *, secret: str | bytes = SECRET, alg: str = "HS256", **claims: Any) -> str:
    """A token of HMAC that names a key."""
    header = {"alg": alg, "kid": kid, "typ": "JWT"}
    return hs_token(access_claims(exp=NOW + 900, **claims), secret=secret, alg=alg, header=header)


def signed(kid: str | None, key: Any, algorithm: str, **claims: Any) -> str:
    """A token that PyJWT signs."""
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(access_claims(exp=NOW + 900, **claims), key, algorithm, headers=headers)


def verified(token: str, key: Any, *, algorithm: str = "HS256") -> dict[str, Any]:
    """The claims of a token whose signature PyJWT has verified; its clock goes on."""
    return claims_of(token, key, algorithm=algorithm, verify_exp=False)


async def new_token(app: Quart, **arguments: Any) -> str:
    async with app.app_context():
        return qje.create_access_token("alice", **arguments)


async def signing_kid(app: Quart) -> Any:
    """The name in a new token, which the app itself accepts."""
    token = await new_token(app)
    await accepted(app, token)
    return jwt.get_unverified_header(token).get("kid")


async def accepted(app: Quart, token: str) -> None:
    async with app.app_context():
        assert qje.decode_token(token)["identity"] == "alice"
        assert (await qje.decode_token_async(token))["identity"] == "alice"
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 200


async def rejected(app: Quart, token: str, message: str | None = None) -> None:
    """The token is the client's fault, and no view runs."""
    calls = list(app.calls)
    async with app.app_context():
        with pytest.raises(jwt.InvalidTokenError) as caught:
            qje.decode_token(token)
        with pytest.raises(jwt.InvalidTokenError):
            await qje.decode_token_async(token)
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code == 422
    assert app.calls == calls
    if message is not None:
        assert str(caught.value) == message
        assert await response.get_json() == {"msg": message}


def faults_of(app: Quart) -> list[str]:
    """What the check at the start finds."""
    with pytest.raises(RuntimeError, match="The configuration is invalid") as caught:
        manager_of(app).check(app)
    return str(caught.value).splitlines()[1:]


def use(key: Any, **members: Any) -> dict[str, Any]:
    return {"key": key, **members}


# --- Forms of a key -----------------------------------------------------------


@functools.cache
def forms_of(signer: Signer) -> dict[str, Any]:
    """A private key in each form, to sign with one algorithm."""
    key = private_key(signer.kind)
    return {
        "text": private_pem(key),
        "bytes": private_pem(key).encode(),
        "object": key,
        "JWK": to_jwk(key),
        "JWK with all": to_jwk(key, kid="k", use="sig", alg=signer.algorithm, key_ops=["sign"]),
        "PyJWK": jwt.PyJWK(to_jwk(key), signer.algorithm),
    }


@functools.cache
def public_forms_of(signer: Signer) -> dict[str, Any]:
    key = private_key(signer.kind)
    public = key.public_key()
    forms = {
        "text": public_pem(key),
        "bytes": public_pem(key).encode(),
        "object": public,
        "JWK": to_jwk(public),
        "JWK with all": to_jwk(
            public, kid="k", use="sig", alg=signer.algorithm, key_ops=["verify"]
        ),
        "PyJWK": jwt.PyJWK(to_jwk(public), signer.algorithm),
    }
    if signer.kind not in ("Ed448", "secp256k1"):
        forms["SSH"] = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        forms["certificate"] = certificate(signer.kind)
        forms["certificate text"] = certificate(signer.kind).public_bytes(Encoding.PEM).decode()
    return forms


@pytest.mark.parametrize(
    "form", ["text", "bytes", "object", "JWK", "JWK with all", "PyJWK"], ids=str
)
@pytest.mark.parametrize("signer", SIGNERS, ids=str)
async def test_private_key_in_every_form_signs_and_verifies(signer: Signer, form: str) -> None:
    entry = use(forms_of(signer)[form], algorithm=signer.algorithm, sign_from=1)
    app = ring_app({"k": entry})
    manager_of(app).check(app)
    token = await new_token(app)
    assert jwt.get_unverified_header(token) == {"alg": signer.algorithm, "kid": "k", "typ": "JWT"}
    public = private_key(signer.kind).public_key()
    assert verified(token, public, algorithm=signer.algorithm)["identity"] == "alice"
    await accepted(app, token)
    await accepted(app, signed("k", private_key(signer.kind), signer.algorithm))
    await rejected(app, signed("k", private_key(signer.kind, "thief"), signer.algorithm))


@pytest.mark.parametrize("signer", SIGNERS, ids=str)
async def test_public_key_in_every_form_verifies_and_does_not_sign(signer: Signer) -> None:
    for form, key in public_forms_of(signer).items():
        app = ring_app({"k": use(key, algorithm=signer.algorithm)})
        manager_of(app).check(app)
        await accepted(app, signed("k", private_key(signer.kind), signer.algorithm))
        await rejected(app, signed("k", private_key(signer.kind, "thief"), signer.algorithm))
        with pytest.raises(RuntimeError, match="No key of JWT_KEYS can sign"):
            await new_token(app)
        assert form


@pytest.mark.parametrize("algorithm", HMAC_ALGORITHMS)
@pytest.mark.parametrize(
    "key",
    [SECRET, SECRET.encode(), oct_jwk(SECRET), oct_jwk(SECRET, key_ops=["sign", "verify"])],
    ids=["text", "bytes", "JWK", "JWK with key_ops"],
)
async def test_secret_in_every_form_signs_and_verifies(key: Any, algorithm: str) -> None:
    app = ring_app({"k": use(key, algorithm=algorithm, sign_from=1)})
    manager_of(app).check(app)
    token = await new_token(app)
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": "k", "typ": "JWT"}
    assert verified(token, SECRET, algorithm=algorithm)["identity"] == "alice"
    await accepted(app, token)
    await rejected(app, named("k", secret=OTHER_SECRET, alg=algorithm))
    for other in set(HASHES) - {algorithm}:
        await rejected(app, named("k", alg=other), NOT_ALLOWED)


async def test_pyjwk_of_a_secret_has_its_own_algorithm() -> None:
    app = ring_app({"k": use(jwt.PyJWK(oct_jwk(SECRET), "HS384"), sign_from=1)})
    assert jwt.get_unverified_header(await new_token(app))["alg"] == "HS384"


async def test_kid_of_any_characters_is_kept() -> None:
    for kid in ("ключ 1", 'a "b" \\ c', "../../etc/passwd", "k" * 300, "\x00", "1"):
        app = ring_app({kid: use(SECRET, sign_from=1)})
        manager_of(app).check(app)
        assert await signing_kid(app) == kid


# --- The algorithm of a key ---------------------------------------------------


@pytest.mark.parametrize(
    ("key", "configured", "expected"),
    [
        (private_key("RSA"), "HS256", "RS256"),
        (private_key("RSA"), "PS384", "PS384"),
        (private_key("RSA"), "ES256", "RS256"),
        (to_jwk(private_key("RSA"), alg="RS512"), "PS384", "RS512"),
        (private_key("P-256"), "ES384", "ES256"),
        (private_key("P-384"), "RS256", "ES384"),
        (private_key("P-521"), "HS256", "ES512"),
        (private_key("secp256k1"), "HS256", "ES256K"),
        (private_key("Ed25519"), "HS256", "EdDSA"),
        (private_key("Ed448"), "ES256", "EdDSA"),
        (SECRET, "HS512", "HS512"),
        (oct_jwk(SECRET, alg="HS384"), "HS512", "HS384"),
        (oct_jwk(SECRET, alg="HS384"), "RS256", "HS384"),
    ],
)
async def test_algorithm_is_that_of_the_jwk_or_configured_or_implied(
    key: Any, configured: str, expected: str
) -> None:
    app = ring_app({"k": use(key, sign_from=1)}, JWT_ALGORITHM=configured)
    token = await new_token(app)
    assert jwt.get_unverified_header(token)["alg"] == expected
    await accepted(app, token)


async def test_algorithm_needs_no_entry_among_those_of_the_single_keys() -> None:
    app = ring_app(
        {"k": use(private_key("RSA"), sign_from=1), "s": use(SECRET, algorithm="HS512")},
        JWT_ALGORITHM="ES256",
        JWT_DECODE_ALGORITHMS=["EdDSA"],
    )
    await accepted(app, await new_token(app))
    await accepted(app, named("s", alg="HS512"))


async def test_algorithm_of_a_single_key_is_not_allowed_for_a_named_one() -> None:
    app = ring_app(
        {"k": use(private_key("RSA"), algorithm="PS256", sign_from=1)},
        JWT_ALGORITHM="RS256",
        JWT_DECODE_ALGORITHMS=["RS384"],
    )
    for name in ("RS256", "RS384", "PS384"):
        await rejected(app, signed("k", private_key("RSA"), name), NOT_ALLOWED)
    await accepted(app, signed("k", private_key("RSA"), "PS256"))


# --- Which key signs ----------------------------------------------------------

STARTS = {
    "past": use(SECRET, sign_from=NOW - 100),
    "now": use(OTHER_SECRET, sign_from=NOW),
    "soon": use(THIRD_SECRET, sign_from=NOW + 100),
    "never": private_pem(private_key("P-256")),
}


@pytest.mark.parametrize("order", list(itertools.permutations(STARTS)), ids="-".join)
async def test_latest_start_that_has_passed_signs_whatever_the_order(
    order: tuple[str, ...], clock: Any
) -> None:
    app = ring_app({kid: STARTS[kid] for kid in order})
    manager_of(app).check(app)
    assert await signing_kid(app) == "now"
    clock(NOW - 0.001)
    assert await signing_kid(app) == "past"
    clock(NOW + 99.999)
    assert await signing_kid(app) == "now"
    clock(NOW + 100)
    assert await signing_kid(app) == "soon"


@pytest.mark.parametrize("order", list(itertools.permutations(["a", "b", "c"])), ids="-".join)
@pytest.mark.parametrize("name", ["a", "b"])
async def test_named_key_signs_whatever_the_order(order: tuple[str, ...], name: str) -> None:
    keys = {"a": SECRET, "b": OTHER_SECRET, "c": public_pem(private_key("RSA"))}
    app = ring_app({kid: keys[kid] for kid in order}, JWT_SIGNING_KEY_ID=name)
    manager_of(app).check(app)
    assert await signing_kid(app) == name


async def test_named_key_signs_until_a_start_has_passed(clock: Any) -> None:
    app = ring_app(
        {"old": SECRET, "new": use(OTHER_SECRET, sign_from=NOW + 60)}, JWT_SIGNING_KEY_ID="old"
    )
    manager_of(app).check(app)
    assert await signing_kid(app) == "old"
    clock(NOW + 60)
    assert await signing_kid(app) == "new"


@pytest.mark.parametrize(
    "moment",
    [
        datetime.fromtimestamp(NOW + 60, timezone.utc),
        datetime.fromtimestamp(NOW + 60, timezone(timedelta(hours=5))),
        NOW + 60,
        NOW + 60.0,
    ],
    ids=["UTC", "time zone", "int", "float"],
)
async def test_moment_in_every_form_is_met(moment: Any, clock: Any) -> None:
    keys = {
        "old": use(SECRET, sign_from=1, verify_until=moment),
        "new": use(OTHER_SECRET, sign_from=moment),
    }
    app = ring_app(keys)
    token = await new_token(app)
    clock(NOW + 59.9)
    assert await signing_kid(app) == "old"
    await accepted(app, token)
    clock(NOW + 60)
    assert await signing_kid(app) == "new"
    await rejected(app, token, UNKNOWN)


async def test_both_tokens_of_a_session_name_the_key() -> None:
    app = make_app(
        token_store=qje.MemoryTokenStore(),
        JWT_SECRET_KEY=None,
        JWT_KEYS={"k": use(SECRET, sign_from=1)},
    )
    async with app.app_context():
        tokens = await qje.create_session("alice")
        refresh = qje.create_refresh_token("alice")
    for token in (tokens.access_token, tokens.refresh_token, refresh):
        assert jwt.get_unverified_header(token)["kid"] == "k"


async def test_other_headers_and_type_stand_beside_the_name() -> None:
    app = ring_app({"k": use(SECRET, sign_from=1)}, JWT_ENCODE_TYP="at+jwt")
    token = await new_token(app, headers={"x": "y", "kid": "k", "alg": "HS256"})
    assert jwt.get_unverified_header(token) == {
        "alg": "HS256",
        "kid": "k",
        "typ": "at+jwt",
        "x": "y",
    }
    await accepted(app, token)


@pytest.mark.parametrize(
    ("headers", "named_header"),
    [({"kid": "other"}, "kid"), ({"alg": "HS512"}, "alg"), ({"alg": "RS256"}, "alg")],
)
async def test_header_that_contradicts_the_key_is_a_value_error(
    headers: dict[str, str], named_header: str
) -> None:
    app = ring_app({"k": use(SECRET, sign_from=1), "other": OTHER_SECRET})
    expected = f'The "{named_header}" header must be .*, the value of the signing key in JWT_KEYS'
    with pytest.raises(ValueError, match=expected):
        await new_token(app, headers=headers)
    manager_of(app).additional_headers_loader(lambda subject: headers)
    with pytest.raises(ValueError, match=expected):
        await new_token(app)


async def test_loader_of_keys_wins_when_signing() -> None:
    app = ring_app({"k": use(SECRET, sign_from=1)})
    manager_of(app).encode_key_loader(lambda subject: OTHER_SECRET)
    token = await new_token(app)
    assert "kid" not in jwt.get_unverified_header(token)
    assert verified(token, OTHER_SECRET)["identity"] == "alice"


async def test_loader_of_keys_needs_no_key_that_signs() -> None:
    app = ring_app({"k": SECRET, "l": OTHER_SECRET})
    manager_of(app).encode_key_loader(lambda subject: SECRET)
    manager_of(app).check(app)
    assert verified(await new_token(app), SECRET)["identity"] == "alice"


async def test_loader_of_keys_wins_when_verifying() -> None:
    app = ring_app({"k": use(SECRET, sign_from=1)})
    manager_of(app).decode_key_loader(lambda claims, header: OTHER_SECRET)
    await rejected(app, await new_token(app), "Signature verification failed")
    await accepted(app, named("unknown", secret=OTHER_SECRET))


@pytest.mark.parametrize(
    ("keys", "options", "fault"),
    [
        ({"a": SECRET}, {}, "JWT_KEYS does not specify which key signs"),
        ({"a": SECRET, "b": OTHER_SECRET}, {}, "JWT_KEYS does not specify which key signs"),
        ({"a": SECRET}, {"JWT_SECRET_KEY": SECRET}, "JWT_KEYS does not specify which key signs"),
        ({"a": use(SECRET, sign_from=NOW + 1)}, {}, "No key of JWT_KEYS can sign now"),
        (
            {"a": SECRET, "b": use(OTHER_SECRET, sign_from=NOW + 1)},
            {},
            "No key of JWT_KEYS can sign now",
        ),
        (
            {"a": use(SECRET, sign_from=1, verify_until=NOW)},
            {},
            'JWT_KEYS["a"] is the key that signs, but its "verify_until" has passed',
        ),
        (
            {"a": use(SECRET, verify_until=NOW)},
            {"JWT_SIGNING_KEY_ID": "a"},
            'JWT_KEYS["a"] is the key that signs, but its "verify_until" has passed',
        ),
    ],
)
async def test_ring_in_which_no_key_signs_stops_the_start_and_creates_no_token(
    keys: Any, options: dict[str, Any], fault: str
) -> None:
    app = ring_app(keys, **options)
    (found,) = faults_of(app)
    assert found.startswith(fault)
    with pytest.raises(RuntimeError) as caught:
        await new_token(app)
    assert str(caught.value) == found


async def test_ring_of_public_keys_leaves_signing_to_the_single_key() -> None:
    app = ring_app({"partner": public_pem(private_key("RSA"))}, JWT_SECRET_KEY=SECRET)
    manager_of(app).check(app)
    token = await new_token(app)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    await accepted(app, token)
    await accepted(app, signed("partner", private_key("RSA"), "RS256"))


# --- Which key verifies -------------------------------------------------------


async def test_each_key_verifies_what_it_is_named_for() -> None:
    app = ring_app({"a": SECRET, "b": OTHER_SECRET, "c": public_pem(private_key("P-256"))})
    await accepted(app, named("a"))
    await accepted(app, named("b", secret=OTHER_SECRET))
    await accepted(app, signed("c", private_key("P-256"), "ES256"))
    await rejected(app, named("b"), "Signature verification failed")
    await rejected(app, named("a", secret=OTHER_SECRET), "Signature verification failed")


@pytest.mark.parametrize("order", list(itertools.permutations(["a", "b", "c"])), ids="-".join)
async def test_order_of_the_keys_makes_no_difference_to_what_is_accepted(
    order: tuple[str, ...],
) -> None:
    secrets = {"a": SECRET, "b": OTHER_SECRET, "c": THIRD_SECRET}
    app = ring_app({kid: secrets[kid] for kid in order})
    for kid, (owner, secret) in itertools.product(secrets, secrets.items()):
        token = named(kid, secret=secret)
        if kid == owner:
            await accepted(app, token)
        else:
            await rejected(app, token, "Signature verification failed")
    for secret in secrets.values():
        await rejected(app, hs_token(access_claims(exp=NOW + 9), secret=secret), WITHOUT_NAME)


async def test_key_verifies_until_its_end_and_no_longer(clock: Any) -> None:
    app = ring_app({"k": use(SECRET, verify_until=NOW + 10)})
    clock(NOW + 9.999)
    await accepted(app, named("k"))
    clock(NOW + 10)
    await rejected(app, named("k"), UNKNOWN)


async def test_key_that_is_to_sign_later_verifies_at_once() -> None:
    """Another worker's clock may be ahead."""
    app = ring_app({"k": use(SECRET, sign_from=NOW + 10)})
    await accepted(app, named("k"))


async def test_token_of_a_wrong_type_is_rejected_as_ever() -> None:
    app = ring_app({"k": SECRET}, JWT_DECODE_TYP="at+jwt")
    await rejected(app, named("k"), 'The "typ" header is not one that JWT_DECODE_TYP accepts')
    header = {"alg": "HS256", "kid": "k", "typ": "at+jwt"}
    await accepted(app, hs_token(access_claims(exp=NOW + 9), header=header))


@pytest.mark.parametrize("option", ["JWT_SECRET_KEY", "JWT_PUBLIC_KEY"])
async def test_token_without_a_name_is_for_the_single_keys(option: str) -> None:
    ec_key = private_key("P-256")
    singles = {"JWT_SECRET_KEY": OTHER_SECRET, "JWT_PUBLIC_KEY": public_pem(ec_key)}
    tokens = {
        "JWT_SECRET_KEY": hs_token(access_claims(exp=NOW + 9), secret=OTHER_SECRET),
        "JWT_PUBLIC_KEY": signed(None, ec_key, "ES256"),
    }
    app = ring_app(
        {"k": use(SECRET, sign_from=1)},
        JWT_DECODE_ALGORITHMS=["ES256"],
        **{option: singles[option]},
    )
    manager_of(app).check(app)
    for name, token in tokens.items():
        if name == option:
            await accepted(app, token)
        else:
            await rejected(app, token, WITHOUT_NAME)
    await rejected(app, hs_token(access_claims(exp=NOW + 9), secret=SECRET))


@pytest.mark.parametrize("secret_key", [None, "", False])
async def test_secret_of_the_application_is_no_fallback_beside_a_ring(secret_key: Any) -> None:
    app = ring_app({"k": use(OTHER_SECRET, sign_from=1)}, SECRET_KEY=SECRET)
    app.config["JWT_SECRET_KEY"] = secret_key
    await rejected(app, hs_token(access_claims(exp=NOW + 9)), WITHOUT_NAME)
    await rejected(app, named("k"), "Signature verification failed")
    app.config["JWT_KEYS"] = None
    await accepted(app, hs_token(access_claims(exp=NOW + 9)))


async def test_secret_of_the_application_does_not_sign_beside_a_ring() -> None:
    app = ring_app({"k": public_pem(private_key("RSA"))}, SECRET_KEY=SECRET)
    with pytest.raises(RuntimeError, match="can sign, and JWT_SECRET_KEY is not set"):
        await new_token(app)


async def test_service_moves_to_keys_by_name_and_nobody_is_logged_out(clock: Any) -> None:
    app = make_app()
    before = await new_token(app)
    app.config["JWT_KEYS"] = {
        "first": use(SECRET, sign_from=1),
        "second": use(private_key("P-256"), sign_from=NOW + 100),
    }
    await accepted(app, before)
    with_name = await new_token(app)
    clock(NOW + 100)
    assert await signing_kid(app) == "second"
    for token in (before, with_name):
        await accepted(app, token)
    app.config["JWT_SECRET_KEY"] = None
    await rejected(app, before, WITHOUT_NAME)
    await accepted(app, with_name)
    del app.config["JWT_KEYS"]["first"]
    await rejected(app, with_name, UNKNOWN)


async def test_name_of_an_old_loader_is_not_known() -> None:
    app = ring_app({"k": use(SECRET, sign_from=1)}, JWT_SECRET_KEY=OTHER_SECRET)
    await rejected(app, named("old", secret=OTHER_SECRET), UNKNOWN)
    await rejected(app, named("", secret=OTHER_SECRET), UNKNOWN)


# --- Attacks ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
async def test_public_key_is_no_secret(kind: str) -> None:
    key = private_key(kind)
    app = ring_app({"k": use(key, sign_from=1), "s": SECRET}, JWT_SECRET_KEY=OTHER_SECRET)
    for material in every_dress(kind).values():
        for alg in HASHES:
            await rejected(app, named("k", secret=material, alg=alg), NOT_ALLOWED)
        await rejected(app, named("s", secret=material), "Signature verification failed")
        await rejected(app, hs_token(access_claims(exp=NOW + 9), secret=material))


@pytest.mark.parametrize("dress", sorted(set(every_dress("RSA")) - {"jwk thumbprint"}))
@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
def test_public_key_in_any_encoding_is_not_accepted_as_a_secret(kind: str, dress: str) -> None:
    material = every_dress(kind).get(dress)
    if material is None or dress.startswith("modulus"):
        # A number is no key by itself, and has nothing to be known by.
        material = public_pem(private_key(kind)).encode()
    for key in (material, material.decode("latin-1")):
        app = ring_app({"k": use(key, algorithm="HS256", sign_from=1)})
        (fault,) = faults_of(app)
        assert fault.startswith('JWT_KEYS["k"] cannot be used: it')


def test_public_key_as_tools_print_it_is_not_accepted_as_a_secret() -> None:
    public = EC_KEY.public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    body = ssh.split()[1]
    for key in (
        der.hex(":"),
        repr(to_jwk(public)),
        f"restrict {ssh}",
        f"---- BEGIN SSH2 PUBLIC KEY ----\n{body}\n---- END SSH2 PUBLIC KEY ----",
    ):
        (fault,) = faults_of(ring_app({"k": use(key, sign_from=1)}))
        assert fault.startswith('JWT_KEYS["k"] cannot be used: it is an asymmetric key')


@pytest.mark.parametrize("key", [SECRET, oct_jwk(SECRET)], ids=["text", "JWK"])
async def test_asymmetric_token_does_not_get_at_a_secret(key: Any) -> None:
    app = ring_app({"k": key, "r": public_pem(private_key("RSA"))})
    for signer in SIGNERS:
        await rejected(app, signed("k", private_key(signer.kind), signer.algorithm), NOT_ALLOWED)


async def test_key_of_one_kind_does_not_verify_another() -> None:
    kinds = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384", "Ed25519": "EdDSA"}
    app = ring_app({kind: public_pem(private_key(kind)) for kind in kinds})
    for kid, (kind, algorithm) in itertools.product(kinds, kinds.items()):
        token = signed(kid, private_key(kind), algorithm)
        if kid == kind:
            await accepted(app, token)
        else:
            await rejected(app, token, NOT_ALLOWED)


@pytest.mark.parametrize("alg", ["none", "None", "", None, 5, ["HS256"], {}, "hs256", "HS257"])
async def test_algorithm_of_nobody_is_rejected(alg: Any) -> None:
    app = ring_app({"k": SECRET}, JWT_SECRET_KEY=SECRET)
    for kid in ({"kid": "k"}, {}):
        header = json_segment({"alg": alg, **kid})
        unsigned = f"{header}.{json_segment(access_claims(exp=NOW + 9))}"
        await rejected(app, f"{unsigned}.", NOT_ALLOWED)
        token = hs_token(access_claims(exp=NOW + 9), header={"alg": alg, **kid})
        await rejected(app, token, NOT_ALLOWED)


async def test_token_without_an_algorithm_is_rejected() -> None:
    app = ring_app({"k": SECRET}, JWT_SECRET_KEY=SECRET)
    for header in ({"kid": "k"}, {"typ": "JWT"}):
        token = hs_token(access_claims(exp=NOW + 9), header=header)
        await rejected(app, token, "Algorithm not specified")


@pytest.mark.parametrize(
    "kid",
    [
        "../../etc/passwd",
        "' OR 1=1 --",
        "",
        " k",
        "K",
        "k\x00",
        "k" * 9000,
        "/dev/null",
        "__class__",
    ],
    ids=["path", "SQL", "empty", "space", "case", "NUL", "huge", "device", "attribute"],
)
async def test_foreign_name_is_unknown_and_not_repeated(kid: str) -> None:
    app = ring_app({"k": SECRET}, JWT_SECRET_KEY=SECRET)
    await rejected(app, named(kid), UNKNOWN)


@pytest.mark.parametrize("kid", [None, 5, 1.5, True, ["k"], {"k": 1}])
async def test_name_that_is_no_string_is_rejected(kid: Any) -> None:
    app = ring_app({"k": SECRET}, JWT_SECRET_KEY=SECRET)
    await rejected(app, named(kid), "Key ID header parameter must be a string")


async def test_name_with_a_lone_surrogate_is_rejected() -> None:
    app = ring_app({"k": SECRET}, JWT_SECRET_KEY=SECRET)
    header = b'{"alg":"HS256","kid":"\\ud800"}'
    token = hs_token(access_claims(exp=NOW + 9), header=header)
    await rejected(app, token, "Invalid header string: it holds a lone surrogate")


async def test_key_in_the_header_of_a_token_is_ignored() -> None:
    thief = private_key("RSA", "thief")
    app = ring_app({"k": public_pem(private_key("RSA"))})
    for more in ({"jwk": to_jwk(thief.public_key())}, {"jku": "https://thief.example/"}):
        token = jwt.encode(access_claims(exp=NOW + 9), thief, "RS256", headers={"kid": "k", **more})
        await rejected(app, token, "Signature verification failed")


# --- Changes in place ---------------------------------------------------------


async def test_change_of_the_ring_in_place_counts_from_the_next_request() -> None:
    app = ring_app({"a": use(SECRET, sign_from=1)})
    await rejected(app, named("b", secret=OTHER_SECRET), UNKNOWN)
    app.config["JWT_KEYS"]["b"] = use(OTHER_SECRET, sign_from=2)
    await accepted(app, named("b", secret=OTHER_SECRET))
    assert await signing_kid(app) == "b"
    del app.config["JWT_KEYS"]["b"]
    await rejected(app, named("b", secret=OTHER_SECRET), UNKNOWN)
    app.config["JWT_KEYS"]["a"] = use(THIRD_SECRET, sign_from=1)
    await rejected(app, named("a"))
    await accepted(app, named("a", secret=THIRD_SECRET))
    app.config["JWT_KEYS"] = {"a": use(SECRET, sign_from=1)}
    await accepted(app, named("a"))


async def test_change_of_a_key_in_place_counts_from_the_next_request() -> None:
    app = ring_app({"a": use(SECRET, sign_from=1), "b": use(OTHER_SECRET)})
    ring = app.config["JWT_KEYS"]
    assert await signing_kid(app) == "a"
    ring["b"]["sign_from"] = NOW
    assert await signing_kid(app) == "b"
    ring["a"]["verify_until"] = NOW
    await rejected(app, named("a"), UNKNOWN)
    del ring["a"]["verify_until"]
    await accepted(app, named("a"))
    ring["a"]["algorithm"] = "HS512"
    await rejected(app, named("a"), NOT_ALLOWED)
    await accepted(app, named("a", alg="HS512"))


async def test_change_of_a_jwk_in_place_counts_from_the_next_request() -> None:
    app = ring_app({"a": oct_jwk(SECRET), "b": use(oct_jwk(SECRET), sign_from=1)})
    for kid in ("a", "b"):
        await accepted(app, named(kid))
    app.config["JWT_KEYS"]["a"]["k"] = app.config["JWT_KEYS"]["b"]["key"]["k"] = b64url(
        OTHER_SECRET.encode()
    )
    for kid in ("a", "b"):
        await rejected(app, named(kid))
        await accepted(app, named(kid, secret=OTHER_SECRET))
    operations = app.config["JWT_KEYS"]["b"]["key"]["key_ops"] = ["sign", "verify"]
    assert await signing_kid(app) == "b"
    operations.remove("sign")
    with pytest.raises(RuntimeError, match="cannot sign"):
        await new_token(app)


async def test_change_of_the_name_counts_from_the_next_request() -> None:
    app = ring_app({"a": SECRET, "b": OTHER_SECRET}, JWT_SIGNING_KEY_ID="a")
    assert await signing_kid(app) == "a"
    app.config["JWT_SIGNING_KEY_ID"] = "b"
    assert await signing_kid(app) == "b"


class Uncomparable(str):
    """A secret whose comparison fails."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")


async def test_key_object_is_not_compared_by_itself() -> None:
    app = ring_app({"a": use(Uncomparable(SECRET), sign_from=1)})
    assert await signing_kid(app) == "a"
    app.config["JWT_KEYS"]["a"]["key"] = Uncomparable(OTHER_SECRET)
    with pytest.raises(jwt.InvalidSignatureError):
        async with app.app_context():
            qje.decode_token(named("a"))


async def test_equal_ring_is_not_read_again() -> None:
    """A weak key warns once for each time that it is prepared."""
    app = ring_app({"a": use("short", sign_from=1)})
    with pytest.warns(InsecureKeyLengthWarning) as warned:
        manager_of(app).check(app)
    assert len(warned) == 1
    # From here on a warning is an error.
    await new_token(app)
    app.config["JWT_KEYS"]["a"]["sign_from"] = 2
    await new_token(app)


@pytest.mark.parametrize(
    "secret",
    [
        b"0\xff" + bytes(range(64)),
        b"0" * 64,
        b"0\x84\xff\xff\xff\xff" + b"x" * 60,
        b"\x00" * 64,
        bytes(range(256)),
        "ſ" * 40,
        "{" * 64,
        '{"a": 1}' * 9,
        "30" * 40,
        "MI" * 40,
    ],
)
async def test_secret_that_is_no_key_in_disguise_is_accepted(secret: Any) -> None:
    app = ring_app({"a": use(secret, sign_from=1)})
    manager_of(app).check(app)
    assert await signing_kid(app) == "a"


# --- Signature cache ----------------------------------------------------------


async def test_signature_cache_knows_the_keys_apart() -> None:
    keys = {"a": public_pem(private_key("P-256")), "b": public_pem(private_key("P-256", "other"))}
    app = ring_app(keys, JWT_SIGNATURE_CACHE_SIZE=10)
    token = signed("a", private_key("P-256"), "ES256")
    for _ in range(2):
        await accepted(app, token)
        await rejected(app, signed("b", private_key("P-256"), "ES256"))
    app.config["JWT_KEYS"]["a"] = keys["b"]
    await rejected(app, token, "Signature verification failed")


# --- Faults -------------------------------------------------------------------

EC_KEY = private_key("P-256")
ACCEPTS = "None, or a non-empty dict that maps each kid, a non-empty string, to its key"
MOMENTS = "must be a datetime with a time zone, or POSIX seconds (an int or a float), not "


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({}, f"JWT_KEYS must be {ACCEPTS}, not a value of type dict"),
        ([SECRET], f"JWT_KEYS must be {ACCEPTS}, not a value of type list"),
        (SECRET, f"JWT_KEYS must be {ACCEPTS}, not a value of type str"),
        (False, f"JWT_KEYS must be {ACCEPTS}, not False"),
        ({"": SECRET}, f"JWT_KEYS must be {ACCEPTS}, not a value of type dict"),
        ({5: SECRET}, f"JWT_KEYS must be {ACCEPTS}, not a value of type dict"),
        ({None: SECRET}, f"JWT_KEYS must be {ACCEPTS}, not a value of type dict"),
        ({"\ud800": SECRET}, f"JWT_KEYS must be {ACCEPTS}, not a value of type dict"),
        ({"k": {}}, 'JWT_KEYS["k"] must have a "key", or be a JWK, which has "kty"'),
        (
            {"k": {"algorithm": "HS256"}},
            'JWT_KEYS["k"] must have a "key", or be a JWK, which has "kty"',
        ),
        (
            {"k": use(SECRET, sign_form=1)},
            'JWT_KEYS["k"] must not have members other than key, algorithm, '
            "sign_from, verify_until",
        ),
        (
            {"k": oct_jwk(SECRET, sign_from=1)},
            'JWT_KEYS["k"] must be a JWK, or a dict that contains the JWK as "key": it has both '
            '"kty" and "sign_from"',
        ),
        ({"k": use(SECRET, algorithm="none")}, 'JWT_KEYS["k"]["algorithm"] must be one of HS256'),
        ({"k": use(SECRET, algorithm=5)}, 'JWT_KEYS["k"]["algorithm"] must be one of HS256'),
        (
            {"k": use(SECRET, algorithm="RS256")},
            'JWT_KEYS["k"] cannot be used: it is a secret for HS256, HS384, HS512, not for RS256',
        ),
        (
            {"k": use(EC_KEY, algorithm="ES384")},
            'JWT_KEYS["k"] cannot be used: it is an asymmetric key for ES256, not for ES384',
        ),
        (
            {"k": use(EC_KEY, algorithm="HS256")},
            'JWT_KEYS["k"] cannot be used: it is an asymmetric key for ES256, not for HS256',
        ),
        (
            {"k": use(public_pem(EC_KEY), algorithm="HS256")},
            'JWT_KEYS["k"] cannot be used: it is an asymmetric key for ES256, not for HS256',
        ),
        (
            {"k": use(oct_jwk(SECRET, alg="HS512"), algorithm="HS256")},
            'JWT_KEYS["k"] cannot be used: its "alg" is HS512, but its "algorithm" is HS256',
        ),
        (
            {"k": use(jwt.PyJWK(to_jwk(private_key("RSA"))), algorithm="PS256")},
            'JWT_KEYS["k"] cannot be used: its "alg" is RS256, but its "algorithm" is PS256',
        ),
        ({"k": oct_jwk(SECRET, alg="none")}, 'JWT_KEYS["k"] cannot be used: its "alg" must be one'),
        ({"k": oct_jwk(SECRET, alg=[])}, 'JWT_KEYS["k"] cannot be used: its "alg" must be one of'),
        (
            {"k": oct_jwk(SECRET, kid="other")},
            'JWT_KEYS["k"] cannot be used: its own "kid" differs from its name in JWT_KEYS',
        ),
        (
            {"k": jwt.PyJWK(oct_jwk(SECRET, kid="other"))},
            'JWT_KEYS["k"] cannot be used: its own "kid" differs from its name in JWT_KEYS',
        ),
        (
            {"k": oct_jwk(SECRET, use="enc")},
            'JWT_KEYS["k"] cannot be used: its "use" must be "sig"',
        ),
        (
            {"k": jwt.PyJWK(oct_jwk(SECRET, use="enc"))},
            'JWT_KEYS["k"] cannot be used: its "use" must be "sig"',
        ),
        (
            {"k": oct_jwk(SECRET, key_ops="verify")},
            'JWT_KEYS["k"] cannot be used: its "key_ops" must be a list',
        ),
        *(
            (
                {"k": to_jwk(key, key_ops=operations)},
                'JWT_KEYS["k"] cannot be used: its "key_ops" do not permit verification',
            )
            for key, operations in (
                (EC_KEY, ["encrypt"]),
                (EC_KEY, []),
                (EC_KEY.public_key(), ["sign"]),
            )
        ),
        (
            {"k": oct_jwk(SECRET, key_ops=["sign"])},
            'JWT_KEYS["k"] cannot be used: its "key_ops" do not permit verification',
        ),
        *(
            ({"k": jwk}, 'JWT_KEYS["k"] cannot be used: its "kty" must be oct, RSA, EC or OKP')
            for jwk in (
                {"kty": "x", "k": SECRET},
                {"kty": 5},
                {"kty": []},
                {"kty": "EC", "crv": "P-192"},
                {"kty": "EC"},
                use({"k": SECRET})["key"] | {"kty": None},
            )
        ),
        ({"k": use({"k": SECRET})}, 'JWT_KEYS["k"] cannot be used: its "kty" must be oct, RSA'),
        *(
            (
                {"k": jwk},
                f'JWT_KEYS["k"] cannot be used: it is not a valid JWK of the type {jwk["kty"]} (',
            )
            for jwk in (
                {"kty": "oct"},
                {"kty": "oct", "k": 5},
                {"kty": "RSA", "n": "AQAB"},
                {"kty": "RSA", "n": 5, "e": "AQAB"},
                {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
                {"kty": "OKP", "crv": "X25519", "x": "AA"},
                {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
                {**to_jwk(EC_KEY), "d": to_jwk(private_key("P-256", "thief"))["d"]},
            )
        ),
        ({"k": {"kty": "oct", "k": ""}}, 'JWT_KEYS["k"] cannot be used: it is '),
        ({"k": ""}, 'JWT_KEYS["k"] cannot be used: it is empty'),
        ({"k": b" \n"}, 'JWT_KEYS["k"] cannot be used: it is empty'),
        ({"k": None}, 'JWT_KEYS["k"] cannot be used: it is of type NoneType: it must be text'),
        ({"k": use(None)}, 'JWT_KEYS["k"] cannot be used: it is of type NoneType: it must be'),
        (
            {"k": 12345},
            'JWT_KEYS["k"] cannot be used: it is of type int: from_prefixed_env converts',
        ),
        ({"k": (SECRET,)}, 'JWT_KEYS["k"] cannot be used: it is of type tuple: a comma'),
        (
            {"k": x25519.X25519PrivateKey.generate()},
            'JWT_KEYS["k"] cannot be used: it is of type ',
        ),
        (
            {"k": dsa.generate_private_key(1024)},
            'JWT_KEYS["k"] cannot be used: no supported algorithm uses keys of this type',
        ),
        (
            {"k": ec.generate_private_key(ec.SECP224R1())},
            'JWT_KEYS["k"] cannot be used: no supported algorithm uses its curve',
        ),
        (
            {"k": encrypted_pem(EC_KEY, b"password")},
            'JWT_KEYS["k"] cannot be used: it cannot be read as an unencrypted key in PEM',
        ),
        (
            {"k": "-----BEGIN PUBLIC KEY-----\nnothing\n-----END PUBLIC KEY-----"},
            'JWT_KEYS["k"] cannot be used: it cannot be read as an unencrypted key in PEM',
        ),
        (
            {"k": "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----"},
            'JWT_KEYS["k"] cannot be used: it cannot be read as an unencrypted key in PEM',
        ),
        *(
            ({"k": use(SECRET, **{name: value})}, f'JWT_KEYS["k"]["{name}"] {MOMENTS}')
            for name in ("sign_from", "verify_until")
            for value in (
                datetime(2030, 1, 1),
                True,
                float("nan"),
                float("inf"),
                10**20,
                10**400,
                "2030-01-01",
                timedelta(1),
                b"1",
            )
        ),
        *(
            (
                {"k": use(SECRET, sign_from=NOW, verify_until=end)},
                'JWT_KEYS["k"]["verify_until"] must be later than its "sign_from"',
            )
            for end in (NOW, NOW - 1)
        ),
        (
            {"k": use(public_pem(EC_KEY), sign_from=1)},
            'JWT_KEYS["k"] cannot sign, so it must not have a "sign_from"',
        ),
        (
            {"k": use(oct_jwk(SECRET, key_ops=["verify"]), sign_from=1)},
            'JWT_KEYS["k"] cannot sign, so it must not have a "sign_from"',
        ),
        (
            {
                "b": use(SECRET, sign_from=datetime.fromtimestamp(NOW, timezone.utc)),
                "a": use(OTHER_SECRET, sign_from=float(NOW)),
            },
            'JWT_KEYS["a"] and JWT_KEYS["b"] have the same "sign_from": '
            "only one key can sign at a time",
        ),
    ],
)
async def test_wrong_ring_is_named_at_the_start_and_in_each_request(keys: Any, fault: str) -> None:
    app = ring_app(keys, SECRET_KEY=SECRET)
    (found,) = faults_of(app)
    assert found.startswith(fault)
    assert SECRET not in found
    with pytest.raises(RuntimeError) as caught:
        await new_token(app)
    assert str(caught.value) == found
    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    response = await app.test_client().get(
        "/protected", headers=bearer(hs_token(access_claims(exp=NOW + 9)))
    )
    assert response.status_code == 500


def test_all_faults_are_listed_at_once() -> None:
    app = ring_app({"a": "", "b": use(SECRET, sign_from="x"), "c": use(SECRET)}, JWT_HEADER_NAME=5)
    found = faults_of(app)
    assert [fault.split(" ")[0] for fault in found] == [
        "JWT_HEADER_NAME",
        'JWT_KEYS["a"]',
        'JWT_KEYS["b"]["sign_from"]',
    ]


def test_secret_that_pyjwt_rejects_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT's own check stays in force beside ours."""

    def prepare_key(self: Any, key: Any) -> Any:
        raise jwt.InvalidKeyError("PyJWT says no")

    app = ring_app({"k": use(SECRET, sign_from=1)})
    monkeypatch.setattr(jwt.algorithms.HMACAlgorithm, "prepare_key", prepare_key)
    assert faults_of(app) == ['JWT_KEYS["k"] cannot be used with HS256: PyJWT says no']


@pytest.mark.parametrize(
    ("value", "keys", "fault"),
    [
        ("a", None, "JWT_SIGNING_KEY_ID must be None without JWT_KEYS"),
        (5, {"a": SECRET}, "JWT_SIGNING_KEY_ID must be a string or None, not 5"),
        ("b", {"a": SECRET}, "JWT_SIGNING_KEY_ID must be None, or the kid of a key that can sign"),
        ("", {"a": SECRET}, "JWT_SIGNING_KEY_ID must be None, or the kid of a key that can sign"),
        (
            "a",
            {"a": public_pem(EC_KEY)},
            "JWT_SIGNING_KEY_ID must be None, or the kid of a key that can sign",
        ),
        (
            "a",
            {"a": oct_jwk(SECRET, key_ops=["verify"])},
            "JWT_SIGNING_KEY_ID must be None, or the kid of a key that can sign",
        ),
    ],
)
def test_name_of_no_key_that_signs_stops_the_start(value: Any, keys: Any, fault: str) -> None:
    (found,) = faults_of(ring_app(keys, JWT_SIGNING_KEY_ID=value, SECRET_KEY=SECRET))
    assert found.startswith(fault)


def test_single_keys_are_checked_beside_the_ring() -> None:
    app = ring_app({"k": use(SECRET, sign_from=1)}, JWT_SECRET_KEY=public_pem(EC_KEY))
    (fault,) = faults_of(app)
    assert fault.startswith("JWT_SECRET_KEY cannot be used with HS256")


def test_weak_keys_of_the_ring_warn_at_the_start() -> None:
    app = ring_app({"k": use("short", sign_from=1)})
    with pytest.warns(InsecureKeyLengthWarning, match="Generate a key with"):
        manager_of(app).check(app)


# --- JWK Set ------------------------------------------------------------------


async def published(app: Quart) -> list[dict[str, Any]]:
    async with app.app_context():
        jwks = qje.get_jwks()
    assert list(jwks) == ["keys"]
    return jwks["keys"]


def expected_jwk(kid: str, signer: Signer) -> dict[str, Any]:
    public = to_jwk(private_key(signer.kind).public_key())
    return {**public, "kid": kid, "alg": signer.algorithm, "use": "sig"}


@pytest.mark.parametrize("signer", SIGNERS, ids=str)
async def test_every_form_is_published_with_its_public_members_alone(signer: Signer) -> None:
    forms = {f"public {name}": form for name, form in public_forms_of(signer).items()}
    forms |= {f"private {name}": form for name, form in forms_of(signer).items()}
    for key in forms.values():
        app = ring_app({"k": use(key, algorithm=signer.algorithm)})
        assert await published(app) == [expected_jwk("k", signer)]
        names = {"RSA": {"n", "e"}, "Ed25519": {"crv", "x"}, "Ed448": {"crv", "x"}}
        members = {"kty", "kid", "alg", "use", *names.get(signer.kind, {"crv", "x", "y"})}
        assert set((await published(app))[0]) == members


async def test_jwk_in_the_alphabet_of_plain_base64_is_read_on_every_interpreter() -> None:
    """PyJWT leaves that to Python, of which 3.15 warns and later versions read something else."""
    secret = b"\xfb\xff" * 24
    assert {*"+/"} <= {*base64.b64encode(secret).decode()}
    for number in itertools.count(1):
        key = ec.derive_private_key(number, ec.SECP256R1())
        jwk = to_jwk(key.public_key())
        if {*"-_"} <= {*jwk["x"]} and {*"-_"} <= {*jwk["y"]}:
            break
    for name in ("x", "y"):
        jwk[name] = jwk[name].replace("-", "+").replace("_", "/")
    oct_key = {"kty": "oct", "k": base64.b64encode(secret).decode()}
    app = ring_app({"e": jwk, "o": oct_key})
    await accepted(app, signed("e", key, "ES256"))
    await accepted(app, named("o", secret=secret))
    for options in (
        {"JWT_ALGORITHM": "ES256", "JWT_PUBLIC_KEY": jwk},
        {"JWT_ALGORITHM": "HS256", "JWT_SECRET_KEY": oct_key},
    ):
        single = make_app(**options)
        token = (
            signed(None, key, "ES256") if "JWT_PUBLIC_KEY" in options else named("o", secret=secret)
        )
        await accepted(single, token)


class Computed(dict):  # type: ignore[type-arg]
    """A dict as configuration libraries have it, whose values are not those that lie in it."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)[::-1]


@pytest.mark.parametrize("make", [OrderedDict, Computed], ids=lambda kind: kind.__name__)
async def test_jwk_may_be_of_a_subclass_of_dict(make: Any) -> None:
    def jwk_of(members: dict[str, Any]) -> Any:
        if make is Computed:
            members = {name: value[::-1] for name, value in members.items()}
        return make(members)

    secret, public = jwk_of(oct_jwk(SECRET)), jwk_of(to_jwk(EC_KEY.public_key()))
    hs, es = named("k", secret=SECRET), signed("k", EC_KEY, "ES256")
    apps = [
        (make_app(JWT_SECRET_KEY=secret), hs),
        (make_app(JWT_ALGORITHM="ES256", JWT_PUBLIC_KEY=public), es),
    ]
    if make is OrderedDict:
        # Of one that computes its values, a ring keeps those that lie in it.
        apps += [
            (ring_app({"k": secret}), hs),
            (ring_app({"k": use(public, algorithm="ES256")}), es),
        ]
    for app, token in apps:
        await accepted(app, token)


async def test_members_of_a_jwk_that_are_not_needed_are_left_out() -> None:
    more = {"x5c": ["AA"], "x5t": "AA", "key_ops": ["sign"], "comment": "ours", "kid": "k"}
    app = ring_app({"k": to_jwk(EC_KEY, **more)})
    assert await published(app) == [expected_jwk("k", Signer("ES256", "P-256"))]


async def test_coordinates_have_the_full_size_of_the_curve() -> None:
    """RFC 7518, section 6.2.1.2: one coordinate in 256 begins with a zero."""
    for number in itertools.count(1):
        key = ec.derive_private_key(number, ec.SECP256R1())
        if key.public_key().public_numbers().x < 1 << 248:
            break
    (jwk,) = await published(ring_app({"k": key}))
    assert len(base64.urlsafe_b64decode(jwk["x"] + "=")) == 32


async def test_secrets_are_never_published() -> None:
    keys = {
        "text": use(SECRET, sign_from=1),
        "bytes": SECRET.encode(),
        "JWK": oct_jwk(SECRET),
        "PyJWK": jwt.PyJWK(oct_jwk(SECRET)),
    }
    app = ring_app(keys, JWT_SECRET_KEY=SECRET, SECRET_KEY=OTHER_SECRET)
    assert await published(app) == []
    assert await published(make_app()) == []


async def test_keys_are_published_from_the_start_until_their_end_and_sorted(clock: Any) -> None:
    keys = {
        "c": use(private_key("RSA"), sign_from=NOW - 10, verify_until=NOW + 10),
        "a": use(private_key("P-384"), sign_from=NOW + 5),
        "b": public_pem(private_key("Ed25519")),
        "z": SECRET,
    }
    for order in itertools.permutations(keys):
        clock(NOW)
        app = ring_app({kid: keys[kid] for kid in order})
        assert [jwk["kid"] for jwk in await published(app)] == ["a", "b", "c"]
        clock(NOW + 10)
        assert [jwk["kid"] for jwk in await published(app)] == ["a", "b"]


def thumbprint(jwk: dict[str, Any]) -> str:
    """RFC 7638, made by hand."""
    needed = {"RSA": ["e", "kty", "n"], "EC": ["crv", "kty", "x", "y"], "OKP": ["crv", "kty", "x"]}
    pairs = ",".join(f'"{name}":"{jwk[name]}"' for name in needed[jwk["kty"]])
    return b64url(hashlib.sha256(f"{{{pairs}}}".encode()).digest())


RFC_7638 = {
    "kty": "RSA",
    "n": (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKR"
        "XjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAt"
        "aSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPk"
        "sINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    ),
    "e": "AQAB",
}


async def test_single_key_is_named_by_its_thumbprint() -> None:
    app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=RFC_7638)
    assert await published(app) == [
        {
            **RFC_7638,
            # RFC 7638, section 3.1.
            "kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            "alg": "RS256",
            "use": "sig",
        }
    ]


@pytest.mark.parametrize("signer", SIGNERS, ids=str)
async def test_both_single_keys_of_a_pair_are_published_once(signer: Signer) -> None:
    key = private_key(signer.kind)
    for options in (
        {"JWT_PRIVATE_KEY": private_pem(key)},
        {"JWT_PUBLIC_KEY": to_jwk(key.public_key())},
        {"JWT_PRIVATE_KEY": to_jwk(key), "JWT_PUBLIC_KEY": public_pem(key).encode()},
    ):
        app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM=signer.algorithm, **options)
        (jwk,) = await published(app)
        assert jwk == expected_jwk(thumbprint(jwk), signer)


async def test_single_key_keeps_the_name_of_its_jwk_and_stands_beside_the_ring() -> None:
    app = ring_app(
        {"b": use(private_key("P-384"), sign_from=1)},
        JWT_ALGORITHM="ES256",
        JWT_PUBLIC_KEY=to_jwk(EC_KEY.public_key(), kid="a"),
        JWT_PRIVATE_KEY=private_key("P-256", "other"),
    )
    jwks = await published(app)
    assert {jwk["kid"] for jwk in jwks} > {"a", "b"}
    assert len(jwks) == 3
    app.config["JWT_KEYS"]["a"] = private_key("Ed25519")
    assert {jwk["kid"]: jwk["alg"] for jwk in await published(app)}["a"] == "EdDSA"


async def test_single_key_that_no_algorithm_uses_is_not_published() -> None:
    assert await published(make_app(JWT_PUBLIC_KEY="any")) == []
    assert await published(make_app(JWT_ALGORITHM="ES256", JWT_PUBLIC_KEY=private_key("RSA"))) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [("JWT_PUBLIC_KEY", "no key"), ("JWT_PRIVATE_KEY", 5), ("JWT_PUBLIC_KEY", oct_jwk(SECRET))],
)
async def test_single_key_that_cannot_be_read_is_named(option: str, value: Any) -> None:
    app = make_app(JWT_ALGORITHM="ES256", **{option: value})
    with pytest.raises(RuntimeError, match=f"{option} cannot be used: it is "):
        await published(app)


async def test_caller_may_change_what_it_gets() -> None:
    app = ring_app({"k": EC_KEY}, JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=RFC_7638)
    before = await published(app)
    for jwk in await published(app):
        jwk.clear()
    assert await published(app) == before
    assert len(before) == 2


async def test_published_key_verifies_what_the_app_signs() -> None:
    app = ring_app({"k": use(EC_KEY, sign_from=1)})
    token = await new_token(app)
    jwk_set = jwt.PyJWKSet.from_dict({"keys": await published(app)})
    key = jwk_set[jwt.get_unverified_header(token)["kid"]]
    assert verified(token, key.key, algorithm=key.algorithm_name)["identity"] == "alice"


# --- Serving the JWK Set ------------------------------------------------------


async def served(app: Quart, path: str = "/.well-known/jwks.json") -> Any:
    response = await app.test_client().get(path)
    assert response.status_code == 200
    assert response.content_type == "application/jwk-set+json"
    assert json.loads(await response.get_data()) == {"keys": await published(app)}
    return response.headers["Cache-Control"]


async def test_set_is_served_at_the_usual_path_and_at_another() -> None:
    for arguments in ((), ("/keys",)):
        app = ring_app({"k": use(EC_KEY, sign_from=1), "s": SECRET})
        manager_of(app).serve_jwks(app, *arguments)
        assert await served(app, *arguments) == "public, max-age=600"
        assert app.view_functions["jwt_jwks"]


async def test_set_is_open_in_a_protected_app() -> None:
    app = ring_app({"k": use(EC_KEY, sign_from=1)})
    qje.protect(app)
    manager_of(app).serve_jwks(app)
    manager_of(app).check(app)
    await served(app)
    assert (await app.test_client().get("/open")).status_code == 401
    result = app.test_cli_runner().invoke(args=["jwt", "routes"])
    (row,) = [line for line in result.output.splitlines() if "jwks.json" in line]
    assert row.split() == ["/.well-known/jwks.json", "GET", "jwt_jwks", "exempt"]


@pytest.mark.parametrize(
    ("ends", "age"),
    [([], 600), ([700], 600), ([100, 50, -5], 50), ([50.9], 50), ([0.2], 1), ([-1], 600)],
)
async def test_set_is_not_kept_beyond_the_end_of_a_key(ends: list[float], age: int) -> None:
    keys = {f"k{index}": use(EC_KEY, verify_until=NOW + end) for index, end in enumerate(ends)}
    app = ring_app({"s": use(SECRET, sign_from=1, verify_until=NOW + 3), **keys})
    manager_of(app).serve_jwks(app)
    assert await served(app) == f"public, max-age={age}"


async def test_set_may_be_empty() -> None:
    app = make_app()
    manager_of(app).serve_jwks(app)
    assert await served(app) == "public, max-age=600"


def test_wrong_arguments_of_the_view_are_named() -> None:
    app = make_app()
    manager = manager_of(app)
    with pytest.raises(TypeError, match="serve_jwks requires a Quart app, not str"):
        manager.serve_jwks("app")
    with pytest.raises(TypeError, match="path must be a string, not 5"):
        manager.serve_jwks(app, 5)
    with pytest.raises(ValueError, match="path must start with a slash"):
        manager.serve_jwks(app, "keys")
    with pytest.raises(RuntimeError, match="No JWTManager for this app"):
        manager.serve_jwks(Quart("other"))
    assert "jwt_jwks" not in app.view_functions
