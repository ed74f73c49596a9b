"""The consumer that runs handlers."""

import statistics
import time
from collections import Counter
from functools import partial

import psycopg
from harness import Env, check, equal, refused, scenario, within


def open_batches(env: Env) -> int:
    return env.value("select count(*) from pgque.subscription where sub_batch is not null")


def retries(env: Env) -> list[str]:
    return [row[0] for row in env.query("select ev_id::text from pgque.retry_queue order by ev_id")]


def settled(env: Env) -> None:
    env.eventually(lambda: open_batches(env) == 0, "every batch is finished")


def reasons(env: Env) -> list[str]:
    return [row[0] for row in env.query("select dl_reason from pgque.dead_letter order by ev_id")]


@scenario
def handlers_are_chosen_by_type(env: Env) -> None:
    """A message goes to the handler of its type, else to `*`; NULL and unknown types go to `*`
    as well."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"created": "ack", "deleted": "dead", "*": "retry"}, poll_interval=0.2)
    created = client.send(queue="orders", type="created", payload={"n": 1}, extra1="x")
    deleted = client.send(queue="orders", type="deleted", payload=2)
    unknown = client.send(queue="orders", type="Created", payload=3)
    [null] = client.send_batch(queue="orders", type=None, payloads=[4])
    env.tick()
    messages = consumer.expect(4)
    settled(env)
    consumer.stop()
    equal([m["msg_id"] for m in messages], [created, deleted, unknown, null], "messages")
    equal((messages[0]["payload"], messages[0]["extra1"]), ('{"n": 1}', "x"), "contents")
    equal(messages[3]["type"], None, "type of the last")
    equal(retries(env), [unknown, null], "retries by `*`")
    equal(
        env.query("select ev_id::text, dl_reason from pgque.dead_letter"),
        [(deleted, "beyond repair")],
        "dead",
    )


@scenario
def an_unknown_type_is_nacked(env: Env) -> None:
    """Without a handler for its type a message is retried after 60 s, not lost; the others are
    handled."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"known": "ack"}, poll_interval=0.2)
    unknown = client.send(queue="orders", type="unknown", payload=1)
    known = client.send(queue="orders", type="known", payload=2)
    env.tick()
    equal([m["msg_id"] for m in consumer.expect(1)], [known], "handled messages")
    settled(env)
    consumer.stop()
    equal(retries(env), [unknown], "retries")
    delay = env.value(
        "select extract(epoch from ev_retry_after - now())::float from pgque.retry_queue"
    )
    check(45 < delay <= 60, f"a delay of {delay} s")


@scenario
def an_unknown_type_is_acked_by_policy(env: Env) -> None:
    """With unknown_handler_policy `ack` a message without a handler is done."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"known": "ack"}, poll_interval=0.2, unknown_handler_policy="ack")
    client.send(queue="orders", type="unknown", payload=1)
    client.send(queue="orders", type="known", payload=2)
    env.tick()
    consumer.expect(1)
    settled(env)
    consumer.stop()
    equal(retries(env), [], "retries")
    env.tick()
    equal(client.receive(queue="orders", consumer="mail"), [], "what is left")


@scenario
def a_failed_handler_is_retried(env: Env) -> None:
    """A message whose handler failed once comes again and succeeds; its neighbours are handled
    once."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"flaky": "fail_once", "*": "ack"}, poll_interval=0.2, retry_after=0)
    flaky = client.send(queue="orders", type="flaky", payload=1)
    steady = client.send(queue="orders", type="steady", payload=2)
    env.tick()
    consumer.expect(2)
    env.eventually(lambda: retries(env) == [flaky], "the failed message waits for its retry")
    env.release_retries()
    messages = consumer.expect(3)
    settled(env)
    consumer.stop()
    equal(
        [(m["msg_id"], m["retry_count"]) for m in messages],
        [(flaky, None), (steady, None), (flaky, 1)],
        "seen",
    )
    equal((retries(env), reasons(env)), ([], []), "retries and dead letters")


