//! The parts of one export on their way to their projects, and what becomes of each.
//!
//! What it does: sends parts concurrently within a bound, judges the backends' answers as the OTLP specification
//! tells exporters to ("Failures"), and skips what an earlier try delivered. What it refuses to know: how an export
//! was taken apart, and how the caller is answered. Invariant: every part that is given comes back with one result.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cut::{self, Cutting};
use super::format::{PartFormat, WireFormat};
use super::send::{
    Delivered, Said, UpstreamRequest, deliver, is_code_of_the_way, is_of_the_way,
    speaks_of_the_form,
};
use super::{success, translated};
use crate::forward::{Backend, Pieces, Replayable, grpc_code, retry_after};
use crate::limits::Account;
use crate::memory::PartKey;
use crate::otlp::PartialSuccess;
use crate::profiles::{AnswerMeaning, Answers};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::route::Route;
use crate::state::{Shared, Snapshot};
use crate::vault::Lease;

/// One part, ready to go.
pub(crate) struct OutgoingPart {
    pub route: Route,
    pub(crate) lease: Lease,
    pub backend: Arc<Backend>,
    pub format: PartFormat,
    pub headers: HeaderMap,
    /// As it goes out: compressed, and framed for gRPC.
    pub body: Vec<Bytes>,
    /// Its name in the memory of accepted parts, where it may be known there.
    pub key: Option<PartKey>,
    /// What it takes to cut it, if the backend bounds what it takes at once.
    pub cutting: Option<Box<Cutting>>,
}

/// What became of a part.
pub(crate) enum PartResult {
    /// The backend has it, all or but for what it says.
    Taken(Option<PartialSuccess>),
    /// The backend took it at an earlier try.
    Remembered(Option<PartialSuccess>),
    /// It is refused for good: by the backend, or by us before it was sent.
    Refused(Option<Refusal>),
    /// It may be tried again.
    Again(Refusal),
}

/// A part's end.
pub(crate) struct PartOutcome {
    pub(crate) fate: PartResult,
    pub upstream_status: Option<u16>,
    /// What the backend said, to be passed on where it is the only answer.
    pub delivered: Option<Delivered>,
    /// Of pieces that were taken, and of those that were halved: their names, and what was said.
    pub(crate) keys: Vec<(PartKey, Option<PartialSuccess>)>,
    /// How many pieces were sent, if it was cut.
    pub pieces: u64,
    /// Whether it was refused because it is too large.
    pub is_too_large: bool,
    /// Members that pieces could not carry.
    pub unknown: u64,
    /// What backends dropped, as answers say that are not kept.
    pub dropped: HeaderMap,
}

impl PartOutcome {
    pub(crate) fn new(
        fate: PartResult,
        upstream_status: Option<u16>,
        delivered: Option<Delivered>,
    ) -> Self {
        PartOutcome {
            fate,
            upstream_status,
            delivered,
            keys: Vec::new(),
            pieces: 0,
            is_too_large: false,
            unknown: 0,
            dropped: HeaderMap::new(),
        }
    }

    /// What backends say that they dropped of it.
    pub(crate) fn dropped(&self) -> HeaderMap {
        let mut told = self.dropped.clone();
        if let Some(delivered) = &self.delivered {
            delivered.add_dropped(&mut told);
        }
        told
    }

    /// A part that could not be sent at all.
    pub(crate) fn unsent(refusal: Refusal) -> Self {
        let fate = if refusal.class.is_callers() {
            PartResult::Refused(Some(refusal))
        } else {
            PartResult::Again(refusal)
        };
        PartOutcome::new(fate, None, None)
    }
}

