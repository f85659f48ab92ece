//! One HTTP/1.1 exchange with a backend: request out as it comes, whole answer in.
//!
//! What it does: sends a head and a body with as few system calls and copies as there can be, notices an
//! answer that comes early, and reads the answer whole and bounded. What it refuses to know: what either
//! means, and who waits for it. Invariants: nothing is dialled before the body's first bytes have come and hold, and a place among the
//! calls at once is free; a caller who goes before is given up;
//! a call is sent a second time only if it may be repeated or no byte of it had left, its connection had died at
//! rest, and nothing of an answer came; a connection is kept only after an answer was read to its exact end; a success
//! that comes before all of the body had left is none.

mod body;
mod head;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Instant, timeout_at};

use self::body::read_body;
use self::head::{AnswerFraming, AnswerHead, parse_head};
use super::pool::BackendStream;
use super::send::{ExchangeFault, Intake};
use super::supply::{Replayable, Supply};
use super::{Backend, SendFault};
use crate::accept::{Fault, Framed};
use crate::clock::within;
use crate::limits::{OwnerKey, Turn};

/// The largest answer head.
const HEAD_LIMIT_BYTES: usize = 64 * 1024;
/// Small bodies are copied behind their head: a copy of this costs less than a second slice.
const JOIN_BYTES: usize = 4 * 1024;
/// The first read of an answer.
const FIRST_READ_BYTES: usize = 4 * 1024;
/// So much of them is gathered before a write.
const GATHER_BYTES: usize = 32 * 1024;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What may be sent a second time when a connection that was at rest turns out to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// What means the same if it is done twice: as long as nothing of an answer came.
    Idempotent,
    /// Everything else: only if no byte of it had been sent (RFC 9110 section 9.2.2).
    Unsent,
}

impl Repeat {
    pub(crate) fn of(method: &Method) -> Self {
        if method.is_idempotent() {
            Repeat::Idempotent
        } else {
            Repeat::Unsent
        }
    }
}

/// Sends `head` (request line and headers, without framing and the final empty line) and the body.
pub(crate) async fn exchange<S: Supply>(
    backend: &Backend,
    head: &[u8],
    repeat: Repeat,
    body: &mut Replayable<S>,
    intake: &mut Intake<'_>,
) -> Result<Answer, ExchangeFault> {
    let first = body.next().await.map_err(ExchangeFault::Caller)?;
    let _place = place(backend, body, intake).await?;
    let wire = backend.pool.take();
    let rested = wire.is_some();
    let mut wire = match wire {
        Some(wire) => wire,
        None => backend.dial().await.map_err(SendFault::from)?,
    };
    let tried = attempt(backend, &mut wire, head, first, body, intake).await;
    let tried = match tried {
        Err(broken) if rested && broken.may_repeat(repeat) && body.rewind() => {
            let first = body.next().await.map_err(ExchangeFault::Caller)?;
            wire = backend.dial().await.map_err(SendFault::from)?;
            attempt(backend, &mut wire, head, first, body, intake).await
        }
        tried => tried,
    };
    let (answer, reusable) = tried.map_err(|broken| broken.fault)?;
    if reusable {
        backend.pool.give(wire);
    }
    Ok(answer)
}

/// A place among the calls at once, which is waited for as long as the caller is there.
async fn place<S: Supply>(
    backend: &Backend,
    body: &mut Replayable<S>,
    intake: &Intake<'_>,
) -> Result<Turn<OwnerKey>, ExchangeFault> {
    tokio::select! {
        biased;
        place = backend.calls.take_as(intake.reservation.owner()) => place.ok_or(SendFault::Busy.into()),
        () = body.gone_before() => Err(ExchangeFault::CallerGone),
    }
}

/// An exchange that failed.
struct FailedExchange {
    fault: ExchangeFault,
    progress: Progress,
}

/// How far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// No byte of it had been sent.
    Unsent,
    /// The connection ended without a byte of an answer; the backend may have done what was asked.
    Unanswered,
    /// Anything else.
    Under,
}

impl FailedExchange {
    fn may_repeat(&self, repeat: Repeat) -> bool {
        match self.progress {
            Progress::Unsent => true,
            Progress::Unanswered => repeat == Repeat::Idempotent,
            Progress::Under => false,
        }
    }
}

impl From<SendFault> for FailedExchange {
    fn from(fault: SendFault) -> Self {
        FailedExchange {
            fault: fault.into(),
            progress: Progress::Under,
        }
    }
}

/// What came back while sending.
struct Inbound<'a> {
    wire: &'a mut BackendStream,
    bytes: BytesMut,
    /// Something left.
    sent: bool,
    /// Something came, whatever has become of it.
    began: bool,
    ended: bool,
}

