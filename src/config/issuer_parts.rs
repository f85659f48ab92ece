//! The settings that issuers of both kinds have, checked: OpenID Connect and SPIFFE.
//!
//! What it does: names, algorithms, times and texts. What it refuses to know: which kind it is, and where keys are.
//! Invariants: only asymmetric algorithms pass; a name that policies use for other evidence is no issuer's.

use std::time::Duration;

use super::address::HttpUrl;
use super::claims::claim;
use super::limits::{duration_between, hours};
use super::raw::RawIssuer;
use super::report::ConfigFindings;
use crate::document::{Entries, Spanned, name, names, nearest};
use crate::identify::{
    AttributeSource, CLIENT_CERTIFICATES, CLIENT_TOKENS, PROVEN_ATTRIBUTES, WEBHOOKS,
};
use crate::otlp::RESERVED;

/// The asymmetric JOSE algorithms (RFC 7518 section 3.1, RFC 8037) that can be verified here;
/// `Ed25519` is RFC 9864's name for what most issuers still call `EdDSA`.
pub(crate) const ALGORITHMS: [&str; 11] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
];

/// A policy says `issuer: mtls` of callers that a client certificate identified, `issuer: client_tokens` of those that a
/// client token did.
pub(crate) const RESERVED_NAMES: [&str; 3] = [CLIENT_CERTIFICATES, CLIENT_TOKENS, WEBHOOKS];

/// Our own name for an issuer. `None`: it was reported.
pub(crate) fn own_name(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawIssuer,
) -> Option<String> {
    let subject = |key: &str| format!("issuers[{index}].{key}");
    issuer_name(report, &raw.name, &subject("name"))
}

/// A name that policies may call an issuer. `None`: it was reported.
pub(crate) fn issuer_name(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
) -> Option<String> {
    let own_name = report
        .own_name(at, subject)
        .filter(|given| !RESERVED_NAMES.contains(&given.as_str()));
    if let Some(reserved) = RESERVED_NAMES
        .iter()
        .find(|reserved| at.value == **reserved)
    {
        let hint = "policies call callers with client certificates `issuer: mtls`, those with client tokens \
                    `issuer: client_tokens`, and records the backend's webhooks `webhooks`; choose another name";
        report.error_with_hint(
            at,
            format!("the issuer name `{reserved}` is reserved"),
            hint,
        );
    }
    own_name
}

/// `leeway` and `max_lifetime`.
pub(crate) fn times(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawIssuer,
) -> (Duration, Duration) {
    let subject = |key: &str| format!("issuers[{index}].{key}");
    let leeway = duration_between(
        report,
        raw.leeway.as_ref(),
        &subject("leeway"),
        Duration::from_secs(30),
        Duration::ZERO..=Duration::from_secs(300),
    );
    let max_lifetime = duration_between(
        report,
        raw.max_lifetime.as_ref(),
        &subject("max_lifetime"),
        hours(24),
        // A year and some days: service accounts of some clusters hold such tokens.
        Duration::from_secs(60)..=hours(9000),
    );
    (leeway, max_lifetime)
}

/// The longest name of an attribute, as policies have it.
const ATTRIBUTE_NAME_LIMIT_BYTES: usize = 256;

/// `attributes_from`: what a token proves of the resources that its bearer sends.
pub(crate) fn attributes_from(
    report: &mut ConfigFindings<'_>,
    raw: &RawIssuer,
    index: usize,
) -> Vec<AttributeSource> {
    let whole = format!("issuers[{index}].attributes_from");
    proven_attributes(report, &raw.attributes_from, &whole, |report, key, path| {
        let claim = claim(report, Some(path), &format!("{whole}.{key}"), "")?;
        let name = key.into();
        Some(AttributeSource { name, claim })
    })
}

