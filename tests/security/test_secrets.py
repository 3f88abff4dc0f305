"""No token, key or CSRF value is shown: that the watch over the suite sees one, and the module.

``conftest.py`` puts a watch on around every test of the suite. Here further ones are put on, with
secrets that are shown on purpose, and what the module hands out is looked at piece by piece.
"""

from __future__ import annotations

import base64
import gc
import html
import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import jwt
import pytest
from quart import Quart, redirect, request, websocket

import quart_jwt_extended as qje
from support import FAR_FUTURE, SECRET, access_claims, bearer, hs_token, make_app, manager_of
from support.asgi import opened
from support.secrets_watch import Watch, watching
from support.signing_keys import private_key, private_pem, public_pem

# Without the looks of a UUID, so that nothing but its value gives it away.
CSRF = 'the double-submit value <of> this & "that" session'
TOKEN = hs_token(access_claims(csrf=CSRF, user_claims={"role": "administrator"}))
HEADER, PAYLOAD, SIGNATURE = TOKEN.split(".")
# Neither JSON nor long enough to look like a signature.
ODD = "not-the-header-of-a-token.not-the-payload-of-a-token.not-the-signature-of-it"
PEM = private_pem(private_key("P-256"))
OTHER_KEY = "a key that is not in the configuration, but comes from a callback"

# By name: the kind that the watch reports, and how it comes to know.
SECRETS: dict[str, tuple[str, str]] = {
    "token": ("token", TOKEN),
    "payload": ("token", PAYLOAD),
    "signature": ("token", SIGNATURE),
    "odd token": ("token", ODD),
    "secret key": ("key", SECRET),
    "private key": ("key", PEM.splitlines()[1]),
    "CSRF value": ("CSRF value", CSRF),
    "claim value": ("claim value", "administrator"),
}
every_secret = pytest.mark.parametrize("secret", SECRETS)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """A watch that knows :data:`SECRETS`, in place of the one that would fail this test."""
    with watching() as watch:
        watch.token(TOKEN)
        watch.token(ODD)
        watch.key(PEM)
        yield watch


def kinds(watch: Watch) -> set[str]:
    """The kinds of secrets in the report."""
    names = ("signature or key", "token", "key", "CSRF value", "claim value")
    return {next(name for name in names if line.startswith(name)) for line in watch.leaks()}


# --- Places: where a secret is seen ---------------------------------------------------

Show = Callable[[str], Awaitable[None]]
PLACES: dict[str, Show] = {}
ERROR = logging.getLogger("quart_jwt_extended.of_a_test")


def place(show: Show) -> Show:
    PLACES[show.__name__] = show
    return show


async def answer(view: Callable[[], Any], **options: Any) -> None:
    """Let a view of an app answer one request."""
    app = Quart("shows")
    app.config.update(options)
    app.add_url_rule("/", "view", view)
    await app.test_client().get("/")


async def raise_from(error: BaseException, cause: BaseException | None) -> None:
    with pytest.raises(type(error)):
        raise error from cause


@place
async def message_of_a_log_record(value: str) -> None:
    logging.debug("refused %s", value)


@place
async def message_of_another_logger(value: str) -> None:
    ERROR.info(f"refused {value}")


@place
async def unused_argument_of_a_log_record(value: str) -> None:
    ERROR.info("refused %(name)s", {"name": "a token", "token": value})


@place
async def attribute_of_a_log_record(value: str) -> None:
    ERROR.info("refused", extra={"presented": value})


@place
async def exception_of_a_log_record(value: str) -> None:
    try:
        raise ValueError(value)
    except ValueError:
        ERROR.exception("refused")


@place
async def exception_that_quart_logs(value: str) -> None:
    async def view() -> None:
        raise ValueError(value)

    await answer(view, PROPAGATE_EXCEPTIONS=False)


@place
async def body_of_an_error(value: str) -> None:
    async def view() -> Any:
        return {"msg": f"Bad token {value}"}, 422

    await answer(view)


