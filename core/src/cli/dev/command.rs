//! The command after `--`, which uses the server.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::failure::{Failure, Outcome};
use crate::cli::signals;

/// What a command that was asked to end gets for it.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A running command; killed when dropped before its end.
pub struct Running {
    child: Child,
    /// When a signal reached us.
    stopping: Option<Instant>,
    asked: bool,
}

impl Running {
    pub fn start(command: &[OsString], dsn: &str) -> Outcome<Option<Running>> {
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        let child = Command::new(program)
            .args(arguments)
            .env("PGQUE_DSN", dsn)
            .env("PGQUE_TEST_DSN", dsn)
            .spawn()
            .map_err(|error| Failure::Other(format!("dev: cannot run {}: {error}", program.to_string_lossy())))?;
        Ok(Some(Running { child, stopping: None, asked: false }))
    }

    /// The exit code once the command has ended. Passes a signal of ours on.
    pub fn poll(&mut self) -> Outcome<Option<i32>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(exit_code(status)));
        }
        if signals::is_stopped() {
            let waited = self.stopping.get_or_insert_with(Instant::now).elapsed();
            // Ctrl-C on a terminal has reached the command already, and a second signal may cut its clean-up short.
            let patience = if std::io::stdin().is_terminal() { END_TIMEOUT } else { Duration::ZERO };
            if waited >= patience && !self.asked {
                self.asked = true;
                self.signal(Signal::TERM);
            } else if waited >= patience + END_TIMEOUT {
                self.child.kill()?;
            }
        }
        Ok(None)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // Fails only when the command has just ended.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// As a shell reports it: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
