"""The consumer: what is called, logged, retried and kept; signals; stopping."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pgque
from facts import Lines, Server, fact, outcome, running, wait_for


def consumer(server: Server, queue: str, **options: Any) -> Any:
    return pgque.Consumer(server.dsn, queue=queue, name="c", poll_interval=1, **options)


def at_end(server: Server, queue: str) -> bool:
    return server.cursor(queue, "c") == 0


def told(log: Lines) -> Any:
    """Without what only one of them has to say; DEBUG is nobody's business."""
    return [line for line in log.lines if line[1] != "DEBUG"]


@fact
def handlers_are_found_by_type(server: Server) -> Any:
    queue, seen = server.queue("c"), []
    c = consumer(server, queue)
    for kind in ("a", "b", "*"):
        c.on(kind)(lambda m, kind=kind: seen.append([kind, m.type, m.payload]))
    for kind in ("a", "b", "other", "", "A", None, "a"):
        server.send(queue, '"x"', type=kind)
    server.tick(queue)
    ended = running(c, lambda: at_end(server, queue))
    return [seen, ended, server.retries(queue)]


@fact
def a_star_is_a_type_as_well(server: Server) -> Any:
    queue, seen = server.queue("c"), []
    c = consumer(server, queue)
    c.on("*")(lambda m: seen.append(m.type))
    server.send(queue, "1", type="*")
    server.tick(queue)
    running(c, lambda: at_end(server, queue))
    return seen


@fact
def what_fails_is_retried(server: Server) -> Any:
    queue, seen = server.queue("c"), []
    c = consumer(server, queue, retry_after=0)

    @c.on("default")
    def handle(message: Any) -> None:
        seen.append(message.payload)
        if message.payload == '"boom"':
            raise ValueError("on purpose")

    server.send(queue, '"ok"', '"boom"', '"fine"')
    server.tick(queue)
    with Lines() as log:
        ended = running(c, lambda: at_end(server, queue))
    again = server.retries(queue)
    with server.client() as client:
        return [seen, ended, [row[0] for row in again], client.receive(queue, "c"), told(log)]


@fact
def the_delay_is_an_option(server: Server) -> Any:
    queue = server.queue("c")
    c = consumer(server, queue, retry_after=600)
    c.on("default")(lambda m: 1 / 0)
    server.send(queue, "1")
    server.tick(queue)
    running(c, lambda: at_end(server, queue))
    return [[payload, round(seconds / 20)] for payload, seconds in server.retries(queue)]


@fact
def unknown_types_are_retried(server: Server) -> Any:
    queue = server.queue("c")
    server.sql("select pgque.set_queue_config(%s, 'max_retries', '0')", queue)
    c = consumer(server, queue)
    for kind in ("unknown", None):
        server.send(queue, "1", type=kind)
    server.tick(queue)
    with Lines() as log:
        ended = running(c, lambda: at_end(server, queue))
    return [ended, server.dead(queue), told(log)]


@fact
def unknown_types_may_be_dropped(server: Server) -> Any:
    queue = server.queue("c")
    c = consumer(server, queue, unknown_handler_policy="ack")
    server.send(queue, "1", type="unknown")
    server.tick(queue)
    with Lines() as log:
        ended = running(c, lambda: at_end(server, queue))
    return [ended, server.dead(queue), server.retries(queue), told(log)]


@fact
def the_result_of_a_handler_does_not_matter(server: Server) -> Any:
    queue = server.queue("c")
    c = consumer(server, queue)
    results = iter((None, False, 0, "text", [1], object()))
    c.on("default")(lambda m: next(results))
    server.send(queue, *"123456")
    server.tick(queue)
    ended = running(c, lambda: at_end(server, queue))
    return [ended, server.retries(queue), list(results)]


@fact
def handlers_get_messages(server: Server) -> Any:
    queue, seen = server.queue("c"), []
    c = consumer(server, queue)
    c.on("default")(lambda *args: seen.append([len(args), type(args[0]) is pgque.Message]))
    server.send(queue, "1")
    server.tick(queue)
    running(c, lambda: at_end(server, queue))
    return seen


@fact
def a_cooperative_worker(server: Server) -> Any:
    queue, seen = server.queue(), []
    c = pgque.Consumer(
        server.dsn,
        queue=queue,
        name="c",
        subconsumer="a",
        poll_interval=1,
        dead_interval="5 minutes",
    )
    c.on("default")(lambda m: seen.append(m.payload))
    with server.client() as client:
        client.subscribe_subconsumer(queue, "c", "a")
        server.send(queue, "1", "2")
        server.tick(queue)
        ended = running(c, lambda: len(seen) == 2)
        return [seen, ended, client.receive_coop(queue, "c", "a")]