@place
async def body_of_an_error_in_pieces(value: str) -> None:
    async def pieces() -> Any:
        for character in value:
            yield character.encode()

    async def view() -> Any:
        return pieces(), 500

    await answer(view)


@place
async def header_of_an_error(value: str) -> None:
    async def view() -> Any:
        return "", 401, {"WWW-Authenticate": f"Bearer {value}"}

    await answer(view)


@place
async def header_of_a_good_answer(value: str) -> None:
    async def view() -> Any:
        return redirect(f"/next?of={quote(value)}")

    await answer(view)


async def open_socket(view: Callable[[], Any]) -> None:
    """Open a WebSocket by raw messages, as a server does."""
    app = Quart("shows")
    app.add_websocket("/", "socket", view)
    async with opened(app, "/"):
        pass


@place
async def reason_of_a_close(value: str) -> None:
    async def view() -> None:
        await websocket.accept()
        await websocket.close(1008, value)

    await open_socket(view)


@place
async def subprotocol_of_a_socket(value: str) -> None:
    async def view() -> None:
        await websocket.accept(subprotocol=value)

    await open_socket(view)


@place
async def header_of_a_socket(value: str) -> None:
    async def view() -> None:
        await websocket.accept(headers={"Token": value})

    await open_socket(view)


@place
async def refused_handshake(value: str) -> None:
    async def view() -> Any:
        return {"msg": value}, 401

    await open_socket(view)


@place
async def text_of_an_exception(value: str) -> None:
    await raise_from(ValueError(value), None)


@place
async def repr_of_an_exception(value: str) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            return "an error"

    await raise_from(Odd({"token": value}), None)


@place
async def cause_of_an_exception(value: str) -> None:
    await raise_from(ValueError("an error"), KeyError(value))


@place
async def context_of_an_exception(value: str) -> None:
    def fail() -> None:
        try:
            raise KeyError(value)
        except KeyError:
            raise ValueError("an error")  # noqa: B904

    with pytest.raises(ValueError, match="an error"):
        fail()


@place
async def note_of_an_exception(value: str) -> None:
    error = ValueError("an error")
    # As add_note, which Python 3.10 does not have.
    error.__notes__ = [value]  # type: ignore[attr-defined]
    await raise_from(error, None)


@place
async def exception_that_a_view_handles(value: str) -> None:
    async def view() -> None:
        raise qje.JWTDecodeError(value)

    app = make_app()
    app.add_url_rule("/", "view", view)
    app.register_error_handler(qje.JWTDecodeError, lambda error: ("", 200))
    await app.test_client().get("/")


@place
async def recorded_warning(value: str) -> None:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        warnings.warn(f"the key {value} is weak", UserWarning, stacklevel=1)


@place
async def warning(value: str) -> None:
    with pytest.warns(UserWarning, match="is weak"):
        warnings.warn(f"the key {value} is weak", UserWarning, stacklevel=1)


@every_secret
@pytest.mark.parametrize("where", PLACES)
async def test_secret_in_any_place_is_reported(watch: Watch, where: str, secret: str) -> None:
    kind, value = SECRETS[secret]
    await PLACES[where](value)
    assert kind in kinds(watch)


@pytest.mark.parametrize("where", PLACES)
async def test_text_without_a_secret_is_not_reported(watch: Watch, where: str) -> None:
    await PLACES[where]("Signature verification failed")
    assert watch.leaks() == []


