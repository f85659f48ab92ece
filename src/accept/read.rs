//! From a framework's parsed head to `Caller` and `Call`.
//!
//! What it does: checks the header list as a whole, finds the evidence, and matches the canonical path
//! against the profile. What it refuses to know: whether the evidence holds, whether the ask is allowed.
//! Invariants: every check looks at all lines of a name; two different credentials are refused, not
//! chosen from; the result borrows nothing of the head.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::call::{Call, Dialect, RequestKind};
use super::connection::Connection;
use super::{
    AssertionHeader, Caller, Fault, SessionCookie, assertion, cookies, evidence, head,
    header_blocks, kind, legacy, path, proof, site,
};
use crate::lightstep::{FIREHOSE_KEY, FIREHOSE_REQUEST, FIREHOSE_VERSION};
use crate::limits::Limits;
use crate::media_type::MediaType;
use crate::otlp::Encoding;
use crate::profiles::{Profile, TokenPlace};

/// Names that decide something here or at any backend.
const DECIDING: [&str; 9] = [
    "content-type",
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "lightkeeper-app",
    "lightkeeper-refused",
    "grpc-encoding",
    "grpc-timeout",
    "proxy-connection",
];

/// A head that was refused, and what of it can be recorded.
#[derive(Debug)]
pub struct RefusedHead {
    pub fault: Fault,
    pub dialect: Dialect,
}

/// Reads one head. `assertions`: the headers in which proxies state who calls.
pub fn read(
    parts: &Parts,
    connection: &Connection,
    profile: &Profile,
    assertions: &[AssertionHeader],
    limits: &Limits,
) -> Result<(Caller, Call), RefusedHead> {
    let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let dialect = glimpse_dialect(
        parts.uri.path(),
        content_type,
        parts.version == Version::HTTP_2,
    );
    read_in(parts, connection, profile, assertions, limits, dialect)
        .map_err(|fault| RefusedHead { fault, dialect })
}

fn read_in(
    parts: &Parts,
    connection: &Connection,
    profile: &Profile,
    assertions: &[AssertionHeader],
    limits: &Limits,
    dialect: Dialect,
) -> Result<(Caller, Call), Fault> {
    check_lines(parts, profile, assertions, limits)?;
    let authority = authority(parts)?;
    check_connection(parts)?;
    if !super::is_known_method(parts.method.as_str().as_bytes()) {
        return Err(Fault::Method);
    }
    // The one path with a slash at its end.
    let is_home = parts.uri.path() == site::HOME;
    let segments = path::segments(if is_home {
        "/.lightkeeper"
    } else {
        parts.uri.path()
    })?;
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    if connection.listener().serves.legacy && profile.takes_token_in_url(kind::addressed(&words).1)
    {
        return Err(Fault::TokenInUrl);
    }
    let query = match parts.uri.query() {
        Some(query) if words.first() == Some(&".lightkeeper") => path::texts(query)?,
        Some(query) => path::pairs(query)?,
        None => Vec::new(),
    };
    // RFC 6750 section 5.3: a token in a URL ends up in logs; it is refused whatever else is right.
    if query.iter().any(|(key, _)| {
        key.eq_ignore_ascii_case("access_token") || key.eq_ignore_ascii_case("token")
    }) {
        return Err(Fault::CredentialConflict);
    }
    let cookies = cookies::ours(&parts.headers)?;
    let canonical = if is_home {
        site::HOME.to_owned()
    } else {
        path::join(words.iter().copied())
    };
    // The path may be spelled in another way than the one that was glimpsed.
    let dialect = site::dialect(&canonical).unwrap_or(dialect);
    let legacy::FoundReport {
        kind: mut ask,
        token,
    } = match words.as_slice() {
        [".lightkeeper", words @ ..]
            if connection.listener().serves.web && *words != ["whoami"] =>
        {
            let asked = site::ask(&parts.method, words, is_home, query, cookies.login)?;
            legacy::FoundReport {
                kind: asked.map_or(RequestKind::Unknown, RequestKind::Site),
                token: TokenPlace::Header,
            }
        }
        words => {
            let has_name = connection.listener().public_url.is_some();
            let metadata = site::metadata(&parts.method, words, &query).filter(|_| has_name);
            match metadata {
                Some(metadata) => legacy::FoundReport {
                    kind: RequestKind::Site(metadata),
                    token: TokenPlace::Header,
                },
                None => kind::ask(parts, connection, profile, words, &canonical, query)?,
            }
        }
    };
    let authority = match authority {
        Some(authority) => authority,
        None if needs_host(&ask, dialect) => return Err(Fault::Host),
        None => String::new(),
    };
    let token = evidence::token(
        &parts.headers,
        profile,
        assertions,
        token,
        connection.chain.is_some(),
    )?;
    if let (Some(token), true) = (&token, cookies.session.is_some()) {
        // A person cannot keep the proxy from adding its assertion: the cookie goes.
        let is_assertion = token.assertion().is_some();
        return Err(if is_assertion {
            Fault::CookieConflict
        } else {
            Fault::CredentialConflict
        });
    }
    let session = cookies.session.filter(|_| takes_session(&ask, dialect));
    let session = session.map(|value| SessionCookie {
        value,
        origin: connection.origin(&authority),
    });
    let proof = proof::presented(
        &parts.headers,
        token.as_ref(),
        &parts.method,
        connection,
        &canonical,
    );
    let caller = Caller {
        token,
        certificate: connection.chain.clone(),
        session,
        proof,
        address: connection.peer.ip(),
    };
    if let RequestKind::Legacy(ask) = &mut ask {
        ask.body_first = ask.format.may_carry_token() && !caller.has_evidence();
    }
    Ok((
        caller,
        Call {
            method: parts.method.clone(),
            path: canonical,
            authority,
            dialect,
            kind: ask,
        },
    ))
}

