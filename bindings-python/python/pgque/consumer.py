"""The consumer's face; fetching, waiting, retrying and finishing stand in the core."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from . import _pgque
from ._crew import Crew
from ._handling import Handling, check_handler
from ._pgque import Message, PgqueClient
from ._signals import stopping_on_signals
from .types import Health

# Programs import these from here as well.
__all__ = ["Consumer", "Message", "PgqueClient", "logger"]

_Handler = TypeVar("_Handler", bound=Callable[..., Any])
_OnFailure = TypeVar("_OnFailure", bound=Callable[[int, Exception], Any])
_Before = TypeVar("_Before", bound=Callable[[_pgque.Message], Any])
_After = TypeVar("_After", bound=Callable[[_pgque.Message, str, float], Any])

logger = logging.getLogger("pgque")


class _Hidden:
    """A text that may hold a password: tools that show what objects are made of do not show it."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "'…'"


class Consumer:
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

    def __init__(
        self,
        dsn: str,
        *,
        queue: str,
        name: str,
        poll_interval: float = _pgque.POLL_INTERVAL_DEFAULT,
        max_messages: int = _pgque.CONSUMER_MAX_MESSAGES_DEFAULT,
        retry_after: float | timedelta | str = _pgque.RETRY_AFTER_DEFAULT,
        unknown_handler_policy: str = _pgque.UNKNOWN_HANDLER_POLICY_DEFAULT,
        subconsumer: str | None = None,
        dead_interval: float | timedelta | str | None = None,
        page_size: int | None = None,
        retry_backoff: str | None = None,
        retry_after_max: float | timedelta | None = None,
        concurrency: int | None = None,
        ordered_by: str | None = None,
        stop_policy: str | None = None,
        stop_timeout: float | timedelta | None = None,
        transactional: bool | None = None,
        ticker: bool | None = None,
        listen_dsn: str | None = None,
    ) -> None:
        self._dsn = _Hidden(dsn)
        self.queue = queue
        self.name = name
        self.poll_interval = poll_interval
        self.max_messages = max_messages
        self.retry_after = retry_after
        self.unknown_handler_policy = unknown_handler_policy
        self.dead_interval = dead_interval
        self._core = _pgque.Consumer(
            dsn,
            queue,
            name,
            {
                "poll_interval": poll_interval,
                "max_messages": max_messages,
                "retry_after": retry_after,
                "unknown_handler_policy": unknown_handler_policy,
                "subconsumer": subconsumer,
                "dead_interval": dead_interval,
                "page_size": page_size,
                "retry_backoff": retry_backoff,
                "retry_after_max": retry_after_max,
                "concurrency": concurrency,
                "ordered_by": ordered_by,
                "stop_policy": stop_policy,
                "stop_timeout": stop_timeout,
                "transactional": transactional,
                "ticker": ticker,
                "listen_dsn": listen_dsn,
            },
        )
        self.subconsumer = self._core.subconsumer
        self._running = False
        self._handling = Handling(logging.getLogger(f"pgque.consumer.{name}"))

    @property
    def dsn(self) -> str:
        return self._dsn.text

    def on(self, event_type: str) -> Callable[[_Handler], _Handler]:
        """Register the decorated function for a type, or for ``"*"``: all without their own."""
        if not isinstance(event_type, str):
            raise TypeError(f"on() takes an event type: @consumer.on('...'), got {event_type!r}")

        def register(handler: _Handler) -> _Handler:
            check_handler(handler)
            number = self._core.on(event_type)
            # The core numbers the types in order; a type named again keeps its number.
            self._handling.handlers[number : number + 1] = [handler]
            return handler

        return register

    def on_batch(self, handler: _Handler) -> _Handler:
        """Register the decorated function for whole batches, or pages of large ones.

        It gets a list of messages and returns verdicts: a list by position, or a dict by
        ``msg_id``, of True (done), ``pgque.retry(...)`` and ``pgque.dead(...)``. A message that is
        missing, or None, has failed; all of them have if the function raises. It runs on the
        thread of ``start``, one batch at a time.
        """
        check_handler(handler)
        self._core.on_batch()
        self._handling.batch_handler = handler
        return handler

    def on_failure(self, decide: _OnFailure) -> _OnFailure:
        """Register the function that decides on failures in place of ``retry_after``.

        It gets the number of the attempt, from 1, and the exception, and returns a delay, a
        verdict, or None to leave it to the options. It runs on the handler's thread.
        """
        check_handler(decide)
        self._handling.on_failure = decide
        return decide

    def before_message(self, hook: _Before) -> _Before:
        """Register a function to call with each message before its handler, on its thread.

        Context variables that it sets hold for the handler and ``after_message``, and no longer.
        """
        check_handler(hook)
        self._handling.before_message = hook
        return hook

    def after_message(self, hook: _After) -> _After:
        """Register a function to call after each handler, on its thread.

        It gets the message, the outcome (``"ack"``, ``"retry"``, ``"dead"`` or ``"failed"``) and
        the seconds that the handler took, in a batch the time of the whole.
        """
        check_handler(hook)
        self._handling.after_message = hook
        return hook

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

    def stop(self) -> None:
        """Ask the loop to end: at once if it waits, else as ``stop_policy`` says. From any thread.

        A second call forces: nothing more is handled, and no handler on another thread waited for.
        """
        self._core.stop()

    def stats(self) -> dict[str, float]:
        """Counters since the consumer was made, at any time, from any thread.

        ``batches``, ``received``, ``handled``, ``failed``, ``retried``, ``dead``, ``handed_back``,
        ``reconnects``, ``batch_size`` (of the newest), ``handler_seconds`` (the sum),
        ``lag_events`` and ``lag_seconds``.
        """
        return self._core.stats()

    def health(self) -> Health:
        """How the loop fares, at any time, from any thread."""
        return self._core.health()

    def _run(self, limit: float | None = None) -> int:
        if self._core.concurrency == 1 or self._handling.batch_handler is not None:
            return self._run_with(self._handling.run, limit)
        with Crew(self.name, self._handling.run_lane) as crew:
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
