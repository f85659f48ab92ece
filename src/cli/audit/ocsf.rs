//! A record as an event of the Open Cybersecurity Schema Framework (OCSF 1.8.0).
//!
//! What it does: maps calls to API Activity (6003), those that ask for nothing that is known to HTTP Activity (4002), connections that are
//! refused to Network Activity (4001), logins and refused evidence to Authentication (3002), the process's own events to Application
//! Lifecycle (6002), and what an operator should be woken for to Detection Finding (2004). What it refuses to know: which SIEM
//! reads it. Invariant: what has no place of its own stands, unchanged, under `unmapped`.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::audit::moment;
use crate::reason::{Class, Reason};
use crate::telemetry::EventName;

/// The schema's version.
const VERSION: &str = "1.8.0";

/// One record's event.
pub(super) fn event(record: &Value) -> Value {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    let class = class(record);
    let activity = activity(class, record);
    let denied = text("decision") == "deny"
        || matches!(
            EventName::find(text("event")),
            Some(
                EventName::ReloadFailed
                    | EventName::ConnectionRefused
                    | EventName::StreamRefused
                    | EventName::HandshakeFailed
            )
        );
    let is_good = !denied && record.get("status").and_then(Value::as_u64).unwrap_or(200) < 400;
    let mut event = json!({
        "class_uid": class.uid(),
        "category_uid": class.uid() / 1000,
        "type_uid": class.uid() * 100 + activity,
        "activity_id": activity,
        "severity_id": class.severity(is_good),
        "time": moment(text("time")).map_or(0, |time| time.0),
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
                fields.insert("http_request".into(), request(record));
            }
        }
        OcsfClass::HttpActivity => {
            fields.insert("http_request".into(), request(record));
            fields.insert("src_endpoint".into(), endpoint(text("client_address")));
            if let Some(status) = record.get("status") {
                fields.insert("http_response".into(), json!({ "code": status }));
            }
        }
        OcsfClass::NetworkActivity => {
            fields.insert("src_endpoint".into(), endpoint(text("client_address")));
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
    HttpActivity,
    NetworkActivity,
    Authentication,
    ApplicationLifecycle,
    DetectionFinding,
}

impl OcsfClass {
    fn uid(self) -> u64 {
        match self {
            OcsfClass::ApiActivity => 6003,
            OcsfClass::HttpActivity => 4002,
            OcsfClass::NetworkActivity => 4001,
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
        Some(EventName::ConnectionRefused | EventName::StreamRefused) => OcsfClass::NetworkActivity,
        // What is asked for is no operation, and nothing of whose it is was judged.
        Some(EventName::Call | EventName::AnswerBegun)
            if record.get("operation").is_none() && record.get("identity").is_none() =>
        {
            OcsfClass::HttpActivity
        }
        Some(EventName::Call | EventName::AnswerBegun | EventName::AdminRead) => {
            OcsfClass::ApiActivity
        }
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
        OcsfClass::HttpActivity => {
            let place = METHODS
                .iter()
                .position(|known| *known == text("http_method"));
            place.map_or(99, |place| place as u64 + 1)
        }
        // Refuse.
        OcsfClass::NetworkActivity => 5,
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

/// The methods that the schema knows, in the order of their activities.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE", "PATCH",
];

fn request(record: &Value) -> Value {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut request = json!({ "url": { "path": text("path") } });
    let method = METHODS.iter().find(|known| **known == text("http_method"));
    if let (Some(fields), Some(method)) = (request.as_object_mut(), method) {
        fields.insert("http_method".into(), json!(method));
    }
    request
}

fn actor(record: &Value) -> Value {
    json!({ "user": user(record) })
}

/// An address, with its port where the record has it.
fn endpoint(address: &str) -> Value {
    match address.parse::<SocketAddr>() {
        Ok(address) => json!({ "ip": address.ip(), "port": address.port() }),
        Err(_) if address.is_empty() => json!({ "name": "unknown" }),
        Err(_) => json!({ "ip": address }),
    }
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
            (
                json!({"event":"call","http_method":"GET","decision":"deny","reason":"malformed_target","status":400}),
                4002,
                3,
                2,
            ),
            (
                json!({"event":"connection_refused","client_address":"192.0.2.7","reason":"connections_too_many"}),
                4001,
                5,
                2,
            ),
            (
                json!({"event":"admin_read","operation":"gateway.audit.read","decision":"allow","reason":"admin_shown","status":200}),
                6003,
                2,
                1,
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
