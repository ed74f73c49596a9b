"""What the consumer's loop promises beyond one handler at a time: lanes, batches, transactions, stops, readings."""

from collections import Counter
from functools import partial

from harness import Env, check, equal, refused, scenario, within

from scenarios.consumer import reasons, retries, settled


def effects(env: Env) -> list[str]:
    return [r[0] for r in env.query("select msg_id::text from conformance_effects order by msg_id")]


@scenario
def so_many_handlers_run_at_once(env: Env) -> None:
    """With `concurrency` 4 four handlers are inside together, and the batch is finished after
    the last."""
    client = env.queue_with_consumer()
    client.send_batch(queue="orders", type="t", payloads=[1, 2, 3, 4])
    env.tick()
    consumer = env.consumer({"*": "meet:4"}, poll_interval=0.2, concurrency=4)
    consumer.expect(4)
    settled(env)
    consumer.stop()
    equal((retries(env), reasons(env)), ([], []), "retries and dead letters")


@scenario
def one_handler_at_a_time_by_default(env: Env) -> None:
    """Without `concurrency` no two handlers meet, and messages keep their order."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=list(range(20)))
    env.tick()
    consumer = env.consumer({"*": "ack"}, poll_interval=0.2)
    equal([m["msg_id"] for m in consumer.expect(20)], ids, "messages in order")
    settled(env)
    consumer.stop()


@scenario
def messages_of_one_key_keep_their_order(env: Env) -> None:
    """With `ordered_by` messages of one key are handled one after the other, those of other keys
    beside them."""
    client = env.queue_with_consumer()
    sent = [
        (key, client.send(queue="orders", payload=n, extra1=key))
        for n in range(8)
        for key in ("a", "b", "c")
    ]
    env.tick()
    options = {"concurrency": 8, "ordered_by": "extra1", "poll_interval": 0.2}
    with within(6, "24 naps in three lanes"):
        consumer = env.consumer({"*": "nap"}, **options)
        messages = consumer.expect(24)
        settled(env)
    consumer.stop()
    for key in ("a", "b", "c"):
        ids = [m["msg_id"] for m in messages if m["extra1"] == key]
        equal(ids, [i for k, i in sent if k == key], f"order of {key}")
    first = [m["extra1"] for m in messages[:3]]
    equal(sorted(first), ["a", "b", "c"], "the first three")


@scenario
def a_batch_handler_gets_whole_batches(env: Env) -> None:
    """A handler of batches answers for each message; what its answer leaves out is retried."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2, 3, 4])
    env.tick()
    consumer = env.batch_consumer("ack_even", poll_interval=0.2)
    equal([m["msg_id"] for m in consumer.expect(4)], ids, "messages")
    settled(env)
    consumer.stop()
    equal(retries(env), [ids[1], ids[3]], "retries")


@scenario
def a_batch_handler_that_fails_has_all_retried(env: Env) -> None:
    """When a handler of batches fails every message of the batch comes again, with its error as
    the reason."""
    client = env.queue_with_consumer()
    client.set_queue_config(queue="orders", name="max_retries", value="0")
    client.send_batch(queue="orders", type="t", payloads=[1, 2])
    env.tick()
    consumer = env.batch_consumer("fail", poll_interval=0.2)
    consumer.expect(2)
    settled(env)
    consumer.stop()
    equal(len(reasons(env)), 2, "dead letters")
    check(all("handler failed on purpose" in r for r in reasons(env)), f"reasons {reasons(env)}")


@scenario
def a_callback_decides_on_failures(env: Env) -> None:
    """on_failure decides on a failed message in place of the options; the error is the reason."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload=1)
    env.tick()
    callbacks = {"on_failure": "dead"}
    consumer = env.driver.consumer(
        env.dsn, "orders", "mail", {"*": "fail"}, callbacks, poll_interval=0.2
    )
    consumer.expect(1)
    env.eventually(lambda: reasons(env), "the message is dead-lettered")
    consumer.stop()
    check("handler failed on purpose" in reasons(env)[0], f"reason {reasons(env)}")
    equal(retries(env), [], "retries")


@scenario
def a_callback_may_choose_the_delay(env: Env) -> None:
    """on_failure may answer a delay of its own."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload=1)
    env.tick()
    callbacks = {"on_failure": "retry"}
    consumer = env.driver.consumer(
        env.dsn, "orders", "mail", {"*": "fail"}, callbacks, poll_interval=0.2
    )
    consumer.expect(1)
    settled(env)
    consumer.stop()
    delay = env.value(
        "select extract(epoch from ev_retry_after - now())::float from pgque.retry_queue"
    )
    check(delay <= 0, f"a delay of {delay} s")