async fn attempt<S: Supply>(
    backend: &Backend,
    wire: &mut BackendStream,
    head: &[u8],
    first: Option<Bytes>,
    body: &mut Replayable<S>,
    intake: &mut Intake<'_>,
) -> Result<(Answer, bool), FailedExchange> {
    let mut inbound = Inbound {
        wire,
        bytes: BytesMut::new(),
        sent: false,
        began: false,
        ended: false,
    };
    let sent = send(backend, &mut inbound, head, first, body).await;
    // A broken pipe may hide an answer that was sent before it broke.
    let sent = match sent {
        Ok(sent) => sent,
        Err(SendFailure::Caller(fault)) => return Err(callers(fault)),
        Err(SendFailure::Wire) if !inbound.sent && !inbound.began => {
            return Err(FailedExchange {
                fault: SendFault::Unreachable.into(),
                progress: Progress::Unsent,
            });
        }
        Err(SendFailure::TimedOut) if !inbound.began => return Err(SendFault::TimedOut.into()),
        Err(SendFailure::TimedOut | SendFailure::Wire) => SentBody::Cut,
    };
    match receive(backend, &mut inbound, intake).await {
        // The backend cannot have taken what it was never sent, whatever it says.
        Ok((answer, _)) if answer.status.is_success() && !is_all(sent, body).await? => {
            Err(SendFault::Undecodable.into())
        }
        Ok((answer, reusable)) => Ok((answer, reusable && sent == SentBody::Whole)),
        Err(SendFault::Unreachable) if !inbound.began => Err(FailedExchange {
            fault: SendFault::Unreachable.into(),
            progress: Progress::Unanswered,
        }),
        Err(fault) => Err(fault.into()),
    }
}

fn callers(fault: Fault) -> FailedExchange {
    FailedExchange {
        fault: ExchangeFault::Caller(fault),
        progress: Progress::Under,
    }
}

/// How much of the body had left when the answer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SentBody {
    /// All of it, and its end.
    Whole,
    /// All that had come; whether that was the last of it was not known yet.
    SoFar,
    /// Something that had come was left out.
    Cut,
}

impl SentBody {
    fn whole(written: bool) -> Self {
        if written {
            SentBody::Whole
        } else {
            SentBody::Cut
        }
    }
}

/// Whether the backend was sent the whole body. Where the answer came while the next piece was awaited, the supply knows:
/// a backend that counts bytes or reads one document answers before the end has been said.
async fn is_all<S: Supply>(
    sent: SentBody,
    body: &mut Replayable<S>,
) -> Result<bool, FailedExchange> {
    Ok(match sent {
        SentBody::Whole => true,
        SentBody::SoFar => body.next().await.map_err(callers)?.is_none(),
        SentBody::Cut => false,
    })
}

enum SendFailure {
    Caller(Fault),
    Wire,
    TimedOut,
}

/// Sends everything, or as much as has left when the answer comes.
async fn send<S: Supply>(
    backend: &Backend,
    inbound: &mut Inbound<'_>,
    head: &[u8],
    first: Option<Bytes>,
    body: &mut Replayable<S>,
) -> Result<SentBody, SendFailure> {
    let mut start = BytesMut::with_capacity(head.len() + 64 + JOIN_BYTES);
    start.extend_from_slice(head);
    let chunked = match (body.framed(), &first) {
        (Framed::Length(length), _) => {
            start.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
            false
        }
        (Framed::Chunks, None) => {
            start.extend_from_slice(b"content-length: 0\r\n\r\n");
            false
        }
        (Framed::Chunks, Some(_)) => {
            start.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            true
        }
    };
    let mut piece = first;
    let mut before = start;
    loop {
        let Some(data) = piece.take() else {
            if chunked {
                before.extend_from_slice(b"0\r\n\r\n");
            }
            return inbound
                .write(backend, before.freeze(), Bytes::new())
                .await
                .map(SentBody::whole);
        };
        if chunked {
            before.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        }
        let data = if data.len() <= JOIN_BYTES && before.len() <= GATHER_BYTES {
            before.extend_from_slice(&data);
            // A small piece goes together with the next one, if that is there already: one system call, one wakening.
            let next = tokio::select! {
                biased;
                next = body.next() => Some(next.map_err(SendFailure::Caller)?),
                () = std::future::ready(()) => None,
            };
            match next {
                Some(None) if !chunked => {
                    return inbound
                        .write(backend, before.freeze(), Bytes::new())
                        .await
                        .map(SentBody::whole);
                }
                Some(next) => {
                    if chunked {
                        before.extend_from_slice(b"\r\n");
                    }
                    piece = next;
                    continue;
                }
                None => Bytes::new(),
            }
        } else {
            data
        };
        if !inbound
            .write(backend, before.split().freeze(), data)
            .await?
        {
            return Ok(SentBody::Cut);
        }
        if chunked {
            before.extend_from_slice(b"\r\n");
        }
        // The end of a counted body is known without asking for another piece, but the supply has to see
        // it too: it proves that the body came whole.
        piece = tokio::select! {
            biased;
            next = body.next() => next.map_err(SendFailure::Caller)?,
            early = inbound.read_some() => {
                early.map_err(|_| SendFailure::Wire)?;
                return Ok(SentBody::SoFar);
            }
        };
        if piece.is_none() && !chunked {
            return Ok(SentBody::Whole);
        }
    }
}

