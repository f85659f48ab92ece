//! Proofs of possession (RFC 9449): a call shows that its sender holds the key that its token is bound to.
//!
//! What it does: judges one proof against the token beside it, the call that it came with, and the time; demands and gives
//! nonces; lets no proof pass twice. What it refuses to know: tokens, policy, how answers are written. Invariants: a proof
//! counts for one call; the token has been judged before, so that a caller without one makes nothing grow; a proof is about
//! the operator's own name for the listener; a nonce is given only to who holds token and key.

mod address;
mod key;
mod nonce;
mod proof;

#[cfg(test)]
mod tests;

pub(super) use key::Thumbprint;
pub use nonce::{Nonce, NonceKeyFault};

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::accept::{PresentedProof, ProofLines};
use crate::clock::UnixMillis;
use crate::reason::Reason;

use super::login::Memory;
use super::settings::{DpopSettings, ProofReplay};
use nonce::{NonceKeys, NonceState};
use proof::Proof;

/// The longest proof that is looked at, in bytes. Those of RSA keys of 8192 bits have some 4000.
const PROOF_LIMIT_BYTES: usize = 8 << 10;

/// How old a proof may be, by its own word and without leeway, in seconds.
pub(super) const PROOF_LIFETIME_SECONDS: i64 = 60;

/// What is needed to judge proofs.
pub(super) struct Possession {
    settings: DpopSettings,
    nonces: Arc<NonceKeys>,
    memory: Arc<Memory>,
}

/// A proof that does not hold, and the nonce that the next one needs.
#[derive(Debug)]
pub(super) struct RefusedProof {
    pub reason: Reason,
    pub nonce: Option<Nonce>,
}

impl From<Reason> for RefusedProof {
    fn from(reason: Reason) -> Self {
        RefusedProof {
            reason,
            nonce: None,
        }
    }
}

/// What a proof says of itself; nothing of it is compared with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadProof {
    /// The key's thumbprint (RFC 7638), in base64url.
    pub thumbprint: String,
    /// `htm`.
    pub method: String,
    /// Whether its own key signed it.
    pub is_signed: bool,
    /// Whether `htu` means the address that was given.
    pub is_about: bool,
}

impl ReadProof {
    /// Reads the line of a header as a call's proof is read (RFC 9449 section 4.3), and compares `htu` with `address`, an
    /// absolute URL. Errors: `proof_malformed`, and `proof_key` for a key that does not count.
    pub fn read(line: &[u8], address: &str) -> Result<ReadProof, Reason> {
        if line.len() > PROOF_LIMIT_BYTES {
            return Err(Reason::ProofMalformed);
        }
        let proof = Proof::parse(line)?;
        Ok(ReadProof {
            thumbprint: proof.thumbprint.text(),
            is_signed: proof.holds(),
            is_about: address::is_same(&proof.address, address),
            method: proof.method,
        })
    }
}

/// Whether two absolute URLs are one address to proofs: equal after RFC 3986 sections 6.2.2 and 6.2.3, without queries and
/// fragments.
pub fn is_same_address(one: &str, other: &str) -> bool {
    address::is_same(one, other)
}

/// The token that a proof has to be about.
pub(super) struct BoundToken<'a> {
    pub bytes: &'a [u8],
    /// The key that it is bound to.
    pub key: &'a Thumbprint,
    /// Of its issuer.
    pub leeway: Duration,
    /// The identity that it gives, by issuer and subject: all its proofs share one room, whatever keys they are of.
    pub issuer: &'a str,
    pub subject: &'a str,
}

impl BoundToken<'_> {
    /// The holder's place among all.
    fn holder(&self) -> [u8; 32] {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&(self.issuer.len() as u64).to_be_bytes());
        hash.update(self.issuer.as_bytes());
        hash.update(self.subject.as_bytes());
        let mut sum = [0; 32];
        sum.copy_from_slice(hash.finish().as_ref());
        sum
    }
}

