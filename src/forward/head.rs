//! The outgoing head, built from a list.
//!
//! What it does: makes the head that the backend gets out of the route, the lease and the few headers of
//! the caller's that a backend needs. What it refuses to know: everything else that the caller sent.
//! Invariants: an absent name here is the reason why a credential of the caller's cannot pass; exactly one
//! credential goes out, and it is the lease's.

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use pingora_http::RequestHeader;

use super::Backend;
use crate::accept::Protocol;
use crate::profiles::{Credential, Profile};
use crate::route::Route;
use crate::vault::Lease;

const PRODUCT: HeaderValue = HeaderValue::from_static(concat!("lightkeeper/", env!("CARGO_PKG_VERSION")));
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const TENANT: HeaderName = HeaderName::from_static("x-lightstep-org");

/// What may be taken over from the caller's head, by protocol.
const HTTP_TAKES: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LENGTH];
const GRPC_TAKES: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_LENGTH, GRPC_ENCODING, GRPC_TIMEOUT];
const QUERY_TAKES: [HeaderName; 2] = [CONTENT_TYPE, ACCEPT];

/// A head that cannot be built: a defect of ours, answered as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadDefect;

/// The head of a streamed export.
pub fn streamed(
    route: &Route,
    protocol: Protocol,
    lease: &Lease,
    backend: &Backend,
    profile: &Profile,
    incoming: &HeaderMap,
    version: Version,
) -> Result<RequestHeader, HeadDefect> {
    let target = format!("{}{}", backend.settings.base_path, route.path_and_query());
    let mut head = RequestHeader::build_no_case(Method::POST, target.as_bytes(), Some(10)).map_err(|_| HeadDefect)?;
    head.set_version(version);
    let mut put =
        |name: HeaderName, value: HeaderValue| head.append_header(name, value).map(drop).map_err(|_| HeadDefect);
    put(HOST, HeaderValue::from_str(&backend.authority).map_err(|_| HeadDefect)?)?;
    put(USER_AGENT, PRODUCT)?;
    let takes: &[HeaderName] = match protocol {
        Protocol::Http => &HTTP_TAKES,
        Protocol::Grpc => &GRPC_TAKES,
    };
    for name in takes {
        if let Some(value) = incoming.get(name) {
            put(name.clone(), value.clone())?;
        }
    }
    match protocol {
        // Answers are small and must be read by us: no encoding is offered.
        Protocol::Http => put(ACCEPT_ENCODING, HeaderValue::from_static("identity"))?,
        Protocol::Grpc => {
            put(TE, HeaderValue::from_static("trailers"))?;
            put(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"))?;
        }
    }
    let (name, value) = credential(route, lease, profile)?;
    put(name, value)?;
    Ok(head)
}

/// The head of a terminated query.
pub fn terminated(
    method: &Method,
    route: &Route,
    lease: &Lease,
    backend: &Backend,
    profile: &Profile,
    organization: &str,
    incoming: &HeaderMap,
) -> Result<http::request::Builder, HeadDefect> {
    let target = format!("{}{}{}", backend.origin, backend.settings.base_path, route.path_and_query());
    let mut builder = http::Request::builder().method(method.clone()).uri(target).header(USER_AGENT, PRODUCT);
    for name in QUERY_TAKES {
        if let Some(value) = incoming.get(&name) {
            builder = builder.header(name, value.clone());
        }
    }
    // The tenant's name is ours to say; clients that send it expect it to arrive.
    if incoming.contains_key(&TENANT) {
        builder = builder.header(TENANT, HeaderValue::from_str(organization).map_err(|_| HeadDefect)?);
    }
    let (name, value) = credential(route, lease, profile)?;
    Ok(builder.header(ACCEPT_ENCODING, HeaderValue::from_static("gzip")).header(name, value))
}

fn credential(route: &Route, lease: &Lease, profile: &Profile) -> Result<(HeaderName, HeaderValue), HeadDefect> {
    let (name, scheme) = match route.credential() {
        Credential::AccessToken => (&profile.access_token_header, None),
        Credential::Read | Credential::Write | Credential::Admin => {
            (&profile.api_key_header, profile.api_key_scheme.as_deref())
        }
    };
    Ok((name.clone(), lease.header_value(scheme).ok_or(HeadDefect)?))
}
