//! A cursor over JSON text that copies nothing.
//!
//! What it does: holds a text to the whole grammar of RFC 8259, in one pass, with the offset of whatever
//! breaks it. What it refuses to know: what members mean, and the value of any number. Invariants: depth is
//! bounded by [`MAX_DEPTH`] and does not use the stack; every step takes at least one byte or ends the walk;
//! a text that another parser might read otherwise (a byte order mark, bytes that are not UTF-8, surrogates
//! that stand alone, a trailing comma, anything behind the value) is refused.

use std::borrow::Cow;
use std::ops::Range;

use crate::otlp::Malformed;

/// How deep objects and arrays may lie in each other. An attribute's value begins at 10, and a map in
/// it takes 4 for each level of its own.
pub(super) const MAX_DEPTH: u32 = 64;

/// A string of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::otlp) struct Text {
    /// Between the quotes.
    pub range: Range<usize>,
    /// Whether escapes stand in it.
    pub escaped: bool,
}

impl Text {
    /// What the string says; `text` is where it lies.
    pub fn said<'a>(&self, text: &'a [u8]) -> Cow<'a, str> {
        if self.escaped {
            #[cfg(test)]
            crate::otlp::wanted::work::add(crate::otlp::wanted::work::UNESCAPE);
            let quoted = text.get(self.range.start.saturating_sub(1)..self.range.end + 1).unwrap_or_default();
            return serde_json::from_slice::<String>(quoted).unwrap_or_default().into();
        }
        std::str::from_utf8(text.get(self.range.clone()).unwrap_or_default()).unwrap_or_default().into()
    }
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
    pub fn new(text: &'a [u8]) -> Result<Cursor<'a>, Malformed> {
        match std::str::from_utf8(text) {
            Ok(_) => Ok(Cursor { text, at: 0, depth: 0 }),
            Err(error) => Err(Malformed { offset: error.valid_up_to(), what: "not UTF-8" }),
        }
    }

    /// Somewhere in a text that has been read before.
    pub fn again(text: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { text, at, depth: 0 }
    }

    /// The same text elsewhere, to look ahead.
    pub fn from(&self, at: usize) -> Cursor<'a> {
        Cursor { at, ..*self }
    }

    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn fault(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.at, what }
    }

    /// The first byte of the next token.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
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
    pub fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), Malformed> {
        if !self.take(bracket) {
            return Err(self.fault(what));
        }
        self.deeper()
    }

    fn deeper(&mut self) -> Result<(), Malformed> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.fault("nested too deep")) } else { Ok(()) }
    }

    /// Goes to the next member or element, or out of what ends with `close`. `first` is true before the
    /// first one.
    #[inline]
    pub fn next(&mut self, first: &mut bool, close: u8) -> Result<bool, Malformed> {
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

    /// The name of a member, and the colon.
    #[inline]
    pub fn name(&mut self) -> Result<Text, Malformed> {
        let name = self.string("not a member name")?;
        if !self.take(b':') {
            return Err(self.fault("a member name without a colon"));
        }
        self.peek();
        Ok(name)
    }

    /// Takes a `null`, if one is here.
    pub fn null(&mut self) -> Result<bool, Malformed> {
        let there = self.peek() == Some(b'n');
        if there {
            self.literal(b"null")?;
        }
        Ok(there)
    }

    pub fn string(&mut self, what: &'static str) -> Result<Text, Malformed> {
        if !self.take(b'"') {
            return Err(self.fault(what));
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += ordinary(self.text.get(self.at..).unwrap_or_default());
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text { range: start..self.at - 1, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("a control character in a string")),
                None => return Err(self.fault("a string without an end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                self.at += match self.hexadecimal(self.at)? {
                    0xd800..=0xdbff if matches!(self.hexadecimal(self.at + 6), Ok(0xdc00..=0xdfff)) => 12,
                    0xd800..=0xdfff => return Err(self.fault("half of a surrogate pair")),
                    _ => 6,
                }
            }
            _ => return Err(self.fault("an unknown escape")),
        }
        Ok(())
    }

    /// The code unit of the `\uXXXX` at this offset.
    fn hexadecimal(&self, at: usize) -> Result<u32, Malformed> {
        let digits = self.text.get(at..).and_then(|rest| rest.strip_prefix(b"\\u")).and_then(|rest| rest.get(..4));
        let unit = digits.and_then(|digits| {
            digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
        });
        unit.ok_or_else(|| self.fault("an unknown escape"))
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Malformed> {
        match self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
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
        if count == 0 { Err(self.fault("a number without a digit")) } else { Ok(()) }
    }

    /// `-`, digits without a leading zero, a fraction, an exponent (RFC 8259 section 6).
    fn number(&mut self) -> Result<(), Malformed> {
        let is = |cursor: &Self, bytes: &[u8]| cursor.text.get(cursor.at).is_some_and(|byte| bytes.contains(byte));
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

    /// Steps over one value, whatever it is.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        let outside = self.depth;
        // What is open from `outside` on, innermost last: 1 for an object. `MAX_DEPTH` bits are enough.
        let mut open = 0_u64;
        loop {
            let mut first = false;
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.deeper()?;
                    open = open << 1 | u64::from(bracket == b'{');
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
                let in_object = open & 1 == 1;
                if self.next(&mut first, if in_object { b'}' } else { b']' })? {
                    if in_object {
                        self.name()?;
                    }
                    break;
                }
                open >>= 1;
            }
        }
    }

    /// Only blanks are left.
    pub fn end(&mut self) -> Result<(), Malformed> {
        if self.peek().is_some() { Err(self.fault("something behind the end")) } else { Ok(()) }
    }
}

