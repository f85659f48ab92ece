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
        match fields.iter_mut().find(|(known, _)| known == name && !more.contains(&name)) {
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
    (&[(":method", "GET"), (":method", "GET")], "reset 1|goaway 1", ""),
    (&[(":path", "/apps"), (":path", "/apps")], "reset 1|goaway 1", ""),
    (&[(":authority", "gw"), (":authority", "evil")], "reset 1|goaway 1", ""),
    (&[(":status", "200")], "reset 1", ""),
    (&[(":protocol", "websocket")], "reset 1", ""),
    (&[(":unknown", "x")], "reset 1|goaway 1", ""),
    (&[(":authority", "{none}"), ("x", "y"), (":authority", "gw")], "reset 1|goaway 1", ""),
    (&[(":method", "CONNECT"), (":scheme", "{none}"), (":path", "{none}")], "400", "method_unknown"),
    (&[(":method", "CONNECT"), (":protocol", "websocket")], "reset 1", ""),
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
    (&[(":authority", "gw:notaport")], "400|reset 1", "malformed_host|"),
    (&[(":authority", "gw:99999")], "400|reset 1", "malformed_host|"),
    (&[(":authority", "gw/evil")], "400|reset 1", "malformed_host|"),
    (&[(":authority", "gw evil")], "400|reset 1", "malformed_host|"),
    (&[(":authority", "gw,evil")], "400|reset 1", "malformed_host|"),
    (&[(":authority", "[::1")], "400|reset 1", "malformed_host|"),
    (&[("host", "evil")], "400", "malformed_host|"),
    (&[("host", "gw:80")], "400", "malformed_host|"),
    (&[("host", "gw"), ("host", "gw")], "400", "malformed_host|"),
    (&[("host", "gw"), ("host", "evil")], "400", "malformed_host|"),
    (&[(":authority", "{none}"), ("host", "gw@evil")], "400", "malformed_host|"),
    // paths
    (&[(":path", "*")], "400", "malformed_target|"),
    (&[(":method", "OPTIONS"), (":path", "*")], "400", "malformed_target|"),
    (&[(":path", "apps")], "reset 1|400", "malformed_target|"),
    (&[(":path", "http://gw/apps")], "reset 1|400", "malformed_target|"),
    (&[(":path", "evil:443")], "reset 1|400", "malformed_target|"),
    (&[(":path", "//evil/apps")], "400", "ambiguous_path|"),
    (&[(":path", "//")], "400", "ambiguous_path|"),
    (&[(":path", "/apps/")], "400", "ambiguous_path"),
    (&[(":path", "/apps/./shop")], "400", "ambiguous_path"),
    (&[(":path", "/apps/shop/../platform")], "400", "ambiguous_path"),
    (&[(":path", "/apps/%2e%2e/platform")], "400", "ambiguous_path"),
    (&[(":path", "/apps%2fshop")], "400", "ambiguous_path"),
    (&[(":path", "/apps%5cshop")], "400", "ambiguous_path"),
    (&[(":path", "/apps\\shop")], "400|reset 1", "ambiguous_path|"),
    (&[(":path", "/apps/%252e")], "400", "ambiguous_path"),
    (&[(":path", "/apps;x")], "400", "ambiguous_path"),
    (&[(":path", "/apps%00")], "400", "ambiguous_path"),
    (&[(":path", "/apps\0")], "reset 1", ""),
    (&[(":path", "/apps x")], "reset 1", ""),
    (&[(":path", "/apps\r\nx: y")], "reset 1", ""),
    (&[(":path", "/caf\u{e9}")], "400|reset 1", "ambiguous_path|"),
    (&[(":path", "/apps?access_token=x")], "400", "conflicting_credentials"),
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
    (&[("x", "a\u{1b}b")], "reset 1|goaway 1|400", "malformed_header|"),
    (&[("x", "a\u{7f}b")], "reset 1|goaway 1|400", "malformed_header|"),
    (&[("x", " a")], "400", "malformed_header"),
    (&[("x", "a ")], "400", "malformed_header"),
    (&[("x", "\ta")], "400", "malformed_header"),
    (&[("authorization", " Bearer {A}")], "400", "malformed_header"),
    (&[("lightstep_access_token", "evil")], "400", "malformed_header"),
    (&[("lightkeeper_app", "shop")], "400", "malformed_header"),
    (&[("connection", "close")], "reset 1|400", ""),
    (&[("connection", "lightstep-access-token")], "reset 1|400", ""),
    (&[("connection", "authorization")], "reset 1|400", ""),
    (&[("keep-alive", "x")], "reset 1|400", ""),
    (&[("proxy-connection", "x")], "reset 1|400", ""),
    (&[("transfer-encoding", "chunked")], "reset 1|400", ""),
    (&[("upgrade", "h2c")], "reset 1|400", ""),
    (&[("upgrade", "websocket")], "reset 1|400", ""),
    (&[("http2-settings", "AAMAAABkAAQAAP__")], "400", "upgrade_refused"),
    (&[("te", "gzip")], "reset 1|400", ""),
    (&[("te", "trailers, gzip")], "reset 1|400", ""),
    (&[("te", "trailers"), ("te", "trailers")], "reset 1|400", "conflicting_headers|"),
    (&[("expect", "bogus")], "400", "expectation_unknown"),
    (&[("content-length", "5")], "reset 1", ""),
    (&[("content-length", "+0")], "reset 1", ""),
    (&[("content-length", "-1")], "reset 1", ""),
    (&[("content-length", "0, 0")], "reset 1|400", "conflicting_headers|"),
    (&[("content-length", "0"), ("content-length", "0")], "reset 1|400", "conflicting_headers|"),
    (&[("content-length", "0"), ("content-length", "5")], "reset 1", ""),
    (&[("authorization", "Bearer {A}"), ("authorization", "Bearer {T}")], "400", "conflicting_credentials"),
    (&[("authorization", "Bearer {A}"), ("authorization", "Bearer {A}")], "400", "conflicting_credentials"),
    (&[("lightstep-access-token", "{T}")], "400", "conflicting_credentials"),
    (&[("content-type", "a/b"), ("content-type", "a/b")], "400", "conflicting_headers"),
    (&[("lightkeeper-app", "shop"), ("lightkeeper-app", "platform")], "400", "conflicting_headers"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lists_are_strict() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    for (changes, expected, reason) in CASES {
        let fields: Vec<_> =
            changed(changes).iter().map(|(name, value)| (name.to_string(), ground.fill(value))).collect();
        let mut line = Line::open(ground.plain()).await;
        line.request(1, &fields, None).await;
        let end = line.end_of(1, Duration::from_secs(5)).await.to_string();
        if !expected.split('|').any(|word| word == end) {
            faults.push(format!("{changes:?}: {end}, not {expected}"));
        }
        let records = ground.records_of_all(1).await;
        let found = records.first().map(|record| record["reason"].as_str().unwrap_or_default().to_owned());
        let fits = match &found {
            Some(found) if found.starts_with("http2_") => reason.is_empty() || reason.ends_with('|'),
            Some(found) => reason.trim_end_matches('|') == found || reason.is_empty(),
            None => false,
        };
        if !fits || records.len() != 1 {
            faults.push(format!("{changes:?}: {end} is recorded as {records:?}, not {reason:?}"));
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
    let good: Vec<_> = GET.iter().map(|(name, value)| (*name, ground.fill(value))).collect();
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
    assert_eq!(line.statuses[0].1, Some(400));
    ground.calls(6).await;
    ground.alive().await;
}
