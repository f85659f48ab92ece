//! One authority for client certificates: its anchors and its revocation lists.
//!
//! What it does: reads both from files, and verifies chains against them. What it refuses to know: listeners, other
//! authorities, sockets, what a leaf says. Invariants: a path is judged as the path builder found it, so that no
//! certificate counts that is not on it; anchors and intermediates are in date and, as far as they say what their key is
//! for, may sign certificates (RFC 5280 sections 4.2.1.3 and 6.1.4); with revocation lists, every certificate beneath an
//! anchor needs one that is current (RFC 5280 section 6.3).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::CertificateError;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptions, RevocationOptionsBuilder, VerifiedPath,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::Surroundings;
use super::anchors::{Anchors, KeyUsageRule, UnusableAuthority, signer};
use super::bundle::{self, AnchorSource};
use super::certificate::{AuthorityScope, signing_name};
use super::file::{self, UnreadableFile};
use super::issuer::{IssuerCause, fingerprint};
use crate::accept::{AnchorPlace, ClientAuthority};
use crate::apps::Glob;
use crate::clock::UnixMillis;
use crate::pem;
use crate::reason::Reason;

/// A file of authorities or revocation lists. Public lists with 100,000 entries are about 4 MiB.
const FILE_LIMIT_BYTES: u64 = 32 << 20;

/// The anchors and lists of one authority, and what it may speak for.
pub(super) struct Authority {
    pub scope: AuthorityScope,
    /// What tells its own certificates' place from others.
    origin: [u8; 32],
    anchors: AnchorSource,
    lists: Vec<CertRevocationList<'static>>,
    /// The earliest `nextUpdate` of all lists, Unix seconds.
    lists_good_until: i64,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What is wrong with an authority's files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityFault {
    #[error(transparent)]
    File(#[from] UnreadableFile),
    #[error("`{}` is not PEM", .path.display())]
    NotPem {
        path: PathBuf,
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    #[error("`{}` holds an authority that cannot be used", .path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        cause: UnusableAuthority,
    },
    #[error("`{}` holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("the authority `{name}`")]
    Bundle {
        name: String,
        #[source]
        cause: IssuerCause,
    },
    #[error("`{}` holds a revocation list that cannot be read", .0.display())]
    RevocationList(PathBuf),
    #[error("`{}` holds no revocation list", .0.display())]
    NoRevocationList(PathBuf),
}

impl AuthorityFault {
    fn not_pem(path: &Path) -> impl FnOnce(rustls_pki_types::pem::Error) -> Self {
        move |cause| AuthorityFault::NotPem {
            path: path.to_owned(),
            cause,
        }
    }
}

/// Why an authority does not vouch for a chain, and what a handshake answers then.
pub(super) struct NotVouched {
    pub reason: Reason,
    pub alert: CertificateError,
    /// The authority whose word it would have been, if the chain leads to one.
    pub ca: Option<Arc<str>>,
}

impl NotVouched {
    /// No path to an anchor.
    pub(crate) fn untrusted() -> Self {
        NotVouched {
            reason: Reason::CertificateUntrusted,
            alert: CertificateError::UnknownIssuer,
            ca: None,
        }
    }

