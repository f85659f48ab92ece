//! Values of `lightkeeper.yaml` that have a form of their own, wherever they stand.
//!
//! What it does: switches, and references to secrets. What it refuses to know: which key they stand at, and the secrets.
//! Invariants: what the schema lets pass is what is read; `Debug` shows nothing of a reference.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// `on` or `off`, which is text to some YAML editors and a boolean to others.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawSwitch(pub bool);

impl JsonSchema for RawSwitch {
    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["on", "off"] }, { "type": "boolean" }] })
    }
}

/// Where a secret is kept.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "Secret", extend("x-hint" = "write where the secret is kept: `{ file: path }` or `{ env: NAME }`; a literal secret is refused"))]
pub(crate) enum RawSecret {
    /// A file that holds nothing else; one trailing line end is dropped.
    File(String),
    /// An environment variable.
    Env(String),
    /// A secret of `vault.store`; only for the backend's credentials.
    Vault(RawStored),
}

/// A secret of HashiCorp Vault.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StoredSecret")]
pub(crate) struct RawStored {
    /// Below the secrets engine's mount.
    pub(crate) path: String,
    /// Which of the secret's fields.
    pub(crate) field: String,
    /// This version and no other; default: the newest.
    #[schemars(range(min = 1))]
    pub(crate) version: Option<u64>,
}

/// The secret itself may have been pasted where its name belongs.
impl fmt::Debug for RawSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RawSecret(…)")
    }
}
