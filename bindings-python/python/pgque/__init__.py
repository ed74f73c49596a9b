"""PgQue: an event log and queue inside PostgreSQL."""

from ._pgque import Message, PgqueClient, Producer, __version__
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

__all__ = [
    "Capabilities",
    "Connection",
    "Consumer",
    "Cursor",
    "Dead",
    "Event",
    "Health",
    "Message",
    "Notification",
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
    "Producer",
    "ProducerStats",
    "Replayed",
    "Retry",
    "Rows",
    "Text",
    "Ticker",
    "TickerStats",
    "Verdict",
    "__version__",
    "connect",
    "dead",
    "retry",
]
