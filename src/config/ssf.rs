//! `ssf:`, checked.
//!
//! What it does: who transmits security events, where their keys are, and whose subjects each speaks for. What it refuses to
//! know: what an event says. Invariants: a transmitter is told from every issuer by its name, and speaks for issuers of this
//! file that have subjects of their own; its keys are fetched by the same rules as theirs.

use std::time::Duration;

use super::claims::{claim, subject_claims};
use super::egress::{first_asked, own, route};
use super::issuer_parts::{ALGORITHMS, RESERVED_NAMES};
use super::issuers::{compared, key_source};
use super::limits::hours;
use super::raw::{RawConfig, RawService, RawTransmitter};
use super::report::{ConfigFindings, Content};
use super::vault;
use crate::document::{Spanned, name, names, nearest};
use crate::egress::Egress;
use crate::identify::{IssuerSettings, KeySource, TokensTaken, TransmitterSettings};

/// Transmitters of one gateway.
const TRANSMITTERS_LIMIT: usize = 16;

pub(crate) fn transmitters(
    report: &mut ConfigFindings<'_>,
    raw: &RawConfig,
    egress: &Egress,
) -> Vec<TransmitterSettings> {
    if let Some(surplus) = raw.ssf.get(TRANSMITTERS_LIMIT) {
        let message = format!("more than {TRANSMITTERS_LIMIT} transmitters");
        report.error(&surplus.name, message);
    }
    let mut checked: Vec<TransmitterSettings> = Vec::new();
    for (index, one) in raw.ssf.iter().enumerate() {
        let issuers = spoken_for(report, raw, one, index);
        let Some(source) = source(report, one, index, egress) else {
            continue;
        };
        let token = one
            .token
            .as_ref()
            .map(|given| vault::secret(report, given, &format!("ssf[{index}].token")));
        unique(report, raw, one, &source, &checked);
        let token = match token {
            Some(None) => continue,
            Some(token) => token,
            None => None,
        };
        checked.push(TransmitterSettings {
            source,
            issuers,
            token,
        });
    }
    if let (Some(first), false) = (raw.ssf.first(), serves_web(raw)) {
        let hint = "add `web` to the `serves` of a listener, or remove `ssf`";
        let message = "no security event can come, because no listener serves `web`";
        report.warning(&first.name, message, hint);
    }
    checked
}

fn serves_web(raw: &RawConfig) -> bool {
    raw.listeners.iter().any(|listener| {
        listener
            .serves
            .as_ref()
            .is_none_or(|serves| serves.iter().any(|one| one.value == RawService::Web))
    })
}

/// Names are labels of metrics beside those of issuers; a token must belong to exactly one transmitter.
fn unique(
    report: &mut ConfigFindings<'_>,
    raw: &RawConfig,
    one: &RawTransmitter,
    source: &IssuerSettings,
    checked: &[TransmitterSettings],
) {
    let hint = "choose another name: records and metrics tell them apart by it";
    let named = || name(&one.name.value);
    if checked.iter().any(|other| other.source.name == source.name) {
        report.error_with_hint(
            &one.name,
            format!("two transmitters are named {}", named()),
            hint,
        );
    }
    if raw
        .issuers
        .iter()
        .any(|issuer| issuer.name.value == source.name)
    {
        report.error_with_hint(&one.name, format!("an issuer is named {}", named()), hint);
    }
    let twin = checked
        .iter()
        .find(|other| other.source.issuer == source.issuer);
    if let Some(twin) = twin {
        let message = format!(
            "transmitter {} already has this `issuer`",
            name(&twin.source.name)
        );
        let hint = "join the two: its events are for one audience";
        report.error_with_hint(&one.issuer, message, hint);
    }
}

/// The issuers that it speaks for, by name.
fn spoken_for(
    report: &mut ConfigFindings<'_>,
    raw: &RawConfig,
    one: &RawTransmitter,
    index: usize,
) -> Vec<String> {
    let known = || raw.issuers.iter().map(|issuer| issuer.name.value.as_str());
    let mut wanted: Vec<String> = Vec::new();
    for (place, given) in one.issuers.iter().enumerate() {
        let subject = format!("ssf[{index}].issuers[{place}]");
        if !known().any(|known| known == given.value) {
            let hint = match nearest(&given.value, known()) {
                Some(near) => format!("did you mean {}?", name(near)),
                None if raw.issuers.is_empty() => "add it to `issuers`".to_owned(),
                None => format!("one of {}", names(known())),
            };
            let message = format!("`{subject}` names no issuer: {}", name(&given.value));
            report.error_with_hint(given, message, hint);
        } else if wanted.contains(&given.value) {
            report.error(given, format!("`{subject}` stands twice"));
        }
        wanted.push(given.value.clone());
    }
    wanted
}

/// Its keys, kept like an issuer's. `None`: it was reported.
fn source(
    report: &mut ConfigFindings<'_>,
    one: &RawTransmitter,
    index: usize,
    egress: &Egress,
) -> Option<IssuerSettings> {
    let whole = format!("ssf[{index}]");
    let subject = |key: &str| format!("{whole}.{key}");
    let own_name = report.own_name(&one.name, &subject("name"));
    if RESERVED_NAMES.contains(&one.name.value.as_str()) {
        let message = format!("the name {} is reserved", name(&one.name.value));
        report.error(&one.name, message);
    }
    let issuer = compared(report, &one.issuer, &subject("issuer"));
    let audience = audience(report, &one.audience, &subject("audience"));
    let keys = key_source(report, &one.jwks, &whole);
    if let Some((KeySource::Discovery, _)) = &keys {
        let hint = "write `{ url: https://… }`, the `jwks_uri` of its `/.well-known/ssf-configuration`, or `{ file: jwks.json }`";
        let message = format!("`{}` needs `url` or `file`", subject("jwks"));
        report.error_with_hint(&one.jwks, message, hint);
        return None;
    }
    let ca = match &one.ca {
        Some(given) => Some(report.path(given, &subject("ca"), Content::Trust)?),
        None => None,
    };
    let egress = own(report, egress, one.proxy.as_ref(), &whole);
    let (keys, key_access) = keys?;
    if let (Some(given), KeySource::File(_)) = (&one.ca, &keys) {
        let message = format!("`{}` has no use: the keys are in a file", subject("ca"));
        report.error(given, message);
    }
    let settings = IssuerSettings {
        name: own_name?,
        issuer: issuer?,
        audiences: vec![audience?],
        algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
        keys,
        ca,
        key_access,
        egress: egress.clone(),
        subject_claims: subject_claims(report, None, ""),
        groups_claim: claim(report, None, "", "groups")?,
        audience_claim: claim(report, None, "", "aud")?,
        types: Vec::new(),
        header: None,
        accepts_unverified_email: false,
        dpop_required: false,
        tokens: TokensTaken::Any,
        login_clients: Vec::new(),
        leeway: Duration::from_secs(30),
        max_lifetime: hours(24),
        stale_keys: hours(24),
        refresh: hours(1),
        introspection: None,
        cluster: None,
        attributes: Vec::new(),
    };
    if let Some((tls, host, port)) = first_asked(&settings, false) {
        route(report, &egress, &one.jwks, (tls, &host, port));
    }
    Some(settings)
}

fn audience(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
) -> Option<String> {
    if at.value.is_empty() {
        report.error(at, format!("`{subject}` must not be empty"));
        return None;
    }
    Some(at.value.clone())
}
