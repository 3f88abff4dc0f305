"""Applications that change the request: what Quart's properties show then is what counts.

An own ``request_class``, an own JSON provider, a before_request hook. The raw request always holds
another token, or one more, so that whoever reads the raw bytes all the same is found out.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import pytest
import quart.ctx
from quart import Quart, Request
from quart.json.provider import DefaultJSONProvider, JSONProvider
from quart.wrappers.request import Body
from werkzeug.datastructures import (
    CombinedMultiDict,
    EnvironHeaders,
    Headers,
    ImmutableMultiDict,
    MultiDict,
    iter_multi_items,
)

import quart_jwt_extended as qje
from support import SECRET, access_claims, hs_token
from support.asgi import Raw, json_request
from support.raw_requests import ANN, BOB, CID, Probe

A, B, C = ANN.encode(), BOB.encode(), CID.encode()

NO_HEADER = "Missing Authorization Header"
NO_COOKIE = 'Missing cookie "access_token_cookie"'
NO_PARAMETER = 'Missing "jwt" query paramater'
WRONG_TYPE = "Invalid content-type. Must be application/json."
NO_KEY = 'Missing "access_token" key in json data.'

# Bob is found where nothing is overridden, Ann is what the overriding gives.
PLAIN = {
    "headers": Raw(headers=[(b"authorization", b"Bearer " + B)]),
    "cookies": Raw(headers=[(b"cookie", b"access_token_cookie=" + B)]),
    "query_string": Raw(query=b"jwt=" + B),
    "json": json_request(b'{"access_token":"%s"}' % B),
}
TWICE = {
    "headers": Raw(
        headers=[(b"authorization", b"Bearer " + B), (b"authorization", b"Bearer " + A)]
    ),
    "cookies": Raw(
        headers=[(b"cookie", b"access_token_cookie=%s; access_token_cookie=%s" % (B, A))]
    ),
    "query_string": Raw(query=b"jwt=%s&jwt=%s" % (B, A)),
    "json": json_request(b'{"access_token":"%s","access_token":"%s"}' % (A, B)),
}
NOTHING = {
    "headers": NO_HEADER,
    "cookies": NO_COOKIE,
    "query_string": NO_PARAMETER,
    "json": NO_KEY,
}


# Quart 0.20 to 0.22 set the JSON module of each request to the provider of the application,
# whatever its class says.
OWN_JSON_MODULE = "bob" if hasattr(quart.ctx, "RequestContext") else "ann"


def using(request_class: type[Request]) -> Callable[[Quart], None]:
    def setup(app: Quart) -> None:
        app.request_class = request_class

    return setup


# --- own request classes -------------------------------------------------------------------------


class LastWins(MultiDict):
    """A container in which the last of several values counts."""

    def __getitem__(self, key: str) -> Any:
        return self.getlist(key)[-1]


class ShoutingNames(MultiDict):
    """A container that knows only names in capitals."""

    def __init__(self, mapping: Any = None) -> None:
        pairs = [] if mapping is None else list(iter_multi_items(mapping))
        super().__init__([(name.upper(), value) for name, value in pairs])


class LastHeaderWins(Headers):
    def get(self, key: str, default: Any = None, type: Any = None) -> Any:
        return (self.getlist(key) or [default])[-1]


class LastArgumentWins(Request):
    parameter_storage_class = LastWins


class LastCookieWins(Request):
    dict_storage_class = LastWins


class InheritedCookies(LastCookieWins):
    """The override is further up."""


class Mixin:
    @property
    def args(self) -> Any:
        return MultiDict({"jwt": ANN})


class MixedIn(Mixin, Request):
    pass


class PropertyOfMixinBehind(Request, Mixin):
    """Quart's own property comes first here, so nothing is overridden."""


class ArgumentsFromSuper(Request):
    @property
    def args(self) -> Any:
        return CombinedMultiDict([MultiDict({"jwt": ANN}), super().args])


class QueryStringInProperty(Request):
    """What Werkzeug parses comes from here."""

    @property
    def query_string(self) -> bytes:
        return b"jwt=" + A

    @query_string.setter
    def query_string(self, value: bytes) -> None:
        self.raw_query_string = value


class HeadersOfOwnClass(Request):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers = LastHeaderWins(self.headers)


