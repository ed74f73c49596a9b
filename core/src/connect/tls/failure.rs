//! Why a handshake failed, in words that say what to do.

use std::error::Error as StdError;

use rustls::{AlertDescription, CertificateError};

use super::verify::Distrust;
use crate::error::{Error, Kind};

/// The TLS error within an I/O error, if that is what it is.
pub(in crate::connect) fn explain(error: &std::io::Error) -> Option<Error> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let (kind, message) = match tls {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => match distrust(&other.0) {
            Some(why) if why.passes => (Kind::Connection, why.message.clone()),
            Some(why) => (Kind::Configuration, why.message.clone()),
            None => (Kind::Configuration, tls.to_string()),
        },
        rustls::Error::AlertReceived(alert) => (Kind::Configuration, refused(*alert)),
        rustls::Error::InvalidMessage(_) => (Kind::Connection, format!("the server does not speak TLS ({tls})")),
        _ => (Kind::Connection, format!("no agreement on TLS: {tls}")),
    };
    Some(Error::new(kind, "connect", message))
}

fn distrust(error: &std::sync::Arc<dyn StdError + Send + Sync>) -> Option<&Distrust> {
    error.downcast_ref::<Distrust>()
}

/// What the server says when it ends the handshake.
fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server requires a client certificate; set sslcert and sslkey".into()
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::DecryptError
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => {
            format!("the server does not accept our client certificate ({alert:?}); see sslcert")
        }
        AlertDescription::CertificateExpired => "our client certificate has expired; renew the file of sslcert".into(),
        AlertDescription::CertificateRevoked => "our client certificate has been revoked; see sslcert".into(),
        AlertDescription::ProtocolVersion => {
            "the server speaks none of the TLS versions allowed; see ssl_min_protocol_version".into()
        }
        alert => format!("the server ended the TLS handshake ({alert:?})"),
    }
}
