//! A throw-away server: made, started, stopped and removed.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::account::Account;
use super::binaries::Binaries;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::signals;

const CONNECTIONS_MAX: u32 = 200;
/// Another program may take a free port between our look and the server's start.
const PORT_ATTEMPTS_MAX: u32 = 5;
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
/// How much of the server's log is shown when it fails.
const LOG_LINES_MAX: usize = 20;
/// The longest path of a socket that every system takes.
const SOCKET_PATH_MAX: usize = 100;

/// Waits for the end of its input, which is our end, and clears up what a kill kept us from clearing up.
const JANITOR: &str = r#"
cat >/dev/null
kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")" && sleep 1
rm -rf "$1"
"#;

pub struct Options {
    pub port: Option<u16>,
    /// Whether a commit waits for the disk.
    pub durable: bool,
}

/// A running server; stopped and removed when dropped.
pub struct Server {
    postgres: Child,
    janitor: Child,
    port: u16,
    // The last field: removed after the processes are gone.
    home: TempDir,
}

impl Server {
    pub fn start(binaries: &Binaries, options: &Options) -> Outcome<Server> {
        let home = tempfile::Builder::new().prefix("pgque-dev-").tempdir()?;
        let account = Account::choose(binaries, home.path())?;
        // First of all: a second signal ends us wherever we are.
        let mut janitor = hire_janitor(home.path())?;
        let launched =
            make_cluster(binaries, account, home.path()).and_then(|()| launch(binaries, account, home.path(), options));
        match launched {
            Ok((postgres, port)) => Ok(Server { postgres, janitor, port, home }),
            Err(failure) => {
                dismiss(&mut janitor);
                Err(failure)
            }
        }
    }

    /// The superuser's connection string.
    pub fn dsn(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process_id(&self) -> u32 {
        self.postgres.id()
    }

    pub fn data_directory(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Fails once the server has ended by itself.
    pub fn check(&mut self) -> Outcome {
        match self.postgres.try_wait()? {
            None => Ok(()),
            Some(status) => Err(ended(self.home.path(), "ended unexpectedly", status)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.postgres);
        dismiss(&mut self.janitor);
    }
}

fn make_cluster(binaries: &Binaries, account: Account, home: &Path) -> Outcome {
    let output = account
        .command(&binaries.program("initdb"), home)
        .arg("--pgdata")
        .arg(home.join("data"))
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .output()?;
    match output.status.success() {
        true => Ok(()),
        // Ctrl-C has reached it as well.
        false if signals::is_stopped() => Err(stopped()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Failure::Other(format!(
                "dev: initdb failed ({}): {}; try other programs with --postgres-bin",
                output.status,
                said.trim()
            )))
        }
    }
}

/// Starts the server and waits until it takes connections.
fn launch(binaries: &Binaries, account: Account, home: &Path, options: &Options) -> Outcome<(Child, u16)> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let port = match options.port {
            Some(port) => port,
            None => free_port()?,
        };
        let mut postgres = spawn(binaries, account, home, port, options.durable)?;
        let status = match wait_until_ready(&mut postgres, home) {
            Ok(None) => return Ok((postgres, port)),
            Ok(Some(status)) => status,
            Err(failure) => {
                end(&mut postgres);
                return Err(failure);
            }
        };
        let taken = log(home).contains("Address already in use");
        if taken && options.port.is_some() {
            return Err(Failure::Other(format!("dev: port {port} is in use; choose another, or leave out --port")));
        }
        if !taken || attempts == PORT_ATTEMPTS_MAX {
            return Err(ended(home, "did not start", status));
        }
    }
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn spawn(binaries: &Binaries, account: Account, home: &Path, port: u16, durable: bool) -> Outcome<Child> {
    let log = File::create(home.join("data/server.log"))?;
    let mut command = account.command(&binaries.program("postgres"), home);
    command.arg("-D").arg(home.join("data")).arg("-p").arg(port.to_string());
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    set("listen_addresses", "127.0.0.1");
    set("unix_socket_directories", &socket_directory(home));
    set("max_connections", &CONNECTIONS_MAX.to_string());
    set("shared_preload_libraries", "");
    if !durable {
        set("fsync", "off");
        set("synchronous_commit", "off");
        set("full_page_writes", "off");
    }
    // A group of its own: Ctrl-C is for us, and the server is stopped after those who use it.
    Ok(command.process_group(0).stdout(log.try_clone()?).stderr(log).spawn()?)
}

/// None where the path would be too long for a socket; TCP suffices then.
fn socket_directory(home: &Path) -> String {
    match home.join(".s.PGSQL.65535").as_os_str().len() <= SOCKET_PATH_MAX {
        true => format!("\"{}\"", home.display()),
        false => String::new(),
    }
}

/// `Some` if the server ended instead. Reads the server's own note, for somebody else may answer on the port.
fn wait_until_ready(postgres: &mut Child, home: &Path) -> Outcome<Option<ExitStatus>> {
    let started = Instant::now();
    while started.elapsed() < START_TIMEOUT {
        if let Some(status) = postgres.try_wait()? {
            return Ok(Some(status));
        }
        let note = fs::read_to_string(home.join("data/postmaster.pid")).unwrap_or_default();
        if note.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
            return Ok(None);
        }
        if signals::is_stopped() {
            return Err(stopped());
        }
        sleep(POLL);
    }
    show_log(home);
    Err(Failure::Other(format!(
        "dev: the server was not ready within {} s; see its log above",
        START_TIMEOUT.as_secs()
    )))
}

fn stopped() -> Failure {
    Failure::Other("dev: stopped before the server was ready".into())
}

fn hire_janitor(home: &Path) -> std::io::Result<Child> {
    Command::new("sh")
        .args(["-c", JANITOR, "pgque-dev-janitor"])
        .arg(home)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn dismiss(janitor: &mut Child) {
    let _ = janitor.kill();
    let _ = janitor.wait();
}

/// Asks for a fast stop, then for an immediate one, then does not ask.
fn end(postgres: &mut Child) {
    for signal in [Signal::INT, Signal::QUIT] {
        if let Some(pid) = Pid::from_raw(postgres.id().cast_signed())
            && !matches!(postgres.try_wait(), Ok(Some(_)))
        {
            // Fails only when the server has just ended.
            let _ = kill_process(pid, signal);
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_TIMEOUT {
            if !matches!(postgres.try_wait(), Ok(None)) {
                return;
            }
            sleep(POLL);
        }
    }
    let _ = postgres.kill();
    let _ = postgres.wait();
}

fn ended(home: &Path, how: &str, status: ExitStatus) -> Failure {
    show_log(home);
    Failure::Other(format!("dev: the server {how} ({status}); see its log above"))
}

fn log(home: &Path) -> String {
    fs::read_to_string(home.join("data/server.log")).unwrap_or_default()
}

fn show_log(home: &Path) {
    let log = log(home);
    let lines: Vec<&str> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_LINES_MAX)..] {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
