"""The producer for asyncio."""

from __future__ import annotations

from ._awaiting import asynchronous, closing
from ._pgque import AsyncProducer

__all__ = ["AsyncProducer"]

asynchronous(AsyncProducer, but=("stats",))
closing(AsyncProducer)
