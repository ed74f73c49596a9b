"""The runner of ticks, retries and maintenance."""

import time

from harness import Env, check, equal, refused, scenario, within


@scenario
def the_ticker_delivers(env: Env) -> None:
    """With a ticker running a message arrives within moments, without any manual tick."""
    client = env.queue_with_consumer()
    ticker = env.driver.ticker(env.dsn)
    consumer = env.consumer({"*": "ack"}, poll_interval=30)
    time.sleep(1)
    for count in range(1, 6):
        client.send(queue="orders", payload=count)
        with within(3, "the delivery"):
            consumer.expect(count, timeout=5)
        time.sleep(0.1)
    consumer.stop()
    ticker.stop()


@scenario
def the_ticker_moves_due_retries(env: Env) -> None:
    """A failed message comes again by itself once its delay is over."""
    client = env.queue_with_consumer()
    ticker = env.driver.ticker(env.dsn, retry_interval=0.2)
    consumer = env.consumer({"*": "fail_once"}, poll_interval=30, retry_after=1)
    msg_id = client.send(queue="orders", payload=1)
    messages = consumer.expect(2)
    equal(
        [(m["msg_id"], m["retry_count"]) for m in messages],
        [(msg_id, None), (msg_id, 1)],
        "deliveries",
    )
    consumer.stop()
    ticker.stop()
    equal(env.value("select count(*) from pgque.retry_queue"), 0, "retries left")


@scenario
def a_second_ticker_stands_by(env: Env) -> None:
    """Of two tickers one works; when it stops the other takes over within seconds."""
    client = env.queue_with_consumer()
    leaders = (
        "select count(*) from pg_locks where locktype = 'advisory' and granted and database = "
    )
    leaders += "(select oid from pg_database where datname = current_database())"
    first = env.driver.ticker(env.dsn)
    env.eventually(lambda: env.value(leaders) == 1, "the first ticker leads")
    second = env.start_driver().ticker(env.dsn, standby_interval=0.3)
    time.sleep(1)
    equal(env.value(leaders), 1, "leaders while both run")
    with within(3, "stop of the first"):
        first.stop()
    client.send(queue="orders", payload=1)
    env.eventually(
        lambda: client.receive(queue="orders", consumer="mail"),
        "the second ticker delivers",
        timeout=10,
    )
    second.stop()


@scenario
def a_killed_tickers_standby_takes_over(env: Env) -> None:
    """After kill -9 of the working ticker the standby delivers."""
    client = env.queue_with_consumer()
    doomed = env.start_driver()
    doomed.ticker(env.dsn)
    time.sleep(1)
    standby = env.driver.ticker(env.dsn, standby_interval=0.3)
    time.sleep(0.5)
    doomed.kill()
    client.send(queue="orders", payload=1)
    env.eventually(
        lambda: client.receive(queue="orders", consumer="mail"), "the standby delivers", timeout=10
    )
    standby.stop()


@scenario
def the_ticker_survives_its_backend(env: Env) -> None:
    """When its backend is ended the ticker connects again and goes on."""
    client = env.queue_with_consumer()
    ticker = env.driver.ticker(env.dsn)
    client.send(queue="orders", payload=1)
    [message] = env.eventually(
        lambda: client.receive(queue="orders", consumer="mail"), "the first delivery"
    )
    client.ack(batch_id=message["batch_id"])
    [[pid]] = client.rows("select pg_backend_pid()")
    ended = env.value(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() "
        "and pid not in (pg_backend_pid(), %s) and backend_type = 'client backend'",
        int(pid),
    )
    check(ended >= 1, "there is a backend to end")
    client.send(queue="orders", payload=2)
    env.eventually(lambda: client.receive(queue="orders", consumer="mail"), "the second delivery")
    ticker.stop()


@scenario
def a_ticker_that_may_not_tick_ends(env: Env) -> None:
    """Without the rights, or without the database, the run ends with the error that says so."""
    ticker = env.driver.ticker(env.dsn_with(user=env.role(member_of="pgque_reader")))
    lost = env.driver.ticker(env.dsn_with(dbname="no such database"))
    time.sleep(2)
    refused(ticker.stop, "permission_denied", sqlstate="42501")
    refused(lost.stop, "connection", op="connect", sqlstate="3D000")


@scenario
def wrong_ticker_options_are_refused(env: Env) -> None:
    """A ticker option that is out of range is `configuration` at once."""
    refused(lambda: env.driver.ticker(env.dsn, tick_interval=0), "configuration")
    refused(lambda: env.driver.ticker(env.dsn, retry_interval=-1), "configuration")
