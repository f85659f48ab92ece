//! One unary gRPC call to a backend over HTTP/2: message out as it comes, whole answer in.
//!
//! What it does: keeps few connections with many streams each, sends a head and a body within the
//! backend's windows, notices an answer that comes early, and reads answer and trailers whole and bounded.
//! What it refuses to know: what either means, and for whom. Invariants: nothing is dialled before the
//! body's first bytes have come and hold; a body that breaks is never ended, only reset; a call is sent
//! again only if it had not been sent, or the backend said that it did not process it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::exchange::ExchangeFault;
use super::pool::Wire;
use super::send::Intake;
use super::supply::{Replayable, Supply};
use super::{Backend, SendFault};
use crate::accept::Fault;

/// Calls at once on one connection; RFC 9113 section 6.5.2 advises servers to allow no fewer.
const STREAMS_PER_CONNECTION: usize = 100;
/// Connections to one backend.
const CONNECTIONS_LIMIT: usize = 64;
/// What answers may have in flight; they are small.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of requests that wait in one stream's buffer for the backend's window.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// The largest answer head.
const HEAD_LIMIT_BYTES: u32 = 64 << 10;

/// How often a call is sent again that was not taken.
const AGAIN_LIMIT: usize = 2;

/// A whole answer.
#[derive(Debug)]
pub struct GrpcAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// `None` when everything stood in the head (trailers-only).
    pub trailers: Option<HeaderMap>,
}

/// The HTTP/2 connections to one backend.
#[derive(Default)]
pub(super) struct Lines {
    open: Mutex<Vec<Arc<Line>>>,
}

struct Line {
    sender: SendRequest<Bytes>,
    in_flight: AtomicUsize,
    dead: Arc<AtomicBool>,
    used: Mutex<Instant>,
}

/// One call's place on a connection.
struct Place(Arc<Line>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Lines {
    fn take(&self, idle_timeout: Duration) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|line| {
            let rested = line.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            let busy = line.in_flight.load(Ordering::Relaxed) > 0;
            !line.dead.load(Ordering::Relaxed) && (busy || rested < idle_timeout)
        });
        // The fullest that has room: the others may come to rest and be closed.
        let line = open
            .iter()
            .filter(|line| line.in_flight.load(Ordering::Relaxed) < STREAMS_PER_CONNECTION)
            .max_by_key(|line| line.in_flight.load(Ordering::Relaxed))?;
        line.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Place(line.clone()))
    }

    fn keep(&self, line: &Arc<Line>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // One beyond the bound serves its call and is closed after it.
        if open.len() < CONNECTIONS_LIMIT {
            open.push(line.clone());
        }
    }
}

/// Sends one call. `head` is complete but for the body.
pub async fn exchange_grpc<S: Supply>(
    backend: &Backend,
    head: Request<()>,
    body: &mut Replayable<S>,
    intake: &mut Intake<'_>,
) -> Result<GrpcAnswer, ExchangeFault> {
    let mut again = 0;
    loop {
        let first = body.next().await.map_err(ExchangeFault::Caller)?;
        // What was not taken once goes out on a connection of its own.
        let rested = if again == 0 { backend.lines.take(backend.settings.idle_timeout) } else { None };
        let place = match rested {
            Some(place) => place,
            None => dial(backend).await?,
        };
        match attempt(backend, place, head.clone(), first, body, intake).await {
            Err(Broken { untaken: true, .. }) if again < AGAIN_LIMIT && body.rewind() => again += 1,
            tried => return tried.map_err(|broken| broken.fault),
        }
    }
}

async fn dial(backend: &Backend) -> Result<Place, ExchangeFault> {
    let handshaking = async {
        let wire: Wire = backend.dial_http2().await.map_err(SendFault::from)?;
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEAD_LIMIT_BYTES)
            .handshake::<_, Bytes>(wire);
        handshake.await.map_err(|_| SendFault::Unreachable)
    };
    let (sender, connection) =
        timeout(backend.settings.connect_timeout, handshaking).await.map_err(|_| SendFault::TimedOut)??;
    let dead = Arc::new(AtomicBool::new(false));
    let ended = dead.clone();
    tokio::spawn(async move {
        // Its error reaches every call on it; here only its end matters.
        let _ = connection.await;
        ended.store(true, Ordering::Relaxed);
    });
    let used = Mutex::new(Instant::now());
    let line = Arc::new(Line { sender, in_flight: AtomicUsize::new(1), dead, used });
    backend.lines.keep(&line);
    Ok(Place(line))
}

/// A call that failed; untaken: it was not sent, or the backend said that it did not process it.
struct Broken {
    fault: ExchangeFault,
    untaken: bool,
}

impl From<SendFault> for Broken {
    fn from(fault: SendFault) -> Self {
        Broken { fault: fault.into(), untaken: false }
    }
}

