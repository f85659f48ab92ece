//! Several authorities at one listener: each speaks for what is its own, and for nothing else.
//!
//! What it does: lets authorities vouch for names that are theirs and for names that are not. What it refuses to know:
//! policies, files' syntax. Invariant: every certificate of these tests is good in itself.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, SanType};
use serde_json::json;

use super::super::forge::{Answer, Folder, NOW, RSA, World, caller, issuer};
use super::super::{
    ClientTrust, ClientVerifier, Identifier, KeySource, own_trust_domain, signing_certificates,
};
use super::authority::{Authority, WORKLOAD, dns, present, settings, uri};
use crate::accept::{ClientAuthority, ClientCertificates, ClientChain};
use crate::apps::Glob;

/// The authority that signed, its name in the configuration, its trust domains and hosts.
type Row<'a> = (&'a Authority, &'a str, &'a [&'a str], &'a [&'a str]);

fn trust(rows: &[Row<'_>]) -> ClientTrust {
    let folder = Folder::new();
    let one = |(authority, name, domains, hosts): &Row<'_>| ClientAuthority {
        trust_domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        dns: hosts
            .iter()
            .map(|pattern| Glob::parse(pattern, '.').unwrap())
            .collect(),
        ..settings(
            name,
            folder.write(&format!("{name}.pem"), authority.issuer.pem()),
            None,
        )
    };
    let authorities = rows.iter().map(one).collect();
    let clients = ClientCertificates {
        authorities,
        demand: crate::accept::CertificateDemand::Optional,
    };
    ClientTrust::read(&clients, &World::new().surroundings, None).unwrap()
}

fn leaf(authority: &Authority, names: Vec<SanType>, subject: Option<&str>) -> Arc<ClientChain> {
    let change = |leaf: &mut CertificateParams| {
        leaf.subject_alt_names = names;
        if let Some(subject) = subject {
            leaf.distinguished_name.push(DnType::CommonName, subject);
        }
    };
    Arc::new(ClientChain {
        certificates: vec![authority.leaf(7, change).0],
        listener: Arc::from("gateway"),
    })
}

/// Authority, subject, and the DNS names that count; or the reason.
fn held(
    verifier: &ClientVerifier,
    chain: &Arc<ClientChain>,
) -> Result<(String, String, Vec<String>), &'static str> {
    let facts = verifier
        .holder(chain, present())
        .map_err(|reason| reason.code())?
        .vouched
        .map(|(_, facts)| facts)
        .ok_or("unvouched")?;
    let certificate = facts.certificate.as_ref().unwrap();
    assert_eq!(facts.issuer, certificate.ca);
    Ok((
        facts.issuer.to_string(),
        facts.subject.to_string(),
        certificate.dns.clone(),
    ))
}

/// Scenario: a listener trusts our authority and a partner's; both hand out certificates for names of both.
/// Guarantees: a SPIFFE ID of another's trust domain makes a certificate no one's, a DNS name of another's does not count,
/// and what is left is told with the authority that said it (SPIFFE Trust Domain and Bundle section 4).
#[tokio::test]
async fn each_authority_speaks_for_its_own() {
    let world = World::new();
    let (ours, theirs) = (
        Authority::new("ours", |_| ()),
        Authority::new("theirs", |_| ()),
    );
    let rows: [Row<'_>; 2] = [
        (
            &ours,
            "prod",
            &["prod.acme.example", "stage.acme.example"],
            &["*.svc.acme.example"],
        ),
        (
            &theirs,
            "partner",
            &["partner.example"],
            &["**.partner.example"],
        ),
    ];
    let verifier = ClientVerifier::new("gateway", trust(&rows), world.surroundings.events.clone());
    let partner = "spiffe://partner.example/etl";
    let out = Err("certificate_out_of_scope");
    let as_subject = "CN=ada";
    type Expected<'a> = Result<(&'a str, &'a str, &'a [&'a str]), &'static str>;
    type Case<'a> = (
        &'a str,
        &'a Authority,
        Vec<SanType>,
        Option<&'a str>,
        Expected<'a>,
    );
    let table: [Case<'_>; 15] = [
        (
            "ours",
            &ours,
            vec![uri(WORKLOAD)],
            None,
            Ok(("prod", WORKLOAD, &[])),
        ),
        (
            "theirs",
            &theirs,
            vec![uri(partner)],
            None,
            Ok(("partner", partner, &[])),
        ),
        ("ours by them", &theirs, vec![uri(WORKLOAD)], None, out),
        (
            "ours by them, with a subject",
            &theirs,
            vec![uri(WORKLOAD)],
            Some("ada"),
            out,
        ),
        (
            "ours by them, with a host of theirs",
            &theirs,
            vec![uri(WORKLOAD), dns("a.partner.example")],
            None,
            out,
        ),
        ("theirs by us", &ours, vec![uri(partner)], None, out),
        (
            "a longer trust domain",
            &theirs,
            vec![uri("spiffe://partner.example.evil/etl")],
            None,
            out,
        ),
        (
            "a shorter trust domain",
            &theirs,
            vec![uri("spiffe://example/etl")],
            None,
            out,
        ),
        (
            "a host of ours",
            &ours,
            vec![dns("a.svc.acme.example")],
            None,
            Ok(("prod", "a.svc.acme.example", &["a.svc.acme.example"])),
        ),
        (
            "a host of ours by them",
            &theirs,
            vec![dns("a.svc.acme.example")],
            None,
            out,
        ),
        (
            "a host of ours by them, with a subject",
            &theirs,
            vec![dns("a.svc.acme.example")],
            Some("ada"),
            Ok(("partner", as_subject, &[])),
        ),
        (
            "hosts of both",
            &theirs,
            vec![dns("a.svc.acme.example"), dns("A.b.partner.example")],
            None,
            Ok(("partner", "a.b.partner.example", &["a.b.partner.example"])),
        ),
        (
            "a host beneath ours",
            &ours,
            vec![dns("a.b.svc.acme.example")],
            None,
            out,
        ),
        (
            "an ID with a host of others",
            &ours,
            vec![uri(WORKLOAD), dns("a.partner.example")],
            None,
            Ok(("prod", WORKLOAD, &[])),
        ),
        (
            "a subject",
            &theirs,
            vec![],
            Some("ada"),
            Ok(("partner", as_subject, &[])),
        ),
    ];
    for (what, signer, names, subject, expected) in table {
        let held = held(&verifier, &leaf(signer, names, subject));
        let held = held.as_ref().map_err(|reason| *reason);
        let shown = held.map(|(ca, subject, dns)| {
            (
                ca.as_str(),
                subject.as_str(),
                dns.iter().map(String::as_str).collect::<Vec<_>>(),
            )
        });
        assert_eq!(
            shown,
            expected.map(|(ca, subject, dns)| (ca, subject, dns.to_vec())),
            "{what}"
        );
    }
}

/// Scenario: an authority is certified by ours and by a partner's, so that its leaves lead to both.
/// Guarantees: the authority that counts is one that may give the name, in whatever order the two stand, and of two that may
/// the first; where neither may, no caller is identified, and the record names the first.
#[tokio::test]
async fn a_chain_with_two_ends_counts_for_the_end_that_may_give_its_name() {
    let world = World::new();
    let (ours, theirs) = (
        Authority::new("ours", |_| ()),
        Authority::new("theirs", |_| ()),
    );
    let (shared, twin) = ours.beneath_both(&theirs);
    let chain = |names: Vec<SanType>, subject: Option<&str>| {
        let leaf = leaf(&shared, names, subject).certificates[0].clone();
        Arc::new(ClientChain {
            certificates: vec![leaf, shared.der(), twin.clone()],
            listener: Arc::from("gateway"),
        })
    };
    let prod: Row<'_> = (&ours, "prod", &["prod.acme.example", "both.example"], &[]);
    let partner: Row<'_> = (
        &theirs,
        "partner",
        &["partner.example", "both.example"],
        &["*.partner.example"],
    );
    for rows in [[prod, partner], [partner, prod]] {
        let verifier =
            ClientVerifier::new("gateway", trust(&rows), world.surroundings.events.clone());
        let (first, host) = (rows[0].1, "a.partner.example");
        for (names, subject, counts, shown) in [
            (vec![uri(WORKLOAD)], None, Ok("prod"), "prod"),
            (
                vec![uri("spiffe://partner.example/etl")],
                None,
                Ok("partner"),
                "partner",
            ),
            (vec![dns(host)], None, Ok("partner"), "partner"),
            // A name that one may give comes before the subject, which both may.
            (vec![dns(host)], Some("ada"), Ok("partner"), "partner"),
            (vec![], Some("ada"), Ok(first), first),
            // An ID that both may give is enough: that one may give the host as well does not put it first.
            (
                vec![uri("spiffe://both.example/etl"), dns(host)],
                None,
                Ok(first),
                first,
            ),
            (
                vec![uri("spiffe://elsewhere.example/etl")],
                None,
                Err("certificate_out_of_scope"),
                first,
            ),
            (
                vec![dns("a.elsewhere.example")],
                None,
                Err("certificate_out_of_scope"),
                first,
            ),
        ] {
            let chain = chain(names, subject);
            let found = held(&verifier, &chain).map(|(ca, ..)| ca);
            assert_eq!(found.as_deref().map_err(|reason| *reason), counts);
            assert_eq!(verifier.shown(&chain, present()).ca.as_deref(), Some(shown));
        }
    }
}

