//! A part of which its backend may take less at once, in pieces.
//!
//! What it does: cuts a part by the bounds of its backend's profile, sends piece after piece in their order, halves what is still
//! too large, and makes one outcome of all answers. What it refuses to know: how a message is cut, and how an answer is judged.
//! Invariants: a part is cut the same way at every try, first by what is promised, then in halves, so that a piece that was taken
//! is known by its bytes and is not sent again; each item is taken, told as rejected, or comes again; what is sent for one part is
//! bounded.

use std::sync::OnceLock;

use bytes::Bytes;
use http::HeaderMap;

use super::format::PartFormat;
use super::outgoing;
use super::part::{PartOutcome, PartResult, Sending};
use super::send::Delivered;
use super::success::add_words;
use crate::accept::Protocol;
use crate::limits::Reservation;
use crate::memory::learned_bounds::Destination;
use crate::memory::{ExportDigest, Likeness, PartKey, PartScope, Sender};
use crate::otlp::{self, Cut, Encoding, PartialSuccess, PieceBounds, Signal};
use crate::profiles::Bounds;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::work::{SMALL_BYTES, beside};
use crate::transform::Coding;
use crate::vault::Lease;

/// How often a piece is halved because it is too large packed, or because the backend takes less than it promises.
const HALVINGS: u8 = 8;
/// How many of the smallest pieces may be refused as too large before any is taken: a backend that throttles, or a proxy that
/// refuses all, says the same, and is not asked for each item.
const REFUSED_AT_FIRST: u8 = 3;
/// Before the bytes of a piece that was halved: no message begins so.
const HALVED: &[u8] = b"\0halved";
/// A gRPC message's prefix, which bounds do not count.
const PREFIX_BYTES: u64 = 5;

/// What a part needs to be cut.
pub(crate) struct Cutting {
    /// As it goes out, before it is compressed and framed.
    pub message: Vec<Bytes>,
    pub items: u64,
    pub bounds: Bounds,
    pub(crate) names: PieceNames,
    /// Whether it is larger than what is promised.
    pub is_over: bool,
    /// How long a message may become in another encoding.
    pub limit_bytes: u64,
}

impl Cutting {
    /// `message`: as it goes out, before it is compressed.
    pub(crate) fn new(
        message: Vec<Bytes>,
        items: u64,
        bounds: Bounds,
        names: PieceNames,
        limit_bytes: u64,
    ) -> Self {
        Cutting {
            message,
            items,
            bounds,
            names,
            is_over: false,
            limit_bytes,
        }
    }

    /// Compresses and frames the message, and says so in its head; nothing, where it is larger than what is promised.
    pub(crate) fn pack(
        &mut self,
        headers: &mut HeaderMap,
        format: PartFormat,
        held: &mut Reservation,
    ) -> Result<Vec<Bytes>, Refusal> {
        let unpacked = length(&self.message);
        self.is_over = unpacked > self.bounds.unpacked_bytes || self.items > self.bounds.items;
        if self.is_over {
            return Ok(Vec::new());
        }
        let message = self.message.clone();
        let body = outgoing::pack(headers, format.protocol, format.coding, message, held)?;
        self.is_over = packed(&body, format) > self.bounds.packed_bytes;
        Ok(if self.is_over { Vec::new() } else { body })
    }
}

fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// How long a body is as bounds count it.
fn packed(body: &[Bytes], format: PartFormat) -> u64 {
    let prefix = match format.protocol {
        Protocol::Grpc => PREFIX_BYTES,
        Protocol::Http => 0,
    };
    length(body).saturating_sub(prefix)
}

/// What the names of a part's pieces are made of, in the memory of what was taken.
pub(crate) struct PieceNames {
    pub method: &'static str,
    pub issuer: String,
    pub subject: String,
    pub upstream: String,
    /// What the backend is called, where there are several.
    pub backend: String,
    pub project: String,
    pub signal: Signal,
    pub(crate) likeness: Likeness,
    pub(crate) sender: Sender,
    /// The whole export as it was read.
    pub export: Bytes,
    pub(crate) digest: OnceLock<ExportDigest>,
}

