//! Percent-encoding (RFC 3986 section 2.1).
//!
//! What it does: writes one part of a URL, and reads what was written so. What it refuses to know: which part, and what
//! must not stand in it; `accept::path` is stricter, and judges each request's target. Invariants: one spelling is
//! written (upper-case digits, unreserved characters as they are); a part is decoded once.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, PercentDecode, PercentEncode};

/// What is written as `%XX`: all but RFC 3986 section 2.3's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const RESERVED_BUT_SLASH: &AsciiSet = &RESERVED.remove(b'/');
/// gRPC over HTTP/2, "Responses": `Percent-Encoded` of `grpc-message`.
const UNPRINTABLE: &AsciiSet = &CONTROLS.add(b'%');

/// One segment of a path, or a query's name or value.
pub(crate) fn encode(part: &str) -> PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(part, RESERVED)
}

/// Segments with the slashes that part them.
pub(crate) fn encode_path(path: &str) -> PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(path, RESERVED_BUT_SLASH)
}

/// The value of `grpc-message`.
pub(crate) fn encode_message(message: &str) -> PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(message, UNPRINTABLE)
}

/// Bytes of a text of which each `%` begins an escape; `None` for any other.
pub(crate) fn decode(text: &str) -> Option<PercentDecode<'_>> {
    let mut after_signs = text.split('%').skip(1);
    let is_whole = |rest: &str| {
        rest.as_bytes()
            .first_chunk()
            .is_some_and(|digits: &[u8; 2]| digits.iter().all(u8::is_ascii_hexdigit))
    };
    after_signs
        .all(is_whole)
        .then(|| percent_encoding::percent_decode_str(text))
}

/// The text with its escapes undone. What is no escape stays, and bytes that are not UTF-8 become U+FFFD.
pub(crate) fn decode_lossy(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_written_in_one_spelling() {
        for (text, part, path, message) in [
            ("aZ0-._~", "aZ0-._~", "aZ0-._~", "aZ0-._~"),
            ("a/b c", "a%2Fb%20c", "a/b%20c", "a/b c"),
            ("100%", "100%25", "100%25", "100%25"),
            (
                "\u{e4}\n\u{7f}",
                "%C3%A4%0A%7F",
                "%C3%A4%0A%7F",
                "%C3%A4%0A%7F",
            ),
            (
                "+&=?#\"",
                "%2B%26%3D%3F%23%22",
                "%2B%26%3D%3F%23%22",
                "+&=?#\"",
            ),
        ] {
            let written = (
                encode(text).to_string(),
                encode_path(text).to_string(),
                encode_message(text).to_string(),
            );
            assert_eq!(
                written,
                (part.to_owned(), path.to_owned(), message.to_owned()),
                "{text}"
            );
            assert_eq!(decode_lossy(part), text);
        }
    }

    #[test]
    fn what_is_no_escape_is_refused_or_stays() {
        for (text, whole, lossy) in [
            ("a%2fb", Some(&b"a/b"[..]), "a/b"),
            ("%2541", Some(b"%41"), "%41"),
            ("%ff", Some(b"\xff"), "\u{fffd}"),
            ("%", None, "%"),
            ("%2", None, "%2"),
            ("%zz", None, "%zz"),
            ("%+5", None, "%+5"),
            ("%2%41", None, "%2A"),
        ] {
            assert_eq!(
                decode(text).map(Iterator::collect::<Vec<u8>>).as_deref(),
                whole,
                "{text}"
            );
            assert_eq!(decode_lossy(text), lossy, "{text}");
        }
    }
}
