"""The processes under test, and what their journals say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug"
PYTHON = [sys.executable, str(ROOT / "tests/faults/worker.py")]


class Programs:
    """What is run: copies, so that a build beside the campaign does not disturb it."""

    folder = TARGET

    @classmethod
    def copy(cls, folder: Path) -> None:
        folder.mkdir()
        for name in ("pgque", "pgque-fault-worker"):
            if not (TARGET / name).exists():
                raise SystemExit(f"{TARGET / name} is missing: run scripts/build rust")
            shutil.copy2(TARGET / name, folder / name)
        cls.folder = folder

    @classmethod
    def named(cls, name: str) -> str:
        return str(cls.folder / name)


class Failure(Exception):
    """Something that was promised does not hold."""


def check(condition: Any, what: str) -> None:
    if not condition:
        raise Failure(what)


def eventually(condition: Callable[[], Any], what: str, limit: float = 30.0) -> Any:
    """Waits until the condition holds and gives its value."""
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"not within {limit:.0f} s: {what}")
        time.sleep(0.02)


@dataclass(frozen=True)
class Note:
    """One line of a journal."""

    at: float
    word: str
    rest: list[str]


class Worker:
    """A consumer process. Its journal outlives it."""

    def __init__(
        self,
        journal: Path,
        dsn: str,
        queue: str,
        name: str,
        *,
        prefix: list[str] | None = None,
        program: list[str] | None = None,
        **options: Any,
    ) -> None:
        self.journal = journal
        self.label = journal.stem
        self._notes: list[Note] = []
        self._offset = 0
        self.deaths: list[float] = []
        dsn = f"{dsn} application_name={self.label}"
        pairs = [f"{key}={plain(value)}" for key, value in options.items()]
        program = program or [Programs.named("pgque-fault-worker")]
        self.command = [*(prefix or []), *program, str(journal), dsn, queue, name, *pairs]
        self._begin()

    def _begin(self) -> None:
        errors = self.journal.with_suffix(".stderr").open("ab")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        )
        errors.close()

    def notes(self, *words: str) -> list[Note]:
        """The journal's lines, or those with one of these words."""
        self._read_on()
        return [note for note in self._notes if not words or note.word in words]

    def _read_on(self) -> None:
        """What was added since the last look, in whole lines."""
        if not self.journal.exists():
            return
        with self.journal.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole + newline)
        for line in whole.decode("utf-8", errors="replace").splitlines():
            at, word, *rest = line.split(" ")
            self._notes.append(Note(int(at) / 1e6, word, rest))

    def logged(self, phrase: str, since: float = 0.0) -> float | None:
        """When a log line first said so."""
        for note in self.notes("log"):
            if note.at >= since and phrase in " ".join(note.rest):
                return note.at
        return None

    def entered(self, key: str) -> float | None:
        """When a handler first got the message of that key."""
        for note in self.notes("enter"):
            if note.rest[2] == key:
                return note.at
        return None

    def kill(self) -> float:
        self.process.kill()
        self.process.wait()
        self.deaths.append(time.time())
        return self.deaths[-1]

    def respawn(self) -> None:
        """Kills it with -9 and starts it again."""
        self.kill()
        self._begin()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def ask_stop(self) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()

    def stop(self, limit: float = 20.0) -> None:
        """As a user's program ends; fails if it does not, or with an error."""
        self.ask_stop()
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"{self.label} did not stop within {limit:.0f} s") from None
        check(code == 0, f"{self.label} ended with {code}: {self.last_words()}")

    def last_words(self) -> str:
        return " | ".join(f"{n.word} {' '.join(n.rest)}" for n in self.notes()[-3:])

    def discard(self) -> None:
        self.resume()
        self.kill()


def plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Ticker:
    """`pgque ticker`, as users run it."""

    def __init__(self, folder: Path, dsn: str) -> None:
        with (folder / "ticker.log").open("ab") as log:
            command = [Programs.named("pgque"), "ticker", "--dsn", dsn]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def discard(self) -> None:
        self.process.kill()
        self.process.wait()
