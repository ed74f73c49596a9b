"""The loop that calls handlers; fetching, waiting, retrying and finishing stand in the core."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from . import _pgque
from ._signals import stopping_on_signals
from .errors import PgqueConflict
from .verdicts import Retry, Verdict

_Handler = TypeVar("_Handler", bound=Callable[[_pgque.Message], Any])

logger = logging.getLogger("pgque")


class Consumer:
    """Calls a handler for each message of a queue; delivery is at least once.

    A handler's return value is ignored, unless it is ``pgque.retry(...)`` or ``pgque.dead(...)``,
    which may be raised as well. Any other exception has the message retried after
    ``retry_after``. No transaction is open while handlers run. Lost connections are replaced.
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
    ) -> None:
        self.dsn = dsn
        self.queue = queue
        self.name = name
        self.poll_interval = poll_interval
        self.max_messages = max_messages
        self.retry_after = retry_after
        self.unknown_handler_policy = unknown_handler_policy
        self.subconsumer = subconsumer
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
            },
        )
        self._handlers: list[Callable[[_pgque.Message], Any]] = []
        self._running = False
        self._logger = logging.getLogger(f"pgque.consumer.{name}")

    def on(self, event_type: str) -> Callable[[_Handler], _Handler]:
        """Register the decorated function for a type, or for ``"*"``: all without their own."""
        if not isinstance(event_type, str):
            raise TypeError(f"on() takes an event type: @consumer.on('...'), got {event_type!r}")

        def register(handler: _Handler) -> _Handler:
            _check_handler(handler)
            number = self._core.on(event_type)
            # The core numbers the types in order; a type named again keeps its number.
            self._handlers[number : number + 1] = [handler]
            return handler

        return register

    def start(self) -> None:
        """Handle batches until ``stop``; on the main thread SIGINT and SIGTERM stop it.

        Raises what time cannot mend: no such consumer, overflow, permission. An exception that is
        no ``Exception`` (KeyboardInterrupt, SystemExit) leaves at once and the batch comes again.
        """
        if self._running:
            raise PgqueConflict(f"consumer {self.name} is running already")
        self._running = True
        try:
            with stopping_on_signals(self.stop, logger):
                self._run()
        finally:
            self._running = False
            self._core.close()

    run = start

    def stop(self) -> None:
        """End the loop after the current batch, at once if it waits. From any thread."""
        self._core.stop()

    def _run(self) -> None:
        while (batch := self._core.next()) is not None:
            verdicts = [
                None if number is None else self._call(self._handlers[number], message)
                for number, message in batch
            ]
            self._core.finish(batch, verdicts)

    def _call(self, handler: Callable[[_pgque.Message], Any], message: _pgque.Message) -> object:
        """The message's verdict; True where it is done."""
        try:
            result = handler(message)
            if result is None:
                return True
            if isinstance(result, Verdict):
                return result
            _refuse_unstarted(result)
            return True
        except Verdict as verdict:
            return verdict
        except Exception as error:
            self._logger.exception("handler failed for msg_id=%d, nacking", message.msg_id)
            return Retry(reason=traceback.format_exception_only(error)[-1].strip())


def _check_handler(handler: Any) -> None:
    if not callable(handler):
        raise TypeError(f"a handler must be callable, got {handler!r}")
    for code in (handler, getattr(type(handler), "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            raise TypeError(
                f"{handler!r} is a coroutine function, which Consumer cannot await; "
                "use a plain function here, or AsyncConsumer once there is one"
            )
        if inspect.isgeneratorfunction(code):
            raise TypeError(f"{handler!r} is a generator function: its body would never run")


def _refuse_unstarted(result: object) -> None:
    """A body that was never run must not count as done."""
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(f"the handler returned a {type(result).__name__}, whose body never ran")
