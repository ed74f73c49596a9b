"""The Python driver of the conformance suite: JSON lines in, calls, JSON lines out. No assertions."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pgque
import psycopg
from values import EXTRAS, cell, library_error, message, micros, payload, span, table, verdict


class Unknown(Exception):
    """The operation is not one of ours."""


# Handles

# How long a handler takes.
SECONDS = {"hang": 60, "slow": 3, "nap": 0.05}


class Background:
    """A consumer or ticker that runs on a thread of its own."""

    def __init__(self, runner: pgque.Consumer | pgque.Ticker) -> None:
        self.runner = runner
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.seen: list[dict[str, Any]] = []
        self.failed: set[int] = set()
        self.hooks: list[str] = []
        self.inside = 0
        self.changed = threading.Condition()

    def run(self) -> None:
        try:
            self.runner.run()
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self.runner.stop()
        self.thread.join()
        if self.error is not None:
            raise self.error

    def note(self, msg: pgque.Message) -> None:
        with self.changed:
            self.seen.append(message(msg))
            self.changed.notify_all()

    def judge(self, msg: pgque.Message, behaviour: str) -> pgque.Verdict | None:
        """What a handler makes of a message without waiting for anything."""
        self.note(msg)
        if behaviour == "fail" or (behaviour == "fail_once" and msg.msg_id not in self.failed):
            self.failed.add(msg.msg_id)
            raise RuntimeError("handler failed on purpose")
        if behaviour == "dead":
            raise pgque.dead("beyond repair")
        return pgque.retry(0, "later") if behaviour == "retry" else None

    def handler(self, behaviour: str) -> Callable[..., Any]:
        def handle(msg: pgque.Message, client: pgque.PgqueClient | None = None) -> Any:
            verdict = self.judge(msg, behaviour)
            if behaviour.startswith("meet:"):
                self.meet(int(behaviour.removeprefix("meet:")))
            if client is not None and behaviour in TRANSACTIONAL:
                return TRANSACTIONAL[behaviour](msg, client)
            time.sleep(SECONDS.get(behaviour, 0))
            return verdict

        return handle

    def meet(self, count: int) -> None:
        with self.changed:
            self.inside += 1
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: self.inside >= count, 10):
                raise TimeoutError("the others did not come")

    def batch_handler(self, behaviour: str) -> Callable[[list[pgque.Message]], Any]:
        def handle(messages: list[pgque.Message]) -> Any:
            for msg in messages:
                self.note(msg)
            if behaviour == "fail":
                raise RuntimeError("handler failed on purpose")
            return [
                True if behaviour == "ack" or i % 2 == 0 else None for i in range(len(messages))
            ]

        return handle

    def wait(self, count: int, timeout: float) -> list[dict[str, Any]]:
        with self.changed:
            self.changed.wait_for(lambda: len(self.seen) >= count, timeout)
            return list(self.seen)


def record(msg: pgque.Message, client: pgque.PgqueClient) -> None:
    client.execute("insert into conformance_effects (msg_id) values (%s)", [msg.msg_id])


def record_fail(msg: pgque.Message, client: pgque.PgqueClient) -> None:
    record(msg, client)
    raise RuntimeError("handler failed on purpose")


def end(_msg: pgque.Message, client: pgque.PgqueClient) -> pgque.Verdict | None:
    try:
        client.commit()
    except pgque.PgqueConflict:
        return None
    return pgque.dead("commit was not refused")


TRANSACTIONAL = {"record": record, "record_fail": record_fail, "commit": end}


class Submitting:
    def __init__(self, producer: pgque.Producer) -> None:
        self.send, self.flush = producer.submit, producer.flush


class Driver:
    """Holds what has been made, and says how it is made; `async_driver.py` makes other things."""

    language = "python"
    background: ClassVar[type[Background]] = Background

    def __init__(self) -> None:
        self.clients: dict[str, pgque.PgqueClient] = {}
        self.running: dict[str, Background] = {}
        self.producers: dict[str, pgque.Producer] = {}

    def connect(self, dsn: str, **options: Any) -> Any:
        return pgque.connect(dsn, **options)

    def over_caller(self, dsn: str) -> Any:
        return pgque.PgqueClient(psycopg.connect(dsn, autocommit=True))

    def make(self, kind: str, /, *args: Any, **options: Any) -> Any:
        """A ``Consumer``, ``Ticker`` or ``Producer``."""
        return getattr(pgque, kind)(*args, **options)

    def pipeline(self, client: Any) -> Any:
        return client.pipeline()

    def submitting(self, producer: Any) -> Any:
        """As `pipeline`, through a producer."""
        return Submitting(producer)

    def call(self, request: dict[str, Any]) -> Any:
        op = request["op"]
        if op not in OPERATIONS:
            raise Unknown
        return OPERATIONS[op](self, request)

    def client(self, request: dict[str, Any]) -> pgque.PgqueClient:
        return self.clients[request["client"]]

    def producer(self, request: dict[str, Any]) -> pgque.Producer:
        return self.producers[request["producer"]]


Operation = Callable[[Driver, dict[str, Any]], Any]
OPERATIONS: dict[str, Operation] = {}


def operation(call: Operation) -> Operation:
    OPERATIONS[call.__name__] = call
    return call


def given(request: dict[str, Any], *names: str) -> dict[str, Any]:
    """What the request names, so that the library's own defaults apply to the rest."""
    return {name: span(request[name]) for name in names if name in request}


