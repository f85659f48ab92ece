//! How a backend's alerts are laid out.
//!
//! What it does: finds in a message what it says of itself, by pointers that are data, and puts the backend's words for
//! states into ours. What it refuses to know: who sent a message. Invariant: a message that says nothing of what is
//! looked for is no mistake: backends let people write their own templates.

use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::UnixMillis;
use serde_json::Value;

/// Where a message says what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertLayout {
    /// JSON pointers (RFC 6901) of each; the first that leads to a text or number counts.
    pub id: Vec<String>,
    pub name: Vec<String>,
    pub state: Vec<String>,
    pub time: Vec<String>,
    /// Our word for a state, and the backend's, lower case.
    pub states: BTreeMap<String, Vec<String>>,
}

impl AlertLayout {
    /// The first text or number at one of these places.
    pub(crate) fn find<'m>(pointers: &[String], message: &'m Value) -> Option<&'m Value> {
        pointers
            .iter()
            .filter_map(|pointer| message.pointer(pointer))
            .find(|value| {
                value.is_number() || value.as_str().is_some_and(|text| !text.trim().is_empty())
            })
    }

    /// Our word for a state; the backend's own where there is none.
    pub(crate) fn state<'w>(&'w self, word: &'w str) -> &'w str {
        let plain = word.trim().to_lowercase().replace([' ', '-'], "_");
        self.states
            .iter()
            .find(|(_, words)| words.contains(&plain))
            .map_or(word, |(ours, _)| ours.as_str())
    }
}

/// How much is kept of a name, an id or a state, in characters.
const TEXT_LIMIT: usize = 256;

/// What a message says of itself, as far as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertMessage {
    pub id: Option<String>,
    pub name: Option<String>,
    /// `firing`, `ok`, `no_data`, or the backend's own word.
    pub state: Option<String>,
    pub time: Option<UnixMillis>,
}

impl AlertMessage {
    pub fn read(message: &Value, layout: &AlertLayout) -> Self {
        let text = |pointers: &[String]| {
            AlertLayout::find(pointers, message).map(|value| bounded(&plain(value)))
        };
        AlertMessage {
            id: text(&layout.id),
            name: text(&layout.name),
            state: text(&layout.state).map(|word| layout.state(&word).to_owned()),
            time: AlertLayout::find(&layout.time, message).and_then(moment),
        }
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn bounded(text: &str) -> String {
    text.chars()
        .map(|each| if each.is_control() { ' ' } else { each })
        .take(TEXT_LIMIT)
        .collect()
}

/// RFC 3339, or Unix seconds, or what is too large for seconds as milliseconds. A time in another form is none: templates
/// are people's own.
fn moment(value: &Value) -> Option<UnixMillis> {
    /// The year 2286 in seconds, 1970 in milliseconds.
    const SECONDS_LIMIT: i64 = 10_000_000_000;
    let number = match value {
        Value::String(text) => match OffsetDateTime::parse(text.trim(), &Rfc3339) {
            Ok(moment) => {
                return i64::try_from(moment.unix_timestamp_nanos() / 1_000_000)
                    .ok()
                    .map(UnixMillis);
            }
            Err(_) => text.trim().parse().ok()?,
        },
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|seconds| seconds as i64))?,
        _ => return None,
    };
    Some(UnixMillis(if number.abs() < SECONDS_LIMIT {
        number.saturating_mul(1000)
    } else {
        number
    }))
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_read_where_the_profile_says() {
        let layout = &Profile::lightstep().alerts;
        for (message, name, state) in [
            (
                json!({"name": "latency", "state": "Critical"}),
                Some("latency"),
                Some("firing"),
            ),
            (
                json!({"alert": {"name": "a"}, "status": "RESOLVED"}),
                Some("a"),
                Some("ok"),
            ),
            (
                json!({"title": "t", "state": "No data"}),
                Some("t"),
                Some("no_data"),
            ),
            (
                json!({"name": " ", "title": "t", "state": "odd"}),
                Some("t"),
                Some("odd"),
            ),
            (json!({"name": {"a": 1}, "state": []}), None, None),
            (json!({}), None, None),
        ] {
            let text =
                |pointers: &[String]| AlertLayout::find(pointers, &message).and_then(Value::as_str);
            assert_eq!(text(&layout.name), name, "{message}");
            assert_eq!(
                text(&layout.state).map(|word| layout.state(word)),
                state,
                "{message}"
            );
        }
    }

    #[test]
    fn times_are_read_in_three_forms_and_no_other() {
        // 2026-11-22T12:00:00Z
        let noon = Some(UnixMillis(1_795_348_800_000));
        for (value, expected) in [
            (json!("2026-11-22T12:00:00Z"), noon),
            (json!("2026-11-22T13:00:00.000+01:00"), noon),
            (json!(1_795_348_800), noon),
            (json!(1_795_348_800.9), noon),
            (json!(1_795_348_800_000_i64), noon),
            (json!("1795348800"), noon),
            (json!("22 November"), None),
            (json!(true), None),
            (json!(u64::MAX), Some(UnixMillis(i64::MAX))),
        ] {
            assert_eq!(moment(&value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_read_is_bounded_and_of_one_line() {
        let (id, name) = (vec!["/a/0/b".to_owned()], vec!["/name".to_owned()]);
        let layout = AlertLayout {
            id,
            name,
            ..AlertLayout::default()
        };
        let told = AlertMessage::read(
            &json!({"a": [{"b": 7}], "name": format!("x\r\ny{}", "z".repeat(1000))}),
            &layout,
        );
        assert_eq!(told.id.as_deref(), Some("7"));
        let name = told.name.unwrap();
        assert!(
            name.starts_with("x  yz") && name.chars().count() == TEXT_LIMIT,
            "{name}"
        );
        assert_eq!((told.state, told.time), (None, None));
    }
}
