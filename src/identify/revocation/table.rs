//! Revocations, to be found by what a proof says of itself.
//!
//! What it does: keeps one mark for each issuer, kind and value, and looks values up without a copy. What it refuses to know:
//! where a revocation comes from, and how many there may be. Invariant: two revocations of one value come to what ends more.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Revocation, RevocationKind};

#[derive(Default)]
pub(super) struct RevocationTable {
    issuers: HashMap<Arc<str>, ByKind, ahash::RandomState>,
    entries: usize,
}

type ValueMarks = HashMap<Arc<str>, RevokedMark, ahash::RandomState>;

#[derive(Default)]
struct ByKind {
    tokens: ValueMarks,
    subjects: ValueMarks,
    accounts: ValueMarks,
    accounts_without_session: ValueMarks,
    emails: ValueMarks,
    sessions: ValueMarks,
    accounts_in_session: ValueMarks,
    emails_in_session: ValueMarks,
    serials: ValueMarks,
    keys: ValueMarks,
}

/// What a proof says of itself, by kind.
pub(super) struct MarkedProof<'a> {
    pub issuer: &'a str,
    pub marks: &'a [(RevocationKind, Option<&'a str>)],
    /// Unix seconds.
    pub issued: Option<i64>,
}

/// What is revoked of one value.
#[derive(Clone, Copy)]
struct RevokedMark {
    /// `i64::MAX`: whenever the proof was issued.
    issued_before: i64,
    until: i64,
}

impl RevocationTable {
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// The second until which a value is revoked, whatever is revoked of it.
    pub(super) fn until(&self, of: &Revocation) -> Option<i64> {
        let marks = self.issuers.get(&of.issuer)?.of(of.kind);
        marks.get(&of.value).map(|mark| mark.until)
    }

    /// Adds a revocation to what is known of its value. Whether that changed anything.
    pub(super) fn put(&mut self, revocation: &Revocation) -> bool {
        let by_kind = self.issuers.entry(revocation.issuer.clone()).or_default();
        let marks = by_kind.of_mut(revocation.kind);
        let fresh = RevokedMark {
            issued_before: revocation.issued_before.unwrap_or(i64::MAX),
            until: revocation.until,
        };
        match marks.get_mut(&revocation.value) {
            None => {
                marks.insert(revocation.value.clone(), fresh);
                self.entries += 1;
                true
            }
            Some(known) => {
                let (before, until) = (known.issued_before, known.until);
                known.issued_before = before.max(fresh.issued_before);
                known.until = until.max(fresh.until);
                (before, until) != (known.issued_before, known.until)
            }
        }
    }

    pub(super) fn remove(&mut self, issuer: &str, kind: RevocationKind, value: &str) {
        let Some(by_kind) = self.issuers.get_mut(issuer) else {
            return;
        };
        if by_kind.of_mut(kind).remove(value).is_some() {
            self.entries = self.entries.saturating_sub(1);
        }
    }

    /// Whether any of the proof's values is revoked; one that does not say when it was issued counts as old.
    pub(super) fn covers(&self, proof: &MarkedProof<'_>, now: i64) -> bool {
        let Some(by_kind) = self.issuers.get(proof.issuer) else {
            return false;
        };
        proof.marks.iter().any(|(kind, value)| {
            let known = value.and_then(|value| by_kind.of(*kind).get(value));
            known.is_some_and(|known| {
                let is_old = proof
                    .issued
                    .is_none_or(|issued| issued < known.issued_before);
                now < known.until && is_old
            })
        })
    }
}

impl ByKind {
    fn of(&self, kind: RevocationKind) -> &ValueMarks {
        match kind {
            RevocationKind::Token => &self.tokens,
            RevocationKind::Subject => &self.subjects,
            RevocationKind::Account => &self.accounts,
            RevocationKind::AccountWithoutSession => &self.accounts_without_session,
            RevocationKind::Email => &self.emails,
            RevocationKind::Session => &self.sessions,
            RevocationKind::AccountInSession => &self.accounts_in_session,
            RevocationKind::EmailInSession => &self.emails_in_session,
            RevocationKind::Serial => &self.serials,
            RevocationKind::Key => &self.keys,
        }
    }

    fn of_mut(&mut self, kind: RevocationKind) -> &mut ValueMarks {
        match kind {
            RevocationKind::Token => &mut self.tokens,
            RevocationKind::Subject => &mut self.subjects,
            RevocationKind::Account => &mut self.accounts,
            RevocationKind::AccountWithoutSession => &mut self.accounts_without_session,
            RevocationKind::Email => &mut self.emails,
            RevocationKind::Session => &mut self.sessions,
            RevocationKind::AccountInSession => &mut self.accounts_in_session,
            RevocationKind::EmailInSession => &mut self.emails_in_session,
            RevocationKind::Serial => &mut self.serials,
            RevocationKind::Key => &mut self.keys,
        }
    }
}
