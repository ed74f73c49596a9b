"""Threads that handle the messages of a batch at once."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType

from ._pgque import Batch


class Crew:
    """As many threads as there are lanes; they live from the first batch to the end of the run.

    They are daemons: a handler that is not waited for any more does not keep the process.
    """

    def __init__(self, name: str, run_lane: Callable[[Batch], None]) -> None:
        self._name = name
        self._run_lane = run_lane
        self._lanes: SimpleQueue[Batch | None] = SimpleQueue()
        self._threads = 0
        self._error: BaseException | None = None
        self._batch: Batch | None = None

    def handle(self, batch: Batch) -> None:
        """Wait until the lanes have ended, or a stop does not wait for them any more.

        The waiting thread lets signals in. What a handler raises to leave the loop is raised here.
        """
        self._batch = batch
        count = batch.lanes_max
        for _ in range(self._threads, count):
            self._start_thread()
        for _ in range(count):
            self._lanes.put(batch)
        batch.wait_lanes(count)
        if self._error is not None:
            raise self._error

    def _start_thread(self) -> None:
        self._threads += 1
        name = f"pgque-{self._name}-{self._threads}"
        # Each sees the context variables of the thread that started the consumer.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work,), name=name, daemon=True).start()

    def _work(self) -> None:
        while (batch := self._lanes.get()) is not None:
            try:
                self._run_lane(batch)
            except BaseException as error:
                self._error = error
                batch.give_up()
            batch.lane_ended()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # Handlers that still run end with their message.
        if self._batch is not None:
            self._batch.give_up()
        for _ in range(self._threads):
            self._lanes.put(None)
