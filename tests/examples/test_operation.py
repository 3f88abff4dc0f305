"""The page of deployment, except for nginx with TLS: keys, limits, workers, the image, metrics."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from quart import Quart
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import quart_jwt_extended as qje
from support import SECRET, access_claims, bearer, hs_token
from support.commands import ROOT, find_program
from support.example_process import CALL_LIMIT, running, running_under
from support.services import NginxServer, need

PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")


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
    names = app_with(block("python", "checks = Counter()"))
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
    errors = (ROOT / "docs" / "errors.md").read_text("utf-8")
    codes = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert len(codes) > 5
    for code in codes:
        assert f"\n| `{code}`" in errors


def test_secret_of_the_command_is_long_enough() -> None:
    program, *arguments = shlex.split(block("console", "secrets.token_hex").removeprefix("$ "))
    assert program == "python"
    command = [sys.executable, *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert re.fullmatch("[0-9a-f]{64}\n", printed)
    manager = qje.JWTManager(app := Quart("operation"))
    app.config["JWT_SECRET_KEY"] = printed.strip()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manager.check(app)


async def test_secret_that_is_mounted_as_a_file_signs_without_its_line_feed(tmp_path: Path) -> None:
    code = block("python", "/run/secrets/jwt")
    folder = tmp_path / "run" / "secrets"
    folder.mkdir(parents=True)
    names = {"app": Quart("operation"), "Path": lambda path: tmp_path / path.lstrip("/")}
    with pytest.raises(FileNotFoundError):
        exec(code, names)
    (folder / "jwt").write_text(f"{SECRET}\n")
    exec(code, names)
    app = names["app"]
    qje.JWTManager(app)
    app.add_url_rule("/me", "me", qje.jwt_required(lambda: "ok"))
    token = hs_token(access_claims(), secret=SECRET)
    assert (await app.test_client().get("/me", headers=bearer(token))).status_code == 200


async def test_login_is_limited_for_each_address_that_the_proxy_names() -> None:
    code = block("python", "RateLimiter(app)")
    assert code.endswith("async def login(): ...\n")
    client = app_with(code.replace("login(): ...", "login(): return {}"))["app"].test_client()

    async def statuses(address: str, count: int) -> list[int]:
        headers = {"X-Forwarded-For": address}
        return [(await client.post("/login", headers=headers)).status_code for _ in range(count)]

    assert await statuses("192.0.2.1", 6) == [200] * 5 + [429]
    assert await statuses("192.0.2.2", 1) == [200]


# --- The image -----------------------------------------------------------------------------------

APP = """\
from quart import Quart
from quart_jwt_extended import *

"""


def image(folder: Path) -> dict[str, str]:
    """Build the image of the page in a folder, and return its last HEALTHCHECK, CMD and USER.

    The packages are those of the tests, so nothing is downloaded.
    """
    context, root = folder / "context", folder / "root"
    context.mkdir()
    names = re.findall(
        r"`([\w>=.-]+)` and `([\w-]+)` in `requirements\.txt`", PAGE.replace("\n", " ")
    )
    (context / "requirements.txt").write_text("\n".join(names[0]), "utf-8")
    code = block("python", "from_prefixed_env") + block("python", "/readyz")
    me = '\n\n@app.get("/me")\n@jwt_required\nasync def me():\n    return get_jwt()\n'
    (context / "app.py").write_text(APP + code + me, "utf-8")
    supported = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    workdir, last = root, {}
    for line in block("dockerfile", "HEALTHCHECK").replace("\\\n", "").splitlines():
        instruction, _, rest = line.partition(" ")
        last[instruction] = rest
        match instruction, shlex.split(rest):
            case "FROM", [base]:
                assert base in [f"python:{version}-slim" for version in supported]
            case "WORKDIR", [path]:
                workdir = root / path.lstrip("/")
                workdir.mkdir(parents=True)
            case "COPY", [source, "."]:
                shutil.copy(context / source, workdir)
            case "RUN", ["pip", *arguments]:
                assert "USER" not in last
                command = [sys.executable, "-m", "pip", *arguments, "--no-index", "--no-deps"]
                subprocess.run(command, cwd=workdir, check=True, timeout=60, capture_output=True)
            case (("ENV" | "USER" | "HEALTHCHECK" | "CMD"), _):
                pass
            case _:
                pytest.fail(f"cannot be built: {line}")
    return {**last, "WORKDIR": str(workdir)}


def variables_of_the_file() -> dict[str, str]:
    """What Docker passes on: it takes quotes and spaces for a part of the value."""
    lines = block("text", "QUART_JWT_SECRET_KEY").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_image_of_the_page_serves_by_its_variables_and_is_healthy(tmp_path: Path) -> None:
    built = image(tmp_path)
    check = json.loads(built["HEALTHCHECK"].removeprefix("CMD "))
    serve = json.loads(built["CMD"])
    assert (check.pop(0), serve[0], built["USER"]) == ("python", "hypercorn", "nobody")
    command = ["-m", *(part.replace("0.0.0.0:8000", "127.0.0.1:{port}") for part in serve)]
    variables = variables_of_the_file()
    token = hs_token(access_claims(), secret=variables["QUART_JWT_SECRET_KEY"])
    with running(command, Path(built["WORKDIR"]), **variables) as service:
        command = [sys.executable, *(part.replace("8000", str(service.port)) for part in check)]
        environment = {"no_proxy": "*"}
        subprocess.run(command, env=environment, check=True, timeout=CALL_LIMIT)
        assert service.call("GET", "/me", token).status == 200
        cookie = {"Cookie": f"access_token_cookie={token}"}
        assert service.call("GET", "/me", headers=cookie).status == 200
        assert service.call("GET", "/me").status == 401
    failed = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, timeout=CALL_LIMIT)
    assert failed.returncode == 1


def test_container_publishes_the_port_of_the_image_on_this_machine_only() -> None:
    dockerfile = block("dockerfile", "HEALTHCHECK")
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--env-file", required=True)
    parser.add_argument("--publish", required=True)
    parser.add_argument("image")
    docker, run, *arguments = shlex.split(block("console", "docker run").removeprefix("$ "))
    assert (docker, run) == ("docker", "run")
    address, _, port = parser.parse_args(arguments).publish.split(":")
    assert address == "127.0.0.1"
    assert f'"0.0.0.0:{port}"' in dockerfile
    assert f"http://127.0.0.1:{port}/healthz" in dockerfile


@pytest.mark.slow
def test_docker_accepts_the_command_and_the_variables(tmp_path: Path) -> None:
    """Its client reads all of them before it calls the daemon, which is not there."""
    docker = find_program("docker", "docker.io")
    file = tmp_path / "env"
    command = shlex.split(block("console", "docker run").removeprefix("$ "))
    command[command.index("/etc/app/env")] = str(file)

    def said(variables: str) -> str:
        file.write_text(variables)
        environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/daemon"}
        result = subprocess.run(
            [docker, *command[1:]], capture_output=True, text=True, env=environment, timeout=60
        )
        assert result.returncode == 125
        return result.stderr

    assert "connect to the Docker daemon" in said(block("text", "QUART_JWT_SECRET_KEY"))
    assert "contains whitespace" in said("export QUART_JWT_SECRET_KEY=1\n")


# --- Several workers -----------------------------------------------------------------------------

WORKERS = """

