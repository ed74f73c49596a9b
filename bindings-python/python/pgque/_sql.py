"""psycopg's placeholders and Python's values, as PostgreSQL's ``$1`` and its text literals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, Protocol
from uuid import UUID

_PLACEHOLDER = re.compile(r"%(?:\((?P<name>[^)]+)\))?(?P<kind>.?)", re.DOTALL)


class Composable(Protocol):
    """A statement that psycopg.sql has put together."""

    def as_string(self, context: None, /) -> str: ...


def rewrite(
    sql: str | Composable, params: Sequence[Any] | Mapping[str, Any] | None
) -> tuple[str, list[str | None]]:
    """The statement with ``$n`` and the texts for it; without parameters it is left alone."""
    if not isinstance(sql, str):
        sql = sql.as_string(None)
    if params is None:
        return sql, []
    if isinstance(params, str | bytes) or not isinstance(params, Sequence | Mapping):
        raise TypeError(f"params must be a sequence or a mapping, got {type(params).__name__}")
    used: list[Any] = []

    def place(match: re.Match[str]) -> str:
        name, kind = match["name"], match["kind"]
        if kind == "%" and name is None:
            return "%"
        if kind not in ("s", "t", "b"):
            raise ValueError(
                f"only '%s' and '%(name)s' are placeholders, got '{match[0]}'; write '%%'"
            )
        used.append(_pick(params, name, len(used)))
        return f"${len(used)}"

    text = _PLACEHOLDER.sub(place, sql)
    if not isinstance(params, Mapping) and len(used) != len(params):
        raise ValueError(
            f"the statement has {len(used)} placeholders, but {len(params)} parameters came"
        )
    return text, [None if value is None else literal(value) for value in used]


def _pick(params: Sequence[Any] | Mapping[str, Any], name: str | None, index: int) -> Any:
    if isinstance(params, Mapping) != (name is not None):
        raise TypeError("'%(name)s' goes with a mapping and '%s' with a sequence")
    if isinstance(params, Mapping):
        return params[name or ""]
    if index >= len(params):
        raise ValueError(f"the statement has more placeholders than the {len(params)} parameters")
    return params[index]


def literal(value: Any) -> str:
    """The text that PostgreSQL reads as the value, whatever type it expects there."""
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    # psycopg's Json and Jsonb, known by their shape, for psycopg need not be installed.
    if type(value).__name__ in ("Json", "Jsonb") and hasattr(value, "obj"):
        return json.dumps(value.obj)
    raise TypeError(f"cannot pass a {type(value).__name__} as a parameter; convert it to text")


def _array(items: Sequence[Any]) -> str:
    def item(value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, list | tuple):
            return _array(value)
        text = literal(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'

    return "{" + ",".join(map(item, items)) + "}"


def _interval(value: timedelta) -> str:
    return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"


_ADDRESSES = (IPv4Address, IPv6Address, IPv4Interface, IPv6Interface, IPv4Network, IPv6Network)

# bool before int, of which it is a subclass.
_WRITERS: list[tuple[type | tuple[type, ...], Callable[[Any], str]]] = [
    (str, str.__str__),
    (bool, lambda value: "true" if value else "false"),
    (int, int.__repr__),
    (float, float.__repr__),
    ((Decimal, UUID, *_ADDRESSES), str),
    ((datetime, date, clock), lambda value: value.isoformat()),
    (timedelta, _interval),
    ((bytes, bytearray, memoryview), lambda value: "\\x" + bytes(value).hex()),
    ((list, tuple), _array),
]
