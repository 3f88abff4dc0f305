"""The issuer of ``make load``, in small: two real workers, and an issuer that dies and comes back.

The run judges each answer. That it would notice is shown by applications with one fault each.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from support.load_runs import finish, start

# What each kind of token may get while the issuer is there, and while it is down.
ANSWERS: dict[str, tuple[set[int], set[int]]] = {
    "known": ({200}, {200}),
    "own": ({200}, {200}),
    "open": ({200}, {200}),
    "forged": ({422}, {422}),
    "expired": ({401}, {401}),
    "unknown": ({422}, {422, 503}),
    "new": ({200, 422}, {422, 503}),
    "withdrawn": ({200, 422}, {200, 422, 503}),
}


def test_known_keys_serve_while_the_issuer_is_down_and_new_ones_are_learned(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    run = start("issuers.py", "--seconds", "12", "--json", str(figures), directory=tmp_path)
    output = finish(run)
    assert run.returncode == 0, output
    found: dict[str, Any] = json.loads(figures.read_text())
    assert found["wrong"] == {}
    assert found["requests"] == sum(row[-1] for row in found["counts"])
    # On each of two workers: one key in calm, one for each way to be down.
    assert [len(delays) for delays in found["learned"].values()] == [3, 3]
    statuses: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for kind, period, status, _ in found["counts"]:
        statuses[kind, period].add(status)
    for kind, (in_calm, in_outage) in ANSWERS.items():
        assert statuses[kind, "calm"] <= in_calm
        assert statuses[kind, "outage"] <= in_outage
    for kind in ("known", "own", "forged"):
        assert statuses[kind, "outage"]
    assert 503 in statuses["unknown", "outage"]


# --- the run must be able to fail ----------------------------------------------------------------

# What is wrong with an application, the ways in which the issuer is down, and words of the fault
# that must be reported.
FAULTS = {
    "known keys wait for the network": (
        """
@app.before_request
async def fetch():
    if "Authorization" in request.headers:
        (issuer,) = manager.issuers.values()
        with suppress(IssuerUnavailableError):
            await issuer.reload()
""",
        "hung",
        "a client had to wait for the issuer",
    ),
    "forged tokens are accepted": (
        """
async def me():
    token = request.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    return {"identity": claims.get("sub") or claims["identity"], "issuer": claims.get("iss")}
app.view_functions["me"] = me
""",
        "refused",
        "wrong: forged",
    ),
    "keys are forgotten when a fetch fails": (
        """
@manager.jwks_fetch_loader
async def fetch(url):
    try:
        return await download(url)
    except OSError:
        return another_set
""",
        "refused",
        "a known key is not accepted",
    ),
    "unknown keys are told to be wrong though nobody can tell": (
        """
known = {}
@manager.jwks_fetch_loader
async def fetch(url):
    with suppress(OSError):
        known[url] = await download(url)
    return known[url]
""",
        "refused",
        "nobody noticed that the issuer was down",
    ),
    "new keys are not learned": (
        """
known = {}
@manager.jwks_fetch_loader
async def fetch(url):
    if url not in known:
        known[url] = await download(url)
    return known[url]
""",
        "refused",
        "the key was published long ago",
    ),
}

APPLICATION = """\
import asyncio
import urllib.request
from contextlib import suppress

import issuers_app as module
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from quart import request
from quart_jwt_extended import IssuerUnavailableError

public = ec.generate_private_key(ec.SECP256R1()).public_key()
another = jwt.get_algorithm_by_name("ES256").to_jwk(public, as_dict=True)
another_set = {"keys": [{**another, "kid": "another", "key_ops": ["verify"]}]}

def read(url):
    with urllib.request.urlopen(url) as response:
        return response.read()

async def download(url):
    return await asyncio.to_thread(read, url)

def create_app():
    app = module.create_app()
    manager = app.extensions["quart-jwt-extended"]
{{fault}}
    return app
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Status and output of a run with each fault; they take their time beside each other."""
    started = {}
    for name, (fault, outage, _) in FAULTS.items():
        directory = tmp_path_factory.mktemp("load")
        application = directory / "faulty.py"
        indented = "\n".join(f"    {line}" for line in fault.strip().split("\n"))
        application.write_text(APPLICATION.replace("{{fault}}", indented))
        options = ("--application", str(application), "--outages", outage, "--seconds", "4")
        started[name] = start("issuers.py", *options, directory=directory)
    outputs = {name: finish(process) for name, process in started.items()}
    return {name: (started[name].returncode, output) for name, output in outputs.items()}


@pytest.mark.parametrize("name", FAULTS)
def test_application_with_a_fault_fails_the_run(
    name: str, failed: dict[str, tuple[int, str]]
) -> None:
    status, output = failed[name]
    assert status == 1, output
    assert any(FAULTS[name][2] in line for line in output.splitlines() if "FAULT" in line), output
