"""A batch far larger than what a consumer may hold is handled in bounded memory, and begun at once."""

from __future__ import annotations

import re
import time
from pathlib import Path

from case import QUEUE, Case
from workers import check, eventually

GROWTH_MB_MAX = 64
FIRST_MS_MAX = 200


def bounded_memory(case: Case, count: int) -> str:
    """One batch of so many messages of 1 kB."""
    case.subscribe("mail")
    worker = case.worker("mail", "mail", brief=True)
    case.await_idle(worker)
    case.send_now("warm")
    case.await_handled("warm", [worker], 10)
    case.await_idle(worker)
    fill(case, count)
    before = resident(worker.process.pid, "VmRSS")
    with case.server.side() as side:
        side.execute("select pgque.force_next_tick(%s)", (QUEUE,))
        begin = time.time()
        side.execute("select pgque.ticker(%s)", (QUEUE,))
    eventually(lambda: entries(worker.journal) > 1, "the first message is handled", 60)
    first = worker.notes("enter")[1].at
    eventually(lambda: entries(worker.journal) >= count + 1, f"{count} messages are handled", 600)
    peak = resident(worker.process.pid, "VmHWM")
    worker.stop()
    notes = worker.notes("enter")
    keys = [note.rest[2] for note in notes]
    check(
        len(keys) == len(set(keys)) == count + 1, f"{len(keys)} handled, {len(set(keys))} distinct"
    )
    rate = count / (notes[-1].at - begin)
    growth, delay = peak - before, (first - begin) * 1000
    figures = f"+{growth:.0f} MB, first after {delay:.0f} ms, {rate:,.0f} messages/s"
    check(growth <= GROWTH_MB_MAX, f"{figures}; allowed are {GROWTH_MB_MAX} MB")
    check(delay <= FIRST_MS_MAX, f"{figures}; allowed are {FIRST_MS_MAX} ms")
    case.check_nothing_open()
    return figures


def fill(case: Case, count: int) -> None:
    """In one transaction, so that it is one batch."""
    with case.server.side(autocommit=False) as side:
        for begin in range(0, count, 20_000):
            end = min(begin + 20_000, count) - 1
            side.execute(
                "select count(*) from pgque.send_batch(%s, 't', array(select jsonb_build_object("
                "'key', n::text, 'fill', repeat('x', 1000)) from generate_series(%s::int, %s::int) n))",
                (QUEUE, begin, end),
            )
        side.commit()


def entries(journal: Path) -> int:
    return journal.read_bytes().count(b" enter ")


def resident(pid: int, which: str) -> float:
    """In MB. VmHWM is the most there ever was."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{which}:\s+(\d+)", text).group(1)) / 1024
