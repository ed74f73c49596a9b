//! The password file: `host:port:dbname:user:password` lines, read at every connection so that a new password
//! reaches a program that runs for months.

use std::fs;
use std::path::Path;

use super::secret::Secret;

/// What the first four fields of a line have to fit.
pub(super) struct Login<'a> {
    pub host: &'a str,
    pub port: u16,
    pub dbname: &'a str,
    pub user: &'a str,
}

/// The password of the first line that fits. A file that others may read is not used, as in libpq.
pub(super) fn find(file: &Path, login: &Login<'_>) -> Option<Secret> {
    let about = fs::metadata(file).ok()?;
    if !about.is_file() {
        log::warn!(target: "pgque", "the password file {} is not a plain file; it is not used", file.display());
        return None;
    }
    if readable_by_others(&about) {
        let name = file.display();
        log::warn!(target: "pgque", "the password file {name} may be read by others; it is not used: chmod 0600 {name}");
        return None;
    }
    let text = fs::read(file).ok()?;
    first(&String::from_utf8_lossy(&text), login)
}

pub(super) fn first(text: &str, login: &Login<'_>) -> Option<Secret> {
    text.lines().find_map(|line| password(line, login)).map(Secret::new)
}

#[cfg(unix)]
fn readable_by_others(about: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    about.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn readable_by_others(_: &fs::Metadata) -> bool {
    false
}

fn password(line: &str, login: &Login<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let port = login.port.to_string();
    let mut rest = line;
    for wanted in [login.host, port.as_str(), login.dbname, login.user] {
        let (field, after) = split_field(rest)?;
        if field != "*" && unescaped(field) != wanted {
            return None;
        }
        rest = after;
    }
    // What is left is the password; some write another field behind it.
    let end = split_field(rest).map_or(rest, |(password, _)| password);
    Some(unescaped(end)).filter(|password| !password.is_empty())
}

/// The text up to the next colon that no backslash precedes, and what follows it.
fn split_field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            ':' if !escaped => return Some((&text[..at], &text[at + 1..])),
            c => escaped = c == '\\' && !escaped,
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        out.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_four_fields_have_to_fit() {
        let login = Login { host: "db:1", port: 5432, dbname: "d", user: "u" };
        let given = |line| password(line, &login);
        assert_eq!(given(r"db\:1:5432:d:u:pa\:ss\\word").as_deref(), Some(r"pa:ss\word"));
        assert_eq!(given("*:*:*:*:p").as_deref(), Some("p"));
        for other in ["db:1:5432:d:u:p", r"db\:1:5433:d:u:p", "# *:*:*:*:p", "*:*:*:p", "*:*:*:*:", ""] {
            assert_eq!(given(other), None, "{other}");
        }
    }
}
