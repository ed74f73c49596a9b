"""What both consumers have in common: options, registering, stopping, and how they fare."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from . import _pgque
from ._handling import Callbacks, check_callable
from .types import Health

Handler = TypeVar("Handler", bound=Callable[..., Any])
OnFailure = TypeVar("OnFailure", bound=Callable[[int, Exception], Any])
BeforeHook = TypeVar("BeforeHook", bound=Callable[[_pgque.Message], Any])
AfterHook = TypeVar("AfterHook", bound=Callable[[_pgque.Message, str, float], Any])

logger = logging.getLogger("pgque")


class _Hidden:
    """A text that may hold a password: tools that show what objects are made of do not show it."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "'…'"


class BaseConsumer:
    """A consumer without its loop."""

    @staticmethod
    def _check(handler: Any) -> None:
        """Refuse what cannot be called as the consumer calls it."""
        check_callable(handler)

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
        self._transactional = bool(transactional)
        self._running = False
        self._callbacks = Callbacks(logging.getLogger(f"pgque.consumer.{name}"))

    @property
    def dsn(self) -> str:
        """The connection string, as it was given."""
        return self._dsn.text

    def on(self, event_type: str) -> Callable[[Handler], Handler]:
        """Register the decorated function for a type, or for ``"*"``: all without their own."""
        if not isinstance(event_type, str):
            raise TypeError(f"on() takes an event type: @consumer.on('...'), got {event_type!r}")

        def register(handler: Handler) -> Handler:
            self._check(handler)
            number = self._core.on(event_type)
            # The core numbers the types in order; a type named again keeps its number.
            self._callbacks.handlers[number : number + 1] = [handler]
            return handler

        return register

    def on_batch(self, handler: Handler) -> Handler:
        """Register the decorated function for whole batches, or pages of large ones.

        It gets a list of messages and returns verdicts: a list by position, or a dict by
        ``msg_id``, of True (done), ``pgque.retry(...)`` and ``pgque.dead(...)``. A message that is
        missing, or None, has failed; all of them have if the function raises. It runs where
        ``start`` does, one batch at a time.
        """
        self._check(handler)
        self._core.on_batch()
        self._callbacks.batch_handler = handler
        return handler

    def on_failure(self, decide: OnFailure) -> OnFailure:
        """Register the function that decides on failures in place of ``retry_after``.

        It gets the number of the attempt, from 1, and the exception, and returns a delay, a
        verdict, or None to leave it to the options. It runs where the handler did.
        """
        self._check(decide)
        self._callbacks.on_failure = decide
        return decide

    def before_message(self, hook: BeforeHook) -> BeforeHook:
        """Register a function to call with each message before its handler, where that runs.

        Context variables that it sets hold for the handler and ``after_message``, and no longer.
        """
        self._check(hook)
        self._callbacks.before_message = hook
        return hook

    def after_message(self, hook: AfterHook) -> AfterHook:
        """Register a function to call after each handler, where that ran.

        It gets the message, the outcome (``"ack"``, ``"retry"``, ``"dead"`` or ``"failed"``) and
        the seconds that the handler took, in a batch the time of the whole.
        """
        self._check(hook)
        self._callbacks.after_message = hook
        return hook

    def stop(self) -> None:
        """Ask the loop to end: at once if it waits, else as ``stop_policy`` says. From any thread.

        A second call forces: nothing more is handled, and no handler waited for elsewhere.
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
