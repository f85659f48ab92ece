//! No credential of the vault's comes back.
//!
//! What it does: blanks the vault's credentials in bodies, leaves out head values that hold one, and raises the alarm. What
//! it refuses to know: how they are found, and what an answer means. Invariants: what a caller is given was looked
//! through with the credentials of the call's own snapshot and with those of the present one; an alarm names no credential
//! but by its digest; every answer that held one is counted, and `event_rate` bounds the events.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::forward::{Answer, GrpcAnswer};
use crate::state::{Shared, Snapshot};
use crate::vault::{Finds, Owner};

/// Looks through one answer. Dropped, it raises the alarm for what it found.
pub(crate) struct EchoGuard<'a> {
    shared: &'a Shared,
    snapshot: &'a Snapshot,
    /// The present snapshot, if another took over since the call began: it may hold a newer token.
    present: Option<Arc<Snapshot>>,
    /// What was asked, for the alarm.
    operation: &'a str,
    /// The project whose access tokens this caller may read.
    shown: Option<&'a str>,
    /// By digest: the project.
    found: BTreeMap<String, Option<Arc<str>>>,
}

impl<'a> EchoGuard<'a> {
    pub(crate) fn new(shared: &'a Shared, snapshot: &'a Snapshot, operation: &'a str) -> Self {
        let present = shared.snapshot.load_full();
        let present = (!std::ptr::eq(&*present, snapshot)).then_some(present);
        EchoGuard {
            shared,
            snapshot,
            present,
            operation,
            shown: None,
            found: BTreeMap::new(),
        }
    }

    /// Lets the access tokens of this project pass.
    pub(crate) fn showing(mut self, project: Option<&'a str>) -> Self {
        self.shown = project;
        self
    }

    /// A body without them, of the same length.
    pub(crate) fn body(&mut self, body: Bytes) -> Bytes {
        self.blanked(&body).map_or(body, Bytes::from)
    }

    /// Leaves out the values that hold one.
    pub(crate) fn headers(&mut self, headers: &mut HeaderMap) {
        let holding =
            |value: &HeaderValue, guard: &mut Self| guard.blanked(value.as_bytes()).is_some();
        let names: Vec<HeaderName> = headers
            .iter()
            .filter(|(_, value)| holding(value, self))
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().for_each(|name| drop(headers.remove(name)));
    }

    /// The whole of an HTTP answer.
    pub(crate) fn answer(&mut self, answer: &mut Answer) {
        self.headers(&mut answer.headers);
        answer.body = self.body(std::mem::take(&mut answer.body));
    }

    /// The whole of a gRPC answer.
    pub(crate) fn grpc(&mut self, answer: &mut GrpcAnswer) {
        self.headers(&mut answer.headers);
        answer
            .trailers
            .iter_mut()
            .for_each(|trailers| self.headers(trailers));
        answer.body = self.body(std::mem::take(&mut answer.body));
    }

    fn blanked(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let mut blanked: Option<Vec<u8>> = None;
        for snapshot in [Some(self.snapshot), self.present.as_deref()]
            .into_iter()
            .flatten()
        {
            let search = snapshot.vault.search();
            let finds = search.find(blanked.as_deref().unwrap_or(text), self.shown);
            if !finds.is_empty() {
                note(&mut self.found, &finds);
                blanked = Some(finds.blank(blanked.as_deref().unwrap_or(text)));
            }
        }
        blanked
    }
}

fn note(found: &mut BTreeMap<String, Option<Arc<str>>>, finds: &Finds<'_>) {
    for Owner {
        fingerprint,
        project,
        ..
    } in finds.owners()
    {
        found.insert(fingerprint.clone(), project.clone());
    }
}

impl Drop for EchoGuard<'_> {
    fn drop(&mut self) {
        for (fingerprint, project) in std::mem::take(&mut self.found) {
            let project = project.as_deref().unwrap_or("none");
            self.shared
                .credential_echoed(project, &fingerprint, self.operation);
        }
    }
}
