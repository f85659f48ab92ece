//! Client certificates with intermediates.
//!
//! What it does: builds chains in which one link is wrong. What it refuses to know: names, policies. Invariant: the leaf
//! of every row is good, so that what is refused is refused for what stands above it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};

use super::super::forge::{Folder, NOW, World};
use super::super::{ClientTrust, ClientVerifier};
use super::authority::{Authority, WORKLOAD, at, dns, only, present, said, uri};
use crate::accept::ClientChain;
use crate::clock::UnixMillis;

fn sent(links: Vec<rustls_pki_types::CertificateDer<'static>>) -> Arc<ClientChain> {
    Arc::new(ClientChain {
        certificates: links,
        listener: Arc::from("gateway"),
    })
}

/// The chain of a workload: its leaf, then these authorities.
fn chain(issuer: &Authority, above: &[&Authority]) -> Arc<ClientChain> {
    let leaf = issuer
        .leaf(7, |params| params.subject_alt_names = vec![uri(WORKLOAD)])
        .0;
    sent(
        [leaf]
            .into_iter()
            .chain(above.iter().map(|authority| authority.der()))
            .collect(),
    )
}

fn verifier(world: &World, trust: ClientTrust) -> Arc<ClientVerifier> {
    ClientVerifier::new("gateway", trust, world.surroundings.events.clone())
}

/// Scenario: an authority beneath the trusted one hands out a good leaf; one thing about the authority is wrong.
/// Guarantees: what may not sign certificates, or is out of date, vouches for no leaf; the order of intermediates does not
/// matter, and that they are sent does.
#[tokio::test]
async fn those_above_a_leaf_are_judged_too() {
    let world = World::new();
    let root = Authority::new("root", |_| ());
    let verifier = verifier(&world, root.trust(None));
    type Change = fn(&mut CertificateParams);
    let rows: [(&str, Change, Result<&str, &str>); 9] = [
        ("sound", |_| (), Ok(WORKLOAD)),
        (
            "signs lists alone",
            |above| above.key_usages = vec![KeyUsagePurpose::CrlSign],
            Err("certificate_untrusted"),
        ),
        (
            "signs handshakes",
            |above| above.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            Err("certificate_untrusted"),
        ),
        (
            "does not say what it may do",
            |above| above.key_usages.clear(),
            Err("certificate_untrusted"),
        ),
        (
            "is no authority",
            |above| above.is_ca = IsCa::ExplicitNoCa,
            Err("certificate_untrusted"),
        ),
        (
            "does not say that it is one",
            |above| above.is_ca = IsCa::NoCa,
            Err("certificate_untrusted"),
        ),
        (
            "expired",
            |above| above.not_after = at(NOW - 1),
            Err("certificate_expired"),
        ),
        (
            "of tomorrow",
            |above| above.not_before = at(NOW + 60),
            Err("certificate_not_yet_valid"),
        ),
        (
            "for none beneath",
            |above| above.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
            Ok(WORKLOAD),
        ),
    ];
    for (what, change, expected) in rows {
        let above = root.beneath(1, change);
        let expected = expected.map(str::to_owned);
        assert_eq!(
            said(&verifier, &chain(&above, &[&above]), present()),
            expected,
            "{what}"
        );
    }
    let (first, twin, other) = (
        root.beneath(1, |_| ()),
        root.beneath(1, |_| ()),
        Authority::new("other", |_| ()),
    );
    let second = first.beneath(2, |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "second")
    });
    let pathless = root.beneath(3, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))
    });
    let deep = pathless.beneath(4, |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "deep")
    });
    let foreign = other.beneath(1, |_| ());
    let wrong = Err("certificate_untrusted");
    for (what, chain, expected) in [
        ("not sent", chain(&first, &[]), wrong),
        ("another of the same name", chain(&first, &[&twin]), wrong),
        (
            "both of the same name",
            chain(&first, &[&twin, &first]),
            Ok(()),
        ),
        ("two", chain(&second, &[&second, &first]), Ok(())),
        (
            "two, the other way round",
            chain(&second, &[&first, &second]),
            Ok(()),
        ),
        (
            "two, of which the upper is missing",
            chain(&second, &[&second]),
            wrong,
        ),
        (
            "two, of which the lower is missing",
            chain(&second, &[&first]),
            wrong,
        ),
        (
            "deeper than the upper allows",
            chain(&deep, &[&deep, &pathless]),
            wrong,
        ),
        (
            "beneath a stranger",
            chain(&foreign, &[&foreign, &other]),
            wrong,
        ),
        (
            "a stranger besides",
            chain(&first, &[&first, &other]),
            Ok(()),
        ),
    ] {
        assert_eq!(
            said(&verifier, &chain, present()).map(drop),
            expected,
            "{what}"
        );
    }
}

