//! Sample callers: small clients that export and query as real ones do.
//!
//! What it does: speaks HTTP/1.1, h2c and TLS with or without a client certificate, sends OTLP over HTTP and
//! gRPC, queries, and bytes as they are; reads everything that comes back, trailers too. What it refuses to
//! know: what an answer should be. Invariants: every call has a deadline; what it reads is bounded.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::certificates::Leaf;
use super::samples::Sample;
use super::server::{certificates, private_key, roots};
use super::urls;
use crate::otlp::Encoding;

/// The largest answer that is read.
const ANSWER_LIMIT_BYTES: usize = 64 << 20;

/// Somebody who calls: an address, credentials, a way of speaking.
#[derive(Clone)]
pub struct SampleCaller {
    url: String,
    headers: Vec<(String, String)>,
    trusted: Option<String>,
    certificate: Option<Leaf>,
    http2: bool,
    gzip: bool,
    deadline: Duration,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub version: http::Version,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// Why nothing whole came back.
#[derive(Debug)]
pub enum CallFault {
    /// The caller was set up wrongly: an address, a header or a certificate that cannot be.
    Setup(String),
    /// No connection, or no TLS.
    Connect(String),
    /// The connection ended or broke before the head.
    NoAnswer(String),
    /// The head came, the body did not come whole.
    Broken { status: u16, read: Vec<u8>, cause: String },
    /// The deadline passed.
    Late,
}

impl std::fmt::Display for CallFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallFault::Setup(cause) => write!(formatter, "the call cannot be made: {cause}"),
            CallFault::Connect(cause) => write!(formatter, "cannot connect: {cause}"),
            CallFault::NoAnswer(cause) => write!(formatter, "no answer: {cause}"),
            CallFault::Broken { status, read, cause } => {
                write!(formatter, "the answer ({status}) broke off after {} bytes: {cause}", read.len())
            }
            CallFault::Late => formatter.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for CallFault {}

impl Answer {
    /// A header's first value, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The gRPC status: from the trailers, or from the head of a trailers-only answer.
    pub fn grpc_status(&self) -> Option<u32> {
        self.grpc("grpc-status")?.parse().ok()
    }

    /// The gRPC message, decoded.
    pub fn grpc_message(&self) -> Option<String> {
        self.grpc("grpc-message").map(|message| urls::decode(&message))
    }

