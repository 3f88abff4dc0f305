"""What an operator sees of tokens: one log record for each rejection, and signals."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from quart import Quart

import quart_jwt_extended as qje
from support import (
    OTHER_SECRET,
    access_claims,
    ask,
    bearer,
    hs_token,
    make_app,
    manager_of,
    refresh_claims,
)

GOOD = hs_token(access_claims())
LOGGER = "quart_jwt_extended"


@pytest.fixture
def records() -> Iterator[Any]:
    """What gives the records of the extension so far."""
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign]
    logging.getLogger(LOGGER).addHandler(handler)
    yield lambda: found
    logging.getLogger(LOGGER).removeHandler(handler)


# --- Log ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "token", "expected"),
    [
        ("/protected", None, ("token_missing", "None", "None")),
        ("/protected", "nonsense", ("token_invalid", "headers", "None")),
        ("/protected", access_claims(exp=1), ("token_expired", "headers", "None")),
        ("/protected", refresh_claims(), ("wrong_token_type", "headers", "None")),
        ("/fresh", access_claims(), ("token_not_fresh", "headers", "None")),
        (
            "/protected",
            hs_token(access_claims(), secret=OTHER_SECRET, header={"alg": "HS256", "kid": "k"}),
            ("token_invalid", "headers", "'k'"),
        ),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_rejection_is_one_record_with_code_endpoint_location_and_kid(
    records: Any, path: str, token: Any, expected: tuple[str, str, str]
) -> None:
    app = make_app()
    assert (await ask(app, path, token))[0] != 200
    (record,) = records()
    code, location, kid = expected
    endpoint = app.url_map.bind("").match(path)[0]
    assert record.levelname == "INFO"
    assert record.getMessage().startswith(
        f"Rejected: {code}, endpoint {endpoint}, location {location}, kid {kid}, reason '"
    )
    assert (record.jwt_code, record.jwt_endpoint) == (code, endpoint)


async def test_accepted_request_and_optional_one_leave_no_record(records: Any) -> None:
    app = make_app()
    assert (await ask(app, "/protected", GOOD))[0] == 200
    assert (await ask(app, "/optional"))[0] == 200
    assert records() == []


async def test_rejection_that_the_application_catches_is_recorded_too(records: Any) -> None:
    app = make_app()

    @app.get("/own")
    async def own() -> str:
        with pytest.raises(qje.NoAuthorizationError):
            await qje.verify_jwt_in_request()
        return ""

    assert (await ask(app, "/own"))[0] == 200
    assert len(records()) == 1


async def test_fault_of_the_program_is_no_rejection(records: Any) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=False, TESTING=False)
    manager_of(app).user_lookup_loader(lambda header, claims: claims["absent"])
    assert (await ask(app, "/protected", GOOD))[0] == 500
    assert records() == []


async def test_record_is_one_line_whatever_the_token_says(records: Any) -> None:
    app = make_app()
    kid = "k\n2026-01-01 ERROR forged\r\u2028" + "x" * 5000
    await ask(app, "/protected", hs_token({}, secret="x", header={"alg": "HS256", "kid": kid}))
    manager_of(app).user_lookup_loader(lambda header, claims: None)
    await ask(app, "/protected", access_claims(identity="a\nb" + "y" * 5000))
    for record in records():
        assert record.getMessage().splitlines() == [record.getMessage()]
        assert len(record.getMessage()) < 600
    assert [record.jwt_code for record in records()] == ["token_invalid", "user_not_found"]


async def test_foreign_origin_warns_and_names_both(records: Any) -> None:
    app = make_app(JWT_TOKEN_LOCATION="cookies")

    @app.websocket("/socket")
    @qje.jwt_required
    async def socket() -> None:
        raise AssertionError

    headers = {
        "Cookie": f"access_token_cookie={GOOD}",
        "Origin": "https://evil.example",
        "Host": "app.example",
    }
    with pytest.raises(Exception, match="403"):
        async with app.test_client().websocket("/socket", headers=headers) as connection:
            await connection.receive()
    (record,) = records()
    assert (record.levelname, record.jwt_code) == ("WARNING", "origin_refused")
    assert "page of https://evil.example, host app.example" in record.getMessage()


# --- Signals ------------------------------------------------------------------


@pytest.fixture
def sent() -> Any:
    """The signals that were sent: name, sender and values."""
    found: list[tuple[str, Any, dict[str, Any]]] = []
    signals = (qje.token_verified, qje.token_refused, qje.token_created)
    receivers = []
    for signal in signals:

        def note(sender: Any, *, name: str = signal.name, **values: Any) -> None:
            found.append((name, sender, values))

        receivers.append((signal, note))
        signal.connect(note)
    yield found
    for signal, note in receivers:
        signal.disconnect(note)


async def test_verified_token_is_sent_with_its_claims_and_location(sent: Any) -> None:
    app = make_app()
    assert (await ask(app, "/protected", GOOD))[0] == 200
    ((name, sender, values),) = sent
    assert (name, sender, values["location"]) == ("token-verified", app, "headers")
    assert values["claims"]["identity"] == "alice"


async def test_refused_token_is_sent_with_its_error_and_code(sent: Any) -> None:
    app = make_app()
    assert (await ask(app, "/protected", access_claims(exp=1)))[0] == 401
    ((name, sender, values),) = sent
    assert (name, sender, values["code"]) == ("token-refused", app, "token_expired")
    assert str(values["error"]) == "Signature has expired"
    assert values["location"] == "headers"


@pytest.mark.parametrize("create", [qje.create_access_token, qje.create_access_token_async])
async def test_created_token_is_sent_with_its_claims(sent: Any, create: Any) -> None:
    app = make_app()
    async with app.app_context():
        token = create("alice")
        if not isinstance(token, str):
            token = await token
        claims = qje.decode_token(token)
    ((name, sender, values),) = sent
    assert (name, sender) == ("token-created", app)
    assert values["claims"]["jti"] == claims["jti"]


async def test_receiver_may_be_async_and_its_error_fails_the_request() -> None:
    app = make_app()
    seen: list[str] = []

    async def audit(sender: Quart, claims: dict[str, Any], **values: Any) -> None:
        seen.append(claims["identity"])
        if claims["identity"] == "eve":
            raise qje.RevokedTokenError("Token has been revoked")

    with qje.token_verified.connected_to(audit, app):
        assert (await ask(app, "/protected", GOOD))[0] == 200
        assert (await ask(app, "/protected", access_claims(identity="eve")))[0] == 401
    assert (await ask(app, "/protected", access_claims(identity="eve")))[0] == 200
    assert seen == ["alice", "eve"]


async def test_muted_signal_is_not_sent(sent: Any) -> None:
    app = make_app()
    with qje.token_verified.muted():
        assert (await ask(app, "/protected", GOOD))[0] == 200
    assert sent == []


async def test_token_without_a_request_is_reported_without_an_endpoint(
    records: Any, sent: Any
) -> None:
    app = make_app()
    async with app.app_context():
        with pytest.raises(qje.WrongTokenError):
            await qje.verify_token(GOOD, refresh=True)
    (record,) = records()
    assert (record.jwt_code, record.jwt_endpoint) == ("wrong_token_type", None)
    assert [name for name, _, _ in sent] == ["token-refused"]
    assert bearer(GOOD)["Authorization"] not in record.getMessage()
