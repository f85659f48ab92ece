//! The fourth room: a permit and a call become a route.
//!
//! What it does: names the backend and its upstream, the lane, the credential's kind and the path to ask, rebuilt from
//! typed values. What it refuses to know: identities, secrets, sockets.
//! Invariants: only a permit opens a route; the client's own path string takes no part in it.

use crate::accept::{Call, Protocol, RequestKind};
use crate::apps::BackendId;
use crate::authorize::Permit;
use crate::lightstep::Format;
use crate::otlp::Signal;
use crate::percent;
use crate::profiles::{Credential, ExportPath, Host, Profile, ResponseRule, TokenPlace};
use crate::reason::Reason;

/// Which endpoint of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    /// Exports.
    Ingest,
    /// Exports over gRPC, where these have an endpoint of their own.
    Grpc,
    /// Legacy tracers' reports.
    Collector,
    /// Legacy log ingest.
    Logs,
    Query,
}

impl Upstream {
    pub(crate) const ALL: [Upstream; 5] = [
        Upstream::Ingest,
        Upstream::Grpc,
        Upstream::Collector,
        Upstream::Logs,
        Upstream::Query,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            // Counted as others are: only the endpoint differs.
            Upstream::Ingest | Upstream::Grpc => "ingest",
            Upstream::Collector => "collector",
            Upstream::Logs => "logs",
            Upstream::Query => "query",
        }
    }
}

/// How the body travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// An export or report: it flows through as it comes, or what was made of it goes.
    Streamed(Protocol),
    /// Read whole, sent by our own client, the answer read whole.
    Terminated(ResponseRule),
}

/// Where a permitted call goes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    backend: BackendId,
    upstream: Upstream,
    lane: Lane,
    project: Option<String>,
    credential: Credential,
    signal: Option<Signal>,
    legacy: Option<(Format, TokenPlace)>,
    path_and_query: String,
}

impl Route {
    /// Whose endpoint it is.
    pub(crate) fn backend(&self) -> BackendId {
        self.backend
    }

    pub(crate) fn upstream(&self) -> Upstream {
        self.upstream
    }

    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    pub(crate) fn credential(&self) -> Credential {
        self.credential
    }

    /// Of what is written to a project.
    pub(crate) fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// Of an export in OTLP.
    pub(crate) fn export(&self) -> Option<Signal> {
        self.signal.filter(|_| self.legacy.is_none())
    }

    /// Of a legacy report its format, and where the token goes besides the usual header.
    pub(crate) fn legacy(&self) -> Option<(Format, TokenPlace)> {
        self.legacy
    }

    /// The same over this protocol, at the backend's own path.
    pub(crate) fn leaving(mut self, protocol: Protocol, way: ExportPath<'_>) -> Route {
        self.lane = Lane::Streamed(protocol);
        self.upstream = of_exports(protocol);
        if let ExportPath::At(path) = way {
            path.clone_into(&mut self.path_and_query);
        }
        self
    }

    /// Canonically encoded, beginning with `/`.
    pub(crate) fn path_and_query(&self) -> &str {
        &self.path_and_query
    }
}

/// Why a permitted call has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteFault {
    /// It is answered by the gateway itself: to ask for a route is a defect of ours.
    NoUpstream,
    /// The permit's backend takes no such report or export.
    NotTaken,
    /// The permit's backend cannot be asked.
    NoQueryApi,
}

impl RouteFault {
    pub(crate) fn reason(self) -> Reason {
        match self {
            RouteFault::NoUpstream => Reason::InternalDefect,
            RouteFault::NotTaken => Reason::FormNotTaken,
            RouteFault::NoQueryApi => Reason::NoQueryApi,
        }
    }
}

