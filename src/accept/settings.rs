//! The checked settings of one listener. `config` builds them; nothing here reads a file.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::FrontSettings;
use crate::apps::Glob;
use crate::egress::Egress;

/// One entry of `listeners:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    pub name: String,
    pub address: SocketAddr,
    pub serves: Serves,
    pub tls: Option<TlsSettings>,
    /// What clients call us, `https://telemetry.acme.example`, for links in answers. `None`: the
    /// request's own scheme and authority.
    pub public_url: Option<String>,
    pub front: FrontSettings,
}

/// Which parts of the contract a listener offers; everything else is an unknown path there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serves {
    /// OTLP exports.
    pub ingest: bool,
    pub query: bool,
    pub web: bool,
    /// Tracers' reports and log formats from before OpenTelemetry.
    pub legacy: bool,
}

impl Serves {
    /// Of a listener that says nothing about it.
    pub const ALL: Serves = Serves {
        ingest: true,
        query: true,
        web: true,
        legacy: true,
    };
}

/// A listener's certificate and its demands on clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub own: OwnCertificate,
    /// `tls.minimum`: TLS 1.3 only if true. Default false: 1.2 and 1.3.
    pub only_tls13: bool,
    pub clients: Option<ClientCertificates>,
}

/// Rules for client certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// At least one, unless any certificate will do; their names differ.
    pub authorities: Vec<ClientAuthority>,
    pub demand: CertificateDemand,
}

/// Which client certificates a listener takes in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateDemand {
    /// None, or one that an authority vouches for.
    Optional,
    /// One that an authority vouches for.
    Required,
    /// Every one, and none. One that no authority vouches for proves that its key is there, and nothing else (RFC 8705
    /// section 3).
    Any,
}

/// An authority for client certificates, and what it may speak for (SPIFFE Trust Domain and Bundle section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthority {
    /// What policies and records call it.
    pub name: String,
    pub anchors: AnchorPlace,
    /// SPIFFE trust domains whose identities it may issue.
    pub trust_domains: Vec<String>,
    /// DNS names that it may give, in lower case, with labels parted by `.`.
    pub dns: Vec<Glob>,
    pub crl: Option<PathBuf>,
    /// Written as one path, so that what it may speak for had to be inferred.
    pub short: bool,
}

/// Where an authority's own certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorPlace {
    /// A PEM file.
    Pem(PathBuf),
    /// The bundle of the only one of `trust_domains`. Such an authority vouches for SPIFFE IDs, and for nothing else.
    Bundle(BundleSettings),
}

/// The bundle of a SPIFFE trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleSettings {
    pub place: BundlePlace,
    /// PEM file with the roots to trust when it is fetched; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Which way leads to it.
    pub egress: Egress,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundlePlace {
    /// A file in SPIFFE's form, a JWKS.
    File(PathBuf),
    /// Its bundle endpoint.
    Url(String),
    /// The Unix socket of the Workload API.
    WorkloadApi(PathBuf),
}

/// Where a listener's own certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnCertificate {
    /// PEM files.
    Files { certificate: PathBuf, key: PathBuf },
    /// The Unix socket of the Workload API: the X.509-SVID of this process, as it is at each handshake.
    WorkloadApi(PathBuf),
}
