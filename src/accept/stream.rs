//! The guarded stream: every byte of a connection passes here before the framework sees it.
//!
//! What it does: holds HTTP/1 heads back until they are whole and strict, follows the body's framing to
//! its true end, keeps bytes of a next request away until the gate is armed, enforces the deadlines of
//! heads and idleness, and writes heads and small bodies in one system call.
//! What it refuses to know: paths, identities, decisions. Invariants: a head that fails is replaced by
//! one that names nothing, so that the refusal takes the same way as every other; an idle connection
//! holds no buffer; at most one head and one read of bytes ahead are held.

use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::chunks::Chunks;
use super::connection::{BrokenHead, Connection};
use super::frames::Frames;
use super::head::{self, Framing, HeadLimits};
use super::transport::Transport;
use super::{Fault, glimpse_dialect};

/// What the framework is given in place of a head that was refused; no client can name this method's
/// path, and the request on it looks at the connection first.
const BROKEN_HEAD: &[u8] = b"GET /.lightkeeper/broken HTTP/1.1\r\nHost: lightkeeper\r\n\r\n";
/// The same for a client that expects no body, whatever is wrong with its head.
const BROKEN_BODILESS_HEAD: &[u8] = b"HEAD /.lightkeeper/broken HTTP/1.1\r\nHost: lightkeeper\r\n\r\n";

/// Responses up to this size leave in one write with their head.
const COALESCE_BYTES: usize = 16 * 1024;

/// One read while a head is awaited.
const HEAD_READ_BYTES: usize = 8 * 1024;

/// How long unread bytes are drained after a refusal, so that the client can read it (RFC 9112 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Deadlines and bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub head: HeadLimits,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
}

/// Told the reason of every HTTP/2 refusal that the framework makes without us. Must not block.
pub type Tell = Box<dyn Fn(&'static str) + Send + Sync>;

/// Where the stream stands in the sequence of messages.
enum Mode {
    /// HTTP/2 frames itself.
    Raw,
    /// Collecting a head; `searched` bytes of the buffer hold no end.
    Head {
        searched: usize,
    },
    /// A body with so many bytes to come.
    Length(u64),
    Chunked(Chunks),
    /// The request is whole; its answer is awaited.
    Answer,
    /// A refused head was replaced; nothing more is read.
    Dead,
}

/// The stream that the framework reads.
pub struct Guarded {
    io: Transport,
    connection: Arc<Connection>,
    pace: Pace,
    mode: Mode,
    ahead: BytesMut,
    /// How many bytes of `ahead` belong to the message in flight.
    passable: usize,
    written: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    deadline: Instant,
    ended: bool,
    /// An interim answer is on its way out.
    continuing: bool,
    /// Made once: the framework asks for it with every request.
    digest: Option<Arc<ProxyDigest>>,
    frames: Frames,
    tell: Tell,
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the bytes: they hold credentials, and the framework prints streams when it is puzzled.
        write!(formatter, "Guarded({})", self.connection.peer)
    }
}

impl Guarded {
    /// `ahead` holds what was read while looking for the HTTP/2 preface.
    pub fn new(io: Transport, connection: Arc<Connection>, pace: Pace, ahead: BytesMut, tell: Tell) -> Self {
        let http2 = connection.http2;
        // The only way for our own facts to reach a request: the framework copies this into its digest.
        let digest = pingora_http::ResponseHeader::build(200, Some(0))
            .ok()
            .map(|response| Arc::new(ProxyDigest::new(Box::new(response), Some(Box::new(connection.clone())))));
        Guarded {
            digest,
            frames: Frames::default(),
            tell,
            io,
            connection,
            pace,
            mode: if http2 { Mode::Raw } else { Mode::Head { searched: 0 } },
            passable: if http2 { ahead.len() } else { 0 },
            ahead,
            written: BytesMut::new(),
            timer: None,
            deadline: Instant::now() + pace.header_timeout,
            ended: false,
            continuing: false,
        }
    }

