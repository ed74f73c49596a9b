"""What of the consumer is Python's own: handlers, exceptions as verdicts, logging, registration."""

from __future__ import annotations

import functools
import logging
import threading
import time

import pytest
from running import Running, retries, until

import pgque
from pgque import _pgque


def test_handlers_by_type(consumer, client, queue, tick):
    seen: list[tuple[str, str]] = []

    @consumer.on("a")
    def on_a(message):
        seen.append(("a", message.type))
        return "a return value is ignored"

    @consumer.on("*")
    def on_any(message):
        seen.append(("*", message.type))

    for kind in ["a", "b", "a"]:
        client.send(queue, {}, type=kind)
    tick()
    running = Running(consumer)
    until(lambda: len(seen) == 3)
    running.stop()
    assert seen == [("a", "a"), ("*", "b"), ("a", "a")]
    assert client.receive(queue, "c") == [] and retries(client, queue) == []
    assert on_a(pgque.Message(1, 2, "a", None, None, None))


def test_every_outcome_of_a_handler(consumer, client, queue, tick, caplog):
    outcomes = {
        "raises": lambda m: {}["missing"],
        "nul": lambda m: (_ for _ in ()).throw(ValueError("a\0b \ud800")),
        "returns_retry": lambda m: pgque.retry(5, "later"),
        "raises_retry": lambda m: (_ for _ in ()).throw(pgque.retry()),
        "dead": lambda m: pgque.dead("beyond repair"),
        "coroutine": lambda m: coroutine(m),
        "done": lambda m: None,
    }

    async def coroutine(message):
        pytest.fail("nobody awaits it")

    def generator(message):
        yield

    outcomes["generator"] = lambda m: generator(m)
    ids = {kind: client.send(queue, {}, type=kind) for kind in outcomes}
    seen: list[str] = []

    @consumer.on("*")
    def handle(message):
        seen.append(message.type)
        return outcomes[message.type](message)

    tick()
    with caplog.at_level(logging.DEBUG, "pgque"):
        running = Running(consumer)
        until(lambda: retries(client, queue))
        running.stop()
    assert running.error is None and seen == list(outcomes)
    again = {id for (id,) in retries(client, queue)}
    assert again == {id for kind, id in ids.items() if kind not in ("done", "dead")}
    (dead,) = client.dlq_inspect(queue)
    assert (dead["msg_id"], dead["reason"]) == (ids["dead"], "beyond repair")
    failed = [r for r in caplog.records if "handler failed" in r.getMessage()]
    line = f"handler failed for msg_id={ids['raises']}, nacking"
    assert failed[0].getMessage() == line
    assert failed[0].name == "pgque.consumer.c" and failed[0].exc_info
    assert len(failed) == 4


def test_the_last_line_of_the_traceback_is_the_reason(consumer, client, queue, tick):
    client.set_queue_config(queue, "max_retries", "0")

    @consumer.on("*")
    def handle(message):
        raise ValueError("no such\norder")

    client.send(queue, {})
    tick()
    running = Running(consumer)
    until(lambda: client.dlq_inspect(queue))
    running.stop()
    assert client.dlq_inspect(queue)[0]["reason"] == "ValueError: no such\norder"


def test_what_is_not_an_exception_leaves_and_the_batch_comes_again(consumer, client, queue, tick):
    @consumer.on("*")
    def handle(message):
        raise SystemExit("enough")

    client.send_batch(queue, "t", [1, 2])
    tick()
    running = Running(consumer)
    running.thread.join(10)
    assert isinstance(running.error, SystemExit)
    assert len(client.receive(queue, "c")) == 2 and retries(client, queue) == []


def test_only_plain_functions_are_handlers(consumer):
    async def coroutine(message): ...

    async def async_generator(message):
        yield

    def generator(message):
        yield

    class Callable:
        async def __call__(self, message): ...

    bad = [coroutine, async_generator, generator, Callable(), functools.partial(coroutine), 5, None]
    for handler in bad:
        with pytest.raises(TypeError):
            consumer.on("t")(handler)
    with pytest.raises(TypeError, match="AsyncConsumer"):
        consumer.on("t")(coroutine)
    with pytest.raises(TypeError, match="on"):
        consumer.on(lambda m: None)
    for handler in [print, functools.partial(print), [].append, lambda m: None]:
        assert consumer.on("t")(handler) is handler


