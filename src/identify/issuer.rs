//! One issuer of tokens: its settings, its keys, and the judgement of its tokens.
//!
//! What it does: checks the settings once, then takes an `Unproven` token through algorithm, type, key,
//! signature, kind and claims, in that order. What it refuses to know: other issuers, the cache, certificates'
//! trust. Invariants: no claim is used before the signature holds; a key that may exist but cannot be
//! looked up now is "unavailable" and not "rejected".

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::accept::{AssertionHeader, BundlePlace};
use crate::clock::UnixMillis;
use crate::egress::{ClientFault, Egress, UnopenedProxy};
use crate::pem;
use crate::reason::Reason;
use crate::workload_api::JwtBundles;

use super::Surroundings;
use super::algorithm::Algorithm;
use super::cache::Evidence;
use super::claims;
use super::cluster::Cluster;
use super::dpop::Thumbprint;
use super::facts::{Facts, ShownLeaf};
use super::fetch::{Fetch, FetchFault, Remote, RemoteFault};
use super::file::{self, UnreadableFile};
use super::introspection::{IntrospectionFault, Introspector};
use super::jwks::{IssuerStatus, LiveKeys, ReadDocument, Upkeep};
use super::keys::KeySet;
use super::kind;
use super::settings::{ClientProofSettings, IssuerSettings, KeySource};
use super::signature;
use super::spiffe_id::trust_domain_of;
use super::token::Unproven;
use super::workload::WorkloadBundle;

/// A key set file. The same bound as for one that is fetched.
const FILE_LIMIT_BYTES: u64 = 512 * 1024;

/// One issuer at work.
pub(super) struct Issuer {
    /// Unlike any other issuer's in this process, earlier configurations included.
    pub id: u64,
    pub name: Arc<str>,
    settings: IssuerSettings,
    /// What the configured files held, so that a reload sees whether they changed.
    files: [u8; 32],
    /// The same of the credentials of the proxies before it.
    proxies: [u8; 32],
    live: Arc<LiveKeys>,
    introspector: Option<Arc<Introspector>>,
    cluster: Option<Arc<Cluster>>,
}

