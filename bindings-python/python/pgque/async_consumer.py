"""The consumer's face for asyncio; fetching, waiting, retrying and finishing stand in the core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType

from . import _pgque
from ._async_handling import FAREWELL, AsyncHandling, wait_through
from ._awaiting import answer
from ._consumer import BaseConsumer, logger
from ._pgque import Batch, Lane, Message
from ._signals import stopping_on_signals
from .errors import PgqueConflict
from .types import Health
from .verdicts import Verdict


class AsyncConsumer(BaseConsumer):
    """Awaits a handler for each message of a queue; delivery is at least once.

    Options, promises and log lines are those of ``Consumer``. Handlers and hooks are coroutine
    functions, or plain ones, which run on the loop and must not block. ``concurrency`` counts
    tasks. A ``transactional`` handler is given an ``AsyncPgqueClient``. A handler that is still
    running when a stop no longer waits for it is cancelled.

    Three ways to run it::

        await consumer.run()                 # until stop(), a signal or cancellation

        async with consumer:                 # beside the block, and stopped at its end
            ...

        async with consumer:                 # without any handler: by hand
            async for message in consumer:
                ...

    In the last, a message is acknowledged when the next one is asked for. A block that is left
    without an exception, by ``break`` for instance, has handled the message in hand; one that is
    left by an exception has failed it, as a handler would have. The rest of the batch goes back.
    An ``async for`` that is left without an ``async with`` around it hands the message in hand
    back as well, for nobody can tell how it was left.

    A task that is cancelled in ``run`` cancels its handlers; what they have done is acknowledged,
    and the rest goes back at once, without counting as an attempt.
    """

    _entered = False
    _task: asyncio.Task[None] | None = None
    _iterator: AsyncGenerator[Message, None] | None = None
    _lane: Lane | None = None

    async def run(self) -> None:
        """Handle batches until ``stop``; on the main thread SIGINT and SIGTERM stop it.

        Raises what time cannot mend: no such consumer, overflow, permission.
        """
        with stopping_on_signals(self.stop, logger):
            await self._run()

    start = run

    async def _run(self) -> None:
        async with Run(self._core) as run:
            await self._run_with(run)

    async def _run_with(self, run: Run, limit: float | None = None) -> int:
        handling, count = AsyncHandling(self._callbacks), 0
        while (batch := await run.next(limit)) is not None:
            await handling.handle(batch, run.overdue)
            await run.finish()
            count += len(batch)
        return count

    async def _drain(self) -> tuple[int, Health]:
        """Handle what is there now; how many messages, and how the loop fared at the end."""
        async with Run(self._core) as run:
            return await self._run_with(run, limit=0), self._core.health()

    async def __aenter__(self) -> AsyncConsumer:
        self._entered = True
        if self._callbacks.any:
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._tell)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._entered = False
        (task, self._task), (iterator, self._iterator) = (self._task, None), (self._iterator, None)
        if iterator is not None:
            if self._lane is not None and (exc is None or isinstance(exc, Exception)):
                await AsyncHandling(self._callbacks).settle(self._lane, exc)
            await iterator.aclose()
        if task is None:
            return
        if isinstance(exc, asyncio.CancelledError):
            task.cancel()
            await wait_through({task}, 2 * FAREWELL)
            return
        self.stop()
        if exc is None:
            await task
        else:
            # What has ended the block is what it raises.
            await asyncio.wait({task})

    def _tell(self, task: asyncio.Task[None]) -> None:
        # The block goes on, and raises this only at its end.
        if not task.cancelled() and (error := task.exception()) is not None:
            self._callbacks.logger.error("consumer %s ended: %s", self.name, error)

    def __aiter__(self) -> AsyncIterator[Message]:
        """Messages of any type, one after the other, until ``stop``."""
        if self._callbacks.any:
            message = (
                "async for is in place of handlers, and this consumer has some; make two of it"
            )
            raise PgqueConflict(message)
        if self._transactional:
            message = "a transactional consumer calls a handler, which is given the client"
            raise PgqueConflict(message)
        iterator = self._iterate()
        if self._entered:
            self._iterator = iterator
        return iterator

    async def _iterate(self) -> AsyncGenerator[Message, None]:
        self._core.on("*")
        async with Run(self._core, iterates=True) as run:
            try:
                while (batch := await run.next()) is not None:
                    self._lane = batch.lane()
                    for _, message in self._lane:
                        yield message
                    self._lane = None
                    await run.finish()
            finally:
                self._lane = None

    def settle(self, verdict: Verdict | None) -> None:
        """In ``async for``: what becomes of the message in hand, in place of an acknowledgement."""
        if self._lane is None:
            raise PgqueConflict("settle: there is no message in hand; it is for use in async for")
        self._lane.settle(verdict)


class Run:
    """From the first batch of a run to the end of its connection."""

    overdue: asyncio.Future[None]

    def __init__(self, core: _pgque.Consumer, *, iterates: bool = False) -> None:
        self._core = core
        self._iterates = iterates
        self._batch: Batch | None = None
        self._finishing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Run:
        self._core.begin_run()
        #: Done once handlers that still run are not to be waited for any more.
        self.overdue = asyncio.ensure_future(answer(self._core.overdue_async()))
        return self

    async def next(self, limit: float | None = None) -> Batch | None:
        """The next batch, or None once stopped, or when there was nothing for so many seconds."""
        self._batch = await answer(self._core.next_async(limit))
        return self._batch

    async def finish(self) -> None:
        """Tell the server what was made of the batch; once begun, to its end."""
        if self._batch is not None:
            finish = answer(self._core.finish_async(self._batch))
            self._finishing = asyncio.create_task(finish)
            await asyncio.shield(self._finishing)
            self._batch = None

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if isinstance(exc, GeneratorExit) and not self._iterates:
            # The loop has ended, or nobody ever asks this coroutine to go on.
            self._core.forsake()
            return
        self.overdue.cancel()
        left = isinstance(exc, asyncio.CancelledError | GeneratorExit)
        end = asyncio.create_task(self._hand_back() if left else self._close())
        await wait_through({end}, FAREWELL)
        if not end.done():
            end.cancel()
            self._core.forsake()
        elif exc is None:
            end.result()

    async def _hand_back(self) -> None:
        if self._finishing is not None and not self._finishing.done():
            await asyncio.wait({self._finishing})
        elif self._batch is not None:
            # Forced, so that what nobody has settled goes back.
            self._core.stop()
            self._core.stop()
            await answer(self._core.finish_async(self._batch))
        await self._close()

    async def _close(self) -> None:
        await answer(self._core.close_async())
