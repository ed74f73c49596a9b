"""The consumer and the producer in Python beside pgque-py, which runs on the same server and the same engine.

Each figure is the median of several rounds, in which the two take turns. pgque-py lives in an environment of its
own, made on first use from PyPI; libpgque is measured as the wheel that users get.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".tools" / "bench"
PEER = "pgque-py==0.2.2"


def environment(name: str, *packages: str) -> Path:
    """A virtual environment with those packages; its interpreter."""
    python = PLACE / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PLACE / name], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True)
    return python


def wheel() -> str:
    """The wheel of this tree, built for speed."""
    maturin = ["maturin", "build", "--quiet", "--release", "--locked"]
    subprocess.run(
        [
            *maturin,
            "--manifest-path",
            ROOT / "bindings-python/Cargo.toml",
            "--out",
            PLACE / "wheel",
        ],
        check=True,
    )
    return str(max((PLACE / "wheel").glob("*.whl"), key=lambda path: path.stat().st_mtime))


class Bench:
    def __init__(self, dsn: str, pythons: dict[str, Path], rounds: int) -> None:
        self.dsn, self.pythons, self.rounds = dsn, pythons, rounds
        self.side = psycopg.connect(dsn, autocommit=True)
        self.rows: list[dict] = []

    def sql(self, text: str, *args: object) -> list[tuple]:
        cursor = self.side.execute(text, args or None)
        return cursor.fetchall() if cursor.description else []

    def queue(self) -> None:
        if self.sql("select 1 from pgque.queue where queue_name = 'bench'"):
            self.sql("select pgque.drop_queue('bench', true)")
        self.sql("select pgque.create_queue('bench'), pgque.subscribe('bench', 'reader')")

    def batches(self, count: int, size: int) -> None:
        for _ in range(count):
            self.sql(
                "select pgque.send_batch('bench', array_fill('{\"a\":1}'::text, array[%s]))", size
            )
            self.sql("select pgque.force_next_tick('bench')")
            self.sql("select pgque.ticker('bench')")

    def worker(self, who: str, case: str, *numbers: float) -> object:
        command = [self.pythons[who], ROOT / "tests/bench/worker.py", case, self.dsn, who]
        output = subprocess.run(
            [*map(str, command), *map(json.dumps, numbers)], check=True, stdout=subprocess.PIPE
        )
        return json.loads(output.stdout)

    def turns(self, measure) -> dict[str, list]:
        """Both in turn, so that what slows the machine slows both."""
        results: dict[str, list] = {who: [] for who in self.pythons}
        for _ in range(self.rounds):
            for who in self.pythons:
                self.queue()
                results[who].append(measure(who))
        return results

    def row(self, work: str, reach: str, ours: str, peer: str, ok: bool) -> None:
        self.rows.append({"work": work, "reach": reach, "ours": ours, "pgque-py": peer, "ok": ok})

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

    def cooperative(self) -> None:
        def measure(who: str) -> float:
            for n in range(4):
                self.sql("select pgque.subscribe_subconsumer('bench', 'group', %s)", f"w{n}")
            self.batches(20, 1)
            return self.worker(who, "cooperative", 20, 4, 0.2)

        results = self.turns(measure)
        ours, peer = (statistics.median(results[who]) for who in ("ours", "peer"))
        self.row(
            "20 messages of 200 ms, 4 workers",
            "≤ 1.15 s",
            f"{ours:.2f} s",
            f"{peer:.2f} s",
            ours <= 1.15,
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


GROUPS = ("latency", "idle", "backlog", "whole", "cooperative", "failing", "producer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=GROUPS)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    pythons = {
        "ours": environment("ours", "--force-reinstall", wheel()),
        "peer": environment("peer", PEER, "psycopg[binary]"),
    }
    bench = Bench(os.environ["PGQUE_TEST_DSN"], pythons, chosen.rounds)
    for group in GROUPS if chosen.only is None else [chosen.only]:
        print(f"{group} …", file=sys.stderr)
        getattr(bench, group)()
    if chosen.json:
        return print(json.dumps(bench.rows, indent=2))
    titles = ["work", "reach", "ours", "pgque-py", "ok"]
    table = [titles] + [
        [str(r[t]) if t != "ok" else "yes" if r[t] else "NO" for t in titles] for r in bench.rows
    ]
    widths = [max(len(line[n]) for line in table) for n in range(len(titles))]
    for line in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


if __name__ == "__main__":
    main()
