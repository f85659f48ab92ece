//! Where a backend's credential is kept: here, or in a store.
//!
//! What it does: names a secret's place. What it refuses to know: the secret, and which store it is. Invariant: a path is
//! plain segments, so that it can stand in a URL as it is.

use std::fmt;

use crate::secret::SecretRef;

/// The longest path, field or mount.
const NAME_LIMIT_BYTES: usize = 255;

/// A secret in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredRef {
    /// Below the mount.
    pub path: String,
    /// Which of the secret's fields.
    pub field: String,
    /// This version and no other; `None`: the newest.
    pub version: Option<u64>,
}

impl fmt::Display for StoredRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "vault `{}` field `{}`", self.path, self.field)?;
        match self.version {
            Some(version) => write!(formatter, " version {version}"),
            None => Ok(()),
        }
    }
}

/// Where a credential of the backend is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CredentialRef {
    /// In a file or a variable.
    Here(SecretRef),
    Stored(StoredRef),
}

impl fmt::Display for CredentialRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialRef::Here(reference) => reference.fmt(formatter),
            CredentialRef::Stored(reference) => reference.fmt(formatter),
        }
    }
}

/// Whether this can be a path in a store, or a mount: segments of letters, digits and `-_.`, apart by `/`.
pub(crate) fn is_store_path(text: &str) -> bool {
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.len() <= NAME_LIMIT_BYTES && text.split('/').all(is_segment)
}

/// Whether this can be a field's name.
pub(crate) fn is_field(text: &str) -> bool {
    (1..=NAME_LIMIT_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}
