//! The framework's phases, each a few lines that call a room.
//!
//! What it does: hooks the calls into the framework, which parses heads and writes answers. What it refuses
//! to know: how anything is decided or forwarded. Invariants: the framework itself forwards nothing: every
//! call is answered in `request_filter`, and its own upstream phase is a defect; every call has a counted place, or is refused;
//! behind an answer that has begun no other is written.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use super::{admit, health};
use crate::accept::{Arrival, client_address};
use crate::call::context::Walk;
use crate::call::{answer, cors};
use crate::limits::Spent;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::Shared;

/// The framework's view of the gateway.
pub struct Phases {
    pub shared: Arc<Shared>,
}

type Outcome<T> = Result<T, Box<Error>>;

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Walk;

    fn new_ctx(&self) -> Walk {
        Walk::new(&self.shared)
    }

    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, walk: &mut Walk) -> Outcome<bool> {
        let Some(mut arrival) = arrival_of(session) else {
            // Every connection comes through our own accept loop; one that did not has no listener.
            return Err(Error::explain(ErrorType::InternalError, "connection without its facts"));
        };
        let connection = &arrival.connection;
        let forwarded = connection.listener.front.forwarded.as_ref();
        arrival.client = client_address(&session.req_header().headers, connection.peer, forwarded);
        if arrival.connection.is_closing() {
            session.set_keepalive(None);
        }
        session.set_write_timeout(Some(walk.snapshot.limits.body_timeout));
        arrival.place = self.shared.calls.enter(&arrival.connection, arrival.client.ip, &walk.snapshot.limits);
        let mut cut = self.shared.cut.subscribe();
        if cors::is_preflight(session.req_header(), &arrival.connection) {
            // No record is begun: a browser asks by itself, before the call that has one.
            walk.arrival = Some(arrival.clone());
            let (headers, is_allowed) = cors::preflight(session.req_header(), &walk.snapshot, &arrival.connection);
            let word = if is_allowed { "allowed" } else { "refused" };
            self.shared.metrics.preflight(&arrival.connection.listener.name, word);
            answer::preflight(session, walk, headers).await?;
            return Ok(true);
        }
        if let Some(check) = health::asked(session.req_header(), &arrival.connection) {
            // No record is begun: a check has no caller.
            walk.arrival = Some(arrival.clone());
            tokio::select! {
                biased;
                answered = health::answer(session, walk, &arrival, check) => answered?,
                _ = cut.wait_for(|cut| *cut) => {}
            }
            return Ok(true);
        }
        walk.begin(arrival.clone());
        let admitted = tokio::select! {
            biased;
            admitted = admit::admit(session, walk, &arrival) => admitted,
            // An HTTP/2 call is a task of its own and does not end with its connection. Its record says so.
            _ = cut.wait_for(|cut| *cut) => return Ok(true),
        };
        match admitted {
            Err(refusal) if session.response_written().is_some() => {
                walk.refusal = Some(refusal);
                Err(Error::explain(ErrorType::WriteError, "an answer was broken off"))
            }
            Err(refusal) => answer::refuse(session, walk, refusal).await.map(|()| true),
            Ok(()) => Ok(true),
        }
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Walk) -> Outcome<Box<HttpPeer>> {
        Err(Error::explain(ErrorType::InternalError, "the framework forwards nothing"))
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, walk: &mut Walk) -> FailToProxy {
        if session.response_written().is_some() || walk.status.is_some() {
            // The client went while it was answered.
            walk.refusal.get_or_insert(Refusal::new(Reason::ClientClosed));
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let refusal = Refusal::new(Reason::InternalError).because(error.etype().as_str());
        let error_code = refusal.class.status().as_u16();
        // If this cannot be written either, the caller has gone.
        let _ = answer::refuse(session, walk, refusal).await;
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, _: &mut Session, _: Option<&Error>, walk: &mut Walk) {
        walk.end();
        if let Some(arrival) = &mut walk.arrival {
            // Before the next head of the connection may ask for a place.
            arrival.place = Err(Spent::Total);
            if !arrival.connection.http2 {
                arrival.connection.arm();
            }
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &Walk, _: &Error) -> bool {
        // The call's own line says it all, without anything of the head.
        true
    }
}

/// What our accept loop attached to the stream.
fn arrival_of(session: &Session) -> Option<Arrival> {
    let facts = session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?;
    facts.downcast_ref::<Arrival>().cloned()
}
