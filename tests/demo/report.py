"""What the demo counts and shows."""

import collections
import sys
import time

BOLD, DIM, RED, GREEN, OFF = "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m"


class Report:
    """Takes the lines of the processes; draws the progress and the table at the end."""

    def __init__(self, workers: list[str]) -> None:
        self.workers = workers
        self.started = time.monotonic()
        self.on_terminal = sys.stdout.isatty()
        self.committed: set[int] = set()
        self.rolled_back: set[int] = set()
        self.dead: set[int] = set()
        # For each worker the orders it handled with success, in order, with repetitions.
        self.done: dict[str, list[int]] = {name: [] for name in [*workers, "audit"]}
        self.failures: collections.Counter[str] = collections.Counter()
        self.redelivered: collections.Counter[str] = collections.Counter()
        self.killed: str | None = None
        self.killed_at = 0.0
        # What the killed worker left in its open batch, until others have received it.
        self.orphans: set[int] = set()
        self.heirs: set[str] = set()

    def note(self, name: str, line: str) -> None:
        words = line.split()
        if name == "producer":
            orders = self.committed if words[0] == "committed" else self.rolled_back
            orders.update(map(int, words[1:]))
            return
        order, retries, outcome = int(words[0]), int(words[1]), words[2]
        self.redelivered[name] += retries > 0
        if order in self.orphans and name not in (self.killed, "audit"):
            self.inherit(name, order)
        if outcome == "ok":
            self.done[name].append(order)
        else:
            self.failures[name] += 1

    def handled(self, name: str) -> int:
        return len(self.done[name])

    def settled(self) -> set[int]:
        """Handled with success by one of the sharing workers, or dead."""
        return {order for name in self.workers for order in self.done[name]} | self.dead

    def is_settled(self) -> bool:
        return self.committed <= self.settled() and self.committed <= set(self.done["audit"])

    def headline(self, what: str, text: str, colour: str = BOLD) -> None:
        self.wipe()
        print(f"{self.paint(colour, f'{what:>10}')}  {text}", flush=True)

    def was_killed(self, name: str, pid: int, orders: set[int]) -> None:
        self.killed, self.killed_at, self.orphans = name, time.monotonic(), orders
        self.headline(
            "kill -9",
            f"the {name} worker (pid {pid}), with a batch of {len(orders)} messages open",
            RED,
        )

    def inherit(self, name: str, order: int) -> None:
        self.orphans.discard(order)
        self.heirs.add(name)
        if not self.orphans:
            seconds = time.monotonic() - self.killed_at
            who = " and ".join(sorted(self.heirs))
            self.headline(
                "takeover", f"all of them were delivered to {who}, {seconds:.1f} s later", GREEN
            )

    def progress(self) -> None:
        if not self.on_terminal:
            return
        parts = [f"sent {len(self.committed):,}"]
        parts += [f"{name} {self.handled(name):,}" for name in [*self.workers, "audit"]]
        parts += [f"dead {len(self.dead)}", f"{time.monotonic() - self.started:.0f} s"]
        print(f"\r\033[K{DIM}{'':>10}  {' · '.join(parts)}{OFF}", end="", flush=True)

    def wipe(self) -> None:
        if self.on_terminal:
            print("\r\033[K", end="")

    def paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{OFF}" if self.on_terminal else text

    def close(self, settled: bool) -> int:
        """The table. 0 if nothing was lost, nothing rolled back was seen, and time sufficed."""
        self.wipe()
        self.table()
        lost = self.committed - self.settled()
        unseen = self.committed - set(self.done["audit"])
        ghosts = self.rolled_back & (self.settled() | set(self.done["audit"]))
        twice = self.twice()
        self.line(
            "sent",
            len(self.committed),
            f"{len(self.rolled_back):,} more were rolled back, {len(ghosts)} of them seen",
        )
        self.line("retried", sum(self.redelivered.values()), "deliveries after a failure")
        self.line(
            "dead", len(self.dead), "failed three times; in the dead-letter table with their reason"
        )
        self.line("seen twice", len(twice), self.reason(twice))
        self.line("lost", len(lost) + len(unseen), "committed, but not handled by billing or audit")
        good = settled and not lost and not unseen and not ghosts
        verdict = self.paint(GREEN, "nothing lost") if good else self.paint(RED, "NOT ALL SETTLED")
        print(f"\n{verdict} in {time.monotonic() - self.started:.1f} s")
        return 0 if good else 1

    def table(self) -> None:
        print(f"\n{'worker':>10}  {'received':>9}  {'done':>7}  {'failed':>7}")
        for name in [*self.workers, "audit"]:
            done, failed = self.handled(name), self.failures[name]
            note = "  killed; its open batch went to another" if name == self.killed else ""
            note = "  not shared: receives everything" if name == "audit" else note
            print(
                f"{name:>10}  {done + failed:>9,}  {done:>7,}  {failed:>7,}{self.paint(DIM, note)}"
            )
        print()

    def line(self, what: str, count: int, text: str) -> None:
        print(f"{self.paint(BOLD, f'{what:>10}')}  {count:>9,}  {self.paint(DIM, text)}")

    def twice(self) -> set[int]:
        """Orders that the sharing workers handled with success more than once."""
        counts = collections.Counter(order for name in self.workers for order in self.done[name])
        return {order for order, count in counts.items() if count > 1}

    def reason(self, twice: set[int]) -> str:
        if not twice:
            return "the killed worker had finished nothing of its open batch"
        if self.killed and twice <= set(self.done[self.killed]):
            return f"handled by the {self.killed} worker, which was killed before it finished their batch"
        return "not explained by the killed worker"
