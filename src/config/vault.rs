//! `vault:`, checked: references to secrets.
//!
//! What it does: projects' tokens and API keys as references. What it refuses to know: the secrets.
//! Invariant: neither a path nor a variable's name reaches a message, because a secret may have been
//! pasted in its place.

use super::raw::{RawApiKeys, RawSecret, RawVault};
use super::report::{ConfigFindings, Content, NamedFile};
use crate::document::Spanned;
use crate::secret::SecretRef;
use crate::vault::{ApiKeys, ProjectSecrets, VaultSettings};

/// The most tokens of one project that may overlap: the current one, the last, and some patience.
const ACCESS_TOKEN_LIMIT: usize = 8;

pub(crate) fn vault(report: &mut ConfigFindings<'_>, raw: &RawVault) -> VaultSettings {
    let mut settings = VaultSettings {
        api_keys: api_keys(report, &raw.api_keys, "vault.api_keys"),
        ..Default::default()
    };
    for (project, secrets) in &raw.projects {
        let subject = format!("vault.projects.{}", project.value);
        let Some(own_name) = report.foreign_name(project, "vault.projects.…") else {
            continue;
        };
        if let Some(surplus) = secrets.access_token.get(ACCESS_TOKEN_LIMIT) {
            report.error(
                surplus,
                format!("at most {ACCESS_TOKEN_LIMIT} access tokens of a project may overlap"),
            );
        }
        let tokens = secrets.access_token.iter().enumerate();
        let access_token = tokens
            .filter_map(|(index, token)| {
                secret(report, token, &format!("{subject}.access_token[{index}]"))
            })
            .collect();
        let api_key = api_keys(report, &secrets.api_key, &format!("{subject}.api_key"));
        settings.projects.insert(
            own_name,
            ProjectSecrets {
                access_token,
                api_key,
            },
        );
    }
    settings
}

fn api_keys(report: &mut ConfigFindings<'_>, raw: &RawApiKeys, subject: &str) -> ApiKeys {
    let mut key = |given: &Option<Spanned<RawSecret>>, what: &str| {
        given
            .as_ref()
            .and_then(|given| secret(report, given, &format!("{subject}.{what}")))
    };
    ApiKeys {
        read: key(&raw.read, "read"),
        write: key(&raw.write, "write"),
        admin: key(&raw.admin, "admin"),
    }
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
