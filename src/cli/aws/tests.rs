//! What is signed for a gateway, against two other writings of AWS's format.
//!
//! What it does: compares with the testkit's writing, and with AWS's own signer. What it refuses to know: where credentials are found
//! (`tests/developer/roles.rs`), and the gateway.

#[cfg(feature = "aws")]
use proptest::prelude::*;
use testkit::AwsCaller;
use testkit::sigv4::PresignedCall;

use super::*;

const AUDIENCE: &str = "lightkeeper:gateway.acme.example";
const NOW: i64 = 1_800_000_000;

fn signed(
    audience: &str,
    region: &str,
    read: impl Fn(&str) -> Option<String>,
    now: i64,
) -> Result<String, AwsTokenFault> {
    let call = SignedCall {
        audience,
        host: &regional_host(region).ok_or(AwsTokenFault::Region)?,
        region,
        at: UnixMillis(now * 1000),
    };
    let url = environment::presigned(&call, &environment::credentials(read)?)?;
    Ok(as_token(&url).to_string())
}

/// Scenario: credentials of a role and of a user. Guarantees: what is signed is what the testkit's own writing of AWS's format
/// signs.
#[test]
fn what_is_signed_is_what_another_signs() {
    let role = AwsCaller::role("123456789012", "checkout", "i-0abc");
    for caller in [role, AwsCaller::user("123456789012", "ada")] {
        for region in ["eu-west-1", "us-east-1"] {
            let expected = PresignedCall::new(region, AUDIENCE, NOW).token(&caller.keys);
            let read = |name: &str| match name {
                "AWS_ACCESS_KEY_ID" => Some(caller.keys.access_key.clone()),
                "AWS_SECRET_ACCESS_KEY" => Some(caller.keys.secret_key.clone()),
                "AWS_SESSION_TOKEN" => caller.keys.session_token.clone(),
                "AWS_DEFAULT_REGION" => Some(region.to_owned()),
                _ => None,
            };
            let known = environment::region(read).unwrap();
            assert_eq!(signed(AUDIENCE, &known, read, NOW).unwrap(), expected);
        }
    }
}

/// Scenario: something is missing or wrong. Guarantees: it is named, and no value is repeated.
#[test]
fn what_is_missing_is_named() {
    let all = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    for (region, without, expected) in [
        ("eu-west-1/x", "", "a region is written like `eu-west-1`"),
        (
            "eu-west-1",
            "AWS_ACCESS_KEY_ID",
            "the environment has no `AWS_ACCESS_KEY_ID`",
        ),
        (
            "eu-west-1",
            "AWS_SECRET_ACCESS_KEY",
            "the environment has no `AWS_SECRET_ACCESS_KEY`",
        ),
    ] {
        let read =
            |name: &str| (all.contains(&name) && name != without).then(|| "canary".to_owned());
        let failure = Failure::from(signed(AUDIENCE, region, read, NOW).unwrap_err());
        assert_eq!(failure.message, expected);
        let advice = failure.advice.unwrap_or_default();
        assert!(!advice.contains("canary"));
        assert_eq!(advice.contains("--features aws"), !without.is_empty());
    }
}

#[test]
fn an_audience_is_no_name_of_a_cluster() {
    for (text, expected) in [
        (AUDIENCE, true),
        ("prod", false),
        ("light keeper:a", false),
        ("lightkeeper:é", false),
        ("", false),
    ] {
        assert_eq!(is_audience(text), expected, "{text}");
    }
}

#[cfg(feature = "aws")]
proptest! {
    /// Scenario: any credentials, regions and times. Guarantees: AWS's own signer and ours write the same bytes.
    #[test]
    fn both_signers_write_the_same(
        access_key in "A[A-Z0-9]{15,39}",
        secret in "[a-zA-Z0-9+/]{20,40}",
        session in proptest::option::of("[a-zA-Z0-9+/]{1,600}={0,2}"),
        region in proptest::sample::select(vec!["eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1"]),
        audience in "[a-z.*~%/-]{0,20}:[a-zA-Z0-9./_~%+-]{1,40}",
        seconds in 0_i64..4_000_000_000,
    ) {
        let credentials = AwsCredentials {
            access_key,
            secret_key: Zeroizing::new(secret),
            session: session.map(Zeroizing::new),
        };
        let host = regional_host(region).unwrap();
        let call = SignedCall { audience: &audience, host: &host, region, at: UnixMillis(seconds * 1000) };
        let theirs = presigned::presigned(&call, &credentials).unwrap();
        let ours = environment::presigned(&call, &credentials).unwrap();
        prop_assert_eq!(theirs.as_str(), ours.as_str());
    }
}