/// Scenario: leaves that are no SPIFFE identities, beneath authorities that do not say what their key is for.
/// Guarantees: what RFC 5280 section 6.1.4 (n) lets pass is let pass; what it does not, is not.
#[tokio::test]
async fn a_missing_key_usage_is_held_against_spiffe_authorities_alone() {
    let world = World::new();
    let root = Authority::new("root", |params| params.key_usages.clear());
    let verifier = verifier(&world, root.trust(None));
    let host = |above: &Authority| {
        let leaf = above
            .leaf(7, |params| {
                params.subject_alt_names = vec![dns("a.example")]
            })
            .0;
        sent(vec![leaf, above.der()])
    };
    let mute = root.beneath(1, |params| params.key_usages.clear());
    assert_eq!(
        said(&verifier, &host(&mute), present()),
        Ok("a.example".to_owned())
    );
    let lists = root.beneath(1, |params| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign]
    });
    assert_eq!(
        said(&verifier, &host(&lists), present()),
        Err("certificate_untrusted")
    );
}

/// Scenario: an intermediate or an anchor ends while connections are open whose leaf is good for longer.
/// Guarantees: they end with it, although they were found good a moment ago.
#[tokio::test]
async fn a_chain_ends_with_its_first_link() {
    let world = World::new();
    let root = Authority::new("root", |_| ());
    let short = Authority::new("short", |params| params.not_after = at(NOW + 600));
    let above = root.beneath(1, |_| ());
    for (what, trust, chain) in [
        ("intermediate", root.trust(None), chain(&above, &[&above])),
        ("anchor", short.trust(None), chain(&short, &[])),
    ] {
        let verifier = verifier(&world, trust);
        for (second, expected) in [
            (0, Ok(())),
            (600, Ok(())),
            (601, Err("certificate_expired")),
            (0, Ok(())),
        ] {
            let now = UnixMillis((NOW + second) * 1000);
            assert_eq!(
                said(&verifier, &chain, now).map(drop),
                expected,
                "{what}, second {second}"
            );
        }
    }
    let gone = Authority::new("gone", |params| params.not_after = at(NOW - 1));
    assert_eq!(
        said(
            &verifier(&world, gone.trust(None)),
            &gone.workload(1),
            present()
        ),
        Err("certificate_expired")
    );
}

/// Scenario: root and intermediate keep revocation lists, in one file.
/// Guarantees: a revoked intermediate takes those beneath it along; a list that is missing is our fault and lets nothing pass.
#[tokio::test]
async fn revocation_reaches_every_link() {
    let world = World::new();
    let root = Authority::new("root", |_| ());
    let above = root.beneath(70, |_| ());
    let trust = |lists: &[String]| {
        let folder = Folder::new();
        let ca = folder.write("ca.pem", root.issuer.pem());
        let crl = Some(folder.write("lists.pem", lists.concat()));
        ClientTrust::read(&only(ca, crl), &World::new().surroundings, None).unwrap()
    };
    let (soon, past) = (NOW + 600, NOW - 1);
    for (what, lists, expected) in [
        (
            "nothing is revoked",
            vec![root.revoking(&[], soon), above.revoking(&[], soon)],
            Ok(()),
        ),
        (
            "the leaf",
            vec![root.revoking(&[], soon), above.revoking(&[7], soon)],
            Err("certificate_revoked"),
        ),
        (
            "the intermediate",
            vec![root.revoking(&[70], soon), above.revoking(&[], soon)],
            Err("certificate_revoked"),
        ),
        (
            "the leaf's number, of another",
            vec![root.revoking(&[7], soon), above.revoking(&[70], soon)],
            Ok(()),
        ),
        (
            "no list for the leaf",
            vec![root.revoking(&[], soon)],
            Err("revocation_unavailable"),
        ),
        (
            "no list for the intermediate",
            vec![above.revoking(&[], soon)],
            Err("revocation_unavailable"),
        ),
        (
            "an old list above",
            vec![root.revoking(&[], past), above.revoking(&[], soon)],
            Err("revocation_unavailable"),
        ),
        (
            "an old list below",
            vec![root.revoking(&[], soon), above.revoking(&[], past)],
            Err("revocation_unavailable"),
        ),
    ] {
        let verifier = verifier(&world, trust(&lists));
        assert_eq!(
            said(&verifier, &chain(&above, &[&above]), present()).map(drop),
            expected,
            "{what}"
        );
    }
}
