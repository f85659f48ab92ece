//! `client_tokens:`, checked.
//!
//! What it does: names, digests and dates of client tokens. What it refuses to know: the tokens, and the
//! policy; whether a binding exists is asked once both files have been read. Invariant: neither a digest nor
//! what stands in its place reaches a message, because the token itself may have been pasted there.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::raw::RawClientToken;
use super::report::ConfigFindings;
use crate::accept::CLIENT_TOKEN_PREFIX;
use crate::clock::UnixMillis;
use crate::document::{Diagnostic, Spanned, name, names, nearest};
use crate::identify::{ClientTokenHash, ClientTokenSettings};

/// The most known bindings that a hint lists.
const LISTED_LIMIT: usize = 24;

/// Line and column.
type LineColumn = (u64, u64);

/// A checked client token, and where the file says what can only be judged later.
#[derive(Clone, Debug)]
pub(crate) struct PlacedClientToken {
    pub settings: ClientTokenSettings,
    binding: LineColumn,
    until: LineColumn,
}

pub(crate) fn client_tokens(
    report: &mut ConfigFindings<'_>,
    raw: &[RawClientToken],
) -> Vec<PlacedClientToken> {
    let mut checked: Vec<PlacedClientToken> = Vec::new();
    for (index, token) in raw.iter().enumerate() {
        let Some(fresh) = one(report, index, token) else {
            continue;
        };
        if checked
            .iter()
            .any(|other| other.settings.name == fresh.settings.name)
        {
            let hint = "each has a name of its own, by which records and metrics tell them apart";
            report.error_with_hint(
                &token.name,
                format!("two client tokens are named {}", name(&fresh.settings.name)),
                hint,
            );
        }
        if let Some(other) = checked
            .iter()
            .find(|other| other.settings.hash == fresh.settings.hash)
        {
            let message = format!(
                "client token {} already has this `hash`",
                name(&other.settings.name)
            );
            report.error_with_hint(
                &token.hash,
                message,
                "issue a token of its own for each client",
            );
        }
        checked.push(fresh);
    }
    checked
}

fn one(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawClientToken,
) -> Option<PlacedClientToken> {
    let subject = |key: &str| format!("client_tokens[{index}].{key}");
    let own_name = report.own_name(&raw.name, &subject("name"));
    let hash = hash(report, &raw.hash, &subject("hash"));
    if raw.binding.value.is_empty() {
        report.error(
            &raw.binding,
            format!("`{}` must not be empty", subject("binding")),
        );
    }
    let until = match &raw.until {
        Some(given) => Some(time(report, given, &subject("until"))?),
        None => None,
    };
    let place = |at: &Spanned<String>| (at.line(), at.column());
    Some(PlacedClientToken {
        settings: ClientTokenSettings {
            name: own_name?,
            hash: hash?,
            binding: raw.binding.value.clone(),
            until_unix_seconds: until,
        },
        binding: place(&raw.binding),
        until: raw.until.as_ref().map_or((0, 0), place),
    })
}

fn hash(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
) -> Option<ClientTokenHash> {
    let read = ClientTokenHash::parse(&at.value);
    if read.is_none() {
        let hint = if at.value.starts_with(CLIENT_TOKEN_PREFIX) {
            "this is the token itself, which every reader of this file could now use: issue another with \
             `lightkeeper token issue`, which prints the line to put here"
        } else {
            "write `sha256:` and 64 hexadecimal digits, as `lightkeeper token issue` prints them"
        };
        report.error_with_hint(at, format!("`{subject}` is not a digest"), hint);
    }
    read
}

/// Unix seconds of an RFC 3339 time.
fn time(report: &mut ConfigFindings<'_>, at: &Spanned<String>, subject: &str) -> Option<i64> {
    let read = parse_time(&at.value);
    if read.is_none() {
        report.error_with_hint(
            at,
            format!("`{subject}` is no RFC 3339 time"),
            "write it as `2027-01-01T00:00:00Z`",
        );
    }
    read
}

/// Unix seconds of an RFC 3339 time, a part of one dropped: a token never counts longer than was written.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .map(OffsetDateTime::unix_timestamp)
}

impl PlacedClientToken {
    /// What only policy and clock can say: an error if no such binding exists, a warning if its time is over.
    pub(crate) fn check(
        &self,
        file: &std::path::Path,
        bindings: &[&str],
        now: UnixMillis,
    ) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let binding = self.settings.binding.as_str();
        if !bindings.contains(&binding) {
            let hint = match nearest(binding, bindings.iter().copied()) {
                Some(word) => format!("did you mean {}?", name(word)),
                None if bindings.is_empty() => "the policy has no bindings".to_owned(),
                None => format!(
                    "the policy has {}",
                    names(bindings.iter().copied().take(LISTED_LIMIT))
                ),
            };
            let message = format!("the policy has no binding {}", name(binding));
            found.push(
                Diagnostic::error(file, self.binding.0, self.binding.1, message).with_hint(hint),
            );
        }
        if self
            .settings
            .until_unix_seconds
            .is_some_and(|until| until <= now.seconds())
        {
            let message = format!(
                "client token {} is over: it is refused",
                name(&self.settings.name)
            );
            let hint = "remove the line, or move `until`";
            found.push(
                Diagnostic::warning(file, self.until.0, self.until.1, message).with_hint(hint),
            );
        }
        found
    }
}
