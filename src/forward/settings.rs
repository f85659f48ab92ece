//! The checked settings of one upstream. `config` builds them; nothing here dials.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::egress::ProxySettings;

/// One backend, `upstreams.ingest` or `upstreams.query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// `http` or `https`, host and port, no path beyond `base_path`.
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Prefix of every path, without a trailing slash; usually empty.
    pub base_path: String,
    /// PEM roots; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate for a backend that asks for one.
    pub client: Option<ClientIdentity>,
    /// The proxy through which it is reached, whatever the scheme; `None`: straight.
    pub proxy: Option<Arc<ProxySettings>>,
    /// From dial to the end of the TLS handshake, a proxy's answer included. 5 s.
    pub connect_timeout: Duration,
    /// Silence of the backend while we wait for it. 30 s (60 s for queries, as Terraform waits).
    pub read_timeout: Duration,
    /// One write to the backend. 30 s.
    pub write_timeout: Duration,
    /// How long a pooled connection may rest. 60 s.
    pub idle_timeout: Duration,
}

impl UpstreamSettings {
    /// Where it is: what has another address is another upstream.
    pub fn address(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", self.host, self.port, self.base_path)
    }
}

/// Where our client certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientIdentity {
    /// PEM files.
    Files { certificate: PathBuf, key: PathBuf },
    /// The Unix socket of the Workload API: the X.509-SVID of this process, as it is at each handshake.
    WorkloadApi(PathBuf),
}
