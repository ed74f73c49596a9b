"""`python -m pgque worker`: what it runs, how it stops, what it says when it cannot."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest

from pgque._signals import stopping_on_signals
from pgque._worker import _Crew, run

APP = """
import os, time
import pgque

dsn, queue = os.environ["APP_DSN"], os.environ["APP_QUEUE"]
numbers = (1, 2)

def say(*words):
    # One write: lines of several threads stay whole.
    os.write(1, (" ".join(words) + "\\n").encode())

def make(name):
    consumer = pgque.Consumer(dsn, queue=queue, name=name)

    @consumer.on("*")
    def handle(message):
        say(name, "began")
        time.sleep(message.json())
        say(name, "ended")

    return consumer

first = make("c")
second = make("d")

def both():
    return [first, second]

class Loop:
    '''Something with an asynchronous run.'''
    name = "loop"

    def __init__(self):
        self.asked = False

    async def run(self):
        import asyncio
        say("loop began")
        while not self.asked:
            await asyncio.sleep(0.01)
        say("loop ended")

    def stop(self):
        self.asked = True

loop = Loop()
"""


class Worker:
    def __init__(self, folder: Path, dsn: str, queue: str, *args: str, command: list[str]) -> None:
        (folder / "app.py").write_text(textwrap.dedent(APP))
        self.process = subprocess.Popen(
            [*command, "worker", *args],
            cwd=folder,
            env={**os.environ, "APP_DSN": dsn, "APP_QUEUE": queue},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def logged(self, text: str) -> None:
        """Wait for a line of the log."""
        for line in self.process.stderr:
            if text in line:
                return
        pytest.fail(f"it never said {text!r}")

    def end(self) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail("the worker hangs:\n" + self.process.communicate()[1])
        return self.process.returncode, out, err


@pytest.fixture
def worker(tmp_path, dsn, queue):
    workers = []

    def start(*args: str, command=(sys.executable, "-m", "pgque")) -> Worker:
        workers.append(Worker(tmp_path, dsn, queue, *args, command=[*command]))
        return workers[-1]

    yield start
    for started in workers:
        started.process.kill()
        started.process.communicate()


def send(client, queue, seconds) -> None:
    client.send(queue, seconds)
    client.force_next_tick(queue)
    client.ticker(queue)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_it_finish_what_it_has(client, queue, worker, number):
    send(client, queue, 0.5)
    process = worker("app:first")
    assert process.line() == "c began"
    process.process.send_signal(number)
    code, out, err = process.end()
    assert (code, out) == (0, "c ended\n"), err
    assert f"received signal {int(number)}" in err
    assert client.receive(queue, "c") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_forces(client, queue, worker, number):
    send(client, queue, 30)
    process = worker("app:first")
    assert process.line() == "c began"
    process.process.send_signal(number)
    process.logged("shutting down")  # it comes before the first signal has been dealt with
    process.process.send_signal(number)
    code, out, err = process.end()
    assert (code, out) == (128 + number, ""), err
    assert len(client.receive(queue, "c")) == 1


@pytest.mark.parametrize("args", [("app:first", "app:second"), ("app:both()",)], ids=str)
def test_several_run_side_by_side(client, queue, worker, args):
    client.subscribe(queue, "d")
    send(client, queue, 1)
    process = worker(*args, "app:loop")
    # All are at work at the same time, an asynchronous one among them.
    assert {process.line() for _ in range(3)} == {"c began", "d began", "loop began"}
    process.process.terminate()
    code, out, err = process.end()
    assert code == 0, err
    assert set(out.splitlines()) == {"c ended", "d ended", "loop ended"}


def test_one_that_fails_stops_the_others(client, queue, worker):
    send(client, queue, 0.5)
    # Nobody has subscribed d.
    process = worker("app:first", "app:second")
    code, out, err = process.end()
    assert code == 1
    assert "d failed: " in err and "Not subscriber" in err and "Traceback" not in err
    # The other finished what it had, if it had begun.
    assert out in ("", "c began\nc ended\n")


class Slow(_Crew):
    """Whoever looks whether the runners were asked waits a moment for company."""

    company, asked = threading.Barrier(2), False

    @property
    def _asked(self):
        asked = self.asked
        with suppress(threading.BrokenBarrierError):
            self.company.wait(0.3)
        return asked

    @_asked.setter
    def _asked(self, asked):
        self.asked = asked


def test_two_that_fail_at_once_ask_the_others_once():
    """Asked twice, they would take it for force."""
    other = Mock()
    crew = Slow([other])
    threads = [threading.Thread(target=crew._ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    other.stop.assert_called_once_with()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("app", "write app:NAME; it has first, second, loop"),
        ("app:third", "has no 'third'; it has first, second, loop"),
        ("app:first.more", "has no 'first.more'"),
        ("app:both", "write app:both() to have it called"),
        ("app:Loop", "write app:Loop() to have it called"),
        ("app:numbers", "is no Consumer"),
        ("app:queue", "is no Consumer"),
        ("app:queue()", "cannot be called"),
        ("nothing:first", "there is no module 'nothing'"),
        ("nothing.at.all:first", "there is no module 'nothing.at.all'"),
        (":first", "there is no module ''"),
    ],
)
def test_a_bad_target_is_wrong_usage_and_says_what_would_be_right(worker, target, says):
    code, out, err = worker(target).end()
    assert (code, out) == (2, "")
    assert says in err and "Traceback" not in err


def test_what_fails_inside_a_module_keeps_its_traceback(tmp_path, worker):
    (tmp_path / "broken.py").write_text("import there_is_no_such_module\n")
    code, _, err = worker("broken:consumer").end()
    assert code == 1
    assert "broken.py" in err and "there_is_no_such_module" in err


def test_no_target_is_wrong_usage(worker):
    code, _, err = worker().end()
    assert code == 2 and "module:name" in err


def test_the_command_finds_modules_here_as_well(client, queue, worker):
    """Not only `python -m`, which puts the folder on the path by itself."""
    command = Path(sys.executable).with_name("pgque")
    send(client, queue, 0)
    process = worker("app:first", command=[str(command)])
    assert (process.line(), process.line()) == ("c began", "c ended")
    process.process.terminate()
    assert process.end()[0] == 0


def test_the_level_of_the_log(worker):
    process = worker("app:loop", "--log-level", "error")
    assert process.line() == "loop began"
    process.process.terminate()
    code, _, err = process.end()
    assert (code, err) == (0, "")


def test_a_second_signal_in_the_middle_of_the_answer_to_the_first():
    stops = []

    class Again(logging.Handler):
        def emit(self, record):
            signal.raise_signal(signal.SIGTERM)

    logger = logging.Logger("signalled")
    logger.addHandler(Again())
    forced = pytest.raises(SystemExit, match="143")
    with forced, stopping_on_signals(lambda: stops.append(1), logger):
        signal.raise_signal(signal.SIGTERM)
    assert len(stops) == 2, "the runner is asked twice: it is forced"


class Signalled:
    """Sends two signals, with so many seconds between the first one's answer and the second."""

    def __init__(self, pause):
        self.pause = pause
        self.asked = 0
        self.forced = threading.Event()
        self.late = True

    def run(self):
        os.kill(os.getpid(), signal.SIGTERM)
        while not self.asked:
            pass
        end = time.perf_counter() + self.pause
        while time.perf_counter() < end:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        self.late = not self.forced.wait(5)

    def stop(self):
        self.asked += 1
        if self.asked > 1:
            self.forced.set()


def test_a_second_signal_is_noticed_whenever_it_comes():
    for microseconds in range(0, 1500, 10):
        runner = Signalled(microseconds / 1e6)
        with pytest.raises(SystemExit, match="143"):
            run([runner])
        deadline = time.monotonic() + 10
        while runner.late and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not runner.late
