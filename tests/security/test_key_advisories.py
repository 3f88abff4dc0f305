"""What went wrong in other libraries with keys that are fetched, one test for each advisory.

Every attack is sent to a protected route. A good token of the issuer is let in before it and after
it, unless the attack is that the issuer has no good key, so that neither an app that rejects
everybody nor one that an attack spoils can pass.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from quart import Quart

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    SECRET,
    access_claims,
    ask,
    b64url,
    hs_token,
    json_segment,
    make_app,
    manager_of,
)
from support.openid_provider import CONFIGURATION, KEYS, Provider
from support.signing_keys import (
    HMAC_ALGORITHMS,
    certificate,
    every_dress,
    private_key,
    private_pem,
    public_pem,
)

AUDIENCE = "https://api.example.com"
SUBJECT = "248289761001"
KID = "key-1"

ISSUER_KEY = private_key("RSA")
EVILS_KEY = private_key("RSA", "evil")

UNKNOWN_KID = "The key ID is not one of the keys of the issuer"
NOT_ALLOWED = "The specified alg value is not allowed"
BAD_SIGNATURE = "Signature verification failed"
UNAVAILABLE = (503, {"msg": "Token issuer unavailable"})

every_rsa_algorithm = pytest.mark.parametrize(
    "algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
)


class Issuer(Provider):
    """A provider with one RSA key, in whose published members a test changes something."""

    def __init__(self, key: Any = ISSUER_KEY) -> None:
        super().__init__()
        self.keys = {KID: key}
        self.signing_kid = KID
        # Replaces members of each JWK; ``...`` removes one.
        self.changes: dict[str, Any] = {}
        # JWKs beside those of its keys.
        self.more: list[Any] = []

    def key_set(self) -> dict[str, Any]:
        members = [{**member, **self.changes} for member in super().key_set()["keys"]]
        members = [{n: v for n, v in member.items() if v is not ...} for member in members]
        return {"keys": [*members, *self.more]}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def evil() -> Iterator[Issuer]:
    """A server of the attacker, with a key of the same name."""
    with Issuer(EVILS_KEY) as evil:
        yield evil


def trusting(*issuers: Provider, algorithms: Any = ("RS256",), **options: Any) -> Quart:
    app = make_app(**options)
    for issuer in issuers:
        manager_of(app).trust_issuer(issuer.issuer, audience=AUDIENCE, algorithms=algorithms)
    return app


def claims_for(issuer: Provider, **changes: Any) -> dict[str, Any]:
    """Claims of a token that is good but for who signs it; it names the attacker's victim."""
    claims = {
        "iss": issuer.issuer,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "identity": SUBJECT,
        "exp": FAR_FUTURE,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def signed(claims: Any, key: Any, algorithm: str, **header: Any) -> str:
    header = {"kid": KID, **header}
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key, algorithm, header)


def jwk_of(key: Any) -> dict[str, Any]:
    """The numbers of a public RSA key, without a name and an algorithm."""
    members = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: members[name] for name in ("kty", "n", "e")}


def relabelled(token: str, **header: Any) -> tuple[str, str]:
    """The signing input of a token under another header, and its old signature."""
    _, payload, signature = token.split(".")
    return f"{json_segment({'kid': KID, **header})}.{payload}", signature


async def let_in(app: Quart, token: str, identity: str = SUBJECT) -> None:
    status, body = await ask(app, "/protected", token)
    assert status == 200, body
    assert body["identity"] == identity


async def kept_out(app: Quart, token: str, *messages: str) -> None:
    """The token reaches no view, even one that needs none."""
    ran = list(app.calls)  # type: ignore[attr-defined]
    for path in ("/protected", "/optional"):
        status, body = await ask(app, path, token)
        assert 400 <= status < 500, (status, body)
        assert not messages or body["msg"] in messages
    assert app.calls == ran  # type: ignore[attr-defined]


async def all_kept_out(app: Quart, issuer: Issuer, attacks: Iterable[str], *messages: str) -> None:
    """No attack gets in, and a good token of the issuer does, before and after them."""
    await let_in(app, issuer.token(AUDIENCE))
    for attack in attacks:
        await kept_out(app, attack, *messages)
    await let_in(app, issuer.token(AUDIENCE))