def test_logger_that_was_switched_off_is_heard_in_the_next_test() -> None:
    ERROR.disabled = True
    with watching() as watch:
        ERROR.info("refused %s", SECRET)
    assert kinds(watch) == {"key"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python tells of exceptions since 3.12")
async def test_exception_that_nobody_hands_on_is_reported(watch: Watch) -> None:
    """The one text with a value from the token, the identity, stands for a leak of the module."""
    app = make_app()
    manager_of(app).user_loader_callback_loader(lambda identity: None)
    headers = bearer(hs_token(access_claims(identity=OTHER_KEY)))
    watch.key(OTHER_KEY)
    async with app.test_request_context("/", headers=headers):
        try:
            await qje.verify_jwt_in_request()
        except qje.UserLoadError as error:
            caught = error
    assert str(caught) == f"Error loading the user {OTHER_KEY}"
    assert kinds(watch) == {"key"}


# --- Spellings: how it is written -----------------------------------------------------

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": repr,
    "repr of bytes": lambda value: repr(value.encode()),
    "JSON": json.dumps,
    "HTML": html.escape,
    "URL": lambda value: quote(value, safe=""),
    "form": quote_plus,
    "hex": lambda value: value.encode().hex(),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64url": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "the first third": lambda value: value[: max(len(value) // 3, 24)],
    "the last third": lambda value: value[-max(len(value) // 3, 24) :],
    "between others": lambda value: f"x{value}y",
}


@pytest.mark.parametrize("secret", ["token", "payload", "secret key", "private key", "CSRF value"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_secret_in_any_spelling_is_reported(watch: Watch, spelling: str, secret: str) -> None:
    kind, value = SECRETS[secret]
    ERROR.info("it was %s", SPELLINGS[spelling](value))
    assert kind in kinds(watch)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("token", TOKEN),
        ("token", HEADER),
        ("token", TOKEN[:20]),
        ("token", base64.b64encode(TOKEN.encode()).decode()),
        ("token", TOKEN.encode().hex()),
        ("signature or key", SIGNATURE),
        ("key", PEM),
        ("key", public_pem(private_key("P-256"))),
        ("CSRF value", "e0a9c9d5-0c5f-4d0f-9e0b-3b1f8f4f3a11"),
    ],
)
def test_unknown_secret_is_reported_by_its_looks(kind: str, value: str) -> None:
    with watching() as watch:
        ERROR.info("it was %r", value)
    assert kind in kinds(watch)


async def test_csrf_value_of_a_new_token_is_reported_by_its_looks() -> None:
    app = make_app(JWT_TOKEN_LOCATION="cookies")
    async with app.app_context():
        value = qje.get_csrf_token(qje.create_access_token("alice"))
    with watching() as watch:
        ERROR.info(value)
    assert kinds(watch) == {"CSRF value"}


# --- How the watch comes to know --------------------------------------------------------


async def app_that_takes(path: str = "/open", **request: Any) -> None:
    await make_app().test_client().post(path, **request)


async def app_with_the_key(**options: Any) -> None:
    make_app().config.update(options)


async def loader_that_gives_the_key() -> None:
    app = make_app()
    manager = manager_of(app)
    manager.decode_key_loader(lambda claims, headers: OTHER_KEY)
    await app.test_client().get("/protected", headers=bearer(hs_token(access_claims())))


async def function(call: Callable[[], Any]) -> None:
    call()


def decode(token: str) -> None:
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(token, SECRET, ["HS256"])


LESSONS: dict[str, tuple[Callable[[], Awaitable[None]], str, str]] = {
    "header": (lambda: app_that_takes(headers=bearer(ODD)), "token", ODD),
    "header of another name": (lambda: app_that_takes(headers={"X-Token": ODD}), "token", ODD),
    "credentials": (
        lambda: app_that_takes(headers={"Authorization": "Basic YWxpY2U6d29uZGVybGFuZA=="}),
        "token",
        "YWxpY2U6d29uZGVybGFuZA==",
    ),
    "cookie": (
        lambda: app_that_takes(headers={"Cookie": f"a=b; access_token_cookie={ODD}"}),
        "token",
        ODD,
    ),
    "query string": (lambda: app_that_takes(f"/open?jwt={ODD}"), "token", ODD),
    "escaped query string": (
        lambda: app_that_takes("/open?jwt=%6e" + ODD[1:].replace(".", "%2E")),
        "token",
        ODD,
    ),
    "JSON": (lambda: app_that_takes(json={"access_token": ODD}), "token", ODD),
    "CSRF header": (
        lambda: app_that_takes(headers={"X-CSRF-TOKEN": "of another session"}),
        "CSRF value",
        "of another session",
    ),
    "CSRF cookie": (
        lambda: app_that_takes(headers={"Cookie": "csrf_access_token=of-another-session"}),
        "CSRF value",
        "of-another-session",
    ),
    "CSRF field": (
        lambda: app_that_takes(form={"csrf_token": "of another session"}),
        "CSRF value",
        "of another session",
    ),
    "CSRF claim in a request": (
        lambda: app_that_takes(headers=bearer(TOKEN)),
        "CSRF value",
        CSRF,
    ),
    "new token": (
        lambda: function(lambda: hs_token({"csrf": CSRF})),
        "CSRF value",
        CSRF,
    ),
    "new token of PyJWT": (
        lambda: function(lambda: jwt.encode({"csrf": CSRF}, SECRET)),
        "CSRF value",
        CSRF,
    ),
    "token for PyJWT": (lambda: function(lambda: decode(ODD)), "token", ODD),
    "JWT_SECRET_KEY": (lambda: app_with_the_key(JWT_SECRET_KEY=OTHER_KEY), "key", OTHER_KEY),
    "SECRET_KEY": (lambda: app_with_the_key(SECRET_KEY=OTHER_KEY), "key", OTHER_KEY),
    "SECRET_KEY in bytes": (
        lambda: app_with_the_key(SECRET_KEY=OTHER_KEY.encode()),
        "key",
        OTHER_KEY,
    ),
    "JWT_PRIVATE_KEY": (
        lambda: app_with_the_key(JWT_PRIVATE_KEY=PEM),
        "key",
        PEM.splitlines()[1],
    ),
    "key of a callback": (loader_that_gives_the_key, "key", OTHER_KEY),
    "nothing": (lambda: function(lambda: None), "key", SECRET),
}


@pytest.mark.parametrize("lesson", LESSONS)
async def test_secrets_in_play_are_learned(lesson: str) -> None:
    learn, kind, secret = LESSONS[lesson]
    with watching() as watch:
        await learn()
        assert watch.leaks() == []
        ERROR.info("it was <%s>", secret)
    assert kind in kinds(watch)


# --- What is no leak --------------------------------------------------------------------


async def test_token_in_the_body_of_a_login_is_no_leak(watch: Watch) -> None:
    async def view() -> Any:
        return {"access_token": TOKEN}

    await answer(view)
    assert watch.leaks() == []


async def test_token_and_csrf_value_in_cookies_are_no_leak(watch: Watch) -> None:
    app = make_app(JWT_TOKEN_LOCATION="cookies")

    @app.get("/login")
    async def login() -> Any:
        response = await app.make_response({"login": True})
        qje.set_access_cookies(response, qje.create_access_token("alice"))
        return response, 401

    response = await app.test_client().get("/login")
    assert len(response.headers.getlist("Set-Cookie")) == 2
    assert watch.leaks() == []


def test_request_in_the_log_of_a_server_is_no_leak(watch: Watch) -> None:
    logging.getLogger("uvicorn.access").info("GET /protected?jwt=%s", TOKEN)
    assert watch.leaks() == []


async def test_exception_that_is_suppressed_is_no_leak(watch: Watch) -> None:
    def fail() -> None:
        try:
            raise KeyError(TOKEN)
        except KeyError:
            raise ValueError("an error") from None

    with pytest.raises(ValueError, match="an error"):
        fail()
    assert watch.leaks() == []


# --- The fixture ------------------------------------------------------------------------

LEAKING_TESTS = """
    import logging

    import pytest
    from support import SECRET, access_claims, hs_token, make_app


    def test_clean():
        hs_token(access_claims())
        logging.info("refused a token")


    def test_log():
        logging.debug("refused %s", hs_token(access_claims()))


    async def test_body():
        app = make_app()
        app.add_url_rule("/leak", "leak", lambda: (SECRET, 400))
        await app.test_client().get("/leak")


    def test_exception():
        with pytest.raises(ValueError):
            raise ValueError(SECRET)


    @pytest.fixture
    def leaking_fixture():
        yield
        logging.debug(SECRET)


    def test_fixture(leaking_fixture):
        pass


    @pytest.mark.may_show_secrets("it is about the secret")
    def test_exempt():
        logging.info(SECRET)


    @pytest.mark.may_show_secrets
    def test_exempt_without_a_reason():
        pass
"""


def test_fixture_fails_each_test_that_shows_a_secret(tmp_path: Path) -> None:
    (tmp_path / "test_leaking.py").write_text(textwrap.dedent(LEAKING_TESTS))
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--tb=short", "-p", "conftest", "--strict-markers"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    outcomes = {
        (word, name)
        for word, _, rest in (line.partition(" ") for line in ran.stdout.splitlines())
        for name in [rest.partition("::")[2].split(" ")[0]]
        if word == "ERROR" and name
    }
    leaking = {"test_log", "test_body", "test_exception", "test_fixture"}
    expected = {("ERROR", name) for name in (*leaking, "test_exempt_without_a_reason")}
    assert outcomes == expected, ran.stdout
    assert "6 passed, 5 errors" in ran.stdout
    assert "may_show_secrets needs a reason" in ran.stdout


# --- What the module hands out ------------------------------------------------------------


def objects_of_the_module() -> list[Any]:
    """All instances of the module's types, but for its functions and those that the tests keep."""
    return [
        found
        for found in gc.get_objects()
        # A few types have a descriptor there.
        if str(type(found).__module__).partition(".")[0] == qje.__name__
    ]


def show(watch: Watch, *objects: Any) -> None:
    for found in objects:
        for text in (repr(found), str(found), f"{found}", ascii(found)):
            watch.show(f"an object of {type(found)}", text)


def test_tokens_of_a_session_show_their_id_alone() -> None:
    tokens = qje.SessionTokens("the access token", "the refresh token", "the id")
    assert tokens == ("the access token", "the refresh token", "the id")
    shown = "SessionTokens(session_id='the id')"
    assert [repr(tokens), str(tokens), f"{tokens}", f"{[tokens]}"] == [shown] * 3 + [f"[{shown}]"]
    for copy in (pickle.loads(pickle.dumps(tokens)), tokens._replace(session_id="another")):
        assert type(copy) is qje.SessionTokens
        assert copy.refresh_token == "the refresh token"


async def test_objects_of_the_module_show_no_secret(watch: Watch) -> None:
    """In the middle of a request, where every one of them exists, and of whatever type it is."""
    app = make_app(
        JWT_TOKEN_LOCATION=["headers", "cookies"],
        JWT_ALGORITHM="ES256",
        JWT_PRIVATE_KEY=PEM,
        JWT_PUBLIC_KEY=public_pem(private_key("P-256")),
        JWT_DECODE_ALGORITHMS=["HS256", "ES256"],
        JWT_SIGNATURE_CACHE_SIZE=10,
    )
    types = set()

    @manager_of(app).user_loader_callback_loader
    def load(identity: str) -> str:
        objects = objects_of_the_module()
        types.update(type(found).__name__ for found in objects)
        # Exceptions of other tests may be among them, with what these put in.
        show(watch, *(found for found in objects if not isinstance(found, BaseException)))
        show(watch, request._get_current_object())
        show(watch, qje.current_user)
        return identity

    @app.get("/show")
    @qje.jwt_required
    async def view() -> Any:
        show(watch, qje.current_user)
        return ""

    async with app.app_context():
        new = qje.create_access_token("alice")
        coroutine = qje.create_access_token_async("alice")
        show(watch, coroutine)
        await coroutine
        show(watch, qje.config.config)
    watch.token(new)
    client = app.test_client()
    for token in (new, TOKEN, new):
        assert (await client.get("/show", headers=bearer(token))).status_code == 200
    show(watch, app, app.extensions, view, vars(view))
    show(watch, vars(manager_of(app)))
    # Those that the garbage collector knows of; the others live in C alone.
    assert "JWTManager" in types
    assert len(types) >= 8, types
    assert watch.leaks() == []


# --- What the module says -----------------------------------------------------------------

PUBLIC = public_pem(private_key("P-256"))
LASTING = access_claims(
    csrf=CSRF, identity="alice", jti="the name of a token", iss="the issuer of it"
)


def with_header(**header: Any) -> str:
    return hs_token(LASTING, header={"typ": "JWT", "alg": "HS256", **header})


def changed(**claims: Any) -> str:
    return hs_token({**LASTING, **claims})


# By name: a token, the path that it is sent to, and the status of the answer.
REFUSED: dict[str, tuple[str, str, int]] = {
    "forged": (hs_token(LASTING, secret=OTHER_KEY), "/protected", 422),
    "two segments": (changed().rpartition(".")[0], "/protected", 422),
    "four segments": (f"{changed()}.{SIGNATURE}", "/protected", 422),
    "padded": (f"{changed()}=", "/protected", 422),
    "header of no JSON": (hs_token(LASTING, header=CSRF.encode()), "/protected", 422),
    "payload of no JSON": (hs_token(CSRF.encode()), "/protected", 422),
    "payload that breaks off": (hs_token(json.dumps(LASTING)[:-1].encode()), "/protected", 422),
    "payload of another encoding": (hs_token(json.dumps(CSRF).encode("utf-16")), "/protected", 422),
    "payload that is not UTF-8": (hs_token(b'{"csrf":"' + b"\xff" * 40 + b'"}'), "/protected", 422),
    "claim twice": (
        hs_token(b'{"csrf":"of another session","csrf":"of this session"}'),
        "/protected",
        422,
    ),
    "huge number": (hs_token(b'{"exp":' + b"7" * 5000 + b"}"), "/protected", 422),
    "unknown algorithm": (with_header(alg=OTHER_KEY), "/protected", 422),
    "algorithm that is not allowed": (with_header(alg="HS512"), "/protected", 422),
    "kid of another type": (with_header(kid=[OTHER_KEY]), "/protected", 422),
    "critical": (with_header(crit=["exp"]), "/protected", 422),
    "detached": (with_header(b64=False, crit=["b64"]), "/protected", 422),
    "expired": (changed(exp=1), "/protected", 401),
    "too early": (changed(nbf=FAR_FUTURE), "/protected", 422),
    "exp of another type": (changed(exp="the end of the world"), "/protected", 422),
    "iat of another type": (changed(iat="the beginning of it"), "/protected", 422),
    "jti of another type": (changed(jti=["the name of a token"]), "/protected", 422),
    "sub of another type": (changed(sub=["the name of a user"]), "/protected", 422),
    "foreign issuer": (changed(iss="the issuer of another"), "/protected", 422),
    "foreign audience": (changed(aud="the audience of another"), "/protected", 422),
    "no identity": (
        hs_token({k: v for k, v in LASTING.items() if k != "identity"}),
        "/protected",
        422,
    ),
    "unknown type": (changed(type="a type of nobody's"), "/protected", 422),
    "fresh of another type": (changed(fresh="until the weekend"), "/protected", 422),
    "refresh token": (changed(type="refresh"), "/protected", 422),
    "access token": (changed(), "/refresh", 422),
    "not fresh": (changed(), "/fresh", 401),
    "revoked": (changed(revoked=True), "/protected", 401),
    "refused claims": (changed(user_claims={"role": "administrator"}), "/protected", 400),
    "unknown user": (changed(identity="nobody"), "/protected", 401),
    "too long": (changed(user_claims={"role": "administrator" * 1500}), "/protected", 422),
    "no scope": (changed(scope="of another kind"), "/scoped", 403),
    "scope of another type": (changed(scope={"read": "the whole world"}), "/scoped", 422),
}

CARRIERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "headers": lambda token: {"headers": bearer(token)},
    "cookies": lambda token: {
        "headers": {
            "Cookie": f"access_token_cookie={token}; refresh_token_cookie={token}",
            "X-CSRF-TOKEN": CSRF,
        }
    },
    "query_string": lambda token: {"query_string": {"jwt": token}},
    "json": lambda token: {"json": {"access_token": token, "refresh_token": token}},
}


