"""The suite of token stores notices faults: each store is broken on purpose, one place at a time.

Each breakage names the checks that must fail. In Redis and SQL what is sent is changed on its way,
so that the store itself is the one that ships.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event

from quart_jwt_extended import MemoryTokenStore
from support.services import RedisCluster, RedisServer
from support.token_store_kits import MemoryKit, redis_kit, sqlite_kit
from support.token_store_suite import CHECKS


async def assert_noticed(kit: Any, check: str) -> None:
    """The check fails, by what it asserts: not because what was broken does not run at all."""
    with pytest.raises(AssertionError):
        await CHECKS[check](kit)


# -- In memory: a method in place of another


class NoIdleEnd(MemoryTokenStore):
    def _live(self, session_id: str, now: int) -> Any:
        record = self._sessions.get(session_id)
        end = record and record["ends_at"]
        return None if end is not None and end <= now else record


class NoAbsoluteEnd(MemoryTokenStore):
    def _live(self, session_id: str, now: int) -> Any:
        record = self._sessions.get(session_id)
        end = record and record["expires_at"]
        return None if end is not None and end <= now else record


class KeepsTheRevoked(MemoryTokenStore):
    def _revoke(self, session_id: str, now: int) -> Any:
        record = self._sessions[session_id]
        session = super()._revoke(session_id, now)
        self._sessions[session_id] = record
        return session


class TellsNobody(MemoryTokenStore):
    def _note(self, *_: Any) -> None:
        """Workers that poll never learn of it."""


class MovesTheEndBack(MemoryTokenStore):
    def _extend(self, record: Any, lifetime: Any, linger: float, now: int) -> None:
        record["expires_at"] = None if lifetime is None else now + lifetime * 1000
        self._keep(record, linger)


class SecondsForMilliseconds(MemoryTokenStore):
    def _now(self) -> int:
        return int(time.time())


class IgnoresKeep(MemoryTokenStore):
    async def revoke_sessions(self, identity: str, *, keep: Any = None) -> Any:
        return await super().revoke_sessions(identity)


class RowByRow(MemoryTokenStore):
    async def revoke_sessions(self, identity: str, *, keep: Any = None) -> Any:
        found = [each for each in await self.get_sessions(identity) if each.id != keep]
        for each in found:
            await asyncio.sleep(0)
            await self.revoke_session(each.id)
        return found


class GraceForAll(MemoryTokenStore):
    async def rotate_session(self, session_id: str, generation: int, **options: Any) -> Any:
        record = self._sessions.get(session_id)
        if record is not None:
            generation = max(generation, record["generation"] - 1)
        return await super().rotate_session(session_id, generation, **options)


class SlidingGrace(MemoryTokenStore):
    async def rotate_session(self, session_id: str, generation: int, **options: Any) -> Any:
        answer = await super().rotate_session(session_id, generation, **options)
        if answer[0] == "retried":
            self._sessions[session_id]["rotated_at"] = self._now()
        return answer


class ReuseWithoutConsequence(MemoryTokenStore):
    async def rotate_session(self, session_id: str, generation: int, **options: Any) -> Any:
        record = self._sessions.get(session_id)
        answer = await super().rotate_session(session_id, generation, **options)
        if answer[0] == "reused":
            self._sessions[session_id] = record
        return answer


class ComparesNoGeneration(MemoryTokenStore):
    async def rotate_session(self, session_id: str, generation: int, **options: Any) -> Any:
        if session_id in self._sessions:
            generation = self._sessions[session_id]["generation"]
        return await super().rotate_session(session_id, generation, **options)


class ReadsThenWrites(MemoryTokenStore):
    async def rotate_session(self, session_id: str, generation: int, **options: Any) -> Any:
        record = self._sessions.get(session_id)
        if record is None or record["generation"] != generation:
            return await super().rotate_session(session_id, generation, **options)
        await asyncio.sleep(0)
        record["generation"] = generation
        return await super().rotate_session(session_id, generation, **options)


class IgnoresTokens(MemoryTokenStore):
    async def check(self, session_id: Any, token_id: Any) -> str:
        return await super().check(session_id, None)


class ByTheStartOfTheId(MemoryTokenStore):
    def _ids(self, identity: str, now: int) -> Any:
        mine = {i[:8] for i in super()._ids(identity, now)}
        return [i for i in self._sessions if i[:8] in mine]


class OldestFirst(MemoryTokenStore):
    async def get_sessions(self, identity: str) -> Any:
        return (await super().get_sessions(identity))[::-1]


class ForgetsAtTheEnd(MemoryTokenStore):
    def _keep(self, record: Any, linger: float) -> None:
        super()._keep(record, 0)


IN_MEMORY = [
    (NoIdleEnd, "a_session_ends_when_idle"),
    (NoAbsoluteEnd, "a_session_has_an_absolute_end"),
    (KeepsTheRevoked, "a_revoked_session_is_refused"),
    (TellsNobody, "reuse_revokes_and_is_told_once"),
    (MovesTheEndBack, "an_idle_end_never_moves_back"),
    (SecondsForMilliseconds, "a_new_session_has_what_was_given"),
    (IgnoresKeep, "one_session_can_be_kept"),
    (RowByRow, "revoking_all_at_once_tells_each_once"),
    (GraceForAll, "grace_is_for_the_last_generation_only"),
    (SlidingGrace, "grace_counts_from_the_rotation"),
    (ReuseWithoutConsequence, "reuse_revokes_and_is_told_once"),
    (ComparesNoGeneration, "a_generation_of_the_future_is_refused"),
    (ComparesNoGeneration, "of_many_rotations_one_wins"),
    (ReadsThenWrites, "of_many_rotations_one_wins"),
    (IgnoresTokens, "a_revoked_token_is_refused"),
    (ByTheStartOfTheId, "identities_that_share_the_start_of_ids_are_apart"),
    (OldestFirst, "sessions_are_listed_newest_first"),
    (ForgetsAtTheEnd, "entries_last_as_long_as_any_token"),
]


@pytest.mark.parametrize(("kind", "check"), IN_MEMORY)
async def test_in_memory(kind: type[Any], check: str) -> None:
    await assert_noticed(MemoryKit(kind), check)


# -- What is sent, with one piece in place of another


class Breakage(NamedTuple):
    name: str
    check: str
    piece: str
    other: str
    # Only what has this in it is changed.
    within: str = ""


SCRIPTS = [
    Breakage(
        "no generation is compared",
        "of_many_rotations_one_wins",
        "if given == tonumber(record.generation) then",
        "if true then",
    ),
    Breakage(
        "a generation of the future is reuse",
        "a_generation_of_the_future_is_refused",
        "or given > tonumber(record.generation)",
        "",
    ),
    Breakage(
        "no idle end",
        "a_session_ends_when_idle",
        "local idle, absolute = tonumber(record.expires_at),",
        "local idle, absolute = nil,",
    ),
    Breakage(
        "no absolute end",
        "a_session_has_an_absolute_end",
        "tonumber(record.ends_at)",
        "nil",
    ),
    Breakage(
        "grace for any older generation",
        "grace_is_for_the_last_generation_only",
        "given == record.generation - 1 and",
        "",
    ),
    Breakage(
        "grace slides",
        "grace_counts_from_the_rotation",
        "return {'retried', text}",
        "record.rotated_at = whole(now) return {'retried', write(id, record, ARGV[5])}",
    ),
    Breakage(
        "grace in thousands of seconds",
        "grace_is_in_seconds",
        "now - record.rotated_at <= grace",
        "(now - record.rotated_at) / 1000 <= grace",
    ),
    Breakage(
        "grace in milliseconds",
        "grace_is_in_seconds",
        "now - record.rotated_at <= grace",
        "now - record.rotated_at <= grace / 1000",
    ),
    Breakage(
        "reuse has no consequence",
        "reuse_revokes_and_is_told_once",
        "redis.call('HDEL', KEYS[1], id)",
        "",
    ),
    Breakage(
        "several tell of one revocation",
        "of_many_revocations_one_is_told",
        "redis.call('HDEL', KEYS[1], id)",
        "",
    ),
    Breakage(
        "an end moves back",
        "an_idle_end_never_moves_back",
        "math.max(record.expires_at, now + lifetime)",
        "now + lifetime",
    ),
    Breakage(
        "identities are not compared",
        "identities_that_share_the_start_of_ids_are_apart",
        "record.identity == ARGV[1]",
        "true",
    ),
    Breakage(
        "numbers of 14 digits",
        "generations_are_exact",
        "record.generation = whole(given + 1)",
        "record.generation = given + 1",
    ),
    Breakage(
        "entries without the lingering",
        "entries_last_as_long_as_any_token",
        "record.linger = linger",
        "record.linger = '0'",
    ),
    Breakage(
        "entries about tokens in seconds",
        "a_token_can_be_revoked_again",
        "now + ARGV[2] or nil",
        "now + ARGV[2] / 1000 or nil",
    ),
    Breakage(
        "entries without their moment",
        "entries_are_those_since_a_moment",
        "redis.call('ZADD', entries, now,",
        "redis.call('ZADD', entries, 0,",
    ),
    Breakage(
        "no entry",
        "a_crash_revokes_too_much_never_too_little",
        "redis.call('ZADD', entries, now, member)",
        "",
    ),
    Breakage(
        "the key ends with its first session",
        "an_extension_only_moves_the_end",
        "last - now > ttl",
        "ttl < 0",
    ),
    Breakage(
        "the key ends before what has no end",
        "a_session_may_have_no_end",
        "redis.call('PERSIST', key)",
        "redis.call('PEXPIREAT', key, whole(now + 5000))",
    ),
    Breakage(
        "revoked sessions are listed",
        "a_revoked_session_is_refused",
        "redis.call('HDEL', KEYS[1], id)",
        "",
    ),
    Breakage(
        "revoked tokens are announced, but not kept",
        "a_revoked_token_is_refused",
        "redis.call('SET', KEYS[1], '')",
        "",
    ),
    Breakage(
        "every token is revoked for ever",
        "a_revoked_token_is_forgotten_after_its_time",
        "if last then redis.call('PEXPIREAT', KEYS[1], whole(last)) end",
        "",
    ),
]

# What a cluster takes two steps for.
STEPS = [
    Breakage(
        "reuse has no consequence",
        "reuse_revokes_and_is_told_once",
        "redis.call('HDEL', KEYS[1], ARGV[i])",
        "",
    ),
    Breakage(
        "entries about tokens in seconds",
        "a_token_can_be_revoked_again",
        "last = now + last",
        "last = now + last / 1000",
    ),
]


class NoScriptError(Exception):
    """What a client of Redis raises by this name: the store then sends the text of its script."""


class Changing:
    """A client, or a pipeline of it, that changes a piece of the scripts on their way."""

    def __init__(self, client: Any, breakage: Breakage) -> None:
        self._client = client
        self._breakage = breakage
        self.changed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def evalsha(self, *_: Any) -> Any:
        raise NoScriptError

    def eval(self, text: str, *arguments: Any) -> Any:
        self.changed += self._breakage.piece in text
        return self._client.eval(
            text.replace(self._breakage.piece, self._breakage.other), *arguments
        )

    @asynccontextmanager
    async def pipeline(self, **options: Any) -> AsyncIterator[Any]:
        async with self._client.pipeline(**options) as pipeline:
            yield Changing(pipeline, self._breakage)


@pytest.mark.slow
@pytest.mark.parametrize("breakage", SCRIPTS, ids=[each.name for each in SCRIPTS])
async def test_in_redis(redis_server: RedisServer, breakage: Breakage) -> None:
    await assert_script_noticed(redis_server, breakage)


@pytest.mark.slow
@pytest.mark.parametrize("breakage", STEPS, ids=[each.name for each in STEPS])
async def test_in_a_cluster(redis_cluster: RedisCluster, breakage: Breakage) -> None:
    await assert_script_noticed(redis_cluster, breakage)


async def assert_script_noticed(server: RedisServer | RedisCluster, breakage: Breakage) -> None:
    clients = []

    def wrap(client: Any) -> Changing:
        clients.append(Changing(client, breakage))
        return clients[0]

    async with redis_kit(server, wrap=wrap) as kit:
        await assert_noticed(kit, breakage.check)
    assert clients[0].changed


class SessionFirst(Changing):
    """The entry that others poll is written after the session."""

    held: Any = None

    async def eval(self, text: str, *arguments: Any) -> Any:
        if "'ZADD'" in text:
            self.held = (text, *arguments)
            return None
        answer = await self._client.eval(text, *arguments)
        if self.held is not None:
            held, self.held = self.held, None
            await self._client.eval(*held)
        return answer


class Swallowing(Changing):
    """Every error is success."""

    async def eval(self, text: str, *arguments: Any) -> Any:
        try:
            return await self._client.eval(text, *arguments)
        except Exception:
            return []


class NoTokens(Changing):
    """Revoked tokens are announced, but not kept."""

    async def set(self, *_: Any, **__: Any) -> None:
        return None


class EveryTokenForEver(Changing):
    async def set(self, *arguments: Any, px: Any) -> None:
        await self._client.set(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (SessionFirst, "a_crash_revokes_too_much_never_too_little"),
        (Swallowing, "a_crash_revokes_too_much_never_too_little"),
        (NoTokens, "a_revoked_token_is_refused"),
        (EveryTokenForEver, "a_revoked_token_is_forgotten_after_its_time"),
    ],
)
async def test_client_of_a_cluster(
    redis_cluster: RedisCluster, kind: type[Changing], check: str
) -> None:
    nothing = Breakage("", "", "no piece of any script", "")
    async with redis_kit(redis_cluster, wrap=lambda client: kind(client, nothing)) as kit:
        await assert_noticed(kit, check)


SWAP, REVOKE = "SET generation=", "SET revoked_at="
STATEMENTS = [
    Breakage(
        "no generation is compared",
        "of_many_rotations_one_wins",
        "AND generation = ?",
        "AND ? IS NOT NULL",
    ),
    Breakage(
        "a revoked session rotates",
        "a_revoked_session_is_refused",
        "revoked_at IS NULL AND ",
        "",
        SWAP,
    ),
    Breakage(
        "no idle end in the swap",
        "a_session_ends_when_idle",
        "expires_at > ?)",
        "? > 0)",
        SWAP,
    ),
    Breakage(
        "no absolute end in the swap",
        "a_session_has_an_absolute_end",
        "(ends_at IS NULL OR ends_at > ?)",
        "? > 0",
        SWAP,
    ),
    Breakage(
        "reuse has no consequence",
        "reuse_revokes_and_is_told_once",
        "SET revoked_at=?",
        "SET revoked_at=(? AND NULL)",
        "AND generation > ?",
    ),
    Breakage(
        "several tell of one reuse",
        "of_many_reuses_one_is_told",
        "revoked_at IS NULL AND ",
        "",
        REVOKE,
    ),
    Breakage(
        "several tell of one revocation",
        "of_many_revocations_one_is_told",
        "revoked_at IS NULL AND ",
        "",
        REVOKE,
    ),
    Breakage(
        "an end moves back",
        "an_idle_end_never_moves_back",
        "max(expires_at, ? + ?)",
        "(? + ?)",
    ),
    Breakage(
        "grace in thousands of seconds",
        "grace_counts_from_the_rotation",
        "? - rotated_at AS age",
        "(? - rotated_at) / 1000 AS age",
    ),
    Breakage(
        "no session is kept",
        "one_session_can_be_kept",
        "AND id != coalesce(?, ?)",
        "AND coalesce(?, ?) IS NOT NULL",
    ),
    Breakage(
        "all users are logged out",
        "all_sessions_of_an_identity_are_revoked",
        "identity = ?",
        "? IS NOT NULL",
        REVOKE,
    ),
    Breakage(
        "oldest first", "sessions_are_listed_newest_first", "created_at DESC", "created_at ASC"
    ),
    Breakage(
        "revoked sessions are listed",
        "a_revoked_session_is_refused",
        "AND revoked_at IS NULL",
        "",
        "ORDER BY",
    ),
    Breakage(
        "the check does not see revocations",
        "a_revoked_session_is_refused",
        "AND revoked_at IS NULL",
        "",
        "EXISTS",
    ),
    Breakage(
        "revoked tokens are forgotten in seconds",
        "a_revoked_token_is_forgotten_after_its_time",
        "(? + ?)",
        "(? + ? / 1000)",
        "ON CONFLICT",
    ),
    Breakage(
        "revoked tokens are not announced",
        "a_revoked_token_is_refused",
        "jwt_sessions_revoked_tokens.revoked_at >= ?",
        "jwt_sessions_revoked_tokens.revoked_at < ?",
    ),
    Breakage(
        "entries of all times",
        "entries_are_those_since_a_moment",
        "WHERE revoked_at >= ?",
        "WHERE ? IS NOT NULL AND revoked_at IS NOT NULL",
    ),
    Breakage(
        "entries without the lingering",
        "entries_last_as_long_as_any_token",
        "END)) + ?)",
        "END)) + 0 * ?)",
    ),
    Breakage(
        "entries until the later end",
        "entries_last_as_long_as_any_token",
        "min(coalesce(",
        "max(coalesce(",
    ),
    Breakage(
        "live sessions are purged",
        "purging_takes_only_what_is_over",
        "kept_until <= ?",
        "kept_until <= ? + 3600000",
    ),
]


@pytest.mark.parametrize("breakage", STATEMENTS, ids=[each.name for each in STATEMENTS])
async def test_in_sql(tmp_path: Path, breakage: Breakage) -> None:
    changed = 0

    def change(
        _: Any, __: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        nonlocal changed
        plain = " ".join(statement.split()).replace("jwt_sessions.", "")
        if breakage.piece not in plain or breakage.within not in plain:
            return statement, parameters
        changed += 1
        return plain.replace(breakage.piece, breakage.other), parameters

    async with sqlite_kit(tmp_path) as kit:
        event.listen(kit.engine.sync_engine, "before_cursor_execute", change, retval=True)
        await assert_noticed(kit, breakage.check)
    assert changed
