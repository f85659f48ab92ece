//! HTTP/1.1: one connection's requests, one after the other, without the framework.
//!
//! What it does: holds a head back until it is whole and strict, gives body bytes to the rooms without a copy, writes an
//! answer with its head in one system call, enforces the deadlines of heads and idleness, and ends a connection so that its
//! last answer arrives. What it refuses to know: paths, identities, decisions. Invariants: a head that fails is replaced by
//! one that names nothing, so that the refusal takes the same way as every other; a next head is looked for only behind the
//! end of a whole body and a whole answer; an idle connection holds no buffer; at most one head or one read of bytes ahead
//! are held; the lock is never held across a wait.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header, request};
use tokio::io::{AsyncReadExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::arrival::Arrival;
use super::chunks::Chunks;
use super::connection::{BrokenHead, Connection};
use super::head::{self, Framing, HeadLimits};
use super::transport::Transport;
use super::{Fault, Framed, glimpse_dialect};
use crate::clock::UnixMillis;
use crate::lock::Mutex;

/// What a refused head is replaced by; the request on it looks at the connection first.
const BROKEN_HEAD: &[u8] = b"GET /.lightkeeper/broken HTTP/1.1\r\nHost: lightkeeper\r\n\r\n";

/// The same for a client that expects no body, whatever is wrong with its head.
const BROKEN_BODILESS_HEAD: &[u8] =
    b"HEAD /.lightkeeper/broken HTTP/1.1\r\nHost: lightkeeper\r\n\r\n";

/// How long unread bytes are drained after a refusal, so that the client can read it (RFC 9112 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// A body up to this size is copied behind its head: a second slice costs the kernel more.
const COPIED_BODY_BYTES: usize = 1024;
/// What an answer's head takes, usually.
const HEAD_BYTES: usize = 512;
/// One read while a head is awaited.
const HEAD_READ_BYTES: usize = 8 * 1024;
/// One read of a body: few system calls for large exports, and what one connection may hold.
const BODY_READ_BYTES: usize = 128 * 1024;

/// Deadlines and bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub head: HeadLimits,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
}

/// What answers the requests of HTTP/1.1 connections.
pub(crate) trait Http1App: Send + Sync + 'static {
    /// Answers one request; what it leaves unanswered, or half, ends the connection.
    fn answer(&self, call: &mut Http1Call, arrival: Arrival) -> impl Future<Output = ()> + Send;
}

/// Serves one connection to its end.
pub(super) async fn serve(connection: Arc<Mutex<Http1Connection>>, app: &impl Http1App) {
    let shared = connection.lock().connection.clone();
    let arrival = Arrival::new(shared, Some(Body(connection.clone())));
    loop {
        let head = poll_fn(|cx| connection.lock().poll_head(cx)).await;
        let head = match head {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(_) => return,
        };
        let mut call = Http1Call {
            keep_alive: !asks_to_close(&head),
            head,
            connection: connection.clone(),
            stage: AnswerStage::Awaited,
        };
        // Boxed, so that a connection that waits for its next request does not hold the room for one.
        Box::pin(app.answer(&mut call, arrival.clone())).await;
        if call.stage != AnswerStage::Whole {
            return;
        }
        if !call.keep_alive || !connection.lock().next() {
            break;
        }
    }
    // A connection that cannot be ended well is ended by being dropped.
    let _ = poll_fn(|cx| connection.lock().poll_shutdown(cx)).await;
}

/// Whether the client will send nothing more (RFC 9112 section 9.6).
fn asks_to_close(head: &request::Parts) -> bool {
    let mut lines = head.headers.get_all(header::CONNECTION).into_iter();
    lines.any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

/// How far a request's answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerStage {
    Awaited,
    Begun,
    Whole,
}

/// One request, and the way back to its caller.
pub(crate) struct Http1Call {
    head: request::Parts,
    connection: Arc<Mutex<Http1Connection>>,
    keep_alive: bool,
    stage: AnswerStage,
}

impl Http1Call {
    pub(crate) fn head(&self) -> &request::Parts {
        &self.head
    }

    /// Whether an answer has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.stage != AnswerStage::Awaited
    }

    /// The connection takes no further request.
    pub(crate) fn close_after(&mut self) {
        self.keep_alive = false;
    }

    /// Writes the one answer. `fields` say how long `body` is; they may say so of a body that does not come (`HEAD`). Waits
    /// without a deadline: the caller brings one, and ends the connection by giving up.
    pub(crate) async fn answer(
        &mut self,
        status: StatusCode,
        fields: &[(HeaderName, HeaderValue)],
        mut body: Bytes,
        now: UnixMillis,
    ) -> io::Result<()> {
        if self.has_begun() {
            return Err(io::Error::other("a second answer"));
        }
        self.stage = AnswerStage::Begun;
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + body.len().min(COPIED_BODY_BYTES));
        {
            let mut connection = self.connection.lock();
            self.keep_alive &= !connection.connection.is_closing();
            write_head(
                &mut bytes,
                status,
                fields,
                connection.date(now),
                self.keep_alive,
            );
        }
        if body.len() <= COPIED_BODY_BYTES {
            bytes.extend_from_slice(&std::mem::take(&mut body));
        }
        poll_fn(|cx| self.connection.lock().poll_send(cx, &mut bytes, &mut body)).await?;
        self.stage = AnswerStage::Whole;
        Ok(())
    }
}

