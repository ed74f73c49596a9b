"""Our own connection for asyncio beside psycopg's: what its users expect of it."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.rows import class_row, dict_row, namedtuple_row, scalar_row

import pgque

pytestmark = pytest.mark.anyio


@pytest.fixture
async def theirs(dsn, anyio_backend):
    conn = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    async with conn:
        yield conn


@pytest.fixture
async def both(async_client, theirs):
    """Ours and psycopg's, of which the same is to be found."""
    return async_client.conn, theirs


def same(found: list) -> None:
    ours, theirs = found
    assert ours == theirs


async def test_a_cursor_is_read_in_every_way(both):
    found = []
    for conn in both:
        rows = []
        async with conn.cursor() as cursor:
            assert await cursor.execute("select n from generate_series(1, %s) n", [6]) is cursor
            rows += [cursor.description[0].name, cursor.rowcount, cursor.rownumber]
            rows += [await cursor.fetchone(), await cursor.fetchmany(2), await cursor.fetchmany()]
            rows += [[row async for row in cursor], await cursor.fetchone(), cursor.rownumber]
            await cursor.execute("create temp table t (n int)")
            rows.append(cursor.description)
            await cursor.executemany("insert into t values (%s)", [[1], [2]])
            rows.append(cursor.rowcount)
            await cursor.execute("select n from t order by n", prepare=False)
            rows.append(await cursor.fetchall())
            await cursor.execute("select n as found from t where n > 2")
            rows += [[column.name for column in cursor.description], await cursor.fetchall()]
        assert cursor.closed
        found.append(rows)
    same(found)


async def test_a_closed_cursor_is_refused(async_client):
    cursor = async_client.conn.cursor()
    await cursor.close()
    with pytest.raises(pgque.PgqueClosedError):
        await cursor.execute("select 1")


def pair(n: int, name: str) -> tuple[int, str]:
    return n, name


@pytest.mark.parametrize("factory", [dict_row, namedtuple_row, scalar_row, class_row(pair)])
async def test_row_factories_of_psycopg(both, factory):
    query = "select n, 'x' || n as name from generate_series(1, 3) n"
    found = []
    for conn in both:
        cursor = await conn.cursor(row_factory=factory).execute(query)
        rows = [await cursor.fetchall()]
        conn.row_factory = factory
        rows.append(await (await conn.cursor().execute(query)).fetchone())
        found.append(rows)
    same(found)
    ours, _ = both
    # All that execute() gives has arrived.
    assert (await ours.execute(query)).fetchall() == found[0][0]


async def test_transactions_are_psycopgs(both):
    found = []
    for conn, rollback in zip(both, (pgque.connection.Rollback, psycopg.Rollback), strict=True):
        await conn.execute("create temp table marks (n int)")
        async with conn.transaction():
            await conn.execute("insert into marks values (1)")
            async with conn.transaction(force_rollback=True):
                await conn.execute("insert into marks values (2)")
            async with conn.transaction("named"):
                await conn.execute("insert into marks values (3)")
                raise rollback
            await conn.execute("insert into marks values (4)")
        async with conn.transaction(force_rollback=True):
            await conn.execute("insert into marks values (5)")
        with pytest.raises(ZeroDivisionError):
            async with conn.transaction():
                await conn.execute("insert into marks values (6)")
                _ = 1 / 0
        cursor = await conn.cursor().execute("select n from marks order by n")
        found.append(await cursor.fetchall())
    same(found)
    assert found[0] == [(1,), (4,)]


async def test_what_programs_ask_of_a_connection(both):
    found = []
    for conn in both:
        await conn.execute("set time zone 'Europe/Berlin'")
        (pid,) = await (await conn.cursor().execute("select pg_backend_pid()")).fetchone()
        assert conn.info.backend_pid == pid
        facts = [conn.info.encoding, conn.info.timezone, conn.info.transaction_status.name]
        await conn.set_autocommit(False)
        await conn.execute("select 1")
        facts.append(conn.info.transaction_status.name)
        with pytest.raises((pgque.PgqueError, psycopg.Error)):
            await conn.execute("select 1/0")
        facts.append(conn.info.transaction_status.name)
        await conn.rollback()
        facts += [conn.closed, conn.broken]
        await conn.close()
        found.append([*facts, conn.info.transaction_status.name, conn.closed])
    same(found)
    with pytest.raises(pgque.PgqueClosedError):
        _ = both[0].info.backend_pid


async def test_notifications_within_a_time_and_up_to_a_number(both):
    found = []
    for conn in both:
        await conn.execute("listen news")
        assert [n async for n in conn.notifies(timeout=0)] == []
        for n in range(3):
            await conn.execute(f"notify news, '{n}'")
        first = [n.payload async for n in conn.notifies(timeout=5, stop_after=2)]
        rest = [n.payload async for n in conn.notifies(timeout=0.2)]
        await conn.execute("unlisten news")
        # psycopg gives what came together even beyond the number.
        found.append(first + rest)
        if conn is both[0]:
            assert first == ["0", "1"]
    same(found)
