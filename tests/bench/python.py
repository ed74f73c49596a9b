"""The calls of the Python client beside pgque-py, which runs on the same server and the same engine.

Each figure is the median of several rounds, in which the two take turns, each time in a fresh process and on a fresh
queue. Rates are messages per second; CPU is the client process's, in microseconds per message.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable

from beside import Beside, main
from calls import order


class Bench(Beside):
    worker_file = "calls.py"
    groups = ("send", "commit", "concurrent", "send_batch", "receive", "consumer", "importing")

    def figures(self, case: str, *numbers: int, before: Callable = lambda: None) -> dict:
        """The medians for both."""

        def measure(who: str) -> dict:
            before()
            return self.worker(who, case, *numbers)

        return {who: medians(results) for who, results in self.turns(measure).items()}

    def ours(self, case: str, *numbers: int) -> dict:
        """The medians of what only libpgque can do."""
        results = []
        for _ in range(self.rounds):
            self.queue()
            results.append(self.worker("ours", case, *numbers))
        return medians(results)

    def rate(self, work: str, times: float, ours: dict, peer: dict) -> None:
        ratio = ours["rate"] / peer["rate"]
        self.row(
            f"{work}: messages/s",
            f"≥ {times:g} times",
            f"{ours['rate']:,.0f} ({ratio:.1f} times)",
            f"{peer['rate']:,.0f}",
            ratio >= times,
        )

    def share(self, what: str, unit: str, part: int, ours: float, peer: float) -> None:
        """A figure that has to be a part of pgque-py's."""
        reach = f"≤ 1/{part}"
        share = f"{ours:,.1f} {unit} (1/{peer / ours:.1f})"
        self.row(what, reach, share, f"{peer:,.1f} {unit}", ours * part <= peer)

    def send(self) -> None:
        both = self.figures("send", 8000)
        self.rate("send, one transaction", 1.3, both["ours"], both["peer"])
        self.share("send, one transaction: CPU", "µs", 2, both["ours"]["cpu"], both["peer"]["cpu"])

    def commit(self) -> None:
        both = self.figures("commit", 4000)
        self.rate("send and commit, each", 1.5, both["ours"], both["peer"])

    def concurrent(self) -> None:
        """Beside the loop that makes the same promise: one transaction for all, or a commit for each."""
        loop = self.figures("send", 8000)["peer"]
        self.rate("send, pipelined, one transaction", 3.5, self.ours("pipelined", 60_000), loop)
        self.rate(
            "send, 16 threads, one transaction", 3.5, self.ours("concurrent", 30_000, 16), loop
        )
        self.rate("send, 64 tasks, one transaction", 3.5, self.ours("tasks", 30_000, 64), loop)
        submitted = self.ours("submitted", 200_000)
        self.rate("Producer.submit, one thread, beside one transaction", 15, submitted, loop)
        committed = self.figures("commit", 2000)["peer"]
        sent = self.ours("producer", 60_000, 64)
        self.rate("Producer.send, 64 threads, beside a commit each", 15, sent, committed)
        self.rate("Producer.send, 64 threads, beside one transaction", 15, sent, loop)

    def send_batch(self) -> None:
        both = self.figures("send_batch", 50, 1000)
        self.rate("send_batch of 1,000 dicts", 3, both["ours"], both["peer"])
        cpu = both["ours"]["cpu"]
        self.row(
            "send_batch: CPU", "≤ 2 µs", f"{cpu:.2f} µs", f"{both['peer']['cpu']:.2f} µs", cpu <= 2
        )

    def receive(self) -> None:
        count = 200_000
        both = self.figures("receive", count, before=lambda: self.filled(count))
        ours, peer = both["ours"], both["peer"]
        self.rate("receive of 200,000, payloads read", 2, ours, peer)
        self.share("receive: CPU", "µs", 3, ours["cpu"], peer["cpu"])
        self.share("receive: memory held per message", "B", 3, ours["held"], peer["held"])
        self.share("receive: memory at the peak", "B", 3, ours["peak"], peer["peak"])

    def consumer(self) -> None:
        count = 200_000

        def measure(who: str) -> dict:
            self.filled(count)
            seconds = self.worker(who, "backlog", count, 1, file="worker.py")
            return {"messages": count, "seconds": seconds, "cpu": 0}

        both = {who: medians(results) for who, results in self.turns(measure).items()}
        self.rate("consumer, one batch of 200,000", 3, both["ours"], both["peer"])

    def importing(self) -> None:
        """What `import pgque` adds to the start of a process, the two with it and without it in turn."""
        took: dict[tuple[str, str], list[float]] = {}
        for _ in range(10 * self.rounds):
            for who, python in self.pythons.items():
                for program in ("pass", "import pgque"):
                    began = time.perf_counter()
                    subprocess.run([python, "-c", program], check=True)
                    took.setdefault((who, program), []).append(time.perf_counter() - began)
        median = {key: statistics.median(seconds) * 1000 for key, seconds in took.items()}
        ours, peer = (median[who, "import pgque"] - median[who, "pass"] for who in self.pythons)
        self.row("import pgque", "≤ 50 ms", f"{ours:.0f} ms", f"{peer:.0f} ms", ours <= 50)

    def filled(self, count: int) -> None:
        self.batches(1, count, json.dumps(order(4711)))


def medians(results: list[dict]) -> dict:
    """Of each figure, with rate and CPU time per message."""
    for result in results:
        result["rate"] = result["messages"] / result["seconds"]
        result["cpu"] *= 1e6 / result["messages"]
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


if __name__ == "__main__":
    main(Bench, __doc__)
