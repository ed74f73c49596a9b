"""What is called around a message: hooks, the callback on failures, handlers of whole batches."""

from __future__ import annotations

import contextvars
import logging
from datetime import timedelta

import pytest
from running import Running, retries, until

import pgque


def finished(consumer: pgque.Consumer, messages: int) -> None:
    """Runs the consumer until the server has taken over so many messages."""

    def done() -> bool:
        stats = consumer.stats()
        return sum(stats[name] for name in ("handled", "retried", "dead")) >= messages

    running = Running(consumer)
    until(lambda: done() or running.error)
    running.stop()
    assert running.error is None


def test_hooks_share_the_context_of_their_handler_alone(consumer, client, queue, tick):
    span: contextvars.ContextVar[int] = contextvars.ContextVar("span", default=0)
    seen: list[tuple] = []

    @consumer.before_message
    def before(message):
        seen.append(("before", span.get()))
        span.set(message.msg_id)

    @consumer.after_message
    def after(message, outcome, seconds):
        assert 0 <= seconds < 10
        seen.append((outcome, span.get()))

    @consumer.on("*")
    def handle(message):
        seen.append(("handler", span.get()))
        if message.type == "fails":
            raise ValueError("no")
        return pgque.retry() if message.type == "again" else None

    ids = [client.send(queue, {}, type=kind) for kind in ("fine", "fails", "again")]
    tick()
    finished(consumer, 3)
    expected = [
        item
        for id, outcome in zip(ids, ["ack", "failed", "retry"], strict=True)
        for item in [("before", 0), ("handler", id), (outcome, id)]
    ]
    assert seen == expected


def test_a_hook_that_raises_is_logged_and_changes_nothing(consumer, client, queue, tick, caplog):
    def broken(*args):
        raise ValueError("hook broken")

    consumer.before_message(broken)
    consumer.after_message(broken)
    consumer.on_failure(broken)

    @consumer.on("*")
    def handle(message):
        if message.type == "fails":
            raise RuntimeError("handler broken")

    client.send(queue, {}, type="fine")
    failing = client.send(queue, {}, type="fails")
    tick()
    finished(consumer, 2)
    assert [id for (id,) in retries(client, queue)] == [failing]
    lines = [r.getMessage() for r in caplog.records if r.name == "pgque.consumer.c"]
    for hook, times in {"before_message": 2, "after_message": 2, "on_failure": 1}.items():
        assert lines.count(f"hook {hook} failed: ValueError: hook broken") == times


@pytest.mark.parametrize(
    ("decision", "delay"),
    [
        (300, 300),
        (timedelta(minutes=5), 300),
        ("5 minutes", 300),
        (pgque.retry(300), 300),
        (None, 60),
        (True, 60),
        ([], 60),
    ],
    ids=str,
)
def test_the_callback_decides_on_the_delay(dsn, client, queue, tick, decision, delay):
    consumer = pgque.Consumer(dsn, queue=queue, name="c")
    calls: list[tuple[int, Exception]] = []

    @consumer.on_failure
    def decide(attempt, error):
        calls.append((attempt, error))
        return decision

    @consumer.on("*")
    def handle(message):
        raise KeyError("gone")

    client.send(queue, {})
    tick()
    finished(consumer, 1)
    ((attempt, error),) = calls
    assert attempt == 1 and isinstance(error, KeyError)
    sql = "select extract(epoch from ev_retry_after - now())::float from pgque.retry_queue r \
           join pgque.queue q on q.queue_id = r.ev_queue where q.queue_name = %s"
    (left,) = client.execute(sql, [queue]).fetchone()
    assert delay - 30 < left <= delay
    assert consumer.stats()["failed"] == 1


def test_the_callback_buries_after_some_attempts(consumer, client, queue, tick):
    beyond = pgque.dead()
    attempts: list[int] = []

    @consumer.on_failure
    def decide(attempt, error):
        attempts.append(attempt)
        return beyond if attempt == 3 else 0

    @consumer.on("*")
    def handle(message):
        raise ValueError("no such order")

    client.send(queue, {})
    running = Running(consumer)
    for _ in range(3):
        count = len(attempts)
        tick()
        until(lambda count=count: len(attempts) > count)
        until(lambda: retries(client, queue) or client.dlq_inspect(queue))
        client.maint_retry_events()
    running.stop()
    (dead,) = client.dlq_inspect(queue)
    # The error's text is the reason, and the program's own object stays as it was.
    assert dead["reason"] == "ValueError: no such order" and beyond.reason is None
    assert attempts == [1, 2, 3]


