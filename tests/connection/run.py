#!/usr/bin/env python3
"""Runs the table of connection strings through this library and through libpq: both must reach the same session, or
both must be refused.

    .venv/bin/python tests/connection/run.py [NAME…] [--languages LANGUAGE…] [--verbose]

All of them in Rust, whose core reads them; what is marked `everywhere` in any language, or by the command.

A case of tests/vectors/connection.toml:
    dsn, env, files     what is given; files are relative to the home folder, with their mode where it is not 0600
    to                  the server that both reach; further keys (user, database …) are facts about the session
    refused             neither connects, and our message matches this
    libpq, because      where libpq does otherwise ("connects" or "refused"), and why we do not
    everywhere          also for the other languages
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/conformance")]

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

import certificates
from driver import COMMANDS
from servers import Cluster, answering, free_port

DRIVER = (
    Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/pgque-conformance-driver"
)
CASES_MIN = 150
TIMEOUT = 60
FACTS = """
select json_build_object(
    'user', current_user, 'database', current_database(), 'application', current_setting('application_name'),
    'port', current_setting('port'), 'address', coalesce(host(inet_server_addr()), 'socket'),
    'tls', (select version from pg_stat_ssl where pid = pg_backend_pid() and ssl),
    'certificate', (select client_dn from pg_stat_ssl where pid = pg_backend_pid()),
    'timezone', current_setting('TimeZone'), 'datestyle', current_setting('DateStyle'),
    'work_mem', current_setting('work_mem'), 'standby', pg_is_in_recovery())::text"""
# One libpq for each thread: it answers one after the other.
LOCAL = threading.local()
HELPERS: list[subprocess.Popen[str]] = []
KEYS = {"name", "dsn", "env", "files", "to", "refused", "libpq", "because", "everywhere"}
COMMAND = [str(DRIVER.parent / "pgque"), "--json", "version", "--dsn"]
SERVERS: dict[str, dict] = {
    "main": {"certificate": "main"},
    "plain": {},
    "standby": {"standby": True},
    "tls12": {"certificate": "main", "ssl_max_protocol_version": "TLSv1.2"},
} | {
    name: {"certificate": name}
    for name in (
        "rsa",
        "ed25519",
        "expired",
        "future",
        "wrong",
        "common",
        "address",
        "version1",
        "revoked",
        "foreign",
        "alone",
    )
}


@dataclass
class World:
    """What the words in braces of the table stand for."""

    words: dict[str, str] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def fill(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: self.words[found[1]], text)


def make_world(folder: Path, cluster: Cluster, certs: Path, cases: list) -> World:
    """With the servers that the cases name."""
    abstract = f"@pgque-test-{os.getpid()}"
    sockets = {"unix_socket_directories": f"{folder},{abstract}"}
    named = set(re.findall(r"\{(\w+)\}", str(cases)))
    ports = {
        name: cluster.start(name, **(sockets if name == "main" else {}), **how)
        for name, how in SERVERS.items()
        if name in named
    }
    words = {name: str(port) for name, port in ports.items()}
    words |= {
        "closed": str(free_port()),
        "silent": str(answering(None)),
        "web": str(answering(b"HTTP/1.0 400 Bad\r\n\r\n")),
        "hangup": str(answering(b"")),
        "dir": str(folder),
        "certs": str(certs),
        "abstract": abstract,
        "direnc": str(folder).replace("/", "%2F"),
        "me": subprocess.getoutput("id -un"),
    }
    return World(words, {str(port): name for name, port in ports.items()}, folder)


def environment(case: dict, world: World, home: Path) -> dict[str, str]:
    words = {**world.words, "home": str(home)}
    fill = World(words).fill
    for name, content in case.get("files", {}).items():
        text, mode = (
            (content, 0o600)
            if isinstance(content, str)
            else (content["text"], int(content["mode"], 8))
        )
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(
            Path(fill(text[1:])).read_bytes() if text.startswith("<") else fill(text).encode()
        )
        file.chmod(mode)
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("PG", "SSL_CERT"))
    }
    return {
        **clean,
        "HOME": str(home),
        "TZ": "UTC",
        **{k: fill(v) for k, v in case.get("env", {}).items()},
    }


def by_libpq(dsn: str, env: dict[str, str]) -> dict:
    if not hasattr(LOCAL, "libpq"):
        command = [sys.executable, str(HERE / "libpq.py")]
        quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        LOCAL.libpq = subprocess.Popen(command, **quiet, text=True)
        HELPERS.append(LOCAL.libpq)
    LOCAL.libpq.stdin.write(json.dumps({"dsn": dsn, "env": env, "sql": FACTS}) + "\n")
    LOCAL.libpq.stdin.flush()
    return json.loads(LOCAL.libpq.stdout.readline())


def by_us(dsn: str, env: dict[str, str], language: str) -> dict:
    if language == "command":
        return by_command(dsn, env)
    requests = [
        {"op": "connect", "client": "c", "dsn": dsn},
        {"op": "execute", "client": "c", "sql": FACTS, "params": []},
    ]
    lines = "".join(json.dumps({"id": i, **request}) + "\n" for i, request in enumerate(requests))
    done = subprocess.run(
        COMMANDS[language],
        env=env,
        cwd=ROOT,
        input=lines,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    connected, facts = (json.loads(line) for line in done.stdout.splitlines())
    for answer in (connected, facts):
        if "error" in answer:
            return {"error": answer["error"]["message"], "kind": answer["error"]["kind"]}
    return {"connected": cell(facts["ok"])}


def by_command(dsn: str, env: dict[str, str]) -> dict:
    """The command tells no more of a session than that there is one."""
    command = [*COMMAND, dsn]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        return {"error": done.stderr.strip()}
    return {"connected": json.dumps({"port": json.loads(done.stdout)["postgresql"]})}


def cell(table: dict) -> str:
    """The only cell of a result, as the driver writes it."""
    value = table["rows"][0][0]
    return value["value"] if isinstance(value, dict) else value


def facts(outcome: dict, world: World) -> dict | None:
    if "connected" not in outcome:
        return None
    found = json.loads(outcome["connected"])
    found["to"] = world.ports.get(found.pop("port"))
    # The one default that differs on purpose.
    found["application"] = "" if found.get("application") == "pgque" else found.get("application")
    return found


def check(case: dict, world: World, language: str) -> str | None:
    """What is wrong, or None."""
    home = Path(tempfile.mkdtemp(dir=world.folder))
    env = environment(case, world, home)
    dsn = World({**world.words, "home": str(home)}).fill(case["dsn"])
    ours, theirs = by_us(dsn, env, language), by_libpq(dsn, env)
    our_facts, their_facts = facts(ours, world), facts(theirs, world)
    told = f"\n    ours:  {ours}\n    libpq: {theirs}"
    if "secret" in ours.get("error", ""):
        return "a message shows a password" + told
    expected_of_libpq = case.get("libpq", "refused" if "refused" in case else "connects")
    if (their_facts is not None) != (expected_of_libpq == "connects"):
        return f"libpq was expected to be: {expected_of_libpq}" + told
    if "refused" in case:
        pattern = World({k: re.escape(v) for k, v in world.words.items()}).fill(case["refused"])
        if our_facts is not None or not re.search(pattern, ours["error"]):
            return f"we were to be refused with: {case['refused']}" + told
        return None
    if our_facts is None:
        return "we were to connect" + told
    if language == "command":
        return None
    wanted = {
        key: world.fill(v) if isinstance(v, str) else v
        for key, v in case.items()
        if key not in KEYS - {"to"}
    }
    wanted["to"] = case["to"]
    different = {
        key: our_facts.get(key) for key, value in wanted.items() if our_facts.get(key) != value
    }
    if different:
        return f"we reached something else: {different}" + told
    if their_facts is not None and their_facts != our_facts:
        return "the sessions differ" + told
    return None


def load(names: list[str], language: str) -> list[dict]:
    groups = tomllib.loads((ROOT / "tests/vectors/connection.toml").read_text())
    cases = [
        {"name": f"{group}: {case['dsn']}", **case}
        for group, content in groups.items()
        for case in content["cases"]
    ]
    if len(cases) < CASES_MIN:
        sys.exit(f"{len(cases)} cases, where at least {CASES_MIN} are wanted")
    for case in cases:
        if ("to" in case) == ("refused" in case) or ("libpq" in case) != ("because" in case):
            sys.exit(
                f"a case needs either `to` or `refused`, and `libpq` only with `because`: {case}"
            )
    return [
        case
        for case in cases
        if (not names or any(name in case["name"] for name in names))
        and (language == "rust" or case.get("everywhere"))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="only cases whose name contains one of these")
    known = [*COMMANDS, "command"]
    parser.add_argument("--languages", nargs="+", choices=known, default=["rust"])
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if not DRIVER.exists():
        sys.exit(f"{DRIVER} is missing; run scripts/build rust")
    cases = [(case, name) for name in options.languages for case in load(options.names, name)]
    with tempfile.TemporaryDirectory(prefix="pgque-connection-") as name:
        folder = Path(name)
        certs = folder / "certs"
        certs.mkdir()
        certificates.make_all(certs)
        cluster = Cluster(folder, certs)
        try:
            world = make_world(folder, cluster, certs, cases)
            with ThreadPoolExecutor(8) as pool:
                failures = list(pool.map(lambda case: check(case[0], world, case[1]), cases))
        finally:
            for helper in HELPERS:
                helper.terminate()
            cluster.stop()
    for (case, language), failure in zip(cases, failures, strict=True):
        if failure or options.verbose:
            name = f"{language}: {case['name']}"
            print(f"{'FAIL' if failure else 'ok  '} {name}{': ' + failure if failure else ''}")
    bad = sum(failure is not None for failure in failures)
    print(f"{len(cases) - bad} of {len(cases)} connection cases agree with libpq")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
