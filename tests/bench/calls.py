"""The calls of a client, measured: one program for libpgque and pgque-py, run by python.py with the Python of either.

Each case gives how many messages it moved, the seconds it took, and the CPU seconds that this process spent.
"""

import asyncio
import json
import os
import resource
import sys
import threading
import time
from contextlib import contextmanager

import pgque

WARM_UP = 200


def order(number):
    """An ordinary event: some 140 bytes of JSON."""
    return {
        "order": number,
        "customer": "Ada Lovelace",
        "email": "ada@example.org",
        "total": 129.5,
        "items": [{"sku": "A-1001", "count": 2}],
        "express": True,
    }


class Clock:
    """The time and the CPU time of this process, with all of its threads."""

    def __init__(self):
        self.began, self.cpu_began = time.perf_counter(), time.process_time()

    def result(self, messages, **more):
        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu_began
        return {"messages": messages, "seconds": seconds, "cpu": cpu, **more}


@contextmanager
def transaction(dsn):
    """A client in the middle of a transaction, warm."""
    with pgque.connect(dsn) as client:
        for number in range(WARM_UP):
            client.send("bench", order(number))
        yield client
        client.conn.commit()


def send(dsn, count):
    """One after the other, in one transaction."""
    with transaction(dsn) as client:
        clock = Clock()
        for number in range(count):
            client.send("bench", order(number))
        client.conn.commit()
        return clock.result(count)


def commit(dsn, count):
    """One after the other, each in a transaction of its own."""
    with transaction(dsn) as client:
        client.conn.commit()
        clock = Clock()
        for number in range(count):
            client.send("bench", order(number))
            client.conn.commit()
        return clock.result(count)


def in_threads(threads, count, work):
    """``work(number)`` for so many numbers, shared out to threads that begin together."""
    barrier = threading.Barrier(threads + 1)

    def run(first):
        barrier.wait()
        for number in range(first, count, threads):
            work(number)

    crew = [threading.Thread(target=run, args=(first,)) for first in range(threads)]
    for thread in crew:
        thread.start()
    barrier.wait()
    clock = Clock()
    for thread in crew:
        thread.join()
    return clock.result(count)


def pipelined(dsn, count):
    """One behind the other, in one transaction. Only libpgque can."""
    with transaction(dsn) as client:
        clock = Clock()
        with client.pipeline() as pipeline:
            for number in range(count):
                pipeline.send("bench", order(number))
        client.conn.commit()
        return clock.result(count)


def concurrent(dsn, count, threads):
    """From many threads on one client, in one transaction. Only libpgque can."""
    with transaction(dsn) as client:
        return in_threads(threads, count, lambda number: client.send("bench", order(number)))


def tasks(dsn, count, tasks):
    """From many tasks of asyncio on one client, in one transaction. Only libpgque can."""

    async def run():
        async with pgque.connect_async(dsn) as client:

            async def work(first, end):
                for number in range(first, end, tasks):
                    await client.send("bench", order(number))

            await asyncio.gather(*(work(first, WARM_UP) for first in range(tasks)))
            clock = Clock()
            await asyncio.gather(*(work(first, count) for first in range(tasks)))
            await client.commit()
            return clock.result(count)

    return asyncio.run(run())


def producer(dsn, count, threads):
    """From many threads through one Producer: each event is committed when its `send` returns."""
    with pgque.Producer(dsn) as sender:
        in_threads(threads, WARM_UP, lambda number: sender.send("bench", order(number)))
        return in_threads(threads, count, lambda number: sender.send("bench", order(number)))


def submitted(dsn, count):
    """One behind the other through one Producer, whose end waits until all are committed."""
    with pgque.Producer(dsn) as sender:
        for number in range(WARM_UP):
            sender.submit("bench", order(number)).result()
        clock = Clock()
        for number in range(count):
            sender.submit("bench", order(number))
        sender.flush()
        return clock.result(count)


def send_batch(dsn, calls, size):
    """Batches of dicts, in one transaction."""
    payloads = [order(number) for number in range(size)]
    with transaction(dsn) as client:
        client.send_batch("bench", "order.created", payloads)
        clock = Clock()
        for _ in range(calls):
            client.send_batch("bench", "order.created", payloads)
        client.conn.commit()
        return clock.result(calls * size)


def memory():
    """What this process holds in memory now, and what it has held at most; bytes."""
    with open("/proc/self/statm") as statm:
        held = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return held, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def receive(dsn, count):
    """One batch in one call; then every payload is read, and the messages are kept."""
    with pgque.connect(dsn) as client:
        client.conn.execute("select 1")
        held, peak = memory()
        clock = Clock()
        messages = client.receive("bench", "reader", 2**31 - 1)
        size = 0
        for message in messages:
            size += len(message.payload)
        assert len(messages) == count
        assert size >= 100 * count
        held_after, peak_after = memory()
        return clock.result(
            count, held=(held_after - held) / count, peak=(peak_after - peak) / count
        )


if __name__ == "__main__":
    case, dsn, _, *numbers = sys.argv[1:]
    print(json.dumps(globals()[case](dsn, *map(json.loads, numbers))))
