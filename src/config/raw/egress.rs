//! `egress:` and each `proxy:`, as they are written.
//!
//! What it does: tells a word or URL from a mapping with credentials. What it refuses to know: what the word means, and
//! where a proxy leads. Invariant: `Debug` shows nothing of a proxy, because a password may have been written into its
//! URL.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::forms::RawSecret;
use crate::document::Spanned;

/// How a proxy is written.
pub(crate) const PROXY_HINT: &str =
    "write `env`, `off`, `http://proxy.example:3128`, or `{ url: …, credentials: { file: path } }`";

/// Through which proxy the gateway's own calls leave.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Egress")]
pub(crate) struct RawEgress {
    /// `env` (`HTTPS_PROXY`, `http_proxy`, `ALL_PROXY` and `NO_PROXY`, as curl reads them), `off`, or a proxy's URL; default `env`.
    pub proxy: Option<Spanned<RawProxy>>,
    /// Hosts that are reached straight: names with all beneath them, addresses, networks (`10.0.0.0/8`), with a port if need
    /// be, or `*`; beside what `NO_PROXY` names where the proxy is the environment's.
    #[serde(default)]
    pub no_proxy: Vec<Spanned<String>>,
}

/// A word, a URL, or a URL with credentials.
pub(crate) enum RawProxy {
    Text(String),
    Known(RawKnownProxy),
}

/// A proxy that wants to know its callers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ProxyWithCredentials")]
pub(crate) struct RawKnownProxy {
    /// `http://proxy.example:3128`.
    pub url: String,
    /// Where `user:password` is kept.
    pub credentials: Option<Spanned<RawSecret>>,
}

/// A password may have been written into the URL.
impl fmt::Debug for RawProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RawProxy(…)")
    }
}

impl<'de> Deserialize<'de> for RawProxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = RawProxy;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`env`, `off`, a URL, or a mapping with `url`")
            }

            // `off` is a boolean to some readers of YAML.
            fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
                Ok(RawProxy::Text(if on { "on" } else { "off" }.to_owned()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(RawProxy::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                RawKnownProxy::deserialize(MapAccessDeserializer::new(map)).map(RawProxy::Known)
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}

impl JsonSchema for RawProxy {
    fn schema_name() -> Cow<'static, str> {
        "Proxy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let known = generator.subschema_for::<RawKnownProxy>();
        json_schema!({ "anyOf": [{ "type": "string" }, known], "x-hint": PROXY_HINT })
    }
}
