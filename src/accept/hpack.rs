//! What header blocks say of pseudo-header fields (RFC 7541), followed beside the framework.
//!
//! What it does: follows the dynamic table of one connection, and tells of each block whether it has pseudo-header
//! fields and whether the value of one holds a `#`, which the framework's parser of targets cuts off with all behind it.
//! What it refuses to know: any other value; a name or value is measured, not decoded. Invariants: the table has the same
//! entries as the framework's; what cannot be followed is an error, after which nothing more is told.

use std::collections::VecDeque;

/// What the settings allow the other side's table, in bytes: RFC 9113 section 6.5.2's initial value, which we keep.
const TABLE_BYTES: usize = 4096;
/// What an entry counts beside its name and value (RFC 7541 section 4.1).
const ENTRY_BYTES: usize = 32;

/// The lengths of the static table's names (RFC 7541 appendix A). The first 14 are pseudo-header fields.
const STATIC_NAMES: [usize; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13, 12, 6, 4,
    4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3, 16,
];
const STATIC_PSEUDO: usize = 14;

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
/// The codes of `#` and `:`, and of the end, which may not be sent.
const HASH: (u32, u32) = (12, 0xffa);
const COLON: (u32, u32) = (7, 0x5c);
const END: (u32, u32) = (30, 0x3fff_ffff);

/// What a header block holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A field whose name begins with `:`.
    pub pseudo: bool,
    /// One of them with a `#` in its value.
    pub hash: bool,
}

/// A block that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// One field as it is remembered.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name_bytes: usize,
    value_bytes: usize,
    pseudo: bool,
    hash: bool,
}

/// The other side's dynamic table, the newest entry first.
#[derive(Debug)]
pub struct Table {
    entries: VecDeque<Entry>,
    bytes: usize,
    limit_bytes: usize,
}

/// A string, measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Text {
    bytes: usize,
    colon_first: bool,
    hash: bool,
}

impl Default for Table {
    fn default() -> Self {
        Table { entries: VecDeque::new(), bytes: 0, limit_bytes: TABLE_BYTES }
    }
}

impl Table {
    /// Reads one whole block.
    pub fn read(&mut self, mut block: &[u8]) -> Result<Found, Broken> {
        let mut found = Found::default();
        while let Some(first) = block.first() {
            let entry = if first & 0x80 != 0 {
                self.entry(integer(&mut block, 7)?)?
            } else if first & 0x40 != 0 {
                let entry = self.literal(&mut block, 6)?;
                self.insert(entry);
                entry
            } else if first & 0x20 != 0 {
                self.resize(integer(&mut block, 5)?)?;
                continue;
            } else {
                self.literal(&mut block, 4)?
            };
            found.pseudo |= entry.pseudo;
            found.hash |= entry.pseudo && entry.hash;
        }
        Ok(found)
    }

    fn literal(&self, block: &mut &[u8], prefix: u32) -> Result<Entry, Broken> {
        let (name_bytes, pseudo) = match integer(block, prefix)? {
            0 => {
                let name = text(block)?;
                (name.bytes, name.colon_first)
            }
            index => {
                let named = self.entry(index)?;
                (named.name_bytes, named.pseudo)
            }
        };
        let value = text(block)?;
        Ok(Entry { name_bytes, value_bytes: value.bytes, pseudo, hash: value.hash })
    }

    fn entry(&self, index: usize) -> Result<Entry, Broken> {
        let place = index.checked_sub(1).ok_or(Broken)?;
        match STATIC_NAMES.get(place) {
            // No value of the static table holds a `#`, and none is inserted from there.
            Some(name_bytes) => {
                Ok(Entry { name_bytes: *name_bytes, value_bytes: 0, pseudo: place < STATIC_PSEUDO, hash: false })
            }
            None => self.entries.get(place - STATIC_NAMES.len()).copied().ok_or(Broken),
        }
    }

