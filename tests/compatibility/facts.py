"""What the facts of this program share: how one is registered, how a value and an exception are described."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pgque
import psycopg

FACTS: dict[str, Callable[[Server], Any]] = {}


def fact(function: Callable[[Server], Any]) -> Callable[[Server], Any]:
    """Registers a function whose result both packages must give; its name is the fact's."""
    FACTS[function.__name__] = function
    return function


class Server:
    """The database of one run, and what most facts need of it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.side = psycopg.connect(dsn, autocommit=True)

    def sql(self, text: str, *args: object) -> list[tuple[Any, ...]]:
        cursor = self.side.execute(text, args or None)
        return cursor.fetchall() if cursor.description else []

    def queue(self, *consumers: str) -> str:
        """A new queue; its name is the same in both runs."""
        name = f"q{self.sql('select count(*) + 1 from pgque.queue')[0][0]}"
        self.sql("select pgque.create_queue(%s)", name)
        for consumer in consumers:
            self.sql("select pgque.subscribe(%s, %s)", name, consumer)
        return name

    def send(self, queue: str, *payloads: str, type: str | None = "default") -> list[int]:
        send = "select pgque.send(%s, %s::text, %s::text)"
        return [self.sql(send, queue, type, payload)[0][0] for payload in payloads]

    def tick(self, queue: str) -> None:
        self.sql("select pgque.force_next_tick(%s)", queue)
        self.sql("select pgque.ticker(%s)", queue)

    @contextlib.contextmanager
    def client(self, autocommit: bool = True) -> Iterator[Any]:
        with pgque.connect(self.dsn, autocommit=autocommit) as client:
            yield client

    def events(self, queue: str) -> list[tuple[Any, ...]]:
        """The types and payloads of a queue, in the order of sending."""
        (prefix,) = self.sql("select queue_data_pfx from pgque.queue where queue_name = %s", queue)[
            0
        ]
        return self.sql(f"select ev_type, ev_data from {prefix} order by ev_id")

    def retries(self, queue: str) -> list[tuple[Any, ...]]:
        """Of each message to be retried its payload and the delay in whole seconds."""
        return self.sql(
            """select ev_data, extract(epoch from ev_retry_after - now())::float8
               from pgque.retry_queue r join pgque.queue q on q.queue_id = r.ev_queue
               where queue_name = %s order by ev_id""",
            queue,
        )

    def dead(self, queue: str) -> list[tuple[Any, ...]]:
        return self.sql(
            """select ev_data, dl_reason from pgque.dead_letter d
               join pgque.queue q on q.queue_id = d.dl_queue_id
               where queue_name = %s order by ev_id""",
            queue,
        )

    def cursor(self, queue: str, consumer: str) -> int:
        """How far the consumer has come: at how many ticks it has yet to look."""
        return self.sql(
            """select (select count(*) from pgque.tick t
                       where t.tick_queue = s.sub_queue and t.tick_id > s.sub_last_tick)
               from pgque.subscription s
               join pgque.queue q on q.queue_id = s.sub_queue
               join pgque.consumer c on c.co_id = s.sub_consumer
               where queue_name = %s and co_name = %s""",
            queue,
            consumer,
        )[0][0]


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call gives: its value, or a description of its exception."""
    try:
        return describe(call(*args, **kwargs))
    except BaseException as error:
        return raised(error)


def describe(value: Any) -> Any:
    """A value as JSON can tell it; what differs from run to run is left out."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [describe(item) for item in value]
    if isinstance(value, list | tuple):
        return {type(value).__name__: [describe(item) for item in value]}
    if isinstance(value, dict) and value.keys() == {"raised", "text", "sqlstate", "chained"}:
        return value
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if type(value) is dt.datetime:
        near = abs((value - dt.datetime.now(dt.timezone.utc)).total_seconds()) < 60
        zone = value.tzinfo
        return {"datetime": [type(zone).__name__, str(zone), zone is dt.timezone.utc, near]}
    if isinstance(value, pgque.Message):
        return {
            "message": {name: describe(getattr(value, name)) for name in type(value).__match_args__}
        }
    return {"object": type(value).__name__}


def raised(error: BaseException) -> dict[str, Any]:
    cause = error.__cause__
    return {
        "raised": [kind.__name__ for kind in type(error).__mro__],
        "text": str(error),
        "sqlstate": getattr(cause, "sqlstate", None),
        "chained": cause is not None,
    }


class Lines(logging.Handler):
    """The log lines of the package, as a program's handlers would show them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        traceback = bool(record.exc_info and record.exc_info[1])
        self.lines.append([record.name, record.levelname, record.getMessage(), traceback])

    def __enter__(self) -> Lines:
        logger = logging.getLogger("pgque")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger("pgque").removeHandler(self)


def running(consumer: Any, until: Callable[[], bool], seconds: float = 20) -> Any:
    """Runs the consumer on a thread until that holds; how its run ended, and whether that held."""
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(outcome(consumer.start)), daemon=True)
    thread.start()
    held = wait_for(lambda: until() or bool(ended), seconds) and until()
    consumer.stop()
    thread.join(20)
    return {"held": held, "ended": ended}


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
