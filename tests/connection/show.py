"""Shows all that Python can of a client and of an error: text, repr, attributes, trace, log. See secrets.py."""

import contextlib
import logging
import os
import traceback

import pgque

logging.basicConfig(level=1)


def show(thing: object) -> None:
    print(str(thing), repr(thing), f"{thing!a}", getattr(thing, "__dict__", ""))
    # A consumer's connection string is its user's own, for who asks for it by name.
    for name in set(dir(thing)) - {"dsn"}:
        # Properties and methods alike; what is closed or lost may refuse.
        with contextlib.suppress(Exception):
            print(name, repr(getattr(thing, name)))


client = None
try:
    client = pgque.connect(os.environ["PGQUE_DSN"])
    show(client)
    show(client.conn)
    print(client.execute("select 'login of ' || current_user").rows)
    client.execute("select nonsense")
except Exception as error:
    traceback.print_exc()
    show(error)
for make in [
    lambda: pgque.Consumer(os.environ["PGQUE_DSN"], queue="q", name="c"),
    lambda: pgque.Ticker(os.environ["PGQUE_DSN"]),
    lambda: pgque.Producer(os.environ["PGQUE_DSN"]),
]:
    try:
        show(make())
    except Exception as error:
        show(error)
