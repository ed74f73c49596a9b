#!/usr/bin/env python3
"""The fault campaign: real servers, networks and processes, broken on purpose.

run.py [--long] [--seed N] [--only "WORD[;WORD…]"] [--seconds N] [--jobs N] [--keep] [--list]
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bystanders import bystanders
from case import Case, give_up, new_case, prepare
from chaos import chaos
from exactly_once import exactly_once
from healing import FAULTS, STATES, heal
from memory import bounded_memory
from network import enter_private_network
from permanent import permanent
from standby import standby
from takeover import takeover
from workers import PYTHON, Failure

Body = Callable[[Case, Callable[[str], None]], str]


@dataclass
class Trial:
    name: str
    body: Body
    # What measures its own speed has the machine to itself.
    alone: bool = False
    result: str = ""
    failed: bool = False
    seconds: float = 0.0


def trials(long: bool, choice: random.Random, wires: bool, seconds: float | None) -> list[Trial]:
    kills, messages, rounds = (1000, 1_000_000, 60) if long else (25, 200_000, 6)
    found = [
        Trial("bounded memory", lambda c, p: bounded_memory(c, messages), alone=True),
        Trial("bystanders", lambda c, p: bystanders(c, 60 if long else 3), alone=True),
        Trial("exactly once", lambda c, p: exactly_once(c, kills, p)),
        Trial("takeover", lambda c, p: takeover(c)),
        Trial("takeover, blocked interpreter", lambda c, p: takeover(c, PYTHON)),
        Trial("standby", lambda c, p: standby(c, rounds)),
        Trial("permanent errors", lambda c, p: permanent(c)),
        Trial(
            "chaos", lambda c, p: chaos(c, seconds or (900 if long else 45), 20 if long else 5, p)
        ),
    ]
    for fault in FAULTS:
        if wires or not fault.startswith("dropped"):
            # In the long campaign all states, three times; else one or two, by the seed.
            count = 1 if fault.startswith("dropped") else 2
            states = STATES * 3 if long else choice.sample(STATES, count)
            for n, state in enumerate(states):
                name = f"{fault}, {state}" + (f", {n // len(STATES) + 1}" if long else "")
                found.append(Trial(name, healing(fault, state, long)))
    return found


def healing(fault: str, state: str, long: bool) -> Body:
    def body(case: Case, _: Callable[[str], None]) -> str:
        pause = case.random.uniform(3, 20) if long else 4
        done = heal(case, fault, state, pause)
        seen = "" if done.noticed is None else f"noticed after {done.noticed:.1f} s, "
        return f"{seen}went on after {done.goes_on:.1f} s, {done.duplicates} duplicates"

    return body


class Campaign:
    def __init__(self, seed: int, all_trials: list[Trial]) -> None:
        self.seed = seed
        self.trials = all_trials
        self.lock = threading.Lock()
        self.begin = time.monotonic()
        self.done = 0

    def run(self, jobs: int) -> None:
        for trial in self.trials:
            if trial.alone:
                self.one(trial)
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(self.one, [trial for trial in self.trials if not trial.alone]))

    def one(self, trial: Trial) -> None:
        begin = time.monotonic()
        self.progress(trial.name, "begins")
        folder = ""
        try:
            with new_case(f"{self.seed}/{trial.name}") as case:
                folder = str(case.folder)
                trial.result = trial.body(case, lambda text: self.progress(trial.name, text))
        except Exception as error:
            trial.failed = True
            trial.result = f"{error} ({folder})"
            if not isinstance(error, Failure):
                trial.result = f"{traceback.format_exc()} ({folder})"
        trial.seconds = time.monotonic() - begin
        with self.lock:
            self.done += 1
            clear()
            print(line(trial), flush=True)

    def progress(self, name: str, text: str) -> None:
        if sys.stderr.isatty():
            passed = time.monotonic() - self.begin
            with self.lock:
                clear()
                status = f"{self.done} of {len(self.trials)}, {passed:.0f} s | {name}: {text}"
                sys.stderr.write(status[:110])
                sys.stderr.flush()


def clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")


def line(trial: Trial) -> str:
    word = "FAILED" if trial.failed else "ok"
    return f"{trial.name:32} {word:6} {trial.seconds:6.1f} s  {trial.result}"


def main() -> int:
    options = parse()
    wires = enter_private_network()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 31)
    chosen = trials(options.long, random.Random(seed), wires, options.seconds)
    if options.only:
        words = options.only.split(";")
        chosen = [t for t in chosen if any(t.name.startswith(word) for word in words)]
    if options.list:
        print("\n".join(trial.name for trial in chosen))
        return 0
    print(f"seed {seed} (--seed {seed} does the same again)")
    if not wires:
        print("no network namespaces here (they need root): packets are not dropped in this run")
    base = Path(tempfile.mkdtemp(prefix="pgque-faults-"))
    # The server's account has to get through.
    base.chmod(0o755)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, give_up)
    prepare(base, wires)
    campaign = Campaign(seed, chosen)
    campaign.run(options.jobs)
    failed = [trial for trial in chosen if trial.failed]
    if options.long:
        print("\nSummary")
        print("\n".join(line(trial) for trial in chosen))
    if not failed and not options.keep:
        shutil.rmtree(base, ignore_errors=True)
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not chosen else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="all of it, for an hour and more")
    parser.add_argument("--seed", type=int, help="what is drawn by lot is drawn the same way")
    parser.add_argument("--only", help="trials whose name begins with one of these, separated by ;")
    parser.add_argument("--seconds", type=int, help="how long chaos reigns")
    parser.add_argument("--jobs", type=int, default=3, help="trials at once (default 3)")
    parser.add_argument("--keep", action="store_true", help="keep the journals and servers' logs")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
