//! Sample callers: small clients that export and query as real ones do.
//!
//! What it does: speaks HTTP/1.1, h2c and TLS with or without a client certificate, sends OTLP over HTTP and
//! gRPC, legacy reports, queries, and bytes as they are; reads everything that comes back, trailers too. What it
//! refuses to know: what an answer should be. Invariants: every call has a deadline; what it reads is bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::answers::{ANSWER_LIMIT_BYTES, Answer};
use super::certificates::Leaf;
use super::coding::Coding;
use super::formats::Format;
use super::samples::{LegacySample, Sample};
use super::server::{Payload, certificates, fed, private_key, roots, whole};
use lightkeeper::otlp::Encoding;

/// The pieces in which a body of unknown length is sent.
const CHUNK_BYTES: usize = 4096;

/// A caller: an address, credentials, a way of speaking.
#[derive(Clone)]
pub struct SampleCaller {
    url: String,
    headers: Vec<(String, String)>,
    trusted: Option<String>,
    certificate: Option<Leaf>,
    http2: bool,
    coding: Coding,
    chunked: bool,
    deadline: Duration,
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
    Broken {
        status: u16,
        read: Vec<u8>,
        cause: String,
    },
    /// The deadline passed.
    Late,
}

impl std::fmt::Display for CallFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallFault::Setup(cause) => write!(formatter, "the call cannot be made: {cause}"),
            CallFault::Connect(cause) => write!(formatter, "cannot connect: {cause}"),
            CallFault::NoAnswer(cause) => write!(formatter, "no answer: {cause}"),
            CallFault::Broken {
                status,
                read,
                cause,
            } => {
                write!(
                    formatter,
                    "the answer ({status}) broke off after {} bytes: {cause}",
                    read.len()
                )
            }
            CallFault::Late => formatter.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for CallFault {}

