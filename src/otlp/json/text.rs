//! A cursor over JSON text that copies nothing.
//!
//! What it does: holds a text to the whole grammar of RFC 8259, in one pass, with the offset of whatever
//! breaks it. What it refuses to know: what members mean, and the value of any number. Invariants: depth is
//! bounded by [`MAX_DEPTH`] and does not use the stack; every step takes at least one byte or ends the walk;
//! a text that another parser might read otherwise (a byte order mark, bytes that are not UTF-8, a trailing comma,
//! anything behind the value) is refused. A surrogate that stands alone is no fault of the grammar (RFC 8259 section
//! 8.2), but parsers differ on what it says: a string that holds one is marked, for those who compare it.

use std::borrow::Cow;
use std::ops::Range;

use crate::otlp::Malformed;

/// How deep objects and arrays may lie in each other. An attribute's value begins at 15 at most, and a map in it takes 4
/// for each level of its own: 124 levels of maps fit; the SDKs' default limit is 64.
pub(in crate::otlp) const MAX_DEPTH: u32 = 512;

/// A string of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::otlp) struct JsonText {
    /// Between the quotes.
    pub range: Range<usize>,
    /// Whether escapes stand in it.
    pub escaped: bool,
    /// Whether one of them is half of a surrogate pair, which one parser replaces, another drops, and a third refuses.
    pub torn: bool,
}

impl JsonText {
    /// What the string says, halves of pairs replaced; `text` is where it lies.
    pub(crate) fn said<'a>(&self, text: &'a [u8]) -> Cow<'a, str> {
        if self.escaped {
            #[cfg(test)]
            crate::otlp::wanted::work::add(crate::otlp::wanted::work::UNESCAPE);
            let quoted = text
                .get(self.range.start.saturating_sub(1)..self.range.end + 1)
                .unwrap_or_default();
            let said = if self.torn {
                mended(quoted)
            } else {
                serde_json::from_slice::<String>(quoted).ok()
            };
            return said.unwrap_or_default().into();
        }
        std::str::from_utf8(text.get(self.range.clone()).unwrap_or_default())
            .unwrap_or_default()
            .into()
    }
}

/// A string literal with U+FFFD for each half of a surrogate pair.
fn mended(quoted: &[u8]) -> Option<String> {
    let (mut cursor, mut plain, mut start) = (
        Cursor {
            text: quoted,
            at: 0,
            depth: 0,
        },
        Vec::new(),
        0,
    );
    while let Some(found) = memchr::memchr(b'\\', quoted.get(cursor.at..)?) {
        cursor.at += found;
        let at = cursor.at;
        if cursor.escape().ok()? {
            plain.extend_from_slice(quoted.get(start..at)?);
            plain.extend_from_slice(b"\\ufffd");
            start = cursor.at;
        }
    }
    plain.extend_from_slice(quoted.get(start..)?);
    serde_json::from_slice(&plain).ok()
}

