"""The page of deployment, beside nginx with TLS: health checks, metrics, logs, the image."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from quart import Quart
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import quart_jwt_extended as qje
from support import SECRET, access_claims, bearer, hs_token
from support.example_process import CALL_LIMIT, running, running_under
from support.services import NginxServer, need

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text("utf-8")


def block(language: str, marker: str) -> str:
    """The one code block of the page that has the marker in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = [code for code in blocks if marker in code]
    return str(found)


def app_with(code: str) -> dict[str, Any]:
    """The names after a block has run, with an app that it finds."""
    app = Quart("operation")
    app.config["JWT_SECRET_KEY"] = SECRET
    names = {"app": app, "jwt": qje.JWTManager(app), "timedelta": timedelta}
    names.update({name: getattr(qje, name) for name in qje.__all__})
    exec(compile(code, "deployment.md", "exec"), names)
    return names


class Outage(qje.MemoryTokenStore):
    """A token store that is down."""

    async def check(self, session_id: str | None, token_id: str | None) -> Any:
        raise ConnectionError("no answer")


async def test_health_check_asks_the_store_for_readiness_only() -> None:
    names = app_with(block("python", "/readyz"))
    client = names["app"].test_client()
    for outage in (False, True):
        if outage:
            names["store"] = Outage()
        answers = [await client.get(path) for path in ("/healthz", "/readyz")]
        assert [answer.status_code for answer in answers] == [200, 503 if outage else 200]
    assert await answers[1].get_json() == {"token_store": "ConnectionError"}


async def test_metrics_count_by_code_in_the_format_of_prometheus() -> None:
    names = app_with(block("python", "/metrics"))
    app = names["app"]
    app.add_url_rule("/me", "me", qje.jwt_required(lambda: "ok"))
    client = app.test_client()
    for headers in (
        bearer(hs_token(access_claims())),
        bearer(hs_token(access_claims())),
        bearer(hs_token(access_claims(exp=1))),
        bearer("no.real.token"),
        {},
    ):
        await client.get("/me", headers=headers)
    qje.JWTManager(app, token_store=Outage())
    await client.get("/me", headers=bearer(hs_token(access_claims())))
    response = await client.get("/metrics")
    assert response.content_type == "text/plain; version=0.0.4"
    head, *lines = (await response.get_data(as_text=True)).splitlines()
    assert head == "# TYPE jwt_checks_total counter"
    assert sorted(lines) == [
        'jwt_checks_total{code="ok"} 2',
        'jwt_checks_total{code="store_unavailable"} 1',
        'jwt_checks_total{code="token_expired"} 1',
        'jwt_checks_total{code="token_invalid"} 1',
        'jwt_checks_total{code="token_missing"} 1',
    ]


def test_codes_to_watch_are_codes() -> None:
    rows = re.findall(r"^\| (.+?) \|", PAGE.split("\n## What to watch\n")[1], re.MULTILINE)
    errors = (Path(__file__).parents[2] / "docs" / "errors.md").read_text("utf-8")
    codes = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert len(codes) > 5
    for code in codes:
        assert f"\n| `{code}`" in errors


def test_commands_of_the_image_serve_and_find_the_service_healthy(tmp_path: Path) -> None:
    dockerfile = block("dockerfile", "HEALTHCHECK").replace("\\\n", "")
    check = json.loads(re.findall(r"^HEALTHCHECK CMD (\[.+\])$", dockerfile, re.MULTILINE)[0])
    serve = json.loads(re.findall(r"^CMD (\[.+\])$", dockerfile, re.MULTILINE)[0])
    assert (check.pop(0), serve[0]) == ("python", "hypercorn")
    code = block("python", "/readyz")
    (tmp_path / "app.py").write_text(
        "from quart import Quart\nfrom quart_jwt_extended import *\napp = Quart('app')\n"
        f"app.config['JWT_SECRET_KEY'] = {SECRET!r}\n{code}",
        "utf-8",
    )
    command = ["-m", *(part.replace("0.0.0.0:8000", "127.0.0.1:{port}") for part in serve)]
    with running(command, tmp_path) as service:
        command = [sys.executable, *(part.replace("8000", str(service.port)) for part in check)]
        environment = {"no_proxy": "*"}
        subprocess.run(command, env=environment, check=True, timeout=CALL_LIMIT)
    failed = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, timeout=CALL_LIMIT)
    assert failed.returncode == 1


def test_nginx_logs_no_query_and_hides_what_is_internal(tmp_path: Path) -> None:
    need(NginxServer)
    log = tmp_path / "app.log"
    server = block("nginx", "location = /metrics").replace("/var/log/nginx/app.log", str(log))
    assert str(log) in server
    configuration = (
        block("nginx", "log_format")
        + f"server {{ listen 127.0.0.1:{{port}};\n{server}\nlocation / {{ return 204; }} }}"
    )
    with NginxServer(configuration) as nginx:
        url = nginx.url.replace("https:", "http:")
        statuses = [
            httpx.get(f"{url}{path}?jwt=secret", timeout=CALL_LIMIT, trust_env=False).status_code
            for path in ("/feed", "/metrics", "/readyz")
        ]
    assert statuses == [204, 404, 404]
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r'127\.0\.0\.1 \[[\dT:+-]+\] "GET /feed" 204', lines[0])


@pytest.mark.parametrize(("server", "code"), [("hypercorn", 1011), ("uvicorn", 1012)])
async def test_websocket_is_closed_at_a_restart_with_the_code_of_the_page(
    tmp_path: Path, server: str, code: int
) -> None:
    module = """\
from quart import Quart, websocket
app = Quart("app")
@app.websocket("/")
async def echo():
    while True:
        await websocket.send(await websocket.receive())
"""
    row = PAGE.split("\n| WebSockets | ")[1].partition("\n")[0].split(" | ")
    assert f"code {code}" in row[server == "uvicorn"]
    with running_under(server, module, tmp_path) as service:
        async with connect(f"ws://127.0.0.1:{service.port}/", open_timeout=CALL_LIMIT) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            service.process.terminate()
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(client.recv(), CALL_LIMIT)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