def maybe_text(value: int | None) -> str | None:
    return None if value is None else str(value)


# Operations


@operation
def hello(driver: Driver, request: dict[str, Any]) -> Any:
    operations = sorted(OPERATIONS)
    return {"language": driver.language, "version": pgque.__version__, "operations": operations}


@operation
def connect(driver: Driver, request: dict[str, Any]) -> None:
    client = driver.connect(request["dsn"], **given(request, "autocommit"))
    # The protocol wants JSON as the text that it is.
    client.conn.json_loads = str
    driver.clients[request["client"]] = client


@operation
def connect_caller(driver: Driver, request: dict[str, Any]) -> None:
    driver.clients[request["client"]] = driver.over_caller(request["dsn"])


@operation
def caller_execute(driver: Driver, request: dict[str, Any]) -> None:
    driver.client(request).conn.execute(request["sql"])


@operation
def execute(driver: Driver, request: dict[str, Any]) -> Any:
    # The protocol writes $1, this library's users %s.
    sql = re.sub(r"\$(\d+)", r"%(p\1)s", request["sql"].replace("%", "%%"))
    params = {f"p{i}": value for i, value in enumerate(request.get("params", []), 1)}
    cursor = driver.client(request).execute(sql, params)
    return {
        "columns": [column.name for column in cursor.description or []],
        "rows": [[cell(value) for value in row] for row in cursor],
        "rows_affected": None if cursor.rowcount < 0 else cursor.rowcount,
    }


@operation
def notification(driver: Driver, request: dict[str, Any]) -> Any:
    found = driver.client(request).notification(request["timeout"])
    return found and {"channel": found.channel, "payload": found.payload}


@operation
def capabilities(driver: Driver, request: dict[str, Any]) -> Any:
    return driver.client(request).capabilities()._asdict()


@operation
def send(driver: Driver, request: dict[str, Any]) -> str:
    options = given(request, "type", *EXTRAS)
    return str(driver.client(request).send(request["queue"], payload(request), **options))


@operation
def pipelined(driver: Driver, request: dict[str, Any]) -> Any:
    client = driver.client(request)
    then = client.commit if request.get("commit") else lambda: None
    return send_all(request, driver.pipeline(client), then)


def send_all(request: dict[str, Any], pipeline: Any, then: Callable[[], None]) -> Any:
    """The outcome of each of the request's events, and of the flush behind them."""
    results = [begun(pipeline, event) for event in request["events"]]
    first = outcome(then)
    flushed = outcome(pipeline.flush)
    outcomes = [outcome(result, "id") for result in results]
    return {"outcomes": outcomes, "flush": first.get("error") or flushed.get("error")}


def begun(pipeline: Any, event: dict[str, Any]) -> Callable[[], Any]:
    options = given(event, "type", *EXTRAS)
    try:
        return pipeline.send(event["queue"], payload(event), **options).result
    except pgque.PgqueError as error:
        refused = error

    def refuse() -> None:
        raise refused

    return refuse


def outcome(result: Callable[[], Any], name: str = "ok") -> dict[str, Any]:
    try:
        return {name: str(result())}
    except pgque.PgqueError as error:
        return {"error": library_error(error)}


