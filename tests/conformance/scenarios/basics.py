"""Send, receive, acknowledge, and what the administrator sees."""

import time
from concurrent.futures import ThreadPoolExecutor

from harness import Env, check, equal, refused, scenario


@scenario
def round_trip(env: Env) -> None:
    """A message arrives with its type, payload, ids and extra fields, and once acknowledged
    comes no more."""
    client = env.queue_with_consumer()
    msg_id = client.send(
        queue="orders", type="created", payload={"order": 42, "ok": True, "none": None}
    )
    env.tick()
    [message] = client.receive(queue="orders", consumer="mail")
    equal(message["msg_id"], msg_id, "msg_id")
    equal(message["type"], "created", "type")
    equal(message["payload"], '{"ok": true, "none": null, "order": 42}', "payload")
    equal(message["retry_count"], None, "retry_count")
    equal([message[f"extra{i}"] for i in range(1, 5)], [None] * 4, "extra fields")
    equal(client.ack(batch_id=message["batch_id"]), 1, "ack")
    env.tick()
    equal(client.receive(queue="orders", consumer="mail"), [], "after ack")


@scenario
def fan_out_reaches_three_consumers(env: Env) -> None:
    """Every consumer gets every message, each in a batch of its own."""
    client = env.queue_with_consumer()
    for consumer in ("stock", "audit"):
        client.subscribe(queue="orders", consumer=consumer)
    ids = [client.send(queue="orders", payload={"n": n}) for n in range(3)]
    env.tick()
    batches = set()
    for consumer in ("mail", "stock", "audit"):
        messages = client.receive(queue="orders", consumer=consumer)
        equal([m["msg_id"] for m in messages], ids, f"messages of {consumer}")
        batches |= {m["batch_id"] for m in messages}
    equal(len(batches), 3, "number of batches")
    for batch_id in batches:
        equal(client.ack(batch_id=batch_id), 1, "ack")


@scenario
def batch_is_redelivered_until_acked(env: Env) -> None:
    """The same batch comes again, also to a new connection, until it is acknowledged."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload=1)
    env.tick()
    first = client.receive(queue="orders", consumer="mail")
    equal(len(first), 1, "messages")
    equal(client.receive(queue="orders", consumer="mail"), first, "the second receive")
    client.close()
    other = env.client()
    equal(other.receive(queue="orders", consumer="mail"), first, "on another connection")
    other.ack(batch_id=first[0]["batch_id"])
    equal(other.receive(queue="orders", consumer="mail"), [], "after ack")


@scenario
def ack_twice_gives_one_then_zero(env: Env) -> None:
    """A second ack, and one of a batch that never was, give 0 without an error."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload=1)
    env.tick()
    [message] = client.receive(queue="orders", consumer="mail")
    equal(client.ack(batch_id=message["batch_id"]), 1, "first ack")
    equal(client.ack(batch_id=message["batch_id"]), 0, "second ack")
    equal(client.ack(batch_id="987654321"), 0, "ack of an unknown batch")


@scenario
def a_receive_that_waited_is_right(env: Env) -> None:
    """A receive that waited for another session's receive and ack gets the next batch, not an error."""
    client = env.queue_with_consumer()
    ids = []
    for n in range(2):
        ids.append(client.send(queue="orders", payload=n))
        env.tick()
    client.begin()
    [first] = client.receive(queue="orders", consumer="mail")
    client.ack(batch_id=first["batch_id"])
    other = env.start_driver().connect(env.dsn, autocommit=True)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.receive, queue="orders", consumer="mail")
        time.sleep(0.7)
        client.commit()
        [second] = waiting.result()
    equal([first["msg_id"], second["msg_id"]], ids, "messages of both")


