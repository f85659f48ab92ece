//! Our own credential must never come back.
//!
//! What it does: masks a secret in bytes that pass in pieces. What it refuses to know: what the bytes mean.
//! Invariants: lengths do not change; a secret that is split over pieces is found; what is held back is
//! shorter than the secret.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::secret::Secret;

/// Whether `bytes` hold the secret.
pub fn holds(bytes: &[u8], secret: &Secret) -> bool {
    memmem::find(bytes, secret.expose()).is_some()
}

/// Watches one body.
pub struct Canary {
    secret: Arc<Secret>,
    /// The end of the last piece, if a secret may begin there.
    kept: BytesMut,
    sung: bool,
}

impl Canary {
    pub fn new(secret: Arc<Secret>) -> Self {
        Canary { secret, kept: BytesMut::new(), sung: false }
    }

    /// Whether the secret was seen.
    pub fn has_sung(&self) -> bool {
        self.sung
    }

    /// Takes the next piece and gives what may pass now.
    pub fn pass(&mut self, piece: Option<Bytes>, end: bool) -> Option<Bytes> {
        let secret = self.secret.expose();
        let piece = piece.unwrap_or_default();
        if self.kept.is_empty() && memmem::find(&piece, secret).is_none() {
            let tail = if end { 0 } else { suspicious_tail(&piece, secret) };
            if tail == 0 {
                return Some(piece);
            }
        }
        let mut whole = std::mem::take(&mut self.kept);
        whole.extend_from_slice(&piece);
        let mut from = 0;
        while let Some(found) = whole.get(from..).and_then(|rest| memmem::find(rest, secret)) {
            self.sung = true;
            let at = from + found;
            if let Some(place) = whole.get_mut(at..at + secret.len()) {
                place.fill(b'*');
            }
            from = at + secret.len();
        }
        let tail = if end { 0 } else { suspicious_tail(&whole, secret) };
        self.kept = whole.split_off(whole.len() - tail);
        Some(whole.freeze())
    }
}

/// How many of the last bytes could be the beginning of the secret.
fn suspicious_tail(bytes: &[u8], secret: &[u8]) -> usize {
    let longest = bytes.len().min(secret.len().saturating_sub(1));
    (1..=longest).rev().find(|length| secret.get(..*length) == bytes.get(bytes.len() - length..)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Scenario: a body with secrets in it, cut anywhere. Guarantees: nothing of it comes out but
        /// its length, and a body without it comes out as it was.
        #[test]
        fn a_secret_never_passes_however_it_is_cut(
            text in "(aab|a|b|x){0,40}",
            cuts in proptest::collection::vec(1_usize..7, 1..60),
        ) {
            let secret = Arc::new(Secret::new(b"aaab".to_vec()).unwrap());
            let mut canary = Canary::new(secret.clone());
            let mut out = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                out.extend_from_slice(&canary.pass(Some(Bytes::copy_from_slice(piece)), false).unwrap_or_default());
                rest = left;
            }
            out.extend_from_slice(&canary.pass(Some(Bytes::copy_from_slice(rest)), false).unwrap_or_default());
            out.extend_from_slice(&canary.pass(None, true).unwrap_or_default());
            assert_eq!(out.len(), text.len());
            assert!(!holds(&out, &secret));
            assert_eq!(canary.has_sung(), text.contains("aaab"));
            if !text.contains("aaab") {
                assert_eq!(out, text.as_bytes());
            }
        }
    }
}
