"""Handlers on threads of their own, and handlers in the consumer's transaction."""

from __future__ import annotations

import contextvars
import functools
import logging
import threading
import time

import pytest
from running import Running, retries, until

import pgque


@pytest.fixture
def make(dsn, queue):
    return functools.partial(pgque.Consumer, dsn, queue=queue, name="c", retry_after=0)


def test_the_same_threads_handle_all_batches_and_end_with_the_run(make, client, queue, tick):
    consumer = make(concurrency=3)
    meeting = threading.Barrier(3, timeout=10)
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")
    threads: set[threading.Thread] = set()
    tenants: list[str] = []

    @consumer.on("*")
    def handle(message):
        threads.add(threading.current_thread())
        tenants.append(tenant.get())
        meeting.wait()

    def run() -> None:
        tenant.set("ours")
        consumer.start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    for batch in range(1, 4):
        client.send_batch(queue, "t", [1, 2, 3])
        tick()
        until(lambda batch=batch: consumer.stats()["handled"] == 3 * batch)
    consumer.stop()
    thread.join(10)
    assert len(threads) == 3 and all(t.daemon for t in threads) and thread not in threads
    # The context of whoever started the consumer.
    assert tenants == ["ours"] * 9
    until(lambda: not any(t.is_alive() for t in threads))


def test_one_handler_at_a_time_stays_on_the_calling_thread(make, client, queue, tick):
    consumer = make()
    threads: list[threading.Thread] = []
    consumer.on("*")(lambda message: threads.append(threading.current_thread()))
    client.send_batch(queue, "t", [1, 2])
    tick()
    running = Running(consumer)
    until(lambda: len(threads) == 2)
    running.stop()
    assert threads == [running.thread] * 2


def test_who_leaves_on_a_thread_ends_the_run(make, client, queue, tick):
    consumer = make(concurrency=2)
    busy = threading.Event()
    calls: list[str] = []

    @consumer.on("*")
    def handle(message):
        calls.append(message.type)
        if message.type == "leaves":
            raise SystemExit("enough")
        busy.wait(10)

    for kind in ("leaves", "busy", "never", "never"):
        client.send(queue, {}, type=kind)
    tick()
    running = Running(consumer)
    running.thread.join(10)
    assert isinstance(running.error, SystemExit)
    busy.set()
    # The lane that was still busy takes nothing more of a batch that was given up.
    time.sleep(0.3)
    assert "never" not in calls
    assert len(client.receive(queue, "c")) == 4 and retries(client, queue) == []


def test_after_the_deadline_a_lane_takes_nothing_more(make, client, queue, tick):
    consumer = make(concurrency=2, stop_timeout=0.2)
    release = threading.Event()
    calls: list[int] = []

    @consumer.on("*")
    def handle(message):
        calls.append(message.msg_id)
        release.wait(20)

    ids = client.send_batch(queue, "t", list(range(6)))
    tick()
    running = Running(consumer)
    until(lambda: len(calls) == 2)
    running.stop()
    assert running.error is None
    assert [id for (id,) in retries(client, queue)] == ids
    release.set()
    time.sleep(0.3)
    assert len(calls) == 2
    assert consumer.stats()["handed_back"] == 6


def test_the_consumer_runs_again_after_a_forced_stop(make, client, queue, tick):
    consumer = make(concurrency=2)
    release = threading.Event()
    seen: list[int] = []

    @consumer.on("*")
    def handle(message):
        seen.append(message.msg_id)
        if message.type == "hangs":
            release.wait(20)

    client.send(queue, {}, type="hangs")
    tick()
    running = Running(consumer)
    until(lambda: seen)
    consumer.stop()
    running.stop()
    again = client.send(queue, {}, type="fine")
    tick()
    running = Running(consumer)
    until(lambda: again in seen)
    running.stop()
    release.set()
    assert running.error is None


def test_lanes_that_log_do_not_block_each_other(make, client, queue, tick):
    """Every lane fails and logs, through a handler that lets go of the interpreter."""
    consumer = make(concurrency=4)

    class Slow(logging.Handler):
        def emit(self, record):
            time.sleep(0.001)

    slow = Slow()
    logging.getLogger("pgque").addHandler(slow)
    try:

        @consumer.on("a")
        def handle(message):
            raise ValueError("no")

        client.send_batch(queue, "a", list(range(200)))
        client.send_batch(queue, "unknown", list(range(200)))
        tick()
        running = Running(consumer)
        until(lambda: consumer.stats()["retried"] == 400, 30)
        running.stop()
    finally:
        logging.getLogger("pgque").removeHandler(slow)
    assert running.error is None and consumer.stats()["failed"] == 200


