//! The state of one connection's bytes: what was read ahead, where the message in flight stands.
//!
//! What it does: holds HTTP/1 heads back until they are whole and strict, gives body bytes to the rooms without a copy,
//! keeps bytes of a next request away until the gate is armed, enforces the deadlines of heads and idleness, and writes
//! heads and small bodies in one system call. Of HTTP/2 it holds back a header block until it is whole and judged.
//! What it refuses to know: paths, identities, decisions. Invariants: a head that fails is replaced by one that names
//! nothing, so that the refusal takes the same way as every other; an idle connection holds no buffer; at most one head
//! or one read of bytes ahead are held.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::chunks::Chunks;
use super::connection::{BrokenHead, Connection};
use super::frames::Frames;
use super::head::{self, Framing, HeadLimits};
use super::header_blocks::{Change, HeaderBlocks};
use super::refused::{Refused, Tell};
use super::transport::Transport;
use super::{Fault, glimpse_dialect};
use crate::reason::Reason;

/// What the framework is given in place of a head that was refused; no client can name this method's
/// path, and the request on it looks at the connection first.
const BROKEN_HEAD: &[u8] = b"GET /.lightkeeper/broken HTTP/1.1\r\nHost: lightkeeper\r\n\r\n";

/// The same for a client that expects no body, whatever is wrong with its head.
const BROKEN_BODILESS_HEAD: &[u8] =
    b"HEAD /.lightkeeper/broken HTTP/1.1\r\nHost: lightkeeper\r\n\r\n";

/// How long unread bytes are drained after a refusal, so that the client can read it (RFC 9112 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Responses up to this size leave in one write with their head.
const COALESCE_BYTES: usize = 16 * 1024;
/// One read while a head is awaited.
const HEAD_READ_BYTES: usize = 8 * 1024;
/// One read of a body: few system calls for large exports, and what one connection may hold.
const BODY_READ_BYTES: usize = 128 * 1024;

/// Deadlines and bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub head: HeadLimits,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
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
    /// A refused head was replaced, or the body broke; nothing more is read.
    Dead,
}

/// One connection's bytes.
pub struct GuardedConnection {
    io: Transport,
    connection: Arc<Connection>,
    pace: Pace,
    mode: Mode,
    ahead: BytesMut,
    /// How many bytes of `ahead` may pass to the framework.
    passable: usize,
    /// What the request in flight announced of its body.
    declared: Option<u64>,
    written: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs once our side has been closed.
    linger: Option<Pin<Box<Sleep>>>,
    deadline: Instant,
    ended: bool,
    /// An interim answer is on its way out.
    continuing: bool,
    /// What comes of HTTP/2 is looked at for header blocks that would be misread.
    blocks: HeaderBlocks,
    /// When the header block that has begun over HTTP/2 must be whole.
    block_until: Option<Instant>,
    /// What leaves of HTTP/2 is looked at for refusals.
    frames: Frames,
    refused: Refused,
}