impl PieceNames {
    fn of(&self, pieces: &[Bytes]) -> PartKey {
        let digest = self.digest.get_or_init(|| ExportDigest::of(&self.export));
        let scope = PartScope {
            method: self.method,
            issuer: &self.issuer,
            subject: &self.subject,
            upstream: &self.upstream,
            backend: &self.backend,
            project: &self.project,
            signal: self.signal,
            export: *digest,
            likeness: self.likeness,
            sender: self.sender,
        };
        PartKey::of_part(&scope, pieces)
    }

    /// Says that a piece was halved: a half may have been taken.
    fn halved(&self, piece: &Bytes) -> PartKey {
        self.of(&[Bytes::from_static(HALVED), piece.clone()])
    }
}

/// A message that is to be sent.
struct Piece {
    message: Bytes,
    items: u64,
    halvings: u8,
}

/// What became of the pieces so far.
#[derive(Default)]
struct PieceResults {
    said: PartialSuccess,
    has_taken: bool,
    /// The first answer that refuses a piece for good.
    refused: Option<Delivered>,
    refused_items: u64,
    again: Option<Refusal>,
    upstream_status: Option<u16>,
    keys: Vec<(PartKey, Option<PartialSuccess>)>,
    sent: u64,
    too_large: u64,
    /// Members that pieces cannot carry.
    unknown: u64,
    /// What the backend dropped of pieces that it took, as it says.
    dropped: HeaderMap,
    /// The least size of several items that the backend refused as too large.
    refused_bytes: Option<usize>,
    /// Smallest pieces that it refused so.
    refused_smallest: u8,
}

impl PieceResults {
    fn taken(&mut self, said: Option<PartialSuccess>) {
        self.has_taken = true;
        if let Some(said) = said {
            self.said.rejected += said.rejected;
            add_words(&mut self.said.message, &said.message);
        }
    }

    /// Items that no piece can be small enough for.
    fn too_large(&mut self, items: u64, first: Option<&str>) {
        self.too_large += items;
        self.said.rejected += items;
        add_words(&mut self.said.message, first.unwrap_or_default());
    }

    /// Nothing of it is small enough, or none of it is too large.
    fn is_refused_whole(&self) -> bool {
        self.too_large == 0 || self.is_hopeless()
    }

    /// Smaller pieces are no better.
    fn is_hopeless(&self) -> bool {
        !self.has_taken && self.refused_smallest >= REFUSED_AT_FIRST
    }

    fn outcome(mut self) -> PartOutcome {
        let fate = match self.again {
            Some(again) => PartResult::Again(again),
            None if !self.has_taken && self.refused.is_some() && self.is_refused_whole() => {
                PartResult::Refused(None)
            }
            None => {
                if self.refused_items > 0 {
                    self.said.rejected += self.refused_items;
                    let words = "the backend refused a part of the export";
                    add_words(&mut self.said.message, words);
                }
                let says = self.said != PartialSuccess::default();
                PartResult::Taken(says.then_some(self.said))
            }
        };
        let is_refused = matches!(fate, PartResult::Refused(_));
        PartOutcome {
            fate,
            upstream_status: self.upstream_status,
            delivered: self.refused.filter(|_| is_refused),
            keys: self.keys,
            pieces: self.sent,
            is_too_large: false,
            unknown: self.unknown,
            dropped: self.dropped,
        }
    }
}

