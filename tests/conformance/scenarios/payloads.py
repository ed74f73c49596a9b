"""What may be sent, and that it arrives as it was."""

import json

from harness import CallError, Env, check, equal, refused, scenario


def only(client, **receive):
    [message] = client.receive(queue="orders", consumer="mail", **receive)
    client.ack(batch_id=message["batch_id"])
    return message


@scenario
def json_values_of_every_kind(env: Env) -> None:
    """Objects, arrays, texts, numbers, booleans and null arrive as PostgreSQL's jsonb prints
    them."""
    client = env.queue_with_consumer()
    values = [
        {},
        [],
        {"a": [1, {"b": None}]},
        True,
        False,
        None,
        0,
        -7,
        1.5,
        '"a text"',
        "[1,  2]",
        ' {"k":"v"} ',
    ]
    for value in values:
        client.send(queue="orders", payload=value)
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    for value, message in zip(values, messages, strict=True):
        # A string is JSON text already.
        text = value if isinstance(value, str) else json.dumps(value)
        equal(
            message["payload"], env.value("select %s::jsonb::text", text), f"payload of {value!r}"
        )


@scenario
def opaque_text_is_kept_byte_for_byte(env: Env) -> None:
    """Text sent by the explicit form is not touched, whatever it looks like."""
    client = env.queue_with_consumer()
    texts = [
        "hello",
        '{"b":1,  "a":2,"a":3}',
        " \t\r\n ",
        "NaN",
        "\\",
        "\\x00",
        "'; drop table x; --",
        "żółć 🦀",
        "%s $1",
    ]
    for text in texts:
        client.send(queue="orders", text=text)
        client.send(queue="orders", type="t", text=text)
    client.send_batch(queue="orders", type="t", texts=texts)
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    expected = [text for text in texts for _ in range(2)] + texts
    equal([m["payload"] for m in messages], expected, "payloads")


@scenario
def null_and_empty_are_told_apart(env: Env) -> None:
    """NULL and the empty text differ, in the type as in the payload; JSON null is neither."""
    client = env.queue_with_consumer()
    client.send(queue="orders", type="t", text=None)
    client.send(queue="orders", type="t", text="")
    client.send(queue="orders", type="t", payload=None)
    client.send_batch(queue="orders", type=None, texts=[None, ""])
    client.send_batch(queue="orders", type="", texts=[None, ""])
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    expected = [
        ("t", None),
        ("t", ""),
        ("t", "null"),
        (None, None),
        (None, ""),
        ("", None),
        ("", ""),
    ]
    equal([(m["type"], m["payload"]) for m in messages], expected, "types and payloads")


@scenario
def big_integers_survive(env: Env) -> None:
    """An integer of thirty digits arrives with all of them."""
    client = env.queue_with_consumer()
    client.send(queue="orders", special="big_integer")
    env.tick()
    equal(only(client)["payload"], '{"n": 123456789012345678901234567890}', "payload")


@scenario
def deep_nesting_is_kept_or_refused(env: Env) -> None:
    """200 nested arrays arrive whole or are refused with invalid_input; nothing crashes."""
    client = env.queue_with_consumer()
    try:
        client.send(queue="orders", special="deep")
    except CallError as error:
        equal((error.kind, error.op), ("invalid_input", "send"), "error")
        return
    env.tick()
    equal(only(client)["payload"], "[" * 200 + "]" * 200, "payload")


@scenario
def extra_fields_round_trip(env: Env) -> None:
    """extra1 to extra4 arrive each in its place, NULL and empty told apart, for JSON and for
    opaque text."""
    client = env.queue_with_consumer()
    extra = {"extra1": "one", "extra2": None, "extra3": "", "extra4": "cz\u0142on \U0001f980"}
    client.send(queue="orders", type="t", payload={"b": 1, "a": 2}, **extra)
    client.send(queue="orders", type="t", text="opaque  ", **extra)
    client.send(queue="orders", payload=[1], extra3="third")
    env.tick()
    first, second, third = client.receive(queue="orders", consumer="mail")
    for message in (first, second):
        equal({name: message[name] for name in extra}, extra, "extra fields")
        equal(message["type"], "t", "type")
    equal((first["payload"], second["payload"]), ('{"a": 2, "b": 1}', "opaque  "), "payloads")
    equal(
        [third[f"extra{i}"] for i in range(1, 5)],
        [None, None, "third", None],
        "the one extra field",
    )
    equal(third["type"], "default", "type")


