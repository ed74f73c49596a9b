"""That many calls leave nothing behind: no memory, no objects, no references."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager

import psycopg
import pytest

import pgque

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="reads Linux's account"
)

#: What is made of these with each call is counted by its references.
KINDS = (pgque.Message, pgque.PgqueInvalidInput, pgque.PgqueQueueNotFound, pgque.Retry, None)


def memory() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def nothing_left_behind():
    gc.collect()
    objects, before = len(gc.get_objects()), memory()
    counts = [sys.getrefcount(kind) for kind in KINDS]
    yield
    gc.collect()
    assert len(gc.get_objects()) - objects < 200
    assert memory() - before < 8 << 20
    after = [sys.getrefcount(kind) for kind in KINDS]
    assert all(b - a < 1000 for a, b in zip(counts, after, strict=True)), (counts, after)


def test_calls_that_need_no_server_and_statements(client, queue, tick):
    client.send_batch(queue, "t", [{"n": n} for n in range(1000)])
    tick()
    messages = client.receive(queue, "c", 1000)
    batch_id = messages[0].batch_id
    assert len(messages) == 1000

    def some(times: int) -> None:
        """Calls of each kind: to the server and not, that succeed and that fail."""
        for n in range(times):
            client.execute("select %s::int, %s", [n, "text"]).fetchall()
            client.queue_info(queue)
            for message in messages[:20]:
                assert message.payload and message.type == "t" and message.created_at
                repr(message), message.json(), message == messages[0]
            pgque.Message(1, 2, "t", "{}", None, None)
            for bad in (lambda: client.send(queue, object()), lambda: client.nack(0, 0)):
                with pytest.raises(pgque.PgqueError):
                    bad()
            pgque.Event({"n": n}), pgque.retry(5, "later"), pgque.Text("x")
        client.receive(queue, "c", 1000)

    # Each round is some 170 calls.
    some(100)
    with nothing_left_behind():
        some(600)
    assert client.ack(batch_id) == 1


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(pgque.PgqueError):
        call()


def test_sending_handling_and_failing(dsn, client, queue, tick, monkeypatch):
    """Each round sends, receives, retries and handles, in every way there is."""
    # pytest keeps what is logged, with its tracebacks.
    monkeypatch.setattr(logging.getLogger("pgque"), "propagate", False)
    monkeypatch.setattr(logging.getLogger("pgque"), "handlers", [logging.NullHandler()])
    client.subscribe(queue, "by_hand")
    client.subscribe(queue, "async")
    consumer = pgque.Consumer(dsn, queue=queue, name="c", retry_after=3600)
    handled = 0

    @consumer.on("*")
    def handle(message: pgque.Message) -> pgque.Verdict | None:
        nonlocal handled
        handled += 1
        if handled % 100 == 0:
            raise ValueError(message.payload)
        return pgque.retry(3600, "later") if handled % 100 == 1 else None

    def by_hand() -> None:
        for n in range(20):
            client.send(queue, {"n": n}, extra1="x")
            producer.send(queue, {"n": n})
        client.send_batch(queue, "t", [{"n": n} for n in range(200)])
        refused(lambda: client.send("no such queue", 1))
        refused(lambda: producer.send("no such queue", 1))
        refused(lambda: client.send(queue, {1}))
        tick()
        messages = client.receive(queue, "by_hand", 1000)
        assert sum(len(message.json()) for message in messages) == len(messages)
        for message in messages[:5]:
            client.nack(message.batch_id, message, retry_after=3600, reason="later")
        refused(lambda: client.nack(messages[0].batch_id, 0))
        client.finish(messages[0].batch_id, {messages[9].msg_id: pgque.retry(3600)})

    async def in_tasks() -> None:
        sent = (other.send(queue, {"n": n}) for n in range(50))
        failed = (other.send("no such queue", n) for n in range(10))
        found = await asyncio.gather(*sent, *failed, return_exceptions=True)
        assert [type(error) for error in found[50:]] == [pgque.PgqueQueueNotFound] * 10
        with pytest.raises(pgque.PgqueQueueNotFound):
            await theirs.send("no such queue", 1)
        await theirs.send(queue, {"n": 1})
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(other.execute("select pg_sleep(5)"), 0.001)
        messages = await other.receive(queue, "async", 1000)
        await other.nack(messages[0].batch_id, messages[0], retry_after=3600)
        assert await other.ack(messages[0].batch_id) == 1

    async def connect() -> tuple[pgque.AsyncPgqueClient, psycopg.AsyncConnection]:
        conn = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        return await pgque.connect_async(dsn, autocommit=True), conn

    loop = asyncio.new_event_loop()
    other, conn = loop.run_until_complete(connect())
    theirs = pgque.AsyncPgqueClient(conn)

    def rounds(times: int) -> None:
        for _ in range(times):
            by_hand()
            loop.run_until_complete(in_tasks())
            consumer._drain()

    with pgque.Producer(dsn) as producer:
        rounds(10)
        before = handled
        with nothing_left_behind():
            rounds(100)
    assert handled - before > 20_000
    loop.run_until_complete(other.close())
    loop.run_until_complete(conn.close())
    loop.close()
