"""The consumer and the producer in Python beside pgque-py, which runs on the same server and the same engine.

Each figure is the median of several rounds, in which the two take turns. pgque-py lives in an environment of its
own, made on first use from PyPI; libpgque is measured as the wheel that users get.
"""

import contextlib
import statistics
import subprocess
import threading
import time

import psycopg
from beside import Beside, main


class Bench(Beside):
    worker_file = "worker.py"
    groups = ("latency", "idle", "backlog", "whole", "cooperative", "failing", "producer")

    def latency(self) -> None:
        def measure(who: str) -> list[float]:
            with contextlib.nullcontext() if who == "ours" else self.slow_ticker():
                return self.worker(who, "latency", 500, 100)

        results = self.turns(measure)
        at = {
            who: [
                1000 * statistics.median(r[int(p * (len(r) - 1))] for r in rounds)
                for p in (0.5, 0.99)
            ]
            for who, rounds in results.items()
        }
        shown = {who: f"{p50:.1f} / {p99:.1f} ms" for who, (p50, p99) in at.items()}
        ok = at["ours"][0] <= 8 and at["ours"][1] <= 25
        self.row(
            "latency at 100 messages/s, p50 / p99", "≤ 8 / 25 ms", shown["ours"], shown["peer"], ok
        )

    @contextlib.contextmanager
    def slow_ticker(self):
        """What pgque-py's users run: a tick each 100 ms."""
        end = threading.Event()

        def tick() -> None:
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                connection.execute(
                    "select pgque.set_queue_config('bench', 'ticker_max_lag', '0.01 s')"
                )
                while not end.wait(0.1):
                    connection.execute("select pgque.ticker()")

        thread = threading.Thread(target=tick)
        thread.start()
        yield
        end.set()
        thread.join()

    def idle(self) -> None:
        """Commits of all of the database while a consumer with its ticker has nothing to do."""
        self.queue()
        # Autovacuum makes commits of its own, above all in a database that is as young as this one.
        self.sql("alter system set autovacuum = off")
        self.sql("select pg_reload_conf()")
        code = (
            "import pgque, sys, threading\n"
            "c = pgque.Consumer(sys.argv[1], queue='bench', name='reader', ticker=True)\n"
            "c.on('*')(print)\n"
            "threading.Timer(25, c.stop).start()\n"
            "c.start()\n"
        )
        process = subprocess.Popen([self.pythons["ours"], "-c", code, self.dsn])
        time.sleep(4)
        # Counted from another database, so that counting adds nothing.
        count = "select xact_commit from pg_stat_database where datname = %s"
        name = self.sql("select current_database()")[0][0]

        def commits() -> int:
            with psycopg.connect(self.dsn, dbname="postgres", autocommit=True) as elsewhere:
                return elsewhere.execute(count, (name,)).fetchone()[0]

        before = commits()
        time.sleep(20)
        rate = (commits() - before) / 20
        process.wait()
        self.sql("alter system reset autovacuum")
        self.sql("select pg_reload_conf()")
        self.row("idle: commits/s", "≤ 2", f"{rate:.2f}", "", rate <= 2)

    def backlog(self) -> None:
        def measure(who: str) -> float:
            # pgque-py waits a poll interval for each batch; a few of them show its pace.
            count = 50 if who == "ours" else 5
            self.batches(count, 4000)
            return count * 4000 / self.worker(who, "backlog", count * 4000, 1)

        results = self.turns(measure)
        ours, peer = (statistics.median(results[who]) for who in ("ours", "peer"))
        self.row(
            "backlog of batches of 4,000, messages/s",
            "≥ 250,000",
            f"{ours:,.0f}",
            f"{peer:,.0f}",
            ours >= 250_000,
        )

    def whole(self) -> None:
        def measure(who: str) -> float:
            self.batches(1, 200_000)
            return 200_000 / self.worker(who, "backlog", 200_000, 1)

        results = self.turns(measure)
        ours, peer = (statistics.median(results[who]) for who in ("ours", "peer"))
        self.row(
            "one batch of 200,000, messages/s",
            "≥ 3 times",
            f"{ours:,.0f}",
            f"{peer:,.0f}",
            ours >= 3 * peer,
        )

    def group(self, who: str, messages: int, workers: int, seconds: float) -> float:
        """One message in each batch, and a group of workers whose handlers take so long; seconds."""
        self.queue()
        for n in range(workers):
            self.sql("select pgque.subscribe_subconsumer('bench', 'group', %s)", f"w{n}")
        self.batches(messages, 1)
        return self.worker(who, "cooperative", messages, workers, seconds)

    def cooperative(self) -> None:
        results = self.turns(lambda who: self.group(who, 20, 4, 0.2))
        ours, peer = (statistics.median(results[who]) for who in ("ours", "peer"))
        self.row(
            "20 messages of 200 ms, 4 workers",
            "≤ 1.15 s",
            f"{ours:.2f} s",
            f"{peer:.2f} s",
            ours <= 1.15,
        )
        results = self.turns(
            lambda who: self.group(who, 80, 1, 0.05) / self.group(who, 80, 4, 0.05)
        )
        ours, peer = (statistics.median(results[who]) for who in ("ours", "peer"))
        self.row(
            "80 messages of 50 ms, 4 workers instead of one",
            "≥ 3.7 times",
            f"{ours:.2f} times",
            f"{peer:.2f} times",
            ours >= 3.7,
        )

    def failing(self) -> None:
        def measure(who: str) -> float:
            self.batches(1, 4000)
            return self.worker(who, "failing", 4000)

        results = self.turns(measure)
        ours, peer = (statistics.median(results[who]) for who in ("ours", "peer"))
        self.row(
            "4,000 failing messages in a batch",
            "≤ 1 s",
            f"{ours:.2f} s",
            f"{peer:.2f} s",
            ours <= 1,
        )

    def producer(self) -> None:
        rounds = []
        for _ in range(3 * self.rounds):
            self.queue()
            rounds.append(self.worker("ours", "producer", 64, 1))
        batch, many, send, lone = map(statistics.median, zip(*rounds, strict=True))
        self.row(
            "64 threads on a Producer, messages/s",
            "≥ 0.8 x send_batch",
            f"{many:,.0f} ({many / batch:.2f} x)",
            "",
            many >= 0.8 * batch,
        )
        self.row(
            "one thread on a Producer, µs",
            "≤ 1.3 x send",
            f"{1e6 / lone:.0f} ({send / lone:.2f} x)",
            "",
            send <= 1.3 * lone,
        )


if __name__ == "__main__":
    main(Bench, __doc__)
