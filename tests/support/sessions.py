"""Sessions under test: a store that is watched and can be broken, and an app that rotates."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import time_machine
from quart import Quart

import quart_jwt_extended as qje
from support import access_claims, ask, claims_of, make_app, refresh_claims

# A whole second in 2027, at which the tests that move the clock begin.
START = 1_800_000_000

# Seconds that anything here may take that runs by the real clock, ample for a slow machine.
LIMIT = 20

# The protocol, method by method.
METHODS = (
    *("create_session", "rotate_session", "extend_session", "revoke_session", "revoke_sessions"),
    *("get_sessions", "revoke_token", "check", "revoked_since", "purge"),
)

ENDED = (401, {"msg": "Session has ended"})
REUSED = (401, {"msg": "Refresh token has been reused"})
REVOKED = (401, {"msg": "Token has been revoked"})
UNAVAILABLE = (503, {"msg": "Token store unavailable"})


class WatchedStore:
    """A store in memory that keeps what it was asked, and fails where ``faults`` says so.

    ``calls`` are the names, ``arguments`` the positional ones and keywords beside them. A fault is
    an exception to raise, or a function that is awaited in place of the method.
    """

    def __init__(self) -> None:
        self.inner: Any = qje.MemoryTokenStore()
        self.calls: list[str] = []
        self.arguments: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.faults: dict[str, Any] = {}

    def forget(self) -> None:
        self.calls.clear()
        self.arguments.clear()

    async def _called(self, name: str, arguments: Any, keywords: Any) -> Any:
        self.calls.append(name)
        self.arguments.append((arguments, keywords))
        fault = self.faults.get(name)
        if isinstance(fault, BaseException):
            raise fault
        if fault is not None:
            return await fault()
        return await getattr(self.inner, name)(*arguments, **keywords)

    async def create_session(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("create_session", arguments, keywords)

    async def rotate_session(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("rotate_session", arguments, keywords)

    async def extend_session(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("extend_session", arguments, keywords)

    async def revoke_session(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("revoke_session", arguments, keywords)

    async def revoke_sessions(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("revoke_sessions", arguments, keywords)

    async def get_sessions(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("get_sessions", arguments, keywords)

    async def revoke_token(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("revoke_token", arguments, keywords)

    async def check(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("check", arguments, keywords)

    async def revoked_since(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("revoked_since", arguments, keywords)

    async def purge(self, *arguments: Any, **keywords: Any) -> Any:
        return await self._called("purge", arguments, keywords)


async def state_of(store: Any, *identities: str) -> Any:
    """All that a store says of some identities, by default alice, and of revocations."""
    inner = getattr(store, "inner", store)
    sessions = [await inner.get_sessions(identity) for identity in identities or ("alice",)]
    _, revoked = await inner.revoked_since(0.0)
    return sessions, sorted(map(tuple, revoked), key=str)


async def revoked_ids(store: Any) -> set[tuple[str, str]]:
    """Kind and id of all that is revoked."""
    _, revoked = await getattr(store, "inner", store).revoked_since(0.0)
    return {(kind, identifier) for kind, identifier, _ in revoked}


@contextmanager
def frozen(moment: float = START) -> Iterator[Any]:
    """The clock stands still, but for ``shift(seconds)``."""
    with time_machine.travel(moment, tick=False) as clock:
        yield clock


@contextmanager
def running_from(moment: float = START) -> Iterator[Any]:
    """The clock goes on from a known moment."""
    with time_machine.travel(moment, tick=True) as clock:
        yield clock


def session_app(store: Any = None, **options: Any) -> Quart:
    """:func:`support.make_app` with a store, ``app.store``, and views about sessions.

    ``POST /rotate`` gives a new pair; it passes ``app.rotation``, keywords, to rotate_session.
    """
    store = qje.MemoryTokenStore() if store is None else store
    app = make_app(token_store=store, **options)
    app.store = store  # type: ignore[attr-defined]
    app.rotation = {}  # type: ignore[attr-defined]

    @app.post("/rotate")
    @qje.jwt_required(refresh=True)
    async def rotate() -> dict[str, Any]:
        tokens = await qje.rotate_session(**app.rotation)  # type: ignore[attr-defined]
        return tokens._asdict()

    @app.get("/whose")
    @qje.jwt_required(optional=True, verify_type=False)
    async def whose() -> dict[str, Any]:
        return {"session": qje.get_session_id(), "claims": qje.get_jwt()}

    @app.delete("/session")
    @qje.jwt_required(verify_type=False)
    async def log_out() -> dict[str, Any]:
        return {"live": await qje.revoke_session()}

    @app.delete("/sessions/others")
    @qje.jwt_required
    async def log_out_others() -> dict[str, Any]:
        kept = qje.get_session_id()
        return {"number": await qje.revoke_sessions(qje.get_jwt_identity(), keep=kept)}

    @app.delete("/token")
    @qje.jwt_required(verify_type=False)
    async def revoke() -> dict[str, Any]:
        await qje.revoke_token()
        return {}

    return app


async def log_in(app: Quart, identity: Any = "alice", **keywords: Any) -> Any:
    """The tokens of a new session."""
    async with app.app_context():
        return await qje.create_session(identity, **keywords)


async def rotate(app: Quart, token: Any) -> tuple[int, Any]:
    """Status and body of the answer to a rotation; ``token`` may be claims to sign."""
    return await ask(app, "/rotate", token, method="POST")


async def rotated(app: Quart, token: str) -> Any:
    """The tokens of a rotation that must succeed."""
    status, body = await rotate(app, token)
    assert status == 200, body
    return qje.SessionTokens(**body)


async def sessions_of(app: Quart, identity: Any = "alice") -> list[Any]:
    async with app.app_context():
        return await qje.get_sessions(identity)


def generation_of(token: str) -> Any:
    return claims_of(token, verify_exp=False, verify_nbf=False, verify_iat=False)["gen"]


def access_of(session_id: Any, **changes: Any) -> dict[str, Any]:
    """Claims of an access token of a session, which no test lets expire."""
    return access_claims(sid=session_id, **changes)


def refresh_of(session_id: Any, generation: Any, **changes: Any) -> dict[str, Any]:
    return refresh_claims(sid=session_id, gen=generation, **changes)


async def until(condition: Callable[[], Any | Awaitable[Any]]) -> Any:
    """Wait, by the real clock, until a condition holds; sync or async."""
    deadline = time.monotonic() + LIMIT
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, "nothing happened"
        await asyncio.sleep(0.01)


async def polled(store: WatchedStore, times: int = 2) -> None:
    """Wait until so many more polls have begun, so all but the last of them have ended."""
    wanted = store.calls.count("revoked_since") + times
    await until(lambda: store.calls.count("revoked_since") >= wanted)
    await asyncio.sleep(0.02)