/// Sends all parts, `parallel` at once; the outcomes are in the order of the parts.
pub(crate) async fn send_all(
    snapshot: &Arc<Snapshot>,
    shared: &Arc<Shared>,
    account: &Account,
    manner: WireFormat,
    parcels: Vec<Result<OutgoingPart, Refusal>>,
    parallel: usize,
    caller_gone: &watch::Receiver<bool>,
) -> Vec<PartOutcome> {
    let mut outcomes: Vec<Option<PartOutcome>> = Vec::with_capacity(parcels.len());
    let mut waiting = Vec::new();
    for (place, parcel) in parcels.into_iter().enumerate() {
        let outcome = match parcel {
            Err(refusal) => Some(PartOutcome::unsent(refusal)),
            Ok(parcel) => match remembered(shared, &parcel) {
                Some(said) => Some(PartOutcome::new(PartResult::Remembered(said), None, None)),
                None => {
                    waiting.push((place, parcel));
                    None
                }
            },
        };
        outcomes.push(outcome);
    }
    if let [_] = waiting.as_slice() {
        // Nearly all exports: no task of its own.
        for (place, parcel) in waiting {
            let outcome = send(
                snapshot,
                shared,
                account,
                manner,
                parcel,
                caller_gone.clone(),
            )
            .await;
            if let Some(slot) = outcomes.get_mut(place) {
                slot.replace(outcome);
            }
        }
    } else {
        // Nothing here waits for the caller, so that all parts that have begun end, and what was taken is known.
        let mut tasks = JoinSet::new();
        let mut waiting = waiting.into_iter();
        loop {
            while tasks.len() < parallel.max(1)
                && let Some((place, parcel)) = waiting.next()
            {
                let (snapshot, shared, account, gone) = (
                    snapshot.clone(),
                    shared.clone(),
                    account.clone(),
                    caller_gone.clone(),
                );
                tasks.spawn(async move {
                    (
                        place,
                        send(&snapshot, &shared, &account, manner, parcel, gone).await,
                    )
                });
            }
            match tasks.join_next().await {
                Some(Ok((place, outcome))) => {
                    if let Some(slot) = outcomes.get_mut(place) {
                        slot.replace(outcome);
                    }
                }
                // A part whose task panicked keeps its empty place.
                Some(Err(_)) => {}
                None => break,
            }
        }
    }
    let lost = || PartOutcome::unsent(Refusal::new(Reason::InternalError));
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(lost))
        .collect()
}

fn remembered(shared: &Shared, parcel: &OutgoingPart) -> Option<Option<PartialSuccess>> {
    shared
        .remembered
        .find(parcel.key.as_ref()?, shared.clock.now())
}

/// Sends one part.
pub(crate) async fn send(
    snapshot: &Snapshot,
    shared: &Shared,
    account: &Account,
    manner: WireFormat,
    parcel: OutgoingPart,
    caller_gone: watch::Receiver<bool>,
) -> PartOutcome {
    let OutgoingPart {
        route,
        lease,
        backend,
        format,
        headers,
        body,
        key: _,
        cutting,
    } = parcel;
    let sending = Sending {
        snapshot,
        shared,
        account,
        manner,
        route: &route,
        backend: &backend,
        caller_gone,
    };
    match cutting {
        Some(cutting) => cut::send(&sending, lease, format, &headers, body, *cutting).await,
        None => sending.once(lease, format, &headers, body).await,
    }
}

/// Where a part goes, whole or in pieces.
pub(super) struct Sending<'a> {
    pub snapshot: &'a Snapshot,
    pub shared: &'a Shared,
    pub account: &'a Account,
    pub manner: WireFormat,
    pub route: &'a Route,
    pub backend: &'a Backend,
    pub(crate) caller_gone: watch::Receiver<bool>,
}

