//! The names of an export's parts in the memory of what was taken.
//!
//! What it does: makes the digests of an export and of its parts, where something is remembered of an export like it or is
//! to be. What it refuses to know: what became of a part. Invariants: an export that is like none that is remembered, and
//! is not to be tried again, costs no digest; a name is made of the bytes that were read and those that are sent, whenever
//! it is made; what is kept for that are slices of both, which the caller's reservation counts.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::cut::PieceNames;
use super::part::{PartOutcome, PartResult};
use crate::clock::UnixMillis;
use crate::forward::Backend;
use crate::identify::Facts;
use crate::memory::{ExportDigest, Likeness, PartKey, PartScope, Remembered};
use crate::otlp::{Export, PartialSuccess, Signal};
use crate::state::Shared;
use crate::state::work;

/// Those of one export.
pub(crate) struct PartKeys<'a> {
    memory: &'a Remembered,
    sender: &'a Facts,
    signal: Signal,
    likeness: Likeness,
    /// The message as it was read.
    export: Bytes,
    is_large: bool,
    is_kept: bool,
    /// By place, of a part that has a name.
    parts: Vec<Option<Named>>,
    /// By place, once they are needed.
    keys: OnceLock<Vec<Option<PartKey>>>,
}

/// What a part's name is made of: where it goes, and its message before it is packed.
#[derive(Clone)]
struct Named {
    backend: Arc<Backend>,
    /// What it is called, where there are several.
    called: Option<Arc<str>>,
    project: String,
    message: Vec<Bytes>,
}

impl<'a> PartKeys<'a> {
    /// `parts`: how many there are. One alone is not to be remembered. If it fails, there is nothing that was taken. If it was
    /// taken and its caller left before it was told, a retry doubles it, as it would without a gateway: OTLP delivers at
    /// least once (specification, "Duplicate Data"). To prevent that would cost every small export two digests.
    pub(crate) fn new(
        shared: &'a Shared,
        sender: &'a Facts,
        signal: Signal,
        export: &Export,
        parts: usize,
        is_large: bool,
    ) -> Self {
        let memory = &shared.remembered;
        let export = export.body().clone();
        let likeness = memory.likeness(
            (sender.method, &sender.issuer, &sender.subject),
            signal,
            export.len(),
        );
        let is_kept = parts > 1 || memory.may_know(likeness);
        PartKeys {
            memory,
            sender,
            signal,
            likeness,
            export,
            is_large,
            is_kept,
            parts: Vec::new(),
            keys: OnceLock::new(),
        }
    }

    /// Keeps what the name of the part at this place is made of.
    pub(crate) fn keep(
        &mut self,
        place: usize,
        backend: &Arc<Backend>,
        called: Option<Arc<str>>,
        project: &str,
        message: &[Bytes],
    ) {
        if !self.is_kept {
            return;
        }
        if self.parts.len() <= place {
            self.parts.resize(place + 1, None);
        }
        if let Some(part) = self.parts.get_mut(place) {
            let (backend, project, message) =
                (backend.clone(), project.to_owned(), message.to_vec());
            *part = Some(Named {
                backend,
                called,
                project,
                message,
            });
        }
    }

    /// What the names of one part's pieces are made of.
    pub(crate) fn of_pieces(&self, backend: &Backend, called: &str, project: &str) -> PieceNames {
        let Facts {
            method,
            issuer,
            subject,
            ..
        } = self.sender;
        PieceNames {
            method: method.name(),
            issuer: issuer.to_string(),
            subject: subject.to_string(),
            upstream: backend.settings.address(),
            backend: called.to_owned(),
            project: project.to_owned(),
            signal: self.signal,
            likeness: self.likeness,
            sender: self.memory.sender((*method, issuer, subject)),
            export: self.export.clone(),
            digest: OnceLock::new(),
        }
    }

    /// The name of each part that may be known, in their order; none if none may be.
    pub(crate) fn known(&self) -> &[Option<PartKey>] {
        if self.memory.may_know(self.likeness) {
            self.all()
        } else {
            &[]
        }
    }

    /// Keeps in mind that parts were taken, each with what was said.
    pub(crate) fn remember<'s>(
        &self,
        taken: impl Iterator<Item = (usize, &'s Option<PartialSuccess>)>,
        until: UnixMillis,
        now: UnixMillis,
    ) {
        for (place, said) in taken {
            // Without a turn: to wait for one here could end the call before it is known what was taken.
            let keys = work::beside(self.is_large, || self.all());
            if let Some(key) = keys.get(place).copied().flatten() {
                self.memory.remember(key, said.clone(), until, now);
            }
        }
    }

    /// Keeps in mind what was taken of a part that was cut; not, where the whole part is.
    pub(crate) fn remember_pieces(
        &self,
        outcome: &PartOutcome,
        until: UnixMillis,
        now: UnixMillis,
    ) {
        let is_whole = matches!(
            outcome.fate,
            PartResult::Taken(_) | PartResult::Remembered(_)
        );
        for (key, said) in &outcome.keys {
            if is_whole && self.is_kept {
                self.memory.forget(key);
            } else {
                self.memory.remember(*key, said.clone(), until, now);
            }
        }
    }

    /// The export has been answered with success.
    pub(crate) fn forget(&self, outcomes: &[PartOutcome]) {
        if !self.memory.is_empty() {
            let pieces = outcomes.iter().flat_map(|outcome| &outcome.keys);
            pieces.for_each(|(key, _)| self.memory.forget(key));
        }
        if self.memory.may_know(self.likeness) {
            let keys = work::beside(self.is_large, || self.all());
            keys.iter()
                .flatten()
                .for_each(|key| self.memory.forget(key));
        }
    }

    fn all(&self) -> &[Option<PartKey>] {
        self.keys.get_or_init(|| {
            if self.parts.is_empty() {
                return Vec::new();
            }
            let Facts {
                method,
                issuer,
                subject,
                ..
            } = self.sender;
            let export = ExportDigest::of(&self.export);
            let sender = self.memory.sender((*method, issuer, subject));
            let key = |part: &Named| {
                let scope = PartScope {
                    method: method.name(),
                    issuer,
                    subject,
                    upstream: &part.backend.settings.address(),
                    backend: part.called.as_deref().unwrap_or_default(),
                    project: &part.project,
                    signal: self.signal,
                    export,
                    likeness: self.likeness,
                    sender,
                };
                PartKey::of_part(&scope, &part.message)
            };
            self.parts
                .iter()
                .map(|part| part.as_ref().map(key))
                .collect()
        })
    }
}
