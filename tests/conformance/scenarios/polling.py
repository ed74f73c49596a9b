"""What a consumer promises that has no session of its own: behind a pooler, without `listen_dsn`. Beside no pooler the
same holds anyway."""

from harness import Env, equal, scenario

from scenarios.consumer import settled


@scenario
def a_consumer_that_only_polls_misses_nothing(env: Env) -> None:
    """Without notifications a consumer looks every `poll_interval`, and gets each message once."""
    client = env.queue_with_consumer()
    consumer = env.consumer({"*": "ack"}, poll_interval=0.1, only_polls=True)
    ids = []
    for n in range(3):
        ids += client.send_batch(queue="orders", type="t", payloads=[n] * 3)
        env.tick()
        consumer.expect(len(ids))
    settled(env)
    equal([m["msg_id"] for m in consumer.seen(len(ids))], ids, "messages")
    consumer.stop()


@scenario
def of_two_consumers_that_only_poll_one_works(env: Env) -> None:
    """Also without a session to hold a turn, a batch is one consumer's at a time; when that one is killed with kill -9
    the other goes on within its lease."""
    client = env.queue_with_consumer()
    doomed = env.start_driver()
    first = doomed.consumer(
        env.dsn, "orders", "mail", {"*": "hang"}, poll_interval=0.1, only_polls=True
    )
    msg_id = client.send(queue="orders", payload=1)
    env.tick()
    first.expect(1)
    second = env.consumer({"*": "ack"}, poll_interval=0.1, only_polls=True)
    env.eventually(lambda: second.health()["status"] == "standby", "the second stands by")
    equal(second.seen(0, 1), [], "messages of the second")
    doomed.kill()
    equal([m["msg_id"] for m in second.expect(1, timeout=30)], [msg_id], "messages of the second")
    settled(env)
    second.stop()
