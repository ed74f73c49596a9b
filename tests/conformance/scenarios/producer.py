"""The producer that many senders share."""

from functools import partial

from harness import Env, check, equal, refused, scenario


def stored(env: Env) -> list[str]:
    return [r[0] for r in env.query("select ev_id::text from pgque.event_template order by ev_id")]


@scenario
def many_senders_each_get_their_own_id(env: Env) -> None:
    """Of many sends at once each gets the id of its own event, and fewer transactions than sends
    were needed."""
    client = env.queue_with_consumer()
    producer = env.driver.producer(env.dsn)
    ids = producer.send_many([{"n": n} for n in range(500)], tasks=50, queue="orders", type="t")
    stats = producer.stats()
    producer.close()
    env.tick()
    messages = client.receive(queue="orders", consumer="mail", max_messages=1000)
    by_id = {m["msg_id"]: m["payload"] for m in messages}
    equal([by_id[i] for i in ids], [f'{{"n": {n}}}' for n in range(500)], "payloads by id")
    equal(len(messages), 500, "messages")
    equal((stats["sent"], stats["failed"], stats["uncertain"]), (500, 0, 0), "counters")
    check(stats["batches"] < 500, f"{stats['batches']} transactions")


@scenario
def a_producers_event_is_a_clients_event(env: Env) -> None:
    """Type, extras, JSON and opaque text of a producer's send arrive as of a client's."""
    client = env.queue_with_consumer()
    producer = env.driver.producer(env.dsn)
    producer.send(queue="orders", type="created", payload={"a": 1}, extra1="x", extra4="y")
    producer.send(queue="orders", payload=[1])
    producer.send(queue="orders", text="not json")
    producer.close()
    env.tick()
    first, second, third = client.receive(queue="orders", consumer="mail")
    facts = (first["type"], first["payload"], first["extra1"], first["extra2"], first["extra4"])
    equal(facts, ("created", '{"a": 1}', "x", None, "y"), "the first")
    equal((second["type"], second["payload"]), ("default", "[1]"), "the second")
    equal(third["payload"], "not json", "the third")


@scenario
def a_bad_event_fails_alone(env: Env) -> None:
    """What the server refuses is the error of its own sender; what waits beside it is stored."""
    env.queue_with_consumer()
    producer = env.driver.producer(env.dsn)
    refused(partial(producer.send, queue="nowhere", payload=1), "queue_not_found", sqlstate="PQ001")
    refused(partial(producer.send, queue="orders", special="nan"), "invalid_input")
    refused(partial(producer.send, queue="orders", text="a\0b"), "invalid_input")
    kept = producer.send(queue="orders", payload=1)
    equal(stored(env), [kept], "stored events")
    producer.close()


@scenario
def a_closed_producer_refuses(env: Env) -> None:
    """After close, which may be called twice, a send is `closed`; what was accepted is stored."""
    env.queue_with_consumer()
    producer = env.driver.producer(env.dsn, linger=0.2)
    ids = producer.send_many([1, 2, 3], tasks=3, queue="orders")
    producer.flush()
    producer.close(deadline=10)
    producer.close()
    refused(partial(producer.send, queue="orders", payload=1), "closed")
    equal(sorted(stored(env), key=int), sorted(ids, key=int), "stored events")


@scenario
def a_producer_survives_its_connection(env: Env) -> None:
    """After its backend was ended a producer connects again; nothing is stored twice."""
    env.queue_with_consumer()
    producer = env.driver.producer(env.dsn)
    first = producer.send(queue="orders", payload=1)
    env.value(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid() "
        "and backend_type = 'client backend'"
    )
    second = producer.send(queue="orders", payload=2)
    equal(stored(env), [first, second], "stored events")
    check(producer.stats()["reconnects"] >= 1, "a new connection")
    producer.close()


@scenario
def wrong_producer_options_are_refused(env: Env) -> None:
    """An unknown option, or one out of range, is `configuration` at once."""
    for options in ({"batch_size_max": 0}, {"linger": -1}, {"queue_size_max": 0}):
        refused(lambda o=options: env.driver.producer(env.dsn, **o), "configuration")


@scenario
def a_ticker_tells_what_it_does(env: Env) -> None:
    """stats says whether the ticker leads or stands by, and counts its ticks."""
    client = env.queue_with_consumer()
    first = env.driver.ticker(env.dsn)
    env.eventually(lambda: first.stats()["state"] == "leading", "the first leads")
    second = env.driver.ticker(env.dsn)
    env.eventually(lambda: second.stats()["state"] == "standby", "the second stands by")
    before = first.stats()["ticks"]
    client.send(queue="orders", payload=1)
    env.eventually(lambda: first.stats()["ticks"] > before, "a tick is counted")
    equal(first.stats()["last_error"], None, "last error")
    second.stop()
    first.stop()
