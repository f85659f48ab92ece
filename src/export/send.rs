//! One body to one backend, with the project's credential.
//!
//! What it does: sends an export over either transport, and tries the next token of the list if the backend
//! refuses the first. What it refuses to know: where the body comes from, and what becomes of the answer.
//! Invariants: a refused credential of ours is never told to the caller as the caller's fault; a body is sent with
//! another token only if it can be sent whole; no credential of ours is in an answer that leaves here; a page is not the
//! backend's answer; nothing is sent for a caller that has stopped waiting.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};
use tokio::time::Instant;

use super::dropped;
use crate::accept::Protocol;
use crate::call::echoes::EchoGuard;
use crate::forward::{
    self, Answer, Backend, GrpcAnswer, Intake, Repeat, Replayable, Supply, grpc_code,
};
use crate::limits::{Account, Reservation};
use crate::media_type::{self, MediaType};
use crate::memory::coalesce::Unanswered;
use crate::profiles::{AnswerMeaning, Answers};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::route::Route;
use crate::state::{Shared, Snapshot};
use crate::transform::Coding;
use crate::vault::Lease;

/// The largest answer to an export (OTLP specification: 4 MiB).
const ANSWER_LIMIT_BYTES: u64 = 4 << 20;

/// All that an export needs on its way but the body and the credential.
pub(crate) struct UpstreamRequest<'a> {
    pub snapshot: &'a Snapshot,
    pub shared: &'a Shared,
    /// The caller that the answer is held for.
    pub account: &'a Account,
    pub route: &'a Route,
    pub backend: &'a Backend,
    pub protocol: Protocol,
    /// What goes on of the caller's head, or stands for it.
    pub headers: &'a HeaderMap,
    /// Whether the body holds the credential too, so that another one would need another body.
    pub(crate) is_sealed: bool,
    /// When the caller stops waiting, if it said so.
    pub deadline: Option<Instant>,
}

impl UpstreamRequest<'_> {
    /// The backend's name, where there are several.
    fn told(&self) -> Option<Arc<str>> {
        let names = self.snapshot.policy.backends();
        names.told(self.route.backend())
    }
}

/// When a caller that waits so long stops waiting. What cannot be counted is for ever.
pub(crate) fn deadline(patience: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(patience?)
}

/// What the backend said.
pub(crate) enum Said {
    Http(Answer),
    Grpc(GrpcAnswer),
}

/// A backend's answer, and what goes with it.
pub(crate) struct Delivered {
    /// Without any credential of ours.
    pub said: Said,
    /// Holds the answer's place in the memory budget.
    pub held: Reservation,
}

impl Delivered {
    /// Adds what the backend says that it dropped.
    pub(super) fn add_dropped(&self, to: &mut HeaderMap) {
        if let Said::Grpc(answer) = &self.said {
            dropped::add(to, &dropped::told(answer));
        }
    }
}