impl Inbound<'_> {
    /// Writes both parts; false if an answer began meanwhile.
    async fn write(
        &mut self,
        backend: &Backend,
        before: Bytes,
        data: Bytes,
    ) -> Result<bool, SendFailure> {
        let mut out = before.chain(data);
        let writing = poll_fn(|cx| self.poll_write(cx, &mut out));
        match within(backend.settings.write_timeout, pin!(writing)).await {
            Ok(Ok(written)) => Ok(written),
            Ok(Err(_)) => Err(SendFailure::Wire),
            Err(_) => Err(SendFailure::TimedOut),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut impl Buf) -> Poll<io::Result<bool>> {
        while out.has_remaining() {
            let mut slices = [io::IoSlice::new(&[]); 2];
            let count = out.chunks_vectored(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            match Pin::new(&mut *self.wire).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.sent = true;
                    out.advance(written);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // A backend that does not read may have answered.
                Poll::Pending => {
                    ready!(self.poll_read(cx))?;
                    return Poll::Ready(Ok(false));
                }
            }
        }
        Pin::new(&mut *self.wire).poll_flush(cx).map_ok(|()| true)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = if self.began {
            self.bytes.reserve(4 * 1024);
            let reading = self.wire.read_buf(&mut self.bytes);
            tokio::pin!(reading);
            ready!(reading.poll(cx))?
        } else {
            // Nearly every answer to an export is short: what comes first takes as much memory as it is long.
            let mut space = [MaybeUninit::uninit(); FIRST_READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *self.wire).poll_read(cx, &mut buffer))?;
            self.bytes.extend_from_slice(buffer.filled());
            buffer.filled().len()
        };
        self.ended |= count == 0;
        self.began |= count > 0;
        Poll::Ready(Ok(count))
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// Reads more, or says that the backend is silent or gone.
    async fn more(&mut self, deadline: Instant) -> Result<(), SendFault> {
        if self.ended {
            return Err(SendFault::Unreachable);
        }
        match timeout_at(deadline, self.read_some()).await {
            Err(_) => Err(SendFault::TimedOut),
            Ok(Err(_) | Ok(0)) => Err(SendFault::Unreachable),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

/// Reads the answer whole. One deadline for all of it: a dripping backend is a silent one.
async fn receive(
    backend: &Backend,
    inbound: &mut Inbound<'_>,
    intake: &mut Intake<'_>,
) -> Result<(Answer, bool), SendFault> {
    let deadline = Instant::now() + backend.settings.read_timeout;
    let head = match read_head(inbound, deadline).await {
        Ok(head) => head,
        Err(fault @ (SendFault::Undecodable | SendFault::TooLarge)) if intake.status_suffices => {
            return success_alone(inbound, deadline)
                .await
                .map(|answer| (answer, false))
                .ok_or(fault);
        }
        Err(fault) => return Err(fault),
    };
    inbound.bytes.advance(head.length);
    let mut reusable = head.keeps_alive && !matches!(head.framing, AnswerFraming::UntilEnd);
    let body = match read_body(&head.framing, inbound, intake, deadline).await {
        Err(_) if intake.status_suffices && head.status.is_success() => {
            reusable = false;
            Bytes::new()
        }
        read => read?,
    };
    // Bytes that were not asked for make the connection worthless.
    reusable &= inbound.bytes.is_empty() && !inbound.ended;
    Ok((
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        },
        reusable,
    ))
}

async fn read_head(inbound: &mut Inbound<'_>, deadline: Instant) -> Result<AnswerHead, SendFault> {
    loop {
        match parse_head(&inbound.bytes)? {
            // It may have come in one read.
            Some(head) if head.length > HEAD_LIMIT_BYTES => return Err(SendFault::TooLarge),
            // Interim answers say nothing to us (RFC 9110 section 15.2).
            Some(head) if head.status.is_informational() => {
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Err(SendFault::Undecodable);
                }
                inbound.bytes.advance(head.length);
            }
            Some(head) => return Ok(head),
            None if inbound.bytes.len() > HEAD_LIMIT_BYTES => return Err(SendFault::TooLarge),
            None => inbound.more(deadline).await?,
        }
    }
}

/// What a head still says that cannot be followed: a 2xx, and of what media type the body would be. Where the body ends is
/// in doubt, so it is taken for an empty one.
async fn success_alone(inbound: &mut Inbound<'_>, deadline: Instant) -> Option<Answer> {
    loop {
        let bytes = &inbound.bytes;
        let status = head::success_line(bytes);
        let is_last = head::has_end(bytes) || bytes.len() > HEAD_LIMIT_BYTES;
        match status {
            Some(None) => return None,
            None if is_last => return None,
            Some(Some(status)) if is_last => {
                return Some(Answer {
                    status,
                    headers: head::content_types(bytes),
                    body: Bytes::new(),
                });
            }
            _ => {}
        }
        if inbound.more(deadline).await.is_err() {
            let headers = head::content_types(&inbound.bytes);
            return status.flatten().map(|status| Answer {
                status,
                headers,
                body: Bytes::new(),
            });
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
