//! Scenario: HTTP/2 header lists that no honest client sends. Guarantees: each is answered with its status or
//! ends its stream (or, where RFC 9113 asks for it, the connection), leaves a record, and reaches no backend.

use std::time::Duration;

use super::frames::{self, Line};
use super::ground::{self, Ground};

type Field = (&'static str, &'static str);

const GET: [Field; 5] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "gw"),
    (":path", "/.lightkeeper/whoami"),
    ("authorization", "Bearer {A}"),
];

/// Takes fields of `GET` away by name and puts others in their place, or at the end.
fn changed(changes: &[Field]) -> Vec<Field> {
    let mut fields: Vec<Field> = GET.to_vec();
    let mut more = Vec::new();
    for (name, value) in changes {
        match fields
            .iter_mut()
            .find(|(known, _)| known == name && !more.contains(&name))
        {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
        more.push(name);
    }
    fields.retain(|(_, value)| *value != "{none}");
    fields
}

/// What is changed, how it may end (words of `End`, parted by `|`), and the record's reason; empty: the
/// framework refuses it, and what is recorded is the frame that says so.
type Case = (&'static [Field], &'static str, &'static str);

const CASES: &[Case] = &[
    // pseudo-header fields
    (&[(":method", "{none}")], "reset 1", ""),
    (&[(":path", "{none}")], "reset 1|400", ""),
    (&[(":scheme", "{none}")], "reset 1", ""),
    (&[(":path", "")], "reset 1", ""),
    (
        &[(":method", "GET"), (":method", "GET")],
        "reset 1|goaway 1",
        "",
    ),
    (
        &[(":path", "/apps"), (":path", "/apps")],
        "reset 1|goaway 1",
        "",
    ),
    (
        &[(":authority", "gw"), (":authority", "evil")],
        "reset 1|goaway 1",
        "",
    ),
    (&[(":status", "200")], "reset 1", ""),
    (&[(":protocol", "websocket")], "reset 1", ""),
    (&[(":unknown", "x")], "reset 1|goaway 1", ""),
    (
        &[(":authority", "{none}"), ("x", "y"), (":authority", "gw")],
        "reset 1|goaway 1",
        "",
    ),
    (
        &[
            (":method", "CONNECT"),
            (":scheme", "{none}"),
            (":path", "{none}"),
        ],
        "400",
        "method_unknown",
    ),
    (
        &[(":method", "CONNECT"), (":protocol", "websocket")],
        "reset 1",
        "",
    ),
    (&[(":method", "TRACE")], "400", "method_unknown"),
    (&[(":method", "get")], "400", "method_unknown"),
    (&[(":method", "PRI")], "400", "method_unknown"),
    (&[(":method", "G ET")], "reset 1|goaway 1", ""),
    (&[(":method", "")], "reset 1|goaway 1", ""),
    (&[(":method", "GET\0")], "reset 1|goaway 1", ""),
    (&[(":scheme", "ftp")], "400", "malformed_target"),
    (&[(":scheme", "h2c")], "400", "malformed_target"),
    (&[(":scheme", "javascript")], "400", "malformed_target"),
    (&[(":scheme", "http ")], "reset 1", ""),
    (&[(":scheme", "")], "reset 1|400", "malformed_target|"),
    // authorities
    (&[(":authority", "{none}")], "400", "malformed_host|"),
    (&[(":authority", "")], "reset 1|400", ""),
    (&[(":authority", "user@gw")], "400", "malformed_host|"),
    (
        &[(":authority", "gw:notaport")],
        "400|reset 1",
        "malformed_host|",
    ),
    (
        &[(":authority", "gw:99999")],
        "400|reset 1",
        "malformed_host|",
    ),
    (
        &[(":authority", "gw/evil")],
        "400|reset 1",
        "malformed_host|",
    ),
    (
        &[(":authority", "gw evil")],
        "400|reset 1",
        "malformed_host|",
    ),
    (
        &[(":authority", "gw,evil")],
        "400|reset 1",
        "malformed_host|",
    ),
    (&[(":authority", "[::1")], "400|reset 1", "malformed_host|"),
    (&[("host", "evil")], "400", "malformed_host|"),
    (&[("host", "gw:80")], "400", "malformed_host|"),
    (&[("host", "gw"), ("host", "gw")], "400", "malformed_host|"),
    (
        &[("host", "gw"), ("host", "evil")],
        "400",
        "malformed_host|",
    ),
    (
        &[(":authority", "{none}"), ("host", "gw@evil")],
        "400",
        "malformed_host|",
    ),
    // paths
    (&[(":path", "*")], "400", "malformed_target|"),
    (
        &[(":method", "OPTIONS"), (":path", "*")],
        "400",
        "malformed_target|",
    ),
    (&[(":path", "apps")], "reset 1|400", "malformed_target|"),
    (
        &[(":path", "http://gw/apps")],
        "reset 1|400",
        "malformed_target|",
    ),
    (&[(":path", "evil:443")], "reset 1|400", "malformed_target|"),
    (&[(":path", "//evil/apps")], "400", "ambiguous_path|"),
    (&[(":path", "//")], "400", "ambiguous_path|"),
    (&[(":path", "/apps/")], "400", "ambiguous_path"),
    (&[(":path", "/apps/./shop")], "400", "ambiguous_path"),
    (
        &[(":path", "/apps/shop/../platform")],
        "400",
        "ambiguous_path",
    ),
    (
        &[(":path", "/apps/%2e%2e/platform")],
        "400",
        "ambiguous_path",
    ),
    (&[(":path", "/apps%2fshop")], "400", "ambiguous_path"),
    (&[(":path", "/apps%5cshop")], "400", "ambiguous_path"),
    (
        &[(":path", "/apps\\shop")],
        "400|reset 1",
        "ambiguous_path|",
    ),
    (&[(":path", "/apps/%252e")], "400", "ambiguous_path"),
    (&[(":path", "/apps;x")], "400", "ambiguous_path"),
    (&[(":path", "/apps%00")], "400", "ambiguous_path"),
    (&[(":path", "/apps\0")], "reset 1", ""),
    (&[(":path", "/apps x")], "reset 1", ""),
    (&[(":path", "/apps\r\nx: y")], "reset 1", ""),
    (&[(":path", "/caf\u{e9}")], "400|reset 1", "ambiguous_path|"),
    (&[(":path", "/apps#")], "400", "malformed_target"),
    (
        &[(":path", "/apps#/../../platform")],
        "400",
        "malformed_target",
    ),
    (&[(":path", "/apps?depth=all#x")], "400", "malformed_target"),
    (&[(":path", "#")], "400|reset 1", "malformed_target|"),
    (
        &[(":path", "/#"), ("lightkeeper-refused", "")],
        "400",
        "malformed_target",
    ),
    (
        &[("lightkeeper-refused", "target")],
        "400",
        "malformed_target",
    ),
    (
        &[(":authority", "gw#x")],
        "400|reset 1",
        "malformed_target|",
    ),
    (
        &[(":path", "/apps?access_token=x")],
        "400",
        "conflicting_credentials",
    ),
    // fields
    (&[("X-Upper", "a")], "reset 1|goaway 1", ""),
    (&[("Authorization", "Bearer x")], "reset 1|goaway 1", ""),
    (&[("x y", "a")], "reset 1|goaway 1", ""),
    (&[("x:y", "a")], "reset 1|goaway 1", ""),
    (&[("", "a")], "reset 1|goaway 1", ""),
    (&[("x\0y", "a")], "reset 1|goaway 1", ""),
    (&[("x\r\ny", "a")], "reset 1|goaway 1", ""),
    (&[("caf\u{e9}", "a")], "reset 1|goaway 1", ""),
    (&[("x", "a\0b")], "reset 1|goaway 1", ""),
    (&[("x", "a\rb")], "reset 1|goaway 1", ""),
    (&[("x", "a\r\nb: c")], "reset 1|goaway 1", ""),
    (
        &[("x", "a\u{1b}b")],
        "reset 1|goaway 1|400",
        "malformed_header|",
    ),
    (
        &[("x", "a\u{7f}b")],
        "reset 1|goaway 1|400",
        "malformed_header|",
    ),
    (&[("x", " a")], "400", "malformed_header"),
    (&[("x", "a ")], "400", "malformed_header"),
    (&[("x", "\ta")], "400", "malformed_header"),
    (
        &[("authorization", " Bearer {A}")],
        "400",
        "malformed_header",
    ),
    (
        &[("lightstep_access_token", "evil")],
        "400",
        "malformed_header",
    ),
    (&[("lightkeeper_app", "shop")], "400", "malformed_header"),
    (&[("connection", "close")], "reset 1|400", ""),
    (
        &[("connection", "lightstep-access-token")],
        "reset 1|400",
        "",
    ),
    (&[("connection", "authorization")], "reset 1|400", ""),
    (&[("keep-alive", "x")], "reset 1|400", ""),
    (&[("proxy-connection", "x")], "reset 1|400", ""),
    (&[("transfer-encoding", "chunked")], "reset 1|400", ""),
    (&[("upgrade", "h2c")], "reset 1|400", ""),
    (&[("upgrade", "websocket")], "reset 1|400", ""),
    (
        &[("http2-settings", "AAMAAABkAAQAAP__")],
        "400",
        "upgrade_refused",
    ),
    (&[("te", "gzip")], "reset 1|400", ""),
    (&[("te", "trailers, gzip")], "reset 1|400", ""),
    (
        &[("te", "trailers"), ("te", "trailers")],
        "reset 1|400",
        "conflicting_headers|",
    ),
    (&[("expect", "bogus")], "400", "expectation_unknown"),
    (&[("content-length", "5")], "reset 1", ""),
    (&[("content-length", "+0")], "reset 1", ""),
    (&[("content-length", "-1")], "reset 1", ""),
    (
        &[("content-length", "0, 0")],
        "reset 1|400",
        "conflicting_headers|",
    ),
    (
        &[("content-length", "0"), ("content-length", "0")],
        "reset 1|400",
        "conflicting_headers|",
    ),
    (
        &[("content-length", "0"), ("content-length", "5")],
        "reset 1",
        "",
    ),
    (
        &[
            ("authorization", "Bearer {A}"),
            ("authorization", "Bearer {T}"),
        ],
        "400",
        "conflicting_credentials",
    ),
    (
        &[("lightstep-access-token", "{T}")],
        "400",
        "conflicting_credentials",
    ),
    (
        &[("content-type", "a/b"), ("content-type", "a/b")],
        "400",
        "conflicting_headers",
    ),
    (
        &[("lightkeeper-app", "shop"), ("lightkeeper-app", "platform")],
        "400",
        "conflicting_headers",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lists_are_strict() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    for (changes, expected, reason) in CASES {
        let fields: Vec<_> = changed(changes)
            .iter()
            .map(|(name, value)| (name.to_string(), ground.fill(value)))
            .collect();
        let mut line = Line::open(ground.plain()).await;
        line.request(1, &fields, None).await;
        let end = line.end_of(1, Duration::from_secs(5)).await.to_string();
        if !expected.split('|').any(|word| word == end) {
            faults.push(format!("{changes:?}: {end}, not {expected}"));
        }
        let records = ground.records_of_all(1).await;
        let found = records
            .first()
            .map(|record| record["reason"].as_str().unwrap_or_default().to_owned());
        let fits = match &found {
            Some(found) if found.starts_with("http2_") => {
                reason.is_empty() || reason.ends_with('|')
            }
            Some(found) => reason.trim_end_matches('|') == found || reason.is_empty(),
            None => false,
        };
        if !fits || records.len() != 1 {
            faults.push(format!(
                "{changes:?}: {end} is recorded as {records:?}, not {reason:?}"
            ));
        }
    }
    // What no frame can say of the refusal.
    ground.nothing_upstream("header lists");
    ground.alive().await;
    ground::none(&faults);
}

/// A connection whose stream was refused goes on serving its other streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_takes_no_other_with_it() {
    let mut ground = Ground::new().await;
    let mut line = Line::open(ground.plain()).await;
    let good: Vec<_> = GET
        .iter()
        .map(|(name, value)| (*name, ground.fill(value)))
        .collect();
    let mut bad = good.clone();
    bad[3].1 = "//evil".to_owned();
    for id in [1, 5, 9] {
        line.request(id, &bad, None).await;
        line.request(id + 2, &good, None).await;
    }
    for id in [1_u32, 3, 5, 7, 9, 11] {
        let end = line.end_of(id, Duration::from_secs(5)).await;
        assert!(matches!(end, frames::End::Status(_)), "{id}: {end}");
    }
    assert!(line.statuses.contains(&(1, Some(400))) && line.statuses.contains(&(3, Some(200))));
    ground.calls(6).await;
    ground.alive().await;
}

/// A header block for `GET` with these bytes in the place of its path.
fn with_path(ground: &Ground, path: &[u8]) -> Vec<u8> {
    let fill = |fields: &[Field]| {
        frames::block(
            &fields
                .iter()
                .map(|(name, value)| (*name, ground.fill(value)))
                .collect::<Vec<_>>(),
        )
    };
    [&fill(&GET[..3]), path, &fill(&GET[4..])].concat()
}

/// Scenario: a target with a `#`, in every form that HPACK has for it, among good ones on one connection. Guarantees: what
/// is cut off is refused and recorded, the others are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_target_loses_is_refused() {
    const WHOAMI: &[u8] = b"/.lightkeeper/whoami";
    let mut ground = Ground::new().await;
    let mut line = Line::open(ground.plain()).await;
    let literal =
        |first: &[u8], value: &[u8]| [first, &[u8::try_from(value.len()).unwrap()], value].concat();
    let cut = [WHOAMI, b"#/../../x"].concat();
    let blocks = [
        (literal(b"\x04", WHOAMI), 200),
        (literal(b"\x04", &cut), 400),
        (literal(b"\x14", &cut), 400),
        (literal(b"\x00\x05:path", &cut), 400),
        // Into the table, out of it, and under another name behind it.
        (literal(b"\x44", &cut), 400),
        (b"\xbe".to_vec(), 400),
        (literal(b"\x44", WHOAMI), 200),
        (b"\xbe".to_vec(), 200),
        (b"\xbf".to_vec(), 400),
        (literal(b"\x7e", WHOAMI), 200),
        // `/#` in Huffman code.
        (b"\x04\x83\x63\xfe\xbf".to_vec(), 400),
        (b"\xbe".to_vec(), 200),
    ];
    let mut id = 1;
    for (path, status) in &blocks {
        let block = with_path(&ground, path);
        // Whole, and broken in the middle of the target.
        for at in [block.len(), 40, 45] {
            let (first, second) = block.split_at(at);
            let mut bytes = Vec::new();
            if second.is_empty() {
                bytes.extend(frames::frame(
                    frames::HEADERS,
                    frames::END_HEADERS | frames::END_STREAM,
                    id,
                    first,
                ));
            } else {
                bytes.extend(frames::frame(
                    frames::HEADERS,
                    frames::END_STREAM,
                    id,
                    first,
                ));
                bytes.extend(frames::frame(
                    frames::CONTINUATION,
                    frames::END_HEADERS,
                    id,
                    second,
                ));
            }
            let is_reused = path.starts_with(b"\xbe") || path.starts_with(b"\xbf");
            // What changes the table is sent once.
            if !second.is_empty() && (path[0] & 0x40 != 0 || is_reused) {
                continue;
            }
            line.send(&bytes).await;
            let end = line.end_of(id, Duration::from_secs(5)).await;
            assert_eq!(
                end,
                frames::End::Status(*status),
                "{}, broken at {at}",
                path.escape_ascii()
            );
            let records = ground.calls(1).await;
            let reason = if *status == 200 {
                "ok"
            } else {
                "malformed_target"
            };
            assert_eq!(records[0]["reason"], reason, "{}", path.escape_ascii());
            id += 2;
        }
    }
    ground.alive().await;
}

/// Scenario: trailers behind an export's body, with and without pseudo-header fields; a block that cannot be followed; and a
/// frame larger than frames may be. Guarantees: RFC 9113 sections 8.1 and 4.2: the stream, or the connection, ends for it,
/// which is recorded, and nothing goes upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_and_frames_are_held_to_the_rfc() {
    let mut ground = Ground::new().await;
    let fields: Vec<(&str, String)> = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", "/v1/traces"),
        ("authorization", "Bearer {T}"),
        ("content-type", "application/x-protobuf"),
    ]
    .iter()
    .map(|(name, value)| (*name, ground.fill(value)))
    .collect();
    let body = testkit::Sample::traces("checkout", 1).protobuf();
    let mut line = Line::open(ground.plain()).await;
    let trailers: [(&[Field], Option<u16>); 5] = [
        (&[("x", "y")], Some(200)),
        (&[(":path", "/v1/metrics")], None),
        (&[("x", "y"), (":method", "GET")], None),
        (&[(":status", "200")], None),
        (&[("x", "#")], Some(200)),
    ];
    let mut id = 1;
    for (trailers, status) in trailers {
        let before = ground.world.emulator.heads();
        line.send(
            &[
                frames::frame(
                    frames::HEADERS,
                    frames::END_HEADERS,
                    id,
                    &frames::block(&fields),
                ),
                frames::frame(frames::DATA, 0, id, &body),
                frames::frame(
                    frames::HEADERS,
                    frames::END_HEADERS | frames::END_STREAM,
                    id,
                    &frames::block(trailers),
                ),
            ]
            .concat(),
        )
        .await;
        let end = line.end_of(id, Duration::from_secs(5)).await;
        let expected = status.map_or(frames::End::Reset(1), frames::End::Status);
        assert_eq!(end, expected, "{trailers:?}");
        assert_eq!(
            ground.world.emulator.heads() - before,
            u64::from(status.is_some()),
            "{trailers:?}"
        );
        id += 2;
    }
    drop(line);
    let told = ground.records(2, "stream_refused").await;
    let told: Vec<_> = told
        .iter()
        .map(|record| (record["reason"].as_str(), record["detail"].as_str()))
        .collect();
    let reason = Some("http2_protocol_error");
    assert_eq!(
        told,
        [(reason, None), (reason, Some("3 on this connection"))]
    );
    // A stream that depends on itself is refused unread: what it put into the table is not known to both sides.
    let mut line = Line::open(ground.plain()).await;
    let priority = [
        &1_u32.to_be_bytes()[..],
        &[16],
        &with_path(&ground, b"\x44\x05/apps"),
    ]
    .concat();
    let flags = frames::END_HEADERS | frames::END_STREAM;
    line.send(&frames::frame(frames::HEADERS, flags | 0x20, 1, &priority))
        .await;
    assert_eq!(
        line.end_of(1, Duration::from_secs(5)).await,
        frames::End::Reset(1)
    );
    line.send(&frames::frame(
        frames::HEADERS,
        flags,
        3,
        &with_path(&ground, b"\x84"),
    ))
    .await;
    let end = line.end_of(3, Duration::from_secs(5)).await;
    assert!(
        matches!(end, frames::End::Reset(1) | frames::End::Closed),
        "{end}"
    );
    assert!(
        line.drain(Duration::from_secs(5)).await && line.goaway == Some(0),
        "the connection ends: {:?}",
        line.goaway
    );
    // Larger than SETTINGS_MAX_FRAME_SIZE.
    for kind in [frames::HEADERS, frames::DATA] {
        let mut line = Line::open(ground.plain()).await;
        line.until(Duration::from_secs(5), |line| !line.settings.is_empty())
            .await;
        let most = line.settings.iter().find(|(id, _)| *id == 5).unwrap().1;
        line.send(&frames::frame(
            kind,
            flags,
            1,
            &vec![0; usize::try_from(most).unwrap() + 1],
        ))
        .await;
        assert_eq!(
            line.end_of(1, Duration::from_secs(5)).await,
            frames::End::GoAway(6),
            "{kind}"
        );
    }
    ground.alive().await;
}

