"""Handle messages, in a file that `python -m pgque worker worker:mailer` runs until SIGTERM.

Run: PGQUE_DSN=postgresql://… python -m pgque worker worker:mailer
"""

import os

import pgque

mailer = pgque.Consumer(
    os.environ["PGQUE_DSN"], queue="orders", name="mailer", retry_backoff="exponential"
)


@mailer.on("order.created")
def confirm(message: pgque.Message) -> pgque.Verdict | None:
    order = message.json()
    if "email" not in order:
        # No attempt will mend it.
        return pgque.dead("no address")
    print(f"order {order['order']} confirmed to {order['email']}", flush=True)
    return None


@mailer.on("*")
def ignore(message: pgque.Message) -> None:
    """What the mailer has no interest in."""


@mailer.on_failure
def decide(attempt: int, error: Exception) -> float | None:
    """A server that asks for patience gets a minute each time; the rest is left to the options."""
    return 60.0 * attempt if isinstance(error, TimeoutError) else None
