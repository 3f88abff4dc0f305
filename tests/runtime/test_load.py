"""The load of ``make load``, in small: real servers, a real Redis that goes and comes again.

The run judges each answer against the token that was sent, and says what it counted; here, the
counts are judged once more. That it would notice is shown by applications with one fault each.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.services import PostgresServer, RedisServer, Service, environment, need, started

LOAD = Path(__file__).parents[1] / "load"

# Seconds; ample for a slow machine, so that nothing here waits without an end.
RUN_LIMIT = 300
STOP_LIMIT = 60

SERVERS = ["hypercorn", "uvicorn"]
PHASES = ["steady", "outage"]
LOCATIONS = {"headers", "cookies", "query_string", "json"}

# What each kind of call gets while Redis is there.
ANSWERS = {
    "valid": 200,
    "refresh": 200,
    "largest": 200,
    "logout": 200,
    "revoked": 401,
    "just revoked": 401,
    "revoked before": 401,
    "expired": 401,
    "forged": 422,
    "oversized": 422,
    "wrong type": 422,
    "csrf": 401,
    "none": 401,
    "anonymous": 200,
}
ASK_REDIS = {"valid", "refresh", "largest", "logout", "revoked", "just revoked", "revoked before"}
REVOKED = {"revoked", "just revoked", "revoked before"}


class Run(NamedTuple):
    """What a run has said."""

    status: int
    figures: list[dict[str, Any]]
    output: str

    def statuses(self, server: str, phase: str, **wanted: str) -> dict[str, Counter[int]]:
        """By kind, how often each status was the answer; ``wanted`` is a state or a location."""
        (figures,) = (f for f in self.figures if (f["server"], f["phase"]) == (server, phase))
        found: dict[str, Counter[int]] = {}
        for state, kind, location, status, number in figures["counts"]:
            if wanted.items() <= {"state": state, "location": location}.items():
                found.setdefault(kind, Counter())[status] += number
        return found


def left_of(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """A run in a process group of its own, with all that it starts."""
    need(RedisServer)
    return subprocess.Popen(
        [sys.executable, str(LOAD / "run.py"), *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    """End a run and all that it has left, if anything."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=STOP_LIMIT)
    if left_of(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_LIMIT)


def run(directory: Path, *arguments: str) -> Run:
    figures = directory / "figures.json"
    process = start(directory, "--json", str(figures), *arguments)
    try:
        output, _ = process.communicate(timeout=RUN_LIMIT)
        assert not left_of(process.pid), output
    finally:
        end(process)
    found = json.loads(figures.read_text()) if figures.is_file() else []
    return Run(process.returncode, found, output)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both servers and both phases, for three seconds each."""
    return run(tmp_path_factory.mktemp("load"), "--seconds", "3", "--connections", "64")


on_each_server = pytest.mark.parametrize("server", SERVERS)


def test_run_on_real_servers_finds_no_wrong_answer(small: Run) -> None:
    assert small.status == 0, small.output
    assert [(f["server"], f["phase"]) for f in small.figures] == [
        (server, phase) for server in SERVERS for phase in PHASES
    ]
    for figures in small.figures:
        assert figures["wrong"] == {}
        assert figures["faults"] == []
        assert figures["connections"] == 64
        assert figures["requests"] == sum(row[-1] for row in figures["counts"]) > 0


@on_each_server
@pytest.mark.parametrize(
    ("phase", "state", "never"),
    [
        ("steady", "up", {"revoked before"}),
        ("outage", "up", {"revoked before"}),
        ("outage", "back", set()),
    ],
)
def test_every_kind_gets_its_answer_while_redis_is_there(
    small: Run, server: str, phase: str, state: str, never: set[str]
) -> None:
    found = small.statuses(server, phase, state=state)
    assert {kind: set(statuses) for kind, statuses in found.items()} == {
        kind: {status} for kind, status in ANSWERS.items() if kind not in never
    }


@on_each_server
def test_who_needs_redis_gets_503_while_it_is_away_and_others_their_answer(
    small: Run, server: str
) -> None:
    found = small.statuses(server, "outage", state="away")
    # Whether the last to log out came back in time is left to chance.
    assert set(ANSWERS) - {"revoked", "just revoked"} <= set(found)
    for kind, statuses in found.items():
        assert set(statuses) == {503 if kind in ASK_REDIS else ANSWERS[kind]}, kind


@on_each_server
def test_revoked_token_is_let_in_at_no_time(small: Run, server: str) -> None:
    """Not even by a request that is under way while Redis goes or comes."""
    for phase in PHASES:
        found = small.statuses(server, phase)
        for kind in REVOKED & set(found):
            assert set(found[kind]) <= {401, 503}
    tried = small.statuses(server, "outage", state="back")["revoked before"]
    assert tried[401] >= len(LOCATIONS)


@on_each_server
@pytest.mark.parametrize("location", sorted(LOCATIONS))
def test_every_location_is_used_with_every_kind(small: Run, server: str, location: str) -> None:
    expected = set(ANSWERS) - {"none", "anonymous", "csrf"}
    if location == "cookies":
        expected.add("csrf")
    assert set(small.statuses(server, "outage", location=location)) == expected


# --- the run must be able to fail ----------------------------------------------------------------

EVERY_KIND = set(ANSWERS)

# What is wrong with an application, the kinds of calls that must tell, and those that may.
FAULTS: dict[str, tuple[str, set[str], set[str]]] = {
    "revocations are not looked up": (
        'app.config["JWT_BLACKLIST_ENABLED"] = False',
        ASK_REDIS - {"logout"},
        set(),
    ),
    "an error of Redis counts as not revoked": (
        """
