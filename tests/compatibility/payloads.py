"""What may be sent, and what is stored of it."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import uuid
from typing import Any

import pgque
from facts import Server, fact, outcome
from psycopg.types.json import Json, Jsonb


class Text(str):
    """A str of another class."""


class Level(str, enum.Enum):
    LOW = '"low"'


class Weight(int):
    def __repr__(self) -> str:
        return "Weight"


#: Sent by both.
STORED: dict[str, Any] = {
    "dict": {"b": 1, "a": [None, True, 1.5, "é"]},
    "empty dict": {},
    "list": [1, "x", None],
    "empty list": [],
    "ordered": collections.OrderedDict(b=1, a=2),
    "defaultdict": collections.defaultdict(int, a=1),
    "none": None,
    "json text": '{"b": 1,  "a": 1.00}',
    "number as text": "5",
    "text as text": '"x"',
    "text of a subclass": Text("[1]"),
    "enum of text": Level.LOW,
    "Jsonb": Jsonb({"a": 1}),
    "Json": Json([1]),
    "Jsonb of text": Jsonb("x"),
    "Jsonb of none": Jsonb(None),
    "Jsonb with dumps": Jsonb({"a": 1}, dumps=lambda value: '{"dumped": true}'),
    "Event": pgque.Event({"a": 1}),
    "Event of text": pgque.Event("[1]"),
    "large int": {"n": 10**30},
    "keys": {1: "a", None: "b", False: "c", 1.5: "d"},
    "keys that collide": {1: "a", "1": "c"},
    "tuple within": {"t": (1, 2)},
    "int of a subclass": {"n": Weight(5)},
    "long": {"s": "x" * 100_000},
    "unicode": {"s": "𝄞 é \u2028 \x7f"},
    "deep": {"a": [[[[[[[[[[{}]]]]]]]]]]},
    "escapes": {"s": '\n\t"\\/\b'},
}
#: Refused by both.
REFUSED: dict[str, Any] = {
    "text": "hello",
    "empty text": "",
    "NaN text": "NaN",
    "two values": "1 2",
    "set": {1},
    "object": object(),
    "NaN": {"n": float("nan")},
    "infinity": [float("inf")],
    "lone surrogate": {"s": "\ud800"},
    "NUL in a dict": {"s": "a\x00b"},
    "NUL escaped": '"a\\u0000b"',
    "NUL": '"a\x00b"',
    "bytes": b"{}",
    "Decimal": decimal.Decimal("1.5"),
    "datetime": dt.datetime(2024, 1, 1),
    "uuid": uuid.UUID(int=1),
    "Event of an object": pgque.Event(object()),
}
#: Plain values, which pgque-py leaves to psycopg, and that to the server, which refuses them.
PLAIN: dict[str, Any] = {
    "int": 42,
    "large int": 10**30,
    "float": 1.5,
    "bool": True,
    "tuple": (1, 2),
}
#: Refused by both, by json and not by the package.
UNSERIALISABLE: dict[str, Any] = {
    "datetime within": {"t": dt.datetime(2024, 1, 1)},
    "set within": [{1}],
    "bytes within": {"b": b"x"},
    "tuple key": {(1, 2): 1},
}


def stored(server: Server, queue: str, since: int = 0) -> Any:
    rows = server.events(queue)[since:]
    return [[kind, data if len(data or "") < 999 else len(data)] for kind, data in rows]


def send_each(server: Server, values: dict[str, Any]) -> Any:
    queue, found = server.queue(), {}
    with server.client() as client:
        for name, value in values.items():
            before = len(server.events(queue))
            result = outcome(client.send, queue, value)
            found[name] = stored(server, queue, before) if type(result) is int else result
    return found


@fact
def payloads_stored(server: Server) -> Any:
    return send_each(server, STORED)


@fact
def payloads_refused(server: Server) -> Any:
    return send_each(server, REFUSED)


@fact
def payloads_plain(server: Server) -> Any:
    return send_each(server, PLAIN)


@fact
def payloads_unserialisable(server: Server) -> Any:
    return send_each(server, UNSERIALISABLE)


@fact
def types(server: Server) -> Any:
    queue = server.queue()
    with server.client() as c:
        for kind in ("default", None, "", "a", "A b", "é", "%s", "x" * 300):
            c.send(queue, {}, type=kind)
            c.send(queue, pgque.Event({}, kind), type="beaten")
            c.send_batch(queue, kind, [{}])
        c.send(queue, pgque.Event({}))
        c.send(queue)
        return stored(server, queue)


@fact
def batches(server: Server) -> Any:
    queue = server.queue()
    with server.client() as c:
        found = [
            outcome(lambda p=p: len(c.send_batch(queue, "t", p)))
            for p in (
                [{"a": 1}, None, "[1]", [2]],
                ({"n": n} for n in range(3)),
                ("1", "2"),
                {"1": 0}.keys(),
                [Jsonb({"a": 1})],
            )
        ]
        return [found, stored(server, queue)]


@fact
def batches_refused(server: Server) -> Any:
    queue = server.queue()
    with server.client() as c:
        bad = ([{"a": 1}, "hello"], ["{}", {1}], [{}, "\x00"], 5, None)
        found = [outcome(c.send_batch, queue, "t", p) for p in bad]
        return [found, stored(server, queue)]


@fact
def batches_of_plain_values(server: Server) -> Any:
    queue = server.queue()
    with server.client() as c:
        plain = ([1, 2], [1, "2"], [1.5], [True, None])
        found = [outcome(lambda p=p: len(c.send_batch(queue, "t", p))) for p in plain]
        return [found, stored(server, queue)]


@fact
def batches_that_are_one_value(server: Server) -> Any:
    queue = server.queue()
    with server.client() as c:
        return [outcome(lambda p=p: len(c.send_batch(queue, "t", p))) for p in ("12", {"1": "2"})]


@fact
def nul_in_names(server: Server) -> Any:
    queue = server.queue("c")
    server.send(queue, "1")
    server.tick(queue)
    with server.client() as c:
        (m,) = c.receive(queue, "c")
        return [
            outcome(c.send, "a\x00b", {}),
            outcome(c.send, queue, {}, type="a\x00b"),
            outcome(c.nack, m.batch_id, m, 0, "a\x00b"),
        ]


@fact
def text_that_looks_like_sql(server: Server) -> Any:
    queue = server.queue()
    with server.client() as c:
        c.send(queue, {"s": "%s %(a)s $1 '\"\\ "}, type="%s'$1")
        return stored(server, queue)
