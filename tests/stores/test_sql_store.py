"""What SQLTokenStore leaves in a database, and what it does when the database goes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, event, exc, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from quart_jwt_extended import SQLTokenStore
from support.services import PostgresServer, started
from support.token_store_kits import SQLKit, postgres_kit, sqlite_kit
from support.token_store_suite import create, entries, is_live, rotate

DRIVERS = ["asyncpg", "psycopg"]


@pytest.fixture(params=["sqlite", *(pytest.param(d, marks=pytest.mark.slow) for d in DRIVERS)])
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLKit]:
    if request.param == "sqlite":
        context = sqlite_kit(tmp_path)
    else:
        context = postgres_kit(request.getfixturevalue("postgres_server"), request.param)
    async with context as found:
        yield found


async def test_an_application_rolls_no_revocation_back(kit: SQLKit) -> None:
    session = await create(kit)
    async with kit.engine.connect() as connection:
        transaction = await connection.begin()
        await connection.exec_driver_sql("SELECT 1")
        await kit.store.revoke_session(session.id)
        await kit.store.revoke_token("jti", lifetime=100)
        await transaction.rollback()
    assert not await is_live(kit, session)
    assert await kit.store.check(None, "jti") == "token_revoked"


async def test_the_engine_of_the_application_keeps_its_transactions(kit: SQLKit) -> None:
    await create(kit)
    (table, _) = sorted(kit.tables, key=lambda table: len(table.name))
    async with kit.engine.connect() as connection:
        await connection.execute(table.delete())
        await connection.rollback()
    assert await kit.store.get_sessions("ann")


@pytest.mark.parametrize("outcome", ["rotated", "retried", "reused"])
async def test_each_change_is_one_statement(kit: SQLKit, outcome: str) -> None:
    session = await create(kit)
    if outcome != "rotated":
        await rotate(kit, session, 0)
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.split()[0] in ("SELECT", "UPDATE", "INSERT", "DELETE"):
            statements.append(statement.split()[0])

    event.listen(kit.engine.sync_engine, "before_cursor_execute", note)
    grace = 0 if outcome == "reused" else 10
    assert (await rotate(kit, session, 0, grace=grace))[0] == outcome
    expected = {"rotated": [], "retried": ["SELECT"], "reused": ["SELECT", "UPDATE"]}
    assert statements == ["UPDATE", *expected[outcome]]
    statements.clear()
    await kit.store.check(session.id, "jti")
    await kit.store.revoked_since(0.0)
    assert statements == ["SELECT", "SELECT"]


async def test_errors_show_no_parameters(kit: SQLKit) -> None:
    session = await create(kit, identity="a secret identity")
    with pytest.raises(exc.IntegrityError) as caught:
        await create(kit, identity="a secret identity")
    assert "a secret identity" not in str(caught.value)
    assert "parameters hidden" in str(caught.value)
    assert await is_live(kit, session)


async def test_tables_are_made_once_and_are_for_alembic(kit: SQLKit) -> None:
    await create(kit)
    await kit.store.create_tables()
    assert len(await kit.store.get_sessions("ann")) == 1
    store = SQLTokenStore(kit.engine, table="logins")
    assert set(store.metadata.tables) == {"logins", "logins_revoked_tokens"}
    await store.create_tables()
    async with kit.engine.connect() as connection:
        found = await connection.run_sync(lambda c: inspect(c).get_indexes("logins"))
    assert {tuple(each["column_names"]) for each in found} == {("identity",), ("revoked_at",)}
    assert await store.get_sessions("ann") == []


def test_other_databases_are_refused() -> None:
    engine = SimpleNamespace(sync_engine=None, dialect=SimpleNamespace(name="mysql"))
    with pytest.raises(ValueError, match="PostgreSQL and SQLite, not mysql"):
        SQLTokenStore(engine)


async def test_one_connection_for_all_is_refused() -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    with pytest.raises(ValueError, match="use a database file, or MemoryTokenStore"):
        SQLTokenStore(engine)
    await engine.dispose()


async def test_a_locked_sqlite_is_an_error_and_no_revocation_is_lost(tmp_path: Path) -> None:
    async with sqlite_kit(tmp_path) as kit:
        session = await create(kit)
        impatient = create_async_engine(kit.engine.url, connect_args={"timeout": 0.01})
        store = SQLTokenStore(impatient)
        other = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(exc.OperationalError, match="locked"):
                await store.revoke_session(session.id)
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert await store.check(session.id, None) == "live"
        assert await store.revoke_session(session.id) == session
        await impatient.dispose()


async def test_the_time_of_an_entry_is_not_that_before_a_wait(tmp_path: Path) -> None:
    """A worker that asked meanwhile for what is new would never learn of it."""
    async with sqlite_kit(tmp_path) as kit:
        session = await create(kit)
        waits = asyncio.Event()

        def begun(_: Any, __: Any, statement: str, *___: Any) -> None:
            if statement == "BEGIN IMMEDIATE":
                waits.set()

        event.listen(kit.engine.sync_engine, "before_cursor_execute", begun)
        other = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            revocation = asyncio.create_task(kit.store.revoke_session(session.id))
            await waits.wait()
            moment, _ = await kit.store.revoked_since(0.0)
            other.execute("ROLLBACK")
            assert await revocation == session
        finally:
            other.close()
        assert list(await entries(kit, moment)) == [("session", session.id)]


@pytest.mark.slow
@pytest.mark.parametrize("driver", DRIVERS)
async def test_killed_and_started_again(driver: str) -> None:
    with started(PostgresServer) as server:
        async with postgres_kit(server, driver) as kit:
            session, revoked = await create(kit, 1), await create(kit, 2)
            await kit.store.revoke_session(revoked.id)
            # With the settings of these tests, a commit is not on the disk yet.
            async with kit.engine.connect() as connection:
                await connection.exec_driver_sql("CHECKPOINT")
            server.kill()
            for call in (
                lambda: kit.store.check(session.id, "jti"),
                lambda: kit.store.revoke_session(session.id),
                lambda: rotate(kit, session, 0),
                lambda: kit.store.revoked_since(0.0),
            ):
                with pytest.raises((exc.SQLAlchemyError, OSError)):
                    await call()
            server.start()
            # Connections of the pool that are broken may cost a call.
            for _ in range(3):
                try:
                    assert await kit.store.check(session.id, None) == "live"
                    break
                except exc.DBAPIError:
                    continue
            assert not await is_live(kit, revoked)
            assert set(await entries(kit)) == {("session", revoked.id)}
            assert (await rotate(kit, session, 0))[0] == "rotated"


async def test_engine_whose_events_begin_transactions_works(tmp_path: Path) -> None:
    """The recipe on SQLAlchemy's pages for transactions of SQLite."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/store.db")

    @event.listens_for(engine.sync_engine, "connect")
    def leave_transactions_alone(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    store = SQLTokenStore(engine)
    await store.create_tables()
    session = await store.create_session(
        "s" * 30, "ann", lifetime=100, max_age=None, linger=60, metadata={}
    )
    assert await store.revoke_session(session.id) == session
    assert await store.get_sessions("ann") == []
    await engine.dispose()


async def test_revocation_that_took_long_is_noted_again(kit: SQLKit, monkeypatch: Any) -> None:
    """Else a worker that polls by the time that the statement had read would never see it."""
    session = await create(kit)
    execute = SQLTokenStore._execute
    clock = 0.0

    async def slow(self: Any, statement: Any, **values: Any) -> Any:
        nonlocal clock
        clock += 11 if statement is self._revoke else 0
        found = await execute(self, statement, **values)
        if statement is self._revoke:
            # As if it had waited for the lock of a row after it had read the time.
            await kit.age(60)
        return found

    monkeypatch.setattr(SQLTokenStore, "_execute", slow)
    monkeypatch.setattr("quart_jwt_extended._elapsed", lambda: clock)
    before, _ = await kit.store.revoked_since(0.0)
    await kit.store.revoke_session(session.id)
    _, noted = await kit.store.revoked_since(before - 1)
    assert [id_ for _, id_, _ in noted] == [session.id]


@pytest.mark.parametrize("engine", ["sqlite+aiosqlite:///a.db", create_engine("sqlite:///a.db")])
def test_what_is_no_async_engine_is_named(engine: Any) -> None:
    with pytest.raises(TypeError, match="engine must be an AsyncEngine"):
        SQLTokenStore(engine)


def test_module_by_itself_imports_no_package_of_a_store() -> None:
    program = """
import sys
import quart_jwt_extended
quart_jwt_extended.RedisTokenStore(None)
assert not {"redis", "valkey", "sqlalchemy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
