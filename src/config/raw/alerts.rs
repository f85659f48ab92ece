//! `alerts:`, as it is written.
//!
//! What it does: mirrors destinations and how the backend's messages are read. What it refuses to know: which app uses
//! which destination. Invariant: a secret is a reference.

use schemars::JsonSchema;
use serde::Deserialize;

use super::egress::RawProxy;
use super::forms::RawSecret;
use crate::document::quantity::RawDuration;
use crate::document::{Entries, Spanned};

/// What becomes of the backend's alerts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Alerts")]
pub(crate) struct RawAlerts {
    /// Where apps may have their alerts passed on to, by a name that policies use.
    #[serde(default)]
    pub destinations: Entries<RawDestination>,
    /// How long a message that was passed on is remembered, so that it is not passed on twice, and how old one may be
    /// that says its time; from `1m` to `1h`, default `10m`.
    pub replay_window: Option<Spanned<RawDuration>>,
    /// Where the backend's messages say what; default: the profile's.
    #[serde(default)]
    pub fields: RawAlertFields,
}

/// Where alerts are passed on to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Destination", extend("x-hint" = "write `oncall: { url: https://… }`"))]
pub(crate) struct RawDestination {
    /// `https://…`; or else `url_from`.
    pub url: Option<Spanned<String>>,
    /// Where the URL is kept, if it is itself a secret.
    pub(crate) url_from: Option<Spanned<RawSecret>>,
    /// PEM file: the roots to trust; default: the system's.
    pub ca: Option<Spanned<String>>,
    /// The proxy to this destination alone; default: as `egress` has it.
    pub proxy: Option<Spanned<RawProxy>>,
    /// The header by which the destination knows us.
    pub header: Option<RawDestinationHeader>,
}

/// A header with a secret in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DestinationHeader")]
pub(crate) struct RawDestinationHeader {
    /// Its name, `authorization`.
    pub name: Spanned<String>,
    /// What stands before the secret and a space, `Bearer`; default: nothing.
    pub scheme: Option<Spanned<String>>,
    /// Where the secret is kept.
    pub secret: Spanned<RawSecret>,
}

/// JSON pointers (RFC 6901) into the backend's messages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AlertFields")]
pub(crate) struct RawAlertFields {
    /// What tells one alert of the app from another.
    pub id: Option<Spanned<String>>,
    /// What people call it.
    pub name: Option<Spanned<String>>,
    /// What has become of it.
    pub state: Option<Spanned<String>>,
    /// When: RFC 3339, or Unix seconds or milliseconds.
    pub time: Option<Spanned<String>>,
}
