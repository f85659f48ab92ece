//! The proxies that the environment names.
//!
//! What it does: reads `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` as curl does. What it refuses to know: who
//! is called. Invariants: `HTTP_PROXY` in upper case does not count, because under CGI a request's header `Proxy` sets it;
//! a variable that names no proxy we can use is an error where it would decide, never a reason to go straight.

use std::ffi::OsString;
use std::sync::Arc;

use super::no_proxy::NoProxy;
use super::proxy::{ProxyCredentials, ProxySettings, ProxyUrl};

/// curl's port of a proxy that names none.
const DEFAULT_PORT: u16 = 1080;

/// What the environment says, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    https: VariableProxy,
    http: VariableProxy,
    no_proxy: NoProxy,
}

type VariableProxy = Result<Option<Arc<ProxySettings>>, UnusableProxy>;

/// A variable that names no proxy which could be used. Displays the variable and why, nothing of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment's `{variable}` {fault}")]
pub(crate) struct UnusableProxy {
    pub variable: &'static str,
    pub fault: &'static str,
}

impl Environment {
    /// This process's.
    pub fn process() -> Self {
        Self::read(std::env::var_os)
    }

    /// One in which nothing is set.
    pub fn empty() -> Self {
        Self::read(|_| None)
    }

    /// One that `lookup` knows. An empty variable is none.
    pub fn read(lookup: impl Fn(&'static str) -> Option<OsString>) -> Self {
        let first = |names: &[&'static str]| {
            let found = names
                .iter()
                .find_map(|name| Some((*name, lookup(name).filter(|value| !value.is_empty())?)));
            found.map(|(name, value)| named(name, value)).transpose()
        };
        let list = ["no_proxy", "NO_PROXY"]
            .iter()
            .find_map(|name| lookup(name).filter(|value| !value.is_empty()));
        Environment {
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            no_proxy: list
                .map(|list| NoProxy::parse(&list.to_string_lossy()))
                .unwrap_or_default(),
        }
    }

    pub(super) fn proxy(
        &self,
        tls: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<&Arc<ProxySettings>>, UnusableProxy> {
        if self.no_proxy.holds(host, port) {
            return Ok(None);
        }
        let named = if tls { &self.https } else { &self.http };
        named
            .as_ref()
            .map(Option::as_ref)
            .map_err(|unusable| *unusable)
    }

    pub(super) fn proxies(&self) -> Vec<&Arc<ProxySettings>> {
        [&self.https, &self.http]
            .into_iter()
            .filter_map(|named| named.as_ref().ok()?.as_ref())
            .collect()
    }
}

fn named(variable: &'static str, value: OsString) -> Result<Arc<ProxySettings>, UnusableProxy> {
    let unusable = |fault| UnusableProxy { variable, fault };
    let value = value.into_string().map_err(|_| unusable("is not UTF-8"))?;
    let url = ProxyUrl::parse(value.trim()).map_err(unusable)?;
    let credentials = url.credentials.map(ProxyCredentials::Given);
    Ok(Arc::new(ProxySettings {
        host: url.host,
        port: url.port.unwrap_or(DEFAULT_PORT),
        credentials,
    }))
}
