"""The consumer's face; fetching, waiting, retrying and finishing stand in the core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _pgque
from ._consumer import BaseConsumer, logger
from ._crew import Crew
from ._handling import Handling, check_handler
from ._pgque import Message, PgqueClient
from ._signals import stopping_on_signals
from .types import Health

# Programs import these from here as well.
__all__ = ["Consumer", "Message", "PgqueClient", "logger"]


class Consumer(BaseConsumer):
    """Calls a handler for each message of a queue; delivery is at least once.

    A handler's return value is ignored, unless it is ``pgque.retry(...)`` or ``pgque.dead(...)``,
    which may be raised as well. Any other exception has the message retried after
    ``retry_after``. No transaction is open while handlers run, unless the consumer is
    ``transactional``. Lost connections are replaced. Of several consumers of one name, in
    whatever processes, one works and the others stand by.

    Options, with times in seconds; None stands for the default:

    ``poll_interval``
        How long to wait for a notification before looking anyway.
    ``max_messages``
        The largest batch to accept; a larger one raises PgqueReceiveOverflowError. By default
        there is no limit, and a large batch is read in pages of ``page_size`` messages (5000).
    ``retry_after``, ``retry_backoff``, ``retry_after_max``
        The delay of a failed message: ``"fixed"`` (default), or ``"exponential"``, which doubles
        it with each attempt up to ``retry_after_max`` (3600).
    ``unknown_handler_policy``
        What becomes of a message without a handler: ``"nack"`` or ``"ack"``.
    ``subconsumer``, ``dead_interval``
        The name among cooperative workers, ``"auto"`` for one of the library's making; and after
        how long a silent worker's batch is taken over (default never).
    ``concurrency``, ``ordered_by``
        How many handlers run at once (1), each on a thread of its own if more than one; and
        whether those with the same ``"type"`` or ``"extra1"`` to ``"extra4"`` keep their order.
    ``stop_policy``, ``stop_timeout``
        On stop, finish the batch (``"drain"``, default) or only the messages in hand
        (``"handback"``); and after how long to go in any case (default never). What is not done
        goes back to the queue.
    ``transactional``
        Receive, handlers and acknowledgement are one transaction, whose client the handlers are
        given as a second argument: ``handler(message, client)``. It is for use until they return.
    ``ticker``
        Run a ticker beside the consumer, which needs the role ``pgque_admin``.
    ``listen_dsn``
        A direct connection to hear of news and to hold the consumer's turn, where ``dsn`` leads
        through a pooler. Without one the consumer then looks every ``poll_interval``; and with
        ``max_messages``, or on PgQue 0.2, two of its name both get each batch.
    """

    @staticmethod
    def _check(handler: Any) -> None:
        check_handler(handler)

    def start(self) -> None:
        """Handle batches until ``stop``; on the main thread SIGINT and SIGTERM stop it.

        Raises what time cannot mend: no such consumer, overflow, permission. An exception that is
        no ``Exception`` (KeyboardInterrupt, SystemExit) leaves at once and the batch comes again.
        """
        self._core.begin_run()
        self._running = True
        try:
            with stopping_on_signals(self.stop, logger):
                self._run()
        finally:
            self._running = False
            self._core.close()

    run = start

    def _run(self, limit: float | None = None) -> int:
        handling = Handling(self._callbacks)
        if self._core.concurrency == 1 or self._callbacks.batch_handler is not None:
            return self._run_with(handling.run, limit)
        with Crew(self.name, handling.run_lane) as crew:
            return self._run_with(crew.handle, limit)

    def _run_with(self, handle: Callable[[_pgque.Batch], None], limit: float | None) -> int:
        count = 0
        while (batch := self._core.next(limit)) is not None:
            handle(batch)
            self._core.finish(batch)
            count += len(batch)
        return count

    def _drain(self) -> tuple[int, Health]:
        """Handle what is there now; how many messages, and how the loop fared at the end."""
        self._core.begin_run()
        try:
            return self._run(limit=0), self._core.health()
        finally:
            self._core.close()
