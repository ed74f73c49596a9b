"""A driver process, and the client, consumer and ticker handles that scenarios use on it."""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

from psycopg import conninfo

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "rust": [os.environ.get("CARGO_TARGET_DIR", "target") + "/debug/pgque-conformance-driver"],
    "python": [".venv/bin/python", "tests/drivers/python/driver.py"],
    "python-async": [".venv/bin/python", "tests/drivers/python/async_driver.py"],
    "node": ["node", "tests/drivers/node/driver.mjs"],
    "c": ["tests/drivers/c/driver"],
    "go": ["tests/drivers/go/driver"],
}
# Where a pooler is, if the tests run behind one: see tests/connection/pooler.py.
POOLER = os.environ.get("PGQUE_TEST_POOLER", "")


def direct(dsn: str) -> str:
    """The server itself, for what a pooler cannot do: it shares sessions out."""
    server = conninfo.conninfo_to_dict(os.environ.get("PGQUE_TEST_DSN", "") if POOLER else "")
    where = {key: server[key] for key in ("host", "port") if key in server}
    return conninfo.make_conninfo(dsn, **where) if POOLER else dsn


# A call that takes longer than this hangs; the slowest legitimate ones wait for a few seconds.
ANSWER_TIMEOUT = 30.0
STDERR_LINES = 25


class Failure(Exception):
    """The library or its driver did not do what was promised."""


class Broken(Failure):
    """The driver did not start, went silent, ended or talked nonsense."""


class CallError(Exception):
    """An error that the driver answered."""

    def __init__(self, op: str, error: dict[str, Any]) -> None:
        super().__init__(f"{op}: {json.dumps(error, ensure_ascii=False)}")
        self.error = error

    def __getattr__(self, name: str) -> Any:
        try:
            return self.error[name]
        except KeyError:
            raise Failure(f"the error lacks {name!r}: {self.error}") from None


