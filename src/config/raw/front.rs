//! What stands before a listener, as it is written: `health`, `proxy_protocol`, `forwarded` and `cors`.
//!
//! What it does: mirrors the four. What it refuses to know: what a network or an origin is. Invariant: a list that has
//! no meaning when it is empty is refused by its form.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::RawSwitch;
use crate::document::Spanned;
use crate::document::quantity::RawDuration;

/// Health checks on the serving port, answered without an identity and without a record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Health")]
pub(crate) struct RawHealth {
    /// `GET` and `HEAD` of this path answer 200 or 503, as `/readyz` of `admin` would; default: no path does.
    pub path: Option<Spanned<String>>,
    /// Whether `grpc.health.v1.Health` is served, `Check` and `Watch`; default `off`.
    pub grpc: Option<RawSwitch>,
}

/// Proxies whose connections begin with a PROXY header, version 1 or 2, before TLS.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ProxyProtocol")]
pub(crate) struct RawProxyProtocol {
    /// Their networks, `10.0.0.0/8`. A header is required from these and refused from all others.
    #[schemars(length(min = 1))]
    pub from: Vec<Spanned<String>>,
}

/// Proxies that tell the client's address in a header of each request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Forwarded")]
pub(crate) struct RawForwarded {
    /// Their networks, `10.0.0.0/8`. The client is the last address that is not of these; others' headers are ignored.
    #[schemars(length(min = 1))]
    pub from: Vec<Spanned<String>>,
    /// Which header they write; default `x-forwarded-for`.
    pub header: Option<RawForwardedHeader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ForwardedHeader")]
pub(crate) enum RawForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// Pages of other origins that may export or query, and read the answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cors")]
pub(crate) struct RawCors {
    /// Their origins as browsers send them, `https://shop.acme.example`: scheme, host, and the port if it is not the scheme's.
    #[schemars(length(min = 1))]
    pub origins: Vec<Spanned<String>>,
    /// How long a browser may remember what it was allowed; at most `24h`, default `1h`.
    pub max_age: Option<Spanned<RawDuration>>,
}
