//! One unary gRPC call to a backend over HTTP/2: message out as it comes, whole answer in.
//!
//! What it does: keeps few connections with many streams each, sends a head and a body within the
//! backend's windows, notices an answer that comes early, and reads answer and trailers whole and bounded.
//! What it refuses to know: what either means, and who waits for it. Invariants: nothing is dialled before the
//! body's first bytes have come and hold; a body that breaks is never ended, only reset; a call is sent
//! again only if it had not been sent, or the backend said that it did not process it, and so many times; no more calls
//! are on a connection than the backend takes at once; a success that comes before all of the body had left is none.

mod answer;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use self::answer::receive;
use super::pool::BackendStream;
use super::send::ExchangeFault;
use super::send::Intake;
use super::supply::{Replayable, Supply};
use super::{Backend, SendFault};
use crate::accept::Fault;
use crate::clock::within;
use crate::lock::Mutex;

/// Calls at once on one connection; RFC 9113 section 6.5.2 advises servers to allow no fewer.
const STREAMS_PER_CONNECTION: usize = 100;
/// Connections to one backend that calls share.
const SHARED_LIMIT: usize = 48;
/// Connections to it for single calls that go out again: 64 in all.
const OWN_LIMIT: usize = 16;
/// How long a connection that no call is on may take to say so to the backend.
const CLOSING: Duration = Duration::from_secs(1);
/// What answers may have in flight; they are small.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of requests that wait in one stream's buffer for the backend's window.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// The largest answer head.
const HEAD_LIMIT_BYTES: u32 = 64 << 10;

/// How often a call is sent again that was not taken: at once, then after pauses, each twice as long as the one before.
const AGAIN_LIMIT: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// `None` when everything stood in the head (trailers-only).
    pub trailers: Option<HeaderMap>,
}

/// The status of a gRPC answer, in its trailers or, alone, in its head.
pub(crate) fn grpc_code(answer: &GrpcAnswer) -> Option<u16> {
    let status = answer
        .trailers
        .as_ref()
        .unwrap_or(&answer.headers)
        .get("grpc-status")?;
    status.to_str().ok()?.parse().ok()
}

/// The HTTP/2 connections to one backend.
pub(super) struct GrpcConnections {
    open: Mutex<Open>,
    own: Arc<Semaphore>,
    /// A call has ended, or a connection.
    freed: Arc<Notify>,
}

impl Default for GrpcConnections {
    fn default() -> Self {
        GrpcConnections {
            open: Mutex::default(),
            own: Arc::new(Semaphore::new(OWN_LIMIT)),
            freed: Arc::default(),
        }
    }
}

#[derive(Default)]
struct Open {
    lines: Vec<Arc<GrpcConnection>>,
    /// Connections that will be kept once they stand.
    dialling: usize,
}

struct GrpcConnection {
    sender: SendRequest<Bytes>,
    in_flight: AtomicUsize,
    dead: Arc<AtomicBool>,
    used: Mutex<Instant>,
    freed: Arc<Notify>,
}

impl GrpcConnection {
    /// Whether the backend takes another call on it now: what is beyond would wait inside of the connection, and be lost
    /// with it.
    fn has_room(&self) -> bool {
        let most = self
            .sender
            .current_max_send_streams()
            .min(STREAMS_PER_CONNECTION);
        self.in_flight.load(Ordering::Relaxed) < most
    }
}

/// One call's place on a connection.
struct StreamPlace {
    line: Arc<GrpcConnection>,
    /// Of a connection that no other call is on: closed with it.
    _own: Option<oneshot::Sender<()>>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.line.in_flight.fetch_sub(1, Ordering::Relaxed);
        *self.line.used.lock() = Instant::now();
        self.line.freed.notify_one();
    }
}

/// Where a call goes.
enum Placement<'a> {
    Taken(StreamPlace),
    /// A connection may be dialled.
    Dial(Dialling<'a>),
    /// All connections are in use, and there are as many as there may be.
    Wait,
}

/// The right to keep one connection more.
struct Dialling<'a>(&'a GrpcConnections);

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        let mut open = self.0.open.lock();
        open.dialling = open.dialling.saturating_sub(1);
        drop(open);
        self.0.freed.notify_one();
    }
}

