//! `query:`, as it is written.
//!
//! What it does: mirrors how queries are shared, limited and spread. What it refuses to know: which classes of rates
//! there are. Invariant: what is not written stays `None`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::RawSwitch;
use crate::document::quantity::RawDuration;
use crate::document::{Entries, Spanned};

/// How the backend is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Query")]
pub(crate) struct RawQuery {
    /// Whether identical reads that are asked at one time are asked of the backend once; default `on`.
    pub coalesce: Option<RawSwitch>,
    /// How long an answer may serve the same question again, at most `60s`; `0s`, the default: never.
    pub cache: Option<Spanned<RawDuration>>,
    /// The backend's limits for the whole organization by class, `600/h`; default: the profile's.
    #[serde(default)]
    pub rates: Entries<Spanned<String>>,
    /// Projects that are asked at once for one question to a part of the tree; default 8.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: Option<u8>,
    /// After it, projects that have not answered are told as late; at most `10m`, default `20s`.
    pub deadline: Option<Spanned<RawDuration>>,
}
