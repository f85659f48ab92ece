//! Secrets, and how they are read.
//!
//! What it does: holds a credential in memory that is wiped when dropped, and reads one from a file or
//! the environment. What it refuses to know: what the secret is for, and how to print it.
//! Invariants: `Secret` has no `Display`, `Clone` or `Serialize`, its `Debug` shows nothing, and
//! `expose` is its only reader; an empty or unprintable secret is refused when it is read.
//! What is empty is no secret, and only where none is wanted.

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::document::{self, ReadFault};

/// The largest secret that is read, in bytes: far above any token, small enough to be no burden.
pub(crate) const SECRET_LIMIT_BYTES: u64 = 16 * 1024;

/// A credential. Wiped from memory when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl Secret {
    /// Takes the bytes over. Refuses an empty secret and one with bytes that no HTTP header value can
    /// carry (RFC 9110 section 5.5), so that placing it can never fail later.
    pub fn new(bytes: Vec<u8>) -> Result<Self, SecretFault> {
        let bytes = Zeroizing::new(bytes);
        if bytes.is_empty() {
            return Err(SecretFault::Empty);
        }
        if bytes.iter().any(|byte| !(0x21..=0x7e).contains(byte)) {
            return Err(SecretFault::Unprintable);
        }
        Ok(Secret(bytes))
    }

    /// Takes over what a place holds. One trailing line end is dropped, as editors and Kubernetes leave one.
    pub(crate) fn of_text(mut bytes: Vec<u8>) -> Result<Self, SecretFault> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Secret::new(bytes)
    }

    /// None: what a backend gets that wants no credential.
    fn unwanted() -> Self {
        Secret(Zeroizing::default())
    }

    /// Whether there is none.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself. Grep for this name to see every place that reads one.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The first 8 hexadecimal digits of the SHA-256, for records that must tell two secrets apart
    /// without showing either.
    pub fn fingerprint(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.0);
        HEXLOWER.encode(digest.as_ref().get(..4).unwrap_or_default())
    }
}

/// Where a secret is kept. A literal is not among the choices on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretRef {
    File(PathBuf),
    Env(String),
    /// Nowhere: none is wanted. No configuration can say so; a backend's profile does.
    Unwanted,
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretRef::File(path) => write!(formatter, "file `{}`", path.display()),
            SecretRef::Env(name) => write!(formatter, "environment variable `{name}`"),
            SecretRef::Unwanted => formatter.write_str("none"),
        }
    }
}

/// Why a secret cannot be had, as the end of a sentence about its place. Never holds the secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    #[error("is empty")]
    Empty,
    #[error("holds bytes other than printable ASCII, which no header can carry")]
    Unprintable,
    #[error("is larger than {} bytes", SECRET_LIMIT_BYTES)]
    TooLarge,
    #[error("is not a file")]
    NotAFile,
    #[error("cannot be read: {0}")]
    Unreadable(std::io::ErrorKind),
    #[error("is not set")]
    NotSet,
}

/// A secret that cannot be had, with where it should be. Never holds the secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reference} {fault}")]
pub struct UnreadableSecret {
    pub(crate) reference: SecretRef,
    pub(crate) fault: SecretFault,
}

impl SecretRef {
    /// Reads the secret now. The fault names the reference.
    pub(crate) fn open(&self) -> Result<Secret, UnreadableSecret> {
        self.read().map_err(|fault| UnreadableSecret {
            reference: self.clone(),
            fault,
        })
    }

    /// Reads the secret now.
    pub fn read(&self) -> Result<Secret, SecretFault> {
        let bytes = match self {
            SecretRef::File(path) => match document::read(path, SECRET_LIMIT_BYTES) {
                Ok(mut bytes) => std::mem::take(&mut *bytes),
                Err(ReadFault::TooLarge) => return Err(SecretFault::TooLarge),
                Err(ReadFault::NotAFile) => return Err(SecretFault::NotAFile),
                Err(ReadFault::Unreadable(kind)) => return Err(SecretFault::Unreadable(kind)),
            },
            SecretRef::Env(name) => match std::env::var(name) {
                Ok(value) => value.into_bytes(),
                Err(std::env::VarError::NotPresent) => return Err(SecretFault::NotSet),
                Err(std::env::VarError::NotUnicode(_)) => return Err(SecretFault::Unprintable),
            },
            SecretRef::Unwanted => return Ok(Secret::unwanted()),
        };
        Secret::of_text(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new(b"canary-7f3a".to_vec()).unwrap();
        assert!(!format!("{secret:?}").contains("canary"));
        assert!(!secret.fingerprint().contains("canary"));
    }

    #[test]
    fn a_secret_that_no_header_can_carry_is_refused() {
        for (bytes, fault) in [
            (&b""[..], SecretFault::Empty),
            (b"a b", SecretFault::Unprintable),
            (b"a\nb", SecretFault::Unprintable),
            (b"\xff", SecretFault::Unprintable),
        ] {
            assert_eq!(Secret::new(bytes.to_vec()).unwrap_err(), fault);
        }
    }

    #[test]
    fn a_file_loses_one_line_end_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (text, expected) in [
            ("abc\n", Some("abc")),
            ("abc\r\n", Some("abc")),
            ("abc\n\n", None),
            ("\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = SecretRef::File(path.clone()).read();
            assert_eq!(
                read.ok().map(|secret| secret.expose().to_vec()),
                expected.map(|text| text.as_bytes().to_vec())
            );
        }
    }
}
