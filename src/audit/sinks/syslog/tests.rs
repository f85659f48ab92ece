//! Messages as RFC 5424 has them. What it refuses to know: the network.

use bytes::Bytes;

use super::*;
use crate::egress::Egress;

fn form(instance: &str, app_name: &str, facility: u8) -> SyslogForm {
    let settings = SyslogSinkSettings {
        host: "127.0.0.1".to_owned(),
        port: 6514,
        tls: None,
        facility,
        app_name: app_name.to_owned(),
        egress: Egress::Direct,
    };
    SyslogForm::new(&settings, instance)
}

fn message(form: &SyslogForm, entry: &SinkEntry) -> String {
    let mut out = Vec::new();
    form.write(entry, &mut out);
    let text = String::from_utf8(out).unwrap();
    let (length, message) = text.split_once(' ').unwrap();
    assert_eq!(length.parse(), Ok(message.len()), "{text}");
    message.to_owned()
}

fn record(line: &str) -> SinkEntry {
    SinkEntry::Record {
        seq: 7,
        line: Bytes::copy_from_slice(line.as_bytes()),
    }
}

/// Scenario: records with all that a caller may have chosen, an over-long one, a checkpoint. Guarantees: each message is one of
/// RFC 5424 with its length in octets before it; the line is its last part, byte for byte, without a mark of byte order;
/// nothing in it ends a field early.
#[test]
fn a_message_is_one_of_rfc_5424() {
    let pid = std::process::id();
    let plain = form("gw-1", "lightkeeper", 13);
    let head = "2026-11-30T16:00:00.250Z gw-1 lightkeeper";
    let time = "\"time\":\"2026-11-30T16:00:00.250Z\"";
    let long = "x".repeat(70_000);
    for (name, line, expected) in [
        (
            "a call",
            format!(
                "{{\"seq\":7,{time},\"request_id\":\"r-7\",\"event\":\"call\",\"decision\":\"allow\",\"reason\":\"ok\"}}"
            ),
            format!(
                "<110>1 {head} {pid} call [lightkeeper@32473 seq=\"7\" requestId=\"r-7\" reason=\"ok\"] "
            ),
        ),
        (
            "a denial, with text beyond ASCII",
            format!(
                "{{\"seq\":7,{time},\"request_id\":\"r\",\"event\":\"call\",\"app\":\"\u{1f511}\",\"decision\":\"deny\",\"reason\":\"no\"}}"
            ),
            format!(
                "<109>1 {head} {pid} call [lightkeeper@32473 seq=\"7\" requestId=\"r\" reason=\"no\"] "
            ),
        ),
        (
            "what would end a field or a message",
            format!(
                "{{\"seq\":7,{time},\"request_id\":\"a]\\\"\\\\b\\n\\u0000c\\u00e9\",\"event\":\"c a]l\\u007f\",\"reason\":\"\"}}"
            ),
            format!(
                "<110>1 {head} {pid} c_a]l_ [lightkeeper@32473 seq=\"7\" requestId=\"a\\]\\\"\\\\b__c\u{e9}\"] "
            ),
        ),
        (
            "no time, no event",
            "{\"seq\":7,\"time\":\"yesterday\"}".to_owned(),
            format!("<110>1 - gw-1 lightkeeper {pid} - [lightkeeper@32473 seq=\"7\"] "),
        ),
        (
            "no record",
            "\u{feff}no record".to_owned(),
            format!("<110>1 - gw-1 lightkeeper {pid} - [lightkeeper@32473 seq=\"7\"] "),
        ),
        (
            "over-long",
            format!(
                "{{\"seq\":7,{time},\"request_id\":\"{long}\",\"event\":\"{long}\",\"reason\":\"{long}\"}}"
            ),
            format!(
                "<110>1 {head} {pid} {} [lightkeeper@32473 seq=\"7\" requestId=\"{}\" reason=\"{}\"] ",
                "x".repeat(32),
                "x".repeat(256),
                "x".repeat(256)
            ),
        ),
    ] {
        assert_eq!(message(&plain, &record(&line)), expected + &line, "{name}");
    }
}

/// Scenario: names that are too long or hold what a header cannot, and facilities at their ends. Guarantees: the header stays one.
#[test]
fn a_header_stays_a_header() {
    let pid = std::process::id();
    let line = "{\"seq\":7}";
    for (instance, app_name, facility, expected) in [
        ("gw 1", "a b", 0, format!("<6>1 - gw_1 a_b {pid}")),
        ("", "", 23, format!("<190>1 - - - {pid}")),
        ("\u{e9}\n", "x", 200, format!("<190>1 - __ x {pid}")),
    ] {
        let made = message(&form(instance, app_name, facility), &record(line));
        let expected = format!("{expected} - [lightkeeper@32473 seq=\"7\"] {line}");
        assert_eq!(made, expected);
    }
    let long = "y".repeat(300);
    let made = message(&form(&long, &long, 1), &record(line));
    let fields: Vec<&str> = made.split(' ').collect();
    assert_eq!((fields[2].len(), fields[3].len()), (255, 48));
}

/// Scenario: a checkpoint, which has lines. Guarantees: it is one line of JSON that holds the note whole.
#[test]
fn a_checkpoint_is_one_line() {
    let note = "acme/gw-1\n8\nroot\n\n\u{2014} acme/gw-1 sig\n";
    let entry = SinkEntry::Checkpoint {
        size: 8,
        note: Bytes::copy_from_slice(note.as_bytes()),
    };
    let made = message(&form("gw-1", "lk", 13), &entry);
    let (head, line) = made.split_once("] ").unwrap();
    assert!(
        head.ends_with("checkpoint [lightkeeper@32473 size=\"8\""),
        "{head}"
    );
    assert!(!line.contains('\n'), "{line}");
    let read: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        read,
        serde_json::json!({ "event": "checkpoint", "size": 8, "note": note })
    );
}
