"""Errors: the same kind, number, SQLSTATE and operation in every language, and the connection goes on."""

import socket
import time
from functools import partial

import psycopg
from harness import Client, Env, Failure, check, equal, refused, scenario

NUL = "a\0b"


def usable(env: Env, client: Client) -> None:
    """The connection still works, and exactly what was sent before is there."""
    msg_id = client.send(queue="orders", payload="1")
    env.tick()
    messages = client.receive(queue="orders", consumer="mail")
    equal([m["msg_id"] for m in messages], [msg_id], "messages after the errors")


@scenario
def unknown_queue(env: Env) -> None:
    """A queue that does not exist is queue_not_found, in every call that needs it."""
    client = env.queue_with_consumer()
    for call, op in (
        (lambda: client.send(queue="nowhere", payload=1), "send"),
        (lambda: client.send(queue="nowhere", text="x"), "send"),
        (lambda: client.send(queue="nowhere", type="t", payload=1), "send"),
        (lambda: client.send(queue="nowhere", type="t", payload=1, extra1="x"), "send"),
        (lambda: client.send_batch(queue="nowhere", type="t", payloads=[1]), "send_batch"),
        (lambda: client.subscribe(queue="nowhere", consumer="mail"), "subscribe"),
        (
            lambda: client.subscribe_subconsumer(queue="nowhere", consumer="g", subconsumer="w"),
            "subscribe_subconsumer",
        ),
        (
            lambda: client.receive_coop(queue="nowhere", consumer="g", subconsumer="w"),
            "receive_coop",
        ),
        (lambda: client.ticker(queue="nowhere"), "ticker"),
        (lambda: client.force_next_tick(queue="nowhere"), "force_next_tick"),
        (lambda: client.drop_queue(queue="nowhere"), "drop_queue"),
    ):
        error = refused(call, "queue_not_found", op=op, sqlstate="PQ001")
        equal(error.retriable, False, "retriable")
    usable(env, client)


@scenario
def unknown_consumer(env: Env) -> None:
    """A consumer that is not subscribed is consumer_not_found; leaving it gives 0."""
    client = env.queue_with_consumer()
    refused(
        lambda: client.receive(queue="orders", consumer="nobody"),
        "consumer_not_found",
        op="receive",
        sqlstate="PQ002",
    )
    equal(client.unsubscribe(queue="orders", consumer="nobody"), 0, "unsubscribe")
    equal(
        client.touch_subconsumer(queue="orders", consumer="nobody", subconsumer="w"),
        0,
        "touch_subconsumer",
    )
    equal(
        client.unsubscribe_subconsumer(queue="orders", consumer="nobody", subconsumer="w"),
        0,
        "unsubscribe_sub…",
    )
    usable(env, client)


@scenario
def unknown_batch(env: Env) -> None:
    """nack of a batch that is not open is batch_not_found, of a message that is not in it
    invalid_input."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload=1)
    env.tick()
    [message] = client.receive(queue="orders", consumer="mail")
    batch_id = message["batch_id"]
    refused(
        lambda: client.nack(batch_id=batch_id, msg_id="4711"),
        "invalid_input",
        op="nack",
        sqlstate="PQ004",
    )
    client.ack(batch_id=batch_id)
    for gone in (batch_id, "987654321", "0", "-1"):
        refused(
            partial(client.nack, batch_id=gone, msg_id=message["msg_id"]),
            "batch_not_found",
            op="nack",
        )
    equal(env.value("select count(*) from pgque.retry_queue"), 0, "retries")
    usable(env, client)


@scenario
def unknown_dead_letter(env: Env) -> None:
    """Replaying what is not there is invalid_input; looking at an unknown queue shows nothing."""
    client = env.queue_with_consumer()
    refused(lambda: client.dlq_replay(dead_letter_id="4711"), "invalid_input", op="dlq_replay")
    refused(
        lambda: client.dlq_redeliver(dead_letter_id="4711"), "invalid_input", op="dlq_redeliver"
    )
    refused(
        lambda: client.dlq_redeliver_all(queue="nowhere"), "queue_not_found", op="dlq_redeliver_all"
    )
    equal(client.dlq_inspect(queue="nowhere")["rows"], [], "dlq_inspect")
    nothing = {"replayed": 0, "failed": 0, "first_error": None}
    equal(client.dlq_replay_all(queue="nowhere"), nothing, "dlq_replay_all")
    usable(env, client)


@scenario
def calls_against_the_state_are_conflicts(env: Env) -> None:
    """A paused queue is not ticked, and a group's cursor is not received from by an ordinary call."""
    client = env.queue_with_consumer()
    client.subscribe_subconsumer(queue="orders", consumer="group", subconsumer="w")
    for consumer in ("group", "group.w"):
        call = partial(client.receive, queue="orders", consumer=consumer)
        refused(call, "conflict", op="receive", sqlstate="PQ005")
    client.set_queue_config(queue="orders", name="ticker_paused", value="true")
    for op in ("ticker", "force_next_tick"):
        call = partial(getattr(client, op), queue="orders")
        equal(refused(call, "conflict", op=op, sqlstate="PQ005").retriable, False, "retriable")
    client.set_queue_config(queue="orders", name="ticker_paused", value="false")
    usable(env, client)


