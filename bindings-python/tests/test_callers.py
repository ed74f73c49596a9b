"""The caller's own connection, of each blocking library: calls are part of its transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django
import django.conf
import psycopg
import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy
import sqlalchemy.orm
from psycopg.conninfo import conninfo_to_dict

import pgque


class Caller:
    """What each library calls the same things."""

    def __init__(
        self, conn: Any, execute: Callable[[str], Any], commit: Any, rollback: Any
    ) -> None:
        self.conn, self.execute, self.commit, self.rollback = conn, execute, commit, rollback


@contextmanager
def over_psycopg2(dsn: str, **options: Any) -> Iterator[Caller]:
    conn = psycopg2.connect(dsn, **options)

    def execute(sql: str) -> None:
        with conn.cursor() as cursor:
            cursor.execute(sql)

    yield Caller(conn, execute, conn.commit, conn.rollback)
    conn.close()


def over_psycopg2_with_dicts(dsn: str) -> Any:
    return over_psycopg2(dsn, cursor_factory=psycopg2.extras.RealDictCursor)


@contextmanager
def over_psycopg(dsn: str) -> Iterator[Caller]:
    with psycopg.connect(dsn) as conn:
        yield Caller(conn, conn.execute, conn.commit, conn.rollback)
        conn.rollback()


def engine(dsn: str, driver: str) -> sqlalchemy.Engine:
    connect = {"psycopg": psycopg, "psycopg2": psycopg2}[driver].connect
    return sqlalchemy.create_engine(f"postgresql+{driver}://", creator=lambda: connect(dsn))


@contextmanager
def over_connection(dsn: str, driver: str) -> Iterator[Caller]:
    made = engine(dsn, driver)
    with made.connect() as conn:
        execute = lambda sql: conn.execute(sqlalchemy.text(sql))  # noqa: E731
        yield Caller(conn, execute, conn.commit, conn.rollback)
    made.dispose()


@contextmanager
def over_session(dsn: str, driver: str) -> Iterator[Caller]:
    made = engine(dsn, driver)
    with sqlalchemy.orm.Session(made) as session:
        execute = lambda sql: session.execute(sqlalchemy.text(sql))  # noqa: E731
        yield Caller(session, execute, session.commit, session.rollback)
    made.dispose()


@contextmanager
def over_scoped_session(dsn: str) -> Iterator[Caller]:
    made = engine(dsn, "psycopg")
    session = sqlalchemy.orm.scoped_session(sqlalchemy.orm.sessionmaker(made))
    execute = lambda sql: session.execute(sqlalchemy.text(sql))  # noqa: E731
    yield Caller(session, execute, session.commit, session.rollback)
    session.remove()
    made.dispose()


def django_connection(dsn: str) -> Any:
    if not django.conf.settings.configured:
        given = conninfo_to_dict(dsn)
        names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host"}
        database = {key: given.get(name, "") for key, name in names.items()}
        database |= {"ENGINE": "django.db.backends.postgresql", "PORT": str(given.get("port", ""))}
        django.conf.settings.configure(DATABASES={"default": database}, USE_TZ=True)
        django.setup()
    from django.db import connection

    return connection


@contextmanager
def over_django(dsn: str) -> Iterator[Caller]:
    connection = django_connection(dsn)
    connection.set_autocommit(False)

    def execute(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    yield Caller(connection, execute, connection.commit, connection.rollback)
    connection.rollback()
    connection.close()


WAYS: dict[str, Callable[[str], Any]] = {
    "psycopg": over_psycopg,
    "psycopg2": over_psycopg2,
    "psycopg2 with dicts": over_psycopg2_with_dicts,
    "SQLAlchemy Connection over psycopg": lambda dsn: over_connection(dsn, "psycopg"),
    "SQLAlchemy Connection over psycopg2": lambda dsn: over_connection(dsn, "psycopg2"),
    "SQLAlchemy Session over psycopg": lambda dsn: over_session(dsn, "psycopg"),
    "SQLAlchemy Session over psycopg2": lambda dsn: over_session(dsn, "psycopg2"),
    "SQLAlchemy scoped_session": over_scoped_session,
    "Django": over_django,
}


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def caller(request: pytest.FixtureRequest, dsn: str) -> Iterator[Caller]:
    with request.param(dsn) as caller:
        # A test that forgets to end its transaction must not hold up those who clean up.
        caller.execute("set idle_in_transaction_session_timeout = '20s'")
        caller.commit()
        yield caller


@pytest.fixture
def table(client: pgque.PgqueClient, queue: str) -> Iterator[str]:
    client.execute(f"create table {queue}_rows (n int)")
    yield f"{queue}_rows"
    client.execute(f"drop table {queue}_rows")


def test_a_send_is_part_of_the_callers_transaction(caller, client, queue, tick, table):
    mine = pgque.PgqueClient(caller.conn)
    for n, end in enumerate((caller.rollback, caller.commit, caller.rollback, caller.commit)):
        # The first of a transaction once, and once behind a statement of the caller's.
        if n > 1:
            caller.execute(f"insert into {table} values ({n})")
        mine.send(queue, {"n": n}, type="t", extra1="é'\\%s")
        mine.send_batch(queue, "b", [{"n": n}, "[1]", None])
        end()
    tick()
    messages = client.receive(queue, "c")
    assert [m.payload for m in messages] == [
        text for n in (1, 3) for text in (f'{{"n": {n}}}', f'{{"n": {n}}}', "[1]", "null")
    ]
    assert messages[0].extra1 == "é'\\%s"
    assert client.execute(f"select n from {table}").fetchall() == [(3,)]


def test_receive_and_ack_are_part_of_the_callers_transaction(caller, client, queue, tick):
    client.send_batch(queue, "t", [1, 2])
    tick()
    mine = pgque.PgqueClient(caller.conn)
    for end, left in ((caller.rollback, 2), (caller.commit, 0)):
        one, two = mine.receive(queue, "c")
        assert (one.payload, two.payload) == ("1", "2")
        assert abs(one.created_at - dt.datetime.now(dt.timezone.utc)) < dt.timedelta(minutes=1)
        mine.nack(one.batch_id, one, 0, "100 % 'mine'")
        assert mine.ack(one.batch_id) == 1
        end()
        assert len(client.receive(queue, "c")) == left
    assert client.maint_retry_events() == 1


def test_every_other_call_works_too(caller, queue):
    mine = pgque.PgqueClient(caller.conn)
    assert mine.subscribe_subconsumer(queue, "g", "a") == 1
    assert mine.receive_coop(queue, "g", "a", dead_interval="1 hour") == []
    assert mine.touch_subconsumer(queue, "g", "a") == 1
    assert mine.unsubscribe_subconsumer(queue, "g", "a") == 1
    assert mine.subscribe(queue, "d") == 1
    mine.send(queue, {})
    assert mine.force_next_tick(queue)
    assert mine.ticker(queue)
    assert mine.queue_info(queue)[0]["queue_name"] == queue
    assert mine.dlq_inspect(queue) == []
    assert mine.finish(77, []) == 0
    assert mine.version()
    caller.rollback()


def test_errors_are_typed_and_chained_and_the_transaction_is_the_callers(caller, queue):
    mine = pgque.PgqueClient(caller.conn)
    with pytest.raises(pgque.PgqueInvalidInput):
        mine.send(queue, "no json")
    # Nothing was sent, so that the transaction goes on.
    mine.send(queue, {})
    with pytest.raises(pgque.PgqueQueueNotFound) as caught:
        mine.send("nowhere", {})
    assert caught.value.sqlstate == "PQ001"
    cause = caught.value.__cause__
    assert "nowhere" in str(cause)
    assert type(cause).__module__.partition(".")[0] in ("psycopg", "psycopg2", "sqlalchemy")
    with pytest.raises(Exception) as caught:
        mine.send(queue, {})
    assert isinstance(caught.value, pgque.PgqueError), caught.value
    assert caught.value.sqlstate == "25P02"
    caller.rollback()
    mine.send(queue, {})
    caller.rollback()


def test_the_zone_is_the_sessions(caller, client, queue, tick):
    client.send(queue, {})
    tick()
    caller.execute("set time zone 'Asia/Kolkata'")
    (message,) = pgque.PgqueClient(caller.conn).receive(queue, "c")
    assert message.created_at.utcoffset() == dt.timedelta(hours=5, minutes=30)
    caller.rollback()


def test_django_in_autocommit_and_in_atomic_blocks(dsn, client, queue, tick):
    connection = django_connection(dsn)
    from django.db import transaction

    mine = pgque.PgqueClient(connection)
    mine.send(queue, 1)
    with transaction.atomic():
        mine.send(queue, 2)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            mine.send(queue, 3)
            _ = 1 / 0
        mine.send(queue, 4)
    with transaction.atomic():
        mine.send(queue, 5)
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            mine.send(queue, 6)
    # Django opens another when the first is closed.
    connection.close()
    mine.send(queue, 7)
    connection.close()
    tick()
    assert [m.payload for m in client.receive(queue, "c")] == ["1", "2", "4", "7"]


def test_nested_transactions_of_sqlalchemy(dsn, client, queue, tick):
    made = engine(dsn, "psycopg")
    with sqlalchemy.orm.Session(made) as session, session.begin():
        mine = pgque.PgqueClient(session)
        mine.send(queue, 1)
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            mine.send(queue, 2)
            _ = 1 / 0
        with session.begin_nested():
            mine.send(queue, 3)
    with made.begin() as conn:
        pgque.PgqueClient(conn).send(queue, 4)
    tick()
    assert [m.payload for m in client.receive(queue, "c")] == ["1", "3", "4"]


def test_sqlalchemy_notices_that_a_connection_is_lost(dsn, client):
    made = engine(dsn, "psycopg")
    with made.connect() as conn:
        mine = pgque.PgqueClient(conn)
        pid = conn.exec_driver_sql("select pg_backend_pid()").scalar()
        client.execute("select pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(pgque.PgqueError) as caught:
            mine.version()
        assert isinstance(caught.value.__cause__, sqlalchemy.exc.OperationalError)
        assert conn.invalidated


def test_a_connection_from_sqlalchemys_pool(dsn, queue):
    made = engine(dsn, "psycopg2")
    raw = made.raw_connection()
    assert pgque.PgqueClient(raw).send(queue, {}) > 0
    raw.rollback()
    raw.close()


def test_what_is_no_connection_is_refused(dsn):
    with pytest.raises(TypeError, match="Connection or Session of SQLAlchemy"):
        pgque.PgqueClient(engine(dsn, "psycopg"))
    sqlite = sqlalchemy.create_engine("sqlite://").connect()
    with pytest.raises(TypeError, match="not pysqlite"):
        pgque.PgqueClient(sqlite)
    with psycopg.connect(dsn) as conn, pytest.raises(TypeError), conn.cursor() as cursor:
        pgque.PgqueClient(cursor)


def test_begin_is_the_callers_own_affair(caller):
    mine = pgque.PgqueClient(caller.conn)
    for call in (mine.begin, mine.commit, mine.rollback):
        with pytest.raises(pgque.PgqueConflict, match="use that connection itself"):
            call()
