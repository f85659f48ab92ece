//! Where an authority's anchors come from: a file, or the bundle of a SPIFFE trust domain.
//!
//! What it does: reads a bundle, once or again and again, and gives the anchors that count now. What it refuses to know:
//! chains, and what an authority may speak for. Invariants: each authority has a bundle of its own, even where two are
//! read from one place; one that is too old counts no more than one that never came.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Surroundings;
use super::anchors::Anchors;
use super::fetch::{Fetch, FetchFault, Remote};
use super::file;
use super::issuer::{self, IssuerCause, fingerprint};
use super::jwks::{IssuerStatus, LiveKeys, ReadDocument, ReadSet as _, Upkeep};
use super::workload::WorkloadBundle;
use crate::accept::{BundlePlace, BundleSettings};
use crate::clock::UnixMillis;
use crate::workload_api::X509Context;

/// A bundle in a file: the same bound as for one that is fetched.
const FILE_LIMIT_BYTES: u64 = 512 << 10;

/// A bundle that wants to be read more seldom is read as often as this.
pub(crate) const BUNDLE_REFRESH: Duration = Duration::from_secs(3600);

/// How long one counts that cannot be read anew.
pub(crate) const BUNDLE_STALE: Duration = Duration::from_secs(24 * 3600);

/// Anchors, as they are or as they come.
#[derive(Clone)]
pub(super) enum AnchorSource {
    Fixed(Arc<Anchors>),
    Live(Arc<LiveKeys<Anchors>>),
}

impl AnchorSource {
    /// Those that count at `now`.
    pub(super) fn present(&self, now: UnixMillis) -> Option<Arc<Anchors>> {
        match self {
            AnchorSource::Fixed(anchors) => Some(anchors.clone()),
            AnchorSource::Live(live) => live.current(now)?.clone(),
        }
    }

    /// What changes when they do, without a reload.
    pub(super) fn stamp(&self, now: UnixMillis) -> u64 {
        match self {
            AnchorSource::Fixed(_) => 0,
            AnchorSource::Live(_) => self.present(now).map_or(0, |anchors| anchors.stamp()),
        }
    }

    /// The state of a bundle that is read again and again.
    pub(super) fn status(&self, now: UnixMillis) -> Option<IssuerStatus> {
        match self {
            AnchorSource::Fixed(_) => None,
            AnchorSource::Live(live) => Some(live.status(now)),
        }
    }

    /// Waits until the first reading has ended, well or not.
    pub(super) async fn settled(&self) {
        if let AnchorSource::Live(live) = self {
            live.settled().await;
        }
    }
}

/// The anchors of a bundle, and a digest of what they are read by. `kept`: the same of the authority of this name under the
/// configuration before, which goes on if it is the same.
pub(super) fn open(
    name: &Arc<str>,
    trust_domain: &str,
    settings: &BundleSettings,
    surroundings: &Surroundings,
    kept: Option<(&AnchorSource, [u8; 32])>,
) -> Result<(AnchorSource, [u8; 32]), IssuerCause> {
    let read = |path: &Path| file::read(path, FILE_LIMIT_BYTES);
    match &settings.place {
        BundlePlace::File(path) => {
            let document = read(path)?;
            let anchors = Anchors::of_bundle(&document).map_err(|cause| IssuerCause::KeySet {
                path: path.clone(),
                code: FetchFault::Keys(cause).code(),
            })?;
            let origin = fingerprint(&[Some(&document)]);
            Ok((AnchorSource::Fixed(Arc::new(anchors)), origin))
        }
        BundlePlace::Url(url) => {
            let roots = settings.ca.as_deref().map(read).transpose()?;
            let proxies = issuer::proxies(&settings.egress)?;
            let place = format!("{settings:?}");
            let origin = fingerprint(&[
                Some(place.as_bytes()),
                roots.as_deref(),
                Some(proxies.as_slice()),
            ]);
            if let Some((same, _)) = kept.filter(|(_, earlier)| *earlier == origin) {
                return Ok((same.clone(), origin));
            }
            let roots = Arc::new(issuer::roots(roots.as_deref())?);
            let remote = Box::new(Remote::bundle(url, roots, &settings.egress)?);
            let live = live(name, Box::new(Anchors::of_bundle), remote, surroundings);
            Ok((live, origin))
        }
        BundlePlace::WorkloadApi(socket) => {
            let place = format!("{socket:?} {trust_domain}");
            let origin = fingerprint(&[Some(place.as_bytes())]);
            if let Some((same, _)) = kept.filter(|(_, earlier)| *earlier == origin) {
                return Ok((same.clone(), origin));
            }
            let source = Box::new(WorkloadBundle::<X509Context>::open(socket, trust_domain));
            let live = live(name, Box::new(Anchors::of_der), source, surroundings);
            Ok((live, origin))
        }
    }
}

/// Begins to read a bundle.
fn live(
    name: &Arc<str>,
    read: ReadDocument<Anchors>,
    source: Box<dyn Fetch>,
    surroundings: &Surroundings,
) -> AnchorSource {
    let upkeep = Upkeep {
        issuer: name.clone(),
        read,
        refresh: BUNDLE_REFRESH,
        stale: BUNDLE_STALE,
        clock: surroundings.clock.clone(),
        events: surroundings.events.clone(),
    };
    let live = LiveKeys::start(upkeep, source, None, &surroundings.runtime);
    AnchorSource::Live(Arc::new(live))
}
