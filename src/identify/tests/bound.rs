//! Tokens that are bound to a key (`cnf`, RFC 7800), beside the very certificate and without it.
//!
//! What it does: one table of confirmations. What it refuses to know: how certificates, signatures and proofs are verified.
//! Invariant: each row that is refused has one fault.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::json;

use super::super::claims;
use super::super::facts::{CertificateFacts, ShownLeaf};
use super::super::forge::{self, NOW, base64url, issuer};
use super::super::settings::KeySource;
use crate::clock::UnixMillis;
use crate::reason::Reason;

/// One that an authority vouches for.
fn leaf(certificate: Option<&Arc<CertificateFacts>>) -> ShownLeaf<'_> {
    ShownLeaf {
        certificate,
        fingerprint: certificate.map(|certificate| certificate.fingerprint.as_str()),
    }
}

/// Scenario: confirmations around those that hold. Guarantees: only the SHA-256 of the certificate that was shown, in its
/// one spelling, lets a bound token pass (RFC 8705 section 3.1), and a key's thumbprint alone may stand beside it or instead:
/// that one must then be proven besides.
#[test]
fn a_bound_token_holds_only_beside_its_certificate() {
    // Base64url writes these bytes with `-` and `_`.
    let digest: [u8; 32] =
        std::array::from_fn(|at| 0xfb_u8.wrapping_add(u8::try_from(at).unwrap() % 5));
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let of = |fingerprint: &[u8]| {
        Arc::new(CertificateFacts {
            ca: Arc::from("prod"),
            spiffe: None,
            dns: Vec::new(),
            subject: "CN=a".to_owned(),
            fingerprint: hex(fingerprint),
            serial: String::new(),
            key: String::new(),
            not_before: 0,
            not_after: NOW + 300,
        })
    };
    let (mine, other) = (of(&digest), of(&[7; 32]));
    let thumbprint = base64url(digest);
    assert!(thumbprint.contains(['-', '_']));
    let last_bits = {
        let mut text = thumbprint.clone();
        let last = text.pop().unwrap();
        text.push(char::from(u8::try_from(last).unwrap() + 1));
        text
    };
    let (bound, claims_fault) = (Some(Reason::TokenBound), Some(Reason::TokenClaims));
    for (what, confirmation, certificate, expected) in [
        (
            "the certificate",
            json!({"x5t#S256": thumbprint}),
            Some(&mine),
            None,
        ),
        (
            "no certificate",
            json!({"x5t#S256": thumbprint}),
            None,
            bound,
        ),
        (
            "another certificate",
            json!({"x5t#S256": thumbprint}),
            Some(&other),
            bound,
        ),
        (
            "another token's",
            json!({"x5t#S256": base64url([7; 32])}),
            Some(&mine),
            bound,
        ),
        (
            "a DPoP key as well that is none",
            json!({"x5t#S256": thumbprint, "jkt": "x"}),
            Some(&mine),
            bound,
        ),
        (
            "a DPoP key alone, which is judged by its proof",
            json!({"jkt": thumbprint}),
            Some(&mine),
            None,
        ),
        (
            "certificate and DPoP key",
            json!({"x5t#S256": thumbprint, "jkt": thumbprint}),
            Some(&mine),
            None,
        ),
        (
            "a DPoP key beside another certificate",
            json!({"x5t#S256": thumbprint, "jkt": thumbprint}),
            Some(&other),
            bound,
        ),
        (
            "a DPoP key, padded",
            json!({"jkt": format!("{thumbprint}=")}),
            Some(&mine),
            bound,
        ),
        (
            "a DPoP key that is no text",
            json!({"jkt": [thumbprint]}),
            Some(&mine),
            bound,
        ),
        (
            "a DPoP key and something unknown",
            json!({"jkt": thumbprint, "kid": "x"}),
            Some(&mine),
            bound,
        ),
        (
            "a key as well",
            json!({"x5t#S256": thumbprint, "jwk": {"kty": "RSA"}}),
            Some(&mine),
            bound,
        ),
        (
            "an unknown member as well",
            json!({"x5t#S256": thumbprint, "x": 1}),
            Some(&mine),
            None,
        ),
        (
            "a kind of key, as Keycloak says",
            json!({"jkt": thumbprint, "kc-jkt-type": "DPoP"}),
            None,
            None,
        ),
        (
            "a kind of key alone",
            json!({"kc-jkt-type": "DPoP"}),
            Some(&mine),
            bound,
        ),
        (
            "another certificate and an unknown member",
            json!({"x5t#S256": thumbprint, "x": "y"}),
            Some(&other),
            bound,
        ),
        (
            "an older hash as well",
            json!({"jkt": thumbprint, "x5t": "x"}),
            Some(&mine),
            bound,
        ),
        ("nothing", json!({}), Some(&mine), bound),
        (
            "an older hash",
            json!({"x5t": thumbprint}),
            Some(&mine),
            bound,
        ),
        (
            "another spelling of the name",
            json!({"X5T#S256": thumbprint}),
            Some(&mine),
            bound,
        ),
        ("empty", json!({"x5t#S256": ""}), Some(&mine), bound),
        (
            "hexadecimal",
            json!({"x5t#S256": hex(&digest)}),
            Some(&mine),
            bound,
        ),
        (
            "padded",
            json!({"x5t#S256": format!("{thumbprint}=")}),
            Some(&mine),
            bound,
        ),
        (
            "plain base64",
            json!({"x5t#S256": STANDARD_NO_PAD.encode(digest)}),
            Some(&mine),
            bound,
        ),
        (
            "plain base64, padded",
            json!({"x5t#S256": STANDARD.encode(digest)}),
            Some(&mine),
            bound,
        ),
        (
            "set trailing bits",
            json!({"x5t#S256": last_bits}),
            Some(&mine),
            bound,
        ),
        (
            "the beginning",
            json!({"x5t#S256": base64url(&digest[..31])}),
            Some(&mine),
            bound,
        ),
        (
            "more",
            json!({"x5t#S256": base64url([&digest[..], &[0]].concat())}),
            Some(&mine),
            bound,
        ),
        (
            "a list",
            json!({"x5t#S256": [thumbprint]}),
            Some(&mine),
            bound,
        ),
        ("no text", json!({"x5t#S256": null}), Some(&mine), bound),
        (
            "a text instead",
            json!(thumbprint),
            Some(&mine),
            claims_fault,
        ),
        (
            "a list instead",
            json!([{"x5t#S256": thumbprint}]),
            Some(&mine),
            claims_fault,
        ),
    ] {
        let settings = issuer(KeySource::File("unread".into()));
        let claims = forge::claims(json!({"cnf": confirmation}))
            .as_object()
            .unwrap()
            .clone();
        let judged = claims::facts(
            &settings,
            &Arc::from("idp"),
            claims,
            leaf(certificate),
            UnixMillis(NOW * 1000),
        );
        assert_eq!(judged.err(), expected, "{what}");
    }
    let mut nothing = forge::claims(json!({})).as_object().unwrap().clone();
    nothing.insert("cnf".to_owned(), json!(null));
    let settings = issuer(KeySource::File("unread".into()));
    let judged = claims::facts(
        &settings,
        &Arc::from("idp"),
        nothing,
        leaf(Some(&mine)),
        UnixMillis(NOW * 1000),
    );
    assert_eq!(judged.err(), claims_fault, "null is no absence");
    // A certificate that no authority vouches for proves possession, and is in no facts.
    let unknown = ShownLeaf {
        certificate: None,
        fingerprint: Some(&mine.fingerprint),
    };
    for (bound_to, expected) in [(thumbprint, None), (base64url([7; 32]), bound)] {
        let claims = forge::claims(json!({"cnf": {"x5t#S256": bound_to}}));
        let claims = claims.as_object().unwrap().clone();
        let judged = claims::facts(
            &settings,
            &Arc::from("idp"),
            claims,
            unknown,
            UnixMillis(NOW * 1000),
        );
        let said = judged.map(|(facts, _)| facts.certificate.is_none());
        assert_eq!(said, expected.map_or(Ok(true), Err), "of no authority");
    }
}
