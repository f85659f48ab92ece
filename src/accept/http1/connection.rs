//! One HTTP/1.1 connection's bytes: where each message begins and ends.
//!
//! What it does: holds a head back until it is whole and strict, gives body bytes to the rooms without a copy, writes answers,
//! enforces the deadlines of heads and idleness, and ends a connection so that its last answer arrives. What it refuses to
//! know: what is asked, what is answered. Invariants: a head that fails is replaced by one that names nothing, and is judged
//! and told by its own bytes alone; a next head is looked for only behind the end of a whole body and a whole answer; an idle
//! connection holds no buffer; at most one head or one read of bytes ahead are held.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::request;
use tokio::io::{AsyncReadExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::super::chunks::Chunks;
use super::super::connection::Connection;
use super::super::head::{self, Framing, HeadLimits};
use super::super::transport::Transport;
use super::super::{Dialect, Fault, Framed, glimpse_dialect};
use crate::clock::UnixMillis;
use crate::lock::Mutex;

/// What a refused head is replaced by; the request on it looks at what was refused first.
const BROKEN_HEAD: &[u8] = b"GET /.lightkeeper/broken HTTP/1.1\r\nHost: lightkeeper\r\n\r\n";

/// The same for a client that expects no body, whatever is wrong with its head.
const BROKEN_BODILESS_HEAD: &[u8] =
    b"HEAD /.lightkeeper/broken HTTP/1.1\r\nHost: lightkeeper\r\n\r\n";

/// How long unread bytes are drained after a refusal, so that the client can read it (RFC 9112 9.6).
const LINGER: Duration = Duration::from_secs(2);
/// An interim answer (RFC 9110 section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// One read while a head is awaited.
const HEAD_READ_BYTES: usize = 8 * 1024;
/// One read of a body: few system calls for large exports, and what one connection may hold.
const BODY_READ_BYTES: usize = 128 * 1024;

/// A head that was refused before it was parsed, as far as it could be read.
#[derive(Debug)]
pub struct BrokenHead {
    pub fault: Fault,
    pub dialect: Dialect,
    /// At most 16 bytes, a token, or empty.
    pub method: String,
    /// Without a query, as it came: its record escapes and cuts it.
    pub path: String,
}

/// Deadlines and bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::accept) struct Pace {
    pub head: HeadLimits,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
}

/// The body of the request in flight.
#[derive(Clone)]
pub(crate) struct Body(pub(super) Arc<Mutex<Http1Connection>>);

impl Body {
    /// The next piece; `None` at the end. Waits without a deadline: the caller brings one.
    pub(crate) async fn chunk(&self) -> Result<Option<Bytes>, Fault> {
        poll_fn(|cx| self.0.lock().poll_body(cx)).await
    }

    /// How the body was announced.
    pub(crate) fn framed(&self) -> Framed {
        match self.0.lock().declared {
            Some(length) => Framed::Length(length),
            None => Framed::Chunks,
        }
    }

    /// Whether it has been read to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.lock().is_body_whole()
    }
}

/// Judges the chunks that came with a head before anything is done for it: what is broken already is
/// refused before a backend hears of it.
fn foresee(framing: Framing, rest: &[u8]) -> Result<(), Fault> {
    if framing == Framing::Chunked {
        let (mut chunks, mut rest) = (Chunks::new(), BytesMut::from(rest));
        while chunks.take(&mut rest)?.is_some() {}
    }
    Ok(())
}

/// Where the bytes stand in the sequence of messages.
enum Mode {
    /// Collecting a head; `searched` bytes of the buffer hold no end.
    Head {
        searched: usize,
    },
    /// A body with so many bytes to come.
    Length(u64),
    Chunked(Chunks),
    /// The request is whole; its answer is awaited.
    Answer,
    /// A head was refused, or the body broke; nothing more is read.
    Dead,
}

/// One connection's bytes.
pub(in crate::accept) struct Http1Connection {
    io: Transport,
    pub(super) connection: Arc<Connection>,
    pace: Pace,
    mode: Mode,
    ahead: BytesMut,
    /// What the request in flight announced of its body.
    declared: Option<u64>,
    /// What is left of an interim answer on its way out; `None` once it was flushed.
    interim: Option<&'static [u8]>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs once our side has been closed.
    linger: Option<Pin<Box<Sleep>>>,
    /// The client sent what no request takes.
    unread: bool,
    /// What the head that was given last replaces.
    broken: Option<BrokenHead>,
    deadline: Instant,
    ended: bool,
    /// The second since 1970 that `date` tells.
    date_second: i64,
    date: String,
}

impl Http1Connection {
    /// `ahead` holds what was read while looking for the HTTP/2 preface.
    pub(in crate::accept) fn new(
        io: Transport,
        connection: Arc<Connection>,
        pace: Pace,
        ahead: BytesMut,
    ) -> Self {
        Http1Connection {
            io,
            connection,
            pace,
            mode: Mode::Head { searched: 0 },
            ahead,
            declared: None,
            interim: None,
            timer: None,
            linger: None,
            unread: false,
            broken: None,
            deadline: Instant::now() + pace.header_timeout,
            ended: false,
            date_second: i64::MIN,
            date: String::new(),
        }
    }

