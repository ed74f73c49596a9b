"""A connection of our own for asyncio."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from . import _pgque
from ._awaiting import answer, asynchronous
from ._sql import Composable, rewrite
from .connection import Column, Params
from .types import Notification


class Result:
    """The rows of a statement, as tuples. All of them have arrived."""

    def __init__(
        self, columns: list[str], rows: list[tuple[Any, ...]], rowcount: int | None
    ) -> None:
        self.description = [Column(name) for name in columns] or None
        self.rowcount = -1 if rowcount is None else rowcount
        self._rows = iter(rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None after the last."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        """The next so many rows; fewer at the end."""
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows


asynchronous(_pgque.AsyncConnection, but=("_execute",))


class AsyncConnection(_pgque.AsyncConnection):
    """One connection, whose calls are coroutines. Tasks may share it, and its transaction.

    With ``autocommit`` off, the first statement opens a transaction.
    """

    #: Makes a value of the text of a json or jsonb column; may be set on the connection.
    json_loads: Callable[[str], Any] = staticmethod(json.loads)

    async def execute(self, sql: str | Composable, params: Params = None) -> Result:
        """Run one statement with ``%s`` or ``%(name)s`` in the places of parameters.

        The rows have arrived with the result: ``(await connection.execute(…)).fetchall()``.
        """
        return Result(*await answer(self._execute(*rewrite(sql, params), self.json_loads)))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commit at the end of the block, roll back on an exception; a savepoint inside another.

        What other tasks do on the connection meanwhile is part of it.
        """
        if self.transaction_status == "idle":
            await self.begin()
            commit, rollback = self.commit, self.rollback
        else:
            await self.savepoint()
            commit, rollback = self.release_savepoint, self.rollback_to_savepoint
        try:
            yield self
        except BaseException:
            await rollback()
            raise
        await commit()

    async def notifies(
        self, *, timeout: float | None = None, stop_after: int | None = None
    ) -> AsyncIterator[Notification]:
        """Yield notifications until the time is over, or enough have come."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        count = 0
        while stop_after is None or count < stop_after:
            notification = await self.notification(max(end - time.monotonic(), 0))
            if notification is None:
                return
            yield notification
            count += 1

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
