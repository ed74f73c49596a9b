"""What a scenario is given: drivers, a database of its own, a look from the side, and checks."""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from driver import CallError, Client, Consumer, Driver, Failure, Ticker
from psycopg import conninfo, sql

__all__ = [
    "CallError",
    "Client",
    "Consumer",
    "Driver",
    "Env",
    "Failure",
    "Ticker",
    "check",
    "equal",
    "refused",
]

Scenario = Callable[["Env"], None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    """Registers a scenario under its name, which is stable; the first line of its text is the
    promise."""
    name = function.__name__
    assert name not in SCENARIOS, f"two scenarios are called {name}"
    assert function.__doc__, f"{name} promises nothing"
    SCENARIOS[name] = function
    return function


def load_scenarios() -> dict[str, Scenario]:
    import scenarios

    for module in pkgutil.iter_modules(scenarios.__path__):
        importlib.import_module(f"scenarios.{module.name}")
    return SCENARIOS


class Env:
    """One scenario in one language."""

    unique = itertools.count(1)

    def __init__(self, language: str, admin_dsn: str, database: str, stack: ExitStack) -> None:
        self.language = language
        self.database = database
        self.stack = stack
        self.admin_dsn = admin_dsn
        self.dsn = self.dsn_with(dbname=database)
        self.direct_dsn = conninfo.make_conninfo(admin_dsn, dbname=database)
        self.driver = self.start_driver()
        self._side: psycopg.Connection | None = None

    def start_driver(self) -> Driver:
        """Another process of the same language."""
        driver = Driver(self.language)
        self.stack.callback(driver.end)
        return driver

    def dsn_with(self, **settings: Any) -> str:
        # Behind a pooler, if there is one: see tests/connection/pooler.py.
        pooler = conninfo.conninfo_to_dict(os.environ.get("PGQUE_TEST_POOLER", ""))
        wanted = {"dbname": self.database, **pooler, **settings}
        return conninfo.make_conninfo(self.admin_dsn, **wanted)

    def client(self, **arguments: Any) -> Client:
        return self.driver.connect(self.dsn, **{"autocommit": True, **arguments})

    def queue_with_consumer(self, queue: str = "orders", consumer: str = "mail") -> Client:
        """A connected client, a queue, and one consumer subscribed to it."""
        client = self.client()
        client.create_queue(queue=queue)
        client.subscribe(queue=queue, consumer=consumer)
        return client

    def consumer(
        self, handlers: dict[str, str], queue: str = "orders", name: str = "mail", **options: Any
    ) -> Consumer:
        return self.driver.consumer(self.dsn, queue, name, handlers, **options)

    def batch_consumer(self, behaviour: str, **options: Any) -> Consumer:
        """A consumer `mail` of `orders` with one handler for whole batches."""
        callbacks = {"batch_handler": behaviour}
        return self.driver.consumer(self.dsn, "orders", "mail", {}, callbacks, **options)

    @property
    def side(self) -> psycopg.Connection:
        """A superuser's own connection, in autocommit, which does not pass through the library."""
        if self._side is None:
            self._side = self.stack.enter_context(psycopg.connect(self.direct_dsn, autocommit=True))
        return self._side

    def query(self, text: str, *params: Any) -> list[tuple[Any, ...]]:
        return self.side.execute(text, params).fetchall()

    def value(self, text: str, *params: Any) -> Any:
        return self.query(text, *params)[0][0]

    def tick(self, queue: str = "orders") -> None:
        """Closes a window, from the side: what was committed until now becomes deliverable."""
        self.side.execute("select pgque.force_next_tick(%s)", (queue,))
        self.side.execute("select pgque.ticker(%s)", (queue,))

    def release_retries(self, queue: str = "orders") -> None:
        """Makes every retry due, moves it back and ticks."""
        self.side.execute(
            "update pgque.retry_queue set ev_retry_after = now() - interval '1 second'"
        )
        while self.value("select pgque.maint_retry_events()"):
            pass
        self.tick(queue)

    def role(self, *, member_of: str | None = None, password: str | None = None) -> str:
        """A login role of this scenario alone; dropped at its end."""
        name = f"{self.database}_{next(self.unique)}"
        identifier = sql.Identifier(name)
        self.side.execute(sql.SQL("create role {} login").format(identifier))
        self.stack.callback(self._drop_role, identifier)
        if password is not None:
            self.side.execute(
                sql.SQL("alter role {} password {}").format(identifier, sql.Literal(password))
            )
        if member_of is not None:
            self.side.execute(
                sql.SQL("grant {} to {}").format(sql.Identifier(member_of), identifier)
            )
        return name

    def _drop_role(self, identifier: sql.Identifier) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("drop role {}").format(identifier))

    def eventually(self, condition: Callable[[], Any], what: str, timeout: float = 15.0) -> Any:
        """Waits until the condition holds and gives its value."""
        deadline = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise Failure(f"not within {timeout:.0f} s: {what}")
            time.sleep(0.02)


def check(condition: Any, what: str) -> None:
    if not condition:
        raise Failure(what)


def equal(actual: Any, expected: Any, what: str) -> None:
    if actual != expected:
        raise Failure(f"{what}: expected {expected!r}, got {actual!r}")


NUMBERS = {
    "connection": 1,
    "configuration": 2,
    "closed": 3,
    "timeout": 4,
    "queue_not_found": 5,
    "consumer_not_found": 6,
    "batch_not_found": 7,
    "overflow": 8,
    "permission_denied": 9,
    "invalid_input": 10,
    "conflict": 11,
    "not_installed": 12,
    "server": 13,
    "internal": 14,
    "interrupted": 15,
}
ANY = object()


def refused(
    call: Callable[[], Any],
    kind: str,
    *,
    op: str | None = None,
    sqlstate: Any = ANY,
    says: str = "",
) -> CallError:
    """The call must fail with this kind and with every fact that an error carries."""
    try:
        result = call()
    except CallError as error:
        equal(error.kind, kind, f"kind of {error.error}")
        equal(error.number, NUMBERS[kind], f"number of {error.error}")
        if op is not None:
            equal(error.op, op, f"op of {error.error}")
        if sqlstate is not ANY:
            equal(error.sqlstate, sqlstate, f"sqlstate of {error.error}")
        check(
            says.lower() in error.message.lower(), f"the message should say {says!r}: {error.error}"
        )
        for fact in ("detail", "hint", "retriable", "configured_limit"):
            getattr(error, fact)
        return error
    raise Failure(f"should fail with {kind}, but gave {result!r}")


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    check(took <= seconds, f"{what} took {took:.2f} s, allowed are {seconds} s")
