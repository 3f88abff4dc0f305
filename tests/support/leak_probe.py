"""Requests and creations by the hundred thousand, and what they leave; test_leaks.py judges it.

    python -m support.leak_probe ROUNDS REQUESTS CREATIONS

Each round has so many of both. Before the first round and after each one, a line of JSON goes out:
what memory and which objects there are, and how often the objects that all requests share are
referred to. The same cases are repeated in the same order, so that whatever grows is a leak.

It is a process of its own since pytest keeps objects of every test.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from quart import Quart

import quart_jwt_extended as qje
from support import access_claims, hs_token, make_app, refresh_claims
from support.asgi import Raw, exchanged, json_request
from support.signing_keys import private_key, public_pem

STATM = Path("/proc/self/statm")

# Requests until the allocator of the interpreter has settled.
WARM_UP = 10_000

# More than the keys that an app keeps prepared, so that old ones are dropped all the time.
PASSING_KEYS = 1100

OK, REFUSED_CLAIMS, UNAUTHORIZED, INVALID, BROKEN = 200, 400, 401, 422, 503


# --- where a token is carried ---------------------------------------------------------------------


def in_headers(token: str) -> Raw:
    return Raw(headers=[(b"authorization", b"Bearer " + token.encode())])


def in_cookies(token: str) -> Raw:
    return Raw(headers=[(b"cookie", b"theme=dark; access_token_cookie=" + token.encode())])


def in_cookies_with_csrf(token: str) -> Raw:
    headers = [*in_cookies(token).headers, (b"x-csrf-token", b"a value")]
    return Raw(headers=headers, method="POST")


def in_query_string(token: str) -> Raw:
    return Raw(query=b"page=2&jwt=" + token.encode())


def in_json(token: str) -> Raw:
    return json_request(json.dumps({"item": 17, "access_token": token}).encode())


LOCATIONS = (in_headers, in_cookies, in_cookies_with_csrf, in_query_string, in_json)


# --- the applications -----------------------------------------------------------------------------

METHODS = ["GET", "POST"]

EVERY_LOCATION = ["headers", "cookies", "query_string", "json"]


def secret_app() -> Quart:
    """An app with a secret and plain callbacks, which refuse by the identity."""
    app = make_app(JWT_TOKEN_LOCATION=EVERY_LOCATION, JWT_BLACKLIST_ENABLED=True)
    manager = app.extensions["quart-jwt-extended"]

    @manager.token_in_blacklist_loader
    def is_revoked(claims: dict[str, Any]) -> bool:
        return bool(claims["identity"] == "revoked")

    @manager.claims_verification_loader
    def are_accepted(user_claims: Any) -> bool:
        return user_claims != {"refuse": True}

    @manager.user_loader_callback_loader
    def load(identity: str) -> Any:
        if identity == "broken":
            raise LookupError(identity)
        return None if identity == "nobody" else {"name": identity}

    @app.errorhandler(LookupError)
    async def broken(error: LookupError) -> Any:
        return {"msg": "broken"}, BROKEN

    @app.route("/sync", methods=METHODS)
    @qje.jwt_required
    def sync() -> Any:
        return {"name": qje.get_current_user()["name"]}

    return app


class Keys(NamedTuple):
    """What a decode_key_loader looks up: some keys, and ever new ones that have signed nothing."""

    known: dict[str, Any]
    passing: Iterator[Any]


def key_app(keys: Keys) -> Quart:
    """An app with asymmetric keys, a signature cache, and callbacks that are all async."""
    app = make_app(
        JWT_TOKEN_LOCATION=EVERY_LOCATION,
        JWT_SECRET_KEY=None,
        JWT_ALGORITHM="RS256",
        JWT_PRIVATE_KEY=private_key("RSA"),
        JWT_DECODE_ALGORITHMS=["RS256", "ES256", "EdDSA"],
        JWT_SIGNATURE_CACHE_SIZE=16,
        JWT_BLACKLIST_ENABLED=True,
    )
    manager = app.extensions["quart-jwt-extended"]

    @manager.decode_key_loader
    async def key_of(claims: dict[str, Any], header: dict[str, Any]) -> Any:
        if header["kid"] == "slow":
            await asyncio.sleep(0)
        if header["kid"] == "passing":
            return next(keys.passing)
        return keys.known.get(header["kid"])

    @manager.token_in_blacklist_loader
    async def is_revoked(claims: dict[str, Any]) -> bool:
        return bool(claims["identity"] == "revoked")

    @manager.user_loader_callback_loader
    async def load(identity: str) -> Any:
        await asyncio.sleep(0)
        if identity == "broken":
            raise LookupError(identity)
        return None if identity == "nobody" else {"name": identity}

    @manager.revoked_token_loader
    async def revoked() -> Any:
        return {"msg": f"{qje.get_jwt_identity()} has been revoked"}, UNAUTHORIZED

    @app.errorhandler(LookupError)
    async def broken(error: LookupError) -> Any:
        return {"msg": "broken"}, BROKEN

    return app


# --- the cases ------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A request of which some parts may be new each time, and the status of its answer."""

    app: Quart
    path: str
    make: Callable[[], Raw]
    status: int


