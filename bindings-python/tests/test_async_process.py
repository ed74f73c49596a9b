"""The process around asyncio: signals, the end of the interpreter, fork."""

from __future__ import annotations

import signal
import time

import pytest
from running import retries
from test_process import Script

LOOPS = {"asyncio": "asyncio.run", "uvloop": "uvloop.run"}


def script(dsn: str, queue: str, loop: str, body: str) -> Script:
    prelude = "import asyncio, uvloop\n" if loop == "uvloop" else "import asyncio\n"
    return Script(dsn, queue, prelude + body.replace("RUN", LOOPS[loop]))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["AsyncConsumer(dsn, queue=queue, name='c')", "AsyncTicker(dsn)"])
def test_a_signal_stops_what_runs_and_the_handlers_are_restored(dsn, queue, loop, number, kind):
    program = script(
        dsn,
        queue,
        loop,
        f"""
async def main():
    handlers = lambda: [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    before = handlers()
    asyncio.get_running_loop().call_later(0.5, ready)
    await pgque.{kind}.run()
    assert before == handlers()
    print("stopped", flush=True)
RUN(main())
""",
    )
    program.wait_ready()
    program.process.send_signal(number)
    assert program.process.stdout.readline() == "stopped\n"
    code, _, err = program.end()
    assert code == 0, err
    assert f"received signal {int(number)}, shutting down" in err


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_signal_leaves_at_once(dsn, client, queue, tick, loop):
    client.send(queue, 1)
    tick()
    program = script(
        dsn,
        queue,
        loop,
        """
consumer = pgque.AsyncConsumer(dsn, queue=queue, name="c", poll_interval=0.2)
@consumer.on("*")
async def hang(message):
    ready()
    await asyncio.sleep(60)
RUN(consumer.run())
""",
    )
    program.wait_ready()
    program.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert program.process.poll() is None, "the first lets the handler end"
    program.process.send_signal(signal.SIGTERM)
    code, _, _ = program.end()
    assert code == 128 + signal.SIGTERM


def test_ctrl_c_hands_an_iterated_batch_back(dsn, client, queue, tick):
    client.send_batch(queue, None, [1, 2])
    tick()
    program = script(
        dsn,
        queue,
        "asyncio",
        """
async def main():
    async with pgque.AsyncConsumer(dsn, queue=queue, name="c") as consumer:
        async for message in consumer:
            ready()
            await asyncio.sleep(60)
asyncio.run(main())
""",
    )
    program.wait_ready()
    program.process.send_signal(signal.SIGINT)
    code, _, err = program.end()
    assert code != 0
    assert "KeyboardInterrupt" in err
    assert len(retries(client, queue)) == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_the_interpreter_ends_over_pending_calls(dsn, queue, loop):
    program = script(
        dsn,
        queue,
        loop,
        """
loop = (uvloop if "RUN".startswith("uvloop") else asyncio).new_event_loop()
async def main():
    global tasks
    client = await pgque.connect_async(dsn, autocommit=True)
    sleep = "select pg_sleep(0.01)"
    tasks = [asyncio.ensure_future(client.execute(sleep)) for n in range(50)]
    await asyncio.sleep(0.1)
    ready()
loop.run_until_complete(main())
time.sleep(0.2)
""",
    )
    program.wait_ready()
    code, _, err = program.end()
    assert code == 0, err
    assert "panicked" not in err


def test_a_forked_child_has_to_connect_again(dsn, queue):
    program = script(
        dsn,
        queue,
        "asyncio",
        """
client = None
async def connect():
    global client
    client = await pgque.connect_async(dsn, autocommit=True)
async def child():
    try:
        await client.version()
    except pgque.PgqueClosedError as error:
        assert "fork" in str(error)
    async with pgque.connect_async(dsn, autocommit=True) as own:
        assert await own.version()
asyncio.run(connect())
pid = os.fork()
if pid == 0:
    asyncio.run(child())
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
assert asyncio.run(client.version())
ready()
""",
    )
    program.wait_ready()
    code, _, err = program.end()
    assert code == 0, err


def test_nothing_of_asyncio_is_imported_before_it_is_asked_for(dsn, queue):
    program = Script(dsn, queue, "assert 'asyncio' not in sys.modules\nready()")
    program.wait_ready()
    assert program.end()[0] == 0