@app.get("/me")
@jwt_required
async def me():
    return {"you": get_jwt_identity()}


@app.after_request
async def name_worker(response):
    response.headers["X-Worker"] = str(os.getpid())
    return response
"""
COUNTED = f"import os\n{APP}app = Quart('app')\napp.config['JWT_SECRET_KEY'] = {SECRET!r}\n"
# What the block with the command of a server contains.
COMMANDS = {
    "hypercorn": "uvicorn --workers 4",
    "uvicorn": "uvicorn --workers 4",
    "hypercorn with metrics": "PROMETHEUS_MULTIPROC_DIR",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_metrics_of_several_workers_are_the_sum_of_all(tmp_path: Path, name: str) -> None:
    metrics = block("python", "MultiProcessCollector(registry)")
    (tmp_path / "app.py").write_text(f"{COUNTED}JWTManager(app)\n{metrics}{WORKERS}", "utf-8")
    variable, folder = re.findall(r"^\$ export (\w+)=(.+)$", PAGE, re.MULTILINE)[-1]
    assert folder == "$(mktemp -d)"
    (tmp_path / "counters").mkdir()
    server = name.partition(" ")[0]
    (line,) = re.findall(rf"^\$ ({server} .+)$", block("console", COMMANDS[name]), re.MULTILINE)
    line = re.sub(r"(0\.0\.0\.0|127\.0\.0\.1)(:| --port )8000", r"127.0.0.1\2{port}", line)
    variables = {variable: str(tmp_path / "counters"), "PYTHONWARNINGS": "default"}
    with running(["-m", *shlex.split(line)], tmp_path, **variables) as service:
        token = hs_token(access_claims(), secret=SECRET)

        def call(number: int) -> tuple[str, str, int]:
            """The path, the worker that responded, and the status."""
            path = ("/me", "/me", "/metrics")[number % 3]
            response = service.call("GET", path, token if number % 3 else "")
            return path, response.headers["X-Worker"], response.status

        # Which worker takes a connection is not for us to say; calls at the same time keep several
        # of them busy.
        deadline = time.monotonic() + CALL_LIMIT
        calls: Counter[tuple[str, str, int]] = Counter()
        with ThreadPoolExecutor(8) as pool:
            while len({worker for path, worker, _ in calls if path == "/me"}) < 2:
                assert time.monotonic() < deadline, "the same worker answered every time"
                calls.update(pool.map(call, range(24)))
            bodies = list(pool.map(lambda _: service.call("GET", "/metrics").body, range(8)))
    codes = Counter()
    for (path, _, status), count in calls.items():
        if path == "/me":
            codes["ok" if status == 200 else "token_missing"] += count
    assert set(codes) == {"ok", "token_missing"}
    for body in bodies:
        (family,) = text_string_to_metric_families(body)
        assert family.type == "counter"
        found = {(sample.name, sample.labels["code"]): sample.value for sample in family.samples}
        assert found == {("jwt_checks_total", code): count for code, count in codes.items()}


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
