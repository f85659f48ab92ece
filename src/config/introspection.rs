//! `issuers[].introspection`, checked.
//!
//! What it does: the endpoint, by what the gateway proves itself there, and which tokens are asked about. What it refuses to
//! know: how an answer is judged. Invariants: an opaque token is one issuer's or none's; a token and a secret go over TLS, or
//! not beyond this machine.

use std::time::Duration;

use super::address::HttpUrl;
use super::issuer_parts::{IN_PLAINTEXT, place};
use super::limits::duration_between;
use super::raw::{RawAssertionKey, RawIntrospection, RawIssuer, RawSwitch};
use super::report::{ConfigFindings, Content};
use super::upstreams::client_identity;
use super::vault;
use crate::document::{Spanned, name};
use crate::forward::ClientIdentity;
use crate::identify::{ClientProofSettings, IntrospectionSettings, is_opaque_prefix};

const CALLS_PER_SECOND: u32 = 50;

/// What the issuer calls us.
const CLIENT_ID_LIMIT_BYTES: usize = 255;

/// `None`: it was reported.
pub(crate) fn introspection(
    report: &mut ConfigFindings<'_>,
    index: usize,
    at: &Spanned<RawIntrospection>,
) -> Option<IntrospectionSettings> {
    let subject = |key: &str| format!("issuers[{index}].introspection.{key}");
    let raw = &at.value;
    let parsed = HttpUrl::parse_with_query(&raw.url.value);
    let tls = parsed.as_ref().is_ok_and(|url| url.tls);
    let url = match parsed {
        Ok(url) if url.tls || url.is_loopback() => Some(raw.url.value.clone()),
        Ok(_) => {
            let message = format!(
                "`{}` must be `https`: callers' tokens are sent there",
                subject("url")
            );
            report.error_with_hint(&raw.url, message, IN_PLAINTEXT);
            None
        }
        Err(fault) => {
            report.error(&raw.url, format!("`{}` {fault}", subject("url")));
            None
        }
    };
    let client_id = &raw.client_id;
    if !(1..=CLIENT_ID_LIMIT_BYTES).contains(&client_id.value.len())
        || client_id.value.contains(char::is_control)
    {
        let key = subject("client_id");
        let message = format!(
            "`{key}` must be 1 to {CLIENT_ID_LIMIT_BYTES} bytes without control characters"
        );
        report.error(client_id, message);
    }
    let proof = proof(report, index, at);
    if let (Some(client), false) = (&raw.mtls, tls) {
        let message = format!("`{}` has no use: its `url` is no `https`", subject("mtls"));
        report.error(client, message);
    }
    if let Some(prefix) = raw
        .prefix
        .as_ref()
        .filter(|prefix| !is_opaque_prefix(&prefix.value))
    {
        let message = format!(
            "`{}` must be 3 to 64 letters, digits and `-._~+/`, and not begin like a JWT (`ey`, `ew`) or a client token (`lk_`)",
            subject("prefix")
        );
        report.error(prefix, message);
    }
    if raw.prefix.is_none() {
        let message = format!(
            "`issuers[{index}].introspection` has no `prefix`: whatever is no JWT is sent to this issuer, and costs it a question"
        );
        let hint = "if its tokens begin alike, write how: `prefix: ory_at_`";
        report.warning(at, message, hint);
    }
    let cache = duration_between(
        report,
        raw.cache.as_ref(),
        &subject("cache"),
        Duration::from_secs(60),
        Duration::ZERO..=Duration::from_secs(600),
    );
    Some(IntrospectionSettings {
        url: url?,
        client_id: client_id.value.clone(),
        proof: proof?,
        always: raw.always.is_some_and(|given| given.0),
        prefix: raw.prefix.as_ref().map(|prefix| prefix.value.clone()),
        signed: raw.signed.is_some_and(|given| given.0),
        cache,
        calls_per_second: raw.calls_per_second.unwrap_or(CALLS_PER_SECOND),
    })
}

