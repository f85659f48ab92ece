//! The Workload API's messages.
//!
//! What it does: takes certificates, keys and bundles out of them. What it refuses to know: where they came from, and what is
//! trusted for what. Invariants: a message is read whole or not at all; lists are bounded; a certificate without its
//! key is no certificate of ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use super::WorkloadFault;
use crate::otlp::Cursor;

/// Identities of one process, trust domains, and certificates in a chain.
const SVIDS_LIMIT: usize = 64;
const BUNDLES_LIMIT: usize = 1024;
const CHAIN_LIMIT: usize = 100;

/// `X509SVIDResponse`: who this process is, and whose certificates it may trust.
pub(crate) struct X509Context {
    /// The first of its identities: the default one (SPIFFE Workload API section 5.2.1).
    pub own: Option<CurrentSvid>,
    /// Trust domains' own certificates, DER behind DER.
    pub bundles: BTreeMap<String, Bytes>,
}

/// A certificate of this process.
pub(crate) struct CurrentSvid {
    pub key: Arc<CertifiedKey>,
    /// Unix seconds.
    pub not_after: i64,
}

/// `JWTBundlesResponse`: trust domains' keys for tokens, each a JWKS.
pub(crate) struct JwtBundles(pub BTreeMap<String, Bytes>);

pub(super) fn x509_context(message: &[u8]) -> Result<X509Context, WorkloadFault> {
    let mut context = X509Context {
        own: None,
        bundles: BTreeMap::new(),
    };
    let mut svids = 0;
    let mut fields = Cursor::new(message);
    while let Some(field) = fields.field().map_err(|_| WorkloadFault::Malformed)? {
        match field.number {
            1 => {
                svids += 1;
                if svids > SVIDS_LIMIT {
                    return Err(WorkloadFault::TooLarge);
                }
                let svid = Svid::read(field.bytes().map_err(|_| WorkloadFault::Malformed)?)?;
                if svids == 1 {
                    context.own = Some(svid.own()?);
                }
                let domain = domain(&svid.id).ok_or(WorkloadFault::Malformed)?;
                context
                    .bundles
                    .insert(domain, Bytes::copy_from_slice(svid.bundle));
            }
            3 => entry(
                field.bytes().map_err(|_| WorkloadFault::Malformed)?,
                &mut context.bundles,
            )?,
            _ => {}
        }
    }
    Ok(context)
}

pub(super) fn jwt_bundles(message: &[u8]) -> Result<JwtBundles, WorkloadFault> {
    let mut bundles = BTreeMap::new();
    let mut fields = Cursor::new(message);
    while let Some(field) = fields.field().map_err(|_| WorkloadFault::Malformed)? {
        if field.number == 1 {
            entry(
                field.bytes().map_err(|_| WorkloadFault::Malformed)?,
                &mut bundles,
            )?;
        }
    }
    Ok(JwtBundles(bundles))
}

/// `X509SVID`.
struct Svid<'a> {
    id: String,
    chain: &'a [u8],
    key: &'a [u8],
    bundle: &'a [u8],
}

impl<'a> Svid<'a> {
    fn read(message: &'a [u8]) -> Result<Self, WorkloadFault> {
        let mut svid = Svid {
            id: String::new(),
            chain: &[],
            key: &[],
            bundle: &[],
        };
        let mut fields = Cursor::new(message);
        while let Some(field) = fields.field().map_err(|_| WorkloadFault::Malformed)? {
            let bytes = || field.bytes().map_err(|_| WorkloadFault::Malformed);
            match field.number {
                1 => svid.id = String::from_utf8_lossy(bytes()?).into_owned(),
                2 => svid.chain = bytes()?,
                3 => svid.key = bytes()?,
                4 => svid.bundle = bytes()?,
                _ => {}
            }
        }
        Ok(svid)
    }

    fn own(&self) -> Result<CurrentSvid, WorkloadFault> {
        let chain = certificates(self.chain).ok_or(WorkloadFault::Malformed)?;
        let leaf = chain.first().ok_or(WorkloadFault::Malformed)?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| WorkloadFault::Malformed)?;
        let not_after = leaf.validity().not_after.timestamp();
        let chain = chain.iter().map(|one| CertificateDer::from(one.to_vec()));
        let key = Zeroizing::new(self.key.to_vec());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let signer = provider.key_provider.load_private_key(key.clone_key());
        let signer = signer.map_err(|_| WorkloadFault::Malformed)?;
        let key = CertifiedKey::new(chain.collect(), signer);
        key.keys_match().map_err(|_| WorkloadFault::Malformed)?;
        Ok(CurrentSvid {
            key: Arc::new(key),
            not_after,
        })
    }
}

/// An entry of `map<string, bytes>`: a trust domain's ID, and its bundle.
fn entry(message: &[u8], bundles: &mut BTreeMap<String, Bytes>) -> Result<(), WorkloadFault> {
    let (mut name, mut bundle) = (None, Bytes::new());
    let mut fields = Cursor::new(message);
    while let Some(field) = fields.field().map_err(|_| WorkloadFault::Malformed)? {
        let bytes = || field.bytes().map_err(|_| WorkloadFault::Malformed);
        match field.number {
            1 => name = domain(&String::from_utf8_lossy(bytes()?)),
            2 => bundle = Bytes::copy_from_slice(bytes()?),
            _ => {}
        }
    }
    if bundles.len() >= BUNDLES_LIMIT {
        return Err(WorkloadFault::TooLarge);
    }
    bundles.insert(name.ok_or(WorkloadFault::Malformed)?, bundle);
    Ok(())
}

/// The trust domain of an ID, of a workload's or its own.
fn domain(id: &str) -> Option<String> {
    let rest = id.strip_prefix("spiffe://").unwrap_or(id);
    let domain = rest.split('/').next().filter(|domain| !domain.is_empty());
    domain.map(str::to_owned)
}

/// Certificates that stand behind each other; `None` where something else does.
pub(crate) fn certificates(mut der: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (rest, _) = X509Certificate::from_der(der).ok()?;
        let (one, behind) = der.split_at_checked(der.len().checked_sub(rest.len())?)?;
        found.push(one);
        der = behind;
        if found.len() > CHAIN_LIMIT {
            return None;
        }
    }
    Some(found)
}
