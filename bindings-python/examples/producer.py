"""Send from many threads: what comes at the same time travels together, and each gets its own id.

Run: python producer.py postgresql://…
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import pgque


def main(dsn: str) -> None:
    with pgque.connect(dsn, autocommit=True) as client:
        client.create_queue("clicks")

    with pgque.Producer(dsn) as producer, ThreadPoolExecutor(16) as threads:

        def send(number: int) -> int:
            return producer.send("clicks", {"click": number}, type="click")

        ids = list(threads.map(send, range(1000)))
        stats = producer.stats()
    print(f"{len(set(ids))} events in {stats['batches']} transactions")


if __name__ == "__main__":
    main(sys.argv[1])
