"""Tokens in the shape of well-known identity providers, and the call that trusts each of them.

Headers, claims and key sets are those that the products document; only their addresses differ, and
names of keys are cut, as the longest of them look like signatures.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from quart import Quart

import quart_jwt_extended as qje
from support import SECRET, ask, hs_token, make_app, manager_of
from support.openid_provider import Provider
from support.signing_keys import certificate, private_key

KEY = private_key("RSA")
CERTIFICATE = base64.b64encode(certificate("RSA").public_bytes(Encoding.DER)).decode()
TENANT = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
CLIENT = "6731de76-14a6-49ae-97bc-6eba6914391e"
API = "https://api.example.com"


class Product(Provider):
    """A provider whose documents are where a product has them."""

    # Where it is in reality, what is below that, and where its keys are.
    real_issuer: ClassVar[str]
    path = ""
    keys_path: ClassVar[str]
    kid = "key-1"
    # Members of each JWK beside kty, n, e and kid.
    jwk: ClassVar[dict[str, Any]] = {"use": "sig", "alg": "RS256"}
    # The header of its tokens beside alg and kid.
    header: ClassVar[dict[str, Any]] = {"typ": "JWT"}

    # Arguments of trust_issuer, and what comes of it: the identity, and scopes that are granted.
    trust: ClassVar[dict[str, Any]]
    identity: ClassVar[str]
    scopes: ClassVar[list[str]]
    # Changes of the claims that make the token one for another API.
    for_another: ClassVar[dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.keys = {self.kid: KEY}
        self.signing_kid = self.kid

    @property
    def issuer(self) -> str:
        return f"{super().issuer}{self.path}"

    @property
    def jwks_uri(self) -> str:
        return f"{super().issuer}{self.keys_path}"

    @property
    def discovery(self) -> str:
        """The path of its configuration (OpenID Connect Discovery, section 4)."""
        return f"{self.path.rstrip('/')}/.well-known/openid-configuration"

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "jwks_uri": self.jwks_uri,
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
        }

    def key_set(self) -> dict[str, Any]:
        members = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        numbers = {name: members[name] for name in ("kty", "n", "e")}
        return {"keys": [{**numbers, "kid": self.kid, **self.jwk}]}

    def document(self, path: str) -> bytes | None:
        documents = {self.discovery: self.configuration, self.keys_path: self.key_set}
        return json.dumps(documents[path]()).encode() if path in documents else None

    def times(self, seconds: int = 300) -> dict[str, Any]:
        now = int(time.time())
        return {"iat": now, "exp": now + seconds}

    def access_claims(self) -> dict[str, Any]:
        raise NotImplementedError

    def id_claims(self) -> dict[str, Any]:
        raise NotImplementedError

    def signed(self, claims: dict[str, Any], **header: Any) -> str:
        claims = {name: value for name, value in claims.items() if value is not ...}
        header = {"kid": self.kid, **self.header, **header}
        # By hand, as some have no typ, and others more than one library would write.
        return jwt.PyJWS().encode(json.dumps(claims).encode(), KEY, "RS256", {"typ": "", **header})

    def access_token(self, **changes: Any) -> str:
        return self.signed({**self.access_claims(), **changes})

    def id_token(self, **changes: Any) -> str:
        return self.signed({**self.id_claims(), **changes})


class Keycloak(Product):
    """The audience comes from a mapper of the type "Audience"; without one it is "account"."""

    real_issuer = "https://sso.example.com/realms/main"
    path = "/realms/main"
    keys_path = "/realms/main/protocol/openid-connect/certs"
    kid = "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoq"
    jwk: ClassVar = {"use": "sig", "alg": "RS256", "x5c": [CERTIFICATE], "x5t": "xC3Jq"}
    trust: ClassVar = {"audience": "notes-api", "algorithms": ["RS256"]}
    identity = "36fa0f91-f94d-4a0c-afed-6b7d952e47da"
    scopes: ClassVar = ["openid", "notes:read"]
    for_another: ClassVar = {"aud": "account"}

    def key_set(self) -> dict[str, Any]:
        (member,) = super().key_set()["keys"]
        # It has a key for encryption, too.
        encryption = {**member, "kid": "encryption", "use": "enc", "alg": "RSA-OAEP"}
        return {"keys": [encryption, member]}

    def access_claims(self) -> dict[str, Any]:
        return {
            **self.times(),
            "auth_time": self.times()["iat"],
            "jti": "onrtac:d58f5dc8-fd8f-462b-8a19-716f8f83985b",
            "iss": self.issuer,
            "aud": ["notes-api", "account"],
            "sub": self.identity,
            "typ": "Bearer",
            "azp": "notes-web",
            "sid": "2a88c258-f73a-4103-b862-e1fbd8f4e04e",
            "acr": "1",
            "allowed-origins": ["https://notes.example.com"],
            "realm_access": {"roles": ["offline_access", "uma_authorization"]},
            "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
            "scope": "openid notes:read email profile",
            "email_verified": True,
            "name": "Ann Example",
            "preferred_username": "ann",
            "email": "ann@example.com",
        }

    def id_claims(self) -> dict[str, Any]:
        claims = self.access_claims()
        for name in ("allowed-origins", "realm_access", "resource_access", "scope"):
            del claims[name]
        return {**claims, "aud": "notes-web", "typ": "ID", "at_hash": "RnXXwKvG4b", "nonce": "n"}


class Auth0(Product):
    """Its name ends with a slash. Its default profile of tokens has azp in place of client_id."""

    real_issuer = "https://tenant.eu.auth0.com/"
    path = "/"
    keys_path = "/.well-known/jwks.json"
    kid = "NjVBRjY5MDlCMUIwNzU4RTA2QzZF"
    jwk: ClassVar = {"use": "sig", "alg": "RS256", "x5c": [CERTIFICATE], "x5t": "NjVBRjY5"}
    trust: ClassVar = {"audience": API, "algorithms": ["RS256"]}
    identity = "auth0|6553da60a54af58e29493993"
    scopes: ClassVar = ["openid", "read:notes"]
    for_another: ClassVar = {"aud": ["https://other.example.com", f"{real_issuer}userinfo"]}

    def access_claims(self) -> dict[str, Any]:
        return {
            "iss": self.issuer,
            "sub": self.identity,
            "aud": [API, f"{self.issuer}userinfo"],
            **self.times(86400),
            "azp": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
            "scope": "openid profile read:notes",
            "permissions": ["read:notes", "write:notes"],
        }

    def id_claims(self) -> dict[str, Any]:
        return {
            "iss": self.issuer,
            "sub": self.identity,
            "aud": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
            **self.times(36000),
            "sid": "fUqIbPkVbWHK3o5sQ",
            "nonce": "n-0S6_WzA2Mj",
            "nickname": "ann",
            "email": "ann@example.com",
        }


class Auth0Profiled(Auth0):
    """The profile of tokens that is called RFC 9068."""

    header: ClassVar = {"typ": "at+jwt"}
    trust: ClassVar = {**Auth0.trust, "token_type": "at+jwt"}

    def access_claims(self) -> dict[str, Any]:
        claims = super().access_claims()
        return {**claims, "client_id": claims.pop("azp"), "jti": "73WakrfVbNJBaAmhQtEeDv"}

    def id_token(self, **changes: Any) -> str:
        return self.signed({**self.id_claims(), **changes}, typ="JWT")


class EntraV2(Product):
    """``sub`` is another one for each API; ``oid`` is the user in the whole tenant. No ``jti``."""

    real_issuer = f"https://login.microsoftonline.com/{TENANT}/v2.0"
    path = f"/{TENANT}/v2.0"
    keys_path = f"/{TENANT}/discovery/v2.0/keys"
    kid = "SkYx4Rm9WqIgJz2nLkJ8sQnVXc0"
    # Without alg.
    jwk: ClassVar = {
        "use": "sig",
        "x5t": kid,
        "x5c": [CERTIFICATE],
        "cloud_instance_name": "microsoftonline.com",
        "issuer": real_issuer,
    }
    trust: ClassVar = {
        "audience": CLIENT,
        "algorithms": ["RS256"],
        "identity_claim": "oid",
        "scope_claim": "scp",
    }
    identity = "690222be-ff1a-4d56-abd1-7e4f7d38e474"
    scopes: ClassVar = ["access_as_user", "Notes.Read"]
    for_another: ClassVar = {"aud": "00000003-0000-0000-c000-000000000000"}

    def access_claims(self) -> dict[str, Any]:
        return {
            "aud": CLIENT,
            "iss": self.issuer,
            "nbf": self.times()["iat"],
            **self.times(4000),
            "aio": "ATQAy/8TAAAA",
            "azp": "11a3b8f9-7a3d-4c1e-9b0f-2f6f5a0e1c22",
            "azpacr": "0",
            "name": "Ann Example",
            "oid": self.identity,
            "preferred_username": "ann@example.com",
            "rh": "0.AXEAI_Cujs",
            "scp": "access_as_user Notes.Read",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
            "tid": TENANT,
            "uti": "fqiBqXLPj0eQa82S-IYFAA",
            "ver": "2.0",
        }

    def id_claims(self) -> dict[str, Any]:
        claims = self.access_claims()
        for name in ("azp", "azpacr", "scp"):
            del claims[name]
        return {**claims, "aud": "11a3b8f9-7a3d-4c1e-9b0f-2f6f5a0e1c22", "nonce": "12345"}


class EntraV1(EntraV2):
    """What an API gets whose manifest does not say ``requestedAccessTokenVersion: 2``."""

    real_issuer = f"https://sts.windows.net/{TENANT}/"
    path = f"/{TENANT}/"
    keys_path = f"/{TENANT}/discovery/keys"
    header: ClassVar = {"typ": "JWT", "x5t": EntraV2.kid}
    trust: ClassVar = {**EntraV2.trust, "audience": f"api://{CLIENT}"}
    for_another: ClassVar = {"aud": "https://graph.microsoft.com"}

    def access_claims(self) -> dict[str, Any]:
        return {
            "aud": f"api://{CLIENT}",
            "iss": self.issuer,
            "nbf": self.times()["iat"],
            **self.times(4000),
            "acr": "1",
            "aio": "AXQAi/8TAAAA",
            "amr": ["pwd"],
            "appid": "11a3b8f9-7a3d-4c1e-9b0f-2f6f5a0e1c22",
            "appidacr": "0",
            "family_name": "Example",
            "given_name": "Ann",
            "ipaddr": "192.0.2.1",
            "name": "Ann Example",
            "oid": self.identity,
            "rh": "0.AXEAI_Cujs",
            "scp": "access_as_user Notes.Read",
            "sub": "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA",
            "tid": TENANT,
            "unique_name": "ann@example.com",
            "upn": "ann@example.com",
            "uti": "fqiBqXLPj0eQa82S-IYFAA",
            "ver": "1.0",
        }

    def id_claims(self) -> dict[str, Any]:
        claims = self.access_claims()
        for name in ("acr", "appid", "appidacr", "scp"):
            del claims[name]
        return {**claims, "aud": "11a3b8f9-7a3d-4c1e-9b0f-2f6f5a0e1c22", "nonce": "12345"}


class Google(Product):
    """Its access tokens are no JWTs: what an API can verify is the ID token of its own client."""

    real_issuer = "https://accounts.google.com"
    keys_path = "/oauth2/v3/certs"
    kid = "fed806dfec70fc5b2d3b8ab1e3bd7d8c1a1b2c3d"
    trust: ClassVar = {
        "audience": "407408718192.apps.googleusercontent.com",
        "algorithms": ["RS256"],
    }
    identity = "10769150350006150715113082367"
    scopes: ClassVar = []
    for_another: ClassVar = {"aud": "999999999999.apps.googleusercontent.com"}

    def access_claims(self) -> dict[str, Any]:
        return {
            "iss": self.issuer,
            "azp": "407408718192.apps.googleusercontent.com",
            "aud": "407408718192.apps.googleusercontent.com",
            "sub": self.identity,
            "hd": "example.com",
            "email": "ann@example.com",
            "email_verified": True,
            "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
            "nonce": "0394852-3190485-2490358",
            "name": "Ann Example",
            "picture": "https://lh3.googleusercontent.com/a-/photo",
            **self.times(3600),
        }

    def id_token(self, **changes: Any) -> str:
        """What a client might send in place of an ID token: its access token, which is opaque."""
        return "ya29.a0AfH6SMBx"


class Okta(Product):
    """The tokens of a custom authorization server; its scopes are a list, and there is no typ."""

    real_issuer = "https://dev-123456.okta.com/oauth2/default"
    path = "/oauth2/default"
    keys_path = "/oauth2/default/v1/keys"
    kid = "Y5Vc9cQdcQ4p3ZKZ1sWyUfX1oR3V"
    header: ClassVar = {}
    trust: ClassVar = {
        "audience": "api://default",
        "algorithms": ["RS256"],
        "identity_claim": "uid",
        "scope_claim": "scp",
    }
    identity = "00uk1u7AsAk6dZL3z0g3"
    scopes: ClassVar = ["openid", "notes.read"]
    for_another: ClassVar = {"aud": "api://another"}

    def access_claims(self) -> dict[str, Any]:
        return {
            "ver": 1,
            "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
            "iss": self.issuer,
            "aud": "api://default",
            **self.times(3600),
            "cid": "nmdP1fcyvdVO11AL7ECm",
            "uid": self.identity,
            "scp": ["openid", "email", "notes.read"],
            "auth_time": self.times()["iat"],
            "sub": "ann@example.com",
        }

    def id_claims(self) -> dict[str, Any]:
        return {
            "ver": 1,
            "sub": self.identity,
            "iss": self.issuer,
            "aud": "nmdP1fcyvdVO11AL7ECm",
            **self.times(3600),
            "jti": "ID.QNMMNhR7jVkJrBVKO1xs5gLTRBC3HVAw0NIoNY4NKNM",
            "amr": ["pwd"],
            "idp": "00o1bn1sdPmzSSNGYzL2",
            "nonce": "n",
            "auth_time": self.times()["iat"],
            "at_hash": "preview_at_hash",
            "name": "Ann Example",
            "email": "ann@example.com",
        }


class Cognito(Product):
    """Its access tokens have no ``aud``, unless a client names a resource: client_id stands in."""

    real_issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE"
    path = "/eu-west-1_EXAMPLE"
    keys_path = "/eu-west-1_EXAMPLE/.well-known/jwks.json"
    kid = "1234example/+k="
    header: ClassVar = {}
    trust: ClassVar = {
        "audience": "57cbishk4j24pabc1234567890",
        "algorithms": ["RS256"],
        "audience_claim": "client_id",
    }
    identity = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    scopes: ClassVar = ["openid", "notes/read"]
    for_another: ClassVar = {"client_id": "5vl9tq1234567890abcdefghij"}

    def access_claims(self) -> dict[str, Any]:
        return {
            "sub": self.identity,
            "device_key": "eu-west-1_aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            "cognito:groups": ["admin"],
            "iss": self.issuer,
            "version": 2,
            "client_id": "57cbishk4j24pabc1234567890",
            "origin_jti": "aaaaaaaa-1111-cccc-dddd-eeeeeeeeeeee",
            "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
            "token_use": "access",
            "scope": "phone openid profile email notes/read",
            "auth_time": self.times()["iat"],
            **self.times(3600),
            "jti": "aaaaaaaa-2222-cccc-dddd-eeeeeeeeeeee",
            "username": "ann",
        }

    def id_claims(self) -> dict[str, Any]:
        return {
            "sub": self.identity,
            "cognito:groups": ["admin"],
            "email_verified": True,
            "iss": self.issuer,
            "cognito:username": "ann",
            "nonce": "abcdefg",
            "origin_jti": "aaaaaaaa-1111-cccc-dddd-eeeeeeeeeeee",
            "aud": "57cbishk4j24pabc1234567890",
            "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
            "token_use": "id",
            "auth_time": self.times()["iat"],
            **self.times(3600),
            "jti": "aaaaaaaa-3333-cccc-dddd-eeeeeeeeeeee",
            "email": "ann@example.com",
        }


PRODUCTS = [Keycloak, Auth0, Auth0Profiled, EntraV2, EntraV1, Google, Okta, Cognito]


@pytest.fixture(params=PRODUCTS, ids=lambda product: product.__name__)
def product(request: pytest.FixtureRequest) -> Iterator[Any]:
    with request.param() as product:
        yield product


def running(product_class: type[Product]) -> Any:
    """A fixture of one product, for what only that has."""

    @pytest.fixture
    def fixture() -> Iterator[Any]:
        with product_class() as product:
            yield product

    return fixture


keycloak, auth0, entra, okta, cognito, google = map(
    running, (Keycloak, Auth0, EntraV2, Okta, Cognito, Google)
)


def trusting(product: Product, **changes: Any) -> Quart:
    app = make_app()
    manager_of(app).trust_issuer(product.issuer, **{**product.trust, **changes})

    @app.get("/notes")
    @qje.jwt_required(scopes=product.scopes)
    async def notes() -> Any:
        return {
            "issuer": qje.get_jwt_issuer(),
            "identity": qje.get_jwt_identity(),
            "claims": qje.get_jwt(),
            "session": qje.get_session_id(),
        }

    @app.get("/scoped/<path:scope>")
    async def scoped(scope: str) -> str:
        await qje.verify_jwt_in_request(scopes=scope)
        return scope

    return app


# --- Each of them ---------------------------------------------------------------------------------


async def test_access_token_is_let_in(product: Any) -> None:
    app = trusting(product)
    status, body = await ask(app, "/notes", product.access_token())
    assert status == 200, body
    assert (body["issuer"], body["identity"]) == (product.issuer, product.identity)
    assert (body["claims"]["type"], body["claims"]["fresh"]) == ("access", False)
    # All that the product says of its user is there, but for what only sessions of the app have.
    assert body["session"] is None
    for name, value in product.access_claims().items():
        if name not in ("iat", "nbf", "exp", "auth_time", "sid"):
            assert body["claims"][name] == value


async def test_keys_are_found_by_discovery(product: Any) -> None:
    app = trusting(product)
    for _ in range(2):
        assert (await ask(app, "/notes", product.access_token()))[0] == 200
    assert product.requests == [product.discovery, product.keys_path]
    assert manager_of(app).issuers[product.issuer].key_ids == (product.kid,)


async def test_keys_are_found_by_their_address(product: Any) -> None:
    app = trusting(product, jwks_uri=product.jwks_uri)
    assert (await ask(app, "/notes", product.access_token()))[0] == 200
    assert product.requests == [product.keys_path]


def test_real_issuer_is_taken(product: Any) -> None:
    trusted = qje.JWTManager().trust_issuer(product.real_issuer, **product.trust)
    assert trusted.name == product.real_issuer
    assert product.real_issuer.endswith(product.path)


async def test_access_token_for_another_api_is_rejected(product: Any) -> None:
    app = trusting(product)
    status, body = await ask(app, "/notes", product.access_token(**product.for_another))
    assert (status, body) == (422, {"msg": "Audience doesn't match"})
    assert (await ask(app, "/notes", product.access_token()))[0] == 200


async def test_id_token_in_place_of_an_access_token_is_rejected(product: Any) -> None:
    app = trusting(product)
    for path in ("/protected", "/notes"):
        assert (await ask(app, path, product.id_token()))[0] == 422
    assert (await ask(app, "/notes", product.access_token()))[0] == 200


async def test_token_of_another_tenant_is_rejected(product: Any) -> None:
    """Tenants of one product may share its keys."""
    app = trusting(product)
    for name in (
        f"{product.issuer}2",
        product.issuer.replace("127.0.0.1", "localhost"),
        product.issuer.removesuffix("/") if product.path.endswith("/") else f"{product.issuer}/",
    ):
        assert (await ask(app, "/protected", product.access_token(iss=name)))[0] == 422


@pytest.mark.parametrize(
    ("change", "status"),
    [({"exp": 1}, 401), ({"exp": ...}, 422), ({"nbf": 4_102_444_800}, 422)],
    ids=["expired", "without end", "not yet"],
)
async def test_token_at_the_wrong_time_is_rejected(product: Any, change: Any, status: int) -> None:
    app = trusting(product)
    assert (await ask(app, "/notes", product.access_token(**change)))[0] == status


async def test_scope_that_is_not_granted_is_rejected(product: Any) -> None:
    app = trusting(product)
    for scope in product.scopes:
        assert (await ask(app, f"/scoped/{scope}", product.access_token()))[0] == 200
    assert (await ask(app, "/scoped/admin", product.access_token()))[0] == 403


# --- What only one of them has --------------------------------------------------------------------


async def test_refresh_token_of_keycloak_is_rejected(keycloak: Keycloak) -> None:
    """It is a JWT, too, which Keycloak signs with a secret for itself."""
    app = trusting(keycloak)
    claims = {
        **keycloak.access_claims(),
        "aud": [keycloak.issuer, "notes-api"],
        "typ": "Refresh",
    }
    header = {"alg": "HS512", "typ": "JWT", "kid": "a1b2c3d4"}
    token = hs_token(claims, secret=SECRET, alg="HS512", header=header)
    answer = await ask(app, "/refresh", token)
    assert answer == (422, {"msg": "The specified alg value is not allowed"})


async def test_roles_of_keycloak_are_left_to_the_app(keycloak: Keycloak) -> None:
    app = trusting(keycloak)
    claims = (await ask(app, "/notes", keycloak.access_token()))[1]["claims"]
    assert claims["realm_access"]["roles"] == ["offline_access", "uma_authorization"]


async def test_permissions_of_auth0_are_scopes_where_they_are_named(auth0: Auth0) -> None:
    """With RBAC, what a user may is in ``permissions``, and ``scope`` is what the client wants."""
    app = trusting(auth0, scope_claim="permissions")
    assert (await ask(app, "/scoped/write:notes", auth0.access_token()))[0] == 200
    assert (await ask(app, "/scoped/openid", auth0.access_token()))[0] == 403


async def test_machine_of_auth0_is_let_in(auth0: Auth0) -> None:
    app = trusting(auth0)
    machine = "awZfdIir8YFdGZWkvCejDoUb7SjTDicx@clients"
    token = auth0.access_token(sub=machine, aud=API, gty="client-credentials", scope="read:notes")
    status, body = await ask(app, "/protected", token)
    assert (status, body["identity"]) == (200, machine)


async def test_default_token_of_auth0_is_no_rfc_9068_token(auth0: Auth0) -> None:
    app = trusting(auth0, token_type="at+jwt")
    answer = await ask(app, "/protected", auth0.access_token())
    assert answer == (422, {"msg": 'The "typ" header is not the token_type of the issuer'})


async def test_id_token_of_an_entra_app_that_is_client_and_api_has_no_scope(
    entra: EntraV2,
) -> None:
    """It has the audience of the API, so that a view must name a scope to tell the two apart."""
    app = trusting(entra)
    status, body = await ask(app, "/notes", entra.id_token(aud=CLIENT))
    assert (status, body) == (403, {"msg": "Insufficient scope"})


async def test_roles_of_an_entra_daemon_are_scopes_where_they_are_named(entra: EntraV2) -> None:
    app = trusting(entra, scope_claim="roles")
    token = entra.access_token(scp=..., roles=["Notes.Read.All"], idtyp="app")
    assert (await ask(app, "/scoped/Notes.Read.All", token))[0] == 200
    assert (await ask(app, "/scoped/Notes.Read", token))[0] == 403
    assert (await ask(app, "/scoped/Notes.Read.All", entra.access_token()))[0] == 403


async def test_guest_without_an_object_id_is_rejected_by_entras_call(entra: EntraV2) -> None:
    answer = await ask(trusting(entra), "/protected", entra.access_token(oid=...))
    assert answer == (422, {"msg": "Missing or invalid claim: oid"})


async def test_second_name_of_google_is_an_issuer_of_its_own(google: Google) -> None:
    """Some of its ID tokens have the name without a scheme, which does not say where keys are."""
    app = trusting(google)
    manager = manager_of(app)
    with pytest.raises(ValueError, match="^issuer is not an https URL"):
        manager.trust_issuer("accounts.google.com", **google.trust)
    manager.trust_issuer("accounts.google.com", jwks_uri=google.jwks_uri, **google.trust)
    token = google.access_token(iss="accounts.google.com")
    status, body = await ask(app, "/notes", token)
    assert (status, body["issuer"]) == (200, "accounts.google.com")


async def test_machine_of_okta_has_no_uid(okta: Okta) -> None:
    """``sub`` is the login name of a user, which may change, and the client of a machine."""
    machine = okta.access_token(uid=..., sub="nmdP1fcyvdVO11AL7ECm", scp=["notes.read"])
    answer = await ask(trusting(okta), "/protected", machine)
    assert answer == (422, {"msg": "Missing or invalid claim: uid"})
    app = trusting(okta, identity_claim="sub")
    status, body = await ask(app, "/protected", machine)
    assert (status, body["identity"]) == (200, "nmdP1fcyvdVO11AL7ECm")


async def test_id_token_of_cognito_is_rejected_for_want_of_a_client_id(cognito: Cognito) -> None:
    """It differs from an access token in ``token_use``, and in who is its audience."""
    app = trusting(cognito)
    missing = (422, {"msg": 'Token is missing the "client_id" claim'})
    assert await ask(app, "/protected", cognito.id_token()) == missing
    # With aud as the audience it is the other way round, and the ID token would be let in.
    app = trusting(cognito, audience_claim="aud")
    missing = (422, {"msg": 'Token is missing the "aud" claim'})
    assert await ask(app, "/protected", cognito.access_token()) == missing


async def test_token_of_cognito_for_a_resource_must_name_this_one(cognito: Cognito) -> None:
    """Where a client names a resource (RFC 8707), that is the ``aud``."""
    client = cognito.trust["audience"]
    app = trusting(cognito, audience=[client, API])
    assert (await ask(app, "/protected", cognito.access_token(aud=API)))[0] == 200
    answer = await ask(app, "/protected", cognito.access_token(aud="https://other.example.com"))
    assert answer == (422, {"msg": "Audience doesn't match"})
