"""The runner that keeps the engine going."""

from __future__ import annotations

import logging

from . import _pgque
from ._signals import stopping_on_signals
from .types import TickerStats


class BaseTicker:
    """A ticker without its loop."""

    def __init__(self, dsn: str, **options: float) -> None:
        self._core = _pgque.Ticker(dsn, options)

    def stop(self) -> None:
        """End the current or the next ``run`` at once. From any thread."""
        self._core.stop()

    def stats(self) -> TickerStats:
        """Where the ticker stands and what it has done, at any time, from any thread."""
        return self._core.stats()


class Ticker(BaseTicker):
    """Runs ticks, retries and maintenance of one database until ``stop``.

    Many processes may run one: one works, the others stand by. Options are times in seconds:
    ``tick_interval``, ``tick_interval_max``, ``retry_interval``, ``maint_interval``,
    ``standby_interval``.
    """

    def run(self) -> None:
        """Work, or stand by, until ``stop``; on the main thread SIGINT and SIGTERM stop it."""
        with stopping_on_signals(self.stop, logging.getLogger("pgque.ticker")):
            self._core.run()

    start = run