@scenario
def overflow(env: Env) -> None:
    """A batch above the limit is an overflow with all its facts; nothing is advanced, a larger
    limit gets it all."""
    client = env.queue_with_consumer()
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2, 3, 4])
    env.tick()
    for _ in range(2):
        error = refused(
            lambda: client.receive(queue="orders", consumer="mail", max_messages=3),
            "overflow",
            op="receive",
            sqlstate="54000",
        )
        equal(error.configured_limit, 3, "configured_limit")
        equal(error.retriable, False, "retriable")
        check(error.hint, "a hint tells what to do")
    equal(env.value("select sub_batch from pgque.subscription"), None, "open batch")
    messages = client.receive(queue="orders", consumer="mail", max_messages=4)
    equal([m["msg_id"] for m in messages], ids, "all of it")
    error = refused(
        lambda: client.receive(queue="orders", consumer="mail", max_messages=1), "overflow"
    )
    equal(error.configured_limit, 1, "configured_limit of an open batch")
    equal(client.ack(batch_id=messages[0]["batch_id"]), 1, "the open batch stays open")
    usable(env, client)


@scenario
def limits_out_of_range(env: Env) -> None:
    """Zero, negative and huge limits are invalid_input, before the server is asked."""
    client = env.queue_with_consumer()
    coop = {"queue": "orders", "consumer": "group", "subconsumer": "w"}
    for limit in (0, -1, 2147483648, 4294967297):
        for call, op in (
            (
                partial(client.receive, queue="orders", consumer="mail", max_messages=limit),
                "receive",
            ),
            (partial(client.receive_coop, **coop, max_messages=limit), "receive_coop"),
        ):
            refused(call, "invalid_input", op=op, sqlstate=None, says="max_messages")
    for limit in (-1, 2147483648):
        refused(
            partial(client.dlq_inspect, queue="orders", limit=limit),
            "invalid_input",
            op="dlq_inspect",
            sqlstate=None,
            says="limit",
        )
    equal(
        client.receive(queue="orders", consumer="mail", max_messages=2147483647),
        [],
        "the largest limit",
    )
    usable(env, client)


@scenario
def delays_out_of_range(env: Env) -> None:
    """A negative delay, NaN and infinity are invalid_input before the server is asked, nonsense
    text after."""
    client = env.queue_with_consumer()
    client.send(queue="orders", payload=1)
    env.tick()
    [message] = client.receive(queue="orders", consumer="mail")
    ids = {"batch_id": message["batch_id"], "msg_id": message["msg_id"]}
    for delay in (-1, -0.001, {"special": "nan"}, {"special": "infinity"}, 1e300):
        refused(
            partial(client.nack, **ids, retry_after=delay),
            "invalid_input",
            op="nack",
            sqlstate=None,
            says="retry_after",
        )
        verdict = {"msg_id": ids["msg_id"], "verdict": "retry", "after": delay}
        refused(
            partial(client.finish, batch_id=ids["batch_id"], verdicts=[verdict]),
            "invalid_input",
            op="finish",
            sqlstate=None,
            says="after",
        )
    refused(
        lambda: client.nack(**ids, retry_after="a while"),
        "invalid_input",
        op="nack",
        sqlstate="22007",
    )
    refused(
        lambda: client.dlq_purge(queue="orders", older_than=-1),
        "invalid_input",
        op="dlq_purge",
        sqlstate=None,
    )
    equal(env.value("select count(*) from pgque.retry_queue"), 0, "retries")
    equal(client.ack(batch_id=ids["batch_id"]), 1, "the batch is still open")
    usable(env, client)


