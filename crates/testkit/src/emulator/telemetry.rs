//! The emulator's answers about telemetry: time series, attributes, traces, diagrams, status.
//!
//! What it does: answers in the shapes of `docs/backends/lightstep.md` (answers of the query API) with made-up but steady figures. What it
//! refuses to know: UQL; a query's text is only passed back.
//! Invariants: the same question has the same answer (but the first for a diagram is 202); a series has at most
//! 1440 points, as the real one's.

use http::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::State;
use super::organization::{self as of, Project};
use super::query::{Act, BAD, NO_OBJECT, Outcome, Question, ok};

/// Points in one series.
const POINTS: i64 = 1440;

impl State {
    pub(super) fn telemetry(
        &self,
        project: &mut Project,
        act: Act,
        question: &Question<'_>,
    ) -> Outcome {
        let id = question
            .stars
            .get(1)
            .map(String::as_str)
            .unwrap_or_default();
        match act {
            Act::ReportingStatus => ok(reporting_status(project)),
            Act::Services => ok(services(project, question)),
            Act::StreamTimeseries => {
                project.object(of::STREAMS, id).ok_or(NO_OBJECT)?;
                stream_timeseries(question)
            }
            Act::ConditionStatus => {
                let condition = project.object(of::CONDITIONS, id).ok_or(NO_OBJECT)?;
                // One that is new was not evaluated yet.
                let is_new = condition
                    .pointer("/attributes/name")
                    .is_some_and(|name| name == "new");
                let state = if is_new { Value::Null } else { json!("false") };
                let attributes = json!({ "expression": "err > 5%", "state": state });
                ok(
                    json!({ "data": { "type": "condition_status", "id": id, "attributes": attributes } }),
                )
            }
            Act::SnoozeValidate => {
                let valid = question.body.pointer("/data/scope").is_some();
                let words = if valid { "" } else { "scope is missing" };
                ok(json!({ "data": { "is_valid": valid, "validation_error": words } }))
            }
            Act::QueryTranslation => {
                let queries = question
                    .body
                    .pointer("/data/queries")
                    .and_then(Value::as_array)
                    .ok_or(BAD)?;
                let translated = queries.iter().map(|query| {
                    let name = query.get("query-name").cloned().unwrap_or_default();
                    json!({ "query-name": name, "tql-query": "spans count | delta 1h | group_by [], sum" })
                });
                ok(json!({ "data": { "queries": translated.collect::<Vec<_>>() } }))
            }
            Act::QueryTimeseries => query_timeseries(project, question),
            Act::Attributes => {
                let services = project
                    .services
                    .iter()
                    .map(|service| json!({ "value": service }));
                ok(
                    json!({ "data": { "service": services.collect::<Vec<_>>(), "http.method": [{ "value": "GET" }] } }),
                )
            }
            Act::StoredTraces => stored_traces(project, question),
            Act::ServiceDiagram => diagram(project, id),
            _ => Err(BAD),
        }
    }
}

fn reporting_status(project: &Project) -> Value {
    let status = project.services.iter().map(|service| {
        json!({
            "component_name": service, "platform": "go", "spans_count": 1200, "dropped_spans_count": 0,
            "collector_dropped_spans_count": 0, "updated_micros": 1_767_225_600_000_000_i64,
        })
    });
    json!({ "data": { "status": status.collect::<Vec<_>>() } })
}

