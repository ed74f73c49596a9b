"""Exceptions: classes, facts, causes, and that they survive copying and pickling."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import psycopg
import pytest

import pgque
from pgque import _pgque


def test_every_kind_has_a_class_beneath_pgque_error():
    from pgque import errors

    made = {
        kind: errors.from_core(kind, code, "x", {"op": "send"}, None)
        for kind, code in _pgque.KINDS.items()
    }
    for kind, error in made.items():
        assert isinstance(error, pgque.PgqueError)
        assert error.kind == kind and error.code == _pgque.KINDS[kind]
    # Interrupted waits end with the interrupt itself; every other kind has its own class.
    plain = [kind for kind, error in made.items() if type(error) is pgque.PgqueError]
    assert plain == ["interrupted"]


def test_an_unknown_kind_is_a_plain_error():
    from pgque import errors

    error = errors.from_core("of_the_future", 99, "x", {}, None)
    assert type(error) is pgque.PgqueError
    assert (error.kind, error.code) == ("of_the_future", 99)


def test_an_error_carries_the_servers_facts(client):
    with pytest.raises(pgque.PgqueQueueNotFound) as caught:
        client.send("no_such_queue_here", {})
    error = caught.value
    assert error.op == "send"
    assert error.sqlstate == "PQ001"
    assert error.retriable is False
    assert "no_such_queue_here" in error.message
    assert str(error).startswith("send: ")


def test_psycopgs_exception_is_the_cause(psycopg_conn):
    client = pgque.PgqueClient(psycopg_conn)
    with pytest.raises(pgque.PgqueQueueNotFound) as caught:
        client.send("no_such_queue_here", {})
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert caught.value.__cause__.sqlstate == caught.value.sqlstate


def test_a_dealt_with_cause_does_not_stick_to_a_later_error(psycopg_conn):
    client = pgque.PgqueClient(psycopg_conn)
    with pytest.raises(pgque.PgqueQueueNotFound):
        client.send("no_such_queue_here", {})
    with pytest.raises(pgque.PgqueConflict) as caught:
        client.begin()
    assert caught.value.__cause__ is None


def test_overflow_tells_the_limit(client, queue, tick):
    client.send_batch(queue, "t", [1, 2, 3])
    tick()
    with pytest.raises(pgque.PgqueReceiveOverflowError) as caught:
        client.receive(queue, "c", 2)
    error = caught.value
    assert (error.configured_limit, error.operation, error.sqlstate) == (2, "receive", "54000")
    assert "larger resource-safe max_return" in error.hint
    assert len(client.receive(queue, "c", 3)) == 3


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
@pytest.mark.parametrize(
    "error",
    [
        pgque.PgqueReceiveOverflowError(
            "m", sqlstate="54000", hint="h", configured_limit=3, operation="receive"
        ),
        pgque.PgqueError("m"),
        pgque.PgqueInvalidInput("m"),
        pgque.retry(5, "later"),
        pgque.dead("gone"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_errors_survive_copying(again, error):
    error.custom = ["kept"]
    error.__notes__ = ["a note"]
    twin = again(error)
    assert type(twin) is type(error)
    assert twin.args == error.args
    assert twin.__dict__ == error.__dict__


def test_a_bad_dsn_is_a_configuration_error_and_keeps_the_password():
    with pytest.raises(pgque.PgqueConfigurationError) as caught:
        pgque.connect("host=h password=s3cret nonsense=1")
    assert isinstance(caught.value, ValueError)
    assert "s3cret" not in str(caught.value)


def test_a_refused_connection():
    with pytest.raises(pgque.PgqueConnectionError) as caught:
        pgque.connect("postgresql://u:s3cret@127.0.0.1:1/d")
    assert caught.value.retriable is True
    assert "s3cret" not in str(caught.value)


def test_a_closed_client_says_so(dsn):
    client = pgque.connect(dsn)
    client.close()
    client.close()
    with pytest.raises(pgque.PgqueClosedError):
        client.send("q", {})


def test_wrong_types_are_type_errors(client):
    with pytest.raises(TypeError, match="str"):
        client.send(5, {})
    with pytest.raises(TypeError, match="seconds, a timedelta or interval text"):
        client.nack(1, 2, retry_after=[])


def test_the_cause_of_a_server_error_tells_the_state(client):
    """psycopg's exception where the program uses psycopg, elsewhere one with its attributes."""
    with pytest.raises(pgque.PgqueError) as caught:
        client.execute("select 1/0")
    assert isinstance(caught.value.__cause__, psycopg.errors.DivisionByZero)
    assert caught.value.__cause__.diag.message_primary == "division by zero"
    with pytest.raises(pgque.PgqueQueueNotFound) as caught:
        client.send("nowhere", {})
    assert caught.value.__cause__.sqlstate == caught.value.sqlstate == "PQ001"


def test_without_psycopg_the_cause_tells_the_same(dsn):
    program = """if True:
        import copy, pickle, sys, pgque
        client = pgque.connect(sys.argv[1])
        try:
            client.send("nowhere", {})
        except pgque.PgqueError as error:
            cause = pickle.loads(pickle.dumps(error.__cause__))
            print(cause.sqlstate, cause.diag.message_primary, "psycopg" in sys.modules)
    """
    command = [sys.executable, "-c", program, dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "PQ001 queue not found: nowhere False\n"