    fn grpc(&self, name: &str) -> Option<String> {
        let value = self.trailers.get(name).or_else(|| self.headers.get(name))?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The gRPC message inside its frame.
    pub fn grpc_body(&self) -> Option<&[u8]> {
        self.body.get(5..)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, decompressed if it is gzip.
    pub fn json(&self) -> Option<serde_json::Value> {
        if self.header("content-encoding").as_deref() == Some("gzip") {
            let bounded = std::io::Read::take(flate2::read::GzDecoder::new(&self.body[..]), ANSWER_LIMIT_BYTES as u64);
            return serde_json::from_reader(bounded).ok();
        }
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether these bytes stand anywhere in the answer.
    pub fn contains(&self, needle: &[u8]) -> bool {
        let found = |hay: &[u8]| memchr::memmem::find(hay, needle).is_some();
        let pairs = self.headers.iter().chain(&self.trailers);
        found(&self.body)
            || pairs.into_iter().any(|(name, value)| found(name.as_str().as_bytes()) || found(value.as_bytes()))
    }
}

impl SampleCaller {
    /// Calls `http(s)://host:port` without credentials, over HTTP/1.1, with ten seconds' patience.
    pub fn new(url: &str) -> Self {
        SampleCaller {
            url: url.trim_end_matches('/').to_owned(),
            headers: Vec::new(),
            trusted: None,
            certificate: None,
            http2: false,
            gzip: false,
            deadline: Duration::from_secs(10),
        }
    }

    /// Adds a header to every call (also a second one of the same name).
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Presents a bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Presents an access token as Lightstep's SDKs do.
    pub fn access_token(self, token: &str) -> Self {
        self.header("lightstep-access-token", token)
    }

    /// Trusts these authorities (PEM) and no others.
    pub fn trusting(mut self, authorities: &str) -> Self {
        self.trusted = Some(authorities.to_owned());
        self
    }

    /// Shows a client certificate.
    pub fn certificate(mut self, leaf: &Leaf) -> Self {
        self.certificate = Some(leaf.clone());
        self
    }

    /// Speaks HTTP/2 (plaintext: by prior knowledge) also where HTTP/1.1 would do.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Compresses exports.
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Exports over OTLP/HTTP to the standard path.
    pub async fn export(&self, sample: &Sample, encoding: Encoding) -> Result<Answer, CallFault> {
        self.export_to(&format!("/v1/{}", sample.signal().name()), sample, encoding).await
    }

    /// Exports over OTLP/HTTP to another path.
    pub async fn export_to(&self, path: &str, sample: &Sample, encoding: Encoding) -> Result<Answer, CallFault> {
        let kind = match encoding {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        };
        let mut headers = vec![("content-type", kind)];
        let mut body = sample.encode(encoding);
        if self.gzip {
            body = gzipped(&body)?;
            headers.push(("content-encoding", "gzip"));
        }
        self.send(Method::POST, path, &headers, body).await
    }

    /// Exports over OTLP/gRPC.
    pub async fn export_grpc(&self, sample: &Sample) -> Result<Answer, CallFault> {
        self.grpc(sample.signal().grpc_path(), &sample.protobuf()).await
    }

    /// Calls a unary gRPC method with an encoded message.
    pub async fn grpc(&self, path: &str, message: &[u8]) -> Result<Answer, CallFault> {
        let mut headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
        let mut frame = vec![u8::from(self.gzip)];
        let message = if self.gzip { gzipped(message)? } else { message.to_vec() };
        if self.gzip {
            headers.push(("grpc-encoding", "gzip"));
        }
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(&message);
        self.clone().http2().send(Method::POST, path, &headers, frame).await
    }

    /// Queries.
    pub async fn get(&self, path: &str) -> Result<Answer, CallFault> {
        self.send(Method::GET, path, &[("accept", "application/json")], Vec::new()).await
    }

    /// Sends a JSON document.
    pub async fn post(&self, path: &str, document: &serde_json::Value) -> Result<Answer, CallFault> {
        self.send_json(Method::POST, path, document).await
    }

    /// Sends a JSON document with any method.
    pub async fn send_json(
        &self,
        method: Method,
        path: &str,
        document: &serde_json::Value,
    ) -> Result<Answer, CallFault> {
        let headers = [("accept", "application/json"), ("content-type", "application/json")];
        self.send(method, path, &headers, document.to_string().into_bytes()).await
    }

    /// One request on a connection of its own.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, CallFault> {
        let call = async { self.connect().await?.send(method, path, headers, body).await };
        tokio::time::timeout(self.deadline, call).await.unwrap_or(Err(CallFault::Late))
    }

    /// A connection for several requests.
    pub async fn connect(&self) -> Result<Line, CallFault> {
        tokio::time::timeout(self.deadline, self.dial()).await.unwrap_or(Err(CallFault::Late))
    }

    async fn dial(&self) -> Result<Line, CallFault> {
        let stream = self.stream(if self.http2 { b"h2" } else { b"http/1.1" }).await?;
        let refused = |error: hyper::Error| CallFault::Connect(causes(&error));
        let (sender, driver) = if self.http2 {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(refused)?;
            // A connection's end shows in the calls on it.
            (Sender::Http2(sender), tokio::spawn(async move { drop(connection.await) }))
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(refused)?;
            (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
        };
        Ok(Line { caller: self.clone(), sender, driver })
    }

    /// Writes bytes as they are and reads until the other side closes, or until the deadline: then what
    /// came so far.
    pub async fn raw(&self, bytes: &[u8]) -> Result<Vec<u8>, CallFault> {
        let mut stream = self.stream(b"http/1.1").await?;
        let mut read = Vec::new();
        let exchange = async {
            stream.write_all(bytes).await?;
            stream.flush().await?;
            let mut buffer = vec![0; 16 << 10];
            while read.len() < ANSWER_LIMIT_BYTES {
                match stream.read(&mut buffer).await? {
                    0 => break,
                    length => read.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                }
            }
            Ok::<_, std::io::Error>(())
        };
        // A reset after the answer and a deadline both leave what was read.
        let _ended = tokio::time::timeout(self.deadline, exchange).await;
        Ok(read)
    }

    async fn stream(&self, protocol: &[u8]) -> Result<Box<dyn Stream>, CallFault> {
        let uri: Uri = self.url.parse().map_err(|_| CallFault::Setup(format!("`{}` is no address", self.url)))?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let unreachable = |error: std::io::Error| CallFault::Connect(causes(&error));
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let name = rustls_pki_types::ServerName::try_from(host).map_err(|error| CallFault::Setup(error.to_string()))?;
        let mut config = self.client_config().map_err(|error| CallFault::Setup(error.to_string()))?;
        config.alpn_protocols = vec![protocol.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        Ok(Box::new(connector.connect(name, stream).await.map_err(unreachable)?))
    }

    fn client_config(&self) -> std::io::Result<rustls::ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trusted = roots(self.trusted.as_deref().unwrap_or_default())?;
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(std::io::Error::other)?
            .with_root_certificates(trusted);
        match &self.certificate {
            None => Ok(builder.with_no_client_auth()),
            Some(leaf) => builder
                .with_client_auth_cert(certificates(&leaf.certificate)?, private_key(&leaf.key)?)
                .map_err(std::io::Error::other),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open connection.
pub struct Line {
    caller: SampleCaller,
    sender: Sender,
    driver: JoinHandle<()>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Line {
    /// One request; the caller's own headers come after the given ones.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, CallFault> {
        let deadline = self.caller.deadline;
        tokio::time::timeout(deadline, self.exchange(method, path, headers, body)).await.unwrap_or(Err(CallFault::Late))
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, CallFault> {
        let setup = |error: &dyn std::fmt::Display| CallFault::Setup(error.to_string());
        let base: Uri = self.caller.url.parse().map_err(|error| setup(&error))?;
        let authority = base.authority().map(ToString::to_string).unwrap_or_default();
        let http2 = matches!(self.sender, Sender::Http2(_));
        // HTTP/1.1 has the path alone in its first line; HTTP/2 takes `:authority` from the whole address.
        let target = if http2 { format!("{}{path}", self.caller.url) } else { path.to_owned() };
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|error| setup(&error))?;
        if !http2 {
            let host = HeaderValue::try_from(authority).map_err(|error| setup(&error))?;
            request.headers_mut().insert(header::HOST, host);
        }
        let own = self.caller.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in headers.iter().copied().chain(own) {
            let name = HeaderName::try_from(name).map_err(|error| setup(&error))?;
            request.headers_mut().append(name, HeaderValue::try_from(value).map_err(|error| setup(&error))?);
        }
        let sent = match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        };
        let response = sent.map_err(|error| CallFault::NoAnswer(causes(&error)))?;
        let (head, body) = response.into_parts();
        read(head, body).await
    }
}

async fn read(head: http::response::Parts, mut body: Incoming) -> Result<Answer, CallFault> {
    let mut answer = Answer {
        status: head.status.as_u16(),
        version: head.version,
        headers: head.headers,
        body: Vec::new(),
        trailers: HeaderMap::new(),
    };
    while let Some(frame) = body.frame().await {
        let broken = |read: Vec<u8>, cause: String| CallFault::Broken { status: answer.status, read, cause };
        match frame.map(hyper::body::Frame::into_data) {
            Err(error) => return Err(broken(std::mem::take(&mut answer.body), causes(&error))),
            Ok(Ok(data)) if answer.body.len() + data.len() > ANSWER_LIMIT_BYTES => {
                return Err(broken(std::mem::take(&mut answer.body), "larger than the caller reads".to_owned()));
            }
            Ok(Ok(data)) => answer.body.extend_from_slice(&data),
            Ok(Err(frame)) => answer.trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(answer)
}

fn gzipped(plain: &[u8]) -> Result<Vec<u8>, CallFault> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let packed = encoder.write_all(plain).and_then(|()| encoder.finish());
    packed.map_err(|error| CallFault::Setup(error.to_string()))
}

/// An error and what caused it, joined by colons.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
