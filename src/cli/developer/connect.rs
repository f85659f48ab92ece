//! `lightkeeper connect`: a local port that adds the developer's identity.
//!
//! What it does: passes requests of tools on this machine to the gateway with a fresh token, both bodies streamed, but for what
//! of a request is held so that it can be repeated with the gateway's nonce (`held.rs`). What it refuses
//! to know: what is asked; paths, queries and bodies go as they come. Invariants: it listens on loopback only; without `--open`
//! who does not present the key is refused, because every user of the machine reaches the port; browsers' pages and foreign
//! names for this address are refused (DNS rebinding); no credential of a tool's goes on; connections are bounded.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header, request,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::ConnectArguments;
use super::ask::ask;
use super::failure::{DENIED, Failure};
use super::held::{HeldBody, hold};
use super::key::{LocalKey, credentials};
use super::session::{ToolEvidence, ToolSession};
use super::web::unanswered;
use crate::cli::argument::ArgumentFault;
use crate::egress::{OutboundFault, SendBody};
use crate::media_type::{self, MediaType};
use crate::otlp::{self, Encoding, Signal};
use crate::profiles::Profile;

const CONNECTIONS: usize = 256;
/// Heads and idle connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// From the whole head to the gateway's head.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
const HEAD_LIMIT_BYTES: usize = 64 << 10;
/// What of a request's body is held to be sent once more; a usual batch of spans has less. All together a gigabyte at most.
const HELD_LIMIT_BYTES: usize = 4 << 20;

/// Headers of one connection (RFC 9110 section 7.6.1), beside those that `connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// A running local port.
struct Local {
    session: ToolSession,
    address: SocketAddr,
    /// `None`: with `--open`.
    key: Option<LocalKey>,
    /// The gateway's `host[:port]`, and its scheme.
    authority: HeaderValue,
}

/// Serves until Ctrl-C.
pub(crate) async fn connect(
    session: ToolSession,
    arguments: &ConnectArguments,
) -> Result<(), Failure> {
    let listen = arguments.listen;
    let key = match (&arguments.key_file, arguments.open) {
        (_, true) => None,
        (Some(file), false) => Some(LocalKey::kept(file)?),
        (None, false) => Some(LocalKey::fresh()?),
    };
    let unusable =
        |error: std::io::Error| Failure::new(format!("`{listen}` cannot be listened on: {error}"));
    let listener = TcpListener::bind(listen).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    // That the login is over, or the role unknown, is told now, not at the first request.
    session.evidence().await?;
    let organization = match &session.organization {
        Some(known) => Some(known.clone()),
        None => organization(&session).await?,
    };
    let authority = session
        .gateway
        .split_once("://")
        .map_or("", |(_, authority)| authority);
    let authority =
        HeaderValue::from_str(authority).map_err(|error| Failure::new(error.to_string()))?;
    if key.is_none() {
        eprintln!(
            "warning: with --open every user and program of this machine that reaches {address} acts as you"
        );
    }
    println!(
        "{}",
        settings(&session, organization.as_deref(), address, key.as_ref())
    );
    let local = Arc::new(Local {
        session,
        address,
        key,
        authority,
    });
    tokio::select! {
        failed = serve(local, listener) => Err(failed),
        stopped = tokio::signal::ctrl_c() => stopped.map_err(|error| Failure::new(format!("signals cannot be had: {error}"))),
    }
}

async fn serve(local: Arc<Local>, listener: TcpListener) -> Failure {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Failure::new("connections cannot be counted");
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return Failure::new(format!("listening failed: {error}")),
        };
        let local = local.clone();
        tokio::spawn(async move {
            local.converse(stream).await;
            drop(place);
        });
    }
}

