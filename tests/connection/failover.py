#!/usr/bin/env python3
"""A primary, its standby, and a promotion under load: a client that names both and wants to write goes on by itself.

.venv/bin/python tests/connection/failover.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from run import DRIVER
from servers import Cluster, as_user

PROMOTION_TIMEOUT = 60.0


class Client:
    """One process of the library."""

    def __init__(self, dsn: str) -> None:
        self.process = subprocess.Popen(
            [DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.call("connect", dsn=dsn)

    def call(self, op: str, **arguments: object) -> object:
        answer = self.try_call(op, **arguments)
        if "error" in answer:
            raise SystemExit(f"{op}: {answer['error']}")
        return answer["ok"]

    def try_call(self, op: str, **arguments: object) -> dict:
        self.process.stdin.write(json.dumps({"id": 0, "op": op, "client": "c", **arguments}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def write(self, number: int) -> dict:
        return self.try_call("execute", sql=f"insert into t values ({number})", params=[])


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
            run(cluster, primary, standby)
        finally:
            cluster.stop()
    print(
        "a client with two hosts went on after the promotion, with every write that was confirmed"
    )


def run(cluster: Cluster, primary: int, standby: int) -> None:
    login = "user=trusted dbname=other"
    both = (
        f"host=127.0.0.1,127.0.0.1 port={primary},{standby} {login} target_session_attrs=read-write"
    )
    setup = Client(f"host=127.0.0.1 port={primary} user=postgres dbname=other")
    setup.call("execute", sql="create table t (n int)", params=[])
    setup.call("execute", sql="grant all on t to public", params=[])
    streaming = "select count(*)::int from pg_stat_replication where sync_state = 'sync'"
    wait_for(
        "replication",
        lambda: "1" in json.dumps(setup.call("execute", sql=streaming, params=[])["rows"]),
    )
    setup.call("execute", sql="alter role trusted set synchronous_commit = remote_apply", params=[])
    client = Client(both)
    confirmed = [n for n in range(20) if "ok" in client.write(n)]
    if len(confirmed) != 20:
        raise SystemExit("the primary does not write")
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
    with subprocess.Popen(promote, stdout=subprocess.DEVNULL):
        end = time.monotonic() + PROMOTION_TIMEOUT
        number = 20
        while len(confirmed) < 40 and time.monotonic() < end:
            answer = client.write(number)
            if "ok" in answer:
                confirmed.append(number)
            elif answer["error"]["kind"] not in ("connection", "timeout"):
                raise SystemExit(f"an unexpected error: {answer['error']}")
            number += 1
            time.sleep(0.02)
    if len(confirmed) < 40:
        raise SystemExit(f"no writes after the promotion: {answer}")
    wanted = ",".join(map(str, confirmed))
    sql = f"select n::text from unnest(array[{wanted}]) n where n not in (select n from t)"
    lost = client.call("execute", sql=sql, params=[])["rows"]
    if lost:
        raise SystemExit(f"writes that were confirmed are lost: {lost}")
    print(f"{number} writes tried, {len(confirmed)} confirmed")


if __name__ == "__main__":
    main()
