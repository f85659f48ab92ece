//! `issuers:`, checked.
//!
//! What it does: issuer strings, audiences, algorithms, key sources and times. What it refuses to know:
//! how a token is verified. Invariants: only asymmetric algorithms pass; keys come over plain http only
//! from this machine.

use std::time::Duration;

use super::address::HttpUrl;
use super::limits::{duration_between, hours};
use super::raw::{RawIssuer, RawKeys};
use super::report::{Content, Named, Report};
use crate::document::{Spanned, name, names, nearest};
use crate::identify::{CLIENT_TOKENS, IssuerSettings, KeySource, WEBHOOKS};

/// The asymmetric JOSE algorithms (RFC 7518 section 3.1, RFC 8037) that can be verified here;
/// `Ed25519` is RFC 9864's name for what most issuers still call `EdDSA`.
const ALGORITHMS: [&str; 11] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];

/// A policy says `issuer: mtls` of callers that a client certificate identified, `issuer: client_tokens` of those whom a
/// client token did.
const RESERVED_NAMES: [&str; 3] = ["mtls", CLIENT_TOKENS, WEBHOOKS];

/// `login`: the issuer by which people log in, which is asked for more than its keys.
pub fn issuers(report: &mut Report<'_>, raw: &[RawIssuer], login: Option<&str>) -> Vec<IssuerSettings> {
    let mut checked: Vec<IssuerSettings> = Vec::new();
    for (index, issuer) in raw.iter().enumerate() {
        let Some(settings) = one(report, index, issuer) else { continue };
        if let (Some(given), KeySource::File(_)) = (&issuer.ca, &settings.keys)
            && login != Some(&settings.name)
        {
            let hint = "remove `ca`, or let the keys be found by discovery or `jwks: { url: … }`";
            report.error_with_hint(given, format!("`issuers[{index}].ca` has no use: the keys are in a file"), hint);
        }
        if checked.iter().any(|other| other.name == settings.name) {
            report.error(&issuer.name, format!("two issuers are named {}", name(&settings.name)));
        }
        if let Some(other) = checked.iter().find(|other| other.issuer == settings.issuer) {
            let hint = "a token must belong to exactly one issuer: join the two, with all their audiences";
            report.error_with_hint(
                &issuer.issuer,
                format!("issuer {} already has this `issuer`", name(&other.name)),
                hint,
            );
        }
        checked.push(settings);
    }
    checked
}

fn one(report: &mut Report<'_>, index: usize, raw: &RawIssuer) -> Option<IssuerSettings> {
    let subject = |key: &str| format!("issuers[{index}].{key}");
    let own_name =
        report.own_name(&raw.name, &subject("name")).filter(|given| !RESERVED_NAMES.contains(&given.as_str()));
    if let Some(reserved) = RESERVED_NAMES.iter().find(|reserved| raw.name.value == **reserved) {
        let hint = "policies call callers with client certificates `issuer: mtls`, those with client tokens \
                    `issuer: client_tokens`, and records the backend's webhooks `webhooks`; choose another name";
        report.error_with_hint(&raw.name, format!("the issuer name `{reserved}` is reserved"), hint);
    }
    let issuer = fetched_url(report, &raw.issuer, &raw.issuer.value, &subject("issuer"));
    let audiences = texts(report, &raw.audiences, &subject("audiences"));
    let algorithms = match &raw.algorithms {
        Some(given) => given.iter().filter_map(|one| algorithm(report, one)).collect(),
        None => ALGORITHMS.map(str::to_owned).to_vec(),
    };
    let keys = match &raw.jwks {
        Some(given) => key_source(report, given, index),
        None => Some(KeySource::Discovery),
    };
    let ca = match &raw.ca {
        Some(given) => Some(report.path(given, &subject("ca"), Content::Trust)?),
        None => None,
    };
    let claim = |report: &mut Report<'_>, given: &Option<Spanned<String>>, key: &str, default: &str| match given {
        Some(given) if given.value.is_empty() => {
            report.error(given, format!("`{}` must not be empty", subject(key)));
            default.to_owned()
        }
        Some(given) => given.value.clone(),
        None => default.to_owned(),
    };
    let subject_claim = claim(report, &raw.claims.subject, "claims.subject", "sub");
    let groups_claim = claim(report, &raw.claims.groups, "claims.groups", "groups");
    let refresh = duration_between(
        report,
        raw.refresh.as_ref(),
        &subject("refresh"),
        hours(1),
        Duration::from_secs(60)..=hours(24),
    );
    let stale_keys = duration_between(
        report,
        raw.stale_keys.as_ref(),
        &subject("stale_keys"),
        hours(24).max(refresh),
        refresh..=hours(168),
    );
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
    Some(IssuerSettings {
        name: own_name?,
        issuer: issuer?,
        audiences,
        algorithms,
        keys: keys?,
        ca,
        subject_claim,
        groups_claim,
        types: types(raw.types.as_deref()),
        leeway,
        max_lifetime,
        stale_keys,
        refresh,
    })
}

