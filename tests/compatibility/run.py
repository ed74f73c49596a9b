"""Runs one program under pgque-py 0.2.2 and under this package, and compares what it finds.

    PGQUE_TEST_DSN=… .venv/bin/python tests/compatibility/run.py [--show] [FACT…]

pgque-py lives in an environment of its own, made from PyPI on first use. Each run has a new database with the same
engine, so that even ids are equal. What may differ stands in `allowed.py`, with the reason, and with what this package
does instead: everything else that differs is a failure, and so is a difference that is allowed and no longer there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pgque
import psycopg
from allowed import ALLOWED, refines
from psycopg.conninfo import make_conninfo

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / ".tools" / "bench" / "peer"
PEER_PACKAGES = ("pgque-py==0.2.2", "psycopg[binary]")
#: A run that takes longer hangs.
SECONDS_MAX = 300


def peer_python() -> Path:
    python = PEER / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PEER_PACKAGES], check=True)
    return python


def new_database(dsn: str, name: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as side:
        side.execute(f"drop database if exists {name} with (force)")
        side.execute(f"create database {name}")
    new = make_conninfo(dsn, dbname=name)
    with pgque.connect(new, autocommit=True) as client:
        client.install()
    return new


def facts(python: Path, dsn: str, name: str, chosen: list[str]) -> dict[str, Any]:
    program = Path(__file__).with_name("program.py")
    command = [str(python), str(program), new_database(dsn, name), *chosen]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=SECONDS_MAX, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differences(path: str, peer: Any, ours: Any) -> list[tuple[str, Any, Any]]:
    """Every place at which they differ, with what each has there."""
    if peer == ours or refines(path, peer, ours):
        return []
    if isinstance(peer, dict) and isinstance(ours, dict) and peer.keys() == ours.keys():
        pairs = [(f"{path}.{key}", peer[key], ours[key]) for key in peer]
    elif isinstance(peer, list) and isinstance(ours, list) and len(peer) == len(ours):
        pairs = [(f"{path}[{i}]", *pair) for i, pair in enumerate(zip(peer, ours, strict=True))]
    else:
        return [(path, peer, ours)]
    found = [difference for pair in pairs for difference in differences(*pair)]
    # An exception is one thing: its class without its text says little.
    return [(path, peer, ours)] if isinstance(peer, dict) and "raised" in peer else found


def shown(value: Any) -> str:
    if isinstance(value, dict) and "raised" in value:
        value = f"{value['raised'][0]}: {value['text'].splitlines()[0]}"
    return json.dumps(value, ensure_ascii=False)[:300]


def compare(peer: dict[str, Any], ours: dict[str, Any], show: bool) -> list[str]:
    """The complaints."""
    complaints, used = [], set()
    for name in peer:
        for path, theirs, mine in differences(name, peer[name], ours[name]):
            permitted = next((a for a in ALLOWED if a.covers(path)), None)
            used.add(permitted)
            if permitted is None or not permitted.is_ours(mine):
                complaints.append(
                    f"{path}\n    pgque-py  {shown(theirs)}\n    here      {shown(mine)}"
                )
            elif show:
                print(f"{path}: {permitted.reason}\n    {shown(theirs)}\n    {shown(mine)}")
    gone = [a for a in ALLOWED if a not in used and a.fact in peer]
    return complaints + [f"{a.place}: allowed to differ, and does not" for a in gone]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", action="store_true", help="print what differs and may")
    parser.add_argument("facts", nargs="*", metavar="FACT")
    args = parser.parse_args()
    dsn = os.environ["PGQUE_TEST_DSN"]
    peer = facts(peer_python(), dsn, "compatibility_peer", args.facts)
    ours = facts(Path(sys.executable), dsn, "compatibility_ours", args.facts)
    complaints = compare(peer, ours, args.show)
    print(*complaints, sep="\n")
    same = len(peer) - len({complaint.split(".")[0].split("[")[0] for complaint in complaints})
    print(f"{same} passed, {len(complaints)} differences")
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
