//! Whether a certificate is for the server that was asked for, by libpq's rules.

use std::net::IpAddr;

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// X.509's number of the common name.
const COMMON_NAME: &str = "2.5.4.3";
const SUBJECT_ALTERNATIVE_NAME: &str = "2.5.29.17";

/// The names in a certificate, and whether one of them is the host's.
pub(super) fn matches(certificate: &Certificate, host: &str) -> Result<(), Vec<String>> {
    let address: Option<IpAddr> = host.parse().ok();
    let (mut seen, mut has_alternatives) = (Vec::new(), false);
    for name in alternatives(certificate) {
        let fits = match &name {
            GeneralName::DnsName(name) => {
                has_alternatives = has_alternatives || address.is_none();
                seen.push(name.to_string());
                name_fits(name.as_str(), host)
            }
            GeneralName::IpAddress(bytes) => {
                has_alternatives = has_alternatives || address.is_some();
                let found = ip_address(bytes.as_bytes());
                seen.extend(found.map(|a| a.to_string()));
                found.is_some() && found == address
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
    }
    // The common name counts only where there is no alternative of the same sort.
    if !has_alternatives && let Some(name) = common_name(certificate) {
        if name_fits(&name, host) {
            return Ok(());
        }
        seen.push(name);
    }
    Err(seen)
}

fn alternatives(certificate: &Certificate) -> Vec<GeneralName> {
    let extensions = certificate.tbs_certificate.extensions.as_deref().unwrap_or_default();
    let found = extensions.iter().find(|e| e.extn_id.to_string() == SUBJECT_ALTERNATIVE_NAME);
    let read = found.and_then(|e| SubjectAltName::from_der(e.extn_value.as_bytes()).ok());
    read.map(|names| names.0).unwrap_or_default()
}

fn common_name(certificate: &Certificate) -> Option<String> {
    let parts = certificate.tbs_certificate.subject.0.iter().flat_map(|part| part.0.iter());
    let value = &parts.into_iter().find(|a| a.oid.to_string() == COMMON_NAME)?.value;
    let utf8 = value.decode_as::<Utf8StringRef<'_>>().ok().map(|s| s.as_str().to_owned());
    utf8.or_else(|| value.decode_as::<PrintableStringRef<'_>>().ok().map(|s| s.as_str().to_owned()))
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// Case does not matter; `*.` stands for one label and never for part of an address.
fn name_fits(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let is_address = host.parse::<IpAddr>().is_ok();
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((label, rest))) if !is_address && !label.is_empty() => domain.eq_ignore_ascii_case(rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label_of_a_name() {
        for (pattern, host) in [("db", "DB"), ("*.example.com", "a.example.com"), ("127.0.0.1", "127.0.0.1")] {
            assert!(name_fits(pattern, host), "{pattern} {host}");
        }
        let refused =
            [("*.example.com", "example.com"), ("*.example.com", "a.b.example.com"), ("*.0.0.1", "127.0.0.1")];
        for (pattern, host) in refused {
            assert!(!name_fits(pattern, host), "{pattern} {host}");
        }
    }
}
