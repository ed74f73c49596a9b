"""The zone in which a session of PostgreSQL tells its times."""

from __future__ import annotations

from datetime import timezone, tzinfo


def zone(name: str) -> tzinfo:
    """As psycopg: UTC is ``timezone.utc``, and so is what Python does not know."""
    if name in ("", "UTC"):
        return timezone.utc
    # Only for who needs it: it takes its time to import.
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return timezone.utc