/// Whether it matters by which name we are called. It does where a browser's cookies, origins and links depend on it; an
/// export goes where its sender and its app lead it, and meshes put their own names there.
fn needs_host(ask: &RequestKind, dialect: Dialect) -> bool {
    match ask {
        RequestKind::Ingest(_) | RequestKind::Legacy(_) | RequestKind::Unacceptable(_) => false,
        RequestKind::Unknown => dialect != Dialect::Grpc,
        RequestKind::Query(_)
        | RequestKind::Own(_)
        | RequestKind::Site(_)
        | RequestKind::Tree(_)
        | RequestKind::Alert(_) => true,
    }
}

/// A browser sends its cookies wherever it is led; they prove something only where people go. What workloads send, and
/// what a backend tells, is never a session's.
fn takes_session(ask: &RequestKind, dialect: Dialect) -> bool {
    match ask {
        RequestKind::Query(_)
        | RequestKind::Own(_)
        | RequestKind::Site(_)
        | RequestKind::Tree(_) => true,
        RequestKind::Unknown => dialect == Dialect::Page,
        RequestKind::Ingest(_)
        | RequestKind::Legacy(_)
        | RequestKind::Alert(_)
        | RequestKind::Unacceptable(_) => false,
    }
}

/// Every header line: count, size, bytes; and the names that must stand alone.
fn check_lines(
    parts: &Parts,
    profile: &Profile,
    assertions: &[AssertionHeader],
    limits: &Limits,
) -> Result<(), Fault> {
    let mut bytes = parts
        .uri
        .path_and_query()
        .map_or(1, |target| target.as_str().len());
    if parts.headers.len() > limits.header_count as usize {
        return Err(Fault::HeadTooLarge);
    }
    for (name, value) in &parts.headers {
        bytes += name.as_str().len() + value.len() + 4;
        // The framework lets `_` and blanks at the ends pass over HTTP/2. gRPC's metadata may have it; nothing reads such
        // a name, unless a backend takes it for one with `-`.
        let name = name.as_str();
        let is_deciding = || {
            decides(&name.replace('_', "-"), profile) || assertion::is_spelling_of(name, assertions)
        };
        if name.contains('_') && (parts.version != Version::HTTP_2 || is_deciding()) {
            return Err(Fault::HeaderLine);
        }
        let value = value.as_bytes();
        let padded = value.first().is_some_and(u8::is_ascii_whitespace)
            || value.last().is_some_and(u8::is_ascii_whitespace);
        if !super::is_header_value(value) || (padded && parts.version == Version::HTTP_2) {
            return Err(Fault::HeaderLine);
        }
    }
    if bytes > limits.header_bytes as usize {
        return Err(Fault::HeadTooLarge);
    }
    // Over HTTP/2 the framework cuts a target off at a `#`: what stood there is known from the frame alone.
    if parts.version == Version::HTTP_2 && parts.headers.contains_key(header_blocks::REFUSED) {
        return Err(Fault::Target);
    }
    // As many names as lines: no name stands twice.
    if parts.headers.keys_len() == parts.headers.len() {
        return Ok(());
    }
    for name in [
        &CONTENT_TYPE,
        &CONTENT_ENCODING,
        &CONTENT_LENGTH,
        &TRANSFER_ENCODING,
        &EXPECT,
        &TE,
        &kind::APP_HEADER,
        &kind::GRPC_TIMEOUT,
    ] {
        if more_than_one(&parts.headers, name) {
            return Err(Fault::HeaderConflict);
        }
    }
    Ok(())
}

