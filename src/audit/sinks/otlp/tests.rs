//! Exports as OpenTelemetry's own messages decode them, and what answers want. What it refuses to know: the network.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;

use super::*;

fn record(seq: u64, line: &str) -> SinkEntry {
    SinkEntry::Record {
        seq,
        line: Bytes::copy_from_slice(line.as_bytes()),
    }
}

fn pairs(attributes: &[KeyValue]) -> Vec<String> {
    let shown = |value: &Option<AnyValue>| match value.as_ref().and_then(|it| it.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let each = attributes.iter();
    each.map(|pair| format!("{}={}", pair.key, shown(&pair.value)))
        .collect()
}

const DENIED: &str = "{\"seq\":7,\"time\":\"2026-11-30T16:00:00.250Z\",\"request_id\":\"r-7\",\"event\":\"call\",\"app\":\"shop/\u{e4}\\\"\",\"decision\":\"deny\",\"reason\":\"not_bound\",\"status\":403,\"bytes_in\":0}";

/// Scenario: a denied call, an event, a line that is no record, and a checkpoint, in one export. Guarantees: OpenTelemetry's own
/// messages decode it; each body is the line or note byte for byte; what can be searched by is what the line says.
#[test]
fn an_export_is_what_opentelemetry_decodes() {
    let note = "acme/gw-1\n8\nroot\n\n\u{2014} acme/gw-1 sig\n";
    let event = "{\"seq\":8,\"time\":\"2026-11-30T16:00:01.000Z\",\"request_id\":\"r-8\",\"event\":\"start\",\"reason\":\"started\"}";
    let batch = [
        record(7, DENIED),
        record(8, event),
        record(9, "no record"),
        SinkEntry::Checkpoint {
            size: 8,
            note: Bytes::copy_from_slice(note.as_bytes()),
        },
    ];
    let export = OtlpForm::new("acme", "gw-1").export(&batch);
    let decoded = ExportLogsServiceRequest::decode(&*export).unwrap();
    let [group] = &decoded.resource_logs[..] else {
        panic!("{decoded:?}");
    };
    let resource = pairs(&group.resource.as_ref().unwrap().attributes);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        resource,
        [
            "service.name=lightkeeper",
            "service.namespace=acme",
            "service.instance.id=gw-1",
            &*format!("service.version={version}"),
        ]
    );
    let [scoped] = &group.scope_logs[..] else {
        panic!("{decoded:?}");
    };
    assert_eq!(scoped.scope.as_ref().unwrap().name, "lightkeeper.audit");
    let seen = scoped.log_records.iter().map(|one| {
        let body = match one.body.as_ref().and_then(|body| body.value.as_ref()) {
            Some(Value::StringValue(text)) => text.as_str(),
            other => panic!("{other:?}"),
        };
        (
            one.event_name.as_str(),
            body,
            one.time_unix_nano,
            one.severity_number,
            pairs(&one.attributes),
        )
    });
    let seen: Vec<_> = seen.collect();
    let texts = |all: &[&str]| {
        all.iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let time = 1_796_054_400_250_000_000;
    let expected = [
        (
            "lightkeeper.audit.call",
            DENIED,
            time,
            13,
            texts(&[
                "lightkeeper.audit.seq=7",
                "lightkeeper.audit.request_id=r-7",
                "lightkeeper.audit.reason=not_bound",
                "lightkeeper.audit.decision=deny",
                "lightkeeper.audit.app=shop/\u{e4}\"",
                "http.response.status_code=403",
            ]),
        ),
        (
            "lightkeeper.audit.start",
            event,
            time + 750_000_000,
            9,
            texts(&[
                "lightkeeper.audit.seq=8",
                "lightkeeper.audit.request_id=r-8",
                "lightkeeper.audit.reason=started",
            ]),
        ),
        (
            "lightkeeper.audit.",
            "no record",
            0,
            9,
            texts(&["lightkeeper.audit.seq=9"]),
        ),
        (
            "lightkeeper.audit.checkpoint",
            note,
            0,
            9,
            texts(&["lightkeeper.audit.size=8"]),
        ),
    ];
    assert_eq!(seen, expected);
}

/// Scenario: answers as receivers and what stands before them give them. Guarantees: what was taken is not sent again, what may be
/// taken later is, and no pause is longer than the bound.
#[test]
fn an_answer_says_what_is_to_be_done() {
    let partial = |rejected: u64| {
        let said = otlp::PartialSuccess {
            rejected,
            message: "too\u{1b}old".to_owned(),
        };
        otlp::write_answer(Signal::Logs, Encoding::Protobuf, Some(&said))
    };
    let taken = |rejected| Ok(TakenBatch { rejected });
    let again = |status, after: Option<u64>| Err(("again", status, after.map(Duration::from_secs)));
    let never = |status| Err(("never", status, None));
    let now = UnixMillis(784_111_777_000);
    for (status, header, body, expected) in [
        (200, None, vec![], taken(0)),
        (204, None, vec![], taken(0)),
        (200, None, partial(3), taken(3)),
        (200, None, partial(0), taken(0)),
        (200, None, partial(99), taken(4)),
        (200, None, vec![0xff; 100], taken(0)),
        (
            200,
            Some(("content-type", "text/html; charset=utf-8")),
            b"<p>".to_vec(),
            Err(("page", 0, None)),
        ),
        (400, None, vec![], never(400)),
        (413, None, vec![], never(413)),
        (422, None, vec![], never(422)),
        (401, None, vec![], again(401, None)),
        (404, None, vec![], again(404, None)),
        (302, None, vec![], again(302, None)),
        (429, Some(("retry-after", "7")), vec![], again(429, Some(7))),
        (
            503,
            Some(("retry-after", "999999999")),
            vec![],
            again(503, Some(300)),
        ),
        (503, Some(("retry-after", "-1")), vec![], again(503, None)),
        (503, Some(("retry-after", "soon")), vec![], again(503, None)),
        (
            503,
            Some(("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")),
            vec![],
            again(503, Some(10)),
        ),
        (
            503,
            Some(("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")),
            vec![],
            again(503, Some(0)),
        ),
        (500, None, vec![], again(500, None)),
    ] {
        let mut answer = Response::new(body);
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        if let Some((name, value)) = header {
            answer
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let judged = judge(&answer, 4, now).map_err(|fault| match fault {
            SinkFault::Refused(status) => ("never", status, None),
            SinkFault::Status { status, after } => ("again", status, after),
            SinkFault::Page => ("page", 0, None),
            other => panic!("{other}"),
        });
        assert_eq!(judged, expected, "{status} {header:?}");
    }
}
