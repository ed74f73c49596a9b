//! Service files: named groups of parameters.

use std::fs;
use std::path::{Path, PathBuf};

use super::parameters::Values;
use super::{Environment, wrong};
use crate::error::Result;

/// Where libpq as built by most systems looks for the file of all users; the first is Debian's.
const SYSTEM_FOLDERS: [&str; 2] = ["/etc/postgresql-common", "/etc"];

/// Adds what the service named by the values, or by the environment, says.
pub(super) fn add(values: &mut Values, environment: &Environment) -> Result<()> {
    let given = values.given("service").or_else(|| environment.variable("PGSERVICE"));
    let Some(service) = given.filter(|name| !name.is_empty()).map(str::to_owned) else { return Ok(()) };
    for (file, must_exist) in files(environment) {
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(_) if !must_exist && !file.exists() => continue,
            Err(e) => return Err(wrong(format!("the service file {} cannot be read: {e}", file.display()))),
        };
        if add_group(values, &text, &service, &file)? {
            return Ok(());
        }
    }
    Err(wrong(format!("there is no service \"{service}\" in the service files; see PGSERVICEFILE, ~/.pg_service.conf")))
}

/// The files to look into, in order, and whether they have to exist.
fn files(environment: &Environment) -> Vec<(PathBuf, bool)> {
    let own = match environment.variable("PGSERVICEFILE") {
        Some(file) => Some((PathBuf::from(file), true)),
        None => environment.home(".pg_service.conf").map(|file| (file, false)),
    };
    let folders = match environment.variable("PGSYSCONFDIR") {
        Some(folder) => vec![folder],
        None => SYSTEM_FOLDERS.to_vec(),
    };
    let of_all = folders.into_iter().map(|folder| (Path::new(folder).join("pg_service.conf"), false));
    own.into_iter().chain(of_all).collect()
}

/// Adds the group's parameters; false if the file has no such group.
pub(super) fn add_group(values: &mut Values, text: &str, service: &str, file: &Path) -> Result<bool> {
    let mut found = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if found {
                break;
            }
            found = name.strip_suffix(']') == Some(service);
            continue;
        }
        if found {
            let bad = |what: &str| wrong(format!("{}, line {}: {what}", file.display(), number + 1));
            match line.split_once('=') {
                None if line.starts_with("ldap") => return Err(bad("LDAP is not supported; write keyword=value")),
                None => return Err(bad("write keyword=value")),
                Some(("service", _)) => return Err(bad("a service cannot name another service")),
                Some((keyword, value)) if !values.offer(keyword, value) => {
                    return Err(bad(&format!("there is no connection parameter \"{keyword}\"")));
                }
                Some(_) => {}
            }
        }
    }
    Ok(found)
}
