"""The exceptions: one class for each kind that the core knows, all beneath PgqueError."""

from __future__ import annotations

from typing import Any, ClassVar

from . import _pgque
from ._reports import report


class PgqueError(Exception):
    """Any failure of this library.

    ``kind``, ``code``
        The name and the number of the kind, the same in every language.
    ``op``, ``message``
        The call that failed, and why.
    ``sqlstate``, ``detail``, ``hint``
        What the server said besides, or None.
    ``retriable``, ``uncertain``
        Whether the same call may succeed later; and that nobody knows whether it took effect: to
        repeat it could do it twice.
    """

    kind: ClassVar[str] = "server"
    code: ClassVar[int] = _pgque.KINDS["server"]

    # On the class, so that an error made by hand has them as well, and a pickled one keeps its own.
    op: str | None = None
    message: str | None = None
    sqlstate: str | None = None
    detail: str | None = None
    hint: str | None = None
    retriable: bool = False
    uncertain: bool = False

    def __init_subclass__(cls, kind: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind is not None:
            cls.kind = kind
            cls.code = _pgque.KINDS[kind]
            _BY_KIND[kind] = cls


#: The kinds of errors for which psycopg has one class, OperationalError.
_UNREACHED = ("connection", "closed", "timeout")

_BY_KIND: dict[str, type[PgqueError]] = {}


class PgqueConnectionError(PgqueError, kind="connection"):
    """The server cannot be reached, refused the login, or the connection was lost."""


class PgqueConfigurationError(PgqueError, ValueError, kind="configuration"):
    """A connection setting or an option is wrong."""


class PgqueClosedError(PgqueError, kind="closed"):
    """The client is closed, or belongs to the process before ``fork``."""


class PgqueTimeoutError(PgqueError, kind="timeout"):
    """A time limit passed before the server answered."""


class PgqueQueueNotFound(PgqueError, kind="queue_not_found"):
    """There is no such queue."""


class PgqueConsumerNotFound(PgqueError, kind="consumer_not_found"):
    """The consumer is not subscribed to the queue."""


class PgqueBatchNotFound(PgqueError, kind="batch_not_found"):
    """The batch is unknown, already finished, or taken over."""


class PgqueReceiveOverflowError(PgqueError, kind="overflow"):
    """The batch holds more messages than ``max_messages``; nothing was advanced."""

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str | None,
        hint: str | None,
        configured_limit: int | None,
        operation: str | None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.hint = hint
        self.configured_limit = configured_limit
        self.operation = operation
        self.op = operation

    def __reduce__(self) -> tuple[Any, ...]:
        # The inherited form would call __init__ without its keywords.
        return _restore, (type(self), self.args), self.__dict__


class PgquePermissionDenied(PgqueError, kind="permission_denied"):
    """The role lacks a right, usually membership in pgque_reader, pgque_writer or pgque_admin."""


class PgqueInvalidInput(PgqueError, ValueError, kind="invalid_input"):
    """An argument is not acceptable; the message names it."""


class PgqueConflict(PgqueError, kind="conflict"):
    """The call does not fit the present state, or lost against a concurrent one."""


class PgqueNotInstalled(PgqueError, kind="not_installed"):
    """The database has no usable ``pgque`` schema; the message says how to install it."""


class PgqueServerError(PgqueError, kind="server"):
    """Any other error that the server reported."""


class PgqueInternalError(PgqueError, kind="internal"):
    """A defect in this library."""


def _restore(cls: type[PgqueError], args: tuple[Any, ...]) -> PgqueError:
    return cls.__new__(cls, *args)


def from_core(
    kind: str, code: int, text: str, facts: dict[str, Any], configured_limit: int | None
) -> PgqueError:
    """Make the exception for an error of the core; an unknown kind becomes a plain PgqueError."""
    cls = _BY_KIND.get(kind, PgqueError)
    error = _restore(cls, (text,))
    error.__dict__.update(facts)
    if cls is PgqueError:
        error.__dict__.update(kind=kind, code=code)
    elif cls is PgqueReceiveOverflowError:
        error.__dict__.update(configured_limit=configured_limit, operation=error.op)
    if facts.get("sqlstate") is not None or kind in _UNREACHED:
        error.__cause__ = report(text, facts)
    return error
