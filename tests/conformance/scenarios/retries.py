"""Retries, verdicts and dead letters."""

from harness import Client, Env, check, equal, refused, scenario


def receive_one(client: Client) -> dict:
    [message] = client.receive(queue="orders", consumer="mail")
    return message


def dead_letters(client: Client, queue: str = "orders") -> list[dict]:
    result = client.dlq_inspect(queue=queue)
    return [dict(zip(result["columns"], row, strict=True)) for row in result["rows"]]


@scenario
def nack_retries_then_dead_letters(env: Env) -> None:
    """A nacked message comes again with its count, and past max_retries becomes a dead letter
    with the last reason."""
    client = env.queue_with_consumer()
    client.set_queue_config(queue="orders", name="max_retries", value="2")
    msg_id = client.send(queue="orders", type="created", payload={"n": 1}, extra2="x")
    env.tick()
    for count in (None, 1, 2):
        message = receive_one(client)
        equal((message["msg_id"], message["retry_count"]), (msg_id, count), "redelivered message")
        equal(
            (message["type"], message["payload"], message["extra2"]),
            ("created", '{"n": 1}', "x"),
            "contents",
        )
        client.nack(
            batch_id=message["batch_id"], msg_id=msg_id, retry_after=1, reason=f"attempt {count}"
        )
        equal(client.ack(batch_id=message["batch_id"]), 1, "ack")
        env.release_retries()
    equal(client.receive(queue="orders", consumer="mail"), [], "after the last attempt")
    [letter] = dead_letters(client)
    equal(letter["reason"], "attempt 2", "reason")
    equal(
        (letter["msg_id"], letter["retry_count"], letter["consumer_name"]),
        (msg_id, "2", "mail"),
        "dead letter",
    )
    equal(
        (letter["type"], letter["payload"], letter["extra2"]),
        ("created", '{"n": 1}', "x"),
        "contents",
    )
    equal(letter["created_at"], message["created_at"], "created_at")


@scenario
def a_retry_comes_to_its_consumer_only(env: Env) -> None:
    """A nack of one consumer delivers nothing again to the others."""
    client = env.queue_with_consumer()
    client.subscribe(queue="orders", consumer="audit")
    msg_id = client.send(queue="orders", payload=1)
    env.tick()
    message = receive_one(client)
    client.nack(batch_id=message["batch_id"], msg_id=msg_id, retry_after=0)
    client.ack(batch_id=message["batch_id"])
    [other] = client.receive(queue="orders", consumer="audit")
    client.ack(batch_id=other["batch_id"])
    env.release_retries()
    equal(client.receive(queue="orders", consumer="audit"), [], "messages of the other consumer")
    equal(receive_one(client)["msg_id"], msg_id, "the retried message")


@scenario
def nack_delays_of_every_form(env: Env) -> None:
    """A delay may be seconds, a fraction, or interval text."""
    client = env.queue_with_consumer()
    delays = [(0, 0), (90, 90), (1.5, 2), ("5 minutes", 300), ("01:00:00", 3600), (86400, 86400)]
    client.send_batch(queue="orders", type="t", payloads=[n for n, _ in enumerate(delays)])
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    for message, (delay, _) in zip(messages, delays, strict=True):
        client.nack(batch_id=message["batch_id"], msg_id=message["msg_id"], retry_after=delay)
    stored = env.query(
        "select extract(epoch from ev_retry_after - now())::float from pgque.retry_queue order by ev_id"
    )
    for (left,), (delay, seconds) in zip(stored, delays, strict=True):
        check(seconds - 10 <= left <= seconds, f"a delay of {delay!r} leaves {left} s")


