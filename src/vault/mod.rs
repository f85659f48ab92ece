//! The fifth room: a permit and a route become a lease on one credential.
//!
//! What it does: keeps the backend's tokens and keys, current and overlapping, and lends one for one
//! request. What it refuses to know: who calls, and what is in the body.
//! Invariants: no permit, no credential; `Lease` has one mint; a secret is read again only on reload.

mod settings;

pub use settings::{ApiKeys, ProjectSecrets, VaultSettings};
