"""Both kinds of connection: psycopg's own, and ours, which behaves like it."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import threading
import uuid

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import class_row, dict_row, namedtuple_row, scalar_row
from psycopg.types.json import Jsonb

import pgque


def test_the_outbox_commits_and_rolls_back_with_the_callers_rows(psycopg_conn, client, queue, tick):
    producer = pgque.PgqueClient(psycopg_conn)
    psycopg_conn.execute("create temp table orders (id int)")
    psycopg_conn.commit()
    for order, keep in [(1, False), (2, True)]:
        psycopg_conn.execute("insert into orders values (%s)", [order])
        producer.send(queue, {"order": order})
        psycopg_conn.commit() if keep else psycopg_conn.rollback()
    with producer.transaction():
        producer.send(queue, {"order": 3})
    tick()
    assert [m.json()["order"] for m in client.receive(queue, "c")] == [2, 3]
    assert psycopg_conn.execute("select id from orders").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "options",
    [
        {"row_factory": dict_row},
        {"row_factory": namedtuple_row},
        {"row_factory": scalar_row},
        {"row_factory": class_row(dict)},
        {"cursor_factory": psycopg.ClientCursor},
        {"prepare_threshold": 0},
        {"client_encoding": "latin1"},
        {"client_encoding": "sql_ascii"},
    ],
    ids=str,
)
def test_any_psycopg_connection_will_do(dsn, client, queue, tick, options):
    with psycopg.connect(dsn, **options) as conn:
        caller = pgque.PgqueClient(conn)
        for _ in range(7):
            caller.send(queue, {"a": 'é "%s\\'}, type="t", extra4="x")
        conn.commit()
        tick()
        messages = caller.receive(queue, "c")
        assert [m.json() for m in messages] == [{"a": 'é "%s\\'}] * 7
        assert messages[0].created_at.tzinfo is conn.info.timezone
        caller.nack(messages[0].batch_id, messages[0], retry_after=0.5, reason="r")
        assert caller.ack(messages[0].batch_id) == 1
        assert caller.queue_info(queue)[0]["queue_name"] == queue
        caller.close()
        assert not conn.closed


def test_a_statement_of_ours_fails_inside_the_callers_transaction(psycopg_conn):
    client = pgque.PgqueClient(psycopg_conn)
    with pytest.raises(pgque.PgqueQueueNotFound):
        client.send("no_such_queue_here", {})
    with pytest.raises(pgque.PgqueError) as caught:
        client.version()
    assert caught.value.sqlstate == "25P02"
    psycopg_conn.rollback()
    client.version()


def test_a_closed_psycopg_connection(dsn):
    conn = psycopg.connect(dsn)
    conn.close()
    with pytest.raises(pgque.PgqueConnectionError, match="closed") as caught:
        pgque.PgqueClient(conn).version()
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)


def test_what_is_not_a_connection_is_refused():
    for other in ["dsn", object(), None]:
        with pytest.raises(TypeError, match="psycopg 3, psycopg2"):
            pgque.PgqueClient(other)


def test_an_async_connection_is_refused(dsn):
    async def connect() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            with pytest.raises(TypeError, match="synchronous"):
                pgque.PgqueClient(conn)

    asyncio.run(connect())


def test_threads_share_a_client(client, queue):
    ids: list[int] = []

    def send() -> None:
        ids.extend(client.send(queue, {"n": n}) for n in range(25))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 100


# client.conn


def test_values_in_both_directions(client):
    moment = dt.datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=dt.timezone.utc)
    for value, kind in [
        (None, "int"),
        (True, "bool"),
        (2**62, "bigint"),
        (1.5, "float8"),
        (float("inf"), "float8"),
        (decimal.Decimal("12.3400"), "numeric"),
        ("é%s$1'\"\\", "text"),
        (b"\x00\xff", "bytea"),
        (moment, "timestamptz"),
        ([1, None, 3], "int[]"),
        (['a"b', "NULL", "{,}", "\\"], "text[]"),
    ]:
        row = client.conn.execute(f"select %s::{kind}", [value]).fetchone()
        assert row == (value,), kind
    assert client.conn.execute("select %s::jsonb", [Jsonb({"a": 1})]).fetchone() == ({"a": 1},)
    assert client.conn.execute("select (%s::interval)::text", [dt.timedelta(days=-1, seconds=5)])
    one = uuid.uuid4()
    assert client.conn.execute("select (%s::uuid)::text", [one]).fetchone() == (str(one),)
    (early,) = client.conn.execute("select '0001-01-01 00:00:00+00'::timestamptz").fetchone()
    assert early == dt.datetime(1, 1, 1, tzinfo=dt.timezone.utc)


def test_placeholders(client):
    conn = client.conn
    assert conn.execute("select %s::int %% 4", [10]).fetchone() == (2,)
    assert conn.execute("select 10 % 4").fetchone() == (2,)
    named = conn.execute("select %(b)s::text || %(a)s || %(b)s", {"a": "1", "b": "2"})
    assert named.fetchone() == ("212",)
    composed = sql.SQL("select {}, %s").format(sql.Literal("it's"))
    assert conn.execute(composed, ["x"]).fetchone() == ("it's", "x")
    for statement, params in [("select %s", []), ("select 1", [1]), ("select %d", [1])]:
        with pytest.raises(ValueError, match="placeholder"):
            conn.execute(statement, params)
    with pytest.raises(TypeError):
        conn.execute("select %s", "text")
    with pytest.raises(TypeError, match="object"):
        conn.execute("select %s", [object()])


def test_a_cursor_is_read_in_every_way(client):
    cursor = client.conn.cursor()
    assert cursor.execute("select n from generate_series(1, 6) n") is cursor
    assert cursor.description[0].name == cursor.description[0][0] == "n"
    assert cursor.rowcount == 6
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany(2) == [(2,), (3,)]
    assert next(iter(cursor)) == (4,)
    assert cursor.fetchall() == [(5,), (6,)]
    assert cursor.fetchone() is None
    with client.conn.cursor() as cursor:
        cursor.execute("create temp table t (n int)")
        cursor.executemany("insert into t values (%s)", [[1], [2]])
        assert cursor.rowcount == 2


def test_autocommit_off_keeps_a_transaction_until_commit(dsn, client, queue):
    with pgque.connect(dsn) as other:
        assert other.conn.autocommit is False
        other.send(queue, {})
        assert other.conn.transaction_status == "active"
        other.conn.rollback()
        assert other.conn.transaction_status == "idle"
        other.conn.autocommit = True
        other.send(queue, {})
        assert other.conn.transaction_status == "idle"
        other.begin()
        with pytest.raises(pgque.PgqueConflict):
            other.conn.autocommit = False
        other.commit()
    assert other.conn.closed


def test_transactions_nest(client):
    conn = client.conn
    conn.execute("create temp table nested (n int)")
    with client.transaction():
        conn.execute("insert into nested values (1)")
        with pytest.raises(ZeroDivisionError), conn.transaction():
            conn.execute("insert into nested values (2)")
            _ = 1 / 0
        with pytest.raises(pgque.PgqueError), conn.transaction():
            conn.execute("select 1/0")
        assert conn.transaction_status == "active"
        with conn.transaction():
            conn.execute("insert into nested values (3)")
    with pytest.raises(ZeroDivisionError), conn.transaction():
        conn.execute("insert into nested values (4)")
        _ = 1 / 0
    assert conn.execute("select n from nested order by n").fetchall() == [(1,), (3,)]


def test_the_end_of_a_with_block_decides(dsn, client):
    name = f"t_{uuid.uuid4().hex}"
    client.execute(f"create table {name} (n int)")
    with pgque.Connection(dsn) as conn:
        conn.execute(f"insert into {name} values (1)")
    assert conn.closed
    with pytest.raises(ZeroDivisionError), pgque.Connection(dsn) as conn:
        conn.execute(f"insert into {name} values (2)")
        _ = 1 / 0
    assert client.execute(f"select * from {name}").fetchall() == [(1,)]
    client.execute(f"drop table {name}")


def test_notifications(client, psycopg_conn):
    client.listen("pgque test")
    assert list(client.conn.notifies(timeout=0)) == []
    for n in range(3):
        psycopg_conn.execute("select pg_notify('pgque test', %s)", [str(n)])
    psycopg_conn.commit()
    first = client.notification(5)
    assert (first.channel, first.payload) == ("pgque test", "0")
    rest = client.conn.notifies(timeout=5, stop_after=2)
    assert [n.payload for n in rest] == ["1", "2"]
    client.unlisten("pgque test")
    with pytest.raises(pgque.PgqueInvalidInput):
        client.notification(-1)


def test_rows_know_their_columns(client, queue):
    assert client.queue_info("no_such_queue") == []
    assert client.queue_info("no_such_queue").columns[0] == "queue_name"
    (row,) = client.consumer_info(queue, "c")
    assert row["consumer_name"] == "c"
    assert isinstance(client.capabilities(), pgque.Capabilities)
    assert client.dlq_replay_all(queue) == pgque.Replayed(0, 0, None)


def test_what_gives_nothing_gives_none(client, queue):
    client.subscribe(queue, "c")
    client.send(queue, 1)
    client.force_next_tick(queue)
    client.ticker(queue)
    [message] = client.receive(queue, "c")
    assert client.nack(message.batch_id, message) is None
    for call in (client.begin, client.commit, client.begin, client.rollback, client.install):
        assert call() is None
    assert client.listen("a") is client.unlisten("a") is None
    assert client.conn.begin() is client.conn.commit() is None