    /// Hands out bytes that are known to belong to the message in flight.
    fn pass(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.passable.min(out.remaining());
        if let Some(bytes) = self.ahead.get(..count) {
            out.put_slice(bytes);
        }
        self.ahead.advance(count);
        self.passable -= count;
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
    }

    /// Judges the head that ends at `end` and counts the body bytes that came with it.
    fn judge(&mut self, end: usize) {
        // A word to the request before, which had no body to wait for.
        self.connection.take_continue();
        let head = self.ahead.get(..end).unwrap_or_default();
        let framing = match head::inspect(head, self.pace.head) {
            Ok(framing) => framing,
            Err(fault) => return self.refuse_head(fault),
        };
        let rest = self.ahead.get(end..).unwrap_or_default();
        let (mode, body) = match framing {
            Framing::None => (Mode::Answer, 0),
            Framing::Length(length) => {
                let here = length.min(rest.len() as u64);
                let mode = if here == length { Mode::Answer } else { Mode::Length(length - here) };
                (mode, usize::try_from(here).unwrap_or(0))
            }
            Framing::Chunked => {
                let mut chunks = Chunks::new();
                match chunks.walk(rest) {
                    Ok(used) if chunks.is_done() => (Mode::Answer, used),
                    Ok(used) => (Mode::Chunked(chunks), used),
                    Err(fault) => return self.refuse_head(fault),
                }
            }
        };
        self.mode = mode;
        self.passable = end + body;
    }

    /// Puts the replacement head where the refused one stood.
    fn refuse_head(&mut self, fault: Fault) {
        let (method, path) = head::glimpse(&self.ahead);
        let replacement = if method == "HEAD" { BROKEN_BODILESS_HEAD } else { BROKEN_HEAD };
        self.connection.break_head(BrokenHead {
            fault,
            dialect: glimpse_dialect(path, head::glimpse_header(&self.ahead, "content-type"), false),
            method: method.to_owned(),
            path: path.chars().take(256).flat_map(char::escape_default).take(256).collect(),
        });
        self.mode = Mode::Dead;
        self.ahead = BytesMut::from(replacement);
        self.passable = replacement.len();
        // Where the next request begins is anybody's guess: the answer ends the connection.
        self.connection.close();
    }

