//! What the settings say about TLS. Files are only named here; they are read when a connection is made.

use std::path::PathBuf;

use super::parameters::Values;
use super::{Environment, wrong};
use crate::error::Result;

/// `sslmode`, in growing strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Where the certificates of trusted authorities are.
#[derive(Clone, Debug)]
pub(crate) enum Roots {
    File(PathBuf),
    /// The operating system's own.
    System,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Before12,
    Tls12,
    Tls13,
}

#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    pub mode: Mode,
    /// The handshake comes at once, without PostgreSQL's question before it.
    pub direct: bool,
    pub roots: Option<Roots>,
    /// Whether ours may be shown.
    pub own_certificate: bool,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub revoked: Option<PathBuf>,
    /// A file that need not exist, unlike the one above: the user's default.
    pub revoked_default: Option<PathBuf>,
    pub revoked_folder: Option<PathBuf>,
    /// Whether the server's name is sent in the clear, for proxies.
    pub server_name: bool,
    pub oldest: Version,
    pub newest: Version,
}

const MODES: &[(&str, Mode)] = &[
    ("prefer", Mode::Prefer),
    ("disable", Mode::Disable),
    ("allow", Mode::Allow),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

/// rustls knows the last two.
const VERSIONS: [(&str, Version); 4] = [
    ("tlsv1", Version::Before12),
    ("tlsv1.1", Version::Before12),
    ("tlsv1.2", Version::Tls12),
    ("tlsv1.3", Version::Tls13),
];

impl TlsSettings {
    pub(super) fn read(values: &Values, environment: &Environment) -> Result<TlsSettings> {
        let file = |keyword| values.text(keyword).map(PathBuf::from);
        let own = |name: &str| environment.home(&format!(".postgresql/{name}"));
        let roots = match values.text("sslrootcert") {
            Some("system") => Some(Roots::System),
            Some(file) => Some(Roots::File(file.into())),
            None => own("root.crt").map(Roots::File),
        };
        let direct = values.choice("sslnegotiation", &[("postgres", false), ("direct", true)])?;
        let (oldest, newest) = versions(values)?;
        Ok(TlsSettings {
            mode: mode(values, matches!(roots, Some(Roots::System)), direct)?,
            direct,
            roots,
            own_certificate: values.choice("sslcertmode", &[("allow", true), ("disable", false)])?,
            certificate: file("sslcert").or_else(|| own("postgresql.crt")),
            key: file("sslkey").or_else(|| own("postgresql.key")),
            revoked: file("sslcrl"),
            revoked_default: own("root.crl"),
            revoked_folder: file("sslcrldir"),
            server_name: values.text("sslsni").is_none_or(|v| v.starts_with('1')),
            oldest,
            newest,
        })
    }
}

/// The mode, which the system's authorities and the direct handshake need to be a strict one.
fn mode(values: &Values, system: bool, direct: bool) -> Result<Mode> {
    // The system's authorities sign for anybody: without a look at the name they prove nothing.
    let mode = match values.text("sslmode") {
        None if system => Mode::VerifyFull,
        _ => values.choice("sslmode", MODES)?,
    };
    if system && mode < Mode::VerifyFull {
        return Err(wrong("sslmode must be verify-full with sslrootcert=system".into()));
    }
    if direct && mode < Mode::Require {
        return Err(wrong("sslmode must be require, verify-ca or verify-full with sslnegotiation=direct".into()));
    }
    Ok(mode)
}

fn versions(values: &Values) -> Result<(Version, Version)> {
    let version = |keyword, default| match values.text(keyword) {
        None => Ok(default),
        Some(text) => {
            let found = VERSIONS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
            let bad = || wrong(format!("{keyword} must be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3, got \"{text}\""));
            found.map(|(_, version)| *version).ok_or_else(bad)
        }
    };
    let oldest = version("ssl_min_protocol_version", Version::Tls12)?;
    let newest = version("ssl_max_protocol_version", Version::Tls13)?;
    if newest == Version::Before12 {
        return Err(wrong("ssl_max_protocol_version: this client speaks TLSv1.2 and TLSv1.3".into()));
    }
    if oldest > newest {
        return Err(wrong("ssl_min_protocol_version is above ssl_max_protocol_version".into()));
    }
    Ok((oldest, newest))
}