    /// Whether nothing of the request in flight is left to read.
    fn is_body_whole(&self) -> bool {
        matches!(self.mode, Mode::Answer)
    }

    /// `Date` (RFC 9110 section 6.6.1).
    pub(super) fn date(&mut self, now: UnixMillis) -> &str {
        let second = now.seconds();
        if self.date_second != second {
            let since = Duration::from_secs(u64::try_from(second).unwrap_or_default());
            self.date = httpdate::fmt_http_date(std::time::SystemTime::UNIX_EPOCH + since);
            self.date_second = second;
        }
        &self.date
    }

    /// The request before is answered: the next head may come. False where there is no telling where it would begin.
    pub(super) fn next(&mut self) -> bool {
        if !self.is_body_whole() {
            return false;
        }
        self.mode = Mode::Head { searched: 0 };
        let had_body = self.declared.take() != Some(0);
        // Bytes that are here already began this head; nothing here means idleness.
        let wait = match self.ahead.is_empty() {
            true => self.pace.idle_timeout,
            false => self.pace.header_timeout,
        };
        self.deadline = Instant::now() + wait;
        // However little room is left in it, a body's buffer is large, and is not held for what came ahead.
        if self.ahead.is_empty() || (had_body && self.ahead.len() <= HEAD_READ_BYTES) {
            self.ahead = BytesMut::from(&self.ahead[..]);
        }
        true
    }

    /// The next request's head; `None` when the connection is over.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<request::Parts>>> {
        loop {
            let Mode::Head { searched } = self.mode else {
                return Poll::Ready(Ok(None));
            };
            if let Some(end) = head::find_end(&self.ahead, searched) {
                return Poll::Ready(Ok(self.judge(end)));
            }
            self.mode = Mode::Head {
                searched: self.ahead.len(),
            };
            if self.ahead.len() > self.pace.head.bytes {
                return Poll::Ready(Ok(self.refuse_head(Fault::HeadTooLarge)));
            }
            if self.ended {
                return Poll::Ready(Ok(self.broken_off()));
            }
            // On the stack, so that a connection that waits holds no buffer.
            let mut space = [std::mem::MaybeUninit::uninit(); HEAD_READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            if let Poll::Ready(result) = self.io.poll_read(cx, &mut buffer) {
                if result.is_err() || buffer.filled().is_empty() {
                    self.ended = true;
                    return Poll::Ready(Ok(self.broken_off()));
                }
                if self.ahead.is_empty() {
                    // The first byte: from here the whole head has one deadline, however it drips.
                    self.deadline = Instant::now() + self.pace.header_timeout;
                }
                self.ahead.extend_from_slice(buffer.filled());
                continue;
            }
            self.connection.sleep_with(cx.waker());
            // What had come before the end was asked for is answered.
            if self.ahead.is_empty() && self.connection.is_closing() {
                return Poll::Ready(Ok(None));
            }
            ready!(self.poll_deadline(cx));
            if self.ahead.is_empty() {
                return Poll::Ready(Ok(None));
            }
            return Poll::Ready(Ok(self.refuse_head(Fault::HeadTimeout)));
        }
    }

    /// Ready once the deadline is over. The timer may be set to an earlier time and is set anew when it fires: deadlines move
    /// on with every request, and are rarely reached.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Judges the head that ends at `end`; what follows it stays for `poll_body`.
    fn judge(&mut self, end: usize) -> Option<request::Parts> {
        // A word to the request before, which had no body to wait for.
        self.connection.take_continue();
        let (head, rest) = self.ahead.split_at_checked(end)?;
        let framing = head::inspect(head, self.pace.head)
            .and_then(|framing| foresee(framing, rest).map(|()| framing));
        let framing = match framing {
            Ok(framing) => framing,
            Err(fault) => {
                // What stands behind it was not refused.
                self.ahead.truncate(end);
                return self.refuse_head(fault);
            }
        };
        let head = self.ahead.split_to(end).freeze();
        let Some(parts) = head::parts(&head) else {
            self.ahead = head.into();
            return self.refuse_head(Fault::HeaderLine);
        };
        (self.mode, self.declared) = match framing {
            Framing::None => (Mode::Answer, Some(0)),
            Framing::Length(length) => (Mode::Length(length), Some(length)),
            Framing::Chunked => (Mode::Chunked(Chunks::new()), None),
        };
        Some(parts)
    }

    /// Gives a head that names nothing in place of the refused one, which is all that `ahead` holds.
    fn refuse_head(&mut self, fault: Fault) -> Option<request::Parts> {
        let (method, path) = head::glimpse(&self.ahead);
        let replacement = match method {
            "HEAD" => BROKEN_BODILESS_HEAD,
            _ => BROKEN_HEAD,
        };
        let content_type = head::glimpse_header(&self.ahead, "content-type");
        self.broken = Some(BrokenHead {
            fault,
            dialect: glimpse_dialect(path, content_type, false),
            method: method.to_owned(),
            path: path.to_owned(),
        });
        // Where the next request begins is not known: the answer ends the connection.
        self.mode = Mode::Dead;
        self.ahead = BytesMut::new();
        head::parts(&Bytes::from_static(replacement))
    }

