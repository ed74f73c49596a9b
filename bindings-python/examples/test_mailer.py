"""Test a program's handlers on a real server, without sleeps.

Run: pytest test_mailer.py, with PGQUE_TEST_DSN set, or PostgreSQL's programs installed.
"""

import pgque
from pgque.testing import Queue

pytest_plugins = ["pgque.pytest_plugin"]


def test_an_order_is_mailed(pgque_queue: Queue) -> None:
    mailer = pgque_queue.consumer("mailer")
    mails: list[str] = []

    @mailer.on("order.created")
    def mail(message: pgque.Message) -> None:
        mails.append(message.json()["email"])

    pgque_queue.send({"email": "ada@example.org"}, type="order.created")
    assert pgque_queue.tick_and_drain(mailer) == 1
    assert mails == ["ada@example.org"]


def test_an_order_without_address_becomes_a_dead_letter(pgque_queue: Queue) -> None:
    mailer = pgque_queue.consumer("mailer", retry_after=0)

    @mailer.on("order.created")
    def mail(message: pgque.Message) -> None:
        raise KeyError("email")

    pgque_queue.send({}, type="order.created")
    # Each retry counts.
    assert pgque_queue.tick_and_drain(mailer) > 1
    assert len(pgque_queue.dead_letters()) == 1