impl Said {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Said::Http(answer) => answer.status,
            Said::Grpc(answer) => answer.status,
        }
    }

    /// What it means, by its code where there is one.
    pub(crate) fn meaning(&self, answers: &Answers) -> AnswerMeaning {
        match self {
            Said::Grpc(answer) if answer.status == StatusCode::OK => {
                grpc_code(answer).map_or(AnswerMeaning::Other, |code| answers.of_code(code))
            }
            said => answers.of_status(said.status().as_u16()),
        }
    }

    /// A page: something else answered in the backend's place, as a captive portal, a login or a proxy's own site does.
    /// Where a status means the same from every sender (our credential, the export's size, come again), it counts.
    fn is_page(&self, answers: &Answers) -> bool {
        let headers = match self {
            Said::Http(answer) => &answer.headers,
            Said::Grpc(answer) => &answer.headers,
        };
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let is_html = types.any(|value| MediaType::glimpse(value.as_bytes()).is(media_type::HTML));
        let meaning = answers.of_status(self.status().as_u16());
        is_html && matches!(meaning, AnswerMeaning::Success | AnswerMeaning::Other)
    }

    fn without_credentials(&mut self, errand: &UpstreamRequest<'_>) {
        let mut guard = EchoGuard::new(
            errand.shared,
            errand.snapshot,
            errand.route.path_and_query(),
        );
        match self {
            Said::Http(answer) => guard.answer(answer),
            Said::Grpc(answer) => guard.grpc(answer),
        }
    }

    /// Whether it is our own credential that the backend refuses. Legacy clients were told so by 400, in words
    /// (`is_report`: what was sent is such a client's).
    fn refuses_us(&self, is_report: bool, answers: &Answers) -> bool {
        let refused = |meaning| meaning == AnswerMeaning::CredentialRefused;
        let forbidden = refused(answers.of_status(self.status().as_u16()));
        match self {
            Said::Http(answer) => {
                forbidden || (is_report && answer.status == 400 && speaks_of_tokens(&answer.body))
            }
            Said::Grpc(answer) => {
                let code = grpc_code(answer);
                forbidden || code.is_some_and(|code| refused(answers.of_code(code)))
            }
        }
    }

    /// Of an answer that the profile takes for something else than an exporter would: what the exporter is told instead.
    fn unlike_the_specification(&self, answers: &Answers) -> Option<Reason> {
        let Said::Http(answer) = self else {
            return None;
        };
        let status = answer.status;
        match answers.of_status(status.as_u16()) {
            AnswerMeaning::Again if !matches!(status.as_u16(), 429 | 502..=504) => {
                Some(Reason::UpstreamUnavailable)
            }
            AnswerMeaning::Other if status.is_success() => Some(Reason::UpstreamAnswerUnusable),
            _ => None,
        }
    }
}

/// Whether a status speaks of the way to the backend and not of the export, whose path, method, head and framing are ours:
/// nothing is there, or nothing that takes exports (404, 405; RFC 9110 section 15.5), a proxy or the network wants to know us
/// first (407; 511, RFC 6585 section 6), the connection was too slow, another host's, or too early (408, 421; 425, RFC 8470
/// section 5.2), our framing, target, head or version is not liked (411, 414, 417, 426, 431, 505), or what stands before the
/// backend did not reach it (520 to 527 and 530, as Cloudflare has them). An exporter would take any of them for the last
/// word (OTLP specification, "Failures").
pub(crate) fn is_of_the_way(status: u16) -> bool {
    matches!(
        status,
        404 | 405 | 407 | 408 | 411 | 414 | 417 | 421 | 425 | 426 | 431 | 505 | 511 | 520
            ..=527 | 530
    )
}

/// The same of a gRPC code: the method is ours (UNIMPLEMENTED).
pub(crate) fn is_code_of_the_way(code: u16) -> bool {
    code == 12
}

/// Whether an answer speaks of the form that the export was put into here, encoding or compression: 406 and 415 (RFC 9110 sections
/// 15.5.7 and 15.5.16); over gRPC also UNIMPLEMENTED where the compression is meant, as what is accepted then (gRPC,
/// "Compression") or, from servers that do not say it, the words tell.
pub(crate) fn speaks_of_the_form(said: &Said, coding: Coding) -> bool {
    let answer = match said {
        Said::Http(answer) => return is_of_the_form(answer.status.as_u16()),
        Said::Grpc(answer) if answer.status != StatusCode::OK => {
            return is_of_the_form(answer.status.as_u16());
        }
        Said::Grpc(answer) => answer,
    };
    if !grpc_code(answer).is_some_and(is_code_of_the_way) || coding == Coding::Identity {
        return false;
    }
    let accepted = answer.headers.get("grpc-accept-encoding");
    if let Some(accepted) = accepted {
        let mut names = accepted.as_bytes().split(|byte| *byte == b',');
        return !names.any(|name| Coding::named(name.trim_ascii()) == Some(coding));
    }
    let told = answer.trailers.as_ref().unwrap_or(&answer.headers);
    let words = told.get("grpc-message").map(|words| words.as_bytes());
    words.is_some_and(|words| memchr::memmem::find(words, coding.name().as_bytes()).is_some())
}

fn is_of_the_form(status: u16) -> bool {
    matches!(status, 406 | 415)
}