/// Scenario: an authority loses a trust domain and a host while its holders have connections open, one of them with a
/// token beside the certificate that was remembered; then it is renamed.
/// Guarantees: from the reload on, names are those that the authority may give now, with tokens that are remembered, too.
#[tokio::test]
async fn what_an_authority_may_no_longer_say_stops_on_open_connections() {
    let world = World::new();
    let folder = Folder::new();
    let ours = Authority::new("ours", |_| ());
    let with = |name, domains, hosts| trust(&[(&ours, name, domains, hosts)]);
    let verifier = ClientVerifier::new(
        "gateway",
        with("prod", &["prod.acme.example"], &["*.example"]),
        world.surroundings.events.clone(),
    );
    let keys = Answer::keys(json!([RSA.jwk_with(json!({"kid": "rs"}))])).body;
    let issuers = [issuer(KeySource::File(folder.write("jwks.json", keys)))];
    let identifier = Identifier::new(
        &issuers,
        vec![verifier.clone()],
        world.surroundings.clone(),
        None,
    )
    .unwrap();
    let (workload, host) = (
        leaf(&ours, vec![uri(WORKLOAD)], None),
        leaf(&ours, vec![dns("a.example")], Some("ada")),
    );
    let token = RSA.token("RS256", "rs", json!({}));
    let beside = async |chain: &Arc<ClientChain>| {
        let identity = identifier
            .identify(caller(Some(&token), Some(chain.clone())))
            .await
            .map_err(|rejection| rejection.reason.code())?;
        let certificate = identity.facts().certificate.clone().unwrap();
        Ok::<_, &'static str>((
            certificate.ca.to_string(),
            certificate.spiffe.is_some(),
            certificate.dns.len(),
        ))
    };
    for _ in 0..2 {
        assert_eq!(beside(&workload).await, Ok(("prod".to_owned(), true, 0)));
        assert_eq!(beside(&host).await, Ok(("prod".to_owned(), false, 1)));
    }
    assert!(verifier.replace(with("prod", &["prod.acme.example"], &[])));
    assert_eq!(
        beside(&host).await,
        Ok(("prod".to_owned(), false, 0)),
        "a remembered token does not carry a host along"
    );
    assert!(verifier.replace(with("prod", &["stage.acme.example"], &["*.example"])));
    assert_eq!(beside(&workload).await, Err("certificate_out_of_scope"));
    assert_eq!(held(&verifier, &workload), Err("certificate_out_of_scope"));
    assert!(verifier.replace(with("workloads", &["prod.acme.example"], &["*.example"])));
    assert_eq!(
        beside(&workload).await,
        Ok(("workloads".to_owned(), true, 0))
    );
    assert!(
        !verifier.replace(with("workloads", &["prod.acme.example"], &["*.example"])),
        "the same again is no change"
    );
}

