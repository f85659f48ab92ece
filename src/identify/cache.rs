//! Tokens that were verified a moment ago.
//!
//! What it does: remembers facts under a digest of the whole token and of the certificate that came with
//! it. What it refuses to know: how a token is verified. Invariants: only verified tokens enter, so
//! strangers make nothing grow; the token itself is not kept; an entry is used only before its token
//! expires and only while its issuer, under the same settings, still has the keys that verified it; a proof of possession is
//! never part of what is remembered.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use moka::sync::Cache;

use super::dpop::Thumbprint;
use super::facts::{CertificateFacts, Facts};
use crate::accept::AssertionHeader;

/// All entries together, by their estimated size.
const TOKENS_LIMIT_BYTES: u64 = 128 << 20;

/// An unused entry is dropped after this long. Most tokens live no longer.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// SHA-256 over what the judgement rests on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Evidence([u8; 32]);

/// The first byte of what is hashed: what one form makes is never what the other makes.
const WHOLE: u8 = 0;
const BESIDE: u8 = 1;

impl Evidence {
    /// `certificate`: what the verified leaf says. It is part of the key because bound tokens are judged together with
    /// it, and because the facts hold it: the same leaf may say less under another authority, or after a reload. `header`:
    /// where a proxy's assertion stood, because the same token may be refused there, or elsewhere. First bytes keep the
    /// forms apart.
    pub(super) fn of(
        token: &[u8],
        header: Option<&AssertionHeader>,
        certificate: Option<&CertificateFacts>,
    ) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&[WHOLE]);
        let header = header.map_or("", AssertionHeader::as_str);
        hash.update(&(header.len() as u64).to_be_bytes());
        hash.update(header.as_bytes());
        match certificate {
            Some(certificate) => {
                hash.update(&[1, u8::from(certificate.spiffe.is_some())]);
                hash.update(&(certificate.dns.len() as u64).to_be_bytes());
                let names = certificate
                    .spiffe
                    .iter()
                    .chain(&certificate.dns)
                    .map(String::as_str);
                for text in [&*certificate.ca, &certificate.fingerprint]
                    .into_iter()
                    .chain(names)
                {
                    hash.update(&(text.len() as u64).to_be_bytes());
                    hash.update(text.as_bytes());
                }
            }
            None => hash.update(&[0]),
        }
        hash.update(token);
        let mut sum = [0; 32];
        sum.copy_from_slice(hash.finish().as_ref());
        Evidence(sum)
    }
}

impl Evidence {
    /// As good as any other: the bytes of a digest are spread evenly.
    pub(super) fn first_byte(&self) -> u8 {
        let [first, ..] = self.0;
        first
    }

    /// The same beside a leaf that no authority vouches for: a token may be bound to it.
    pub(super) fn beside(self, fingerprint: &str) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&[BESIDE]);
        hash.update(&self.0);
        hash.update(fingerprint.as_bytes());
        let mut sum = [0; 32];
        sum.copy_from_slice(hash.finish().as_ref());
        Evidence(sum)
    }
}

/// A judgement and what it depends on.
pub(super) struct RememberedJudgement {
    pub facts: Arc<Facts>,
    /// The key whose proof every call with the token needs anew.
    pub key: Option<Thumbprint>,
    pub issuer: u64,
    pub stamp: u64,
    /// Unix seconds.
    pub(crate) refused_from: i64,
    pub token_bytes: usize,
}

/// The store; shared by successive configurations.
#[derive(Clone)]
pub(super) struct TokenCache(Cache<Evidence, Arc<RememberedJudgement>, ahash::RandomState>);

impl TokenCache {
    pub(super) fn new() -> Self {
        let cache = Cache::builder()
            .weigher(|_, entry: &Arc<RememberedJudgement>| {
                // Parsed claims take about four times their base64url text; the rest is our own structures.
                u32::try_from(entry.token_bytes * 4 + 512).unwrap_or(u32::MAX)
            })
            .max_capacity(TOKENS_LIMIT_BYTES)
            .time_to_idle(IDLE_LIMIT)
            .build_with_hasher(ahash::RandomState::new());
        TokenCache(cache)
    }

    pub(super) fn find(&self, evidence: &Evidence) -> Option<Arc<RememberedJudgement>> {
        self.0.get(evidence)
    }

    pub(super) fn remember(&self, evidence: Evidence, entry: RememberedJudgement) {
        self.0.insert(evidence, Arc::new(entry));
    }

    pub(super) fn forget(&self, evidence: &Evidence) {
        self.0.invalidate(evidence);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}
