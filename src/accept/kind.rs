//! What a head asks for: an export, a question, a page, or nothing that is known.
//!
//! What it does: matches the canonical path against the profile and the gateway's own pages, and reads what the kind of call
//! needs of the head. What it refuses to know: evidence, policy. Invariant: one head asks for one thing.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::call::{AlertRequest, IngestRequest, OwnRequest, Protocol, QueryRequest, RequestKind};
use super::connection::Connection;
use super::{Fault, legacy, path, tree};
use crate::apps::AppPath;
use crate::media_type::MediaType;
use crate::otlp::Encoding;
use crate::profiles::{Profile, TokenPlace};

/// Names the app of an export when the URL does not.
pub(crate) const APP_HEADER: HeaderName = HeaderName::from_static("lightkeeper-app");

/// How long a gRPC caller waits.
pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The app that the path names (`/apps/{app}/-/…`), and what stands behind it; without an app all of it.
pub(super) fn addressed<'w, 'p>(words: &'w [&'p str]) -> (Option<&'w [&'p str]>, &'w [&'p str]) {
    let split = match words {
        ["apps", rest @ ..] => rest
            .iter()
            .position(|word| *word == "-")
            .and_then(|at| rest.split_at_checked(at)),
        _ => None,
    };
    match split {
        Some((app, rest)) => (Some(app), rest.get(1..).unwrap_or_default()),
        None => (None, words),
    }
}

/// Finds what is asked for.
pub(super) fn ask(
    parts: &Parts,
    connection: &Connection,
    profile: &Profile,
    words: &[&str],
    canonical: &str,
    query: Vec<(String, String)>,
) -> Result<legacy::FoundReport, Fault> {
    let found = |ask| {
        Ok(legacy::FoundReport {
            kind: ask,
            token: TokenPlace::Header,
        })
    };
    let serves = connection.listener().serves;
    if let Some((organization, rest)) = profile.query_path(words).filter(|_| serves.query) {
        return query_ask(parts, profile, organization, rest, query).and_then(found);
    }
    if !profile.has_query() && asks(&parts.method, words) {
        return found(RequestKind::Unacceptable(Fault::NoQuery));
    }
    if let ([".lightkeeper", "whoami"], true, &Method::GET, true) =
        (words, serves.web, &parts.method, query.is_empty())
    {
        return found(RequestKind::Own(OwnRequest::Whoami));
    }
    let (app, rest) = addressed(words);
    if let (Some(app), ["alerts"], true, &Method::POST) = (app, rest, serves.query, &parts.method) {
        return alert_ask(parts, app, &query).and_then(found);
    }
    if let (None, ["apps", rest @ ..]) = (app, words) {
        let deep = matches!(query.as_slice(), [(key, value)] if key == "depth" && value == "all");
        if serves.web && parts.method == Method::GET && (query.is_empty() || deep) {
            let ask = |app| {
                RequestKind::Own(if deep {
                    OwnRequest::Subtree(app)
                } else {
                    OwnRequest::Apps(app)
                })
            };
            return found(app_path(rest).map_or(RequestKind::Unknown, ask));
        }
        return found(RequestKind::Unknown);
    }
    if serves.query
        && let Some(ask) = tree::ask(&parts.method, profile, app.and_then(app_path), rest, &query)?
    {
        return found(ask);
    }
    if !serves.ingest && !serves.legacy {
        return found(RequestKind::Unknown);
    }
    // A path of the URL that cannot be an app is an unknown app.
    let named = match app.map(app_path) {
        Some(None) => return found(RequestKind::Unknown),
        Some(Some(app)) => Some(app),
        None => app_header(&parts.headers)?,
    };
    let inner = if rest.len() == words.len() {
        canonical.to_owned()
    } else {
        path::join(rest.iter().copied())
    };
    if parts.method != Method::POST {
        return found(RequestKind::Unknown);
    }
    let (operation, signal, protocol, upstream_path) =
        if let Some((operation, signal)) = profile.match_grpc(&inner) {
            (operation, signal, Protocol::Grpc, inner)
        } else if let Some((operation, signal, upstream)) = profile.match_ingest(&inner) {
            (operation, signal, Protocol::Http, upstream)
        } else {
            if !serves.legacy {
                return found(RequestKind::Unknown);
            }
            return match legacy::ask(parts, profile, &inner, named)? {
                Some(_) if !query.is_empty() => Err(Fault::Query),
                Some(legacy) => Ok(legacy),
                None => found(RequestKind::Unknown),
            };
        };
    if !serves.ingest {
        return found(RequestKind::Unknown);
    }
    if !query.is_empty() {
        return Err(Fault::Query);
    }
    let encoding = match protocol {
        Protocol::Grpc => takes_grpc(parts).then_some(Encoding::Protobuf),
        Protocol::Http => otlp_encoding(&parts.headers),
    };
    let Some(encoding) = encoding else {
        return found(RequestKind::Unacceptable(Fault::MediaType));
    };
    if !is_content_encoding(&parts.headers) {
        return found(RequestKind::Unacceptable(Fault::ContentEncoding));
    }
    let patience = patience(protocol, &parts.headers)?;
    found(RequestKind::Ingest(IngestRequest {
        operation,
        signal,
        protocol,
        encoding,
        patience,
        upstream_path,
        app: named,
    }))
}

