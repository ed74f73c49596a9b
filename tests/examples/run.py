#!/usr/bin/env python3
"""Runs the first program of each language as it is printed by `pgque dev`, against a server with a ticker.

usage: run.py python|node|c|go|rust|shell, with PGQUE_TEST_DSN naming a server where databases may be created
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import uuid

import psycopg
from psycopg import conninfo

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
EXAMPLES = ROOT / "core" / "src" / "cli" / "dev" / "examples"
PRINTED_DSN = "postgresql://postgres@127.0.0.1:5432/pgque"
EXPECTED = '{"order": 42}'
TIME_LIMIT = 120


def command(language: str, source: str, folder: pathlib.Path) -> list[list[str]]:
    """Writes the program where its language finds the library, and says how to compile and run it."""
    if language == "python":
        (folder / "main.py").write_text(source)
        return [[sys.executable, "main.py"]]
    if language == "node":
        modules = folder / "node_modules"
        modules.mkdir()
        (modules / "libpgque").symlink_to(ROOT / "bindings-node")
        (folder / "main.mjs").write_text(source)
        return [["node", "main.mjs"]]
    if language == "c":
        (folder / "main.c").write_text(source)
        library = [
            "-I",
            str(ROOT / "bindings-c/include"),
            "-L",
            str(TARGET / "debug"),
            f"-Wl,-rpath,{TARGET}/debug",
        ]
        return [
            [
                "cc",
                "-D_DEFAULT_SOURCE",
                "-Wall",
                "-Werror",
                "main.c",
                *library,
                "-lpgque",
                "-o",
                "main",
            ],
            ["./main"],
        ]
    if language == "go":
        (folder / "main.go").write_text(source)
        module = "github.com/libpgque/libpgque/bindings-c/go"
        (folder / "go.mod").write_text(
            f"module main\n\ngo 1.21\n\nrequire {module} v0.0.0\n\nreplace {module} => {ROOT}/bindings-c/go\n"
        )
        return [["go", "build", "-o", "main", "."], ["./main"]]
    if language == "rust":
        (folder / "main.rs").write_text(source)
        # Against the library as cargo has built it, which spares building all of its dependencies once more.
        library = [
            "--extern",
            f"pgque={TARGET}/debug/libpgque.rlib",
            "-L",
            f"dependency={TARGET}/debug/deps",
        ]
        return [["rustc", "--edition=2024", "main.rs", *library], ["./main"]]
    if language == "shell":
        (folder / "main.sh").write_text(source)
        return [["bash", "-eu", "main.sh"]]
    sys.exit(f"no example for {language}")


def run(language: str, dsn: str) -> None:
    text = (EXAMPLES / f"{language}.txt").read_text()
    if PRINTED_DSN not in text:
        sys.exit(f"{language}.txt does not connect to {PRINTED_DSN}")
    with tempfile.TemporaryDirectory() as folder:
        for step in command(language, text.replace(PRINTED_DSN, dsn), pathlib.Path(folder)):
            done = subprocess.run(
                step, cwd=folder, capture_output=True, text=True, timeout=TIME_LIMIT
            )
            if done.returncode:
                sys.exit(f"{' '.join(step)} failed:\n{done.stdout}{done.stderr}")
        if EXPECTED not in done.stdout:
            sys.exit(f"{language} printed {done.stdout!r}, not {EXPECTED}")


def main(language: str) -> None:
    """Each run has a database of its own, with the engine and its ticker."""
    server = os.environ["PGQUE_TEST_DSN"]
    name = f"example_{language}_{uuid.uuid4().hex[:8]}"
    parts = conninfo.conninfo_to_dict(server)
    dsn = f"postgresql://{parts['user']}@{parts['host']}:{parts['port']}/{name}"
    os.environ["PATH"] = f"{TARGET}/debug:{os.environ['PATH']}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        subprocess.run(["pgque", "install", "--dsn", dsn], check=True, stdout=subprocess.DEVNULL)
        ticker = subprocess.Popen(["pgque", "--quiet", "ticker", "--dsn", dsn])
        try:
            run(language, dsn)
        finally:
            ticker.terminate()
            ticker.wait(timeout=10)
            admin.execute(f"drop database {name} with (force)")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main(sys.argv[1])
