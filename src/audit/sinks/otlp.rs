//! Records as OTLP logs over HTTP, in protobuf.
//!
//! What it does: writes one export of a batch, sends it, and reads what the answer wants. What it refuses to know: where records
//! come from. Invariants: a record's body is its line byte for byte; an answer is looked at as far as it decides something,
//! and it is bounded; no secret of a header is told.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

use super::entry::{CHECKPOINT, LineFacts, SinkEntry};
use super::fault::{OutletFault, SinkFault, TakenBatch};
use super::settings::{OtlpSinkSettings, SinkSettings};
use crate::clock::{Clock, UnixMillis};
use crate::egress::{OutboundBounds, OutboundClient};
use crate::otlp::{self, Encoding, Signal};
use crate::pem;
use crate::telemetry::text;

/// The longest pause that an answer can ask for.
const PAUSE_LIMIT: Duration = Duration::from_secs(300);
/// What of a receiver's words is logged, in bytes.
const WORDS_LIMIT_BYTES: usize = 512;

/// Severities (opentelemetry-proto, `SeverityNumber`).
const INFO: u64 = 9;
const WARN: u64 = 13;

/// One receiver.
pub(super) struct OtlpOutlet {
    client: OutboundClient,
    url: String,
    headers: HeaderMap,
    form: OtlpForm,
    clock: Clock,
}

/// What is the same in every export.
pub(super) struct OtlpForm {
    /// `Resource`, with its tag and length.
    resource: Vec<u8>,
    /// `InstrumentationScope`, likewise.
    scope: Vec<u8>,
}

impl OtlpOutlet {
    pub(super) fn open(
        settings: &OtlpSinkSettings,
        sink: &SinkSettings,
        clock: Clock,
    ) -> Result<Self, OutletFault> {
        let roots = pem::roots(settings.ca.as_deref())?;
        let bounds = OutboundBounds::SINK;
        let client = match &settings.certificate {
            Some((certificate, key)) => OutboundClient::with_certificate(
                roots,
                (certificate, key),
                &settings.egress,
                bounds,
            )?,
            None => OutboundClient::new(roots, &settings.egress, bounds)?,
        };
        let mut headers = HeaderMap::new();
        for header in &settings.headers {
            let (name, value) = written(header)?;
            headers.append(name, value);
        }
        Ok(OtlpOutlet {
            client,
            url: settings.url.clone(),
            headers,
            form: OtlpForm::new(&sink.log, &sink.instance),
            clock,
        })
    }

    pub(super) async fn send(&self, batch: &[SinkEntry]) -> Result<TakenBatch, SinkFault> {
        let mut request = Request::new(self.form.export(batch));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.parse().map_err(|_| OutletFault::Form)?;
        *request.headers_mut() = self.headers.clone();
        let kind = HeaderValue::from_static(Encoding::Protobuf.media_type());
        request.headers_mut().insert(CONTENT_TYPE, kind);
        let answer = self.client.ask(request).await?;
        judge(&answer, batch.len() as u64, self.clock.now())
    }
}

/// A header with its secret, which is read now.
fn written(
    header: &crate::forward::DestinationHeader,
) -> Result<(HeaderName, HeaderValue), OutletFault> {
    let secret = header.secret.open()?;
    let mut value = match &header.scheme {
        Some(scheme) => format!("{scheme} ").into_bytes(),
        None => Vec::new(),
    };
    value.extend_from_slice(secret.expose());
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| OutletFault::Form)?;
    value.set_sensitive(true);
    Ok((header.name.clone(), value))
}

/// What an answer wants (OTLP specification, "OTLP/HTTP Response").
fn judge(
    answer: &Response<Vec<u8>>,
    entries: u64,
    now: UnixMillis,
) -> Result<TakenBatch, SinkFault> {
    let status = answer.status().as_u16();
    match status {
        200..=299 => {
            let kind = answer.headers().get(CONTENT_TYPE);
            if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
                return Err(SinkFault::Page);
            }
            // Of what is no OTLP answer a success is believed: the receiver said so with its status.
            let said = otlp::read_answer(Signal::Logs, Encoding::Protobuf, answer.body());
            let Ok(Some(partial)) = said else {
                return Ok(TakenBatch::default());
            };
            let words = text::line(&partial.message, WORDS_LIMIT_BYTES);
            tracing::warn!(
                rejected = partial.rejected,
                %words,
                "a receiver of audit records rejects some"
            );
            Ok(TakenBatch {
                rejected: partial.rejected.min(entries),
            })
        }
        // The records themselves are wrong for it; the rest of 4xx is for the operator to mend.
        400 | 413 | 422 => Err(SinkFault::Refused(status)),
        _ => Err(SinkFault::Status {
            status,
            after: pause(answer.headers(), now),
        }),
    }
}