impl Sending<'_> {
    /// Sends one message, and says what became of it.
    pub(super) async fn once(
        &self,
        lease: Lease,
        format: PartFormat,
        headers: &HeaderMap,
        body: Vec<Bytes>,
    ) -> PartOutcome {
        let manner = self.manner;
        let errand = UpstreamRequest {
            snapshot: self.snapshot,
            shared: self.shared,
            account: self.account,
            route: self.route,
            backend: self.backend,
            protocol: format.protocol,
            headers,
            is_sealed: false,
            deadline: manner.deadline,
        };
        let mut body = Replayable::new(Pieces::new(body).unless(self.caller_gone.clone()));
        let mut delivered = match deliver(&errand, lease, &mut body).await {
            Ok(delivered) => delivered,
            Err(failed) => {
                let fate = PartResult::Again(failed.refusal);
                return PartOutcome::new(fate, failed.upstream_status, None);
            }
        };
        let upstream_status = Some(delivered.said.status().as_u16());
        let answers = &self.snapshot.profile_of(self.route.backend()).answers;
        let JudgedAnswer {
            fate,
            is_too_large,
            is_ours,
        } = judged(manner, format, &mut delivered.said, answers);
        let delivered = (!is_ours).then_some(delivered);
        PartOutcome {
            is_too_large,
            ..PartOutcome::new(fate, upstream_status, delivered)
        }
    }
}

/// What a backend's answer means.
pub(super) struct JudgedAnswer {
    pub fate: PartResult,
    pub(crate) is_too_large: bool,
    /// Whether the caller is told in our words: the answer in the caller's form would be the last word, and may not be.
    pub is_ours: bool,
}

/// Judges an answer to what left in `format`, and puts it into the form of the caller's.
pub(super) fn judged(
    manner: WireFormat,
    format: PartFormat,
    said: &mut Said,
    answers: &Answers,
) -> JudgedAnswer {
    let is_converted = !format.is_of(manner);
    let is_made_here = is_converted || format.is_recoded;
    let fate = match success::settle(manner.leaving(format), said, answers) {
        Some(partial) => PartResult::Taken(partial),
        // The profile says that this form is taken: the caller is not at fault.
        None if is_made_here && speaks_of_the_form(said, format.coding) => {
            PartResult::Again(Refusal::new(Reason::UpstreamFormRefused))
        }
        None => judge(said, answers),
    };
    let is_of_our_form = matches!(
        &fate,
        PartResult::Again(refusal) if refusal.reason == Reason::UpstreamFormRefused
    );
    let is_too_large =
        matches!(fate, PartResult::Refused(_)) && said.meaning(answers) == AnswerMeaning::TooLarge;
    if is_converted {
        let taken = match &fate {
            PartResult::Taken(partial) => Some(partial.as_ref()),
            _ => None,
        };
        *said = translated::translated(manner, said, taken);
    }
    // What a profile alone takes for temporary, and what speaks of the way.
    let is_last_word = is_converted && !translated::may_come_again(said);
    let is_ours = is_of_our_form || (is_last_word && matches!(fate, PartResult::Again(_)));
    JudgedAnswer {
        fate,
        is_too_large,
        is_ours,
    }
}

/// What an answer that is no success means for the part.
fn judge(said: &Said, answers: &Answers) -> PartResult {
    let meaning = said.meaning(answers);
    match said {
        Said::Http(answer) => {
            if answer.headers.contains_key(header::CONTENT_ENCODING) {
                return unusable();
            }
            match (meaning, answer.status.as_u16()) {
                (AnswerMeaning::Again, 429) => PartResult::Again(Refusal::wait(
                    Reason::UpstreamThrottled,
                    retry_after(&answer.headers),
                )),
                (AnswerMeaning::Again, 504) => {
                    PartResult::Again(Refusal::new(Reason::UpstreamTimeout))
                }
                (AnswerMeaning::Again, _) => {
                    PartResult::Again(Refusal::new(Reason::UpstreamUnavailable))
                }
                (AnswerMeaning::TooLarge, _) => PartResult::Refused(None),
                (_, status) if is_of_the_way(status) => unusable(),
                (_, 400..=599) => PartResult::Refused(None),
                _ => unusable(),
            }
        }
        Said::Grpc(answer) => {
            let told = translated::wait_of(answer.trailers.as_ref().unwrap_or(&answer.headers));
            match (answer.status.as_u16(), grpc_code(answer)) {
                // RESOURCE_EXHAUSTED is worth another try only if the backend says so.
                (200, Some(8)) if told.is_some() => throttled(told),
                (429, _) => throttled(told),
                (200, Some(8)) if meaning == AnswerMeaning::Again => throttled(told),
                (200, Some(_)) if meaning == AnswerMeaning::Again => {
                    PartResult::Again(Refusal::new(Reason::UpstreamUnavailable))
                }
                (200, Some(code)) if is_code_of_the_way(code) => unusable(),
                // There are no more (gRPC, "Status codes and their use").
                (200, Some(0..=16)) => PartResult::Refused(None),
                // A proxy before the backend (gRPC over HTTP/2, "HTTP to gRPC status code mapping").
                (502 | 503, _) => PartResult::Again(Refusal::new(Reason::UpstreamUnavailable)),
                (504, _) => PartResult::Again(Refusal::new(Reason::UpstreamTimeout)),
                _ => unusable(),
            }
        }
    }
}

