//! The straight line: accept, identify, authorize, route, vault; then one of the two lanes.
//!
//! What it does: takes a head through the rooms in their order; the types force the order. What it refuses
//! to know: any room's rules. Invariants: nothing is read of a body, and nothing goes upstream, before a
//! permit; a slot in the trail is kept before anything is forwarded.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header;
use pingora_proxy::Session;

use super::pace::BodyPace;
use super::walk::{Streaming, Walk};
use super::{answer, own};
use crate::accept::{self, Ask, Call, Connection, Fault, Protocol};
use crate::authorize::Permit;
use crate::forward::{self, Answer, Backend, Sending};
use crate::limits::Reservation;
use crate::profiles::ResponseRule;
use crate::respond::{Class, Refusal};
use crate::route::{self, Lane, Route};
use crate::transform::{self, Canary, Links, Rewriting};
use crate::vault::Lease;

/// How a permitted call goes on.
pub enum Onward {
    /// The framework streams it.
    Stream,
    /// The answer has been written.
    Answered,
}

/// Takes one call as far as its head allows.
pub async fn admit(session: &mut Session, walk: &mut Walk, connection: &Arc<Connection>) -> Result<Onward, Refusal> {
    if let Some(broken) = connection.take_broken_head() {
        walk.note_broken(broken.method, broken.path, broken.dialect);
        return Err(broken.fault.into());
    }
    let house = walk.house.clone();
    let (caller, call) =
        accept::read(session.req_header(), connection, &house.profile, &house.limits).map_err(|head| {
            let path =
                session.req_header().uri.path().chars().take(256).flat_map(char::escape_default).take(256).collect();
            // Over HTTP/2 a method may be as long as the whole head.
            let method = session.req_header().method.as_str().chars().take(16).collect();
            walk.note_broken(method, path, head.dialect);
            Refusal::from(head.fault)
        })?;
    walk.note_call(&call);
    let slot = walk.core().trail.reserve().map_err(|_| Refusal::new(Class::Unavailable, "audit_unwritable"))?;
    walk.keep_slot(slot);

    let identity = house.identifier.identify(caller).await.map_err(|rejection| Refusal::from(&rejection))?;
    walk.note_identity(identity.facts());
    match &call.ask {
        Ask::Unknown => return Err(Refusal::new(Class::Unknown, "path_unknown")),
        Ask::Unacceptable(fault) => return Err((*fault).into()),
        Ask::Own(ask) => {
            let page = own::page(&house, &identity, ask, walk.now());
            let page = page.ok_or_else(|| Refusal::new(Class::Denied, "app_unknown"))?;
            walk.note_operation("own");
            walk.note_own();
            answer::own(session, walk, page).await.map_err(|_| Refusal::new(Class::Malformed, "client_closed"))?;
            return Ok(Onward::Answered);
        }
        Ask::Ingest(_) | Ask::Query(_) => {}
    }
    let permit = house.policy.authorize(&identity, &call, walk.now()).map_err(|denial| {
        walk.note_denial(&denial);
        Refusal::from(&denial)
    })?;
    walk.note_permit(&permit);
    let route = route::route(&permit, &call, &house.profile, &house.organization)
        .ok_or_else(|| Refusal::new(Class::Unavailable, "internal_defect"))?;
    walk.note_route(&route);
    let lease = house.vault.lend(&permit, &route)?;
    let backend = house
        .backend(route.upstream())
        .cloned()
        .ok_or_else(|| Refusal::new(Class::Unavailable, "upstream_not_configured"))?;

    let declared = session.req_header().headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > house.limits.body_bytes) {
        return Err(Fault::BodyTooLarge.into());
    }
    match route.lane() {
        Lane::Streamed(protocol) => {
            walk.streaming = Some(Streaming {
                backend,
                canary: Canary::new(lease.canary()),
                pace: BodyPace::new(&house.limits, protocol),
                incoming: session.req_header().headers.clone(),
                route,
                protocol,
                lease: Some(lease),
                again: false,
                tried_again: false,
            });
            Ok(Onward::Stream)
        }
        Lane::Terminated(rule) => {
            let links = links(&call, connection, walk, &backend);
            let asking = Asking { call: &call, permit: &permit, route: &route, lease: &lease, rule, backend: &backend };
            let (answer, body) = terminate(session, walk, &asking, &links).await?;
            answer::query(session, walk, &answer, body, &links)
                .await
                .map_err(|_| Refusal::new(Class::Malformed, "client_closed"))?;
            Ok(Onward::Answered)
        }
    }
}

