"""What the functions of the current request say, from outside any request to inside a callback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from quart import Quart, g

import quart_jwt_extended as qje
from quart_jwt_extended.exceptions import (
    FreshTokenRequired,
    RevokedTokenError,
    UserClaimsVerificationError,
    UserLoadError,
    WrongTokenError,
)
from support import (
    LONG_AGO,
    access_claims,
    ask,
    bearer,
    hs_token,
    in_form,
    make_app,
    manager_of,
    refresh_claims,
)

READERS = [
    qje.get_jwt_identity,
    qje.get_jwt_claims,
    qje.get_raw_jwt,
    qje.get_raw_jwt_header,
    qje.get_current_user,
]
ANONYMOUS: list[Any] = [None, {}, {}, {}, None]

CLAIMS = access_claims(user_claims={"role": "admin"}, fresh=True)
HEADER = {"typ": "JWT", "alg": "HS256", "kid": "1"}
TOKEN = hs_token(CLAIMS, header=HEADER)


def readings() -> list[Any]:
    """What every reader says right now."""
    return [reader() for reader in READERS]


def watched_app(**options: Any) -> tuple[Quart, list[Any]]:
    """An application whose ``/watch/<kind>`` views note the readings, and the list of them."""
    app = make_app(**options)
    noted: list[Any] = []

    async def view() -> str:
        noted.append(readings())
        return ""

    decorators: dict[str, Callable[[Any], Any]] = {
        "open": lambda fn: fn,
        "protected": qje.jwt_required,
        "optional": qje.jwt_optional,
        "fresh": qje.fresh_jwt_required,
        "refresh": qje.jwt_refresh_token_required,
    }
    for name, decorate in decorators.items():
        app.add_url_rule(f"/watch/{name}", name + "_watch", decorate(view), methods=["GET"])
    return app, noted


@pytest.mark.parametrize("kind", ["protected", "optional", "fresh"])
async def test_protected_view_reads_all_of_its_token(kind: str) -> None:
    app, noted = watched_app()
    manager_of(app).user_loader_callback_loader(lambda identity: {"name": identity})
    response = await app.test_client().get(f"/watch/{kind}", headers=bearer(TOKEN))
    assert response.status_code == 200
    assert noted == [["alice", {"role": "admin"}, CLAIMS, HEADER, {"name": "alice"}]]


async def test_refresh_view_reads_all_of_its_token() -> None:
    app, noted = watched_app()
    manager_of(app).user_loader_callback_loader(lambda identity: {"name": identity})
    claims = refresh_claims(user_claims={"role": "admin"})
    headers = bearer(hs_token(claims, header=HEADER))
    response = await app.test_client().get("/watch/refresh", headers=headers)
    assert response.status_code == 200
    assert noted == [["alice", {"role": "admin"}, claims, HEADER, {"name": "alice"}]]


async def test_missing_optional_claims_are_read_with_their_defaults() -> None:
    app, noted = watched_app()
    token = hs_token({"identity": "alice"})
    await app.test_client().get("/watch/protected", headers=bearer(token))
    raw = {
        "identity": "alice",
        "jti": None,
        "type": "access",
        "fresh": False,
        "user_claims": {},
    }
    assert noted == [["alice", {}, raw, {"typ": "JWT", "alg": "HS256"}, None]]


async def test_own_claim_names_are_read() -> None:
    app, noted = watched_app(JWT_IDENTITY_CLAIM="sub", JWT_USER_CLAIMS="extra")
    claims = access_claims(identity="not this", sub="bob", user_claims="nor this", extra={"a": 1})
    await app.test_client().get("/watch/protected", headers=bearer(hs_token(claims)))
    assert noted[0][:3] == ["bob", {"a": 1}, claims]


@pytest.mark.parametrize("identity", ["", 0, False, None, [], {"id": 1}], ids=repr)
async def test_identity_of_any_type_is_read_as_it_is(identity: Any) -> None:
    app, noted = watched_app()
    token = hs_token(access_claims(identity=identity))
    response = await app.test_client().get("/watch/protected", headers=bearer(token))
    assert response.status_code == 200
    assert noted[0][0] == identity
    assert type(noted[0][0]) is type(identity)


@pytest.mark.parametrize(
    ("kind", "headers"), [("open", {}), ("open", bearer(TOKEN)), ("optional", {})]
)
async def test_view_without_a_verified_token_reads_nothing(
    kind: str, headers: dict[str, str]
) -> None:
    app, noted = watched_app()
    manager_of(app).user_loader_callback_loader(lambda identity: {"name": identity})
    response = await app.test_client().get(f"/watch/{kind}", headers=headers)
    assert response.status_code == 200
    assert noted == [ANONYMOUS]


async def test_app_context_without_a_request_reads_nothing(app: Quart) -> None:
    async with app.app_context():
        assert readings() == ANONYMOUS
        assert not qje.current_user


async def test_test_request_context_reads_nothing_until_verified(app: Quart) -> None:
    async with app.test_request_context("/", headers=bearer(TOKEN)):
        assert readings() == ANONYMOUS
        await qje.verify_jwt_in_request()
        assert readings() == ["alice", {"role": "admin"}, CLAIMS, HEADER, None]
    async with app.test_request_context("/", headers=bearer(TOKEN)):
        assert readings() == ANONYMOUS


@pytest.mark.parametrize(
    "reader",
    [*READERS, qje.get_jwt, qje.get_jwt_header, qje.get_jwt_request_location],
    ids=lambda reader: reader.__name__,
)
def test_reading_outside_any_context_raises_runtime_error(reader: Callable[[], Any]) -> None:
    """As in 0.1.0: silence here would hide that the caller is in the wrong place."""
    with pytest.raises(RuntimeError, match="context"):
        reader()


def test_current_user_outside_any_context_is_unbound() -> None:
    """As any proxy of Quart: false, and of no further use."""
    assert not qje.current_user
    assert repr(qje.current_user) == "<LocalProxy unbound>"
    with pytest.raises(RuntimeError, match="context"):
        qje.current_user.name  # noqa: B018


async def test_current_user_stands_for_the_loaded_user(app: Quart) -> None:
    class User:
        def __init__(self, name: str) -> None:
            self.name = name
            self.visits = 0

        def greet(self, word: str) -> str:
            return f"{word} {self.name}"

    users = {"alice": User("alice")}
    manager_of(app).user_loader_callback_loader(users.get)

    @app.get("/greet")
    @qje.jwt_required
    async def greet() -> dict[str, Any]:
        qje.current_user.visits += 1
        return {
            "greeting": qje.current_user.greet("hello"),
            "same": qje.current_user._get_current_object() is users["alice"],
            "got": qje.get_current_user() is users["alice"],
            "true": bool(qje.current_user),
            "instance": isinstance(qje.current_user, User),
        }

    response = await app.test_client().get("/greet", headers=bearer(TOKEN))
    assert await response.get_json() == {
        "greeting": "hello alice",
        "same": True,
        "got": True,
        "true": True,
        "instance": True,
    }
    assert users["alice"].visits == 1


async def test_current_user_is_none_without_a_loader(app: Quart) -> None:
    noted = []

    @app.get("/who")
    @qje.jwt_required
    async def who() -> str:
        noted.append((qje.get_current_user(), qje.current_user == None, bool(qje.current_user)))  # noqa: E711
        return ""

    await app.test_client().get("/who", headers=bearer(TOKEN))
    assert noted == [(None, True, False)]


async def test_changes_to_the_claims_last_for_the_request_only(app: Quart) -> None:
    for _ in range(2):
        async with app.test_request_context("/", headers=bearer(TOKEN)):
            await qje.verify_jwt_in_request()
            assert (qje.get_raw_jwt(), qje.get_jwt_claims()) == (CLAIMS, {"role": "admin"})
            qje.get_raw_jwt()["noted"] = True
            qje.get_jwt_claims()["role"] = "root"
            changed = {**CLAIMS, "noted": True, "user_claims": {"role": "root"}}
            assert (qje.get_raw_jwt(), qje.get_jwt_claims()) == (changed, {"role": "root"})


async def test_changes_to_the_header_do_not_reach_the_next_request(app: Quart) -> None:
    """Headers repeat from token to token, so what is remembered of one must not be handed out."""
    header = {**HEADER, "x": {"deep": [1]}}
    headers = bearer(hs_token(CLAIMS, header=header))
    for _ in range(3):
        async with app.test_request_context("/", headers=headers):
            await qje.verify_jwt_in_request()
            assert qje.get_raw_jwt_header() == {**HEADER, "x": {"deep": [1]}}
            qje.get_raw_jwt_header()["kid"] = "2"
            qje.get_raw_jwt_header()["x"]["deep"].append(2)


async def test_changes_to_the_empty_answers_reach_nobody(app: Quart) -> None:
    for _ in range(2):
        async with app.test_request_context("/"):
            assert readings() == ANONYMOUS
            qje.get_raw_jwt()["identity"] = "mallory"
            qje.get_jwt_claims()["role"] = "admin"
            qje.get_raw_jwt_header()["kid"] = "1"


async def test_defaults_changed_by_one_request_do_not_reach_the_next(app: Quart) -> None:
    headers = bearer(hs_token({"identity": "alice"}))
    for _ in range(2):
        async with app.test_request_context("/", headers=headers):
            await qje.verify_jwt_in_request()
            assert qje.get_jwt_claims() == {}
            qje.get_jwt_claims()["role"] = "admin"


async def test_last_verification_in_a_request_is_the_one_that_is_read() -> None:
    """An access token in one location, a refresh token in another, both verified."""
    app = make_app(JWT_TOKEN_LOCATION="json")
    manager_of(app).user_loader_callback_loader(lambda identity: {"name": identity})
    body = {
        "access_token": hs_token(access_claims(identity="alice")),
        "refresh_token": hs_token(refresh_claims(identity="bob")),
    }
    async with app.test_request_context("/", method="POST", json=body):
        await qje.verify_jwt_in_request()
        assert (qje.get_jwt_identity(), qje.get_current_user()) == ("alice", {"name": "alice"})
        await qje.verify_jwt_refresh_token_in_request()
        assert (qje.get_jwt_identity(), qje.get_current_user()) == ("bob", {"name": "bob"})


async def test_user_of_an_earlier_verification_does_not_outlive_it() -> None:
    """A second token whose user cannot be loaded must not be served as the first one's user."""
    app = make_app(JWT_TOKEN_LOCATION="json")
    users = {"alice": {"name": "alice"}}
    manager_of(app).user_loader_callback_loader(users.get)
    body = {
        "access_token": hs_token(access_claims(identity="alice")),
        "refresh_token": hs_token(refresh_claims(identity="bob")),
    }
    async with app.test_request_context("/", method="POST", json=body):
        await qje.verify_jwt_in_request()
        with pytest.raises(UserLoadError):
            await qje.verify_jwt_refresh_token_in_request()
        assert (qje.get_jwt_identity(), qje.get_current_user()) in [
            ("alice", {"name": "alice"}),
            ("bob", None),
        ]