@scenario
def finish_settles_every_verdict_at_once(env: Env) -> None:
    """finish retries, dead-letters and acknowledges in one step; what is not named is done."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2, 3, 4, 5])
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    verdicts = [
        {"msg_id": ids[0], "verdict": "ack"},
        {"msg_id": ids[1], "verdict": "retry", "after": 600, "reason": "later"},
        {"msg_id": ids[2], "verdict": "dead", "reason": "beyond repair"},
        {"msg_id": ids[3], "verdict": "dead"},
    ]
    equal(client.finish(batch_id=messages[0]["batch_id"], verdicts=verdicts), 1, "finish")
    retries = env.query(
        "select ev_id::text, extract(epoch from ev_retry_after - now())::float from pgque.retry_queue"
    )
    equal([row[0] for row in retries], [ids[1]], "retries")
    check(590 < retries[0][1] <= 600, f"a delay of {retries[0][1]} s")
    letters = {letter["msg_id"]: letter["reason"] for letter in dead_letters(client)}
    equal(set(letters), {ids[2], ids[3]}, "dead letters")
    equal(letters[ids[2]], "beyond repair", "reason")
    equal(client.finish(batch_id=messages[0]["batch_id"], verdicts=verdicts), 0, "finish again")
    equal(client.ack(batch_id=messages[0]["batch_id"]), 0, "ack afterwards")
    equal(
        env.value("select count(*) from pgque.dead_letter"),
        2,
        "dead letters after the second finish",
    )
    equal(client.receive(queue="orders", consumer="mail"), [], "messages afterwards")
    env.release_retries()
    equal(receive_one(client)["msg_id"], ids[1], "the retried message")


@scenario
def finish_of_an_unknown_batch_gives_zero(env: Env) -> None:
    """finish of a batch that is not open gives 0 and has no effect, with verdicts and without."""
    client = env.queue_with_consumer()
    verdicts = [
        {"msg_id": "1", "verdict": "dead", "reason": "x"},
        {"msg_id": "2", "verdict": "retry"},
    ]
    equal(client.finish(batch_id="987654321", verdicts=verdicts), 0, "finish")
    equal(client.finish(batch_id="987654321", verdicts=[]), 0, "finish without verdicts")
    equal(
        env.query(
            "select (select count(*) from pgque.dead_letter), count(*) from pgque.retry_queue"
        ),
        [(0, 0)],
        "…",
    )


@scenario
def finish_with_a_foreign_message_does_nothing(env: Env) -> None:
    """A verdict on a message that is not in the batch is invalid_input, and nothing is half
    done."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2])
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    batch_id = messages[0]["batch_id"]
    verdicts = [
        {"msg_id": ids[0], "verdict": "dead", "reason": "x"},
        {"msg_id": ids[1], "verdict": "retry"},
        {"msg_id": "4711", "verdict": "retry"},
    ]
    refused(
        lambda: client.finish(batch_id=batch_id, verdicts=verdicts),
        "invalid_input",
        op="finish",
        sqlstate="PQ004",
    )
    equal(
        env.query(
            "select (select count(*) from pgque.dead_letter), count(*) from pgque.retry_queue"
        ),
        [(0, 0)],
        "…",
    )
    equal(client.receive(queue="orders", consumer="mail"), messages, "the batch")
    equal(
        client.finish(batch_id=batch_id, verdicts=verdicts[:2]), 1, "finish with its own messages"
    )


