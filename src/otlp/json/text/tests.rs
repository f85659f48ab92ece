//! The grammar against serde_json's, its bounds, and what strings say. What it refuses to know: exports.

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
        assert_eq!(
            judge(text).map_err(|malformed| malformed.offset),
            Err(*offset),
            "{shown}"
        );
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
        for (depth, fits) in [
            (MAX_DEPTH as usize, true),
            (MAX_DEPTH as usize + 2, false),
            (1_000_000, false),
        ] {
            let times = depth / brackets;
            let text = format!("{}0{}", open.repeat(times), close.repeat(times));
            assert_eq!(judge(text.as_bytes()).is_ok(), fits, "{open} {depth}");
        }
    }
    let brackets = |depth| judge(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
    assert_eq!((brackets(512), brackets(513).is_err()), (Ok(()), true));
    // Each kind of bracket closes what it opened, at any depth.
    for depth in [1, 63, 64, 65, 127, 128, 129, 400] {
        for broken in 0..depth {
            let close = |at: usize| if at == broken { "]" } else { "}" };
            let closing: String = (0..depth).rev().map(close).collect();
            let text = format!("{}0{closing}", "{\"a\":".repeat(depth));
            assert!(judge(text.as_bytes()).is_err(), "{depth} {broken}");
        }
        let text = format!(
            "{}0{}",
            "{\"a\":[".repeat(depth / 2),
            "]}".repeat(depth / 2)
        );
        assert_eq!(judge(text.as_bytes()), Ok(()), "{depth}");
    }
    // Side by side, nothing adds up.
    assert_eq!(
        judge(format!("[{}0]", "[[{}]],".repeat(1_000)).as_bytes()),
        Ok(())
    );
}

#[test]
fn strings_say_what_serde_json_reads() {
    for text in [
        r#""plain""#,
        r#""r\u0065source\u0053pans""#,
        r#""\ud83d\ude00\/\n""#,
        "\"😀\"",
    ] {
        let mut cursor = Cursor::new(text.as_bytes()).unwrap();
        let string = cursor.string("").unwrap();
        assert_eq!(
            string.said(text.as_bytes()),
            serde_json::from_str::<String>(text).unwrap()
        );
        assert_eq!(string.escaped, text.contains('\\'));
    }
}

/// Scenario: strings with halves of surrogate pairs, as exporters write them that cut a text in UTF-16 units.
/// Guarantees: the text is taken; the string is marked, and says U+FFFD there; whole pairs stay.
#[test]
fn half_a_pair_is_marked() {
    for (text, said, torn) in [
        (r#""thanks \ud83d""#, "thanks \u{fffd}", true),
        (r#""\ud800\n""#, "\u{fffd}\n", true),
        (r#""\ud800\u0041""#, "\u{fffd}A", true),
        (r#""\ud800\ud800""#, "\u{fffd}\u{fffd}", true),
        (r#""\udc00""#, "\u{fffd}", true),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}", true),
        (r#""\ud83d\ud83d\ude00\\ud83d""#, "\u{fffd}😀\\ud83d", true),
        (r#""\ud83d\ude00\\ud83d""#, "😀\\ud83d", false),
    ] {
        assert_eq!(judge(text.as_bytes()), Ok(()), "{text}");
        let string = Cursor::new(text.as_bytes()).unwrap().string("").unwrap();
        assert_eq!(
            (&*string.said(text.as_bytes()), string.torn),
            (said, torn),
            "{text}"
        );
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
        // Lone halves of pairs, which serde_json refuses: as one that it takes.
        let whole = text.replace("\\ud83d\\ude00", "x").replace("\\ud83d", "\\u00e9").replace("\\ude00", "\\u00e9");
        assert_eq!(judge(text.as_bytes()).is_ok(), oracle(whole.as_bytes()), "{text}");
    }

    /// Scenario: ordinary bytes before one that is not. Guarantees: its place is found at any alignment.
    #[test]
    fn the_first_special_byte_is_found(bytes in proptest::collection::vec(0_u8.., 0..40)) {
        let expected = bytes.iter().position(|byte| matches!(byte, ..0x20 | b'"' | b'\\')).unwrap_or(bytes.len());
        assert_eq!(ordinary(&bytes), expected);
    }
}
