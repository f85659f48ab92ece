//! `claims:` of an issuer, as written.
//!
//! What it does: mirrors the names, of which one may be a list. What it refuses to know: what a name or a pointer may
//! be. Invariant: what the schema lets pass is what is read.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::document::Spanned;

/// The names of claims. A name that begins with `/` is a JSON Pointer (RFC 6901): `/realm_access/roles`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Claims")]
pub(crate) struct RawClaims {
    /// The claim that names the subject, or a list of which the first that is there does; default `sub`.
    pub subject: Option<Spanned<RawNames>>,
    /// The claim that lists groups; default `groups`.
    pub groups: Option<Spanned<String>>,
    /// The claim that names the audience; default `aud`. A token that has `aud` besides must name one of `audiences` there, too.
    pub audience: Option<Spanned<String>>,
}

/// One name, or a list.
#[derive(Debug)]
pub(crate) enum RawNames {
    One(String),
    Several(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for RawNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = RawNames;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name or a list of names")
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(RawNames::One(name.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(RawNames::Several(names))
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}

impl JsonSchema for RawNames {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "minItems": 1, "items": { "type": "string" } },
        ] })
    }
}
