"""Names, signatures, classes, and how their objects look, compare and copy."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import inspect
import pickle
from typing import Any
from unittest import mock

import pgque
import pgque.client
import pgque.consumer
import pgque.errors
import pgque.types
from facts import Server, describe, fact, outcome

NAMES = [
    "PgqueClient",
    "Consumer",
    "Message",
    "Event",
    "PgqueError",
    "PgqueConnectionError",
    "PgqueQueueNotFound",
    "PgqueBatchNotFound",
    "PgqueConsumerNotFound",
    "PgqueReceiveOverflowError",
    "connect",
    "__version__",
]
METHODS = {
    "PgqueClient": [
        "__enter__",
        "__exit__",
        "close",
        "send",
        "send_batch",
        "subscribe",
        "unsubscribe",
        "receive",
        "ack",
        "nack",
        "force_next_tick",
        "force_tick",
        "ticker",
        "ticker_all",
        "subscribe_subconsumer",
        "unsubscribe_subconsumer",
        "receive_coop",
        "touch_subconsumer",
    ],
    "Consumer": ["on", "start", "stop"],
}
NOW = dt.datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=dt.timezone.utc)


def message(**changes: Any) -> Any:
    fields = {"msg_id": 1, "batch_id": 2, "type": "t", "payload": "{}", "retry_count": None}
    return pgque.Message(**{**fields, "created_at": NOW, **changes})


def overflow() -> Any:
    return pgque.PgqueReceiveOverflowError(
        "too many", sqlstate="54000", hint="take more", configured_limit=5, operation="receive"
    )


@fact
def public_names(_: Server) -> Any:
    return {name: type(getattr(pgque, name)).__name__ for name in NAMES if name in pgque.__all__}


@fact
def homes_of_classes(_: Server) -> Any:
    objects = [getattr(pgque, name) for name in NAMES if name != "__version__"]
    return {o.__name__: [o.__module__, o.__qualname__] for o in objects}


@fact
def modules(_: Server) -> Any:
    return [
        pgque.client.PgqueClient is pgque.PgqueClient,
        pgque.client.connect is pgque.connect,
        pgque.client.PgqueError is pgque.PgqueError,
        pgque.client.Message is pgque.Message,
        pgque.client.Event is pgque.Event,
        pgque.consumer.Consumer is pgque.Consumer,
        pgque.consumer.PgqueClient is pgque.PgqueClient,
        pgque.consumer.Message is pgque.Message,
        pgque.types.Message is pgque.Message,
        pgque.types.Event is pgque.Event,
        pgque.errors.PgqueError is pgque.PgqueError,
        pgque.consumer.logger.name,
    ]


@fact
def signatures(_: Server) -> Any:
    def parameters(function: Any) -> list[list[str]]:
        return [
            [p.name, p.kind.name, "" if p.default is p.empty else repr(p.default)]
            for p in inspect.signature(function).parameters.values()
            if p.name != "self"
        ]

    found = {name: parameters(getattr(pgque, name)) for name in ("connect", "Event", "Message")}
    found |= {
        name: parameters(getattr(pgque, name))
        for name in ("PgqueClient", "Consumer", "PgqueReceiveOverflowError")
    }
    for kind, methods in METHODS.items():
        for name in methods:
            found[f"{kind}.{name}"] = parameters(getattr(getattr(pgque, kind), name))
    return found


@fact
def errors_are_one_tree(_: Server) -> Any:
    kinds = [getattr(pgque, name) for name in NAMES if name.startswith("Pgque")]
    kinds.remove(pgque.PgqueClient)
    return {
        kind.__name__: [base.__name__ for base in kind.__mro__]
        for kind in kinds
        if kind is not pgque.PgqueClient
    }


@fact
def errors_by_hand(_: Server) -> Any:
    kinds = [getattr(pgque, name) for name in NAMES if name.startswith("Pgque")]
    kinds = [k for k in kinds if k not in (pgque.PgqueClient, pgque.PgqueReceiveOverflowError)]
    return {k.__name__: [str(k("a")), repr(k("a", 1)), k("a", 1).args] for k in kinds}


@fact
def overflow_error_survives(_: Server) -> Any:
    def look(error: Any) -> list[Any]:
        names = ("sqlstate", "hint", "configured_limit", "operation", "mine")
        values = [getattr(error, name, "missing") for name in names]
        return [type(error).__name__, str(error), error.args, values, error.__notes__]

    error = overflow()
    error.mine = "kept"
    error.add_note("noted")
    copies = (copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)))
    return [look(error), *(look(again(error)) for again in copies)]


@fact
def overflow_error_needs_its_keywords(_: Server) -> Any:
    return outcome(pgque.PgqueReceiveOverflowError, "text")


@fact
def message_is_a_dataclass(_: Server) -> Any:
    m = message()
    m.note = "mine"
    return [
        dataclasses.is_dataclass(m),
        [[f.name, f.default is dataclasses.MISSING] for f in dataclasses.fields(m)],
        dataclasses.astuple(m)[:5],
        dataclasses.replace(m, payload="[]").payload,
        repr(m),
        m == message(),
        m == message(payload="[]"),
        m == 5,
        outcome(hash, m),
        pgque.Message.extra1,
        pgque.Message.__match_args__,
        outcome(pgque.Message, 1),
        inspect.isclass(pgque.Message),
    ]


@fact
def message_attributes(_: Server) -> Any:
    m = message()
    m.payload, m.note = {"a": 1}, "mine"
    twins = [copy.copy(m), copy.deepcopy(m), pickle.loads(pickle.dumps(m))]
    return [
        [key for key in vars(m)],
        [str(value) for value in vars(m).values()],
        [(t == m, t.note, t.payload) for t in twins],
        outcome(delattr, m, "note"),
    ]


@fact
def message_may_be_subclassed(_: Server) -> Any:
    class Mine(pgque.Message):
        def __init__(self, msg_id: int) -> None:
            super().__init__(msg_id, 2, "t", "{}", None, NOW)

        @property
        def double(self) -> int:
            return self.msg_id * 2

    return [Mine(4).double, Mine(4).payload, isinstance(Mine(4), pgque.Message)]


@fact
def event(_: Server) -> Any:
    e = pgque.Event({"a": 1})
    return [
        repr(e),
        vars(e),
        e == pgque.Event({"a": 1}),
        outcome(hash, e),
        repr(pgque.Event(1, "t", {"x": "y"})),
        dataclasses.asdict(e),
        pgque.Event.__match_args__,
    ]


@fact
def consumer_attributes(server: Server) -> Any:
    consumer = pgque.Consumer(server.dsn, queue="q", name="n")
    names = [
        "queue",
        "name",
        "poll_interval",
        "max_messages",
        "retry_after",
        "subconsumer",
        "dead_interval",
        "_running",
    ]
    other = pgque.Consumer(
        server.dsn,
        queue="q",
        name="n",
        poll_interval=5,
        max_messages=123,
        retry_after=7,
        unknown_handler_policy="ack",
        subconsumer="s",
        dead_interval="1 minute",
    )
    return [
        {name: getattr(c, name) for name in names} | {"dsn": c.dsn == server.dsn}
        for c in (consumer, other)
    ]


@fact
def consumer_refuses(server: Server) -> Any:
    def make(**options: Any) -> Any:
        return outcome(pgque.Consumer, server.dsn, queue="q", name="n", **options)

    return [make(unknown_handler_policy="drop"), make(dead_interval="1 minute")]


@fact
def on_gives_the_function_back(server: Server) -> Any:
    consumer = pgque.Consumer(server.dsn, queue="q", name="n")

    def handle(message: Any) -> None: ...

    return [consumer.on("a")(handle) is handle, consumer.on("*")(handle) is handle]


@fact
def client_may_be_subclassed(server: Server) -> Any:
    class Mine(pgque.PgqueClient):
        def __init__(self, dsn: str, tenant: str) -> None:
            super().__init__(pgque.connect(dsn).conn, _owns_conn=True)
            self.tenant = tenant

        def send(self, queue: str, payload: Any = None, **options: Any) -> int:
            return super().send(queue, {"tenant": self.tenant, "payload": payload}, **options)

    queue = server.queue()
    with Mine(server.dsn, "a") as client:
        client.send(queue, 1)
        client.conn.commit()
    return server.events(queue)


@fact
def client_may_be_mocked(server: Server) -> Any:
    with server.client() as client:
        client.note = "mine"
        with mock.patch.object(client, "send", return_value=7) as send:
            found = [client.send("q", {"a": 1}), send.call_args.args]
        with mock.patch.object(pgque.PgqueClient, "ack", return_value=8):
            found.append(client.ack(1))
        double = mock.create_autospec(pgque.PgqueClient, instance=True)
        double.receive.return_value = []
        found += [double.receive("q", "c"), [isinstance(double, pgque.PgqueClient)]]
        return [*found, client.note, client.ack(77), vars(client)["note"]]


@fact
def client_attributes(server: Server) -> Any:
    client = pgque.connect(server.dsn)
    first, other = client.conn, pgque.connect(server.dsn, autocommit=True)
    found = [first is client.conn, first.closed, first.autocommit, other.conn.autocommit]
    client.conn = other.conn
    found += [client.conn is other.conn, client.subscribe(server.queue(), "c")]
    found.append(describe(server.sql("select count(*) from pgque.subscription")[0][0] > 0))
    first.close()
    other.close()
    other.close()
    return [*found, first.closed, other.conn.closed]
