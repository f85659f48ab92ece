//! The answers that make each legacy client behave.
//!
//! What it does: writes success, final and retryable refusals in each format, and takes commands out of the
//! backend's answers. What it refuses to know: statuses' reasons, and the table that maps them. Invariants:
//! a final refusal parses as the format's answer, a retryable one does not (Python's tracer looks at no
//! status: it drops its spans after whatever parses, and sends them again after what does not); nothing
//! that does not parse is passed on.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Format;
use super::fields::{Fields, push_field, push_varint};
use super::json::{self, Json};
use super::thrift::{self, Cursor, code, kind};
use crate::clock::UnixMillis;
use crate::media_type::{BINARY, JSON, TEXT_UTF8};
use crate::otlp::Malformed;

const THRIFT: &str = "application/x-thrift";

/// What stands before the words of a retryable refusal in plain text. As protobuf its first byte is the end of
/// a group that did not begin, which no reader takes.
const TEMPORARY: &str = "temporary failure: ";

/// What an answer repeats of its request. The default is right for a request of which nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Particulars<'a> {
    /// When the request came; the default leaves times out.
    pub now: Option<UnixMillis>,
    /// Firehose's request id (`X-Amz-Firehose-Request-Id`, or `Report::request_id`).
    pub(crate) firehose_request: Option<&'a str>,
}

impl Particulars<'_> {
    fn micros(&self) -> Option<i64> {
        self.now.map(|now| now.0.saturating_mul(1000))
    }

    fn firehose(&self) -> serde_json::Map<String, Value> {
        let mut answer = serde_json::Map::new();
        answer.insert(
            "requestId".to_owned(),
            self.firehose_request.unwrap_or_default().into(),
        );
        answer.insert(
            "timestamp".to_owned(),
            self.now.map_or(0, |now| now.0).into(),
        );
        answer
    }
}

/// The body of an answer that accepts everything, and its content type. Node's tracer sets its clock by the
/// times in it.
pub(crate) fn success(format: Format, particulars: &Particulars<'_>) -> (&'static str, Vec<u8>) {
    match format {
        Format::Reports => (BINARY, protobuf_answer(particulars, None)),
        Format::ReportsJson => {
            let time = particulars.now.and_then(|now| {
                let nanos = i128::from(now.0).saturating_mul(1_000_000);
                OffsetDateTime::from_unix_timestamp_nanos(nanos)
                    .ok()?
                    .format(&Rfc3339)
                    .ok()
            });
            let body = time.map_or(
                json!({}),
                |time| json!({ "receiveTimestamp": time, "transmitTimestamp": time }),
            );
            (JSON, body.to_string().into_bytes())
        }
        Format::ThriftJson => (JSON, thrift_json_answer(particulars, None)),
        Format::ThriftBinary => (THRIFT, thrift_answer(particulars, None)),
        Format::Metrics => (BINARY, Vec::new()),
        Format::Zipkin => (TEXT_UTF8, Vec::new()),
        Format::Bulk => (
            JSON,
            json!({ "took": 0, "errors": false, "items": [] })
                .to_string()
                .into_bytes(),
        ),
        Format::Firehose => (
            JSON,
            Value::Object(particulars.firehose())
                .to_string()
                .into_bytes(),
        ),
    }
}