/// `told`: when it wants to be asked again, if it says so.
fn throttled(told: Option<u64>) -> PartResult {
    PartResult::Again(Refusal::wait(Reason::UpstreamThrottled, told.unwrap_or(5)))
}

fn unusable() -> PartResult {
    PartResult::Again(Refusal::new(Reason::UpstreamAnswerUnusable))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, StatusCode};

    use super::*;
    use crate::forward::{Answer, GrpcAnswer};
    use crate::transform::Coding;

    /// `final`, or why the part comes again.
    fn word(said: &Said) -> &'static str {
        match judge(said, &Answers::default()) {
            PartResult::Refused(None) => "final",
            PartResult::Again(refusal) => refusal.reason.code(),
            _ => "taken",
        }
    }

    /// Scenario: every status that a backend, or something before it, may answer an export with. Guarantees: an exporter is
    /// told to drop its data only by what speaks of the export.
    #[test]
    fn only_what_speaks_of_the_export_is_final() {
        let unusable = "upstream_answer_unusable";
        for status in 300..=999 {
            let expected = match status {
                404 | 405 | 407 | 408 | 411 | 414 | 417 | 421 | 425 | 426 | 431 => unusable,
                505 | 511 | 520..=527 | 530 => unusable,
                429 => "upstream_throttled",
                502 | 503 => "upstream_unavailable",
                504 => "upstream_timeout",
                400..=599 => "final",
                _ => unusable,
            };
            let (status, headers) = (StatusCode::from_u16(status).unwrap(), HeaderMap::new());
            assert_eq!(
                word(&Said::Http(Answer {
                    status,
                    headers,
                    body: Bytes::new()
                })),
                expected,
                "{status}"
            );
        }
        let codes = (1..=20).map(|code: u16| code.to_string());
        for code in codes.chain(["255", "65535", "65536", "-1", "x", ""].map(str::to_owned)) {
            let expected = match code.parse() {
                Ok(1 | 4 | 10 | 11 | 14 | 15) => "upstream_unavailable",
                Ok(12) => unusable,
                Ok(1..=16) => "final",
                _ => unusable,
            };
            let told = HeaderMap::from_iter([(
                "grpc-status".parse().unwrap(),
                HeaderValue::from_str(&code).unwrap(),
            )]);
            for (headers, trailers) in
                [(told.clone(), None), (HeaderMap::new(), Some(told.clone()))]
            {
                let answer = GrpcAnswer {
                    status: StatusCode::OK,
                    headers,
                    body: Bytes::new(),
                    trailers,
                };
                assert_eq!(word(&Said::Grpc(answer)), expected, "`{code}`");
            }
        }
    }

    /// Scenario: UNIMPLEMENTED to a part that was compressed here, with what servers say of compressions, and to one that came so.
    /// Guarantees: a refused compression is told from a method that is not there, and only of what was made here.
    #[test]
    fn a_refused_compression_is_no_missing_method() {
        let (form, way) = ("upstream_form_refused", "upstream_answer_unusable");
        let decompressor = "grpc: Decompressor is not installed for grpc-encoding %22zstd%22";
        for (code, codings, words, coding, expected) in [
            ("12", Some("identity,gzip"), "", Coding::Zstd, form),
            ("12", Some("identity"), "no", Coding::Gzip, form),
            ("12", Some(""), "", Coding::Gzip, form),
            ("12", None, decompressor, Coding::Zstd, form),
            ("12", None, decompressor, Coding::Gzip, way),
            ("12", Some("identity, GZIP"), "", Coding::Gzip, way),
            ("12", Some("gzip, zstd"), "", Coding::Zstd, way),
            ("12", Some("gzip"), "", Coding::Identity, way),
            ("12", None, "unknown service", Coding::Zstd, way),
            ("13", Some("gzip"), decompressor, Coding::Zstd, "final"),
            (
                "14",
                None,
                decompressor,
                Coding::Zstd,
                "upstream_unavailable",
            ),
        ] {
            let mut head = HeaderMap::new();
            head.insert("grpc-status", HeaderValue::from_static(code));
            head.insert("grpc-message", HeaderValue::from_static(words));
            if let Some(codings) = codings {
                head.insert("grpc-accept-encoding", HeaderValue::from_static(codings));
            }
            for (is_recoded, in_trailers) in
                [(true, false), (true, true), (false, false), (false, true)]
            {
                // What is accepted stands in the head, whether or not the rest comes behind.
                let (mut headers, mut trailers) = (head.clone(), None);
                if in_trailers {
                    headers.remove("grpc-status");
                    headers.remove("grpc-message");
                    trailers = Some(head.clone());
                }
                let (body, status) = (Bytes::new(), StatusCode::OK);
                let mut said = Said::Grpc(GrpcAnswer {
                    status,
                    headers,
                    body,
                    trailers,
                });
                let manner = WireFormat {
                    signal: crate::otlp::Signal::Logs,
                    encoding: crate::otlp::Encoding::Protobuf,
                    protocol: crate::accept::Protocol::Grpc,
                    deadline: None,
                };
                let format = PartFormat {
                    protocol: manner.protocol,
                    encoding: manner.encoding,
                    coding,
                    is_recoded,
                };
                let expected = if !is_recoded && expected == form {
                    way
                } else {
                    expected
                };
                let judged = judged(manner, format, &mut said, &Answers::default());
                let told = match judged.fate {
                    PartResult::Refused(None) => "final",
                    PartResult::Again(refusal) => refusal.reason.code(),
                    _ => "taken",
                };
                assert_eq!(
                    told, expected,
                    "{code} {codings:?} `{words}` to {coding:?}, recoded: {is_recoded}"
                );
            }
        }
    }

    /// Scenario: RESOURCE_EXHAUSTED with details of every kind. Guarantees: it comes again only where `RetryInfo` says so, which is
    /// where an exporter would come again, too.
    #[test]
    fn only_retry_info_makes_an_exhausted_backend_temporary() {
        use base64::Engine as _;
        let error_info =
            b"\x08\x08\x1a\x2e\x0a\x28type.googleapis.com/google.rpc.ErrorInfo\x12\x02\x0a\x00";
        for (details, expected) in [
            (&b""[..], "final"),
            (b"garbage", "final"),
            (error_info, "final"),
            (
                &crate::otlp::status_with_retry(8, "later", 7),
                "upstream_throttled",
            ),
        ] {
            let details = base64::engine::general_purpose::STANDARD.encode(details);
            let headers = HeaderMap::from_iter([
                (
                    "grpc-status".parse().unwrap(),
                    HeaderValue::from_static("8"),
                ),
                (
                    "grpc-status-details-bin".parse().unwrap(),
                    HeaderValue::from_str(&details).unwrap(),
                ),
            ]);
            let answer = GrpcAnswer {
                status: StatusCode::OK,
                headers,
                body: Bytes::new(),
                trailers: None,
            };
            assert_eq!(word(&Said::Grpc(answer)), expected, "{details}");
        }
    }
}
