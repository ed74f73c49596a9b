"""The consumer for asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time

import anyio
import pytest
from running import retries

import pgque

pytestmark = pytest.mark.anyio


@pytest.fixture
def send(client, queue, tick):
    def send(count: int = 1, type: str = "t") -> list[int]:
        ids = client.send_batch(queue, type, list(range(count)))
        tick()
        return ids

    return send


def left(client, queue) -> list[int]:
    """What comes again, once it may: retried and handed back alike."""
    return [row[0] for row in retries(client, queue)]


async def test_awaits_handlers_by_type(async_consumer, client, queue, send):
    seen: list[tuple[str, str]] = []

    @async_consumer.on("t")
    async def of_type(message: pgque.Message) -> None:
        await asyncio.sleep(0)
        seen.append(("t", message.payload))

    @async_consumer.on("*")
    def other(message: pgque.Message) -> pgque.Verdict:
        seen.append(("*", message.payload))
        async_consumer.stop()
        return pgque.dead("unknown")

    send(2)
    send(1, "u")
    await asyncio.wait_for(async_consumer.run(), 10)
    assert seen == [("t", "0"), ("t", "1"), ("*", "0")]
    assert len(client.dlq_inspect(queue)) == 1
    assert async_consumer.stats()["handled"] == 2


async def test_verdicts_and_failures(async_consumer, client, queue, send, caplog):
    decided: list[tuple[int, str]] = []

    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> pgque.Verdict | None:
        await asyncio.sleep(0)
        if message.payload == "0":
            return pgque.retry(600, "later")
        if message.payload == "1":
            raise pgque.dead("never")
        async_consumer.stop()
        raise ValueError("on purpose")

    @async_consumer.on_failure
    async def decide(attempt: int, error: Exception) -> pgque.Verdict:
        decided.append((attempt, str(error)))
        return pgque.dead()

    send(3)
    await asyncio.wait_for(async_consumer.run(), 10)
    assert len(retries(client, queue)) == 1
    assert len(client.dlq_inspect(queue)) == 2
    assert decided == [(1, "on purpose")]
    (record,) = [r for r in caplog.records if "handler failed for msg_id=" in r.getMessage()]
    assert record.name == "pgque.consumer.c"
    assert record.exc_info[0] is ValueError


async def test_generators_are_refused(async_consumer, consumer):
    async def generator(message):
        yield

    with pytest.raises(TypeError, match="generator"):
        async_consumer.on("t")(generator)

    async def coroutine(message):
        pass

    with pytest.raises(TypeError, match="AsyncConsumer"):
        consumer.on("t")(coroutine)


async def test_handlers_run_at_once_in_tasks(dsn, queue, send):
    consumer = pgque.AsyncConsumer(dsn, queue=queue, name="c", concurrency=5)
    met = asyncio.Barrier(5) if hasattr(asyncio, "Barrier") else None
    seen: list[int] = []

    @consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        if met is not None:
            await asyncio.wait_for(met.wait(), 5)
        seen.append(message.msg_id)
        if len(seen) == 10:
            consumer.stop()

    ids = send(10)
    await asyncio.wait_for(consumer.run(), 10)
    assert sorted(seen) == ids
    assert consumer.stats()["handled"] == 10


async def test_a_batch_handler(async_consumer, client, queue, send):
    @async_consumer.on_batch
    async def handle(messages: list[pgque.Message]) -> list[object]:
        await asyncio.sleep(0)
        async_consumer.stop()
        return [True, pgque.dead("no")]

    send(3)
    await asyncio.wait_for(async_consumer.run(), 10)
    assert len(client.dlq_inspect(queue)) == 1
    assert len(retries(client, queue)) == 1


async def test_hooks_share_context_variables_with_the_handler(async_consumer, send):
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="none")
    seen: list[str] = []

    @async_consumer.before_message
    async def before(message: pgque.Message) -> None:
        assert span.get() == "none"
        span.set(message.payload)

    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        await asyncio.sleep(0)
        seen.append(span.get())

    @async_consumer.after_message
    def after(message: pgque.Message, outcome: str, seconds: float) -> None:
        seen.append(f"{span.get()} {outcome}")
        if message.payload == "1":
            async_consumer.stop()

    send(2)
    await asyncio.wait_for(async_consumer.run(), 10)
    assert seen == ["0", "0 ack", "1", "1 ack"]
    assert span.get() == "none"


async def test_transactional_effects_are_kept_or_undone_with_the_message(dsn, client, queue, send):
    client.execute(f"create table effects_{queue} (n integer)")
    consumer = pgque.AsyncConsumer(dsn, queue=queue, name="c", transactional=True)

    @consumer.on("t")
    async def handle(message: pgque.Message, ours: pgque.AsyncPgqueClient) -> None:
        await ours.execute(f"insert into effects_{queue} values (%s)", [message.json()])
        if message.payload == "1":
            raise ValueError
        if message.payload == "2":
            with pytest.raises(pgque.PgqueConflict):
                await ours.commit()
            consumer.stop()

    send(3)
    await asyncio.wait_for(consumer.run(), 10)
    rows = client.execute(f"select n from effects_{queue} order by n").fetchall()
    assert rows == [(0,), (2,)]
    assert len(retries(client, queue)) == 1
    client.execute(f"drop table effects_{queue}")


async def test_cancellation_keeps_what_is_done_and_hands_the_rest_back(
    async_consumer, client, queue, send
):
    entered, cleaned = asyncio.Event(), []

    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        if message.payload == "1":
            entered.set()
            try:
                await asyncio.sleep(60)
            finally:
                cleaned.append(message.payload)

    ids = send(3)
    task = asyncio.create_task(async_consumer.run())
    await asyncio.wait_for(entered.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["1"]
    assert left(client, queue) == ids[1:]
    assert async_consumer.stats()["handed_back"] == 2
    assert async_consumer.stats()["failed"] == 0


async def test_a_scope_of_anyio_ends_a_run(async_consumer, client, queue, send):
    entered = anyio.Event()

    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        entered.set()
        await anyio.sleep(60)

    ids = send(2)
    async with anyio.create_task_group() as group:
        group.start_soon(async_consumer.run)
        with anyio.fail_after(10):
            await entered.wait()
        group.cancel_scope.cancel()
    assert left(client, queue) == ids


async def test_an_idle_run_can_be_cancelled_and_run_again(async_consumer, send):
    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        async_consumer.stop()

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(async_consumer.run(), 0.5)
    send(1)
    await asyncio.wait_for(async_consumer.run(), 10)
    assert async_consumer.stats()["handled"] == 1


async def test_what_a_handler_waits_for_may_be_cancelled(async_consumer, client, queue, send):
    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        async_consumer.stop()
        inner = asyncio.create_task(asyncio.sleep(60))
        inner.cancel()
        await inner

    send(1)
    await asyncio.wait_for(async_consumer.run(), 10)
    assert async_consumer.stats()["failed"] == 1


async def test_a_forced_stop_cancels_handlers(async_consumer, client, queue, send):
    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        async_consumer.stop()
        async_consumer.stop()
        await asyncio.sleep(60)

    ids = send(2)
    await asyncio.wait_for(async_consumer.run(), 10)
    assert left(client, queue) == ids


async def test_stops_from_another_thread(async_consumer):
    async_consumer.on("t")(lambda message: None)
    threading.Timer(0.3, async_consumer.stop).start()
    await asyncio.wait_for(async_consumer.run(), 10)


async def test_handlers_that_never_wait_leave_the_loop_its_turn(async_consumer, send):
    turns: list[int] = []

    async def count() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        time.sleep(0.01)
        if message.payload == "0":
            turns.clear()
        if message.payload == "49":
            async_consumer.stop()

    send(50)
    counter = asyncio.create_task(count())
    await asyncio.wait_for(async_consumer.run(), 20)
    counter.cancel()
    assert len(turns) > 5


async def test_permanent_errors_are_raised(dsn, queue):
    consumer = pgque.AsyncConsumer(dsn, queue=queue, name="nobody")
    consumer.on("t")(lambda message: None)
    with pytest.raises(pgque.PgqueConsumerNotFound):
        await asyncio.wait_for(consumer.run(), 10)


async def test_runs_beside_a_block(async_consumer, send, caplog):
    seen = asyncio.Event()

    @async_consumer.on("t")
    async def handle(message: pgque.Message) -> None:
        seen.set()

    async with async_consumer:
        send(1)
        await asyncio.wait_for(seen.wait(), 10)
    assert async_consumer.health().status == "stopped"


async def test_a_run_beside_a_block_that_fails_says_so(dsn, queue, caplog):
    consumer = pgque.AsyncConsumer(dsn, queue=queue, name="nobody")
    consumer.on("t")(lambda message: None)
    with pytest.raises(pgque.PgqueConsumerNotFound):
        async with consumer:
            while "consumer nobody ended" not in caplog.text:
                await asyncio.sleep(0.01)


async def test_iterating_acknowledges_when_the_next_is_asked_for(
    async_consumer, client, queue, send
):
    send(3)
    seen = []
    async with async_consumer:
        async for message in async_consumer:
            seen.append(message.payload)
            if len(seen) == 1:
                async_consumer.settle(pgque.dead("no"))
            if len(seen) == 3:
                async_consumer.stop()
    assert seen == ["0", "1", "2"]
    assert async_consumer.stats()["handled"] == 2
    assert len(client.dlq_inspect(queue)) == 1


async def test_iterating_breaks_after_what_is_handled(async_consumer, client, queue, send):
    ids = send(3)
    async with async_consumer:
        async for message in async_consumer:
            if message.msg_id == ids[1]:
                break
    assert left(client, queue) == ids[2:]
    assert async_consumer.stats()["handled"] == 2


async def test_iterating_fails_what_raises(async_consumer, client, queue, send):
    ids = send(2)
    with pytest.raises(ZeroDivisionError):
        async with async_consumer:
            async for _ in async_consumer:
                raise ZeroDivisionError
    assert left(client, queue) == ids
    assert async_consumer.stats()["failed"] == 1
    assert async_consumer.stats()["handed_back"] == 1


async def test_iterating_without_a_block_hands_back(async_consumer, client, queue, send):
    ids = send(2)
    async for _ in async_consumer:
        break
    with anyio.fail_after(10):
        while left(client, queue) != ids:
            await asyncio.sleep(0.02)
    assert async_consumer.stats()["failed"] == 0


async def test_iterating_is_in_place_of_handlers(dsn, queue, async_consumer):
    async_consumer.on("t")(lambda message: None)
    with pytest.raises(pgque.PgqueConflict, match="in place of handlers"):
        aiter(async_consumer)
    transactional = pgque.AsyncConsumer(dsn, queue=queue, name="c", transactional=True)
    with pytest.raises(pgque.PgqueConflict, match="transactional"):
        aiter(transactional)
    with pytest.raises(pgque.PgqueConflict, match="no message in hand"):
        transactional.settle(None)


async def test_log_lines_are_those_of_the_blocking_consumer(dsn, client, queue, send, caplog):
    caplog.set_level(logging.INFO)

    def lines() -> list[tuple[str, int, str]]:
        found = [(r.name, r.levelno, r.getMessage()) for r in caplog.records]
        caplog.clear()
        return [line for line in found if line[0].startswith("pgque")]

    for name in ("c", "d"):
        client.subscribe(queue, name)
    blocking = pgque.Consumer(dsn, queue=queue, name="c")
    asynchronous = pgque.AsyncConsumer(dsn, queue=queue, name="d")
    send(1)

    @blocking.on("t")
    def fail(message: pgque.Message) -> None:
        blocking.stop()
        raise ValueError("x")

    @asynchronous.on("t")
    async def fail_as_well(message: pgque.Message) -> None:
        asynchronous.stop()
        raise ValueError("x")

    lines()
    await asyncio.to_thread(blocking.run)
    expected = lines()
    await asyncio.wait_for(asynchronous.run(), 10)
    renamed = [
        (n.replace(".d", ".c"), v, t.replace("consumer d", "consumer c")) for n, v, t in lines()
    ]
    assert renamed == expected


async def test_the_producer(dsn, client, queue, tick):
    async with pgque.AsyncProducer(dsn, linger=0.01) as producer:
        ids = await asyncio.gather(*(producer.send(queue, n, type="t") for n in range(100)))
        await producer.flush()
        assert producer.stats()["sent"] == 100
        assert producer.stats()["batches"] < 100
        with pytest.raises(pgque.PgqueQueueNotFound):
            await producer.send("no such queue", 1)
    with pytest.raises(pgque.PgqueClosedError):
        await producer.send(queue, 1)
    tick()
    assert [m.msg_id for m in client.receive(queue, "c")] == ids


async def test_the_ticker(dsn, client, queue):
    ticker = pgque.AsyncTicker(dsn)
    task = asyncio.create_task(ticker.run())
    client.send(queue, 1)
    with anyio.fail_after(10):
        while not client.receive(queue, "c"):
            await asyncio.sleep(0.02)
    assert ticker.stats()["ticks"] > 0
    ticker.stop()
    await asyncio.wait_for(task, 10)
