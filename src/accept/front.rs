//! The checked settings of what stands before a listener: probes, proxies and browsers. `config` builds them; nothing
//! here reads a file. Invariant: the default changes nothing.

use std::time::Duration;

use super::networks::Networks;

/// What one listener says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontSettings {
    pub health: HealthSettings,
    /// `proxy_protocol.from`: networks whose connections begin with a PROXY header, and must.
    pub proxy_protocol: Networks,
    pub forwarded: Option<ForwardedSettings>,
    pub cors: Option<CorsSettings>,
}

/// `cors`: pages of other origins that may ask and read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsSettings {
    /// Scheme, host and port as browsers write them.
    pub origins: Vec<String>,
    /// How long a browser may remember what it was allowed.
    pub max_age: Duration,
}

/// `forwarded`: proxies that tell the client's address in a header of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedSettings {
    /// Networks of the proxies.
    pub from: Networks,
    pub header: ForwardedHeader,
}

/// The header that the proxies write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// Health checks that are answered without an identity and without a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthSettings {
    /// The path whose `GET` and `HEAD` tell readiness; none by default.
    pub path: Option<String>,
    /// Whether `grpc.health.v1.Health` is served.
    pub grpc: bool,
}
