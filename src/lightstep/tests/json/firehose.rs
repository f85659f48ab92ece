//! Firehose requests: stamped records, exports within them, and what names them. What it refuses to know: how a text is walked.

use super::*;

/// All that stands in a request's records, decoded by prost.
fn exported(request: &[u8]) -> Vec<ExportMetricsServiceRequest> {
    let mut exports = Vec::new();
    for record in value(request)["records"].as_array().unwrap() {
        let data = STANDARD.decode(record["data"].as_str().unwrap()).unwrap();
        let mut rest = &data[..];
        while !rest.is_empty() {
            exports.push(ExportMetricsServiceRequest::decode_length_delimited(&mut rest).unwrap());
        }
    }
    exports
}

/// Scenario: a metric stream with a forged attribute, and one that the stamp replaces. Guarantees: prost finds in it
/// the stamp and the caller's other attributes, and every point; the envelope is as it was.
#[test]
fn firehose_records_are_stamped() {
    let body = firehose();
    let report = read(Format::Firehose, body.as_bytes()).unwrap();
    let out = written(
        &report,
        &[("lightkeeper.app", "shop"), ("owner", "team \"é\"")],
    );
    for export in exported(&out) {
        let group = &export.resource_metrics[0];
        let attributes = &group.resource.as_ref().unwrap().attributes;
        let names: Vec<_> = attributes.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(names, ["service.name", "lightkeeper.app", "owner"]);
        assert!(!format!("{attributes:?}").contains("forged"));
        assert_eq!(group.scope_metrics[0].metrics.len(), 1);
    }
    assert_eq!(exported(&out).len(), 2);
    let (mut before, mut after) = (value(body.as_bytes()), value(&out));
    for document in [&mut before, &mut after] {
        document["records"][0]["data"].take();
    }
    assert_eq!(before, after);
}

/// Scenario: records that are no exports, in base64 or not. Guarantees: nothing that was not read goes out.
#[test]
fn firehose_records_are_exports_or_refused() {
    let request = |data: &str| format!(r#"{{"requestId":"a","records":[{{"data":{data}}}]}}"#);
    let encoded = |bytes: &[u8]| format!("\"{}\"", STANDARD.encode(bytes));
    let good = metrics("shop", 1);
    for (data, is_good) in [
        (encoded(&good), true),
        (
            encoded(&[good.clone(), vec![0], good.clone()].concat()),
            true,
        ),
        (encoded(b"\0"), true),
        (encoded(&good).replace('/', "\\/"), true),
        (encoded(&good[..good.len() - 1]), false),
        (encoded(b"{\"metric\":1}"), false),
        (encoded(b"hello"), false),
        (encoded(b"\x80\x80\x80\x80\x80\x80"), false),
        (encoded(b"\x80"), false),
        (
            encoded(&good).replace('=', ""),
            good.len().is_multiple_of(3),
        ),
        ("\"*\"".to_owned(), false),
        ("1".to_owned(), false),
        (format!("{0},\"data\":{0}", encoded(&good)), false),
    ] {
        assert_eq!(
            read(Format::Firehose, request(&data).as_bytes()).is_ok(),
            is_good,
            "{data}"
        );
    }
    let many = [&[0x80, 0x80, 0x10][..], &b"\x0a\0".repeat(1 << 17)].concat();
    for (times, is_good) in [(1, true), (2, false)] {
        assert_eq!(
            read(
                Format::Firehose,
                request(&encoded(&many.repeat(times))).as_bytes()
            )
            .is_ok(),
            is_good
        );
    }
}

#[test]
fn firehose_names_its_request() {
    let report = read(Format::Firehose, firehose().as_bytes()).unwrap();
    assert_eq!(
        report.request_id(),
        Some("ed4acda5-034f-9f42-bba1-f29aea6d7d8f")
    );
    let long = format!(r#"{{"requestId":"{}","records":[]}}"#, "a".repeat(257));
    assert!(read(Format::Firehose, long.as_bytes()).is_err());
}
