//! Client certificates: in the handshake, and again for each request.
//!
//! What it does: asks one listener's authorities about chains; they can be replaced at any time; and remembers by
//! connection what was verified. What it refuses to know: policy,
//! sockets, where files are watched. Invariants: a name counts only from an authority that anchors the chain and may give
//! it; a handshake and a request are judged by the same rules;
//! what was verified counts only under the trust that verified it and while every certificate and list
//! behind it is in date, so open connections and resumed sessions lose a withdrawn certificate at once
//! (`NoServerSessionStorage` or not); a list that is out of date means "unavailable", never "good".

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use moka::sync::Cache;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::accept::{self, CertificateDemand, ClientCertificates, ClientChain, ShownCertificate};
use crate::clock::UnixMillis;
use crate::reason::Reason;

use super::Surroundings;
use super::authority::{Authority, AuthorityFault, NotVouched};
use super::certificate::{self, Leaf, fingerprint};
use super::event::{Event, Events};
use super::facts::{CertificateFacts, Facts, ShownLeaf};
use super::jwks::IssuerStatus;
use super::rejection::Rejection;

/// Connections whose verified chain is remembered: all that there may be, by the limits' default.
const CONNECTIONS_LIMIT: u64 = 20_000;

/// The authorities that one listener trusts to vouch for clients.
pub(crate) struct ClientTrust {
    /// In the order of the configuration.
    authorities: Vec<Authority>,
    demand: CertificateDemand,
    content: [u8; 32],
}

/// The verifier of one listener. Its trust can be replaced while connections are open.
pub struct ClientVerifier {
    listener: Arc<str>,
    trust: ArcSwap<Generation>,
    provider: CryptoProvider,
    /// By address of the chain, which the entry keeps from being given to another.
    verified: Cache<usize, Arc<Verified>, ahash::RandomState>,
    events: Events,
}

struct Generation {
    number: u64,
    trust: ClientTrust,
}

/// What was found out about one connection's chain.
struct Verified {
    chain: Weak<ClientChain>,
    generation: u64,
    /// Of each authority's anchors.
    stamps: Box<[u64]>,
    /// Unix seconds.
    good_until: i64,
    holder: Holder,
}

/// Who holds a certificate.
#[derive(Clone)]
pub(super) struct Holder {
    /// What an authority vouches for, and the facts if nothing but the certificate was shown. `None`: no authority of ours
    /// does, and the listener takes it all the same; it proves possession of its key alone.
    pub vouched: Option<(Arc<CertificateFacts>, Arc<Facts>)>,
    /// SHA-256 of the leaf's DER, lower-case hexadecimal.
    pub fingerprint: Arc<str>,
    /// Of a leaf that no authority vouches for, the same of its public key; `vouched` has that of another.
    pub lone_key: Option<Arc<str>>,
}

impl Holder {
    pub(super) fn certificate(&self) -> Option<&Arc<CertificateFacts>> {
        self.vouched.as_ref().map(|(certificate, _)| certificate)
    }

    /// What a listener without any certificate has, or this one.
    pub(super) fn shown(holder: Option<&Holder>) -> ShownLeaf<'_> {
        holder.map_or_else(ShownLeaf::default, |holder| ShownLeaf {
            certificate: holder.certificate(),
            fingerprint: Some(&holder.fingerprint),
        })
    }
}

