//! Tables of raw heads, good and bad.
//!
//! What it does: judges each row. What it refuses to know: sockets.

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 4096,
    lines: 20,
};

/// Scenario: raw heads, good and bad. Guarantees: only unambiguous ones pass, with their framing.
#[test]
fn heads_are_judged_strictly() {
    let cases: &[(&str, Result<Framing, Fault>)] = &[
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Framing::None)),
        (
            "POST /v1/traces HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\n",
            Ok(Framing::Length(5)),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 123456789012345678\r\n\r\n",
            Ok(Framing::Length(123_456_789_012_345_678)),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            Ok(Framing::None),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            Ok(Framing::Chunked),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
            Ok(Framing::Chunked),
        ),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", Err(Fault::Version)),
        // hosts
        ("GET / HTTP/1.1\r\n\r\n", Err(Fault::Host)),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            Err(Fault::Host),
        ),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n", Err(Fault::Host)),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Err(Fault::Host)),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Err(Fault::Host)),
        // targets
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
        (
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Err(Fault::Target),
        ),
        (
            "GET evil:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            Err(Fault::Target),
        ),
        (
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            Err(Fault::RequestLine),
        ),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
        ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
        ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
        ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
        ("GET /\"<> HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Target)),
        (
            "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            Err(Fault::RequestLine),
        ),
        (
            "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Err(Fault::RequestLine),
        ),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Err(Fault::RequestLine)),
        ("GET /\r\nHost: a\r\n\r\n", Err(Fault::RequestLine)),
        // methods
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Method)),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Method)),
        (
            "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            Err(Fault::Method),
        ),
        ("PRI / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Fault::Method)),
        // header lines
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Err(Fault::HeaderLine)),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            Err(Fault::HeaderLine),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\tfolded: x\r\n\r\n",
            Err(Fault::HeaderLine),
        ),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Err(Fault::HeaderLine)),
        ("GET / HTTP/1.1\r\nHost: a\n\n", Err(Fault::HeaderLine)),
        (
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            Err(Fault::HeaderLine),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            Err(Fault::HeaderLine),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            Err(Fault::HeaderLine),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
            Err(Fault::HeaderLine),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nlightstep_access_token: x\r\n\r\n",
            Err(Fault::HeaderLine),
        ),
        // framing
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1234567890123456789\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            Err(Fault::Framing),
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            Err(Fault::Version),
        ),
    ];
    for (head, expected) in cases {
        assert_eq!(&inspect(head.as_bytes(), LIMITS), expected, "{head:?}");
    }
}

