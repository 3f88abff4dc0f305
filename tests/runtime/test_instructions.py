"""What verifying one token costs in instructions, which valgrind counts the same on a busy machine.

By itself, and in a request. Time is measured in ``benchmarks/``; this guards against work that
slips into the request path.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jwt
import pytest

from support import SECRET, access_claims, hs_token
from support.commands import find_program
from support.signing_keys import private_key, public_pem

pytestmark = pytest.mark.packaging

# Instructions of one decode_token of an HS256 token with ordinary claims, in an app context. Half
# of them are the HMAC of OpenSSL. Measured on x86-64 with Python 3.11.7, cryptography 50.0.2 and
# gcc 12: 34,100; the budget is twice that.
BUDGET = 68_200
# How much more a token costs that is not plain ASCII, or holds a float.
CLIFF = 1.5
CALLS = 500
# A signature by RSA takes ten times as long, and always the same.
SIGNED_CALLS = 100
VALUES = {"plain": "plain", "letter": "\u00e9", "float": 1.5, "escape": 'a "quote"'}
FUNCTIONS = ["decode_token", "create_access_token"]

# Half a microsecond, by which the cost of a trusted issuer's token may differ from that of the
# app's own, and that of the app's own from itself without issuers: at about seven instructions per
# nanosecond.
HALF_A_MICROSECOND = 3_500
ISSUER, AUDIENCE = "https://issuer.example", "api"
# How many issuers the app trusts, and whose token it gets.
TRUSTING = [(0, "own"), (1, "own"), (100, "own"), (1, "issuer"), (100, "issuer")]

PROGRAM = f"""
import asyncio, functools, gc, json, sys
from quart import Quart
import quart_jwt_extended as qje

def repeat(call, times={CALLS}):
    call(None, None)
    functools.reduce(call, range(times), None)

async def main(tokens):
    app = Quart("budget")
    app.config["JWT_SECRET_KEY"] = {SECRET!r}
    qje.JWTManager(app)
    async with app.app_context():
        for token in tokens:
            claims = qje.decode_token(token)["user_claims"]
            repeat(lambda _, __: qje.decode_token(token))
            repeat(lambda _, __: qje.create_access_token("alice", user_claims=claims))

async def trusting(issuers, token, public_key, key_set):
    app = Quart("budget")
    app.config.update(
        JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=public_key, JWT_DECODE_AUDIENCE={AUDIENCE!r},
        JWT_DECODE_ISSUER="https://app.example",
    )
    manager = qje.JWTManager(app)

    @manager.jwks_fetch_loader
    async def fetch(url):
        return key_set

    for number in range(issuers):
        # The last one made the token.
        name = {ISSUER!r} if number == issuers - 1 else f"https://{{number}}.example"
        trusted = manager.trust_issuer(
            name, audience={AUDIENCE!r}, algorithms="RS256", jwks_uri="https://keys.example"
        )
    if issuers:
        await trusted.reload()
    async with app.app_context():
        repeat(lambda _, __: qje.decode_token(token), {SIGNED_CALLS})

tokens, cases, public_key, key_set = json.loads(sys.argv[1])
asyncio.run(main(tokens))
# A collection would fall upon any of them.
gc.disable()
for issuers, token in cases:
    asyncio.run(trusting(issuers, token, public_key, key_set))
