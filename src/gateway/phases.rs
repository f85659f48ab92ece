//! The framework's phases, each a few lines that call a room.
//!
//! What it does: hooks the walk into the framework, which parses heads and writes answers. What it refuses
//! to know: how anything is decided or forwarded. Invariants: the framework itself forwards nothing: every
//! call is answered in `request_filter`, and its own upstream phase is a defect; every call has a counted place, or is refused;
//! behind an answer that has begun no other is written.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use super::admit;
use crate::accept::{Arrival, client_address};
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::record::InFlight;
use crate::call::{answer, cors};
use crate::health;
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
    type CTX = InFlight;

    fn new_ctx(&self) -> InFlight {
        InFlight::new(&self.shared)
    }

    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, request: &mut InFlight) -> Outcome<bool> {
        let Some(mut arrival) = arrival_of(session) else {
            // Every connection comes through our own accept loop.
            return Err(Error::explain(
                ErrorType::InternalError,
                "connection without its facts",
            ));
        };
        let InFlight {
            answer: state,
            record,
        } = request;
        let snapshot = record.snapshot().clone();
        let connection = &arrival.connection;
        let forwarded = connection.listener.front.forwarded.as_ref();
        arrival.client = client_address(&session.req_header().headers, connection.peer, forwarded);
        if arrival.connection.is_closing() {
            session.set_keepalive(None);
        }
        session.set_write_timeout(Some(snapshot.limits.body_timeout));
        arrival.place =
            self.shared
                .calls
                .enter(&arrival.connection, arrival.client.ip, &snapshot.limits);
        let context = RequestContext::new(&self.shared, &snapshot, arrival, record.now());
        record.arrived(context.arrival().clone());
        let connection = &context.arrival().connection;
        let mut cut = self.shared.cut.subscribe();
        if cors::is_preflight(session.req_header(), connection) {
            // No record is begun: a browser asks by itself, before the call that has one.
            let (headers, is_allowed) =
                cors::preflight(session.req_header(), &snapshot, connection);
            let word = if is_allowed { "allowed" } else { "refused" };
            self.shared
                .metrics
                .preflight(&connection.listener.name, word);
            answer::preflight(&mut Exchange::new(session, state, &context), headers).await?;
            return Ok(true);
        }
        let check = health::asked(session.req_header(), connection);
        let mut exchange = Exchange::new(session, state, &context);
        if let Some(check) = check {
            // No record is begun: a check has no caller.
            tokio::select! {
                biased;
                answered = health::answer(&mut exchange, check) => answered?,
                _ = cut.wait_for(|cut| *cut) => {}
            }
            return Ok(true);
        }
        record.begin();
        let admitted = tokio::select! {
            biased;
            admitted = admit::admit(&mut exchange, &context, record) => admitted,
            // An HTTP/2 call is a task of its own and does not end with its connection. Its record says so.
            _ = cut.wait_for(|cut| *cut) => return Ok(true),
        };
        let Err(refusal) = admitted else {
            return Ok(true);
        };
        record.refused(refusal.clone());
        if exchange.has_begun() {
            return Err(Error::explain(
                ErrorType::WriteError,
                "an answer was broken off",
            ));
        }
        answer::refuse(&mut exchange, &refusal).await.map(|()| true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut InFlight) -> Outcome<Box<HttpPeer>> {
        Err(Error::explain(
            ErrorType::InternalError,
            "the framework forwards nothing",
        ))
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        request: &mut InFlight,
    ) -> FailToProxy {
        let InFlight {
            answer: state,
            record,
        } = request;
        if session.response_written().is_some() || state.status.is_some() {
            // The client went while it was answered.
            record.refused_unless_known(Refusal::new(Reason::ClientClosed));
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        }
        let refusal = Refusal::new(Reason::InternalError).because(error.etype().as_str());
        let error_code = refusal.class.status().as_u16();
        record.refused(refusal.clone());
        if let Some(arrival) = record.arrival().cloned().or_else(|| arrival_of(session)) {
            let context =
                RequestContext::new(&self.shared, record.snapshot(), arrival, record.now());
            // If this cannot be written either, no client is left to be told.
            let _ = answer::refuse(&mut Exchange::new(session, state, &context), &refusal).await;
        }
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, _: &mut Session, _: Option<&Error>, request: &mut InFlight) {
        request.end();
        if let Some(arrival) = request.record.arrival_mut() {
            // Before the next head of the connection may ask for a place.
            arrival.place = Err(Spent::Total);
            if !arrival.connection.http2 {
                arrival.connection.arm();
            }
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &InFlight, _: &Error) -> bool {
        // The call's own line says it all, without anything of the head.
        true
    }
}

/// What our accept loop attached to the stream.
fn arrival_of(session: &Session) -> Option<Arrival> {
    let facts = session
        .digest()?
        .proxy_digest
        .as_ref()?
        .user_data
        .as_ref()?;
    facts.downcast_ref::<Arrival>().cloned()
}
