"""The command ``quart jwt routes``: every route with how it is protected, open ones first."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from quart import Blueprint, Quart
from quart.views import MethodView
from werkzeug.routing import Rule

import quart_jwt_extended as qje
from support import SECRET
from support.routes import add, add_socket


def new_app() -> Quart:
    # Without the static route, which has a test of its own.
    app = Quart("listed", static_folder=None)
    app.config["JWT_SECRET_KEY"] = SECRET
    qje.JWTManager(app)
    return app


def parsed(output: str) -> list[tuple[str, ...]]:
    """The rows of a listing: path, methods, endpoint, protection."""
    return [tuple(re.split(r" {2,}", line)) for line in output.splitlines()]


def routes(app: Quart) -> list[tuple[str, ...]]:
    result = app.test_cli_runner().invoke(args=["jwt", "routes"])
    assert result.exception is None
    assert result.exit_code == 0
    return parsed(result.output)


def protections(app: Quart) -> dict[str, str]:
    """What is said of each path that has one row."""
    rows = routes(app)
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[3] for row in rows}


def test_open_routes_come_first_and_then_the_order_is_that_of_paths() -> None:
    app = new_app()
    add(app, "b", qje.jwt_required)
    add(app, "z")
    add(app, "a", qje.jwt_required, methods=["POST", "GET", "PUT"])
    add(app, "y", qje.jwt_exempt)
    add(app, "x")
    assert routes(app) == [
        ("/x", "GET", "x", "open"),
        ("/y", "GET", "y", "exempt"),
        ("/z", "GET", "z", "open"),
        ("/a", "GET,POST,PUT", "a", "access token"),
        ("/b", "GET", "b", "access token"),
    ]


def test_columns_are_aligned() -> None:
    app = new_app()
    add(app, "a-long-path", qje.jwt_required, methods=["GET", "POST"])
    add(app, "b")
    output = app.test_cli_runner().invoke(args=["jwt", "routes"]).output
    assert output == (
        "/b            GET       b            open\n"
        "/a-long-path  GET,POST  a-long-path  access token\n"
    )


def test_app_without_routes_lists_nothing() -> None:
    assert routes(new_app()) == []


def test_automatic_static_route_is_listed() -> None:
    for options, expected in (
        (None, "open"),
        ({}, "access token"),
        ({"exempt": ("static",)}, "exempt"),
    ):
        app = Quart("listed", static_folder="static")
        qje.JWTManager(app)
        if options is not None:
            qje.protect(app, **options)
        assert protections(app)["/static/<path:filename>"] == expected


@pytest.mark.parametrize(
    ("decorator", "words"),
    [
        (qje.jwt_required, "access token"),
        (qje.jwt_required(), "access token"),
        (qje.jwt_optional, "optional access token"),
        (qje.fresh_jwt_required, "fresh access token"),
        (qje.jwt_refresh_token_required, "refresh token"),
        (qje.jwt_required(optional=True), "optional access token"),
        (qje.jwt_required(optional=True, refresh=True), "optional refresh token"),
        (qje.jwt_required(optional=True, fresh=True), "optional fresh access token"),
        (qje.jwt_required(verify_type=False), "access or refresh token"),
        (qje.jwt_required(scopes="read"), "access token, scopes: read"),
        (qje.jwt_required(scopes={"write", "read"}), "access token, scopes: read write"),
        (qje.jwt_required(locations="cookies"), "access token, in cookies"),
        (qje.jwt_required(locations=["json", "headers"]), "access token, in json or headers"),
        (
            qje.jwt_required(skip_revocation_check=True),
            "access token, not checked for revocation",
        ),
        (
            qje.jwt_required(
                fresh=True, locations="headers", scopes="a", skip_revocation_check=True
            ),
            "fresh access token, in headers, scopes: a, not checked for revocation",
        ),
    ],
)
def test_every_kind_of_protection_is_described(decorator: Any, words: str) -> None:
    app = new_app()
    add(app, "page", decorator)
    add_socket(app, "ws", decorator)
    assert protections(app) == {"/page": words, "/ws": words}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "access token"),
        ({"refresh": True}, "refresh token"),
        ({"scopes": ["b", "a"]}, "access token, scopes: b a"),
    ],
)
def test_protection_of_the_app_is_described(options: dict[str, Any], words: str) -> None:
    app = new_app()
    qje.protect(app, **options)
    add(app, "page")
    add_socket(app, "ws")
    assert protections(app) == {"/page": words, "/ws": words}


def test_own_rules_are_listed_with_those_of_the_app() -> None:
    app = new_app()
    qje.protect(app, fresh=True, exempt=["named", "both"])
    add(app, "own", qje.jwt_optional)
    add(app, "exempt", qje.jwt_exempt)
    add(app, "named")
    add(app, "both", qje.jwt_refresh_token_required)
    add(app, "plain")
    assert protections(app) == {
        "/named": "exempt",
        "/own": "optional fresh access token",
        "/exempt": "exempt",
        "/both": "refresh token",
        "/plain": "fresh access token",
    }
    assert [row[0] for row in routes(app)][:2] == ["/exempt", "/named"]


def test_websocket_is_listed_with_its_protection() -> None:
    app = new_app()
    add_socket(app, "open")
    add_socket(app, "guarded", qje.jwt_required(scopes="chat"))
    assert routes(app) == [
        ("/open", "WEBSOCKET", "open", "open"),
        ("/guarded", "WEBSOCKET", "guarded", "access token, scopes: chat"),
    ]


def test_blueprints_are_listed_with_every_guard_around_them() -> None:
    app = new_app()
    outer, inner, free = (
        Blueprint(name, name, url_prefix=f"/{name}") for name in ("outer", "inner", "free")
    )
    qje.protect(outer, scopes="outer", exempt="inner.half")
    qje.protect(inner, fresh=True)
    for scaffold in (app, outer, inner, free):
        add(scaffold, "page")
    add(inner, "half")
    add(inner, "own", qje.jwt_optional)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.register_blueprint(free)
    rows = {row[0]: row[2:] for row in routes(app)}
    assert rows == {
        "/page": ("page", "open"),
        "/free/page": ("free.page", "open"),
        "/outer/page": ("outer.page", "access token, scopes: outer"),
        "/outer/inner/page": ("outer.inner.page", "fresh access token, scopes: outer"),
        "/outer/inner/half": ("outer.inner.half", "fresh access token"),
        "/outer/inner/own": ("outer.inner.own", "optional fresh access token, scopes: outer"),
    }


def test_methods_of_one_class_with_different_rules_have_a_row_each() -> None:
    app = new_app()
    qje.protect(app)

    class Thing(MethodView):
        @qje.jwt_exempt
        async def get(self) -> str:
            return ""

        @qje.fresh_jwt_required
        async def delete(self) -> str:
            return ""

        async def post(self) -> str:
            return ""

        async def put(self) -> str:
            return ""

    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    assert routes(app) == [
        ("/thing", "GET", "thing", "exempt"),
        ("/thing", "DELETE", "thing", "fresh access token"),
        ("/thing", "POST,PUT", "thing", "access token"),
    ]


def test_two_paths_of_one_endpoint_are_both_listed() -> None:
    app = new_app()

    async def view(item: int = 0) -> str:
        return ""

    view = qje.jwt_required(view)
    app.add_url_rule("/item", "item", view)
    app.add_url_rule("/item/<int:item>", "item", view)
    assert protections(app) == {"/item": "access token", "/item/<int:item>": "access token"}


@pytest.mark.parametrize("methods", [["OPTIONS"], ["HEAD"], ["HEAD", "OPTIONS"]], ids=str)
def test_route_of_only_head_or_options_is_listed(methods: list[str]) -> None:
    app = new_app()
    add(app, "page", methods=methods, provide_automatic_options=False)
    assert [(row[0], row[2], row[3]) for row in routes(app)] == [("/page", "page", "open")]


def test_head_of_its_own_that_is_open_has_a_row() -> None:
    app = new_app()

    class Thing(MethodView):
        @qje.jwt_required
        async def get(self) -> str:
            return ""

        async def head(self) -> str:
            return ""

    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    assert routes(app) == [
        ("/thing", "HEAD", "thing", "open"),
        ("/thing", "GET", "thing", "access token"),
    ]


def test_options_that_need_no_token_by_the_option_are_exempt() -> None:
    app = new_app()
    add(app, "page", qje.jwt_required, methods=["GET", "OPTIONS"])
    assert protections(app) == {"/page": "access token"}
    app.config["JWT_EXEMPT_OPTIONS"] = True
    assert routes(app) == [
        ("/page", "OPTIONS", "page", "exempt"),
        ("/page", "GET", "page", "access token"),
    ]


def test_rules_that_lead_to_no_view_are_left_out() -> None:
    app = new_app()
    add(app, "page", qje.jwt_required)
    app.url_map.add(Rule("/old", endpoint="old", redirect_to="/page"))
    app.url_map.add(Rule("/elsewhere", endpoint="elsewhere", build_only=True))
    assert protections(app) == {"/page": "access token"}


def test_wrong_option_fails_the_command_without_a_traceback() -> None:
    app = new_app()
    app.config["JWT_TOKEN_LOCATION"] = "pockets"
    result = app.test_cli_runner().invoke(args=["jwt", "routes"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: JWT_TOKEN_LOCATION must")


def test_app_without_a_key_is_listed() -> None:
    # CI has no secrets.
    app = new_app()
    app.config["JWT_SECRET_KEY"] = None
    add(app, "page", qje.jwt_required)
    assert protections(app) == {"/page": "access token"}


def test_command_and_group_have_a_help_text() -> None:
    runner = new_app().test_cli_runner()
    assert "List the routes" in runner.invoke(args=["jwt", "--help"]).output
    result = runner.invoke(args=["jwt", "routes", "--help"])
    assert (result.exit_code, "open routes first" in result.output) == (0, True)
    assert all(option in result.output for option in ("--json", "--check", "--open ENDPOINT"))


def test_second_manager_of_an_app_leaves_one_command() -> None:
    app = new_app()
    qje.JWTManager(app)
    add(app, "page")
    assert protections(app) == {"/page": "open"}
    assert [name for name in app.cli.commands if name == "jwt"] == ["jwt"]


def test_command_lists_the_app_it_is_called_for() -> None:
    manager = qje.JWTManager()
    apps = []
    for name in ("one", "two"):
        app = Quart(name, static_folder=None)
        manager.init_app(app)
        add(app, name)
        apps.append(app)
    assert [protections(app) for app in apps] == [{"/one": "open"}, {"/two": "open"}]


# --- JSON ----------------------------------------------------------------------


def in_json(app: Quart, *arguments: str) -> list[dict[str, Any]]:
    result = app.test_cli_runner().invoke(args=["jwt", "routes", "--json", *arguments])
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_json_has_an_object_for_each_row() -> None:
    app = new_app()
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "json"]
    add(app, "open", methods=["POST", "GET"])
    add(app, "exempt", qje.jwt_exempt)
    add(app, "page", qje.jwt_required(fresh=True, scopes=("b", "a")))
    add_socket(app, "ws", qje.jwt_optional)
    bare = {
        "token_type": "access",
        "optional": False,
        "fresh": False,
        "scopes": [],
        "locations": ["headers"],
        "skip_revocation_check": False,
        "close_with_token": False,
        "issuers": None,
    }
    assert in_json(app) == [
        {
            "path": "/exempt",
            "methods": ["GET"],
            "endpoint": "exempt",
            "state": "exempt",
            "protection": None,
        },
        {
            "path": "/open",
            "methods": ["GET", "POST"],
            "endpoint": "open",
            "state": "open",
            "protection": None,
        },
        {
            "path": "/page",
            "methods": ["GET"],
            "endpoint": "page",
            "state": "protected",
            "protection": {
                **bare,
                "fresh": True,
                "scopes": ["b", "a"],
                "locations": ["headers", "json"],
            },
        },
        {
            "path": "/ws",
            "methods": ["WEBSOCKET"],
            "endpoint": "ws",
            "state": "protected",
            "protection": {**bare, "optional": True},
        },
    ]


def test_json_has_what_protection_of_returns() -> None:
    app = new_app()
    add(app, "page", qje.jwt_required(refresh=True, locations="cookies"))
    (row,) = in_json(app)
    expected = qje.protection_of(app, "page")
    assert expected is not None
    assert row["protection"] == json.loads(json.dumps(expected._asdict()))


def test_json_of_an_app_without_routes_is_an_empty_array() -> None:
    assert in_json(new_app()) == []


# --- --check -------------------------------------------------------------------


def check(app: Quart, *names: str) -> tuple[int, str]:
    """The exit code and what is written on stderr; nothing is on stdout."""
    opened = [part for name in names for part in ("--open", name)]
    result = app.test_cli_runner().invoke(args=["jwt", "routes", "--check", *opened])
    assert result.stdout == ""
    return result.exit_code, result.stderr


def lines_of(app: Quart, *names: str) -> list[str]:
    code, text = check(app, *names)
    assert code == 1
    return text.splitlines()


HEADING = (
    "Error: These routes are open. Protect them, add jwt_exempt, or list their endpoints with "
    "--open:"
)


def checked_app() -> Quart:
    app = new_app()
    add(app, "health")
    add(app, "login", qje.jwt_exempt)
    add(app, "maybe", qje.jwt_optional)
    add(app, "me", qje.jwt_required)
    add_socket(app, "feed")
    return app


def test_check_passes_silently_if_each_open_route_is_listed() -> None:
    assert check(checked_app(), "health", "feed") == (0, "")


def test_check_shows_each_open_route_that_is_not_listed() -> None:
    assert lines_of(checked_app()) == [
        HEADING,
        "  /feed    WEBSOCKET  feed    open",
        "  /health  GET        health  open",
    ]
    assert lines_of(checked_app(), "feed") == [HEADING, "  /health  GET  health  open"]


def test_check_takes_what_is_exempt_or_optional_for_closed() -> None:
    app = new_app()
    part = Blueprint("part", __name__)
    qje.protect(part, exempt="named")
    add(app, "exempt", qje.jwt_exempt)
    add(app, "maybe", qje.jwt_optional)
    add(part, "named")
    app.register_blueprint(part)
    assert check(app) == (0, "")


def test_check_takes_static_files_for_open() -> None:
    app = Quart("listed", static_folder="static")
    qje.JWTManager(app)
    assert lines_of(app) == [HEADING, "  /static/<path:filename>  GET  static  open"]
    assert check(app, "static") == (0, "")
    qje.protect(app, exempt="static")
    assert check(app) == (0, "")


def test_check_finds_the_open_method_of_a_class() -> None:
    app = new_app()

    class Thing(MethodView):
        @qje.jwt_required
        async def get(self) -> str:
            return ""

        async def post(self) -> str:
            return ""

    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))
    assert lines_of(app) == [HEADING, "  /thing  POST  thing  open"]
    assert check(app, "thing") == (0, "")


def test_check_fails_for_a_listed_name_that_is_no_endpoint() -> None:
    assert lines_of(checked_app(), "health", "feed", "helth") == [
        "Error: --open helth: The app has no endpoint 'helth': did you mean 'health'?"
    ]
    # An abbreviation of a name lists nothing.
    assert len(lines_of(checked_app(), "healt", "feed")) == 3


def test_check_fails_for_a_listed_name_that_is_protected() -> None:
    for name in ("me", "maybe"):
        assert lines_of(checked_app(), "health", name, "feed", name) == [
            f"Error: --open {name}: the endpoint is protected; remove it from --open"
        ]


def test_check_takes_a_listed_name_that_is_exempt() -> None:
    assert check(checked_app(), "health", "feed", "login") == (0, "")


def test_check_shows_all_faults_together() -> None:
    assert lines_of(checked_app(), "feed", "me", "gone") == [
        HEADING,
        "  /health  GET  health  open",
        "--open me: the endpoint is protected; remove it from --open",
        "--open gone: The app has no endpoint 'gone'",
    ]


def test_check_with_json_writes_both() -> None:
    result = checked_app().test_cli_runner().invoke(args=["jwt", "routes", "--json", "--check"])
    assert result.exit_code == 1
    assert {row["endpoint"] for row in json.loads(result.stdout) if row["state"] == "open"} == {
        "feed",
        "health",
    }
    assert result.stderr.splitlines()[0] == HEADING


def test_open_without_check_is_a_wrong_usage() -> None:
    arguments = ["jwt", "routes", "--open", "health"]
    result = checked_app().test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 2
    assert "Error: --open requires --check" in result.stderr


# --- The real command ----------------------------------------------------------

MODULE = """
import quart_jwt_extended as qje
from quart import Blueprint, Quart

