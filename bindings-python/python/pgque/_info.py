"""``conn.info``, of which programs written for psycopg ask a few things."""

from __future__ import annotations

import enum
from datetime import tzinfo
from typing import Protocol

from ._zones import zone


class Native(Protocol):
    """What both of our connections know by themselves."""

    @property
    def closed(self) -> bool: ...

    @property
    def transaction_status(self) -> str: ...

    @property
    def time_zone(self) -> str: ...

    @property
    def backend_pid(self) -> int: ...


class TransactionStatus(enum.IntEnum):
    """Where the connection stands; names and numbers are libpq's."""

    IDLE = 0
    ACTIVE = 1
    INTRANS = 2
    INERROR = 3
    UNKNOWN = 4


_STATUS = {
    "idle": TransactionStatus.IDLE,
    "active": TransactionStatus.INTRANS,
    "failed": TransactionStatus.INERROR,
}


class ConnectionInfo:
    """Facts about a connection, which the server need not be asked for."""

    def __init__(self, connection: Native) -> None:
        self._connection = connection

    @property
    def transaction_status(self) -> TransactionStatus:
        """Where the connection stands."""
        if self._connection.closed:
            return TransactionStatus.UNKNOWN
        return _STATUS[self._connection.transaction_status]

    @property
    def timezone(self) -> tzinfo:
        """The zone in which times are given."""
        return zone(self._connection.time_zone)

    @property
    def encoding(self) -> str:
        """That of texts, which is always the same."""
        return "utf-8"

    @property
    def backend_pid(self) -> int:
        """The process that serves the session."""
        return self._connection.backend_pid
