//! The policy file as it is written.
//!
//! What it does: mirrors the file, key by key; its JSON schema is published. What it refuses to know: what anything
//! means; `check` does. Invariant: unknown keys are errors.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, EnumAccess, MapAccess, VariantAccess, Visitor};

use crate::document::quantity::{RawDuration, RawSize};
use crate::document::{self, Entries, Spanned};

/// The JSON schema of policy files.
pub fn policy_schema() -> serde_json::Value {
    document::schema_of::<RawPolicy>()
}

/// A Lightkeeper policy: the tree of apps, and who may do what where. What nothing allows is denied.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Policy", title = "Lightkeeper policy")]
pub(super) struct RawPolicy {
    /// The version of this format: 1.
    pub version: Spanned<u32>,
    /// The top of the tree, by name.
    #[serde(default)]
    pub apps: Entries<RawApp>,
    /// Named lists of permissions.
    #[serde(default)]
    pub roles: Entries<Vec<Spanned<String>>>,
    #[serde(default)]
    pub bindings: Vec<RawBinding>,
}

/// An app; its name is 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "App")]
pub(super) struct RawApp {
    /// The people to ask.
    #[serde(default)]
    pub owners: Vec<Spanned<String>>,
    /// The backend's project that has its home here. Apps without one belong to the nearest above them.
    #[serde(default)]
    pub project: Option<Spanned<String>>,
    /// Service names (`service.name`) of this app; `*` is a wildcard.
    #[serde(default)]
    pub services: Vec<Spanned<String>>,
    /// More resource attributes that mark the app, all of which must hold: name and value, where `*` is a wildcard.
    #[serde(default, rename = "match")]
    pub marks: Entries<Spanned<String>>,
    /// Resource attributes that are written on this app's exports, and on those of the apps beneath unless they say
    /// otherwise.
    #[serde(default)]
    pub attributes: Entries<Spanned<String>>,
    /// What this app and all beneath it may export together.
    #[serde(default)]
    pub quota: Option<Spanned<RawQuota>>,
    /// The configuration's backend that this app's data goes to, and that of all beneath unless they say otherwise: its name,
    /// or `{ name, from, until }`. Default: the configuration's `default_backend`.
    #[serde(default)]
    pub backend: Option<Spanned<RawAppBackend>>,
    /// Other backends that get this app's data too, and that of all beneath unless they say otherwise. An empty list ends
    /// what is inherited.
    #[serde(default)]
    pub also: Option<Vec<Spanned<RawAlso>>>,
    /// What becomes of this app's alerts.
    #[serde(default)]
    pub alerts: Option<RawAppAlerts>,
    /// The file with this subtree's own policy.
    #[serde(default)]
    pub(crate) delegate: Option<Spanned<String>>,
    /// The apps beneath, by name.
    #[serde(default)]
    pub apps: Entries<RawApp>,
}

/// A backend's name, with the time that it counts or without.
#[derive(Debug)]
pub(super) enum RawAppBackend {
    Name(String),
    Timed(RawTimedBackend),
}

/// A backend for a time; outside of it what is above counts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TimedBackend")]
pub(super) struct RawTimedBackend {
    /// One of the configuration's `backends`.
    pub name: Spanned<String>,
    /// RFC 3339; it counts from then on.
    #[serde(default)]
    pub from: Option<Spanned<String>>,
    /// RFC 3339; it counts until just before then.
    #[serde(default)]
    pub until: Option<Spanned<String>>,
}

/// Another backend that gets an app's data too.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Also")]
pub(super) struct RawAlso {
    /// One of the configuration's `backends`, not the app's own.
    pub backend: Spanned<String>,
    /// What becomes of a call that it does not take.
    pub mode: RawAlsoMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AlsoMode")]
pub(super) enum RawAlsoMode {
    /// Nothing: what it did not take is told loudly, and the call goes on.
    Mirror,
    /// The call is to be tried again.
    Require,
}

impl<'de> Deserialize<'de> for RawAppBackend {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = RawAppBackend;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a backend's name, or a mapping with `name`")
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(RawAppBackend::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                RawTimedBackend::deserialize(MapAccessDeserializer::new(map))
                    .map(RawAppBackend::Timed)
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}

impl JsonSchema for RawAppBackend {
    fn schema_name() -> Cow<'static, str> {
        "AppBackend".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let timed = generator.subschema_for::<RawTimedBackend>();
        json_schema!({
            "x-hint": "write a backend's name, or `{ name: …, from: 2027-01-01T00:00:00Z }`",
            "anyOf": [{ "type": "string" }, timed],
        })
    }
}

/// What becomes of an app's alerts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AppAlerts")]
pub(super) struct RawAppAlerts {
    /// Names of the configuration's `alerts.destinations` to which the backend's alerts on this app are passed on, and
    /// those on the apps beneath that have no list of their own. An empty list passes them on to no destination.
    pub destinations: Vec<Spanned<String>>,
}

/// Who may, or may not, do what where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Binding")]
pub(super) struct RawBinding {
    /// Named in records and by `explain`; each name once.
    pub name: Spanned<String>,
    #[serde(default)]
    pub effect: RawEffect,
    /// Any of these; one matches if everything that it names holds.
    #[schemars(length(min = 1))]
    pub subjects: Vec<Spanned<RawSubject>>,
    /// A role of this file; or else `permissions`.
    #[serde(default)]
    pub role: Option<Spanned<String>>,
    /// `ingest.traces`, `query.streams.read`; `*` stands for one word: `ingest.*`, `query.*.read`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub permissions: Option<Vec<Spanned<String>>>,
    /// These nodes and all beneath: `shop/checkout`; `/` is the whole organization.
    #[schemars(length(min = 1))]
    pub apps: Vec<Spanned<String>>,
    /// RFC 3339; it counts from then on.
    #[serde(default)]
    pub from: Option<Spanned<String>>,
    /// RFC 3339; it counts until just before then.
    #[serde(default)]
    pub until: Option<Spanned<String>>,
    /// What becomes of an export whose service no app claims; default: `default_app`.
    #[serde(default)]
    pub unknown_services: Option<Spanned<RawUnknownServices>>,
    /// Where it goes then: one of `apps`, or one beneath; default: the only app that the caller may write to.
    #[serde(default)]
    pub default_app: Option<Spanned<String>>,
    /// What all callers of this binding may export together.
    #[serde(default)]
    pub quota: Option<Spanned<RawQuota>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "UnknownServices")]
