"""What each token store must do: one check per rule of the protocol, for any store.

A check is a coroutine function that takes a :class:`Kit`, which is a store with the means to look
at its content and to let time pass in it. CHECKS has all of them by name.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What the checks give where the value does not matter, in seconds.
LIFETIME = 1000
MAX_AGE = 5000
LINGER = 50
GRACE = 10

# Between what the store's clock said and what it says a few statements later.
TOLERANCE = 8

METADATA = {
    "device": "Firefox",
    "tags": [],
    "more": {"é": None, "n": 1.5, "big": 2**60, "q": '"\\'},
}


class Kit(ABC):
    """A store to check."""

    store: Any

    # Whether purge() has to delete what has ended.
    purges = False

    @abstractmethod
    async def age(self, seconds: float) -> None:
        """Make all that the store knows older, as if this time had passed."""

    @abstractmethod
    async def dump(self) -> Any:
        """All that the store keeps, in a form that can be compared."""

    @abstractmethod
    async def set_generation(self, session_id: str, generation: int) -> None: ...

    @contextmanager
    def failing_after(self, steps: int) -> Iterator[None]:
        """The worker dies after so many commands or statements; a store may have no such steps."""
        yield


Check = Callable[[Kit], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def new_id(identity: str = "ann", number: int = 0) -> str:
    """A session id as the extension makes them: its start tells the identity."""
    digest = hashlib.sha256(identity.encode()).digest()[:6]
    return base64.urlsafe_b64encode(digest + number.to_bytes(16, "big")).rstrip(b"=").decode()


async def create(kit: Kit, number: int = 0, identity: str = "ann", **changes: Any) -> Any:
    options = {"lifetime": LIFETIME, "max_age": MAX_AGE, "linger": LINGER, "metadata": {}}
    session_id = changes.pop("session_id", new_id(identity, number))
    return await kit.store.create_session(session_id, identity, **(options | changes))


async def rotate(kit: Kit, session: Any, generation: int, **changes: Any) -> Any:
    options = {"lifetime": LIFETIME, "grace": GRACE, "linger": LINGER}
    return await kit.store.rotate_session(session.id, generation, **(options | changes))


async def extend(kit: Kit, session: Any, **changes: Any) -> Any:
    options = {"lifetime": LIFETIME, "linger": LINGER}
    return await kit.store.extend_session(session.id, **(options | changes))


async def is_live(kit: Kit, session: Any) -> bool:
    return bool(await kit.store.check(session.id, None) == "live")


async def entries(kit: Kit, moment: float = 0.0) -> dict[tuple[str, str], float | None]:
    """The revocations that a worker learns of, each with the latest of its ends."""
    found: dict[tuple[str, str], float | None] = {}
    for kind, name, end in (await kit.store.revoked_since(moment))[1]:
        known = found.get((kind, name), 0.0)
        found[kind, name] = None if end is None or known is None else max(end, known)
    return found


def near(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE


def span(start: Any, end: Any) -> float:
    return float((end - start).total_seconds())


async def assert_refused(kit: Kit, session: Any, generations: tuple[int, ...] = (0, 1)) -> None:
    """The session is not live, for any call, and none of them writes anything."""
    before = await kit.dump()
    assert await kit.store.check(session.id, None) == "session_ended"
    for generation in generations:
        assert await rotate(kit, session, generation) == ("ended", None)
    assert await extend(kit, session) is None
    assert await kit.store.revoke_session(session.id) is None
    assert session.id not in [each.id for each in await kit.store.get_sessions(session.identity)]
    assert await kit.dump() == before


# -- New sessions


@check
async def a_new_session_has_what_was_given(kit: Kit) -> None:
    session = await create(kit, metadata=METADATA)
    assert session.id == new_id()
    assert session.identity == "ann"
    assert session.generation == 0
    assert session.metadata == METADATA
    assert near(span(session.created_at, session.expires_at), LIFETIME)
    assert near(span(session.created_at, session.ends_at), MAX_AGE)
    assert near(span(session.created_at, session.rotated_at), 0)
    for moment in session[3:7]:
        assert moment.utcoffset().total_seconds() == 0
        assert moment.year > 2020
    assert await is_live(kit, session)
    assert await kit.store.get_sessions("ann") == [session]
    now = (await kit.store.revoked_since(0.0))[0]
    assert near(session.created_at.timestamp(), now)


@check
async def a_session_may_have_no_end(kit: Kit) -> None:
    session = await create(kit, lifetime=None, max_age=None)
    assert session.expires_at is None
    assert session.ends_at is None
    await kit.age(10**9)
    assert await is_live(kit, session)
    outcome, rotated = await rotate(kit, session, 0, lifetime=None)
    assert outcome == "rotated"
    assert rotated.expires_at is None
    # A lifetime that is given later takes nothing from it.
    assert (await rotate(kit, session, 1))[1].expires_at is None
    assert (await extend(kit, session)).expires_at is None
    await kit.store.revoke_session(session.id)
    assert await entries(kit) == {("session", session.id): None}


@check
async def identities_are_any_text(kit: Kit) -> None:
    for number, identity in enumerate(["", "ü", "a:b|c", "'\"\\%", "\n", "1", "x" * 5000]):
        session = await create(kit, number, identity)
        assert session.identity == identity
        assert await kit.store.get_sessions(identity) == [session]
        assert await kit.store.revoke_sessions(identity) == [session]


@check
async def metadata_is_a_copy(kit: Kit) -> None:
    given = {"a": [1]}
    session = await create(kit, metadata=given)
    given["a"].append(2)
    session.metadata["b"] = 1
    (found,) = await kit.store.get_sessions("ann")
    assert found.metadata == {"a": [1]}


# -- Ends


@check
async def a_session_ends_when_idle(kit: Kit) -> None:
    session = await create(kit, lifetime=100)
    await kit.age(80)
    assert await is_live(kit, session)
    await kit.age(30)
    await assert_refused(kit, session)


@check
async def a_session_has_an_absolute_end(kit: Kit) -> None:
    session = await create(kit, max_age=100)
    outcome, rotated = await rotate(kit, session, 0)
    assert outcome == "rotated"
    assert rotated.ends_at == session.ends_at
    assert (await extend(kit, session)).ends_at == session.ends_at
    await kit.age(110)
    await assert_refused(kit, session, (0, 1, 2))


@check
async def the_absolute_end_holds_without_an_idle_one(kit: Kit) -> None:
    session = await create(kit, lifetime=None, max_age=100)
    await kit.age(110)
    await assert_refused(kit, session)


@check
async def an_ended_session_is_not_revoked_with_all(kit: Kit) -> None:
    await create(kit, lifetime=100)
    await kit.age(110)
    before = await kit.dump()
    assert await kit.store.revoke_sessions("ann") == []
    assert await kit.dump() == before


@check
async def times_are_seconds_with_fractions(kit: Kit) -> None:
    session = await create(kit, lifetime=100.5)
    await kit.age(100 - TOLERANCE)
    assert await is_live(kit, session)
    await kit.age(0.75 + TOLERANCE)
    assert not await is_live(kit, session)


# -- Rotation


@check
async def a_rotation_moves_the_session_on(kit: Kit) -> None:
    session = await create(kit, metadata=METADATA)
    await kit.age(500)
    (aged,) = await kit.store.get_sessions("ann")
    outcome, rotated = await rotate(kit, session, 0, lifetime=2000)
    assert outcome == "rotated"
    assert rotated.generation == 1
    assert near(span(aged.created_at, rotated.rotated_at), 500)
    assert near(span(rotated.rotated_at, rotated.expires_at), 2000)
    for name in ("id", "identity", "created_at", "ends_at", "metadata"):
        assert getattr(rotated, name) == getattr(aged, name)
    assert await kit.store.get_sessions("ann") == [rotated]
    assert (await rotate(kit, session, 1))[1].generation == 2


@check
async def an_idle_end_never_moves_back(kit: Kit) -> None:
    session = await create(kit)
    outcome, rotated = await rotate(kit, session, 0, lifetime=10)
    assert outcome == "rotated"
    assert rotated.expires_at == session.expires_at
    assert (await extend(kit, session, lifetime=10)).expires_at == session.expires_at


@check
async def an_idle_end_can_become_never(kit: Kit) -> None:
    first, second = await create(kit, 1), await create(kit, 2)
    assert (await rotate(kit, first, 0, lifetime=None))[1].expires_at is None
    assert (await extend(kit, second, lifetime=None)).expires_at is None


@check
async def a_retry_within_grace_writes_nothing(kit: Kit) -> None:
    session = await create(kit)
    _, rotated = await rotate(kit, session, 0)
    before = await kit.dump()
    for _ in range(3):
        assert await rotate(kit, session, 0) == ("retried", rotated)
    assert await kit.dump() == before
    assert (await rotate(kit, session, 1))[0] == "rotated"


@check
async def grace_counts_from_the_rotation(kit: Kit) -> None:
    session = await create(kit)
    await rotate(kit, session, 0, grace=100)
    await kit.age(60)
    assert (await rotate(kit, session, 0, grace=100))[0] == "retried"
    await kit.age(60)
    assert (await rotate(kit, session, 0, grace=100))[0] == "reused"


@check
async def grace_is_in_seconds(kit: Kit) -> None:
    session = await create(kit)
    await rotate(kit, session, 0)
    await kit.age(250)
    assert (await rotate(kit, session, 0, grace=300))[0] == "retried"
    await kit.age(100)
    assert (await rotate(kit, session, 0, grace=300))[0] == "reused"


@check
async def without_grace_a_repetition_is_reuse(kit: Kit) -> None:
    session = await create(kit)
    await rotate(kit, session, 0, grace=0)
    assert (await rotate(kit, session, 0, grace=0))[0] == "reused"


@check
async def grace_is_for_the_last_generation_only(kit: Kit) -> None:
    session = await create(kit)
    await rotate(kit, session, 0)
    await rotate(kit, session, 1)
    assert (await rotate(kit, session, 0))[0] == "reused"
    assert not await is_live(kit, session)


@check
async def reuse_revokes_and_is_told_once(kit: Kit) -> None:
    session, other = await create(kit, metadata=METADATA), await create(kit, 1)
    _, rotated = await rotate(kit, session, 0, grace=0)
    outcome, revoked = await rotate(kit, session, 0, grace=0)
    assert outcome == "reused"
    assert revoked == rotated
    assert list(await entries(kit)) == [("session", session.id)]
    await assert_refused(kit, session, (0, 1, 2))
    assert await is_live(kit, other)


@check
async def a_generation_of_the_future_is_refused(kit: Kit) -> None:
    session = await create(kit)
    before = await kit.dump()
    assert await rotate(kit, session, 1) == ("ended", None)
    assert await rotate(kit, session, 2**53) == ("ended", None)
    assert await kit.dump() == before
    assert (await rotate(kit, session, 0))[0] == "rotated"


@check
async def generations_are_exact(kit: Kit) -> None:
    session = await create(kit)
    await kit.set_generation(session.id, 2**53 - 3)
    assert (await rotate(kit, session, 2**53 - 3))[1].generation == 2**53 - 2
    assert (await rotate(kit, session, 2**53 - 2))[1].generation == 2**53 - 1
    assert (await rotate(kit, session, 2**53 - 2))[0] == "retried"
    assert (await rotate(kit, session, 2**53)) == ("ended", None)


@check
async def an_unknown_session_is_refused(kit: Kit) -> None:
    session = await create(kit)
    unknown = session._replace(id=new_id("ann", 7))
    before = await kit.dump()
    await assert_refused(kit, unknown)
    assert await kit.store.revoke_sessions("nobody") == []
    assert await kit.dump() == before


@check
async def an_extension_only_moves_the_end(kit: Kit) -> None:
    session = await create(kit, metadata=METADATA)
    await kit.age(500)
    (aged,) = await kit.store.get_sessions("ann")
    extended = await extend(kit, session, lifetime=2000)
    assert extended == aged._replace(expires_at=extended.expires_at)
    assert near(span(aged.created_at, extended.expires_at), 2500)
    assert await kit.store.get_sessions("ann") == [extended]
    await kit.age(1500)
    assert await is_live(kit, session)


# -- Revocation


@check
async def a_revoked_session_is_refused(kit: Kit) -> None:
    session = await create(kit)
    assert await kit.store.revoke_session(session.id) == session
    await assert_refused(kit, session)
    assert await kit.store.revoke_sessions("ann") == []


@check
async def a_revocation_after_a_rotation_covers_both_pairs(kit: Kit) -> None:
    session = await create(kit)
    _, rotated = await rotate(kit, session, 0)
    assert await kit.store.revoke_session(session.id) == rotated
    await assert_refused(kit, session, (0, 1, 2))


@check
async def all_sessions_of_an_identity_are_revoked(kit: Kit) -> None:
    mine = [await create(kit, number) for number in range(30)]
    other = await create(kit, 0, "bob")
    revoked = await kit.store.revoke_sessions("ann")
    assert sorted(revoked) == sorted(mine)
    assert set(await entries(kit)) == {("session", each.id) for each in mine}
    assert await is_live(kit, other)
    for each in mine[:3]:
        await assert_refused(kit, each)


@check
async def one_session_can_be_kept(kit: Kit) -> None:
    mine = [await create(kit, number) for number in range(4)]
    revoked = await kit.store.revoke_sessions("ann", keep=mine[2].id)
    assert sorted(each.id for each in revoked) == sorted(
        each.id for each in mine if each != mine[2]
    )
    assert await kit.store.get_sessions("ann") == [mine[2]]
    assert ("session", mine[2].id) not in await entries(kit)
    before = await kit.dump()
    assert await kit.store.revoke_sessions("ann", keep=mine[2].id) == []
    assert await kit.dump() == before


@check
async def identities_that_share_the_start_of_ids_are_apart(kit: Kit) -> None:
    mine = await create(kit)
    theirs = await create(kit, session_id=new_id("ann", 1), identity="not ann")
    assert [each.id for each in await kit.store.get_sessions("ann")] == [mine.id]
    assert [each.id for each in await kit.store.revoke_sessions("ann")] == [mine.id]
    assert await is_live(kit, theirs)


@check
async def sessions_are_listed_newest_first(kit: Kit) -> None:
    for number in (2, 0, 3, 1):
        await create(kit, number, lifetime=60 if number == 3 else LIFETIME)
        await kit.age(30)
    await kit.store.revoke_session(new_id("ann", 0))
    await create(kit, 9, "bob")
    found = await kit.store.get_sessions("ann")
    assert [each.id for each in found] == [new_id("ann", 1), new_id("ann", 2)]


# -- Tokens


@check
async def a_revoked_token_is_refused(kit: Kit) -> None:
    session = await create(kit)
    for name in ("jti", "a:b", "%|{}\"'\\ ~", "x" * 64):
        assert await kit.store.check(session.id, name) == "live"
        await kit.store.revoke_token(name, lifetime=100)
        assert await kit.store.check(session.id, name) == "token_revoked"
        assert await kit.store.check(None, name) == "token_revoked"
        assert ("token", name) in await entries(kit)
    assert await kit.store.check(session.id, "another") == "live"
    assert await kit.store.check(session.id, None) == "live"
    assert await kit.store.check(None, "another") == "live"
    assert await kit.store.check(None, session.id) == "live"


@check
async def a_revoked_token_is_forgotten_after_its_time(kit: Kit) -> None:
    await kit.store.revoke_token("short", lifetime=100)
    await kit.store.revoke_token("ever", lifetime=None)
    await kit.age(80)
    assert await kit.store.check(None, "short") == "token_revoked"
    await kit.age(30)
    assert await kit.store.check(None, "short") == "live"
    await kit.age(10**9)
    assert await kit.store.check(None, "ever") == "token_revoked"
    assert await entries(kit) == {("token", "ever"): None}


@check
async def a_token_can_be_revoked_again(kit: Kit) -> None:
    for _ in range(2):
        await kit.store.revoke_token("jti", lifetime=100)
    now = (await kit.store.revoked_since(0.0))[0]
    found = await entries(kit)
    assert list(found) == [("token", "jti")]
    assert near(found["token", "jti"] or 0, now + 100)


@check
async def both_are_checked_at_once(kit: Kit) -> None:
    session = await create(kit)
    await kit.store.revoke_token("jti", lifetime=100)
    await kit.store.revoke_session(session.id)
    assert await kit.store.check(session.id, "jti") == "token_revoked"
    assert await kit.store.check(session.id, "other") == "session_ended"


# -- What workers learn of


@check
async def entries_last_as_long_as_any_token(kit: Kit) -> None:
    idle = await create(kit, 1, lifetime=100, max_age=None, linger=7)
    absolute = await create(kit, 2, lifetime=1000, max_age=200, linger=7)
    rotated = await create(kit, 3, lifetime=100, max_age=None, linger=7)
    extended = await create(kit, 4, lifetime=100, max_age=None, linger=7)
    _, rotated = await rotate(kit, rotated, 0, lifetime=300, linger=70)
    extended = await extend(kit, extended, lifetime=400, linger=80)
    for session, end in (
        (idle, idle.expires_at.timestamp() + 7),
        (absolute, absolute.ends_at.timestamp() + 7),
        (rotated, rotated.expires_at.timestamp() + 70),
        (extended, extended.expires_at.timestamp() + 80),
    ):
        await kit.store.revoke_session(session.id)
        found = (await entries(kit))["session", session.id]
        assert found is not None
        # A few milliseconds, where a statement looks at the clock more than once.
        assert abs(found - end) < 0.1


@check
async def entries_about_what_ended_are_left_out(kit: Kit) -> None:
    session = await create(kit, lifetime=100, linger=50)
    await kit.store.revoke_session(session.id)
    await kit.store.revoke_token("jti", lifetime=150)
    await kit.age(130)
    assert set(await entries(kit)) == {("session", session.id), ("token", "jti")}
    await kit.age(40)
    assert await entries(kit) == {}


@check
async def entries_are_those_since_a_moment(kit: Kit) -> None:
    first, second = await create(kit, 1), await create(kit, 2)
    await kit.store.revoke_session(first.id)
    await kit.store.revoke_token("first", lifetime=None)
    await kit.age(100)
    moment, _ = await kit.store.revoked_since(0.0)
    await kit.store.revoke_session(second.id)
    await kit.store.revoke_token("second", lifetime=None)
    later, found = await kit.store.revoked_since(moment)
    assert {each[:2] for each in found} == {("session", second.id), ("token", "second")}
    assert moment <= later <= moment + TOLERANCE
    assert len(await entries(kit, moment - 200)) == 4
    assert await entries(kit, moment + 1000) == {}


@check
async def purging_takes_only_what_is_over(kit: Kit) -> None:
    live = await create(kit, 1)
    never = await create(kit, 2, lifetime=None, max_age=None)
    short = await create(kit, 3, lifetime=100, linger=50)
    revoked = await create(kit, 4, lifetime=100, linger=50)
    await kit.store.revoke_session(revoked.id)
    await kit.store.revoke_token("short", lifetime=100)
    await kit.store.revoke_token("ever", lifetime=None)
    await kit.age(90)
    assert await kit.store.purge() == 0
    await kit.age(40)
    # Ended, but tokens of it may still be around.
    assert await kit.store.purge() == (1 if kit.purges else 0)
    assert ("session", revoked.id) in await entries(kit)
    await kit.age(40)
    assert await kit.store.purge() == (2 if kit.purges else 0)
    assert await kit.store.purge() == 0
    assert await is_live(kit, live)
    assert await is_live(kit, never)
    assert not await is_live(kit, short)
    assert await kit.store.check(None, "ever") == "token_revoked"


@check
async def a_crash_revokes_too_much_never_too_little(kit: Kit) -> None:
    calls: list[Callable[[Any], Awaitable[Any]]] = [
        lambda session: kit.store.revoke_session(session.id),
        lambda session: kit.store.revoke_sessions(session.identity),
        lambda session: rotate(kit, session, 0, grace=0),
    ]
    for number, (call, steps) in enumerate(itertools.product(calls, range(4))):
        session = await create(kit, 0, f"user {number}")
        await rotate(kit, session, 0)
        returned = True
        with kit.failing_after(steps):
            try:
                await call(session)
            except Exception:
                returned = False
        live = await is_live(kit, session)
        announced = ("session", session.id) in await entries(kit)
        assert announced or live
        assert not (returned and live)
        # What was left undone can be done now.
        await call(session)
        assert not await is_live(kit, session)
        assert ("session", session.id) in await entries(kit)


@check
async def a_crash_while_a_token_is_revoked_does_not_hide_it(kit: Kit) -> None:
    for steps in range(3):
        name = f"jti {steps}"
        returned = True
        with kit.failing_after(steps):
            try:
                await kit.store.revoke_token(name, lifetime=100)
            except Exception:
                returned = False
        revoked = await kit.store.check(None, name) == "token_revoked"
        assert ("token", name) in await entries(kit) or not revoked
        assert revoked or not returned


# -- Many at once


def told(outcomes: Any) -> Counter[str]:
    return Counter(outcome for outcome, _ in outcomes)


@check
async def of_many_rotations_one_wins(kit: Kit) -> None:
    session = await create(kit)
    outcomes = await asyncio.gather(*(rotate(kit, session, 0) for _ in range(100)))
    assert told(outcomes) == {"rotated": 1, "retried": 99}
    assert {each.generation for _, each in outcomes} == {1}


@check
async def of_many_reuses_one_is_told(kit: Kit) -> None:
    session = await create(kit)
    outcomes = await asyncio.gather(*(rotate(kit, session, 0, grace=0) for _ in range(100)))
    assert told(outcomes) == {"rotated": 1, "reused": 1, "ended": 98}
    assert not await is_live(kit, session)


@check
async def of_many_revocations_one_is_told(kit: Kit) -> None:
    session = await create(kit)
    revoked = await asyncio.gather(*(kit.store.revoke_session(session.id) for _ in range(50)))
    assert [each for each in revoked if each is not None] == [session]


@check
async def revoking_all_at_once_tells_each_once(kit: Kit) -> None:
    mine = [await create(kit, number) for number in range(10)]
    answers = await asyncio.gather(
        *(kit.store.revoke_sessions("ann") for _ in range(10)),
        *(kit.store.revoke_sessions("ann", keep=each.id) for each in mine),
    )
    assert sorted(each.id for answer in answers for each in answer) == [each.id for each in mine]


@check
async def a_rotation_does_not_undo_a_revocation(kit: Kit) -> None:
    sessions = [await create(kit, number) for number in range(5)]

    async def rotated_on(session: Any) -> None:
        for generation in range(20):
            if (await rotate(kit, session, generation))[0] == "ended":
                return

    await asyncio.gather(*map(rotated_on, sessions), kit.store.revoke_sessions("ann"))
    for each in sessions:
        await assert_refused(kit, each, (0, 5, 20))
