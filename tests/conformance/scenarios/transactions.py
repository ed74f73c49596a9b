"""Transactions of our own connection, and of the caller's."""

from harness import Env, check, equal, refused, scenario


def stored(env: Env) -> int:
    return env.value("select count(*) from pgque.event_template")


@scenario
def rolled_back_send_is_never_seen(env: Env) -> None:
    """A send that was rolled back is not delivered; the one after it is."""
    client = env.queue_with_consumer()
    client.begin()
    client.send(queue="orders", payload="1")
    client.send_batch(queue="orders", type="t", payloads=[2, 3])
    client.rollback()
    msg_id = client.send(queue="orders", payload="4")
    env.tick()
    equal(
        [m["msg_id"] for m in client.receive(queue="orders", consumer="mail")], [msg_id], "messages"
    )


@scenario
def send_is_invisible_before_commit(env: Env) -> None:
    """What a transaction sends is delivered after its commit, with ticks in between."""
    client = env.queue_with_consumer()
    sender = env.client(autocommit=False)
    msg_id = sender.send(queue="orders", payload=1)
    env.tick()
    equal(client.receive(queue="orders", consumer="mail"), [], "before commit")
    sender.commit()
    env.tick()
    equal(
        [m["msg_id"] for m in client.receive(queue="orders", consumer="mail")],
        [msg_id],
        "after commit",
    )


@scenario
def receive_and_ack_in_one_transaction(env: Env) -> None:
    """A rolled-back receive and ack leave the message; a committed one is done."""
    client = env.queue_with_consumer()
    msg_id = client.send(queue="orders", payload=1)
    env.tick()
    for end, left in (("rollback", [msg_id]), ("commit", [])):
        client.begin()
        [message] = client.receive(queue="orders", consumer="mail")
        client.ack(batch_id=message["batch_id"])
        getattr(client, end)()
        equal(
            [m["msg_id"] for m in client.receive(queue="orders", consumer="mail")],
            left,
            f"after {end}",
        )


@scenario
def commit_of_a_failed_transaction_is_an_error(env: Env) -> None:
    """PostgreSQL would turn this commit into a silent rollback; the library says so, and the
    connection goes on."""
    client = env.queue_with_consumer()
    client.begin()
    client.send(queue="orders", payload=1)
    refused(
        lambda: client.execute(sql="select 1/0"), "invalid_input", op="execute", sqlstate="22012"
    )
    refused(client.commit, "server", op="commit", sqlstate="25P02")
    equal(stored(env), 0, "stored events")
    msg_id = client.send(queue="orders", payload=2)
    env.tick()
    equal(
        [m["msg_id"] for m in client.receive(queue="orders", consumer="mail")],
        [msg_id],
        "afterwards",
    )


@scenario
def a_failed_typed_call_fails_the_transaction(env: Env) -> None:
    """After a server error inside a transaction only rollback is left, and then all is well
    again."""
    client = env.queue_with_consumer()
    client.begin()
    client.send(queue="orders", payload=1)
    refused(lambda: client.send(queue="nowhere", payload=1), "queue_not_found", op="send")
    refused(lambda: client.send(queue="orders", payload=1), "server", op="send", sqlstate="25P02")
    client.rollback()
    client.send(queue="orders", payload=2)
    equal(stored(env), 1, "stored events")


@scenario
def a_commit_that_fails_at_its_end_is_an_error(env: Env) -> None:
    """A constraint that is checked at commit undoes the whole transaction, and commit says so."""
    client = env.queue_with_consumer()
    client.execute(sql="create table t (n integer unique deferrable initially deferred)")
    client.begin()
    client.send(queue="orders", payload=1)
    client.execute(sql="insert into t values (1), (1)")
    refused(client.commit, "conflict", op="commit", sqlstate="23505")
    equal(stored(env), 0, "stored events")
    client.send(queue="orders", payload=2)
    equal(stored(env), 1, "stored events afterwards")


@scenario
def a_serialisation_failure_may_be_tried_again(env: Env) -> None:
    """Two transactions that cannot both be: the loser's error is a conflict that is retriable."""
    client = env.queue_with_consumer()
    client.execute(sql="create table t (n integer)")
    client.execute(sql="insert into t values (1)")
    client.begin()
    client.execute(sql="set transaction isolation level repeatable read")
    client.send(queue="orders", payload=1)
    client.rows("select n from t")
    env.side.execute("update t set n = 2")
    error = refused(
        lambda: client.execute(sql="update t set n = 3"), "conflict", op="execute", sqlstate="40001"
    )
    equal(error.retriable, True, "retriable")
    client.rollback()
    equal(stored(env), 0, "stored events")