/// Scenario: names that are no host in `:authority`, as meshes write them, on exports over HTTP and gRPC, on queries and on
/// pages. Guarantees: they decide nothing for exports, go nowhere and are not recorded; where cookies, origins or links
/// depend on the host, and where no text may stand, they are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_no_host_is_nothing_to_an_export() {
    let mut ground = Ground::new().await;
    let message = testkit::Sample::traces("checkout", 1).protobuf();
    let framed = [
        &[0][..],
        &u32::try_from(message.len()).unwrap().to_be_bytes(),
        &message,
    ]
    .concat();
    let grpc = lightkeeper::otlp::Signal::Traces.grpc_path();
    for (authority, taken) in [
        ("otel_collector", true),
        ("outbound|4317||otel.obs.svc.cluster.local", true),
        ("outbound_.4317_._.otel.obs.svc", true),
        ("kube-svc:obs-otel-4317_obs", true),
        ("httproute/obs/otel/rule/0", true),
        ("a:b:c", true),
        ("user@gw", true),
        ("[::1", true),
        ("gw#x", false),
        ("gw x", false),
        ("gw\0|", false),
        ("caf\u{e9}|", false),
    ] {
        for (path, kind, body) in [
            (grpc, "application/grpc", &framed),
            ("/v1/traces", "application/x-protobuf", &message),
        ] {
            let mut line = Line::open(ground.plain()).await;
            let fields: Vec<(&str, String)> = vec![
                (":method", "POST".to_owned()),
                (":scheme", "http".to_owned()),
                (":authority", authority.to_owned()),
                (":path", path.to_owned()),
                ("authorization", ground.fill("Bearer {T}")),
                ("content-type", kind.to_owned()),
                ("te", "trailers".to_owned()),
            ];
            let before = ground.world.emulator.captured().len();
            line.request(1, &fields, Some(body)).await;
            let end = line.end_of(1, Duration::from_secs(5)).await;
            let captured = ground.world.emulator.captured();
            let what = format!("{authority} {path}: {end}");
            assert_eq!(captured.len() > before, taken, "{what}");
            let record = ground.records_of_all(1).await.remove(0);
            assert_eq!(record["reason"] == "ok", taken, "{what} {record}");
            let told = captured
                .iter()
                .skip(before)
                .map(|captured| format!("{:?}", captured.headers))
                .collect::<String>();
            for text in [record.to_string(), told] {
                assert!(
                    !text.contains("outbound")
                        && !text.contains("httproute")
                        && !text.contains("a!b"),
                    "{text}"
                );
            }
        }
    }
    // The same name twice: the second time it is an entry of the table.
    let mut line = Line::open(ground.plain()).await;
    let rest = |path: &str, authority: &[u8]| {
        let before: [(&str, String); 3] = [
            (":method", "POST".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", path.to_owned()),
        ];
        let behind = [
            ("authorization", ground.fill("Bearer {T}")),
            ("content-type", "application/x-protobuf".to_owned()),
        ];
        [&frames::block(&before), authority, &frames::block(&behind)].concat()
    };
    let blocks = [
        rest("/v1/traces", b"\x41\x0aoutbound|1"),
        rest("/v1/traces", b"\xbe"),
        rest("/v1/traces", b"\x41\x02gw"),
    ];
    for (number, block) in blocks.iter().enumerate() {
        let id = u32::try_from(number).unwrap() * 2 + 1;
        line.send(&frames::frame(
            frames::HEADERS,
            frames::END_HEADERS,
            id,
            block,
        ))
        .await;
        line.send(&frames::frame(
            frames::DATA,
            frames::END_STREAM,
            id,
            &message,
        ))
        .await;
        assert_eq!(
            line.end_of(id, Duration::from_secs(5)).await,
            frames::End::Status(200),
            "{number}"
        );
    }
    ground.records_of_all(3).await;
    for path in [
        "/.lightkeeper/whoami",
        "/public/v0.2/acme/projects",
        "/apps",
        "/.lightkeeper/login",
    ] {
        let mut line = Line::open(ground.plain()).await;
        let fields = changed(&[(":path", path), (":authority", "outbound|4317||otel")])
            .into_iter()
            .map(|(name, value)| (name, ground.fill(value)));
        line.request(1, &fields.collect::<Vec<_>>(), None).await;
        assert_eq!(
            line.end_of(1, Duration::from_secs(5)).await,
            frames::End::Status(400),
            "{path}"
        );
        assert_eq!(
            ground.records_of_all(1).await[0]["reason"],
            "malformed_host",
            "{path}"
        );
    }
    ground.alive().await;
}