/// Scenario: of two authorities, one keeps a revocation list.
/// Guarantees: each list counts for its own authority; what is wrong at the end of a path is told before that another
/// authority knows no path, and with the authority's name.
#[tokio::test]
async fn revocation_lists_belong_to_their_authority() {
    let world = World::new();
    let folder = Folder::new();
    let (ours, theirs) = (
        Authority::new("ours", |_| ()),
        Authority::new("theirs", |_| ()),
    );
    for (list, first, second) in [
        (
            ours.revoking(&[1], NOW + 600),
            Err("certificate_revoked"),
            Ok(()),
        ),
        (ours.revoking(&[], NOW + 600), Ok(()), Ok(())),
        (
            ours.revoking(&[], NOW - 1),
            Err("revocation_unavailable"),
            Ok(()),
        ),
        (
            theirs.revoking(&[1], NOW + 600),
            Err("revocation_unavailable"),
            Ok(()),
        ),
    ] {
        for swapped in [false, true] {
            let listed = settings(
                "prod",
                folder.write("ours.pem", ours.issuer.pem()),
                Some(folder.write("list.pem", &list)),
            );
            let mut authorities = vec![
                listed,
                settings(
                    "partner",
                    folder.write("theirs.pem", theirs.issuer.pem()),
                    None,
                ),
            ];
            if swapped {
                authorities.reverse();
            }
            let clients = ClientCertificates {
                authorities,
                demand: crate::accept::CertificateDemand::Optional,
            };
            let trust = ClientTrust::read(&clients, &world.surroundings, None).unwrap();
            let verifier = ClientVerifier::new("gateway", trust, world.surroundings.events.clone());
            let mine = ours.workload(1);
            assert_eq!(held(&verifier, &mine).map(drop), first);
            assert_eq!(held(&verifier, &theirs.workload(1)).map(drop), second);
            let shown = verifier.shown(&mine, present());
            assert_eq!(
                (shown.ca.as_deref(), shown.sha256.len()),
                (Some("prod"), 64)
            );
        }
    }
    let verifier = ClientVerifier::new(
        "gateway",
        ours.trust(None),
        world.surroundings.events.clone(),
    );
    assert_eq!(
        verifier.shown(&theirs.workload(1), present()).ca,
        None,
        "nobody's"
    );
}

