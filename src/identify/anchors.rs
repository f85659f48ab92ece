//! The certificates at which paths end: an authority's own.
//!
//! What it does: takes them out of what an authority published (PEM, the bundle of a SPIFFE trust domain, DER), and says
//! which may sign others, and when. What it refuses to know: whose they are, where they came from, and which paths lead to them.
//! Invariants: a bundle's keys for tokens never become anchors; a set without an anchor is a fault and not an empty set;
//! one has the stamp of the one before only if it holds the same.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde_json::Value;
use webpki::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

use super::json;
use super::jwks::ReadSet;
use super::keys::{KEYS_LIMIT, KeySetFault};
use crate::workload_api::certificates;

/// The anchors of one authority.
pub(super) struct Anchors {
    stamp: u64,
    content: [u8; 32],
    anchors: Vec<TrustAnchor<'static>>,
    /// Of each anchor: `notBefore` and `notAfter`, Unix seconds.
    validity: Vec<(i64, i64)>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableAuthority {
    /// It may not sign certificates.
    #[error("{0}")]
    NoSigner(&'static str),
    #[error(transparent)]
    NoAnchor(Error),
}

impl Anchors {
    /// All of these, or what is wrong with the first that is none.
    pub(super) fn all(certificates: &[CertificateDer<'_>]) -> Result<Self, UnusableAuthority> {
        let mut read = Vec::with_capacity(certificates.len());
        for certificate in certificates {
            read.push(anchor(certificate)?);
        }
        Ok(Self::of(certificates.iter().map(AsRef::as_ref), read))
    }

    /// Those of a bundle in SPIFFE's form (SPIFFE Trust Domain and Bundle section 4.2): keys with `use: x509-svid`, of which
    /// `x5c` holds one certificate. What is none is left out.
    pub(super) fn of_bundle(document: &[u8]) -> Result<Self, KeySetFault> {
        let mut document = json::object(document).ok_or(KeySetFault::Malformed)?;
        let Some(Value::Array(entries)) = document.remove("keys") else {
            return Err(KeySetFault::Malformed);
        };
        if entries.len() > KEYS_LIMIT {
            return Err(KeySetFault::TooMany);
        }
        if !entries.iter().all(Value::is_object) {
            return Err(KeySetFault::Malformed);
        }
        Self::usable(entries.iter().filter_map(bundled_certificate).collect())
    }

    /// Those of the certificates that stand behind each other, as the Workload API has them.
    pub(super) fn of_der(document: &[u8]) -> Result<Self, KeySetFault> {
        let certificates = certificates(document).ok_or(KeySetFault::Malformed)?;
        Self::usable(certificates.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Those of these that can be anchors.
    pub(super) fn usable(certificates: Vec<Vec<u8>>) -> Result<Self, KeySetFault> {
        if certificates.len() > KEYS_LIMIT {
            return Err(KeySetFault::TooMany);
        }
        let (mut kept, mut read) = (Vec::new(), Vec::new());
        for certificate in certificates {
            if let Ok(found) = anchor(&CertificateDer::from(certificate.as_slice())) {
                kept.push(certificate);
                read.push(found);
            }
        }
        if kept.is_empty() {
            return Err(KeySetFault::NoUsableKey);
        }
        Ok(Self::of(kept.iter().map(Vec::as_slice), read))
    }

    fn of<'a>(
        certificates: impl Iterator<Item = &'a [u8]>,
        read: Vec<(TrustAnchor<'static>, (i64, i64))>,
    ) -> Self {
        static STAMPS: AtomicU64 = AtomicU64::new(1);
        let mut digests: Vec<_> = certificates
            .map(|certificate| digest::digest(&digest::SHA256, certificate))
            .collect();
        digests.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        let mut hash = digest::Context::new(&digest::SHA256);
        digests.iter().for_each(|one| hash.update(one.as_ref()));
        let mut content = [0; 32];
        content.copy_from_slice(hash.finish().as_ref());
        let (anchors, validity) = read.into_iter().unzip();
        Anchors {
            stamp: STAMPS.fetch_add(1, Ordering::Relaxed),
            content,
            anchors,
            validity,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    pub(super) fn list(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// An anchor that was renewed has the same name and key as before: only its place tells which one was used.
    pub(super) fn validity_of(&self, anchor: &TrustAnchor<'_>) -> Option<(i64, i64)> {
        let address = std::ptr::from_ref(anchor).addr();
        let place = self
            .anchors
            .iter()
            .position(|ours| std::ptr::from_ref(ours).addr() == address)?;
        self.validity.get(place).copied()
    }
}

impl ReadSet for Anchors {
    fn stamp(&self) -> u64 {
        self.stamp
    }

    fn len(&self) -> usize {
        self.anchors.len()
    }

    fn continuing(mut self, previous: Option<&Self>) -> Self {
        if let Some(previous) = previous.filter(|previous| previous.content == self.content) {
            self.stamp = previous.stamp;
        }
        self
    }
}

/// Whether a bundle holds certificates for X.509-SVIDs, or what is wrong with it.
pub(crate) fn bundled_anchors(document: &[u8]) -> Result<(), &'static str> {
    match Anchors::of_bundle(document) {
        Ok(_) => Ok(()),
        Err(KeySetFault::Malformed) => Err("is no bundle that can be read without doubt"),
        Err(KeySetFault::TooMany) => Err("holds too many keys"),
        Err(KeySetFault::NoUsableKey) => {
            Err("holds no certificate that is an authority (`x5c` of one entry)")
        }
    }
}

/// The certificate of a bundle's key that is for X.509-SVIDs.
fn bundled_certificate(key: &Value) -> Option<Vec<u8>> {
    if key.get("use")? != "x509-svid" {
        return None;
    }
    match key.get("x5c")?.as_array()?.as_slice() {
        [Value::String(only)] => STANDARD.decode(only).ok(),
        _ => None,
    }
}

fn anchor(
    certificate: &CertificateDer<'_>,
) -> Result<(TrustAnchor<'static>, (i64, i64)), UnusableAuthority> {
    let validity =
        signer(certificate, KeyUsageRule::IfPresent).map_err(UnusableAuthority::NoSigner)?;
    let anchor =
        webpki::anchor_from_trusted_cert(certificate).map_err(UnusableAuthority::NoAnchor)?;
    Ok((anchor.to_owned(), validity))
}

/// Whether a certificate that signs must have the key usage extension, or must only not contradict it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyUsageRule {
    IfPresent,
    Required,
}

/// Validity of a certificate that may sign others, or why it may not (RFC 5280 section 6.1.4 (k) and (n)).
pub(super) fn signer(certificate: &[u8], rule: KeyUsageRule) -> Result<(i64, i64), &'static str> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| "it cannot be decoded")?;
    let constraints = certificate
        .basic_constraints()
        .map_err(|_| "its basic constraints cannot be decoded")?;
    // Version 1 knows no extensions; the path builder takes it for anchors alone.
    if certificate.version() != X509Version::V1
        && !constraints.is_some_and(|extension| extension.value.ca)
    {
        return Err("its basic constraints do not say that it is an authority");
    }
    let usage = certificate
        .key_usage()
        .map_err(|_| "its key usage cannot be decoded")?;
    match usage {
        Some(usage) if !usage.value.key_cert_sign() => {
            return Err("its key usage does not allow it to sign certificates");
        }
        None if rule == KeyUsageRule::Required => {
            return Err("it does not say what its key may be used for");
        }
        Some(_) | None => {}
    }
    let validity = certificate.validity();
    Ok((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}