@scenario
def ids_beyond_53_bits_are_exact(env: Env) -> None:
    """A message id that a double cannot hold comes back exactly."""
    client = env.queue_with_consumer()
    sequence = env.value("select queue_event_seq from pgque.queue where queue_name = 'orders'")
    env.side.execute("select setval(%s, 9007199254740993)", (sequence,))
    env.side.execute("select setval('pgque.batch_id_seq', 9007199254740995)")
    msg_id = client.send(queue="orders", payload=1)
    equal(msg_id, "9007199254740994", "id of send")
    equal(
        client.send_batch(queue="orders", type="t", payloads=[1]),
        ["9007199254740995"],
        "ids of send_batch",
    )
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    equal([m["msg_id"] for m in messages], [msg_id, "9007199254740995"], "msg_id")
    check(int(messages[0]["batch_id"]) > 9007199254740995, "batch_id")
    equal(
        client.finish(
            batch_id=messages[0]["batch_id"], verdicts=[{"msg_id": msg_id, "verdict": "retry"}]
        ),
        1,
        "ack",
    )
    equal(env.query("select ev_id from pgque.retry_queue"), [(9007199254740994,)], "retry")


@scenario
def created_at_is_exact(env: Env) -> None:
    """created_at is the time of the producer's transaction, to the microsecond."""
    client = env.queue_with_consumer()
    micros = "(extract(epoch from {}) * 1000000)::bigint"
    before = env.value(f"select {micros.format('clock_timestamp()')}")
    client.send(queue="orders", payload=1)
    after = env.value(f"select {micros.format('clock_timestamp()')}")
    env.tick()
    [message] = client.receive(queue="orders", consumer="mail")
    created_at = int(message["created_at"])
    check(
        before <= created_at <= after, f"created_at {created_at} is not within {before} and {after}"
    )
    stored = env.value(f"select {micros.format('ev_time')} from pgque.event_template")
    equal(created_at, stored, "created_at against the stored value")


@scenario
def creating_and_subscribing_again_gives_zero(env: Env) -> None:
    """create_queue, subscribe and unsubscribe give 1 for what they did and 0 for what was so
    already."""
    client = env.client()
    equal([client.create_queue(queue="q") for _ in range(2)], [1, 0], "create_queue")
    equal([client.subscribe(queue="q", consumer="c") for _ in range(2)], [1, 0], "subscribe")
    equal([client.unsubscribe(queue="q", consumer="c") for _ in range(2)], [1, 0], "unsubscribe")
    equal(client.drop_queue(queue="q"), 1, "drop_queue")


