"""The configuration on the page of deployment: nginx, TLS, and two workers that serve a WebSocket.

The app of examples/websocket.py runs under the commands of the page, behind an nginx with the
configuration of the page. Only ports and paths are replaced. Clients ask for the host that the page
names, at the port of this nginx, as if its address were that of this machine.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from support import bearer, hs_token
from support.example_process import (
    ALICE,
    CALL_LIMIT,
    EXAMPLES,
    SECRET,
    Service,
    example_claims,
    running,
    signed,
)
from support.services import NginxServer, need
from support.signing_keys import certificate, private_key, private_pem

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text("utf-8")
SECTION = PAGE.split("\n## Behind nginx\n")[1].split("\n## ")[0]

HOST = "app.example.com"
OWN_PAGE = f"https://{HOST}"

# Seconds after which nginx closes a silent connection, in place of its 60.
SILENCE = 3

HELLO = {"user": "alice", "echo": "hello"}
FOREIGN = (403, {"msg": "The origin of the page may not open this WebSocket"})


def block(language: str, marker: str) -> str:
    """The one code block of the section that has the marker in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
    (found,) = [code for code in blocks if marker in code]
    return found


NGINX = block("nginx", "server {")
PROXY_FIX = block("python", "ProxyFixMiddleware(app.asgi_app)")
SCHEMES = block("python", "ProxyFixMiddleware(with_schemes_of_websockets(app.asgi_app))")
SERVERS = ["hypercorn", "uvicorn"]


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """A text with each of the changes made at one place."""
    for old, new in changes:
        assert text.count(old) == 1, f"not once on the page: {old}"
        text = text.replace(old, new)
    return text


def command(server: str) -> list[str]:
    """The arguments of Python for a server's command of the page."""
    line = block("console", f"$ {server} ").removeprefix("$ ")
    line = replaced(line, ("8000", "{port}"), ("ping-interval 20", "ping-interval 1"))
    return ["-m", *shlex.split(line)]


def app_with(code: str) -> str:
    """An app.py: the app of the example with a block of the page, and two views more."""
    return f"""\
import os, runpy
from quart import request, websocket
from quart_jwt_extended import get_jwt_identity, jwt_required
example = runpy.run_path({str(EXAMPLES / "websocket.py")!r}, run_name="example")
app = example["create_app"](os.environ["JWT_SECRET_KEY"])

{code}

@app.get("/me")
@jwt_required
async def me():
    return {{"user": get_jwt_identity()}}

@app.get("/seen")
async def seen():
    return {{
        "url": request.url,
        "client": request.remote_addr,
        "http": request.http_version,
        "forwarded": request.headers.get("Forwarded"),
    }}

@app.after_request
async def name_worker(response):
    response.headers["X-Worker"] = str(os.getpid())
    return response
"""


class Site(NamedTuple):
    """A service behind nginx."""

    nginx: NginxServer
    service: Service
    tls: ssl.SSLContext

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """A client that keeps cookies, and asks for the host of the page."""
        with httpx.Client(
            base_url=self.nginx.url,
            headers={"Host": HOST},
            verify=self.tls,
            timeout=CALL_LIMIT,
            trust_env=False,
            # TLS asks for the host of the page, too, and compares the certificate with it.
            event_hooks={"request": [lambda request: request.extensions.update(sni_hostname=HOST)]},
        ) as client:
            yield client

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        with self.client() as client:
            return client.get(path, headers=headers)

    def socket(self, host: str = HOST, **options: Any) -> Any:
        """A WebSocket to the host of the page, which may be said to have a port."""
        return connect(
            f"wss://{host}/echo",
            host="127.0.0.1",
            port=self.nginx.port,
            ssl=self.tls,
            server_hostname=HOST,
            open_timeout=CALL_LIMIT,
            close_timeout=CALL_LIMIT,
            **options,
        )

    async def echo(self, host: str = HOST, **options: Any) -> tuple[str | None, Any]:
        """The subprotocol, and the answer to one message."""
        async with self.socket(host, **options) as client:
            await client.send("hello")
            return client.subprotocol, json.loads(await asyncio.wait_for(client.recv(), CALL_LIMIT))

    async def refusal(self, **options: Any) -> tuple[int, Any]:
        with pytest.raises(InvalidStatus) as caught:
            async with self.socket(**options):
                pass
        response = caught.value.response
        is_json = response.headers["Content-Type"] == "application/json"
        body = bytes(response.body or b"")
        return response.status_code, json.loads(body) if is_json else body.decode()


