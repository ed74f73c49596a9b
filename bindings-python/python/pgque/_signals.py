"""SIGINT and SIGTERM while something runs on the main thread."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopping_on_signals(stop: Callable[[], None], logger: logging.Logger) -> Iterator[None]:
    """Call ``stop`` at the first signal; at the second call it again and leave by exception.

    A signal may interrupt the answer to the one before it, and cut it off by its exception.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = stopped = 0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal received, stopped
        received += 1
        if received == 1:
            logger.info("received signal %s, shutting down", number)
        # What an interrupted answer has not got to is made up for here.
        while stopped < received:
            stop()
            stopped += 1
        if received > 1:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    # None stands for a handler that was not set from Python, which could not be put back.
    previous = [(s, h) for s in _SIGNALS if (h := signal.getsignal(s)) is not None]
    for number, _ in previous:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous:
            signal.signal(number, handler)
