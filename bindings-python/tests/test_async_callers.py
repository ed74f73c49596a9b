"""Asynchronous connections of the caller's: calls there are part of the caller's transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import pgque

pytestmark = pytest.mark.anyio


def asyncpg_settings(dsn: str) -> dict[str, Any]:
    settings = psycopg.conninfo.conninfo_to_dict(dsn)
    return {{"dbname": "database"}.get(name, name): value for name, value in settings.items()}


@asynccontextmanager
async def over_psycopg(dsn: str) -> AsyncIterator[tuple[Any, Any, Any]]:
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as conn:
        yield conn, conn.execute, conn.rollback


@asynccontextmanager
async def over_asyncpg(dsn: str) -> AsyncIterator[tuple[Any, Any, Any]]:
    conn = await asyncpg.connect(**asyncpg_settings(dsn))
    # As programs do that want values for their own JSON columns.
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=len)
    transaction = conn.transaction()
    await transaction.start()
    yield conn, conn.execute, transaction.rollback
    await conn.close()


@asynccontextmanager
async def over_asyncpg_pool(dsn: str) -> AsyncIterator[tuple[Any, Any, Any]]:
    async with (
        asyncpg.create_pool(**asyncpg_settings(dsn), min_size=1) as pool,
        pool.acquire() as conn,
    ):
        transaction = conn.transaction()
        await transaction.start()
        yield conn, conn.execute, transaction.rollback


def over_sqlalchemy(driver: str, make: Any) -> Any:
    @asynccontextmanager
    async def opened(dsn: str) -> AsyncIterator[tuple[Any, Any, Any]]:
        engine = create_async_engine(dsn.replace("postgresql:", f"postgresql+{driver}:"))
        async with make(engine) as conn:
            yield conn, lambda sql: conn.execute(text(sql)), conn.rollback
        await engine.dispose()

    return opened


KINDS = {
    "psycopg": over_psycopg,
    "asyncpg": over_asyncpg,
    "asyncpg_pool": over_asyncpg_pool,
    "sqlalchemy_asyncpg": over_sqlalchemy("asyncpg", lambda engine: engine.connect()),
    "sqlalchemy_psycopg": over_sqlalchemy("psycopg", lambda engine: engine.connect()),
    "session_asyncpg": over_sqlalchemy("asyncpg", AsyncSession),
    "session_psycopg": over_sqlalchemy("psycopg", AsyncSession),
}


@pytest.fixture(params=KINDS)
async def caller(request, dsn, queue, anyio_backend) -> AsyncIterator[Any]:
    """A client on the caller's connection, and the ways to run a statement and to roll back."""
    async with KINDS[request.param](dsn) as (conn, execute, rollback):
        yield pgque.AsyncPgqueClient(conn), execute, rollback


async def test_what_is_sent_belongs_to_the_transaction(caller, client, queue, tick):
    sender, execute, rollback = caller
    await execute("create temporary table mine (n integer)")
    await sender.send(queue, {"n": 1})
    assert len(await sender.send_batch(queue, None, [{"n": 2}, {"n": 3}])) == 2
    assert len(await sender.send_batch(queue, "t", [pgque.Text('a"b\\'), pgque.Text(None)])) == 2
    await execute("insert into mine values (1)")
    await rollback()
    tick()
    assert client.receive(queue, "c") == []


