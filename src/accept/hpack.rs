//! What header blocks say of pseudo-header fields (RFC 7541), followed beside the framework.
//!
//! What it does: follows the dynamic table of one connection, and tells of each block whether it has pseudo-header
//! fields, whether the value of one holds a `#`, which the framework's parser of targets cuts off with all behind it, and
//! whether an `:authority` is a text that is no host. What it refuses to know: any other value; a name or value is
//! measured, not decoded. Invariants: the table has the same entries as the framework's, also where the value of an
//! authority is replaced; what cannot be followed is an error, after which nothing more is told.

use std::collections::VecDeque;
use std::ops::Range;

use super::head;

/// What the settings allow the other side's table, in bytes: RFC 9113 section 6.5.2's initial value, which we keep.
const TABLE_BYTES: usize = 4096;
/// What an entry counts beside its name and value (RFC 7541 section 4.1).
const ENTRY_BYTES: usize = 32;

/// The lengths of the static table's names (RFC 7541 appendix A). The first 14 are pseudo-header fields.
const STATIC_NAMES: [usize; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];
const STATIC_PSEUDO: usize = 14;
/// `:authority` in the static table.
const AUTHORITY: usize = 1;
const AUTHORITY_NAME: &[u8] = b":authority";
/// The longest authority that is looked into.
const AUTHORITY_LIMIT_BYTES: usize = 255;

/// The Huffman code by length: bits, the first code, how many there are (RFC 7541 appendix B; codes of one length follow
/// each other, in the order of their symbols).
const CODES: [(u32, u32, u32); 21] = [
    (5, 0x0, 10),
    (6, 0x14, 26),
    (7, 0x5c, 32),
    (8, 0xf8, 6),
    (10, 0x3f8, 5),
    (11, 0x7fa, 3),
    (12, 0xffa, 2),
    (13, 0x1ff8, 6),
    (14, 0x3ffc, 2),
    (15, 0x7ffc, 3),
    (19, 0x7_fff0, 3),
    (20, 0xf_ffe6, 8),
    (21, 0x1f_ffdc, 13),
    (22, 0x3f_ffd2, 26),
    (23, 0x7f_ffd8, 29),
    (24, 0xff_ffea, 12),
    (25, 0x1ff_ffec, 4),
    (26, 0x3ff_ffe0, 15),
    (27, 0x7ff_ffde, 19),
    (28, 0xfff_ffe2, 29),
    (30, 0x3fff_fffc, 4),
];
/// The symbols of the codes of at most 15 bits, in the order of their codes: all of ASCII that is printed, but `\`.
const SYMBOLS: &[u8; 95] =
    b"012aceiost %-./3456789=A_bdfghlmnpru:BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz&*,;XZ!\"()?'+|#>\0$@[]~^}<`{";
/// The codes of `#` and `:`, and of the end, which may not be sent.
const HASH: (u32, u32) = (12, 0xffa);
const COLON: (u32, u32) = (7, 0x5c);
const END: (u32, u32) = (30, 0x3fff_ffff);

/// The bits of the name's index in a literal that is kept in the table (RFC 7541 section 6.2.1).
const KEPT_PREFIX: u32 = 6;

/// What a header block holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockContents {
    /// A field whose name begins with `:`.
    pub pseudo: bool,
    /// One of them with a `#` in its value.
    pub hash: bool,
    /// The first authority that is no host.
    pub authority: Option<OddAuthority>,
}

/// An authority that is printable text and no host, as Envoy's names of clusters are. The framework would end its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OddAuthority {
    /// Where in the block its string stands, length included.
    pub place: Range<usize>,
    /// A string of the same length that the framework takes and that is no host either. Of the same length, so that an
    /// entry of the table is as large as it would be (RFC 7541 section 4.1).
    pub string: Vec<u8>,
}

/// A block that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// One field as it is remembered.
#[derive(Clone, Copy, Debug)]
struct TableEntry {
    name_bytes: usize,
    value_bytes: usize,
    pseudo: bool,
    hash: bool,
    is_authority: bool,
}

/// The other side's dynamic table, the newest entry first.
#[derive(Debug)]
pub(crate) struct Table {
    entries: VecDeque<TableEntry>,
    bytes: usize,
    limit_bytes: usize,
}

/// A string, measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MeasuredText {
    bytes: usize,
    colon_first: bool,
    hash: bool,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            entries: VecDeque::new(),
            bytes: 0,
            limit_bytes: TABLE_BYTES,
        }
    }
}