def strict_app(location: str, **options: Any) -> Quart:
    app = make_app(
        JWT_TOKEN_LOCATION=location,
        JWT_DECODE_ISSUER=LASTING["iss"],
        JWT_BLACKLIST_ENABLED=True,
        **options,
    )
    manager = manager_of(app)
    manager.token_in_blacklist_loader(lambda claims: "revoked" in claims)
    manager.claims_verification_loader(lambda claims: "role" not in claims)
    manager.user_loader_callback_loader(lambda name: None if name == "nobody" else name)

    @app.post("/scoped")
    @qje.jwt_required(scopes="read")
    async def scoped() -> Any:
        return ""

    return app


@pytest.mark.parametrize("location", CARRIERS)
@pytest.mark.parametrize("fault", REFUSED)
async def test_refusal_shows_no_secret(watch: Watch, fault: str, location: str) -> None:
    token, path, status = REFUSED[fault]
    for form in ("legacy", "problem"):
        app = strict_app(location, JWT_ERROR_FORMAT=form)
        response = await app.test_client().post(path, **CARRIERS[location](token))
        expected = 401 if form == "problem" and status == 422 else status
        assert response.status_code == expected, await response.get_data()
    # Learned from the requests, so that the silence says something.
    assert any(token.rstrip("=")[-20:] in secret for secret in watch.secrets)
    assert len(watch.shown) > 2
    assert watch.leaks() == []