@scenario
def delays_grow_with_exponential_backoff(env: Env) -> None:
    """With retry_backoff `exponential` the delay doubles with the attempts, less jitter."""
    client = env.queue_with_consumer()
    consumer = env.consumer(
        {"*": "fail"}, poll_interval=0.2, retry_backoff="exponential", retry_after=100
    )
    client.send(queue="orders", payload=1)
    env.tick()
    for attempt, (least, most) in enumerate([(50, 100), (100, 200), (200, 400)], start=1):
        consumer.expect(attempt)
        settled(env)
        delay = env.value(
            "select extract(epoch from ev_retry_after - now())::float from pgque.retry_queue"
        )
        check(least - 15 <= delay <= most, f"delay {attempt} is {delay} s")
        env.release_retries()
    consumer.stop()


@scenario
def hooks_are_called_around_handlers(env: Env) -> None:
    """The hooks see each message before its handler, and after it with what became of it."""
    client = env.queue_with_consumer()
    kinds = {"a": "ack", "b": "retry", "c": "dead", "d": "fail"}
    ids = [client.send(queue="orders", type=kind, payload=1) for kind in kinds]
    env.tick()
    consumer = env.driver.consumer(
        env.dsn, "orders", "mail", kinds, {"hooks": True}, poll_interval=0.2
    )
    consumer.expect(4)
    settled(env)
    names = ["ack", "retry", "dead", "failed"]
    expected = [
        line
        for i, name in zip(ids, names, strict=True)
        for line in (f"before {i}", f"after {i} {name}")
    ]
    equal(consumer.hooks(), expected, "hooks")
    consumer.stop()


@scenario
def the_counters_tell_what_happened(env: Env) -> None:
    """stats counts batches, messages and what became of them; health says that the loop lives."""
    client = env.queue_with_consumer()
    kinds = {"a": "ack", "b": "retry", "c": "dead", "d": "fail"}
    consumer = env.consumer(kinds, poll_interval=0.2)
    env.eventually(lambda: consumer.health()["status"] == "idle", "the loop is idle")
    for kind in kinds:
        client.send(queue="orders", type=kind, payload=1)
    env.tick()
    consumer.expect(4)
    settled(env)
    stats = env.eventually(lambda: (s := consumer.stats())["handled"] and s, "the batch is counted")
    expected = {
        "batches": 1,
        "received": 4,
        "handled": 1,
        "failed": 1,
        "retried": 2,
        "dead": 1,
        "handed_back": 0,
        "reconnects": 0,
        "batch_size": 4,
    }
    equal({name: stats[name] for name in expected}, expected, "counters")
    check(stats["handler_seconds"] >= 0, "time in handlers")
    check({"lag_events", "lag_seconds"} <= set(stats), f"the lag is in {stats}")
    health = consumer.health()
    check(health["alive"] and health["last_error"] is None, f"health {health}")
    consumer.stop()


@scenario
def health_tells_of_the_last_error(env: Env) -> None:
    """After its backend was ended the consumer is alive again, and says what happened."""
    env.queue_with_consumer()
    consumer = env.consumer({"*": "ack"}, poll_interval=0.2)
    env.eventually(lambda: consumer.health()["status"] == "idle", "the loop is idle")
    env.value(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid() "
        "and backend_type = 'client backend'"
    )
    env.eventually(lambda: consumer.stats()["reconnects"] == 1, "a new connection")
    env.eventually(lambda: consumer.health()["alive"], "the loop is alive")
    check(consumer.health()["last_error"], "the last error")
    consumer.stop()