async def test_application_data_on_g_is_left_alone(app: Quart) -> None:
    @app.before_request
    async def mark() -> None:
        g.mine = "kept"

    @app.get("/g")
    @qje.jwt_required
    async def read() -> dict[str, Any]:
        return {"mine": g.mine, "identity": qje.get_jwt_identity()}

    response = await app.test_client().get("/g", headers=bearer(TOKEN))
    assert await response.get_json() == {"mine": "kept", "identity": "alice"}


async def test_request_is_readable_in_after_request_and_teardown(app: Quart) -> None:
    noted = []

    @app.after_request
    async def after(response: Any) -> Any:
        noted.append(("after", qje.get_jwt_identity()))
        return response

    @app.teardown_request
    async def teardown(error: Any) -> None:
        noted.append(("teardown", qje.get_jwt_identity()))

    await app.test_client().get("/protected", headers=bearer(TOKEN))
    assert noted == [("after", "alice"), ("teardown", "alice")]


def refuse_revoked(manager: qje.JWTManager) -> None:
    manager.token_in_blacklist_loader(lambda claims: True)


def refuse_claims(manager: qje.JWTManager) -> None:
    manager.claims_verification_loader(lambda claims: False)


def refuse_user(manager: qje.JWTManager) -> None:
    manager.user_loader_callback_loader(lambda identity: None)


