//! One HTTP/2 connection's bytes on their way to and from the framework.
//!
//! What it does: holds back a header block until it is whole and judged, enforces its deadline, and looks at what leaves for
//! refusals that the framework makes by itself. What it refuses to know: paths, identities, decisions. Invariants: nothing of
//! a block that would be misread passes; at most one block is held.

use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connection::Connection;
use super::frames::Frames;
use super::header_blocks::{Change, HeaderBlocks};
use super::http1::Pace;
use super::refused::{Refused, Tell};
use super::transport::Transport;
use crate::reason::Reason;

/// One read while a head is awaited.
const HEAD_READ_BYTES: usize = 8 * 1024;
/// One connection's bytes.
pub(super) struct GuardedConnection {
    io: Transport,
    connection: Arc<Connection>,
    header_timeout: Duration,
    ahead: BytesMut,
    /// How many bytes of `ahead` may pass to the framework.
    passable: usize,
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// What comes is looked at for header blocks that would be misread.
    blocks: HeaderBlocks,
    /// When the header block that has begun must be whole.
    block_until: Option<Instant>,
    /// What leaves is looked at for refusals.
    frames: Frames,
    refused: Refused,
}

impl GuardedConnection {
    /// `ahead` holds what was read while looking for the HTTP/2 preface.
    pub(super) fn new(
        io: Transport,
        connection: Arc<Connection>,
        pace: Pace,
        ahead: BytesMut,
        tell: Tell,
    ) -> Self {
        let mut line = GuardedConnection {
            io,
            connection,
            header_timeout: pace.header_timeout,
            passable: 0,
            ahead,
            timer: None,
            ended: false,
            blocks: HeaderBlocks::new(pace.head.bytes),
            block_until: None,
            frames: Frames::default(),
            refused: Refused::new(tell),
        };
        line.follow(None);
        line
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(super) fn fd(&self) -> RawFd {
        self.io.fd()
    }

    /// Reads for the framework.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.passable > 0 {
                self.pass(out);
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_frames(cx, out))? {
                return Poll::Ready(Ok(()));
            }
        }
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
            .get_or_insert_with(|| Instant::now() + self.header_timeout);
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

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.io.poll_write(cx, bytes))?;
        self.frames
            .walk(bytes.get(..count).unwrap_or_default(), |reason| {
                self.refused.note(reason)
            });
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.io.poll_write_vectored(cx, slices))?;
        let mut left = count;
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

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }
}