/// Where the reading of a text stands.
#[derive(Clone, Debug)]
pub(in crate::otlp) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    /// At the start of a whole text.
    pub(crate) fn new(text: &'a [u8]) -> Result<Cursor<'a>, Malformed> {
        match std::str::from_utf8(text) {
            Ok(_) => Ok(Cursor {
                text,
                at: 0,
                depth: 0,
            }),
            Err(error) => Err(Malformed {
                offset: error.valid_up_to(),
                what: "not UTF-8",
            }),
        }
    }

    /// Somewhere in a text that has been read before.
    pub(crate) fn again(text: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { text, at, depth: 0 }
    }

    /// The same text elsewhere, to look ahead.
    pub(crate) fn from(&self, at: usize) -> Cursor<'a> {
        Cursor { at, ..*self }
    }

    pub(crate) fn text(&self) -> &'a [u8] {
        self.text
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn fault(&self, what: &'static str) -> Malformed {
        Malformed {
            offset: self.at,
            what,
        }
    }

    /// The first byte of the next token.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Takes the next token if it begins with this byte.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Enters an object (`{`) or an array (`[`); `what` says what is malformed if something else is here.
    pub(crate) fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), Malformed> {
        if !self.take(bracket) {
            return Err(self.fault(what));
        }
        self.deeper()
    }

    fn deeper(&mut self) -> Result<(), Malformed> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            Err(self.fault("nested too deep"))
        } else {
            Ok(())
        }
    }

    /// Goes to the next member or element, or out of what ends with `close`. `first` is true before the
    /// first one.
    #[inline]
    pub(crate) fn next(&mut self, first: &mut bool, close: u8) -> Result<bool, Malformed> {
        if std::mem::take(first) {
            if self.take(close) {
                self.depth = self.depth.saturating_sub(1);
                return Ok(false);
            }
        } else if self.take(close) {
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        } else if !self.take(b',') {
            return Err(self.fault("neither a comma nor the end"));
        }
        self.peek();
        Ok(true)
    }

    /// A string without escapes, between its quotes. `None`: something else is here, or it has escapes; nothing is taken.
    #[inline(always)]
    pub(crate) fn plain_string(&mut self) -> Option<&'a [u8]> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let rest = self.text.get(self.at + 1..)?;
        let (plain, behind) = rest.split_at_checked(ordinary(rest))?;
        if behind.first() != Some(&b'"') {
            return None;
        }
        self.at += plain.len() + 2;
        Some(plain)
    }

    /// Takes these bytes, if they are next.
    #[inline(always)]
    pub(crate) fn take_exactly(&mut self, expected: &[u8]) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let there = rest.starts_with(expected);
        self.at += if there { expected.len() } else { 0 };
        there
    }

    /// Takes what `read` finds at the start of the text that is left, and gives back what is behind it; `depth`: how deep
    /// brackets lie in each other in it. `None`: nothing is taken.
    #[inline(always)]
    pub(crate) fn take_shape<T>(
        &mut self,
        depth: u32,
        read: impl FnOnce(&'a [u8]) -> Option<(T, &'a [u8])>,
    ) -> Option<T> {
        if self.depth + depth > MAX_DEPTH {
            return None;
        }
        let (shape, behind) = read(self.text.get(self.at..)?)?;
        self.at = self.text.len() - behind.len();
        Some(shape)
    }

    /// The colon behind a member's name.
    #[inline(always)]
    pub(crate) fn colon(&mut self) -> Result<(), Malformed> {
        if !self.take(b':') {
            return Err(self.fault("a member name without a colon"));
        }
        self.peek();
        Ok(())
    }

    /// The name of a member, and the colon.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<JsonText, Malformed> {
        let name = self.string("not a member name")?;
        self.colon()?;
        Ok(name)
    }

    /// Takes a `null`, if one is here.
    #[inline]
    pub(crate) fn null(&mut self) -> Result<bool, Malformed> {
        let there = self.peek() == Some(b'n');
        if there {
            self.literal(b"null")?;
        }
        Ok(there)
    }

    pub(crate) fn string(&mut self, what: &'static str) -> Result<JsonText, Malformed> {
        if !self.take(b'"') {
            return Err(self.fault(what));
        }
        let start = self.at;
        let (mut escaped, mut torn) = (false, false);
        loop {
            self.at += ordinary(self.text.get(self.at..).unwrap_or_default());
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(JsonText {
                        range: start..self.at - 1,
                        escaped,
                        torn,
                    });
                }
                Some(b'\\') => {
                    escaped = true;
                    torn |= self.escape()?;
                }
                Some(_) => return Err(self.fault("a control character in a string")),
                None => return Err(self.fault("a string without an end")),
            }
        }
    }

    /// Steps over one escape; true: it is half of a surrogate pair.
    fn escape(&mut self) -> Result<bool, Malformed> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                self.at += match self.hexadecimal(self.at)? {
                    0xd800..=0xdbff
                        if matches!(self.hexadecimal(self.at + 6), Ok(0xdc00..=0xdfff)) =>
                    {
                        12
                    }
                    0xd800..=0xdfff => {
                        self.at += 6;
                        return Ok(true);
                    }
                    _ => 6,
                }
            }
            _ => return Err(self.fault("an unknown escape")),
        }
        Ok(false)
    }

    /// The code unit of the `\uXXXX` at this offset.
    fn hexadecimal(&self, at: usize) -> Result<u32, Malformed> {
        let digits = self
            .text
            .get(at..)
            .and_then(|rest| rest.strip_prefix(b"\\u"))
            .and_then(|rest| rest.get(..4));
        let unit = digits.and_then(|digits| {
            digits.iter().try_fold(0, |unit, digit| {
                Some(unit << 4 | char::from(*digit).to_digit(16)?)
            })
        });
        unit.ok_or_else(|| self.fault("an unknown escape"))
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Malformed> {
        match self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            true => {
                self.at += word.len();
                Ok(())
            }
            false => Err(self.fault("not a value")),
        }
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 {
            Err(self.fault("a number without a digit"))
        } else {
            Ok(())
        }
    }

    /// `-`, digits without a leading zero, a fraction, an exponent (RFC 8259 section 6).
    fn number(&mut self) -> Result<(), Malformed> {
        let is = |cursor: &Self, bytes: &[u8]| {
            cursor
                .text
                .get(cursor.at)
                .is_some_and(|byte| bytes.contains(byte))
        };
        self.at += usize::from(is(self, b"-"));
        if is(self, b"0") {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if is(self, b".") {
            self.at += 1;
            self.digits()?;
        }
        if is(self, b"eE") {
            self.at += 1;
            self.at += usize::from(is(self, b"+-"));
            self.digits()?;
        }
        Ok(())
    }

    /// Takes a number of one digit, which most are in what leaves no field out.
    #[inline]
    pub(crate) fn digit(&mut self) -> Option<u8> {
        match self.text.get(self.at..)? {
            [digit @ b'0'..=b'9', b',' | b'}' | b']', ..] => {
                self.at += 1;
                Some(*digit - b'0')
            }
            _ => None,
        }
    }

    /// Steps over a number; `what` says what is malformed if something else is here.
    pub(crate) fn number_text(&mut self, what: &'static str) -> Result<Range<usize>, Malformed> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => {}
            _ => return Err(self.fault(what)),
        }
        let start = self.at;
        self.number()?;
        Ok(start..self.at)
    }

    /// Takes `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, Malformed> {
        let is_true = self.peek() == Some(b't');
        self.literal(if is_true {
            b"true"
        } else {
            b"false".as_slice()
        })?;
        Ok(is_true)
    }

    /// Steps over one value, whatever it is.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        let outside = self.depth;
        let mut open = Brackets::default();
        loop {
            let mut first = false;
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.deeper()?;
                    open.push(bracket == b'{');
                    first = true;
                }
                Some(b'"') => {
                    self.string("not a value")?;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return Err(self.fault("not a value")),
            }
            loop {
                if self.depth == outside {
                    return Ok(());
                }
                let in_object = open.is_object();
                if self.next(&mut first, if in_object { b'}' } else { b']' })? {
                    if in_object {
                        self.name()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }

    /// Only blanks are left.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        if self.peek().is_some() {
            Err(self.fault("something behind the end"))
        } else {
            Ok(())
        }
    }
}