# Per failure: the loader, how to bring it about, and the changes that the token needs.
FAILURES: dict[str, tuple[str, Callable[[qje.JWTManager], None], dict[str, Any]]] = {
    "expired": ("expired_token_loader", lambda manager: None, {"exp": LONG_AGO}),
    "type": ("invalid_token_loader", lambda manager: None, {"type": "refresh", "fresh": ...}),
    "revoked": ("revoked_token_loader", refuse_revoked, {}),
    "not fresh": ("needs_fresh_token_loader", lambda manager: None, {"fresh": False}),
    "claims": ("claims_verification_failed_loader", refuse_claims, {}),
    "user": ("user_loader_error_loader", refuse_user, {}),
}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("failure", FAILURES)
async def test_error_callback_reads_the_refused_token(failure: str, is_async: bool) -> None:
    loader, refuse, changes = FAILURES[failure]
    claims = access_claims(**{**CLAIMS, **changes})
    app = make_app(JWT_BLACKLIST_ENABLED=failure == "revoked")
    manager = manager_of(app)
    refuse(manager)
    noted = []

    def answer(*arguments: Any) -> Any:
        noted.append(readings())
        return {"refused": failure}, 418

    async def answer_async(*arguments: Any) -> Any:
        return answer(*arguments)

    getattr(manager, loader)(answer_async if is_async else answer)
    headers = bearer(hs_token(claims, header=HEADER))
    response = await app.test_client().get("/fresh", headers=headers)
    assert (response.status_code, await response.get_json()) == (418, {"refused": failure})
    assert noted == [["alice", {"role": "admin"}, claims, HEADER, None]]
    assert app.calls == []


