//! A listener's TLS configuration, made whole and swapped whole.
//!
//! What it does: reads certificate and key, and builds the rustls configuration that new connections
//! use. What it refuses to know: which clients are acceptable (a verifier is handed in).
//! Invariants: with client certificates there is no session resumption, because a resumed session skips
//! their verification (CVE-2025-23419's class); no early data, no key log.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::{OwnCertificate, TlsSettings};
use crate::pem::{self, PemFault};
use crate::workload_api::OwnSvid;

/// What is wrong with a listener's TLS, and with which file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    #[error(transparent)]
    File(#[from] PemFault),
    #[error("no usable TLS version")]
    Versions(#[source] rustls::Error),
    #[error("`{}` and `{}` do not fit", .certificate.display(), .key.display())]
    Unfit {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        cause: rustls::Error,
    },
}

/// Builds the configuration.
pub(crate) fn server_config(
    settings: &TlsSettings,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, TlsFault> {
    let versions: &[&SupportedProtocolVersion] = if settings.only_tls13 {
        &[&rustls::version::TLS13]
    } else {
        rustls::ALL_VERSIONS
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(TlsFault::Versions)?;
    let asks_clients = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = match &settings.own {
        OwnCertificate::Files { certificate, key } => builder
            .with_single_cert(pem::chain(certificate)?, pem::private_key_of(key)?)
            .map_err(|cause| TlsFault::Unfit {
                certificate: certificate.clone(),
                key: key.clone(),
                cause,
            })?,
        OwnCertificate::WorkloadApi(socket) => {
            builder.with_cert_resolver(Arc::new(OwnSvid::of(socket)))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    if asks_clients {
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