/// What brackets are open, one bit for each: 1 for an object.
#[derive(Default)]
struct Brackets {
    /// The innermost 64 or fewer, the last of them lowest.
    near: u64,
    count: u32,
    /// The others, 64 in each.
    far: [u64; MAX_DEPTH as usize / 64],
}

impl Brackets {
    #[inline]
    fn push(&mut self, is_object: bool) {
        if self.count.is_multiple_of(64) && self.count > 0 {
            let at = self.count as usize / 64 - 1;
            self.far
                .get_mut(at)
                .into_iter()
                .for_each(|far| *far = self.near);
        }
        self.near = self.near << 1 | u64::from(is_object);
        self.count += 1;
    }

    #[inline]
    fn is_object(&self) -> bool {
        self.near & 1 == 1
    }

    #[inline]
    fn pop(&mut self) {
        self.near >>= 1;
        self.count = self.count.saturating_sub(1);
        if self.count.is_multiple_of(64) && self.count > 0 {
            let at = self.count as usize / 64 - 1;
            self.near = self.far.get(at).copied().unwrap_or_default();
        }
    }
}

/// How many bytes at the start are neither a quote, a backslash nor a control character; eight at a time.
#[inline]
pub(in crate::otlp) fn ordinary(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let special = special(u64::from_le_bytes(*chunk));
        if special != 0 {
            return bytes.len() - rest.len() + special.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    let left = rest
        .iter()
        .take_while(|byte| !matches!(byte, ..0x20 | b'"' | b'\\'))
        .count();
    bytes.len() - rest.len() + left
}

/// Of eight bytes, the highest bit of the lowest one that is a quote, a backslash or a control character; above it bits may be
/// set in others. 0: none is.
#[inline]
pub(in crate::otlp) fn special(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    // The highest bit of each byte that is less than `limit`; above the lowest of them it may be set in others.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    below(word, 0x20) | quote | backslash
}

#[cfg(test)]
mod tests;
