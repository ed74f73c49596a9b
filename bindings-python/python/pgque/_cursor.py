"""The rows of a statement, told as psycopg's cursors tell them, also to its row factories."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ._sql import Composable, rewrite
from .errors import PgqueClosedError

if TYPE_CHECKING:
    from .connection import Connection

Params = Sequence[Any] | Mapping[str, Any] | None
#: Given the cursor, makes the function that makes a row of a list of values; as psycopg's.
RowFactory = Callable[[Any], Callable[[Sequence[Any]], Any]]

_Self = TypeVar("_Self", bound="BaseCursor")


class Column(NamedTuple):
    """One entry of ``Cursor.description``, as PEP 249 wants it; only the name is known."""

    name: str
    type_code: None = None
    display_size: None = None
    internal_size: None = None
    precision: None = None
    scale: None = None
    null_ok: None = None


class _Columns:
    """The columns of a result where psycopg's row factories look for them."""

    #: libpq's number for a result with rows.
    status = 2

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self.nfields = len(columns)

    def fname(self, index: int) -> bytes:
        return self._columns[index].encode()


class BaseCursor:
    """What a statement has given; all rows have arrived."""

    #: For psycopg's row factories.
    _encoding = "utf-8"
    pgresult: _Columns | None

    def __init__(self, connection: Any, row_factory: RowFactory | None = None) -> None:
        self.connection = connection
        self.row_factory = row_factory or connection.row_factory
        self.arraysize = 1
        self.rowcount = -1
        self.rownumber: int | None = None
        self.description: list[Column] | None = None
        self.closed = False
        self.pgresult = None
        self._rows: Iterator[Any] = iter(())

    def _arguments(self, query: str | Composable, params: Params) -> tuple[Any, ...]:
        """Of the connection's ``_execute``."""
        if self.closed:
            raise PgqueClosedError("the cursor is closed")
        return (*rewrite(query, params), self.connection.json_loads)

    def _take(
        self: _Self, columns: list[str], rows: list[tuple[Any, ...]], count: int | None
    ) -> _Self:
        """Be given what the connection's ``_execute`` gave."""
        self.description = [Column(name) for name in columns] or None
        self.pgresult = _Columns(columns) if columns else None
        self.rowcount = -1 if count is None else count
        self.rownumber = 0 if columns else None
        self._rows = iter(rows)
        if self.row_factory is not None and columns:
            self._rows = map(self.row_factory(self), rows)
        return self

    def _next(self) -> Any:
        for row in self._some(1):
            return row
        raise StopIteration

    def _some(self, size: int | None = None) -> list[Any]:
        """So many of the rows, all unless told."""
        rows = list(itertools.islice(self._rows, size))
        if rows:
            self.rownumber = (self.rownumber or 0) + len(rows)
        return rows

    def _one(self) -> Any:
        rows = self._some(1)
        return rows[0] if rows else None

    def _forget(self) -> None:
        self.closed = True
        self._rows = iter(())


class Result(BaseCursor):
    """The rows of a statement, as tuples or as a row factory makes them. All have arrived."""

    def fetchone(self) -> Any:
        """The next row, or None after the last."""
        return self._one()

    def fetchmany(self, size: int = 0) -> list[Any]:
        """The next rows, ``arraysize`` of them unless told how many; fewer at the end."""
        return self._some(size or self.arraysize)

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return self._some()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._next()


class Cursor(Result):
    """The rows of a statement, as tuples or as a row factory makes them."""

    connection: Connection

    def execute(self, query: str | Composable, params: Params = None, **_ignored: object) -> Cursor:
        """Run one statement with ``%s`` or ``%(name)s`` in the places of parameters.

        psycopg's further arguments, ``prepare`` and ``binary``, change nothing here.
        """
        return self._take(*self.connection._execute(*self._arguments(query, params)))

    def executemany(self, query: str | Composable, params_seq: Iterable[Params]) -> None:
        """Run one statement for each set of parameters; ``rowcount`` is the sum."""
        self.rowcount = sum(max(self.execute(query, params).rowcount, 0) for params in params_seq)

    def close(self) -> None:
        """Forget the rows."""
        self._forget()

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()