@pytest.mark.parametrize(
    "sent", [None, "of another session", f"{CSRF} and more", "\x80 is no ASCII"]
)
async def test_wrong_csrf_value_shows_neither_value(watch: Watch, sent: str | None) -> None:
    for form in ("legacy", "problem"):
        app = strict_app("cookies", JWT_ERROR_FORMAT=form)
        headers = {"Cookie": f"access_token_cookie={changed()}"}
        if sent is not None:
            headers["X-CSRF-TOKEN"] = sent
        response = await app.test_client().post("/protected", headers=headers)
        assert response.status_code == 401
    with pytest.raises(qje.CSRFError):
        async with app.app_context():
            qje.decode_token(changed(), sent or "another")
    assert watch.leaks() == []


WRONG_KEYS: dict[str, dict[str, Any]] = {
    "a secret to sign RS256": {"JWT_ALGORITHM": "RS256", "JWT_PRIVATE_KEY": OTHER_KEY},
    "a secret to sign ES256": {"JWT_ALGORITHM": "ES256", "JWT_PRIVATE_KEY": OTHER_KEY},
    "a secret to sign EdDSA": {"JWT_ALGORITHM": "EdDSA", "JWT_PRIVATE_KEY": OTHER_KEY},
    "a key of another family": {"JWT_ALGORITHM": "RS256", "JWT_PRIVATE_KEY": PEM},
    "a public key": {"JWT_ALGORITHM": "ES256", "JWT_PRIVATE_KEY": PUBLIC},
    "a broken key": {"JWT_ALGORITHM": "ES256", "JWT_PRIVATE_KEY": PEM.replace("M", "N")},
    "a key that breaks off": {"JWT_ALGORITHM": "ES256", "JWT_PRIVATE_KEY": PEM[:-60].encode()},
    "PEM as a secret": {"JWT_SECRET_KEY": PEM},
    "a secret with a surrogate": {"JWT_SECRET_KEY": f"{OTHER_KEY}\ud800"},
    "a secret in a list": {"JWT_SECRET_KEY": [OTHER_KEY]},
    "a secret in a dict": {"JWT_SECRET_KEY": {"k": OTHER_KEY}},
    "a secret in a bytearray": {"JWT_SECRET_KEY": bytearray(OTHER_KEY.encode())},
}