/// Whether a path is one of a query API that is known, or of a part of the tree.
fn asks(method: &Method, words: &[&str]) -> bool {
    let (app, rest) = addressed(words);
    Profile::built_in().any(|known| {
        let in_tree = |name: &str| known.tree_resource(method, name).is_some();
        known.query_path(words).is_some()
            || app.is_some() && matches!(rest, [name] if in_tree(name))
    })
}

/// A message of the backend's webhook for one app.
fn alert_ask(
    parts: &Parts,
    app: &[&str],
    query: &[(String, String)],
) -> Result<RequestKind, Fault> {
    let Some(app) = app_path(app) else {
        return Ok(RequestKind::Unknown);
    };
    if !query.is_empty() {
        return Err(Fault::Query);
    }
    let coding = parts
        .headers
        .get(CONTENT_ENCODING)
        .map_or(&b"identity"[..], HeaderValue::as_bytes);
    let fault = match (
        is_json(&parts.headers),
        coding.eq_ignore_ascii_case(b"identity"),
    ) {
        (false, _) => Some(Fault::MediaType),
        (true, false) => Some(Fault::ContentEncoding),
        (true, true) => None,
    };
    Ok(RequestKind::Alert(AlertRequest { app, fault }))
}

/// Whether the body is a JSON document, by its media type.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers)
        .and_then(MediaType::json_document)
        .is_some()
}

/// The media type of the body; `None` where there is none, or none that is read.
pub(super) fn media_type(headers: &HeaderMap) -> Option<MediaType<'_>> {
    MediaType::parse(headers.get(CONTENT_TYPE)?.as_bytes())
}

/// gRPC is HTTP/2, and its messages are read as protobuf alone: what says that it is of another kind would be read by
/// the backend as something else than was judged here.
pub(super) fn takes_grpc(parts: &Parts) -> bool {
    parts.version == Version::HTTP_2 && media_type(&parts.headers).is_some_and(MediaType::is_grpc)
}

/// How long a gRPC caller waits (gRPC over HTTP/2, "Timeout": at most 8 digits and a unit).
pub(super) fn patience(protocol: Protocol, headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let value = match protocol {
        Protocol::Grpc => headers.get(GRPC_TIMEOUT),
        Protocol::Http => None,
    };
    value
        .map(|value| grpc_timeout(value.as_bytes()).ok_or(Fault::GrpcTimeout))
        .transpose()
}

fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// One word, or none.
pub(super) fn is_content_encoding(headers: &HeaderMap) -> bool {
    let encoding = headers
        .get(CONTENT_ENCODING)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    encoding
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

fn app_path(words: &[&str]) -> Option<AppPath> {
    words
        .iter()
        .try_fold(AppPath::root(), |app, word| app.child(word))
}

fn app_header(headers: &HeaderMap) -> Result<Option<AppPath>, Fault> {
    let Some(value) = headers.get(APP_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| Fault::AppHeader)?;
    AppPath::parse(text).map(Some).ok_or(Fault::AppHeader)
}

fn otlp_encoding(headers: &HeaderMap) -> Option<Encoding> {
    match media_type(headers)? {
        kind if kind.is_otlp_protobuf() => Some(Encoding::Protobuf),
        kind if kind.is_otlp_json() => Some(Encoding::Json),
        _ => None,
    }
}

fn query_ask(
    parts: &Parts,
    profile: &Profile,
    organization: &str,
    rest: &[&str],
    query: Vec<(String, String)>,
) -> Result<RequestKind, Fault> {
    let Some(found) = profile.match_query(&parts.method, rest) else {
        return Ok(RequestKind::Unknown);
    };
    let operation = profile.operation(found.operation);
    tree::check_keys(&query, &operation.query_keys)?;
    Ok(RequestKind::Query(QueryRequest {
        operation: found.operation,
        organization: organization.to_owned(),
        project: found.project,
        parameters: found.parameters,
        query,
    }))
}
