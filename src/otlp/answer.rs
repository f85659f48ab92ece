//! The answer to an export: all of it was accepted, or how much was not and why.
//!
//! What it does: reads and writes `Export{Trace,Metrics,Logs}ServiceResponse` in both encodings (OTLP
//! specification, "Partial Success"). What it refuses to know: which part of an export an answer is about.
//! Invariants: full success is the empty message; a count is never negative; an answer that says nothing
//! that we know, but is well formed, is full success; one that is not is never taken for any.

use super::json::{ANSWER, Cursor, Members, partial_success};
use super::{Encoding, Malformed, Signal, json, length_delimited, push_varint, wire};

/// Some items were not accepted, and must not be sent again; with none, the words are a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// Spans, data points or log records.
    pub rejected: u64,
    /// For people: why, and what to do about it.
    pub message: String,
}

impl PartialSuccess {
    /// "Equivalent to it not being set" (opentelemetry-proto).
    fn is_empty(&self) -> bool {
        self.rejected == 0 && self.message.is_empty()
    }
}

/// What an answer says; none on full success. An empty body is full success in either encoding: an
/// answer with success and no words cannot have meant anything else.
pub fn read_answer(
    signal: Signal,
    encoding: Encoding,
    body: &[u8],
) -> Result<Option<PartialSuccess>, Malformed> {
    let partial = match encoding {
        _ if body.is_empty() => return Ok(None),
        Encoding::Protobuf => read_protobuf(body)?,
        Encoding::Json => read_json(signal, body)?,
    };
    Ok(Some(partial).filter(|partial| !partial.is_empty()))
}

/// The body that says so. Counts above what an int64 holds become the largest it does.
pub fn write_answer(
    signal: Signal,
    encoding: Encoding,
    partial: Option<&PartialSuccess>,
) -> Vec<u8> {
    match (partial.filter(|partial| !partial.is_empty()), encoding) {
        (None, Encoding::Protobuf) => Vec::new(),
        (None, Encoding::Json) => b"{}".to_vec(),
        (Some(partial), Encoding::Protobuf) => {
            let mut fields = Vec::new();
            if partial.rejected > 0 {
                fields.push(0x08);
                push_varint(&mut fields, clamped(partial.rejected));
            }
            if !partial.message.is_empty() {
                fields.extend(length_delimited(0x12, partial.message.as_bytes()));
            }
            length_delimited(0x0a, &fields)
        }
        (Some(partial), Encoding::Json) => {
            let names = partial_success(signal)
                .iter()
                .map(|field| field.name.to_owned());
            // In JSON, an int64 is a string.
            let values = [
                clamped(partial.rejected).to_string(),
                partial.message.clone(),
            ];
            let fields: serde_json::Map<String, serde_json::Value> = names
                .zip(values)
                .map(|(name, value)| (name, value.into()))
                .collect();
            serde_json::json!({ "partialSuccess": fields })
                .to_string()
                .into_bytes()
        }
    }
}

fn clamped(rejected: u64) -> u64 {
    rejected.min(i64::MAX as u64)
}

const NEGATIVE: &str = "a negative number of rejected items";
const NOT_TEXT: &str = "an error message that is not text";

/// A message given in parts is one message, and the last of a field counts (protobuf.dev, "Last One Wins").
fn read_protobuf(body: &[u8]) -> Result<PartialSuccess, Malformed> {
    let mut partial = PartialSuccess::default();
    let mut answer = wire::Cursor::new(body);
    while let Some(field) = answer.field()? {
        if field.number != 1 {
            continue;
        }
        let mut fields = field.message()?;
        while let Some(field) = fields.field()? {
            match field.number {
                1 => {
                    let rejected = i64::from_ne_bytes(field.varint()?.to_ne_bytes());
                    partial.rejected = u64::try_from(rejected).map_err(|_| Malformed {
                        offset: field.start,
                        what: NEGATIVE,
                    })?;
                }
                2 => {
                    let message = std::str::from_utf8(field.bytes()?);
                    partial.message = message
                        .map_err(|_| Malformed {
                            offset: field.start,
                            what: NOT_TEXT,
                        })?
                        .to_owned();
                }
                _ => {}
            }
        }
    }
    Ok(partial)
}

fn read_json(signal: Signal, body: &[u8]) -> Result<PartialSuccess, Malformed> {
    let mut partial = PartialSuccess::default();
    let mut cursor = Cursor::new(body)?;
    let mut members = Members::open(&mut cursor)?;
    while members.next(&mut cursor, ANSWER)?.is_some() {
        if cursor.null()? {
            continue;
        }
        let shape: json::ObjectShape = partial_success(signal);
        let mut members = Members::open(&mut cursor)?;
        while let Some(field) = members.next(&mut cursor, shape)? {
            if cursor.null()? {
                continue;
            }
            if field.name == "errorMessage" {
                partial.message = cursor.string(NOT_TEXT)?.said(body).into_owned();
            } else {
                partial.rejected = read_count(&mut cursor, body)?;
            }
        }
    }
    cursor.end()?;
    Ok(partial)
}

