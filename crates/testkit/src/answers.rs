//! What came back to a sample caller, and how it is read.
//!
//! What it does: gives an answer's parts, and the messages in it: gRPC's status, OTLP's partial success, a
//! legacy report's response. What it refuses to know: what an answer should be; the gateway's own readers.
//! Invariant: what is decompressed is bounded.

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde_json::Value;

use super::coding::Coding;
use super::messages::ReportResponse;
use super::urls;

/// The largest answer that is read.
pub(super) const ANSWER_LIMIT_BYTES: usize = 64 << 20;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub version: http::Version,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// OTLP's `partial_success`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    pub rejected: i64,
    pub message: String,
}

impl Answer {
    /// A header's first value, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The gRPC status: from the trailers, or from the head of a trailers-only answer.
    pub fn grpc_status(&self) -> Option<u32> {
        self.grpc("grpc-status")?.parse().ok()
    }

    /// The gRPC message, decoded.
    pub fn grpc_message(&self) -> Option<String> {
        self.grpc("grpc-message")
            .map(|message| urls::decode(&message))
    }

    fn grpc(&self, name: &str) -> Option<String> {
        let value = self.trailers.get(name).or_else(|| self.headers.get(name))?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The gRPC message inside its frame.
    pub fn grpc_body(&self) -> Option<&[u8]> {
        self.body.get(5..)
    }

    /// The message of the answer: the body, or gRPC's one message, decompressed as the head says. `None` when
    /// that cannot be done.
    pub fn message(&self) -> Option<Vec<u8>> {
        let named = |name| {
            self.headers
                .get(name)
                .map_or(Some(Coding::Identity), |value| {
                    Coding::named(value.as_bytes())
                })
        };
        if !self.is("application/grpc") {
            return named("content-encoding")?
                .decompress(&self.body, ANSWER_LIMIT_BYTES)
                .ok();
        }
        let (frame, message) = self.body.split_first_chunk::<5>()?;
        let [flag, length @ ..] = frame;
        let whole = u32::from_be_bytes(*length) as usize == message.len();
        let coding = if *flag == 0 {
            Coding::Identity
        } else {
            named("grpc-encoding")?
        };
        coding
            .decompress(message, ANSWER_LIMIT_BYTES)
            .ok()
            .filter(|_| whole)
    }

    /// What an accepted export's answer says was not taken; `Ok(None)`: all was. An error: it is no answer to
    /// an export.
    pub fn partial_success(&self) -> Result<Option<Partial>, String> {
        let message = self.message().ok_or("the answer holds no message")?;
        if self.is("application/json") {
            let document: Value =
                serde_json::from_slice(&message).map_err(|error| error.to_string())?;
            let Some(partial) = document.get("partialSuccess") else {
                return Ok(None);
            };
            let names = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"];
            let rejected = names.iter().find_map(|name| partial.get(name));
            let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
            let rejected = rejected
                .map_or(Some(0), number)
                .ok_or("the rejected count is no number")?;
            let message = partial
                .get("errorMessage")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            return Ok(Some(Partial { rejected, message }));
        }
        // The numbers of the fields are the same for all signals.
        let response =
            ExportTraceServiceResponse::decode(&message[..]).map_err(|error| error.to_string())?;
        let partial = response.partial_success;
        Ok(partial.map(|partial| Partial {
            rejected: partial.rejected_spans,
            message: partial.error_message,
        }))
    }

    /// The answer to a legacy report in protobuf; `None` when it does not parse as one.
    pub fn report_response(&self) -> Option<ReportResponse> {
        ReportResponse::decode(&self.message()?[..]).ok()
    }

    fn is(&self, kind: &str) -> bool {
        self.header("content-type")
            .is_some_and(|found| found.starts_with(kind))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, decompressed as the head says.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.message()?).ok()
    }

    /// Whether these bytes stand anywhere in the answer.
    pub fn contains(&self, needle: &[u8]) -> bool {
        let found = |hay: &[u8]| memchr::memmem::find(hay, needle).is_some();
        let pairs = self.headers.iter().chain(&self.trailers);
        found(&self.body)
            || pairs
                .into_iter()
                .any(|(name, value)| found(name.as_str().as_bytes()) || found(value.as_bytes()))
    }
}