exists = Redis.exists
async def lenient(self, *names):
    try:
        return await exists(self, *names)
    except RedisError:
        return 0
Redis.exists = lenient
""",
        {"revoked before", "valid", "refresh", "largest"},
        {"just revoked", "revoked"},
    ),
    "answers of Redis are remembered": (
        """
exists, known = Redis.exists, {}
async def remembering(self, name):
    if name not in known:
        known[name] = await exists(self, name)
    return known[name]
Redis.exists = remembering
""",
        {"just revoked", "revoked"},
        {"revoked before"},
    ),
    "the identity is that of another request": (
        """
who, latest = module.get_jwt_identity, collections.deque(maxlen=2)
def another():
    latest.append(who())
    return latest[0]
module.get_jwt_identity = another
""",
        {"valid", "refresh", "largest", "anonymous"},
        set(),
    ),
    "some requests fail": (
        """
numbers = itertools.count(1)
@app.before_request
async def fail():
    assert next(numbers) % 10
""",
        {"valid"},
        EVERY_KIND,
    ),
    "oversized tokens are accepted": (
        'app.config["JWT_MAX_TOKEN_SIZE"] = 100000',
        {"oversized"},
        set(),
    ),
    "the largest tokens are refused": (
        'app.config["JWT_MAX_TOKEN_SIZE"] = 16383',
        {"largest", "oversized"},
        set(),
    ),
    "expired tokens are accepted": (
        'app.config["JWT_DECODE_LEEWAY"] = 10**7',
        {"expired"},
        set(),
    ),
    "another algorithm is accepted": (
        'app.config["JWT_DECODE_ALGORITHMS"] = ["HS512"]',
        {"forged"},
        set(),
    ),
    "there is no CSRF protection": (
        'app.config["JWT_COOKIE_CSRF_PROTECT"] = False',
        {"csrf"},
        set(),
    ),
}

# A module for the server, beside whose script ``app.py`` is.
APPLICATION = """\
import collections, itertools, os
import app as module
from redis.asyncio import Redis
from redis.exceptions import RedisError

def create_app():
    app = module.create_app()
{fault}
    return app
