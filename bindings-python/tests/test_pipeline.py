"""Pipelines and submits from Python: `with`, waiting, Ctrl-C, fork."""

from __future__ import annotations

import os
import signal
import threading
import time

import psycopg
import pytest
from running import lock_events
from test_process import Script

import pgque


def test_the_end_of_the_block_waits_for_all(client, queue, tick):
    with client.pipeline() as pipeline:
        pending = [pipeline.send(queue, n, type="t", extra1=f"x{n}") for n in range(50)]
    ids = [one.result(0) for one in pending]
    tick()
    received = [(m.msg_id, m.json(), m.type, m.extra1) for m in client.receive(queue, "c")]
    assert received == [(id, n, "t", f"x{n}") for n, id in enumerate(ids)]


def test_payloads_are_the_clients(client, queue, tick):
    with client.transaction(), client.pipeline() as pipeline:
        pipeline.send(queue, pgque.Event({"a": 1}, type="e", extra={"extra2": "x"}))
        pipeline.send(queue, pgque.Text("no JSON"))
        pipeline.send(queue)
        for payload in (float("nan"), {1, 2}, "no JSON", {"n": "\ud800"}, {"n": "\0"}):
            with pytest.raises(pgque.PgqueInvalidInput, match="payload"):
                pipeline.send(queue, payload)
    tick()
    received = [(m.type, m.payload, m.extra2) for m in client.receive(queue, "c")]
    assert received == [
        ("e", '{"a": 1}', "x"),
        ("default", "no JSON", None),
        ("default", "null", None),
    ]


def test_the_first_error_leaves_the_block(client, queue):
    with pytest.raises(pgque.PgqueQueueNotFound), client.pipeline() as pipeline:
        good = pipeline.send(queue, 1)
        bad = pipeline.send("no_such_queue_here", 1)
        pipeline.send("no_such_queue_either", 1)
    assert good.result() > 0
    for _ in range(2):
        with pytest.raises(pgque.PgqueQueueNotFound, match="no_such_queue_here"):
            bad.result()
    pipeline.flush()


def test_an_exception_of_the_block_is_the_one_that_leaves_it(client, queue):
    with pytest.raises(ZeroDivisionError), client.pipeline() as pipeline:
        kept = pipeline.send(queue, 1)
        pipeline.send("no_such_queue_here", 1)
        raise ZeroDivisionError
    assert kept.result(0) > 0, "it was waited for"


def test_a_wait_has_an_end_and_lets_other_threads_go_on(client, queue, psycopg_conn):
    lock_events(psycopg_conn, queue)
    pipeline = client.pipeline()
    pending = pipeline.send(queue, 1)
    with pytest.raises(pgque.PgqueTimeoutError):
        pending.result(0.05)
    with pytest.raises(pgque.PgqueInvalidInput, match="timeout"):
        pending.result(-1)
    waits = [threading.Thread(target=wait) for wait in (pending.result, pipeline.flush)]
    for thread in waits:
        thread.start()
    turns, end = 0, time.monotonic() + 0.4
    while time.monotonic() < end:
        time.sleep(0.001)
        turns += 1
    assert turns > 50
    psycopg_conn.rollback()
    for thread in waits:
        thread.join(10)
        assert not thread.is_alive()


def test_callers_connections_have_none(psycopg_conn):
    with pytest.raises(pgque.PgqueConflict, match="connection of the caller's"):
        pgque.PgqueClient(psycopg_conn).pipeline()


@pytest.mark.parametrize("where", ["inside", "flush"])
def test_ctrl_c(dsn, queue, where):
    """The program gets it at once, and the server ends the statement that was stuck."""
    with psycopg.connect(dsn) as holder:
        lock_events(holder, queue)
        script = Script(
            dsn,
            queue,
            f"""
            client = pgque.connect(dsn)
            try:
                with client.pipeline() as pipeline:
                    for n in range(100):
                        pipeline.send(queue, n)
                    ready()
                    {"time.sleep(20)" if where == "inside" else "pipeline.flush()"}
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            client.rollback()
            assert client.execute("select 1").fetchone() == (1,)
            """,
        )
        script.wait_ready()
        script.process.send_signal(signal.SIGINT)
        code, out, err = script.end()
    assert (code, out) == (0, "interrupted\n"), err


def test_fork(dsn, queue):
    """A child is told to make its own, and leaves its parent's in peace."""
    script = Script(
        dsn,
        queue,
        """
        client = pgque.connect(dsn, autocommit=True)
        pipeline = client.pipeline()
        pending = pipeline.send(queue, 1)
        pid = os.fork()
        if pid == 0:
            for call in (lambda: pipeline.send(queue, 1), pipeline.flush, client.pipeline):
                try:
                    call()
                except pgque.PgqueClosedError as error:
                    assert "fork" in str(error), error
                else:
                    os._exit(3)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        pipeline.flush()
        print(pending.result() > 0, flush=True)
        """,
    )
    code, out, err = script.end()
    assert (code, out) == (0, "True\n"), err


def test_submit_answers_later(dsn, queue, client, tick):
    with pgque.Producer(dsn, queue_size_max=10) as producer:
        pending = [producer.submit(queue, n, type="t", extra1="x") for n in range(200)]
        bad = producer.submit("no_such_queue_here", 1)
        with pytest.raises(pgque.PgqueInvalidInput, match="payload"):
            producer.submit(queue, {1, 2})
    ids = [one.result(0) for one in pending]
    with pytest.raises(pgque.PgqueQueueNotFound):
        bad.result()
    with pytest.raises(pgque.PgqueClosedError):
        producer.submit(queue, 1)
    tick()
    received = [(m.msg_id, m.json(), m.type, m.extra1) for m in client.receive(queue, "c", 1000)]
    assert received == [(id, n, "t", "x") for n, id in enumerate(ids)]


def test_forgotten_handles_leave_no_memory(client, queue):
    def held() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def send() -> None:
        with client.transaction(), client.pipeline() as pipeline:
            for n in range(10_000):
                pipeline.send(queue, n)

    send()
    before = held()
    for _ in range(3):
        send()
    assert held() - before < 20 << 20
