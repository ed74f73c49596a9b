"""``conn.info``, of which programs written for psycopg ask a few things."""

from __future__ import annotations

import enum
from datetime import tzinfo
from typing import TYPE_CHECKING

from ._zones import zone

if TYPE_CHECKING:
    from .connection import Connection


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
    """Facts about a connection; those that the server has to be asked for are asked for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def transaction_status(self) -> TransactionStatus:
        if self._connection.closed:
            return TransactionStatus.UNKNOWN
        return _STATUS[self._connection.transaction_status]

    @property
    def timezone(self) -> tzinfo:
        """The zone in which times are given."""
        return zone(self._connection.time_zone)

    @property
    def encoding(self) -> str:
        return "utf-8"

    @property
    def backend_pid(self) -> int:
        """The process that serves the session."""
        return self._connection.backend_pid
