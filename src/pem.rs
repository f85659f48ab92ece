//! Certificates, keys and revocation lists out of PEM, and the system's trust anchors.
//!
//! What it does: reads all that a text or a file holds of one kind. What it refuses to know: what is trusted for what, and
//! whether a certificate can be used. Invariants: one that is not well formed spoils the whole; what was read reaches no
//! message.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// What is wrong with a file, in one line, without what was read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PemFault {
    #[error("no certificates can be read from `{}`", .0.display())]
    Certificates(PathBuf),
    #[error("`{}` holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("no private key can be read from `{}`", .0.display())]
    PrivateKey(PathBuf),
}

/// All certificates of a text, in order; there may be none.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// The same of a file.
pub(crate) fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}

/// A chain of certificates. A file without any is an error.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let chain = certificates_of(path).map_err(|_| PemFault::Certificates(path.to_owned()))?;
    if chain.is_empty() {
        return Err(PemFault::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}

/// All revocation lists of a text, in order; there may be none.
pub(crate) fn revocation_lists(
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    CertificateRevocationListDer::pem_slice_iter(pem).collect()
}

/// The first private key of a text.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem)
}

/// The first private key of a file.
pub(crate) fn private_key_of(path: &Path) -> Result<PrivateKeyDer<'static>, PemFault> {
    PrivateKeyDer::from_pem_file(path).map_err(|_| PemFault::PrivateKey(path.to_owned()))
}

/// What the system trusts; what cannot be read of it is left out.
pub(crate) fn system_roots() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// The anchors of a file, or the system's. Those that cannot be read as anchors are left out.
pub(crate) fn roots(ca: Option<&Path>) -> Result<Arc<RootCertStore>, PemFault> {
    let found = match ca {
        Some(path) => chain(path)?,
        None => system_roots(),
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    Ok(Arc::new(roots))
}

/// The TLS of our own calls to who is trusted by `roots`, before it is known whether they show a certificate.
pub(crate) fn client_tls(
    roots: Arc<RootCertStore>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots))
}
