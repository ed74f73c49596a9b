"""The testing kit, used as a program's tests would use it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import psycopg
import pytest

import pgque
from pgque import testing

pytest_plugins = ["pgque.pytest_plugin"]


def test_all_that_was_sent_is_handled(pgque_queue):
    consumer = pgque_queue.consumer("mailer")
    seen = []
    consumer.on("*")(lambda message: seen.append(message.json()))
    assert pgque_queue.tick_and_drain(consumer) == 0
    pgque_queue.send(1)
    pgque_queue.send_batch("t", [2, 3])
    assert pgque_queue.tick_and_drain(consumer) == 3
    assert seen == [1, 2, 3]
    assert pgque_queue.tick_and_drain(consumer) == 0


def test_what_handlers_send_is_handled_too(pgque_queue):
    first, second = pgque_queue.consumer("first"), pgque_queue.consumer("second")
    seen = []

    @first.on("*")
    def split(message):
        for number in range(message.json()):
            pgque_queue.send(number)

    second.on("*")(lambda message: seen.append(message.json()))
    pgque_queue.send(3)
    # 3 gives 0, 1 and 2; 1 gives 0; 2 gives 0 and 1, which gives 0.
    assert pgque_queue.tick_and_drain(first, second) == 16
    assert sorted(seen) == [0, 0, 0, 0, 1, 1, 2, 3]


def test_retries_go_on_to_the_dead_letters(pgque_queue):
    consumer = pgque_queue.consumer("mailer", retry_after=0)
    attempts = []

    @consumer.on("*")
    def fail(message):
        attempts.append(message.retry_count)
        raise ValueError("never")

    event_id = pgque_queue.send({})
    handled = pgque_queue.tick_and_drain(consumer)
    assert handled == len(attempts) > 1
    (dead,) = pgque_queue.dead_letters()
    assert dead["msg_id"] == event_id and "never" in dead["reason"]


def test_a_handler_without_end_is_noticed(pgque_queue, monkeypatch):
    monkeypatch.setattr(testing, "ROUNDS_MAX", 5)
    consumer = pgque_queue.consumer("mailer")
    consumer.on("*")(lambda message: pgque_queue.send({}))
    pgque_queue.send({})
    with pytest.raises(RuntimeError, match="after 5 ticks"):
        pgque_queue.tick_and_drain(consumer)


@pytest.mark.parametrize("options", [{"concurrency": 3}, {"transactional": True}], ids=str)
def test_each_kind_of_consumer(pgque_queue, options):
    consumer = pgque_queue.consumer("mailer", **options)
    seen = []
    consumer.on("*")(lambda message, *client: seen.append(message.json()))
    pgque_queue.send_batch("t", list(range(20)))
    assert pgque_queue.tick_and_drain(consumer) == 20
    assert sorted(seen) == list(range(20))


def test_a_handler_of_batches(pgque_queue):
    consumer = pgque_queue.consumer("mailer")
    seen = []

    @consumer.on_batch
    def handle(messages):
        seen.extend(message.json() for message in messages)
        return [True] * len(messages)

    pgque_queue.send_batch("t", [1, 2])
    assert pgque_queue.tick_and_drain(consumer) == 2
    assert seen == [1, 2]


@pytest.mark.anyio
@pytest.mark.parametrize("options", [{"concurrency": 3}, {"transactional": True}], ids=str)
async def test_coroutines_are_awaited_until_nothing_comes(pgque_queue, options):
    first = pgque_queue.async_consumer("first", retry_after=0, **options)
    second = pgque_queue.async_consumer("second")
    seen = []

    @first.on("*")
    async def fail_once(message, *client):
        await asyncio.sleep(0.01)
        if message.retry_count is None:
            raise ValueError("not yet")
        seen.append(message.json())

    @second.on_batch
    async def handle(messages):
        seen.extend(message.json() for message in messages)
        return [True] * len(messages)

    assert await pgque_queue.tick_and_drain_async(first, second) == 0
    pgque_queue.send_batch("t", [1, 2])
    # Other tasks have their turns meanwhile.
    turns, draining = 0, asyncio.ensure_future(pgque_queue.tick_and_drain_async(first, second))
    while not draining.done():
        await asyncio.sleep(0)
        turns += 1
    assert await draining == 6
    assert sorted(seen) == [1, 1, 2, 2]
    assert turns > 10


@pytest.mark.anyio
async def test_coroutines_that_cannot_be_drained(pgque_queue, monkeypatch):
    monkeypatch.setattr(testing, "ROUNDS_MAX", 3)
    monkeypatch.setattr(testing, "TURN_SECONDS_MAX", 0.2)
    consumer = pgque_queue.async_consumer("mailer")
    consumer.on("*")(lambda message: pgque_queue.send({}))
    pgque_queue.send({})
    with pytest.raises(RuntimeError, match="after 3 ticks"):
        await pgque_queue.tick_and_drain_async(consumer)
    pgque_queue.tick()
    other = pgque_queue.consumer("mailer")
    assert other._core.next(0) is not None
    with pytest.raises(RuntimeError, match="another consumer of the name mailer"):
        await pgque_queue.tick_and_drain_async(consumer)
    other._core.close()


def test_nothing_is_not_taken_for_all_done(pgque_queue, monkeypatch):
    """Where a consumer cannot get at the queue, that is no empty queue."""
    monkeypatch.setattr(testing, "TURN_SECONDS_MAX", 0.2)
    consumer = pgque_queue.consumer("mailer")
    consumer.on("*")(print)
    other = pgque_queue.consumer("mailer")
    assert other._core.next(0) is None
    with pytest.raises(RuntimeError, match="another consumer of the name mailer"):
        pgque_queue.tick_and_drain(consumer)
    monkeypatch.undo()
    other._core.close()
    assert pgque_queue.tick_and_drain(consumer) == 0

    nowhere = pgque.Consumer("host=127.0.0.1 port=1", queue=pgque_queue.name, name="mailer")
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1"):
        pgque_queue.tick_and_drain(nowhere)


def test_a_name_of_ones_own_and_two_queues(make_pgque_queue):
    orders, other = make_pgque_queue("orders"), make_pgque_queue()
    assert orders.name == "orders" != other.name
    assert orders.client.queue_info("orders")


def test_every_test_has_a_fresh_queue(make_pgque_queue):
    """The one of that name in the test before is gone, with what was in it."""
    assert make_pgque_queue().client.queue_info("orders") == []


@pytest.mark.parametrize("uri", [True, False], ids=["uri", "keywords"])
def test_a_database_of_its_own_is_dropped(dsn, uri):
    if not uri:
        dsn = psycopg.conninfo.make_conninfo(dsn)
    with testing.database(dsn) as fresh, pgque.connect(fresh, autocommit=True) as client:
        (name,) = client.execute("select current_database()").fetchone()
        assert name.startswith("pgque_test_")
        assert client.queue_info() == []
    with pgque.connect(dsn, autocommit=True) as client:
        assert not client.execute("select from pg_database where datname = %s", [name]).fetchall()


def test_without_pytest_and_without_a_server(monkeypatch):
    """In a process that has no pytest: the kit starts a server and removes it."""
    monkeypatch.delenv("PGQUE_TEST_DSN")
    program = """
        import sys
        sys.modules["pytest"] = None
        from pgque import testing
        with testing.server() as dsn, testing.database(dsn) as fresh, testing.Queue(fresh) as queue:
            consumer = queue.consumer("c")
            consumer.on("*")(lambda message: print(message.json()))
            queue.send(42)
            print(queue.tick_and_drain(consumer))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "42\n1\n", done.stderr
