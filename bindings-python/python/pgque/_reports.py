"""What the server said, as the cause of an error: programs look there for ``sqlstate``."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any


class ServerReport(Exception):
    """An error as the server reported it; ``diag`` has psycopg's names."""

    def __init__(self, text: str, sqlstate: str | None, diag: SimpleNamespace) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate
        self.diag = diag

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.sqlstate, self.diag)


def report(text: str, facts: dict[str, Any]) -> Exception | None:
    """An exception of psycopg's where the program uses psycopg, for it may ask for the class."""
    sqlstate = facts.get("sqlstate")
    psycopg = sys.modules.get("psycopg")
    if sqlstate is None:
        return None if psycopg is None else psycopg.OperationalError(text)
    diag = {
        "severity": "ERROR",
        "sqlstate": sqlstate,
        "message_primary": facts["message"],
        "message_detail": facts["detail"],
        "message_hint": facts["hint"],
    }
    if psycopg is None:
        return ServerReport(text, sqlstate, SimpleNamespace(**diag))
    fields = psycopg.pq.DiagnosticField
    info = {fields[name.upper()]: value and value.encode() for name, value in diag.items()}
    try:
        kind = psycopg.errors.lookup(sqlstate)
    except KeyError:
        kind = psycopg.DatabaseError
    error: Exception = kind(facts["message"], info=info, encoding="utf-8")
    # A state that psycopg does not know has no class of its own.
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    return error
