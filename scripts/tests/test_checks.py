"""The checks find what is planted, and leave alone what is right."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent


def run(check: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / check), str(root)],
        capture_output=True,
        text=True,
        check=False,
    )


def plant(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


VIOLATIONS = [
    ("bindings-python/src/client.rs", 'self.execute("select pgque.send($1, $2)")', "a query"),
    ("bindings-python/python/pgque/x.py", 'connection.execute("commit")', "a query"),
    (
        "bindings-python/python/pgque/x.py",
        'cursor.execute("SELECT * FROM pgque.receive(%s)")',
        "a query",
    ),
    (
        "bindings-node/lib/client.ts",
        "await client.query(`insert into pgque.queue values (1)`)",
        "a query",
    ),
    ("bindings-c/go/pgque.go", 'db.Exec("select pgque.ack($1)")', "a query"),
    ("bindings-c/src/client.rs", 'run("listen pgque_orders")', "a query"),
    ("bindings-c/src/consumer.rs", "std::thread::sleep(Duration::from_millis(10));", "a sleep"),
    ("bindings-node/src/consumer.rs", "tokio::time::sleep(wait).await;", "a sleep"),
    ("bindings-node/lib/consumer.ts", "setTimeout(resolve, 1000)", "a sleep"),
    ("bindings-python/python/pgque/x.py", "time.sleep(1)", "a sleep"),
    ("bindings-python/python/pgque/x.py", "await asyncio.sleep(poll)", "a sleep"),
    ("bindings-c/go/consumer.go", "time.Sleep(time.Second)", "a sleep"),
    ("bindings-python/python/pgque/x.py", "delay = delay * 2", "retry arithmetic"),
    ("bindings-node/lib/consumer.ts", "if (attempts > 5) throw error", "retry arithmetic"),
    ("bindings-c/src/consumer.rs", "let backoff = min(cap, base);", "retry arithmetic"),
    (
        "bindings-node/lib/error.ts",
        "if (error.message.includes('not found')) {",
        "a match on message text",
    ),
    (
        "bindings-c/src/error.rs",
        'if error.message().contains("queue") {',
        "a match on message text",
    ),
    (
        "bindings-python/python/pgque/x.py",
        'if "not found" in str(error):',
        "a match on message text",
    ),
    (
        "bindings-c/go/error.go",
        'if strings.Contains(err.Error(), "queue") {',
        "a match on message text",
    ),
]


@pytest.mark.parametrize(("name", "line", "what"), VIOLATIONS)
def test_the_boundary_check_finds_a_planted_violation(
    tmp_path: Path, name: str, line: str, what: str
) -> None:
    plant(tmp_path, name, line)
    result = run("check-boundary", tmp_path)
    assert result.returncode == 1
    assert f"{name}:1: {what}: {line}" in result.stdout


RIGHT = [
    ("core/src/client/produce.rs", '"select pgque.send($1, $2, $3)"'),
    ("bindings-python/src/client.rs", "py.detach(|| self.inner.send(queue, body)).map_err(to_py)"),
    ("bindings-python/src/client.rs", "// the server runs select pgque.send($1)"),
    (
        "bindings-python/src/client.rs",
        '#[cfg(test)]\nmod tests { const A: &str = "select pgque.x()"; }',
    ),
    ("bindings-python/python/pgque/__init__.py", '"""Runs `select pgque.send($1)`."""'),
    ("bindings-python/python/pgque/__init__.py", 'logging.getLogger("pgque.consumer." + name)'),
    ("bindings-c/go/client_test.go", "time.Sleep(time.Second)"),
    ("bindings-node/lib/client.ts", "return this.native.begin().then(convert, raise)"),
    ("bindings-node/lib/client.ts", "const seconds = retryAfter / 1000"),
    ("bindings-c/src/client.rs", 'door("commit", |door| door.client(client)?.commit())'),
    ("bindings-c/go/message.go", "RetryCount *int"),
    ("bindings-c/src/error.rs", "message_view(error.message())"),
    ("bindings-c/src/ffi.rs", "let end = text.find('\\0').unwrap_or(text.len());"),
    (
        "bindings-c/src/x.rs",
        'run("listen x"); // boundary: only printed here',
    ),
]


@pytest.mark.parametrize(("name", "line"), RIGHT)
def test_the_boundary_check_leaves_alone_what_is_right(
    tmp_path: Path, name: str, line: str
) -> None:
    plant(tmp_path, name, line)
    result = run("check-boundary", tmp_path)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("cd /home/someone/libpgque", "a path of one machine"),
        ('path = "/work/libpgque"', "a path of one machine"),
        (
            "pip install --index-url https://packages.example.com/simple x",
            "a registry that is not everybody's",
        ),
        ('"resolved": "https://packages.example.com/x.tgz"', "a lock file's address of a registry"),
    ],
)
def test_the_tree_check_finds_what_is_true_on_one_machine_only(
    tree: Path, line: str, what: str
) -> None:
    plant(tree, "notes.md", line)
    result = run("check-tree", tree)
    assert result.returncode == 1
    assert what in result.stdout


def test_the_tree_check_finds_a_source_file_that_is_too_long(tree: Path) -> None:
    plant(tree, "core/src/long.rs", "\n".join(["// line"] * 601))
    plant(tree, "core/src/right.rs", "\n".join(["// line"] * 600))
    plant(tree, "bindings-node/index.js", "// auto-generated by NAPI-RS\n" + "\n" * 700)
    plant(tree, "README.md", "see https://example.com/home/page and $HOME/work/x\n" * 700)
    result = run("check-tree", tree)
    assert result.stdout == "core/src/long.rs: 601 lines; past 600, look for the seam\n"