impl GrpcConnections {
    fn take(&self, idle_timeout: Duration) -> Placement<'_> {
        let mut open = self.open.lock();
        open.lines.retain(|line| {
            let rested = line.used.lock().elapsed();
            let busy = line.in_flight.load(Ordering::Relaxed) > 0;
            !line.dead.load(Ordering::Relaxed) && (busy || rested < idle_timeout)
        });
        // The fullest that has room: the others may come to rest and be closed.
        let fullest = open.lines.iter().filter(|line| line.has_room());
        if let Some(line) = fullest.max_by_key(|line| line.in_flight.load(Ordering::Relaxed)) {
            line.in_flight.fetch_add(1, Ordering::Relaxed);
            return Placement::Taken(StreamPlace {
                line: line.clone(),
                _own: None,
            });
        }
        if open.lines.len() + open.dialling >= SHARED_LIMIT {
            return Placement::Wait;
        }
        open.dialling += 1;
        Placement::Dial(Dialling(self))
    }

    fn keep(&self, line: &Arc<GrpcConnection>) {
        self.open.lock().lines.push(line.clone());
    }
}

/// A place for a call, which is waited for where the backend takes no more at once.
async fn place(backend: &Backend) -> Result<StreamPlace, ExchangeFault> {
    let deadline = Deadline::now() + backend.settings.read_timeout;
    let mut has_waited = false;
    loop {
        let freed = backend.lines.freed.notified();
        tokio::pin!(freed);
        // From here on no place that becomes free is missed.
        freed.as_mut().enable();
        match backend.lines.take(backend.settings.idle_timeout) {
            Placement::Taken(place) => {
                if has_waited {
                    // There may be room for the next one, too.
                    backend.lines.freed.notify_one();
                }
                return Ok(place);
            }
            Placement::Dial(slot) => {
                let line = dial(backend, None).await?;
                backend.lines.keep(&line);
                drop(slot);
                return Ok(StreamPlace { line, _own: None });
            }
            Placement::Wait => timeout_at(deadline, freed)
                .await
                .map_err(|_| SendFault::TimedOut)?,
        }
        has_waited = true;
    }
}

/// Sends one call. `head` is complete but for the body.
pub(crate) async fn exchange_grpc<S: Supply>(
    backend: &Backend,
    head: Request<()>,
    body: &mut Replayable<S>,
    intake: &mut Intake<'_>,
) -> Result<GrpcAnswer, ExchangeFault> {
    let mut again = 0;
    loop {
        let first = body.next().await.map_err(ExchangeFault::Caller)?;
        // What was not taken once goes out on a connection of its own.
        let finding = async {
            if again == 0 {
                place(backend).await
            } else {
                own(backend).await
            }
        };
        let place = tokio::select! {
            biased;
            place = finding => place?,
            () = body.gone_before() => return Err(ExchangeFault::CallerGone),
        };
        match attempt(backend, place, head.clone(), first, body, intake).await {
            Err(FailedCall { untaken: true, .. }) if again < AGAIN_LIMIT && body.rewind() => {
                again += 1
            }
            tried => return tried.map_err(|broken| broken.fault),
        }
        if let Some(doublings) = again.checked_sub(2) {
            tokio::time::sleep(FIRST_PAUSE * 2_u32.saturating_pow(doublings)).await;
        }
    }
}

/// A connection for one call that was not taken on another. There are few of them: a backend that takes nothing must not be
/// dialled by each call that it refuses.
async fn own(backend: &Backend) -> Result<StreamPlace, ExchangeFault> {
    let waiting = timeout(
        backend.settings.connect_timeout,
        backend.lines.own.clone().acquire_owned(),
    );
    let permit = waiting
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or(SendFault::Busy)?;
    let (left, leaving) = oneshot::channel();
    Ok(StreamPlace {
        line: dial(backend, Some((permit, leaving))).await?,
        _own: Some(left),
    })
}

/// The right to a connection for one call, and how it is told that the call has ended.
type Own = (OwnedSemaphorePermit, oneshot::Receiver<()>);

