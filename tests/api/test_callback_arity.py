"""Callbacks that a loader refuses: the wrong number of arguments, or nothing to call."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart

import quart_jwt_extended as qje

ARGUMENTS = {
    "additional_claims_loader": 1,
    "additional_headers_loader": 1,
    "claims_verification_failed_loader": 0,
    "claims_verification_loader": 1,
    "decode_key_loader": 2,
    "encode_key_loader": 1,
    "expired_token_loader": 1,
    "insufficient_scope_loader": 2,
    "invalid_token_loader": 1,
    "needs_fresh_token_loader": 0,
    "revoked_token_loader": 0,
    "token_in_blacklist_loader": 1,
    "token_in_blocklist_loader": 2,
    "token_verification_failed_loader": 2,
    "token_verification_loader": 2,
    "unauthorized_loader": 1,
    "user_claims_loader": 1,
    "user_identity_loader": 1,
    "user_loader_callback_loader": 1,
    "user_loader_error_loader": 1,
    "user_lookup_error_loader": 2,
    "user_lookup_loader": 2,
}
# Other numbers that are not refused: the old forms, which are deprecated, and those of
# Flask-JWT-Extended.
ALSO = {
    "decode_key_loader": {1},
    "expired_token_loader": {0, 2},
    "needs_fresh_token_loader": {2},
    "revoked_token_loader": {2},
}


def positional(count: int) -> Callable[..., Any]:
    return (
        lambda: None,
        lambda first: None,
        lambda first, second: None,
        lambda first, second, third: None,
    )[count]


async def async_three(first: Any, second: Any, third: Any) -> None: ...


class Owner:
    def method(self, first: Any, second: Any, third: Any) -> None: ...

    def __call__(self, first: Any, second: Any, third: Any) -> None: ...


WRONG_FORMS: dict[str, Any] = {
    "async function": async_three,
    "method": Owner().method,
    "callable object": Owner(),
    "partial": functools.partial(lambda first, *rest, key: None, "bound"),
    "keyword only": lambda *arguments, key: None,
}


def refused(app: Quart, loader: str, callback: Any) -> None:
    """Registering raises a TypeError that names the loader."""
    with pytest.raises(TypeError, match=rf"\b{re.escape(loader)}\b"):
        getattr(app.extensions["quart-jwt-extended"], loader)(callback)


def test_every_loader_is_listed() -> None:
    assert set(ARGUMENTS) == {name for name in dir(qje.JWTManager) if name.endswith("_loader")}


@pytest.mark.parametrize(
    ("loader", "count"),
    [
        (loader, count)
        for loader, taken in ARGUMENTS.items()
        for count in range(4)
        if count not in {taken, *ALSO.get(loader, ())}
    ],
)
def test_wrong_number_of_arguments_is_refused(app: Quart, loader: str, count: int) -> None:
    refused(app, loader, positional(count))


@pytest.mark.parametrize("form", WRONG_FORMS)
@pytest.mark.parametrize("loader", ARGUMENTS)
def test_wrong_signature_of_any_kind_is_refused(app: Quart, loader: str, form: str) -> None:
    refused(app, loader, WRONG_FORMS[form])


@pytest.mark.parametrize("value", [None, 5, "name", {}, ()], ids=repr)
@pytest.mark.parametrize("loader", ARGUMENTS)
def test_what_cannot_be_called_is_refused(app: Quart, loader: str, value: Any) -> None:
    refused(app, loader, value)


async def test_refused_callback_leaves_the_registered_one_in_place(app: Quart) -> None:
    manager = app.extensions["quart-jwt-extended"]
    manager.unauthorized_loader(lambda message: ("kept", 418))
    refused(app, "unauthorized_loader", positional(3))
    response = await app.test_client().get("/protected")
    assert (response.status_code, await response.get_data()) == (418, b"kept")