/// Scenario: files of authorities, as they are while one is renewed, and with two that differ in a name. Guarantees: an
/// authority's old and new certificate are one authority's.
#[test]
fn certificates_of_one_name_are_one_authoritys() {
    let pem = |name: &str, uris: Vec<SanType>| {
        Authority::new(name, |params| {
            if name.is_empty() {
                params.distinguished_name = rcgen::DistinguishedName::new();
            }
            params.subject_alt_names = uris;
        })
        .issuer
        .pem()
    };
    let (plain, spiffe) = (
        || pem("ca", Vec::new()),
        |domain: &str| pem("ca", vec![uri(domain)]),
    );
    for (pem, expected) in [
        (plain(), Ok(1)),
        (plain() + &plain(), Ok(1)),
        (plain() + &pem("other", Vec::new()), Ok(2)),
        (
            spiffe("spiffe://a.example") + &spiffe("spiffe://a.example"),
            Ok(1),
        ),
        (
            spiffe("spiffe://a.example") + &spiffe("spiffe://b.example"),
            Ok(2),
        ),
        (plain() + &spiffe("spiffe://a.example"), Ok(2)),
        (pem("", Vec::new()) + &pem("", Vec::new()), Ok(2)),
        (
            plain()
                + &Authority::new("leaf", |params| params.is_ca = rcgen::IsCa::NoCa)
                    .issuer
                    .pem(),
            Err(()),
        ),
    ] {
        assert_eq!(
            signing_certificates(pem.as_bytes()).map_err(drop),
            expected,
            "{pem}"
        );
    }
}

#[test]
fn a_signing_certificate_may_name_its_trust_domain() {
    let named = |names: Vec<SanType>| {
        Authority::new("ca", |params| params.subject_alt_names = names)
            .issuer
            .pem()
    };
    let (one, two) = (
        named(vec![uri("spiffe://a.example")]),
        named(vec![uri("spiffe://b.example")]),
    );
    for (pem, expected) in [
        (one.clone(), Some("a.example")),
        (one.clone() + &one, Some("a.example")),
        (one + &two, None),
        (named(Vec::new()), None),
        (named(vec![uri("spiffe://a.example/ca")]), None),
        (named(vec![uri("spiffe://A.example")]), None),
        (named(vec![uri("https://a.example")]), None),
        (
            named(vec![uri("spiffe://a.example"), uri("spiffe://b.example")]),
            None,
        ),
        ("nothing".to_owned(), None),
    ] {
        assert_eq!(own_trust_domain(pem.as_bytes()).as_deref(), expected);
    }
}