    /// The client has ended its side. Within a head that is told, and to a client that still reads, answered.
    fn broken_off(&mut self) -> Option<request::Parts> {
        // Some clients end a body with a line of their own (RFC 9112 section 2.2).
        let is_nothing = self.ahead.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if is_nothing {
            return None;
        }
        self.refuse_head(Fault::HeadTruncated)
    }

    /// What the head that was given last replaces, once.
    pub(super) fn take_broken_head(&mut self) -> Option<BrokenHead> {
        self.broken.take()
    }

    /// The next piece of the request's body; `None` at its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            match &mut self.mode {
                Mode::Length(remaining) if !self.ahead.is_empty() => {
                    let length = usize::try_from(*remaining)
                        .unwrap_or(usize::MAX)
                        .min(self.ahead.len());
                    *remaining -= length as u64;
                    if *remaining == 0 {
                        self.mode = Mode::Answer;
                    }
                    return Poll::Ready(Ok(Some(self.ahead.split_to(length).freeze())));
                }
                Mode::Chunked(chunks) if !self.ahead.is_empty() => {
                    match chunks.take(&mut self.ahead) {
                        Ok(Some(data)) => return Poll::Ready(Ok(Some(data))),
                        Ok(None) if chunks.is_done() => self.mode = Mode::Answer,
                        Ok(None) => {}
                        Err(fault) => {
                            self.mode = Mode::Dead;
                            return Poll::Ready(Err(fault));
                        }
                    }
                }
                Mode::Length(_) | Mode::Chunked(_) => {}
                Mode::Answer => return Poll::Ready(Ok(None)),
                Mode::Head { .. } | Mode::Dead => {
                    return Poll::Ready(Err(Fault::BodyTruncated));
                }
            }
            if self.is_body_whole() {
                continue;
            }
            match ready!(self.poll_more(cx)) {
                Ok(0) | Err(_) => {
                    self.ended = true;
                    return Poll::Ready(Err(Fault::BodyTruncated));
                }
                Ok(_) => {}
            }
        }
    }

    /// Reads body bytes into `ahead`, having told the client to go on if it waits for that.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.connection.take_continue() {
            self.interim = Some(CONTINUE);
        }
        ready!(self.poll_interim(cx))?;
        let wanted = match &self.mode {
            Mode::Length(remaining) => usize::try_from(*remaining)
                .unwrap_or(BODY_READ_BYTES)
                .min(BODY_READ_BYTES),
            _ => BODY_READ_BYTES / 4,
        };
        // What is left of a buffer is used before another one is taken: pieces that are kept keep all of theirs.
        if self.ahead.capacity() - self.ahead.len() < wanted.min(BODY_READ_BYTES / 4) {
            self.ahead.reserve(wanted.max(1024));
        }
        std::pin::pin!(self.io.read_buf(&mut self.ahead)).poll(cx)
    }

    /// Sends what is left of an interim answer. Over TLS written bytes may wait for the flush: it is done when that is.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(interim) = &mut self.interim {
            if interim.is_empty() {
                ready!(self.io.poll_flush(cx))?;
                self.interim = None;
                break;
            }
            match ready!(self.io.poll_write(cx, interim))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => interim.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes both, one behind the other, in as few system calls as the kernel allows.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut BytesMut,
        body: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        // An interim answer that was cut off in the middle is finished first.
        ready!(self.poll_interim(cx))?;
        while !(head.is_empty() && body.is_empty()) {
            let count = if body.is_empty() {
                ready!(self.io.poll_write(cx, head))?
            } else if head.is_empty() {
                ready!(self.io.poll_write(cx, body))?
            } else {
                let slices = [io::IoSlice::new(head), io::IoSlice::new(body)];
                ready!(self.io.poll_write_vectored(cx, &slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = count.min(head.len());
            head.advance(of_head);
            body.advance(count - of_head);
        }
        self.io.poll_flush(cx)
    }

    /// Closes our side, then reads what the client has sent, and for a moment what it is still sending: a connection that is
    /// closed with unread bytes is reset, which destroys the answer on its way (RFC 9112 section 9.6).
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let linger = self
            .linger
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            // Ending by the deadline is as good as ending by the client: nothing is kept either way.
            return Poll::Ready(Ok(()));
        }
        ready!(self.io.poll_shutdown(cx))?;
        self.unread |=
            !matches!(self.mode, Mode::Answer | Mode::Head { .. }) || !self.ahead.is_empty();
        while !self.ended {
            let mut space = [std::mem::MaybeUninit::uninit(); 16 * 1024];
            let mut sink = ReadBuf::uninit(&mut space);
            match self.io.poll_drain(cx, &mut sink) {
                Poll::Ready(read) => {
                    self.ended = read.is_err() || sink.filled().is_empty();
                    // Bytes behind the last request are there: more may come.
                    self.unread |= !self.ended;
                }
                Poll::Pending if self.unread => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