/// Sends a part. `body`: as it goes out, if it is within what is promised.
pub(crate) async fn send(
    sending: &Sending<'_>,
    lease: Lease,
    format: PartFormat,
    headers: &HeaderMap,
    body: Vec<Bytes>,
    cutting: Cutting,
) -> PartOutcome {
    let shared = sending.shared;
    let bytes = usize::try_from(length(&cutting.message)).unwrap_or(usize::MAX);
    let mut cutter = Cutter {
        sending,
        headers: headers.clone(),
        format,
        may_know: shared.remembered.may_know(cutting.names.likeness),
        to: (
            cutting.names.upstream.clone(),
            cutting.names.signal,
            format.protocol == Protocol::Grpc,
        ),
        held: sending.account.open(),
        merged: PieceResults::default(),
        cutting,
    };
    let mut is_refused = false;
    let mut lease = Some(lease);
    // Where nothing is known of it, it is sent as it is.
    if !cutter.cutting.is_over && !cutter.may_know && !cutter.is_known_too_large(bytes) {
        let next = lease.as_ref().and_then(Lease::another);
        if let Some(lease) = lease.take() {
            let whole = sending.once(lease, format, headers, body).await;
            if !whole.is_too_large {
                return whole;
            }
            cutter.merged.upstream_status = whole.upstream_status;
        }
        cutter.refused(bytes, cutter.cutting.items);
        (lease, is_refused) = (next, true);
    }
    let refused = cutter.all(lease, is_refused).await.err();
    let metrics = &shared.metrics;
    metrics.cut(
        cutter.to.1.name(),
        cutter.merged.sent,
        cutter.merged.too_large,
    );
    if let Some(refusal) = refused {
        if refusal.class.is_callers() && !cutter.merged.has_taken {
            return PartOutcome::unsent(refusal);
        }
        cutter.merged.again.get_or_insert(refusal);
    }
    cutter.merged.outcome()
}

/// A part that is being sent in pieces.
struct Cutter<'a> {
    sending: &'a Sending<'a>,
    headers: HeaderMap,
    format: PartFormat,
    /// Whether a piece of an export like this was taken before.
    may_know: bool,
    to: Destination,
    /// Holds what is written anew of the part.
    held: Reservation,
    merged: PieceResults,
    cutting: Cutting,
}

