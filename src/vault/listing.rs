//! Which credentials there are, for operators.
//!
//! What it does: names each with its source, its state and its digest. What it refuses to know: where it is shown. Invariant:
//! a row holds no secret and no part of one.

use std::collections::HashMap;

use super::contents::{place, whose};
use super::{ApiKeys, Vault};
use crate::apps::BackendNames;
use crate::clock::UnixMillis;
use crate::secret::Secret;
use crate::stores::{CredentialRef, SecretVersion, ShelfEntry, ShelfState};

/// One credential, or one version of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct CredentialRow {
    /// `checkout-prod/access_token/0`, `organization/api_key/read`; the number is that of the reference.
    pub(crate) name: String,
    /// `file`, `env` or `vault`, and the place there.
    pub(crate) source: String,
    /// `current`, `previous`, `pending`, `refused`, `unconfirmed`, `stale`, `absent`.
    pub(crate) state: &'static str,
    /// The first digits of the digest; none of what is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    /// The store's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    /// Seconds since it came into use here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_seconds: Option<i64>,
    /// Seconds since the store gave or confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confirmed_seconds: Option<i64>,
    /// Why the last look at it failed, or why a new version does not serve yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// How often an access token was lent since it came into use; of API keys it is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u64>,
}

impl Vault {
    /// All of them, in the order of their names.
    pub(crate) fn rows(&self, names: &BackendNames, now: UnixMillis) -> Vec<CredentialRow> {
        let shelf = self.shelf.entries();
        let uses = self.uses();
        let mut rows = Vec::new();
        let mut add = |name: String, reference: &CredentialRef, position: usize, counts: bool| {
            let row = CredentialRow {
                name,
                source: reference.to_string(),
                ..CredentialRow::default()
            };
            let filled = |row: CredentialRow, secret: &Secret| {
                let fingerprint = secret.fingerprint();
                CredentialRow {
                    uses: counts.then(|| uses.get(&fingerprint).copied().unwrap_or_default()),
                    fingerprint: Some(fingerprint),
                    ..row
                }
            };
            match reference {
                CredentialRef::Here(reference) => {
                    let Some(secret) = self.here.get(reference).filter(|one| !one.is_unwanted())
                    else {
                        return;
                    };
                    let state = if position == 0 { "current" } else { "previous" };
                    rows.push(filled(CredentialRow { state, ..row }, secret));
                }
                CredentialRef::Stored(reference) => {
                    let entry = shelf.get(reference).cloned().unwrap_or_default();
                    for (state, version) in versions(&entry) {
                        let row = CredentialRow {
                            state,
                            version: version.map(|version| version.number),
                            confirmed_seconds: since(entry.confirmed_at, now),
                            age_seconds: since(entry.promoted_at, now)
                                .filter(|_| !matches!(state, "previous" | "pending" | "refused")),
                            why: why(&entry, state),
                            ..row.clone()
                        };
                        rows.push(match version {
                            Some(version) => filled(row, &version.secret),
                            None => row,
                        });
                    }
                }
            }
        };
        let keys = |whose: &str,
                    keys: &ApiKeys,
                    add: &mut dyn FnMut(String, &CredentialRef, usize, bool)| {
            for (kind, reference) in keys.each() {
                add(format!("{whose}/api_key/{kind}"), reference, 0, false);
            }
        };
        keys("organization", &self.settings.api_keys, &mut add);
        for (project, secrets) in &self.settings.projects {
            for (backend, called) in names.iter() {
                let Some(secrets) = secrets.get(&backend) else {
                    continue;
                };
                let at = (project.as_str(), backend);
                for (index, reference) in secrets.access_token.iter().enumerate() {
                    add(place(at, called, names, index), reference, index, true);
                }
                keys(&whose(at, called, names), &secrets.api_key, &mut add);
            }
        }
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        rows
    }

    /// By digest.
    fn uses(&self) -> HashMap<String, u64> {
        let contents = self.contents.load();
        let held = contents.projects.values().flatten();
        let tokens = held.filter_map(|held| held.tokens.as_ref());
        let mut uses = HashMap::new();
        for token in tokens.flat_map(|tokens| &tokens.list) {
            let count = token.uses.load(std::sync::atomic::Ordering::Relaxed);
            *uses.entry(token.secret.fingerprint()).or_default() += count;
        }
        uses
    }
}

/// The versions of a secret and their states; one without a version, where there is none.
fn versions(entry: &ShelfEntry) -> Vec<(&'static str, Option<&SecretVersion>)> {
    let state = entry.state();
    let of_current = match state {
        ShelfState::Pending | ShelfState::Refused => ShelfState::Current,
        other => other,
    };
    let mut found = vec![(of_current.code(), entry.current.as_ref())];
    found.extend(entry.previous.as_ref().map(|one| ("previous", Some(one))));
    let of_pending = match entry.pending_refused {
        Some(_) => ShelfState::Refused,
        None => ShelfState::Pending,
    };
    found.extend(
        entry
            .pending
            .as_ref()
            .map(|one| (of_pending.code(), Some(one))),
    );
    found
}

fn why(entry: &ShelfEntry, state: &str) -> Option<String> {
    match state {
        "refused" => entry.pending_refused.map(str::to_owned),
        "previous" | "pending" => None,
        _ => entry.fault.clone(),
    }
}

fn since(at: Option<UnixMillis>, now: UnixMillis) -> Option<i64> {
    at.map(|at| now.seconds() - at.seconds())
}
