"""A server is needed: PGQUE_TEST_DSN is a superuser's DSN of a database that tests may fill."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

import pgque


@pytest.fixture(scope="session")
def dsn() -> str:
    dsn = os.environ.get("PGQUE_TEST_DSN")
    if dsn is None:
        pytest.fail("PGQUE_TEST_DSN names no server; run scripts/test python")
    with pgque.connect(dsn, autocommit=True) as client:
        client.install()
    return dsn


@pytest.fixture
def client(dsn: str) -> Iterator[pgque.PgqueClient]:
    with pgque.connect(dsn, autocommit=True) as client:
        yield client


@pytest.fixture
def queue(client: pgque.PgqueClient) -> Iterator[str]:
    """A queue of the test's own, with the consumer ``c`` subscribed."""
    name = f"q_{uuid.uuid4().hex[:12]}"
    client.create_queue(name)
    client.subscribe(name, "c")
    yield name
    client.drop_queue(name, force=True)


@pytest.fixture
def psycopg_conn(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn) as conn:
        yield conn
        conn.rollback()


@pytest.fixture
def tick(client: pgque.PgqueClient, queue: str):
    def tick() -> None:
        client.force_next_tick(queue)
        client.ticker(queue)

    return tick


@pytest.fixture
def consumer(dsn, queue) -> pgque.Consumer:
    return pgque.Consumer(dsn, queue=queue, name="c", retry_after=0)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request) -> tuple[str, dict[str, bool]]:
    """Asynchronous tests run by anyio, on the loop of asyncio and on that of uvloop."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def async_client(dsn: str, anyio_backend) -> AsyncIterator[pgque.AsyncPgqueClient]:
    async with pgque.connect_async(dsn, autocommit=True) as client:
        yield client


@pytest.fixture
def async_consumer(dsn, queue) -> pgque.AsyncConsumer:
    return pgque.AsyncConsumer(dsn, queue=queue, name="c", retry_after=0, poll_interval=1)
