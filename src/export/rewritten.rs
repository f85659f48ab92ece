//! Exports that are read: whole body in, stamped parts out, one answer.
//!
//! What it does: takes an export through reading, splitting, stamping and sending, and merges the backends'
//! answers. What it refuses to know: how any of it is done. Invariants: nothing goes upstream before the whole body
//! was read and understood; an export that carries nothing is answered here; the answer is a success only if all that policy lets pass was taken; what was taken while
//! the whole is to be tried again is remembered.

use std::pin::pin;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::watch;

use super::dropped;
use super::format::WireFormat;
use super::joined::weight;
use super::legs::{LegEnds, Legs};
use super::outgoing;
use super::part::{OutgoingPart, PartOutcome, PartResult, send_all};
use super::part_keys::PartKeys;
use super::send::deadline;
use super::success::add_words;
use super::tally::Tally;
use super::target::{Outset, PartTarget};
use super::{reply, streamed};
use crate::accept::{Call, Fault, IngestRequest};
use crate::audit::Items;
use crate::authorize::{Denial, Reach};
use crate::call::body::{coding, message};
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::outcome::{Outcome, PartEnd};
use crate::call::{body, throttle};
use crate::clock::UnixMillis;
use crate::forward::{self, Backend};
use crate::identify::Identity;
use crate::limits::{Limits, Reservation};
use crate::otlp::{self, Encoding, Export, PartialSuccess};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::work::{SMALL_BYTES, SMALL_GROUPS, Work};
use crate::transform::{self, Coding, Part, Split};

/// An export whose sender may write somewhere, before its body has come.
pub(crate) struct Asked<'a> {
    pub call: &'a Call,
    pub ask: &'a IngestRequest,
    pub identity: &'a Identity,
    pub reach: &'a Reach,
}

/// An export that was read and taken apart: nothing of it has left.
pub(crate) struct TakenApart {
    format: WireFormat,
    export: Export,
    pub split: Split,
    tally: Tally,
    /// Decompressed.
    bytes: u64,
    is_large: bool,
    headers: HeaderMap,
    coding: Coding,
    held: Reservation,
    work: Work,
}

/// What was read.
pub(crate) enum Read {
    /// Nothing that an app, a permit or a backend is needed for.
    Empty(WireFormat),
    TakenApart(Box<TakenApart>),
}

/// Reads an export, and takes it apart by whose its resources are.
pub(crate) async fn read(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    asked: &Asked<'_>,
) -> Result<Read, Refusal> {
    let snapshot = context.snapshot();
    let format = WireFormat {
        signal: asked.ask.signal,
        protocol: asked.ask.protocol,
        encoding: asked.ask.encoding,
        deadline: deadline(asked.ask.patience),
    };
    throttle::look(context, asked.reach).await?;
    let coding = coding(exchange.headers(), format.protocol)?;
    let headers = forward::taken(format.protocol, asked.ask.media_type(), exchange.headers());
    let mut held = context.account().open();
    let body = body::read_whole(exchange, format.protocol, &mut held).await?;
    let mut work = Work::of(context.shared(), asked.identity.facts());
    let limit_bytes = snapshot.limits.decompressed_body_bytes;
    let message = message(
        body,
        format.protocol,
        coding,
        limit_bytes,
        &mut work,
        &mut held,
    )
    .await?;
    let bytes = message.len() as u64;
    // An empty body says as much as an empty object does.
    let is_blank = message.is_empty() && format.encoding == Encoding::Json;
    let message = if is_blank {
        Bytes::from_static(b"{}")
    } else {
        message
    };
    let is_large = message.len() > SMALL_BYTES;
    let read = || {
        Export::read(
            format.signal,
            format.encoding,
            message,
            snapshot.policy.wanted(),
        )
    };
    let export = work
        .run(is_large, read)
        .await?
        .map_err(|fault| Refusal::new(Reason::BodyMalformed).because(fault.to_string()))?;
    held.grow(export.working_bytes())?;
    within_attributes(export.most_attributes(), &snapshot.limits)?;
    if export.is_empty() {
        return Ok(Read::Empty(format));
    }
    let is_large = is_large || export.groups().len() > SMALL_GROUPS;
    let take_apart = || {
        let sender = asked.identity.facts();
        let split = transform::split(&export, &snapshot.policy, asked.reach, sender);
        let tally = Tally::of(&export, &split, bytes);
        (split, tally)
    };
    let (split, tally) = work.run(is_large, take_apart).await?;
    work.pause();
    context.shared().metrics.forged(export.forged());
    let apart = TakenApart {
        format,
        export,
        split,
        tally,
        bytes,
        is_large,
        headers,
        coding,
        held,
        work,
    };
    Ok(Read::TakenApart(Box::new(apart)))
}

