//! Credentials of AWS from wherever AWS's own tools find them, and AWS's own signature.
//!
//! What it does: asks `aws-config` (environment, profiles with their processes and single sign-on, web identities, containers,
//! instances) for a region and credentials, keeps those that have an end until shortly before it, and signs with `aws-sigv4`.
//! What it refuses to know: which source it was. Invariant: credentials are kept in memory alone.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{AwsCredentials, AwsTokenFault, EXPIRES_SECONDS, SignedCall};
use crate::clock::UnixMillis;
use crate::percent;

/// Credentials with less than this left are asked for anew.
const LEAST_LEFT: Duration = Duration::from_secs(300);

/// AWS's chain, and what it found last.
pub(super) struct ChainSource {
    config: SdkConfig,
    kept: Mutex<Option<Credentials>>,
}

/// The chain, and the region that it knows.
pub(super) async fn open() -> (ChainSource, Option<String>) {
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .load()
        .await;
    let region = config.region().map(|region| region.as_ref().to_owned());
    let kept = Mutex::default();
    (ChainSource { config, kept }, region)
}

impl ChainSource {
    pub(super) async fn credentials(
        &self,
        now: UnixMillis,
    ) -> Result<AwsCredentials, AwsTokenFault> {
        let now = instant(now)?;
        let mut kept = self.kept.lock().await;
        let found = match kept.take().filter(|kept| lasts(kept, now)) {
            Some(lasting) => lasting,
            None => {
                let unfound = |fault: CredentialsError| AwsTokenFault::Unfound(Box::new(fault));
                let provider = self.config.credentials_provider();
                let provider =
                    provider.ok_or_else(|| unfound(CredentialsError::not_loaded("no source")))?;
                provider.provide_credentials().await.map_err(unfound)?
            }
        };
        let session = found.session_token();
        let credentials = AwsCredentials {
            access_key: found.access_key_id().to_owned(),
            secret_key: Zeroizing::new(found.secret_access_key().to_owned()),
            session: session.map(|token| Zeroizing::new(token.to_owned())),
        };
        *kept = Some(found);
        Ok(credentials)
    }
}

#[cfg(test)]
impl ChainSource {
    pub(super) fn of_keys() -> Self {
        let keys = Credentials::new("AKIAIOSFODNN7EXAMPLE", "canary", None, None, "test");
        let provider = aws_credential_types::provider::SharedCredentialsProvider::new(keys);
        ChainSource {
            config: SdkConfig::builder().credentials_provider(provider).build(),
            kept: Mutex::default(),
        }
    }
}

/// Those without an end may have been changed where they stand, and are read anew.
fn lasts(credentials: &Credentials, now: SystemTime) -> bool {
    credentials
        .expiry()
        .is_some_and(|end| end > now + LEAST_LEFT)
}

fn instant(at: UnixMillis) -> Result<SystemTime, AwsTokenFault> {
    let seconds = u64::try_from(at.seconds()).map_err(|_| AwsTokenFault::Clock)?;
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or(AwsTokenFault::Clock)
}

/// The URL of a call.
pub(super) fn presigned(
    call: &SignedCall<'_>,
    credentials: &AwsCredentials,
) -> Result<Zeroizing<String>, AwsTokenFault> {
    let unsigned = |fault: Box<dyn std::error::Error + Send + Sync>| AwsTokenFault::Unsigned(fault);
    let session = credentials.session.as_ref().map(|token| token.to_string());
    let secret = credentials.secret_key.to_string();
    let identity = Credentials::new(
        &credentials.access_key,
        secret,
        session,
        None,
        "lightkeeper",
    )
    .into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(EXPIRES_SECONDS.into()));
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(call.region)
        .name("sts")
        .time(instant(call.at)?)
        .settings(settings)
        .build()
        .map_err(|fault| unsigned(fault.into()))?
        .into();
    let url = format!(
        "https://{}/?Action=GetCallerIdentity&Version=2011-06-15",
        call.host
    );
    let headers = [("host", call.host), ("x-k8s-aws-id", call.audience)];
    let request = SignableRequest::new("GET", &url, headers.into_iter(), SignableBody::empty())
        .map_err(|fault| unsigned(fault.into()))?;
    let signed = sign(request, &parameters).map_err(|fault| unsigned(fault.into()))?;
    // A verifier of tokens for EKS may compare bytes: the parameters stand in the order in which they are signed.
    let (instructions, _) = signed.into_parts();
    let mut parameters: Vec<Zeroizing<String>> = instructions
        .params()
        .iter()
        .map(|(name, value)| Zeroizing::new(format!("&{name}={}", percent::encode(value))))
        .collect();
    parameters.sort_by(|one, other| place(one).cmp(&place(other)));
    let mut whole = Zeroizing::new(url);
    for parameter in parameters {
        whole.push_str(&parameter);
    }
    Ok(whole)
}

/// The signature comes last.
fn place(parameter: &str) -> (bool, &str) {
    (parameter.starts_with("&X-Amz-Signature="), parameter)
}