impl Possession {
    /// Reads the keys. Without any, the one of `previous` is kept, so that a reload spoils no nonce.
    pub(super) fn open(
        settings: &DpopSettings,
        memory: Arc<Memory>,
        previous: Option<&Possession>,
    ) -> Result<Self, Vec<NonceKeyFault>> {
        let has_none = |of: &DpopSettings| of.keys.is_empty();
        let nonces = match previous {
            Some(before) if has_none(settings) && has_none(&before.settings) => {
                before.nonces.clone()
            }
            before => {
                let before = before.map(|before| &*before.nonces);
                Arc::new(NonceKeys::read(&settings.keys, before)?)
            }
        };
        Ok(Possession {
            settings: settings.clone(),
            nonces,
            memory,
        })
    }

    /// Judges the proof that came with a token which holds, in the order of RFC 9449 section 4.3 but for the key, which is
    /// compared before anything is computed with it. The nonce is for the sender's next call.
    pub(super) fn judge(
        &self,
        presented: &PresentedProof,
        token: &BoundToken<'_>,
        now: UnixMillis,
    ) -> Result<Option<Nonce>, RefusedProof> {
        let line = match &presented.lines {
            ProofLines::One(line) => line.as_bytes(),
            ProofLines::None => return Err(Reason::ProofMissing.into()),
            ProofLines::Several => return Err(Reason::ProofMalformed.into()),
        };
        let url = presented.url.as_deref().ok_or(Reason::ProofAddress)?;
        if line.len() > PROOF_LIMIT_BYTES {
            return Err(Reason::ProofMalformed.into());
        }
        let proof = Proof::parse(line)?;
        if proof.thumbprint != *token.key {
            return Err(Reason::ProofKey.into());
        }
        if !proof.holds() {
            return Err(Reason::ProofSignature.into());
        }
        if proof.method != presented.method.as_str() || !address::is_same(&proof.address, url) {
            return Err(Reason::ProofRequest.into());
        }
        if proof.token_hash.as_deref() != Some(&*token_hash(token.bytes)) {
            return Err(Reason::ProofToken.into());
        }
        let until = proof.judge_time(token.leeway, now)?;
        self.demand_nonce(&proof, now)?;
        let share = self
            .memory
            .proofs
            .get(proof.thumbprint.share(self.memory.proofs.len()));
        let (holder, id) = (token.holder(), proof.once());
        let is_first = share.is_some_and(|used| used.add(&holder, &id, until, now.seconds()));
        if !is_first {
            return Err(Reason::ProofReplayed.into());
        }
        Ok(self.next(&proof.thumbprint, now))
    }

    /// A proof without a nonce of ours that is good now hears which one to use.
    fn demand_nonce(&self, proof: &Proof<'_>, now: UnixMillis) -> Result<(), RefusedProof> {
        let shown = proof.nonce.as_deref();
        let state = shown.map(|nonce| self.nonces.state(nonce, &proof.thumbprint, now));
        let is_good = match (state, self.settings.replay) {
            (Some(NonceState::Ours), _) => true,
            // A replica shares keys, and not what it has seen.
            (Some(NonceState::OfReplica), replay) => replay == ProofReplay::Local,
            (Some(NonceState::Bad), _) => false,
            (None, _) => !self.settings.needs_nonce(),
        };
        if is_good {
            return Ok(());
        }
        // Without a nonce to give, the caller could do nothing about it.
        let nonce = self.nonces.give(&proof.thumbprint, now);
        let reason = match nonce {
            Some(_) => Reason::ProofNonce,
            None => Reason::ProofNonceUnsealed,
        };
        Err(RefusedProof { reason, nonce })
    }

    fn next(&self, key: &Thumbprint, now: UnixMillis) -> Option<Nonce> {
        self.settings
            .needs_nonce()
            .then(|| self.nonces.give(key, now))
            .flatten()
    }
}

/// `ath` (RFC 9449 section 4.2).
fn token_hash(token: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token))
}