class OtherCookies(Headers):
    def getlist(self, key: str, type: Any = None, as_tuple: Any = None) -> Any:
        return [f"access_token_cookie={ANN}"] if key == "Cookie" else super().getlist(key)


class HeadersWithOtherCookies(Request):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers = OtherCookies(self.headers)


class CookieHeaderInProperty(Request):
    """Cookies are read from the headers, whoever gives those."""

    @property
    def headers(self) -> Headers:
        return Headers([("Cookie", f"access_token_cookie={ANN}")])

    @headers.setter
    def headers(self, value: Headers) -> None:
        self.raw_headers = value


class AuthorizationInProperty(Request):
    @property
    def headers(self) -> Headers:
        return Headers([*self.raw_headers, ("Authorization", f"Bearer {ANN}")])

    @headers.setter
    def headers(self, value: Headers) -> None:
        others = [(name, text) for name, text in value if name.lower() != "authorization"]
        self.raw_headers = Headers(others)


class AttributesInGetattribute(Request):
    def __getattribute__(self, name: str) -> Any:
        if name in ("args", "cookies"):
            return MultiDict({"jwt": ANN, "access_token_cookie": ANN})
        if name == "headers":
            return Headers({"Authorization": f"Bearer {ANN}"})
        return super().__getattribute__(name)


class Upstream:
    """A JSON module: Ann is always in there."""

    @staticmethod
    def loads(text: str, **options: Any) -> Any:
        return {**json.loads(text), "access_token": ANN}


class OwnJsonModule(Request):
    json_module = Upstream


class Rot(Body):
    """A body that arrives encrypted."""

    def __await__(self) -> Any:
        data = yield from super().__await__()
        return data.replace(B, A)


class OwnBody(Request):
    body_class = Rot


class DataFromSuper(Request):
    async def get_data(self, *args: Any, **kwargs: Any) -> Any:
        data = await super().get_data(*args, **kwargs)
        return data.replace(BOB, ANN) if isinstance(data, str) else data.replace(B, A)


class JsonFromSuper(Request):
    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        body = await super().get_json(force=force, silent=silent, cache=cache)
        return {**body, "access_token": ANN}


class JsonThatIsNoDict(Request):
    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        return [("access_token", ANN)]


class JsonThatFails(Request):
    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        raise LookupError("the body is in another castle")


class JsonThatFailsWithAValue(Request):
    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        raise ValueError("the body is in another castle")


class NeverJson(Request):
    @property
    def is_json(self) -> bool:
        return False


class TextInMimetype(Request):
    @property
    def mimetype(self) -> str:
        return "text/plain"


class NoCookies(Request):
    cookies = ImmutableMultiDict()


class NoArguments(Request):
    args = ImmutableMultiDict()


OWN_CLASSES = [
    ("headers", HeadersOfOwnClass, TWICE, "ann"),
    ("headers", AuthorizationInProperty, PLAIN, "ann"),
    ("headers", AttributesInGetattribute, PLAIN, "ann"),
    ("cookies", LastCookieWins, TWICE, "ann"),
    ("cookies", InheritedCookies, TWICE, "ann"),
    ("cookies", CookieHeaderInProperty, PLAIN, "ann"),
    ("cookies", HeadersWithOtherCookies, PLAIN, "ann"),
    ("cookies", AttributesInGetattribute, PLAIN, "ann"),
    ("cookies", NoCookies, PLAIN, NO_COOKIE),
    ("query_string", LastArgumentWins, TWICE, "ann"),
    ("query_string", MixedIn, PLAIN, "ann"),
    ("query_string", PropertyOfMixinBehind, PLAIN, "bob"),
    ("query_string", ArgumentsFromSuper, PLAIN, "ann"),
    ("query_string", QueryStringInProperty, PLAIN, "ann"),
    ("query_string", AttributesInGetattribute, PLAIN, "ann"),
    ("query_string", NoArguments, PLAIN, NO_PARAMETER),
    ("json", OwnJsonModule, PLAIN, OWN_JSON_MODULE),
    ("json", OwnBody, PLAIN, "ann"),
    ("json", DataFromSuper, PLAIN, "ann"),
    ("json", JsonFromSuper, PLAIN, "ann"),
    ("json", JsonThatIsNoDict, PLAIN, NO_KEY),
    ("json", JsonThatFails, PLAIN, "the body is in another castle"),
    ("json", JsonThatFailsWithAValue, PLAIN, NO_KEY),
    ("json", NeverJson, PLAIN, NO_KEY),
    ("json", TextInMimetype, PLAIN, WRONG_TYPE),
]


