//! Where a part of an export goes, and what is made of its message for that.
//!
//! What it does: finds route, form, credential and endpoint of a permitted part, and has its message made as that backend takes it. What it refuses
//! to know: how the message was written, and how it is sent. Invariant: a part for one backend is made in the same way as for any
//! other, whatever it is to the caller.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::cut::{Cutting, PieceNames};
use super::format::{PartFormat, WireFormat};
use super::outgoing;
use super::part::OutgoingPart;
use crate::accept::{Call, Protocol};
use crate::authorize::Permit;
use crate::forward::Backend;
use crate::limits::Reservation;
use crate::profiles::Bounds;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::route::Route;
use crate::state::Snapshot;
use crate::transform::Coding;

/// What is the same for all parts of an export.
#[derive(Clone, Copy)]
pub(crate) struct Outset<'a> {
    pub snapshot: &'a Arc<Snapshot>,
    pub manner: WireFormat,
    /// How the export came compressed.
    pub came: Coding,
    /// What goes on of the caller's head.
    pub headers: &'a HeaderMap,
}

/// A place at a backend, and the form in which it is written to.
#[derive(Clone)]
pub(crate) struct PartTarget {
    pub route: Route,
    pub backend: Arc<Backend>,
    pub format: PartFormat,
}

impl PartTarget {
    pub(crate) fn of(outset: Outset<'_>, permit: &Permit, call: &Call) -> Result<Self, Refusal> {
        let Outset {
            snapshot,
            manner,
            came,
            ..
        } = outset;
        let route = snapshot.route(permit, call)?;
        let profile = snapshot.profile_of(route.backend());
        let compression = snapshot.ingest_settings.compression;
        let format = PartFormat::chosen(manner, came, profile, compression);
        let format = format.ok_or_else(|| Refusal::new(Reason::FormNotTaken))?;
        let route = outgoing::way(route, manner, format, profile)?;
        let backend = snapshot
            .endpoint(&route)
            .cloned()
            .ok_or_else(|| Refusal::new(Reason::UpstreamNotConfigured))?;
        Ok(PartTarget {
            route,
            backend,
            format,
        })
    }

    /// The backend's name, where there are several.
    pub(crate) fn told(&self, snapshot: &Snapshot) -> Option<Arc<str>> {
        snapshot.policy.backends().told(self.route.backend())
    }

    /// A message of so many items on its way there, and how many fields of it the other encoding cannot say. `names`: of its pieces, if it may have
    /// to be cut.
    pub(crate) fn part(
        self,
        outset: Outset<'_>,
        permit: &Permit,
        (message, items): (Vec<Bytes>, u64),
        names: impl FnOnce(&Backend) -> PieceNames,
        held: &mut Reservation,
    ) -> Result<(OutgoingPart, u64), Refusal> {
        let Outset {
            snapshot,
            manner,
            headers,
            ..
        } = outset;
        let PartTarget {
            route,
            backend,
            format,
        } = self;
        let lease = snapshot.vault.lend(permit, &route)?;
        let limit_bytes = outgoing::limit_bytes(&snapshot.limits);
        let profile = snapshot.profile_of(route.backend());
        let exports = profile.exports(manner.signal);
        let bounds = exports.bounds(format.protocol == Protocol::Grpc);
        let mut cutting = None;
        let outgoing = if bounds == Bounds::NONE {
            outgoing::make(manner, format, headers, message, limit_bytes, held)?
        } else {
            let mut formed = outgoing::form(manner, format, headers, message, limit_bytes, held)?;
            let message = std::mem::take(&mut formed.body);
            let mut own = Cutting::new(message, items, bounds, names(&backend), limit_bytes);
            formed.body = own.pack(&mut formed.headers, format, held)?;
            cutting = Some(Box::new(own));
            formed
        };
        let part = OutgoingPart {
            route,
            lease,
            backend,
            format,
            headers: outgoing.headers,
            body: outgoing.body,
            key: None,
            cutting,
        };
        Ok((part, outgoing.unknown))
    }
}
