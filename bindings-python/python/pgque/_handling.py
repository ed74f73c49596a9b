"""Calling handlers and hooks, and making of their answers what the core wants to know."""

from __future__ import annotations

import contextvars
import inspect
import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._pgque import Batch, Lane, Message, PgqueClient
from .verdicts import Dead, Retry, Verdict

Handler = Callable[..., Any]
#: What a handler made of a message: None where it is done, a verdict, or how it failed.
Judgement = BaseException | None

NO_VERDICT = "the handler gave no verdict"


class Callbacks:
    """What a program has registered."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.handlers: list[Handler] = []
        self.batch_handler: Handler | None = None
        self.on_failure: Callable[[int, Any], Any] | None = None
        self.before_message: Callable[[Message], Any] | None = None
        self.after_message: Callable[[Message, str, float], Any] | None = None

    @property
    def any(self) -> bool:
        """Whether there is any handler."""
        return bool(self.handlers) or self.batch_handler is not None

    @property
    def hooked(self) -> bool:
        """Whether messages want context variables of their own."""
        return self.before_message is not None or self.after_message is not None


class Handling:
    """How it is called by threads."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks

    def run(self, batch: Batch) -> None:
        """Handle a batch on this thread."""
        if self._callbacks.batch_handler is not None:
            self._in_context(self._run_whole, batch, self._callbacks.batch_handler)
        else:
            self.run_lane(batch)

    def run_lane(self, batch: Batch) -> None:
        """Handle messages until there are no more; several threads may do so at once."""
        lane, client = batch.lane(), batch.client()
        if self._callbacks.hooked:
            for number, message in lane:
                self._in_context(
                    self._call_hooked, lane, self._callbacks.handlers[number], message, client
                )
            return
        # The loop that has to be fast: asking for the next message acknowledges the one before.
        handlers = self._callbacks.handlers
        for number, message in lane:
            try:
                handler = handlers[number]
                result = handler(message) if client is None else handler(message, client)
                if result is not None:
                    lane.settle(verdict_of(result))
            except Exception as error:
                self._settle(lane, error)

    @staticmethod
    def _call(handler: Handler, argument: Any, client: PgqueClient | None) -> Verdict | None:
        """The handler's verdict; None where the message is done."""
        try:
            result = handler(argument) if client is None else handler(argument, client)
        except Verdict as verdict:
            return verdict
        return verdict_of(result)

    def _call_hooked(
        self, lane: Lane, handler: Handler, message: Message, client: PgqueClient | None
    ) -> None:
        self._hook("before_message", self._callbacks.before_message, message)
        began = time.perf_counter()
        result: Judgement
        try:
            result = self._call(handler, message, client)
        except Exception as error:
            result = error
        self._after(message, result, time.perf_counter() - began)
        self._settle(lane, result)

    def _run_whole(self, batch: Batch, handler: Handler) -> None:
        places = batch.take_all()
        if not places:
            return
        messages = [message for _, message in places]
        for message in messages:
            self._hook("before_message", self._callbacks.before_message, message)
        began = time.perf_counter()
        results: Sequence[Judgement]
        try:
            client = batch.client()
            answer = handler(messages) if client is None else handler(messages, client)
            results = by_position(answer, messages)
        except Exception as error:
            # A verdict that is raised holds for all of them, as any other failure does.
            results = [error] * len(messages)
        seconds = time.perf_counter() - began
        logged: object = None
        for (lane, message), result in zip(places, results, strict=True):
            self._after(message, result, seconds)
            # One traceback tells as much as thousands.
            self._settle(lane, result, with_traceback=result is not logged)
            logged = result

    def _settle(self, lane: Lane, result: Judgement, *, with_traceback: bool = True) -> None:
        failure = settle(lane, result, with_traceback=with_traceback)
        decide = self._callbacks.on_failure
        if failure is not None and decide is not None:
            self._hook("on_failure", lambda: overrule(lane, failure, decide(lane.attempt, failure)))

    def _after(self, message: Message, result: Judgement, seconds: float) -> None:
        self._hook(
            "after_message", self._callbacks.after_message, message, outcome_name(result), seconds
        )

    def _hook(self, name: str, hook: Callable[..., Any] | None, *args: Any) -> None:
        try:
            if hook is not None:
                hook(*args)
        except Exception as error:
            log_failed_hook(self._callbacks.logger, name, error)

    @staticmethod
    def _in_context(call: Callable[..., None], *args: Any) -> None:
        """With context variables of its own: what a hook sets ends with its message."""
        contextvars.copy_context().run(call, *args)


