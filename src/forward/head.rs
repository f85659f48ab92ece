//! The outgoing head, built from a list.
//!
//! What it does: makes the head that the backend gets out of the route, the lease and the few headers of
//! the caller's that a backend needs. What it refuses to know: everything else that the caller sent.
//! Invariants: an absent name here is the reason why a credential of the caller's cannot pass; exactly one
//! credential goes out, and it is the lease's.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    TE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use zeroize::Zeroizing;

use super::Backend;
use crate::accept::Protocol;
use crate::lightstep::{FIREHOSE_KEY, FIREHOSE_REQUEST, FIREHOSE_VERSION};
use crate::media_type::{self, MediaType};
use crate::profiles::{Credential, Profile, TokenPlace};
use crate::route::{Lane, Route};
use crate::vault::{Lease, Trial};

const PRODUCT: HeaderValue =
    HeaderValue::from_static(concat!("lightkeeper/", env!("CARGO_PKG_VERSION")));
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What a head takes besides its target and its credential, usually. All of it is wiped, byte for byte.
const USUAL_HEAD_BYTES: usize = 256;

/// What may be taken over from the caller's head, by lane. `content-type` is not taken but written: it says what the
/// body was read as.
const HTTP_TAKES: [HeaderName; 2] = [CONTENT_TYPE, CONTENT_ENCODING];
const GRPC_TAKES: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_LENGTH, GRPC_ENCODING];
/// Of a legacy report: its clients want their answer in the type that they ask for, and Firehose names its request.
const LEGACY_TAKES: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    ACCEPT,
    FIREHOSE_REQUEST,
    FIREHOSE_VERSION,
];
const QUERY_TAKES: [HeaderName; 2] = [CONTENT_TYPE, ACCEPT];

/// What of an export's or report's head may go on, out of all that the caller sent, and what its body was read as.
pub(crate) fn taken(protocol: Protocol, media_type: &str, incoming: &HeaderMap) -> HeaderMap {
    let names: &[HeaderName] = match protocol {
        // Which of them a route needs is decided where its head is built.
        Protocol::Http => &LEGACY_TAKES,
        Protocol::Grpc => &GRPC_TAKES,
    };
    let taken = names.iter().filter(|name| **name != CONTENT_TYPE);
    let taken = taken.filter_map(|name| Some((name.clone(), incoming.get(name)?.clone())));
    taken.chain(written(media_type)).collect()
}

/// What of a query's head may go on, all of which may change the answer; and what its body is, if it has one.
pub(crate) fn taken_by_queries(
    profile: &Profile,
    incoming: &HeaderMap,
    has_body: bool,
) -> HeaderMap {
    let names = [&ACCEPT].into_iter().chain(&profile.tenant_header);
    let taken = names.filter_map(|name| Some((name.clone(), incoming.get(name)?.clone())));
    let sent = incoming
        .get(CONTENT_TYPE)
        .and_then(|value| MediaType::parse(value.as_bytes()));
    let media_type = sent
        .and_then(MediaType::json_document)
        .unwrap_or(media_type::JSON);
    taken
        .chain(written(media_type).filter(|_| has_body))
        .collect()
}

fn written(media_type: &str) -> Option<(HeaderName, HeaderValue)> {
    // Ours or a profile's word; one that cannot be sent is left out, and the backend refuses the body.
    HeaderValue::from_str(media_type)
        .ok()
        .map(|value| (CONTENT_TYPE, value))
}

/// A head that cannot be built: a defect of ours, answered as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadDefect;

