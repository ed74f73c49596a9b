"""One measured program, written against the interface that libpgque and pgque-py share.

Run by consumer.py with the Python of either; what differs between the two is only what is named `ours` here.
"""

import json
import logging
import sys
import threading
import time

import pgque

logging.disable(logging.CRITICAL)


def latency(dsn, ours, messages, per_second):
    """Sends at a steady pace and measures how long each message takes to its handler."""
    options = {"ticker": True} if ours else {}
    consumer = pgque.Consumer(dsn, queue="bench", name="reader", **options)
    seen = []
    done = threading.Event()

    @consumer.on("*")
    def handle(message):
        seen.append(time.time() - json.loads(message.payload)["at"])
        if len(seen) == messages:
            done.set()

    thread = threading.Thread(target=consumer.start, daemon=True)
    thread.start()
    time.sleep(2)
    with pgque.connect(dsn, autocommit=True) as client:
        begin = time.perf_counter()
        for n in range(messages):
            time.sleep(max(0, begin + n / per_second - time.perf_counter()))
            client.send("bench", {"at": time.time()})
        done.wait(60)
    consumer.stop()
    return sorted(seen)


def backlog(dsn, ours, messages, poll):
    """Works off what is there; seconds."""
    consumer = pgque.Consumer(dsn, queue="bench", name="reader", poll_interval=poll)
    left = messages

    @consumer.on("*")
    def handle(message):
        nonlocal left
        left -= 1
        if not left:
            consumer.stop()

    began = time.perf_counter()
    consumer.start()
    return time.perf_counter() - began


def cooperative(dsn, ours, messages, workers, work):
    """Workers of one group, each in a thread; seconds until the last message is handled."""
    left = messages
    lock, done = threading.Lock(), threading.Event()
    consumers = [
        pgque.Consumer(dsn, queue="bench", name="group", subconsumer=f"w{n}", poll_interval=0.05)
        for n in range(workers)
    ]

    def handle(message):
        nonlocal left
        time.sleep(work)
        with lock:
            left -= 1
            if not left:
                done.set()

    threads = []
    began = time.perf_counter()
    for consumer in consumers:
        consumer.on("*")(handle)
        threads.append(threading.Thread(target=consumer.start, daemon=True))
        threads[-1].start()
    done.wait(60)
    seconds = time.perf_counter() - began
    for consumer in consumers:
        consumer.stop()
    for thread in threads:
        thread.join(10)
    return seconds


def failing(dsn, ours, messages):
    """Every handler of one batch fails; seconds until the batch is finished."""
    consumer = pgque.Consumer(dsn, queue="bench", name="reader", poll_interval=1)
    left = messages

    @consumer.on("*")
    def handle(message):
        nonlocal left
        left -= 1
        if not left:
            consumer.stop()
        raise ValueError("on purpose")

    began = time.perf_counter()
    consumer.start()
    return time.perf_counter() - began


def producer(dsn, ours, senders, seconds):
    """Events a second: send_batch of 1000, so many threads on a Producer, send by itself, and one on a Producer."""
    payload = {"id": 12345, "name": "something of an ordinary size"}

    def rate(call, events=1):
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            call()
            sent += events
        return sent / passed

    def together(call):
        rates = []
        threads = [
            threading.Thread(target=lambda: rates.append(rate(call))) for _ in range(senders)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(rates)

    with pgque.connect(dsn, autocommit=True) as client, pgque.Producer(dsn) as shared:
        batch = [payload] * 1000
        return [
            rate(lambda: client.send_batch("bench", "bench", batch), len(batch)),
            together(lambda: shared.send("bench", payload, type="bench")),
            rate(lambda: client.send("bench", payload, type="bench")),
            rate(lambda: shared.send("bench", payload, type="bench")),
        ]


if __name__ == "__main__":
    case, dsn, ours, *numbers = sys.argv[1:]
    result = globals()[case](dsn, ours == "ours", *map(json.loads, numbers))
    print(json.dumps(result))
