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
    """What the server offers."""

    server_version: int
    finish: bool
    ticker_pending: bool
    pages: bool


@dataclass(frozen=True)
class Health:
    """How a consumer fares. ``last_error`` is the loop's newest; handlers' are only counted."""

    #: ``stopped``, ``connecting``, ``retrying``, ``standby``, ``idle`` or ``handling``.
    status: str
    #: Whether it waits for messages, waits for its turn, or handles some.
    alive: bool
    #: Since when the status holds.
    since: datetime
    last_error: str | None
    last_error_at: datetime | None


class TickerStats(TypedDict):
    """Where a ticker stands, and what it has done since it was made."""

    #: ``stopped``, ``connecting``, ``standby`` (another one works) or ``leading``.
    state: str
    #: Since when the state holds.
    since: datetime
    #: Ticks, over all queues.
    ticks: int
    #: Messages put back into their queues when their delay was over.
    retries: int
    #: Tables that were emptied and taken into use.
    rotations: int
    #: Connections that were lost, or could not be made.
    reconnects: int
    #: Steps that the server refused, to be tried again.
    failures: int
    #: The latest of either.
    last_error: str | None


class ProducerStats(TypedDict):
    """What a producer has done since it was made."""

    #: Events stored.
    sent: int
    #: Events whose sender got an exception.
    failed: int
    #: Events of these of which nobody knows whether they are stored.
    uncertain: int
    #: Transactions that stored events.
    batches: int
    #: Events in the newest of them.
    batch_size: int
    #: Events that are not answered yet.
    queue_length: int
    #: Connections that were lost, or could not be made.
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
