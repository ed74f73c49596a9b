"""A consumer on a thread, and waiting for what it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pgque


class Running:
    """A consumer on a thread."""

    def __init__(self, consumer: pgque.Consumer) -> None:
        self.consumer = consumer
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            self.consumer.start()
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self.consumer.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def retries(client, queue) -> list[tuple]:
    sql = """
        select r.ev_id from pgque.retry_queue r join pgque.queue q on q.queue_id = r.ev_queue
        where q.queue_name = %s order by 1
    """
    return client.execute(sql, [queue]).fetchall()


def lock_events(conn, queue) -> None:
    """Until the transaction ends, whoever sends has to wait."""
    sql = "select queue_data_pfx from pgque.queue where queue_name = %s"
    (table,) = conn.execute(sql, [queue]).fetchone()
    conn.execute(f"lock table {table} in access exclusive mode")