/// The body of a refusal, and its content type. `status` is the HTTP status that goes with it, `words` are
/// public.
pub(crate) fn refusal(
    format: Format,
    retryable: bool,
    status: u16,
    words: &str,
    particulars: &Particulars<'_>,
) -> (&'static str, Vec<u8>) {
    let temporary = || (TEXT_UTF8, format!("{TEMPORARY}{words}").into_bytes());
    match format {
        Format::Reports | Format::ReportsJson if retryable => temporary(),
        Format::Reports => (BINARY, protobuf_answer(particulars, Some(words))),
        Format::ReportsJson => (JSON, json!({ "errors": [words] }).to_string().into_bytes()),
        // Its clients keep their spans after any status but 200.
        Format::ThriftJson => (JSON, thrift_json_answer(particulars, Some(words))),
        // Python's client raises and keeps its spans after any status but 200, and after an exception.
        Format::ThriftBinary if retryable => (THRIFT, thrift_exception(words)),
        Format::ThriftBinary => (THRIFT, thrift_answer(particulars, Some(words))),
        Format::Metrics | Format::Zipkin if retryable => temporary(),
        Format::Metrics | Format::Zipkin => (TEXT_UTF8, words.as_bytes().to_vec()),
        Format::Bulk => {
            let kind = if retryable { "unavailable" } else { "refused" };
            let error = json!({ "type": kind, "reason": words });
            let body =
                json!({ "took": 0, "errors": true, "items": [], "error": error, "status": status });
            (JSON, body.to_string().into_bytes())
        }
        Format::Firehose => {
            let mut answer = particulars.firehose();
            answer.insert("errorMessage".to_owned(), words.into());
            (JSON, Value::Object(answer).to_string().into_bytes())
        }
    }
}

/// `lightstep.collector.ReportResponse`: 2 and 3 times, 4 errors.
fn protobuf_answer(particulars: &Particulars<'_>, error: Option<&str>) -> Vec<u8> {
    let mut answer = Vec::new();
    if let Some(now) = particulars.now {
        // google.protobuf.Timestamp: 1 seconds, 2 nanos.
        let mut timestamp = vec![0x08];
        push_varint(&mut timestamp, now.seconds() as u64);
        timestamp.push(0x10);
        push_varint(
            &mut timestamp,
            now.0.rem_euclid(1000).unsigned_abs() * 1_000_000,
        );
        push_field(&mut answer, 2, &[&timestamp]);
        push_field(&mut answer, 3, &[&timestamp]);
    }
    if let Some(words) = error {
        push_field(&mut answer, 4, &[words.as_bytes()]);
    }
    answer
}

fn thrift_json_answer(particulars: &Particulars<'_>, error: Option<&str>) -> Vec<u8> {
    let timing = particulars
        .micros()
        .map(|micros| json!({ "receive_micros": micros, "transmit_micros": micros }));
    let errors = error.map(|words| [words]);
    json!({ "commands": null, "timing": timing, "errors": errors })
        .to_string()
        .into_bytes()
}

/// A reply with a `ReportResponse`: 2 timing, 3 errors. Clients send and expect the sequence number 0.
fn thrift_answer(particulars: &Particulars<'_>, error: Option<&str>) -> Vec<u8> {
    let mut answer = Vec::new();
    thrift::push_message(&mut answer, kind::REPLY, 0);
    thrift::push_field(&mut answer, code::STRUCT, 0);
    if let Some(micros) = particulars.micros() {
        thrift::push_field(&mut answer, code::STRUCT, 2);
        for id in [1, 2] {
            thrift::push_field(&mut answer, code::I64, id);
            answer.extend_from_slice(&micros.to_be_bytes());
        }
        answer.push(code::STOP);
    }
    if let Some(words) = error {
        thrift::push_field(&mut answer, code::LIST, 3);
        answer.push(code::STRING);
        thrift::push_length(&mut answer, 1);
        thrift::push_length(&mut answer, words.len());
        answer.extend_from_slice(words.as_bytes());
    }
    answer.extend_from_slice(&[code::STOP, code::STOP]);
    answer
}

/// `TApplicationException`: 1 message, 2 type (6 is an internal error).
fn thrift_exception(words: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    thrift::push_message(&mut answer, kind::EXCEPTION, 0);
    thrift::push_string(&mut answer, 1, words.as_bytes());
    thrift::push_field(&mut answer, code::I32, 2);
    answer.extend_from_slice(&6_i32.to_be_bytes());
    answer.push(code::STOP);
    answer
}