@scenario
def a_failing_handlers_text_is_the_dead_letters_reason(env: Env) -> None:
    """Past max_retries the text of the handler's error is found in the dead letter."""
    client = env.queue_with_consumer()
    client.set_queue_config(queue="orders", name="max_retries", value="1")
    consumer = env.consumer({"*": "fail"}, poll_interval=0.2, retry_after=0)
    client.send(queue="orders", payload=1)
    env.tick()
    consumer.expect(1)
    env.eventually(lambda: retries(env), "the message waits for its retry")
    env.release_retries()
    consumer.expect(2)
    env.eventually(lambda: reasons(env), "the message is dead-lettered")
    consumer.stop()
    [reason] = reasons(env)
    check("handler failed on purpose" in reason, f"reason {reason!r}")


@scenario
def failed_messages_wait_retry_after(env: Env) -> None:
    """The consumer's retry_after is the delay of a failed message; 60 s if not given."""
    client = env.queue_with_consumer()
    client.subscribe(queue="orders", consumer="slow")
    env.consumer({"*": "fail"}, poll_interval=0.2)
    env.consumer({"*": "fail"}, name="slow", poll_interval=0.2, retry_after=600)
    client.send(queue="orders", payload=1)
    env.tick()
    env.eventually(lambda: len(retries(env)) == 2, "both consumers retry")
    rows = env.query(
        "select extract(epoch from ev_retry_after - now())::float from pgque.retry_queue order by 1"
    )
    check(45 < rows[0][0] <= 60, f"a default delay of {rows[0][0]} s")
    check(585 < rows[1][0] <= 600, f"a given delay of {rows[1][0]} s")


@scenario
def verdicts_of_handlers_are_obeyed(env: Env) -> None:
    """A handler's verdict of retry or dead counts, with its delay and its reason, past the retry
    limit too."""
    client = env.queue_with_consumer()
    client.set_queue_config(queue="orders", name="max_retries", value="0")
    consumer = env.consumer({"retry": "retry", "dead": "dead", "ok": "ack"}, poll_interval=0.2)
    for event_type in ("retry", "dead", "ok"):
        client.send(queue="orders", type=event_type, payload=1)
    env.tick()
    consumer.expect(3)
    settled(env)
    consumer.stop()
    equal(reasons(env), ["later", "beyond repair"], "reasons")


@scenario
def a_notification_wakes_the_consumer(env: Env) -> None:
    """An idle consumer with a poll interval of 30 s handles a message as soon as it is ticked."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "ack"}, poll_interval=30)
    for count in (1, 2):
        time.sleep(1)
        client.send(queue="orders", payload=1)
        env.tick()
        with within(3, "the wake-up"):
            consumer.expect(count, timeout=5)
        settled(env)
    consumer.stop()


@scenario
def the_default_poll_interval_wakes_too(env: Env) -> None:
    """With no option given at all a consumer handles what comes, at once."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "ack"})
    time.sleep(0.5)
    client.send_batch(queue="orders", type="t", payloads=list(range(250)))
    env.tick()
    consumer.expect(250, timeout=5)
    settled(env)
    consumer.stop()


@scenario
def polling_finds_what_no_notification_told(env: Env) -> None:
    """Where the notification is lost the poll interval finds the message."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "ack"}, poll_interval=0.5)
    time.sleep(0.7)
    client.send(queue="orders", payload=1)
    # A tick is a row; written by hand, nobody is notified.
    env.side.execute(
        "insert into pgque.tick (tick_queue, tick_id, tick_event_seq) "
        "select queue_id, nextval(queue_tick_seq::regclass), "
        "(select max(ev_id) from pgque.event_template) from pgque.queue"
    )
    consumer.expect(1, timeout=5)
    consumer.stop()


@scenario
def a_backlog_is_drained_without_waiting(env: Env) -> None:
    """Twenty batches that wait already are handled one after the other, not one each poll
    interval."""
    client = env.queue_with_consumer()
    ids = []
    for n in range(20):
        ids.append(client.send(queue="orders", payload=n))
        env.tick()
        # Windows without events lie between.
        env.tick()
    consumer = env.consumer({"*": "ack"}, poll_interval=30)
    with within(8, "the backlog"):
        messages = consumer.expect(20)
    equal([m["msg_id"] for m in messages], ids, "messages in order")
    equal(len({m["batch_id"] for m in messages}), 20, "batches")
    settled(env)
    consumer.stop()


@scenario
def an_idle_consumer_stops_quickly(env: Env) -> None:
    """stop ends an idle run within 50 ms, as a rule, and nothing stays open."""
    env.queue_with_consumer()

    def seconds() -> float:
        consumer = env.consumer({"*": "ack"}, poll_interval=30)
        env.eventually(lambda: consumer.health()["status"] == "idle", "the loop is idle")
        began = time.monotonic()
        consumer.stop()
        return time.monotonic() - began

    # A machine that is busy with other things may be slow for a while, but not always.
    medians = (statistics.median(seconds() for _ in range(11)) for _ in range(3))
    check(any(median <= 0.05 for median in medians), "no median of a stop's time within 50 ms")
    equal(open_batches(env), 0, "open batches")


@scenario
def stop_finishes_what_was_begun(env: Env) -> None:
    """stop during a handler lets it end; what was handled is settled or comes again, and nothing
    is lost."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "slow"}, poll_interval=0.2)
    msg_id = client.send(queue="orders", payload=1)
    env.tick()
    consumer.expect(1)
    with within(10, "stop"):
        consumer.stop()
    env.tick()
    left = [m["msg_id"] for m in client.receive(queue="orders", consumer="mail")]
    check(left in ([], [msg_id]), f"left: {left}")
    equal(left, [], "what is left of a batch whose only handler ended")