impl ClientTrust {
    /// Reads the files, and begins to fetch bundles. `previous`: what the listener trusted before, of which bundles that are
    /// the same go on.
    pub(crate) fn read(
        settings: &ClientCertificates,
        surroundings: &Surroundings,
        previous: Option<&ClientVerifier>,
    ) -> Result<Self, AuthorityFault> {
        let previous = previous.map(|verifier| verifier.trust.load());
        let before = |name: &str| {
            let trust = previous.as_ref()?;
            let mut known = trust.trust.authorities.iter();
            known.find(|one| *one.scope.name == *name)
        };
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&[match settings.demand {
            CertificateDemand::Optional => 0,
            CertificateDemand::Required => 1,
            CertificateDemand::Any => 2,
        }]);
        let authorities = settings
            .authorities
            .iter()
            .map(|one| Authority::read(one, &mut hash, surroundings, before(&one.name)));
        let authorities = authorities.collect::<Result<Vec<_>, _>>()?;
        let mut sum = [0; 32];
        sum.copy_from_slice(hash.finish().as_ref());
        Ok(ClientTrust {
            authorities,
            demand: settings.demand,
            content: sum,
        })
    }

    fn stamps(&self, now: UnixMillis) -> impl Iterator<Item = u64> {
        let authorities = self.authorities.iter();
        authorities.map(move |authority| authority.anchors().stamp(now))
    }

    /// Waits until the first reading of each bundle has ended, well or not.
    pub(crate) async fn settled(&self) {
        for authority in &self.authorities {
            authority.anchors().settled().await;
        }
    }

    /// The facts that a chain would give now, for `explain --certificate`. Possession of the key is not proven,
    /// and no `Identity` can come of it.
    pub(crate) fn facts_for_explain(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixMillis,
    ) -> Result<Facts, Rejection> {
        let (certificate, _) = self
            .holder(chain, time(now))
            .map_err(|refused| refused.reason)?;
        Ok(certificate::facts(&Arc::new(certificate)))
    }

    /// Who holds a chain's leaf, and the last second at which that is so. The authority that counts is one that both
    /// anchors the chain and may give the leaf's names; of several the first.
    fn holder(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(CertificateFacts, i64), NotVouched> {
        let (leaf, intermediates) = chain.split_first().ok_or(Reason::CertificateMalformed)?;
        let parsed = Leaf::parse(leaf)?;
        let mut by_subject = None;
        let found = self.first(
            leaf,
            intermediates,
            &parsed,
            now,
            |authority, good_until| {
                let facts = parsed.facts(&authority.scope)?;
                let good_until = good_until.min(facts.not_after);
                if facts.spiffe.is_some() || !facts.dns.is_empty() {
                    return Ok((facts, good_until));
                }
                // A further authority may be one that may give its names.
                by_subject.get_or_insert((facts, good_until));
                Err(Reason::CertificateOutOfScope)
            },
        );
        match (found, by_subject) {
            (Ok(found), _) | (Err(_), Some(found)) => Ok(found),
            (Err(refused), None) => Err(refused),
        }
    }

    /// Whether a chain that leads to none of the authorities is taken, for what possession of its key is worth. One that
    /// leads to an authority and is revoked, over or not its to give never is; nor is a leaf that a list names as revoked,
    /// because a client chooses which certificates it sends along, and so whether a path is found.
    fn takes_all_the_same(
        &self,
        leaf: &CertificateDer<'_>,
        refused: NotVouched,
    ) -> Result<(), NotVouched> {
        if self.demand != CertificateDemand::Any || refused.reason != Reason::CertificateUntrusted {
            return Err(refused);
        }
        let mut authorities = self.authorities.iter();
        match authorities.find(|authority| authority.lists(leaf)) {
            Some(authority) => Err(authority.revoked()),
            None => Ok(()),
        }
    }

    /// What `then` makes of the first authority that anchors the chain and that `then` takes; otherwise the weightiest
    /// refusal.
    fn first<T>(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        parsed: &Leaf<'_>,
        now: UnixTime,
        mut then: impl FnMut(&Authority, i64) -> Result<T, Reason>,
    ) -> Result<T, NotVouched> {
        let mut weightiest = NotVouched::untrusted();
        for authority in &self.authorities {
            let refused = match authority.verify(leaf, intermediates, parsed.claims_svid(), now) {
                Ok(good_until) => match then(authority, good_until) {
                    Ok(found) => return Ok(found),
                    Err(reason) => NotVouched {
                        ca: Some(authority.scope.name.clone()),
                        ..NotVouched::from(reason)
                    },
                },
                Err(refused) => refused,
            };
            if refused.weight() > weightiest.weight() {
                weightiest = refused;
            }
        }
        Err(weightiest)
    }
}

fn time(now: UnixMillis) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.0).unwrap_or(0)))
}

impl ClientVerifier {
    pub(crate) fn new(listener: &str, trust: ClientTrust, events: Events) -> Arc<Self> {
        Arc::new(ClientVerifier {
            listener: Arc::from(listener),
            trust: ArcSwap::from_pointee(Generation { number: 1, trust }),
            provider: rustls::crypto::aws_lc_rs::default_provider(),
            verified: Cache::builder()
                .max_capacity(CONNECTIONS_LIMIT)
                .time_to_idle(Duration::from_secs(3600))
                .build_with_hasher(ahash::RandomState::new()),
            events,
        })
    }

    /// The bundles that are read again and again.
    pub(super) fn bundles(&self, now: UnixMillis) -> Vec<IssuerStatus> {
        let trust = self.trust.load();
        let authorities = trust.trust.authorities.iter();
        authorities
            .filter_map(|authority| authority.anchors().status(now))
            .collect()
    }

    /// Whether some certificate could be judged now.
    pub(super) fn is_able(&self, now: UnixMillis) -> bool {
        let trust = self.trust.load();
        let mut authorities = trust.trust.authorities.iter();
        authorities.any(|authority| authority.anchors().present(now).is_some())
    }

    pub(super) async fn settled(&self) {
        self.trust.load_full().trust.settled().await;
    }

    /// The listener's name, as `ClientChain::listener` has it.
    pub(crate) fn listener(&self) -> &str {
        &self.listener
    }

