"""A dead cooperative worker's batch is taken over in time; a live one's never, however long its handler takes."""

from __future__ import annotations

import time

from case import QUEUE, Case
from workers import Worker, check, eventually

DEAD = 2.0


def takeover(case: Case, program: list[str] | None = None) -> str:
    """First a handler that takes five times the dead interval, then a worker that is stopped inside of one and
    goes on later, then one that is killed."""
    for member in ("a", "b"):
        case.query("select pgque.subscribe_subconsumer(%s, 'group', %s)", QUEUE, member)
    case.ticker()
    options = {"dead_interval": DEAD}
    a = case.worker("a", "group", program=program, subconsumer="a", **options)
    b = case.worker("b", "group", program=program, subconsumer="b", **options)
    for worker in (a, b):
        case.await_idle(worker)
    case.send("slow", int(5 * DEAD * 1000))
    case.await_handled("slow", [a, b], 20)
    first = a if a.entered("slow") else b
    second = b if first is a else a
    time.sleep(5 * DEAD + 2)
    check(second.entered("slow") is None, "the batch of a live worker was taken over")
    check(len([n for n in first.notes("enter") if n.rest[2] == "slow"]) == 1, "handled twice")
    stopped(case, a, b)
    case.send("doomed", 60_000)
    case.await_handled("doomed", [a, b], 20)
    victim = a if a.entered("doomed") else b
    heir = b if victim is a else a
    # Not at once after its first heart-beat.
    time.sleep(DEAD)
    gone = victim.kill()
    taken = case.await_handled("doomed", [heir], 30) - gone
    check(taken <= 2 * DEAD, f"taken over {taken:.1f} s after the death, allowed are {2 * DEAD} s")
    return f"taken over after {taken:.2f} s"


def stopped(case: Case, a: Worker, b: Worker) -> None:
    """Heart-beats end with SIGSTOP. Who goes on after a takeover is told that the batch is no longer its own."""
    case.send("stopped", int(DEAD * 1000))
    case.await_handled("stopped", [a, b], 20)
    victim, heir = (a, b) if a.entered("stopped") else (b, a)
    began = time.time()
    victim.pause()
    try:
        taken = case.await_handled("stopped", [heir], 30) - began
        check(
            taken <= 2 * DEAD, f"taken over {taken:.1f} s after SIGSTOP, allowed are {2 * DEAD} s"
        )
        case.await_idle(heir)
    finally:
        victim.resume()
    eventually(lambda: victim.logged("stale", began), "the stopped worker hears of it")
    case.await_idle(victim)
    check(case.value("select count(*) from pgque.retry_queue") == 0, "nothing is to be retried")
