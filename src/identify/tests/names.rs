//! Names in certificates: which texts are SPIFFE IDs, which are hosts, and what else a leaf must say to have one.
//!
//! What it does: tries spellings and key usages. What it refuses to know: who signed. Invariant: a text is a name of one
//! kind or of none.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};

use super::super::ClientVerifier;
use super::super::certificate::{DnsHost, host};
use super::super::forge::World;
use super::super::spiffe_id::is_spiffe_id;
use super::authority::{Authority, WORKLOAD, chain, dns, present, said, uri};

#[test]
fn spiffe_ids_have_one_spelling() {
    let longest = format!("spiffe://a/{}", "x".repeat(2048 - 11));
    let too_long = format!("{longest}x");
    let long_domain = format!("spiffe://{}/x", "d".repeat(256));
    for (id, valid) in [
        (WORKLOAD, true),
        ("spiffe://a/b", true),
        ("spiffe://a.b-c_d.1/A/b.c/D-e_f", true),
        ("spiffe://1.2.3.4/b", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        (long_domain.as_str(), false),
        ("spiffe://a", false),
        ("spiffe://a/", false),
        ("spiffe:///b", false),
        ("spiffe://a//b", false),
        ("spiffe://a/b/", false),
        ("spiffe://a/./b", false),
        ("spiffe://a/../b", false),
        ("spiffe://a/b..", true),
        ("spiffe://A/b", false),
        ("SPIFFE://a/b", false),
        ("spiffe:/a/b", false),
        ("spiffe://a:443/b", false),
        ("spiffe://user@a/b", false),
        ("spiffe://a/b?c", false),
        ("spiffe://a/b#c", false),
        ("spiffe://a/b%41", false),
        ("spiffe://a/b c", false),
        ("spiffe://a/é", false),
        ("spiffe://é/a", false),
        ("https://a/b", false),
        ("", false),
    ] {
        assert_eq!(is_spiffe_id(id), valid, "{id}");
    }
}

#[test]
fn hosts_are_written_as_hosts() {
    let longest = format!(
        "{}.{}.{}.{}",
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61)
    );
    let label = "a".repeat(64);
    for (name, expected) in [
        ("a", Some(DnsHost::Name)),
        ("batch.acme.example", Some(DnsHost::Name)),
        ("_x.a-b.1", Some(DnsHost::Name)),
        (longest.as_str(), Some(DnsHost::Name)),
        ("*.acme.example", Some(DnsHost::Pattern)),
        (&format!("{longest}e"), None),
        (label.as_str(), None),
        ("", None),
        ("*", None),
        ("a.*.example", None),
        ("a*.example", None),
        ("*.*.example", None),
        ("a..b", None),
        (".a", None),
        ("a.", None),
        ("-a.b", None),
        ("a-.b", None),
        ("A.example", None),
        ("a b", None),
        ("a/b", None),
        (WORKLOAD, None),
        ("CN=a", None),
        ("a@b", None),
        ("é.example", None),
        ("a\0.example", None),
    ] {
        assert_eq!(host(name), expected, "{name}");
    }
}

/// X.509-SVID section 4.3 for SPIFFE leaves; RFC 5280 and the TLS standards for others.
#[tokio::test]
async fn a_leaf_says_what_its_key_is_for() {
    let world = World::new();
    let authority = Authority::new("acme", |_| ());
    let verifier = ClientVerifier::new(
        "gateway",
        authority.trust(None),
        world.surroundings.events.clone(),
    );
    type Change = fn(&mut CertificateParams);
    let rows: [(&str, Change, Result<&str, &str>); 9] = [
        (
            "may sign certificates",
            |leaf| {
                leaf.subject_alt_names = vec![uri(WORKLOAD)];
                leaf.key_usages.push(KeyUsagePurpose::KeyCertSign);
            },
            Err("certificate_name"),
        ),
        (
            "may sign lists",
            |leaf| {
                leaf.subject_alt_names = vec![uri(WORKLOAD)];
                leaf.key_usages.push(KeyUsagePurpose::CrlSign);
            },
            Err("certificate_name"),
        ),
        (
            "does not say what it may do",
            |leaf| {
                leaf.subject_alt_names = vec![uri(WORKLOAD)];
                leaf.key_usages.clear();
            },
            Err("certificate_name"),
        ),
        (
            "may encipher keys alone",
            |leaf| {
                leaf.subject_alt_names = vec![uri(WORKLOAD)];
                leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
            },
            Err("certificate_name"),
        ),
        (
            "a host that does not say what it may do",
            |leaf| {
                leaf.subject_alt_names = vec![dns("a.example")];
                leaf.key_usages.clear();
            },
            Ok("a.example"),
        ),
        (
            "a host that may encipher keys alone",
            |leaf| {
                leaf.subject_alt_names = vec![dns("a.example")];
                leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
            },
            Err("certificate_untrusted"),
        ),
        (
            "a host that may sign certificates",
            |leaf| {
                leaf.subject_alt_names = vec![dns("a.example")];
                leaf.key_usages.push(KeyUsagePurpose::KeyCertSign);
            },
            Err("certificate_untrusted"),
        ),
        (
            "is an authority",
            |leaf| {
                leaf.subject_alt_names = vec![uri(WORKLOAD)];
                leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            },
            Err("certificate_untrusted"),
        ),
        (
            "for servers",
            |leaf| {
                leaf.subject_alt_names = vec![uri(WORKLOAD)];
                leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            },
            Err("certificate_untrusted"),
        ),
    ];
    for (what, change, expected) in rows {
        let (leaf, _) = authority.leaf(7, change);
        let expected = expected.map(str::to_owned);
        assert_eq!(said(&verifier, &chain(leaf), present()), expected, "{what}");
    }
}
