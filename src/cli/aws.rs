//! `lightkeeper token --aws`: a call to AWS, signed for a gateway.
//!
//! What it does: signs a presigned `GetCallerIdentity` (AWS's Signature Version 4) with the credentials of the environment, as
//! functions in AWS have them, and prints it in the form of tokens for EKS. What it refuses to know: the gateway, AWS's other sources of
//! credentials, and the network; nothing is sent. Invariant: of the credentials, the access key and the session stand in what is
//! printed, and the secret nowhere.

use std::process::ExitCode;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use time::OffsetDateTime;
use time::macros::format_description;
use zeroize::Zeroizing;

use crate::accept::AWS_PROOF_PREFIX;
use crate::clock::{Clock, UnixMillis};
use crate::identify::regional_host;
use crate::percent;

/// Where credentials come from, and how others are used.
const ELSEWHERE: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or use `aws eks get-token`, which \
                         knows profiles, instances and containers as well";

/// Why nothing is signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum AwsTokenFault {
    #[error("the environment has no `{0}`: {ELSEWHERE}")]
    NoCredentials(&'static str),
    #[error("the environment names no region: set AWS_REGION, or say `--region eu-west-1`")]
    NoRegion,
    #[error("a region is written like `eu-west-1`")]
    Region,
    #[error("the audience has a `:`, like `lightkeeper:gateway.acme.example`")]
    Audience,
    #[error("the clock is far off")]
    Clock,
}

/// What is signed with.
struct AwsCredentials {
    access_key: String,
    secret_key: Zeroizing<String>,
    session: Option<Zeroizing<String>>,
}

/// Prints a token, alone.
pub(crate) fn token(audience: &str, region: Option<&str>) -> ExitCode {
    let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match signed(audience, region, read, Clock::system().now()) {
        Ok(token) => {
            println!("{}", token.as_str());
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn signed(
    audience: &str,
    region: Option<&str>,
    read: impl Fn(&str) -> Option<String>,
    now: UnixMillis,
) -> Result<Zeroizing<String>, AwsTokenFault> {
    let needed = |name: &'static str| read(name).ok_or(AwsTokenFault::NoCredentials(name));
    let is_audience =
        audience.contains(':') && audience.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_audience {
        return Err(AwsTokenFault::Audience);
    }
    let region = region
        .map(str::to_owned)
        .or_else(|| read("AWS_REGION"))
        .or_else(|| read("AWS_DEFAULT_REGION"))
        .ok_or(AwsTokenFault::NoRegion)?;
    let host = regional_host(&region).ok_or(AwsTokenFault::Region)?;
    let credentials = AwsCredentials {
        access_key: needed("AWS_ACCESS_KEY_ID")?,
        secret_key: Zeroizing::new(needed("AWS_SECRET_ACCESS_KEY")?),
        session: read("AWS_SESSION_TOKEN").map(Zeroizing::new),
    };
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    let date = OffsetDateTime::from_unix_timestamp(now.seconds())
        .ok()
        .and_then(|time| time.format(form).ok());
    let date = date.ok_or(AwsTokenFault::Clock)?;
    Ok(presigned(audience, (&host, &region), &credentials, &date))
}

/// The token of a call at `date`, `20261130T004500Z`.
fn presigned(
    audience: &str,
    (host, region): (&str, &str),
    credentials: &AwsCredentials,
    date: &str,
) -> Zeroizing<String> {
    let AwsCredentials {
        access_key,
        secret_key,
        session,
    } = credentials;
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{region}/sts/aws4_request");
    let session = session.as_ref().map(|session| {
        let session = percent::encode(session);
        Zeroizing::new(format!("&X-Amz-Security-Token={session}"))
    });
    let session = session.as_ref().map_or("", |text| text.as_str());
    let credential = format!("{access_key}/{scope}");
    let query = Zeroizing::new(format!(
        "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}\
         &X-Amz-Date={date}&X-Amz-Expires=60{session}&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id",
        percent::encode(&credential)
    ));
    let canonical = Zeroizing::new(format!(
        "GET\n/\n{}\nhost:{host}\nx-k8s-aws-id:{audience}\n\nhost;x-k8s-aws-id\n{}",
        query.as_str(),
        hex(digest::digest(&digest::SHA256, b"").as_ref())
    ));
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    );
    let mut key = Zeroizing::new(format!("AWS4{}", secret_key.as_str()).into_bytes());
    for part in scope.split('/') {
        key = Zeroizing::new(mac(&key, part));
    }
    let signature = hex(&mac(&key, &to_sign));
    let url = Zeroizing::new(format!(
        "https://{host}/?{}&X-Amz-Signature={signature}",
        query.as_str()
    ));
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(url.as_bytes()));
    Zeroizing::new(format!("{AWS_PROOF_PREFIX}{}", encoded.as_str()))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use testkit::AwsCaller;
    use testkit::sigv4::PresignedCall;

    use super::*;

    const AUDIENCE: &str = "lightkeeper:gateway.acme.example";
    const NOW: i64 = 1_800_000_000;

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
                let token = signed(AUDIENCE, None, read, UnixMillis(NOW * 1000)).unwrap();
                assert_eq!(token.as_str(), expected);
                let named = signed(AUDIENCE, Some(region), read, UnixMillis(NOW * 1000));
                assert_eq!(named.unwrap().as_str(), expected);
            }
        }
    }

    /// Scenario: something is missing or wrong. Guarantees: it is named, and no value is repeated.
    #[test]
    fn what_is_missing_is_named() {
        let all = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"];
        for (audience, region, without, expected) in [
            ("prod", None, "", AwsTokenFault::Audience),
            ("light keeper:a", None, "", AwsTokenFault::Audience),
            (AUDIENCE, Some("eu-west-1/x"), "", AwsTokenFault::Region),
            (AUDIENCE, None, "AWS_REGION", AwsTokenFault::NoRegion),
            (
                AUDIENCE,
                None,
                "AWS_ACCESS_KEY_ID",
                AwsTokenFault::NoCredentials("AWS_ACCESS_KEY_ID"),
            ),
            (
                AUDIENCE,
                None,
                "AWS_SECRET_ACCESS_KEY",
                AwsTokenFault::NoCredentials("AWS_SECRET_ACCESS_KEY"),
            ),
        ] {
            let read = |name: &str| {
                let value = match name {
                    "AWS_REGION" => "eu-west-1",
                    _ => "canary",
                };
                (all.contains(&name) && name != without).then(|| value.to_owned())
            };
            let fault = signed(audience, region, read, UnixMillis(NOW * 1000)).unwrap_err();
            assert!(!fault.to_string().contains("canary"));
            assert_eq!(fault, expected);
        }
    }
}
