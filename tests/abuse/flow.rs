//! Scenario: several requests on one HTTP/1.1 connection, good ones between bad ones, in one piece or many.
//! Guarantees: each answer belongs to its request, what is good stays possible, and a refusal that leaves
//! bytes unread ends the connection.

use super::ground::{self, Ground};
use super::wire;

/// What is sent (the connection's end is asked for at the end), and the statuses in order. `HEAD` first: the
/// first answer has no body.
const SEQUENCES: &[(&str, &[u16])] = &[
    ("{GET}\r\n{GET}\r\n", &[200, 200]),
    (
        "{EXPORT}Content-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0{GET}\r\n",
        &[200, 200],
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n6\r\n\n\x04\x12\x02\x12\0\r\n0\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n06\r\n\n\x04\x12\x02\x12\0\r\n000\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    // Trailers are dropped, never merged.
    (
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n6\r\n\n\x04\x12\x02\x12\0\r\n0\r\nlightstep-access-token: smuggled\r\nX: y\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    (
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n6\r\n\n\x04\x12\x02\x12\0\r\n0\r\nContent-Length: 5\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    ("{EXPORT}Content-Length: 0\r\n\r\n{GET}\r\n", &[200, 200]),
    (
        "HEAD /.lightkeeper/whoami HTTP/1.1\r\n{H}\r\n{GET}\r\n",
        &[404, 200],
    ),
    (
        "HEAD /public/v0.2/acme/projects HTTP/1.1\r\n{H}\r\n{GET}\r\n",
        &[404, 200],
    ),
    (
        "HEAD /v1/traces HTTP/1.1\r\nHost: gw\r\n\r\n{GET}\r\n",
        &[401, 200],
    ),
    ("OPTIONS / HTTP/1.1\r\n{H}\r\n{GET}\r\n", &[404, 200]),
    (
        "OPTIONS /v1/traces HTTP/1.1\r\nHost: gw\r\nOrigin: http://evil\r\nAccess-Control-Request-Method: POST\r\n\r\n{GET}\r\n",
        &[401, 200],
    ),
    ("GET /v1/traces HTTP/1.1\r\n{H}\r\n{GET}\r\n", &[404, 200]),
    (
        "PUT /v1/traces HTTP/1.1\r\n{H}Content-Length: 0\r\n\r\n{GET}\r\n",
        &[404, 200],
    ),
    ("{GET}Expect: 100-continue\r\n\r\n{GET}\r\n", &[200, 200]),
    (
        "{EXPORT}Expect: 100-continue\r\nContent-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0{GET}\r\n",
        &[200, 200],
    ),
    (
        "{EXPORT}Expect: 100-Continue\r\nContent-Length: 0\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    (
        "{GET}TE: trailers\r\nConnection: TE\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    (
        "{GET}Connection: Keep-Alive\r\nKeep-Alive: timeout=1, max=1\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    (
        "{GET}Authorization: Bearer {A}\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    (
        "{GET}Proxy-Connection: close\r\nProxy-Authorization: Basic eDp5\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    (
        "{GET}Cookie: a=b; c=\"d\"\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    (
        "{GET}X-Obs: caf\u{e9}\r\nX-Empty:\r\nX-Blank:  \t \r\n\r\n{GET}\r\n",
        &[200, 200],
    ),
    ("{GET}Connection: close\r\n\r\n{GET}\r\n", &[200]),
    // A refusal whose body was not read ends the connection: its bytes are no request.
    (
        "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nContent-Length: {LEN}\r\n\r\n{GET}\r\n{GET}\r\n",
        &[401],
    ),
    (
        "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{GET}\r\n",
        &[401],
    ),
    (
        "GET /public/v0.2/acme/projects HTTP/1.1\r\nHost: gw\r\nContent-Length: {LEN}\r\n\r\n{GET}\r\n",
        &[401],
    ),
    (
        "OPTIONS / HTTP/1.1\r\n{H}Content-Length: {LEN}\r\n\r\n{GET}\r\n",
        &[404],
    ),
    (
        "HEAD / HTTP/1.1\r\n{H}Content-Length: {LEN}\r\n\r\n{GET}\r\n",
        &[404],
    ),
    (
        "DELETE /apps HTTP/1.1\r\n{H}Content-Length: {LEN}\r\n\r\n{GET}\r\n",
        &[404],
    ),
    // Good, then bad: the good one is answered first, the bad one ends it.
    ("{GET}\r\nGET / HTTP/1.1\r\n\r\n{GET}\r\n", &[200, 400]),
    ("{GET}\r\nGARBAGE\r\n\r\n{GET}\r\n", &[200, 400]),
    (
        "{EXPORT}Content-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0{EXPORT}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        &[200, 400],
    ),
    (
        "{EXPORT}Content-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0X{GET}\r\n",
        &[200, 400],
    ),
    (
        "{EXPORT}Content-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0\r\n{GET}\r\n",
        &[200, 400],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_belongs_to_its_request() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    let length = ground.fill("{GET}\r\n").len().to_string();
    for (text, expected) in SEQUENCES {
        let sent = format!(
            "{}{}",
            ground.fill(&text.replace("{LEN}", &length)),
            ground.good()
        );
        // One answer more if the sequence leaves the connection open.
        for pieces in [1, 7, sent.len() / 40] {
            let size = sent.len().div_ceil(pieces);
            let pieces: Vec<&[u8]> = sent.as_bytes().chunks(size).collect();
            let talk = wire::talk_in_pieces(ground.plain(), &pieces).await;
            let head = text.starts_with("HEAD");
            let statuses: Vec<u16> = match wire::replies(&talk.bytes, &[head]) {
                Ok(replies) => replies.iter().map(|reply| reply.status).collect(),
                Err(fault) => {
                    faults.push(format!("{text:?}: {fault}"));
                    continue;
                }
            };
            let open = [expected, &[200][..]].concat();
            if statuses != *expected && statuses != open || !talk.closed {
                faults.push(format!(
                    "{text:?} in {}: {statuses:?}, closed {}",
                    pieces.len(),
                    talk.closed
                ));
            }
            ground.calls(statuses.len()).await;
        }
    }
    for captured in ground.world.emulator.captured() {
        if captured.contains(b"smuggled") || captured.header("lightstep-access-token").len() != 1 {
            faults.push(format!("upstream saw {captured:?}"));
        }
        if !captured.trailers.is_empty() || !captured.complete {
            faults.push(format!("upstream saw trailers or a part: {captured:?}"));
        }
    }
    ground.alive().await;
    ground::none(&faults);
}

/// Bodies that end before they are whole. Guarantees: nothing complete reaches the backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_body_is_never_a_whole_one() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    for text in [
        "{EXPORT}Content-Length: 10\r\n\r\nhello",
        "{EXPORT}Content-Length: 10\r\n\r\n",
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0",
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "{EXPORT}Transfer-Encoding: chunked\r\n\r\n",
    ] {
        let stream = tokio::net::TcpStream::connect(ground.plain())
            .await
            .unwrap();
        let talk = wire::hang_up_after(stream, ground.fill(text).as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap_or_default();
        if !talk.closed || replies.iter().any(|reply| reply.status < 400) || replies.len() > 1 {
            faults.push(format!("{text:?}: {talk:?}"));
        }
        let records = ground.calls(1).await;
        if !matches!(
            records[0]["reason"].as_str(),
            Some("body_truncated" | "client_closed")
        ) {
            faults.push(format!("{text:?}: {}", records[0]));
        }
    }
    for captured in ground.world.emulator.captured() {
        if captured.complete {
            faults.push(format!("upstream saw {captured:?}"));
        }
    }
    ground.alive().await;
    ground::none(&faults);
}

/// A client that waits to be told gets its refusal instead of the word, and the word only when permitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_to_go_on_before_the_decision() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    for (head, expected) in [
        (
            "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nContent-Type: application/x-protobuf\r\n",
            "HTTP/1.1 401",
        ),
        (
            "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer x\r\nContent-Type: application/x-protobuf\r\n",
            "HTTP/1.1 401",
        ),
        (
            "POST /apps/platform/-/v1/traces HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {T}\r\nContent-Type: application/x-protobuf\r\n",
            "HTTP/1.1 403",
        ),
        (
            "POST /v1/nothing HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {T}\r\n",
            "HTTP/1.1 404",
        ),
        (
            "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {T}\r\n",
            "HTTP/1.1 415",
        ),
        ("{EXPORT}", "HTTP/1.1 100"),
    ] {
        let text = ground.fill(&format!(
            "{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        ));
        let first = wire::first_bytes(ground.plain(), text.as_bytes(), expected.len()).await;
        if first != expected {
            faults.push(format!("{head:?}: {first:?}, not {expected:?}"));
        }
        ground.calls(1).await;
    }
    ground.alive().await;
    ground::none(&faults);
}

/// Heads around their limits. Guarantees: above them 431, and what is held of them does not add up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_have_a_size() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    let cases = [
        (format!("{{GET}}X: {}\r\n\r\n", "y".repeat(50_000)), 200),
        (format!("{{GET}}X: {}\r\n\r\n", "y".repeat(70_000)), 431),
        (format!("{{GET}}X: {}", "y".repeat(1_000_000)), 431),
        (format!("{{GET}}{}\r\n", "X: y\r\n".repeat(97)), 200),
        (format!("{{GET}}{}\r\n", "X: y\r\n".repeat(200)), 431),
        (format!("{{GET}}{}\r\n", "X: y\r\n".repeat(10_000)), 431),
        (
            format!("GET /{} HTTP/1.1\r\n{{H}}\r\n", "a/".repeat(31_000)),
            431,
        ),
        (
            format!("GET /{} HTTP/1.1\r\n{{H}}\r\n", "a".repeat(40_000)),
            431,
        ),
        (
            format!("GET /{} HTTP/1.1\r\n{{H}}\r\n", "a".repeat(20_000)),
            400,
        ),
        (
            format!("GET /apps?{} HTTP/1.1\r\n{{H}}\r\n", "a=b&".repeat(5_000)),
            400,
        ),
        (
            format!("{} / HTTP/1.1\r\n{{H}}\r\n", "A".repeat(30_000)),
            400,
        ),
        ("A".repeat(200_000), 431),
        (format!("{{GET}}{}: y\r\n\r\n", "n".repeat(60_000)), 200),
    ];
    for (text, expected) in cases {
        let shown: String = text.chars().take(60).collect();
        let sent = format!("{}{}", ground.fill(&text), ground.good());
        let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap_or_default();
        if !talk.closed || replies.first().map(|reply| reply.status) != Some(expected) {
            faults.push(format!(
                "{shown}: {:?} not {expected}, closed {}",
                replies.first(),
                talk.closed
            ));
        }
        ground.calls(replies.len()).await;
    }
    ground.nothing_upstream("large heads");
    ground.alive().await;
    ground::none(&faults);
}

/// Scenario: offers to go on in another protocol, as Java's client and proxies make them, with a second request behind
/// each. Guarantees: the offer is ignored (RFC 9110 section 7.8): both requests are answered over HTTP/1.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_to_upgrade_are_ignored() {
    let mut ground = Ground::new().await;
    let settings = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    for offer in [
        "Connection: upgrade\r\n".to_owned(),
        "Upgrade: h2c\r\n".to_owned(),
        "Upgrade: websocket\r\nConnection: Upgrade\r\n".to_owned(),
        "UPGRADE: TLS/1.0\r\nConnection: upgrade\r\n".to_owned(),
        format!("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n{settings}"),
        settings.to_owned(),
    ] {
        let (get, good) = (ground.fill("{GET}"), ground.good());
        let sent = format!("{get}{offer}\r\n{good}");
        let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap();
        assert_eq!(
            replies.iter().map(|reply| reply.status).collect::<Vec<_>>(),
            [200, 200],
            "{offer}"
        );
        assert!(
            replies
                .iter()
                .all(|reply| reply.header("upgrade").is_none()),
            "{offer}"
        );
        assert!(talk.bytes.starts_with(b"HTTP/1.1 200"), "{offer}");
        ground.calls(2).await;
    }
    let sample = testkit::Sample::traces("checkout", 1).protobuf();
    let head = ground.fill("{EXPORT}Upgrade: h2c\r\nConnection: Upgrade, close\r\n");
    let sent = [
        format!("{head}Content-Length: {}\r\n\r\n", sample.len()).as_bytes(),
        &sample,
    ]
    .concat();
    let talk = wire::talk(ground.plain(), &sent).await;
    assert!(
        talk.bytes.starts_with(b"HTTP/1.1 200"),
        "{}",
        talk.bytes.escape_ascii()
    );
    let captured = ground.world.emulator.captured();
    assert!(
        captured
            .iter()
            .all(|captured| captured.header("upgrade").is_empty())
    );
    assert!(
        captured
            .iter()
            .all(|captured| captured.header("connection").is_empty())
    );
    assert_eq!(captured.len(), 1);
    ground.alive().await;
}