/// Writes an answer's head (RFC 9112 section 4).
fn write_head(
    out: &mut BytesMut,
    status: StatusCode,
    fields: &[(HeaderName, HeaderValue)],
    date: &str,
    keep_alive: bool,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in fields {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(usual_spelling(name).as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(if keep_alive {
        b"\r\nConnection: keep-alive\r\n\r\n"
    } else {
        b"\r\nConnection: close\r\n\r\n"
    });
}

/// A name as old clients look for it, who compare letters by their case.
fn usual_spelling(name: &HeaderName) -> &str {
    match *name {
        header::CONTENT_TYPE => "Content-Type",
        header::CONTENT_LENGTH => "Content-Length",
        header::CONTENT_ENCODING => "Content-Encoding",
        header::CACHE_CONTROL => "Cache-Control",
        header::RETRY_AFTER => "Retry-After",
        header::WWW_AUTHENTICATE => "WWW-Authenticate",
        header::SET_COOKIE => "Set-Cookie",
        header::LOCATION => "Location",
        header::VARY => "Vary",
        header::ETAG => "ETag",
        header::ALLOW => "Allow",
        header::X_CONTENT_TYPE_OPTIONS => "X-Content-Type-Options",
        _ => name.as_str(),
    }
}

/// The body of the request in flight.
#[derive(Clone)]
pub(crate) struct Body(Arc<Mutex<Http1Connection>>);

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
pub(super) struct Http1Connection {
    io: Transport,
    connection: Arc<Connection>,
    pace: Pace,
    mode: Mode,
    ahead: BytesMut,
    /// What the request in flight announced of its body.
    declared: Option<u64>,
    /// What is left of an interim answer on its way out.
    interim: &'static [u8],
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs once our side has been closed.
    linger: Option<Pin<Box<Sleep>>>,
    /// The client sent what no request takes.
    unread: bool,
    deadline: Instant,
    ended: bool,
    /// The second since 1970 that `date` tells.
    date_second: i64,
    date: String,
}

impl Http1Connection {
    /// `ahead` holds what was read while looking for the HTTP/2 preface.
    pub(super) fn new(
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
            interim: b"",
            timer: None,
            linger: None,
            unread: false,
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
    fn date(&mut self, now: UnixMillis) -> &str {
        let second = now.seconds();
        if self.date_second != second {
            let since = Duration::from_secs(u64::try_from(second).unwrap_or_default());
            self.date = httpdate::fmt_http_date(std::time::SystemTime::UNIX_EPOCH + since);
            self.date_second = second;
        }
        &self.date
    }

    /// The request before is answered: the next head may come. False where there is no telling where it would begin.
    fn next(&mut self) -> bool {
        if !self.is_body_whole() {
            return false;
        }
        self.mode = Mode::Head { searched: 0 };
        self.declared = None;
        // Bytes that are here already began this head; nothing here means idleness.
        let wait = if self.ahead.is_empty() {
            self.pace.idle_timeout
        } else {
            self.pace.header_timeout
        };
        self.deadline = Instant::now() + wait;
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        true
    }

    /// The next request's head; `None` when the connection is over.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<request::Parts>>> {
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
                return Poll::Ready(Ok(None));
            }
            // On the stack, so that a connection that waits holds no buffer.
            let mut space = [std::mem::MaybeUninit::uninit(); HEAD_READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            if let Poll::Ready(result) = self.io.poll_read(cx, &mut buffer) {
                result?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(None));
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
            Err(fault) => return self.refuse_head(fault),
        };
        let head = self.ahead.split_to(end).freeze();
        (self.mode, self.declared) = match framing {
            Framing::None => (Mode::Answer, Some(0)),
            Framing::Length(length) => (Mode::Length(length), Some(length)),
            Framing::Chunked => (Mode::Chunked(Chunks::new()), None),
        };
        match head::parts(&head) {
            Some(parts) => Some(parts),
            None => self.refuse_head(Fault::HeaderLine),
        }
    }

    /// Gives a head that names nothing in place of the refused one.
    fn refuse_head(&mut self, fault: Fault) -> Option<request::Parts> {
        let (method, path) = head::glimpse(&self.ahead);
        let replacement = if method == "HEAD" {
            BROKEN_BODILESS_HEAD
        } else {
            BROKEN_HEAD
        };
        self.connection.break_head(BrokenHead {
            fault,
            dialect: glimpse_dialect(
                path,
                head::glimpse_header(&self.ahead, "content-type"),
                false,
            ),
            method: method.to_owned(),
            path: path.to_owned(),
        });
        // Where the next request begins is anybody's guess: the answer ends the connection.
        self.mode = Mode::Dead;
        self.ahead = BytesMut::new();
        self.connection.close();
        head::parts(&Bytes::from_static(replacement))
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
            self.interim = b"HTTP/1.1 100 Continue\r\n\r\n";
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

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.interim.is_empty() {
            let count = ready!(self.io.poll_write(cx, self.interim))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(count);
        }
        self.io.poll_flush(cx)
    }

    /// Writes both, one behind the other, in as few system calls as the kernel allows.
    fn poll_send(
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
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
            match self.io.poll_read(cx, &mut sink) {
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
