"""Tokens of trusted issuers: which are let in, what is left of them, and how callbacks see them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import enum
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from quart import Blueprint, Quart, websocket

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    OTHER_SECRET,
    SECRET,
    access_claims,
    ask,
    bearer,
    hs_token,
    json_segment,
    make_app,
    manager_of,
    refresh_claims,
)
from support.asgi import Socket, opened
from support.openid_provider import KEYS, Provider, algorithm_of
from support.sessions import (
    START,
    WatchedStore,
    access_of,
    frozen,
    log_in,
    revoked_ids,
    running_from,
)

AUDIENCE = "https://api.example.com"
NAME = "https://idp.example"
SUBJECT = "248289761001"
JTI = "4a7c"

# Claims that have a meaning in tokens of the app only, as an issuer, or a user of it, may set them.
OF_THE_APP = {
    "type": "another",
    "fresh": True,
    "csrf": "double",
    "sid": "a session",
    "gen": 0,
    "user_claims": {"admin": True},
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def other() -> Iterator[Provider]:
    """A second one, which has a key of the same name."""
    with Provider() as provider:
        yield provider


def add_views(app: Quart) -> None:
    @app.get("/who")
    @qje.jwt_required
    async def who() -> dict[str, Any]:
        return {
            "issuer": qje.get_jwt_issuer(),
            "identity": qje.get_jwt_identity(),
            "claims": qje.get_raw_jwt(),
            "user_claims": qje.get_jwt_claims(),
            "session": qje.get_session_id(),
            "user": qje.get_current_user(),
        }

    @app.get("/scoped")
    @qje.jwt_required(scopes=["read", "write"])
    async def scoped() -> str:
        return "scoped"


def trust(app: Quart, provider: Provider, **changes: Any) -> qje.TrustedIssuer:
    arguments = {"audience": AUDIENCE, "algorithms": ["ES256"], **changes}
    return manager_of(app).trust_issuer(provider.issuer, **arguments)


def new_app(
    provider: Provider, *, token_store: Any = None, options: Any = None, **trusted: Any
) -> Any:
    """An app that trusts one issuer; ``options`` are those of the app."""
    app = make_app(token_store=token_store, **(options or {}))
    add_views(app)
    trust(app, provider, **trusted)
    return app


async def who(app: Quart, token: str, path: str = "/who") -> Any:
    """What a view that lets a token in says about it."""
    status, body = await ask(app, path, token)
    assert status == 200, body
    return body


async def rejected(app: Quart, token: str, path: str = "/who", **request: Any) -> str:
    """The message of the 4xx answer that a token must get."""
    status, body = await ask(app, path, token, **request)
    assert 400 <= status < 500, (status, body)
    return body["msg"]


def signed(provider: Provider, payload: bytes) -> str:
    """A token of exactly this payload."""
    kid = provider.signing_kid
    key = provider.keys[kid]
    return jwt.PyJWS().encode(payload, key, algorithm_of(key), {"kid": kid})


def faults(app: Quart) -> list[str]:
    """The lines of what the check of the start raises."""
    with pytest.raises(RuntimeError, match=r"^The configuration is invalid:\n") as caught:
        manager_of(app).check(app)
    return str(caught.value).splitlines()[1:]


# --- Arguments of trust_issuer --------------------------------------------------------------------


def given(**changes: Any) -> qje.TrustedIssuer:
    """What trust_issuer returns, or raises, for arguments that are right but for some changes."""
    arguments = {"issuer": NAME, "audience": "api", "algorithms": ["RS256"], **changes}
    arguments = {name: value for name, value in arguments.items() if value is not ...}
    manager = qje.JWTManager()
    try:
        return manager.trust_issuer(**arguments)
    except (TypeError, ValueError):
        assert manager.issuers == {}
        raise


NAMES_OF_SERVICE = (
    "audience must be a string, or a sequence or a set of strings: names of this service"
)
NAMES_OF_ALGORITHMS = (
    "algorithms must be a string, or a sequence or a set of strings: names of algorithms"
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"issuer": None}, "issuer must be a string, not None"),
        ({"issuer": 5}, "issuer must be a string, not 5"),
        ({"issuer": b"https://idp"}, "issuer must be a string, not a value of type bytes"),
        ({"audience": None}, NAMES_OF_SERVICE),
        ({"audience": []}, NAMES_OF_SERVICE),
        ({"audience": 5}, NAMES_OF_SERVICE),
        ({"audience": b"api"}, NAMES_OF_SERVICE),
        ({"audience": ["api", None]}, NAMES_OF_SERVICE),
        ({"audience": {"api": True}}, NAMES_OF_SERVICE),
        ({"algorithms": None}, NAMES_OF_ALGORITHMS),
        ({"algorithms": ()}, NAMES_OF_ALGORITHMS),
        ({"algorithms": ["RS256", 5]}, NAMES_OF_ALGORITHMS),
        ({"jwks_uri": 5}, "jwks_uri must be a string or None, not 5"),
        ({"jwks_uri": b"https"}, "jwks_uri must be a string or None, not a value of type bytes"),
        ({"token_type": 5}, "token_type must be a string or None, not 5"),
        ({"token_type": ["JWT"]}, "token_type must be a string or None, not a value of type list"),
        ({"audience_claim": None}, "audience_claim must be the name of a claim, not None"),
        ({"identity_claim": None}, "identity_claim must be the name of a claim, not None"),
        ({"identity_claim": 5}, "identity_claim must be the name of a claim, not 5"),
        ({"scope_claim": 5}, "scope_claim must be the name of a claim, not 5"),
        ({"scope_claim": ["scp"]}, "scope_claim must be the name of a claim, not a value of type"),
        (
            {"leeway": "5"},
            "leeway must be a finite, non-negative number of seconds, or such",
        ),
        (
            {"leeway": [5]},
            "leeway must be a finite, non-negative number of seconds, or such",
        ),
    ],
    ids=str,
)
def test_argument_of_a_wrong_type_is_a_type_error(changes: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        given(**changes)


@pytest.mark.parametrize("name", ["issuer", "audience", "algorithms"])
def test_argument_without_a_default_is_required(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        given(**{name: ...})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"issuer": ""}, "issuer must be the iss of its tokens, a non-empty string"),
        ({"audience": ""}, "audience must not be empty"),
        ({"audience": ["api", ""]}, "audience must not be empty"),
        ({"token_type": ""}, "token_type must be a media type without parameters, such as"),
        ({"token_type": "at+jwt; v=1"}, "token_type must be a media type without parameters"),
        ({"token_type": "a/b/c"}, "token_type must be a media type without parameters"),
        ({"token_type": "at+jwt\n"}, "token_type must be a media type without parameters"),
        *[
            ({"leeway": leeway}, "leeway must be a finite, non-negative number of seconds")
            for leeway in (-1, -0.5, float("nan"), float("inf"), datetime.timedelta(seconds=-1))
        ],
    ],
    ids=str,
)
def test_argument_of_a_wrong_value_is_a_value_error(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        given(**changes)


@pytest.mark.parametrize(
    "algorithms",
    ["HS256", "HS384", "HS512", "none", "None", "NONE", "RS265", "rs256", "", "RS256 ES256", "*"],
)
def test_algorithm_that_is_symmetric_none_or_unknown_is_rejected(algorithms: str) -> None:
    for value in (algorithms, [algorithms], ["RS256", algorithms], {"ES256", algorithms}):
        with pytest.raises(ValueError, match="^algorithms must be one or several of ") as caught:
            given(algorithms=value)
        names = str(caught.value).removeprefix("algorithms must be one or several of ").split(", ")
        assert {"RS256", "PS512", "ES384", "EdDSA"} <= set(names)
        assert not {"none", "HS256", "HS384", "HS512"} & set(names)


FOREIGN_URLS = [
    # Not encrypted, to another machine.
    *("http://idp.example/keys", "http://10.0.0.1/keys", "http://169.254.169.254/keys"),
    *("http://127.0.0.1.example/keys", "http://localhost.example/keys", "http://[::2]/keys"),
    *("http://0.0.0.0/keys", "http://127.0.0.1@idp.example/keys", "HTTP://idp.example/keys"),
    # Other schemes, and none.
    *("file:///etc/passwd", "ftp://idp.example/keys", "data:application/json,{}", "gopher://x/"),
    *("//idp.example/keys", "idp.example/keys", "/keys", "", "https:", "https://", "https:///keys"),
    *("https:idp.example/keys", "httpss://idp.example/keys", "jar:https://idp.example/keys"),
    # Credentials and fragments.
    *("https://user@idp.example/keys", "https://user:pass@idp.example/keys"),
    *("https://@idp.example/keys", "https://idp.example/keys#a", "https://idp.example/keys#"),
    # What one library reads otherwise than the next.
    *("https://idp.example\\@evil.example/keys", "https:\\\\idp.example/keys"),
    *("https://idp.example/keys\\", " https://idp.example/keys", "https://idp.example/keys "),
    *("https://idp.example/ke ys", "https://idp.example/keys\n", "https://idp\t.example/keys"),
    *(
        "https://idp.example/keys\r\nHost: evil",
        "https://idp.example/k\u00e9ys",
        "https://\u0131dp",
    ),
    *("https://idp.example:port/keys", "https://idp.example:99999/keys", "https://[idp/keys"),
    "https://idp.example/keys\0",
]


@pytest.mark.parametrize("url", FOREIGN_URLS, ids=ascii)
def test_jwks_uri_that_is_no_safe_url_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="^jwks_uri must be an https URL, or an http URL on this"):
        given(jwks_uri=url)


@pytest.mark.parametrize("url", FOREIGN_URLS[:-1], ids=ascii)
def test_issuer_that_is_no_safe_url_needs_a_jwks_uri(url: str) -> None:
    name = url or "an issuer"
    with pytest.raises(ValueError, match="^issuer is not an https URL, so its keys cannot be disc"):
        given(issuer=name)
    assert given(issuer=name, jwks_uri="https://idp.example/keys").name == name


@pytest.mark.parametrize(
    "url",
    [
        *("https://idp.example/keys", "https://idp.example", "https://idp.example:8443/k?a=b&c=d"),
        *("http://127.0.0.1:5000/keys", "http://localhost/keys", "http://[::1]:5000/keys"),
        *("HTTPS://idp.example/keys", "https://[2001:db8::1]/keys", "http://127.1.2.3/keys"),
    ],
)
def test_url_of_https_or_of_this_machine_is_taken(url: str) -> None:
    assert given(jwks_uri=url).name == NAME
    assert given(issuer=url).name == url


@pytest.mark.parametrize("argument", ["audience_claim", "identity_claim", "scope_claim"])
def test_claim_with_a_meaning_of_its_own_is_no_other_claim(argument: str) -> None:
    reserved = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "", "type", "fresh", "csrf"}
    reserved |= {"sid", "gen"}
    reserved -= {{"audience_claim": "aud", "identity_claim": "sub"}.get(argument)}
    for name in reserved:
        message = f"^{argument} must be the name of a claim that has no other meaning$"
        with pytest.raises(ValueError, match=message):
            given(**{argument: name})
    assert given(**{argument: "https://api.example.com/claim"}).name == NAME


class Text(str, enum.Enum):
    ISSUER = NAME
    AUDIENCE = "api"
    ALGORITHM = "RS256"


@pytest.mark.parametrize(
    "changes",
    [
        *({"leeway": leeway} for leeway in (0, 5, 1.5, datetime.timedelta(minutes=1), None)),
        *({"audience": names} for names in ("api", ["api"], ("api", "b"), {"api"}, Text.AUDIENCE)),
        *({"algorithms": names} for names in ("RS256", ("ES256", "EdDSA"), {"PS256"}, ["ES256K"])),
        *({"token_type": name} for name in (None, "JWT", "at+jwt", "application/at+jwt")),
        {"issuer": Text.ISSUER, "algorithms": [Text.ALGORITHM]},
    ],
    ids=str,
)
def test_every_form_of_an_argument_is_taken(changes: Any) -> None:
    trusted = given(**changes)
    assert (type(trusted.name), trusted.name) == (str, NAME)


def test_issuer_is_trusted_once() -> None:
    manager = qje.JWTManager()
    first = manager.trust_issuer(NAME, audience="api", algorithms="RS256")
    with pytest.raises(ValueError, match=f"^issuer '{NAME}' is already trusted$"):
        manager.trust_issuer(NAME, audience="another", algorithms="ES256")
    second = manager.trust_issuer(f"{NAME}/", audience="api", algorithms="RS256")
    assert dict(manager.issuers) == {NAME: first, f"{NAME}/": second}


def test_trusted_issuers_cannot_be_changed_through_their_mapping() -> None:
    manager = qje.JWTManager()
    trusted = manager.trust_issuer(NAME, audience="api", algorithms="RS256")
    with pytest.raises(TypeError):
        manager.issuers["https://evil.example"] = trusted  # type: ignore[index]
    with pytest.raises(TypeError):
        del manager.issuers[NAME]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        trusted.name = "https://evil.example"  # type: ignore[misc]
    assert repr(trusted) == f"<TrustedIssuer {NAME!r}>"


# --- Beside the tokens of the app -----------------------------------------------------------------


async def test_tokens_of_the_app_and_of_an_issuer_are_let_in_side_by_side(
    provider: Provider,
) -> None:
    app = new_app(provider)
    own = hs_token(access_claims())
    for _ in range(2):
        body = await who(app, own)
        assert (body["issuer"], body["identity"]) == (None, "alice")
        body = await who(app, provider.token(AUDIENCE))
        assert (body["issuer"], body["identity"]) == (provider.issuer, SUBJECT)


async def test_tokens_of_two_issuers_are_told_apart(provider: Provider, other: Provider) -> None:
    app = new_app(provider)
    trust(app, other)
    for issuer in (provider, other, provider):
        assert (await who(app, issuer.token(AUDIENCE)))["issuer"] == issuer.issuer


async def test_own_tokens_have_the_issuer_of_the_options(provider: Provider) -> None:
    options = {"JWT_ENCODE_ISSUER": "the app", "JWT_DECODE_ISSUER": ["the app"]}
    app = new_app(provider, options=options)
    async with app.app_context():
        own = qje.create_access_token("alice")
    body = await who(app, own)
    assert (body["issuer"], body["claims"]["iss"]) == (None, "the app")
    assert (await who(app, provider.token(AUDIENCE)))["issuer"] == provider.issuer
    assert await rejected(app, hs_token(access_claims())) == 'Token is missing the "iss" claim'
    assert await rejected(app, hs_token(access_claims(iss="another"))) == "Invalid issuer"


async def test_audience_and_typ_of_the_app_are_for_its_own_tokens(provider: Provider) -> None:
    app = new_app(provider, options={"JWT_DECODE_AUDIENCE": "app", "JWT_DECODE_TYP": "JWT"})
    assert (await who(app, hs_token(access_claims(aud="app"))))["issuer"] is None
    odd = {"kid": provider.signing_kid, "typ": "odd"}
    assert (await who(app, provider.token(AUDIENCE, header=odd)))["issuer"] == provider.issuer
    assert await rejected(app, provider.token("app")) == "Audience doesn't match"
    assert await rejected(app, hs_token(access_claims(aud=AUDIENCE))) == "Audience doesn't match"


async def test_token_that_the_app_signed_for_an_issuer_is_rejected(provider: Provider) -> None:
    app = new_app(provider)
    token = hs_token(access_claims(iss=provider.issuer, aud=AUDIENCE, sub=SUBJECT))
    assert await rejected(app, token) == "The specified alg value is not allowed"


async def test_token_of_an_issuer_that_is_not_trusted_is_rejected(
    provider: Provider, other: Provider
) -> None:
    app = new_app(provider, options={"JWT_DECODE_ALGORITHMS": ["HS256"]})
    asked = len(other.requests)
    assert await rejected(app, other.token(AUDIENCE)) == "The specified alg value is not allowed"
    assert len(other.requests) == asked


# --- iss ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        lambda name: f"{name}/",
        lambda name: name.upper(),
        lambda name: f" {name}",
        lambda name: f"{name}\0",
        lambda name: name[:-1],
        lambda name: name[1:],
        lambda name: [name],
        lambda name: [name, "https://evil.example"],
        lambda name: {name: True},
        lambda name: None,
        lambda name: 5,
        lambda name: True,
        lambda name: "",
        lambda name: [],
        lambda name: ...,
    ],
    ids=range(15),
)
async def test_iss_that_is_not_the_exact_name_is_rejected(
    provider: Provider, changed: Callable[[str], Any]
) -> None:
    app = new_app(provider)
    await who(app, provider.token(AUDIENCE))
    assert await rejected(app, provider.token(AUDIENCE, iss=changed(provider.issuer)))
    await who(app, provider.token(AUDIENCE))


# --- aud ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["another", AUDIENCE]], ids=str)
async def test_audience_in_the_token_may_be_one_name_or_several(
    provider: Provider, audience: Any
) -> None:
    assert (await who(new_app(provider), provider.token(audience)))["identity"] == SUBJECT


@pytest.mark.parametrize(
    "names", [["api", "web"], {"api", "web"}, ("web", "api", "cli")], ids=["list", "set", "tuple"]
)
async def test_any_of_several_audiences_is_enough(provider: Provider, names: Any) -> None:
    app = new_app(provider, audience=names)
    for audience in ("api", ["web"], ["x", "api"]):
        assert (await who(app, provider.token(audience)))["identity"] == SUBJECT
    assert await rejected(app, provider.token(AUDIENCE)) == "Audience doesn't match"


NO_AUDIENCE = 'Token is missing the "aud" claim'
ODD_AUDIENCE = "Invalid claim format in token"


@pytest.mark.parametrize(
    ("audience", "message"),
    [
        *((value, "Audience doesn't match") for value in ("another", ["another", "more"])),
        *((value, "Audience doesn't match") for value in (AUDIENCE.upper(), AUDIENCE[:-1])),
        *((value, "Audience doesn't match") for value in (f"{AUDIENCE}/", f"{AUDIENCE} another")),
        *((value, NO_AUDIENCE) for value in (..., None, "", [], 0, False, {})),
        *((value, ODD_AUDIENCE) for value in (5, True, {AUDIENCE: 1}, [AUDIENCE, 5], [[AUDIENCE]])),
    ],
    ids=str,
)
async def test_audience_that_is_wrong_or_missing_is_rejected(
    provider: Provider, audience: Any, message: str
) -> None:
    assert await rejected(new_app(provider), provider.token(audience)) == message


async def test_audience_may_be_in_another_claim(provider: Provider) -> None:
    app = new_app(provider, audience_claim="client_id", audience="a client")
    assert (await who(app, provider.token(..., client_id="a client")))["identity"] == SUBJECT
    missing = 'Token is missing the "client_id" claim'
    assert await rejected(app, provider.token(...)) == missing
    assert await rejected(app, provider.token("a client")) == missing
    token = provider.token(..., client_id="another client")
    assert await rejected(app, token) == "Audience doesn't match"


async def test_aud_of_somebody_else_is_rejected_beside_the_other_claim(provider: Provider) -> None:
    """Whoever is not named by an ``aud`` that is there must reject it (RFC 7519, 4.1.3)."""
    app = new_app(provider, audience_claim="client_id", audience="a client")
    assert (await who(app, provider.token("a client", client_id="a client")))["identity"] == SUBJECT
    token = provider.token("https://another.example", client_id="a client")
    assert await rejected(app, token) == "Audience doesn't match"


# --- The identity ---------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["sub", "email"])
@pytest.mark.parametrize("value", [..., None, "", 5, 0, True, ["a"], {"a": "b"}], ids=str)
async def test_identity_that_is_no_text_is_rejected(
    provider: Provider, claim: str, value: Any
) -> None:
    app = new_app(provider, identity_claim=claim)
    message = await rejected(app, provider.token(AUDIENCE, **{claim: value}))
    assert message in (f"Missing or invalid claim: {claim}", "Subject must be a string")


async def test_identity_claim_is_the_identity(provider: Provider) -> None:
    app = new_app(provider, identity_claim="email")
    body = await who(app, provider.token(AUDIENCE, email="ann@mail"))
    assert (body["identity"], body["claims"]["sub"]) == ("ann@mail", SUBJECT)
    assert (await who(app, provider.token(AUDIENCE, email="ann@mail", sub=...)))["identity"] == (
        "ann@mail"
    )
    assert (await who(app, hs_token(access_claims(email="bob@mail"))))["identity"] == "alice"


async def test_identity_option_of_the_app_is_for_its_own_tokens(provider: Provider) -> None:
    app = new_app(provider, options={"JWT_IDENTITY_CLAIM": "name"})
    assert (await who(app, provider.token(AUDIENCE, name="Ann")))["identity"] == SUBJECT
    assert (await who(app, hs_token(access_claims(name="Ann"))))["identity"] == "Ann"


# --- Scopes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("granted", ["read write", "write x read", ["read", "write"]], ids=str)
@pytest.mark.parametrize("claim", ["scope", "scp"])
async def test_scopes_are_in_the_claim_that_is_named(
    provider: Provider, claim: str, granted: Any
) -> None:
    app = new_app(provider, scope_claim=claim)
    token = provider.token(AUDIENCE, **{"scope": ..., claim: granted})
    assert await who(app, token, "/scoped") == "scoped"


@pytest.mark.parametrize(
    ("granted", "status"),
    [
        *((granted, 403) for granted in (..., "", [], "read", ["read"], "readwrite", "read,write")),
        *((granted, 403) for granted in (["read write"], [["read", "write"]])),
        *((granted, 422) for granted in (None, 5, True, {"read": 1, "write": 1})),
    ],
    ids=str,
)
async def test_scopes_that_do_not_suffice_are_rejected(
    provider: Provider, granted: Any, status: int
) -> None:
    app = new_app(provider, scope_claim="scp")
    token = provider.token(AUDIENCE, scope="read write", scp=granted)
    assert (await ask(app, "/scoped", token))[0] == status


async def test_scope_option_of_the_app_holds_where_no_claim_is_named(provider: Provider) -> None:
    app = new_app(provider, options={"JWT_SCOPE_CLAIM": "permissions"})
    token = provider.token(AUDIENCE, scope=..., permissions=["read", "write"])
    assert await who(app, token, "/scoped") == "scoped"
    assert (await ask(app, "/scoped", provider.token(AUDIENCE, scope="read write")))[0] == 403
    own = hs_token(access_claims(permissions="read write"))
    assert await who(app, own, "/scoped") == "scoped"


# --- Time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("leeway", [60, 60.0, datetime.timedelta(minutes=1)], ids=str)
async def test_leeway_of_an_issuer_is_for_its_tokens(provider: Provider, leeway: Any) -> None:
    app = new_app(provider, leeway=leeway)
    with frozen():
        for claim, moment in {"exp": -59, "nbf": 59, "iat": 59}.items():
            await who(app, provider.token(AUDIENCE, **{claim: START + moment}))
            await rejected(app, hs_token(access_claims(**{claim: START + moment})))
        for claim, moment in {"exp": -61, "nbf": 61, "iat": 61}.items():
            await rejected(app, provider.token(AUDIENCE, **{claim: START + moment}))


@pytest.mark.parametrize("leeway", [None, 0])
async def test_leeway_of_the_app_holds_where_none_is_given(
    provider: Provider, leeway: int | None
) -> None:
    app = new_app(provider, leeway=leeway, options={"JWT_DECODE_LEEWAY": 60})
    token = {"exp": START - 59}
    with frozen():
        assert (await who(app, hs_token(access_claims(**token))))["identity"] == "alice"
        status = (await ask(app, "/who", provider.token(AUDIENCE, **token)))[0]
    assert status == (200 if leeway is None else 401)


@pytest.mark.parametrize("expiry", [..., None, "soon", True, [], 1e400], ids=str)
async def test_token_without_a_usable_expiry_is_rejected(provider: Provider, expiry: Any) -> None:
    app = new_app(provider)
    assert (await ask(app, "/who", provider.token(AUDIENCE, exp=expiry)))[0] == 422
    async with app.app_context():
        with pytest.raises(jwt.InvalidTokenError):
            await qje.verify_token(provider.token(AUDIENCE, exp=expiry))


async def test_claims_that_the_app_requires_are_required_of_an_issuer(provider: Provider) -> None:
    app = new_app(provider, options={"JWT_REQUIRED_CLAIMS": ["jti", "acr"]})
    assert (await who(app, provider.token(AUDIENCE, acr="1")))["identity"] == SUBJECT
    for claims, name in [({}, "acr"), ({"acr": None}, "acr"), ({"acr": "1", "jti": ...}, "jti")]:
        token = provider.token(AUDIENCE, **claims)
        assert await rejected(app, token) == f'Token is missing the "{name}" claim'
    for name in ("exp", "iss"):
        assert await rejected(app, provider.token(AUDIENCE, acr="1", **{name: ...}))


# --- The type of the token ------------------------------------------------------------------------


def typed(provider: Provider, typ: Any, **claims: Any) -> str:
    header = {"kid": provider.signing_kid, "typ": typ}
    return provider.token(AUDIENCE, header=header, **{"client_id": "a client", **claims})


@pytest.mark.parametrize("wanted", ["at+jwt", "application/at+jwt", "AT+JWT"])
@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "Application/at+JWT"])
async def test_access_token_of_rfc_9068_is_let_in(
    provider: Provider, wanted: str, typ: str
) -> None:
    app = new_app(provider, token_type=wanted)
    assert (await who(app, typed(provider, typ)))["identity"] == SUBJECT


@pytest.mark.parametrize(
    "typ", ["JWT", "", "at", "jwt", "at+jwt;v=1", "x/at+jwt", None, 5], ids=str
)
@pytest.mark.parametrize("wanted", ["at+jwt", "application/at+jwt"])
async def test_typ_that_is_another_or_missing_is_rejected(
    provider: Provider, wanted: str, typ: Any
) -> None:
    app = new_app(provider, token_type=wanted)
    message = 'The "typ" header is not the token_type of the issuer'
    assert await rejected(app, typed(provider, typ)) == message


@pytest.mark.parametrize("value", [..., None], ids=["missing", "null"])
@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
@pytest.mark.parametrize("wanted", ["at+jwt", "application/at+jwt"])
async def test_claim_that_rfc_9068_requires_is_required(
    provider: Provider, wanted: str, name: str, value: Any
) -> None:
    app = new_app(provider, token_type=wanted)
    await who(app, typed(provider, "at+jwt"))
    # Without iss it is no token of the issuer.
    accepted = [f'Token is missing the "{name}" claim', "The specified alg value is not allowed"]
    changes = {name: value}
    if name == "aud":
        header = {"kid": provider.signing_kid, "typ": "at+jwt"}
        token = provider.token(value, header=header, client_id="a client")
    else:
        token = typed(provider, "at+jwt", **changes)
    assert await rejected(app, token) == accepted[name == "iss"]


@pytest.mark.parametrize("wanted", [None, "JWT"])
async def test_other_types_do_not_require_the_claims_of_rfc_9068(
    provider: Provider, wanted: str | None
) -> None:
    app = new_app(provider, token_type=wanted)
    token = typed(provider, "JWT", client_id=..., iat=..., jti=...)
    assert (await who(app, token))["claims"]["jti"] is None


# --- Claims that only the app itself gives a meaning ----------------------------------------------


async def test_claims_of_the_app_are_dropped_from_the_token_of_an_issuer(
    provider: Provider,
) -> None:
    app = new_app(provider, token_store=qje.MemoryTokenStore())
    body = await who(app, provider.token(AUDIENCE, **OF_THE_APP))
    assert (body["user_claims"], body["session"]) == ({}, None)
    claims = body["claims"]
    assert (claims["type"], claims["fresh"], claims["user_claims"]) == ("access", False, {})
    assert not {"csrf", "sid", "gen"} & claims.keys()
    assert (claims["azp"], claims["scope"], claims["jti"]) == ("a client", "openid profile", JTI)


@pytest.mark.parametrize("fresh", [True, FAR_FUTURE, 1e300])
@pytest.mark.parametrize("type_", [..., "access", "another"])
async def test_token_of_an_issuer_is_neither_fresh_nor_a_refresh_token(
    provider: Provider, type_: Any, fresh: Any
) -> None:
    app = new_app(provider)
    token = provider.token(AUDIENCE, type=type_, fresh=fresh)
    assert await rejected(app, token, "/fresh") == "Fresh token required"
    assert await rejected(app, token, "/refresh") == "Only refresh tokens are allowed"
    assert (await who(app, token))["identity"] == SUBJECT


@pytest.mark.parametrize("type_", [None, 5, "other", ["access"]], ids=str)
async def test_type_of_an_issuer_has_no_meaning_here(provider: Provider, type_: Any) -> None:
    """Keycloak calls its tokens Bearer."""
    app = new_app(provider)
    token = provider.token(AUDIENCE, type=type_, fresh=type_, csrf=type_, sid=type_)
    assert (await who(app, token))["claims"]["type"] == "access"


async def test_csrf_value_of_an_issuer_opens_no_form(provider: Provider) -> None:
    options = {"JWT_TOKEN_LOCATION": ["cookies", "headers"]}
    app = new_app(provider, options=options)
    token = provider.token(AUDIENCE, csrf="double-submit")
    headers = {"Cookie": f"access_token_cookie={token}", "X-CSRF-TOKEN": "double-submit"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        status, body = await ask(app, "/protected", method=method, headers=headers)
        assert (status, body) == (422, {"msg": "Missing claim: csrf"})
    assert (await ask(app, "/protected", headers=headers))[0] == 200
    async with app.app_context():
        with pytest.raises(qje.JWTDecodeError, match="^Missing claim: csrf$"):
            await qje.decode_token_async(token, csrf_value="double-submit")
        with pytest.raises(qje.JWTDecodeError, match="^Missing claim: csrf$"):
            qje.get_csrf_token(token)


async def test_token_of_an_issuer_is_of_no_session(provider: Provider) -> None:
    """Its ``sid`` may be that of a session of the app."""
    app = new_app(provider, token_store=qje.MemoryTokenStore())

    @app.post("/rotate")
    @qje.jwt_required(verify_type=False)
    async def rotate() -> Any:
        return (await qje.rotate_session())._asdict()

    @app.delete("/session")
    @qje.jwt_required(verify_type=False)
    async def log_out() -> dict[str, Any]:
        return {"live": await qje.revoke_session()}

    tokens = await log_in(app)
    token = provider.token(AUDIENCE, sid=tokens.session_id, gen=0, type="access")
    for path, method in {"/rotate": "POST", "/session": "DELETE"}.items():
        assert 400 <= (await ask(app, path, token, method=method))[0] < 500
    # The session goes on.
    assert (await who(app, tokens.access_token))["session"] == tokens.session_id
    assert (await ask(app, "/rotate", tokens.refresh_token, method="POST"))[0] == 200
    # Where it has ended, tokens of the issuer do not end with it.
    assert await ask(app, "/session", tokens.access_token, method="DELETE") == (200, {"live": True})
    assert (await who(app, token))["session"] is None


# --- Callbacks ------------------------------------------------------------------------------------


Seen = list[tuple[Any, Any]]


def watch_users(app: Quart) -> Seen:
    """Load users by issuer and identity, as apps must; return what the loader saw, in order."""
    seen: Seen = []

    @manager_of(app).user_loader_callback_loader
    async def load(identity: Any) -> Any:
        await asyncio.sleep(0)
        assert qje.get_jwt_identity() == identity
        seen.append((qje.get_jwt_issuer(), identity))
        return None if identity == "nobody" else f"{identity} of {qje.get_jwt_issuer()}"

    return seen


def watch_blocklist(app: Quart, revoked: Any = ()) -> Seen:
    seen: Seen = []

    @manager_of(app).token_in_blocklist_loader
    async def is_revoked(header: Any, claims: Any) -> bool:
        await asyncio.sleep(0)
        seen.append((qje.get_jwt_issuer(), claims["jti"]))
        return seen[-1] in revoked

    return seen


async def test_user_loader_sees_the_issuer(provider: Provider, other: Provider) -> None:
    app = new_app(provider)
    trust(app, other)
    seen = watch_users(app)
    # One subject, three users.
    for issuer in (provider, other):
        body = await who(app, issuer.token(AUDIENCE, sub="alice"))
        assert body["user"] == f"alice of {issuer.issuer}"
    assert (await who(app, hs_token(access_claims())))["user"] == "alice of None"
    assert seen == [(provider.issuer, "alice"), (other.issuer, "alice"), (None, "alice")]


@pytest.mark.parametrize("loader", ["user_lookup_loader", "claims_verification_loader"])
async def test_other_callbacks_see_the_issuer_too(provider: Provider, loader: str) -> None:
    app = new_app(provider)
    seen: list[Any] = []

    def callback(*arguments: Any) -> bool:
        seen.append((qje.get_jwt_issuer(), qje.get_jwt_identity(), arguments[-1]))
        return True

    if loader == "user_lookup_loader":
        manager_of(app).user_lookup_loader(lambda header, claims: callback(claims["sub"]))
    else:
        manager_of(app).claims_verification_loader(lambda user_claims: callback(user_claims))
    await who(app, provider.token(AUDIENCE, **OF_THE_APP))
    assert seen == [(provider.issuer, SUBJECT, SUBJECT if "user" in loader else {})]


async def test_blocklist_is_asked_about_a_pair_of_issuer_and_id(
    provider: Provider, other: Provider
) -> None:
    app = new_app(provider)
    trust(app, other)
    seen = watch_blocklist(app, revoked=[(provider.issuer, JTI)])
    assert await rejected(app, provider.token(AUDIENCE)) == "Token has been revoked"
    await who(app, other.token(AUDIENCE))
    await who(app, hs_token(access_claims(jti=JTI)))
    assert seen == [(provider.issuer, JTI), (other.issuer, JTI), (None, JTI)]


async def test_callbacks_about_a_second_token_of_a_request_do_not_see_the_first(
    provider: Provider,
) -> None:
    app = new_app(provider, options={"JWT_TOKEN_LOCATION": ["headers", "cookies"]})
    blocklist, users = watch_blocklist(app), watch_users(app)

    @app.get("/both")
    @qje.jwt_required(locations="headers")
    async def both() -> Any:
        first = qje.get_jwt_issuer()
        await qje.verify_jwt_in_request(locations="cookies")
        return [first, qje.get_jwt_issuer(), qje.get_jwt_identity()]

    own, foreign = hs_token(access_claims()), provider.token(AUDIENCE)
    own_id = access_claims()["jti"]
    headers = {**bearer(foreign), "Cookie": f"access_token_cookie={own}"}
    assert await ask(app, "/both", headers=headers) == (200, [provider.issuer, None, "alice"])
    assert blocklist == [(provider.issuer, JTI), (None, own_id)]
    assert users == [(provider.issuer, SUBJECT), (None, "alice")]
    headers = {**bearer(own), "Cookie": f"access_token_cookie={foreign}"}
    assert await ask(app, "/both", headers=headers) == (200, [None, provider.issuer, SUBJECT])
    assert blocklist[2:] == [(None, own_id), (provider.issuer, JTI)]
    assert users[2:] == [(None, "alice"), (provider.issuer, SUBJECT)]


@pytest.mark.parametrize("outer", ["app", "issuer"])
@pytest.mark.parametrize("inner", ["app", "issuer"])
async def test_verify_token_within_a_request_shows_callbacks_its_own_issuer(
    provider: Provider, outer: str, inner: str
) -> None:
    app = new_app(provider)
    blocklist, users = watch_blocklist(app), watch_users(app)

    def token_of(kind: str, name: str) -> str:
        if kind == "app":
            return hs_token(access_claims(identity=name))
        return provider.token(AUDIENCE, sub=name)

    def shown(kind: str, name: str) -> Any:
        return (provider.issuer if kind == "issuer" else None, name)

    @app.get("/verify")
    @qje.jwt_required
    async def verify() -> Any:
        await qje.verify_token(token_of(inner, "inner"))
        with pytest.raises(qje.UserLoadError):
            await qje.verify_token(token_of(inner, "nobody"))
        with pytest.raises(jwt.InvalidTokenError):
            await qje.verify_token(provider.token("another"))
        return [qje.get_jwt_issuer(), qje.get_jwt_identity()]

    answer = await ask(app, "/verify", token_of(outer, "outer"))
    assert answer == (200, list(shown(outer, "outer")))
    assert users == [shown(outer, "outer"), shown(inner, "inner"), shown(inner, "nobody")]
    assert [issuer for issuer, _ in blocklist] == [issuer for issuer, _ in users]


async def test_verify_token_outside_of_a_request_shows_callbacks_the_issuer(
    provider: Provider,
) -> None:
    app = new_app(provider)
    users = watch_users(app)
    async with app.app_context():
        claims = await qje.verify_token(provider.token(AUDIENCE, **OF_THE_APP))
        assert (claims["type"], claims["fresh"], claims["iss"]) == (
            "access",
            False,
            provider.issuer,
        )
        assert qje.get_jwt_issuer() is None
        assert qje.get_jwt_identity() is None
    assert users == [(provider.issuer, SUBJECT)]


async def test_request_that_a_callback_sends_has_a_token_of_its_own(provider: Provider) -> None:
    """To the same app, or to another one."""
    app, elsewhere = new_app(provider), make_app()
    add_views(elsewhere)
    seen: list[Any] = []

    @manager_of(app).user_loader_callback_loader
    async def load(identity: str) -> str:
        if identity == SUBJECT:
            for target, name in [(app, "bob"), (elsewhere, "carol")]:
                body = await who(target, hs_token(access_claims(identity=name)))
                seen.append((body["issuer"], body["identity"]))
            async with elsewhere.app_context():
                seen.append((qje.get_jwt_issuer(), qje.get_jwt_identity()))
        seen.append((qje.get_jwt_issuer(), qje.get_jwt_identity()))
        return identity

    await who(app, provider.token(AUDIENCE))
    assert seen == [
        *[(None, "bob"), (None, "bob"), (None, "carol"), (None, None)],
        (provider.issuer, SUBJECT),
    ]


@pytest.mark.parametrize("path", ["/optional", "/who"])
@pytest.mark.parametrize("why", ["audience", "user", "blocklist", "scope", "signature"])
async def test_no_identity_is_left_of_a_rejected_token(
    provider: Provider, other: Provider, path: str, why: str
) -> None:
    app = new_app(provider)
    watch_users(app)
    watch_blocklist(app, revoked=[(provider.issuer, "revoked")])

    @app.get("/again")
    async def again() -> Any:
        scopes = "admin" if why == "scope" else None
        with pytest.raises((qje.JWTExtendedException, jwt.InvalidTokenError)):
            await qje.verify_jwt_in_request(scopes=scopes)
        return [qje.get_jwt_issuer(), qje.get_jwt_identity(), qje.get_jwt_claims()]

    token = {
        "audience": lambda: provider.token("another"),
        "user": lambda: provider.token(AUDIENCE, sub="nobody"),
        "blocklist": lambda: provider.token(AUDIENCE, jti="revoked"),
        "scope": lambda: provider.token(AUDIENCE),
        "signature": lambda: provider.token(AUDIENCE, key=other.keys[other.signing_kid]),
    }[why]()
    assert await ask(app, "/again", token) == (200, [None, None, {}])
    if why != "scope":
        await rejected(app, token, path)


async def test_getters_without_a_token_of_an_issuer_give_none(app: Quart) -> None:
    @app.get("/issuer")
    @qje.jwt_required(optional=True)
    async def issuer() -> Any:
        return [qje.get_jwt_issuer(), qje.get_jwt_identity()]

    assert await ask(app, "/issuer") == (200, [None, None])
    assert await ask(app, "/issuer", access_claims(iss=NAME)) == (200, [None, "alice"])
    with pytest.raises(RuntimeError):
        qje.get_jwt_issuer()


# --- Answers --------------------------------------------------------------------------------------


async def test_answers_see_the_token_that_was_rejected(provider: Provider) -> None:
    app = new_app(provider, identity_claim="email")
    manager = manager_of(app)
    watch_blocklist(app, revoked=[(provider.issuer, "revoked")])
    seen: list[Any] = []

    def answer(*arguments: Any) -> Any:
        seen.append((qje.get_jwt_issuer(), qje.get_jwt_identity()))
        return {"msg": "no"}, 401

    manager.expired_token_loader(lambda header, claims: answer())
    manager.revoked_token_loader(answer)
    manager.needs_fresh_token_loader(answer)
    manager.insufficient_scope_loader(lambda scopes, claims: answer())
    manager.user_loader_error_loader(answer)
    for claims, path in [
        ({"exp": 1}, "/who"),
        ({"jti": "revoked"}, "/who"),
        ({}, "/fresh"),
        ({}, "/scoped"),
    ]:
        token = provider.token(AUDIENCE, email="ann@mail", **claims)
        assert await rejected(app, token, path) == "no"
    manager.user_loader_callback_loader(lambda identity: None)
    assert await rejected(app, provider.token(AUDIENCE, email="ann@mail")) == "no"
    assert seen == [(provider.issuer, "ann@mail")] * 5


async def test_answer_about_an_expired_token_that_a_view_decodes_goes_by_its_issuer(
    provider: Provider, other: Provider
) -> None:
    """The token that the view decodes may be of another issuer than that of the request."""
    app = new_app(provider, identity_claim="email", scope_claim="scp")
    trust(app, other)
    seen: list[Any] = []

    @manager_of(app).expired_token_loader
    def answer(header: Any, claims: Any) -> Any:
        seen.append((qje.get_jwt_issuer(), qje.get_jwt_identity()))
        return {"msg": "no"}, 401

    tokens = {
        "own": hs_token(access_claims(exp=1)),
        "provider": provider.token(AUDIENCE, exp=1, email="ann@mail"),
        "other": other.token(AUDIENCE, exp=1, email="bob@mail"),
    }

    @app.get("/decode/<name>")
    @qje.jwt_required
    async def decode(name: str) -> Any:
        await qje.decode_token_async(tokens[name])
        return {}

    expected = {
        "own": (None, "alice"),
        "provider": (provider.issuer, "ann@mail"),
        "other": (other.issuer, SUBJECT),
    }
    for of_the_request in (
        hs_token(access_claims()),
        provider.token(AUDIENCE, email="ann@mail"),
        other.token(AUDIENCE),
    ):
        for name, shown in expected.items():
            assert await rejected(app, of_the_request, f"/decode/{name}") == "no"
            assert seen.pop() == shown


async def test_default_answer_about_an_unknown_user_names_the_identity(provider: Provider) -> None:
    app = new_app(provider)
    manager_of(app).user_loader_callback_loader(lambda identity: None)
    message = await rejected(app, provider.token(AUDIENCE, sub="ann"))
    assert message == "Error loading the user ann"


# --- issuers= -------------------------------------------------------------------------------------


class Guards:
    """An app with two trusted issuers, and the tokens of those and of its own."""

    def __init__(self, provider: Provider, other: Provider, **options: Any) -> None:
        self.app = new_app(provider, options={"JWT_ENCODE_ISSUER": "the app", **options})
        trust(self.app, other)
        self.tokens = {
            "first": provider.token(AUDIENCE),
            "second": other.token(AUDIENCE),
            "own": hs_token(access_claims(iss="the app")),
            "unnamed": hs_token(access_claims()),
        }

    async def accepted(self, path: str) -> list[str]:
        """The names of the tokens that a route lets in; it must answer to the others with 422."""
        statuses = {
            name: (await ask(self.app, path, token))[0] for name, token in self.tokens.items()
        }
        assert set(statuses.values()) <= {200, 422}
        return [name for name, status in statuses.items() if status == 200]


@pytest.fixture
def guards(provider: Provider, other: Provider) -> Guards:
    return Guards(provider, other)


CHOICES: list[tuple[Callable[[str, str], Any], list[str]]] = [
    (lambda first, second: None, ["first", "second", "own", "unnamed"]),
    (lambda first, second: first, ["first"]),
    (lambda first, second: [first], ["first"]),
    (lambda first, second: {first, second}, ["first", "second"]),
    (lambda first, second: (second, "the app"), ["second", "own"]),
    (lambda first, second: "the app", ["own"]),
    (lambda first, second: (), ["own", "unnamed"]),
    (lambda first, second: [], ["own", "unnamed"]),
    (lambda first, second: set(), ["own", "unnamed"]),
    (lambda first, second: first[:-1], []),
]


@pytest.mark.parametrize(("choose", "accepted"), CHOICES, ids=range(len(CHOICES)))
@pytest.mark.parametrize("how", ["decorator", "by hand", "protect", "blueprint"])
async def test_route_accepts_tokens_of_the_issuers_that_it_names(
    guards: Guards, provider: Provider, other: Provider, how: str, choose: Any, accepted: Any
) -> None:
    names = choose(provider.issuer, other.issuer)
    app = guards.app
    scaffold: Any = app

    async def view() -> str:
        if how == "by hand":
            await qje.verify_jwt_in_request(issuers=names)
        return ""

    if how == "decorator":
        view = qje.jwt_required(issuers=names)(view)
    elif how == "blueprint":
        scaffold = Blueprint("part", "part")
    scaffold.add_url_rule("/route", "route", view)
    if how in ("protect", "blueprint"):
        qje.protect(scaffold, issuers=names)
    if how == "blueprint":
        app.register_blueprint(scaffold)
    assert await guards.accepted("/route") == accepted


@pytest.mark.parametrize(("choose", "accepted"), CHOICES, ids=range(len(CHOICES)))
async def test_verify_token_accepts_tokens_of_the_issuers_that_it_is_given(
    guards: Guards, provider: Provider, other: Provider, choose: Any, accepted: Any
) -> None:
    names = choose(provider.issuer, other.issuer)
    let_in = []
    async with guards.app.app_context():
        for name, token in guards.tokens.items():
            with contextlib.suppress(jwt.InvalidIssuerError):
                await qje.verify_token(token, issuers=names)
                let_in.append(name)
    assert let_in == accepted


async def test_rules_about_issuers_add_up(
    guards: Guards, provider: Provider, other: Provider
) -> None:
    first, second = provider.issuer, other.issuer
    app = guards.app
    blueprint = Blueprint("part", "part")
    qje.protect(blueprint, issuers=[first, second, "the app"])
    for path, names in {
        "both": None,
        "narrow": [second],
        "own": "the app",
        "none": (),
        "wide": [first, "elsewhere"],
    }.items():
        view = qje.jwt_required(issuers=names)(lambda: "")
        blueprint.add_url_rule(f"/{path}", path, view)
    bare = qje.jwt_required(issuers=[first, second])(qje.jwt_required(issuers=[second])(lambda: ""))
    blueprint.add_url_rule("/twice", "twice", bare)
    app.register_blueprint(blueprint)
    assert await guards.accepted("/both") == ["first", "second", "own"]
    assert await guards.accepted("/narrow") == ["second"]
    assert await guards.accepted("/own") == ["own"]
    assert await guards.accepted("/none") == ["own"]
    assert await guards.accepted("/wide") == ["first"]
    assert await guards.accepted("/twice") == ["second"]


async def test_optional_route_still_rejects_a_token_of_another_issuer(guards: Guards) -> None:
    view = qje.jwt_required(optional=True, issuers=())(lambda: "")
    guards.app.add_url_rule("/perhaps", "perhaps", view)
    assert await guards.accepted("/perhaps") == ["own", "unnamed"]
    assert (await ask(guards.app, "/perhaps"))[0] == 200


async def test_reason_names_no_issuer(guards: Guards) -> None:
    view = qje.jwt_required(issuers=())(lambda: "")
    guards.app.add_url_rule("/own", "own", view)
    message = "The endpoint does not accept tokens of this issuer"
    assert await rejected(guards.app, guards.tokens["first"], "/own") == message


@pytest.mark.parametrize(
    "names", [5, True, b"name", ["name", None], {"name": 1}, [["name"]]], ids=str
)
async def test_issuers_of_a_wrong_type_are_a_type_error(app: Quart, names: Any) -> None:
    message = "^issuers must be a string, or a sequence or a set of strings: issuer names$"
    with pytest.raises(TypeError, match=message):
        qje.jwt_required(issuers=names)
    with pytest.raises(TypeError, match=message):
        qje.protect(app, issuers=names)
    async with app.app_context():
        with pytest.raises(TypeError, match=message):
            await qje.verify_token(hs_token(access_claims()), issuers=names)
    async with app.test_request_context("/"):
        with pytest.raises(TypeError, match=message):
            await qje.verify_jwt_in_request(issuers=names)


# --- The check of the start -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["type", "token_type", "typ"])
@pytest.mark.parametrize("value", ["refresh", "Refresh"])
async def test_refresh_token_of_an_issuer_is_rejected(
    provider: Provider, name: str, value: str
) -> None:
    """Those of a service with this extension, Simple JWT or Keycloak have the same keys."""
    app = new_app(provider)
    token = provider.token(AUDIENCE, **{name: value})
    assert await ask(app, token=token) == (422, {"msg": "Only access tokens are allowed"})
    for options in ({"refresh": True}, {"verify_type": False}):
        async with app.app_context():
            with pytest.raises(qje.WrongTokenError):
                await qje.verify_token(token, **options)
    for other in ("access", "Bearer", "refresher", 5, None, ["refresh"]):
        assert (await ask(app, token=provider.token(AUDIENCE, **{name: other})))[0] == 200


async def test_start_finds_routes_whose_rules_have_no_issuer_in_common(provider: Provider) -> None:
    options = {"JWT_ENCODE_ISSUER": "the app"}
    app = new_app(provider, options=options)
    qje.protect(app, issuers=[provider.issuer, "the app"])
    for name, issuers in {"fine": provider.issuer, "own": "the app", "alone": ()}.items():
        app.add_url_rule(f"/{name}", name, qje.jwt_required(issuers=issuers)(lambda: ""))
    manager_of(app).check(app)
    blueprint = Blueprint("inner", __name__)
    qje.protect(blueprint, issuers="the app")
    blueprint.add_url_rule("/a", "a", qje.jwt_required(issuers=provider.issuer)(lambda: ""))
    app.register_blueprint(blueprint)
    assert faults(app) == [
        "The endpoint 'inner.a' rejects all tokens: its rules have no issuer in common"
    ]
    assert qje.protection_of(app, "own").issuers == ("the app",)
    assert qje.protection_of(app, "inner.a").issuers == ()


async def test_start_finds_routes_that_name_an_issuer_that_is_not_trusted(
    provider: Provider,
) -> None:
    options = {"JWT_ENCODE_ISSUER": "the app", "JWT_DECODE_ISSUER": ["the app", "its twin"]}
    app = new_app(provider, options=options)
    for name, issuers in {
        "one": [provider.issuer],
        "two": [provider.issuer, "the app", "its twin"],
        "three": (),
        "typo": [f"{provider.issuer}/", provider.issuer],
    }.items():
        app.add_url_rule(f"/{name}", name, qje.jwt_required(issuers=issuers)(lambda: ""))
    (line,) = faults(app)
    assert line == (
        f"The endpoint 'typo' accepts tokens of {provider.issuer + '/'!r}, which is not trusted"
    )


async def test_start_finds_a_trusted_issuer_that_is_the_app(provider: Provider) -> None:
    app = new_app(provider)
    manager_of(app).check(app)
    app.config["JWT_ENCODE_ISSUER"] = provider.issuer
    (line,) = faults(app)
    assert line == (
        "JWT_ENCODE_ISSUER must not be a trusted issuer: the tokens of the app would be verified "
        "with the keys of that issuer"
    )
    # Until somebody reads that, they are rejected.
    async with app.app_context():
        own = qje.create_access_token("alice")
    assert await rejected(app, own) == "The specified alg value is not allowed"


async def test_start_finds_an_identity_claim_that_is_the_user_claims(provider: Provider) -> None:
    app = new_app(provider, identity_claim="user_claims")
    (line,) = faults(app)
    assert line.startswith(f"The issuer {provider.issuer!r} cannot be trusted with these options: ")


# --- Revoking -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(app: Quart, staleness: int) -> Any:
    """An app whose worker polls the store, if answers may be stale."""
    app.config["JWT_REVOCATION_MAX_STALENESS"] = staleness
    if not staleness:
        yield
        return
    async with app.test_app():
        yield


@pytest.mark.parametrize("staleness", [0, 60])
@pytest.mark.parametrize("form", ["encoded", "dict", "current"])
@pytest.mark.parametrize("revoked", ["provider", "other", "own"])
async def test_revocation_is_of_one_issuer(
    provider: Provider, other: Provider, revoked: str, form: str, staleness: int
) -> None:
    """All three have one ``jti``, by chance or on purpose."""
    app = new_app(provider, token_store=qje.MemoryTokenStore())
    trust(app, other)

    @app.delete("/token")
    @qje.jwt_required
    async def revoke() -> dict[str, Any]:
        await qje.revoke_token()
        return {}

    tokens = {
        "provider": provider.token(AUDIENCE),
        "other": other.token(AUDIENCE),
        "own": hs_token(access_claims(jti=JTI)),
    }
    async with served(app, staleness):
        for token in tokens.values():
            await who(app, token)
        if form == "current":
            assert (await ask(app, "/token", tokens[revoked], method="DELETE"))[0] == 200
        else:
            async with app.app_context():
                token = tokens[revoked]
                await qje.revoke_token(
                    token if form == "encoded" else await qje.verify_token(token)
                )
        for name, token in tokens.items():
            if name == revoked:
                assert await rejected(app, token) == "Token has been revoked"
            else:
                await who(app, token)


async def test_revocation_by_one_worker_is_seen_by_another(provider: Provider) -> None:
    store = qje.MemoryTokenStore()
    first, second = (new_app(provider, token_store=store) for _ in range(2))
    token = provider.token(AUDIENCE)
    await who(second, token)
    async with first.app_context():
        await qje.revoke_token(token)
    assert await rejected(second, token) == "Token has been revoked"


async def test_store_gets_short_ascii_for_the_token_of_an_issuer(provider: Provider) -> None:
    store = WatchedStore()
    app = new_app(provider, token_store=store)
    async with app.app_context():
        await qje.revoke_token(provider.token(AUDIENCE))
    ((kind, token_id),) = await revoked_ids(store)
    assert kind == "token"
    assert len(token_id) <= 64
    assert token_id.isascii()
    assert token_id.isprintable()


async def test_revocation_lasts_as_long_as_the_token_is_let_in(provider: Provider) -> None:
    """The leeway of the issuer may be longer than that of the app."""
    store = WatchedStore()
    app = new_app(provider, token_store=store, leeway=600)
    with frozen():
        token = provider.token(AUDIENCE, exp=START + 10)
        await who(app, token)
        store.forget()
        async with app.app_context():
            await qje.revoke_token(token)
    ((_, keywords),) = store.arguments
    assert keywords["lifetime"] >= 610


async def test_token_within_the_leeway_of_its_issuer_can_be_revoked(provider: Provider) -> None:
    app = new_app(provider, token_store=qje.MemoryTokenStore(), leeway=600)
    with frozen():
        token = provider.token(AUDIENCE, exp=START - 300)
        await who(app, token)
        async with app.app_context():
            await qje.revoke_token(token)
        assert await rejected(app, token) == "Token has been revoked"


@pytest.mark.parametrize("expiry", ["soon", True, [], {}, None, "1e9"], ids=str)
@pytest.mark.parametrize("whose", ["own", "issuer"])
async def test_revoking_a_token_of_an_odd_expiry_is_the_fault_of_the_token(
    provider: Provider, whose: str, expiry: Any
) -> None:
    app = new_app(provider, token_store=qje.MemoryTokenStore())
    token = (
        hs_token(access_claims(exp=expiry))
        if whose == "own"
        else provider.token(AUDIENCE, exp=expiry)
    )
    async with app.app_context():
        with pytest.raises(jwt.InvalidTokenError):
            await qje.revoke_token(token)


async def test_token_of_an_issuer_without_an_id_cannot_be_revoked(provider: Provider) -> None:
    app = new_app(provider, token_store=qje.MemoryTokenStore())
    token = provider.token(AUDIENCE, jti=...)
    await who(app, token)
    async with app.app_context():
        with pytest.raises(qje.JWTDecodeError, match="^Missing or invalid claim: jti$"):
            await qje.revoke_token(token)


async def test_forged_token_revokes_nothing(provider: Provider, other: Provider) -> None:
    store = WatchedStore()
    app = new_app(provider, token_store=store)
    forged = provider.token(AUDIENCE, key=other.keys[other.signing_kid])
    async with app.app_context():
        with pytest.raises(jwt.InvalidSignatureError):
            await qje.revoke_token(forged)
    assert await revoked_ids(store) == set()


# --- Apps and options -----------------------------------------------------------------------------


async def test_one_manager_trusts_for_all_of_its_apps() -> None:
    manager = qje.JWTManager()
    apps = []
    for name in ("first", "second"):
        app = Quart(name)
        app.config.update(TESTING=True, JWT_SECRET_KEY=f"{SECRET} of the {name}")
        manager.init_app(app)
        add_views(app)
        apps.append(app)
    apps[1].config["JWT_REQUIRED_CLAIMS"] = ["acr"]
    with Provider() as provider:
        manager.trust_issuer(provider.issuer, audience=AUDIENCE, algorithms="ES256")
        for _ in range(2):
            assert (await who(apps[0], provider.token(AUDIENCE)))["issuer"] == provider.issuer
            assert await rejected(apps[1], provider.token(AUDIENCE))
            assert (await who(apps[1], provider.token(AUDIENCE, acr="1")))["identity"] == SUBJECT
        assert provider.requests.count(KEYS) == 1


async def test_each_manager_trusts_for_itself(provider: Provider) -> None:
    trusting, strict = new_app(provider), make_app()
    await who(trusting, provider.token(AUDIENCE))
    assert manager_of(strict).issuers == {}
    assert await rejected(strict, provider.token(AUDIENCE), "/protected")


async def test_issuer_may_be_trusted_after_the_first_request(
    provider: Provider, other: Provider
) -> None:
    app = new_app(provider)
    await who(app, provider.token(AUDIENCE))
    assert await rejected(app, other.token(AUDIENCE))
    trust(app, other)
    assert (await who(app, other.token(AUDIENCE)))["issuer"] == other.issuer


async def test_options_that_change_hold_for_tokens_of_issuers_at_once(provider: Provider) -> None:
    app = new_app(provider)
    token = provider.token(AUDIENCE, permissions="read write")
    await who(app, token)
    app.config["JWT_REQUIRED_CLAIMS"] = ["acr"]
    assert await rejected(app, token) == 'Token is missing the "acr" claim'
    app.config["JWT_REQUIRED_CLAIMS"] = ()
    await rejected(app, token, "/scoped")
    app.config["JWT_SCOPE_CLAIM"] = "permissions"
    assert await who(app, token, "/scoped") == "scoped"
    app.config["JWT_USER_CLAIMS"] = "azp"
    assert (await who(app, token))["claims"]["azp"] == {}
    app.config["JWT_DECODE_LEEWAY"] = 60
    with frozen():
        assert (await who(app, provider.token(AUDIENCE, exp=START - 30)))["identity"] == SUBJECT
    app.config["JWT_MAX_TOKEN_SIZE"] = 100
    assert await rejected(app, token)


async def test_request_goes_by_the_options_that_it_began_with(provider: Provider) -> None:
    app = new_app(provider)

    @manager_of(app).token_in_blocklist_loader
    def is_revoked(header: Any, claims: Any) -> bool:
        app.config["JWT_SCOPE_CLAIM"] = "nothing"
        return False

    token = provider.token(AUDIENCE, scope="read write")
    assert await who(app, token, "/scoped") == "scoped"
    assert (await ask(app, "/scoped", token))[0] == 403


async def test_deprecated_option_is_told_of_once_and_not_again_for_each_issuer(
    provider: Provider,
) -> None:
    """Warnings are errors here, and the options of an issuer are made from those of the app."""
    app = new_app(provider, options={"JWT_CSRF_HEADER_NAME": "X-OLD"})
    with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
        await who(app, hs_token(access_claims()))
    assert (await who(app, provider.token(AUDIENCE)))["identity"] == SUBJECT


# --- Decoding -------------------------------------------------------------------------------------


async def test_decode_token_cannot_wait_for_keys_but_has_them_fetched(provider: Provider) -> None:
    app = new_app(provider)
    token = provider.token(AUDIENCE, **OF_THE_APP)
    async with app.app_context():
        with pytest.raises(qje.IssuerUnavailableError):
            qje.decode_token(token)
        claims = await qje.decode_token_async(token)
        assert qje.decode_token(token) == claims
        assert (claims["type"], claims["fresh"], claims["user_claims"]) == ("access", False, {})
        assert qje.get_jti(token) == JTI
        assert qje.get_jti(provider.token(AUDIENCE, jti=...)) is None


async def test_decode_token_holds_tokens_to_their_issuer(
    provider: Provider, other: Provider
) -> None:
    app = new_app(provider)
    expired = provider.token(AUDIENCE, exp=1)
    async with app.app_context():
        await qje.decode_token_async(provider.token(AUDIENCE))
        for decode in (qje.decode_token, lambda token: qje.decode_token(token, None, True)):
            with pytest.raises(jwt.InvalidAudienceError):
                decode(provider.token("another"))
            with pytest.raises(jwt.InvalidSignatureError):
                decode(provider.token(AUDIENCE, key=other.keys[other.signing_kid]))
            with pytest.raises(jwt.InvalidTokenError):
                decode(provider.token(AUDIENCE, header={"kid": "unknown"}))
            with pytest.raises(jwt.MissingRequiredClaimError):
                decode(provider.token(AUDIENCE, exp=...))
        with pytest.raises(jwt.ExpiredSignatureError) as caught:
            qje.decode_token(expired)
        assert caught.value.jwt_data["iss"] == provider.issuer  # type: ignore[attr-defined]
        assert qje.decode_token(expired, allow_expired=True)["sub"] == SUBJECT
        assert (await qje.decode_token_async(expired, allow_expired=True))["sub"] == SUBJECT


async def test_decode_key_loader_is_for_tokens_of_the_app(provider: Provider) -> None:
    app = new_app(provider)
    asked: list[Any] = []

    @manager_of(app).decode_key_loader
    async def key_of(claims: Any, header: Any) -> str:
        asked.append(claims["identity"])
        return OTHER_SECRET

    assert (await who(app, provider.token(AUDIENCE)))["identity"] == SUBJECT
    assert (await who(app, hs_token(access_claims(), secret=OTHER_SECRET)))["identity"] == "alice"
    assert asked == ["alice"]


# --- WebSockets -----------------------------------------------------------------------------------


def socket_app(provider: Provider, **trusted: Any) -> Quart:
    app = new_app(provider, token_store=qje.MemoryTokenStore(), **trusted)

    @app.websocket("/socket")
    @qje.jwt_required(close_with_token=True)
    async def socket() -> None:
        await websocket.accept()
        while True:
            text = await websocket.receive()
            if text:
                try:
                    await qje.renew_websocket(text)
                except (qje.JWTExtendedException, jwt.InvalidTokenError) as error:
                    await websocket.send_json(str(error))
                    continue
            await websocket.send_json([qje.get_jwt_issuer(), qje.get_jwt_identity()])

    return app


async def said(client: Socket, text: str = "") -> Any:
    client.say(text)
    return await client.hear()


async def closing(client: Socket) -> tuple[int, str]:
    message = await client.next("websocket.close")
    await client.next("end")
    return message["code"], message.get("reason") or ""


async def test_websocket_closes_when_the_token_of_an_issuer_expires(provider: Provider) -> None:
    app = socket_app(provider)
    # The clock runs: the keys should be there.
    await manager_of(app).issuers[provider.issuer].reload()
    with running_from(START + 0.6):
        began = time.monotonic()
        token = provider.token(AUDIENCE, exp=START + 2)
        async with opened(app, "/socket", token=token) as client:
            await client.next("websocket.accept")
            assert await closing(client) == (4401, "Token has expired")
            assert time.monotonic() - began > 0.2


async def test_websocket_closes_when_the_token_of_an_issuer_is_revoked(
    provider: Provider, other: Provider
) -> None:
    app = socket_app(provider)
    trust(app, other)
    token = provider.token(AUDIENCE)
    async with opened(app, "/socket", token=token) as client:
        await client.next("websocket.accept")
        async with app.app_context():
            await qje.revoke_token(other.token(AUDIENCE))
            await qje.revoke_token(hs_token(access_claims(jti=JTI)))
            assert await said(client) == [provider.issuer, SUBJECT]
            await qje.revoke_token(token)
        assert await closing(client) == (4401, "Token has been revoked")


async def test_websocket_is_renewed_by_the_same_user_of_the_same_issuer(
    provider: Provider, other: Provider
) -> None:
    app = socket_app(provider)
    trust(app, other)
    users, blocklist = watch_users(app), watch_blocklist(app)
    mine = [provider.issuer, "alice"]
    async with opened(app, "/socket", token=provider.token(AUDIENCE, sub="alice")) as client:
        await client.next("websocket.accept")
        assert await said(client, provider.token(AUDIENCE, sub="alice", jti="new")) == mine
        for token in (
            other.token(AUDIENCE, sub="alice"),
            hs_token(access_claims(identity="alice")),
            hs_token(access_claims(identity="alice", sub="alice")),
            provider.token(AUDIENCE, sub="bob"),
        ):
            assert await said(client, token) == ("The token belongs to another identity or session")
        assert await said(client) == mine
    assert users == [(provider.issuer, "alice")] * 2
    assert blocklist == [(provider.issuer, JTI), (provider.issuer, "new")]


async def test_websocket_of_the_app_is_not_renewed_by_an_issuer(provider: Provider) -> None:
    app = socket_app(provider)
    async with opened(app, "/socket", token=hs_token(access_claims())) as client:
        await client.next("websocket.accept")
        for name in ("sub", "identity"):
            token = provider.token(AUDIENCE, **{name: "alice"})
            assert await said(client, token) == "The token belongs to another identity or session"
        assert await said(client) == [None, "alice"]


# --- Renewal and caches ---------------------------------------------------------------------------


async def test_implicit_refresh_renews_no_token_of_an_issuer(provider: Provider) -> None:
    options = {
        "JWT_TOKEN_LOCATION": ["cookies"],
        "JWT_IMPLICIT_REFRESH": datetime.timedelta(minutes=30),
    }
    app = new_app(provider, token_store=qje.MemoryTokenStore(), options=options)
    tokens = await log_in(app)
    with frozen(time.time()):
        now = int(time.time())
        session = {"sid": tokens.session_id, "exp": now + 60}
        own = hs_token(access_of(**{"session_id": tokens.session_id, "iat": now, "exp": now + 60}))
        for token, is_renewed in {own: True, provider.token(AUDIENCE, **session): False}.items():
            response = await app.test_client().get(
                "/who", headers={"Cookie": f"access_token_cookie={token}"}
            )
            assert response.status_code == 200
            assert bool(response.headers.getlist("Set-Cookie")) is is_renewed


async def test_signature_cache_lets_in_what_was_verified_and_nothing_else(
    provider: Provider, other: Provider
) -> None:
    app = new_app(provider, options={"JWT_SIGNATURE_CACHE_SIZE": 16})
    trust(app, other)
    with frozen() as clock:
        token = provider.token(AUDIENCE, exp=START + 60)
        for _ in range(3):
            assert (await who(app, token))["identity"] == SUBJECT
        header, payload, signature = token.split(".")
        claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "mallory", "exp": START + 60}
        forged = signed(other, json.dumps(claims).encode()).split(".")[1]
        assert await rejected(app, f"{header}.{forged}.{signature}") == (
            "Signature verification failed"
        )
        # The same segments, said to be of the other issuer.
        claims["iss"] = other.issuer
        forged = signed(other, json.dumps(claims).encode()).split(".")[1]
        assert await rejected(app, f"{header}.{forged}.{signature}") == (
            "Signature verification failed"
        )
        clock.shift(61)
        assert await rejected(app, token) == "Token has expired"


async def test_signature_cache_ends_with_the_key() -> None:
    with Provider() as provider:
        app = new_app(provider, options={"JWT_SIGNATURE_CACHE_SIZE": 16})
        token = provider.token(AUDIENCE)
        for _ in range(2):
            await who(app, token)
        old = provider.signing_kid
        provider.rotate()
        del provider.keys[old]
        await manager_of(app).issuers[provider.issuer].reload()
        assert await rejected(app, token) == "The key ID is not one of the keys of the issuer"
        assert (await who(app, provider.token(AUDIENCE)))["identity"] == SUBJECT


# --- Hostile tokens -------------------------------------------------------------------------------

HOSTILE_PAYLOADS = {
    "empty": b"",
    "text": b"iss",
    "string": b'"https://idp.example"',
    "list": b'[{"iss": "https://idp.example"}]',
    "null": b"null",
    "number": b"1e999999",
    "broken": b'{"iss": "https://idp.example"',
    "trailing": b'{"iss": "https://idp.example"} {}',
    "nan": b'{"iss": NaN}',
    "no utf-8": b'{"iss": "\xff\xfe"}',
    "utf-16": '{"iss": "x"}'.encode("utf-16"),
    "mark": b'\xef\xbb\xbf{"iss": "x"}',
    "surrogate": b'{"iss": "\\ud800"}',
    "nul": b'{"iss": "https://idp.example\\u0000"}',
    "deep list": b'{"iss": ' + b"[" * 6000,
    "deep object": b'{"iss":' * 1500 + b"1" + b"}" * 1500,
    "deep and closed": b'{"a": ' + b"[" * 4000 + b"]" * 4000 + b"}",
    "duplicate": b'{"iss": "a", "iss": "https://idp.example"}',
    "huge number": b'{"iss": ' + b"9" * 8000 + b"}",
}


@pytest.mark.parametrize("payload", HOSTILE_PAYLOADS.values(), ids=HOSTILE_PAYLOADS)
@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET], ids=["signed", "forged"])
async def test_hostile_payload_gets_the_answer_that_it_gets_without_issuers(
    provider: Provider, payload: bytes, secret: str
) -> None:
    token = hs_token(payload, secret=secret)
    app = new_app(provider)
    trusted = manager_of(app).trust_issuer(NAME, audience=AUDIENCE, algorithms="ES256")
    answer = await ask(app, "/protected", token)
    assert answer == await ask(make_app(), "/protected", token)
    assert 400 <= answer[0] < 500
    assert trusted.last_error is None


@pytest.mark.parametrize("payload", HOSTILE_PAYLOADS.values(), ids=HOSTILE_PAYLOADS)
async def test_hostile_payload_under_the_signature_of_an_issuer_is_rejected(
    provider: Provider, payload: bytes
) -> None:
    app = new_app(provider)
    await who(app, provider.token(AUDIENCE))
    hostile = payload.replace(b"https://idp.example", provider.issuer.encode())
    assert await rejected(app, signed(provider, hostile))
    await who(app, provider.token(AUDIENCE))


@pytest.mark.parametrize("first", [True, False], ids=["issuer first", "issuer last"])
async def test_duplicate_iss_is_rejected(provider: Provider, other: Provider, first: bool) -> None:
    """Whichever of the two a library reads first, and another one last."""
    app = new_app(provider)
    trust(app, other)
    names = [provider.issuer, other.issuer]
    if not first:
        names.reverse()
    rest = json.dumps({"aud": AUDIENCE, "sub": SUBJECT, "exp": FAR_FUTURE})[1:]
    payload = f'{{"iss": "{names[0]}", "iss": "{names[1]}", {rest}'
    for issuer in (provider, other):
        assert await rejected(app, signed(issuer, payload.encode()))


async def test_token_that_is_too_long_is_rejected_unread(provider: Provider) -> None:
    app = new_app(provider)
    asked = len(provider.requests)
    assert await rejected(app, provider.token(AUDIENCE, padding="x" * 20_000))
    assert len(provider.requests) == asked


@pytest.mark.parametrize(
    "kid", [..., None, 5, "", "unknown", "../keys", "key-1\0", ["key-1"]], ids=str
)
async def test_kid_that_names_no_key_is_rejected(provider: Provider, kid: Any) -> None:
    app = new_app(provider)
    await who(app, provider.token(AUDIENCE))
    header = {"alg": "ES256"} if kid is ... else {"alg": "ES256", "kid": kid}
    _, payload, signature = provider.token(AUDIENCE).split(".")
    assert await rejected(app, f"{json_segment(header)}.{payload}.{signature}")
    await who(app, provider.token(AUDIENCE))


async def test_refresh_token_of_the_app_is_no_matter_of_issuers(provider: Provider) -> None:
    app = new_app(provider)
    assert (await ask(app, "/refresh", refresh_claims()))[0] == 200
    assert await rejected(app, hs_token(refresh_claims()), "/who")
