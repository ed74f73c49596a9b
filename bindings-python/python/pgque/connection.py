"""A connection of our own, in the manner of psycopg: what users of ``client.conn`` expect."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from . import _pgque
from ._info import ConnectionInfo
from ._sql import Composable, rewrite
from .errors import PgqueClosedError
from .types import Notification

Params = Sequence[Any] | Mapping[str, Any] | None
#: Given the cursor, makes the function that makes a row of a list of values; as psycopg's.
RowFactory = Callable[["Cursor"], Callable[[Sequence[Any]], Any]]


class Column(NamedTuple):
    """One entry of ``Cursor.description``, as PEP 249 wants it; only the name is known."""

    name: str
    type_code: None = None
    display_size: None = None
    internal_size: None = None
    precision: None = None
    scale: None = None
    null_ok: None = None


class Rollback(Exception):
    """Raised in a ``transaction()`` block, rolls that block back and goes no further."""


class _Result:
    """The columns of a result where psycopg's row factories look for them."""

    #: libpq's number for a result with rows.
    status = 2

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self.nfields = len(columns)

    def fname(self, index: int) -> bytes:
        return self._columns[index].encode()


class Cursor:
    """The rows of a statement, as tuples or as a row factory makes them."""

    #: For psycopg's row factories.
    _encoding = "utf-8"
    pgresult: _Result | None

    def __init__(self, connection: Connection, row_factory: RowFactory | None = None) -> None:
        self.connection = connection
        self.row_factory = row_factory
        self.arraysize = 1
        self.rowcount = -1
        self.rownumber: int | None = None
        self.description: list[Column] | None = None
        self.closed = False
        self.pgresult = None
        self._rows: Iterator[Any] = iter(())

    def execute(self, query: str | Composable, params: Params = None, **_ignored: object) -> Cursor:
        """Run one statement with ``%s`` or ``%(name)s`` in the places of parameters.

        psycopg's further arguments, ``prepare`` and ``binary``, change nothing here.
        """
        if self.closed:
            raise PgqueClosedError("the cursor is closed")
        connection = self.connection
        columns, rows, count = connection._execute(*rewrite(query, params), connection.json_loads)
        self.description = [Column(name) for name in columns] or None
        self.pgresult = _Result(columns) if columns else None
        self.rowcount = -1 if count is None else count
        self.rownumber = 0 if columns else None
        self._rows = iter(rows)
        if self.row_factory is not None and columns:
            self._rows = map(self.row_factory(self), rows)
        return self

    def executemany(self, query: str | Composable, params_seq: Iterable[Params]) -> None:
        """Run one statement for each set of parameters; ``rowcount`` is the sum."""
        total = 0
        for params in params_seq:
            total += max(self.execute(query, params).rowcount, 0)
        self.rowcount = total

    def fetchone(self) -> Any:
        """The next row, or None."""
        return next(self, None)

    def fetchmany(self, size: int = 0) -> list[Any]:
        """The next rows, ``arraysize`` of them unless told how many."""
        return [row for _, row in zip(range(size or self.arraysize), self, strict=False)]

    def fetchall(self) -> list[Any]:
        """All further rows."""
        return list(self)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        row = next(self._rows)
        self.rownumber = (self.rownumber or 0) + 1
        return row

    def close(self) -> None:
        """Forget the rows."""
        self.closed = True
        self._rows = iter(())

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Connection(_pgque.Connection):
    """One connection. With ``autocommit`` off, the first statement opens a transaction."""

    #: Makes a value of the text of a json or jsonb column; may be set on the connection.
    json_loads: Callable[[str], Any] = staticmethod(json.loads)
    #: Makes the rows of cursors; may be set on the connection. None gives tuples.
    row_factory: RowFactory | None = None

    def execute(self, query: str | Composable, params: Params = None, **_ignored: object) -> Cursor:
        """Run one statement on a new cursor."""
        return self.cursor().execute(query, params)

    def cursor(self, *, row_factory: RowFactory | None = None, binary: bool = False) -> Cursor:
        """A cursor. All rows are fetched at once; values are the same with ``binary``."""
        return Cursor(self, row_factory or self.row_factory)

    @property
    def info(self) -> ConnectionInfo:
        """What psycopg's programs ask of ``conn.info``."""
        return ConnectionInfo(self)

    @property
    def broken(self) -> bool:
        """As ``closed``: whether nothing more can be done with it."""
        return self.closed

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
        if self.transaction_status == "idle":
            self.begin()
            commit, rollback = self.commit, self.rollback
        else:
            self.savepoint()
            commit, rollback = self.release_savepoint, self.rollback_to_savepoint
        try:
            yield self
        except BaseException as error:
            rollback()
            # psycopg's need not be there, and one that names an outer block is for that block.
            if type(error).__name__ == "Rollback" and getattr(error, "transaction", None) is None:
                return
            raise
        rollback() if force_rollback else commit()

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