@contextmanager
def serving(
    directory: Path, arguments: list[str], code: str, *changes: tuple[str, str]
) -> Iterator[Site]:
    """A server with these arguments, behind nginx with the page's configuration, changed so."""
    need(NginxServer)
    public, private = directory / "certificate.pem", directory / "key.pem"
    public.write_bytes(certificate("P-256", HOST).public_bytes(Encoding.PEM))
    private.write_text(private_pem(private_key("P-256", HOST)))
    (directory / "app.py").write_text(app_with(code), "utf-8")
    with running(
        arguments,
        directory,
        JWT_SECRET_KEY=SECRET,
        # What the libraries of the servers warn of is not about us.
        PYTHONWARNINGS="default",
    ) as service:
        configuration = replaced(
            NGINX,
            ("listen 443 ssl;", "listen 127.0.0.1:{port} ssl;"),
            (f"/etc/ssl/certs/{HOST}.pem", str(public)),
            (f"/etc/ssl/private/{HOST}.key", str(private)),
            ("127.0.0.1:8000;", f"127.0.0.1:{service.port}; proxy_read_timeout {SILENCE}s;"),
            *changes,
        )
        with NginxServer(configuration) as nginx:
            yield Site(nginx, service, ssl.create_default_context(cafile=str(public)))