@operation
def send_batch(driver: Driver, request: dict[str, Any]) -> list[str]:
    payloads = request.get("payloads") or [pgque.Text(text) for text in request.get("texts", [])]
    ids = driver.client(request).send_batch(request["queue"], request.get("type"), payloads)
    return list(map(str, ids))


@operation
def receive(driver: Driver, request: dict[str, Any]) -> Any:
    options = given(request, "max_messages")
    client = driver.client(request)
    return list(map(message, client.receive(request["queue"], request["consumer"], **options)))


@operation
def receive_coop(driver: Driver, request: dict[str, Any]) -> Any:
    options = given(request, "max_messages", "dead_interval")
    names = (request["queue"], request["consumer"], request["subconsumer"])
    return list(map(message, driver.client(request).receive_coop(*names, **options)))


@operation
def ack(driver: Driver, request: dict[str, Any]) -> int:
    return driver.client(request).ack(int(request["batch_id"]))


@operation
def nack(driver: Driver, request: dict[str, Any]) -> None:
    options = given(request, "retry_after", "reason")
    driver.client(request).nack(int(request["batch_id"]), int(request["msg_id"]), **options)


@operation
def finish(driver: Driver, request: dict[str, Any]) -> int:
    verdicts = list(map(verdict, request["verdicts"]))
    return driver.client(request).finish(int(request["batch_id"]), verdicts)


@operation
def batch_info(driver: Driver, request: dict[str, Any]) -> Any:
    return table(driver.client(request).batch_info(int(request["batch_id"])))


@operation
def dlq_replay(driver: Driver, request: dict[str, Any]) -> str:
    return str(driver.client(request).dlq_replay(int(request["dead_letter_id"])))


@operation
def dlq_redeliver(driver: Driver, request: dict[str, Any]) -> str:
    return str(driver.client(request).dlq_redeliver(int(request["dead_letter_id"])))


@operation
def dlq_replay_all(driver: Driver, request: dict[str, Any]) -> Any:
    return driver.client(request).dlq_replay_all(request["queue"])._asdict()


@operation
def consumer_start(driver: Driver, request: dict[str, Any]) -> None:
    names = given(request, "queue", "name")
    consumer = driver.make("Consumer", request["dsn"], **names, **request.get("options", {}))
    background = driver.background(consumer)
    for event_type, behaviour in request.get("handlers", {}).items():
        consumer.on(event_type)(background.handler(behaviour))
    if "batch_handler" in request:
        consumer.on_batch(background.batch_handler(request["batch_handler"]))
    if "on_failure" in request:
        decision = {"dead": pgque.dead(), "retry": 0}[request["on_failure"]]
        consumer.on_failure(lambda attempt, error: decision)
    if request.get("hooks"):
        hooks = background.hooks
        consumer.before_message(lambda msg: hooks.append(f"before {msg.msg_id}"))
        consumer.after_message(lambda msg, how, _: hooks.append(f"after {msg.msg_id} {how}"))
    background.thread.start()
    driver.running[request["consumer"]] = background


@operation
def consumer_seen(driver: Driver, request: dict[str, Any]) -> Any:
    return driver.running[request["consumer"]].wait(request["count"], request["timeout"])


@operation
def consumer_ask_stop(driver: Driver, request: dict[str, Any]) -> None:
    driver.running[request["consumer"]].runner.stop()


@operation
def consumer_stats(driver: Driver, request: dict[str, Any]) -> Any:
    return driver.running[request["consumer"]].runner.stats()


@operation
def consumer_health(driver: Driver, request: dict[str, Any]) -> Any:
    health = driver.running[request["consumer"]].runner.health()
    return {
        "status": health.status,
        "alive": health.alive,
        "since": micros(health.since),
        "last_error": health.last_error,
    }


@operation
def consumer_hooks(driver: Driver, request: dict[str, Any]) -> Any:
    return driver.running[request["consumer"]].hooks


@operation
def consumer_stop(driver: Driver, request: dict[str, Any]) -> None:
    driver.running.pop(request["consumer"]).stop()


@operation
def ticker_start(driver: Driver, request: dict[str, Any]) -> None:
    ticker = driver.make("Ticker", request["dsn"], **request.get("options", {}))
    background = driver.background(ticker)
    background.thread.start()
    driver.running[request["ticker"]] = background


