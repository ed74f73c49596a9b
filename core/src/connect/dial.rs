//! From settings to a connection: which hosts are tried, in which order, and when the search ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio_postgres::Client;
use tokio_postgres::config::{ChannelBinding as DriverBinding, Config, SslMode, SslNegotiation};

use super::login::{LoginWatch, Refusal};
use super::role::{self, Role};
use super::settings::{ChannelBinding, Host, Mode, Place, Server, Timing};
use super::socket::{self, Address};
use super::stream::Line;
use super::tls::{self, Answer, Tls};
use super::wire::{Driver, Ready, Wire};
use crate::error::{Error, Kind, Result};

/// Taking no connections for now: the one refusal after which libpq tries the next host.
const CANNOT_CONNECT_NOW: &str = "57P03";
/// No rule of the server lets us in this way; with, or without, TLS there may be one.
const NOT_THIS_WAY: &str = "28000";

/// A connection that nobody drives yet.
pub(super) struct Link {
    pub client: Client,
    pub driver: Driver,
    pub line: Arc<Line>,
    pub route: Route,
    /// The process id that the server gave at the login.
    pub backend: i32,
}

/// The way by which a server was reached; a cancel request takes the same.
#[derive(Clone)]
pub(super) struct Route {
    address: Address,
    tls: Option<Tls>,
    timing: Timing,
}

impl Route {
    pub(super) async fn open(&self) -> Result<Wire> {
        let socket = socket::connect(&self.address, &self.timing).await.map_err(|e| lost(&e))?;
        let Some(tls) = &self.tls else { return Ok(Wire::plain(socket)) };
        match tls.ask(socket).await? {
            Answer::Yes(socket) => tls.handshake(socket).await,
            // What was secret before must not go in the clear now.
            Answer::No(_) => Err(no_tls()),
        }
    }
}

/// The first session that is wanted. A server that cannot be reached, or takes nobody in for now, is passed over; one
/// that refuses the login ends the search, as in libpq.
pub(super) async fn dial(server: &Server) -> Result<Link> {
    let mut failures = Vec::new();
    for wanted in Role::passes(server.target_session) {
        failures.clear();
        for host in in_order(&server.hosts, server.load_balance) {
            match try_host(server, host, *wanted).await {
                Ok(link) => return Ok(link),
                Err(error) if ends_search(&error) => return Err(error),
                Err(error) => failures.push((host, error)),
            }
        }
    }
    Err(summary(&failures))
}

fn in_order<T>(items: &[T], by_chance: bool) -> Vec<&T> {
    let mut items: Vec<&T> = items.iter().collect();
    if by_chance {
        fastrand::shuffle(&mut items);
    }
    items
}

fn ends_search(error: &Error) -> bool {
    match error.sqlstate() {
        Some(state) => state != CANNOT_CONNECT_NOW,
        None => error.kind() != Kind::Connection,
    }
}

/// One failure is told as it is; several by host, and the kind is that of what may pass.
fn summary(failures: &[(&Host, Error)]) -> Error {
    let told: Vec<String> = failures.iter().map(|(host, error)| format!("{host}: {}", error.message())).collect();
    let error = Error::new(Kind::Connection, "connect", told.join("; "));
    match failures {
        [(_, only)] => match only.server() {
            Some(server) => Error::from_server("connect", server.clone()),
            None => error,
        },
        _ => error,
    }
}

/// Each address of a host has `connect_timeout` to itself.
async fn try_host(server: &Server, host: &Host, wanted: Role) -> Result<Link> {
    let found = in_time(&server.timing, async { socket::look_up(host).await.map_err(|e| lost(&e)) }).await?;
    let mut last = Error::new(Kind::Connection, "connect", "the name has no address");
    for address in in_order(&found, server.load_balance) {
        let attempt = async {
            let mut link = attempt(server, host, address).await?;
            wanted.check(&mut link).await?;
            if let Address::Tcp(_) = address {
                role::ask_for_keepalives(&mut link, server.options.as_deref()).await?;
            }
            Ok(link)
        };
        match in_time(&server.timing, attempt).await {
            Err(error) if !ends_search(&error) => last = error,
            result => return result,
        }
    }
    Err(last)
}

async fn in_time<T>(timing: &Timing, attempt: impl Future<Output = Result<T>>) -> Result<T> {
    match timing.connect_timeout {
        None => attempt.await,
        Some(limit) => match tokio::time::timeout(limit, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Kind::Connection, "connect", "timed out (see connect_timeout)")),
        },
    }
}

