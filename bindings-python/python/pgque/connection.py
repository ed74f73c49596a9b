"""A connection of our own, in the manner of psycopg: what users of ``client.conn`` expect."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from . import _pgque
from ._sql import Composable, rewrite
from .types import Notification

Params = Sequence[Any] | Mapping[str, Any] | None


class Column(NamedTuple):
    """One entry of ``Cursor.description``, as PEP 249 wants it; only the name is known."""

    name: str
    type_code: None = None
    display_size: None = None
    internal_size: None = None
    precision: None = None
    scale: None = None
    null_ok: None = None


class Cursor:
    """The rows of a statement, as tuples."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self.rowcount = -1
        self.description: list[Column] | None = None
        self._rows: Iterator[tuple[Any, ...]] = iter(())

    def execute(self, sql: str | Composable, params: Params = None) -> Cursor:
        """Run one statement with ``%s`` or ``%(name)s`` in the places of parameters."""
        connection = self.connection
        columns, rows, count = connection._execute(*rewrite(sql, params), connection.json_loads)
        self.description = [Column(name) for name in columns] or None
        self.rowcount = -1 if count is None else count
        self._rows = iter(rows)
        return self

    def executemany(self, sql: str | Composable, params_seq: Iterable[Params]) -> None:
        """Run one statement for each set of parameters; ``rowcount`` is the sum."""
        total = 0
        for params in params_seq:
            total += max(self.execute(sql, params).rowcount, 0)
        self.rowcount = total

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None after the last."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 0) -> list[tuple[Any, ...]]:
        """The next so many rows, or ``arraysize``; fewer at the end."""
        return [row for _, row in zip(range(size or self.arraysize), self._rows, strict=False)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def close(self) -> None:
        """Forget the rows."""
        self._rows = iter(())

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Connection(_pgque.Connection):
    """One connection. With ``autocommit`` off, the first statement opens a transaction."""

    #: Makes a value of the text of a json or jsonb column; may be set on the connection.
    json_loads: Callable[[str], Any] = staticmethod(json.loads)

    def execute(self, sql: str | Composable, params: Params = None) -> Cursor:
        """Run one statement on a new cursor."""
        return self.cursor().execute(sql, params)

    def cursor(self) -> Cursor:
        """A new cursor on this connection."""
        return Cursor(self)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit at the end of the block, roll back on an exception; a savepoint inside another."""
        if self.transaction_status == "idle":
            self.begin()
            commit, rollback = self.commit, self.rollback
        else:
            self.savepoint()
            commit, rollback = self.release_savepoint, self.rollback_to_savepoint
        try:
            yield self
        except BaseException:
            rollback()
            raise
        commit()

    def notifies(
        self, *, timeout: float | None = None, stop_after: int | None = None
    ) -> Iterator[Notification]:
        """Yield notifications until the time is over, or enough have come."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        count = 0
        while stop_after is None or count < stop_after:
            notification = self.notification(max(end - time.monotonic(), 0))
            if notification is None:
                return
            yield notification
            count += 1

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