app = Quart(__name__, static_folder=None)
app.config["JWT_SECRET_KEY"] = "secret"
qje.JWTManager(app)
qje.protect(app, exempt=("health",))
part = Blueprint("part", __name__, url_prefix="/part")


@app.get("/health")
async def health():
    return ""


@app.get("/login")
@qje.jwt_exempt
async def login():
    return ""


@app.get("/private")
async def private():
    return ""


@app.post("/refresh")
@qje.jwt_refresh_token_required
async def refresh():
    return ""


@app.websocket("/ws")
async def ws():
    pass


@part.get("/admin")
@qje.jwt_required(fresh=True, scopes="admin")
async def admin():
    return ""


app.register_blueprint(part)


def create_app():
    return app
"""


@pytest.mark.parametrize("target", ["service:app", "service:create_app", "service:create_app()"])
def test_quart_command_lists_the_routes_of_a_module(tmp_path: Path, target: str) -> None:
    (tmp_path / "service.py").write_text(textwrap.dedent(MODULE))
    result = subprocess.run(
        [sys.executable, "-m", "quart", "--app", target, "jwt", "routes"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    rows = parsed(result.stdout)
    assert rows == [
        ("/health", "GET", "health", "exempt"),
        ("/login", "GET", "login", "exempt"),
        ("/part/admin", "GET", "part.admin", "fresh access token, scopes: admin"),
        ("/private", "GET", "private", "access token"),
        ("/refresh", "POST", "refresh", "refresh token"),
        ("/ws", "WEBSOCKET", "ws", "access token"),
    ]


def test_quart_command_fails_a_job_of_ci(tmp_path: Path) -> None:
    unguarded = MODULE.replace('qje.protect(app, exempt=("health",))\n', "")
    assert unguarded != MODULE
    (tmp_path / "service.py").write_text(textwrap.dedent(unguarded))
    outcomes = []
    for opened in (["health", "private"], ["health", "private", "ws"]):
        names = [part for name in opened for part in ("--open", name)]
        result = subprocess.run(
            [sys.executable, "-m", "quart", "--app", "service:app", "jwt", "routes", "--check"]
            + names,
            cwd=tmp_path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        outcomes.append((result.returncode, result.stdout, result.stderr.splitlines()))
    assert outcomes == [(1, "", [HEADING, "  /ws  WEBSOCKET  ws  open"]), (0, "", [])]