impl Local {
    async fn converse(self: Arc<Self>, stream: TcpStream) {
        // Small pieces of a streamed answer should not wait; a socket that refuses this still works.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request: Request<Incoming>| {
            let local = self.clone();
            async move { Ok::<_, Infallible>(local.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_LIMIT_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        // A tool that hangs up is the tool's affair.
        let _ = connection.await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<SendBody> {
        let dialect = ErrorFormat::of(&request);
        let refusal = |status, message: &str| refusal(dialect, status, message);
        if let Err((status, message)) = judge(&request, self.address, self.key.as_ref()) {
            return refusal(status, message);
        }
        let failed = |failure: &Failure| {
            let status = if failure.login_needed {
                StatusCode::UNAUTHORIZED
            } else {
                StatusCode::BAD_GATEWAY
            };
            refusal(status, &said(failure))
        };
        let evidence = match self.session.evidence().await {
            Ok(evidence) => evidence,
            Err(failure) => return failed(&failure),
        };
        let (head, body) = request.into_parts();
        // Nothing is repeated for a token that is bound to no key.
        let limit_bytes = match evidence.key {
            Some(_) => HELD_LIMIT_BYTES,
            None => 0,
        };
        let Ok(held) = tokio::time::timeout(ANSWER_TIMEOUT, hold(body, limit_bytes)).await else {
            return refusal(
                StatusCode::REQUEST_TIMEOUT,
                "the request's body does not come",
            );
        };
        let held = match held {
            Ok(held) => held,
            Err(error) => {
                let message = format!("the request's body cannot be read: {error}");
                return refusal(StatusCode::BAD_REQUEST, &message);
            }
        };
        let (body, again) = match held {
            HeldBody::Whole(body) => (whole(body.clone()), Some((head.clone(), body))),
            HeldBody::Streams(body) => {
                // What streams is gone when the gateway asks for its nonce.
                if let Err(failure) = self.session.prepare(&evidence).await {
                    return failed(&failure);
                }
                (body, None)
            }
        };
        let unsent = |error: &dyn std::fmt::Display| {
            refusal(
                StatusCode::BAD_REQUEST,
                &format!("the request cannot be passed on: {error}"),
            )
        };
        let request = match self.onward(head, body, &evidence) {
            Ok(request) => request,
            Err(error) => return unsent(&error.message),
        };
        let mut passed = self.pass(request).await;
        if let (Ok(Ok(answer)), Some((head, body))) = (&passed, again)
            && self.session.heard(answer.status(), answer.headers())
        {
            match self.onward(head, whole(body), &evidence) {
                Ok(request) => passed = self.pass(request).await,
                Err(error) => return unsent(&error.message),
            }
        }
        match passed {
            Ok(Ok(answer)) => self.back(answer),
            Ok(Err(fault)) => refusal(
                StatusCode::BAD_GATEWAY,
                &said(&unanswered(
                    &fault,
                    &format!("the gateway `{}`", self.session.gateway),
                )),
            ),
            Err(_) => refusal(
                StatusCode::GATEWAY_TIMEOUT,
                "the gateway has not answered in time",
            ),
        }
    }

    async fn pass(
        &self,
        request: Request<SendBody>,
    ) -> Result<Result<Response<Incoming>, OutboundFault>, tokio::time::error::Elapsed> {
        let passed = tokio::time::timeout(ANSWER_TIMEOUT, self.session.web.pass(request)).await;
        if let Ok(Ok(answer)) = &passed {
            self.session.heard(answer.status(), answer.headers());
        }
        passed
    }

    /// The same request for the gateway, in its name, with the developer's token as the only credential.
    fn onward(
        &self,
        head: request::Parts,
        body: SendBody,
        evidence: &ToolEvidence,
    ) -> Result<Request<SendBody>, Failure> {
        let unfit = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let url = format!("{}{target}", self.session.gateway);
        let uri: Uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| unfit(&error))?;
        let mut headers = head.headers;
        strip(&mut headers);
        for name in credentials() {
            headers.remove(name);
        }
        let method = head.method.as_str();
        self.session.show(evidence, &mut headers, method, &url)?;
        headers.insert(header::HOST, self.authority.clone());
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The gateway's answer, with links in its head that lead here again. Bodies are never touched: a link in one may be a
    /// person's own data, which Terraform would find changed.
    fn back(&self, answer: Response<Incoming>) -> Response<SendBody> {
        let (mut head, body) = answer.into_parts();
        head.version = Version::HTTP_11;
        strip(&mut head.headers);
        let here = format!("http://{}", self.address);
        for name in [header::LOCATION, header::LINK] {
            let old: Vec<HeaderValue> = head.headers.get_all(&name).iter().cloned().collect();
            head.headers.remove(&name);
            for value in old {
                let moved = value
                    .to_str()
                    .ok()
                    .map(|text| relocate(text, &self.session.gateway, &here));
                let moved = moved.and_then(|text| HeaderValue::from_str(&text).ok());
                head.headers.append(name.clone(), moved.unwrap_or(value));
            }
        }
        Response::from_parts(head, body.boxed_unsync())
    }
}

/// Replaces an origin where it ends as one: `https://gateway.example` but not `https://gateway.example.evil`.
fn relocate(text: &str, from: &str, to: &str) -> String {
    let mut moved = String::with_capacity(text.len());
    let mut parts = text.split(from);
    moved.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let ends = part
            .chars()
            .next()
            .is_none_or(|next| matches!(next, '/' | '?' | '#' | '>' | ' ' | ',' | '"' | ';'));
        moved.push_str(if ends { to } else { from });
        moved.push_str(part);
    }
    moved
}

fn whole(body: Bytes) -> SendBody {
    Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Whether a tool of the developer's asks, and not another user of this machine, or a page in its browser.
fn judge<B>(
    request: &Request<B>,
    address: SocketAddr,
    key: Option<&LocalKey>,
) -> Result<(), (StatusCode, &'static str)> {
    let headers = request.headers();
    if request.method() == Method::CONNECT
        || request.uri().authority().is_some()
        || request.uri().path() == "*"
    {
        return Err((
            StatusCode::BAD_REQUEST,
            "this is no forward proxy: use its address as the base URL",
        ));
    }
    let port = address.port();
    let names = [address.to_string(), format!("localhost:{port}")];
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts
        .next()
        .and_then(|host| host.to_str().ok())
        .filter(|_| hosts.next().is_none());
    let ours = host.is_some_and(|host| names.iter().any(|name| name.eq_ignore_ascii_case(host)));
    if !ours {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "the `host` header does not name this address",
        ));
    }
    let by_page = headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| site != "none");
    if headers.contains_key(header::ORIGIN) || by_page {
        return Err((
            StatusCode::FORBIDDEN,
            "pages in a browser may not use this address",
        ));
    }
    if key.is_some_and(|key| !key.is_presented(headers)) {
        return Err((
            StatusCode::UNAUTHORIZED,
            "present the key that `lightkeeper connect` printed when it began",
        ));
    }
    Ok(())
}

