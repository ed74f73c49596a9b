"""Writes orders and their events in one transaction each; some transactions are rolled back."""

import random
import sys

import pgque

ORDERS_PER_TRANSACTION = 10
ROLLED_BACK = 0.05


class Declined(Exception):
    """A reason to roll a business transaction back."""


def main(dsn: str, orders: int) -> None:
    """Prints a line for each transaction: committed or rolled back, and the orders in it."""
    chance = random.Random(1)
    with pgque.connect(dsn, autocommit=True) as client:
        client.conn.execute("create table orders (id integer primary key, amount integer not null)")
        for first in range(1, orders + 1, ORDERS_PER_TRANSACTION):
            ids = range(first, min(first + ORDERS_PER_TRANSACTION, orders + 1))
            try:
                with client.conn.transaction():
                    place(client, ids)
                    if chance.random() < ROLLED_BACK:
                        raise Declined
            except Declined:
                print("rolled_back", *ids, flush=True)
            else:
                print("committed", *ids, flush=True)


def place(client: pgque.PgqueClient, ids: range) -> None:
    """The row and the event stand or fall together."""
    for order in ids:
        amount = order % 97
        client.conn.execute("insert into orders values (%s, %s)", (order, amount))
        client.send("orders", {"order": order, "amount": amount}, type="order.placed")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