async def reload(app: Quart, issuer: Provider) -> None:
    """Fetch the keys now; a failure is no matter."""
    with contextlib.suppress(qje.IssuerUnavailableError):
        await manager_of(app).issuers[issuer.issuer].reload()


# --- Which issuer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [0, 16])
async def test_kid_of_one_issuer_finds_no_key_of_another(
    issuer: Issuer, evil: Issuer, cache: int
) -> None:
    """CVE-2025-59936 (get-jwks): keys are cached by their names alone, or by a text that joins name
    and issuer, so that one issuer signs for another one whose key has the same name."""
    joined = [f"{KID}:{issuer.issuer}", f"{issuer.issuer}:{KID}", f"RS256:{KID}", f"{KID}\n", ""]
    evil.keys.update(dict.fromkeys(joined, EVILS_KEY))
    app = trusting(issuer, evil, JWT_SIGNATURE_CACHE_SIZE=cache)
    for first, second in [(issuer, evil), (evil, issuer)]:
        await let_in(app, first.token(AUDIENCE))
        await let_in(app, second.token(AUDIENCE))
        for kid in [KID, *joined]:
            forged = signed(claims_for(issuer), EVILS_KEY, "RS256", kid=kid)
            await kept_out(app, forged, BAD_SIGNATURE, UNKNOWN_KID)
            forged = signed(claims_for(evil), ISSUER_KEY, "RS256", kid=kid)
            await kept_out(app, forged, BAD_SIGNATURE, UNKNOWN_KID)
    await all_kept_out(app, issuer, [])


async def test_issuer_that_is_not_trusted_puts_no_key_into_the_cache(
    issuer: Issuer, evil: Issuer
) -> None:
    """CVE-2025-59936 (get-jwks): a first token makes the service fetch the keys of the attacker's
    issuer, and a second one, which names the good issuer, is verified by them."""
    app = trusting(issuer)
    await kept_out(app, evil.token(AUDIENCE))
    assert evil.requests == []
    await all_kept_out(app, issuer, [signed(claims_for(issuer), EVILS_KEY, "RS256")], BAD_SIGNATURE)


async def test_iss_that_is_a_list_of_names_is_rejected(issuer: Issuer, evil: Issuer) -> None:
    """CVE-2025-30144 (fast-jwt): ``iss`` is a list that has the name of the good issuer in it, and
    the keys are those of another entry."""
    app = trusting(issuer)
    names = [
        *([issuer.issuer], [evil.issuer, issuer.issuer], [issuer.issuer, evil.issuer]),
        *([[issuer.issuer]], {issuer.issuer: True}, {"0": issuer.issuer}),
    ]
    attacks = [
        signed(claims_for(issuer, iss=name), key, "RS256")
        for name in names
        for key in (EVILS_KEY, ISSUER_KEY)
    ]
    await all_kept_out(app, issuer, attacks)
    assert evil.requests == []


async def test_iss_that_is_a_list_is_rejected_by_the_issuer_option_too(issuer: Issuer) -> None:
    """CVE-2025-30144 (fast-jwt): the same with the tokens of the app itself."""
    app = trusting(issuer, JWT_DECODE_ISSUER="the app", JWT_ENCODE_ISSUER="the app")
    await let_in(app, hs_token(access_claims(iss="the app")), "alice")
    for name in (["the app"], ["evil", "the app"], {"the app": 1}):
        await kept_out(app, hs_token(access_claims(iss=name)))


async def test_iss_that_is_a_part_of_the_name_is_rejected(issuer: Issuer) -> None:
    """GHSA-75c5-xw7c-p5pm (PyJWT): the name in the token is looked for as a part of the one that is
    expected."""
    app = trusting(issuer, JWT_DECODE_ISSUER="the app", JWT_ENCODE_ISSUER="the app")
    name = issuer.issuer
    parts = [*("", "h", "http", name[:-1], name[1:], name[4:8], name[:10]), "the", "the ap", "app"]
    attacks = [signed(claims_for(issuer, iss=part), ISSUER_KEY, "RS256") for part in parts]
    attacks += [hs_token(access_claims(iss=part)) for part in parts]
    await all_kept_out(app, issuer, attacks)


# --- Which algorithm ------------------------------------------------------------------------------