fn services(project: &Project, question: &Question<'_>) -> Value {
    let number = |name: &str, default: usize| {
        question
            .query
            .value(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (limit, offset) = (number("limit", 100), number("offset", 0));
    let page = project.services.iter().skip(offset).take(limit);
    let items =
        page.map(|name| json!({ "type": "service", "id": name, "attributes": { "name": name } }));
    json!({ "data": {
        "items": items.collect::<Vec<_>>(),
        "limit": limit, "offset": offset, "total-count": project.services.len(),
    } })
}

/// The range asked for and its step, all in seconds.
fn range(
    oldest: Option<&str>,
    youngest: Option<&str>,
    step: i64,
) -> Result<(i64, i64, i64), (StatusCode, &'static str)> {
    let at = |text: Option<&str>| text.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let (oldest, youngest) = at(oldest)
        .zip(at(youngest))
        .ok_or((StatusCode::BAD_REQUEST, "a time is missing"))?;
    // Lightstep rounds the start down to 15 s.
    let (from, to) = (
        oldest.unix_timestamp().div_euclid(15) * 15,
        youngest.unix_timestamp(),
    );
    if step <= 0 || to <= from || (to - from) / step > POINTS {
        return Err((StatusCode::BAD_REQUEST, "a bad time range"));
    }
    Ok((from, to, step))
}

fn text_of(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

fn stream_timeseries(question: &Question<'_>) -> Outcome {
    let value = |name: &str| question.query.value(name);
    let resolution: i64 = value("resolution-ms")
        .and_then(|text| text.parse().ok())
        .ok_or(BAD)?;
    if resolution < 60_000 {
        return Err((StatusCode::BAD_REQUEST, "resolution-ms is at least 60000"));
    }
    let (from, to, step) = range(
        value("oldest-time"),
        value("youngest-time"),
        resolution / 1000,
    )?;
    let starts: Vec<i64> = (0..(to - from) / step)
        .map(|index| from + index * step)
        .collect();
    let windows = starts
        .iter()
        .map(|at| json!({ "oldest-time": text_of(*at), "youngest-time": text_of(at + step) }));
    let percentiles = question
        .query
        .pairs()
        .iter()
        .filter(|(name, _)| name == "percentile");
    let latencies = percentiles.map(|(_, percentile)| {
        let values = starts.iter().map(|at| 20 + at.rem_euclid(7));
        json!({ "percentile": percentile, "latency-ms": values.collect::<Vec<_>>() })
    });
    let mut attributes = json!({
        "resolution-ms": resolution, "points-count": starts.len(),
        "time-range": { "oldest-time": text_of(from), "youngest-time": text_of(to) },
        "time-windows": windows.collect::<Vec<_>>(), "latencies": latencies.collect::<Vec<_>>(),
    });
    if let Some(members) = attributes.as_object_mut() {
        if value("include-ops-counts") == Some("1") {
            members.insert(
                "ops-counts".into(),
                starts.iter().map(|at| 100 + at.rem_euclid(13)).collect(),
            );
        }
        if value("include-error-counts") == Some("1") {
            members.insert(
                "error-counts".into(),
                starts.iter().map(|at| at.rem_euclid(3)).collect(),
            );
        }
        if value("include-exemplars") == Some("1") {
            members.insert(
                "exemplars".into(),
                json!([{ "span_guid": "00f067aa0ba902b7", "has_error": false }]),
            );
        }
    }
    let id = question.stars.get(1);
    ok(json!({ "data": { "type": "timeseries", "id": id, "attributes": attributes } }))
}

fn query_timeseries(project: &Project, question: &Question<'_>) -> Outcome {
    let text = |name: &str| {
        question
            .body
            .pointer(&format!("/data/attributes/{name}"))
            .and_then(Value::as_str)
    };
    text("query").ok_or((StatusCode::BAD_REQUEST, "a query is missing"))?;
    if !matches!(text("input-language"), Some("tql" | "uql")) {
        return Err((StatusCode::BAD_REQUEST, "unknown input language"));
    }
    let period = question
        .body
        .pointer("/data/attributes/output-period")
        .and_then(Value::as_i64)
        .unwrap_or(60);
    let (from, to, step) = range(text("oldest-time"), text("youngest-time"), period)?;
    let series = project.services.iter().map(|service| {
        let points = (0..(to - from) / step).map(|index| {
            let at = from + index * step;
            json!([at * 1000, 100 + at.rem_euclid(17)])
        });
        json!({ "group-labels": [format!("service={service}")], "points": points.collect::<Vec<_>>() })
    });
    ok(
        json!({ "data": { "type": "timeseries", "attributes": { "series": series.collect::<Vec<_>>() } } }),
    )
}

fn stored_traces(project: &Project, question: &Question<'_>) -> Outcome {
    let span = question.query.value("span-id").ok_or(BAD)?;
    // One trace is stored in each project, for the span whose id is the standards' own example.
    if span != "00f067aa0ba902b7" {
        return Err((StatusCode::NOT_FOUND, "no stored trace has this span"));
    }
    let reporter = json!({ "reporter-id": "1", "attributes": { "lightstep.component_name": project.services.first() } });
    let spans = json!([{
        "span-name": "GET /cart", "span-id": span, "trace-id": "4bf92f3577b34da6a3ce929d0e0e4736", "reporter-id": "1",
        "is-error": false, "start-time-micros": 1_767_225_600_000_000_i64, "end-time-micros": 1_767_225_600_020_000_i64,
        "tags": { "http.method": "GET" },
    }]);
    ok(json!({ "data": [{
        "type": "stored_trace", "id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "attributes": { "start-time-micros": 1_767_225_600_000_000_i64, "end-time-micros": 1_767_225_600_020_000_i64, "spans": spans },
        "relationships": { "reporters": [reporter] },
    }] }))
}

/// Pending the first time, there the second.
fn diagram(project: &mut Project, id: &str) -> Outcome {
    project.object(of::SNAPSHOTS, id).ok_or(NO_OBJECT)?;
    if !project.diagrams.iter().any(|known| known == id) {
        // Bounded by the snapshots themselves, which cannot be deleted.
        project.diagrams.push(id.to_owned());
        return Ok((StatusCode::ACCEPTED, json!({ "data": Value::Null })));
    }
    let nodes = project
        .services
        .iter()
        .map(|service| json!({ "name": service }));
    let edges = project
        .services
        .windows(2)
        .map(|pair| json!({ "from": pair.first(), "to": pair.last() }));
    let diagram = json!({ "nodes": nodes.collect::<Vec<_>>(), "edges": edges.collect::<Vec<_>>() });
    ok(
        json!({ "data": { "type": "service-diagram", "id": id, "attributes": { "service-diagram": diagram } } }),
    )
}