/// What is wrong with an issuer's settings or files.
#[derive(Debug, thiserror::Error)]
#[error("issuer `{issuer}`")]
pub struct IssuerFault {
    /// The issuer's name in our configuration.
    pub(crate) issuer: String,
    #[source]
    pub(crate) cause: IssuerCause,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuerCause {
    #[error(transparent)]
    File(#[from] UnreadableFile),
    #[error(transparent)]
    Proxy(#[from] UnopenedProxy),
    #[error(transparent)]
    Remote(#[from] RemoteFault),
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error(transparent)]
    Introspection(#[from] IntrospectionFault),
    #[error("at least one audience is needed")]
    NoAudience,
    #[error("at least one algorithm is needed")]
    NoAlgorithm,
    #[error("`{0}` is no asymmetric signature algorithm")]
    Algorithm(String),
    #[error("`{}` is no usable key set: {code}", .path.display())]
    KeySet { path: PathBuf, code: &'static str },
    #[error("`ca` is no PEM file of certificates")]
    NotPem(#[source] rustls_pki_types::pem::Error),
    #[error("`ca` holds a certificate that cannot be used")]
    Unusable(#[source] rustls::Error),
    #[error("`ca` holds no certificate")]
    NoCertificate,
    #[error("has the name or the `issuer` of `{0}`")]
    Twin(Arc<str>),
}

/// A token that holds, and for how long.
pub(super) struct JudgedToken {
    pub facts: Facts,
    /// The key whose proof the token needs besides (RFC 9449).
    pub key: Option<Thumbprint>,
    /// The stamp of the keys that it was judged by.
    pub stamp: u64,
}

impl Issuer {
    /// Reads the files and begins to fetch keys. `previous`, of the same name, is returned itself if
    /// nothing changed, and hands its keys on if they come from the same place.
    pub(super) fn open(
        settings: &IssuerSettings,
        surroundings: &Surroundings,
        previous: Option<&Arc<Issuer>>,
    ) -> Result<Arc<Issuer>, IssuerFault> {
        Self::open_any(settings, surroundings, previous).map_err(|cause| IssuerFault {
            issuer: settings.name.clone(),
            cause,
        })
    }

    fn open_any(
        settings: &IssuerSettings,
        surroundings: &Surroundings,
        previous: Option<&Arc<Issuer>>,
    ) -> Result<Arc<Issuer>, IssuerCause> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let authorities = settings.ca.as_deref().map(read).transpose()?;
        let key_authorities = settings.key_access.ca.as_deref().map(read).transpose()?;
        let key_file = match &settings.keys {
            KeySource::File(path)
            | KeySource::Bundle {
                bundle: BundlePlace::File(path),
                ..
            } => Some(read(path)?),
            KeySource::Discovery
            | KeySource::Url(_)
            | KeySource::Nowhere
            | KeySource::Bundle { .. } => None,
        };
        let [proof, proof_key] = proof_files(settings)?;
        let files = fingerprint(&[
            authorities.as_deref(),
            key_authorities.as_deref(),
            key_file.as_deref(),
            proof.as_deref().map(Vec::as_slice),
            proof_key.as_deref().map(Vec::as_slice),
        ]);
        let proxies = proxies(&settings.egress)?;
        let unchanged = previous.filter(|previous| {
            previous.settings == *settings && previous.files == files && previous.proxies == proxies
        });
        if let Some(unchanged) = unchanged {
            return Ok(unchanged.clone());
        }

        let name: Arc<str> = Arc::from(settings.name.as_str());
        let upkeep = upkeep(settings, &name, surroundings)?;
        let live = match (&settings.keys, key_file) {
            (
                KeySource::File(path)
                | KeySource::Bundle {
                    bundle: BundlePlace::File(path),
                    ..
                },
                Some(document),
            ) => {
                let refused = |cause| IssuerCause::KeySet {
                    path: path.clone(),
                    code: FetchFault::Keys(cause).code(),
                };
                let keys = (upkeep.read)(&document).map_err(refused)?;
                LiveKeys::fixed(upkeep, keys)
            }
            (KeySource::Nowhere, _) => LiveKeys::fixed(upkeep, KeySet::none()),
            (source, _) => {
                let trusted = key_authorities.as_deref().or(authorities.as_deref());
                let roots = Arc::new(roots(trusted)?);
                let token = settings.key_access.token.clone();
                let fetch: Box<dyn Fetch> = match source {
                    KeySource::Bundle {
                        bundle: BundlePlace::WorkloadApi(socket),
                        trust_domain,
                    } => Box::new(WorkloadBundle::<JwtBundles>::open(socket, trust_domain)),
                    KeySource::Url(url) => {
                        Box::new(Remote::key_set(url, roots, &settings.egress, token)?)
                    }
                    KeySource::Bundle {
                        bundle: BundlePlace::Url(url),
                        ..
                    } => Box::new(Remote::bundle(url, roots, &settings.egress)?),
                    _ => Box::new(Remote::discovery(
                        &settings.issuer,
                        roots,
                        &settings.egress,
                        token,
                    )?),
                };
                let same_place = |previous: &&Arc<Issuer>| {
                    let earlier = &previous.settings;
                    previous.files == files
                        && earlier.issuer == settings.issuer
                        && earlier.keys == settings.keys
                        && earlier.key_access == settings.key_access
                        && earlier.algorithms == settings.algorithms
                };
                let keys = previous.filter(same_place).map(|previous| &*previous.live);
                LiveKeys::start(upkeep, fetch, keys, &surroundings.runtime)
            }
        };
        let live = Arc::new(live);
        let introspector = match &settings.introspection {
            Some(asked) => {
                let roots = Arc::new(roots(authorities.as_deref())?);
                let opened = Introspector::open(settings, asked, roots, &live, surroundings)?;
                Some(Arc::new(opened))
            }
            None => None,
        };
        let cluster = match &settings.cluster {
            Some(cluster) => {
                let roots = Arc::new(roots(key_authorities.as_deref())?);
                let opened = Cluster::open(settings, cluster, roots, surroundings)?;
                Some(Arc::new(opened))
            }
            None => None,
        };
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Issuer {
            id,
            name,
            settings: settings.clone(),
            files,
            proxies,
            live,
            introspector,
            cluster,
        }))
    }

    /// Whether `iss` means this issuer: byte for byte. A trust domain is meant by the subject alone, a cluster by the issuer of
    /// our own token.
    pub(super) fn is_called(&self, iss: &str) -> bool {
        match &self.cluster {
            Some(cluster) => cluster.is_called(iss),
            None => self.settings.issuer == iss && self.settings.trust_domain().is_none(),
        }
    }

    /// Whether it cannot be told now which tokens are this issuer's.
    pub(super) fn is_nameless(&self) -> bool {
        self.cluster
            .as_ref()
            .is_some_and(|cluster| cluster.is_nameless())
    }

    /// Who is asked about an opaque token that begins like this, if this issuer's are told by their beginning.
    pub(super) fn opaque_by_prefix(&self, token: &[u8]) -> Option<&Arc<Introspector>> {
        let prefix = self.settings.introspection.as_ref()?.prefix.as_ref()?;
        let introspector = self.introspector.as_ref()?;
        token.starts_with(prefix.as_bytes()).then_some(introspector)
    }

    /// Whether it is asked about any opaque tokens.
    pub(super) fn asks_about_opaque(&self) -> bool {
        self.introspector.is_some()
    }

    /// Who is asked about all other opaque tokens, if that is this issuer.
    pub(super) fn opaque_without_prefix(&self) -> Option<&Arc<Introspector>> {
        let asked = self.settings.introspection.as_ref()?;
        self.introspector
            .as_ref()
            .filter(|_| asked.prefix.is_none())
    }

    /// What must be asked of others about a token whose signature holds.
    pub(super) async fn confirmed(
        &self,
        token: &[u8],
        facts: Arc<Facts>,
        asked: (&Evidence, IpAddr, UnixMillis),
    ) -> Result<Arc<Facts>, Reason> {
        if let Some(introspector) = self.introspector.as_ref().filter(|one| one.asks_always()) {
            return introspector.still_active(token, &facts, asked).await;
        }
        match &self.cluster {
            Some(cluster) => cluster.reviewed(token, facts, asked).await,
            None => Ok(facts),
        }
    }

    /// Whether this is the trust domain that a subject claims to be of.
    pub(super) fn is_domain_of(&self, subject: &str) -> bool {
        self.settings
            .trust_domain()
            .is_some_and(|domain| trust_domain_of(subject) == Some(domain))
    }

    /// Whether its tokens may stand in this header of a proxy's assertions.
    pub(super) fn takes_in(&self, header: &AssertionHeader) -> bool {
        self.settings.header.as_ref() == Some(header)
    }

    /// The stamp of the keys that count at `now`.
    pub(super) fn stamp(&self, now: UnixMillis) -> Option<u64> {
        self.live.current(now)?.as_ref().map(|keys| keys.stamp)
    }

    /// Unix seconds from which on a token that expires at `expires` is no longer taken.
    pub(super) fn refused_from(&self, expires: i64) -> i64 {
        expires.saturating_add(i64::try_from(self.settings.leeway.as_secs()).unwrap_or(0))
    }

    /// Unix seconds by which every token that this issuer has issued by `now` has expired.
    pub(super) fn outlived(&self, now: UnixMillis) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let (lifetime, leeway) = (self.settings.max_lifetime, self.settings.leeway);
        now.seconds()
            .saturating_add(seconds(lifetime))
            .saturating_add(seconds(leeway).saturating_mul(2))
            .saturating_add(claims::BACKDATED_SECONDS)
    }

    pub(super) fn status(&self, now: UnixMillis) -> IssuerStatus {
        self.live.status(now)
    }

    pub(super) async fn settled(&self) {
        self.live.settled().await;
    }

    pub(super) fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// The roots to trust when it is asked over TLS; reads the file again.
    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, IssuerCause> {
        let authorities = self.settings.ca.as_deref().map(read).transpose()?;
        roots(authorities.as_deref()).map(Arc::new)
    }

    /// The facts of an ID token's claims that hold.
    pub(super) fn person(&self, claims: Map<String, Value>) -> Result<Facts, Reason> {
        claims::extract(&self.settings, &self.name, claims, None, i64::MAX)
    }

    pub(super) fn unproven_facts(&self, claims: Map<String, Value>) -> Result<Facts, Reason> {
        claims::unproven_facts(&self.settings, &self.name, claims)
    }

    /// Judges a token that is to be of this issuer.
    pub(super) async fn judge(
        &self,
        token: Unproven<'_>,
        leaf: ShownLeaf<'_>,
        now: UnixMillis,
    ) -> Result<JudgedToken, Reason> {
        if self.settings.keys == KeySource::Nowhere {
            return Err(Reason::TokenNotOpaque);
        }
        if !self.settings.algorithms.contains(&token.algorithm_name) {
            return Err(Reason::TokenAlgorithm);
        }
        if !self.settings.types.contains(&token.media_type) {
            return Err(Reason::TokenType);
        }
        let stamp = self.verify(&token, now).await?;
        if !kind::is_taken(&self.settings, &token.media_type, &token.claims) {
            return Err(Reason::TokenType);
        }
        let (facts, key) = claims::facts(&self.settings, &self.name, token.claims, leaf, now)?;
        Ok(JudgedToken { facts, key, stamp })
    }

    /// Checks the signature; the key set's stamp if it holds.
    pub(super) async fn verify(
        &self,
        token: &Unproven<'_>,
        now: UnixMillis,
    ) -> Result<u64, Reason> {
        signature::verify(&self.live, token, now).await
    }
}

fn upkeep(
    settings: &IssuerSettings,
    name: &Arc<str>,
    surroundings: &Surroundings,
) -> Result<Upkeep, IssuerCause> {
    if settings.audiences.is_empty() {
        return Err(IssuerCause::NoAudience);
    }
    let known =
        |name: &String| Algorithm::parse(name).ok_or_else(|| IssuerCause::Algorithm(name.clone()));
    let allowed = settings
        .algorithms
        .iter()
        .map(known)
        .collect::<Result<Vec<_>, _>>()?;
    if allowed.is_empty() {
        return Err(IssuerCause::NoAlgorithm);
    }
    let read: ReadDocument<KeySet> = match settings.keys {
        KeySource::Bundle {
            bundle: BundlePlace::WorkloadApi(_),
            ..
        } => Box::new(move |document| KeySet::parse_agents_bundle(document, &allowed)),
        KeySource::Bundle { .. } => {
            Box::new(move |document| KeySet::parse_bundle(document, &allowed))
        }
        _ => Box::new(move |document| KeySet::parse(document, &allowed)),
    };
    Ok(Upkeep {
        issuer: name.clone(),
        read,
        refresh: settings.refresh,
        stale: settings.stale_keys,
        clock: surroundings.clock.clone(),
        events: surroundings.events.clone(),
    })
}

/// The configured authorities, else the system's.
pub(super) fn roots(authorities: Option<&[u8]>) -> Result<RootCertStore, IssuerCause> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(authorities) => {
            for certificate in pem::certificates(authorities).map_err(IssuerCause::NotPem)? {
                roots.add(certificate).map_err(IssuerCause::Unusable)?;
            }
            if roots.is_empty() {
                return Err(IssuerCause::NoCertificate);
            }
        }
        // A machine without roots is no fault here: an issuer on loopback needs none, and a fetch over TLS
        // will say that no root is trusted.
        None => {
            roots.add_parsable_certificates(pem::system_roots());
        }
    }
    Ok(roots)
}

/// What the files hold by which we prove ourselves to an introspection endpoint.
fn proof_files(
    settings: &IssuerSettings,
) -> Result<[Option<Zeroizing<Vec<u8>>>; 2], UnreadableFile> {
    let proof = settings.introspection.as_ref().map(|asked| &asked.proof);
    let [first, second] = match proof {
        None | Some(ClientProofSettings::Secret(_)) => [None, None],
        Some(ClientProofSettings::Key { file, .. }) => [Some(file), None],
        Some(ClientProofSettings::Certificate { certificate, key }) => {
            [Some(certificate), Some(key)]
        }
    };
    let held = |path: Option<&PathBuf>| path.map(|path| read(path).map(Zeroizing::new)).transpose();
    Ok([held(first)?, held(second)?])
}

fn read(path: &Path) -> Result<Vec<u8>, UnreadableFile> {
    file::read(path, FILE_LIMIT_BYTES)
}

/// What a file of roots holds, and the roots: the system's without a file.
pub(super) fn trusted(
    path: Option<&Path>,
) -> Result<(Option<Vec<u8>>, RootCertStore), IssuerCause> {
    let authorities = path.map(read).transpose()?;
    let roots = roots(authorities.as_deref())?;
    Ok((authorities, roots))
}

/// Tells the credentials of the proxies before an issuer apart.
pub(super) fn proxies(egress: &Egress) -> Result<[u8; 32], UnopenedProxy> {
    let opened: Vec<_> = egress
        .proxies()
        .into_iter()
        .map(|proxy| proxy.open())
        .collect::<Result<_, _>>()?;
    Ok(fingerprint(
        &opened
            .iter()
            .map(|proxy| Some(proxy.opened_by()))
            .collect::<Vec<_>>(),
    ))
}

/// One digest over optional contents, lengths included.
pub(super) fn fingerprint(contents: &[Option<&[u8]>]) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    for content in contents {
        hash.update(
            &content
                .map_or(u64::MAX, |content| content.len() as u64)
                .to_be_bytes(),
        );
        hash.update(content.unwrap_or_default());
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(hash.finish().as_ref());
    sum
}