def always(raw: Raw) -> Callable[[], Raw]:
    return lambda: raw


def claims_of(**changes: Any) -> dict[str, Any]:
    """Claims that stay good however long the run takes."""
    return access_claims(**{"csrf": "a value", **changes})


def secret_cases(app: Quart, chance: random.Random) -> list[Case]:
    cases = []

    def add(make: Callable[[], Raw], status: int, path: str = "/protected") -> None:
        cases.append(Case(app, path, make, status))

    good = hs_token(claims_of())
    fixed = {
        good: OK,
        hs_token(access_claims(exp=1, csrf="a value")): UNAUTHORIZED,
        good[:-6] + "AAAAAA": INVALID,
        hs_token(claims_of(identity="revoked")): UNAUTHORIZED,
        hs_token(claims_of(identity=...)): INVALID,
        hs_token(claims_of(user_claims={"refuse": True})): REFUSED_CLAIMS,
        hs_token(claims_of(identity="nobody")): UNAUTHORIZED,
        hs_token(claims_of(identity="broken")): BROKEN,
        hs_token(refresh_claims(csrf="a value")): INVALID,
    }

    def with_new_header(place: Callable[[str], Raw]) -> Raw:
        header = {"alg": "HS256", "typ": "JWT", "kid": f"{chance.getrandbits(64):016x}"}
        return place(hs_token(claims_of(), header=header))

    def garbage(place: Callable[[str], Raw]) -> Raw:
        return place(f"{chance.getrandbits(256):064x}.{chance.getrandbits(256):064x}.")

    for place in LOCATIONS:
        for token, status in fixed.items():
            add(always(place(token)), status)
        add(lambda place=place: with_new_header(place), OK)
        add(lambda place=place: garbage(place), INVALID)
        add(always(place("x" * 20_000)), INVALID)
    add(always(in_headers(good)), OK, "/sync")
    add(always(in_headers(good)), OK, "/optional")
    add(always(in_headers(good)), UNAUTHORIZED, "/fresh")
    add(always(in_headers(hs_token(claims_of(fresh=True)))), OK, "/fresh")
    add(always(in_headers(hs_token(refresh_claims()))), OK, "/refresh")
    add(always(Raw()), UNAUTHORIZED)
    add(always(Raw()), OK, "/optional")
    add(always(Raw(headers=[(b"authorization", b"Bearer a b")])), INVALID)
    add(always(Raw(headers=[(b"authorization", b"Basic YTpi")])), INVALID)
    add(always(in_cookies_with_csrf(hs_token(claims_of(csrf="other")))), UNAUTHORIZED)
    add(always(replace(in_cookies(good), method="POST")), UNAUTHORIZED)
    add(always(json_request(b"[" * 5000)), UNAUTHORIZED)
    add(always(in_headers(hs_token(b'{"a":' * 3000, header={"alg": "HS256"}))), INVALID)
    add(always(in_headers(hs_token(b'{"identity":"\\ud800"}'))), OK)
    return cases


