//! The backends of one snapshot.
//!
//! What it does: opens each one's endpoints, and keeps those of the snapshot before that verify and connect alike. What it
//! refuses to know: which app's data goes where. Invariant: a backend's place in the list is its number.

use std::sync::Arc;

use super::snapshot::SnapshotFault;
use super::{BackendSettings, Snapshot};
use crate::apps::BackendNames;
use crate::forward::{Backend, UpstreamSettings};
use crate::profiles::Profile;
use crate::route::Upstream;

/// One backend: its kind, and its endpoints.
pub struct BackendEndpoints {
    pub name: Arc<str>,
    pub profile: Arc<Profile>,
    ingest: Option<Arc<Backend>>,
    grpc: Option<Arc<Backend>>,
    query: Option<Arc<Backend>>,
    collector: Option<Arc<Backend>>,
    logs: Option<Arc<Backend>>,
}

impl BackendEndpoints {
    /// `None` only for what no listener serves.
    pub(crate) fn endpoint(&self, upstream: Upstream) -> Option<&Arc<Backend>> {
        match upstream {
            Upstream::Ingest => self.ingest.as_ref(),
            Upstream::Grpc => self.grpc.as_ref().or(self.ingest.as_ref()),
            Upstream::Query => self.query.as_ref(),
            Upstream::Collector => self.collector.as_ref().or(self.ingest.as_ref()),
            Upstream::Logs => self.logs.as_ref().or(self.ingest.as_ref()),
        }
    }
}

/// Opens all, in their order. Must run within the runtime.
pub(super) fn open(
    settings: &[BackendSettings],
    names: &BackendNames,
    previous: Option<&Snapshot>,
    faults: &mut Vec<SnapshotFault>,
) -> Vec<BackendEndpoints> {
    let opened = settings.iter().map(|one| {
        let mut open = |upstream: Upstream, settings: &Option<UpstreamSettings>| {
            let fresh = Backend::open(settings.as_ref()?);
            let fresh = fresh
                .map_err(|cause| {
                    let name = match names.are_several() {
                        true => format!("{} of backend {}", upstream.name(), one.name),
                        false => upstream.name().to_owned(),
                    };
                    faults.push(SnapshotFault::Backend { name, cause });
                })
                .ok()?;
            // One that verifies alike keeps its connections, whatever it is called.
            let known = previous.into_iter().flat_map(|snapshot| &snapshot.backends);
            let kept = known
                .filter_map(|known| known.endpoint(upstream))
                .find(|kept| kept.is_same_as(&fresh));
            Some(kept.cloned().unwrap_or(fresh))
        };
        BackendEndpoints {
            ingest: open(Upstream::Ingest, &one.upstreams.ingest),
            grpc: open(Upstream::Grpc, &one.upstreams.grpc),
            query: open(Upstream::Query, &one.upstreams.query),
            collector: open(Upstream::Collector, &one.upstreams.collector),
            logs: open(Upstream::Logs, &one.upstreams.logs),
            name: one.name.clone(),
            profile: one.profile.clone(),
        }
    });
    opened.collect()
}