/// The head of a gRPC export.
pub(crate) fn grpc(
    route: &Route,
    lease: &Lease,
    backend: &Backend,
    profile: &Profile,
    incoming: &HeaderMap,
    patience: Option<Duration>,
) -> Result<Request<()>, HeadDefect> {
    let scheme = if backend.settings.tls {
        "https"
    } else {
        "http"
    };
    let target = format!(
        "{scheme}://{}{}{}",
        backend.authority,
        backend.settings.base_path,
        route.path_and_query()
    );
    let mut head = Request::builder()
        .method(Method::POST)
        .uri(target)
        .version(Version::HTTP_2);
    head = head
        .header(USER_AGENT, PRODUCT)
        .header(TE, HeaderValue::from_static("trailers"));
    for name in GRPC_TAKES {
        if let Some(value) = incoming.get(&name) {
            head = head.header(name, value.clone());
        }
    }
    if let Some(patience) = patience {
        head = head.header(
            GRPC_TIMEOUT,
            grpc_timeout(patience.min(backend.settings.read_timeout)),
        );
    }
    // Answers are small and must be read by us: no encoding is offered.
    head = head.header(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in &*credentials(route, lease, profile)? {
        head = head.header(name, value.clone());
    }
    head.body(()).map_err(|_| HeadDefect)
}

/// In milliseconds, at least one, or in seconds where 8 digits do not suffice (gRPC over HTTP/2, "Timeout").
fn grpc_timeout(patience: Duration) -> String {
    match patience.as_millis().max(1) {
        millis @ 1..=99_999_999 => format!("{millis}m"),
        _ => format!("{}S", patience.as_secs().min(99_999_999)),
    }
}

/// The head of an HTTP/1.1 request without its framing and final empty line. Wiped when dropped: it holds
/// the credential.
pub(crate) fn http1(
    method: &Method,
    route: &Route,
    lease: &Lease,
    backend: &Backend,
    profile: &Profile,
    organization: &str,
    incoming: &HeaderMap,
) -> Result<Zeroizing<Vec<u8>>, HeadDefect> {
    let (base, path) = target(route, lease);
    let credentials = credentials(route, lease, profile)?;
    let room = credentials
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    let room = room.sum::<usize>() + base.len() + path.len() + USUAL_HEAD_BYTES;
    let mut head = Zeroizing::new(Vec::with_capacity(room));
    for part in [
        method.as_str(),
        " ",
        &backend.settings.base_path,
        base,
        path,
        " HTTP/1.1\r\n",
    ] {
        head.extend_from_slice(part.as_bytes());
    }
    put(&mut head, &HOST, backend.authority.as_bytes());
    put(&mut head, &USER_AGENT, PRODUCT.as_bytes());
    let (takes, encodings): (&[HeaderName], &[u8]) = match (route.lane(), route.legacy()) {
        // Answers to exports are small: no encoding is offered.
        (Lane::Streamed(_), None) => (&HTTP_TAKES, b"identity"),
        (Lane::Streamed(_), Some(_)) => (&LEGACY_TAKES, b"identity"),
        (Lane::Terminated(_), _) => (&QUERY_TAKES, b"gzip"),
    };
    for name in takes {
        if let Some(value) = incoming.get(name) {
            put(&mut head, name, value.as_bytes());
        }
    }
    put(&mut head, &ACCEPT_ENCODING, encodings);
    // The tenant's name is ours to say; clients that send it expect it to arrive.
    if matches!(route.lane(), Lane::Terminated(_))
        && let Some(name) = &profile.tenant_header
        && incoming.contains_key(name)
    {
        put(
            &mut head,
            name,
            HeaderValue::from_str(organization)
                .map_err(|_| HeadDefect)?
                .as_bytes(),
        );
    }
    for (name, value) in &*credentials {
        put(&mut head, name, value.as_bytes());
    }
    // Backends of some legacy formats look for the token where the client would have put it.
    match route.legacy().map(|(_, place)| place) {
        Some(TokenPlace::Password) => {
            let basic = Zeroizing::new(
                ["Basic ", &Zeroizing::new(basic(lease.secret().expose()))].concat(),
            );
            put(&mut head, &AUTHORIZATION, basic.as_bytes());
        }
        Some(TokenPlace::FirehoseKey) => put(&mut head, &FIREHOSE_KEY, lease.secret().expose()),
        Some(TokenPlace::Header) | None => {}
    }
    Ok(head)
}

/// The head of an export without any telemetry, with which a token is tried. The body is empty, too: of OTLP's messages in
/// protobuf each has its default.
pub(crate) fn empty_export(backend: &Backend, trial: &Trial) -> Zeroizing<Vec<u8>> {
    let form = trial.head();
    let mut head = Zeroizing::new(Vec::with_capacity(USUAL_HEAD_BYTES * 2));
    let path = form.path.as_deref().unwrap_or(trial.path());
    for part in [
        "POST ",
        &backend.settings.base_path,
        &form.base,
        path,
        " HTTP/1.1\r\n",
    ] {
        head.extend_from_slice(part.as_bytes());
    }
    put(&mut head, &HOST, backend.authority.as_bytes());
    put(&mut head, &USER_AGENT, PRODUCT.as_bytes());
    put(&mut head, &CONTENT_TYPE, media_type::PROTOBUF.as_bytes());
    put(&mut head, &ACCEPT_ENCODING, b"identity");
    for (name, value) in &form.headers {
        put(&mut head, name, value.as_bytes());
    }
    head
}

/// The token as the password of an empty user name, as HTTP Basic has it (RFC 7617 section 2). To be wiped.
pub(crate) fn basic(token: &[u8]) -> String {
    let pair = Zeroizing::new([b":", token].concat());
    base64::engine::general_purpose::STANDARD.encode(&*pair)
}

/// Values come from `HeaderValue`s, which hold no line ends.
fn put(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// What stands before the path over HTTP, and the path: an export's are the backend's, if its profile says so.
fn target<'r>(route: &'r Route, lease: &'r Lease) -> (&'r str, &'r str) {
    let asked = route.path_and_query();
    let form = route.export().and_then(|signal| lease.export(signal));
    form.map_or(("", asked), |form| {
        (&form.base, form.path.as_deref().unwrap_or(asked))
    })
}

/// Of exports and reports the headers that were made with the lease, of a query the key's.
fn credentials<'l>(
    route: &Route,
    lease: &'l Lease,
    profile: &Profile,
) -> Result<Cow<'l, [(HeaderName, HeaderValue)]>, HeadDefect> {
    match route.credential() {
        Credential::AccessToken => {
            let signal = route.signal().ok_or(HeadDefect)?;
            let form = lease.export(signal).ok_or(HeadDefect)?;
            Ok(Cow::Borrowed(&form.headers))
        }
        Credential::Read | Credential::Write | Credential::Admin => {
            let value = lease.header_value(profile.api_key_scheme.as_deref());
            let value = value.ok_or(HeadDefect)?;
            Ok(Cow::Owned(vec![(profile.api_key_header.clone(), value)]))
        }
    }
}

#[cfg(test)]
mod tests;
