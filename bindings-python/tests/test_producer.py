"""The producer from Python: threads, waiting, payloads, closing, and what it tells of itself."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import get_type_hints

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from running import lock_events, until
from test_process import Script

import pgque


@pytest.fixture
def producer(dsn: str) -> Iterator[pgque.Producer]:
    with pgque.Producer(dsn) as producer:
        yield producer


@pytest.fixture
def blocked(
    psycopg_conn: psycopg.Connection, queue: str
) -> Callable[[], AbstractContextManager[None]]:
    """Inside it, whoever sends to the queue has to wait."""

    @contextmanager
    def blocked() -> Iterator[None]:
        lock_events(psycopg_conn, queue)
        try:
            yield
        finally:
            psycopg_conn.rollback()

    return blocked


def test_threads_share_it_and_each_gets_its_own_id(producer, client, queue, tick):
    def send(n: int) -> int:
        return producer.send(queue, n, type="t", extra1=f"x{n}")

    with ThreadPoolExecutor(16) as threads:
        ids = list(threads.map(send, range(500)))
    tick()
    received = {m.msg_id: (m.json(), m.type, m.extra1) for m in client.receive(queue, "c", 1000)}
    assert received == {id: (n, "t", f"x{n}") for n, id in enumerate(ids)}
    stats = producer.stats()
    assert (stats["sent"], stats["failed"], stats["queue_length"]) == (500, 0, 0)
    assert 0 < stats["batches"] < 500


def test_a_bad_event_fails_alone(producer, queue):
    def send(n: int) -> int:
        return producer.send("no_such_queue_here" if n == 7 else queue, n)

    with ThreadPoolExecutor(16) as threads:
        calls = [threads.submit(send, n) for n in range(16)]
    for n, call in enumerate(calls):
        if n == 7:
            with pytest.raises(pgque.PgqueQueueNotFound) as caught:
                call.result()
            assert (caught.value.op, caught.value.uncertain) == ("send", False)
        else:
            assert call.result() > 0


def test_payloads_are_the_clients(producer, client, queue, tick):
    producer.send(queue, pgque.Event({"a": 1}, type="e", extra={"extra2": "x"}), type="ignored")
    producer.send(queue, pgque.Text("no JSON"))
    producer.send(queue, '{"ready": "made"}', type=None)
    producer.send(queue)
    for payload in (float("nan"), {1, 2}, "no JSON", {"n": "\ud800"}, {"n": "\0"}):
        with pytest.raises(pgque.PgqueInvalidInput, match="payload"):
            producer.send(queue, payload)
    tick()
    received = [(m.type, m.payload, m.extra2) for m in client.receive(queue, "c")]
    assert received == [
        ("e", '{"a": 1}', "x"),
        ("default", "no JSON", None),
        ("default", '{"ready": "made"}', None),
        ("default", "null", None),
    ]


def test_other_threads_go_on_while_one_waits(producer, blocked, queue):
    """Each kind of wait releases the interpreter lock."""
    waits = [lambda: producer.send(queue, 1), producer.flush, producer.close]
    with blocked():
        threads = [threading.Thread(target=wait) for wait in waits]
        for thread in threads:
            thread.start()
            # In this order: nothing can be flushed once it is closed.
            time.sleep(0.3)
        turns = 0
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            time.sleep(0.001)
            turns += 1
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert turns > 50
    assert producer.stats()["sent"] == 1


def test_a_full_queue_has_senders_wait_and_then_gives_up(dsn, blocked, queue):
    with pgque.Producer(dsn, queue_bytes_max=1, send_timeout=timedelta(seconds=0.5)) as producer:
        with blocked(), ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(producer.send, queue, n) for n in range(2)]
            errors = [call.exception(10) for call in calls]
        uncertain = {error.uncertain for error in errors}
        # One was with the server, where it may have been stored; the other had not left.
        assert uncertain == {True, False}
        refused = next(error for error in errors if not error.uncertain)
        assert isinstance(refused, pgque.PgqueTimeoutError) and refused.retriable
        assert producer.send(queue, "2") > 0


def test_with_closes_it(dsn, queue):
    with pgque.Producer(dsn) as producer:
        producer.send(queue, 1)
    producer.close()
    for call in (lambda: producer.send(queue, 2), producer.flush):
        with pytest.raises(pgque.PgqueClosedError, match="closed"):
            call()


def test_close_has_a_deadline(dsn, client, blocked, queue):
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    producer = pgque.Producer(dsn)
    with blocked(), ThreadPoolExecutor(1) as threads:
        call = threads.submit(producer.send, queue, 1)
        until(lambda: client.execute(waiting).fetchone() == (1,))
        assert producer.stats()["queue_length"] == 1
        with pytest.raises(pgque.PgqueTimeoutError):
            producer.close(0.1)
        error = call.exception(10)
    assert isinstance(error, pgque.PgqueConnectionError)
    assert error.uncertain and not error.retriable
    stats = producer.stats()
    assert (stats["failed"], stats["uncertain"]) == (1, 1)
    assert stats["last_error"] == str(error)
    with pytest.raises(pgque.PgqueInvalidInput, match="deadline"):
        producer.close(-1)


@pytest.mark.parametrize(
    "options", [{"linger": -1}, {"batch_size_max": 1.5}, {"send_timeout": "soon"}], ids=str
)
def test_options_are_the_cores(dsn, options):
    (name,) = options
    with pytest.raises(pgque.PgqueConfigurationError, match=name):
        pgque.Producer(dsn, **options)
    pgque.Producer(dsn, linger=timedelta(milliseconds=1), batch_size_max=None)
    with pytest.raises(pgque.PgqueConfigurationError, match="lingr"):
        pgque.Producer(dsn, lingr=1)


def test_a_forgotten_one_leaves_nothing_open(dsn, client, queue):
    name = f"forgotten_{queue}"
    named = make_conninfo(dsn, application_name=name)
    sql = "select count(*) from pg_stat_activity where application_name = %s"
    producers = [pgque.Producer(named) for _ in range(3)]
    for producer in producers:
        producer.send(queue, 1)
    assert client.execute(sql, [name]).fetchone() == (3,)
    del producer, producers
    gc.collect()
    until(lambda: client.execute(sql, [name]).fetchone() == (0,))


def test_fork(dsn, queue):
    """A child is told to make its own, may do so, and leaves its parent's in peace."""
    script = Script(
        dsn,
        queue,
        """
        producer = pgque.Producer(dsn)
        producer.send(queue, 1)
        for way in ["unused", "used", "closed", "own", "collected"]:
            pid = os.fork()
            if pid == 0:
                if way == "used":
                    for call in (lambda: producer.send(queue, 1), producer.flush):
                        try:
                            call()
                        except pgque.PgqueClosedError as error:
                            assert "fork" in str(error), error
                        else:
                            os._exit(3)
                if way == "closed":
                    producer.close()
                if way == "own":
                    with pgque.Producer(dsn) as own:
                        own.send(queue, 1)
                if way == "collected":
                    del producer
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0, way
            producer.send(queue, 1)
        producer.close()
        print(producer.stats()["sent"], flush=True)
        """,
    )
    code, out, err = script.end()
    assert (code, out) == (0, "6\n"), err


def test_a_ticker_tells_where_it_stands(dsn):
    ticker = pgque.Ticker(dsn, standby_interval=0.1)
    before = ticker.stats()
    assert before.keys() == get_type_hints(pgque.TickerStats).keys()
    assert (before["state"], before["ticks"], before["last_error"]) == ("stopped", 0, None)
    thread = threading.Thread(target=ticker.run)
    thread.start()
    until(lambda: ticker.stats()["state"] == "leading")
    ticker.stop()
    thread.join(10)
    after = ticker.stats()
    assert after["state"] == "stopped"
    assert after["since"] > before["since"] and after["since"].utcoffset() == timedelta(0)


def test_stats_are_whole_numbers_and_a_text(producer, queue):
    with pytest.raises(pgque.PgqueQueueNotFound) as caught:
        producer.send("no_such_queue_here", 1)
    producer.send(queue, 1)
    stats = producer.stats()
    assert stats.keys() == get_type_hints(pgque.ProducerStats).keys()
    assert stats.pop("last_error") == str(caught.value)
    assert {type(value) for value in stats.values()} == {int}
    assert (stats["sent"], stats["failed"], stats["batch_size"]) == (1, 1, 1)
