"""The process around the library: the interpreter lock, signals, fork, exit, the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from running import lock_events, retries

import pgque

PRELUDE = """
import logging, os, signal, sys, threading, time
import pgque
dsn, queue = sys.argv[1:3]
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
def ready():
    print("ready", flush=True)
"""


class Script:
    """A program of its own, which prints a line once it is where the test wants it."""

    def __init__(self, dsn: str, queue: str, body: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(body), dsn, queue],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        line = self.process.stdout.readline()
        if line != "ready\n":
            # First, for else its standard error would not come to an end.
            self.process.kill()
            pytest.fail(f"it said {line!r}:\n" + self.process.stderr.read())
        time.sleep(0.2)

    def end(self, timeout: float = 15) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail("the program hangs:\n" + self.process.communicate()[1])
        return self.process.returncode, out, err


WAITS = {
    "statement": "client.execute('select pg_sleep(20)')",
    "with_its_begin": "client = pgque.connect(dsn); client.execute('select pg_sleep(60)')",
    "notification": "client.notification(20)",
    "typed_call": "client.queue_info(queue)",
    "psycopg": "psycopg_client.queue_info(queue)",
    "producer": "pgque.Producer(dsn).send(queue, 1)",
    "producer_without_a_server": "pgque.Producer('host=127.0.0.1 port=1').send(queue, 1)",
    "locked_row": "client.receive(queue, 'c')",
    "connect": "pgque.connect(f'host=127.0.0.1 port={silent()} connect_timeout=20')",
    "second_begin": "client.begin(); client.execute('select pg_sleep(20)')",
}


@pytest.mark.parametrize("name", WAITS)
def test_ctrl_c_ends_every_wait(dsn, client, queue, tick, name):
    client.send(queue, 1)
    tick()
    # A machine that is busy with something else may be late once.
    assert any(seconds_to_interrupt(dsn, client, queue, name) <= 0.25 for _ in range(3))


def seconds_to_interrupt(dsn, client, queue, name) -> float:
    locks = name in ("typed_call", "psycopg", "producer", "locked_row")
    if locks:
        client.begin()
    if name == "locked_row":
        client.execute("select from pgque.subscription for update")
    elif locks:
        client.execute("lock table pgque.queue in access exclusive mode")
        lock_events(client, queue)
    script = Script(
        dsn,
        queue,
        f"""
        import psycopg, socket
        def silent():
            global server
            server = socket.create_server(("127.0.0.1", 0))
            return server.getsockname()[1]
        client = pgque.connect(dsn, autocommit=True)
        psycopg_client = pgque.PgqueClient(psycopg.connect(dsn))
        ready()
        try:
            {WAITS[name]}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        if client.conn.transaction_status != "idle":
            client.rollback()
        assert client.execute("select 1").fetchone() == (1,)
        """,
    )
    script.wait_ready()
    began = time.monotonic()
    script.process.send_signal(signal.SIGINT)
    assert script.process.stdout.readline() == "interrupted\n"
    seconds = time.monotonic() - began
    if locks:
        client.rollback()
    code, _, err = script.end()
    assert code == 0, err
    return seconds


def test_ctrl_c_on_psycopg2_takes_its_wait_callback(dsn, client, queue):
    """psycopg2 waits inside libpq, unless a program has it wait by Python's select."""
    client.begin()
    client.execute("lock table pgque.queue in access exclusive mode")
    script = Script(
        dsn,
        queue,
        """
        import psycopg2, psycopg2.extensions, psycopg2.extras
        psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)
        conn = psycopg2.connect(dsn)
        ready()
        try:
            pgque.PgqueClient(conn).queue_info(queue)
        except pgque.PgqueTimeoutError as error:
            print(error.sqlstate, flush=True)
        conn.rollback()
        """,
    )
    script.wait_ready()
    script.process.send_signal(signal.SIGINT)
    # While the lock is still held.
    assert script.process.stdout.readline() == "57014\n"
    client.rollback()
    code, _, err = script.end()
    assert code == 0, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["Consumer(dsn, queue=queue, name='c')", "Ticker(dsn)"])
