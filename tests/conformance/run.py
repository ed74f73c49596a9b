#!/usr/bin/env python3
"""Runs the conformance scenarios against the driver of each language.

    PGQUE_TEST_DSN='host=… user=postgres' .venv/bin/python tests/conformance/run.py --language all

The DSN is a superuser's on a throw-away server. Each scenario gets a database of its own, copied from a template that
has the engine installed, and dropped at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

try:
    import psycopg
    from psycopg import conninfo, sql
except ModuleNotFoundError:
    sys.exit(
        "psycopg is missing; make the environment with:\n"
        "  python3 -m venv .venv && .venv/bin/pip install 'psycopg[binary]'"
    )

from driver import COMMANDS, POOLER, Broken, CallError, Driver, Failure
from harness import Env, Scenario, load_scenarios

HELLO = "answers_hello_with_every_operation"
CALLED = "every_operation_is_called"
# What holds state of a session, is about the server's own answers to a login, or kills sessions and logs in at once
# (the pooler passes the loss on to the next login), has no place behind a pooler.
NOT_POOLED = {
    "a_producer_survives_its_connection",
    "a_consumer_may_listen_elsewhere",
    "queue_names_of_every_kind",
    "notifications_arrive",
    "a_tick_notifies_its_queue",
    "an_empty_search_path_is_enough",
    "a_backend_terminated_under_a_handler_loses_nothing",
    "a_terminated_backend_is_replaced",
    "unknown_database_and_role",
    "wrong_password",
    "permission_denied",
}


@dataclass
class Outcome:
    seconds: float
    failure: str | None
    broken: bool = False


def expected_operations() -> set[str]:
    """The client's operations by api.toml, and what drives consumers, tickers and the caller's
    connection."""
    api = tomllib.loads((HERE / "api.toml").read_text())
    groups = [g for g in api["operation"] if g["on"] == "client" and "but_not_where" not in g]
    operations = {name for group in groups for name in group["names"]}
    return operations | set(api["driver"]["operations"])


def check_hello(driver: Driver) -> None:
    """A driver knows every operation of the protocol; one that is missing is a failure."""
    hello = driver.call("hello")
    missing = expected_operations() - set(hello["operations"])
    if missing:
        raise Failure(f"the driver lacks {', '.join(sorted(missing))}")
    if hello["language"] != driver.language:
        raise Failure(f"the driver says its language is {hello['language']}")
    cargo = tomllib.loads((HERE.parents[1] / "Cargo.toml").read_text())
    version = cargo["workspace"]["package"]["version"]
    if hello["version"] != version:
        raise Failure(f"the library's version is {version}, the driver says {hello['version']}")


def check_called(language: str) -> Outcome:
    """No operation goes untested: the scenarios together call each one."""
    left = expected_operations() - Driver.called[language]
    failure = f"no scenario calls {', '.join(sorted(left))}" if left else None
    return Outcome(0.0, failure)


class Server:
    """The throw-away server: makes and drops databases."""

    def __init__(self, dsn: str, language: str) -> None:
        self.dsn = dsn
        self.prefix = f"pgque_conformance_{os.getpid()}_{language}".replace("-", "_")
        self.template = f"{self.prefix}_template"

    def run(self, text: str, *names: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as admin:
            admin.execute(sql.SQL(text).format(*map(sql.Identifier, names)))

    def make_template(self, language: str) -> None:
        """Installs the engine through the language under test, or through Rust where only that
        works."""
        for installer in dict.fromkeys([language, "rust"]):
            self.run("create database {}", self.template)
            driver = None
            try:
                driver = Driver(installer)
                client = driver.connect(
                    conninfo.make_conninfo(self.dsn, dbname=self.template), autocommit=True
                )
                client.install()
                client.close()
                return
            except (Failure, CallError) as e:
                self.drop(self.template)
                print(f"the {installer} driver could not install the engine: {e}", file=sys.stderr)
            finally:
                if driver is not None:
                    driver.end()
        sys.exit("no driver could install the engine")

    def copy(self, name: str) -> None:
        self.run("create database {} template {}", name, self.template)

    def drop(self, name: str) -> None:
        self.run("drop database if exists {} with (force)", name)


def run_one(server: Server, language: str, number: int, scenario: Scenario) -> Outcome:
    started = time.monotonic()
    database = f"{server.prefix}_{number}"
    failure = None
    try:
        with ExitStack() as stack:
            server.copy(database)
            stack.callback(server.drop, database)
            scenario(Env(language, server.dsn, database, stack))
    except (Failure, CallError) as e:
        place = traceback.extract_tb(e.__traceback__)
        line = next((f for f in reversed(place) if "scenarios" in f.filename), place[-1])
        failure = f"{Path(line.filename).name}:{line.lineno}: {line.line}\n  {e}"
    except Exception:
        failure = traceback.format_exc().rstrip().replace("\n", "\n  ")
    return Outcome(time.monotonic() - started, failure)


def run_hello(language: str) -> Outcome:
    started = time.monotonic()
    failure = None
    driver = None
    try:
        driver = Driver(language)
        check_hello(driver)
    except (Failure, CallError) as e:
        failure = e
    finally:
        if driver is not None:
            driver.end()
    broken = isinstance(failure, Broken)
    return Outcome(time.monotonic() - started, failure and str(failure), broken)


def run_language(
    dsn: str, language: str, scenarios: dict[str, Scenario], jobs: int
) -> dict[str, Outcome]:
    server = Server(dsn, language)
    hello = run_hello(language)
    outcomes = {HELLO: hello}
    if hello.broken:
        # Every scenario would wait for the same silence.
        return outcomes | {
            name: Outcome(0.0, "the driver does not answer hello") for name in scenarios
        }
    server.make_template(language)
    try:
        with ThreadPoolExecutor(jobs) as pool:
            running = {
                name: pool.submit(run_one, server, language, number, scenario)
                for number, (name, scenario) in enumerate(scenarios.items())
            }
            return outcomes | {name: future.result() for name, future in running.items()}
    finally:
        server.drop(server.template)


def print_table(results: dict[str, dict[str, Outcome]]) -> None:
    names = list(next(iter(results.values())))
    width = max(map(len, names))
    print(f"{'scenario':<{width}}" + "".join(f"  {language:>11}" for language in results))
    for name in names:
        cells = (outcomes[name] for outcomes in results.values())
        texts = (f"{'FAIL' if cell.failure else 'ok'} {cell.seconds:5.1f} s" for cell in cells)
        print(f"{name:<{width}}" + "".join(f"  {text:>11}" for text in texts))


def print_failures(results: dict[str, dict[str, Outcome]]) -> None:
    for language, outcomes in results.items():
        for name, outcome in outcomes.items():
            if outcome.failure:
                print(f"\nFAIL {language} {name}\n  {outcome.failure}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--language", choices=[*COMMANDS, "all"], default="all")
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only this one; may be repeated"
    )
    parser.add_argument(
        "--dsn", default=os.environ.get("PGQUE_TEST_DSN"), help="default: PGQUE_TEST_DSN"
    )
    parser.add_argument(
        "--jobs", type=int, default=8, help="scenarios at the same time (default 8)"
    )
    parser.add_argument(
        "--together", action="store_true", help="all languages at the same time, each with its jobs"
    )
    parser.add_argument(
        "--list", action="store_true", help="print the scenarios and their promises, run nothing"
    )
    options = parser.parse_args()
    scenarios = load_scenarios()
    if POOLER:
        scenarios = {name: s for name, s in scenarios.items() if name not in NOT_POOLED}
    if options.list:
        for name, scenario in scenarios.items():
            print(f"{name}\n    {' '.join(scenario.__doc__.split())}")
        return 0
    if not options.dsn:
        parser.error(
            "no server: give --dsn or set PGQUE_TEST_DSN to a superuser's DSN of a throw-away server"
        )
    if options.scenario:
        unknown = set(options.scenario) - set(scenarios)
        if unknown:
            parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
        scenarios = {name: scenarios[name] for name in options.scenario}
    # A language has several drivers where it has several faces: `python` is `python-async` as well.
    wanted = "" if options.language == "all" else f"{options.language}-"
    languages = [name for name in COMMANDS if f"{name}-".startswith(wanted)]
    with ThreadPoolExecutor(len(languages) if options.together else 1) as pool:
        running = {
            language: pool.submit(run_language, options.dsn, language, scenarios, options.jobs)
            for language in languages
        }
        results = {language: future.result() for language, future in running.items()}
    if not options.scenario and not POOLER:
        for language, outcomes in results.items():
            outcomes[CALLED] = check_called(language)
    print_table(results)
    print_failures(results)
    outcomes = [outcome for by_name in results.values() for outcome in by_name.values()]
    failed = sum(1 for outcome in outcomes if outcome.failure)
    print(f"\n{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not scenarios else 0


if __name__ == "__main__":
    sys.exit(main())
