//! Subjects that speak of certificates, where their authorities have names.
//!
//! What it does: reads subjects and compares them with holders of certificates. What it refuses to know: how a certificate
//! is verified. Invariant: what a policy is told of a subject, and which callers the subject matches, say the same.

use std::path::Path;
use std::sync::Arc;

use super::super::index::{IndexEntry, SubjectIndex};
use super::super::subject::{IssuerName, Subject};
use super::super::{CertificateAuthority, Policy, PolicySurroundings, TrustDomainIssuer};
use crate::apps::Glob;
use crate::clock::UnixMillis;
use crate::document::Diagnostic;
use crate::identify::{CertificateFacts, Doubts, Facts, Method};
use crate::profiles::Profile;

/// What is said of one subject, where the configuration has these authorities for client certificates.
fn said_of(subject: &str, authorities: &[(&str, &[&str])]) -> Vec<String> {
    said_beside(subject, authorities, &[])
}

/// The same, with issuers of JWT-SVIDs for these trust domains besides.
fn said_beside(
    subject: &str,
    authorities: &[(&str, &[&str])],
    svids: &[(&str, &str)],
) -> Vec<String> {
    let profile = Profile::lightstep();
    let authority = |(name, domains): &(&str, &[&str])| CertificateAuthority {
        name: (*name).to_owned(),
        trust_domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
    };
    let svid_issuer = |(name, domain): &(&str, &str)| TrustDomainIssuer {
        name: (*name).to_owned(),
        trust_domain: (*domain).to_owned(),
    };
    let around = PolicySurroundings {
        profile: &profile,
        organization: "acme",
        issuers: &svids
            .iter()
            .map(|(name, _)| *name)
            .chain(["okta"])
            .map(str::to_owned)
            .collect::<Vec<_>>(),
        trust_domains: &svids.iter().map(svid_issuer).collect::<Vec<_>>(),
        authorities: &authorities.iter().map(authority).collect::<Vec<_>>(),
        aws: &[],
        destinations: &[],
        backends: &crate::apps::BackendNames::default(),
        now: UnixMillis(0),
    };
    let text = format!(
        "version: 1\napps: {{ shop: {{ project: shop }} }}\nbindings:\n  - {{ name: a, subjects: [{subject}], permissions: [ingest.*], apps: [shop] }}\n"
    );
    let (policy, found) = Policy::load(Path::new("p"), &text, &around);
    assert_eq!(policy.is_none(), found.iter().any(Diagnostic::is_error));
    let line = |each: &Diagnostic| {
        format!("{each}")
            .split_once(": ")
            .unwrap()
            .1
            .replace("\n  ", " ")
    };
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
                "warning: this matches no caller: no `client_ca` speaks for the trust domain `other.example` hint: add it to the `trust_domains` of the authority that issues such IDs"
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
            serial: String::new(),
            key: String::new(),
            not_before: 0,
            not_after: 0,
        })),
        attributes: Vec::new(),
        client_binding: None,
        aws: None,
        doubts: Doubts::default(),
        expires_unix_seconds: 0,
    };
    let named = |issuer| Subject {
        issuer,
        dns: Some(Glob::parse("*.example", '.').unwrap()),
        ..Subject::default()
    };
    for (issuer, of_prod, of_partner) in [
        (Some(IssuerName::Authority(Arc::from("prod"))), true, false),
        (
            Some(IssuerName::Authority(Arc::from("partner"))),
            false,
            true,
        ),
        (Some(IssuerName::Oidc(Arc::from("prod"))), false, false),
        (Some(IssuerName::Mtls), true, true),
        (None, true, true),
    ] {
        let subject = named(issuer.clone());
        let found = (
            subject.matches(&holder("prod")),
            subject.matches(&holder("partner")),
        );
        assert_eq!(found, (of_prod, of_partner), "{issuer:?}");
    }
}

/// Scenario: subjects that name SPIFFE IDs, with issuers of JWT-SVIDs beside authorities and without.
/// Guarantees: an ID without an issuer counts from either; one that names an issuer of JWT-SVIDs is held to its trust domain,
/// and to what a JWT-SVID has; `mtls` and other issuers of tokens speak of certificates.
#[test]
fn subjects_name_the_issuers_of_jwt_svids() {
    let prod: &[(&str, &[&str])] = &[("prod", &["prod.example"])];
    let mesh: &[(&str, &str)] = &[("mesh", "mesh.example")];
    let id = r#"spiffe: "spiffe://mesh.example/a""#;
    let other = r#"spiffe: "spiffe://other.example/a""#;
    let nobody = |domain: &str| {
        format!(
            "warning: this matches no caller: no `client_ca` speaks for the trust domain `{domain}` hint: add it to the `trust_domains` of the authority that issues such IDs"
        )
    };
    let never = "error: this subject can never match: `mesh` does not speak for the trust domain `other.example` hint: its `trust_domain`: `mesh.example`";
    let groups = "error: this subject can never match: a JWT-SVID has no groups hint: name the workload by `spiffe`, or its `claims`";
    for (subject, authorities, expected) in [
        (format!("{{ {id} }}"), prod, vec![]),
        (format!("{{ {id} }}"), &[], vec![]),
        (format!("{{ issuer: mesh, {id} }}"), prod, vec![]),
        (
            r#"{ issuer: mesh, subject: "spiffe://mesh.example/**" }"#.to_owned(),
            prod,
            vec![],
        ),
        (
            "{ issuer: mesh, claims: { env: prod } }".to_owned(),
            prod,
            vec![],
        ),
        ("{ issuer: mesh }".to_owned(), prod, vec![]),
        (
            format!("{{ issuer: mesh, {other} }}"),
            prod,
            vec![never.to_owned()],
        ),
        (
            format!("{{ issuer: mesh, {other} }}"),
            &[],
            vec![never.to_owned()],
        ),
        (
            "{ issuer: mesh, group: sre }".to_owned(),
            prod,
            vec![groups.to_owned()],
        ),
        (
            format!("{{ {other} }}"),
            prod,
            vec![nobody("other.example")],
        ),
        (
            format!("{{ issuer: mtls, {id} }}"),
            prod,
            vec![nobody("mesh.example")],
        ),
        (
            format!("{{ issuer: okta, {id} }}"),
            prod,
            vec![nobody("mesh.example")],
        ),
    ] {
        assert_eq!(
            said_beside(&subject, authorities, mesh),
            expected,
            "{subject}"
        );
    }
}

