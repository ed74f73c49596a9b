#!/usr/bin/env python3
"""Runs a command behind PgBouncer in transaction mode: its address is in PGQUE_TEST_POOLER, as libpq's keywords.

    scripts/db .venv/bin/python tests/connection/pooler.py .venv/bin/python tests/conformance/run.py --language rust

Connections to a database are few, so that sessions really change hands.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from psycopg import conninfo
from servers import as_user, free_port

CONFIGURATION = """
[databases]
* = host={host} port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 3
max_client_conn = 500
server_idle_timeout = 1
unix_socket_dir =
ignore_startup_parameters = extra_float_digits
{more}
"""
START_TIMEOUT = 10.0


def start(folder: Path, dsn: str) -> tuple[subprocess.Popen[bytes], int]:
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if not program:
        sys.exit("pgbouncer is missing; run scripts/setup")
    server, port = conninfo.conninfo_to_dict(dsn), free_port()
    (folder / "users").write_text(f'"{server.get("user", "postgres")}" ""\n')
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.split()[
        1
    ]
    newer = tuple(map(int, version.split(".")[:2])) >= (1, 21)
    off = os.environ.get("PGQUE_TEST_PREPARED") == "off"
    more = f"max_prepared_statements = {0 if off else 100}" if newer else ""
    text = CONFIGURATION.format(
        host=server["host"], server=server["port"], port=port, folder=folder, more=more
    )
    (folder / "pgbouncer.ini").write_text(text)
    log = (folder / "log").open("wb")
    command = [*as_user(), program, folder / "pgbouncer.ini"]
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process, port
        except OSError:
            time.sleep(0.05)
    process.kill()
    sys.exit(f"pgbouncer did not start:\n{(folder / 'log').read_text()}")


def main() -> int:
    dsn = os.environ.get("PGQUE_TEST_DSN")
    if not dsn or len(sys.argv) < 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="pgque-pooler-") as name:
        process, port = start(Path(name), dsn)
        try:
            address = f"host=127.0.0.1 port={port}"
            return subprocess.run(
                sys.argv[1:], env={**os.environ, "PGQUE_TEST_POOLER": address}
            ).returncode
        finally:
            if process.poll() is not None:
                lines = (Path(name) / "log").read_text().splitlines()[-20:]
                print("pgbouncer has ended:", *lines, sep="\n", file=sys.stderr)
            process.terminate()
            process.wait(10)


if __name__ == "__main__":
    sys.exit(main())
