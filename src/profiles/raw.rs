//! A profile as its text is written.
//!
//! What it does: mirrors the YAML key by key, and says which of our values a word means. What it refuses to know: whether rows
//! go together (`load` does). Invariant: an unknown key or word is an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::raw_ingest::IngestFile;
use super::tree::{RawTree, RawUi};
use super::{Credential, Host, RateRule, ResponseRule, Scope, TokenPlace};
use crate::document::{self, Entries, Spanned};
use crate::lightstep::Format;
use crate::otlp::Signal;

/// The JSON schema of profiles.
pub fn profile_schema() -> serde_json::Value {
    document::schema_of::<ProfileFile>()
}

/// What the gateway knows of one kind of backend.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Profile", title = "Lightkeeper backend profile")]
pub(super) struct ProfileFile {
    /// What `upstreams.*.profile` says.
    pub name: Spanned<String>,
    /// What differs from one customer of the backend to another, by name: `{site}` in an address, a path or a header stands for
    /// what the configuration's `with` says.
    #[serde(default)]
    pub parameters: Entries<RawParameter>,
    /// Where the backend is.
    pub addresses: RawAddresses,
    /// Where clients and the gateway put a credential.
    #[serde(default)]
    pub credentials: RawCredentials,
    /// What takes telemetry.
    pub ingest: IngestFile,
    /// The query API, or `off`.
    pub query: RawOptional<QueryFile>,
    /// What the messages of the backend's webhooks say, and where, or `off`; default: off.
    #[serde(default)]
    pub alerts: RawOptional<RawAlertLayout>,
    /// What can be asked of the query API.
    #[serde(default)]
    pub operations: Vec<RawOperation>,
    /// Links into the backend's own pages, or `off`; default: off.
    #[serde(default)]
    pub ui: RawOptional<RawUi>,
    /// What can be asked of a part of the tree, or `off`; default: nothing.
    #[serde(default)]
    pub tree: RawOptional<Vec<RawTree>>,
}

/// What the configuration says in `with`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Parameter")]
pub(super) struct RawParameter {
    /// For people: what it is, and where to find it.
    pub about: Option<String>,
    /// What it is where the configuration does not say; default: it must say.
    pub default: Option<Spanned<String>>,
    /// All that it may be; default: anything that can stand where it is used.
    #[serde(default)]
    pub values: Vec<Spanned<String>>,
}

/// The backend's usual addresses. One whose host ends in `.example` is a hint; others are asked where the configuration gives no
/// `url`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Addresses")]
pub(super) struct RawAddresses {
    /// `https://…`: what takes telemetry; it may hold parameters.
    pub ingest: Spanned<String>,
    /// `https://…`: what takes OTLP over gRPC, if it is elsewhere.
    pub grpc: Option<Spanned<String>>,
    /// `https://…`: the query API.
    pub query: Option<Spanned<String>>,
}

/// JSON pointers (RFC 6901) into a message; the first that leads to a text or number counts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AlertLayout")]
pub(super) struct RawAlertLayout {
    pub id: Vec<Spanned<String>>,
    pub name: Vec<Spanned<String>>,
    pub state: Vec<Spanned<String>>,
    pub time: Vec<Spanned<String>>,
    /// Our word for a state, and the backend's, lower case.
    pub states: BTreeMap<String, Vec<String>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Credentials")]
pub(super) struct RawCredentials {
    /// Where clients put an access token, alone; and ours, unless `ingest.headers` says where.
    pub access_token: Option<RawPlacement>,
    /// Where our API key is put.
    pub api_key: Option<RawPlacement>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Placement")]
pub(super) struct RawPlacement {
    /// The header's name.
    pub header: Spanned<String>,
    /// What stands before the secret and a space; default: nothing.
    #[serde(default)]
    pub scheme: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Legacy")]
pub(super) struct RawLegacy {
    pub path: Spanned<String>,
    /// How the body is read.
    pub format: RawFormat,
    pub signal: RawSignal,
    pub upstream: RawHost,
    #[serde(default)]
    pub token: RawTokenPlace,
    #[serde(default)]
    pub types: Vec<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Host")]
pub(super) enum RawHost {
    Ingest,
    Collector,
    Logs,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TokenPlace")]
pub(super) enum RawTokenPlace {
    #[default]
    Header,
    Password,
    FirehoseKey,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Signal")]
pub(super) enum RawSignal {
    Traces,
    Metrics,
    Logs,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QueryFile")]
pub(super) struct QueryFile {
    /// The API is at `{prefix}/{organization}/…`.
    pub prefix: Spanned<String>,
    /// Where clients name the organization.
    pub tenant_header: Spanned<String>,
    /// Hosts that absolute links in answers point at.
    pub(crate) link_hosts: Vec<String>,
    /// How much the backend takes of one organization, by class: `100/s`, `60/min`, `600/h`.
    pub rates: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Operation")]
pub(super) struct RawOperation {
    pub method: RawMethod,
    pub path: Spanned<String>,
    pub permission: String,
    pub scope: RawScope,
    pub key: RawKey,
    /// The permission is granted only where it is named in full.
    #[serde(default)]
    pub sensitive: bool,
    pub response: RawResponse,
    #[serde(default)]
    pub rate: RawRate,
    #[serde(default)]
    pub(crate) query_keys: Vec<String>,
    #[serde(default)]
    pub(crate) names_projects: Vec<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(rename = "Method")]
pub(super) enum RawMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Scope")]
pub(super) enum RawScope {
    Project,
    Organization,
    Projects,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Key")]
pub(super) enum RawKey {
    Read,
    Write,
    Admin,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Rate")]
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

/// What a backend has, or `off`.
#[derive(Default)]
pub(super) enum RawOptional<T> {
    #[default]
    Off,
    On(T),
}

impl<T> RawOptional<T> {
    pub(super) fn on(self) -> Option<T> {
        match self {
            RawOptional::Off => None,
            RawOptional::On(given) => Some(given),
        }
    }
}

// By hand: an untagged enum would lose the places of what is within.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for RawOptional<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OptionalVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OptionalVisitor<T> {
            type Value = RawOptional<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`off`, a mapping or a list")
            }

            fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<Self::Value, E> {
                match on {
                    false => Ok(RawOptional::Off),
                    true => Err(E::custom("`on` says nothing")),
                }
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Self::Value, E> {
                match word {
                    "off" => Ok(RawOptional::Off),
                    _ => Err(E::custom("another word than `off`")),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(RawOptional::On)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, rows: A) -> Result<Self::Value, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(rows)).map(RawOptional::On)
            }
        }
        deserializer.deserialize_any(OptionalVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for RawOptional<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}OrOff", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let on = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "const": "off" }, on] })
    }
}

/// A word out of a list of our own.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct RawFormat(pub String);

impl JsonSchema for RawFormat {
    fn schema_name() -> Cow<'static, str> {
        "Format".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// The shape of a good answer.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct RawResponse(pub String);

impl JsonSchema for RawResponse {
    fn schema_name() -> Cow<'static, str> {
        "Response".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = ResponseRule::ALL.map(|(name, _)| name);
        json_schema!({ "type": "string", "enum": names })
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
