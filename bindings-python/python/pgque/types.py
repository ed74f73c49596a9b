"""Plain values that go in and come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from ._pgque import Message


@dataclass
class Event:
    """An event to send. ``extra`` may hold the texts ``extra1`` to ``extra4``."""

    payload: Any
    type: str | None = "default"
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    """A payload that is stored as it stands, without being JSON; ``Text(None)`` is SQL NULL."""

    value: str | None


class Notification(NamedTuple):
    """A NOTIFY that arrived; the names are psycopg's."""

    channel: str
    payload: str
    pid: int


class Capabilities(NamedTuple):
    """What the server offers.

    ``server_version`` is PostgreSQL's, as a number; the others say whether the engine finishes
    batches in one call, tells whether a tick is due, and hands large batches out in pages.
    """

    server_version: int
    finish: bool
    ticker_pending: bool
    pages: bool


@dataclass(frozen=True)
class Health:
    """How a consumer fares.

    ``status`` is ``stopped``, ``connecting``, ``retrying``, ``standby``, ``idle`` or ``handling``,
    and holds ``since`` then; ``alive`` says whether it waits for messages, waits for its turn, or
    handles some. ``last_error`` is the loop's newest; handlers' are only counted.
    """

    status: str
    alive: bool
    since: datetime
    last_error: str | None
    last_error_at: datetime | None


class TickerStats(TypedDict):
    """Where a ticker stands, and what it has done since it was made.

    ``state``, ``since``
        ``stopped``, ``connecting``, ``standby`` (another one works) or ``leading``; since when.
    ``ticks``
        Ticks, over all queues.
    ``retries``
        Messages put back into their queues when their delay was over.
    ``rotations``
        Tables that were emptied and taken into use.
    ``reconnects``, ``failures``
        Connections that were lost, or could not be made; steps that the server refused, to be
        tried again. ``last_error`` is the latest of either.
    """

    state: str
    since: datetime
    ticks: int
    retries: int
    rotations: int
    reconnects: int
    failures: int
    last_error: str | None


class ProducerStats(TypedDict):
    """What a producer has done since it was made.

    ``sent``
        Events stored.
    ``failed``, ``uncertain``
        Events whose sender got an exception; those of them of which nobody knows whether they are
        stored.
    ``batches``, ``batch_size``
        Transactions that stored events; events in the newest of them.
    ``queue_length``
        Events that are not answered yet.
    ``reconnects``
        Connections that were lost, or could not be made.
    """

    sent: int
    failed: int
    uncertain: int
    batches: int
    batch_size: int
    queue_length: int
    reconnects: int
    last_error: str | None


class Replayed(NamedTuple):
    """The outcome of ``dlq_replay_all``."""

    replayed: int
    failed: int
    first_error: str | None


class Rows(list[dict[str, Any]]):
    """Rows by column name; ``columns`` tells the names even where there is no row."""

    columns: tuple[str, ...]

    def __init__(self, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        self.columns = tuple(columns)
        super().__init__(dict(zip(self.columns, row, strict=True)) for row in rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.columns, [tuple(row.values()) for row in self])


@dataclass
class _MessageFields:
    """The fields of a Message, for ``dataclasses.asdict`` and its like, which know nothing else."""

    msg_id: int
    batch_id: int
    type: str | None
    payload: Any
    retry_count: int | None
    created_at: datetime
    extra1: str | None = None
    extra2: str | None = None
    extra3: str | None = None
    extra4: str | None = None


Message.__dataclass_fields__ = _MessageFields.__dataclass_fields__