/// What the connection says of a call that was never sent.
fn unsent(error: &h2::Error) -> Broken {
    Broken { untaken: true, ..broken(error) }
}

/// What the connection says of a failed call. A stream above the number in the backend's GOAWAY and a refused stream
/// were not processed (RFC 9113 sections 6.8 and 8.7); of a connection that ends, nothing of the kind is known.
fn broken(error: &h2::Error) -> Broken {
    let refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    let untaken = error.is_remote() && refused;
    let fault = match error.reason() {
        Some(Reason::PROTOCOL_ERROR | Reason::FRAME_SIZE_ERROR | Reason::COMPRESSION_ERROR) if !error.is_remote() => {
            SendFault::Undecodable
        }
        _ => SendFault::Unreachable,
    };
    Broken { fault: fault.into(), untaken }
}

async fn attempt<S: Supply>(
    backend: &Backend,
    place: Place,
    head: Request<()>,
    first: Option<Bytes>,
    body: &mut Replayable<S>,
    intake: &mut Intake<'_>,
) -> Result<GrpcAnswer, Broken> {
    let ready = place.0.sender.clone().ready();
    let mut sender = match timeout(backend.settings.connect_timeout, ready).await {
        Ok(Ok(sender)) => sender,
        Ok(Err(error)) => return Err(unsent(&error)),
        Err(_) => return Err(SendFault::TimedOut.into()),
    };
    let (mut response, mut stream) = sender.send_request(head, false).map_err(|error| unsent(&error))?;
    drop(sender);
    let result = converse(backend, &mut response, &mut stream, first, body, intake).await;
    if let Err(failed) = &result {
        // Never an end: the backend must not take half a message for a whole one.
        stream.send_reset(Reason::CANCEL);
        if failed.fault == ExchangeFault::Backend(SendFault::TimedOut) {
            // It may be the connection that is dead; later calls take another.
            place.0.dead.store(true, Ordering::Relaxed);
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
) -> Result<GrpcAnswer, Broken> {
    let mut piece = first;
    let mut early = None;
    let mut ended = false;
    while let Some(data) = piece.take() {
        // The end is known with the last piece more often than not, and then needs no frame of its own.
        let next = tokio::select! {
            biased;
            next = body.next() => Some(next.map_err(callers)?),
            () = std::future::ready(()) => None,
        };
        ended = matches!(next, Some(None));
        match timeout(backend.settings.write_timeout, send(response, stream, data, ended)).await {
            Err(_) => return Err(SendFault::TimedOut.into()),
            Ok(Err(error)) => return Err(broken(&error)),
            Ok(Ok(Some(answer))) => {
                early = Some(answer);
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
        Some(answer) => answer,
        None => {
            if !ended {
                stream.send_data(Bytes::new(), true).map_err(|error| broken(&error))?;
            }
            tokio::select! {
                biased;
                answer = timeout_at(deadline, response) => match answer {
                    Err(_) => return Err(SendFault::TimedOut.into()),
                    Ok(answer) => answer.map_err(|error| broken(&error))?,
                },
                () = body.gone() => {
                    return Err(Broken { fault: ExchangeFault::CallerGone, untaken: false });
                }
            }
        }
    };
    receive(answer, intake, deadline).await.map_err(Broken::from)
}

fn callers(fault: Fault) -> Broken {
    Broken { fault: ExchangeFault::Caller(fault), untaken: false }
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

async fn receive(
    answer: Response<RecvStream>,
    intake: &mut Intake<'_>,
    deadline: Deadline,
) -> Result<GrpcAnswer, SendFault> {
    let (head, mut stream) = answer.into_parts();
    if stream.is_end_stream() {
        return Ok(GrpcAnswer { status: head.status, headers: head.headers, body: Bytes::new(), trailers: None });
    }
    let mut body = BytesMut::new();
    loop {
        let data = match timeout_at(deadline, stream.data()).await {
            Err(_) => return Err(SendFault::TimedOut),
            Ok(Some(Err(_))) => return Err(SendFault::Unreachable),
            Ok(None) => break,
            Ok(Some(Ok(data))) => data,
        };
        if (body.len() + data.len()) as u64 > intake.limit_bytes {
            return Err(SendFault::TooLarge);
        }
        intake.reservation.grow(data.len() as u64).map_err(SendFault::Memory)?;
        body.extend_from_slice(&data);
        // A window that cannot be given back belongs to a stream that is over.
        let _ = stream.flow_control().release_capacity(data.len());
    }
    let trailers = match timeout_at(deadline, stream.trailers()).await {
        Err(_) => return Err(SendFault::TimedOut),
        Ok(Err(_)) => return Err(SendFault::Unreachable),
        Ok(Ok(trailers)) => trailers,
    };
    let trailers = Some(trailers.unwrap_or_default());
    Ok(GrpcAnswer { status: head.status, headers: head.headers, body: body.freeze(), trailers })
}
