"""The program that runs under either package: prints every fact as JSON. `run.py` compares them."""

from __future__ import annotations

import json
import logging
import sys
import time

import calls
import loops
import payloads
import surface
from facts import FACTS, Server, describe

FOLDERS = (surface, calls, payloads, loops)


def main() -> None:
    dsn, *chosen = sys.argv[1:]
    # Lines that no fact is about are not shown.
    logging.getLogger("pgque").addHandler(logging.NullHandler())
    server = Server(dsn)
    found = {}
    for name, fact in FACTS.items():
        if chosen and name not in chosen:
            continue
        began = time.monotonic()
        try:
            found[name] = describe(fact(server))
        except Exception as error:
            found[name] = {"the fact could not be had": f"{type(error).__name__}: {error}"}
        print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    json.dump(found, sys.stdout, default=str)


if __name__ == "__main__":
    main()
