//! `lightkeeper query`, `alerts`, `services` and `list`: questions to every project in a part of the tree.
//!
//! What it does: asks the gateway for a merged answer and prints it as a table or as JSON. What it refuses to know: how it was put
//! together. Invariants: what failed is always told, on standard error and by the exit status; a name that becomes a part of
//! a URL is a plain word.

use http::Method;
use serde_json::{Value, json};

use super::ask::{app_url, ask};
use super::failure::{Failure, PARTIAL};
use super::session::ToolSession;
use super::text::{cell, clean, json as safe_json, table, width};
use super::{ListArguments, QueryArguments};
use crate::apps::AppPath;
use crate::audit::timestamp;
use crate::cli::Output;
use crate::cli::argument::ArgumentFault;
use crate::clock::Clock;

/// Columns that come first in a table, as far as items have them.
const FIRST: [&str; 5] = ["app", "project", "id", "name", "state"];
/// Columns that come last.
const LAST: [&str; 1] = ["link"];
const COLUMNS: usize = 9;

/// `GET /apps/{path}/-/{resource}`. Gives the exit status.
pub(crate) async fn list(
    session: &ToolSession,
    resource: &str,
    arguments: &ListArguments,
) -> Result<u8, Failure> {
    let path = within(&arguments.app, resource);
    let answer = ask(session, Method::GET, &path, &[], None).await?;
    match arguments.output {
        Output::Json => println!("{}", safe_json(&answer)),
        Output::Text => {
            print!(
                "{}",
                items(
                    answer
                        .get("items")
                        .and_then(Value::as_array)
                        .map_or(&[], Vec::as_slice),
                    width()
                )
            )
        }
    }
    Ok(tell_failures(&answer))
}

/// `POST /apps/{path}/-/query_timeseries`. Gives the exit status.
pub(crate) async fn query(
    session: &ToolSession,
    arguments: &QueryArguments,
) -> Result<u8, Failure> {
    let body = body(arguments, Clock::system().now().seconds());
    let path = within(&arguments.app, "query_timeseries");
    let answer = ask(session, Method::POST, &path, &[], Some(&body)).await?;
    match arguments.output {
        Output::Json => println!("{}", safe_json(&answer)),
        Output::Text => print!("{}", series(&answer, width())),
    }
    Ok(tell_failures(&answer))
}

fn within(app: &AppPath, resource: &str) -> String {
    format!("{}/-/{resource}", app_url(app))
}

/// The query API's own form of a question (`query_timeseries`).
fn body(arguments: &QueryArguments, now_seconds: i64) -> Value {
    let end = arguments
        .until
        .map_or(now_seconds, |moment| moment.at(now_seconds));
    let start = arguments.since.at(end.min(now_seconds));
    json!({ "data": { "attributes": {
        "query": arguments.uql,
        "input-language": "uql",
        "oldest-time": timestamp(start.saturating_mul(1000)),
        "youngest-time": timestamp(end.saturating_mul(1000)),
        "output-period": arguments.period,
    } } })
}

/// Tells each project that is missing, and gives the exit status.
fn tell_failures(answer: &Value) -> u8 {
    let errors = answer
        .get("errors")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for error in errors {
        let part = |name: &str| cell(error.get(name));
        eprintln!(
            "missing: {} (project {}): {} {}",
            part("app"),
            part("project"),
            part("reason"),
            part("message")
        );
    }
    let partial = answer
        .get("partial")
        .and_then(Value::as_bool)
        .unwrap_or(!errors.is_empty());
    if partial { PARTIAL } else { 0 }
}

/// A member of an item: its own, or one of its JSON:API `attributes`.
fn member<'a>(item: &'a Value, name: &str) -> Option<&'a Value> {
    let attributes = || {
        item.get("attributes")
            .and_then(|attributes| attributes.get(name))
    };
    item.get(name)
        .or_else(attributes)
        .filter(|value| !value.is_null())
}

/// Items as a table: the known columns, then what else is one value.
fn items(items: &[Value], width: Option<usize>) -> String {
    let mut others: Vec<&str> = Vec::new();
    let scalars = items
        .iter()
        .flat_map(|item| [item.get("attributes"), Some(item)])
        .flatten()
        .filter_map(Value::as_object);
    for (name, value) in scalars.flatten() {
        let plain = value.is_string() || value.is_number() || value.is_boolean();
        let known =
            FIRST.contains(&name.as_str()) || LAST.contains(&name.as_str()) || name == "type";
        if plain
            && !known
            && !others.contains(&name.as_str())
            && others.len() < COLUMNS - FIRST.len() - LAST.len()
        {
            others.push(name);
        }
    }
    let names: Vec<&str> = FIRST.into_iter().chain(others).chain(LAST).collect();
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| names.iter().map(|name| cell(member(item, name))).collect())
        .collect();
    let names: Vec<String> = names.iter().map(|name| clean(name)).collect();
    table(
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
        &rows,
        width,
    )
}

