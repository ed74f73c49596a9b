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
    /// When it was asked to end.
    asked: Option<Instant>,
}

impl Running {
    pub fn start(command: &[OsString], dsn: &str) -> Outcome<Option<Running>> {
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        if std::io::stdin().is_terminal() {
            signals::leave_interrupts();
        }
        let child = Command::new(program)
            .args(arguments)
            .env("PGQUE_DSN", dsn)
            .env("PGQUE_TEST_DSN", dsn)
            .spawn()
            .map_err(|error| Failure::Other(format!("dev: cannot run {}: {error}", program.to_string_lossy())))?;
        Ok(Some(Running { child, asked: None }))
    }

    /// The exit code once the command has ended. Passes a signal of ours on.
    pub fn poll(&mut self) -> Outcome<Option<i32>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(exit_code(status)));
        }
        match self.asked {
            Some(asked) if asked.elapsed() > END_TIMEOUT => self.child.kill()?,
            None if signals::is_stopped() => {
                self.asked = Some(Instant::now());
                if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
                    // Fails only when the command has just ended.
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
            _ => {}
        }
        Ok(None)
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