/// Whether a name decides something here, or at the backend of this profile.
fn decides(name: &str, profile: &Profile) -> bool {
    let of_firehose = [FIREHOSE_KEY, FIREHOSE_REQUEST, FIREHOSE_VERSION]
        .iter()
        .any(|known| known == name);
    DECIDING.contains(&name) || of_firehose || profile.reads_header(name)
}

fn more_than_one(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// The one authority of the request (RFC 9110 section 7.2, RFC 9113 section 8.3.1). `None`: over HTTP/2 there is one, but
/// it is no host; then it is no matter what it was.
fn authority(parts: &Parts) -> Result<Option<String>, Fault> {
    if more_than_one(&parts.headers, &HOST) {
        return Err(Fault::Host);
    }
    let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    let target = parts
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    // Over HTTP/2 the scheme is the client's to say; a proxy before us may have ended TLS.
    if parts
        .uri
        .scheme_str()
        .is_some_and(|scheme| !matches!(scheme, "http" | "https"))
    {
        return Err(Fault::Target);
    }
    let authority = match (host, target) {
        (_, Some(target)) if parts.version == Version::HTTP_2 && !head::is_host(target) => {
            return Ok(None);
        }
        (Some(host), Some(target)) if host != target => return Err(Fault::Host),
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => return Err(Fault::Host),
    };
    if !head::is_host(authority) {
        return if parts.version == Version::HTTP_2 {
            Ok(None)
        } else {
            Err(Fault::Host)
        };
    }
    String::from_utf8(authority.to_vec())
        .map(Some)
        .map_err(|_| Fault::Host)
}

/// Hop-by-hop fields: they must not decide which of our headers survive (CVE-2024-45410's class).
fn check_connection(parts: &Parts) -> Result<(), Fault> {
    let headers = &parts.headers;
    // Over HTTP/1.1 an upgrade is an offer, which is ignored (RFC 9110 section 7.8).
    let is_http2 = parts.version == Version::HTTP_2;
    if is_http2 && (headers.contains_key(UPGRADE) || headers.contains_key("http2-settings")) {
        return Err(Fault::Upgrade);
    }
    if is_http2
        && [
            CONNECTION.as_str(),
            TRANSFER_ENCODING.as_str(),
            "keep-alive",
            "proxy-connection",
        ]
        .iter()
        .any(|name| headers.contains_key(*name))
    {
        return Err(Fault::HeaderLine);
    }
    for value in headers.get_all(CONNECTION) {
        let text = value.to_str().map_err(|_| Fault::HeaderConflict)?;
        for option in text.split(',').map(str::trim) {
            if !["close", "keep-alive", "te", "upgrade", "http2-settings", ""]
                .iter()
                .any(|known| option.eq_ignore_ascii_case(known))
            {
                return Err(Fault::HeaderConflict);
            }
        }
    }
    if let Some(te) = headers.get(TE)
        && !te.as_bytes().eq_ignore_ascii_case(b"trailers")
    {
        return Err(Fault::HeaderConflict);
    }
    if let Some(expect) = headers.get(EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(Fault::Expectation);
    }
    Ok(())
}

/// In whose language to answer, from what little may be known of a request. gRPC exists over HTTP/2 only:
/// anybody else would take its status 200 for success.
pub(super) fn glimpse_dialect(path: &str, content_type: Option<&[u8]>, http2: bool) -> Dialect {
    let kind = MediaType::glimpse(content_type.unwrap_or_default());
    if let Some(dialect) = site::dialect(path) {
        return dialect;
    }
    if path.starts_with("/apps/") && path.ends_with("/-/alerts") {
        return Dialect::Own;
    }
    if http2 && kind.is_grpc_of_any_kind() {
        return Dialect::Grpc;
    }
    if Profile::some_looks_like_query(path) {
        return Dialect::Query;
    }
    let json = kind.is_otlp_json();
    let ingest = Profile::some_looks_like_export(path);
    if let Some(format) = legacy::glimpse_format(path, json).filter(|_| !ingest) {
        return Dialect::Legacy(format);
    }
    match (ingest, json) {
        (true, true) => Dialect::Otlp(Encoding::Json),
        (true, false) => Dialect::Otlp(Encoding::Protobuf),
        (false, _) if kind.is_otlp_protobuf() => Dialect::Otlp(Encoding::Protobuf),
        (false, _) => Dialect::Own,
    }
}
