"""Errors that time does not mend end the run at once, with their kind."""

from __future__ import annotations

import time

from case import QUEUE, Case
from psycopg import sql
from workers import check, eventually

ENDS = 5.0


def permanent(case: Case) -> str:
    """The queue is dropped, the consumer unsubscribed, the permission revoked, under a running consumer."""
    took = []
    for label, act, kind in (
        ("unsubscribed", unsubscribe, "consumer_not_found"),
        ("revoked", revoke, "permission_denied"),
        ("dropped", drop, "queue_not_found"),
    ):
        took.append(f"{label} {one(case, label, act, kind):.2f} s")
    return ", ".join(took)


def one(case: Case, label: str, act, kind: str) -> float:
    case.subscribe(label)
    role = sql.Identifier(label)
    with case.server.side() as side:
        side.execute(
            sql.SQL("create role {} login in role pgque_reader, pgque_writer").format(role)
        )
    dsn = case.server.dsn().replace("user=postgres", f"user={label}")
    worker = case.worker(label, label, dsn, poll_interval=1)
    case.await_idle(worker)
    begin = time.time()
    act(case, label)
    eventually(lambda: worker.notes("end"), f"the consumer of the {label} ends", 30)
    end = worker.notes("end")[-1]
    worker.process.wait(5)
    expected = {kind} if kind != "queue_not_found" else {kind, "consumer_not_found"}
    check(end.rest[0] in expected, f"{label}: ended with {' '.join(end.rest)}, not with {kind}")
    took = end.at - begin
    check(took <= ENDS, f"{label}: ended after {took:.1f} s, allowed are {ENDS} s")
    return took


def unsubscribe(case: Case, label: str) -> None:
    case.query("select pgque.unsubscribe(%s, %s)", QUEUE, label)


def revoke(case: Case, label: str) -> None:
    role = sql.Identifier(label)
    with case.server.side() as side:
        side.execute(sql.SQL("revoke pgque_reader, pgque_writer from {}").format(role))


def drop(case: Case, label: str) -> None:
    case.query("select pgque.drop_queue(%s, true)", QUEUE)
