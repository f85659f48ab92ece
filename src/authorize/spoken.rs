//! Which of a caller's facts made bindings speak of it.
//!
//! What it does: finds, among all that is known of a caller, the groups, claims and names by which subjects of the policy match. What it
//! refuses to know: what a binding gives, and who is told. Invariants: a fact that no subject asks for is not among them; with
//! issuer, method and subject they make the same bindings speak of the caller again; there are at most `MOST_FACTS`.

use std::sync::Arc;

use serde_json::Value;

use super::Policy;
use super::subject::{ClaimValue, Subject};
use crate::identify::Facts;

/// What one record may hold; a caller that more facts speak of is told by the first.
const MOST_FACTS: usize = 16;

/// Of a caller's facts those by which bindings speak of it, besides issuer, method and subject. Texts are the caller's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpokenFacts {
    pub groups: Vec<String>,
    /// The claim's path as the policy writes it, and the text that it holds.
    pub claims: Vec<(Arc<str>, String)>,
    /// Of a certificate that came along with a token, or by which the subject was named otherwise.
    pub spiffe: Option<String>,
    pub dns: Vec<String>,
    pub x509_subject: Option<String>,
    /// Whether there are more.
    pub is_cut: bool,
}

impl SpokenFacts {
    pub(crate) fn is_empty(&self) -> bool {
        *self == SpokenFacts::default()
    }

    fn has_room(&mut self) -> bool {
        let held = self.groups.len() + self.claims.len() + self.dns.len();
        let has_room = held < MOST_FACTS;
        self.is_cut |= !has_room;
        has_room
    }

    fn add(&mut self, subject: &Subject, facts: &Facts) {
        if let Some(group) = &subject.group
            && !self.groups.contains(group)
            && self.has_room()
        {
            self.groups.push(group.clone());
        }
        for (path, value) in &subject.claims {
            let Some(held) = held(value, path.get(&facts.claims)) else {
                continue;
            };
            let is_known = |(known, text): &(Arc<str>, String)| {
                **known == *path.as_str() && text.as_str() == held
            };
            if !self.claims.iter().any(is_known) && self.has_room() {
                self.claims.push((path.as_str().into(), held.to_owned()));
            }
        }
        // The subject says it already where it is the SPIFFE ID.
        if subject.spiffe.is_some()
            && let Some(id) = facts.spiffe_id().filter(|id| *id != &*facts.subject)
        {
            self.spiffe = Some(id.to_owned());
        }
        let Some(certificate) = &facts.certificate else {
            return;
        };
        if let Some(glob) = &subject.dns {
            let names = certificate.dns.iter();
            for name in names.filter(|name| super::subject::matches_host(glob, name)) {
                let is_told = **name == *facts.subject || self.dns.contains(name);
                if !is_told && self.has_room() {
                    self.dns.push(name.clone());
                }
            }
        }
        if subject.x509_subject.is_some() && certificate.subject != *facts.subject {
            self.x509_subject = Some(certificate.subject.clone());
        }
    }
}

impl Policy {
    /// By what the bindings of these names speak of the caller; with none, by what any binding does: of a denial, what there was to
    /// decide on.
    pub(crate) fn spoken_facts(&self, facts: &Facts, deciding: &[Arc<str>]) -> SpokenFacts {
        let mut spoken = SpokenFacts::default();
        let is_asked = |name: &Arc<str>| deciding.is_empty() || deciding.contains(name);
        self.index.candidates(facts, |entry| {
            if !entry.subject.says_more() {
                return;
            }
            let binding = self
                .bindings
                .get(entry.binding as usize)
                .filter(|binding| is_asked(&binding.name));
            if binding.is_some_and(|binding| binding.reaches(&entry.subject, facts)) {
                spoken.add(&entry.subject, facts);
            }
        });
        spoken
    }
}

/// The text of a claim that has such a value.
fn held<'c>(value: &ClaimValue, claim: Option<&'c Value>) -> Option<&'c str> {
    match claim? {
        Value::String(held) => value.fits(held).then_some(held),
        Value::Array(held) => held
            .iter()
            .filter_map(Value::as_str)
            .find(|each| value.fits(each)),
        _ => None,
    }
}