    /// Trusts `trust` from now on, for handshakes, resumed sessions and open connections alike. False if
    /// it is what was trusted before.
    pub(crate) fn replace(&self, trust: ClientTrust) -> bool {
        let before = self.trust.load();
        if before.trust.content == trust.content {
            return false;
        }
        self.trust.store(Arc::new(Generation {
            number: before.number.wrapping_add(1),
            trust,
        }));
        true
    }

    /// Counts the replacements; a connection whose generation is older must be asked about again.
    #[cfg(test)]
    pub(crate) fn generation(&self) -> u64 {
        self.trust.load().number
    }

    /// Judges the chain of an accepted connection once more, as of `now` and under the present trust.
    /// Cheap as long as neither the trust nor the validity of anything behind the last answer changed.
    pub(super) fn holder(
        &self,
        chain: &Arc<ClientChain>,
        now: UnixMillis,
    ) -> Result<Holder, Reason> {
        let trust = self.trust.load();
        let address = Arc::as_ptr(chain).addr();
        if let Some(verified) = self.verified.get(&address) {
            // INVARIANT: a `Weak` keeps its allocation, so an equal address is the same chain; the
            // comparison holds even for an entry that was never removed.
            let same = std::ptr::eq(verified.chain.as_ptr(), Arc::as_ptr(chain));
            let unchanged = verified.generation == trust.number
                && trust.trust.stamps(now).eq(verified.stamps.iter().copied());
            if same && unchanged && now.seconds() <= verified.good_until {
                return Ok(verified.holder.clone());
            }
        }
        let verified = self.verify(chain, &trust, now)?;
        let holder = verified.holder.clone();
        self.verified.insert(address, Arc::new(verified));
        Ok(holder)
    }

    fn verify(
        &self,
        chain: &Arc<ClientChain>,
        trust: &Generation,
        now: UnixMillis,
    ) -> Result<Verified, Reason> {
        // Before the chain is judged: anchors that come meanwhile have it judged again.
        let stamps = trust.trust.stamps(now).collect();
        let leaf = chain.certificates.first();
        let shown = leaf.map(|leaf| fingerprint(leaf)).unwrap_or_default();
        let mut lone_key = None;
        let (vouched, good_until) = match trust.trust.holder(&chain.certificates, time(now)) {
            Ok((certificate, good_until)) => {
                let certificate = Arc::new(certificate);
                let facts = Arc::new(certificate::facts(&certificate));
                (Some((certificate, facts)), good_until)
            }
            Err(refused) => {
                let leaf = leaf.ok_or(Reason::CertificateMalformed)?;
                let taken = trust.trust.takes_all_the_same(leaf, refused);
                taken.map_err(|refused| refused.reason)?;
                lone_key = Some(Arc::from(certificate::key_of(leaf)?));
                (None, now.seconds())
            }
        };
        let holder = Holder {
            vouched,
            fingerprint: Arc::from(shown),
            lone_key,
        };
        Ok(Verified {
            chain: Arc::downgrade(chain),
            generation: trust.number,
            stamps,
            good_until,
            holder,
        })
    }

    /// What the record of a refused call says of a chain: the authority that it leads to, if it leads to one, and the
    /// leaf's fingerprint.
    pub(super) fn shown(&self, chain: &ClientChain, now: UnixMillis) -> ShownCertificate {
        let ca = match self
            .trust
            .load()
            .trust
            .holder(&chain.certificates, time(now))
        {
            Ok((facts, _)) => Some(facts.ca.to_string()),
            Err(refused) => refused.ca.map(|ca| ca.to_string()),
        };
        ShownCertificate {
            ca,
            sha256: chain
                .certificates
                .first()
                .map(|leaf| fingerprint(leaf))
                .unwrap_or_default(),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.trust.load().trust.demand == CertificateDemand::Required
    }

    /// None: the list would have to live as long as the verifier. Clients then send what they have.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let trust = self.trust.load();
        let judged = Leaf::parse(leaf)
            .map_err(NotVouched::from)
            .and_then(|parsed| {
                trust
                    .trust
                    .first(leaf, intermediates, &parsed, now, |_, _| Ok(()))
            });
        judged
            .or_else(|refused| trust.trust.takes_all_the_same(leaf, refused))
            .map(|()| ClientCertVerified::assertion())
            .map_err(|refused| {
                let (listener, reason) = (self.listener.clone(), refused.reason);
                let ca = refused.ca.map(|ca| ca.to_string());
                accept::refused_in_handshake(
                    reason,
                    ShownCertificate {
                        ca,
                        sha256: fingerprint(leaf),
                    },
                );
                self.events
                    .report(Event::ClientCertificateRefused { listener, reason });
                rustls::Error::InvalidCertificate(refused.alert)
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientVerifier")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