def test_a_signal_stops_what_runs_and_the_handlers_are_restored(dsn, queue, number, kind):
    script = Script(
        dsn,
        queue,
        f"""
        before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
        runner = pgque.{kind}
        threading.Timer(0.5, ready).start()
        runner.start()
        assert before == [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
        print("stopped", flush=True)
        """,
    )
    script.wait_ready()
    began = time.monotonic()
    script.process.send_signal(number)
    assert script.process.stdout.readline() == "stopped\n"
    assert time.monotonic() - began < 0.5
    code, _, err = script.end()
    assert code == 0, err
    assert f"received signal {number.value}, shutting down" in err


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_second_signal_forces(dsn, client, queue, tick, concurrency):
    client.send(queue, {})
    tick()
    script = Script(
        dsn,
        queue,
        f"""
        consumer = pgque.Consumer(dsn, queue=queue, name="c", concurrency={concurrency})
        @consumer.on("*")
        def handle(message):
            ready()
            time.sleep(30)
        consumer.start()
        """,
    )
    script.wait_ready()
    script.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    script.process.send_signal(signal.SIGINT)
    code, _, err = script.end(timeout=5)
    assert code != 0 and "KeyboardInterrupt" in err
    assert len(client.receive(queue, "c")) == 1


def test_a_signal_is_noticed_while_lanes_work(dsn, client, queue, tick):
    """With the handlers on threads the main thread waits for them, and hears of signals at once."""
    client.send_batch(queue, "t", list(range(4)))
    tick()
    script = Script(
        dsn,
        queue,
        """
        class Observed(pgque.Consumer):
            def stop(self):
                super().stop()
                stopping.set()
        consumer = Observed(dsn, queue=queue, name="c", concurrency=2, stop_policy="handback")
        stopping = threading.Event()
        both = threading.Barrier(2, action=ready)
        consumer.on("*")(lambda message: (both.wait(10), stopping.wait(20)))
        consumer.start()
        print("stopped", flush=True)
        """,
    )
    script.wait_ready()
    script.process.send_signal(signal.SIGTERM)
    code, out, err = script.end()
    assert (code, out) == (0, "stopped\n"), err
    # Two were in hand, the others go back.
    assert len(retries(client, queue)) == 2


def test_a_signal_handler_may_use_the_library(dsn, queue):
    script = Script(
        dsn,
        queue,
        """
        client = pgque.connect(dsn, autocommit=True)
        def handle(number, frame):
            client.send(queue, {"signal": number})
            print("sent", flush=True)
        signal.signal(signal.SIGUSR1, handle)
        ready()
        client.notification(1)
        """,
    )
    script.wait_ready()
    script.process.send_signal(signal.SIGUSR1)
    code, out, err = script.end()
    assert (code, out) == (0, "sent\n"), err


def test_other_threads_go_on_while_one_waits(dsn):
    """Each kind of wait releases the interpreter lock."""
    ticker = pgque.Ticker(dsn)
    with pgque.connect(dsn, autocommit=True) as client:
        for wait in [
            lambda: client.execute("select pg_sleep(0.4)"),
            lambda: client.notification(0.4),
            lambda: (threading.Timer(0.4, ticker.stop).start(), ticker.run()),
        ]:
            thread = threading.Thread(target=wait)
            thread.start()
            turns = 0
            while thread.is_alive():
                time.sleep(0.001)
                turns += 1
            assert turns > 50


