//! AWS's chain of credentials, and AWS's own signature of a presigned call.
//!
//! What it does: asks the chain, and signs with `aws-sigv4` in the query. What it refuses to know: which source the credentials
//! came from. Invariant: credentials are kept in memory alone.

use std::time::Duration;

use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use zeroize::Zeroizing;

use super::{AwsCredentials, AwsTokenFault, EXPIRES_SECONDS, SignedCall};
use crate::aws::{AwsChain, instant, lasting};
use crate::clock::UnixMillis;
use crate::percent;

/// AWS's chain.
pub(super) struct ChainSource(AwsChain);

/// The chain, and the region that it knows.
pub(super) async fn open() -> (ChainSource, Option<String>) {
    let chain = AwsChain::open(None).await;
    let region = chain.region().map(str::to_owned);
    (ChainSource(chain), region)
}

impl ChainSource {
    pub(super) async fn credentials(
        &self,
        now: UnixMillis,
    ) -> Result<AwsCredentials, AwsTokenFault> {
        let found = self.0.credentials(now).await?;
        let session = found.session_token();
        Ok(AwsCredentials {
            access_key: found.access_key_id().to_owned(),
            secret_key: Zeroizing::new(found.secret_access_key().to_owned()),
            session: session.map(|token| Zeroizing::new(token.to_owned())),
        })
    }
}

#[cfg(test)]
impl ChainSource {
    pub(super) fn of_keys() -> Self {
        ChainSource(AwsChain::of_keys())
    }
}

/// The URL of a call.
pub(super) fn presigned(
    call: &SignedCall<'_>,
    credentials: &AwsCredentials,
) -> Result<Zeroizing<String>, AwsTokenFault> {
    let unsigned = |fault: Box<dyn std::error::Error + Send + Sync>| AwsTokenFault::Unsigned(fault);
    let identity = lasting(
        &credentials.access_key,
        &credentials.secret_key,
        credentials.session.as_ref().map(|token| token.as_str()),
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
