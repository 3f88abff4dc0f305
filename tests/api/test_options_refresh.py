"""A change in ``app.config`` takes effect on the next request, in whatever way it was made.

``test_options.py`` shows for each option what a change does; here it is how, when and by whom the
change is made.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt
import pytest
from quart import Config, Quart, got_request_exception

import quart_jwt_extended as qje
from quart_jwt_extended.config import config
from support import SECRET, access_claims, bearer, hs_token, make_app

OTHER = "another secret of the test suite, which is just as long as the first, 9876543210"
TOKEN = hs_token(access_claims())
OTHER_TOKEN = hs_token(access_claims(), secret=OTHER)
OPTION = "JWT_SECRET_KEY"


async def status(
    app: Quart, token: str = TOKEN, path: str = "/protected", headers: Any = None
) -> int:
    """The status of the answer; an exception behind a 500 comes out as it is."""
    raised: list[Exception] = []

    def keep(sender: Quart, exception: Exception, **_: Any) -> None:
        raised.append(exception)

    with got_request_exception.connected_to(keep, app):
        response = await app.test_client().get(path, headers=headers or bearer(token))
    if raised:
        raise raised[0]
    return response.status_code


async def judged(app: Quart) -> tuple[int, int]:
    """The answers to the tokens of both secrets."""
    return await status(app), await status(app, OTHER_TOKEN)


FIRST, SECOND = (200, 422), (422, 200)


# --- The ways to change an option ---------------------------------------------


def by_item(app: Quart, name: str, value: Any) -> None:
    app.config[name] = value


def by_update(app: Quart, name: str, value: Any) -> None:
    app.config.update({name: value})


def by_update_of_keywords(app: Quart, name: str, value: Any) -> None:
    app.config.update(**{name: value})


def by_setdefault_after_del(app: Quart, name: str, value: Any) -> None:
    del app.config[name]
    assert app.config.setdefault(name, value) is value


def by_item_after_pop(app: Quart, name: str, value: Any) -> None:
    app.config.pop(name)
    app.config[name] = value


def by_union(app: Quart, name: str, value: Any) -> None:
    app.config |= {name: value}


def by_new_union(app: Quart, name: str, value: Any) -> None:
    """A plain dict takes the place of the Config."""
    app.config = app.config | {name: value}  # type: ignore[assignment]


def by_mapping(app: Quart, name: str, value: Any) -> None:
    app.config.from_mapping({name: value})


def by_object(app: Quart, name: str, value: Any) -> None:
    app.config.from_object(type("Settings", (), {name: value}))


def by_clear(app: Quart, name: str, value: Any) -> None:
    everything = {**app.config, name: value}
    app.config.clear()
    app.config.update(everything)


def by_popitem(app: Quart, name: str, value: Any) -> None:
    everything = {**app.config, name: value}
    while app.config:
        app.config.popitem()
    app.config.update(everything)


def by_new_config(app: Quart, name: str, value: Any) -> None:
    app.config = Config(app.root_path, {**app.config, name: value})


def by_copy(app: Quart, name: str, value: Any) -> None:
    changed = app.config.copy()
    changed[name] = value
    app.config = changed  # type: ignore[assignment]


def by_deletion_and_init_app(app: Quart, name: str, value: Any) -> None:
    del app.config[name]
    qje.JWTManager(app)
    app.config[name] = value


def past_the_config(app: Quart, name: str, value: Any) -> None:
    """No method of a subclass of dict is called."""
    dict.__setitem__(app.config, name, value)


def by_update_past_the_config(app: Quart, name: str, value: Any) -> None:
    dict.update(app.config, {name: value})


def by_deletion_past_the_config(app: Quart, name: str, value: Any) -> None:
    dict.__delitem__(app.config, name)
    dict.setdefault(app.config, name, value)


def by_thread(app: Quart, name: str, value: Any) -> None:
    thread = threading.Thread(target=by_item, args=(app, name, value))
    thread.start()
    thread.join()


WAYS: list[Callable[[Quart, str, Any], None]] = [
    by_item,
    by_update,
    by_update_of_keywords,
    by_setdefault_after_del,
    by_item_after_pop,
    by_union,
    by_new_union,
    by_mapping,
    by_object,
    by_clear,
    by_popitem,
    by_new_config,
    by_copy,
    by_deletion_and_init_app,
    past_the_config,
    by_update_past_the_config,
    by_deletion_past_the_config,
    by_thread,
]
every_way = pytest.mark.parametrize("change", WAYS, ids=lambda way: way.__name__)


@every_way
async def test_change_of_the_secret_takes_effect_on_the_next_request(
    change: Callable[[Quart, str, Any], None],
) -> None:
    app = make_app()
    for value, expected in [(OTHER, SECOND), (SECRET, FIRST), (OTHER, SECOND)]:
        change(app, OPTION, value)
        assert await judged(app) == expected
        async with app.app_context():
            jwt.decode(qje.create_access_token("a"), value, algorithms=["HS256"])


class Property(NamedTuple):
    """An option, a value for it, and the property of ``config`` that shows what is in force."""

    option: str
    value: Any
    name: str
    shown: Any


COOKIES = ("headers", "cookies")
ADDED = datetime.timedelta(seconds=5)
PROPERTIES = [
    Property("JWT_TOKEN_LOCATION", ["json", "headers"], "token_location", ("json", "headers")),
    Property("JWT_HEADER_NAME", "X-Token", "header_name", "X-Token"),
    Property("JWT_HEADER_TYPE", "Token", "header_type", "Token"),
    Property("JWT_QUERY_STRING_NAME", "t", "query_string_name", "t"),
    Property("JWT_ACCESS_COOKIE_NAME", "a", "access_cookie_name", "a"),
    Property("JWT_REFRESH_COOKIE_NAME", "r", "refresh_cookie_name", "r"),
    Property("JWT_ACCESS_COOKIE_PATH", "/a", "access_cookie_path", "/a"),
    Property("JWT_REFRESH_COOKIE_PATH", "/r", "refresh_cookie_path", "/r"),
    Property("JWT_COOKIE_SECURE", True, "cookie_secure", True),
    Property("JWT_COOKIE_DOMAIN", "example.com", "cookie_domain", "example.com"),
    Property("JWT_SESSION_COOKIE", False, "session_cookie", False),
    Property("JWT_COOKIE_SAMESITE", "Lax", "cookie_samesite", "Lax"),
    Property("JWT_JSON_KEY", "a", "json_key", "a"),
    Property("JWT_REFRESH_JSON_KEY", "r", "refresh_json_key", "r"),
    Property("JWT_COOKIE_CSRF_PROTECT", False, "csrf_protect", False),
    Property("JWT_CSRF_METHODS", ["GET"], "csrf_request_methods", ("GET",)),
    Property("JWT_CSRF_IN_COOKIES", False, "csrf_in_cookies", False),
    Property("JWT_ACCESS_CSRF_HEADER_NAME", "X-A", "access_csrf_header_name", "X-A"),
    Property("JWT_REFRESH_CSRF_HEADER_NAME", "X-R", "refresh_csrf_header_name", "X-R"),
    Property("JWT_ACCESS_CSRF_COOKIE_NAME", "ca", "access_csrf_cookie_name", "ca"),
    Property("JWT_REFRESH_CSRF_COOKIE_NAME", "cr", "refresh_csrf_cookie_name", "cr"),
    Property("JWT_ACCESS_CSRF_COOKIE_PATH", "/ca", "access_csrf_cookie_path", "/ca"),
    Property("JWT_REFRESH_CSRF_COOKIE_PATH", "/cr", "refresh_csrf_cookie_path", "/cr"),
    Property("JWT_CSRF_CHECK_FORM", True, "csrf_check_form", True),
    Property("JWT_ACCESS_CSRF_FIELD_NAME", "fa", "access_csrf_field_name", "fa"),
    Property("JWT_REFRESH_CSRF_FIELD_NAME", "fr", "refresh_csrf_field_name", "fr"),
    Property("JWT_ACCESS_TOKEN_EXPIRES", ADDED, "access_expires", ADDED),
    Property("JWT_REFRESH_TOKEN_EXPIRES", ADDED, "refresh_expires", ADDED),
    Property("JWT_ALGORITHM", "HS512", "algorithm", "HS512"),
    Property("JWT_DECODE_ALGORITHMS", ["HS512"], "decode_algorithms", ("HS512", "HS256")),
    Property("JWT_SECRET_KEY", OTHER, "decode_key", OTHER),
    Property("JWT_IDENTITY_CLAIM", "sub", "identity_claim_key", "sub"),
    Property("JWT_USER_CLAIMS", "extra", "user_claims_key", "extra"),
    Property("JWT_CLAIMS_IN_REFRESH_TOKEN", True, "user_claims_in_refresh_token", True),
    Property("JWT_ENCODE_ISSUER", "us", "encode_issuer", "us"),
    Property("JWT_DECODE_ISSUER", "us", "decode_issuer", "us"),
    Property("JWT_DECODE_AUDIENCE", "us", "audience", "us"),
    Property("JWT_DECODE_LEEWAY", 7, "leeway", 7),
    Property("JWT_BLACKLIST_ENABLED", True, "blacklist_enabled", True),
    Property("JWT_BLACKLIST_TOKEN_CHECKS", ["access"], "blacklist_checks", ("access",)),
    Property("JWT_ERROR_MESSAGE_KEY", "error", "error_msg_key", "error"),
]


def comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


@every_way
async def test_change_of_any_option_is_seen_and_taken_back(
    change: Callable[[Quart, str, Any], None],
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=COOKIES)
    async with app.app_context():
        for row in PROPERTIES:
            original = app.config[row.option]
            before = comparable(getattr(config, row.name))
            assert before != row.shown
            change(app, row.option, row.value)
            assert comparable(getattr(config, row.name)) == row.shown, row.option
            change(app, row.option, original)
            assert comparable(getattr(config, row.name)) == before, row.option


async def test_last_of_many_changes_is_in_force_for_every_option() -> None:
    """No number of changes between two looks makes one of them go unseen."""
    app = make_app(JWT_TOKEN_LOCATION=COOKIES)
    async with app.app_context():
        for row in PROPERTIES:
            original = app.config[row.option]
            for changes in (1, 2, 3, 255, 256, 257):
                for number in range(changes):
                    app.config[row.option] = (row.value, original)[number % 2]
                assert (comparable(getattr(config, row.name)) == row.shown) == (changes % 2 == 1)
                app.config[row.option] = original
                assert comparable(getattr(config, row.name)) != row.shown


async def test_options_without_a_property_are_seen_too() -> None:
    app = make_app(JWT_IDENTITY_CLAIM="sub")
    number = hs_token(access_claims(identity=..., sub=5))
    for _ in range(3):
        assert await status(app, number) == 422
        app.config["JWT_VERIFY_SUB"] = False
        assert await status(app, number) == 200
        app.config["JWT_MAX_TOKEN_SIZE"] = 10
        assert await status(app, number) == 422
        app.config["JWT_MAX_TOKEN_SIZE"] = len(number)
        assert await status(app, number) == 200
        app.config["JWT_VERIFY_SUB"] = True
    app.config["JWT_CSRF_HEADER_NAME"] = "X-Old"
    with pytest.warns(DeprecationWarning, match="JWT_CSRF_HEADER_NAME"):
        async with app.app_context():
            assert config.access_csrf_header_name == "X-Old"


# --- Removal ------------------------------------------------------------------


def removed_by_del(app: Quart, name: str) -> None:
    del app.config[name]


def removed_by_pop(app: Quart, name: str) -> None:
    app.config.pop(name)


def removed_by_new_config(app: Quart, name: str) -> None:
    kept = {key: value for key, value in app.config.items() if key != name}
    app.config = Config(app.root_path, kept)


def removed_past_the_config(app: Quart, name: str) -> None:
    dict.pop(app.config, name)


@pytest.mark.parametrize(
    "remove",
    [removed_by_del, removed_by_pop, removed_by_new_config, removed_past_the_config],
    ids=lambda way: way.__name__,
)
async def test_removed_option_has_its_default_on_the_next_request(
    remove: Callable[[Quart, str], None],
) -> None:
    app = make_app(JWT_HEADER_TYPE="Token", JWT_DECODE_AUDIENCE="us", SECRET_KEY=OTHER)
    ours = hs_token(access_claims(aud="us"))
    assert await status(app, headers={"Authorization": f"Token {ours}"}) == 200
    remove(app, "JWT_HEADER_TYPE")
    assert await status(app, ours) == 200
    remove(app, "JWT_DECODE_AUDIENCE")
    assert (await status(app, ours), await status(app)) == (422, 200)
    remove(app, OPTION)
    assert await judged(app) == SECOND
    app.config[OPTION] = SECRET
    assert await judged(app) == FIRST


async def test_option_removed_while_it_has_its_default_changes_nothing() -> None:
    app = make_app()
    async with app.app_context():
        for row in PROPERTIES:
            if row.option == OPTION:
                continue
            before = comparable(getattr(config, row.name))
            del app.config[row.option]
            assert comparable(getattr(config, row.name)) == before
    assert await judged(app) == FIRST


async def test_config_that_lost_everything_needs_a_secret_again() -> None:
    app = make_app()
    everything = dict(app.config)
    async with app.app_context():
        qje.decode_token(TOKEN)
        app.config.clear()
        with pytest.raises(RuntimeError, match="JWT_SECRET_KEY or SECRET_KEY must be set"):
            qje.decode_token(TOKEN)
        app.config["SECRET_KEY"] = SECRET
        assert qje.decode_token(TOKEN)["identity"] == "alice"
        app.config.update(everything)
        assert qje.decode_token(TOKEN)["identity"] == "alice"


async def test_secret_key_of_the_app_is_followed_while_it_is_the_fallback() -> None:
    app = make_app(JWT_SECRET_KEY=None, SECRET_KEY=SECRET)
    for _ in range(3):
        assert await judged(app) == FIRST
        app.config["SECRET_KEY"] = OTHER
        assert await judged(app) == SECOND
        app.config["JWT_SECRET_KEY"] = SECRET
        assert await judged(app) == FIRST
        app.config["SECRET_KEY"] = SECRET
        assert await judged(app) == FIRST
        app.config["JWT_SECRET_KEY"] = None
        app.secret_key = OTHER
        assert await judged(app) == SECOND
        # Not by a request: Quart's sessions fail without the key.
        del app.config["SECRET_KEY"]
        async with app.app_context():
            with pytest.raises(RuntimeError, match="JWT_SECRET_KEY or SECRET_KEY must be set"):
                qje.decode_token(TOKEN)
        app.secret_key = SECRET


# --- Values that can change in place ------------------------------------------

HS384 = hs_token(access_claims(), alg="HS384")
HS512 = hs_token(access_claims(), alg="HS512")


class OwnList(list):  # type: ignore[type-arg]
    """What a settings library may hand over."""


class OwnSet(set):  # type: ignore[type-arg]
    """What a settings library may hand over."""


@pytest.mark.parametrize("kind", [list, OwnList])
async def test_every_change_inside_a_list_takes_effect(kind: type) -> None:
    names = kind(["HS384"])
    app = make_app(JWT_DECODE_ALGORITHMS=names)

    async def accepted() -> tuple[bool, bool]:
        return await status(app, HS384) == 200, await status(app, HS512) == 200

    def exchange() -> None:
        names[0] = "HS512"

    def exchange_back() -> None:
        names[:] = ["HS384"]

    def grow() -> None:
        names.__iadd__(["HS512"])

    def delete() -> None:
        del names[0]

    steps: list[tuple[Callable[[], Any], tuple[bool, bool]]] = [
        (lambda: None, (True, False)),
        (exchange, (False, True)),
        (exchange_back, (True, False)),
        (grow, (True, True)),
        (delete, (False, True)),
        (lambda: names.insert(0, "HS384"), (True, True)),
        (names.reverse, (True, True)),
        (lambda: names.remove("HS512"), (True, False)),
        (lambda: names.append("HS512"), (True, True)),
        (lambda: names.pop(), (True, False)),
        (lambda: names.extend(["HS384", "HS384"]), (True, False)),
        (names.clear, (False, False)),
        (lambda: list.append(names, "HS512"), (False, True)),
    ]
    for step, expected in steps:
        step()
        assert await accepted() == expected
        assert await accepted() == expected
    assert app.config["JWT_DECODE_ALGORITHMS"] is names


@pytest.mark.parametrize("kind", [set, OwnSet])
async def test_every_change_inside_a_set_takes_effect(kind: type) -> None:
    names = kind({"HS384"})
    app = make_app(JWT_DECODE_ALGORITHMS=names)

    def swap() -> None:
        """As many members as before."""
        names.discard("HS384")
        names.add("HS512")

    steps: list[tuple[Callable[[], Any], tuple[int, int]]] = [
        (lambda: None, (200, 422)),
        (swap, (422, 200)),
        (lambda: names.add("HS384"), (200, 200)),
        (lambda: names.remove("HS512"), (200, 422)),
        (lambda: names.update({"HS512"}), (200, 200)),
        (lambda: names.__iand__({"HS512"}), (422, 200)),
        (lambda: names.__ixor__({"HS512", "HS384"}), (200, 422)),
        (names.clear, (422, 422)),
        (lambda: names.__ior__({"HS384"}), (200, 422)),
        (names.pop, (422, 422)),
    ]
    for step, expected in steps:
        step()
        assert (await status(app, HS384), await status(app, HS512)) == expected
    assert app.config["JWT_DECODE_ALGORITHMS"] is names


async def test_order_changed_inside_a_list_takes_effect() -> None:
    """The order of the locations is their precedence."""
    locations = ["headers", "query_string"]
    app = make_app(JWT_TOKEN_LOCATION=locations)
    for expected in (200, 422, 200, 422):
        assert await status(app, path="/protected?jwt=bad") == expected
        locations.reverse()
    locations.sort()
    assert await status(app, path="/protected?jwt=bad") == 200


async def test_changes_inside_two_lists_at_once_take_effect() -> None:
    audience, methods = ["them"], ["POST"]
    app = make_app(
        JWT_TOKEN_LOCATION="cookies", JWT_DECODE_AUDIENCE=audience, JWT_CSRF_METHODS=methods
    )
    headers = {"Cookie": f"access_token_cookie={hs_token(access_claims(aud='us', csrf='c'))}"}
    assert await status(app, headers=headers) == 422
    audience[0] = "us"
    assert await status(app, headers=headers) == 200
    methods[0] = "GET"
    assert await status(app, headers=headers) == 401
    audience[0], methods[0] = "them", "PUT"
    assert await status(app, headers=headers) == 422


async def test_default_list_changed_in_place_is_changed_in_its_own_app_alone() -> None:
    first, second = (make_app(JWT_TOKEN_LOCATION="cookies") for _ in range(2))
    headers = {"Cookie": f"access_token_cookie={hs_token(access_claims(csrf='c'))}"}
    first.config["JWT_CSRF_METHODS"].append("GET")
    assert await status(first, headers=headers) == 401
    assert await status(second, headers=headers) == 200
    assert await status(make_app(JWT_TOKEN_LOCATION="cookies"), headers=headers) == 200


async def test_list_exchanged_for_an_equal_one_is_followed_from_then_on() -> None:
    old, new = ["HS384"], ["HS384"]
    app = make_app(JWT_DECODE_ALGORITHMS=old)
    assert await status(app, HS384) == 200
    app.config["JWT_DECODE_ALGORITHMS"] = new
    assert await status(app, HS384) == 200
    old[0] = "HS512"
    assert (await status(app, HS384), await status(app, HS512)) == (200, 422)
    new[0] = "HS512"
    assert (await status(app, HS384), await status(app, HS512)) == (422, 200)
    app.config["JWT_DECODE_ALGORITHMS"] = tuple(new)
    new[0] = "HS384"
    assert (await status(app, HS384), await status(app, HS512)) == (422, 200)


# --- Values that are equal, but not the same ----------------------------------


async def test_equal_value_in_another_object_changes_nothing() -> None:
    app = make_app(JWT_DECODE_AUDIENCE=["us"], JWT_DECODE_LEEWAY=datetime.timedelta(seconds=5))
    token = hs_token(access_claims(aud="us"))
    for _ in range(3):
        assert await status(app, token) == 200
        app.config[OPTION] = SECRET.encode().decode()
        app.config["JWT_HEADER_TYPE"] = "".join(["Bear", "er"])
        app.config["JWT_DECODE_AUDIENCE"] = ["us"]
        app.config["JWT_DECODE_LEEWAY"] = datetime.timedelta(seconds=5)
        app.config["JWT_TOKEN_LOCATION"] = ["headers"]


async def test_lifetime_of_zero_is_not_false() -> None:
    """They are equal, but 0 seconds end at once and False never does."""
    app = make_app()
    async with app.app_context():
        for _ in range(3):
            for option, create in (
                ("JWT_ACCESS_TOKEN_EXPIRES", qje.create_access_token),
                ("JWT_REFRESH_TOKEN_EXPIRES", qje.create_refresh_token),
            ):
                app.config[option] = False
                assert "exp" not in qje.decode_token(create("a"))
                app.config[option] = 0
                claims = qje.decode_token(create("a"), allow_expired=True)
                assert claims["exp"] == claims["iat"]


@pytest.mark.parametrize(
    ("option", "good", "wrong"),
    [
        ("JWT_DECODE_LEEWAY", 1, True),
        ("JWT_DECODE_LEEWAY", 0, False),
        ("JWT_ACCESS_TOKEN_EXPIRES", 1, True),
        ("JWT_ACCESS_TOKEN_EXPIRES", 900, 900.0),
        ("JWT_MAX_TOKEN_SIZE", 16384, 16384.0),
        ("JWT_SIGNATURE_CACHE_SIZE", 1, True),
        ("JWT_SIGNATURE_CACHE_SIZE", 0, 0.0),
        ("JWT_DECODE_ALGORITHMS", ["HS256"], {"HS256": "HS256"}),
    ],
)
async def test_wrong_value_that_equals_the_good_one_is_refused(
    option: str, good: Any, wrong: Any
) -> None:
    app = make_app(**{option: good})
    for _ in range(3):
        assert await status(app) == 200
        app.config[option] = wrong
        with pytest.raises(RuntimeError, match=option):
            await status(app)
        app.config[option] = good


class Agreeable(str):
    """A string that calls itself equal to every other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