    fn insert(&mut self, entry: Entry) {
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

impl Entry {
    fn bytes(self) -> usize {
        self.name_bytes.saturating_add(self.value_bytes).saturating_add(ENTRY_BYTES)
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

/// A string (RFC 7541 section 5.2).
fn text(block: &mut &[u8]) -> Result<Text, Broken> {
    let is_packed = block.first().ok_or(Broken)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(Broken)?;
    *block = rest;
    if is_packed {
        return unpacked(bytes);
    }
    let (colon_first, hash) = (bytes.first() == Some(&b':'), memchr::memchr(b'#', bytes).is_some());
    Ok(Text { bytes: length, colon_first, hash })
}

/// What a string in Huffman code becomes.
fn unpacked(bytes: &[u8]) -> Result<Text, Broken> {
    let mut text = Text::default();
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
        let found = CODES.iter().find(|(bits, first, count)| code(*bits).wrapping_sub(*first) < *count);
        let (bits, _, _) = *found.ok_or(Broken)?;
        if bits > filled {
            // Less than a symbol is left: padding, which is shorter than a byte and has no zero.
            return if filled < 8 && window == u64::MAX { Ok(text) } else { Err(Broken) };
        }
        let symbol = (bits, code(bits));
        if symbol == END {
            return Err(Broken);
        }
        text.colon_first |= text.bytes == 0 && symbol == COLON;
        text.hash |= symbol == HASH;
        text.bytes += 1;
        window = window << bits | ((1 << bits) - 1);
        filled -= bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: Found = Found { pseudo: true, hash: false };
    const CUT: Found = Found { pseudo: true, hash: true };

    #[test]
    fn the_code_is_whole() {
        let sum: u64 = CODES.iter().map(|(bits, _, count)| u64::from(*count) << (30 - bits)).sum();
        assert_eq!((sum, CODES.iter().map(|(.., count)| count).sum::<u32>()), (1 << 30, 257));
        for pair in CODES.windows(2) {
            let [(bits, first, count), (next_bits, next_first, _)] = pair else { unreachable!() };
            assert_eq!(*next_first, (first + count) << (next_bits - bits));
        }
    }

    /// Scenario: the three requests of RFC 7541 appendix C.4, on one connection. Guarantees: the table has the sizes that
    /// the appendix gives.
    #[test]
    fn the_rfcs_own_requests_are_followed() {
        let mut table = Table::default();
        for (block, bytes) in [
            (&b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..], 57),
            (b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf", 110),
            (b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", 164),
        ] {
            assert_eq!(table.read(block), Ok(PATH));
            assert_eq!(table.bytes, bytes);
        }
    }

    /// Scenario: a `#` in every form that a value may have. Guarantees: it is seen in pseudo-header fields, also where an
    /// entry of the table is meant, and nowhere else.
    #[test]
    fn a_hash_is_seen_in_every_form() {
        for (block, expected) in [
            (&b"\x04\x03/#x"[..], CUT),
            (b"\x14\x03/#x", CUT),
            (b"\x44\x03/#x", CUT),
            (b"\x00\x05:path\x03/#x", CUT),
            (b"\x04\x83\x63\xfe\xbf", CUT),
            (b"\x00\x84\xb9\x58\xd3\x3f\x83\x63\xfe\xbf", CUT),
            (b"\x04\x02/x", PATH),
            (b"\x04\x82\x63\xf9", PATH),
            (b"\x00\x01x\x03/#x", Found::default()),
            (b"\x0f\x0d\x03/#x", Found::default()),
            (b"\x82\x00\x01x\x01#", PATH),
            (b"", Found::default()),
        ] {
            assert_eq!(Table::default().read(block), Ok(expected), "{}", block.escape_ascii());
        }
        let mut table = Table::default();
        assert_eq!(table.read(b"\x44\x03/#x"), Ok(CUT));
        assert_eq!(table.read(b"\xbe"), Ok(CUT), "the entry itself");
        assert_eq!(table.read(b"\x7e\x02/y"), Ok(PATH), "its name alone");
        assert_eq!(table.read(b"\xbe"), Ok(PATH));
        assert_eq!(table.read(b"\xbf"), Ok(CUT));
        assert_eq!(table.read(b"\x20\x3f\xe1\x1f\x82"), Ok(PATH), "emptied");
        assert_eq!(table.read(b"\xbe"), Err(Broken));
    }

    #[test]
    fn what_cannot_be_read_is_broken() {
        for block in [
            &b"\x80"[..],
            b"\xbe",
            b"\xff",
            b"\xff\xff\xff\xff\xff\xff\x7f",
            b"\x3f\xe2\x1f",
            b"\x04",
            b"\x04\x05/",
            b"\x44\x85/",
            b"\x00",
            b"\x7e\x01x",
            // Padding of a byte, padding with a zero, the end as a symbol.
            b"\x04\x82\x63\xff\xff",
            b"\x04\x81\x60",
            b"\x04\x84\xff\xff\xff\xff",
        ] {
            assert_eq!(Table::default().read(block), Err(Broken), "{}", block.escape_ascii());
        }
    }

    /// Scenario: entries until the table is full, and one that is larger than it. Guarantees: the oldest go first, and the
    /// table is never larger than it may be.
    #[test]
    fn the_table_is_bounded() {
        let mut table = Table::default();
        let value = [b'v'; 100];
        for _ in 0..100 {
            table.read(&[&b"\x40\x01x\x64"[..], &value].concat()).unwrap();
            assert!(table.bytes <= TABLE_BYTES);
        }
        assert_eq!((table.entries.len(), table.bytes), (30, 30 * 133));
        table.read(&[&b"\x40\x01x\x7f\xff\x1f"[..], &[b'v'; 4222]].concat()).unwrap();
        assert_eq!((table.entries.len(), table.bytes), (0, 0));
    }
}