@operation
def ticker_stats(driver: Driver, request: dict[str, Any]) -> Any:
    stats = driver.running[request["ticker"]].runner.stats()
    return {**stats, "since": micros(stats["since"])}


@operation
def ticker_stop(driver: Driver, request: dict[str, Any]) -> None:
    driver.running.pop(request["ticker"]).stop()


@operation
def producer_start(driver: Driver, request: dict[str, Any]) -> None:
    producer = driver.make("Producer", request["dsn"], **request.get("options", {}))
    driver.producers[request["producer"]] = producer


@operation
def producer_send(driver: Driver, request: dict[str, Any]) -> str:
    options = given(request, "type", *EXTRAS)
    return str(driver.producer(request).send(request["queue"], payload(request), **options))


@operation
def producer_send_many(driver: Driver, request: dict[str, Any]) -> list[str]:
    producer, options = driver.producer(request), given(request, "type")

    def send_one(payload: Any) -> str:
        return str(producer.send(request["queue"], payload, **options))

    with ThreadPoolExecutor(request["tasks"]) as threads:
        return list(threads.map(send_one, request["payloads"]))


@operation
def producer_submit(driver: Driver, request: dict[str, Any]) -> Any:
    return send_all(request, driver.submitting(driver.producer(request)), lambda: None)


@operation
def producer_flush(driver: Driver, request: dict[str, Any]) -> None:
    driver.producer(request).flush()


@operation
def producer_close(driver: Driver, request: dict[str, Any]) -> None:
    driver.producer(request).close(**given(request, "deadline"))


@operation
def producer_stats(driver: Driver, request: dict[str, Any]) -> Any:
    stats = dict(driver.producer(request).stats())
    del stats["last_error"]
    return stats


def plain(name: str, *required: str, optional: tuple[str, ...] = (), answer: Any = None) -> None:
    """An operation whose arguments and result need no conversion but `answer`."""

    def call(driver: Driver, request: dict[str, Any]) -> Any:
        values = [request[argument] for argument in required]
        result = getattr(driver.client(request), name)(*values, **given(request, *optional))
        return answer(result) if answer else result

    OPERATIONS[name] = call


for name in ("close", "begin", "commit", "rollback", "version", "install", "uninstall"):
    plain(name)
for name in ("ticker_all", "maint", "maint_retry_events"):
    plain(name)
for name in ("listen", "unlisten"):
    plain(name, "channel")
for name in ("ticker", "force_next_tick", "force_tick"):
    plain(name, "queue", answer=maybe_text)
for name in ("subscribe", "unsubscribe"):
    plain(name, "queue", "consumer")
MEMBER = ("queue", "consumer", "subconsumer")
plain("touch_subconsumer", *MEMBER)
plain("subscribe_subconsumer", *MEMBER, optional=("convert_normal",))
plain("unsubscribe_subconsumer", *MEMBER, optional=("batch_handling",))
plain("create_queue", "queue")
plain("drop_queue", "queue", optional=("force",))
plain("set_queue_config", "queue", "name", "value")
plain("status", answer=table)
plain("queue_info", optional=("queue",), answer=table)
plain("consumer_info", optional=("queue", "consumer"), answer=table)
plain("dlq_inspect", "queue", optional=("limit",), answer=table)
plain("dlq_redeliver_all", "queue", optional=("consumer",))
plain("dlq_purge", "queue", optional=("older_than",))


# Lines


def answer(driver: Driver, line: str) -> dict[str, Any]:
    request: dict[str, Any] = {}
    try:
        request = json.loads(line)
        return {"id": request.get("id"), "ok": driver.call(request)}
    except Unknown:
        return {"id": request.get("id"), "unknown": True}
    except pgque.PgqueError as error:
        fault = library_error(error)
    except psycopg.Error as error:
        text = error.diag.message_primary or str(error)
        fault = {"kind": "caller", "number": 0, "message": text, "sqlstate": error.sqlstate}
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        fault = {"kind": "driver", "number": 0, "message": text, "sqlstate": None}
    return {"id": request.get("id"), "error": fault}


def main(driver: Driver) -> None:
    for line in sys.stdin:
        print(json.dumps(answer(driver, line)), flush=True)
    # A handler that still sleeps must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main(Driver())