/// Texts that must not be empty.
fn texts(report: &mut Report<'_>, given: &[Spanned<String>], subject: &str) -> Vec<String> {
    for (index, text) in given.iter().enumerate().filter(|(_, text)| text.value.is_empty()) {
        report.error(text, format!("`{subject}[{index}]` must not be empty"));
    }
    given.iter().map(|text| text.value.clone()).collect()
}

fn algorithm(report: &mut Report<'_>, at: &Spanned<String>) -> Option<String> {
    let given = at.value.as_str();
    if ALGORITHMS.contains(&given) {
        return Some(given.to_owned());
    }
    let upper = given.to_ascii_uppercase();
    if upper.starts_with("HS") || upper == "NONE" {
        let why = if upper == "NONE" {
            "`none` means that anybody may write such a token"
        } else {
            "with a shared key, whoever verifies tokens can also forge them"
        };
        let hint = format!("{why}; one of {}", names(ALGORITHMS));
        report.error_with_hint(at, format!("the algorithm {} is never accepted", name(given)), hint);
        return None;
    }
    let hint = match nearest(given, ALGORITHMS) {
        Some(near) => format!("did you mean {}?", name(near)),
        _ => format!("one of {}", names(ALGORITHMS)),
    };
    report.error_with_hint(at, format!("unknown algorithm {}", name(given)), hint);
    None
}

fn key_source(report: &mut Report<'_>, at: &Spanned<RawKeys>, index: usize) -> Option<KeySource> {
    match &at.value {
        RawKeys::Url(url) => fetched_url(report, at, url, &format!("issuers[{index}].jwks.url")).map(KeySource::Url),
        RawKeys::File(text) => {
            let subject = format!("issuers[{index}].jwks.file");
            let path = report.resolve(at, text, &subject)?;
            let (line, column) = (at.line(), at.column());
            report.named.push(Named { path: path.clone(), content: Content::Keys, subject, line, column });
            Some(KeySource::File(path))
        }
    }
}

/// A URL from which keys are fetched, or which leads there: whoever can change them in transit can be
/// anybody (OpenID Connect Discovery 1.0 section 7.1).
fn fetched_url<T>(report: &mut Report<'_>, at: &Spanned<T>, text: &str, subject: &str) -> Option<String> {
    match HttpUrl::parse(text) {
        Ok(url) if url.tls || url.is_loopback() => return Some(text.to_owned()),
        Ok(_) => report.error_with_hint(
            at,
            format!("`{subject}` must be `https`: keys that come in plaintext can be replaced on the way"),
            "plain `http` is only accepted for a loopback address",
        ),
        Err(fault) => report.error(at, format!("`{subject}` {fault}")),
    }
    None
}

/// RFC 9068 section 2.1 (`at+jwt`), RFC 7519 section 5.1 (`JWT`), and none at all, as many issuers send;
/// `application/` may be left out (RFC 7515 section 4.1.9).
fn types(given: Option<&[Spanned<String>]>) -> Vec<String> {
    let Some(given) = given else { return ["at+jwt", "jwt", ""].map(str::to_owned).to_vec() };
    let plain = |text: &Spanned<String>| {
        let lower = text.value.to_ascii_lowercase();
        lower.strip_prefix("application/").map_or(lower.clone(), str::to_owned)
    };
    given.iter().map(plain).collect()
}