@every_rsa_algorithm
async def test_algorithm_of_the_header_is_not_believed_where_the_jwk_names_none(
    issuer: Issuer, algorithm: str
) -> None:
    """CVE-2026-22818 (Hono): the JWK has no ``alg``, as most have not, and the header of the token
    chooses the algorithm."""
    issuer.changes = {"alg": ...}
    app = trusting(issuer, algorithms=[algorithm])
    good = signed(claims_for(issuer), ISSUER_KEY, algorithm)
    await let_in(app, good)
    for other in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        if other != algorithm:
            token = signed(claims_for(issuer), ISSUER_KEY, other)
            await kept_out(app, token, NOT_ALLOWED)
            unsigned, signature = relabelled(token, alg=algorithm)
            await kept_out(app, f"{unsigned}.{signature}", BAD_SIGNATURE)
    for name in HMAC_ALGORITHMS:
        for secret in every_dress("RSA").values():
            header = {"alg": name, "kid": KID}
            token = hs_token(claims_for(issuer), secret=secret, alg=name, header=header)
            await kept_out(app, token, NOT_ALLOWED)
    unsigned, signature = relabelled(good, alg="none")
    for end in ("", signature):
        await kept_out(app, f"{unsigned}.{end}", NOT_ALLOWED)
    await let_in(app, good)


@pytest.mark.parametrize("name", HMAC_ALGORITHMS)
@pytest.mark.parametrize("alg", [..., None, "", "HS256", 5], ids=str)
async def test_rsa_jwk_without_alg_is_no_empty_secret(issuer: Issuer, name: str, alg: Any) -> None:
    """CVE-2026-44699 (LibJWT): an RSA JWK without ``alg`` verifies an HMAC, under a secret of no
    bytes."""
    issuer.changes = {"alg": alg}
    # One that can be used, so that the set is a good one.
    issuer.more = [{**jwk_of(ISSUER_KEY), "kid": "good"}]
    app = trusting(issuer)
    good = signed(claims_for(issuer), ISSUER_KEY, "RS256", kid="good")
    await let_in(app, good)
    header = {"alg": name, "kid": KID}
    for secret in (b"", b"\0", b"null", b"None", b"0"):
        token = hs_token(claims_for(issuer), secret=secret, alg=name, header=header)
        await kept_out(app, token, NOT_ALLOWED)
    unsigned, _ = relabelled(good, alg=name)
    await kept_out(app, f"{unsigned}.", NOT_ALLOWED)
    await let_in(app, good)


@pytest.mark.parametrize("published", ["RS512", "PS256", "HS256", "ES256", "none", "RS256 "])
async def test_algorithm_of_the_jwk_adds_nothing_to_the_configured_ones(
    issuer: Issuer, published: str
) -> None:
    """GHSA-jq35-7prp-9v3f (PyJWT): a token is verified by the algorithm that the JWK names, though
    its header says one that is allowed, so that the list of allowed ones means nothing."""
    issuer.changes = {"kid": "odd", "alg": published}
    issuer.more = [{**jwk_of(ISSUER_KEY), "kid": KID}]
    app = trusting(issuer)
    attacks = []
    for name in ("RS256", "RS512", "PS256"):
        token = signed(claims_for(issuer), ISSUER_KEY, name, kid="odd")
        attacks.append(token)
        for kid in ("odd", KID):
            unsigned, signature = relabelled(token, alg="RS256" if name != "RS256" else "PS256")
            attacks.append(f"{unsigned}.{signature}")
            unsigned, signature = relabelled(token, alg=published, kid=kid)
            attacks.append(f"{unsigned}.{signature}")
    for secret in every_dress("RSA").values():
        for label in ("RS256", published):
            for kid in ("odd", KID):
                header = {"alg": label, "kid": kid}
                attacks.append(hs_token(claims_for(issuer), secret=secret, header=header))
    await all_kept_out(app, issuer, attacks)


async def test_public_key_of_an_issuer_as_hmac_secret_is_rejected(issuer: Issuer) -> None:
    """The classic of 2015: an RSA key that everybody can read becomes the secret of an HMAC, in any
    spelling, for the issuer or for the app itself."""
    app = trusting(issuer)
    document = json.dumps(issuer.key_set())
    secrets = [
        *every_dress("RSA").values(),
        *(document.encode(), json.dumps(issuer.key_set()["keys"][0]).encode()),
        *(document.replace(" ", "").encode(), KID.encode(), issuer.issuer.encode()),
    ]
    attacks = [
        hs_token(claims, secret=secret, alg=name, header={"alg": name, **header})
        for secret in secrets
        for name in HMAC_ALGORITHMS
        for header in ({"kid": KID}, {})
        for claims in (claims_for(issuer), claims_for(issuer, iss=...))
    ]
    await all_kept_out(app, issuer, attacks, NOT_ALLOWED, BAD_SIGNATURE)


