//! Scalars of `lightkeeper.yaml` that have a form of their own.
//!
//! What it does: describes switches to the reader and to the JSON schema. What it refuses to know: which key
//! they stand at. Invariant: what the schema lets pass is what is read.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// `on` or `off`, which is text to some YAML editors and a boolean to others.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct RawSwitch(pub bool);

impl JsonSchema for RawSwitch {
    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["on", "off"] }, { "type": "boolean" }] })
    }
}