/// A connection with one call on it. The right to one of the call's own ends with the connection.
async fn dial(backend: &Backend, own: Option<Own>) -> Result<Arc<GrpcConnection>, ExchangeFault> {
    // Bounded by itself, and knows whose silence it was.
    let wire: BackendStream = backend.dial_http2().await.map_err(SendFault::from)?;
    let handshaking = async {
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEAD_LIMIT_BYTES)
            // Until the backend has said how many it takes at once (RFC 9113 section 5.1.2).
            .initial_max_send_streams(1)
            .handshake::<_, Bytes>(wire);
        handshake.await.map_err(|_| SendFault::Unreachable)
    };
    let (sender, connection) = timeout(backend.settings.connect_timeout, handshaking)
        .await
        .map_err(|_| SendFault::TimedOut)??;
    let dead = Arc::new(AtomicBool::new(false));
    let (ended, freed) = (dead.clone(), backend.lines.freed.clone());
    tokio::spawn(async move {
        tokio::pin!(connection);
        // Its error reaches every call on it; here only its end matters.
        match own {
            None => drop(connection.await),
            Some((_permit, leaving)) => tokio::select! {
                _ = &mut connection => {}
                _ = leaving => drop(timeout(CLOSING, connection).await),
            },
        }
        ended.store(true, Ordering::Relaxed);
        freed.notify_one();
    });
    let (used, freed) = (Mutex::new(Instant::now()), backend.lines.freed.clone());
    Ok(Arc::new(GrpcConnection {
        sender,
        in_flight: AtomicUsize::new(1),
        dead,
        used,
        freed,
    }))
}

/// A call that failed; untaken: it was not sent, or the backend said that it did not process it.
struct FailedCall {
    fault: ExchangeFault,
    untaken: bool,
    /// The backend ends the connection.
    is_last: bool,
}

impl FailedCall {
    fn from_caller(fault: ExchangeFault) -> Self {
        FailedCall {
            fault,
            untaken: false,
            is_last: false,
        }
    }
}

impl From<SendFault> for FailedCall {
    fn from(fault: SendFault) -> Self {
        FailedCall {
            fault: fault.into(),
            untaken: false,
            is_last: false,
        }
    }
}

impl StreamPlace {
    /// What the connection says of a call that was never sent. It takes no other, either.
    fn refused(&self, error: &h2::Error) -> FailedCall {
        self.line.dead.store(true, Ordering::Relaxed);
        FailedCall {
            untaken: true,
            ..broken(error)
        }
    }
}

/// What the backend said of a stream on which a write failed: the write itself shows only that the stream is over.
fn said(
    response: &mut ResponseFuture,
    error: &h2::Error,
) -> Result<Response<RecvStream>, FailedCall> {
    match Pin::new(response).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(answer)) => Ok(answer),
        Poll::Ready(Err(told)) => Err(broken(&told)),
        Poll::Pending => Err(broken(error)),
    }
}

/// What the connection says of a failed call. A stream above the number in the backend's GOAWAY and a refused stream
/// were not processed (RFC 9113 sections 6.8 and 8.7); of a connection that ends, nothing of the kind is known.
fn broken(error: &h2::Error) -> FailedCall {
    let refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    // A backend that says that it is asked too much is not asked more: the exporter comes again when it sees fit.
    let too_much = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
    let untaken = error.is_remote() && refused && !too_much;
    let fault = match error.reason() {
        Some(Reason::PROTOCOL_ERROR | Reason::FRAME_SIZE_ERROR | Reason::COMPRESSION_ERROR)
            if !error.is_remote() =>
        {
            SendFault::Undecodable
        }
        _ => SendFault::Unreachable,
    };
    FailedCall {
        fault: fault.into(),
        untaken,
        is_last: error.is_go_away(),
    }
}

async fn attempt<S: Supply>(
    backend: &Backend,
    place: StreamPlace,
    head: Request<()>,
    first: Option<Bytes>,
    body: &mut Replayable<S>,
    intake: &mut Intake<'_>,
) -> Result<GrpcAnswer, FailedCall> {
    let ready = place.line.sender.clone().ready();
    let mut sender = match within(backend.settings.connect_timeout, pin!(ready)).await {
        Ok(Ok(sender)) => sender,
        Ok(Err(error)) => return Err(place.refused(&error)),
        Err(_) => return Err(SendFault::TimedOut.into()),
    };
    let (mut response, mut stream) = sender
        .send_request(head, false)
        .map_err(|error| place.refused(&error))?;
    drop(sender);
    let result = converse(backend, &mut response, &mut stream, first, body, intake).await;
    if let Err(failed) = &result {
        // Never an end: the backend must not take half a message for a whole one.
        stream.send_reset(Reason::CANCEL);
        if failed.fault == ExchangeFault::Backend(SendFault::TimedOut) || failed.is_last {
            // It may be the connection that is dead, or it is about to end; later calls take another.
            place.line.dead.store(true, Ordering::Relaxed);
        }
    }
    result
}

