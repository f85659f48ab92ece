//! `vault:`, checked: references to secrets.
//!
//! What it does: projects' tokens and API keys as references. What it refuses to know: the secrets.
//! Invariant: neither a path nor a variable's name reaches a message, because a secret may have been
//! pasted in its place.

mod aws;
mod store;

use std::collections::btree_map::Entry;

use super::raw::{RawApiKeys, RawSecret, RawVault};
use super::report::{ConfigFindings, Content, NamedFile};
use crate::apps::{BackendId, BackendNames};
use crate::document::{Spanned, name, names, nearest};
use crate::egress::Egress;
use crate::secret::SecretRef;
use crate::stores::{CredentialRef, StoredRef, is_field, is_store_path};
use crate::vault::{ApiKeys, BackendSecrets, ProjectSecrets, VaultSettings};

/// The most tokens of one project that may overlap: the current one, the last, and some patience.
const ACCESS_TOKEN_LIMIT: usize = 8;

pub(crate) fn vault(
    report: &mut ConfigFindings<'_>,
    raw: &RawVault,
    backends: &BackendNames,
    egress: &Egress,
) -> VaultSettings {
    report.has_store = raw.store.is_some();
    let mut settings = VaultSettings {
        store: raw
            .store
            .as_ref()
            .and_then(|given| store::store(report, given, egress)),
        api_keys: api_keys(report, &raw.api_keys, "vault.api_keys"),
        ..Default::default()
    };
    for (project, secrets) in &raw.projects {
        let subject = format!("vault.projects.{}", project.value);
        let Some(own_name) = report.foreign_name(project, "vault.projects.…") else {
            continue;
        };
        let mut held = ProjectSecrets::new();
        let written = (secrets.access_token.as_slice(), &secrets.api_key);
        let own = credentials(report, written, &subject);
        if own != BackendSecrets::default() {
            held.insert(backends.default, own);
        }
        for (at, secrets) in &secrets.backends {
            let Some(backend) = known(report, at, backends) else {
                continue;
            };
            let subject = format!("{subject}.backends.{}", at.value);
            let written = (secrets.access_token.as_slice(), &secrets.api_key);
            let there = credentials(report, written, &subject);
            match held.entry(backend) {
                Entry::Vacant(place) => drop(place.insert(there)),
                Entry::Occupied(_) => {
                    let message = format!(
                        "the credentials for backend {} stand twice: it is the default one",
                        name(&at.value)
                    );
                    let hint = "leave them out here, or beside `backends`";
                    report.error_with_hint(at, message, hint);
                }
            }
        }
        settings.projects.insert(own_name, held);
    }
    settings
}

fn known(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    backends: &BackendNames,
) -> Option<BackendId> {
    let found = backends.find(&at.value);
    if found.is_none() {
        let all = || backends.iter().map(|(_, known)| &**known);
        let hint = match nearest(&at.value, all()) {
            Some(word) => format!("did you mean {}?", name(word)),
            None => format!("the configuration has {}", names(all())),
        };
        report.error_with_hint(at, format!("there is no backend {}", name(&at.value)), hint);
    }
    found
}

/// One project's at one backend.
fn credentials(
    report: &mut ConfigFindings<'_>,
    (tokens, keys): (&[Spanned<RawSecret>], &RawApiKeys),
    subject: &str,
) -> BackendSecrets {
    if let Some(surplus) = tokens.get(ACCESS_TOKEN_LIMIT) {
        report.error(
            surplus,
            format!("at most {ACCESS_TOKEN_LIMIT} access tokens of a project may overlap"),
        );
    }
    let tokens = tokens.iter().enumerate();
    let access_token = tokens
        .filter_map(|(index, token)| {
            credential(report, token, &format!("{subject}.access_token[{index}]"))
        })
        .collect();
    BackendSecrets {
        access_token,
        api_key: api_keys(report, keys, &format!("{subject}.api_key")),
    }
}

fn api_keys(report: &mut ConfigFindings<'_>, raw: &RawApiKeys, subject: &str) -> ApiKeys {
    let mut key = |given: &Option<Spanned<RawSecret>>, what: &str| {
        given
            .as_ref()
            .and_then(|given| credential(report, given, &format!("{subject}.{what}")))
    };
    ApiKeys {
        read: key(&raw.read, "read"),
        write: key(&raw.write, "write"),
        admin: key(&raw.admin, "admin"),
    }
}

/// A reference to a credential of the backend. `None`: reported.
fn credential(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<RawSecret>,
    subject: &str,
) -> Option<CredentialRef> {
    let RawSecret::Vault(stored) = &at.value else {
        return secret(report, at, subject).map(CredentialRef::Here);
    };
    if !is_store_path(&stored.path) {
        let message = format!("`{subject}.vault.path` must be a path in the store");
        let hint = "letters, digits and `-_.`, in segments apart by `/`, such as `lightkeeper/checkout-prod`";
        report.error_with_hint(at, message, hint);
        return None;
    }
    if !is_field(&stored.field) {
        let message =
            format!("`{subject}.vault.field` must be the name of one of the secret's fields");
        report.error(at, message);
        return None;
    }
    if !report.has_store {
        let message = format!("`{subject}` is kept in a store, and there is no `vault.store`");
        report.error_with_hint(at, message, "add `vault.store` with `url` and `login`");
        return None;
    }
    Some(CredentialRef::Stored(StoredRef {
        path: stored.path.clone(),
        field: stored.field.clone(),
        version: stored.version,
    }))
}

/// A reference to any secret. `None`: reported.
pub(crate) fn secret(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<RawSecret>,
    subject: &str,
) -> Option<SecretRef> {
    reference(report, at, subject, Content::Secret)
}

/// A reference to a secret, remembered as what `content` makes of it. `None`: reported.
pub(crate) fn reference(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<RawSecret>,
    subject: &str,
    content: impl FnOnce(SecretRef) -> Content,
) -> Option<SecretRef> {
    let (reference, path) = match &at.value {
        RawSecret::Vault(_) => {
            let message = format!("`{subject}` cannot be kept in a store");
            let hint = "the store is for `vault.projects` and `vault.api_keys`; write `{ file: path }` or `{ env: NAME }`";
            report.error_with_hint(at, message, hint);
            return None;
        }
        RawSecret::File(text) => {
            let path = report.resolve(at, text, subject)?;
            (SecretRef::File(path.clone()), path)
        }
        RawSecret::Env(name) => {
            let begins = name
                .bytes()
                .next()
                .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
            if !begins
                || !name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                let message =
                    format!("`{subject}.env` must be the name of an environment variable");
                report.error_with_hint(
                    at,
                    message,
                    "letters, digits and `_`, such as `LIGHTSTEP_READ_KEY`",
                );
                return None;
            }
            (SecretRef::Env(name.clone()), Default::default())
        }
    };
    report.named.push(NamedFile {
        path,
        content: content(reference.clone()),
        subject: subject.to_owned(),
        line: at.line(),
        column: at.column(),
    });
    Some(reference)
}
