//! One request to the emulator, from its head to its answer.
//!
//! What it does: tells what kind of request it is, captures it, lets a failure switch have its way, and hands
//! it to its side. What it refuses to know: what the sides answer.
//! Invariant: a request is captured before it is answered, whatever it is answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Request, Response, request};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::capture::Capturing;
use super::faults::{self, Fault};
use super::legacy::{self, Opened};
use super::{Endpoints, QUERY_PREFIX, State, ingest, query};
use crate::formats::Format;
use crate::server::{Connection, Payload, reset};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Query,
    Otlp,
    Legacy(Format),
}

impl Side {
    fn of(head: &request::Parts) -> Self {
        if head.uri.path().starts_with(QUERY_PREFIX) {
            return Side::Query;
        }
        legacy::format(head).map_or(Side::Otlp, Side::Legacy)
    }
}

impl State {
    pub(super) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Response<Payload> {
        let (head, body) = request.into_parts();
        let side = Side::of(&head);
        let endpoints = match side {
            Side::Query => Endpoints::Query,
            _ if ingest::is_grpc(&head.headers) => Endpoints::IngestGrpc,
            _ => Endpoints::IngestHttp,
        };
        // What fails together.
        let class = match endpoints {
            Endpoints::Query if head.uri.path().ends_with("/status") => Endpoints::States,
            _ => endpoints,
        };
        let mut project = match side {
            Side::Query => query::project_in(head.uri.path()),
            Side::Otlp => self.project_of_token(&head.headers),
            Side::Legacy(_) => self.project_of_head(&head.headers),
        };
        let mut capturing = Capturing::begin(
            &self.captures,
            &head,
            endpoints,
            project.clone(),
            &connection,
        );
        if let Some(Fault::EarlyStatus { status }) =
            self.switches.strike(class, project.as_deref(), true)
        {
            return self.refuse(side, &head, status, None);
        }
        let Some(body) = self.read(body, &mut capturing).await else {
            drop(capturing);
            return self.refuse(side, &head, 413, None);
        };
        let opened = match side {
            Side::Legacy(format) => Some(self.open(format, &head, &body)),
            Side::Query | Side::Otlp => None,
        };
        if let Some(named) = opened.as_ref().and_then(Opened::project) {
            capturing.of_project(named);
            project = Some(named.to_owned());
        }
        drop(capturing);
        let fault = self.switches.strike(class, project.as_deref(), false);
        let asked = Asked {
            side,
            head,
            body,
            opened,
        };
        match fault {
            Some(Fault::Held) => {
                self.switches.released(class, project.as_deref()).await;
                self.usual(asked, None)
            }
            Some(Fault::Status {
                status,
                retry_after_seconds,
            }) => self.refuse(side, &asked.head, status, retry_after_seconds),
            Some(Fault::EarlyStatus { status }) => self.refuse(side, &asked.head, status, None),
            Some(Fault::PlainStatus { status }) => faults::plain(status),
            Some(Fault::CloseBeforeHead) => connection.sever().await,
            Some(Fault::Reset) => reset(),
            Some(Fault::AcceptThenClose) => {
                drop(self.usual(asked, None));
                connection.sever().await
            }
            Some(Fault::AcceptThenReset) => {
                drop(self.usual(asked, None));
                reset()
            }
            Some(Fault::CloseAfterHead) => faults::cut(content_type(side, &asked.head)),
            Some(Fault::Drip { bytes, interval }) => {
                faults::drip(bytes, interval, content_type(side, &asked.head))
            }
            Some(Fault::Hold) => {
                // The sender lives as long as we do.
                let _ = self.holding.subscribe().wait_for(|holding| !holding).await;
                self.usual(asked, None)
            }
            Some(Fault::Say {
                status,
                content_type,
                body,
            }) => faults::said(status, content_type, body),
            Some(Fault::SayWith {
                status,
                headers,
                body,
            }) => faults::said_with(status, headers, body),
            Some(Fault::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                self.usual(asked, None)
            }
            fault @ (Some(
                Fault::PartialSuccess { .. }
                | Fault::Trailers(_)
                | Fault::DisableCommand
                | Fault::Echo
                | Fault::Garbage
                | Fault::Huge(_),
            )
            | None) => self.usual(asked, fault.as_ref()),
        }
    }

    fn usual(&self, asked: Asked, fault: Option<&Fault>) -> Response<Payload> {
        let Asked {
            side,
            head,
            body,
            opened,
        } = asked;
        if side == Side::Query {
            self.queries.fetch_add(1, Ordering::SeqCst);
            return self.query(&head, &body, fault);
        }
        if let Some(odd) = ingest::odd(content_type(side, &head), &head.headers, fault) {
            return odd;
        }
        match opened {
            Some(opened) => self.report(opened, fault),
            None => self.ingest(&head, &body, fault),
        }
    }

    fn refuse(
        &self,
        side: Side,
        head: &request::Parts,
        status: u16,
        retry: Option<u64>,
    ) -> Response<Payload> {
        match side {
            Side::Query => self.query_refusal(&head.headers, status, retry),
            Side::Legacy(format) => self.report_refusal(format, status, retry),
            Side::Otlp => {
                let code = ingest::grpc_code(status, retry);
                ingest::refusal(
                    ingest::dialect(&head.headers),
                    status,
                    code,
                    "refused by a failure switch",
                    retry,
                )
            }
        }
    }

    /// The whole body; `None` above the limit or when it broke off.
    async fn read(&self, mut body: Incoming, capturing: &mut Capturing) -> Option<Vec<u8>> {
        let mut length = 0_usize;
        while let Some(frame) = body.frame().await {
            let frame = frame.ok()?;
            if let Some(data) = frame.data_ref() {
                length = length.saturating_add(data.len());
                if length > self.options.body_limit_bytes {
                    return None;
                }
                capturing.data(data);
            } else if let Some(trailers) = frame.trailers_ref() {
                capturing.trailers(trailers);
            }
        }
        Some(capturing.complete())
    }
}

/// A request whose body is here.
struct Asked {
    side: Side,
    head: request::Parts,
    body: Vec<u8>,
    opened: Option<Opened>,
}

fn content_type(side: Side, head: &request::Parts) -> &'static str {
    match side {
        Side::Query => query::content_type(&head.headers),
        Side::Otlp => ingest::dialect(&head.headers).content_type(),
        Side::Legacy(format) => format.content_type(),
    }
}
