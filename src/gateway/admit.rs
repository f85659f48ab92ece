//! The straight line: accept, identify, authorize, route, vault; then one of the lanes.
//!
//! What it does: takes a head through the rooms in their order; the types force the order. What it refuses
//! to know: any room's rules. Invariants: nothing is read of a body, and nothing goes upstream, before a
//! permit; a slot in the trail is kept before anything is forwarded.

use pingora_proxy::Session;

use super::lanes::{self, Asking};
use super::walk::Walk;
use super::{answer, own};
use crate::accept::{self, Arrival, Ask, Fault, Framed};
use crate::respond::{Class, Refusal};
use crate::route::{self, Lane};

/// Takes one call through the rooms and writes its answer.
pub async fn admit(session: &mut Session, walk: &mut Walk, arrival: &Arrival) -> Result<(), Refusal> {
    let connection = &arrival.connection;
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
            return Ok(());
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

    if let Framed::Length(length) = lanes::framed(session, arrival)
        && length > house.limits.body_bytes
    {
        return Err(Fault::BodyTooLarge.into());
    }
    answer::allow_body(session, connection);
    match route.lane() {
        Lane::Streamed(protocol) => {
            lanes::export(session, walk, arrival, protocol, &route, lease, &backend).await?;
        }
        Lane::Terminated(rule) => {
            let asking = Asking { call: &call, permit: &permit, route: &route, lease: &lease, rule, backend: &backend };
            lanes::query(session, walk, arrival, &asking).await?;
        }
    }
    Ok(())
}