impl Table {
    /// Reads one whole block.
    pub(crate) fn read(&mut self, whole: &[u8]) -> Result<BlockContents, Broken> {
        let mut found = BlockContents::default();
        let mut block = whole;
        while let Some(first) = block.first() {
            let entry = if first & 0x80 != 0 {
                self.entry(integer(&mut block, 7)?)?
            } else if first & 0x20 != 0 && first & 0x40 == 0 {
                self.resize(integer(&mut block, 5)?)?;
                continue;
            } else {
                let (entry, value) =
                    self.literal(&mut block, if first & 0x40 != 0 { KEPT_PREFIX } else { 4 })?;
                if entry.is_authority && found.authority.is_none() {
                    let end = whole.len() - block.len();
                    found.authority = odd(value, entry.value_bytes, end);
                }
                if first & 0x40 != 0 {
                    self.insert(entry);
                }
                entry
            };
            found.pseudo |= entry.pseudo;
            found.hash |= entry.pseudo && entry.hash;
        }
        Ok(found)
    }

    /// A literal, and its value's string as it stands, length included.
    fn literal<'a>(
        &self,
        block: &mut &'a [u8],
        prefix: u32,
    ) -> Result<(TableEntry, &'a [u8]), Broken> {
        let (name_bytes, pseudo, is_authority) = match integer(block, prefix)? {
            0 => {
                let before = *block;
                let name = text(block)?;
                let string = before.get(..before.len() - block.len()).unwrap_or_default();
                let is_authority = name.bytes == AUTHORITY_NAME.len()
                    && name.colon_first
                    && said(string).is_some_and(|said| said == AUTHORITY_NAME);
                (name.bytes, name.colon_first, is_authority)
            }
            index => {
                let named = self.entry(index)?;
                (named.name_bytes, named.pseudo, named.is_authority)
            }
        };
        let before = *block;
        // Neither length nor text of a value counts that is not kept, and it may be long: a token.
        let is_kept = prefix == KEPT_PREFIX;
        let value = if is_kept || pseudo {
            text(block)?
        } else {
            packed(block).map(|_| MeasuredText::default())?
        };
        let string = before.get(..before.len() - block.len()).unwrap_or_default();
        Ok((
            TableEntry {
                name_bytes,
                value_bytes: value.bytes,
                pseudo,
                hash: value.hash,
                is_authority,
            },
            string,
        ))
    }

    fn entry(&self, index: usize) -> Result<TableEntry, Broken> {
        let place = index.checked_sub(1).ok_or(Broken)?;
        match STATIC_NAMES.get(place) {
            // No value of the static table holds a `#`, and none is inserted from there.
            Some(name_bytes) => Ok(TableEntry {
                name_bytes: *name_bytes,
                value_bytes: 0,
                pseudo: place < STATIC_PSEUDO,
                hash: false,
                is_authority: index == AUTHORITY,
            }),
            None => self
                .entries
                .get(place - STATIC_NAMES.len())
                .copied()
                .ok_or(Broken),
        }
    }

    fn insert(&mut self, entry: TableEntry) {
        let bytes = entry.bytes();
        self.shrink(self.limit_bytes.saturating_sub(bytes));
        // One that is larger than the table only empties it (RFC 7541 section 4.4).
        if bytes <= self.limit_bytes {
            self.bytes += bytes;
            self.entries.push_front(entry);
        }
    }

    fn resize(&mut self, limit_bytes: usize) -> Result<(), Broken> {
        if limit_bytes > TABLE_BYTES {
            return Err(Broken);
        }
        self.limit_bytes = limit_bytes;
        self.shrink(limit_bytes);
        Ok(())
    }

    fn shrink(&mut self, to_bytes: usize) {
        while self.bytes > to_bytes
            && let Some(oldest) = self.entries.pop_back()
        {
            self.bytes -= oldest.bytes();
        }
    }
}

impl TableEntry {
    fn bytes(self) -> usize {
        self.name_bytes
            .saturating_add(self.value_bytes)
            .saturating_add(ENTRY_BYTES)
    }
}

/// An integer whose first bits stand in the first byte (RFC 7541 section 5.1).
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Broken> {
    let (first, mut rest) = block.split_first().ok_or(Broken)?;
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (next, after) = rest.split_first().ok_or(Broken)?;
            rest = after;
            // Larger than anything that is sent here; the framework takes no more either.
            if shift > 21 {
                return Err(Broken);
            }
            value += (usize::from(*next) & 0x7f) << shift;
            shift += 7;
            if next & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// A string as it was sent, and whether it is in Huffman code (RFC 7541 section 5.2).
fn packed<'b>(block: &mut &'b [u8]) -> Result<(&'b [u8], bool), Broken> {
    let is_packed = block.first().ok_or(Broken)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Broken)?;
    *block = rest;
    Ok((bytes, is_packed))
}

