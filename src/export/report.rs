//! Reports in the formats from before OpenTelemetry: whole body in, one rewritten report out.
//!
//! What it does: reads a legacy report, finds its app, puts the project's token into every carrier, and gives the
//! client an answer that makes it behave. What it refuses to know: the formats. Invariants: a body is read before its
//! sender is known only where the sender's token can stand nowhere else, and then on the strangers' part of the memory
//! budget; no token that came in goes out.

use std::pin::pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::borrow::Cow;
use tokio::sync::watch;

use super::outgoing::pack;
use super::rewritten::within_attributes;
use super::send::{Delivered, Said, UpstreamRequest, deadline, deliver, is_of_the_way};
use super::streamed;
use crate::accept::{self, Call, Caller, Fault, LegacyRequest, Shown};
use crate::apps::{Mark, NodeId};
use crate::audit::Items;
use crate::authorize::{Denial, Permit, Policy, Reach};
use crate::call::body::{coding, message};
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::outcome::Outcome;
use crate::call::{body, throttle};
use crate::forward::retry_after;
use crate::forward::{self, GrpcAnswer, Pieces, Replayable, grpc_code};
use crate::identify::{Facts, Identity};
use crate::lightstep::{self, Format, Particulars, Report, Service, Token};
use crate::limits::Reservation;
use crate::media_type;
use crate::memory::coalesce::Unanswered;
use crate::memory::live::StatsUpdate;
use crate::otlp;
use crate::profiles::Accepts;
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::route::Route;
use crate::state::work::{SMALL_BYTES, Work};
use crate::transform::{self, Coding};

/// A report whose body has been read.
pub(crate) struct Opened {
    pub report: Report,
    /// Decompressed.
    bytes: u64,
    coding: Coding,
    headers: HeaderMap,
    held: Reservation,
}

/// Reads the body of a report.
pub(crate) async fn open(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    ask: &LegacyRequest,
    mut work: Work,
) -> Result<Opened, Refusal> {
    let coding = coding(exchange.headers(), ask.protocol)?;
    let headers = forward::taken(ask.protocol, &ask.media_type, exchange.headers());
    let mut held = context.account().open();
    let body = body::read_whole(exchange, ask.protocol, &mut held).await?;
    let limit_bytes = context.snapshot().limits.decompressed_body_bytes;
    let message = message(
        body,
        ask.protocol,
        coding,
        limit_bytes,
        &mut work,
        &mut held,
    )
    .await?;
    let bytes = message.len() as u64;
    held.grow(ask.format.working_bytes(bytes))?;
    let is_large = message.len() > SMALL_BYTES;
    let report = work
        .run(is_large, || Report::read(ask.format, message))
        .await?
        .map_err(|fault| Refusal::new(Reason::BodyMalformed).because(fault.to_string()))?;
    within_attributes(report.most_attributes(), &context.snapshot().limits)?;
    if let Some(id) = report.request_id() {
        exchange
            .state
            .firehose_request
            .get_or_insert_with(|| id.chars().take(128).collect());
    }
    Ok(Opened {
        report,
        bytes,
        coding,
        headers,
        held,
    })
}

impl Opened {
    /// The caller with what the body proves.
    pub(crate) fn identifies(&self, caller: Caller) -> Result<Caller, Refusal> {
        match self.report.token() {
            Token::None => Ok(caller),
            Token::One(token) => Ok(accept::with_body_token(caller, token)?),
            Token::Conflict => Err(Fault::CredentialConflict.into()),
        }
    }
}

/// A report whose sender may write somewhere.
pub(crate) struct Asked<'a> {
    pub call: &'a Call,
    pub ask: &'a LegacyRequest,
    pub identity: &'a Identity,
    pub reach: &'a Reach,
}

/// The body of a report whose sender is known. `opened`: if it was read already; `shown`: what its sender was identified
/// by.
pub(crate) async fn read(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    asked: &Asked<'_>,
    opened: Option<Opened>,
    shown: Shown,
) -> Result<Opened, Refusal> {
    throttle::look(context, asked.reach).await?;
    let opened = match opened {
        Some(mut opened) => {
            opened.held.hand_over(context.account())?;
            opened
        }
        None => {
            let work = Work::of(context.shared(), asked.identity.facts());
            open(exchange, context, asked.ask, work).await?
        }
    };
    match opened.report.token() {
        Token::None => {}
        Token::One(token) => shown.agrees_with(token)?,
        Token::Conflict => return Err(Fault::CredentialConflict.into()),
    }
    context.shared().metrics.forged(opened.report.forged());
    Ok(opened)
}

