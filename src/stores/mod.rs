//! Stores of secrets that are asked over the network: HashiCorp Vault, and what speaks as it does.
//!
//! What it does: finds a secret's versions in a store, logs in there and stays logged in, and keeps on a shelf what was had
//! last. What it refuses to know: whose secrets they are, what they are tried with, and when a new one counts. Invariants: a
//! store is never asked for a call's sake; what the shelf has stays there while a store is away, until it is stale; no fault
//! and no message holds a secret, or the words of a store about one.

mod fault;
mod kv2;
mod login;
mod reference;
mod settings;
mod shelf;
#[cfg(test)]
mod tests;

pub(crate) use fault::{OpenStoreFault, StoreFault};
pub(crate) use kv2::Kv2;
pub use reference::{CredentialRef, StoredRef};
pub(crate) use reference::{is_field, is_store_path};
pub use settings::{AwsLogin, StoreLogin, StoreSettings};
pub(crate) use shelf::{Shelf, ShelfEntry, ShelfState};

use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::secret::Secret;

/// One version of a secret in its store.
#[derive(Clone, Debug)]
pub(crate) struct SecretVersion {
    /// The store's own number.
    pub(crate) number: u64,
    pub(crate) secret: Arc<Secret>,
}

/// What a store has of one secret.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// The newest, or the one that is asked for.
    pub(crate) current: SecretVersion,
    /// The one before, while the store still has it.
    pub(crate) previous: Option<SecretVersion>,
}

/// Where secrets are asked for.
#[async_trait::async_trait]
pub(crate) trait SecretStore: Send + Sync {
    /// The versions of one secret; `None`: the newest is still `known`.
    async fn fetch(
        &self,
        reference: &StoredRef,
        known: Option<u64>,
        now: UnixMillis,
    ) -> Result<Option<Versions>, StoreFault>;
}
