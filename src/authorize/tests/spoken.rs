//! Which facts of a caller a record tells.
//!
//! What it does: decides with all that is known of callers, and again with what a record would hold of them. What it refuses to know:
//! how records are written. Invariant: the two decisions say the same.

use std::sync::Arc;

use serde_json::json;

use super::super::{Policy, SpokenFacts};
use super::{call, export, load, member, query};
use crate::accept::RequestKind;
use crate::clock::UnixMillis;
use crate::identify::{CertificateFacts, Facts, Method};

const POLICY: &str = "
version: 1
apps: { shop: { project: shop-prod, apps: { checkout: { project: checkout-prod } } } }
bindings:
  - { name: group, subjects: [{ issuer: okta, group: dev }], permissions: [ingest.*], apps: [shop] }
  - { name: named, subjects: [{ issuer: okta, subject: ann }], permissions: [query.*.read], apps: [shop] }
  - { name: claim, subjects: [{ issuer: okta, claims: { team: { like: \"pay-*\" }, /at/site: north } }], permissions: [ingest.*], apps: [shop/checkout] }
  - { name: held, effect: deny, subjects: [{ issuer: okta, group: held }], permissions: [ingest.*], apps: [shop] }
  - { name: over, subjects: [{ issuer: okta, group: old }], permissions: [ingest.*], apps: [shop], until: 1970-01-01T00:00:00Z }
  - { name: hosts, subjects: [{ issuer: mtls, dns: \"*.batch.acme.example\" }], permissions: [ingest.*], apps: [shop] }
  - { name: workload, subjects: [{ spiffe: \"spiffe://acme.example/checkout\" }], permissions: [ingest.*], apps: [shop/checkout] }
";

fn of_claims(claims: serde_json::Value) -> Facts {
    let mut facts = member("none");
    facts.claims = claims.as_object().cloned().unwrap_or_default();
    facts
}

fn of_groups(groups: &[&str]) -> Facts {
    let mut facts = member("none");
    facts.groups = groups.iter().map(|&group| group.to_owned()).collect();
    facts
}

fn of_certificate(spiffe: Option<&str>, dns: &[&str]) -> Facts {
    let certificate = CertificateFacts {
        ca: Arc::from("mtls"),
        spiffe: spiffe.map(str::to_owned),
        dns: dns.iter().map(|&name| name.to_owned()).collect(),
        subject: "CN=batch".to_owned(),
        fingerprint: "0".repeat(64),
        serial: "1".to_owned(),
        key: "1".repeat(64),
        not_before: 0,
        not_after: 0,
    };
    let subject: Arc<str> = certificate.holder().into();
    Facts {
        method: Method::Mtls,
        issuer: Arc::from("mtls"),
        subject,
        certificate: Some(Arc::new(certificate)),
        groups: Vec::new(),
        ..member("none")
    }
}

/// The record's words, one for each fact.
fn words(spoken: &SpokenFacts) -> Vec<String> {
    let claims = spoken
        .claims
        .iter()
        .map(|(path, text)| format!("{path}={text}"));
    let groups = spoken.groups.iter().map(|group| format!("group {group}"));
    let dns = spoken.dns.iter().map(|name| format!("dns {name}"));
    groups
        .chain(claims)
        .chain(dns)
        .chain(spoken.spiffe.iter().cloned())
        .chain(spoken.x509_subject.iter().cloned())
        .collect()
}

/// Scenario: callers whose groups, claims and certificates say more than the policy asks, in calls that are allowed, denied, and spoken of by
/// nothing. Guarantees: the record holds what decided, or where nothing did, what the policy knows; nothing else of the caller's.
#[test]
fn a_record_holds_what_decided() {
    let policy = load(POLICY);
    let shop = || export(Some("shop"));
    let checkout = || export(Some("shop/checkout"));
    let both = json!({ "team": ["x", "pay-eu"], "at": { "site": "north", "room": 7 }, "email": "ann@acme.example" });
    let rows: [(Facts, RequestKind, &str, &[&str]); 10] = [
        (
            of_groups(&["dev", "all", "old"]),
            shop(),
            "allow",
            &["group dev"],
        ),
        (
            of_groups(&["dev", "held"]),
            shop(),
            "denied_by_binding",
            &["group held"],
        ),
        (
            of_groups(&["old", "all"]),
            shop(),
            "outside_time_window",
            &["group old"],
        ),
        (of_groups(&["all"]), shop(), "not_permitted", &[]),
        (
            of_groups(&["all"]),
            query("acme", &["projects", "shop-prod", "dashboards"]),
            "allow",
            &[],
        ),
        (
            of_claims(both.clone()),
            checkout(),
            "allow",
            &["team=pay-eu", "/at/site=north"],
        ),
        (
            of_claims(both),
            shop(),
            "not_permitted",
            &["team=pay-eu", "/at/site=north"],
        ),
        (
            of_certificate(None, &["a.acme.example", "7.batch.acme.example"]),
            shop(),
            "allow",
            &["dns 7.batch.acme.example"],
        ),
        (
            of_certificate(None, &["7.batch.acme.example"]),
            shop(),
            "allow",
            &[],
        ),
        (
            of_certificate(Some("spiffe://acme.example/checkout"), &["a.example"]),
            checkout(),
            "allow",
            &[],
        ),
    ];
    for (facts, kind, verdict, expected) in rows {
        let asked = call(kind);
        let judged = policy.judge(&facts, &asked, UnixMillis(0));
        let (decision, bindings) = match &judged {
            Ok(permit) => ("allow", permit.bindings().to_vec()),
            Err(denial) => (denial.reason.code(), denial.bindings.clone()),
        };
        assert_eq!(decision, verdict, "{:?}", facts.groups);
        let spoken = policy.spoken_facts(&facts, &bindings);
        assert_eq!(words(&spoken), expected, "{verdict} {:?}", facts.groups);
        assert_eq!(
            again(&policy, &facts, &spoken, &asked),
            verdict,
            "{expected:?}"
        );
    }
}

/// The decision on what a record holds of the caller.
fn again(
    policy: &Policy,
    facts: &Facts,
    spoken: &SpokenFacts,
    asked: &crate::accept::Call,
) -> &'static str {
    let mut known = facts.clone();
    known.groups.clone_from(&spoken.groups);
    known.claims = serde_json::Map::new();
    for (path, text) in &spoken.claims {
        match path.strip_prefix("/at/") {
            Some(inner) => drop(known.claims.insert("at".to_owned(), json!({ inner: text }))),
            None => drop(known.claims.insert(path.to_string(), text.as_str().into())),
        }
    }
    match policy.judge(&known, asked, UnixMillis(0)) {
        Ok(_) => "allow",
        Err(denial) => denial.reason.code(),
    }
}

/// Scenario: a caller for which a policy asks for more groups than a record holds. Guarantees: so many are told, and that there are more.
#[test]
fn a_record_holds_a_bounded_number_of_facts() {
    let groups: Vec<String> = (0..40).map(|number| format!("g{number}")).collect();
    let subjects = groups
        .iter()
        .map(|group| format!("{{ issuer: okta, group: {group} }}"));
    let subjects = subjects.collect::<Vec<_>>().join(", ");
    let policy = load(&format!(
        "version: 1\napps: {{ shop: {{ project: shop }} }}\nbindings:\n  - {{ name: many, subjects: [{subjects}], permissions: [ingest.*], apps: [shop] }}\n"
    ));
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    for (held, told, is_cut) in [
        (0, 0, false),
        (1, 1, false),
        (16, 16, false),
        (17, 16, true),
        (40, 16, true),
    ] {
        let spoken = policy.spoken_facts(&of_groups(&names[..held]), &[]);
        assert_eq!(
            (spoken.groups.len(), spoken.is_cut),
            (told, is_cut),
            "{held}"
        );
    }
}