@pytest.mark.parametrize(("location", "request_class", "raws", "found"), OWN_CLASSES)
async def test_own_request_class_is_asked_instead_of_the_raw_request(
    location: str, request_class: type[Request], raws: dict[str, Raw], found: str
) -> None:
    probe = Probe(location, setup=using(request_class))
    assert await probe.check(raws[location]) == found
    assert await Probe(location).check(raws[location]) == "bob"


async def test_own_request_class_is_asked_for_every_location_in_order() -> None:
    probe = Probe(["headers", "cookies", "query_string", "json"], setup=using(MixedIn))
    assert await probe.check(Raw()) == "ann"
    assert await probe.check(PLAIN["headers"]) == "bob"


@pytest.mark.parametrize(
    ("location", "storage"),
    [("cookies", "dict_storage_class"), ("query_string", "parameter_storage_class")],
)
async def test_own_container_that_renames_is_asked_by_its_own_names(
    location: str, storage: str
) -> None:
    options = {"JWT_ACCESS_COOKIE_NAME": "JWT", "JWT_QUERY_STRING_NAME": "JWT"}
    own = type("Own", (Request,), {storage: ShoutingNames})
    probe = Probe(location, setup=using(own), **options)
    raw = Raw(query=b"jwt=" + A, headers=[(b"cookie", b"jwt=" + A)])
    assert await probe.check(raw) == "ann"
    assert (await Probe(location, **options).check(raw)).startswith("Missing ")


async def test_own_mimetype_makes_json_of_any_content_type() -> None:
    class AlwaysJson(Request):
        @property
        def mimetype(self) -> str:
            return "application/json"

    raw = json_request(b'{"access_token":"%s"}' % A, content_type=b"text/plain")
    assert await Probe("json", setup=using(AlwaysJson)).check(raw) == "ann"
    assert await Probe("json").check(raw) == WRONG_TYPE


class Tunnelled(Request):
    """A request whose method is the one in a header."""

    @property
    def method(self) -> str:
        return self.headers.get("X-Method", self.raw_method)

    @method.setter
    def method(self, value: str) -> None:
        self.raw_method = value


@pytest.mark.parametrize(
    ("sent", "tunnelled", "found"),
    [
        ("POST", b"GET", "ann"),
        ("GET", b"PUT", "Missing CSRF token"),
        ("GET", b"DELETE", "Missing CSRF token"),
        ("PATCH", b"GET", "ann"),
    ],
)
async def test_own_method_decides_about_csrf(sent: str, tunnelled: bytes, found: str) -> None:
    headers = [(b"cookie", b"access_token_cookie=" + A), (b"x-method", tunnelled)]
    probe = Probe("cookies", setup=using(Tunnelled))
    assert await probe.check(Raw(headers=headers, method=sent)) == found


PATCHES = {
    "cookies": {"cookies": property(lambda self: MultiDict({"access_token_cookie": ANN}))},
    "query_string": {"args": property(lambda self: MultiDict({"jwt": ANN}))},
    "json": {"get_json": mock.AsyncMock(return_value={"access_token": ANN})},
    "storage of cookies": {"dict_storage_class": LastWins},
    "storage of arguments": {"parameter_storage_class": LastWins},
    "json module": {"json_module": Upstream},
    "mimetype": {"mimetype": property(lambda self: "text/plain")},
}
PATCHED = [
    ("cookies", PLAIN, "cookies", "ann"),
    ("query_string", PLAIN, "query_string", "ann"),
    ("json", PLAIN, "json", "ann"),
    ("cookies", TWICE, "storage of cookies", "ann"),
    ("query_string", TWICE, "storage of arguments", "ann"),
    ("json", PLAIN, "json module", OWN_JSON_MODULE),
    ("json", PLAIN, "mimetype", WRONG_TYPE),
]


@pytest.mark.parametrize("own_class", [True, False], ids=["own class", "Quart's class"])
@pytest.mark.parametrize(("location", "raws", "patch", "found"), PATCHED)
async def test_request_class_patched_after_the_first_request_is_asked(
    location: str, raws: dict[str, Raw], patch: str, found: str, own_class: bool
) -> None:
    """Test suites and instrumentation do so; what was once learnt about a class may be outdated."""
    request_class = type("Own", (Request,), {}) if own_class else Request
    probe = Probe(location, setup=using(request_class))
    assert await probe.check(raws[location]) == "bob"
    with mock.patch.multiple(request_class, **PATCHES[patch]):
        assert await probe.check(raws[location]) == found
    assert await probe.check(raws[location]) == "bob"


