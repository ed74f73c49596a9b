//! What settings take from the process: its variables, its user, his folder. Read once, when they are parsed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
}

impl Environment {
    pub(super) fn of_process() -> Environment {
        let ours = |name: &str| name.starts_with("PG");
        let read = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.into_string().ok().filter(|name| ours(name))?;
            Some((name, value.to_string_lossy().into_owned()))
        };
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        Environment { variables: std::env::vars_os().filter_map(read).collect(), home }
    }

    /// Nothing set, nobody's folder.
    pub(super) fn empty() -> Environment {
        Environment { variables: BTreeMap::new(), home: None }
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A file in the user's folder.
    pub(super) fn home(&self, file: &str) -> Option<PathBuf> {
        self.home.as_deref().map(|home: &Path| home.join(file))
    }
}
