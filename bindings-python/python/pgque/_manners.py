"""What both of our connections have of psycopg's manners."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from ._cursor import RowFactory
from ._info import ConnectionInfo, Native


class Rollback(Exception):
    """Raised in a ``transaction()`` block, rolls that block back and goes no further."""


class Manners:
    """The base of ``Connection`` and ``AsyncConnection``, beside the native one."""

    #: Makes a value of the text of a json or jsonb column; may be set on the connection.
    json_loads: Callable[[str], Any] = staticmethod(json.loads)
    #: Makes the rows of cursors; may be set on the connection. None gives tuples.
    row_factory: RowFactory | None = None

    @property
    def info(self: Native) -> ConnectionInfo:
        """What psycopg's programs ask of ``conn.info``."""
        return ConnectionInfo(self)

    @property
    def broken(self: Native) -> bool:
        """As ``closed``: whether nothing more can be done with it."""
        return self.closed

    def _bounds(self: Native) -> tuple[str, str, str]:
        """The names of the calls that open a transaction, or one inside it, commit it, or not."""
        if self.transaction_status == "idle":
            return "begin", "commit", "rollback"
        return "savepoint", "release_savepoint", "rollback_to_savepoint"


def ends_here(error: BaseException) -> bool:
    """Whether an exception only rolls its block back: psycopg's, which need not be there, or ours.

    One of psycopg's that names an outer block is for that block.
    """
    return type(error).__name__ == "Rollback" and getattr(error, "transaction", None) is None


def waits(timeout: float | None, stop_after: int | None) -> Iterator[float]:
    """How long to wait for each of so many notifications, all of them within the timeout."""
    end = float("inf") if timeout is None else time.monotonic() + timeout
    for _ in itertools.count() if stop_after is None else range(stop_after):
        yield max(end - time.monotonic(), 0)
