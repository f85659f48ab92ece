//! Where requests come in: over HTTP/2 by the framework's phases, over HTTP/1.1 by our own.
//!
//! What it does: hands each request on, and hooks the gateway into the framework, which speaks HTTP/2. What it refuses
//! to know: how anything is decided or forwarded. Invariant: the framework itself forwards nothing: every
//! call is answered in `request_filter`, and its own upstream phase is a defect.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use super::one_call;
use crate::accept::{Arrival, Http1App, Http1Call};
use crate::call::exchange;
use crate::call::record::InFlight;
use crate::state::Shared;

/// The framework's view of the gateway.
pub(crate) struct Phases {
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
        let Some(arrival) = arrival_of(session) else {
            // Every connection comes through our own accept loop.
            return Err(Error::explain(
                ErrorType::InternalError,
                "connection without its facts",
            ));
        };
        session.set_write_timeout(Some(request.record.snapshot().limits.body_timeout));
        let session = exchange::Downstream::Http2(session);
        one_call::answer(&self.shared, session, request, arrival).await?;
        Ok(true)
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
        let arrival = arrival_of(session);
        let session = exchange::Downstream::Http2(session);
        FailToProxy {
            error_code: one_call::broken_off(
                &self.shared,
                session,
                error.etype().as_str(),
                request,
                arrival,
            )
            .await,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, _: &mut Session, _: Option<&Error>, request: &mut InFlight) {
        one_call::over(request);
    }

    fn suppress_error_log(&self, _: &Session, _: &InFlight, _: &Error) -> bool {
        // The call's own line says it all, without anything of the head.
        true
    }
}

impl Http1App for Phases {
    async fn answer(&self, call: &mut Http1Call, arrival: Arrival) {
        let mut request = InFlight::new(&self.shared);
        let (shared, request) = (&self.shared, &mut request);
        let session = exchange::Downstream::Http1(call);
        if let Err(error) = one_call::answer(shared, session, request, arrival.clone()).await {
            let session = exchange::Downstream::Http1(call);
            one_call::broken_off(
                shared,
                session,
                error.etype().as_str(),
                request,
                Some(arrival),
            )
            .await;
        }
        one_call::over(request);
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
