//! Client certificates: in the handshake, per request, and beside a token.
//!
//! What it does: issues certificates good and bad, revokes them and lets time pass. What it refuses to
//! know: sockets; handshakes run in memory. Invariant: what was good once is never good by that alone.

mod handshakes;
mod strangers;

use std::sync::Arc;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;

use super::super::forge::{Answer, Folder, NOW, RSA, World, base64url, caller, issuer};
use super::super::{
    ClientTokenHash, ClientTokenSettings, ClientTrust, ClientVerifier, Event, Identifier,
    KeySource, Method, Rejection, RejectionKind,
};
use super::authority::{Authority, WORKLOAD, at, chain, dns, only, present, said, uri};
use crate::accept::{ClientCertificates, ClientChain};
use crate::causes;
use crate::clock::UnixMillis;
use crate::reason::Reason;

#[tokio::test]
async fn a_certificate_names_its_holder_or_nobody() {
    let world = World::new();
    let authority = Authority::new("acme", |_| ());
    let verifier = ClientVerifier::new(
        "gateway",
        authority.trust(None),
        world.surroundings.events.clone(),
    );
    type Change = fn(&mut CertificateParams);
    let rows: [(&str, Change, Result<&str, &str>); 16] = [
        (
            "svid",
            |leaf| leaf.subject_alt_names = vec![uri(WORKLOAD)],
            Ok(WORKLOAD),
        ),
        (
            "svid with a host",
            |leaf| leaf.subject_alt_names = vec![dns("a.example"), uri(WORKLOAD)],
            Ok(WORKLOAD),
        ),
        (
            "two ids",
            |leaf| leaf.subject_alt_names = vec![uri(WORKLOAD), uri("spiffe://b/c")],
            Err("certificate_name"),
        ),
        (
            "id and link",
            |leaf| leaf.subject_alt_names = vec![uri(WORKLOAD), uri("https://b/c")],
            Err("certificate_name"),
        ),
        (
            "bad id",
            |leaf| leaf.subject_alt_names = vec![uri("spiffe://a/../b")],
            Err("certificate_name"),
        ),
        (
            "capitals",
            |leaf| leaf.subject_alt_names = vec![uri("SPIFFE://a/b"), dns("a.example")],
            Err("certificate_name"),
        ),
        (
            "domain alone",
            |leaf| leaf.subject_alt_names = vec![uri("spiffe://a")],
            Err("certificate_name"),
        ),
        (
            "an id in a host's place",
            |leaf| leaf.subject_alt_names = vec![dns(WORKLOAD)],
            Err("certificate_name"),
        ),
        (
            "a subject's name in a host's place",
            |leaf| leaf.subject_alt_names = vec![dns("CN=ada,O=acme"), uri(WORKLOAD)],
            Err("certificate_name"),
        ),
        (
            "hosts by pattern",
            |leaf| leaf.subject_alt_names = vec![dns("*.a.example"), dns("b.example")],
            Ok("b.example"),
        ),
        (
            "link and host",
            |leaf| leaf.subject_alt_names = vec![uri("https://b/c"), dns("A.Example")],
            Ok("a.example"),
        ),
        (
            "subject",
            |leaf| {
                leaf.distinguished_name
                    .push(DnType::OrganizationName, "Acme, Inc.");
                leaf.distinguished_name.push(DnType::CommonName, "#1\nx");
            },
            Ok("CN=\\#1\\0Ax,O=Acme\\, Inc."),
        ),
        ("no name", |_| (), Err("certificate_name")),
        (
            "expired",
            |leaf| {
                leaf.subject_alt_names = vec![uri(WORKLOAD)];
                leaf.not_after = at(NOW - 1);
            },
            Err("certificate_expired"),
        ),
        (
            "of tomorrow",
            |leaf| {
                leaf.subject_alt_names = vec![uri(WORKLOAD)];
                leaf.not_before = at(NOW + 60);
            },
            Err("certificate_not_yet_valid"),
        ),
        (
            "not before now",
            |leaf| leaf.subject_alt_names = vec![dns("b.example")],
            Ok("b.example"),
        ),
    ];
    for (what, change, expected) in rows {
        let (leaf, _) = authority.leaf(7, change);
        let expected = expected.map(str::to_owned);
        assert_eq!(said(&verifier, &chain(leaf), present()), expected, "{what}");
    }
    let stranger = Authority::new("evil", |_| ());
    assert_eq!(
        said(&verifier, &stranger.workload(1), present()),
        Err("certificate_untrusted")
    );
    assert_eq!(
        said(
            &verifier,
            &chain(CertificateDer::from(vec![0x30, 0x00])),
            present()
        ),
        Err("certificate_malformed")
    );
    let nothing = Arc::new(ClientChain {
        certificates: Vec::new(),
        listener: Arc::from("gateway"),
    });
    assert_eq!(
        said(&verifier, &nothing, present()),
        Err("certificate_malformed")
    );
}