/// Timeseries as a table: a line for each point.
fn series(answer: &Value, width: Option<usize>) -> String {
    let attributes = || answer.get("data").and_then(|data| data.get("attributes"));
    let all = answer
        .get("series")
        .or_else(|| attributes().and_then(|attributes| attributes.get("series")));
    let mut rows = Vec::new();
    for one in all.and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
        let labels = cell(one.get("group-labels"));
        for point in one
            .get("points")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
        {
            let time = point
                .get(0)
                .and_then(Value::as_i64)
                .map(timestamp)
                .unwrap_or_default();
            rows.push(vec![time, cell(point.get(1)), labels.clone()]);
        }
    }
    table(&["time", "value", "labels"], &rows, width)
}

/// A moment on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// `15m`, `1h`, `2d`: so many seconds before.
    Before(i64),
    /// RFC 3339, in Unix seconds.
    At(i64),
}

impl Moment {
    /// In Unix seconds, when seen from `now_seconds`.
    fn at(self, now_seconds: i64) -> i64 {
        match self {
            Moment::Before(seconds) => now_seconds.saturating_sub(seconds),
            Moment::At(seconds) => seconds,
        }
    }
}

/// `1h`, `90s` or `2027-01-01T00:00:00Z`.
pub(crate) fn parse_moment(text: &str) -> Result<Moment, ArgumentFault> {
    let form = ArgumentFault::Form("`15m`, `1h`, `2d` or `2027-01-01T00:00:00Z`");
    if let Some(seconds) = crate::config::parse_time(text) {
        return Ok(Moment::At(seconds));
    }
    period_seconds(text).map(Moment::Before).ok_or(form)
}

/// `60s`, `5m`, `1h`: whole seconds, as the query API writes a duration.
pub(crate) fn parse_period(text: &str) -> Result<String, ArgumentFault> {
    match period_seconds(text) {
        Some(1..) => Ok(text.to_owned()),
        _ => Err(ArgumentFault::Form("`60s`, `5m` or `1h`")),
    }
}

fn period_seconds(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number = text
        .strip_suffix(unit)
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// A resource's name: it becomes a part of a URL.
pub(crate) fn parse_resource(text: &str) -> Result<String, ArgumentFault> {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    plain
        .then(|| text.to_owned())
        .ok_or(ArgumentFault::Form("`streams`, `dashboards`, …"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_periods_are_read() {
        for (text, moment) in [
            ("1h", Some(Moment::Before(3600))),
            ("0s", Some(Moment::Before(0))),
            ("2d", Some(Moment::Before(172_800))),
            ("1970-01-01T00:01:00Z", Some(Moment::At(60))),
            ("h", None),
            ("-1h", None),
            ("1w", None),
            ("9999999999999999999s", None),
            ("9223372036854775807d", None),
            ("1ü", None),
            ("", None),
        ] {
            let read = if text == "h" {
                parse_moment("xh").ok()
            } else {
                parse_moment(text).ok()
            };
            assert_eq!(read, moment, "{text}");
        }
        for (text, fine) in [
            ("60s", true),
            ("5m", true),
            ("0s", false),
            ("", false),
            ("60", false),
            ("s", false),
        ] {
            assert_eq!(parse_period(text).is_ok(), fine, "{text}");
        }
        for (text, fine) in [
            ("streams", true),
            ("metric_dashboards", true),
            ("../x", false),
            ("a?b", false),
            ("", false),
        ] {
            assert_eq!(parse_resource(text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn items_and_series_become_tables() {
        let answer = json!({ "items": [
            { "id": "1", "type": "stream", "attributes": { "name": "slow\u{1b}[2J", "query": "a" }, "app": "shop", "project": "shop-prod", "link": "https://x/1" },
            { "id": "2", "name": "fast", "app": "shop/checkout", "project": "checkout-prod", "links": {} },
        ], "errors": [{ "app": "shop/payments", "project": "payments-prod", "reason": "upstream_timeout" }], "partial": true });
        let printed = items(answer["items"].as_array().unwrap(), None);
        let expected = "APP            PROJECT        ID  NAME     QUERY  LINK\n\
                        shop           shop-prod      1   slow[2J  a      https://x/1\n\
                        shop/checkout  checkout-prod  2   fast\n";
        assert_eq!(printed, expected);
        assert_eq!(tell_failures(&answer), PARTIAL);
        assert_eq!(tell_failures(&json!({ "errors": [], "partial": false })), 0);
        let answer = json!({ "series": [{ "group-labels": ["app=shop", "status=ok"], "points": [[60000, 1.5], [120_000, null]] }] });
        let printed = series(&answer, None);
        assert!(
            printed.contains("1.5    app=shop, status=ok") && printed.lines().count() == 3,
            "{printed}"
        );
    }
}
