"""What may be sent, what is refused before anything is sent, and what comes back."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import datetime

import psycopg
import pytest
from psycopg.types.json import Json, Jsonb

import pgque


def sent(client, queue, tick) -> list[pgque.Message]:
    tick()
    messages = client.receive(queue, "c", 1000)
    if messages:
        client.ack(messages[0].batch_id)
    return messages


VALUES = [
    {"a": [1, 2.5, None, True]},
    OrderedDict(b=1, a=2),
    [],
    "text \U0001f600 é",
    None,
    42,
    10**400,
    -1.5,
    False,
    (1, 2),
    {"n": 123456789012345678901234567890},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: repr(v)[:20])
def test_json_round_trip(client, queue, tick, value):
    client.send(queue, json.dumps(value) if isinstance(value, str) else value)
    client.send_batch(queue, "t", [json.dumps(value)])
    for message in sent(client, queue, tick):
        assert isinstance(message.payload, str)
        assert message.json() == (list(value) if isinstance(value, tuple) else value)


def test_psycopgs_wrappers_are_accepted(client, queue, tick):
    client.send_batch(queue, "t", [Json({"a": 1}), Jsonb([2]), Jsonb(3, dumps=lambda v: b"33")])
    assert [m.json() for m in sent(client, queue, tick)] == [{"a": 1}, [2], 33]


circular: list = []
circular.append(circular)


@pytest.mark.parametrize(
    "value",
    [
        "hello",
        "",
        math.nan,
        {"n": math.inf},
        {"s": "\ud800"},
        '"\ud800"',
        {"s": "a\0b"},
        "\0",
        b"bytes",
        {1, 2},
        object(),
        datetime.now(),
        {(1, 2): 3},
        circular,
        lambda: None,
    ],
    ids=lambda v: repr(v)[:20],
)
@pytest.mark.parametrize("kind", ["own", "psycopg"])
def test_what_is_not_json_is_refused_before_it_is_sent(client, psycopg_conn, queue, value, kind):
    client = client if kind == "own" else pgque.PgqueClient(psycopg_conn)
    with pytest.raises(pgque.PgqueInvalidInput, match="payload") as caught:
        client.send(queue, value)
    assert caught.value.op == "send"
    with pytest.raises(pgque.PgqueInvalidInput, match=r"payloads\[1\]"):
        client.send_batch(queue, "t", [1, value])
    assert psycopg_conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize("value", ["[1,2]", b"x", {"a": 1}, 5])
def test_a_batch_is_not_one_payload(client, queue, value):
    with pytest.raises((pgque.PgqueInvalidInput, TypeError)):
        client.send_batch(queue, "t", value)


def test_any_iterable_is_a_batch(client, queue):
    ids = client.send_batch(queue, "t", (n for n in range(3)))
    assert ids == sorted(ids) and len(ids) == 3
    assert client.send_batch(queue, "t", []) == []


def test_text_is_stored_as_it_stands(client, queue, tick):
    client.send(queue, pgque.Text("not { json"))
    client.send_batch(queue, None, [pgque.Text(None), pgque.Text("")])
    assert [m.payload for m in sent(client, queue, tick)] == ["not { json", None, ""]
    with pytest.raises(pgque.PgqueInvalidInput, match="or none"):
        client.send_batch(queue, "t", [1, pgque.Text("x")])
    with pytest.raises(pgque.PgqueInvalidInput, match="Text"):
        client.send(queue, pgque.Text(5))


def test_an_event_beats_the_keywords(client, queue, tick):
    client.send(queue, pgque.Event({"a": 1}, "mine", {"extra2": "two", "other": 5}), type="no")
    client.send(queue, pgque.Event(pgque.Text("t")), extra1="one")
    client.send(queue, {}, type="")
    first, second, third = sent(client, queue, tick)
    assert (first.type, first.extra2, first.json()) == ("mine", "two", {"a": 1})
    assert (second.type, second.extra1, second.payload) == ("default", "one", "t")
    assert third.type == "default"
    with pytest.raises(pgque.PgqueInvalidInput, match="extra1"):
        client.send(queue, pgque.Event(1, extra={"extra1": 5}))


def test_ids_are_whole_and_times_are_aware(client, queue, tick):
    event_id = client.send(queue, {})
    (message,) = sent(client, queue, tick)
    assert message.msg_id == event_id
    assert message.created_at.tzinfo is not None
    assert abs((datetime.now().astimezone() - message.created_at).total_seconds()) < 60
    assert message.retry_count is None
