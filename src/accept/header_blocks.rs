//! The header blocks that come in over HTTP/2, judged before the framework reads them.
//!
//! What it does: follows the frames of one connection (RFC 9113 section 4) and says which header blocks the framework
//! would take for something else than they are: a target with a `#`, and trailers with pseudo-header fields. Such a
//! block gets a field more, by which the request is refused where every other is, or the framework resets the stream.
//! An authority that is text and no host, on which the framework would end the stream, is replaced by one that it takes
//! and that is no host either: exports need none. What it refuses to know: what a request asks for. Invariants: bytes
//! pass unchanged but for that; at most one frame, and the begun block before it, are held; a block that cannot be
//! followed is never passed as it came, and is the connection's last (`is_lost`).

use std::borrow::Cow;

use super::hpack::{BlockContents, Broken, OddAuthority, Table};

/// The client's preface (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
/// The largest frame that is taken (`SETTINGS_MAX_FRAME_SIZE`): large ones cost less for large exports.
pub(crate) const FRAME_LIMIT_BYTES: u32 = 64 << 10;

/// Open streams that are remembered: more than may be open at once, and such as we ended early.
const OPEN_LIMIT: usize = 512;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The name of the field that refuses a request; a client that sends it refuses its own.
pub(crate) const REFUSED: &str = "lightkeeper-refused";
/// That field, as a literal that no table remembers (RFC 7541 section 6.2.2).
const REFUSED_FIELD: &[u8] = b"\x00\x13lightkeeper-refused\x06target";
/// A field that HTTP/2 does not allow: the framework resets the stream with PROTOCOL_ERROR (RFC 9113 section 8.2.2).
const MALFORMED_FIELD: &[u8] = b"\x00\x0aconnection\x01x";

/// Follows one connection's incoming bytes.
#[derive(Debug)]
pub(crate) struct HeaderBlocks {
    table: Table,
    /// Bytes that pass unseen: the preface, and frames of other kinds.
    skip: usize,
    /// What has come of a block that goes on in a next frame.
    block: Vec<u8>,
    /// The most that is kept of one.
    block_limit_bytes: usize,
    /// A block goes on in a next frame.
    begun: bool,
    /// The newest stream that was opened.
    newest: u32,
    /// Streams on which the other side may still send: there, a block is trailers.
    open: Vec<u32>,
    /// Whether the block that goes on is such.
    is_trailers: bool,
    /// What the table holds is not known any more.
    lost: bool,
}

/// How far the bytes may pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// So many pass as they are.
    pub pass: usize,
    /// What happens to the frame behind them; without it, its rest is waited for.
    pub change: Option<Change>,
}

/// A frame that gets a field more, or another value of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its length as it is, head included.
    pub bytes: usize,
    /// Where in it the field goes: behind all others, before the padding; or where the value stands.
    pub place: usize,
    /// So many bytes there are left out.
    pub cut: usize,
    pub field: Cow<'static, [u8]>,
}

impl Change {
    /// The frame's head says its length without the head (RFC 9113 section 4.1).
    pub(crate) fn length(&self) -> [u8; 3] {
        let length = u32::try_from(self.bytes - HEAD_BYTES - self.cut + self.field.len())
            .unwrap_or(u32::MAX);
        let [_, high, middle, low] = length.to_be_bytes();
        [high, middle, low]
    }
}

impl HeaderBlocks {
    /// `list_bytes`: what the fields of a request may take. A block is hardly longer than its fields, so that one of twice
    /// that length is one that the framework refuses.
    pub(crate) fn new(list_bytes: usize) -> Self {
        HeaderBlocks {
            table: Table::default(),
            skip: PREFACE_BYTES,
            block: Vec::new(),
            block_limit_bytes: list_bytes.saturating_mul(2).max(FRAME_LIMIT_BYTES as usize),
            begun: false,
            newest: 0,
            open: Vec::new(),
            is_trailers: false,
            lost: false,
        }
    }

    /// Whether the header table is not known any more, so that no further block can be read.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether a header block has begun and is not whole, where the last `held` bytes may not pass yet.
    pub(crate) fn is_within(&self, held: usize) -> bool {
        self.begun || held >= HEAD_BYTES
    }

