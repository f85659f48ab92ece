//! `listeners:` and `admin:`, as they are written.
//!
//! What it does: mirrors addresses, services, TLS and demands on clients. What it refuses to know: whether an address
//! can be bound, and what is in a file. Invariant: what is not written stays `None`; no default is chosen here.

use schemars::JsonSchema;
use serde::Deserialize;

use super::client_ca::RawClientCa;
use super::front::{RawCors, RawForwarded, RawHealth, RawProxyProtocol};
use crate::document::Spanned;

/// One address where clients connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub(crate) struct RawListener {
    /// Its name in records and metrics.
    pub name: Spanned<String>,
    /// IP address and port, `127.0.0.1:8443`; port 0: any free one.
    pub address: Spanned<String>,
    /// What it offers; default: everything.
    #[schemars(length(min = 1))]
    pub serves: Option<Vec<Spanned<RawService>>>,
    /// Absent: plaintext HTTP/1.1 and h2c on the same port.
    pub tls: Option<RawTls>,
    /// What clients call us, `https://telemetry.acme.example`, for links in answers; default: the
    /// request's own scheme and authority.
    pub public_url: Option<Spanned<String>>,
    /// Health checks on this port; default: none.
    pub health: Option<Spanned<RawHealth>>,
    /// Proxies that say whose connection it is by the PROXY protocol; default: none.
    pub proxy_protocol: Option<RawProxyProtocol>,
    /// Proxies that say whose request it is by a header; default: none.
    pub forwarded: Option<RawForwarded>,
    /// Pages of other origins that may ask; default: none.
    pub cors: Option<RawCors>,
}

/// A part of what the gateway offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Service")]
pub(crate) enum RawService {
    /// OTLP exports.
    Ingest,
    /// The backend's query API, questions to a part of the tree, the alert inlet.
    Query,
    /// The gateway's own pages and paths: the console, logins, `whoami`, `/apps`.
    Web,
    /// Reports and logs in the formats from before OpenTelemetry. Some carry their token in the body alone, which is then
    /// read before the caller is known.
    Legacy,
}

/// A listener's certificate and its demands on clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
pub(crate) struct RawTls {
    /// PEM file: the server's certificate, then its intermediates. With `key`, or else `workload_api`.
    pub certificate: Option<Spanned<String>>,
    /// PEM file: the certificate's private key.
    pub key: Option<Spanned<String>>,
    /// Instead of both: the socket of the SPIFFE Workload API, `unix:///run/spire/agent.sock`, whose X.509-SVID of this
    /// process is the certificate.
    pub workload_api: Option<Spanned<String>>,
    /// The oldest TLS version that is spoken; default `1.2`.
    pub minimum: Option<RawTlsVersion>,
    /// The authorities whose client certificates count, each with what it may speak for. Where there is only one, the
    /// path of its PEM file will do.
    pub client_ca: Option<Spanned<RawClientCa>>,
    /// Whether a client must show a certificate; default: it may. Needs `client_ca`, unless any will do.
    pub client_certificate: Option<Spanned<RawDemand>>,
    /// PEM file: revocation lists, where `client_ca` is one path.
    pub client_crl: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "TlsVersion")]
pub(crate) enum RawTlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ClientCertificate")]
pub(crate) enum RawDemand {
    /// One that is shown is verified; without one, a token identifies the caller.
    Optional,
    /// The handshake fails without one.
    Required,
    /// As `optional`, and one that no authority of `client_ca` vouches for is taken as well: it identifies no caller, and
    /// counts for tokens that are bound to it. Needs no `client_ca`.
    Any,
}

/// `/metrics`, `/startupz`, `/livez` and `/readyz`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub(crate) struct RawAdmin {
    /// IP address and port; default `127.0.0.1:9464`.
    pub address: Option<Spanned<String>>,
}
