"""What requests hold and what answers are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pgque

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
EXTRAS = ("extra1", "extra2", "extra3", "extra4")


def span(value: Any) -> Any:
    """A length of time: a number, a text, or a special float."""
    if isinstance(value, dict):
        return {"nan": float("nan"), "infinity": float("inf")}[value["special"]]
    return value


def special(name: str) -> Any:
    values: dict[str, Callable[[], Any]] = {
        "nan": lambda: {"n": float("nan")},
        "lone_surrogate": lambda: {"text": "\ud800"},
        "nul": lambda: {"text": "a\0b"},
        "unserialisable": lambda: {1, 2},
        "big_integer": lambda: {"n": 123456789012345678901234567890},
        "deep": lambda: json.loads("[" * 200 + "]" * 200),
    }
    return values[name]()


def payload(request: dict[str, Any]) -> Any:
    if "special" in request:
        return special(request["special"])
    return pgque.Text(request["text"]) if "text" in request else request["payload"]


def micros(at: datetime) -> str:
    return str((at - EPOCH) // timedelta(microseconds=1))


def message(msg: pgque.Message) -> dict[str, Any]:
    return {
        "msg_id": str(msg.msg_id),
        "batch_id": str(msg.batch_id),
        "type": msg.type,
        "payload": msg.payload,
        "retry_count": msg.retry_count,
        "created_at": micros(msg.created_at),
        **{name: getattr(msg, name) for name in EXTRAS},
    }


def cell(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, datetime) and value.tzinfo is not None:
        return micros(value)
    if isinstance(value, timedelta):
        return f"{value.days} days"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [cell(item) for item in value]
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value)


def table(rows: pgque.Rows) -> dict[str, Any]:
    cells = [[cell(value) for value in row.values()] for row in rows]
    return {"columns": list(rows.columns), "rows": cells, "rows_affected": len(rows)}


def verdict(item: dict[str, Any]) -> tuple[int, pgque.Verdict | None]:
    given = {name: span(item[name]) for name in ("after", "reason") if name in item}
    made = {"ack": lambda: None, "retry": pgque.retry, "dead": pgque.dead}[item["verdict"]]
    return int(item["msg_id"]), made(**given)


def library_error(error: pgque.PgqueError) -> dict[str, Any]:
    return {
        "kind": error.kind,
        "number": error.code,
        "op": error.op,
        "message": error.message,
        "sqlstate": error.sqlstate,
        "detail": error.detail,
        "hint": error.hint,
        "retriable": error.retriable,
        "uncertain": error.uncertain,
        "configured_limit": getattr(error, "configured_limit", None),
    }
