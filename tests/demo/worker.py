"""A worker of the demo: see README.md beside this file."""

import json
import logging
import sys
import time

import pgque

# The failures are part of the show, their tracebacks are not.
logging.getLogger("pgque").addHandler(logging.NullHandler())
dsn, name, member = sys.argv[1:4]
WORK_SECONDS = 0.002 if member != "-" else 0
shared = {"subconsumer": member, "dead_interval": "2 seconds"} if member != "-" else {}
consumer = pgque.Consumer(dsn, queue="orders", name=name, retry_after=1, **shared)


@consumer.on("order.placed")
def handle(message: pgque.Message) -> None:
    """Two milliseconds of work, which some orders do not survive. Auditing is no work and never fails."""
    order = json.loads(message.payload)["order"]
    time.sleep(WORK_SECONDS)
    declined = order % 250 == 0 and message.retry_count is None
    failed = member != "-" and (declined or order % 1000 == 1)
    print(order, message.retry_count or 0, "failed" if failed else "ok", flush=True)
    if failed:
        raise ValueError("card declined" if declined else "no such address")


consumer.start()
