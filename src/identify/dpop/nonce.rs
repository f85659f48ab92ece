//! Nonces that no server has to remember (RFC 9449 section 9).
//!
//! What it does: seals the time and the replica to one key's thumbprint, and opens it again. What it refuses to know: proofs,
//! what a nonce is good for. Invariants: a nonce opens for the thumbprint that it was given to, for a minute, and under a key
//! of this configuration; the keys are derived from the session keys for this alone (RFC 5869), so that nothing that is
//! sealed here opens as a session; AES-GCM-SIV (RFC 8452), because random nonces of plain GCM do not last for as many seals
//! as calls may ask for.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce as SealNonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::clock::UnixMillis;
use crate::secret::{SecretRef, UnreadableSecret};

use super::super::login::session_key_bytes;
use super::key::Thumbprint;

/// How long a nonce is good, in seconds.
const LIFETIME_SECONDS: i64 = 60;

/// By how much the clock of another replica may be ahead, in seconds.
const CLOCK_SKEW_SECONDS: i64 = 30;

/// The form of what is sealed, authenticated with it.
const VERSION: u8 = 1;

const KEY_ID_BYTES: usize = 4;
const KEY_BYTES: usize = 32;
const REPLICA_BYTES: usize = 8;

/// The longest nonce that is looked at, in bytes. Ours have 76.
const TEXT_LIMIT_BYTES: usize = 128;

/// A nonce for the sender's next proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(String);

/// What a nonce that was shown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NonceState {
    /// Of this process.
    Ours,
    /// Of another process with the same keys, or of an earlier one.
    OfReplica,
    /// Forged, too old, of another key, or sealed under keys that are gone.
    Bad,
}

/// What is wrong with a key that nonces are to be sealed with.
#[derive(Debug, thiserror::Error)]
pub enum NonceKeyFault {
    #[error("a key for the nonces of proofs")]
    Unreadable(#[from] UnreadableSecret),
    #[error("a key for the nonces of proofs: {0} is no key of 32 bytes in base64 or hexadecimal")]
    Unusable(SecretRef),
    #[error("the machine gives no random bytes")]
    NoRandomness,
}

/// The keys, first the one that seals, and who seals.
pub(super) struct NonceKeys {
    keys: Vec<NonceKey>,
    /// Unlike any other process's.
    replica: [u8; REPLICA_BYTES],
}

struct NonceKey {
    id: [u8; KEY_ID_BYTES],
    key: RandomizedNonceKey,
}

impl NonceKeys {
    /// Reads the keys; without any, one of this process's own is made. `previous`: of the same process.
    pub(super) fn read(
        references: &[SecretRef],
        previous: Option<&NonceKeys>,
    ) -> Result<Self, Vec<NonceKeyFault>> {
        let mut replica = [0; REPLICA_BYTES];
        match previous {
            Some(previous) => replica = previous.replica,
            None => rand::fill(&mut replica).map_err(|_| vec![NonceKeyFault::NoRandomness])?,
        }
        let mut keys = Vec::with_capacity(references.len().max(1));
        let mut faults = Vec::new();
        for reference in references {
            match NonceKey::read(reference) {
                Ok(key) => keys.push(key),
                Err(fault) => faults.push(fault),
            }
        }
        if references.is_empty() {
            let mut own = Zeroizing::new([0; KEY_BYTES]);
            rand::fill(own.as_mut_slice()).map_err(|_| vec![NonceKeyFault::NoRandomness])?;
            keys.extend(NonceKey::derived(own.as_slice()));
        }
        if faults.is_empty() {
            Ok(NonceKeys { keys, replica })
        } else {
            Err(faults)
        }
    }

    /// A nonce for the holder of a key. `None`: the machine gives no random bytes.
    pub(super) fn give(&self, to: &Thumbprint, now: UnixMillis) -> Option<Nonce> {
        let first = self.keys.first()?;
        let mut sealed = [&now.seconds().to_be_bytes()[..], &self.replica].concat();
        let nonce = first
            .key
            .seal_in_place_append_tag(Aad::from(bound(to)), &mut sealed)
            .ok()?;
        let whole = [&[VERSION][..], &first.id, nonce.as_ref(), &sealed].concat();
        Some(Nonce(URL_SAFE_NO_PAD.encode(whole)))
    }

    /// What a nonce is that the holder of a key shows.
    pub(super) fn state(&self, text: &str, shown_by: &Thumbprint, now: UnixMillis) -> NonceState {
        match self.opened(text, shown_by) {
            Some((given, replica)) => {
                let age = now.seconds().saturating_sub(given);
                match (-CLOCK_SKEW_SECONDS..=LIFETIME_SECONDS).contains(&age) {
                    false => NonceState::Bad,
                    true if replica == self.replica => NonceState::Ours,
                    true => NonceState::OfReplica,
                }
            }
            None => NonceState::Bad,
        }
    }

    /// When a nonce was given, and by which process.
    fn opened(&self, text: &str, to: &Thumbprint) -> Option<(i64, [u8; REPLICA_BYTES])> {
        if text.len() > TEXT_LIMIT_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_at_checked(KEY_ID_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let mut with_id = self.keys.iter().filter(|key| key.id == id);
        let key = with_id.next().filter(|_| *version == VERSION)?;
        let mut buffer = sealed.to_vec();
        let nonce = SealNonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = key
            .key
            .open_in_place(nonce, Aad::from(bound(to)), &mut buffer)
            .ok()?;
        let (given, replica) = plain.split_first_chunk::<8>()?;
        Some((
            i64::from_be_bytes(*given),
            <[u8; REPLICA_BYTES]>::try_from(replica).ok()?,
        ))
    }
}

impl NonceKey {
    fn read(reference: &SecretRef) -> Result<Self, NonceKeyFault> {
        let secret = reference.open()?;
        let unusable = || NonceKeyFault::Unusable(reference.clone());
        let bytes = session_key_bytes(&secret).ok_or_else(unusable)?;
        NonceKey::derived(&bytes).ok_or_else(unusable)
    }

    /// The key for nonces that belongs to a key of another use.
    fn derived(bytes: &[u8]) -> Option<Self> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"lightkeeper");
        let extracted = salt.extract(bytes);
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        let info = [&b"nonces of dpop proofs, 1"[..]];
        let expanded = extracted.expand(&info, hkdf::HKDF_SHA256).ok()?;
        expanded.fill(derived.as_mut_slice()).ok()?;
        let sum = digest::digest(&digest::SHA256, derived.as_slice());
        Some(NonceKey {
            id: sum.as_ref().first_chunk().copied()?,
            key: RandomizedNonceKey::new(&AES_256_GCM_SIV, derived.as_slice()).ok()?,
        })
    }
}

/// What is authenticated with a nonce.
fn bound(to: &Thumbprint) -> [u8; 33] {
    let mut bound = [VERSION; 33];
    let (_, rest) = bound.split_at_mut(1);
    rest.copy_from_slice(to.bytes());
    bound
}

impl Nonce {
    /// As the header `dpop-nonce` has it.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}
