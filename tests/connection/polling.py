#!/usr/bin/env python3
"""What a consumer and a ticker say of a pooler that stands between them and the server.

scripts/db .venv/bin/python tests/connection/pooler.py .venv/bin/python tests/connection/polling.py
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

import pgque
from psycopg import conninfo

WAIT = 15.0


class Lines(logging.Handler):
    """What was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of_pooler(self) -> list[tuple[str, str]]:
        return [(r.levelname, r.getMessage()) for r in self.records if "pooler" in r.getMessage()]


def said_by(consumer: pgque.Consumer) -> list[tuple[str, str]]:
    """What it logs of the pooler until it has looked for messages a few times."""
    lines = Lines()
    logger = logging.getLogger("pgque")
    logger.addHandler(lines)
    running = threading.Thread(target=consumer.start)
    running.start()
    end = time.monotonic() + WAIT
    while consumer.health().status != "idle" and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.5)
    consumer.stop()
    running.join(WAIT)
    logger.removeHandler(lines)
    return lines.of_pooler()


def check(what: str, found: list[tuple[str, str]], level: str | None, *words: str) -> None:
    levels = [level] if level else []
    if [line[0] for line in found] != levels or not all(w in found[0][1] for w in words):
        sys.exit(f"{what}: {found}")


def main() -> None:
    logging.getLogger("pgque").setLevel(logging.DEBUG)
    direct = os.environ["PGQUE_TEST_DSN"]
    pooled = conninfo.make_conninfo(
        direct, **conninfo.conninfo_to_dict(os.environ["PGQUE_TEST_POOLER"])
    )
    with pgque.connect(direct, autocommit=True) as client:
        client.install()
        client.create_queue("polled")
        client.subscribe("polled", "reader")

    def consumer(dsn: str, **options: object) -> pgque.Consumer:
        return pgque.Consumer(dsn, queue="polled", name="reader", poll_interval=0.1, **options)

    check("direct", said_by(consumer(direct)), None)
    check("listen_dsn", said_by(consumer(pooled, listen_dsn=direct)), None)
    check("by default", said_by(consumer(pooled)), "INFO", "listen_dsn", "every")
    # One by one: nobody's pages, so nothing keeps two of a name apart.
    check("whole batches", said_by(consumer(pooled, max_messages=10)), "WARNING", "same batches")
    try:
        pgque.Ticker(pooled).run()
    except pgque.PgqueError as error:
        if error.kind != "configuration" or "connect to the server itself" not in str(error):
            raise
    else:
        sys.exit("a ticker ran behind a pooler")
    print("5 passed")


if __name__ == "__main__":
    main()
