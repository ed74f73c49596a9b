//! TLS with rustls: what each `sslmode` checks, which files are read, and why a handshake failed.

mod failure;
mod files;
mod names;
mod verify;

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(super) use failure::explain;
use verify::Verifier;

use super::settings::{Mode, Roots, TlsSettings, Version, wrong};
use super::stream::Socket;
use super::wire::Wire;
use crate::error::{Error, Kind, Result};

/// Asks the server whether it speaks TLS: length 8, then the agreed number in the place of a version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// What the server is told the connection is for; without it a direct handshake is refused.
const ALPN: &[u8] = b"postgresql";

/// TLS as one host needs it. The cancel request later on uses it again.
#[derive(Clone)]
pub(super) struct Tls {
    config: ClientConfig,
    /// The name that the certificate is compared with.
    name: String,
    direct: bool,
}

impl Tls {
    /// Reads the files. `name` is the host as the user gave it.
    pub(super) fn new(settings: &TlsSettings, name: Option<&str>) -> Result<Tls> {
        let provider = Arc::new(ring::default_provider());
        let verifier = match roots(settings)? {
            None => Verifier::anybody(&provider),
            Some(authorities) => {
                let name = match (settings.mode, name) {
                    (Mode::VerifyFull, None) => {
                        return Err(wrong("sslmode=verify-full needs host, which the certificate has to name".into()));
                    }
                    (Mode::VerifyFull, name) => name.map(str::to_owned),
                    _ => None,
                };
                Verifier::with_roots(authorities, files::revoked(settings)?, name, &provider)?
            }
        };
        let config = configure(settings, provider, verifier)?;
        Ok(Tls { config, name: name.unwrap_or("localhost").to_owned(), direct: settings.direct })
    }

    /// Asks whether the server speaks TLS, unless the handshake is to come at once.
    pub(super) async fn ask(&self, mut socket: Socket) -> Result<Answer> {
        if self.direct {
            return Ok(Answer::Yes(socket));
        }
        let lost = |e: io::Error| Error::new(Kind::Connection, "connect", e.to_string());
        socket.write_all(&SSL_REQUEST).await.map_err(lost)?;
        // One byte and no more: what an intruder may have put behind it must not pass for the server's.
        match socket.read_u8().await.map_err(lost)? {
            b'S' => Ok(Answer::Yes(socket)),
            b'N' => Ok(Answer::No(socket)),
            b'E' => Err(Error::new(Kind::Connection, "connect", "the server is not ready for TLS")),
            _ => Err(Error::new(Kind::Connection, "connect", "this is not a PostgreSQL server")),
        }
    }

    pub(super) async fn handshake(&self, socket: Socket) -> Result<Wire> {
        let name = match rustls::pki_types::ServerName::try_from(self.name.as_str()) {
            Ok(_) => self.name.as_str(),
            // A name that TLS cannot write; it is not checked either, or the check of it fails.
            Err(_) => "localhost",
        };
        let mut make = MakeRustlsConnect::new(self.config.clone());
        let connect = MakeTlsConnect::<Socket>::make_tls_connect(&mut make, name)
            .map_err(|e| Error::new(Kind::Internal, "connect", e.to_string()))?;
        let secured = TlsConnect::connect(connect, socket).await;
        secured.map(Wire::secured).map_err(|e| {
            let text = || format!("the connection ended in the TLS handshake: {e}");
            explain(&e).unwrap_or_else(|| Error::new(Kind::Connection, "connect", text()))
        })
    }
}

/// Whether the server speaks TLS; nothing else has been said yet.
pub(super) enum Answer {
    Yes(Socket),
    No(Socket),
}

/// The trusted authorities and where they come from; `None` if nobody has to be trusted.
fn roots(settings: &TlsSettings) -> Result<Option<files::Authorities>> {
    match &settings.roots {
        Some(Roots::System) => files::system_roots().map(Some),
        // libpq's rule: where there is such a file, chains are checked, also if `sslmode` asks for less.
        Some(Roots::File(file)) if file.exists() => files::roots(file).map(Some),
        _ if settings.mode >= Mode::VerifyCa => {
            let file = match &settings.roots {
                Some(Roots::File(file)) => file.as_path(),
                _ => Path::new("~/.postgresql/root.crt"),
            };
            Err(wrong(format!(
                "sslrootcert: there is no file {}; name one, or use sslrootcert=system, or a weaker sslmode",
                file.display()
            )))
        }
        _ => Ok(None),
    }
}

fn configure(settings: &TlsSettings, provider: Arc<CryptoProvider>, verifier: Verifier) -> Result<ClientConfig> {
    let internal = |e: rustls::Error| Error::new(Kind::Internal, "connect", e.to_string());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(settings))
        .map_err(internal)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match files::client_certificate(settings)? {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| wrong(format!("sslcert and sslkey cannot be used: {e}")))?,
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = settings.server_name;
    // A resumed session would skip the certificate's check, and saves a client with few connections nothing.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = |version| settings.oldest <= version && version <= settings.newest;
    let all = [(Version::Tls12, &TLS12), (Version::Tls13, &TLS13)];
    all.into_iter().filter(|(version, _)| wanted(*version)).map(|(_, supported)| supported).collect()
}
