//! One strict normalisation of the request target.
//!
//! What it does: splits the path on `/` before decoding, decodes each segment once, and encodes it again
//! in one canonical way; reads the query into pairs. What it refuses to know: what the path means.
//! Invariants: empty, dot and trailing-dot segments, encoded separators, `;`, double encoding and
//! anything outside printable ASCII are refused, never repaired (RFC 3986 section 6, CVE-2021-29492's class).

use super::Fault;
use crate::percent;

/// The most segments of a path and pairs of a query.
const PARTS_LIMIT: usize = 64;

/// Longest decoded segment, in bytes.
const SEGMENT_LIMIT_BYTES: usize = 512;

/// The decoded segments of a canonical absolute path; none for `/`.
pub fn segments(path: &str) -> Result<Vec<String>, Fault> {
    let rest = path.strip_prefix('/').ok_or(Fault::Target)?;
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let mut segments = Vec::with_capacity(8);
    for raw in rest.split('/') {
        if segments.len() == PARTS_LIMIT {
            return Err(Fault::Path);
        }
        let segment = decode(raw.as_bytes(), false)?;
        let ambiguous = segment.is_empty()
            || segment.len() > SEGMENT_LIMIT_BYTES
            || segment.ends_with(['.', ' '])
            || segment.starts_with(' ')
            || segment.contains(['/', '\\', '%', ';', '#', '?']);
        // `.` and `..` end with a dot and are among these.
        if ambiguous {
            return Err(Fault::Path);
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// The decoded pairs of a query, in order. `+` is a blank, as every form decoder has it.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, Fault> {
    split(query, |raw| decode(raw, true))
}

/// The same of what people type into forms and providers tell them: text in any language, but for control characters.
pub fn texts(query: &str) -> Result<Vec<(String, String)>, Fault> {
    split(query, |raw| {
        let text = String::from_utf8(octets(raw, true)?).map_err(|_| Fault::Query)?;
        if text.chars().any(char::is_control) {
            Err(Fault::Query)
        } else {
            Ok(text)
        }
    })
}

fn split(
    query: &str,
    decode: impl Fn(&[u8]) -> Result<String, Fault>,
) -> Result<Vec<(String, String)>, Fault> {
    let mut pairs = Vec::new();
    for raw in query.split('&') {
        if pairs.len() == PARTS_LIMIT || raw.contains(';') {
            return Err(Fault::Query);
        }
        let (key, value) = raw.split_once('=').unwrap_or((raw, ""));
        let key = decode(key.as_bytes()).map_err(|_| Fault::Query)?;
        let value = decode(value.as_bytes()).map_err(|_| Fault::Query)?;
        if key.is_empty() {
            return Err(Fault::Query);
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Joins decoded segments into the canonical path.
pub fn join<'a>(segments: impl IntoIterator<Item = &'a str>) -> String {
    let mut path = String::with_capacity(64);
    for segment in segments {
        path.push('/');
        path.extend(percent::encode(segment));
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// Percent-decodes once. Only printable ASCII may come out.
fn decode(raw: &[u8], form: bool) -> Result<String, Fault> {
    let octets = octets(raw, form)?;
    if octets.iter().any(|octet| !(0x20..=0x7e).contains(octet)) {
        return Err(Fault::Path);
    }
    String::from_utf8(octets).map_err(|_| Fault::Path)
}

/// Percent-decodes once.
fn octets(raw: &[u8], form: bool) -> Result<Vec<u8>, Fault> {
    let mut octets = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => high * 16 + low,
                _ => return Err(Fault::Path),
            },
            b'+' if form => b' ',
            // RFC 3986's pchar without the characters that parsers treat as separators.
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/?".contains(byte) => *byte,
            _ => return Err(Fault::Path),
        };
        octets.push(decoded);
    }
    Ok(octets)
}

fn hex(byte: &u8) -> Option<u8> {
    (*byte as char)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_canonical_or_refused() {
        let good = [
            ("/", vec![]),
            ("/v1/traces", vec!["v1", "traces"]),
            ("/p/my%20project", vec!["p", "my project"]),
            ("/p/%61", vec!["p", "a"]),
            ("/a:b/@c", vec!["a:b", "@c"]),
            ("/a+b", vec!["a+b"]),
            ("/v0.2/x", vec!["v0.2", "x"]),
        ];
        for (path, expected) in good {
            assert_eq!(segments(path).unwrap(), expected, "{path}");
        }
        let bad = [
            "",
            "v1",
            "//",
            "/a//b",
            "/a/",
            "/./a",
            "/../a",
            "/a/..",
            "/a/.",
            "/%2e/a",
            "/%2e%2e/a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%25",
            "/a%252f",
            "/a;b",
            "/a%3bb",
            "/a%",
            "/a%2",
            "/a%zz",
            "/é",
            "/%c3%a9",
            "/%c0%ae",
            "/a.",
            "/a%20",
            "/%20a",
            "/a%0d%0a",
            "/a%23b",
            "/a%3fb",
            "/...",
            "/a b",
            "/a\"b",
            "/a|b",
            "/a<b",
            "/a{b}",
        ];
        for path in bad {
            assert!(segments(path).is_err(), "{path}");
        }
        assert!(segments(&"/a".repeat(PARTS_LIMIT + 1)).is_err());
        assert!(segments(&format!("/{}", "a".repeat(SEGMENT_LIMIT_BYTES + 1))).is_err());
        assert_eq!(
            segments(&"/a".repeat(PARTS_LIMIT)).unwrap().len(),
            PARTS_LIMIT
        );
        assert_eq!(
            segments(&format!("/{}", "a".repeat(SEGMENT_LIMIT_BYTES)))
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn forms_hold_text_in_any_language() {
        let pair = |value: &str| Ok(vec![("filter".to_owned(), value.to_owned())]);
        for (value, expected) in [
            ("K%C3%B6ln+%E2%82%AC", pair("Köln €")),
            ("%F0%9F%94%AD", pair("🔭")),
            ("a%26b", pair("a&b")),
            ("%C3", Err(Fault::Query)),
            ("%FF%FE", Err(Fault::Query)),
            ("%C0%AF", Err(Fault::Query)),
            ("%ED%A0%80", Err(Fault::Query)),
            ("a%0D%0Ab", Err(Fault::Query)),
            ("%00", Err(Fault::Query)),
            ("%C2%85", Err(Fault::Query)),
            ("a;b", Err(Fault::Query)),
            ("%2", Err(Fault::Query)),
        ] {
            assert_eq!(texts(&format!("filter={value}")), expected, "{value}");
        }
    }

    #[test]
    fn queries_are_pairs() {
        assert_eq!(
            pairs("oldest-time=2026-01-01T00%3A00%3A00Z&percentile=50&percentile=99&x").unwrap(),
            [
                ("oldest-time", "2026-01-01T00:00:00Z"),
                ("percentile", "50"),
                ("percentile", "99"),
                ("x", "")
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        assert_eq!(
            pairs("a=b+c%2B").unwrap(),
            [("a".to_owned(), "b c+".to_owned())]
        );
        let full = vec!["a=b"; PARTS_LIMIT].join("&");
        assert_eq!(pairs(&full).unwrap().len(), PARTS_LIMIT);
        assert_eq!(pairs(&format!("{full}&a=b")), Err(Fault::Query));
        for query in ["", "a=1;b=2", "=1", "a=%", "a=%0a", "a&&b", "a=é"] {
            assert_eq!(pairs(query), Err(Fault::Query), "{query}");
        }
    }

    proptest::proptest! {
        /// Scenario: any path. Guarantees: what is accepted is stable under decode and encode.
        #[test]
        fn canonical_is_a_fixed_point(path in "/[ -~]{0,40}") {
            if let Ok(parts) = segments(&path) {
                let canonical = join(parts.iter().map(String::as_str));
                assert_eq!(segments(&canonical).unwrap(), parts);
                assert_eq!(join(segments(&canonical).unwrap().iter().map(String::as_str)), canonical);
            }
        }
    }
}
