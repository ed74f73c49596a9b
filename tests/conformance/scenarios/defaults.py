"""What a call does when an optional argument is left out; api.toml lists the values."""

from harness import Env, check, equal, refused, scenario


@scenario
def default_type_is_default(env: Env) -> None:
    """A send without a type, with null or with the empty text stores the type `default`."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload=1)
    client.send(queue="orders", type=None, payload=1)
    client.send(queue="orders", type="", payload=1)
    client.send(queue="orders", type="", payload=1, extra1="x")
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    equal([m["type"] for m in messages], ["default"] * 4, "types")


@scenario
def default_max_messages_is_100(env: Env) -> None:
    """receive and receive_coop take up to 100 messages, and overflow with 101."""
    client = env.queue_with_consumer()
    client.subscribe_subconsumer(queue="orders", consumer="group", subconsumer="w")
    client.send_batch(queue="orders", type="t", payloads=list(range(100)))
    env.tick()
    for messages in (
        client.receive(queue="orders", consumer="mail"),
        client.receive_coop(queue="orders", consumer="group", subconsumer="w"),
    ):
        equal(len(messages), 100, "messages")
        client.ack(batch_id=messages[0]["batch_id"])
    client.send_batch(queue="orders", type="t", payloads=list(range(101)))
    env.tick()
    error = refused(
        lambda: client.receive(queue="orders", consumer="mail"), "overflow", op="receive"
    )
    equal(error.configured_limit, 100, "configured_limit")
    error = refused(
        lambda: client.receive_coop(queue="orders", consumer="group", subconsumer="w"),
        "overflow",
        op="receive_coop",
    )
    equal(error.configured_limit, 100, "configured_limit")


@scenario
def default_retry_after_is_60_seconds(env: Env) -> None:
    """nack and a retry verdict without a delay wait 60 s."""
    client = env.queue_with_consumer()
    for n in range(2):
        client.send(queue="orders", payload=n)
    env.tick()
    first, second = client.receive(queue="orders", consumer="mail")
    client.nack(batch_id=first["batch_id"], msg_id=first["msg_id"])
    client.finish(
        batch_id=first["batch_id"], verdicts=[{"msg_id": second["msg_id"], "verdict": "retry"}]
    )
    delays = env.query(
        "select extract(epoch from ev_retry_after - now())::float from pgque.retry_queue"
    )
    equal(len(delays), 2, "retries")
    for (delay,) in delays:
        check(50 < delay <= 60, f"a delay of {delay} s")


@scenario
def default_batch_handling_refuses(env: Env) -> None:
    """unsubscribe_subconsumer refuses while a batch is open; 1 sends the batch to the retry
    queue."""
    client = env.client()
    client.create_queue(queue="orders")
    member = {"queue": "orders", "consumer": "group", "subconsumer": "w"}
    equal(client.subscribe_subconsumer(**member), 1, "subscribe_subconsumer")
    msg_id = client.send(queue="orders", payload=1)
    env.tick()
    [message] = client.receive_coop(**member)
    refused(
        lambda: client.unsubscribe_subconsumer(**member), "conflict", op="unsubscribe_subconsumer"
    )
    refused(
        lambda: client.unsubscribe_subconsumer(**member, batch_handling=2),
        "invalid_input",
        op="unsubscribe_subconsumer",
    )
    equal(client.unsubscribe_subconsumer(**member, batch_handling=1), 1, "with batch_handling 1")
    equal(env.query("select ev_id::text from pgque.retry_queue"), [(msg_id,)], "retries")
    equal(client.unsubscribe_subconsumer(**member), 0, "once more")
    equal(client.ack(batch_id=message["batch_id"]), 0, "ack of the batch that was taken away")


@scenario
def default_convert_normal_is_false(env: Env) -> None:
    """An ordinary consumer becomes cooperative only when asked for, and keeps its place."""
    client = env.queue_with_consumer()
    msg_id = client.send(queue="orders", payload=1)
    env.tick()
    member = {"queue": "orders", "consumer": "mail", "subconsumer": "w"}
    refused(lambda: client.subscribe_subconsumer(**member), "conflict", op="subscribe_subconsumer")
    equal(client.subscribe_subconsumer(**member, convert_normal=True), 1, "with convert_normal")
    equal(
        [m["msg_id"] for m in client.receive_coop(**member)],
        [msg_id],
        "messages after the conversion",
    )


@scenario
def default_dlq_limit_is_100(env: Env) -> None:
    """dlq_inspect shows the newest 100 dead letters, or as many as asked for."""
    client = env.queue_with_consumer()
    client.send_batch(queue="orders", type="t", payloads=list(range(101)))
    env.tick()
    messages = client.receive(queue="orders", consumer="mail", max_messages=1000)
    verdicts = [{"msg_id": m["msg_id"], "verdict": "dead"} for m in messages]
    client.finish(batch_id=messages[0]["batch_id"], verdicts=verdicts)
    equal(len(client.dlq_inspect(queue="orders")["rows"]), 100, "rows by default")
    equal(
        len(client.dlq_inspect(queue="orders", limit=1000)["rows"]),
        101,
        "rows with a limit of 1000",
    )
    equal(len(client.dlq_inspect(queue="orders", limit=3)["rows"]), 3, "rows with a limit of 3")
    equal(len(client.dlq_inspect(queue="orders", limit=0)["rows"]), 0, "rows with a limit of 0")


@scenario
def default_purge_keeps_30_days(env: Env) -> None:
    """dlq_purge deletes what is older than 30 days, or than the time given."""
    client = env.queue_with_consumer()
    client.send_batch(queue="orders", type="t", payloads=[1, 2, 3])
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    verdicts = [{"msg_id": m["msg_id"], "verdict": "dead"} for m in messages]
    client.finish(batch_id=messages[0]["batch_id"], verdicts=verdicts)
    for message, age in zip(messages, ("31 days", "29 days", "1 hour"), strict=True):
        env.side.execute(
            "update pgque.dead_letter set dl_time = now() - %s::interval where ev_id = %s",
            (age, int(message["msg_id"])),
        )
    equal(client.dlq_purge(queue="orders"), 1, "purged by default")
    equal(client.dlq_purge(queue="orders", older_than="2 hours"), 1, "purged after 2 hours")
    equal(client.dlq_purge(queue="orders", older_than=60), 1, "purged after 60 s")
    equal(client.dlq_purge(queue="nowhere"), 0, "purged of an unknown queue")


@scenario
def default_drop_queue_does_not_force(env: Env) -> None:
    """A queue with consumers is dropped only by force."""
    client = env.queue_with_consumer()
    refused(lambda: client.drop_queue(queue="orders"), "conflict", op="drop_queue")
    equal(client.drop_queue(queue="orders", force=True), 1, "drop_queue by force")
    refused(lambda: client.drop_queue(queue="orders"), "queue_not_found", op="drop_queue")


@scenario
def default_autocommit(env: Env) -> None:
    """A connection commits every call, except Python's, which opens a transaction as pgque-py
    does."""
    client = env.queue_with_consumer()
    plain = env.driver.connect(env.dsn)
    plain.send(queue="orders", payload=1)
    in_transaction = env.language.startswith("python")
    equal(
        env.value("select count(*) from pgque.event_template"),
        0 if in_transaction else 1,
        "committed events",
    )
    plain.commit()
    equal(env.value("select count(*) from pgque.event_template"), 1, "events after commit")
    client.close()
