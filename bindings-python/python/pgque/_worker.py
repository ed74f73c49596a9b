"""``python -m pgque worker``: consumers of a program's own, run until a signal."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import inspect
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ._signals import stopping_on_signals
from .errors import PgqueError

logger = logging.getLogger("pgque")

# Seconds; a signal is noticed within.
_SLEEP_MAX = 0.1

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_DESCRIPTION = """\
Run consumers until SIGINT or SIGTERM. The first signal lets each finish what it has in hand, as its
stop_policy says; a second one leaves at once, and what is unfinished is delivered again.

A target is `module:name`, where the name is a Consumer, an AsyncConsumer, a Ticker or a list of
them; `module:name()` calls a function that makes one. Each runs on a thread of its own."""
_EPILOG = """\
Exit codes: 0 stopped as asked, 1 a consumer failed, 2 wrong usage, 128 + n forced by signal n."""


class BadTarget(Exception):
    """What is named cannot be run; the message says why."""


def main(args: list[str]) -> int:
    """Run what the arguments name; the exit code."""
    options = _parse(args)
    # As with `python -m`, also where the command was started by its own name.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        runners = [runner for target in options.target for runner in find(target)]
    except BadTarget as error:
        print(f"pgque worker: {error}", file=sys.stderr)
        return 2
    # Does nothing if the program has set up logging itself.
    logging.basicConfig(level=options.log_level, format=_FORMAT)
    try:
        return 0 if run(runners) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parse(args: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pgque worker",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="+", metavar="module:name")
    parser.add_argument(
        "--log-level",
        default="INFO",
        type=str.upper,
        choices=_LEVELS,
        help="what goes to standard error, unless the program sets up logging itself",
    )
    return parser.parse_args(args)


def find(target: str) -> list[Any]:
    """The consumers that a target names."""
    module_name, _, path = target.partition(":")
    module = _import(module_name)
    if not path:
        raise BadTarget(f"{target!r} names no consumer; write {module_name}:NAME{_offer(module)}")
    called = path.endswith("()")
    value: Any = module
    for name in path.removesuffix("()").split("."):
        if not hasattr(value, name):
            raise BadTarget(f"module {module_name!r} has no {path!r}{_offer(module)}")
        value = getattr(value, name)
    if called:
        if not callable(value):
            raise BadTarget(f"{target!r}: {type(value).__name__} cannot be called")
        value = value()
    elif not _can_run(value) and callable(value):
        raise BadTarget(f"{target!r} is a function; write {target}() to have it called")
    runners = list(value) if isinstance(value, list | tuple) else [value]
    if not runners or not all(_can_run(runner) for runner in runners):
        raise BadTarget(f"{target!r} is no Consumer, AsyncConsumer or Ticker, nor a list of them")
    return runners


def _import(name: str) -> Any:
    """The module. What goes wrong inside of it comes out as it is, with its traceback."""
    try:
        found = importlib.util.find_spec(name) if name else None
    except (ModuleNotFoundError, ValueError):
        found = None
    if found is None:
        raise BadTarget(f"there is no module {name!r} in {os.getcwd()} or on the module path")
    return importlib.import_module(name)


def _can_run(value: Any) -> bool:
    # By what it can do: a wrapper around a consumer is welcome. A class only makes what can run.
    return not isinstance(value, type) and all(
        callable(getattr(value, name, None)) for name in ("run", "stop")
    )


def _offer(module: Any) -> str:
    names = [name for name, value in vars(module).items() if _can_run(value)]
    return f"; it has {', '.join(names)}" if names else ""


def run(runners: Iterable[Any]) -> bool:
    """Run them all until they have ended; False if one has failed, which stops the others."""
    crew = _Crew(list(runners))
    # The main thread only waits, which lets signals in. One that comes right before it falls asleep
    # is not noticed before it wakes.
    with stopping_on_signals(crew.stop, logger):
        crew.start()
        while not crew.ended.wait(_SLEEP_MAX):
            pass
    return not crew.failed


class _Crew:
    """Runners, each on a thread. Daemons: who is forced out is not waited for."""

    def __init__(self, runners: list[Any]) -> None:
        self.ended = threading.Event()
        self.failed = False
        self._runners = runners
        self._left = len(runners)
        self._signals = 0
        self._asked = False
        # One that a signal may take while its own thread holds it.
        self._lock = threading.RLock()

    def start(self) -> None:
        for runner in self._runners:
            name = f"pgque-{getattr(runner, 'name', type(runner).__name__)}"
            threading.Thread(target=self._work, args=(runner,), name=name, daemon=True).start()

    def stop(self) -> None:
        """For signals: the first asks, the second forces."""
        self._signals += 1
        if self._signals > 1:
            self._asked = False
        self._ask()

    def _ask(self) -> None:
        # A runner that is asked twice takes it for force.
        with self._lock:
            asked, self._asked = self._asked, True
        if not asked:
            for runner in self._runners:
                runner.stop()

    def _work(self, runner: Any) -> None:
        try:
            _run_one(runner.run)
        except BaseException as error:
            name = getattr(runner, "name", type(runner).__name__)
            # An error of ours says all there is to say; a program's own needs the place.
            place = None if isinstance(error, PgqueError) else error
            logger.error("%s failed: %s; stopping the worker", name, error, exc_info=place)
            self.failed = True
            self._ask()
        with self._lock:
            self._left -= 1
            if not self._left:
                self.ended.set()


def _run_one(run: Callable[[], Any]) -> None:
    if inspect.iscoroutinefunction(run):
        asyncio.run(run())
    else:
        run()
