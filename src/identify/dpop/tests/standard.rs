//! The signed examples of the standards. What it refuses to know: how they were made.

use super::super::BoundToken;
use super::super::proof::Proof;
use super::*;
use std::time::Duration;

/// RFC 9449 section 4.2: a proof for a token request.
const FOR_TOKEN_REQUEST: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFV",
    "ZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0V",
    "TYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8",
    "lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
);

/// RFC 9449 section 7.1: a proof for a protected resource, and its token.
const FOR_RESOURCE: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFV",
    "ZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9",
    "iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI",
    "2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1ple",
    "mAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
);
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const RESOURCE: &str = "https://resource.example.org/protectedresource";
const ISSUED: i64 = 1_562_262_618;

/// RFC 9449 section 6.1: the thumbprint of the key of both.
const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// Scenario: the examples of RFC 9449, at their time and around it. Guarantees: each holds for its own call, key and token,
/// for a minute and the leeway, and for no other.
#[test]
fn the_signed_examples_hold_for_their_own_call() {
    let first = Proof::parse(FOR_TOKEN_REQUEST.as_bytes()).unwrap();
    assert!(first.holds() && first.thumbprint.text() == KEY);
    let get = Method::GET;
    let (leeway, key) = (30, Thumbprint::parse(KEY).unwrap());
    let other = Thumbprint::parse(&base64url([7; 32])).unwrap();
    let rows = [
        ("as it stands", FOR_RESOURCE, RESOURCE, TOKEN, key, 0, None),
        (
            "after a minute",
            FOR_RESOURCE,
            RESOURCE,
            TOKEN,
            key,
            60 + leeway,
            None,
        ),
        (
            "too old",
            FOR_RESOURCE,
            RESOURCE,
            TOKEN,
            key,
            61 + leeway,
            Some(Reason::ProofTime),
        ),
        (
            "a clock behind",
            FOR_RESOURCE,
            RESOURCE,
            TOKEN,
            key,
            -leeway,
            None,
        ),
        (
            "too early",
            FOR_RESOURCE,
            RESOURCE,
            TOKEN,
            key,
            -leeway - 1,
            Some(Reason::ProofTime),
        ),
        (
            "another token",
            FOR_RESOURCE,
            RESOURCE,
            "x",
            key,
            0,
            Some(Reason::ProofToken),
        ),
        (
            "another key",
            FOR_RESOURCE,
            RESOURCE,
            TOKEN,
            other,
            0,
            Some(Reason::ProofKey),
        ),
        (
            "elsewhere",
            FOR_RESOURCE,
            "https://evil.example/protectedresource",
            TOKEN,
            key,
            0,
            Some(Reason::ProofRequest),
        ),
        (
            "for a token request",
            FOR_TOKEN_REQUEST,
            RESOURCE,
            TOKEN,
            key,
            0,
            Some(Reason::ProofRequest),
        ),
    ];
    for (what, proof, url, token, key, later, expected) in rows {
        let possession = Possession::open(&without_nonce(), Arc::default(), None).unwrap();
        let token = BoundToken {
            bytes: token.as_bytes(),
            key: &key,
            leeway: Duration::from_secs(30),
            issuer: "idp",
            subject: "ada",
        };
        let presented = presented(&[proof], &get, Some(url));
        let said = possession.judge(&presented, &token, UnixMillis((ISSUED + later) * 1000));
        assert_eq!(said.err().map(|refused| refused.reason), expected, "{what}");
    }
}

/// Scenario: the key of RFC 7638 section 3.1, and members in another order or besides. Guarantees: the standard's thumbprint,
/// whatever else the key says.
#[test]
fn thumbprints_are_those_of_the_standard() {
    let modulus = concat!(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst",
        "n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbIS",
        "D08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    );
    let jwk = json!({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    assert_eq!(
        Thumbprint::of(&members(jwk)).map(|thumbprint| thumbprint.text()),
        Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".to_owned())
    );
}
