"""A connection of our own for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from . import _pgque
from ._awaiting import answer, asynchronous
from ._cursor import BaseCursor, Params, Result, RowFactory
from ._manners import Manners, ends_here, waits
from ._sql import Composable
from .types import Notification

__all__ = ["AsyncConnection", "AsyncCursor", "Result"]

asynchronous(_pgque.AsyncConnection, but=("_execute",))


class AsyncCursor(BaseCursor):
    """As ``Cursor``, for asyncio: its calls are coroutines, those that fetch rows as well."""

    connection: AsyncConnection

    async def execute(
        self, query: str | Composable, params: Params = None, **_ignored: object
    ) -> AsyncCursor:
        """Run one statement with ``%s`` or ``%(name)s`` in the places of parameters.

        psycopg's further arguments, ``prepare`` and ``binary``, change nothing here.
        """
        return self._take(*await answer(self.connection._execute(*self._arguments(query, params))))

    async def executemany(self, query: str | Composable, params_seq: Iterable[Params]) -> None:
        """Run one statement for each set of parameters; ``rowcount`` is the sum."""
        self.rowcount = sum([max((await self.execute(query, p)).rowcount, 0) for p in params_seq])

    async def fetchone(self) -> Any:
        """The next row, or None after the last."""
        return self._one()

    async def fetchmany(self, size: int = 0) -> list[Any]:
        """The next rows, ``arraysize`` of them unless told how many; fewer at the end."""
        return self._some(size or self.arraysize)

    async def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return self._some()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return self._next()
        except StopIteration:
            raise StopAsyncIteration from None

    async def close(self) -> None:
        """Forget the rows."""
        self._forget()

    async def __aenter__(self) -> AsyncCursor:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._forget()


class AsyncConnection(_pgque.AsyncConnection, Manners):
    """One connection, whose calls are coroutines. Tasks may share it, and its transaction.

    With ``autocommit`` off, the first statement opens a transaction.
    """

    async def execute(
        self, query: str | Composable, params: Params = None, **_ignored: object
    ) -> Result:
        """Run one statement with ``%s`` or ``%(name)s`` in the places of parameters.

        The rows have arrived with the result: ``(await connection.execute(…)).fetchall()``.
        """
        result = Result(self)
        return result._take(*await answer(self._execute(*result._arguments(query, params))))

    def cursor(self, *, row_factory: RowFactory | None = None, binary: bool = False) -> AsyncCursor:
        """A cursor. All rows are fetched at once; values are the same with ``binary``."""
        return AsyncCursor(self, row_factory)

    async def set_autocommit(self, value: bool) -> None:
        """As setting ``autocommit``."""
        self.autocommit = value

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """Commit at the end of the block, roll back on an exception; a savepoint inside another.

        What other tasks do on the connection meanwhile is part of it.
        ``pgque.connection.Rollback``, or psycopg's, rolls the block back and is not raised further.
        Savepoints have names of their own, so that ``savepoint_name`` changes nothing.
        """
        begin, commit, rollback = (getattr(self, name) for name in self._bounds())
        await begin()
        try:
            yield self
        except BaseException as error:
            await rollback()
            if ends_here(error):
                return
            raise
        await (rollback() if force_rollback else commit())

    async def notifies(
        self, *, timeout: float | None = None, stop_after: int | None = None
    ) -> AsyncIterator[Notification]:
        """Yield notifications until the time is over, or enough have come."""
        for limit in waits(timeout, stop_after):
            notification = await self.notification(limit)
            if notification is None:
                return
            yield notification

    async def __aenter__(self) -> AsyncConnection:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """As psycopg: commit, or roll back on an exception, then close."""
        try:
            if not self.closed:
                await (self.rollback() if exc_type else self.commit())
        finally:
            await self.close()