@scenario
def effects_commit_with_the_acknowledgement(env: Env) -> None:
    """In transactional mode what a handler writes commits with the ack, and what a failed one
    wrote is undone."""
    client = env.queue_with_consumer()
    env.side.execute("create table conformance_effects (msg_id bigint)")
    kept = client.send(queue="orders", type="good", payload=1)
    undone = client.send(queue="orders", type="bad", payload=2)
    env.tick()
    consumer = env.consumer(
        {"good": "record", "bad": "record_fail"}, poll_interval=0.2, transactional=True
    )
    consumer.expect(2)
    env.eventually(lambda: retries(env), "the batch is finished")
    consumer.stop()
    equal((effects(env), retries(env)), ([kept], [undone]), "effects and retries")


@scenario
def a_handler_cannot_end_the_consumers_transaction(env: Env) -> None:
    """commit on the transaction's client is a conflict, and the message is handled all the same."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload=1)
    env.tick()
    consumer = env.consumer({"*": "commit"}, poll_interval=0.2, transactional=True)
    consumer.expect(1)
    env.eventually(lambda: consumer.stats()["handled"] + consumer.stats()["dead"], "it is handled")
    consumer.stop()
    equal((reasons(env), retries(env)), ([], []), "dead letters and retries")


@scenario
def kill_minus_nine_leaves_each_effect_once(env: Env) -> None:
    """A transactional worker that is killed in a batch leaves nothing of it; the next one does it
    all."""
    client = env.queue_with_consumer()
    env.side.execute("create table conformance_effects (msg_id bigint)")
    ids = [client.send(queue="orders", type=t, payload=1) for t in ("a", "a", "b")]
    env.tick()
    doomed = env.start_driver()
    victim = doomed.consumer(
        env.dsn, "orders", "mail", {"a": "record", "b": "hang"}, transactional=True
    )
    victim.expect(3)
    equal(effects(env), [], "effects while the batch is open")
    doomed.kill()
    consumer = env.consumer({"*": "record"}, poll_interval=0.2, transactional=True)
    env.eventually(lambda: len(effects(env)) == 3, "the effects")
    consumer.stop()
    equal(effects(env), ids, "effects")


@scenario
def a_second_consumer_of_one_name_stands_by(env: Env) -> None:
    """Two consumers of one name never work at once; when the first goes the second takes over in
    seconds."""
    client = env.queue_with_consumer()
    first = env.consumer({"*": "ack"}, poll_interval=0.2)
    env.eventually(lambda: first.health()["status"] == "idle", "the first is at work")
    second = env.consumer({"*": "ack"}, poll_interval=0.2)
    env.eventually(lambda: second.health()["status"] == "standby", "the second stands by")
    client.send(queue="orders", payload=1)
    env.tick()
    first.expect(1)
    first.stop()
    msg_id = client.send(queue="orders", payload=2)
    env.tick()
    with within(6, "the takeover"):
        equal([m["msg_id"] for m in second.expect(1)], [msg_id], "messages of the second")
    second.stop()


@scenario
def a_stop_hands_the_rest_back(env: Env) -> None:
    """With stop_policy `handback` the messages that no handler has yet come again, and no attempt
    of theirs is counted."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2, 3])
    env.tick()
    consumer = env.consumer({"*": "slow"}, poll_interval=0.2, stop_policy="handback")
    consumer.expect(1)
    with within(8, "the stop"):
        consumer.stop()
    equal(retries(env), ids[1:], "handed back")
    env.release_retries()
    again = client.receive(queue="orders", consumer="mail")
    equal([(m["msg_id"], m["retry_count"]) for m in again], [(i, None) for i in ids[1:]], "again")


@scenario
def a_stop_drains_the_batch_by_default(env: Env) -> None:
    """Without a policy a stop has every message of the batch handled."""
    client = env.queue_with_consumer()
    client.send_batch(queue="orders", type="t", payloads=list(range(10)))
    env.tick()
    consumer = env.consumer({"*": "nap"}, poll_interval=0.2)
    consumer.expect(1)
    consumer.stop()
    equal(client.receive(queue="orders", consumer="mail"), [], "what is left")
    equal(retries(env), [], "handed back")


