//! What a client certificate says of its holder.
//!
//! What it does: reads names, fingerprint and end out of a leaf, and the SPIFFE ID under the X.509-SVID
//! rules. What it refuses to know: which authority anchors the certificate, and TLS.
//! Invariants: a leaf that claims to be a SPIFFE identity is one by all rules or no identity at all; a
//! name comes from the subject alternative names before the subject (never from the common name alone), as the kind of
//! name that it is written as, and counts only if the authority may give it.

use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::doubts::Doubts;
use super::facts::{CertificateFacts, Facts, Method};
use super::revocation::serial_text;
use super::spiffe_id::{is_spiffe_id, is_trust_domain, trust_domain_of};
use crate::apps::Glob;
use crate::pem;
use crate::reason::Reason;

/// RFC 1034 section 3.1: of a whole name, and of one label.
const DNS_NAME_LIMIT_BYTES: usize = 253;
const DNS_LABEL_LIMIT_BYTES: usize = 63;

/// A leaf that can be decoded. Its names are only as good as the verification that the caller has done or will do.
pub(super) struct Leaf<'a> {
    certificate: X509Certificate<'a>,
    der: &'a [u8],
}

impl<'a> Leaf<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Reason> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| Reason::CertificateMalformed)?;
        if !rest.is_empty() || certificate.subject_alternative_name().is_err() {
            return Err(Reason::CertificateMalformed);
        }
        Ok(Leaf { certificate, der })
    }

    fn names(&self) -> &[GeneralName<'a>] {
        let names = self.certificate.subject_alternative_name().ok().flatten();
        names
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default()
    }

    fn uris(&self) -> impl Iterator<Item = &str> {
        self.names().iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
    }

    /// Whether it is meant as a SPIFFE identity, well or not.
    pub(crate) fn claims_svid(&self) -> bool {
        self.uris().any(|uri| {
            uri.get(..7)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))
        })
    }

    /// What it says of its holder, as far as its authority may say it: a SPIFFE ID of another's trust domain makes it no
    /// identity at all; another's DNS names do not count.
    pub(crate) fn facts(&self, authority: &AuthorityScope) -> Result<CertificateFacts, Reason> {
        let mut dns = Vec::new();
        let mut foreign = false;
        for name in self.names() {
            if let GeneralName::DNSName(name) = name {
                // Names of hosts have no case (RFC 4343); policy compares bytes.
                let name = name.to_ascii_lowercase();
                match host(&name) {
                    Some(DnsHost::Name) if authority.may_name(&name) => dns.push(name),
                    Some(DnsHost::Name) => foreign = true,
                    Some(DnsHost::Pattern) => {}
                    None => return Err(Reason::CertificateName),
                }
            }
        }
        let spiffe = match self.claims_svid() {
            true => Some(self.svid()?.to_owned()),
            false => self.may_handshake().map(|()| None)?,
        };
        let subject = distinguished_name(self.certificate.subject());
        let is_foreign = match &spiffe {
            Some(id) => !authority.may_issue(id),
            None => authority.svids_only,
        };
        if is_foreign {
            return Err(Reason::CertificateOutOfScope);
        }
        if spiffe.is_none() && dns.is_empty() && subject.is_empty() {
            return Err(if foreign {
                Reason::CertificateOutOfScope
            } else {
                Reason::CertificateName
            });
        }
        let validity = self.certificate.validity();
        let ca = authority.name.clone();
        Ok(CertificateFacts {
            ca,
            spiffe,
            dns,
            subject,
            fingerprint: fingerprint(self.der),
            serial: serial_text(self.certificate.raw_serial()),
            key: fingerprint(self.certificate.public_key().raw),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// The SPIFFE ID: the only URI, in a leaf that signs nothing but handshakes and says so in a critical extension
    /// (X.509-SVID sections 2, 4.1, 4.3 and 5.2).
    fn svid(&self) -> Result<&str, Reason> {
        let mut uris = self.uris();
        let (Some(id), None) = (uris.next(), uris.next()) else {
            return Err(Reason::CertificateName);
        };
        let constraints = self
            .certificate
            .basic_constraints()
            .map_err(|_| Reason::CertificateMalformed)?;
        let usage = self
            .certificate
            .key_usage()
            .map_err(|_| Reason::CertificateMalformed)?;
        let leaf = !constraints.is_some_and(|extension| extension.value.ca);
        let signs_handshakes_alone = usage.is_some_and(|extension| {
            let usage = extension.value;
            extension.critical
                && usage.digital_signature()
                && !usage.key_cert_sign()
                && !usage.crl_sign()
        });
        if is_spiffe_id(id) && leaf && signs_handshakes_alone {
            Ok(id)
        } else {
            Err(Reason::CertificateName)
        }
    }

    /// Of a leaf that is no SVID: if it says what its key is for, then to sign handshakes (RFC 5246 section 7.4.6, RFC
    /// 8446 section 4.4.2.2) and no certificates (RFC 5280 section 4.2.1.9).
    fn may_handshake(&self) -> Result<(), Reason> {
        let usage = self
            .certificate
            .key_usage()
            .map_err(|_| Reason::CertificateMalformed)?;
        match usage {
            Some(usage) if !usage.value.digital_signature() || usage.value.key_cert_sign() => {
                Err(Reason::CertificateUntrusted)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Which names an authority may give.
pub(super) struct AuthorityScope {
    pub name: Arc<str>,
    pub trust_domains: Vec<String>,
    pub dns: Vec<Glob>,
    /// Whether it vouches for SPIFFE IDs alone.
    pub svids_only: bool,
}

impl AuthorityScope {
    fn may_issue(&self, id: &str) -> bool {
        let domain = trust_domain_of(id);
        self.trust_domains.iter().any(|ours| domain == Some(ours))
    }

    fn may_name(&self, host: &str) -> bool {
        self.dns.iter().any(|glob| glob.matches(host))
    }
}

/// SHA-256 of a certificate's DER, lower-case hexadecimal.
pub(super) fn fingerprint(der: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, der).as_ref())
}

/// SHA-256 of a leaf's public key (`SubjectPublicKeyInfo`), as revocations name it, in lower-case hexadecimal.
pub(super) fn key_of(der: &[u8]) -> Result<String, Reason> {
    Leaf::parse(der).map(|leaf| fingerprint(leaf.certificate.public_key().raw))
}

/// The trust domain that a signing certificate names: its only URI, without a path (X.509-SVID sections 2 and 4.2). Of
/// several certificates, all must name the same.
pub(crate) fn own_trust_domain(text: &[u8]) -> Option<String> {
    let mut found: Option<String> = None;
    for certificate in pem::certificates(text).ok()? {
        let leaf = Leaf::parse(&certificate).ok()?;
        let mut uris = leaf.uris();
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return None;
        };
        let domain = uri
            .strip_prefix("spiffe://")
            .filter(|domain| is_trust_domain(domain))?;
        if found.as_deref().is_some_and(|known| known != domain) {
            return None;
        }
        found = Some(domain.to_owned());
    }
    found
}

/// What a signing certificate calls its authority: its subject and its URIs, by which authorities of SPIFFE trust domains
/// differ that all have one subject. One that has no name is its own.
pub(super) fn signing_name(der: &[u8]) -> Result<(Vec<u8>, Vec<String>), Reason> {
    let leaf = Leaf::parse(der)?;
    let subject = leaf.certificate.subject();
    let uris: Vec<String> = leaf.uris().map(str::to_owned).collect();
    let is_nameless = subject.iter_rdn().next().is_none() && uris.is_empty();
    Ok((
        if is_nameless {
            der.to_vec()
        } else {
            subject.as_raw().to_vec()
        },
        uris,
    ))
}

/// What a well-formed DNS name of a certificate stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DnsHost {
    Name,
    /// `*.example`: names many hosts, and so no caller.
    Pattern,
}

/// The syntax of RFC 5280 section 4.2.1.6 for a name in lower case, with the underscore that names in clusters have.
/// Anything else in a DNS name's place could be read as a name of another kind.
pub(super) fn host(name: &str) -> Option<DnsHost> {
    let inside = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    let label = |label: &str| {
        (1..=DNS_LABEL_LIMIT_BYTES).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let (kind, literal) = match name.strip_prefix("*.") {
        Some(rest) => (DnsHost::Pattern, rest),
        None => (DnsHost::Name, name),
    };
    (name.len() <= DNS_NAME_LIMIT_BYTES && literal.split('.').all(label)).then_some(kind)
}

/// The facts of a caller who showed only a certificate.
pub(super) fn facts(certificate: &Arc<CertificateFacts>) -> Facts {
    Facts {
        method: Method::Mtls,
        issuer: certificate.ca.clone(),
        subject: Arc::from(certificate.holder()),
        subject_claim: None,
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        certificate: Some(certificate.clone()),
        attributes: Vec::new(),
        client_binding: None,
        aws: None,
        doubts: Doubts::default(),
        expires_unix_seconds: certificate.not_after,
    }
}

/// RFC 4514: most specific first, separators escaped.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|relative| {
            let attributes = relative.iter().map(|attribute| {
                let oid = attribute.attr_type();
                let kind = oid2abbrev(oid, oid_registry())
                    .map_or_else(|_| oid.to_id_string(), str::to_owned);
                match attribute.as_str() {
                    Ok(value) => format!("{kind}={}", escaped(value)),
                    Err(_) => format!("{kind}=#{}", HEXLOWER.encode(attribute.as_slice())),
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
        let at_edge =
            (character == ' ' && (place == 0 || place == last)) || (character == '#' && place == 0);
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
