"""The demo: orders through one queue, five consumers in four languages, and a worker killed on the way.

Needs PGQUE_DSN, a server with the engine and a running ticker; `scripts/demo` sees to that.
"""

import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time

import pgque
from report import Report

HERE = pathlib.Path(__file__).parent
ORDERS = 10_000
TIME_LIMIT = 120
VICTIM = "c"
VICTIM_DIES_AFTER = 300
WORKERS = {
    "python": [sys.executable, HERE / "worker.py"],
    "node": ["node", HERE / "worker.mjs"],
    "c": [HERE / "build" / "worker-c"],
    "go": [HERE / "build" / "worker-go"],
}


class Demo:
    """Starts the processes, reads what they print, and kills one of them."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.client = pgque.connect(dsn, autocommit=True)
        self.lines: queue.Queue[tuple[str, str]] = queue.Queue()
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.report = Report(list(WORKERS))

    def prepare(self) -> None:
        """The queue, the ordinary consumer and the members of the shared one, before anything is sent."""
        self.client.create_queue("orders")
        self.client.set_queue_config("orders", "max_retries", "2")
        self.client.subscribe("orders", "audit")
        for member in WORKERS:
            self.client.subscribe_subconsumer("orders", "billing", member)
        self.report.headline(
            "server", f"{self.server()}; engine {self.client.version()} installed, ticker running"
        )

    def server(self) -> str:
        row = self.client.conn.execute("select current_setting('server_version')").fetchone()
        return f"PostgreSQL {row[0].split()[0]}"

    def start_all(self) -> None:
        for name, command in WORKERS.items():
            self.start(name, *command, self.dsn, "billing", name)
        self.start("audit", *WORKERS["python"], self.dsn, "audit", "-")
        self.report.headline(
            "workers", f"{', '.join(WORKERS)} share the consumer billing; audit gets everything"
        )
        self.start("producer", sys.executable, HERE / "producer.py", self.dsn, ORDERS)
        self.report.headline(
            "producer", f"{ORDERS:,} orders, ten in a transaction, some rolled back"
        )

    def start(self, name: str, *command: object) -> None:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.processes[name] = process
        threading.Thread(target=self.read, args=(name, process), daemon=True).start()

    def read(self, name: str, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self.lines.put((name, line.strip()))

    def follow(self) -> bool:
        """Until every committed order is settled and was seen by audit. False if time runs out first."""
        end = time.monotonic() + TIME_LIMIT
        next_look = 0.0
        while time.monotonic() < end:
            try:
                name, line = self.lines.get(timeout=0.2)
            except queue.Empty:
                self.check_alive()
            else:
                self.report.note(name, line)
                if name == VICTIM and self.report.handled(VICTIM) >= VICTIM_DIES_AFTER:
                    self.kill_in_mid_batch()
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + 0.5
                self.report.dead = self.dead_letters()
                self.report.progress()
                if self.processes["producer"].poll() is not None and self.report.is_settled():
                    return True
        return False

    def dead_letters(self) -> set[int]:
        rows = self.client.dlq_inspect("orders", 1000)
        return {json.loads(row["payload"])["order"] for row in rows}

    def check_alive(self) -> None:
        for name, process in self.processes.items():
            if process.poll() not in (None, 0) and name != self.report.killed:
                sys.exit(f"the {name} process ended with exit code {process.returncode}")

    def kill_in_mid_batch(self) -> None:
        """kill -9, at a moment when the worker holds a batch; stopped first, so that the moment stays."""
        process = self.processes[VICTIM]
        if self.report.killed or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        row = self.client.consumer_info("orders", f"billing.{VICTIM}")[0]
        if row["current_batch"] is None:
            process.send_signal(signal.SIGCONT)
            return
        events = self.client.conn.execute(
            "select ev_data from pgque.get_batch_events(%s)", (row["current_batch"],)
        )
        orders = {json.loads(data)["order"] for (data,) in events.fetchall()}
        process.kill()
        process.wait()
        self.report.was_killed(VICTIM, process.pid, orders)

    def stop_all(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for name, process in self.processes.items():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                self.report.headline("warning", f"{name} did not stop within 10 s")
        while not self.lines.empty():
            self.report.note(*self.lines.get())


def main() -> int:
    demo = Demo(os.environ["PGQUE_DSN"])
    demo.prepare()
    demo.start_all()
    settled = demo.follow()
    demo.stop_all()
    return demo.report.close(settled)


if __name__ == "__main__":
    sys.exit(main())