@scenario
def a_deadline_ends_the_drain(env: Env) -> None:
    """After stop_timeout the messages that are left go back."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=list(range(100)))
    env.tick()
    consumer = env.consumer({"*": "nap"}, poll_interval=0.2, stop_timeout=0.3)
    consumer.expect(1)
    with within(4, "the stop"):
        consumer.stop()
    back = retries(env)
    check(0 < len(back) < 100, f"{len(back)} of 100 went back")
    equal(set(back), set(ids[-len(back) :]), "what went back")


@scenario
def a_second_stop_forces(env: Env) -> None:
    """A second stop does not wait for handlers that run beside each other; their messages come
    again."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2, 3])
    env.tick()
    consumer = env.consumer({"*": "hang"}, poll_interval=0.2, concurrency=2)
    consumer.expect(2)
    with within(8, "the forced stop"):
        consumer.ask_stop()
        consumer.stop()
    equal(retries(env), ids, "handed back")


@scenario
def workers_may_be_named_automatically(env: Env) -> None:
    """With subconsumer `auto` each worker has a name of its own, and a stopped one leaves none
    behind."""
    client = env.client()
    client.create_queue(queue="orders")
    client.subscribe_subconsumer(queue="orders", consumer="mail", subconsumer="first")
    workers = [
        env.consumer({"*": "nap"}, subconsumer="auto", poll_interval=0.2, dead_interval=60)
        for _ in range(3)
    ]
    members = partial(
        env.value, "select count(*) from pgque.subscription where sub_role = 'coop_member'"
    )
    env.eventually(lambda: members() == 4, "each is registered")
    ids = []
    for n in range(9):
        ids.append(client.send(queue="orders", payload=n))
        env.tick()

    def handled() -> Counter[str]:
        return Counter(m["msg_id"] for w in workers for m in w.seen(0, 0))

    env.eventually(lambda: len(handled()) == 9, "every message is handled")
    equal(handled(), Counter(ids), "each once")
    settled(env)
    for worker in workers:
        worker.stop()
    equal(members(), 1, "members that are left")


@scenario
def a_large_batch_comes_in_pages(env: Env) -> None:
    """A batch beyond page_size is handled in parts, in order, each message once."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=list(range(250)))
    env.tick()
    consumer = env.consumer({"*": "ack"}, poll_interval=0.2, page_size=100)
    equal([m["msg_id"] for m in consumer.expect(250)], ids, "messages")
    settled(env)
    equal(consumer.stats()["batches"], 3, "pages")
    consumer.stop()


@scenario
def a_consumer_may_bring_its_ticker(env: Env) -> None:
    """With `ticker` nothing else has to run for messages to arrive, and retries with them."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "fail_once"}, poll_interval=30, retry_after=0, ticker=True)
    msg_id = client.send(queue="orders", payload=1)
    messages = consumer.expect(2)
    consumer.stop()
    equal([m["msg_id"] for m in messages], [msg_id, msg_id], "messages")


@scenario
def contradicting_options_are_refused(env: Env) -> None:
    """Options out of range, or against each other, are `configuration` at once."""
    env.queue_with_consumer()
    wrong = (
        {"concurrency": 0},
        {"page_size": 100000},
        {"ordered_by": "payload"},
        {"stop_policy": "maybe"},
        {"retry_backoff": "none"},
        {"stop_timeout": -1},
        {"transactional": True, "concurrency": 2},
    )
    for options in wrong:
        refused(partial(env.consumer, {"*": "ack"}, **options), "configuration")


@scenario
def a_consumer_may_listen_elsewhere(env: Env) -> None:
    """With `listen_dsn` the news, and the turn, come over a connection of their own."""
    client = env.queue_with_consumer()
    elsewhere = env.dsn_with(application_name="elsewhere")
    consumer = env.consumer({"*": "ack"}, listen_dsn=elsewhere)
    listens = partial(
        env.query,
        "select from pg_stat_activity join pg_locks using (pid) "
        "where application_name = 'elsewhere' and locktype = 'advisory'",
    )
    env.eventually(listens, "the turn is held there")
    client.send(queue="orders", payload=1)
    env.tick()
    with within(5, "the wake-up"):
        consumer.expect(1)
    settled(env)
    consumer.stop()