/// The entries of an `attributes_from`, whose names are checked here; `source` reads what stands for the value.
pub(crate) fn proven_attributes<S>(
    report: &mut ConfigFindings<'_>,
    entries: &Entries<Spanned<String>>,
    whole: &str,
    mut source: impl FnMut(&mut ConfigFindings<'_>, &str, &Spanned<String>) -> Option<S>,
) -> Vec<S> {
    let mut sources = Vec::new();
    for (attribute, written) in entries {
        let key = attribute.value.as_str();
        if !(1..=ATTRIBUTE_NAME_LIMIT_BYTES).contains(&key.len())
            || key.chars().any(char::is_control)
        {
            let message = format!(
                "a name in `{whole}` must be 1 to {ATTRIBUTE_NAME_LIMIT_BYTES} bytes without control characters"
            );
            report.error(attribute, message);
            continue;
        }
        if key.starts_with(RESERVED) {
            let message =
                format!("`{whole}`: names that begin with `{RESERVED}` are the gateway's own");
            report.error_with_hint(attribute, message, "choose another name");
        }
        sources.extend(source(report, key, written));
        if sources.len() == PROVEN_ATTRIBUTES + 1 {
            let message = format!("`{whole}` has more than {PROVEN_ATTRIBUTES} attributes");
            report.error(attribute, message);
        }
    }
    sources
}

/// Texts that must not be empty.
pub(crate) fn texts(
    report: &mut ConfigFindings<'_>,
    given: &[Spanned<String>],
    subject: &str,
) -> Vec<String> {
    for (index, text) in given
        .iter()
        .enumerate()
        .filter(|(_, text)| text.value.is_empty())
    {
        report.error(text, format!("`{subject}[{index}]` must not be empty"));
    }
    given.iter().map(|text| text.value.clone()).collect()
}

/// The accepted ones of those that `known` has; all, where the issuer names none.
pub(crate) fn algorithms(
    report: &mut ConfigFindings<'_>,
    raw: &RawIssuer,
    known: &[&str],
) -> Vec<String> {
    match &raw.algorithms {
        Some(given) => given
            .iter()
            .filter_map(|one| algorithm(report, one, known))
            .collect(),
        None => known.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn algorithm(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    known: &[&str],
) -> Option<String> {
    let given = at.value.as_str();
    if known.contains(&given) {
        return Some(given.to_owned());
    }
    let one_of = || format!("one of {}", names(known.iter().copied()));
    let upper = given.to_ascii_uppercase();
    if upper.starts_with("HS") || upper == "NONE" {
        let why = if upper == "NONE" {
            "`none` means that anybody may write such a token"
        } else {
            "with a shared key, every verifier of tokens can also forge them"
        };
        let hint = format!("{why}; {}", one_of());
        report.error_with_hint(
            at,
            format!("the algorithm {} is never accepted", name(given)),
            hint,
        );
        return None;
    }
    if ALGORITHMS.contains(&given) {
        report.error_with_hint(
            at,
            format!("JWT-SVIDs are not signed with {}", name(given)),
            one_of(),
        );
        return None;
    }
    let hint = match nearest(given, known.iter().copied()) {
        Some(near) => format!("did you mean {}?", name(near)),
        _ => one_of(),
    };
    report.error_with_hint(at, format!("unknown algorithm {}", name(given)), hint);
    None
}

/// Where something stands, whatever it is.
pub(crate) fn place<T>(at: &Spanned<T>) -> Spanned<()> {
    Spanned::new((), at.line(), at.column())
}

pub(crate) const IN_PLAINTEXT: &str = "plain `http` is only accepted for a loopback address";

/// A URL from which keys are fetched, or which leads there: who can change them in transit can be
/// anybody (OpenID Connect Discovery 1.0 section 7.1).
pub(crate) fn fetched_url<T>(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<T>,
    text: &str,
    parsed: Result<HttpUrl, &'static str>,
    subject: &str,
    hint: &str,
) -> Option<String> {
    match parsed {
        Ok(url) if url.tls || url.is_loopback() => return Some(text.to_owned()),
        Ok(_) => report.error_with_hint(
            at,
            format!("`{subject}` must be `https`: keys that come in plaintext can be replaced on the way"),
            hint,
        ),
        Err(fault) => report.error(at, format!("`{subject}` {fault}")),
    }
    None
}