/// With and without TLS, as `sslmode` has it. A Unix socket needs none.
async fn attempt(server: &Server, host: &Host, address: &Address) -> Result<Link> {
    let ways: &[bool] = match (&host.place, server.tls.mode) {
        (Place::Unix(_), _) | (_, Mode::Disable) => &[false],
        (_, Mode::Allow) => &[false, true],
        (_, Mode::Prefer) => &[true, false],
        _ => &[true],
    };
    let mut result = connect(server, host, address, ways[0]).await;
    if let [first, second] = *ways
        && let Err(error) = &result
        && worth_another_way(error, first)
    {
        if !server.is_dubious {
            let other = if second { "with" } else { "without" };
            log::debug!(target: "pgque", "{host}: {}; trying {other} TLS", error.message());
        }
        result = connect(server, host, address, second).await;
    }
    result.map_err(|error| match error.op() {
        TLS => Error::new(error.kind(), "connect", error.message()),
        _ => error,
    })
}

/// The server knows no rule for us this way; or our own TLS is at fault, and `sslmode=prefer` can do without.
fn worth_another_way(error: &Error, with_tls: bool) -> bool {
    match error.sqlstate() {
        Some(state) => state == NOT_THIS_WAY,
        None => with_tls && error.op() == TLS,
    }
}

/// The operation under which TLS's own failures are kept apart, inside of this file.
const TLS: &str = "tls";

async fn connect(server: &Server, host: &Host, address: &Address, with_tls: bool) -> Result<Link> {
    let socket = socket::connect(address, &server.timing).await.map_err(|e| lost(&e))?;
    let line = socket.line();
    let mut route = Route { address: address.clone(), tls: None, timing: server.timing.clone() };
    let wire = match with_tls {
        false => Wire::plain(socket),
        true => {
            let tls = Tls::new(&server.tls, name(host)).map_err(of_tls)?;
            match tls.ask(socket).await? {
                Answer::Yes(socket) => {
                    let wire = tls.handshake(socket).await.map_err(of_tls)?;
                    route.tls = Some(tls);
                    wire
                }
                Answer::No(socket) if server.tls.mode == Mode::Prefer => Wire::plain(socket),
                Answer::No(_) => return Err(no_tls()),
            }
        }
    };
    let (client, driver, backend) = log_in(server, host, wire).await?;
    Ok(Link { client, driver, line, route, backend })
}

async fn log_in(server: &Server, host: &Host, wire: Wire) -> Result<(Client, Driver, i32)> {
    let password = server.password(host);
    let mut config = Config::new();
    config.user(&server.user).dbname(&server.dbname).application_name(&server.application_name);
    if let Some(options) = &server.options {
        config.options(options);
    }
    if let Some(password) = &password {
        config.password(password.reveal());
    }
    config.channel_binding(match server.channel_binding {
        ChannelBinding::Prefer => DriverBinding::Prefer,
        ChannelBinding::Disable => DriverBinding::Disable,
        ChannelBinding::Require => DriverBinding::Require,
    });
    // So that the driver asks nothing and takes the stream that is ready.
    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    let backend = Arc::new(AtomicI32::new(0));
    let has_password = password.is_some();
    let watch = LoginWatch::new(server.require_auth.clone(), server.channel_binding, has_password, backend.clone());
    let ready = Ready(wire.watch_login(watch));
    let (client, driver) = config.connect_raw(tokio::io::empty(), ready).await.map_err(refused)?;
    Ok((client, driver, backend.load(Ordering::Relaxed)))
}

/// The name that a certificate has to bear.
fn name(host: &Host) -> Option<&str> {
    match &host.place {
        Place::Tcp { name, .. } => name.as_deref(),
        Place::Unix(_) => None,
    }
}

fn of_tls(error: Error) -> Error {
    Error::new(error.kind(), TLS, error.message())
}

fn no_tls() -> Error {
    Error::new(Kind::Configuration, "connect", "the server does not speak TLS, sslmode requires it")
}

fn lost(error: &std::io::Error) -> Error {
    Error::new(Kind::Connection, "connect", error.to_string())
}

/// What the server says decides the kind. Beside it there are I/O errors, which may pass, and what the driver or the
/// settings do not accept, which will not.
fn refused(error: tokio_postgres::Error) -> Error {
    use std::error::Error as _;
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    let refusal = source.and_then(|io| io.get_ref()?.downcast_ref::<Refusal>());
    if let Some(refusal) = refusal {
        return Error::new(Kind::Configuration, "connect", refusal.to_string());
    }
    if let Some(told) = source.and_then(tls::explain) {
        return told;
    }
    let passes = source.is_some() || error.is_closed() || error.source().is_none();
    let ours = Error::from_driver("connect", error);
    match passes || ours.server().is_some() {
        true => ours,
        false => Error::new(Kind::Configuration, "connect", ours.message()),
    }
}