/// Why a backend cannot take what is asked; `None` if it can. `front`: what clients may ask; `target`: the backend's profile.
pub(crate) fn untaken(
    ask: &RequestKind,
    (front, target): (&Profile, &Profile),
) -> Option<RouteFault> {
    // With one backend, what clients may ask is what it is asked.
    if std::ptr::eq(front, target) {
        return None;
    }
    match ask {
        // In whatever form it comes, it goes out in one that the backend takes.
        RequestKind::Ingest(ask) => {
            (!target.takes_signal(ask.signal)).then_some(RouteFault::NotTaken)
        }
        RequestKind::Legacy(ask) => {
            let grpc = ask.protocol == Protocol::Grpc;
            let row = target.same_report(grpc, &ask.upstream_path, ask.format);
            row.is_none().then_some(RouteFault::NotTaken)
        }
        RequestKind::Query(_) => (!target.has_query()).then_some(RouteFault::NoQueryApi),
        RequestKind::Own(_)
        | RequestKind::Site(_)
        | RequestKind::Tree(_)
        | RequestKind::Alert(_)
        | RequestKind::Unknown
        | RequestKind::Unacceptable(_) => None,
    }
}

/// Which endpoint takes exports over this protocol.
fn of_exports(protocol: Protocol) -> Upstream {
    match protocol {
        Protocol::Http => Upstream::Ingest,
        Protocol::Grpc => Upstream::Grpc,
    }
}

/// Finds the route of a permitted call. `front`: what clients may ask; `target`: the profile of the permit's backend.
pub(crate) fn route(
    permit: &Permit,
    call: &Call,
    (front, target): (&Profile, &Profile),
    organization: &str,
) -> Result<Route, RouteFault> {
    let operation = front.operation(permit.operation());
    let project = permit.project().map(str::to_owned);
    let backend = permit.backend();
    if let Some(fault) = untaken(&call.kind, (front, target)) {
        return Err(fault);
    }
    let is_same = std::ptr::eq(front, target);
    match &call.kind {
        RequestKind::Ingest(ask) => Ok(Route {
            backend,
            upstream: of_exports(ask.protocol),
            lane: Lane::Streamed(ask.protocol),
            project,
            credential: operation.credential,
            signal: Some(ask.signal),
            legacy: None,
            path_and_query: ask.upstream_path.clone(),
        }),
        RequestKind::Legacy(ask) => {
            let (host, token) = if is_same {
                (ask.host, ask.token)
            } else {
                let grpc = ask.protocol == Protocol::Grpc;
                let row = target.same_report(grpc, &ask.upstream_path, ask.format);
                let row = row.ok_or(RouteFault::NotTaken)?;
                (row.host, row.token)
            };
            Ok(Route {
                backend,
                upstream: match host {
                    Host::Ingest => Upstream::Ingest,
                    Host::Collector => Upstream::Collector,
                    Host::Logs => Upstream::Logs,
                },
                lane: Lane::Streamed(ask.protocol),
                project,
                credential: operation.credential,
                signal: Some(ask.signal),
                legacy: Some((ask.format, token)),
                path_and_query: ask.upstream_path.clone(),
            })
        }
        RequestKind::Query(ask) => {
            let mut target = format!("{}/", front.query_prefix);
            target.extend(percent::encode(organization));
            target.push_str(&operation.path(ask.project.as_deref(), &ask.parameters));
            for (index, (key, value)) in ask.query.iter().enumerate() {
                target.push(if index == 0 { '?' } else { '&' });
                target.extend(percent::encode(key));
                target.push('=');
                target.extend(percent::encode(value));
            }
            Ok(Route {
                backend,
                upstream: Upstream::Query,
                lane: Lane::Terminated(operation.response),
                project,
                credential: operation.credential,
                signal: None,
                legacy: None,
                path_and_query: target,
            })
        }
        RequestKind::Own(_)
        | RequestKind::Site(_)
        | RequestKind::Tree(_)
        | RequestKind::Alert(_)
        | RequestKind::Unknown
        | RequestKind::Unacceptable(_) => Err(RouteFault::NoUpstream),
    }
}
