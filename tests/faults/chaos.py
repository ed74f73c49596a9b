"""Everything at once: producers, the ticker, a normal and three cooperative consumers, and faults at random."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from case import QUEUE, Case
from server import send_signal
from workers import Worker, check, eventually

DEAD = 2.0
GOES_ON = 5.0
# A cut that a worker cannot see has to be noticed first.
NOTICES = 15.0
# A batch of a worker that is gone is taken over in twice the dead interval, and only then is there anything to go on.
TAKES_OVER = 2 * DEAD
MEMBERS = ("one", "two", "three")


class Chaos:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.proxy = case.proxy()
        self.wire = case.wire() if case.private_network else None
        case.subscribe("mail")
        for member in MEMBERS:
            case.query("select pgque.subscribe_subconsumer(%s, 'group', %s)", QUEUE, member)
        self.ticker = case.ticker()
        self.normal = case.worker("normal", "mail", **self._way(0))
        self.members = [
            case.worker(member, "group", subconsumer=member, dead_interval=DEAD, **self._way(n))
            for n, member in enumerate(MEMBERS, 1)
        ]
        self.producers = [Producer(case, label) for label in ("p", "q")]
        self.times: dict[str, list[float]] = defaultdict(list)

    def _way(self, number: int) -> dict[str, object]:
        """Half of the workers come by the wire, half by the proxy."""
        server = self.case.server
        if self.wire and number % 2 == 0:
            return {"dsn": server.dsn(self.wire.server_host), "prefix": self.wire.prefix}
        return {"dsn": server.dsn(port=self.proxy.port)}

    @property
    def workers(self) -> list[Worker]:
        return [self.normal, *self.members]

    def faults(self) -> dict[str, tuple[Callable[[], None], float]]:
        """By name: the fault, and how long after its end it may take to go on."""
        server, slow = self.case.server, GOES_ON + TAKES_OVER
        faults = {
            "terminate one": (self.terminate_one, GOES_ON),
            "terminate all": (self.terminate_all, GOES_ON),
            "restart fast": (lambda: ignore(server.restart("fast")), GOES_ON),
            "restart immediate": (lambda: ignore(server.restart("immediate")), GOES_ON),
            "kill -9 of the server": (self.kill_server, GOES_ON),
            "pause of the server": (self.pause_server, GOES_ON),
            "reset": (self.proxy.reset, GOES_ON),
            "silent proxy": (self.silence, slow),
            "kill -9 of a worker": (self.kill_worker, slow),
            "pause of a worker": (self.pause_worker, slow),
        }
        if self.wire:
            for direction in ("both", "to_server", "to_client"):
                faults[f"dropped {direction}"] = (self.dropping(direction), slow + NOTICES)
        return faults

    def some(self, low: float, high: float) -> float:
        return self.case.random.uniform(low, high)

    def any_worker(self) -> Worker:
        return self.case.random.choice(self.workers)

    def terminate_one(self) -> None:
        for row in self.case.sessions(self.any_worker().label):
            self.case.query("select pg_terminate_backend(%s)", row[0])

    def terminate_all(self) -> None:
        self.case.query(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where backend_type = 'client backend' and pid <> pg_backend_pid()"
        )

    def kill_server(self) -> None:
        self.case.server.kill()
        time.sleep(self.some(0, 2))
        self.case.server.start()

    def pause_server(self) -> None:
        self.case.server.pause()
        time.sleep(self.some(3, self.pause_max))
        self.case.server.resume()

    def silence(self) -> None:
        self.proxy.fall_silent()
        time.sleep(self.some(1, self.pause_max))
        self.proxy.speak()

    def kill_worker(self) -> None:
        worker = self.any_worker()
        worker.kill()
        time.sleep(self.some(0, 1))
        worker.respawn()

    def pause_worker(self) -> None:
        worker = self.any_worker()
        worker.pause()
        time.sleep(self.some(1, 3 * DEAD))
        worker.resume()

    def dropping(self, direction: str) -> Callable[[], None]:
        def drop() -> None:
            self.wire.drop(direction)
            time.sleep(self.some(1, self.pause_max))
            self.wire.restore()

        return drop

    def run(self, seconds: float, pause_max: float, progress: Callable[[str], None]) -> str:
        self.pause_max = pause_max
        faults, left = self.faults(), []
        end = time.monotonic() + seconds
        turn = 0
        while time.monotonic() < end:
            # Each of them once before any of them twice.
            left = left or self.case.random.sample(sorted(faults), len(faults))
            name = left.pop()
            progress(f"{name}, {max(0, end - time.monotonic()):.0f} s left")
            self.one(f"probe{turn}", name, *faults[name])
            turn += 1
            time.sleep(self.some(0.1, 1))
        return self.finish(turn)

    def one(self, key: str, name: str, act: Callable[[], None], allowed: float) -> None:
        begin = time.time()
        act()
        back = time.time()
        self.case.send(key)
        took = {}
        for worker in self.workers:
            what = f"{worker.label} receives something after {name}; {worker.last_words()}"
            first = eventually(lambda worker=worker: received(worker, back), what, allowed + 60)
            took[worker.label] = first - back
        self.times[name].append(max(took.values()))
        # What was open until all have recovered may come again.
        self.case.fault(begin, back + max(took.values()), name)
        slow = {label: round(time, 1) for label, time in took.items() if time > allowed}
        check(not slow, f"after {name} it went on in {slow} s, allowed are {allowed} s")

    def finish(self, turns: int) -> str:
        for producer in self.producers:
            producer.stop()
        committed, forbidden = set(), set()
        for producer in self.producers:
            committed |= producer.keys("ok")
            forbidden |= producer.keys("aborted")
        self.case.sent |= committed
        for workers in ([self.normal], self.members):
            wanted = set(self.case.sent)
            eventually(
                lambda wanted=wanted, workers=workers: wanted <= handled(workers),
                "all that was committed is handled",
                60,
            )
        self.case.stop_workers()
        duplicates = self.case.audit({"mail": [self.normal], "group": self.members}, forbidden)
        slowest = max(max(times) for times in self.times.values())
        return (
            f"{turns} faults, {len(self.case.sent)} events, {len(forbidden)} aborted,"
            f" {duplicates} duplicates, slowest {slowest:.1f} s"
        )

    def table(self) -> list[str]:
        return [
            f"{name:24} {len(times):3} times, went on after {distribution(times)}"
            for name, times in sorted(self.times.items())
        ]


class Producer:
    def __init__(self, case: Case, label: str) -> None:
        self.journal = case.folder / f"producer_{label}"
        script = Path(__file__).with_name("producer.py")
        command = [
            sys.executable,
            str(script),
            str(self.journal),
            case.server.side_dsn(),
            QUEUE,
            label,
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        case.stack.callback(self.discard)

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)

    def discard(self) -> None:
        send_signal(self.process.pid, 9)
        self.process.wait()

    def keys(self, outcome: str) -> set[str]:
        lines = (line.split() for line in self.journal.read_text().splitlines())
        return {key for word, *keys in lines if word == outcome for key in keys}


def received(worker: Worker, since: float) -> float | None:
    """When it got a batch after that time. There are enough of them for all."""
    return next((note.at for note in worker.notes("batch") if note.at > since), None)


def handled(workers: list[Worker]) -> set[str]:
    return {note.rest[2] for worker in workers for note in worker.notes("enter")}


def distribution(times: list[float]) -> str:
    ordered = sorted(times)
    return f"{ordered[len(ordered) // 2]:.1f} s (median), {ordered[-1]:.1f} s at most"


def ignore(_: object) -> None:
    pass


def chaos(case: Case, seconds: float, pause_max: float, progress: Callable[[str], None]) -> str:
    """A run of random faults, and what is true at its end."""
    run = Chaos(case)
    return "\n    ".join([run.run(seconds, pause_max, progress), *run.table()])
