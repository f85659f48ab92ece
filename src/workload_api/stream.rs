//! One call to the Workload API, whose answers come as long as it stands: gRPC over a Unix socket.
//!
//! What it does: connects, asks, and takes the answers apart by their lengths. What it refuses to know: what they say.
//! Invariants: connecting, the first answer and each that has begun end within their time; an answer is at most
//! `MESSAGE_LIMIT_BYTES`; what is not taken is not buffered beyond one window.

use std::path::Path;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::WorkloadFault;

/// As gRPC's own libraries have it.
const MESSAGE_LIMIT_BYTES: usize = 4 << 20;
const HEAD_LIMIT_BYTES: u32 = 64 << 10;
const WINDOW_BYTES: u32 = 1 << 20;

const CONNECT: Duration = Duration::from_secs(5);
/// For an answer that is due, or has begun.
const DUE: Duration = Duration::from_secs(10);

/// Of a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// `PERMISSION_DENIED`: the agent knows no identity of who asks (SPIFFE Workload API section 6).
const PERMISSION_DENIED: &str = "7";

/// A call that stands.
pub(super) struct Stream {
    body: RecvStream,
    held: BytesMut,
    is_first: bool,
    /// Ends with the call.
    #[expect(dead_code, reason = "held for its end")]
    connection: ConnectionTask,
}

struct ConnectionTask(JoinHandle<()>);

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stream {
    pub(super) async fn open(socket: &Path, method: &str) -> Result<Self, WorkloadFault> {
        timeout(CONNECT, Self::ask(socket, method))
            .await
            .unwrap_or(Err(WorkloadFault::TimedOut))
    }

    async fn ask(socket: &Path, method: &str) -> Result<Self, WorkloadFault> {
        let unreachable = |_| WorkloadFault::Unreachable;
        let wire = UnixStream::connect(socket)
            .await
            .map_err(|_| WorkloadFault::Unreachable)?;
        let (sender, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_header_list_size(HEAD_LIMIT_BYTES)
            .handshake::<_, Bytes>(wire)
            .await
            .map_err(unreachable)?;
        // Its error reaches the call on it.
        let connection = ConnectionTask(tokio::spawn(async move { drop(connection.await) }));
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let address = format!("http://localhost/SpiffeWorkloadAPI/{method}");
        *request.uri_mut() = address.parse().map_err(|_| WorkloadFault::Malformed)?;
        for (name, value) in [
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            // SPIFFE Workload API section 4: so that nothing is asked that does not know what it asks.
            ("workload.spiffe.io", "true"),
        ] {
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
        }
        let mut sender = sender.ready().await.map_err(unreachable)?;
        let (answer, mut body) = sender.send_request(request, false).map_err(unreachable)?;
        // An empty message.
        let empty = Bytes::from_static(&[0; PREFIX_BYTES]);
        body.send_data(empty, true).map_err(unreachable)?;
        let answer = answer.await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(WorkloadFault::Refused);
        }
        // Trailers alone: there will be no answer.
        if answer.headers().contains_key("grpc-status") {
            return Err(fault_of(answer.headers()));
        }
        Ok(Stream {
            body: answer.into_body(),
            held: BytesMut::new(),
            is_first: true,
            connection,
        })
    }

    /// The next answer. Waits as long as none begins, but for the first.
    pub(super) async fn message(&mut self) -> Result<Bytes, WorkloadFault> {
        loop {
            if let Some(message) = self.whole()? {
                self.is_first = false;
                return Ok(message);
            }
            let is_due = self.is_first || !self.held.is_empty();
            let chunk = match is_due {
                true => timeout(DUE, self.body.data())
                    .await
                    .map_err(|_| WorkloadFault::TimedOut)?,
                false => self.body.data().await,
            };
            match chunk {
                Some(Ok(chunk)) => {
                    // Nothing is held back for want of room: what is larger than a message may be is refused.
                    let _ = self.body.flow_control().release_capacity(chunk.len());
                    self.held.extend_from_slice(&chunk);
                }
                Some(Err(_)) => return Err(WorkloadFault::Unreachable),
                None => {
                    let trailers = timeout(DUE, self.body.trailers()).await;
                    let trailers = trailers.map_err(|_| WorkloadFault::TimedOut)?;
                    let trailers = trailers.ok().flatten().unwrap_or_default();
                    return Err(fault_of(&trailers));
                }
            }
        }
    }

    /// A message that is here as a whole.
    fn whole(&mut self) -> Result<Option<Bytes>, WorkloadFault> {
        let Some(&[compressed, a, b, c, d]) = self.held.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if compressed != 0 {
            return Err(WorkloadFault::Malformed);
        }
        if length > MESSAGE_LIMIT_BYTES {
            return Err(WorkloadFault::TooLarge);
        }
        if self.held.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.held.advance(PREFIX_BYTES);
        Ok(Some(self.held.split_to(length).freeze()))
    }
}

/// What the end of a stream says; one that ends well has nothing more to say either.
fn fault_of(trailers: &HeaderMap) -> WorkloadFault {
    match trailers.get("grpc-status").map(|status| status.as_bytes()) {
        None | Some(b"0" | b"14") => WorkloadFault::Unreachable,
        Some(code) if code == PERMISSION_DENIED.as_bytes() => WorkloadFault::NoIdentity,
        Some(_) => WorkloadFault::Refused,
    }
}
