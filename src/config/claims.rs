//! `claims:` of an issuer, as written and checked.
//!
//! What it does: names and pointers of claims, one or a list. What it refuses to know: what a token holds there.
//! Invariants: a pointer that can never name a claim is an error; one that was hardly meant is a warning.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::report::ConfigFindings;
use crate::document::Spanned;
use crate::identify::ClaimPath;

/// The names of claims. A name that begins with `/` is a JSON Pointer (RFC 6901): `/realm_access/roles`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Claims")]
pub struct RawClaims {
    /// The claim that names the subject, or a list of which the first that is there does; default `sub`.
    pub subject: Option<Spanned<RawNames>>,
    /// The claim that lists groups; default `groups`.
    pub groups: Option<Spanned<String>>,
    /// The claim that names the audience; default `aud`. A token that has `aud` besides must name one of `audiences` there, too.
    pub audience: Option<Spanned<String>>,
}

/// One name, or a list.
#[derive(Debug)]
pub enum RawNames {
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

/// One claim's name or pointer; `None`: it was reported.
pub fn claim(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<String>>,
    subject: &str,
    default: &str,
) -> Option<ClaimPath> {
    let Some(given) = given else {
        return ClaimPath::parse(default).ok();
    };
    match ClaimPath::parse(&given.value) {
        Ok(path) => {
            if let Some((message, hint)) = path.doubtful() {
                report.warning(given, format!("`{subject}` {message}"), hint);
            }
            Some(path)
        }
        Err(fault) => {
            report.error_with_hint(given, format!("`{subject}` {fault}"), fault.hint());
            None
        }
    }
}

/// The claims that may name the subject, in their order.
pub fn subject_claims(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<RawNames>>,
    subject: &str,
) -> Vec<ClaimPath> {
    let Some(given) = given else {
        return ClaimPath::parse("sub").into_iter().collect();
    };
    let several = match &given.value {
        RawNames::One(text) => {
            let one = Spanned::new(text.clone(), given.line(), given.column());
            return claim(report, Some(&one), subject, "").into_iter().collect();
        }
        RawNames::Several(several) => several,
    };
    let mut paths: Vec<ClaimPath> = Vec::with_capacity(several.len());
    for (index, one) in several.iter().enumerate() {
        let subject = format!("{subject}[{index}]");
        let Some(path) = claim(report, Some(one), &subject, "") else {
            continue;
        };
        if paths.contains(&path) {
            report.error(one, format!("`{subject}` stands in the list already"));
        }
        paths.push(path);
    }
    paths
}