def key_cases(app: Quart, keys: Keys, chance: random.Random) -> list[Case]:
    cases = []
    signers = {"RSA": "RS256", "P-256": "ES256", "Ed25519": "EdDSA"}

    def signed(kind: str, kid: str | None = None, **changes: Any) -> str:
        headers = {"kid": kind if kid is None else kid}
        return jwt.encode(claims_of(**changes), private_key(kind), signers[kind], headers)

    for kind in signers:
        keys.known[kind] = private_key(kind).public_key()
        keys.known[f"{kind} PEM"] = public_pem(private_key(kind))
    keys.known["slow"] = keys.known["P-256"]
    for place in LOCATIONS:
        for kind in signers:
            good = signed(kind)
            cases += [
                Case(app, "/protected", always(place(good)), OK),
                Case(app, "/protected", always(place(good[:-6] + "AAAAAA")), INVALID),
                Case(app, "/protected", always(place(signed(kind, f"{kind} PEM"))), OK),
            ]
        for identity, status in [
            ("revoked", UNAUTHORIZED),
            ("nobody", UNAUTHORIZED),
            ("broken", BROKEN),
        ]:
            token = signed("P-256", "slow", identity=identity)
            cases.append(Case(app, "/protected", always(place(token)), status))
    unknown = signed("P-256", "unknown")
    passing = signed("P-256", "passing")
    cases += [
        Case(app, "/protected", always(in_headers(unknown)), INVALID),
        Case(app, "/protected", always(in_headers(passing)), INVALID),
    ]
    return cases


# --- creations ------------------------------------------------------------------------------------


class NotSerialisable:
    """Refused by the encoder of JSON."""


async def create(app: Quart, number: int) -> None:
    """Create one token, of another kind each time, or fail to."""
    kind = number % 10
    try:
        if kind < 5:
            qje.create_access_token(f"user {number}", user_claims={"roles": ["a", "b"], "n": 1.5})
        elif kind == 5:
            qje.create_refresh_token(number)
        elif kind == 6:
            token = await qje.create_access_token_async("bob", fresh=True, headers={"kid": "a"})
            response = await app.make_response("")
            qje.set_access_cookies(response, token)
            qje.unset_jwt_cookies(response)
        elif kind == 7:
            token = qje.create_access_token("bob", additional_claims={"scope": "a b"})
            qje.decode_token(token)
        elif kind == 8:
            qje.create_access_token(NotSerialisable())
            raise AssertionError("serialised")
        else:
            qje.create_access_token("bob", additional_claims={"type": "refresh"})
            raise AssertionError("let through")
    except (TypeError, ValueError):
        if kind < 8:
            raise


# --- what is left ---------------------------------------------------------------------------------


def shared_objects(apps: dict[str, Quart], keys: Keys) -> dict[str, Any]:
    """What every request refers to, by name. Python counts no references to None, True, False and
    small ints from 3.12 on."""
    shared: dict[str, Any] = {repr(value): value for value in (None, True, False, 0, 1, 2, "", b"")}
    for word in ("access", "refresh", "identity", "type", "fresh", "csrf", "alg", "HS256", "msg"):
        shared[f"the word {word}"] = sys.intern(word)
    for module in (qje, jwt.exceptions):
        for name, value in vars(module).items():
            # Not what the module imports: cryptography 42 counts references to its types wrongly.
            if callable(value) and not name.startswith("_"):
                shared[f"{module.__name__}.{name}"] = value
    for name, app in apps.items():
        shared[f"{name} app"] = app
        shared[f"{name} manager"] = app.extensions["quart-jwt-extended"]
        for option, value in app.config.items():
            shared[f"{name} app, {option}"] = value
        for endpoint, view in app.view_functions.items():
            shared[f"{name} app, view {endpoint}"] = view
    for kid, key in keys.known.items():
        shared[f"key {kid}"] = key
    # The first name of an object will do.
    names = {id(value): name for name, value in reversed(shared.items())}
    return {name: shared[name] for name in names.values()}