/// An int64 of the JSON mapping: a string or a number, also as `3.0` or `3e0`.
fn read_count(cursor: &mut Cursor<'_>, body: &[u8]) -> Result<u64, Malformed> {
    const NOT_A_COUNT: &str = "a count that is not a whole number";
    /// Above it, a float does not tell whole numbers apart.
    const EXACT: f64 = (1_u64 << 53) as f64;
    let offset = cursor.at();
    let fault = |what| Malformed { offset, what };
    let text = if cursor.peek() == Some(b'"') {
        cursor.string(NOT_A_COUNT)?.said(body)
    } else {
        cursor.skip()?;
        String::from_utf8_lossy(body.get(offset..cursor.at()).unwrap_or_default())
    };
    if let Ok(count) = text.parse::<i64>() {
        return u64::try_from(count).map_err(|_| fault(NEGATIVE));
    }
    match text.parse::<f64>() {
        Ok(count) if count < 0.0 => Err(fault(NEGATIVE)),
        Ok(count) if count.fract() == 0.0 && count <= EXACT => Ok(count as u64),
        _ => Err(fault(NOT_A_COUNT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::{logs, metrics, trace};
    use prost::Message as _;

    fn some(rejected: u64, message: &str) -> Option<PartialSuccess> {
        Some(PartialSuccess {
            rejected,
            message: message.to_owned(),
        })
    }

    /// The count and the words as prost reads them.
    fn oracle(signal: Signal, body: &[u8]) -> Result<Option<(i64, String)>, prost::DecodeError> {
        Ok(match signal {
            Signal::Traces => trace::v1::ExportTraceServiceResponse::decode(body)?
                .partial_success
                .map(|partial| (partial.rejected_spans, partial.error_message)),
            Signal::Metrics => metrics::v1::ExportMetricsServiceResponse::decode(body)?
                .partial_success
                .map(|partial| (partial.rejected_data_points, partial.error_message)),
            Signal::Logs => logs::v1::ExportLogsServiceResponse::decode(body)?
                .partial_success
                .map(|partial| (partial.rejected_log_records, partial.error_message)),
        })
    }

    #[test]
    fn full_success_is_unset() {
        for signal in Signal::ALL {
            for partial in [None, Some(&PartialSuccess::default())] {
                assert_eq!(write_answer(signal, Encoding::Protobuf, partial), b"");
                assert_eq!(write_answer(signal, Encoding::Json, partial), b"{}");
            }
            for body in [
                "",
                "{}",
                " { } ",
                r#"{"partialSuccess":null}"#,
                r#"{"partialSuccess":{}}"#,
                r#"{"x":[1]}"#,
            ] {
                assert_eq!(
                    read_answer(signal, Encoding::Json, body.as_bytes()),
                    Ok(None),
                    "{body}"
                );
            }
            // Nothing, an empty partial success, one with zeros, an unknown field.
            for body in [
                b"".as_slice(),
                b"\x0a\0",
                b"\x0a\x04\x08\0\x12\0",
                b"\x18\x07",
            ] {
                assert_eq!(
                    read_answer(signal, Encoding::Protobuf, body),
                    Ok(None),
                    "{body:?}"
                );
            }
        }
    }

    #[test]
    fn json_is_read_as_protojson_reads_it() {
        use Signal::{Logs, Metrics, Traces};
        for (signal, body, expected) in [
            (
                Traces,
                r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#,
                some(3, "no"),
            ),
            (
                Metrics,
                r#"{"partialSuccess":{"rejectedDataPoints":3}}"#,
                some(3, ""),
            ),
            (
                Logs,
                r#"{"partial_success":{"rejected_log_records":"7","error_message":"\u00e9"}}"#,
                some(7, "é"),
            ),
            (
                Logs,
                r#"{"partialSuccess":{"rejectedLogRecords":null,"errorMessage":"w"}}"#,
                some(0, "w"),
            ),
            (
                Traces,
                r#"{"partialSuccess":{"rejectedSpans":3.0}}"#,
                some(3, ""),
            ),
            (
                Traces,
                r#"{"partialSuccess":{"rejectedSpans":"3e2"}}"#,
                some(300, ""),
            ),
            (
                Traces,
                r#"{"partialSuccess":{"rejectedSpans":"9223372036854775807"}}"#,
                some(i64::MAX as u64, ""),
            ),
            (
                Traces,
                r#"{"partialSuccess":{"rejectedDataPoints":"3","x":{}}}"#,
                None,
            ),
        ] {
            assert_eq!(
                read_answer(signal, Encoding::Json, body.as_bytes()),
                Ok(expected),
                "{body}"
            );
        }
    }

    #[test]
    fn broken_answers_are_malformed() {
        for body in [
            " ",
            "[]",
            "null",
            "{",
            "{}{}",
            r#"{"partialSuccess":[]}"#,
            r#"{"partialSuccess":{"rejectedSpans":"-1"}}"#,
            r#"{"partialSuccess":{"rejectedSpans":-1}}"#,
            r#"{"partialSuccess":{"rejectedSpans":1.5}}"#,
            r#"{"partialSuccess":{"rejectedSpans":"x"}}"#,
            r#"{"partialSuccess":{"rejectedSpans":""}}"#,
            r#"{"partialSuccess":{"rejectedSpans":true}}"#,
            r#"{"partialSuccess":{"rejectedSpans":{}}}"#,
            r#"{"partialSuccess":{"rejectedSpans":9223372036854775808}}"#,
            r#"{"partialSuccess":{"rejectedSpans":"NaN"}}"#,
            r#"{"partialSuccess":{"errorMessage":7}}"#,
            r#"{"partialSuccess":{},"partial_success":{}}"#,
            "<html>",
            "OK",
            "\u{feff}{}",
        ] {
            assert!(
                read_answer(Signal::Traces, Encoding::Json, body.as_bytes()).is_err(),
                "{body}"
            );
        }
        let negative = trace::v1::ExportTraceServiceResponse {
            partial_success: Some(trace::v1::ExportTracePartialSuccess {
                rejected_spans: -1,
                error_message: String::new(),
            }),
        };
        for body in [
            negative.encode_to_vec().as_slice(),
            b"\x0a",
            b"\x0a\x05\x08",
            b"\x0a\x01\x08",
            b"\x08\x01",
            b"\x0a\x02\x0a\0",
            b"\x0a\x03\x12\x01\xff",
            b"\x0a\x02\x10\x01",
            b"<html>",
            b"OK",
        ] {
            assert!(
                read_answer(Signal::Traces, Encoding::Protobuf, body).is_err(),
                "{body:?}"
            );
        }
    }

    proptest::proptest! {
        /// Scenario: any answer. Guarantees: prost reads what we write, and we read it again; in both encodings.
        #[test]
        fn what_is_written_is_read(rejected in 0..=i64::MAX as u64, message in ".{0,20}", shift in 0_u32..64) {
            let rejected = rejected >> shift;
            for signal in Signal::ALL {
                let partial = some(rejected, &message).filter(|partial| !partial.is_empty());
                let body = write_answer(signal, Encoding::Protobuf, partial.as_ref());
                let expected = partial.clone().map(|partial| (partial.rejected as i64, partial.message));
                assert_eq!(oracle(signal, &body).unwrap(), expected);
                assert_eq!(read_answer(signal, Encoding::Protobuf, &body), Ok(partial.clone()));
                let body = write_answer(signal, Encoding::Json, partial.as_ref());
                assert_eq!(read_answer(signal, Encoding::Json, &body), Ok(partial));
            }
        }

        /// Scenario: bytes that look like an answer. Guarantees: what prost decodes is read the same, unless
        /// a count is negative; what it refuses is refused.
        #[test]
        fn the_judgement_is_that_of_prost(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                b"\x0a\0".as_slice(), b"\x0a\x02\x08\x05", b"\x0a\x04\x12\x02no", b"\x0a\x03\x12\x01\xff", b"\x08\x01", b"\x12\x01a",
                b"\x0a\x07\x08\x80\x02\x12\x02hm", b"\x1a\x02\x08\x01", b"\xff", b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                b"\x0a\x02\x13\x14",
            ]), 0..5)
        ) {
            let body = parts.concat();
            match (oracle(Signal::Logs, &body), read_answer(Signal::Logs, Encoding::Protobuf, &body)) {
                (Ok(Some((rejected, _))), got) if rejected < 0 => assert!(got.is_err()),
                (Ok(expected), Ok(got)) => {
                    let got = got.unwrap_or_default();
                    assert_eq!(expected.unwrap_or_default(), (got.rejected as i64, got.message));
                }
                // A negative count is refused even if another one comes behind it.
                (Ok(_), Err(malformed)) => assert_eq!(malformed.what, NEGATIVE),
                (Err(_), got) => assert!(got.is_err(), "{body:?}"),
            }
        }
    }
}
