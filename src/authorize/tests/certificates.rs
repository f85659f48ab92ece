//! Subjects that speak of certificates, where their authorities have names.
//!
//! What it does: reads subjects and compares them with holders of certificates. What it refuses to know: how a certificate
//! is verified. Invariant: what a policy is told of a subject, and which callers the subject matches, say the same.

use std::path::Path;
use std::sync::Arc;

use super::super::subject::{IssuerName, Subject};
use super::super::{CertificateAuthority, Policy, Surroundings};
use crate::apps::Glob;
use crate::clock::UnixMillis;
use crate::document::Diagnostic;
use crate::identify::{CertificateFacts, Doubts, Facts, Method};
use crate::profiles::Profile;

/// What is said of one subject, where the configuration has these authorities for client certificates.
fn said_of(subject: &str, authorities: &[(&str, &[&str])]) -> Vec<String> {
    let profile = Profile::lightstep();
    let authority = |(name, domains): &(&str, &[&str])| CertificateAuthority {
        name: (*name).to_owned(),
        trust_domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
    };
    let around = Surroundings {
        profile: &profile,
        organization: "acme",
        issuers: &["okta".to_owned()],
        authorities: &authorities.iter().map(authority).collect::<Vec<_>>(),
        destinations: &[],
        now: UnixMillis(0),
    };
    let text = format!(
        "version: 1\napps: {{ shop: {{ project: shop }} }}\nbindings:\n  - {{ name: a, subjects: [{subject}], permissions: [ingest.*], apps: [shop] }}\n"
    );
    let (policy, found) = Policy::load(Path::new("p"), &text, &around);
    assert_eq!(policy.is_none(), found.iter().any(Diagnostic::is_error));
    let line = |each: &Diagnostic| format!("{each}").split_once(": ").unwrap().1.replace("\n  ", " ");
    found.iter().map(line).collect()
}

/// Scenario: subjects that name certificates, with one authority and with two.
/// Guarantees: an authority is an issuer; one that may not speak for a trust domain is told; with several, a subject's
/// distinguished name needs one.
#[test]
fn subjects_name_the_authorities_of_certificates() {
    let one: &[(&str, &[&str])] = &[("prod", &["prod.example"])];
    let two: &[(&str, &[&str])] = &[("prod", &["prod.example"]), ("partner", &[])];
    let id = r#"spiffe: "spiffe://prod.example/a""#;
    let foreign = r#"spiffe: "spiffe://other.example/a""#;
    let needs = "hint: name the authority: `issuer` is one of `prod`, `partner`";
    for (subject, authorities, expected) in [
        (format!("{{ issuer: prod, {id} }}"), two, vec![]),
        (format!("{{ {id} }}"), two, vec![]),
        ("{ issuer: partner }".to_owned(), two, vec![]),
        ("{ dns: a.example }".to_owned(), two, vec![]),
        (r#"{ issuer: mtls, subject: "spiffe://prod.example/**" }"#.to_owned(), two, vec![]),
        (r#"{ issuer: partner, subject: "CN=a" }"#.to_owned(), two, vec![]),
        (r#"{ issuer: partner, x509_subject: "CN=a" }"#.to_owned(), two, vec![]),
        (r#"{ x509_subject: "CN=a" }"#.to_owned(), one, vec![]),
        (r#"{ issuer: mtls, subject: "CN=a" }"#.to_owned(), one, vec![]),
        (
            r#"{ x509_subject: "CN=a" }"#.to_owned(),
            two,
            vec![format!("error: `x509_subject` needs the authority as `issuer`: each of several writes what it likes {needs}")],
        ),
        (
            r#"{ issuer: okta, subject: a, x509_subject: "CN=a" }"#.to_owned(),
            two,
            vec![format!("error: `x509_subject` needs the authority as `issuer`: each of several writes what it likes {needs}")],
        ),
        (
            r#"{ issuer: mtls, subject: "**" }"#.to_owned(),
            two,
            vec![format!("error: this `subject` needs the authority as `issuer`: each of several writes what it likes {needs}")],
        ),
        (
            format!("{{ issuer: partner, {id} }}"),
            two,
            vec![
                "error: this subject can never match: `partner` does not speak for the trust domain `prod.example` hint: it has no `trust_domains`"
                    .to_owned(),
            ],
        ),
        (
            format!("{{ issuer: prod, {foreign} }}"),
            one,
            vec![
                "error: this subject can never match: `prod` does not speak for the trust domain `other.example` hint: its `trust_domains`: `prod.example`"
                    .to_owned(),
            ],
        ),
        (
            format!("{{ {foreign} }}"),
            one,
            vec![
                "warning: this matches nobody: no `client_ca` speaks for the trust domain `other.example` hint: add it to the `trust_domains` of the authority that issues such IDs"
                    .to_owned(),
            ],
        ),
        (format!("{{ {foreign} }}"), &[], vec![]),
        (
            "{ issuer: prod, group: sre }".to_owned(),
            one,
            vec![
                "error: this subject can never match: a certificate has neither groups nor claims hint: name the OIDC issuer of the groups or claims"
                    .to_owned(),
            ],
        ),
    ] {
        let said: Vec<String> = said_of(&subject, authorities);
        let without_place = |line: &'_ String| {
            let at = line.find("error: ").or(line.find("warning: ")).unwrap_or(0);
            line.split_at(at).1.to_owned()
        };
        let said: Vec<String> = said.iter().map(without_place).collect();
        assert_eq!(said, expected, "{subject}");
    }
}

/// Scenario: two authorities vouch for certificates of one name. Guarantees: a subject that names an authority matches
/// its holders alone; one that names none matches both, as `mtls` does.
#[test]
fn an_authority_is_an_issuer() {
    let holder = |ca: &str| Facts {
        method: Method::Mtls,
        issuer: Arc::from(ca),
        subject: Arc::from("a.example"),
        subject_claim: None,
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        certificate: Some(Arc::new(CertificateFacts {
            ca: Arc::from(ca),
            spiffe: None,
            dns: vec!["a.example".to_owned()],
            subject: String::new(),
            fingerprint: String::new(),
            not_after: 0,
        })),
        client_binding: None,
        doubts: Doubts::default(),
        expires_unix_seconds: 0,
    };
    let named = |issuer| Subject { issuer, dns: Some(Glob::parse("*.example", '.').unwrap()), ..Subject::default() };
    for (issuer, of_prod, of_partner) in [
        (Some(IssuerName::Authority(Arc::from("prod"))), true, false),
        (Some(IssuerName::Authority(Arc::from("partner"))), false, true),
        (Some(IssuerName::Oidc(Arc::from("prod"))), false, false),
        (Some(IssuerName::Mtls), true, true),
        (None, true, true),
    ] {
        let subject = named(issuer.clone());
        let found = (subject.matches(&holder("prod")), subject.matches(&holder("partner")));
        assert_eq!(found, (of_prod, of_partner), "{issuer:?}");
    }
}
