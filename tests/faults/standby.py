"""Two consumers of one name: one works, and the other takes over when it goes. Never two at once."""

from __future__ import annotations

import time

from case import Case, intervals
from workers import Worker, check

TAKES_OVER = 5.0
HANDLING_MS = 100


def standby(case: Case, rounds: int) -> str:
    """The one at work is killed, stopped or paused, over and over; handlers of two never overlap, except for a paused
    process, which cannot know that it was given up."""
    case.subscribe("mail")
    case.ticker()
    workers = {label: case.worker(label, "mail") for label in ("a", "b")}
    spans: list[tuple[float, float, str]] = []
    took: dict[str, list[float]] = {"kill": [], "stop": [], "pause": []}
    number = 0
    for turn in range(rounds):
        for _ in range(3):
            case.send(f"turn{number}", HANDLING_MS)
            number += 1
        key = f"turn{number - 3}"
        case.await_handled(key, list(workers.values()), 30)
        at_work = next(w for w in workers.values() if w.entered(key))
        other = next(w for w in workers.values() if w is not at_work)
        how = ("kill", "stop", "pause")[turn % 3] if turn < 3 else case.random.choice(list(took))
        took[how].append(go(case, how, at_work, other, f"takeover{turn}"))
    case.stop_workers()
    duplicates = case.audit({"mail": list(workers.values())})
    for worker in workers.values():
        spans += [(begin, end, worker.label) for begin, end in intervals(worker)]
    check_apart(case, sorted(spans))
    return f"{summary(took)}; {duplicates} duplicates"


def go(case: Case, how: str, at_work: Worker, other: Worker, key: str) -> float:
    """How long it took the other to take over."""
    begin = time.time()
    if how == "kill":
        at_work.kill()
    elif how == "stop":
        # It finishes its batch, which has three short handlers at most.
        at_work.stop()
        begin = time.time()
    else:
        at_work.pause()
        # A paused process holds its connection; somebody who looks after the server ends it.
        sessions = case.sessions(at_work.label)
        for row in sessions:
            case.query("select pg_terminate_backend(%s)", row[0])
    case.send(key, 0)
    taken = case.await_handled(key, [other], 30)
    if how == "pause":
        at_work.resume()
        # It hears of its end as soon as it runs, but may have begun with a message first.
        time.sleep(2 * HANDLING_MS / 1000)
    case.fault(begin, time.time(), how)
    if how != "pause":
        at_work.respawn()
    took = taken - begin
    check(took <= TAKES_OVER, f"after a {how} the other took over in {took:.1f} s")
    return took


def check_apart(case: Case, spans: list[tuple[float, float, str]]) -> None:
    for index, (begin, end, label) in enumerate(spans):
        for next_begin, _, next_label in spans[index + 1 :]:
            if next_begin >= end:
                break
            blamed = any(first <= next_begin <= last for first, last, _ in case.faults)
            check(
                label == next_label or blamed,
                f"two at work: {label} from {begin} to {end}, {next_label} from {next_begin}",
            )


def summary(took: dict[str, list[float]]) -> str:
    return ", ".join(f"{how} {max(times):.2f} s" for how, times in took.items() if times)
