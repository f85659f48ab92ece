//! `ingest:`, as it is written.
//!
//! What it does: mirrors what is done to exports. What it refuses to know: how an export is rewritten. Invariant: what
//! is not written stays `None`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::RawSwitch;
use crate::document::Spanned;
use crate::document::quantity::{RawDuration, RawSize};

/// What is done to exports on their way.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ingest")]
pub(crate) struct RawIngest {
    /// Whether exports are read, split by app and stamped with the verified sender; `off`: they pass
    /// untouched, undecoded. Default `on`.
    pub stamp: Option<RawSwitch>,
    /// How a rewritten export leaves; default `same`.
    pub compression: Option<Spanned<RawCompression>>,
    /// What becomes of `commands` (disable) in the backend's answers to legacy reports; default `drop`.
    pub commands: Option<RawCommands>,
    /// Parts of one export that are sent at once; default 8.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: Option<u8>,
    /// How long the accepted parts of a partly failed export are remembered, so that a retry sends only what
    /// is missing; at most `1h`, default `5m`.
    pub remember: Option<Spanned<RawDuration>>,
    /// Bounds of what is mirrored to other backends.
    #[serde(default)]
    pub mirror: RawMirror,
}

/// Bounds of what waits for another backend to which apps are mirrored; of each such backend.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Mirror")]
pub(crate) struct RawMirror {
    /// How much may wait; what does not fit is dropped, and told; `1MiB` to `1GiB`, default `64MiB`.
    pub buffer: Option<Spanned<RawSize>>,
    /// Copies that are sent at once; default 4.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: Option<u8>,
    /// How long a copy may wait and be tried before it is dropped; `1s` to `10m`, default `1m`.
    pub patience: Option<Spanned<RawDuration>>,
}

/// How a rewritten export is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Compression")]
pub(crate) enum RawCompression {
    /// As it came.
    Same,
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Commands")]
pub(crate) enum RawCommands {
    /// A backend cannot switch tracers off.
    Drop,
    /// It can.
    Pass,
}