@scenario
def begin_inside_a_transaction_is_a_conflict(env: Env) -> None:
    """begin does not nest; the open transaction is not harmed."""
    client = env.queue_with_consumer()
    client.begin()
    client.send(queue="orders", payload=1)
    refused(client.begin, "conflict", op="begin")
    client.commit()
    equal(stored(env), 1, "stored events")
    # Without a transaction both do nothing.
    client.commit()
    client.rollback()


@scenario
def send_joins_the_callers_own_transaction(env: Env) -> None:
    """On the caller's connection a send and the caller's own insert commit together and roll
    back together."""
    env.queue_with_consumer()
    env.side.execute("create table public.orders (id integer)")
    caller = env.driver.connect_caller(env.dsn)
    for end, expected in (("rollback", 0), ("commit", 1)):
        caller.caller_execute(sql="begin")
        caller.caller_execute(sql="insert into public.orders values (1)")
        caller.send(queue="orders", type="t", payload={"order": 1}, extra1="x")
        equal(stored(env), 0, "stored events before the end")
        caller.caller_execute(sql=end)
        equal(env.value("select count(*) from public.orders"), expected, f"rows after {end}")
        equal(stored(env), expected, f"events after {end}")


@scenario
def the_callers_connection_can_do_everything(env: Env) -> None:
    """Typed calls of every kind work on the caller's connection with the same results."""
    env.client().create_queue(queue="orders")
    caller = env.driver.connect_caller(env.dsn)

    def committed(call):
        caller.caller_execute(sql="begin")
        result = call()
        caller.caller_execute(sql="commit")
        return result

    equal(committed(lambda: caller.subscribe(queue="orders", consumer="mail")), 1, "subscribe")
    texts = ['a "quoted" \\ text', "", None, "NULL", "{x,y}", "100% $1"]
    ids = committed(lambda: caller.send_batch(queue="orders", type=None, texts=texts))
    ids += committed(lambda: caller.send_batch(queue="orders", type="t", payloads=[{"a": '"\\'}]))
    env.tick()
    messages = committed(lambda: caller.receive(queue="orders", consumer="mail"))
    equal([m["msg_id"] for m in messages], ids, "ids")
    equal([m["payload"] for m in messages], [*texts, '{"a": "\\"\\\\"}'], "payloads")
    equal([m["type"] for m in messages], [None] * 6 + ["t"], "types")
    micros = env.value(
        "select (extract(epoch from max(ev_time)) * 1000000)::bigint::text from pgque.event_template"
    )
    equal(messages[-1]["created_at"], micros, "created_at")
    verdicts = [
        {"msg_id": ids[0], "verdict": "retry", "after": 5, "reason": "later"},
        {"msg_id": ids[1], "verdict": "dead", "reason": 'no "use"'},
    ]
    batch_id = messages[0]["batch_id"]
    equal(committed(lambda: caller.finish(batch_id=batch_id, verdicts=verdicts)), 1, "finish")
    [row] = committed(lambda: caller.dlq_inspect(queue="orders"))["rows"]
    check('no "use"' in row, "reason")
    equal(env.query("select ev_id::text from pgque.retry_queue"), [(ids[0],)], "retries")
    check(committed(lambda: caller.queue_info(queue="orders"))["rows"], "queue_info")


@scenario
def errors_are_the_same_on_the_callers_connection(env: Env) -> None:
    """Errors on the caller's connection have the same kind and state, and their transaction is
    the caller's."""
    env.queue_with_consumer()
    caller = env.driver.connect_caller(env.dsn)
    caller.caller_execute(sql="begin")
    refused(
        lambda: caller.send(queue="orders", payload="hello"),
        "invalid_input",
        op="send",
        sqlstate=None,
        says="payload",
    )
    msg_id = caller.send(queue="orders", payload=1)
    caller.caller_execute(sql="commit")
    for call, kind, op, sqlstate in (
        (lambda: caller.send(queue="nowhere", payload=1), "queue_not_found", "send", "PQ001"),
        (lambda: caller.nack(batch_id="77", msg_id="1"), "batch_not_found", "nack", "PQ003"),
    ):
        caller.caller_execute(sql="begin")
        refused(call, kind, op=op, sqlstate=sqlstate)
        caller.caller_execute(sql="rollback")
    env.tick()
    caller.caller_execute(sql="begin")
    equal(
        [m["msg_id"] for m in caller.receive(queue="orders", consumer="mail")],
        [msg_id],
        "afterwards",
    )
    caller.caller_execute(sql="rollback")


@scenario
def closing_leaves_the_callers_connection_open(env: Env) -> None:
    """Closing a client on the caller's connection does not close that connection."""
    env.queue_with_consumer()
    caller = env.driver.connect_caller(env.dsn)
    caller.close()
    caller.caller_execute(sql="select 1")