/// `Retry-After`: seconds or a date (RFC 9110 section 10.2.3).
fn pause(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = httpdate::parse_http_date(text).ok()?;
            let then = then.duration_since(UNIX_EPOCH).ok()?;
            then.saturating_sub(Duration::from_millis(now.0.max(0).cast_unsigned()))
        }
    };
    Some(seconds.min(PAUSE_LIMIT))
}

impl OtlpForm {
    pub(super) fn new(log: &str, instance: &str) -> Self {
        let mut resource = Vec::new();
        for (key, value) in [
            ("service.name", "lightkeeper"),
            ("service.namespace", log),
            ("service.instance.id", instance),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ] {
            text_attribute(&mut resource, 1, key, value);
        }
        let mut scope = Vec::new();
        field(&mut scope, 1, b"lightkeeper.audit");
        field(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
        let mut form = OtlpForm {
            resource: Vec::new(),
            scope: Vec::new(),
        };
        field(&mut form.resource, 1, &resource);
        field(&mut form.scope, 1, &scope);
        form
    }

    /// An `ExportLogsServiceRequest` (opentelemetry-proto 1.x).
    pub(super) fn export(&self, batch: &[SinkEntry]) -> Vec<u8> {
        let mut scoped = self.scope.clone();
        let mut record = Vec::new();
        for entry in batch {
            record.clear();
            log_record(&mut record, entry);
            field(&mut scoped, 2, &record);
        }
        let mut group = self.resource.clone();
        field(&mut group, 2, &scoped);
        let mut export = Vec::with_capacity(group.len() + 8);
        field(&mut export, 1, &group);
        export
    }
}

fn log_record(out: &mut Vec<u8>, entry: &SinkEntry) {
    let (facts, body) = match entry {
        SinkEntry::Record { line, .. } => (LineFacts::of(line), line),
        SinkEntry::Checkpoint { note, .. } => {
            let facts = LineFacts {
                event: CHECKPOINT.into(),
                ..LineFacts::default()
            };
            (facts, note)
        }
    };
    if let Some(nanos) = facts.unix_nanos() {
        fixed64(out, 1, nanos);
        fixed64(out, 11, nanos);
    }
    let (severity, word) = if facts.is_denial() {
        (WARN, "WARN")
    } else {
        (INFO, "INFO")
    };
    number(out, 2, severity);
    field(out, 3, word.as_bytes());
    let mut value = Vec::with_capacity(body.len() + 8);
    field(&mut value, 1, body);
    field(out, 5, &value);
    match entry {
        SinkEntry::Record { seq, .. } => number_attribute(out, 6, "lightkeeper.audit.seq", *seq),
        SinkEntry::Checkpoint { size, .. } => {
            number_attribute(out, 6, "lightkeeper.audit.size", *size);
        }
    }
    for (key, value) in [
        ("lightkeeper.audit.request_id", &*facts.request_id),
        ("lightkeeper.audit.reason", &*facts.reason),
        (
            "lightkeeper.audit.decision",
            facts.decision.as_deref().unwrap_or_default(),
        ),
        (
            "lightkeeper.audit.app",
            facts.app.as_deref().unwrap_or_default(),
        ),
    ] {
        if !value.is_empty() {
            text_attribute(out, 6, key, value);
        }
    }
    if let Some(status) = facts.status {
        number_attribute(out, 6, "http.response.status_code", status.into());
    }
    field(
        out,
        12,
        format!("lightkeeper.audit.{}", facts.event).as_bytes(),
    );
}

/// A `KeyValue` with a text.
fn text_attribute(out: &mut Vec<u8>, tag: u32, key: &str, value: &str) {
    let mut any = Vec::with_capacity(value.len() + 4);
    field(&mut any, 1, value.as_bytes());
    attribute(out, tag, key, &any);
}

/// A `KeyValue` with a number.
fn number_attribute(out: &mut Vec<u8>, tag: u32, key: &str, value: u64) {
    let mut any = Vec::with_capacity(12);
    number(&mut any, 3, value);
    attribute(out, tag, key, &any);
}

fn attribute(out: &mut Vec<u8>, tag: u32, key: &str, any: &[u8]) {
    let mut pair = Vec::with_capacity(key.len() + any.len() + 8);
    field(&mut pair, 1, key.as_bytes());
    field(&mut pair, 2, any);
    field(out, tag, &pair);
}

/// A field of bytes, wire type 2.
fn field(out: &mut Vec<u8>, tag: u32, content: &[u8]) {
    otlp::push_varint(out, u64::from(tag << 3 | 2));
    otlp::push_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// A number, wire type 0.
fn number(out: &mut Vec<u8>, tag: u32, value: u64) {
    otlp::push_varint(out, u64::from(tag << 3));
    otlp::push_varint(out, value);
}

/// A number of eight bytes, wire type 1.
fn fixed64(out: &mut Vec<u8>, tag: u32, value: u64) {
    otlp::push_varint(out, u64::from(tag << 3 | 1));
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests;