@scenario
def a_new_consumer_starts_at_the_newest_tick(env: Env) -> None:
    """What was ticked before the subscription is not delivered."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload="1")
    env.tick()
    client.subscribe(queue="orders", consumer="late")
    late = client.send(queue="orders", payload="2")
    env.tick()
    equal(
        [m["msg_id"] for m in client.receive(queue="orders", consumer="late")],
        [late],
        "messages of the late one",
    )


@scenario
def ticks_and_maintenance_by_hand(env: Env) -> None:
    """force_next_tick and ticker deliver; ticker_all, maint and maint_retry_events give counts."""
    client = env.queue_with_consumer()
    newest = env.value("select max(tick_id)::text from pgque.tick")
    equal(client.force_next_tick(queue="orders"), newest, "force_next_tick")
    client.send(queue="orders", payload=1)
    tick = client.ticker(queue="orders")
    check(int(tick) > int(newest), "ticker gives a newer tick")
    equal(client.ticker(queue="orders"), None, "ticker with nothing to do")
    equal(client.force_tick(queue="orders"), tick, "force_tick")
    check(client.ticker_all() >= 1, "ticker_all ticks the forced queue")
    for count in (client.maint(), client.maint_retry_events()):
        check(isinstance(count, int), f"{count!r} is a number")
    equal(len(client.receive(queue="orders", consumer="mail")), 1, "messages")


@scenario
def information_tells_the_state(env: Env) -> None:
    """queue_info, consumer_info, batch_info and status give typed rows; an unknown name gives
    none."""
    client = env.queue_with_consumer()
    client.create_queue(queue="other")
    client.send(queue="orders", payload=1)
    env.tick()
    [message] = client.receive(queue="orders", consumer="mail")

    def named(result: dict) -> list[dict]:
        return [dict(zip(result["columns"], row, strict=True)) for row in result["rows"]]

    [queue] = named(client.queue_info(queue="orders"))
    equal(
        (queue["queue_name"], queue["queue_ntables"], queue["queue_ticker_paused"]),
        ("orders", "3", "false"),
        "info",
    )
    equal(float(queue["queue_rotation_period"]), 7200.0, "rotation period in seconds")
    equal(
        {row["queue_name"] for row in named(client.queue_info())}, {"orders", "other"}, "all queues"
    )
    equal(client.queue_info(queue="nowhere")["rows"], [], "unknown queue")
    [consumer] = named(client.consumer_info(queue="orders", consumer="mail"))
    equal(consumer["current_batch"], message["batch_id"], "current_batch")
    equal(len(client.consumer_info()["rows"]), 1, "all consumers")
    equal(client.consumer_info(queue="other")["rows"], [], "consumers of the other queue")
    [batch] = named(client.batch_info(batch_id=message["batch_id"]))
    equal((batch["queue_name"], batch["consumer_name"]), ("orders", "mail"), "batch_info")
    check(int(batch["batch_start"]) <= int(batch["batch_end"]), "batch times")
    equal(client.batch_info(batch_id="987654321")["rows"], [], "unknown batch")
    equal(client.status()["columns"], ["component", "status", "detail"], "columns of status")
    check(client.status()["rows"], "status has rows")


@scenario
def version_and_capabilities(env: Env) -> None:
    """The version looks like one, and the capabilities name the server and the engine's better
    paths."""
    client = env.client()
    check(client.version()[0].isdigit() and client.version().count(".") >= 2, client.version())
    equal(client.version(), env.value("select pgque.version()"), "version")
    expected = {
        "server_version": int(env.value("show server_version_num")),
        "finish": True,
        "ticker_pending": True,
        "pages": True,
    }
    equal(client.capabilities(), expected, "capabilities")


@scenario
def queue_settings_can_be_changed(env: Env) -> None:
    """set_queue_config stores a value, NULL resets it, and an unknown name or bad value is
    refused."""
    client = env.queue_with_consumer()
    column = "select queue_ticker_max_count from pgque.queue where queue_name = 'orders'"
    equal(
        client.set_queue_config(queue="orders", name="ticker_max_count", value="7"),
        1,
        "set_queue_config",
    )
    equal(env.value(column), 7, "stored value")
    refused(
        lambda: client.set_queue_config(queue="orders", name="nonsense", value="1"),
        "invalid_input",
        op="set_queue_config",
    )
    refused(
        lambda: client.set_queue_config(queue="orders", name="ticker_max_count", value="many"),
        "invalid_input",
        op="set_queue_config",
    )
    refused(
        lambda: client.set_queue_config(queue="nowhere", name="ticker_max_count", value="1"),
        "queue_not_found",
        op="set_queue_config",
    )
    equal(env.value(column), 7, "value after the refusals")


@scenario
def queue_names_of_every_kind(env: Env) -> None:
    """Quotes, spaces, dots, capitals and other scripts work in queue names, notifications
    included."""
    client = env.client()
    names = [
        "Big Queue",
        "a.b.c",
        'quo"te',
        "sing'le",
        "back\\slash",
        "UPPER",
        "żółć 日本 🦀",
        "per%cent $1",
        "x" * 57,
    ]
    for name in names:
        equal(client.create_queue(queue=name), 1, f"create_queue {name}")
        client.subscribe(queue=name, consumer=name)
        client.listen(channel=f"pgque_{name}")
        msg_id = client.send(queue=name, payload=1)
        env.tick(name)
        notification = client.notification(timeout=5)
        equal(notification and notification["channel"], f"pgque_{name}", "channel")
        client.unlisten(channel=f"pgque_{name}")
        while client.notification(timeout=0):
            pass
        [message] = client.receive(queue=name, consumer=name)
        equal(message["msg_id"], msg_id, f"message in {name}")
        equal(client.ack(batch_id=message["batch_id"]), 1, "ack")
        equal(client.drop_queue(queue=name, force=True), 1, "drop_queue")