ANSWERS = {
    "all": (lambda ids: [True] * 3, []),
    "by_position": (lambda ids: (True, pgque.retry(0), True), [1]),
    "by_id": (lambda ids: {ids[2]: True, ids[0]: True}, [1]),
    "too_short": (lambda ids: [True], [1, 2]),
    "with_holes": (lambda ids: [None, True, None], [0, 2]),
    "nothing": (lambda ids: None, [0, 1, 2]),
    "too_long": (lambda ids: [True] * 4, [0, 1, 2]),
    "foreign_id": (lambda ids: {-1: True}, [0, 1, 2]),
    "no_verdict": (lambda ids: [True, True, "fine"], [0, 1, 2]),
    "false": (lambda ids: [True, True, False], [0, 1, 2]),
    "no_list": (lambda ids: 5, [0, 1, 2]),
    "bad_delay": (lambda ids: [True, pgque.retry([]), True], [1]),
    "unstarted": (lambda ids: (True for _ in ids), [0, 1, 2]),
    "raised_verdict": (lambda ids: (_ for _ in ()).throw(pgque.retry(0)), [0, 1, 2]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_batch_handler_answers_for_each_message(dsn, client, queue, tick, name):
    answer, again = ANSWERS[name]
    consumer = pgque.Consumer(dsn, queue=queue, name="c")
    batches: list[list[int]] = []

    @consumer.on_batch
    def handle(messages):
        batches.append([message.msg_id for message in messages])
        return answer(batches[0])

    ids = client.send_batch(queue, "t", [1, 2, 3])
    tick()
    finished(consumer, 3)
    assert batches == [ids]
    assert [id for (id,) in retries(client, queue)] == [ids[i] for i in again]


def test_what_a_batch_handler_leaves_out_has_failed_in_every_respect(
    dsn, client, queue, tick, caplog
):
    consumer = pgque.Consumer(dsn, queue=queue, name="c")
    consumer.on_batch(lambda messages: [True])
    told: list[tuple] = []
    consumer.after_message(lambda message, outcome, seconds: told.append((message.type, outcome)))
    consumer.on_failure(lambda attempt, error: told.append((attempt, str(error))))
    client.send(queue, {}, type="a")
    missing = client.send(queue, {}, type="b")
    tick()
    finished(consumer, 2)
    reason = "the handler gave no verdict"
    assert told == [("a", "ack"), ("b", "failed"), (1, reason)]
    assert f"handler failed for msg_id={missing}, nacking: {reason}" in caplog.text
    assert consumer.stats()["failed"] == 1


def test_a_failed_batch_has_one_traceback(dsn, client, queue, tick, caplog):
    consumer = pgque.Consumer(dsn, queue=queue, name="c")

    @consumer.on_batch
    def handle(messages):
        raise ValueError("no database")

    client.send_batch(queue, "t", list(range(100)))
    tick()
    finished(consumer, 100)
    failed = [r for r in caplog.records if "handler failed" in r.getMessage()]
    assert len(failed) == 100 and sum(bool(r.exc_info) for r in failed) == 1
    assert caplog.text.count("Traceback") == 1


def test_handlers_of_messages_and_of_batches_do_not_mix(dsn, queue):
    consumer = pgque.Consumer(dsn, queue=queue, name="c")
    consumer.on_batch(lambda messages: None)
    with pytest.raises(pgque.PgqueConflict):
        consumer.on("t")(lambda message: None)
    consumer = pgque.Consumer(dsn, queue=queue, name="c")
    consumer.on("t")(lambda message: None)
    with pytest.raises(pgque.PgqueConflict):
        consumer.on_batch(lambda messages: None)


def test_a_coroutine_is_no_hook_either(consumer):
    async def coroutine(*args): ...

    for register in (
        consumer.on_batch,
        consumer.on_failure,
        consumer.before_message,
        consumer.after_message,
    ):
        with pytest.raises(TypeError, match="coroutine"):
            register(coroutine)


def test_counters_and_health(consumer, client, queue, tick):
    health = consumer.health()
    assert (health.status, health.alive, health.last_error) == ("stopped", False, None)
    consumer.on("*")(lambda message: None)
    client.send(queue, {})
    tick()
    running = Running(consumer)
    until(lambda: consumer.stats()["handled"] and consumer.health().status == "idle")
    health = consumer.health()
    assert health.alive and health.since.tzinfo is not None
    stats = consumer.stats()
    running.stop()
    floats = {name for name, value in stats.items() if isinstance(value, float)}
    assert floats == {"handler_seconds", "lag_seconds"}
    assert (stats["batches"], stats["received"], stats["batch_size"]) == (1, 1, 1)
    assert consumer.health().status == "stopped"


def test_the_log_names_the_line_that_failed(consumer, client, queue, tick, caplog):
    @consumer.on("*")
    def handle(message):
        raise ValueError("here")

    client.send(queue, {})
    tick()
    with caplog.at_level(logging.ERROR, "pgque"):
        finished(consumer, 1)
    (record,) = [r for r in caplog.records if "handler failed" in r.getMessage()]
    assert record.exc_info[1].args == ("here",)
    assert "test_handling.py" in caplog.text