@scenario
def nul_in_any_text_is_refused(env: Env) -> None:
    """U+0000 in any argument is invalid_input with the argument's name, and costs no
    transaction."""
    client = env.queue_with_consumer()
    client.begin()
    member = {"queue": "orders", "consumer": "c", "subconsumer": "w"}
    calls = [
        ("send", {"queue": NUL, "payload": 1}, "queue"),
        ("send", {"queue": "orders", "type": NUL, "payload": 1}, "type"),
        ("send", {"queue": "orders", "text": NUL}, "payload"),
        ("send", {"queue": "orders", "type": "t", "text": NUL}, "payload"),
        *[
            ("send", {"queue": "orders", "payload": 1, f"extra{i}": NUL}, f"extra{i}")
            for i in range(1, 5)
        ],
        ("send_batch", {"queue": NUL, "type": "t", "payloads": [1]}, "queue"),
        ("send_batch", {"queue": "orders", "type": NUL, "payloads": [1]}, "type"),
        ("send_batch", {"queue": "orders", "type": "t", "texts": ["x", NUL]}, "payloads"),
        ("subscribe", {"queue": NUL, "consumer": "c"}, "queue"),
        ("subscribe", {"queue": "orders", "consumer": NUL}, "consumer"),
        ("unsubscribe", {"queue": "orders", "consumer": NUL}, "consumer"),
        *[("subscribe_subconsumer", member | {name: NUL}, name) for name in member],
        *[("unsubscribe_subconsumer", member | {name: NUL}, name) for name in member],
        *[("touch_subconsumer", member | {name: NUL}, name) for name in member],
        *[("receive_coop", member | {name: NUL}, name) for name in member],
        ("receive_coop", member | {"dead_interval": NUL}, "dead_interval"),
        ("receive", {"queue": NUL, "consumer": "mail"}, "queue"),
        ("receive", {"queue": "orders", "consumer": NUL}, "consumer"),
        ("nack", {"batch_id": "1", "msg_id": "1", "reason": NUL}, "reason"),
        ("nack", {"batch_id": "1", "msg_id": "1", "retry_after": NUL}, "retry_after"),
        (
            "finish",
            {"batch_id": "1", "verdicts": [{"msg_id": "1", "verdict": "dead", "reason": NUL}]},
            "reason",
        ),
        ("ticker", {"queue": NUL}, "queue"),
        ("force_next_tick", {"queue": NUL}, "queue"),
        ("create_queue", {"queue": NUL}, "queue"),
        ("drop_queue", {"queue": NUL}, "queue"),
        ("set_queue_config", {"queue": NUL, "name": "ticker_max_count", "value": "1"}, "queue"),
        ("set_queue_config", {"queue": "orders", "name": NUL, "value": "1"}, "name"),
        (
            "set_queue_config",
            {"queue": "orders", "name": "ticker_max_count", "value": NUL},
            "value",
        ),
        ("queue_info", {"queue": NUL}, "queue"),
        ("consumer_info", {"queue": NUL}, "queue"),
        ("consumer_info", {"consumer": NUL}, "consumer"),
        ("dlq_inspect", {"queue": NUL}, "queue"),
        ("dlq_replay_all", {"queue": NUL}, "queue"),
        ("dlq_redeliver_all", {"queue": NUL}, "queue"),
        ("dlq_redeliver_all", {"queue": "orders", "consumer": NUL}, "consumer"),
        ("dlq_purge", {"queue": NUL}, "queue"),
        ("dlq_purge", {"queue": "orders", "older_than": NUL}, "older_than"),
        ("execute", {"sql": "select 1 -- " + NUL}, "sql"),
        ("execute", {"sql": "select $1::text", "params": [NUL]}, "parameter"),
        ("listen", {"channel": NUL}, "channel"),
        ("unlisten", {"channel": NUL}, "channel"),
    ]
    for op, arguments, name in calls:
        refused(
            partial(getattr(client, op), **arguments),
            "invalid_input",
            op=op,
            sqlstate=None,
            says=name,
        )
    client.commit()
    usable(env, client)


@scenario
def queue_name_too_long(env: Env) -> None:
    """57 bytes are a queue name, 58 are invalid_input, counted in bytes."""
    client = env.queue_with_consumer()
    for name in ("x" * 58, "é" * 29):
        refused(
            partial(client.create_queue, queue=name), "invalid_input", op="create_queue", says="57"
        )
    equal(client.create_queue(queue="é" * 28 + "x"), 1, "a name of 57 bytes")
    usable(env, client)


@scenario
def closed_client(env: Env) -> None:
    """Every call on a closed client is `closed` and says so; closing twice is fine."""
    client = env.queue_with_consumer()
    client.close()
    client.close()
    for call, op in (
        (lambda: client.send(queue="orders", payload=1), "send"),
        (lambda: client.receive(queue="orders", consumer="mail"), "receive"),
        (lambda: client.execute(sql="select 1"), "execute"),
        (client.begin, "begin"),
        (lambda: client.listen(channel="x"), "listen"),
    ):
        equal(refused(call, "closed", op=op, sqlstate=None).retriable, False, "retriable")
    usable(env, env.client())