@pytest.mark.parametrize(
    ("verify", "claims", "raised"),
    [
        (qje.verify_jwt_in_request, access_claims(exp=LONG_AGO), jwt.ExpiredSignatureError),
        (
            qje.verify_jwt_in_request_optional,
            access_claims(exp=LONG_AGO),
            jwt.ExpiredSignatureError,
        ),
        (qje.verify_jwt_in_request, access_claims(jti="revoked"), RevokedTokenError),
        (qje.verify_jwt_in_request, refresh_claims(), WrongTokenError),
        (qje.verify_jwt_refresh_token_in_request, access_claims(), WrongTokenError),
    ],
)
async def test_caught_refusal_leaves_the_request_anonymous(
    verify: Callable[[], Any], claims: dict[str, Any], raised: type[Exception]
) -> None:
    """Code that goes on without a token must not see the identity in the one that was refused."""
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    manager_of(app).token_in_blacklist_loader(lambda claims: claims["jti"] == "revoked")
    async with app.test_request_context("/", headers=bearer(hs_token(claims))):
        with pytest.raises(raised):
            await verify()
        assert readings() == ANONYMOUS


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        ("not fresh", FreshTokenRequired),
        ("claims", UserClaimsVerificationError),
        ("user", UserLoadError),
    ],
)
async def test_caught_refusal_of_a_stored_token_leaves_nothing_readable(
    app: Quart, failure: str, raised: type[Exception]
) -> None:
    """The token is stored before freshness, claims and user are checked, as in 0.1.0."""
    _, refuse, changes = FAILURES[failure]
    refuse(manager_of(app))
    headers = bearer(hs_token({**CLAIMS, **changes}))
    async with app.test_request_context("/", headers=headers):
        with pytest.raises(raised):
            await qje.verify_fresh_jwt_in_request()
        assert readings() == ANONYMOUS


