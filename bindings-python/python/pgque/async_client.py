"""The client for asyncio, and opening one on a connection of its own."""

from __future__ import annotations

from ._awaiting import Opening, answer, asynchronous, closing
from ._pgque import AsyncPgqueClient, open_async
from .async_connection import AsyncConnection

__all__ = ["AsyncPgqueClient", "connect_async"]

# What the native class hands on to its connection is awaitable as it is.
asynchronous(AsyncPgqueClient, but=("execute", "notification", "transaction"))
closing(AsyncPgqueClient)


def connect_async(dsn: str, *, autocommit: bool = False) -> Opening[AsyncPgqueClient]:
    """As ``connect``, for asyncio.

    ``client = await pgque.connect_async(dsn)``, or
    ``async with pgque.connect_async(dsn) as client:``, which closes it at the end.
    """

    async def make() -> AsyncPgqueClient:
        handle = await answer(open_async(dsn, autocommit))
        return AsyncPgqueClient(AsyncConnection(handle), _owns_conn=True)

    return Opening(make)
