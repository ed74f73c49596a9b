"""For the tests of programs: a queue on a real server, and handling all in it without sleeps.

``pytest_plugins = ["pgque.pytest_plugin"]`` in a ``conftest.py`` makes fixtures of what is here;
other test runners use it directly.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._pgque import PgqueClient
from .client import connect
from .consumer import Consumer
from .types import Health, Rows

if TYPE_CHECKING:
    from .async_consumer import AsyncConsumer

__all__ = ["ROUNDS_MAX", "TURN_SECONDS_MAX", "Queue", "database", "server"]

#: A handler that sends to its own queue would never come to an end.
ROUNDS_MAX = 1000
#: The server may take a moment to see that the consumer's connection of the last round has gone.
TURN_SECONDS_MAX = 5.0


@contextmanager
def server() -> Iterator[str]:
    """A server's DSN: ``PGQUE_TEST_DSN``, or that of a throw-away server of ``pgque dev``."""
    dsn = os.environ.get("PGQUE_TEST_DSN")
    if dsn is not None:
        yield dsn
        return
    command = [sys.executable, "-m", "pgque", "dev", "--no-ticker", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        # Empty if it has ended, with its reason on standard error.
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise RuntimeError("no server for tests: `pgque dev` failed; or set PGQUE_TEST_DSN")
        yield json.loads(line)["dsn"]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def database(dsn: str) -> Iterator[str]:
    """A fresh database with the engine on that server, dropped at the end; its DSN."""
    name = f"pgque_test_{uuid.uuid4().hex[:12]}"
    with connect(dsn, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        try:
            fresh = _with_database(dsn, name)
            with connect(fresh, autocommit=True) as client:
                client.install()
            yield fresh
        finally:
            # Whoever a test has left connected must not keep it.
            admin.execute(f"drop database {name} with (force)")


def _with_database(dsn: str, name: str) -> str:
    """The last of several settings of one name holds, in a URI as among keywords."""
    if dsn.startswith(("postgresql://", "postgres://")):
        return f"{dsn}{'&' if '?' in dsn else '?'}dbname={name}"
    return f"{dsn} dbname={name}"


class Queue:
    """A queue for one test, with a client in autocommit. ``with`` drops it at the end.

    Nothing ticks by itself: a test says when, by ``tick`` or ``tick_and_drain``.
    """

    def __init__(self, dsn: str, name: str | None = None) -> None:
        self.dsn = dsn
        self.name = name or f"test_{uuid.uuid4().hex[:12]}"
        self.client: PgqueClient = connect(dsn, autocommit=True)
        self.client.create_queue(self.name)

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the queue with all that is in it."""
        with self.client:
            self.client.drop_queue(self.name, force=True)

    def consumer(self, name: str, **options: Any) -> Consumer:
        """A subscribed consumer; it gets what is sent from now on."""
        self.subscribe(name)
        return Consumer(self.dsn, queue=self.name, name=name, **options)

    def async_consumer(self, name: str, **options: Any) -> AsyncConsumer:
        """As ``consumer``, for asyncio."""
        from .async_consumer import AsyncConsumer

        self.subscribe(name)
        return AsyncConsumer(self.dsn, queue=self.name, name=name, **options)

    def subscribe(self, consumer: str) -> None:
        """Have a consumer of that name get what is sent from now on."""
        self.client.subscribe(self.name, consumer)

    def send(self, payload: Any = None, **event: Any) -> int:
        """Send one event, with the arguments of ``PgqueClient.send``."""
        return self.client.send(self.name, payload, **event)

    def send_batch(self, type: str | None, payloads: Iterable[Any]) -> list[int]:
        """Send many events of one type."""
        return self.client.send_batch(self.name, type, payloads)

    def tick(self) -> None:
        """Make what was sent, and retries whose delay is over, ready to be received."""
        self.client.maint_retry_events()
        self.client.force_next_tick(self.name)
        self.client.ticker(self.name)

    def tick_and_drain(self, *consumers: Consumer) -> int:
        """Tick and have the consumers handle what comes, until nothing does; how many messages.

        A message that is retried counts each time. Only those whose delay is over are retried, so
        that tests want consumers with ``retry_after=0``.
        """
        total = 0
        for _ in range(ROUNDS_MAX):
            self.tick()
            handled = sum(_drained(consumer) for consumer in consumers)
            if not handled:
                return total
            total += handled
        raise self._endless()

    async def tick_and_drain_async(self, *consumers: AsyncConsumer) -> int:
        """As ``tick_and_drain``, for asyncio: other tasks go on meanwhile."""
        import asyncio

        total = 0
        for _ in range(ROUNDS_MAX):
            await asyncio.to_thread(self.tick)
            handled = sum([await _drained_async(consumer) for consumer in consumers])
            if not handled:
                return total
            total += handled
        raise self._endless()

    def _endless(self) -> RuntimeError:
        return RuntimeError(f"queue {self.name} was not empty after {ROUNDS_MAX} ticks")

    def dead_letters(self, limit: int = 1000) -> Rows:
        """What has become a dead letter, the newest first."""
        return self.client.dlq_inspect(self.name, limit)


def _drained(consumer: Consumer) -> int:
    """How many it handled. None must mean that there was nothing to handle."""
    end = time.monotonic() + TURN_SECONDS_MAX
    while True:
        count, health = consumer._drain()
        if _had_its_turn(consumer.name, health, end):
            return count


async def _drained_async(consumer: AsyncConsumer) -> int:
    end = time.monotonic() + TURN_SECONDS_MAX
    while True:
        count, health = await consumer._drain()
        if _had_its_turn(consumer.name, health, end):
            return count


def _had_its_turn(name: str, health: Health, end: float) -> bool:
    """Whether it could get at the queue; if not, it may try again until the end."""
    if health.status in ("connecting", "retrying"):
        raise RuntimeError(f"consumer {name}: {health.last_error}")
    if health.status == "standby" and time.monotonic() > end:
        raise RuntimeError(f"another consumer of the name {name} is at work on this queue")
    return health.status != "standby"
