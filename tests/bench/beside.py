"""What the comparisons with pgque-py share: environments, taking turns, and the table of results.

pgque-py lives in an environment of its own, made on first use from PyPI; libpgque is measured as the wheel that users
get. Both work on the same server and the same engine.
"""

import argparse
import json
import os
import subprocess
import sys
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


class Beside:
    """Measures programs of libpgque and of pgque-py in turn. A subclass has a method for each group."""

    worker_file: str
    groups: tuple[str, ...]

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

    def tick(self) -> None:
        self.sql("select pgque.force_next_tick('bench')")
        self.sql("select pgque.ticker('bench')")

    def batches(self, count: int, size: int, payload: str = '{"a":1}') -> None:
        for _ in range(count):
            self.sql(
                "select pgque.send_batch('bench', array_fill(%s::text, array[%s]))", payload, size
            )
            self.tick()

    def worker(self, who: str, case: str, *numbers: float, file: str | None = None) -> object:
        program = ROOT / "tests/bench" / (file or self.worker_file)
        command = [self.pythons[who], program, case, self.dsn, who]
        output = subprocess.run(
            [*map(str, command), *map(json.dumps, numbers)], check=True, stdout=subprocess.PIPE
        )
        return json.loads(output.stdout)

    def turns(self, measure) -> dict[str, list]:
        """Both in turn, so that what slows the machine slows both."""
        results: dict[str, list] = {who: [] for who in self.pythons}
        for number in range(self.rounds):
            for who in self.pythons:
                progress(f"  round {number + 1} of {self.rounds}: {who}")
                self.queue()
                results[who].append(measure(who))
        return results

    def row(self, work: str, reach: str, ours: str, peer: str, ok: bool) -> None:
        self.rows.append({"work": work, "reach": reach, "ours": ours, "pgque-py": peer, "ok": ok})


def progress(text: str) -> None:
    """For people who wait; a line that the next one replaces where there is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main(bench: type[Beside], description: str) -> None:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=bench.groups)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    pythons = {
        "ours": environment("ours", "--force-reinstall", wheel()),
        "peer": environment("peer", PEER, "psycopg[binary]"),
    }
    run = bench(os.environ["PGQUE_TEST_DSN"], pythons, chosen.rounds)
    for group in bench.groups if chosen.only is None else [chosen.only]:
        began = time.monotonic()
        print(f"{group} …", file=sys.stderr)
        getattr(run, group)()
        progress("")
        print(f"{group} took {time.monotonic() - began:.0f} s", file=sys.stderr)
    if chosen.json:
        print(json.dumps(run.rows, indent=2))
    else:
        print_table(run.rows)


def print_table(rows: list[dict]) -> None:
    titles = ["work", "reach", "ours", "pgque-py", "ok"]
    table = [titles] + [
        [str(r[t]) if t != "ok" else "yes" if r[t] else "NO" for t in titles] for r in rows
    ]
    widths = [max(len(line[n]) for line in table) for n in range(len(titles))]
    for line in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