@scenario
def a_terminated_backend_is_replaced(env: Env) -> None:
    """When its backend is ended an idle consumer connects again and misses nothing."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "ack"}, poll_interval=30)
    ids = [client.send(queue="orders", payload=1)]
    env.tick()
    consumer.expect(1)
    settled(env)
    client.close()
    terminate_all(env)
    sender = env.client()
    ids.append(sender.send(queue="orders", payload=2))
    env.tick()
    equal([m["msg_id"] for m in consumer.expect(2)], ids, "messages")
    settled(env)
    time.sleep(0.5)
    ids.append(sender.send(queue="orders", payload=3))
    env.tick()
    with within(4, "the wake-up on the new connection"):
        equal([m["msg_id"] for m in consumer.expect(3)], ids, "messages")
    consumer.stop()


def terminate_all(env: Env) -> None:
    ended = env.value(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
    check(ended >= 1, "there is a backend to end")


@scenario
def a_backend_terminated_under_a_handler_loses_nothing(env: Env) -> None:
    """When the backend is ended while a handler runs, the batch comes again or is settled, and
    the next one too."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"slow": "slow", "*": "ack"}, poll_interval=0.5)
    first = client.send(queue="orders", type="slow", payload=1)
    env.tick()
    consumer.expect(1)
    client.close()
    terminate_all(env)
    second = env.client().send(queue="orders", payload=2)
    env.tick()
    env.eventually(
        lambda: second in [m["msg_id"] for m in consumer.seen(0, 0)], "the next message", timeout=25
    )
    settled(env)
    seen = consumer.seen(0, 0)
    consumer.stop()
    check(first in [m["msg_id"] for m in seen], "the first message was handled")
    env.tick()
    equal(env.client().receive(queue="orders", consumer="mail"), [], "what is left")


@scenario
def a_killed_consumers_batch_comes_again(env: Env) -> None:
    """After kill -9 in the middle of a handler the same batch is delivered to the next run,
    whole."""
    client = env.queue_with_consumer()
    doomed = env.start_driver()
    victim = doomed.consumer(env.dsn, "orders", "mail", {"*": "hang"}, poll_interval=0.2)
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2])
    env.tick()
    victim.expect(1)
    doomed.kill()
    consumer = env.consumer({"*": "ack"}, poll_interval=0.2)
    equal([m["msg_id"] for m in consumer.expect(2)], ids, "messages")
    settled(env)
    consumer.stop()


