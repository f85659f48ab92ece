//! Credentials of AWS from wherever AWS's own tools find them.
//!
//! What it does: asks `aws-config` (environment, profiles with their processes and single sign-on, web identities, containers,
//! instances) for a region and credentials, and keeps those that have an end until shortly before it. What it refuses to know:
//! which source it was, and what is signed. Invariant: credentials are kept in memory alone.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use tokio::sync::Mutex;

use super::AwsFault;
use crate::clock::UnixMillis;

/// Credentials with less than this left are asked for anew.
const LEAST_LEFT: Duration = Duration::from_secs(300);

/// The whole search, of a gateway.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// AWS's chain, and what it found last.
pub(crate) struct AwsChain {
    config: SdkConfig,
    kept: Mutex<Option<Credentials>>,
}

impl AwsChain {
    /// `region`: that of the calls; `None`: that of the environment.
    pub(crate) async fn open(region: Option<&str>) -> Self {
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        let loader = match region {
            Some(region) => loader.region(Region::new(region.to_owned())),
            None => loader,
        };
        AwsChain {
            config: loader.load().await,
            kept: Mutex::default(),
        }
    }

    /// The region that it knows.
    pub(crate) fn region(&self) -> Option<&str> {
        self.config.region().map(AsRef::as_ref)
    }

    pub(crate) async fn credentials(&self, now: UnixMillis) -> Result<Credentials, AwsFault> {
        let now = instant(now)?;
        let mut kept = self.kept.lock().await;
        let found = match kept.take().filter(|kept| lasts(kept, now)) {
            Some(still) => still,
            None => {
                let unfound = |fault: CredentialsError| AwsFault::Unfound(Box::new(fault));
                let provider = self.config.credentials_provider();
                let provider =
                    provider.ok_or_else(|| unfound(CredentialsError::not_loaded("no source")))?;
                provider.provide_credentials().await.map_err(unfound)?
            }
        };
        *kept = Some(found.clone());
        Ok(found)
    }

    /// One with lasting keys of no caller.
    #[cfg(test)]
    pub(crate) fn of_keys() -> Self {
        let keys = lasting("AKIAIOSFODNN7EXAMPLE", "canary", None);
        let provider = aws_credential_types::provider::SharedCredentialsProvider::new(keys);
        AwsChain {
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

/// Keys without an end. They are wiped when the last copy is dropped.
pub(crate) fn lasting(access_key: &str, secret_key: &str, session: Option<&str>) -> Credentials {
    Credentials::new(
        access_key,
        secret_key,
        session.map(str::to_owned),
        None,
        "lightkeeper",
    )
}

pub(crate) fn instant(at: UnixMillis) -> Result<SystemTime, AwsFault> {
    let seconds = u64::try_from(at.seconds()).map_err(|_| AwsFault::Clock)?;
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or(AwsFault::Clock)
}
