"""Workers that share one consumer."""

import time

from harness import Client, Env, check, equal, scenario, within


def group(env: Env, windows: int = 0) -> tuple[Client, list[str]]:
    """A queue with a group, and so many windows of one message each."""
    client = env.client()
    client.create_queue(queue="orders")
    client.subscribe_subconsumer(queue="orders", consumer="group", subconsumer="first")
    ids = []
    for n in range(windows):
        ids.append(client.send(queue="orders", payload=n))
        env.tick()
    return client, ids


def receive(client: Client, worker: str, **arguments) -> list[dict]:
    return client.receive_coop(queue="orders", consumer="group", subconsumer=worker, **arguments)


@scenario
def two_workers_get_disjoint_batches(env: Env) -> None:
    """Two workers of a group get different batches, each its own again until acknowledged,
    together all."""
    client, ids = group(env, windows=2)
    first, second = receive(client, "first"), receive(client, "second")
    equal([m["msg_id"] for m in first + second], ids, "messages of both")
    check(first[0]["batch_id"] != second[0]["batch_id"], "the batches differ")
    equal(receive(client, "first"), first, "the first asks again")
    for messages in (first, second):
        equal(client.ack(batch_id=messages[0]["batch_id"]), 1, "ack")
    equal(receive(client, "first") + receive(client, "second"), [], "after ack")


@scenario
def an_open_transaction_does_not_hold_up_the_other_worker(env: Env) -> None:
    """While one worker's transaction is open the other gets the next batch at once."""
    client, ids = group(env, windows=2)
    client.subscribe_subconsumer(queue="orders", consumer="group", subconsumer="second")
    beside_an_open_transaction(env, client, ids)


@scenario
def an_open_transaction_does_not_hold_up_a_new_worker(env: Env) -> None:
    """A worker that joins the group while another's transaction is open gets the next batch at once."""
    client, ids = group(env, windows=2)
    beside_an_open_transaction(env, client, ids)


def beside_an_open_transaction(env: Env, client: Client, ids: list[str]) -> None:
    first = env.client()
    first.begin()
    messages = receive(first, "first")
    client.execute(sql="set lock_timeout = '5s'")
    with within(3, "receive_coop beside an open transaction"):
        others = receive(client, "second")
    equal([m["msg_id"] for m in messages + others], ids, "messages of both")
    equal(client.ack(batch_id=others[0]["batch_id"]), 1, "ack of the second")
    first.ack(batch_id=messages[0]["batch_id"])
    first.commit()
    equal(receive(client, "first") + receive(client, "second"), [], "after ack")


@scenario
def a_batch_in_a_rolled_back_transaction_is_not_lost(env: Env) -> None:
    """A worker that rolls back gives its batch back to the group."""
    client, ids = group(env, windows=1)
    client.begin()
    equal([m["msg_id"] for m in receive(client, "first")], ids, "messages")
    client.rollback()
    equal([m["msg_id"] for m in receive(client, "second")], ids, "messages of the other")


@scenario
def a_dead_workers_batch_is_taken_over(env: Env) -> None:
    """After kill -9 of a worker that holds a batch another one gets it, once it was silent for
    dead_interval."""
    client, ids = group(env, windows=2)
    doomed = env.start_driver()
    held = receive(doomed.connect(env.dsn, autocommit=True), "doomed")
    equal([m["msg_id"] for m in held], ids[:1], "messages of the doomed worker")
    doomed.kill()
    [other] = receive(client, "heir", dead_interval="1 hour")
    equal(other["msg_id"], ids[1], "the heir's own batch")
    client.ack(batch_id=other["batch_id"])
    equal(receive(client, "heir", dead_interval=3600), [], "before dead_interval is over")
    time.sleep(1.2)
    [taken] = receive(client, "heir", dead_interval=1)
    equal(taken["msg_id"], ids[0], "the message taken over")
    check(taken["batch_id"] != held[0]["batch_id"], "the batch has a new id")
    equal(client.ack(batch_id=held[0]["batch_id"]), 0, "ack of the old batch")
    equal(client.ack(batch_id=taken["batch_id"]), 1, "ack of the new one")


@scenario
def a_touch_keeps_a_worker_alive(env: Env) -> None:
    """touch_subconsumer gives 1 for a worker and 0 for none, and keeps its batch from being
    taken over."""
    client, ids = group(env, windows=1)
    held = receive(client, "first")
    member = {"queue": "orders", "consumer": "group", "subconsumer": "first"}
    for _ in range(4):
        time.sleep(0.4)
        equal(client.touch_subconsumer(**member), 1, "touch")
        equal(receive(client, "second", dead_interval=1.2), [], "messages of the second")
    equal(client.touch_subconsumer(**member | {"subconsumer": "nobody"}), 0, "touch of nobody")
    equal(receive(client, "first"), held, "the batch of the first")
    equal([m["msg_id"] for m in held], ids, "messages")


@scenario
def cooperative_consumers_share_the_work(env: Env) -> None:
    """Two running consumers of one group handle every message once, and both take part."""
    client, ids = group(env)
    options = {"name": "group", "poll_interval": 0.2}
    workers = [env.consumer({"*": "ack"}, subconsumer=w, **options) for w in ("first", "second")]
    for n in range(30):
        ids.append(client.send(queue="orders", payload=n))
        env.tick()

    def seen() -> list[str]:
        return sorted((m["msg_id"] for w in workers for m in w.seen(0, 0)), key=int)

    env.eventually(lambda: len(seen()) >= len(ids), "every message is handled")
    equal(seen(), ids, "messages, each once")
    for worker in workers:
        worker.stop()


@scenario
def a_slow_worker_that_lives_is_not_taken_over(env: Env) -> None:
    """A handler slower than dead_interval keeps its batch, because the consumer sends heart-
    beats."""
    client, ids = group(env)
    options = {"name": "group", "poll_interval": 0.2, "dead_interval": 1}
    slow = env.consumer({"*": "slow"}, subconsumer="slow", **options)
    ids.append(client.send(queue="orders", payload=1))
    env.tick()
    slow.expect(1)
    eager = env.consumer({"*": "ack"}, subconsumer="eager", **options)
    time.sleep(3.5)
    equal(eager.seen(0, 0), [], "messages of the other worker")
    open_batches = "select count(*) from pgque.subscription where sub_batch is not null"
    env.eventually(lambda: env.value(open_batches) == 0, "the slow worker finishes its batch")
    equal([m["msg_id"] for m in slow.seen(0, 0)], ids, "messages of the slow worker")
    equal(eager.seen(0, 0), [], "messages of the other worker at the end")
    slow.stop()
    eager.stop()


@scenario
def a_killed_consumers_batch_is_handled_by_another(env: Env) -> None:
    """After kill -9 of a consumer in the middle of a batch another one handles all of it."""
    client, _ = group(env)
    options = {"poll_interval": 0.3, "dead_interval": 1}
    doomed = env.start_driver()
    victim = doomed.consumer(
        env.dsn, "orders", "group", {"*": "hang"}, subconsumer="victim", **options
    )
    ids = client.send_batch(queue="orders", type="t", payloads=[1, 2, 3])
    env.tick()
    victim.expect(1)
    doomed.kill()
    heir = env.consumer({"*": "ack"}, name="group", subconsumer="heir", **options)
    equal([m["msg_id"] for m in heir.expect(3)], ids, "messages of the heir")
    heir.stop()
    env.tick()
    equal(receive(client, "first", dead_interval=0), [], "what is left")