impl Opened {
    /// Where it goes.
    pub(crate) fn permit(
        &self,
        policy: &Policy,
        asked: &Asked<'_>,
    ) -> Result<(NodeId, Permit), Denial> {
        let sender = asked.identity.facts();
        let node = place(policy, asked.reach, self.report.service(), sender)?;
        Ok((node, policy.permit(asked.reach, node)?))
    }
}

/// Where a permitted report goes, and what opens the way.
pub(crate) struct Way<'a> {
    pub node: NodeId,
    pub permit: &'a Permit,
    pub route: &'a Route,
}

/// Sends the report on, and answers.
pub(crate) async fn send(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    asked: &Asked<'_>,
    opened: Opened,
    way: Way<'_>,
) -> Outcome {
    match sent(exchange, context, asked, opened, way).await {
        Ok(outcome) => outcome,
        Err(failed) => Outcome::from(failed),
    }
}

async fn sent(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    asked: &Asked<'_>,
    opened: Opened,
    Way {
        node,
        permit,
        route,
    }: Way<'_>,
) -> Result<Outcome, Unanswered> {
    let Asked { ask, identity, .. } = *asked;
    let deadline = deadline(ask.patience);
    let Opened {
        report,
        bytes,
        coding,
        mut headers,
        mut held,
    } = opened;
    let (snapshot, shared) = (context.snapshot(), context.shared());
    throttle::take_one(context, node, permit.bindings(), report.items(), bytes).await?;
    let service = match report.service() {
        Service::Name(name) => Some((Box::from(name), report.items())),
        _ => None,
    };
    let defect = || Refusal::new(Reason::InternalDefect);
    let lease = snapshot.vault.lend(permit, route)?;
    let backend = snapshot
        .endpoint(route)
        .cloned()
        .ok_or_else(|| Refusal::new(Reason::UpstreamNotConfigured))?;
    let stamp = stamp(&snapshot.policy, node, permit, identity.facts());
    let token = lease.secret().expose();
    let most = report.written_bytes_at_most(token.len(), &stamp);
    held.grow(most)?;
    let compression = snapshot.ingest_settings.compression;
    // What a profile says of compressions is of OTLP.
    let leaving = compression.leaving(coding, Accepts::default());
    let write = || {
        let pieces = report.write(token, &stamp).map_err(|_| defect())?;
        pack(&mut headers, ask.protocol, leaving, pieces, &mut held)
    };
    // A format without a place for a whole report's stamp may grow much.
    let is_large = most > SMALL_BYTES as u64;
    let body = Work::of(shared, identity.facts())
        .run(is_large, write)
        .await??;
    let errand = UpstreamRequest {
        snapshot,
        shared,
        account: context.account(),
        route,
        backend: &backend,
        protocol: ask.protocol,
        headers: &headers,
        is_sealed: true,
        deadline,
    };
    // The token is in the body: another one would need another body, and the client comes again.
    let (tell, gone) = watch::channel(false);
    let mut body = Replayable::new(Pieces::new(body).unless(gone));
    let delivered = {
        let delivering = pin!(deliver(&errand, lease, &mut body));
        body::telling(exchange, delivering, &tell).await?
    };
    drop(body);
    let outcome = settle(exchange, context, ask.format, report.items(), delivered).await;
    if outcome.items.is_some_and(|items| items.accepted > 0) {
        let beat = StatsUpdate {
            services: service.as_slice(),
            items: report.items(),
            bytes,
        };
        shared
            .live
            .accepted(permit.app(), identity.facts(), &beat, shared.clock.now());
    }
    Ok(outcome)
}

/// What is put on a report. A tag cannot be taken out of every format, only replaced: what the sender's token should prove,
/// and does not, is empty.
fn stamp<'a>(
    policy: &'a Policy,
    node: NodeId,
    permit: &'a Permit,
    sender: &'a Facts,
) -> Vec<(&'a str, &'a str)> {
    let mut stamp = transform::stamped_attributes(policy, node, permit.app(), sender);
    for attribute in &sender.attributes {
        if !stamp.iter().any(|(name, _)| *name == &*attribute.name) {
            stamp.push((&attribute.name, ""));
        }
    }
    stamp
}

