"""The client for asyncio: that it gives what the blocking one gives, and what is asyncio's own."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time

import anyio
import pytest
from running import lock_events

import pgque

pytestmark = pytest.mark.anyio


async def received(client, queue):
    await client.force_next_tick(queue)
    await client.ticker(queue)
    return await client.receive(queue, "c")


async def test_sends_and_receives(async_client, queue):
    assert await async_client.send(queue, {"n": 1}, type="t", extra1="x") > 0
    ids = await async_client.send_batch(queue, "t", [1, 2])
    messages = await received(async_client, queue)
    assert [m.payload for m in messages] == ['{"n": 1}', "1", "2"]
    assert [m.msg_id for m in messages][1:] == ids
    await async_client.nack(messages[0].batch_id, messages[0], retry_after=0)
    assert await async_client.finish(messages[0].batch_id, {messages[1].msg_id: None}) == 1
    assert await async_client.ack(messages[0].batch_id) == 0


async def test_every_operation_is_a_coroutine_function_with_the_blocking_ones_signature():
    handed_on = {"execute", "notification", "transaction"}
    # Tasks that wait at the same time need no pipeline.
    but = {"conn", "pipeline"}
    names = {n for n in dir(pgque.PgqueClient) if not n.startswith("_")} - but
    for name in names - handed_on:
        call, blocking = getattr(pgque.AsyncPgqueClient, name), getattr(pgque.PgqueClient, name)
        assert inspect.iscoroutinefunction(call), name
        assert inspect.signature(call) == inspect.signature(blocking)
        assert call.__doc__ == blocking.__doc__
    assert names <= set(dir(pgque.AsyncPgqueClient))


async def test_errors_are_those_of_the_blocking_client(async_client):
    with pytest.raises(pgque.PgqueQueueNotFound) as refused:
        await async_client.send("no such queue", 1)
    assert refused.value.op == "send"
    with pytest.raises(pgque.PgqueInvalidInput) as invalid:
        await async_client.send("q", {1, 2})
    assert isinstance(invalid.value.__cause__, TypeError)
    with pytest.raises(pgque.PgqueConfigurationError):
        await pgque.connect_async("nonsense")


async def test_statements_and_transactions(async_client, queue):
    result = await async_client.execute("select %s::int, %s::jsonb", [7, '{"a": [1]}'])
    assert result.fetchall() == [(7, {"a": [1]})]
    async with async_client.transaction():
        await async_client.send(queue, 1)
        with pytest.raises(ZeroDivisionError):
            async with async_client.transaction():
                await async_client.send(queue, 2)
                raise ZeroDivisionError
    await async_client.begin()
    await async_client.send(queue, 3)
    await async_client.rollback()
    assert [m.payload for m in await received(async_client, queue)] == ["1"]


async def test_without_autocommit_the_first_call_opens_a_transaction(dsn, async_client, queue):
    async with pgque.connect_async(dsn) as client:
        await asyncio.gather(*(client.send(queue, n) for n in range(20)))
        assert client.conn.transaction_status == "active"
        await client.commit()
        await client.send(queue, "0")
    assert len(await received(async_client, queue)) == 20


async def test_notifications(dsn, async_client):
    async with pgque.connect_async(dsn, autocommit=True) as client:
        await client.listen("news")
        assert await client.notification(0) is None
        waiting = asyncio.create_task(client.notification(10))
        await async_client.execute("notify news, 'x'")
        assert (await waiting).payload == "x"
        await async_client.execute("notify news, 'y'")
        assert [n.payload async for n in client.conn.notifies(timeout=10, stop_after=1)] == ["y"]


async def test_calls_made_at_once_reach_the_server_in_their_order(async_client, queue):
    ids = await asyncio.gather(*(async_client.send(queue, n) for n in range(100)))
    assert ids == sorted(ids)
    assert [m.payload for m in await received(async_client, queue)] == [str(n) for n in range(100)]


async def test_calls_made_at_once_wait_for_the_server_together(async_client, psycopg_conn, queue):
    lock_events(psycopg_conn, queue)
    sends = [asyncio.create_task(async_client.send(queue, n)) for n in range(50)]
    await anyio.sleep(0.2)
    assert not any(send.done() for send in sends)
    psycopg_conn.rollback()
    assert len(await asyncio.gather(*sends)) == 50


async def test_a_cancelled_statement_is_cancelled_at_the_server(async_client):
    began = time.monotonic()
    with anyio.move_on_after(0.1) as scope:
        await async_client.execute("select pg_sleep(30)")
    assert scope.cancelled_caught
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(async_client.execute("select pg_sleep(30)"), 0.1)
    assert (await async_client.execute("select 1")).fetchone() == (1,)
    assert time.monotonic() - began < 10


async def test_a_cancelled_statement_fails_its_transaction_alone(async_client, queue):
    with pytest.raises(asyncio.TimeoutError):
        async with async_client.transaction():
            await async_client.send(queue, 1)
            await asyncio.wait_for(async_client.execute("select pg_sleep(30)"), 0.1)
    assert async_client.conn.transaction_status == "idle"
    await async_client.send(queue, 2)
    assert [m.payload for m in await received(async_client, queue)] == ["2"]


async def test_a_begin_that_was_cancelled_leaves_no_transaction_open(async_client, queue):
    for answered in (False, True):
        begin = asyncio.create_task(async_client.begin())
        await asyncio.sleep(0)
        if answered:
            # The answer is there, and the loop has not looked at it.
            time.sleep(0.2)
        begin.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begin
        await async_client.send(queue, answered)
        assert async_client.conn.transaction_status == "idle"
    assert [m.payload for m in await received(async_client, queue)] == ["false", "true"]


async def test_a_cancelled_call_leaves_the_others_alone(async_client, psycopg_conn, queue):
    lock_events(psycopg_conn, queue)
    sends = [asyncio.create_task(async_client.send(queue, n)) for n in range(3)]
    await anyio.sleep(0.1)
    sends[1].cancel()
    await asyncio.wait({sends[1]})
    psycopg_conn.rollback()
    assert await sends[0] < await sends[2]
    assert sends[1].cancelled()


async def test_a_call_that_nobody_awaits_is_not_made(async_client, queue):
    call = async_client.send(queue, 1)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        del call
        gc.collect()
    assert await received(async_client, queue) == []


async def test_connecting_can_be_cancelled(dsn):
    async with pgque.connect_async(dsn, autocommit=True):
        pass

    async def silent(reader: object, writer: object) -> None:
        # It holds both: since Python 3.12 a writer that nobody holds closes its connection.
        await asyncio.sleep(60)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with anyio.move_on_after(0.1) as scope:
        await pgque.connect_async(f"host=127.0.0.1 port={port}")
    assert scope.cancelled_caught
    server.close()


async def test_closing(dsn):
    client = await pgque.connect_async(dsn)
    await client.close()
    await client.close()
    with pytest.raises(pgque.PgqueClosedError):
        await client.version()


async def test_a_connection_has_the_manners_of_psycopg(dsn, queue, client):
    opened = await pgque.connect_async(dsn)
    async with opened.conn as conn:
        assert conn.autocommit is False
        await opened.send(queue, 1)
    assert conn.closed
    opened = await pgque.connect_async(dsn, autocommit=True)
    owner = pgque.AsyncPgqueClient(opened.conn)
    await owner.close()
    assert await opened.version(), "who did not open it does not close it"
    await opened.close()
    with pytest.raises(TypeError, match="AsyncPgqueClient takes"):
        pgque.PgqueClient(opened.conn)
    with pytest.raises(TypeError, match="PgqueClient takes blocking ones"):
        pgque.AsyncPgqueClient(client.conn)


def test_a_client_serves_one_loop_after_the_other(dsn):
    client = asyncio.run(_connect(dsn))
    versions = {asyncio.run(client.version()) for _ in range(3)}
    assert len(versions) == 1
    asyncio.run(client.close())


async def _connect(dsn):
    return await pgque.connect_async(dsn, autocommit=True)


def test_loops_of_several_threads_share_a_client(dsn, queue):
    client = asyncio.run(_connect(dsn))
    ids: list[int] = []

    async def send() -> None:
        ids.extend(await asyncio.gather(*(client.send(queue, n) for n in range(100))))

    threads = [threading.Thread(target=lambda: asyncio.run(send())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 400
    asyncio.run(client.close())


def test_without_a_loop_a_call_says_so(dsn):
    client = asyncio.run(_connect(dsn))
    call = client.version()
    with pytest.raises(RuntimeError, match="no running event loop"):
        call.send(None)
    asyncio.run(client.close())


def test_a_loop_that_closes_over_a_call_leaves_the_client_usable(dsn):
    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(_connect(dsn))
    task = loop.create_task(client.execute("select pg_sleep(0.3)"))
    loop.call_later(0.1, loop.stop)
    loop.run_forever()
    loop.close()
    # The answer comes to a loop that is closed, and goes nowhere.
    time.sleep(0.5)
    assert not task.done()
    task.get_coro().close()
    assert asyncio.run(client.version())
    asyncio.run(client.close())


def test_a_loop_leaves_nothing_open_behind(dsn):
    async def once() -> None:
        async with pgque.connect_async(dsn) as client:
            await client.version()

    def open_files() -> int:
        import os

        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    asyncio.run(once())
    before = open_files()
    for _ in range(10):
        asyncio.run(once())
    assert open_files() <= before + 2
