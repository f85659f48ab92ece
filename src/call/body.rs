//! Bodies of callers, read within bounds.
//!
//! What it does: gives a body out as it comes, or whole; undoes its frame and its coding. What it refuses to know: what a
//! body says, and where it goes. Invariants: what is read whole counts in the budget as it comes; a body that is silent
//! is ended by a timer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use tokio::sync::watch;

use super::exchange::Exchange;
use super::pace::BodyPace;
use super::whole::WholeBody;
use crate::accept::{self, Body, Fault, Framed, Protocol};
use crate::forward::Supply;
use crate::limits::{Limits, Reservation};
use crate::otlp;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::work::{SMALL_BYTES, Work};
use crate::transform::{self, Coding, CodingFault};

/// A caller's body, held to its bounds as it comes.
pub(crate) struct Flowing<'e, 'a> {
    exchange: &'e mut Exchange<'a>,
    body: Option<Body>,
    framed: Framed,
    pace: BodyPace,
    ended: bool,
}

impl<'e, 'a> Flowing<'e, 'a> {
    pub(crate) fn new(exchange: &'e mut Exchange<'a>, pace: BodyPace) -> Self {
        let (body, framed) = (exchange.arrival().body().cloned(), exchange.framed());
        Flowing {
            exchange,
            body,
            framed,
            pace,
            ended: false,
        }
    }
}

impl Supply for Flowing<'_, '_> {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        while !self.ended {
            let piece = {
                let mut reading = pin!(async {
                    match &self.body {
                        Some(body) => body.chunk().await,
                        None => self.exchange.chunk().await,
                    }
                });
                // What has come already is not waited for.
                let read = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
                match read {
                    Poll::Ready(piece) => piece?,
                    Poll::Pending => {
                        let waiting = self.pace.wait();
                        let deadline = waiting.deadline().into();
                        let piece = tokio::time::timeout_at(deadline, reading).await;
                        piece.map_err(|_| Fault::BodyTimeout)??
                    }
                }
            };
            self.ended = piece.is_none();
            self.pace
                .chunk(piece.as_deref().unwrap_or_default(), self.ended)?;
            self.exchange.state.bytes_in = self.pace.seen_bytes();
            if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    fn framed(&self) -> Framed {
        self.framed
    }

    async fn gone(&mut self) {
        match self.exchange.gone() {
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    }
}

/// Waits for what is done for a caller, and tells once if the caller goes meanwhile. Over HTTP/1.1 that is not seen: a caller
/// may have ended its side and wait for the answer. `doing` is pinned by its owner: each place that a future is moved to
/// would be room for one in every call.
pub(crate) async fn telling<T>(
    exchange: &mut Exchange<'_>,
    mut doing: Pin<&mut impl Future<Output = T>>,
    gone: &watch::Sender<bool>,
) -> T {
    let Some(closed) = exchange.gone() else {
        return doing.await;
    };
    tokio::select! {
        biased;
        done = &mut doing => return done,
        _ = closed => drop(gone.send_replace(true)),
    }
    doing.await
}

/// Reads a whole body within size, time, rate and budget. Memory is taken as it comes, whatever is announced; what is
/// announced and would not fit now is refused before a client that waits for our word sends it.
pub(crate) async fn read_whole(
    exchange: &mut Exchange<'_>,
    protocol: Protocol,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let limits = exchange.snapshot().limits.clone();
    read_within(exchange, protocol, reservation, &limits).await
}

/// The same within other limits.
pub(crate) async fn read_within(
    exchange: &mut Exchange<'_>,
    protocol: Protocol,
    reservation: &mut Reservation,
    limits: &Limits,
) -> Result<Bytes, Refusal> {
    let announced = match exchange.framed() {
        Framed::Length(length) if length > limits.body_bytes => {
            return Err(Fault::BodyTooLarge.into());
        }
        Framed::Length(length) => Some(length),
        Framed::Chunks => None,
    };
    reservation.would_fit(announced.unwrap_or_default())?;
    exchange.allow_body();
    let pace = BodyPace::new(limits, protocol);
    let mut flowing = Flowing::new(exchange, pace);
    let mut whole = WholeBody::new(announced.unwrap_or(limits.body_bytes));
    while let Some(piece) = flowing.next().await? {
        whole.add(piece, reservation)?;
    }
    Ok(whole.finish(reservation)?)
}

/// Reads the body of a query whole: JSON without its coding, or nothing. Another media type or a coding that is not
/// undone here would be read by the backend as something else than was judged.
pub(crate) async fn read_query(
    exchange: &mut Exchange<'_>,
    mut work: Work,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let body = read_whole(exchange, Protocol::Http, reservation).await?;
    if body.is_empty() {
        return Ok(body);
    }
    let headers = exchange.headers();
    if !accept::is_json(headers) {
        return Err(Fault::MediaType.into());
    }
    let coding = coding(headers, Protocol::Http)?;
    let limit_bytes = exchange.snapshot().limits.decompressed_body_bytes;
    message(
        body,
        Protocol::Http,
        coding,
        limit_bytes,
        &mut work,
        reservation,
    )
    .await
}

pub(crate) fn client_closed() -> Refusal {
    Refusal::new(Reason::ClientClosed)
}

pub(crate) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The coding that the head declares, of those that we can undo.
pub(crate) fn coding(headers: &HeaderMap, protocol: Protocol) -> Result<Coding, Refusal> {
    let named = match protocol {
        Protocol::Http => headers.get(header::CONTENT_ENCODING),
        Protocol::Grpc => headers.get(&GRPC_ENCODING),
    };
    let known = match protocol {
        Protocol::Http => Coding::of_content,
        Protocol::Grpc => Coding::named,
    };
    match named {
        None => Ok(Coding::Identity),
        Some(value) => known(value.as_bytes()).ok_or_else(|| Fault::ContentEncoding.into()),
    }
}

/// The message itself: out of its frame, decompressed.
pub(crate) async fn message(
    body: Bytes,
    protocol: Protocol,
    coding: Coding,
    limit_bytes: u64,
    work: &mut Work,
    held: &mut Reservation,
) -> Result<Bytes, Refusal> {
    /// What is longer is hardly small inside.
    const LIKELY_LARGE_BYTES: usize = 64 << 10;
    let (compressed, body) = match protocol {
        Protocol::Http => (coding != Coding::Identity, body),
        Protocol::Grpc => otlp::unframe(&body).map_err(|_| Refusal::from(Fault::GrpcFrame))?,
    };
    if !compressed {
        return if body.len() as u64 > limit_bytes {
            Err(Fault::BodyTooLarge.into())
        } else {
            Ok(body)
        };
    }
    if coding == Coding::Identity {
        return Err(Fault::GrpcFrame.into());
    }
    if body.len() <= LIKELY_LARGE_BYTES {
        let mut first = held.beside();
        let small_bytes = limit_bytes.min(SMALL_BYTES as u64);
        match transform::decompress(coding, &body, small_bytes, &mut first) {
            // It is large inside: begun anew, as what is large.
            Err(CodingFault::TooLarge) if small_bytes < limit_bytes => {}
            plain => {
                held.join(first);
                return Ok(plain?);
            }
        }
    }
    Ok(work
        .run(true, || {
            transform::decompress(coding, &body, limit_bytes, held)
        })
        .await??)
}
