//! `introspection:`, `kubernetes:` and `review:` of an issuer, as they are written.
//!
//! What it does: mirrors who is asked about tokens. What it refuses to know: which settings go together. Invariants: a secret
//! is a reference; what the schema lets pass is what is read.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::forms::{RawSecret, RawSwitch};
use super::upstreams::RawClient;
use crate::document::Spanned;
use crate::document::quantity::RawDuration;

/// The issuer's endpoint that says what a token is worth (RFC 7662). One of `client_secret`, `private_key_jwt` and `mtls`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Introspection")]
pub(crate) struct RawIntrospection {
    /// Its `introspection_endpoint`.
    pub url: Spanned<String>,
    /// What the issuer calls the gateway.
    pub client_id: Spanned<String>,
    /// By HTTP Basic.
    pub client_secret: Option<Spanned<RawSecret>>,
    /// By an assertion that the gateway signs (RFC 7523).
    pub private_key_jwt: Option<Spanned<RawAssertionKey>>,
    /// By the connection's client certificate (RFC 8705).
    pub mtls: Option<Spanned<RawClient>>,
    /// Whether JWTs are asked about as well, once their signature was found good; default `off`.
    pub always: Option<RawSwitch>,
    /// Whether the issuer gives out no JWTs: no keys are fetched for it then, and a JWT that names it is refused. Default
    /// `off`.
    pub only: Option<Spanned<RawSwitch>>,
    /// What this issuer's opaque tokens begin with, `ory_at_`; needed where several issuers have an introspection. Default: all
    /// opaque tokens that no other issuer's prefix fits are this issuer's.
    pub prefix: Option<Spanned<String>>,
    /// Whether answers are signed (RFC 9701); others do not count then. Default `off`.
    pub signed: Option<RawSwitch>,
    /// How long an answer that a token is active counts, at most until its `exp`; `0s` to `10m`, default `60s`.
    pub cache: Option<Spanned<RawDuration>>,
    /// Questions that may be asked in a second; default 50.
    #[schemars(range(min = 1, max = 10_000))]
    pub calls_per_second: Option<u32>,
}

/// A key that signs assertions of who the gateway is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AssertionKey", extend("x-hint" = "write `{ key: client.key }`"))]
pub(crate) struct RawAssertionKey {
    /// PEM file: RSA, P-256, P-384 or Ed25519.
    pub key: Spanned<String>,
    /// `RS256` or `PS256` of an RSA key; default `RS256`. Other kinds of keys have one algorithm.
    pub algorithm: Option<Spanned<String>>,
    /// The `kid` by which the issuer knows it; default: none.
    pub key_id: Option<Spanned<String>>,
}

/// How the API server of `issuer: kubernetes://…` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cluster")]
pub(crate) struct RawCluster {
    /// The folder of the pod's own `token` and `ca.crt`; default `/var/run/secrets/kubernetes.io/serviceaccount`.
    pub folder: Option<Spanned<String>>,
    /// TokenReviews that may be asked for in a second; default 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub calls_per_second: Option<u32>,
}

/// Whether a cluster reviews tokens whose signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawReview {
    Off,
    On,
    Prefer,
}

impl<'de> Deserialize<'de> for RawReview {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrSwitch;

        impl Visitor<'_> for WordOrSwitch {
            type Value = RawReview;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`off`, `on` or `prefer`")
            }

            fn visit_bool<E>(self, is_on: bool) -> Result<RawReview, E> {
                Ok(if is_on { RawReview::On } else { RawReview::Off })
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<RawReview, E> {
                match word {
                    "off" => Ok(RawReview::Off),
                    "on" => Ok(RawReview::On),
                    "prefer" => Ok(RawReview::Prefer),
                    _ => Err(E::custom("neither `off`, `on` nor `prefer`")),
                }
            }
        }

        deserializer.deserialize_any(WordOrSwitch)
    }
}

impl JsonSchema for RawReview {
    fn schema_name() -> Cow<'static, str> {
        "Review".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["off", "on", "prefer"] }, { "type": "boolean" }] })
    }
}