    /// Reads towards a whole head. Ready with `false` when the connection is over.
    fn poll_head(&mut self, cx: &mut Context<'_>, searched: usize) -> Poll<io::Result<bool>> {
        if let Some(end) = head::find_end(&self.ahead, searched) {
            self.judge(end);
            return Poll::Ready(Ok(true));
        }
        self.mode = Mode::Head { searched: self.ahead.len() };
        if self.ahead.len() > self.pace.head.bytes {
            self.refuse_head(Fault::HeadTooLarge);
            return Poll::Ready(Ok(true));
        }
        if self.ended || (self.ahead.is_empty() && self.connection.is_closing()) {
            return Poll::Ready(Ok(false));
        }
        let mut space = [std::mem::MaybeUninit::uninit(); HEAD_READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        if let Poll::Ready(result) = self.io.poll_read(cx, &mut buffer) {
            result?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            if self.ahead.is_empty() {
                // The first byte: from here the whole head has one deadline, however it drips.
                self.deadline = Instant::now() + self.pace.header_timeout;
                self.timer = None;
            }
            self.ahead.extend_from_slice(buffer.filled());
            return Poll::Ready(Ok(true));
        }
        self.connection.sleep_with(cx.waker());
        let deadline = self.deadline;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        if self.ahead.is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.refuse_head(Fault::HeadTimeout);
        Poll::Ready(Ok(true))
    }

    /// Reads body bytes straight into the framework's buffer; what lies beyond the body stays here.
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.take_continue() {
            self.written.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.continuing = true;
        }
        if self.continuing {
            ready!(self.poll_drain_written(cx))?;
            ready!(self.io.poll_flush(cx))?;
            self.continuing = false;
        }
        let before = out.filled().len();
        ready!(self.io.poll_read(cx, out))?;
        let fresh = out.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            self.connection.break_body(Fault::BodyTruncated);
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        let used = match &mut self.mode {
            Mode::Length(remaining) => {
                let used = (*remaining).min(fresh.len() as u64);
                *remaining -= used;
                if *remaining == 0 {
                    self.mode = Mode::Answer;
                }
                usize::try_from(used).unwrap_or(fresh.len())
            }
            Mode::Chunked(chunks) => match chunks.walk(fresh) {
                Ok(used) => {
                    if chunks.is_done() {
                        self.mode = Mode::Answer;
                    }
                    used
                }
                Err(fault) => {
                    self.connection.break_body(fault);
                    self.mode = Mode::Dead;
                    out.set_filled(before);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault.reason())));
                }
            },
            _ => fresh.len(),
        };
        let beyond = fresh.get(used..).unwrap_or_default();
        if !beyond.is_empty() {
            self.ahead.extend_from_slice(beyond);
            out.set_filled(before + used);
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the answer: notices a broken connection, keeps early bytes of the next request.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.take_armed() {
            self.mode = Mode::Head { searched: 0 };
            // Bytes that are here already began this head; nothing here means idleness.
            let wait = if self.ahead.is_empty() { self.pace.idle_timeout } else { self.pace.header_timeout };
            self.deadline = Instant::now() + wait;
            return Poll::Ready(Ok(()));
        }
        if self.ended || self.ahead.len() >= HEAD_READ_BYTES {
            return Poll::Pending;
        }
        let mut space = [std::mem::MaybeUninit::uninit(); 1024];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(self.io.poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            // A half-closed client still reads its answer (RFC 9112 section 9.6).
            self.ended = true;
        } else {
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drain_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            let count = ready!(self.io.poll_write(cx, &self.written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written.advance(count);
        }
        if self.written.capacity() > 0 {
            self.written = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.passable > 0 {
                this.pass(out);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Raw => return this.io.poll_read(cx, out),
                Mode::Head { searched } => {
                    if !ready!(this.poll_head(cx, searched))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Mode::Length(_) | Mode::Chunked(_) => return this.poll_body(cx, out),
                Mode::Answer => ready!(this.poll_answer(cx))?,
                // An end, not silence: nobody may wait for more of it.
                Mode::Dead => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.mode, Mode::Raw) {
            let count = ready!(this.io.poll_write(cx, bytes))?;
            this.frames.walk(bytes.get(..count).unwrap_or_default(), &this.tell);
            return Poll::Ready(Ok(count));
        }
        if this.written.len() + bytes.len() <= COALESCE_BYTES {
            this.written.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_drain_written(cx))?;
        this.io.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain_written(cx))?;
        let count = ready!(this.io.poll_write_vectored(cx, slices))?;
        if matches!(this.mode, Mode::Raw) {
            let mut left = count;
            for slice in slices {
                let here = left.min(slice.len());
                this.frames.walk(slice.get(..here).unwrap_or_default(), &this.tell);
                left -= here;
            }
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self.mode, Mode::Raw)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain_written(cx))?;
        this.io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain_written(cx))?;
        this.io.poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Guarded {
    /// Closes our side, then reads what the client is still sending for a moment, so that a refusal
    /// written before the body was read is not destroyed by a reset.
    async fn shutdown(&mut self) {
        let unread = !matches!(self.mode, Mode::Answer | Mode::Raw) || !self.ahead.is_empty();
        let closed = tokio::time::timeout(LINGER, AsyncWriteExt::shutdown(self)).await;
        if !unread || self.ended || !matches!(closed, Ok(Ok(()))) {
            return;
        }
        let drain = async {
            let mut sink = [0_u8; 16 * 1024];
            while let Ok(count) = self.io.read(&mut sink).await {
                if count == 0 {
                    break;
                }
            }
        };
        // Ending by the deadline is as good as ending by the client: nothing is kept either way.
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.io.tcp().as_raw_fd()
    }
}

impl Ssl for Guarded {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        // Cleartext HTTP/2 is recognised by its preface before the framework sees the stream.
        Some(if self.connection.http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.digest.clone()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Guarded {}
