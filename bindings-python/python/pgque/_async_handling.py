"""Awaiting handlers and hooks; what follows from their answers stands with the blocking ones."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
import types
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from ._awaiting import answer
from ._handling import (
    Callbacks,
    Handler,
    Judgement,
    by_position,
    log_failed_hook,
    outcome_name,
    overrule,
    settle,
    verdict_of,
)
from ._pgque import AsyncPgqueClient, Batch, Lane, Message

#: How long handlers that never wait may keep everything else on the loop waiting.
TURN = 0.02
#: How long a cancelled run waits for its handlers, and for the server to hear of it.
FAREWELL = 5.0


class AsyncHandling:
    """How what is registered is called by the tasks of one run."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        #: Whether it is the consumer that cancels the tasks, and not somebody else a handler's.
        self._ending = False

    async def handle(self, batch: Batch, overdue: asyncio.Future[None]) -> None:
        """Wait until the handlers have ended, or a stop does not wait for them any more.

        What a handler raises to leave the loop is raised here.
        """
        whole = self._callbacks.batch_handler
        if whole is not None:
            work = [self._run_whole(batch, whole)]
        else:
            work = [self._run_lane(batch) for _ in range(batch.lanes_max)]
        tasks = {asyncio.create_task(lane) for lane in work}
        try:
            await _first_of(tasks, overdue)
        finally:
            if left := {task for task in tasks if not task.done()}:
                self._ending = True
                for task in left:
                    task.cancel()
                if not overdue.done():
                    # Nothing of a run should go on after it.
                    await wait_through(left, FAREWELL)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def _run_lane(self, batch: Batch) -> None:
        """Handle messages until there are no more; several tasks may do so at once."""
        lane, client = batch.lane(), batch.client_async()
        async for number, message in messages(lane, client is not None):
            handler = self._callbacks.handlers[number]
            if self._callbacks.hooked:
                # A task has context variables of its own: what a hook sets ends with its message.
                await asyncio.create_task(self._call_hooked(lane, handler, message, client))
                continue
            # Asking for the next message acknowledges the one before.
            result = await self._judge(handler, message, client)
            if result is not None:
                await self.settle(lane, result)

    async def _judge(
        self, handler: Handler, argument: Any, client: AsyncPgqueClient | None
    ) -> Judgement:
        try:
            return verdict_of(await self._call(handler, argument, client))
        except (Exception, asyncio.CancelledError) as error:
            self._leave_if_ending(error)
            return error

    @staticmethod
    async def _call(handler: Handler, argument: Any, client: AsyncPgqueClient | None) -> Any:
        result = handler(argument) if client is None else handler(argument, client)
        return await result if inspect.isawaitable(result) else result

    async def _call_hooked(
        self, lane: Lane, handler: Handler, message: Message, client: AsyncPgqueClient | None
    ) -> None:
        await self._hook("before_message", self._callbacks.before_message, message)
        began = time.perf_counter()
        result = await self._judge(handler, message, client)
        await self._after(message, result, time.perf_counter() - began)
        await self.settle(lane, result)

    async def _run_whole(self, batch: Batch, handler: Handler) -> None:
        places = await answer(batch.take_all_async())
        if not places:
            return
        messages = [message for _, message in places]
        for message in messages:
            await self._hook("before_message", self._callbacks.before_message, message)
        began = time.perf_counter()
        results = await self._judge_all(handler, messages, batch.client_async())
        seconds = time.perf_counter() - began
        logged: object = None
        for (lane, message), result in zip(places, results, strict=True):
            await self._after(message, result, seconds)
            # One traceback tells as much as thousands.
            await self.settle(lane, result, with_traceback=result is not logged)
            logged = result

    async def _judge_all(
        self, handler: Handler, messages: list[Message], client: AsyncPgqueClient | None
    ) -> list[Judgement]:
        try:
            return by_position(await self._call(handler, messages, client), messages)
        except (Exception, asyncio.CancelledError) as error:
            self._leave_if_ending(error)
            # A verdict that is raised holds for all of them, as any other failure does.
            return [error] * len(messages)

    def _leave_if_ending(self, error: BaseException) -> None:
        """A cancellation is the handler's own failure, unless it is the end of its task."""
        if isinstance(error, asyncio.CancelledError) and (self._ending or _is_cancelled()):
            raise error

    async def settle(self, lane: Lane, result: Judgement, *, with_traceback: bool = True) -> None:
        """Say what becomes of a message, and have a failure decided on."""
        failure = settle(lane, result, with_traceback=with_traceback)
        decide = self._callbacks.on_failure
        if failure is not None and decide is not None:

            async def judge() -> None:
                decision = decide(lane.attempt, failure)
                overrule(
                    lane, failure, await decision if inspect.isawaitable(decision) else decision
                )

            await self._hook("on_failure", judge)

    async def _after(self, message: Message, result: Judgement, seconds: float) -> None:
        hook = self._callbacks.after_message
        await self._hook("after_message", hook, message, outcome_name(result), seconds)

    async def _hook(self, name: str, hook: Callable[..., Any] | None, *args: Any) -> None:
        try:
            if hook is not None:
                result = hook(*args)
                if inspect.isawaitable(result):
                    await result
        except Exception as error:
            log_failed_hook(self._callbacks.logger, name, error)


async def messages(lane: Lane, transactional: bool) -> AsyncIterator[tuple[int, Message]]:
    if transactional:
        # Between two messages the transaction has to be told.
        while (taken := await answer(lane.take_async())) is not None:
            yield taken
        return
    turn = time.monotonic()
    for taken in lane:
        yield taken
        if time.monotonic() - turn > TURN:
            await _breathe()
            turn = time.monotonic()


@types.coroutine
def _breathe() -> Generator[None, None, None]:
    """Let everything else on the loop have its turn."""
    yield


async def _first_of(tasks: set[asyncio.Task[None]], overdue: asyncio.Future[None]) -> None:
    """Until all have ended, one has failed, or they are not to be waited for any more."""
    left: set[asyncio.Future[None]] = {*tasks}
    while left and not overdue.done():
        done, rest = await asyncio.wait({*left, overdue}, return_when=asyncio.FIRST_COMPLETED)
        left = rest - {overdue}
        if any(not task.cancelled() and task.exception() for task in done - {overdue}):
            return


async def wait_through(tasks: set[asyncio.Task[Any]], limit: float) -> None:
    """Wait for tasks also if cancelled once more: a scope of anyio does so again and again."""
    end = time.monotonic() + limit
    while (left := {task for task in tasks if not task.done()}) and time.monotonic() < end:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(left, timeout=end - time.monotonic())


def _is_cancelled() -> bool:
    """Whether somebody has cancelled this task; Python 3.10 does not tell."""
    task = asyncio.current_task()
    cancelling: Callable[[], int] = getattr(task, "cancelling", lambda: 0)
    return cancelling() > 0