fn said(failure: &Failure) -> String {
    match &failure.advice {
        Some(advice) => format!("{}: {advice}", failure.message),
        None => failure.message.clone(),
    }
}

/// How the tool reads an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorFormat {
    /// As the query API writes it.
    Query,
    /// A `google.rpc.Status` (OTLP specification, "Failures").
    Otlp(Encoding),
}

impl ErrorFormat {
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let is_export = Signal::ALL.iter().any(|signal| {
            let name = signal.name();
            path.ends_with(&format!("/v1/{name}")) || path.ends_with(&format!("/{name}/otlp/v0.9"))
        });
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        match is_export {
            false => ErrorFormat::Query,
            true if MediaType::glimpse(kind).is_json() => ErrorFormat::Otlp(Encoding::Json),
            true => ErrorFormat::Otlp(Encoding::Protobuf),
        }
    }

    fn write(self, status: StatusCode, message: &str) -> (&'static str, Vec<u8>) {
        // google.rpc.Code: INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED, DEADLINE_EXCEEDED, UNAVAILABLE.
        let code = match status.as_u16() {
            401 => 16,
            403 | 421 => 7,
            504 => 4,
            502 => 14,
            _ => 3,
        };
        match self {
            ErrorFormat::Query => (
                media_type::JSON,
                json!({ "errors": [message] }).to_string().into_bytes(),
            ),
            ErrorFormat::Otlp(encoding) => (
                encoding.media_type(),
                otlp::status_body(encoding, code, message),
            ),
        }
    }
}

/// An error in the tool's words, so that it shows it.
fn refusal(dialect: ErrorFormat, status: StatusCode, message: &str) -> Response<SendBody> {
    let (kind, body) = dialect.write(status, &format!("lightkeeper connect: {message}"));
    let mut response = Response::new(whole(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"lightkeeper connect\""),
        );
    }
    response
}

/// The gateway's organization, as it tells those that it identifies. `None`: it cannot be asked now.
async fn organization(session: &ToolSession) -> Result<Option<String>, Failure> {
    match ask(session, Method::GET, "/.lightkeeper/whoami", &[], None).await {
        Ok(me) => Ok(me
            .get("organization")
            .and_then(|name| name.as_str())
            .map(str::to_owned)),
        Err(failure) if failure.status == DENIED || failure.login_needed => Err(Failure {
            status: DENIED,
            advice: Some("the gateway's `aws:` names audience, accounts and regions".to_owned()),
            ..failure
        }),
        Err(failure) => {
            eprintln!("warning: {}", failure.message);
            Ok(None)
        }
    }
}

fn settings(
    session: &ToolSession,
    organization: Option<&str>,
    address: SocketAddr,
    key: Option<&LocalKey>,
) -> String {
    let gateway = &session.gateway;
    let organization = super::text::clean(organization.unwrap_or("ORGANIZATION"));
    let profile = Profile::standard();
    let header = profile.access_token_header.as_ref();
    let (header, prefix) = (
        header.map_or("", |name| name.as_str()),
        &profile.query_prefix,
    );
    let (key, about) = match key {
        Some(key) => (
            key.expose(),
            "Tools must present this key. Keep it like a password",
        ),
        None => ("any", "Any key is taken"),
    };
    format!(
        r#"Listening on http://{address} for {gateway}, as you. Ctrl-C ends it.
{about}: {key}

# Terraform's Lightstep provider
export LIGHTSTEP_API_URL=http://{address} LIGHTSTEP_ORG={organization} LIGHTSTEP_API_KEY={key}
# Grafana's Lightstep data source: the API's host is http://{address}, the key is the one above
# An OpenTelemetry SDK or Collector, over HTTP
export OTEL_EXPORTER_OTLP_ENDPOINT=http://{address} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_EXPORTER_OTLP_HEADERS={header}={key}
# Anything else
curl -H "Authorization: Bearer {key}" http://{address}{prefix}/{organization}/projects
"#
    )
}

/// `127.0.0.1:PORT` or `[::1]:PORT`.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, ArgumentFault> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| ArgumentFault::Form("`127.0.0.1:9411`"))?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(ArgumentFault::NotLoopback),
    }
}

#[cfg(test)]
mod tests;
