//! `aws:`, as it is written: accounts whose roles and users may call.
//!
//! What it does: mirrors one entry. What it refuses to know: AWS's partitions and regions. Invariant: accounts are required, so
//! that no signature of a stranger's account identifies a caller.

use schemars::JsonSchema;
use serde::Deserialize;

use super::egress::RawProxy;
use super::forms::RawSwitch;
use crate::document::quantity::RawDuration;
use crate::document::{Entries, Spanned};

/// The callers of some AWS accounts, who show a call to AWS that they signed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Aws")]
pub(crate) struct RawAws {
    /// Our own name for them, which policy subjects call the issuer.
    pub name: Spanned<String>,
    /// What callers sign their calls for, `lightkeeper:gateway.acme.example`; it has a `:`, which no name of an EKS cluster has.
    pub audience: Spanned<String>,
    /// The accounts, of twelve digits each, in quotes.
    #[schemars(length(min = 1), extend("x-hint" = "name the accounts whose callers are accepted: `[\"123456789012\"]`"))]
    pub accounts: Vec<Spanned<String>>,
    /// `aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`, `aws-iso`, `aws-iso-b`, `aws-iso-e` or `aws-iso-f`; default `aws`.
    pub partition: Option<Spanned<String>>,
    /// The regions whose endpoints callers may sign for: those where they run.
    #[schemars(length(min = 1), extend("x-hint" = "name the regions in which callers run: `[eu-west-1]`"))]
    pub regions: Vec<Spanned<String>>,
    /// Whether `sts.amazonaws.com` counts as well; default `off`.
    pub global_endpoint: Option<Spanned<RawSwitch>>,
    /// Whether the endpoints for FIPS 140 count as well; default `off`.
    pub fips: Option<Spanned<RawSwitch>>,
    /// Whether the endpoints for both versions of IP count as well; default `off`.
    pub dual_stack: Option<Spanned<RawSwitch>>,
    /// How old a signature may be, from `1m` to `15m`; default `15m`.
    pub max_age: Option<Spanned<RawDuration>>,
    /// For how long AWS is not asked again about a signature that holds, from `10s` to `15m`; default `5m`.
    pub cache: Option<Spanned<RawDuration>>,
    /// `host:port`: where connections go instead of AWS's public endpoints, for private ones. Names and certificates stay AWS's.
    pub connect: Option<Spanned<String>>,
    /// PEM file: the roots to trust when AWS is asked; default: the system's.
    pub ca: Option<Spanned<String>>,
    /// The proxy to AWS alone; default: as `egress` has it.
    pub proxy: Option<Spanned<RawProxy>>,
    /// How often AWS is asked at most; default 50. Beyond it callers are told to come again.
    #[schemars(range(min = 1, max = 10_000))]
    pub calls_per_second: Option<u32>,
    /// How many questions are under way at most; default 16.
    #[schemars(range(min = 1, max = 1_000))]
    pub concurrent: Option<u32>,
    /// Attributes that are written on exports' resources as AWS tells them of the caller, each with what it is: `session`,
    /// `account` or `unique_id`. What the sender says under these names never counts. At most 16.
    #[serde(default)]
    pub attributes_from: Entries<Spanned<String>>,
}
