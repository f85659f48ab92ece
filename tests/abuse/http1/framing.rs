//! Where a body ends: lengths and chunks. What it refuses to know: what is in it.

use super::*;

/// All of these end in a smuggled request that must not be answered.
const FRAMINGS: &[Case] = &[
    (
        "{EXPORT}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 0\r\nContent-Length: 5\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 5\r\nContent-Length: 0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 5, 5\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 5,6\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: +5\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    ("{EXPORT}Content-Length: -5\r\n\r\n{GET}\r\n", 400, FRAMING),
    (
        "{EXPORT}Content-Length: 0x5\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 5 5\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 5a\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 5;\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: \"5\"\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 5.0\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 1_0\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 1e1\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: \u{665}\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    ("{EXPORT}Content-Length:\r\n\r\n{GET}\r\n", 400, FRAMING),
    ("{EXPORT}Content-Length: ,\r\n\r\n{GET}\r\n", 400, FRAMING),
    (
        "{EXPORT}Content-Length: 18446744073709551615\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 18446744073709551621\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length: 99999999999999999999999\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Content-Length : 5\r\n\r\nhello{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}Content-Length: 5\r\n Content-Length: 6\r\n\r\nhello{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}Content-Length:\u{b}5\r\n\r\nhello{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: identity\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: gzip\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    ("{EXPORT}Transfer-Encoding:\r\n\r\n{GET}\r\n", 400, FRAMING),
    (
        "{EXPORT}Transfer-Encoding: chun\u{212a}ed\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "{EXPORT}Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}Transfer-Encoding\u{b}: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}Transfer-Encoding:\n chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT} Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        HEADER,
    ),
    (
        "{GET}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
    (
        "HEAD / HTTP/1.1\r\n{H}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
        400,
        FRAMING,
    ),
];

/// Bodies behind `{EXPORT}Transfer-Encoding: chunked`, each with a smuggled request behind it.
const CHUNKS: &[&str] = &[
    "5;\nhello\r\n0\r\n\r\n",
    "5;ext\r\nhello\r\n0\r\n\r\n",
    "5;ext=1\r\nhello\r\n0\r\n\r\n",
    "5;ext=\"a\nb\"\r\nhello\r\n0\r\n\r\n",
    "5 ;ext\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "5\r\nhello\r\nX\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "x5\r\nhello\r\n0\r\n\r\n",
    "5h\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "\t5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    "1_0\r\n0123456789012345\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    "\r\n",
    "\n",
    "\0",
    "5\0\r\nhello\r\n0\r\n\r\n",
    "\u{665}\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "10000000000000000\r\nhello\r\n0\r\n\r\n",
    "100000000000000005\r\nhello\r\n0\r\n\r\n",
    "0000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "0\n\n",
    "0\r\n\n",
    "0\n\r\n",
    "0\r\r\n",
    "0\r\n\rX",
    "0;ext\r\n\r\n",
    "0 \r\n\r\n",
    "-0\r\n\r\n",
    "0\r\nno colon\r\n\r\n",
    "0\r\n folded: x\r\n\r\n",
    "0\r\nX: y\r\n folded\r\n\r\n",
    "0\r\nX : y\r\n\r\n",
    "0\r\n: y\r\n\r\n",
    "0\r\nX: \0\r\n\r\n",
    "0\r\nX: y\n\r\n",
    "0\r\nX: a\rb\r\n\r\n",
    "0\r\nlightstep_access_token: evil\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing_is_never_in_doubt() {
    refuse_table(FRAMINGS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_strict() {
    let mut ground = Ground::new().await;
    let cases = CHUNKS.iter().map(|body| {
        (
            format!(
                "{{EXPORT}}Transfer-Encoding: chunked\r\n\r\n{body}GET /apps HTTP/1.1\r\n{{H}}\r\n"
            ),
            400,
            CHUNK,
        )
    });
    let faults = refuse_all(&mut ground, cases).await;
    ground::none(&faults);
}
