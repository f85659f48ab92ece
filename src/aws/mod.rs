//! Credentials of AWS, and calls to its services that are signed with them (Signature Version 4 in the header).
//!
//! What it does: reads keys where a configuration says they are kept, or finds them where AWS's own tools do (`chain.rs`), and
//! gives the headers with which a call is signed. What it refuses to know: which service is asked, and how. Invariants: of
//! the credentials nothing but the access key and the session stand in a header; no fault holds either; a build without the
//! feature `aws` says so, and signs nothing.

#[cfg(feature = "aws")]
mod chain;
#[cfg(feature = "aws")]
mod signature;

#[cfg(feature = "aws")]
pub(crate) use chain::{AwsChain, instant, lasting};

use http::{HeaderName, HeaderValue};

use crate::clock::UnixMillis;
use crate::secret::{SecretRef, UnreadableSecret};

/// Whether this build can sign.
pub(crate) const IS_BUILT: bool = cfg!(feature = "aws");

/// What a configuration without it is told.
pub(crate) const NOT_BUILT: &str =
    "this build has no feature `aws`: take one with `--features aws`";

/// Keys of AWS that are kept here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeyRefs {
    pub access_key: SecretRef,
    pub secret_key: SecretRef,
    /// Of those of a role.
    pub session: Option<SecretRef>,
}

/// Who signs, and for which region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSigning {
    pub region: String,
    /// `None`: AWS's own search finds them.
    pub keys: Option<AwsKeyRefs>,
}

/// A call that is to be signed: a `POST` to `https://{host}/`, or to a loopback port in plain text.
#[cfg_attr(
    not(feature = "aws"),
    allow(dead_code, reason = "without it nothing is signed")
)]
pub(crate) struct AwsCall<'a> {
    pub(crate) service: &'a str,
    /// With the port, where the URL has one.
    pub(crate) host: &'a str,
    /// Signed along; names in lower case.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AwsFault {
    #[cfg_attr(feature = "aws", allow(dead_code, reason = "of builds without it"))]
    #[error("{NOT_BUILT}")]
    NotBuilt,
    #[error(transparent)]
    Key(#[from] UnreadableSecret),
    #[cfg(feature = "aws")]
    #[error("no credentials of AWS are found")]
    Unfound(#[source] Box<aws_credential_types::provider::error::CredentialsError>),
    #[cfg(feature = "aws")]
    #[error("AWS's search for credentials does not end in time")]
    Slow,
    #[cfg(feature = "aws")]
    #[error("the clock is far off")]
    Clock,
    #[cfg(feature = "aws")]
    #[error("the call cannot be signed")]
    Unsigned(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Signs calls.
pub(crate) struct HeaderSigner {
    #[cfg_attr(
        not(feature = "aws"),
        allow(dead_code, reason = "without it nothing is signed")
    )]
    signing: AwsSigning,
    #[cfg(feature = "aws")]
    chain: tokio::sync::OnceCell<AwsChain>,
}

impl HeaderSigner {
    /// Reads and asks nothing.
    pub(crate) fn new(signing: AwsSigning) -> Self {
        HeaderSigner {
            signing,
            #[cfg(feature = "aws")]
            chain: tokio::sync::OnceCell::new(),
        }
    }

    /// The headers that sign a call: `authorization`, `x-amz-date`, and the session's.
    #[cfg(feature = "aws")]
    pub(crate) async fn sign(
        &self,
        call: &AwsCall<'_>,
        now: UnixMillis,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, AwsFault> {
        let region = &self.signing.region;
        let credentials = match &self.signing.keys {
            Some(keys) => signature::kept(keys)?,
            None => {
                let search = async {
                    let chain = self.chain.get_or_init(|| AwsChain::open(Some(region)));
                    chain.await.credentials(now).await
                };
                let found = tokio::time::timeout(chain::PATIENCE, search).await;
                found.map_err(|_| AwsFault::Slow)??
            }
        };
        signature::headers(call, region, credentials, now)
    }

    #[cfg(not(feature = "aws"))]
    pub(crate) async fn sign(
        &self,
        _call: &AwsCall<'_>,
        _now: UnixMillis,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, AwsFault> {
        Err(AwsFault::NotBuilt)
    }
}