async def test_value_that_calls_itself_equal_to_all_others_is_a_change() -> None:
    app = make_app(JWT_ERROR_MESSAGE_KEY=Agreeable("one"))
    for name in ("one", "two", "three"):
        app.config["JWT_ERROR_MESSAGE_KEY"] = Agreeable(name)
        response = await app.test_client().get("/protected")
        assert list(json.loads(await response.get_data())) == [name]


class Incomparable:
    """A lifetime that, like an array of numpy, has no truth when it is compared."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __radd__(self, other: datetime.datetime) -> datetime.datetime:
        return other + datetime.timedelta(seconds=self.seconds)

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    __hash__ = None  # type: ignore[assignment]


async def test_value_that_cannot_be_compared_or_hashed_is_followed() -> None:
    app = make_app()
    async with app.app_context():
        for seconds in (100, 200, 300):
            app.config["JWT_ACCESS_TOKEN_EXPIRES"] = Incomparable(seconds)
            for _ in range(2):
                claims = qje.decode_token(qje.create_access_token("a"))
                assert claims["exp"] - claims["iat"] in (seconds, seconds + 1)


async def test_new_object_at_the_address_of_the_old_one_is_a_change() -> None:
    """An address is used again as soon as its object is gone; what is remembered must live on."""
    app = make_app()
    async with app.app_context():
        for number in range(1000):
            name = f"name{number}"
            app.config["JWT_ERROR_MESSAGE_KEY"] = name
            assert config.error_msg_key == f"name{number}"
            del name, app.config["JWT_ERROR_MESSAGE_KEY"]


# --- Moments ------------------------------------------------------------------


async def test_change_before_the_request_reaches_its_view_takes_effect() -> None:
    app = make_app()
    secrets = [OTHER, SECRET, OTHER]

    @app.before_request
    async def rotate() -> None:
        app.config[OPTION] = secrets.pop()

    assert [await status(app) for _ in range(3)] == [422, 200, 422]


async def test_change_between_two_verifications_of_one_request_takes_effect() -> None:
    app = make_app()
    seen = []

    @app.get("/twice")
    async def twice() -> dict[str, Any]:
        for secret in (SECRET, OTHER, SECRET, OTHER):
            app.config[OPTION] = secret
            try:
                await qje.verify_jwt_in_request()
                seen.append("accepted")
            except jwt.InvalidSignatureError:
                seen.append("refused")
        return {}

    assert await status(app, path="/twice") == 200
    assert seen == ["accepted", "refused"] * 2


async def test_change_after_a_verification_before_the_request_takes_effect_in_the_view() -> None:
    app = make_app()

    @app.before_request
    async def check_and_change() -> None:
        await qje.verify_jwt_in_request()
        app.config[OPTION] = OTHER

    assert await status(app) == 422
    assert app.calls == []


async def test_request_that_waits_goes_on_with_its_own_options() -> None:
    """As docs/options.md promises; the next one has the new options."""
    app = make_app(JWT_BLACKLIST_ENABLED=True)
    asked, go_on = asyncio.Event(), asyncio.Event()

    @app.extensions["quart-jwt-extended"].token_in_blacklist_loader
    async def is_revoked(claims: dict[str, Any]) -> bool:
        asked.set()
        await go_on.wait()
        return False

    app.config["JWT_IDENTITY_CLAIM"] = "sub"
    token = hs_token(access_claims(identity=..., sub="bob"))
    waiting = asyncio.ensure_future(
        app.test_client().get("/protected", headers=bearer(token)),
    )
    await asyncio.wait_for(asked.wait(), 10)
    app.config["JWT_IDENTITY_CLAIM"] = "identity"
    app.config[OPTION] = OTHER
    go_on.set()
    response = await asyncio.wait_for(waiting, 10)
    assert (await response.get_json())["identity"] == "bob"
    assert await judged(app) == SECOND


async def test_change_made_by_a_callback_takes_effect_on_the_next_request() -> None:
    app = make_app()

    @app.extensions["quart-jwt-extended"].user_loader_callback_loader
    def load(identity: str) -> str:
        app.config[OPTION] = OTHER
        return identity

    assert await status(app) == 200
    assert await status(app) == 422
    assert await status(app, OTHER_TOKEN) == 200


# --- Threads and applications -------------------------------------------------


async def test_change_in_another_thread_is_seen_at_once() -> None:
    app = make_app()
    for secret, expected in [(OTHER, SECOND), (SECRET, FIRST)] * 5:
        await asyncio.to_thread(by_item, app, OPTION, secret)
        assert await judged(app) == expected


async def test_changes_in_another_thread_while_tokens_are_verified_lose_nothing() -> None:
    """Each verification has one of the two configurations, and the last change stays."""
    app = make_app()
    stop = threading.Event()
    turns = 0

    def alternate() -> None:
        nonlocal turns
        while not stop.is_set() or turns % 2:
            app.config[OPTION] = (OTHER, SECRET)[turns % 2]
            turns += 1

    outcomes = {"accepted": 0, "refused": 0}
    thread = threading.Thread(target=alternate)
    async with app.app_context():
        thread.start()
        try:
            for _ in range(5000):
                try:
                    qje.decode_token(TOKEN)
                    outcomes["accepted"] += 1
                except jwt.InvalidSignatureError:
                    outcomes["refused"] += 1
        finally:
            stop.set()
            thread.join()
    assert sum(outcomes.values()) == 5000
    assert turns > 2
    assert app.config[OPTION] == SECRET
    assert await judged(app) == FIRST


async def test_each_thread_sees_its_own_change_at_once() -> None:
    """Of two applications under one manager, changed and used in two threads."""
    manager = qje.JWTManager()
    apps = [make_app(), make_app()]
    for app in apps:
        manager.init_app(app)
    failures: list[str] = []

    async def work(app: Quart, number: int) -> None:
        async with app.app_context():
            for turn in range(1000):
                name = f"name{number}-{turn}"
                app.config["JWT_ERROR_MESSAGE_KEY"] = name
                if config.error_msg_key != name:
                    failures.append(name)

    def run(number: int) -> None:
        asyncio.run(work(apps[number], number))

    await asyncio.gather(*(asyncio.to_thread(run, number) for number in range(2)))
    assert failures == []


async def test_two_applications_of_one_manager_have_their_own_options() -> None:
    manager = qje.JWTManager()
    first, second = make_app(), make_app()
    manager.init_app(first)
    manager.init_app(second)
    for secret, expected in [(OTHER, SECOND), (SECRET, FIRST)] * 3:
        second.config[OPTION] = secret
        assert await judged(first) == FIRST
        assert await judged(second) == expected
    first.config = second.config
    second.config[OPTION] = OTHER
    assert await judged(first) == SECOND
    assert await judged(second) == SECOND


async def test_configs_of_two_applications_exchanged_are_followed() -> None:
    first, second = make_app(), make_app(JWT_SECRET_KEY=OTHER)
    for expected in (FIRST, SECOND, FIRST, SECOND):
        assert await judged(first) == expected
        assert await judged(second) == expected[::-1]
        first.config, second.config = second.config, first.config


async def test_ten_thousand_alternations_are_all_seen() -> None:
    app = make_app()
    configs = [app.config, Config(app.root_path, {**app.config, OPTION: OTHER})]
    tokens = [TOKEN, OTHER_TOKEN]
    async with app.app_context():
        for turn in range(10_000):
            app.config = configs[turn % 2]
            assert qje.decode_token(tokens[turn % 2])["identity"] == "alice"
            with pytest.raises(jwt.InvalidSignatureError):
                qje.decode_token(tokens[1 - turn % 2])
        for turn in range(10_000):
            app.config[OPTION] = (SECRET, OTHER)[turn % 2]
            assert qje.decode_token(tokens[turn % 2])["identity"] == "alice"
        with pytest.raises(jwt.InvalidSignatureError):
            qje.decode_token(TOKEN)


async def test_unrelated_change_breaks_nothing() -> None:
    app = make_app()
    async with app.app_context():
        for number in range(2000):
            app.config["X"] = number
            app.config[f"X{number}"] = {}
            app.config.update({f"jwt_{number}": 1, "JWT_UNKNOWN": number, "TESTING": True})
            assert qje.decode_token(TOKEN)["identity"] == "alice"
        app.config.pop("X")
        app.config[5] = "no name"  # type: ignore[index]
        assert qje.decode_token(TOKEN)["identity"] == "alice"
    assert await judged(app) == FIRST


async def test_change_beside_an_unrelated_one_is_seen() -> None:
    """The number of options stays the same, and so may the size of the dict."""
    app = make_app()
    for number, (secret, expected) in enumerate([(OTHER, SECOND), (SECRET, FIRST)] * 3):
        del app.config[OPTION]
        app.config[f"X{number}"] = number
        app.config.pop(f"X{number - 1}", None)
        app.config[OPTION] = secret
        assert await judged(app) == expected


# --- Configs of other classes -------------------------------------------------


async def test_computed_value_of_a_config_class_is_computed_for_every_request() -> None:
    """Secrets that are fetched on demand; nothing stored in the dict changes."""
    current = [SECRET]

    class Computed(Config):
        def __getitem__(self, name: str) -> Any:
            return current[0] if name == OPTION else super().__getitem__(name)

    app = make_app()
    app.config = Computed(app.root_path, dict(app.config))
    for secret, expected in [(SECRET, FIRST), (OTHER, SECOND), (SECRET, FIRST)]:
        current[0] = secret
        assert await judged(app) == expected
    app.config = Config(app.root_path, {**app.config, OPTION: OTHER})
    assert await judged(app) == SECOND


async def test_getter_put_into_a_config_class_later_is_used() -> None:
    class Late(Config):
        pass

    app = make_app()
    app.config = Late(app.root_path, dict(app.config))
    assert await judged(app) == FIRST
    getitem = dict.__getitem__
    Late.__getitem__ = (  # type: ignore[method-assign]
        lambda self, name: OTHER if name == OPTION else getitem(self, name)
    )
    assert await judged(app) == SECOND
    del Late.__getitem__
    assert await judged(app) == FIRST


# --- Wrong values -------------------------------------------------------------


@every_way
async def test_wrong_value_is_named_until_it_is_put_right(
    change: Callable[[Quart, str, Any], None],
) -> None:
    app = make_app()
    assert await status(app) == 200
    for _ in range(2):
        for option, wrong in [
            ("JWT_HEADER_NAME", None),
            ("JWT_DECODE_LEEWAY", -1),
            ("JWT_ALGORITHM", "none"),
            ("JWT_MAX_TOKEN_SIZE", "1"),
        ]:
            right = app.config[option]
            change(app, option, wrong)
            # Once is not enough: an error must not leave half of the new options in force.
            for _ in range(3):
                with pytest.raises(RuntimeError, match=option):
                    await status(app)
            change(app, option, right)
            assert await judged(app) == FIRST


async def test_list_that_becomes_wrong_in_place_is_named_until_it_is_put_right() -> None:
    names = ["HS384"]
    app = make_app(JWT_DECODE_ALGORITHMS=names)
    for wrong in ("XX999", 5, None, ["HS384"], "hs384"):
        assert await status(app, HS384) == 200
        names.append(wrong)  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(RuntimeError, match="JWT_DECODE_ALGORITHMS"):
                await status(app, HS384)
        names.pop()
    assert await status(app, HS384) == 200


async def test_second_wrong_value_is_named_once_the_first_is_put_right() -> None:
    app = make_app()
    assert await status(app) == 200
    app.config.update(JWT_HEADER_NAME=5, JWT_DECODE_LEEWAY="x", JWT_JSON_KEY="")
    named = []
    for _ in range(3):
        with pytest.raises(RuntimeError) as caught:
            await status(app)
        option = str(caught.value).split()[0]
        named.append(option)
        app.config.pop(option)
    assert sorted(named) == ["JWT_DECODE_LEEWAY", "JWT_HEADER_NAME", "JWT_JSON_KEY"]
    assert await judged(app) == FIRST


async def test_options_before_a_wrong_value_do_not_come_back_after_it() -> None:
    app = make_app()
    assert await judged(app) == FIRST
    app.config.update({OPTION: OTHER, "JWT_HEADER_NAME": None})
    with pytest.raises(RuntimeError, match="JWT_HEADER_NAME"):
        await status(app)
    app.config["JWT_HEADER_NAME"] = "Authorization"
    assert await judged(app) == SECOND