@fact
def without_a_subscription(server: Server) -> Any:
    queue = server.queue()
    with Lines() as log:
        result = outcome(consumer(server, queue).start)
    lines = [line for line in told(log) if line[1] == "INFO" and "listening" not in line[2]]
    return [result, lines]


@fact
def without_a_queue(server: Server) -> Any:
    return outcome(consumer(server, "nowhere").start)


@fact
def a_batch_over_the_limit(server: Server) -> Any:
    queue, seen = server.queue("c"), []
    server.send(queue, *"123")
    server.tick(queue)
    c = consumer(server, queue, max_messages=2)
    c.on("default")(lambda m: seen.append(m))
    result = outcome(c.start)
    coop = pgque.Consumer(server.dsn, queue=queue, name="c", max_messages=3, poll_interval=1)
    coop.on("default")(lambda m: seen.append(m.payload))
    with Lines() as log:
        ended = running(coop, lambda: len(seen) == 3)
    return [result, c._running, server.retries(queue), seen, ended, told(log)]


@fact
def it_may_be_run_again(server: Server) -> Any:
    queue, seen = server.queue("c"), []
    c = consumer(server, queue)
    c.on("default")(lambda m: seen.append(m.payload))
    found = []
    for n in range(2):
        server.send(queue, str(n))
        server.tick(queue)
        found.append(running(c, lambda n=n: len(seen) == n + 1))
        found.append(c._running)
    return [seen, found]


@fact
def a_notification_wakes_it(server: Server) -> Any:
    queue, seen = server.queue("c"), []
    c = pgque.Consumer(server.dsn, queue=queue, name="c")
    c.on("default")(lambda m: seen.append(m.payload))
    thread = threading.Thread(target=c.start, daemon=True)
    thread.start()
    time.sleep(1)
    found = [c._running]
    server.send(queue, "1")
    server.tick(queue)
    found.append(wait_for(lambda: bool(seen), 10))
    c.stop()
    thread.join(10)
    return [*found, seen, thread.is_alive()]


@fact
def names_that_need_quotes(server: Server) -> Any:
    queue, seen = 'Queue "of" é', []
    server.sql("select pgque.create_queue(%s), pgque.subscribe(%s, 'c')", queue, queue)
    c = pgque.Consumer(server.dsn, queue=queue, name="c")
    c.on("default")(lambda m: seen.append(m.payload))
    thread = threading.Thread(target=c.start, daemon=True)
    thread.start()
    time.sleep(0.5)
    server.send(queue, "1")
    server.tick(queue)
    woken = wait_for(lambda: bool(seen), 10)
    c.stop()
    thread.join(10)
    return woken


@fact
def it_stops_soon_while_waiting(server: Server) -> Any:
    queue = server.queue("c")
    c = pgque.Consumer(server.dsn, queue=queue, name="c")
    with Lines() as log:
        thread = threading.Thread(target=c.start, daemon=True)
        thread.start()
        time.sleep(1)
        began = time.monotonic()
        c.stop()
        thread.join(10)
    return [thread.is_alive(), time.monotonic() - began < 2, told(log)]


@fact
def what_is_no_exception_ends_it(server: Server) -> Any:
    queue = server.queue("c")
    c = consumer(server, queue)

    @c.on("default")
    def handle(message: Any) -> None:
        raise SystemExit(3)

    server.send(queue, "1")
    server.tick(queue)
    ended = running(c, lambda: False, 10)
    with server.client() as client:
        return [ended, c._running, len(client.receive(queue, "c"))]


@fact
def signals(server: Server) -> Any:
    queue, found = server.queue("c"), []
    before = [signal.signal(s, signal.default_int_handler) for s in (signal.SIGTERM, signal.SIGINT)]
    for number in (signal.SIGTERM, signal.SIGINT):
        c = consumer(server, queue)
        server.send(queue, "1")
        server.tick(queue)

        @c.on("default")
        def handle(message: Any, number: int = number, found: list[Any] = found) -> None:
            changed = [
                callable(signal.getsignal(s))
                and signal.getsignal(s) is not signal.default_int_handler
                for s in (signal.SIGTERM, signal.SIGINT)
            ]
            found.append(changed)
            os.kill(os.getpid(), number)

        with Lines() as log:
            found.append(outcome(c.start))
        found += [told(log), at_end(server, queue)]
        found += [
            signal.getsignal(s) is signal.default_int_handler
            for s in (signal.SIGTERM, signal.SIGINT)
        ]
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])
    return found


@fact
def signals_are_left_alone_on_a_thread(server: Server) -> Any:
    queue = server.queue("c")
    c = consumer(server, queue)
    found = []
    handler = signal.getsignal(signal.SIGTERM)
    c.on("default")(lambda m: found.append(signal.getsignal(signal.SIGTERM) == handler))
    server.send(queue, "1")
    server.tick(queue)
    running(c, lambda: bool(found))
    return found