@pytest.mark.parametrize("fault", WRONG_KEYS)
async def test_key_that_cannot_be_used_is_not_shown(watch: Watch, fault: str) -> None:
    watch.key(OTHER_KEY)
    options = {"JWT_PUBLIC_KEY": OTHER_KEY, **WRONG_KEYS[fault]}
    app = make_app(**options, PROPAGATE_EXCEPTIONS=False)
    app.config["TESTING"] = False

    @app.get("/login")
    async def login() -> Any:
        return qje.create_access_token("alice")

    assert (await app.test_client().get("/login")).status_code == 500
    token = hs_token(LASTING, header={"typ": "JWT", "alg": options.get("JWT_ALGORITHM", "HS256")})
    response = await app.test_client().get("/protected", headers=bearer(token))
    assert response.status_code in (422, 500)
    with pytest.raises(RuntimeError, match="cannot be used with"):
        async with app.app_context():
            qje.create_access_token("alice")
    assert any("log record" in where for where in watch.shown.values())
    assert watch.leaks() == []


# The names in JWT_REQUIRED_CLAIMS are told to whoever sends a token without these claims.
@pytest.mark.parametrize("option", [name for name in qje.DEFAULTS if name != "JWT_REQUIRED_CLAIMS"])
async def test_key_in_place_of_another_option_is_not_shown(watch: Watch, option: str) -> None:
    """The mistake of a line that was pasted wrongly; some options take the text for a name."""
    watch.key(OTHER_KEY)
    app = make_app(**{option: OTHER_KEY})
    async with app.app_context():
        try:
            qje.decode_token(qje.create_access_token("alice"))
        except (RuntimeError, jwt.InvalidTokenError) as error:
            watch.exception("of the module", error)
    assert watch.leaks() == []