@pytest.fixture(scope="module", params=SERVERS)
def page(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What the page shows, under each server."""
    code = PROXY_FIX if request.param == "hypercorn" else 'app.config["JWT_COOKIE_SECURE"] = True'
    directory = tmp_path_factory.mktemp(request.param)
    with serving(directory, command(request.param), code) as page:
        yield page


@pytest.fixture(autouse=True)
def _direct_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would ask a proxy that the environment names."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")


def cookie(token: str = "") -> dict[str, str]:
    return {"Cookie": f"access_token_cookie={token or signed()}"}


# --- HTTP ----------------------------------------------------------------------------------------


def test_route_with_a_token_answers(page: Site) -> None:
    answer = page.get("/me", bearer(signed()))
    assert (answer.status_code, answer.json()) == (200, {"user": "alice"})


def test_route_rejects_a_request_without_a_token(page: Site) -> None:
    assert page.get("/me").status_code == 401


def test_token_of_one_worker_is_accepted_by_the_other(page: Site) -> None:
    with page.client() as client:
        login = client.post("/login", json=ALICE)
    token = login.json()["access_token"]
    issuer = login.headers["X-Worker"]

    def worker(_: int) -> str:
        answer = page.get("/me", bearer(token))
        assert answer.status_code == 200
        return answer.headers["X-Worker"]

    # Who takes a connection is not for us to say; calls at the same time keep both busy.
    deadline = time.monotonic() + CALL_LIMIT
    workers = {issuer}
    with ThreadPoolExecutor(8) as pool:
        while len(workers) < 2:
            assert time.monotonic() < deadline, "the same worker answered every time"
            workers.update(pool.map(worker, range(16)))
    assert len(workers) == 2


def test_login_sets_secure_cookies_that_let_in(page: Site) -> None:
    with page.client() as client:
        answer = client.post("/login", json=ALICE)
        fields = answer.headers.get_list("Set-Cookie")
        assert sorted(field.partition("=")[0] for field in fields) == [
            "access_token_cookie",
            "csrf_access_token",
        ]
        assert all("; Secure" in field for field in fields)
        assert client.get("/me").json() == {"user": "alice"}
        # The access token alone does not change anything.
        assert client.post("/logout").status_code == 401
        csrf = {"X-CSRF-TOKEN": client.cookies["csrf_access_token"]}
        assert client.post("/logout", headers=csrf).status_code == 200


def test_request_arrives_with_the_url_and_the_client_that_nginx_saw(page: Site) -> None:
    wanted = {
        "url": f"https://{HOST}/seen",
        "client": "127.0.0.1",
        "http": "1.1",
        "forwarded": None,
    }
    forged = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=192.0.2.1;proto=http;host=evil.example",
    }
    for headers in ({}, forged):
        assert page.get("/seen", headers).json() == wanted


def test_change_to_http_2_is_not_handed_on(page: Site) -> None:
    """Behind it a client would be on its own with the service, past nginx."""
    upgrade = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA",
    }
    answer = page.get("/seen", upgrade)
    assert (answer.status_code, answer.json()["http"]) == (200, "1.1")


# --- WebSockets ----------------------------------------------------------------------------------

LOCATIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "headers": lambda: {"additional_headers": bearer(signed())},
    "cookies": lambda: {"additional_headers": cookie()},
    "websocket_protocol": lambda: {"subprotocols": ["bearer", signed()]},
}


@pytest.mark.parametrize("location", LOCATIONS)
async def test_websocket_with_a_token_opens(page: Site, location: str) -> None:
    protocol = "bearer" if location == "websocket_protocol" else None
    assert await page.echo(**LOCATIONS[location]()) == (protocol, HELLO)


async def test_websocket_without_a_valid_token_is_rejected(page: Site) -> None:
    status, body = await page.refusal()
    assert (status, list(body)) == (401, ["msg"])
    forged = hs_token(example_claims(), secret=SECRET.upper())
    refusal = (422, {"msg": "Signature verification failed"})
    assert await page.refusal(subprotocols=["bearer", forged]) == refusal
    assert await page.refusal(additional_headers=cookie(forged), origin=OWN_PAGE) == refusal


async def test_websocket_by_the_cookies_of_a_login_opens_for_a_page_of_the_host(
    page: Site,
) -> None:
    with page.client() as client:
        client.post("/login", json=ALICE)
        token = client.cookies["access_token_cookie"]
    answer = await page.echo(additional_headers=cookie(token), origin=OWN_PAGE)
    assert answer == (None, HELLO)


async def test_websocket_by_cookie_at_another_port_opens_for_a_page_of_that_port(
    page: Site,
) -> None:
    answer = await page.echo(f"{HOST}:8443", additional_headers=cookie(), origin=f"{OWN_PAGE}:8443")
    assert answer == (None, HELLO)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"http://{HOST}", f"{OWN_PAGE}:8443", "null"]
)
async def test_websocket_by_cookie_is_rejected_to_another_page(page: Site, origin: str) -> None:
    assert await page.refusal(additional_headers=cookie(), origin=origin) == FOREIGN
    # What no page can make a browser send is another matter.
    answer = await page.echo(subprotocols=["bearer", signed()], origin=origin)
    assert answer == ("bearer", HELLO)


async def test_websocket_that_is_silent_stays_open(page: Site) -> None:
    async with page.socket(
        # Pings of the client would keep it open, too.
        ping_interval=None,
        subprotocols=["bearer", signed()],
    ) as client:
        await asyncio.sleep(SILENCE + 1)
        await client.send("hello")
        assert json.loads(await asyncio.wait_for(client.recv(), CALL_LIMIT)) == HELLO


async def test_servers_print_no_token_and_no_traceback(page: Site) -> None:
    token = signed(jti="printed")
    await page.echo(additional_headers=cookie(token), origin=OWN_PAGE)
    await page.refusal(subprotocols=["bearer", token + "A"])
    output = page.service.printed + page.service.errors + page.nginx.log.read_text()
    assert "Traceback" not in output
    assert token not in output


# --- What the page warns of ----------------------------------------------------------------------

HTTPS_FOR_ALL = ("X-Forwarded-Proto $service_scheme;", "X-Forwarded-Proto $scheme;")


async def test_https_as_the_scheme_of_all_breaks_websockets_of_hypercorn(tmp_path: Path) -> None:
    with serving(tmp_path, command("hypercorn"), PROXY_FIX, HTTPS_FOR_ALL) as site:
        assert site.get("/me", bearer(signed())).status_code == 200
        for location in LOCATIONS.values():
            status, body = await site.refusal(**location())
            assert status == 400
            assert "could not understand" in body


async def test_middleware_of_the_page_makes_wss_of_https(tmp_path: Path) -> None:
    with serving(tmp_path, command("hypercorn"), SCHEMES, HTTPS_FOR_ALL) as site:
        seen = site.get("/seen").json()
        assert seen["url"] == f"https://{HOST}/seen"
        own = await site.echo(additional_headers=cookie(), origin=OWN_PAGE)
        assert own == (None, HELLO)
        refusal = await site.refusal(additional_headers=cookie(), origin=f"http://{HOST}")
        assert refusal == FOREIGN


async def test_uvicorn_makes_wss_of_https(tmp_path: Path) -> None:
    with serving(tmp_path, command("uvicorn"), "", HTTPS_FOR_ALL) as site:
        own = await site.echo(additional_headers=cookie(), origin=OWN_PAGE)
        assert own == (None, HELLO)
        refusal = await site.refusal(additional_headers=cookie(), origin=f"http://{HOST}")
        assert refusal == FOREIGN


def test_upgrade_of_the_client_handed_on_lets_it_past_nginx(tmp_path: Path) -> None:
    changes = [
        ("Upgrade $service_upgrade;", "Upgrade $http_upgrade;"),
        ("{ default close; websocket upgrade; }", "{ default upgrade; }"),
    ]
    with (
        serving(tmp_path, command("hypercorn"), PROXY_FIX, *changes) as site,
        socket.create_connection(("127.0.0.1", site.nginx.port), CALL_LIMIT) as plain,
        site.tls.wrap_socket(plain, server_hostname=HOST) as client,
    ):
        client.sendall(
            f"GET /seen HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n".encode()
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