def settle(lane: Lane, result: Judgement, *, with_traceback: bool = True) -> BaseException | None:
    """Say what becomes of a message; gives the exception if its handler has failed."""
    if result is None or isinstance(result, Verdict):
        try:
            lane.settle(result)
            return None
        except TypeError as error:
            # A verdict with a delay or a reason that is none.
            result = error
    told = with_traceback and not isinstance(result, _NoVerdict)
    lane.fail(reason_of(result), result if told else None)
    return result


def overrule(lane: Lane, failure: BaseException, decision: Any) -> None:
    """Put what ``on_failure`` has decided in place of the options."""
    if decision is not None:
        lane.overrule(decision, reason_of(failure))


def log_failed_hook(logger: logging.Logger, name: str, error: Exception) -> None:
    logger.exception("hook %s failed: %s", name, reason_of(error))


def check_callable(handler: Any) -> None:
    """Refuse what can never handle anything."""
    if not callable(handler):
        raise TypeError(f"a handler must be callable, got {handler!r}")
    if _is(inspect.isgeneratorfunction, handler) or _is(inspect.isasyncgenfunction, handler):
        raise TypeError(f"{handler!r} is a generator function: its body would never run")


def check_handler(handler: Any) -> None:
    """As ``check_callable``, for a consumer that cannot await."""
    if _is(inspect.iscoroutinefunction, handler):
        raise TypeError(
            f"{handler!r} is a coroutine function, which Consumer cannot await; "
            "use a plain function here, or AsyncConsumer"
        )
    check_callable(handler)


def _is(kind: Callable[[Any], bool], handler: Any) -> bool:
    return kind(handler) or kind(getattr(type(handler), "__call__", None))  # noqa: B004


def verdict_of(result: object) -> Verdict | None:
    """What a handler's result says; None where the message is done."""
    if result is None or isinstance(result, Verdict):
        return result
    _refuse_unstarted(result)
    return None


def _refuse_unstarted(result: object) -> None:
    """A body that was never run must not count as done."""
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(f"the handler returned a {type(result).__name__}, whose body never ran")


class _NoVerdict(Exception):
    """A handler of batches left the message out of its answer."""


def by_position(answer: object, messages: list[Message]) -> list[Judgement]:
    """The result for each message: True stands for done; what is missing has failed."""
    _refuse_unstarted(answer)
    if answer is None:
        answer = []
    if isinstance(answer, Mapping):
        known = {message.msg_id: position for position, message in enumerate(messages)}
        pairs = [(known.get(msg_id), verdict) for msg_id, verdict in answer.items()]
    elif isinstance(answer, Sequence) and not isinstance(answer, str | bytes):
        pairs = list(enumerate(answer))
    else:
        raise TypeError(
            "a batch handler returns a list of verdicts or a dict of them by msg_id, "
            f"not {type(answer).__name__}"
        )
    results: list[Judgement] = [_NoVerdict(NO_VERDICT)] * len(messages)
    for position, verdict in pairs:
        if position is None or position >= len(messages):
            raise ValueError("the batch handler gave a verdict on a message that is not there")
        if verdict is True:
            results[position] = None
        elif isinstance(verdict, Verdict):
            results[position] = verdict
        elif verdict is not None:
            raise TypeError(f"a verdict is True, pgque.retry(…) or pgque.dead(…), not {verdict!r}")
    return results


def outcome_name(result: Judgement) -> str:
    if isinstance(result, Retry):
        return "retry"
    if isinstance(result, Dead):
        return "dead"
    return "ack" if result is None else "failed"


def reason_of(error: BaseException) -> str:
    """What is stored with the message."""
    if isinstance(error, _NoVerdict):
        return NO_VERDICT
    return traceback.format_exception_only(error)[-1].strip()
