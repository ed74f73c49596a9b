"""The client's calls: results, arguments, transactions, errors; on its own connection and on the caller's."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pgque
import psycopg
from facts import Lines, Server, describe, fact, outcome
from psycopg.rows import namedtuple_row


@fact
def connect_refuses(server: Server) -> Any:
    return [outcome(pgque.connect, "host=127.0.0.1 port=1 connect_timeout=2")]


@fact
def connect_refuses_what_is_no_dsn(_: Server) -> Any:
    return outcome(pgque.connect, "not a dsn")


@fact
def results(server: Server) -> Any:
    queue = server.queue()
    with server.client() as c:
        found = [
            c.subscribe(queue, "c"),
            c.subscribe(queue, "c"),
            c.unsubscribe(queue, "c"),
            c.unsubscribe(queue, "c"),
            c.unsubscribe("nowhere", "c"),
            c.subscribe(queue, "c"),
            type(c.send(queue)).__name__,
            [type(i).__name__ for i in c.send_batch(queue, "t", [{}, []])],
            c.send_batch(queue, "t", []),
            c.receive(queue, "c"),
            type(c.force_next_tick(queue)).__name__,
            type(c.force_tick(queue)).__name__,
            type(c.ticker(queue)).__name__,
            c.ticker(queue),
            c.ticker_all() >= 0,
        ]
        messages = c.receive(queue, "c")
        found += [type(messages).__name__, describe(messages)]
        found += [c.nack(messages[0].batch_id, messages[0], 0), c.ack(messages[0].batch_id)]
        return [*found, c.ack(messages[0].batch_id), c.ack(10**9), c.receive(queue, "c")]


@fact
def ids_ascend(server: Server) -> Any:
    queue, ids = server.queue("c"), []

    def send() -> None:
        with server.client() as c:
            ids.extend(c.send(queue, {"n": n}) for n in range(25))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with server.client() as c:
        batch = c.send_batch(queue, "t", [{}] * 3)
    return [len(set(ids)), batch == sorted(batch)]


@fact
def cooperative_results(server: Server) -> Any:
    queue = server.queue()
    with server.client() as c:
        found = [
            c.subscribe_subconsumer(queue, "g", "a"),
            c.subscribe_subconsumer(queue, "g", "a"),
            c.subscribe(queue, "g"),
            c.receive_coop(queue, "g", "b"),
            c.touch_subconsumer(queue, "g", "a"),
            c.touch_subconsumer(queue, "g", "nobody"),
            outcome(c.receive, queue, "g"),
            outcome(c.subscribe_subconsumer, queue, "g", "a.b"),
            outcome(c.subscribe_subconsumer, queue, "g", ""),
        ]
        server.send(queue, "1", "2")
        server.tick(queue)
        messages = c.receive_coop(queue, "g", "a", max_messages=2, dead_interval="1 minute")
        found += [
            describe(messages),
            c.receive_coop(queue, "g", "b", dead_interval=None),
            outcome(c.unsubscribe_subconsumer, queue, "g", "a"),
            outcome(c.unsubscribe_subconsumer, queue, "g", "a", batch_handling=2),
            c.unsubscribe_subconsumer(queue, "g", "a", batch_handling=1),
            c.unsubscribe_subconsumer(queue, "g", "a"),
            len(server.retries(queue)),
            outcome(c.unsubscribe, queue, "g"),
        ]
        return found


@fact
def two_workers_share(server: Server) -> Any:
    queue = server.queue()
    with server.client() as a, server.client() as b:
        a.receive_coop(queue, "g", "a"), b.receive_coop(queue, "g", "b")
        for n in range(2):
            server.send(queue, str(n))
            server.tick(queue)
        batches = [a.receive_coop(queue, "g", "a"), b.receive_coop(queue, "g", "b")]
        found = [sorted(m.payload for m in batch) for batch in batches]
        return [found, [c.ack(b[0].batch_id) for c, b in zip((a, b), batches, strict=True)]]


@fact
def errors(server: Server) -> Any:
    queue = server.queue("c")
    with server.client() as c:
        server.send(queue, "{}")
        server.tick(queue)
        (message,) = c.receive(queue, "c")
        elsewhere = pgque.Message(10**6, 1, "t", "", None, dt.datetime.now())
        found = [
            outcome(c.send, "nowhere", {}),
            outcome(c.send_batch, "nowhere", "t", [{}]),
            outcome(c.force_next_tick, "nowhere"),
            outcome(c.ticker, "nowhere"),
            outcome(c.subscribe, "nowhere", "c"),
            outcome(c.receive, "nowhere", "c"),
            outcome(c.receive, queue, "nobody"),
            outcome(c.receive_coop, queue, "c", "a"),
            outcome(c.nack, 10**6, message),
            outcome(c.nack, message.batch_id, elsewhere),
            outcome(c.receive, queue, "c", 0),
            outcome(c.receive, queue, "c", -1),
        ]
        c.ack(message.batch_id)
        return [*found, outcome(c.nack, message.batch_id, message)]


@fact
def permission_is_denied(server: Server) -> Any:
    with server.client() as c:
        c.conn.execute("set role pgque_reader")
        return [outcome(c.send, "q", {}), outcome(c.ticker_all)]


@fact
def overflow_is_typed(server: Server) -> Any:
    def look(receive: Any) -> Any:
        try:
            receive()
        except pgque.PgqueReceiveOverflowError as error:
            facts = [error.sqlstate, error.configured_limit, error.operation]
            return [*facts, "larger resource-safe max_return" in (error.hint or ""), error.args[0]]

    queue = server.queue("c")
    with server.client(autocommit=False) as c:
        c.receive_coop(queue, "g", "a")
        c.conn.commit()
        server.send(queue, *"12345")
        server.tick(queue)
        found = []
        for receive in (
            lambda **limit: c.receive(queue, "c", **limit),
            lambda **limit: c.receive_coop(queue, "g", "a", **limit),
        ):
            found += [look(lambda r=receive: r(max_messages=4))]
            c.conn.rollback()
            found += [outcome(receive, max_messages=4)]
            c.conn.rollback()
            messages = receive(max_messages=5)
            found += [len(messages), c.ack(messages[0].batch_id), receive()]
            c.conn.commit()
        return found


@fact
def a_hundred_is_the_default_limit(server: Server) -> Any:
    queue = server.queue("c")
    with server.client() as c:
        c.send_batch(queue, "t", [{}] * 101)
        server.tick(queue)
        return [outcome(c.receive, queue, "c"), len(c.receive(queue, "c", max_messages=101))]


@fact
def limits_of_other_types(server: Server) -> Any:
    queue = server.queue("c")
    with server.client() as c:
        c.send_batch(queue, "t", [{}] * 3)
        server.tick(queue)
        found = [outcome(lambda limit=limit: len(c.receive(queue, "c", limit))) for limit in (
            None, "5", "x", 2**31 - 1, True
        )]  # fmt: skip
        return [*found, outcome(lambda: len(c.receive(queue, "c", max_messages=None)))]


@fact
def limits_too_large(server: Server) -> Any:
    with server.client() as c:
        return [outcome(c.receive, "q", "c", limit) for limit in (2**31, 1.5)]


@fact
def batch_ids_of_other_types(server: Server) -> Any:
    with server.client() as c:
        return [outcome(c.ack, value) for value in (None, "5", 5, True, "x")]


@fact
def batch_ids_too_large(server: Server) -> Any:
    with server.client() as c:
        return [outcome(c.ack, value) for value in (2**63, 1.5)]


@fact
def names_that_are_none_or_empty(server: Server) -> Any:
    queue = server.queue("c")
    with server.client() as c:
        return [
            outcome(c.subscribe, queue, ""),
            outcome(c.receive, queue, ""),
            outcome(c.send, "", {}),
        ]


@fact
def names_that_are_no_text(server: Server) -> Any:
    with server.client() as c:
        return [
            outcome(c.send, None, {}),
            outcome(c.send, 5, {}),
            outcome(c.receive, "q", None),
            outcome(c.subscribe, "q", None),
        ]


@fact
def retry_delays(server: Server) -> Any:
    queue = server.queue("c")
    delays = (60, 0, 0.4, 0.6, 1.5, "7", dt.timedelta(seconds=5), dt.timedelta(hours=2))
    server.send(queue, *map(str, range(len(delays) + 1)))
    server.tick(queue)
    with server.client() as c:
        *messages, last = c.receive(queue, "c")
        found = [
            outcome(c.nack, m.batch_id, m, retry_after=delay)
            for m, delay in zip(messages, delays, strict=True)
        ]
        c.nack(last.batch_id, last)
        rows = [[payload, max(0, round(seconds / 2))] for payload, seconds in server.retries(queue)]
        return [found, c.ack(last.batch_id), sorted(rows, key=lambda row: int(row[0]))]


@fact
def retry_delays_that_are_none(server: Server) -> Any:
    queue = server.queue("c")
    server.send(queue, "1")
    server.tick(queue)
    with server.client() as c:
        (m,) = c.receive(queue, "c")
        bad = (-5, True, float("nan"), float("inf"), None, "abc", 1e12)
        return [outcome(c.nack, m.batch_id, m, delay) for delay in bad]


@fact
def reasons(server: Server) -> Any:
    queue = server.queue("c")
    server.sql("select pgque.set_queue_config(%s, 'max_retries', '0')", queue)
    server.send(queue, "1", "2", "3")
    server.tick(queue)
    with server.client() as c:
        one, two, three = c.receive(queue, "c")
        c.nack(one.batch_id, one, 60, "of mine")
        c.nack(two.batch_id, two, reason=None)
        three.payload = three.type = None
        c.nack(three.batch_id, three, reason="é'%s\\")
        return [c.ack(one.batch_id), server.dead(queue), server.retries(queue)]


@fact
def retries_come_back(server: Server) -> Any:
    queue = server.queue("c")
    server.send(queue, '{"a": 1}')
    found = []
    with server.client() as c:
        for _ in range(3):
            server.tick(queue)
            (m,) = c.receive(queue, "c")
            found.append(describe(m))
            c.nack(m.batch_id, m, 0)
            c.ack(m.batch_id)
            server.sql("select pgque.maint_retry_events()")
    return found


@fact
def received_as_stored(server: Server) -> Any:
    queue = server.queue("c")
    texts = ('{"b":1,  "a":1.00}', "null", "plain é text", "", '"1"')
    server.send(queue, *texts)
    for kind in (None, ""):
        server.sql("select pgque.insert_event(%s, %s, %s)", queue, kind, None)
    insert = "select pgque.insert_event(%s, 't', 'p', 'e1', null, '', 'e4')"
    server.sql(insert, queue)
    server.tick(queue)
    with server.client() as c:
        return describe(c.receive(queue, "c"))


@fact
def times_are_in_the_zone_of_the_session(server: Server) -> Any:
    queue, found = server.queue("c"), []
    server.send(queue, "1")
    server.tick(queue)
    (prefix,) = server.sql("select queue_data_pfx from pgque.queue where queue_name = %s", queue)[0]
    stored = server.sql(f"select ev_time from {prefix}")[0][0]
    for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata", "Etc/UTC", "GMT", "+03", "EST5EDT"):
        for conn in (None, psycopg.connect(server.dsn)):
            client = pgque.PgqueClient(conn) if conn else pgque.connect(server.dsn)
            client.conn.execute(f"set timezone = '{zone}'")
            (m,) = client.receive(queue, "c")
            found.append([zone, describe(m.created_at), m.created_at == stored])
            found.append(str(m.created_at.utcoffset()))
            client.conn.close()
    return found


@fact
def nothing_is_committed_by_itself(server: Server) -> Any:
    queue = server.queue("c")

    def stored() -> int:
        return len(server.events(queue))

    with server.client(autocommit=False) as c:
        c.send(queue, {})
        conn = c.conn
    found = [stored(), conn.closed]
    with server.client(autocommit=False) as c:
        c.send(queue, {})
        c.conn.rollback()
        c.send(queue, {})
        c.conn.commit()
        found += [stored(), outcome(c.send, "nowhere", {})]
        found += [outcome(c.send, queue, {}), outcome(c.ack, 1)]
        c.conn.rollback()
        found += [type(c.send(queue, {})).__name__, outcome(c.conn.commit), stored()]
    return found


@fact
def a_send_seen_only_after_its_transaction(server: Server) -> Any:
    queue = server.queue("c")
    with server.client(autocommit=False) as c:
        c.send(queue, {})
        c.force_next_tick(queue)
        c.ticker(queue)
        found = [c.receive(queue, "c")]
        c.conn.commit()
        return [*found, c.receive(queue, "c")]


@fact
def an_exception_leaves_the_block(server: Server) -> Any:
    def leave() -> None:
        with server.client() as c:
            conns.append(c.conn)
            raise KeyError("mine")

    conns: list[Any] = []
    return [outcome(leave)["raised"], conns[0].closed]


@fact
def the_callers_connection(server: Server) -> Any:
    found = []
    for options in ({}, {"row_factory": namedtuple_row}, {"cursor_factory": psycopg.ClientCursor}):
        queue = server.queue("c")
        with psycopg.connect(server.dsn, **options) as conn:
            conn.execute("create table if not exists mine (n int)")
            c = pgque.PgqueClient(conn)
            found += [c.conn is conn, type(c.send(queue, {"a": 1}, type="t")).__name__]
            c.send_batch(queue, "t", [{"b": 'é"\\'}, None, "[1]"])
            conn.commit()
            server.tick(queue)
            messages = c.receive(queue, "c")
            found += [describe(messages), c.nack(messages[0].batch_id, messages[0], 5, "r")]
            found += [c.ack(messages[0].batch_id), outcome(c.send, "nowhere", {})]
            found += [outcome(c.ack, 1), outcome(conn.execute, "select 1")["raised"][0]]
            conn.rollback()
            conn.execute("insert into mine values (1)")
            c.send(queue, {})
            with c:
                pass
            c.close()
            found += [conn.closed, conn.info.transaction_status.name]
            conn.rollback()
            found.append(conn.execute("select count(*) from mine").fetchone()[0])
    return found


@fact
def a_lost_connection(server: Server) -> Any:
    found = []
    for autocommit in (False,):
        with server.client(autocommit=autocommit) as c:
            (pid,) = c.conn.execute("select pg_backend_pid()").fetchone()
            server.sql("select pg_terminate_backend(%s, 5000)", pid)
            found += [outcome(c.send, "q", {})["raised"], outcome(c.send, "q", {})["raised"]]
            found.append(c.conn.closed)
    with server.client() as c:
        c.conn.close()
        return [*found, outcome(c.ack, 1)]


@fact
def log_lines_of_a_client(server: Server) -> Any:
    with Lines() as log, server.client() as c:
        c.ack(10**9)
    return [line for line in log.lines if line[1] != "DEBUG"]