impl Cutter<'_> {
    /// Sends all pieces, until one must come again.
    async fn all(&mut self, mut lease: Option<Lease>, is_refused: bool) -> Result<(), Refusal> {
        let message = self.whole()?;
        let cut = match self.cutting.is_over {
            true => Some(self.cut(&message, self.most())?),
            false => None,
        };
        if let Some(cut) = &cut {
            let oversized = cut.oversized();
            if oversized.items > 0 || oversized.first.is_some() {
                self.merged
                    .too_large(oversized.items, oversized.first.as_deref());
            }
        }
        for place in 0..cut.as_ref().map_or(1, Cut::len) {
            let first = match &cut {
                Some(cut) => self.piece(cut, place, 0),
                None => Piece {
                    message: message.clone(),
                    items: self.cutting.items,
                    halvings: 0,
                },
            };
            let mut is_refused = is_refused;
            let mut open = vec![first];
            while let Some(piece) = open.pop() {
                let mut beside = self.held.beside();
                beside.grow(piece.message.len() as u64)?;
                let next = lease.as_ref().and_then(Lease::another);
                let now = lease
                    .take()
                    .ok_or_else(|| Refusal::new(Reason::CredentialMissing))?;
                lease = next;
                if let Some(halves) = self.one(piece, now, is_refused, &mut beside).await? {
                    open.extend(halves.into_iter().rev());
                }
                is_refused = false;
                if self.merged.again.is_some() || self.merged.is_hopeless() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Sends a piece, or gives its halves. `is_refused`: the backend refused it as too large.
    async fn one(
        &mut self,
        piece: Piece,
        lease: Lease,
        is_refused: bool,
        held: &mut Reservation,
    ) -> Result<Option<[Piece; 2]>, Refusal> {
        let shared = self.sending.shared;
        let bytes = piece.message.len();
        let mut was_halved = false;
        if self.may_know {
            let name = |key: PartKey| shared.remembered.find(&key, shared.clock.now());
            let key = beside(bytes > SMALL_BYTES, || {
                self.cutting.names.of(std::slice::from_ref(&piece.message))
            });
            if let Some(said) = name(key) {
                self.merged.taken(said.clone());
                self.merged.keys.push((key, said));
                return Ok(None);
            }
            let halved = beside(bytes > SMALL_BYTES, || {
                self.cutting.names.halved(&piece.message)
            });
            was_halved = name(halved).is_some();
        }
        if is_refused || was_halved || self.is_known_too_large(bytes) {
            match self.halves(&piece)? {
                Some(halves) => return Ok(Some(halves)),
                None if is_refused => {
                    self.give_up(&piece);
                    return Ok(None);
                }
                None => {}
            }
        }
        let mut headers = self.headers.clone();
        let (format, bounds) = (self.format, self.cutting.bounds);
        let signal = self.to.1;
        let limit_bytes = self.cutting.limit_bytes;
        let message = piece.message.clone();
        let packed = beside(bytes > SMALL_BYTES, || {
            let message = match format.encoding {
                Encoding::Protobuf => message,
                Encoding::Json => {
                    otlp::transcode(signal, Encoding::Protobuf, &message, limit_bytes, held)
                        .map_err(outgoing::refused)?
                        .message
                }
            };
            let unpacked = message.len() as u64;
            let body = outgoing::pack(
                &mut headers,
                format.protocol,
                format.coding,
                vec![message],
                held,
            )?;
            Ok::<_, Refusal>((unpacked, body))
        });
        let (unpacked, body) = packed?;
        if unpacked > bounds.unpacked_bytes || self::packed(&body, format) > bounds.packed_bytes {
            let halves = self.halves(&piece)?;
            if halves.is_none() {
                self.give_up(&piece);
            }
            return Ok(halves);
        }
        let outcome = self.sending.once(lease, format, &headers, body).await;
        self.merged.sent += 1;
        self.merged.upstream_status = outcome.upstream_status.or(self.merged.upstream_status);
        if outcome.is_too_large {
            self.refused(bytes, piece.items);
            let halves = self.halves(&piece)?;
            if halves.is_none() {
                self.merged.refused_smallest = self.merged.refused_smallest.saturating_add(1);
                self.merged.refused = self.merged.refused.take().or(outcome.delivered);
                self.give_up(&piece);
            }
            return Ok(halves);
        }
        match outcome.fate {
            PartResult::Taken(said) | PartResult::Remembered(said) => {
                let names = &self.cutting.names;
                let key = beside(bytes > SMALL_BYTES, || {
                    names.of(std::slice::from_ref(&piece.message))
                });
                self.merged.taken(said.clone());
                self.merged.keys.push((key, said));
                if let Some(delivered) = &outcome.delivered {
                    delivered.add_dropped(&mut self.merged.dropped);
                }
                self.learn(bytes);
            }
            PartResult::Refused(_) => {
                self.merged.refused_items += piece.items;
                self.merged.refused = self.merged.refused.take().or(outcome.delivered);
            }
            PartResult::Again(refusal) => self.merged.again = Some(refusal),
        }
        Ok(None)
    }

    /// The message in protobuf, in one.
    fn whole(&mut self) -> Result<Bytes, Refusal> {
        let length = length(&self.cutting.message) as usize;
        let message: Bytes = match self.cutting.message.as_slice() {
            [only] => only.clone(),
            pieces => {
                self.held.grow(length as u64)?;
                beside(length > SMALL_BYTES, || pieces.concat().into())
            }
        };
        if self.format.encoding == Encoding::Protobuf {
            return Ok(message);
        }
        let (signal, limit_bytes) = (self.to.1, self.cutting.limit_bytes);
        let held = &mut self.held;
        let transcoded = beside(length > SMALL_BYTES, || {
            otlp::transcode(signal, Encoding::Json, &message, limit_bytes, held)
        });
        let transcoded = transcoded.map_err(outgoing::refused)?;
        self.sending.shared.metrics.not_carried(transcoded.unknown);
        self.merged.unknown += transcoded.unknown;
        let message = transcoded.message;
        let Sending {
            snapshot, route, ..
        } = self.sending;
        let profile = snapshot.profile_of(route.backend());
        if profile.takes(signal, self.to.2, Encoding::Protobuf) {
            self.format.encoding = Encoding::Protobuf;
            self.headers = outgoing::headers_of(self.format);
        }
        Ok(message)
    }

    /// The most of one piece.
    fn most(&self) -> PieceBounds {
        let bounds = self.cutting.bounds;
        let bytes = match self.format.coding {
            Coding::Identity => bounds.unpacked_bytes.min(bounds.packed_bytes),
            _ => bounds.unpacked_bytes,
        };
        PieceBounds {
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            items: bounds.items,
        }
    }

    fn cut(&mut self, message: &Bytes, bounds: PieceBounds) -> Result<Cut, Refusal> {
        let cut = || Cut::of(self.to.1, message, bounds);
        let cut = beside(message.len() > SMALL_BYTES, cut).map_err(uncut)?;
        self.held.grow(cut.working_bytes())?;
        Ok(cut)
    }

    fn piece(&self, cut: &Cut, place: usize, halvings: u8) -> Piece {
        let write = || cut.write(place).concat().into();
        Piece {
            message: beside(cut.bytes(place) > SMALL_BYTES, write),
            items: cut.items(place),
            halvings,
        }
    }

    /// Both halves of a piece, in their order; `None`: it is but one item, or was halved often enough.
    fn halves(&mut self, piece: &Piece) -> Result<Option<[Piece; 2]>, Refusal> {
        if piece.halvings >= HALVINGS {
            return Ok(None);
        }
        let is_large = piece.message.len() > SMALL_BYTES;
        let cut = || Cut::in_half(self.to.1, &piece.message);
        let cut = beside(is_large, cut).map_err(uncut)?;
        if cut.len() != 2 {
            return Ok(None);
        }
        let names = &self.cutting.names;
        let key = beside(is_large, || names.halved(&piece.message));
        self.merged.keys.push((key, None));
        let half = |place| self.piece(&cut, place, piece.halvings + 1);
        Ok(Some([half(0), half(1)]))
    }

    /// Says of a piece that it cannot be made small enough.
    fn give_up(&mut self, piece: &Piece) {
        let nothing = PieceBounds {
            bytes: 1,
            items: u64::MAX,
        };
        let cut = Cut::of(self.to.1, &piece.message, nothing).ok();
        let first = cut
            .as_ref()
            .and_then(|cut| cut.oversized().first.as_deref());
        self.merged.too_large(piece.items, first);
    }

    fn is_known_too_large(&self, bytes: usize) -> bool {
        let shared = self.sending.shared;
        shared
            .learned_bounds
            .is_too_large(&self.to, bytes, shared.clock.now())
    }

    /// The backend says that a message is too large. Of one item that says nothing about others.
    fn refused(&mut self, bytes: usize, items: u64) {
        if items > 1 {
            let least = self.merged.refused_bytes.unwrap_or(usize::MAX);
            self.merged.refused_bytes = Some(least.min(bytes));
        }
    }

    /// Keeps in mind that the backend takes less than it promises, once it has taken what is smaller than what it refused.
    fn learn(&mut self, taken_bytes: usize) {
        let Some(bytes) = self
            .merged
            .refused_bytes
            .filter(|least| *least > taken_bytes)
        else {
            return;
        };
        let shared = self.sending.shared;
        if shared
            .learned_bounds
            .refused(&self.to, bytes, shared.clock.now())
        {
            shared.bound_learned(&self.to.0, self.to.1.name(), bytes);
        }
    }
}

/// What must be repeated in each piece is so long that there would be too many.
fn uncut(fault: otlp::CutFault) -> Refusal {
    Refusal::new(Reason::TooLargeForBackend).because(fault.to_string())
}
