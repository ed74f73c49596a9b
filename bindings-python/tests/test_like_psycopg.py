"""The same statements on a connection of psycopg and on ours: values, rows, transactions."""

from __future__ import annotations

import datetime as dt
import decimal
import ipaddress
import uuid

import psycopg
import pytest
from psycopg.rows import class_row, dict_row, namedtuple_row, scalar_row

import pgque

VALUES = [
    "null::int",
    "true",
    "1::smallint",
    "-(2::numeric ^ 62)::bigint",
    "1.5::float4",
    "'NaN'::float8 is null",
    "12.3400::numeric",
    "'é'::text",
    "'a'::varchar(5)",
    "'ab'::char(4)",
    "'a'::name",
    r"'\x00ff'::bytea",
    "'{\"a\": [1, null]}'::jsonb",
    "'[1.5]'::json",
    "'2024-02-29'::date",
    "'0001-01-01'::date",
    "'9999-12-31'::date",
    "'23:59:59.999999'::time",
    "'2024-02-29 12:34:56.789'::timestamp",
    "'0001-01-01 00:00:00'::timestamp",
    "'9999-12-31 23:59:59.999999'::timestamp",
    "'2024-07-01 12:00:00+00'::timestamptz",
    "'1969-12-31 23:59:59.5+00'::timestamptz",
    "'1 year 2 months 3 days 04:05:06.789'::interval",
    "'-1 day -00:00:00.5'::interval",
    "'14 months -3 days'::interval",
    "'-14 months'::interval",
    "'00:00:00'::interval",
    "'00000000-0000-0000-0000-000000000001'::uuid",
    "array[1, null, 3]",
    "'{}'::int[]",
    "array[array[1, 2], array[3, null]]",
    "array[array[array['a'], array['b']]]",
    "array['2024-02-29'::date, null]",
    "array[1.50, 2]::numeric[]",
    "array['{\"a\": 1}'::jsonb]",
    "'<a/>'::xml",
    "42::oid",
    "now() = now()",
]
PARAMETERS = [
    (dt.date(2024, 2, 29), "date"),
    (dt.time(1, 2, 3, 4), "time"),
    (dt.datetime(2024, 2, 29, 1, 2, 3, 4), "timestamp"),
    (dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=dt.timezone.utc), "timestamptz"),
    (dt.timedelta(days=-3, seconds=5, microseconds=7), "interval"),
    (decimal.Decimal("1.50"), "numeric"),
    (uuid.UUID(int=5), "uuid"),
    (b"\x00\xff", "bytea"),
    ([dt.date(2024, 2, 29), None], "date[]"),
    ([[1, 2], [3, 4]], "int[]"),
]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_values_are_psycopgs(client, psycopg_conn, zone):
    for conn in (client.conn, psycopg_conn):
        conn.execute(f"set time zone '{zone}'")
    for expression in VALUES:
        (theirs,) = psycopg_conn.execute(f"select {expression}").fetchone()
        (ours,) = client.conn.execute(f"select {expression}").fetchone()
        assert (ours, type(ours)) == (theirs, type(theirs)), expression
        if isinstance(theirs, dt.datetime):
            assert ours.tzinfo == theirs.tzinfo, expression


def test_parameters_come_back(client):
    for value, kind in PARAMETERS:
        assert client.conn.execute(f"select %s::{kind}", [value]).fetchone() == (value,), kind
    address = ipaddress.ip_address("10.0.0.1")
    for text in ("10.0.0.1", "10.0.0.0/8", "::1", "fe80::/10"):
        assert client.conn.execute("select %s::inet", [text]).fetchone() == (text,)
    assert client.conn.execute("select %s::inet", [address]).fetchone() == ("10.0.0.1",)


def test_what_python_cannot_hold_is_said(client):
    for expression in ("'infinity'::date", "'-infinity'::timestamp", "'0044-03-15 BC'::date"):
        with pytest.raises(ValueError, match="cast it to text"):
            client.conn.execute(f"select {expression}")
    assert client.conn.execute("select '0044-03-15 BC'::date::text").fetchone()


def pair(n: int, name: str) -> tuple[int, str]:
    return n, name


