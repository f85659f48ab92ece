//! The digest of a client token, as the configuration has it.
//!
//! What it does: reads and writes it, and compares. What it refuses to know: whose token it is.

use aws_lc_rs::digest;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// SHA-256 of a whole client token, prefix included.
///
/// A plain digest, neither salted nor slow: those are for passwords, which people choose and others can
/// guess. A token of 174 random bits cannot be found from its digest, nor met twice (NIST SP 800-63B-4
/// section 3.1.2.2 asks salting and iteration of secrets below 112 bits only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientTokenHash([u8; 32]);

impl ClientTokenHash {
    /// Of a token as it is presented.
    pub fn of(token: &[u8]) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        ClientTokenHash(sum)
    }

    /// `sha256:` and 64 hexadecimal digits, as the configuration has it.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?;
        let sum = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
        sum.try_into().ok().map(ClientTokenHash)
    }
}

impl std::fmt::Display for ClientTokenHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "sha256:{}", HEXLOWER.encode_display(&self.0))
    }
}