print("alice")
"""


@functools.cache
def instructions() -> dict[tuple[str | int, str], float]:
    """Instructions of one call, by the function and by the name of the value in the user claims.

    Those of decode_token beside trusted issuers are by how many these are and whose token it is.
    """
    tokens = [hs_token(access_claims(user_claims={"value": value})) for value in VALUES.values()]
    names = [(function, value) for value in VALUES for function in FUNCTIONS]
    by_owner = signed_alike()
    cases = [(issuers, by_owner[owner]) for issuers, owner in TRUSTING]
    key = private_key("RSA")
    member = jwt.get_algorithm_by_name("RS256").to_jwk(key.public_key(), as_dict=True)
    key_set = {"keys": [{**member, "kid": "key-1", "key_ops": ["verify"]}]}
    counts = counted(PROGRAM, json.dumps([tokens, cases, public_pem(key), key_set]))
    times = [CALLS] * len(names) + [SIGNED_CALLS] * len(TRUSTING)
    names += TRUSTING
    return {n: count / t for n, count, t in zip(names, counts, times, strict=True)}


def signed_alike() -> dict[str, str]:
    """A token of the app and one of an issuer, of the same size and signed by the same key."""
    own = access_claims(iss="https://app.example", aud=AUDIENCE)
    names = {"identity": "sub", "type": "azp", "fresh": "scope"}
    foreign = {names.get(name, name): value for name, value in own.items()} | {"iss": ISSUER}
    key = private_key("RSA")
    return {
        owner: jwt.encode(claims, key, "RS256", {"kid": "key-1"})
        for owner, claims in (("own", own), ("issuer", foreign))
    }


def counted(program: str, *arguments: str) -> list[int]:
    """The instructions of each call of functools.reduce() in a program, which prints "alice"."""
    command = find_program("valgrind", "valgrind")
    # Its name in C depends on the version of Python; each call of it is a dump of its own.
    options = [
        f"--{option}={name}"
        for option in ("toggle-collect", "dump-after")
        for name in ("functools_reduce", "_functools_reduce")
    ]
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "counts")
        done = subprocess.run(
            [
                *(command, "--tool=callgrind", f"--callgrind-out-file={counts}", *options),
                *(sys.executable, "-c", program, *arguments),
            ],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.stdout == "alice\n", done.stderr
        # The file without a number is of what comes after the last call.
        dumps = sorted(Path(folder).glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        return [total(dump) for dump in dumps]


def total(counts: Path) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", counts.read_text(), re.MULTILINE)
    assert found is not None
    # Less than an HMAC for each takes means that nothing was counted.
    assert int(found[1]) > 5_000 * REQUESTS
    return int(found[1])


def test_verifying_a_token_stays_within_its_budget_of_instructions() -> None:
    assert instructions()["decode_token", "plain"] < BUDGET


@pytest.mark.parametrize("issuers", [1, 100])
@pytest.mark.parametrize("owner", ["own", "issuer"])
def test_token_beside_trusted_issuers_costs_what_it_costs_without(issuers: int, owner: str) -> None:
    difference = instructions()[issuers, owner] - instructions()[0, "own"]
    assert abs(difference) < HALF_A_MICROSECOND


@pytest.mark.parametrize("value", ["letter", "float", "escape"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_value_that_is_not_plain_costs_little_more(function: str, value: str) -> None:
    assert instructions()[function, value] < CLIFF * instructions()[function, "plain"]


# --- a request -----------------------------------------------------------------------------------

# What a protected route takes more than an open one, and what a token store at staleness N adds to
# that. Measured as above: 44,700 and 2,200; the budgets are two to three times that.
ROUTE_BUDGET = 96_600
STORE_BUDGET = 7_000
REQUESTS = 100

ROUTES = f"""
import asyncio, functools, gc
from quart import Quart
import quart_jwt_extended as qje

def make_app(store, **options):
    app = Quart("budget")
    app.config.from_mapping(options, JWT_SECRET_KEY={SECRET!r})
    qje.JWTManager(app, token_store=store)

    @app.get("/open")
    async def open_view():
        return "ok"

    @app.get("/protected")
    @qje.jwt_required
    async def protected_view():
        return "ok"

    return app

async def request(app, path, token):
    answered, statuses, bodies = asyncio.get_running_loop().create_future(), [], [b""]

    async def receive():
        if not bodies:
            # As servers do: the client stays until it has its answer.
            await answered
            return dict(type="http.disconnect")
        return dict(type="http.request", body=bodies.pop(), more_body=False)

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        elif not message.get("more_body") and not answered.done():
            answered.set_result(None)

    scope = dict(
        type="http", asgi=dict(version="3.0"), http_version="1.1", method="GET", scheme="http",
        server=("127.0.0.1", 80), client=("127.0.0.1", 50000), root_path="", path=path,
        raw_path=path.encode(), query_string=b"", extensions=dict(),
        headers=[(b"host", b"127.0.0.1"), (b"authorization", b"Bearer " + token.encode())],
    )
    await app(scope, receive, send)
    assert statuses == [200], statuses

async def log_in(app):
    async with app.app_context():
        return (await qje.create_session("alice")).access_token

# A collection would fall upon any of them.
gc.disable()
loop = asyncio.new_event_loop()
store = qje.MemoryTokenStore()
without, near = make_app(None), make_app(store, JWT_REVOCATION_MAX_STALENESS=3600)
loop.run_until_complete(near.startup())
# The store has been polled; how often it is again depends on how busy the machine is.
loop.run_until_complete(near.shutdown())
token = loop.run_until_complete(log_in(near))
for calls in (30, {REQUESTS}):
    for app, path in ((without, "/open"), (without, "/protected"), (near, "/protected")):
        functools.reduce(
            lambda _, __: loop.run_until_complete(request(app, path, token)), range(calls), None
        )
print("alice")
"""


@functools.cache
def requests() -> tuple[float, float, float]:
    """Instructions of a request to an open route, a protected one, and that with a store."""
    # The first three calls warm up.
    open_route, protected, with_store = (count / REQUESTS for count in counted(ROUTES)[3:])
    return open_route, protected, with_store


def test_protected_route_stays_within_its_budget_of_instructions() -> None:
    open_route, protected, _ = requests()
    assert protected - open_route < ROUTE_BUDGET


def test_token_store_at_staleness_adds_little_to_a_request() -> None:
    """The check is a look-up in two sets, whatever the store is."""
    _, protected, with_store = requests()
    assert with_store - protected < STORE_BUDGET
