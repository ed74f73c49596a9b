//! The check of the server's certificate.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::files::Authorities;
use super::names;
use crate::connect::settings::wrong;
use crate::error::Result;

/// Why a certificate is not accepted, in words for the user; `passes` if time may mend it.
#[derive(Clone, Debug)]
pub(super) struct Distrust {
    pub message: String,
    pub passes: bool,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Distrust {}

#[derive(Debug)]
pub(super) struct Verifier {
    trust: Option<Trust>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Trust {
    chain: Arc<WebPkiServerVerifier>,
    /// The authorities themselves: a server may use one as its own certificate.
    roots: Vec<CertificateDer<'static>>,
    /// Where they come from, for messages.
    origin: String,
    /// The host that the certificate must name; `None` if any will do.
    name: Option<String>,
}

impl Verifier {
    /// Encryption without knowing with whom: `allow`, `prefer`, and `require` without authorities.
    pub(super) fn anybody(provider: &CryptoProvider) -> Verifier {
        Verifier { trust: None, algorithms: provider.signature_verification_algorithms }
    }

    pub(super) fn with_roots(
        authorities: Authorities,
        revoked: Vec<CertificateRevocationListDer<'static>>,
        name: Option<String>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier> {
        let Authorities { store, certificates, origin } = authorities;
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
            .with_crls(revoked)
            .build()
            .map_err(|e| wrong(format!("sslrootcert or sslcrl (which must be of version 2) cannot be used: {e}")))?;
        let trust = Trust { chain, roots: certificates, origin, name };
        Ok(Verifier { trust: Some(trust), algorithms: provider.signature_verification_algorithms })
    }
}

impl Trust {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Distrust> {
        let unreadable = |e| distrust(format!("the server's certificate cannot be read: {e}"), false);
        let certificate = Certificate::from_der(end_entity).map_err(unreadable)?;
        self.check_time(&certificate, now)?;
        // A certificate that is itself trusted needs nobody to vouch for it.
        if !self.roots.iter().any(|root| root.as_ref() == end_entity.as_ref()) {
            // The name is compared below, by libpq's rules; any will do here.
            let any = ServerName::from(std::net::Ipv4Addr::LOCALHOST);
            match self.chain.verify_server_cert(end_entity, intermediates, &any, ocsp, now) {
                Ok(_) => {}
                // The last thing that is looked at: the chain is good.
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => {}
                Err(error) => return Err(self.explain(&certificate, &error)),
            }
        }
        match &self.name {
            None => Ok(()),
            Some(name) => names::matches(&certificate, name).map_err(|seen| {
                let seen = if seen.is_empty() { "nobody".to_owned() } else { seen.join(", ") };
                let advice = "connect by a name that it has, or use sslmode=verify-ca";
                distrust(format!("the server's certificate is for {seen}, not for \"{name}\"; {advice}"), false)
            }),
        }
    }

    fn check_time(&self, certificate: &Certificate, now: UnixTime) -> Result<(), Distrust> {
        let validity = &certificate.tbs_certificate.validity;
        let seconds = now.as_secs();
        if seconds > validity.not_after.to_unix_duration().as_secs() {
            let message = format!("the server's certificate expired on {}; renew it there", validity.not_after);
            return Err(distrust(message, true));
        }
        if seconds < validity.not_before.to_unix_duration().as_secs() {
            let message =
                format!("the server's certificate is valid from {} on; check the clocks", validity.not_before);
            return Err(distrust(message, true));
        }
        Ok(())
    }

    fn explain(&self, certificate: &Certificate, error: &rustls::Error) -> Distrust {
        let origin = &self.origin;
        let subject = &certificate.tbs_certificate.subject;
        let issuer = &certificate.tbs_certificate.issuer;
        let message = match error {
            rustls::Error::InvalidCertificate(CertificateError::Revoked) => {
                "the server's certificate has been revoked".to_owned()
            }
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownRevocationStatus
                | CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. },
            ) => {
                "whether the server's certificate is revoked cannot be told; sslcrl needs a current list of each issuer"
                    .to_owned()
            }
            _ if subject == issuer => {
                format!(
                    "the server's certificate is self-signed and not in {origin}; add it to sslrootcert if you trust it"
                )
            }
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                format!("the server's certificate is issued by \"{issuer}\", which is not in {origin}; see sslrootcert")
            }
            rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                "a certificate of the server's issuer has expired; renew it there".to_owned()
            }
            error => format!("the server's certificate cannot be trusted: {error}"),
        };
        distrust(message, false)
    }
}

fn distrust(message: String, passes: bool) -> Distrust {
    Distrust { message, passes }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(trust) = &self.trust {
            trust
                .check(end_entity, intermediates, ocsp, now)
                .map_err(|distrust| CertificateError::Other(OtherError(Arc::new(distrust))))?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // Also where nobody is trusted: channel binding stands on the server's owning of the certificate that it shows.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    /// By the bare key, for rustls does not read certificates of version 1, which older recipes still make.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let bad = |_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let read = Certificate::from_der(certificate).map_err(bad)?;
        let key = read.tbs_certificate.subject_public_key_info.to_der().map_err(bad)?;
        verify_tls13_signature_with_raw_key(message, &key.as_slice().into(), signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
