//! Text of others, made fit for one line of a record or a log: what is invisible is escaped, what is long is cut.
//!
//! What it does: says which characters hide or reorder text, and writes a text within a bound. What it refuses to know:
//! where the text comes from and where it goes. Invariants: the result is printable, on one line, and never longer than the
//! bound; what was escaped can be read back, and a cut is marked with what is missing.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest mark of a cut, in bytes: `…[+18446744073709551615 bytes]`.
const MARK_BYTES: usize = "…[+18446744073709551615 bytes]".len();

/// Controls, and characters that reorder text, join it or show nothing (Unicode: general categories Cc, Cf, Zl and Zp, and
/// Default_Ignorable_Code_Point; Technical Report 36 section 2.5; CVE-2021-42574).
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The text as one printable line of at most `limit` bytes: hidden characters, and white space that is not a plain blank, as
/// `\u{202e}`; beyond the limit `…[+N bytes]`, with the bytes of the text that are missing.
pub(crate) fn line(text: &str, limit: usize) -> Cow<'_, str> {
    let is_plain = |byte: &u8| (0x20..=0x7e).contains(byte) & (*byte != b'\\');
    // All of it, without a way out: nearly always plain, and compared many bytes at a time.
    if text.len() <= limit
        && text
            .as_bytes()
            .iter()
            .fold(true, |all, byte| all & is_plain(byte))
    {
        return Cow::Borrowed(text);
    }
    // A backslash that would look like the beginning of an escape is escaped itself.
    Cow::Owned(written(text, limit, |character, rest| {
        is_hidden(character)
            || (character.is_whitespace() && character != ' ')
            || rest.starts_with("\\u{")
    }))
}

/// A line that `line` made, cut shorter.
pub(crate) fn cut(line: &str, limit: usize) -> Cow<'_, str> {
    if line.len() <= limit {
        Cow::Borrowed(line)
    } else {
        Cow::Owned(written(line, limit, |_, _| false))
    }
}

fn written(text: &str, limit: usize, escapes: impl Fn(char, &str) -> bool) -> String {
    let room = limit.saturating_sub(MARK_BYTES);
    let mut line = String::with_capacity(text.len().min(limit));
    // What fits with the mark: bytes of the line, and of the text that they stand for.
    let mut kept = (0, 0);
    for (at, character) in text.char_indices() {
        if escapes(character, text.get(at..).unwrap_or_default()) {
            // Writing to a string does not fail.
            let _ = write!(line, "\\u{{{:x}}}", u32::from(character));
        } else {
            line.push(character);
        }
        if line.len() <= room {
            kept = (line.len(), at + character.len_utf8());
        }
        if line.len() > limit {
            line.truncate(kept.0);
            let _ = write!(line, "…[+{} bytes]", text.len() - kept.1);
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_escaped_and_can_be_read_back() {
        for (text, expected) in [
            ("/v1/traces", "/v1/traces"),
            ("kaffee-\u{e9}-\u{1f600}", "kaffee-\u{e9}-\u{1f600}"),
            ("a\nb\x1b[1m\u{85}\0", "a\\u{a}b\\u{1b}[1m\\u{85}\\u{0}"),
            ("\u{202e}nimda\u{202c}", "\\u{202e}nimda\\u{202c}"),
            (
                "\u{2066}a\u{2069}\u{200f}\u{61c}",
                "\\u{2066}a\\u{2069}\\u{200f}\\u{61c}",
            ),
            (
                "ad\u{200b}min\u{feff}\u{ad}\u{2060}",
                "ad\\u{200b}min\\u{feff}\\u{ad}\\u{2060}",
            ),
            ("a\u{2028}b\u{2029}c", "a\\u{2028}b\\u{2029}c"),
            ("a\u{a0}b\u{3000}c\td e", "a\\u{a0}b\\u{3000}c\\u{9}d e"),
            ("\u{e0041}\u{fe0f}\u{3164}", "\\u{e0041}\\u{fe0f}\\u{3164}"),
            (r"ACME\jane \u0041", r"ACME\jane \u0041"),
            (r"\u{202e}", r"\u{5c}u{202e}"),
            ("\"quoted\"", "\"quoted\""),
            ("", ""),
        ] {
            assert_eq!(line(text, 1000), expected, "{text:?}");
        }
    }

    #[test]
    fn a_cut_is_within_the_bound_and_says_what_is_missing() {
        let exact = "a".repeat(100);
        assert_eq!(line(&exact, 100), exact);
        for (text, limit) in [
            ("a".repeat(101), 100),
            ("a".repeat(31_600), 1024),
            ("\u{1f600}".repeat(500), 333),
            ("\u{202e}".repeat(500), 333),
            ("\u{e9}".repeat(51), 100),
        ] {
            let cut = line(&text, limit);
            assert!(cut.len() <= limit, "{} of {limit}", cut.len());
            let (kept, mark) = cut.split_once("…[+").unwrap();
            let missing: usize = mark.strip_suffix(" bytes]").unwrap().parse().unwrap();
            assert!(
                line(text.get(..text.len() - missing).unwrap(), limit) == kept,
                "{cut}"
            );
        }
        assert!(line(&"a".repeat(100), 0).len() <= MARK_BYTES);
    }
}