/// RUSTSEC-2026-0098: the verification library refuses authorities that constrain URIs. SPIFFE authorities
/// that do so fail closed; this test tells when that changes.
#[tokio::test]
async fn an_authority_with_uri_constraints_vouches_for_nobody() {
    let world = World::new();
    let mut constraint = vec![0x30, 23, 0xa0, 21, 0x30, 19, 0x86, 17];
    constraint.extend(b"prod.acme.example");
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], constraint);
    extension.set_criticality(true);
    let authority = Authority::new("constrained", |params| {
        params.custom_extensions.push(extension)
    });
    let verifier = ClientVerifier::new(
        "gateway",
        authority.trust(None),
        world.surroundings.events.clone(),
    );
    assert_eq!(
        said(&verifier, &authority.workload(1), present()),
        Err("certificate_untrusted")
    );
}

#[tokio::test]
async fn what_is_withdrawn_stops_on_open_connections() {
    let world = World::new();
    let authority = Authority::new("acme", |_| ());
    let verifier = ClientVerifier::new(
        "gateway",
        authority.trust(None),
        world.surroundings.events.clone(),
    );
    let (first, second) = (authority.workload(1), authority.workload(2));
    for _ in 0..2 {
        assert_eq!(said(&verifier, &first, present()), Ok(WORKLOAD.to_owned()));
        assert_eq!(said(&verifier, &second, present()), Ok(WORKLOAD.to_owned()));
    }
    let judged = || {
        verifier
            .holder(&first, present())
            .unwrap()
            .vouched
            .unwrap()
            .0
    };
    assert!(Arc::ptr_eq(&judged(), &judged()), "answered from memory");

    let list = authority.revoking(&[1], NOW + 600);
    let before = verifier.generation();
    assert!(verifier.replace(authority.trust(Some(list.clone()))));
    assert!(
        !verifier.replace(authority.trust(Some(list))),
        "the same again is no change"
    );
    assert_eq!(verifier.generation(), before + 1);
    assert_eq!(
        said(&verifier, &first, present()),
        Err("certificate_revoked")
    );
    assert_eq!(said(&verifier, &second, present()), Ok(WORKLOAD.to_owned()));

    // The list runs out: no chain can be judged, and that is our fault. It holds at its last second.
    assert_eq!(
        said(&verifier, &second, UnixMillis((NOW + 599) * 1000)),
        Ok(WORKLOAD.to_owned())
    );
    let unclear = verifier
        .holder(&second, UnixMillis((NOW + 601) * 1000))
        .map_err(Rejection::from)
        .err()
        .unwrap();
    assert_eq!(
        unclear,
        Rejection {
            kind: RejectionKind::Unavailable,
            reason: Reason::RevocationUnavailable,
            nonce: None,
        }
    );

    assert!(verifier.replace(Authority::new("new", |_| ()).trust(None)));
    assert_eq!(
        said(&verifier, &second, present()),
        Err("certificate_untrusted")
    );
    assert!(verifier.replace(authority.trust(None)));
    assert_eq!(said(&verifier, &second, present()), Ok(WORKLOAD.to_owned()));
    assert_eq!(
        said(&verifier, &second, UnixMillis((NOW + 3601) * 1000)),
        Err("certificate_expired")
    );
}

#[tokio::test]
async fn a_chain_at_the_address_of_another_is_not_taken_for_it() {
    let world = World::new();
    let authority = Authority::new("acme", |_| ());
    let verifier = ClientVerifier::new(
        "gateway",
        authority.trust(None),
        world.surroundings.events.clone(),
    );
    for number in 0..200 {
        let name = format!("host-{}.example", number % 3);
        let (leaf, _) =
            authority.leaf(number, |params| params.subject_alt_names = vec![dns(&name)]);
        // Dropped at the end of each round, so that addresses come round again.
        assert_eq!(said(&verifier, &chain(leaf), present()), Ok(name));
    }
}