impl GuardedConnection {
    /// `ahead` holds what was read while looking for the HTTP/2 preface.
    pub fn new(
        io: Transport,
        connection: Arc<Connection>,
        pace: Pace,
        ahead: BytesMut,
        tell: Tell,
    ) -> Self {
        let http2 = connection.http2;
        let mut line = GuardedConnection {
            io,
            connection,
            pace,
            mode: if http2 {
                Mode::Raw
            } else {
                Mode::Head { searched: 0 }
            },
            passable: 0,
            ahead,
            declared: None,
            written: BytesMut::new(),
            timer: None,
            linger: None,
            deadline: Instant::now() + pace.header_timeout,
            ended: false,
            continuing: false,
            blocks: HeaderBlocks::new(pace.head.bytes),
            block_until: None,
            frames: Frames::default(),
            refused: Refused::new(tell),
        };
        if http2 {
            line.follow(None);
        }
        line
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub fn io(&mut self) -> &mut Transport {
        &mut self.io
    }

    pub fn is_raw(&self) -> bool {
        matches!(self.mode, Mode::Raw)
    }

    /// Whether nothing of the request in flight is left to read.
    pub fn is_body_whole(&self) -> bool {
        matches!(self.mode, Mode::Answer | Mode::Raw)
    }

    /// The announced length of the body; `None` for chunks.
    pub fn declared_bytes(&self) -> Option<u64> {
        self.declared
    }

    /// Reads for the framework: heads, one at a time, and whatever HTTP/2 sends.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.passable > 0 {
                self.pass(out);
                return Poll::Ready(Ok(()));
            }
            match self.mode {
                Mode::Raw => {
                    if ready!(self.poll_frames(cx, out))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Mode::Head { searched } => {
                    if !ready!(self.poll_head(cx, searched))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Mode::Answer if self.connection.take_armed() => self.await_head(),
                // A body that was not read to its end: there is no telling where a next head begins.
                Mode::Length(_) | Mode::Chunked(_) if self.connection.take_armed() => {
                    return Poll::Ready(Ok(()));
                }
                // Bodies are read by the rooms, and an answer is under way.
                Mode::Length(_) | Mode::Chunked(_) | Mode::Answer => return Poll::Pending,
                // An end, not silence: no reader may wait for more of it.
                Mode::Dead => return Poll::Ready(Ok(())),
            }
        }
    }

    /// The next piece of the request's body; `None` at its end.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
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
                Mode::Raw | Mode::Head { .. } | Mode::Dead => {
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
            self.written
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.continuing = true;
        }
        if self.continuing {
            ready!(self.poll_flush(cx))?;
            self.continuing = false;
        }
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

    /// Hands out bytes that may pass to the framework.
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

