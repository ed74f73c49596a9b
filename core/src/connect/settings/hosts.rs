//! Where servers are: hosts, addresses and ports, which are lists of the same length.

use std::fmt;
use std::net::IpAddr;

use super::parameters::Values;
use super::wrong;
use crate::error::Result;

const PORT_DEFAULT: u16 = 5432;
/// Where servers put their sockets: Debian, Red Hat and others; PostgreSQL as it is delivered.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// One server that may be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub place: Place,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// By name or by address; `address` spares the look-up, and `name` is what certificates are compared with.
    Tcp { name: Option<String>, address: Option<IpAddr> },
    /// The folder of a Unix socket; `@…` is Linux's abstract namespace.
    Unix(String),
}

impl Host {
    /// The path of the socket.
    pub(crate) fn socket(folder: &str, port: u16) -> String {
        format!("{folder}/.s.PGSQL.{port}")
    }

    /// What the password file calls this server.
    pub(super) fn in_password_file(&self) -> String {
        match &self.place {
            Place::Tcp { name: Some(name), .. } => name.clone(),
            Place::Tcp { name: None, address } => address.map(|a| a.to_string()).unwrap_or_default(),
            Place::Unix(folder) if SOCKET_FOLDERS.contains(&folder.as_str()) => "localhost".into(),
            Place::Unix(folder) => folder.clone(),
        }
    }
}

/// For people: `db1:5432`, `/tmp/.s.PGSQL.5432`.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(folder) => f.write_str(&Host::socket(folder, self.port)),
            Place::Tcp { name: Some(name), .. } => write!(f, "{name}:{}", self.port),
            Place::Tcp { name: None, address: Some(address) } => write!(f, "{address}:{}", self.port),
            Place::Tcp { .. } => write!(f, "port {}", self.port),
        }
    }
}

/// The servers to try, in the order given.
pub(super) fn hosts(values: &Values) -> Result<Vec<Host>> {
    let list = |keyword| values.text(keyword).map(|text| text.split(',').map(str::trim).collect::<Vec<_>>());
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port").unwrap_or_default());
    let count = addresses.as_ref().or(names.as_ref()).map_or(1, Vec::len);
    if let (Some(names), Some(addresses)) = (&names, &addresses)
        && names.len() != addresses.len()
    {
        return Err(wrong(format!("{} host names for {} hostaddr values", names.len(), addresses.len())));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(wrong(format!("{} port numbers for {count} hosts; give one, or one for each", ports.len())));
    }
    let host = |i: usize| {
        let at = |list: &Option<Vec<&str>>| list.as_ref().map(|l| l[i].to_owned()).filter(|text| !text.is_empty());
        let port = port(ports.get(i).or(ports.first()).copied().unwrap_or_default())?;
        Ok(Host { place: place(at(&names), at(&addresses), port)?, port })
    };
    (0..count).map(host).collect()
}

fn place(name: Option<String>, address: Option<String>, port: u16) -> Result<Place> {
    if let Some(address) = address {
        let parsed = address.parse().map_err(|_| wrong(format!("hostaddr \"{address}\" is not an IP address")))?;
        return Ok(Place::Tcp { name, address: Some(parsed) });
    }
    Ok(match name {
        Some(folder) if folder.starts_with(['/', '@']) => Place::Unix(folder),
        // Not the name: it may be the end of a password.
        Some(name) if name.contains('@') => {
            return Err(wrong("host must not contain \"@\"; in a URI, write %40 for one in the password".into()));
        }
        Some(name) => Place::Tcp { name: Some(name), address: None },
        None => default_place(port),
    })
}

/// Where the socket is; else the first folder that is there; else, with no folder for sockets, this machine by TCP.
fn default_place(port: u16) -> Place {
    let exists = |path: &str| std::path::Path::new(path).exists();
    let with_socket = SOCKET_FOLDERS.iter().find(|folder| exists(&Host::socket(folder, port)));
    match with_socket.or_else(|| SOCKET_FOLDERS[..1].iter().find(|folder| exists(folder))) {
        Some(folder) => Place::Unix((*folder).to_owned()),
        None => Place::Tcp { name: Some("localhost".into()), address: None },
    }
}

fn port(text: &str) -> Result<u16> {
    match text {
        "" => Ok(PORT_DEFAULT),
        text => match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            // Not the text: where a password in a URI holds a "/", its beginning is what stands here.
            _ => Err(wrong(
                "port must be a number from 1 to 65535; in a URI, write %2F for a \"/\" in the password".into(),
            )),
        },
    }
}
