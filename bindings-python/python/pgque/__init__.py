"""PgQue: an event log and queue inside PostgreSQL.

Send, in the transaction of a connection of yours, or on one that the client opens::

    pgque.PgqueClient(conn).send("orders", {"id": 42}, type="order.created")

    with pgque.connect(dsn, autocommit=True) as client:
        client.send("orders", {"id": 42}, type="order.created")

Handle; what raises is retried, and delivery is at least once::

    consumer = pgque.Consumer(dsn, queue="orders", name="mailer")

    @consumer.on("order.created")
    def mail(message):
        print(message.json())

    consumer.start()

``PgqueClient`` has the calls, ``Consumer`` the loop that handles, ``Producer`` a sender for many
threads, and ``Ticker`` keeps the engine going; each has its form for asyncio, ``AsyncPgqueClient``
and so on. Every error is a ``PgqueError``. ``pgque.testing`` is for the tests of programs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._pgque import Message, Pending, PgqueClient, Pipeline, Producer, __version__
from .client import connect
from .connection import Connection, Cursor
from .consumer import Consumer
from .errors import (
    PgqueBatchNotFound,
    PgqueClosedError,
    PgqueConfigurationError,
    PgqueConflict,
    PgqueConnectionError,
    PgqueConsumerNotFound,
    PgqueError,
    PgqueInternalError,
    PgqueInvalidInput,
    PgqueNotInstalled,
    PgquePermissionDenied,
    PgqueQueueNotFound,
    PgqueReceiveOverflowError,
    PgqueServerError,
    PgqueTimeoutError,
)
from .ticker import Ticker
from .types import (
    Capabilities,
    Event,
    Health,
    Notification,
    ProducerStats,
    Replayed,
    Rows,
    Text,
    TickerStats,
)
from .verdicts import Dead, Retry, Verdict, dead, retry

if TYPE_CHECKING:
    from .async_client import AsyncPgqueClient, connect_async
    from .async_connection import AsyncConnection, AsyncCursor, Result
    from .async_consumer import AsyncConsumer
    from .async_producer import AsyncProducer
    from .async_ticker import AsyncTicker

__all__ = [
    "AsyncConnection",
    "AsyncConsumer",
    "AsyncCursor",
    "AsyncPgqueClient",
    "AsyncProducer",
    "AsyncTicker",
    "Capabilities",
    "Connection",
    "Consumer",
    "Cursor",
    "Dead",
    "Event",
    "Health",
    "Message",
    "Notification",
    "Pending",
    "PgqueBatchNotFound",
    "PgqueClient",
    "PgqueClosedError",
    "PgqueConfigurationError",
    "PgqueConflict",
    "PgqueConnectionError",
    "PgqueConsumerNotFound",
    "PgqueError",
    "PgqueInternalError",
    "PgqueInvalidInput",
    "PgqueNotInstalled",
    "PgquePermissionDenied",
    "PgqueQueueNotFound",
    "PgqueReceiveOverflowError",
    "PgqueServerError",
    "PgqueTimeoutError",
    "Pipeline",
    "Producer",
    "ProducerStats",
    "Replayed",
    "Result",
    "Retry",
    "Rows",
    "Text",
    "Ticker",
    "TickerStats",
    "Verdict",
    "__version__",
    "connect",
    "connect_async",
    "dead",
    "retry",
]

# Imported when asked for: asyncio takes as long to import as all the rest.
_ASYNC = {
    "AsyncConnection": "async_connection",
    "AsyncConsumer": "async_consumer",
    "AsyncCursor": "async_connection",
    "AsyncPgqueClient": "async_client",
    "AsyncProducer": "async_producer",
    "AsyncTicker": "async_ticker",
    "Result": "async_connection",
    "connect_async": "async_client",
}


def __getattr__(name: str) -> Any:
    if name not in _ASYNC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ASYNC[name]}"), name)
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ASYNC})
