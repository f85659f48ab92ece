//! Calls to AWS that are signed for a gateway: `lightkeeper token --aws` and `lightkeeper connect --aws`.
//!
//! What it does: finds credentials and a region, signs a presigned `GetCallerIdentity` (AWS's Signature Version 4), and gives it
//! the form of tokens for EKS. With the feature `aws` credentials are found where AWS's own tools find them (`presigned`); without it
//! they are those of the environment (`environment`). What it refuses to know: the gateway. Invariants: what is signed is sent to
//! AWS by the gateway alone; of the credentials, the access key and the session stand in a token, and the secret nowhere.

#[cfg(feature = "aws")]
mod presigned;
#[cfg(any(not(feature = "aws"), test))]
mod environment;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::developer::failure::Failure;
use crate::accept::AWS_PROOF_PREFIX;
use crate::clock::UnixMillis;
use crate::identify::regional_host;

#[cfg(not(feature = "aws"))]
use environment::{self as source, EnvironmentSource as KnownSource};
#[cfg(feature = "aws")]
use presigned::{self as source, ChainSource as KnownSource};

/// What a call says of its own life, in seconds (`X-Amz-Expires`). AWS pays no heed to it: 15 minutes are what it takes.
const EXPIRES_SECONDS: u16 = 60;

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AwsTokenFault {
    /// The first variable that is missing.
    #[cfg(any(not(feature = "aws"), test))]
    #[error("the environment has no `{0}`")]
    NoCredentials(&'static str),
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Chain(#[from] crate::aws::AwsFault),
    #[error("no region is known")]
    NoRegion,
    #[error("a region is written like `eu-west-1`")]
    Region,
    #[error("the audience has a `:`, like `lightkeeper:gateway.acme.example`")]
    Audience,
    #[cfg(any(not(feature = "aws"), test))]
    #[error("the clock is far off")]
    Clock,
    #[cfg(feature = "aws")]
    #[error("the call cannot be signed")]
    Unsigned(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AwsTokenFault {
    fn advice(&self) -> Option<&'static str> {
        match self {
            #[cfg(any(not(feature = "aws"), test))]
            AwsTokenFault::NoCredentials(_) => Some(environment::ADVICE),
            #[cfg(feature = "aws")]
            AwsTokenFault::Chain(_) => Some(
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN); instances, tasks and pods \
                 have a role of their own",
            ),
            AwsTokenFault::NoRegion => Some("set AWS_REGION, or say `--region eu-west-1`"),
            #[cfg(feature = "aws")]
            AwsTokenFault::Unsigned(_) => None,
            #[cfg(any(not(feature = "aws"), test))]
            AwsTokenFault::Clock => None,
            AwsTokenFault::Region | AwsTokenFault::Audience => None,
        }
    }
}

impl From<AwsTokenFault> for Failure {
    fn from(fault: AwsTokenFault) -> Self {
        let failure = Failure::new(crate::causes::chain(&fault));
        match fault.advice() {
            Some(advice) => failure.advise(advice),
            None => failure,
        }
    }
}

/// What is signed with.
struct AwsCredentials {
    access_key: String,
    secret_key: Zeroizing<String>,
    session: Option<Zeroizing<String>>,
}

/// What a call is signed for.
struct SignedCall<'a> {
    audience: &'a str,
    host: &'a str,
    region: &'a str,
    at: UnixMillis,
}

/// Signs calls for one gateway.
pub(super) struct AwsSigner {
    audience: String,
    host: String,
    region: String,
    source: KnownSource,
}

impl AwsSigner {
    /// `region`: that to sign for; `None`: that of the environment.
    pub(super) async fn open(audience: &str, region: Option<&str>) -> Result<Self, AwsTokenFault> {
        if !is_audience(audience) {
            return Err(AwsTokenFault::Audience);
        }
        let (source, known) = source::open().await;
        let region = region
            .map(str::to_owned)
            .or(known)
            .ok_or(AwsTokenFault::NoRegion)?;
        Ok(AwsSigner {
            audience: audience.to_owned(),
            host: regional_host(&region).ok_or(AwsTokenFault::Region)?,
            region,
            source,
        })
    }

    /// A token of a call that is signed now.
    pub(super) async fn token(&self, now: UnixMillis) -> Result<Zeroizing<String>, AwsTokenFault> {
        let credentials = self.source.credentials(now).await?;
        let call = SignedCall {
            audience: &self.audience,
            host: &self.host,
            region: &self.region,
            at: now,
        };
        Ok(as_token(&source::presigned(&call, &credentials)?))
    }
}

#[cfg(all(test, feature = "aws"))]
impl AwsSigner {
    /// One with lasting keys of no caller.
    pub(super) fn of_keys(audience: &str, region: &str) -> Self {
        AwsSigner {
            audience: audience.to_owned(),
            host: regional_host(region).unwrap_or_default(),
            region: region.to_owned(),
            source: KnownSource::of_keys(),
        }
    }
}

fn is_audience(text: &str) -> bool {
    text.contains(':') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn as_token(url: &str) -> Zeroizing<String> {
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(url));
    Zeroizing::new(format!("{AWS_PROOF_PREFIX}{}", encoded.as_str()))
}

#[cfg(test)]
mod tests;