def test_fork(dsn, queue):
    """A child is told to connect again, may do so, and leaves its parent in peace when it exits."""
    script = Script(
        dsn,
        queue,
        """
        client = pgque.connect(dsn, autocommit=True)
        client.send(queue, {"from": "parent"})
        for way in ["unused", "used", "reconnects", "collected"]:
            pid = os.fork()
            if pid == 0:
                if way == "used":
                    try:
                        client.send(queue, {"from": "child"})
                    except pgque.PgqueClosedError as error:
                        assert "fork" in str(error), error
                    else:
                        os._exit(3)
                    client.close()
                if way == "reconnects":
                    with pgque.connect(dsn, autocommit=True) as again:
                        again.send(queue, {"from": "child"})
                if way == "collected":
                    del client
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0, way
            client.send(queue, {"after": way})
        print(client.execute("select 1").fetchone(), flush=True)
        """,
    )
    code, out, err = script.end()
    assert (code, out) == (0, "(1,)\n"), err


# What a child does with what its parent made; it must come to its end, and leave the parent alone.
IN_A_CHILD = {
    "a_producer_is_refused": """
        with expect_fork_error():
            producer.send(queue, 1)
        with expect_fork_error():
            producer.flush()
        assert producer.stats()["sent"] == 0
        producer.close()
    """,
    "a_running_consumer_is_refused": """
        with expect_fork_error():
            consumer.start()
        assert (consumer.health().alive, consumer.stats()["batches"]) == (False, 0)
        consumer.stop()
    """,
    "a_running_ticker_is_refused": """
        with expect_fork_error():
            ticker.run()
        assert ticker.stats()["ticks"] == 0
        ticker.stop()
    """,
    "a_client_is_closed": """
        assert client.conn.closed and client.conn.transaction_status == "idle"
        with expect_fork_error():
            client.receive(queue, "c")
        with expect_fork_error():
            client.capabilities()
        with expect_fork_error():
            client.notification(1)
        client.close()
    """,
    "all_is_dropped": """
        import gc
        for name in ["client", "producer", "consumer", "ticker", "works", "threads"]:
            del globals()[name]
        gc.collect()
    """,
    "all_is_made_anew": """
        with pgque.connect(dsn, autocommit=True) as again, pgque.Producer(dsn) as other:
            again.send(queue, 1)
            other.send(queue, 1)
    """,
}


@pytest.mark.parametrize("name", IN_A_CHILD)
def test_fork_while_all_of_it_runs(dsn, client, queue, name):
    """Children of a process whose threads are busy in the library: many of them, for what a child
    inherits depends on the moment."""
    client.subscribe(queue, "other")
    script = Script(
        dsn,
        queue,
        """
        import contextlib, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        logging.disable()
        client = pgque.connect(dsn, autocommit=True)
        producer = pgque.Producer(dsn)
        consumer = pgque.Consumer(dsn, queue=queue, name="other", poll_interval=0.01)
        consumer.on("*")(lambda message: None)
        ticker = pgque.Ticker(dsn, tick_interval=0.002)
        done = threading.Event()

        def busy(work):
            while not done.is_set():
                work()

        @contextlib.contextmanager
        def expect_fork_error():
            try:
                yield
            except pgque.PgqueClosedError as error:
                assert "fork" in str(error), error
            else:
                raise AssertionError("not refused")

        def child():
"""
        + textwrap.indent(textwrap.dedent(IN_A_CHILD[name]).strip(), " " * 12)
        + """

        works = [consumer.start, ticker.start]
        works += [lambda: busy(lambda: producer.send(queue, 1))] * 2
        works += [lambda: busy(lambda: (producer.stats(), consumer.stats(), ticker.stats()))]
        works += [lambda: busy(lambda: client.queue_info(queue))]
        threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        for number in range(25):
            pid = os.fork()
            if pid == 0:
                # A child that hangs is to be seen, not waited for.
                signal.alarm(20)
                try:
                    child()
                    os._exit(0)
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0, number
        done.set()
        consumer.stop()
        ticker.stop()
        for thread in threads:
            thread.join()
        producer.send(queue, {})
        producer.close()
        assert client.execute("select 1").fetchone() == (1,)
        print("fine", flush=True)
        """,
    )
    code, out, err = script.end(timeout=60)
    assert (code, out) == (0, "fine\n"), err