def is_ours(value: Any) -> bool:
    return type(value).__module__ == qje.__name__


def internals() -> dict[str, Any]:
    """Of the objects that the module keeps to itself: how many, how often they are referred to,
    and how often the keys are that they hold."""
    found: dict[str, list[int]] = {}
    for value in filter(is_ours, gc.get_objects()):
        figures = found.setdefault(type(value).__name__, [0, 0, 0])
        figures[0] += 1
        figures[1] += sys.getrefcount(value)
        for held in gc.get_referents(value):
            if type(held).__module__.partition(".")[0] == "cryptography":
                figures[2] += sys.getrefcount(held)
    return {
        f"{name}, {what}": figure
        for name, figures in found.items()
        for what, figure in zip(("instances", "references", "key references"), figures, strict=True)
    }


def resident() -> int | None:
    """The bytes of memory that this process occupies; None where the system does not tell."""
    if not STATM.exists():
        return None
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def state(shared: dict[str, Any]) -> str:
    """What there is now, as text, so that no object of it is kept."""
    if sys.version_info < (3, 12):
        # Each of its 4,096 entries refers to None until it is used, which is a matter of hashes.
        sys._clear_type_cache()
    gc.collect()
    kinds = Counter(
        f"{type(value).__module__}.{type(value).__qualname__}" for value in gc.get_objects()
    )
    figures = {
        "resident": resident(),
        "blocks": sys.getallocatedblocks(),
        "objects": kinds,
        "references": {name: sys.getrefcount(value) for name, value in shared.items()},
        "internals": internals(),
    }
    return json.dumps(figures)


async def main(rounds: int, requests: int, creations: int) -> None:
    chance = random.Random(0)
    passing = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(PASSING_KEYS)]
    keys = Keys({}, itertools.cycle(passing))
    apps = {"secret": secret_app(), "key": key_app(keys)}
    cases = secret_cases(apps["secret"], chance) + key_cases(apps["key"], keys, chance)
    chance.shuffle(cases)
    shared = shared_objects(apps, keys)

    async def send(count: int) -> None:
        for number in range(count):
            case = cases[number % len(cases)]
            if number % len(cases) == 0:
                for app in apps.values():
                    # A changed option makes a new snapshot of all.
                    app.config["JWT_DECODE_LEEWAY"] = number // len(cases) % 2
                    app.calls.clear()
            status = (await exchanged(case.app, case.make(), case.path)).status
            if status != case.status:
                raise AssertionError(f"{status} in place of {case.status}: {case}")

    async def sign(count: int) -> None:
        async with apps["secret"].app_context():
            for number in range(count - count // 50):
                await create(apps["secret"], number)
        async with apps["key"].app_context():
            for number in range(count // 50):
                qje.create_access_token(f"user {number}")

    # Fills what is bounded: caches, thread pools, free lists.
    async with apps["key"].app_context():
        token = jwt.encode(claims_of(), private_key("P-256"), "ES256", {"kid": "passing"})
        for _ in range(PASSING_KEYS):
            try:
                await qje.decode_token_async(token)
            except jwt.InvalidSignatureError:
                continue
            raise AssertionError("accepted")
    await send(WARM_UP)
    await sign(WARM_UP // 4)
    # The first time leaves caches of its own.
    state(shared)
    print(state(shared), flush=True)
    for _ in range(rounds):
        await send(requests)
        await sign(creations)
        print(state(shared), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
