#!/usr/bin/env python3
"""Runs a command behind PgBouncer in transaction mode: its address is in PGQUE_TEST_POOLER, as libpq's keywords.

    scripts/db .venv/bin/python tests/connection/pooler.py .venv/bin/python tests/conformance/run.py --language rust

With --prepared before the command, behind one that looks after prepared statements, which takes 1.21 or newer; else
behind one that does not. Connections to a database are few, so that sessions really change hands.
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
from servers import ROOT, as_user, free_port

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
server_login_retry = 1
unix_socket_dir =
ignore_startup_parameters = extra_float_digits
{more}
"""
START_TIMEOUT = 10.0
# The version that can look after prepared statements.
PREPARES = (1, 21)


def programs() -> list[tuple[tuple[int, ...], str]]:
    """Every PgBouncer there is, by version."""
    places = [ROOT / ".tools/pgbouncer/pgbouncer", "pgbouncer", "/usr/sbin/pgbouncer"]
    found = [program for place in places if (program := shutil.which(place))]
    if not found:
        sys.exit("pgbouncer is missing; run scripts/setup")
    return sorted((version(program), program) for program in found)


def version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in said.split()[1].split(".") if part.isdigit())


def start(folder: Path, dsn: str, prepared: bool) -> tuple[subprocess.Popen[bytes], int]:
    number, program = programs()[-1 if prepared else 0]
    if prepared and number < PREPARES:
        sys.exit("no PgBouncer 1.21 or newer is here; scripts/setup tries to build one")
    print(
        f"PgBouncer {'.'.join(map(str, number))}, {'with' if prepared else 'without'} prepared statements"
    )
    server, port = conninfo.conninfo_to_dict(dsn), free_port()
    (folder / "users").write_text(f'"{server.get("user", "postgres")}" ""\n')
    more = f"max_prepared_statements = {100 if prepared else 0}" if number >= PREPARES else ""
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
    prepared = sys.argv[1:2] == ["--prepared"]
    command = sys.argv[2:] if prepared else sys.argv[1:]
    if not dsn or not command:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="pgque-pooler-") as name:
        process, port = start(Path(name), dsn, prepared)
        try:
            address = f"host=127.0.0.1 port={port}"
            return subprocess.run(
                command, env={**os.environ, "PGQUE_TEST_POOLER": address}
            ).returncode
        finally:
            if process.poll() is not None:
                lines = (Path(name) / "log").read_text().splitlines()[-20:]
                print("pgbouncer has ended:", *lines, sep="\n", file=sys.stderr)
            process.terminate()
            process.wait(10)


if __name__ == "__main__":
    sys.exit(main())