    /// Reads what HTTP/2 sends. Ready with `true` when `out` has it, or nothing more comes; with `false` when something
    /// may pass now.
    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(true));
        }
        let read = self.poll_fresh_frames(cx, out);
        if self.blocks.is_lost() {
            self.connection.spoil();
        }
        if !self.blocks.is_within(self.ahead.len() - self.passable) {
            self.block_until = None;
            return read;
        }
        // One deadline for a whole block, however it drips: nothing else may come before its end (RFC 9113 section 4.3).
        let deadline = *self
            .block_until
            .get_or_insert_with(|| Instant::now() + self.pace.header_timeout);
        if read.is_pending() {
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            self.refused.note(Reason::Http2HeadTimeout);
            self.ended = true;
            self.ahead = BytesMut::new();
            self.passable = 0;
            return Poll::Ready(Ok(true));
        }
        read
    }

    fn poll_fresh_frames(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.ahead.is_empty() {
            // Nearly all bytes pass without a copy.
            let before = out.filled().len();
            ready!(self.io.poll_read(cx, out))?;
            let fresh = out.filled().get(before..).unwrap_or_default();
            let step = self.blocks.walk(fresh);
            let Some(held) = fresh.get(step.pass..).filter(|held| !held.is_empty()) else {
                return Poll::Ready(Ok(true));
            };
            self.ahead.extend_from_slice(held);
            self.follow(step.change);
            out.set_filled(before + step.pass);
            return Poll::Ready(Ok(step.pass > 0));
        }
        // Part of a frame is held.
        self.ahead.reserve(HEAD_READ_BYTES);
        let reading = self.io.read_buf(&mut self.ahead);
        tokio::pin!(reading);
        if ready!(reading.poll(cx))? == 0 {
            self.ended = true;
            self.passable = self.ahead.len();
        } else {
            self.follow(None);
        }
        Poll::Ready(Ok(false))
    }

    /// Walks over what is held, behind what may pass already, and makes the changes to it.
    fn follow(&mut self, mut change: Option<Change>) {
        loop {
            if let Some(change) = change {
                let (at, length) = (self.passable, change.length());
                let behind = self
                    .ahead
                    .split_off((at + change.place).min(self.ahead.len()));
                self.ahead.extend_from_slice(&change.field);
                self.ahead
                    .extend_from_slice(behind.get(change.cut..).unwrap_or_default());
                if let Some(head) = self.ahead.get_mut(at..at + length.len()) {
                    head.copy_from_slice(&length);
                }
                self.passable += change.bytes - change.cut + change.field.len();
            }
            let step = self
                .blocks
                .walk(self.ahead.get(self.passable..).unwrap_or_default());
            self.passable += step.pass;
            change = step.change;
            if change.is_none() {
                return;
            }
        }
    }

    /// The request before is over: the next head may come.
    fn await_head(&mut self) {
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
    }

    /// Judges the head that ends at `end`; what follows it stays for `poll_body`.
    fn judge(&mut self, end: usize) {
        // A word to the request before, which had no body to wait for.
        self.connection.take_continue();
        let Some((head, rest)) = self.ahead.split_at_mut_checked(end) else {
            return;
        };
        match head::inspect(head, self.pace.head)
            .and_then(|framing| foresee(framing, rest).map(|()| framing))
        {
            Err(fault) => self.refuse_head(fault),
            Ok(framing) => {
                head::mask(head, framing != Framing::None);
                self.passable = end;
                (self.mode, self.declared) = match framing {
                    Framing::None => (Mode::Answer, Some(0)),
                    Framing::Length(length) => (Mode::Length(length), Some(length)),
                    Framing::Chunked => (Mode::Chunked(Chunks::new()), None),
                };
            }
        }
    }

    /// Puts the replacement head where the refused one stood.
    fn refuse_head(&mut self, fault: Fault) {
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
        self.mode = Mode::Head {
            searched: self.ahead.len(),
        };
        if self.ahead.len() > self.pace.head.bytes {
            self.refuse_head(Fault::HeadTooLarge);
            return Poll::Ready(Ok(true));
        }
        if self.ended || (self.ahead.is_empty() && self.connection.is_closing()) {
            return Poll::Ready(Ok(false));
        }
        // On the stack, so that a connection that waits holds no buffer.
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
            }
            self.ahead.extend_from_slice(buffer.filled());
            return Poll::Ready(Ok(true));
        }
        self.connection.sleep_with(cx.waker());
        let deadline = self.deadline;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
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

    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_raw() {
            let count = ready!(self.io.poll_write(cx, bytes))?;
            self.frames
                .walk(bytes.get(..count).unwrap_or_default(), |reason| {
                    self.refused.note(reason)
                });
            return Poll::Ready(Ok(count));
        }
        if self.written.len() + bytes.len() <= COALESCE_BYTES {
            self.written.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_drain_written(cx))?;
        self.io.poll_write(cx, bytes)
    }

    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain_written(cx))?;
        let count = ready!(self.io.poll_write_vectored(cx, slices))?;
        let mut left = if self.is_raw() { count } else { 0 };
        for slice in slices {
            let here = left.min(slice.len());
            self.frames
                .walk(slice.get(..here).unwrap_or_default(), |reason| {
                    self.refused.note(reason)
                });
            left -= here;
        }
        Poll::Ready(Ok(count))
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain_written(cx))?;
        self.io.poll_flush(cx)
    }

    /// Closes our side, then reads what the client is still sending for a moment, so that a refusal
    /// written before the body was read is not destroyed by a reset. The framework closes by this call.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_raw() {
            return self.io.poll_shutdown(cx);
        }
        let linger = self
            .linger
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            // Ending by the deadline is as good as ending by the client: nothing is kept either way.
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain_written(cx))?;
        ready!(self.io.poll_shutdown(cx))?;
        let unread =
            !matches!(self.mode, Mode::Answer | Mode::Head { .. }) || !self.ahead.is_empty();
        while unread && !self.ended {
            let mut space = [std::mem::MaybeUninit::uninit(); 16 * 1024];
            let mut sink = ReadBuf::uninit(&mut space);
            self.ended =
                ready!(self.io.poll_read(cx, &mut sink)).is_err() || sink.filled().is_empty();
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
