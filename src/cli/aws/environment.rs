//! Credentials of AWS from the environment, as functions in AWS have them, and their signature.
//!
//! What it does: reads five variables, and signs as AWS's Signature Version 4 has it. What it refuses to know: AWS's other sources
//! of credentials, and the network. Invariant: the secret is copied nowhere but into the keys that are made of it, which are
//! wiped.

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use time::OffsetDateTime;
use time::macros::format_description;
use zeroize::Zeroizing;

use super::{AwsCredentials, AwsTokenFault, EXPIRES_SECONDS, SignedCall};
use crate::clock::UnixMillis;
use crate::percent;

/// Where credentials come from, and how others are used.
pub(super) const ADVICE: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN); for profiles, instances, \
                                 containers and pods take a build with `--features aws`, which this one is not, or `aws eks get-token`";

/// The environment.
#[cfg(not(feature = "aws"))]
pub(super) struct EnvironmentSource;

/// The environment, and the region that it names.
#[cfg(not(feature = "aws"))]
pub(super) async fn open() -> (EnvironmentSource, Option<String>) {
    let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    (EnvironmentSource, region(read))
}

#[cfg(not(feature = "aws"))]
impl EnvironmentSource {
    pub(super) async fn credentials(
        &self,
        _now: UnixMillis,
    ) -> Result<AwsCredentials, AwsTokenFault> {
        credentials(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }
}

pub(super) fn region(read: impl Fn(&str) -> Option<String>) -> Option<String> {
    read("AWS_REGION").or_else(|| read("AWS_DEFAULT_REGION"))
}

pub(super) fn credentials(
    read: impl Fn(&str) -> Option<String>,
) -> Result<AwsCredentials, AwsTokenFault> {
    let needed = |name: &'static str| read(name).ok_or(AwsTokenFault::NoCredentials(name));
    Ok(AwsCredentials {
        access_key: needed("AWS_ACCESS_KEY_ID")?,
        secret_key: Zeroizing::new(needed("AWS_SECRET_ACCESS_KEY")?),
        session: read("AWS_SESSION_TOKEN").map(Zeroizing::new),
    })
}

/// The URL of a call.
pub(super) fn presigned(
    call: &SignedCall<'_>,
    credentials: &AwsCredentials,
) -> Result<Zeroizing<String>, AwsTokenFault> {
    let AwsCredentials {
        access_key,
        secret_key,
        session,
    } = credentials;
    let SignedCall {
        audience,
        host,
        region,
        at,
    } = call;
    let date = amz_date(*at).ok_or(AwsTokenFault::Clock)?;
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
         &X-Amz-Date={date}&X-Amz-Expires={EXPIRES_SECONDS}{session}&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id",
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
    Ok(Zeroizing::new(format!(
        "https://{host}/?{}&X-Amz-Signature={signature}",
        query.as_str()
    )))
}

/// `20261130T004500Z`.
fn amz_date(at: UnixMillis) -> Option<String> {
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = OffsetDateTime::from_unix_timestamp(at.seconds()).ok()?;
    time.format(form).ok()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}