impl TakenApart {
    /// Why none of it may go anywhere.
    pub(crate) fn denial(&self) -> Option<&Denial> {
        self.split
            .rejected
            .denial
            .as_ref()
            .filter(|_| self.split.parts.is_empty())
    }

    /// Sends the parts, and answers.
    pub(crate) async fn send(
        self: Box<Self>,
        exchange: &mut Exchange<'_>,
        context: &RequestContext,
        asked: &Asked<'_>,
    ) -> Outcome {
        match self.sent(exchange, context, asked).await {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::from(refusal),
        }
    }

    async fn sent(
        mut self: Box<Self>,
        exchange: &mut Exchange<'_>,
        context: &RequestContext,
        asked: &Asked<'_>,
    ) -> Result<Outcome, Refusal> {
        let (snapshot, shared) = (context.snapshot(), context.shared());
        throttle::take(context, &self.export, self.bytes, &self.split)
            .await
            .inspect_err(|_| self.tally.failed(shared, &self.split))?;
        let facts = asked.identity.facts();
        let mut keys = PartKeys::new(
            shared,
            facts,
            self.format.signal,
            &self.export,
            Legs::count(&self.split),
            self.is_large,
        );
        let mut unknown = 0;
        let mut legs = Legs::of(&self.split);
        let outset = Outset {
            snapshot,
            manner: self.format,
            came: self.coding,
            headers: &self.headers,
        };
        let wrap_all = || {
            let mut parcels = Vec::with_capacity(self.split.parts.len());
            for (place, part) in self.split.parts.iter_mut().enumerate() {
                let also = part.take_also();
                let place = (place, &*part);
                let (export, held) = (&self.export, &mut self.held);
                let wrapped = wrap(
                    outset,
                    asked,
                    export,
                    place,
                    !also.is_empty(),
                    &mut keys,
                    &mut unknown,
                    held,
                );
                let message = wrapped.as_ref().ok().map(|(_, message)| message.as_slice());
                legs.add(outset, asked.call, place, also, message, &mut keys, held);
                parcels.push(wrapped.map(|(parcel, _)| parcel));
            }
            parcels.extend(legs.parcels());
            for (parcel, key) in parcels.iter_mut().zip(keys.known()) {
                parcel.iter_mut().for_each(|parcel| parcel.key = *key);
            }
            parcels
        };
        let parcels = self.work.run(self.is_large, wrap_all).await?;
        self.work.pause();
        drop(self.export);
        shared.metrics.not_carried(unknown);
        let parallel = snapshot.ingest_settings.parallel_parts;
        let (tell, gone) = watch::channel(false);
        let sending = pin!(send_all(
            snapshot,
            shared,
            context.account(),
            self.format,
            parcels,
            parallel,
            &gone,
        ));
        let mut outcomes = body::telling(exchange, sending, &tell).await;
        self.tally.settle(shared, &self.split, &outcomes, facts);
        let legs = legs.settle(shared, outset, &mut outcomes);
        Ok(finish(
            exchange,
            context,
            self.format,
            (self.split, unknown),
            (outcomes, legs),
            &keys,
        )
        .await)
    }
}

/// Refuses resources with more attributes than a resource may have.
pub(crate) fn within_attributes(most: usize, limits: &Limits) -> Result<(), Refusal> {
    if most as u64 <= u64::from(limits.attributes_per_resource) {
        return Ok(());
    }
    let detail = format!(
        "a resource has {most} attributes, `limits.attributes` is {}",
        limits.attributes_per_resource
    );
    Err(Refusal::new(Reason::AttributesTooMany).because(detail))
}

/// Answers an export that carries nothing.
pub(crate) async fn empty(exchange: &mut Exchange<'_>, format: WireFormat) -> Outcome {
    let body = otlp::write_answer(format.signal, format.encoding, None);
    let items = Some(Items::default());
    let detail = Some("the export is empty".to_owned());
    exchange.state.known = Some(Outcome {
        items,
        detail,
        ..Outcome::of(Ok(()))
    });
    let written = reply::exported(exchange, format, body, HeaderMap::new()).await;
    exchange
        .state
        .settled(written.map_err(|_| body::client_closed()))
}