@pytest.mark.parametrize("algorithms", [["RS256"], ["RS256", "ES256", "EdDSA"]], ids=str)
async def test_secret_that_an_issuer_publishes_is_no_key(issuer: Issuer, algorithms: Any) -> None:
    """Whoever reads a symmetric key in the set of an issuer could sign with it."""
    secret = b"a secret that is published, and long enough for every hash: 0123456789 0123456789"
    issuer.more = [
        {"kty": "oct", "kid": f"secret-{alg}", "k": b64url(secret), "alg": alg, "use": "sig"}
        for alg in (*HMAC_ALGORITHMS, *algorithms, ...)
    ]
    for member in issuer.more:
        if member["alg"] is ...:
            del member["alg"]
    app = trusting(issuer, algorithms=algorithms)
    attacks = [
        hs_token(claims_for(issuer), secret=secret, alg=name, header={"alg": label, "kid": kid})
        for name in HMAC_ALGORITHMS
        for label in (name, *algorithms)
        for kid in (KID, *(member["kid"] for member in issuer.more))
    ]
    await all_kept_out(app, issuer, attacks)
    assert manager_of(app).issuers[issuer.issuer].key_ids == (KID,)


# --- Which key ------------------------------------------------------------------------------------


async def test_issuer_without_the_key_does_not_fall_back_to_the_keys_of_the_app(
    issuer: Issuer,
) -> None:
    """As Guardian did: where the key of a token is not found, the secret of the app is tried."""
    app = trusting(issuer)
    attacks = [
        hs_token(claims_for(issuer), header=header)
        for header in (
            *({"alg": "HS256"}, {"alg": "HS256", "kid": KID}, {"alg": "HS256", "kid": "unknown"}),
            *({"alg": "RS256", "kid": KID}, {"alg": "RS256"}, {"alg": "RS256", "kid": "unknown"}),
        )
    ]
    await all_kept_out(app, issuer, attacks)
    # Nor where it has no keys at all.
    issuer.publish(KEYS, {"keys": []})
    fresh = trusting(issuer)
    for attack in attacks:
        status = (await ask(fresh, "/protected", attack))[0]
        assert status in (422, 503)
    assert fresh.calls == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("has_keys", [True, False])
async def test_private_key_of_the_app_does_not_sign_for_an_issuer(
    issuer: Issuer, has_keys: bool
) -> None:
    """As Guardian did, with an app that has a key pair."""
    if not has_keys:
        issuer.publish(KEYS, {"keys": []})
    own = private_key("RSA", "app")
    options = {
        "JWT_ALGORITHM": "RS256",
        "JWT_PRIVATE_KEY": private_pem(own),
        "JWT_PUBLIC_KEY": public_pem(own),
    }
    app = trusting(issuer, **options)
    own_token = signed(access_claims(), own, "RS256", kid="own")
    await let_in(app, own_token, "alice")
    for kid in (KID, "own", "unknown"):
        attack = signed(claims_for(issuer), own, "RS256", kid=kid)
        status = (await ask(app, "/protected", attack))[0]
        assert status == 422 if has_keys else status == 503
    await let_in(app, own_token, "alice")
    if has_keys:
        await let_in(app, issuer.token(AUDIENCE))


async def test_keys_by_name_of_the_app_and_of_an_issuer_are_not_mixed(issuer: Issuer) -> None:
    """As Guardian did, where a key in JWT_KEYS has the name of one of the issuer."""
    own = private_key("RSA", "app")
    ring = {
        KID: {"key": private_pem(own), "algorithm": "RS256"},
        "secret": {"key": SECRET, "algorithm": "HS256"},
    }
    app = trusting(issuer, JWT_SECRET_KEY=None, JWT_KEYS=ring, JWT_SIGNING_KEY_ID=KID)
    own_tokens = [
        signed(access_claims(), own, "RS256"),
        hs_token(access_claims(), header={"alg": "HS256", "kid": "secret"}),
    ]
    for token in own_tokens:
        await let_in(app, token, "alice")
    attacks = [
        signed(claims_for(issuer), own, "RS256"),
        hs_token(claims_for(issuer), header={"alg": "HS256", "kid": "secret"}),
        hs_token(claims_for(issuer), header={"alg": "HS256", "kid": KID}),
        signed(access_claims(), ISSUER_KEY, "RS256"),
    ]
    await all_kept_out(app, issuer, attacks)
    for token in own_tokens:
        await let_in(app, token, "alice")