pub(super) enum RawUnknownServices {
    /// To `default_app`, or to the only app that the caller may write to.
    DefaultApp,
    /// Refused.
    Reject,
}

/// How much may be exported; at least one of the rates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Quota")]
pub(super) struct RawQuota {
    /// Spans, data points and log records.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub items_per_second: Option<u64>,
    /// Bytes of the decompressed export, `1MiB`.
    #[serde(default)]
    pub bytes_per_second: Option<Spanned<RawSize>>,
    /// How much of the rates may be saved up, from `1s` to `1h`; default `10s`.
    #[serde(default)]
    pub burst: Option<Spanned<RawDuration>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Effect")]
pub(super) enum RawEffect {
    #[default]
    Allow,
    /// Beats every allow.
    Deny,
}

/// The callers that a binding speaks of: everything that is named here must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Subject")]
pub(super) struct RawSubject {
    /// Everybody who is identified; alone.
    #[serde(default)]
    pub any: Option<Spanned<bool>>,
    /// The name of a configured issuer, of an `aws`, or of an authority for client certificates; `mtls` for client certificates of
    /// whichever authority, `client_tokens` for client tokens.
    #[serde(default)]
    pub issuer: Option<Spanned<String>>,
    /// The token's subject; `*` stays within one `/` segment, `**` crosses. Needs `issuer`.
    #[serde(default)]
    pub subject: Option<Spanned<String>>,
    /// A group of the token, exactly. Needs `issuer`.
    #[serde(default)]
    pub group: Option<Spanned<String>>,
    /// Claims of the token, by name or JSON Pointer (`/realm_access/roles`): a string that is equal, or a list that holds
    /// it; `{ like: "refs/tags/*" }` takes a pattern. Needs `issuer`.
    #[serde(default)]
    pub claims: Entries<Spanned<RawClaimValue>>,
    /// The certificate's SPIFFE ID; `*` stays within one `/` segment, `**` crosses. The trust domain is literal. Without
    /// `issuer`: from any authority that may speak for the trust domain.
    #[serde(default)]
    pub spiffe: Option<Spanned<String>>,
    /// A DNS name of the certificate; `*` stays within one label, `**` crosses. Without `issuer`: from any authority that
    /// may give it.
    #[serde(default)]
    pub dns: Option<Spanned<String>>,
    /// The certificate's subject, RFC 4514 style, exactly. Needs `issuer` where there are several authorities, because each
    /// writes what it likes.
    #[serde(default)]
    pub x509_subject: Option<Spanned<String>>,
    /// The ARN of a role or user of AWS: `arn:aws:iam::123456789012:role/checkout-*`; `*` stays within one part, partition and
    /// account are literal. Of a role without its path, and never that of a session.
    #[serde(default)]
    pub aws: Option<Spanned<String>>,
    /// The unique ID of the role or user (`AROA…`), exactly: this one, and no successor of its name. Needs `aws`.
    #[serde(default)]
    pub unique_id: Option<Spanned<String>>,
    /// The name of the role's session, which its caller chooses; `*` is a wildcard. Needs `aws`.
    #[serde(default)]
    pub session: Option<Spanned<String>>,
}

/// What a claim must say: a text, or `{ like: pattern }`. In a pattern `*` stays within one `/` segment, `**` crosses.
#[derive(Debug)]
pub(super) enum RawClaimValue {
    Is(String),
    Like(Spanned<String>),
}

/// The key of a pattern.
const LIKE: &str = "like";

impl<'de> Deserialize<'de> for RawClaimValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = RawClaimValue;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or a pattern")
            }

            fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
                let (text, rest) = access.variant::<String>()?;
                if text == LIKE {
                    return rest.newtype_variant().map(RawClaimValue::Like);
                }
                rest.unit_variant()?;
                Ok(RawClaimValue::Is(text))
            }
        }

        // A scalar comes as the name of a variant, which is its text: what looks like a number keeps its zeros.
        deserializer.deserialize_enum("ClaimValue", &[LIKE], EitherForm)
    }
}

impl JsonSchema for RawClaimValue {
    fn schema_name() -> Cow<'static, str> {
        "ClaimValue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<String>();
        json_schema!({
            "x-hint": "write the value itself, or `{ like: \"refs/tags/*\" }`",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { LIKE: text },
                    "required": [LIKE],
                    "additionalProperties": false,
                },
            ],
        })
    }
}