/// Makes a part ready to go. With the message that it was made of, if that `is_copied`.
#[allow(
    clippy::too_many_arguments,
    reason = "everything that a part takes with it"
)]
fn wrap(
    outset: Outset<'_>,
    asked: &Asked<'_>,
    export: &Export,
    (place, part): (usize, &Part),
    is_copied: bool,
    keys: &mut PartKeys<'_>,
    unknown: &mut u64,
    held: &mut Reservation,
) -> Result<(OutgoingPart, Vec<Bytes>), Refusal> {
    let Outset {
        snapshot, manner, ..
    } = outset;
    let defect = || Refusal::new(Reason::InternalDefect);
    let permit = part.permits().next().ok_or_else(defect)?;
    let target = PartTarget::of(outset, permit, asked.call)?;
    let stamps = part.stamps(&snapshot.policy, asked.identity.facts());
    let growth = part.growth_bytes(&stamps, manner.encoding);
    // Very many tiny resources: the stamps would be far larger than the export.
    if growth > snapshot.limits.decompressed_body_bytes {
        return Err(Fault::BodyTooLarge.into());
    }
    held.grow(part.written_bytes_at_most(export, &stamps, manner.encoding))?;
    let pieces = part.write(export, &stamps);
    let (told, project) = (target.told(snapshot), part.project().unwrap_or_default());
    keys.keep(place, &target.backend, told.clone(), project, &pieces);
    let message = if is_copied {
        pieces.clone()
    } else {
        Vec::new()
    };
    let called = told.as_deref().unwrap_or_default();
    let names = |backend: &Backend| keys.of_pieces(backend, called, project);
    let (parcel, lost) = target.part(outset, permit, (pieces, part.items()), names, held)?;
    *unknown += lost;
    Ok((parcel, message))
}

/// Merges what became of the parts into one answer.
async fn finish(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    manner: WireFormat,
    (split, unknown): (Split, u64),
    (mut outcomes, legs): (Vec<PartOutcome>, LegEnds),
    keys: &PartKeys<'_>,
) -> Outcome {
    let mut merged = PartialSuccess {
        rejected: split.rejected.items,
        message: String::new(),
    };
    merged.message.extend(split.rejected.message());
    let mut ends = Vec::with_capacity(outcomes.len());
    let mut upstream_status = None;
    let mut again: Option<Refusal> = None;
    let mut final_refusal: Option<Refusal> = None;
    let mut accepted = 0;
    let mut has_taken = false;
    for (place, (part, outcome)) in split.parts.iter().zip(&outcomes).enumerate() {
        let mut taken = 0;
        let (rejected, reason) = match &outcome.fate {
            PartResult::Taken(said) | PartResult::Remembered(said) => {
                has_taken = true;
                let rejected = said
                    .as_ref()
                    .map_or(0, |said| said.rejected.min(part.items()));
                taken = part.items() - rejected;
                accepted += taken;
                if let Some(said) = said {
                    add_words(&mut merged.message, &said.message);
                }
                (
                    rejected,
                    if matches!(outcome.fate, PartResult::Taken(_)) {
                        Reason::Ok
                    } else {
                        Reason::Remembered
                    },
                )
            }
            PartResult::Refused(None) => {
                add_words(
                    &mut merged.message,
                    "the backend refused a part of the export",
                );
                (part.items(), Reason::UpstreamRefused)
            }
            PartResult::Refused(Some(refusal)) => {
                let words = if refusal.reason == Reason::BodyTooLarge {
                    "a part of the export is larger than this gateway accepts"
                } else {
                    "a part of the export cannot be sent to its backend"
                };
                add_words(&mut merged.message, words);
                final_refusal.get_or_insert_with(|| refusal.clone());
                (part.items(), refusal.reason)
            }
            PartResult::Again(refusal) => {
                let worse = again
                    .as_ref()
                    .is_none_or(|first| weight(refusal) > weight(first));
                if worse {
                    again = Some(refusal.clone());
                }
                (0, refusal.reason)
            }
        };
        merged.rejected += rejected;
        upstream_status = outcome.upstream_status.or(upstream_status);
        let items = Items {
            accepted: taken,
            rejected,
        };
        ends.push(PartEnd {
            place,
            items,
            reason,
            upstream_status: outcome.upstream_status,
        });
    }
    ends.retain(|end| legs.ends.iter().all(|known| known.place != end.place));
    ends.extend_from_slice(&legs.ends);
    let items = Some(Items {
        accepted,
        rejected: merged.rejected,
    });
    let detail = detail(&split, unknown, &outcomes);
    let known = Outcome {
        upstream_status,
        items,
        parts: ends,
        detail,
        ..Outcome::of(Ok(()))
    };
    exchange.state.known = Some(known);
    // One part and nothing of ours to say: the backend's own answer.
    if let [only] = outcomes.as_mut_slice()
        && (split.rejected.groups == 0 || !matches!(only.fate, PartResult::Taken(_)))
        && let Some(delivered) = only.delivered.take()
    {
        if let PartResult::Again(refusal) = &only.fate
            && refusal.reason == Reason::UpstreamAnswerUnusable
        {
            return exchange.state.settled(Err(refusal.clone()));
        }
        let is_taken = matches!(only.fate, PartResult::Taken(_));
        let passed = streamed::pass_on(exchange, delivered).await;
        if is_taken && passed.is_ok() {
            keys.forget(&outcomes);
        }
        return exchange.state.settled(passed);
    }
    // What is told of several parts is in the detail already.
    let untold = |refusal: Refusal| Refusal {
        detail: refusal.detail.filter(|_| split.parts.len() == 1),
        ..refusal
    };
    if let Some(refusal) = again {
        remember(context, &outcomes, &legs, keys);
        return exchange.state.settled(Err(untold(refusal)));
    }
    if !has_taken {
        let refusal = final_refusal.unwrap_or_else(|| Refusal::new(Reason::UpstreamRefused));
        return exchange.state.settled(Err(untold(refusal)));
    }
    let mut dropped = HeaderMap::new();
    for outcome in &outcomes {
        dropped::add(&mut dropped, &outcome.dropped());
    }
    let said = (merged.rejected > 0 || !merged.message.is_empty()).then_some(&merged);
    let body = otlp::write_answer(manner.signal, manner.encoding, said);
    if reply::exported(exchange, manner, body, dropped)
        .await
        .is_err()
    {
        // The exporter has not heard of the success, and will come again.
        remember(context, &outcomes, &legs, keys);
        return exchange
            .state
            .settled(Err(Refusal::new(Reason::ClientClosed)));
    }
    keys.forget(&outcomes);
    exchange.state.settled(Ok(()))
}

