//! As whom the server runs: PostgreSQL refuses to run as root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::binaries::Binaries;
use crate::cli::failure::{Failure, Outcome};

/// What `nobody` has on every system where user namespaces exist.
const NOBODY: u32 = 65534;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Account {
    /// The user who runs the command.
    Own,
    /// Root has stepped down to this user.
    Other { uid: u32, gid: u32 },
    /// Root, in a user namespace where it is called `nobody` and keeps access to its own files.
    Namespace,
}

impl Account {
    /// The first way that reaches the programs, with `home` made its own.
    pub fn choose(binaries: &Binaries, home: &Path) -> Outcome<Account> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Account::Own);
        }
        for account in ["postgres", "nobody"].into_iter().filter_map(Account::named) {
            account.give(home)?;
            if account.reaches(binaries, home) {
                return Ok(account);
            }
        }
        Account::Own.give(home)?;
        match Account::Namespace.reaches(binaries, home) {
            true => Ok(Account::Namespace),
            false => Err(Failure::Other(format!(
                "dev: PostgreSQL does not run as root, and no other user reaches {} and {}; \
                 run the command as an ordinary user",
                binaries.directory.display(),
                home.display()
            ))),
        }
    }

    fn named(name: &str) -> Option<Account> {
        let id = |option| {
            let output = Command::new("id").args([option, name]).output().ok()?;
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        };
        Some(Account::Other { uid: id("-u")?, gid: id("-g")? })
    }

    /// A command that runs as this account, in `home`: our own folder may be closed to it.
    pub fn command(self, program: &Path, home: &Path) -> Command {
        let mut command = match self {
            Account::Namespace => {
                let mut command = Command::new("unshare");
                command
                    .arg("--user")
                    .arg(format!("--map-user={NOBODY}"))
                    .arg(format!("--map-group={NOBODY}"))
                    .arg(program);
                command
            }
            _ => Command::new(program),
        };
        if let Account::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        // A locale that the machine lacks keeps the server from starting.
        command.current_dir(home).stdin(Stdio::null()).env("LC_ALL", "C").env_remove("PGDATA");
        command
    }

    fn give(self, home: &Path) -> Outcome {
        let (uid, gid) = match self {
            Account::Other { uid, gid } => (uid, gid),
            Account::Own | Account::Namespace => (0, 0),
        };
        Ok(chown(home, Some(uid), Some(gid))?)
    }

    fn reaches(self, binaries: &Binaries, home: &Path) -> bool {
        let probe = self.command(&binaries.program("initdb"), home).arg("--version").output();
        probe.is_ok_and(|output| output.status.success())
    }
}