    /// Walks over the next bytes, of which none that may pass was seen before.
    pub(crate) fn walk(&mut self, bytes: &[u8]) -> Passage {
        let mut pass = 0;
        loop {
            let rest = bytes.get(pass..).unwrap_or_default();
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            pass += skipped;
            let rest = rest.get(skipped..).unwrap_or_default();
            let Some(([high, middle, low, kind, flags, a, b, c, d], payload)) =
                rest.split_first_chunk()
            else {
                return Passage { pass, change: None };
            };
            let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
            let bytes = HEAD_BYTES + length;
            let stream = u32::from_be_bytes([*a, *b, *c, *d]) & 0x7fff_ffff;
            if *kind == RST_STREAM || (*kind == DATA && flags & END_STREAM != 0) {
                self.ends(stream);
            }
            // One that is larger than frames may be ends the connection by its head alone (FRAME_SIZE_ERROR).
            if !matches!(*kind, HEADERS | CONTINUATION) || length > FRAME_LIMIT_BYTES as usize {
                self.skip = bytes;
                continue;
            }
            let Some(payload) = payload.get(..length) else {
                return Passage { pass, change: None };
            };
            let (part, padding) = match *kind {
                HEADERS => fragment(*flags, stream, payload).unwrap_or_else(|| {
                    self.lost = true;
                    (&[], 0)
                }),
                _ => (payload, 0),
            };
            let block = self.gathered(*kind, part);
            if *kind == HEADERS {
                self.begins(stream, flags & END_STREAM != 0);
            }
            self.begun = flags & END_HEADERS == 0;
            if self.begun {
                self.block = block.into_owned();
            } else {
                let end = bytes - padding;
                let change = match self.judge(&block) {
                    Some(BlockVerdict::Add(field)) => Some(Change {
                        bytes,
                        place: end,
                        cut: 0,
                        field: field.into(),
                    }),
                    Some(BlockVerdict::Replace(odd)) => {
                        replaced(odd, bytes, end, block.len(), part.len())
                    }
                    None => None,
                };
                if change.is_some() {
                    return Passage { pass, change };
                }
            }
            pass += bytes;
        }
    }

    /// What has come of a block, this part included; most come in one.
    fn gathered<'a>(&mut self, kind: u8, part: &'a [u8]) -> Cow<'a, [u8]> {
        let mut before = std::mem::take(&mut self.block);
        if kind == HEADERS || before.is_empty() {
            return Cow::Borrowed(part);
        }
        if before.len() + part.len() > self.block_limit_bytes {
            self.lost = true;
            return Cow::Borrowed(part);
        }
        before.extend_from_slice(part);
        Cow::Owned(before)
    }

    /// A block begins, and with it perhaps a stream.
    fn begins(&mut self, stream: u32, is_last: bool) {
        self.is_trailers = self.open.contains(&stream);
        if is_last {
            self.ends(stream);
        } else if stream > self.newest {
            if self.open.len() == OPEN_LIMIT {
                self.open.remove(0);
            }
            self.open.push(stream);
        }
        self.newest = self.newest.max(stream);
    }

    /// The other side sends nothing more on a stream.
    fn ends(&mut self, stream: u32) {
        self.open.retain(|open| *open != stream);
    }

    /// What is to be added to a whole block. One on a stream that is over is the framework's to refuse.
    fn judge(&mut self, block: &[u8]) -> Option<BlockVerdict> {
        let found = self.table.read(block);
        self.lost |= found == Err(Broken);
        match found {
            _ if self.lost => Some(BlockVerdict::Add(MALFORMED_FIELD)),
            // RFC 9113 section 8.1: trailers have no pseudo-header fields.
            Ok(BlockContents { pseudo: true, .. }) if self.is_trailers => {
                Some(BlockVerdict::Add(MALFORMED_FIELD))
            }
            Ok(BlockContents { hash: true, .. }) => Some(BlockVerdict::Add(REFUSED_FIELD)),
            Ok(BlockContents { authority, .. }) => authority.map(BlockVerdict::Replace),
            Err(Broken) => None,
        }
    }
}

/// What is done to a block.
enum BlockVerdict {
    /// It gets this field more.
    Add(&'static [u8]),
    Replace(OddAuthority),
}

/// The change to a frame of `bytes`, whose last `part` bytes before `end` are the last of the block. A value that stands in
/// an earlier frame has passed: the framework ends its stream.
fn replaced(
    odd: OddAuthority,
    bytes: usize,
    end: usize,
    block: usize,
    part: usize,
) -> Option<Change> {
    let start = odd.place.start.checked_sub(block - part)?;
    let change = Change {
        bytes,
        place: end - part + start,
        cut: odd.place.len(),
        field: Cow::Owned(odd.string),
    };
    let is_small =
        bytes - HEAD_BYTES - change.cut + change.field.len() <= FRAME_LIMIT_BYTES as usize;
    is_small.then_some(change)
}

/// The fields in a HEADERS frame and the length of its padding (RFC 9113 section 6.2). `None`: the framework does not read
/// them, so that its table is not what the other side thinks.
fn fragment(flags: u8, stream: u32, payload: &[u8]) -> Option<(&[u8], usize)> {
    let (padding, rest) = match flags & PADDED {
        0 => (0, payload),
        _ => payload
            .split_first()
            .map(|(padding, rest)| (usize::from(*padding), rest))?,
    };
    let rest = match flags & PRIORITY {
        0 => rest,
        _ => {
            let ([a, b, c, d, _], rest) = rest.split_first_chunk()?;
            let depends_on = u32::from_be_bytes([*a, *b, *c, *d]) & 0x7fff_ffff;
            // A stream that depends on itself is refused unread.
            if depends_on == stream {
                return None;
            }
            rest
        }
    };
    let (fields, _) = rest.split_at_checked(rest.len().checked_sub(padding)?)?;
    Some((fields, padding))
}

#[cfg(test)]
mod tests;
