"""WebSockets that end with their token, over the wire: two servers and a real client.

The server makes the tokens, so that its clock alone says when they end.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from support import bearer
from support.example_process import CALL_LIMIT, SERVERS, STOP_LIMIT, Service, running_under

MODULE = """\
import os

from quart import Quart, request, websocket

import quart_jwt_extended as qje

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_REVOCATION_MAX_STALENESS"] = 0.2
qje.JWTManager(app, token_store=qje.MemoryTokenStore())
ended = []


@app.post("/login")
async def login():
    wish = await request.get_json()
    tokens = await qje.create_session(wish["identity"], expires_delta=wish.get("expires"))
    return tokens._asdict()


@app.post("/rotate")
@qje.jwt_required(refresh=True)
async def rotate():
    return (await qje.rotate_session())._asdict()


@app.delete("/session")
@qje.jwt_required
async def log_out():
    return {"live": await qje.revoke_session()}


@app.delete("/sessions")
@qje.jwt_required
async def log_out_everywhere():
    return {"number": await qje.revoke_sessions(qje.get_jwt_identity())}


@app.delete("/token")
@qje.jwt_required
async def revoke():
    await qje.revoke_token()
    return {}


@app.get("/ended")
async def views_that_ended():
    return {"number": len(ended)}


@app.websocket("/talk")
@qje.jwt_required(close_with_token=True)
async def talk():
    try:
        while True:
            text = await websocket.receive()
            if text.startswith("renew "):
                try:
                    await qje.renew_websocket(text.removeprefix("renew "))
                    await websocket.send_json("renewed")
                except Exception as error:
                    await websocket.send_json(type(error).__name__)
            else:
                await websocket.send_json(qje.get_jwt_identity())
    finally:
        ended.append(1)
"""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_under(request.param, MODULE, tmp_path_factory.mktemp(request.param)) as server:
        yield server
        assert "Traceback" not in server.errors


@pytest.fixture(autouse=True)
def _direct_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would ask a proxy that the environment names."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


class Tokens(NamedTuple):
    access_token: str
    refresh_token: str
    session_id: str


async def call(server: Service, method: str, path: str, token: str = "", body: Any = None) -> Any:
    answer = await asyncio.to_thread(server.call, method, path, token, body)
    assert answer.status == 200, answer
    return answer.body


async def log_in(server: Service, identity: str, **wish: Any) -> Tokens:
    return Tokens(**await call(server, "POST", "/login", body={"identity": identity, **wish}))


def talk(server: Service, token: str) -> Any:
    return connect(
        f"ws://127.0.0.1:{server.port}/talk",
        open_timeout=CALL_LIMIT,
        close_timeout=CALL_LIMIT,
        additional_headers=bearer(token),
    )


async def said(client: Any, text: str) -> Any:
    await client.send(text)
    return json.loads(await asyncio.wait_for(client.recv(), CALL_LIMIT))


async def closing(client: Any) -> tuple[int, str]:
    """Code and reason of the close that the server sends next."""
    with pytest.raises(ConnectionClosed) as caught:
        await asyncio.wait_for(client.recv(), CALL_LIMIT)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def ended(server: Service) -> int:
    return (await call(server, "GET", "/ended"))["number"]


async def test_socket_closes_when_its_token_expires(server: Service) -> None:
    before = await ended(server)
    tokens = await log_in(server, "alice", expires=2)
    async with talk(server, tokens.access_token) as client:
        assert await said(client, "hello") == "alice"
        assert await closing(client) == (4401, "Token has expired")
    assert await ended(server) == before + 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/session", "Session has ended"),
        ("/sessions", "Session has ended"),
        ("/token", "Token has been revoked"),
    ],
)
async def test_socket_closes_when_its_token_is_revoked(
    server: Service, path: str, reason: str
) -> None:
    tokens = await log_in(server, "carol")
    async with talk(server, tokens.access_token) as client:
        assert await said(client, "hello") == "carol"
        await call(server, "DELETE", path, tokens.access_token)
        began = time.monotonic()
        assert await closing(client) == (4401, reason)
        assert time.monotonic() - began < 5


async def test_renewed_socket_goes_on(server: Service) -> None:
    tokens = await log_in(server, "alice", expires=2)
    other = await log_in(server, "bob")
    async with talk(server, tokens.access_token) as client:
        assert await said(client, f"renew {other.access_token}") == "WrongTokenError"
        again = Tokens(**await call(server, "POST", "/rotate", tokens.refresh_token))
        assert await said(client, f"renew {again.access_token}") == "renewed"
        await asyncio.sleep(3)
        assert await said(client, "hello") == "alice"
        await call(server, "DELETE", "/session", again.access_token)
        assert await closing(client) == (4401, "Session has ended")


async def test_sockets_of_others_stay_open(server: Service) -> None:
    dave, erin = await log_in(server, "dave"), await log_in(server, "erin")
    async with (
        talk(server, dave.access_token) as one,
        talk(server, dave.access_token) as two,
        talk(server, erin.access_token) as other,
    ):
        for client, identity in ((one, "dave"), (two, "dave"), (other, "erin")):
            assert await said(client, "hello") == identity
        await call(server, "DELETE", "/session", dave.access_token)
        assert await closing(one) == (4401, "Session has ended")
        assert await closing(two) == (4401, "Session has ended")
        assert await said(other, "hello") == "erin"


async def test_client_that_leaves_first_leaves_nothing_behind(server: Service) -> None:
    tokens = await log_in(server, "alice")
    before = await ended(server)
    async with talk(server, tokens.access_token) as client:
        assert await said(client, "hello") == "alice"
    deadline = time.monotonic() + STOP_LIMIT
    while await ended(server) == before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
