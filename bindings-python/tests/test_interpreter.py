"""Manners towards the interpreter: the lock, sub-interpreters, builds without the lock."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from running import lock_events

import pgque


@contextmanager
def locked(dsn, queue):
    """Until the block ends, whoever sends or receives has to wait."""
    with pgque.connect(dsn) as holder:
        lock_events(holder, queue)
        holder.execute("lock table pgque.subscription in access exclusive mode")
        yield
        holder.rollback()


def blocked(dsn, queue, call) -> None:
    with locked(dsn, queue):
        thread = threading.Thread(target=call)
        thread.start()
        assert turns_while(thread, 0.4) > 50
    thread.join(10)
    assert not thread.is_alive()


def turns_while(thread: threading.Thread, seconds: float) -> int:
    """How often this thread had its turn while the other one was in its call."""
    turns, end = 0, time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < end:
        time.sleep(0.001)
        turns += 1
    assert thread.is_alive(), "the call did not block"
    return turns


CALLS = {
    "send": lambda client, queue: client.send(queue, {}),
    "send_batch": lambda client, queue: client.send_batch(queue, "t", [1, 2]),
    "receive": lambda client, queue: client.receive(queue, "c"),
    "subscribe": lambda client, queue: client.subscribe(queue, "d"),
    "execute": lambda client, queue: client.execute("select 1 from pgque.subscription"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_waits_for_the_server_lets_others_go_on(dsn, client, queue, name):
    blocked(dsn, queue, lambda: CALLS[name](client, queue))


def test_a_producer_that_waits_lets_others_go_on(dsn, queue):
    with pgque.Producer(dsn) as producer:
        blocked(dsn, queue, lambda: producer.send(queue, {}))
        closing = [threading.Thread(target=producer.send, args=(queue, {}))]

        def flush():
            closing[0].start()
            # The event has to be on its way before there is anything to wait for.
            while not producer.stats()["queue_length"]:
                pass
            producer.flush()

        blocked(dsn, queue, flush)
        closing[0].join(10)


def test_what_waits_for_messages_lets_others_go_on(dsn, queue):
    consumer, ticker = pgque.Consumer(dsn, queue=queue, name="c"), pgque.Ticker(dsn)
    for runner in (consumer, ticker):
        thread = threading.Thread(target=runner.start)
        thread.start()
        assert turns_while(thread, 0.4) > 50
        runner.stop()
        thread.join(10)
        assert not thread.is_alive()


SUB_INTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import sys

code = '''
import sys
sys.path[:] = {path!r}
try:
    import pgque
except ImportError as error:
    print("refused:", error, flush=True)
'''
interpreters.run_string(interpreters.create(), code.format(path=sys.path))
import pgque
print("fine", pgque.__version__)
"""


def test_a_sub_interpreter_is_refused_and_the_main_one_goes_on():
    done = subprocess.run(
        [sys.executable, "-c", SUB_INTERPRETER], capture_output=True, text=True, timeout=30
    )
    refused, fine = done.stdout.splitlines()
    assert "refused:" in refused and "subinterpreters" in refused.replace("-", ""), done.stderr
    assert fine == f"fine {pgque.__version__}"
    assert done.returncode == 0, done.stderr


def test_the_lock_of_a_build_without_one_stays_off():
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this build has the lock")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    code = "import pgque, sys; sys.exit(sys._is_gil_enabled())"
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


@contextmanager
def meanwhile(call):
    """Another thread makes that call over and over, until the block ends."""
    over = threading.Event()

    def make_calls():
        while not over.is_set():
            call()

    with ThreadPoolExecutor(1) as pool:
        calls = pool.submit(make_calls)
        try:
            yield
        finally:
            over.set()
        calls.result()


def test_a_payload_may_change_while_it_is_sent(dsn):
    """What is sent is one of its states."""
    payload = dict.fromkeys(map(str, range(20)))

    def change():
        payload["more"] = None
        del payload["more"]

    client = pgque.connect(dsn)
    client.close()
    # By time, for with the lock each call waits until the other thread lets go of it.
    end = time.monotonic() + 1
    with meanwhile(change):
        while time.monotonic() < end:
            # Refused once the payload has become text.
            with pytest.raises(pgque.PgqueClosedError):
                client.send("q", payload)


def test_a_message_may_be_read_while_it_is_changed():
    message = pgque.Message(1, 2, "t", "0", None, None)

    def change():
        message.payload = "1"

    with meanwhile(change):
        for _ in range(10_000):
            assert message.payload in ("0", "1")
            message.type = "u"