/// A permitted call of the terminated lane, with all that goes with it.
struct Asking<'a> {
    call: &'a Call,
    permit: &'a Permit,
    route: &'a Route,
    lease: &'a Lease,
    rule: ResponseRule,
    backend: &'a Backend,
}

/// The terminated lane: body in, call, answer in, rewritten.
async fn terminate(
    session: &mut Session,
    walk: &mut Walk,
    asking: &Asking<'_>,
    links: &Links,
) -> Result<(Answer, Bytes), Refusal> {
    let Asking { call, permit, route, lease, rule, backend } = *asking;
    let house = walk.house.clone();
    let mut reservation = walk.core().budget.open();
    if let Some(connection) = &walk.connection {
        answer::allow_body(session, connection);
    }
    let body = read_body(session, walk, &mut reservation).await?;
    let sending = Sending {
        method: &call.method,
        route,
        lease,
        profile: &house.profile,
        organization: &house.organization,
        incoming: &session.req_header().headers,
        body,
        response_limit_bytes: house.limits.response_bytes,
        reservation: &mut reservation,
    };
    let answer = forward::send(backend, sending).await?;
    walk.upstream_status = Some(answer.status.as_u16());
    let status = answer.status.as_u16();
    if matches!(status, 401 | 403) {
        walk.core().metrics.credential_refused(walk.project().unwrap_or("none"));
        let detail = format!("API key with digest {}", lease.fingerprint());
        tracing::error!(detail, "the backend refuses one of our credentials");
        walk.core().event("credential_refused", "credential_refused_by_upstream", Some(detail));
        return Err(Refusal::new(Class::UpstreamRefusesUs, "credential_refused_by_upstream"));
    }
    if !(200..300).contains(&status) && status < 400 {
        return Err(Refusal::new(Class::UpstreamBroken, "upstream_answer_unusable"));
    }
    let is_json = answer
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .is_some_and(|essence| essence == "application/json" || essence.ends_with("+json"));
    let operation = house.profile.operation(permit.operation());
    let rewriting = Rewriting {
        rule,
        links,
        visible_projects: permit.visible_projects(),
        // Who may write such a thing has not been given the reading of its secrets.
        may_see_secrets: operation.permission.ends_with(".read") && permit.named_in_full(),
        lent: &lease.canary(),
        is_json,
        is_success: answer.status.is_success(),
    };
    let body = transform::rewrite(answer.body.clone(), &rewriting)?;
    Ok((answer, body))
}

/// Reads a whole body within size, time, rate and budget.
async fn read_body(session: &mut Session, walk: &mut Walk, reservation: &mut Reservation) -> Result<Bytes, Refusal> {
    let house = walk.house.clone();
    let mut pace = BodyPace::new(&house.limits, Protocol::Http);
    let deadline = tokio::time::Instant::now() + house.limits.body_timeout;
    let mut body = BytesMut::new();
    loop {
        let chunk = match tokio::time::timeout_at(deadline, session.as_mut().read_request_body()).await {
            Err(_) => return Err(Fault::BodyTimeout.into()),
            Ok(Err(_)) => {
                let broken = walk.connection.as_ref().and_then(|connection| connection.take_broken_body());
                return Err(broken.unwrap_or(Fault::BodyTruncated).into());
            }
            Ok(Ok(None)) => break,
            Ok(Ok(Some(chunk))) => chunk,
        };
        pace.chunk(&chunk, false)?;
        walk.bytes_in = pace.seen_bytes();
        reservation.grow(chunk.len() as u64).map_err(|_| Refusal::new(Class::Unavailable, "memory_budget_spent"))?;
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What the backend's links become: the operator's name for this listener, else the caller's.
fn links(call: &Call, connection: &Connection, walk: &Walk, backend: &Backend) -> Links {
    let authorities = walk.house.profile.link_hosts.iter().cloned().chain([backend.authority.clone()]);
    let ours = match &connection.listener.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("{}://{}", if connection.listener.tls.is_some() { "https" } else { "http" }, call.authority),
    };
    Links::new(authorities, ours)
}