def test_effects_of_a_handler_and_its_ack_are_one(make, client, queue, tick):
    consumer = make(transactional=True)
    client.execute(f"create table effects_{queue} (id bigint primary key)")
    table = f"effects_{queue}"
    kept: list[int] = []

    @consumer.on("*")
    def handle(message, tx):
        tx.execute(f"insert into {table} values (%s)", [message.msg_id])
        if message.type == "raises":
            raise ValueError("undo it")
        if message.type == "inner":
            with pytest.raises(pgque.PgqueError), tx.transaction():
                tx.execute(f"insert into {table} values (%s)", [message.msg_id])
        if message.type == "aborts":
            with pytest.raises(pgque.PgqueError):
                tx.execute("select 1/0")
        kept.append(message.msg_id)

    ids = {k: client.send(queue, {}, type=k) for k in ("fine", "raises", "inner", "aborts")}
    try:
        tick()
        running = Running(consumer)
        until(lambda: retries(client, queue) or running.error)
        running.stop()
        assert running.error is None
        rows = client.execute(f"select id from {table} order by id").fetchall()
        assert [id for (id,) in rows] == [ids["fine"], ids["inner"]]
        # A handler that swallows the failure of its transaction has failed.
        assert [id for (id,) in retries(client, queue)] == [ids["raises"], ids["aborts"]]
    finally:
        client.execute(f"drop table {table}")


def test_a_handler_cannot_take_the_consumers_connection_away(make, client, queue, tick):
    consumer = make(transactional=True)
    refused: list[str] = []

    @consumer.on_batch
    def handle(messages, tx):
        for act in (tx.begin, tx.commit, tx.rollback, tx.conn.commit, tx.conn.close):
            try:
                act()
            except pgque.PgqueConflict as error:
                refused.append(error.op)
        tx.close()
        assert tx.execute("select 1").fetchone() == (1,)
        assert tx.conn.transaction_status == "active"
        return [True] * len(messages)

    client.send(queue, {})
    tick()
    running = Running(consumer)
    until(lambda: consumer.stats()["handled"] or running.error)
    running.stop()
    assert running.error is None
    assert refused == ["begin", "commit", "rollback", "commit", "close"]


def test_what_a_transactional_handler_sends_is_seen_with_the_ack(make, client, queue, tick):
    consumer = make(transactional=True)

    @consumer.on("*")
    def handle(message, tx):
        if message.type == "first":
            tx.send(queue, {"from": message.msg_id}, type="second")
            if message.retry_count is None:
                raise ValueError("not this time")

    client.send(queue, {}, type="first")
    tick()
    running = Running(consumer)
    until(lambda: retries(client, queue))
    client.maint_retry_events()
    tick()
    until(lambda: consumer.stats()["handled"] == 1)
    tick()
    until(lambda: consumer.stats()["handled"] == 2)
    running.stop()
    assert consumer.stats()["received"] == 3


def test_an_automatic_name_can_be_read(make):
    consumer = make(subconsumer="auto")
    assert consumer.subconsumer not in (None, "auto")


def test_options_have_the_cores_names_and_ranges(make):
    make(
        page_size=100,
        retry_backoff="exponential",
        retry_after_max=600,
        concurrency=2,
        ordered_by="extra1",
        stop_policy="handback",
        stop_timeout=1.5,
        transactional=False,
        ticker=True,
    )
    for wrong in [
        {"page_size": 0},
        {"retry_backoff": "linear"},
        {"retry_after_max": "a while"},
        {"concurrency": 1.5},
        {"concurrency": True},
        {"ordered_by": "payload"},
        {"stop_policy": "now"},
        {"stop_timeout": -1},
        {"transactional": "perhaps"},
        {"ticker": 1},
    ]:
        with pytest.raises(pgque.PgqueConfigurationError, match=next(iter(wrong))):
            make(**wrong)
