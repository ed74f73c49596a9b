"""Opening a client on a connection of its own."""

from __future__ import annotations

from ._pgque import Message, PgqueClient
from .connection import Connection
from .errors import (
    PgqueBatchNotFound,
    PgqueConnectionError,
    PgqueConsumerNotFound,
    PgqueError,
    PgqueQueueNotFound,
    PgqueReceiveOverflowError,
)
from .types import Event

# Programs import some of these from here.
__all__ = [
    "Event",
    "Message",
    "PgqueBatchNotFound",
    "PgqueClient",
    "PgqueConnectionError",
    "PgqueConsumerNotFound",
    "PgqueError",
    "PgqueQueueNotFound",
    "PgqueReceiveOverflowError",
    "connect",
]


def connect(dsn: str, *, autocommit: bool = False) -> PgqueClient:
    """Connect with a connection string of libpq; the client closes the connection.

    With ``autocommit`` off, the first call opens a transaction, which ``client.conn.commit()`` or
    ``client.commit()`` ends.
    """
    return PgqueClient(Connection(dsn, autocommit=autocommit), _owns_conn=True)
