"""What one case of the campaign is given: a server, workers, a look from the side; and what holds at its end."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from network import Proxy, Wire
from server import Server
from workers import Failure, Programs, Ticker, Worker, check, eventually

QUEUE = "orders"
# The journals' clock and the faults' are the same; between a fault and its note in our list lies less than this.
SLACK = 0.05


class Case:
    folders = itertools.count(1)
    base: Path
    template: Path | None = None
    # Whether this process has a network of its own, in which wires can be cut.
    private_network = False
    living: ClassVar[set[ExitStack]] = set()

    def __init__(self, stack: ExitStack, seed: str) -> None:
        self.stack = stack
        self.random = random.Random(seed)
        self.folder = Case.base / f"case{next(Case.folders)}"
        addresses = "*" if Case.private_network else "127.0.0.1"
        self.server = Server(self.folder, addresses)
        self.server.create(Case.template)
        self.stack.callback(self.server.discard)
        self.server.start()
        self.workers: list[Worker] = []
        # What no worker can be blamed for: from when to when, and what it was.
        self.faults: list[tuple[float, float, str]] = []
        self.sent: set[str] = set()

    # --- the parts ---------------------------------------------------------------------------------------------

    def proxy(self) -> Proxy:
        proxy = Proxy(self.server.port)
        self.stack.callback(proxy.close)
        return proxy

    def wire(self) -> Wire:
        wire = Wire()
        self.stack.callback(wire.close)
        return wire

    def worker(self, label: str, name: str, dsn: str | None = None, **options: Any) -> Worker:
        journal = self.folder / f"{label}.journal"
        worker = Worker(journal, dsn or self.server.dsn(), QUEUE, name, **options)
        self.workers.append(worker)
        self.stack.callback(worker.discard)
        return worker

    def ticker(self) -> Ticker:
        ticker = Ticker(self.folder, self.server.side_dsn())
        self.stack.callback(ticker.discard)
        return ticker

    def subscribe(self, *names: str) -> None:
        for name in names:
            self.query("select pgque.subscribe(%s, %s)", QUEUE, name)

    def query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.server.side() as side:
            return side.execute(sql, params or None).fetchall()

    def value(self, sql: str, *params: Any) -> Any:
        return self.query(sql, *params)[0][0]

    def send(self, key: str, milliseconds: int = 0) -> None:
        """One event, whose handling takes so long."""
        payload = json.dumps({"key": key, "ms": milliseconds})
        self.query("select pgque.send(%s, 't', %s::jsonb)", QUEUE, payload)
        self.sent.add(key)

    def tick(self) -> None:
        with self.server.side() as side:
            side.execute("select pgque.force_next_tick(%s)", (QUEUE,))
            side.execute("select pgque.ticker(%s)", (QUEUE,))

    def send_now(self, key: str, milliseconds: int = 0) -> None:
        self.send(key, milliseconds)
        self.tick()

    def fault(self, begin: float, end: float, what: str) -> None:
        self.faults.append((begin - SLACK, end + SLACK, what))

    # --- where a worker stands ---------------------------------------------------------------------------------

    def sessions(self, label: str) -> list[tuple[Any, ...]]:
        """The server processes of a worker: pid, state, what it waits for."""
        sql = (
            "select pid, state, wait_event_type, query from pg_stat_activity"
            " where application_name = %s order by pid"
        )
        return self.query(sql, label)

    def await_idle(self, worker: Worker) -> None:
        """It listens, and nothing is under way."""

        def idle() -> bool:
            rows = self.sessions(worker.label)
            return bool(rows) and all(row[1] == "idle" for row in rows)

        eventually(lambda: worker.logged("listening on"), f"{worker.label} listens")
        eventually(idle, f"{worker.label} is idle")

    def await_blocked(self, worker: Worker) -> None:
        """A statement of it waits for our lock."""
        eventually(
            lambda: any(row[2] == "Lock" for row in self.sessions(worker.label)),
            f"{worker.label} waits for the lock",
        )

    def block(self) -> Blocker:
        """Holds what receive and finish both have to write."""
        return Blocker(self.server)

    # --- what holds at the end ---------------------------------------------------------------------------------

    def stop_workers(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.stop()

    def await_handled(self, key: str, workers: list[Worker], limit: float) -> float:
        """When one of the workers was first given it."""

        def first() -> float | None:
            times = [at for worker in workers if (at := worker.entered(key))]
            return min(times, default=None)

        try:
            return eventually(first, f"{key} is handled", limit)
        except Failure as failure:
            words = "; ".join(f"{w.label}: {w.last_words()}" for w in workers)
            raise Failure(f"{failure}; last notes: {words}") from None

    def audit(
        self, subscriptions: dict[str, list[Worker]], forbidden: set[str] = frozenset()
    ) -> int:
        """Nothing lost, nothing made up, nothing left open. The number of duplicates, each of which a fault explains."""
        duplicates = 0
        for name, workers in subscriptions.items():
            handled = handlings(workers)
            missing = self.sent - handled.keys()
            check(not missing, f"{name}: lost {len(missing)}: {sorted(missing)[:5]}")
            made_up = handled.keys() & forbidden
            check(not made_up, f"{name}: of aborted transactions: {sorted(made_up)[:5]}")
            for key, times in handled.items():
                for one, next_one in itertools.pairwise(sorted(times)):
                    check(
                        self._explained(one, next_one),
                        f"{name}: {key} twice without a fault: {one}, then {next_one}",
                    )
                    duplicates += 1
        self.check_nothing_open()
        return duplicates

    def _explained(self, first: Span, second: Span) -> bool:
        """A fault lies between the receive of the batch and the end of its finish."""
        return any(begin <= first[1] and end >= first[0] for begin, end, _ in self.faults)

    def check_nothing_open(self) -> None:
        def in_transaction() -> list[Any]:
            return self.query(
                "select application_name, query from pg_stat_activity"
                " where state like 'idle in transaction%' and pid <> pg_backend_pid()"
            )

        eventually(lambda: not in_transaction(), "no session is left idle in transaction")
        left = self.query(
            "select sub_id, sub_batch from pgque.subscription where sub_batch is not null"
        )
        check(not left, f"batches left open: {left}")


# From the receive of a batch to the end of its finish; infinite if that is not known.
Span = tuple[float, float]


def handlings(workers: list[Worker]) -> dict[str, list[Span]]:
    """Of each key, the batches in which it was handled."""
    found: dict[str, list[Span]] = defaultdict(list)
    for worker in workers:
        received, keys = 0.0, list[str]()

        def close(at: float, received: float, keys: list[str]) -> None:
            for key in keys:
                found[key].append((received, at))

        for note in worker.notes("batch", "enter", "finished"):
            if note.word == "batch":
                # The batch before was never finished: the process was killed.
                close(note.at, received, keys)
                received, keys = note.at, []
            elif note.word == "enter":
                keys.append(note.rest[2])
            else:
                close(note.at, received, keys)
                keys = []
        close(float("inf"), received, keys)
    return found


def intervals(worker: Worker) -> list[Span]:
    """When its handlers ran; those that never ended did so with their process."""
    found: list[Span] = []
    since: float | None = None

    def died(begin: float) -> float:
        return min((at for at in worker.deaths if at >= begin), default=float("inf"))

    for note in worker.notes("enter", "leave"):
        if since is not None:
            found.append((since, note.at if note.word == "leave" else died(since)))
        since = note.at if note.word == "enter" else None
    if since is not None:
        found.append((since, died(since)))
    return found


class Blocker:
    """A transaction that holds a lock on the subscriptions, until released or ended by a fault."""

    def __init__(self, server: Server) -> None:
        self.side = server.side(autocommit=False)
        self.side.execute("lock table pgque.subscription in access exclusive mode")

    def release(self) -> None:
        try:
            self.side.rollback()
            self.side.close()
        except psycopg.Error:
            pass


class Sampler:
    """Calls something over and over in a thread of its own, and keeps what it gave."""

    def __init__(self, look: Any, pause: float) -> None:
        self.found: list[Any] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._go_on, args=(look, pause), daemon=True)
        self.thread.start()

    def _go_on(self, look: Any, pause: float) -> None:
        while not self.ended.wait(pause):
            self.found.append(look())

    def end(self) -> list[Any]:
        self.ended.set()
        self.thread.join()
        return self.found


@contextmanager
def new_case(seed: str) -> Iterator[Case]:
    with cleaned_up() as stack:
        yield Case(stack, seed)


@contextmanager
def cleaned_up() -> Iterator[ExitStack]:
    """What is ended here in any case, be it by a signal."""
    with ExitStack() as stack:
        Case.living.add(stack)
        stack.callback(Case.living.discard, stack)
        yield stack


def give_up(*_: object) -> None:
    """On a signal: no server and no worker is left behind."""
    for stack in list(Case.living):
        with suppress(Exception):
            stack.close()
    os._exit(1)


def prepare(base: Path, private_network: bool) -> None:
    """A data directory with the engine installed, which each case gets a copy of."""
    Case.base, Case.private_network, Case.template = base, private_network, None
    Programs.copy(base / "bin")
    server = Server(base / "template")
    with cleaned_up() as stack:
        stack.callback(server.discard)
        server.create()
        server.start()
        install = [Programs.named("pgque"), "install", "--dsn", server.side_dsn()]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        with server.side() as side:
            side.execute("select pgque.create_queue(%s)", (QUEUE,))
            side.execute("create table effects (key text not null)")
        server.stop()
    Case.template = server.data
