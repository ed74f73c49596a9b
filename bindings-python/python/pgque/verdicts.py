"""What a handler may return, or raise, instead of succeeding or failing."""

from __future__ import annotations

from datetime import timedelta


class Verdict(Exception):
    """What becomes of a message: ``Retry`` or ``Dead``. A handler returns it, or raises it."""

    reason: str | None


class Retry(Verdict):
    """Deliver again after a delay: seconds, timedelta or interval text; else the consumer's.

    ``reason`` is kept with the message.
    """

    def __init__(
        self, after: float | timedelta | str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(after, reason)
        self.after = after
        self.reason = reason


class Dead(Verdict):
    """Move to the dead letters now; ``reason`` is kept there."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


# As verbs they read better: ``return pgque.retry(5)``, ``raise pgque.dead("no such order")``.
retry = Retry
dead = Dead
