//! What the framework says of HTTP/2 requests that it refuses by itself.
//!
//! What it does: follows the frames that leave on a connection (RFC 9113 section 4) and names those that refuse:
//! resets, the connection's end for a reason, and bare status answers. What it refuses to know: requests.
//! Invariants: it holds at most one frame's head and a few bytes; it changes nothing of what passes.

use crate::reason::Reason;

const HEAD_BYTES: usize = 9;
/// What is kept of a payload that is looked into.
const PAYLOAD_BYTES: usize = 8;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;

/// Follows one connection's outgoing bytes.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    kept: [u8; HEAD_BYTES + PAYLOAD_BYTES],
    filled: usize,
    skip: usize,
}

impl Frames {
    /// Walks over the next bytes and tells the reason of every refusal among them.
    pub(crate) fn walk(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Reason)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let missing = self.wanted().saturating_sub(self.filled);
            let count = missing.min(bytes.len());
            if let (Some(to), Some(from)) = (
                self.kept.get_mut(self.filled..self.filled + count),
                bytes.get(..count),
            ) {
                to.copy_from_slice(from);
            }
            self.filled += count;
            bytes = bytes.get(count..).unwrap_or_default();
            if self.filled >= HEAD_BYTES && self.filled == self.wanted() {
                if let Some(reason) = self.reason() {
                    tell(reason);
                }
                self.skip = self.length() - (self.filled - HEAD_BYTES);
                self.filled = 0;
            }
        }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.kept;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    /// How many bytes of the present frame are kept before it is judged.
    fn wanted(&self) -> usize {
        let [_, _, _, kind, flags, ..] = self.kept;
        if self.filled < HEAD_BYTES {
            return HEAD_BYTES;
        }
        let is_short_answer =
            kind == HEADERS && flags & END_STREAM != 0 && self.length() <= PAYLOAD_BYTES;
        match is_short_answer || matches!(kind, RST_STREAM | GOAWAY) {
            true => HEAD_BYTES + self.length().min(PAYLOAD_BYTES),
            false => HEAD_BYTES,
        }
    }

    fn reason(&self) -> Option<Reason> {
        let [_, _, _, kind, _, _, _, _, _, payload @ ..] = self.kept;
        if self.filled == HEAD_BYTES {
            return None;
        }
        let [a, b, c, d, rest @ ..] = payload;
        match kind {
            RST_STREAM => error_reason(u32::from_be_bytes([a, b, c, d])),
            GOAWAY => error_reason(u32::from_be_bytes(rest)),
            // A bare `:status`, 400 or spelled out (RFC 7541 appendix A): every answer of ours has more.
            _ => match a {
                0x8c => Some(Reason::Http2MalformedRequest),
                0x48 => Some(Reason::Http2HeadTooLarge),
                _ => None,
            },
        }
    }
}

/// RFC 9113 section 7. No error, cancellation and internal errors belong to requests that have a record.
fn error_reason(code: u32) -> Option<Reason> {
    match code {
        1 => Some(Reason::Http2ProtocolError),
        3 => Some(Reason::Http2FlowControlError),
        4 => Some(Reason::Http2SettingsTimeout),
        5 => Some(Reason::Http2StreamClosed),
        6 => Some(Reason::Http2FrameSizeError),
        7 => Some(Reason::Http2StreamRefused),
        9 => Some(Reason::Http2CompressionError),
        11 => Some(Reason::Http2Flood),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: outgoing frames in pieces of any size. Guarantees: refusals are told once each, other frames
    /// are not.
    #[test]
    fn refusals_are_told_however_writes_break() {
        let frames: &[&[u8]] = &[
            b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
            b"\0\0\x01\x01\x05\0\0\0\x01\x8c",
            b"\0\0\x01\x01\x05\0\0\0\x03\x88",
            b"\0\0\x05\x01\x05\0\0\0\x03\x48\x82\x69\x1f\0",
            b"\0\0\x09\x01\x05\0\0\0\x05\x8c23456789",
            b"\0\0\x04\x03\0\0\0\0\x07\0\0\0\x01",
            b"\0\0\x04\x03\0\0\0\0\x09\0\0\0\x08",
            b"\0\0\x0a\0\x01\0\0\0\x09\0\0\x04\x03\0\0\0\0\0\x07",
            b"\0\0\0\0\x01\0\0\0\x09",
            b"\0\0\x0b\x07\0\0\0\0\0\0\0\0\x09\0\0\0\x0bxyz",
            b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x09\0\0\0\0",
        ];
        let bytes = frames.concat();
        for piece in [1, 2, 3, 8, 9, 10, 64, 1024] {
            let mut frames = Frames::default();
            let mut told = Vec::new();
            bytes
                .chunks(piece)
                .for_each(|bytes| frames.walk(bytes, |reason| told.push(reason.code())));
            let expected = [
                "http2_malformed_request",
                "http2_head_too_large",
                "http2_protocol_error",
                "http2_flood",
            ];
            assert_eq!(told, expected, "pieces of {piece}");
        }
    }
}
