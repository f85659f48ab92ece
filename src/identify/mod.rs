//! The second room: a `Caller`'s evidence becomes an `Identity`, or a rejection.
//!
//! What it does: asks each method in turn; each answers not presented, verified or rejected, and a
//! rejection ends the search. What it refuses to know: policy, apps, projects.
//! Invariants: `Identity` has one mint (`Identity::mint`, private to this room); a missing key set is
//! "unavailable", never "rejected"; the cache never outlives its evidence.

mod facts;
mod settings;

pub use facts::{CertificateFacts, Facts, Method};
pub use settings::{IssuerSettings, KeySource};

use std::sync::Arc;

/// Proof that somebody is who they say. Private field, no `Clone`, minted only in this room.
#[derive(Debug)]
pub struct Identity {
    facts: Arc<Facts>,
}

impl Identity {
    /// The one mint of identities.
    fn mint(facts: Arc<Facts>) -> Self {
        Identity { facts }
    }

    /// What was proven.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}