@pytest.mark.parametrize("name", [..., "the app", None, "", "https://evil.example"], ids=str)
async def test_key_of_an_issuer_verifies_no_token_of_the_app(issuer: Issuer, name: Any) -> None:
    """An issuer that is trusted for its own users makes a token that names none, or the app, to be
    any user of the app."""
    own = private_key("RSA", "app")
    options = {"JWT_ALGORITHM": "RS256", "JWT_PUBLIC_KEY": public_pem(own)}
    for app in (
        trusting(issuer),
        trusting(issuer, **options),
        trusting(issuer, **options, JWT_ENCODE_ISSUER="the app", JWT_DECODE_ISSUER="the app"),
    ):
        claims = access_claims(iss=name)
        attacks = [
            signed(claims, ISSUER_KEY, "RS256"),
            signed(claims, ISSUER_KEY, "RS256", kid="own"),
            signed({**claims, "aud": AUDIENCE}, ISSUER_KEY, "RS256"),
        ]
        await all_kept_out(app, issuer, attacks)


async def test_headers_that_bring_a_key_or_point_to_one_are_ignored(
    issuer: Issuer, evil: Issuer
) -> None:
    """The token brings the key that verifies it, or says where to fetch that (``jwk``, ``x5c``,
    ``jku``, ``x5u``)."""
    app = trusting(issuer)
    (jwk,) = evil.key_set()["keys"]
    der = base64.b64encode(certificate("RSA", "evil").public_bytes(Encoding.DER)).decode()
    headers: list[dict[str, Any]] = [
        *({"jwk": jwk}, {"jwk": {**jwk, "kid": KID}}, {"x5c": [der]}, {"jwks": evil.key_set()}),
        *({"jku": evil.issuer + KEYS}, {"x5u": evil.issuer + KEYS}, {"iss": evil.issuer}),
        *({"jku": f"{issuer.issuer}@{evil.issuer[7:]}{KEYS}"}, {"jwks_uri": evil.issuer + KEYS}),
        *({"kid": evil.issuer + KEYS}, {"kid": f"../../{KID}"}, {"kid": f"{KID}#"}),
    ]
    attacks = [signed(claims_for(issuer), EVILS_KEY, "RS256", **header) for header in headers]
    await all_kept_out(app, issuer, attacks, BAD_SIGNATURE, UNKNOWN_KID)
    assert evil.requests == []
    # They do no harm in a good token.
    for header in headers[:4]:
        await let_in(app, signed(claims_for(issuer), ISSUER_KEY, "RS256", **header))


# --- Fetching -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300])
@pytest.mark.parametrize("path", [CONFIGURATION, KEYS])
async def test_redirect_of_an_issuer_is_not_followed(
    issuer: Issuer, evil: Issuer, path: str, status: int
) -> None:
    """GHSA-9v7f-9g4p-ffgj: an answer of the issuer, or of whoever can make it redirect, leads the
    service to a machine of the attacker, or inside its own network."""
    evil.publish(CONFIGURATION, {"issuer": issuer.issuer, "jwks_uri": evil.issuer + KEYS})
    issuer.answers[path] = (status, {"Location": evil.issuer + path}, b"")
    app = trusting(issuer)
    forged = signed(claims_for(issuer), EVILS_KEY, "RS256")
    assert await ask(app, "/protected", forged) == UNAVAILABLE
    assert (path in issuer.requests, evil.requests) == (True, [])
    # With a body that is the document itself, too.
    body = json.dumps(evil.key_set() if path == KEYS else issuer.configuration()).encode()
    issuer.answers[path] = (status, {"Location": evil.issuer + path}, body)
    await reload(app, issuer)
    assert await ask(app, "/protected", forged) == UNAVAILABLE
    assert evil.requests == []
    del issuer.answers[path]
    await reload(app, issuer)
    await all_kept_out(app, issuer, [forged], BAD_SIGNATURE)


