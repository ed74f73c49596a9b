"""A consumer in Python, for what only an interpreter can do wrong: a handler that holds the interpreter's lock.

worker.py JOURNAL DSN QUEUE NAME [OPTION=VALUE …], with the journal of `pgque-fault-worker`.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from typing import Any

import pgque

NUMBERS = ("poll_interval", "dead_interval", "retry_after")
# One call of this length keeps all other Python threads from running.
SPIN = 30_000_000


class Journal(logging.Handler):
    def __init__(self, name: str) -> None:
        super().__init__(logging.INFO)
        self.file = open(name, "ab", buffering=0)  # noqa: SIM115

    def note(self, text: str) -> None:
        self.file.write(f"{time.time_ns() // 1000} {text}\n".encode())

    def emit(self, record: logging.LogRecord) -> None:
        self.note(f"log {record.levelname} {record.name}: {record.getMessage()}")


def main() -> None:
    journal_name, dsn, queue, name, *pairs = sys.argv[1:]
    options: dict[str, Any] = dict(pair.split("=", 1) for pair in pairs)
    for key in NUMBERS:
        if key in options:
            options[key] = float(options[key])
    journal = Journal(journal_name)
    logging.getLogger("pgque").setLevel(logging.INFO)
    logging.getLogger("pgque").addHandler(journal)
    consumer = pgque.Consumer(dsn, queue=queue, name=name, **options)

    def handle(message: pgque.Message) -> None:
        payload = json.loads(message.payload or "{}")
        known = f"{message.msg_id} {message.batch_id} {payload['key']}"
        # The worker of the core notes each batch; here a batch is known by its first message.
        journal.note(f"enter {known}")
        end = time.monotonic() + payload["ms"] / 1000
        while time.monotonic() < end:
            sum(range(SPIN))
        journal.note(f"leave {known}")

    consumer.on("*")(handle)
    threading.Thread(target=lambda: (sys.stdin.read(), consumer.stop()), daemon=True).start()
    try:
        consumer.start()
        journal.note("end ok")
    except pgque.PgqueError as error:
        journal.note(f"end {error}")
        raise


if __name__ == "__main__":
    main()
