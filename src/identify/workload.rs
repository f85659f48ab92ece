//! Bundles out of the Workload API.
//!
//! What it does: takes one trust domain's bundle out of what a socket gives. What it refuses to know: how the socket is asked,
//! and how a bundle is read. Invariant: while nothing new can come, it fails, so that what is kept ages and is told of.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::fetch::{Fetch, FetchError, FetchFault, Fetched};
use crate::workload_api::{JwtBundles, WorkloadAnswer, WorkloadFault, WorkloadFeed, X509Context};

/// For the first answer of a socket.
const FIRST: Duration = Duration::from_secs(5);

/// One trust domain's bundle, of one kind.
pub(super) struct WorkloadBundle<T> {
    feed: Arc<WorkloadFeed<T>>,
    trust_domain: String,
    /// The turns of the feed that were seen.
    seen: AtomicU64,
}

/// An answer that has bundles.
pub(super) trait HasBundles: WorkloadAnswer {
    fn bundle(&self, trust_domain: &str) -> Option<Bytes>;
}

impl HasBundles for X509Context {
    fn bundle(&self, trust_domain: &str) -> Option<Bytes> {
        self.bundles.get(trust_domain).cloned()
    }
}

impl HasBundles for JwtBundles {
    fn bundle(&self, trust_domain: &str) -> Option<Bytes> {
        self.0.get(trust_domain).cloned()
    }
}

impl<T: HasBundles> WorkloadBundle<T> {
    /// Must run within the runtime.
    pub(super) fn open(socket: &Path, trust_domain: &str) -> Self {
        WorkloadBundle {
            feed: WorkloadFeed::open(socket),
            trust_domain: trust_domain.to_owned(),
            seen: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl<T: HasBundles> Fetch for WorkloadBundle<T> {
    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let fault = |fault| FetchError::from(FetchFault::WorkloadApi(fault));
        if tokio::time::timeout(FIRST, self.feed.after(0))
            .await
            .is_err()
        {
            return Err(fault(WorkloadFault::TimedOut));
        }
        // Before what it has: what comes meanwhile is a change.
        self.seen.store(self.feed.turns(), Ordering::Relaxed);
        if let Some(found) = self.feed.fault() {
            return Err(fault(found));
        }
        let bundle = self
            .feed
            .last()
            .and_then(|last| last.bundle(&self.trust_domain));
        Ok(Fetched {
            document: bundle.ok_or_else(|| fault(WorkloadFault::NoBundle))?,
            max_age: None,
            host: "workload api".to_owned(),
        })
    }

    async fn changed(&self) {
        self.feed.after(self.seen.load(Ordering::Relaxed)).await;
    }
}