/// Scenario: a workload shows its SPIFFE ID by a JWT-SVID, with another workload's certificate and without, and an OIDC
/// issuer writes the same text as a subject. Guarantees: `spiffe` matches as for a certificate, with the issuer and without;
/// a token decides before a certificate; only a proven SPIFFE ID counts.
#[test]
fn a_jwt_svid_matches_as_a_certificate_would() {
    let id = "spiffe://prod.acme.example/ns/checkout/sa/otel";
    let glob = |text: &str| Some(Glob::parse(text, '/').unwrap());
    let pattern = "spiffe://prod.acme.example/ns/checkout/**";
    let certificate = CertificateFacts {
        ca: Arc::from("prod"),
        spiffe: Some("spiffe://prod.acme.example/ns/billing/sa/otel".to_owned()),
        dns: vec!["a.b".to_owned()],
        subject: "CN=a".to_owned(),
        fingerprint: String::new(),
        serial: String::new(),
        key: String::new(),
        not_before: 0,
        not_after: i64::MAX,
    };
    let facts = |method: Method, certificate: Option<CertificateFacts>| Facts {
        method,
        issuer: Arc::from("mesh"),
        subject: Arc::from(id),
        subject_claim: None,
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        certificate: certificate.map(Arc::new),
        attributes: Vec::new(),
        client_binding: None,
        aws: None,
        doubts: Doubts::default(),
        expires_unix_seconds: 0,
    };
    let svid = facts(Method::JwtSvid, None);
    let beside = facts(Method::JwtSvid, Some(certificate));
    let token = facts(Method::Oidc, None);
    let named = |name: &str| Some(IssuerName::Oidc(Arc::from(name)));
    let of = |issuer: Option<IssuerName>| Subject {
        issuer,
        spiffe: glob(pattern),
        ..Subject::default()
    };
    let billing = |issuer: Option<IssuerName>| Subject {
        issuer,
        spiffe: glob("spiffe://prod.acme.example/ns/billing/**"),
        ..Subject::default()
    };
    let dns = |issuer: Option<IssuerName>| Subject {
        dns: Glob::parse("a.b", '.').ok(),
        ..of(issuer)
    };
    for (what, subject, by_svid, beside_certificate, by_token) in [
        ("`spiffe` alone", of(None), true, true, false),
        (
            "`issuer` and `spiffe`",
            of(named("mesh")),
            true,
            true,
            false,
        ),
        ("another issuer", of(named("okta")), false, false, false),
        (
            "certificates",
            of(Some(IssuerName::Mtls)),
            false,
            false,
            false,
        ),
        (
            "an authority",
            of(Some(IssuerName::Authority(Arc::from("prod")))),
            false,
            false,
            false,
        ),
        (
            "an authority of the issuer's name",
            of(Some(IssuerName::Authority(Arc::from("mesh")))),
            false,
            false,
            false,
        ),
        (
            "client tokens",
            of(Some(IssuerName::ClientTokens)),
            false,
            false,
            false,
        ),
        (
            "the issuer alone",
            Subject {
                issuer: named("mesh"),
                ..Subject::default()
            },
            true,
            true,
            true,
        ),
        (
            "`subject`",
            Subject {
                issuer: named("mesh"),
                subject: glob(pattern),
                ..Subject::default()
            },
            true,
            true,
            true,
        ),
        (
            "a shorter pattern",
            Subject {
                spiffe: glob("spiffe://prod.acme.example/ns/*/sa"),
                ..of(None)
            },
            false,
            false,
            false,
        ),
        ("the certificate's ID", billing(None), false, false, false),
        (
            "the certificate's ID of the issuer",
            billing(named("mesh")),
            false,
            false,
            false,
        ),
        (
            "the certificate's ID of its authority",
            billing(Some(IssuerName::Authority(Arc::from("prod")))),
            false,
            false,
            false,
        ),
        ("a host too", dns(None), false, false, false),
        (
            "a host too, of the issuer",
            dns(named("mesh")),
            false,
            true,
            false,
        ),
        (
            "a host alone",
            Subject {
                dns: Glob::parse("a.b", '.').ok(),
                ..Subject::default()
            },
            false,
            false,
            false,
        ),
        (
            "a subject name too",
            Subject {
                x509_subject: Some("CN=b".into()),
                ..of(named("mesh"))
            },
            false,
            false,
            false,
        ),
    ] {
        let matches = [&svid, &beside, &token].map(|facts| subject.matches(facts));
        assert_eq!(matches, [by_svid, beside_certificate, by_token], "{what}");
        let index = SubjectIndex::build(vec![IndexEntry {
            binding: 0,
            subject,
        }]);
        for (facts, expected) in [
            (&svid, by_svid),
            (&beside, beside_certificate),
            (&token, by_token),
        ] {
            let mut found = false;
            index.candidates(facts, |_| found = true);
            assert!(found || !expected, "{what}: the index leaves it out");
        }
    }
}
