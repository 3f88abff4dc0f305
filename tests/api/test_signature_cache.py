"""JWT_SIGNATURE_CACHE_SIZE: one good signature is remembered, and nothing besides.

A :class:`CountingKey` shows what is remembered: it stands for a public key of ``cryptography`` and
counts how often it is asked. ``test_keys.py`` has the cache under keys in PEM.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from quart import Quart

import quart_jwt_extended as qje
from support import SECRET, access_claims, b64url, bearer, hs_token, json_segment, make_app
from support.signing_keys import SIGNERS, Signer, private_key, public_pem


class CountingKey:
    """A public key that counts its verifications, and leaves them to the key it wraps."""

    def __init__(self, private: Any) -> None:
        self.public = private.public_key()
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.public, name)

    def verify(self, *arguments: Any, **keywords: Any) -> None:
        self.calls += 1
        self.public.verify(*arguments, **keywords)


class CountingRSAKey(CountingKey):
    pass


class CountingECKey(CountingKey):
    pass


class CountingEd25519Key(CountingKey):
    pass


class CountingEd448Key(CountingKey):
    pass


# PyJWT takes key objects by isinstance, which these abstract base classes decide.
rsa.RSAPublicKey.register(CountingRSAKey)
ec.EllipticCurvePublicKey.register(CountingECKey)
ed25519.Ed25519PublicKey.register(CountingEd25519Key)
ed448.Ed448PublicKey.register(CountingEd448Key)

KINDS: dict[str, type[CountingKey]] = {
    "RSA": CountingRSAKey,
    "Ed25519": CountingEd25519Key,
    "Ed448": CountingEd448Key,
}

ED25519 = Signer("EdDSA", "Ed25519")
every_signer = pytest.mark.parametrize("signer", SIGNERS, ids=str)
some_signers = pytest.mark.parametrize(
    "signer", [Signer("RS256", "RSA"), Signer("ES256", "P-256"), ED25519], ids=str
)


def counting_key(kind: str, owner: str = "service") -> Any:
    return KINDS.get(kind, CountingECKey)(private_key(kind, owner))


def app_with(signer: Signer, key: Any, size: int = 10, **options: Any) -> Quart:
    return make_app(
        **{
            "JWT_SECRET_KEY": None,
            "JWT_ALGORITHM": signer.algorithm,
            "JWT_PUBLIC_KEY": key,
            "JWT_SIGNATURE_CACHE_SIZE": size,
            **options,
        }
    )


def token_of(signer: Signer, owner: str = "service", **changes: Any) -> str:
    return jwt.encode(access_claims(**changes), private_key(signer.kind, owner), signer.algorithm)


def outcome(token: str) -> Any:
    """The claims, or the class and the text of the refusal."""
    try:
        return qje.decode_token(token)
    except jwt.InvalidTokenError as error:
        return type(error), str(error)


BAD_SIGNATURE = (jwt.InvalidSignatureError, "Signature verification failed")


# --- What is remembered -------------------------------------------------------


@every_signer
async def test_good_token_is_verified_once(signer: Signer) -> None:
    key = counting_key(signer.kind)
    app = app_with(signer, key)
    token = token_of(signer)
    async with app.app_context():
        for _ in range(5):
            assert qje.decode_token(token)["identity"] == "alice"
            assert (await qje.decode_token_async(token.encode()))["identity"] == "alice"
    for _ in range(3):
        response = await app.test_client().get("/protected", headers=bearer(token))
        assert response.status_code == 200
    assert key.calls == 1


@every_signer
async def test_good_token_is_verified_every_time_by_default(signer: Signer) -> None:
    key = counting_key(signer.kind)
    app = app_with(signer, key)
    del app.config["JWT_SIGNATURE_CACHE_SIZE"]
    token = token_of(signer)
    async with app.app_context():
        for calls in range(1, 5):
            assert qje.decode_token(token)["identity"] == "alice"
            assert key.calls == calls


@some_signers
async def test_claims_are_made_anew_from_a_remembered_token(signer: Signer) -> None:
    app = app_with(signer, counting_key(signer.kind))
    token = token_of(signer, user_claims={"roles": ["user"]})
    async with app.app_context():
        for _ in range(3):
            claims = qje.decode_token(token)
            assert claims["user_claims"] == {"roles": ["user"]}
            claims["user_claims"]["roles"].append("admin")
            claims["identity"] = "mallory"
        assert qje.decode_token(token)["identity"] == "alice"


@pytest.mark.parametrize("size", [1, 2, 3, 10])
async def test_as_many_tokens_as_configured_are_remembered(size: int) -> None:
    key = counting_key("Ed25519")
    tokens = [token_of(ED25519, n=number) for number in range(size + 5)]
    async with app_with(ED25519, key, size).app_context():
        for token in tokens:
            qje.decode_token(token)
        assert key.calls == len(tokens)
        # The last ones, none of which makes room for another.
        for token in reversed(tokens[-size:]):
            qje.decode_token(token)
        assert key.calls == len(tokens)
        for token in tokens[:-size]:
            qje.decode_token(token)
        assert key.calls == len(tokens) + 5


async def test_more_tokens_than_configured_are_all_answered() -> None:
    key = counting_key("Ed25519")
    tokens = [token_of(ED25519, identity=f"user{number}") for number in range(20)]
    forged = [f"{token[:-8]}AAAA{token[-4:]}" for token in tokens]
    async with app_with(ED25519, key, 7).app_context():
        for _ in range(3):
            for number, token in enumerate(tokens):
                assert qje.decode_token(token)["identity"] == f"user{number}"
                assert outcome(forged[number]) == BAD_SIGNATURE
    assert key.calls >= 20 + 3 * 20 + 2 * 13


def token_of_size(size: int) -> str:
    """An EdDSA token of exactly so many characters."""
    for spaces in range(4):
        header = json_segment(b'{"typ":"JWT","alg":"EdDSA"' + b" " * spaces + b"}")
        room = size - len(header) - 2 - 86
        if room % 4 == 1:
            continue
        claims = {"identity": "alice", "x": ""}
        claims["x"] = "x" * (room * 3 // 4 - len(jwt.utils.base64url_decode(json_segment(claims))))
        signing_input = f"{header}.{json_segment(claims)}"
        signature = private_key("Ed25519").sign(signing_input.encode())
        return f"{signing_input}.{b64url(signature)}"
    raise AssertionError(size)


@pytest.mark.parametrize(
    ("size", "remembered"),
    [(200, True), (4000, True), (4095, True), (4096, True), (4097, False), (16000, False)],
)
async def test_token_of_up_to_four_kibibytes_is_remembered(size: int, remembered: bool) -> None:
    key = counting_key("Ed25519")
    token = token_of_size(size)
    assert len(token) == size
    async with app_with(ED25519, key).app_context():
        for _ in range(4):
            assert qje.decode_token(token)["identity"] == "alice"
    assert key.calls == (1 if remembered else 4)


async def test_size_of_zero_forgets_everything_at_once() -> None:
    key = counting_key("Ed25519")
    app = app_with(ED25519, key)
    token = token_of(ED25519)
    async with app.app_context():
        for _ in range(2):
            qje.decode_token(token)
        assert key.calls == 1
        app.config["JWT_SIGNATURE_CACHE_SIZE"] = 0
        for _ in range(2):
            qje.decode_token(token)
        assert key.calls == 3


# --- What is not remembered ---------------------------------------------------


@every_signer
async def test_bad_signature_is_verified_every_time(signer: Signer) -> None:
    key = counting_key(signer.kind)
    stranger = token_of(signer, owner="stranger")
    async with app_with(signer, key).app_context():
        for calls in range(1, 5):
            assert outcome(stranger) == BAD_SIGNATURE
            assert key.calls == calls


@some_signers
async def test_failure_of_the_moment_does_not_stick(signer: Signer) -> None:
    """Nor does one after a success: what is remembered is the success."""
    key = counting_key(signer.kind)
    token = token_of(signer)
    verify = key.verify

    def refuse(*_: Any) -> None:
        key.calls += 1
        raise InvalidSignature

    async with app_with(signer, key).app_context():
        key.verify = refuse
        assert outcome(token) == BAD_SIGNATURE
        assert outcome(token) == BAD_SIGNATURE
        assert key.calls == 2
        key.verify = verify
        assert qje.decode_token(token)["identity"] == "alice"
        assert key.calls == 3
        assert qje.decode_token(token)["identity"] == "alice"
        assert key.calls == 3


@some_signers
async def test_failures_take_no_room_from_good_tokens(signer: Signer) -> None:
    key = counting_key(signer.kind)
    token = token_of(signer)
    strangers = [token_of(signer, owner="stranger", n=number) for number in range(5)]
    async with app_with(signer, key, 1).app_context():
        qje.decode_token(token)
        for stranger in strangers:
            assert outcome(stranger) == BAD_SIGNATURE
        key.calls = 0
        qje.decode_token(token)
    assert key.calls == 0


async def remembered_bytes(app: Quart, tokens: list[str]) -> int:
    """How much memory stays in use after the tokens were verified."""
    async with app.app_context():
        outcome(tokens[0])
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for token in tokens:
                outcome(token)
            return tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()


LARGE = {"n": "x" * 2500}


async def test_memory_shows_what_is_remembered() -> None:
    """The measure of the next test: 200 tokens of 3.5 KB, where they may be remembered."""
    tokens = [token_of(ED25519, jti=str(number), **LARGE) for number in range(200)]
    bounds = {1000: (500_000, 2_000_000), 20: (50_000, 200_000), 0: (-50_000, 50_000)}
    for size, (least, most) in bounds.items():
        app = app_with(ED25519, public_pem(private_key("Ed25519")), size)
        assert least < await remembered_bytes(app, tokens) < most


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_hmac_token_is_never_remembered(algorithm: str) -> None:
    tokens = [hs_token(access_claims(jti=str(n), **LARGE), alg=algorithm) for n in range(200)]
    app = make_app(JWT_ALGORITHM=algorithm, JWT_SIGNATURE_CACHE_SIZE=1000)
    async with app.app_context():
        assert qje.decode_token(tokens[0])["identity"] == "alice"
    assert await remembered_bytes(app, tokens) < 50_000


async def test_hmac_token_is_never_remembered_beside_public_keys() -> None:
    tokens = [hs_token(access_claims(jti=str(n), **LARGE)) for n in range(200)]
    key = counting_key("Ed25519")
    app = app_with(
        ED25519, key, 1000, JWT_SECRET_KEY=SECRET, JWT_DECODE_ALGORITHMS=["HS256", "EdDSA"]
    )
    async with app.app_context():
        assert qje.decode_token(tokens[0])["identity"] == "alice"
        assert await remembered_bytes(app, tokens) < 50_000
        qje.decode_token(token_of(ED25519))
        qje.decode_token(token_of(ED25519))
    assert key.calls == 1


async def test_refused_tokens_leave_nothing_in_memory() -> None:
    tokens = [token_of(ED25519, "stranger", jti=str(n), **LARGE) for n in range(200)]
    app = app_with(ED25519, public_pem(private_key("Ed25519")), 1000)
    assert await remembered_bytes(app, tokens) < 50_000


# --- Alterations --------------------------------------------------------------


@every_signer
async def test_remembered_token_altered_in_any_one_byte_is_refused(signer: Signer) -> None:
    """Whatever the byte, the answer is that of an application that remembers nothing."""
    key = counting_key(signer.kind)
    remembering = app_with(signer, key, 1000)
    forgetful = app_with(signer, public_pem(private_key(signer.kind)), 0)
    token = token_of(signer, jti="j")
    header, payload = (len(part) for part in token.split(".")[:2])
    async with remembering.app_context():
        qje.decode_token(token)
    for position in range(len(token)):
        was = token[position]
        for byte in {"A", "_", ".", chr(ord(was) ^ 1), was.swapcase()} - {was}:
            altered = token[:position] + byte + token[position + 1 :]
            async with remembering.app_context():
                ours = outcome(altered)
            assert isinstance(ours, tuple), position
            if position % 10 == 0 or header - 2 < position < header + payload + 3:
                async with forgetful.app_context():
                    assert outcome(altered) == ours
    calls = key.calls
    async with remembering.app_context():
        assert qje.decode_token(token)["identity"] == "alice"
    assert key.calls == calls


@every_signer
async def test_remembered_token_shortened_or_lengthened_is_refused(signer: Signer) -> None:
    token = token_of(signer)
    async with app_with(signer, counting_key(signer.kind), 1000).app_context():
        qje.decode_token(token)
        for position in range(len(token) + 1):
            for altered in (
                token[:position] + token[position + 1 :],
                token[:position] + "A" + token[position:],
                token[:position] + token[position : position + 1] * 2 + token[position + 1 :],
            ):
                if altered != token:
                    assert isinstance(outcome(altered), tuple), position
        for altered in (
            token + "=",
            token + "AAAA",
            token[:-4],
            token + ".",
            f" {token}",
            token * 2,
        ):
            assert isinstance(outcome(altered), tuple)


@every_signer
async def test_parts_of_two_remembered_tokens_do_not_make_a_third(signer: Signer) -> None:
    kind = private_key(signer.kind)
    tokens = [
        jwt.encode(access_claims(identity=name), kind, signer.algorithm, headers={"kid": name})
        for name in ("alice", "bob", "carol")
    ]
    parts = [token.split(".") for token in tokens]
    key = counting_key(signer.kind)
    async with app_with(signer, key).app_context():
        for token in tokens:
            qje.decode_token(token)
        for header in range(3):
            for payload in range(3):
                for signature in range(3):
                    mixed = f"{parts[header][0]}.{parts[payload][1]}.{parts[signature][2]}"
                    if header == payload == signature:
                        assert isinstance(outcome(mixed), dict)
                    else:
                        assert outcome(mixed) == BAD_SIGNATURE
    # Nine tokens had all parts of one; the others were verified, each once.
    assert key.calls == 3 + 24


async def test_dot_moved_through_a_remembered_token_is_refused() -> None:
    """The segments end to end are the same bytes."""
    token = token_of(ED25519)
    header, payload, signature = token.split(".")
    everything = header + payload + signature
    async with app_with(ED25519, counting_key("Ed25519"), 1000).app_context():
        qje.decode_token(token)
        for first in range(len(header) - 4, len(header) + 5):
            for second in range(first + len(payload) - 8, first + len(payload) + 9):
                if (first, second) == (len(header), len(header) + len(payload)):
                    continue
                moved = f"{everything[:first]}.{everything[first:second]}.{everything[second:]}"
                assert isinstance(outcome(moved), tuple)


async def test_other_good_signature_of_the_same_claims_is_verified() -> None:
    """ECDSA and PSS sign the same bytes differently each time."""
    for signer in (Signer("ES256", "P-256"), Signer("PS256", "RSA")):
        key = counting_key(signer.kind)
        claims = access_claims()
        first, second = (
            jwt.encode(claims, private_key(signer.kind), signer.algorithm) for _ in range(2)
        )
        assert first.rpartition(".")[0] == second.rpartition(".")[0]
        assert first != second
        async with app_with(signer, key).app_context():
            qje.decode_token(first)
            qje.decode_token(second)
            assert key.calls == 2
            assert qje.decode_token(first) == qje.decode_token(second)


# --- Keys ---------------------------------------------------------------------


@some_signers
async def test_changed_public_key_object_does_not_profit(signer: Signer) -> None:
    """The same object type, and tokens of both owners, back and forth."""
    keys = {owner: counting_key(signer.kind, owner) for owner in ("service", "stranger")}
    tokens = {owner: token_of(signer, owner) for owner in keys}
    app = app_with(signer, keys["service"])
    async with app.app_context():
        for _ in range(3):
            for owner, other in (("service", "stranger"), ("stranger", "service")):
                app.config["JWT_PUBLIC_KEY"] = keys[owner]
                for _ in range(2):
                    assert qje.decode_token(tokens[owner])["identity"] == "alice"
                    assert outcome(tokens[other]) == BAD_SIGNATURE


@some_signers
async def test_new_key_object_of_the_same_key_verifies_for_itself(signer: Signer) -> None:
    token = token_of(signer)
    app = app_with(signer, counting_key(signer.kind))
    async with app.app_context():
        for _ in range(3):
            key = counting_key(signer.kind)
            app.config["JWT_PUBLIC_KEY"] = key
            for _ in range(2):
                assert qje.decode_token(token)["identity"] == "alice"
            assert key.calls == 1


@some_signers
async def test_key_object_that_was_dropped_leaves_nothing_to_its_successor(signer: Signer) -> None:
    """A new object may get the address of an old one."""
    token = token_of(signer)
    app = app_with(signer, counting_key(signer.kind))
    async with app.app_context():
        for _ in range(50):
            app.config["JWT_PUBLIC_KEY"] = counting_key(signer.kind)
            assert qje.decode_token(token)["identity"] == "alice"
            app.config["JWT_PUBLIC_KEY"] = counting_key(signer.kind, "stranger")
            assert outcome(token) == BAD_SIGNATURE


@some_signers
@pytest.mark.parametrize("dress", ["counting", "pem", "jwk"])
async def test_other_key_from_a_loader_does_not_profit(signer: Signer, dress: str) -> None:
    def dressed(owner: str) -> Any:
        private = private_key(signer.kind, owner)
        if dress == "counting":
            return counting_key(signer.kind, owner)
        if dress == "pem":
            return public_pem(private)
        algorithm = jwt.get_algorithm_by_name(signer.algorithm)
        return jwt.PyJWK.from_json(algorithm.to_jwk(private.public_key()), signer.algorithm)

    keys = {owner: dressed(owner) for owner in ("service", "stranger")}
    current = ["service"]
    app = app_with(signer, None)
    app.extensions["quart-jwt-extended"].decode_key_loader(lambda claims, header: keys[current[0]])
    tokens = {owner: token_of(signer, owner) for owner in keys}
    async with app.app_context():
        for owner, other in [("service", "stranger"), ("stranger", "service")] * 3:
            current[0] = owner
            for _ in range(2):
                assert qje.decode_token(tokens[owner])["identity"] == "alice"
                assert outcome(tokens[other]) == BAD_SIGNATURE
                assert (await qje.decode_token_async(tokens[owner]))["identity"] == "alice"


async def test_key_that_a_loader_stops_returning_does_not_verify() -> None:
    answers: list[Any] = [counting_key("Ed25519")]
    app = app_with(ED25519, None)
    app.extensions["quart-jwt-extended"].decode_key_loader(lambda claims, header: answers[0])
    token = token_of(ED25519)
    async with app.app_context():
        for _ in range(2):
            assert qje.decode_token(token)["identity"] == "alice"
        for answer in (None, "", b"", SECRET):
            answers[0] = answer
            refusal = outcome(token)
            assert isinstance(refusal, tuple)
            assert issubclass(refusal[0], jwt.InvalidTokenError)


async def test_removed_public_key_object_does_not_verify() -> None:
    key = counting_key("Ed25519")
    app = app_with(ED25519, key)
    token = token_of(ED25519)
    async with app.app_context():
        qje.decode_token(token)
        app.config["JWT_PUBLIC_KEY"] = None
        with pytest.raises(RuntimeError, match="JWT_PUBLIC_KEY"):
            qje.decode_token(token)


@some_signers
async def test_second_application_does_not_profit(signer: Signer) -> None:
    key = counting_key(signer.kind)
    first, second = app_with(signer, key), app_with(signer, key)
    third = app_with(signer, counting_key(signer.kind, "stranger"))
    token = token_of(signer)
    for app in (first, second):
        async with app.app_context():
            for _ in range(2):
                assert qje.decode_token(token)["identity"] == "alice"
    assert key.calls == 2
    async with third.app_context():
        assert outcome(token) == BAD_SIGNATURE


async def test_second_application_of_the_same_manager_does_not_profit() -> None:
    key = counting_key("Ed25519")
    manager = qje.JWTManager()
    token = token_of(ED25519)
    for calls, app in enumerate([app_with(ED25519, key), app_with(ED25519, key)], start=1):
        manager.init_app(app)
        async with app.app_context():
            for _ in range(2):
                qje.decode_token(token)
        assert key.calls == calls


# --- Algorithms ---------------------------------------------------------------


async def test_other_algorithm_of_the_same_key_does_not_profit() -> None:
    key = counting_key("RSA")
    names = ["RS256", "PS256", "RS384", "PS384"]
    app = app_with(Signer("RS256", "RSA"), key, JWT_DECODE_ALGORITHMS=names)
    claims = access_claims()
    tokens = {name: jwt.encode(claims, private_key("RSA"), name) for name in names}
    async with app.app_context():
        for number, token in enumerate(tokens.values(), start=1):
            for _ in range(2):
                qje.decode_token(token)
            assert key.calls == number
        for name, token in tokens.items():
            for other, foreign in tokens.items():
                if name != other:
                    mixed = f"{token.rpartition('.')[0]}.{foreign.rpartition('.')[2]}"
                    assert outcome(mixed) == BAD_SIGNATURE


NOT_ALLOWED = (jwt.InvalidAlgorithmError, "The specified alg value is not allowed")


@pytest.mark.parametrize("kind", [list, tuple, set])
async def test_algorithm_removed_from_the_allow_list_does_not_profit(
    kind: Callable[[Any], Any],
) -> None:
    key = counting_key("RSA")
    both = kind(["RS256", "PS256"])
    app = app_with(Signer("RS256", "RSA"), key, JWT_DECODE_ALGORITHMS=both)
    token = token_of(Signer("PS256", "RSA"))
    async with app.app_context():
        for _ in range(3):
            app.config["JWT_DECODE_ALGORITHMS"] = both
            assert qje.decode_token(token)["identity"] == "alice"
            app.config["JWT_DECODE_ALGORITHMS"] = kind(["RS256"])
            assert outcome(token) == NOT_ALLOWED
        if kind is not tuple:
            app.config["JWT_DECODE_ALGORITHMS"] = both
            assert qje.decode_token(token)["identity"] == "alice"
            both.remove("PS256")
            assert outcome(token) == NOT_ALLOWED


async def test_changed_algorithm_of_the_application_does_not_profit() -> None:
    app = app_with(Signer("RS256", "RSA"), counting_key("RSA"))
    token = token_of(Signer("RS256", "RSA"))
    async with app.app_context():
        qje.decode_token(token)
        app.config["JWT_ALGORITHM"] = "PS256"
        assert outcome(token) == NOT_ALLOWED
        app.config["JWT_ALGORITHM"] = "RS256"
        assert qje.decode_token(token)["identity"] == "alice"


# --- Everything else is checked each time -------------------------------------


EXPIRED = (jwt.ExpiredSignatureError, "Signature has expired")


@some_signers
async def test_remembered_token_expires_by_the_clock(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    key = counting_key(signer.kind)
    app = app_with(signer, key)
    token = token_of(signer, exp=int(now) + 100, iat=int(now) - 100)
    client = app.test_client()
    async with app.app_context():
        for ahead, expected in [(0, 200), (98, 200), (101, 401), (10**6, 401), (0, 200)]:
            monkeypatch.setattr(time, "time", lambda ahead=ahead: now + ahead)
            if expected == 200:
                assert qje.decode_token(token)["identity"] == "alice"
            else:
                assert outcome(token) == EXPIRED
            response = await client.get("/protected", headers=bearer(token))
            assert response.status_code == expected
        monkeypatch.setattr(time, "time", lambda: now - 200)
        assert outcome(token) == (
            jwt.ImmatureSignatureError,
            "The token is not yet valid (iat)",
        )
    assert key.calls == 1


async def test_revoked_token_is_refused_though_remembered() -> None:
    revoked: set[str] = set()
    app = app_with(ED25519, counting_key("Ed25519"), JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]
    manager.token_in_blacklist_loader(lambda claims: claims["jti"] in revoked)
    token = token_of(ED25519, jti="one")
    client = app.test_client()
    for gone, expected in [(set(), 200), ({"one"}, 401), (set(), 200), ({"two"}, 200)]:
        revoked.clear()
        revoked.update(gone)
        for _ in range(2):
            response = await client.get("/protected", headers=bearer(token))
            assert response.status_code == expected


async def test_user_and_claims_are_asked_for_though_remembered() -> None:
    app = app_with(ED25519, counting_key("Ed25519"))
    manager = app.extensions["quart-jwt-extended"]
    users, accepted = ["alice"], [True]
    manager.user_loader_callback_loader(lambda name: name if name in users else None)
    manager.claims_verification_loader(lambda claims: accepted[0])
    token = token_of(ED25519)
    client = app.test_client()

    async def status() -> int:
        return (await client.get("/protected", headers=bearer(token))).status_code

    assert [await status(), await status()] == [200, 200]
    users.clear()
    assert await status() == 401
    users.append("alice")
    accepted[0] = False
    assert await status() == 400
    accepted[0] = True
    assert await status() == 200


@pytest.mark.parametrize(
    ("options", "claims", "refusal"),
    [
        ({"JWT_DECODE_AUDIENCE": "us"}, {}, jwt.MissingRequiredClaimError),
        ({"JWT_DECODE_ISSUER": "us"}, {}, jwt.MissingRequiredClaimError),
        ({"JWT_IDENTITY_CLAIM": "sub"}, {}, qje.JWTDecodeError),
        ({"JWT_MAX_TOKEN_SIZE": 100}, {}, jwt.DecodeError),
        ({"JWT_DECODE_LEEWAY": 0}, {"exp": 1}, jwt.ExpiredSignatureError),
    ],
)
async def test_changed_option_is_applied_though_remembered(
    options: dict[str, Any], claims: dict[str, Any], refusal: type[Exception]
) -> None:
    app = app_with(ED25519, counting_key("Ed25519"), JWT_DECODE_LEEWAY=10**10)
    token = token_of(ED25519, **claims)
    async with app.app_context():
        for _ in range(2):
            assert qje.decode_token(token)["identity"] == "alice"
        app.config.update(options)
        for _ in range(2):
            with pytest.raises(refusal):
                qje.decode_token(token)


async def test_type_and_csrf_are_checked_though_remembered() -> None:
    app = app_with(ED25519, counting_key("Ed25519"))
    token = token_of(ED25519, csrf="value")
    client = app.test_client()
    async with app.app_context():
        for _ in range(2):
            assert qje.decode_token(token, csrf_value="value")["identity"] == "alice"
            with pytest.raises(qje.CSRFError):
                qje.decode_token(token, csrf_value="other")
            assert qje.decode_token(token)["identity"] == "alice"
    for path, expected in [("/protected", 200), ("/refresh", 422), ("/fresh", 401)] * 2:
        assert (await client.get(path, headers=bearer(token))).status_code == expected


async def test_expired_token_is_refused_however_often_it_comes() -> None:
    """Its signature is good and may be remembered, which does not make it any younger."""
    token = token_of(ED25519, exp=1)
    async with app_with(ED25519, counting_key("Ed25519")).app_context():
        for _ in range(3):
            assert outcome(token) == EXPIRED
            assert qje.decode_token(token, allow_expired=True)["exp"] == 1


# --- Signatures in raw form ---------------------------------------------------

EC_SIGNERS = [signer for signer in SIGNERS if signer.algorithm.startswith("ES")]


@pytest.mark.parametrize("signer", EC_SIGNERS, ids=str)
@pytest.mark.parametrize("size", [0, 10], ids="cache-{}".format)
async def test_raw_signature_of_every_shape_is_judged_as_by_pyjwt(
    signer: Signer, size: int
) -> None:
    """R and S side by side (RFC 7518, section 3.4), with every length and border of both."""
    key = private_key(signer.kind)
    token = token_of(signer)
    signing_input, _, segment = token.rpartition(".")
    good = jwt.utils.base64url_decode(segment)
    half = len(good) // 2
    r, s = good[:half], good[half:]
    zero, one, full = bytes(half), bytes(half - 1) + b"\1", b"\xff" * half
    der = jwt.utils.raw_to_der_signature(good, key.curve)
    shapes = [
        *(good[:length] for length in range(len(good))),
        *(good + bytes(length) for length in (1, 2, half)),
        *(bytes(length) + good for length in (1, 2, half)),
        *(left + right for left in (zero, one, full, r, s) for right in (zero, one, full, r, s)),
        der,
        r[::-1] + s[::-1],
        b"\0" + r + b"\0" + s,
        r[1:] + s[1:],
        bytes([r[0] ^ 0x80]) + r[1:] + s,
        r + bytes([s[0] ^ 0x80]) + s[1:],
    ]
    async with app_with(signer, key.public_key(), size).app_context():
        qje.decode_token(token)
        for shape in shapes:
            altered = f"{signing_input}.{b64url(shape)}"
            if shape == good:
                assert isinstance(outcome(altered), dict)
                continue
            assert outcome(altered) == BAD_SIGNATURE
            with pytest.raises(jwt.InvalidSignatureError, match="Signature verification failed"):
                jwt.decode(altered, key.public_key(), algorithms=[signer.algorithm])
        assert qje.decode_token(token)["identity"] == "alice"


@pytest.mark.parametrize("signer", EC_SIGNERS, ids=str)
async def test_halves_of_raw_signatures_keep_their_leading_zeros(signer: Signer) -> None:
    """One half in 256 begins with a byte of zero, every other one needs one more in DER."""
    key = private_key(signer.kind)
    app = app_with(signer, key.public_key(), 0, JWT_PRIVATE_KEY=key)
    half = -(-key.curve.key_size // 8)
    short = {0: 0, half: 0}
    async with app.app_context():
        for number in range(20_000):
            token = qje.create_access_token(number)
            signature = jwt.utils.base64url_decode(token.rpartition(".")[2])
            assert len(signature) == 2 * half
            if number < 50 or 0 in (signature[0], signature[half]):
                for start in short:
                    short[start] += signature[start] == 0
                assert qje.decode_token(token)["identity"] == number
                decoded = jwt.decode(token, key.public_key(), algorithms=[signer.algorithm])
                assert decoded["identity"] == number
            if number >= 50 and all(short.values()):
                break
    assert all(short.values())
