//! The socket itself: look-up, connect, and the options that make a vanished peer noticed.

use std::io;
use std::net::SocketAddr;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use super::settings::{Host, Place, Timing};
use super::stream::Socket;

/// Where one attempt goes to; a name may stand for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    /// The path of the socket, `@…` in the abstract namespace.
    Unix(String),
}

/// The addresses of a host, in the order of the system's resolver.
pub(super) async fn look_up(host: &Host) -> io::Result<Vec<Address>> {
    let port = host.port;
    match &host.place {
        Place::Unix(folder) => Ok(vec![Address::Unix(Host::socket(folder, port))]),
        Place::Tcp { address: Some(address), .. } => Ok(vec![Address::Tcp(SocketAddr::new(*address, port))]),
        Place::Tcp { name, address: None } => {
            let found = tokio::net::lookup_host((name.as_deref().unwrap_or_default(), port)).await?;
            Ok(found.map(Address::Tcp).collect())
        }
    }
}

pub(super) async fn connect(address: &Address, timing: &Timing) -> io::Result<Socket> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            set_options(&stream, timing)?;
            Socket::tcp(stream)
        }
        Address::Unix(path) => {
            // A leading NUL is how a path in the abstract namespace is written.
            let path = path.strip_prefix('@').map_or_else(|| path.clone(), |name| format!("\0{name}"));
            Socket::unix(UnixStream::connect(path).await?)
        }
    }
}

fn set_options(stream: &TcpStream, timing: &Timing) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(wanted) = &timing.keepalives {
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = wanted.idle {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = wanted.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = wanted.count {
            keepalive = keepalive.with_retries(count);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(target_os = "linux")]
    if timing.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(timing.tcp_user_timeout)?;
    }
    Ok(())
}
