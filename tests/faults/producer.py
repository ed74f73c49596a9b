"""Sends events in transactions of its own, some of them rolled back, and writes down what became of each.

producer.py JOURNAL DSN QUEUE LABEL: a line of the journal is `ok`, `aborted` or `unknown`, and the keys. It goes on until
its standard input ends.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from typing import Any

import psycopg

PAUSE = 0.1


def main() -> None:
    journal_name, dsn, queue, label = sys.argv[1:]
    stopping = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()
    number, connection = 0, None
    with open(journal_name, "a", buffering=1) as journal:
        while not stopping.wait(PAUSE):
            keys = [f"{label}-{number + n}" for n in range(random.randint(1, 4))]
            number += len(keys)
            try:
                if connection is None:
                    connection = psycopg.connect(dsn, connect_timeout=2)
                outcome = send(connection, queue, keys)
            except psycopg.Error:
                outcome = "unknown"
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.2)
            journal.write(f"{outcome} {' '.join(keys)}\n")


def send(connection: psycopg.Connection[Any], queue: str, keys: list[str]) -> str:
    for key in keys:
        payload = json.dumps({"key": key, "ms": random.choice((0, 0, 0, 5, 20))})
        connection.execute("select pgque.send(%s, 't', %s::jsonb)", (queue, payload))
    if random.random() < 0.15:
        connection.rollback()
        return "aborted"
    connection.commit()
    return "ok"


if __name__ == "__main__":
    main()
