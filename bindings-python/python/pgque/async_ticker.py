"""The ticker's runner for asyncio."""

from __future__ import annotations

import logging

from ._awaiting import answer
from ._signals import stopping_on_signals
from .ticker import BaseTicker


class AsyncTicker(BaseTicker):
    """As ``Ticker``, for asyncio."""

    async def run(self) -> None:
        """Work, or stand by, until ``stop``; on the main thread SIGINT and SIGTERM stop it."""
        with stopping_on_signals(self.stop, logging.getLogger("pgque.ticker")):
            await answer(self._core.run_async())

    start = run
