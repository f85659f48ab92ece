//! `listeners[].tls.client_ca`, as it is written: a path, or a list of authorities.
//!
//! What it does: tells the two forms apart by their YAML type. What it refuses to know: what an authority may speak for.
//! Invariant: what the schema lets pass is what is read.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::issuers::RawBundle;
use crate::document::Spanned;

/// One path, or a list.
#[derive(Debug)]
pub(crate) enum RawClientCa {
    File(String),
    List(Vec<RawClientAuthority>),
}

/// One authority for client certificates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientAuthority")]
pub(crate) struct RawClientAuthority {
    /// Its name: `issuer` in policies and records.
    pub name: Spanned<String>,
    /// PEM file: its certificates; several while one takes the other's place. This, or `bundle`.
    pub file: Option<Spanned<String>>,
    /// The bundle of a SPIFFE trust domain, the only one of `trust_domains`: its keys with `use: x509-svid` are the
    /// authority's certificates, and vouch for SPIFFE IDs alone.
    pub bundle: Option<Spanned<RawBundle>>,
    /// SPIFFE trust domains whose identities it may issue; default: none.
    #[serde(default)]
    pub trust_domains: Vec<Spanned<String>>,
    /// DNS names that it may give; `*` stays within one label, `**` crosses. Default: none.
    #[serde(default)]
    pub dns: Vec<Spanned<String>>,
    /// PEM file: revocation lists for what it and the authorities beneath it issue.
    pub crl: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for RawClientCa {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = RawClientCa;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a path or a list of authorities")
            }

            fn visit_str<E>(self, path: &str) -> Result<Self::Value, E> {
                Ok(RawClientCa::File(path.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut authorities = Vec::new();
                while let Some(authority) = list.next_element()? {
                    authorities.push(authority);
                }
                Ok(RawClientCa::List(authorities))
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}

impl JsonSchema for RawClientCa {
    fn schema_name() -> Cow<'static, str> {
        "ClientCa".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let authority = generator.subschema_for::<RawClientAuthority>();
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "minItems": 1, "items": authority }] })
    }
}