@scenario
def refused_port(env: Env) -> None:
    """A port where nobody listens is `connection`, to be tried again, and soon known."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    dsn = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    error = refused(partial(env.driver.connect, dsn), "connection", op="connect", sqlstate=None)
    equal(error.retriable, True, "retriable")


@scenario
def malformed_dsn(env: Env) -> None:
    """A connection string that cannot be read is `configuration`."""
    for dsn in (
        "host=localhost nonsense=1",
        "postgresql://host:port/db",
        "host",
        "postgresql://h/d?nonsense=1",
    ):
        error = refused(
            partial(env.driver.connect, dsn), "configuration", op="connect", sqlstate=None
        )
        equal(error.retriable, False, "retriable")


@scenario
def unknown_database_and_role(env: Env) -> None:
    """A database or role that does not exist is `connection` with the server's state, and not to
    be tried again."""
    for settings, sqlstate in (
        ({"dbname": "no such database"}, "3D000"),
        ({"user": "no such role"}, "28000"),
    ):
        error = refused(
            partial(env.driver.connect, env.dsn_with(**settings)),
            "connection",
            op="connect",
            sqlstate=sqlstate,
        )
        equal(error.retriable, False, "retriable")


@scenario
def wrong_password(env: Env) -> None:
    """A wrong password is `connection` with 28P01, not to be tried again, and is not repeated in
    the message."""
    role = env.role(member_of="pgque_writer", password="right-secret")
    path = env.value("show hba_file")
    rules = env.value("select pg_read_file(%s)", path)

    def write(text: str) -> None:
        # A large object is written to the file byte for byte, which COPY does not do.
        large_object = env.value("select lo_from_bytea(0, %s)", text.encode())
        env.query(
            "select lo_export(%s, %s), lo_unlink(%s), pg_reload_conf()",
            large_object,
            path,
            large_object,
        )

    def asks_for_a_password() -> bool:
        try:
            psycopg.connect(env.dsn_with(user=role, password="wrong")).close()
        except psycopg.OperationalError:
            return True
        return False

    env.stack.callback(write, rules)
    write(f"local all {role} scram-sha-256\nhost all {role} all scram-sha-256\n{rules}")
    env.eventually(asks_for_a_password, "the server asks for a password")
    error = refused(
        lambda: env.driver.connect(env.dsn_with(user=role, password="wrong-secret")),
        "connection",
        op="connect",
        sqlstate="28P01",
    )
    equal(error.retriable, False, "retriable")
    check("secret" not in str(error), "the password is in the error")
    env.client().create_queue(queue="orders")
    client = env.driver.connect(env.dsn_with(user=role, password="right-secret"), autocommit=True)
    client.send(queue="orders", payload=1)
    equal(
        env.value("select count(*) from pgque.event_template"),
        1,
        "events sent with the right password",
    )


@scenario
def a_password_never_shows(env: Env) -> None:
    """No error about a connection string repeats the password in it."""
    for dsn in (
        "postgresql://user:s3cret@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 password=s3cret",
        "host=127.0.0.1 password=s3cret nonsense=1",
        "postgresql://user:s3cret@host:port/db",
        "postgresql://user:s3cret@h/d?nonsense=1",
    ):
        try:
            env.driver.connect(dsn)
        except Exception as error:
            check("s3cret" not in str(error), f"the password is in the error: {error}")
        else:
            raise Failure(f"{dsn} should not connect")


@scenario
def database_without_the_schema(env: Env) -> None:
    """Without the engine every call is not_installed and the message says how to install it."""
    client = env.client()
    env.side.execute("drop schema pgque cascade")
    for call, op in (
        (lambda: client.send(queue="orders", payload=1), "send"),
        (lambda: client.send_batch(queue="orders", type="t", payloads=[1]), "send_batch"),
        (lambda: client.subscribe(queue="orders", consumer="mail"), "subscribe"),
        (lambda: client.receive(queue="orders", consumer="mail"), "receive"),
        (lambda: client.ack(batch_id="1"), "ack"),
        (lambda: client.nack(batch_id="1", msg_id="1"), "nack"),
        (lambda: client.create_queue(queue="orders"), "create_queue"),
        (lambda: client.ticker_all(), "ticker_all"),
        (lambda: client.dlq_inspect(queue="orders"), "dlq_inspect"),
        (lambda: client.queue_info(), "queue_info"),
        (lambda: client.version(), "version"),
    ):
        refused(call, "not_installed", op=op, says="pgque install")
    capabilities = client.capabilities()
    equal((capabilities["finish"], capabilities["ticker_pending"]), (False, False), "capabilities")
    client.install()
    client.create_queue(queue="orders")
    client.subscribe(queue="orders", consumer="mail")
    usable(env, client)


@scenario
def permission_denied(env: Env) -> None:
    """A reader may not send, a writer may not receive, neither may administer; what they may do
    works on."""
    env.queue_with_consumer()
    reader = env.driver.connect(
        env.dsn_with(user=env.role(member_of="pgque_reader")), autocommit=True
    )
    writer = env.driver.connect(
        env.dsn_with(user=env.role(member_of="pgque_writer")), autocommit=True
    )
    for call, op in (
        (lambda: reader.send(queue="orders", payload=1), "send"),
        (lambda: reader.create_queue(queue="mine"), "create_queue"),
        (lambda: reader.ticker(queue="orders"), "ticker"),
        (lambda: reader.dlq_replay(dead_letter_id="1"), "dlq_replay"),
        (lambda: reader.dlq_redeliver(dead_letter_id="1"), "dlq_redeliver"),
        (lambda: writer.receive(queue="orders", consumer="mail"), "receive"),
        (lambda: writer.ack(batch_id="1"), "ack"),
        (lambda: writer.create_queue(queue="mine"), "create_queue"),
    ):
        error = refused(call, "permission_denied", op=op, sqlstate="42501")
        equal(error.retriable, False, "retriable")
    msg_id = writer.send(queue="orders", type="t", payload=1, extra1="x")
    env.tick()
    messages = reader.receive(queue="orders", consumer="mail")
    equal([m["msg_id"] for m in messages], [msg_id], "messages for the reader")
    verdicts = [{"msg_id": msg_id, "verdict": "dead", "reason": "r"}]
    equal(
        reader.finish(batch_id=messages[0]["batch_id"], verdicts=verdicts),
        1,
        "finish by the reader",
    )
    equal(len(reader.dlq_inspect(queue="orders")["rows"]), 1, "dead letters for the reader")


@scenario
def a_server_error_keeps_its_facts(env: Env) -> None:
    """An error that a statement raises carries SQLSTATE, message, detail and hint as the server
    gave them."""
    client = env.queue_with_consumer()
    env.side.execute(
        "create function public.fails() returns void language plpgsql as "
        "$$ begin raise 'it broke' using errcode = 'XY123', detail = 'the detail', hint = 'the hint'; end $$"
    )
    error = refused(
        lambda: client.execute(sql="select public.fails()"),
        "server",
        op="execute",
        sqlstate="XY123",
        says="it broke",
    )
    equal((error.detail, error.hint, error.retriable), ("the detail", "the hint", False), "facts")
    refused(
        lambda: client.execute(sql="select nonsense from nowhere"),
        "server",
        op="execute",
        sqlstate="42P01",
    )
    refused(lambda: client.execute(sql="selec"), "server", op="execute", sqlstate="42601")
    usable(env, client)


@scenario
def statement_timeout(env: Env) -> None:
    """A statement that the server's own limit ends is a timeout, to be tried again."""
    client = env.queue_with_consumer()
    client.execute(sql="set statement_timeout = '50ms'")
    error = refused(
        lambda: client.execute(sql="select pg_sleep(5)"), "timeout", op="execute", sqlstate="57014"
    )
    equal(error.retriable, True, "retriable")
    client.execute(sql="set statement_timeout = 0")
    usable(env, client)


@scenario
def a_lost_connection_is_replaced(env: Env) -> None:
    """After the backend was ended an idle client in autocommit goes on with a new one."""
    client = env.queue_with_consumer()
    [[pid]] = client.rows("select pg_backend_pid()")
    env.value("select pg_terminate_backend(%s)", int(pid))
    time.sleep(0.3)
    usable(env, client)


@scenario
def a_connection_lost_in_a_transaction_is_an_error(env: Env) -> None:
    """A transaction whose backend was ended is gone, every call says so until rollback, and
    nothing is half done."""
    client = env.queue_with_consumer()
    client.begin()
    client.send(queue="orders", payload=1)
    [[pid]] = client.rows("select pg_backend_pid()")
    env.value("select pg_terminate_backend(%s)", int(pid))
    time.sleep(0.3)
    for call, op in (
        (lambda: client.send(queue="orders", payload=2), "send"),
        (client.commit, "commit"),
    ):
        error = refused(call, "connection", op=op)
        equal(error.retriable, True, "retriable")
    equal(env.value("select count(*) from pgque.event_template"), 0, "stored events")
