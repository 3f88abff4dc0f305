"""What RedisTokenStore leaves in Redis, and what it does when Redis goes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quart_jwt_extended import RedisTokenStore
from support.services import RedisCluster, RedisServer, started
from support.token_store_kits import Failure, RedisKit, redis_client, redis_kit
from support.token_store_suite import LINGER, create, entries, extend, is_live, new_id, rotate

pytestmark = pytest.mark.slow


async def lifetime(kit: RedisKit, key: str) -> float:
    """How long a key has to live, in seconds."""
    return float(await kit.client.pttl(key)) / 1000


def key_of(session: Any) -> str:
    return f"jwt:s:{session.id[:8]}"


async def test_a_key_lives_as_long_as_its_longest_session(redis_server: RedisServer) -> None:
    async with redis_kit(redis_server) as kit:
        session = await create(kit, 1, lifetime=100)
        key = key_of(session)
        assert await lifetime(kit, key) == pytest.approx(100 + LINGER, abs=5)
        await create(kit, 2, lifetime=50)
        assert await lifetime(kit, key) == pytest.approx(100 + LINGER, abs=5)
        await rotate(kit, session, 0, lifetime=200)
        assert await lifetime(kit, key) == pytest.approx(200 + LINGER, abs=5)
        await extend(kit, session, lifetime=300)
        assert await lifetime(kit, key) == pytest.approx(300 + LINGER, abs=5)
        await create(kit, 3, lifetime=9000, max_age=400)
        assert await lifetime(kit, key) == pytest.approx(400 + LINGER, abs=5)
        await create(kit, 4, lifetime=None, max_age=None)
        assert await kit.client.pttl(key) == -1
        await create(kit, 5, lifetime=10)
        assert await kit.client.pttl(key) == -1


async def test_the_last_revocation_deletes_the_key(redis_server: RedisServer) -> None:
    async with redis_kit(redis_server) as kit:
        session = await create(kit, lifetime=None, max_age=None)
        await kit.store.revoke_session(session.id)
        assert await kit.keys() == [b"jwt:revoked"]


async def test_entries_and_tokens_leave_by_themselves(redis_server: RedisServer) -> None:
    async with redis_kit(redis_server) as kit:
        await kit.store.revoke_token("short", lifetime=100)
        assert await lifetime(kit, "jwt:t:short") == pytest.approx(100, abs=5)
        assert await lifetime(kit, "jwt:revoked") == pytest.approx(100, abs=5)
        session = await create(kit, lifetime=500)
        await kit.store.revoke_session(session.id)
        assert await lifetime(kit, "jwt:revoked") == pytest.approx(500 + LINGER, abs=5)
        await kit.store.revoke_token("ever", lifetime=None)
        assert await kit.client.pttl("jwt:revoked") == -1
        assert await kit.client.pttl("jwt:t:ever") == -1
        await kit.store.revoke_token("over", lifetime=0)
        await kit.age(1000)
        assert await kit.keys() == [b"jwt:revoked", b"jwt:t:ever"]


async def test_what_has_ended_is_dropped_as_it_goes(redis_server: RedisServer) -> None:
    async with redis_kit(redis_server) as kit:
        for number in range(60):
            await create(kit, number, lifetime=100, linger=0)
            await kit.store.revoke_token(f"jti {number}", lifetime=100)
        kept = await create(kit, 99, lifetime=None, max_age=None)
        await kit.store.revoke_token("ever", lifetime=None)
        await kit.age(200)
        for _ in range(30):
            await create(kit, 99, lifetime=None, max_age=None)
            await kit.store.revoke_token("ever", lifetime=None)
        # By samples of twenty: few are left, and all that matters is.
        assert await kit.client.hlen(key_of(kept)) < 10
        assert await is_live(kit, kept)
        assert [*await entries(kit)] == [("token", "ever")]
        assert await kit.client.zcard("jwt:revoked") < 10


class Meddling:
    """A client that does something after a number of commands."""

    def __init__(self, client: Any, after: int, what: Callable[[], Awaitable[Any]]) -> None:
        self._client = client
        self._after = after
        self._what = what
        self.commands = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def evalsha(self, *arguments: Any) -> Any:
        answer = await self._client.evalsha(*arguments)
        self.commands += 1
        if self.commands == self._after:
            await self._what()
        return answer


async def revoke_while_extended(kit: RedisKit, after: int) -> tuple[Meddling, Any]:
    session = await create(kit, max_age=None)
    # The scripts are known to the server by now.
    await kit.store.revoke_session((await create(kit, 1)).id)
    await extend(kit, session)
    meddling = Meddling(kit.store._client, after, lambda: extend(kit, session, lifetime=5000))
    revoked = await RedisTokenStore(meddling).revoke_session(session.id)
    assert revoked is not None
    assert (revoked.expires_at - session.expires_at).total_seconds() > 3000
    assert not await is_live(kit, session)
    return meddling, revoked


async def test_session_extended_meanwhile_has_an_entry_until_its_new_end(
    redis_server: RedisServer,
) -> None:
    async with redis_kit(redis_server) as kit:
        meddling, revoked = await revoke_while_extended(kit, 1)
        # Read, and entry with revocation.
        assert meddling.commands == 2
        end = (await entries(kit))["session", revoked.id]
        assert end == pytest.approx(revoked.expires_at.timestamp() + LINGER)


async def test_session_extended_meanwhile_in_a_cluster_has_an_entry_for_ever(
    redis_cluster: RedisCluster,
) -> None:
    """Its first entry would end too early, so another one is written before it is revoked."""
    async with redis_kit(redis_cluster) as kit:
        meddling, revoked = await revoke_while_extended(kit, 2)
        # Read, entry, revoke (rejected), entry, revoke.
        assert meddling.commands == 5
        assert (await entries(kit))["session", revoked.id] is None


async def assert_done_or_not_at_all(kit: RedisKit, store: RedisTokenStore) -> None:
    """What polling workers know and what check() says agree, wherever a revocation fails."""
    kit.store = store
    calls: list[Callable[[Any], Awaitable[Any]]] = [
        lambda session: store.revoke_session(session.id),
        lambda session: store.revoke_sessions(session.identity),
        lambda session: rotate(kit, session, 0, grace=0),
        lambda session: store.revoke_token(session.id, lifetime=100),
    ]
    results = set()
    for number, (call, steps) in enumerate(itertools.product(calls, range(6))):
        session = await create(kit, 0, f"user {number}")
        await rotate(kit, session, 0)
        with kit.failing_after(steps), contextlib.suppress(Failure):
            await call(session)
        revoked = await store.check(session.id, session.id) != "live"
        known = {id_ for _, id_ in await entries(kit)}
        assert revoked == (session.id in known)
        results.add(revoked)
    assert results == {False, True}


async def test_revocation_that_fails_is_done_or_not_at_all(redis_server: RedisServer) -> None:
    async with redis_kit(redis_server) as kit:
        await assert_done_or_not_at_all(kit, kit.store)


async def test_prefix_with_a_hash_tag_makes_revocations_in_a_cluster_atomic(
    redis_cluster: RedisCluster,
) -> None:
    async with redis_kit(redis_cluster) as kit:
        store = RedisTokenStore(kit.store._client, prefix="{jwt}:")
        await assert_done_or_not_at_all(kit, store)


async def test_cluster_behind_a_client_for_a_single_server_revokes_in_two_steps(
    redis_cluster: RedisCluster,
) -> None:
    """For example a proxy: only the answer says that the keys are in different slots."""
    async with redis_kit(redis_cluster) as kit, redis_client(redis_cluster.nodes[0]) as client:

        def is_on_first_node(prefix: str) -> bool:
            store = RedisTokenStore(client, prefix)
            keys = (store._entries, store._key_of("user"), f"{prefix}t:jti")
            return max(map(kit.client.keyslot, keys)) < 16384 // 3

        prefixes = (f"{number}:" for number in range(10000))
        store = kit.store = RedisTokenStore(client, next(filter(is_on_first_node, prefixes)))
        one, two, three = [await create(kit, number, "user") for number in range(3)]
        assert await store.revoke_session(one.id) == one
        await rotate(kit, two, 0)
        assert (await rotate(kit, two, 0, grace=0))[0] == "reused"
        assert await store.revoke_sessions("user") == [three]
        await store.revoke_token("jti", lifetime=100)
        for session in (one, two, three):
            assert await store.check(session.id, None) == "session_ended"
        assert await store.check(None, "jti") == "token_revoked"
        ids = {id_ for _, id_ in await entries(kit)}
        assert ids == {one.id, two.id, three.id, "jti"}


async def test_redis_without_memory_revokes_nothing(redis_server: RedisServer) -> None:
    """It stops a script at the first write that needs memory, and keeps the writes before it."""
    async with redis_kit(redis_server) as kit:
        session = await create(kit)
        await rotate(kit, session, 0)
        await kit.client.config_set("maxmemory", 1)
        try:
            for call in (
                lambda: kit.store.revoke_session(session.id),
                lambda: kit.store.revoke_sessions(session.identity),
                lambda: rotate(kit, session, 0, grace=0),
                lambda: kit.store.revoke_token("jti", lifetime=100),
            ):
                with pytest.raises(Exception, match="(?i)maxmemory"):
                    await call()
        finally:
            await kit.client.config_set("maxmemory", 0)
        assert await kit.store.check(session.id, "jti") == "live"
        assert await entries(kit) == {}


async def test_prefixes_are_apart(redis_server: RedisServer) -> None:
    async with redis_kit(redis_server) as kit:
        session = await create(kit)
        other = RedisTokenStore(kit.client, prefix="other:")
        assert await other.check(session.id, None) == "session_ended"
        await other.revoke_token("jti", lifetime=100)
        assert await kit.store.check(session.id, "jti") == "live"
        assert await kit.keys() == [key_of(session).encode(), b"other:revoked", b"other:t:jti"]


async def test_a_redis_that_forgot_the_scripts(redis_server: RedisServer) -> None:
    async with redis_kit(redis_server) as kit:
        session = await create(kit)
        await kit.client.script_flush()
        assert (await rotate(kit, session, 0))[0] == "rotated"


async def test_a_record_is_plain_json(redis_server: RedisServer) -> None:
    async with redis_kit(redis_server) as kit:
        session = await create(kit, metadata={"a": []})
        record = json.loads(await kit.client.hget(key_of(session), session.id))
        times = {"created_at", "rotated_at", "expires_at", "ends_at"}
        assert set(record) == {"identity", "generation", "metadata", "linger"} | times
        assert record["created_at"] == str(round(session.created_at.timestamp() * 1000))


async def test_a_cluster_spreads_the_keys(redis_cluster: RedisCluster) -> None:
    async with redis_kit(redis_cluster) as kit:
        sessions = [await create(kit, 0, f"user {number}") for number in range(30)]
        sizes = await kit.client.dbsize(target_nodes="primaries")
        assert sizes == 30
        for node in redis_cluster.nodes:
            async with redis_client(node) as client:
                assert await client.dbsize() > 0
        for session in sessions:
            assert await kit.store.revoke_session(session.id) == session
            assert await kit.store.check(session.id, "jti") == "session_ended"
        assert len(await entries(kit)) == 30


async def test_killed_and_started_again() -> None:
    with started(RedisServer) as server:
        async with redis_kit(server) as kit:
            session, revoked = await create(kit, 1), await create(kit, 2)
            await kit.store.revoke_session(revoked.id)
            await kit.store.revoke_token("jti", lifetime=1000)
            server.kill()
            for call in (
                lambda: kit.store.check(session.id, "jti"),
                lambda: kit.store.revoke_session(session.id),
                lambda: rotate(kit, session, 0),
                lambda: kit.store.revoked_since(0.0),
            ):
                with pytest.raises(Exception, match=r"(?i)connect"):
                    await call()
            server.start()
            assert await kit.store.check(session.id, "other") == "live"
            assert await kit.store.check(None, "jti") == "token_revoked"
            assert not await is_live(kit, revoked)
            assert set(await entries(kit)) == {("session", revoked.id), ("token", "jti")}
            assert (await rotate(kit, session, 0))[0] == "rotated"


async def test_calls_while_it_is_killed() -> None:
    """Whatever a call of that moment says, a revocation that returned holds afterwards."""
    with started(RedisServer) as server:
        async with redis_kit(server) as kit:
            sessions = [await create(kit, number, f"user {number}") for number in range(50)]
            calls = [asyncio.create_task(kit.store.revoke_session(s.id)) for s in sessions]
            await asyncio.sleep(0.01)
            server.kill()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            server.start()
            found = await entries(kit)
            for session, answer in zip(sessions, answers, strict=True):
                live = await is_live(kit, session)
                assert isinstance(answer, Exception) or not live
                assert live or ("session", session.id) in found


def test_an_id_starts_with_its_identity() -> None:
    store = RedisTokenStore(None)
    assert store._key_of("ann") == "jwt:s:" + new_id("ann")[:8]