@scenario
def send_batch_keeps_the_order(env: Env) -> None:
    """The ids of a batch stand in the order of its payloads; an empty batch sends nothing and
    looks at nothing."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="numbers", payloads=[{"n": n} for n in range(500)])
    equal(len(set(ids)), 500, "distinct ids")
    equal(
        client.send_batch(queue="orders", type="numbers", payloads=[]), [], "ids of an empty batch"
    )
    equal(
        client.send_batch(queue="nowhere", type="numbers", payloads=[]),
        [],
        "an empty batch to an unknown queue",
    )
    env.tick()
    messages = client.receive(queue="orders", consumer="mail", max_messages=500)
    by_id = {m["msg_id"]: m for m in messages}
    for n, msg_id in enumerate(ids):
        equal(by_id[msg_id]["payload"], f'{{"n": {n}}}', f"payload of {msg_id}")
        equal(by_id[msg_id]["type"], "numbers", "type")


@scenario
def unicode_and_a_megabyte(env: Env) -> None:
    """Text of every script, in type and payload, and a payload of over a megabyte arrive
    unchanged."""
    client = env.queue_with_consumer()
    text = "za\u017c\u00f3\u0142\u0107 \u65e5\u672c\u8a9e \u0627\u0644\u0639 \U0001f980\U0001f469\u200d\U0001f680 "
    text += "\u2028 \u0301 \x7f \x01"
    big = {"text": text * 20_000}
    client.send(queue="orders", type=text, payload=big)
    client.send_batch(queue="orders", type=text, payloads=[big, json.dumps(text)])
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    check(len(messages[0]["payload"].encode()) > 1_000_000, "the payload is large")
    check(all(m["type"] == text for m in messages), "types")
    check(json.loads(messages[0]["payload"]) == big, "the large payload differs")
    check(json.loads(messages[1]["payload"]) == big, "the large payload of the batch differs")
    equal(json.loads(messages[2]["payload"]), text, "text")


def refuses(env: Env, says: str = "payload", **payload) -> None:
    """The payload is refused before anything is sent, in and outside of a transaction, and
    nothing is lost."""
    client = env.queue_with_consumer()
    refused(
        lambda: client.send(queue="orders", **payload),
        "invalid_input",
        op="send",
        sqlstate=None,
        says=says,
    )
    client.begin()
    kept = client.send(queue="orders", payload=1)
    refused(
        lambda: client.send(queue="orders", type="t", extra1="x", **payload),
        "invalid_input",
        op="send",
        sqlstate=None,
        says=says,
    )
    client.commit()
    env.tick()
    equal(only(client)["msg_id"], kept, "the message of the same transaction")


@scenario
def nan_is_refused(env: Env) -> None:
    """NaN is not JSON: invalid_input that names the payload, and the transaction lives on."""
    refuses(env, special="nan")


@scenario
def lone_surrogates_are_refused(env: Env) -> None:
    """Half a surrogate pair is refused before it is sent."""
    refuses(env, special="lone_surrogate")


@scenario
def nul_in_json_is_refused(env: Env) -> None:
    """U+0000 in a string of a payload is refused before it is sent."""
    refuses(env, special="nul")


@scenario
def what_is_not_json_is_refused(env: Env) -> None:
    """A value that cannot be written as JSON is refused before it is sent."""
    refuses(env, special="unserialisable")


@scenario
def text_that_is_not_json_is_refused(env: Env) -> None:
    """A string is JSON text; where it is not, it is refused before it is sent."""
    refuses(env, payload="hello")


@scenario
def a_batch_with_a_bad_payload_sends_nothing(env: Env) -> None:
    """send_batch names the bad payload by its place and sends none of the others."""
    client = env.queue_with_consumer()
    refused(
        lambda: client.send_batch(queue="orders", type="t", payloads=[1, "hello", 2]),
        "invalid_input",
        op="send_batch",
        sqlstate=None,
        says="payloads[1]",
    )
    equal(env.value("select count(*) from pgque.event_template"), 0, "stored events")
