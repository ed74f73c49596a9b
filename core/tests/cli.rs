//! The command, run as its users run it, on servers that it starts itself.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const PGQUE: &str = env!("CARGO_BIN_EXE_pgque");
const PATIENCE: Duration = Duration::from_secs(20);

/// `pgque dev --json`, ended by a signal when dropped.
struct Dev {
    process: Child,
    dsn: String,
    process_id: u32,
    home: PathBuf,
}

impl Dev {
    fn start(options: &[&str]) -> Dev {
        let mut process = pgque("").arg("dev").arg("--json").args(options).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        assert!(!ready["server_version"].as_str().unwrap().is_empty());
        let data = PathBuf::from(ready["data_directory"].as_str().unwrap());
        Dev {
            process,
            dsn: ready["dsn"].as_str().unwrap().to_owned(),
            process_id: u32::try_from(ready["pid"].as_u64().unwrap()).unwrap(),
            home: data.parent().unwrap().to_owned(),
        }
    }

    /// Runs a command on this server.
    fn run(&self, arguments: &[&str]) -> Output {
        pgque(&self.dsn).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        pgque(&self.dsn)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn sql(&self) -> postgres::Client {
        postgres::Client::connect(&self.dsn, postgres::NoTls).unwrap()
    }

    fn count(&self, sql: &str) -> i64 {
        self.sql().query_one(sql, &[]).unwrap().get(0)
    }

    fn wait_for_count(&self, sql: &str, wanted: i64) {
        eventually(sql, || self.count(sql) == wanted);
    }

    /// Nothing of the server is left.
    fn assert_gone(&self) {
        eventually("the folder to go", || !self.home.exists());
        eventually("the server to end", || !alive(self.process_id));
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        signal("TERM", &self.process);
        let _ = self.process.wait();
    }
}

fn pgque(dsn: &str) -> Command {
    let mut command = Command::new(PGQUE);
    command.env("PGQUE_DSN", dsn);
    if dsn.is_empty() {
        command.env_remove("PGQUE_DSN");
    }
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn signal(name: &str, process: &Child) {
    Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).stderr(Stdio::null()).status().unwrap();
}

fn alive(process_id: u32) -> bool {
    let probe = Command::new("kill").arg("-0").arg(process_id.to_string()).stderr(Stdio::null()).status();
    probe.unwrap().success()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait(process: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            process.kill().unwrap();
            panic!("the command does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A failure is one line that starts with the program's name; its code is 1.
fn failure(output: &Output) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("pgque: ") && text.trim_end().lines().count() == 1, "{text}");
    text
}

#[test]
fn a_queue_goes_through_its_life() {
    let dev = Dev::start(&["--no-ticker"]);
    assert_eq!(dev.ok(&["queue", "create", "orders"]), "queue orders created\n");
    assert_eq!(dev.ok(&["queue", "create", "orders"]), "queue orders exists already\n");
    assert!(dev.ok(&["queue", "list"]).contains("orders"));
    let listed: serde_json::Value = serde_json::from_str(&dev.ok(&["queue", "list", "--json"])).unwrap();
    assert_eq!(listed[0]["queue_name"], "orders");

    assert_eq!(dev.ok(&["subscribe", "orders", "mail"]), "consumer mail is subscribed to orders\n");
    let status: serde_json::Value = serde_json::from_str(&dev.ok(&["status", "--json"])).unwrap();
    assert_eq!(status["consumers"][0]["consumer_name"], "mail");
    assert_eq!(status["status"][0]["component"], "postgresql");
    let text = dev.ok(&["status"]);
    assert!(["postgresql", "orders", "mail"].iter().all(|word| text.contains(word)), "{text}");

    assert!(failure(&dev.run(&["queue", "drop", "orders"])).contains("--force"));
    assert!(dev.ok(&["unsubscribe", "orders", "mail"]).contains("removed"));
    assert!(failure(&dev.run(&["unsubscribe", "orders", "mail"])).contains("mail"));
    dev.ok(&["subscribe", "orders", "mail"]);
    assert_eq!(dev.ok(&["queue", "drop", "orders", "--force"]), "queue orders dropped\n");
}

#[test]
fn dead_letters_are_listed_replayed_and_purged() {
    let dev = Dev::start(&["--no-ticker"]);
    dev.ok(&["queue", "create", "q"]);
    dev.ok(&["subscribe", "q", "mail"]);
    assert_eq!(dev.ok(&["queue", "set", "q", "max_retries", "0"]), "max_retries of queue q is 0\n");
    assert!(failure(&dev.run(&["queue", "set", "q", "nonsense", "1"])).contains("nonsense"));
    assert_eq!(dev.ok(&["dlq", "list", "q"]), "queue q has no dead letters\n");
    assert!(failure(&dev.run(&["dlq", "list", "misspelt"])).contains("misspelt"));

    dev.ok(&["send", "q", "1", "2", "3"]);
    let mut sql = dev.sql();
    for call in ["force_next_tick('q')", "ticker('q')"] {
        sql.execute(&format!("select pgque.{call}"), &[]).unwrap();
    }
    let bury = "select pgque.nack(batch_id, m, '0 s', 'no such address') from pgque.receive('q', 'mail') m";
    assert_eq!(sql.execute(bury, &[]).unwrap(), 3);
    let text = dev.ok(&["dlq", "list", "q"]);
    assert!(["mail", "no such address"].iter().all(|word| text.contains(word)), "{text}");
    let letters: serde_json::Value = serde_json::from_str(&dev.ok(&["dlq", "list", "q", "--json"])).unwrap();
    let ids: Vec<String> = letters.as_array().unwrap().iter().map(|l| l["dead_letter_id"].to_string()).collect();
    assert_eq!(ids.len(), 3);

    let event: i64 = dev.ok(&["dlq", "replay", &ids[0]]).trim().parse().unwrap();
    assert!(event > 0);
    assert!(failure(&dev.run(&["dlq", "replay", &ids[1], &ids[0]])).contains("the 1 before it"));
    assert_eq!(dev.ok(&["dlq", "redeliver", "--all", "q", "--consumer", "mail"]), "1 redelivered\n");
    assert_eq!(dev.count("select count(*) from pgque.retry_queue"), 1);
    assert!(failure(&dev.run(&["dlq", "redeliver", &ids[0]])).contains(&ids[0]));
    assert_eq!(dev.ok(&["dlq", "replay", "--all", "q"]), "0 replayed\n");
    assert_eq!(dev.ok(&["dlq", "purge", "q"]), "0 deleted\n");
    assert_eq!(dev.ok(&["dlq", "purge", "q", "--older-than", "0 s"]), "0 deleted\n");
}

#[test]
fn install_and_uninstall_may_be_repeated() {
    let dev = Dev::start(&["--no-install"]);
    assert!(failure(&dev.run(&["status"])).contains("pgque install"));
    let version: serde_json::Value = serde_json::from_str(&dev.ok(&["version", "--json"])).unwrap();
    assert_eq!((&version["server"], version["library"].as_str()), (&serde_json::Value::Null, Some(pgque::VERSION)));
    for _ in 0..2 {
        assert!(dev.ok(&["install"]).starts_with("installed"));
    }
    assert!(dev.ok(&["version"]).contains("postgresql "));

    let output = dev.run(&["uninstall"]);
    assert_eq!(output.status.code(), Some(2), "without a terminal nobody can be asked");
    assert!(stderr(&output).contains("--yes"));
    dev.ok(&["status"]);
    dev.ok(&["uninstall", "--yes"]);
    assert_eq!(dev.count("select count(*) from pg_namespace where nspname = 'pgque'"), 0);
}

#[test]
fn events_are_sent_from_arguments_and_lines() {
    let dev = Dev::start(&["--no-ticker"]);
    dev.ok(&["queue", "create", "q"]);
    dev.ok(&["subscribe", "q", "c"]);
    let one: i64 = dev.ok(&["send", "q", r#"{"a": 1}"#, "--type", "t", "--extra2", "x"]).trim().parse().unwrap();
    let two = dev.ok(&["send", "q", "1", "2"]);
    assert_eq!(two, format!("{}\n{}\n", one + 1, one + 2));
    assert!(failure(&dev.run(&["send", "q", "hello"])).contains("--text"));
    dev.ok(&["send", "q", "hello", "--text"]);

    let mut sending = dev.spawn(&["send", "q", "-", "--type", "line"]);
    let lines: String = (0..2500).map(|i| format!("{{\"i\": {i}}}\n\n")).collect();
    sending.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = sending.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2500);

    let mut sql = dev.sql();
    sql.execute("select pgque.force_next_tick('q')", &[]).unwrap();
    sql.execute("select pgque.ticker('q')", &[]).unwrap();
    let rows =
        sql.query("select type, payload, extra2 from pgque.receive('q', 'c', 10000) order by msg_id", &[]).unwrap();
    let texts = |row: usize| -> [Option<String>; 3] { [0, 1, 2].map(|column| rows[row].get(column)) };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(rows.len(), 2504);
    assert_eq!(texts(0), [some("t"), some(r#"{"a": 1}"#), some("x")]);
    assert_eq!(texts(1), [some("default"), some("1"), None]);
    assert_eq!(texts(3), [some("default"), some("hello"), None]);
    assert_eq!(texts(2503), [some("line"), some(r#"{"i": 2499}"#), None]);
}

#[test]
fn a_bad_line_says_what_was_sent_before() {
    let dev = Dev::start(&["--no-ticker"]);
    dev.ok(&["queue", "create", "q"]);
    let mut sending = dev.spawn(&["send", "q"]);
    let mut lines = "1\n".repeat(3000);
    lines.push_str("oops\n");
    // It ends at the bad line, and may do so before it has read all.
    let _ = sending.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = sending.wait_with_output().unwrap();
    let sent = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(failure(&output).contains(&format!("events 1 to {sent} are sent")), "{}", stderr(&output));
}

#[test]
fn tail_prints_what_arrives_and_leaves_nothing() {
    const TAILS: &str = "select count(*) from pgque.get_consumer_info('q')";
    let dev = Dev::start(&[]);
    dev.ok(&["queue", "create", "q"]);
    let tail = dev.spawn(&["tail", "q", "--json", "--count", "2"]);
    dev.wait_for_count(TAILS, 1);
    dev.ok(&["send", "q", r#"{"n": 1}"#, "--type", "t"]);
    dev.ok(&["send", "q", "a\nb", "--text"]);
    let output = tail.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0]["type"].as_str(), lines[0]["payload"].as_str()), (Some("t"), Some(r#"{"n": 1}"#)));
    assert_eq!(lines[1]["payload"], "a\nb");
    assert_eq!(dev.count(TAILS), 0);

    let mut interrupted = dev.spawn(&["tail", "q"]);
    dev.wait_for_count(TAILS, 1);
    signal("INT", &interrupted);
    assert!(wait(&mut interrupted).success());
    assert_eq!(dev.count(TAILS), 0);
}

#[test]
fn tail_ends_quietly_when_its_reader_leaves() {
    const TAILS: &str = "select count(*) from pgque.get_consumer_info('q')";
    let dev = Dev::start(&[]);
    dev.ok(&["queue", "create", "q"]);
    let mut tail = dev.spawn(&["tail", "q"]);
    dev.wait_for_count(TAILS, 1);
    drop(tail.stdout.take());
    dev.ok(&["send", "q", "1"]);
    assert!(wait(&mut tail).success());
    let mut text = String::new();
    tail.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
    assert_eq!(dev.count(TAILS), 0);
}

#[test]
fn tail_as_a_consumer_keeps_its_place() {
    let dev = Dev::start(&[]);
    dev.ok(&["queue", "create", "q"]);
    assert!(failure(&dev.run(&["tail", "q", "--consumer", "c"])).contains("pgque subscribe"));
    dev.ok(&["subscribe", "q", "c"]);
    for payload in ["1", "2"] {
        dev.ok(&["send", "q", payload]);
        let line = dev.ok(&["tail", "q", "--consumer", "c", "--count", "1"]);
        assert!(line.ends_with(&format!(" default {payload}\n")), "{line}");
    }
    assert_eq!(dev.count("select count(*) from pgque.get_consumer_info('q', 'c')"), 1);
}

#[test]
fn the_ticker_runs_until_it_is_told_to_stop() {
    let dev = Dev::start(&["--no-ticker"]);
    dev.ok(&["queue", "create", "q"]);
    dev.ok(&["subscribe", "q", "c"]);
    let mut ticker = dev.spawn(&["ticker", "--tick-interval", "0.02"]);
    dev.ok(&["send", "q", "1"]);
    assert!(dev.ok(&["tail", "q", "--consumer", "c", "--count", "1"]).contains(" default 1"));
    signal("TERM", &ticker);
    assert!(wait(&mut ticker).success());
    let mut text = String::new();
    ticker.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("pgque.ticker: ticker running") && text.contains("ticker stopped"), "{text}");
    assert!(failure(&dev.run(&["ticker", "--tick-interval", "soon"])).contains("tick_interval"));
}

#[test]
fn a_failure_names_the_next_step_and_no_password() {
    let dev = Dev::start(&["--no-install"]);
    let mut sql = dev.sql();
    sql.batch_execute("alter role postgres password 'right'").unwrap();
    let rules = "host all all 127.0.0.1/32 scram-sha-256\nlocal all all trust\n";
    std::fs::write(dev.home.join("data/pg_hba.conf"), rules).unwrap();
    sql.batch_execute("select pg_reload_conf()").unwrap();
    let dsn = |password: &str| dev.dsn.replace("postgres@", &format!("postgres:{password}@"));
    eventually("the new rules", || postgres::Client::connect(&dsn("s3cret"), postgres::NoTls).is_err());
    let status = |dsn: &str| failure(&pgque(dsn).arg("status").output().unwrap());

    let text = status(&dsn("s3cret"));
    assert!(text.contains("check user and password") && !text.contains("s3cret"), "{text}");
    assert!(status(&dsn("right")).contains("pgque install"));
    let text = status(&dsn("right").replace("/pgque", "/nowhere"));
    assert!(text.contains("create the database") && !text.contains("right"), "{text}");
    let text = status("postgresql://u:s3cret@127.0.0.1:1/d");
    assert!(text.contains("pgque dev") && !text.contains("s3cret"), "{text}");
    let text = status("postgresql://u:s3cret@127.0.0.1:port/d");
    assert!(text.contains("postgresql://user@host") && !text.contains("s3cret"), "{text}");
    let help = pgque(&dsn("s3cret")).arg("--help").output().unwrap();
    assert!(help.status.success() && !String::from_utf8_lossy(&help.stdout).contains("s3cret"));
}

#[test]
fn wrong_usage_is_code_2() {
    for arguments in [&["nonsense"][..], &[], &["tail", "q", "--count", "x"]] {
        assert_eq!(pgque("").args(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
    let version = pgque("").arg("version").output().unwrap();
    assert!(version.status.success(), "needs no server: {}", stderr(&version));
}

#[test]
fn dev_cleans_up_after_a_signal() {
    for name in ["INT", "TERM"] {
        let mut dev = Dev::start(&[]);
        assert!(dev.home.exists() && alive(dev.process_id));
        signal(name, &dev.process);
        assert_eq!(wait(&mut dev.process).code(), Some(0), "{name}");
        assert!(!dev.home.exists() && !alive(dev.process_id), "{name}");
    }
}

#[test]
fn dev_leaves_nothing_even_when_killed() {
    let mut dev = Dev::start(&["--no-install"]);
    signal("KILL", &dev.process);
    wait(&mut dev.process);
    dev.assert_gone();
}

#[test]
fn dev_runs_a_command_and_ends_with_its_code() {
    let script = r#"test "$PGQUE_DSN" = "$PGQUE_TEST_DSN" && echo "$PGQUE_DSN" && exit 7"#;
    let output = pgque("").args(["dev", "--no-ticker", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let dsn = String::from_utf8(output.stdout).unwrap();
    assert!(dsn.starts_with("postgresql://postgres@127.0.0.1:") && dsn.ends_with("/pgque\n"), "{dsn}");

    let output = pgque("").args(["dev", "--no-install", "--", "/no/such/program"]).output().unwrap();
    assert!(failure(&output).contains("/no/such/program"));
}

#[test]
fn dev_passes_a_signal_on_to_its_command() {
    let script = "trap 'echo ended; exit 3' TERM; echo \"$PGQUE_DSN\"; while :; do sleep 0.05; done";
    let mut process = pgque("")
        .args(["dev", "--no-install", "--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let dsn = lines.next().unwrap().unwrap();
    signal("TERM", &process);
    assert_eq!(lines.next().unwrap().unwrap(), "ended");
    assert_eq!(wait(&mut process).code(), Some(3));
    assert!(postgres::Client::connect(&dsn, postgres::NoTls).is_err());
}

#[test]
fn dev_explains_a_port_that_is_taken_and_a_folder_without_postgres() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = pgque("").args(["dev", "--port", &port]).output().unwrap();
    assert!(failure(&output).contains(&format!("port {port} is in use")));
    let output = pgque("").args(["dev", "--postgres-bin", "/"]).output().unwrap();
    assert!(failure(&output).contains("--postgres-bin"));
}

#[test]
fn dev_shows_a_program_in_each_language() {
    let mut process = pgque("").arg("dev").stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    while !text.contains("\n    PGQUE_DSN=") {
        text.push_str(&lines.next().unwrap().unwrap());
        text.push('\n');
    }
    signal("INT", &process);
    assert!(wait(&mut process).success());
    for title in ["Shell", "Python", "Node.js", "Go", "C", "Rust"] {
        assert!(text.contains(&format!("--- {title}\n")), "{title}");
    }
    assert!(!text.contains(":5432/"), "the running server's port is shown: {text}");
}

#[test]
fn dev_steps_down_from_root() {
    let owner = |path: &Path| path.metadata().unwrap().uid();
    let ours = tempfile::tempdir().unwrap();
    let programs = Path::new("/usr/lib/postgresql");
    // Elsewhere the programs may be closed to everybody else, and a namespace of root's is used.
    if owner(ours.path()) == 0 && programs.exists() && std::env::var_os("PGQUE_POSTGRES_BIN").is_none() {
        let dev = Dev::start(&["--no-install"]);
        assert_ne!(owner(&dev.home.join("data")), 0);
    }
}

/// That it compiles is what is tested; the shell's runs.
#[allow(dead_code)]
mod rust_example {
    include!("../src/cli/dev/examples/rust.txt");
}

#[test]
fn the_shell_example_works_as_printed() {
    let dev = Dev::start(&[]);
    let text = include_str!("../src/cli/dev/examples/shell.txt");
    let text = text.replace("postgresql://postgres@127.0.0.1:5432/pgque", &dev.dsn);
    let programs = Path::new(PGQUE).parent().unwrap();
    let path = std::env::join_paths([programs, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let output = Command::new("sh").args(["-e", "-c", &text]).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with(" default {\"order\": 42}\n"));
}

#[test]
fn a_batch_that_is_not_printed_whole_comes_again() {
    let dev = Dev::start(&["--no-ticker"]);
    dev.ok(&["queue", "create", "q"]);
    dev.ok(&["subscribe", "q", "c"]);
    dev.ok(&["send", "q", "1", "2"]);
    let mut sql = dev.sql();
    sql.execute("select pgque.force_next_tick('q')", &[]).unwrap();
    sql.execute("select pgque.ticker('q')", &[]).unwrap();
    let output = dev.run(&["tail", "q", "--consumer", "c", "--count", "1"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    assert!(output.status.success() && stderr(&output).contains("1 of 2 messages printed"), "{}", stderr(&output));
    assert_eq!(dev.ok(&["tail", "q", "--consumer", "c", "--count", "2"]).lines().count(), 2);
    let open = "select count(*) from pgque.get_consumer_info('q', 'c') where current_batch is not null";
    assert_eq!(dev.count(open), 0);
}
