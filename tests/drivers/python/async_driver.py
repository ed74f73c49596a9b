"""The Python driver for the classes of asyncio, which run on the loop of a thread of their own.

The operations are those of `driver.py`. What they are given in place of a client makes each call on the loop and waits
for it.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import asyncpg
import driver
import pgque
from psycopg.conninfo import conninfo_to_dict

LOOP = asyncio.new_event_loop()


def wait(make: Callable[[], Any]) -> Any:
    """Calls on the loop, and waits for what is awaitable of it."""

    async def run() -> Any:
        result = make()
        return await result if inspect.isawaitable(result) else result

    return asyncio.run_coroutine_threadsafe(run(), LOOP).result()


class OnLoop:
    """An object whose methods are called on the loop."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.target, name)
        if name == "conn":
            return value if isinstance(value, pgque.AsyncConnection) else OnLoop(value)
        return (lambda *a, **k: wait(lambda: value(*a, **k))) if callable(value) else value


class Tasks:
    """Sends of tasks that are begun one after the other."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.begun: list[Future[Any]] = []

    def send(self, *args: Any, **options: Any) -> Future[Any]:
        async def call() -> Any:
            return await self.target.send(*args, **options)

        self.begun.append(asyncio.run_coroutine_threadsafe(call(), LOOP))
        return self.begun[-1]

    def flush(self) -> None:
        for error in [future.exception() for future in self.begun]:
            if error is not None:
                raise error


class AsyncBackground(driver.Background):
    """A consumer or ticker that runs on the loop."""

    def run(self) -> None:
        try:
            wait(self.runner.run)
        except BaseException as error:
            self.error = error

    def handler(self, behaviour: str) -> Callable[..., Any]:
        async def handle(msg: pgque.Message, client: pgque.AsyncPgqueClient | None = None) -> Any:
            verdict = self.judge(msg, behaviour)
            if behaviour.startswith("meet:"):
                await asyncio.to_thread(self.meet, int(behaviour.removeprefix("meet:")))
            if client is not None and behaviour in TRANSACTIONAL:
                return await TRANSACTIONAL[behaviour](msg, client)
            await asyncio.sleep(driver.SECONDS.get(behaviour, 0))
            return verdict

        return handle

    def batch_handler(self, behaviour: str) -> Callable[[list[pgque.Message]], Any]:
        judge = super().batch_handler(behaviour)

        async def handle(messages: list[pgque.Message]) -> Any:
            return judge(messages)

        return handle


async def record(msg: pgque.Message, client: pgque.AsyncPgqueClient) -> None:
    await client.execute("insert into conformance_effects (msg_id) values (%s)", [msg.msg_id])


async def record_fail(msg: pgque.Message, client: pgque.AsyncPgqueClient) -> None:
    await record(msg, client)
    raise RuntimeError("handler failed on purpose")


async def end(_msg: pgque.Message, client: pgque.AsyncPgqueClient) -> pgque.Verdict | None:
    try:
        await client.commit()
    except pgque.PgqueConflict:
        return None
    return pgque.dead("commit was not refused")


TRANSACTIONAL = {"record": record, "record_fail": record_fail, "commit": end}


class AsyncDriver(driver.Driver):
    language = "python-async"
    background = AsyncBackground

    def connect(self, dsn: str, **options: Any) -> Any:
        return OnLoop(wait(lambda: pgque.connect_async(dsn, **options)))

    def over_caller(self, dsn: str) -> Any:
        return OnLoop(pgque.AsyncPgqueClient(wait(lambda: asyncpg.connect(**settings(dsn)))))

    def pipeline(self, client: Any) -> Any:
        return Tasks(client.target)

    def submitting(self, producer: Any) -> Any:
        return Tasks(producer.target)

    def make(self, kind: str, /, *args: Any, **options: Any) -> Any:
        made = wait(lambda: getattr(pgque, f"Async{kind}")(*args, **options))
        return OnLoop(made) if kind == "Producer" else made


def settings(dsn: str) -> dict[str, Any]:
    """asyncpg knows no strings of keywords."""
    names = {"dbname": "database"}
    return {names.get(key, key): value for key, value in conninfo_to_dict(dsn).items()}


if __name__ == "__main__":
    threading.Thread(target=LOOP.run_forever, daemon=True).start()
    driver.main(AsyncDriver())
