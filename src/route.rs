//! The fourth room: a permit and a call become a route.
//!
//! What it does: names the upstream, the lane, the credential's kind and the path to ask, rebuilt from
//! typed values. What it refuses to know: identities, secrets, sockets.
//! Invariants: only a permit opens a route; the client's own path string takes no part in it.

use crate::accept::{Call, Protocol, RequestKind};
use crate::authorize::Permit;
use crate::lightstep::Format;
use crate::otlp::Signal;
use crate::percent;
use crate::profiles::{Credential, Host, Profile, ResponseRule, TokenPlace};

/// Which backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    /// Exports.
    Ingest,
    /// Legacy tracers' reports.
    Collector,
    /// Legacy log ingest.
    Logs,
    Query,
}

impl Upstream {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Upstream::Ingest => "ingest",
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
#[derive(Debug)]
pub(crate) struct Route {
    upstream: Upstream,
    lane: Lane,
    project: Option<String>,
    credential: Credential,
    signal: Option<Signal>,
    legacy: Option<(Format, TokenPlace)>,
    path_and_query: String,
}

impl Route {
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

    /// Canonically encoded, beginning with `/`.
    pub(crate) fn path_and_query(&self) -> &str {
        &self.path_and_query
    }
}

/// Finds the route of a permitted call; `None` for what is answered by the gateway itself.
pub(crate) fn route(
    permit: &Permit,
    call: &Call,
    profile: &Profile,
    organization: &str,
) -> Option<Route> {
    let operation = profile.operation(permit.operation());
    let project = permit.project().map(str::to_owned);
    match &call.kind {
        RequestKind::Ingest(ask) => Some(Route {
            upstream: Upstream::Ingest,
            lane: Lane::Streamed(ask.protocol),
            project,
            credential: operation.credential,
            signal: Some(ask.signal),
            legacy: None,
            path_and_query: ask.upstream_path.clone(),
        }),
        RequestKind::Legacy(ask) => Some(Route {
            upstream: match ask.host {
                Host::Ingest => Upstream::Ingest,
                Host::Collector => Upstream::Collector,
                Host::Logs => Upstream::Logs,
            },
            lane: Lane::Streamed(ask.protocol),
            project,
            credential: operation.credential,
            signal: Some(ask.signal),
            legacy: Some((ask.format, ask.token)),
            path_and_query: ask.upstream_path.clone(),
        }),
        RequestKind::Query(ask) => {
            let mut target = format!("{}/", profile.query_prefix);
            target.extend(percent::encode(organization));
            target.push_str(&operation.path(ask.project.as_deref(), &ask.parameters));
            for (index, (key, value)) in ask.query.iter().enumerate() {
                target.push(if index == 0 { '?' } else { '&' });
                target.extend(percent::encode(key));
                target.push('=');
                target.extend(percent::encode(value));
            }
            Some(Route {
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
        | RequestKind::Unacceptable(_) => None,
    }
}
