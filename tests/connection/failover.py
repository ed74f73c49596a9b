#!/usr/bin/env python3
"""A primary, its standby, and a promotion under load: a client that names both and wants to write goes on by itself.

.venv/bin/python tests/connection/failover.py [LANGUAGE…]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "conformance")]

from driver import COMMANDS
from servers import ROOT, Cluster, as_user

PROMOTION_TIMEOUT = 60.0


class Client:
    """One process of the library."""

    def __init__(self, dsn: str, language: str = "rust") -> None:
        self.language = language
        self.confirmed: list[int] = []
        self.number = 0
        self.process = subprocess.Popen(
            COMMANDS[language], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.call("connect", dsn=dsn, autocommit=True)

    def call(self, op: str, **arguments: object) -> object:
        answer = self.try_call(op, **arguments)
        if "error" in answer:
            raise SystemExit(f"{op}: {answer['error']}")
        return answer["ok"]

    def try_call(self, op: str, **arguments: object) -> dict:
        self.process.stdin.write(json.dumps({"id": 0, "op": op, "client": "c", **arguments}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def write_until(self, count: int, wait: float) -> None:
        """Until so many writes are confirmed; what fails meanwhile must be the connection."""
        end, answer = time.monotonic() + wait, {}
        while len(self.confirmed) < count and time.monotonic() < end:
            sql = f"insert into t values ('{self.language}', {self.number})"
            answer = self.try_call("execute", sql=sql, params=[])
            if "ok" in answer:
                self.confirmed.append(self.number)
            elif answer["error"]["kind"] not in ("connection", "timeout"):
                raise SystemExit(f"{self.language}: an unexpected error: {answer['error']}")
            self.number += 1
            time.sleep(0.02)
        if len(self.confirmed) < count:
            raise SystemExit(f"{self.language}: no writes: {answer}")

    def check_kept(self) -> None:
        wanted = ",".join(map(str, self.confirmed))
        sql = (
            f"select n::text from unnest(array[{wanted}]) n "
            f"where n not in (select n from t where language = '{self.language}')"
        )
        lost = self.call("execute", sql=sql, params=[])["rows"]
        if lost:
            raise SystemExit(f"{self.language}: writes that were confirmed are lost: {lost}")
        tried, kept = self.number, len(self.confirmed)
        print(f"{self.language}: {tried} writes tried, {kept} confirmed, and all of these kept")


def wait_for(what: str, condition: object) -> None:
    end = time.monotonic() + PROMOTION_TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain: {what}")
        time.sleep(0.05)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pgque-failover-") as name:
        folder = Path(name)
        cluster = Cluster(folder, folder)
        with (cluster.template / "pg_hba.conf").open("a") as rules:
            rules.write("host replication all all trust\n")
        try:
            # Synchronous, so that what was said to be written is on both.
            primary = cluster.start(
                "primary", synchronous_standby_names="*", synchronous_commit="local"
            )
            standby = cluster.start(
                "standby",
                standby=True,
                primary_conninfo=f"host=127.0.0.1 port={primary} user=postgres",
            )
            run(cluster, primary, standby, sys.argv[1:] or ["rust"])
        finally:
            cluster.stop()


def run(cluster: Cluster, primary: int, standby: int, languages: list[str]) -> None:
    login = "user=trusted dbname=other"
    both = (
        f"host=127.0.0.1,127.0.0.1 port={primary},{standby} {login} target_session_attrs=read-write"
    )
    setup = Client(f"host=127.0.0.1 port={primary} user=postgres dbname=other")
    setup.call("execute", sql="create table t (language text, n int)", params=[])
    setup.call("execute", sql="grant all on t to public", params=[])
    streaming = "select count(*)::int from pg_stat_replication where sync_state = 'sync'"
    wait_for(
        "replication",
        lambda: "1" in json.dumps(setup.call("execute", sql=streaming, params=[])["rows"]),
    )
    setup.call("execute", sql="alter role trusted set synchronous_commit = remote_apply", params=[])
    clients = [Client(both, language) for language in languages]
    for client in clients:
        client.write_until(20, PROMOTION_TIMEOUT)
    cluster.processes[0].kill()
    cluster.processes[0].wait()
    promote = [
        *as_user(),
        cluster.bin / "pg_ctl",
        "promote",
        "-w",
        "-D",
        cluster.folder / "standby",
    ]
    with subprocess.Popen(promote, stdout=subprocess.DEVNULL), ThreadPoolExecutor() as pool:
        # The list, so that what is raised there is raised here.
        list(pool.map(lambda client: client.write_until(40, PROMOTION_TIMEOUT), clients))
    for client in clients:
        client.check_kept()


if __name__ == "__main__":
    main()
