//! What is known of a request, for all who work on it.
//!
//! What it does: carries the snapshot that a request is judged by, where it came in, and the caller that memory is taken
//! for. What it refuses to know: the framework, what is found out. Invariants: nothing in it changes; one snapshot serves a
//! request from beginning to end; it holds no token.

use std::sync::Arc;

use crate::accept::Arrival;
use crate::clock::UnixMillis;
use crate::identify::Facts;
use crate::limits::Account;
use crate::state::{Shared, Snapshot};

/// One request, as it is read.
#[derive(Clone)]
pub(crate) struct RequestContext {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    arrival: Arrival,
    account: Account,
    began_at: UnixMillis,
}

impl RequestContext {
    /// Before its caller is known: memory is taken for its address.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        snapshot: &Arc<Snapshot>,
        arrival: Arrival,
        began_at: UnixMillis,
    ) -> Self {
        let account = arrival.account(&shared.budget);
        RequestContext {
            shared: shared.clone(),
            snapshot: snapshot.clone(),
            arrival,
            account,
            began_at,
        }
    }

    /// The same of a proven caller: memory is taken for it.
    pub(crate) fn proven(&self, facts: &Facts) -> Self {
        let account = self
            .account
            .proven((facts.method, &facts.issuer, &facts.subject));
        RequestContext {
            account,
            ..self.clone()
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(crate) fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// The caller that memory is taken for: its address, and its identity once that is proven.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// When the request's head had come.
    pub(crate) fn now(&self) -> UnixMillis {
        self.began_at
    }
}