async def test_every_operation_runs_there(caller, client, queue, tick):
    ours, _, rollback = caller
    client.send_batch(queue, "t", [{"é": 1}, 2])
    client.send(queue, pgque.Text("plain"), type="u", extra1="e")
    tick()
    messages = await ours.receive(queue, "c", 10)
    assert [m.payload for m in messages] == ['{"é": 1}', "2", "plain"]
    assert [(m.type, m.extra1) for m in messages][2] == ("u", "e")
    batch = messages[0].batch_id
    await ours.nack(batch, messages[0], retry_after="1 minute", reason="later")
    await ours.nack(batch, messages[1].msg_id, retry_after=5)
    assert await ours.finish(batch, {messages[2].msg_id: pgque.dead("no")}) == 1
    assert await ours.ack(batch) == 0
    assert len(await ours.dlq_inspect(queue)) == 1
    assert await ours.subscribe(queue, "d") == 1
    assert await ours.unsubscribe(queue, "d") == 1
    assert await ours.subscribe_subconsumer(queue, "w", "w1") == 1
    assert await ours.touch_subconsumer(queue, "w", "w1") == 1
    assert await ours.receive_coop(queue, "w", "w1", dead_interval="1 minute") == []
    assert await ours.unsubscribe_subconsumer(queue, "w", "w1", batch_handling=1) == 1
    assert await ours.create_queue(f"{queue}_2") == 1
    assert await ours.set_queue_config(f"{queue}_2", "max_retries", "3") == 1
    assert await ours.drop_queue(f"{queue}_2", force=True) == 1
    await ours.force_next_tick(queue)
    await ours.ticker(queue)
    assert (await ours.queue_info(queue))[0]["queue_name"] == queue
    assert (await ours.consumer_info(queue, "c"))[0]["consumer_name"] == "c"
    assert await ours.batch_info(batch) == []
    assert (await ours.capabilities()).server_version == client.capabilities().server_version
    assert await ours.version() == client.version()
    assert await ours.dlq_replay_all(queue)
    await ours.dlq_purge(queue)
    assert await ours.status()
    await rollback()


async def test_the_drivers_exception_is_the_cause(caller, queue):
    ours, _, rollback = caller
    with pytest.raises(pgque.PgqueQueueNotFound) as refused:
        await ours.send("no such queue", 1)
    assert refused.value.sqlstate is not None
    assert refused.value.__cause__ is not None
    await rollback()


async def test_a_bad_argument_leaves_the_transaction_alone(caller, queue):
    ours, execute, _ = caller
    for bad in ({1, 2}, float("nan"), "not json"):
        with pytest.raises(pgque.PgqueInvalidInput):
            await ours.send(queue, bad)
    with pytest.raises(pgque.PgqueInvalidInput):
        await ours.send(queue, pgque.Text("a\0b"))
    await execute("select 1")


async def test_tasks_take_turns(caller, queue):
    ours, _, rollback = caller
    ids = await asyncio.gather(*(ours.send(queue, n) for n in range(20)))
    assert ids == sorted(ids)
    await rollback()


async def test_cancellation_is_the_drivers_own(dsn, queue, client):
    conn = await asyncpg.connect(**asyncpg_settings(dsn))
    ours = pgque.AsyncPgqueClient(conn)
    client.begin()
    client.execute("lock table pgque.queue in access exclusive mode")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(ours.queue_info(queue), 0.2)
    client.rollback()
    assert await ours.version()
    await conn.close()


async def test_a_lost_connection_is_a_connection_error(dsn, client):
    conn = await asyncpg.connect(**asyncpg_settings(dsn))
    ours = pgque.AsyncPgqueClient(conn)
    client.execute("select pg_terminate_backend(%s)", [conn.get_server_pid()])
    await asyncio.sleep(0.2)
    with pytest.raises(pgque.PgqueError) as lost:
        await ours.version()
    assert isinstance(lost.value, pgque.PgqueConnectionError)
    assert lost.value.__cause__ is not None


async def test_what_only_our_own_connection_does_is_refused(caller):
    ours, _, _ = caller
    for call in (ours.begin, ours.commit, ours.rollback):
        with pytest.raises(pgque.PgqueConflict):
            await call()
    with pytest.raises(pgque.PgqueConflict):
        await ours.execute("select 1")
    await ours.close()


async def test_other_things_are_refused(dsn, psycopg_conn):
    for wrong in (psycopg_conn, object(), "dsn"):
        with pytest.raises(TypeError, match="asynchronous connection"):
            pgque.AsyncPgqueClient(wrong)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        with pytest.raises(TypeError, match="AsyncPgqueClient takes"):
            pgque.PgqueClient(conn)
