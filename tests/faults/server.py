"""A PostgreSQL of the campaign's own, which can be stopped, killed and paused."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

SETTINGS = """
fsync = off
max_connections = 80
shared_buffers = 64MB
max_wal_size = 4GB
autovacuum_naptime = 5
listen_addresses = '{addresses}'
unix_socket_directories = '{folder}'
"""
START_LIMIT = 60.0


def binaries() -> Path:
    """Where `initdb` and `postgres` are."""
    named = os.environ.get("PGQUE_POSTGRES_BIN")
    if named:
        return Path(named).resolve()
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3])
    )
    if not debian:
        raise SystemExit("no PostgreSQL: install it, or name its programs in PGQUE_POSTGRES_BIN")
    return debian[-1].parent


def account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise SystemExit("no user to run PostgreSQL as")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server in a folder of its own. The side connection comes by its Unix socket, which no fault of the network
    reaches."""

    def __init__(self, folder: Path, addresses: str = "127.0.0.1") -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.addresses = addresses
        self.account = account()
        self.bin = binaries()

    def create(self, template: Path | None = None) -> None:
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if self.account:
            os.chown(self.folder, self.account["user"], self.account["group"])
        if template is not None:
            subprocess.run(["cp", "-a", str(template), str(self.data)], check=True)
        else:
            self._run(
                "initdb", "--no-sync", "--username=postgres", "--auth=trust", "-D", str(self.data)
            )
        settings = SETTINGS.format(addresses=self.addresses, folder=self.folder)
        with (self.data / "postgresql.auto.conf").open("w") as file:
            file.write(settings)
        with (self.data / "pg_hba.conf").open("w") as file:
            file.write("local all all trust\nhost all all 0.0.0.0/0 trust\n")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self.account,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}")

    def _ctl(self, *arguments: str) -> None:
        # The log is a file: a pipe would be held open by the server.
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.data), "-l", log, "-s", "-w", "-t", "60", *arguments)

    def start(self) -> float:
        """Starts it and gives the time at which it first answered."""
        self._ctl("-o", f"-p {self.port}", "start")
        return self.wait_until_up()

    def wait_until_up(self) -> float:
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                self.side().close()
                return time.time()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def stop(self, mode: str = "fast") -> None:
        self._ctl("-m", mode, "stop")

    def restart(self, mode: str) -> float:
        self.stop(mode)
        return self.start()

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        head = int((self.data / "postmaster.pid").read_text().split()[0])
        return [head, *children(head)]

    def kill(self) -> None:
        """kill -9 of everything, as when the memory has run out."""
        pids = self.processes()
        for pid in pids:
            send_signal(pid, signal.SIGKILL)
        while any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in pids):
            time.sleep(0.01)
        # Where nobody collects the dead, their numbers stay taken, and the lock files look alive.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.folder / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)

    def pause(self) -> None:
        for pid in self.processes():
            send_signal(pid, signal.SIGSTOP)

    def resume(self) -> float:
        for pid in self.processes():
            send_signal(pid, signal.SIGCONT)
        return time.time()

    def discard(self) -> None:
        """Ends it in whatever state it is."""
        try:
            self.resume()
            self.kill()
        except (OSError, ValueError, IndexError):
            pass

    def side_dsn(self, database: str = "postgres") -> str:
        return f"host={self.folder} port={self.port} user=postgres dbname={database}"

    def side(self, autocommit: bool = True) -> psycopg.Connection[Any]:
        return psycopg.connect(self.side_dsn(), autocommit=autocommit, connect_timeout=5)

    def dsn(self, host: str = "127.0.0.1", port: int | None = None) -> str:
        return f"host={host} port={port or self.port} user=postgres dbname=postgres"


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def send_signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
