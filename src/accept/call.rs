//! The parsed ask: what is wanted, in canonical, typed form.
//!
//! What it does: holds what the head asks for once it has been normalised.
//! What it refuses to know: who asks, and whether they may. Invariant: everything that decides or is
//! sent on is taken from these typed values, never from the client's own path string.

use std::sync::Arc;
use std::time::Duration;

use super::Fault;
use super::site::SiteRequest;
use crate::apps::AppPath;
use crate::lightstep::Format;
use crate::media_type;
use crate::otlp::{Encoding, Signal};
use crate::profiles::{Host, OperationId, TokenPlace};

/// One parsed request head.
#[derive(Debug)]
pub struct Call {
    /// As logged: `GET`, `POST`, …
    pub method: http::Method,
    /// The canonical path, rebuilt from the typed parts, without any query values.
    pub path: String,
    /// The host that the client meant to ask, with an optional port, for links in answers.
    pub authority: String,
    /// How an answer of ours must be written.
    pub dialect: Dialect,
    pub kind: RequestKind,
}

/// In whose language a refusal is written (the table of refusals).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `google.rpc.Status` in the request's encoding.
    Otlp(Encoding),
    /// Trailers-only.
    Grpc,
    /// What makes the client of a legacy format behave.
    Legacy(Format),
    /// `{"errors":["…"]}`.
    Query,
    /// Our own answers in JSON and unknown paths: `{"error":"…","message":"…"}`.
    Own,
    /// A page for people: HTML.
    Page,
}

/// What is asked for.
#[derive(Debug)]
pub enum RequestKind {
    Ingest(IngestRequest),
    Legacy(LegacyRequest),
    Query(QueryRequest),
    Own(OwnRequest),
    Site(SiteRequest),
    Tree(TreeRequest),
    Alert(AlertRequest),
    /// A path or gRPC method that no table knows; told to identified callers only.
    Unknown,
    /// A known path in a form that it does not take; told to identified callers only.
    Unacceptable(Fault),
}

/// An export.
#[derive(Debug)]
pub struct IngestRequest {
    pub(crate) operation: OperationId,
    pub(crate) signal: Signal,
    pub(crate) protocol: Protocol,
    /// How the body is read; of gRPC always protobuf.
    pub(crate) encoding: Encoding,
    /// How long the caller waits at most, of gRPC (`grpc-timeout`).
    pub(crate) patience: Option<Duration>,
    /// The path to ask of the backend: a literal of ours or rebuilt from typed parts.
    pub(crate) upstream_path: String,
    /// The app that the URL (`/apps/{path}/-/…`) or else the `lightkeeper-app` header names.
    pub(crate) app: Option<AppPath>,
}

/// A report of a format that is older than OpenTelemetry.
#[derive(Debug)]
pub struct LegacyRequest {
    pub(crate) operation: OperationId,
    pub(crate) signal: Signal,
    pub(crate) format: Format,
    pub(crate) protocol: Protocol,
    pub(crate) host: Host,
    pub(crate) token: TokenPlace,
    /// What the body is read as: the profile's own word.
    pub(crate) media_type: Arc<str>,
    /// How long the caller waits at most, of gRPC (`grpc-timeout`).
    pub(crate) patience: Option<Duration>,
    /// The path to ask of the backend: a literal of ours.
    pub(crate) upstream_path: String,
    /// The app that the URL (`/apps/{path}/-/…`) or else the `lightkeeper-app` header names.
    pub(crate) app: Option<AppPath>,
    /// The head carries no evidence, or a placeholder only, and the format may carry some in its body: the body
    /// is read before the caller is known, and `with_body_token` completes the caller. Otherwise the caller is
    /// identified first, so that no body is read for nothing.
    pub(crate) body_first: bool,
}

impl IngestRequest {
    /// What the backend is told of the body: what we read it as, not what the caller called it.
    pub(crate) fn media_type(&self) -> &'static str {
        match self.protocol {
            Protocol::Http => self.encoding.media_type(),
            Protocol::Grpc => media_type::GRPC,
        }
    }
}

/// The wire form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

/// A call of the query API.
#[derive(Debug)]
pub struct QueryRequest {
    pub(crate) operation: OperationId,
    /// Decoded `{organization}`; compared with ours in `authorize`, so that a stranger's guess is
    /// answered like any other denial.
    pub(crate) organization: String,
    /// Decoded `{project}` of the path, if the operation has one.
    pub(crate) project: Option<String>,
    /// Decoded further placeholders (`{id}`), in the template's order.
    pub(crate) parameters: Vec<String>,
    /// Decoded query pairs, only keys that the operation knows, each in the order given.
    pub(crate) query: Vec<(String, String)>,
}

/// A page or API of the gateway itself.
#[derive(Debug, PartialEq, Eq)]
pub enum OwnRequest {
    /// `/.lightkeeper/whoami`
    Whoami,
    /// `/apps` (the root) and `/apps/{app path}`
    Apps(AppPath),
    /// The same with `?depth=all`: what lies beneath, too.
    Subtree(AppPath),
}

/// A question to every project in a part of the tree: `/apps/{app path}/-/{resource}`.
#[derive(Debug, PartialEq, Eq)]
pub struct TreeRequest {
    pub(crate) app: AppPath,
    /// `services`, `streams`, `alerts`, `query_timeseries`, …; one that the profile knows.
    pub(crate) resource: String,
    /// Decoded query pairs, only keys that the resource knows.
    pub(crate) query: Vec<(String, String)>,
}

/// What the backend tells of an alert: `POST /apps/{app path}/-/alerts`.
#[derive(Debug, PartialEq, Eq)]
pub struct AlertRequest {
    pub(crate) app: AppPath,
    /// Its body is in a form that is not read; told to identified callers only.
    pub(crate) fault: Option<Fault>,
}