@scenario
def no_transaction_is_open_while_a_handler_runs(env: Env) -> None:
    """While user code runs the consumer's sessions are idle and hold no transaction."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "slow"}, poll_interval=0.2)
    client.send(queue="orders", payload=1)
    env.tick()
    consumer.expect(1)
    for _ in range(10):
        busy = env.query(
            "select state, query from pg_stat_activity where datname = current_database() "
            "and pid <> pg_backend_pid() and backend_type = 'client backend' and xact_start is not null"
        )
        equal(busy, [], "sessions with a transaction")
        equal(open_batches(env), 1, "open batches")
        time.sleep(0.1)
    settled(env)
    consumer.stop()


@scenario
def a_run_for_an_unknown_consumer_ends(env: Env) -> None:
    """A consumer name or queue that does not exist ends the run with the same error as receive."""
    env.queue_with_consumer()
    nobody = env.consumer({"*": "ack"}, name="nobody")
    nowhere = env.consumer({"*": "ack"}, queue="nowhere")
    time.sleep(2)
    refused(nobody.stop, "consumer_not_found", op="receive", sqlstate="PQ002")
    refused(nowhere.stop, "queue_not_found", op="receive", sqlstate="PQ001")


@scenario
def a_run_with_too_small_a_limit_ends(env: Env) -> None:
    """A batch above max_messages ends the run with overflow; nothing is advanced."""
    client = env.queue_with_consumer()
    client.send_batch(queue="orders", type="t", payloads=[1, 2, 3])
    env.tick()
    consumer = env.consumer({"*": "ack"}, max_messages=2, poll_interval=0.2)
    time.sleep(2)
    error = refused(consumer.stop, "overflow", op="receive", sqlstate="54000")
    equal(error.configured_limit, 2, "configured_limit")
    equal(len(client.receive(queue="orders", consumer="mail")), 3, "messages")


@scenario
def wrong_options_are_refused(env: Env) -> None:
    """dead_interval without subconsumer, a limit of 0 and an unknown option are `configuration`
    at once."""
    env.queue_with_consumer()
    for options in ({"dead_interval": 5}, {"max_messages": 0}, {"poll_interval": -1}):
        refused(partial(env.consumer, {"*": "ack"}, **options), "configuration")
    refused(lambda: env.consumer({"*": "ack"}, unknown_handler_policy="maybe"), "configuration")


@scenario
def a_consumer_without_a_server_keeps_trying(env: Env) -> None:
    """While the database refuses connections the consumer waits; when it is back the messages
    are handled."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "ack"}, poll_interval=30)
    time.sleep(0.5)
    msg_id = client.send(queue="orders", payload=1)
    client.close()
    env.value("select 1")  # the side connection is open before the door closes
    with psycopg.connect(env.admin_dsn, autocommit=True) as admin:
        admin.execute(f"alter database {env.database} allow_connections false")
        terminate_all(env)
        time.sleep(1.5)
        env.tick()
        admin.execute(f"alter database {env.database} allow_connections true")
    equal([m["msg_id"] for m in consumer.expect(1, timeout=20)], [msg_id], "messages")
    consumer.stop()


@scenario
def options_may_be_interval_text(env: Env) -> None:
    """A consumer's times may be written as PostgreSQL writes intervals."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "fail"}, poll_interval=0.2, retry_after="10 minutes")
    client.send(queue="orders", payload=1)
    env.tick()
    consumer.expect(1)
    settled(env)
    consumer.stop()
    delay = env.value(
        "select extract(epoch from ev_retry_after - now())::float from pgque.retry_queue"
    )
    check(585 < delay <= 600, f"a delay of {delay} s")


@scenario
def a_bad_connection_string_is_refused(env: Env) -> None:
    """A consumer with a connection string that cannot be read is `configuration` at once."""
    refused(
        lambda: env.driver.consumer("host=localhost nonsense=1", "orders", "mail", {"*": "ack"}),
        "configuration",
        says="nonsense",
    )


@scenario
def nothing_is_lost_in_a_storm(env: Env) -> None:
    """While backends are ended again and again, every committed message is handled at least once."""
    client = env.queue_with_consumer()
    client.close()
    ticker = env.driver.ticker(env.dsn, retry_interval=0.2)
    consumer = env.consumer({"*": "fail_once"}, poll_interval=0.5, retry_after=0)
    sent = []
    for _ in range(5):
        # A program of its own, so that a send that lost its connection is told apart.
        sender = env.client()
        for n in range(40):
            sent.append(sender.send(queue="orders", payload=n))
        sender.close()
        terminate_all(env)
        time.sleep(0.3)

    def succeeded() -> set[str]:
        counts = Counter(m["msg_id"] for m in consumer.seen(0, 0))
        return {msg_id for msg_id, count in counts.items() if count >= 2}

    env.eventually(
        lambda: succeeded() >= set(sent),
        "every message is handled, after it failed once",
        timeout=40,
    )
    settled(env)
    consumer.stop()
    ticker.stop()
    equal((retries(env), reasons(env)), ([], []), "retries and dead letters")