@scenario
def finish_inside_a_transaction(env: Env) -> None:
    """finish belongs to the open transaction: rolled back, the batch comes again as it was."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2])
    env.tick()
    client.begin()
    messages = client.receive(queue="orders", consumer="mail")
    verdicts = [{"msg_id": ids[0], "verdict": "retry"}, {"msg_id": ids[1], "verdict": "dead"}]
    equal(client.finish(batch_id=messages[0]["batch_id"], verdicts=verdicts), 1, "finish")
    client.rollback()
    equal(
        env.query(
            "select (select count(*) from pgque.dead_letter), count(*) from pgque.retry_queue"
        ),
        [(0, 0)],
        "…",
    )
    equal([m["msg_id"] for m in client.receive(queue="orders", consumer="mail")], ids, "messages")


@scenario
def a_replayed_dead_letter_is_a_new_message(env: Env) -> None:
    """dlq_replay sends the dead letter again with a new id to every consumer, and takes it out."""
    client = env.queue_with_consumer()
    msg_id = client.send(queue="orders", type="created", payload={"n": 1}, extra4="four")
    env.tick()
    message = receive_one(client)
    client.finish(
        batch_id=message["batch_id"],
        verdicts=[{"msg_id": msg_id, "verdict": "dead", "reason": "r"}],
    )
    client.subscribe(queue="orders", consumer="audit")
    [letter] = dead_letters(client)
    new_id = client.dlq_replay(dead_letter_id=letter["dead_letter_id"])
    check(new_id != msg_id, "the id is new")
    equal(dead_letters(client), [], "dead letters")
    refused(
        lambda: client.dlq_replay(dead_letter_id=letter["dead_letter_id"]),
        "invalid_input",
        op="dlq_replay",
    )
    env.tick()
    for consumer in ("mail", "audit"):
        [again] = client.receive(queue="orders", consumer=consumer)
        equal((again["msg_id"], again["retry_count"]), (new_id, None), f"message of {consumer}")
        equal(
            (again["type"], again["payload"], again["extra4"]),
            ("created", '{"n": 1}', "four"),
            "contents",
        )


@scenario
def a_redelivered_dead_letter_comes_back_to_its_consumer_alone(env: Env) -> None:
    """dlq_redeliver makes the dead letter a retry of the consumer that failed: the same id, all of
    its retries, and nothing for the others; dlq_redeliver_all does so for all, or for one consumer's."""
    client = env.queue_with_consumer()
    client.subscribe(queue="orders", consumer="audit")
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2])
    env.tick()
    for consumer in ("mail", "audit"):
        messages = client.receive(queue="orders", consumer=consumer)
        verdicts = [{"msg_id": msg_id, "verdict": "dead"} for msg_id in ids if consumer == "mail"]
        client.finish(batch_id=messages[0]["batch_id"], verdicts=verdicts)

    letters = {letter["msg_id"]: letter["dead_letter_id"] for letter in dead_letters(client)}
    equal(client.dlq_redeliver(dead_letter_id=letters[ids[0]]), ids[0], "redelivered")
    refused(
        lambda: client.dlq_redeliver(dead_letter_id=letters[ids[0]]),
        "invalid_input",
        op="dlq_redeliver",
    )
    client.maint_retry_events()
    env.tick()
    [again] = client.receive(queue="orders", consumer="mail")
    equal((again["msg_id"], again["retry_count"], again["payload"]), (ids[0], None, "1"), "message")
    client.ack(batch_id=again["batch_id"])

    equal(client.dlq_redeliver_all(queue="orders", consumer="audit"), 0, "of another consumer")
    refused(
        lambda: client.dlq_redeliver_all(queue="orders", consumer="nobody"),
        "consumer_not_found",
        op="dlq_redeliver_all",
    )
    equal(client.dlq_redeliver_all(queue="orders"), 1, "of the queue")
    equal(dead_letters(client), [], "dead letters")
    client.maint_retry_events()
    env.tick()
    equal(
        [m["msg_id"] for m in client.receive(queue="orders", consumer="mail")],
        [ids[1]],
        "the other",
    )
    equal(client.receive(queue="orders", consumer="audit"), [], "messages of another consumer")


@scenario
def replay_all_counts_what_it_did(env: Env) -> None:
    """dlq_replay_all sends every dead letter again; what fails stays, is counted, and the first
    error is told."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2, 3])
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    verdicts = [{"msg_id": msg_id, "verdict": "dead"} for msg_id in ids]
    client.finish(batch_id=messages[0]["batch_id"], verdicts=verdicts)
    env.side.execute("update pgque.queue set queue_disable_insert = true")
    result = client.dlq_replay_all(queue="orders")
    equal((result["replayed"], result["failed"]), (0, 3), "while inserts are disabled")
    check("disallowed" in result["first_error"], result["first_error"])
    refused(lambda: client.send(queue="orders", payload=1), "conflict", op="send")
    env.side.execute("update pgque.queue set queue_disable_insert = false")
    result = client.dlq_replay_all(queue="orders")
    equal(result, {"replayed": 3, "failed": 0, "first_error": None}, "afterwards")
    equal(dead_letters(client), [], "dead letters")
    env.tick()
    equal(len(client.receive(queue="orders", consumer="mail")), 3, "messages")


@scenario
def purge_deletes_for_good(env: Env) -> None:
    """dlq_purge with 0 seconds deletes every dead letter of its queue and of no other."""
    client = env.queue_with_consumer()
    client.create_queue(queue="other")
    client.subscribe(queue="other", consumer="mail")
    for queue in ("orders", "other"):
        msg_id = client.send(queue=queue, payload=1)
        env.tick(queue)
        [message] = client.receive(queue=queue, consumer="mail")
        client.finish(
            batch_id=message["batch_id"], verdicts=[{"msg_id": msg_id, "verdict": "dead"}]
        )
    equal(client.dlq_purge(queue="orders", older_than=0), 1, "purged")
    equal(dead_letters(client), [], "dead letters of the queue")
    equal(len(dead_letters(client, "other")), 1, "dead letters of the other queue")
