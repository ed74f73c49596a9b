#!/usr/bin/env python3
"""Connects with a marked password, and with keys, in every way there is, well and badly, and looks for them in all that
is printed: answers, errors, logs at their most talkative, and what a language shows of its objects.

    .venv/bin/python tests/connection/secrets.py LANGUAGE
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import certificates
from run import DRIVER, ROOT
from servers import Cluster, answering, free_port

# Starts every password and every key, right or wrong; nothing else has it in it.
MARK = "Xyzzy7Secret"
TIMEOUT = 60
TARGET = DRIVER.parent
FACT = "select 'login of ' || current_user"

# Each is the program and what it gets on standard input: a line with the op and the dsn, if it is a driver.
PROGRAMS: dict[str, list[list[str]]] = {
    "rust": [[str(DRIVER)], [str(TARGET / "pgque"), "--json", "--verbose", "version"]],
    "python": [
        [sys.executable, "tests/drivers/python/driver.py"],
        [sys.executable, "tests/connection/show.py"],
    ],
    "node": [["node", "tests/drivers/node/driver.mjs"], ["node", "tests/connection/show.cjs"]],
    "c": [["tests/drivers/c/driver"]],
    "go": [["tests/drivers/go/driver"]],
}


# What the command says of a connection string in the wrong place.
MISPLACED = [
    [f"postgresql://scram:{MARK}@127.0.0.1/d"],
    ["status", f"postgresql://scram:{MARK}@127.0.0.1/d"],
    ["status", f"host=127.0.0.1 password={MARK}"],
    ["tail", "q", f"--count=postgresql://scram:{MARK}@127.0.0.1/d"],
    ["status", "--json", "--nonsense", f"postgresql://scram:{MARK}@127.0.0.1/d"],
]


def works(port: int, certs: Path) -> list[dict]:
    """Ways to give the right password, and one login for each kind of question that a server asks."""
    line = f"127.0.0.1:{port}:*:*:{MARK}"
    service = f"[s]\nhost=127.0.0.1\nport={port}\nuser=scram\npassword={MARK}"
    plain = f"host=127.0.0.1 port={port} user=scram dbname=scram"
    return [
        {"dsn": f"postgresql://{user}:{MARK}@127.0.0.1:{port}/scram"}
        for user in ("scram", "md5", "password")
    ] + [
        {"dsn": f"{plain} password='{MARK}'"},
        {"dsn": f"postgresql://scram@127.0.0.1:{port}/scram?password={MARK}"},
        {"dsn": plain, "env": {"PGPASSWORD": MARK}},
        {"dsn": plain, "files": {".pgpass": line}},
        {"dsn": "service=s dbname=scram", "files": {".pg_service.conf": service}},
        {"dsn": with_key(port, certs, "client.key")},
    ]


def with_key(port: int, certs: Path, key: Path | str) -> str:
    login = f"host=127.0.0.1 port={port} user=cert dbname=other sslmode=require"
    return f"{login} sslcert={certs}/client.crt sslkey={certs / key}"


def fails(port: int, certs: Path) -> list[dict]:
    """Wrong passwords and keys, servers that are none, and strings that cannot be read."""
    return wrong_passwords(port) + misread(port) + wrong_keys(port, certs)


def wrong_keys(port: int, certs: Path) -> list[dict]:
    pem = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n"
    for name, text in [
        ("no_pem", MARK),
        ("no_key", pem.format(MARK)),
        ("short", pem.format("MAo=")),
    ]:
        (certs / name).write_text(text)
        (certs / name).chmod(0o600)
    keys = ["open.key", "encrypted.key", "main.key", "no_pem", "no_key", "short"]
    return [{"dsn": with_key(port, certs, key)} for key in keys] + [
        {"dsn": with_key(port, certs, "encrypted.key") + f" sslpassword={MARK}"},
        {"dsn": with_key(port, certs, "none") + f" sslpassword={MARK}"},
    ]


def misread(port: int) -> list[dict]:
    """Passwords that are not written as a connection string wants them."""
    plain = f"host=127.0.0.1 port={port} user=scram dbname=scram"
    return [
        {"dsn": f"postgresql://scram:{MARK}%@127.0.0.1/d"},
        {"dsn": f"postgresql://scram:{MARK}/more@127.0.0.1/d"},
        {"dsn": f"postgresql://scram:more@{MARK}@127.0.0.1/d"},
        {"dsn": f"postgresql://127.0.0.1/d?password=more&{MARK}"},
        {"dsn": f"postgresql://127.0.0.1/d?password=more&{MARK}=x"},
        {"dsn": f"postgresql://127.0.0.1:1/{MARK}@127.0.0.1/d"},
        {"dsn": f"postgresql://127.0.0.1:{port}/{MARK}@h?user=trusted"},
        {"dsn": f"postgresql://scram:p@127.0.0.1:1/{MARK}@h/d"},
        {"dsn": f"postgresql://127.0.0.1:1/a?{MARK}=x@h"},
        {"dsn": f"{plain} password='{MARK}"},
        {"dsn": f"{plain} password=two {MARK}"},
        {"dsn": f"{plain} password=two {MARK}=x"},
        {"dsn": f"{plain} scram_client_key={MARK}"},
        {"dsn": MARK},
        {"dsn": "service=s", "files": {".pg_service.conf": f"[s]\npassword={MARK}\nnonsense=1"}},
        {"dsn": "service=s", "files": {".pg_service.conf": f"[s]\npassword={MARK}\n{MARK}"}},
    ]


def wrong_passwords(port: int) -> list[dict]:
    plain = f"host=127.0.0.1 port={port} dbname=scram"
    wrong = f"{MARK}wrong"
    return [
        {"dsn": f"{plain} user={user} password={wrong}"} for user in ("scram", "md5", "password")
    ] + [
        {"dsn": f"{plain} user=scram", "env": {"PGPASSWORD": wrong}},
        {"dsn": f"{plain} user=scram", "files": {".pgpass": f"*:*:*:*:{wrong}"}},
        {"dsn": f"{plain} user=scram", "files": {".pgpass": f"*:*:*:*:{MARK}"}, "mode": 0o644},
        {"dsn": f"{plain} user=scram dbname=nowhere password={MARK}"},
        {"dsn": f"postgresql://scram:{MARK}@127.0.0.1:{free_port()}/d"},
        {"dsn": f"postgresql://scram:{MARK}@127.0.0.1:{answering(b'HTTP/1.0 400 Bad')}/d"},
        {"dsn": f"postgresql://scram:{MARK}@127.0.0.1:{answering(b'')}/d"},
        {"dsn": f"postgresql://scram:{MARK}@no-such-host.invalid/d"},
        {"dsn": f"{plain} user=scram password={MARK} sslmode=verify-full"},
        {"dsn": f"{plain} user=scram password={MARK} nonsense=1"},
        {"dsn": f"{plain} user=scram password={MARK} connect_timeout=soon"},
        {"dsn": f"{plain} user=scram", "files": {".pgpass": f"{MARK}\n*:*:*:{MARK}\n:::: {MARK}"}},
        {"dsn": f"{plain} user=scram passfile=keep", "files": {"keep": f"*:*:*:*:{MARK}"}},
    ]


def output(program: list[str], case: dict, home: Path) -> str:
    """All that the program prints."""
    for name, text in case.get("files", {}).items():
        (home / name).write_text(text + "\n")
        (home / name).chmod(case.get("mode", 0o600))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    talkative = {"PGQUE_DRIVER_TRACE": "1", "RUST_LOG": "trace", "RUST_BACKTRACE": "full"}
    env = {**clean, **talkative, "HOME": str(home), "PGQUE_DSN": case["dsn"], **case.get("env", {})}
    requests = [
        {"id": 0, "op": "connect", "client": "c", "dsn": case["dsn"]},
        {"id": 1, "op": "execute", "client": "c", "sql": FACT, "params": []},
        {"id": 2, "op": "execute", "client": "c", "sql": "select nonsense", "params": []},
    ]
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run(
        program, cwd=ROOT, env=env, input=lines, capture_output=True, text=True, timeout=TIMEOUT
    )
    return done.stdout + done.stderr


def secrets(certs: Path) -> list[str]:
    """The mark, and each line of each key."""
    text = "".join(key.read_text() for key in certs.glob("*.key"))
    return [MARK] + [line for line in text.splitlines() if len(line) > 30 and "-----" not in line]


def check_misplaced(known: list[str]) -> list[str]:
    wrong = []
    for arguments in MISPLACED:
        done = subprocess.run(
            [TARGET / "pgque", *arguments], capture_output=True, text=True, timeout=TIMEOUT
        )
        printed = done.stdout + done.stderr
        if done.returncode != 2 or any(secret in printed for secret in known):
            wrong.append(f"pgque {arguments}: {printed}")
    return wrong


def check(
    program: list[str], cases: list[dict], connects: bool, folder: Path, known: list[str]
) -> list[str]:
    """What is wrong with what the program prints."""
    wrong = []
    for case in cases:
        printed = output(program, case, Path(tempfile.mkdtemp(dir=folder)))
        told = f"{program[-1]}: {case}\n{printed}"
        if any(secret in printed for secret in known):
            wrong.append(f"a secret shows: {told}")
        # What the server alone can have said, or the library's complaint.
        if connects != ("login of" in printed or '"server"' in printed):
            wrong.append(f"it should {'' if connects else 'not '}have connected: {told}")
        if not connects and "connect" not in printed:
            wrong.append(f"nothing was said of the failure: {told}")
    return wrong


def main() -> None:
    programs = PROGRAMS[sys.argv[1]]
    with tempfile.TemporaryDirectory(prefix="pgque-secrets-") as name:
        folder = Path(name)
        certs = folder / "certs"
        certs.mkdir()
        certificates.make_all(certs)
        cluster, known = Cluster(folder, certs), secrets(certs)
        try:
            port = cluster.start("main", certificate="main")
            admin = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
            with psycopg.connect(admin, autocommit=True) as connection:
                for user, how in [("scram", "scram-sha-256"), ("md5", "md5"), ("password", "md5")]:
                    connection.execute(f"set password_encryption = '{how}'")
                    connection.execute(f"alter role {user} password '{MARK}'")
            wrong = check_misplaced(known) if sys.argv[1] == "rust" else []
            count = len(MISPLACED) if sys.argv[1] == "rust" else 0
            for cases, connects in [(works(port, certs), True), (fails(port, certs), False)]:
                count += len(cases) * len(programs)
                for program in programs:
                    wrong += check(program, cases, connects, folder, known)
        finally:
            cluster.stop()
    print("\n".join(wrong))
    print(f"{count - len(wrong)} of {count} connects showed no secret")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