/// The app that a report goes to: the one that all its services belong to. A report is not taken apart.
fn place(
    policy: &Policy,
    reach: &Reach,
    service: Service<'_>,
    sender: &Facts,
) -> Result<NodeId, Denial> {
    let of = |said: Service<'_>| {
        policy.assign(reach, &|name: &str| {
            let said = match (name, said) {
                ("service.name", Service::Name(name)) => Mark::Text(Cow::Borrowed(name)),
                ("service.name", Service::Ambiguous | Service::Several(_)) => Mark::Ambiguous,
                _ => Mark::Absent,
            };
            transform::proven_mark(sender, name).unwrap_or(said)
        })
    };
    let Service::Several(names) = service else {
        return of(service);
    };
    let mut common = None;
    for name in names {
        let node = of(Service::Name(name))?;
        if *common.get_or_insert(node) != node {
            return of(Service::Ambiguous);
        }
    }
    common.map_or_else(|| of(Service::Absent), Ok)
}

/// Gives the client the backend's answer, as far as its format allows and without commands.
async fn settle(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    format: Format,
    items: u64,
    delivered: Delivered,
) -> Outcome {
    let pass_commands = context.snapshot().ingest_settings.pass_commands;
    let Delivered { said, held } = delivered;
    let upstream_status = Some(said.status().as_u16());
    let said = match said {
        Said::Http(mut answer) => {
            match answer.status.as_u16() {
                status @ 200..=299 => {
                    // Zipkin's own servers say 202; other clients send again what was not answered by 200.
                    if format != Format::Zipkin || status == 204 {
                        answer.status = StatusCode::OK;
                    }
                    let coded = answer.headers.remove(header::CONTENT_ENCODING).is_some();
                    let clean = lightstep::sanitize(format, &answer.body, pass_commands)
                        .ok()
                        .filter(|_| !coded);
                    answer.body = clean.map_or_else(
                        || {
                            let (kind, body) = success(exchange, format);
                            answer
                                .headers
                                .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                            body.into()
                        },
                        Bytes::from,
                    );
                }
                // Its words are not made for this client: some would send the same for ever.
                status => {
                    let refusal = refused(status, &answer.headers);
                    let is_final = refusal.reason == Reason::UpstreamRefused;
                    let items = is_final.then_some(Items {
                        accepted: 0,
                        rejected: items,
                    });
                    return Outcome {
                        items,
                        ..Outcome::of(Err(refusal)).with_status(upstream_status)
                    };
                }
            }
            Said::Http(answer)
        }
        Said::Grpc(mut answer) => {
            if answer.status.is_success() && grpc_code(&answer) == Some(0) {
                answer.status = StatusCode::OK;
                answer.body = clean_grpc(&answer, format, pass_commands).unwrap_or_else(|| {
                    otlp::frame(false, vec![success(exchange, format).1.into()])
                        .concat()
                        .into()
                });
                answer
                    .trailers
                    .get_or_insert_with(|| answer.headers.clone());
                answer.headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static(media_type::GRPC),
                );
            }
            Said::Grpc(answer)
        }
    };
    let is_taken = match &said {
        Said::Http(_) => true,
        Said::Grpc(answer) => grpc_code(answer) == Some(0),
    };
    let items = is_taken.then_some(Items {
        accepted: items,
        rejected: 0,
    });
    exchange.state.known = Some(Outcome {
        items,
        ..Outcome::of(Ok(())).with_status(upstream_status)
    });
    let answered = streamed::pass_on(exchange, Delivered { said, held }).await;
    exchange.state.settled(answered)
}

/// What the client is told where the backend took a report and said so in words that are not its format's.
fn success(exchange: &Exchange<'_>, format: Format) -> (&'static str, Vec<u8>) {
    let particulars = Particulars {
        now: Some(exchange.shared().clock.now()),
        firehose_request: exchange.state.firehose_request.as_deref(),
    };
    lightstep::success(format, &particulars)
}

/// What the client is told instead of the backend's words. What the backend says of our own way of asking, a wrong
/// path for instance, is not laid at the client's door.
fn refused(status: u16, headers: &HeaderMap) -> Refusal {
    let class = match status {
        429 => return Refusal::wait(Reason::UpstreamThrottled, retry_after(headers)),
        504 => return Refusal::new(Reason::UpstreamTimeout),
        413 => Class::BodyTooLarge,
        status if is_of_the_way(status) || (500..=599).contains(&status) => {
            return Refusal::new(Reason::UpstreamUnavailable);
        }
        400..=499 => Class::RefusedUpstream,
        _ => return Refusal::new(Reason::UpstreamAnswerUnusable),
    };
    Refusal::classed(Reason::UpstreamRefused, class)
}

fn clean_grpc(answer: &GrpcAnswer, format: Format, pass_commands: bool) -> Option<Bytes> {
    let (compressed, message) = otlp::unframe(&answer.body).ok()?;
    if compressed {
        return None;
    }
    let clean = lightstep::sanitize(format, &message, pass_commands).ok()?;
    Some(otlp::frame(false, vec![clean.into()]).concat().into())
}