async fn converse<S: Supply>(
    backend: &Backend,
    response: &mut ResponseFuture,
    stream: &mut SendStream<Bytes>,
    first: Option<Bytes>,
    body: &mut Replayable<S>,
    intake: &mut Intake<'_>,
) -> Result<GrpcAnswer, FailedCall> {
    let mut piece = first;
    let mut early = None;
    // Something that had come did not leave.
    let mut is_cut = false;
    let mut ended = false;
    while let Some(data) = piece.take() {
        // The end is known with the last piece more often than not, and then needs no frame of its own.
        let next = tokio::select! {
            biased;
            next = body.next() => Some(next.map_err(callers)?),
            () = std::future::ready(()) => None,
        };
        ended = matches!(next, Some(None));
        let sent = {
            let sending = pin!(send(response, stream, data, ended));
            within(backend.settings.write_timeout, sending).await
        };
        match sent {
            Err(_) => return Err(SendFault::TimedOut.into()),
            Ok(Err(error)) => {
                early = Some(said(response, &error)?);
                is_cut = true;
                break;
            }
            Ok(Ok(Some(answer))) => {
                early = Some(answer);
                is_cut = true;
                break;
            }
            Ok(Ok(None)) => {}
        }
        piece = match next {
            Some(next) => next,
            None => tokio::select! {
                biased;
                next = body.next() => next.map_err(callers)?,
                answer = &mut *response => {
                    early = Some(answer.map_err(|error| broken(&error))?);
                    break;
                }
            },
        };
    }
    let deadline = Deadline::now() + backend.settings.read_timeout;
    let answer = match early {
        // Dropping the stream resets what was not sent, once the answer has been read.
        Some(answer) => {
            let answer = receive(answer, intake, deadline).await?;
            let is_success = answer.status.is_success() && grpc_code(&answer) == Some(0);
            // The backend cannot have taken what it was never sent, whatever it says; but many answer a message that is
            // whole before its stream has ended, and whether it was the last piece, the supply knows.
            if is_success && (is_cut || body.next().await.map_err(callers)?.is_some()) {
                return Err(SendFault::Undecodable.into());
            }
            return Ok(answer);
        }
        None => {
            let ending = if ended {
                Ok(())
            } else {
                stream.send_data(Bytes::new(), true)
            };
            if let Err(error) = ending {
                return receive(said(response, &error)?, intake, deadline)
                    .await
                    .map_err(FailedCall::from);
            }
            tokio::select! {
                biased;
                answer = timeout_at(deadline, response) => match answer {
                    Err(_) => return Err(SendFault::TimedOut.into()),
                    Ok(answer) => answer.map_err(|error| broken(&error))?,
                },
                () = body.gone() => {
                    return Err(FailedCall::from_caller(ExchangeFault::CallerGone));
                }
            }
        }
    };
    receive(answer, intake, deadline)
        .await
        .map_err(FailedCall::from)
}

fn callers(fault: Fault) -> FailedCall {
    FailedCall::from_caller(ExchangeFault::Caller(fault))
}

/// Sends one piece, perhaps the last, within the backend's windows; an answer that comes meanwhile ends it.
async fn send(
    response: &mut ResponseFuture,
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    end: bool,
) -> Result<Option<Response<RecvStream>>, h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let granted = poll_fn(|cx| match stream.poll_capacity(cx) {
            Poll::Ready(Some(granted)) => Poll::Ready(granted.map(Ok)),
            Poll::Ready(None) | Poll::Pending => match Pin::new(&mut *response).poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.map(Err)),
                Poll::Pending => Poll::Pending,
            },
        });
        match granted.await? {
            Ok(granted) => {
                let part = data.split_to(granted.min(data.len()));
                if !part.is_empty() {
                    stream.send_data(part, end && data.is_empty())?;
                }
            }
            Err(answer) => return Ok(Some(answer)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