class Driver:
    """One running driver."""

    # By language, the operations that any scenario has asked for.
    called: ClassVar[defaultdict[str, set[str]]] = defaultdict(set)

    def __init__(self, language: str) -> None:
        self.language = language
        try:
            self.process = subprocess.Popen(
                COMMANDS[language],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as e:
            raise Broken(f"cannot start the driver: {e}; is it built?") from e
        self.ids = itertools.count(1)
        self.handles = itertools.count(1)
        self.answers: queue.Queue[str | None] = queue.Queue()
        self.errors: list[str] = []
        self.readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def _read_answers(self) -> None:
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def _read_errors(self) -> None:
        for line in self.process.stderr:
            self.errors.append(line.rstrip())
            del self.errors[:-STDERR_LINES]

    def call(self, op: str, *, answer_timeout: float = ANSWER_TIMEOUT, **arguments: Any) -> Any:
        """Sends a request and gives its result; a CallError if the driver answers one."""
        request = {"id": next(self.ids), "op": op, **arguments}
        self.called[self.language].add(op)
        try:
            # ASCII, so that lone surrogates and the like travel as escapes.
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.answers.get(timeout=answer_timeout)
        except queue.Empty:
            self.kill()
            raise self._broken(f"{op} was not answered within {answer_timeout:.0f} s") from None
        except (BrokenPipeError, ValueError):
            raise self._broken(f"the driver ended before {op}") from None
        if line is None:
            raise self._broken(f"the driver ended during {op}")
        return self._result(op, request["id"], line)

    def _result(self, op: str, request_id: int, line: str) -> Any:
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            raise self._broken(f"{op} was answered with {line.strip()!r}") from None
        if answer.get("id") != request_id:
            raise self._broken(f"{op} was answered under another id: {line.strip()}")
        if answer.get("unknown"):
            raise Failure(f"the driver lacks the operation {op}")
        if "error" in answer:
            raise CallError(op, answer["error"])
        return answer["ok"]

    def _broken(self, what: str) -> Broken:
        self.kill()
        self.readers[1].join(timeout=2)
        tail = "".join(f"\n    {line}" for line in self.errors)
        return Broken(
            f"{what}; exit code {self.process.returncode}; its last words:{tail or ' none'}"
        )

    def kill(self) -> None:
        """kill -9, as a crash would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ends it as a user's program ends, and kills it if it does not."""
        try:
            self.process.stdin.close()
            self.process.wait(timeout=3)
        except (subprocess.TimeoutExpired, OSError):
            self.kill()

    def connect(self, dsn: str, **arguments: Any) -> Client:
        return self._client("connect", dsn, arguments)

    def connect_caller(self, dsn: str) -> Client:
        """A client on a connection of the language's own PostgreSQL driver."""
        return self._client("connect_caller", dsn, {})

    def _client(self, op: str, dsn: str, arguments: dict[str, Any]) -> Client:
        name = f"client{next(self.handles)}"
        self.call(op, client=name, dsn=dsn, **arguments)
        return Client(self, name)

    def consumer(
        self,
        dsn: str,
        queue: str,
        name: str,
        handlers: dict[str, str],
        callbacks: dict[str, Any] | None = None,
        only_polls: bool = False,
        **options: Any,
    ) -> Consumer:
        handle = f"consumer{next(self.handles)}"
        if POOLER and "nonsense" not in dsn and not only_polls:
            options = {"listen_dsn": direct(dsn), **options}
        self.call(
            "consumer_start",
            consumer=handle,
            dsn=dsn,
            queue=queue,
            name=name,
            options=options,
            handlers=handlers,
            **(callbacks or {}),
        )
        return Consumer(self, handle)

    def producer(self, dsn: str, **options: Any) -> Producer:
        handle = f"producer{next(self.handles)}"
        self.call("producer_start", producer=handle, dsn=dsn, options=options)
        return Producer(self, handle)

    def ticker(self, dsn: str, **options: Any) -> Ticker:
        handle = f"ticker{next(self.handles)}"
        self.call("ticker_start", ticker=handle, dsn=direct(dsn), options=options)
        return Ticker(self, handle)


class Producer:
    """A producer in a driver."""

    def __init__(self, driver: Driver, name: str) -> None:
        self.driver = driver
        self.name = name

    def send(self, **arguments: Any) -> str:
        return self.driver.call("producer_send", producer=self.name, **arguments)

    def send_many(self, payloads: list[Any], tasks: int, **arguments: Any) -> list[str]:
        return self.driver.call(
            "producer_send_many", producer=self.name, payloads=payloads, tasks=tasks, **arguments
        )

    def submit(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        return self.driver.call("producer_submit", producer=self.name, events=events)

    def flush(self) -> None:
        self.driver.call("producer_flush", producer=self.name)

    def close(self, **arguments: Any) -> None:
        self.driver.call("producer_close", producer=self.name, **arguments)

    def stats(self) -> dict[str, float]:
        return self.driver.call("producer_stats", producer=self.name)


class Client:
    """A client in a driver: every operation of the protocol is a method, with keyword arguments."""

    def __init__(self, driver: Driver, name: str) -> None:
        self.driver = driver
        self.name = name

    def __getattr__(self, op: str) -> Any:
        return lambda **arguments: self.driver.call(op, client=self.name, **arguments)

    def rows(self, sql: str, *params: str | None) -> list[list[Any]]:
        return self.execute(sql=sql, params=list(params))["rows"]


class Consumer:
    """A consumer that runs in the background of a driver."""

    def __init__(self, driver: Driver, name: str) -> None:
        self.driver = driver
        self.name = name

    def seen(self, count: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """What the handlers were given, once there are `count` of them or the time is over."""
        return self.driver.call(
            "consumer_seen",
            consumer=self.name,
            count=count,
            timeout=timeout,
            answer_timeout=timeout + ANSWER_TIMEOUT,
        )

    def expect(self, count: int, timeout: float = 15.0) -> list[dict[str, Any]]:
        """As `seen`, but too few is a failure."""
        messages = self.seen(count, timeout)
        if len(messages) < count:
            raise Failure(f"the handlers saw {len(messages)} of {count} messages in {timeout} s")
        return messages

    def ask_stop(self) -> None:
        self.driver.call("consumer_ask_stop", consumer=self.name)

    def stats(self) -> dict[str, float]:
        return self.driver.call("consumer_stats", consumer=self.name)

    def health(self) -> dict[str, Any]:
        return self.driver.call("consumer_health", consumer=self.name)

    def hooks(self) -> list[str]:
        return self.driver.call("consumer_hooks", consumer=self.name)

    def stop(self) -> None:
        self.driver.call("consumer_stop", consumer=self.name)


class Ticker:
    """A ticker that runs in the background of a driver."""

    def __init__(self, driver: Driver, name: str) -> None:
        self.driver = driver
        self.name = name

    def stats(self) -> dict[str, Any]:
        return self.driver.call("ticker_stats", ticker=self.name)

    def stop(self) -> None:
        self.driver.call("ticker_stop", ticker=self.name)