    /// Of what several authorities say of one chain, the weightiest counts: what is our fault before what is the
    /// caller's, and what was found at the end of a path before there being none.
    pub(crate) fn weight(&self) -> u8 {
        match self.reason {
            Reason::CertificateUntrusted
                if matches!(self.alert, CertificateError::UnknownIssuer) =>
            {
                0
            }
            Reason::CertificateUntrusted
            | Reason::CertificateMalformed
            | Reason::CertificateName => 1,
            Reason::CertificateOutOfScope => 2,
            Reason::CertificateNotYetValid => 3,
            Reason::CertificateExpired => 4,
            Reason::CertificateRevoked => 5,
            _ => 6,
        }
    }
}

impl Authority {
    /// Reads the files, and adds what they hold to `hash`; begins to fetch a bundle that is elsewhere, unless `previous`, the
    /// authority of the same name before, has it.
    pub(crate) fn read(
        settings: &ClientAuthority,
        hash: &mut digest::Context,
        surroundings: &Surroundings,
        previous: Option<&Authority>,
    ) -> Result<Self, AuthorityFault> {
        let crl = settings.crl.as_deref();
        let scope = AuthorityScope {
            name: Arc::from(settings.name.as_str()),
            trust_domains: settings.trust_domains.clone(),
            dns: settings.dns.clone(),
            svids_only: matches!(settings.anchors, AnchorPlace::Bundle(_)),
        };
        scope.describe(hash);
        let (anchors, origin) = match &settings.anchors {
            AnchorPlace::Pem(path) => pem_anchors(path)?,
            AnchorPlace::Bundle(bundle) => {
                let trust_domain = scope.trust_domains.first().map_or("", String::as_str);
                let kept = previous.map(|previous| (&previous.anchors, previous.origin));
                let opened = bundle::open(&scope.name, trust_domain, bundle, surroundings, kept);
                opened.map_err(|cause| AuthorityFault::Bundle {
                    name: settings.name.clone(),
                    cause,
                })?
            }
        };
        hash.update(&origin);
        let (mut lists, mut lists_good_until) = (Vec::new(), i64::MAX);
        hash.update(&[u8::from(crl.is_some())]);
        if let Some(path) = crl {
            let file = file::read(path, FILE_LIMIT_BYTES)?;
            hash.update(&(file.len() as u64).to_be_bytes());
            hash.update(&file);
            let found = pem::revocation_lists(&file);
            for list in found.map_err(AuthorityFault::not_pem(path))? {
                let unreadable = || AuthorityFault::RevocationList(path.to_owned());
                let (_, parsed) =
                    CertificateRevocationList::from_der(&list).map_err(|_| unreadable())?;
                let next = parsed
                    .next_update()
                    .map_or(i64::MIN, |time| time.timestamp());
                lists_good_until = lists_good_until.min(next);
                let owned = OwnedCertRevocationList::from_der(&list).map_err(|_| unreadable())?;
                lists.push(CertRevocationList::Owned(owned));
            }
            if lists.is_empty() {
                return Err(AuthorityFault::NoRevocationList(path.to_owned()));
            }
        }
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        Ok(Authority {
            scope,
            origin,
            anchors,
            lists,
            lists_good_until,
            algorithms,
        })
    }

    /// Looks for a path from the leaf to an anchor. The answer is the last second, Unix time, at which the path found is
    /// good. `svid`: the leaf claims to be a SPIFFE identity, for which every certificate above it must say that it may
    /// sign (X.509-SVID section 4.3).
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        svid: bool,
        now: UnixTime,
    ) -> Result<i64, NotVouched> {
        let rule = if svid {
            KeyUsageRule::Required
        } else {
            KeyUsageRule::IfPresent
        };
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        let anchors = self
            .anchors
            .present(millis(now))
            .ok_or_else(|| self.unavailable())?;
        let certificate = EndEntityCert::try_from(leaf)?;
        let path = certificate.verify_for_usage(
            self.algorithms.all,
            anchors.list(),
            intermediates,
            now,
            KeyUsage::client_auth(),
            revocation(&lists),
            Some(&|path: &VerifiedPath<'_>| permits(&anchors, path, rule, now)),
        );
        let path = path.map_err(|error| {
            let refused = NotVouched::from(error);
            // A status is asked for only along a signed path to an anchor; a leaf's dates are looked at before.
            let led_here = matches!(
                refused.reason,
                Reason::CertificateRevoked | Reason::RevocationUnavailable
            );
            NotVouched {
                ca: led_here.then(|| self.scope.name.clone()),
                ..refused
            }
        })?;
        let mut good_until = self.lists_good_until.min(
            anchors
                .validity_of(path.anchor())
                .map_or(i64::MIN, |(_, end)| end),
        );
        for certificate in path.intermediate_certificates() {
            good_until =
                good_until.min(signer(&certificate.der(), rule).map_or(i64::MIN, |(_, end)| end));
        }
        Ok(good_until)
    }

    /// Whether a list names a leaf as revoked, by issuer and serial number alone: no path is looked for.
    pub(crate) fn lists(&self, leaf: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(leaf) else {
            return false;
        };
        let mut lists = self.lists.iter();
        lists.any(|list| {
            list.issuer() == certificate.issuer()
                && !matches!(list.find_serial(certificate.serial()), Ok(None))
        })
    }

    /// What is said of a leaf that a list names.
    pub(crate) fn revoked(&self) -> NotVouched {
        NotVouched {
            reason: Reason::CertificateRevoked,
            alert: CertificateError::Revoked,
            ca: Some(self.scope.name.clone()),
        }
    }

    /// Nothing can be said of a chain: our fault, and not the caller's.
    fn unavailable(&self) -> NotVouched {
        NotVouched {
            reason: Reason::KeysUnavailable,
            alert: CertificateError::UnknownRevocationStatus,
            ca: None,
        }
    }

    /// Its certificates.
    pub(crate) fn anchors(&self) -> &AnchorSource {
        &self.anchors
    }
}

/// What the path builder leaves to us: whether those above the leaf may sign certificates, and the anchor's validity.
fn permits(
    anchors: &Anchors,
    path: &VerifiedPath<'_>,
    rule: KeyUsageRule,
    now: UnixTime,
) -> Result<(), Error> {
    for certificate in path.intermediate_certificates() {
        signer(&certificate.der(), rule).map_err(|_| Error::EndEntityUsedAsCa)?;
    }
    let (from, until) = anchors
        .validity_of(path.anchor())
        .ok_or(Error::UnknownIssuer)?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let time = |seconds: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            seconds.max(0).cast_unsigned(),
        ))
    };
    if seconds < from {
        return Err(Error::CertNotValidYet {
            time: now,
            not_before: time(from),
        });
    }
    if seconds > until {
        return Err(Error::CertExpired {
            time: now,
            not_after: time(until),
        });
    }
    Ok(())
}