/// `access token`, `access_token` and the like, anywhere in the words of a refusal.
fn speaks_of_tokens(words: &[u8]) -> bool {
    const LOOKED_AT_BYTES: usize = 4096;
    let words = words
        .get(..LOOKED_AT_BYTES)
        .unwrap_or(words)
        .to_ascii_lowercase();
    memchr::memmem::find_iter(&words, b"access").any(|at| {
        let rest = words.get(at + b"access".len()..).unwrap_or_default();
        let rest = rest
            .strip_prefix(b" ")
            .or(rest.strip_prefix(b"_"))
            .or(rest.strip_prefix(b"-"))
            .unwrap_or(rest);
        rest.starts_with(b"token")
    })
}

/// Sends the body. A failure tells the last status that came.
pub(crate) async fn deliver<S: Supply>(
    errand: &UpstreamRequest<'_>,
    mut lease: Lease,
    body: &mut Replayable<S>,
) -> Result<Delivered, Unanswered> {
    let mut held = errand.account.open();
    let mut tried_again = false;
    let mut upstream_status = None;
    let profile = errand.snapshot.profile_of(errand.route.backend());
    let answers = &profile.answers;
    let late = || Refusal::new(Reason::DeadlineExceeded);
    loop {
        // A timeout that is over already would let the first step be taken, and with it a small export.
        if errand
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Err(failed(late(), upstream_status));
        }
        let mut intake = Intake {
            limit_bytes: ANSWER_LIMIT_BYTES,
            status_suffices: true,
            reservation: &mut held,
        };
        let asking = once(errand, &lease, body, &mut intake);
        let said = match errand.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, asking)
                .await
                .unwrap_or_else(|_| Err(late())),
            None => asking.await,
        };
        let mut said = said.map_err(|refusal| failed(refusal, upstream_status))?;
        upstream_status = Some(said.status().as_u16());
        if said.is_page(answers) {
            let upstream = errand.route.upstream().name();
            let project = errand.route.project().unwrap_or("none");
            errand
                .shared
                .page_answered(errand.told().as_deref(), upstream, project);
            return Err(failed(Refusal::new(Reason::UpstreamPage), upstream_status));
        }
        if !said.refuses_us(errand.is_sealed, answers) {
            let odd = said.unlike_the_specification(answers);
            if let Some(reason) = odd.filter(|_| !errand.is_sealed) {
                return Err(failed(Refusal::new(reason), upstream_status));
            }
            said.without_credentials(errand);
            return Ok(Delivered { said, held });
        }
        errand.shared.credential_refused(
            errand.told().as_deref(),
            errand.route.project().unwrap_or("none"),
            &lease.fingerprint(),
        );
        let next = lease
            .refused(errand.shared.clock.now())
            .filter(|_| !tried_again && !errand.is_sealed && body.rewind());
        let refused = || {
            failed(
                Refusal::new(Reason::CredentialRefusedByUpstream),
                upstream_status,
            )
        };
        lease = next.ok_or_else(refused)?;
        tried_again = true;
    }
}

fn failed(refusal: Refusal, upstream_status: Option<u16>) -> Unanswered {
    Unanswered {
        refusal,
        upstream_status,
    }
}

async fn once<S: Supply>(
    errand: &UpstreamRequest<'_>,
    lease: &Lease,
    body: &mut Replayable<S>,
    intake: &mut Intake<'_>,
) -> Result<Said, Refusal> {
    let UpstreamRequest {
        snapshot,
        route,
        backend,
        headers,
        ..
    } = errand;
    let defect = |_| Refusal::new(Reason::InternalDefect);
    match errand.protocol {
        Protocol::Http => {
            let profile = &snapshot.profile;
            let head = forward::http1(
                &Method::POST,
                route,
                lease,
                backend,
                profile,
                &snapshot.organization,
                headers,
            )
            .map_err(defect)?;
            Ok(Said::Http(
                forward::exchange(backend, &head, Repeat::Unsent, body, intake).await?,
            ))
        }
        Protocol::Grpc => {
            let patience = errand
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let head = forward::grpc(route, lease, backend, &snapshot.profile, headers, patience)
                .map_err(defect)?;
            Ok(Said::Grpc(
                forward::exchange_grpc(backend, head, body, intake).await?,
            ))
        }
    }
}
