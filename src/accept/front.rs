//! The checked settings of what stands before a listener: probes, proxies and browsers. `config` builds them; nothing
//! here reads a file. Invariant: the default changes nothing.

/// What one listener says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontSettings {
    pub health: HealthSettings,
}

/// Health checks that are answered without an identity and without a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthSettings {
    /// The path whose `GET` and `HEAD` tell readiness; none by default.
    pub path: Option<String>,
    /// Whether `grpc.health.v1.Health` is served.
    pub grpc: bool,
}
