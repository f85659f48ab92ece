//! A login that is used: the chosen gateway, and an access token that is good now.
//!
//! What it does: picks the gateway, and renews its token when less than a minute is left. What it refuses to know: what is asked
//! with it. Invariants: a refresh token is spent under the file's lock, after the file was read again, and the new one is on
//! disk before the access token is used; a token that still lives is used when it cannot be renewed for now.

use std::path::PathBuf;

use tokio::sync::Mutex;

use super::GatewayArguments;
use super::failure::Failure;
use super::provider::refresh;
use super::store::{Contents, Store, StoredLogin};
use super::web::{Web, origin};
use crate::clock::Clock;

/// Names the gateway where `--gateway` does not.
const GATEWAY_VARIABLE: &str = "LIGHTKEEPER_GATEWAY";
/// A token with less than this left is renewed, in seconds.
const LEAST_SECONDS: i64 = 60;

/// One gateway and one developer.
pub(crate) struct ToolSession {
    pub gateway: String,
    /// For the query API's paths.
    pub organization: String,
    pub web: Web,
    store: Store,
    clock: Clock,
    /// The access token and when it ends, in Unix seconds.
    held: Mutex<(String, i64)>,
}

/// `--gateway`, else `LIGHTKEEPER_GATEWAY`, else that of the last login.
pub(crate) fn chosen(argument: Option<&str>, contents: &Contents) -> Result<String, Failure> {
    let variable = || {
        std::env::var(GATEWAY_VARIABLE)
            .ok()
            .filter(|value| !value.is_empty())
    };
    if let Some(text) = argument.map(str::to_owned).or_else(variable) {
        return origin(&text).map_err(|fault| Failure::new(fault.to_string()));
    }
    contents.default.clone().ok_or_else(|| {
        Failure::new("no gateway is chosen")
            .advise("log in first: lightkeeper login --gateway https://gateway.example")
    })
}

impl ToolSession {
    /// Of a person who has logged in.
    pub(crate) fn open(arguments: &GatewayArguments) -> Result<Self, Failure> {
        ToolSession::at(
            Store::locate()?,
            arguments.gateway.as_deref(),
            arguments.ca.clone(),
            Clock::system(),
        )
    }

    fn at(
        store: Store,
        gateway: Option<&str>,
        ca: Option<PathBuf>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let contents = store.read()?;
        let gateway = chosen(gateway, &contents)?;
        let entry = entry(&contents, &gateway)?;
        let web = Web::new(ca.as_deref().or(entry.ca.as_deref()))?;
        let held = Mutex::new((entry.access_token.clone(), entry.expires));
        Ok(ToolSession {
            organization: entry.organization.clone(),
            gateway,
            web,
            store,
            clock,
            held,
        })
    }

    /// An access token with at least a minute left, if one can be had.
    pub(crate) async fn token(&self) -> Result<String, Failure> {
        let mut held = self.held.lock().await;
        if self.left(held.1) < LEAST_SECONDS {
            *held = self.renew(held.clone()).await?;
        }
        Ok(held.0.clone())
    }

    fn left(&self, expires: i64) -> i64 {
        expires.saturating_sub(self.clock.now().seconds())
    }

    async fn renew(&self, held: (String, i64)) -> Result<(String, i64), Failure> {
        let locked = self.store.lock().await?;
        let mut contents = locked.read()?;
        let mut entry = entry(&contents, &self.gateway)?.clone();
        // Another command may have been quicker.
        if self.left(entry.expires) < LEAST_SECONDS {
            match refresh(&self.web, &self.gateway, &mut entry, &self.clock).await {
                Ok(()) => {}
                Err(_) if self.left(held.1) > 0 => return Ok(held),
                Err(failure) => return Err(failure),
            }
            contents
                .gateways
                .insert(self.gateway.clone(), entry.clone());
            locked.write(contents)?;
        }
        Ok((entry.access_token, entry.expires))
    }
}

fn entry<'a>(contents: &'a Contents, gateway: &str) -> Result<&'a StoredLogin, Failure> {
    let missing = || {
        let mut failure = Failure::log_in(gateway, format!("not logged in at `{gateway}`"));
        failure.advice = Some(format!(
            "log in first: lightkeeper login --gateway {gateway}"
        ));
        failure
    };
    contents.gateways.get(gateway).ok_or_else(missing)
}
