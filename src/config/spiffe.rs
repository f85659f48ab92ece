//! `issuers[].spiffe`: a SPIFFE trust domain whose workloads show JWT-SVIDs.
//!
//! What it does: checks the trust domain, its bundle and the few settings that it shares with other issuers. What it
//! refuses to know: what stands in the bundle. Invariants: what JWT-SVID fixes (claims, types, algorithms) is no setting,
//! and one that would have no effect is an error.

use super::bundle::bundle;
use super::claims::{claim, subject_claims};
use super::issuer_parts::{algorithms, attributes_from, own_name, place, texts, times};
use super::raw::{RawIssuer, RawSpiffe};
use super::report::{ConfigFindings, Content};
use crate::accept::BundleSettings;
use crate::document::{Spanned, name};
use crate::egress::Egress;
use crate::identify::{
    BUNDLE_REFRESH, BUNDLE_STALE, IssuerSettings, JWT_SVID_ALGORITHMS, JWT_SVID_TYPES, KeyAccess,
    KeySource, TokensTaken, is_trust_domain,
};

/// An issuer of JWT-SVIDs. `None`: it was reported.
pub(crate) fn trust_domain(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawIssuer,
    spiffe: &Spanned<RawSpiffe>,
    has_login: bool,
    egress: &Egress,
) -> Option<IssuerSettings> {
    let subject = |key: &str| format!("issuers[{index}].{key}");
    let own_name = own_name(report, index, raw);
    without_effect(report, index, raw, spiffe);
    if has_login {
        let message = format!(
            "people cannot log in at {}: it is a SPIFFE trust domain",
            name(&raw.name.value)
        );
        report.error_with_hint(
            spiffe,
            message,
            "let `web.login.issuer` name an OIDC issuer",
        );
    }
    let RawSpiffe {
        trust_domain,
        bundle: given,
    } = &spiffe.value;
    let domain = trust_domain.value.as_str();
    if !is_trust_domain(domain) {
        let message = format!(
            "`{}` is written in full, of `a-z 0-9 . - _`, without `spiffe://` and wildcards",
            subject("spiffe.trust_domain")
        );
        report.error_with_hint(trust_domain, message, "write it like `prod.acme.example`");
    }
    let bundle = bundle(
        report,
        &subject("spiffe.bundle"),
        given,
        Content::Bundle,
        egress,
    );
    let (leeway, max_lifetime) = times(report, index, raw);
    let audiences = texts(report, &raw.audiences, &subject("audiences"));
    let algorithms = algorithms(report, raw, &JWT_SVID_ALGORITHMS);
    let BundleSettings { place, ca, egress } = bundle?;
    Some(IssuerSettings {
        name: own_name?,
        issuer: format!("spiffe://{domain}"),
        audiences,
        algorithms,
        keys: KeySource::Bundle {
            bundle: place,
            trust_domain: domain.to_owned(),
        },
        ca,
        key_access: KeyAccess::default(),
        egress,
        subject_claims: subject_claims(report, None, ""),
        groups_claim: claim(report, None, "", "groups")?,
        audience_claim: claim(report, None, "", "aud")?,
        types: JWT_SVID_TYPES.map(str::to_owned).to_vec(),
        accepts_unverified_email: false,
        header: None,
        tokens: TokensTaken::Any,
        dpop_required: false,
        login_clients: Vec::new(),
        leeway,
        max_lifetime,
        stale_keys: BUNDLE_STALE,
        refresh: BUNDLE_REFRESH,
        introspection: None,
        cluster: None,
        attributes: attributes_from(report, raw, index),
    })
}

/// Reports what says something of other issuers.
fn without_effect(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawIssuer,
    spiffe: &Spanned<RawSpiffe>,
) {
    let at_all = |given: bool| given.then(|| place(spiffe));
    let claims = &raw.claims;
    for (key, at) in [
        ("issuer", raw.issuer.as_ref().map(place)),
        ("jwks", raw.jwks.as_ref().map(place)),
        ("ca", raw.ca.as_ref().map(place)),
        ("proxy", raw.proxy.as_ref().map(place)),
        ("claims.subject", claims.subject.as_ref().map(place)),
        ("claims.groups", claims.groups.as_ref().map(place)),
        ("claims.audience", claims.audience.as_ref().map(place)),
        ("types", at_all(raw.types.is_some())),
        ("header", at_all(raw.header.is_some())),
        ("tokens", at_all(raw.tokens.is_some())),
        ("email_unverified", at_all(raw.email_unverified.is_some())),
        ("dpop", at_all(raw.dpop.is_some())),
        ("introspection", raw.introspection.as_ref().map(place)),
        ("kubernetes", raw.kubernetes.as_ref().map(place)),
        ("review", raw.review.as_ref().map(place)),
        ("refresh", raw.refresh.as_ref().map(place)),
        ("stale_keys", raw.stale_keys.as_ref().map(place)),
    ] {
        let Some(at) = at else { continue };
        let hint = match key {
            "issuer" => {
                "remove one of the two: JWT-SVIDs are told by the trust domain of their `sub`"
            }
            "jwks" | "ca" | "proxy" | "refresh" | "stale_keys" => {
                "remove it: `spiffe.bundle` says where the keys are"
            }
            _ => "remove it: the standard says what a JWT-SVID looks like",
        };
        report.error_with_hint(
            &at,
            format!("`issuers[{index}].{key}` has no use beside `spiffe`"),
            hint,
        );
    }
}
