"""Fixtures for pytest, had by ``pytest_plugins = ["pgque.pytest_plugin"]`` in a ``conftest.py``.

They are not loaded by themselves: a project that does not test with them never meets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from . import testing


@pytest.fixture(scope="session")
def pgque_dsn() -> Iterator[str]:
    """A database with the engine for this session, on PGQUE_TEST_DSN's server or one of its own."""
    with testing.server() as dsn, testing.database(dsn) as fresh:
        yield fresh


@pytest.fixture
def make_pgque_queue(pgque_dsn: str) -> Iterator[Callable[..., testing.Queue]]:
    """Makes queues of a name, or of one of their own; they are dropped after the test."""
    with ExitStack() as queues:
        yield lambda name=None: queues.enter_context(testing.Queue(pgque_dsn, name))


@pytest.fixture
def pgque_queue(make_pgque_queue: Callable[..., testing.Queue]) -> testing.Queue:
    """A queue of the test's own."""
    return make_pgque_queue()