@pytest.mark.parametrize("factory", [dict_row, namedtuple_row, scalar_row, class_row(pair)])
def test_row_factories_of_psycopg(client, psycopg_conn, factory):
    query = "select n, 'x' || n as name from generate_series(1, 3) n"
    theirs = psycopg_conn.cursor(row_factory=factory).execute(query).fetchall()
    assert client.conn.cursor(row_factory=factory).execute(query).fetchall() == theirs
    client.conn.row_factory = factory
    assert client.conn.execute(query).fetchone() == theirs[0]
    # The client's own calls do not go through it.
    assert client.version()


def test_row_factories_of_a_programs_own(client):
    def pairs(cursor):
        names = [column.name for column in cursor.description]
        return lambda values: list(zip(names, values, strict=True))

    assert client.conn.cursor(row_factory=pairs).execute("select 1 as a").fetchone() == [("a", 1)]


def test_an_empty_result_tells_its_columns(client, psycopg_conn):
    """Programs build tables of a result by its description, whatever it holds."""
    psycopg_conn.autocommit = True
    found = []
    for conn in (client.conn, psycopg_conn):
        conn.execute("create temp table none (n int, name text)")
        for query in (
            "select n, name as called from none where n = %s",
            "delete from none where n = %s returning n",
            "update none set n = 1 where n = %s",
        ):
            for _ in range(2):
                cursor = conn.execute(query, [5])
                names = [column.name for column in cursor.description or []]
                found.append((names, cursor.rowcount, bool(cursor.description)))
            with conn.transaction():
                found.append([c.name for c in conn.execute(query, [5]).description or []])
        cursor = conn.cursor(row_factory=dict_row).execute("select n from none")
        found.append((cursor.fetchall(), cursor.fetchone()))
    assert found[: len(found) // 2] == found[len(found) // 2 :]


def test_transactions_are_psycopgs(client, psycopg_conn):
    psycopg_conn.autocommit = True
    found = []
    for conn, rollback in ((client.conn, pgque.connection.Rollback), (psycopg_conn, None)):
        rollback = rollback or psycopg.Rollback
        conn.execute("create temp table marks (n int)")
        with conn.transaction():
            conn.execute("insert into marks values (1)")
            with conn.transaction(force_rollback=True):
                conn.execute("insert into marks values (2)")
            with conn.transaction("named"):
                conn.execute("insert into marks values (3)")
                raise rollback
            conn.execute("insert into marks values (4)")
        with conn.transaction(force_rollback=True):
            conn.execute("insert into marks values (5)")
        with conn.transaction():
            conn.execute("insert into marks values (6)")
            raise rollback()
        found.append(conn.execute("select n from marks order by n").fetchall())
        found.append(conn.info.transaction_status.name)
        with conn.transaction():
            found.append(conn.info.transaction_status.name)
            with pytest.raises((pgque.PgqueError, psycopg.Error)), conn.transaction():
                conn.execute("select 1/0")
        conn.set_autocommit(False)
        conn.execute("select 1")
        with pytest.raises((pgque.PgqueError, psycopg.Error)):
            conn.execute("select 1/0")
        found.append(conn.info.transaction_status.name)
        conn.rollback()
        found.append(conn.info.transaction_status.value)
    assert found[: len(found) // 2] == found[len(found) // 2 :]
    assert found[0] == [(1,), (4,)]


def test_what_programs_ask_of_a_connection(client):
    conn = client.conn
    (pid,) = conn.execute("select pg_backend_pid()").fetchone()
    assert conn.info.backend_pid == pid
    assert conn.info.encoding == "utf-8"
    assert (conn.closed, conn.broken) == (False, False)
    cursor = conn.cursor()
    assert cursor.execute("select 1", prepare=True).rownumber == 0
    assert list(cursor) == [(1,)]
    cursor.close()
    with pytest.raises(pgque.PgqueClosedError):
        cursor.execute("select 1")
    conn.close()
    assert conn.info.transaction_status.name == "UNKNOWN"


def test_copy_is_refused_and_the_session_goes_on(client):
    client.execute("create temp table copied (n int)")
    with client.transaction():
        for statement in ("copy copied from stdin", " -- x\nCOPY copied TO STDOUT"):
            with pytest.raises(pgque.PgqueInvalidInput, match="COPY"):
                client.execute(statement)
        client.execute("insert into copied values (1)")
    assert client.execute("select n from copied").fetchall() == [(1,)]
