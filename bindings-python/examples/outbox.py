"""Send in the transaction that writes the order: the event exists if the order does.

Run: python outbox.py postgresql://…
"""

import sys

import psycopg

import pgque


def place_order(conn: psycopg.Connection, order: int) -> int:
    """Write an order and its event, for the caller to commit; the event's id."""
    conn.execute("insert into orders (id) values (%s)", [order])
    return pgque.PgqueClient(conn).send("orders", {"order": order}, type="order.created")


def main(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("create table if not exists orders (id bigint primary key)")
        pgque.PgqueClient(conn).create_queue("orders")
    with psycopg.connect(dsn) as conn:
        print("event", place_order(conn, 42))
    try:
        with psycopg.connect(dsn) as conn:
            place_order(conn, 42)
    except psycopg.errors.UniqueViolation:
        print("no second order, and no second event")


if __name__ == "__main__":
    main(sys.argv[1])