impl SampleCaller {
    /// Calls `http(s)://host:port` without credentials, over HTTP/1.1, with ten seconds' patience.
    pub fn new(url: &str) -> Self {
        SampleCaller {
            url: url.trim_end_matches('/').to_owned(),
            headers: Vec::new(),
            trusted: None,
            certificate: None,
            http2: false,
            coding: Coding::Identity,
            chunked: false,
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

    /// Compresses exports and reports.
    pub fn gzip(self) -> Self {
        self.compressing(Coding::Gzip)
    }

    /// Compresses exports and reports: bodies over HTTP, messages over gRPC.
    pub fn compressing(mut self, coding: Coding) -> Self {
        self.coding = coding;
        self
    }

    /// Sends bodies in pieces, without saying how long they will be (HTTP/1.1: `Transfer-Encoding: chunked`).
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Exports over OTLP/HTTP to the standard path.
    pub async fn export(&self, sample: &Sample, encoding: Encoding) -> Result<Answer, CallFault> {
        self.export_to(&format!("/v1/{}", sample.signal().name()), sample, encoding)
            .await
    }

    /// Exports over OTLP/HTTP to another path.
    pub async fn export_to(
        &self,
        path: &str,
        sample: &Sample,
        encoding: Encoding,
    ) -> Result<Answer, CallFault> {
        let kind = match encoding {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        };
        self.packed(path, vec![("content-type", kind)], &sample.encode(encoding))
            .await
    }

    /// Exports over OTLP/gRPC.
    pub async fn export_grpc(&self, sample: &Sample) -> Result<Answer, CallFault> {
        self.grpc(sample.signal().grpc_path(), &sample.protobuf())
            .await
    }

    /// Reports in a legacy format, as that format's clients do.
    pub async fn report(&self, sample: &LegacySample) -> Result<Answer, CallFault> {
        let headers = sample.headers();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        if sample.format() == Format::ReportsGrpc {
            // gRPC brings its own media type.
            let tokens = headers
                .into_iter()
                .filter(|(name, _)| *name != "content-type")
                .collect();
            return self
                .framed(sample.format().path(), tokens, &sample.body())
                .await;
        }
        self.packed(sample.format().path(), headers, &sample.body())
            .await
    }

    async fn packed(
        &self,
        path: &str,
        headers: Vec<(&str, &str)>,
        plain: &[u8],
    ) -> Result<Answer, CallFault> {
        let mut headers = headers;
        if self.coding != Coding::Identity {
            headers.push(("content-encoding", self.coding.name()));
        }
        self.send(Method::POST, path, &headers, self.compressed(plain)?)
            .await
    }

    fn compressed(&self, plain: &[u8]) -> Result<Vec<u8>, CallFault> {
        self.coding
            .compress(plain)
            .map_err(|error| CallFault::Setup(error.to_string()))
    }

    /// Calls a unary gRPC method with an encoded message.
    pub async fn grpc(&self, path: &str, message: &[u8]) -> Result<Answer, CallFault> {
        self.framed(path, Vec::new(), message).await
    }

    async fn framed(
        &self,
        path: &str,
        metadata: Vec<(&str, &str)>,
        message: &[u8],
    ) -> Result<Answer, CallFault> {
        let mut headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
        headers.extend(metadata);
        if self.coding != Coding::Identity {
            headers.push(("grpc-encoding", self.coding.name()));
        }
        let message = self.compressed(message)?;
        let mut frame = vec![u8::from(self.coding != Coding::Identity)];
        frame.extend_from_slice(
            &u32::try_from(message.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        frame.extend_from_slice(&message);
        self.clone()
            .http2()
            .send(Method::POST, path, &headers, frame)
            .await
    }

    /// Queries.
    pub async fn get(&self, path: &str) -> Result<Answer, CallFault> {
        self.send(
            Method::GET,
            path,
            &[("accept", "application/json")],
            Vec::new(),
        )
        .await
    }

    /// Sends a JSON document.
    pub async fn post(
        &self,
        path: &str,
        document: &serde_json::Value,
    ) -> Result<Answer, CallFault> {
        self.send_json(Method::POST, path, document).await
    }

    /// Sends a JSON document with any method.
    pub async fn send_json(
        &self,
        method: Method,
        path: &str,
        document: &serde_json::Value,
    ) -> Result<Answer, CallFault> {
        let headers = [
            ("accept", "application/json"),
            ("content-type", "application/json"),
        ];
        self.send(method, path, &headers, document.to_string().into_bytes())
            .await
    }

    /// One request on a connection of its own.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, CallFault> {
        let call = async {
            self.connect()
                .await?
                .send(method, path, headers, body)
                .await
        };
        tokio::time::timeout(self.deadline, call)
            .await
            .unwrap_or(Err(CallFault::Late))
    }

    /// A connection for several requests.
    pub async fn connect(&self) -> Result<Line, CallFault> {
        tokio::time::timeout(self.deadline, self.dial())
            .await
            .unwrap_or(Err(CallFault::Late))
    }

    async fn dial(&self) -> Result<Line, CallFault> {
        let stream = self
            .stream(if self.http2 { b"h2" } else { b"http/1.1" })
            .await?;
        let refused = |error: hyper::Error| CallFault::Connect(causes(&error));
        let (sender, driver) = if self.http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(refused)?;
            // A connection's end shows in the calls on it.
            (
                Sender::Http2(sender),
                tokio::spawn(async move { drop(connection.await) }),
            )
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(refused)?;
            (
                Sender::Http1(sender),
                tokio::spawn(async move { drop(connection.await) }),
            )
        };
        Ok(Line {
            caller: self.clone(),
            sender,
            driver,
        })
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
        let uri: Uri = self
            .url
            .parse()
            .map_err(|_| CallFault::Setup(format!("`{}` is no address", self.url)))?;
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let unreachable = |error: std::io::Error| CallFault::Connect(causes(&error));
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let name = rustls_pki_types::ServerName::try_from(host)
            .map_err(|error| CallFault::Setup(error.to_string()))?;
        let mut config = self
            .client_config()
            .map_err(|error| CallFault::Setup(error.to_string()))?;
        config.alpn_protocols = vec![protocol.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        Ok(Box::new(
            connector.connect(name, stream).await.map_err(unreachable)?,
        ))
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
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
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
        tokio::time::timeout(deadline, self.exchange(method, path, headers, body))
            .await
            .unwrap_or(Err(CallFault::Late))
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
        let authority = base
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let http2 = matches!(self.sender, Sender::Http2(_));
        // HTTP/1.1 has the path alone in its first line; HTTP/2 takes `:authority` from the whole address.
        let target = if http2 {
            format!("{}{path}", self.caller.url)
        } else {
            path.to_owned()
        };
        let body = if self.caller.chunked {
            in_pieces(body)
        } else {
            whole(body)
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|error| setup(&error))?;
        if !http2 {
            let host = HeaderValue::try_from(authority).map_err(|error| setup(&error))?;
            request.headers_mut().insert(header::HOST, host);
        }
        let own = self
            .caller
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in headers.iter().copied().chain(own) {
            let name = HeaderName::try_from(name).map_err(|error| setup(&error))?;
            request.headers_mut().append(
                name,
                HeaderValue::try_from(value).map_err(|error| setup(&error))?,
            );
        }
        let sent = match &mut self.sender {
            // The answer before may have been read a moment before the connection is at rest again.
            Sender::Http1(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
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
        let broken = |read: Vec<u8>, cause: String| CallFault::Broken {
            status: answer.status,
            read,
            cause,
        };
        match frame.map(hyper::body::Frame::into_data) {
            Err(error) => return Err(broken(std::mem::take(&mut answer.body), causes(&error))),
            Ok(Ok(data)) if answer.body.len() + data.len() > ANSWER_LIMIT_BYTES => {
                return Err(broken(
                    std::mem::take(&mut answer.body),
                    "larger than the caller reads".to_owned(),
                ));
            }
            Ok(Ok(data)) => answer.body.extend_from_slice(&data),
            Ok(Err(frame)) => answer
                .trailers
                .extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(answer)
}

/// A body whose length is not known before its end.
fn in_pieces(body: Vec<u8>) -> Payload {
    let (sender, payload) = fed();
    tokio::spawn(async move {
        let body = Bytes::from(body);
        let mut at = 0;
        while at < body.len() {
            let end = body.len().min(at + CHUNK_BYTES);
            if sender
                .send(Ok(Frame::data(body.slice(at..end))))
                .await
                .is_err()
            {
                return;
            }
            at = end;
        }
    });
    payload
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
