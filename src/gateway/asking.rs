//! One query to the backend, with the project's key: from a permit to an answer that may be shown.
//!
//! What it does: sends a permitted query and rewrites its answer. What it refuses to know: the caller's connection,
//! and whether one caller or several wait for the answer. Invariants: nothing of an answer leaves here before it was
//! rewritten by its operation's rule; a refused key of ours is never told to the caller as the caller's fault.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::lanes::is_usable;
use super::{Core, House, answer};
use crate::accept::Call;
use crate::authorize::Permit;
use crate::forward::{self, Answer, Backend, Intake, Replayable, Whole};
use crate::limits::Reservation;
use crate::profiles::ResponseRule;
use crate::respond::{Class, Refusal};
use crate::route::{Lane, Route};
use crate::transform::{self, Links, Rewriting};
use crate::vault::Lease;

/// A permitted query, with all that goes with it.
pub struct Question<'a> {
    pub core: &'a Arc<Core>,
    pub house: &'a Arc<House>,
    pub call: &'a Call,
    pub permit: &'a Permit,
    pub route: Route,
    pub lease: Lease,
    /// What the backend's links become: scheme and authority of ours.
    pub ours: &'a str,
    /// The caller's head, of which a list is passed on.
    pub headers: &'a HeaderMap,
    pub body: Bytes,
}

/// An answer that may be shown to the caller.
pub struct Reply {
    pub status: StatusCode,
    /// What of the answer's head is passed on.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Holds the answer's place in the memory budget.
    pub held: Reservation,
}

/// Why there is none.
#[derive(Debug)]
pub struct Unanswered {
    pub refusal: Refusal,
    /// What the backend said, if it said anything.
    pub upstream_status: Option<u16>,
}

impl<E: Into<Refusal>> From<E> for Unanswered {
    fn from(refusal: E) -> Self {
        Unanswered { refusal: refusal.into(), upstream_status: None }
    }
}

/// Asks the backend.
pub async fn ask(question: Question<'_>) -> Result<Reply, Unanswered> {
    let Question { core, house, call, permit, route, lease, ours, headers, body } = question;
    let backend = house.backend(route.upstream()).cloned();
    let backend = backend.ok_or_else(|| Refusal::new(Class::Unavailable, "upstream_not_configured"))?;
    let Lane::Terminated(rule) = route.lane() else {
        return Err(Refusal::new(Class::Unavailable, "internal_defect").into());
    };
    let head = forward::http1(&call.method, &route, &lease, &backend, &house.profile, &house.organization, headers)
        .map_err(|_| Refusal::new(Class::Unavailable, "internal_defect"))?;
    let mut held = core.budget.open();
    let mut intake = Intake { limit_bytes: house.limits.response_bytes, reservation: &mut held };
    // RFC 9110 section 9.2.2: a proxy does not repeat what is not idempotent.
    let once = !call.method.is_idempotent();
    let mut body = if once { Replayable::once(Whole(body)) } else { Replayable::new(Whole(body)) };
    let answer = forward::exchange(&backend, &head, &mut body, &mut intake).await.map_err(Refusal::from)?;
    let told = Told { core, house, permit, route: &route, lease: &lease, rule, backend: &backend, ours };
    let status = answer.status.as_u16();
    let failed = |refusal| Unanswered { refusal, upstream_status: Some(status) };
    told.reply(answer, held).map_err(failed)
}

/// What an answer is judged by.
struct Told<'a> {
    core: &'a Core,
    house: &'a House,
    permit: &'a Permit,
    route: &'a Route,
    lease: &'a Lease,
    rule: ResponseRule,
    backend: &'a Backend,
    ours: &'a str,
}

impl Told<'_> {
    fn reply(&self, answer: Answer, mut held: Reservation) -> Result<Reply, Refusal> {
        let status = answer.status.as_u16();
        if matches!(status, 401 | 403) {
            self.core.credential_refused(self.route.project().unwrap_or("none"), &self.lease.fingerprint());
            return Err(Refusal::new(Class::UpstreamRefusesUs, "credential_refused_by_upstream"));
        }
        if !is_usable(status) {
            return Err(Refusal::new(Class::UpstreamBroken, "upstream_answer_unusable"));
        }
        let plain = match answer.headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
            None | Some(b"identity") => answer.body.clone(),
            Some(b"gzip") => forward::gunzip(&answer.body, self.house.limits.response_bytes, &mut held)?,
            Some(_) => return Err(forward::SendFault::Undecodable.into()),
        };
        let operation = self.house.profile.operation(self.permit.operation());
        let links = links(&self.house.profile.link_hosts, self.backend, self.ours);
        let lent = self.lease.canary();
        let rewriting = Rewriting {
            rule: self.rule,
            links: &links,
            visible_projects: self.permit.visible_projects(),
            // Who may write such a thing has not been given the reading of its secrets.
            may_see_secrets: operation.permission.ends_with(".read") && self.permit.named_in_full(),
            lent: &lent,
            is_json: is_json(&answer),
            is_success: answer.status.is_success(),
        };
        let body = transform::rewrite(plain, &rewriting)?;
        let headers = answer::query_headers(&answer.headers, &links, &lent);
        Ok(Reply { status: answer.status, headers, body, held })
    }
}

fn is_json(answer: &Answer) -> bool {
    let Some(value) = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn links(hosts: &[String], backend: &Backend, ours: &str) -> Links {
    Links::new(hosts.iter().cloned().chain([backend.authority.clone()]), ours.to_owned())
}