/// What the record says besides numbers.
fn detail(split: &Split, unknown: u64, outcomes: &[PartOutcome]) -> Option<String> {
    let mut detail = split.rejected.message();
    let unknown = outcomes.iter().fold(unknown, |sum, one| sum + one.unknown);
    if let Some(words) = outgoing::not_carried(unknown) {
        add_words(detail.get_or_insert_default(), &words);
    }
    let pieces: u64 = outcomes.iter().map(|outcome| outcome.pieces).sum();
    if pieces > 0 {
        let words = format!("{pieces} pieces were sent of what is larger than the backend takes");
        add_words(detail.get_or_insert_default(), &words);
    }
    // Of a single part the refusal itself is told.
    let several = split.parts.iter().zip(outcomes);
    for (part, outcome) in several.filter(|_| split.parts.len() > 1) {
        if let PartResult::Refused(Some(refusal)) | PartResult::Again(refusal) = &outcome.fate
            && let Some(why) = &refusal.detail
        {
            let words = format!("project {}: {why}", part.project().unwrap_or("none"));
            add_words(detail.get_or_insert_default(), &words);
        }
    }
    detail
}

/// Keeps in mind what was taken, so that a retry sends only what is missing.
fn remember(
    context: &RequestContext,
    outcomes: &[PartOutcome],
    legs: &LegEnds,
    keys: &PartKeys<'_>,
) {
    let now = context.shared().clock.now();
    let kept =
        i64::try_from(context.snapshot().ingest_settings.remember.as_millis()).unwrap_or(i64::MAX);
    let taken = outcomes
        .iter()
        .enumerate()
        .filter_map(|(place, outcome)| match &outcome.fate {
            PartResult::Taken(said) | PartResult::Remembered(said) => Some((place, said)),
            PartResult::Refused(_) | PartResult::Again(_) => None,
        });
    let joined = |place: &usize| legs.taken.iter().any(|(known, _)| known == place);
    let taken = taken.filter(|(place, _)| !joined(place));
    let apart = legs.taken.iter().map(|(place, said)| (*place, said));
    let until = UnixMillis(now.0.saturating_add(kept));
    keys.remember(taken.chain(apart), until, now);
    for outcome in outcomes {
        keys.remember_pieces(outcome, until, now);
    }
}