/// Scenario: a name at and above the longest one. Guarantees: what is judged to be good is taken apart.
#[test]
fn names_have_an_end() {
    let limits = HeadLimits {
        bytes: 1 << 20,
        lines: 20,
    };
    for (length, expected) in [
        (NAME_LIMIT_BYTES, Ok(Framing::None)),
        (NAME_LIMIT_BYTES + 1, Err(Fault::HeaderLine)),
    ] {
        let name = "n".repeat(length);
        let head = Bytes::from(format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: y\r\n\r\n"));
        assert_eq!(inspect(&head, limits), expected, "{length}");
        assert_eq!(parts(&head).is_some(), expected.is_ok(), "{length}");
    }
}

/// Scenario: judged heads. Guarantees: names, values and target come out as they stand in the bytes, in their order.
#[test]
fn judged_heads_are_taken_apart() {
    let head = Bytes::from_static(
        b"POST /a%20b?c=d HTTP/1.1\r\nHost: a:80\r\nX-One:1\r\nx-one: \t2\xff \r\nEmpty:\r\n\r\n",
    );
    assert_eq!(inspect(&head, LIMITS), Ok(Framing::None));
    let parts = parts(&head).unwrap();
    assert_eq!(
        (parts.method.as_str(), parts.uri.to_string()),
        ("POST", "/a%20b?c=d".to_owned())
    );
    assert_eq!(parts.version, http::Version::HTTP_11);
    let fields: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let expected: [(&str, &[u8]); 4] = [
        ("host", b"a:80"),
        ("x-one", b"1"),
        ("x-one", b"2\xff"),
        ("empty", b""),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn hosts_are_names_or_addresses() {
    for good in [
        "a",
        "a.b",
        "a.b.",
        "a:80",
        "gw_1:4318",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:65535",
        "x--y.z",
    ] {
        assert!(is_host(good.as_bytes()), "{good}");
    }
    for bad in [
        "", ".", "a:", "a:0", "a:65536", "a:x", "a:+1", "a:1:1", ":1", "::1", "[a]", "[::1",
        "[::1]1", "a..b", "-a", "a.-b", "a%41", "a b",
    ] {
        assert!(!is_host(bad.as_bytes()), "{bad}");
    }
    let (longest, longer) = ("a".repeat(255), "a".repeat(256));
    assert!(is_host(longest.as_bytes()) && !is_host(longer.as_bytes()));
}

#[test]
fn a_glimpse_shows_no_credential() {
    for (head, expected) in [
        ("GET /a?token=x HTTP/1.1\r\n", ("GET", "/a")),
        ("GET /a#token=x HTTP/1.1\r\n", ("GET", "/a")),
        ("OPTIONS * HTTP/1.1\r\n", ("OPTIONS", "*")),
        ("GET http://a/b HTTP/1.1\r\n", ("GET", "http://a/b")),
        ("GET http://user:secret@a/b HTTP/1.1\r\n", ("GET", "")),
        ("Authorization: secret\r\n", ("", "")),
        ("Bearer secret\r\n", ("", "")),
        ("PUT secret\r\n", ("PUT", "")),
        ("ABCDEFGHIJKLMNO- /a\r\n", ("ABCDEFGHIJKLMNO-", "/a")),
        ("ABCDEFGHIJKLMNOPQ /a\r\n", ("", "")),
        ("ABCDEFGHIJKLMNOPQR /a\r\n", ("", "")),
        (" /a\r\n", ("", "")),
        ("", ("", "")),
    ] {
        assert_eq!(glimpse(head.as_bytes()), expected, "{head:?}");
    }
}

/// Guarantees: the first header of a name in any case, without the blanks around its value; never the request line.
#[test]
fn a_glimpse_finds_the_first_header_of_a_name() {
    let head = b"POST content-type: x HTTP/1.1\r\nno colon\r\nContent-Type:\t application/grpc \r\ncontent-type: b\r\n\r\n";
    assert_eq!(
        glimpse_header(head, "content-type"),
        Some(&b"application/grpc"[..])
    );
    assert_eq!(glimpse_header(head, "accept"), None);
    assert_eq!(glimpse_header(b"", "accept"), None);
}

/// Guarantees: a head at each bound passes, and one beyond it by one does not.
#[test]
fn a_head_has_bounds() {
    let too_large = Err(Fault::HeadTooLarge);
    let lines = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(count - 1)
        )
    };
    assert!(inspect(lines(LIMITS.lines).as_bytes(), LIMITS).is_ok());
    assert_eq!(
        inspect(lines(LIMITS.lines + 1).as_bytes(), LIMITS),
        too_large
    );
    assert_eq!(
        inspect(lines(LIMITS.lines + 2).as_bytes(), LIMITS),
        too_large
    );
    let long = |bytes: usize| {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        head.replace("X: ", &format!("X: {}", "y".repeat(bytes - head.len())))
    };
    assert!(inspect(long(LIMITS.bytes).as_bytes(), LIMITS).is_ok());
    assert_eq!(
        inspect(long(LIMITS.bytes + 1).as_bytes(), LIMITS),
        too_large
    );
    let wide = HeadLimits {
        bytes: 1 << 20,
        ..LIMITS
    };
    let to = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "p".repeat(bytes - 1));
    assert!(inspect(to(TARGET_LIMIT_BYTES).as_bytes(), wide).is_ok());
    assert!(inspect(to(TARGET_LIMIT_BYTES + 1).as_bytes(), wide).is_err());
    assert_eq!(TARGET_LIMIT_BYTES, 32_768);
}

#[test]
fn the_end_is_found_wherever_reads_break() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
    for searched in 0..=26 {
        assert_eq!(find_end(head, searched), Some(27), "{searched}");
    }
    assert_eq!(find_end(b"GET / HTTP/1.1\r\nHost: a\r\n", 0), None);
    assert_eq!(find_end(b"GET / HTTP/1.1\nHost: a\n\n", 0), Some(24));
    assert_eq!(find_end(b"GET / HTTP/1.1\nHost: a\n\r\n", 0), Some(25));
}

proptest::proptest! {
    /// Scenario: arbitrary bytes. Guarantees: no panic, and whatever passes has one CRLF discipline.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
        let _ = inspect(&bytes, LIMITS);
        let _ = glimpse(&bytes);
        let _ = glimpse_header(&bytes, "content-type");
        let _ = find_end(&bytes, 7);
    }
}