/// How many bytes at the start are neither a quote, a backslash nor a control character; eight at a time.
#[inline]
fn ordinary(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    // The highest bit of each byte that is less than `limit`; above the lowest of them it may be set in others.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let mut rest = bytes;
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = below(word, 0x20) | quote | backslash;
        if special != 0 {
            return bytes.len() - rest.len() + special.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    let left = rest.iter().take_while(|byte| !matches!(byte, ..0x20 | b'"' | b'\\')).count();
    bytes.len() - rest.len() + left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(text)?;
        cursor.skip()?;
        cursor.end()
    }

    /// What serde_json says, which keeps the same grammar but bounds numbers, and depth elsewhere.
    fn oracle(text: &[u8]) -> bool {
        serde_json::from_slice::<serde_json::Value>(text).is_ok()
    }

    #[test]
    fn the_grammar_is_kept_whole() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "10",
            "-1.5e+10",
            "1E5",
            "0.0",
            "1e-2",
            "\"\"",
            "[]",
            "{}",
            "[[]]",
            " \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n",
            r#""\"\\\/\b\f\n\r\tA""#,
            r#""\ud83d\ude00""#,
            "\"\u{7f}\u{80}\u{2028}😀\"",
            r#"{"a":1,"a":2}"#,
            r#"{"":{"":[{}]}}"#,
            r#""\u0000""#,
            r#""\ud7ff\ue000""#,
        ] {
            assert_eq!(judge(text.as_bytes()), Ok(()), "{text}");
            assert!(oracle(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_found_where_it_stands() {
        type Case<'a> = (&'a [u8], usize);
        let cases: &[Case<'_>] = &[
            (b"", 0),
            (b"  ", 2),
            (b"nul", 0),
            (b"nulll", 4),
            (b"True", 0),
            (b"NaN", 0),
            (b"Infinity", 0),
            (b"-Infinity", 1),
            (b"01", 1),
            (b"-", 1),
            (b"+1", 0),
            (b".5", 0),
            (b"1.", 2),
            (b"1.e5", 2),
            (b"1e", 2),
            (b"1e+", 3),
            (b"--1", 1),
            (b"0x10", 1),
            (b"1_000", 1),
            (b"1 2", 2),
            (b"[", 1),
            (b"[1", 2),
            (b"[1,", 3),
            (b"[1,]", 3),
            (b"[,]", 1),
            (b"[1 2]", 3),
            (b"[1}", 2),
            (b"]", 0),
            (b"{", 1),
            (b"{\"a\"", 4),
            (b"{\"a\":", 5),
            (b"{\"a\":1", 6),
            (b"{\"a\":1,}", 7),
            (b"{\"a\" 1}", 5),
            (b"{a:1}", 1),
            (b"{'a':1}", 1),
            (b"{1:1}", 1),
            (b"{,}", 1),
            (b"{\"a\":1 \"b\":2}", 7),
            (b"{\"a\":1]", 6),
            (b"{}{}", 2),
            (b"{}\0", 2),
            (b"{}//", 2),
            (b"/* */{}", 0),
            (b"\"", 1),
            (b"\"abc", 4),
            (b"\"\\", 1),
            (b"\"\\x41\"", 1),
            (b"\"\\u12\"", 1),
            (b"\"\\u00g0\"", 1),
            (b"\"a\nb\"", 2),
            (b"\"12345678\t\"", 9),
            (b"\"\0\"", 1),
            (b"\"\x1f\"", 1),
            (b"'a'", 0),
            (b"\"\\ud800\"", 1),
            (b"\"\\ud800\\n\"", 1),
            (b"\"\\ud800\\u0041\"", 1),
            (b"\"\\ud800\\ud800\"", 1),
            (b"\"\\udc00\"", 1),
            (b"\"\\ude00\\ud83d\"", 1),
            (b"\"\\u+123\"", 1),
            (b"\xef\xbb\xbf{}", 0),
            (b"\"\xff\"", 1),
            (b"\"a\xc3\"", 2),
            (b"\"\xed\xa0\x80\"", 1),
            (b"\"\xc0\xaf\"", 1),
            (b"\xff\xfe{\0}\0", 0),
            (b"\xc2\xa0{}", 0),
            (b"\x0c{}", 0),
        ];
        for (text, offset) in cases {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(judge(text).map_err(|malformed| malformed.offset), Err(*offset), "{shown}");
            assert!(!oracle(text), "{shown}");
        }
    }

    #[test]
    fn numbers_are_not_valued() {
        let long = "9".repeat(10_000);
        for text in ["1e999", "-1e-999999999999999999", long.as_str()] {
            assert_eq!(judge(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let brackets = open.matches(['[', '{']).count();
            for (depth, fits) in [(MAX_DEPTH as usize, true), (MAX_DEPTH as usize + 2, false), (1_000_000, false)] {
                let times = depth / brackets;
                let text = format!("{}0{}", open.repeat(times), close.repeat(times));
                assert_eq!(judge(text.as_bytes()).is_ok(), fits, "{open} {depth}");
            }
        }
        assert!(judge(format!("{}{}", "[".repeat(65), "]".repeat(65)).as_bytes()).is_err());
        // Side by side, nothing adds up.
        assert_eq!(judge(format!("[{}0]", "[[{}]],".repeat(1_000)).as_bytes()), Ok(()));
    }

    #[test]
    fn strings_say_what_serde_json_reads() {
        for text in [r#""plain""#, r#""r\u0065source\u0053pans""#, r#""\ud83d\ude00\/\n""#, "\"😀\""] {
            let mut cursor = Cursor::new(text.as_bytes()).unwrap();
            let string = cursor.string("").unwrap();
            assert_eq!(string.said(text.as_bytes()), serde_json::from_str::<String>(text).unwrap());
            assert_eq!(string.escaped, text.contains('\\'));
        }
    }

    proptest::proptest! {
        /// Scenario: bytes that look like JSON. Guarantees: what serde_json accepts is accepted, and the reverse.
        #[test]
        fn the_judgement_is_that_of_serde_json(
            tokens in proptest::collection::vec(proptest::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\", "\\u00e9", "\\ud83d", "\\ude00", "0", "1", "-", ".5", "e3", "true",
                "null", " ", "\n", "x", "é", "\u{1}", "\"key\":", "[1,2]", "{\"b\":null}", "\"longer than eight\"",
            ]), 0..12)
        ) {
            let text = tokens.concat();
            assert_eq!(judge(text.as_bytes()).is_ok(), oracle(text.as_bytes()), "{text}");
        }

        /// Scenario: ordinary bytes before one that is not. Guarantees: its place is found at any alignment.
        #[test]
        fn the_first_special_byte_is_found(bytes in proptest::collection::vec(0_u8.., 0..40)) {
            let expected = bytes.iter().position(|byte| matches!(byte, ..0x20 | b'"' | b'\\')).unwrap_or(bytes.len());
            assert_eq!(ordinary(&bytes), expected);
        }
    }
}
