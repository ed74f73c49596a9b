"""Message behaves as the mutable dataclass that it stands for."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import weakref

import pytest

import pgque

FIELDS = (1, 2, "t", '{"a": 1}', None, None)


def test_made_by_hand():
    message = pgque.Message(*FIELDS, extra3="x")
    assert message == pgque.Message(*FIELDS, None, None, "x")
    assert message != pgque.Message(*FIELDS)
    assert message != FIELDS
    assert repr(message) == (
        "Message(msg_id=1, batch_id=2, type='t', payload='{\"a\": 1}', retry_count=None, "
        "created_at=None, extra1=None, extra2=None, extra3='x', extra4=None)"
    )
    assert message.json() == {"a": 1}
    with pytest.raises(TypeError):
        hash(message)


def test_fields_may_be_set(client, queue, tick):
    client.send(queue, {"a": 1})
    tick()
    (message,) = client.receive(queue, "c")
    twin = copy.copy(message)
    message.payload = message.json()
    message.note = "mine"
    assert message.payload == {"a": 1}
    assert twin.payload == '{"a": 1}' and twin != message
    client.nack(message.batch_id, message, 0, "changed messages can be retried")
    assert client.ack(message.batch_id) == 1


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_survives_copying(client, queue, tick, again):
    client.send(queue, {"a": 1}, extra1="x")
    tick()
    (message,) = client.receive(queue, "c")
    assert again(message) == message
    message.note = "mine"
    assert again(message).note == "mine"


def test_matches_by_position():
    match pgque.Message(*FIELDS):
        case pgque.Message(1, _, "t", payload):
            assert payload == '{"a": 1}'
        case _:
            pytest.fail("did not match")


def test_the_dataclass_functions_work():
    message = pgque.Message(*FIELDS, extra3="x")
    assert dataclasses.is_dataclass(message)
    assert dataclasses.asdict(message)["extra3"] == "x"
    assert list(dataclasses.asdict(message)) == list(pgque.Message.__match_args__)
    assert dataclasses.replace(message, payload="[]").json() == []


def test_a_bad_payload_is_named():
    with pytest.raises(pgque.PgqueInvalidInput, match="payload of message 1 is not JSON"):
        pgque.Message(1, 2, "t", "hello", None, None).json()
    assert pgque.Message(1, 2, "t", None, None, None).json() is None


def test_a_cycle_is_collected():
    message = pgque.Message(*FIELDS)
    message.payload = [message]
    ref = weakref.ref(message)
    del message
    gc.collect()
    assert ref() is None


def test_the_collector_may_run_at_any_moment(client, queue, tick):
    client.send_batch(queue, "t", [1] * 100)
    tick()
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(3):
            messages = client.receive(queue, "c")
            assert [copy.copy(m) for m in messages] == messages
    finally:
        gc.set_threshold(*before)


def test_a_changed_message_in_a_batch_does_not_change_the_others(client, queue, tick):
    client.send_batch(queue, "t", [1, 2])
    tick()
    first, second = client.receive(queue, "c")
    first.type = None
    assert second.type == "t"


def test_memory_does_not_grow(client, queue, tick):
    """10,000 reads of a batch leave nothing behind."""
    import resource

    client.send_batch(queue, "t", ["1"] * 100)
    tick()

    def read() -> None:
        for message in client.receive(queue, "c"):
            message.payload, message.created_at, message.extra1  # noqa: B018

    for _ in range(20):
        read()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100):
        read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096
