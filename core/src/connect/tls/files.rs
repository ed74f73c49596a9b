//! Certificates, keys and revocation lists, read at every connection: they are renewed while programs run.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::connect::settings::{TlsSettings, wrong};
use crate::error::{Error, Result};

/// Trusted authorities: for rustls, which keeps of them what it needs, and as they are.
pub(super) struct Authorities {
    pub store: RootCertStore,
    pub certificates: Vec<CertificateDer<'static>>,
    /// Where they come from, for messages.
    pub origin: String,
}

pub(super) fn roots(file: &Path) -> Result<Authorities> {
    let certificates = certificates("sslrootcert", file)?;
    authorities(certificates, file.display().to_string())
}

pub(super) fn system_roots() -> Result<Authorities> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::debug!(target: "pgque", "a certificate of the system: {error}");
    }
    authorities(found.certs, "the system's certificates".into())
}

fn authorities(certificates: Vec<CertificateDer<'static>>, origin: String) -> Result<Authorities> {
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(certificates.iter().cloned());
    match usable {
        0 => Err(wrong(format!("sslrootcert: there is no usable certificate in {origin}"))),
        _ => Ok(Authorities { store, certificates, origin }),
    }
}

/// Lists of revoked certificates. libpq skips a file that it was told to read and cannot; we do not.
pub(super) fn revoked(settings: &TlsSettings) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let mut lists = Vec::new();
    if let Some(file) = &settings.revoked {
        lists.extend(list("sslcrl", file)?);
    } else if let Some(file) = settings.revoked_default.as_ref().filter(|file| file.exists()) {
        lists.extend(list("sslcrl", file)?);
    }
    if let Some(folder) = &settings.revoked_folder {
        let files = fs::read_dir(folder).map_err(|e| unreadable("sslcrldir", folder, &e))?;
        for file in files {
            lists.extend(list("sslcrldir", &file.map_err(|e| unreadable("sslcrldir", folder, &e))?.path())?);
        }
    }
    Ok(lists)
}

/// Our own certificate with its key, if there is one.
pub(super) fn client_certificate(
    settings: &TlsSettings,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
    // As libpq: a certificate that is not there is none, also if it was named.
    let Some(file) = settings.certificate.as_ref().filter(|file| settings.own_certificate && file.exists()) else {
        return Ok(None);
    };
    let chain = certificates("sslcert", file)?;
    let Some(key) = settings.key.as_ref().filter(|key| key.exists()) else {
        return Err(wrong(format!("sslkey: there is no key for the certificate {}", file.display())));
    };
    check_permissions(key)?;
    Ok(Some((chain, private_key(key)?)))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = fs::read(file).map_err(|e| unreadable("sslkey", file, &e))?;
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    if has(b"ENCRYPTED") {
        let message = "is encrypted, which is not supported; decrypt it with `openssl pkey` and protect the file";
        return Err(wrong(format!("sslkey: {} {message}", file.display())));
    }
    // Without the parser's own words, in case they quote.
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| wrong(format!("sslkey: {} holds no private key in PEM form", file.display())))
}

/// libpq's rule: for the owner alone; root's may be readable by a group.
#[cfg(unix)]
fn check_permissions(file: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let about = fs::metadata(file).map_err(|e| unreadable("sslkey", file, &e))?;
    let forbidden = if about.uid() == 0 { 0o037 } else { 0o077 };
    match about.mode() & forbidden {
        0 => Ok(()),
        _ => Err(wrong(format!("sslkey: {0} may be read by others; run chmod 0600 {0}", file.display()))),
    }
}

#[cfg(not(unix))]
fn check_permissions(_: &Path) -> Result<()> {
    Ok(())
}

fn certificates(parameter: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = fs::read(file).map_err(|e| unreadable(parameter, file, &e))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong(format!("{parameter}: {} holds no certificate in PEM form", file.display()))),
    }
}

fn list(parameter: &str, file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let text = fs::read(file).map_err(|e| unreadable(parameter, file, &e))?;
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong(format!("{parameter}: {} holds no revocation list in PEM form", file.display()))),
    }
}

fn unreadable(parameter: &str, file: &Path, error: &std::io::Error) -> Error {
    wrong(format!("{parameter}: {} cannot be read: {error}", file.display()))
}