#[tokio::test]
async fn a_certificate_and_a_token_must_both_hold_and_the_token_decides() {
    let world = World::new();
    let folder = Folder::new();
    let authority = Authority::new("acme", |_| ());
    let verifier = ClientVerifier::new(
        "gateway",
        authority.trust(None),
        world.surroundings.events.clone(),
    );
    let keys = Answer::keys(json!([RSA.jwk_with(json!({"kid": "rs"}))])).body;
    let settings = issuer(KeySource::File(folder.write("jwks.json", keys)));
    let identifier = Identifier::new(
        &[settings],
        vec![verifier.clone()],
        world.surroundings.clone(),
        None,
    )
    .unwrap();

    let fixed = "lk_fixed".to_owned();
    let php = ClientTokenSettings {
        name: "php".to_owned(),
        hash: ClientTokenHash::of(fixed.as_bytes()),
        binding: "pods".to_owned(),
        until_unix_seconds: None,
    };
    let identifier = identifier.with_client_tokens(&[php]);

    let mine = authority.workload(1);
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &mine.certificates[0]);
    let bound = RSA.token(
        "RS256",
        "rs",
        json!({"cnf": {"x5t#S256": base64url(fingerprint)}}),
    );
    // Two bindings ask for two proofs, of which one cannot be given here (RFC 8705 section 3.1, RFC 9449 section 6.1).
    let bound_twice = RSA.token(
        "RS256",
        "rs",
        json!({"cnf": {"x5t#S256": base64url(fingerprint), "jkt": "x"}}),
    );
    let free = RSA.token("RS256", "rs", json!({}));
    let forged = RSA.token("RS256", "nobody", json!({}));
    let unknown = "lk_other".to_owned();
    let other = authority.workload(2);
    let foreign = Authority::new("evil", |_| ()).workload(3);
    let elsewhere = Arc::new(ClientChain {
        certificates: mine.certificates.clone(),
        listener: Arc::from("gone"),
    });
    // Twice, so that the second round is answered from memory where that is allowed.
    for round in 0..2 {
        for (what, token, certificate, expected) in [
            (
                "certificate",
                None,
                Some(&mine),
                Ok((Method::Mtls, WORKLOAD, true)),
            ),
            ("token", Some(&free), None, Ok((Method::Oidc, "ada", false))),
            (
                "both",
                Some(&free),
                Some(&mine),
                Ok((Method::Oidc, "ada", true)),
            ),
            (
                "bound",
                Some(&bound),
                Some(&mine),
                Ok((Method::Oidc, "ada", true)),
            ),
            (
                "bound to a key besides",
                Some(&bound_twice),
                Some(&mine),
                Err("token_bound"),
            ),
            ("bound, without", Some(&bound), None, Err("token_bound")),
            (
                "bound to another",
                Some(&bound),
                Some(&other),
                Err("token_bound"),
            ),
            (
                "bad token",
                Some(&forged),
                Some(&mine),
                Err("token_key_unknown"),
            ),
            (
                "bad certificate",
                Some(&free),
                Some(&foreign),
                Err("certificate_untrusted"),
            ),
            (
                "from a listener that is gone",
                Some(&free),
                Some(&elsewhere),
                Err("certificate_untrusted"),
            ),
            (
                "client token",
                Some(&fixed),
                Some(&mine),
                Ok((Method::ClientToken, "php", true)),
            ),
            (
                "bad client token",
                Some(&unknown),
                Some(&mine),
                Err("client_token_unknown"),
            ),
            (
                "bad certificate beside it",
                Some(&fixed),
                Some(&foreign),
                Err("certificate_untrusted"),
            ),
            ("neither", None, None, Err("no_credential")),
        ] {
            let identity = identifier
                .identify(caller(token.map(String::as_str), certificate.cloned()))
                .await;
            let answer = identity
                .as_ref()
                .map_err(|rejection| rejection.reason.code())
                .map(|identity| {
                    let facts = identity.facts();
                    (facts.method, &*facts.subject, facts.certificate.is_some())
                });
            assert_eq!(answer, expected, "{what}, round {round}");
        }
    }
    assert!(verifier.replace(authority.trust(Some(authority.revoking(&[1], NOW + 600)))));
    let revoked = identifier
        .identify(caller(Some(&free), Some(mine)))
        .await
        .unwrap_err();
    assert_eq!(
        revoked.reason.code(),
        "certificate_revoked",
        "a remembered token does not carry its certificate along"
    );
}

#[tokio::test]
async fn an_explained_certificate_gives_facts() {
    let authority = Authority::new("acme", |_| ());
    let trust = authority.trust(None);
    let leaf = authority.workload(1).certificates.clone();
    let facts = trust.facts_for_explain(&leaf, present()).unwrap();
    assert_eq!(
        (facts.method, &*facts.issuer, &*facts.subject),
        (Method::Mtls, "prod", WORKLOAD)
    );
    assert_eq!(facts.expires_unix_seconds, NOW + 3600);
    let certificate = facts.certificate.unwrap();
    assert_eq!(
        (certificate.fingerprint.len(), &*certificate.ca),
        (64, "prod")
    );
    let reason = |chain: &[CertificateDer<'_>]| {
        trust
            .facts_for_explain(chain, present())
            .unwrap_err()
            .reason
            .code()
    };
    assert_eq!(
        reason(&[CertificateDer::from(b"nothing".to_vec())]),
        "certificate_malformed"
    );
    assert_eq!(
        reason(&Authority::new("evil", |_| ()).workload(1).certificates),
        "certificate_untrusted"
    );
    assert_eq!(reason(&[]), "certificate_malformed");
}