/// A string, measured.
fn text(block: &mut &[u8]) -> Result<MeasuredText, Broken> {
    let (bytes, is_packed) = packed(block)?;
    if is_packed {
        return unpacked(bytes);
    }
    let (colon_first, hash) = (
        bytes.first() == Some(&b':'),
        memchr::memchr(b'#', bytes).is_some(),
    );
    Ok(MeasuredText {
        bytes: bytes.len(),
        colon_first,
        hash,
    })
}

/// What stands for an authority that is no host; `None`: it is one, or the framework judges it. `string`: its value as it
/// stands, up to `end` of the block.
fn odd(string: &[u8], value_bytes: usize, end: usize) -> Option<OddAuthority> {
    if value_bytes == 0 || value_bytes > AUTHORITY_LIMIT_BYTES {
        return None;
    }
    let value = said(string)?;
    let is_printed = value.iter().all(u8::is_ascii_graphic) && !value.contains(&b'#');
    if !is_printed || head::is_host(&value) {
        return None;
    }
    // `!` stands in no host, and the framework takes it.
    let taken = string.len();
    let mut string = length_of(value.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    string.extend(
        value
            .iter()
            .map(|byte| if plain(*byte) { *byte } else { b'!' }),
    );
    if !string.contains(&b'!') {
        return None;
    }
    Some(OddAuthority {
        place: end.checked_sub(taken)?..end,
        string,
    })
}

/// What a string says, of which each symbol that is not printable ASCII may be 0xff.
fn said(mut string: &[u8]) -> Option<Vec<u8>> {
    let is_packed = string.first()? & 0x80 != 0;
    let length = integer(&mut string, 7).ok()?;
    let mut said = Vec::with_capacity(length);
    if is_packed {
        unpack(string, |byte| said.push(byte)).ok()?;
    } else {
        said.extend_from_slice(string);
    }
    Some(said)
}

/// The length of a string without Huffman code (RFC 7541 sections 5.1 and 5.2); at most 255 bytes.
fn length_of(bytes: usize) -> Vec<u8> {
    match u8::try_from(bytes) {
        Ok(short) if short < 0x7f => vec![short],
        // 0x80 above 0x7f is the first that needs another byte: 255 itself.
        Ok(long) if long < 0xff => vec![0x7f, long - 0x7f],
        _ => vec![0x7f, 0x80, 1],
    }
}

/// What a string in Huffman code becomes.
fn unpacked(bytes: &[u8]) -> Result<MeasuredText, Broken> {
    unpack(bytes, |_| {})
}

/// The same, with each byte told; a symbol that is not printable ASCII as 0xff.
fn unpack(bytes: &[u8], mut tell: impl FnMut(u8)) -> Result<MeasuredText, Broken> {
    let mut text = MeasuredText::default();
    let mut bytes = bytes.iter();
    // The next bits, from the top; below them ones, as padding is.
    let (mut window, mut filled) = (u64::MAX, 0_u32);
    loop {
        while filled <= 56
            && let Some(byte) = bytes.next()
        {
            let place = 56 - filled;
            window = window & !(0xff << place) | u64::from(*byte) << place;
            filled += 8;
        }
        let code = |bits: u32| u32::try_from(window >> (64 - bits)).unwrap_or(u32::MAX);
        // Nearly all symbols are short, and told by their first eight bits.
        let short = match code(8) {
            0..0x50 => CODES.first(),
            0x50..0xb8 => CODES.get(1),
            0xb8..0xf8 => CODES.get(2),
            0xf8..0xfe => CODES.get(3),
            _ => None,
        };
        let is_found =
            |(bits, first, count): &&(u32, u32, u32)| code(*bits).wrapping_sub(*first) < *count;
        let found = short.or_else(|| CODES.iter().find(is_found));
        let (bits, first, _) = *found.ok_or(Broken)?;
        if bits > filled {
            // Less than a symbol is left: padding, which is shorter than a byte and has no zero.
            return if filled < 8 && window == u64::MAX {
                Ok(text)
            } else {
                Err(Broken)
            };
        }
        let symbol = (bits, code(bits));
        if symbol == END {
            return Err(Broken);
        }
        text.colon_first |= text.bytes == 0 && symbol == COLON;
        text.hash |= symbol == HASH;
        let before: u32 = CODES
            .iter()
            .take_while(|(shorter, ..)| *shorter < bits)
            .map(|(.., count)| count)
            .sum();
        let place = usize::try_from(before + (code(bits) - first)).unwrap_or(usize::MAX);
        tell(SYMBOLS.get(place).copied().unwrap_or(0xff));
        text.bytes += 1;
        window = window << bits | ((1 << bits) - 1);
        filled -= bits;
    }
}

#[cfg(test)]
mod tests;
