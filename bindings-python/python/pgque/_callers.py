"""Asynchronous connections of the caller's: how a statement of ours is run on each kind of them."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from ._pgque import Dialogue

_Params = Sequence[str | None]
_Rows = Iterable[Iterable[Any]]
#: SQLSTATE, message, detail, hint, constraint.
_Facts = tuple[str, str, str | None, str | None, str | None]


async def converse(dialogue: Dialogue) -> Any:
    """Make a call: run its statements, one after the other, until it needs none."""
    caller: Caller = dialogue.caller
    # A driver runs one statement at a time, and not every one lets a second wait.
    async with caller.turn:
        statement = dialogue.begin()
        while statement is not None:
            try:
                rows = await caller.run(*statement)
            except Exception as error:
                if not caller.is_error(error):
                    raise
                statement = dialogue.refused(error, caller.facts(error))
            else:
                statement = dialogue.answered(rows)
        return dialogue.result()


class Caller:
    """A connection of the caller's."""

    def __init__(self, conn: Any, *, numbered: bool) -> None:
        self.conn = conn
        #: Whether the driver wants ``$1``, with a type, or ``%s``.
        self.numbered = numbered
        self.turn = asyncio.Lock()

    async def run(self, sql: str, params: _Params) -> _Rows:
        """Run a statement of text parameters, whose columns are text."""
        raise NotImplementedError

    def is_error(self, error: Exception) -> bool:
        """Whether the driver itself says that the statement failed."""
        raise NotImplementedError

    def facts(self, error: Exception) -> _Facts | None:
        """What the server said; None if it was not the server that spoke."""
        raise NotImplementedError


class PsycopgCaller(Caller):
    """psycopg 3's ``AsyncConnection``."""

    def __init__(self, conn: Any) -> None:
        super().__init__(conn, numbered=False)
        self._psycopg = importlib.import_module("psycopg")

    async def run(self, sql: str, params: _Params) -> _Rows:
        # Whatever row factory the connection has, we count columns.
        async with self.conn.cursor(row_factory=self._psycopg.rows.tuple_row) as cursor:
            await cursor.execute(sql, params)
            rows: _Rows = await cursor.fetchall()
            return rows

    def is_error(self, error: Exception) -> bool:
        return isinstance(error, self._psycopg.Error)

    def facts(self, error: Exception) -> _Facts | None:
        return _facts_of_psycopg(error)


class AsyncpgCaller(Caller):
    """asyncpg's connection, also as its pool lends it."""

    def __init__(self, conn: Any) -> None:
        super().__init__(conn, numbered=True)
        self._asyncpg = importlib.import_module("asyncpg")

    async def run(self, sql: str, params: _Params) -> _Rows:
        rows: _Rows = await self.conn.fetch(sql, *params)
        return rows

    def is_error(self, error: Exception) -> bool:
        kinds = (self._asyncpg.PostgresError, self._asyncpg.InterfaceError, OSError)
        return isinstance(error, kinds)

    def facts(self, error: Exception) -> _Facts | None:
        return _facts_of_asyncpg(error)


class SqlalchemyCaller(Caller):
    """SQLAlchemy's ``AsyncConnection`` or ``AsyncSession``, on psycopg 3 or asyncpg."""

    def __init__(self, conn: Any, driver: str) -> None:
        super().__init__(conn, numbered=driver == "asyncpg")
        self._errors = importlib.import_module("sqlalchemy.exc")

    async def run(self, sql: str, params: _Params) -> _Rows:
        conn = self.conn
        if hasattr(conn, "get_bind"):
            conn = await conn.connection()
        result = await conn.exec_driver_sql(sql, tuple(params))
        rows: _Rows = result.fetchall()
        return rows

    def is_error(self, error: Exception) -> bool:
        return isinstance(error, self._errors.SQLAlchemyError)

    def facts(self, error: Exception) -> _Facts | None:
        driver: BaseException | None = getattr(error, "orig", None)
        if not self.numbered:
            return _facts_of_psycopg(driver)
        # SQLAlchemy puts an exception of its own around asyncpg's.
        return _facts_of_asyncpg(driver and driver.__cause__)


def _facts_of_psycopg(error: Any) -> _Facts | None:
    if getattr(error, "sqlstate", None) is None:
        return None
    said = error.diag
    message = said.message_primary or str(error)
    return (
        error.sqlstate,
        message,
        said.message_detail,
        said.message_hint,
        said.constraint_name,
    )


def _facts_of_asyncpg(error: Any) -> _Facts | None:
    # Only what the server itself has said has a severity.
    if getattr(error, "severity", None) is None:
        return None
    message = getattr(error, "message", None) or str(error)
    return (error.sqlstate, message, error.detail, error.hint, error.constraint_name)


def caller_of(conn: Any) -> Caller:
    """The way to a connection. Its type is not asked for: proxies around one are welcome."""
    if asyncio.iscoroutinefunction(getattr(conn, "commit", None)):
        if hasattr(conn, "pgconn"):
            return PsycopgCaller(conn)
        if (driver := _sqlalchemy_driver(conn)) is not None:
            return SqlalchemyCaller(conn, driver)
    elif "asyncpg" in sys.modules and hasattr(conn, "fetchrow") and hasattr(conn, "fetch"):
        return AsyncpgCaller(conn)
    raise TypeError(
        "conn must be an asynchronous connection: of psycopg 3, asyncpg, SQLAlchemy on one of "
        f"these, or of pgque.connect_async(), got {type(conn)}; PgqueClient takes blocking ones"
    )


def _sqlalchemy_driver(conn: Any) -> str | None:
    """``psycopg`` or ``asyncpg``."""
    bind = conn.get_bind() if hasattr(conn, "get_bind") else conn
    dialect = getattr(bind, "dialect", None)
    driver = {"psycopg": "psycopg", "psycopg_async": "psycopg", "asyncpg": "asyncpg"}.get(
        getattr(dialect, "driver", "")
    )
    return driver if getattr(dialect, "name", "") == "postgresql" else None