fn proof(
    report: &mut ConfigFindings<'_>,
    index: usize,
    at: &Spanned<RawIntrospection>,
) -> Option<ClientProofSettings> {
    let place = format!("issuers[{index}].introspection");
    let RawIntrospection {
        client_secret,
        private_key_jwt,
        mtls,
        ..
    } = &at.value;
    match (client_secret, private_key_jwt, mtls) {
        (Some(given), None, None) => {
            let subject = format!("{place}.client_secret");
            vault::secret(report, given, &subject).map(ClientProofSettings::Secret)
        }
        (None, Some(given), None) => assertion_key(report, &place, given),
        (None, None, Some(given)) => {
            let identity = client_identity(report, &format!("{place}.mtls"), given)?;
            match identity {
                ClientIdentity::Files { certificate, key } => {
                    Some(ClientProofSettings::Certificate { certificate, key })
                }
                ClientIdentity::WorkloadApi(_) => {
                    let message = format!("`{place}.mtls.workload_api` is not taken here");
                    let hint = "write `certificate` and `key`: the issuer knows the gateway by one certificate";
                    report.error_with_hint(given, message, hint);
                    None
                }
            }
        }
        _ => {
            let message = format!(
                "`{place}` needs exactly one of `client_secret`, `private_key_jwt`, `mtls`"
            );
            let hint = "an endpoint that anybody may ask would tell anybody what tokens are worth (RFC 7662 section 2.1)";
            report.error_with_hint(at, message, hint);
            None
        }
    }
}

fn assertion_key(
    report: &mut ConfigFindings<'_>,
    place: &str,
    at: &Spanned<RawAssertionKey>,
) -> Option<ClientProofSettings> {
    let subject = |key: &str| format!("{place}.private_key_jwt.{key}");
    let RawAssertionKey {
        key,
        algorithm,
        key_id,
    } = &at.value;
    let algorithm = algorithm.as_ref().map(|given| given.value.clone());
    if let Some(given) = key_id
        .as_ref()
        .filter(|given| given.value.is_empty() || given.value.len() > CLIENT_ID_LIMIT_BYTES)
    {
        let message = format!(
            "`{}` must be 1 to {CLIENT_ID_LIMIT_BYTES} bytes",
            subject("key_id")
        );
        report.error(given, message);
    }
    let content = Content::AssertionKey {
        algorithm: algorithm.clone(),
    };
    Some(ClientProofSettings::Key {
        file: report.path(key, &subject("key"), content)?,
        algorithm,
        key_id: key_id.as_ref().map(|given| given.value.clone()),
    })
}

/// Whether the issuer gives out no JWTs. Reports what is of use for JWTs alone.
pub(crate) fn only_opaque(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawIssuer,
    has_login: bool,
) -> bool {
    let asked = raw.introspection.as_ref().map(|asked| &asked.value);
    let only = asked.and_then(|asked| asked.only.as_ref());
    let (Some(asked), Some(only)) = (asked, only.filter(|only| only.value.0)) else {
        return false;
    };
    let is_on = |given: Option<RawSwitch>| given.filter(|given| given.0).map(|_| place(only));
    for (key, at) in [
        ("jwks", raw.jwks.as_ref().map(place)),
        ("algorithms", raw.algorithms.as_ref().map(|_| place(only))),
        ("header", raw.header.as_ref().map(place)),
        ("refresh", raw.refresh.as_ref().map(place)),
        ("stale_keys", raw.stale_keys.as_ref().map(place)),
        ("introspection.always", is_on(asked.always)),
        ("introspection.signed", is_on(asked.signed)),
    ] {
        let Some(at) = at else { continue };
        let message =
            format!("`issuers[{index}].{key}` has no use beside `introspection: {{ only: on }}`");
        let hint = "remove one of the two: an issuer without JWTs has no keys";
        report.error_with_hint(&at, message, hint);
    }
    if has_login {
        let message = "people cannot log in at an issuer without JWTs: a login ends in an ID token";
        let hint = "remove `only`";
        report.error_with_hint(only, message, hint);
    }
    true
}

/// Reports opaque tokens that could be asked about at several issuers.
pub(crate) fn ambiguities(report: &mut ConfigFindings<'_>, raw: &[RawIssuer]) {
    let mut known: Vec<(&str, Option<&str>)> = Vec::new();
    for issuer in raw {
        let Some(asked) = &issuer.introspection else {
            continue;
        };
        let prefix = asked.value.prefix.as_ref();
        let text = prefix.map(|prefix| prefix.value.as_str());
        let overlaps = |other: &Option<&str>| match (text, *other) {
            (None, None) => true,
            (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
            _ => false,
        };
        if let Some((other, _)) = known.iter().find(|(_, other)| overlaps(other)) {
            let message = format!(
                "an opaque token could be asked about here or at issuer {}: a token must belong to exactly one issuer",
                name(other)
            );
            let hint =
                "give each a `prefix` with which its tokens begin; one of them may go without";
            match prefix {
                Some(prefix) => report.error_with_hint(prefix, message, hint),
                None => report.error_with_hint(asked, message, hint),
            }
        }
        known.push((&issuer.name.value, text));
    }
}
