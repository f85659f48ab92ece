//! From a caller to the few subjects that may speak of them.
//!
//! What it does: files each subject under its most telling field, and hands out what is filed under a caller's fields.
//! What it refuses to know: permissions, apps, time. Invariant: every subject that matches a caller is among those
//! handed out (a test compares with looking at all); those handed out still have to be compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::subject::{ClaimValue, IssuerName, Subject};
use crate::apps::{Glob, Prefixes};
use crate::identify::{ClaimPath, Facts, Method};

/// A subject and the number of the binding that it belongs to.
#[derive(Debug)]
pub(crate) struct IndexEntry {
    pub binding: u32,
    pub subject: Subject,
}

/// All subjects of a policy.
#[derive(Debug, Default)]
pub(crate) struct SubjectIndex {
    any: Vec<IndexEntry>,
    certificates: FiledSubjects,
    client_tokens: FiledSubjects,
    /// What names an ARN and no issuer.
    aws: FiledSubjects,
    issuers: ahash::HashMap<Arc<str>, FiledSubjects>,
}

type Exact = ahash::HashMap<String, Vec<IndexEntry>>;

/// The subjects of one issuer (or of AWS, of certificates, and of SPIFFE IDs without one), each filed once, under the first of these
/// that it names.
#[derive(Debug, Default)]
struct FiledSubjects {
    groups: Exact,
    subjects: Exact,
    claims: BTreeMap<ClaimPath, Exact>,
    hosts: Exact,
    names: Exact,
    spiffe: Prefixes<IndexEntry>,
    globs: Prefixes<IndexEntry>,
    rest: Vec<IndexEntry>,
}

impl SubjectIndex {
    pub(crate) fn build(entries: Vec<IndexEntry>) -> Self {
        let mut index = SubjectIndex::default();
        for entry in entries {
            if entry.subject.any {
                index.any.push(entry);
                continue;
            }
            match &entry.subject.issuer {
                Some(IssuerName::Oidc(issuer)) => {
                    index.issuers.entry(issuer.clone()).or_default().file(entry)
                }
                Some(IssuerName::ClientTokens) => index.client_tokens.file(entry),
                None if entry.subject.aws.is_some() => index.aws.file(entry),
                Some(IssuerName::Mtls | IssuerName::Authority(_)) | None => {
                    index.certificates.file(entry)
                }
            }
        }
        index.certificates.settle();
        index.client_tokens.settle();
        index.aws.settle();
        index.issuers.values_mut().for_each(FiledSubjects::settle);
        index
    }

    /// Hands every entry that may match to `visit`; an entry may come more than once.
    pub(crate) fn candidates<'a>(&'a self, facts: &Facts, mut visit: impl FnMut(&'a IndexEntry)) {
        self.any.iter().for_each(&mut visit);
        let fields = match facts.method {
            Method::Mtls => Some(&self.certificates),
            Method::ClientToken => Some(&self.client_tokens),
            Method::JwtSvid => {
                // What names an ID and no issuer stands with the certificates.
                self.certificates.candidates_by_id(facts, &mut visit);
                self.issuers.get(&*facts.issuer)
            }
            Method::Oidc | Method::Assertion | Method::Introspection | Method::Session => {
                self.issuers.get(&*facts.issuer)
            }
            Method::Aws => {
                self.aws.candidates(facts, &mut visit);
                self.issuers.get(&*facts.issuer)
            }
            // No policy speaks of webhooks.
            Method::Webhook => None,
        };
        if let Some(fields) = fields {
            fields.candidates(facts, &mut visit);
        }
    }
}

impl FiledSubjects {
    fn file(&mut self, entry: IndexEntry) {
        let Subject {
            subject,
            group,
            claims,
            spiffe,
            dns,
            x509_subject,
            aws,
            ..
        } = &entry.subject;
        let literal = |glob: &Option<Glob>| {
            glob.as_ref()
                .filter(|glob| glob.is_literal())
                .map(|glob| glob.as_str().to_owned())
        };
        let exact_claim = claims.iter().find_map(|(path, value)| match value {
            ClaimValue::Is(value) => Some((path, value)),
            ClaimValue::Like(_) => None,
        });
        let slot = if let Some(subject) = literal(subject).or_else(|| literal(aws)) {
            self.subjects.entry(subject).or_default()
        } else if let Some(spiffe) = spiffe {
            self.spiffe.slot(spiffe.prefix())
        } else if let Some(host) = literal(dns) {
            self.hosts.entry(host).or_default()
        } else if let Some(name) = x509_subject {
            self.names.entry(name.clone()).or_default()
        } else if let Some(group) = group {
            self.groups.entry(group.clone()).or_default()
        } else if let Some((path, value)) = exact_claim {
            self.claims
                .entry(path.clone())
                .or_default()
                .entry(value.clone())
                .or_default()
        } else if let Some(glob) = subject.as_ref().or(aws.as_ref()) {
            self.globs.slot(glob.prefix())
        } else {
            &mut self.rest
        };
        slot.push(entry);
    }

    fn settle(&mut self) {
        self.spiffe.settle();
        self.globs.settle();
    }

    fn candidates<'a>(&'a self, facts: &Facts, visit: &mut impl FnMut(&'a IndexEntry)) {
        self.rest.iter().for_each(&mut *visit);
        look_up(&self.subjects, &facts.subject, visit);
        self.globs.candidates(&facts.subject, visit);
        if !self.groups.is_empty() {
            facts
                .groups
                .iter()
                .for_each(|group| look_up(&self.groups, group, visit));
        }
        for (path, values) in &self.claims {
            match path.get(&facts.claims) {
                Some(serde_json::Value::String(held)) => look_up(values, held, visit),
                Some(serde_json::Value::Array(held)) => {
                    held.iter()
                        .filter_map(serde_json::Value::as_str)
                        .for_each(|held| look_up(values, held, visit));
                }
                _ => {}
            }
        }
        self.candidates_by_id(facts, visit);
        let Some(certificate) = &facts.certificate else {
            return;
        };
        if !self.hosts.is_empty() {
            certificate
                .dns
                .iter()
                .for_each(|name| look_up(&self.hosts, &name.to_ascii_lowercase(), visit));
        }
        look_up(&self.names, &certificate.subject, visit);
    }

    fn candidates_by_id<'a>(&'a self, facts: &Facts, visit: &mut impl FnMut(&'a IndexEntry)) {
        if let Some(id) = facts.spiffe_id() {
            self.spiffe.candidates(id, visit);
        }
    }
}

fn look_up<'a>(exact: &'a Exact, key: &str, visit: &mut impl FnMut(&'a IndexEntry)) {
    if exact.is_empty() {
        return;
    }
    if let Some(entries) = exact.get(key) {
        entries.iter().for_each(visit);
    }
}