async def test_cancelled_verification_leaves_nothing_readable(app: Quart) -> None:
    started = asyncio.Event()

    async def load(identity: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    manager_of(app).user_loader_callback_loader(load)
    async with app.test_request_context("/", headers=bearer(hs_token(CLAIMS))):
        verifying = asyncio.ensure_future(qje.verify_jwt_in_request())
        await started.wait()
        assert qje.get_jwt_identity() == "alice"
        verifying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await verifying
        assert readings() == ANONYMOUS


async def test_failed_verification_leaves_the_token_of_the_one_before(app: Quart) -> None:
    headers = bearer(hs_token(CLAIMS))
    async with app.test_request_context("/", headers=headers):
        await qje.verify_jwt_in_request()
        before = readings()
        assert before[0] == "alice"
        with pytest.raises(WrongTokenError):
            await qje.verify_jwt_refresh_token_in_request()
        assert readings() == before


async def test_exception_raised_again_without_a_token_shows_none(app: Quart) -> None:
    """A loader may raise one object for every request."""
    error = UserLoadError("there is none")
    noted = []

    def load(identity: Any) -> Any:
        raise error

    manager_of(app).user_loader_callback_loader(load)

    @manager_of(app).user_loader_error_loader
    def answer(identity: Any) -> Any:
        noted.append(identity)
        return {}, 401

    @app.get("/again")
    async def again() -> Any:
        raise error

    await app.test_client().get("/protected", headers=bearer(hs_token(CLAIMS)))
    await app.test_client().get("/again")
    assert noted == ["alice", None]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_user_loader_reads_the_token_and_no_user_yet(app: Quart, is_async: bool) -> None:
    noted = []

    def load(identity: Any) -> Any:
        noted.append(readings())
        return {"name": identity}

    manager_of(app).user_loader_callback_loader(in_form(load, is_async))
    response = await app.test_client().get("/protected", headers=bearer(TOKEN))
    assert response.status_code == 200
    assert noted == [["alice", {"role": "admin"}, CLAIMS, HEADER, None]]


async def test_claims_verification_reads_the_identity(app: Quart) -> None:
    noted = []
    manager_of(app).claims_verification_loader(
        lambda claims: noted.append((claims, qje.get_jwt_identity())) or True
    )
    await app.test_client().get("/protected", headers=bearer(TOKEN))
    assert noted == [({"role": "admin"}, "alice")]


async def test_revocation_check_reads_no_identity_yet() -> None:
    """The order of a request: the token is stored once it is known not to be revoked."""
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    noted = []
    manager_of(app).token_in_blacklist_loader(
        lambda claims: noted.append((claims["identity"], qje.get_jwt_identity())) or False
    )
    response = await app.test_client().get("/protected", headers=bearer(TOKEN))
    assert response.status_code == 200
    assert noted == [("alice", None)]


async def test_request_of_one_app_is_not_current_in_the_context_of_another() -> None:
    """A view may enter the app context of another app, whose identity this is not."""
    app, other = make_app(), make_app()

    @app.get("/across")
    @qje.jwt_required
    async def across() -> dict[str, Any]:
        async with other.app_context():
            within = (qje.get_jwt_identity(), qje.get_raw_jwt())
            with pytest.raises(RuntimeError, match="Not within a request"):
                await qje.verify_jwt_in_request()
        return {"within": within, "after": qje.get_jwt_identity()}

    response = await app.test_client().get("/across", headers=bearer(hs_token(access_claims())))
    assert await response.get_json() == {"within": [None, {}], "after": "alice"}


# --- get_jwt, get_jwt_header, get_jwt_request_location -------------------------

getters = pytest.mark.parametrize(
    "getter", [qje.get_jwt, qje.get_jwt_header], ids=lambda getter: getter.__name__
)


async def test_get_jwt_gives_the_claims_and_get_jwt_header_the_header(app: Quart) -> None:
    async with app.test_request_context("/", headers=bearer(TOKEN)):
        await qje.verify_jwt_in_request()
        assert (qje.get_jwt(), qje.get_jwt_header()) == (CLAIMS, HEADER)
        assert qje.get_jwt_request_location() == "headers"


@pytest.mark.parametrize("path", ["/protected", "/optional", "/fresh", "/refresh"])
async def test_getters_work_under_every_decorator(app: Quart, path: str) -> None:
    seen: list[Any] = []

    @app.after_request
    async def look(response: Any) -> Any:
        seen.append((qje.get_jwt()["identity"], qje.get_jwt_header(), response.status_code))
        return response

    claims = refresh_claims() if path == "/refresh" else CLAIMS
    await ask(app, path, hs_token(claims, header=HEADER))
    assert seen == [("alice", HEADER, 200)]


@getters
async def test_getter_gives_nothing_where_the_request_was_let_in_without_a_token(
    app: Quart, getter: Any
) -> None:
    async with app.test_request_context("/"):
        await qje.verify_jwt_in_request(optional=True)
        assert getter() == {}
        assert qje.get_jwt_request_location() is None


@getters
async def test_getter_names_itself_where_no_token_was_verified(app: Quart, getter: Any) -> None:
    def check() -> None:
        with pytest.raises(RuntimeError, match=rf"\b{getter.__name__}\(\)"):
            getter()
        assert qje.get_jwt_request_location() is None

    async with app.app_context():
        check()
    async with app.test_request_context("/", headers=bearer(TOKEN)):
        check()
    async with app.test_request_context("/", method="OPTIONS", headers=bearer(TOKEN)):
        await qje.verify_jwt_in_request()
        check()
    async with app.test_request_context("/", headers=bearer(hs_token(access_claims(exp=1)))):
        with pytest.raises(jwt.ExpiredSignatureError):
            await qje.verify_jwt_in_request()
        check()


# --- Rejected requests, and what runs after them -----------------------------------------------


async def test_recipe_of_sliding_cookies_sends_no_token_to_a_rejected_user() -> None:
    """The recipe of Flask-JWT-Extended: an after_request hook renews what is about to expire."""
    app = make_app(JWT_TOKEN_LOCATION=["cookies"], JWT_COOKIE_CSRF_PROTECT=False)
    manager_of(app).user_lookup_loader(
        lambda header, claims: None if claims["identity"] == "deleted" else "user"
    )
    manager_of(app).claims_verification_loader(lambda claims: "banned" not in claims)

    @app.after_request
    async def renew(response: Any) -> Any:
        try:
            identity = qje.get_jwt()["identity"]
        except (KeyError, RuntimeError):
            return response
        qje.set_access_cookies(response, qje.create_access_token(identity))
        return response

    for path, changes, renews in (
        ("/protected", {}, True),
        ("/protected", {"identity": "deleted"}, False),
        ("/protected", {"user_claims": {"banned": True}}, False),
        ("/protected", {"exp": 1}, False),
        ("/fresh", {}, False),
        ("/optional", {"identity": "deleted"}, False),
        ("/open", {}, False),
    ):
        cookie = {"Cookie": f"access_token_cookie={hs_token(access_claims(**changes))}"}
        response = await app.test_client(use_cookies=False).get(path, headers=cookie)
        assert ("Set-Cookie" in response.headers) is renews, (path, changes)


async def test_failure_leaves_what_another_verification_stored_meanwhile() -> None:
    app = make_app(JWT_TOKEN_LOCATION=["headers", "query_string"])
    release = asyncio.Event()

    @manager_of(app).token_in_blocklist_loader
    async def is_revoked(header: Any, claims: dict[str, Any]) -> bool:
        if claims["identity"] == "slow":
            await release.wait()
            return True
        return False

    @app.get("/both")
    async def both() -> dict[str, Any]:
        slow = asyncio.ensure_future(qje.verify_jwt_in_request(locations="query_string"))
        await asyncio.sleep(0)
        await qje.verify_jwt_in_request(locations="headers")
        release.set()
        with pytest.raises(qje.RevokedTokenError):
            await slow
        return {"identity": qje.get_jwt_identity()}

    slow = hs_token(access_claims(identity="slow"))
    answer = await ask(app, "/both", access_claims(), query_string={"jwt": slow})
    assert answer == (200, {"identity": "alice"})


async def test_verifications_that_fail_together_leave_nobody() -> None:
    app = make_app(JWT_TOKEN_LOCATION=["headers", "query_string"])

    @manager_of(app).user_lookup_loader
    async def load(header: Any, claims: dict[str, Any]) -> Any:
        await asyncio.sleep(0.01 if claims["identity"] == "slow" else 0)
        return None

    @app.get("/both")
    async def both() -> dict[str, Any]:
        results = await asyncio.gather(
            qje.verify_jwt_in_request(locations="headers"),
            qje.verify_jwt_in_request(locations="query_string"),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [UserLoadError, UserLoadError]
        return {"identity": qje.get_jwt_identity()}

    for first, second in (("slow", "quick"), ("quick", "slow")):
        query = {"jwt": hs_token(access_claims(identity=second))}
        answer = await ask(app, "/both", access_claims(identity=first), query_string=query)
        assert answer == (200, {"identity": None})


# --- Background tasks ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_background_task_has_the_identity_of_its_request(kind: str) -> None:
    """Under each Quart; 0.23 gives the task an app context of its own."""
    app = make_app()
    seen: list[Any] = []
    done = asyncio.Event()

    def note() -> None:
        seen.append((qje.get_jwt_identity(), qje.get_jwt()["identity"]))

    async def task() -> None:
        await asyncio.sleep(0.01)
        note()
        async with app.app_context():
            note()
        done.set()

    def plain() -> None:
        note()

    @app.get("/start")
    @qje.jwt_required
    async def start() -> str:
        app.add_background_task(task if kind == "coroutine" else plain)
        return ""

    async with app.test_app():
        assert (await ask(app, "/start", access_claims()))[0] == 200
        if kind == "coroutine":
            await done.wait()
    assert seen == [("alice", "alice")] * (2 if kind == "coroutine" else 1)


async def test_app_context_of_another_app_in_a_request_has_no_identity() -> None:
    app, other = make_app(), make_app()

    @app.get("/other")
    @qje.jwt_required
    async def inside() -> dict[str, Any]:
        async with other.app_context():
            return {"identity": qje.get_jwt_identity()}

    assert await ask(app, "/other", access_claims()) == (200, {"identity": None})