async def test_redirect_does_not_replace_the_keys_that_are_known(
    issuer: Issuer, evil: Issuer
) -> None:
    """GHSA-9v7f-9g4p-ffgj: the redirect begins while the service runs."""
    app = trusting(issuer)
    await let_in(app, issuer.token(AUDIENCE))
    issuer.answers[KEYS] = (302, {"Location": evil.issuer + KEYS}, b"")
    await reload(app, issuer)
    await all_kept_out(app, issuer, [signed(claims_for(issuer), EVILS_KEY, "RS256")], BAD_SIGNATURE)
    assert evil.requests == []


async def test_scheme_other_than_https_is_not_opened(
    issuer: Issuer, evil: Issuer, tmp_path: Path
) -> None:
    """CVE-2026-48522 (PyJWT): the URL of the keys is that of a file, or holds the keys itself, and
    the standard library opens it."""
    document = json.dumps(evil.key_set())
    (tmp_path / "keys.json").write_text(document)
    urls = [
        *((tmp_path / "keys.json").as_uri(), f"file:{tmp_path}/keys.json", f"{tmp_path}/keys.json"),
        *(f"FILE://localhost{tmp_path}/keys.json", f"local-file://{tmp_path}/keys.json"),
        f"data:application/json;base64,{base64.b64encode(document.encode()).decode()}",
        *(f"ftp://{evil.issuer[7:]}{KEYS}", f"unix:{evil.issuer[7:]}{KEYS}"),
    ]
    forged = signed(claims_for(issuer), EVILS_KEY, "RS256")
    for url in urls:
        manager = qje.JWTManager()
        with pytest.raises(ValueError, match="^jwks_uri must be an https URL"):
            manager.trust_issuer("an issuer", audience="a", algorithms="RS256", jwks_uri=url)
        # The configuration of the issuer names it.
        issuer.publish(CONFIGURATION, {"issuer": issuer.issuer, "jwks_uri": url})
        app = trusting(issuer)
        assert await ask(app, "/protected", forged) == UNAVAILABLE
        assert manager_of(app).issuers[issuer.issuer].key_ids == ()
    assert evil.requests == []


async def test_discovery_of_a_remote_issuer_does_not_lead_to_this_machine(evil: Issuer) -> None:
    """SSRF: the configuration of an issuer, which may have been taken over, sends the service to
    what listens on its own machine, or to one that is reached without encryption."""
    name = "https://idp.example"
    fetched: list[str] = []
    configuration: dict[str, Any] = {"issuer": name}

    async def fetch(url: str) -> Any:
        fetched.append(url)
        return configuration if url == f"{name}{CONFIGURATION}" else evil.key_set()

    forged = signed(claims_for(evil, iss=name), EVILS_KEY, "RS256")
    for uri in (
        *(f"{evil.issuer}{KEYS}", f"http://localhost:5000{KEYS}", f"http://[::1]:5000{KEYS}"),
        *(
            f"//127.0.0.1{KEYS}",
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.1/keys",
            "http://idp.example/",
        ),
        *(f"https://user@idp.example{KEYS}", f"https://idp.example{KEYS}#", KEYS, "", "https://"),
        *(f"https://idp.example\\@127.0.0.1{KEYS}", "https://idp.example/ keys"),
    ):
        configuration["jwks_uri"] = uri
        app = make_app()
        manager = manager_of(app)
        manager.jwks_fetch_loader(fetch)
        manager.trust_issuer(name, audience=AUDIENCE, algorithms="RS256")
        assert await ask(app, "/protected", forged) == UNAVAILABLE
        assert set(fetched) == {f"{name}{CONFIGURATION}"}
    # It is for want of a good URL, and of nothing else.
    configuration["jwks_uri"] = f"{name}{KEYS}"
    await manager.issuers[name].reload()
    await let_in(app, forged)


async def test_configuration_of_another_issuer_is_not_believed(
    issuer: Issuer, evil: Issuer
) -> None:
    """The mix-up of RFC 8414, section 6.2: a configuration that names another issuer is served in
    place of the right one."""
    forged = signed(claims_for(issuer), EVILS_KEY, "RS256")
    for name in (evil.issuer, f"{issuer.issuer}/", [issuer.issuer], None, ""):
        issuer.publish(CONFIGURATION, {"issuer": name, "jwks_uri": evil.issuer + KEYS})
        app = trusting(issuer)
        assert await ask(app, "/protected", forged) == UNAVAILABLE
    assert evil.requests == []


