"""While handlers run, no transaction is open: others are not held up."""

from __future__ import annotations

import time

from case import QUEUE, Case, Sampler
from workers import check, eventually

IDLE_MS_MAX = 50
TOUCH_MS_MAX = 250
OPEN_LONG = (
    "select application_name, query, now() - state_change from pg_stat_activity"
    " where state like 'idle in transaction%'"
    f" and clock_timestamp() - state_change > interval '{IDLE_MS_MAX} ms'"
    " and application_name in ('normal', 'member')"
)


def bystanders(case: Case, seconds: float) -> str:
    """No session idle in a transaction, an unrelated table is vacuumed clean, and a member can be touched, while a
    normal and a cooperative consumer work under load."""
    case.subscribe("mail")
    case.query("select pgque.subscribe_subconsumer(%s, 'group', 'member')", QUEUE)
    case.ticker()
    normal = case.worker("normal", "mail")
    member = case.worker("member", "group", subconsumer="member", dead_interval="2", touch=True)
    case.await_idle(normal)
    with case.server.side() as side, case.server.side() as vacuumer:
        vacuumer.execute("create table unrelated as select generate_series(1, 1000) n")
        vacuumer.execute("alter table unrelated set (autovacuum_enabled = off)")
        sampler = Sampler(lambda: side.execute(OPEN_LONG).fetchall(), 0.005)
        number = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Long enough to be seen, and no more of them than can be handled meanwhile.
            case.send(f"load{number}", 100)
            number += 1
            time.sleep(0.2)
        # A handler that takes longer than all of this vacuuming.
        case.send("long", 3000)
        case.await_handled("long", [normal], 120)
        vacuumer.execute("delete from unrelated")
        vacuumed_clean(vacuumer)
        check(not left(normal, "long"), "the handler was over before the vacuum")
        samples = sampler.end()
    case.await_handled("long", [member], 120)
    eventually(lambda: left(member, "long"), "the member's last handler ends")
    long = [rows for rows in samples if rows]
    check(not long, f"idle in transaction for longer than {IDLE_MS_MAX} ms: {long[:3]}")
    touches = sorted(int(note.rest[0]) / 1000 for note in member.notes("touched"))
    check(touches, "no handler touched its member")
    check(touches[-1] <= TOUCH_MS_MAX, f"a touch took {touches[-1]:.0f} ms")
    case.stop_workers()
    case.audit({"mail": [normal], "group": [member]})
    return f"{len(samples)} samples, {len(touches)} touches, slowest {touches[-1]:.1f} ms"


def left(worker, key: str) -> bool:
    return any(note.rest[2] == key for note in worker.notes("leave"))


def vacuumed_clean(side) -> None:
    """All dead rows can be removed: the table has no pages left."""

    def clean() -> bool:
        side.execute("vacuum unrelated")
        return side.execute("select pg_relation_size('unrelated')").fetchone()[0] == 0

    # An insert or a finish of a few milliseconds may be under way at the first try.
    eventually(clean, "an unrelated table can be vacuumed clean while a handler runs", 1.5)