fn millis(now: UnixTime) -> UnixMillis {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    UnixMillis(seconds.saturating_mul(1000))
}

/// Those of a PEM file, with their digest.
fn pem_anchors(ca: &Path) -> Result<(AnchorSource, [u8; 32]), AuthorityFault> {
    let file = file::read(ca, FILE_LIMIT_BYTES)?;
    let certificates = pem::certificates(&file).map_err(AuthorityFault::not_pem(ca))?;
    let anchors = Anchors::all(&certificates).map_err(|cause| AuthorityFault::Unusable {
        path: ca.to_owned(),
        cause,
    })?;
    if anchors.is_empty() {
        return Err(AuthorityFault::NoCertificate(ca.to_owned()));
    }
    Ok((
        AnchorSource::Fixed(Arc::new(anchors)),
        fingerprint(&[Some(&file)]),
    ))
}

impl AuthorityScope {
    /// Adds itself to `hash`, so that a change of it is a change of what is trusted.
    fn describe(&self, hash: &mut digest::Context) {
        let lists = [self.trust_domains.len(), self.dns.len()];
        lists
            .iter()
            .for_each(|count| hash.update(&(*count as u64).to_be_bytes()));
        let names = self
            .trust_domains
            .iter()
            .map(String::as_str)
            .chain(self.dns.iter().map(Glob::as_str));
        for text in std::iter::once(&*self.name).chain(names) {
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
    }
}

/// `None` without lists: then no status is asked for.
fn revocation<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        builder
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build(),
    )
}

impl From<Reason> for NotVouched {
    /// What is wrong with the leaf itself.
    fn from(reason: Reason) -> Self {
        NotVouched {
            reason,
            alert: CertificateError::BadEncoding,
            ca: None,
        }
    }
}

impl From<Error> for NotVouched {
    /// What the library cannot judge for want of a current list is our fault.
    fn from(error: Error) -> Self {
        let (reason, alert) = match error {
            Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => {
                (Reason::CertificateMalformed, CertificateError::BadEncoding)
            }
            Error::CertExpired { .. } | Error::InvalidCertValidity => {
                (Reason::CertificateExpired, CertificateError::Expired)
            }
            Error::CertNotValidYet { .. } => (
                Reason::CertificateNotYetValid,
                CertificateError::NotValidYet,
            ),
            Error::CertRevoked => (Reason::CertificateRevoked, CertificateError::Revoked),
            Error::UnknownRevocationStatus
            | Error::CrlExpired { .. }
            | Error::IssuerNotCrlSigner
            | Error::InvalidCrlSignatureForPublicKey
            | Error::UnsupportedCrlSignatureAlgorithmContext(_)
            | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => (
                Reason::RevocationUnavailable,
                CertificateError::UnknownRevocationStatus,
            ),
            Error::RequiredEkuNotFoundContext(_)
            | Error::EmptyEkuExtension
            | Error::CaUsedAsEndEntity => (
                Reason::CertificateUntrusted,
                CertificateError::InvalidPurpose,
            ),
            Error::InvalidSignatureForPublicKey => {
                (Reason::CertificateUntrusted, CertificateError::BadSignature)
            }
            _ => (
                Reason::CertificateUntrusted,
                CertificateError::UnknownIssuer,
            ),
        };
        NotVouched {
            reason,
            alert,
            ca: None,
        }
    }
}

/// How many authorities the certificates of a PEM text are, or why one of them may not be an anchor. Those of one name are
/// one authority's: an old one, and a new one that takes its place.
pub(crate) fn anchors(text: &[u8]) -> Result<usize, &'static str> {
    let mut names = BTreeSet::new();
    for certificate in pem::certificates(text).map_err(|_| "it is not PEM")? {
        signer(&certificate, KeyUsageRule::IfPresent)?;
        names.insert(signing_name(&certificate).map_err(|_| "its names cannot be decoded")?);
    }
    Ok(names.len())
}
