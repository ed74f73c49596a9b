"""Transactional mode: the effect of each event is there exactly once, wherever the worker is killed."""

from __future__ import annotations

import time
from collections.abc import Callable

from case import QUEUE, Case
from workers import check, eventually


def exactly_once(case: Case, kills: int, progress: Callable[[str], None]) -> str:
    """Three workers, one normal and two cooperative, whose handlers write their event's key; each is killed with -9
    and started again, at random points."""
    case.subscribe("mail")
    with case.server.side() as side:
        side.execute(
            "alter table effects add column consumer text default current_setting('application_name')"
        )
    for member in ("one", "two"):
        case.query("select pgque.subscribe_subconsumer(%s, 'group', %s)", QUEUE, member)
    case.ticker()
    common = {"effects": True, "transactional": True, "retry_after": 0}
    group = {"dead_interval": 2}
    mail = case.worker("mail", "mail", **common)
    group_workers = [
        case.worker(f"group_{member}", "group", subconsumer=member, **common, **group)
        for member in ("one", "two")
    ]
    workers = [mail, *group_workers]
    number = 0
    for kill in range(kills):
        with case.server.side() as side:
            side.execute(
                "select pgque.send_batch(%s, 't', array(select jsonb_build_object('key', 'e' || n, 'ms', 5)"
                " from generate_series(%s::int, %s::int) n))",
                (QUEUE, number, number + 3),
            )
        case.sent |= {f"e{n}" for n in range(number, number + 4)}
        number += 4
        # From before the first statement to well into the handlers.
        time.sleep(case.random.uniform(0.02, 0.3))
        case.random.choice(workers).respawn()
        progress(f"{kill + 1} of {kills} kills")
    expect(case, "mail", len(case.sent))
    expect(case, "group", len(case.sent))
    case.stop_workers()
    for name, like in (("mail", "mail"), ("group", "group%")):
        counts = case.query(
            "select key, count(*) from effects where consumer like %s group by key having count(*) <> 1",
            like,
        )
        check(not counts, f"{name}: not exactly once: {counts[:5]}")
        keys = {
            row[0] for row in case.query("select key from effects where consumer like %s", like)
        }
        check(keys == case.sent, f"{name}: {len(case.sent - keys)} lost")
    case.check_nothing_open()
    return f"{kills} kills, {len(case.sent)} events, each once with each of two consumers"


def expect(case: Case, name: str, count: int) -> None:
    sql = "select count(distinct key) from effects where consumer like %s"
    eventually(lambda: case.value(sql, f"{name}%") >= count, f"{name} has {count} effects", 120)
