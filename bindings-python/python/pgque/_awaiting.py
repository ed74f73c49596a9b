"""Coroutines of the native module's calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar

from ._callers import converse
from ._pgque import Begun, Dialogue

_T = TypeVar("_T")


class _Closing(Protocol):
    async def close(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closing)


async def answer(pending: Begun[_T]) -> _T:
    """What the call gives. Whoever stops waiting, in whatever way, gives it up."""
    try:
        return await pending.future
    except BaseException:
        pending.abandon()
        raise
    finally:
        # Else a failure would hold itself: exception, traceback, this frame, future, exception.
        del pending


def coroutine(native: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """A native method as a coroutine function, with its name, its signature and its text."""

    @functools.wraps(native)
    async def call(*args: Any, **kwargs: Any) -> Any:
        pending = native(*args, **kwargs)
        if isinstance(pending, Dialogue):
            return await converse(pending)
        # As `answer`, which would cost a second coroutine for each call.
        try:
            return await pending.future
        except BaseException:
            pending.abandon()
            raise
        finally:
            del pending

    return call


def asynchronous(cls: type, *, but: tuple[str, ...] = ()) -> None:
    """Make coroutines of the methods of a native class, but those named.

    It has them all from a base that it shares with the blocking one: each stands there once.
    """
    native = type(str.join)
    for name, method in vars(cls.__mro__[1]).items():
        if isinstance(method, native) and name not in but and not name.startswith("__"):
            call = coroutine(method)
            call.__qualname__ = f"{cls.__name__}.{name}"
            setattr(cls, name, call)


def closing(cls: type) -> None:
    """Give a native class ``async with``, which only closes."""

    async def enter(self: Any) -> Any:
        return self

    async def leave(self: Any, *exc: object) -> None:
        await self.close()

    cls.__aenter__ = enter  # type: ignore[attr-defined]
    cls.__aexit__ = leave  # type: ignore[attr-defined]


class Opening(Generic[_Opened]):
    """What ``await`` makes an object of, and ``async with`` opens and closes."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, _Opened]]) -> None:
        self._make = make
        self._opened: _Opened | None = None

    def __await__(self) -> Generator[Any, Any, _Opened]:
        return self._make().__await__()

    async def __aenter__(self) -> _Opened:
        self._opened = await self._make()
        return self._opened

    async def __aexit__(self, *exc: object) -> None:
        if self._opened is not None:
            await self._opened.close()
