"""A connection of our own, in the manner of psycopg: what users of ``client.conn`` expect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from . import _pgque
from ._cursor import Column, Cursor, Params, RowFactory
from ._manners import Manners, Rollback, ends_here, waits
from ._sql import Composable
from .types import Notification

__all__ = ["Column", "Connection", "Cursor", "Params", "Rollback", "RowFactory"]


class Connection(_pgque.Connection, Manners):
    """One connection. With ``autocommit`` off, the first statement opens a transaction."""

    def execute(self, query: str | Composable, params: Params = None, **_ignored: object) -> Cursor:
        """Run one statement on a new cursor."""
        return self.cursor().execute(query, params)

    def cursor(self, *, row_factory: RowFactory | None = None, binary: bool = False) -> Cursor:
        """A cursor. All rows are fetched at once; values are the same with ``binary``."""
        return Cursor(self, row_factory)

    def set_autocommit(self, value: bool) -> None:
        """As setting ``autocommit``."""
        self.autocommit = value

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[Connection]:
        """Commit at the end of the block, roll back on an exception; a savepoint inside another.

        ``pgque.connection.Rollback``, or psycopg's, rolls the block back and is not raised further.
        Savepoints have names of their own, so that ``savepoint_name`` changes nothing.
        """
        begin, commit, rollback = (getattr(self, name) for name in self._bounds())
        begin()
        try:
            yield self
        except BaseException as error:
            rollback()
            if ends_here(error):
                return
            raise
        rollback() if force_rollback else commit()

    def notifies(
        self, *, timeout: float | None = None, stop_after: int | None = None
    ) -> Iterator[Notification]:
        """Yield notifications until the time is over, or enough have come."""
        for limit in waits(timeout, stop_after):
            notification = self.notification(limit)
            if notification is None:
                return
            yield notification

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """As psycopg: commit, or roll back on an exception, then close."""
        try:
            if not self.closed:
                self.rollback() if exc_type else self.commit()
        finally:
            self.close()
