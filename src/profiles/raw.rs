//! A profile as its text is written.
//!
//! What it does: mirrors the YAML key by key, and says which of our values a word means. What it refuses to know: whether rows
//! go together (`load` does). Invariant: an unknown key or word is an error.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;

use super::tree::{RawTree, RawUi};
use super::{Addresses, AlertLayout, Credential, Host, RateRule, Scope, TokenPlace};
use crate::otlp::Signal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileFile {
    pub name: String,
    pub addresses: Addresses,
    pub credentials: RawCredentials,
    pub ingest: IngestFile,
    pub query: QueryFile,
    pub alerts: AlertLayout,
    pub operations: Vec<RawOperation>,
    pub ui: RawUi,
    pub tree: Vec<RawTree>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCredentials {
    pub access_token: RawPlacement,
    pub api_key: RawPlacement,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlacement {
    pub header: String,
    #[serde(default)]
    pub scheme: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IngestFile {
    pub http: Vec<RawExport>,
    pub grpc: Vec<RawExport>,
    pub legacy: Vec<RawLegacy>,
    pub(crate) legacy_grpc: Vec<RawLegacy>,
    pub token_in_url: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLegacy {
    pub path: String,
    pub format: String,
    pub signal: RawSignal,
    pub upstream: RawHost,
    #[serde(default)]
    pub token: RawTokenPlace,
    #[serde(default)]
    pub types: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawHost {
    Ingest,
    Collector,
    Logs,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawTokenPlace {
    #[default]
    Header,
    Password,
    FirehoseKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExport {
    pub path: String,
    pub signal: RawSignal,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawSignal {
    Traces,
    Metrics,
    Logs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryFile {
    pub prefix: String,
    pub tenant_header: String,
    pub(crate) link_hosts: Vec<String>,
    pub rates: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperation {
    pub method: RawMethod,
    pub path: String,
    pub permission: String,
    pub scope: RawScope,
    pub key: RawKey,
    #[serde(default)]
    pub sensitive: bool,
    pub response: String,
    #[serde(default)]
    pub rate: RawRate,
    #[serde(default)]
    pub(crate) query_keys: Vec<String>,
    #[serde(default)]
    pub(crate) names_projects: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum RawMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawScope {
    Project,
    Organization,
    Projects,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawKey {
    Read,
    Write,
    Admin,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawRate {
    Of(String),
    Range {
        range: (String, String),
        short: String,
        long: String,
    },
}

impl Default for RawRate {
    fn default() -> Self {
        RawRate::Of("general".to_owned())
    }
}

impl From<RawSignal> for Signal {
    fn from(raw: RawSignal) -> Self {
        match raw {
            RawSignal::Traces => Signal::Traces,
            RawSignal::Metrics => Signal::Metrics,
            RawSignal::Logs => Signal::Logs,
        }
    }
}

impl From<RawHost> for Host {
    fn from(raw: RawHost) -> Self {
        match raw {
            RawHost::Ingest => Host::Ingest,
            RawHost::Collector => Host::Collector,
            RawHost::Logs => Host::Logs,
        }
    }
}

impl From<RawTokenPlace> for TokenPlace {
    fn from(raw: RawTokenPlace) -> Self {
        match raw {
            RawTokenPlace::Header => TokenPlace::Header,
            RawTokenPlace::Password => TokenPlace::Password,
            RawTokenPlace::FirehoseKey => TokenPlace::FirehoseKey,
        }
    }
}

impl From<RawMethod> for Method {
    fn from(raw: RawMethod) -> Self {
        match raw {
            RawMethod::Get => Method::GET,
            RawMethod::Post => Method::POST,
            RawMethod::Put => Method::PUT,
            RawMethod::Patch => Method::PATCH,
            RawMethod::Delete => Method::DELETE,
        }
    }
}

impl From<RawScope> for Scope {
    fn from(raw: RawScope) -> Self {
        match raw {
            RawScope::Project => Scope::Project,
            RawScope::Organization => Scope::Organization,
            RawScope::Projects => Scope::Projects,
        }
    }
}

impl From<RawKey> for Credential {
    fn from(raw: RawKey) -> Self {
        match raw {
            RawKey::Read => Credential::Read,
            RawKey::Write => Credential::Write,
            RawKey::Admin => Credential::Admin,
        }
    }
}

impl From<RawRate> for RateRule {
    fn from(raw: RawRate) -> Self {
        match raw {
            RawRate::Of(class) => RateRule::Of(class.into()),
            RawRate::Range {
                range: (from, to),
                short,
                long,
            } => RateRule::Range {
                from,
                to,
                short: short.into(),
                long: long.into(),
            },
        }
    }
}
