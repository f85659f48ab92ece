//! What an export of logs holds.
//!
//! What it does: decodes one with OpenTelemetry's own messages. What it refuses to know: who sent it. Invariant: what is no export is told.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;

/// The log records of an export in protobuf, in their order: each one's event and the text of its body. `None`: it is none, or a
/// body is no text.
pub fn logs_of(export: &[u8]) -> Option<Vec<(String, String)>> {
    let export = ExportLogsServiceRequest::decode(export).ok()?;
    let groups = export.resource_logs.into_iter();
    let scopes = groups.flat_map(|group| group.scope_logs);
    let records = scopes.flat_map(|scope| scope.log_records);
    let each = records.map(|record| match record.body?.value? {
        Value::StringValue(body) => Some((record.event_name, body)),
        _ => None,
    });
    each.collect()
}