BROKEN = {
    "error": (500, {}, b""),
    "not found": (404, {}, b""),
    "empty body": (200, {}, b""),
    "no json": (200, {}, b"<html>"),
    "list": (200, {}, b"[]"),
    "null": (200, {}, b"null"),
    "no keys": (200, {}, b"{}"),
    "empty keys": (200, {}, b'{"keys": []}'),
    "keys of null": (200, {}, b'{"keys": null}'),
    "junk keys": (200, {}, b'{"keys": [null, 5, {}, {"kty": "RSA", "kid": "key-1"}]}'),
    "page": (200, {"Content-Type": "text/html"}, b'{"keys": []}'),
    "deep": (200, {}, b'{"keys": ' + b"[" * 50_000),
    "too long": (200, {}, b'{"keys": []}'.ljust(300_000)),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_failed_fetch_keeps_the_keys(issuer: Issuer, evil: Issuer, answer: Any) -> None:
    """GHSA-fhv5-28vv-h8m8 (PyJWT): tokens with names of keys that nobody knows cause fetches, of
    which one fails, and that wipes the keys of everybody."""
    app = trusting(issuer)
    good = issuer.token(AUDIENCE)
    await let_in(app, good)
    issuer.answers[KEYS] = answer
    await reload(app, issuer)
    trusted = manager_of(app).issuers[issuer.issuer]
    assert trusted.last_error is not None
    assert trusted.key_ids == (KID,)
    for number in range(5):
        stranger = signed(claims_for(issuer), EVILS_KEY, "RS256", kid=f"key-{number + 2}")
        assert await ask(app, "/protected", stranger) == UNAVAILABLE
    await all_kept_out(app, issuer, [signed(claims_for(issuer), EVILS_KEY, "RS256")], BAD_SIGNATURE)
    # One that is gone keeps them, too.
    issuer.stop()
    await reload(app, issuer)
    await let_in(app, good)
    issuer.start()
    del issuer.answers[KEYS]
    await reload(app, issuer)
    assert trusted.last_error is None
    await let_in(app, good)


async def test_unknown_names_of_keys_cause_no_flood_of_fetches(issuer: Issuer) -> None:
    """GHSA-fhv5-28vv-h8m8 (PyJWT): each token with an unknown ``kid`` causes a fetch."""
    app = trusting(issuer)
    await let_in(app, issuer.token(AUDIENCE))
    began, before = time.monotonic(), len(issuer.requests)
    for number in range(100):
        stranger = signed(claims_for(issuer), EVILS_KEY, "RS256", kid=f"unknown {number}")
        assert await ask(app, "/protected", stranger) == (422, {"msg": UNKNOWN_KID})
    # On a machine so slow that the pause between two attempts is over, one more is due.
    assert len(issuer.requests) - before <= (time.monotonic() - began) // 30
    await let_in(app, issuer.token(AUDIENCE))


def forged_by_the_thief(issuer: Issuer) -> str:
    """One that the thief of the first key makes."""
    return signed(claims_for(issuer), ISSUER_KEY, "RS256")


@pytest.mark.parametrize("cache", [0, 16])
async def test_withdrawn_key_is_out_after_the_next_fetch(issuer: Issuer, cache: int) -> None:
    """GHSA-675f-rq2r-jw82 (jwkset): fetched keys are added to those that are known, so that one
    which was stolen, and withdrawn, verifies tokens for ever."""
    app = trusting(issuer, JWT_SIGNATURE_CACHE_SIZE=cache)
    stolen = issuer.token(AUDIENCE)
    for _ in range(2):
        await let_in(app, stolen)
    issuer.rotate("RSA")
    del issuer.keys[KID]
    await reload(app, issuer)
    new = manager_of(app).issuers[issuer.issuer].key_ids
    assert new == (issuer.signing_kid,)
    await all_kept_out(app, issuer, [stolen, forged_by_the_thief(issuer)], UNKNOWN_KID)
    # The same name for another key.
    issuer.keys = {KID: EVILS_KEY}
    issuer.signing_kid = KID
    await reload(app, issuer)
    await all_kept_out(app, issuer, [stolen, forged_by_the_thief(issuer)], BAD_SIGNATURE)