@pytest.mark.parametrize("csrf", [True, False], ids=["with-csrf", "without-csrf"])
@pytest.mark.parametrize(
    "token",
    [TOKEN.encode() + b"\xff", f"{TOKEN}\ud800", TOKEN.encode("utf-16"), TOKEN[:40], [TOKEN]],
    ids=["no-ascii", "surrogate", "utf-16", "cut", "list"],
)
async def test_what_is_no_token_is_not_shown_by_the_cookie_setters(
    watch: Watch, token: Any, csrf: bool
) -> None:
    app = make_app(JWT_TOKEN_LOCATION="cookies", JWT_COOKIE_CSRF_PROTECT=csrf)
    async with app.app_context():
        response = await app.make_response("")
        for function in (qje.set_access_cookies, qje.set_refresh_cookies):
            try:
                function(response, token)
            except Exception as error:
                watch.exception("of the module", error)
    assert watch.leaks() == []


async def test_traceback_shows_no_variables_of_the_module() -> None:
    """Debuggers and error trackers show those of each frame."""
    app = make_app()
    async with app.app_context():
        for call, argument in (
            (qje.decode_token, ODD),
            (qje.decode_token, hs_token(LASTING, secret=OTHER_KEY)),
            (qje.create_access_token, object()),
        ):
            with pytest.raises((jwt.InvalidTokenError, TypeError)) as caught:
                call(argument)
            frames = [frame for frame, _ in traceback.walk_tb(caught.tb)]
            ours = [frame for frame in frames if frame.f_code.co_filename.endswith(".pyx")]
            assert ours
            assert [dict(frame.f_locals) for frame in ours] == [{}] * len(ours)


async def test_listing_of_the_routes_shows_no_secret(watch: Watch) -> None:
    result = make_app().test_cli_runner().invoke(args=["jwt", "routes"])
    assert "/protected" in result.output
    watch.show("the listing", result.output)
    assert watch.leaks() == []
