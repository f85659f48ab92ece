//! What a client certificate says of its holder.
//!
//! What it does: reads names, fingerprint and end out of a leaf, and the SPIFFE ID under the X.509-SVID
//! rules. What it refuses to know: whether anybody trusts the certificate, and TLS.
//! Invariants: a leaf that claims to be a SPIFFE identity is one by all rules or no identity at all; a
//! name comes from the subject alternative names before the subject (never from the common name alone).

use std::sync::Arc;

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::doubts::Doubts;
use super::facts::{CertificateFacts, Facts, Method};
use super::rejection::Reason;

/// SPIFFE-ID section 2.3.
const SPIFFE_ID_LIMIT_BYTES: usize = 2048;

/// SPIFFE-ID section 2.1.
const TRUST_DOMAIN_LIMIT_BYTES: usize = 255;

/// Reads a leaf. The names are only as good as the verification that the caller has done or will do.
pub(super) fn read(leaf: &[u8]) -> Result<CertificateFacts, Reason> {
    let (rest, certificate) = X509Certificate::from_der(leaf).map_err(|_| Reason::CertificateMalformed)?;
    if !rest.is_empty() {
        return Err(Reason::CertificateMalformed);
    }
    let names = certificate.subject_alternative_name().map_err(|_| Reason::CertificateMalformed)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let mut dns = Vec::new();
    let mut uris = Vec::new();
    for name in names {
        match name {
            // Names of hosts have no case (RFC 4343); policy compares bytes.
            GeneralName::DNSName(name) => dns.push(name.to_ascii_lowercase()),
            GeneralName::URI(uri) => uris.push(*uri),
            _ => {}
        }
    }
    let claims_spiffe = |uri: &&str| uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"));
    let spiffe = if uris.iter().any(claims_spiffe) {
        match uris.as_slice() {
            [id] if is_spiffe_id(id) && may_be_svid(&certificate)? => Some((*id).to_owned()),
            _ => return Err(Reason::CertificateName),
        }
    } else {
        None
    };
    let subject = distinguished_name(certificate.subject());
    if spiffe.is_none() && dns.is_empty() && subject.is_empty() {
        return Err(Reason::CertificateName);
    }
    let sum = digest::digest(&digest::SHA256, leaf);
    let fingerprint = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(CertificateFacts { spiffe, dns, subject, fingerprint, not_after: certificate.validity().not_after.timestamp() })
}

/// The facts of a caller who showed only a certificate.
pub(super) fn facts(certificate: &Arc<CertificateFacts>) -> Facts {
    let subject = certificate.spiffe.as_deref().or(certificate.dns.first().map(String::as_str));
    Facts {
        method: Method::Mtls,
        issuer: Arc::from(Method::Mtls.name()),
        subject: Arc::from(subject.unwrap_or(&certificate.subject)),
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        certificate: Some(certificate.clone()),
        client_binding: None,
        doubts: Doubts::default(),
        expires_unix_seconds: certificate.not_after,
    }
}

/// X.509-SVID sections 4.1, 4.3 and 5.2: a leaf that signs nothing but handshakes.
fn may_be_svid(certificate: &X509Certificate<'_>) -> Result<bool, Reason> {
    let constraints = certificate.basic_constraints().map_err(|_| Reason::CertificateMalformed)?;
    let usage = certificate.key_usage().map_err(|_| Reason::CertificateMalformed)?;
    let leaf = !constraints.is_some_and(|extension| extension.value.ca);
    let signs_no_certificates = usage.is_none_or(|extension| {
        let usage = extension.value;
        usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign()
    });
    Ok(leaf && signs_no_certificates)
}

/// SPIFFE-ID section 2: scheme and trust domain in lower case, a path of plain segments, nothing else. A
/// trust domain's own ID (without a path) names a bundle and no workload (X.509-SVID section 5.2).
pub(super) fn is_spiffe_id(id: &str) -> bool {
    let Some(rest) = id.strip_prefix("spiffe://") else { return false };
    let Some((domain, path)) = rest.split_once('/') else { return false };
    let in_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(in_path);
    id.len() <= SPIFFE_ID_LIMIT_BYTES
        && !domain.is_empty()
        && domain.len() <= TRUST_DOMAIN_LIMIT_BYTES
        && domain.bytes().all(in_domain)
        && path.split('/').all(segment)
}

/// RFC 4514: most specific first, separators escaped.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|relative| {
            let attributes = relative.iter().map(|attribute| {
                let oid = attribute.attr_type();
                let kind = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
                match attribute.as_str() {
                    Ok(value) => format!("{kind}={}", escaped(value)),
                    Err(_) => format!("{kind}=#{}", hexadecimal(attribute.as_slice())),
                }
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// RFC 4514 section 2.4; control characters as bytes, so that a name stays on its line.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (place, character) in value.chars().enumerate() {
        let at_edge = (character == ' ' && (place == 0 || place == last)) || (character == '#' && place == 0);
        if character.is_control() {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                text.push_str(&format!("\\{byte:02X}"));
            }
        } else if at_edge || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
            text.push(character);
        } else {
            text.push(character);
        }
    }
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