"""

BRIEFLY = ["--servers", "uvicorn", "--phases", "outage", "--seconds", "1", "--connections", "16"]


def run_with(directory: Path, fault: str) -> Run:
    application = directory / "faulty.py"
    indented = "\n".join(f"    {line}" for line in fault.strip().split("\n"))
    application.write_text(APPLICATION.format(fault=indented))
    return run(directory, "--application", str(application), *BRIEFLY)


@pytest.mark.parametrize("name", FAULTS)
def test_application_with_a_fault_fails_the_run(name: str, tmp_path: Path) -> None:
    fault, must, may = FAULTS[name]
    found = run_with(tmp_path, fault)
    assert found.status == 1, found.output
    (figures,) = found.figures
    assert must <= set(figures["wrong"]) <= must | may, found.output
    assert any("expected Answer" in line for line in figures["faults"])


def test_application_without_a_fault_passes_the_same_run(tmp_path: Path) -> None:
    found = run_with(tmp_path, "pass")
    assert found.status == 0, found.output


def test_server_that_writes_a_warning_fails_the_run(tmp_path: Path) -> None:
    fault = """
@app.before_request
async def warn():
    import warnings
    warnings.warn("something is amiss")
"""
    found = run_with(tmp_path, fault)
    assert found.status == 1
    (figures,) = found.figures
    assert figures["wrong"] == {}
    assert len(figures["faults"]) == 1
    assert "something is amiss" in figures["faults"][0]


def test_server_that_dies_fails_the_run(tmp_path: Path) -> None:
    fault = """
numbers = itertools.count(1)
@app.before_request
async def die():
    if next(numbers) == 300:
        os._exit(3)
"""
    found = run_with(tmp_path, fault)
    assert found.status == 1
    assert "uvicorn ended by itself" in found.output


def test_run_that_is_told_to_end_leaves_no_process(tmp_path: Path) -> None:
    process = start(tmp_path, "--seconds", "60", "--connections", "16")
    try:
        deadline = time.monotonic() + STOP_LIMIT
        while len(members(process.pid)) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        output, _ = process.communicate(timeout=STOP_LIMIT)
        assert process.returncode == 128 + signal.SIGTERM, output
        assert not left_of(process.pid)
    finally:
        end(process)


def members(group: int) -> list[str]:
    """The programs of a process group: here, of the run, of Redis and of the server."""
    done = subprocess.run(
        ["ps", "-e", "-o", "pgid=,args="], stdout=subprocess.PIPE, text=True, check=True
    )
    rows = (line.split(None, 1) for line in done.stdout.splitlines())
    return [row[1] for row in rows if row[0] == str(group)]


# --- the services --------------------------------------------------------------------------------


def redis_command(server: RedisServer, command: str) -> str:
    with socket.create_connection(("127.0.0.1", server.port), timeout=STOP_LIMIT) as connection:
        connection.sendall(f"{command}\r\nQUIT\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    return answer.decode().removesuffix("+OK\r\n").strip()


def psql(server: PostgresServer, statement: str) -> str:
    client = server.program().with_name("psql")
    done = subprocess.run(
        [client, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, server.url],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=STOP_LIMIT,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_redis_keeps_port_and_data_while_it_is_away(how: str) -> None:
    with started(RedisServer) as server:
        port, directory = server.port, server.directory
        assert redis_command(server, "SET key 1") == "+OK"
        getattr(server, how)()
        with pytest.raises(ConnectionRefusedError):
            redis_command(server, "GET key")
        server.start()
        assert server.port == port
        assert redis_command(server, "GET key") == "$1\r\n1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert not directory.exists()


def test_postgres_keeps_port_and_data_while_it_is_away() -> None:
    with started(PostgresServer) as server:
        port, directory = server.port, server.directory
        psql(server, "CREATE TABLE kept AS SELECT 'row' AS value")
        server.stop()
        with pytest.raises(subprocess.CalledProcessError):
            psql(server, "SELECT value FROM kept")
        server.start()
        assert server.port == port
        assert psql(server, "SELECT value FROM kept") == "row"
    assert not directory.exists()


@pytest.mark.parametrize("kind", [RedisServer, PostgresServer])
def test_two_servers_of_a_kind_are_apart(kind: type[Service]) -> None:
    with started(kind) as first, started(kind) as second:
        assert first.url != second.url
        assert first.directory != second.directory


@pytest.mark.parametrize(
    ("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_missing_service_skips_the_test_unless_it_is_required(
    required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_SERVICES", required)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(outcome, match="redis-server is not installed"), started(RedisServer):
        raise AssertionError("started")