def test_what_was_made_before_the_fork_runs_in_the_children(dsn, client, queue, tick):
    """As a server that forks its workers: the parent connects, and makes what they run."""
    for n in range(3):
        client.subscribe(queue, f"worker{n}")
    client.send(queue, {"a": "job"})
    tick()
    script = Script(
        dsn,
        queue,
        """
        client = pgque.connect(dsn, autocommit=True)
        client.version()
        consumers = [pgque.Consumer(dsn, queue=queue, name=f"worker{n}") for n in range(3)]
        for consumer in consumers:
            def handle(message, consumer=consumer):
                client = pgque.connect(dsn, autocommit=True)
                client.send(queue, {"handled by": consumer.name})
                consumer.stop()
            consumer.on("*")(handle)
        ticker = pgque.Ticker(dsn)
        pids = []
        for number in range(4):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                if number < 3:
                    consumers[number].start()
                else:
                    threading.Timer(0.5, ticker.stop).start()
                    ticker.start()
                sys.exit(0)
            pids.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
        # What has run in a child may run in the parent as well.
        client.send(queue, {"a": "job"})
        threading.Timer(0.5, ticker.stop).start()
        ticker.start()
        print("fine", flush=True)
        """,
    )
    code, out, err = script.end(timeout=60)
    assert (code, out) == (0, "fine\n"), err


def test_a_pool_of_forked_processes(dsn, queue):
    """`multiprocessing` forks while the parent has a connection; each worker makes its own."""
    script = Script(
        dsn,
        queue,
        """
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        parent = pgque.connect(dsn, autocommit=True)
        parent.send(queue, 0)
        def initialise():
            global own
            own = pgque.connect(dsn, autocommit=True)
        def work(n):
            try:
                parent.send(queue, n)
            except pgque.PgqueClosedError as error:
                assert "fork" in str(error)
            return own.send(queue, n)
        context = multiprocessing.get_context("fork")
        with context.Pool(3, initialise) as pool:
            ids = pool.map_async(work, range(30)).get(30)
        assert len(set(ids)) == 30
        parent.send(queue, 0)
        print("fine", flush=True)
        """,
    )
    code, out, err = script.end(timeout=60)
    assert (code, out) == (0, "fine\n"), err


def test_a_program_on_psycopg_starts_no_threads(dsn, queue):
    script = Script(
        dsn,
        queue,
        """
        import psycopg
        conn = psycopg.connect(dsn, autocommit=True)
        pgque.PgqueClient(conn).send(queue, {})
        assert len(os.listdir("/proc/self/task")) == 1
        """,
    )
    code, _, err = script.end()
    assert code == 0, err


def test_exit_while_threads_wait_and_log(dsn, queue):
    script = Script(
        dsn,
        queue,
        """
        consumer = pgque.Consumer(dsn, queue=queue, name="c", poll_interval=0.01)
        ticker = pgque.Ticker(dsn, tick_interval=0.001, tick_interval_max=0.001)
        client = pgque.connect(dsn, autocommit=True)
        for run in [consumer.start, ticker.start, lambda: client.notification(60)]:
            threading.Thread(target=run, daemon=True).start()
        time.sleep(0.5)
        """,
    )
    code, _, err = script.end()
    assert code == 0, err
    assert "panic" not in err.lower() and "Fatal" not in err


def test_nothing_connects_at_import():
    code = "import pgque, os; assert len(os.listdir('/proc/self/task')) == 1"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", [[sys.executable, "-m", "pgque"], ["pgque"]], ids=str)
def test_the_command(command):
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        [*command, "--version"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert pgque.__version__ in done.stdout
    wrong = subprocess.run(
        [*command, "no-such-command"], capture_output=True, env={**os.environ, "PATH": path}
    )
    assert wrong.returncode == 2
