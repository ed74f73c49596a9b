"""Sends that are begun one behind the other, and waited for together."""

from __future__ import annotations

from typing import Any

from harness import CallError, Env, check, equal, refused, scenario

PROMISES = ("node", "python-async")


def numbered(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"queue": "orders", "payload": {"n": n}, **more} for n in range(count)]


def ids(answer: dict[str, Any]) -> list[str]:
    failed = [outcome["error"] for outcome in answer["outcomes"] if "error" in outcome]
    equal(failed, [], "errors")
    equal(answer["flush"], None, "the flush")
    return [outcome["id"] for outcome in answer["outcomes"]]


def kinds(answer: dict[str, Any]) -> list[str]:
    return [o["error"]["kind"] if "error" in o else "sent" for o in answer["outcomes"]]


def stored(env: Env) -> list[tuple[str, str, str]]:
    return env.query(
        "select ev_id::text, ev_type, ev_data from pgque.event_template e order by e.ev_id"
    )


@scenario
def pipelined_sends_keep_their_order(env: Env) -> None:
    """Far more sends than may be under way at once: each has its own id, in the order of the
    calls, in a transaction and without."""
    client = env.queue_with_consumer()
    client.begin()
    sent = ids(client.pipelined(events=numbered(2500)))
    equal(stored(env), [], "before the commit")
    client.commit()
    sent += ids(client.pipelined(events=numbered(300)))
    check([row[0] for row in stored(env)] == sent, "the ids are in order")
    payloads = [f'{{"n": {n}}}' for n in (*range(2500), *range(300))]
    check([row[2] for row in stored(env)] == payloads, "the payloads are in order")


@scenario
def pipelined_events_are_a_clients_events(env: Env) -> None:
    """Type, extras, JSON and opaque text arrive as by send, in the order of the calls, whatever
    changes from one to the next."""
    client = env.queue_with_consumer()
    client.create_queue(queue="others")
    events = [
        {"queue": "orders", "payload": 1},
        {"queue": "orders", "payload": 2, "type": "created"},
        {"queue": "others", "payload": 3, "type": "created"},
        {"queue": "orders", "text": "not json", "type": "created"},
        {"queue": "orders", "text": None, "type": "created"},
        {"queue": "orders", "payload": [4], "type": "created", "extra1": "x", "extra4": "y"},
        {"queue": "orders", "payload": "5", "type": ""},
    ]
    client.begin()
    ids(client.pipelined(events=events * 20))
    client.commit()
    env.tick()
    messages = client.receive(queue="orders", consumer="mail", max_messages=1000)
    facts = [(m["type"], m["payload"], m["extra1"], m["extra4"]) for m in messages]
    expected = [
        ("default", "1", None, None),
        ("created", "2", None, None),
        ("created", "not json", None, None),
        ("created", None, None, None),
        ("created", "[4]", "x", "y"),
        ("default", "5", None, None),
    ]
    equal(facts, expected * 20, "the messages")


@scenario
def a_commit_comes_behind_what_was_pipelined(env: Env) -> None:
    """What is called on the client after a pipelined send finds it sent: a commit commits it."""
    client = env.queue_with_consumer()
    client.begin()
    sent = ids(client.pipelined(events=numbered(500), commit=True))
    check([row[0] for row in stored(env)] == sent, "all are stored")
    refused(lambda: client.begin() or client.begin(), "conflict")
    client.rollback()


@scenario
def a_pipelined_error_in_autocommit_is_one_events(env: Env) -> None:
    """In autocommit an event that is refused leaves those before and behind it; the flush tells."""
    client = env.queue_with_consumer()
    events = numbered(5)
    events[2]["queue"] = "nowhere"
    answer = client.pipelined(events=events)
    equal(kinds(answer), ["sent", "sent", "queue_not_found", "sent", "sent"], "outcomes")
    equal(answer["flush"]["kind"], "queue_not_found", "the flush")
    equal(answer["outcomes"][2]["error"]["op"], "send", "the operation")
    equal(len(stored(env)), 4, "stored events")


@scenario
def a_pipelined_error_in_a_transaction_is_everybodys(env: Env) -> None:
    """In a transaction an error ends it: what comes behind is refused, the flush tells the first
    error, nothing is stored, and the connection goes on after the rollback."""
    client = env.queue_with_consumer()
    client.begin()
    events = numbered(200)
    events[100]["queue"] = "nowhere"
    answer = client.pipelined(events=events)
    equal(kinds(answer)[100], "queue_not_found", "the bad one")
    check("sent" not in kinds(answer)[101:], "nothing is sent behind it")
    equal(answer["flush"]["kind"], "queue_not_found", "the flush")
    refused(client.commit, "server", sqlstate="25P02")
    equal(stored(env), [], "stored events")
    ids(client.pipelined(events=numbered(3)))


@scenario
def bad_input_is_not_pipelined(env: Env) -> None:
    """An argument that is wrong is the error of its own send, and hurts no transaction."""
    client = env.queue_with_consumer()
    client.begin()
    bad: list[dict[str, Any]] = [
        {"queue": "orders", "special": "nan"},
        {"queue": "orders", "text": "a\0b"},
    ]
    answer = client.pipelined(events=[*numbered(2), *bad, *numbered(2)])
    expected = ["sent", "sent", "invalid_input", "invalid_input", "sent", "sent"]
    equal(kinds(answer), expected, "outcomes")
    client.commit()
    equal(len(stored(env)), 4, "stored events")


def in_whatever_way(client: Any) -> str:
    """The kind of the error with which one send ends, be it the pipeline's or the send's."""
    try:
        return kinds(client.pipelined(events=numbered(1)))[0]
    except CallError as error:
        return error.kind


@scenario
def a_closed_client_has_no_pipeline(env: Env) -> None:
    """On a closed client it is `closed`."""
    client = env.queue_with_consumer()
    client.close()
    equal(in_whatever_way(client), "closed", "the kind")


@scenario
def a_callers_connection_has_no_pipeline(env: Env) -> None:
    """It runs one call at a time: `conflict`, where promises do not queue up by themselves."""
    env.queue_with_consumer()
    client = env.driver.connect_caller(env.dsn)
    expected = "sent" if env.language in PROMISES else "conflict"
    equal(in_whatever_way(client), expected, "the kind")


@scenario
def submitted_events_are_answered_later(env: Env) -> None:
    """A producer's submit keeps the order, each has its own id or error, and a flush waits for
    all."""
    env.queue_with_consumer()
    producer = env.driver.producer(env.dsn)
    events = numbered(1000, type="t")
    events[500]["queue"] = "nowhere"
    answer = producer.submit(events)
    outcomes = answer["outcomes"]
    equal([n for n, kind in enumerate(kinds(answer)) if kind != "sent"], [500], "failed")
    equal(outcomes[500]["error"]["kind"], "queue_not_found", "the bad one")
    expected = [(o["id"], "t", f'{{"n": {n}}}') for n, o in enumerate(outcomes) if "id" in o]
    check(stored(env) == expected, "all but the bad one are stored, in order")
    equal((producer.stats()["sent"], producer.stats()["failed"]), (999, 1), "counters")
    equal(kinds(producer.submit([{"queue": "orders", "special": "nan"}])), ["invalid_input"], "bad")
    producer.close()
    equal(kinds(producer.submit(numbered(1)))[0], "closed", "after close")