def test_a_later_handler_replaces_an_earlier_one(consumer, client, queue, tick):
    seen: list[int] = []
    consumer.on("default")(lambda m: seen.append(1))
    consumer.on("other")(lambda m: seen.append(2))
    consumer.on("default")(lambda m: seen.append(3))
    client.send(queue, {})
    tick()
    running = Running(consumer)
    until(lambda: seen)
    running.stop()
    assert seen == [3]


def test_options_are_checked_when_the_consumer_is_made(dsn):
    make = functools.partial(pgque.Consumer, dsn, queue="q", name="c")
    assert make().max_messages == 2147483647
    assert make(max_messages=123).max_messages == 123
    assert make().poll_interval == 30 and make().retry_after == 60
    make(poll_interval=0.5, retry_after="5 minutes", subconsumer="w", dead_interval=1.5)
    for wrong in [
        {"unknown_handler_policy": "retry"},
        {"dead_interval": 5},
        {"poll_interval": -1},
        {"poll_interval": "often"},
        {"max_messages": 0},
        {"max_messages": 1.5},
        {"retry_after": float("nan")},
    ]:
        with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
            make(**wrong)
        assert isinstance(caught.value, pgque.PgqueConfigurationError)
    with pytest.raises(pgque.PgqueConfigurationError, match="tick_intervall"):
        pgque.Ticker(dsn, tick_intervall=1)


def test_stop_before_start_and_start_again(consumer):
    consumer.stop()
    consumer.start()
    running = Running(consumer)
    time.sleep(0.3)
    with pytest.raises(pgque.PgqueConflict, match="running already"):
        consumer.start()
    began = time.monotonic()
    running.stop()
    assert time.monotonic() - began < 0.5 and running.error is None


def test_a_permanent_error_is_raised(dsn, queue):
    consumer = pgque.Consumer(dsn, queue=queue, name="nobody")
    with pytest.raises(pgque.PgqueConsumerNotFound):
        consumer.run()


def test_the_cores_lines_reach_logging(consumer, client, queue, tick, caplog):
    with caplog.at_level(logging.DEBUG, "pgque"):
        client.send(queue, {}, type="unknown")
        tick()
        running = Running(consumer)
        until(lambda: retries(client, queue))
        running.stop()
    lines = {(r.name, r.levelname): r.getMessage() for r in caplog.records}
    assert "no handler for event type=unknown" in lines["pgque.consumer.c", "WARNING"]
    assert any("listening on" in r.getMessage() for r in caplog.records)
    assert any("stopped" in r.getMessage() for r in caplog.records)


def test_a_log_handler_that_takes_its_time_does_no_harm(consumer, client, queue, tick):
    """Lines come from threads of the core, too; nobody may hold the interpreter while he waits."""

    class Slow(logging.Handler):
        def emit(self, record):
            time.sleep(0.02)

    handler = Slow()
    logging.getLogger("pgque").addHandler(handler)
    logging.getLogger("pgque").setLevel(logging.DEBUG)
    try:
        seen: list[int] = []
        consumer.on("*")(lambda m: seen.append(m.msg_id))
        running = Running(consumer)
        for _ in range(10):
            client.send(queue, {})
            tick()
        until(lambda: len(seen) == 10)
        running.stop()
    finally:
        logging.getLogger("pgque").removeHandler(handler)
        logging.getLogger("pgque").setLevel(logging.NOTSET)


def test_the_core_can_be_stepped(dsn, client, queue, tick):
    core = _pgque.Consumer(dsn, queue, "c", {})
    assert [core.on("a"), core.on("b"), core.on("a")] == [0, 1, 0]
    client.send(queue, {}, type="b")
    client.send(queue, {}, type="x")
    tick()
    batch = core.next()
    assert (len(batch), batch.lanes_max, batch.client()) == (2, 1, None)
    lane = batch.lane()
    with pytest.raises(RuntimeError, match="no message"):
        lane.settle(None)
    # The message without a handler is not handed out.
    ((number, message),) = lane
    assert (number, message.type) == (1, "b")
    core.finish(batch)
    core.stop()
    assert core.next() is None
    core.close()


def test_a_ticker_delivers(dsn, client, queue, consumer):
    ticker = pgque.Ticker(dsn, tick_interval=0.01)
    thread = threading.Thread(target=ticker.run, daemon=True)
    thread.start()
    seen: list[int] = []
    consumer.on("*")(lambda m: seen.append(m.msg_id))
    running = Running(consumer)
    event_id = client.send(queue, {})
    until(lambda: seen == [event_id])
    running.stop()
    ticker.stop()
    thread.join(5)
    assert not thread.is_alive()