/// The backend's answer body to a report that it accepted, without commands to the client unless
/// `pass_commands`. Fails when it is no answer of this format. What an answer of a format without one says is
/// not looked at by its clients and passes.
pub(crate) fn sanitize(
    format: Format,
    body: &[u8],
    pass_commands: bool,
) -> Result<Vec<u8>, Malformed> {
    match format {
        Format::Reports => without_protobuf_commands(body, pass_commands),
        Format::ReportsJson | Format::ThriftJson => without_json_commands(body, pass_commands),
        Format::ThriftBinary => without_thrift_commands(body, pass_commands),
        Format::Metrics => {
            let mut fields = Fields::of(body, 0..body.len());
            while fields.next()?.is_some() {}
            Ok(body.to_vec())
        }
        Format::Bulk | Format::Firehose => {
            let json = Json::of(body)?;
            if json::is_null(json.whole()) {
                return Err(json.malformed(json.whole(), "this should be an object"));
            }
            json.members(json.whole(), &mut |_| Ok(()))?;
            Ok(body.to_vec())
        }
        Format::Zipkin => Ok(body.to_vec()),
    }
}

fn without_protobuf_commands(body: &[u8], pass_commands: bool) -> Result<Vec<u8>, Malformed> {
    let mut answer = Vec::with_capacity(body.len());
    let mut fields = Fields::of(body, 0..body.len());
    while let Some(field) = fields.next()? {
        let whole = body.get(field.whole.clone()).unwrap_or_default();
        let number = field.number;
        // 1 commands, 2 and 3 times, 4 errors, 5 warnings, 6 infos.
        if number <= 6 {
            field.bytes()?;
        }
        if number != 1 || pass_commands {
            answer.extend_from_slice(whole);
        }
    }
    Ok(answer)
}

/// An empty answer is none to the clients of these formats.
fn without_json_commands(body: &[u8], pass_commands: bool) -> Result<Vec<u8>, Malformed> {
    let json = Json::of(body)?;
    if json::is_null(json.whole()) {
        return Err(json.malformed(json.whole(), "this should be an object"));
    }
    let mut answer = Vec::with_capacity(body.len());
    json.members(json.whole(), &mut |member| {
        answer.push(if answer.is_empty() { b'{' } else { b',' });
        let drops = !pass_commands && member.folded() == "commands";
        for part in [
            member.raw_name,
            ":",
            if drops { "null" } else { member.value },
        ] {
            answer.extend_from_slice(part.as_bytes());
        }
        Ok(())
    })?;
    if answer.is_empty() {
        answer.push(b'{');
    }
    answer.push(b'}');
    Ok(answer)
}

/// A reply's result is in its field 0, whose field 1 are the commands. An exception has none.
fn without_thrift_commands(body: &[u8], pass_commands: bool) -> Result<Vec<u8>, Malformed> {
    let mut answer = Vec::with_capacity(body.len());
    let mut kept = 0;
    let mut cursor = Cursor::new(body);
    let is_reply = match cursor.message()?.0 {
        kind::REPLY => true,
        kind::EXCEPTION => false,
        _ => {
            return Err(Malformed {
                offset: 0,
                what: "the message is no answer",
            });
        }
    };
    while let Some(field) = cursor.field()? {
        if !is_reply || field.id != 0 {
            cursor.step_over(field.code)?;
            continue;
        }
        cursor.expect(field, code::STRUCT)?;
        while let Some(inner) = cursor.field()? {
            cursor.step_over(inner.code)?;
            if inner.id == 1 && !pass_commands {
                answer.extend_from_slice(body.get(kept..inner.start).unwrap_or_default());
                kept = cursor.at;
            }
        }
    }
    if !cursor.is_at_end() {
        return Err(cursor.malformed("something follows the message"));
    }
    answer.extend_from_slice(body.get(kept..).unwrap_or_default());
    Ok(answer)
}