async def test_request_class_changed_after_the_first_request_is_asked() -> None:
    probe = Probe("query_string")
    assert await probe.check(TWICE["query_string"]) == "bob"
    probe.app.request_class = LastArgumentWins
    assert await probe.check(TWICE["query_string"]) == "ann"


# --- own JSON providers --------------------------------------------------------------------------


class OwnLoads(DefaultJSONProvider):
    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return {**super().loads(s, **kwargs), "access_token": ANN}


class FirstDuplicateWins(DefaultJSONProvider):
    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return super().loads(s, object_pairs_hook=lambda pairs: dict(reversed(pairs)), **kwargs)


class LaxProvider(JSONProvider):
    """Not a subclass of the default: it takes a comma too many."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return json.dumps(obj)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return json.loads(s.replace(",}", "}"))


class FailingProvider(DefaultJSONProvider):
    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        raise LookupError("no such document")


@pytest.mark.parametrize(
    ("provider", "body", "found"),
    [
        (OwnLoads, b'{"access_token":"%s"}' % B, "ann"),
        (FirstDuplicateWins, b'{"access_token":"%s","access_token":"%s"}' % (A, B), "ann"),
        (LaxProvider, b'{"access_token":"%s",}' % A, "ann"),
        (FailingProvider, b'{"access_token":"%s"}' % A, "no such document"),
    ],
)
@pytest.mark.parametrize("how", ["instance", "class", "patched"])
async def test_own_json_provider_parses_the_body(
    provider: type[JSONProvider], body: bytes, found: str, how: str
) -> None:
    def setup(app: Quart) -> None:
        if how == "patched":
            app.json.loads = provider(app).loads
        else:
            app.json = provider(app)

    if how == "class":
        with mock.patch.object(Quart, "json_provider_class", provider):
            probe = Probe("json")
    else:
        probe = Probe("json", setup=setup)
    assert await probe.check(json_request(body)) == found


async def test_json_provider_changed_after_the_first_request_parses_the_body() -> None:
    probe = Probe("json")
    assert await probe.check(PLAIN["json"]) == "bob"
    probe.app.json = OwnLoads(probe.app)
    assert await probe.check(PLAIN["json"]) == "ann"


# --- hooks ---------------------------------------------------------------------------------------

HOOKS: list[tuple[str, dict[str, Raw], str, Callable[[Request], Awaitable[None]]]] = []


def hooked(location: str, found: str, raws: dict[str, Raw] = PLAIN) -> Callable[[Any], Any]:
    """Make a case of the hook: Bob is in the raw request, and ``found`` is what comes of it."""

    def register(hook: Callable[[Request], Awaitable[None]]) -> Any:
        HOOKS.append((location, raws, found, hook))
        return hook

    return register


@hooked("headers", "ann")
async def header_is_set(request: Request) -> None:
    request.headers["Authorization"] = f"Bearer {ANN}"


@hooked("headers", "bob")
async def header_is_added(request: Request) -> None:
    request.headers.add("Authorization", f"Bearer {ANN}")


@hooked("headers", "ann")
async def header_is_inserted_in_front(request: Request) -> None:
    request.headers[:] = [("authorization", f"Bearer {ANN}"), *request.headers]


@hooked("headers", NO_HEADER)
async def header_is_removed(request: Request) -> None:
    request.headers.remove("authorization")


@hooked("headers", NO_HEADER)
async def header_is_removed_from_quart_but_not_from_the_scope(request: Request) -> None:
    del request.headers["AUTHORIZATION"]
    request.scope["headers"].append((b"authorization", b"Bearer " + A))


@hooked("headers", "bob")
async def header_is_changed_in_the_scope_only(request: Request) -> None:
    request.scope["headers"][:] = [(b"authorization", b"Bearer " + A)]


@hooked("headers", "ann")
async def headers_are_replaced(request: Request) -> None:
    request.headers = Headers({"authorization": f"Bearer {ANN}"})


@hooked("headers", "ann", TWICE)
async def headers_are_replaced_by_another_class(request: Request) -> None:
    request.headers = LastHeaderWins(request.headers)


@hooked("headers", "ann")
async def headers_are_replaced_by_those_of_wsgi(request: Request) -> None:
    request.headers = EnvironHeaders({"HTTP_AUTHORIZATION": f"Bearer {ANN}"})


@hooked("headers", NO_HEADER)
async def headers_are_replaced_by_a_dict_of_other_case(request: Request) -> None:
    request.headers = {"authorization": f"Bearer {ANN}"}


@hooked("headers", "ann")
async def headers_are_replaced_by_a_dict(request: Request) -> None:
    request.headers = {"Authorization": f"Bearer {ANN}"}


@hooked("cookies", "ann")
async def cookie_header_is_set(request: Request) -> None:
    request.headers["Cookie"] = f"access_token_cookie={ANN}"


@hooked("cookies", "bob")
async def cookie_header_is_added(request: Request) -> None:
    request.headers.add("cookie", f"access_token_cookie={ANN}")


@hooked("cookies", NO_COOKIE)
async def cookie_header_is_removed(request: Request) -> None:
    del request.headers["Cookie"]


@hooked("cookies", "bob")
async def cookie_gets_a_non_latin_neighbour(request: Request) -> None:
    request.headers["Cookie"] = f"\u65e5\u672c=\u65e5; access_token_cookie={BOB}; x=\U0001f36a"


@hooked("cookies", "Invalid crypto padding")
async def cookie_gets_a_non_latin_value(request: Request) -> None:
    request.headers["Cookie"] = f'x="\u65e5"; access_token_cookie="{BOB}\u65e5"'


@hooked("query_string", "ann")
async def query_string_is_set(request: Request) -> None:
    request.query_string = b"jwt=" + A


@hooked("query_string", "bob")
async def query_string_is_changed_in_the_scope_only(request: Request) -> None:
    request.scope["query_string"] = b"jwt=" + A


@hooked("query_string", "ann")
async def query_string_is_a_bytearray(request: Request) -> None:
    request.query_string = bytearray(b"jwt=" + A)


@hooked("query_string", NO_PARAMETER)
async def query_string_is_emptied(request: Request) -> None:
    request.query_string = b""


@hooked("json", "bob")
async def body_was_parsed(request: Request) -> None:
    assert await request.get_json(silent=True)


@hooked("json", "bob")
async def body_was_parsed_aloud(request: Request) -> None:
    assert await request.get_json()


@hooked("json", "bob")
async def body_was_read(request: Request) -> None:
    assert await request.get_data()


@hooked("json", "bob")
async def body_was_looked_at_for_a_form(request: Request) -> None:
    assert not await request.form


@hooked("json", NO_KEY)
async def body_was_thrown_away(request: Request) -> None:
    assert await request.get_data(cache=False)


@hooked("json", NO_KEY)
async def body_was_parsed_and_thrown_away(request: Request) -> None:
    assert await request.get_json(silent=True, cache=False)


@hooked("json", "bob")
async def body_was_parsed_and_only_the_bytes_thrown_away(request: Request) -> None:
    assert await request.get_json(silent=True)
    request.body.clear()


@hooked("json", NO_KEY)
async def body_was_streamed(request: Request) -> None:
    assert [chunk async for chunk in request.body]


@hooked("json", "ann")
async def parsed_body_was_changed(request: Request) -> None:
    (await request.get_json(silent=True))["access_token"] = ANN


@hooked("json", NO_KEY)
async def token_was_taken_out_of_the_parsed_body(request: Request) -> None:
    assert (await request.get_json(silent=True)).pop("access_token") == BOB


@hooked("json", "bob")
async def other_copy_of_the_parsed_body_was_changed(request: Request) -> None:
    """Quart keeps what was parsed aloud apart from what was parsed silently."""
    (await request.get_json())["access_token"] = ANN


@hooked("json", WRONG_TYPE)
async def content_type_is_set(request: Request) -> None:
    request.headers["Content-Type"] = "text/plain"


@hooked("json", WRONG_TYPE)
async def content_type_is_removed(request: Request) -> None:
    del request.headers["Content-Type"]


@hooked("json", "bob")
async def content_type_was_read_before_it_was_set(request: Request) -> None:
    assert request.mimetype == "application/json"
    request.headers["Content-Type"] = "text/plain"


@pytest.mark.parametrize(
    ("location", "raws", "found", "hook"), HOOKS, ids=[case[3].__name__ for case in HOOKS]
)
async def test_request_that_a_hook_has_touched_is_what_its_properties_show(
    location: str, raws: dict[str, Raw], found: str, hook: Callable[[Request], Awaitable[None]]
) -> None:
    assert await Probe(location, prepare=hook).check(raws[location]) == found
    assert await Probe(location).check(raws[location]) == "bob"


async def change_nothing(request: Request) -> None:
    """Read all that there is to read."""
    assert "Host" in request.headers
    assert request.cookies is request.cookies
    assert request.args is request.args
    await request.get_json(silent=True)


@pytest.mark.parametrize("location", PLAIN)
async def test_request_that_a_hook_has_only_read_gives_the_same(location: str) -> None:
    probe = Probe(location, prepare=change_nothing)
    assert await probe.check(PLAIN[location]) == "bob"
    assert await probe.check(TWICE[location]) == "bob"
    nothing = json_request(b"{}") if location == "json" else Raw()
    assert await probe.check(nothing) == NOTHING[location]


@pytest.mark.parametrize(
    ("sent", "set_by_hook", "found"),
    [
        ("POST", "GET", "ann"),
        ("GET", "POST", "Missing CSRF token"),
        ("POST", "post", "ann"),
        ("POST", "OTHER", "ann"),
        ("GET", "DELETE", "Missing CSRF token"),
    ],
)
async def test_method_set_by_a_hook_decides_about_csrf(
    sent: str, set_by_hook: str, found: str
) -> None:
    async def change(request: Request) -> None:
        request.method = set_by_hook

    raw = Raw(headers=[(b"cookie", b"access_token_cookie=" + A)], method=sent)
    assert await Probe("cookies", prepare=change).check(raw) == found


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("ann-csrf", "ann"),
        ("bob-csrf", "CSRF double submit tokens do not match"),
        (None, "Missing CSRF token"),
    ],
)
async def test_csrf_header_set_by_a_hook_is_what_counts(header: str | None, found: str) -> None:
    async def change(request: Request) -> None:
        del request.headers["X-CSRF-TOKEN"]
        if header is not None:
            request.headers["x-csrf-token"] = header

    cookie = (b"cookie", b"access_token_cookie=" + A)
    raw = Raw(headers=[cookie, (b"x-csrf-token", b"cid-csrf")], method="POST")
    assert await Probe("cookies", prepare=change).check(raw) == found


async def test_non_latin_header_name_of_a_hook_is_found_as_werkzeug_finds_it() -> None:
    """Werkzeug compares in lower case, and that of the Kelvin sign is a k."""

    async def change(request: Request) -> None:
        request.headers.add("X-\N{KELVIN SIGN}ey", ANN)

    probe = Probe("headers", prepare=change, JWT_HEADER_NAME="X-Key", JWT_HEADER_TYPE="")
    assert await probe.check(Raw()) == "ann"
    assert await probe.check(Raw(headers=[(b"x-key", B)])) == "bob"


# --- Bodies of the application's own --------------------------------------------


class CountingBody(Body):
    """A body that counts how often it was begun to be waited for."""

    begun = 0

    def __await__(self) -> Any:
        type(self).begun += 1
        return super().__await__()


class Steps:
    """An iterator without the methods of a generator."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return next(self.steps)


class SteppingBody(Body):
    """A body whose awaiting cannot be closed."""

    def __await__(self) -> Any:
        return Steps(super().__await__())


@pytest.mark.parametrize("body_class", [CountingBody, SteppingBody])
async def test_own_body_class_is_awaited_by_get_json_only(body_class: Any) -> None:
    request_class = type("Own", (Request,), {"body_class": body_class})
    app = Quart("body")
    app.request_class = request_class
    app.config.update(JWT_SECRET_KEY=SECRET, JWT_TOKEN_LOCATION="json")
    qje.JWTManager(app)

    @app.post("/")
    @qje.jwt_required
    async def view() -> str:
        return qje.get_jwt_identity()

    CountingBody.begun = 0
    body = {"access_token": hs_token(access_claims())}
    response = await app.test_client().post("/", json=body)
    assert (response.status_code, await response.get_data()) == (200, b"alice")
    assert CountingBody.begun == (1 if body_class is CountingBody else 0)
