"""Test examples/websocket.py under two servers, with a real client."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support import LONG_AGO, bearer, hs_token
from support.example_process import (
    ALICE,
    CALL_LIMIT,
    EXAMPLES,
    SECRET,
    SERVERS,
    STOP_LIMIT,
    Service,
    assert_start_fails,
    example_claims,
    in_shell,
    log_in,
    running,
    running_under,
    signed,
)

EXAMPLE = EXAMPLES / "websocket.py"
APPLICATION = [str(EXAMPLE)]

HAS_EXPIRED = (401, {"msg": "Token has expired"})
BAD_SIGNATURE = (422, {"msg": "Signature verification failed"})
IS_REVOKED = (401, {"msg": "Token has been revoked"})
FOREIGN = (403, {"msg": "The origin of the page may not open this WebSocket"})

# The servers import this module, which creates the app of the example.
MODULE = f"""\
import os, runpy
create_app = runpy.run_path({str(EXAMPLE)!r}, run_name="example")["create_app"]
app = create_app(os.environ["JWT_SECRET_KEY"])
"""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_under(request.param, MODULE, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture(autouse=True)
def _direct_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, the client would use a proxy that the environment names."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


def socket_to(server: Service, **options: Any) -> Any:
    return connect(
        f"ws://127.0.0.1:{server.port}/echo",
        open_timeout=CALL_LIMIT,
        close_timeout=CALL_LIMIT,
        **options,
    )


async def heard(client: Any) -> Any:
    return json.loads(await asyncio.wait_for(client.recv(), CALL_LIMIT))


async def echo(server: Service, **options: Any) -> tuple[str | None, Any]:
    """Return the subprotocol, and the response to one message."""
    async with socket_to(server, **options) as client:
        await client.send("hello")
        return client.subprotocol, await heard(client)


async def rejection(server: Service, **options: Any) -> tuple[int, Any]:
    with pytest.raises(InvalidStatus) as caught:
        async with socket_to(server, **options):
            pass
    response = caught.value.response
    assert response.headers["Content-Type"] == "application/json"
    return response.status_code, json.loads(response.body)


async def assert_closed(client: Any, reason: str) -> None:
    with pytest.raises(ConnectionClosed) as caught:
        await asyncio.wait_for(client.recv(), CALL_LIMIT)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4401, reason)


def cookies_of_a_login(server: Service) -> str:
    page = server.session()
    assert page.call("POST", "/login", body=ALICE).status == 200
    return "; ".join(f"{name}={cookie.value}" for name, cookie in page.cookies.items())


# --- two servers --------------------------------------------------------------------------------

HELLO = {"user": "alice", "echo": "hello"}

# How each location sends a token.
TO_SERVER: dict[str, Callable[[str], dict[str, Any]]] = {
    "headers": lambda token: {"additional_headers": bearer(token)},
    "cookies": lambda token: {"additional_headers": {"Cookie": f"access_token_cookie={token}"}},
    "websocket_protocol": lambda token: {"subprotocols": ["bearer", token]},
}


@pytest.mark.parametrize("location", TO_SERVER)
async def test_server_accepts_a_valid_token(server: Service, location: str) -> None:
    token = log_in(server).access
    protocol = "bearer" if location == "websocket_protocol" else None
    assert await echo(server, **TO_SERVER[location](token)) == (protocol, HELLO)


async def test_server_rejects_a_missing_token(server: Service) -> None:
    status, body = await rejection(server)
    assert (status, list(body)) == (401, ["msg"])
    assert body["msg"].startswith("Missing JWT in headers, cookies or websocket_protocol")
    assert (await rejection(server, subprotocols=["bearer"]))[0] == 401


@pytest.mark.parametrize("location", TO_SERVER)
async def test_server_rejects_an_expired_token(server: Service, location: str) -> None:
    token = signed(exp=LONG_AGO)
    assert await rejection(server, **TO_SERVER[location](token)) == HAS_EXPIRED


@pytest.mark.parametrize("location", TO_SERVER)
async def test_server_rejects_a_forged_token(server: Service, location: str) -> None:
    token = hs_token(example_claims(), secret=SECRET.upper())
    assert await rejection(server, **TO_SERVER[location](token)) == BAD_SIGNATURE


@pytest.mark.parametrize("location", TO_SERVER)
async def test_server_rejects_a_revoked_token_and_closes_its_sockets(
    server: Service, location: str
) -> None:
    token = log_in(server).access
    other = log_in(server).access
    async with socket_to(server, **TO_SERVER[location](token)) as client:
        await client.send("hello")
        assert await heard(client) == HELLO
        assert server.call("POST", "/logout", token).status == 200
        await assert_closed(client, "Token has been revoked")
    assert await rejection(server, **TO_SERVER[location](token)) == IS_REVOKED
    assert (await echo(server, **TO_SERVER[location](other)))[1] == HELLO


async def test_open_socket_is_closed_when_its_token_expires(server: Service) -> None:
    expiry = int(time.time()) + 2
    token = signed(exp=expiry)
    async with socket_to(server, subprotocols=["bearer", token]) as client:
        await client.send("hello")
        assert await heard(client) == HELLO
        await assert_closed(client, "Token has expired")
        assert time.time() >= expiry


async def test_new_token_in_a_message_keeps_the_socket_open(server: Service) -> None:
    expiry = int(time.time()) + 6
    async with socket_to(server, subprotocols=["bearer", signed(exp=expiry)]) as client:
        await client.send(f"renew {signed(sub='bob')}")
        mismatch = {"msg": "The token belongs to another identity or session"}
        assert await heard(client) == mismatch
        await client.send("renew nonsense")
        assert await heard(client) == {"msg": "Not enough segments"}
        token = log_in(server).access
        await client.send(f"renew {token}")
        await asyncio.sleep(expiry + 2 - time.time())
        await client.send("hello")
        assert await heard(client) == HELLO
        assert server.call("POST", "/logout", token).status == 200
        await assert_closed(client, "Token has been revoked")


async def test_server_accepts_the_cookies_of_the_login_from_its_own_pages(server: Service) -> None:
    cookies = cookies_of_a_login(server)
    headers = {"Cookie": cookies}
    own = f"http://127.0.0.1:{server.port}"
    assert await echo(server, additional_headers=headers) == (None, HELLO)
    assert await echo(server, additional_headers=headers, origin=own) == (None, HELLO)


@pytest.mark.parametrize("origin", ["http://127.0.0.1", "https://evil.example", "null"])
async def test_server_rejects_the_cookies_of_a_foreign_page(server: Service, origin: str) -> None:
    token, cookies = log_in(server).access, cookies_of_a_login(server)
    headers = {"Cookie": cookies}
    assert await rejection(server, additional_headers=headers, origin=origin) == FOREIGN
    answer = await echo(server, subprotocols=["bearer", token], origin=origin)
    assert answer == ("bearer", HELLO)


async def test_server_keeps_many_sockets_apart(server: Service) -> None:
    async def converse(number: int) -> Any:
        token = signed(sub=f"user {number}")
        async with socket_to(server, subprotocols=["bearer", token]) as client:
            users = set()
            for _ in range(10):
                await client.send("hello")
                users.add((await heard(client))["user"])
        return users

    answers = await asyncio.gather(*[converse(number) for number in range(20)])
    assert answers == [{f"user {number}"} for number in range(20)]


async def test_server_prints_neither_tokens_nor_tracebacks(server: Service) -> None:
    token = log_in(server).access
    await echo(server, subprotocols=["bearer", token])
    await rejection(server, subprotocols=["bearer", token + "A"])
    output = server.printed + server.errors
    assert "Traceback" not in output
    assert token not in output


# --- the example ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"username": "alice"},
        {"username": "alice", "password": None},
        {"username": "alice", "password": "\ud800"},
        {"username": "alice", "password": "x"},
        {"username": "bob", "password": "wonderland"},
        {"username": "", "password": ""},
    ],
    ids=str,
)
def test_example_rejects_any_other_login_with_the_same_message(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})
    assert "Set-Cookie" not in answer.headers


def test_example_logout_clears_the_cookies(service: Service) -> None:
    page = service.session()
    token = page.call("POST", "/login", body=ALICE).body["access_token"]
    assert page.cookies["access_token_cookie"].value == token
    assert page.call("POST", "/logout", token).status == 200
    assert page.cookies == {}


def test_printed_commands_do_what_their_comments_say(service: Service, tmp_path: Path) -> None:
    lines = service.printed.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("# "))
    last = max(index for index, line in enumerate(lines) if "$ACCESS" in line)
    printed, calls = in_shell(lines[first : last + 1], tmp_path)
    assert calls == ["POST /login 200", "POST /logout 200"]
    by_header, by_protocol, logout, rejected = printed
    said, _, protocol = by_protocol.partition(" by subprotocol ")
    assert (json.loads(by_header), json.loads(said), protocol) == (HELLO, HELLO, "bearer")
    assert json.loads(logout) == {"msg": "Logged out"}
    assert "HTTP 401" in rejected


def test_example_prints_no_configured_key(service: Service) -> None:
    output = service.printed
    assert "JWT_SECRET_KEY from the environment" in output
    assert SECRET not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_example_without_a_key_creates_one_and_stops_cleanly_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(APPLICATION, tmp_path) as server:
        assert "a key was made for this run" in server.printed
        server.process.send_signal(number)
        assert server.process.wait(STOP_LIMIT) == 0
    assert "Traceback" not in server.errors


@pytest.mark.parametrize(
    ("port", "message"), [("taken", "Choose another port"), ("http", "PORT must be a number")]
)
def test_example_with_an_unusable_port_exits_with_a_message(
    service: Service, port: str, message: str
) -> None:
    number = str(service.port) if port == "taken" else port
    assert_start_fails(EXAMPLE, number, message)
