"""The examples run as they stand, as a reader would run them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pgque
from pgque import testing

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def fresh(dsn):
    with testing.database(dsn) as fresh:
        yield fresh


def run(*args: str) -> str:
    done = subprocess.run(
        [sys.executable, *args], cwd=EXAMPLES, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_outbox(fresh):
    out = run("outbox.py", fresh)
    assert out.startswith("event ") and out.endswith("no second order, and no second event\n")
    with pgque.connect(fresh, autocommit=True) as client:
        # An event that was rolled back has taken an id, and nothing else.
        assert client.execute("select count(*) from pgque.event_1").fetchone() == (1,)


def test_producer(fresh):
    assert run("producer.py", fresh).startswith("1000 events in ")


def test_worker(fresh):
    with pgque.connect(fresh, autocommit=True) as client:
        client.create_queue("orders")
        client.subscribe("orders", "mailer")
        order = {"order": 42, "email": "ada@example.org"}
        client.send_batch("orders", "order.created", [order, {"order": 43}])
        client.send("orders", {}, type="order.paid")
        client.force_next_tick("orders")
        client.ticker("orders")
        worker = subprocess.Popen(
            [sys.executable, "-m", "pgque", "worker", "worker:mailer"],
            cwd=EXAMPLES,
            env={**os.environ, "PGQUE_DSN": fresh},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert worker.stdout.readline() == "order 42 confirmed to ada@example.org\n"
            end = time.monotonic() + 10
            while not (dead := client.dlq_inspect("orders")):
                assert time.monotonic() < end, "the order without an address is no dead letter"
                time.sleep(0.01)
            assert dead[0]["reason"] == "no address"
            worker.terminate()
            assert worker.wait(10) == 0
        finally:
            worker.kill()
            worker.communicate()


def test_the_testing_kit():
    assert "2 passed" in run("-m", "pytest", "-p", "no:cacheprovider", "test_mailer.py")
