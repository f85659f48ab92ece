//! A record as an event of the Open Cybersecurity Schema Framework (OCSF 1.8.0).
//!
//! What it does: maps calls to API Activity (6003), logins and refused evidence to Authentication (3002), the process's own events to
//! Application Lifecycle (6002), and what an operator should be woken for to Detection Finding (2004). What it refuses to know: which SIEM
//! reads it. Invariant: what has no place of its own stands, unchanged, under `unmapped`.

use serde_json::{Map, Value, json};

use crate::reason::{Class, Reason};
use crate::telemetry::EventName;

/// The schema's version.
const VERSION: &str = "1.8.0";

/// One record's event.
pub(super) fn event(record: &Value) -> Value {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    let class = class(record);
    let activity = activity(class, record);
    let denied = text("decision") == "deny" || text("event") == "reload_failed";
    let is_good = !denied && record.get("status").and_then(Value::as_u64).unwrap_or(200) < 400;
    let mut event = json!({
        "class_uid": class.uid(),
        "category_uid": class.uid() / 1000,
        "type_uid": class.uid() * 100 + activity,
        "activity_id": activity,
        "severity_id": class.severity(is_good),
        "time": millis(text("time")),
        "status_id": if is_good { 1 } else { 2 },
        "status_detail": text("reason"),
        "metadata": {
            "version": VERSION,
            "product": {
                "name": "Lightkeeper",
                "vendor_name": "Lightkeeper",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "uid": text("request_id"),
            "sequence": record.get("seq").cloned().unwrap_or(Value::Null),
            "event_code": text("event"),
        },
    });
    let Some(fields) = event.as_object_mut() else {
        return event;
    };
    if let Some(status) = record.get("status") {
        fields.insert("status_code".into(), json!(status.to_string()));
    }
    match class {
        OcsfClass::ApiActivity => {
            fields.insert("actor".into(), actor(record));
            let operation = Some(text("operation")).filter(|operation| !operation.is_empty());
            fields.insert(
                "api".into(),
                json!({ "operation": operation.unwrap_or("unknown"), "request": { "uid": text("request_id") } }),
            );
            fields.insert("src_endpoint".into(), endpoint(text("client_address")));
            let named = |kind: &str, key: &str| {
                let name = Some(text(key)).filter(|name| !name.is_empty())?;
                Some(json!({ "type": kind, "name": name }))
            };
            let resources = [named("app", "app"), named("project", "project")];
            let resources: Vec<Value> = resources.into_iter().flatten().collect();
            if !resources.is_empty() {
                fields.insert("resources".into(), json!(resources));
            }
            if !text("path").is_empty() {
                fields.insert(
                    "http_request".into(),
                    json!({ "http_method": text("http_method"), "url": { "path": text("path") } }),
                );
            }
        }
        OcsfClass::Authentication => {
            fields.insert("user".into(), user(record));
            fields.insert("src_endpoint".into(), endpoint(text("client_address")));
            fields.insert("service".into(), json!({ "name": "lightkeeper" }));
        }
        OcsfClass::ApplicationLifecycle => {
            fields.insert(
                "app".into(),
                json!({ "name": "Lightkeeper", "vendor_name": "Lightkeeper", "version": env!("CARGO_PKG_VERSION") }),
            );
        }
        OcsfClass::DetectionFinding => {
            fields.insert(
                "finding_info".into(),
                json!({ "uid": text("request_id"), "title": text("reason"), "desc": text("detail") }),
            );
        }
    }
    let unmapped = unmapped(record);
    if !unmapped.is_empty() {
        fields.insert("unmapped".into(), Value::Object(unmapped));
    }
    event
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OcsfClass {
    ApiActivity,
    Authentication,
    ApplicationLifecycle,
    DetectionFinding,
}

impl OcsfClass {
    fn uid(self) -> u64 {
        match self {
            OcsfClass::ApiActivity => 6003,
            OcsfClass::Authentication => 3002,
            OcsfClass::ApplicationLifecycle => 6002,
            OcsfClass::DetectionFinding => 2004,
        }
    }

    /// 1 informational, 2 low, 4 high.
    fn severity(self, is_good: bool) -> u64 {
        match (self, is_good) {
            (OcsfClass::DetectionFinding, _) => 4,
            (_, true) => 1,
            (_, false) => 2,
        }
    }
}

fn class(record: &Value) -> OcsfClass {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    // A name of a later version is an event of the process.
    let event = EventName::find(text("event"));
    let class = Reason::find(text("reason")).and_then(Reason::class);
    match event {
        Some(
            EventName::CredentialRefused | EventName::CredentialEchoed | EventName::UpstreamPage,
        ) => OcsfClass::DetectionFinding,
        Some(EventName::ProofEnded | EventName::HandshakeFailed) => OcsfClass::Authentication,
        // The call ended because of what it showed of who makes it.
        Some(EventName::Call)
            if matches!(class, Some(Class::NotAuthenticated | Class::BadCredential)) =>
        {
            OcsfClass::Authentication
        }
        Some(
            EventName::Call
            | EventName::AnswerBegun
            | EventName::ConnectionRefused
            | EventName::StreamRefused
            | EventName::AcceptFailed,
        ) => OcsfClass::ApiActivity,
        _ => OcsfClass::ApplicationLifecycle,
    }
}

/// What was done, by the class's own numbers.
fn activity(class: OcsfClass, record: &Value) -> u64 {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    match class {
        OcsfClass::ApiActivity => match (text("operation"), text("http_method")) {
            (operation, _) if operation.starts_with("ingest.") => 1,
            (operation, _) if operation.ends_with(".read") => 2,
            (_, "DELETE") => 4,
            (_, "PUT" | "PATCH") => 3,
            (_, "POST") => 1,
            (_, "GET" | "HEAD") => 2,
            _ => 99,
        },
        OcsfClass::Authentication if text("event") == "proof_ended" => 2,
        OcsfClass::Authentication => 1,
        OcsfClass::ApplicationLifecycle => match text("event") {
            "start" => 3,
            "stop" => 4,
            "reload" => 5,
            _ => 99,
        },
        OcsfClass::DetectionFinding => 1,
    }
}

fn user(record: &Value) -> Value {
    let of = |key: &str| {
        record
            .pointer(&format!("/identity/{key}"))
            .and_then(Value::as_str)
    };
    match of("subject") {
        Some(subject) => json!({
            "uid": subject,
            "name": subject,
            "domain": of("issuer").unwrap_or_default(),
        }),
        None => json!({ "name": "unknown", "type_id": 0 }),
    }
}

fn actor(record: &Value) -> Value {
    json!({ "user": user(record) })
}

/// An address; the port is no part of a record.
fn endpoint(address: &str) -> Value {
    match address {
        "" => json!({ "name": "unknown" }),
        address => json!({ "ip": address }),
    }
}

/// Milliseconds since the Unix epoch; 0 for what is no time.
fn millis(text: &str) -> i64 {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, format).map_or(0, |time| {
        i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
    })
}

/// What has no place in the schema.
fn unmapped(record: &Value) -> Map<String, Value> {
    const MAPPED: &[&str] = &[
        "seq",
        "time",
        "request_id",
        "event",
        "client_address",
        "http_method",
        "path",
        "operation",
        "app",
        "project",
        "reason",
        "status",
    ];
    let fields = record.as_object().into_iter().flatten();
    fields
        .filter(|(key, value)| !MAPPED.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: one record of each kind. Guarantees: class, activity and status are what a SIEM's rules go by.
    #[test]
    fn each_kind_has_its_class() {
        for (record, class, activity, status) in [
            (
                json!({"event":"call","operation":"ingest.traces","decision":"allow","reason":"ok","status":200}),
                6003,
                1,
                1,
            ),
            (
                json!({"event":"call","operation":"query.streams.read","decision":"allow","reason":"ok","status":200}),
                6003,
                2,
                1,
            ),
            (
                json!({"event":"call","operation":"query.streams.write","http_method":"DELETE","decision":"deny","reason":"not_permitted","status":403}),
                6003,
                4,
                2,
            ),
            (
                json!({"event":"call","decision":"deny","reason":"token_expired","status":401}),
                3002,
                1,
                2,
            ),
            (json!({"event":"start","reason":"started"}), 6002, 3, 1),
            (
                json!({"event":"reload_failed","reason":"configuration_refused"}),
                6002,
                99,
                2,
            ),
            (
                json!({"event":"credential_refused","reason":"upstream_credential_refused"}),
                2004,
                1,
                1,
            ),
            (
                json!({"event":"proof_ended","reason":"revoked_by_logout"}),
                3002,
                2,
                1,
            ),
        ] {
            let event = event(&record);
            assert_eq!(
                (
                    &event["class_uid"],
                    &event["activity_id"],
                    &event["status_id"]
                ),
                (&json!(class), &json!(activity), &json!(status)),
                "{record}"
            );
            assert_eq!(event["type_uid"], json!(class * 100 + activity), "{record}");
        }
    }
}
